r"""The learning coefficient of a monomial at finite temperature, exact.

.. math::
    t\,E_t[L], \qquad L = \prod_i w_i^{2 k_i}, \qquad \varphi \propto \prod_i |w_i|^{h_i}

on a box.  The limit of low temperature is :mod:`fracsde.estimators.known_coefficients`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import expm

from fracsde._check import integer, real
from fracsde.errors import InputError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import FloatArray

__all__ = ["monomial_at_temperature", "poles_of"]

_NODES, _DIGITS = 24, 42.0  # of a panel, and natural digits kept of an exponential tail


def monomial_at_temperature(
    n_beta: float,
    powers: Sequence[int],
    prior: Sequence[int] | None = None,
    *,
    half_width: float = 1.0,
) -> float:
    r"""Return :math:`t\,E_t[L]` of a monomial on a box, exact at every temperature.

    With :math:`|w_i| = a\,e^{-s_i}` the loss is :math:`a^{2 \sum k_i} e^{-z}`, where ``z`` is a sum
    of independent exponential variables of rates :math:`(h_i + 1) / (2 k_i)`; its density is an
    entry of the exponential of a bidiagonal matrix, and one integral is left.

    Parameters
    ----------
    n_beta : float
        The inverse temperature ``t``.
    powers : sequence of int
        Each :math:`k_i`, at least 1.
    prior : sequence of int, optional
        Each :math:`h_i`, at least 0; zero by default.
    half_width : float [weight]
        The box is :math:`[-a, a]` in each direction.

    Returns
    -------
    float
        To about twelve digits.

    Examples
    --------
    >>> round(monomial_at_temperature(1e3, [1, 1]), 3)
    0.387
    """
    t = real("n_beta", n_beta, low=0.0)
    rates = np.array([float(pole) for pole in poles_of(powers, prior)])
    a = real("half_width", half_width, low=0.0)
    depth = float(np.log(t) + 2.0 * sum(powers) * np.log(a))  # of the turn of the exponential
    end = max(depth, 0.0) + _DIGITS / rates.min()
    panels = int(np.ceil(end))
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    width = end / panels
    inside = 0.5 * width * (nodes + 1.0)
    z = width * np.arange(panels)[:, None] + inside
    height = np.exp(np.minimum(depth - z, 700.0))
    mass = 0.5 * width * weights * _density(panels, width, inside, rates) * np.exp(-height)
    return float((mass * height).sum() / mass.sum())


def _density(panels: int, width: float, inside: FloatArray, rates: FloatArray) -> FloatArray:
    # Of the sum of independent exponentials, (panel, node): first row of exp(T z) times the exit
    # rate.  All entries of these exponentials are positive, so products of them lose no digits.
    T = np.diag(-rates) + np.diag(rates[:-1], 1)
    within = expm(inside[:, None, None] * T)[:, :, -1] * rates[-1]
    across, row = expm(width * T), np.eye(len(rates))[0]
    out = np.empty((panels, len(inside)))
    for panel in range(panels):
        out[panel] = within @ row
        row = row @ across
    return out


def poles_of(powers: Any, prior: Any) -> list[Fraction]:
    r"""Return :math:`(h_i + 1) / (2 k_i)` of each factor.

    Returns
    -------
    list of Fraction

    Raises
    ------
    InputError
        If powers or prior are not sequences of whole numbers.
    ShapeError
        If there is no factor, or they differ in length.
    """
    try:
        k = [integer("powers", power, low=1) for power in powers]
        h = [0] * len(k) if prior is None else [integer("prior", power, low=0) for power in prior]
    except TypeError as error:
        msg = f"`powers` and `prior` must be sequences of whole numbers, got {powers!r}, {prior!r}"
        raise InputError(msg) from error
    if not k or len(h) != len(k):
        msg = f"`powers` must not be empty and `prior` as long, got {powers!r} and {prior!r}"
        raise ShapeError(msg)
    return [Fraction(one + 1, 2 * two) for one, two in zip(h, k, strict=True)]

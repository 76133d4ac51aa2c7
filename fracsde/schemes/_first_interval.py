r"""Tables of an interval on which the integrand starts like a power.

On :math:`[0, h]` a function :math:`t^{\gamma - 1} \varphi(t)` is known through the values of the
smooth factor at the nodes, and

.. math::
    \frac{1}{\Gamma(\alpha)} \int_0^{\theta} (\theta - v)^{\alpha - 1} v^{\gamma - 1}
        \ell_j(v)\, dv , \qquad
    \int_0^1 e^{-z (1 - v)}\, v^{\gamma - 1} \ell_j(v)\, dv

take the place of the integrals in :mod:`fracsde.schemes.collocation_tables`, to which they reduce
for :math:`\gamma = 1`.  Both are sums over Gauss-Jacobi points, for fast decays over the stretch
before the end where the exponential lives.
"""

from __future__ import annotations

from math import gamma
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import roots_jacobi, roots_legendre

from fracsde.schemes.collocation_tables import lagrange

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["power_integrals", "power_moments"]

_POINTS = 48
_FAST = 60.0  # decay from which on the start is below rounding
_LIFE = 45.0  # exponents that matter


def power_integrals(
    nodes: FloatArray, where: FloatArray, *, alpha: float, start: float
) -> FloatArray:
    """Return fractional integrals of Lagrange polynomials times ``v**(start - 1)``.

    Parameters
    ----------
    nodes : (m,) float64 [1]
        Distinct.
    where : (p,) float64 [1]
        Upper ends, positive.
    alpha, start : float [1]
        Order of the integral, exponent of the start plus one; positive.

    Returns
    -------
    (p, m) ndarray of float64

    Examples
    --------
    >>> from fracsde.schemes.collocation_tables import radau_nodes
    >>> c = radau_nodes(3)
    >>> total = power_integrals(c, np.ones(1), alpha=0.5, start=0.5).sum()
    >>> bool(abs(total - gamma(0.5)) < 1e-14)  # B(1/2, 1/2) / Gamma(1/2)
    True
    """
    points, weights = roots_jacobi(len(nodes), alpha - 1.0, start - 1.0)
    inside = where[:, None] * (0.5 * (1.0 + points))
    values = lagrange(nodes, inside.reshape(-1)).reshape(*inside.shape, len(nodes))
    # The weights' sum is known, and their rounding is worst where both exponents are near -1.
    total = gamma(start) / gamma(alpha + start)
    scale = where ** (alpha + start - 1.0) * (total / weights.sum())
    return np.asarray(scale[:, None] * np.einsum("q,pqm->pm", weights, values))


def power_moments(nodes: FloatArray, decay: FloatArray, *, start: float) -> FloatArray:
    """Return exponential moments of Lagrange polynomials times ``v**(start - 1)``.

    Parameters
    ----------
    nodes : (m,) float64 [1]
        Distinct, in the unit interval.
    decay : (k,) float64 [1]
        Rate times length of the interval, not negative.
    start : float [1]
        Exponent of the start plus one, positive.

    Returns
    -------
    (k, m) ndarray of float64
    """
    moments = np.empty((len(decay), len(nodes)))
    slow = decay < _FAST
    points, weights = roots_jacobi(_POINTS, 0.0, start - 1.0)
    weights = weights / (weights.sum() * start)
    back = 0.5 * (1.0 - points)
    values = lagrange(nodes, 1.0 - back)
    moments[slow] = (np.exp(-decay[slow, None] * back) * weights) @ values
    fast = decay[~slow]
    if len(fast):
        points, weights = roots_legendre(_POINTS)
        life = 0.5 * _LIFE * (1.0 + points)
        v = 1.0 - life / fast[:, None]
        values = lagrange(nodes, v.reshape(-1)).reshape(*v.shape, len(nodes))
        weights = 0.5 * _LIFE * weights * np.exp(-life) * v ** (start - 1.0)
        moments[~slow] = np.einsum("kq,kqm->km", weights, values) / fast[:, None]
    return moments

r"""Densities on the clock: Gaussian mixtures over operational time.

.. math::
    p(x, t) = \int_0^\infty M_\alpha(u)\,
      \mathcal{N}\bigl(x;\, \mu(\theta u),\, C(\theta u)\bigr)\, du
    = \int_0^\infty M_\alpha(q^2)\, \mathcal{N}\bigl(x;\, \mu(\theta q^2),\, C(\theta q^2)\bigr)\,
      2 q\, dq .

From a point the Gaussian starts as a spike of width :math:`\sqrt{u}`.  In one dimension ``q``
makes the integrand smooth at :math:`x = x_0`; next to it there is a layer at
:math:`q \sim |x - x_0|`, which is why the density has a cusp at :math:`x_0` for every
:math:`\alpha < 1` and any time.  In two dimensions or more the density is infinite there: like
:math:`\log(1/|x - x_0|)` for ``d = 2`` and :math:`|x - x_0|^{2-d}` beyond.

The integral is taken by sixteen-point Gauss rules on panels of ``q``.  They start from the panels
of the clock rule and from dyadic ones down to the thinnest layer, and are halved until, for every
point asked for, the integrand is a polynomial of low degree on each, relative to the point's own
integral.  So densities and probabilities are *relatively* accurate in both tails, until they
underflow.  ``tests/test_subordination.py`` measures 1e-12.

Not here: the mean and variance along a direction (:mod:`fracsde._subordination.moments`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from fracsde.errors import UnsupportedError
from fracsde.special.stable import inverse_stable_logpdf

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

__all__ = ["mixture", "normal_cdf", "normal_density", "normal_density_in_space"]

_NODES = 16
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(_NODES)
_LAST = (
    np.polynomial.legendre.legvander(_POINTS, _NODES - 1)[:, -4:]
    * _WEIGHTS[:, None]
    * (np.arange(_NODES - 4, _NODES) + 0.5)
)
_TAIL = 1e-9  # of the last coefficients: what comes after the thirty-second is then rounding
_FEWEST = 12  # dyadic levels
_SMALLEST = -740.0  # logarithm of the smallest number
_MOST_PANELS = 20_000


def mixture(
    alpha: float,
    edges: FloatArray,
    layer: float,
    kernel: Callable[[FloatArray], tuple[FloatArray, bool]],
) -> FloatArray:
    """Return averages over the clock of functions that may have a layer at 0.

    Parameters
    ----------
    alpha : float [1]
        Order, ``0 < alpha < 1``.
    edges : (n,) float64 [1]
        Panels of ``u`` that resolve density of the clock and law of the base.
    layer : float [1]
        Width of the thinnest layer, in ``q = sqrt(u)``; infinite if there is none.
    kernel : callable
        From increasing ``(k,)`` values of ``u`` to ``(k, x)`` values, not negative, and whether
        something may hide between neighbouring ones.

    Returns
    -------
    (x,) float64

    Raises
    ------
    UnsupportedError
        If the functions are too narrow to be resolved.
    """
    panels = _first_panels(alpha, edges, layer)
    work = [(panel, _panel(alpha, *panel, kernel)) for panel in panels]
    size = np.sum([value for _, (_, value, _) in work], axis=0)
    total, count = np.zeros_like(size), len(work)
    while work:
        (left, width), (tail, value, hidden) = work.pop()
        if (hidden or np.any(tail > _TAIL * size)) and width > 1e-14 * (left + width):
            half = 0.5 * width
            pair = [((at, half), _panel(alpha, at, half, kernel)) for at in (left, left + half)]
            # What a coarse panel missed belongs to the size too.
            size = np.maximum(size, pair[0][1][1] + pair[1][1][1])
            work += pair
            count += 1
        else:
            total += value
        if count > _MOST_PANELS:
            msg = (
                "the density cannot be resolved: noise is too small beside drift, so that each "
                "point is passed within a tiny part of the time; move the start or raise the noise"
            )
            raise UnsupportedError(msg)
    return np.asarray(total)


def _panel(
    alpha: float,
    left: float,
    width: float,
    kernel: Callable[[FloatArray], tuple[FloatArray, bool]],
) -> tuple[FloatArray, FloatArray, bool]:
    # Largest of the last Legendre coefficients, times the width; the integral; what may hide.
    q = left + 0.5 * width * (1.0 + _POINTS)
    logs = inverse_stable_logpdf(q * q, 1.0, alpha)
    laws, hidden = kernel(q * q)
    values = np.exp(logs)[:, None] * 2.0 * q[:, None] * laws
    tail = width * np.abs(_LAST.T @ values).max(axis=0)
    return tail, 0.5 * width * (_WEIGHTS @ values), hidden and bool(logs.max() > _SMALLEST)


def _first_panels(alpha: float, edges: FloatArray, layer: float) -> list[tuple[float, float]]:
    # Panels of the clock rule in q, dyadic ones below, and further ones to where M underflows.
    roots = np.sqrt(edges[edges > 0.0])
    first = float(roots[0])
    levels = _FEWEST
    if np.isfinite(layer) and layer > 0.0:
        levels = max(levels, int(np.ceil(np.log2(first / layer))) + 2)
    lower = first * 2.0 ** -np.arange(1.0, min(levels, 1000) + 1.0)
    upper = [float(roots[-1])]
    while inverse_stable_logpdf(upper[-1] ** 2, 1.0, alpha) > _SMALLEST:
        upper.append(upper[-1] * 1.25)
    every = np.concatenate([[0.0], lower[::-1], roots, upper[1:]])
    return list(zip(every[:-1].tolist(), np.diff(every).tolist(), strict=True))


def normal_density(x: FloatArray, mean: FloatArray, variance: FloatArray) -> FloatArray:
    """Return normal densities of one variable.

    Parameters
    ----------
    x : (n,) float64 [x]
        Points.
    mean, variance : (k,) float64
        Of each law.

    Returns
    -------
    (k, n) float64 [1/x]
    """
    deviation = np.sqrt(variance)[:, None]
    z = (x - mean[:, None]) / deviation
    return np.asarray(np.exp(-0.5 * z * z) / (np.sqrt(2.0 * np.pi) * deviation))


def normal_cdf(x: FloatArray, mean: FloatArray, variance: FloatArray) -> FloatArray:
    """Return normal probabilities of one variable.

    Parameters
    ----------
    x : (n,) float64 [x]
        Points.
    mean, variance : (k,) float64
        Of each law.

    Returns
    -------
    (k, n) float64 [1]
    """
    return np.asarray(ndtr((x - mean[:, None]) / np.sqrt(variance)[:, None]))


def normal_density_in_space(x: FloatArray, mean: FloatArray, covariance: FloatArray) -> FloatArray:
    """Return normal densities of several variables.

    Parameters
    ----------
    x : (n, d) float64 [x]
        Points.
    mean : (k, d) float64
        Of each law.
    covariance : (k, d, d) float64
        Of each law, positive definite.

    Returns
    -------
    (k, n) float64 [x^-d]
    """
    d = x.shape[1]
    L = np.linalg.cholesky(covariance)
    z = np.linalg.solve(L, (x - mean[:, None, :]).transpose(0, 2, 1))
    logs = -0.5 * (z * z).sum(axis=1)
    logs -= np.log(np.diagonal(L, axis1=1, axis2=2)).sum(axis=1)[:, None]
    return np.asarray(np.exp(logs - 0.5 * d * np.log(2.0 * np.pi)))

r"""Series, contours and switch points of the Mittag-Leffler function, one table per order.

Three roads by the size of ``z``: the power series, the contour of
:mod:`fracsde.special._ml_residues`, and the asymptotic series,

.. math::
    E_{\alpha,\beta}(z) = \sum_{k \ge 0} \frac{z^k}{\Gamma(\alpha k + \beta)}
    \;\sim\; -\sum_{k \ge 1} \frac{z^{-k}}{\Gamma(\beta - \alpha k)} + \text{residues} .

Where the leading term of the latter is small, as it is near ``alpha = 1`` and at
``beta = alpha``, rounding on the contour would cost relative accuracy.  There the first ``m``
terms are taken out exactly, by

.. math::
    E_{\alpha,\beta}(z) = -\sum_{k=1}^{m} \frac{z^{-k}}{\Gamma(\beta - \alpha k)}
        + z^{-m} E_{\alpha,\beta - \alpha m}(z) ,

with ``m`` growing with ``|z|``.

Not here: evaluation.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import digamma, gammaln, rgamma

from fracsde.special._ml_poles import fill_nodes
from fracsde.special._ml_residues import BY_ALPHA

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray, IntArray

__all__ = ["Table", "lift", "reciprocal_gamma", "table"]

_SERIES_TERMS, _TAIL_TERMS, _LONG_TAIL_TERMS = 24, 24, 48
_CLOSE = 0.06  # distance of alpha from 1 at which values become very small
_TINY = 1e-17
# Numbers of subtracted terms: each is good until the next one is better.  Close to alpha = 1 the
# function falls like exp(z) for as long as these sizes of -z.
_LADDER = (0, 1, 2, 3, 4, 6, 8, 11, 14, 18, 23, 29, 36, 44)
_STEEPEST = tuple(float(x) for x in range(45))
_CANCELLATION = 100.0
_CROSSING, _NEARER_CROSSING = 2.2, 1.2  # the latter where values may be small everywhere
_BOUND = -36.5  # logarithm of the error allowed to the rule
_DEPTH = 40.0  # logarithm of how far the integrand falls before it is cut off


class Table(NamedTuple):
    """What the kernels need to know about ``alpha``, ``beta`` and the derivative.

    Parameters
    ----------
    alpha, beta : float
        Parameters.
    small, large : float
        Sizes of ``z`` up to which the power series, and from which the asymptotic series serves.
    contour : (3,) float64
        ``mu``, ``phi`` and ``h`` of the hyperbola.
    series, tail : (terms,) float64
        Coefficients of ``z**k`` from ``k = 0``, and of ``z**-k`` from ``k = 1``.
    powers, starts : (classes,) int64 and float64
        Numbers of subtracted terms, and the ``-z`` from which each serves.
    lift : (order + 1,) float64
        Coefficients of the polynomial in ``s`` that stands for the derivative, see :func:`lift`.
    middle, whole : (sets, 8, n) float64
        Nodes and weights with shift 1/2 and 0, upper half plane only: one set for each number of
        subtracted terms, or two sets, for the integral as it stands and by parts.
    quarter : (2, 8, 2 n) float64
        Nodes and weights with shift 1/4.
    """

    alpha: float
    beta: float
    small: float
    large: float
    contour: FloatArray
    series: FloatArray
    tail: FloatArray
    powers: IntArray
    starts: FloatArray
    lift: FloatArray
    middle: FloatArray
    whole: FloatArray
    quarter: FloatArray


def reciprocal_gamma(
    alpha: float, beta: float, k: FloatArray, *, slope: bool = False
) -> FloatArray:
    r"""Evaluate :math:`1 / \Gamma(\beta + \alpha k)` with small relative error also near its zeros.

    Parameters
    ----------
    alpha, beta : float [1]
        Any reals.
    k : (n,) float64
        Whole numbers.
    slope : bool
        Whether to differentiate in ``alpha``.

    Returns
    -------
    (n,) float64
    """
    product = alpha * k
    high = beta + product
    # The argument as a pair: the distance to a whole number keeps its digits.
    split = 134217729.0 * alpha
    top = split - (split - alpha)
    back = high - beta
    low = (beta - (high - back)) + (product - back) + ((top * k - product) + (alpha - top) * k)
    whole = np.round(high)
    off = (high - whole) + low
    turned = np.where(whole % 2 == 0, 1.0, -1.0) * np.sin(np.pi * off)
    mirror = np.where(high < 0.5, 1.0 - high, high)
    size = gammaln(mirror)
    with np.errstate(over="ignore", under="ignore"):
        gamma_mirror = np.where(
            mirror < 170.0, 1.0 / rgamma(np.minimum(mirror, 170.0)), np.exp(size)
        )
        left = np.where(turned == 0.0, 0.0, turned * np.minimum(gamma_mirror, 1e308) / np.pi)
        right = rgamma(mirror)
        if not slope:
            return np.asarray(np.where(high < 0.5, left, right), dtype=np.float64)
        cosine = np.where(whole % 2 == 0, 1.0, -1.0) * np.cos(np.pi * off)
        left_slope = gamma_mirror * (cosine - turned * digamma(mirror) / np.pi)
        slopes = k * np.where(high < 0.5, left_slope, -digamma(mirror) * right)
        return np.asarray(slopes, dtype=np.float64)


@lru_cache(maxsize=128)
def _contour(
    beta: float, least: float, sharper: int, ladder: tuple[float, ...]
) -> tuple[float, float, float, int]:
    # Return mu, phi, h and the number of nodes: the fewest that meet the bounds on the rule's
    # error, at a given place where the hyperbola crosses the real axis (rounding grows with it).
    # The integrand is `e^s s^{-\\beta}` near the origin and `e^s s^{-least}` far from it.
    phi = np.linspace(0.4, 1.4, 41)[:, None]
    h = np.exp(np.linspace(np.log(0.015), np.log(0.2), 160))
    mu = max(_CROSSING if beta > 0.5 else _NEARER_CROSSING, beta) / (1.0 - np.sin(phi))
    wave = np.log(2.0 * np.pi / h)
    relative = float(gammaln(max(beta, 1.0)))
    # To the left stands the branch point `s^{-\beta}` at distance pi/2 - phi ...
    left = -2.0 * np.pi * (0.5 * np.pi - phi) / h + relative + sharper * wave
    if beta > 1.0:
        left += (2.0 * beta - 2.0) * wave - gammaln(2.0 * beta - 1.0)
        left += beta * np.log(2.0 / mu) + np.log(mu)
    # ... and to the right `e^s` stops to decay at distance phi.
    right = mu - 2.0 * np.pi * phi / h + max(0.0, 1.0 - least) * wave + relative
    right -= max(0.0, least - 1.0) * np.log(mu)
    depth = _DEPTH + max(0.0, 1.0 - least) * 4.0 + relative
    if ladder:
        x = np.array(ladder)
        gain = np.max(x * (wave[:, None] - np.log(np.maximum(x, 1.0)) + 1.0), axis=1)
        right += np.maximum(gain, 0.0)
        depth += x[-1]
    nodes = np.arccosh((1.0 + depth / mu) / np.sin(phi)) / h
    nodes = np.where((left < _BOUND) & (right < _BOUND), nodes, np.inf)
    i, j = np.unravel_index(int(np.argmin(nodes)), nodes.shape)
    best = float(mu[i, 0]), float(phi[i, 0]), float(h[j])
    u = best[2] * np.arange(400.0)
    s = best[0] * (1.0 + np.sin(1j * u - best[1]))
    falls = s.real + (2.0 - least + (ladder[-1] if ladder else 0.0)) * np.log(np.abs(s))
    falls -= ladder[-1] * np.log(ladder[-1]) - ladder[-1] if ladder else 0.0
    return *best, int(np.flatnonzero(falls > -_DEPTH - relative)[-1]) + 2


def _series(alpha: float, beta: float, order: int) -> tuple[FloatArray, float]:
    # Return coefficients of the power series and the radius inside which it is at full accuracy.
    k = np.arange(_SERIES_TERMS * (1.0 if order == 0 else 2.5) + 1.0)
    if order == BY_ALPHA:
        c = reciprocal_gamma(alpha, beta, k, slope=True)
    else:
        c = reciprocal_gamma(alpha, beta, k + order)
        for i in range(order):
            c = c * (k + order - i)
    nonzero = np.flatnonzero(c)
    if len(nonzero) == 0:
        return c[:-1], 0.0
    first = nonzero[0]
    radii = np.exp(np.linspace(np.log(1e-8), np.log(1e3), 250))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        terms = np.abs(c[first:, None]) * radii ** np.arange(len(c) - first)[:, None]
        whole = terms.sum(axis=0)
        good = terms[-1] < _TINY * terms[0]
        if order == 0:
            good &= whole < 2.0 * terms[0]
        else:  # of derivatives, small values are not asked for with small relative error
            signs = np.where(np.arange(len(terms)) % 2 == 0, 1.0, -1.0)[:, None]
            good &= whole < _CANCELLATION * (1.0 + np.abs((signs * terms).sum(axis=0)))
    return c[:-1], float(radii[np.flatnonzero(good)[-1]]) if good.any() else 0.0


def _tail(alpha: float, beta: float, order: int) -> tuple[FloatArray, float]:
    # Return coefficients of the asymptotic series and the size of ``z`` from which it serves.
    terms = _LONG_TAIL_TERMS if abs(alpha - 1.0) < _CLOSE else _TAIL_TERMS
    k = np.arange(1.0, terms + 2.0)
    e = -reciprocal_gamma(-alpha, beta, k, slope=order == BY_ALPHA)
    if order == BY_ALPHA:
        e = -e
    arguments = 1.0 - beta + alpha * k
    bound = np.where(arguments > 1.0, gammaln(np.maximum(arguments, 1.0)), 0.0) - np.log(np.pi)
    if order == BY_ALPHA:
        bound += np.log(k * (1.0 + np.log(1.0 + np.abs(arguments))))
    for i in range(max(order, 0)):
        with np.errstate(over="ignore"):  # such coefficients are beyond what is ever used
            e = -e * (k + i)
        bound += np.log(k + i)
    # Below the leading term by 1e-17, where that is not zero.
    nonzero = np.flatnonzero(np.abs(e) > 0.0)
    lead = np.log(abs(e[nonzero[0]])) if len(nonzero) else 0.0
    at = float(nonzero[0]) if len(nonzero) else 0.0
    radii = (bound[-1] - lead - np.log(_TINY)) / (terms - at)
    # Residues are switched sharply beyond: exp(-|s|) must not be seen.
    sharp = alpha * np.log(
        42.0 + max(0.0, -lead) + 4.0 * max(0.0, 1.0 - beta) - np.log(min(alpha, 1.0))
    )
    return e[:-1], float(np.exp(max(radii, sharp, np.log(1.5))))


@lru_cache(maxsize=128)
def table(alpha: float, beta: float, order: int, *, relative: bool) -> Table:
    """Make the table of one pair of parameters.

    Parameters
    ----------
    alpha, beta : float [1]
        Parameters.
    order : int
        Order of the derivative in ``z``, or ``BY_ALPHA``.
    relative : bool
        Whether small values on the negative axis need a small relative error.

    Returns
    -------
    Table
    """
    series, small = _series(alpha, beta, order)
    tail, large = _tail(alpha, beta, order)
    powers = np.array([0])
    steepest: tuple[float, ...] = ()
    if relative and abs(tail[0]) < 0.3 and beta <= 2.0:
        close = abs(alpha - 1.0) < _CLOSE
        powers = np.array(_LADDER if close else _LADDER[:3])
        steepest = _STEEPEST if close else ()
    sharper = 1 if order == BY_ALPHA else order  # poles just left of it are sharper by this much
    least = beta - sharper - (0.0 if steepest else alpha * powers[-1])
    *parameters, n = _contour(beta, least, sharper, steepest)
    middle, whole = np.empty((len(powers), 8, n)), np.empty((len(powers), 8, n))
    quarter = np.empty((8, 2 * n))
    packed = np.array(parameters)
    sets = 1 if order == 0 else 2
    middle, whole = (
        np.empty((len(powers) + sets - 1, 8, n)),
        np.empty((len(powers) + sets - 1, 8, n)),
    )
    quarter = np.empty((sets, 8, 2 * n))
    fill_nodes(alpha, beta, packed, 0.5, 0, middle[0])
    fill_nodes(alpha, beta, packed, 0.0, 0, whole[0])
    fill_nodes(alpha, beta, packed, 0.25, -n, quarter[0])
    whole[0, 4:6, 0] *= 0.5  # the node on the real axis belongs to both halves
    polynomial = lift(alpha, beta, order)
    starts = np.zeros(len(powers))
    for nodes in (middle, whole, quarter):
        b = nodes[0, 0] + 1j * nodes[0, 2]
        a = nodes[0, 4] + 1j * nodes[0, 5]
        log_s = nodes[0, 6] + 1j * nodes[0, 7]
        s = np.exp(log_s)
        if order == BY_ALPHA:
            nodes[1] = nodes[0]
            _set(nodes[0], a * log_s)
            _set(nodes[1], -a / b * ((s + 1.0 - beta) * log_s + 1.0) / alpha)
        elif order > 0:
            nodes[1] = nodes[0]
            _set(nodes[1], a * np.polynomial.polynomial.polyval(s, polynomial))
        else:
            for i in range(1, len(nodes)):
                nodes[i] = nodes[0]
                _set(nodes[i], a * b ** powers[i])
                sizes = np.abs(nodes[i - 1 : i + 1, 4] + 1j * nodes[i - 1 : i + 1, 5]).sum(axis=1)
                ratio = (sizes[1] / sizes[0]) ** (1.0 / (powers[i] - powers[i - 1]))
                starts[i] = max(ratio, starts[i - 1])
    arrays = (packed, series, tail, powers, starts, polynomial, middle, whole, quarter)
    for array in arrays:
        array.flags.writeable = False
    return Table(alpha, beta, small, large, *arrays)


def _set(nodes: FloatArray, weights: NDArray[np.complex128]) -> None:
    # Write weights into one set of nodes.
    nodes[4], nodes[5] = weights.real, weights.imag


def lift(alpha: float, beta: float, order: int) -> FloatArray:
    r"""Return the polynomial that stands for a derivative in the integral taken by parts.

    .. math::
        E^{(n)} = \frac{z^{-n}}{2 \pi i} \int \frac{e^s P_n(s) s^{\alpha-\beta}}{s^\alpha - z} ds,
        \qquad
        \alpha P_{i+1} = (s + 1 - \beta - \alpha i) P_i + s P_i' ,

    by :math:`\alpha z E_{\alpha,\beta}' = E_{\alpha,\beta-1} + (1 - \beta) E_{\alpha,\beta}`.
    The derivative in the order has :math:`-(z/\alpha) s^{-\alpha} [(s + 1 - \beta) \ln s + 1]` in
    place of :math:`z^{-n} P_n`.

    Parameters
    ----------
    alpha, beta : float [1]
        Parameters.
    order : int
        The number ``n``; 0 if negative.

    Returns
    -------
    (n + 1,) float64
        Coefficients, constant first.
    """
    p = np.ones(1)
    for i in range(order):
        powers = np.arange(len(p))
        p = np.append(p * (powers + 1.0 - beta - alpha * i), 0.0) + np.append(0.0, p)
    return p / alpha ** max(order, 0)

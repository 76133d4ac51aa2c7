r"""Tables behind the stable laws: three functions of one variable for each ``alpha``.

With :math:`A(u)` Zolotarev's function on :math:`(0, \pi)`, :math:`A_0 = A(0)` and
:math:`P = A_0 z^{1/(1-\alpha)}`,

.. math::
    P(E_1 > z) = \frac1\pi \int_0^\pi e^{-P A(u)/A_0}\, du, \qquad
    P(E_1 \le z) = \frac1\pi \int_0^\pi \bigl(1 - e^{-P A(u)/A_0}\bigr)\, du,
.. math::
    M_\alpha(z) = \frac{P}{(1-\alpha) z \pi} \int_0^\pi \frac{A(u)}{A_0}\, e^{-P A(u)/A_0}\, du .

Integrands are positive, so nothing cancels in either tail.  They are summed once per ``alpha`` by
Gauss's rule on panels in :math:`v`, :math:`u = \pi - 4 \arctan e^{-v}`, no longer than a doubling
of :math:`v`, 1 in :math:`v` or 1.5 in :math:`w = \log(A/A_0)`; near :math:`u = 0`

.. math::
    w = \sum_{k \ge 1} \frac{\zeta(2k)}{k} \Bigl(\frac{u}{\pi}\Bigr)^{2k}
        \Bigl[\sum_{j=0}^{2k} \alpha^j - (1-\alpha)^{2k}\Bigr]

has positive terms only.  The results become Chebyshev series in :math:`\log P` on panels, and in
:math:`1/P` beyond the last panel, where they are within a factor :math:`1 + O(1/(\alpha P))` of
Laplace's method.  For small ``z`` there is the power series

.. math::
    M_\alpha(z) = \frac1\pi \sum_{n \ge 1} \frac{(-z)^{n-1}}{(n-1)!}\,
                  \Gamma(\alpha n) \sin(\pi \alpha n) .

Not here: evaluation (:mod:`fracsde.special._stable_kernels`).

References: [Zolotarev1986]_ for the integral, [Mainardi2010]_ for the series.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.polynomial import legendre
from scipy.special import gamma, zeta

from fracsde.special._stable_kernels import add_pairs, divide_pairs, log_pair, times_pair

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray

__all__ = ["StableTable", "stable_table"]

_SERIES_UP_TO, _SERIES_TERMS = 0.25, 36
_DEGREE, _FAR_DEGREE = 21, 19
_GAUSS = 16
_PANEL = 2.0  # in log P, near the knee; longer panels below it
_DEEP = -20.0  # in log P: below, the power series is summed instead of the integral


class StableTable(NamedTuple):
    """What evaluation needs for one ``alpha``; all arrays are read-only."""

    alpha: float
    one_minus: tuple[float, float]  # 1 - alpha as an unevaluated sum
    shift: tuple[float, float]  # log P at z = 1, likewise
    series_up_to: float
    series: FloatArray  # (2, n): M and cdf / z in powers of z
    edges: FloatArray  # (m + 1,) in log P
    panels: FloatArray  # (m, 3, n): M e^P, cdf / z, sf e^P
    far: FloatArray  # (2, n) in 1 / P: M and sf over Laplace's value


@lru_cache(maxsize=64)
@np.errstate(under="ignore")
def stable_table(alpha: float) -> StableTable:
    """Return the tables of one ``alpha``.

    Parameters
    ----------
    alpha : float [1]
        Order, ``0 < alpha < 1``.

    Returns
    -------
    StableTable
    """
    gap = 1.0 - alpha
    one_minus = (gap, (1.0 - gap) - alpha)
    shift = _shift(alpha, one_minus)
    edges = _edges(shift[0] + np.log(_SERIES_UP_TO) / gap, np.log(_far_from(alpha)))
    points, to_series = _interpolation(_DEGREE)
    log_p = 0.5 * (edges[1:] + edges[:-1])[:, None] + 0.5 * np.diff(edges)[:, None] * points
    values = _values(log_p.ravel(), alpha, shift[0]).reshape(3, *log_p.shape)
    panels = np.ascontiguousarray(np.einsum("amk,sk->mas", values, to_series))
    points, to_series = _interpolation(_FAR_DEGREE)
    far = _laplace_ratios(edges[-1] - np.log(0.5 * (1.0 + points)), alpha) @ to_series.T
    series = np.stack(_series(alpha, _SERIES_TERMS))
    for array in (series, edges, panels, far):
        array.flags.writeable = False
    return StableTable(alpha, one_minus, shift, _SERIES_UP_TO, series, edges, panels, far)


def _far_from(alpha: float) -> float:
    # P beyond which values are expanded in 1/P: the scale of Laplace's method is 1 / alpha.
    return max(24.0, 12.0 / alpha)


def _shift(alpha: float, one_minus: tuple[float, float]) -> tuple[float, float]:
    # Return log A(0) = log(1 - alpha) + alpha / (1 - alpha) log(alpha) in twice the precision.
    log, log_low = log_pair(alpha, 0.0)
    log, log_low = times_pair(alpha, log, log_low)
    inner, inner_low = divide_pairs(log, log_low, one_minus[0], one_minus[1])
    gap, gap_low = log_pair(one_minus[0], one_minus[1])
    high, low = add_pairs(inner, inner_low, gap, gap_low)
    return float(high), float(low)


def _edges(low: float, high: float) -> FloatArray:
    # Panels are short near the knee at log P = 0 and grow with the distance below it.
    edges = [high]
    while edges[-1] > low:
        edges.append(edges[-1] - max(_PANEL, -0.4 * edges[-1]))
    edges[-1] = low
    return np.array(edges[::-1])


def _interpolation(degree: int) -> tuple[FloatArray, FloatArray]:
    # Return Chebyshev points and the matrix from values there to coefficients.
    # Cosines of whole multiples of a quarter step: a recurrence in the degree loses a digit.
    n = degree + 1
    odd = 2 * np.arange(n) + 1
    matrix = np.cos(np.pi / (2 * n) * (np.outer(np.arange(n), odd) % (4 * n))) * (2.0 / n)
    matrix[0] *= 0.5
    return np.cos(np.pi / (2 * n) * odd), matrix


def _series(alpha: float, terms: int) -> tuple[FloatArray, FloatArray]:
    # Return coefficients of M and of cdf / z in powers of z; with 1 - alpha small, the sines
    # are taken of multiples of 1 - alpha, which is exact, and the alternating sign drops out.
    n = np.arange(1, terms + 1)
    gap = 1.0 - alpha
    near_one = alpha >= 0.5
    turn = np.fmod((gap if near_one else alpha) * n, 2.0)
    sign = np.ones(terms) if near_one else np.where(n % 2 == 1, 1.0, -1.0)
    size = sign * np.sin(np.pi * turn) / np.pi * _gamma_ratio(alpha, n)
    return size, size / n


def _gamma_ratio(alpha: float, n: IntArray) -> FloatArray:
    # Return Gamma(alpha n) / Gamma(n); for large n, wanted near alpha = 1 only, by Stirling's
    # series, with the large parts of the two logarithms taken together.
    few = np.minimum(n, 60)
    direct = gamma(alpha * few) / gamma(few)
    many = np.maximum(n, 60).astype(np.float64)
    x = alpha * many
    gap = 1.0 - alpha
    log_ratio = (x - 0.5) * np.log1p(-gap) + gap * many * (1.0 - np.log(many))
    for power, c in ((1, 1 / 12), (3, -1 / 360), (5, 1 / 1260), (7, -1 / 1680)):
        log_ratio += c * (x**-power - many**-power)
    return np.asarray(np.where(n <= 60, direct, np.exp(log_ratio)), dtype=np.float64)


def _log_ratio(u: FloatArray, rest: FloatArray, alpha: float) -> FloatArray:
    # Return w = log(A(u) / A(0)), with ``rest = pi - u`` given to full relative accuracy.
    near = u < 1.6
    low = _log_ratio_near_zero(np.where(near, u, 0.0), alpha)
    u, rest = np.where(near, 2.0, u), np.where(near, np.pi - 2.0, rest)
    # Write b for the smaller of alpha and 1 - alpha.  Then the sine of the larger one is
    # sin(u - b u) = sin(u) (1 + q); all terms below are of the order of what they are part of.
    gap = 1.0 - alpha
    b = min(alpha, gap)
    log_q = np.log1p(np.sin(b * u) / np.tan(rest) - 2.0 * np.sin(0.5 * b * u) ** 2)
    if b == alpha:
        high = (log_q - np.log1p(-alpha)) + alpha / gap * np.log(
            np.sin(alpha * u) / (alpha * np.sin(rest))
        )
    else:
        high = (
            log_q / gap
            - np.log(np.sin(gap * np.pi + alpha * rest))
            + np.log(np.sin(gap * u) / gap)
            - alpha / gap * np.log1p(-gap)
        )
    return np.where(near, low, high)


def _log_ratio_near_zero(u: FloatArray, alpha: float) -> FloatArray:
    # The series of the module's head; its brackets, too, are sums of positive terms.
    gap = 1.0 - alpha
    two_k = np.arange(2.0, 58.0, 2.0)
    powers = -np.expm1(two_k * np.log(alpha)) * alpha / gap  # alpha + ... + alpha**2k
    x = np.square(u / np.pi)
    total = np.zeros_like(x)
    for c in (2.0 * zeta(two_k) / two_k * (powers - np.expm1(two_k * np.log1p(-alpha))))[::-1]:
        total = (total + c) * x
    return total


def _gauss_nodes(alpha: float, highest: float) -> tuple[FloatArray, FloatArray, float]:
    # Return w and the weights of du at Gauss's nodes up to w = highest, and what is left of u.
    def at(v: FloatArray) -> FloatArray:
        rest = 4.0 * np.arctan(np.exp(-v))
        u = np.where(v < 1.0, 4.0 * np.arctan(np.tanh(0.5 * v)), np.pi - rest)
        return _log_ratio(u, rest, alpha)

    def height(v: float) -> float:
        return float(at(np.array(v)))

    edges = [0.0, 1e-3]
    while True:
        low = edges[-1]
        start, step = height(low), min(low, 1.0)
        while height(low + step) - start > 1.5:
            step *= 0.8
        edges.append(low + step)
        if start > highest:
            break
    x, weight = legendre.leggauss(_GAUSS)
    v = np.array(edges)
    half = 0.5 * np.diff(v)[:, None]
    nodes = (0.5 * (v[1:] + v[:-1])[:, None] + half * x).ravel()
    return (
        at(nodes),
        (half * weight).ravel() * 2.0 / np.cosh(nodes),
        4.0 * float(np.arctan(np.exp(-v[-1]))),
    )


def _values(log_p: FloatArray, alpha: float, shift: float) -> FloatArray:
    # Return M e^P, cdf / z and sf e^P at each log P.
    gap = 1.0 - alpha
    z = np.exp(gap * (log_p - shift))
    out = np.empty((3, len(log_p)))
    deep = log_p < _DEEP
    if np.any(deep):
        # Terms fall at least like z**n, and all that matter are positive: alpha is close to 1.
        # Few terms serve the panels far below the knee, so those are summed apart.
        lag = gap * (shift - log_p)
        series = _series(alpha, int(42.0 / np.min(lag[deep])) + 1)
        upper = np.max(lag[deep])
        while np.any(deep & (lag <= upper)):
            part = deep & (lag <= upper) & (lag > 0.5 * upper)
            upper *= 0.5
            if np.any(part):
                terms = int(42.0 / np.min(lag[part])) + 1
                for row, c in enumerate(series):
                    out[row, part] = np.polynomial.polynomial.polyval(z[part], c[:terms])
        out[2, deep] = 1.0 - z[deep] * out[1, deep]
        out[::2, deep] *= np.exp(np.exp(log_p[deep]))
    rest = ~deep
    if np.any(rest):
        p = np.exp(log_p[rest])[:, None]
        w, weight, left = _gauss_nodes(alpha, np.log(45.0) - np.min(log_p[rest]))
        fall = np.exp(-p * np.expm1(w))
        out[0, rest] = (p[:, 0] / (np.pi * gap * z[rest])) * ((fall * np.exp(w)) @ weight)
        out[1, rest] = (-np.expm1(-p * np.exp(w)) @ weight + left) / (np.pi * z[rest])
        out[2, rest] = fall @ weight / np.pi
    return out


def _laplace_ratios(log_p: FloatArray, alpha: float) -> FloatArray:
    # Return M and sf over their values by Laplace's method, (2, n).
    p = np.exp(log_p)[:, None]
    w, weight, _ = _gauss_nodes(alpha, np.log(1.0 + 45.0 / np.min(p)))
    fall = np.exp(-p * np.expm1(w))
    root = np.sqrt(2.0 * alpha * p[:, 0] / np.pi)
    return np.stack([root * ((fall * np.exp(w)) @ weight), root * (fall @ weight)])

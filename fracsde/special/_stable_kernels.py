r"""Stable laws from their tables, compiled, with the exponent in twice the working precision.

All laws are values at :math:`z = s\, t^{-\alpha}` of three functions of

.. math::
    P = (1-\alpha)\, \alpha^{\alpha/(1-\alpha)}\, z^{1/(1-\alpha)}, \qquad
    \log P = \frac{\log s - \alpha \log t}{1-\alpha} + c,

times :math:`e^{-P}`.  Where a value is just representable, :math:`P = 700`, and an error of one
unit in the last place of :math:`\log P`, which may be 6, would be a relative error of
:math:`6 \cdot 10^{-13}` in the value.  So :math:`\log P` and :math:`P` are sums of two numbers
here; logarithms are good to about 1e-20 absolutely.

A pair ``(high, low)`` means ``high + low`` with ``low`` below half a unit of ``high``.  Fused or
reordered arithmetic would break the error-free sums, so there is no ``fastmath``.

Not here: how tables are made (:mod:`fracsde.special._stable_tables`).

References: [Dekker1971]_ for sums and products in pairs.
"""

from __future__ import annotations

import math

import numpy as np

from fracsde._compiled import njit

__all__ = ["CDF", "LOGPDF", "PDF", "SF", "divide_pairs", "evaluate", "log_pair", "times_pair"]

PDF, CDF, SF, LOGPDF = 0, 1, 2, 3

_SPLIT = 134217729.0  # 2**27 + 1
_LN2_HIGH, _LN2_LOW = 0.6931471805599453, 2.3190468138462996e-17
_ROOT_HALF = math.sqrt(0.5)
_THIRD, _THIRD_LOW = 1.0 / 3.0, 1.850371707708594e-17
_ARTANH = tuple(1.0 / (2 * k + 1) for k in range(12, 1, -1))  # from s**5 on


@njit(cache=True, error_model="numpy")
def _two_sum(a, b):  # type: ignore[no-untyped-def]  # compiled
    high = a + b
    back = high - a
    return high, (a - (high - back)) + (b - back)


@njit(cache=True, error_model="numpy")
def _two_product(a, b):  # type: ignore[no-untyped-def]  # compiled
    high = a * b
    c = _SPLIT * a
    a1 = c - (c - a)
    a2 = a - a1
    c = _SPLIT * b
    b1 = c - (c - b)
    b2 = b - b1
    return high, ((a1 * b1 - high) + a1 * b2 + a2 * b1) + a2 * b2


@njit(cache=True, error_model="numpy")
def add_pairs(a, a_low, b, b_low):  # type: ignore[no-untyped-def]  # compiled
    """Return the sum of two pairs.

    Returns
    -------
    two floats
    """
    high, low = _two_sum(a, b)
    return _two_sum(high, low + (a_low + b_low))


@njit(cache=True, error_model="numpy")
def times_pair(factor, a, a_low):  # type: ignore[no-untyped-def]  # compiled
    """Return a number times a pair.

    Returns
    -------
    two floats
    """
    high, low = _two_product(factor, a)
    return _two_sum(high, low + factor * a_low)


@njit(cache=True, error_model="numpy")
def divide_pairs(a, a_low, b, b_low):  # type: ignore[no-untyped-def]  # compiled
    """Return the quotient of two pairs.

    Returns
    -------
    two floats
    """
    high = a / b
    back, back_low = _two_product(high, b)
    rest = ((a - back) - back_low) + (a_low - high * b_low)
    return _two_sum(high, rest / b)


@njit(cache=True, error_model="numpy")
def log_pair(x, x_low):  # type: ignore[no-untyped-def]  # compiled
    """Return the logarithm of a positive pair as a pair.

    Returns
    -------
    two floats
    """
    m, e = math.frexp(x)
    if m < _ROOT_HALF:
        m *= 2.0
        e -= 1
    # log m = 2 artanh s with s = (m - 1) / (m + 1), so |s| < 0.172; m - 1 is exact.
    above, above_low = _two_sum(m, 1.0)
    s, s_low = divide_pairs(m - 1.0, 0.0, above, above_low)
    # The series 2 s (1 + s**2 / 3 + ...): its cubic term, up to 3e-3, is still taken as a pair.
    q, q_low = _two_product(s, s)
    third, third_low = times_pair(q, _THIRD, _THIRD_LOW)
    cubic, cubic_low = _two_product(s, third)
    cubic_low += s * (third_low + 2.0 * _THIRD * s * s_low + _THIRD * q_low) + s_low * third
    rest = 0.0
    for c in _ARTANH:
        rest = (rest + c) * q
    rest *= s * q
    high, low = add_pairs(2.0 * s, 2.0 * s_low, 2.0 * cubic, 2.0 * (cubic_low + rest))
    power, power_low = _two_product(float(e), _LN2_HIGH)
    return add_pairs(power, power_low + e * _LN2_LOW, high, low + x_low / x)


@njit(cache=True, error_model="numpy")
def _exp_pair(a, a_low):  # type: ignore[no-untyped-def]  # compiled
    # The library's exponential, corrected by how far its logarithm misses the argument.
    high = math.exp(a)
    if high < 4.0:  # an error of one ulp is worth at most four in exp(-P)
        return _two_sum(high, high * a_low)
    back, back_low = log_pair(high, 0.0)
    return _two_sum(high, high * ((a - back) + (a_low - back_low)))


@njit(cache=True, error_model="numpy")
def _chebyshev(c, x):  # type: ignore[no-untyped-def]  # compiled
    twice = 2.0 * x
    b, b_next = 0.0, 0.0
    for k in range(len(c) - 1, 0, -1):
        b, b_next = c[k] + twice * b - b_next, b
    return c[0] + x * b - b_next


@njit(cache=True, error_model="numpy")
def _powers(c, x):  # type: ignore[no-untyped-def]  # compiled
    total = 0.0
    for k in range(len(c) - 1, -1, -1):
        total = total * x + c[k]
    return total


@njit(cache=True, error_model="numpy")
def _log_argument(s, t, alpha, one_minus, shift):  # type: ignore[no-untyped-def]  # compiled
    # log P = (log s - alpha log t) / (1 - alpha) + c, as a pair.
    a, a_low = 0.0, 0.0
    if t != 1.0:
        a, a_low = log_pair(t, 0.0)
        a, a_low = times_pair(-alpha, a, a_low)
    if s != 1.0:
        b, b_low = log_pair(s, 0.0)
        a, a_low = add_pairs(b, b_low, a, a_low)
    a, a_low = divide_pairs(a, a_low, one_minus[0], one_minus[1])
    return add_pairs(a, a_low, shift[0], shift[1])


@njit(cache=True, error_model="numpy")
def _from_series(kind, z, scale, log_scale, series):  # type: ignore[no-untyped-def]  # compiled
    if kind == PDF:
        return scale * _powers(series[0], z)
    if kind == LOGPDF:
        return math.log(_powers(series[0], z)) + log_scale
    below = z * _powers(series[1], z)
    return below if kind == CDF else 1.0 - below


@njit(cache=True, error_model="numpy")
def _from_panel(kind, z, log_p, p, half, scale, log_scale, edges, panels):  # type: ignore[no-untyped-def]  # compiled
    k = max(np.searchsorted(edges, log_p, side="right") - 1, 0)
    x = (2.0 * log_p - (edges[k] + edges[k + 1])) / (edges[k + 1] - edges[k])
    if kind == PDF:
        return (half * scale) * (half * _chebyshev(panels[k, 0], x))
    if kind == LOGPDF:
        return math.log(_chebyshev(panels[k, 0], x)) + log_scale - p
    if kind == CDF and log_p < 0.0:
        return z * _chebyshev(panels[k, 1], x)
    above = half * half * _chebyshev(panels[k, 2], x)  # at most 0.4 where the cdf is asked
    return above if kind == SF else 1.0 - above


@njit(cache=True, error_model="numpy")
def _from_far(kind, s, x, p, half, factor, log_factor, alpha, gap, far):  # type: ignore[no-untyped-def]  # compiled
    # Laplace's values: sf = e^-P / sqrt(2 pi alpha P), pdf = sf P / ((1 - alpha) s).
    root = math.sqrt(2.0 * math.pi * alpha) * math.sqrt(p)
    if kind == PDF:
        return (half * (p / root / gap / s) * factor) * (half * _chebyshev(far[0], x))
    if kind == LOGPDF:
        return (math.log(_chebyshev(far[0], x) * (p / root) / gap) + log_factor - math.log(s)) - p
    above = half * half * _chebyshev(far[1], x) / root
    return above if kind == SF else 1.0 - above


@njit(cache=True, error_model="numpy")
def evaluate(s, t, stable, kind, alpha, one_minus, shift, series_up_to, series, edges, panels, far):  # type: ignore[no-untyped-def]  # compiled
    """Evaluate a law of ``E_t`` at ``s``.

    Parameters
    ----------
    s, t : (n,) float64
        Positive; ``s`` may be zero.
    stable : bool
        Whether a density is multiplied by ``alpha / t``: then it is, at ``s = 1``, that of the
        stable variable at ``t``.
    kind : int
        One of ``PDF``, ``CDF``, ``SF``, ``LOGPDF``.
    alpha, one_minus, shift, series_up_to, series, edges, panels, far
        See ``StableTable``.

    Returns
    -------
    (n,) float64
    """
    out = np.empty(len(s))
    gap = one_minus[0]
    last = edges[-1]
    start_far = math.exp(last)
    for i in range(len(s)):
        power = t[i] ** -alpha
        z = s[i] * power
        factor = alpha / t[i] if stable else 1.0
        # Where powers of t overflow, the density is taken from its logarithm.
        use = LOGPDF if kind == PDF and factor * power == np.inf else kind
        if power == np.inf:
            z = math.exp(math.log(s[i]) - alpha * math.log(t[i])) if s[i] > 0.0 else 0.0
        log_factor, log_scale = 0.0, 0.0
        if use == LOGPDF:
            log_factor = math.log(alpha) - math.log(t[i]) if stable else 0.0
            log_scale = log_factor - alpha * math.log(t[i])
        if z <= series_up_to:
            value = _from_series(use, z, factor * power, log_scale, series)
        else:
            log_p, log_p_low = _log_argument(s[i], t[i], alpha, one_minus, shift)
            if log_p > 709.0:
                value = 1.0 if use == CDF else (-np.inf if use == LOGPDF else 0.0)
            else:
                p, p_low = _exp_pair(log_p, log_p_low)
                half = math.exp(-0.5 * p) * (1.0 - 0.5 * p_low)
                if log_p < last:
                    value = _from_panel(
                        use, z, log_p, p, half, factor * power, log_scale, edges, panels
                    )
                else:
                    x = 2.0 * (start_far / p) - 1.0
                    value = _from_far(use, s[i], x, p, half, factor, log_factor, alpha, gap, far)
        out[i] = math.exp(value) if use != kind else value
    return out

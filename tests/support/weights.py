"""Weights of convolution schemes to high precision, from the definition."""

import mpmath
import numpy as np


def moments(left, right, alpha):
    """Mean times length, and moment about the midpoint, of the kernel between two distances."""
    a = mpmath.mpf(alpha)
    b, c = 1 - a, 2 - a
    area = (left**b - right**b) / b
    first = (left**c - right**c) / c
    middle = (left + right) / 2
    return area * mpmath.rgamma(1 - a), (middle * area - first) * mpmath.rgamma(1 - a)


def exact_weight(times, k, *, alpha, theta, lean):
    """Weight of increment ``k`` in the last step, in multiple precision."""
    n = len(times) - 1
    t = [mpmath.mpf(float(x)) for x in times[max(k - 1, 0) : min(k + 3, n + 1)]]
    off = max(k - 1, 0)
    last, before = mpmath.mpf(float(times[n])), mpmath.mpf(float(times[n - 1]))
    at = before + mpmath.mpf(theta) * (last - before)

    def cell(j):
        return t[j + 1 - off] - t[j - off]

    def integrals(j):
        right = at - t[j + 1 - off] if j < n - 1 else mpmath.mpf(0)
        return moments(at - t[j - off], right, alpha)

    weight = integrals(k)[0] / cell(k)
    # The parabolas that hold increment k as their later and as their earlier one.
    for a, b in ((k - 1, k), (k, k + 1)):
        j = a if lean > 0 else b
        if a < 0 or b > n - 1 or lean == 0:
            continue
        if lean < 0 and cell(b) > (1 + mpmath.sqrt(2)) * cell(a):
            continue
        tilt = 2 * integrals(j)[1] / (cell(a) + cell(b))
        weight += tilt / cell(k) if k == b else -tilt / cell(k)
    return weight


def worst_weight_error(scheme, times, alpha, picked, weights=None):
    """Largest error of picked weights of the last step, relative to the moments behind them."""
    found = scheme.weights(times, alpha=alpha) if weights is None else weights
    with mpmath.workdps(160):
        theta = mpmath.mpf(scheme.point(alpha))
        return max(
            float(
                abs(
                    mpmath.mpf(float(found[k]))
                    / exact_weight(times, int(k), alpha=alpha, theta=theta, lean=scheme.lean)
                    - 1
                )
            )
            for k in np.asarray(picked)
        )

r"""The kernel of fractional integrals as a sum of exponentials, from a rule of quadrature.

.. math::
    \frac{t^{\alpha - 1}}{\Gamma(\alpha)}
    = \frac{\sin \pi \alpha}{\pi} \int_0^\infty e^{-p t}\, p^{-\alpha}\, dp , \qquad
    p = \exp(x - e^{-x}) ,

by the trapezoidal rule in ``x``: the integrand decays doubly exponentially at both ends.  The step
is shortened until the error, measured on a fine grid of the window, keeps the tolerance.  The
shortest sums (:func:`fracsde.special.power_exponentials`) have up to a third fewer terms; these
are there at once, for any window, which an adaptive solver that meets it only at run time needs.

At :math:`\alpha = 1` the kernel is constant: one term of rate zero.

References: [TrefethenWeideman2014]_ for the trapezoidal rule.
"""

from __future__ import annotations

from functools import lru_cache
from math import gamma, log
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["integral_kernel"]

_PER_DECADE = 20  # points of the grid on which errors are measured
_STILL = 1e-18  # rates times the last time that are zero to rounding
_TINY = 1e-3  # share of the tolerance that one dropped term may be worth


@lru_cache(maxsize=64)
def integral_kernel(
    alpha: float, *, rtol: float, first: float, last: float
) -> tuple[FloatArray, FloatArray]:
    """Return weights and rates of a sum of exponentials for the kernel on a window of times.

    Parameters
    ----------
    alpha : float [1]
        Order of the integral, ``0 < alpha <= 1``.
    rtol : float [1]
        Largest relative error, at least 1e-14.
    first, last : float [t]
        The window.

    Returns
    -------
    weights : (k,) ndarray of float64 [t**(alpha - 1)]
        Positive; read-only.
    rates : (k,) ndarray of float64 [1/t]
        Increasing, not negative; read-only.

    Examples
    --------
    >>> weights, rates = integral_kernel(0.5, rtol=1e-10, first=1e-6, last=1.0)
    >>> bool(abs(weights @ np.exp(-rates * 0.01) / (0.01**-0.5 / gamma(0.5)) - 1) < 1e-10)
    True
    """
    if alpha == 1.0:
        return _frozen(np.ones(1), np.zeros(1))
    ratio = last / first
    times = np.geomspace(1.0 / ratio, 1.0, _PER_DECADE * int(1 + np.log10(ratio)) + 50)
    wanted = times ** (alpha - 1.0) / gamma(alpha)
    step = 2.0 * np.pi / (log(3.0) + (1.0 - alpha) * log(1.0 / np.cos(1.0)) + log(10.0 / rtol))
    best: tuple[float, FloatArray, FloatArray] = (np.inf, np.ones(1), np.ones(1))
    for shorter in 1.9 * 0.94 ** np.arange(24):
        weights, rates = _rule(alpha, step * shorter, ratio, rtol)
        error = float(np.abs(np.exp(-times[:, None] * rates) @ weights / wanted - 1.0).max())
        if error < best[0]:
            best = (error, weights, rates)
        if error <= 0.7 * rtol:  # a ripple may peak between two points
            break
    _, weights, rates = best
    return _frozen(weights * last ** (alpha - 1.0), rates / last)


def _rule(alpha: float, step: float, ratio: float, rtol: float) -> tuple[FloatArray, FloatArray]:
    # On the window (1 / ratio, 1), without the terms that are never seen.
    low = -log(max(60.0 / (1.0 - alpha), 60.0))
    high = log(ratio) + log(60.0 + log(1.0 / rtol))
    x = step * np.arange(np.floor(low / step), np.ceil(high / step) + 1)
    rates = np.exp(x - np.exp(-x))
    # The power is taken before the rates underflow, which orders near one need.
    powers = np.exp((1.0 - alpha) * (x - np.exp(-x))) * (1.0 + np.exp(-x))
    weights = powers * (step * np.sin(np.pi * (1.0 - alpha)) / np.pi)
    still = rates < _STILL
    if still.any():
        weights = np.append(weights[still].sum(), weights[~still])
        rates = np.append(0.0, rates[~still])
    # Largest over the window of a term against the kernel, reached at (1 - alpha) / rate.
    seen = np.clip((1.0 - alpha) / np.maximum(rates, 1e-300), 1.0 / ratio, 1.0)
    share = weights * np.exp(-rates * seen) * seen ** (1.0 - alpha) * gamma(alpha)
    keep = share > _TINY * rtol
    return weights[keep], rates[keep]


def _frozen(weights: FloatArray, rates: FloatArray) -> tuple[FloatArray, FloatArray]:
    weights.flags.writeable = rates.flags.writeable = False
    return weights, rates

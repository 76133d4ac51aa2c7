"""Tolerances in units of rounding error, and exact solutions made without fracsde."""

from __future__ import annotations

import mpmath
import numpy as np
from scipy.special import erfcx

EPS = float(np.finfo(np.float64).eps)


def close(value: object, expected: object, *, units: float = 16.0, scale: object = None) -> bool:
    """Whether values agree to ``units`` rounding errors of ``scale`` (default: the largest)."""
    value, expected = np.asarray(value), np.asarray(expected)
    if value.shape != expected.shape:
        return False
    size = np.abs(expected).max(initial=0.0) if scale is None else np.asarray(scale)
    return bool(np.all(np.abs(value - expected) <= units * EPS * size))


def relaxation(x: float, alpha: float) -> float:
    """Return ``E_alpha(-x)`` by high precision: the power series, or the spectral integral."""
    if alpha == 1.0:
        return float(mpmath.exp(-x))
    if x <= 4.0:
        # Terms grow to exp(x**(1/alpha)) before they cancel.
        with mpmath.workdps(40 + int(x ** (1 / alpha) / 2.3)):
            total, k = mpmath.mpf(0), 0
            while True:
                term = mpmath.mpf(-x) ** k * mpmath.rgamma(1 + mpmath.mpf(alpha) * k)
                total, k = total + term, k + 1
                if alpha * k > x ** (1 / alpha) and abs(term) < mpmath.mpf(10) ** -30:
                    return float(total)
    with mpmath.workdps(30):
        a, reach = mpmath.mpf(alpha), mpmath.mpf(x) ** (1 / mpmath.mpf(alpha))
        top = a * mpmath.log(100 / reach)
        cuts = sorted({c for c in (-10, -5, -2, -1, -0.1, 0, 0.1, 1, 2, 5) if c < top} | {top})

        def spectrum(w: mpmath.mpf) -> mpmath.mpf:
            r = mpmath.exp(w)
            return (
                mpmath.exp(-mpmath.exp(w / a) * reach)
                * r
                / (r * r + 2 * r * mpmath.cos(mpmath.pi * a) + 1)
            )

        low = min(mpmath.mpf(-70), top - 70)
        return float(
            mpmath.sin(mpmath.pi * a) / (mpmath.pi * a) * mpmath.quad(spectrum, [low, *cuts])
        )


def half_order_relaxation(x: np.ndarray) -> np.ndarray:
    """Return ``E_{1/2}(-x) = exp(x**2) erfc(x)``."""
    return erfcx(x)


def fractional_ornstein_uhlenbeck(
    x: np.ndarray, t: float, *, mean: float, std: float, terms: int = 120
) -> np.ndarray:
    """Return the density for ``V = x**2 / 2``, ``D = 1``, ``alpha = 1/2``, Gaussian start.

    Hermite series with Mittag-Leffler amplitudes; ``std < 1``.
    """
    q = np.sqrt(1.0 - std**2)
    h_start, h_x = [1.0, mean / q], [np.ones_like(x), x]
    for k in range(1, terms):
        h_start.append((mean / q * h_start[k] - np.sqrt(k) * h_start[k - 1]) / np.sqrt(k + 1))
        h_x.append((x * h_x[k] - np.sqrt(k) * h_x[k - 1]) / np.sqrt(k + 1))
    n = np.arange(terms + 1)
    amplitude = q**n * np.array(h_start) * half_order_relaxation(n * np.sqrt(t))
    return np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi) * (amplitude @ np.array(h_x))

r"""Smooth functions as Chebyshev series: values, derivatives and integrals to rounding.

On :math:`[a, b]` with :math:`x = \tfrac12 (a + b) + \tfrac12 (b - a) \cos\theta` a function is

.. math::
    f(x) = \sum_{k=0}^{n} c_k \cos k\theta ,

interpolated at :math:`\theta_j = j\pi/n`.  The degree doubles until the last coefficients are
rounding, and what lies below rounding is cut off: a polynomial keeps its own degree, so that its
derivatives lose no digits.  A function that is not settled at degree 1024 is refused.

=================  =====================================================================
values             rounding of the largest value on the interval
integral           the same, times the length
derivative         the same, times ``n`` in the middle and ``n**2`` at the ends, over the length
=================  =====================================================================

``tests/operators/test_smooth.py`` measures the table.

Not here: which functions are needed (:mod:`fracsde.operators.landscape`).

Reference: [Trefethen2013]_ for series that choose their degree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import dct

from fracsde.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

__all__ = ["ChebyshevSeries", "fit"]

_EPS = float(np.finfo(np.float64).eps)
_DEGREES = (32, 64, 128, 256, 512, 1024)
_SETTLED = 64.0  # rounding errors of the largest value that the last coefficients may have
_CHECKS = 4001  # points between which nothing may hide
_STRAY = 1024.0  # rounding errors of the largest value by which the series may miss them
_NOISE = 2.0  # rounding errors below which a trailing coefficient is cut off


@dataclass(frozen=True, kw_only=True, eq=False)
class ChebyshevSeries:
    """A polynomial on an interval, by its Chebyshev coefficients.

    Parameters
    ----------
    box : (float, float) [x]
        Ends of the interval.
    coefficients : (n + 1,) float64 [f]
        Of ``cos(k theta)``.
    """

    box: tuple[float, float]
    coefficients: FloatArray

    def __call__(self, x: FloatArray) -> FloatArray:
        """Return values at points of the interval.

        Parameters
        ----------
        x : ndarray of float64 [x]
            Points; beyond the ends by rounding at most.

        Returns
        -------
        ndarray of float64 [f]
        """
        a, b = self.box
        theta = np.arccos(np.clip((2.0 * x - (a + b)) / (b - a), -1.0, 1.0))
        k = np.arange(len(self.coefficients))
        return np.asarray(np.cos(theta[..., None] * k) @ self.coefficients)

    def derivative(self) -> ChebyshevSeries:
        """Return the derivative.

        Returns
        -------
        ChebyshevSeries
            One degree lower, [f/x].
        """
        c, (a, b) = self.coefficients, self.box
        if len(c) == 1:
            return replace(self, coefficients=np.zeros(1))
        k = np.arange(1, len(c))
        slopes = 2.0 * k * c[1:] * (2.0 / (b - a))
        # Sums over every second term above: d[k] = 2 (k + 1) c[k + 1] + d[k + 2].
        d = np.empty(len(c) - 1)
        for parity in (0, 1):
            d[parity::2] = np.cumsum(slopes[parity::2][::-1])[::-1]
        d[0] *= 0.5
        return replace(self, coefficients=d)

    def antiderivative(self) -> ChebyshevSeries:
        """Return the integral that is zero at the lower end.

        Returns
        -------
        ChebyshevSeries
            One degree higher, [f x].
        """
        c, (a, b) = self.coefficients, self.box
        padded = np.concatenate([[2.0 * c[0]], c[1:], [0.0, 0.0]])
        k = np.arange(1, len(c) + 1)
        upper = 0.25 * (b - a) * (padded[k - 1] - padded[k + 1]) / k
        at_lower_end = float(upper @ (-1.0) ** k)
        return replace(self, coefficients=np.concatenate([[-at_lower_end], upper]))


def fit(
    name: str, function: Callable[[FloatArray], FloatArray], box: tuple[float, float]
) -> ChebyshevSeries:
    """Return the series of a smooth function.

    Parameters
    ----------
    name : str
        What the function is, for the message.
    function : callable
        Takes points [x], returns finite values [f].
    box : (float, float) [x]
        Ends of the interval, both finite.

    Returns
    -------
    ChebyshevSeries

    Raises
    ------
    UnsupportedError
        If the coefficients are not down to rounding at the highest degree tried.

    Examples
    --------
    >>> slope = fit("potential", np.sin, (-1.0, 2.0)).derivative()
    >>> bool(abs(slope(np.array([0.5]))[0] - np.cos(0.5)) < 1e-14)
    True
    """
    a, b = box
    for n in _DEGREES:
        angles = np.pi * np.arange(n + 1) / n
        # The sine form places points symmetrically, to the last digit.
        x = 0.5 * (a + b) + 0.5 * (b - a) * np.sin(0.5 * np.pi - angles)
        values = function(np.clip(x, a, b))
        c = dct(values, type=1) / n
        c[[0, -1]] *= 0.5
        scale = float(np.abs(values).max())
        if np.abs(c[-(n // 8) :]).max() <= _SETTLED * _EPS * scale:
            kept = np.flatnonzero(np.abs(c) > _NOISE * _EPS * scale)
            last = int(kept[-1]) if kept.size else 0
            series = ChebyshevSeries(box=(a, b), coefficients=c[: last + 1])
            # Few samples may all miss a narrow feature.
            x = np.linspace(a, b, _CHECKS)
            if np.abs(series(x) - function(x)).max() <= _STRAY * _EPS * scale:
                return series
    msg = (
        f"`{name}` is not smooth enough for a spectral operator: on ({a:g}, {b:g}) a polynomial of "
        f"degree {n} misses it by {np.abs(c[-(n // 8) :]).max() / scale:.1e} of its largest "
        "value; use FiniteVolume(), which needs no derivatives"
    )
    raise UnsupportedError(msg)

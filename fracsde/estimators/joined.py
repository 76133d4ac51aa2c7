r"""A random walk beneath a stationary series: what the gaps of a joined record add to its sums.

A series that was to be stationary jumps wherever the record leaves out steps.  Where jumps are
independent of one another, its cosine transform over ``n`` places has coefficients that are nearly
so, with

.. math::
    \mathbb E\,\hat R_k^2 \simeq s + c\,u_k, \qquad u_k = \frac{1}{4 \sin^2(\pi k / 2n)} ,

:math:`s` the density of the stationary part, flat for :math:`k \le n / 4\tau`, and :math:`c` the
variance that jumps add in one place: a walk with free ends has exactly these :math:`u_k`.  Both are
taken from the largest Gaussian likelihood over that band [Whittle1953]_, without its first
coefficient, because a slope was taken from the series.  Jumps add :math:`c\,n` to the variance of
the difference between both ends, with the degrees of freedom

.. math::
    \nu = R \Bigl(\sum q_k^2 - \frac{(\sum p_k q_k)^2}{\sum p_k^2}\Bigr), \qquad
    q_k = 1 - p_k = \frac{c\,u_k}{s + c\,u_k} ,

of ``R`` chains, from Fisher's information on the logarithms.  Coefficients divided by
:math:`(1 + c\,u_k / s)^{1/2}` are those of the stationary part.  Where the walk is not outweighed
at the end of a band, or the coefficients beyond are those of a walk alone, a wider one is tried.

Not here: what the ends of the stationary part add, :mod:`fracsde.estimators.ends`.

References: [Whittle1953]_.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, optimize

from fracsde.errors import RecordError
from fracsde.estimators.correlation_times import correlation_times
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.estimators.correlation_times import CorrelationTimes

__all__ = ["Parted", "parted"]

_BAND = 4.0  # n / tau over the width of the band
_FIRST = 16  # coefficients of the first band
_MOST = 0.25  # walk over series at its end
_LEAST = 0.25  # of the density of the series, what is left beyond it: of a walk alone an eighth
_GRID = 41


@dataclass(frozen=True, kw_only=True, eq=False)
class Parted:
    """A series without the walk beneath it.

    Parameters
    ----------
    series : (chain, place) ndarray of float64 [x]
        The stationary part.
    times : CorrelationTimes
        Its variance and integrated time.
    walk : float [x^2]
        Variance that jumps add in one place.
    degrees : float [1]
        Of its estimate.
    """

    series: FloatArray
    times: CorrelationTimes
    walk: float
    degrees: float


def parted(series: FloatArray) -> Parted | None:
    """Take from a series the walk beneath it.

    Parameters
    ----------
    series : (chain, place) ndarray of float64 [x]
        Of mean zero in each chain.

    Returns
    -------
    Parted or None
        None where no band tells walk from series, or what is left is refused as too short.

    Examples
    --------
    Independent draws of variance 1, and a jump in the middle:

    >>> draws = np.random.default_rng(1).standard_normal((1, 1000))
    >>> draws[:, 500:] += 2.0
    >>> found = parted(draws - draws.mean())
    >>> round(float(found.times.variance[0]), 2), round(1000 * found.walk, 1)
    (0.97, 2.9)
    """
    places = series.shape[1]
    coefficients = fft.dct(series, axis=1, norm="ortho")
    grown = 0.25 / np.square(np.sin(0.5 * np.pi * np.arange(places) / places)[1:])
    band = _FIRST
    while band <= places / _BAND:
        found = _over(coefficients, grown, band)
        if found is not None:
            tau = max(float(found.times.tau[0]), 1.0)
            flat = max(_FIRST, int(places / (_BAND * tau)))
            return _over(coefficients, grown, flat) or found
        band *= 2
    return None


def _over(coefficients: FloatArray, grown: FloatArray, band: int) -> Parted | None:
    # Both parts as coefficients 2 to the band show them.
    places = coefficients.shape[1]
    u, squares = grown[1:band], np.square(coefficients[:, 2 : band + 1]).mean(axis=0)
    if not squares.any():
        return None
    share = _share(squares / squares.max(), u)
    density = float(np.mean(squares / (1.0 + share * u)))
    beyond = np.square(coefficients[:, band + 1 : 2 * band + 1])
    if share * u[-1] > _MOST or beyond.mean() < _LEAST * density:
        return None
    still = coefficients.copy()
    still[:, 1:] /= np.sqrt(1.0 + share * grown)
    series = fft.idct(still, axis=1, norm="ortho")
    run = Trajectory(values=series[:, :, None], times=np.arange(float(places)))
    try:
        times = correlation_times(run, np.zeros(1))
    except RecordError:
        return None
    q = share * u / (1.0 + share * u)
    p = 1.0 - q
    return Parted(
        series=series,
        times=times,
        walk=share * density,
        degrees=len(coefficients) * float(q @ q - (p @ q) ** 2 / (p @ p)),
    )


def _share(squares: FloatArray, u: FloatArray) -> float:
    # c / s where squares with means s + c u have the largest likelihood, s known to them alone.
    def cost(log_share: float) -> float:
        means = 1.0 + np.exp(log_share) * u
        return float(len(u) * np.log(np.mean(squares / means)) + np.log(means).sum())

    # From a hundredth of the series where the walk is largest to a hundred times where least.
    logs = np.linspace(-np.log(100.0 * u[0]), np.log(100.0 / u[-1]), _GRID)
    best = int(np.argmin([cost(x) for x in logs]))
    bounds = logs[max(best - 1, 0)], logs[min(best + 1, _GRID - 1)]
    found = optimize.minimize_scalar(cost, bounds=bounds, method="bounded")
    without = len(u) * np.log(np.mean(squares))
    return float(np.exp(found.x)) if found.fun < without else 0.0

r"""The error of a difference that telescopes: that of its two ends.

Over consecutive steps of SGD the sides of the first fluctuation-dissipation relation differ by what
a stationary series :math:`A_t` has gained, with momentum too,

.. math::
    w_t \cdot g_t - \frac{1 + \mu}{2\eta(1 - \tau)} |v_{t+1}|^2 = A_t - A_{t+1}, \qquad
    A_t = \frac{|w_t|^2 - \mu |w_{t-1}|^2 + \mu |v_t|^2}{2\eta(1 - \tau)} ,

so that the means over :math:`T` steps of :math:`R` chains have a difference of long-run variance
zero, and its error, once :math:`T` is long against the memory of :math:`A`, is that of the ends,

.. math::
    \bar a - \rho\,\bar b = \frac{1}{RT} \sum_r (A_{r,0} - A_{r,T}), \qquad
    \mathrm{se}^2 = \frac{2 \operatorname{Var} A}{R\,T^2} ,

smaller by the root of their number than what blocks show, each of which has ends of its own.
Up to a constant :math:`A` is seen in the sums over the first :math:`t` steps,

.. math::
    \sum_{s < t} a_s = \rho \sum_{s < t} b_s + A_0 - A_t :

both grow without bound and a mixture of them does not.  Their regression gives :math:`A` as what
remains, whatever :math:`\rho` is [EngleGranger1987]_.  Where the record joins windows of
consecutive steps, what remains jumps between them, and the jumps are a random walk beneath
:math:`A`; it is told from :math:`A`, and its variance added, by :mod:`fracsde.estimators.joined`.
Of draws that skip steps throughout, sums are a walk, and there is then no such error.

The law of :math:`A_0 - A_T` need not be normal; of one weight it has the excess 6.  It is taken as
that of differences of all pairs of draws of :math:`A`, by Fourier transform, and the degrees of
freedom are those of the Student's law that has the same quantile; those of the estimated variances
are put in parallel.

Not here: records whose difference does not telescope, :mod:`fracsde.estimators.ratios`.

References: [EngleGranger1987]_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, optimize, special

from fracsde.errors import RecordError
from fracsde.estimators.chains import MIN_CHAINS, freedom
from fracsde.estimators.correlation_times import correlation_times
from fracsde.estimators.joined import parted
from fracsde.estimators.ratios import ratio_of

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.estimators.ratios import Ratio
    from fracsde.records.trajectory import Trajectory

__all__ = ["quantile_of_ends", "ratio_of_ends"]

_APART = 20.0  # autocorrelation times between the ends of a chain
_WINDOW = 8.0  # and between gaps
_GAPS = 32.0  # as many as jumps would show, beyond which blocks are right as well
_GRID = 1 << 14
_SEEN = 2.0  # independent draws in the tails that a quantile is read from
_MOST = 1e9  # degrees of freedom


def ratio_of_ends(series: Trajectory, *, level: float) -> Ratio | None:
    """Measure the ratio of two means whose difference telescopes, as far as the record shows.

    Parameters
    ----------
    series : Trajectory
        Both sides, two coordinates.
    level : float [1]
        Chance that the interval misses.

    Returns
    -------
    Ratio or None
        None where the difference is not seen to telescope, and of 16 chains or more, whose spread
        knows it.
    """
    chains, draws = series.values.shape[:2]
    top, bottom = (float(mean) for mean in series.values.mean(axis=(0, 1)))
    if chains >= MIN_CHAINS or not bottom:
        return None
    found = parted(_remains(series.values))
    if found is None:
        return None
    tau = max(float(found.times.tau[0]), 1.0)
    if draws < _APART * tau:
        return None
    try:
        of_bottom = correlation_times(series).stderr_of_mean[1]
    except RecordError:
        return None
    # The regression took a mean from each chain and one slope from all.
    variance = float(found.times.variance[0]) * (1.0 + (1.0 + 1.0 / chains) * tau / draws)
    of_ends, of_jumps = 2.0 * variance, found.walk * draws
    if of_jumps > of_ends * min(_GAPS, draws / (_WINDOW * tau)):
        return None
    share = of_jumps / (of_ends + of_jumps)
    of_sums = (of_ends + of_jumps) / (chains * draws**2)
    ratio = top / bottom
    V = of_sums * np.diag([1.0, 0.0])
    V += of_bottom**2 * np.outer([ratio, 1.0], [ratio, 1.0])
    joined = " joined by gaps" if share > 0.5 else ""
    method = f"the ends of {chains} chains of {draws} consecutive steps{joined}"
    inverse = (1.0 - share) ** 2 / _degrees(found.series, found.times.count / tau, level)
    if share > 0.0:
        inverse += share**2 / found.degrees
    count = 1.0 + max(1.0, 1.0 / inverse)
    return ratio_of(top, bottom, V, count=count, level=level, method=method)


def _remains(values: FloatArray) -> FloatArray:
    # What the sums over the first steps of the first side leave beside those of the second.
    sums = np.zeros((2, values.shape[0], values.shape[1] + 1))
    np.cumsum(np.moveaxis(values, 2, 0), axis=2, out=sums[:, :, 1:])
    sums -= sums.mean(axis=2, keepdims=True)
    a, b = sums
    return np.asarray(a - np.vdot(a, b) / np.vdot(b, b) * b, dtype=np.float64)


def _degrees(A: FloatArray, independent: float, level: float) -> float:
    # Of Student's law with the quantile of the ends', and of their variance, in parallel.
    square = np.square(A).mean()
    seen = max(level, min(_SEEN / independent, 0.5))
    reach = quantile_of_ends(A, seen) / np.sqrt(2.0 * len(A) * square)
    of_law = _student(reach, seen)
    of_variance = float(freedom(square, np.square(np.square(A)).mean(), independent)) - 1.0
    return max(1.0, 1.0 / (1.0 / of_law + 1.0 / of_variance))


def _student(reach: float, level: float) -> float:
    # Degrees of freedom of the law whose two-sided quantile it is.
    def beyond(log_degrees: float) -> float:
        return -float(special.stdtrit(np.exp(log_degrees), 0.5 * level)) - reach

    last = float(np.log(_MOST))
    if beyond(last) >= 0.0:
        return _MOST
    return float(np.exp(optimize.brentq(beyond, 0.0, last))) if beyond(0.0) > 0.0 else 1.0


def quantile_of_ends(A: FloatArray, level: float) -> float:
    r"""Return what the sum over chains of :math:`A_0 - A_T` exceeds in size with a given chance.

    Parameters
    ----------
    A : (chain, draw) ndarray of float64
        Draws of the law of both ends, the same of every chain.
    level : float [1]
        The chance.

    Returns
    -------
    float
        To a few thousandths of the range of ``A``.

    Examples
    --------
    Two ends that are 0 or 1 differ half of the time:

    >>> A = np.tile([0.0, 1.0], (1, 50))
    >>> round(quantile_of_ends(A, 0.6), 1), round(quantile_of_ends(A, 0.4), 1)
    (0.0, 1.0)
    """
    low, chains = A.min(), len(A)
    step = 2.0 * (chains + 0.5) * (A.max() - low) / _GRID
    counts = np.bincount(np.rint((A.ravel() - low) / step).astype(np.intp), minlength=_GRID)
    law = fft.irfft(np.abs(fft.rfft(counts / A.size)) ** (2 * chains), _GRID)
    above = 2.0 * np.cumsum(law[_GRID // 2 : 0 : -1])[::-1]  # entry k: beyond k steps
    return float(step * np.argmax(np.append(above, 0.0) <= level))

r"""How far time averages over one record scatter: the ergodicity-breaking parameter.

A record of ``n`` draws gives the time-averaged mean-square displacement over a lag of :math:`l`
draws, and the time-averaged variance about the known mean,

.. math::
    \overline{\delta^2}(l) = \frac{1}{n - l} \sum_{t < n-l} |X_{t+l} - X_t|^2, \qquad
    \overline{\sigma^2} = \frac1n \sum_{t<n} |X_t - m|^2 .

Both are means of squares of a stationary normal sequence, with autocovariance :math:`C(s)`,

.. math:: C(s) = 2R(s) - R(s+l) - R(s-l) \qquad\text{and}\qquad C(s) = R(s),

and by Isserlis' theorem [Isserlis1918]_ the mean of :math:`N` of them has the variance

.. math::
    V = \frac{2}{N^2} \Big[ N \|C(0)\|_F^2 + 2 \sum_{s=1}^{N-1} (N - s)\,\|C(s)\|_F^2 \Big],
    \qquad
    \mathrm{EB}(l) = \frac{V}{(\operatorname{Tr} C(0))^2} ,

exactly; along a direction the norms and the trace are single numbers.  The parameter is that of
[He2008]_: about :math:`4l/(3n)` where the process still diffuses freely, and falling to zero with
:math:`1/n` where it has settled.

The sum has ``n`` terms, not :math:`n^2`, and in a process of modes each beyond the lag costs
``O(d)``: there :math:`\|C(s)\|_F^2` is a sum over modes with the weights
:math:`\sum_j \Sigma_{ij}^2`.

For a law with noise that depends on the state, these are the values of the normal law with the same
autocovariances.

**Shuffled epochs** (:mod:`fracsde.observables._epoch_records`) correlate differently from each
phase, so that records begin at any phase with equal chance.  The values are those of normal steps,
which batches of many examples make.  An epoch uses every example once, and squares of single
examples add up to the same number in each: over lags of one step true averages scatter less, their
variance by a relative ``1 / B``; over longer lags and of the weights themselves by less than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import finite_array
from fracsde._transient_inputs import read_epoch_directions
from fracsde.errors import OutOfRangeError
from fracsde.lyapunov.evolution import along, lifted
from fracsde.lyapunov.processes import as_epochs, as_linear, require_stationary, white_noise
from fracsde.observables._correlations import correlations
from fracsde.observables._epoch_records import EpochRecord
from fracsde.observables._laws import second_order, step_spacing, whole

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.lyapunov.propagators import LinearProcess
    from fracsde.observables._laws import LinearLaw
    from fracsde.problems.epochs import EpochRecursion

__all__ = ["averaging_error", "ergodicity_breaking"]

# Numbers of draws whose terms take some gigabytes.
_MOST_DRAWS = 10**8


def ergodicity_breaking(
    law: LinearLaw,
    lags: ArrayLike,
    draws: int,
    *,
    spacing: float = 1.0,
    directions: ArrayLike | None = None,
) -> FloatArray:
    r"""Return the relative variance of the time-averaged mean-square displacement of one record.

    .. math:: \mathrm{EB}(l) = \operatorname{Var}\overline{\delta^2}(l)
        \big/ \big(\mathrm{E}\,\overline{\delta^2}(l)\big)^2

    Parameters
    ----------
    law : OUProcess, LinearRecursion, SGDNearMinimum, QuadraticLossSGD or with ``second_order()``
        Stable; SGD stands for its map, or for its shuffled epochs.
    lags : (lag,) array_like [draws]
        Whole numbers, from 1 to ``draws - 1``.
    draws : int
        Length ``n`` of the record.
    spacing : float [t, or steps]
        Time between draws; whole for a map.
    directions : (k, p) array_like [1], optional
        One direction per column, used as they are.

    Returns
    -------
    (lag,) or (lag, p) float64 [1]
        Of the displacement summed over the observed coordinates, or along each direction; NaN
        along a direction that does not move.

    Raises
    ------
    OutOfRangeError
        If a lag is not a whole number, or too long for the record; if shuffled epochs need more
        memory than 1.6 GB.
    UnsupportedError
        If rounding leaves fewer than six digits of a displacement of shuffled epochs.

    References
    ----------
    [Isserlis1918]_, [He2008]_

    Examples
    --------
    A slow mode diffuses freely over short lags:

    >>> from fracsde import OUProcess
    >>> slow = OUProcess(drift=[[1e-9]], noise=[[1.0]])
    >>> ergodicity_breaking(slow, [10], 1000).round(5)
    array([0.0135])
    """
    variance, mean = _displacements(law, lags, draws, spacing, directions)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(variance / mean / mean)


def averaging_error(
    law: LinearLaw,
    draws: int,
    *,
    lags: ArrayLike | None = None,
    spacing: float = 1.0,
    directions: ArrayLike | None = None,
) -> FloatArray:
    r"""Return the standard error of a time average over one stationary record.

    .. math:: \operatorname{sd}\,\overline{\sigma^2} \qquad\text{or}\qquad
        \operatorname{sd}\,\overline{\delta^2}(l)

    Parameters
    ----------
    law : OUProcess, LinearRecursion, SGDNearMinimum, QuadraticLossSGD or with ``second_order()``
        Stable; SGD stands for its map, or for its shuffled epochs.
    draws : int
        Length of the record.
    lags : (lag,) array_like [draws], optional
        Those of a mean-square displacement; without them the average is the variance about the
        known mean.
    spacing : float [t, or steps]
        Time between draws; whole for a map.
    directions : (k, p) array_like [1], optional
        One direction per column, used as they are.

    Returns
    -------
    float64 [x^2]
        One number for each lag and each direction, as ``(lag,)``, ``(lag, p)``, ``()`` or ``(p,)``.

    References
    ----------
    [Isserlis1918]_

    Examples
    --------
    Independent draws of unit variance:

    >>> from fracsde import LinearRecursion
    >>> white = LinearRecursion(transition=[[0.0]], noise=[[1.0]])
    >>> float(averaging_error(white, 200))
    0.1
    """
    if lags is not None:
        return np.sqrt(_displacements(law, lags, draws, spacing, directions)[0])
    epochs = as_epochs(law)
    if epochs is not None:
        n = _read_draws(draws, low=1)
        return np.sqrt(_epoch_record(epochs, n, spacing, directions).squares()[0])
    process = second_order(law)
    n, gap = _read_draws(draws, low=1), step_spacing(process, spacing)
    when = np.arange(n)
    if directions is None:
        squares = correlations(process, gap).kept_norms(when)
        return np.sqrt(_variance(squares, n))
    U = lifted(process, directions)
    along_each = along(
        process, gap * when.astype(np.float64), U, require_stationary(process).matrix @ U
    )
    return np.sqrt(_variance(along_each**2, n))


def _displacements(
    law: LinearLaw, lags: ArrayLike, draws: int, spacing: float, directions: ArrayLike | None
) -> tuple[FloatArray, FloatArray]:
    # Variance and mean of time-averaged displacements.
    n = _read_draws(draws, low=2)
    chosen = _read_lags(lags, n)
    epochs = as_epochs(law)
    if epochs is not None:
        record = _epoch_record(epochs, n, spacing, directions)
        each = [record.increments(int(lag)) for lag in chosen]
        variance, mean = (np.array(part) for part in zip(*each, strict=True))
        return variance, mean
    process = second_order(law)
    gap = step_spacing(process, spacing)
    if directions is not None:
        return _displacements_along(process, chosen, n, gap, lifted(process, directions))
    found = correlations(process, gap)
    variance, mean = np.empty(len(chosen)), np.empty(len(chosen))
    for i, lag in enumerate(chosen):
        squares, mean[i] = found.increment_norms(int(lag), n - int(lag))
        variance[i] = _variance(squares, n - int(lag))
    return variance, mean


def _epoch_record(
    epochs: EpochRecursion, draws: int, spacing: float, directions: ArrayLike | None
) -> EpochRecord:
    gap = int(step_spacing(as_linear(white_noise(epochs)), spacing))
    U = None if directions is None else read_epoch_directions(epochs, directions)
    return EpochRecord(epochs, draws, gap, U)


def _displacements_along(
    process: LinearProcess, lags: IntArray, n: int, gap: float, U: FloatArray
) -> tuple[FloatArray, FloatArray]:
    cross = require_stationary(process).matrix @ U
    lost = -along(process, gap * np.arange(n, dtype=np.float64), U, cross, away=True)
    variance, mean = np.empty((len(lags), U.shape[1])), np.empty((len(lags), U.shape[1]))
    for i, lag in enumerate(lags):
        s = np.arange(n - lag)
        # The second difference of what has been lost keeps the digits of slow modes.
        C = lost[s + lag] + lost[np.abs(s - lag)] - 2.0 * lost[s]
        variance[i], mean[i] = _variance(C**2, n - int(lag)), C[0]
    return variance, mean


def _variance(squares: FloatArray, count: int) -> FloatArray:
    # Of the mean of ``count`` squares whose correlations have these squared norms.
    s = np.arange(1, count)
    tail = np.tensordot(1.0 - s / count, squares[1:], axes=1)
    return np.asarray(2.0 * (squares[0] + 2.0 * tail) / count)


def _read_draws(draws: int, *, low: int) -> int:
    count = whole("draws", draws, low=low)
    if count > _MOST_DRAWS:
        msg = (
            f"`draws` must be at most {_MOST_DRAWS:g}, got {count:g}: the sum has a term for each; "
            "the parameter falls as 1 / draws once a record is longer than all memory"
        )
        raise OutOfRangeError(msg)
    return count


def _read_lags(lags: ArrayLike, draws: int) -> IntArray:
    given = finite_array("lags", lags, ndim=(0, 1)).reshape(-1)
    if np.any(given != np.rint(given)):
        odd = float(given[given != np.rint(given)][0])
        msg = f"`lags` count draws and must be whole numbers, got {odd:g}; choose `spacing`"
        raise OutOfRangeError(msg)
    if np.any((given < 1.0) | (given > draws - 1)):
        odd = float(given[(given < 1.0) | (given > draws - 1)][0])
        msg = (
            f"`lags` must lie between 1 and draws - 1 = {draws - 1}, got {odd:g}; "
            "ask for shorter lags or a longer record"
        )
        raise OutOfRangeError(msg)
    return given.astype(np.int64)

r"""Autocorrelation times of a record, which the estimators for few chains work with.

.. math::
    \tau = 1 + 2 \sum_{k \ge 1} \rho(k), \qquad
    \operatorname{Var}(\bar x) \simeq \frac{C(0)\,\tau}{R N}

for ``R`` chains of ``N`` draws, the sum cut by the window of
:mod:`fracsde.estimators.autocorrelation`.

Records that hold too few autocorrelation times are refused by the time that is estimated.  One that
is let through was so more likely because its estimate came out low; near the border its error is
that of the likeliest time under a law cut off there, see :mod:`fracsde.estimators.cut_off`.  Of
records that hold 40 times, a third of which pass, intervals held 90 % of means and 85 % of
variances without, and hold 93 % and 90 to 92 % with it.

Where draws are missing between windows, lags are those of the grid, and ``M`` lies in a window;
:math:`\tau` in errors of means is then :math:`\tilde\tau` of :mod:`fracsde.estimators.gapped`, and
:math:`2M + 1` there :math:`1 + 2\sum_{k \le M} f_k`.

Not here: the time itself with an error (:func:`fracsde.estimators.integrated_time`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import RecordError
from fracsde.estimators.autocovariance import autocovariance
from fracsde.estimators.chains import MIN_CHAINS, coordinate_names
from fracsde.estimators.cut_off import cut_off_shift
from fracsde.estimators.gapped import longest_window, pairs, places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.records.trajectory import Trajectory

__all__ = ["CorrelationTimes", "correlation_times", "refuse_constant"]

_WINDOW = 5.0  # window in units of tau / 2
_FIRST_LAGS = 1023, 16383  # lags among which a window is looked for before all are taken
_MIN_TIMES = 50.0  # autocorrelation times that a record must hold
_MIN_WINDOWS = 5.0  # and windows: below, the error of the error is itself of order one


@dataclass(frozen=True, kw_only=True, eq=False)
class CorrelationTimes:
    """Time-series errors of each coordinate; what the few-chain estimators work with."""

    tau: FloatArray  # 1 + 2 sum rho, over the pairs of the record [draw]
    whole: FloatArray  # the same of a record without gaps [draw]
    window: IntArray  # M [draw]
    variance: FloatArray  # C(0) [x^2]
    correlation: FloatArray  # (lag, coordinate) to the longest window or beyond, zero past each
    count: int  # R N
    reach: FloatArray  # 2 M + 1, over the pairs of the record [draw]
    pairs: FloatArray  # of draws of one chain that are M apart

    @property
    def replicas(self) -> FloatArray:
        """Windows in the record: independent values behind an error."""
        return np.asarray(self.count / self.reach, dtype=np.float64)

    @property
    def let_through(self) -> FloatArray:
        """Factor of a standard error, above 1 where the record was nearly refused."""
        relative = np.sqrt(2.0 / self.replicas)
        room = np.log(self.count / (_MIN_TIMES * np.maximum(self.tau, 1.0)))
        return np.exp(0.5 * relative * cut_off_shift(room / relative))

    @property
    def stderr_of_mean(self) -> FloatArray:
        """Standard error of the mean of all draws [x]."""
        return np.sqrt(self.variance * self.tau / self.count) * self.let_through


def correlation_times(
    run: Trajectory, mean: ArrayLike | None = None, *, names: Sequence[str] = ()
) -> CorrelationTimes:
    """Estimate the correlation times, refusing records too short to show them.

    Returns
    -------
    CorrelationTimes
    """
    labels = names or coordinate_names(run)
    if run.chains * run.draws < _MIN_TIMES:  # whatever they are, too few
        one = np.ones(run.dimension)
        count = run.chains * run.draws
        _refuse_short(one.astype(np.int64), one, one, count, run, run.draws, labels)
    scale = np.abs(run.values[0, 0]) * 4 * np.finfo(np.float64).eps
    at = places(run)
    longest = run.draws if at is None else longest_window(at)
    for last in (*(lag for lag in _FIRST_LAGS if lag < longest // 8), longest - 1):
        covariance = autocovariance(run, last, mean=mean)
        variance = covariance[0]
        refuse_constant(variance, scale, labels)
        rho = covariance / variance
        envelope = 0.5 + np.cumsum(np.abs(rho[1:]), axis=0)
        inside = np.arange(1, last + 1)[:, None] >= _WINDOW * envelope
        if inside.any(axis=0).all():
            break
    window = np.where(inside.any(axis=0), inside.argmax(axis=0) + 1, run.draws)
    count, there = run.chains * run.draws, pairs(at, run.draws, last)
    within = np.arange(last + 1)[:, None] <= window
    rho[~within] = 0.0
    whole = 2.0 * rho.sum(axis=0) - 1.0
    tau, reach = whole, 2.0 * window + 1.0
    if at is not None:
        shares = (there / run.draws)[:, None]
        tau = 2.0 * (shares * rho).sum(axis=0) - 1.0
        reach = 2.0 * (shares * within).sum(axis=0) - 1.0
    if mean is None:
        mended, lowered = 1.0 + tau / count, tau / count
        tau = (tau + reach * lowered) / mended
        whole = (whole + (2.0 * window + 1.0) * lowered) / mended
        variance = variance * mended
    # A floor as in Stan: an alternating series cannot be trusted to average better than this.
    least = 1.0 / max(1.0, np.log10(count))
    tau, whole = np.maximum(tau, least), np.maximum(whole, least)
    _refuse_short(window, reach, np.maximum(tau, 1.0), count, run, longest, labels)
    return CorrelationTimes(
        tau=tau,
        whole=whole,
        window=window,
        variance=variance,
        correlation=rho,
        count=count,
        reach=reach,
        pairs=there[np.minimum(window, last)],
    )


def refuse_constant(variance: FloatArray, scale: Any, labels: Sequence[str]) -> None:
    """Refuse coordinates that do not vary, to which no correlation belongs.

    Raises
    ------
    RecordError
    """
    constant = variance <= np.square(scale)
    if np.any(constant):
        k = int(np.argmax(constant))
        msg = (
            f"coordinate {labels[k]!r} does not vary, so it has no autocorrelation; drop constant "
            "coordinates and frozen parameters"
        )
        raise RecordError(msg)


def _refuse_short(
    window: IntArray,
    reach: FloatArray,
    tau: FloatArray,
    count: int,
    run: Trajectory,
    longest: int,
    labels: Sequence[str],
) -> None:
    windows = count / reach
    short = (window >= run.draws) | (count < _MIN_TIMES * tau) | (windows < _MIN_WINDOWS)
    if np.any(short):
        k = int(np.argmax(short))
        if window[k] >= run.draws > longest:
            msg = (
                f"windows of at most {longest} draws without a gap do not show where correlations "
                f"of coordinate {labels[k]!r} end (after {tau[k]:.3g} draws so far); record longer "
                f"windows, or at every k-th step, or run at least {MIN_CHAINS} chains"
            )
            raise RecordError(msg)
        msg = (
            f"{count} draws ({run.draws} per chain) do not hold {_MIN_TIMES:g} autocorrelation "
            f"times of coordinate {labels[k]!r} (estimated at {tau[k]:.3g} draws so far); record "
            f"longer, or run at least {MIN_CHAINS} chains, which need no autocorrelation time"
        )
        raise RecordError(msg)

r"""Survival and mean waiting times from passages, some of which are censored.

.. math::
    \hat S(t) = \prod_{t_i \le t} \Big(1 - \frac{d_i}{n_i}\Big), \qquad
    \widehat{\operatorname{Var}}\,\hat S(t) = \hat S(t)^2 \sum_{t_i \le t}
    \frac{d_i}{n_i(n_i - d_i)},

with :math:`d_i` passages at :math:`t_i` among the :math:`n_i` chains still waiting: the estimate of
Kaplan and Meier with Greenwood's error.  Intervals are symmetric in :math:`\log(-\log S)` and stay
in [0, 1].  With :math:`A_i = \int_{t_i}^{h} \hat S`, the mean up to a horizon,
:math:`\int_0^h \hat S`, has the variance :math:`\sum_i A_i^2 d_i / n_i(n_i - d_i)`.

A mean beyond the record needs an assumption.  :func:`mean_passage_time` assumes a constant rate
after a time :math:`t_0`, as for an escape over a barrier once the well has relaxed:

.. math::
    \hat m = \int_0^{t_0} \hat S + \hat S(t_0)\,\theta, \qquad
    \theta = \frac{\text{time waited after } t_0}{\text{passages after } t_0},

with :math:`A_i + \hat S(t_0)\,\theta` in place of :math:`A_i` and
:math:`\hat S(t_0)^2\theta^2 / \text{passages after } t_0` for the rate.

References: [KaplanMeier1958]_.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy import special

from fracsde._check import finite_array, real
from fracsde.errors import RecordError
from fracsde.estimators.chains import measured, named

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.estimators.first_passage import FirstPassages
    from fracsde.records.measurement import Measurement, Quantity

__all__ = ["Survival", "mean_passage_time", "survival"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Survival:
    """The share of chains that have not passed, as a function of time.

    Parameters
    ----------
    times : (event,) ndarray of float64 [step or time]
        Times at which chains passed, increasing.
    value : (event,) ndarray of float64 [1]
        The share from each time on, up to the next.
    stderr : (event,) ndarray of float64 [1]
        Greenwood's.
    events, at_risk : (event,) ndarray of int64
        Chains that passed at each time, and those waiting just before.
    end : float [step or time]
        The longest time any chain was watched.
    """

    citation: ClassVar[tuple[str, ...]] = ("KaplanMeier1958",)

    times: FloatArray
    value: FloatArray
    stderr: FloatArray
    events: IntArray
    at_risk: IntArray
    end: float

    def at(self, times: ArrayLike) -> FloatArray:
        """Return the share still waiting after given times; NaN beyond the record.

        Parameters
        ----------
        times : (k,) array_like [step or time]
            Not negative.

        Returns
        -------
        (k,) ndarray of float64 [1]
        """
        wanted = finite_array("times", times, ndim=(0, 1))
        steps = np.concatenate([[1.0], self.value])
        found = steps[np.searchsorted(self.times, wanted, side="right")]
        known = (wanted <= self.end) | (steps[-1] == 0.0)
        return np.where(known, found, np.nan)

    def interval(self, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """Return an interval for the share from each time of passage on.

        Parameters
        ----------
        level : float [1]
            Probability with which it holds the truth at one given time.

        Returns
        -------
        (event,), (event,) ndarrays of float64 [1]
            Lower and upper ends; both zero where no chain is left.
        """
        sure = real("level", level, low=0.0, high=1.0)
        reach = float(special.ndtri(0.5 + 0.5 * sure))
        with np.errstate(divide="ignore", invalid="ignore"):
            # The error of log(-log S) is that of S over S |log S|.
            error = self.stderr / (self.value * -np.log(self.value))
            low = self.value ** np.exp(reach * error)
            high = self.value ** np.exp(-reach * error)
        left = self.value > 0
        return np.where(left, low, 0.0), np.where(left, high, 0.0)

    def restricted_mean(
        self, horizon: float | None = None, *, quantity: Quantity | None = None
    ) -> Measurement:
        """Return the mean of the smaller of passage time and horizon, which assumes nothing.

        Parameters
        ----------
        horizon : float, optional [step or time]
            At most the longest time watched, which is the default.
        quantity : Quantity, optional
            Name of the result, ``"restricted mean passage time"`` if not given.

        Returns
        -------
        Measurement
            ``n_effective`` is the number of passages before the horizon.
        """
        to = self.end if horizon is None else real("horizon", horizon, high=self.end, closed="high")
        area, rest = self._areas(to)
        variance, passed = self._variance(to, rest)
        label = named(quantity, "restricted mean passage time", "time", ("",))
        _refuse_few(passed)
        return measured(
            label,
            np.array([area]),
            np.array([np.sqrt(variance)]),
            float(passed),
            f"area under the survival of {self.at_risk[0]} chains up to {to:g}",
        )

    def _areas(self, to: float) -> tuple[float, FloatArray]:
        # Return the area under the curve up to `to`, and what of it lies after each passage.
        inside = self.times < to
        edges = np.concatenate([[0.0], self.times[inside], [to]])
        pieces = np.diff(edges) * np.concatenate([[1.0], self.value[inside]])
        rest = np.zeros(len(self.times))
        rest[inside] = np.cumsum(pieces[::-1])[::-1][1:]
        return float(pieces.sum()), rest

    def _variance(self, to: float, weights: FloatArray) -> tuple[float, int]:
        # Return the variance of a sum over hazards, and the passages it rests on.
        inside = (self.times <= to) & (self.at_risk > self.events)
        d, n = self.events[inside], self.at_risk[inside]
        variance = float((np.square(weights[inside]) * d / (n * (n - d))).sum())
        return variance, int(self.events[self.times <= to].sum())


def survival(passages: FirstPassages) -> Survival:
    """Estimate the probability of still waiting, by Kaplan and Meier.

    Parameters
    ----------
    passages : FirstPassages
        Passed and censored chains; at equal times those that pass do so before the censored leave.

    Returns
    -------
    Survival

    Raises
    ------
    RecordError
        If no chain has passed.

    References
    ----------
    [KaplanMeier1958]_

    Examples
    --------
    >>> from fracsde.estimators import FirstPassages
    >>> waits = FirstPassages(times=[1.0, 2.0, 2.0, 4.0], observed=[True, True, False, True])
    >>> survival(waits).value.round(3)
    array([0.75, 0.5 , 0.  ])
    """
    if passages.passed == 0:
        msg = (
            f"none of {passages.chains} chains has passed, so all that is known is that passage "
            f"takes longer than {passages.times.max():g}; record longer or start nearer"
        )
        raise RecordError(msg)
    times, events = np.unique(passages.times[passages.observed], return_counts=True)
    ordered = np.sort(passages.times)
    at_risk = len(ordered) - np.searchsorted(ordered, times, side="left")
    value = np.asarray(np.cumprod(1.0 - events / at_risk), dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.cumsum(events / (at_risk * (at_risk - events)))
        stderr = np.where(value > 0, value * np.sqrt(greenwood), 0.0)
    return Survival(
        times=times,
        value=value,
        stderr=stderr,
        events=events.astype(np.int64),
        at_risk=at_risk.astype(np.int64),
        end=float(ordered[-1]),
    )


def mean_passage_time(
    passages: FirstPassages,
    *,
    tail_from: float | None = None,
    quantity: Quantity | None = None,
) -> Measurement:
    """Measure the mean first-passage time, with an exponential tail where chains are censored.

    Parameters
    ----------
    passages : FirstPassages
        Passed and censored chains.
    tail_from : float, optional [step or time]
        Time after which chains pass at a constant rate; that by which half of the observed passages
        have happened if not given.  Not used where every chain has passed.
    quantity : Quantity, optional
        Name of the result, ``"mean first-passage time"`` if not given.

    Returns
    -------
    Measurement
        ``n_effective`` is the number of passages.

    Raises
    ------
    RecordError
        If fewer than two chains pass, or none after ``tail_from``.

    References
    ----------
    [KaplanMeier1958]_

    Examples
    --------
    >>> from fracsde.estimators import FirstPassages
    >>> waits = np.random.default_rng(2).exponential(5.0, 400)
    >>> seen = FirstPassages(times=np.minimum(waits, 8.0), observed=waits < 8.0)
    >>> found = mean_passage_time(seen)
    >>> bool(abs(found.value[0] - 5.0) < 3 * found.stderr[0])
    True
    """
    label = named(quantity, "mean first-passage time", "time", ("",))
    _refuse_few(passages.passed)
    times, observed = passages.times, passages.observed
    if observed.all():
        error = times.std(ddof=1) / np.sqrt(len(times))
        method = f"mean of {len(times)} passages, none censored"
        return measured(
            label, np.array([times.mean()]), np.array([error]), float(len(times)), method
        )
    curve = survival(passages)
    half = float(np.quantile(times[observed], 0.5, method="lower"))
    since = half if tail_from is None else real("tail_from", tail_from, low=0.0, closed="low")
    late = int((observed & (times > since)).sum())
    if late == 0:
        msg = (
            f"no chain passes after {since:g}, so the rate there is unknown; lower `tail_from`, "
            "record longer, or take `survival(passages).restricted_mean()`"
        )
        raise RecordError(msg)
    theta = float(np.maximum(times - since, 0.0).sum()) / late
    area, rest = curve._areas(since)
    left = float(curve.at(since)) * theta
    variance, _ = curve._variance(since, rest + left)
    method = (
        f"{passages.passed} of {passages.chains} chains passed; constant rate after {since:.4g} "
        f"from {late} passages"
    )
    error = np.sqrt(variance + left**2 / late)
    return measured(
        label, np.array([area + left]), np.array([error]), float(passages.passed), method
    )


def _refuse_few(passed: int) -> None:
    if passed < 2:
        msg = f"a mean with an error needs at least 2 passages, got {passed}; record longer"
        raise RecordError(msg)

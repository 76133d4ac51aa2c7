r"""First-passage times of recorded runs, with those that have not passed yet.

A chain passes at the first draw at which it has left the region it started in.  Chains that stay to
the end of the record are censored there: they are kept, since leaving them out would shorten every
mean.  :mod:`fracsde.estimators.survival` turns passages into probabilities and means.

**The record sees late.**  A path observed every :math:`\Delta` can leave and return between two
draws.  For motion that diffuses with :math:`\sigma^2` per unit time, passage seen at the draws is
passage of a level that is further away by

.. math::
    \beta\,\sigma\sqrt\Delta, \qquad \beta = -\zeta(1/2)/\sqrt{2\pi} = 0.5826\ldots,

up to :math:`o(\sqrt\Delta)`.  ``correction="shift"`` moves the level nearer by as much;
``correction="bridge"`` draws, for each step that ends inside at distances :math:`a, b` from the
level, whether a Brownian bridge has touched it, which has probability
:math:`\exp(-2ab/\sigma^2\Delta)`, and puts a passage in the middle of its step.  Neither is wanted
where the dynamics itself has steps and all of them are recorded, as for SGD recorded at every step.

References: [Siegmund1979]_ and [BroadieGlassermanKou1997]_ for the shift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from fracsde._check import choice, finite_array, integer, real
from fracsde.errors import InputError, OutOfRangeError, RecordError, ShapeError
from fracsde.estimators.chains import as_trajectory

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, BoolArray, FloatArray, RandomState
    from fracsde.records.trajectory import Trajectory

__all__ = ["FirstPassages", "first_passages"]

_SHIFT = 0.5825971579390106  # -zeta(1/2) / sqrt(2 pi)

Correction = Literal["none", "shift", "bridge"]


@dataclass(frozen=True, kw_only=True, eq=False)
class FirstPassages:
    """Times to a first passage, some of them only known to be longer.

    Parameters
    ----------
    times : (chain,) array_like [step or time]
        Time from the start to the passage, or to the end of the record.
    observed : (chain,) array_like of bool
        Whether the chain has passed.
    event : str
        What was waited for.

    Raises
    ------
    ShapeError
        If the arrays do not match.
    OutOfRangeError
        If a time is negative.

    Examples
    --------
    >>> waits = FirstPassages(times=[2.0, 3.0, 3.0], observed=[True, True, False])
    >>> waits.passed
    2
    """

    citation: ClassVar[tuple[str, ...]] = ("Siegmund1979",)

    times: FloatArray
    observed: BoolArray
    event: str = "passage"

    def __post_init__(self) -> None:
        times = finite_array("times", self.times, ndim=(1,))
        observed = np.array(self.observed)
        if observed.dtype != np.bool_ or observed.shape != times.shape or times.size == 0:
            msg = (
                "`observed` must hold one truth value for each time, and there must be one, got "
                f"{observed.dtype} with shape {observed.shape} for {times.size} times"
            )
            raise ShapeError(msg)
        if times.min() < 0:
            msg = f"`times` must not be negative, got {times.min():g}; count them from the start"
            raise OutOfRangeError(msg)
        observed.flags.writeable = False
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "observed", observed)

    @property
    def chains(self) -> int:
        """Number of chains."""
        return len(self.times)

    @property
    def passed(self) -> int:
        """Number of chains that have passed."""
        return int(self.observed.sum())


def first_passages(
    trajectory: Trajectory | ArrayLike,
    level: float | tuple[float, float] | None = None,
    *,
    coordinate: int = 0,
    direction: ArrayLike | None = None,
    inside: Callable[[FloatArray], ArrayLike] | None = None,
    start: int = 0,
    correction: Correction = "none",
    rng: RandomState | None = None,
) -> FirstPassages:
    """Find when each chain first passes a level, leaves an interval, or leaves a region.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [weight]
        The run; corrections need equally spaced draws.
    level : float or (float, float), optional [weight]
        A level, passed from the side on which the chain starts, or the ends of an interval.
    coordinate : int
        Which coordinate meets the level.
    direction : (coordinate,) array_like, optional [1]
        The projection that meets the level, in place of a coordinate.
    inside : callable, optional
        Region: takes positions ``(..., coordinate)`` and returns a truth value for each; instead of
        a level.
    start : int [draw]
        Where the clock starts.
    correction : {"none", "shift", "bridge"}
        For passages between the draws of a diffusion, see the module.
    rng : int or Generator, optional
        For ``"bridge"``.

    Returns
    -------
    FirstPassages

    Raises
    ------
    InputError
        If neither or both of ``level`` and ``inside`` are given, or ``rng`` is missing.
    RecordError
        If a chain starts outside, or nothing is recorded after the start.

    References
    ----------
    [Siegmund1979]_, [BroadieGlassermanKou1997]_

    Examples
    --------
    >>> first_passages([[[0.0], [1.0], [3.0]], [[0.0], [-1.0], [0.5]]], 2.0).times
    array([2., 2.])
    """
    run = as_trajectory(trajectory)
    choice("correction", correction, ("none", "shift", "bridge"))
    first = integer("start", start, low=0)
    if first > run.draws - 2:
        msg = (
            f"a passage after draw {first} needs a later draw, the record has {run.draws}; start "
            "earlier or record longer"
        )
        raise RecordError(msg)
    if (level is None) == (inside is None):
        msg = "give either `level` or `inside`, and not both"
        raise InputError(msg)
    elapsed = run.times[first:] - run.times[first]
    if inside is not None:
        if correction != "none":
            msg = "corrections between draws need a `level`; a region has no distance to its edge"
            raise InputError(msg)
        within = _region(inside, run.values[:, first:])
        return _passages(within, elapsed, "leaving a region")
    x = _projected(run, coordinate, direction)[:, first:]
    low, high = _ends(level, x[:, 0])
    event = f"leaving {level}" if isinstance(level, (tuple, list)) else f"passing {level:g}"
    if correction == "shift":
        shift = _SHIFT * _step_size(run, x)
        if np.any(high - low <= 2 * shift):
            msg = (
                f"steps of {shift / _SHIFT:.3g} are not small against the interval; record more "
                "often, or use `correction='bridge'`"
            )
            raise RecordError(msg)
        low, high = low + shift, high - shift
    _refuse_outside(x[:, 0] > low, x[:, 0] < high)
    within = (x > low[:, None]) & (x < high[:, None])
    if correction == "bridge":
        if rng is None:
            msg = "`correction='bridge'` draws random numbers; give `rng` a seed or a generator"
            raise InputError(msg)
        return _bridged(within, x, low, high, elapsed, _step_size(run, x), rng, event)
    return _passages(within, elapsed, event)


def _passages(within: BoolArray, elapsed: FloatArray, event: str) -> FirstPassages:
    _refuse_outside(within[:, 0], within[:, 0])
    observed = np.asarray(~within.all(axis=1))
    at = np.where(observed, within.argmin(axis=1), within.shape[1] - 1)
    return FirstPassages(times=elapsed[at], observed=observed, event=event)


def _bridged(
    within: BoolArray,
    x: FloatArray,
    low: FloatArray,
    high: FloatArray,
    elapsed: FloatArray,
    size: float,
    rng: RandomState,
    event: str,
) -> FirstPassages:
    stays = np.ones((len(x), x.shape[1] - 1))
    for edge in (low, high):
        gap = x - edge[:, None]
        with np.errstate(invalid="ignore"):  # an edge at infinity is never touched
            touched = np.exp(-2.0 * np.maximum(gap[:, 1:] * gap[:, :-1], 0.0) / size**2)
        stays *= 1.0 - np.where(np.isfinite(edge)[:, None], touched, 0.0)
    uniform = np.random.default_rng(rng).random(stays.shape)
    passes = ~within[:, 1:] | (uniform >= stays)
    observed = np.asarray(passes.any(axis=1))
    step = passes.argmax(axis=1)
    middle = 0.5 * (elapsed[step] + elapsed[step + 1])
    times = np.where(observed, middle, elapsed[-1])
    return FirstPassages(times=times, observed=observed, event=event)


def _region(inside: Callable[[FloatArray], ArrayLike], values: FloatArray) -> BoolArray:
    within = np.asarray(inside(values))
    if within.dtype != np.bool_ or within.shape != values.shape[:2]:
        msg = (
            f"`inside` must return truth values of shape {values.shape[:2]} for positions of shape "
            f"{values.shape}, got {within.dtype} with shape {within.shape}"
        )
        raise ShapeError(msg)
    return within


def _projected(run: Trajectory, coordinate: int, direction: ArrayLike | None) -> FloatArray:
    if direction is not None:
        along = finite_array("direction", direction, shape=(run.dimension,))
        return np.asarray(run.values @ along)
    return run.values[:, :, integer("coordinate", coordinate, low=0, high=run.dimension - 1)]


def _ends(
    level: float | tuple[float, float] | None, start: FloatArray
) -> tuple[FloatArray, FloatArray]:
    # Return the interval of each chain; a single level has the other end at infinity.
    if isinstance(level, (tuple, list)):
        try:
            below, above = level
        except ValueError as error:
            msg = f"`level` must be a number or the two ends of an interval, got {level!r}"
            raise InputError(msg) from error
        low, high = real("level[0]", below), real("level[1]", above)
        if not low < high:
            msg = f"`level` must be (low, high) with low < high, got ({low:g}, {high:g})"
            raise OutOfRangeError(msg)
        return np.full(len(start), low), np.full(len(start), high)
    edge = real("level", level)
    under = start <= edge
    return np.where(under, -np.inf, edge), np.where(under, edge, np.inf)


def _refuse_outside(above: BoolArray, below: BoolArray) -> None:
    outside = np.flatnonzero(~(above & below))
    if outside.size:
        msg = (
            f"{outside.size} of {len(above)} chains start outside, the first is chain {outside[0]}"
            "; start later, move the level, or leave those chains out"
        )
        raise RecordError(msg)


def _step_size(run: Trajectory, x: FloatArray) -> float:
    # The standard deviation of one step.
    _ = run.spacing
    return float(np.diff(x, axis=1).std())

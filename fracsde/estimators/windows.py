"""Displacements on a declared window of times, or the reason why there are none.

What fits of exponents and of laws of growth share: logarithmically spaced lags, enough of them, and
enough chains for an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import integer
from fracsde.errors import RecordError, ShapeError
from fracsde.estimators.chains import as_trajectory, leave_one_out_means
from fracsde.estimators.displacement import Displacement, Kind, mean_square_displacement

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, BoolArray, FloatArray, IntArray
    from fracsde.records.trajectory import Trajectory

__all__ = [
    "checked_window",
    "displacement_at_log_lags",
    "displacement_in_window",
    "refuse_few_chains",
    "refuse_zero",
]

MIN_POINTS, _MIN_CHAINS = 12, 8


def displacement_in_window(
    source: Trajectory | Displacement | ArrayLike,
    window: tuple[float, float],
    *,
    kind: Kind,
    start: int,
    points: int,
    least: int = MIN_POINTS,
) -> tuple[Displacement, BoolArray]:
    """Return displacements at logarithmically spaced lags, and which lie in the window.

    Returns
    -------
    Displacement, (lag,) ndarray of bool
    """
    ends = checked_window(window)
    moved = displacement_at_log_lags(source, ends, kind, start, points)
    inside = _inside(moved.times, ends)
    _refuse_window(moved, inside, ends, least)
    return moved, inside


def checked_window(window: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of a window as two increasing positive numbers.

    Returns
    -------
    (float, float)

    Raises
    ------
    RecordError
        If they are not.
    """
    try:
        low, high = (float(end) for end in window)
    except (TypeError, ValueError) as error:
        msg = f"`window` must be a pair of times (first, last), got {window!r}"
        raise RecordError(msg) from error
    if not 0 < low < high:
        msg = f"`window` must be times 0 < first < last, got ({low:g}, {high:g})"
        raise RecordError(msg)
    return low, high


def displacement_at_log_lags(
    source: Trajectory | Displacement | ArrayLike,
    window: tuple[float, float],
    kind: Kind,
    start: int,
    points: int,
) -> Displacement:
    """Return displacements at logarithmically spaced lags, inside the window and along the rest.

    Returns
    -------
    Displacement

    Raises
    ------
    ShapeError
        If displacements of coordinates were kept apart.
    """
    if isinstance(source, Displacement):
        if source.value.ndim != 1:
            msg = (
                "an exponent needs displacements summed over coordinates; measure each coordinate "
                "alone, or leave out `per_coordinate`"
            )
            raise ShapeError(msg)
        return source
    run = as_trajectory(source)
    count = integer("points", points, low=2)
    first = integer("start", start, low=0, high=max(0, run.draws - 2))
    elapsed = run.times[first + 1 :] - run.times[first]
    inside = np.flatnonzero(_inside(elapsed, window))
    lags = 1 + np.union1d(
        _spread(np.arange(len(elapsed)), elapsed, count), inside[_spread(inside, elapsed, count)]
    )
    return mean_square_displacement(run, lags.tolist(), kind=kind, start=first)


def _spread(allowed: IntArray, elapsed: FloatArray, count: int) -> IntArray:
    # Return positions in ``allowed`` whose times are closest to logarithmic spacing.
    if len(allowed) <= count:
        return np.arange(len(allowed))
    logs = np.log(elapsed[allowed])
    wanted = np.linspace(logs[0], logs[-1], count)
    after = np.clip(np.searchsorted(logs, wanted), 1, len(logs) - 1)
    nearer = after - (wanted - logs[after - 1] < logs[after] - wanted)
    return np.unique(nearer)


def _inside(times: FloatArray, window: tuple[float, float]) -> BoolArray:
    # Say which times lie in the window, ends included whatever their rounding.
    slack = 1e-9 * times[-1] if len(times) else 0.0
    return np.asarray((times >= window[0] - slack) & (times <= window[1] + slack))


def refuse_few_chains(moved: Displacement) -> None:
    """Raise an error if there are fewer than 8 chains.

    Raises
    ------
    RecordError
        If so.
    """
    if moved.chains < _MIN_CHAINS:
        msg = (
            f"an exponent's error needs at least {_MIN_CHAINS} independent chains, got "
            f"{moved.chains}; run more replicas (points of one curve are correlated, their "
            "residuals are no error)"
        )
        raise RecordError(msg)


def refuse_zero(moved: Displacement, inside: BoolArray) -> None:
    """Raise an error if a displacement is zero.

    Raises
    ------
    RecordError
        If so.
    """
    value = moved.value[inside]
    if np.any(value <= 0) or np.any(leave_one_out_means(moved.per_chain)[:, inside] <= 0):
        msg = "a displacement of zero has no logarithm; leave out the lags at which nothing moved"
        raise RecordError(msg)


def _refuse_window(
    moved: Displacement,
    inside: BoolArray,
    window: tuple[float, float],
    least: int,
) -> None:
    refuse_few_chains(moved)
    tolerance = 1e-9 * moved.times[-1]
    if window[1] > moved.times[-1] + tolerance or window[1] < moved.times[0] - tolerance:
        msg = (
            f"the window ({window[0]:g}, {window[1]:g}) reaches outside the record, whose lags run "
            f"from {moved.times[0]:g} to {moved.times[-1]:g}; shorten it or record longer"
        )
        raise RecordError(msg)
    count = int(inside.sum())
    if count < least:
        msg = (
            f"the window ({window[0]:g}, {window[1]:g}) holds {count} lags, a slope needs at least "
            f"{least}; widen it, raise `points`, or record more often"
        )
        raise RecordError(msg)
    refuse_zero(moved, inside)

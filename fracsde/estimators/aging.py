r"""Displacement as a function of age: the start is part of the measurement.

.. math::
    \text{time-averaged:}\quad \mathrm{MSD}(t_w, \tau) = \frac{1}{L - k}
    \sum_{t_w \le t < t_w + L - k} |w(t + k) - w(t)|^2 , \qquad
    \text{from the start:}\quad |w(t_w + \tau) - w(t_w)|^2 ,

in consecutive windows of :math:`L` draws that begin at :math:`t_w`, with :math:`\tau` the time of
:math:`k` draws.  Where the increments are stationary neither depends on :math:`t_w`; a run that
slows down as it settles, and a walk with waits of infinite mean, age.

Errors are the spread across chains.

References: [ChenQuGong2022]_ for these averages along training runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import choice, integer
from fracsde.errors import OutOfRangeError, RecordError
from fracsde.estimators.autocovariance import checked_lags
from fracsde.estimators.chains import as_trajectory
from fracsde.estimators.displacement import (
    Displacement,
    Kind,
    assembled,
    mean_square_displacement,
)
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike, FloatArray, IntArray

__all__ = ["AgedDisplacement", "aged_displacement"]


@dataclass(frozen=True, kw_only=True, eq=False)
class AgedDisplacement:
    """Mean square displacements in consecutive windows.

    Parameters
    ----------
    starts : (window,) ndarray of int64 [draw]
        The first draw of each window.
    ages : (window,) ndarray of float64 [step or time]
        The recorded time of each start.
    windows : tuple of Displacement
        One measurement for each start, with the same lags.
    """

    citation: ClassVar[tuple[str, ...]] = ("ChenQuGong2022",)

    starts: IntArray
    ages: FloatArray
    windows: tuple[Displacement, ...]

    @property
    def times(self) -> FloatArray:
        """The time that passes in each lag, ``(lag,)`` [step or time]."""
        return self.windows[0].times

    @property
    def value(self) -> FloatArray:
        """Mean over chains, ``(window, lag)`` [weight^2]."""
        return np.stack([window.value for window in self.windows])

    @property
    def stderr(self) -> FloatArray:
        """Spread across chains, ``(window, lag)`` [weight^2]; NaN for a single chain."""
        return np.stack([window.stderr for window in self.windows])


def aged_displacement(
    trajectory: Trajectory | ArrayLike,
    window: int,
    lags: Sequence[int] | None = None,
    *,
    kind: Kind = "time_averaged",
    starts: Sequence[int] | None = None,
) -> AgedDisplacement:
    """Measure the mean square displacement in windows along the record.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [weight]
        Equally spaced draws.
    window : int [draw]
        Draws in each window.
    lags : sequence of int, optional
        Lags in draws, below ``window``; all if not given.
    kind : {"time_averaged", "ensemble"}
        Average over the starts inside each window, or displace from its first draw alone.
    starts : sequence of int, optional
        First draws of the windows, which may overlap; one after another if not given, and what is
        left at the end of the record is not used.

    Returns
    -------
    AgedDisplacement

    Raises
    ------
    RecordError
        If a window does not fit into the record.
    OutOfRangeError
        If there are no starts, or one is negative or no whole number.

    References
    ----------
    [ChenQuGong2022]_

    Examples
    --------
    A walk that slows down:

    >>> steps = np.random.default_rng(1).standard_normal((50, 600, 1))
    >>> run = np.cumsum(steps / np.sqrt(1 + np.arange(600.0))[:, None], axis=1)
    >>> aged = aged_displacement(run, 200, [10])
    >>> aged.starts
    array([  0, 200, 400])
    >>> bool(np.all(np.diff(aged.value[:, 0]) < 0))
    True
    """
    run = as_trajectory(trajectory)
    choice("kind", kind, ("time_averaged", "ensemble"))
    length = integer("window", window, low=2)
    if length > run.draws:
        msg = (
            f"a window of {length} draws does not fit into a record of {run.draws}; shorten it or "
            "record longer"
        )
        raise RecordError(msg)
    first = _starts(starts, length, run.draws)
    gap = run.spacing
    chosen = np.arange(1, length) if lags is None else checked_lags(lags, length)
    found = []
    for t in first:
        part = Trajectory(
            values=run.values[:, t : t + length], times=run.times[t : t + length], names=run.names
        )
        moved = mean_square_displacement(part, chosen.tolist(), kind=kind)
        found.append(
            assembled(
                moved.lags,
                np.asarray(chosen * gap, dtype=np.float64),
                moved.per_chain,
                moved.kind,
                moved.names,
            )
        )
    ages = run.times[first]
    for array in (first, ages):
        array.flags.writeable = False
    return AgedDisplacement(starts=first, ages=ages, windows=tuple(found))


def _starts(starts: Sequence[int] | None, length: int, draws: int) -> IntArray:
    if starts is None:
        return np.arange(0, draws - length + 1, length)
    first = np.atleast_1d(np.asarray(starts))
    if first.ndim != 1 or first.size == 0 or first.dtype.kind not in "iu" or first.min() < 0:
        msg = f"`starts` must be whole numbers, at least one and none negative, got {starts!r}"
        raise OutOfRangeError(msg)
    if first.max() + length > draws:
        msg = (
            f"the window of {length} draws from draw {first.max()} ends after the record of "
            f"{draws} draws; start it at {draws - length} or before"
        )
        raise RecordError(msg)
    return first.astype(np.int64)

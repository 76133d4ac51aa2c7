r"""Paths of a process, simulated or recorded: one array with axes (chain, draw, coordinate).

A chain is one run (a replica of training, a path of an SDE); a draw is one recorded time; all
chains share the times.  A simulated path and a recorded training run are the same noun, so that
every estimator can first be tried where the truth is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array
from fracsde.errors import BackendUnavailable, GridError, RecordError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike, BoolArray, FloatArray
    from fracsde.provenance import Provenance

__all__ = ["Trajectory"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """Recorded positions of many chains at common times.

    Parameters
    ----------
    values : (chain, draw, coordinate) array_like [weight]
        Positions.  A two-dimensional array is taken as (draw, coordinate) of one chain.  The
        array is kept without a copy when it is float64 already, since runs are large; it is
        marked read-only through this object, and the caller's own handle is left as it was.
    times : (draw,) array_like [step or time]
        Strictly increasing.
    names : sequence of str, optional
        One name per coordinate.
    provenance : Provenance, optional
        Where the run came from.

    Raises
    ------
    ShapeError
        If the axes do not fit one another, or one is empty.
    RecordError
        If values are not real numbers, or one is NaN or infinite; names the first chain and
        time, since that is where a run diverged.
    GridError
        If the times do not increase.

    Examples
    --------
    >>> run = Trajectory(values=np.zeros((4, 3, 2)), times=[0, 10, 20])
    >>> run.chains, run.draws, run.dimension
    (4, 3, 2)
    """

    values: FloatArray
    times: FloatArray
    names: Sequence[str] = ()
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        raw = np.asarray(self.values)
        if raw.dtype.kind not in "biufO" or np.ma.is_masked(self.values):
            msg = f"`values` must be real numbers without gaps, got {raw.dtype}"
            raise RecordError(msg)
        values = np.asarray(raw, dtype=np.float64)
        if values.ndim == 2:
            values = values[None]
        if values.ndim != 3:
            msg = (
                "`values` must have axes (chain, draw, coordinate) or (draw, coordinate), "
                f"got shape {values.shape}"
            )
            raise ShapeError(msg)
        if values.size == 0:
            msg = f"`values` must hold at least one chain, draw and coordinate, got {values.shape}"
            raise ShapeError(msg)
        times = finite_array("times", self.times, shape=(values.shape[1],))
        _check_increasing(times)
        _check_finite(values, times)
        values = values.view()
        values.flags.writeable = False
        names = tuple(self.names)
        if names and len(names) != values.shape[2]:
            msg = f"`names` must hold {values.shape[2]} names, one per coordinate, got {len(names)}"
            raise ShapeError(msg)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "names", names)

    @property
    def chains(self) -> int:
        """Number of chains."""
        return int(self.values.shape[0])

    @property
    def draws(self) -> int:
        """Number of recorded times."""
        return int(self.values.shape[1])

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return int(self.values.shape[2])

    @property
    def spacing(self) -> float:
        """Common distance between recorded times [step or time].

        Raises
        ------
        RecordError
            If the times are not equally spaced, or there is only one.
        """
        gaps = self.times[1:] - self.times[:-1]
        if len(gaps) == 0 or gaps.max() - gaps.min() > 1e-9 * gaps[0]:
            msg = (
                "this needs at least two equally spaced times; record at every k-th step, or "
                "select an equally spaced part with `between`"
            )
            raise RecordError(msg)
        return float(gaps[0])

    def between(self, start: float, stop: float = np.inf) -> Trajectory:
        """Return the part recorded at ``start <= time <= stop``.

        Parameters
        ----------
        start, stop : float [step or time]
            The window.

        Returns
        -------
        Trajectory
            A view, not a copy.

        Raises
        ------
        RecordError
            If nothing was recorded in the window.
        """
        inside = np.flatnonzero((self.times >= start) & (self.times <= stop))
        if inside.size == 0:
            msg = (
                f"nothing was recorded between {start:g} and {stop:g}; the record runs from "
                f"{self.times[0]:g} to {self.times[-1]:g}"
            )
            raise RecordError(msg)
        part = slice(int(inside[0]), int(inside[-1]) + 1)
        return Trajectory(
            values=self.values[:, part],
            times=self.times[part],
            names=self.names,
            provenance=self.provenance,
        )

    def project(self, directions: ArrayLike, names: Sequence[str] = ()) -> Trajectory:
        """Return the coordinates along ``directions``.

        Parameters
        ----------
        directions : (dimension, k) array_like [1]
            One direction per column.
        names : sequence of str, optional
            Names of the new coordinates.

        Returns
        -------
        Trajectory
        """
        columns = finite_array("directions", directions, shape=(self.dimension, None))
        return Trajectory(
            values=self.values @ columns,
            times=self.times,
            names=names,
            provenance=self.provenance,
        )

    def to_arviz(self) -> Any:
        """Return the run as an ``arviz.InferenceData`` with one variable, ``position``.

        Returns
        -------
        arviz.InferenceData

        Raises
        ------
        BackendUnavailable
            If ArviZ is not installed.
        """
        try:
            import arviz
        except ImportError as error:
            msg = "`to_arviz` needs ArviZ, which is not installed; pip install arviz"
            raise BackendUnavailable(msg) from error
        names = list(self.names) or [str(i) for i in range(self.dimension)]
        return arviz.from_dict(
            {"posterior": {"position": np.array(self.values)}},
            coords={"coordinate": names},
            dims={"position": ["coordinate"]},
        )


def _check_increasing(times: FloatArray) -> None:
    later = times[1:] > times[:-1]
    if not later.all():
        k = int(np.argmin(later))
        msg = (
            f"`times` must increase: entries {k} and {k + 1} are {times[k]:g} and "
            f"{times[k + 1]:g}; sort the record and drop repeated times"
        )
        raise GridError(msg)


def _check_finite(values: FloatArray, times: FloatArray) -> None:
    # A sum is finite unless an entry is not (or it overflows): one cheap pass over a large run.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):
            return
    bad: BoolArray = np.any(~np.isfinite(values), axis=2)
    if not bad.any():
        return
    draw = int(np.argmax(bad.any(axis=0)))
    chain = int(np.argmax(bad[:, draw]))
    msg = (
        f"`values` must be finite: chain {chain} is NaN or infinite at time {times[draw]:g}, and "
        f"{int(bad[:, -1].sum())} of {len(bad)} chains are so at the end; the run diverged, "
        "lower the learning rate or pass only the chains that stayed finite"
    )
    raise RecordError(msg)

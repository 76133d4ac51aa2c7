"""The window of a run that is measured: read from a trajectory, an array, a store or its path."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fracsde._check import finite_array, real
from fracsde.errors import DiagnosticsError, InputError, ShapeError
from fracsde.estimators.chains import as_trajectory, coordinate_names
from fracsde.records.store import StoredRun, open_run
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike

    Source: TypeAlias = Trajectory | StoredRun | str | PathLike[str] | ArrayLike

__all__ = ["Window", "chosen_chains", "opened", "read_window", "refuse_divergence", "refuse_huge"]

_LARGEST = 1e150  # weights whose squares still are numbers


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """What is measured."""

    trajectory: Trajectory
    labels: tuple[str, ...]
    unit: str  # of a coordinate


def opened(run: Any) -> StoredRun | Trajectory:
    """Return a run, opened if it is the path of one.

    Returns
    -------
    StoredRun or Trajectory
    """
    if isinstance(run, StoredRun):
        return run
    return open_run(run) if isinstance(run, (str, PathLike)) else as_trajectory(run)


def chosen_chains(chains: Any) -> tuple[int, ...] | None:
    """Return numbers of chains as a tuple; None where none were chosen.

    Returns
    -------
    tuple of int or None

    Raises
    ------
    InputError
        If they are no whole numbers.
    """
    if chains is None:
        return None
    given = np.atleast_1d(np.asarray(chains))
    if given.ndim != 1 or given.size == 0 or given.dtype.kind not in "iu":
        msg = f"`chains` must be numbers of chains, e.g. [0, 1, 2], got {chains!r}"
        raise InputError(msg)
    return tuple(given.tolist())


def read_window(
    run: Any,
    *,
    directions: ArrayLike | None = None,
    start: float | None = None,
    stop: float | None = None,
    stream: str = "weights",
    chains: Sequence[int] | None = None,
    unequal: str = "refuse",
    labels: Sequence[str] | None = None,
    unit: str | None = None,
) -> Window:
    """Read the window that :func:`fracsde.measure` was asked to measure.

    Returns
    -------
    Window

    Raises
    ------
    InputError
        If an option is meant for a stored run and there is none.
    ShapeError
        If there is not one label per coordinate.
    """
    begin = -np.inf if start is None else real("start", start)
    end = np.inf if stop is None else real("stop", stop)
    source, chains = opened(run), chosen_chains(chains)
    if isinstance(source, StoredRun):
        refuse_divergence(source, end, chains)
        found = _stored(source, stream, begin, end, chains, unequal, directions)
        unit = _unit(source, stream) if unit is None else unit
    elif stream != "weights" or chains is not None or unequal != "refuse":
        msg = "`stream`, `chains` and `unequal` are for stored runs; pass a path or open_run(path)"
        raise InputError(msg)
    else:
        found = source.between(begin, end)
        found = found if directions is None else found.project(directions)
    refuse_huge(found)
    tags = coordinate_names(found) if labels is None else tuple(labels)
    if len(tags) != found.dimension:
        msg = f"`labels` must hold {found.dimension} names, one per coordinate, got {len(tags)}"
        raise ShapeError(msg)
    return Window(trajectory=found, labels=tags, unit="weight" if unit is None else unit)


def refuse_divergence(run: StoredRun, stop: float, chains: Sequence[int] | None) -> None:
    """Refuse a window in which a chain left the finite numbers.

    Raises
    ------
    DiagnosticsError
        Names the chain and the step.
    """
    found = run.divergence
    if found is None or found.step > stop or (chains is not None and found.chain not in chains):
        return
    others = [chain for chain in run.chains if chain != found.chain]
    remedies = [f"chains={others[:3]}{'...' if len(others) > 3 else ''}"] if others else []
    if found.step > int(run.steps(found.chain)[0]):
        remedies.append(f"stop={found.step - 1}")
    rest = f", or measure what is finite with {' or '.join(remedies)}" if remedies else ""
    msg = (
        f"the run diverged: {found.stream!r} of chain {found.chain} is NaN or infinite at step "
        f"{found.step}; train again at a lower learning rate{rest}"
    )
    raise DiagnosticsError(msg)


def refuse_huge(run: Trajectory) -> None:
    """Refuse weights whose squares are no numbers.

    Raises
    ------
    DiagnosticsError
        If there are such.
    """
    most = max(float(run.values.max()), -float(run.values.min()))
    if most > _LARGEST:
        msg = (
            f"the run holds numbers up to {most:.3g}, whose squares are beyond double precision: "
            "it is diverging, or its unit of weight is too small; look at what came before with "
            "`stop`, or scale it"
        )
        raise DiagnosticsError(msg)


def _unit(run: StoredRun, stream: str) -> str:
    unit = run.streams[stream].unit
    return "weight" if unit == "1" and stream == "weights" else unit


def _stored(
    run: StoredRun,
    stream: str,
    begin: float,
    end: float,
    chains: Sequence[int] | None,
    unequal: str,
    directions: ArrayLike | None,
) -> Trajectory:
    part: dict[str, Any] = {
        "start": None if begin == -np.inf else max(0, ceil(begin)),
        "stop": None if end == np.inf else floor(end),
        "unequal": unequal,
    }
    picked = run.chains if chains is None else tuple(chains)
    if directions is None:
        return run.trajectory(stream, chains=picked, **part)
    width = run.streams[stream].width if stream in run.streams else None
    V = finite_array("directions", directions, shape=(width, None))
    # One chain at a time: a run of all weights need not fit in memory.
    common = run.trajectory(stream, chains=picked, coordinates=[0], **part)
    rows = np.empty((common.chains, common.draws, V.shape[1]))
    for place, chain in enumerate(picked):
        whole = run.trajectory(stream, chains=[chain], **part)
        kept = np.isin(whole.times, common.times)
        rows[place] = whole.values[0, kept] @ V
    return Trajectory(values=rows, times=common.times, provenance=common.provenance)

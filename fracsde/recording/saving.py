"""A whole trajectory, simulated or measured elsewhere, as a stored run."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import choice, integer
from fracsde._files import sibling
from fracsde.errors import FileWriteError, RecordError, ShapeError
from fracsde.recording._folder import join_run, merge_metadata, place_of_run, write_state
from fracsde.recording._row import standard_streams
from fracsde.recording.observe import Full, Observe
from fracsde.records._store.journal import Journal
from fracsde.records._store.layout import DTYPES, Layout, Stream, stamps_of
from fracsde.records._store.places import exists, sync_folder, writing
from fracsde.records._store.rows import ChainState, chain_folder
from fracsde.records.store import StoredRun, open_run
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fracsde._typing import ArrayLike, BoolArray, IntArray

__all__ = ["save_run"]

_BLOCK_BYTES = 2**24
_LARGEST_STEP = 2.0**53


def save_run(
    path: str | os.PathLike[str],
    trajectory: Trajectory,
    *,
    streams: Mapping[str, ArrayLike] | None = None,
    observe: Observe | None = None,
    parameters: int | None = None,
    chains: Sequence[int] | None = None,
    metadata: Mapping[str, Any] | None = None,
    dtype: str = "float64",
) -> StoredRun:
    """Store a trajectory, so that it is read, checked and compared like a recorded run.

    Times that are whole numbers become steps; others are kept as a stream ``"time"`` beside
    steps 0, 1, 2 and so on, and are the times of what is read.

    Parameters
    ----------
    path : path-like
        Folder of the run; there must be nothing.  Those above it are made.
    trajectory : Trajectory
        Its values become the stream ``"weights"``, its names the labels of it.
    streams : mapping of str to (chain, draw) or (chain, draw, width) array_like
        What else is known at the same times.
    observe : Observe, optional
        What the values are of the parameters, such as ``Projection(directions)``; by default
        all of them.
    parameters : int, optional
        Number P of parameters of the model, where ``observe`` is given.
    chains : sequence of int, optional
        Numbers of the chains, by default 0, 1, 2 and so on.
    metadata : mapping, optional
        Facts about the run.
    dtype : {"float64", "float32"}
        Precision; the trajectory that is read equals this one in double precision only.

    Returns
    -------
    StoredRun

    Raises
    ------
    FileWriteError
        If there is something at ``path``, or the system refuses; then nothing is there.
    RecordError
        If it is no trajectory, chains are named twice, or ``observe`` keeps another number of
        values.

    Examples
    --------
    >>> import tempfile, fracsde as fs
    >>> values = np.random.default_rng(0).normal(size=(3, 5, 2))
    >>> paths = fs.Trajectory(values=values, times=np.linspace(0.0, 1.0, 5))
    >>> run = save_run(tempfile.mkdtemp() + "/paths", paths)
    >>> bool(np.array_equal(run.trajectory().values, paths.values)), run.chains
    (True, (0, 1, 2))
    """
    given: Any = trajectory
    if not isinstance(given, Trajectory):
        msg = f"`trajectory` must be a Trajectory, got {type(given).__name__}; make one of arrays"
        raise RecordError(msg)
    numbers = _numbers(chains, trajectory.chains)
    dtype = choice("dtype", dtype, DTYPES)
    size = trajectory.dimension if parameters is None else parameters
    size = integer("parameters", size, low=1, high=2**53 - 1)
    bound = (Full() if observe is None else observe).bind(size, dtype)
    if bound.width != trajectory.dimension:
        msg = (
            f"the trajectory has {trajectory.dimension} coordinates, and `observe` keeps "
            f"{bound.width}; give the `observe` and the `parameters` that made it"
        )
        raise RecordError(msg)
    times = trajectory.times
    counted = _counts(times)
    more = _more(streams, trajectory, None if counted else times)
    widths: dict[str, int | Stream] = {name: array.shape[2] for name, array in more.items()}
    kept = standard_streams(widths, width=bound.width, dtype=dtype, labels=trajectory.names)
    facts = dict(metadata or {})
    if trajectory.provenance is not None:
        facts.setdefault("provenance", trajectory.provenance.to_dict())
    target = place_of_run(path)
    if exists(target):
        msg = f"cannot write {str(target)!r}: it exists, and nothing is overwritten; name another"
        raise FileWriteError(msg)
    fresh = sibling(target, "new")
    with writing(target, "nothing is there"):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            clock = "step" if counted else "time"
            layout = join_run(fresh, bound, kept, parameters=size, clock=clock).layout()
            merge_metadata(fresh, facts, "own", change=True)
            steps = times.astype(np.int64) if counted else np.arange(len(times))
            for k, chain in enumerate(numbers):
                columns = {"weights": trajectory.values[k]}
                columns |= {name: array[k] for name, array in more.items()}
                _write_chain(chain_folder(fresh, chain), layout, steps, columns)
            fresh.rename(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        sync_folder(target.parent)
    return open_run(target)


def _write_chain(
    home: Path, layout: Layout, steps: IntArray, columns: Mapping[str, NDArray[Any]]
) -> None:
    home.mkdir()
    journal = Journal(home / "rows.bin", layout.row_bytes, np.inf)
    try:
        block = max(1, _BLOCK_BYTES // layout.row_bytes)
        for start in range(0, len(steps), block):
            part = steps[start : start + block]
            rows = np.zeros((len(part), layout.row_bytes), dtype=np.uint8)
            rows[:, 0:8].view("<i8")[:, 0] = part
            marks = rows[:, 20:24].view("<u4")[:, 0]
            for stream in layout.streams:
                column = layout.column(rows, stream)
                with np.errstate(over="ignore", invalid="ignore"):
                    column[...] = columns[stream.name][start : start + block]
                bad: BoolArray = ~np.isfinite(column).all(axis=1)
                marks |= bad.astype(np.uint32) << np.uint32(layout.bits[stream.name])
            rows[:, 8:16].view("<u8")[:, 0] = stamps_of(rows)
            journal.append((rows.data.cast("B"),), int(part[-1]))
        journal.sync()
        state = ChainState(closed=True, rows=journal.rows, metadata={}, schedule={})
        write_state(home / "chain.json", state.to_dict())
    finally:
        journal.close()


def _numbers(chains: Sequence[int] | None, count: int) -> list[int]:
    if chains is None:
        return list(range(count))
    numbers = [integer("chains", chain, low=0, high=10**9 - 1) for chain in chains]
    if len(numbers) != count or len(set(numbers)) != count:
        msg = f"`chains` must hold {count} different numbers, one per chain, got {numbers[:8]}"
        raise RecordError(msg)
    return numbers


def _counts(times: NDArray[Any]) -> bool:
    return bool(times[0] >= 0 and times[-1] <= _LARGEST_STEP and np.all(times == np.floor(times)))


def _more(
    streams: Mapping[str, ArrayLike] | None, trajectory: Trajectory, times: NDArray[Any] | None
) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    shape = (trajectory.chains, trajectory.draws)
    if times is not None:
        found["time"] = np.broadcast_to(times[:, None], (*shape, 1))
    for name, value in (streams or {}).items():
        array = np.asarray(value)
        array = array[..., None] if array.ndim == 2 else array
        if array.ndim != 3 or array.shape[:2] != shape or name in found:
            msg = (
                f"stream {name!r} must have shape {shape} or {(*shape, 'width')}, got "
                f"{np.shape(value)}, and another name than 'time' where times are no whole numbers"
            )
            raise ShapeError(msg)
        if array.dtype.kind not in "biuf":
            msg = f"stream {name!r} must be real numbers, got {array.dtype}"
            raise RecordError(msg)
        found[name] = array
    return found

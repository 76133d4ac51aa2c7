"""What does recording a step cost, against the memory it reads and a bare write of its bytes?

Weights in float32, one row per step, in two groups for each number P of parameters: all
parameters, and 32 numbers (projections or coordinates) with five scalars.  Each group names its
floor: a bare ``os.write`` of as many bytes, or the one product with the directions.  The peers
h5py and Zarr append the same rows: flushed at each row, which is what they need to lose none to
SIGKILL, and not flushed.

Predicted before the first run, from the floors: whole vectors take 1.3 times the bare write (a
copy and a check sum beside it); dense projections 1.1 times their product for P = 10^5 and more;
disjoint ones 20 times less than dense ones there; h5py with a flush 5 times as long as a row here
at P = 10^4 and as long at P = 10^6.

Run with ``OPENBLAS_NUM_THREADS=1 python -m benchmarks.bench_recording``; it writes some gigabytes
to the folder for temporary files, and removes them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.work import Absent, Timing, header, measure, table
from fracsde.recording import Coordinates, Full, RandomProjection, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fracsde.recording import Observe

KEPT = 32
SCALARS = (
    "loss",
    "gradient_norm_squared",
    "weight_dot_gradient",
    "velocity_norm_squared",
    "learning_rate",
)


def counted(call: Callable[[int], object], rows: int) -> Callable[[], None]:
    """Return a call that does ``rows`` steps and goes on counting where the last one ended."""
    step = 0

    def run() -> None:
        nonlocal step
        for _ in range(rows):
            call(step)
            step += 1

    return run


def recorded(
    folder: Path, weights: Any, parameters: int, observe: Observe, scalars: bool
) -> Iterator[Callable[[int], object]]:
    streams = dict.fromkeys(SCALARS if scalars else (), 1)
    values = dict.fromkeys(SCALARS if scalars else (), 0.25)
    with Recorder(folder, parameters=parameters, observe=observe, streams=streams) as recorder:
        yield lambda step: recorder.record(step, weights, **values)


def bare_write(folder: Path, length: int) -> Iterator[Callable[[int], object]]:
    row, handle = bytearray(length), os.open(folder, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    yield lambda step: os.write(handle, row)
    os.close(handle)


def one_product(weights: np.ndarray) -> Iterator[Callable[[int], object]]:
    rows = RandomProjection(KEPT).bind(len(weights), "float32").array
    out = np.empty(KEPT, dtype="float32")
    yield lambda step: np.dot(rows.T, weights, out=out)


def hdf5(folder: Path, weights: np.ndarray, flush: bool) -> Iterator[Callable[[int], object]]:
    import h5py

    with h5py.File(folder, "w") as file:
        shape = (1, len(weights))
        kept = file.create_dataset(
            "w", shape=(0, shape[1]), maxshape=(None, shape[1]), dtype="f4", chunks=shape
        )

        def append(step: int) -> None:
            kept.resize(step + 1, axis=0)
            kept[step] = weights
            if flush:
                file.flush()

        yield append


def zarr_rows(folder: Path, weights: np.ndarray) -> Iterator[Callable[[int], object]]:
    import zarr

    shape = (1, len(weights))
    kept = zarr.create_array(
        str(folder), shape=(0, shape[1]), chunks=shape, dtype="f4", compressors=None
    )

    def append(step: int) -> None:
        kept.resize((step + 1, shape[1]))
        kept[step] = weights

    yield append


def timed(
    label: str, make: Callable[[Path], Iterator[Callable[[int], object]]], rows: int
) -> Timing:
    with tempfile.TemporaryDirectory() as home:
        calls = make(Path(home) / "run")
        timing = measure(label, counted(next(calls), rows), units=rows, repeats=4)
        for _ in calls:  # closes what it opened
            pass
        shutil.rmtree(Path(home) / "run", ignore_errors=True)
    return timing


def whole_vectors(parameters: int, rows: int) -> list[Timing | Absent]:
    w = np.random.default_rng(0).normal(size=parameters).astype("float32")
    parts = np.array_split(w, 8)
    found: list[Timing | Absent] = [
        timed("all parameters", lambda p: recorded(p, w, parameters, Full(), False), rows),
        timed(
            "the same, as eight arrays",
            lambda p: recorded(p, parts, parameters, Full(), False),
            rows,
        ),
        timed("bare write", lambda p: bare_write(p, 4 * parameters + 24), rows),
    ]
    if find_spec("h5py") is None:
        found.append(Absent(label="h5py", reason="h5py is not installed"))
    else:
        found.append(timed("h5py, flushed", lambda p: hdf5(p, w, True), rows))
        found.append(timed("h5py, not flushed", lambda p: hdf5(p, w, False), rows))
    if find_spec("zarr") is None:
        found.append(Absent(label="zarr", reason="zarr is not installed"))
    else:
        found.append(timed("zarr, a row per chunk", lambda p: zarr_rows(p, w), max(10, rows // 8)))
    return found


def few_numbers(parameters: int, rows: int) -> list[Timing | Absent]:
    w = np.random.default_rng(0).normal(size=parameters).astype("float32")
    found: list[Timing | Absent] = [
        timed(
            f"{KEPT} {form} projections, 5 scalars",
            lambda p, form=form: recorded(
                p, w, parameters, RandomProjection(KEPT, form=form), True
            ),
            rows,
        )
        for form in ("disjoint", "orthonormal")
    ]
    found += [
        timed(
            f"{KEPT} coordinates, 5 scalars",
            lambda p: recorded(p, w, parameters, Coordinates(count=KEPT), True),
            rows,
        ),
        timed("bare product with dense directions", lambda p: one_product(w), rows),
        timed("bare write", lambda p: bare_write(p, 24 + 4 * KEPT + 8 * len(SCALARS)), rows),
    ]
    return found


def main() -> None:
    print(header(__doc__.splitlines()[0]))
    for parameters, rows in ((10_000, 1000), (100_000, 200), (1_000_000, 25)):
        for what in (whole_vectors, few_numbers):
            found = what(parameters, rows)
            print(f"\nP = {parameters}")
            print(table(found, unit="rows", reference=found[0].label))
            for row in found:
                if isinstance(row, Timing):
                    print(f"  {row.label}: {1e6 / row.rate_per_core:.1f} us a row")


if __name__ == "__main__":
    main()

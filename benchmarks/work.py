"""Timing discipline shared by the benchmarks.

The first call, which compiles and warms caches, is kept apart from the steady ones.  Of the
steady calls the smallest is the estimate of the cost and the spread is printed beside it; wall
time says how long one waits, process time how much was computed, on all cores together.  A
table names its reference row and gives every ratio to it.  The header names what the numbers
depend on and can be told without naming a machine.
"""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Absent", "Timing", "header", "measure", "table"]

_PACKAGES = ("fracsde", "numpy", "scipy", "numba", "torch")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What repeated calls cost.

    Parameters
    ----------
    label : str
        Row of the table.
    units : float
        Units of work in one call.
    first : float [s]
        Wall time of the first call.
    wall, cpu : tuple of float [s]
        Wall and process time of each later call.
    """

    label: str
    units: float
    first: float
    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Units per second of wall time, from the fastest call."""
        return self.units / min(self.wall)

    @property
    def rate_per_core(self) -> float:
        """Units per second of process time, from the fastest call."""
        return self.units / min(self.cpu)

    @property
    def spread(self) -> float:
        """How much slower the slowest call was than the fastest, in process time."""
        return max(self.cpu) / min(self.cpu) - 1.0


@dataclass(frozen=True, kw_only=True)
class Absent:
    """A row that could not be measured, and why."""

    label: str
    reason: str


def measure(label: str, call: Callable[[], object], *, units: float, repeats: int = 5) -> Timing:
    """Time a call: once to start, then ``repeats`` times.

    Parameters
    ----------
    label : str
        Row of the table.
    call : callable
        What to time; it must wait for its own work to finish.
    units : float
        Units of work in one call.
    repeats : int
        Number of steady calls.
    """
    clock = perf_counter()
    call()
    first = perf_counter() - clock
    wall, cpu = [], []
    for _ in range(repeats):
        clock, own = perf_counter(), process_time()
        call()
        wall.append(perf_counter() - clock)
        cpu.append(process_time() - own)
    return Timing(label=label, units=units, first=first, wall=tuple(wall), cpu=tuple(cpu))


def header(question: str) -> str:
    """Return the question with versions, commit and number of cores."""
    found = [f"python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            found.append(f"{package} not installed")
    cores = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()
    return f"{question}\n{', '.join(found)}\ncommit {_commit()}, {cores} cores"


def _commit() -> str:
    """Return the short hash of the working tree's commit, marked where files differ from it."""
    folder = Path(__file__).parent
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run.stdout.strip()


def table(rows: Sequence[Timing | Absent], *, unit: str, reference: str) -> str:
    """Return the table, with the reference row's rate per core over each row's.

    Parameters
    ----------
    rows : sequence of Timing or Absent
        Measurements.
    unit : str
        What one unit of work is.
    reference : str
        Label of the row that others are compared with.
    """
    base = next(row for row in rows if isinstance(row, Timing) and row.label == reference)
    width = max(len(row.label) for row in rows)
    lines = [
        f"{'':{width}}  {unit}/s/core  {unit}/s  first s  spread  {'ours/row':>8}",
    ]
    sizes = [len(f"{unit}/s/core"), len(f"{unit}/s")]
    for row in rows:
        if isinstance(row, Absent):
            lines.append(f"{row.label:{width}}  {row.reason}")
            continue
        lines.append(
            f"{row.label:{width}}  {row.rate_per_core:{sizes[0]},.0f}  {row.rate:{sizes[1]},.0f}"
            f"  {row.first:7.2f}  {row.spread:5.0%}  {base.rate_per_core / row.rate_per_core:8.2f}"
        )
    return "\n".join(lines)

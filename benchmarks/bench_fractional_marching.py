"""Question: what a fractional march with its whole history costs, and how near its floor it is.

One thousand L1 steps of 512 cells, ordinary and graded mesh.  The yardstick is what one writes in
ten lines: a matrix-vector product for the memory and a banded solve per step.  Two rows time the
memory sum alone: read once per step, as everyone must who steps singly, and once per block.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.linalg import solve_banded

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.work import header, measure, table
from fracsde.backends import marching_numba, marching_reference
from fracsde.grids import TimeGrid
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.densities import cell_masses
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.schemes.l1 import L1
from fracsde.schemes.marching import march

STEPS, CELLS, ALPHA, BLOCK = 1000, 512, 0.6, 32

PROBLEM = FokkerPlanck(
    potential=lambda x: x**2 / 2,
    diffusion=1.0,
    domain=(-6.0, 6.0),
    initial=Gaussian(mean=1.5, std=0.5),
)
CHAIN = FiniteVolume(cells=CELLS).discretise(PROBLEM)
START = cell_masses(PROBLEM.initial, CHAIN.edges)
UNIFORM = TimeGrid.uniform(10.0, STEPS).times
GRADED = TimeGrid.graded(10.0, STEPS, (2 - ALPHA) / ALPHA).times


def ours(times: np.ndarray, engine: object) -> np.ndarray:
    """March with the package."""
    return march(
        CHAIN,
        L1(),
        times,
        initial=START,
        alpha=ALPHA,
        scale=1.0,
        source=None,
        engine=engine,
    )


def ten_lines(times: np.ndarray) -> np.ndarray:
    """March as one would write it down."""
    u = np.empty((len(times), CELLS))
    u[0] = START
    band = np.zeros((3, CELLS))
    for n in range(1, len(times)):
        w = L1().weights(times[: n + 1], alpha=ALPHA)
        band[0, 1:], band[2, :-1] = -CHAIN.left[1:], -CHAIN.right[:-1]
        band[1] = w[-1] + CHAIN.right + CHAIN.left
        rhs = np.append(w[0], np.diff(w)) @ u[:n]
        u[n] = solve_banded((1, 1), band, rhs, check_finite=False)
    return u


def memory_alone(states: np.ndarray, block: int) -> None:
    """Sum the history of every step and solve nothing."""
    weights = np.ones((block, STEPS))
    out = np.empty((block, CELLS))
    for start in range(0, STEPS, block):
        np.matmul(weights[:, : start + 1], states[: start + 1], out=out)


def main() -> None:
    states = ours(UNIFORM, marching_numba)
    for times in (UNIFORM, GRADED):
        gap = np.abs(ours(times, marching_numba) - ten_lines(times)).max()
        assert gap < 1e-12, f"the roads disagree by {gap:.1e}"
    units = STEPS * CELLS / 1e3
    rows = [
        measure("ours, uniform", lambda: ours(UNIFORM, marching_numba), units=units, repeats=9),
        measure("ours, graded", lambda: ours(GRADED, marching_numba), units=units, repeats=9),
        measure(
            "reference, uniform",
            lambda: ours(UNIFORM, marching_reference),
            units=units,
            repeats=3,
        ),
        measure("ten lines, uniform", lambda: ten_lines(UNIFORM), units=units, repeats=5),
        measure("memory alone, by step", lambda: memory_alone(states, 1), units=units, repeats=9),
        measure(
            "memory alone, by block", lambda: memory_alone(states, BLOCK), units=units, repeats=9
        ),
    ]
    print(header((__doc__ or "").splitlines()[0]))
    print(table(rows, unit="kcellsteps", reference="ours, uniform"))
    for row in rows:
        print(f"{row.label:24}{1e3 * min(row.wall):8.1f} ms")


if __name__ == "__main__":
    main()

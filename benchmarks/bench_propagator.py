"""Question: what exact propagation costs, for a few times and for a whole history.

A fractional Ornstein-Uhlenbeck process, 512 cells, alpha = 0.6, to 1e-10 of the largest density.
Set-up is done before the clock starts: the chain, the tables of poles and nodes, compilation.
The yardsticks: for the history its matrix product alone, of ten thousand times by its snapshots
per octave, the product that a contour for an octave would take, both into memory that is there
already and into new memory, and direct L1 marches of as many steps, the package's own, blocked
for the cache, and one as it is usually written; for a few times eigenvectors, whose
set-up is not counted either; for the solver the number of shifts times cells.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import solve_banded

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.work import Timing, header, measure
from fracsde.backends import marching_numba, shifted_numba, shifted_reference
from fracsde.grids import TimeGrid
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.schemes.forms import window
from fracsde.schemes.l1 import L1
from fracsde.schemes.marching import march
from fracsde.schemes.modes import modes_of
from fracsde.schemes.propagator import Propagator
from fracsde.schemes.runs import Run

if TYPE_CHECKING:
    from fracsde.operators.chain import CellChain

CELLS, ALPHA, RTOL, STEPS = 512, 0.6, 1e-10, 10_000
FEW = np.array([0.01, 0.1, 1.0, 10.0])
GRID = TimeGrid.uniform(10.0, STEPS)

PROBLEM = FokkerPlanck(
    potential=lambda x: x**2 / 2,
    diffusion=1.0,
    domain=(-6.0, 6.0),
    initial=Gaussian(mean=1.5, std=0.5),
)


def best(row: Timing) -> float:
    """Return the smallest process time of a call, in milliseconds."""
    return 1e3 * min(row.cpu)


def kernels(chain: CellChain, masses: np.ndarray) -> None:
    """Print nanoseconds per cell and shift."""
    rng = np.random.default_rng(1)
    rates = (chain.right, chain.left, chain.loss)
    ring = (chain.right + 1.0, chain.left + 1.0, chain.loss)
    for count in (24, 96):
        shifts = rng.uniform(0.1, 9.0, count) + 1j * rng.uniform(0.0, 9.0, count)
        for name, engine, of, repeats in (
            ("row, compiled", shifted_numba, rates, 400),
            ("ring, compiled", shifted_numba, ring, 400),
            ("row, reference", shifted_reference, rates, 3),
        ):
            row = measure(
                name,
                lambda e=engine, o=of, s=shifts: e.solve_shifts(s, *o, masses, np.ones(CELLS)),
                units=count * CELLS,
                repeats=repeats,
            )
            print(f"{name:18}{count:5d} shifts {1e6 * best(row) / row.units:9.2f} ns/cell/shift")


def few(chain: CellChain, masses: np.ndarray) -> None:
    """Print the cost of four times."""
    modes = modes_of(chain)
    exact = modes.propagate(masses, FEW, alpha=ALPHA) / chain.widths
    for rtol in (1e-4, 1e-6, 1e-8, RTOL, 1e-12):
        ready = Propagator(rtol=rtol).prepare(chain, alpha=ALPHA)
        row = measure("", lambda r=ready: r.propagate(masses, FEW), units=4, repeats=400)
        found = ready.run(masses, FEW)
        error = (np.abs(found.density - exact).max(axis=1) / exact.max(axis=1)).max()
        print(
            f"four times, rtol {rtol:6.0e} {best(row):9.3f} ms   error {error:.1e}   "
            f"estimated {found.relative.max():.1e}   solves {found.stats['solves']}"
        )
    row = measure("", lambda: modes.propagate(masses, FEW, alpha=ALPHA), units=4, repeats=100)
    print(f"four times, modes        {best(row):9.3f} ms   after the eigenproblem")


def textbook(chain: CellChain, masses: np.ndarray) -> np.ndarray:
    """March with L1 as it is usually written: a product with the history, a banded solve."""
    n, step = len(masses), GRID.times[1]
    powers = np.arange(STEPS + 1.0) ** (1.0 - ALPHA)
    weights = np.diff(powers) / (math.gamma(2.0 - ALPHA) * step**ALPHA)
    L = chain.matrix()
    bands = np.zeros((3, n))
    bands[0, 1:], bands[1], bands[2, :-1] = (-np.diag(L, k) for k in (1, 0, -1))
    bands[1] += weights[0]
    back = np.ascontiguousarray(weights[::-1])  # BLAS takes no turned vectors
    increments = np.empty((STEPS, n))
    state = masses.copy()
    for k in range(STEPS):
        memory = back[STEPS - 1 - k : STEPS - 1] @ increments[:k]  # weights k to 1
        new = solve_banded((1, 1), bands, weights[0] * state - memory, check_finite=False)
        increments[k] = new - state
        state = new
    return state


def history(chain: CellChain, masses: np.ndarray) -> None:
    """Print the cost of ten thousand times, beside its product and a march."""
    times = GRID.times[1:]
    ready = Propagator(rtol=RTOL).prepare(chain, alpha=ALPHA)
    rule = window(0.25 * RTOL, 2.0, 0.0)
    assert rule is not None
    rng, out = np.random.default_rng(2), np.zeros((STEPS, CELLS))
    columns = Run(ready.road, masses, times).snapshots
    left, right = rng.uniform(size=(STEPS, columns)), rng.uniform(size=(columns, CELLS))
    nodes = rng.uniform(size=(2, STEPS, 2 * len(rule.contour.nodes)))
    rows = {
        "history": measure("", lambda: ready.run(masses, times, out=out), units=1, repeats=25),
        f"its product, {columns} columns": measure(
            "", lambda: np.matmul(left, right, out=out), units=1, repeats=25
        ),
        f"a contour's, {nodes.shape[2]} columns": measure(
            "", lambda: np.matmul(nodes[0], nodes[1, :CELLS].T, out=out), units=1, repeats=25
        ),
        "numbers written": measure("", lambda: out.fill(1.0), units=1, repeats=25),
        "history, new memory": measure("", lambda: ready.run(masses, times), units=1, repeats=25),
        "product, new memory": measure("", lambda: left @ right, units=1, repeats=25),
        "history, masses": measure("", lambda: ready.propagate(masses, times), units=1, repeats=15),
        "L1, as many steps": measure(
            "",
            lambda: march(
                chain,
                L1(),
                GRID.times,
                initial=masses,
                alpha=ALPHA,
                scale=1.0,
                source=None,
                engine=marching_numba,
            ),
            units=1,
            repeats=1,
        ),
    }
    last = ready.propagate(masses, times[-1:])[0]
    clock = time.process_time()  # it has nothing to warm up, and one run is long enough
    written = textbook(chain, masses)
    seconds = time.process_time() - clock
    assert np.abs(written - last).max() < 1e-4 * last.max()  # the error of L1
    found, pick = ready.run(masses, times), slice(0, None, 97)
    exact = modes_of(chain).propagate(masses, times[pick], alpha=ALPHA) / chain.widths
    error = (np.abs(found.density[pick] - exact).max(axis=1) / exact.max(axis=1)).max()
    for name, row in rows.items():
        ratio = best(row) / best(rows["history"])
        print(f"{name:26}{best(row):10.2f} ms   {ratio:9.2f} of the history")
    print(
        f"{'L1 as usually written':26}{1e3 * seconds:10.2f} ms   "
        f"{1e3 * seconds / best(rows['history']):9.2f} of the history"
    )
    print(f"error {error:.1e}, estimated {found.relative.max():.1e}, {found.stats}")


def main() -> None:
    chain = FiniteVolume(cells=CELLS).discretise(PROBLEM)
    masses = chain.project(PROBLEM.initial)
    print(header((__doc__ or "").splitlines()[0]))
    kernels(chain, masses)
    few(chain, masses)
    history(chain, masses)


if __name__ == "__main__":
    main()

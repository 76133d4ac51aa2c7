"""Question: is a march with exponentials limited by reading and writing its own memory?

A march that keeps its past as K exponentials per cell must read, scale and write K numbers per cell
and step, if it goes step by step.  The bound is a compiled loop that does only that, on the same
array.  Predicted: within 1.5 times the bound on equal steps, because the memory is read and written
once per block of 48 steps and the solves, four parts of the chain abreast, take less than a
microsecond; on graded meshes a factorisation per step and the weights of each block come on top.

Two more tables: where the histories overtake each other, and error against time for every scheme
on its mesh, with the error measured against exact propagation of the same cells.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.work import header, measure
from fracsde.backends import marching_numba
from fracsde.grids import TimeGrid
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.schemes.block_fft import BlockFFT
from fracsde.schemes.exponentials import Exponentials
from fracsde.schemes.grunwald_letnikov import GrunwaldLetnikov
from fracsde.schemes.history import Direct
from fracsde.schemes.l1 import L1
from fracsde.schemes.l2_sigma import L2Sigma
from fracsde.schemes.l12 import L12
from fracsde.schemes.marching import march
from fracsde.schemes.propagator import Propagator

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde.schemes.base import ConvolutionScheme

CELLS, ALPHA, T, LONG = 512, 0.6, 10.0, 100_000
PROBLEM = FokkerPlanck(
    potential=lambda x: x**2 / 2,
    diffusion=1.0,
    domain=(-6.0, 6.0),
    initial=Gaussian(mean=1.5, std=0.5),
)
CHAIN = FiniteVolume(cells=CELLS).discretise(PROBLEM)
START = CHAIN.project(PROBLEM.initial)


def go(scheme: ConvolutionScheme, times: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """March the cells and keep a few nodes."""
    return march(
        CHAIN,
        scheme,
        times,
        initial=START,
        alpha=ALPHA,
        scale=1.0,
        source=None,
        engine=marching_numba,
        keep=keep,
    )


@njit
def _read_scale_write(state: np.ndarray, factors: np.ndarray, alive: np.ndarray) -> None:
    for count in alive:
        for k in range(count):
            factor = factors[k]
            for i in range(state.shape[1]):
                state[k, i] *= factor


def bound(scheme: ConvolutionScheme, times: np.ndarray) -> tuple[str, Callable[[], None]]:
    """Traffic of the memory alone: each step reads and writes what it needs."""
    memory = scheme.history.begin(scheme, times, START, alpha=ALPHA)
    alive = np.repeat(memory._alive, memory.size)[: len(times) - 1]
    state, factors = np.ones((len(memory._rates), CELLS)), np.ones(len(memory._rates))
    label = f"its memory alone, K {int(alive.min())} to {int(alive.max())}"
    return label, lambda: _read_scale_write(state, factors, alive)


def near_the_bound(rounds: int = 7) -> None:
    """First table: march and bound in turns, so that neighbours disturb both alike."""
    uniform = TimeGrid.uniform(T, LONG).times
    graded = TimeGrid.graded(T, LONG, 2 / ALPHA).times
    each, last = 1e6 / LONG, np.array([LONG])
    for name, times in (("uniform", uniform), ("graded", graded)):
        for scheme in (L1(history=Exponentials()), L2Sigma(history=Exponentials())):
            label, traffic = bound(scheme, times)
            pairs = []
            for _ in range(rounds):
                row = measure("", lambda s=scheme, t=times: go(s, t, last), units=1, repeats=1)
                pairs.append((*row.cpu, *measure("", traffic, units=1, repeats=1).cpu))
            step, alone = np.min(pairs, axis=0)
            ratios = [a / b for a, b in pairs]
            print(
                f"{type(scheme).__name__ + ', ' + name:18} {each * step:6.2f} us per step; {label} "
                f"{each * alone:6.2f} us; ratio {step / alone:4.2f}, in single rounds "
                f"{min(ratios):4.2f} to {max(ratios):4.2f}"
            )


def crossover() -> None:
    """Second table: L2-1 sigma on equal steps, milliseconds per history."""
    print(f"\n{'steps':>8} {'Direct':>10} {'BlockFFT':>10} {'Exponentials':>13}   ms, L2Sigma")
    for steps in (250, 500, 1000, 2000, 4000, 8000):
        times, line = TimeGrid.uniform(T, steps).times, f"{steps:8d}"
        for history in (Direct(), BlockFFT(), Exponentials()):
            scheme = L2Sigma(history=history)
            last = np.array([steps])
            row = measure("", lambda s=scheme, k=last: go(s, times, k), units=1, repeats=2)  # noqa: B023
            line += f" {1e3 * min(row.cpu):10.1f}"
        print(line)


def work_precision() -> None:
    """Third table: every scheme, mesh and history; errors against exact propagation."""
    ready = Propagator(rtol=1e-12).prepare(CHAIN, alpha=ALPHA, timescale=1.0, backend="numba")
    print(f"\n{'':42}{'steps':>7} {'max error':>10} {'at T':>9} {'ms':>9}")
    for scheme, best in (
        (L1(), (2 - ALPHA) / ALPHA),
        (L12(), (3 - ALPHA) / ALPHA),
        (L2Sigma(), 2 / ALPHA),
        (GrunwaldLetnikov(), None),
    ):
        for grading in (1.0, best):
            for history in (Direct(), BlockFFT(), Exponentials()):
                chosen = type(scheme)(history=history)
                for steps in (200, 800, 3200):
                    if grading is not None:
                        _row(chosen, grading, steps, ready)


def _row(scheme: ConvolutionScheme, grading: float, steps: int, ready: object) -> None:
    grid = TimeGrid.graded(T, steps, grading)
    try:
        scheme.check(grid)
    except ValueError:
        return  # not a combination that is served
    keep = np.unique(np.append(np.geomspace(1, steps, 40).astype(int), steps))
    timing = measure("", lambda: go(scheme, grid.times, keep), units=1, repeats=2)
    exact = ready.run(START, grid.times[keep]).density  # type: ignore[attr-defined]
    gap = np.abs(go(scheme, grid.times, keep) / CHAIN.widths - exact)
    name = f"{type(scheme).__name__}, r = {grading:.2f}, {type(scheme.history).__name__}"
    print(
        f"{name:42}{steps:7d} {gap.max():10.1e} {gap[-1].max():9.1e} {1e3 * min(timing.cpu):9.1f}"
    )


def main() -> None:
    print(header((__doc__ or "").splitlines()[0]))
    near_the_bound()
    crossover()
    work_precision()


if __name__ == "__main__":
    main()

"""Question: from which accuracy on does collocation overtake a march of second order?

A fractional Ornstein-Uhlenbeck process, 512 cells, alpha = 0.6, densities at 20 times up to 10.
The rivals: L2Sigma with sums of exponentials on the mesh of grading 2 / alpha, and where nothing
depends on time the propagator, which takes no steps.  The error is the largest over x and all 20
times, relative to the largest density, against exact propagation.  Collocation is timed three ways:
with one operator (complex shifts), with an operator that is made anew at every node (blocks), and
with the second solution that estimates its error in the count, as ``solve`` runs it.

Predicted before the first run: collocation overtakes between 1e-5 and 1e-6, where the march needs
1,560 steps and collocation 20 intervals; at 1e-8 it is ten times faster and at 1e-10 a hundred
times; blocks cost three times as much as shifts; the propagator is fifty times faster than either.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.work import header, measure
from fracsde.backends import marching_numba
from fracsde.grids import TimeGrid
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.schemes.collocation import HpCollocation
from fracsde.schemes.exponentials import Exponentials
from fracsde.schemes.l2_sigma import L2Sigma
from fracsde.schemes.marching import march
from fracsde.schemes.propagator import Propagator

CELLS, ALPHA, LAST = 512, 0.6, 10.0
WANTED = np.geomspace(0.05, LAST, 20)
PROBLEM = FokkerPlanck(
    potential=lambda x: x**2 / 2,
    diffusion=1.0,
    domain=(-6.0, 6.0),
    initial=Gaussian(mean=1.5, std=0.5),
)
RUNS = ((5, 1e-4), (6, 1e-6), (8, 1e-8), (12, 1e-10), (14, 1e-12))


def main() -> None:
    print(header((__doc__ or "").splitlines()[0]))
    space = FiniteVolume(cells=CELLS)
    chain = space.discretise(PROBLEM)
    masses = chain.project(PROBLEM.initial)
    exact = Propagator(rtol=1e-13).prepare(chain, alpha=ALPHA).propagate(masses, WANTED)
    exact /= chain.widths

    def error(density: np.ndarray) -> float:
        return float((np.abs(density - exact).max(axis=1) / exact.max(axis=1)).max())

    for degree, rtol in RUNS:
        scheme = HpCollocation(degree=degree, rtol=rtol)
        shifts = measure(
            "shifts",
            lambda s=scheme: s.run(lambda t: chain, masses, WANTED, alpha=ALPHA),
            units=1,
            repeats=5,
        )
        blocks = measure(
            "blocks",
            lambda s=scheme: s.run(
                lambda t: space.discretise(PROBLEM), masses, WANTED, alpha=ALPHA, driven=True
            ),
            units=1,
            repeats=3,
        )
        run = scheme.run(lambda t: chain, masses, WANTED, alpha=ALPHA)
        print(
            f"HpCollocation degree {degree:2d} rtol {rtol:.0e}  error {error(run.density):.1e}  "
            f"estimated {run.relative.max():.1e}  intervals {run.stats['intervals']:3d}  "
            f"shifts {1e3 * min(shifts.cpu):7.1f} ms  "
            f"driven, blocks {1e3 * min(blocks.cpu):7.1f} ms"
        )
    for steps in (100, 1000, 10_000, 100_000):
        mesh = TimeGrid.graded(LAST, steps, 2.0 / ALPHA).times
        times = np.unique(np.concatenate([mesh, WANTED]))
        keep = np.searchsorted(times, WANTED)
        scheme = L2Sigma(history=Exponentials(rtol=1e-11))

        def once(scheme: L2Sigma = scheme, times: np.ndarray = times, keep: np.ndarray = keep):
            return march(
                chain,
                scheme,
                times,
                initial=masses,
                alpha=ALPHA,
                scale=1.0,
                source=None,
                engine=marching_numba,
                keep=keep,
            )

        row = measure("march", once, units=steps, repeats=2 if steps < 10_000 else 1)
        found = once() / chain.widths
        print(
            f"L2Sigma, exponentials {steps:7d} steps  error {error(found):.1e}"
            f"{'':24}{1e3 * min(row.cpu):9.1f} ms"
        )
    for rtol in (1e-6, 1e-10):
        ready = Propagator(rtol=rtol).prepare(chain, alpha=ALPHA)
        row = measure("", lambda r=ready: r.propagate(masses, WANTED), units=1, repeats=50)
        print(f"Propagator rtol {rtol:.0e} {'':42}{1e3 * min(row.cpu):9.2f} ms")


if __name__ == "__main__":
    main()

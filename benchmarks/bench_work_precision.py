"""Question: what does each scheme, on each mesh, with each history, pay for an error.

The fractional Ornstein-Uhlenbeck process of 256 cells from a Gaussian, alpha = 0.6, to t = 10: its
solution starts like t^alpha.  The error is the largest over thirty times, relative to the largest
density at that time, and that at the final time, against propagation of the same cells to 1e-12.
Steps are doubled from 100; the order is that of the last doubling.  Not counted: compiling, and the
sums of exponentials.  CPU time of one core.

Predicted: on a uniform mesh the largest error falls with order alpha whatever the scheme, except
for quadratures, whose start corrections leave fixed times with their full order and the first steps
without any; graded meshes give 2 - alpha, 2, 3 - alpha; geometric ones, whose first step shrinks
like n^(-r) as on the graded mesh, spend as many steps on each decade and are worse by a logarithm.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import process_time

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.work import header
from fracsde import (
    L1,
    L12,
    AllAtOnce,
    BlockFFT,
    ConvolutionQuadrature,
    Direct,
    Exponentials,
    FiniteVolume,
    FokkerPlanck,
    FractionalFokkerPlanck,
    Gaussian,
    GrunwaldLetnikov,
    HpCollocation,
    L2Sigma,
    LeMcLeanMustapha,
    Propagator,
    TimeGrid,
    solve,
)
from fracsde.errors import ComputationError

ALPHA, T, CELLS = 0.6, 10.0, 256
PROBLEM = FractionalFokkerPlanck(
    base=FokkerPlanck(
        potential=lambda x: x**2 / 2,
        diffusion=1.0,
        domain=(-6.0, 6.0),
        initial=Gaussian(mean=1.5, std=0.5),
    ),
    alpha=ALPHA,
)
SPACE = FiniteVolume(cells=CELLS)
SIZES = (100, 200, 400, 800, 1600)
FEW = (100, 200, 400, 800)
# Scheme, its order on a mesh that is graded enough, and the histories it takes.
PIECEWISE = ((L1, 2 - ALPHA), (L2Sigma, 2.0), (L12, 3 - ALPHA))
HISTORIES = (Direct(), BlockFFT(), Exponentials(rtol=1e-10))
QUADRATURES = (
    GrunwaldLetnikov,
    *((lambda history, k=k: ConvolutionQuadrature(bdf=k, history=history)) for k in range(2, 7)),
)


def meshes(order: float):
    """Yield names of meshes and the meshes of a number of steps."""
    r = order / ALPHA
    yield "uniform", lambda n: TimeGrid.uniform(T, n)
    yield f"graded {r:.2f}", lambda n: TimeGrid.graded(T, n, r)
    yield "geometric", lambda n: TimeGrid.geometric(T * float(n) ** -r, T, n)


def errors(scheme, grid: TimeGrid) -> tuple[float, float, float]:
    """Return the largest relative error, that at the end, and the CPU time in ms."""
    kept = np.unique(np.geomspace(1, len(grid) - 1, 30).round().astype(int))
    asked = {"space": SPACE, "save_at": grid.times[kept]}
    if isinstance(getattr(scheme, "history", None), Exponentials):
        scheme.history.begin(scheme, grid.times, np.ones(1), alpha=ALPHA)  # builds the sum
    clock = process_time()
    found = solve(PROBLEM, grid, scheme=scheme, **asked)
    spent = 1e3 * (process_time() - clock)
    exact = solve(PROBLEM, grid, scheme=Propagator(rtol=1e-12), **asked)
    gap = np.abs(found.density - exact.density).max(axis=1) / exact.density.max(axis=1)
    return float(gap.max()), float(gap[-1]), spent


def row(name: str, mesh: str, history: str, scheme, make, sizes) -> None:
    try:
        errors(scheme, make(sizes[0]))  # compiles, and builds sums of exponentials
        found = np.array([errors(scheme, make(n)) for n in sizes])
    except ComputationError as error:
        print(f"| {name} | {mesh} | {history} | not finite or not accurate: {error} |")
        return
    largest, final, ms = found[-1]
    with np.errstate(divide="ignore"):
        orders = np.log2(found[-2, :2] / found[-1, :2])
    print(
        f"| {name} | {mesh} | {history} | {sizes[-1]} | {largest:.1e} | {orders[0]:.2f} "
        f"| {final:.1e} | {orders[1]:.2f} | {ms:.1f} |",
        flush=True,
    )


def main() -> None:
    print(header((__doc__ or "").splitlines()[0]))
    print("| scheme | mesh | history | steps | largest error | order | final error | order | ms |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for scheme, order in PIECEWISE:
        for mesh, make in meshes(order):
            for history in HISTORIES:
                if isinstance(history, BlockFFT) and mesh != "uniform":
                    continue
                name = type(history).__name__
                row(scheme.__name__, mesh, name, scheme(history=history), make, SIZES)
    for k, quadrature in enumerate(QUADRATURES):
        name = "GrunwaldLetnikov" if k == 0 else f"ConvolutionQuadrature(bdf={k + 1})"
        for history in (Direct(), BlockFFT(), AllAtOnce()):
            scheme = quadrature(history=history)
            made = lambda n: TimeGrid.uniform(T, n)  # noqa: E731 - one mesh
            row(name, "uniform", type(history).__name__, scheme, made, SIZES)
    for mesh, make in meshes(1.0):
        row("LeMcLeanMustapha", mesh, "all states", LeMcLeanMustapha(), make, FEW)
    ends = TimeGrid.from_times(np.geomspace(1e-3, T, 30))
    for rtol in (1e-4, 1e-6, 1e-8, 1e-10):
        for scheme in (HpCollocation(rtol=rtol), Propagator(rtol=rtol)):
            errors(scheme, ends)
            largest, final, ms = errors(scheme, ends)
            name = f"{type(scheme).__name__}(rtol={rtol:.0e})"
            print(f"| {name} | its own | | | {largest:.1e} | | {final:.1e} | | {ms:.1f} |")


if __name__ == "__main__":
    main()

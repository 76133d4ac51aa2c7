"""What does a density in the plane and in space cost, to a tolerance, on one core?

Predictions, made before anything was measured:

- 256 x 256 cells, not separable, one time at 1e-8: a clock of one against the fastest rate,
  R = 1300, takes Chebyshev polynomials up to degree 18^0.7 sqrt(1300) = 270 at order 0.6.  A
  product with the stencil moves 7 numbers per cell, 0.2 ms, so 0.1 s; a sparse factorisation
  takes 0.3 s and poles need nine of them.
- 96^3 cells: degree 150, 4 ms each, 0.6 s; the matrix, its diagonals and its assembly take
  under 1 GB.

- A swirl of three turns per relaxation on 64 x 64 cells at 1e-8, order 0.95 and 1: contours for the
  whole right half-plane solve 1400 complex systems at 12 ms each, 16 s; steps at order one 400 of
  them, 5 s.  A Krylov space of one real factorisation, 12 ms, takes forty solves at 0.5 ms and a
  small function: under 0.1 s, a hundred times less.

Measured is processor time of a whole ``solve`` (discretisation and error estimate included), the
error against the exact mean (in space) and the estimate (in time), and the peak memory of a
process that does nothing else.  Run: ``OPENBLAS_NUM_THREADS=1 python benchmarks/bench_space.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np

from fracsde import solve
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.schemes.propagator import Propagator
from fracsde.special import mittag_leffler

ALPHA = 0.6


def coupled(d: int, *, separable: bool = False) -> FractionalFokkerPlanck:
    """Return an Ornstein-Uhlenbeck process with coupled coordinates, which no product solves."""
    c = 0.0 if separable else 0.5

    def potential(*x: np.ndarray) -> np.ndarray:
        return sum(0.5 * y**2 for y in x) + c * sum(a * b for a, b in pairwise(x))

    base = FokkerPlanck(
        potential=potential,
        diffusion=1.0,
        domain=((-8.0, 8.0),) * d,
        initial=Gaussian(mean=(1.0,) + (0.0,) * (d - 1), std=0.5),
    )
    return FractionalFokkerPlanck(base=base, alpha=ALPHA)


def exact_mean(d: int, t: float) -> np.ndarray:
    A = np.eye(d) + 0.5 * (np.eye(d, k=1) + np.eye(d, k=-1))
    rates, Q = np.linalg.eigh(A)
    return (Q * mittag_leffler(-rates * t**ALPHA, ALPHA)) @ Q[0]


def one(d: int, cells: int, times: list[float], rtol: float, repeats: int) -> dict[str, object]:
    problem, best = coupled(d), np.inf
    for _ in range(repeats):
        start = time.process_time()
        solution = solve(
            problem, times, space=FiniteVolume(cells=cells), scheme=Propagator(rtol=rtol)
        )
        best = min(best, time.process_time() - start)
    gap = np.abs(solution.mean()[-1] - exact_mean(d, times[-1])).max()
    peak = float(solution.density[-1].max())
    return {
        "case": f"{cells}^{d}, {len(times)} time(s), rtol {rtol:g}",
        "cpu_s": best,
        "products": solution.stats.get("products", 0),
        "in_time": float(solution.error_estimate or 0.0) / peak,
        "in_space": float(gap),
        "mass": float(np.abs(solution.mass_defect()).max()),
    }


def ways(cells: int) -> list[tuple[str, float]]:
    """Ratios in one run: polynomials, one sparse factorisation with its solve, multigrid, lines."""
    problem = coupled(2).base
    grid = FiniteVolume(cells=cells).discretise(problem)
    masses = grid.project(problem.initial)
    found = []
    for method in ("direct", "multigrid"):
        grid.solver(method).solve(1.0 + 2.0j, masses)
        start = time.process_time()
        grid.solver(method, rtol=1e-9).solve(1.0 + 2.0j, masses)
        found.append((f"one complex shift, {method}", time.process_time() - start))
    ready = Propagator(rtol=1e-8).prepare(grid, alpha=ALPHA)
    ready.run(masses, [1.0])
    start = time.process_time()
    ready.run(masses, [1.0])
    found.append(("one time at 1e-8, polynomials", time.process_time() - start))
    apart = coupled(2, separable=True).base
    grid = FiniteVolume(cells=cells).discretise(apart)
    ready = Propagator(rtol=1e-8).prepare(grid, alpha=ALPHA)
    start = time.process_time()
    ready.run(masses, [1.0])
    found.append(("one time, separable, lines", time.process_time() - start))
    return found


def swirl(cells: int, alpha: float, times: list[float]) -> tuple[float, float, float]:
    """Seconds by shifted systems alone, and by the propagator; and how far they are apart."""
    base = FokkerPlanck(
        potential=lambda x, y: (x**2 + y**2) / 2,
        force=lambda x, y: (-3 * y, 3 * x),
        diffusion=1.0,
        domain=((-6.0, 6.0),) * 2,
        initial=Gaussian(mean=(1.0, -0.5), std=0.6),
    )
    grid = FiniteVolume(cells=cells).discretise(base)
    masses = grid.project(base.initial)
    found, seconds = [], []
    for road in ("systems", "all"):
        start = time.process_time()
        ready = Propagator(rtol=1e-8).prepare(grid, alpha=alpha).road
        road = ready.systems if road == "systems" else ready
        found.append(road.run(masses, np.array(times)).density)
        seconds.append(time.process_time() - start)
    gap = np.abs(found[0] - found[1]).max() / found[0].max()
    return seconds[0], seconds[1], float(gap)


def main() -> None:
    if len(sys.argv) > 1:
        import resource

        row = one(*json.loads(sys.argv[1]))
        row["peak_GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps(row))
        return
    one(2, 16, [1.0], 1e-8, 1)  # compile
    cases = [
        (2, 128, [1.0], 1e-8, 3),
        (2, 256, [1.0], 1e-8, 3),
        (2, 256, [1.0], 1e-12, 3),
        (2, 256, list(np.geomspace(0.01, 10.0, 20)), 1e-8, 1),
        (2, 512, [1.0], 1e-8, 1),
        (3, 48, [1.0], 1e-8, 1),
        (3, 96, [1.0], 1e-8, 1),
    ]
    print(
        f"{'case':<34}{'cpu [s]':>9}{'products':>10}{'in time':>10}{'in space':>10}{'mass':>10}"
        f"{'peak [GB]':>11}"
    )
    for case in cases:
        run = subprocess.run(
            [sys.executable, __file__, json.dumps(case)], capture_output=True, text=True, check=True
        )
        row = json.loads(run.stdout)
        print(
            f"{row['case']:<34}{row['cpu_s']:>9.3f}{row['products']:>10}{row['in_time']:>10.1e}"
            f"{row['in_space']:>10.1e}{row['mass']:>10.1e}{row['peak_GB']:>11.2f}"
        )
    print()
    rows = ways(256)
    for name, seconds in rows:
        print(f"{name:<34}{seconds:>9.3f}{seconds / rows[2][1]:>10.2f}")
    print(f"\n{'swirl':<34}{'systems [s]':>12}{'now [s]':>10}{'ratio':>8}{'apart':>10}")
    swirl(8, ALPHA, [1.0])  # compile
    for cells, alpha, times in (
        (64, 0.6, [1.0]),
        (64, 0.6, list(np.linspace(0.5, 1.5, 20))),
        (64, 0.95, [1.0]),
        (64, 1.0, [1.0]),
        (128, 0.6, [1.0]),
        (128, 1.0, [1.0]),
    ):
        before, now, gap = swirl(cells, alpha, times)
        case = f"{cells}^2, order {alpha:g}, {len(times)} time(s)"
        print(f"{case:<34}{before:>12.3f}{now:>10.3f}{before / now:>8.1f}{gap:>10.1e}", flush=True)


if __name__ == "__main__":
    main()

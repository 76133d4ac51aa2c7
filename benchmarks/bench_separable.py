"""What do independent coordinates on one clock cost, in three dimensions and in a hundred?

Predictions, made before anything was measured:

- 64^3 cells, three times at 1e-12: the tensor grid is solved by eigenvectors of its lines, six
  products of 64 by 64^3 per time, and holds 2 MB per time; the mixture holds 3 lines of 64 cells in
  30 components, 46 kB per time, and takes 30 ordinary densities per line and time: 10 ms in all
  against 100 ms.  Both agree to 1e-12.
- 100 different lines of 256 cells, three times: a line takes about 1200 shifted systems of 256
  cells, 1 ms, and the planning of windows and comparisons 10 ms more: 1 s, and 20 MB of components.
- 1000 lines: ten times that.  The exponentials of the clock are fitted once for each end of the
  interval of rates, 2 to 4 s; that is kept apart here.

Measured is processor time of a whole ``solve`` (discretisation and error estimate included, clock
fitted before), and peak memory beyond that of the imports.  Run:
``OPENBLAS_NUM_THREADS=1 python benchmarks/bench_separable.py``.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import numpy as np

from fracsde import solve
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.problems.separable import SeparableFokkerPlanck
from fracsde.problems.subordinated import SubordinatedOU
from fracsde.transients import covariance_at

ALPHA, TIMES, BOX = 0.6, [0.05, 0.5, 5.0], (-8.0, 8.0)


def lines(d: int) -> tuple[np.ndarray, np.ndarray]:
    return np.linspace(0.5, 2.0, d), np.linspace(-1.0, 1.2, d)


def independent(d: int) -> SeparableFokkerPlanck:
    """Return an Ornstein-Uhlenbeck process with ``d`` different rates."""
    factors = tuple(
        FokkerPlanck(
            potential=lambda x, r=r: 0.5 * r * x**2,
            diffusion=1.0,
            domain=BOX,
            initial=Gaussian(mean=m, std=0.5),
        )
        for r, m in zip(*lines(d), strict=True)
    )
    return SeparableFokkerPlanck(factors=factors, alpha=ALPHA)


def tensor() -> FractionalFokkerPlanck:
    """Return the same problem in three dimensions as one equation."""
    rates, means = lines(3)
    base = FokkerPlanck(
        potential=lambda x, y, z: 0.5 * (rates[0] * x**2 + rates[1] * y**2 + rates[2] * z**2),
        diffusion=1.0,
        domain=(BOX,) * 3,
        initial=Gaussian(mean=tuple(means), std=0.5),
    )
    return FractionalFokkerPlanck(base=base, alpha=ALPHA)


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def timed(problem: object, cells: int, repeats: int) -> tuple[float, float, object]:
    """Return seconds of the first solve and of the best later one, and the last solution."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.process_time()
        solution = solve(problem, TIMES, space=FiniteVolume(cells=cells))  # type: ignore[call-overload]
        seconds.append(time.process_time() - start)
    return seconds[0], min(seconds[1:]), solution


def three(cells: int) -> dict[str, float]:
    """Both roads in one process, and how far apart they are."""
    solve(independent(3), TIMES, space=FiniteVolume(cells=24))  # compile
    solve(tensor(), TIMES, space=FiniteVolume(cells=24))
    before = peak_gb()
    first, mixture_s, mixture = timed(independent(3), cells, 5)
    between = peak_gb()
    _, tensor_s, grid = timed(tensor(), cells, 2)
    after = peak_gb()
    x = mixture.points  # type: ignore[attr-defined]
    start = time.process_time()
    whole = mixture.density_at(x[0][:, None, None], x[1][:, None], x[2])  # type: ignore[attr-defined]
    expand = time.process_time() - start
    density = grid.density  # type: ignore[attr-defined]
    gap = np.abs(whole - density).max(axis=(1, 2, 3)) / density.max(axis=(1, 2, 3))
    return {
        "clock": first - mixture_s,
        "mixture": mixture_s,
        "tensor": tensor_s,
        "expand": expand,
        "apart": float(gap.max()),
        "mixture_MB": 1e3 * (between - before),
        "tensor_MB": 1e3 * (after - between),
    }


def many(d: int, cells: int) -> dict[str, float]:
    """Solve in many dimensions, once for the clock and once more."""
    solve(independent(1), TIMES, space=FiniteVolume(cells=8))
    problem, before = independent(d), peak_gb()
    first, again, solution = timed(problem, cells, 1)
    start = time.process_time()
    covariance = solution.covariance()  # type: ignore[attr-defined]
    moments = time.process_time() - start
    rates, means = lines(d)
    process = SubordinatedOU(
        base=OUProcess(drift=np.diag(rates), noise=2.0 * np.eye(d)), alpha=ALPHA
    )
    peak = peak_gb() - before
    exact = covariance_at(process, TIMES, 0.25 * np.eye(d), initial=means)
    return {
        "clock": first - again,
        "solve": again,
        "covariance": moments,
        "components": solution.stats["components"],  # type: ignore[attr-defined]
        "stored_MB": solution.stats["bytes"] / 1e6,  # type: ignore[attr-defined]
        "peak_MB": 1e3 * peak,
        "in_time": solution.error_estimate,  # type: ignore[attr-defined]
        "in_space": float(np.abs(covariance - exact).max()),
        "mass": float(np.abs(solution.mass_defect()).max()),  # type: ignore[attr-defined]
    }


def main() -> None:
    if len(sys.argv) > 1:
        name, *numbers = json.loads(sys.argv[1])
        print(json.dumps({"three": three, "many": many}[name](*numbers)))
        return
    for case in (["three", 64], ["many", 10, 256], ["many", 100, 256], ["many", 1000, 256]):
        run = subprocess.run(
            [sys.executable, __file__, json.dumps(case)], capture_output=True, text=True, check=True
        )
        row = json.loads(run.stdout)
        print("  ".join(map(str, case)))
        print("   " + "  ".join(f"{key} {value:.3g}" for key, value in row.items()))
        if case[0] == "three":
            print(f"   tensor over mixture {row['tensor'] / row['mixture']:.1f}")


if __name__ == "__main__":
    main()

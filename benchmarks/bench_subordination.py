"""Question: what do exact clock values save over a path of the subordinator, at equal error.

The common recipe adds independent stable increments over steps ``h`` of operational time until
they pass ``t`` and takes the number of steps for the clock [MagdziarzWeron2007].  That clock is
``h * ceil(E_t / h)`` exactly, so that its error in the mean of an Ornstein-Uhlenbeck process can be
computed without sampling: about ``h / 2`` times the rate.  An exact value costs one stable draw,
the recipe ``E_t / h`` of them.  Predicted: for an error of 1e-3 the recipe costs 500 times as much
a sample, growing like one over the error; exact samples at a few million a second and core.

The second table has what ten thousand coordinates cost.  Predicted: all of it below a second; the
variance of every coordinate 0.05 s, samples 2 million coordinates a second (normals are the
ceiling, at some 50 million).

Run ``python -m benchmarks.bench_subordination``.
"""

from __future__ import annotations

from time import process_time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.work import header
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.problems.structured import DiagonalOU, LowRankOU
from fracsde.problems.subordinated import SubordinatedOU
from fracsde.simulate import simulate
from fracsde.special.sampling import sample_stable
from fracsde.special.stable import inverse_stable_cdf
from fracsde.subordination import density_at, sample_at, two_time_covariance, variance_along
from fracsde.transients import mean_at

if TYPE_CHECKING:
    from collections.abc import Callable

ALPHA, T, RATE, SAMPLES = 0.7, 1.0, 1.0, 100_000
PROCESS = SubordinatedOU(base=OUProcess(drift=RATE, noise=2.0), alpha=ALPHA)


def recipe(step: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw samples at time ``T`` by increments of the subordinator and exact steps of the base."""
    x, position, clock = np.ones(size), np.zeros(size), np.zeros(size)
    active = np.arange(size)
    while len(active):
        position[active] += step ** (1 / ALPHA) * sample_stable(ALPHA, len(active), rng)
        clock[active] += step
        active = active[position[active] <= T]
    decay = np.exp(-RATE * clock)
    return decay * x + np.sqrt(1.0 - decay**2) * rng.standard_normal(size)


def recipe_bias(step: float) -> float:
    """Return the error of the recipe's mean, from the law of ``step * ceil(E / step)``."""
    edges = step * np.arange(int(40 / step) + 1)
    mass = np.diff(inverse_stable_cdf(edges, T, ALPHA))
    return float(np.exp(-RATE * edges[1:]) @ mass - mean_at(PROCESS, T, 1.0)[0, 0])


def fastest(call: Callable[[], object], repeats: int = 3) -> float:
    """Return the smallest process time of a call, the first left out."""
    call()
    times = []
    for _ in range(repeats):
        start = process_time()
        call()
        times.append(process_time() - start)
    return min(times)


def equal_error() -> None:
    exact = fastest(lambda: sample_at(PROCESS, T, SAMPLES, 1, start=1.0)) / SAMPLES
    print(f"\n{'operational step':>18} {'error of mean':>14} {'us/sample':>10} {'over exact':>10}")
    print(f"{'exact':>18} {0.0:14.1e} {1e6 * exact:10.3f} {1.0:10.1f}")
    for step in (0.1, 0.03, 0.01, 0.003, 0.001):
        size = max(1000, int(SAMPLES * min(1.0, step / 0.03)))
        cost = fastest(lambda s=step, n=size: recipe(s, n, np.random.default_rng(1)), 1) / size
        bias = recipe_bias(step)
        print(f"{step:18g} {bias:14.1e} {1e6 * cost:10.3f} {cost / exact:10.1f}")


def ten_thousand() -> None:
    d = 10_000
    rng = np.random.default_rng(0)
    low_rank = LowRankOU(
        basis=np.linalg.qr(rng.normal(size=(d, 20)))[0],
        drift=np.diag(np.arange(1.0, 21.0)) + np.triu(rng.normal(size=(20, 20)), 1),
        noise=np.eye(20),
        rest_drift=0.5,
        rest_noise=1.0,
    )
    diagonal = DiagonalOU(drift=np.geomspace(1e-4, 1e2, d), noise=1.0)
    start, u = rng.normal(size=d), rng.normal(size=d) / d**0.5
    print(f"\n{'s of process time, d = 10 000':44} {'diagonal':>9} {'low rank':>9}")
    processes = [SubordinatedOU(base=base, alpha=0.6) for base in (diagonal, low_rank)]
    calls: dict[str, Callable[[SubordinatedOU], object]] = {
        "mean at 10 times": lambda p: mean_at(p, np.geomspace(0.01, 10, 10), start),
        "variance of every coordinate, 1 time": lambda p: variance_along(p, 2.0, initial=start),
        "variance along a direction, 1 time": lambda p: variance_along(
            p, 2.0, u[:, None], initial=start
        ),
        "two-time covariance along a direction": lambda p: two_time_covariance(
            p, 1.0, 3.0, initial=start, directions=u[:, None]
        ),
        "density of a direction, 200 points": lambda p: density_at(
            p, np.linspace(-3, 3, 200), 2.0, initial=start, direction=u
        ),
        "100 samples at one time": lambda p: sample_at(p, 2.0, 100, 1, start=start),
        "10 paths of 10 draws": lambda p: simulate(
            p, np.linspace(0.1, 1.0, 10), chains=10, rng=1, start=start
        ),
    }
    for label, call in calls.items():
        cost = [fastest(lambda p=p, call=call: call(p)) for p in processes]
        print(f"{label:44} {cost[0]:9.4f} {cost[1]:9.4f}")


def main() -> None:
    print(header("What do exact clock values save over a path of the subordinator?"))
    equal_error()
    ten_thousand()


if __name__ == "__main__":
    main()

"""How many digits do spectral operators give for a millisecond, against cells?

The whole road is timed: operator, eigenproblem, Mittag-Leffler functions at four times.  The
reference is the Hermite series with Mittag-Leffler amplitudes; errors are the largest over points
and times.  Richardson pairs two chains of cells, one three times as fine.  Run with one thread of
linear algebra: ``OPENBLAS_NUM_THREADS=1 python -m benchmarks.bench_spectral``.
"""

from __future__ import annotations

from time import process_time
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import eigh_tridiagonal

from benchmarks.work import header
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.operators.hermite import Hermite
from fracsde.operators.sinc import Sinc
from fracsde.problems.densities import cell_masses
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.special import mittag_leffler

if TYPE_CHECKING:
    from collections.abc import Callable

ALPHA = 0.6
TIMES = np.array([0.01, 0.1, 1.0, 10.0])
MEAN, STD = 1.5, 0.5
PROBLEM = FokkerPlanck(
    potential=lambda x: x**2 / 2,
    diffusion=1.0,
    domain=(-np.inf, np.inf),
    initial=Gaussian(mean=MEAN, std=STD),
)


def exact(x: np.ndarray, terms: int = 400) -> np.ndarray:
    q = np.sqrt(1.0 - STD**2)
    h_start, h_x = [1.0, MEAN / q], [np.ones_like(x), x]
    for k in range(1, terms):
        h_start.append((MEAN / q * h_start[k] - np.sqrt(k) * h_start[k - 1]) / np.sqrt(k + 1))
        h_x.append((x * h_x[k] - np.sqrt(k) * h_x[k - 1]) / np.sqrt(k + 1))
    n = np.arange(terms + 1)
    decay = mittag_leffler(-np.outer(TIMES**ALPHA, n), ALPHA)
    weight = np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi)
    return weight * ((decay * (q**n * np.array(h_start))) @ np.array(h_x))


def spectral(space: Any) -> tuple[np.ndarray, np.ndarray]:
    generator = space.discretise(PROBLEM)
    masses = generator.project(PROBLEM.initial)
    scale = np.exp(generator.symmetric_matrix()[1])
    rates, vectors = generator.eigen()
    decay = mittag_leffler(-np.outer(TIMES**ALPHA, rates), ALPHA)
    states = scale * ((decay * (vectors.T @ (masses / scale))) @ vectors.T)
    return generator.points, states / generator.widths


def cells(count: int) -> tuple[np.ndarray, np.ndarray]:
    chain = FiniteVolume(cells=count).discretise(PROBLEM)
    masses = cell_masses(PROBLEM.initial, chain.edges)
    diagonal, bond, log_scale = chain.symmetrised()
    scale = np.exp(log_scale)
    rates, vectors = eigh_tridiagonal(diagonal, bond[:-1])
    decay = mittag_leffler(-np.outer(TIMES**ALPHA, np.maximum(rates, 0.0)), ALPHA)
    states = scale * ((decay * (vectors.T @ (masses / scale))) @ vectors.T)
    return chain.points, states / chain.widths


def richardson(count: int) -> tuple[np.ndarray, np.ndarray]:
    (x, coarse), (_, fine) = cells(count), cells(3 * count)
    return x, (9.0 * fine[:, 1::3] - coarse) / 8.0


def best(call: Callable[[], object], repeats: int) -> float:
    spent = []
    for _ in range(repeats):
        clock = process_time()
        call()
        spent.append(process_time() - clock)
    return min(spent)


def main() -> None:
    print(header(__doc__.splitlines()[0]))
    print(f"{'':24} {'error':>8} {'cpu ms':>8}")
    rows: list[tuple[str, Callable[[], tuple[np.ndarray, np.ndarray]], int]] = []
    rows += [(f"sinc {n}", lambda n=n: spectral(Sinc(points=n)), 40) for n in (32, 48, 56, 64, 80)]
    rows += [
        (f"hermite {n}", lambda n=n: spectral(Hermite(modes=n)), 40) for n in (32, 48, 56, 64, 80)
    ]
    rows += [(f"cells {n}", lambda n=n: cells(n), 5) for n in (128, 512, 1024)]
    rows += [(f"cells {n} and {3 * n}", lambda n=n: richardson(n), 5) for n in (85, 171, 341)]
    for label, call, repeats in rows:
        x, density = call()
        error = np.abs(density - exact(x)).max()
        print(f"{label:24} {error:8.1e} {1e3 * best(call, repeats):8.2f}")


if __name__ == "__main__":
    main()

"""Question: how much does symmetry save on a Lyapunov equation, and how near is its floor.

The floor is the fastest eigendecomposition at hand.  From eigenvectors a symmetric drift costs two
changes of coordinates more, of three quarters of two products each: predicted are 1.5 to 2 times
the floor.  From 256 rows on positive drifts are solved from a tridiagonal form: 0.45 of the floor
for the form, 0.4 for 4 n^3 operations of reflectors at the rate of a product, 0.1 for the rest.
Predicted: 1.0 to 1.3 times the floor, and 5 to 20 times less than
``scipy.linalg.solve_continuous_lyapunov``, which needs a Schur form and an unblocked solve.

Momentum doubles the dimension and loses the symmetry; its modes give it back.  Predicted: 3 to 6
times the floor, against more than 30 times for SciPy's bilinear method on the doubled matrix.
First timings gave 6 to 8, and no cause has been measured.

A unit is ``n**3`` operations times a million, so that sizes can be compared; every solution must
have a residual at rounding before any timing.  Run ``python -m benchmarks.bench_lyapunov``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from benchmarks.work import header, measure, table
from fracsde.lyapunov import solve_lyapunov
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.stationary import stationary_covariance

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde.problems.ornstein_uhlenbeck import LinearRecursion

SIZES = (200, 500, 1000)
DOUBLED_UP_TO = 500
CONDITION = 1e4
FLOOR = "numpy.linalg.eigh of n x n"


def problem(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    V = np.linalg.qr(rng.normal(size=(n, n)))[0]
    H = (V * np.geomspace(1.0 / CONDITION, 1.0, n)) @ V.T
    B = rng.normal(size=(n, n)) / np.sqrt(n)
    return 0.5 * (H + H.T), B @ B.T


def lyapunov_routes(H: np.ndarray, C: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    return {
        "fracsde.solve_lyapunov": lambda: solve_lyapunov(H, C).matrix,
        "fracsde, by eigenvectors": lambda: solve_lyapunov(H, C, method="eigen").matrix,
        "scipy.solve_continuous_lyapunov": lambda: scipy.linalg.solve_continuous_lyapunov(H, C),
    }


def momentum_routes(process: LinearRecursion) -> dict[str, Callable[[], np.ndarray]]:
    T, Q = process.transition, process.noise

    def ours(method: str) -> Callable[[], np.ndarray]:
        return lambda: stationary_covariance(process, method=method).state_matrix

    return {
        "fracsde, momentum by modes": ours("eigen"),
        "fracsde, momentum by Schur form": ours("bartels_stewart"),
        "scipy, momentum, bilinear": lambda: scipy.linalg.solve_discrete_lyapunov(
            T, Q, method="bilinear"
        ),
    }


def small(gap: np.ndarray, S: np.ndarray) -> bool:
    return bool(np.linalg.norm(gap) < 1e-13 * np.linalg.norm(S))


def report(n: int) -> None:
    H, C = problem(n)
    units, repeats = n**3 / 1e6, 5 if n < 1000 else 3
    rows = [measure(FLOOR, lambda: np.linalg.eigh(H), units=units, repeats=repeats)]
    for driver in ("evd", "evr"):
        label = f"scipy.linalg.eigh, {driver}"
        rows.append(
            measure(
                label,
                lambda driver=driver: scipy.linalg.eigh(H, driver=driver, check_finite=False),
                units=units,
                repeats=repeats,
            )
        )
    for label, solve in lyapunov_routes(H, C).items():
        S = solve()
        assert small(H @ S + S @ H - C, S), label
        rows.append(measure(label, solve, units=units, repeats=repeats))
    if n <= DOUBLED_UP_TO:
        sgd = SGDNearMinimum(
            hessian=H, gradient_noise=C, learning_rate=0.5, batch_size=8, momentum=0.9
        )
        process = sgd.map()
        T, Q = process.transition, process.noise
        for label, solve in momentum_routes(process).items():
            S = solve()
            assert small(T @ S @ T.T + Q - S, S), label
            rows.append(measure(label, solve, units=units, repeats=1))
    print(f"\nn = {n}")
    print(table(rows, unit="M n^3", reference=FLOOR))


def main() -> None:
    print(header("How much does symmetry save on a Lyapunov equation, and how near is its floor?"))
    for n in SIZES:
        report(n)


if __name__ == "__main__":
    main()

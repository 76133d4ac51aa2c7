"""Question: what does a stationary law in a million dimensions cost, in time and in memory.

SGD near minima with three kinds of curvature whose products are fast: damping plus rank 50, with
momentum 0.5 and noise of rank 10 (all isotropic beside the factors); the same on a diagonal of
10^6 different values; and 10^6 curvatures from 1e-3 to 100 on a diagonal, as networks have them,
without momentum and with noise of rank 1.

Predicted for the block of the 50 leading eigenvectors: about 110 products, of which ARPACK's own
101 vectors cost as much as the products; 40 s and 1.7 GB beside the inputs, and 10 s where the
eigenvectors lie in the range of the factor.  Target: 60 s and 4 GB.  Predicted for the others, with
the condition number kappa: sqrt(kappa) log(1/rtol) products; rational Krylov a third more.

Each row runs in a process of its own, so that its peak memory is its own.  Run
``OPENBLAS_NUM_THREADS=1 python -m benchmarks.bench_large``; a dimension may follow, and a row.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from time import perf_counter, process_time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.work import header
from fracsde.problems.matrix_free import MatrixFreeSGD
from fracsde.problems.products import LowRankPlusDiagonal
from fracsde.stationary_large import (
    stationary_leading_block,
    stationary_low_rank,
    stationary_trace,
    stationary_variance_along,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DIMENSION = 1_000_000
KINDS = ("damping + rank 50", "diagonal + rank 50", "1e-3 to 100")
LAWS = {
    KINDS[0]: ("block", "loss", "trace", "along", "low rank"),
    KINDS[1]: ("block", "loss", "trace", "along"),
    KINDS[2]: ("loss", "trace", "along", "rational"),
}
RTOL = 1e-4


def problem(kind: str, d: int) -> MatrixFreeSGD:
    rng = np.random.default_rng(d)
    smooth = kind == KINDS[2]
    rank = 1 if smooth else 10
    noise = LowRankPlusDiagonal(factor=rng.normal(size=(d, rank)) / np.sqrt(d))
    if smooth:
        curvatures = np.geomspace(1e-3, 100.0, d)

        def hessian(x: np.ndarray) -> np.ndarray:
            return curvatures * x

    else:
        factor = rng.normal(size=(d, 50)) * np.sqrt(np.geomspace(1.0, 100.0, 50) / d)
        rest: Any = 0.01 if kind == KINDS[0] else np.linspace(0.0, 0.1, d)
        hessian = LowRankPlusDiagonal(factor=factor, diagonal=rest)
    return MatrixFreeSGD(
        hessian=hessian,
        gradient_noise=noise,
        learning_rate=0.01,
        batch_size=10,
        momentum=0.0 if smooth else 0.5,
        weight_decay=0.01,
    )


def call(law: str, sgd: MatrixFreeSGD) -> Callable[[], Any]:
    along = np.ones(sgd.dimension) / np.sqrt(sgd.dimension)
    options: dict[str, Any] = {"rtol": RTOL, "throw": False, "memory": 3e9}
    return {
        "block": lambda: stationary_leading_block(sgd, 50, **options),
        "loss": lambda: stationary_trace(sgd, "curvature", **options),
        "trace": lambda: stationary_trace(sgd, **options),
        "along": lambda: stationary_variance_along(sgd, along, **options),
        "low rank": lambda: stationary_low_rank(sgd, **options),
        "rational": lambda: stationary_low_rank(sgd, method="rational", **options),
    }[law]


def relative_bound(found: Any) -> float:
    if hasattr(found, "matrix"):
        return found.error_bound / float(np.linalg.norm(found.matrix, 2))
    if hasattr(found, "variances"):
        return found.error_bound / float(found.variances[0])
    if hasattr(found, "values"):
        return float((found.error_bounds / found.values).max())
    return found.error_bound / found.value


def peak_gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0**2


def row(kind: str, law: str, d: int) -> str:
    sgd = problem(kind, d)
    inputs = peak_gigabytes()
    work = call(law, sgd)
    clock, own = perf_counter(), process_time()
    found = work()
    wall, cpu = perf_counter() - clock, process_time() - own
    return (
        f"{kind:20} {law:9} {found.products:8d} {cpu:8.1f} {wall:8.1f} {inputs:7.2f} "
        f"{peak_gigabytes():7.2f} {found.held_bytes / 1e9:7.2f} {relative_bound(found):9.1e} "
        f"{found.status.name.lower()}"
    )


def main() -> None:
    d = int(float(sys.argv[1])) if len(sys.argv) > 1 else DIMENSION
    if len(sys.argv) > 3:
        print(row(sys.argv[2], sys.argv[3], d), flush=True)
        return
    print(header("What does a stationary law in a million dimensions cost?"))
    print(
        f"{'curvature':20} {'law':9} {'products':>8} {'cpu s':>8} {'wall s':>8} {'inputs':>7} "
        f"{'peak GB':>7} {'held':>7} {'bound':>9} status",
        flush=True,
    )
    for kind in KINDS:
        for law in LAWS[kind]:
            command = [sys.executable, "-m", "benchmarks.bench_large", str(d), kind, law]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()

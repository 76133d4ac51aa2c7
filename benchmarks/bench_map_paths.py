"""Question: how close does the map of SGD with Gaussian noise come to the rate of its normals.

The map runs in the kernels of Ornstein-Uhlenbeck paths, so that the same limits hold: normals,
products at the rate of BLAS and the record, one after the other.  Even noise moves in the
eigenvectors of the Hessian: one product a draw.  Any noise takes two products, one of them
triangular.  Momentum takes the same products, of the weights and of the normals, and moves the
velocities beside: its limit is that of any noise.
Predicted: 0.6 of the limit with 10 weights, 0.8 with 100.

One unit is a million recorded weights.  Run ``python -m benchmarks.bench_map_paths``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.bench_ou_paths import NUMBERS, OURS, limits, normals
from benchmarks.peers.ou_paths import torch_momentum, torch_paths
from benchmarks.work import Absent, Timing, header, measure, table
from fracsde.lyapunov.propagators import gap_law
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.schemes.paths import DecoupledSteps, exact_steps, noise_factor
from fracsde.simulate import simulate_into

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde.problems.ornstein_uhlenbeck import LinearRecursion

CHAINS, RATE, MOMENTUM = 1000, 0.1, 0.9
KINDS = ("even noise", "any noise", "momentum")


def problem(d: int, kind: str) -> SGDNearMinimum:
    rng = np.random.default_rng(d)
    A, B = rng.normal(size=(2, d, d))
    return SGDNearMinimum(
        hessian=A @ A.T / d + np.eye(d),
        gradient_noise=np.eye(d) if kind == "even noise" else B @ B.T / d + 0.1 * np.eye(d),
        learning_rate=RATE,
        batch_size=1,
        momentum=MOMENTUM if kind == "momentum" else 0.0,
    )


def by_torch(
    sgd: SGDNearMinimum, process: LinearRecursion, draws: int, precision: str, *, whole: bool
) -> Callable[[], object] | str:
    if sgd.momentum:
        factor = np.linalg.cholesky(sgd.gradient_noise)
        return torch_momentum(sgd.hessian, factor, RATE, MOMENTUM, CHAINS, draws, precision)
    E, _, G = gap_law(process)(1.0)
    steps = exact_steps(process, np.ones(1))
    modal = None
    if isinstance(steps, DecoupledSteps):
        modal = (steps.decay[0], steps.scale[0], steps.basis)
    return torch_paths((E, noise_factor(G)), modal, CHAINS, draws, precision, whole=whole)


def main() -> None:
    print(header("How close does the map of SGD come to the rate at which normals are made?"))
    ceilings = {precision: limits(precision) for precision in ("float64", "float32")}
    for d in (10, 100):
        for kind in KINDS:
            sgd, draws = problem(d, kind), NUMBERS // (d * CHAINS)
            process, times = sgd.map(), np.arange(draws + 1.0)
            print(f"\n{d} weights, {CHAINS} chains, {kind}")
            for precision in ("float64", "float32"):
                out = np.ones((CHAINS, draws + 1, d), dtype=precision)
                ours = OURS.format(precision)
                calls: dict[str, Callable[[], object] | str] = {
                    f"normals alone, {precision}": normals(precision),
                    ours: lambda out=out: simulate_into(out, process, times, rng=1),  # noqa: B023
                    f"torch, {precision}": by_torch(sgd, process, draws, precision, whole=False),
                    f"torch in blocks, {precision}": by_torch(
                        sgd, process, draws, precision, whole=True
                    ),
                }
                rows: list[Timing | Absent] = [
                    Absent(label=label, reason=call)
                    if isinstance(call, str)
                    else measure(label, call, units=NUMBERS / 1e6, repeats=3)
                    for label, call in calls.items()
                ]
                print(table(rows, unit="Mnumber", reference=ours))
                limit = ceilings[precision][d, "symmetric" if kind == "even noise" else "coupled"]
                print(f"limit, {precision}: {limit:.0f}")


if __name__ == "__main__":
    main()

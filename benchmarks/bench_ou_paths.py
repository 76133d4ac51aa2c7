"""Question: how close do Ornstein-Uhlenbeck paths come to the rate at which normals are made.

Every recorded coordinate needs one normal, so the machine's rate of normals is the ceiling.  A
path whose coordinates decouple adds one multiplication a coordinate and one product a draw; a
coupled one two products of ``d`` terms a coordinate.  Predicted, with the record already in
memory: decoupled kernels at 0.8 to 1.2 of the ceiling; coupled ones at 0.7 of it for ``d = 10``
and bound by arithmetic, 0.2 to 0.4, for ``d = 100``.  (Nothing was predicted for ``d = 1``; that
it uses one normal of each pair was offered after half the ceiling had been measured.)
``simulate`` also has to obtain the memory of its record, which the system hands out at some 150
million numbers a second: predicted 1.5 to 2.5 times a NumPy loop with the exact step, that pays the
same.

One unit is a million recorded coordinates.  Run ``python -m benchmarks.bench_ou_paths``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.work import header, measure, table
from fracsde.backends import numba_cpu
from fracsde.backends.philox import seed_key
from fracsde.lyapunov.propagators import gap_law
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.schemes.paths import exact_steps, noise_factor
from fracsde.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBERS = 10_000_000
GAP = 0.1
KEY = seed_key(1)
CEILING = "normals alone, fracsde"
CASES = ((1, 1000), (10, 1000), (100, 1000), (10, 1), (100, 1))  # coordinates, chains


def process(d: int, *, coupled: bool) -> OUProcess:
    rng = np.random.default_rng(d)
    A, B = rng.normal(size=(2, d, d))
    noise = B @ B.T / d + 0.1 * np.eye(d) if coupled else np.eye(d)
    return OUProcess(drift=A @ A.T / d + np.eye(d), noise=noise)


def numpy_loop(ou: OUProcess, chains: int, draws: int) -> None:
    E, _, G = gap_law(ou)(GAP)
    Et, Lt = E.T.copy(), noise_factor(G).T.copy()
    rng = np.random.default_rng(1)
    x = np.zeros((chains, ou.dimension))
    out = np.empty((chains, draws, ou.dimension))
    for n in range(draws):
        x = x @ Et + rng.standard_normal(x.shape) @ Lt
        out[:, n] = x


def kernel(ou: OUProcess, chains: int, draws: int) -> Callable[[], None]:
    """Return the compiled loop alone, on a record that is in memory already."""
    steps: Any = exact_steps(ou, np.array([GAP]))
    start = np.zeros((chains, ou.dimension))
    out = np.ones((chains, draws + 1, ou.dimension))
    which, slot = np.zeros(draws, dtype=np.int64), np.arange(1, draws + 1)
    if hasattr(steps, "decay"):
        return lambda: numba_cpu.decoupled_paths(
            start, steps.decay, steps.scale, which, slot, out, KEY
        )
    seen = np.arange(ou.dimension)
    return lambda: numba_cpu.dense_paths(
        start, steps.transition, steps.factor, which, slot, seen, out, KEY
    )


def normals() -> dict[str, Callable[[], object]]:
    block = np.ones((1, NUMBERS // 1000, 1000))
    rng = np.random.default_rng(1)
    return {
        CEILING: lambda: numba_cpu._fill(block, 0, 1, *KEY),
        "normals alone, NumPy": lambda: rng.standard_normal(out=block),
    }


def routes(d: int, chains: int) -> dict[str, Callable[[], object]]:
    draws = NUMBERS // (d * chains)
    times = GAP * np.arange(draws + 1)
    found: dict[str, Callable[[], object]] = {}
    for kind in ("decoupled", "coupled") if d > 1 else ("decoupled",):
        ou = process(d, coupled=kind == "coupled")
        found[f"{kind}, kernel"] = kernel(ou, chains, draws)
        found[f"{kind}, simulate"] = lambda ou=ou: simulate(ou, times, chains=chains, rng=1)
        found[f"{kind}, NumPy loop"] = lambda ou=ou: numpy_loop(ou, chains, draws)
    return found


def main() -> None:
    print(header("How close do OU paths come to the rate at which normals are made?"))
    for d, chains in CASES:
        calls = {**normals(), **routes(d, chains)}
        rows = [
            measure(label, call, units=NUMBERS / 1e6, repeats=3 if chains > 1 else 1)
            for label, call in calls.items()
        ]
        print(f"\n{d} coordinates, {chains} chains")
        print(table(rows, unit="Mnumber", reference=CEILING))


if __name__ == "__main__":
    main()

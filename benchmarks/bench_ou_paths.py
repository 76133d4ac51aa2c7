"""Question: how close do Ornstein-Uhlenbeck paths come to the rate at which normals are made.

Every recorded coordinate needs one normal, so the machine's rate of normals is the ceiling.  A
path whose coordinates are the modes adds one multiplication a coordinate; one whose drift is
symmetric and whose noise is even a product of ``d`` terms besides; a coupled one two, of which
one is triangular.  Each row of limits adds the times of normals, of products at the rate of BLAS
and of a record at the rate of a copy, all measured in the same run: nothing that makes its
numbers in this way can be faster, unless it hides one under another.  Predicted: 0.7 to 0.9 of
the limit.  ``simulate`` also obtains the memory of its record: predicted half the rate.  Against
the best of a NumPy loop, torch by hand, torchsde and diffrax five times was asked for; predicted
in double precision in modes and for 10 coordinates; with 100, products cost all programs the same.

One unit is a million recorded coordinates.  Run ``python -m benchmarks.bench_ou_paths``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit, prange

from benchmarks.peers.ou_paths import routes as peer_routes
from benchmarks.work import Absent, Timing, header, measure, table
from fracsde.backends.lane_normals import fill_chains
from fracsde.backends.philox import seed_key
from fracsde.lyapunov.propagators import gap_law
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.schemes.paths import DecoupledSteps, exact_steps, noise_factor
from fracsde.simulate import simulate, simulate_into

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBERS = 10_000_000
GAP = 0.1
KEY = seed_key(1)
OURS = "fracsde, simulate_into, {}"
# coordinates, chains
CASES = ((10, 1000), (100, 1000), (1, 1000), (10, 1))
KINDS = ("modes", "symmetric", "coupled")


def process(d: int, kind: str) -> OUProcess:
    rng = np.random.default_rng(d)
    A, B = rng.normal(size=(2, d, d))
    drift = A @ A.T / d + np.eye(d)
    if kind == "modes":
        return OUProcess(drift=np.diag(np.diag(drift)), noise=np.eye(d))
    noise = B @ B.T / d + 0.1 * np.eye(d) if kind == "coupled" else np.eye(d)
    return OUProcess(drift=drift, noise=noise)


def numpy_loop(ou: OUProcess, chains: int, draws: int) -> Callable[[], None]:
    E, _, G = gap_law(ou)(GAP)
    Et, Lt = E.T.copy(), noise_factor(G).T.copy()
    rng = np.random.default_rng(1)
    out = np.ones((chains, draws, ou.dimension))

    def run() -> None:
        x = np.zeros((chains, ou.dimension))
        for n in range(draws):
            x = x @ Et + rng.standard_normal(x.shape) @ Lt
            out[:, n] = x

    return run


@njit(parallel=True, error_model="numpy")
def _normals(z, counters, rounds, k0, k1):
    for share in prange(2):
        own = z[share]
        for r in range(rounds // 2):
            fill_chains(own, counters[share], r, k0, k1)


def normals(precision: str) -> Callable[[], None]:
    lanes = 2 if precision == "float64" else 4
    z = np.ones((2, lanes, 512), dtype=precision)
    width = 16 if lanes == 4 else 8
    counters = np.arange(2 * 4 * 512 // width, dtype=np.uint32).reshape(2, -1, 4)
    return lambda: _normals(z, counters, NUMBERS // (512 * lanes), *KEY)


def copying(precision: str) -> Callable[[], None]:
    # From the second-level cache into memory that exists.
    source, target = (np.ones(n, dtype=precision) for n in (NUMBERS // 200, NUMBERS))
    parts = target.reshape(200, -1)

    def run() -> None:
        for part in parts:
            part[:] = source

    return run


def limits(precision: str) -> dict[tuple[int, str], float]:
    """Return the million coordinates a second that normals, products and the record allow."""
    units = NUMBERS / 1e6
    normal = measure("", normals(precision), units=units, repeats=5).rate_per_core
    record = measure("", copying(precision), units=units, repeats=5).rate_per_core
    found = {}
    for d in sorted({d for d, _ in CASES if d > 1}):
        a, b = np.ones((1000, d), dtype=precision), np.ones((d, d), dtype=precision)
        out = np.empty_like(a)
        rounds = max(1, NUMBERS // (20 * d * d))
        product = measure(
            "",
            lambda a=a, b=b, out=out, rounds=rounds: [
                np.matmul(a, b, out=out) for _ in range(rounds)
            ],
            units=1000 * d * rounds / 1e6,
        ).rate_per_core
        for kind, products in zip(KINDS, (0.0, 1.0, 1.5), strict=True):
            found[d, kind] = 1.0 / (1.0 / normal + products / product + 1.0 / record)
        print(f"{precision}: {d} x {d} products of {product:.0f} Mnumber/s/core")
    print(f"{precision}: normals {normal:.0f}, record {record:.0f} Mnumber/s/core")
    return found


def routes(ou: OUProcess, chains: int, draws: int) -> dict[str, Callable[[], object] | str]:
    times = GAP * np.arange(draws + 1)
    found: dict[str, Callable[[], object] | str] = {}
    for precision in ("float64", "float32"):
        found[f"normals alone, {precision}"] = normals(precision)
        out = np.ones((chains, draws + 1, ou.dimension), dtype=precision)
        found[OURS.format(precision)] = lambda out=out: simulate_into(out, ou, times, rng=1)
    found["fracsde, simulate"] = lambda: simulate(ou, times, chains=chains, rng=1)
    found["NumPy loop, float64"] = numpy_loop(ou, chains, draws)
    steps = exact_steps(ou, np.array([GAP]))
    modal = None
    if isinstance(steps, DecoupledSteps):
        modal = (steps.decay[0], steps.scale[0], steps.basis)
    E, _, G = gap_law(ou)(GAP)
    if chains > 1:
        exact = (E, noise_factor(G))
        found |= peer_routes(
            ou.drift, noise_factor(ou.noise), exact, modal, gap=GAP, chains=chains, draws=draws
        )
    return found


def main() -> None:
    print(header("How close do OU paths come to the rate at which normals are made?"))
    ceilings = {precision: limits(precision) for precision in ("float64", "float32")}
    for d, chains in CASES:
        for kind in KINDS if d > 1 else KINDS[:1]:
            draws = NUMBERS // (d * chains)
            rows: list[Timing | Absent] = []
            for label, call in routes(process(d, kind), chains, draws).items():
                rows.append(
                    Absent(label=label, reason=call)
                    if isinstance(call, str)
                    else measure(label, call, units=NUMBERS / 1e6, repeats=3)
                )
            absent = sum(isinstance(row, Absent) for row in rows)
            print(f"\n{d} coordinates, {chains} chains, {kind}; {absent} peers absent")
            for precision in ("float64", "float32"):
                part = [
                    row
                    for row in rows
                    if precision in row.label or row.label == "fracsde, simulate"
                ]
                print(table(part, unit="Mnumber", reference=OURS.format(precision)))
                if d > 1:
                    print(f"limit, {precision}: {ceilings[precision][d, kind]:.0f}")
            print(
                table(
                    [r for r in rows if "simulate" in r.label],
                    unit="Mnumber",
                    reference=OURS.format("float64"),
                )
            )


if __name__ == "__main__":
    main()

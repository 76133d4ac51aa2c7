"""Question: how close do Ornstein-Uhlenbeck paths come to the rate at which normals are made.

Every recorded coordinate needs one normal, so the machine's rate of normals is the ceiling.  A
path whose coordinates are the modes adds one multiplication a coordinate; one whose drift is
symmetric and whose noise is even a product of ``d`` terms besides; a coupled one two, of which
one is triangular.  Predicted, into memory that exists: 0.6 to 0.9 of the ceiling in modes, since
the record leaves the caches; 0.4 to 0.6 for 10 symmetric or coupled coordinates; bound by
arithmetic, 0.2 to 0.3, for 100.  ``simulate`` also obtains the memory of its record: predicted
half the rate.  Against the best of a NumPy loop, torch by hand, torchsde and diffrax five times
was asked for; predicted in modes only, since products cost all programs the same.

One unit is a million recorded coordinates.  Run ``python -m benchmarks.bench_ou_paths``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit, prange

from benchmarks.peers.ou_paths import routes as peer_routes
from benchmarks.work import Absent, Timing, header, measure, table
from fracsde.backends.normals import fill_lanes
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
            fill_lanes(own, counters[0], counters[1], counters[2], r, share, k0, k1)


def normals(precision: str) -> Callable[[], None]:
    lanes = 2 if precision == "float64" else 4
    z = np.ones((2, lanes, 512), dtype=precision)
    counters = np.arange(3 * 512, dtype=np.uint64).reshape(3, 512)
    return lambda: _normals(z, counters, NUMBERS // (512 * lanes), *KEY)


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
            print(
                table(
                    [r for r in rows if "simulate" in r.label],
                    unit="Mnumber",
                    reference=OURS.format("float64"),
                )
            )


if __name__ == "__main__":
    main()

"""How many Mittag-Leffler functions per second and core, and how many digits of each are right.

A million negative reals, ``x`` from 1e-3 to 1e3, and a million complex numbers in all directions,
``|z|**(1 / alpha)`` up to 40; a unit is one value.  All rows run on one thread.  A peer is timed on
the first hundred thousand of the same points, in its own process time.

Before any timing, all are compared with sixty-digit values at 200 of the points: real arguments
by the relative error, complex ones by ``|error| / (1 + |E|)``.  Median and worst stand in the row;
the benchmark stops if our worst is above 1e-13.

Predicted before the first run: 30 times the peer's rate on the reals and 15 times on the plane at
``alpha = 0.6``, with worst errors below 1e-14 against 1e-12; less at 1.5, where two residues
must be taken on most of the plane.

Run ``python -m benchmarks.bench_mittag_leffler``.
"""

from __future__ import annotations

import os
from functools import partial

import numba
import numpy as np

from benchmarks.peers.mittag_leffler import PEERS, installed
from benchmarks.work import Absent, Timing, header, measure, table
from fracsde.special import mittag_leffler
from tests.support.mittag_leffler import amplitudes, references, relative_errors, scaled_errors

ALPHAS = (0.3, 0.6, 0.9, 1.5)
POINTS, PEER_POINTS, CHECKED = 1_000_000, 100_000, 200
TOLERANCE = 1e-13
OURS = "fracsde"


def reals(alpha: float, rng: np.random.Generator) -> np.ndarray:
    return -(10 ** rng.uniform(-3, 3, POINTS))


def plane(alpha: float, rng: np.random.Generator) -> np.ndarray:
    radius, angle = rng.uniform(0.01, 40, POINTS) ** alpha, rng.uniform(-np.pi, np.pi, POINTS)
    return radius * np.exp(1j * angle)


def errors(values: np.ndarray, z: np.ndarray, alpha: float) -> np.ndarray:
    if np.iscomplexobj(z):
        return scaled_errors(values, references(z, alpha))
    # Around a zero, relative to the height of the swing.
    return relative_errors(values.real, *amplitudes(z, alpha))


def rows(z: np.ndarray, alpha: float) -> list[Timing | Absent]:
    found: list[Timing | Absent] = []
    for name, call in {OURS: mittag_leffler, **PEERS}.items():
        if name != OURS and not installed(name):
            found.append(Absent(label=name, reason="not installed"))
            continue
        some = z[:CHECKED].copy()
        off = errors(call(some, alpha, 1.0), some, alpha)
        if name == OURS and off.max() > TOLERANCE:
            msg = f"fracsde is off by {off.max():.2g} at {some[off.argmax()]}, alpha = {alpha}"
            raise AssertionError(msg)
        points = z if name == OURS else z[:PEER_POINTS].copy()
        label = f"{name}, errors {np.median(off):.0e} {off.max():.0e}"
        timing = measure(label, partial(call, points, alpha, 1.0), units=len(points), repeats=5)
        found.append(timing)
    return found


def main() -> None:
    print(header(__doc__.splitlines()[0]))
    numba.set_num_threads(1)
    os.environ["RAYON_NUM_THREADS"] = "1"  # read by peers in Rust when they first compute
    missing = [name for name in PEERS if not installed(name)]
    print(f"{len(PEERS) - len(missing)} of {len(PEERS)} peers installed")
    for alpha in ALPHAS:
        for kind, draw in (("negative reals", reals), ("the plane", plane)):
            found = rows(draw(alpha, np.random.default_rng(1)), alpha)
            print(f"\nalpha = {alpha}, {kind}; errors are median and worst")
            print(table(found, unit="values", reference=found[0].label))


if __name__ == "__main__":
    main()

"""How fast and how exact are displacements of a path, and exponents from one chain.

Random walks in ``d`` coordinates; one unit is one draw of one chain.  Every row of a table
measures the same record, and before any timing the rows must agree with one another: to the
transform's own rounding, 1e-7 of the value for these walks.  A second table holds a straight line
beside an offset of a million against its exact displacement.  A third fits exponents of fractional
Brownian motion of 1000 draws, by exact likelihood and by a line through displacements, and counts
how often 95 % intervals hold the truth.

Predicted before the first run, on one core: for all lags of 1000 draws the transform takes 20 to
60 times fewer seconds than strided NumPy sums, growing like ``N / log N``; against tidynamics it is
5 to 8 times faster, since coordinates are added before the one inverse transform and no zeros are
transformed; for 40 logarithmically spaced lags compiled direct sums are another 2 to 4 times
faster.  An exponent by likelihood takes 2 to 4 ms and covers; a line covers in a quarter.

Run ``python -m benchmarks.bench_displacement``.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, stats

from benchmarks.work import Absent, Timing, header, measure, table
from fracsde.estimators import exponent_by_likelihood, mean_square_displacement

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = (  # chains, draws, coordinates, lags (None: all)
    (4, 1000, 3, None),
    (1, 10_000, 3, 45),
    (1, 100_000, 3, 45),
    (1, 10_000, 650, 45),
    (256, 4000, 20, 40),
)
PEER = "tidynamics, all lags"
TRANSFORM = "fracsde, transform, all lags"


def strided(x: np.ndarray, lags: list[int]) -> np.ndarray:
    """Return the definition, as one writes it in NumPy."""
    return np.stack(
        [np.square(x[:, k:] - x[:, : x.shape[1] - k]).sum(axis=2).mean(axis=1) for k in lags],
        axis=1,
    )


def peer(x: np.ndarray) -> np.ndarray:
    import tidynamics

    return np.stack([tidynamics.msd(chain)[1:] for chain in x])


def routes(x: np.ndarray, lags: list[int]) -> dict[str, Callable[[], np.ndarray]]:
    def ours(route: str) -> Callable[[], np.ndarray]:
        return lambda: (
            mean_square_displacement(x, lags, kind="time_averaged", route=route).per_chain
        )

    def all_lags() -> np.ndarray:
        return mean_square_displacement(x, kind="time_averaged", route="fft").per_chain

    calls = {
        TRANSFORM: all_lags,
        "fracsde, direct": ours("direct"),
        "fracsde, auto": ours("auto"),
        "numpy, strided sums": lambda: strided(x, lags),
    }
    if find_spec("tidynamics"):
        calls[PEER] = lambda: peer(x)
    return calls


def line_errors(draws: int = 10_000, offset: float = 1e6) -> str:
    """Return the largest relative errors of displacements of a straight line."""
    x = offset + np.arange(float(draws))[None, :, None] * np.array([1.0, 2.0, 3.0])
    every = np.arange(1, draws)
    rows = {
        "fracsde, transform": mean_square_displacement(x, kind="time_averaged", route="fft").value,
        "fracsde, direct": mean_square_displacement(
            x, every[::97].tolist(), kind="time_averaged", route="direct"
        ).value,
    }
    if find_spec("tidynamics"):
        rows[PEER] = peer(x)[0]
    lines = []
    for label, found in rows.items():
        lags = every if len(found) == len(every) else every[::97]
        lines.append(f"{label:30}  {np.max(np.abs(found / (14.0 * lags**2.0) - 1)):.0e}")
    return "\n".join(lines)


def fractional(rng: np.random.Generator, chains: int, draws: int, exponent: float) -> np.ndarray:
    """Return paths of fractional Brownian motion, by circulant embedding."""
    k = np.arange(float(draws))
    power = 2.0 * exponent
    rho = 0.5 * ((k + 1) ** power - 2 * k**power + np.abs(k - 1) ** power)
    row = np.concatenate([rho, rho[-2:0:-1]])
    root = np.sqrt(np.maximum(fft.rfft(row).real, 0.0))
    white = fft.rfft(rng.standard_normal((chains, len(row))), axis=1)
    steps = fft.irfft(white * root, len(row), axis=1)[:, : draws - 1]
    paths = np.zeros((chains, draws, 1))
    np.cumsum(steps, axis=1, out=paths[:, 1:, 0])
    return paths


def by_line(x: np.ndarray) -> tuple[float, float]:
    """Return slope and error of a least-squares line on log axes."""
    lags = np.unique(np.geomspace(1, x.shape[1] // 4, 30).astype(int))
    moved = mean_square_displacement(x, lags.tolist(), kind="time_averaged")
    line = stats.linregress(np.log(moved.times), 0.5 * np.log(moved.value))
    return line.slope, line.stderr


def by_likelihood(x: np.ndarray) -> tuple[float, float]:
    found = exponent_by_likelihood(x)
    return found.value[0], found.stderr[0]


def exponents(chains: int = 400, draws: int = 1000) -> str:
    """Return spread, reported error and coverage of both ways, and the cost of the likelihood."""
    lines = [f"{'msd exponent':12}  {'way':10}  spread  reported  covers 95 %  ms a chain"]
    for exponent in (0.2, 0.35, 0.5, 0.7):
        paths = fractional(np.random.default_rng(5), chains, draws, exponent)
        for name, way in (("line", by_line), ("likelihood", by_likelihood)):
            found = 2.0 * np.array([way(x[None]) for x in paths])
            cost = measure(name, lambda way=way, x=paths[:1]: way(x), units=1, repeats=9)
            hits = np.mean(np.abs(found[:, 0] - 2 * exponent) <= 1.96 * found[:, 1])
            lines.append(
                f"{2 * exponent:12.1f}  {name:10}  {found[:, 0].std():6.3f}"
                f"  {found[:, 1].mean():8.3f}  {hits:11.0%}  {1e3 * min(cost.cpu):10.2f}"
            )
    return "\n".join(lines)


def main() -> None:
    print(header(__doc__.splitlines()[0]))
    for chains, draws, d, count in CASES:
        rng = np.random.default_rng(draws)
        x = rng.standard_normal((chains, draws, d)).cumsum(axis=1)
        every = np.arange(1, draws)
        chosen = (
            every if count is None else np.unique(np.geomspace(1, draws - 1, count).astype(int))
        )
        lags = chosen.tolist()
        calls = routes(x, lags)
        expected = calls["numpy, strided sums"]()
        rows: list[Timing | Absent] = []
        for label, call in calls.items():
            found = call()
            if found.shape != expected.shape:
                found = found[:, chosen - 1]
            # The last lags have one window: the transform's rounding is largest there.
            assert np.allclose(found, expected, rtol=1e-7), label
            rows.append(measure(label, call, units=chains * draws, repeats=6))
        if not find_spec("tidynamics"):
            rows.append(Absent(label="tidynamics", reason="not installed"))
        print(f"\n{chains} chains, {draws} draws, {d} coordinates, {len(lags)} lags")
        print(table(rows, unit="draw", reference=TRANSFORM))
    print("\nlargest relative error on a straight line of 10 000 draws beside an offset of 1e6")
    print(line_errors())
    print("\nfractional Brownian motion, 400 chains of 1000 draws")
    print(exponents())


if __name__ == "__main__":
    main()

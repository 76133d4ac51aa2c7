"""At how many lags does the transform overtake direct sums of displacements, and by how much.

Random walks in ``d`` coordinates; one unit is one draw of one chain.  Every row of a table
measures the same record, and before any timing the rows must agree with one another: to the
transform's own rounding, 1e-7 of the value for these walks.

Predicted before the first run, on one core: for all lags of 1000 draws the transform takes 20 to
60 times fewer seconds than strided NumPy sums, growing like ``N / log N``; for 40 logarithmically
spaced lags of 10 000 draws in three coordinates direct and transformed sums are level within a
factor of two, and the contiguous direct sum is 4 to 8 times the strided one.

Run ``python -m benchmarks.bench_displacement``.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.work import Absent, Timing, header, measure, table
from fracsde.estimators import mean_square_displacement

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = (  # chains, draws, coordinates, lags (None: all)
    (4, 1000, 3, None),
    (1, 10_000, 3, 40),
    (256, 4000, 20, 40),
)
TRANSFORM = "fracsde, transform"


def strided(x: np.ndarray, lags: list[int]) -> np.ndarray:
    """Return the definition, as one writes it in NumPy."""
    return np.stack(
        [np.square(x[:, k:] - x[:, : x.shape[1] - k]).sum(axis=2).mean(axis=1) for k in lags],
        axis=1,
    )


def peer(x: np.ndarray, lags: list[int]) -> np.ndarray:
    import tidynamics

    return np.stack([tidynamics.msd(chain)[lags] for chain in x])


def routes(x: np.ndarray, lags: list[int]) -> dict[str, Callable[[], np.ndarray]]:
    def ours(route: str) -> Callable[[], np.ndarray]:
        return lambda: (
            mean_square_displacement(x, lags, kind="time_averaged", route=route).per_chain
        )

    calls = {
        TRANSFORM: ours("fft"),
        "fracsde, direct": ours("direct"),
        "fracsde, auto": ours("auto"),
        "numpy, strided sums": lambda: strided(x, lags),
    }
    if find_spec("tidynamics"):
        calls["tidynamics, all lags"] = lambda: peer(x, lags)
    return calls


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
            # The last lags have one window: the transform's rounding is largest there.
            assert np.allclose(call(), expected, rtol=1e-7), label
            rows.append(measure(label, call, units=chains * draws, repeats=3))
        if not find_spec("tidynamics"):
            rows.append(Absent(label="tidynamics", reason="not installed"))
        print(f"\n{chains} chains, {draws} draws, {d} coordinates, {len(lags)} lags")
        print(table(rows, unit="draw", reference=TRANSFORM))


if __name__ == "__main__":
    main()

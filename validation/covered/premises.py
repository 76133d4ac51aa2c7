"""Effects of the assumptions of the theory, where each of them holds: all intervals at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.estimators.assumptions import gaussianity, stationarity_of
from validation.coverage import AR1, LEVEL, OUTER, Case, Intervals, runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde.records.assumption import AssumptionTest

__all__ = ["CASES"]

_WIDE = "wide: holds for all effects together"


def _together(test: Callable[..., AssumptionTest]) -> Callable[[np.ndarray], Intervals]:
    # Zero lies in all intervals of a family if it lies above every low end and below every high.
    def measure(x: np.ndarray) -> Intervals:
        low, high = np.empty((2, 1)), np.empty((2, 1))
        for row, level in enumerate((LEVEL, OUTER)):
            _, lows, highs, _ = np.transpose(list(test(x, level=level).entries.values()))
            low[row], high[row] = lows.max(), highs.min()
        return Intervals(low=low, high=high)

    return measure


def _apart(test: Callable[..., AssumptionTest]) -> Callable[[np.ndarray], Intervals]:
    # Six effects, each at the level that belongs to one: Bonferroni's share given back.
    def measure(x: np.ndarray) -> Intervals:
        found = _together(lambda x, level: test(x, level=min(0.9, 6 * level)))(x)
        return Intervals(low=found.low, high=found.high)

    return measure


def _case(name: str, test: Callable[..., AssumptionTest], law: AR1, shape: tuple[int, int]) -> Case:
    chains, draws = shape
    return runs(
        name,
        _together(test),
        lambda rng: law(rng, chains, draws, 2),
        law=f"{law}, two coordinates",
        chains=chains,
        draws=draws,
        truth={"": 0.0},
        naive=_apart(test) if law.phi else None,
        wide=_WIDE,
        tested=200,
    )


CASES = tuple(
    _case(name, test, law, shape)
    for name, test in (("Gaussianity", gaussianity), ("stationarity", stationarity_of))
    for law, shape in ((AR1(), (32, 100)), (AR1(phi=0.6), (24, 60)), (AR1(phi=0.6), (2, 2000)))
)

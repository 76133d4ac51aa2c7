"""Dimensions from recorded walks on a line, whose laws are known in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde import Measurement, Quantity
from fracsde.estimators import (
    mean_square_displacement,
    range_dimension,
    return_dimension,
    walk_dimension,
)
from validation.case import Case, runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["CASES"]

_WALKERS = 100


def _line(draws: int) -> Callable[[np.random.Generator], np.ndarray]:
    def sample(rng: np.random.Generator) -> np.ndarray:
        steps = rng.integers(0, 2, (_WALKERS, draws - 1)) * 2 - 1
        return np.concatenate([np.zeros((_WALKERS, 1), int), np.cumsum(steps, axis=1)], axis=1)

    return sample


def _walk(places: np.ndarray) -> Measurement:
    moved = mean_square_displacement(places[..., None].astype(np.float64), [4, 8, 16, 32, 64])
    return walk_dimension(moved, (4, 64))


def _returns(places: np.ndarray) -> Measurement:
    return return_dimension(places - places.min(), (4, 30))


def _range(places: np.ndarray) -> Measurement:
    return range_dimension(places - places.min(), (10, 120))


def _blind(measure: Callable[[Any], Measurement]) -> Callable[[Any], Measurement]:
    # The error that slopes along one curve would have if its points were independent.
    def naive(places: np.ndarray) -> Measurement:
        found: Any = measure(places)
        error = max(found.local.std(ddof=1), 1e-9) / len(found.local) ** 0.5
        return Measurement(
            quantity=Quantity(name="dimension"),
            value=found.value,
            stderr=error,
            n_effective=float(max(2, len(found.local))),
        )

    return naive


_WIDE = "wide: the error holds the bend of the curve too"


def _case(name: str, measure: Callable[[Any], Measurement], truth: float, draws: int) -> Case:
    return runs(
        name,
        measure,
        _line(draws),
        law="walks on a line",
        chains=_WALKERS,
        draws=draws,
        truth={"": truth},
        naive=_blind(measure),
        wide=_WIDE,
    )


CASES = (
    _case("walk dimension", _walk, 2.0, 80),
    _case("spectral dimension by returns", _returns, 1.0, 40),
    _case("spectral dimension by range", _range, 1.0, 130),
)

"""Tail indices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fracsde import estimators
from validation.case import AR1, columns, runs

if TYPE_CHECKING:
    from fracsde.records import Measurement

__all__ = ["CASES"]


def _upper(values: np.ndarray) -> Measurement:
    return estimators.hill(values, tail="upper", about=0.0)


def _blind(values: np.ndarray) -> Measurement:
    # Hill's average over a tenth of the draws, wherever the tail begins.
    return estimators.hill(values, k=values.shape[0] * values.shape[1] // 10)


def _anisotropic(rng: np.random.Generator) -> np.ndarray:
    return np.geomspace(1.0, 20.0, 10) * rng.standard_normal((1, 2000, 10))


def _spherical(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((1, 2000, 3)) / abs(rng.standard_normal((1, 2000, 1)))


def _sums_that_overlap(values: np.ndarray) -> Measurement:
    # All draws taken for sums that do not overlap, where every tenth begins one.
    found = estimators.vector_tail_index(values)
    return replace(found, stderr=found.stderr / 10**0.5)


CASES = (
    columns("Hill", _upper, AR1(innovations="Pareto(3)"), chains=1, draws=2000, truth=3.0),
    columns("Hill", _upper, AR1(innovations="Pareto(3)"), chains=32, draws=100, truth=3.0),
    columns("Hill", estimators.hill, AR1(innovations="Cauchy"), chains=1, draws=5000, truth=1.0),
    columns(
        "Hill",
        estimators.hill,
        AR1(innovations="t(3)"),
        chains=1,
        draws=5000,
        truth=3.0,
        naive=_blind,
    ),
    columns("Hill", estimators.hill, AR1(innovations="t(3)"), chains=32, draws=200, truth=3.0),
    columns(
        "Hill",
        estimators.hill,
        AR1(innovations="t(5)"),
        chains=1,
        draws=5000,
        truth=5.0,
        naive=_blind,
        refusing="refuses where 1/index is not told from zero",
    ),
    columns("Hill", estimators.hill, AR1(innovations="t(5)"), chains=1, draws=20000, truth=5.0),
    columns(
        "Hill",
        estimators.hill,
        AR1(phi=0.5, innovations="t(3)"),
        chains=4,
        draws=2000,
        truth=3.0,
    ),
    *(
        runs(
            "index of sums of vectors",
            estimators.vector_tail_index,
            sample,
            law=law,
            chains=1,
            draws=2000,
            truth={"": truth},
            naive=_sums_that_overlap if truth == 1.0 else None,
        )
        for law, sample, truth in (
            ("Gaussian, condition 400", _anisotropic, 2.0),
            ("Cauchy, spherical", _spherical, 1.0),
        )
    ),
)

"""Tail indices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde import estimators
from validation.coverage import AR1, columns

if TYPE_CHECKING:
    from fracsde.records import Measurement

__all__ = ["CASES"]


def _upper(values: np.ndarray) -> Measurement:
    return estimators.hill(values, tail="upper", about=0.0)


CASES = (
    columns("Hill", _upper, AR1(innovations="Pareto(3)"), chains=1, draws=2000, truth=3.0),
    columns("Hill", _upper, AR1(innovations="Pareto(3)"), chains=32, draws=100, truth=3.0),
    columns("Hill", estimators.hill, AR1(innovations="Cauchy"), chains=1, draws=5000, truth=1.0),
    columns("Hill", estimators.hill, AR1(innovations="Cauchy"), chains=32, draws=200, truth=1.0),
    columns("Hill", estimators.hill, AR1(innovations="t(3)"), chains=1, draws=5000, truth=3.0),
    columns("Hill", estimators.hill, AR1(innovations="t(3)"), chains=32, draws=200, truth=3.0),
    columns("Hill", estimators.hill, AR1(innovations="t(5)"), chains=1, draws=5000, truth=5.0),
    columns(
        "Hill",
        estimators.hill,
        AR1(phi=0.5, innovations="t(3)"),
        chains=4,
        draws=2000,
        truth=3.0,
    ),
)

"""What the demo found, before it is put in words and figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fracsde.closure import GaussianClosure
    from fracsde.compare import Report
    from fracsde.demo.from_random import Descent, Relaxation
    from fracsde.demo.near_minimum import Assumptions, Curvature, Plan
    from fracsde.records import Measurement, Prediction
    from fracsde.solution import Solution

__all__ = ["DigitsResult", "FromRandom", "Stationary"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stationary:
    """One regime of one network, compared."""

    curvature: Curvature
    plan: Plan
    theory: list[Prediction]
    rivals: dict[str, list[Prediction]]
    measured: list[Measurement]
    report: Report
    reasons: Assumptions
    closure: GaussianClosure


@dataclass(frozen=True, kw_only=True, eq=False)
class FromRandom:
    """One network from random starts, compared."""

    curvature: Curvature
    descent: Descent
    relaxation: Relaxation
    solutions: dict[str, Solution]
    report: Report


@dataclass(frozen=True, kw_only=True, eq=False)
class DigitsResult:
    """What the demo found."""

    stationary: dict[str, list[Stationary]]
    random: dict[str, FromRandom]
    table: str
    sentence: str
    seconds: float

"""Records: trajectories, measurements and predictions, the nouns both wings share."""

from __future__ import annotations

from fracsde.records.assumption import AssumptionTest, AssumptionVerdict
from fracsde.records.measurement import Measurement, Prediction, Quantity
from fracsde.records.trajectory import Trajectory

__all__ = [
    "AssumptionTest",
    "AssumptionVerdict",
    "Measurement",
    "Prediction",
    "Quantity",
    "Trajectory",
]

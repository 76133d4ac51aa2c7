"""Tests of the theory's assumptions on a run: which of them fails, and by how much.

Each is an equivalence question: an effect that is zero where the assumption holds, with its
interval, against the largest effect that does not matter.  None of them knows a theory.
"""

from __future__ import annotations

from fracsde.estimators.assumptions.batch_noise import batch_gradients, noise_by_batch_size
from fracsde.estimators.assumptions.constant_noise import constant_noise
from fracsde.estimators.assumptions.examine import examine
from fracsde.estimators.assumptions.gaussianity import gaussianity
from fracsde.estimators.assumptions.independence import (
    gradients_from_weights,
    independent_batches,
)
from fracsde.estimators.assumptions.quadratic_loss import quadratic_loss
from fracsde.estimators.assumptions.stationarity import stationarity_of
from fracsde.estimators.assumptions.step_rule import stated_steps

__all__ = [
    "batch_gradients",
    "constant_noise",
    "examine",
    "gaussianity",
    "gradients_from_weights",
    "independent_batches",
    "noise_by_batch_size",
    "quadratic_loss",
    "stated_steps",
    "stationarity_of",
]

"""Errors: they survive the way back from a worker process."""

from __future__ import annotations

import pickle

from fracsde.errors import ComputationError
from fracsde.status import Status


def test_a_failed_computation_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(ComputationError(Status.MARGINAL, "Project it out.")))
    assert error.status is Status.MARGINAL
    assert str(error).endswith("Project it out.")

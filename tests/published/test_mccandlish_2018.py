"""The gradient-noise scale of McCandlish et al. (2018), measured where SGD has settled.

There it is not a property of the task: it reports the batch over the rate that were used.
"""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.observables import gradient_noise_scale
from tests.support.linear_laws import NOISE, SYMMETRIC, sgd


def test_scale_of_a_settled_run_is_proportional_to_its_own_batch() -> None:
    one, ten = (gradient_noise_scale(sgd(batch_size=B)) for B in (8, 80))
    assert ten.simple == pytest.approx(10 * one.simple, rel=1e-12)
    assert ten.curvature_weighted == pytest.approx(10 * one.curvature_weighted, rel=1e-12)


def test_scale_of_a_settled_run_does_not_know_the_size_of_the_noise() -> None:
    quiet, loud = (gradient_noise_scale(sgd(gradient_noise=s * NOISE)) for s in (1.0, 100.0))
    assert loud.simple == pytest.approx(quiet.simple, rel=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_scale_of_a_settled_run_is_its_batch_over_its_rate(momentum: float) -> None:
    shape = np.trace(NOISE) / np.trace(SYMMETRIC @ NOISE)
    for rate, tolerance in ((1e-4, 1e-4), (0.4, 0.25)):
        law = sgd(learning_rate=rate, batch_size=32, momentum=momentum)
        expected = 2 * 32 * (1 - momentum) / rate * shape
        found = gradient_noise_scale(law).simple
        assert found == pytest.approx(expected, rel=tolerance)
        # Always below.
        assert found < expected


def test_scale_at_a_point_knows_the_task() -> None:
    # The definition proper: a gradient at one place does not depend on batch or rate.
    G = SYMMETRIC @ np.array([1.0, -2.0, 0.5])
    at_point = [np.trace(s * NOISE) / (G @ G) for s in (1.0, 100.0)]
    assert at_point[1] == pytest.approx(100 * at_point[0])

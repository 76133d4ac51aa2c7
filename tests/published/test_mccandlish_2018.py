"""The simple noise scale of McCandlish, Kaplan, Amodei (2018), read off a run that has settled."""

from __future__ import annotations

import numpy as np
import pytest

import fracsde as fs

H = np.diag([2.0, 0.5, 0.1])
C = np.array([[1.0, 0.2, 0.0], [0.2, 0.6, 0.1], [0.0, 0.1, 0.3]])


def _simple_scale(rate, batch):
    """``Tr C`` over the mean square of the true gradient in the stationary state."""
    sgd = fs.SGDNearMinimum(hessian=H, gradient_noise=C, learning_rate=rate, batch_size=batch)
    covariance = fs.stationary_covariance(sgd).matrix
    return np.trace(C) / np.trace(H @ covariance @ H)


@pytest.mark.parametrize(("rate", "batch"), [(0.2, 4), (0.02, 4), (0.02, 64)])
def test_scale_of_a_settled_run_is_that_of_its_own_rate_and_batch(rate, batch):
    reported = 2.0 * batch / rate * np.trace(C) / np.trace(H @ C)
    # One mode has 2 S / (eta h) (1 - eta h / 2): of order eta h above.
    assert abs(_simple_scale(rate, batch) / reported - 1) < 0.5 * rate * 2.0


def test_scale_is_no_property_of_the_task():
    # One task, one minimum, and scales a hundred times apart.
    assert _simple_scale(0.02, 64) / _simple_scale(0.2, 4) > 100

"""The words that refuse directions without a stationary law, and whether what they offer serves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fracsde.errors import IndefiniteError, InputError, UnstableError
from fracsde.growth import variance_growth
from fracsde.problems.critical_point import SGDNearCriticalPoint
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.stationary import stationary_covariance
from fracsde.transients import covariance_at


def sgd(**changes) -> SGDNearMinimum:
    given = {
        "gradient_noise": np.array([[1.0, 0.5, 0.2], [0.5, 2.0, 0.1], [0.2, 0.1, 0.5]]),
        "learning_rate": 0.3,
        "batch_size": 4,
        "momentum": 0.8,
    }
    return SGDNearMinimum(**{**given, **changes})


def test_refusal_of_flat_directions_offers_what_has_their_law() -> None:
    flat = sgd(hessian=np.diag([1.0, 0.0, 0.0]))
    with pytest.raises(UnstableError) as caught:
        stationary_covariance(flat)
    assert str(caught.value).endswith(
        "The curvature of 2 directions is zero to rounding (number 0, 1 among the ascending "
        "eigenvectors of the regularised Hessian): nothing pulls them back; raise the weight "
        "decay, or project them out; how far they spread say covariance_at and, by kind of "
        "direction, fs.variance_growth(fs.SGDNearCriticalPoint(...), steps)."
    )
    # What it offers serves this very run, and both say the same.
    spread = covariance_at(flat, [50])[0]
    growth = variance_growth(flat, [50])
    u = growth.directions.directions
    np.testing.assert_allclose(growth.variance[0], np.diag(u.T @ spread @ u), rtol=1e-12)
    # Shuffled epochs do not spread from epoch to epoch, which the one that is offered knows.
    epochs = sgd(hessian=np.diag([1.0, 0.0, 0.0]), sampling="shuffled", dataset_size=40)
    with pytest.raises(UnstableError, match=r"they do not spread, within one .* covariance_at"):
        stationary_covariance(epochs)
    M = epochs.epochs().steps
    early, late = covariance_at(epochs, [50 * M, 5000 * M])
    np.testing.assert_allclose(late, early, rtol=1e-12)
    assert late[1, 1] > 0.1  # what the last velocities of an epoch carry into the next


def test_refusal_of_negative_curvature_offers_what_has_its_law() -> None:
    with pytest.raises(IndefiniteError) as caught:
        sgd(hessian=np.diag([1.0, -0.5, 0.0]), weight_decay=0.1)
    assert str(caught.value).endswith(
        "train further, raise the weight decay above 0.5, or project onto the directions with "
        "positive curvature; how far each direction spreads says fs.variance_growth("
        "fs.SGDNearCriticalPoint(...), steps), which takes any curvature but no preconditioner, "
        "Nesterov's step or shuffled epochs"
    )
    point = SGDNearCriticalPoint(
        hessian=np.diag([1.0, -0.5, 0.0]),
        gradient_noise=np.eye(3),
        learning_rate=0.1,
        batch_size=4,
        weight_decay=0.1,
        critical_point=np.zeros(3),
    )
    assert variance_growth(point, [1, 50]).variance.shape == (2, 3)
    for named in ({"preconditioner": 2.0}, {"nesterov": True}, {"sampling": "shuffled"}):
        with pytest.raises((TypeError, InputError)):
            replace(point, **named)

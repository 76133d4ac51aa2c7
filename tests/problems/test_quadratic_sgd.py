"""Quadratic losses of examples, however they are given, and their common minimum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fracsde.errors import (
    IndefiniteError,
    InputError,
    NotSymmetricError,
    OutOfRangeError,
    SamplingError,
    ShapeError,
)
from fracsde.problems.example_noise import HessianNoise
from fracsde.problems.least_squares import LeastSquaresSGD
from fracsde.problems.quadratic_sgd import QuadraticSGD
from fracsde.stationary import stationary_covariance
from tests.support.exact import close

RNG = np.random.default_rng(8)
FACTORS = RNG.normal(size=(10, 4, 2))
SIGNS = np.where(RNG.random((10, 2)) < 0.2, -0.3, 1.0)
HESSIANS = np.einsum("nik,nk,njk->nij", FACTORS, SIGNS, FACTORS)
GRADIENTS = RNG.normal(size=(10, 4))


def problem(**changes) -> QuadraticSGD:
    given = {
        "gradients": GRADIENTS,
        "factors": FACTORS,
        "signs": SIGNS,
        "learning_rate": 0.05,
        "batch_size": 3,
        "momentum": 0.4,
    }
    return QuadraticSGD(**{**given, **changes})


def test_same_losses_by_factors_and_by_matrices() -> None:
    one, two = problem(), problem(factors=None, signs=None, hessians=HESSIANS)
    assert close(one.minimum, two.minimum, units=256)
    assert one.critical_learning_rate() == pytest.approx(two.critical_learning_rate(), rel=1e-12)
    a, b = (stationary_covariance(sgd).state_matrix for sgd in (one, two))
    assert close(a, b, units=4000)


def test_minimum_is_where_the_mean_gradient_vanishes() -> None:
    sgd = problem(reference=[1.0, 2.0, -1.0, 0.5], weight_decay=0.2)
    away = sgd.minimum - sgd.reference
    slope = (GRADIENTS + HESSIANS @ away).mean(axis=0) + 0.2 * sgd.minimum
    assert np.abs(slope).max() < 1e-14
    # A reference is a choice of words: the same losses told from elsewhere.
    moved = problem(
        reference=0.0,
        gradients=GRADIENTS - HESSIANS @ sgd.reference,
        weight_decay=0.2,
    )
    assert close(moved.minimum, sgd.minimum, units=256)
    a, b = (stationary_covariance(x).matrix for x in (sgd, moved))
    assert close(a, b, units=4000)


def test_several_outputs_are_factors() -> None:
    # Two targets per input: the blocks of the covariance are those of each output alone.
    X, Y = RNG.normal(size=(12, 3)), RNG.normal(size=(12, 2))
    settings = {"learning_rate": 0.1, "batch_size": 2}
    rows = np.einsum("ni,ab->niab", X, np.eye(2)).reshape(12, 6, 2)
    both = QuadraticSGD(gradients=-np.einsum("nik,nk->ni", rows, Y), factors=rows, **settings)
    found = stationary_covariance(both).matrix.reshape(3, 2, 3, 2)
    for output in range(2):
        alone = LeastSquaresSGD(inputs=X, targets=Y[:, output], **settings)
        assert close(found[:, output, :, output], stationary_covariance(alone).matrix, units=4000)
    assert both.critical_learning_rate() == pytest.approx(alone.critical_learning_rate(), rel=1e-12)


def test_examples_of_equal_curvature_have_noise_that_does_not_depend_on_the_state() -> None:
    same = np.broadcast_to(FACTORS[0] @ FACTORS[0].T + np.eye(4), (10, 4, 4))
    sgd = problem(factors=None, signs=None, hessians=same)
    frozen = sgd.near_minimum()
    assert sgd.critical_learning_rate() == pytest.approx(frozen.critical_learning_rate())
    a, b = (stationary_covariance(x).matrix for x in (sgd, frozen))
    assert close(a, b, units=256)


@pytest.mark.parametrize("kind", ["factors", "hessians", "blocks"])
def test_noise_of_examples_is_their_covariance_over_two_points(kind: str) -> None:
    # At u = +- m the second moment is m m^T and the mean zero; the noise is then the average
    # of the covariances there, and at u = m alone it has the part of the mean too.
    big = kind == "blocks"
    d, N = (40, 300) if big else (4, 10)
    gradients, hessians = GRADIENTS, HESSIANS
    noise = problem().about_minimum.noise
    if kind == "hessians":
        noise = HessianNoise(hessians=HESSIANS, gradients=noise.gradients)
    if big:
        F = RNG.normal(size=(N, d, 2))
        gradients = RNG.normal(size=(N, d))
        gradients -= gradients.mean(axis=0)
        hessians = np.einsum("nik,njk->nij", F, F)
        noise = HessianNoise(hessians=hessians, gradients=gradients)
    m = RNG.normal(size=d)

    def scatter(u: np.ndarray) -> np.ndarray:
        each = noise.gradients + hessians @ u
        return np.cov(each.T, bias=True)

    S = np.outer(m, m)
    assert close(noise.at_minimum(), scatter(np.zeros(d)), units=64)
    even = noise.at_minimum() + noise.spread(S)
    assert close(even, 0.5 * (scatter(m) + scatter(-m)), units=512)
    assert close(even + noise.lean(m), scatter(m), units=512)


def test_shapes_do_not_alias_the_callers_arrays() -> None:
    kept = [array.copy() for array in (GRADIENTS, FACTORS, SIGNS)]
    sgd = replace(problem(), learning_rate=0.01)
    stationary_covariance(sgd)
    for array, before in zip((GRADIENTS, FACTORS, SIGNS), kept, strict=True):
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"factors": None, "signs": None}, InputError, "exactly one"),
        ({"hessians": HESSIANS}, InputError, "exactly one"),
        ({"factors": None, "hessians": HESSIANS}, InputError, "`signs` belong to `factors`"),
        ({"factors": FACTORS[:5]}, ShapeError, "`factors`"),
        ({"signs": SIGNS[:, :1]}, ShapeError, "`signs`"),
        ({"gradients": GRADIENTS[0]}, ShapeError, "`gradients`"),
        ({"gradients": np.empty((0, 4))}, ShapeError, "at least one example"),
        ({"signs": -SIGNS}, IndefiniteError, "raise the weight decay"),
        ({"weight_decay": -1.0}, OutOfRangeError, "`weight_decay`"),
        ({"reference": [1.0]}, ShapeError, "`reference`"),
        ({"batch_size": 11, "sampling": "shuffled"}, SamplingError, "10 examples"),
        ({"preconditioner": np.diag([1.0, 1.0, 1.0, 0.0])}, OutOfRangeError, "positive definite"),
    ],
)
def test_refuses_what_are_no_quadratic_losses(changes, error, words) -> None:
    with pytest.raises(error, match=words):
        problem(**changes)


def test_refuses_hessians_that_are_not_symmetric_and_losses_without_a_minimum() -> None:
    crooked = HESSIANS.copy()
    crooked[3, 0, 1] += 1.0
    with pytest.raises(NotSymmetricError, match="number 3"):
        problem(factors=None, signs=None, hessians=crooked)
    with pytest.raises(OutOfRangeError, match="rescale the inputs"):
        problem(factors=1e90 * FACTORS).critical_learning_rate()
    with pytest.raises(InputError, match="no minimum"):
        problem(factors=np.zeros((10, 4, 1)), signs=None)

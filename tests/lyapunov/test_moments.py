"""Stationary second moments: two routes, their errors, and memory that does not grow as d^4."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fracsde.errors import InputError, OutOfRangeError, UnstableError
from fracsde.lyapunov.conjugate_gradients import conjugate_gradients
from fracsde.lyapunov.moments import (
    equal_moments,
    stationary_moments,
)
from fracsde.problems.least_squares import LeastSquaresSGD
from fracsde.problems.quadratic_sgd import QuadraticSGD
from fracsde.problems.second_moments import stiffness
from fracsde.problems.sgd_steps import StepRule
from fracsde.stationary import stationary_covariance
from fracsde.status import Status
from tests.support.exact import EPS, close

RULES = {
    "plain": {},
    "heavy ball": {"momentum": 0.8},
    "heavy ball, nearly 1": {"momentum": 0.99},
    "dampened": {"momentum": 0.8, "dampening": 0.5},
    "nesterov": {"momentum": 0.8, "nesterov": True},
    "preconditioned": {"preconditioner": np.array([[1.0, 0.3, 0], [0.3, 2.0, 0.1], [0, 0.1, 0.5]])},
}


def problem(examples: int = 20, features: int = 3, **changes) -> LeastSquaresSGD:
    rng = np.random.default_rng(11)
    X = rng.normal(size=(examples, features)) * np.geomspace(1.0, 0.3, features)
    given = {"targets": rng.normal(size=examples), "learning_rate": 0.1, "batch_size": 2}
    return LeastSquaresSGD(inputs=X, **{**given, **changes})


def at_share(sgd: LeastSquaresSGD, share: float) -> LeastSquaresSGD:
    return replace(sgd, learning_rate=share * sgd.critical_learning_rate())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("share", [1e-3, 0.3, 0.9, 0.999])
def test_routes_agree_by_conjugate_gradients_and_written_down(rule: str, share: float) -> None:
    sgd = at_share(problem(ridge=0.05, **RULES[rule]), share)
    one, two = (stationary_moments(sgd, method=m) for m in ("conjugate_gradients", "vectorised"))
    size = np.linalg.norm(two.matrix, 2)
    gap = np.linalg.norm(one.matrix - two.matrix, 2)
    # The inverse of 1 - share is the condition of the equation.
    assert gap <= 1e-12 / (1 - share) * size if share > 0.9 else gap <= 1e-12 * size
    assert gap <= one.error_estimate + two.error_estimate
    assert max(one.residual, two.residual) < 10 * EPS * 10
    assert one.status is two.status is Status.SUCCESS


@pytest.mark.parametrize("rule", ["plain", "heavy ball", "nesterov"])
def test_error_grows_as_the_inverse_distance_from_the_critical_rate(rule: str) -> None:
    sgd = problem(**RULES[rule])
    errors = []
    for distance in (1e-2, 1e-4, 1e-6, 1e-8):
        near = at_share(sgd, 1 - distance)
        one, two = (
            stationary_moments(near, method=m) for m in ("conjugate_gradients", "vectorised")
        )
        gap = np.linalg.norm(one.matrix - two.matrix, 2)
        assert gap <= one.error_estimate + two.error_estimate
        errors.append(one.error_estimate / np.linalg.norm(one.matrix, 2))
    growth = np.diff(np.log10(errors)) / 2
    assert np.abs(growth[1:] - 1).max() < 0.3
    assert stationary_moments(at_share(sgd, 1 - 1e-15)).status in {
        Status.MARGINAL,
        Status.INACCURATE,
    }


@pytest.mark.twin
def test_residual_rejects_the_noise_of_the_transpose() -> None:
    # The residual belongs to the equation in the weights' own coordinates.
    sgd = at_share(problem(momentum=0.5), 0.5)
    state = stationary_moments(sgd).matrix
    T, noise = sgd.near_minimum().map().transition, equal_moments(sgd).noise
    right = np.linalg.norm(T @ state @ T.T + noise - state)
    wrong = np.linalg.norm(T.T @ state @ T + noise - state)
    assert right < 1e-14 * np.linalg.norm(state)
    assert wrong > 1e-2 * np.linalg.norm(state)


def test_exact_denominators_sum_the_responses_to_one_kick() -> None:
    h = np.array([0.05, 0.4, 1.0])
    for settings_ in ({}, {"momentum": 0.7, "dampening": 0.2}, {"momentum": 0.7, "nesterov": True}):
        rule, rate = StepRule(**settings_), 0.9
        T, G = rule.transition(rate * np.diag(h)), rule.injection(3)
        total, state = np.zeros((3, 3)), rate * G
        for _ in range(3000):
            # Mode i answers a kick of its own only; rows of the weights.
            answer = state[:3].diagonal()
            total += np.outer(answer, answer)
            state = T @ state
        assert close(1.0 / stiffness(rule, rate, h), total, units=256)


@pytest.mark.parametrize("momentum", [0.01, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("nesterov", [False, True])
def test_denominators_are_positive_up_to_the_limit_of_the_mean(momentum, nesterov) -> None:
    rule = StepRule(momentum=momentum, nesterov=nesterov)
    h = np.geomspace(1e-7, rule.largest_pull * (1 - 1e-9), 200)
    D = stiffness(rule, 1.0, h)
    assert D.min() > 0
    values = np.linalg.eigvalsh(1.0 / D)
    assert values[0] > -1e-14 * values[-1]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), share=st.floats(0.01, 0.99), k=st.integers(1, 3))
def test_routes_agree_on_random_quadratic_losses(seed: int, share: float, k: int) -> None:
    rng = np.random.default_rng(seed)
    sgd = QuadraticSGD(
        gradients=rng.normal(size=(7, 3)),
        factors=rng.normal(size=(7, 3, k)),
        signs=np.where(rng.random((7, k)) < 0.1, -0.1, 1.0),
        weight_decay=0.3,
        learning_rate=1.0,
        batch_size=2,
        momentum=rng.choice([0.0, 0.6]),
    )
    sgd = replace(sgd, learning_rate=share * sgd.critical_learning_rate())
    one, two = (stationary_moments(sgd, method=m) for m in ("conjugate_gradients", "vectorised"))
    assert np.linalg.norm(one.matrix - two.matrix, 2) <= one.error_estimate + two.error_estimate


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_memory_stays_within_a_few_matrices_of_the_weights(momentum: float) -> None:
    d = 300
    sgd = problem(examples=400, features=d, momentum=momentum, ridge=0.01)
    sgd = replace(sgd, learning_rate=0.5 / np.trace(sgd.curvature) * (1 - momentum))
    tracemalloc.start()
    try:
        found = stationary_moments(sgd)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.status is Status.SUCCESS
    # A matrix with d^4 entries would take 90 000 of these.
    assert peak < 50 * 8 * d**2
    assert found.error_estimate < 1e-8 * np.linalg.norm(found.matrix, 2)


def test_conjugate_gradients_say_where_the_operator_is_not_positive() -> None:
    D = np.array([[2.0, 1.0], [1.0, 2.0]])
    status, S = conjugate_gradients(lambda S: 0.25 * S, D, np.eye(2))
    assert status is Status.SUCCESS
    np.testing.assert_allclose(S, np.eye(2) / 1.75, rtol=1e-15)
    status, _ = conjugate_gradients(lambda S: 3.0 * S, D, np.eye(2))
    assert status is Status.UNSTABLE


def test_kicked_directions_without_curvature_have_no_stationary_law() -> None:
    sgd = QuadraticSGD(
        gradients=[[1.0, 0.0], [-1.0, 0.0]],
        hessians=[np.diag([1.0, 1.0]), np.diag([1.0, -1.0])],
        learning_rate=0.1,
        batch_size=1,
    )
    assert sgd.critical_learning_rate() == 0.0
    assert stationary_moments(sgd).status is Status.MARGINAL
    with pytest.raises(UnstableError, match="raise the weight decay"):
        stationary_covariance(sgd)
    decayed = replace(sgd, weight_decay=0.1)
    # The decaying direction: (1 - 0.01)^2 + 0.01 < 1.
    assert stationary_moments(decayed).status is Status.SUCCESS


def test_refuses_other_methods_and_matrices_too_large_to_write() -> None:
    with pytest.raises(InputError, match="conjugate_gradients"):
        stationary_covariance(problem(), method="eigen")
    with pytest.raises(OutOfRangeError, match="up to 50 coordinates"):
        stationary_covariance(problem(features=60, ridge=0.1), method="vectorised")

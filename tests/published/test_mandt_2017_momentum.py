"""Mandt, Hoffman and Blei 2017: the flow at finite rates, and momentum as a mere rescaling."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.problems.sgd import SGDNearMinimum
from fracsde.stationary import stationary_covariance

H = np.diag([1.0, 0.01])
C = np.array([[1.0, 0.08], [0.08, 0.01]])


def equation_25(problem: SGDNearMinimum) -> np.ndarray:
    """Solve ``Sigma A + A Sigma = eps C / (mu_M S)``, ``mu_M = 1 - mu``, in the eigenbasis of A."""
    h, V = np.linalg.eigh(problem.hessian)
    size = problem.learning_rate / ((1.0 - problem.momentum) * problem.batch_size)
    return V @ (size * (V.T @ problem.gradient_noise @ V) / np.add.outer(h, h)) @ V.T


def sgd(**changes) -> SGDNearMinimum:
    given = {"hessian": H, "gradient_noise": C, "learning_rate": 0.1, "batch_size": 1}
    return SGDNearMinimum(**{**given, **changes})


def test_equation_25_is_the_overdamped_flow() -> None:
    problem = sgd(momentum=0.9)
    found = stationary_covariance(problem.flow()).matrix
    np.testing.assert_allclose(found, equation_25(problem), rtol=1e-13)


@pytest.mark.parametrize(("rate", "momentum", "factor"), [(0.1, 0.9, 5.596), (0.01, 0.99, 49.28)])
def test_equation_25_fails_off_the_diagonal_by_the_commutator(rate, momentum, factor) -> None:
    problem = sgd(learning_rate=rate, momentum=momentum)
    ratio = equation_25(problem)[0, 1] / stationary_covariance(problem).matrix[0, 1]
    assert ratio == pytest.approx(factor, rel=1e-3)
    # The flow with inertia has it: 1 + eta (h_i - h_j)^2 / [2 (1 - mu)^2 (h_i + h_j)].
    flow = stationary_covariance(problem.flow(limit="underdamped")).matrix[0, 1]
    commutator = 1.0 + rate * 0.99**2 / (2.0 * (1.0 - momentum) ** 2 * 1.01)
    assert equation_25(problem)[0, 1] / flow == pytest.approx(commutator, rel=1e-10)


def test_equation_25_holds_where_noise_and_curvature_commute() -> None:
    problem = sgd(gradient_noise=np.diag([1.0, 0.3]), learning_rate=1e-6, momentum=0.9)
    found = stationary_covariance(problem).matrix
    np.testing.assert_allclose(found, equation_25(problem), rtol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("pull", [0.1, 0.5, 1.0])
def test_flow_is_too_small_at_finite_rates(momentum: float, pull: float) -> None:
    # By 1 - eta h / [2 (1 + mu)]: a quarter at eta h = 0.5 without momentum.
    problem = sgd(hessian=1.0, gradient_noise=1.0, learning_rate=pull, momentum=momentum)
    exact = stationary_covariance(problem).matrix[0, 0]
    less = 1.0 - pull / (2.0 * (1.0 + momentum))
    assert equation_25(problem)[0, 0] / exact == pytest.approx(less, rel=1e-12)


def test_nesterov_is_not_the_heavy_ball_even_at_small_rates() -> None:
    # Both have Mandt's flow; Nesterov's variance is smaller by 1 + eta h / (1 - mu) to first order
    # in 1 - mu, which is no small number where eta h is.
    momentum, pull = 0.999, 1e-3
    problem = sgd(hessian=1.0, gradient_noise=1.0, learning_rate=pull, momentum=momentum)
    ahead = sgd(
        hessian=1.0, gradient_noise=1.0, learning_rate=pull, momentum=momentum, nesterov=True
    )
    plain, nesterov = (stationary_covariance(one).matrix[0, 0] for one in (problem, ahead))
    assert equation_25(problem)[0, 0] / plain == pytest.approx(1.0, rel=1e-3)
    assert plain / nesterov == pytest.approx(2.0, rel=5e-3)

"""Kunin and others 2021: variances of position and velocity with weight decay and momentum."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.problems.sgd import SGDNearMinimum
from fracsde.stationary import stationary_covariance

BATCH, SIGMA2 = 4, 1.7


def run(rate: float, rho: float, beta: float, decay: float = 0.1) -> SGDNearMinimum:
    # Their noise is sigma^2 H / S per step.
    return SGDNearMinimum(
        hessian=rho,
        gradient_noise=SIGMA2 * rho,
        learning_rate=rate,
        batch_size=BATCH,
        momentum=beta,
        weight_decay=decay,
    )


def published(rate: float, rho: float, beta: float, decay: float = 0.1) -> tuple[float, float]:
    """Variance of the position, and of the velocity in units of one step."""
    position = SIGMA2 * rate / (2 * BATCH * (1 - beta)) * rho / (rho + decay)
    return position, rate**2 * SIGMA2 * rho / (BATCH * (1 - beta**2))


def exact(problem: SGDNearMinimum) -> tuple[float, float]:
    state = stationary_covariance(problem).state_matrix
    return float(state[0, 0]), float(state[1, 1])


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.99])
def test_variances_hold_at_small_rates_for_any_momentum(beta: float) -> None:
    for found, expected in zip(
        exact(run(1e-3, 1.0, beta)), published(1e-3, 1.0, beta), strict=True
    ):
        assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("beta", [0.5, 0.9])
def test_variances_are_too_small_at_finite_rates(beta: float) -> None:
    # Both by 1 - eta (rho + l) / [2 (1 + beta)]; 13 % at eta rho = 0.5 and beta = 0.9.
    less = 1.0 - 0.1 * 5.1 / (2.0 * (1.0 + beta))
    for found, claimed in zip(exact(run(0.1, 5.0, beta)), published(0.1, 5.0, beta), strict=True):
        assert claimed / found == pytest.approx(less, rel=1e-12)


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.99])
def test_flow_with_their_mass_has_their_variances_and_their_oscillation(beta: float) -> None:
    problem = run(0.02, 1.3, beta)
    flow = problem.flow(limit="kunin")
    state = stationary_covariance(flow).state_matrix
    np.testing.assert_allclose(np.diag(state), published(0.02, 1.3, beta), rtol=1e-12)
    # x'' + 2 gamma x' + omega^2 x = 0 in their time, eta per step.
    gamma = (1 - beta) / (0.02 * (1 + beta))
    omega2 = 2 * 1.4 / (0.02 * (1 + beta))
    expected = -0.02 * np.roots([1.0, 2 * gamma, omega2])
    found = np.linalg.eigvals(flow.drift)
    np.testing.assert_allclose(np.sort_complex(found), np.sort_complex(expected), rtol=1e-10)


@pytest.mark.twin
def test_flow_with_unit_mass_misses_the_velocity_by_half_of_one_plus_momentum() -> None:
    beta = 0.5
    problem = run(1e-3, 1.0, beta)
    plain = stationary_covariance(problem.flow(limit="underdamped")).state_matrix[1, 1]
    assert plain / exact(problem)[1] == pytest.approx(0.5 * (1 + beta), rel=1e-3)

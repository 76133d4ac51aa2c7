"""Momentum by modes: the same law as the Schur form of the doubled map gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fracsde.lyapunov.dense import solve_stein
from fracsde.lyapunov.heavy_ball import HeavyBall, heavy_ball
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.stationary import stationary_covariance
from fracsde.status import Status
from tests.support import damage


def sgd(**changes) -> SGDNearMinimum:
    given = {
        # Eigenvalues 1 and 0.25.
        "hessian": [[0.73, 0.36], [0.36, 0.52]],
        "gradient_noise": [[2.0, 0.5], [0.5, 1.0]],
        "learning_rate": 0.3,
        "batch_size": 4,
        "momentum": 0.5,
    }
    return SGDNearMinimum(**{**given, **changes})


def stein_residual(process: LinearRecursion, S: np.ndarray) -> float:
    T = process.transition
    return float(np.linalg.norm(T @ S @ T.T + process.noise - S) / np.linalg.norm(S))


@pytest.mark.parametrize("momentum", [0.1, 0.5, 0.9, 0.999, 0.999999])
def test_exact_stein_equation_of_the_whole_state_holds(momentum: float) -> None:
    process = sgd(momentum=momentum).map()
    assert stein_residual(process, heavy_ball(process).covariance()) < 2e-15


@pytest.mark.parametrize("momentum", [0.1, 0.5, 0.9, 0.999, 0.999999])
def test_exact_stein_equation_of_the_whole_state_holds_for_nesterov(momentum: float) -> None:
    process = sgd(momentum=momentum, nesterov=True).map()
    assert heavy_ball(process).nesterov
    assert stein_residual(process, heavy_ball(process).covariance()) < 4e-15


@pytest.mark.parametrize("rule", [{}, {"nesterov": True}, {"dampening": 0.25}])
def test_routes_agree_closed_form_and_dense_stein_to_twelve_digits(rule) -> None:
    process = sgd(momentum=0.8, **rule).map()
    found = heavy_ball(process).covariance()
    expected = solve_stein(process.transition, process.noise, method="bartels_stewart").matrix
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)


@pytest.mark.twin
def test_dense_stein_rejects_the_heavy_ball_in_place_of_nesterov() -> None:
    process = sgd(momentum=0.8, nesterov=True).map()
    expected = solve_stein(process.transition, process.noise).matrix
    wrong = replace(heavy_ball(process), nesterov=False).covariance()
    assert np.abs(wrong - expected).max() > 0.1 * np.abs(expected).max()


@pytest.mark.twin
def test_stein_equation_rejects_the_transposed_weight_velocity_block() -> None:
    process = sgd().map()
    S = heavy_ball(process).covariance()
    wrong = S.copy()
    wrong[:2, 2:] = damage.transposed(S[:2, 2:])
    wrong[2:, :2] = wrong[:2, 2:].T
    assert stein_residual(process, wrong) > 1e-3


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(
    ("momentum", "rate"), [(0.5, 0.3), (0.9, 1e-3), (0.99, 0.3), (0.6, 3.19), (0.25, 2.4)]
)
def test_routes_agree_momentum_by_modes_and_by_schur_form(momentum, rate, nesterov) -> None:
    problem = sgd(momentum=momentum, learning_rate=rate)
    if nesterov:
        rate *= 0.999 / (1.0 + 2.0 * momentum)
        problem = sgd(momentum=momentum, learning_rate=rate, nesterov=True)
    one = stationary_covariance(problem)
    two = stationary_covariance(problem, method="bartels_stewart")
    assert (one.method, two.method) == ("eigen", "bartels_stewart")
    assert max(one.residual, two.residual) < 1e-15
    gap = np.linalg.norm(one.state_matrix - two.state_matrix, 2)
    assert gap <= one.error_estimate + two.error_estimate
    assert one.error_estimate == pytest.approx(two.error_estimate, rel=0.9)


@pytest.mark.parametrize("rate", [0.3, 3.0 * (1 + 1e-9), 4.0])
def test_routes_agree_on_the_eigenvalues_of_momentum(rate: float) -> None:
    process = sgd(momentum=0.5, learning_rate=rate).map()
    ball = heavy_ball(process)
    found, expected = ball.eigenvalues(), np.linalg.eigvals(process.transition)
    for part in (np.real, np.abs):
        np.testing.assert_allclose(np.sort(part(found)), np.sort(part(expected)), atol=1e-7)
    np.testing.assert_allclose(np.sort(ball.margins()), np.sort(1 - np.abs(expected)), atol=1e-7)
    assert stationary_covariance(process, throw=False).status is (
        Status.SUCCESS if rate < 3.0 else Status.UNSTABLE
    )


def test_other_maps_are_left_alone() -> None:
    process = sgd().map()
    assert isinstance(heavy_ball(process), HeavyBall)
    bumped = process.transition.copy()
    bumped[0, 0] += 1e-9
    for other in (
        replace(process, transition=bumped),
        replace(process, noise=np.eye(4)),
        sgd(preconditioner=[1.0, 2.0]).map(),
        sgd(momentum=0.0).map(),
        LinearRecursion(transition=np.eye(3), noise=np.eye(3)),
        LinearRecursion(transition=0.5, noise=1.0),
    ):
        assert heavy_ball(other) is None

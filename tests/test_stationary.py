"""Stationary covariances of processes: values, outcomes and messages."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.errors import ComputationError, InputError, NotSymmetricError, UnstableError
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.stationary import stationary_covariance
from fracsde.status import Status
from tests.support.exact import close


def sgd(**changes) -> SGDNearMinimum:
    given = {
        "hessian": np.diag([1.0, 0.25]),
        "gradient_noise": [[2.0, 0.5], [0.5, 1.0]],
        "learning_rate": 0.3,
        "batch_size": 4,
    }
    return SGDNearMinimum(**{**given, **changes})


def test_exact_on_one_dimension() -> None:
    flow = stationary_covariance(OUProcess(drift=[[2.0]], noise=[[3.0]]))
    assert flow.matrix[0, 0] == 0.75
    step = stationary_covariance(LinearRecursion(transition=[[0.5]], noise=[[3.0]]))
    assert step.matrix[0, 0] == 4.0
    assert flow.status is Status.SUCCESS
    assert flow.method == "eigen"
    assert flow.residual < 1e-15


def test_sgd_stands_for_its_map() -> None:
    problem = sgd(momentum=0.7)
    direct, through = stationary_covariance(problem), stationary_covariance(problem.map())
    np.testing.assert_array_equal(direct.matrix, through.matrix)
    assert direct.provenance.input_hash == through.provenance.input_hash


def test_weights_are_the_observed_block_of_the_state() -> None:
    found = stationary_covariance(sgd(momentum=0.5))
    assert found.matrix.shape == (2, 2)
    assert found.state_matrix.shape == (4, 4)
    np.testing.assert_array_equal(found.matrix, found.state_matrix[:2, :2])
    # Var v = E (w' - w)^2: stationary displacements over one step.
    assert np.all(np.diag(found.state_matrix)[2:] > 0)


def test_routes_agree_eigen_and_bartels_stewart() -> None:
    one = stationary_covariance(sgd(), method="eigen")
    two = stationary_covariance(sgd(), method="bartels_stewart")
    assert (one.method, two.method) == ("eigen", "bartels_stewart")
    assert close(one.matrix, two.matrix, units=40)
    assert np.linalg.norm(one.matrix - two.matrix, 2) <= one.error_estimate + two.error_estimate


def test_defective_drift_has_an_honest_residual() -> None:
    process = OUProcess(drift=np.eye(5) + np.eye(5, k=1), noise=np.eye(5))
    found = stationary_covariance(process)
    A, S = process.drift, found.matrix
    assert np.linalg.norm(A @ S + S @ A.T - process.noise) < 1e-13 * np.linalg.norm(S)
    assert found.status is Status.SUCCESS
    assert found.method == "bartels_stewart"


def test_unstable_raises_with_eigenvalue_count_and_the_limit_on_the_learning_rate() -> None:
    with pytest.raises(UnstableError, match=r"1 of 2 modes are unstable.* -1\.1 .*") as caught:
        stationary_covariance(sgd(learning_rate=2.1))
    assert "critical learning rate 2 " in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_unstable_flow_counts_all_growing_modes() -> None:
    process = OUProcess(drift=np.diag([1.0, -0.5, -0.25]), noise=np.eye(3), context="Ask less.")
    with pytest.raises(UnstableError, match=r"2 of 3 modes .* -0\.5 .*Ask less\."):
        stationary_covariance(process)
    found = stationary_covariance(process, throw=False)
    assert found.status is Status.UNSTABLE
    assert np.all(np.isnan(found.matrix))
    assert np.isnan(found.residual)


@pytest.mark.parametrize(
    "process",
    [
        OUProcess(drift=np.diag([1.0, 0.0]), noise=np.eye(2)),
        OUProcess(drift=[[0.0, 1.0], [-1.0, 0.0]], noise=np.eye(2)),
        OUProcess(drift=[[1.0, 1.0], [1.0, 1.0]], noise=np.eye(2)),
        LinearRecursion(transition=np.diag([0.5, 1.0]), noise=np.eye(2)),
        LinearRecursion(transition=[[1.0, 1.0], [0.0, 0.5]], noise=np.eye(2)),
        LinearRecursion(transition=[[-1.0]], noise=[[1.0]]),
        sgd(hessian=np.diag([1.0, 0.0])),
        sgd(hessian=np.diag([1.0, 0.0]), momentum=0.9),
    ],
)
def test_a_mode_that_neither_decays_nor_grows_is_marginal(process) -> None:
    found = stationary_covariance(process, throw=False)
    assert found.status is Status.MARGINAL
    assert np.all(np.isnan(found.matrix))
    with pytest.raises(UnstableError, match="neither decay nor grow"):
        stationary_covariance(process)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("times", [1.0, 1.001])
def test_refuses_a_learning_rate_at_or_above_the_limit_and_says_the_limit(momentum, times) -> None:
    limit = sgd(momentum=momentum).critical_learning_rate()
    with pytest.raises(UnstableError, match=f"critical learning rate {limit:g}"):
        stationary_covariance(sgd(momentum=momentum, learning_rate=times * limit))


def test_slow_modes_of_a_small_learning_rate_are_not_taken_for_marginal() -> None:
    rate = 1e-9
    found = stationary_covariance(sgd(learning_rate=rate))
    flow = stationary_covariance(sgd(learning_rate=rate).flow())
    np.testing.assert_allclose(found.matrix, flow.matrix, rtol=1e-6)


def test_inaccurate_residual_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from fracsde.lyapunov import processes

    monkeypatch.setattr(processes, "EPS", 1e-30)
    process = OUProcess(drift=[[1.0, 0.3], [0.0, 0.7]], noise=[[1.0, 0.1], [0.1, 0.3]])
    found = stationary_covariance(process, throw=False)
    assert found.status is Status.INACCURATE
    assert np.all(np.isfinite(found.matrix))
    with pytest.raises(ComputationError, match="relative residual"):
        stationary_covariance(process)


def test_refuses_eigen_for_momentum_and_unknown_methods_and_processes() -> None:
    turned = sgd(hessian=[[1.0, 0.2], [0.2, 0.5]], momentum=0.5, preconditioner=[1.0, 2.0])
    with pytest.raises(NotSymmetricError, match="method='eigen' needs a symmetric `transition`"):
        stationary_covariance(turned, method="eigen")
    with pytest.raises(InputError, match="`method` must be one of"):
        stationary_covariance(sgd(), method="adi")
    with pytest.raises(InputError, match="wrap matrices as OUProcess"):
        stationary_covariance(np.eye(2))


@pytest.mark.parametrize(("rate", "size"), [(1e-300, 1e-300), (1e200, 1.0), (1.0, 1e308)])
@pytest.mark.parametrize("drift", [np.diag([1.0, 2.0]), np.array([[1.0, 0.5], [0.0, 2.0]])])
def test_extreme_units_keep_the_covariance_and_its_error(rate, size, drift) -> None:
    found = stationary_covariance(OUProcess(drift=rate * drift, noise=size * np.eye(2)))
    expected = stationary_covariance(OUProcess(drift=drift, noise=np.eye(2)))
    np.testing.assert_allclose(found.matrix * (rate / size), expected.matrix, rtol=1e-14)
    assert 0.0 < found.error_estimate * (rate / size) < 1e-14


def test_heavy_ball_keeps_the_covariance_of_extreme_noise() -> None:
    large, plain = sgd(momentum=0.9, gradient_noise=1e300 * np.eye(2)), sgd(momentum=0.9)
    plain = sgd(momentum=0.9, gradient_noise=np.eye(2))
    found, expected = stationary_covariance(large), stationary_covariance(plain)
    np.testing.assert_allclose(found.matrix / 1e300, expected.matrix, rtol=1e-14, atol=1e-16)
    assert found.residual < 1e-14


def test_overflow_is_a_status_where_nothing_is_thrown() -> None:
    process = OUProcess(drift=1e-200, noise=1e200)
    found = stationary_covariance(process, throw=False)
    assert found.status is Status.NOT_FINITE
    assert np.isnan(found.matrix).all()
    with pytest.raises(ComputationError, match="Rescale"):
        stationary_covariance(process)

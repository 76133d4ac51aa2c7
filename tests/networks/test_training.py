"""Full-batch training ends at minima, says so, and says when it does not."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.errors import ComputationError
from fracsde.networks import Network, SoftmaxRegression, train_to_minimum
from fracsde.status import Status


def test_training_meets_its_tolerance_on_digits() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    inputs, labels = datasets.load_digits(return_X_y=True)
    inputs = inputs / 16 - (inputs / 16).mean(axis=0)
    net = Network(inputs=inputs, targets=labels, hidden=(16,), weight_decay=1e-2)
    assert net.parameters == 1210
    minimum = train_to_minimum(net, net.initial_parameters(np.random.default_rng(0)))
    assert minimum.gradient_norm < 1e-10
    assert np.linalg.norm(net.gradient(minimum.parameters)) < 1e-10
    assert minimum.negative_eigenvalues == 0
    assert minimum.status.ok
    assert net.accuracy(minimum.parameters) > 0.95


def test_minimum_of_least_squares_equals_the_normal_equations() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(50, 3)), rng.normal(size=50)
    net = Network(
        inputs=x, targets=y, hidden=(), objective="squared_error", weight_decay=0.3, bias=False
    )
    minimum = train_to_minimum(net, np.ones(3))
    hessian = x.T @ x / 50 + 0.3 * np.eye(3)
    np.testing.assert_allclose(
        minimum.parameters, np.linalg.solve(hessian, x.T @ y / 50), atol=1e-12
    )
    np.testing.assert_allclose(minimum.eigenvalues, np.linalg.eigvalsh(hessian), atol=1e-12)


def test_training_leaves_a_saddle() -> None:
    # At zero, hidden units are exchangeable and silent: the gradient by the first layer is zero.
    rng = np.random.default_rng(2)
    x = rng.normal(size=(80, 2))
    net = Network(
        inputs=x, targets=(x[:, 0] * x[:, 1] > 0).astype(int), hidden=(6,), weight_decay=1e-3
    )
    start = np.zeros(net.parameters)
    assert np.linalg.eigvalsh(net.hessian(start))[0] < -1e-4
    minimum = train_to_minimum(net, start)
    assert minimum.status.ok
    assert minimum.negative_eigenvalues == 0
    assert minimum.loss < net.loss(start) - 0.1


@pytest.mark.twin
def test_tolerance_rejects_what_a_quasi_newton_descent_alone_leaves() -> None:
    from scipy.optimize import minimize

    rng = np.random.default_rng(3)
    net = Network(
        inputs=rng.normal(size=(60, 3)), targets=np.arange(60) % 3, hidden=(4,), weight_decay=1e-3
    )
    start = net.initial_parameters(rng)
    found = minimize(net.loss_and_gradient, start, jac=True, method="L-BFGS-B")
    assert np.linalg.norm(net.gradient(found.x)) > 1e-10
    assert train_to_minimum(net, start).gradient_norm < 1e-10


def test_separable_data_without_decay_is_reported() -> None:
    net = SoftmaxRegression(inputs=[[-1.0], [1.0]], targets=[0, 1])
    with pytest.raises(ComputationError, match="weight_decay > 0"):
        train_to_minimum(net, np.zeros(4), gradient_tolerance=1e-300, max_iterations=20)
    outcome = train_to_minimum(
        net, np.zeros(4), gradient_tolerance=1e-300, max_iterations=20, throw=False
    )
    assert outcome.status is Status.NOT_CONVERGED


def test_progress_counts_iterations_and_start_is_kept() -> None:
    rng = np.random.default_rng(4)
    net = SoftmaxRegression(
        inputs=rng.normal(size=(30, 2)), targets=np.arange(30) % 2, weight_decay=0.1
    )
    start, calls = np.ones(net.parameters), []
    train_to_minimum(net, start, progress=lambda n, norm: calls.append((n, norm)))
    assert [n for n, _ in calls] == sorted({n for n, _ in calls})
    assert calls[-1][1] < 1e-10
    np.testing.assert_array_equal(start, 1.0)

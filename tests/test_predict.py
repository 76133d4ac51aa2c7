"""Predictions against routes that share no code with them, and errors that cover."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.linalg import expm, solve_continuous_lyapunov, solve_discrete_lyapunov

import fracsde as fs
from fracsde.errors import InputError, OutOfRangeError, ShapeError, UnstableError, UnsupportedError
from fracsde.records import quantities as names
from tests.support.runs import matrices

H, C, MINIMUM = matrices(3)
V = np.random.default_rng(5).normal(size=(3, 2))
LAGS = [1, 7]


def sgd(**changes: Any) -> fs.SGDNearMinimum:
    settings = {"learning_rate": 0.5, "batch_size": 4, "momentum": 0.3, "minimum": MINIMUM}
    return fs.SGDNearMinimum(hessian=H, gradient_noise=C, **settings | changes)


def plain_map(rate: float, momentum: float, batch: int) -> tuple[np.ndarray, np.ndarray]:
    one = np.eye(3)
    T = np.block([[one - rate * H, momentum * one], [-rate * H, momentum * one]])
    return T, np.kron(np.ones((2, 2)), rate**2 * C / batch)


def test_every_quantity_of_the_map_equals_sums_over_its_steps() -> None:
    T, Q = plain_map(0.5, 0.3, 4)
    X = solve_discrete_lyapunov(T, Q)
    S = V.T @ X[:3, :3] @ V
    R = {k: V.T @ (np.linalg.matrix_power(T, k) @ X)[:3, :3] @ V for k in range(400)}
    d, spread = S.diagonal(), np.sqrt(S.diagonal())
    tau = 1.0 + 2.0 * sum(R[k].diagonal() for k in range(2, 400, 2)) / d
    expected = {
        "stationary mean": MINIMUM @ V,
        "stationary variance": d,
        "stationary covariance": S[[0], [1]],
        "stationary standard deviation": spread,
        "autocorrelation": np.concatenate([R[k].diagonal() / d for k in LAGS]),
        "mean-square displacement": [2.0 * np.trace(S - R[k]) for k in LAGS],
        "integrated autocorrelation time": 2.0 * tau,
    }
    found = fs.predict(sgd(), quantities=names.NAMES, directions=V, lags=LAGS, spacing=2)
    assert tuple(p.quantity.name for p in found) == names.NAMES
    for prediction in found:
        exact = np.asarray(expected[prediction.quantity.name])
        gap = np.abs(prediction.value - exact) / prediction.relative_to
        assert gap.max() < 1e-11, prediction.quantity.name


def test_flow_equals_its_lyapunov_equation() -> None:
    A, Q = 0.5 * H / 0.7, 0.25 * C / 4 / 0.49
    S = solve_continuous_lyapunov(A, Q)
    variance, correlation = fs.predict(
        sgd(), quantities=("variance", "autocorrelation"), law="flow", lags=LAGS
    )
    assert np.abs(variance.value / S.diagonal() - 1.0).max() < 1e-12
    later = np.array([(expm(-A * k) @ S).diagonal() / S.diagonal() for k in LAGS])
    assert np.abs(correlation.value - later.ravel()).max() < 1e-12


@pytest.mark.twin
def test_other_laws_are_told_apart() -> None:
    [exact] = fs.predict(sgd(), quantities="variance")
    for law in ("flow", "underdamped", "kunin"):
        [other] = fs.predict(sgd(), quantities="variance", law=law)
        assert other.theory == law
        assert np.abs(other.value / exact.value - 1.0).max() > 1e-3


@pytest.mark.parametrize("h", [1.0, 1e-4, 1.9])
def test_numerical_error_covers_the_error_of_a_closed_form(h: float) -> None:
    one = fs.SGDNearMinimum(hessian=h, gradient_noise=2.0, learning_rate=1.0, batch_size=1)
    [found] = fs.predict(one, quantities="variance")
    exact = 2.0 / (h * (2.0 - h))
    assert abs(found.value[0] - exact) <= found.numerical_error[0] + 2e-16 * exact
    assert found.numerical_error[0] < 1e-9 * exact


def test_a_shuffled_run_stands_for_its_epochs() -> None:
    shuffled = sgd(sampling="shuffled", dataset_size=40, momentum=0.0)
    [epochs] = fs.predict(shuffled, quantities="variance", directions=V)
    S = fs.stationary_covariance(shuffled).matrix
    assert epochs.theory == "epochs"
    assert np.allclose(epochs.value, np.einsum("dp,de,ep->p", V, S, V), rtol=1e-12)
    [apart] = fs.predict(shuffled, quantities="variance", law="independent")
    alone = replace(shuffled, sampling="without_replacement")
    assert np.array_equal(apart.value, fs.predict(alone, quantities="variance")[0].value)
    with pytest.raises(UnsupportedError):
        fs.predict(shuffled, law="flow")
    with pytest.raises(UnsupportedError):
        fs.predict(shuffled, law="map")


def test_phases_of_an_epoch_average_to_the_law_of_all() -> None:
    shuffled = sgd(sampling="shuffled", dataset_size=40, momentum=0.0)
    [whole] = fs.predict(shuffled, quantities="variance")
    parts = [fs.predict(shuffled, quantities="variance", phases=p)[0].value for p in range(10)]
    assert np.allclose(np.mean(parts, axis=0), whole.value, rtol=1e-12)
    assert np.ptp([part[0] for part in parts]) > 0.1 * whole.value[0]
    with pytest.raises(InputError, match="shuffled epochs"):
        fs.predict(sgd(), phases=[0])
    with pytest.raises(UnsupportedError, match="leave `phases` out"):
        fs.predict(shuffled, quantities="autocorrelation", lags=[1], phases=[0])


def test_large_processes_predict_what_dense_ones_do() -> None:
    large = fs.MatrixFreeSGD(
        hessian=H, gradient_noise=C, learning_rate=0.5, batch_size=4, momentum=0.3, minimum=MINIMUM
    )
    asked = {"quantities": ("mean", "variance", "standard deviation"), "directions": V}
    for one, other in zip(fs.predict(large, **asked), fs.predict(sgd(), **asked), strict=True):
        assert one.quantity == other.quantity
        assert np.all(np.abs(one.value - other.value) <= one.numerical_error + 1e-12)
    with pytest.raises(UnsupportedError, match=r"theory\.dense"):
        fs.predict(large, quantities="covariance", directions=V)
    with pytest.raises(InputError, match="must be given"):
        fs.predict(large)


def test_noise_that_depends_on_the_state_is_kept_unless_a_law_is_named() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(50, 3))
    run = fs.LeastSquaresSGD(
        inputs=x, targets=x @ [1.0, 2.0, 3.0] + rng.normal(size=50), learning_rate=0.1, batch_size=4
    )
    mean, own = fs.predict(run)
    assert own.theory == "state-dependent noise"
    assert np.allclose(own.value, fs.stationary_covariance(run).matrix.diagonal(), rtol=1e-12)
    assert np.allclose(mean.value, run.minimum)
    [frozen] = fs.predict(run, quantities="variance", law="map")
    assert np.all(own.value > frozen.value)


def test_a_closure_predicts_along_its_modes_and_elsewhere() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(40, 3))
    net = fs.networks.Network(
        inputs=x, targets=x[:, 0] + rng.normal(size=40), hidden=(), objective="squared_error"
    )
    at = fs.networks.train_to_minimum(net, np.zeros(net.parameters)).parameters
    minimum = fs.examine_minimum(net, at, rank=3)
    closure = fs.gaussian_closure(minimum, learning_rate=0.1, batch_size=8, draws=96, rng=0)
    own = fs.predict(closure, quantities=("variance", "autocorrelation"), lags=LAGS)
    assert np.allclose(own[0].value, closure.variances, rtol=1e-10)
    assert own[0].theory == "closure"
    assert np.all(own[0].numerical_error >= 3.0 * closure.variance_stderr * (1 - 1e-12))
    W = np.eye(net.parameters)[:, :2]
    mean, variance = fs.predict(closure, directions=W)
    assert np.allclose(variance.value, closure.variance_along(W), rtol=1e-12)
    assert np.allclose(mean.value, closure.mean[:2])
    with pytest.raises(UnsupportedError, match="leading modes"):
        fs.predict(closure, quantities="msd", lags=[1], directions=W)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"quantities": "msd"}, InputError, "needs `lags`"),
        ({"quantities": "msd", "lags": [0]}, OutOfRangeError, "must be positive"),
        ({"quantities": "variance", "lags": [-1]}, OutOfRangeError, "must be positive"),
        ({"quantities": "msd", "lags": [1.5]}, OutOfRangeError, "whole numbers"),
        ({"quantities": "integrated time", "spacing": 1.5}, OutOfRangeError, "whole number"),
        ({"labels": ["a"]}, ShapeError, "3 names"),
        ({"directions": np.eye(2)}, ShapeError, "one row per coordinate"),
        ({"directions": np.zeros((3, 0))}, ShapeError, "at least one column"),
        ({"directions": np.zeros((3, 1))}, OutOfRangeError, "nothing moves"),
        ({"law": "maps"}, InputError, "law"),
    ],
)
def test_refuses_what_cannot_be_predicted(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        fs.predict(sgd(), **options)


def test_refuses_theories_without_a_law() -> None:
    with pytest.raises(UnstableError):
        fs.predict(sgd(learning_rate=9.0))
    with pytest.raises(OutOfRangeError, match="nothing moves along '0'"):
        fs.predict(
            fs.SGDNearMinimum(hessian=1.0, gradient_noise=0.0, learning_rate=1, batch_size=1)
        )
    with pytest.raises(InputError, match="SGDNearMinimum"):
        fs.predict(H)
    with pytest.raises(InputError, match="its own"):
        fs.predict(fs.OUProcess(drift=1.0, noise=1.0), law="map")

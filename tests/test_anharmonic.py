"""The drift of the mean: first order in the noise, at any rate, momentum and state dependence."""

from __future__ import annotations

import numpy as np
import pytest

import fracsde as fs
from fracsde.errors import (
    ComputationError,
    IndefiniteError,
    InputError,
    NotFiniteError,
    NotSymmetricError,
    OutOfRangeError,
    ShapeError,
)
from fracsde.estimators import covariance, mean
from fracsde.networks import SoftmaxRegression, run_sgd, train_to_minimum
from fracsde.status import Status
from tests.support.laws import follows
from tests.support.markov import stationary_moments
from tests.support.orders import observed_order

CUBIC, QUARTIC = 0.8, 0.6


def _slope(w, amplitude, sign, state):
    """Gradient of w^2/2 + c w^3/6 + q w^4/24, with noise that may grow with the weight."""
    return w + CUBIC * w**2 / 2 + QUARTIC * w**3 / 6 + sign * amplitude * (1.0 + state * w)


def _law(rate, amplitude, state=0.0):
    signs = [-1.0, 0.5, 2.0]  # skewed, of mean zero
    chances = np.array([1.0, 1.0, 0.25]) / 2.25
    maps = [lambda w, s=s: w - rate * _slope(w, amplitude, s, state) for s in signs]
    reach = 3.5 * amplitude
    return stationary_moments(maps, chances, (-reach, reach))


def _drift(covariance_, factor=1.0):
    def product(w, v):
        return (1.0 + CUBIC * w + 0.5 * QUARTIC * w**2) * v

    return fs.anharmonic_drift(product, [0.0], [[factor * covariance_]]).drift[0]


@pytest.mark.parametrize("rate", [0.1, 0.9])
@pytest.mark.parametrize("state", [0.0, 0.5])
def test_order_of_what_is_left_out_is_the_cube_of_the_noise(rate, state):
    # Skewed noise and a quartic term: E[w^3] is of third order in the amplitude.
    def error(n):
        moments = _law(rate, 0.16 / n, state)
        return abs(moments[1] - _drift(moments[2] - moments[1] ** 2)) / moments[2]

    table = observed_order(error, [1, 2, 4, 8, 16], expected=1.0)
    assert table.agrees(), table


@pytest.mark.twin
@pytest.mark.parametrize("factor", [0.99, 2.0])
def test_order_is_lost_with_a_wrong_covariance(factor):
    def error(n):
        moments = _law(0.9, 0.16 / n)
        return abs(moments[1] - _drift(moments[2] - moments[1] ** 2, factor)) / moments[2]

    assert not observed_order(error, [1, 2, 4, 8, 16], expected=1.0).agrees()


def _random_cubic(seed, d=6):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((d, d))
    K = A @ A.T + np.eye(d)
    third = rng.standard_normal((d, d, d))
    third = sum(np.transpose(third, p) for p in [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
    third = 0.5 * (third + np.transpose(third, (1, 0, 2)))
    third = sum(np.transpose(third, p) for p in [(0, 1, 2), (1, 2, 0), (2, 0, 1)]) / 3
    F = 0.1 * rng.standard_normal((d, 3))
    return K, third, F


def test_routes_agree_between_differences_and_third_derivatives(seed):
    K, third, F = _random_cubic(seed)
    expected = -0.5 * np.linalg.solve(K + 0.3 * np.eye(6), np.einsum("ijk,jk->i", third, F @ F.T))

    def product(w, v):
        return K @ v + np.einsum("ijk,j,k->i", third, w, v)

    w0 = np.zeros(6)
    by_factor = fs.anharmonic_drift(product, w0, factor=F, weight_decay=0.3)
    by_covariance = fs.anharmonic_drift(product, w0, F @ F.T, weight_decay=0.3)
    exact = fs.anharmonic_drift(
        product,
        w0,
        factor=F,
        weight_decay=0.3,
        third_product=lambda _, u: np.einsum("ijk,j,k->i", third, u, u),
    )
    for found in (by_factor, by_covariance, exact):
        error = np.linalg.norm(found.drift - expected)
        assert error <= found.error_estimate + 1e-10 * np.linalg.norm(expected)
        assert error < 1e-9 * np.linalg.norm(expected)
        np.testing.assert_array_equal(found.mean, w0 + found.drift)
    assert by_factor.iterations <= 8


def test_exact_error_estimate_covers_differences_that_are_too_wide_or_too_narrow():
    def product(w, v):  # of cosh: the fifth derivative is as large as the third
        return np.cosh(w) * v

    for step in (1e-9, 1e-5, 1e-3, 0.1):
        found = fs.anharmonic_drift(product, [0.4], [[0.01]], step=step, throw=False)
        exact = -0.5 * np.tanh(0.4) * 0.01
        assert abs(found.drift[0] - exact) <= found.error_estimate


def single(w, v):
    # Curvature 1 + w in single precision, as a float32 model has it.
    return np.float32(1.0 + w) * np.float32(v)


def single_in_double(w, v):
    return single(w, v).astype(np.float64)


@pytest.mark.parametrize("product", [single, single_in_double])
def test_exact_error_estimate_reckons_with_products_in_single_precision(product):
    found = fs.anharmonic_drift(product, [0.3], [[0.01]])
    error = abs(found.drift[0] + 0.5 * 0.01 / 1.3)
    assert 1e-12 < error < found.error_estimate < 1e-3 * abs(found.drift[0])
    # What double precision would round by is not enough.
    step = 2.0**-10.4
    assert error > 10.0 * 0.01 * np.finfo(float).eps / step


def test_a_drift_that_single_precision_drowns_is_a_status_and_not_zero():
    # Over a step of 1e-3 a curvature that changes over 1e8 does not.
    def product(w, v):
        return np.float32(1.0 + 1e-8 * w) * np.float32(v)

    found = fs.anharmonic_drift(product, [0.0], [[1e12]], throw=False)
    assert found.drift[0] == 0.0
    assert found.status is Status.INACCURATE
    assert found.error_estimate > 0.5e-8 * 1e12
    wide = fs.anharmonic_drift(product, [0.0], [[1e12]], step=1e6)
    assert wide.drift[0] == pytest.approx(-0.5e-8 * 1e12, rel=1e-3)
    assert abs(wide.drift[0] + 0.5e-8 * 1e12) < wide.error_estimate


def test_law_of_softmax_regression_shifts_its_mean_as_predicted(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal([1.0, 0.0, 0.0], 1.0, (60, 3))
    labels = (x @ [1.0, -0.5, 0.3] + 0.6 * rng.standard_normal(60) > 0.6).astype(int)
    net = SoftmaxRegression(inputs=x, targets=labels, weight_decay=0.1)
    minimum = train_to_minimum(net, np.zeros(net.parameters)).parameters
    run = run_sgd(
        net,
        minimum,
        learning_rate=0.5,
        batch_size=4,
        momentum=0.5,
        steps=120,
        replicas=3000,
        record_positions=[80, 100, 120],
        seed=seed,
    )
    measured = mean(run.positions)
    found = fs.anharmonic_drift(
        net.hessian_vector_product, minimum, covariance(run.positions).matrix
    )
    # Along the drift: what is seen, what is left of it, and what second order may add.
    direction = found.drift / np.linalg.norm(found.drift)
    shift = (run.positions.values - minimum) @ direction
    stderr = shift.mean(axis=1).std(ddof=1) / np.sqrt(len(shift))
    size = np.linalg.norm(found.drift)
    assert size > 20 * stderr
    assert abs(shift.mean() - size) < 6.2 * stderr + 0.15 * size
    assert not follows(shift.mean(), 0.0, stderr)
    assert not follows(shift.mean(), -size, stderr)
    assert np.linalg.norm(measured.value - found.mean) < 0.25 * size


def test_keeps_arguments_and_reports_progress():
    K, third, F = _random_cubic(3)
    w0, seen = np.zeros(6), []
    before = F.copy()

    def greedy(w, v):
        result = K @ v + np.einsum("ijk,j,k->i", third, w, v)
        w[:] = 7.0
        v[:] = 7.0
        return result

    fs.anharmonic_drift(greedy, w0, factor=F, progress=lambda *n: seen.append(n))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    np.testing.assert_array_equal(F, before)
    np.testing.assert_array_equal(w0, 0.0)


def test_symmetric_loss_has_no_drift():
    found = fs.anharmonic_drift(lambda w, v: (1.0 + w**2) * v, np.zeros(4), 0.01 * np.eye(4))
    assert found.status.ok
    assert np.abs(found.drift).max() < 1e-12
    nothing = fs.anharmonic_drift(lambda w, v: (1.0 + w) * v, np.zeros(2), np.zeros((2, 2)))
    np.testing.assert_array_equal(nothing.drift, 0.0)


def test_unfinished_iteration_is_a_status_where_nothing_is_thrown():
    K, third, F = _random_cubic(3)

    def product(w, v):
        return K @ v + np.einsum("ijk,j,k->i", third, w, v)

    found = fs.anharmonic_drift(product, np.zeros(6), factor=F, max_iterations=2, throw=False)
    assert found.status is Status.NOT_CONVERGED
    with pytest.raises(ComputationError, match="raise `max_iterations`"):
        fs.anharmonic_drift(product, np.zeros(6), factor=F, max_iterations=2)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"covariance": None}, InputError, "exactly one of `covariance` and `factor`"),
        ({"factor": np.eye(2)}, InputError, "got both"),
        ({"hessian_product": 3.0}, InputError, "must be callable"),
        ({"third_product": 3.0}, InputError, "must be callable"),
        ({"hessian_product": lambda w, v: v[:1]}, ShapeError, r"of shape \(2,\)"),
        ({"hessian_product": lambda w, v: v + 1j}, ShapeError, "real numbers"),
        ({"hessian_product": lambda w, v: v * np.nan}, NotFiniteError, "is the loss smooth"),
        ({"hessian_product": lambda w, v: v[::-1] * [1.0, 2.0]}, NotSymmetricError, "dropout"),
        ({"hessian_product": lambda w, v: (w[0] - 1.0) * v}, IndefiniteError, "no minimum here"),
        ({"covariance": -np.eye(2)}, IndefiniteError, "positive semi-definite"),
        ({"covariance": np.eye(3)}, ShapeError, "2 x 2"),
        ({"minimum": []}, ShapeError, "at least one weight"),
        ({"step": 0.0}, InputError, "`step` must lie in"),
        ({"rtol": 2.0}, InputError, "`rtol` must lie in"),
    ],
)
def test_refuses_bad_input(change, error, message):
    arguments = {
        "hessian_product": lambda w, v: (1.0 + w) * v,
        "minimum": np.zeros(2),
        "covariance": 0.01 * np.eye(2),
    } | change
    product = arguments.pop("hessian_product")
    minimum = arguments.pop("minimum")
    with pytest.raises(error, match=message):
        fs.anharmonic_drift(product, minimum, **arguments)


def test_refuses_sizes_whose_squares_are_no_doubles():
    def product(w, v):
        return (1.0 + w) * v

    with pytest.raises(OutOfRangeError, match="`minimum`"):
        fs.anharmonic_drift(product, [1e200], [[0.01]])
    with pytest.raises(OutOfRangeError, match="standard deviations"):
        fs.anharmonic_drift(product, [0.0], [[1e300]])
    with pytest.raises(OutOfRangeError, match="`step`"):
        fs.anharmonic_drift(product, [0.0], [[0.01]], step=1e-300)
    with pytest.raises(NotFiniteError, match="smooth"):
        fs.anharmonic_drift(lambda w, v: 1e200 * v, [0.0], [[0.01]])
    with pytest.raises(InputError, match="`progress`"):
        fs.anharmonic_drift(product, [0.0], [[0.01]], progress=3)

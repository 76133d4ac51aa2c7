"""Variances along directions, against dense solvers: values, bounds, refusals."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from time import process_time

import numpy as np
import pytest
import scipy.sparse as sp

from fracsde.errors import (
    ComputationError,
    IndefiniteError,
    InputError,
    NotFiniteError,
    OutOfRangeError,
    ShapeError,
    UnstableError,
    UnsupportedError,
)
from fracsde.problems.matrix_free import MatrixFreeOU, MatrixFreeSGD
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.problems.products import LowRankPlusDiagonal
from fracsde.problems.structured import DiagonalOU, LowRankOU
from fracsde.stationary_large import stationary_variance_along
from fracsde.stationary_large._common import held_by
from fracsde.status import Status
from tests.support.damage import one_sign
from tests.support.large import LAWS, NOISES, exact, problem

U = np.random.default_rng(11).normal(size=(80, 2))


def along(S: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->j", U, S @ U)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("law", LAWS)
def test_value_equals_the_dense_one_within_its_bound(law: str, noise: str) -> None:
    process = problem(law, noise, weight_decay=0.005)
    found = stationary_variance_along(process, U, rtol=1e-7)
    error = np.abs(found.values - along(exact(process)))
    assert found.status is Status.SUCCESS
    assert found.certain
    assert np.all(error <= found.error_bounds)
    assert np.all(found.error_bounds <= 1e-7 * found.values)


@pytest.mark.twin
def test_bound_rejects_a_variance_off_by_a_millionth_part() -> None:
    process = problem("map")
    found = stationary_variance_along(process, U, rtol=1e-7)
    error = np.abs(1.000001 * found.values - along(exact(process)))
    assert np.all(error > found.error_bounds)


@pytest.mark.parametrize("memory", [14, 20, 32])
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("seed", range(3))
def test_bound_holds_where_memory_ran_out(law: str, memory: int, seed: int) -> None:
    process = problem(law, "factor and diagonal", seed=seed, condition=1000.0)
    bytes_ = held_by(memory, 80)
    found = stationary_variance_along(process, U, rtol=1e-9, memory=bytes_, throw=False)
    assert found.status is Status.NOT_CONVERGED
    assert "more `memory`" in found.detail
    assert np.all(np.abs(found.values - along(exact(process))) <= found.error_bounds)
    assert found.held_bytes <= bytes_


@pytest.mark.twin
def test_a_thousandth_of_the_bound_is_no_bound() -> None:
    # The bound reckons with noise that points anywhere, so it is wide, but not by that much.
    broken = 0
    for seed in range(4):
        process = problem("map", seed=seed, condition=10.0)
        found = stationary_variance_along(
            process, U, rtol=1e-9, memory=held_by(14, 80), throw=False
        )
        broken += np.sum(np.abs(found.values - along(exact(process))) > 1e-3 * found.error_bounds)
    assert broken > 0


@pytest.mark.parametrize("vectors", [14, 100])
def test_memory_that_is_traced_is_within_what_was_allowed(vectors: int) -> None:
    """Three directions, noise with a factor and a diagonal; the tightest limit, and a wide one."""
    d = 20_000
    rng = np.random.default_rng(0)
    noise = LowRankPlusDiagonal(factor=rng.normal(size=(d, 10)), diagonal=rng.uniform(size=d))
    curvatures = np.geomspace(1e-3, 1.0, d)
    process = MatrixFreeSGD(
        hessian=lambda x: curvatures * x,
        dimension=d,
        gradient_noise=noise,
        learning_rate=0.3,
        batch_size=4,
        weight_decay=1e-3,
    )
    directions, memory = rng.normal(size=(d, 3)), held_by(vectors, d)
    options = {"rtol": 1e-9, "memory": memory, "throw": False}
    stationary_variance_along(process, directions, **options)  # imports are no part of it
    tracemalloc.start()
    found = stationary_variance_along(process, directions, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.held_bytes == memory
    assert 0.8 * memory < peak <= memory + 2**17  # NumPy's own buffers


@pytest.mark.parametrize("law", LAWS)
def test_without_a_known_floor_the_bound_is_an_estimate(law: str) -> None:
    process = problem(law, bounded=False)
    if isinstance(process, MatrixFreeOU):
        process = replace(process, drift_bounds=None)
    found = stationary_variance_along(process, U)
    assert not found.certain
    assert np.all(np.abs(found.values - along(exact(process))) <= found.error_bounds)


@pytest.mark.parametrize("law", LAWS)
def test_closed_form_equals_krylov_and_dense(law: str) -> None:
    rng = np.random.default_rng(3)
    process = problem(
        law,
        hessian=LowRankPlusDiagonal(factor=rng.normal(size=(80, 3)) / 20.0, diagonal=0.2),
        gradient_noise=LowRankPlusDiagonal(factor=rng.normal(size=(80, 2)), diagonal=0.5),
        hessian_bounds=None,
    )
    closed, iterated = (stationary_variance_along(process, U, method=m) for m in ("auto", "krylov"))
    assert (closed.method, iterated.method) == ("closed_form", "krylov")
    assert np.all(np.abs(closed.values - along(exact(process))) <= closed.error_bounds)
    assert np.all(np.abs(closed.values - iterated.values) <= iterated.error_bounds)
    assert np.all(closed.error_bounds < 1e-10 * closed.values)


@pytest.mark.twin
def test_closed_form_rejects_a_flipped_sign_in_the_noise() -> None:
    process = problem("map", "factor")
    damaged = replace(
        process, gradient_noise=LowRankPlusDiagonal(factor=one_sign(process.gradient_noise.factor))
    )
    found = stationary_variance_along(damaged, U)
    assert np.any(np.abs(found.values - along(exact(process))) > 100 * found.error_bounds)


def test_eigenvector_needs_one_product_and_any_noise() -> None:
    d = 1000
    process = MatrixFreeOU(
        drift=sp.diags_array(np.linspace(1.0, 2.0, d)),
        noise=sp.diags_array(np.ones(d)),
        drift_bounds=(1.0, 2.0),
    )
    unit = np.zeros(d)
    unit[499] = 3.0
    found = stationary_variance_along(process, unit)
    assert found.values[0] == pytest.approx(9.0 / (2.0 * (1.0 + 499 / 999)), rel=1e-12)
    assert found.products <= 33


def test_processes_with_structure_and_with_matrices_agree_with_dense_ones() -> None:
    rng = np.random.default_rng(12)
    low = LowRankOU(
        basis=np.linalg.qr(rng.normal(size=(80, 3)))[0],
        drift=[[1.0, 0.4, 0.0], [-0.4, 1.0, 0.0], [0.0, 0.0, 0.2]],
        noise=np.diag([1.0, 2.0, 0.0]),
        rest_drift=0.5,
        rest_noise=0.3,
    )
    diagonal = DiagonalOU(drift=np.linspace(0.1, 1.0, 80), noise=2.0)
    dense = problem("heavy ball").dense()
    for process, twin in [(low, low.dense()), (diagonal, diagonal.dense()), (dense, dense)]:
        found = stationary_variance_along(process, U)
        expected = stationary_variance_along(twin.map() if process is dense else twin, U)
        assert expected.method == "dense"
        np.testing.assert_allclose(found.values, expected.values, rtol=1e-11)
        slack = found.error_bounds + expected.error_bounds
        assert np.all(np.abs(found.values - expected.values) <= slack)


def test_zero_directions_and_zero_noise_have_no_variance() -> None:
    process = problem("map")
    assert stationary_variance_along(process, 0.0 * U).values.tolist() == [0.0, 0.0]
    assert stationary_variance_along(process, np.empty((80, 0))).values.shape == (0,)
    silent = replace(process, gradient_noise=lambda x: 0.0 * x)
    assert stationary_variance_along(silent, U).values.tolist() == [0.0, 0.0]


def test_arguments_are_left_alone_and_progress_is_told() -> None:
    process, told, before = problem("map"), [], U.copy()
    stationary_variance_along(process, U, progress=lambda *what: told.append(what))
    assert np.array_equal(U, before)
    made, ratios = zip(*told, strict=True)
    assert max(made) > 10
    assert ratios[-1] <= 1.0 < ratios[0]


def test_hundred_thousand_weights_in_a_second() -> None:
    d = 100_000
    rng = np.random.default_rng(13)
    sgd = MatrixFreeSGD(
        hessian=LowRankPlusDiagonal(
            factor=rng.normal(size=(d, 3)) / d**0.5, diagonal=np.linspace(0.0, 0.2, d)
        ),
        gradient_noise=lambda x: x,
        learning_rate=0.5,
        batch_size=8,
        weight_decay=0.1,
        momentum=0.5,
    )
    clock = process_time()
    found = stationary_variance_along(sgd, np.ones(d))
    assert process_time() - clock < 10.0  # a second on a quiet core
    assert found.certain
    assert found.held_bytes < 1e8
    # With noise I the covariance is a function of the curvature: two routes.
    one = stationary_variance_along(replace(sgd, gradient_noise=sp.eye_array(d)), np.ones(d))
    np.testing.assert_allclose(one.values, found.values, rtol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_refuses_a_rate_beyond_its_limit_and_names_it(momentum: float) -> None:
    limit = 2.0 * (1.0 + momentum)
    process = problem("map", learning_rate=1.001 * limit, momentum=momentum, hessian_bounds=None)
    with pytest.raises(UnstableError, match=rf"is at most {limit:g}"):
        stationary_variance_along(process, U)


def test_refuses_a_rate_too_near_its_limit_to_tell_unless_bounds_are_known() -> None:
    d = 3000
    process = MatrixFreeSGD(
        hessian=sp.diags_array(np.linspace(0.0, 1.0, d) ** 2),
        gradient_noise=sp.eye_array(d),
        learning_rate=1.9999999,
        batch_size=1,
        weight_decay=0.0,
    )
    u = np.eye(d)[:, -1]
    with pytest.raises(UnstableError, match="hessian_bounds"):
        stationary_variance_along(process, u)
    known = replace(process, hessian_bounds=(0.0, 1.0))
    value = stationary_variance_along(known, u, throw=False).values[0]
    assert value == pytest.approx(1.9999999 / 1e-7, rel=1e-6)


def test_refuses_negative_curvature_unless_the_decay_outweighs_it() -> None:
    H = np.diag(np.append(np.linspace(0.1, 1.0, 79), -0.05))
    process = problem("map", hessian=H, hessian_bounds=None, weight_decay=0.1)
    with pytest.raises(IndefiniteError, match=r"an eigenvalue is at most -0\.05"):
        stationary_variance_along(process, U)
    known = replace(process, hessian_bounds=(-0.05, 1.0))
    found = stationary_variance_along(known, U)
    d = (
        0.3**2
        / 4
        / (
            0.3 * np.add.outer(*2 * [np.diag(H) + 0.1])
            - 0.09 * np.multiply.outer(*2 * [np.diag(H) + 0.1])
        )
    )
    expected = along(d * (process.gradient_noise @ np.eye(80)))
    assert np.all(np.abs(found.values - expected) <= found.error_bounds)
    with pytest.raises(UnstableError, match="perturbations grow"):
        stationary_variance_along(replace(known, weight_decay=0.0), U)
    with pytest.raises(UnstableError, match="`drift` has an eigenvalue"):
        stationary_variance_along(MatrixFreeOU(drift=H, noise=np.eye(80)), U)


def test_refuses_flat_directions_that_are_reached() -> None:
    H = np.diag(np.append(np.linspace(0.1, 1.0, 79), 0.0))
    process = problem("map", hessian=H, hessian_bounds=None)
    with pytest.raises(UnstableError, match="set a weight decay"):
        stationary_variance_along(process, U)
    other = U.copy()
    other[-1] = 0.0
    assert stationary_variance_along(process, other).status is Status.SUCCESS
    flat = problem(
        "map",
        hessian=LowRankPlusDiagonal(factor=np.eye(80)[:, :2]),
        hessian_bounds=None,
    )
    with pytest.raises(UnstableError, match="random walk"):
        stationary_variance_along(flat, U)
    inside = replace(flat, gradient_noise=LowRankPlusDiagonal(factor=np.eye(80)[:, :1]))
    found = stationary_variance_along(inside, U)
    assert found.method == "closed_form"
    np.testing.assert_allclose(found.values, 0.3 / 4 / 1.7 * U[0] ** 2, rtol=1e-12)


def test_refuses_bounds_that_are_contradicted() -> None:
    with pytest.raises(InputError, match="must enclose all eigenvalues"):
        stationary_variance_along(problem("map", hessian_bounds=(0.01, 0.9)), U)


def test_refuses_noise_that_is_no_covariance() -> None:
    with pytest.raises(IndefiniteError, match="sum of squares"):
        stationary_variance_along(problem("map", gradient_noise=-np.eye(80)), U)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"directions": U[:-1]}, ShapeError, "directions"),
        ({"directions": U[None]}, ShapeError, "directions"),
        ({"directions": U * np.inf}, NotFiniteError, "directions"),
        ({"directions": "up"}, InputError, "directions"),
        ({"rtol": 0.0}, OutOfRangeError, "rtol"),
        ({"memory": 1e3}, OutOfRangeError, "must be at least"),
        ({"method": "dense"}, InputError, "one of"),
        ({"method": "closed_form"}, UnsupportedError, "use method='auto'"),
    ],
)
def test_refuses_what_makes_no_sense(arguments, error, words) -> None:
    with pytest.raises(error, match=words):
        stationary_variance_along(problem("map"), **{"directions": U, **arguments})


def test_raises_what_the_status_says() -> None:
    with pytest.raises(ComputationError, match="2 of 2 bounds exceed"):
        stationary_variance_along(problem("map"), U, memory=held_by(18, 80))


def test_refuses_what_is_no_process() -> None:
    with pytest.raises(InputError, match="process"):
        stationary_variance_along(3.0, U)
    with pytest.raises(UnstableError, match="all must be positive"):
        stationary_variance_along(DiagonalOU(drift=[1.0, 0.0], noise=1.0), [1.0, 0.0])
    with pytest.raises(UnstableError):
        stationary_variance_along(OUProcess(drift=[[-1.0]], noise=[[1.0]]), [1.0])


@pytest.mark.parametrize("law", LAWS)
def test_bound_holds_for_products_in_single_precision(law: str) -> None:
    process = problem(law, "products")
    if isinstance(process, MatrixFreeOU):
        name, A = "drift", process.drift @ np.eye(80)
    else:
        name, A = "hessian", process.hessian @ np.eye(80)
    single = A.astype(np.float32)
    rough = replace(process, **{name: lambda x: single @ x.astype(np.float32)}, dimension=80)
    if isinstance(rough, MatrixFreeOU):
        assert 1e-8 < rough.drift.precision < 1e-6
    found = stationary_variance_along(rough, U, throw=False)
    error = np.abs(found.values - along(exact(process)))
    assert np.all(error <= found.error_bounds)
    if law in {"flow", "map"}:  # squares of the curvature lose more
        assert np.all(found.error_bounds < 0.02 * found.values)


def test_refuses_a_direction_that_is_flat_through_and_through() -> None:
    H = np.diag(np.append(np.linspace(0.1, 1.0, 79), 0.0))
    process = problem("map", hessian=H, hessian_bounds=None)
    with pytest.raises(UnstableError, match="set a weight decay"):
        stationary_variance_along(process, np.eye(80)[:, -1])

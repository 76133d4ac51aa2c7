"""Covariances of low rank, against dense solvers."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from fracsde.errors import InputError, UnsupportedError
from fracsde.problems.matrix_free import MatrixFreeSGD
from fracsde.problems.products import LowRankPlusDiagonal
from fracsde.problems.structured import LowRankOU
from fracsde.stationary import stationary_covariance
from fracsde.stationary_large import stationary_low_rank
from fracsde.stationary_large._common import held_by
from fracsde.status import Status
from tests.support.damage import transposed
from tests.support.large import LAWS, exact, problem

IDENTITY = np.eye(80)


def error(found, process) -> float:
    return float(np.linalg.norm(found @ IDENTITY - exact(process), 2))


@pytest.mark.parametrize("law", LAWS)
def test_krylov_equals_the_dense_solution_within_its_bound(law: str) -> None:
    process = problem(law)
    found = stationary_low_rank(process, rtol=1e-7)
    assert found.status is Status.SUCCESS
    assert found.certain
    assert error(found, process) <= found.error_bound <= 1e-7 * found.variances[0] * 1.01


@pytest.mark.parametrize("law", ["flow", "map", "map near its limit"])
def test_rational_equals_the_dense_solution_and_keeps_fewer_vectors(law: str) -> None:
    process = problem(law, d=200, condition=1000.0)
    krylov, rational = (stationary_low_rank(process, method=m) for m in ("krylov", "rational"))
    whole = exact(process)
    for found in (krylov, rational):
        gap = float(np.linalg.norm(found @ np.eye(200) - whole, 2))
        assert found.status is Status.SUCCESS
        assert gap <= found.error_bound
    assert rational.held_bytes < krylov.held_bytes


@pytest.mark.parametrize("method", ["krylov", "rational"])
@pytest.mark.parametrize("law", LAWS)
def test_bound_holds_where_memory_ran_out(law: str, method: str) -> None:
    for seed in range(2):
        process = problem(law, seed=seed, condition=300.0)
        memory = held_by(33, 80, 17)
        found = stationary_low_rank(process, rtol=1e-9, method=method, memory=memory, throw=False)
        assert found.status is Status.NOT_CONVERGED
        assert found.held_bytes <= memory
        assert error(found, process) <= found.error_bound


@pytest.mark.parametrize("method", ["krylov", "rational"])
def test_memory_that_is_traced_is_within_what_was_allowed(method: str) -> None:
    d = 20_000
    curvatures = np.geomspace(1e-3, 1.0, d)
    factor = np.random.default_rng(0).normal(size=(d, 4))
    process = MatrixFreeSGD(
        hessian=lambda x: curvatures * x,
        dimension=d,
        gradient_noise=LowRankPlusDiagonal(factor=factor),
        learning_rate=0.3,
        batch_size=4,
        weight_decay=1e-3,
    )
    memory = held_by(40, d, 18)
    options = {"rtol": 1e-9, "method": method, "memory": memory, "throw": False}
    stationary_low_rank(process, **options)  # imports are no part of it
    tracemalloc.start()
    found = stationary_low_rank(process, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.7 * memory < peak <= memory + 2**17  # NumPy's own buffers
    assert found.held_bytes <= memory


@pytest.mark.twin
def test_bound_rejects_a_basis_and_variances_that_do_not_belong_together() -> None:
    process = problem("map")
    found = stationary_low_rank(process)
    swapped = replace(found, variances=transposed(found.variances[::-1]))
    assert error(swapped, process) > 100 * swapped.error_bound


@pytest.mark.parametrize("law", LAWS)
def test_closed_form_equals_the_dense_solution_to_rounding(law: str) -> None:
    rng = np.random.default_rng(3)
    process = problem(
        law,
        hessian=LowRankPlusDiagonal(
            factor=rng.normal(size=(80, 3)) / 20.0, weights=[1.0, -0.5, 2.0], diagonal=0.3
        ),
        gradient_noise=LowRankPlusDiagonal(factor=rng.normal(size=(80, 2)), diagonal=0.5),
        hessian_bounds=None,
    )
    found = stationary_low_rank(process)
    assert found.method == "closed_form"
    assert found.basis.shape == (80, 5)
    assert error(found, process) <= found.error_bound < 1e-10 * found.variances[0]
    assert found.trace() == pytest.approx(np.trace(exact(process)), rel=1e-12)


def test_closed_form_survives_factors_that_depend_on_one_another() -> None:
    rng = np.random.default_rng(4)
    F = rng.normal(size=(80, 3)) / 20.0
    process = problem(
        "map",
        hessian=LowRankPlusDiagonal(factor=F, diagonal=0.3),
        gradient_noise=LowRankPlusDiagonal(factor=np.hstack([F[:, :2], F[:, :1], 0.0 * F])),
        hessian_bounds=None,
    )
    found = stationary_low_rank(process)
    assert found.basis.shape[1] <= 3
    assert error(found, process) <= found.error_bound


def test_columns_are_leading_eigenvectors_of_the_covariance() -> None:
    process = problem("heavy ball")
    found = stationary_low_rank(process, rtol=1e-8)
    values, vectors = np.linalg.eigh(exact(process))
    np.testing.assert_allclose(found.variances[:5], values[:-6:-1], atol=found.error_bound)
    assert np.all(np.diff(found.variances) <= 0.0)
    overlap = np.abs(np.einsum("ij,ij->j", found.basis[:, :3], vectors[:, :-4:-1]))
    np.testing.assert_allclose(overlap, 1.0, atol=1e-5)
    np.testing.assert_allclose(found.along(vectors[:, -1]), values[-1], rtol=1e-7)


def test_process_with_a_turning_drift_has_its_dense_covariance() -> None:
    process = LowRankOU(
        basis=np.eye(6)[:, 1:3],
        drift=[[1.0, 0.5], [-0.5, 0.4]],
        noise=[[1.0, 0.2], [0.2, 0.3]],
        rest_drift=0.5,
        rest_noise=0.1,
    )
    found = stationary_low_rank(process)
    expected = stationary_covariance(process.dense()).matrix
    assert np.linalg.norm(found @ np.eye(6) - expected, 2) <= found.error_bound
    assert found.error_bound < 1e-10


def test_no_noise_no_covariance() -> None:
    process = problem("map", gradient_noise=LowRankPlusDiagonal(factor=np.zeros((80, 2))))
    found = stationary_low_rank(process)
    assert found.basis.shape == (80, 0)
    assert not (found @ IDENTITY).any()


@pytest.mark.parametrize("noise", ["products", "factor and diagonal"])
def test_refuses_noise_of_full_rank(noise: str) -> None:
    with pytest.raises(UnsupportedError, match="without a diagonal"):
        stationary_low_rank(problem("map", noise))


def test_refuses_dense_problems() -> None:
    with pytest.raises(InputError, match="stationary_covariance"):
        stationary_low_rank(problem("map").dense())

"""The block of leading eigenvectors, against dense solvers."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from fracsde.errors import ComputationError, InputError, OutOfRangeError, UnstableError
from fracsde.problems.matrix_free import MatrixFreeOU, MatrixFreeSGD
from fracsde.problems.products import LowRankPlusDiagonal
from fracsde.stationary_large import block as module
from fracsde.stationary_large import stationary_leading_block
from fracsde.status import Status
from tests.support.large import LAWS, NOISES, curvature, exact, problem


def error(found, process) -> float:
    inner = found.vectors.T @ exact(process) @ found.vectors
    return float(np.linalg.norm(found.matrix - inner, 2))


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("law", LAWS)
def test_block_equals_the_dense_one_within_its_bound(law: str, noise: str) -> None:
    process = problem(law, noise)
    found = stationary_leading_block(process, 6)
    assert found.status is Status.SUCCESS
    assert found.certain
    assert error(found, process) <= found.error_bound
    assert found.error_bound <= 1e-6 * np.linalg.norm(found.matrix, 2)
    values = np.linalg.eigvalsh(curvature(process))
    np.testing.assert_allclose(found.curvatures, values[:-7:-1], rtol=1e-9)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("loose", [1e-1, 1e-2, 1e-3])
def test_bound_holds_for_poor_eigenvectors(law: str, loose: float, monkeypatch) -> None:
    right = module._iterated
    rng = np.random.default_rng(7)

    def poor(*arguments):
        theta, U, made = right(*arguments)
        U = np.linalg.qr(U + loose * rng.normal(size=U.shape) / 80**0.5)[0]
        A = arguments[0].A
        theta, V = np.linalg.eigh(U.T @ (A @ U))
        return theta[::-1].copy(), U @ V[:, ::-1], made

    monkeypatch.setattr(module, "_iterated", poor)
    for noise in ("factor", "products"):
        process = problem(law, noise)
        found = stationary_leading_block(process, 6, throw=False)
        assert found.residual > 1e-4 * loose
        assert error(found, process) <= found.error_bound


@pytest.mark.twin
def test_bound_without_the_residual_fails_for_poor_eigenvectors(monkeypatch) -> None:
    right, whole = module._iterated, module._bound
    noise = 1e-2 * np.random.default_rng(7).normal(size=(80, 6)) / 80**0.5

    def poor(*arguments):
        theta, U, made = right(*arguments)
        return theta, np.linalg.qr(U + noise)[0], made

    monkeypatch.setattr(module, "_iterated", poor)
    monkeypatch.setattr(module, "_bound", lambda *given: whole(*given[:-1], 1e-10))
    process = problem("map", "products")
    found = stationary_leading_block(process, 6)
    assert error(found, process) > found.error_bound


@pytest.mark.parametrize("law", LAWS)
def test_without_a_known_floor_the_bound_holds_to_first_order(law: str) -> None:
    process = problem(law, "products", bounded=False)
    found = stationary_leading_block(process, 6)
    assert not found.certain
    assert error(found, process) <= found.error_bound


def test_flat_directions_elsewhere_do_not_matter() -> None:
    H = np.diag(np.append(np.linspace(1.0, 0.5, 40), np.zeros(40)))
    found = stationary_leading_block(problem("map", hessian=H, hessian_bounds=None), 3)
    noise = problem("map").gradient_noise @ np.eye(80)
    a = np.diag(H)[:3]
    expected = 0.09 / 4 * noise[:3, :3] / (0.3 * np.add.outer(a, a) - 0.09 * np.outer(a, a))
    signs = np.sign(np.diag(found.vectors[:3]))
    np.testing.assert_allclose(found.matrix, expected * np.outer(signs, signs), rtol=1e-9)


def test_vectors_of_a_factor_are_found_without_iteration() -> None:
    rng = np.random.default_rng(3)
    factor = rng.normal(size=(80, 8)) / 12.0
    process = problem(
        "heavy ball",
        "products",
        hessian=LowRankPlusDiagonal(factor=factor, diagonal=0.1),
        hessian_bounds=None,
    )
    found = stationary_leading_block(process, 6)
    assert found.products == 6  # those of the residual
    assert error(found, process) <= found.error_bound
    iterated = stationary_leading_block(process, 10)  # beyond the factor
    assert iterated.products > 10
    np.testing.assert_allclose(iterated.curvatures[:6], found.curvatures, rtol=1e-10)


def test_memory_limits_the_vectors_kept() -> None:
    process = problem("map", d=200)
    found = stationary_leading_block(process, 6, memory=8.0 * 200 * 50)
    assert found.held_bytes <= 8 * 200 * 50
    assert error(found, process) <= found.error_bound


def test_progress_is_told() -> None:
    told = []
    stationary_leading_block(problem("map"), 6, progress=lambda *what: told.append(what[0]))
    assert told[0] == 16


@pytest.mark.parametrize(
    ("count", "changes", "kind", "words"),
    [
        (0, {}, OutOfRangeError, "count"),
        (40, {}, OutOfRangeError, "count"),
        (2.5, {}, InputError, "count"),
        (3, {"memory": 1e3}, OutOfRangeError, "must be at least"),
    ],
)
def test_refuses_what_makes_no_sense(count, changes, kind, words) -> None:
    with pytest.raises(kind, match=words):
        stationary_leading_block(problem("map"), count, **changes)


def test_refuses_more_directions_than_have_curvature() -> None:
    H = np.diag(np.append([1.0, 0.5], np.zeros(78)))
    process = MatrixFreeOU(drift=H, noise=np.eye(80))
    with pytest.raises(UnstableError, match="ask for fewer"):
        stationary_leading_block(process, 5)
    assert stationary_leading_block(process, 2).matrix.diagonal() == pytest.approx([0.5, 1.0])


def test_smallest_problem_has_a_block() -> None:
    found = stationary_leading_block(MatrixFreeOU(drift=[[2.0]], noise=[[3.0]]), 1)
    assert found.matrix[0, 0] == pytest.approx(0.75, rel=1e-14)


def test_refuses_no_curvature_and_says_when_no_direction_stands_out(monkeypatch) -> None:
    nothing = MatrixFreeOU(drift=lambda x: 0.0 * x, noise=np.eye(80))
    with pytest.raises(UnstableError, match="nothing pulls"):
        stationary_leading_block(nothing, 2)
    monkeypatch.setattr(module, "_RESTARTS", 1)
    with pytest.raises(ComputationError, match="do not stand out"):
        stationary_leading_block(problem("map", d=300, condition=1.1, hessian_bounds=None), 2)


def test_refuses_dense_problems_and_raises_what_the_status_says(monkeypatch) -> None:
    with pytest.raises(InputError, match="stationary_covariance"):
        stationary_leading_block(problem("map").dense(), 2)
    process = replace(problem("map"), hessian_bounds=(1e-13, 1.0))
    monkeypatch.setattr(module, "_bound", lambda *given: 1.0)
    with pytest.raises(ComputationError, match="The bound is 1"):
        stationary_leading_block(process, 2)


def test_memory_held_is_that_of_the_road_taken() -> None:
    """Beside a factor no eigensolver runs; both figures hold for the memory that is traced."""
    d, rank, k = 20_000, 6, 4
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(d, rank)) * np.sqrt(np.arange(1.0, rank + 1.0) / d)
    noise = LowRankPlusDiagonal(factor=rng.normal(size=(d, 1)))
    for rest, expected in ((0.1, rank + k + 16), (np.linspace(0.0, 0.1, d), 2 * 20 + k + 16)):
        process = MatrixFreeSGD(
            hessian=LowRankPlusDiagonal(factor=factor, diagonal=rest),
            gradient_noise=noise,
            learning_rate=0.1,
            batch_size=1,
            weight_decay=0.1,
        )
        stationary_leading_block(process, k, rtol=1e-4)  # what is imported on the way is no part
        tracemalloc.start()
        found = stationary_leading_block(process, k, rtol=1e-4)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found.held_bytes == 8 * d * expected
        assert 0.4 * found.held_bytes < peak < 1.1 * found.held_bytes

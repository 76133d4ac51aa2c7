"""Large positive definite equations without eigenvectors: as exact as with them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from fracsde.lyapunov import blas, solve_lyapunov, tridiagonal_equation
from fracsde.lyapunov.alternating import alternating, alternating_reference, shifted_solves
from fracsde.lyapunov.lowrank import poles
from fracsde.lyapunov.rounding import EPS
from fracsde.lyapunov.tridiagonal import LEAST, reduced, solution
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.stationary import stationary_covariance

N = LEAST + 5


def turned(values: np.ndarray, seed: int) -> np.ndarray:
    V = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values), len(values))))[0]
    A = (V * values) @ V.T
    return 0.5 * (A + A.T)


def residual(A: np.ndarray, Q: np.ndarray, S: np.ndarray) -> float:
    scale = 2.0 * np.linalg.norm(A, 2) * np.linalg.norm(S) + np.linalg.norm(Q)
    return float(np.linalg.norm(A @ S + S @ A - Q) / scale)


def drifts(seed: int) -> dict[str, np.ndarray]:
    # Spread, clustered, graded, split and already tridiagonal spectra.
    one = np.eye(N)
    noise = np.random.default_rng(seed).normal(size=(N, N))
    line = np.linspace(1.0, 2.0, N)
    crumbs = np.diag(4e-16 * noise[1, 1:] * (noise[2, 1:] > 0.0), 1)  # bisection gives up on them
    return {
        "spread": turned(np.geomspace(1e-4, 1.0, N), seed),
        "nearly singular": turned(np.geomspace(1e-10, 1.0, N), seed),
        "even and nearly singular": turned(np.linspace(1e-9, 1.0, N), seed),
        "half nearly singular": turned(
            np.where(np.arange(N) < N // 2, 1e-10, np.linspace(0.1, 1.0, N)), seed
        ),
        "two levels": turned(np.where(np.arange(N) < N // 2, 1e-6, 1.0), seed),
        "all equal to rounding": one
        + np.diag(2.2e-16 * np.round(3.0 * noise[0]))
        + crumbs
        + crumbs.T,
        "cluster": one + 1e-9 * (noise + noise.T),
        "few directions": 1e-6 * one + noise[:, :3] @ noise[:, :3].T / N,
        "identity": one,
        "graded diagonal": np.diag(np.geomspace(1e-9, 1.0, N)),
        "chain": 2.0 * one - np.eye(N, k=1) - np.eye(N, k=-1),
        "positive chain": np.diag(line + 2.0) + np.eye(N, k=1) + np.eye(N, k=-1),
        "uncoupled halves": np.kron(np.eye((N + 1) // 2), [[2.0, 1.0], [1.0, 2.0]])[:N, :N],
    }


def noises(seed: int) -> dict[str, np.ndarray]:
    B = np.random.default_rng(seed + 1).normal(size=(N, N))
    return {
        "full": B @ B.T / N,
        "one direction": np.outer(B[0], B[0]),
        "nearly singular": (B * np.geomspace(1e-9, 1.0, N)) @ B.T,
        "indefinite": B + B.T,
        "one entry": np.diag((np.arange(N) == 3) * 1.0),
    }


@pytest.mark.parametrize("drift", drifts(0))
def test_exact_whatever_the_spectrum_and_the_noise(drift: str, seed: int) -> None:
    A = drifts(seed)[drift]
    form = reduced(A)
    for name, Q in noises(seed).items():
        S = solution(form, Q)
        np.testing.assert_array_equal(S, S.T)
        assert residual(A, Q, S) < 5e-15, name


@pytest.mark.parametrize("drift", ["spread", "chain", "all equal to rounding"])
def test_extreme_eigenvalues_are_the_same_where_bisection_gives_up(
    drift: str, seed: int, monkeypatch
) -> None:
    A = drifts(seed)[drift]
    values = np.linalg.eigvalsh(A)
    usual, every = reduced(A), scipy.linalg.eigvalsh_tridiagonal

    def giving_up(*band, select="a", **options):
        if select == "i":
            raise np.linalg.LinAlgError
        return every(*band, **options)

    monkeypatch.setattr("scipy.linalg.eigvalsh_tridiagonal", giving_up)
    for form in (usual, reduced(A)):
        assert abs(form.low - values[0]) + abs(form.high - values[-1]) < 2e-14 * values[-1]


@pytest.mark.parametrize("drift", ["spread", "nearly singular", "chain", "few directions"])
def test_routes_agree_with_the_eigenvectors_within_their_error_estimates(drift, seed: int) -> None:
    A = drifts(seed)[drift]
    for Q in noises(seed).values():
        short, eigen = solve_lyapunov(A, Q), solve_lyapunov(A, Q, method="eigen")
        assert (short.method, eigen.method) == ("tridiagonal", "eigen")
        gap = np.linalg.norm(short.matrix - eigen.matrix, 2)
        assert gap < short.error_estimate + eigen.error_estimate
        assert short.residual < 2.0 * eigen.residual + 1e-15


@pytest.mark.twin
def test_residual_sees_images_of_the_cuts_after_too_few_steps(seed: int, monkeypatch) -> None:
    A, Q = drifts(seed)["spread"], noises(seed)["full"]
    form = reduced(A)
    monkeypatch.setattr(
        "fracsde.lyapunov.tridiagonal_equation.poles",
        lambda low, high, border, count: poles(low, high, border, count // 4),
    )
    assert residual(A, Q, solution(form, Q)) > 1e-12


@pytest.mark.twin
def test_residual_sees_images_of_the_cuts_with_a_step_of_the_wrong_sign(
    seed: int, monkeypatch
) -> None:
    def damaged(d, e, shifts, columns, weights):
        left, right = alternating(d, e, shifts, columns, weights)
        return -left, right

    A, Q = drifts(seed)["chain"], noises(seed)["full"]
    monkeypatch.setattr("fracsde.lyapunov.tridiagonal_equation.alternating", damaged)
    assert residual(A, Q, solution(reduced(A), Q)) > 1e-6


@pytest.mark.parametrize("drift", ["spread", "chain", "two levels", "nearly singular"])
def test_images_of_the_cuts_are_those_of_the_solution(drift: str, seed: int, monkeypatch) -> None:
    # Z in T Z + Z T = X solves the equation of D with the pairs of its own images.
    form, usual, seen = reduced(drifts(seed)[drift]), tridiagonal_equation._add_pairs, []

    def watched(block, pairs, right):
        seen.append(pairs)
        return usual(block, pairs, right)

    monkeypatch.setattr(tridiagonal_equation, "_add_pairs", watched)
    X = np.asfortranarray(noises(seed)["full"])
    band = form.diagonal, form.beside, form.low, form.high
    tridiagonal_equation.solve_tridiagonal(*band, X)
    solved = np.tril(X) + np.tril(X, -1).T
    images, across = np.split(seen[0], 2, axis=1)
    cuts = np.argmax(across != 0.0, axis=0) + 1
    weights = np.abs(form.beside[cuts - 1])
    gap = np.linalg.norm(images - weights * (solved @ across))
    assert len(seen) == len(cuts) + 1 >= 4
    assert gap < 40.0 * EPS * weights.max() * np.linalg.norm(solved)


@pytest.mark.parametrize("factor", [-1.0, 1.0 + 1e-6])
@pytest.mark.twin
def test_residual_sees_a_wrong_image_of_one_cut(factor: float, seed: int, monkeypatch) -> None:
    usual = tridiagonal_equation._add_pairs

    def damaged(block, pairs, right):
        factors = np.ones(pairs.shape[1])
        factors[0] = factor
        return usual(block, pairs * factors, right)

    monkeypatch.setattr(tridiagonal_equation, "_add_pairs", damaged)
    A, Q = drifts(seed)["spread"], noises(seed)["full"]
    assert residual(A, Q, solution(reduced(A), Q)) > 1e-12


@pytest.mark.twin
def test_residual_sees_errors_of_the_images_that_are_left(seed: int, monkeypatch) -> None:
    A, Q = drifts(seed)["even and nearly singular"], noises(seed)["full"]
    monkeypatch.setattr("fracsde.lyapunov.tridiagonal_equation.EPS", 1e-12)
    assert residual(A, Q, solution(reduced(A), Q)) > 5e-15


def test_matrices_that_are_not_clearly_positive_keep_their_eigenvectors(seed: int) -> None:
    values = np.geomspace(1e-4, 1.0, N)
    for first in (-0.5, -1e-15, 1e-15):
        values[0] = first
        A = turned(values, seed)
        assert reduced(A) is None
        found = solve_lyapunov(A, np.eye(N))
        assert found.method == "eigen"
        assert residual(A, np.eye(N), found.matrix) < 5e-15
    assert reduced(turned(np.ones(LEAST - 1), seed)) is None


def test_without_the_routines_of_blas_eigenvectors_are_used(seed: int, monkeypatch) -> None:
    assert blas.AVAILABLE
    assert blas._routine("dsymm", "cc") is None
    assert blas._routine("no such routine", "cc") is None
    monkeypatch.setattr("fracsde.lyapunov.tridiagonal.AVAILABLE", False)
    assert solve_lyapunov(drifts(seed)["spread"], np.eye(N)).method == "eigen"


@pytest.mark.parametrize("rate", [1e-200, 1.0, 1e200])
@pytest.mark.parametrize("size", [1e-150, 1e100])
def test_units_change_no_more_than_rounding(rate: float, size: float, seed: int) -> None:
    A, Q = drifts(seed)["spread"], noises(seed)["full"]
    if not 1e-290 < size / rate < 1e290:
        return
    found, expected = solve_lyapunov(rate * A, size * Q), solve_lyapunov(A, Q)
    gap = np.linalg.norm(found.matrix / (size / rate) - expected.matrix, 2)
    assert gap < 2.0 * expected.error_estimate
    assert found.method == "tridiagonal"


def test_stationary_covariance_of_a_large_flow_is_the_same_law(seed: int) -> None:
    A, Q = drifts(seed)["spread"], noises(seed)["full"]
    short = stationary_covariance(OUProcess(drift=A, noise=Q))
    eigen = stationary_covariance(OUProcess(drift=A, noise=Q), method="eigen")
    assert (short.method, eigen.method) == ("tridiagonal", "eigen")
    gap = np.linalg.norm(short.state_matrix - eigen.state_matrix, 2)
    assert gap < short.error_estimate + eigen.error_estimate


def test_keeps_arguments_and_symmetry_up_to_rounding_of_the_matrix(seed: int) -> None:
    A, Q = drifts(seed)["spread"], noises(seed)["full"]
    bent = A + 1e-17 * np.triu(np.ones((N, N)))  # as a product may be
    kept = bent.copy(), Q.copy()
    found = solve_lyapunov(bent, Q)
    np.testing.assert_array_equal(bent, kept[0])
    np.testing.assert_array_equal(Q, kept[1])
    assert found.method == "tridiagonal"
    assert residual(A, Q, found.matrix) < 5e-15


@pytest.mark.parametrize(("n", "k", "J"), [(2, 1, 3), (7, 3, 5), (300, 2, 40)])
def test_engine_of_alternating_directions_equals_its_reference(n, k, J, seed: int) -> None:
    rng = np.random.default_rng(seed)
    diagonal, beside = 2.0 + rng.random(n), rng.uniform(-1.0, 1.0, n - 1)
    shifts, columns, weights = rng.uniform(0.5, 4.0, J), rng.normal(size=(n, 2 * k)), rng.random(k)
    if n > 2:
        columns[2:, :k] = 0.0  # which decay to nothing
    found = alternating(diagonal, beside, shifts, columns, weights)
    expected = alternating_reference(diagonal, beside, shifts, columns, weights)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-13)
        smallest = np.abs(one[one != 0.0]).min()
        assert smallest > 1e-153


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 5), (67, 33)])
def test_engine_of_shifted_tridiagonal_systems_equals_dense_solves(n, m, seed: int) -> None:
    rng = np.random.default_rng(seed)
    diagonal, beside, shifts = 2.0 + rng.random(n), rng.uniform(-1.0, 1.0, n - 1), rng.random(m)
    T, columns = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1), rng.random((n, m))
    expected = [
        np.linalg.solve(T + p * np.eye(n), f) for p, f in zip(shifts, columns.T, strict=True)
    ]
    shifted_solves(diagonal, beside, shifts, columns)
    np.testing.assert_allclose(columns.T, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("m", "b"), [(1, 1), (5, 2), (70, 64)])
def test_products_in_place_equal_plain_ones_on_parts_of_a_matrix(m, b, seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = np.asfortranarray(rng.normal(size=(m + 9, m + 9)))
    X = whole[4 : 4 + m, 4 : 4 + m]
    even = np.tril(X) + np.tril(X, -1).T
    V, W = (np.asfortranarray(rng.normal(size=(m, b))) for _ in range(2))
    np.testing.assert_allclose(blas.symmetric_times(X, V), even @ V, rtol=0, atol=1e-12)
    for left, right in [(W, V), (np.ascontiguousarray(W), np.ascontiguousarray(V))]:
        before = whole.copy()
        blas.add_pairs(X, left, right, -0.5)
        expected = before.copy()
        part = expected[4 : 4 + m, 4 : 4 + m]
        part -= np.tril(0.5 * (W @ V.T + V @ W.T))
        np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-12)
    blas.mirror_lower(X)
    np.testing.assert_array_equal(X, np.tril(X) + np.tril(X, -1).T)
    left = whole[4 : 4 + m, :4]
    for G in (np.asfortranarray(rng.normal(size=(b, 4))), rng.normal(size=(b, 4))):
        expected = left - V @ G
        blas.subtract_product(left, V, G)
        np.testing.assert_allclose(left, expected, rtol=0, atol=1e-12)

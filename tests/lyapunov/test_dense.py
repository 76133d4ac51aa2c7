"""Lyapunov and Stein equations: residuals at rounding, exact small cases, bounds on the error."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from fracsde.errors import ComputationError, NotSymmetricError, ShapeError
from fracsde.lyapunov import solve_lyapunov, solve_stein
from fracsde.lyapunov.dense import decompose
from fracsde.status import Status
from tests.support import damage

ROUNDING = 1e-14


def random_stable(
    n: int, seed: int, *, discrete: bool, even: bool
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, n)) / np.sqrt(n)
    A = 0.5 * (A + A.T) if even else A
    values = np.linalg.eigvals(A)
    if discrete:
        A = A * (0.95 / np.abs(values).max())
    else:
        A = A + (0.05 - values.real.min()) * np.eye(n)
    B = rng.normal(size=(n, max(1, n - 1)))
    return A, B @ B.T


def residual(A: np.ndarray, Q: np.ndarray, S: np.ndarray, *, discrete: bool) -> float:
    gap = A @ S @ A.T + Q - S if discrete else A @ S + S @ A.T - Q
    scale = np.linalg.norm(Q) + np.linalg.norm(S) * (
        1 + np.linalg.norm(A, 2) ** 2 if discrete else 2 * np.linalg.norm(A, 2)
    )
    return float(np.linalg.norm(gap) / scale)


@pytest.mark.parametrize("n", [1, 2, 5, 33, 70])
@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("discrete", [True, False])
def test_exact_equation_holds_to_rounding(n: int, even: bool, discrete: bool, seed: int) -> None:
    A, Q = random_stable(n, seed, discrete=discrete, even=even)
    solution = (solve_stein if discrete else solve_lyapunov)(A, Q)
    assert solution.method == ("eigen" if even or n == 1 else "bartels_stewart")
    assert residual(A, Q, solution.matrix, discrete=discrete) < ROUNDING
    assert solution.residual == pytest.approx(
        residual(A, Q, solution.matrix, discrete=discrete), rel=1, abs=1e-16
    )
    np.testing.assert_array_equal(solution.matrix, solution.matrix.T)


@pytest.mark.twin
@pytest.mark.parametrize("discrete", [True, False])
def test_residual_rejects_the_solution_of_the_transposed_equation(
    discrete: bool, seed: int
) -> None:
    A, Q = random_stable(5, seed, discrete=discrete, even=False)
    S = (solve_stein if discrete else solve_lyapunov)(damage.transposed(A), Q).matrix
    assert residual(A, Q, S, discrete=discrete) > 1e-3


@pytest.mark.parametrize("discrete", [True, False])
def test_routes_agree_eigen_and_schur_and_scipy(discrete: bool, seed: int) -> None:
    A, Q = random_stable(12, seed, discrete=discrete, even=True)
    solve = solve_stein if discrete else solve_lyapunov
    eigen, schur = solve(A, Q, method="eigen"), solve(A, Q, method="bartels_stewart")
    other = (
        scipy.linalg.solve_discrete_lyapunov(A, Q, method="direct")
        if discrete
        else scipy.linalg.solve_continuous_lyapunov(A, Q)
    )
    size = np.linalg.norm(other, 2)
    assert np.linalg.norm(eigen.matrix - schur.matrix, 2) < (
        eigen.error_estimate + schur.error_estimate
    )
    np.testing.assert_allclose(eigen.matrix, other, rtol=0, atol=1e-12 * size)


def jordan(value: float, n: int) -> np.ndarray:
    return value * np.eye(n) + np.eye(n, k=1)


def test_exact_on_a_jordan_block_of_a_drift() -> None:
    # A = [[1, 1], [0, 1]], Q = I: from the last entry up, by hand.
    solution = solve_lyapunov(jordan(1.0, 2), np.eye(2))
    np.testing.assert_allclose(solution.matrix, [[0.75, -0.25], [-0.25, 0.5]], atol=1e-15)


def test_defective_matrices_in_any_basis_have_a_residual_at_rounding(seed: int) -> None:
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))[0]
    for value, solve in [(0.5, solve_lyapunov), (0.4, solve_stein)]:
        plain = solve(jordan(value, 6), np.eye(6))
        turned = solve(rotation @ jordan(value, 6) @ rotation.T, np.eye(6))
        assert max(plain.residual, turned.residual) < 1e-14
        gap = np.linalg.norm(rotation @ plain.matrix @ rotation.T - turned.matrix, 2)
        # The product above makes a matrix that differs from the block by a few roundings.
        assert gap < 50 * (plain.error_estimate + turned.error_estimate)


@pytest.mark.parametrize("near", [1e-3, 1e-6, 1e-9, 1e-12])
def test_stein_keeps_its_digits_as_an_eigenvalue_nears_minus_one(near: float) -> None:
    # Triangular, so that the first entry follows by substitution.
    T, Q = np.array([[near - 1.0, 0.25], [0.0, 0.5]]), np.eye(2)
    solution = solve_stein(T, Q)
    low = 4.0 / 3.0
    off = T[0, 1] * T[1, 1] * low / (1.0 - T[0, 0] * T[1, 1])
    gap = (1.0 - T[0, 0]) * (1.0 + T[0, 0])
    first = (T[0, 1] ** 2 * low + 2.0 * T[0, 0] * T[0, 1] * off + 1.0) / gap
    assert solution.residual < 1e-15
    np.testing.assert_allclose(solution.matrix, [[first, off], [off, low]], rtol=1e-15 / near)


@pytest.mark.parametrize("rate", [1e-2, 1e-6, 1e-10])
def test_symmetric_map_close_to_the_identity_loses_nothing_but_the_rounding_of_the_map(
    rate: float,
) -> None:
    curvature = np.diag([1.0, 0.5])
    T = np.eye(2) - rate * curvature
    pull = 1.0 - np.diag(T)  # what the rounded map really pulls
    expected = 1.0 / (pull * (2.0 - pull))
    found = np.diag(solve_stein(T, np.eye(2)).matrix)
    np.testing.assert_allclose(found, expected, rtol=1e-15)


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("even", [True, False])
def test_error_estimate_bounds_the_error_and_is_not_idle(
    discrete: bool, even: bool, seed: int
) -> None:
    import mpmath

    A, Q = random_stable(4, seed, discrete=discrete, even=even)
    A = A + (np.diag([-0.0499999, 0, 0, 0]) if even and not discrete else 0.0)
    solution = (solve_stein if discrete else solve_lyapunov)(A, Q)
    with mpmath.workdps(40):
        a, one = mpmath.matrix(A.tolist()), mpmath.eye(4)

        def kron(x, y):
            return mpmath.matrix(16, 16) + mpmath.matrix(
                [[x[i // 4, j // 4] * y[i % 4, j % 4] for j in range(16)] for i in range(16)]
            )

        operator = kron(one, one) - kron(a, a) if discrete else kron(a, one) + kron(one, a)
        exact = mpmath.lu_solve(operator, mpmath.matrix(Q.ravel().tolist()))
        gap = np.array([float(solution.matrix.ravel()[i] - exact[i]) for i in range(16)])
    error = np.linalg.norm(gap.reshape(4, 4), 2)
    assert error <= solution.error_estimate
    assert solution.error_estimate < 1e-6 * np.linalg.norm(solution.matrix, 2)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 8), seed=st.integers(0, 2**31), discrete=st.booleans(), even=st.booleans())
def test_keeps_symmetry_semidefiniteness_and_arguments(n, seed, discrete, even) -> None:
    A, Q = random_stable(n, seed, discrete=discrete, even=even)
    kept = A.copy(), Q.copy()
    solution = (solve_stein if discrete else solve_lyapunov)(A, Q)
    np.testing.assert_array_equal(A, kept[0])
    np.testing.assert_array_equal(Q, kept[1])
    np.testing.assert_array_equal(solution.matrix, solution.matrix.T)
    assert np.linalg.eigvalsh(solution.matrix)[0] >= -solution.error_estimate


def test_complex_eigenvalues_of_a_drift_are_read_off_the_schur_form() -> None:
    A = np.array([[1.0, 4.0, 0.3], [-2.0, 1.5, 0.1], [0.0, 0.7, 3.0]])
    found = decompose(A, discrete=False).eigenvalues
    expected = np.linalg.eigvals(A)
    np.testing.assert_allclose(np.sort_complex(found), np.sort_complex(expected), atol=1e-13)


def test_refuses_eigen_for_a_nonsymmetric_matrix() -> None:
    with pytest.raises(NotSymmetricError, match="use method='auto' or 'bartels_stewart'"):
        solve_lyapunov([[1.0, 1.0], [0.0, 1.0]], np.eye(2), method="eigen")


def test_refuses_sizes_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="`Q` must be 2 x 2"):
        solve_lyapunov(np.eye(2), np.eye(3))


@pytest.mark.parametrize(
    "call",
    [
        lambda: solve_lyapunov(np.diag([1.0, -1.0]), np.eye(2)),
        lambda: solve_lyapunov([[0.0, 1.0], [0.0, 0.0]], np.eye(2)),
        lambda: solve_stein(np.diag([2.0, 0.5]), np.eye(2)),
        lambda: solve_stein([[1.0, 1.0], [0.0, 1.0]], np.eye(2)),
    ],
)
def test_refuses_a_singular_equation(call) -> None:
    with pytest.raises(ComputationError, match="no unique solution") as caught:
        call()
    assert caught.value.status is Status.MARGINAL


def test_unstable_equation_is_solved_without_a_bound_on_its_error() -> None:
    solution = solve_lyapunov(np.diag([1.0, -3.0]), np.eye(2))
    np.testing.assert_allclose(np.diag(solution.matrix), [0.5, -1.0 / 6.0])
    assert solution.error_estimate == float("inf")


@pytest.mark.parametrize("rate", [1e-300, 1e-160, 1.0, 1e150, 1e300])
@pytest.mark.parametrize("size", [1e-300, 1e150, 1e300])
def test_units_change_no_digit(rate: float, size: float) -> None:
    A, Q = np.array([[1.0, 0.5], [0.0, 2.0]]), np.array([[1.0, 0.2], [0.2, 3.0]])
    if not 1e-300 < size / rate < 1e300:
        return
    solution = solve_lyapunov(rate * A, size * Q)
    expected = solve_lyapunov(A, Q)
    np.testing.assert_allclose(solution.matrix / (size / rate), expected.matrix, rtol=1e-14)
    assert 0.0 < solution.error_estimate / (size / rate) < 10.0 * expected.error_estimate
    stein = solve_stein(0.3 * A, size * Q)
    np.testing.assert_allclose(stein.matrix / size, solve_stein(0.3 * A, Q).matrix, rtol=1e-14)


def test_overflow_is_an_error_and_not_a_matrix() -> None:
    with pytest.raises(ComputationError, match="Rescale"):
        solve_lyapunov(1e-200 * np.eye(2), 1e200 * np.eye(2))

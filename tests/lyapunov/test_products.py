"""Products with symmetric results equal plain ones; probed defects have the size of formed ones."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde._check import asymmetry
from fracsde._symmetry import averaged
from fracsde.lyapunov.dense import solve_lyapunov, solve_stein
from fracsde.lyapunov.products import PROBED_FROM, congruent, defect_norm


@pytest.mark.parametrize("n", [0, 1, 128, 129, 300])
def test_exact_mean_with_the_transpose_is_symmetric_and_new(n: int, seed: int) -> None:
    A = np.random.default_rng(seed).normal(size=(n, n))
    before, mean = A.copy(), averaged(A, asymmetry(A))
    np.testing.assert_array_equal(mean, 0.5 * (A + A.T))
    np.testing.assert_array_equal(mean, mean.T)
    np.testing.assert_array_equal(A, before)
    assert not np.shares_memory(A, mean)


@pytest.mark.parametrize("n", [1, 2, 127, 128, 300])
def test_exact_congruent_equals_the_plain_product_and_is_symmetric(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    U, X = rng.normal(size=(2, n, n))
    X = X + X.T
    for turn in (U, U.T, U[: n // 2 + 1]):
        found = congruent(turn, X)
        expected = turn @ X @ turn.T
        np.testing.assert_array_equal(found, found.T)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14 * n**1.5)


@pytest.mark.twin
def test_congruent_is_wrong_for_a_matrix_that_is_not_symmetric(seed: int) -> None:
    U, X = np.random.default_rng(seed).normal(size=(2, 40, 40))
    assert np.abs(congruent(U, X) - U @ X @ U.T).max() > 1.0


@pytest.mark.parametrize("n", [1, 5, 128, 131, 300])
def test_asymmetry_finds_the_largest_difference_wherever_it_is(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    array = rng.normal(size=(n, n))
    array = array + array.T
    assert asymmetry(array) == 0.0
    for _ in range(20):
        i, j = rng.integers(n, size=2)
        bent = array.copy()
        bent[i, j] += 0.5
        assert asymmetry(bent) == np.abs(bent - bent.T).max()


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("rank", [1, 3, 300])
def test_probed_defect_has_the_size_of_the_formed_one(discrete, rank, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = PROBED_FROM + 44
    A, B = rng.normal(size=(n, n)) / n, rng.normal(size=(n, rank))
    S = rng.normal(size=(n, n)) / n
    S = S + S.T
    for scale in (1e-9, 1.0):
        # The equation holds but for scale * B B^T.
        Q = (S - A @ S @ A.T if discrete else A @ S + S @ A.T) + scale * B @ B.T
        norm, bound = defect_norm(A, Q, S, discrete=discrete)
        exact = scale * np.linalg.norm(B @ B.T)
        assert bound >= exact
        # A mean of 32 squares of one normal, at worst, strays by a quarter for each sigma.
        assert 0.3 * exact < norm < 2.0 * exact


@pytest.mark.twin
def test_probed_defect_sees_one_wrong_entry(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = PROBED_FROM
    S = np.eye(n)
    Q = 2.0 * np.eye(n)
    i, j = rng.integers(n, size=2)
    Q[i, j] += 1e-8
    assert defect_norm(np.eye(n), 2.0 * np.eye(n), S, discrete=False)[1] == 0.0
    assert defect_norm(np.eye(n), Q, S, discrete=False)[1] > 1e-8


@pytest.mark.parametrize("solve", [solve_lyapunov, solve_stein])
def test_exact_solution_of_a_large_symmetric_equation(solve, seed: int) -> None:
    # Condition 10**4: the solution built first, then its equation.
    rng = np.random.default_rng(seed)
    n = PROBED_FROM + 10
    V = np.linalg.qr(rng.normal(size=(n, n)))[0]
    A = (V * np.geomspace(1e-4, 0.9, n)) @ V.T
    A, S = 0.5 * (A + A.T), rng.normal(size=(n, n))
    S = S @ S.T / n
    Q = S - A @ S @ A if solve is solve_stein else A @ S + S @ A
    found = solve(A, 0.5 * (Q + Q.T))
    assert found.residual < 3e-15
    assert np.linalg.norm(found.matrix - S, 2) < found.error_estimate < 1e-8

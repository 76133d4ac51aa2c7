"""Matrices known by products: what they equal, and which products the probe refuses."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from fracsde.errors import (
    InputError,
    NotFiniteError,
    NotSymmetricError,
    OutOfRangeError,
    ShapeError,
)
from fracsde.problems.products import LowRankPlusDiagonal, probed
from tests.support.exact import close

rng = np.random.default_rng(5)
FACTOR, WEIGHTS, DIAGONAL = (
    rng.normal(size=(30, 4)),
    np.array([1.0, -2.0, 0.5, 3.0]),
    rng.normal(size=30),
)
WRITTEN = np.diag(DIAGONAL) + (FACTOR * WEIGHTS) @ FACTOR.T
X = rng.normal(size=(30, 3))


def structured(**changes) -> LowRankPlusDiagonal:
    given = {"factor": FACTOR, "weights": WEIGHTS, "diagonal": DIAGONAL}
    return LowRankPlusDiagonal(**{**given, **changes})


def test_exact_low_rank_plus_diagonal_equals_the_matrix_written_down() -> None:
    M = structured()
    assert close(M @ X, WRITTEN @ X, units=200)
    assert close(M @ X[:, 0], WRITTEN @ X[:, 0], units=200)
    assert M.trace() == pytest.approx(np.trace(WRITTEN), rel=1e-13)
    scaled = M.scaled(-2.0, 0.7)
    assert close(scaled @ X, -2.0 * (WRITTEN + 0.7 * np.eye(30)) @ X, units=200)


def test_scaled_products_nest() -> None:
    M = probed("M", WRITTEN).scaled(2.0, 0.5).scaled(3.0, -1.0)
    expected = 3.0 * (2.0 * (WRITTEN + 0.5 * np.eye(30)) - np.eye(30))
    assert close(M @ X, expected @ X, units=300)


@pytest.mark.parametrize("diagonal", [DIAGONAL, 0.3])
@pytest.mark.parametrize("weights", [WEIGHTS, 2.0, -1.0])
def test_ends_enclose_the_spectrum_and_are_attained_where_isotropic(diagonal, weights) -> None:
    M = structured(diagonal=diagonal, weights=weights)
    values = np.linalg.eigvalsh(M @ np.eye(30))
    low, high = M.ends()
    assert low <= values[0] + 1e-12 * high + 1e-12
    assert high >= values[-1] - 1e-12
    if np.ndim(diagonal) == 0:
        assert (low, high) == pytest.approx((values[0], values[-1]), rel=1e-12)


def test_factor_that_is_read_only_is_kept_and_any_other_copied() -> None:
    own = FACTOR.copy()
    assert LowRankPlusDiagonal(factor=own).factor is not own
    own.flags.writeable = False
    assert LowRankPlusDiagonal(factor=own).factor is own


@pytest.mark.parametrize(
    "value",
    [
        WRITTEN,
        sp.csr_array(WRITTEN),
        aslinearoperator(WRITTEN),
        WRITTEN.tolist(),
        lambda x: WRITTEN @ x,
        lambda x: (WRITTEN @ x).astype(np.float32),
    ],
    ids=["array", "sparse", "operator", "list", "callable", "single precision"],
)
def test_every_kind_of_product_is_taken(value) -> None:
    M = probed("M", value, dimension=30)
    np.testing.assert_allclose(M @ X, WRITTEN @ X, atol=1e-4)
    np.testing.assert_allclose(M @ X[:, 0], WRITTEN @ X[:, 0], atol=1e-4)


def test_keeps_what_a_product_hands_out_though_its_memory_is_reused() -> None:
    shared = np.empty(30)

    def product(x):
        return np.matmul(WRITTEN, x, out=shared)

    M = probed("M", product, dimension=30)
    assert close(M @ X, WRITTEN @ X, units=200)


def test_factor_is_not_copied_where_it_cannot_change() -> None:
    given = np.arange(12.0).reshape(4, 3)
    M = LowRankPlusDiagonal(factor=given)
    assert not np.shares_memory(M.factor, given)  # the caller's may change
    scaled = M.scaled(2.0, shift=1.0)
    assert scaled.factor is M.factor
    np.testing.assert_array_equal(scaled @ np.ones(4), 2.0 * (M @ np.ones(4)) + 2.0)


def writes(x):
    x *= 2.0
    return x


calls = iter(range(10**6))
REFUSED = {
    "shape": (lambda x: x[:-1], ShapeError, "flatten"),
    "complex": (lambda x: x * 1j, InputError, "dtype complex128"),
    "object": (lambda x: x.astype(object), InputError, "dtype object"),
    "nothing": (lambda x: None, InputError, "dtype object"),
    "NaN": (lambda x: np.full_like(x, np.nan), NotFiniteError, "30 of 30 entries"),
    "not symmetric": (lambda x: np.triu(WRITTEN) @ x, NotSymmetricError, "detached"),
    "quadratic": (lambda x: WRITTEN @ x + 1e-3 * x**2, InputError, "must be linear"),
    "affine": (lambda x: WRITTEN @ x + 1e-3, InputError, "must be linear"),
    "homogeneous but not additive": (lambda x: np.abs(x), InputError, "must be linear"),
    "random": (lambda x: x * (1.0 + 1e-4 * next(calls)), InputError, "repeatable"),
    "writing": (writes, InputError, "leave its argument alone"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_a_product_that_is_not_a_symmetric_linear_map(case: str) -> None:
    product, error, words = REFUSED[case]
    with pytest.raises(error, match=words):
        probed("M", product, dimension=30)


def test_refuses_a_product_that_turns_bad_later() -> None:
    seen = []

    def product(x):
        seen.append(1)
        return x if len(seen) < 8 else np.full_like(x, np.inf)

    M = probed("M", product, dimension=30)
    M @ X[:, :2]
    with pytest.raises(NotFiniteError, match="look for overflow"):
        M @ X


@pytest.mark.parametrize(
    ("value", "dimension", "words"),
    [
        (lambda x: x, None, "`dimension` is needed"),
        (FACTOR, None, "LowRankPlusDiagonal"),
        (np.zeros((0, 0)), None, "square matrix"),
        (WRITTEN, 29, "must be 29 x 29"),
        (LowRankPlusDiagonal(factor=FACTOR), 29, "must be 29 x 29"),
    ],
)
def test_refuses_shapes_that_do_not_fit(value, dimension, words) -> None:
    with pytest.raises(ShapeError, match=words):
        probed("M", value, dimension=dimension)


@pytest.mark.parametrize("value", ["text", None, 3.0])
def test_refuses_what_is_no_matrix(value) -> None:
    with pytest.raises(InputError, match="`M` must"):
        probed("M", value, dimension=30)


@pytest.mark.parametrize(
    "changes",
    [{"factor": np.ones(3)}, {"weights": np.ones(3)}, {"diagonal": np.ones(29)}, {"factor": [[]]}],
)
def test_refuses_structure_that_does_not_fit(changes) -> None:
    with pytest.raises(ShapeError):
        structured(**changes)


def test_keeps_operators_that_take_one_vector_and_no_column() -> None:
    # SciPy hands columns on as matrices of one column: with them this product is an outer one.
    operator = LinearOperator((30, 30), matvec=lambda x: DIAGONAL * x, dtype=float)
    assert np.array_equal(probed("A", operator) @ X, DIAGONAL[:, None] * X)


@pytest.mark.parametrize("product", [lambda: 1.0, lambda x: DIAGONAL[:5] * x])
def test_refuses_products_that_raise_and_says_what_they_were_given(product) -> None:
    with pytest.raises(InputError, match=r"shape \(30,\), but raised"):
        probed("A", product, dimension=30)
    operator = LinearOperator((30, 30), matvec=lambda x: x[:5], dtype=float)
    with pytest.raises(InputError, match="but raised"):
        probed("A", operator)


def test_refuses_sizes_whose_squares_are_no_doubles() -> None:
    with pytest.raises(OutOfRangeError, match="choose other units"):
        probed("A", lambda x: 1e200 * x, dimension=30)
    with pytest.raises(OutOfRangeError, match="`factor`"):
        structured(factor=1e200 * FACTOR)

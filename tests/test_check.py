"""Checks of what callers pass in: each refusal names the argument, the value and the remedy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array
from scipy.sparse.linalg import aslinearoperator

from fracsde import _check
from fracsde.errors import (
    IndefiniteError,
    InputError,
    NotFiniteError,
    NotSymmetricError,
    OutOfRangeError,
    ShapeError,
)


@given(arrays(np.float64, (3, 3), elements=st.floats(-10, 10)))
def test_symmetric_part_of_any_matrix_is_accepted_and_copied(array: np.ndarray) -> None:
    part = array + array.T
    kept = part.copy()
    checked = _check.symmetric("A", part)
    assert np.array_equal(checked, kept)
    assert np.array_equal(part, kept)
    assert not np.shares_memory(checked, part)
    assert not checked.flags.writeable


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: _check.finite_array("x", [1, np.nan]), NotFiniteError, "1 of 2 .* at index 1"),
        (lambda: _check.finite_array("x", [[1, 2], [np.inf, 0]]), NotFiniteError, r"\(1, 0\)"),
        (lambda: _check.finite_array("x", np.nan), NotFiniteError, "the first is nan"),
        (lambda: _check.finite_array("x", "abc"), InputError, "real numbers, got str"),
        (lambda: _check.finite_array("x", [1j]), InputError, "real numbers"),
        (lambda: _check.finite_array("x", [[1], [2, 3]]), InputError, "real numbers, got list"),
        (lambda: _check.finite_array("x", [1, 2], shape=(3,)), ShapeError, r"\(3\), got \(2,\)"),
        (lambda: _check.matrix("A", np.ones((2, 3))), ShapeError, r"square .* got shape \(2, 3\)"),
        (lambda: _check.matrix("A", np.ones((0, 0))), ShapeError, "square"),
        (lambda: _check.matrix("A", np.eye(2), size=3), ShapeError, "3 x 3"),
        (lambda: _check.symmetric("A", [[1, 2], [3, 4]]), NotSymmetricError, r"0.5 \* \(A \+ A.T"),
        (
            lambda: _check.positive_semidefinite("C", np.diag([1.0, -0.5]), remedy="do this"),
            IndefiniteError,
            "1 of 2 eigenvalues are negative, the lowest is -0.5 .*do this",
        ),
        (lambda: _check.real("a", 1.3, low=0, high=1, closed="high"), OutOfRangeError, r"\(0, 1\]"),
        (lambda: _check.real("a", 0.0, low=0, high=1), OutOfRangeError, r"\(0, 1\), got 0"),
        (lambda: _check.real("a", np.nan), NotFiniteError, "got nan"),
        (lambda: _check.real("a", "1"), InputError, "got '1'"),
        (lambda: _check.real("a", True), InputError, "got True"),
        (lambda: _check.integer("n", 2.0, low=1), InputError, "whole number, got 2.0"),
        (lambda: _check.integer("n", 0, low=1), OutOfRangeError, "at least 1, got 0"),
        (lambda: _check.integer("n", 9, low=1, high=3), OutOfRangeError, "between 1 and 3"),
        (lambda: _check.choice("m", "x", ("a", "b")), InputError, "one of 'a', 'b', got 'x'"),
        (lambda: _check.vector("v", [1, 2], length=3), ShapeError, r"got \(2,\)"),
    ],
)
def test_refuses_with_name_value_and_remedy(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()


def test_every_refusal_is_a_value_error() -> None:
    for error in (NotFiniteError, ShapeError, NotSymmetricError, IndefiniteError, OutOfRangeError):
        assert issubclass(error, ValueError)


def test_rounding_asymmetry_is_averaged_and_real_asymmetry_is_not() -> None:
    matrix = np.array([[2.0, 1.0], [1.0 + 1e-9, 2.0]])
    assert _check.symmetric("A", matrix)[0, 1] == _check.symmetric("A", matrix)[1, 0]
    with pytest.raises(NotSymmetricError):
        _check.symmetric("A", [[2.0, 1.0], [1.0 + 1e-4, 2.0]])


@pytest.mark.parametrize("value", [np.complex64(0.5 + 1j), 10**400, "1", True])
def test_refuses_what_is_not_a_real_number(value) -> None:
    with pytest.raises(InputError, match="`rate` must be a real number"):
        _check.real("rate", value)


@pytest.mark.parametrize(
    "value", [[["1"]], [[10**400]], np.ma.masked_array([[1.0]], mask=[[True]]), [[1j]]]
)
def test_refuses_what_is_not_an_array_of_real_numbers(value) -> None:
    with pytest.raises(InputError, match="`A` must be an array of real numbers"):
        _check.finite_array("A", value)


@pytest.mark.parametrize("known", [aslinearoperator(np.eye(2)), csr_array(np.eye(2))])
def test_an_operator_is_sent_to_those_who_take_operators(known) -> None:
    with pytest.raises(InputError, match=r"MatrixFreeSGD and MatrixFreeOU .* A @ np\.eye"):
        _check.symmetric("hessian", known)
    assert np.array_equal(known @ np.eye(2), _check.symmetric("hessian", known @ np.eye(2)))


def test_symmetric_part_of_the_largest_numbers_does_not_overflow() -> None:
    large = 1.5e308 * np.eye(2)
    np.testing.assert_array_equal(_check.symmetric("A", large), large)


def test_message_about_a_large_argument_stays_short() -> None:
    with pytest.raises(InputError) as raised:
        _check.finite_array("A", [["a"] * 300] * 300)
    assert len(str(raised.value)) < 400

"""FractionalODE: what it accepts and refuses, and its Jacobians by several roads."""

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csc_array, issparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from fracsde import TimeGrid, solve
from fracsde.errors import InputError, NotFiniteError, OutOfRangeError, ShapeError
from fracsde.problems.fractional_ode import FractionalODE
from fracsde.schemes.l1 import L1
from tests.support.fractional_odes import brusselator

A = np.array([[-1.0, 0.5], [0.25, -2.0]])


def decay(t, y):
    return -y


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"rhs": None}, InputError, "needs `rhs`"),
        ({"rhs": 3.0}, InputError, "callable of"),
        ({"rhs": lambda t, y: y[:1]}, ShapeError, r"must have shape \(2,\), got \(1,\)"),
        ({"rhs": lambda t, y: y * np.nan}, NotFiniteError, r"rhs\(0, initial\)"),
        ({"rhs": lambda t, y: y * 1j}, InputError, "real numbers"),
        ({"alpha": [0.5, 0.6, 0.7]}, ShapeError, "one order, or one per component"),
        ({"alpha": 1.3}, OutOfRangeError, "second initial value"),
        ({"alpha": 0.0}, OutOfRangeError, r"\(0, 1\]"),
        ({"alpha": [0.5, -0.1]}, OutOfRangeError, "got -0.1"),
        ({"initial": []}, ShapeError, "at least one component"),
        ({"initial": [1.0, np.inf]}, NotFiniteError, "initial"),
        ({"jacobian": lambda t, y: np.eye(3)}, ShapeError, "2 x 2"),
        ({"jacobian": lambda t, y: csc_array(np.eye(3))}, ShapeError, r"got shape \(3, 3\)"),
        ({"jacobian": lambda t, y: 1j * np.eye(2)}, InputError, "real"),
        ({"jacobian": np.eye(2)}, InputError, "callable"),
        ({"linear": np.ones((2, 3))}, ShapeError, "square"),
        ({"linear": csc_array(np.diag([1.0, np.nan]))}, NotFiniteError, "linear"),
        ({"linear": csc_array(1j * np.eye(2))}, InputError, "must be real"),
        ({"rhs": None, "linear": A, "jacobian": decay}, InputError, "`linear` is its own"),
    ],
)
def test_refuses_before_any_step(changes, error, match):
    given = {"rhs": decay, "initial": [1.0, 2.0], "alpha": 0.5} | changes
    with pytest.raises(error, match=match):
        FractionalODE(**given)


def test_keeps_its_arguments_and_is_frozen():
    initial = np.array([1.0, 2.0])
    problem = FractionalODE(rhs=decay, initial=initial, alpha=0.5)
    initial[0] = 7.0
    assert problem.initial[0] == 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem.alpha = 0.7
    assert dataclasses.replace(problem, alpha=[0.5, 0.7]).alpha.tolist() == [0.5, 0.7]


def test_one_component_may_return_a_number():
    problem = FractionalODE(rhs=lambda t, y: -3.0 * y[0], initial=2.0, alpha=0.5)
    assert problem.value(0.0, problem.initial).tolist() == [-6.0]


def test_routes_agree_on_the_jacobian_by_differences_and_by_hand():
    by_hand = brusselator()
    by_differences = dataclasses.replace(by_hand, jacobian=None)
    y = np.array([0.7, 2.1])
    gap = by_differences.jacobian_at(1.0, y) - by_hand.jacobian_at(1.0, y)
    assert np.abs(gap).max() < 1e-6


@pytest.mark.parametrize("form", [np.array, csc_array, aslinearoperator])
@pytest.mark.parametrize("own", [None, np.array, csc_array, aslinearoperator])
def test_routes_agree_on_all_forms_of_linear_part_and_jacobian(form, own):
    def rhs(t, y):
        return np.array([y[0] * y[1], np.sin(y[0])])

    def slope(y):
        return np.array([[y[1], y[0]], [np.cos(y[0]), 0.0]])

    problem = FractionalODE(
        rhs=rhs,
        linear=form(A),
        jacobian=None if own is None else lambda t, y: own(slope(y)),
        initial=[1.0, 2.0],
        alpha=0.5,
    )
    y, v = np.array([0.4, -1.2]), np.array([1.0, 2.0])
    jacobian = problem.jacobian_at(0.0, y)
    assert np.abs(problem.value(0.0, y) - (A @ y + rhs(0.0, y))).max() < 1e-15
    assert np.abs(jacobian @ v - (A + slope(y)) @ v).max() < 1e-6
    if isinstance(problem.linear, LinearOperator) or own is aslinearoperator:
        assert isinstance(jacobian, LinearOperator)
    elif form is csc_array and own in {None, csc_array}:
        assert issparse(jacobian)


@pytest.mark.parametrize("scheme", [None, L1()])
@pytest.mark.parametrize(
    ("later", "error", "match"),
    [
        (lambda y: y[:1], ShapeError, r"`rhs\(0\.\d+, y\)` must have shape \(2,\), got \(1,\)"),
        (lambda y: y[:, None], ShapeError, r"must have shape \(2,\), got \(2, 1\)"),
        (lambda y: y + 1j, InputError, "real numbers, got complex128"),
        (lambda y: None, InputError, "real numbers, got NoneType"),
        (lambda y: [[1.0], 2.0], InputError, "real numbers, got"),
    ],
)
def test_a_right_hand_side_that_changes_its_kind_later_is_refused_then(scheme, later, error, match):
    problem = FractionalODE(
        rhs=lambda t, y: -y if t < 0.5 else later(y), initial=[1.0, 2.0], alpha=0.5
    )
    with pytest.raises(error, match=match):
        solve(problem, TimeGrid.uniform(1.0, 10), scheme=scheme)


@pytest.mark.parametrize("later", [np.eye(1), csc_array(np.eye(3)), 1j * np.eye(2)])
def test_a_jacobian_that_changes_its_kind_later_is_refused_then(later):
    problem = FractionalODE(
        rhs=lambda t, y: -y,
        jacobian=lambda t, y: -np.eye(2) if t == 0.0 else later,
        initial=[1.0, 2.0],
        alpha=0.5,
    )
    with pytest.raises(InputError, match=r"`jacobian\(.*, y\)` must"):
        solve(problem, [1.0])

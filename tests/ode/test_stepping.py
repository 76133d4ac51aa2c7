"""Marching systems with convolution schemes: orders, histories, Newton's method, failures."""

import dataclasses
from math import gamma

import numpy as np
import pytest
from scipy.sparse import csc_array, diags_array
from scipy.sparse.linalg import aslinearoperator

from fracsde import (
    L1,
    L12,
    Adaptive,
    BlockFFT,
    Exponentials,
    FractionalODE,
    GrunwaldLetnikov,
    L2Sigma,
    Status,
    TimeGrid,
    solve,
)
from fracsde.errors import ComputationError, GridError
from fracsde.schemes.convolution_quadrature import ConvolutionQuadrature
from fracsde.special import mittag_leffler
from tests.support import fractional_odes as problems
from tests.support.marching import HeavyNewestGL, HeavyNewestL1, LateL1
from tests.support.orders import observed_order

SIZES = (32, 64, 128, 256, 512)
ALPHA = 0.6


def smooth(alpha=ALPHA):
    """A nonlinear problem, forced so that its solution is t**2 + t**3."""

    def rhs(t, y):
        exact = t**2 + t**3
        forcing = 2 * t ** (2 - alpha) / gamma(3 - alpha) + 6 * t ** (3 - alpha) / gamma(4 - alpha)
        return forcing - (y**3 - exact**3)

    return FractionalODE(rhs=rhs, initial=0.0, alpha=alpha)


def order_of(scheme, expected, *, grading=1.0, sizes=SIZES):
    def error(n):
        solution = solve(smooth(), TimeGrid.graded(1.0, n, grading), scheme=scheme)
        return float(abs(solution.values[-1, 0] - 2.0))

    return observed_order(error, sizes, expected)


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        (L1(), 2.0 - ALPHA),
        (GrunwaldLetnikov(), 1.0),
        (L2Sigma(), 2.0),
        (L12(), 3.0 - ALPHA),
        (ConvolutionQuadrature(bdf=2), 2.0),
    ],
)
def test_order_on_a_nonlinear_problem_with_smooth_solution(scheme, expected):
    table = order_of(scheme, expected)
    assert table.agrees(), table


@pytest.mark.parametrize(
    ("scheme", "grading", "expected"), [(L1(), 7 / 3, 1.4), (L2Sigma(), 10 / 3, 2.0)]
)
def test_order_for_singular_data_on_graded_meshes(scheme, grading, expected):
    case = problems.relaxation(ALPHA, rate=0.1, end=1.0)

    def error(n):
        mesh = TimeGrid.graded(1.0, n, grading)
        solution = solve(case.problem, mesh, scheme=scheme)
        return float(np.abs(solution.values - case.exact(mesh.times)).max())

    table = observed_order(error, SIZES, expected)
    assert table.agrees(), table


@pytest.mark.twin
@pytest.mark.parametrize(
    ("scheme", "expected"), [(HeavyNewestL1(), 1.4), (LateL1(), 1.4), (HeavyNewestGL(), 1.0)]
)
def test_order_rejects_damaged_weights(scheme, expected):
    assert not order_of(scheme, expected).agrees()


@pytest.mark.parametrize(
    ("scheme", "other", "grading"),
    [
        (L1(), L1(history=BlockFFT()), 1.0),
        (L2Sigma(), L2Sigma(history=Exponentials(rtol=1e-8)), 2.0),
        (L12(), L12(history=BlockFFT()), 1.0),
        (GrunwaldLetnikov(), GrunwaldLetnikov(history=BlockFFT()), 1.0),
    ],
)
def test_routes_agree_on_all_histories(scheme, other, grading):
    mesh = TimeGrid.graded(4.0, 300, grading)
    one, two = (solve(problems.brusselator(), mesh, scheme=s) for s in (scheme, other))
    exact = not isinstance(other.history, Exponentials)
    assert np.abs(one.values - two.values).max() < (1e-9 if exact else 1e-5)
    assert max(one.residual(), two.residual()) < (1e-10 if exact else 1e-6)


@pytest.mark.parametrize("scheme", [L2Sigma(), ConvolutionQuadrature(bdf=2)])
def test_routes_agree_with_the_adaptive_mode_at_two_orders(scheme):
    reference = solve(problems.brusselator(), [3.0], scheme=Adaptive(rtol=1e-9, atol=1e-11))
    grading = 3.0 if isinstance(scheme, L2Sigma) else 1.0
    gaps = [
        np.abs(
            solve(problems.brusselator(), TimeGrid.graded(3.0, n, grading), scheme=scheme).values[
                -1
            ]
            - reference.values[0]
        ).max()
        for n in (400, 800)
    ]
    assert gaps[1] < 2e-4
    assert gaps[1] < 0.6 * gaps[0]


FORMS = [np.asarray, csc_array, aslinearoperator]


@pytest.mark.parametrize("form", FORMS)
def test_routes_agree_on_linear_parts_in_all_forms(form):
    case = problems.stiff_linear(0.7)
    mesh = TimeGrid.graded(2.0, 200, 2.0)
    as_rhs = solve(problems.stiff_linear(0.7, as_rhs=True).problem, mesh, scheme=L1())
    problem = FractionalODE(
        linear=form(problems.STIFF), initial=case.problem.initial, alpha=case.problem.alpha
    )
    linear = solve(problem, mesh, scheme=L1())
    assert np.abs(linear.values - as_rhs.values).max() < 1e-8
    assert np.abs(linear.values[-1] - case.exact(np.array([2.0]))[0]).max() < 1e-3


def test_exact_against_the_spectrum_for_diffusion_with_a_sparse_matrix():
    m = 63
    h = 1.0 / (m + 1)
    A = csc_array(diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(m, m)) / h**2)
    mode = np.sin(np.pi * h * np.arange(1, m + 1))
    rate = 4.0 * np.sin(0.5 * np.pi * h) ** 2 / h**2
    problem = FractionalODE(linear=A, initial=mode, alpha=0.5)
    exact = mittag_leffler(-rate, 0.5) * mode
    adaptive = solve(problem, [1.0], scheme=Adaptive(rtol=1e-8, atol=1e-10))
    assert np.abs(adaptive.values[0] - exact).max() < 2e-9
    marched = solve(problem, TimeGrid.graded(1.0, 400, 3.0), scheme=L1())
    assert np.abs(marched.values[-1] - exact).max() < 1e-4 * exact.max()


def test_a_large_step_needs_damping_and_gets_it():
    """From far away Newton's full steps overshoot on an arc tangent."""
    problem = FractionalODE(
        rhs=lambda t, y: -50.0 * np.arctan(20.0 * (y - 1.0)), initial=40.0, alpha=0.8
    )
    solution = solve(problem, TimeGrid.uniform(8.0, 4), scheme=L1())
    assert solution.residual() < 1e-9


@pytest.mark.parametrize("scheme", [L1(), GrunwaldLetnikov(), L2Sigma()])
def test_a_damaged_jacobian_never_gives_a_wrong_answer(scheme):
    given = problems.brusselator()
    damaged = dataclasses.replace(given, jacobian=lambda t, y: -given.jacobian(t, y))
    mesh = TimeGrid.uniform(4.0, 100)
    right = solve(given, mesh, scheme=scheme)
    solution = solve(damaged, mesh, scheme=scheme, throw=False)
    if solution.status.ok:
        assert np.abs(solution.values - right.values).max() < 1e-9
    else:
        assert solution.status is Status.NOT_CONVERGED


def test_a_failed_step_is_named():
    problem = FractionalODE(rhs=lambda t, y: y**2, initial=1.0, alpha=0.7)
    with pytest.raises(ComputationError, match=r"step from t = .* of length 0\.05"):
        solve(problem, TimeGrid.uniform(5.0, 100), scheme=L1())
    solution = solve(problem, TimeGrid.uniform(5.0, 100), scheme=L1(), throw=False)
    assert solution.status is Status.NOT_CONVERGED
    assert np.isfinite(solution.values[0, 0])
    assert np.isnan(solution.values[-1, 0])


def test_a_right_hand_side_that_turns_nan_is_named():
    problem = FractionalODE(rhs=lambda t, y: -y if t < 0.5 else y * np.nan, initial=1.0, alpha=0.7)
    solution = solve(problem, TimeGrid.uniform(1.0, 10), scheme=L1(), throw=False)
    assert not solution.status.ok
    assert "t = 0.4" in solution.detail or "t = 0.5" in solution.detail


def test_limit_of_order_one_is_backward_euler():
    mesh = TimeGrid.uniform(1.0, 50)
    solution = solve(problems.relaxation(1.0).problem, mesh, scheme=L1())
    assert np.abs(solution.values[:, 0] - (1 + 1 / 50) ** -np.arange(51.0)).max() < 1e-13


def test_keeps_arguments_and_saves_what_is_asked():
    mesh = TimeGrid.uniform(1.0, 10)
    problem = problems.brusselator()
    solution = solve(problem, mesh, scheme=L1(), save_at=[0.5, 1.0])
    assert solution.times.tolist() == [0.5, 1.0]
    assert np.array_equal(solution.at(1.0), solution.values[1])
    with pytest.raises(GridError, match="saved time"):
        solution.at(0.3)
    assert problem.initial.tolist() == [1.2, 2.8]
    assert solution.error_estimate is None


def test_refuses_a_mesh_that_the_scheme_refuses():
    with pytest.raises(GridError, match="equal steps"):
        solve(problems.brusselator(), TimeGrid.graded(1.0, 10, 2.0), scheme=GrunwaldLetnikov())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scheme", [L1(), L2Sigma(), ConvolutionQuadrature()])
def test_a_system_at_rest_at_zero_stays_there_and_moves_when_pushed(scheme):
    mesh = TimeGrid.uniform(1.0, 20)
    rest = FractionalODE(rhs=lambda t, y: -y - y**3, initial=[0.0, 0.0], alpha=0.5)
    assert np.array_equal(solve(rest, mesh, scheme=scheme).values, np.zeros((21, 2)))
    pushed = FractionalODE(
        rhs=lambda t, y: np.array([1.0 * (t > 0.5) - y[0] - y[0] ** 3]), initial=0.0, alpha=0.5
    )
    values = solve(pushed, mesh, scheme=scheme).values[:, 0]
    assert np.array_equal(values[:11], np.zeros(11))
    assert np.all(np.diff(values[10:]) > 0.0)
    assert 0.3 < values[-1] < 0.7


def test_a_rate_that_is_no_number_names_its_step():
    broken = FractionalODE(rhs=lambda t, y: -y if t < 0.5 else np.nan * y, initial=1.0, alpha=0.5)
    with pytest.raises(ComputationError, match=r"not finite in the step from t = 0\.45 to 0\.5"):
        solve(broken, TimeGrid.uniform(1.0, 20), scheme=L1())

"""Adaptive collocation keeps the tolerance it was given, and says how far it is from the truth."""

import numpy as np
import pytest

from fracsde import Adaptive, FractionalODE, Status, TimeGrid, solve
from fracsde._ode import collocation
from fracsde.errors import ComputationError, InputError, OutOfRangeError
from fracsde.special import mittag_leffler
from tests.support import fractional_odes as problems

CASES = {
    "relaxation 0.2": problems.relaxation(0.2),
    "relaxation 0.5": problems.relaxation(0.5),
    "relaxation 0.9": problems.relaxation(0.9),
    "ordinary relaxation": problems.relaxation(1.0),
    "stiff relaxation": problems.relaxation(0.6, rate=1e4),
    "growth": problems.relaxation(0.6, rate=-1.0, end=5.0),
    "garrappa 0.5": problems.garrappa(0.5),
    "garrappa 0.8": problems.garrappa(0.8),
    "stiff system": problems.stiff_linear(0.7),
    "stiff system as a right-hand side": problems.stiff_linear(0.7, as_rhs=True),
    "three orders": problems.three_orders(),
}


def errors(case, rtol, atol):
    """Largest error and largest estimate in units of the tolerance, at 60 times."""
    times = np.unique(
        np.concatenate([np.geomspace(1e-3, 1.0, 40), np.linspace(0.05, 1.0, 20)]) * case.end
    )
    solution = solve(case.problem, times, scheme=Adaptive(rtol=rtol, atol=atol))
    exact = case.exact(times)
    # A component is as large as it is nearby: where it crosses zero, nothing is relative to it.
    nearby = np.maximum.accumulate(np.abs(exact[::-1]))[::-1]
    size = atol + rtol * np.maximum(np.abs(exact), 0.1 * nearby)
    return (np.abs(solution.values - exact) / size).max(), (solution.errors / size).max(), solution


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8, 1e-10])
@pytest.mark.parametrize("name", CASES)
def test_keeps_the_tolerance_and_is_not_absurdly_better(name, rtol):
    found, estimated, solution = errors(CASES[name], rtol, 1e-3 * rtol)
    assert solution.status is Status.SUCCESS
    assert found < 4.0, (found, estimated, solution.stats)
    assert found > 1e-3, (found, estimated, solution.stats)


@pytest.mark.parametrize("name", CASES)
def test_estimates_its_error_within_a_factor(name):
    found, estimated, _ = errors(CASES[name], 1e-7, 1e-10)
    assert found < 8.0 * max(estimated, 0.05)
    assert estimated < 30.0 * found


@pytest.mark.twin
@pytest.mark.parametrize("name", ["relaxation 0.5", "garrappa 0.8", "stiff relaxation"])
def test_tolerance_is_missed_or_failure_reported_with_a_kernel_one_per_cent_off(name, monkeypatch):
    right = collocation.Past.seen
    monkeypatch.setattr(collocation.Past, "seen", lambda self, d: 1.01 * right(self, d))
    monkeypatch.setattr(collocation, "_MANY", 100)
    case, times = CASES[name], np.array([0.3, 1.0]) * CASES[name].end
    solution = solve(case.problem, times, throw=False)
    if solution.status.ok:
        assert np.abs(solution.values / case.exact(times) - 1.0).max() > 1e-3


@pytest.mark.twin
def test_tolerance_would_be_missed_without_the_estimate_of_errors(monkeypatch):
    right = collocation._Run.trial

    def blind(self, basis, h):
        trial = right(self, basis, h)
        return trial and type(trial)(**(vars(trial) | {"wrong": 1e-3 * trial.wrong}))

    monkeypatch.setattr(collocation._Run, "trial", blind)
    monkeypatch.setattr("fracsde._ode.meeting.worst", lambda *a, **k: 0.0)
    found, _, _ = errors(CASES["relaxation 0.5"], 1e-7, 1e-10)
    assert found > 20.0


def test_work_grows_slowly_with_the_tolerance():
    loose, tight = (errors(CASES["relaxation 0.5"], rtol, 1e-3 * rtol)[2] for rtol in (1e-4, 1e-10))
    assert tight.stats["intervals"] < 8 * loose.stats["intervals"]
    assert tight.stats["intervals"] < 40


def test_routes_agree_at_requested_times_and_between():
    case = problems.three_orders()
    solution = solve(case.problem, [0.5, 2.0], scheme=Adaptive(rtol=1e-8, atol=1e-10))
    for t in (0.0, 1e-12, 1e-6, 0.01, 0.5, 0.5 + 1e-13, 1.2345, 2.0):
        assert np.abs(solution.at(t) - case.exact(np.array([t]))[0]).max() < 5e-8
    assert np.abs(solution.at(0.5) - solution.values[0]).max() < 1e-9


def test_times_asked_for_do_not_change_the_solution():
    case = problems.garrappa(0.5)
    few, many = (solve(case.problem, TimeGrid.uniform(1.0, n)) for n in (2, 300))
    assert few.stats == many.stats
    assert np.abs(few.values[-1] - many.values[-1]).max() < 1e-8  # another sum of exponentials


def test_residual_is_far_below_the_tolerance_and_sees_a_wrong_state():
    solution = solve(problems.relaxation(0.5).problem, [10.0], scheme=Adaptive(rtol=1e-8))
    assert solution.residual() < 1e-9
    last = solution.pieces.pieces[-1]
    last.states[-1] *= 1.0 + 1e-6
    assert solution.pieces.residual() > 1e-8  # twin


def test_limit_of_order_one_is_the_ordinary_equation():
    near, at_one = (
        solve(
            FractionalODE(rhs=lambda t, y: np.array([y[1], -y[0]]), initial=[1.0, 0.0], alpha=a),
            [6.0],
            scheme=Adaptive(rtol=1e-9, atol=1e-11),
        ).values[0]
        for a in (1.0 - 1e-7, 1.0)
    )
    assert np.abs(at_one - [np.cos(6.0), -np.sin(6.0)]).max() < 1e-8
    assert np.abs(near - at_one).max() < 2e-5


def test_an_unstable_system_is_run_again_until_the_end_is_right():
    case = problems.relaxation(0.7, rate=-4.0, end=8.0)
    solution = solve(case.problem, [8.0], scheme=Adaptive(rtol=1e-6))
    assert abs(solution.values[0, 0] / case.exact(np.array([8.0]))[0, 0] - 1.0) < 2e-6


def test_a_solution_that_ends_is_followed_to_its_end_and_reported():
    problem = FractionalODE(rhs=lambda t, y: y**2, initial=1.0, alpha=0.7)
    with pytest.raises(ComputationError, match=r"At t = 0\.458"):
        solve(problem, [5.0])
    solution = solve(problem, [0.1, 5.0], throw=False)
    assert solution.status is Status.NOT_CONVERGED
    assert np.isfinite(solution.values[0, 0])
    assert np.isnan(solution.values[1, 0])


def test_a_right_hand_side_that_turns_nan_is_reported():
    problem = FractionalODE(rhs=lambda t, y: -y if t < 1.0 else y * np.nan, initial=1.0, alpha=0.7)
    solution = solve(problem, [0.5, 5.0], throw=False)
    assert solution.status in {Status.NOT_FINITE, Status.NOT_CONVERGED}
    assert "t = 1" in solution.detail or "t = 0.99" in solution.detail
    assert abs(solution.values[0, 0] - mittag_leffler(-(0.5**0.7), 0.7)) < 1e-5


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_damaged_jacobian_never_gives_a_wrong_answer(sign):
    given = problems.brusselator()
    damaged = FractionalODE(
        rhs=given.rhs,
        jacobian=lambda t, y: sign * given.jacobian(t, y),
        initial=given.initial,
        alpha=given.alpha,
    )
    right = solve(given, [4.0], scheme=Adaptive(rtol=1e-9, atol=1e-12)).values
    solution = solve(damaged, [4.0], throw=False)
    if solution.status.ok:
        assert np.abs(solution.values - right).max() < 1e-5
    else:
        assert solution.status in {Status.NOT_CONVERGED, Status.INACCURATE}


@pytest.mark.parametrize(
    "problem", [problems.lotka_volterra(), problems.brusselator(), problems.chua()]
)
def test_routes_agree_on_published_systems(problem):
    loose, tight = (
        solve(problem, [2.0, 5.0, 8.0], scheme=Adaptive(rtol=rtol, atol=rtol))
        for rtol in (1e-6, 1e-9)
    )
    size = np.abs(tight.values).max(axis=0)
    assert (np.abs(loose.values - tight.values) / size).max() < 1e-5


def _beyond_the_estimate(rtol):
    # Of Chua's circuit, whose right-hand side has kinks.
    problem, times = problems.chua(), [2.0, 5.0, 8.0]
    found, tight = (solve(problem, times, scheme=Adaptive(rtol=r, atol=r)) for r in (rtol, 1e-10))
    return np.abs(found.values - tight.values).max() / found.error_estimate


@pytest.mark.parametrize("rtol", [1e-6, 1e-7, 1e-8])
def test_the_estimate_is_honest_where_the_right_hand_side_has_kinks(rtol):
    assert _beyond_the_estimate(rtol) < 5.0  # 0.4 to 2.4 at thirteen tolerances


@pytest.mark.twin
def test_the_estimate_is_wrong_where_kinks_between_nodes_are_not_looked_for(monkeypatch):
    monkeypatch.setattr(
        "fracsde._ode.collocation.unresolved", lambda basis, slopes, found: 0.0 * found[0]
    )
    # 6 to 1600 at the same thirteen, all but one of them above 15.
    assert max(_beyond_the_estimate(rtol) for rtol in (1e-6, 1e-7, 1e-8)) > 15.0


def test_a_pulse_is_seen_with_a_longest_interval():
    problem = FractionalODE(
        rhs=lambda t, y: np.array([np.exp(-(((t - 5.0) / 0.01) ** 2))]), initial=0.0, alpha=0.5
    )
    solution = solve(problem, [6.0], scheme=Adaptive(longest=0.02))
    assert abs(solution.values[0, 0] - 0.01 * np.sqrt(np.pi) / np.sqrt(np.pi)) < 1e-5


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"rtol": 1e-15}, OutOfRangeError, "rtol"),
        ({"atol": 0.0}, OutOfRangeError, "atol"),
        ({"longest": -1.0}, OutOfRangeError, "positive"),
        ({"longest": "long"}, InputError, "length of time"),
    ],
)
def test_refuses_tolerances_that_mean_nothing(changes, error, match):
    with pytest.raises(error, match=match):
        Adaptive(**changes)


def test_refuses_other_schemes_spaces_and_times():
    problem = problems.relaxation(0.5).problem
    with pytest.raises(InputError, match="Adaptive"):
        solve(problem, [1.0], scheme="L1")
    with pytest.raises(InputError, match="backend"):
        solve(problem, [1.0], backend="numpy")
    with pytest.raises(InputError, match="space"):
        solve(problem, [1.0], space="auto")
    with pytest.raises(OutOfRangeError, match="must lie in"):
        solve(problem, [1.0]).at(2.0)

"""Moments of a run step by step, against every batch that could have been drawn."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from fracsde.errors import ComputationError, InputError, OutOfRangeError
from fracsde.problems.least_squares import GaussianLeastSquaresSGD, LeastSquaresSGD
from fracsde.problems.quadratic_sgd import QuadraticSGD
from fracsde.stationary import stationary_covariance
from fracsde.transients import (
    autocovariance,
    covariance_at,
    mean_at,
    mean_square_displacement,
    relaxation_rates,
)
from tests.support.exact import close

INPUTS = np.array([[1.0, 0.3], [-0.5, 1.2], [0.4, -0.8]])
TARGETS = np.array([1.0, -0.4, 0.7])
START = np.array([2.0, -1.0])
PRECONDITIONER = np.array([[1.0, 0.3], [0.3, 0.5]])
RULES = {
    "plain": {},
    "heavy ball": {"momentum": 0.6},
    "dampened": {"momentum": 0.6, "dampening": 0.4},
    "nesterov": {"momentum": 0.6, "nesterov": True},
    "preconditioned": {"momentum": 0.3, "preconditioner": PRECONDITIONER},
}


def problem(**changes) -> LeastSquaresSGD:
    given = {"learning_rate": 0.3, "batch_size": 2, "ridge": 0.2}
    return LeastSquaresSGD(inputs=INPUTS, targets=TARGETS, **{**given, **changes})


def every_path(sgd: LeastSquaresSGD, steps: int) -> np.ndarray:
    # Final weights for every sequence of batches, all equally likely, by PyTorch's own recursion.
    draw = product if sgd.sampling == "with_replacement" else combinations
    pairs = list(draw(range(3), repeat=2)) if draw is product else list(draw(range(3), 2))
    P = np.eye(2) if sgd.preconditioner is None else sgd.preconditioner
    ends = []
    for path in product(pairs, repeat=steps):
        w, buffer = START.copy(), np.zeros(2)
        for batch in path:
            rows = INPUTS[list(batch)]
            g = rows.T @ (rows @ w - TARGETS[list(batch)]) / 2 + sgd.ridge * w
            if sgd.momentum:
                buffer = sgd.momentum * buffer + (1 - sgd.dampening) * g
                g = g + sgd.momentum * buffer if sgd.nesterov else buffer
            w = w - sgd.learning_rate * (P @ g)
        ends.append(w)
    return np.array(ends)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("sampling", ["with_replacement", "without_replacement"])
def test_exact_moments_are_those_over_every_sequence_of_batches(rule, sampling) -> None:
    sgd = problem(sampling=sampling, **RULES[rule])
    ends = every_path(sgd, 3)
    assert close(mean_at(sgd, [3], START)[0], ends.mean(axis=0), units=64)
    found = covariance_at(sgd, [3], initial=START)[0]
    assert close(found, np.cov(ends.T, bias=True), units=256)


@pytest.mark.parametrize("sampling", ["with_replacement", "without_replacement"])
def test_exact_displacement_is_that_over_every_sequence_of_batches(sampling) -> None:
    sgd = problem(sampling=sampling, momentum=0.6)
    ends, u = every_path(sgd, 3), np.array([0.6, -0.8])
    along = mean_square_displacement(sgd, [0, 3], directions=u[:, None], start=START)
    assert close(along[:, 0], [0.0, np.mean(((ends - START) @ u) ** 2)], units=64)
    whole = mean_square_displacement(sgd, [3], start=START)
    assert close(whole[0], np.mean(((ends - START) ** 2).sum(axis=1)), units=64)


@pytest.mark.twin
def test_every_sequence_of_batches_rejects_noise_that_ignores_where_the_mean_is() -> None:
    sgd = problem()
    true = np.cov(every_path(sgd, 3).T, bias=True)
    from_minimum = covariance_at(sgd, [3])[0]
    frozen = covariance_at(sgd.near_minimum(), [3])[0]
    for wrong in (from_minimum, frozen):
        assert np.linalg.norm(wrong - true) > 0.2 * np.linalg.norm(true)


def test_same_examples_as_whole_matrices_have_the_same_moments() -> None:
    one = problem(momentum=0.6)
    two = QuadraticSGD(
        gradients=-TARGETS[:, None] * INPUTS,
        hessians=np.einsum("ni,nj->nij", INPUTS, INPUTS),
        weight_decay=0.2,
        learning_rate=0.3,
        batch_size=2,
        momentum=0.6,
    )
    times = [0, 1, 5, 30]
    assert close(two.minimum, one.minimum, units=64)
    a, b = (covariance_at(sgd, times, initial=START) for sgd in (one, two))
    assert close(a, b, units=256)


def test_gaussian_inputs_move_like_data_with_their_fourth_moments() -> None:
    # A hexagon of radius 2 with as many points at the origin has the moments of a standard normal
    # law up to the fifth order; each point carries both signs of the label noise.
    angles = np.pi / 3 * np.arange(6)
    points = np.vstack([2 * np.stack([np.cos(angles), np.sin(angles)], axis=1), np.zeros((6, 2))])
    root = np.array([[1.0, 0.0], [0.5, 0.7]])
    inputs, truth = np.repeat(points, 2, axis=0) @ root.T, np.array([0.5, -1.5])
    settings = {"learning_rate": 0.2, "batch_size": 3, "momentum": 0.5, "ridge": 0.3}
    finite = LeastSquaresSGD(
        inputs=inputs, targets=inputs @ truth + np.tile([0.6, -0.6], 12), **settings
    )
    endless = GaussianLeastSquaresSGD(
        covariance=root @ root.T, label_noise=0.6, weights=truth, **settings
    )
    assert close(finite.minimum, endless.minimum, units=64)
    assert finite.critical_learning_rate() == pytest.approx(
        endless.critical_learning_rate(), rel=1e-13
    )
    one, two = (covariance_at(sgd, [1, 4, 50], initial=START) for sgd in (finite, endless))
    assert close(one, two, units=512)
    one, two = (stationary_covariance(sgd).state_matrix for sgd in (finite, endless))
    assert close(one, two, units=512)


@pytest.mark.parametrize("rule", RULES)
def test_limit_of_many_steps_is_the_stationary_covariance(rule: str) -> None:
    sgd = problem(**RULES[rule])
    assert close(
        covariance_at(sgd, [400], initial=START)[0], stationary_covariance(sgd).matrix, units=512
    )


def test_spread_grows_without_end_above_the_critical_rate() -> None:
    slow = problem()
    limits = slow.stability()
    between = 0.5 * (limits.second_moment + limits.mean)
    fast = problem(learning_rate=between)
    spread = np.trace(covariance_at(fast, [50, 100, 200]), axis1=1, axis2=2)
    assert spread[1] / spread[0] > 2
    assert spread[2] / spread[1] > 4
    np.testing.assert_allclose(mean_at(fast, [400], START)[0], fast.minimum, atol=1e-6)
    with pytest.raises(ComputationError, match="beyond the largest float"):
        covariance_at(problem(learning_rate=2.0 * limits.mean), [5000], initial=START)


@pytest.mark.parametrize("rule", RULES)
def test_stationary_autocovariance_decays_as_the_mean_does(rule: str) -> None:
    # E[u_{t+1} | u_t] is linear in the state, whatever the noise depends on.
    sgd = problem(**RULES[rule])
    state = stationary_covariance(sgd).state_matrix
    T = sgd.near_minimum().map().transition
    found = autocovariance(sgd, [0, 1, 7])
    for lag, matrix in zip([0, 1, 7], found, strict=True):
        expected = (np.linalg.matrix_power(T, lag) @ state)[:2, :2]
        assert close(matrix, expected, units=512, scale=np.abs(state).max())
    moved = mean_square_displacement(sgd, [7])[0]
    assert moved == pytest.approx(2 * np.trace(found[0] - found[2]), rel=1e-10)
    np.testing.assert_allclose(
        relaxation_rates(sgd), relaxation_rates(sgd.near_minimum()), rtol=1e-14
    )


def test_directions_that_no_example_moves_stay_where_they_are() -> None:
    sgd = LeastSquaresSGD(
        inputs=[[1.0, 1.0], [2.0, 2.0]], targets=[1.0, 0.0], learning_rate=0.1, batch_size=1
    )
    across = np.array([1.0, -1.0]) / np.sqrt(2)
    start = np.array([3.0, 1.0])
    assert mean_at(sgd, [50], start)[0] @ across == pytest.approx(start @ across)
    spread = covariance_at(sgd, [50], np.outer(across, across), initial=start)[0]
    assert across @ spread @ across == pytest.approx(1.0)
    assert np.abs(autocovariance(sgd, [0, 3]) @ across).max() < 1e-14


def test_refuses_what_is_no_time_or_start() -> None:
    sgd = problem()
    with pytest.raises(OutOfRangeError, match="whole numbers of steps"):
        covariance_at(sgd, [0.5])
    with pytest.raises(InputError, match="stationary_covariance"):
        covariance_at(sgd, [1], initial="stationary")

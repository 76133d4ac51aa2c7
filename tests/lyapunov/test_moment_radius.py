"""The radius of the map of second moments, between bounds that are proved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fracsde.errors import InputError, UnsupportedError
from fracsde.lyapunov.moment_radius import second_moment_radius
from fracsde.problems.least_squares import GaussianLeastSquaresSGD, LeastSquaresSGD
from fracsde.transients import covariance_at
from tests.support.laws import follows, seed_of

RULES = [
    {},
    {"momentum": 0.8},
    {"momentum": 0.3, "dampening": 0.5},
    {"momentum": 0.8, "nesterov": True},
    {"momentum": 0.2, "nesterov": True},
]


def problem(examples: int = 20, features: int = 3, **changes) -> LeastSquaresSGD:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(examples, features)) * np.geomspace(1.0, 0.3, features)
    given = {"targets": rng.normal(size=examples), "learning_rate": 0.1, "batch_size": 2}
    return LeastSquaresSGD(inputs=X, **{**given, **changes})


def written_down(sgd: LeastSquaresSGD) -> float:
    # All eigenvalues of the matrix of the map on vec X.
    X, N, d = sgd.inputs, len(sgd.inputs), sgd.dimension
    H = X.T @ X / N
    fourth = np.einsum("ni,nj,nk,nl->ijkl", X, X, X, X).reshape(d * d, d * d) / N
    noise = sgd.second_moments.share * (fourth - np.kron(H, H))
    T = sgd.rule.transition(sgd.learning_rate * sgd.curvature)
    G = sgd.learning_rate * sgd.rule.injection(d)
    weights = np.eye(d, len(T))
    L = np.kron(T, T) + np.kron(G, G) @ noise @ np.kron(weights, weights)
    return float(np.abs(np.linalg.eigvals(L)).max())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("sampling", ["with_replacement", "without_replacement"])
@pytest.mark.parametrize("share", [0.01, 0.3, 1.0, 1.5])
def test_exact_radius_is_that_of_the_map_written_down(rule, sampling, share) -> None:
    sgd = problem(sampling=sampling, **rule)
    sgd = replace(sgd, learning_rate=share * sgd.critical_learning_rate())
    found, expected = second_moment_radius(sgd), written_down(sgd)
    assert found.value == pytest.approx(expected, rel=1e-13)
    assert found.lower <= expected * (1 + 1e-14)
    assert expected <= found.upper <= expected * (1 + 1e-9)
    assert found.mean < found.value
    assert (found.value < 1 - 1e-9) == (share < 1)


@pytest.mark.twin
def test_bounds_reject_the_radius_without_the_growth_of_the_noise() -> None:
    found = second_moment_radius(problem(learning_rate=0.5))
    assert found.mean < found.lower * (1 - 1e-3)


@pytest.mark.parametrize("nesterov", [False, True])
def test_second_moments_of_a_run_decay_by_the_radius(nesterov: bool) -> None:
    # Without residuals the covariance goes to zero, in the long run by the radius each step.
    sgd = problem(examples=3, momentum=0.5, learning_rate=0.2, nesterov=nesterov)
    radius = second_moment_radius(sgd).value
    spread = np.trace(covariance_at(sgd, [600, 601], np.eye(3)), axis1=1, axis2=2)
    assert spread[1] / spread[0] == pytest.approx(radius, rel=1e-3)


@pytest.mark.twin
def test_radius_rejects_the_heavy_balls_for_nesterovs_step() -> None:
    ball, ahead = (problem(momentum=0.8, nesterov=is_ahead) for is_ahead in (False, True))
    found = second_moment_radius(ball)
    assert not found.lower <= written_down(ahead) <= found.upper


def moments_of_one_weight(sgd: LeastSquaresSGD, degree: int) -> np.ndarray:
    # The map of E[w^(n-i) v^i], degree n, over the two examples of a problem without residuals.
    a, b, c = sgd.rule.gains
    whole = np.zeros((degree + 1, degree + 1))
    for h in sgd.inputs[:, 0] ** 2:
        k = sgd.learning_rate * h
        w, v = np.poly1d([1.0 - a * k, b]), np.poly1d([-c * k, sgd.momentum])
        for i in range(degree + 1):
            row = (w ** (degree - i) * v**i).coeffs
            whole[i, -len(row) :] += row / len(sgd.inputs)
    return whole


@pytest.mark.parametrize("rule", [{"momentum": 0.8}, {"momentum": 0.8, "nesterov": True}])
@pytest.mark.parametrize("share", [0.9, 1.1])
def test_law_of_simulated_second_moments_on_both_sides_of_the_limit(rule, share) -> None:
    # Two examples that agree, of steepness 1 and 4: the noise is all in the state.
    sgd = LeastSquaresSGD(
        inputs=[[1.0], [2.0]], targets=[0.0, 0.0], learning_rate=0.1, batch_size=1, **rule
    )
    sgd = replace(sgd, learning_rate=share * sgd.critical_learning_rate())
    found = second_moment_radius(sgd)
    assert (found.upper < 1.0) == (share < 1.0)
    second, fourth = (moments_of_one_weight(sgd, n) for n in (2, 4))
    radius = np.abs(np.linalg.eigvals(second)).max()
    assert found.value == pytest.approx(radius, rel=1e-13)
    chains, steps = 40_000, 12
    rng = np.random.default_rng(seed_of(f"second moments {rule} {share}"))
    a, b, c = sgd.rule.gains
    w, v = np.ones(chains), np.zeros(chains)
    for _ in range(steps):
        k = sgd.learning_rate * sgd.inputs[rng.integers(2, size=chains), 0] ** 2
        w, v = (1.0 - a * k) * w + b * v, -c * k * w + sgd.momentum * v
    # The start is E[w^n] = 1: the mean of w^2, and its variance, by the maps written down.
    mean, square = (np.linalg.matrix_power(m, steps)[0, 0] for m in (second, fourth))
    stderr = np.sqrt((square - mean**2) / chains)
    assert follows((w * w).mean(), mean, stderr)
    # In the long run by the radius a step, which is on the right side of 1; 1 % shows.
    late = np.linalg.matrix_power(second, 300)[0, 0] / np.linalg.matrix_power(second, 299)[0, 0]
    assert late == pytest.approx(found.value, rel=1e-9)
    other = replace(sgd, learning_rate=1.5 * sgd.learning_rate)  # twin
    wrong = np.linalg.matrix_power(moments_of_one_weight(other, 2), steps)[0, 0]
    assert not follows((w * w).mean(), wrong, stderr)


def test_radius_of_a_weight_whose_mean_is_forgotten_in_two_steps() -> None:
    # Nesterov's pull of 1 has both eigenvalues at zero; the noise keeps the second moment alive.
    sgd = LeastSquaresSGD(
        inputs=[[2.0], [0.0]],
        targets=[0.0, 0.0],
        learning_rate=0.5,
        batch_size=1,
        momentum=0.3,
        nesterov=True,
    )
    found = second_moment_radius(sgd)
    assert found.mean == 0.0
    assert found.value == pytest.approx(written_down(sgd), rel=1e-13)
    still = second_moment_radius(replace(sgd, batch_size=2, sampling="without_replacement"))
    assert still.value == 0.0
    assert still.upper <= 1e-70


@pytest.mark.parametrize("nesterov", [False, True])
def test_radius_of_many_weights_by_vectors_has_tight_bounds(nesterov: bool) -> None:
    ahead = {"momentum": 0.8, "nesterov": True} if nesterov else {}
    sgd = problem(examples=80, features=30, **ahead)
    sgd = replace(sgd, learning_rate=0.7 * sgd.critical_learning_rate())
    found = second_moment_radius(sgd)
    assert found.lower <= found.value <= found.upper <= found.lower * (1 + 1e-8)
    assert found.upper < 1


def test_without_noise_the_radius_is_the_square_of_the_means() -> None:
    for rule in RULES:
        sgd = problem(batch_size=20, sampling="without_replacement", **rule)
        found = second_moment_radius(sgd)
        assert found.value == found.mean
        T = sgd.near_minimum().map().transition
        assert found.mean == pytest.approx(np.abs(np.linalg.eigvals(T)).max() ** 2, rel=1e-12)


def test_exact_radius_of_isotropic_gaussian_inputs() -> None:
    sgd = GaussianLeastSquaresSGD(
        covariance=np.eye(4), label_noise=1.0, learning_rate=0.3, batch_size=2
    )
    # S = I: (1 - eta)^2 + eta^2 (d + 1) / B.
    assert second_moment_radius(sgd).value == pytest.approx(0.7**2 + 0.09 * 5 / 2, rel=1e-14)


def test_refuses_what_has_no_such_radius() -> None:
    with pytest.raises(InputError, match="square of the transition's"):
        second_moment_radius(problem().near_minimum())
    with pytest.raises(UnsupportedError, match="near_minimum"):
        second_moment_radius(problem(sampling="shuffled"))
    with pytest.raises(InputError, match="no example moves"):
        second_moment_radius(
            LeastSquaresSGD(inputs=[[0.0]], targets=[1.0], learning_rate=1.0, batch_size=1)
        )

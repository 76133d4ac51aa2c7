"""The radius of the map of second moments, between bounds that are proved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fracsde.errors import InputError, UnsupportedError
from fracsde.lyapunov.moment_radius import second_moment_radius
from fracsde.problems.least_squares import GaussianLeastSquaresSGD, LeastSquaresSGD
from fracsde.transients import covariance_at

RULES = [{}, {"momentum": 0.8}, {"momentum": 0.3, "dampening": 0.5}]


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


def test_second_moments_of_a_run_decay_by_the_radius(seed: int) -> None:
    # Without residuals the covariance goes to zero, in the long run by the radius each step.
    sgd = problem(examples=3, momentum=0.5, learning_rate=0.2)
    radius = second_moment_radius(sgd).value
    spread = np.trace(covariance_at(sgd, [600, 601], np.eye(3)), axis1=1, axis2=2)
    assert spread[1] / spread[0] == pytest.approx(radius, rel=1e-3)


def test_radius_of_many_weights_by_vectors_has_tight_bounds() -> None:
    sgd = problem(examples=80, features=30)
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
    with pytest.raises(UnsupportedError, match="not served"):
        second_moment_radius(problem(momentum=0.5, nesterov=True))
    with pytest.raises(UnsupportedError, match="near_minimum"):
        second_moment_radius(problem(sampling="shuffled"))
    with pytest.raises(InputError, match="no example moves"):
        second_moment_radius(
            LeastSquaresSGD(inputs=[[0.0]], targets=[1.0], learning_rate=1.0, batch_size=1)
        )

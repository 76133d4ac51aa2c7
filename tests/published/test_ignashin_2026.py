"""Ignashin et al. 2026, why SGD is not Brownian motion: where it holds, where not, by how much."""

from __future__ import annotations

import numpy as np
import pytest

import fracsde as fs
from fracsde.physics import discrete_fokker_planck, stationary_density
from tests.support.laws import follows


def flat(eta: float, **changes) -> fs.SGDNearCriticalPoint:
    given = {"hessian": [[0.0]], "gradient_noise": [[3.0]], "learning_rate": eta, "batch_size": 2}
    return fs.SGDNearCriticalPoint(**{**given, **changes})


def test_holds_the_diffusion_of_a_flat_direction_grows_in_proportion_to_the_rate() -> None:
    """Variance per unit of t = eta k is eta C / B, at every rate: it is exact, not a limit."""
    for eta in (0.01, 0.1, 1.0):
        k = np.array([1, 10, 1000])
        V = fs.variance_growth(flat(eta), k).variance[:, 0]
        np.testing.assert_allclose(V / (eta * k), eta * 3.0 / 2, rtol=1e-13)


def test_fails_with_momentum_by_the_square_of_its_factor_and_a_cubic_start() -> None:
    """At momentum 0.9 the late slope is 100 times eta^2 C / B, and the first step's that itself."""
    sgd = flat(0.1, momentum=0.9)
    k = np.array([1, 10, 10**6])
    V = fs.variance_growth(sgd, k).variance[:, 0]
    slope = 0.1**2 * 1.5
    assert V[2] / (slope * k[2]) == pytest.approx(100.0, rel=1e-4)
    assert V[1] / (100 * slope * k[1]) == pytest.approx(0.2021, abs=5e-4)
    assert V[0] / (100 * slope * k[0]) == pytest.approx(0.01, rel=1e-12)


def test_fails_for_shuffled_epochs_whose_flat_variance_saturates(seed: int) -> None:
    """Sixty examples in batches of three: eta^2 C_b (M + 1) / 6 on average, after any time."""
    N, B, eta, epochs, runs = 60, 3, 0.1, 40, 4000
    M = N // B
    rng = np.random.default_rng(seed)
    pull = rng.standard_normal(N)
    pull -= pull.mean()
    C = float(pull @ pull) / N
    batch = C / B * (N - B) / (N - 1)
    late = np.zeros(M)
    w = np.zeros(runs)
    for _ in range(epochs):
        order = rng.permuted(np.tile(pull, (runs, 1)), axis=1).reshape(runs, M, B).mean(axis=2)
        for step in range(M):
            w = w - eta * order[:, step]
            late[step] = np.mean(w * w)
        assert np.abs(w).max() < 1e-12
    expected = eta**2 * batch * np.arange(1, M + 1) * (M - np.arange(1, M + 1)) / (M - 1)
    assert follows(late, expected, np.sqrt(2 / runs) * expected + 1e-12)
    assert expected.mean() == pytest.approx(eta**2 * batch * (M + 1) / 6)
    diffused = fs.variance_growth(
        flat(eta, gradient_noise=C, batch_size=B, dataset_size=N, sampling="without_replacement"),
        [epochs * M],
    ).variance[0, 0]
    assert diffused / expected.mean() == pytest.approx(6 * epochs * M / (M + 1))  # 229 times


def moments(kind: str, eta: float) -> tuple[float, float]:
    """Second moment and kurtosis over three of the stationary law on a quadratic loss."""
    width = 40.0 * np.sqrt(0.5 * eta)
    problem = discrete_fokker_planck(
        gradient=lambda x: x,
        noise=1.0,
        learning_rate=eta,
        domain=(-width, width),
        initial=fs.Gaussian(),
        moments=kind,
    )
    x, p = stationary_density(problem, space=fs.FiniteVolume(cells=2000))
    p = p / p.sum()
    return float(x**2 @ p), float(x**4 @ p) / (3 * float(x**2 @ p) ** 2)


@pytest.mark.parametrize("eta", [0.1, 0.3])
def test_holds_the_product_of_gradients_repairs_the_variance_that_langevin_misses(eta) -> None:
    exact = fs.stationary_covariance(
        fs.SGDNearMinimum(hessian=1.0, gradient_noise=1.0, learning_rate=eta, batch_size=1)
    ).matrix[0, 0]
    assert moments("full", eta)[0] == pytest.approx(exact, rel=2e-4)
    assert moments("langevin", eta)[0] / exact == pytest.approx(1 - eta / 2, rel=2e-4)


@pytest.mark.parametrize("eta", [0.1, 0.3])
def test_fails_the_discrete_equation_in_the_fourth_moment(eta: float) -> None:
    """SGD with normal noise is normal; the equation to eta^2 has power-law tails.

    Its fourth moment is (2 - eta h) / (2 - 3 eta h) times the normal one, to order eta h the same
    error as Langevin's (1 - eta h / 2)^2, with the other sign: the third term of the series, which
    is left out, has the size of the product of gradients, which is kept.
    """
    _, kurtosis = moments("full", eta)
    assert kurtosis == pytest.approx((2 - eta) / (2 - 3 * eta), rel=2e-3)
    assert moments("langevin", eta)[1] == pytest.approx(1.0, rel=1e-4)


def test_holds_the_threshold_of_noisy_curvature_for_one_direction_and_fails_for_coupled_ones() -> (
    None
):
    """Eight directions just inside it, coupled by equal noise, grow all the same."""
    eta, scatter = 0.1, 4.0
    low, _ = fs.stationary_curvatures(learning_rate=eta, hessian_noise=scatter)
    assert low == pytest.approx((1 - np.sqrt(1 - eta**2 * scatter)) / eta, rel=1e-12)
    alone = np.full((8, 8), 0.0) + scatter * np.eye(8)
    given = {
        "hessian": 1.5 * low * np.eye(8),
        "gradient_noise": np.eye(8),
        "learning_rate": eta,
        "batch_size": 1,
    }
    k = [500, 1000]
    free = fs.variance_growth(fs.SGDNearCriticalPoint(**given, hessian_noise=alone), k).variance
    np.testing.assert_allclose(free[1], free[0], rtol=1e-3)
    coupled = fs.variance_growth(fs.SGDNearCriticalPoint(**given, hessian_noise=scatter), k)
    assert np.all(coupled.variance[1] > 1e50 * coupled.variance[0])

"""Ziyin, Liu, Mori and Ueda 2022: noise and covariance for Gaussian inputs without end."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from fracsde.problems.least_squares import GaussianLeastSquaresSGD, LeastSquaresSGD
from fracsde.stationary import stationary_covariance
from tests.support.exact import close


def published(a: np.ndarray, *, rate: float, batch: int, momentum: float, noise: float):
    """Their covariance with label noise, inputs of covariance ``diag(a)`` and a scalar rate."""
    damping = 1.0 - momentum
    G = 2.0 * damping - (damping / (1.0 + momentum) + 1.0 / batch) * rate * a
    t = np.sum(rate * a / G)
    kappa = t / (1.0 - t / batch)
    return noise**2 / batch * (1.0 + kappa / batch) * rate / G


@pytest.mark.parametrize("momentum", [0.0, 0.7])
@pytest.mark.parametrize("batch", [1, 8])
def test_their_covariance_is_exact_for_gaussian_inputs_without_end(
    momentum: float, batch: int
) -> None:
    a = np.array([1.0, 0.3, 0.05])
    settings = {"rate": 0.2, "batch": batch, "momentum": momentum, "noise": 0.8}
    sgd = GaussianLeastSquaresSGD(
        covariance=np.diag(a),
        label_noise=0.8,
        learning_rate=0.2,
        batch_size=batch,
        momentum=momentum,
    )
    S = stationary_covariance(sgd).matrix
    assert close(np.diag(S), published(a, **settings), units=64)
    assert np.abs(S - np.diag(np.diag(S))).max() == 0.0


def test_it_overstates_the_noise_of_inputs_of_plus_and_minus_one() -> None:
    # All corners of a cube, each with both signs of the label noise: covariance I, kurtosis 1.
    corners = np.array(list(product([-1.0, 1.0], repeat=3)))
    inputs = np.repeat(corners, 2, axis=0)
    targets = np.tile([0.8, -0.8], 8)
    excess = []
    for rate in (0.1, 0.2, 0.3):
        sgd = LeastSquaresSGD(inputs=inputs, targets=targets, learning_rate=rate, batch_size=1)
        exact = stationary_covariance(sgd).matrix
        told = published(np.ones(3), rate=rate, batch=1, momentum=0.0, noise=0.8)
        excess.append(told[0] / exact[0, 0] - 1.0)
    np.testing.assert_allclose(excess, [0.133, 0.4, 1.2], rtol=0.01)
    # And they diverge at 2/3, not at the 2/5 of Gaussian inputs.
    endless = GaussianLeastSquaresSGD(
        covariance=np.eye(3), label_noise=0.8, learning_rate=0.1, batch_size=1
    )
    assert sgd.critical_learning_rate() == pytest.approx(2 / 3, rel=1e-14)
    assert endless.critical_learning_rate() == pytest.approx(2 / 5, rel=1e-14)


def test_it_misses_a_finite_sample_of_gaussian_inputs_by_the_root_of_its_size(seed: int) -> None:
    rng, d = np.random.default_rng(seed), 4

    def missed(examples: int) -> float:
        errors = []
        for _ in range(40):
            X = rng.normal(size=(examples, d))
            noise = rng.normal(size=examples)
            sgd = LeastSquaresSGD(inputs=X, targets=noise, learning_rate=0.15, batch_size=1)
            a = np.linalg.eigvalsh(sgd.curvature)
            scale = np.sqrt(np.mean(sgd.residuals**2))
            told = published(a, rate=0.15, batch=1, momentum=0.0, noise=scale).sum()
            errors.append(told / np.trace(stationary_covariance(sgd).matrix) - 1.0)
        return float(np.sqrt(np.mean(np.square(errors))))

    few, many = missed(30), missed(480)
    assert 0.05 < few < 0.4
    assert 2.0 < few / many < 8.0  # the root of 16, to the noise of 40 samples

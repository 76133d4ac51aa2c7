"""Runs of a million steps and more follow the laws: heavy ball, Nesterov, shuffled epochs.

All runs are loops over the update itself, vectorised over replicas, that know nothing of fracsde.
"""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.problems.sgd import SGDNearMinimum
from fracsde.stationary import phase_covariance, stationary_covariance
from fracsde.transients import autocovariance
from tests.support.laws import follows, seed_of

CURVATURE = np.array([[1.6, 0.5], [0.5, 0.7]])
ROOT = np.array([[1.0, 0.0], [0.7, 0.6]])  # of the noise, which does not commute
RATE, REPLICAS, STEPS, BURN = 0.4, 500, 2200, 200
ENTRIES = [(0, 0), (0, 1), (1, 1)]


def run(momentum: float, *, nesterov: bool, seed: int) -> np.ndarray:
    """Second moments of the weights over 500 replicas of 2000 steps."""
    rng = np.random.default_rng(seed)
    w, buffer, moment = np.zeros((REPLICAS, 2)), np.zeros((REPLICAS, 2)), np.zeros((2, 2))
    for step in range(STEPS):
        g = w @ CURVATURE + rng.normal(size=(REPLICAS, 2)) @ ROOT.T
        buffer = momentum * buffer + g
        w = w - RATE * (g + momentum * buffer if nesterov else buffer)
        if step >= BURN:
            moment += w.T @ w
    return moment / (REPLICAS * (STEPS - BURN))


def law(momentum: float, *, nesterov: bool) -> tuple[np.ndarray, np.ndarray]:
    """Covariance, and the standard error of its estimate from normal, correlated draws."""
    problem = SGDNearMinimum(
        hessian=CURVATURE,
        gradient_noise=ROOT @ ROOT.T,
        learning_rate=RATE,
        batch_size=1,
        momentum=momentum,
        nesterov=nesterov,
    )
    lags = np.arange(150)
    R, kept = autocovariance(problem, lags), STEPS - BURN
    weight = np.where(lags == 0, 1.0, 2.0) * (kept - lags) / kept**2
    stderr = np.empty((2, 2))
    for i, j in np.ndindex(2, 2):
        pairs = R[:, i, i] * R[:, j, j] + R[:, i, j] * R[:, j, i]
        stderr[i, j] = np.sqrt(weight @ pairs / REPLICAS)
    return R[0], stderr


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.7, False), (0.7, True)])
def test_law_of_a_million_steps_is_that_of_the_map(momentum: float, nesterov: bool) -> None:
    # Standard errors are below 0.8 % of the variances: 5 % would be seen.
    seed = seed_of(f"million steps {momentum} {nesterov}")
    expected, stderr = law(momentum, nesterov=nesterov)
    assert np.all(np.diag(stderr) < 0.008 * np.diag(expected))
    assert follows(run(momentum, nesterov=nesterov, seed=seed), expected, stderr)


@pytest.mark.twin
def test_law_of_a_million_steps_tells_nesterov_from_the_heavy_ball() -> None:
    expected, stderr = law(0.7, nesterov=False)
    assert not follows(run(0.7, nesterov=True, seed=seed_of("twin of Nesterov")), expected, stderr)


def epochs_of(N: int, momentum: float, drop_last: bool) -> tuple[SGDNearMinimum, np.ndarray]:
    """Loss whose examples have gradients ``K w + c_n``, exactly."""
    examples = np.random.default_rng(seed_of("examples")).uniform(-1.0, 1.0, size=(N, 2))
    examples = (examples - examples.mean(axis=0)) @ ROOT.T
    problem = SGDNearMinimum(
        hessian=CURVATURE,
        gradient_noise=examples.T @ examples / N,
        learning_rate=RATE,
        batch_size=3,
        momentum=momentum,
        dataset_size=N,
        sampling="shuffled",
        drop_last=drop_last,
    )
    return problem, examples


def shuffled_run(problem: SGDNearMinimum, examples: np.ndarray, seed: int) -> np.ndarray:
    """Second moments at each phase, over 1000 replicas of 250 epochs."""
    rng = np.random.default_rng(seed)
    N, M = len(examples), problem.epochs().steps
    w, v, moments = np.zeros((1000, 2)), np.zeros((1000, 2)), np.zeros((M, 2, 2))
    for epoch in range(290):
        order = np.argsort(rng.random((1000, N)), axis=1)
        for p in range(M):
            if epoch >= 40:
                moments[p] += w.T @ w
            g = w @ CURVATURE + examples[order[:, 3 * p : 3 * p + 3]].mean(axis=1)
            v = problem.momentum * v - problem.learning_rate * g
            w = w + v
    return moments / 250_000


@pytest.mark.parametrize(
    ("N", "momentum", "drop_last"), [(12, 0.0, False), (13, 0.5, False), (13, 0.0, True)]
)
def test_law_of_a_million_shuffled_steps_at_each_phase(N, momentum, drop_last) -> None:
    # Uniform examples are flatter than normal ones, so their second moments scatter less than
    # assumed here; the memory of an epoch is short (every mode keeps less than 0.6 of itself).
    problem, examples = epochs_of(N, momentum, drop_last)
    expected = phase_covariance(problem, range(problem.epochs().steps))
    variances = np.diagonal(expected, axis1=1, axis2=2)
    pairs = variances[:, :, None] * variances[:, None, :] + expected**2
    stderr = np.sqrt(pairs / 250_000 * (1 + 0.6**2) / (1 - 0.6**2))
    seed = seed_of(f"shuffled steps {N} {momentum} {drop_last}")
    found = shuffled_run(problem, examples, seed)
    assert follows(found, expected, stderr)
    assert follows(found.mean(axis=0), stationary_covariance(problem).matrix, stderr.mean(axis=0))


@pytest.mark.twin
def test_law_of_shuffled_steps_rejects_independent_batches() -> None:
    problem, examples = epochs_of(12, 0.0, False)
    found = shuffled_run(problem, examples, seed_of("twin of shuffling")).mean(axis=0)
    independent = SGDNearMinimum(
        hessian=CURVATURE,
        gradient_noise=problem.gradient_noise,
        learning_rate=RATE,
        batch_size=3,
        dataset_size=12,
        sampling="without_replacement",
    )
    expected = stationary_covariance(independent).matrix
    assert not follows(found, expected, 0.01 * np.abs(expected))

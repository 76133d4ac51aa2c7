"""Spreads of shuffled epochs from a given start, against every batch written down."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.errors import ComputationError
from fracsde.stationary import phase_covariance
from fracsde.transients import covariance_at, mean_at, mean_square_displacement
from tests.lyapunov.test_epochs import EPOCHS, NOISE, PRECONDITIONERS, RULES, Brute, sgd

STEPS = [0, 7, 2, 1, 3, 4, 13]


def spread(brute: Brute, steps: int) -> np.ndarray:
    # Epoch after epoch, and the steps of the last.
    epochs, phase = divmod(steps, brute.steps)
    A, whole = np.zeros_like(brute.T), brute.power(brute.steps)
    for _ in range(epochs):
        A = whole @ A @ whole.T + brute.added(brute.steps)
    return brute.power(phase) @ A @ brute.power(phase).T + brute.added(phase)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
@pytest.mark.parametrize(("N", "B", "drop_last"), EPOCHS[1:5])
def test_routes_agree_on_spreads_from_a_start(rule, preconditioner, N, B, drop_last) -> None:
    run = sgd(
        **rule, preconditioner=preconditioner, dataset_size=N, batch_size=B, drop_last=drop_last
    )
    brute = Brute(run.epochs())
    start = np.zeros_like(brute.T)
    start[:3, :3] = NOISE
    expected = np.array(
        [(brute.power(k) @ start @ brute.power(k).T + spread(brute, k))[:3, :3] for k in STEPS]
    )
    found = covariance_at(run, STEPS, NOISE)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(expected).max())
    np.testing.assert_array_equal(found, covariance_at(run.epochs(), STEPS, NOISE))
    # From a point the mean moves, and the spread is the noise's alone.
    U, begin = np.array([[1.0], [0.5], [-1.0]]), np.array([1.0, 2.0, -1.0])
    moved = (mean_at(run, STEPS, begin) - begin) @ U
    alone = np.einsum("ip,tij,jp->tp", U, covariance_at(run, STEPS), U)
    np.testing.assert_allclose(
        mean_square_displacement(run, STEPS, directions=U, start=begin),
        moved**2 + alone,
        rtol=1e-12,
        atol=1e-28,
    )


@pytest.mark.twin
def test_spreads_reject_independent_batches() -> None:
    run = sgd()
    alone = sgd(sampling="without_replacement")
    assert covariance_at(alone, [8])[0, 2, 2] > 3.0 * covariance_at(run, [8])[0, 2, 2]


@pytest.mark.parametrize("rule", RULES)
def test_limit_of_many_epochs_is_the_law_of_each_phase(rule) -> None:
    run = sgd(**rule)
    M = run.epochs().steps
    found = covariance_at(run, 10**6 * M + np.arange(M), NOISE)
    np.testing.assert_allclose(found, phase_covariance(run, np.arange(M)), rtol=1e-12, atol=1e-15)


def test_exact_bridge_of_flat_directions() -> None:
    # Nothing pulls: the steps of an epoch are a bridge that ends where it began.
    run = sgd(hessian=np.diag([1.0, 0.0, 0.0]), gradient_noise=np.eye(3))
    Q = 0.1**2 / 3 * (12 - 3) / 11
    k = np.arange(9)
    found = covariance_at(run, k)[:, 2, 2]
    np.testing.assert_allclose(found, Q * (k % 4) * (4 - k % 4) / 3, rtol=1e-13, atol=1e-19)
    # One example too many, and every epoch adds what is left of the sum of its noise.
    odd = sgd(hessian=np.zeros((3, 3)), gradient_noise=np.eye(3), dataset_size=13)
    left = 0.1**2 * 13 / 12 * (4 / 3 + 1.0 - 25 / 13)
    found = covariance_at(odd, [5, 50, 5 * 10**9])[:, 0, 0]
    np.testing.assert_allclose(found, left * np.array([1.0, 10.0, 1e9]), rtol=1e-12)


def test_refuses_to_follow_epochs_beyond_the_largest_float() -> None:
    with pytest.raises(ComputationError, match="beyond the largest float"):
        covariance_at(sgd(learning_rate=5.0), [10**6])

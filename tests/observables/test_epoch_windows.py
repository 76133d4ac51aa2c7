"""Averages over windows of shuffled epochs, against every phase of whole epochs written down."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from fracsde.errors import OutOfRangeError, UnsupportedError
from fracsde.observables import averaged_covariance, power_spectrum
from fracsde.stationary import stationary_covariance
from tests.support.linear_laws import SETTINGS, sgd
from tests.support.step_laws import steps_of

EPOCHS = {
    "equal batches": {"dataset_size": 12, "batch_size": 3},
    "a short one": {"dataset_size": 11, "batch_size": 3},
    "one left out": {"dataset_size": 11, "batch_size": 3, "drop_last": True},
}


def run_of(rule: str, epochs: str, **changed: object):
    given = {"learning_rate": 0.3, "sampling": "shuffled", **SETTINGS[rule], **EPOCHS[epochs]}
    return sgd(**{**given, **changed})


def written_down_rows(run, length: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Weights at each step of many epochs as rows over their start and noise, its covariance, M."""
    steps = steps_of(run)
    M, d = len(steps), run.dimension
    s = run.rule.state_size(d)
    joint, count = steps[0].joint, -(-length // M) + 1
    noise = joint[s:, s:]
    P = np.eye(d) if run.preconditioner is None else run.preconditioner
    P = np.diag(P) if P.ndim == 1 else P
    T = run.rule.transition(run.learning_rate * P @ run.curvature)
    G = run.rule.injection(d)
    whole = scipy.linalg.block_diag(joint[:s, :s], *[noise] * count)
    state, rows = np.eye(s, len(whole)), []
    for t in range(count * M):
        rows.append(state[:d])
        state = T @ state
        state[:, s + t * d : s + (t + 1) * d] += G
    return np.array(rows), whole, M


def written_down(run, window: int) -> np.ndarray:
    """The covariance of the mean, averaged over where it begins in the first of many epochs."""
    rows, whole, M = written_down_rows(run, window)
    means = [rows[start : start + window].mean(axis=0) for start in range(M)]
    return np.mean([mean @ whole @ mean.T for mean in means], axis=0)


@pytest.mark.parametrize("rule", SETTINGS)
@pytest.mark.parametrize("epochs", EPOCHS)
@pytest.mark.parametrize("window", [1, 2, 4, 5, 19])
def test_exact_window_is_that_of_epochs_written_down(rule: str, epochs: str, window: int) -> None:
    run = run_of(rule, epochs)
    found, expected = averaged_covariance(run, window), written_down(run, window)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_array_equal(found, averaged_covariance(run.epochs(), window))
    if window == 1:
        S = stationary_covariance(run).matrix
        np.testing.assert_allclose(found, S, rtol=1e-12, atol=1e-15)


@pytest.mark.twin
def test_window_rejects_independent_batches() -> None:
    run = run_of("plain", "equal batches")
    alone = run_of("plain", "equal batches", sampling="without_replacement")
    found, wrong = averaged_covariance(run, 19), averaged_covariance(alone, 19)
    assert np.diag(wrong / found).min() > 1.5


def test_long_windows_have_the_spectrum_at_zero_frequency() -> None:
    run = run_of("momentum", "one left out")
    T = 100_000
    expected = power_spectrum(run, [0.0])[0].real / T
    np.testing.assert_allclose(averaged_covariance(run, T), expected, rtol=1e-3)


def test_refuses_windows_that_leave_rounding_alone() -> None:
    run = run_of("plain", "equal batches")
    small = averaged_covariance(run, 1000)  # falls with the square of the window
    np.testing.assert_allclose(averaged_covariance(run, 2000), small / 4.0, rtol=0.02)
    with pytest.raises(UnsupportedError, match=r"fewer than six digits.*power_spectrum"):
        averaged_covariance(run, 10**13)
    with pytest.raises(OutOfRangeError, match="`window` must be at least 1"):
        averaged_covariance(run, 0)

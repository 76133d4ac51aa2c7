"""A random clock is told from a mixture of modes that spreads as slowly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import polygamma

from fracsde import OUProcess, SubordinatedOU, simulate
from fracsde.errors import OutOfRangeError, RecordError
from fracsde.estimators import (
    MemoryVerdict,
    expected_log_clock_variance,
    log_clock_variance,
    mean_square_displacement,
    memory_or_modes,
)
from fracsde.estimators.clock_spread import _one_lag
from fracsde.special import sample_inverse_stable
from tests.support.laws import follows

LAGS = [4, 16, 64]


def _mixture(rng, chains=512, draws=65, dimension=3, modes=60):
    """Stationary ordinary modes with variances h^-0.6 over three decades of rates."""
    rates = np.geomspace(2e-3, 1.9, modes)
    mix = rng.normal(size=(modes, dimension)) * np.sqrt(rates**-0.6)[:, None]
    keep = 1.0 - 0.5 * rates
    x = rng.normal(size=(chains, modes))
    out = np.empty((chains, draws, dimension))
    for t in range(draws):
        out[:, t] = x @ mix
        x = keep * x + np.sqrt(1.0 - keep**2) * rng.normal(size=x.shape)
    return out


def _clocked(alpha, chains, seed, dimension=3, times=(0.01, 0.1, 1.0)):
    base = OUProcess(drift=np.eye(dimension), noise=2.0 * np.eye(dimension))
    process = SubordinatedOU(base=base, alpha=alpha)
    return simulate(process, [0.0, *times], chains=chains, rng=seed, start=np.zeros(dimension))


def test_a_mixture_of_modes_spreads_slowly_and_is_called_modes(seed):
    run = _mixture(np.random.default_rng(seed))
    spread = mean_square_displacement(run, LAGS).value
    slope = np.polyfit(np.log(LAGS), np.log(spread), 1)[0]
    assert 0.5 < slope < 0.8  # as slow as a clock of that order
    assert memory_or_modes(run, LAGS, order=slope).verdict is MemoryVerdict.MODES


@pytest.mark.parametrize("alpha", [0.4, 0.6])
def test_a_random_clock_is_called_memory(alpha, seed):
    run = _clocked(alpha, 2048, seed)
    answer = memory_or_modes(run, [1, 2, 3], order=alpha, timescale=1.0)
    assert answer.verdict is MemoryVerdict.MEMORY
    assert "random clock" in answer.sentence


@pytest.mark.twin
def test_a_mixture_is_not_called_memory_nor_a_clock_modes(seed):
    modes = memory_or_modes(_mixture(np.random.default_rng(seed)), LAGS, order=0.6)
    assert modes.verdict is not MemoryVerdict.MEMORY
    clock = memory_or_modes(_clocked(0.6, 2048, seed), [1, 2], order=0.6)
    assert clock.verdict is not MemoryVerdict.MODES


def test_chains_in_unlike_wells_are_neither(seed):
    rng = np.random.default_rng(seed)
    run = rng.normal(size=(1024, 65, 3)).cumsum(axis=1) * np.exp(
        1.2 * rng.normal(size=(1024, 1, 1))
    )
    assert memory_or_modes(run, LAGS, order=0.6).verdict is MemoryVerdict.NEITHER


def test_few_chains_leave_it_undecided(seed):
    run = _clocked(0.6, 48, seed)
    assert memory_or_modes(run, [1, 2], order=0.6).verdict is MemoryVerdict.UNDECIDED


def test_law_false_verdicts_are_rarer_than_the_level(seed):
    rng = np.random.default_rng(seed)
    trials, wrong = 400, 0
    for _ in range(trials):
        run = rng.normal(size=(256, 5, 2)).cumsum(axis=1)
        wrong += memory_or_modes(run, [1, 4], order=0.6, level=0.1).verdict not in {
            MemoryVerdict.MODES,
            MemoryVerdict.UNDECIDED,
        }
    assert wrong == 0


def test_exact_expected_spread_against_samples_of_the_clock(seed):
    rng = np.random.default_rng(seed)
    clock = sample_inverse_stable(1.0, 0.6, 400_000, rng)
    for start, factor in (("released", 2.0), ("stationary", 1.0)):
        for theta in (0.1, 1.0):
            reached = np.log(-np.expm1(-factor * theta * clock))
            noise = np.std((reached - reached.mean()) ** 2) / np.sqrt(len(clock))
            expected = expected_log_clock_variance(0.6, theta, start=start)
            assert follows(reached.var(), expected, noise)
    noise = np.std((np.log(clock) - np.log(clock).mean()) ** 2) / np.sqrt(len(clock))
    flat = expected_log_clock_variance(0.6, [0.0, 1e-6])
    assert follows(np.log(clock).var(), flat[0], noise)
    np.testing.assert_allclose(flat[1], flat[0], rtol=1e-5)


def test_exact_leaving_a_chain_out_equals_computing_without_it(seed):
    moved = np.random.default_rng(seed).normal(size=(40, 3)) @ [[1, 2, 0], [0, 1, 5], [0, 0, 1e-3]]

    def direct(x):
        n, d = x.shape
        gap = x - x.mean(axis=0)
        inverse = np.linalg.inv(gap.T @ gap / n)
        squared = np.einsum("ri,ij,rj->r", gap, inverse, gap)
        gaussian = polygamma(1, 0.5 * d) - polygamma(1, 0.5 * (n - 1))
        return np.log(squared).var(ddof=1) - gaussian

    value, without = _one_lag(moved, 1)
    np.testing.assert_allclose(value, direct(moved), atol=1e-9)
    expected = [direct(np.delete(moved, r, axis=0)) for r in range(40)]
    np.testing.assert_allclose(without, expected, atol=1e-9)


def test_refuses_what_cannot_be_asked(seed):
    run = np.random.default_rng(seed).normal(size=(64, 8, 3))
    with pytest.raises(RecordError, match="at least 32 chains"):
        memory_or_modes(run[:20], [1], order=0.5)
    with pytest.raises(OutOfRangeError, match="order"):
        memory_or_modes(run, [1], order=1.0)
    with pytest.raises(RecordError, match="same amount"):
        log_clock_variance(run * [1.0, 0.0, 1.0], [1])
    with pytest.raises(RecordError, match="do not span"):
        log_clock_variance(run @ [[1.0, 1, 0], [0, 0, 1], [0, 0, 0]], [1])
    with pytest.raises(RecordError, match="between 1 and 7"):
        log_clock_variance(run, [0])
    run[3, 1] = run[3, 0]
    with pytest.raises(RecordError, match="1 of 64 chains have not moved"):
        log_clock_variance(run, [1])
    with pytest.raises(OutOfRangeError, match="negative"):
        expected_log_clock_variance(0.5, -1.0)

"""Burn-in: nothing is dropped from a stationary run, enough from one that started far away."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.errors import OutOfRangeError, RecordError
from fracsde.estimators import burn_in, mean
from fracsde.records import Trajectory
from tests.support.laws import covers
from tests.support.series import ar1

TRIALS = 100


def _started(rng, chains, draws, phi, at):
    """An autoregression that starts at one point: its excess decays like phi**t."""
    x = ar1(rng, chains, draws, phi)
    return x + (at - x[:, :1]) * phi ** np.arange(draws)[:, None]


@pytest.mark.parametrize(
    ("chains", "draws", "phi"), [(32, 200, 0.8), (4, 1000, 0.8), (2, 600, 0.0)]
)
def test_law_stationary_runs_seldom_lose_a_draw(chains, draws, phi, seed):
    rng = np.random.default_rng(seed)
    alarms = sum(burn_in(ar1(rng, chains, draws, phi, 2), level=0.1) > 0 for _ in range(TRIALS))
    # Bonferroni is conservative, so only an excess would be a fault.
    assert alarms < 0.1 * TRIALS or covers(alarms, TRIALS, 0.1)


@pytest.mark.parametrize("at", [3.0, 20.0, 1000.0])
@pytest.mark.parametrize(("chains", "draws"), [(32, 300), (4, 1000), (1, 3000)])
def test_law_the_bias_left_is_below_half_a_standard_error(chains, draws, at, seed):
    rng = np.random.default_rng(seed)
    score, dropped = [], []
    for _ in range(100):
        x = _started(rng, chains, draws, 0.8, at)
        k = burn_in(x)
        rest = mean(x[:, k:])
        score.append(rest.value[0] / rest.stderr[0])
        dropped.append(k)
    # Over thousands of repetitions it is 0.2 at most; here the mean itself is known to 0.1.
    assert abs(np.mean(score)) < 0.5
    assert np.mean(dropped) < 0.25 * draws


@pytest.mark.twin
@pytest.mark.parametrize(("chains", "draws"), [(32, 300), (4, 1000)])
def test_law_the_bias_of_the_whole_run_is_larger(chains, draws, seed):
    rng = np.random.default_rng(seed)
    score = []
    for _ in range(20):
        whole = mean(_started(rng, chains, draws, 0.8, 20.0))
        score.append(whole.value[0] / whole.stderr[0])
    assert np.median(score) > 1.0


def test_a_run_that_starts_without_spread_loses_its_start(seed):
    # All chains begin at the mean: only the second moment moves.
    x = _started(np.random.default_rng(seed), 256, 200, 0.9, 0.0)
    assert 10 < burn_in(x) < 100


def test_an_alternating_start_is_seen_through_its_zeros(seed):
    x = ar1(np.random.default_rng(seed), 64, 400, 0.5)
    t = np.arange(400.0)
    swing = 10.0 * np.exp(-t / 30) * np.cos(2 * np.pi * t / 40)
    assert 60 < burn_in(x + swing[:, None]) < 200


def test_exact_under_scales_and_shifts(seed):
    x = _started(np.random.default_rng(seed), 20, 400, 0.8, 30.0)
    assert burn_in(x) == burn_in(1e-3 * x + 7.0) > 0


def test_long_records_are_thinned_to_the_same_answer(seed):
    x = _started(np.random.default_rng(seed), 16, 40_000, 0.999, 50.0)
    assert 2000 < burn_in(x) < 16_000


def test_heavy_tails_are_no_burn_in(seed):
    rng = np.random.default_rng(seed)
    alarms = sum(burn_in(rng.standard_t(1.5, (20, 200, 1))) > 0 for _ in range(100))
    assert alarms <= 3


def test_keeps_its_argument(seed):
    x = ar1(np.random.default_rng(seed), 20, 100, 0.5)
    before = x.copy()
    burn_in(x)
    np.testing.assert_array_equal(x, before)


def test_refuses_a_run_that_never_settles(seed):
    x = ar1(np.random.default_rng(seed), 32, 200, 0.5, 2)
    x[..., 1] += np.linspace(0.0, 20.0, 200)
    with pytest.raises(RecordError, match=r"coordinate '1'|four correlation times"):
        burn_in(x)


def test_refuses_what_cannot_be_judged(seed):
    rng = np.random.default_rng(seed)
    with pytest.raises(RecordError, match="at least 20 draws, got 19"):
        burn_in(rng.standard_normal((20, 19, 1)))
    with pytest.raises(RecordError, match="does not vary"):
        burn_in(np.ones((20, 50, 1)))
    with pytest.raises(RecordError, match="equally spaced"):
        burn_in(Trajectory(values=rng.standard_normal((20, 30, 1)), times=np.arange(30.0) ** 2))
    with pytest.raises(RecordError, match="record longer"):
        burn_in(ar1(rng, 2, 100, 0.99))
    with pytest.raises(OutOfRangeError, match="level"):
        burn_in(rng.standard_normal((20, 50, 1)), level=1.5)

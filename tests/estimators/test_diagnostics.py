"""Verdicts on stationarity: rare false alarms, and drifts that are seen."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.errors import RecordError
from fracsde.estimators import check_stationary, split_r_hat, stationarity
from tests.support.laws import covers, honest
from tests.support.series import ar1

TRIALS = 200


@pytest.mark.parametrize(("chains", "draws"), [(4, 2000), (32, 40)])
def test_law_stationary_runs_are_seldom_called_drifting(chains, draws, seed):
    rng = np.random.default_rng(seed)
    found = [check_stationary(ar1(rng, chains, draws, 0.8, 2), level=0.1) for _ in range(TRIALS)]
    alarms = sum(not check.stationary for check in found)
    # Bonferroni over correlated looks is conservative, so only an excess would be a fault.
    assert alarms < 0.1 * TRIALS or covers(alarms, TRIALS, 0.1)
    drifts = [check.drift for check in found]
    assert honest([m.value[0] for m in drifts], [m.stderr[0] for m in drifts])


@pytest.mark.twin
def test_law_errors_that_ignore_autocorrelation_are_rejected(seed):
    rng = np.random.default_rng(seed)
    values, stderrs = [], []
    for _ in range(TRIALS):
        x = ar1(rng, 4, 2000, 0.8)
        values.append(x[:, 1000:].mean() - x[:, :1000].mean())
        stderrs.append(np.sqrt(2 / 4000) * x.std())
    assert not honest(values, stderrs)


@pytest.mark.parametrize("chains", [4, 32])
def test_drifting_mean_is_seen_and_named(chains, seed):
    x = ar1(np.random.default_rng(seed), chains, 4000, 0.8, 2)
    x[..., 1] += np.linspace(0.0, 2.0, 4000)
    check = check_stationary(x)
    assert not check.stationary
    assert "mean of coordinate '1' moves by" in check.sentence
    assert abs(check.drift.value[1] - 1.0) < 0.5


def test_growing_spread_is_seen_though_the_mean_stays(seed):
    x = ar1(np.random.default_rng(seed), 64, 400, 0.8)
    check = check_stationary(x * np.linspace(1.0, 2.0, 400)[:, None])
    assert not check.stationary
    assert "spread of coordinate '0'" in check.sentence


def test_short_chains_are_stationary_but_warned_about(seed):
    check = check_stationary(ar1(np.random.default_rng(seed), 200, 40, 0.98))
    assert check.stationary
    assert "trust averages over chains" in check.sentence
    assert check.r_hat[0] > 1.05


def test_exact_split_r_hat_of_its_definition(seed):
    x = np.random.default_rng(seed).standard_normal((3, 41, 2))
    halves = np.concatenate([x[:, :20], x[:, -20:]])
    within = halves.var(axis=1, ddof=1).mean(axis=0)
    between = 20 * halves.mean(axis=1).var(axis=0, ddof=1)
    expected = np.sqrt((19 / 20 * within + between / 20) / within)
    np.testing.assert_allclose(split_r_hat(x), expected, rtol=1e-13)


def test_chains_in_different_places_have_large_r_hat(seed):
    x = np.random.default_rng(seed).standard_normal((4, 500, 1))
    x[0] += 3.0
    assert split_r_hat(x)[0] > 1.5


@pytest.mark.parametrize("measure", [stationarity, split_r_hat, check_stationary])
def test_refuses_few_draws(measure):
    with pytest.raises(RecordError, match="at least 20 draws, got 19"):
        measure(np.random.default_rng(0).standard_normal((20, 19, 1)))


@pytest.mark.parametrize("measure", [stationarity, split_r_hat, check_stationary])
def test_refuses_a_constant_coordinate(measure):
    with pytest.raises(RecordError, match="constant coordinates"):
        measure(np.ones((20, 40, 1)))

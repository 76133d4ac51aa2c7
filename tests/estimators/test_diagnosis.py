"""A diagnosis refuses what cannot be measured, says what to do, and seldom cries wolf."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.errors import RecordError
from fracsde.estimators import Diagnosis, diagnose
from fracsde.records import Trajectory
from tests.support.laws import covers
from tests.support.series import ar1

TRIALS = 100
NAMES = ["variation", "draws", "burn-in", "stationarity", "effective draws", "chains agree"]


def _failed(diagnosis: Diagnosis) -> list[str]:
    return [row.name for row in diagnosis.rows if not row.ok]


@pytest.mark.parametrize(("chains", "draws"), [(32, 100), (4, 1000)])
def test_law_stationary_runs_are_seldom_refused(chains, draws, seed):
    rng = np.random.default_rng(seed)
    alarms = sum(
        not diagnose(ar1(rng, chains, draws, 0.8, 2), level=0.05).ok for _ in range(TRIALS)
    )
    # Two shares of the level; Bonferroni is conservative, so only an excess would be a fault.
    assert alarms < 0.1 * TRIALS or covers(alarms, TRIALS, 0.1)


@pytest.mark.parametrize(("chains", "draws"), [(32, 200), (4, 2000)])
def test_law_a_trend_of_one_standard_deviation_is_refused(chains, draws, seed):
    rng = np.random.default_rng(seed)
    seen = 0
    for _ in range(25):
        x = ar1(rng, chains, draws, 0.8, 2)
        x[..., 1] += np.linspace(0.0, 1.0, draws)
        seen += not diagnose(x).ok
    assert seen >= 24


@pytest.mark.twin
def test_a_small_trend_in_a_short_run_looks_like_none(seed):
    # No test proves stationarity: the power has a limit, and this is beyond it.
    x = ar1(np.random.default_rng(seed), 32, 40, 0.8)
    assert diagnose(x + np.linspace(0.0, 0.05, 40)[:, None]).ok


def test_all_checks_are_listed_and_said(seed):
    found = diagnose(ar1(np.random.default_rng(seed), 20, 200, 0.5))
    assert [row.name for row in found.rows] == NAMES
    assert found.ok
    found.refuse()
    assert len(found.sentences) == 6
    assert str(found).count("ok  ") == 6


def test_a_far_start_is_refused_and_the_advice_cures_it(seed):
    x = ar1(np.random.default_rng(seed), 32, 300, 0.8)
    x += 40.0 * np.exp(-np.arange(300) / 8)[:, None]
    run = Trajectory(values=x, times=10.0 * np.arange(300))
    found = diagnose(run)
    assert _failed(found) == ["burn-in"]
    with pytest.raises(RecordError, match=rf"drop the first {found.burn_in} of 300 draws"):
        found.refuse()
    start = 10.0 * found.burn_in
    assert f"`trajectory.between({start:g})`" in str(found)
    assert diagnose(run.between(start)).ok


def test_constant_coordinates_are_named(seed):
    x = np.random.default_rng(seed).standard_normal((4, 100, 3))
    x[..., 1] = 2.0
    found = diagnose(Trajectory(values=x, times=np.arange(100.0), names=["a", "b", "c"]))
    assert _failed(found) == ["variation"]
    with pytest.raises(RecordError, match=r"1 of 3 coordinates \('b'\) do not vary.*drop constant"):
        found.refuse()


def test_chains_that_stand_still_apart_do_not_vary(seed):
    x = np.repeat(np.random.default_rng(seed).standard_normal((20, 1, 1)), 50, axis=1)
    assert _failed(diagnose(x)) == ["variation"]


def test_too_few_draws_and_unequal_steps_are_refused(seed):
    rng = np.random.default_rng(seed)
    found = diagnose(rng.standard_normal((20, 10, 1)))
    assert _failed(found) == ["draws"]
    with pytest.raises(RecordError, match="10 draws per chain, 20 are needed: record"):
        found.refuse()
    unequal = Trajectory(values=rng.standard_normal((20, 30, 1)), times=np.arange(30.0) ** 2)
    with pytest.raises(RecordError, match="equally spaced"):
        diagnose(unequal).refuse()


def test_a_few_correlated_draws_are_refused(seed):
    found = diagnose(ar1(np.random.default_rng(seed), 2, 200, 0.97))
    assert "effective draws" in _failed(found)
    with pytest.raises(RecordError, match=r"independent draws at least.*record longer"):
        found.refuse()


def test_few_chains_in_different_places_are_refused_and_many_short_ones_are_not(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((4, 1000, 1))
    x[0] += 1.0
    assert "chains agree" in _failed(diagnose(x))
    found = diagnose(ar1(rng, 200, 40, 0.9))
    assert "chains agree" not in _failed(found)
    assert "trust averages over chains" in str(found)


def test_chains_of_different_width_are_refused(seed):
    x = np.random.default_rng(seed).standard_normal((4, 1000, 1))
    x[0] *= 3.0
    assert "chains agree" in _failed(diagnose(x))


def test_keeps_its_argument(seed):
    x = ar1(np.random.default_rng(seed), 20, 100, 0.5)
    before = x.copy()
    diagnose(x)
    np.testing.assert_array_equal(x, before)


def test_refuses_nan():
    with pytest.raises(RecordError, match="chain 1 is NaN"):
        diagnose(np.where(np.arange(40).reshape(2, 20, 1) == 30, np.nan, 1.0))

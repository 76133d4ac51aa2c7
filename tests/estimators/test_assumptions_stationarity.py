"""Stationarity as an equivalence question: settled, drifting, spreading, and not known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fracsde.errors import OutOfRangeError, RecordError
from fracsde.estimators.assumptions import stationarity_of
from tests.support.laws import BUDGET, LOOKS, seed_of
from tests.support.recorded_sgd import correlated


@pytest.mark.parametrize("chains", [2, 32])
@pytest.mark.parametrize("draws", [6000, 6001])
def test_settled_run_holds_with_many_chains_and_with_few(chains: int, draws: int) -> None:
    rng = np.random.default_rng(seed_of(f"settled {chains}"))
    longer = draws * (32 if chains == 2 else 1)
    x = correlated(rng, chains, longer, 1, 0.5)
    assert stationarity_of(x).verdict.name == "HOLDS"


def test_effects_have_the_stated_meaning() -> None:
    rng = np.random.default_rng(seed_of("meaning"))
    x = rng.standard_normal((64, 4000, 2))
    x[:, 2000:, 0] += 1.0
    x[:, 2000:, 1] *= np.sqrt(1.5)
    entries = stationarity_of(x).entries
    assert entries["drift of the mean of '0' in deviations"][0] == pytest.approx(1.0, abs=0.02)
    # The drift of a mean is not counted as one of the variance, nor the reverse.
    assert entries["relative drift of the variance of '0'"][0] == pytest.approx(0.0, abs=0.03)
    assert entries["relative drift of the variance of '1'"][0] == pytest.approx(0.4, abs=0.03)
    assert entries["drift of the mean of '1' in deviations"][0] == pytest.approx(0.0, abs=0.03)


@pytest.mark.parametrize("which", ["mean", "variance"])
def test_twin_that_drifts_fails(which: str) -> None:
    rng = np.random.default_rng(seed_of(f"drifting {which}"))
    x = correlated(rng, 32, 4000, 1, 0.5)
    ramp = np.linspace(0.0, 1.0, 4000)[:, None]
    test = stationarity_of(x + 1.2 * ramp if which == "mean" else x * np.sqrt(1.0 + ramp))
    assert test.verdict.name == "FAILS"
    assert which in test.meaning


def test_short_record_is_undecided() -> None:
    rng = np.random.default_rng(seed_of("short"))
    assert stationarity_of(rng.standard_normal((32, 20, 1))).verdict.name == "UNDECIDED"


def test_coverage_of_the_family_of_intervals_is_at_least_nominal() -> None:
    rng = np.random.default_rng(seed_of("coverage"))
    hits, trials = 0, 200
    for _ in range(trials):
        test = stationarity_of(correlated(rng, 24, 60, 2, 0.6), level=0.05)
        hits += all(low <= 0.0 <= high for _, low, high, _ in test.entries.values())
    assert stats.binom(trials, 0.95).cdf(hits) > BUDGET / LOOKS


def test_refuses_too_few_draws_and_tolerances_that_are_none() -> None:
    noise = np.random.default_rng(1).standard_normal((32, 100, 1))
    with pytest.raises(RecordError, match="20 draws"):
        stationarity_of(noise[:, :10])
    with pytest.raises(OutOfRangeError, match="does not matter"):
        stationarity_of(noise, mean=0.0)

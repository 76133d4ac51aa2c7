"""Survival and means of waiting times: a worked example, and intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from fracsde.errors import OutOfRangeError, RecordError
from fracsde.estimators import FirstPassages, mean_passage_time, survival
from tests.support.laws import covers, follows, honest

TRIALS = 300

# Weeks of remission under 6-mercaptopurine, the usual example; + is censored:
# 6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+
WEEKS = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
ENDED = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]


def _remission():
    return FirstPassages(times=np.array(WEEKS, dtype=float), observed=np.array(ENDED) == 1)


def test_exact_published_example():
    found = survival(_remission())
    np.testing.assert_array_equal(found.times, [6, 7, 10, 13, 16, 22, 23])
    np.testing.assert_array_equal(found.at_risk, [21, 17, 15, 12, 11, 7, 6])
    expected = [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
    np.testing.assert_allclose(found.value, expected, atol=6e-4)
    errors = [0.0764, 0.0869, 0.0963, 0.1068, 0.1141, 0.1282, 0.1346]
    np.testing.assert_allclose(found.stderr, errors, atol=6e-5)
    # Areas under the steps up to week 23.
    area = 6 + 0.857143 + 3 * 0.806723 + 3 * 0.752941 + 3 * 0.690196 + 6 * 0.627451 + 0.537815
    assert abs(found.restricted_mean(23.0).value[0] - area) < 1e-5


def test_exact_without_censoring_it_is_the_share_and_the_plain_mean(seed):
    times = np.random.default_rng(seed).exponential(3.0, 40)
    waits = FirstPassages(times=times, observed=np.ones(40, dtype=bool))
    curve = survival(waits)
    for t in (0.0, 1.0, 4.0, 1e3):
        assert abs(curve.at(t) - (times > t).mean()) < 1e-14
    np.testing.assert_allclose(
        curve.stderr, np.sqrt(curve.value * (1 - curve.value) / 40), atol=1e-15
    )
    whole = curve.restricted_mean()
    assert abs(whole.value[0] / times.mean() - 1) < 1e-13
    assert abs(whole.stderr[0] / (times.std() / 40**0.5) - 1) < 1e-12
    assert abs(mean_passage_time(waits).value[0] / times.mean() - 1) < 1e-14


def test_exact_intervals_stay_between_zero_and_one_and_hold_the_curve():
    curve = survival(_remission())
    low, high = curve.interval()
    assert np.all((low >= 0) & (low < curve.value) & (curve.value < high) & (high <= 1))
    z = special.ndtri(0.975)
    first = curve.value[0] ** np.exp(z * curve.stderr[0] / curve.value[0] / -np.log(curve.value[0]))
    assert abs(low[0] - first) < 1e-14
    assert np.isnan(curve.at(40.0))


def test_exact_tail_from_the_start_is_time_waited_over_passages():
    found = mean_passage_time(_remission(), tail_from=0.0)
    assert abs(found.value[0] - sum(WEEKS) / sum(ENDED)) < 1e-12
    assert abs(found.stderr[0] - sum(WEEKS) / sum(ENDED) ** 1.5) < 1e-12


def _weibull(rng, chains, shape):
    waits = rng.weibull(shape, chains)
    end = np.minimum(rng.uniform(0.3, 2.5, chains), 1.8)
    return FirstPassages(times=np.minimum(waits, end), observed=waits <= end)


def _coverage(seed, measure, truth):
    rng = np.random.default_rng(seed)
    hits, values, errors = 0, [], []
    for _ in range(TRIALS):
        found = measure(_weibull(rng, 60, 1.5))
        reach = stats.t.ppf(0.975, found.n_effective[0] - 1)
        hits += bool(abs(found.value[0] - truth) <= reach * found.stderr[0])
        values.append(found.value[0])
        errors.append(found.stderr[0])
    return covers(hits, TRIALS, 0.95), honest(values, errors)


def test_law_restricted_means_of_censored_waits_cover(seed):
    truth = special.gammainc(1 / 1.5, 1.0) * special.gamma(1 / 1.5) / 1.5  # int_0^1 exp(-t^1.5)
    assert _coverage(seed, lambda waits: survival(waits).restricted_mean(1.0), truth) == (
        True,
        True,
    )


@pytest.mark.twin
def test_law_means_that_leave_out_the_censored_are_rejected(seed):
    def naive(waits):
        seen = waits.times[waits.observed]
        return mean_passage_time(FirstPassages(times=seen, observed=np.ones(len(seen), dtype=bool)))

    covered, _ = _coverage(seed, naive, special.gamma(1 + 1 / 1.5))
    assert not covered


def test_law_log_log_intervals_of_the_share_cover(seed):
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(TRIALS):
        curve = survival(_weibull(rng, 60, 1.5))
        last = int(np.searchsorted(curve.times, 1.0)) - 1
        low, high = curve.interval()
        hits += bool(low[last] <= np.exp(-1.0) <= high[last])
    assert covers(hits, TRIALS, 0.95)


def _early(rng, chains=80):
    """Two stages of mean 1/4, then a constant rate: mean 2.5, most of it beyond the record."""
    waits = rng.exponential(0.25, chains) + rng.exponential(0.25, chains)
    waits += rng.exponential(2.0, chains)
    return FirstPassages(times=np.minimum(waits, 3.0), observed=waits <= 3.0)


def _tail(seed, since):
    rng = np.random.default_rng(seed)
    found = [mean_passage_time(_early(rng), tail_from=since) for _ in range(TRIALS)]
    values = np.array([f.value[0] for f in found])
    errors = np.array([f.stderr[0] for f in found])
    reach = stats.t.ppf(0.975, np.array([f.n_effective[0] for f in found]) - 1)
    hits = int((np.abs(values - 2.5) <= reach * errors).sum())
    return covers(hits, TRIALS, 0.95), honest(values, errors), values


def test_law_means_with_an_exponential_tail_cover(seed):
    covered, right, values = _tail(seed, 1.2)
    assert covered
    assert right
    assert follows(values.mean(), 2.5, 1.5 * values.std() / TRIALS**0.5)


@pytest.mark.twin
def test_law_a_constant_rate_from_the_start_is_rejected(seed):
    values = _tail(seed, 0.0)[2]
    assert not follows(values.mean(), 2.5, 1.5 * values.std() / TRIALS**0.5)


def test_refuses_means_that_nothing_supports():
    waits = FirstPassages(times=[1.0, 2.0, 5.0], observed=[False, False, False])
    with pytest.raises(RecordError, match="longer than 5; record longer"):
        survival(waits)
    with pytest.raises(RecordError, match="at least 2 passages, got 0"):
        mean_passage_time(waits)
    few = FirstPassages(times=[1.0, 2.0, 5.0], observed=[True, True, False])
    with pytest.raises(RecordError, match="no chain passes after 2"):
        mean_passage_time(few, tail_from=2.0)
    with pytest.raises(OutOfRangeError, match="`horizon`"):
        survival(few).restricted_mean(6.0)
    with pytest.raises(OutOfRangeError, match="`tail_from`"):
        mean_passage_time(few, tail_from=-1.0)

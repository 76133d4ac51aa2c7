"""Records that were let through near the border of a refusal, and records that must not be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from fracsde import estimators
from fracsde.errors import RecordError
from fracsde.estimators import correlation_times as times_of
from fracsde.estimators.cut_off import cut_off_shift
from fracsde.networks import SoftmaxRegression
from tests.support.series import ar1


@pytest.mark.parametrize("room", [0.3, 0.7, 1.0, 2.0])
def test_routes_agree_shift_is_that_of_the_largest_likelihood(room):
    # Of a normal deviate 0 seen only below the room: its mean by brute force.
    means = np.linspace(0.0, 4.0, 40001)
    likelihood = stats.norm.logpdf(means) - special.log_ndtr(room - means)
    expected = min(means[likelihood.argmax()], 2.0)
    assert cut_off_shift(np.array(room)) == pytest.approx(expected, abs=2e-3)


def _held(seed, estimator, truth, trials):
    # Of short records with integrated time 19 draws, 40 of which they hold.
    rng = np.random.default_rng(seed)
    hits = kept = 0
    for _ in range(trials):
        try:
            m = estimator(ar1(rng, 2, 380, 0.9, 1))
        except RecordError:
            continue
        kept += 1
        reach = -special.stdtrit(m.n_effective - 1.0, 0.025) * m.stderr
        hits += bool(abs(m.value[0] - truth) < reach[0])
    assert 0.2 < kept / trials < 0.5
    return hits / kept


@pytest.mark.parametrize(
    ("estimator", "truth", "least"),
    [(estimators.mean, 0.0, 0.91), (estimators.variances, 1.0, 0.88)],
)
def test_law_intervals_of_records_let_through_hold_the_truth(estimator, truth, least, seed):
    # Of about 600, with a standard deviation of 1 %, 93 % of means and 90 % of variances.
    assert _held(seed, estimator, truth, 1600) > least


@pytest.mark.twin
def test_law_intervals_of_records_let_through_miss_it_without_the_factor(seed, monkeypatch):
    # 85 % of variances.
    monkeypatch.setattr(times_of, "cut_off_shift", lambda room: 0.0 * room)
    assert _held(seed, estimators.variances, 1.0, 1600) < 0.88


def test_limit_of_a_long_record_is_no_factor(seed):
    x = ar1(np.random.default_rng(seed), 4, 4000, 0.5, 2)
    times = times_of.correlation_times(estimators.chains.as_trajectory(x))
    np.testing.assert_allclose(times.let_through, 1.0, atol=1e-6)


def test_law_variance_of_signs_is_held(seed):
    # Their squares about the mean do not vary but for the mean's own noise.
    rng, hits = np.random.default_rng(seed), 0
    for _ in range(200):
        m = estimators.variances(np.where(rng.random((3, 333, 1)) < 0.5, -1.0, 1.0))
        reach = -special.stdtrit(m.n_effective - 1.0, 0.025) * m.stderr
        hits += bool(abs(m.value[0] - 1.0) < reach[0])
    assert hits >= 184


@pytest.mark.parametrize(
    "estimator",
    [
        estimators.mean,
        estimators.variances,
        estimators.covariance,
        estimators.covariance_eigenvalues,
        lambda x: estimators.autocorrelation_at(x, [1]),
        lambda x: estimators.autocovariance_at(x, [1]),
        lambda x: estimators.mean_square_displacement(
            x, [1], kind="time_averaged"
        ).to_measurement(),
    ],
)
def test_refuses_chains_with_one_seed_and_masked_entries(estimator, seed):
    x = ar1(np.random.default_rng(seed), 20, 100, 0.5, 2)
    with pytest.raises(RecordError, match="constant"):
        estimator(np.repeat(x[:1], 20, axis=0))
    with pytest.raises(RecordError, match="masked"):
        estimator(np.ma.masked_array(x, x > 2.0))


def test_refuses_two_draws_for_being_few(seed):
    x = np.random.default_rng(seed).standard_normal((1, 2, 1))
    with pytest.raises(RecordError, match="do not hold 50"):
        estimators.variances(x)


def test_refuses_squares_out_of_range(seed):
    x = 1e160 * np.random.default_rng(seed).standard_normal((20, 100, 1))
    with np.errstate(all="ignore"), pytest.raises(RecordError, match="range of float64"):
        estimators.variances(x)


def test_diagnose_refuses_chains_with_one_seed_but_not_chains_that_end_alike(seed):
    x = ar1(np.random.default_rng(seed), 20, 200, 0.5, 2)
    x[7] = x[3]
    with pytest.raises(RecordError, match="chains 3 and 7 are the same"):
        estimators.diagnose(x).refuse()
    x[7, :-1] = -x[7, :-1]
    assert estimators.diagnose(x).rows[0].ok


def test_refuses_errors_of_what_does_not_vary(seed):
    rng = np.random.default_rng(seed)
    with pytest.raises(RecordError, match="drawn afresh"):
        estimators.noise_scale_of_batches(
            np.full((20, 30), 2.0), np.ones((20, 30)), small_batch=4, large_batch=16
        )
    times = np.geomspace(0.1, 10.0, 20)
    shifted = np.exp(-times) + rng.standard_normal((40, 1))
    with pytest.raises(RecordError, match="differ in 1 ways"):
        estimators.fit_fractional_order(times, shifted)
    path = np.concatenate([[0.0], np.cumsum(rng.standard_normal(9))])
    for fit in (estimators.fit_fractional_moments, estimators.fit_fractional_likelihood):
        with pytest.raises(RecordError, match="move alike"):
            fit(np.arange(10.0), np.tile(path, (40, 1)), motion="free")


def test_no_noise_scale_is_stated_of_gradients_that_differ_in_sign_alone():
    # Their mean is zero exactly, its squared length comes out negative and its error zero.
    net = SoftmaxRegression(inputs=np.ones((50, 3)), targets=np.arange(50) % 2)
    found = estimators.gradient_noise_scale(
        net, np.zeros(net.parameters), population="distribution"
    )
    assert found.gradient < 0.0
    assert not found.resolved
    assert found.interval == (0.0, np.inf)
    with pytest.raises(RecordError, match="not told from zero"):
        found.measurement()

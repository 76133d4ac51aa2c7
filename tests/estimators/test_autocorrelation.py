"""Correlation times and correlations of autoregressions, whose values are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fracsde.errors import RecordError
from fracsde.estimators import autocorrelation_at, effective_sample_size, integrated_time, mean
from fracsde.estimators.chains import as_trajectory
from fracsde.estimators.correlation_times import correlation_times
from fracsde.records import Quantity
from tests.support.laws import covers, follows, honest
from tests.support.series import ar1

TRIALS = 300


@pytest.mark.parametrize("phi", [-0.4, 0.0, 0.5, 0.9])
def test_law_integrated_time_of_an_autoregression(phi, seed):
    m = integrated_time(ar1(np.random.default_rng(seed), 8, 10_000, phi))
    assert follows(m.value[0], (1 + phi) / (1 - phi), m.stderr[0])


@pytest.mark.twin
def test_law_rejects_the_other_convention(seed):
    m = integrated_time(ar1(np.random.default_rng(seed), 8, 10_000, 0.9))
    assert not follows(0.5 * m.value[0], 19.0, m.stderr[0])


def test_law_error_of_the_integrated_time_is_its_spread(seed):
    rng = np.random.default_rng(seed)
    found = [integrated_time(ar1(rng, 2, 4000, 0.8)) for _ in range(TRIALS)]
    assert honest([m.value[0] for m in found], [m.stderr[0] for m in found])


def test_window_spans_a_damped_oscillation(seed):
    # x'' + x = noise, lightly damped: rho = phi^k cos(w k) with tau far below its envelope's.
    rng = np.random.default_rng(seed)
    radius, angle = 0.95, 0.6
    x = ar1(rng, 8, 20_000, radius, 2)
    turn = np.exp(1j * angle * np.arange(20_000))
    swinging = ((x[..., 0] + 1j * x[..., 1]) * turn).real[..., None]
    exact = 2 * (1 / (1 - radius * np.exp(1j * angle))).real - 1
    m = integrated_time(swinging)
    assert exact < 0.3
    assert follows(m.value[0], exact, 0.1)


def test_exact_effective_sample_size_is_draws_over_tau(seed):
    x = ar1(np.random.default_rng(seed), 4, 2000, 0.7, 2)
    np.testing.assert_allclose(effective_sample_size(x), 8000 / integrated_time(x).value)


def test_effective_sample_size_of_an_alternating_series_is_bounded(seed):
    x = ar1(np.random.default_rng(seed), 2, 5000, -0.99)
    assert effective_sample_size(x)[0] <= 10_000 * 4.0 * (1 + 1e-12)


def _interval_hits(seed, chains, draws, phi, lag, stderr=None):
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(TRIALS):
        m = autocorrelation_at(ar1(rng, chains, draws, phi), [lag])
        error = m.stderr[0] if stderr is None else stderr
        reach = stats.t.ppf(0.975, m.n_effective[0] - 1) * error
        hits += bool(abs(m.value[0] - phi**lag) <= reach)
    return hits


@pytest.mark.parametrize(("chains", "draws"), [(4, 500), (32, 60)])
def test_law_interval_of_a_correlation_covers(chains, draws, seed):
    assert covers(_interval_hits(seed, chains, draws, 0.8, 8), TRIALS, 0.95)


@pytest.mark.twin
def test_law_error_of_white_noise_is_rejected(seed):
    assert not covers(_interval_hits(seed, 4, 500, 0.8, 8, stderr=2000**-0.5), TRIALS, 0.95)


def test_limit_bartlett_of_white_noise_is_one_over_root_n(seed):
    m = autocorrelation_at(np.random.default_rng(seed).standard_normal((1, 40_000, 1)), [1, 7])
    np.testing.assert_allclose(m.stderr, 40_000**-0.5, rtol=0.1)


def test_routes_agree_between_jackknife_and_bartlett(seed):
    x = ar1(np.random.default_rng(seed), 400, 1000, 0.7)
    across = autocorrelation_at(x, [1, 5])
    pooled = autocorrelation_at(x.reshape(8, -1, 1), [1, 5])
    np.testing.assert_allclose(across.stderr, pooled.stderr, rtol=0.3)
    np.testing.assert_allclose(across.value, pooled.value, atol=0.01)


def test_labels_run_over_lags_then_coordinates(seed):
    m = autocorrelation_at(np.random.default_rng(seed).standard_normal((16, 9, 2)), [1, 3])
    assert m.quantity.labels == ("0 at lag 1", "1 at lag 1", "0 at lag 3", "1 at lag 3")
    named = Quantity(name="correlation", labels=("a", "b"))
    x = np.random.default_rng(seed).standard_normal((16, 9, 2))
    assert autocorrelation_at(x, [2], quantity=named).quantity is named


def test_refuses_lag_zero_and_lags_beyond_the_record():
    x = np.random.default_rng(0).standard_normal((16, 9, 1))
    with pytest.raises(RecordError, match="between 1 and 8"):
        autocorrelation_at(x, [0])
    with pytest.raises(RecordError, match="got 9; ask for other lags"):
        autocorrelation_at(x, [9])
    with pytest.raises(RecordError, match="divide times by the spacing"):
        autocorrelation_at(x, [0.5])


def test_refuses_a_record_of_few_autocorrelation_times(seed):
    with pytest.raises(RecordError, match="record longer"):
        mean(ar1(np.random.default_rng(seed), 2, 200, 0.99))


@pytest.mark.parametrize("chains", [2, 20])
def test_refuses_a_constant_series(chains):
    with pytest.raises(RecordError, match="coordinate '0' does not vary"):
        autocorrelation_at(np.full((chains, 100, 1), 3.1), [1])


def test_refuses_a_single_draw():
    with pytest.raises(RecordError, match="equally spaced"):
        integrated_time(np.zeros((4, 1, 1)))


@pytest.mark.parametrize("rho", [0.0, 0.9, 0.999])
def test_routes_agree_windows_among_few_lags_and_among_all(rho, seed: int, monkeypatch) -> None:
    # Windows of a few lags, of hundreds, and of thousands, which take the second range of lags.
    run = as_trajectory(ar1(np.random.default_rng(seed), 2, 200_000, rho))
    found = correlation_times(run)
    monkeypatch.setattr("fracsde.estimators.correlation_times._FIRST_LAGS", ())
    whole = correlation_times(run)
    np.testing.assert_array_equal(found.window, whole.window)
    np.testing.assert_allclose(found.tau, whole.tau, rtol=1e-12)
    np.testing.assert_allclose(found.variance, whole.variance, rtol=1e-13)
    shown = len(found.correlation)
    assert found.window.max() < shown < run.draws // 8
    np.testing.assert_allclose(found.correlation, whole.correlation[:shown], rtol=0, atol=1e-12)
    assert not whole.correlation[shown:].any()

"""The fractional order from relaxations of known order, and what must not pass for one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize
from scipy.special import erfcx

from fracsde.errors import InputError, RecordError
from fracsde.estimators import fit_fractional_order
from fracsde.special import mittag_leffler
from tests.support.laws import covers, follows

TIMES = np.geomspace(0.05, 30.0, 12)
TRIALS = 60


def _curves(rng, alpha, chains=64, noise=0.2, times=TIMES):
    """Relaxations with noise correlated along each chain, over about half a decade."""
    gap = np.abs(np.subtract.outer(np.log(times), np.log(times)))
    mix = np.linalg.cholesky(np.exp(-gap))
    return mittag_leffler(-(times**alpha), alpha) + noise * (
        rng.standard_normal((chains, len(times))) @ mix.T
    )


@pytest.mark.parametrize("alpha", [0.3, 0.6, 0.85])
def test_exact_curve_gives_back_its_parameters(alpha, seed):
    rng = np.random.default_rng(seed)
    curves = 2.0 + 3.0 * mittag_leffler(-((TIMES / 1.7) ** alpha), alpha)
    fit = fit_fractional_order(TIMES, curves + 1e-9 * rng.standard_normal((40, 12)))
    assert abs(fit.alpha - alpha) < 1e-6
    assert abs(fit.timescale - 1.7) < 1e-5
    assert abs(fit.plateau - 2.0) < 1e-5
    assert abs(fit.amplitude - 3.0) < 1e-5
    assert fit.identified == (alpha > 0.5)  # at 0.3 it falls by less than three
    assert not fit.one_sided


def test_exact_common_start_is_held(seed):
    rng = np.random.default_rng(seed)
    times = np.append(0.0, TIMES)
    curves = erfcx(np.sqrt(times)) + 0.02 * np.sqrt(times) * rng.standard_normal((50, 13))
    fit = fit_fractional_order(times, curves, plateau=0.0)
    assert fit.amplitude == 1.0
    assert fit.points == 12


def _hits(seed, alpha, interval, **known):
    rng = np.random.default_rng(seed)
    hits, values = 0, []
    for _ in range(TRIALS):
        low, high, value = interval(_curves(rng, alpha), known)
        hits += bool(low <= alpha <= high)
        values.append(value)
    return hits, np.array(values)


def _jackknife(curves, known):
    fit = fit_fractional_order(TIMES, curves, **known)
    return (*fit.alpha_interval(0.95), fit.alpha)


def _residuals(curves, known):
    """What a least-squares program reports: errors from residuals of the mean curve."""

    def model(t, alpha, log_tau, amplitude):
        return amplitude * mittag_leffler(-((t * np.exp(-log_tau)) ** alpha), alpha)

    bounds = ([0.05, -5.0, -9.0], [1.0, 5.0, 9.0])
    found, covariance = optimize.curve_fit(
        model, TIMES, curves.mean(axis=0), [0.6, 0.0, 1.0], bounds=bounds
    )
    reach = 1.96 * np.sqrt(covariance[0, 0])
    return found[0] - reach, found[0] + reach, found[0]


def test_law_estimate_has_little_bias_and_its_interval_covers_the_order(seed):
    """Coverage to a per cent is counted by `validation/covered/orders.py`."""
    hits, values = _hits(seed, 0.7, _jackknife, plateau=0.0)
    assert covers(hits, TRIALS, 0.95)
    # Bias of the estimate below half of its spread, and seen above that.
    assert abs(values.mean() - 0.7) < values.std() / 2


def test_law_interval_of_diagonal_weights_covers_the_order(seed):
    def interval(curves, known):
        fit = fit_fractional_order(TIMES, curves, plateau=0.0, weights="diagonal")
        return (*fit.alpha_interval(0.95), fit.alpha)

    hits, _ = _hits(seed, 0.7, interval)
    assert covers(hits, TRIALS, 0.95)


def test_diagonal_weights_stay_nearer_a_misfitted_mean_if_chains_differ_in_length(seed):
    """Not a general law: for a common level or random walks neither choice is clearly nearer."""
    rng = np.random.default_rng(seed)
    times = np.geomspace(0.05, 30.0, 20)
    mean = 0.6 * np.exp(-times / 0.5) + 0.4 * np.exp(-times / 10.0)
    # Every chain goes its own length of the way: strong correlation, small noise of its own.
    lengths = 1.0 + 0.1 * rng.standard_normal((256, 1))
    own = 0.003 * np.sqrt(times) * rng.standard_normal((256, 20))
    curves = 1.0 - lengths * (1.0 - mean) + own

    def miss(weights):
        fit = fit_fractional_order(times, curves, weights=weights)
        decay = mittag_leffler(-((times / fit.timescale) ** fit.alpha), fit.alpha)
        return np.abs(fit.plateau + fit.amplitude * decay - mean).max()

    assert miss("diagonal") < 0.5 * miss("generalised")


def test_refuses_weights_that_do_not_exist():
    with pytest.raises(InputError, match="one of 'generalised', 'diagonal'"):
        fit_fractional_order(TIMES, _curves(np.random.default_rng(0), 0.5), weights="robust")


def test_law_interval_covers_the_ordinary_clock_from_one_side(seed):
    hits, values = _hits(seed, 1.0, _jackknife, plateau=0.0)
    assert covers(hits, TRIALS, 0.975)
    # Half of the estimates would pass 1 and stop there.
    assert 0.25 < np.mean(values == 1.0) < 0.75


@pytest.mark.twin
def test_law_interval_from_residuals_is_rejected(seed):
    hits, _ = _hits(seed, 0.7, _residuals)
    assert not covers(hits, TRIALS, 0.95)


def test_law_misfit_of_the_right_model_is_uniform(seed):
    rng = np.random.default_rng(seed)
    trials = 60
    found = [fit_fractional_order(TIMES, _curves(rng, 0.7), plateau=0.0) for _ in range(trials)]
    p = np.array([fit.misfit_p_value for fit in found])
    assert follows(p.mean(), 0.5, 1 / np.sqrt(12 * trials))
    assert covers(int(np.sum(p < 0.1)), trials, 0.1)
    assert 0.6 < np.mean([fit.misfit for fit in found]) < 1.4


def _mixture(rng, chains, noise):
    mean = 0.5 * (np.exp(-10.0 * TIMES) + np.exp(-0.1 * TIMES))
    return mean + noise * rng.standard_normal((chains, len(TIMES)))


def test_mixture_of_exponentials_is_a_poor_fit_when_data_allow(seed):
    fit = fit_fractional_order(TIMES, _mixture(np.random.default_rng(seed), 800, 0.05), plateau=0.0)
    assert fit.misfit_p_value < 1e-9
    assert fit.misfit > 10


def test_wide_mixture_of_exponentials_passes_for_fractional(seed):
    # The known confusion: exponentials, three a decade and weighted like the spectrum of order
    # 0.6, are nothing fractional, and no fit to this window can tell.
    alpha, rates = 0.6, np.geomspace(1e-2, 1e3, 16)
    weights = rates**alpha / (rates ** (2 * alpha) + 2 * rates**alpha * np.cos(np.pi * alpha) + 1)
    mean = np.exp(-np.outer(TIMES, rates)) @ (weights / weights.sum())
    noise = np.random.default_rng(seed).standard_normal((100, len(TIMES)))
    fit = fit_fractional_order(TIMES, mean + 0.1 * noise, plateau=0.0)
    assert fit.alpha_interval(0.9999)[1] < 1.0
    assert fit.misfit_p_value > 1e-6
    assert fit.identified


def test_boundary_is_reported_as_one_sided(seed):
    # A relaxation faster than exponential would have an order above 1.
    rng = np.random.default_rng(seed)
    curves = np.exp(-(TIMES**1.2)) + 0.05 * rng.standard_normal((60, 12))
    fit = fit_fractional_order(TIMES, curves, plateau=0.0)
    assert fit.one_sided
    assert fit.alpha == 1.0
    low, high = fit.alpha_interval(0.9)
    assert low < 1.0
    assert high == 1.0
    order, scale = fit.to_measurements()
    assert "one-sided" in order.method
    assert order.value[0] == 1.0
    assert scale.quantity.unit == "t"


def test_order_held_at_one_is_the_exponential_and_misfits_a_fractional_curve(seed):
    rng = np.random.default_rng(seed)
    right = fit_fractional_order(TIMES, _curves(rng, 1.0, 400), plateau=0.0, alpha=1.0)
    assert right.fixed
    assert right.alpha_interval() == (1.0, 1.0)
    (scale,) = right.to_measurements()
    assert follows(scale.value[0], 1.0, scale.stderr[0])
    assert right.misfit_p_value > 1e-6
    wrong = fit_fractional_order(TIMES, _curves(rng, 0.6, 400), plateau=0.0, alpha=1.0)
    assert wrong.misfit_p_value < 1e-9


def test_short_window_is_not_identified(seed):
    fit = fit_fractional_order(
        np.geomspace(0.01, 0.2, 12),
        _curves(np.random.default_rng(seed), 0.8, noise=0.01, times=np.geomspace(0.01, 0.2, 12)),
        plateau=0.0,
    )
    assert not fit.identified
    assert "record earlier or longer" in fit.reason


def test_noisy_record_is_not_identified(seed):
    fit = fit_fractional_order(TIMES, _curves(np.random.default_rng(seed), 0.6, 20, noise=1.0))
    assert not fit.identified
    assert "run more chains" in fit.reason


def test_window_and_fewer_chains_than_times(seed):
    times = np.geomspace(0.02, 60.0, 60)
    curves = _curves(np.random.default_rng(seed), 0.7, chains=24, noise=0.05, times=times)
    fit = fit_fractional_order(times, curves, window=(0.05, 30.0), plateau=0.0)
    assert fit.window[0] >= 0.05
    assert fit.window[1] <= 30.0
    low, high = fit.alpha_interval(0.9999)
    assert low < 0.7 < high


def test_refuses_few_chains_or_times():
    curves = _curves(np.random.default_rng(0), 0.7)
    with pytest.raises(RecordError, match="at least 16 chains"):
        fit_fractional_order(TIMES, curves[:9])
    with pytest.raises(RecordError, match="7 times in the window"):
        fit_fractional_order(TIMES, curves, window=(TIMES[0], TIMES[6]))


def test_refuses_a_window_outside_the_record_and_times_before_the_start():
    curves = _curves(np.random.default_rng(0), 0.7)
    with pytest.raises(RecordError, match="inside the record"):
        fit_fractional_order(TIMES, curves, window=(1.0, 99.0))
    with pytest.raises(RecordError, match="count from the start"):
        fit_fractional_order(TIMES - 1.0, curves)


def test_refuses_curves_that_do_not_vary():
    with pytest.raises(RecordError, match="times at which they differ"):
        fit_fractional_order(TIMES, np.ones((20, 12)))


def test_noise_is_never_taken_for_a_relaxation(seed):
    rng = np.random.default_rng(seed)
    for _ in range(50):
        fit = fit_fractional_order(TIMES, rng.standard_normal((30, 12)))
        assert not fit.identified
        assert "hardly any relaxation" in fit.reason

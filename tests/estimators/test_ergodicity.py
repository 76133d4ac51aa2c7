"""Ergodicity breaking: exact values of walks that do and do not average themselves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from fracsde import OUProcess
from fracsde.errors import RecordError, ShapeError
from fracsde.estimators import ergodicity_breaking, mean_square_displacement
from fracsde.observables import ergodicity_breaking as exact_value
from tests.support.laws import covers, follows, honest
from tests.support.series import ar1, walk

TRIALS = 300


def _brownian(draws, lag, dimension=1):
    windows = draws - lag
    squares = windows * (2 * lag**2 + 1) / (3 * lag) - (lag**2 - 1) / 6
    return 2 * squares / (dimension * windows**2)


@pytest.mark.parametrize(("draws", "lag"), [(1000, 5), (1000, 50), (64, 7), (300, 149)])
def test_exact_brownian_value_is_that_of_isserlis(draws, lag):
    s = np.arange(-(lag - 1), lag)
    covariance = lag - np.abs(s)
    expected = 2 * ((draws - lag - np.abs(s)) * covariance**2).sum() / (lag * (draws - lag)) ** 2
    assert abs(_brownian(draws, lag) / expected - 1) < 1e-13
    slow = OUProcess(drift=[[1e-9]], noise=[[1.0]])
    assert abs(_brownian(draws, lag) / exact_value(slow, [lag], draws)[0] - 1) < 1e-6


@pytest.mark.parametrize("dimension", [1, 3])
def test_law_brownian_motion(dimension, seed):
    x = walk(np.random.default_rng(seed), 2000, 200, dimension)
    found = ergodicity_breaking(x, [1, 5, 40])
    expected = [_brownian(200, lag, dimension) for lag in (1, 5, 40)]
    assert follows(found.value, expected, found.stderr)
    assert np.all(found.stderr < 0.06 * found.value)


@pytest.mark.twin
def test_law_rejects_the_value_of_another_length(seed):
    x = walk(np.random.default_rng(seed), 2000, 200)
    found = ergodicity_breaking(x, [5])
    assert not follows(found.value, _brownian(300, 5), found.stderr)


def test_law_relaxing_modes_have_the_exact_value_of_theory(seed):
    rate = 0.05
    process = OUProcess(drift=[[rate]], noise=[[2 * rate]])
    expected = exact_value(process, [2, 30], 400)
    x = ar1(np.random.default_rng(seed), 2000, 400, np.exp(-rate))
    found = ergodicity_breaking(x, [2, 30])
    assert follows(found.value, expected, found.stderr)


def _trapped(rng, chains, draws, exponent):
    """A walk with waits P(W > n) = prod_{j<=n} (1 - a/j) ~ n^-a: Sibuya's law."""
    survival = np.cumprod(1.0 - exponent / np.arange(1.0, draws + 1.0))
    x = np.zeros((chains, draws))
    for chain in x:
        t = 0
        while True:
            t += 1 + int(np.searchsorted(-survival, -rng.random(), side="left"))
            if t >= draws:
                break
            chain[t] = rng.choice((-1.0, 1.0))
    return np.cumsum(x, axis=1)[..., None]


def _renewals(steps, exponent):
    """Exact EB of the number of jumps: u_k = [z^k] (1 - z)^-a, sums of u and of u * u."""

    def coefficient(power):
        return special.poch(power, steps) / special.factorial(steps)

    mean = coefficient(1 + exponent) - 1.0
    # Pairs (j, k) with j, k >= 1: remove those in which a jump at 0 is counted.
    pairs = coefficient(1 + 2 * exponent) - 2 * coefficient(1 + exponent) + 1.0
    return (2 * pairs + mean - mean**2) / mean**2


@pytest.mark.parametrize("exponent", [0.4, 0.7])
def test_law_waits_of_infinite_mean_break_it_by_the_exact_amount(exponent, seed):
    draws = 120  # a lag of 1 moves by a jump or not: the average counts jumps
    x = _trapped(np.random.default_rng(seed), 1500, draws, exponent)
    found = ergodicity_breaking(x, [1])
    assert follows(found.value, _renewals(draws - 1, exponent), found.stderr)


@pytest.mark.parametrize("exponent", [0.3, 0.6, 0.9])
def test_limit_of_the_exact_amount_is_that_of_he_and_others(exponent):
    def log_coefficient(power, n):
        return special.gammaln(power + n) - special.gammaln(power) - special.gammaln(n + 1)

    n = 1e8  # logarithms of the gamma function of more lose the digits that are wanted
    ratio = np.exp(log_coefficient(1 + 2 * exponent, n) - 2 * log_coefficient(1 + exponent, n))
    limit = 2 * special.gamma(1 + exponent) ** 2 / special.gamma(1 + 2 * exponent)
    assert abs(2 * ratio / limit - 1) < 1e-6


def test_law_few_chains_have_no_bias_and_errors_that_cover(seed):
    rng = np.random.default_rng(seed)
    expected = _brownian(60, 5)
    found = [ergodicity_breaking(walk(rng, 60, 60), [5]) for _ in range(TRIALS)]
    values = np.array([f.value[0] for f in found])
    errors = np.array([f.stderr[0] for f in found])
    assert follows(values.mean(), expected, values.std() / TRIALS**0.5)
    reach = stats.t.ppf(0.975, np.array([f.n_effective[0] for f in found]) - 1)
    assert covers(int((np.abs(values - expected) <= reach * errors).sum()), TRIALS, 0.95)
    assert honest(values, errors)


@pytest.mark.twin
def test_law_the_plain_ratio_of_few_chains_is_biased(seed):
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(4000):
        y = rng.chisquare(2.0, 8) / 2.0
        values.append(y.var() / y.mean() ** 2)
    assert not follows(np.mean(values), 1.0, np.std(values) / 4000**0.5)


def test_routes_agree_between_run_and_displacement(seed):
    x = walk(np.random.default_rng(seed), 20, 100, 2)
    moved = mean_square_displacement(x, [3, 9], kind="time_averaged")
    np.testing.assert_array_equal(
        ergodicity_breaking(moved).value, ergodicity_breaking(x, [3, 9]).value
    )


def test_exact_units_do_not_matter(seed):
    x = walk(np.random.default_rng(seed), 20, 100)
    plain, scaled = ergodicity_breaking(x, [3]), ergodicity_breaking(1e-6 * x, [3])
    np.testing.assert_allclose(scaled.value, plain.value, rtol=1e-12)


def test_refuses_what_has_no_scatter_of_time_averages():
    x = walk(np.random.default_rng(0), 10, 50, 2)
    with pytest.raises(RecordError, match="at least 8 of them, got 7"):
        ergodicity_breaking(x[:7])
    with pytest.raises(RecordError, match="kind='time_averaged'"):
        ergodicity_breaking(mean_square_displacement(x, [3]))
    with pytest.raises(ShapeError, match="per_coordinate"):
        ergodicity_breaking(
            mean_square_displacement(x, [3], kind="time_averaged", per_coordinate=True)
        )
    with pytest.raises(RecordError, match="nothing moves"):
        ergodicity_breaking(np.zeros((10, 50, 1)))

"""Positive sums of exponentials: certified, shortest by theory's own sign count, positive."""

import dataclasses

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.special import erfcx

from fracsde.errors import InputError, OutOfRangeError
from fracsde.special import mittag_leffler
from fracsde.special.rational import power_exponentials, relaxation_exponentials
from tests.support.exact import EPS

TOLERANCES = (1e-4, 1e-6, 1e-8, 1e-10, 1e-12)
# The tables of the module: terms for the tolerances above, order or exponent 0.6.
RELAXATION = {1e3: (7, 11, 15, 20, 26), 1e5: (7, 14, 20, 25, 31)}
POWER = {1e3: (10, 14, 18, 22, 26), 1e5: (15, 21, 27, 34, 40), 1e9: (26, 36, 47, 57, 69)}
# Terms of the double-exponential trapezoidal rule for the same problems.
TRAPEZOID = {1e3: (14, 22, 28, 37, 43), 1e5: (20, 29, 38, 48, 57), 1e9: (30, 44, 58, 72, 85)}


def relaxation(y, alpha):
    return erfcx(y) if alpha == 0.5 else mittag_leffler(-y, alpha)


def arguments(found, seed, count=20_000):
    """Random arguments of the interval, both ends included."""
    rng = np.random.default_rng(seed)
    low, high = found.valid
    start = low if low > 0 else 1e-6 * high
    return np.concatenate([[low, high], np.exp(rng.uniform(np.log(start), np.log(high), count))])


def absolute_error(found, alpha, seed):
    y = arguments(found, seed)
    return float(np.abs(found(y) - relaxation(y, alpha)).max())


def relative_error(found, beta, seed):
    t = arguments(found, seed)
    return float(np.abs(found(t) * t**beta - 1.0).max())


def damages(found):
    """One weight, then one rate, one per ten thousand too large; the slowest term left out."""
    middle = np.zeros(len(found.rates))
    middle[len(middle) // 2] = 1e-4
    return [
        dataclasses.replace(found, weights=found.weights * (1.0 + middle)),
        dataclasses.replace(found, rates=found.rates * (1.0 + middle)),
        dataclasses.replace(found, rates=found.rates[1:], weights=found.weights[1:]),
    ]


@pytest.mark.parametrize("rtol", [1e-4, 1e-8])
@pytest.mark.parametrize("largest", [0.5, 20.0, 1e4])
@pytest.mark.parametrize("alpha", [0.05, 0.5, 0.9, 0.999])
def test_exact_relaxation_to_the_certified_error(alpha, largest, rtol, seed):
    found = relaxation_exponentials(alpha, rtol=rtol, largest=largest)
    assert found.error <= rtol
    assert not found.relative
    assert absolute_error(found, alpha, seed) <= found.error


@pytest.mark.parametrize("alpha", [0.9, 0.95])
def test_exact_relaxation_on_an_interval_on_which_the_optimum_is_lost(alpha, seed):
    # At 8 terms; the rule of quadrature has 1e-7 here, and longer intervals have what is wanted.
    found = relaxation_exponentials(alpha, rtol=1e-12, largest=1e6)
    assert found.error <= 1e-12
    assert absolute_error(found, alpha, seed) <= found.error
    assert len(found.rates) <= 34
    assert found.valid == (0.0, 1e6)


@pytest.mark.twin
@pytest.mark.parametrize("damage", range(3))
def test_exact_relaxation_rejects_damaged_terms(damage, seed):
    damaged = damages(relaxation_exponentials(0.5, rtol=1e-8, largest=1e3))[damage]
    assert not absolute_error(damaged, 0.5, seed) <= damaged.error


@pytest.mark.parametrize("rtol", [1e-4, 1e-7, 1e-10])
@pytest.mark.parametrize("window", [(1.0, 2.0), (0.3, 300.0), (1e-6, 10.0)])
@pytest.mark.parametrize("beta", [0.1, 0.6, 1.5, 3.0])
def test_exact_power_to_the_certified_error(beta, window, rtol, seed):
    found = power_exponentials(beta, rtol=rtol, window=window)
    assert found.error <= rtol
    assert found.relative
    assert relative_error(found, beta, seed) <= found.error


@pytest.mark.twin
@pytest.mark.parametrize("damage", range(3))
def test_exact_power_rejects_damaged_terms(damage, seed):
    damaged = damages(power_exponentials(0.6, rtol=1e-8, window=(1e-3, 1.0)))[damage]
    assert not relative_error(damaged, 0.6, seed) <= damaged.error


@pytest.mark.parametrize("rtol", [1e-4, 1e-7, 1e-10])
def test_certified_error_is_no_more_than_a_twentieth_too_large(rtol, seed):
    found = power_exponentials(0.6, rtol=rtol, window=(1.0, 1e4))
    assert relative_error(found, 0.6, seed) >= 0.95 * found.error - 1e-14
    found = relaxation_exponentials(0.5, rtol=rtol, largest=1e3)
    assert absolute_error(found, 0.5, seed) >= 0.95 * found.error - 1e-14


def sign_changes(found, beta):
    t = np.geomspace(*found.valid, 20_001)
    return int(np.count_nonzero(np.diff(np.sign(found(t) * t**beta - 1.0))))


@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("beta", [0.3, 1.5])
def test_optimum_is_met_error_changes_sign_twice_for_each_term(beta, rtol):
    found = power_exponentials(beta, rtol=rtol, window=(1.0, 1e4))
    assert sign_changes(found, beta) == 2 * len(found.rates)


@pytest.mark.twin
def test_optimum_is_met_rejects_a_sum_of_too_many_terms(seed):
    found = power_exponentials(0.3, rtol=1e-6, window=(1.0, 1e4))
    halves = dataclasses.replace(
        found,
        rates=np.concatenate([found.rates * 1.01, found.rates / 1.01]),
        weights=np.concatenate([found.weights, found.weights]) / 2,
    )
    assert sign_changes(halves, 0.3) != 2 * len(halves.rates)


@pytest.mark.slow
@pytest.mark.parametrize("largest", sorted(RELAXATION))
def test_terms_of_the_relaxation_are_no_more_than_those_of_the_table(largest):
    for rtol, terms in zip(TOLERANCES[1::2], RELAXATION[largest][1::2], strict=True):
        found = relaxation_exponentials(0.6, rtol=rtol, largest=largest)
        # Which optima are missed depends on the last digits of the machine's exponential.
        assert len(found.rates) <= terms + 1


@pytest.mark.slow
@pytest.mark.parametrize("ratio", sorted(POWER))
def test_terms_of_the_power_are_those_of_the_table(ratio):
    terms = [len(power_exponentials(0.6, rtol=r, window=(1.0, ratio)).rates) for r in TOLERANCES]
    assert np.all(np.abs(np.subtract(terms, POWER[ratio])) <= 1)
    assert np.all(np.array(terms) < np.array(TRAPEZOID[ratio]))


@pytest.mark.parametrize("alpha", [0.1, 0.6, 1.0])
def test_keeps_weights_positive_and_of_unit_sum(alpha):
    found = relaxation_exponentials(alpha, rtol=1e-9, largest=1e3)
    assert np.all(found.weights > 0)
    assert np.all(found.rates > 0)
    assert np.all(np.diff(found.rates) > 0)
    assert abs(found.weights.sum() - 1.0) <= 4 * EPS
    assert abs(found(0.0) - 1.0) <= 4 * EPS


def test_keeps_weights_of_a_power_positive():
    found = power_exponentials(0.7, rtol=1e-11, window=(1e-4, 1.0))
    assert np.all(found.weights > 0)
    assert np.all(np.diff(found.rates) > 0)


def test_limit_of_order_one_is_the_exponential_itself():
    found = relaxation_exponentials(1.0, rtol=1e-14, largest=50.0)
    assert found.rates.tolist() == [1.0]
    assert found.weights.tolist() == [1.0]


def test_routes_agree_mixture_of_kronecker_factors_and_the_whole(seed):
    rng = np.random.default_rng(seed)
    alpha, n = 0.5, 4
    factors = [B @ B.T for B in rng.normal(size=(2, n, n))]
    whole = np.kron(factors[0], np.eye(n)) + np.kron(np.eye(n), factors[1])
    values, vectors = np.linalg.eigh(whole)
    exact = (vectors * erfcx(values)) @ vectors.T
    found = relaxation_exponentials(alpha, rtol=1e-11, largest=float(values[-1]))
    mixed = sum(
        w * np.kron(*(expm(-u * A) for A in factors))
        for w, u in zip(found.weights, found.rates, strict=True)
    )
    assert np.abs(mixed - exact).max() < 1e-11 + 1e-13


def test_scaled_window_scales_rates_and_weights_exactly():
    unit = power_exponentials(0.6, rtol=1e-8, window=(1.0, 1024.0))
    other = power_exponentials(0.6, rtol=1e-8, window=(0.25, 256.0))
    assert np.array_equal(other.rates, unit.rates * 4.0)
    assert np.allclose(other.weights, unit.weights * 4.0**0.6, rtol=4 * EPS)


def test_limit_of_small_tolerances_is_monotone():
    for build in (
        lambda r: power_exponentials(0.4, rtol=r, window=(1.0, 1e3)),
        lambda r: relaxation_exponentials(0.8, rtol=r, largest=100.0),
    ):
        sums = [build(r) for r in np.geomspace(1e-2, 1e-11, 7)]
        assert np.all(np.diff([len(s.rates) for s in sums]) >= 0)


@pytest.mark.parametrize(
    "build",
    [
        lambda r: power_exponentials(0.6, rtol=r, window=(1.0, 100.0)),
        lambda r: relaxation_exponentials(0.9, rtol=r, largest=100.0),
    ],
)
def test_refuses_what_rounding_forbids_and_says_what_can_be_had(build):
    with pytest.raises(OutOfRangeError, match="ask for") as caught:
        build(1e-16)
    offered = float(str(caught.value).split("ask for ")[1].split()[0])
    assert build(offered).error <= offered < 1e-13


def test_refuses_arguments_outside_the_interval():
    found = power_exponentials(0.6, rtol=1e-4, window=(1.0, 10.0))
    with pytest.raises(OutOfRangeError, match="wider interval"):
        found(0.5)
    with pytest.raises(OutOfRangeError, match="wider interval"):
        found([2.0, 11.0])


@pytest.mark.parametrize("window", [(1.0,), 3.0])
def test_refuses_windows_that_are_not_pairs(window):
    with pytest.raises(InputError, match="pair of times"):
        power_exponentials(0.6, window=window)


@pytest.mark.parametrize(
    ("beta", "window", "match"),
    [
        (0.0, (1.0, 2.0), "beta"),
        (0.6, (0.0, 2.0), "window"),
        (0.6, (2.0, 2.0), "window"),
        (90.0, (1.0, 1e4), "scale the time"),
        (101.0, (1.0, 2.0), "beta"),
        (0.5, (1e-200, 1e-3), "one sum for each part"),
        (0.5, (1e-320, 1e-310), "between 1e-290"),
        (1e-6, (1e-200, 1e200), "one sum for each part"),
    ],
)
def test_refuses_exponents_and_windows_without_meaning(beta, window, match):
    with pytest.raises(OutOfRangeError, match=match):
        power_exponentials(beta, window=window)


def test_keeps_one_object_for_equal_arguments_and_its_arrays_read_only():
    found = power_exponentials(0.6, rtol=1e-4, window=[1.0, 10.0])
    assert found is power_exponentials(0.6, rtol=1e-4, window=(1.0, 10.0))
    other = relaxation_exponentials(0.6, rtol=1e-4, largest=10.0)
    assert other is relaxation_exponentials(0.6, rtol=1e-4, largest=10.0)
    for array in (found.rates, found.weights, other.rates, other.weights):
        assert not array.flags.writeable


@pytest.mark.parametrize(
    ("beta", "window", "rtol"),
    [
        (100.0, (1.0, 1.0001), 1e-3),
        (30.0, (1.0, 1.01), 1e-10),
        (10.0, (1.0, 1.001), 1e-3),
        (3.0, (1e-6, 1e6), 0.9),
        (100.0, (1.0, 2.0), 1e-8),
    ],
)
def test_exact_steep_power_to_the_certified_error(beta, window, rtol, seed):
    found = power_exponentials(beta, rtol=rtol, window=window)
    assert relative_error(found, beta, seed) <= found.error <= rtol


@pytest.mark.parametrize(
    ("alpha", "largest", "rtol"),
    [(0.5, 1e12, 1e-10), (1e-3, 1e12, 1e-10), (0.99, 1e12, 1e-10), (0.5, 1e200, 1e-6)],
)
def test_exact_relaxation_on_long_intervals(alpha, largest, rtol, seed):
    found = relaxation_exponentials(alpha, rtol=rtol, largest=largest)
    assert found.valid == (0.0, largest)
    assert abs(found.weights.sum() - 1.0) <= 4 * EPS
    y = np.exp(np.random.default_rng(seed).uniform(-9.0, np.log(largest), 5_000))
    assert np.abs(found(y) - relaxation(y, alpha)).max() <= found.error <= rtol

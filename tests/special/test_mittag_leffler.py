"""The relaxation function against closed forms, high precision, and itself where roads meet."""

import mpmath
import numpy as np
import pytest
from scipy.special import erfcx

from fracsde.errors import InputError, NotFiniteError, OutOfRangeError, UnsupportedError
from fracsde.special import mittag_leffler, relaxation_alpha_derivative
from tests.support.exact import relaxation

X = (1e-300, 1e-9, 0.0499, 0.0501, 0.3, 1.0, 2.7, 8.0, 40.0, 99.9, 100.1, 1e4)


def worst_at_half(evaluate):
    x = np.concatenate([[0.0], np.logspace(-12, 12, 4001)])
    return np.abs(evaluate(x) - erfcx(x)).max()


def test_exact_half_order_is_scaled_erfc():
    assert worst_at_half(lambda x: mittag_leffler(-x, 0.5)) < 2e-15


@pytest.mark.twin
def test_exact_half_order_rejects_an_order_off_by_a_millionth():
    assert not worst_at_half(lambda x: mittag_leffler(-x, 0.500001)) < 2e-15


@pytest.mark.parametrize("alpha", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_exact_against_high_precision(alpha):
    x = [v for v in X if not (alpha < 0.1 and 1.0 < v <= 4.0)]  # series needs x**50 digits there
    expected = np.array([relaxation(v, alpha) for v in x])
    values = mittag_leffler(-np.array(x), alpha)
    assert np.abs(values - expected).max() < 2e-15
    assert np.abs(values / expected - 1).max() < 1e-12


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.8, 0.999])
def test_exact_relative_accuracy_of_the_tail(alpha):
    x = np.array([1e3, 1e8, 1e150, 1e300])
    first = float(mpmath.rgamma(1 - mpmath.mpf(alpha))) / x
    second = float(mpmath.rgamma(1 - 2 * mpmath.mpf(alpha))) / x / x
    values = mittag_leffler(-x, alpha)
    assert np.abs(values / (first - second) - 1)[1:].max() < 1e-14
    assert abs(values[0] / first[0] - 1) < 5e-3


def test_limit_order_one_is_the_exponential():
    x = np.logspace(-3, 2.5, 2001)
    assert np.array_equal(mittag_leffler(-x, 1.0), np.exp(-x))
    for gap in (1e-6, 1e-9):
        assert np.abs(mittag_leffler(-x, 1 - gap) - np.exp(-x)).max() < 0.4 * gap


@pytest.mark.parametrize("alpha", [0.05, 0.5, 0.95])
def test_keeps_monotone_decay_across_the_roads(alpha):
    x = np.concatenate([np.linspace(0, 0.1, 400), np.linspace(0.11, 150, 4000)])
    values = mittag_leffler(-x, alpha)
    assert values[0] == 1.0
    assert np.all(np.diff(values) < 0)
    assert np.all(values > 0)


@pytest.mark.parametrize("alpha", [0.3, 0.6, 0.9, 0.99])
def test_exact_derivative_in_the_order_against_high_precision(alpha):
    x = [0.0499, 0.0501, 0.5, 3.0, 60.0, 99.0, 101.0, 1e4]
    expected = []
    for v in x:
        # Sixth-order difference of the high-precision function; its own error is below 1e-12.
        h = 0.002
        f = [relaxation(v, alpha + k * h) for k in (-3, -2, -1, 1, 2, 3)]
        expected.append((-f[0] + 9 * f[1] - 45 * f[2] + 45 * f[3] - 9 * f[4] + f[5]) / (60 * h))
    gap = np.abs(relaxation_alpha_derivative(np.array(x), alpha) - expected)
    assert gap.max() < 1e-11


@pytest.mark.twin
def test_exact_derivative_rejects_the_derivative_at_a_neighbouring_order():
    gap = relaxation_alpha_derivative(0.5, 0.6) - relaxation_alpha_derivative(0.5, 0.6 + 1e-6)
    assert abs(gap) > 1e-11


def test_exact_derivative_at_order_one_is_the_limit():
    x = np.array([0.01, 1.0, 30.0, 99.0, 200.0])
    gap = relaxation_alpha_derivative(x, 1.0) - relaxation_alpha_derivative(x, 1 - 1e-7)
    assert np.abs(gap).max() < 1e-6


def test_shapes_follow_the_argument():
    assert mittag_leffler(-1.0, 0.5).shape == ()
    assert mittag_leffler(np.zeros((2, 0)), 0.5).shape == (2, 0)
    assert mittag_leffler([[-1.0, 0.0]], 0.5).shape == (1, 2)


def test_keeps_its_argument():
    z = -np.linspace(0, 200, 50)
    before = z.copy()
    mittag_leffler(z, 0.7)
    relaxation_alpha_derivative(-z, 0.7)
    assert np.array_equal(z, before)


@pytest.mark.parametrize("alpha", [0.0, -0.5, 1.3])
def test_refuses_orders_outside_the_interval(alpha):
    with pytest.raises(OutOfRangeError, match=r"`alpha` must lie in \(0, 1\].*second initial"):
        mittag_leffler(-1.0, alpha)


def test_refuses_what_is_not_served():
    with pytest.raises(UnsupportedError, match=r"`z` must be not positive, got 2"):
        mittag_leffler([-1.0, 2.0], 0.5)
    with pytest.raises(UnsupportedError, match="complex arguments are not served"):
        mittag_leffler(1j, 0.5)
    with pytest.raises(UnsupportedError, match="serves beta = 1 and derivative = 0"):
        mittag_leffler(-1.0, 0.5, beta=0.5)
    with pytest.raises(UnsupportedError, match="serves beta = 1 and derivative = 0"):
        mittag_leffler(-1.0, 0.5, derivative=1)
    with pytest.raises(UnsupportedError, match="`x` must be not negative, got -3"):
        relaxation_alpha_derivative(-3.0, 0.5)
    with pytest.raises(NotFiniteError, match="NaN"):
        mittag_leffler([-1.0, np.nan], 0.5)


def test_slope_takes_whole_numbers_of_any_kind():
    whole = np.array([0, 3], dtype=np.uint8)
    np.testing.assert_array_equal(
        relaxation_alpha_derivative(whole, 0.5), relaxation_alpha_derivative([0.0, 3.0], 0.5)
    )
    with pytest.raises(InputError, match="`x` must be an array of real numbers"):
        relaxation_alpha_derivative("a", 0.5)

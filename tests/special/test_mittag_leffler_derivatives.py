"""Derivatives in the argument and in the order, against high precision and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erfcx

from fracsde.errors import InputError, OutOfRangeError, UnsupportedError
from fracsde.special import mittag_leffler, relaxation_alpha_derivative
from fracsde.special.mittag_leffler import mittag_leffler_alpha_derivative
from tests.support.mittag_leffler import (
    adversarial_points,
    alpha_derivative_reference,
    references,
    scaled_errors,
)

ALPHAS = (0.05, 0.3, 0.6, 0.9, 0.99, 1.0, 1.001, 1.5, 2.0)
TOLERANCE = 1e-13
SLOPE_TOLERANCE = 1e-12


def some(points, count, seed):
    return np.random.default_rng(seed).choice(points, size=count, replace=False)


def said(points, errors, *parameters):
    worst = int(np.argmax(errors))
    return f"{parameters}, z {points[worst]!r}: {errors[worst]:.2e}"


def slopes(z, alpha, beta=1.0):
    return np.array([complex(alpha_derivative_reference(v, alpha, beta)) for v in z.tolist()])


# In the argument.


@pytest.mark.parametrize("derivative", [1, 2, 4])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_exact_derivative_over_the_plane(alpha, derivative, seed):
    z = some(adversarial_points(alpha), 6, seed)
    for beta in (1.0, 0.4):
        values = mittag_leffler(z, alpha, beta, derivative)
        errors = scaled_errors(values, references(z, alpha, beta, derivative))
        assert errors.max() < TOLERANCE, said(z, errors, alpha, beta, derivative)


@pytest.mark.parametrize("derivative", [1, 3])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_exact_derivative_on_the_negative_half_line(alpha, derivative):
    x = np.concatenate([[0.0], np.logspace(-6, 8, 8)])
    for beta in (1.0, alpha):
        values = mittag_leffler(-x, alpha, beta, derivative)
        errors = scaled_errors(values, references(-x, alpha, beta, derivative))
        assert errors.max() < TOLERANCE, said(-x, errors, alpha, beta, derivative)


def worst_at_order_one(values, z):
    return (np.abs(values - np.exp(z)) / (1 + np.abs(np.exp(z)))).max()


@pytest.mark.parametrize("derivative", [1, 2, 3, 4])
def test_exact_derivative_of_the_exponential_is_itself(derivative):
    z = np.linspace(-30, 30, 61)
    assert worst_at_order_one(mittag_leffler(z, 1.0, derivative=derivative), z) < TOLERANCE
    z = z * (1 + 0.5j)
    assert worst_at_order_one(mittag_leffler(z, 1.0, derivative=derivative), z) < TOLERANCE


@pytest.mark.twin
def test_exact_derivative_rejects_a_neighbouring_order():
    z = np.linspace(-30, 30, 61)
    values = mittag_leffler(z, 1 - 1e-11, derivative=1)
    assert not worst_at_order_one(values, z) < TOLERANCE


def test_exact_derivative_at_order_one_half_is_that_of_scaled_erfc():
    x = np.linspace(0, 20, 101)
    slope = 2 / np.sqrt(np.pi) - 2 * x * erfcx(x)
    assert np.abs(mittag_leffler(-x, 0.5, derivative=1) - slope).max() < 2e-14


@settings(derandomize=True, deadline=None, max_examples=100, database=None)
@given(
    z=st.complex_numbers(max_magnitude=5.0, allow_nan=False, allow_infinity=False),
    alpha=st.floats(0.1, 2.0),
    beta=st.floats(-1.0, 4.0),
)
def test_exact_derivative_lowers_the_second_parameter(z, alpha, beta):
    with np.errstate(invalid="ignore"):  # complex products with an infinite part
        slope = alpha * z * mittag_leffler(z, alpha, beta, derivative=1)
        lower = mittag_leffler(z, alpha, beta - 1)
        same = (beta - 1) * mittag_leffler(z, alpha, beta)
    if np.isfinite(slope) and np.isfinite(lower):
        size = 1 + abs(slope) + abs(lower) + abs(same)
        assert abs(slope - (lower - same)) < 4 * TOLERANCE * size


def test_shapes_of_derivatives():
    assert mittag_leffler([[-1.0, 2.0]], 0.5, derivative=2).shape == (1, 2)
    assert mittag_leffler(np.zeros((0, 2)), 0.5, derivative=1).shape == (0, 2)
    assert isinstance(mittag_leffler(-1.0, 0.5, derivative=1), np.float64)
    assert isinstance(mittag_leffler(1j, 0.5, derivative=1), np.complex128)


def test_keeps_nan_in_derivatives():
    values = mittag_leffler([np.nan, -1.0], 0.5, derivative=2)
    assert np.isnan(values).tolist() == [True, False]


# In the order.


@pytest.mark.parametrize("alpha", ALPHAS[:-1])
def test_exact_slope_in_the_order_over_the_plane(alpha, seed):
    z = some(adversarial_points(alpha), 5, seed)
    for beta in (1.0, 0.4):
        values = mittag_leffler_alpha_derivative(z, alpha, beta)
        errors = scaled_errors(values, slopes(z, alpha, beta))
        assert errors.max() < SLOPE_TOLERANCE, said(z, errors, alpha, beta)


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.6, 0.9, 0.99, 1.0])
def test_exact_slope_in_the_order_on_the_negative_half_line(alpha):
    x = np.array([1e-9, 0.0499, 0.0501, 0.5, 3.0, 60.0, 99.0, 101.0, 1e4, 1e12])
    expected = slopes(-x, alpha).real
    for values in (
        relaxation_alpha_derivative(x, alpha),
        mittag_leffler_alpha_derivative(-x, alpha),
    ):
        assert np.abs(values - expected).max() < TOLERANCE


@pytest.mark.twin
def test_exact_slope_rejects_the_slope_at_a_neighbouring_order():
    gap = relaxation_alpha_derivative(0.5, 0.6) - relaxation_alpha_derivative(0.5, 0.6 + 1e-11)
    assert abs(gap) > TOLERANCE


def test_exact_slope_is_nought_where_the_function_does_not_depend_on_the_order():
    assert relaxation_alpha_derivative(0.0, 0.6) == 0.0
    assert mittag_leffler_alpha_derivative(0.0, 0.6, 0.3) == 0.0


def test_limit_slope_at_order_one_is_two_sided():
    x = np.array([0.01, 1.0, 30.0, 99.0, 200.0])
    at = relaxation_alpha_derivative(x, 1.0)
    assert np.abs(at - relaxation_alpha_derivative(x, 1 - 1e-7)).max() < 1e-6
    assert np.abs(at - mittag_leffler_alpha_derivative(-x, 1 + 1e-7)).max() < 1e-6


def test_shapes_of_slopes():
    assert mittag_leffler_alpha_derivative([[-1.0, 2.0]], 0.5).shape == (1, 2)
    assert isinstance(mittag_leffler_alpha_derivative(-1.0, 0.5), np.float64)
    assert isinstance(mittag_leffler_alpha_derivative(1j, 0.5), np.complex128)


def test_keeps_the_argument_of_slopes():
    x = np.linspace(0, 200, 50)
    before = x.copy()
    relaxation_alpha_derivative(x, 0.7)
    mittag_leffler_alpha_derivative(x, 0.7)
    assert np.array_equal(x, before)


def test_slope_takes_whole_numbers_of_any_kind():
    whole = np.array([0, 3], dtype=np.uint8)
    np.testing.assert_array_equal(
        relaxation_alpha_derivative(whole, 0.5), relaxation_alpha_derivative([0.0, 3.0], 0.5)
    )
    with pytest.raises(InputError, match="`x` must be"):
        relaxation_alpha_derivative("a", 0.5)


def test_refuses_slopes_outside_the_half_line_and_the_orders():
    with pytest.raises(UnsupportedError, match="`x` must be real and not negative, got -3"):
        relaxation_alpha_derivative(-3.0, 0.5)
    with pytest.raises(OutOfRangeError, match=r"`alpha` must lie in \[1e-12, "):
        mittag_leffler_alpha_derivative(-3.0, 0.0)

"""Derivatives for second parameters far from zero: relative accuracy, underflow and overflow."""

import math

import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf

from fracsde.special import _ml_far_slopes as slopes
from fracsde.special import mittag_leffler
from fracsde.special.mittag_leffler import mittag_leffler_alpha_derivative
from tests.support.mittag_leffler import DIGITS, LARGEST, reference

TOLERANCE = 1e-13
BETAS = (-20.5, -50.3, -50.0, -158.0, 30.5, 101.5, 150.0)
ORDERS = (1, 2, 3, 8, 4, 2, 1)
SMALLEST = float(np.finfo(np.float64).smallest_normal)


def points(alpha, beta, rng):
    """Around the bell's circle: on both axes, on the ray of oscillation, on that of a lip."""
    s = np.minimum(abs(beta) * np.exp(rng.normal(scale=0.5, size=6)), 150.0)
    turn = np.array([0.0, np.pi, 0.5 * np.pi * alpha, np.pi * alpha, 0.97 * np.pi * alpha, 2.0])
    z = s**alpha * np.exp(1j * turn)
    z[0], z[1] = abs(z[0]), -abs(z[1])
    return z


def relative(values, exact):
    """Errors over the exact sizes; an overflow is right where the size overflows."""
    found = []
    for value, e in zip(np.ravel(values).tolist(), exact, strict=True):
        if max(abs(e.real), abs(e.imag)) > LARGEST:
            found.append(0.0 if not np.isfinite(abs(value)) else np.inf)
            continue
        with mp.workdps(40):
            found.append(float(abs(mpmath.mpmathify(value) - e) / max(abs(e), mpf(SMALLEST))))
    return np.array(found)


def errors(z, alpha, beta, order, road="series"):
    exact = [reference(v, alpha, beta, order, road=road) for v in z.tolist()]
    return relative(mittag_leffler(z, alpha, beta, derivative=order), exact)


def slope_in_order(z, alpha, beta):
    """A central difference: 80 digits less the 25 of its step."""
    with mp.workdps(DIGITS):
        h = mpf(10) ** -25
        above, below = (reference(z, mpf(alpha) + d, beta, road="series") for d in (h, -h))
        return (above - below) / (2 * h)


@pytest.mark.parametrize(
    ("beta", "order"), [*zip(BETAS, ORDERS, strict=True), *zip(BETAS, ORDERS[::-1], strict=True)]
)
def test_exact_relatively_over_the_plane(beta, order, seed):
    rng = np.random.default_rng(seed)
    alpha = float(rng.choice([0.5, 0.8, 1.0, rng.uniform(0.4, 2.0)]))
    z = points(alpha, beta, rng)
    worst = errors(z, alpha, beta, order)
    if order == 8:  # its zeros are dense: errors are of the swing between them
        size, slope = (
            [float(abs(reference(v, alpha, beta, k, road="series"))) for v in z.tolist()]
            for k in (order, order + 1)
        )
        with np.errstate(all="ignore"):
            swing = np.abs(z) * slope * alpha / np.sqrt(abs(beta)) / size
        worst = np.where(np.isfinite(swing), worst / (1.0 + swing), worst)
    assert worst.max() < TOLERANCE, (alpha, beta, order, z[worst.argmax()], worst)


@pytest.mark.parametrize(
    ("beta", "order"),
    [(-300.2, 1), (-171.5, 8), (-171.0, 2), (171.5, 1), (300.0, 4), (1e4, 3)],
)
def test_exact_up_to_overflow_and_down_to_underflow(beta, order):
    """Where nothing fits a float the answer is 0, or infinite."""
    z = np.array([-2.0, 0.5, -30.0])
    assert errors(z, 1.3, beta, order).max() < TOLERANCE


def test_exact_where_a_residue_alone_does_not_underflow():
    z = np.array([560.0, 700.0]) ** 1.5
    assert errors(z, 1.5, 202.0, 2).max() < TOLERANCE
    huge = np.array([1.2e5, 1.15e5])
    with mp.workdps(60):
        # Of order one beyond its algebraic part, which underflows: d/dz of z**(1 - beta) exp(z).
        exact = [mpmath.exp(v - 9999 * mpmath.log(v)) * (1 - mpf(9999) / v) for v in huge.tolist()]
    assert np.isfinite(mittag_leffler(huge, 1.0, 1e4, derivative=1)).tolist() == [
        bool(e < LARGEST) for e in exact
    ]
    assert relative(mittag_leffler(huge, 1.0, 1e4, derivative=1), exact).max() < TOLERANCE


@pytest.mark.parametrize("order", [1, 4])
@pytest.mark.parametrize("alpha", [0.05, 0.9])
@pytest.mark.parametrize("beta", [101.5, -25.5, -50.0, -120.3])
def test_exact_relatively_at_large_arguments(alpha, beta, order):
    z = np.concatenate([-np.array([1e6, 1e12, 1e25]), 1e8 * np.exp([0.8j * np.pi])])
    z = z * abs(beta) ** alpha
    with mp.workdps(60):
        a, b = mpf(alpha), mpf(beta)
        exact = [
            -sum(
                (-1) ** order * mpmath.rf(k, order) * mpmath.rgamma(b - a * k) / w ** (k + order)
                for k in range(1, 40)
            )
            for w in map(mpmath.mpmathify, z.tolist())
        ]
    # Poles are on no sheet there that counts, or too deep to be seen.
    assert relative(mittag_leffler(z, alpha, beta, derivative=order), exact).max() < TOLERANCE


@pytest.mark.parametrize("alpha", [1.0, 2.0])
@pytest.mark.parametrize(("beta", "order"), [(-21.0, 8), (-60.0, 1), (-60.0, 4)])
def test_exact_where_whole_parameters_leave_only_residues(alpha, beta, order):
    z = np.array([0.3, 1e-3, -2.0, -30.0, 3 + 1j, -2 + 4j, 80.0])
    assert errors(z, alpha, beta, order).max() < TOLERANCE


@pytest.mark.parametrize(("alpha", "order"), [(1.3, 8), (1.7, 6), (2.0, 5)])
def test_exact_where_the_derivative_moves_the_second_parameter_close_to_zero(alpha, order):
    z = np.array([0.3, -2.0, 2.9**alpha, -(3.1**alpha), -(9.0**alpha), (40 + 3j) ** alpha])
    for beta in (-20.5, -23.3):
        assert errors(z, alpha, beta, order).max() < 3 * TOLERANCE


@pytest.mark.twin
@pytest.mark.parametrize(("name", "value"), [("_ASIDE", 0.02), ("_STEP", 0.9), ("_DEPTH", 0.0)])
@pytest.mark.parametrize("beta", [150.0, -60.3])
def test_relative_check_rejects_a_contour_through_a_pole_and_a_coarse_rule(
    name, value, beta, monkeypatch
):
    s = abs(beta - 1.0) * np.exp(0.001) * np.exp(1j * (0.1 if beta > 0 else np.pi))
    z = np.array([s**0.8])
    assert errors(z, 0.8, beta, 2).max() < TOLERANCE
    monkeypatch.setattr(slopes, name, value)
    monkeypatch.setattr(slopes, "_STEPS", 0.01)
    if name == "_DEPTH":
        monkeypatch.setattr(slopes, "_DEEPER", 4.0)
    assert not errors(z, 0.8, beta, 2).max() < TOLERANCE


@pytest.mark.twin
@pytest.mark.parametrize("beta", [150.0, -60.3])
def test_relative_check_rejects_a_neighbouring_second_parameter(beta, seed):
    z = points(0.8, beta, np.random.default_rng(seed))
    exact = [reference(v, 0.8, beta, 2, road="series") for v in z.tolist()]
    values = mittag_leffler(z, 0.8, beta * (1 + 1e-14), derivative=2)
    assert not relative(values, exact).max() < TOLERANCE


def swings(z, alpha, beta, order):
    """Errors over one plus the derivative, plus a tenth of ``z`` times the next one near zeros."""
    values, found = mittag_leffler(z, alpha, beta, derivative=order), []
    for value, point in zip(values.tolist(), z.tolist(), strict=True):
        exact, after = (reference(point, alpha, beta, k, road="series") for k in (order, order + 1))
        with mp.workdps(40):
            error = abs(mpmath.mpmathify(value) - exact)
            found.append(float(error / (1 + abs(exact) + abs(point * after) / 10)))
    return np.array(found)


# Where the common contour loses digits, up to six of them.
HARD = (
    (1.0, -11.0, 6, 1.2246119288002792),
    (1.1543536325474042, -20.0, 3, -0.8542446511622295 - 7.328082559100654j),
    (1.8233457583558952, -19.0, 7, -11.938862328391755),
    (0.5, -10.5, 5, 0.9552781279266995 + 0.9552781279266993j),
)
# Small values beside large gamma functions: both sines are small, and lips meet poles.
SMALL = (
    (1.0000000133081972, -17.0, 1, -0.23198093046043877 - 0.026802466838394136j),
    (0.99999997040982347, -14.0, 1, -1.8021293110537142),
    (1.99999, -13.00001, 2, -3.7),
    (0.9999999999997365, -16.999997204062979, 7, 1.76e-13 + 0.42543144093566065j),
)
# The derivative moves the second parameter close to zero, and beyond.
SHORT = (
    (0.131, -11.00000007, 7, -1.0963),
    (0.50000000000404887, -5.0, 5, -1.2571657720432694 + 0.23337114437457743j),
    (0.5, -4.5, 4, -2.996708952555375j),
    (1.0599392908628271, -7.4844875577162284, 3, -0.15401584388389392 - 0.004612747283143547j),
    (0.95864885239545128, -6.0000000420190727, 7, -6.1005719940045555 + 0.24720453748470725j),
    (1.7131081867552731, -6.8413599339874747, 7, -12.909753346969143 + 6.246452192942851j),
    (8.0, -5.5, 8, 3e6),
)


@pytest.mark.parametrize(("alpha", "beta", "order", "z"), [*HARD, *SMALL, *SHORT])
def test_exact_where_one_contour_for_all_would_lose_digits(alpha, beta, order, z):
    assert (
        swings(np.array([z + 0j]), alpha, beta, order).max() < (4 if order > 3 else 1) * TOLERANCE
    )


@pytest.mark.parametrize("order", [1, 2, 3, 6])
@pytest.mark.parametrize("beta", [-4.25, -9.0, -14.5, -19.9])
def test_exact_derivative_below_minus_four(beta, order, seed):
    rng = np.random.default_rng(seed)
    alpha = float(rng.choice([0.5, 1.0, 2.0, rng.uniform(0.4, 2.0)]))
    z = points(alpha, beta, rng)
    worst = swings(z, alpha, beta, order)
    assert worst.max() < (4 if order > 3 else 1) * TOLERANCE, (alpha, z[worst.argmax()], worst)


@pytest.mark.twin
@pytest.mark.parametrize(
    ("name", "value", "case"),
    [
        ("_NEARLY_WHOLE", 0.0, SMALL[0]),  # each lip turned by itself
        ("_NEAR_NOUGHT", 3.0, SHORT[1]),  # a power series that cancels
        ("_WIDEST", 1.0, SHORT[2]),  # lips turned to where they hardly decay
    ],
)
def test_check_below_minus_four_rejects_other_lips(name, value, case, monkeypatch):
    alpha, beta, order, z = case
    monkeypatch.setattr(slopes, name, value)
    if name == "_WIDEST":
        monkeypatch.setattr(slopes, "_STEPS", 0.01)
    assert not swings(np.array([z + 0j]), alpha, beta, order).max() < 4 * TOLERANCE


@pytest.mark.twin
@pytest.mark.parametrize("case", HARD)
def test_check_below_minus_four_rejects_the_common_contour(case, monkeypatch):
    alpha, beta, order, z = case
    monkeypatch.setitem(mittag_leffler.__globals__, "_NEAR_SLOPES", (-20.0, 30.0))
    assert not swings(np.array([z + 0j]), alpha, beta, order).max() < TOLERANCE / 2


@pytest.mark.parametrize("order", [1, 3, 8])
@pytest.mark.parametrize("beta", [-300.2, -171.5, -171.0, -20.5, 101.5, 168.0, 1e4])
def test_exact_at_zero(beta, order):
    """There it is ``k! / gamma(alpha k + beta)``, which is 0 at poles of the gamma function."""
    for alpha in (0.5, 1.0, 2.0, 8.0):
        with mp.workdps(40):
            exact = math.factorial(order) * mpmath.rgamma(mpf(alpha) * order + mpf(beta))
        value = mittag_leffler(0.0, alpha, beta, derivative=order)
        if abs(exact) > LARGEST:
            assert value == np.copysign(np.inf, float(mpmath.sign(exact)))
        elif exact == 0:
            assert value == 0.0
        else:
            assert relative(value, [exact]).max() < TOLERANCE


@pytest.mark.parametrize("beta", [-45.3, 120.0])
@pytest.mark.parametrize("alpha", [0.05, 0.8, 1.7])
def test_exact_derivative_lowers_the_second_parameter(alpha, beta):
    z = np.array([-50.0, -3.0, 0.5, 1.1, 2.0 + 3.0j])
    slope = alpha * z * mittag_leffler(z, alpha, beta, derivative=1)
    lower, same = (mittag_leffler(z, alpha, b) for b in (beta - 1.0, beta))
    terms = np.abs(lower) + np.abs((beta - 1.0) * same)
    assert np.all(np.abs(slope - lower + (beta - 1.0) * same) <= 4 * TOLERANCE * terms)


@pytest.mark.parametrize("beta", [-4.0, 30.0])
@pytest.mark.parametrize("order", [1, 3])
def test_limit_is_the_same_from_both_sides_of_a_seam(beta, order):
    """One float further the other road answers; the common contour errs by more than it."""
    z = np.array([-30.0, -3.0, 0.5, 2.0])
    beyond = np.nextafter(beta, np.copysign(np.inf, beta))
    one, other = (mittag_leffler(z, 0.7, b, derivative=order) for b in (beta, beyond))
    scale = np.abs(other) + (math.gamma(1.0 - beta) if beta < 0.0 else 1.0)
    assert np.all(np.abs(one - other) <= (4 if order == 1 else 100) * TOLERANCE * scale)


@pytest.mark.parametrize(
    ("alpha", "beta"),
    [
        (1.0, -20.5),
        (0.8, -50.0),
        (1.7, -101.3),
        (0.7, 40.5),
        (1.0, 150.0),
        (0.5, -11.1),
        (1.7, -4.3),
    ],
)
def test_exact_slope_in_the_order(alpha, beta, seed):
    z = np.append(points(alpha, beta, np.random.default_rng(seed))[1:4], [0.3, 1e-5])
    exact = [slope_in_order(v, alpha, beta) for v in z.tolist()]
    worst = relative(mittag_leffler_alpha_derivative(z, alpha, beta), exact)
    assert worst.max() < TOLERANCE, (z, worst)


def test_exact_slope_in_the_order_is_nought_at_zero_and_infinite_beyond_floats():
    assert mittag_leffler_alpha_derivative(0.0, 0.6, -50.3) == 0.0
    assert np.isinf(mittag_leffler_alpha_derivative(-1.0, 0.6, -300.2))
    assert mittag_leffler_alpha_derivative(-1.0, 0.6, 1e4) == 0.0


def test_keeps_reality_shape_and_what_has_no_number():
    z = np.array([[-1.0, np.nan], [np.inf, -np.inf]])
    found = mittag_leffler(z, 0.5, np.array([[150.0], [-30.5]]), derivative=2)
    assert found.dtype == np.float64
    assert found.shape == (2, 2)
    assert np.isnan(found[0, 1])
    assert found[1].tolist() == [np.inf, 0.0]
    assert mittag_leffler(2.0 + 0.0j, 0.5, 150.0, derivative=1).imag == 0.0
    assert mittag_leffler(900.0, 0.5, 150.0, derivative=1) == np.inf
    assert mittag_leffler([], 0.5, 150.0, derivative=1).shape == (0,)

"""The function over the whole plane against sixty digits, at the places made to break it.

Arguments lie on and beside the rays where a pole crosses the contour, where its exponential starts
to dominate and where a cut begins, at radii below, at and beyond any contour, and out to the ends
of the doubles.  The references themselves are checked first, one road against another.
"""

from math import gamma

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rgamma

from fracsde.special import mittag_leffler
from fracsde.special._ml_tables import table
from tests.support.mittag_leffler import (
    adversarial_points,
    alpha_derivative_reference,
    alpha_series,
    amplitudes,
    reference,
    references,
    relative_errors,
    scaled_errors,
)

ALPHAS = (0.01, 0.05, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999, 1.0, 1.001, 1.2, 1.5, 1.8, 1.99, 2.0)
BETAS = (-2.3, -1.0, 0.0, "alpha", "1 + alpha", 2.0, 3.7, 10.0)
AXIS_ALPHAS = (*ALPHAS[:-1], 0.9999, 1 - 1e-6, 1 - 1e-9, 1 + 1e-9)
TOLERANCE = 1e-13


def second_parameter(beta, alpha):
    return {"alpha": alpha, "1 + alpha": 1 + alpha}.get(beta, beta)


def some(points, count, seed):
    return np.random.default_rng(seed).choice(points, size=count, replace=False)


def contour_nodes():
    """The nodes of the contour for ``beta <= 1``, mid-point and whole, in the upper half-plane.

    Where the module chooses another contour these are arguments like others.
    """
    u = 0.5 * 0.1237243688 * np.arange(40)
    return 10.362346706 * (1 + np.sin(1j * u - 0.87))


def switches(alpha):
    """Sizes of real arguments beside which series, contour and asymptotics take turns."""
    both = [table(alpha, 1.0, 0, relative=relative) for relative in (True, False)]
    places = np.concatenate([[each.small, each.large, *each.starts] for each in both])
    places = places[(places > 1e-3) & (places < 1e6)]
    return np.concatenate([places * (1 - 1e-12), places * (1 + 1e-12)])


def said(points, errors, alpha, beta):
    worst = int(np.argmax(errors))
    return f"alpha {alpha!r}, beta {beta!r}, z {points[worst]!r}: {errors[worst]:.2e}"


# The references.


@pytest.mark.parametrize(("z", "alpha", "beta"), [(0.3786, 0.01, 3.7), (0.538, 0.01, 5.0)])
def test_exact_reference_beside_the_branch_point(z, alpha, beta):
    # Fifty terms of the series in plain doubles are good to twelve digits here.
    plain = sum(z**k / gamma(alpha * k + beta) for k in range(60))
    assert abs(complex(reference(z, alpha, beta)) - plain) < 1e-12
    assert abs(mittag_leffler(z, alpha, beta) - plain) < 1e-12


def test_routes_agree_of_the_reference_series_and_contour(seed):
    rng = np.random.default_rng(seed)
    for _ in range(20):
        alpha = float(rng.choice([0.1, 0.3, 0.6, 0.99, 1.3, 2.0]))
        beta = float(rng.choice([-1.5, 0.0, alpha, 1.0, 3.7, 10.0]))
        z = complex(some(adversarial_points(alpha, (0.5, 2.44, 10.0, 31.0)), 1, rng)[0])
        derivative = int(rng.choice([0, 0, 1, 3]))
        one = reference(z, alpha, beta, derivative, road="series")
        two = reference(z, alpha, beta, derivative, road="contour")
        assert abs(one - two) < mpmath.mpf(10) ** -32 * (1 + abs(one))


def test_routes_agree_of_the_reference_contour_and_asymptotics(seed):
    rng = np.random.default_rng(seed)
    for _ in range(60):
        alpha = float(rng.choice([0.3, 0.6, 0.99, 1.3, 2.0]))
        beta = float(rng.choice([-1.5, 0.5, alpha, 2.0, 3.7, 10.0]))
        z = complex(some(adversarial_points(alpha, (180.0, 600.0)), 1, rng)[0])
        one = reference(z, alpha, beta, road="contour")
        two = reference(z, alpha, beta, road="asymptotic")
        assert abs(one - two) < mpmath.mpf(10) ** -40 * abs(one)


@pytest.mark.parametrize("z", [-3.0, 2.0, -0.4 + 2.5j])
def test_routes_agree_of_the_reference_slope_in_the_order(z):
    one, two = alpha_derivative_reference(z, 0.6, 1.5), alpha_series(z, 0.6, 1.5)
    assert abs(one - two) < mpmath.mpf(10) ** -32 * abs(two)


@pytest.mark.twin
def test_reference_roads_reject_a_neighbouring_order():
    one = reference(-3.0, 0.5, 1.0, road="series")
    two = reference(-3.0, np.nextafter(0.5, 1), 1.0, road="contour")
    assert abs(one - two) > mpmath.mpf(10) ** -18


# The plane.


@pytest.mark.parametrize("alpha", ALPHAS)
def test_exact_over_the_plane(alpha, seed):
    z = some(adversarial_points(alpha), 40, seed)
    errors = scaled_errors(mittag_leffler(z, alpha), references(z, alpha))
    assert errors.max() < TOLERANCE, said(z, errors, alpha, 1.0)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_exact_over_the_plane_for_other_second_parameters(alpha, beta, seed):
    beta = second_parameter(beta, alpha)
    z = some(adversarial_points(alpha), 9, seed)
    errors = scaled_errors(mittag_leffler(z, alpha, beta), references(z, alpha, beta))
    assert errors.max() < TOLERANCE, said(z, errors, alpha, beta)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_exact_at_random_arguments_and_second_parameters(alpha, seed):
    rng = np.random.default_rng(seed)
    for beta in rng.uniform(-3, 6, size=4):
        s = rng.uniform(0.2, 40, size=8) * np.exp(1j * rng.uniform(-np.pi, np.pi, size=8))
        z = np.abs(s) ** alpha * np.exp(1j * rng.uniform(-np.pi, np.pi, size=8))
        errors = scaled_errors(mittag_leffler(z, alpha, beta), references(z, alpha, beta))
        assert errors.max() < TOLERANCE, said(z, errors, alpha, beta)


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.0, 1.5, 2.0])
def test_exact_at_arguments_near_the_ends_of_the_doubles(alpha):
    turns = np.exp(1j * np.pi * np.array([0, 0.3, 0.5, 0.77, 1.0, -0.5, -1.0]))
    z = np.multiply.outer([1e300, 1e100, 1e-300, 5e-324], turns).ravel()
    for beta in (1.0, 0.4):
        with np.errstate(all="raise", under="ignore"):
            values = mittag_leffler(z, alpha, beta)
        errors = scaled_errors(values, references(z, alpha, beta))
        assert errors.max() < TOLERANCE, said(z, errors, alpha, beta)


def test_exact_where_a_cosine_has_turned_a_billion_times():
    x = np.array([1e5, 1e10, 1e15, 1e20, 1.234e22, 1e26])
    errors = relative_errors(mittag_leffler(-x, 2.0), references(-x, 2.0))
    assert errors.max() < TOLERANCE
    # Beyond 1e30 the square root has no digits behind the point, in pairs of floats.
    assert abs(mittag_leffler(-1e300, 2.0)) <= 1.0


@pytest.mark.parametrize("alpha", [0.3, 0.7, 1.5])
@pytest.mark.parametrize("gap", [0.0, 1e-9, 0.02])
def test_exact_where_a_pole_meets_a_node_of_the_contour(alpha, gap):
    # The nodes of every set that the module holds, and arguments beside them.
    s = contour_nodes() * (1 + gap * np.exp(0.7j))
    s = s[np.abs(s) < 600]
    s = np.concatenate([s[::2], np.conj(s[1::2])])
    s = s[np.abs(np.angle(s)) * alpha <= np.pi]
    z = np.abs(s) ** alpha * np.exp(1j * alpha * np.angle(s))
    for beta in (1.0, 0.3):
        errors = scaled_errors(mittag_leffler(z, alpha, beta), references(z, alpha, beta))
        assert errors.max() < TOLERANCE, said(z, errors, alpha, beta)


# The negative half-line, where every digit counts.


@pytest.mark.parametrize("alpha", AXIS_ALPHAS)
def test_exact_relatively_on_the_negative_half_line(alpha, seed):
    x = np.concatenate([np.logspace(-9, 9, 10), [1e-300, 1e100, 1e300], switches(alpha)])
    x = np.concatenate([x, np.random.default_rng(seed).uniform(0.05, 60, 8) ** alpha])
    for beta in (1.0, alpha):
        values = mittag_leffler(-x, alpha, beta)
        errors = relative_errors(values, *amplitudes(-x, alpha, beta))
        assert errors.max() < TOLERANCE, said(-x, errors, alpha, beta)


@pytest.mark.parametrize("beta", [0.0, 0.35, 1.4, 2.0, 2.5, 3.0])
@pytest.mark.parametrize("alpha", AXIS_ALPHAS[::2])
def test_exact_relatively_on_the_negative_half_line_for_other_second_parameters(alpha, beta, seed):
    spread = np.logspace(-3, 6, 7)
    x = np.concatenate([spread, np.random.default_rng(seed).uniform(0.05, 60, 5) ** alpha])
    errors = relative_errors(mittag_leffler(-x, alpha, beta), *amplitudes(-x, alpha, beta))
    assert errors.max() < TOLERANCE, said(-x, errors, alpha, beta)


@pytest.mark.parametrize("alpha", [0.3, 0.9, 1.0, 1.4])
def test_exact_relatively_on_the_positive_half_line(alpha):
    x = np.logspace(-3, 2.7, 40) ** alpha
    for beta in (1.0, 0.6, 2.5):
        errors = relative_errors(mittag_leffler(x, alpha, beta), references(x, alpha, beta))
        assert errors.max() < TOLERANCE, said(x, errors, alpha, beta)


# What the same check rejects.


def by_nodes(z, alpha, *, weight=1.0, residue=1.0, turn=0.0):
    """The plainest right evaluation, double precision, which can be damaged in three places."""
    mu, phi, h = 10.362346706, 0.87, 0.1237243688
    u = (np.arange(-20, 20) + 0.5) * h
    s = mu * (1 + np.sin(1j * u - phi))
    ds = mu * np.cos(1j * u - phi)
    a = h / (2 * np.pi) * ds * np.exp(s) * s ** (alpha - 1)
    a[20] *= weight
    total = (a / (s**alpha - z[:, None])).sum(axis=1)
    angle = np.angle(z) + turn
    pole = np.abs(z) ** (1 / alpha) * np.exp(1j * angle / alpha)
    place = -1j * (np.arcsin(pole / mu - 1) + phi) / h
    with np.errstate(over="ignore"):
        share = 1 / (1 + np.exp(-2j * np.pi * place))
    share = np.where(np.abs(angle) <= alpha * np.pi, share, 0)
    return total + residue * share * np.exp(np.where(share == 0, 0, pole)) / alpha


def worst_by_nodes(**damage):
    z = np.array([-3.0, 1.5, 0.8j, 1 + 1j, -2 - 0.4j, 5.0, 3.0 + 2j], dtype=complex)
    return scaled_errors(by_nodes(z, 0.8, **damage), references(z, 0.8)).max()


def test_exact_by_a_plain_sum_over_nodes():
    assert worst_by_nodes() < TOLERANCE


@pytest.mark.twin
@pytest.mark.parametrize(
    "damage", [{"weight": 1 + 1e-11}, {"residue": 0.0}, {"residue": 1 + 1e-12}, {"turn": 2 * np.pi}]
)
def test_plane_check_rejects(damage):
    assert not worst_by_nodes(**damage) < TOLERANCE


@pytest.mark.twin
def test_half_line_check_rejects_an_error_that_is_small_only_absolutely():
    x = np.array([1e3])
    values = mittag_leffler(-x, 1 - 1e-6) + 1e-19
    assert not relative_errors(values, *amplitudes(-x, 1 - 1e-6)).max() < TOLERANCE


@pytest.mark.twin
def test_plane_check_rejects_a_missing_overflow_and_a_false_one():
    over, large = np.array([complex(np.inf)]), np.array([1e300 + 0j])
    assert not scaled_errors(large, over).max() < TOLERANCE
    assert not scaled_errors(over, large).max() < TOLERANCE
    assert not scaled_errors(np.array([np.nan]), large).max() < TOLERANCE


# Identities at random arguments.

RADII = st.floats(0.0, 60.0)  # of z**(1 / alpha)
ANGLES = st.floats(-np.pi, np.pi)
SECONDS = st.floats(-2.0, 5.0)
FIXED = settings(derandomize=True, deadline=None, max_examples=150, database=None)


def argument(radius, angle, alpha):
    return complex(radius**alpha * np.exp(1j * angle))


def gap(one, two, *sizes):
    """Difference in units of the tolerance, of sums whose terms have the given sizes."""
    return abs(one - two) / (TOLERANCE * (1 + sum(abs(size) for size in sizes)))


@FIXED
@given(radius=RADII, angle=ANGLES, alpha=st.floats(0.05, 1.0), beta=SECONDS)
def test_exact_step_in_the_second_parameter(radius, angle, alpha, beta):
    z = argument(radius, angle, alpha)
    low, high = mittag_leffler(z, alpha, beta), z * mittag_leffler(z, alpha, alpha + beta)
    # alpha + beta is rounded; the function of it changes like s**-beta.
    condition = 1 + 5e-16 / TOLERANCE * abs(np.log(radius + 1e-300))
    assert gap(low, high + rgamma(beta), low, high) < 4 * condition


@FIXED
@given(radius=RADII, angle=ANGLES, alpha=st.floats(0.05, 1.0))
def test_exact_duplication(radius, angle, alpha):
    z = argument(radius, angle, alpha)
    one, other = mittag_leffler(z, alpha), mittag_leffler(-z, alpha)
    two = 2 * mittag_leffler(z * z, 2 * alpha)
    # The square is rounded; its condition is that of the exponential of its root.
    condition = 1 + 2.2e-16 / TOLERANCE * radius / alpha
    assert gap(one + other, two, one, other) < 4 * condition


@FIXED
@given(radius=RADII, angle=ANGLES, alpha=st.floats(0.05, 2.0), beta=SECONDS)
def test_exact_conjugate_symmetry(radius, angle, alpha, beta):
    z = argument(radius, angle, alpha)
    below, above = mittag_leffler(z.conjugate(), alpha, beta), mittag_leffler(z, alpha, beta)
    # Not to the last bit: one of the three sets of nodes is not its own mirror image.
    assert gap(below.conjugate(), above, above) < 1


@FIXED
@given(x=st.floats(-1e6, 60.0), alpha=st.floats(0.05, 2.0), beta=SECONDS)
def test_routes_agree_of_real_arguments_and_complex_ones_of_the_same_value(x, alpha, beta):
    x = x if x < 0 else x**alpha
    real, beside = mittag_leffler(x, alpha, beta), mittag_leffler(complex(x), alpha, beta)
    assert gap(real, beside, real) < 2

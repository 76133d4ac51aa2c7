"""Rational forms of the relaxation: certified, level, and as short as theory allows."""

import dataclasses

import mpmath
import numpy as np
import pytest
from scipy.special import erfcx

from fracsde.errors import OutOfRangeError
from fracsde.special import mittag_leffler
from fracsde.special.rational import relaxation_poles
from tests.support.exact import relaxation

ALPHAS = (0.05, 0.3, 0.5, 0.6, 0.8, 0.95, 1.0)
# Best rational approximations of exp(-x) on the half-line, type (n, n), n = 2, 4, 10, 14
# (Carpenter, Ruttan and Varga 1984).
BEST_EXPONENTIAL = {2: 7.3587e-3, 4: 8.6522e-5, 10: 1.3611e-10, 14: 1.8322e-14}
# The table of the module: alpha -> errors for two, three, ... solves.
TABLE = {
    0.4: (2.9e-8, 6.5e-12, 4.5e-15),
    0.6: (8.7e-7, 1.1e-9, 1.3e-12, 5.4e-15),
    0.8: (1.1e-5, 4.6e-8, 1.9e-10, 7.9e-13, 9.8e-15),
    1.0: (8.8e-5, 1.1e-6, 1.2e-8, 1.4e-10, 1.6e-12, 2.8e-14),
}


def exact(x, alpha):
    if alpha == 1.0:
        return np.exp(-x)
    return erfcx(x) if alpha == 0.5 else mittag_leffler(-x, alpha)


def random_arguments(seed, count=20_000):
    rng = np.random.default_rng(seed)
    return np.concatenate([[0.0], np.exp(rng.uniform(np.log(1e-6), np.log(1e12), count))])


def worst_error(form, x):
    return float(np.abs(form(x) - exact(x, form.alpha)).max())


def damages(form):
    """Slightly wrong poles and residues, and the conjugate pair counted once."""
    last = np.array([*np.zeros(form.solves - 1), 1.0])
    return [
        dataclasses.replace(form, poles=form.poles * (1.0 + 1e-4 * last)),
        dataclasses.replace(form, residues=form.residues * (1.0 + 1e-4 * last)),
        dataclasses.replace(form, residues=form.residues * (1.0 - 0.5 * last)),
        dataclasses.replace(form, poles=form.poles.conj()),
    ]


@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_exact_to_the_certified_error_at_random_arguments(alpha, rtol, seed):
    form = relaxation_poles(alpha, rtol=rtol)
    assert form.error <= rtol
    assert worst_error(form, random_arguments(seed)) <= form.error


@pytest.mark.twin
@pytest.mark.parametrize("damage", range(4))
@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_exact_to_the_certified_error_rejects_damaged_terms(alpha, damage, seed):
    damaged = damages(relaxation_poles(alpha, rtol=1e-8))[damage]
    assert not worst_error(damaged, random_arguments(seed)) <= damaged.error


@pytest.mark.parametrize("alpha", [0.4, 0.7, 0.97])
def test_exact_to_the_certified_error_against_high_precision(alpha):
    form = relaxation_poles(alpha, rtol=1e-13)
    for x in (0.0, 0.02, 0.3, 1.7, 3.9, 11.0, 80.0):
        assert abs(form(x) - relaxation(x, alpha)) <= form.error


@pytest.mark.parametrize("alpha", ALPHAS)
def test_certified_error_is_no_more_than_a_twentieth_too_large(alpha, seed):
    for rtol in (1e-3, 1e-6, 1e-9):
        form = relaxation_poles(alpha, rtol=rtol)
        found = worst_error(form, random_arguments(seed, 40_000))
        assert found >= 0.95 * form.error - 5e-15


def lowest_ripple(form):
    """Alternations of the error, and the smallest of them (de la Vallee Poussin)."""
    y = np.cos(np.linspace(0.0, np.pi, 20_001))[:-1]
    error = form(4.0 * (1 - y) / (1 + y)) - exact(4.0 * (1 - y) / (1 + y), form.alpha)
    error = np.append(error, form.constant)
    cuts = np.flatnonzero(np.sign(error[1:]) != np.sign(error[:-1])) + 1
    return np.array([np.abs(part).max() for part in np.split(error, cuts)])


def degree(form):
    return int(np.sum(np.where(form.poles.imag == 0, 1, 2)))


@pytest.mark.parametrize("alpha", [0.1, 0.4, 0.6, 0.8, 1.0])
@pytest.mark.parametrize("rtol", [1e-3, 1e-5, 1e-7, 1e-9])
def test_no_rational_function_of_the_degree_is_better_by_a_twentieth(alpha, rtol):
    form = relaxation_poles(alpha, rtol=rtol)
    ripples = lowest_ripple(form)
    if form.error > 1e-12:  # below it rounding ripples too
        assert len(ripples) == 2 * degree(form) + 2
        assert ripples.min() >= 0.95 * ripples.max()


@pytest.mark.twin
@pytest.mark.parametrize("damage", range(2))
def test_no_rational_function_is_better_rejects_unlevelled_terms(damage):
    ripples = lowest_ripple(damages(relaxation_poles(0.6, rtol=1e-3))[damage])
    assert not ripples.min() >= 0.95 * ripples.max()


@pytest.mark.parametrize("n", sorted(BEST_EXPONENTIAL))
def test_exponential_reaches_the_best_errors_of_the_literature(n):
    best = BEST_EXPONENTIAL[n]
    form = relaxation_poles(1.0, rtol=1.03 * best + 1.2e-14)
    assert degree(form) == n
    assert form.error <= 1.03 * best + 1.2e-14


@pytest.mark.parametrize("alpha", sorted(TABLE))
def test_solves_and_errors_are_those_of_the_table(alpha):
    for solves, error in enumerate(TABLE[alpha], start=2):
        # Rounding may shift the last two columns by a few units of 1e-15.
        form = relaxation_poles(alpha, rtol=1.02 * error + 1e-14 * (error < 1e-13))
        assert form.solves == solves


@pytest.mark.parametrize("alpha", ALPHAS)
def test_no_pole_lies_on_the_half_line_and_conjugates_count_once(alpha):
    for rtol in (1e-2, 1e-5, 1e-9, 1e-13):
        poles = relaxation_poles(alpha, rtol=rtol).poles
        lone = poles.imag == 0
        assert np.all(poles[lone].real < 0)
        assert np.all(poles[~lone].imag > 0)
        assert np.all(np.where(poles.real > 0, poles.imag, np.abs(poles)) > 0.5)
        assert np.all(np.diff(lone.astype(int)) <= 0)  # real ones first
        assert lone.sum() <= 1


def test_limit_of_many_solves_is_monotone_in_the_tolerance():
    forms = [relaxation_poles(0.7, rtol=r) for r in np.geomspace(0.1, 2e-14, 40)]
    assert np.all(np.diff([f.solves for f in forms]) >= 0)
    assert np.all(np.diff([f.error for f in forms]) <= 0)


@pytest.mark.parametrize("alpha", [0.4, 1.0])
def test_routes_agree_shifted_solves_and_eigenvectors(alpha, seed):
    rng = np.random.default_rng(seed)
    n, t = 30, 0.7
    V = np.linalg.qr(rng.normal(size=(n, n)))[0]
    rates = np.geomspace(1e-3, 1e4, n)
    L, p = -(V * rates) @ V.T, rng.normal(size=n)
    form = relaxation_poles(alpha, rtol=1e-12)
    scale = t**alpha
    found = form.constant * p
    for residue, pole in zip(form.residues, form.poles, strict=True):
        shifted = -L - (pole / scale) * np.eye(n)
        found = found + (residue / scale * np.linalg.solve(shifted, p)).real
    by_modes = V @ (exact(rates * scale, alpha) * (V.T @ p))
    assert np.abs(found - by_modes).max() < 2e-11


def test_refuses_what_rounding_forbids_and_says_what_can_be_had():
    with pytest.raises(OutOfRangeError, match="ask for") as caught:
        relaxation_poles(0.6, rtol=1e-16)
    offered = float(str(caught.value).split("ask for ")[1].split()[0])
    assert relaxation_poles(0.6, rtol=offered).error <= offered < 2e-14


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.2])
def test_refuses_orders_outside_the_unit_interval(alpha):
    with pytest.raises(OutOfRangeError, match="alpha"):
        relaxation_poles(alpha)


def test_refuses_negative_arguments():
    with pytest.raises(OutOfRangeError, match="half-line"):
        relaxation_poles(0.6)(-1.0)


def test_keeps_one_object_for_equal_arguments_and_its_arrays_read_only():
    form = relaxation_poles(0.6, rtol=1e-7)
    assert form is relaxation_poles(0.6, rtol=1e-7)
    assert not form.poles.flags.writeable
    assert not form.residues.flags.writeable


def test_limit_of_small_orders_is_one_over_one_plus_x():
    form = relaxation_poles(1e-6, rtol=1e-5)
    x = np.array([0.0, 0.5, 3.0, 1e5])
    assert np.abs(form(x) - 1.0 / (1.0 + x)).max() < 1e-5
    assert form.solves == 1


def test_exact_reference_of_these_tests_agrees_with_high_precision():
    with mpmath.workdps(30):
        assert abs(exact(2.0, 0.5) - float(mpmath.exp(4) * mpmath.erfc(2))) < 1e-15

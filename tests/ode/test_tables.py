"""Tables of one interval: exact on what the basis holds, and the error of what it does not."""

from math import gamma

import mpmath
import numpy as np
import pytest

from fracsde._ode.tables import polynomials, starting_powers

BASES = [polynomials(3), polynomials(8), starting_powers(8, (0.3,)), starting_powers(5, (0.2, 0.9))]


def powers_of(basis):
    if hasattr(basis, "exponents"):
        return basis.exponents
    return np.arange(len(basis.nodes) + 1.0)


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("alpha", [0.2, 0.7, 1.0])
def test_exact_integrals_of_what_the_basis_holds(basis, alpha):
    where = np.concatenate([basis.nodes, basis.between])
    table = basis.integrals(alpha, where)
    for power in powers_of(basis)[:-1]:
        exact = gamma(power + 1) / gamma(power + 1 + alpha) * where ** (power + alpha)
        assert np.abs(table[:, :-1] @ basis.nodes**power - exact).max() < 1e-11


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("alpha", [0.2, 0.7, 1.0])
def test_exact_error_of_the_first_power_that_is_left_out(basis, alpha):
    """The gap at the start times the last column is what the integral of that power misses."""
    power = powers_of(basis)[-1]
    table = basis.integrals(alpha, basis.nodes)
    slopes = basis.nodes**power
    gap = 0.0 - basis.at_start() @ slopes
    exact = gamma(power + 1) / gamma(power + 1 + alpha) * basis.nodes ** (power + alpha)
    missed = exact - table[:, :-1] @ slopes
    assert np.abs(missed).max() > 1e-9
    assert np.abs(table[:, -1] * gap - missed).max() < 1e-10
    assert np.abs(-table[:, -1] * gap - missed).max() > 1e-9  # twin


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("decay", [0.0, 0.3, 25.0, 1e4])
def test_exact_moments_of_all_powers(basis, decay):
    moments = basis.moments(np.array([decay]))[0]
    for power in powers_of(basis):
        gap = (power == 0.0) - basis.at_start() @ basis.nodes**power
        found = moments[:-1] @ basis.nodes**power + moments[-1] * gap
        exact = float(mpmath.hyp1f1(1, power + 2, -decay)) / (power + 1)
        assert abs(found - exact) < 1e-11


def test_starting_powers_are_sums_of_orders_and_whole_numbers():
    exponents = starting_powers(8, (0.3, 0.8)).exponents
    assert np.allclose(exponents, [0.0, 0.3, 0.6, 0.8, 0.9, 1.0, 1.1])

"""Exact learning coefficients: formulas that must agree, published examples, exact temperatures."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations_with_replacement, pairwise, permutations, product

import mpmath
import numpy as np
import pytest
from scipy.integrate import dblquad

from fracsde.compare import compare
from fracsde.errors import InputError, OutOfRangeError, ShapeError
from fracsde.estimators import known_coefficients
from fracsde.estimators.known_coefficients import (
    deep_linear,
    monomial,
    monomial_at_temperature,
    product_of,
    reduced_rank,
    regular,
    sum_of,
    tanh_at_zero,
)
from fracsde.records import Measurement


def pair(known):
    return known.value, known.multiplicity


def test_exact_reduced_rank_is_the_deep_formula_of_one_hidden_layer():
    seen = 0
    for M, H, N in product(range(1, 9), repeat=3):
        for r in range(min(M, H, N) + 1):
            assert pair(reduced_rank(M, H, N, r)) == pair(deep_linear([M, H, N], r)), (M, H, N, r)
            seen += 1
    assert seen == 1808


@pytest.mark.twin
def test_agreement_of_the_two_formulas_rejects_a_set_of_one_layer(monkeypatch):
    """With l = 0 allowed the widths 2-1-2 would have the coefficient 0."""
    right = known_coefficients._is_the_set
    monkeypatch.setattr(
        known_coefficients, "_is_the_set", lambda M, count: right(M, max(count - 1, 2))
    )
    with pytest.raises(AssertionError):
        test_exact_reduced_rank_is_the_deep_formula_of_one_hidden_layer()


@pytest.mark.parametrize(
    ("widths", "rank", "value", "multiplicity"),
    [
        ([2, 1, 2], 0, "1", 2),
        ([2, 2, 2], 0, "3/2", 1),
        ([3, 2, 3], 1, "7/2", 2),
        ([5, 3, 5], 1, "8", None),
        ([5, 3, 5], 3, "21/2", None),
        ([4, 4, 4, 4], 1, "13/2", None),
        ([3, 5, 2, 4], 1, "4", None),
        ([10, 10, 10, 10, 10], 2, "38", None),
    ],
)
def test_exact_examples_of_deep_linear_networks(widths, rank, value, multiplicity):
    known = deep_linear(widths, rank)
    assert known.value == Fraction(value)
    assert multiplicity is None or known.multiplicity == multiplicity


def test_exact_symmetries_and_bounds_of_deep_linear_networks():
    for widths in combinations_with_replacement(range(1, 5), 4):
        for r in range(min(widths) + 1):
            order = {
                pair(deep_linear(list(w), r))
                for w in permutations(widths)
                if w[0] == widths[0] and w[-1] == widths[-1]
            }
            assert len(order) == 1
            known = deep_linear(list(widths), r)
            # No more than half of the parameters, nor of the map they make; no less than half of
            # the true map's own dimension.
            parameters = sum(a * b for a, b in pairwise(widths))
            own = r * (widths[0] + widths[-1] - r)
            assert own <= 2 * known.value <= min(parameters, widths[0] * widths[-1])


def test_exact_full_rank_is_regular():
    """Where hidden layers have the rank of the map, the minima are smooth: half its dimension."""
    for M, N, r in product(range(1, 6), range(1, 6), range(1, 6)):
        if r <= min(M, N):
            assert pair(deep_linear([M, r, r, N], r)) == pair(regular(r * (M + N - r)))


def test_exact_product_of_numbers_is_a_monomial():
    for layers in range(1, 6):
        assert pair(deep_linear([1] * (layers + 1), 0)) == pair(monomial([1] * layers))


def test_exact_one_hidden_unit_is_a_product_of_squares():
    for p, q in product(range(1, 6), repeat=2):
        assert pair(reduced_rank(p, 1, q, 0)) == pair(product_of(regular(p), regular(q)))


def test_exact_sums_and_products():
    mixed = sum_of(regular(3), monomial([1, 1]), monomial([2, 2]))
    assert pair(mixed) == (Fraction(9, 4), 3)
    assert pair(product_of(monomial([2]), monomial([1]))) == pair(monomial([2, 1]))
    assert pair(monomial([1, 2], prior=[0, 1])) == (Fraction(1, 2), 2)


@pytest.mark.parametrize(
    ("hidden", "value", "multiplicity"),
    [(1, "1/2", 2), (2, "2/3", 1), (3, "5/6", 1), (4, "1", 2), (9, "3/2", 2), (10, "11/7", 1)],
)
def test_exact_tanh_units_at_zero(hidden, value, multiplicity):
    assert pair(tanh_at_zero(hidden)) == (Fraction(value), multiplicity)


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("t", [0.3, 40.0, 1e6])
def test_routes_agree_one_monomial_is_a_ratio_of_incomplete_gammas(k, t):
    a, width = mpmath.mpf(1) / (2 * k), 1.3
    x = t * width ** (2 * k)
    expected = mpmath.gammainc(a + 1, 0, x) / mpmath.gammainc(a, 0, x)
    assert monomial_at_temperature(t, [k], half_width=width) == pytest.approx(
        float(expected), rel=2e-12
    )


@pytest.mark.parametrize(
    ("powers", "prior"), [([1, 1], [0, 0]), ([1, 2], [0, 3]), ([2, 2], [1, 0])]
)
def test_routes_agree_two_monomials_are_a_double_integral(powers, prior):
    t, width = 50.0, 0.8

    def weight(y, x):
        height = x ** (2 * powers[0]) * y ** (2 * powers[1])
        return x ** prior[0] * y ** prior[1] * np.exp(-t * height)

    def energy(y, x):
        return t * x ** (2 * powers[0]) * y ** (2 * powers[1]) * weight(y, x)

    box = 0.0, width, 0.0, width
    top, bottom = (dblquad(f, *box, epsabs=1e-12)[0] for f in (energy, weight))
    found = monomial_at_temperature(t, powers, prior, half_width=width)
    assert found == pytest.approx(top / bottom, rel=1e-8)


@pytest.mark.parametrize(
    ("powers", "values"),
    [
        ([1, 1], {1e2: 0.348, 1e3: 0.387, 1e4: 0.411, 1e6: 0.437}),
        ([1, 2], {1e2: 0.204, 1e3: 0.226, 1e4: 0.237, 1e6: 0.246}),
        ([2, 2], {1e2: 0.137, 1e3: 0.160, 1e4: 0.176, 1e6: 0.195}),
    ],
)
def test_values_at_temperatures_that_another_program_made(powers, values):
    for t, value in values.items():
        assert abs(monomial_at_temperature(t, powers) - value) <= 6e-4


def test_limit_of_low_temperature_is_the_coefficient():
    for powers in ([1], [3], [1, 2], [1, 2, 3]):
        found = monomial_at_temperature(1e40, powers)
        assert found == pytest.approx(float(monomial(powers).value), rel=1e-3)


def test_exact_two_equal_powers_follow_the_logarithm():
    """Of (w1 w2)^2 on the unit box t E = 1/2 - 1 / (log t + c) but for exponentially little."""
    c = -float(mpmath.digamma(0.5))
    for t in (1e3, 1e6, 1e9):
        found = monomial_at_temperature(t, [1, 1])
        assert found == pytest.approx(0.5 - 1.0 / (np.log(t) + c), rel=1e-11)


def test_known_coefficient_is_a_prediction_that_a_measurement_meets():
    known = regular(5).prediction()
    measured = Measurement(
        quantity=known.quantity, value=[2.51], stderr=[0.005], n_effective=[20.0]
    )
    assert compare(known, measured, tolerance=0.05).rows[0].verdict.name == "AGREES"


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: monomial([]), ShapeError, "not be empty"),
        (lambda: monomial([0]), OutOfRangeError, "at least 1"),
        (lambda: monomial(3), InputError, "sequences"),
        (lambda: monomial([1, 1], [0]), ShapeError, "as long"),
        (lambda: reduced_rank(2, 3, 4, 3), OutOfRangeError, "at most 2"),
        (lambda: deep_linear([3], 1), ShapeError, "inputs and outputs"),
        (lambda: deep_linear(3, 1), InputError, "sequence"),
        (lambda: sum_of(), InputError, "at least one"),
        (lambda: regular(-1), OutOfRangeError, "at least 0"),
        (lambda: tanh_at_zero(0), OutOfRangeError, "at least 1"),
        (lambda: monomial_at_temperature(0.0, [1]), OutOfRangeError, "n_beta"),
        (lambda: monomial_at_temperature(1.0, [1], half_width=-1), OutOfRangeError, "half_width"),
    ],
)
def test_refuses_what_has_no_coefficient(call, error, match):
    with pytest.raises(error, match=match):
        call()

"""Chebyshev series: values, derivatives and integrals to rounding, refusals of kinks."""

import mpmath
import numpy as np
import pytest

from fracsde.errors import UnsupportedError
from fracsde.operators.smooth import fit
from tests.support.exact import EPS

BOX = (-3.0, 5.0)
X = np.linspace(-2.9, 4.9, 57)


def cases():
    return {
        "cubic": (lambda x: x**3 - x, lambda x: 3 * x**2 - 1),
        "wavy": (lambda x: np.cos(7 * x), lambda x: -7 * np.sin(7 * x)),
        "steep": (lambda x: np.exp(-2 * x), lambda x: -2 * np.exp(-2 * x)),
        "pole": (lambda x: 1 / (1 + x * x), lambda x: -2 * x / (1 + x * x) ** 2),
    }


@pytest.mark.parametrize("name", cases())
def test_exact_values_derivatives_and_integrals_to_rounding(name):
    function, slope = cases()[name]
    series = fit("potential", function, BOX)
    n, scale = len(series.coefficients), np.abs(function(np.linspace(*BOX, 999))).max()
    assert np.abs(series(X) - function(X)).max() <= 64 * EPS * scale
    derivative = series.derivative()
    middle = np.abs(X - 1.0) < 2.0  # the last digits are lost towards the ends, like 1 / sin
    gap = np.abs(derivative(X) - slope(X))
    assert gap[middle].max() <= 64 * EPS * scale * n
    assert gap.max() <= 64 * EPS * scale * n**2
    back = derivative.antiderivative()
    risen = back(X) - back(X[:1])
    assert np.abs(risen - (function(X) - function(X[:1]))).max() <= 128 * EPS * scale * n


def test_exact_second_derivative_of_a_quartic_keeps_its_own_degree():
    series = fit("potential", lambda x: 6 * (x * x - 1) ** 2, (-2.0, 2.1))
    assert len(series.coefficients) == 5
    bend = series.derivative().derivative()
    x = np.linspace(-2.0, 2.1, 33)
    assert np.abs(bend(x) - (72 * x * x - 24)).max() <= 1e-12


def test_exact_integral_against_high_precision():
    series = fit("force", lambda x: np.exp(np.sin(3 * x)), (0.0, 2.0)).antiderivative()
    with mpmath.workdps(30):
        expected = float(mpmath.quad(lambda x: mpmath.exp(mpmath.sin(3 * x)), [0, 1, 2]))
    assert abs(series(np.array([0.0]))[0]) <= 4 * EPS
    assert abs(series(np.array([2.0]))[0] - expected) <= 16 * EPS * expected


@pytest.mark.twin
def test_exact_derivative_rejects_one_term_of_the_recurrence_lost():
    series = fit("potential", lambda x: np.cos(7 * x), BOX)
    damaged = series.derivative()
    damaged.coefficients[0] *= 2.0  # as if the first coefficient were not halved
    assert not np.abs(damaged(X) + 7 * np.sin(7 * X)).max() <= 1e-10


def test_exact_constant_and_zero():
    for value in (0.0, 3.0):
        series = fit("force", lambda x, v=value: v + 0 * x, BOX)
        assert np.all(series(X) == value)
        assert np.all(series.derivative()(X) == 0.0)


@pytest.mark.parametrize("function", [np.abs, lambda x: np.where(x > 0.3, 1.0, 0.0)])
def test_refuses_kinks_and_jumps(function):
    with pytest.raises(UnsupportedError, match=r"use FiniteVolume\(\), which needs no derivatives"):
        fit("potential", function, BOX)

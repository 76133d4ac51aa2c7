"""Tables of product-integration collocation against high precision."""

import mpmath
import numpy as np
import pytest

from fracsde.schemes.collocation_tables import (
    exponential_moments,
    fractional_integrals,
    lagrange,
    radau_nodes,
)
from tests.support.damage import one_sign
from tests.support.exact import EPS


def from_monomials(nodes, integrals):
    """What the Lagrange polynomials of ``nodes`` have, given what the monomials have."""
    vandermonde = mpmath.matrix([[mpmath.mpf(c) ** k for k in range(len(nodes))] for c in nodes])
    return np.array((integrals * vandermonde**-1).tolist(), dtype=float)


def exact_integrals(nodes, alpha):
    a = mpmath.mpf(alpha)
    powers = [
        [
            mpmath.gamma(k + 1) / mpmath.gamma(k + 1 + a) * mpmath.mpf(c) ** (k + a)
            for k in range(len(nodes))
        ]
        for c in nodes
    ]
    return from_monomials(nodes, mpmath.matrix(powers))


def exact_moments(nodes, z):
    near = 1 - min(mpmath.mpf(1), mpmath.mpf(60) / max(z, 1))
    ends = sorted({mpmath.mpf(0), near, 1})
    row = [
        mpmath.quad(lambda v, k=k: mpmath.exp(-z * (1 - v)) * v**k, ends) for k in range(len(nodes))
    ]
    return from_monomials(nodes, mpmath.matrix([row]))[0]


@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_exact_radau_quadrature(count):
    nodes = radau_nodes(count)
    weights = fractional_integrals(nodes, np.ones(1), alpha=1.0)[0]
    for degree in range(2 * count - 1):
        assert abs(weights @ nodes**degree - 1 / (degree + 1)) < 8 * EPS
    assert abs(weights @ nodes ** (2 * count - 1) - 1 / (2 * count)) > 1e-12


@pytest.mark.parametrize("alpha", [0.02, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("count", [1, 3, 8, 12])
def test_exact_fractional_integrals_against_high_precision(count, alpha):
    nodes = radau_nodes(count)
    table = fractional_integrals(nodes, nodes, alpha=alpha)
    with mpmath.workdps(50):
        exact = exact_integrals(nodes, alpha)
    assert np.abs(table - exact).max() < 1e-13
    assert np.abs(one_sign(table) - exact).max() > 1e-2  # twin


@pytest.mark.parametrize("decay", [0.0, 1e-8, 1.0, 30.0, 41.9, 42.0, 60.0, 1e3, 1e8])
@pytest.mark.parametrize("count", [1, 8, 12])
def test_exact_exponential_moments_against_high_precision(count, decay):
    nodes = radau_nodes(count)
    moments = exponential_moments(nodes, np.array([decay]))[0]
    with mpmath.workdps(50):
        exact = exact_moments(nodes, decay)
    assert np.abs(moments - exact).max() * max(decay, 1.0) < 1e-13
    assert np.abs(one_sign(moments) - exact).max() * max(decay, 1.0) > 1e-2  # twin


def test_exact_lagrange_polynomials_at_their_nodes_and_between():
    nodes = radau_nodes(6)
    where = np.concatenate([nodes, np.linspace(-0.2, 1.1, 14)])
    table = lagrange(nodes, where)
    assert np.array_equal(table[:6], np.eye(6))
    assert np.abs(table @ nodes**5 - where**5).max() < 1e-13

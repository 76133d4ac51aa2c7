"""Tables for integrands that start like a power, against high precision."""

import mpmath
import numpy as np
import pytest

from fracsde.schemes._first_interval import power_integrals, power_moments
from fracsde.schemes.collocation_tables import (
    exponential_moments,
    fractional_integrals,
    radau_nodes,
)
from tests.schemes.test_collocation_tables import from_monomials
from tests.support.damage import one_sign


@pytest.mark.parametrize("count", [1, 3, 8, 19])
@pytest.mark.parametrize(("alpha", "start"), [(0.05, 0.05), (0.6, 0.6), (1.0, 0.3), (0.9, 1.0)])
def test_exact_integrals_against_high_precision(count, alpha, start):
    nodes = radau_nodes(count)
    table = power_integrals(nodes, nodes, alpha=alpha, start=start)
    with mpmath.workdps(60):
        a, s = mpmath.mpf(alpha), mpmath.mpf(start)
        powers = [
            [mpmath.gamma(k + s) / mpmath.gamma(k + s + a) * mpmath.mpf(c) ** (k + s + a - 1)
             for k in range(count)]
            for c in nodes
        ]  # fmt: skip
        exact = from_monomials(nodes, mpmath.matrix(powers))
    # SciPy's Gauss-Jacobi weights are good to 1e-14 for 8 points and exponents near -1, to 1e-13
    # for 19.
    assert np.abs(table - exact).max() < (1e-13 if count <= 8 else 5e-13) * np.abs(exact).max()
    assert np.abs(one_sign(table) - exact).max() > 1e-2  # twin


@pytest.mark.parametrize("decay", [0.0, 1.0, 30.0, 59.9, 60.1, 1e3, 1e12])
@pytest.mark.parametrize("start", [0.1, 0.6, 1.0])
def test_exact_moments_against_high_precision(decay, start):
    nodes = radau_nodes(8)
    moments = power_moments(nodes, np.array([decay]), start=start)[0]
    with mpmath.workdps(60):
        s, z = mpmath.mpf(start), mpmath.mpf(decay)

        def monomial(k):  # int_0^1 exp(-z (1 - v)) v**(k + s - 1) dv
            if z == 0:
                return 1 / (k + s)
            if z < 100:
                return mpmath.exp(-z) * mpmath.hyp1f1(k + s, k + s + 1, z) / (k + s)
            terms = [mpmath.mpf(1)]  # by parts at the end; the start is below exp(-100)
            for j in range(40):
                terms.append(-terms[-1] * (k + s - 1 - j) / z)
            return mpmath.fsum(terms) / z

        exact = from_monomials(nodes, mpmath.matrix([[monomial(k) for k in range(8)]]))[0]
    size = max(decay, 1.0)
    # Relative to the integral of the power, 1 / start, SciPy's weights of 48 points err by 1e-13.
    assert np.abs(moments - exact).max() * size < 3e-13 / start
    assert np.abs(one_sign(moments) - exact).max() * size > 1e-2  # twin


def test_limit_without_a_power_is_the_plain_table():
    nodes = radau_nodes(6)
    z = np.array([0.0, 0.5, 41.0, 70.0, 1e5])
    plain = fractional_integrals(nodes, nodes, alpha=0.7)
    assert np.abs(power_integrals(nodes, nodes, alpha=0.7, start=1.0) - plain).max() < 1e-14
    gap = power_moments(nodes, z, start=1.0) - exponential_moments(nodes, z)
    assert np.abs(gap).max() < 1e-13

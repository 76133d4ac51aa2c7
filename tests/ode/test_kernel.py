"""The kernel of fractional integrals as exponentials keeps its tolerance on its window."""

from math import gamma

import numpy as np
import pytest

from fracsde._ode.kernel import integral_kernel


def worst(weights, rates, alpha, first, last):
    t = np.geomspace(first, last, 20_011)
    return np.abs(np.exp(-t[:, None] * rates) @ weights * t ** (1 - alpha) * gamma(alpha) - 1).max()


@pytest.mark.parametrize("rtol", [1e-5, 1e-9, 1e-13])
@pytest.mark.parametrize("alpha", [0.02, 0.3, 0.9, 0.999])
@pytest.mark.parametrize(("first", "last"), [(1e-2, 10.0), (1e-9, 1.0), (1e-20, 1e5)])
def test_exact_kernel_to_its_tolerance(alpha, rtol, first, last):
    weights, rates = integral_kernel(alpha, rtol=rtol, first=first, last=last)
    assert np.all(weights > 0)
    assert np.all(rates >= 0)
    assert worst(weights, rates, alpha, first, last) < rtol + 2e-15


@pytest.mark.twin
def test_exact_kernel_would_fail_with_one_term_less():
    weights, rates = integral_kernel(0.5, rtol=1e-9, first=1e-6, last=1.0)
    for k in range(0, len(rates), 7):
        kept = np.delete(np.arange(len(rates)), k)
        assert worst(weights[kept], rates[kept], 0.5, 1e-6, 1.0) > 1e-9


def test_limit_of_order_one_is_a_constant():
    weights, rates = integral_kernel(1.0, rtol=1e-12, first=1e-6, last=1.0)
    assert weights.tolist() == [1.0]
    assert rates.tolist() == [0.0]
    near, slow = integral_kernel(1.0 - 1e-9, rtol=1e-12, first=1e-6, last=1.0)
    assert np.abs(np.exp(-slow * np.array([[1e-5], [1.0]])) @ near - 1.0).max() < 2e-8

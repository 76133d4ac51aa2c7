"""The transform in lanes: SciPy's spectra, in another order, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft

from fracsde.estimators.lane_transform import add_powers, back, shape, turns
from tests.support.exact import EPS

SIZES = [(1, 8), (1, 16), (1, 128), (1, 512), (3, 8), (3, 64), (5, 16), (5, 32), (7, 8), (1, 32768)]


def _products(x, y, R, m, factors, second=0.0):
    # Powers of x + i y, and q of these and `second` times these.
    n = 8 * R * m
    re, im, powers = np.empty(n), np.empty(n), np.zeros(n)
    add_powers(x, y, R, factors, re, im, powers)
    p, q = powers.copy(), second * powers
    back(p, q, R, factors, re, im)
    return powers, p + 1j * q


def _gap(R, m, rng, *, damage=0.0):
    # Distance from SciPy, of powers and of products, in units of rounding.
    n = 8 * R * m
    x, y = rng.standard_normal((2, n // 2))
    outer, inner = turns(R, m)
    outer[-1] += damage
    powers, found = _products(x, y, R, m, (outer, inner), second=0.5)
    expected = np.square(np.abs(fft.fft(x + 1j * y, n)))
    product = (1 + 0.5j) * fft.ifft(expected) * n
    order = np.max(np.abs(np.sort(powers) - np.sort(expected))) / expected.max()
    return max(order, np.max(np.abs(found - product)) / np.abs(product[0])) / EPS


@pytest.mark.parametrize(("R", "m"), SIZES)
def test_engine_powers_and_products_equal_scipy(R, m, seed):
    assert _gap(R, m, np.random.default_rng(seed)) < 16


@pytest.mark.twin
def test_engine_differs_from_scipy_with_one_factor_wrong(seed):
    assert _gap(1, 64, np.random.default_rng(seed), damage=1e-9) > 1e3


def test_exact_impulse_has_a_product_at_zero_only():
    for R, m in SIZES[:-1]:
        x = np.zeros(4 * R * m)
        x[3] = 2.0
        powers, found = _products(x, np.zeros(4 * R * m), R, m, turns(R, m))
        assert np.max(np.abs(powers - 4.0)) <= 16 * EPS
        found[0] -= 4.0 * len(found)
        assert np.max(np.abs(found)) <= 16 * EPS * len(found)


@pytest.mark.parametrize("least", [1, 4, 64, 65, 127, 200, 2000, 8000, 20_000, 200_000])
def test_shape_is_the_shortest_that_holds(least):
    R, m = shape(least)
    assert 8 * R * m >= least
    every = [8 * r * 2**k for r in (1, 3, 5, 7) for k in range(3, 20)]
    assert 8 * R * m == min(n for n in every if n >= least)

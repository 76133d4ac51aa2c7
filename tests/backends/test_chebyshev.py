"""Chebyshev polynomials of a stencil: the compiled recursion against its definition."""

import numpy as np
import pytest

from fracsde.backends import chebyshev_numba, chebyshev_reference


def inputs(n, offsets, seed=0):
    rng = np.random.default_rng(seed)
    pad = int(np.abs(offsets).max())
    twice = rng.uniform(-0.4, 0.4, (len(offsets), n))
    for k, o in enumerate(offsets):  # nothing looks beyond the ends
        twice[k, n - o :] = twice[k, n - o :] * (o <= 0)
        if o < 0:
            twice[k, :-o] = 0.0
    before, now = np.zeros((2, n + 2 * pad))
    before[pad : pad + n], now[pad : pad + n] = rng.normal(size=(2, n))
    return twice, np.array(offsets), before, now, rng.uniform(0.5, 2.0, n)


@pytest.mark.parametrize("n", [1, 7, 1023, 1024, 3001])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("offsets", [[0], [-1, 0, 1], [-5, -1, 0, 1, 5]])
def test_engine_numba_equals_the_reference(n, count, offsets):
    if n <= max(offsets):
        offsets = [0]
    results = []
    for engine in (chebyshev_numba, chebyshev_reference):
        twice, where, before, now, inverse = inputs(n, offsets)
        rows, peaks = np.empty((count, n)), np.empty(count)
        engine.chebyshev_rows(twice, where, before, now, inverse, rows, peaks)
        results.append((rows, peaks, before, now))
    for found, expected in zip(*results, strict=True):
        assert np.allclose(found, expected, rtol=1e-13, atol=1e-13)


def test_exact_rows_are_chebyshev_polynomials():
    """On a diagonal matrix each entry is the polynomial of a number."""
    x = np.linspace(-1.0, 1.0, 9)
    rows, peaks = np.empty((6, 9)), np.empty(6)
    before, now = x.copy(), np.ones(9)
    chebyshev_reference.chebyshev_rows(
        2.0 * x[None], np.array([0]), before, now, np.ones(9), rows, peaks
    )
    assert np.allclose(rows, np.cos(np.multiply.outer(np.arange(6), np.arccos(x))), atol=1e-14)
    assert np.allclose(peaks, 1.0)


@pytest.mark.twin
def test_exact_rows_reject_the_wrong_start():
    x = np.linspace(-1.0, 1.0, 9)
    rows, peaks = np.empty((6, 9)), np.empty(6)
    chebyshev_reference.chebyshev_rows(
        2.0 * x[None], np.array([0]), np.zeros(9), np.ones(9), np.ones(9), rows, peaks
    )
    assert np.abs(rows - np.cos(np.multiply.outer(np.arange(6), np.arccos(x)))).max() > 0.5

"""A product has the same bits whatever the tile of rows and vectors it is taken in."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numba import njit

from fracsde.backends.numba_cpu import dense_paths
from fracsde.backends.philox import seed_key
from fracsde.backends.product_code import HEIGHTS, ROWS, VECTORS, tile, tile_rows

PRECISIONS = [np.float64, np.float32]
COUNT = 60  # rows, of tiles of any height


@cache
def kernel(vectors: int, *, wide: bool):
    """Return the compiled sum of two products, taken in tiles of one shape."""
    one = tile(vectors, products=2, wide=wide)

    @njit
    def run(out, height, width, L, z, M, x, d):
        size = out.shape[1]
        for row in range(0, out.shape[0], height):
            for at in range(0, size, width):
                first, second = (L, row * d, d, z, at, d), (M, row * d, d, x, at, d)
                one(out, row * size + at, size, height, (*first, *second))

    return run


def product(height: int, vectors: int, arrays, *, wide: bool):
    """Return ``L Z + M X``."""
    L, Z, M, X = arrays
    out, width = np.full((COUNT, Z.shape[1]), np.nan, L.dtype), vectors * 64 // L.itemsize
    run = kernel(vectors, wide=wide)
    run(out, height, width, L, Z.reshape(-1), M, X.reshape(-1), L.shape[1])
    return out


def arrays(precision: type):
    rng, size = np.random.default_rng(5), VECTORS * 64 // np.dtype(precision).itemsize
    shapes = ((COUNT, 33), (33, size), (COUNT, 33), (33, size))
    return [rng.normal(size=shape).astype(precision) for shape in shapes]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_exact_bits_of_a_product_do_not_depend_on_the_tile(precision: type) -> None:
    given = arrays(precision)
    expected = product(ROWS, VECTORS, given, wide=True)
    L, Z, M, X = (array.astype(float) for array in given)
    tolerance = 500 * np.finfo(precision).eps
    np.testing.assert_allclose(expected, L @ Z + M @ X, rtol=0, atol=tolerance)
    for height in HEIGHTS:
        for vectors in (1, VECTORS):
            found = product(height, vectors, given, wide=False)
            np.testing.assert_array_equal(found, expected)


@pytest.mark.twin
@pytest.mark.parametrize("precision", PRECISIONS)
def test_comparison_of_bits_rejects_columns_in_another_order(precision: type) -> None:
    given = arrays(precision)
    L, Z, M, X = given
    other = [np.ascontiguousarray(a) for a in (L[:, ::-1], Z[::-1], M, X)]
    expected = product(ROWS, VECTORS, given, wide=True)
    found = product(ROWS, VECTORS, other, wide=True)
    np.testing.assert_allclose(found, expected, rtol=0, atol=500 * np.finfo(precision).eps)
    assert np.any(found != expected)


def test_tiles_of_a_matrix_leave_the_fewest_rows_of_zeros() -> None:
    for rows in range(1, 40):
        height = tile_rows(rows)
        if height != ROWS:  # as registers of 64 bytes always have
            assert -rows % height == min(-rows % other for other in HEIGHTS)
    assert tile_rows(4) == ROWS


@pytest.mark.parametrize("precision", PRECISIONS)
def test_exact_paths_do_not_depend_on_coordinates_that_stand_still(precision: type) -> None:
    # Of 7 to 15 coordinates tiles have all heights: those that are added, coupled to nothing,
    # change the tiles of the others.
    rng, d = np.random.default_rng(6), 7
    steps, slot, key = np.zeros(9, np.int64), np.arange(9), seed_key(3)
    E, L = rng.normal(size=(d, d)) / 4, np.tril(rng.normal(size=(d, d)))
    found = []
    for n in (7, 10, 12, 15):
        start, transition, factor = np.ones((40, n)), np.zeros((1, n, n)), np.zeros((1, n, d))
        transition[0, :d, :d], factor[0, :d] = E, L
        out = np.empty((40, 9, n), precision)
        mean = np.zeros(n)
        dense_paths(start, transition, factor, steps, slot, np.arange(n), mean, out, key)
        found.append(out[:, :, :d])
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])

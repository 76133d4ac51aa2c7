"""Operations on tables of chains equal their definitions in NumPy, at every size."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.backends.chain_lanes import ROWS, VECTORS, add_product, advance, record

PRECISIONS = [np.float64, np.float32]


def width(precision: type) -> int:
    """Return how many numbers a vector holds."""
    return 64 // np.dtype(precision).itemsize


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("tiles", "depth", "vectors"), [(1, 1, 1), (2, 7, VECTORS), (3, 10, VECTORS + 2), (1, 0, 2)]
)
def test_engine_product_equals_matmul_and_adds(precision, tiles, depth, vectors) -> None:
    rng = np.random.default_rng(depth)
    size = vectors * width(precision)
    M = rng.normal(size=(tiles * ROWS, depth)).astype(precision)
    X = rng.normal(size=(depth + 1, size)).astype(precision)  # one row more than is read
    out = rng.normal(size=(tiles * ROWS, size)).astype(precision)
    expected = out + M.astype(float) @ X[:depth].astype(float)
    add_product(out, M, X, np.full(tiles, depth))
    tolerance = 4 * (depth + 1) * np.finfo(precision).eps
    np.testing.assert_allclose(out, expected, rtol=0, atol=4 * tolerance)


def test_product_reads_no_column_beyond_the_extent_of_a_tile() -> None:
    rng = np.random.default_rng(1)
    M, X = np.tril(rng.normal(size=(8, 8))), rng.normal(size=(8, 8))
    out = np.zeros((8, 8))
    add_product(out, M, X, np.array([4, 8]))
    np.testing.assert_allclose(out, M @ X, rtol=0, atol=1e-14)
    M[:4, 4:] = np.nan
    again = np.zeros((8, 8))
    add_product(again, M, X, np.array([4, 8]))
    np.testing.assert_array_equal(again, out)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_columns_of_a_product_do_not_depend_on_the_size_of_the_table(precision) -> None:
    rng = np.random.default_rng(2)
    size = (VECTORS + 1) * width(precision)
    M = rng.normal(size=(ROWS, 9)).astype(precision)
    X = rng.normal(size=(9, size)).astype(precision)
    whole = np.zeros((ROWS, size), precision)
    add_product(whole, M, X, np.array([9]))
    few = np.zeros((ROWS, width(precision)), precision)
    add_product(few, M, np.ascontiguousarray(X[:, : width(precision)]), np.array([9]))
    np.testing.assert_array_equal(whole[:, : width(precision)], few)


def steps(y, rho, sigma, z, *, lanes):
    """Return the states after each step, the definition of `advance`."""
    d, size = y.shape
    blocks = z.reshape(lanes, -1, d, size).astype(float)
    found = []
    for t in range(len(rho)):
        y = rho[t][:, None] * y + sigma[t][:, None] * blocks[t % lanes, t // lanes]
        found.append(y)
    return np.array(found)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("d", "vectors", "count"), [(1, 1, 1), (3, 2, 5), (2, 1, 12)])
def test_engine_steps_equal_their_definition(precision, d, vectors, count) -> None:
    rng = np.random.default_rng(count)
    size, lanes = vectors * width(precision), 16 // np.dtype(precision).itemsize
    rows = -(-count // lanes)
    y = rng.normal(size=(d, size)).astype(precision)
    rho, sigma = rng.uniform(0.1, 0.9, size=(2, count, d)).astype(precision)
    z = rng.normal(size=(lanes, rows * d * size)).astype(precision)
    expected = steps(y.astype(float), rho.astype(float), sigma.astype(float), z, lanes=lanes)
    out = np.full((count, d, size), np.nan, precision)
    advance(y, rho, sigma, z, out)
    np.testing.assert_allclose(out, expected, rtol=0, atol=40 * np.finfo(precision).eps)
    np.testing.assert_array_equal(y, out[-1])


@pytest.mark.twin
def test_comparison_rejects_lanes_in_the_wrong_order() -> None:
    rng = np.random.default_rng(3)
    y, z = np.zeros((1, 8)), rng.normal(size=(2, 8))
    rho, sigma = np.full((2, 1), 0.5), np.ones((2, 1))
    out = np.empty((2, 1, 8))
    expected = steps(y, rho, sigma, z[::-1], lanes=2)
    advance(y, rho, sigma, z, out)
    assert np.abs(out - expected).max() > 0.1


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("rows", "chains"), [(1, 1), (8, 8), (16, 16), (37, 21), (5, 32), (33, 7)])
def test_exact_record_is_the_transpose_plus_the_mean_and_nothing_else(
    precision, rows, chains
) -> None:
    rng = np.random.default_rng(rows)
    source = rng.normal(size=(rows + 2, 32)).astype(precision)
    mean = rng.normal(size=rows + 2).astype(precision)
    out = np.full((chains, rows + 3), -1.0, precision)
    record(source, mean, out.reshape(-1), 2, rows + 3, rows, chains)
    np.testing.assert_array_equal(out[:, 2:-1], (source[:rows] + mean[:rows, None]).T[:chains])
    assert np.all(out[:, :2] == -1.0)
    assert np.all(out[:, -1] == -1.0)

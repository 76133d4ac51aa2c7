"""Operations on tables of chains equal their definitions in NumPy, at every size."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.backends.chain_lanes import advance, push, record, step, turn
from fracsde.backends.product_code import VECTORS, tile_rows

PRECISIONS = [np.float64, np.float32]


def width(precision: type) -> int:
    """Return how many numbers a vector holds."""
    return 64 // np.dtype(precision).itemsize


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("tiles", "depth", "vectors"), [(1, 1, 1), (2, 7, VECTORS), (3, 10, VECTORS + 2), (1, 0, 2)]
)
def test_engine_step_equals_the_sum_of_two_products(precision, tiles, depth, vectors) -> None:
    rng = np.random.default_rng(depth)
    rows, size = tiles * tile_rows(tiles * 6), vectors * width(precision)
    L, E = (rng.normal(size=(rows, n)).astype(precision) for n in (depth, rows - 1))
    z = rng.normal(size=3 + depth * size).astype(precision)
    X = rng.normal(size=(rows, size)).astype(precision)  # one row more than is read
    out = np.full((rows, size), np.nan, precision)
    noise = L.astype(float) @ z[3:].reshape(depth, size).astype(float)
    expected = noise + E.astype(float) @ X[:-1].astype(float)
    step(out, L, z, 3, np.full(tiles, depth), E, X)
    tolerance = 16 * (depth + rows) * np.finfo(precision).eps
    np.testing.assert_allclose(out, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("tiles", "d", "vectors"), [(1, 1, 1), (2, 7, VECTORS), (3, 12, 6)])
def test_engine_turn_writes_one_product_and_nothing_else(precision, tiles, d, vectors) -> None:
    rng = np.random.default_rng(d)
    size = vectors * width(precision)
    rows = tiles * tile_rows(tiles * 5)
    M = rng.normal(size=(rows, d)).astype(precision)
    X = rng.normal(size=(3, d, size)).astype(precision)
    out = np.full((rows + 3, size), np.nan, precision)
    turn(out, 2, M, tiles, X, 1)
    tolerance = 16 * (d + 1) * np.finfo(precision).eps
    expected = M.astype(float) @ X[1].astype(float)
    np.testing.assert_allclose(out[2:-1], expected, rtol=0, atol=tolerance)
    assert np.isnan(out[[0, 1, -1]]).all()


def test_step_reads_no_column_beyond_the_extent_of_a_tile() -> None:
    rng = np.random.default_rng(1)
    L, Z = np.tril(rng.normal(size=(8, 8))), rng.normal(size=(8, 8))
    out, again, none = np.empty((8, 8)), np.empty((8, 8)), np.zeros((8, 0))
    step(out, L, Z.reshape(-1), 0, np.array([4, 8]), none, Z)
    np.testing.assert_allclose(out, L @ Z, rtol=0, atol=1e-14)
    L[:4, 4:] = np.nan
    step(again, L, Z.reshape(-1), 0, np.array([4, 8]), none, Z)
    np.testing.assert_array_equal(again, out)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_columns_of_a_product_do_not_depend_on_the_size_of_the_table(precision) -> None:
    rng = np.random.default_rng(2)
    size = (VECTORS + 1) * width(precision)
    rows = tile_rows(4)
    M = rng.normal(size=(rows, 9)).astype(precision)
    X = rng.normal(size=(1, 9, size)).astype(precision)
    whole, few = (np.empty((rows, n), precision) for n in (size, width(precision)))
    turn(whole, 0, M, 1, X, 0)
    turn(few, 0, M, 1, np.ascontiguousarray(X[:, :, : width(precision)]), 0)
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
@pytest.mark.parametrize(
    ("d", "vectors", "count"), [(1, 1, 1), (3, 2, 5), (2, 1, 12), (5, 1, 4), (3, 3, 6)]
)
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


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("d", "vectors"), [(1, 1), (5, 3)])
def test_engine_push_moves_positions_and_velocities_and_nothing_else(precision, d, vectors) -> None:
    rng = np.random.default_rng(d)
    size, rule = vectors * width(precision), np.array([0.3, 0.7, 0.9], dtype=precision)
    states, force = (rng.normal(size=(2 * d + 2, size)).astype(precision) for _ in range(2))
    x, v, u = (part.astype(float) for part in (states[:d], states[d : 2 * d], force[:d]))
    b, r, mu = rule.astype(float)
    expected = np.concatenate([x + b * v + r * u, mu * v + u, states[2 * d :]])
    push(states, force, d, rule)
    np.testing.assert_allclose(states, expected, rtol=0, atol=8 * np.finfo(precision).eps)


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

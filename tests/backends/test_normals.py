"""Normals equal NumPy's Box-Muller map of the same words, and follow the law to the tails."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit, prange
from scipy import stats

from fracsde.backends import normals
from fracsde.backends.normals import (
    fill_normal_rows,
    fill_normals,
    philox_normals_reference,
)
from fracsde.backends.philox import seed_key

KEY = seed_key(20240607)
# Two units in the last place of the largest normal, and as many of its angle.
ROUNDING = 8.5 * 4 * 2.0**-52


def counters(n: int, c1: int = 3, c2: int = 5, c3: int = 7) -> np.ndarray:
    block = np.empty((n, 4), dtype=np.uint32)
    block[:] = 0, c1, c2, c3
    block[:, 0] = np.arange(n)
    return block


@pytest.mark.parametrize("n", [0, 1, 2, 3, 511, 512, 513, 1031])
def test_compiled_normals_equal_reference_to_rounding(n: int) -> None:
    expected = philox_normals_reference(counters((n + 1) // 2), KEY).reshape(-1)[:n]
    out = np.full(n, np.nan)
    fill_normals(out, 0, 3, 5, 7, *KEY)
    np.testing.assert_allclose(out, expected, rtol=0, atol=ROUNDING)


def test_normals_do_not_depend_on_how_the_array_is_cut() -> None:
    whole, parts = np.empty(4000), np.empty(4000)
    fill_normals(whole, 0, 3, 5, 7, *KEY)
    for start, stop in [(0, 2), (2, 700), (700, 2222), (2222, 4000)]:
        fill_normals(parts[start:stop], start // 2, 3, 5, 7, *KEY)
    np.testing.assert_array_equal(whole, parts)


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (1, 1), (70, 9), (3, 600)])
def test_exact_rows_are_the_normals_of_each_row(rows: int, columns: int) -> None:
    found, expected = np.full((rows, columns), np.nan), np.empty((rows, columns))
    fill_normal_rows(found, 3, 5, 7, *KEY)
    for row in range(rows):
        fill_normals(expected[row], 0, 3, 5 + row, 7, *KEY)
    np.testing.assert_array_equal(found, expected)


def test_normals_do_not_depend_on_threads() -> None:
    @njit(parallel=True, error_model="numpy")
    def rows(out, k0, k1):
        for row in prange(out.shape[0]):
            fill_normals(out[row], 0, row, 0, 0, k0, k1)

    together = np.empty((8, 333))
    rows(together, *KEY)
    for row in range(8):
        alone = np.empty(333)
        fill_normals(alone, 0, row, 0, 0, *KEY)
        np.testing.assert_array_equal(together[row], alone)


def normal_law_p_value(sample: np.ndarray) -> float:
    """Chi-squared over 200 equally likely cells."""
    cells = np.minimum((200 * stats.norm.cdf(sample)).astype(int), 199)
    return float(stats.chisquare(np.bincount(cells, minlength=200)).pvalue)


def test_normals_follow_the_normal_law() -> None:
    # 400 000 draws see an error of scale of two per cent (the twin) with certainty.
    sample = np.empty(400_000)
    fill_normals(sample, 0, 1, 2, 3, *KEY)
    assert normal_law_p_value(sample) > 1e-7
    product = sample[0::2] * sample[1::2]
    assert abs(product.mean()) < 5.3 / np.sqrt(len(product))
    lagged = sample[:-1] * sample[1:]
    assert abs(lagged.mean()) < 5.3 / np.sqrt(len(lagged))


@pytest.mark.twin
def test_normal_law_rejects_scale_wrong_by_two_per_cent() -> None:
    sample = np.empty(400_000)
    fill_normals(sample, 0, 1, 2, 3, *KEY)
    assert normal_law_p_value(1.02 * sample) < 1e-7


def special_words(bits: int) -> np.ndarray:
    """Return the words with the smallest and the largest numbers, and those beside octants."""
    top = 2**bits
    eighths = [k * top // 8 + e for k in range(8) for e in (-1, 0, 1)]
    return np.array(
        [word % top for word in [0, 1, top - 1, top - 2, *eighths]], dtype=f"u{bits // 8}"
    )


def test_map_is_right_at_the_ends_of_its_range() -> None:
    words = special_words(64)
    found = np.array([_map(word, word) for word in words])
    u = 1.0 - (words >> np.uint64(12)) * 2.0**-52
    x = ((words << np.uint64(2)) >> np.uint64(12)) * 2.0**-52 - 0.5
    angle = 0.5 * np.pi * ((words >> np.uint64(62)).astype(np.float64) + x)
    radius = np.sqrt(-2.0 * np.log(u))
    np.testing.assert_allclose(found[:, 0], radius, rtol=4e-16, atol=0)
    np.testing.assert_allclose(found[:, 1], np.cos(angle), rtol=0, atol=8e-16)
    np.testing.assert_allclose(found[:, 2], np.sin(angle), rtol=0, atol=8e-16)


@njit(error_model="numpy")
def _map(first, second):
    return normals._radius(first), *normals._turn(second)


def test_tail_reaches_beyond_eight_deviations() -> None:
    largest = _map(np.uint64(2**64 - 1), np.uint64(0))[0]
    assert largest == pytest.approx(np.sqrt(104 * np.log(2)), rel=1e-15)
    # The share of words whose radius exceeds r is exp(-r**2 / 2), as far out as words reach.
    for r in (5.0, 6.8, 8.0):
        word = np.uint64(int((1.0 - np.exp(-0.5 * r * r)) * 2.0**52)) << np.uint64(12)
        spacing = 2.0**-52 / (r * np.exp(-0.5 * r * r))  # of radii, about r
        assert abs(_map(word, np.uint64(0))[0] - r) < 2.0 * spacing


def test_streams_under_different_keys_and_words_are_uncorrelated() -> None:
    n = 100_000
    base = np.empty(n)
    fill_normals(base, 0, 0, 0, 0, *KEY)
    for other_key, words in [(seed_key(1), (0, 0, 0)), (KEY, (1, 0, 0)), (KEY, (0, 0, 1))]:
        other = np.empty(n)
        fill_normals(other, 0, *words, *other_key)
        assert abs(np.mean(base * other)) < 5.3 / np.sqrt(n)

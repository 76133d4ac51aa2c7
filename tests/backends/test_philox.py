"""Philox blocks equal the published vectors; normals equal libm's and follow the normal law."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit, prange
from scipy import stats

from fracsde.backends import philox
from fracsde.backends.philox import (
    fill_normals,
    philox4x32,
    philox4x32_reference,
    philox_normals_reference,
    seed_key,
)
from fracsde.errors import InputError, OutOfRangeError

ONES = 0xFFFFFFFF
# Counter, key, words: known-answer vectors published with the Random123 library.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
KEY = seed_key(20240607)


def counters(n: int, c1: int = 3, c2: int = 5, c3: int = 7) -> np.ndarray:
    block = np.empty((n, 4), dtype=np.uint32)
    block[:] = 0, c1, c2, c3
    block[:, 0] = np.arange(n)
    return block


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_compiled_block_equals_published_vector(counter, key, words) -> None:
    assert tuple(int(word) for word in philox4x32(*counter, *key)) == words


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_reference_block_equals_published_vector(counter, key, words) -> None:
    found = philox4x32_reference(np.array(counter, dtype=np.uint32), key)
    assert tuple(found.tolist()) == words


def test_compiled_blocks_equal_reference_on_random_addresses() -> None:
    rng = np.random.default_rng(1)
    block = rng.integers(0, 2**32, size=(200, 4), dtype=np.uint32)
    expected = philox4x32_reference(block, KEY)
    found = np.array([philox4x32(*row, *KEY) for row in block])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 511, 512, 513, 1031])
def test_compiled_normals_equal_reference_to_rounding(n: int) -> None:
    expected = philox_normals_reference(counters((n + 1) // 2), KEY).reshape(-1)[:n]
    out = np.full(n, np.nan)
    fill_normals(out, 0, 3, 5, 7, *KEY)
    # 2 pi v loses half a unit in the last place of an angle up to 2 pi before libm sees it.
    np.testing.assert_allclose(out, expected, rtol=0, atol=2e-14)


def test_normals_do_not_depend_on_how_the_array_is_cut() -> None:
    whole, parts = np.empty(4000), np.empty(4000)
    fill_normals(whole, 0, 3, 5, 7, *KEY)
    for start, stop in [(0, 2), (2, 700), (700, 2222), (2222, 4000)]:
        fill_normals(parts[start:stop], start // 2, 3, 5, 7, *KEY)
    np.testing.assert_array_equal(whole, parts)


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


@pytest.mark.twin
def test_known_vectors_reject_one_wrong_bit_of_a_multiplier(monkeypatch) -> None:
    monkeypatch.setattr(philox, "_M0", philox._M0 ^ np.uint64(2))
    counter, key, words = KNOWN[2]
    found = philox4x32_reference(np.array(counter, dtype=np.uint32), key)
    assert tuple(found.tolist()) != words


def test_streams_under_different_keys_and_words_are_uncorrelated() -> None:
    n = 100_000
    base = np.empty(n)
    fill_normals(base, 0, 0, 0, 0, *KEY)
    for other_key, words in [(seed_key(1), (0, 0, 0)), (KEY, (1, 0, 0)), (KEY, (0, 0, 1))]:
        other = np.empty(n)
        fill_normals(other, 0, *words, *other_key)
        assert abs(np.mean(base * other)) < 5.3 / np.sqrt(n)


def test_seed_key_is_repeatable_and_separates_seeds() -> None:
    assert seed_key(5) == seed_key(5) == seed_key(np.random.SeedSequence(5))
    assert seed_key(5) != seed_key(6)
    rng = np.random.default_rng(5)
    assert seed_key(rng) != seed_key(rng)


@pytest.mark.parametrize("seed", [None, 1.5, "abc", True])
def test_seed_key_refuses_what_is_not_a_seed(seed) -> None:
    with pytest.raises(InputError, match="whole number"):
        seed_key(seed)


def test_seed_key_refuses_negative() -> None:
    with pytest.raises(OutOfRangeError, match="at least 0"):
        seed_key(-1)

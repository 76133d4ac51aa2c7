"""ARS blocks equal the published vectors, and their words pass classical tests."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from scipy import stats

from fracsde.backends.ars import ars4x32_reference, ars_words, round_keys
from fracsde.backends.philox import seed_key

ONES = 0xFFFFFFFF
# Counter, key, words after ten rounds: known-answer vectors published with the Random123 library.
KNOWN = [
    ((0, 0, 0, 0), (0, 0, 0, 0), (0x8D73EE19, 0x506401EF, 0x13C2DBE4, 0x0CBE9C0D)),
    ((ONES,) * 4, (ONES, ONES, 0, 0), (0xBB3743B1, 0x9F635551, 0xECBC87FC, 0xA19478A9)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0, 0x082EFA98, 0xEC4E6C89),
        (0xA516E7D6, 0x8357AD74, 0x5B59B3EC, 0x8763FFF3),
    ),
]
KEY = seed_key(20240607)
# Each test below looks a few times; together they raise a false alarm once in a million seeds.
LEVEL = 1e-8


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_reference_block_equals_published_vector(counter, key, words) -> None:
    found = ars4x32_reference(np.array(counter, dtype=np.uint32), key, rounds=10)
    assert tuple(found.tolist()) == words


@pytest.mark.twin
def test_known_vectors_reject_a_round_too_few() -> None:
    counter, key, words = KNOWN[2]
    found = ars4x32_reference(np.array(counter, dtype=np.uint32), key, rounds=9)
    assert tuple(found.tolist()) != words


def test_engine_words_from_tables_equal_reference() -> None:
    rng = np.random.default_rng(1)
    block = rng.integers(0, 2**32, size=(200, 4), dtype=np.uint32)
    out = np.empty_like(block)
    ars_words(block, 2**32 - 5, round_keys(*KEY), out)
    block[:, 1] -= np.uint32(5)
    np.testing.assert_array_equal(out, ars4x32_reference(block, KEY))


def path_words(rounds: int = 7) -> np.ndarray:
    """Return words as paths use them: (step, coordinate, chain, word)."""
    step, coordinate, chain = np.indices((256, 8, 64), dtype=np.uint32)
    counter = np.stack([coordinate, step, chain, np.full_like(step, 1)], axis=-1)
    return ars4x32_reference(counter, KEY, rounds)


def lcg_words() -> np.ndarray:
    """Return as many words of a generator that is known to be bad, chains seeded by counting."""
    steps = np.empty((2048, 64, 4), dtype=np.uint32)
    x = np.arange(256, dtype=np.uint32).reshape(64, 4)
    for step in steps:
        x = np.uint32(1664525) * x + np.uint32(1013904223)
        step[:] = x
    return steps.reshape(256, 8, 64, 4)


def bits_p_value(words: np.ndarray) -> float:
    """Frequency of each of the 32 bits."""
    counts = [(words.ravel() >> np.uint32(k) & np.uint32(1)).sum() for k in range(32)]
    return chi_squared(np.array(counts), words.size / 2, words.size / 4)


def chi_squared(found: np.ndarray, mean: float, variance: float) -> float:
    return float(stats.chi2.sf(((found - mean) ** 2 / variance).sum(), len(found)))


def serial_p_value(words: np.ndarray, axis: int, bits: int) -> float:
    """Pairs of top or of lowest bits of neighbours along an axis, in equally likely cells."""
    low = (words & np.uint32(2**bits - 1)).astype(int)
    high = (words >> np.uint32(32 - bits)).astype(int)
    p = []
    for part in (low, high):
        pairs = np.moveaxis(part, axis, 0)
        cells = 2**bits * pairs[0::2] + pairs[1::2]  # no word in two pairs
        p.append(stats.chisquare(np.bincount(cells.ravel(), minlength=4**bits)).pvalue)
    return float(2 * min(p))


def avalanche_p_value(words: np.ndarray) -> float:
    """Bits that change from one address to the next: half of them."""
    changed = np.bitwise_count(words[1::2] ^ words[0::2]).sum(axis=-1)
    cells = np.clip(changed.ravel(), 48, 80)
    law = stats.binom(128, 0.5)
    share = law.pmf(np.arange(48, 81))
    share[0], share[-1] = law.cdf(48), law.sf(79)
    counts = np.bincount(cells.astype(int) - 48, minlength=33)
    return float(stats.chisquare(counts, share / share.sum() * len(cells)).pvalue)


def birthdays_p_value(words: np.ndarray) -> float:
    """Spacings of 512 birthdays in 2**24 days that occur twice: Poisson with mean 2."""
    year = np.sort(words.reshape(-1, 512) >> np.uint32(8), axis=1).astype(np.int64)
    spacing = np.sort(np.diff(year, axis=1), axis=1)
    twice = int((np.diff(spacing, axis=1) == 0).sum())
    mean = len(year) * 512**3 / (4.0 * 2**24)
    return float(2 * min(stats.poisson.cdf(twice, mean), stats.poisson.sf(twice - 1, mean)))


def runs_p_value(words: np.ndarray) -> float:
    """Rises between neighbours along steps: (n - 1) / 2 with variance (n + 1) / 12."""
    n, found = len(words), words.reshape(len(words), -1)
    rises = (found[1:] > found[:-1]).sum(axis=0)
    return chi_squared(rises.astype(float), (n - 1) / 2, (n + 1) / 12)


def p_values(words: np.ndarray) -> dict[str, float]:
    """Of all tests of a table of words by step, coordinate, chain and place in its block."""
    axes = enumerate(("step", "coordinate", "chain", "word"))
    return {
        "bits": bits_p_value(words),
        "avalanche": avalanche_p_value(words),
        "birthdays": birthdays_p_value(words),
        "runs": runs_p_value(words),
        **{f"pairs along {name}": serial_p_value(words, axis, 6) for axis, name in axes},
    }


def test_law_of_words_at_the_addresses_of_paths() -> None:
    # Half a million words: a cell in 4096 that is 10 per cent too frequent is seen.
    found = p_values(path_words())
    assert all(LEVEL < p <= 2.0 for p in found.values()), found


@pytest.mark.twin
def test_law_of_words_rejects_two_rounds_and_a_congruential_generator() -> None:
    assert sum(p < LEVEL for p in p_values(path_words(2)).values()) >= 2
    assert sum(p < LEVEL for p in p_values(lcg_words()).values()) >= 5


@njit(error_model="numpy")
def _count(words, counts):
    for word in words:
        counts[word >> np.uint32(16)] += 1


def test_law_of_words_is_even_in_the_top_sixteen_bits() -> None:
    n = 4_000_000
    counter = np.zeros((n // 4, 4), dtype=np.uint32)
    counter[:, 1] = np.arange(n // 4)
    out = np.empty_like(counter)
    ars_words(counter, 0, round_keys(*KEY), out)
    counts = np.zeros(2**16, dtype=np.int64)
    _count(out.ravel(), counts)
    assert stats.chisquare(counts).pvalue > LEVEL

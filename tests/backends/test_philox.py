"""Philox blocks equal the published vectors, compiled and in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.backends import philox
from fracsde.backends.philox import philox4x32, philox4x32_reference, seed_key
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


@pytest.mark.twin
def test_known_vectors_reject_one_wrong_bit_of_a_multiplier(monkeypatch) -> None:
    monkeypatch.setattr(philox, "_M0", philox._M0 ^ np.uint64(2))
    counter, key, words = KNOWN[2]
    found = philox4x32_reference(np.array(counter, dtype=np.uint32), key)
    assert tuple(found.tolist()) != words


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

"""Normals of many addresses equal NumPy's Box-Muller map of the same words, to the tails."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from numba import njit
from numba.core.codegen import get_host_cpu_features
from scipy import stats

from fracsde.backends import lane_normals
from fracsde.backends.ars import ars4x32_reference, round_keys
from fracsde.backends.lane_code import TOGETHER, vectors
from fracsde.backends.lane_normals import (
    fill_chains,
    fill_chains_ahead,
    fill_lanes,
    normals_of_words,
)
from fracsde.backends.lane_normals_reference import (
    ars_normals_reference,
    ars_singles_reference,
    double_normals,
    single_normals,
)
from fracsde.backends.philox import seed_key
from tests.support.laws import follows

KEY = seed_key(20240607)
# Two units in the last place of the largest normal, and as many of its angle.
ROUNDING = {np.float64: 8.5 * 4 * 2.0**-52, np.float32: 6.8 * 4 * 2.0**-23}
REFERENCE = {np.float64: ars_normals_reference, np.float32: ars_singles_reference}
PRECISIONS = [np.float64, np.float32]


def addresses(n: int, shift: int = 0) -> np.ndarray:
    """Return counters of ``n`` blocks."""
    block = np.empty((n, 4), dtype=np.uint32)
    block[:] = 0, 3 + shift, 5, 7
    block[:, 0] = np.arange(n)
    return block


def empty(n: int, precision: type) -> np.ndarray:
    return np.full((16 // np.dtype(precision).itemsize, n), np.nan, dtype=precision)


def lanes(n: int, precision: type, *, shift: int = 0) -> np.ndarray:
    """Return the normals of ``n`` blocks."""
    z = empty(n, precision)
    fill_lanes(z, addresses(n), shift, *KEY)
    return z


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("n", [0, 1, 7, 8, 17, 64, 1031])
def test_engine_lanes_equal_reference_to_rounding(n: int, precision: type) -> None:
    expected = REFERENCE[precision](addresses(n, 3), KEY)
    found = lanes(n, precision, shift=3).T
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING[precision])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("vectors", [1, 4, 6, 13])
def test_engine_chains_are_lanes_whose_third_words_count_up(vectors: int, precision: type) -> None:
    starts = addresses(vectors)
    starts[:, 2] = 100 * np.arange(vectors)
    width = 64 // np.dtype(precision).itemsize
    every = np.repeat(starts, width, axis=0)
    every[:, 2] += np.tile(np.arange(width, dtype=np.uint32), vectors)
    z, expected = empty(vectors * width, precision), empty(vectors * width, precision)
    fill_lanes(expected, every, 9, *KEY)
    fill_chains(z, starts, 9, *KEY)
    np.testing.assert_array_equal(z, expected)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("rows", "runs"), [(0, 3), (1, 1), (100, 3), (7, 0)])
def test_exact_normals_do_not_depend_on_the_memory_asked_for(rows, runs, precision: type) -> None:
    starts, vectors = addresses(6), 6 * 64 // np.dtype(precision).itemsize
    z, expected = empty(vectors, precision), empty(vectors, precision)
    out = np.ones(runs * 120 + 3, dtype=precision)
    fill_chains(expected, starts, 2, *KEY)
    fill_chains_ahead(z, starts, 2, round_keys(*KEY), out, 3, 120, rows, runs)
    np.testing.assert_array_equal(z, expected)
    np.testing.assert_array_equal(out, 1.0)


@pytest.mark.twin
def test_comparison_rejects_an_address_off_by_one() -> None:
    expected = ars_normals_reference(addresses(100, 1), KEY)
    assert np.abs(lanes(100, np.float64).T - expected).max() > 1.0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_exact_lanes_depend_on_the_address_alone(precision: type) -> None:
    together = lanes(1000, precision, shift=3)
    for first, last in [(960, 1000), (0, 8), (3, 200)]:
        z = empty(last - first + 5, precision)  # wider than what is asked
        fill_lanes(z, addresses(1000, 1)[first:last], 2, *KEY)
        np.testing.assert_array_equal(z[:, : last - first], together[:, first:last])
        assert np.isnan(z[:, last - first :]).all()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("n", [1, 100])
def test_exact_bits_are_those_of_words_from_tables(n: int, precision: type) -> None:
    # What machines run whose processors have no instruction for a round.
    z = empty(n, precision)
    lane_normals._tabled_lanes(z, addresses(n), 3, *KEY)
    np.testing.assert_array_equal(z, lanes(n, precision, shift=3))
    z, expected = (empty(n * 64 // np.dtype(precision).itemsize, precision) for _ in range(2))
    none = np.empty(0, dtype=precision)
    lane_normals._tabled_chains(z, addresses(n), 3, round_keys(*KEY), none, 0, 0, 0, 0)
    fill_chains(expected, addresses(n), 3, *KEY)
    np.testing.assert_array_equal(z, expected)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("source", ["addresses", "chains", "words"])
def test_exact_bits_do_not_depend_on_the_width_of_registers(source: str, precision: type) -> None:
    # Vectors of 64 bytes side by side, and pairs of blocks in registers of 32 one after the other.
    found, width = [], 64 // np.dtype(precision).itemsize
    for wide in (True, False):
        fill = vectors(TOGETHER, source, wide=wide)

        @njit
        def run(z, words, keys, fill=fill):
            fill(z.reshape(-1), z.shape[1], 0, words, 9, keys)

        z = empty(TOGETHER * width, precision)
        words = np.random.default_rng(4).integers(2**32, size=(TOGETHER * width, 4))
        run(z, words.astype(np.uint32), round_keys(*KEY))
        found.append(z)
    assert np.isfinite(found[0]).all()
    np.testing.assert_array_equal(*found)


NARROW = "+sse2,+avx,+avx2,+fma,+aes"


@pytest.mark.skipif(
    not set(NARROW.split(",")) <= set(str(get_host_cpu_features()).split(",")),
    reason="needs a processor with these instructions",
)
def test_exact_bits_are_those_of_a_processor_that_encrypts_one_block_at_a_time() -> None:
    code = (
        "import sys, numpy as np; from fracsde.backends.lane_normals import fill_lanes\n"
        "z, c = np.empty((2, 100)), np.full((100, 4), 7, dtype=np.uint32)\n"
        "c[:, 0] = np.arange(100); fill_lanes(z, c, 3, np.uint32(1), np.uint32(2))\n"
        "sys.stdout.write(z.tobytes().hex())"
    )
    narrow = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": NARROW}
    command = [sys.executable, "-c", code]
    found = subprocess.run(
        command, env=dict(os.environ) | narrow, capture_output=True, text=True, check=True
    ).stdout
    z, counters = empty(100, np.float64), np.full((100, 4), 7, dtype=np.uint32)
    counters[:, 0] = np.arange(100)
    fill_lanes(z, counters, 3, np.uint32(1), np.uint32(2))
    assert found == z.tobytes().hex()


def special_words(bits: int) -> np.ndarray:
    """Return the words with the smallest and the largest numbers, and those beside octants."""
    top = 2**bits
    eighths = [k * top // 8 + e for k in range(8) for e in (-1, 0, 1)]
    return np.array(
        [word % top for word in [0, 1, top - 1, top - 2, *eighths]], dtype=f"u{bits // 8}"
    )


def test_double_map_is_right_at_the_ends_of_its_range() -> None:
    words = special_words(64)
    z = empty(len(words), np.float64)
    normals_of_words(z, np.stack([words, words], axis=1).view(np.uint32))
    u = 1.0 - (words >> np.uint64(12)) * 2.0**-52
    x = ((words << np.uint64(2)) >> np.uint64(12)) * 2.0**-52 - 0.5
    angle = 0.5 * np.pi * ((words >> np.uint64(62)).astype(np.float64) + x)
    radius = np.sqrt(-2.0 * np.log(u))
    assert np.all(np.abs(z - radius * [np.cos(angle), np.sin(angle)]) <= 1.2e-15 * radius)


def test_single_map_is_right_at_the_ends_of_its_range() -> None:
    words = special_words(32)
    z = empty(len(words), np.float32)
    normals_of_words(z, np.stack([words] * 4, axis=1))
    u = (words.astype(np.float32) * np.float32(2.0**-32) + np.float32(2.0**-33)).astype(float)
    x = ((words << np.uint32(2)) >> np.uint32(9)) * 2.0**-23 - 0.5
    angle = 0.5 * np.pi * ((words >> np.uint32(30)).astype(np.float64) + x)
    radius = np.sqrt(-2.0 * np.log(u))
    expected = radius * [np.cos(angle), np.sin(angle)]
    np.testing.assert_array_equal(z[:2], z[2:])
    assert np.all(np.abs(z[:2] - expected) <= 7e-7 * np.maximum(radius, 1e-4))


def test_largest_normals_are_those_of_the_smallest_numbers() -> None:
    # The share of words whose radius exceeds r is exp(-r**2 / 2), as far out as words reach.
    radii = np.array([5.0, 6.8, 8.0, np.sqrt(104 * np.log(2))])
    u = np.maximum(np.exp(-0.5 * radii**2), 2.0**-52)
    words = np.empty((4, 2), dtype=np.uint64)
    words[:, 0] = (1.0 - u) * 2.0**52
    words[:, 0] <<= np.uint64(12)
    words[:, 1] = 2**61  # the middle of the first quarter
    z = empty(4, np.float64)
    normals_of_words(z, words.view(np.uint32))
    spacing = 2.0**-52 / (radii * u)  # of radii
    assert np.all(np.abs(np.hypot(*z) - radii) < 2.0 * spacing)
    single = empty(1, np.float32)
    normals_of_words(single, np.array([[0, 2**29, 0, 2**29]], dtype=np.uint32))
    assert np.hypot(*single[:2, 0]) == pytest.approx(np.sqrt(66 * np.log(2)), rel=3e-7)


def test_references_read_two_words_as_one_and_four_as_four() -> None:
    words = ars4x32_reference(addresses(3), KEY)
    np.testing.assert_array_equal(double_normals(words), ars_normals_reference(addresses(3), KEY))
    np.testing.assert_array_equal(single_normals(words), ars_singles_reference(addresses(3), KEY))
    assert double_normals(words).shape == (3, 2)
    assert single_normals(words).shape == (3, 4)


@njit(error_model="numpy")
def _tail_counts(counts, edges, z, counters, k0, k1, rounds):
    for shift in range(rounds):
        fill_lanes(z, counters, shift, k0, k1)
        for lane in range(z.shape[0]):
            for i in range(z.shape[1]):
                size = abs(z[lane, i])
                k = 0
                while k < len(edges) and size > edges[k]:
                    counts[k] += 1
                    k += 1


def tail_counts(edges: np.ndarray, precision: type, total: int) -> tuple[np.ndarray, int]:
    """Return how many of about ``total`` normals exceed each edge in magnitude, and how many."""
    z = lanes(1000, precision)
    counts, rounds = np.zeros(len(edges), dtype=np.int64), total // z.size
    _tail_counts(counts, edges, z, addresses(1000), *KEY, rounds)
    return counts, rounds * z.size


EDGES = np.array([0.5, 1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_law_of_the_tails_to_four_deviations(precision: type) -> None:
    # 20 million: 1267 beyond four deviations, so that a tail a fifth too heavy is seen.
    counts, total = tail_counts(EDGES, precision, 20_000_000)
    share = 2.0 * stats.norm.sf(EDGES)
    assert follows(counts / total, share, np.sqrt(share * (1 - share) / total))


@pytest.mark.twin
def test_law_of_the_tails_rejects_a_scale_wrong_by_one_per_cent() -> None:
    counts, total = tail_counts(EDGES / 1.01, np.float64, 20_000_000)
    share = 2.0 * stats.norm.sf(EDGES)
    assert not follows(counts / total, share, np.sqrt(share * (1 - share) / total))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_law_of_every_lane_and_of_its_neighbours(precision: type) -> None:
    z = lanes(200_000, precision).astype(np.float64)
    for row in z:
        assert stats.kstest(row, "norm").pvalue > 1e-8
    error = 1.0 / np.sqrt(z.shape[1])
    products = [np.mean(a * b) for i, a in enumerate(z) for b in z[:i]]
    assert follows(np.array(products), 0.0, error)
    assert follows(np.mean(z[:, 1:] * z[:, :-1], axis=1), 0.0, error)
    moments = np.mean(z**4, axis=1)
    assert follows(moments, 3.0, np.sqrt(96.0) * error)


@pytest.mark.twin
def test_law_rejects_a_lane_that_repeats_its_neighbour() -> None:
    z = lanes(200_000, np.float32).astype(np.float64)
    z[3] = np.roll(z[2], 1)
    lagged = np.mean(z[2, :-1] * z[3, 1:])
    assert not follows(lagged, 0.0, 1.0 / np.sqrt(z.shape[1]))


def test_lanes_under_different_keys_and_addresses_are_uncorrelated() -> None:
    n, base = 100_000, lanes(100_000, np.float64)
    for key, counters in [
        (seed_key(1), addresses(n)),
        (KEY, addresses(n, 1)),
        (KEY, addresses(n) + np.array([0, 0, 1, 0], dtype=np.uint32)),
        (KEY, addresses(n) + np.array([0, 0, 0, 1], dtype=np.uint32)),
    ]:
        other = empty(n, np.float64)
        fill_lanes(other, counters, 0, *key)
        assert follows(np.mean(base * other, axis=1), 0.0, 1.0 / np.sqrt(n))

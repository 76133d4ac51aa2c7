"""Batches are drawn by the stated law from the stated words."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fracsde.backends.philox import philox4x32_reference, seed_key
from fracsde.errors import OutOfRangeError, SamplingError
from fracsde.networks import batch_indices
from fracsde.networks.sampling import SAMPLING


def words(count, step, replica, purpose, key):
    """The words of a draw, from the NumPy generator."""
    blocks = (count + 3) // 4
    counter = np.zeros((blocks, 4), dtype=np.uint32)
    counter[:, 0] = np.arange(blocks)
    counter[:, 1:] = step % 2**32, replica, (step // 2**32) * 4 + purpose
    return philox4x32_reference(counter, key).ravel()[:count].astype(np.uint64)


def plain_batch(total, size, step, replica, sampling, key):
    """The module's table, in Python."""
    if sampling == "with_replacement":
        return [int(u) * total >> 32 for u in words(size, step, replica, 0, key)]
    per_epoch = total // size
    epoch, place = divmod(step, per_epoch)
    shuffled = sampling == "shuffled"
    count = per_epoch * size if shuffled else size
    order = list(range(total))
    purpose = 2 if shuffled else 1
    for i, u in enumerate(words(count, epoch if shuffled else step, replica, purpose, key)):
        j = i + (int(u) * (total - i) >> 32)
        order[i], order[j] = order[j], order[i]
    return order[place * size : (place + 1) * size] if shuffled else order[:size]


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize(("total", "size"), [(1, 1), (7, 3), (50, 7), (1797, 32)])
@pytest.mark.parametrize("first", [0, 5, 2**32 + 3])
def test_batches_equal_their_definition(sampling, total, size, first) -> None:
    found = batch_indices(total, size, 6, seed=11, sampling=sampling, replica=4, first_step=first)
    key = seed_key(11)
    expected = [plain_batch(total, size, first + s, 4, sampling, key) for s in range(6)]
    assert found.tolist() == expected


@pytest.mark.parametrize("sampling", SAMPLING)
def test_batches_do_not_depend_on_where_a_run_is_cut(sampling) -> None:
    whole = batch_indices(20, 6, 40, seed=2, sampling=sampling)
    for cut in (1, 3, 17):
        rest = batch_indices(20, 6, 40 - cut, seed=2, sampling=sampling, first_step=cut)
        np.testing.assert_array_equal(rest, whole[cut:])


def test_no_example_repeats_within_a_batch_or_an_epoch() -> None:
    drawn = batch_indices(23, 5, 400, seed=3, sampling="without_replacement")
    assert all(len(set(row)) == 5 for row in drawn.tolist())
    shuffled = batch_indices(23, 5, 400, seed=3, sampling="shuffled").reshape(100, 20)
    assert all(len(set(row)) == 20 for row in shuffled.tolist())
    assert len({tuple(row) for row in shuffled.tolist()}) == 100


def evenness(indices: np.ndarray, total: int) -> float:
    return float(stats.chisquare(np.bincount(indices, minlength=total)).pvalue)


@pytest.mark.parametrize("sampling", SAMPLING)
def test_every_place_of_a_batch_is_uniform(sampling) -> None:
    # 60 000 draws over 30 examples see a share wrong by a tenth (the twin); level 1e-7 a look.
    for place, step in [(0, 0), (9, 0), (4, 1)]:
        drawn = np.concatenate(
            [
                batch_indices(30, 10, 300, seed=seed, sampling=sampling)[step::3, place]
                for seed in range(600)
            ]
        )
        assert evenness(drawn, 30) > 1e-7


@pytest.mark.twin
def test_evenness_rejects_a_share_wrong_by_a_tenth() -> None:
    drawn = batch_indices(30, 100, 600, seed=1).ravel()
    spoiled = np.where((drawn == 7) & (np.arange(drawn.size) % 10 == 0), 8, drawn)
    assert evenness(drawn, 30) > 1e-7
    assert evenness(spoiled, 30) < 1e-7


def test_pairs_within_a_batch_are_uniform_without_replacement() -> None:
    drawn = batch_indices(6, 2, 60_000, seed=5, sampling="without_replacement")
    counts = np.bincount(drawn[:, 0] * 6 + drawn[:, 1], minlength=36).reshape(6, 6)
    assert not np.diag(counts).any()
    assert stats.chisquare(counts[~np.eye(6, dtype=bool)]).pvalue > 1e-7


def test_replicas_and_seeds_draw_different_batches() -> None:
    base = batch_indices(1000, 50, 4, seed=1)
    assert not np.array_equal(base, batch_indices(1000, 50, 4, seed=2))
    assert not np.array_equal(base, batch_indices(1000, 50, 4, seed=1, replica=1))


@pytest.mark.parametrize("sampling", ["without_replacement", "shuffled"])
def test_batch_larger_than_the_data_is_refused(sampling) -> None:
    with pytest.raises(SamplingError, match="8 but the data has 7"):
        batch_indices(7, 8, 1, seed=0, sampling=sampling)
    assert batch_indices(7, 8, 1, seed=0).shape == (1, 8)


def test_empty_batch_is_refused() -> None:
    with pytest.raises(OutOfRangeError, match="batch_size"):
        batch_indices(7, 0, 1, seed=0)

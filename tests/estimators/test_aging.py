"""Displacement with age: windows of the definition, and processes that do and do not age."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.errors import OutOfRangeError, RecordError
from fracsde.estimators import aged_displacement, mean_square_displacement
from fracsde.records import Trajectory
from tests.support.laws import follows
from tests.support.series import walk


def test_exact_windows_are_those_of_the_definition(seed):
    x = walk(np.random.default_rng(seed), 4, 70, 2)
    aged = aged_displacement(x, 20, [1, 5])
    np.testing.assert_array_equal(aged.starts, [0, 20, 40])
    for t, value in zip(aged.starts, aged.value, strict=True):
        for k, found in zip([1, 5], value, strict=True):
            part = x[:, t : t + 20]
            expected = np.square(part[:, k:] - part[:, :-k]).sum(axis=2).mean()
            assert abs(found - expected) <= 1e-13 * expected
    plain = aged_displacement(x, 20, [5], kind="ensemble", starts=[3, 50])
    expected = np.square(x[:, [8, 55]] - x[:, [3, 50]]).sum(axis=2).mean(axis=0)
    np.testing.assert_allclose(plain.value[:, 0], expected, rtol=1e-14)


def test_exact_one_window_of_the_whole_record_is_the_displacement(seed):
    x = walk(np.random.default_rng(seed), 4, 50)
    whole = mean_square_displacement(x, kind="time_averaged")
    aged = aged_displacement(x, 50)
    np.testing.assert_array_equal(aged.value[0], whole.value)
    np.testing.assert_array_equal(aged.stderr[0], whole.stderr)


def test_exact_times_and_ages_are_the_records():
    times = 5.0 + 0.5 * np.arange(40)
    run = Trajectory(values=np.zeros((2, 40, 1)), times=times)
    aged = aged_displacement(run, 10, [2])
    np.testing.assert_allclose(aged.ages, [5.0, 10.0, 15.0, 20.0])
    np.testing.assert_allclose(aged.times, [1.0])


def _slowing(rng, chains, draws):
    steps = rng.standard_normal((chains, draws, 1)) / np.sqrt(1.0 + np.arange(draws))[:, None]
    return np.cumsum(steps, axis=1)


def _ages(x, kind, lag=4):
    aged = aged_displacement(x, 100, [lag], kind=kind)
    steps = np.arange(aged.starts[-1] + 100)
    gains = 1.0 / (1.0 + steps)  # variance added by the step that ends at each draw
    sums = np.convolve(gains[1:], np.ones(lag), "valid")  # from each start
    each = sums[: len(steps) - lag]
    if kind == "ensemble":
        expected = each[aged.starts]
    else:
        expected = np.array([each[t : t + 100 - lag].mean() for t in aged.starts])
    return follows(aged.value[:, 0], expected, aged.stderr[:, 0])


@pytest.mark.parametrize("kind", ["time_averaged", "ensemble"])
def test_law_a_walk_that_slows_down_ages(kind, seed):
    assert _ages(_slowing(np.random.default_rng(seed), 300, 500), kind)


@pytest.mark.twin
@pytest.mark.parametrize("kind", ["time_averaged", "ensemble"])
def test_law_rejects_an_age_off_by_a_tenth_of_a_window(kind, seed):
    x = _slowing(np.random.default_rng(seed), 300, 500)
    assert not _ages(x[:, 10:], kind)


def test_refuses_windows_outside_the_record():
    x = np.zeros((3, 20, 1))
    with pytest.raises(RecordError, match="does not fit into a record of 20"):
        aged_displacement(x, 21)
    with pytest.raises(RecordError, match="start it at 10 or before"):
        aged_displacement(x, 10, starts=[0, 11])
    for bad in ([], [-1], [0.5]):
        with pytest.raises(OutOfRangeError, match="`starts` must be whole numbers"):
            aged_displacement(x, 10, starts=bad)
    with pytest.raises(RecordError, match="between 1 and 9"):
        aged_displacement(x, 10, [10])

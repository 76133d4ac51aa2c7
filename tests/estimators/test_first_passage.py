"""First passages: definitions by hand, and exact laws of diffusions seen at intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from fracsde.errors import InputError, OutOfRangeError, RecordError, ShapeError
from fracsde.estimators import FirstPassages, first_passages
from fracsde.records import Trajectory
from tests.support.laws import follows
from tests.support.series import walk


def test_exact_passages_of_paths_drawn_by_hand():
    x = np.array([[0.0, 1.0, 2.0, 0.0], [0.0, -3.0, 0.5, 1.9], [0.0, 0.0, 0.0, 2.0]])[..., None]
    run = Trajectory(values=x, times=[10.0, 11.0, 13.0, 16.0])
    up = first_passages(run, 2.0)
    np.testing.assert_array_equal(up.times, [3.0, 6.0, 6.0])
    np.testing.assert_array_equal(up.observed, [True, False, True])
    out = first_passages(run, (-2.0, 1.5))
    np.testing.assert_array_equal(out.times, [3.0, 1.0, 6.0])
    later = first_passages(run, 1.95, start=1)
    np.testing.assert_array_equal(later.times, [2.0, 5.0, 5.0])
    assert up.event == "passing 2"


def test_exact_regions_and_projections_are_levels_of_a_coordinate(seed):
    x = walk(np.random.default_rng(seed), 30, 50, 2)
    turn = np.array([0.6, 0.8])
    by_level = first_passages(x, 3.0, direction=turn)
    by_region = first_passages(x, inside=lambda w: w @ turn < 3.0)
    np.testing.assert_array_equal(by_level.times, by_region.times)
    np.testing.assert_array_equal(by_level.observed, by_region.observed)
    second = first_passages(x, 3.0, coordinate=1)
    np.testing.assert_array_equal(second.times, first_passages(x[..., 1:], 3.0).times)


def test_exact_levels_are_passed_from_the_side_of_the_start(seed):
    x = walk(np.random.default_rng(seed), 30, 50)
    up, down = first_passages(x, 2.5), first_passages(-x, -2.5)
    np.testing.assert_array_equal(up.times, down.times)
    moved = first_passages(x + 7.0, 9.5)
    np.testing.assert_array_equal(up.times, moved.times)


def _share_passed(rng, correction, level, steps=64, size=1.0, chains=6000):
    """Share of Brownian paths of variance 64 that have passed a level, seen 64 times."""
    found = first_passages(
        size * walk(rng, chains, steps + 1), size * level, correction=correction, rng=rng
    )
    share = found.observed.mean()
    exact = special.erfc(level / np.sqrt(2.0 * steps))  # reflection principle
    return share, exact, np.sqrt(exact * (1 - exact) / chains)


@pytest.mark.parametrize("level", [4.0, 10.0])
@pytest.mark.parametrize("size", [1.0, 1e-6])
@pytest.mark.parametrize("correction", ["shift", "bridge"])
def test_law_corrected_passages_of_brownian_motion_follow_reflection(correction, level, size, seed):
    found, exact, error = _share_passed(np.random.default_rng(seed), correction, level, size=size)
    assert follows(found, exact, error)


@pytest.mark.twin
def test_law_passages_as_they_are_recorded_come_late(seed):
    found, exact, error = _share_passed(np.random.default_rng(seed), "none", 4.0)
    assert not follows(found, exact, error)
    assert found < exact


def test_law_times_of_drifted_motion_have_their_mean(seed):
    # Mean a / v and variance a / v^3 for unit diffusion; recorded four times per unit.
    rng, level, speed, gap, chains = np.random.default_rng(seed), 6.0, 0.5, 0.25, 3000
    steps = 800
    x = walk(rng, chains, steps) * gap**0.5 + speed * gap * np.arange(steps)[:, None]
    run = Trajectory(values=x, times=gap * np.arange(steps))
    error = np.sqrt(level / speed**3 / chains)
    for correction in ("shift", "bridge"):
        found = first_passages(run, level, correction=correction, rng=rng)
        assert found.observed.all()
        assert follows(found.times.mean(), level / speed, error)
    plain = first_passages(run, level).times.mean()
    assert not follows(plain, level / speed, error)
    # Late by the level's shift over the speed, and by what Siegmund's constant says.
    assert follows(plain, (level + 0.5826 * gap**0.5) / speed, error)


def test_law_bridges_leave_an_interval_on_either_side(seed):
    # Mean exit time from (-a, a) of unit Brownian motion is a^2.
    rng, chains, gap = np.random.default_rng(seed), 3000, 0.25
    x = walk(rng, chains, 1200) * gap**0.5
    run = Trajectory(values=x, times=gap * np.arange(1200))
    error = np.sqrt(2.0 / 3.0) * 9.0 / chains**0.5
    for correction in ("shift", "bridge"):
        found = first_passages(run, (-3.0, 3.0), correction=correction, rng=rng)
        assert found.observed.all()
        assert follows(found.times.mean(), 9.0, error)
    late = first_passages(run, (-3.0, 3.0)).times.mean()
    assert not follows(late, 9.0, error)


def test_refuses_starts_outside_and_unclear_events():
    x = walk(np.random.default_rng(0), 5, 20)
    with pytest.raises(RecordError, match="5 of 5 chains start outside, the first is chain 0"):
        first_passages(x, (1.0, 2.0))
    with pytest.raises(RecordError, match="start outside"):
        first_passages(x, 0.0)
    with pytest.raises(InputError, match="either `level` or `inside`"):
        first_passages(x)
    with pytest.raises(InputError, match="either `level` or `inside`"):
        first_passages(x, 1.0, inside=lambda w: w[..., 0] < 1)
    with pytest.raises(InputError, match="no distance to its edge"):
        first_passages(x, inside=lambda w: w[..., 0] < 1, correction="shift")
    with pytest.raises(InputError, match="give `rng`"):
        first_passages(x, 1.0, correction="bridge")
    with pytest.raises(OutOfRangeError, match="low < high"):
        first_passages(x, (2.0, 1.0))
    with pytest.raises(InputError, match="two ends"):
        first_passages(x, (1.0, 2.0, 3.0))
    with pytest.raises(ShapeError, match="truth values of shape"):
        first_passages(x, inside=lambda w: w)
    with pytest.raises(RecordError, match=r"steps of .* are not small"):
        first_passages(x, (-0.5, 0.5), correction="shift")
    with pytest.raises(RecordError, match="needs a later draw"):
        first_passages(x, 3.0, start=19)
    uneven = Trajectory(values=x, times=np.arange(20.0) ** 2)
    with pytest.raises(RecordError, match="equally spaced"):
        first_passages(uneven, 3.0, correction="shift")


def test_refuses_passages_that_are_none():
    with pytest.raises(ShapeError, match="one truth value for each time"):
        FirstPassages(times=[1.0, 2.0], observed=[True])
    with pytest.raises(ShapeError, match="one truth value for each time"):
        FirstPassages(times=[1.0], observed=[1])
    with pytest.raises(OutOfRangeError, match="count them from the start"):
        FirstPassages(times=[-1.0], observed=[True])

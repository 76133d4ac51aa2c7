"""Displacement exponents: known slopes, and errors that cover where residuals do not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fracsde.errors import RecordError, ShapeError
from fracsde.estimators import (
    displacement_exponent,
    local_exponents,
    mean_square_displacement,
    msd_exponent,
)
from fracsde.records import Trajectory
from tests.support.laws import covers, follows, honest
from tests.support.series import fractional_walk, walk

TRIALS = 300
WINDOW = (4.0, 150.0)


def test_exact_power_laws_of_many_sizes_have_their_common_exponent(seed):
    times = np.append(0.0, np.geomspace(1.0, 1e3, 60))
    rng = np.random.default_rng(seed)
    sizes = rng.uniform(1.0, 2.0, (20, 1, 1))
    # A trace of noise, since chains that agree exactly have no error.
    values = sizes * times[:, None] ** 0.3 * (1 + 1e-9 * rng.standard_normal((20, 61, 1)))
    run = Trajectory(values=values, times=times)
    found = displacement_exponent(run, (10.0, 900.0))
    assert abs(found.value[0] - 0.3) < 1e-8
    assert found.r_squared > 1 - 1e-12
    assert abs(found.whole_record - 0.3) < 1e-8
    np.testing.assert_allclose(local_exponents(run, factor=3.0).value, 0.3, atol=1e-7)


@pytest.mark.parametrize("hurst", [0.2, 0.35, 0.5, 0.7])
@pytest.mark.parametrize("kind", ["ensemble", "time_averaged"])
def test_law_fractional_brownian_motion_has_its_exponent(hurst, kind, seed):
    rng = np.random.default_rng(seed)
    found = displacement_exponent(fractional_walk(rng, 500, 400, hurst), (4, 100), kind=kind)
    assert follows(found.value[0], hurst, found.stderr[0])
    assert found.stderr[0] < 0.02


@pytest.mark.twin
def test_law_rejects_the_exponent_of_the_square(seed):
    x = fractional_walk(np.random.default_rng(seed), 500, 400, 0.35)
    found = msd_exponent(displacement_exponent(x, (4, 100)))
    assert follows(found.value[0], 0.7, found.stderr[0])
    assert not follows(found.value[0], 0.35, found.stderr[0])


def _coverage(seed, kind, chains, error):
    rng = np.random.default_rng(seed)
    hits, values, stderrs = 0, [], []
    for _ in range(TRIALS):
        x = walk(rng, chains, 300)
        value, stderr, reach = error(x, kind, chains)
        hits += bool(abs(value - 0.5) <= reach * stderr)
        values.append(value)
        stderrs.append(stderr)
    return covers(hits, TRIALS, 0.95), honest(values, stderrs)


def _jackknife(x, kind, chains):
    found = displacement_exponent(x, WINDOW, kind=kind)
    return found.value[0], found.stderr[0], stats.t.ppf(0.975, chains - 1)


def _residuals(x, kind, chains):
    lags = np.unique(np.geomspace(4, 150, 40).astype(int))
    moved = mean_square_displacement(x, lags.tolist(), kind=kind)
    line = stats.linregress(np.log(moved.times), 0.5 * np.log(moved.value))
    return line.slope, line.stderr, 1.96


@pytest.mark.parametrize("kind", ["ensemble", "time_averaged"])
@pytest.mark.parametrize("chains", [8, 32])
def test_law_jackknife_covers(kind, chains, seed):
    covered, right = _coverage(seed, kind, chains, _jackknife)
    assert covered
    assert right or chains == 8  # eight chains: the error is right to a third only


@pytest.mark.twin
@pytest.mark.parametrize("kind", ["ensemble", "time_averaged"])
def test_law_errors_from_residuals_are_rejected(kind, seed):
    covered, right = _coverage(seed, kind, 32, _residuals)
    assert not covered
    assert not right


def test_window_decides_the_exponent_of_a_saturating_curve(seed):
    # Relaxing modes: diffusion at first, a standstill at last.  Both slopes are kept.
    rng = np.random.default_rng(seed)
    times = np.append(0.0, np.geomspace(0.1, 1e3, 80))
    scale = np.sqrt(-np.expm1(-times))[:, None]
    run = Trajectory(values=rng.standard_normal((200, 1, 1)) * scale, times=times)
    late = displacement_exponent(run, (20.0, 1e3))
    assert abs(late.value[0]) < 1e-6
    assert late.whole_record > 0.05
    local = local_exponents(run)
    assert abs(local.value[0] - 0.45) < 0.05
    assert abs(local.value[-1]) < 1e-6


def test_routes_agree_between_run_and_measured_displacement(seed):
    x = walk(np.random.default_rng(seed), 20, 200)
    lags = list(range(5, 25))
    moved = mean_square_displacement(x, lags)
    found = displacement_exponent(moved, (5, 24))
    slope = np.polyfit(np.log(lags), 0.5 * np.log(moved.value), 1)[0]
    assert abs(found.value[0] - slope) < 1e-12
    assert found.points == 20
    assert abs(displacement_exponent(x, (5, 24)).value[0] - slope) < 1e-12


def test_law_local_errors_are_the_spread(seed):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(200):
        moved = mean_square_displacement(walk(rng, 32, 120), [20, 80])
        found.append(local_exponents(moved, factor=4.0))
    assert honest([f.value[0] for f in found], [f.stderr[0] for f in found])
    assert abs(found[0].times[0] - 40.0) < 1e-9


def test_refuses_a_narrow_window_and_says_how_many_lags_it_holds():
    x = walk(np.random.default_rng(0), 10, 200)
    with pytest.raises(RecordError, match="holds 6 lags, a slope needs at least 12"):
        displacement_exponent(x, (5, 10))


def test_refuses_a_window_outside_the_record():
    x = walk(np.random.default_rng(0), 10, 200)
    with pytest.raises(RecordError, match="reaches outside the record"):
        displacement_exponent(x, (5, 300))
    for bad in [(0, 10), (10, 5), 3.0, (1, 2, 3)]:
        with pytest.raises(RecordError, match="`window` must be"):
            displacement_exponent(x, bad)


def test_refuses_few_chains():
    with pytest.raises(RecordError, match="at least 8 independent chains, got 7"):
        displacement_exponent(walk(np.random.default_rng(0), 7, 200), (5, 100))


def test_refuses_a_standstill():
    with pytest.raises(RecordError, match="nothing moved"):
        displacement_exponent(np.zeros((10, 200, 1)), (5, 100))


def test_refuses_displacements_apart():
    moved = mean_square_displacement(walk(np.random.default_rng(0), 10, 99), per_coordinate=True)
    with pytest.raises(ShapeError, match="leave out `per_coordinate`"):
        displacement_exponent(moved, (5, 50))


def test_refuses_lags_too_close_for_the_factor():
    with pytest.raises(RecordError, match="lower `factor`"):
        local_exponents(walk(np.random.default_rng(0), 10, 99), factor=1e3)

"""Mean square displacement: two routes to one sum, and the laws of known processes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fracsde.errors import InputError, RecordError
from fracsde.estimators import mean_square_displacement
from fracsde.estimators.displacement_kernels import (
    across_chains,
    across_chains_reference,
    direct_sums,
    direct_sums_reference,
    transformed_sums,
    transformed_sums_reference,
)
from fracsde.records import Trajectory
from tests.support.exact import EPS
from tests.support.laws import covers, follows, honest
from tests.support.series import ar1, fractional_walk, walk


def _by_loop(x, lags):
    return np.stack(
        [np.square(x[:, k:] - x[:, : x.shape[1] - k]).sum(axis=2).mean(axis=1) for k in lags],
        axis=1,
    )


@pytest.mark.parametrize("shape", [(1, 2, 1), (3, 17, 2), (2, 128, 5), (40, 101, 3), (2, 9001, 7)])
@pytest.mark.parametrize("route", ["direct", "fft"])
def test_routes_agree_with_the_definition(shape, route, seed):
    x = walk(np.random.default_rng(seed), *shape)
    lags = np.unique(np.geomspace(1, shape[1] - 1, 12).astype(int))
    found = mean_square_displacement(x, lags.tolist(), kind="time_averaged", route=route)
    expected = _by_loop(x, lags)
    # The transform cancels the sum of all |w|^2 against itself: rounding is relative to that.
    energy = np.square(x - x.mean(axis=1, keepdims=True)).sum(axis=(1, 2)).max()
    rounding = 8 * EPS * energy / (shape[1] - lags) if route == "fft" else 0.0
    assert np.all(np.abs(found.per_chain - expected) <= 100 * EPS * expected + rounding)


def _routes_agree(x, reference=None):
    lags = [1, 2, 5, 17, 60]
    reference = x if reference is None else reference
    fast = mean_square_displacement(x, lags, kind="time_averaged", route="fft").value
    slow = mean_square_displacement(reference, lags, kind="time_averaged", route="direct").value
    return np.allclose(fast, slow, rtol=1e-7, atol=0)


def test_routes_agree_beside_an_offset_of_a_million(seed):
    # At an offset of 1e6 the positions themselves are rounded to 1e-10.
    assert _routes_agree(1e6 + walk(np.random.default_rng(seed), 4, 300, 2))


@pytest.mark.twin
def test_routes_differ_for_a_path_shifted_by_one_draw(seed):
    x = walk(np.random.default_rng(seed), 4, 300, 2)
    assert not _routes_agree(x[:, 1:], x[:, :-1])


def test_routes_auto_takes_either_and_agrees(seed):
    x = walk(np.random.default_rng(seed), 3, 400, 2)
    few = mean_square_displacement(x, [3, 50], kind="time_averaged")
    every = mean_square_displacement(x, kind="time_averaged")
    assert len(every.lags) == 399
    np.testing.assert_allclose(few.value, every.value[[2, 49]], rtol=1e-11)


def test_exact_straight_line_moves_by_the_square_of_the_time():
    times = 0.5 * np.arange(200.0)
    run = Trajectory(values=3.0 * times[None, :, None] + 7.0, times=times)
    for route in ("direct", "fft"):
        found = mean_square_displacement(run, kind="time_averaged", route=route)
        np.testing.assert_allclose(found.value, 9.0 * found.times**2, rtol=1e-14)
    assert np.all(np.isnan(found.stderr))


def _line_error(steps, offset):
    k = np.arange(1, steps)
    x = offset + 3.7 * np.arange(steps)[None, :, None]
    expected = np.square(3.7 * k) * (steps - k)
    return np.max(np.abs(transformed_sums(x, k) / expected - 1.0))


def test_exact_transform_loses_nothing_to_offset_and_drift():
    # Positions near 4e4 + 1e6 are rounded to 1e-10, steps of 3.7 then to 3e-11.
    assert _line_error(10_000, 0.0) < 40 * EPS
    assert _line_error(10_000, 1e6) < 1e-10


@pytest.mark.twin
def test_transform_about_the_mean_alone_loses_digits_to_drift():
    x = 3.7 * np.arange(10_000.0)
    spectrum = np.abs(np.fft.rfft(x - x.mean(), 20_000)) ** 2
    squares = np.square(x - x.mean())
    moved = 2 * squares.sum() - squares[0] - squares[-1] - 2 * np.fft.irfft(spectrum)[1]
    assert abs(moved / (9999 * 3.7**2) - 1.0) > 1e-12


@pytest.mark.parametrize("shape", [(1, 2, 1), (1, 3, 1), (3, 101, 9), (2, 1031, 3), (5, 64, 40)])
@pytest.mark.parametrize("sums", [direct_sums, transformed_sums, transformed_sums_reference])
def test_engine_sums_equal_the_reference(sums, shape, seed):
    x = walk(np.random.default_rng(seed), *shape)
    for paths in (x, np.asfortranarray(x), x[:, :: 2 if shape[1] > 3 else 1]):
        lags = np.arange(1, paths.shape[1])
        expected = direct_sums_reference(paths.astype(np.longdouble), lags)
        gap = np.abs(sums(paths, lags) - expected)
        energy = np.square(paths - paths.mean(axis=1, keepdims=True)).sum(axis=(1, 2))[:, None]
        rounding = 0.0 if sums is direct_sums else 8 * EPS * energy
        assert np.all(gap <= 8 * EPS * expected + rounding)


@pytest.mark.parametrize("kind", ["ensemble", "time_averaged"])
@pytest.mark.parametrize("lags", [None, [1, 4, 9]])
def test_exact_coordinates_add_up(kind, lags, seed):
    x = walk(np.random.default_rng(seed), 5, 40, 3)
    whole = mean_square_displacement(x, lags, kind=kind, start=2)
    parts = mean_square_displacement(x, lags, kind=kind, start=2, per_coordinate=True)
    assert parts.value.shape == (len(whole.lags), 3)
    np.testing.assert_allclose(parts.per_chain.sum(axis=2), whole.per_chain, rtol=1e-10)
    assert parts.to_measurement().quantity.labels[1] == "1 at lag 1"


def test_exact_rotation_changes_nothing(seed):
    x = walk(np.random.default_rng(seed), 5, 40, 3)
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]
    turned = mean_square_displacement(x, directions=turn)
    np.testing.assert_allclose(turned.value, mean_square_displacement(x).value, rtol=1e-12)


def test_exact_ensemble_on_unequal_times_counts_from_the_start(seed):
    x = np.random.default_rng(seed).standard_normal((6, 5, 2))
    run = Trajectory(values=x, times=[0.0, 1.0, 10.0, 100.0, 1000.0])
    found = mean_square_displacement(run, start=1)
    np.testing.assert_allclose(found.times, [9.0, 99.0, 999.0])
    expected = np.square(x[:, 2:] - x[:, 1:2]).sum(axis=2)
    np.testing.assert_allclose(found.value, expected.mean(axis=0))


LAGS = np.array([1, 2, 5, 20, 80])


def _relaxes(seed, kind, shift=0):
    rate, chains = 0.1, 400
    x = ar1(np.random.default_rng(seed), chains, 200, np.exp(-rate), 2)
    found = mean_square_displacement(x, (LAGS + shift).tolist(), kind=kind)
    return follows(found.value, 2 * 2 * -np.expm1(-rate * LAGS), found.stderr)


@pytest.mark.parametrize("kind", ["ensemble", "time_averaged"])
def test_law_stationary_relaxation_saturates_at_twice_the_variance(kind, seed):
    assert _relaxes(seed, kind)


@pytest.mark.twin
def test_law_rejects_a_lag_off_by_one(seed):
    assert not _relaxes(seed, "time_averaged", shift=1)


@pytest.mark.parametrize("kind", ["ensemble", "time_averaged"])
def test_law_random_walk_moves_by_the_lag_and_errors_are_the_spread(kind, seed):
    rng = np.random.default_rng(seed)
    found = [mean_square_displacement(walk(rng, 20, 60), [30], kind=kind) for _ in range(300)]
    values = np.array([d.value[0] for d in found])
    assert follows(values.mean(), 30.0, values.std() / np.sqrt(300))
    assert honest(values, [d.stderr[0] for d in found])


@pytest.mark.twin
def test_law_counting_windows_of_one_path_as_independent_is_rejected(seed):
    rng = np.random.default_rng(seed)
    values, stderrs = [], []
    for _ in range(300):
        x = walk(rng, 1, 300)[0, :, 0]
        moved = np.square(x[30:] - x[:-30])
        values.append(moved.mean())
        stderrs.append(moved.std() / np.sqrt(len(moved)))
    assert not honest(values, stderrs)


def _covered(seed, sample, truth, lag, errors_of):
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(TRIALS):
        moved = mean_square_displacement(sample(rng), [lag], kind="time_averaged", errors="draws")
        value, stderr, freedom = errors_of(moved)
        hits += bool(abs(value - truth) <= stats.t.ppf(0.975, freedom) * stderr)
    return covers(hits, TRIALS, 0.95)


def _own(moved):
    return moved.value[0], moved.stderr[0], moved.n_effective[0] - 1


CHAIN = {
    "walk": (lambda rng: walk(rng, 1, 1500), 10, 10.0),
    "relaxing": (lambda rng: ar1(rng, 1, 1500, 0.9), 5, 2 - 2 * 0.9**5),
    "subdiffusive": (lambda rng: fractional_walk(rng, 1, 1500, 0.3), 10, 10**0.6),
}
TRIALS = 300


@pytest.mark.parametrize("law", CHAIN)
def test_law_errors_along_one_chain_cover(law, seed):
    sample, lag, truth = CHAIN[law]
    assert _covered(seed, sample, truth, lag, _own)


@pytest.mark.twin
def test_law_errors_along_one_chain_without_their_correlation_are_rejected(seed):
    def naive(moved):
        windows = 1500 - 10
        return moved.value[0], moved.value[0] * np.sqrt(2.0 / windows), windows

    sample, lag, truth = CHAIN["walk"]
    assert not _covered(seed, sample, truth, lag, naive)


def test_refuses_errors_along_a_chain_for_lags_too_long_for_it(seed):
    x = walk(np.random.default_rng(seed), 1, 1000)
    moved = mean_square_displacement(x, [2, 10, 100], kind="time_averaged", errors="draws")
    assert list(np.isnan(moved.stderr)) == [False, False, True]
    with pytest.raises(RecordError, match="1 of 3 lags, from 100 draws"):
        moved.to_measurement()
    short = mean_square_displacement(x, [2, 10], kind="time_averaged", errors="draws")
    assert "autocorrelation" in short.to_measurement().method
    with pytest.raises(RecordError, match="come from chains"):
        mean_square_displacement(x, [2], errors="draws")


def test_exact_errors_along_chains_keep_coordinates_apart(seed):
    x = ar1(np.random.default_rng(seed), 2, 800, 0.5, 3)
    kept = {"kind": "time_averaged", "errors": "draws"}
    apart = mean_square_displacement(x, [1, 4], per_coordinate=True, **kept)
    alone = mean_square_displacement(x[..., 1:2], [1, 4], **kept)
    np.testing.assert_allclose(apart.stderr[:, 1], alone.stderr, rtol=1e-12)


def test_keeps_the_record(seed):
    x = walk(np.random.default_rng(seed), 3, 50, 2)
    before = x.copy()
    for kind in ("ensemble", "time_averaged"):
        mean_square_displacement(x, kind=kind)
    np.testing.assert_array_equal(x, before)


def test_refuses_an_error_from_a_single_chain(seed):
    found = mean_square_displacement(walk(np.random.default_rng(seed), 1, 50), [3])
    with pytest.raises(RecordError, match="at least 2 chains"):
        found.to_measurement()


def test_refuses_what_the_record_does_not_hold():
    x = np.zeros((3, 10, 1))
    with pytest.raises(RecordError, match="between 1 and 6"):
        mean_square_displacement(x, [7], start=3)
    with pytest.raises(RecordError, match="start earlier"):
        mean_square_displacement(x, start=9)
    with pytest.raises(InputError, match="'ensemble', 'time_averaged'"):
        mean_square_displacement(x, kind="both")
    uneven = Trajectory(values=x[:, :3], times=[0.0, 1.0, 5.0])
    with pytest.raises(RecordError, match="equally spaced"):
        mean_square_displacement(uneven, kind="time_averaged")


@pytest.mark.parametrize("shape", [(2, 1), (3, 127), (4, 128), (5, 300), (60, 7)])
def test_engine_errors_across_chains_equal_the_reference(shape, seed):
    values = np.random.default_rng(seed).standard_exponential(shape)
    values[:, 0] = 2.0  # the same in every chain: no error, no correction
    for found, expected in zip(across_chains(values), across_chains_reference(values), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.twin
def test_engine_errors_across_chains_without_the_kurtosis_differ(seed):
    values = np.random.default_rng(seed).standard_exponential((60, 50)) ** 2
    assert np.all(across_chains(values)[2] < 0.7 * len(values))

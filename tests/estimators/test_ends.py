"""The error of a difference that telescopes, against the law of its ends."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import signal, special, stats

from fracsde.estimators import fluctuation_dissipation
from fracsde.estimators import joined as joined_windows
from fracsde.estimators.ends import quantile_of_ends, ratio_of_ends
from fracsde.estimators.joined import parted
from fracsde.estimators.ratios import ratio_of_means
from fracsde.records.trajectory import Trajectory
from tests.support.laws import covers, honest

TRIALS = 300
ETA, MU, TAU, DECAY = 0.2, 0.5, 0.3, 0.1


def sides(rng, runs, draws, eta=0.5, every=1):
    """Both sides of the relation on a parabola, (run, draw, 2), started in their law."""
    noise = rng.normal(size=(runs, 100 + draws * every))
    w = np.zeros((runs, noise.shape[1] + 1))
    w[:, 1:] = signal.lfilter([-eta], [1.0, eta - 1.0], noise, axis=1)
    g = w[:, :-1] + noise
    return np.stack([w[:, :-1] * g, 0.5 * eta * g * g], axis=2)[:, 100::every]


def series(values):
    return Trajectory(values=values, times=np.arange(values.shape[1], dtype=float))


def momentum_run(rng, steps):
    """Steps as torch makes them, of three weights far from the origin on a bent loss."""
    w, b = np.full(3, 2.0), np.zeros(3)
    rows = []
    for _ in range(steps):
        g = w**3 - 5.0 + 0.3 * rng.normal(size=3) + DECAY * w
        after = MU * b + (1.0 - TAU) * g
        rows.append((w, g, b, after))
        w, b = w - 0.1 * ETA * after, after
    return (np.array(part) for part in zip(*rows, strict=True))


def missing(memory):
    """How far sums of the difference are from the gain of A, as a share of it."""
    rng = np.random.default_rng(3)
    eta = 0.1 * ETA
    w, g, before, after = momentum_run(rng, 200)
    d = np.sum(w * g, axis=1) - 0.5 * eta * (1 + MU) / (1 - TAU) * np.sum(after**2, axis=1)
    v = -eta * before
    A = np.sum(w * w - MU * (w - v) ** 2 + memory * v * v, axis=1) / (2 * eta * (1 - TAU))
    return np.abs(np.cumsum(d[:-1]) - (A[0] - A[1:])).max() / np.ptp(A)


@pytest.mark.parametrize(
    ("memory", "holds"), [(MU, True), pytest.param(0.0, False, marks=pytest.mark.twin)]
)
def test_exact_sums_over_consecutive_steps_are_a_gain(memory, holds):
    assert (missing(memory) < 1e-12) == holds


@pytest.mark.parametrize("chains", [1, 3])
def test_exact_quantile_of_a_sum_of_binary_ends(chains):
    # A sum of 2 R fair coins, R of them counted down.
    A = np.tile([0.0, 1.0], (chains, 40))
    law = stats.binom(2 * chains, 0.5)
    for k in range(chains):
        beyond = 2.0 * law.sf(chains + k)
        assert quantile_of_ends(A, beyond * 1.001) == pytest.approx(k, abs=2e-3)
        assert quantile_of_ends(A, beyond * 0.999) == pytest.approx(k + 1, abs=2e-3)


@pytest.mark.parametrize("level", [0.05, 1e-3])
def test_routes_agree_quantile_of_ends_of_one_weight(level, seed):
    # A difference of two squares of normal values is twice a product of such.
    A = np.square(np.random.default_rng(seed).normal(size=(1, 400_000)))
    reach = quantile_of_ends(A, level)
    x = np.linspace(1e-4, 40.0, 400_001)
    beyond = 2.0 / np.pi * np.trapezoid(special.k0(x) * (2.0 * x > reach), x)
    assert beyond == pytest.approx(level, rel=0.1)


@pytest.mark.parametrize(("chains", "draws", "eta"), [(1, 1000, 0.5), (3, 200, 0.5)])
def test_law_ends_of_few_chains_have_their_error(chains, draws, eta, seed):
    values = sides(np.random.default_rng(seed), TRIALS * chains, draws, eta)
    runs = [series(part) for part in np.split(values, TRIALS)]
    found = [ratio_of_ends(run, level=0.05) for run in runs]
    assert all(found)
    assert all("consecutive" in one.method for one in found)
    hits = sum(one.interval[0] <= 1.0 <= one.interval[1] for one in found)
    assert covers(hits, TRIALS, 0.95)
    assert honest([one.value for one in found], [one.stderr for one in found])


@pytest.mark.twin
def test_twin_blocks_of_consecutive_steps_have_not(seed):
    values = sides(np.random.default_rng(seed), TRIALS, 1000)
    found = [ratio_of_means(series(row[None]), level=0.05) for row in values]
    assert all(one.interval[0] <= 1.0 <= one.interval[1] for one in found)
    assert not honest([one.value for one in found], [one.stderr for one in found])


@pytest.mark.twin
@pytest.mark.parametrize("every", [2, 5])
def test_twin_draws_that_skip_steps_show_no_ends(every, seed):
    values = sides(np.random.default_rng(seed), 100, 1000, every=every)
    found = [ratio_of_ends(series(row[None]), level=0.05) for row in values]
    slipped = [one for one in found if one is not None]
    assert len(slipped) <= 3
    # The ends' error would be far too small: sums of what was skipped grow with the record.
    ends = (values[..., 0] - values[..., 1]).sum(axis=1)
    assert ends.std() > 5.0 * np.sqrt(2.0 / 1.5**2)  # of |w|^2 / (2 eta), twice


def joined(rng, runs, windows, apart=50, draws=1000):
    """Both sides over windows of consecutive steps, some steps apart."""
    there = np.arange(draws) + np.arange(draws) * windows // draws * apart
    return sides(rng, runs, there[-1] + 1)[:, there]


def too_short(values, found):
    """Logarithm of the spread of the sides' difference over the error that is stated."""
    ends = (values[..., 0] - values[..., 1]).mean(axis=1)
    stated = [one.stderr * one.bottom for one in found]
    return np.log(ends.std() / np.sqrt(np.mean(np.square(stated))))


@pytest.mark.parametrize(("windows", "apart"), [(2, 50), (11, 50)])
def test_law_ends_of_joined_windows_have_their_error(windows, apart, seed):
    values = joined(np.random.default_rng(seed), TRIALS, windows, apart)
    found = [ratio_of_ends(series(row[None]), level=0.05) for row in values]
    seen = [one for one in found if one is not None]
    assert len(seen) > 0.85 * TRIALS
    hits = sum(one.interval[0] <= 1.0 <= one.interval[1] for one in seen)
    assert covers(hits, len(seen), 0.95)
    assert abs(too_short(values, seen)) < 0.25


@pytest.mark.twin
def test_twin_the_ends_alone_miss_what_gaps_add(seed, monkeypatch):
    monkeypatch.setattr(joined_windows, "_share", lambda squares, u: 0.0)
    values = joined(np.random.default_rng(seed), 100, 5)
    found = [ratio_of_ends(series(row[None]), level=0.05) for row in values]
    assert too_short(values, [one for one in found if one is not None]) > 0.5


def test_law_a_walk_beneath_a_series_is_measured(seed):
    rng = np.random.default_rng(seed)
    still = signal.lfilter([1.0], [1.0, -0.5], rng.normal(size=(40, 4100)), axis=1)[:, 100:]
    steps = rng.normal(size=still.shape) * (rng.random(still.shape) < 0.01)
    found = [parted((row - row.mean())[None]) for row in still + np.cumsum(steps, axis=1)]
    walk, spread = (np.array([getattr(one, n) for one in found]) for n in ("walk", "degrees"))
    assert walk.mean() == pytest.approx(0.01, abs=5 * walk.std() / 40**0.5)
    assert np.mean([one.times.variance[0] for one in found]) == pytest.approx(4 / 3, rel=0.05)
    # Degrees of freedom say how far it scatters; jumps of their own number scatter more.
    assert 0.5 < np.sqrt(2.0 / spread.mean()) * walk.mean() / walk.std() < 1.2


def test_one_chain_tells_a_learning_rate_that_is_wrong_by_a_fiftieth(seed):
    [row] = sides(np.random.default_rng(seed), 1, 2000)
    streams = {"weight_dot_gradient": row[:, 0], "gradient_norm_squared": row[:, 1] / 0.25}
    right = fluctuation_dissipation(streams, learning_rate=0.5)
    assert right.interval[0] < 1.0 < right.interval[1]
    assert "ends" in right.method
    assert right.stderr[0] < 0.005
    wrong = fluctuation_dissipation(streams, learning_rate=0.51)
    assert wrong.interval[1] < 1.0
    assert wrong.value[0] == pytest.approx(right.value[0] / 1.02)
    skipped = {name: part[::4] for name, part in streams.items()}
    plain = fluctuation_dissipation(skipped, learning_rate=0.5)
    assert "blocks" in plain.method
    assert plain.stderr[0] > 10.0 * right.stderr[0]


def test_ends_are_not_asked_of_many_chains_short_ones_or_still_ones(seed):
    values = sides(np.random.default_rng(seed), 16, 60)
    assert ratio_of_ends(series(values), level=0.05) is None
    assert ratio_of_ends(series(values[:4, :12]), level=0.05) is None
    assert ratio_of_ends(series(np.zeros((1, 100, 2))), level=0.05) is None
    assert ratio_of_ends(series(np.ones((1, 100, 2))), level=0.05) is None


def test_ends_have_no_unit_and_leave_their_argument(seed):
    values = sides(np.random.default_rng(seed), 2, 600)
    kept = values.copy()
    plain = ratio_of_ends(series(values), level=0.01)
    scaled = ratio_of_ends(series(values * [1e-60, 1e60]), level=0.01)
    assert scaled.value == pytest.approx(plain.value * 1e-120)
    assert scaled.interval[1] == pytest.approx(plain.interval[1] * 1e-120)
    np.testing.assert_array_equal(values, kept)


@pytest.mark.parametrize(
    ("missing", "shown"),
    [
        (0, "consecutive steps"),
        (5, "consecutive steps"),
        pytest.param(1000, "blocks", marks=pytest.mark.twin),
    ],
)
def test_a_stored_run_that_left_out_steps_shows_what_it_kept(missing, shown, seed):
    kept = np.arange(1000)
    steps = 1 + kept + (kept // (1000 // (missing + 1)) * 50 if 0 < missing < 1000 else 0)
    steps = 1 + 2 * kept if missing == 1000 else steps
    methods = []
    for row in sides(np.random.default_rng(seed), 8, steps[-1])[:, steps - 1]:
        streams = {"weight_dot_gradient": row[:, 0], "gradient_norm_squared": row[:, 1] / 0.25}
        run = SimpleNamespace(
            streams={name: None for name in streams},
            chains=(0,),
            metadata={"training": {"optimizer": "SGD", "learning_rate": 0.5}},
            array=lambda name, _, kept=streams: kept[name][:, None],
            steps=lambda _: steps,
        )
        methods.append(fluctuation_dissipation(run).method)
    assert sum(shown in method for method in methods) >= 6
    assert ("joined" in " ".join(methods)) == (missing == 5)

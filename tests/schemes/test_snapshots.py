"""Snapshots: their series serves an octave to what was asked, and says what it leaves out."""

from dataclasses import replace

import numpy as np
import pytest

from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.schemes import forms, runs
from fracsde.schemes.propagator import Propagator
from fracsde.schemes.snapshots import (
    coefficient_decay,
    left_out,
    octaves,
    snapshot_count,
    snapshot_times,
    spread,
    to_series,
)
from fracsde.special.mittag_leffler import mittag_leffler
from tests.support.exact import EPS
from tests.support.high_precision import propagated

RATES = np.geomspace(1e-6, 1e6, 241)


def by_snapshots(alpha, count, times):
    """Relaxation at many rates at once, by snapshots; its series too."""

    def exact(t):
        return mittag_leffler(-np.multiply.outer(t**alpha, RATES), alpha)

    series = to_series(exact(snapshot_times(times[0], times[-1], count)))
    out = np.empty((len(times), len(RATES)))
    spread(series, times, out)
    return out, exact(times), series


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("rtol", [1e-4, 1e-8, 1e-12])
def test_exact_to_what_was_asked_for_every_rate(alpha, rtol):
    """Relaxation is the hardest when a mode dies within the octave; all rates are here."""
    times = np.linspace(1.0, 2.0, 301)
    decay = coefficient_decay(alpha, 0.0)
    found, exact, series = by_snapshots(alpha, snapshot_count(decay, rtol), times)
    error = np.abs(found - exact).max()
    assert error <= 2 * rtol
    assert error <= left_out(series, decay) + 100 * EPS
    # What is left out is seen neither too small nor in vain.
    assert left_out(series, decay) <= 30 * rtol + 100 * EPS


@pytest.mark.parametrize("alpha", [0.3, 0.6, 1.0])
def test_order_coefficients_fall_at_the_rate_of_the_strip(alpha):
    """Over all rates coefficients fall as predicted: 2, 4 and 5 per cent faster are measured."""
    series = by_snapshots(alpha, 24, np.linspace(1.0, 2.0, 5))[2]
    size = np.abs(series).max(axis=1)
    falls = np.flatnonzero(size > 1e-13)
    slope = np.polyfit(falls, np.log(size[falls]), 1)[0]
    assert abs(-slope / np.log(coefficient_decay(alpha, 0.0)) - 1.0) < 0.06


@pytest.mark.twin
def test_exactness_rejects_half_the_snapshots():
    times = np.linspace(1.0, 2.0, 301)
    decay = coefficient_decay(0.6, 0.0)
    found, exact, series = by_snapshots(0.6, snapshot_count(decay, 1e-8) // 2, times)
    error = np.abs(found - exact).max()
    assert error > 100 * 2e-8
    assert error <= left_out(series, decay)  # and the series knows


def test_exact_partition_into_octaves():
    times = np.sort(np.random.default_rng(1).uniform(0.0, 1.0, 500)) ** 3 + 1e-3
    stretches = octaves(times, 17, 431)
    assert stretches[0][0] == 17
    assert stretches[-1][1] == 431
    for (a, b), (c, _) in zip(stretches, [*stretches[1:], (431, 0)], strict=True):
        assert a < b == c
        assert times[b - 1] <= 2 * times[a]
    assert octaves(np.ones(5), 0, 5) == [(0, 5)]
    assert octaves(times, 3, 3) == []


def history(cells=96):
    base = FokkerPlanck(
        potential=lambda x: x**2 / 2,
        diffusion=1.0,
        domain=(-6.0, 6.0),
        initial=Gaussian(mean=1.5, std=0.5),
    )
    chain = FiniteVolume(cells=cells).discretise(base)
    return chain, chain.project(base.initial), np.linspace(0.01, 10.0, 2000)


def test_routes_agree_snapshots_and_the_contour_at_every_time(monkeypatch):
    """Both roads carry an error of the contour only; the tolerance holds for a long history."""
    chain, start, times = history()
    ready = Propagator(rtol=1e-10).prepare(chain, alpha=0.6)
    quick = ready.run(start, times)
    assert quick.stats["snapshots"] > 0
    monkeypatch.setattr(runs, "snapshot_count", lambda decay, rtol: 10**6)
    slow = ready.run(start, times)
    assert "snapshots" not in slow.stats
    largest = slow.density.max(axis=1)
    assert (np.abs(quick.density - slow.density).max(axis=1) / largest).max() < 1e-10
    some = slice(0, None, 40)
    exact = propagated(chain, start, times[some], 0.6) / chain.widths
    for found in (quick, slow):
        error = np.abs(found.density[some] - exact).max(axis=1)
        assert np.all(error <= 1e-10 * exact.max(axis=1))
        assert np.all(error <= found.errors[some])
        assert np.abs(found.density @ chain.widths - 1.0).max() < 1e-14


@pytest.mark.twin
def test_too_few_snapshots_are_seen_and_not_used(monkeypatch):
    chain, start, times = history()
    monkeypatch.setattr(runs, "snapshot_count", lambda decay, rtol: 6)
    found = Propagator(rtol=1e-10).prepare(chain, alpha=0.6).run(start, times)
    assert "snapshots" not in found.stats
    assert found.relative.max() <= 1e-10


@pytest.mark.twin
def test_snapshots_of_a_wrong_series_are_seen_by_the_marks(monkeypatch):
    chain, start, times = history()

    def wrong(snapshots):
        series = to_series(snapshots)
        series[1] *= 1 + 1e-6
        return series

    monkeypatch.setattr(runs, "to_series", wrong)
    ready = Propagator(rtol=1e-10).prepare(chain, alpha=0.6)
    run = runs.Run(ready.road, start, times)
    run.by_windows()
    assert run.relative().max() > 1e-10


def test_repeated_times_are_served():
    """Also where one time fills an octave and begins the window."""
    chain, start, _ = history(48)
    times = np.concatenate([np.full(300, 0.7), np.linspace(1.0, 3.0, 400), np.full(50, 3.0)])
    found = Propagator(rtol=1e-9).prepare(chain, alpha=0.6).run(start, times)
    exact = propagated(chain, start, times[[0, 299, 300, 500, 749]], 0.6) / chain.widths
    error = np.abs(found.density[[0, 299, 300, 500, 749]] - exact).max(axis=1)
    assert np.all(error <= 1e-9 * exact.max(axis=1))
    assert np.array_equal(found.density[0], found.density[299])


def test_wide_windows_keep_their_tolerance():
    """A contour for two decades has more nodes, and more marks."""
    narrow, wide = (forms.window(2.5e-11, ratio, 0.0) for ratio in (10.0, 100.0))
    assert runs._marks(wide) > runs._marks(narrow) == 9
    chain, start, _ = history()
    times = np.geomspace(1e-2, 0.999, 600)
    ready = Propagator(rtol=1e-10).prepare(chain, alpha=0.6)
    run = runs.Run(ready.road, start, times)
    form = ready.road.forms(0)[1]
    run._window(0, len(times), replace(wide, ratio=100.0), form)
    some = slice(0, None, 7)
    exact = propagated(chain, start, times[some], 0.6) / chain.widths
    error = np.abs(run.density[some] - exact).max(axis=1)
    assert np.all(error <= run.errors[some])
    assert run.relative().max() <= 1e-10


def hidden(plan, alpha, marks):
    """How many times larger errors of relaxation are in a window than where they are looked at."""
    times = np.geomspace(1.0, plan.ratio * 0.999, 400)
    rates = np.geomspace(1e-2, 1e2, 25)
    solutions = 1.0 / np.add.outer(plan.shifts(alpha), rates)
    found = plan.rows(alpha, times) @ np.concatenate([solutions.real, solutions.imag])
    error = np.abs(found - mittag_leffler(-np.multiply.outer(times**alpha, rates), alpha))
    share = 0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, marks))
    picks = np.searchsorted(times, times[-1] ** share, side="right") - 1
    return (error.max(axis=0) / error[picks].max(axis=0)).max()


@pytest.mark.parametrize("alpha", [0.3, 0.7])
@pytest.mark.parametrize("rtol", [1e-6, 1e-8])
def test_no_error_hides_between_the_marks_of_a_wide_window(rtol, alpha):
    plan = forms.window(0.25 * rtol, 100.0, 0.0)
    assert hidden(plan, alpha, runs._marks(plan)) < runs._BETWEEN


@pytest.mark.twin
def test_errors_hide_between_fewer_marks():
    plan = forms.window(0.25e-6, 100.0, 0.0)
    assert hidden(plan, 0.7, 9) > runs._BETWEEN

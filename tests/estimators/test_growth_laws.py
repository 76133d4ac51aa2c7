"""Laws of growth: each is found where it is true, and none is claimed where all look alike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fracsde.errors import InputError, OutOfRangeError, RecordError
from fracsde.estimators import growth_laws, mean_square_displacement
from fracsde.records import Trajectory
from tests.support.laws import covers, honest
from tests.support.series import ar1, fractional_walk, walk

TRIALS = 40


def _log_walk(rng, chains, draws, exponent):
    """Brownian motion on the clock (log t)^q: its displacement from the start is (log t)^q."""
    clock = np.log(np.maximum(np.arange(draws), 1.0)) ** exponent
    steps = np.sqrt(np.diff(clock, prepend=0.0))[None, :, None]
    return np.cumsum(steps * rng.standard_normal((chains, draws, 1)), axis=1)


def _drifting(rng, chains, draws):
    speed = 1.0 + 0.2 * rng.standard_normal((chains, 1, 1))
    return speed * np.arange(draws)[:, None] + 0.1 * rng.standard_normal((chains, draws, 1))


LAWS = {
    "power": lambda rng: fractional_walk(rng, 100, 400, 0.3),
    "log_power": lambda rng: _log_walk(rng, 100, 400, 3.0),
    "saturating": lambda rng: ar1(rng, 200, 400, np.exp(-1 / 40)),
    "linear": lambda rng: walk(rng, 100, 400),
}


def _chosen(seed, name, window=(2.0, 390.0), **kept):
    rng = np.random.default_rng(seed)
    return [growth_laws(LAWS[name](rng), window, **kept) for _ in range(TRIALS)]


@pytest.mark.parametrize("name", LAWS)
def test_law_the_true_one_is_best_and_mostly_singled_out(name, seed):
    found = _chosen(seed, name)
    assert sum(law.laws[0].name == name for law in found) >= 0.9 * TRIALS
    assert sum(law.preferred == name for law in found) >= 0.6 * TRIALS
    assert sum(law.preferred not in {"", name} for law in found) <= 0.05 * TRIALS


def test_law_time_averages_single_it_out_as_well(seed):
    found = _chosen(seed, "power", (2.0, 130.0), kind="time_averaged")
    assert all(law.preferred == "power" for law in found)


@pytest.mark.parametrize("name", ["power", "saturating", "log_power"])
def test_law_a_short_window_leaves_them_undistinguished(name, seed):
    found = _chosen(seed, name, (12.0, 30.0))
    assert sum(law.preferred == "" for law in found) >= 0.9 * TRIALS
    assert "not distinguishable on [12, 30] from" in found[0].sentence or found[0].preferred


def test_law_p_values_of_the_true_law_are_uniform(seed):
    rng = np.random.default_rng(seed)
    p = [growth_laws(LAWS["power"](rng), (2, 390))["power"].p_value for _ in range(120)]
    assert stats.kstest(p, "uniform").pvalue > 1e-6


@pytest.mark.twin
def test_law_p_values_from_points_taken_as_independent_are_rejected(seed):
    rng = np.random.default_rng(seed)
    p = []
    for _ in range(120):
        lags = np.unique(np.geomspace(2, 390, 12).astype(int))
        moved = mean_square_displacement(LAWS["power"](rng), lags.tolist())
        error = moved.stderr / moved.value
        line = np.polyfit(np.log(lags), np.log(moved.value), 1, w=1 / error)
        rest = (np.log(moved.value) - np.polyval(line, np.log(lags))) / error
        p.append(stats.chi2.sf(rest @ rest, len(lags) - 2))
    assert stats.kstest(p, "uniform").pvalue < 1e-6


@pytest.mark.parametrize(
    ("name", "truths"),
    [
        ("power", {"a": 1.0, "b": 0.6}),
        ("log_power", {"q": 3.0}),
        ("saturating", {"a": 2.0, "tau": 40.0}),
        ("linear", {"a": 1.0}),
    ],
)
def test_law_errors_of_parameters_cover(name, truths, seed):
    rng = np.random.default_rng(seed)
    found = [growth_laws(LAWS[name](rng), (2, 390))[name] for _ in range(150)]
    for parameter, truth in truths.items():
        values = np.array([law.parameters[parameter] for law in found])
        errors = np.array([law.stderr[parameter] for law in found])
        assert covers(int((np.abs(values - truth) <= 1.98 * errors).sum()), 150, 0.95)
        assert honest(values, errors)


def test_exact_curves_have_their_parameters(seed):
    rng = np.random.default_rng(seed)
    times = np.append(0.0, np.geomspace(2.0, 1e3, 40))
    trace = 1.0 + 1e-7 * rng.standard_normal((40, 41, 1))
    curves = {
        "power": (3.0 * times**0.7, (3.0, 0.7)),
        "log_power": (2.0 * np.log(np.maximum(times, 1.0)) ** 1.5, (2.0, 1.5)),
        "saturating": (5.0 * -np.expm1(-times / 60.0), (5.0, 60.0)),
    }
    for name, (curve, expected) in curves.items():
        run = Trajectory(values=np.sqrt(curve)[:, None] * trace, times=times)
        best = growth_laws(run, (2.0, 1e3)).laws[0]
        assert best.name == name
        np.testing.assert_allclose(list(best.parameters.values()), expected, rtol=1e-5)


def test_drift_is_ballistic(seed):
    x = _drifting(np.random.default_rng(seed), 50, 400)
    found = growth_laws(x, (10, 390), laws=("power", "ballistic", "linear", "log_power"))
    assert found.preferred == "ballistic"
    assert "next is log_power" in found.sentence  # not the power law, of which it is a part


def test_a_curve_that_follows_none_of_them_says_so(seed):
    rng = np.random.default_rng(seed)
    times = np.append(0.0, np.geomspace(2.0, 1e3, 40))
    curve = times**0.5 * (1 + 0.8 * np.sin(2.0 * np.log(np.maximum(times, 1.0))))
    values = np.sqrt(curve)[:, None] * (1 + 0.05 * rng.standard_normal((60, 41, 1)))
    found = growth_laws(Trajectory(values=values, times=times), (2.0, 1e3))
    assert found.laws[0].p_value < 1e-3
    assert "Yet none of them fits" in found.sentence


def test_saturation_that_is_out_of_sight_has_no_time(seed):
    found = growth_laws(walk(np.random.default_rng(seed), 100, 400), (2, 390))
    assert np.isinf(found["saturating"].stderr["tau"])
    # A limit of saturation is not excluded, and does not have to be.
    assert found.preferred == "linear"
    assert abs(found["linear"].aic + 2 - found["saturating"].aic) < 0.5


def test_exact_weights_add_up_and_few_chains_take_few_lags(seed):
    found = growth_laws(walk(np.random.default_rng(seed), 20, 400), (2, 390))
    assert abs(sum(law.weight for law in found.laws) - 1.0) < 1e-12
    assert found.points == 5
    assert [law.aic for law in found.laws] == sorted(law.aic for law in found.laws)


def test_refuses_comparisons_that_cannot_end():
    x = walk(np.random.default_rng(0), 20, 200)
    with pytest.raises(InputError, match="contains 'linear' as a special case"):
        growth_laws(x, (2, 100), laws=("power", "linear"))
    for bad in ("power", ("power",), ("power", "power")):
        with pytest.raises(InputError, match="`laws` must be at least two"):
            growth_laws(x, (2, 100), laws=bad)
    with pytest.raises(InputError, match="'log_power'"):
        growth_laws(x, (2, 100), laws=("power", "exponential"))
    with pytest.raises(OutOfRangeError, match="start the window later"):
        growth_laws(x, (1, 100))
    with pytest.raises(RecordError, match="at least 8 independent chains"):
        growth_laws(x[:7], (2, 100))
    with pytest.raises(RecordError, match="holds 2 lags, a slope needs at least 5"):
        growth_laws(x, (2, 3))

"""The order of a clock from moments and by likelihood, where the law is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import erfcx

from fracsde import OUProcess, SubordinatedOU, density_at, simulate
from fracsde.errors import InputError, RecordError
from fracsde.estimators import (
    fit_fractional_likelihood,
    fit_fractional_moments,
    fit_fractional_order,
)
from fracsde.estimators.clock_mixture import NODES, ClockMixture, clock_density
from fracsde.estimators.fractional_law import _let_through
from fracsde.estimators.fractional_moments import _FEW
from fracsde.estimators.moment_curves import ConfinedMoments, FreeMoments
from fracsde.special import mittag_leffler
from tests.support.laws import covers

TIMES = np.geomspace(0.1, 10.0, 4)
WELL = OUProcess(drift=[[1.0]], noise=[[2.0]])
FLAT = OUProcess(drift=[[0.0]], noise=[[2.0]])
ORDER = 0.6
CHAINS, TRIALS = 48, 120


def _paths(base, alpha, start, chains, seed, times=TIMES):
    process = SubordinatedOU(base=base, alpha=alpha)
    run = simulate(process, np.append(0.0, times), chains=chains, rng=seed, start=[start])
    return run.times, run.values[:, :, 0]


@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.6, 0.9, 0.97, 0.985])
def test_exact_clock_density_has_the_laplace_transform_of_the_clock(alpha):
    weights, slopes = clock_density(alpha)
    rates = np.array([0.0, 0.1, 1.0, 5.0])
    transform = np.exp(-rates[:, None] * NODES)
    np.testing.assert_allclose(transform @ weights, mittag_leffler(-rates, alpha), rtol=2e-7)
    step = 1e-5
    slope = (mittag_leffler(-rates, alpha + step) - mittag_leffler(-rates, alpha - step)) / (
        2.0 * step
    )
    np.testing.assert_allclose(transform @ slopes, slope, atol=2e-4)


def test_routes_agree_mixture_and_propagated_density():
    mixture = ClockMixture(motion="confined", elapsed=np.array([0.7]), reference=1.0)
    x = np.linspace(-2.0, 2.5, 9)
    theta = np.array([ORDER, np.log(1.0), 0.0, 0.0])
    logs = mixture.scores(theta, x[:, None], np.full(9, 1.5))[0][:, 0]
    process = SubordinatedOU(base=WELL, alpha=ORDER)
    other = density_at(process, x, 0.7, initial=[1.5])
    np.testing.assert_allclose(np.exp(logs), other, rtol=1e-6)


@pytest.mark.parametrize(
    ("motion", "theta"),
    [
        ("confined", [0.63, 0.2, 0.1, -0.3]),
        ("confined", [0.97, -0.4, 0.1, 0.3]),
        ("free", [0.4, 0.2]),
        ("free", [1.0, 0.2]),
        ("confined", [1.0, 0.2, 0.1, -0.3]),
    ],
)
def test_exact_scores_are_the_derivatives_of_log_densities(motion, theta, seed):
    rng = np.random.default_rng(seed)
    mixture = ClockMixture(motion=motion, elapsed=np.array([0.05, 0.4, 3.0]), reference=0.5)
    x, start, theta = rng.normal(size=(5, 3)), rng.normal(size=5), np.array(theta)
    scores = mixture.scores(theta, x, start)[1]
    for j in range(1 if theta[0] == 1.0 else 0, len(theta)):
        step = 1e-6 * np.eye(len(theta))[j]
        up, down = (mixture.scores(theta + s * step, x, start)[0] for s in (1.0, -1.0))
        np.testing.assert_allclose(scores[..., j], (up - down) / 2e-6, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("motion", "theta"),
    [
        ("confined", [0.63, 0.2, 0.1, -0.3]),
        ("confined", [1.0, 0.2, 0.1, -0.3]),
        ("free", [0.9, 0.2]),
        ("free", [1.0, 0.2]),
    ],
)
@pytest.mark.parametrize("chains", [0, 1, 7])
def test_engine_scores_are_those_of_the_reference(motion, theta, chains, seed):
    rng = np.random.default_rng(seed)
    mixture = ClockMixture(motion=motion, elapsed=np.array([0.05, 0.4, 3.0]), reference=0.5)
    x = rng.normal(size=(chains, 6))[:, ::2]  # strided
    if chains:
        x[0, 0] = 60.0  # where exponentials underflow
    start = rng.normal(size=2 * chains)[::2]
    found = mixture.scores(np.array(theta), x, start)
    expected = mixture.reference_scores(np.array(theta), x, start)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("model", "theta"),
    [
        (ConfinedMoments(times=TIMES, start=1.3, spread=2.0), [0.6, 0.2, 0.3, -0.4]),
        (FreeMoments(times=TIMES, reference=0.7), [0.6, 0.2]),
    ],
)
def test_exact_jacobian_of_moments(model, theta):
    theta = np.array(theta)
    for j in range(len(theta)):
        step = 1e-5 * np.eye(len(theta))[j]
        slope = (model.values(theta + step) - model.values(theta - step)) / 2e-5
        np.testing.assert_allclose(model.jacobian(theta)[:, j], slope, rtol=1e-6, atol=1e-8)


def test_exact_moments_in_a_well_against_a_closed_form():
    model = ConfinedMoments(times=TIMES, start=2.0, spread=1.0)
    values = model.values(np.array([0.5, np.log(1.0), 0.5, np.log(3.0)]))
    one, two = erfcx(np.sqrt(TIMES)), erfcx(2.0 * np.sqrt(TIMES))
    np.testing.assert_allclose(values[:4], 0.5 + 1.5 * one, rtol=1e-12)
    np.testing.assert_allclose(values[4:], 3.0 + 0.25 + 1.5 * one + (2.25 - 3.0) * two, rtol=1e-12)


FITS = {
    "likelihood": (fit_fractional_likelihood, "confined", WELL, 1.5),
    "likelihood, free": (fit_fractional_likelihood, "free", FLAT, 0.0),
    "moments": (fit_fractional_moments, "confined", WELL, 1.5),
    "moments, free": (fit_fractional_moments, "free", FLAT, 0.0),
}


@pytest.mark.parametrize("name", FITS)
def test_law_interval_covers_the_order(name, seed):
    fit, motion, base, start = FITS[name]
    times, x = _paths(base, ORDER, start, CHAINS * TRIALS, seed)
    hits, values = 0, []
    for part in x.reshape(TRIALS, CHAINS, -1):
        found = fit(times, part, motion=motion)
        low, high = found.alpha_interval(0.95)
        hits += low <= ORDER <= high
        values.append(found.alpha)
    assert covers(hits, TRIALS, 0.95)
    assert abs(np.mean(values) - ORDER) < 0.05


@pytest.mark.twin
def test_law_rejects_the_curvature_of_a_composite_likelihood_as_error(seed):
    """Times of one chain taken as independent: intervals too short by far."""
    times, x = _paths(FLAT, ORDER, 0.0, CHAINS * TRIALS, seed, np.geomspace(0.1, 10.0, 24))
    hits = 0
    for part in x.reshape(TRIALS, CHAINS, -1)[:60]:
        found = fit_fractional_likelihood(times, part, motion="free")
        mixture = ClockMixture(motion="free", elapsed=times[1:], reference=1.0)
        theta = np.array([found.alpha, np.log(found.diffusion)])
        scores = mixture.scores(theta, part[:, 1:], part[:, 0])[1].reshape(-1, 2)
        reach = 1.96 * np.sqrt(np.linalg.inv(scores.T @ scores)[0, 0])
        hits += abs(found.alpha - ORDER) <= reach
    assert not covers(hits, 60, 0.95)


@pytest.mark.parametrize(
    ("few", "close"), [(_FEW, True), pytest.param(0, False, marks=pytest.mark.twin)]
)
def test_routes_agree_on_the_error_over_fits_without_each_chain(few, close, seed, monkeypatch):
    # One step of the jackknife states too small an error; two state that of whole fits.
    times, x = _paths(FLAT, ORDER, 0.0, 100, seed)
    left = [
        fit_fractional_moments(times, np.delete(x, r, axis=0), motion="free").alpha
        for r in range(100)
    ]
    monkeypatch.setattr("fracsde.estimators.fractional_moments._FEW", few)
    monkeypatch.setattr("fracsde.estimators.fractional_law._let_through", lambda error, *_: error)
    stated = fit_fractional_moments(times, x, motion="free").stderr
    exact = np.sqrt(99.0) * np.std(left)
    assert (abs(stated / exact - 1.0) < 0.03) == close


@pytest.mark.parametrize("share", [0.5, 0.8, 0.85])
def test_exact_likeliest_error_of_one_that_was_let_through(share):
    stated = np.log(_let_through(share * 0.1, 0.1, 17.0))
    spread = 32.0**-0.5
    law = stats.truncnorm(-np.inf, (np.log(0.1) - stated) / spread, stated, spread)
    assert abs(law.mean() - np.log(share * 0.1)) < 1e-8
    assert _let_through(0.099, 0.1, 17.0) == 0.1


def test_law_of_chains_at_rest_in_the_middle_still_shows_the_order(seed):
    """Nothing relaxes in the mean; the spread and the shape of the law do."""
    times, x = _paths(WELL, 0.5, 0.0, 1000, seed, np.geomspace(0.01, 3.0, 6))
    for fit in (fit_fractional_likelihood, fit_fractional_moments):
        found = fit(times, x)
        assert abs(found.alpha - 0.5) < 5.0 * found.stderr < 0.6
    times, x = _paths(WELL, 0.5, 0.0, 1000, seed, np.geomspace(0.01, 3.0, 8))
    assert not fit_fractional_order(times, x).identified


def test_limit_of_an_ordinary_clock_is_order_one(seed):
    times, x = _paths(WELL, 1.0, 1.5, 800, seed)
    for fit in (fit_fractional_likelihood, fit_fractional_moments):
        found = fit(times, x)
        assert found.alpha_interval(0.999)[1] == 1.0
        assert found.alpha_interval(0.999)[0] > 0.6
    likely = fit_fractional_likelihood(times, x)
    assert likely.log_likelihood >= likely.ordinary_log_likelihood


def test_exact_units_of_time_and_space_do_not_matter(seed):
    times, x = _paths(WELL, ORDER, 1.5, 200, seed)
    for fit in (fit_fractional_likelihood, fit_fractional_moments):
        plain, scaled = fit(times, x), fit(1e3 * times, 7.0 + 1e-2 * x)
        np.testing.assert_allclose(scaled.alpha, plain.alpha, rtol=1e-4)
        np.testing.assert_allclose(scaled.timescale, 1e3 * plain.timescale, rtol=1e-3)
        np.testing.assert_allclose(scaled.plateau, 7.0 + 1e-2 * plain.plateau, rtol=1e-4)
        np.testing.assert_allclose(scaled.variance, 1e-4 * plain.variance, rtol=1e-3)


def test_measurements_carry_units_and_chains(seed):
    times, x = _paths(FLAT, ORDER, 0.0, 128, seed)
    found = fit_fractional_moments(times, x, motion="free")
    order, scale = found.to_measurements()
    assert order.quantity.name == "fractional order"
    assert scale.quantity.unit == "x^2 t^-alpha"
    # Influences of chains are skewed, and count for fewer than there are.
    assert order.n_effective[0] == found.n_effective
    assert 2.0 < scale.n_effective[0] < order.n_effective[0] < 128.0


@pytest.mark.parametrize("fit", [fit_fractional_likelihood, fit_fractional_moments])
def test_refuses_what_cannot_be_fitted(fit, seed):
    x = np.random.default_rng(seed).normal(size=(32, 6))
    times = np.arange(6.0)
    with pytest.raises(RecordError, match="at least 16 chains"):
        fit(times, x[:8])
    with pytest.raises(RecordError, match="pass `starts`"):
        fit(times + 1.0, x)
    with pytest.raises(RecordError, match="must increase"):
        fit(times[::-1], x)
    with pytest.raises(RecordError, match="one per chain"):
        fit(times, x, starts=[0.0, 1.0])
    with pytest.raises(RecordError, match="no chain has moved"):
        fit(times, np.ones((32, 6)))
    with pytest.raises(InputError, match="motion"):
        fit(times, x, motion="ballistic")
    with pytest.raises(InputError):
        fit(times, np.where(x > 1.0, np.nan, x))


def test_refuses_several_starts_in_a_well_by_moments_and_takes_them_by_likelihood(seed):
    rng = np.random.default_rng(seed)
    halves = [_paths(WELL, ORDER, start, 200, seed + k) for k, start in enumerate((2.0, -1.0))]
    times, x = halves[0][0], np.concatenate([half[1] for half in halves])
    x = x[rng.permutation(400)]
    with pytest.raises(RecordError, match="one start for all chains"):
        fit_fractional_moments(times, x)
    found = fit_fractional_likelihood(times, x)
    assert abs(found.alpha - ORDER) < 5.0 * found.stderr


def test_keeps_arguments_unmodified(seed):
    times, x = _paths(WELL, ORDER, 1.5, 64, seed)
    copies = times.copy(), x.copy()
    fit_fractional_likelihood(times, x)
    fit_fractional_moments(times, x)
    np.testing.assert_array_equal(times, copies[0])
    np.testing.assert_array_equal(x, copies[1])

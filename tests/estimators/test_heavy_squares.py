"""Degrees of freedom that heavy-tailed squares leave a standard error."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.estimators import autocovariance_at, covariance_entries, variances
from fracsde.estimators.heavy_squares import (
    burden_of_largest,
    burden_of_run,
    burden_of_squares,
    largest_kept,
    lightened,
    sharper,
)
from fracsde.estimators.largest_squares import (
    largest_squares,
    largest_squares_reference,
    square_sums,
    square_sums_reference,
)
from fracsde.records.trajectory import Trajectory

COUNT = 40_000
K = 2.0 * COUNT**0.5


def _pareto(shape):
    """Squares at the quantiles of a generalised Pareto law."""
    left = (COUNT - np.arange(COUNT) - 0.5) / COUNT
    return ((left**-shape - 1.0) / shape)[:, None]


def _shape(burden):
    # What the burden says of the tail, its upper end taken back.
    return burden * (K / 300.0) ** 0.25 - K**-0.5


@pytest.mark.parametrize("shape", [0.1, 0.3, 0.45])
def test_exact_shape_of_a_generalised_pareto_law(shape):
    assert abs(_shape(burden_of_squares(_pareto(shape), COUNT)[0]) - shape) < 0.03


@pytest.mark.twin
def test_the_squares_of_another_shape_are_told_apart():
    assert abs(_shape(burden_of_squares(_pareto(0.3), COUNT)[0]) - 0.6) > 0.2


def test_the_largest_squares_are_all_that_is_needed(seed):
    y = np.random.default_rng(seed).lognormal(0.0, 2.0, (5000, 3))
    kept = largest_kept(5000, 5000.0)
    largest = np.sort(y, axis=0)[-kept:][::-1]
    np.testing.assert_allclose(burden_of_largest(largest, 5000.0), burden_of_squares(y, 5000.0))


def test_nothing_is_said_of_few_draws_equal_draws_or_light_tails(seed):
    rng = np.random.default_rng(seed)
    heavy = rng.lognormal(0.0, 2.0, (2000, 1))
    assert burden_of_squares(heavy, 99.0) == 0.0
    assert burden_of_squares(np.ones((2000, 1)), 2000.0) == 0.0
    assert burden_of_squares(rng.uniform(size=(2000, 1)), 2000.0) == 0.0
    np.testing.assert_allclose(lightened(np.array([50.0] * 2), np.array([0.0, 10.0])), [50.0, 2.0])


def test_the_burden_has_no_unit(seed):
    y = np.random.default_rng(seed).lognormal(0.0, 2.0, (2000, 2))
    scaled = burden_of_squares(y * [1e-140, 1e140], 2000.0)
    np.testing.assert_allclose(scaled, burden_of_squares(y, 2000.0))


@pytest.mark.parametrize("chains", [2, 32])
def test_law_variances_of_heavy_tails_have_wide_intervals(seed, chains):
    rng = np.random.default_rng(seed)
    draws = 3200 // chains
    heavy = variances(rng.lognormal(0.0, 1.0, (chains, draws, 8)))
    light = variances(rng.standard_normal((chains, draws, 8)))
    assert heavy.n_effective.max() < 10.0
    assert light.n_effective.min() > 15.0


def test_law_products_of_independent_factors_have_a_lighter_tail_than_squares(seed):
    x = np.random.default_rng(seed).standard_t(4.0, (COUNT, 2))
    own = burden_of_squares(np.abs(np.prod(x, axis=1))[:, None], COUNT)
    bound = burden_of_squares(np.square(x), COUNT).mean(keepdims=True)
    assert own[0] < 0.8 * bound[0]
    assert sharper(own, bound) == own
    assert sharper(0.0 * own, bound) == bound  # where nothing was seen


@pytest.mark.parametrize("chains", [2, 32])
def test_law_products_of_heavy_factors_have_more_freedom_than_squares(seed, chains):
    x = np.random.default_rng(seed).lognormal(0.0, 0.5, (chains, 3200 // chains, 40))
    squares = np.median(variances(x).n_effective)
    assert np.median(autocovariance_at(x, [3]).n_effective) > 1.3 * squares
    if chains == 2:
        pairs = [(i, i + 1) for i in range(39)]
        assert np.median(covariance_entries(x, pairs).n_effective) > 1.3 * squares


@pytest.mark.twin
def test_twin_products_of_equal_factors_have_not(seed):
    x = np.random.default_rng(seed).lognormal(0.0, 0.5, (2, 800, 8))
    pairs = [(i, 8 + i) for i in range(8)]
    twice = covariance_entries(np.concatenate([x, x], axis=2), pairs).n_effective
    np.testing.assert_allclose(twice, variances(x).n_effective, rtol=0.05)


def test_routes_agree_on_the_axes_of_a_run(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_t(4.0, (20, 60, 3))
    run = Trajectory(values=x, times=np.arange(60.0))
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    centre = x.mean(axis=(0, 1))
    turned = Trajectory(values=(x - centre) @ turn, times=run.times)
    np.testing.assert_allclose(
        burden_of_run(run, centre, axes=turn), burden_of_run(turned, np.zeros(3)), rtol=1e-9
    )


@pytest.mark.parametrize("width", [1, 3])
def test_engine_sums_of_squares_equal_the_reference(width, seed):
    rng = np.random.default_rng(seed)
    x, centre = rng.standard_t(3.0, (4, 50, width)), rng.standard_normal(width)
    found, expected = square_sums(x, centre), square_sums_reference(x, centre)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize("order", [1, -1, 0])
@pytest.mark.parametrize("k", [1, 7, 8, 100])
def test_engine_largest_squares_equal_the_reference(order, k, seed):
    x = np.random.default_rng(seed).integers(0, 40, (4, 25, 3)).astype(float)  # with ties
    if order:
        x = np.sort(x.reshape(100, 3), axis=0)[::order].copy().reshape(4, 25, 3)
    centre = np.array([0.0, 20.0, 3.0])
    found = np.sort(largest_squares(x, centre, 1, 3, k), axis=1)
    np.testing.assert_array_equal(found, largest_squares_reference(x, centre, 1, 3, k))


@pytest.mark.parametrize("held", [None, [150.0, 40.0, 400.0]])
def test_routes_agree_on_the_burden_of_a_run(held, seed):
    # Coordinates that keep unlike numbers of squares, of a run that is a view.
    x = np.random.default_rng(seed).lognormal(0.0, 1.0, (16, 25, 6))[..., ::2]
    run, centre = Trajectory(values=x, times=np.arange(25.0)), x.mean(axis=(0, 1))
    y = np.square(x - centre)
    if held is None:
        independent = y.var(axis=(0, 1)) / (y.mean(axis=1).var(axis=0, ddof=1) / 16.0)
        independent = np.clip(independent, 16.0, 400.0)
    else:
        independent = np.array(held)
    found = burden_of_run(run, centre, None if held is None else independent)
    np.testing.assert_allclose(found, burden_of_squares(y.reshape(400, 3), independent), rtol=1e-9)

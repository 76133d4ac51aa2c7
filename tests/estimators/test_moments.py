"""Means and covariances: unbiased, with errors that know about autocorrelation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fracsde.errors import RecordError, ShapeError
from fracsde.estimators import (
    covariance,
    covariance_entries,
    mean,
    standard_deviations,
    variances,
)
from fracsde.estimators.chains import as_trajectory, freedom
from fracsde.estimators.heavy_squares import burden_of_run, lightened
from fracsde.records import Trajectory
from tests.support.laws import covers, follows, honest
from tests.support.series import ar1, ar1_variance_of_autocovariance

TRIALS = 300


def _by_pairs(x):
    """The U-statistic over distinct chains, as it is written."""
    R = len(x)
    means = x.mean(axis=1)
    second = np.einsum("rni,rnj->ij", x, x) / (R * x.shape[1])
    cross = sum(np.outer(means[r], means[s]) for r in range(R) for s in range(R) if r != s)
    return second - cross / (R * (R - 1))


def test_exact_covariance_of_one_draw_per_chain_is_numpy_s(seed):
    x = np.random.default_rng(seed).standard_normal((40, 1, 3))
    np.testing.assert_allclose(covariance(x).matrix, np.cov(x[:, 0], rowvar=False), atol=1e-14)


def test_exact_value_and_error_are_those_of_the_deleted_chains(seed):
    x = 5.0 + ar1(np.random.default_rng(seed), 17, 12, 0.9, 3)
    found = covariance(x)
    np.testing.assert_allclose(found.matrix, _by_pairs(x), atol=1e-12)
    deleted = np.stack([_by_pairs(np.delete(x, r, axis=0)) for r in range(17)])
    expected = np.sqrt(16 / 17 * np.square(deleted - deleted.mean(axis=0)).sum(axis=0))
    np.testing.assert_allclose(found.stderr, expected, rtol=1e-9)


@pytest.mark.parametrize("chains", [4, 30])
@pytest.mark.parametrize("about", [None, 0.0])
def test_routes_agree_between_matrix_variances_and_entries(chains, about, seed):
    x = ar1(np.random.default_rng(seed), chains, 400, 0.5, 3)
    full = covariance(x, about)
    diagonal, above = variances(x, about), covariance_entries(x, None, about)
    for a, b in [(full.variances(), diagonal), (full.entries(), above)]:
        np.testing.assert_allclose(a.value, b.value, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(a.stderr, b.stderr, rtol=1e-9)
        assert a.quantity == b.quantity
    np.testing.assert_array_equal(full.matrix, full.matrix.T)
    np.testing.assert_allclose(standard_deviations(x, about).value ** 2, diagonal.value)


def test_exact_for_many_blocks_of_chains(seed):
    x = np.random.default_rng(seed).standard_normal((300, 2000, 2))
    found = covariance(x, 0.0)
    per_chain = np.einsum("rni,rnj->rij", x, x) / 2000
    np.testing.assert_allclose(found.matrix, per_chain.mean(axis=0), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.stderr, stats.sem(per_chain, axis=0), rtol=1e-10)


def test_exact_effective_number_of_many_blocks_of_chains(seed):
    # The kurtosis of the jackknife's pseudo-values, merged over blocks, is that of all at once.
    x = np.random.default_rng(seed).exponential(size=(300, 2000, 2)) ** 2
    per_chain = np.einsum("rni,rnj->rij", x, x) / 2000
    away = per_chain - per_chain.mean(axis=0)
    square, fourth = (away**2).mean(axis=0), (away**4).mean(axis=0)
    scale = np.sqrt(np.multiply.outer(*[np.square(x).mean(axis=(0, 1))] * 2))
    burden = burden_of_run(as_trajectory(x), np.zeros(2))
    plain = freedom(square, fourth, 300.0, scale)
    expected = lightened(plain, 0.5 * (burden[:, None] + burden))
    np.testing.assert_allclose(covariance(x, 0.0).n_effective, expected, rtol=1e-9)
    assert expected.max() < 200  # the tails are felt
    unbiased = stats.kurtosis(per_chain, axis=0, bias=False)
    np.testing.assert_allclose(plain, 1 + 2 * 299 / (2 + unbiased), rtol=1e-9)


def test_effective_number_of_normal_values_is_that_of_the_chains(seed):
    x = np.random.default_rng(seed).standard_normal((400, 500, 1))
    assert 300 < variances(x).n_effective[0] <= 400


def test_keeps_its_errors_where_fourth_powers_overflow(seed):
    x = ar1(np.random.default_rng(seed), 20, 100, 0.5)
    for scale in (1e60, 1e-60):
        m, plain = variances(scale * x), variances(x)
        np.testing.assert_allclose(m.stderr / m.value, plain.stderr / plain.value, rtol=1e-9)
        assert 2 <= m.n_effective[0] <= 20


def test_keeps_its_digits_beside_a_large_offset(seed):
    x = ar1(np.random.default_rng(seed), 20, 100, 0.5, 2)
    np.testing.assert_allclose(covariance(x + 1e6).matrix, covariance(x).matrix, atol=1e-8)


def _errors(seed, measure, chains, draws, phi):
    rng = np.random.default_rng(seed)
    return [measure(ar1(rng, chains, draws, phi)) for _ in range(TRIALS)]


def _coverage(found, truth):
    hits = 0
    for m in found:
        reach = stats.t.ppf(0.975, m.n_effective[0] - 1) * m.stderr[0]
        hits += bool(abs(m.value[0] - truth) <= reach)
    return covers(hits, len(found), 0.95)


@pytest.mark.parametrize(("chains", "draws"), [(1, 3000), (4, 1000), (32, 40)])
@pytest.mark.parametrize(
    ("measure", "truth"), [(mean, 0.0), (variances, 1.0), (standard_deviations, 1.0)]
)
def test_law_intervals_cover_and_errors_are_the_spread(measure, truth, chains, draws, seed):
    found = _errors(seed, measure, chains, draws, 0.8)
    assert _coverage(found, truth)
    assert honest([m.value[0] for m in found], [m.stderr[0] for m in found])


def _as_if_independent(x):
    """The textbook error of a mean over all draws, blind to autocorrelation."""
    flat = Trajectory(values=x.reshape(-1, 1, 1), times=[0.0])
    return mean(flat)


@pytest.mark.twin
@pytest.mark.parametrize("measure", [_as_if_independent, lambda x: variances(x.reshape(-1, 1, 1))])
def test_law_errors_that_ignore_autocorrelation_are_rejected(measure, seed):
    found = _errors(seed, measure, 4, 1000, 0.8)
    truth = 0.0 if measure is _as_if_independent else 1.0
    assert not _coverage(found, truth)
    assert not honest([m.value[0] for m in found], [m.stderr[0] for m in found])


@pytest.mark.parametrize(("chains", "draws"), [(2, 20_000), (400, 100)])
def test_law_error_of_a_variance_has_its_closed_form(chains, draws, seed):
    phi = 0.7
    exact = np.sqrt(ar1_variance_of_autocovariance(draws, phi, 0) / chains)
    m = variances(ar1(np.random.default_rng(seed), chains, draws, phi), 0.0)
    assert follows(m.value[0], 1.0, exact)
    # The error of an error from n values is 1 / sqrt(2 n).
    assert follows(m.stderr[0], exact, exact / np.sqrt(2 * m.n_effective[0]))


def test_law_short_chains_bias_nothing(seed):
    # Fifty draws of tau = 39: removing each chain's own mean would lose most of the variance.
    rng = np.random.default_rng(seed)
    found = variances(ar1(rng, 2000, 50, 0.95))
    exact = np.sqrt(ar1_variance_of_autocovariance(50, 0.95, 0) / 2000)
    assert follows(found.value[0], 1.0, exact)


@pytest.mark.twin
def test_law_removing_each_chain_s_mean_is_rejected(seed):
    x = ar1(np.random.default_rng(seed), 2000, 50, 0.95)
    found = variances(x - x.mean(axis=1, keepdims=True))
    exact = np.sqrt(ar1_variance_of_autocovariance(50, 0.95, 0) / 2000)
    assert not follows(found.value[0], 1.0, exact)


def test_law_off_diagonal_of_correlated_coordinates(seed):
    x = ar1(np.random.default_rng(seed), 64, 200, 0.6, 2)
    mixed = x @ np.array([[1.0, 0.5], [0.0, np.sqrt(0.75)]])
    m = covariance_entries(mixed, [(0, 1), (1, 1)])
    assert follows(m.value, [0.5, 1.0], m.stderr)
    assert m.quantity.labels == ("0, 1", "1, 1")


def test_refuses_few_chains_of_one_draw(seed):
    x = np.random.default_rng(seed).standard_normal((8, 1, 2))
    with pytest.raises(RecordError, match="run at least 16 chains or record more draws"):
        mean(x)


@pytest.mark.parametrize("chains", [3, 20])
@pytest.mark.parametrize("measure", [mean, variances, covariance])
def test_refuses_a_constant_coordinate(measure, chains, seed):
    x = np.random.default_rng(seed).standard_normal((chains, 100, 2))
    x[..., 1] = 3.0
    with pytest.raises(RecordError, match="constant coordinates"):
        measure(x)


@pytest.mark.parametrize("pairs", [[(0, 2)], [(-1, 0)], [], [(0.5, 1.0)]])
def test_refuses_pairs_that_do_not_exist(pairs):
    x = np.random.default_rng(0).standard_normal((20, 10, 2))
    with pytest.raises(ShapeError):
        covariance_entries(x, pairs)


def test_refuses_off_diagonals_of_one_coordinate():
    with pytest.raises(ShapeError, match="ask for `variances`"):
        covariance_entries(np.random.default_rng(0).standard_normal((20, 10, 1)))

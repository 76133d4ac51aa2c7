"""Exponents by likelihood: the dense formula, and intervals that cover where lines do not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg, stats

from fracsde.errors import RecordError
from fracsde.estimators import exponent_by_likelihood, mean_square_displacement
from fracsde.estimators.exponent_likelihood import increments_covariance
from fracsde.estimators.toeplitz import innovations, innovations_reference
from tests.support.laws import covers, follows, honest
from tests.support.series import fractional_walk

TRIALS = 300


@pytest.mark.parametrize("exponent", [0.02, 0.3, 0.5, 0.9, 0.995])
@pytest.mark.parametrize("size", [1, 2, 300])
def test_engine_schur_equals_a_dense_factorisation(exponent, size, seed):
    gamma = increments_covariance(exponent, size)
    series = np.random.default_rng(seed).standard_normal((3, size))
    log_det, white = innovations(gamma, series)
    expected, reference = innovations_reference(gamma, series)
    condition = np.linalg.cond(linalg.toeplitz(gamma))
    assert abs(log_det - expected) <= 1e-13 * size * condition
    np.testing.assert_allclose(white, reference, atol=1e-14 * condition * size**0.5)


def test_exact_matrices_that_are_not_positive_give_no_likelihood():
    assert np.isnan(innovations(np.array([1.0, 1.1, 0.3]), np.ones((1, 3)))[0])
    assert np.isnan(innovations(np.array([1.0, -0.9, -0.9]), np.ones((1, 3)))[0])


@pytest.mark.parametrize("exponent", [0.1, 0.45, 0.8])
def test_exact_covariance_of_increments_adds_up_to_the_displacement(exponent):
    gamma = increments_covariance(exponent, 400)
    # Var(sum of n increments) = n^(2 H).
    for n in (1, 2, 37, 400):
        k = np.arange(1, n)
        total = n * gamma[0] + 2 * ((n - k) * gamma[k]).sum()
        assert abs(total / n ** (2 * exponent) - 1) < 1e-10


def test_exact_covariance_far_out_keeps_its_digits():
    # H (2 H - 1) k^(2 H - 2), the next term is smaller by 1 / k^2; plain differences lose it.
    k, exponent = 10**6, 0.3
    found = increments_covariance(exponent, k + 1)[k]
    expected = exponent * (2 * exponent - 1) * float(k) ** (2 * exponent - 2)
    assert abs(found / expected - 1) < 1e-8


def _dense(x, exponent, ratio=0.0):
    steps = np.diff(x, axis=1)
    n = steps.shape[1]
    T = linalg.toeplitz(increments_covariance(exponent, n))
    T += ratio * linalg.toeplitz(np.concatenate([[2.0, -1.0], np.zeros(n - 2)]))
    total = 0.0
    for c in range(steps.shape[2]):
        y = steps[:, :, c]
        scale = np.einsum("ri,ij,rj->", y, np.linalg.inv(T), y) / y.size
        total += stats.multivariate_normal(cov=scale * T).logpdf(y).sum()
    return total


@pytest.mark.parametrize("noise", [False, True])
def test_routes_agree_with_the_density_of_the_increments(noise, seed):
    rng = np.random.default_rng(seed)
    x = fractional_walk(rng, 6, 50, 0.4).reshape(3, 2, 50).swapaxes(1, 2)
    x += 0.5 * noise * rng.standard_normal(x.shape)
    found = exponent_by_likelihood(x, noise=noise)
    ratio = found.noise[0] / found.amplitude[0]
    at = found.value[0]
    assert abs(found.log_likelihood - _dense(x, at, ratio)) < 1e-8 * abs(found.log_likelihood)
    assert found.log_likelihood >= max(_dense(x, at - 0.02, ratio), _dense(x, at + 0.02, ratio))


def _coverage(seed, hurst, error, *, noise=0.0, drift=0.0, draws=150, trials=TRIALS):
    rng = np.random.default_rng(seed)
    paths = fractional_walk(rng, trials, draws, hurst)
    paths = paths + noise * rng.standard_normal(paths.shape)
    paths = paths + drift * np.arange(draws)[:, None]
    found = np.array([error(x[None]) for x in paths])
    hits = int((np.abs(found[:, 0] - hurst) <= 1.96 * found[:, 1]).sum())
    return covers(hits, trials, 0.95), honest(found[:, 0], found[:, 1])


def _likelihood(**kept):
    def measure(x):
        found = exponent_by_likelihood(x, **kept)
        return found.value[0], found.stderr[0]

    return measure


def _line(x):
    lags = np.unique(np.geomspace(1, 50, 20).astype(int)).tolist()
    moved = mean_square_displacement(x, lags, kind="time_averaged")
    line = stats.linregress(np.log(moved.times), 0.5 * np.log(moved.value))
    return line.slope, line.stderr


@pytest.mark.parametrize("hurst", [0.2, 0.35, 0.5, 0.7])
def test_law_intervals_cover_from_a_single_chain(hurst, seed):
    covered, right = _coverage(seed, hurst, _likelihood())
    assert covered
    assert right


@pytest.mark.twin
@pytest.mark.parametrize("hurst", [0.2, 0.7])
def test_law_residuals_of_a_line_do_not_cover(hurst, seed):
    covered, right = _coverage(seed, hurst, _line)
    assert not covered
    assert not right


def test_law_noise_is_found_beside_the_exponent(seed):
    assert _coverage(seed, 0.6, _likelihood(noise=True), noise=0.5, trials=120)[0]


@pytest.mark.twin
def test_law_noise_that_is_not_allowed_for_is_rejected(seed):
    assert not _coverage(seed, 0.6, _likelihood(), noise=0.5)[0]


def test_law_drift_is_found_beside_the_exponent(seed):
    covered, right = _coverage(seed, 0.4, _likelihood(drift=True), drift=0.5)
    assert covered
    assert right


@pytest.mark.twin
def test_law_drift_that_is_not_allowed_for_is_rejected(seed):
    assert not _coverage(seed, 0.4, _likelihood(), drift=0.5)[0]


def test_law_chains_and_coordinates_add_up_and_amplitudes_are_found(seed):
    rng = np.random.default_rng(seed)
    x = fractional_walk(rng, 60, 300, 0.3).reshape(20, 3, 300).swapaxes(1, 2)
    x = x * np.array([1.0, 3.0, 10.0])
    found = exponent_by_likelihood(x)
    assert follows(found.value[0], 0.3, found.stderr[0])
    assert found.stderr[0] < 0.006
    one = exponent_by_likelihood(x[:1, :, :1])
    assert 6.0 < one.stderr[0] / found.stderr[0] < 9.5  # sqrt(60), and what one chain says of it
    np.testing.assert_allclose(found.amplitude, [1.0, 9.0, 100.0], rtol=0.1)
    assert np.all(found.noise == 0.0)


@pytest.mark.parametrize("hurst", [0.02, 0.97])
def test_law_exponents_near_their_ends_are_measured(hurst, seed):
    found = exponent_by_likelihood(fractional_walk(np.random.default_rng(seed), 20, 300, hurst))
    assert follows(found.value[0], hurst, found.stderr[0])


def test_refuses_what_is_no_self_similar_motion():
    t = np.arange(200.0)
    with pytest.raises(RecordError, match="smoother than self-similar motion"):
        exponent_by_likelihood((np.sin(0.01 * t) * 100 + 1e-6 * t**2)[None, :, None])
    white = np.random.default_rng(1).standard_normal(200)
    pair = white - 0.9 * np.roll(white, 1)
    with pytest.raises(RecordError, match="rougher than self-similar motion"):
        exponent_by_likelihood(pair[None, :, None])


def test_refuses_records_without_an_exponent():
    x = np.random.default_rng(0).standard_normal((2, 200, 2)).cumsum(axis=1)
    with pytest.raises(RecordError, match="got 29; record longer"):
        exponent_by_likelihood(x[:, :30])
    with pytest.raises(RecordError, match="keep every k-th draw"):
        exponent_by_likelihood(np.zeros((1, 100_002, 1)))
    x[1, :, 1] = 3.0
    with pytest.raises(RecordError, match="coordinate 1 of some chain"):
        exponent_by_likelihood(x)

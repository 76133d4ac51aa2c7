"""Ranks across chains: the published algorithm, as it is written and as ArviZ runs it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fracsde.errors import RecordError
from fracsde.estimators import bulk_effective_size, rank_r_hat, split_r_hat, tail_effective_size
from tests.support.series import ar1

# ArviZ 0.22.0: rhat(x), ess(x, method="bulk"), ess(x, method="tail") of ``_series``.
ARVIZ = {
    (4, 200, 0.05): (1.0202038715025497, 33.42022261267122, 141.8286001519568),
    (3, 101, 2.9): (0.9996914506594277, 743.1363764158988, 267.99136761787656),
    (2, 60, 0.7): (0.9878072891421474, 55.987155998876794, 142.28971962616822),
}


def _series(chains, draws, a):
    r, t = np.arange(chains)[:, None], np.arange(draws)
    x = np.sin(a * t + r) + 0.5 * np.sin(2.3 * (t + 1.0) ** 1.5 + 5 * r) + 0.1 * r
    # In units of 2^-20: the two draws beside the median are equally far from it, whatever rounding
    # the sine of the machine has.
    return np.round(x * 2**20)[..., None] / 2**20


@pytest.mark.parametrize("shape", ARVIZ)
def test_exact_values_are_those_of_arviz(shape):
    x = _series(*shape)
    found = rank_r_hat(x)[0], bulk_effective_size(x)[0], tail_effective_size(x)[0]
    np.testing.assert_allclose(found, ARVIZ[shape], rtol=1e-12)


def test_rounding_beside_the_median_is_nothing():
    x, apart = _series(3, 101, 2.9), 0
    for scale in 1 / np.arange(3.0, 13.0):
        found = scale * x
        assert rank_r_hat(found)[0] == pytest.approx(rank_r_hat(x)[0], rel=1e-13)
        halves = np.sort(np.delete(found, 50, axis=1).ravel())
        low, high = np.abs(halves[149:151] - np.median(halves))
        apart += low != high
    assert apart > 0  # so plain distances would be ranked by their rounding


def _geyer(x):
    """The effective size, one lag at a time, as the reference manual of Stan states it."""
    m, n = x.shape
    means = x.mean(axis=1)
    inside = x.var(axis=1, ddof=1).mean()
    whole = inside * (n - 1) / n + (means.var(ddof=1) if m > 1 else 0.0)

    def rho(k):
        away = x - means[:, None]
        covariance = (away[:, : n - k] * away[:, k:]).sum(axis=1) / n
        return 1.0 - (inside - covariance.mean()) / whole

    values, t = [1.0, rho(1)], 1
    while t < n - 3 and values[-2] + values[-1] > 0:
        values += [rho(t + 1), rho(t + 2)]
        t += 2
    pairs = [values[k] + values[k + 1] for k in range(0, len(values) - 2, 2)]
    total = 2 * sum(min(pairs[: k + 1]) for k in range(len(pairs)))
    tau = -1 + total + max(values[-2], 0.0)
    return m * n / max(tau, 1 / np.log10(m * n))


@pytest.mark.parametrize(
    ("chains", "draws", "phi"), [(4, 200, 0.8), (1, 100, -0.7), (3, 60, 0.99), (2, 40, -0.99)]
)
def test_routes_agree_with_the_sum_as_it_is_written(chains, draws, phi, seed):
    x = ar1(np.random.default_rng(seed), chains, draws, phi)
    half = draws // 2
    split = np.concatenate([x[:, :half, 0], x[:, half:, 0]])
    scores = stats.norm.ppf((stats.rankdata(split) - 0.375) / (split.size + 0.25))
    np.testing.assert_allclose(
        bulk_effective_size(x)[0], _geyer(scores.reshape(split.shape)), rtol=1e-9
    )
    sides = [_geyer((split <= np.quantile(x, q)).astype(float)) for q in (0.05, 0.95)]
    np.testing.assert_allclose(tail_effective_size(x)[0], min(sides), rtol=1e-9)


@pytest.mark.twin
def test_plain_autocovariances_are_not_the_published_sum(seed):
    x = ar1(np.random.default_rng(seed), 4, 200, 0.8)
    assert abs(_geyer(x[..., 0]) / bulk_effective_size(x)[0] - 1.0) > 1e-3


def test_law_effective_size_of_an_autoregression(seed):
    x = ar1(np.random.default_rng(seed), 8, 5000, 0.8)
    assert abs(bulk_effective_size(x)[0] / (40_000 / 9) - 1.0) < 0.15


def test_exact_under_monotone_maps(seed):
    x = ar1(np.random.default_rng(seed), 4, 300, 0.5, 2)
    np.testing.assert_allclose(bulk_effective_size(np.exp(3 * x)), bulk_effective_size(x))
    np.testing.assert_allclose(rank_r_hat(-5 * x + 2), rank_r_hat(x), rtol=1e-9)


def test_chains_that_differ_in_width_alone_are_seen(seed):
    x = np.random.default_rng(seed).standard_normal((4, 1000, 1))
    x[0] *= 4.0
    assert rank_r_hat(x)[0] > 1.1
    assert split_r_hat(x)[0] < 1.02  # which looks at means alone


def test_chains_that_stand_still_apart_have_a_huge_r_hat():
    assert rank_r_hat(np.repeat([[[0.0]], [[1.0]]], 30, axis=1))[0] > 1e6


@pytest.mark.parametrize("measure", [rank_r_hat, bulk_effective_size, tail_effective_size])
def test_refuses_few_draws_and_constants(measure):
    with pytest.raises(RecordError, match="at least 20 draws, got 19"):
        measure(np.random.default_rng(0).standard_normal((4, 19, 1)))
    with pytest.raises(RecordError, match="drop constant"):
        measure(np.ones((4, 40, 1)))

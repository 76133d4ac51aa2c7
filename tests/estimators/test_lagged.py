"""Autocovariances at chosen lags: unbiased, with errors that are the spread."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.errors import RecordError
from fracsde.estimators import autocorrelation_at, autocovariance, autocovariance_at, variances
from tests.support.laws import covers, follows, honest
from tests.support.series import ar1, ar1_variance_of_autocovariance


@pytest.mark.parametrize("chains", [3, 20])
def test_exact_value_is_the_one_by_fft_about_a_known_mean(chains, seed):
    x = ar1(np.random.default_rng(seed), chains, 400, 0.7, 2)
    m = autocovariance_at(x, [1, 6], mean=[0.0, 0.0])
    np.testing.assert_allclose(m.value, autocovariance(x, 6, mean=[0.0, 0.0])[[1, 6]].ravel())
    assert m.quantity.labels == ("0 at lag 1", "1 at lag 1", "0 at lag 6", "1 at lag 6")
    assert m.quantity.unit == "weight^2"


@pytest.mark.parametrize(("chains", "draws"), [(2, 20_000), (400, 100)])
@pytest.mark.parametrize("lag", [1, 4])
def test_law_value_and_error_have_their_closed_forms(chains, draws, lag, seed):
    phi = 0.7
    exact = np.sqrt(ar1_variance_of_autocovariance(draws, phi, lag) / chains)
    m = autocovariance_at(ar1(np.random.default_rng(seed), chains, draws, phi), [lag], mean=[0.0])
    assert follows(m.value[0], phi**lag, exact)
    assert follows(m.stderr[0], exact, exact / np.sqrt(2 * m.n_effective[0]))


def test_law_the_removed_mean_costs_nothing(seed):
    rng = np.random.default_rng(seed)
    for chains, draws in [(20, 30), (2, 600)]:
        found = [autocovariance_at(ar1(rng, chains, draws, 0.8), [2]) for _ in range(200)]
        value = np.array([m.value[0] for m in found])
        noise = value.std() / np.sqrt(200)
        assert abs(value.mean() - 0.64) < 5 * noise
        assert honest(value, [m.stderr[0] for m in found])


@pytest.mark.twin
def test_law_errors_of_independent_products_are_rejected(seed):
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(200):
        x = ar1(rng, 2, 600, 0.8)
        products = x[:, :-2] * x[:, 2:]
        error = products.std() / np.sqrt(products.size)
        hits += bool(abs(products.mean() - 0.64) < 1.96 * error)
    assert not covers(hits, 200, 0.95)


def test_routes_agree_with_the_correlation_times_the_variance(seed):
    x = ar1(np.random.default_rng(seed), 100, 500, 0.7)
    rho, c = autocorrelation_at(x, [3]), autocovariance_at(x, [3])
    np.testing.assert_allclose(c.value, rho.value * variances(x).value, rtol=2e-3)


@pytest.mark.parametrize("chains", [2, 20])
def test_refuses_lags_and_constant_series(chains, seed):
    x = np.random.default_rng(seed).standard_normal((chains, 200, 1))
    with pytest.raises(RecordError, match="between 1 and 199"):
        autocovariance_at(x, [0])
    with pytest.raises(RecordError, match="ask for other lags"):
        autocovariance_at(x, [200])
    with pytest.raises(RecordError, match=r"drop constant|does not vary"):
        autocovariance_at(np.ones((chains, 200, 1)), [1])


def test_refuses_a_lag_that_leaves_one_pair(seed):
    with pytest.raises(RecordError, match="leaves one pair"):
        autocovariance_at(np.random.default_rng(seed).standard_normal((2, 200, 1)), [199])

"""Autocovariance by FFT against sums and against the law of an autoregression."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.errors import RecordError
from fracsde.estimators import autocovariance
from fracsde.estimators.autocovariance import lagged_products
from fracsde.records import Trajectory
from tests.support.damage import off_by_one
from tests.support.laws import follows
from tests.support.series import ar1, ar1_variance_of_autocovariance


def _by_sums(x, mean, last):
    x = x - mean
    draws = x.shape[1]
    sums = [(x[:, : draws - k] * x[:, k:]).mean(axis=1) for k in range(last + 1)]
    return np.stack(sums, axis=1)


@pytest.mark.parametrize("shape", [(1, 2, 1), (3, 17, 2), (2, 256, 1), (5, 101, 3)])
def test_routes_agree_with_direct_sums(shape, seed):
    x = np.random.default_rng(seed).standard_normal(shape)
    last = shape[1] - 1
    expected = _by_sums(x, x.mean(axis=(0, 1)), last)
    np.testing.assert_allclose(autocovariance(x, per_chain=True), expected, atol=1e-13)
    np.testing.assert_allclose(autocovariance(x), expected.mean(axis=0), atol=1e-13)
    short = autocovariance(x, last // 2)
    np.testing.assert_allclose(short, expected.mean(axis=0)[: last // 2 + 1], atol=1e-13)


def test_exact_for_many_blocks_of_chains(seed):
    x = np.random.default_rng(seed).standard_normal((130, 3000, 3))
    expected = np.square(x - x.mean(axis=(0, 1))).mean(axis=(0, 1))
    np.testing.assert_allclose(autocovariance(x, 1)[0], expected, rtol=1e-12)


def test_keeps_its_digits_beside_a_large_offset(seed):
    x = np.random.default_rng(seed).standard_normal((4, 500, 1))
    # The offset itself rounds the record to 1e-10.
    np.testing.assert_allclose(autocovariance(x + 1e6, 5), autocovariance(x, 5), atol=1e-8)


LAGS = (1, 3, 10)


def _law(seed, at=lambda k: k):
    chains, draws, phi = 400, 200, 0.8
    found = autocovariance(ar1(np.random.default_rng(seed), chains, draws, phi), 20, mean=0.0)
    errors = [np.sqrt(ar1_variance_of_autocovariance(draws, phi, k) / chains) for k in LAGS]
    return follows([found[at(k), 0] for k in LAGS], [phi**k for k in LAGS], errors)


def test_law_is_unbiased_for_an_autoregression(seed):
    assert _law(seed)


@pytest.mark.twin
def test_law_rejects_a_lag_off_by_one(seed):
    assert not _law(seed, off_by_one(lambda k: k))


def test_refuses_a_lag_beyond_the_record():
    with pytest.raises(RecordError, match="lags up to 9; ask for a smaller lag"):
        autocovariance(np.zeros((2, 10, 1)), 10)


def test_refuses_unequal_spacing():
    run = Trajectory(values=np.zeros((2, 3, 1)), times=[0.0, 1.0, 3.0])
    with pytest.raises(RecordError, match="equally spaced"):
        autocovariance(run)


@pytest.mark.parametrize("draws", [8 * 1024 + 1, 9 * 1024, 70 * 1024 + 5])
@pytest.mark.parametrize("last", [0, 1, 1000, 1023])
def test_routes_agree_few_lags_by_blocks_and_by_one_transform(draws, last, seed: int) -> None:
    x = np.cumsum(np.random.default_rng(seed).standard_normal((2, 3, draws)), axis=-1) / draws**0.5
    found, whole = lagged_products(x, last), lagged_products(x, draws - 1)[..., : last + 1]
    assert found.shape == (2, 3, last + 1)
    scale = np.square(x).sum(axis=-1, keepdims=True)
    assert np.abs((found - whole) / scale).max() < 1e-14
    direct = (x[0, 0, : draws - last] * x[0, 0, last:]).sum()
    assert abs(found[0, 0, last] - direct) < 1e-13 * scale[0, 0, 0]

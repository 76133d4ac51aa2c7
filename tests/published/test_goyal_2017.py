"""Goyal et al. 2017: the linear scaling rule, that only rate over batch size matters."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.problems.least_squares import GaussianLeastSquaresSGD
from fracsde.stationary import stationary_covariance


def variance(rate: float, batch: int) -> float:
    sgd = GaussianLeastSquaresSGD(
        covariance=np.eye(10), label_noise=1.0, learning_rate=rate, batch_size=batch
    )
    return float(stationary_covariance(sgd).matrix[0, 0])


def test_rate_over_batch_fixes_the_variance_of_small_rates_and_large_batches() -> None:
    # eta s^2 / (2 B) to an error of the rate plus that of (d + 1) eta / (2 B).
    for batch in (100, 200):
        assert variance(1e-5 * batch, batch) == pytest.approx(0.5e-5, rel=2e-3)


def test_at_a_fixed_ratio_the_variance_grows_fourfold_with_the_batch() -> None:
    ratio = 0.02
    found = [variance(ratio * batch, batch) for batch in (1, 8, 32, 64)]
    # Exactly eta / (2 B - eta B - eta (d + 1)); the rule says 0.01 for all.
    exact = [ratio / (2 - ratio * batch - 11 * ratio) for batch in (1, 8, 32, 64)]
    np.testing.assert_allclose(found, exact, rtol=1e-13)
    np.testing.assert_allclose(np.array(found) / 0.01, [1.136, 1.235, 1.754, 4.0], rtol=1e-3)


def test_at_a_fixed_ratio_small_batches_diverge_at_large_ratios() -> None:
    # The rule promises the same law at every batch; the second moment ends at 2 B / (B + d + 1).
    with pytest.raises(ValueError, match="second moment"):
        variance(0.2, 1)
    assert variance(0.2, 64) < 1.3 * 0.2 / 128

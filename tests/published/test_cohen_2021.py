"""Cohen et al. 2021: stable below 2 over the sharpness, read as a limit on mini-batch SGD."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.problems.least_squares import GaussianLeastSquaresSGD, LeastSquaresSGD
from fracsde.transients import covariance_at, mean_at


def test_two_over_the_sharpness_limits_full_batches_and_the_mean() -> None:
    rng = np.random.default_rng(2021)
    X, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    whole = LeastSquaresSGD(
        inputs=X, targets=y, learning_rate=0.1, batch_size=20, sampling="without_replacement"
    )
    limit = 2.0 / np.linalg.eigvalsh(X.T @ X / 20)[-1]
    assert whole.critical_learning_rate() == pytest.approx(limit, rel=1e-13)
    one = LeastSquaresSGD(inputs=X, targets=y, learning_rate=0.98 * limit, batch_size=1)
    start = one.minimum + 1.0
    assert np.abs(mean_at(one, [2000], start)[0] - one.minimum).max() < 1e-10
    assert np.trace(covariance_at(one, [200], initial=start)[0]) > 1e20


@pytest.mark.parametrize(("dimension", "batch", "factor"), [(10, 1, 12.0), (10, 8, 2.375)])
def test_it_overstates_the_limit_of_the_second_moment(dimension, batch, factor) -> None:
    sgd = GaussianLeastSquaresSGD(
        covariance=np.eye(dimension), label_noise=1.0, learning_rate=0.1, batch_size=batch
    )
    limits = sgd.stability()
    assert limits.mean == pytest.approx(2.0)
    assert limits.mean / limits.second_moment == pytest.approx(factor, rel=1e-13)

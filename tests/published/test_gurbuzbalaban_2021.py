"""Where the variance ends, by Gurbuzbalaban, Simsekli, Zhu (ICML 2021): it holds."""

from __future__ import annotations

import numpy as np
import pytest

import fracsde as fs


def _sgd(rate, batch, d, variance):
    return fs.GaussianLeastSquaresSGD(
        covariance=variance * np.eye(d), label_noise=1.0, learning_rate=rate, batch_size=batch
    )


@pytest.mark.parametrize(("batch", "d", "variance"), [(1, 1, 1.0), (4, 10, 2.0), (10, 100, 0.5)])
def test_threshold_holds_in_every_dimension(batch, d, variance):
    rate = 2.0 * batch / (variance * (batch + d + 1))
    assert abs(fs.tail_index(_sgd(rate, batch, d, variance)).index - 2.0) < 1e-9
    assert abs(_sgd(0.1, batch, d, variance).critical_learning_rate() - rate) < 1e-9 * rate
    assert fs.tail_index(_sgd(0.9 * rate, batch, d, variance)).index > 2.0
    heavier = fs.tail_index(_sgd(1.1 * rate, batch, d, variance), throw=False)
    assert not heavier.index >= 2.0  # below two, or no law any more


def test_index_falls_with_rate_variance_and_dimension_and_rises_with_the_batch():
    def index(rate=0.7, batch=4, d=3, variance=1.0):
        return fs.tail_index(_sgd(rate, batch, d, variance)).index

    assert index() > index(rate=0.8)
    assert index() > index(variance=1.3)
    assert index() > index(d=4)
    assert index() < index(batch=5)


@pytest.mark.twin
def test_threshold_is_not_that_of_the_mean():
    # Where the mean stops converging, 2 / variance, the variance has long been infinite.
    assert fs.tail_index(_sgd(1.9, 4, 1, 1.0), throw=False).index < 1.0

"""Tail indices of Ziyin, Liu, Mori, Ueda (ICLR 2022): right at one point, off elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

import fracsde as fs
from fracsde.estimators import hill
from tests.support.laws import follows


def _exact(rate, batch):
    sgd = fs.GaussianLeastSquaresSGD(
        covariance=[[1.0]], label_noise=1.0, learning_rate=rate, batch_size=batch
    )
    return fs.tail_index(sgd).index


def _discrete(rate, batch):
    """Their estimate for the steps themselves, ``2 S / (a lambda) - S``."""
    return 2.0 * batch / rate - batch


def _continuous(rate, batch):
    """Of the density ``(s^2 + a w^2)^(-(1 + beta) / 2)`` of the flow, ``2 S / (a lambda) + 1``."""
    return 2.0 * batch / rate + 1.0


@pytest.mark.parametrize("batch", [1, 2, 5, 16])
def test_discrete_index_holds_where_it_equals_two(batch):
    rate = 2.0 * batch / (batch + 2)
    assert abs(_discrete(rate, batch) - 2.0) < 1e-14
    assert abs(_exact(rate, batch) - 2.0) < 1e-11


@pytest.mark.parametrize(
    ("rate", "batch", "exact"),
    [
        (1.0, 1, 1.09),
        (1.0, 4, 3.50),
        (1.0, 8, 6.20),
        (1.0, 16, 11.4),
        (0.5, 4, 9.98),
        (0.5, 16, 36.6),
    ],
)
def test_discrete_index_fails_elsewhere(rate, batch, exact):
    assert abs(_exact(rate, batch) / exact - 1) < 0.005
    gap = _discrete(rate, batch) / _exact(rate, batch) - 1
    assert abs(gap) > 0.08
    assert (gap > 0) == (_exact(rate, batch) > 2)  # too heavy above two, too light below


@pytest.mark.parametrize(("rate", "ratio"), [(1.0, 2.75), (0.5, 1.722), (0.1, 1.215)])
def test_continuous_index_is_too_large(rate, ratio):
    assert _continuous(rate, 1) / _exact(rate, 1) == pytest.approx(ratio, rel=1e-3)


@pytest.mark.parametrize("batch", [1, 10])
def test_neither_holds_in_the_limit_of_small_rates(batch):
    # Moments of order 1 / rate live on single steps that throw the weight across the minimum:
    # y log y = 1 + y with y = 2 alpha rate / (2 S), where both formulas say y = 4.
    y = optimize.brentq(lambda x: x * np.log(x) - 1 - x, 2.0, 5.0)
    errors = [_exact(rate, batch) * rate / (0.5 * batch) - y for rate in (1e-2, 1e-3, 1e-4)]
    assert abs(errors[2]) < 0.005
    assert abs(errors[2]) < 0.3 * abs(errors[1]) < 0.1 * abs(errors[0]) * 3
    assert 4.0 / y > 1.11


def test_law_a_run_shows_the_exact_index_and_not_the_published_one(seed):
    rng = np.random.default_rng(seed)
    rate, chains, draws = 1.5, 2000, 1000
    w, kept = np.zeros(chains), np.empty((chains, draws, 1))
    for t in range(-100, draws):
        x = rng.standard_normal(chains)
        w = (1 - rate * x**2) * w + rate * x * rng.standard_normal(chains)
        if t >= 0:
            kept[:, t, 0] = w
    m = hill(kept, k=20_000, about=0.0)
    assert follows(m.value[0], _exact(rate, 1), m.stderr[0])
    assert not follows(m.value[0], _discrete(rate, 1), m.stderr[0])

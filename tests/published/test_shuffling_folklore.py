"""Folklore: an epoch's shuffled batches are as good as independent; their noise sums to zero."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.problems.sgd import SGDNearMinimum
from fracsde.stationary import stationary_covariance


def variance(pull: float, *, sampling: str, N: int = 60, B: int = 3) -> float:
    problem = SGDNearMinimum(
        hessian=1.0,
        gradient_noise=1.0,
        learning_rate=pull,
        batch_size=B,
        dataset_size=N,
        sampling=sampling,
    )
    return float(stationary_covariance(problem).matrix[0, 0]) / pull**2


def ratio(pull: float, **changes) -> float:
    independent = variance(pull, sampling="without_replacement", **changes)
    return independent / variance(pull, sampling="shuffled", **changes)


@pytest.mark.parametrize(("pull", "factor"), [(0.1, 2.1), (0.01, 15.0), (0.001, 144.0)])
def test_independent_batches_vary_too_much_in_flat_directions(pull: float, factor: float) -> None:
    # With M = 20 the crossover 3 / (M + 1) lies at eta h = 0.14.
    phi, M = 1.0 - pull, 20
    memory = phi * (M * pull - 1.0 + phi**M) / pull**2
    assert ratio(pull) == pytest.approx(1.0 / (1.0 - 2.0 * memory / (M * (M - 1))), rel=1e-9)
    assert ratio(pull) == pytest.approx(factor, rel=0.02)


def test_limit_of_the_excess_is_three_over_the_epoch() -> None:
    assert ratio(1e-6) == pytest.approx(3.0 / (1e-6 * 21), rel=1e-4)


def test_independent_batches_are_right_in_stiff_directions_of_long_epochs() -> None:
    assert ratio(0.5, N=60_000) == pytest.approx(1.0, abs=2e-4)


def test_noise_of_an_epoch_sums_to_zero_only_where_the_batch_divides_the_data() -> None:
    # One example more, and the variance of a flat direction is no longer bounded.
    whole = [variance(pull, sampling="shuffled") for pull in (1e-4, 1e-6)]
    short = [variance(pull, sampling="shuffled", N=61) for pull in (1e-4, 1e-6)]
    assert whole[1] / whole[0] == pytest.approx(1.0, abs=2e-3)
    assert short[1] / short[0] == pytest.approx(100.0, rel=0.02)
    assert np.isfinite(short[1])

"""Two wings, one run: a linear network trained by SGD has the moments of LeastSquaresSGD.

The network knows its loss and how to draw batches, the theory knows neither; nothing but the
data and the hyper-parameters is handed from one to the other.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from fracsde.networks import Network, run_sgd
from fracsde.problems.least_squares import LeastSquaresSGD
from fracsde.transients import covariance_at, mean_at
from tests.support.laws import follows, seed_of

STEPS, REPLICAS = 30, 25_000
START = np.array([2.0, -1.0, 0.5])
RATE, BATCH, RIDGE, MOMENTUM = 0.12, 2, 0.15, 0.6


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed_of("linear network"))
    return rng.normal(size=(7, 3)), rng.normal(size=7)


def theory(sampling: str = "without_replacement", *, ridge: float = RIDGE) -> LeastSquaresSGD:
    inputs, targets = data()
    return LeastSquaresSGD(
        inputs=inputs,
        targets=targets,
        ridge=ridge,
        learning_rate=RATE,
        batch_size=BATCH,
        momentum=MOMENTUM,
        sampling=sampling,
    )


@cache
def measured() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean and covariance of the weights over replicas, each with its standard error."""
    inputs, targets = data()
    network = Network(
        inputs=inputs,
        targets=targets[:, None],
        hidden=(),
        objective="squared_error",
        bias=False,
        weight_decay=RIDGE,
    )
    w = run_sgd(
        network,
        START,
        learning_rate=RATE,
        batch_size=BATCH,
        steps=STEPS,
        momentum=MOMENTUM,
        sampling="without_replacement",
        replicas=REPLICAS,
        seed=seed_of("runs of a linear network"),
    ).final_positions
    centred = w - w.mean(axis=0)
    products = centred[:, :, None] * centred[:, None, :]
    # Errors are the sample's: the law of the weights is not normal, its fourth moments not known.
    scale = np.sqrt(REPLICAS)
    return (
        w.mean(axis=0),
        w.std(axis=0) / scale,
        products.mean(axis=0),
        products.std(axis=0) / scale,
    )


def agrees(problem: LeastSquaresSGD) -> bool:
    mean, mean_error, covariance, error = measured()
    expected = covariance_at(problem, [STEPS], initial=START)[0]
    return follows(mean, mean_at(problem, [STEPS], START)[0], mean_error) and follows(
        covariance, expected, error
    )


def test_law_of_a_linear_network_is_that_of_least_squares() -> None:
    # A tenth of any variance would be seen.
    _, _, covariance, error = measured()
    assert np.all(np.diag(error) < 0.1 / 6.1 * np.diag(covariance))
    assert agrees(theory())


@pytest.mark.twin
def test_law_of_a_linear_network_is_not_that_of_other_draws_ridges_or_frozen_noise() -> None:
    assert not agrees(theory("with_replacement"))
    assert not agrees(theory(ridge=1.1 * RIDGE))
    assert not agrees(theory().near_minimum())  # type: ignore[arg-type]

"""Large SGD problems and processes: equal to the dense ones, and careful about their input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fracsde.errors import (
    IndefiniteError,
    InputError,
    OutOfRangeError,
    SamplingError,
    ShapeError,
    UnsupportedError,
)
from fracsde.problems.matrix_free import MatrixFreeOU, MatrixFreeSGD
from fracsde.problems.products import LowRankPlusDiagonal
from tests.support.exact import close
from tests.support.large import problem


@pytest.mark.parametrize("noise", ["factor", "factor and diagonal", "products"])
@pytest.mark.parametrize("sampling", ["with_replacement", "without_replacement"])
def test_dense_of_the_flow_is_the_flow_of_the_dense(noise: str, sampling: str) -> None:
    sgd = problem(
        "heavy ball", noise, d=20, weight_decay=0.1, sampling=sampling, dataset_size=9, minimum=2.0
    )
    one, two = sgd.flow().dense(), sgd.dense().flow()
    assert close(one.drift, two.drift)
    assert close(one.noise, two.noise)
    assert close(one.mean, two.mean)


def test_bounds_of_the_flow_enclose_its_drift() -> None:
    flow = problem("heavy ball", d=20, weight_decay=0.1).flow()
    values = np.linalg.eigvalsh(flow.dense().drift)
    low, high = flow.drift_bounds
    assert low == pytest.approx(values[0])
    assert high == pytest.approx(values[-1])


def test_replacing_a_rate_makes_no_product() -> None:
    made = []

    def product(x):
        made.append(1)
        return x

    sgd = MatrixFreeSGD(
        hessian=product, gradient_noise=product, dimension=5, learning_rate=0.1, batch_size=1
    )
    before = len(made)
    replace(sgd, learning_rate=0.2).flow()
    assert before > 0
    assert len(made) == before


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"learning_rate": 0.0}, OutOfRangeError, "learning_rate"),
        ({"momentum": 1.0}, OutOfRangeError, "momentum"),
        ({"weight_decay": -1.0}, OutOfRangeError, "weight_decay"),
        ({"batch_size": 0}, OutOfRangeError, "batch_size"),
        ({"sampling": "shuffled"}, UnsupportedError, "SGDNearMinimum"),
        ({"sampling": "epochs"}, InputError, "one of"),
        ({"sampling": "without_replacement"}, SamplingError, "`dataset_size` is needed"),
        (
            {"sampling": "without_replacement", "dataset_size": 3},
            SamplingError,
            "must not exceed the 3",
        ),
        ({"dimension": 7}, ShapeError, "7 x 7"),
        ({"gradient_noise": np.eye(3)}, ShapeError, "20 x 20"),
        ({"gradient_noise": np.ones((20, 4))}, ShapeError, "LowRankPlusDiagonal"),
        ({"hessian_bounds": (1.0, 0.0)}, InputError, "two numbers"),
        ({"hessian_bounds": 3}, InputError, "two numbers"),
        ({"minimum": np.ones(3)}, ShapeError, "minimum"),
        (
            {"gradient_noise": LowRankPlusDiagonal(factor=np.ones((20, 1)), weights=-1.0)},
            IndefiniteError,
            "sum of squares",
        ),
    ],
)
def test_refuses_what_makes_no_sense(changes, error, words) -> None:
    with pytest.raises(error, match=words):
        problem("map", d=20, **changes)


def test_refuses_to_write_down_what_is_too_large() -> None:
    big = MatrixFreeOU(drift=lambda x: x, noise=lambda x: x, dimension=20_000)
    with pytest.raises(UnsupportedError, match="16000 is the most"):
        big.dense()

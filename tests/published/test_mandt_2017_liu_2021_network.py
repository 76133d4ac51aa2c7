"""Flow [Mandt2017] and map [Liu2021] take the noise at the minimum; a network's is not constant.

On a small perceptron at ``eta h_max = 0.7`` both are too small, the flow by more; averages over
the law of the run, which the Gaussian closure takes, repair it.
"""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.closure import examine_minimum, gaussian_closure
from fracsde.networks import Network, run_sgd, train_to_minimum
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.stationary import stationary_covariance
from tests.support.laws import seed_of, sigmas

LEADING = 4


@pytest.fixture(scope="module")
def measured():
    """Variance along leading modes over every theory's, and its relative error."""
    rng = np.random.default_rng(seed_of("perceptron"))
    inputs = rng.normal(size=(150, 4)) * [1.0, 0.8, 0.6, 0.5]
    labels = np.argmax(inputs[:, :3] + 0.5 * rng.normal(size=(150, 3)), axis=1)
    network = Network(inputs=inputs, targets=labels, hidden=(3,), weight_decay=0.03)
    w = train_to_minimum(network, network.initial_parameters(rng)).parameters
    at = examine_minimum(network, w, rank=LEADING)
    options = {"learning_rate": 0.7 / at.curvatures[0], "batch_size": 16}
    run = run_sgd(
        network,
        w,
        **options,
        steps=2500,
        replicas=256,
        seed=seed_of("published run"),
        directions=at.leading,
        origin=w,
        project_every=1,
        first_projection=300,
    ).projections.values
    each = np.mean((run - run.mean(axis=(0, 1))) ** 2, axis=1)
    variance = each.mean(axis=0)
    error = each.std(axis=0) / len(each) ** 0.5 / variance
    sgd = SGDNearMinimum(
        hessian=np.diag(at.curvatures[:LEADING]),
        gradient_noise=at.noise[:LEADING, :LEADING],
        **options,
    )
    theories = {
        "flow": stationary_covariance(sgd.flow()).matrix.diagonal(),
        "map": stationary_covariance(sgd).matrix.diagonal(),
        "closure": gaussian_closure(at, **options, draws=256).variances,
    }
    return {name: variance / theory for name, theory in theories.items()}, error


def test_flow_and_map_are_too_small_on_a_network(measured) -> None:
    """The map in every direction, the flow by its own error of ``eta h / 2`` more."""
    ratios, error = measured
    mean = error.mean()  # of the mean over directions, however they go together
    assert ratios["map"].mean() > 1.0 + sigmas() * mean
    assert np.all(ratios["map"] > 1.0 - sigmas() * error)
    # Both theories see the same noise and the same curvature, and nothing here is random.
    assert np.all(ratios["flow"] > 1.01 * ratios["map"])
    assert ratios["flow"][0] > 1.2 * ratios["map"][0]
    # From the steepest direction on, as told in the table of published formulas.
    for name, (first, last) in {"flow": (1.54, 1.22), "map": (1.00, 1.09)}.items():
        told = [ratios[name][0] - first, ratios[name][-1] - last]
        assert np.all(np.abs(told) < 0.006 + sigmas() * error[[0, -1]])


def test_closure_repairs_them(measured) -> None:
    """What it leaves comes from third cumulants: here a fifth of the map's error."""
    ratios, error = measured
    off = {name: abs(ratio.mean() - 1.0) for name, ratio in ratios.items()}
    assert off["closure"] < 0.6 * off["map"]
    assert np.all(np.abs(ratios["closure"] - 1.0) < 0.03 + sigmas() * error)

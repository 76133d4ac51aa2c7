"""The demo's comparison near a minimum, on a problem whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fracsde.compare import Verdict, compare
from fracsde.demo.near_minimum import (
    assumptions,
    close,
    measure,
    measure_curvature,
    plan,
    predict,
    predict_closure,
    run_regime,
)
from fracsde.demo.settings import DigitsSettings, Regime
from fracsde.errors import OutOfRangeError
from fracsde.networks import Network
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.stationary import stationary_covariance

SETTINGS = DigitsSettings(replicas=128, directions=3, relaxations=400.0, positions=8, batch_size=16)


@pytest.fixture(scope="module")
def curvature():
    """A linear network on squared error: the loss is quadratic, the noise nearly constant."""
    rng = np.random.default_rng(20)
    inputs = rng.normal(size=(400, 4)) * [1.0, 0.8, 0.6, 0.5]
    targets = inputs @ [[1.0], [0.5], [-0.5], [2.0]] + 2.0 * rng.normal(size=(400, 1))
    network = Network(
        inputs=inputs, targets=targets, hidden=(), objective="squared_error", weight_decay=0.01
    )
    return measure_curvature(network, np.zeros(network.parameters), 3)


def test_exact_curvature_and_noise_are_those_of_the_minimum(curvature) -> None:
    network, w = curvature.network, curvature.minimum.parameters
    U = curvature.directions
    np.testing.assert_allclose(
        U.T @ network.hessian(w) @ U, np.diag(curvature.curvatures), atol=1e-12
    )
    C = network.gradient_noise(w)
    np.testing.assert_allclose(U.T @ C @ U, curvature.noise, atol=1e-12)
    assert abs(np.trace(C) - curvature.noise_trace) < 1e-10


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_exact_restriction_to_eigenvectors_is_the_block_of_the_whole(curvature, momentum) -> None:
    regime = Regime(rate=0.5, momentum=momentum)
    chosen = plan(curvature, regime, SETTINGS)
    network, w = curvature.network, curvature.minimum.parameters
    whole = stationary_covariance(
        SGDNearMinimum(
            hessian=network.hessian(w),
            gradient_noise=network.gradient_noise(w),
            learning_rate=chosen.learning_rate,
            batch_size=SETTINGS.batch_size,
            momentum=momentum,
        ).map()
    ).matrix
    U = curvature.directions
    variance, covariance, *_ = predict(curvature, chosen, SETTINGS, "map")
    block = U.T @ whole @ U
    np.testing.assert_allclose(variance.value, block.diagonal(), rtol=1e-10)
    np.testing.assert_allclose(
        covariance.value, block[np.triu_indices(3, 1)], atol=1e-10 * block.max()
    )


def test_map_agrees_and_wrong_noise_disagrees_where_the_loss_is_quadratic(curvature) -> None:
    """With a small rate the state-dependent noise is negligible, so the map must hold."""
    chosen = plan(curvature, Regime(rate=0.02, momentum=0.0), SETTINGS)
    run = run_regime(curvature, chosen, SETTINGS)
    measured = measure(curvature, chosen, run.projections)
    theory = predict(curvature, chosen, SETTINGS, "map")
    damaged = replace(curvature, noise=1.25 * curvature.noise)
    wrong = predict(damaged, chosen, SETTINGS, "map")
    report = compare(theory, measured, tolerance=0.1, rivals={"noise too large": wrong})
    assert report.verdict is Verdict.AGREES
    rival = report.rivals["noise too large"]
    variances = [row for row in rival if row.quantity == "stationary variance"]
    assert len(variances) == 3
    assert all(row.verdict is Verdict.DISAGREES for row in variances)
    why = assumptions(curvature, chosen, SETTINGS, run)
    np.testing.assert_allclose(why.curvature_ratio, 1.0, rtol=1e-9)
    assert abs(why.noise_trace_ratio - 1.0) < 0.05


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_closure_predicts_what_the_map_predicts_and_the_noise_of_the_run(curvature, momentum):
    """On squared error the noise grows with the variance, and nothing else changes."""
    chosen = plan(curvature, Regime(rate=0.5, momentum=momentum), SETTINGS)
    closure = close(curvature, chosen, SETTINGS)
    assert closure.status.ok
    closed = predict_closure(curvature, chosen, closure)
    frozen = predict(curvature, chosen, SETTINGS, "map")
    assert [one.quantity for one in closed] == [one.quantity for one in frozen]
    np.testing.assert_allclose(closed[0].value, closure.variances, rtol=1e-9)
    assert np.all(closed[0].value > frozen[0].value)
    np.testing.assert_allclose(closed[2].value, frozen[2].value, atol=0.02)
    np.testing.assert_allclose(closure.hessian.diagonal(), curvature.curvatures, rtol=1e-9)


def test_regimes_name_rate_momentum_and_effective_rate() -> None:
    names = [regime.name for regime in SETTINGS.regimes]
    assert names[2:4] == ["η·h_max = 0.5", "η·h_max = 0.5, momentum 0.5 (effective rate 1)"]
    assert [round(regime.effective_rate, 12) for regime in SETTINGS.regimes] == [0.1, 1, 0.5, 1, 5]


def test_plan_keeps_lags_on_recorded_steps(curvature) -> None:
    for regime in SETTINGS.regimes:
        chosen = plan(curvature, regime, SETTINGS)
        assert np.all(chosen.relaxation_lags % chosen.every == 0)
        assert np.all(chosen.msd_lags % chosen.every == 0)
        assert np.all(np.diff(chosen.msd_lags) > 0)
        assert chosen.msd_lags[-1] <= chosen.steps / 3
        assert chosen.burn_in % chosen.every == 0


def test_refuses_too_few_replicas() -> None:
    with pytest.raises(OutOfRangeError, match="errors are taken across replicas"):
        DigitsSettings(replicas=4)

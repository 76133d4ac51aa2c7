"""Adaptive methods near a minimum: the fixed point, and simulated Adam as its memory grows."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.adaptive import adaptive_near_minimum
from fracsde.errors import (
    ComputationError,
    IndefiniteError,
    InputError,
    OutOfRangeError,
    UnstableError,
    UnsupportedError,
)
from fracsde.stationary import stationary_covariance
from fracsde.status import Status
from tests.support.orders import observed_order

HESSIAN = np.array([[2.0, 0.3, 0.1], [0.3, 0.5, -0.1], [0.1, -0.1, 1.0]])
NOISE = np.array([[1.0, 0.5, 0.2], [0.5, 2.0, 0.1], [0.2, 0.1, 0.05]])


def law(method: str = "adam", **changes):
    given = {
        "hessian": HESSIAN,
        "gradient_noise": NOISE,
        "learning_rate": 0.1,
        "batch_size": 2,
        "epsilon": 1e-3,
    }
    return adaptive_near_minimum(method, **{**given, **changes})


CASES = [
    ("adam", {}),
    ("adam", {"momentum": 0.0}),
    ("adam", {"weight_decay": 0.3, "sampling": "without_replacement", "dataset_size": 5}),
    ("rmsprop", {}),
    ("rmsprop", {"momentum": 0.8, "learning_rate": 0.02}),
    ("adamw", {"momentum": 0.0, "weight_decay": 0.4, "minimum": [1.0, -1.0, 2.0]}),
    ("adamw", {"weight_decay": 0.4, "minimum": [1.0, -1.0, 2.0]}),
]


def reproduced(found, *, decoupled: bool, decay: float, minimum) -> float:
    """Largest relative change of second moments, from the process alone."""
    Sigma = stationary_covariance(found.process).matrix
    K = HESSIAN + (0.0 if decoupled else decay) * np.eye(3)
    factor = 0.5 if found.sgd is None or found.sgd.dataset_size is None else 0.5 * 3 / 4
    v = np.diag(factor * NOISE + K @ Sigma @ K)
    if decoupled:
        rest = np.linalg.solve(
            HESSIAN + decay * np.diag(1 / found.preconditioner), HESSIAN @ minimum
        )
        np.testing.assert_allclose(found.process.mean[:3], rest, rtol=1e-11)
        v = v + (HESSIAN @ (rest - minimum)) ** 2
    np.testing.assert_allclose(found.covariance, Sigma, rtol=1e-10, atol=1e-14)
    return float(np.abs(v / found.second_moments - 1).max())


@pytest.mark.parametrize(("method", "changes"), CASES)
def test_exact_second_moments_reproduce_themselves(method, changes) -> None:
    found = law(method, **changes)
    gap = reproduced(
        found,
        decoupled=method == "adamw",
        decay=changes.get("weight_decay", 0.0),
        minimum=np.array(changes.get("minimum", np.zeros(3))),
    )
    assert gap < 1e-9
    assert found.status.ok
    assert found.residual <= 1e-10
    np.testing.assert_allclose(
        found.preconditioner, 1 / (np.sqrt(found.second_moments) + 1e-3), rtol=1e-14
    )
    if found.sgd is not None:
        same = stationary_covariance(found.sgd).matrix
        np.testing.assert_allclose(found.covariance, same, rtol=1e-10, atol=1e-14)
    else:
        assert (method, changes["weight_decay"]) == ("adamw", 0.4)


@pytest.mark.twin
def test_second_moments_reject_those_of_the_noise_alone() -> None:
    found = law(learning_rate=0.5)
    assert np.abs(found.second_moments / np.diag(NOISE / 2) - 1).max() > 0.1


def test_rates_too_fast_for_the_noise_alone_still_have_a_law() -> None:
    """Spread makes second moments, and they slow the steps: eta h / sqrt(Q) = 6 > 2 is served."""
    found = adaptive_near_minimum(
        "rmsprop", hessian=1.0, gradient_noise=1.0, learning_rate=6.0, batch_size=1, epsilon=0.0
    )
    P, v = found.preconditioner[0], found.second_moments[0]
    assert 6 * P < 2
    V = 6 * P / (2 - 6 * P)  # of the map, with h = q = 1
    assert v == pytest.approx(1 + V, rel=1e-9)
    assert found.covariance[0, 0] == pytest.approx(V, rel=1e-9)


def simulated(method: str, forgetting: float, *, damage: float = 1.0, runs: int = 6000) -> float:
    """Relative change of the variance that finite memory makes, on one direction.

    The same noise drives the steps with second moments held, whose variance is known: the
    difference has a standard error of ``1.1 sqrt(forgetting / (runs * steps * pull))``.
    """
    eta, h, mu = 0.05, 1.0, 0.0 if method == "rmsprop" else 0.5
    found = adaptive_near_minimum(
        method, hessian=h, gradient_noise=1.0, learning_rate=eta, batch_size=1, momentum=mu,
        epsilon=0.0, beta2=1 - forgetting,
    )  # fmt: skip
    V, P = found.covariance[0, 0], damage * found.preconditioner[0]
    rng = np.random.default_rng(int(1e6 * forgetting) + len(method))
    w = np.sqrt(V) * rng.standard_normal(runs)
    held, m, n = w.copy(), np.zeros(runs), np.zeros(runs)
    v = np.full(runs, found.second_moments[0])
    total, burn, steps = 0.0, 150, 1500
    for k in range(steps):
        noise = rng.standard_normal(runs)
        g = h * w + noise
        v = v + forgetting * (g * g - v)
        m = mu * m + (1 - mu) * g
        w = w - eta * m / np.sqrt(v) * damage
        n = mu * n + (1 - mu) * (h * held + noise)
        held = held - eta * P / damage * n
        if k >= burn:
            total += np.mean(w * w - held * held)
    return total / (steps - burn) / V


FORGETTING = [10, 20, 40, 80, 160]  # 1 / (1 - beta2)


@pytest.mark.parametrize("method", ["rmsprop", "adam"])
def test_order_of_simulated_steps_in_the_forgetting_is_one(method: str) -> None:
    errors = {n: abs(simulated(method, 1 / n)) for n in FORGETTING}
    table = observed_order(errors.__getitem__, FORGETTING, expected=1.0)
    fitted = -np.polyfit(np.log(FORGETTING), np.log(table.errors), 1)[0]
    assert abs(fitted - 1.0) < 0.15, str(table)
    # The reported share is 3/8, in the limit of small pulls; this one is 0.05.
    assert 160 * table.errors[-1] == pytest.approx(0.375, abs=0.09)
    found = adaptive_near_minimum(
        method, hessian=1.0, gradient_noise=1.0, learning_rate=0.05, batch_size=1, beta2=0.9
    )
    assert found.memory == pytest.approx(-0.0375)


@pytest.mark.twin
def test_order_rejects_steps_one_per_cent_too_long() -> None:
    errors = {n: abs(simulated("rmsprop", 1 / n, damage=1.01, runs=2000)) for n in FORGETTING}
    table = observed_order(errors.__getitem__, FORGETTING, expected=1.0)
    fitted = -np.polyfit(np.log(FORGETTING), np.log(table.errors), 1)[0]
    assert not abs(fitted - 1.0) < 0.15, str(table)


def test_simulated_adam_in_three_directions_settles_on_the_fixed_point() -> None:
    """Two thousand runs at beta2 = 0.999: second moments to 2 %, covariance to 8 % of a scale."""
    found = law(learning_rate=0.05)
    rng = np.random.default_rng(3)
    root = np.linalg.cholesky(NOISE / 2)
    w, m = np.zeros((2000, 3)), np.zeros((2000, 3))
    v = np.ones((2000, 3)) * found.second_moments
    covariance, moments = np.zeros((3, 3)), np.zeros(3)
    for k in range(1500):
        g = w @ HESSIAN + rng.standard_normal((2000, 3)) @ root.T
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        w = w - 0.05 * m / (np.sqrt(v) + 1e-3)
        if k >= 500:
            covariance += w.T @ w / 2000 / 1000
            moments += v.mean(axis=0) / 1000
    np.testing.assert_allclose(moments, found.second_moments, rtol=0.02)
    scale = np.sqrt(np.multiply.outer(*(np.diag(found.covariance),) * 2))
    assert np.abs((covariance - found.covariance) / scale).max() < 0.08
    wrong = law(learning_rate=0.05, momentum=0.0).covariance
    assert np.abs((law("rmsprop", learning_rate=0.05).covariance - wrong) / scale).max() < 1e-12


def test_fixed_point_that_is_not_met_is_a_status() -> None:
    with pytest.raises(ComputationError, match="more iterations"):
        law(iterations=1)
    found = law(iterations=1, throw=False)
    assert found.status is Status.NOT_CONVERGED
    assert found.residual > 1e-10


def test_refuses_what_has_no_law() -> None:
    with pytest.raises(InputError, match="'adam', 'adamw', 'rmsprop'"):
        law("sgd")
    with pytest.raises(UnstableError, match="raise the weight decay"):
        law(hessian=np.diag([1.0, 1.0, 0.0]))
    assert law("adamw", hessian=np.diag([1.0, 1.0, 0.0]), weight_decay=0.1).status.ok
    with pytest.raises(InputError, match="positive epsilon"):
        law(gradient_noise=np.diag([1.0, 0.0, 1.0]), epsilon=0.0)
    with pytest.raises(UnsupportedError, match="shuffled"):
        law(sampling="shuffled", dataset_size=10)
    with pytest.raises(OutOfRangeError, match="beta2"):
        law(beta2=1.0)
    with pytest.raises(OutOfRangeError, match="momentum"):
        law(momentum=1.0)
    with pytest.raises(OutOfRangeError, match="epsilon"):
        law(epsilon=-1.0)
    with pytest.raises(IndefiniteError, match="hessian"):
        law(hessian=-HESSIAN)

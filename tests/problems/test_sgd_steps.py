"""One step of SGD: the same as PyTorch's documented update, with every option it has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fracsde.errors import InputError, OutOfRangeError
from fracsde.problems.sgd_steps import StepRule

RULES = [
    StepRule(),
    StepRule(dampening=0.3),
    StepRule(momentum=0.9),
    StepRule(momentum=0.6, dampening=0.25),
    StepRule(momentum=0.8, nesterov=True),
]
CURVATURE = np.array([[1.0, 0.3, 0.0], [0.3, 0.7, -0.2], [0.0, -0.2, 0.4]])
PRECONDITIONER = np.array([[1.0, 0.1, 0.0], [0.1, 0.5, 0.2], [0.0, 0.2, 2.0]])
RATE, STEPS = 0.2, 12


def noises(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(STEPS, 3))


def documented_update(rule: StepRule, w: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Weights after each step by the pseudo-code in PyTorch's manual, all steps dampened."""
    buffer, path = np.zeros(3), []
    for xi in noise:
        g = CURVATURE @ w + xi
        if rule.momentum != 0.0:
            buffer = rule.momentum * buffer + (1.0 - rule.dampening) * g
            g = g + rule.momentum * buffer if rule.nesterov else buffer
        w = w - RATE * PRECONDITIONER @ g
        path.append(w)
    return np.array(path)


def by_matrices(rule: StepRule, w: np.ndarray, noise: np.ndarray) -> np.ndarray:
    T = rule.transition(RATE * PRECONDITIONER @ CURVATURE)
    G = rule.injection(3)
    state = np.zeros(rule.state_size(3))
    state[:3], path = w, []
    for xi in noise:
        state = T @ state + G @ (RATE * PRECONDITIONER @ xi)
        path.append(state[:3])
    return np.array(path)


@pytest.mark.parametrize("rule", RULES)
def test_exact_steps_are_those_of_the_documented_update(rule: StepRule, seed: int) -> None:
    start, noise = np.array([1.0, -2.0, 0.5]), noises(seed)
    expected = documented_update(rule, start, noise)
    np.testing.assert_allclose(by_matrices(rule, start, noise), expected, rtol=0, atol=1e-14)


@pytest.mark.twin
@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.has_velocity])
def test_documented_update_rejects_a_momentum_one_per_cent_too_small(rule, seed: int) -> None:
    start, noise = np.array([1.0, -2.0, 0.5]), noises(seed)
    wrong = by_matrices(replace(rule, momentum=0.99 * rule.momentum), start, noise)
    assert np.abs(wrong - documented_update(rule, start, noise)).max() > 1e-4


@pytest.mark.parametrize("rule", RULES)
def test_exact_steps_are_those_of_torch_itself(rule: StepRule, seed: int) -> None:
    torch = pytest.importorskip("torch")
    w = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD(
        [w],
        lr=RATE,
        momentum=rule.momentum,
        dampening=rule.dampening,
        nesterov=rule.nesterov,
    )
    T, G = rule.transition(RATE * CURVATURE), rule.injection(3)
    for step, xi in enumerate(noises(seed)):
        before = w.detach().numpy().copy()
        w.grad = torch.tensor(CURVATURE @ before + xi)
        optimizer.step()
        if step == 0:  # not dampened by PyTorch: the state is read off, not predicted
            velocity = w.detach().numpy() - before
            if rule.nesterov:
                velocity = -RATE * (CURVATURE @ before + xi)
            state = np.append(w.detach().numpy(), velocity)[: rule.state_size(3)]
            continue
        state = T @ state + G @ (RATE * xi)
        np.testing.assert_allclose(state[:3], w.detach().numpy(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("rule", RULES)
def test_spectral_radius_crosses_one_at_the_largest_pull(rule: StepRule) -> None:
    def radius(pull: float) -> float:
        return float(np.abs(np.linalg.eigvals(rule.transition(np.array([[pull]])))).max())

    assert radius((1 - 1e-6) * rule.largest_pull) < 1.0 < radius((1 + 1e-6) * rule.largest_pull)
    assert all(radius(f * rule.largest_pull) < 1.0 for f in (0.01, 0.3, 0.6, 0.9))


@pytest.mark.parametrize("rule", RULES)
def test_kick_is_the_injected_noise_and_slow_modes_feel_the_rate_factor(rule, seed: int) -> None:
    A = np.random.default_rng(seed).normal(size=(3, 3))
    G = rule.injection(3)
    np.testing.assert_allclose(rule.kick(A @ A.T), G @ (A @ A.T) @ G.T, rtol=0, atol=1e-14)
    slow = np.linalg.eigvals(rule.transition(np.array([[1e-7]])))
    assert 1.0 - slow.real.max() == pytest.approx(1e-7 * rule.rate_factor, rel=1e-5)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"momentum": 1.0}, OutOfRangeError, "fraction of the velocity"),
        ({"momentum": -0.1}, OutOfRangeError, "`momentum`"),
        ({"momentum": 0.5, "dampening": 1.0}, OutOfRangeError, "`dampening`"),
        ({"nesterov": True}, InputError, "needs momentum and no dampening"),
        ({"nesterov": True, "momentum": 0.5, "dampening": 0.1}, InputError, "PyTorch's SGD"),
        ({"nesterov": 1, "momentum": 0.5}, InputError, "True or False"),
    ],
)
def test_refuses_what_pytorch_refuses(given, error, words) -> None:
    with pytest.raises(error, match=words):
        StepRule(**given)

"""Steps of paths: the exact law at any gap, and the order of Euler-Maruyama."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fracsde.errors import OutOfRangeError
from fracsde.lyapunov.propagators import gap_law
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.schemes.paths import (
    DecoupledSteps,
    DenseSteps,
    EulerMaruyama,
    ExactOU,
    MomentumSteps,
    exact_steps,
    noise_factor,
)
from tests.support.orders import observed_order

A = np.array([[1.0, 0.3], [0.3, 0.5]])
NOISE = np.array([[1.0, -0.4], [-0.4, 0.7]])
GAPS = np.array([0.1, 2.0])


def law_of(steps, kind: int) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(steps, DenseSteps):
        return steps.transition[kind], steps.factor[kind] @ steps.factor[kind].T
    W = steps.basis
    E = (W * steps.decay[kind]) @ steps.inverse
    return E, (W * steps.scale[kind] ** 2) @ W.T


@pytest.mark.parametrize(
    ("process", "kind"),
    [
        (OUProcess(drift=A, noise=NOISE), DenseSteps),
        (OUProcess(drift=A, noise=np.eye(2)), DecoupledSteps),
        (OUProcess(drift=A, noise=A @ A), DecoupledSteps),
        (OUProcess(drift=np.diag([1.0, 0.0]), noise=np.diag([0.0, 2.0])), DecoupledSteps),
        # Preconditioned SGD with noise like curvature has detailed balance, not symmetry.
        (OUProcess(drift=np.diag([1.0, 3.0]) @ A, noise=np.diag([1.0, 3.0])), DecoupledSteps),
        (OUProcess(drift=[[1.0, 2.0], [-2.0, 1.0]], noise=NOISE), DenseSteps),
        (OUProcess(drift=[[1.0, 1.0], [0.0, 1.0]], noise=np.diag([0.0, 1.0])), DenseSteps),
        (LinearRecursion(transition=np.eye(2) - 1.4 * A, noise=np.eye(2)), DecoupledSteps),
        (LinearRecursion(transition=np.eye(2) - 1.4 * A, noise=NOISE), DenseSteps),
    ],
)
def test_exact_step_has_the_law_of_the_gap(process, kind) -> None:
    gaps = GAPS if isinstance(process, OUProcess) else np.array([1.0, 7.0])
    steps = exact_steps(process, gaps)
    assert isinstance(steps, kind)
    law = gap_law(process)
    for i, gap in enumerate(gaps):
        E, G = law_of(steps, i)
        expected_E, _, expected_G = law(gap)
        np.testing.assert_allclose(E, expected_E, atol=1e-14)
        np.testing.assert_allclose(G, expected_G, atol=1e-14 * max(1.0, np.abs(expected_G).max()))


def with_momentum(**options) -> LinearRecursion:
    """Return the map of SGD with momentum, by default the plain one."""
    options = {"learning_rate": 0.2, "momentum": 0.9} | options
    return SGDNearMinimum(hessian=A, gradient_noise=NOISE, batch_size=1, **options).map()


def one_step(steps: MomentumSteps) -> tuple[np.ndarray, np.ndarray]:
    """Return transition and factor of positions and velocities together."""
    (b, r, mu), one = steps.rule, np.eye(len(steps.pull))
    transition = np.block([[one + r * steps.pull, b * one], [steps.pull, mu * one]])
    return transition, np.vstack([r * steps.factor, steps.factor])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"learning_rate": 1e-7},
        {"nesterov": True, "momentum": 0.37},
        {"dampening": 0.3},
        {"preconditioner": np.array([0.3, 1.7])},
        {"weight_decay": 0.1, "nesterov": True},
    ],
)
def test_exact_step_of_momentum_works_on_half_of_the_state(options) -> None:
    process = with_momentum(**options)
    steps = exact_steps(process, np.ones(1))
    assert isinstance(steps, MomentumSteps)
    assert steps.factor.shape == (2, 2)  # one normal for each weight
    E, L = one_step(steps)
    np.testing.assert_allclose(E, process.transition, rtol=0, atol=4e-16)
    size = np.abs(process.noise).max()
    np.testing.assert_allclose(L @ L.T, process.noise, rtol=0, atol=2e-15 * size)


def altered(place: tuple[int, int], *, noise: bool) -> LinearRecursion:
    process = with_momentum()
    T, G = process.transition.copy(), process.noise.copy()
    if noise:
        G[place] = G[place[::-1]] = G[place] * (1.0 + 1e-13)
    else:
        T[place] += 1e-13
    return LinearRecursion(transition=T, noise=G)


@pytest.mark.twin
@pytest.mark.parametrize(
    "process",
    [
        *(altered((0, k), noise=False) for k in range(4)),
        altered((2, 0), noise=False),
        altered((3, 3), noise=False),
        altered((1, 1), noise=True),
        altered((0, 3), noise=True),
        LinearRecursion(transition=with_momentum().transition, noise=np.zeros((4, 4))),
        LinearRecursion(transition=with_momentum().transition, noise=np.eye(4)),
        LinearRecursion(transition=[[0.5, 1, 0], [0, 0.5, 1], [0, 0, 0.5]], noise=np.eye(3)),
    ],
)
def test_step_of_momentum_is_not_taken_for_any_other_map(process) -> None:
    assert isinstance(exact_steps(process, np.ones(1)), DenseSteps)


def test_composed_steps_of_momentum_are_dense() -> None:
    assert isinstance(exact_steps(with_momentum(), np.array([9.0])), DenseSteps)


def euler_error(substeps: int, damage: float = 1.0) -> float:
    process = OUProcess(drift=[[1.0, 0.8], [-0.2, 0.5]], noise=NOISE)
    damaged = OUProcess(drift=damage * process.drift, noise=process.noise)
    _, G = law_of(EulerMaruyama(substeps=substeps).steps(damaged, np.array([1.0])), 0)
    return float(np.abs(G - gap_law(process)(1.0)[2]).max())


def test_order_of_euler_maruyama_in_the_law_is_one() -> None:
    table = observed_order(euler_error, [8, 16, 32, 64, 128], expected=1.0)
    assert table.agrees(), str(table)


@pytest.mark.twin
def test_order_rejects_a_drift_one_per_cent_too_large() -> None:
    table = observed_order(lambda n: euler_error(n, 1.01), [8, 16, 32, 64, 128], expected=1.0)
    assert not table.agrees(), str(table)


def test_euler_substep_is_the_textbook_one() -> None:
    E, G = law_of(EulerMaruyama().steps(OUProcess(drift=A, noise=NOISE), np.array([0.1])), 0)
    np.testing.assert_allclose(E, np.eye(2) - 0.1 * A, atol=1e-16)
    np.testing.assert_allclose(G, 0.1 * NOISE, atol=1e-16)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 7), rank=st.integers(0, 7), seed=st.integers(0, 2**31))
def test_noise_factor_squares_to_the_covariance_at_its_rank(n, rank, seed) -> None:
    B = np.random.default_rng(seed).normal(size=(n, rank))
    C = B @ B.T
    L = noise_factor(C)
    assert L.shape == (n, max(1, min(n, rank)))
    np.testing.assert_allclose(L @ L.T, C, atol=1e-13 * max(1.0, np.abs(C).max()))


def test_noise_factor_keeps_small_variances_beside_large_ones() -> None:
    C = np.array([[1.0, 1e-12], [1e-12, 1e-20]])
    L = noise_factor(C)
    assert (L @ L.T)[1, 1] == pytest.approx(1e-20, rel=1e-12)


def test_refuses_no_substeps() -> None:
    with pytest.raises(OutOfRangeError, match="`substeps` must be at least 1"):
        EulerMaruyama(substeps=0)


def test_schemes_name_their_sources() -> None:
    from fracsde.citations import cite

    assert "Gillespie1996" in cite(ExactOU())
    assert "Maruyama1955" in cite(EulerMaruyama(substeps=3))

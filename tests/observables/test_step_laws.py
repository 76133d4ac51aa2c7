"""Relations, temperatures and noise scales of every rule and sampling, by laws written down."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.adaptive import adaptive_near_minimum
from fracsde.errors import InputError, OutOfRangeError
from fracsde.observables import (
    effective_temperature,
    fluctuation_dissipation,
    gradient_noise_scale,
    phase_fluctuation_dissipation,
    power_spectrum,
    stationary_loss,
)
from fracsde.problems.least_squares import LeastSquaresSGD
from fracsde.stationary import stationary_covariance
from tests.support.laws import follows, seed_of
from tests.support.linear_laws import NOISE, SETTINGS, SYMMETRIC, sgd
from tests.support.orders import observed_order
from tests.support.step_laws import Step, simulated_steps, steps_of

DRAWN = {
    "independent": {},
    "equal batches": {"sampling": "shuffled", "dataset_size": 12, "batch_size": 3},
    "a short one": {"sampling": "shuffled", "dataset_size": 11, "batch_size": 3},
    "one left out": {
        "sampling": "shuffled",
        "dataset_size": 11,
        "batch_size": 3,
        "drop_last": True,
    },
}
EVERY = [(rule, drawn) for rule in SETTINGS for drawn in DRAWN]
AHEAD = {"momentum": 0.6, "nesterov": True}


def run_of(rule: str, drawn: str, **changed: object):
    # Curvatures that no rule here finds too large.
    given = {"learning_rate": 0.3, "weight_decay": 0.1, **SETTINGS[rule], **DRAWN[drawn]}
    return sgd(**{**given, **changed})


def averaged(run, one: str, two: str) -> np.ndarray:
    steps = steps_of(run)
    return np.mean([s.mean(getattr(s, one), getattr(s, two)) for s in steps], axis=0)


def rate_of(run) -> float:
    return run.learning_rate * (1.0 - run.dampening)


@pytest.mark.parametrize(("rule", "drawn"), EVERY)
def test_exact_sides_of_both_relations_are_those_of_the_written_down_law(rule, drawn) -> None:
    run = run_of(rule, drawn)
    found, K, eta = fluctuation_dissipation(run), run.curvature, run.learning_rate
    met = averaged(run, "weights", "gradient") / eta
    assert found.position == pytest.approx(np.trace(met), rel=1e-12)
    assert found.gradient + found.memory == pytest.approx(np.sum(K * met), rel=1e-12)
    memory = np.sum(K * averaged(run, "weights", "noise")) / eta
    assert found.memory == pytest.approx(memory, rel=1e-12, abs=1e-15)
    V, mu = averaged(run, "after", "after"), run.momentum
    pushed = (1 + mu) * V
    if mu == 0.0:
        pushed = averaged(run, "gradient", "gradient")
    elif run.nesterov:
        later = averaged(run, "before", "after")  # the form with the velocities of two steps
        pushed = (1 + mu + 2 * mu**2) * V - mu * (later + later.T)
    pushed = 0.5 * pushed / rate_of(run)
    assert found.velocity == pytest.approx(np.trace(pushed), rel=1e-12)
    assert found.curvature == pytest.approx(np.sum(K * pushed), rel=1e-12)
    assert np.abs(found.residuals).max() < 1e-12


@pytest.mark.twin
def test_relations_reject_the_heavy_balls_for_nesterov_and_none_for_its_memory() -> None:
    run = run_of("nesterov", "independent")
    V = averaged(run, "after", "after")
    heavy = 0.5 * 1.6 / 0.3 * np.array([np.trace(V), np.sum(run.curvature * V)])
    found = fluctuation_dissipation(run)
    assert np.abs(heavy / [found.velocity, found.curvature] - 1.0).min() > 0.1
    epochs = fluctuation_dissipation(run_of("plain", "equal batches"))
    assert epochs.gradient / epochs.curvature - 1.0 < -0.3
    assert fluctuation_dissipation(run).memory == 0.0


@pytest.mark.parametrize("rule", SETTINGS)
@pytest.mark.parametrize("drawn", list(DRAWN)[1:])
def test_exact_relations_at_every_phase_with_what_positions_gain(rule, drawn) -> None:
    run = run_of(rule, drawn)
    steps, K, eta = steps_of(run), run.curvature, run.learning_rate
    found = phase_fluctuation_dissipation(run, np.arange(len(steps)))
    met = [s.mean(s.weights, s.gradient) / eta for s in steps]
    np.testing.assert_allclose(found.position, [np.trace(X) for X in met], rtol=1e-12)
    left = found.gradient + found.memory
    np.testing.assert_allclose(left, [np.sum(K * X) for X in met], rtol=1e-12)
    memory = [np.sum(K * s.mean(s.weights, s.noise)) / eta for s in steps]
    np.testing.assert_allclose(found.memory, memory, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(found.position + found.gain, found.velocity, rtol=1e-12)
    np.testing.assert_allclose(left + found.curvature_gain, found.curvature, rtol=1e-12)
    assert abs(found.gain.sum()) < 1e-13 * np.abs(found.gain).sum()
    assert abs(found.curvature_gain.sum()) < 1e-13 * np.abs(found.curvature_gain).sum()
    mean = fluctuation_dissipation(run)
    for name in ("position", "velocity", "gradient", "memory", "curvature"):
        assert getattr(found, name).mean() == pytest.approx(getattr(mean, name), rel=1e-12)
    # Twin: no phase has the relation of the average.
    assert np.abs(found.position / found.velocity - 1.0).min() > 1e-3


@pytest.mark.parametrize("drawn", ["independent", "equal batches"])
@pytest.mark.parametrize("rule", ["nesterov", "full"])
def test_law_of_the_sides_along_simulated_steps(rule: str, drawn: str) -> None:
    run, chains = run_of(rule, drawn), 8_000
    step, name = steps_of(run)[-1], f"sides of {rule} {drawn}"
    w, v, gamma = simulated_steps(run, chains, 80 // len(steps_of(run)), seed_of(name))
    met = np.einsum("cd,cd->c", w, gamma).mean()
    error = step.stderr(step.weights.T @ step.gradient, chains)
    if drawn == "independent":
        side = fluctuation_dissipation(run).velocity * run.learning_rate
    else:
        last = phase_fluctuation_dissipation(run, [len(steps_of(run)) - 1])
        side = (last.velocity[0] - last.gain[0]) * run.learning_rate
    assert follows(met, side, error)
    # What recorded runs have: squares of gradients and of velocities.
    mu = run.momentum
    if run.nesterov and drawn == "independent":
        squares = 0.5 * (np.sum(gamma**2, 1) + mu * (1 + mu) * np.sum(v**2, 1))
        form = 0.5 * step.gradient.T @ step.gradient
        form = form + 0.5 * mu * (1 + mu) * step.before.T @ step.before
        assert follows(squares.mean(), side, step.stderr(form, chains))
        heavy = 0.5 * (1 + mu) * np.sum(v**2, 1).mean()
        assert not follows(met, heavy, error)  # twin
    if drawn != "independent":
        mean = fluctuation_dissipation(run).velocity * run.learning_rate
        assert not follows(met, mean, error)  # twin


def positions(run, step: Step) -> np.ndarray:
    return step.weights - run.momentum * step.before if run.nesterov else step.weights


@pytest.mark.parametrize("rate", [1e-4, 0.3, 0.7])
def test_exact_temperatures_of_nesterovs_step(rate: float) -> None:
    run = sgd(learning_rate=rate, **AHEAD)
    found, (step,) = effective_temperature(run), steps_of(run)
    u, eta = found.directions, run.learning_rate
    k = eta * found.curvatures
    tight = 1e-12 + 1e-14 / k[0]  # the written-down law is rounded at 1

    def variances(rows: np.ndarray) -> np.ndarray:
        return np.diag(u.T @ step.mean(rows, rows) @ u)

    np.testing.assert_allclose(found.potential, found.curvatures * variances(step.weights), tight)
    np.testing.assert_allclose(found.kinetic, variances(step.after) / eta, tight)
    both = variances(0.5 * (step.before + step.after)) / eta
    np.testing.assert_allclose(both, found.noise, tight)
    friction = 1 - run.momentum * (1 - k)
    still = found.curvatures * variances(positions(run, step))
    np.testing.assert_allclose(found.kinetic, 2 / (2 - friction) * still, tight)
    np.testing.assert_allclose(still * (1 - k / (2 * (2 - friction))), found.noise, tight)
    q = np.diag(u.T @ run.batch_noise @ u)
    np.testing.assert_allclose(found.noise, eta * q / (2 * friction), tight)
    if rate > 1e-3:  # twin: the friction of a heavy ball
        assert np.abs(found.noise / (eta * q / (2 * 0.4)) - 1).max() > 0.1


@pytest.mark.parametrize("cycles", [1e-4, 0.1, 0.3, 0.49])
@pytest.mark.parametrize("drawn", ["independent", "equal batches", "a short one"])
@pytest.mark.parametrize("rule", ["nesterov", "full", "plain"])
def test_exact_theorem_at_every_frequency(rule: str, drawn: str, cycles: float) -> None:
    run = run_of(rule, drawn)
    found = effective_temperature(run, frequency=cycles)
    u, mu, z = found.directions, run.momentum, np.exp(2j * np.pi * cycles)
    P = SETTINGS[rule].get("preconditioner", np.eye(3))
    T = run.rule.transition(run.learning_rate * P @ run.curvature)
    kick = run.learning_rate * run.rule.injection(3) @ P
    response = np.linalg.solve(z * np.eye(len(T)) - T, kick)[:3]
    inverse = np.linalg.solve(P, u)
    S = power_spectrum(run, [cycles], directions=inverse)[0]
    along = np.einsum("di,de,ei->i", inverse, response, inverse)
    if rule == "nesterov":  # from the weights to the position
        ahead = 1 + mu - mu / z
        along, S = along / ahead, S / np.abs(ahead) ** 2
    temperature = np.sin(2 * np.pi * cycles) * S / (2 * np.abs(along.imag))
    np.testing.assert_allclose(temperature, found.noise, rtol=1e-9)


def test_temperature_of_shuffled_epochs_vanishes_for_slow_modes_and_needs_a_frequency() -> None:
    run = run_of("plain", "equal batches")
    assert effective_temperature(run, frequency=0.0).mean == 0.0
    fast, drawn = (
        effective_temperature(run, frequency=0.5),
        effective_temperature(
            run_of(
                "plain",
                "independent",
                batch_size=3,
                sampling="without_replacement",
                dataset_size=12,
            )
        ),
    )
    assert fast.mean > drawn.mean
    steps = steps_of(run)
    V = np.mean([s.mean(s.weights, s.weights) for s in steps], axis=0)
    potential = fast.curvatures * np.diag(fast.directions.T @ V @ fast.directions)
    np.testing.assert_allclose(fast.potential, potential, rtol=1e-12)
    assert effective_temperature(run_of("plain", "one left out"), frequency=0.0).mean > 0.0
    with pytest.raises(InputError, match=r"`frequency` is needed.*0 for slow modes"):
        effective_temperature(run)


def test_single_temperature_of_nesterovs_step_needs_noise_like_its_friction() -> None:
    friction = 0.4 * np.eye(3) + 0.6 * 0.3 * SYMMETRIC
    matched = effective_temperature(sgd(learning_rate=0.3, gradient_noise=friction, **AHEAD))
    assert matched.is_single(1e-12)
    np.testing.assert_allclose(matched.noise, matched.mean, rtol=1e-13)
    # Twin: noise that is the same in all directions has one temperature with heavy balls alone.
    assert not effective_temperature(
        sgd(learning_rate=0.3, gradient_noise=np.eye(3), **AHEAD)
    ).is_single(0.05)


@pytest.mark.parametrize(("rule", "drawn"), EVERY)
def test_exact_noise_scale_is_that_of_the_written_down_law(rule: str, drawn: str) -> None:
    run = run_of(rule, drawn)
    found, K, C = gradient_noise_scale(run), run.curvature, run.gradient_noise
    P = SETTINGS[rule].get("preconditioner", np.eye(3))
    P = np.diag(P) if np.ndim(P) == 1 else P
    G = K @ averaged(run, "weights", "weights") @ K
    assert found.gradient_square == pytest.approx(np.trace(P @ G), rel=1e-12)
    assert found.gradient_curvature == pytest.approx(np.trace(P @ K @ P @ G), rel=1e-12)
    assert found.simple == pytest.approx(np.trace(P @ C) / np.trace(P @ G), rel=1e-12)
    weighted = np.trace(P @ K @ P @ C) / np.trace(P @ K @ P @ G)
    assert found.curvature_weighted == pytest.approx(weighted, rel=1e-12)
    for exact, limit in (
        (found.simple, found.small_rate_simple),
        (found.curvature_weighted, found.small_rate_weighted),
    ):
        assert 0.0 < abs(1.0 - exact / limit) < found.relative_gap


@pytest.mark.parametrize("mu", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("share", [1e-6, 0.1, 0.6, 0.95])
def test_exact_rise_of_one_mode_of_nesterovs_step(mu: float, share: float) -> None:
    k = share * 2 * (1 + mu) / (1 + 2 * mu)
    run = sgd(
        hessian=1.0, gradient_noise=3.0, learning_rate=k, batch_size=3, momentum=mu, nesterov=True
    )
    above = 1 - mu**2 + 2 * mu * (1 + mu - mu**2) * k + mu**2 * (1 + 2 * mu) * k**2
    below = (2 * (1 + mu) - (1 + 2 * mu) * k) * (1 - mu + mu * k) ** 2
    r = 2 * (1 - mu) * above / below
    assert stationary_loss(run).regularised == pytest.approx(k * r / (4 * (1 - mu)), rel=1e-12)
    found = gradient_noise_scale(run)
    assert found.simple * r == pytest.approx(found.small_rate_simple, rel=1e-12)
    assert found.relative_gap == pytest.approx(abs(1 - 1 / r), rel=1e-9, abs=1e-15)
    if share == 1e-6:  # below the small rate's loss for momenta above 0.6: no heavy ball is
        slope = (1 + mu - 2 * mu**2 - 4 * mu**3) / (2 * (1 - mu**2))
        assert (r - 1) / k == pytest.approx(slope, rel=1e-3)
        assert (slope < 0) == (mu > 0.6)


@pytest.mark.parametrize(("rule", "drawn"), [e for e in EVERY if e[1] != "a short one"])
def test_order_of_the_small_rate_noise_scale(rule: str, drawn: str) -> None:
    # Bridges without momentum look alike in both directions of time, and have no first order.
    alike = drawn == "equal batches" and rule in {"plain", "diagonal"}

    def gap(n: int) -> float:
        found = gradient_noise_scale(run_of(rule, drawn, learning_rate=0.01 / n))
        return abs(1.0 - found.simple / found.small_rate_simple)

    table = observed_order(gap, [4, 8, 16, 32, 64], expected=2.0 if alike else 1.0)
    assert table.agrees(), table


def test_noise_scale_knows_no_units_of_the_weights() -> None:
    run, A = sgd(momentum=0.5), np.array([[1.0, 0.4, 0.0], [0.0, 2.0, -0.3], [0.2, 0.0, 0.5]])
    away = np.linalg.inv(A)
    turned = sgd(  # the same run in coordinates A z = w
        hessian=A.T @ SYMMETRIC @ A,
        gradient_noise=A.T @ NOISE @ A,
        preconditioner=away @ away.T,
        momentum=0.5,
    )
    found, same = gradient_noise_scale(run), gradient_noise_scale(turned)
    for name in ("simple", "curvature_weighted", "small_rate_simple", "relative_gap"):
        assert getattr(same, name) == pytest.approx(getattr(found, name), rel=1e-11)
    # Twin: the formula of plain gradients gives another number to the same run.
    K, S = turned.curvature, stationary_covariance(turned).matrix
    assert abs(np.trace(turned.gradient_noise) / np.trace(K @ S @ K) / found.simple - 1) > 0.1
    assert gradient_noise_scale(sgd(preconditioner=2.0)).simple == pytest.approx(
        gradient_noise_scale(sgd(learning_rate=0.8)).simple, rel=1e-12
    )


def test_noise_scale_is_the_best_rate_of_a_preconditioned_step() -> None:
    # The step along the preconditioned gradient that lowers the mean loss most, by a search.
    run = run_of("full", "independent")
    K, P, S = run.curvature, run.preconditioner, stationary_covariance(run).matrix
    scale, batch = gradient_noise_scale(run).curvature_weighted, 7

    def best(noise: np.ndarray) -> float:
        G = K @ S @ K
        slope, bend = np.trace(P @ G), np.trace(P @ K @ P @ (G + noise))
        rates = np.linspace(0.0, 2.0 * slope / bend, 2001)
        return rates[np.argmin(-rates * slope + 0.5 * rates**2 * bend)]

    expected = best(np.zeros((3, 3))) / (1.0 + scale / batch)
    assert best(run.gradient_noise / batch) == pytest.approx(expected, rel=2e-3)


def test_adaptive_methods_have_all_observables_by_their_fixed_preconditioner() -> None:
    law = adaptive_near_minimum(
        "adam",
        hessian=SYMMETRIC,
        gradient_noise=NOISE,
        learning_rate=0.02,
        batch_size=2,
    )
    run = law.sgd
    assert np.abs(fluctuation_dissipation(run).residuals).max() < 1e-11
    found = gradient_noise_scale(run)
    G = run.curvature @ law.covariance @ run.curvature
    square = float(law.preconditioner @ np.diag(G))
    assert found.gradient_square == pytest.approx(square, rel=1e-11)
    assert effective_temperature(run).potential.sum() == pytest.approx(
        np.trace(run.curvature @ law.covariance), rel=1e-11
    )


@pytest.mark.parametrize("setting", [AHEAD, {"preconditioner": [1.0, 0.3], **AHEAD}])
def test_exact_observables_of_nesterov_where_the_noise_depends_on_the_state(setting) -> None:
    rng = np.random.default_rng(5)
    run = LeastSquaresSGD(
        inputs=rng.normal(size=(12, 2)),
        targets=rng.normal(size=12),
        batch_size=1,
        learning_rate=0.05,
        **setting,
    )
    assert np.abs(fluctuation_dissipation(run).residuals).max() < 1e-11
    state, x = stationary_covariance(run).state_matrix, run.inputs
    S, V, P = state[:2, :2], state[2:, 2:], np.diag(setting.get("preconditioner", np.ones(2)))
    residuals = x @ run.minimum - run.targets
    squares = residuals**2 + np.einsum("nd,de,ne->n", x, S, x)
    second = (x * squares[:, None]).T @ x / len(x)  # of one example's gradient
    expected = 0.025 * np.trace(P @ second @ P) + 0.6 * 1.6 / 0.1 * np.trace(V)
    assert fluctuation_dissipation(run).velocity == pytest.approx(expected, rel=1e-11)
    noise = second - run.curvature @ S @ run.curvature
    scale = np.trace(P @ noise) / np.trace(P @ run.curvature @ S @ run.curvature)
    assert gradient_noise_scale(run).simple == pytest.approx(scale, rel=1e-11)
    found = effective_temperature(run)
    along = np.linalg.solve(P, found.directions)
    kinetic = np.einsum("di,de,ei->i", along, V, along) / 0.05
    np.testing.assert_allclose(found.kinetic, kinetic, rtol=1e-11)


def test_refuses_phases_that_are_none() -> None:
    run = run_of("plain", "equal batches")
    with pytest.raises(InputError, match="has no phases"):
        phase_fluctuation_dissipation(sgd(), [0])
    with pytest.raises(InputError, match="whole numbers"):
        phase_fluctuation_dissipation(run, [0.5])
    with pytest.raises(OutOfRangeError, match="between 0 and 3, before the last of the 4 steps"):
        phase_fluctuation_dissipation(run, [4])
    with pytest.raises(InputError, match="must be an SGDNearMinimum, got NoneType"):
        phase_fluctuation_dissipation(None, [0])
    none = np.empty(0, dtype=np.int64)
    assert len(phase_fluctuation_dissipation(run, none).position) == 0

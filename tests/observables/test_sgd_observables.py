"""Loss, temperature, noise scale and fluctuation-dissipation relations of SGD."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.linalg

from fracsde.errors import IndefiniteError, InputError, UnstableError, UnsupportedError
from fracsde.observables import (
    effective_temperature,
    fluctuation_dissipation,
    gradient_noise_scale,
    power_spectrum,
    stationary_loss,
)
from fracsde.problems.least_squares import LeastSquaresSGD
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.simulate import simulate
from fracsde.stationary import stationary_covariance
from tests.support.exact import EPS
from tests.support.laws import follows, seed_of
from tests.support.linear_laws import NOISE, SETTINGS, SYMMETRIC, sgd
from tests.support.orders import observed_order

if TYPE_CHECKING:
    from collections.abc import Callable

HEAVY = {name: setting for name, setting in SETTINGS.items() if name != "nesterov"}


def preconditioner(run) -> np.ndarray:
    P = run.preconditioner
    return np.eye(3) if P is None else np.diag(P) if P.ndim == 1 else P


def closed_loss(run, weight: np.ndarray) -> float:
    # eta Tr[weight (I - eta P K / (2 (1 + mu)))^-1 P Q] / (2 (1 - mu)), for any Q.
    eta, mu, P = run.learning_rate * run.rule.gains[0], run.momentum, preconditioner(run)
    inner = np.eye(3) - eta / (2 * (1 + mu)) * P @ run.curvature
    product = weight @ np.linalg.solve(inner, P @ run.batch_noise)
    return eta / (2 * (1 - mu)) * float(np.trace(product))


def rounding(run) -> float:
    # A map is rounded at 1, so that its slowest mode is known to that over its pull.  A few
    # roundings of the stiffest pull count as much more as it is nearer to the limit than to zero:
    # no algorithm that is handed the curvature in double precision avoids those.
    pulls = run.learning_rate * run.preconditioned_curvatures
    near = pulls[-1] / (run.rule.largest_pull - pulls[-1])
    return EPS * (64.0 * (1.0 + 1.0 / pulls[0]) + 4.0 * near)


@pytest.mark.parametrize("name", HEAVY)
@pytest.mark.parametrize("share", [1e-6, 0.3, 0.95])
def test_exact_loss_is_the_closed_form_for_any_noise(name: str, share: float) -> None:
    rate = share * sgd(**HEAVY[name]).critical_learning_rate()
    run = sgd(learning_rate=rate, weight_decay=0.05, **HEAVY[name])
    found = stationary_loss(run)
    expected = closed_loss(run, np.eye(3)) / 2
    assert found.regularised == pytest.approx(expected, rel=rounding(run))
    assert found.along.sum() == pytest.approx(found.regularised, rel=1e-12)
    decayed = 0.05 * np.trace(stationary_covariance(run).matrix) / 2
    assert found.data == pytest.approx(found.regularised - decayed, rel=1e-10)
    np.testing.assert_allclose(found.directions.T @ found.directions, np.eye(3), atol=1e-14)
    assert 0.0 <= found.error_estimate < 1e-7 * found.regularised


@pytest.mark.twin
def test_closed_form_rejects_the_small_rate_and_the_noise_of_one_example() -> None:
    run = sgd()
    found = stationary_loss(run).regularised
    assert found > 1.05 * run.learning_rate / 4 * np.trace(run.batch_noise)
    assert abs(found / closed_loss(sgd(batch_size=1), np.eye(3)) - 0.5) > 0.1


def test_exact_trace_identity_of_the_loss() -> None:
    run = sgd()
    S, K = stationary_covariance(run).matrix, run.curvature
    expected = run.learning_rate / 4 * (np.trace(run.batch_noise) + np.trace(K @ S @ K))
    assert stationary_loss(run).regularised == pytest.approx(expected, rel=1e-13)


def test_loss_of_shuffled_epochs_is_smaller_and_that_of_their_covariance() -> None:
    shuffled = sgd(sampling="shuffled", dataset_size=40, learning_rate=0.05)
    S, K = stationary_covariance(shuffled).matrix, shuffled.curvature
    found = stationary_loss(shuffled)
    assert found.regularised == pytest.approx(np.trace(K @ S) / 2, rel=1e-12)
    assert found.regularised < 0.8 * stationary_loss(sgd(learning_rate=0.05)).regularised


@pytest.mark.parametrize("setting", [{}, {"momentum": 0.5}])
def test_exact_loss_of_least_squares_takes_its_noise_as_it_is(setting: dict) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(30, 3)), rng.normal(size=30)
    run = LeastSquaresSGD(
        inputs=x, targets=y, learning_rate=0.1, batch_size=4, ridge=0.05, **setting
    )
    S = stationary_covariance(run).matrix
    found = stationary_loss(run)
    assert found.data == pytest.approx(np.trace(x.T @ x @ S) / 60, rel=1e-12)
    assert found.regularised == pytest.approx(found.data + 0.025 * np.trace(S), rel=1e-12)
    assert found.data > 1.05 * stationary_loss(run.near_minimum()).data


def test_law_of_the_simulated_loss() -> None:
    run = sgd(momentum=0.6)
    w = simulate(run, [0, 1], chains=20_000, rng=seed_of("loss"), backend="numpy").values[:, 0]
    losses = 0.5 * np.einsum("cd,de,ce->c", w, run.curvature, w)
    S, K = stationary_covariance(run).matrix, run.curvature
    spread = np.sqrt(0.5 * np.trace(K @ S @ K @ S) / len(w))
    assert follows(losses.mean(), stationary_loss(run).regularised, spread)
    assert not follows(losses.mean(), run.learning_rate / 1.6 * np.trace(run.batch_noise), spread)


@pytest.mark.parametrize("name", HEAVY)
@pytest.mark.parametrize("rate", [1e-5, 0.4])
def test_exact_relations_between_the_temperatures(name: str, rate: float) -> None:
    run = sgd(learning_rate=rate, **HEAVY[name])
    found, mu = effective_temperature(run), run.momentum
    eta = rate * run.rule.gains[0]
    heated = 1.0 - eta * found.curvatures / (2.0 * (1.0 + mu))
    np.testing.assert_allclose(found.potential * heated, found.noise, rtol=rounding(run))
    assert found.potential.sum() == pytest.approx(2 * stationary_loss(run).regularised, rel=1e-11)
    if mu > 0.0:
        np.testing.assert_allclose(
            found.kinetic, 2 / (1 + mu) * found.potential, rtol=rounding(run)
        )
    P, u = preconditioner(run), found.directions
    np.testing.assert_allclose(u.T @ run.curvature @ u, np.diag(found.curvatures), atol=1e-14)
    np.testing.assert_allclose(u.T @ np.linalg.solve(P, u), np.eye(3), atol=1e-13)
    level = eta * np.trace(P @ run.batch_noise) / (6 * (1 - mu))
    assert found.mean == pytest.approx(level, rel=1e-13)
    assert found.mean == pytest.approx(found.noise.mean(), rel=1e-12)


@pytest.mark.parametrize("name", ["momentum", "dampened", "full"])
def test_exact_mean_of_two_velocities_has_the_temperature_of_the_noise(name: str) -> None:
    run = sgd(**SETTINGS[name])
    X, T = stationary_covariance(run).state_matrix, run.map().transition
    V, after = X[3:, 3:], (T @ X)[3:, 3:]
    mean = (2 * V + after + after.T) / 4
    found = effective_temperature(run)
    whiten = np.linalg.solve(preconditioner(run), found.directions)
    eta = run.learning_rate * run.rule.gains[0]
    both = np.einsum("di,de,ei->i", whiten, mean, whiten) / eta
    np.testing.assert_allclose(both, found.noise, rtol=1e-12)
    one = np.einsum("di,de,ei->i", whiten, V, whiten) / eta
    assert np.abs(one / found.noise - 1).min() > 0.05


@pytest.mark.parametrize("name", ["plain", "momentum", "dampened"])
@pytest.mark.parametrize("cycles", [1e-4, 0.1, 0.3, 0.49])
def test_exact_theorem_at_every_frequency(name: str, cycles: float) -> None:
    run = sgd(**SETTINGS[name])
    found = effective_temperature(run)
    S = power_spectrum(run, [cycles], directions=found.directions)[0]
    # The response of the weights to a force that joins the gradient, by the map itself.
    T, z = run.map().transition, np.exp(2j * np.pi * cycles)
    kick = -run.learning_rate * run.rule.gains[0] * np.vstack([np.eye(3)] * 2)[: len(T)]
    response = np.linalg.solve(z * np.eye(len(T)) - T, kick)[:3]
    along = np.einsum("di,de,ei->i", found.directions, response, found.directions)
    temperature = np.sin(2 * np.pi * cycles) * S / (2 * np.abs(along.imag))
    np.testing.assert_allclose(temperature, found.noise, rtol=1e-9)


@pytest.mark.twin
def test_theorem_rejects_the_derivative_of_continuous_time() -> None:
    wrong = 2 * np.pi * 0.3 / np.sin(2 * np.pi * 0.3)
    assert abs(wrong - 1) > 0.9


def test_single_temperature_exists_only_for_isotropic_noise() -> None:
    isotropic = effective_temperature(sgd(gradient_noise=np.eye(3)))
    assert isotropic.is_single(1e-12)
    np.testing.assert_allclose(isotropic.noise, isotropic.mean, rtol=1e-13)
    mixed = effective_temperature(sgd())
    values = np.linalg.eigvalsh(NOISE)
    assert mixed.anisotropy == pytest.approx(values[-1] / values[0], rel=1e-12)
    assert not mixed.is_single(0.1)
    # A preconditioner that whitens the noise makes one temperature of many.
    whitened = effective_temperature(sgd(preconditioner=np.linalg.inv(NOISE), learning_rate=0.01))
    assert whitened.is_single(1e-10)
    rank_one = effective_temperature(sgd(gradient_noise=np.ones((3, 3))))
    assert rank_one.anisotropy == np.inf


def test_isotropic_noise_has_equal_parts_though_potential_energies_differ() -> None:
    # One noise level, and still the steep directions are hotter at a large rate.
    found = effective_temperature(sgd(gradient_noise=np.eye(3), learning_rate=1.2))
    assert found.potential[-1] > 2.0 * found.potential[0]


@pytest.mark.parametrize("name", ["plain", "momentum", "dampened"])
def test_exact_noise_scale_is_the_closed_form(name: str) -> None:
    run = sgd(weight_decay=0.1, **SETTINGS[name])
    K = run.curvature
    found = gradient_noise_scale(run)
    assert found.gradient_square == pytest.approx(closed_loss(run, K), rel=1e-11)
    assert found.gradient_curvature == pytest.approx(closed_loss(run, K @ K), rel=1e-11)
    assert found.simple == pytest.approx(np.trace(NOISE) / closed_loss(run, K), rel=1e-11)
    weighted = np.trace(K @ NOISE) / closed_loss(run, K @ K)
    assert found.curvature_weighted == pytest.approx(weighted, rel=1e-11)
    for exact, limit in (
        (found.simple, found.small_rate_simple),
        (found.curvature_weighted, found.small_rate_weighted),
    ):
        assert 0.0 < 1.0 - exact / limit < found.relative_gap


def test_order_of_the_small_rate_noise_scale_is_one() -> None:
    def gap(n: int) -> float:
        found = gradient_noise_scale(sgd(learning_rate=0.4 / n))
        return 1.0 - found.simple / found.small_rate_simple

    table = observed_order(gap, [4, 8, 16, 32, 64], expected=1.0)
    assert table.agrees(), table


@pytest.mark.parametrize("name", HEAVY)
@pytest.mark.parametrize("rate", [1e-4, 0.4])
def test_exact_relations_hold_for_the_map(name: str, rate: float) -> None:
    run = sgd(learning_rate=rate, weight_decay=0.1, **HEAVY[name])
    found = fluctuation_dissipation(run)
    assert np.abs(found.residuals).max() < rounding(run)


def test_exact_sides_without_momentum_are_those_of_one_batch_gradient() -> None:
    run = sgd()
    S, K, eta = stationary_covariance(run).matrix, run.curvature, run.learning_rate
    second_moment = run.batch_noise + K @ S @ K
    found = fluctuation_dissipation(run)
    assert found.velocity == pytest.approx(eta / 2 * np.trace(second_moment), rel=1e-13)
    assert found.curvature == pytest.approx(eta / 2 * np.trace(K @ second_moment), rel=1e-13)


@pytest.mark.parametrize("which", [0, 1])
def test_order_of_the_relations_in_the_continuum_limit_is_one(which: int) -> None:
    def gap(n: int) -> float:
        run = sgd(learning_rate=0.4 / n)
        flow = stationary_covariance(run.flow()).matrix
        return abs(fluctuation_dissipation(run, covariance=flow).residuals[which])

    table = observed_order(gap, [4, 8, 16, 32, 64], expected=1.0)
    assert table.agrees(), table


@pytest.mark.twin
@pytest.mark.parametrize("which", [0, 1])
def test_relations_reject_one_per_cent_in_a_variance(which: int) -> None:
    run = sgd()
    S = 1.01 * stationary_covariance(run).matrix
    assert abs(fluctuation_dissipation(run, covariance=S).residuals[which]) > 5e-3


def test_no_noise_is_no_residual_and_no_loss() -> None:
    run = sgd(gradient_noise=np.zeros((3, 3)))
    assert fluctuation_dissipation(run).residuals == (0.0, 0.0)
    assert stationary_loss(run).regularised == 0.0


SHUFFLED = {"sampling": "shuffled", "dataset_size": 10}


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: stationary_loss(sgd(learning_rate=3.0)), UnstableError, "critical|limit|stable"),
        (lambda: effective_temperature(sgd(**SHUFFLED)), InputError, "`frequency` is needed"),
        (
            lambda: gradient_noise_scale(sgd(gradient_noise=np.zeros((3, 3)))),
            UnsupportedError,
            "0 / 0",
        ),
        (
            lambda: fluctuation_dissipation(sgd(momentum=0.5), covariance=np.eye(3)),
            UnsupportedError,
            "velocities",
        ),
        (
            lambda: fluctuation_dissipation(sgd(), covariance=-np.eye(3)),
            IndefiniteError,
            "`covariance`",
        ),
    ],
)
def test_refuses_what_has_no_meaning(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()


def test_directions_of_a_preconditioned_run_solve_its_pencil() -> None:
    run = sgd(**SETTINGS["full"])
    found = effective_temperature(run)
    expected = scipy.linalg.eigvalsh(SYMMETRIC, np.linalg.inv(preconditioner(run)))
    np.testing.assert_allclose(found.curvatures, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "observable",
    [effective_temperature, fluctuation_dissipation, gradient_noise_scale, stationary_loss],
)
def test_refuses_what_is_not_sgd_by_name(observable: Callable[[object], object]) -> None:
    with pytest.raises(InputError, match="must be an SGDNearMinimum, got OUProcess"):
        observable(OUProcess(drift=[[1.0]], noise=[[1.0]]))


def regression(**changed) -> LeastSquaresSGD:
    rng = np.random.default_rng(5)
    given = {"batch_size": 1, "learning_rate": 0.1} | changed
    return LeastSquaresSGD(inputs=rng.normal(size=(12, 2)), targets=rng.normal(size=12), **given)


def batch_gradients(run: LeastSquaresSGD) -> tuple[np.ndarray, np.ndarray]:
    """The second moment of one example's gradient in the stationary state, and its mean's."""
    S, x = stationary_covariance(run).matrix, run.inputs
    residuals = x @ run.minimum - run.targets
    squares = residuals**2 + np.einsum("nd,de,ne->n", x, S, x)
    return (x * squares[:, None]).T @ x / len(x), run.curvature @ S @ run.curvature


def test_exact_relations_where_the_noise_depends_on_the_state() -> None:
    run = regression()
    S, K, (second, _) = stationary_covariance(run).matrix, run.curvature, batch_gradients(run)
    found = fluctuation_dissipation(run)
    assert found.position == pytest.approx(np.trace(K @ S), rel=1e-12)
    assert found.velocity == pytest.approx(0.05 * np.trace(second), rel=1e-12)
    assert found.curvature == pytest.approx(0.05 * np.trace(K @ second), rel=1e-12)
    for setting in ({}, {"momentum": 0.6, "dampening": 0.2}, {"preconditioner": [1.0, 0.3]}):
        assert np.abs(fluctuation_dissipation(regression(**setting)).residuals).max() < 1e-11


@pytest.mark.twin
def test_relations_reject_the_covariance_of_frozen_noise() -> None:
    run = regression()
    frozen = stationary_covariance(run.near_minimum()).matrix
    residuals = fluctuation_dissipation(run, covariance=frozen).residuals
    assert np.abs(residuals).min() > 0.05


def test_exact_noise_scale_counts_the_noise_of_the_stationary_state() -> None:
    run = regression()
    K, (second, mean) = run.curvature, batch_gradients(run)
    found = gradient_noise_scale(run)
    assert found.simple == pytest.approx(np.trace(second - mean) / np.trace(mean), rel=1e-12)
    weighted = np.trace(K @ (second - mean)) / np.trace(K @ mean)
    assert found.curvature_weighted == pytest.approx(weighted, rel=1e-12)
    frozen = gradient_noise_scale(run.near_minimum())
    assert found.gradient_square > 1.05 * frozen.gradient_square


@pytest.mark.parametrize("setting", [{}, {"momentum": 0.6, "preconditioner": [1.0, 0.3]}])
def test_exact_temperatures_where_the_noise_depends_on_the_state(setting: dict) -> None:
    run = regression(**setting)
    state, d = stationary_covariance(run).state_matrix, run.dimension
    found = effective_temperature(run)
    P = np.diag(setting.get("preconditioner", np.ones(d)))
    along = np.linalg.solve(P, found.directions)
    potential = found.curvatures * np.einsum("di,de,ei->i", along, state[:d, :d], along)
    np.testing.assert_allclose(found.potential, potential, rtol=1e-12)
    if setting:
        kinetic = np.einsum("di,de,ei->i", along, state[d:, d:], along) / run.learning_rate
        np.testing.assert_allclose(found.kinetic, kinetic, rtol=1e-11)
    assert (found.noise > 1.02 * effective_temperature(run.near_minimum()).noise).all()


@pytest.mark.parametrize(
    "observable", [effective_temperature, fluctuation_dissipation, gradient_noise_scale]
)
def test_refuses_shuffled_epochs_of_data_and_rates_without_a_variance(
    observable: Callable[[object], object],
) -> None:
    with pytest.raises(UnsupportedError, match="shuffled"):
        observable(regression(sampling="shuffled"))
    beyond = 1.01 * regression().critical_learning_rate()
    with pytest.raises(UnstableError, match="second moment"):
        observable(regression(learning_rate=beyond))
    with pytest.raises(InputError, match="must be an SGDNearMinimum"):
        observable(None)

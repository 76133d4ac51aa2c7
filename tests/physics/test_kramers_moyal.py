"""Kramers and Moyal's second order: what it repairs, to which order, and what it does not."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.errors import InputError, OutOfRangeError, ShapeError
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.physics.currents import stationary_density
from fracsde.physics.kramers_moyal import KramersMoyal, discrete_fokker_planck
from fracsde.problems.fokker_planck import Gaussian
from tests.support.orders import observed_order


def stationary(moments: str, eta: float, gradient, noise=1.0, reach: float = 8.0):
    """Points and masses of the stationary law; the reach is counted in standard deviations."""
    width = reach * np.sqrt(0.5 * eta)
    problem = discrete_fokker_planck(
        gradient=gradient,
        noise=noise,
        learning_rate=eta,
        domain=(-width, width),
        initial=Gaussian(),
        moments=moments,
    )
    x, p = stationary_density(problem, space=FiniteVolume(cells=2000))
    return x, p / p.sum()


def steps_law(eta: float, gradient, reach: float = 9.0, points: int = 260):
    """The stationary law of the steps themselves with normal noise: nodes and masses.

    The trapezoidal rule is as good as exact on a smooth kernel that it resolves.
    """
    width = reach * np.sqrt(0.5 * eta)
    x = np.linspace(-width, width, points)
    mean = x - eta * gradient(x)
    K = np.exp(-0.5 * ((x[None, :] - mean[:, None]) / eta) ** 2)
    K /= K.sum(axis=1, keepdims=True)
    values, vectors = np.linalg.eig(K.T)
    mass = np.real(vectors[:, np.argmax(values.real)])
    return x, mass / mass.sum()


def moment(law, k: int) -> float:
    x, mass = law
    return float(x**k @ mass)


def test_exact_fields_of_one_step_in_the_plane() -> None:
    C = ((2.0, 0.5), (0.5, 1.0))
    step = KramersMoyal(
        gradient=lambda x, y: (x + y, 2 * y),
        noise=lambda x, y: tuple(tuple(c + 0 * x for c in row) for row in C),
        learning_rate=0.3,
        batch_size=4,
    )
    x, y = np.array([1.0, -2.0]), np.array([0.5, 1.0])
    g = np.array([x + y, 2 * y])
    np.testing.assert_allclose(step.drift(x, y), -0.3 * g)
    full = 0.045 * (np.array(C)[:, :, None] / 4 + g[:, None] * g[None, :])
    np.testing.assert_allclose(np.array(step.diffusion(x, y)), full)
    even = KramersMoyal(gradient=step.gradient, noise=2.0, learning_rate=0.3, moments="langevin")
    np.testing.assert_allclose(
        np.array(even.diffusion(x, y)), 0.09 * np.eye(2)[:, :, None] * np.ones(2)
    )


@pytest.mark.parametrize("noise", [1.0, lambda x: 1.0 + 0.3 * np.sin(x)])
def test_exact_balance_of_moments_holds_as_for_the_steps(noise) -> None:
    """2 <w L'> = eta <C + L'^2>, which Langevin's equation misses by its last term."""
    eta, gradient = 0.3, np.tanh

    def gap(moments: str) -> float:
        x, mass = stationary(moments, eta, gradient, noise, reach=30.0)
        C = noise(x) if callable(noise) else noise
        left, right = 2 * (x * gradient(x)) @ mass, eta * (C + gradient(x) ** 2) @ mass
        return abs(left / right - 1)

    assert gap("full") < 1e-4
    assert gap("langevin") > 0.1


def test_variance_of_a_quadratic_loss_is_exact_and_langevins_is_off_by_half_the_pull() -> None:
    for eta in (0.1, 0.4):
        exact = eta / (2 - eta)
        full = moment(stationary("full", eta, lambda x: x, reach=40.0), 2)
        langevin = moment(stationary("langevin", eta, lambda x: x), 2)
        assert full == pytest.approx(exact, rel=2e-4)
        assert langevin == pytest.approx(exact * (1 - eta / 2), rel=2e-4)


RATES = [4, 8, 16, 32, 64]  # inverse learning rates


@pytest.mark.parametrize(("moments", "expected"), [("langevin", 1.0), ("full", 2.0)])
def test_order_of_the_variance_in_an_anharmonic_well(moments: str, expected: float) -> None:
    def gradient(x):
        return x + x**3

    def error(n: int) -> float:
        exact = moment(steps_law(1 / n, gradient), 2)
        reach = 12.0 if moments == "full" else 8.0
        return abs(moment(stationary(moments, 1 / n, gradient, reach=reach), 2) / exact - 1)

    table = observed_order(error, RATES, expected=expected)
    assert table.agrees(), str(table)


@pytest.mark.twin
def test_order_rejects_the_other_convention_for_a_diffusion_that_varies() -> None:
    """Ito's equation written as D dp/dx without its drift D'."""

    def error(n: int) -> float:
        eta = 1 / n
        step = KramersMoyal(gradient=lambda x: x + x**3, noise=1.0, learning_rate=eta)
        x = np.linspace(-8, 8, 4001) * np.sqrt(0.5 * eta)
        slope = step.drift(x) / step.diffusion(x)
        logs = np.append(0.0, np.cumsum(0.5 * (slope[1:] + slope[:-1]) * np.diff(x)))
        mass = np.exp(logs - logs.max())
        exact = moment(steps_law(eta, lambda x: x + x**3), 2)
        return abs(moment((x, mass / mass.sum()), 2) / exact - 1)

    table = observed_order(error, RATES, expected=2.0)
    assert not table.agrees(), str(table)


def test_refuses_what_is_no_step() -> None:
    with pytest.raises(InputError, match="`gradient` must be a function"):
        KramersMoyal(gradient=1.0, noise=1.0, learning_rate=0.1)
    with pytest.raises(OutOfRangeError, match="`noise`"):
        KramersMoyal(gradient=np.sin, noise=-1.0, learning_rate=0.1)
    with pytest.raises(InputError, match="'full', 'langevin'"):
        KramersMoyal(gradient=np.sin, noise=1.0, learning_rate=0.1, moments="some")
    with pytest.raises(ShapeError, match="gradient"):
        KramersMoyal(gradient=lambda x: x[:1], noise=1.0, learning_rate=0.1).drift(np.ones(3))

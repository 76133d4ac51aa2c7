"""Stationary states and currents: Stratonovich's formula, divergence, and a stirred plane."""

import numpy as np
import pytest

from fracsde.errors import UnsupportedError
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.operators.sinc import Sinc
from fracsde.physics.currents import (
    probability_current,
    stationary_current,
    stationary_density,
)
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian, PointMass
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.solve import solve
from tests.support.orders import observed_order

D, TURN = 0.6, 2.0


def tilted(push=1.5, **changes):
    given = {
        "potential": lambda x: np.cos(np.pi * x),
        "force": lambda x: push + 0 * x,
        "diffusion": D,
        "domain": (0.0, TURN),
        "boundary": "periodic",
        "initial": Gaussian(mean=1.0, std=0.2),
    }
    return FokkerPlanck(**(given | changes))


def stratonovich(push):
    """The double integral by the trapezoidal rule, which is exact for periodic functions."""
    n = 400
    x = np.arange(n) * TURN / n
    phi = lambda y: (np.cos(np.pi * y) - push * y) / D  # noqa: E731
    nodes, weights = np.polynomial.legendre.leggauss(60)
    y = x[:, None] + TURN * (nodes + 1) / 2
    inner = np.exp(phi(y) - phi(x)[:, None]) @ weights * TURN / 2
    return D * -np.expm1(-push * TURN / D) / (inner.sum() * TURN / n)


def order_of_currents(factor=1.0):
    exact = factor * stratonovich(1.5)

    def error(cells):
        return abs(stationary_current(tilted(), space=FiniteVolume(cells=cells)) - exact)

    return observed_order(error, (16, 32, 64, 128, 256), 2.0)


def test_order_of_the_current_of_a_tilted_ring():
    table = order_of_currents()
    assert table.agrees(), table


@pytest.mark.twin
def test_order_of_the_current_rejects_one_per_thousand():
    assert not order_of_currents(1.001).agrees()


def test_exact_current_is_odd_in_the_tilt_and_zero_without():
    space = FiniteVolume(cells=128)
    forth, back = (
        stationary_current(tilted(1.5), space=space),
        stationary_current(tilted(-1.5), space=space),
    )
    assert abs(forth + back) < 1e-12
    assert forth > 0
    assert abs(stationary_current(tilted(0.0), space=space)) < 1e-12
    assert stationary_current(tilted(boundary="reflecting"), space=space) == 0.0


def divergence_gap(problem, times, **solving):
    solution = solve(problem, times, space=FiniteVolume(cells=60), **solving)
    J = probability_current(solution)
    chain = solution.generator
    masses = solution.density * solution.widths
    lost = np.diff(J, axis=1)
    return float(np.abs(chain.apply_to_masses(masses) + lost).max() / np.abs(J).max())


@pytest.mark.parametrize("alpha", [0.6, 1.0])
@pytest.mark.parametrize("boundary", ["periodic", "reflecting", "absorbing"])
def test_exact_divergence_of_the_current(alpha, boundary):
    base = tilted(boundary=boundary, initial=PointMass(at=0.7))
    problem = FractionalFokkerPlanck(base=base, alpha=alpha)
    assert divergence_gap(problem, [0.1, 0.3]) < 1e-12


@pytest.mark.twin
def test_exact_divergence_rejects_the_other_sign():
    base = tilted(initial=PointMass(at=0.7))
    solution = solve(base, [0.1], space=FiniteVolume(cells=60))
    J = probability_current(solution)
    gained = solution.generator.apply_to_masses(solution.density * solution.widths)
    assert np.abs(gained - np.diff(J, axis=1)).max() > 0.1 * np.abs(J).max()


def test_exact_walls_currents_leave_outwards():
    solution = solve(tilted(boundary="absorbing"), [0.2], space=FiniteVolume(cells=60))
    J = probability_current(solution)[0]
    assert J[0] < 0 < J[-1]
    reacting = tilted(boundary="reflecting", reaction=lambda x: 1.0 + x)
    J = probability_current(solve(reacting, [0.2], space=FiniteVolume(cells=60)))[0]
    assert J[0] == J[-1] == 0.0


def test_limit_of_late_times_is_the_stationary_current():
    space = FiniteVolume(cells=80)
    J = probability_current(solve(tilted(), [30.0], space=space))[0]
    assert np.abs(J - stationary_current(tilted(), space=space)).max() < 1e-9
    x, p = stationary_density(tilted(), space=space)
    solution = solve(tilted(), [30.0], space=space)
    assert np.array_equal(x, solution.points[0])
    assert np.abs(p - solution.density[0]).max() < 1e-8


def stirred(omega=1.0):
    return FokkerPlanck(
        potential=lambda x, y: (x**2 + y**2) / 2,
        force=lambda x, y: (-omega * y, omega * x),
        diffusion=1.0,
        domain=((-5.0, 5.0), (-5.0, 5.0)),
        initial=Gaussian(mean=(0.0, 0.0), std=1.0),
    )


def worst_of_plane(cells, factor=1.0):
    """Gibbs stays stationary when stirred round its centre; the current is F times it."""
    edges = np.linspace(-5, 5, cells + 1)
    centres, upper = 0.5 * (edges[1:] + edges[:-1]), edges[1:]
    J = stationary_current(stirred(), space=FiniteVolume(cells=cells))
    gibbs = lambda x, y: np.exp(-(x**2 + y**2) / 2) / (2 * np.pi)  # noqa: E731
    exact = -centres * gibbs(upper[:, None], centres)
    return float(np.abs(J[0] - factor * exact)[:-1].max())


def test_order_of_the_current_of_a_stirred_plane():
    table = observed_order(worst_of_plane, (12, 18, 27, 40, 60), 2.0)
    assert table.agrees(), table


@pytest.mark.twin
def test_order_of_the_plane_rejects_one_per_cent():
    table = observed_order(lambda n: worst_of_plane(n, 1.01), (12, 18, 27, 40, 60), 2.0)
    assert not table.agrees()


def test_refuses_problems_that_do_not_settle():
    with pytest.raises(UnsupportedError, match="no stationary density"):
        stationary_density(tilted(boundary="absorbing"))
    with pytest.raises(UnsupportedError, match="has a source"):
        stationary_current(tilted(source=lambda t, x: 1.0 + 0 * x))
    smooth = FokkerPlanck(
        potential=lambda x: x**2 / 2,
        diffusion=1.0,
        domain=(-np.inf, np.inf),
        initial=Gaussian(mean=0.5, std=0.6),
    )
    with pytest.raises(UnsupportedError, match="must be on cells"):
        probability_current(solve(smooth, [0.5], space=Sinc(points=48)))

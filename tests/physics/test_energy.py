"""Free energy falls on both clocks, and rises when the drift has the printed sign."""

from dataclasses import replace

import numpy as np
import pytest

from fracsde.errors import InputError, UnsupportedError
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.physics.currents import probability_current
from fracsde.physics.energy import free_energy, relative_entropy
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.problems.potentials import double_well
from fracsde.solve import solve

SPACE = FiniteVolume(cells=160)
TIMES = np.concatenate([[0.0], np.geomspace(1e-3, 30.0, 16)])
V = double_well(barrier=1.0)
D = 0.4


def problem(**changes):
    given = {
        "potential": V,
        "diffusion": D,
        "domain": (-2.5, 2.5),
        "initial": Gaussian(mean=0.6, std=0.3),
    }
    return FokkerPlanck(**(given | changes))


def falls(values):
    return bool(np.all(np.diff(values) < 1e-12 * np.abs(values).max()))


@pytest.mark.parametrize("alpha", [0.5, 0.8, 1.0])
def test_keeps_falling_on_every_clock(alpha):
    solution = solve(FractionalFokkerPlanck(base=problem(), alpha=alpha), TIMES, space=SPACE)
    assert falls(free_energy(solution))
    assert falls(relative_entropy(solution))
    assert free_energy(solution)[0] > free_energy(solution)[-1] + 0.1


@pytest.mark.twin
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_keeps_falling_rejects_the_printed_sign_of_the_drift(alpha):
    """Solved with the sign turned round, measured with the potential there is."""
    wrong = problem(potential=lambda x: -V(x))
    # Turned round, the mass gathers where these cells are too wide for it.
    turned = FractionalFokkerPlanck(base=wrong, alpha=alpha)
    solution = solve(turned, TIMES, space=SPACE, throw=False)
    energies = free_energy(replace(solution, problem=problem()))
    assert not falls(energies)
    assert energies[-1] > energies[0] + 0.1


@pytest.mark.parametrize("alpha", [0.6, 1.0])
def test_routes_agree_of_free_energy_and_relative_entropy(alpha):
    solution = solve(FractionalFokkerPlanck(base=problem(), alpha=alpha), TIMES, space=SPACE)
    x, h = solution.points[0], solution.widths
    rest = -D * np.log(np.exp(-V(x) / D) @ h)
    gap = free_energy(solution) - rest - D * relative_entropy(solution)
    assert np.abs(gap).max() < 1e-12


def test_exact_along_the_oscillator():
    """A Gaussian stays one: mean m e^-t, variance v; entropy in closed form."""
    base = FokkerPlanck(
        potential=lambda x: x**2 / 2,
        diffusion=1.0,
        domain=(-np.inf, np.inf),
        initial=Gaussian(mean=1.5, std=0.5),
    )
    t = np.array([0.1, 0.5, 2.0])
    mean, variance = 1.5 * np.exp(-t), 1 - 0.75 * np.exp(-2 * t)
    exact = (mean**2 + variance - 1 - np.log(variance)) / 2
    found = relative_entropy(solve(base, t, space=FiniteVolume(cells=800)))
    assert np.abs(found - exact).max() < 2e-4


@pytest.mark.twin
def test_exact_along_the_oscillator_rejects_entropy_the_other_way_round():
    t = np.array([0.1, 0.5, 2.0])
    mean, variance = 1.5 * np.exp(-t), 1 - 0.75 * np.exp(-2 * t)
    forth = (mean**2 + variance - 1 - np.log(variance)) / 2
    back = ((1 + mean**2) / variance - 1 + np.log(variance)) / 2
    assert np.abs(forth - back).min() > 2e-4


def test_keeps_falling_round_a_driven_ring_and_in_the_plane():
    ring = problem(
        potential=lambda x: np.cos(np.pi * x / 2.5),
        force=lambda x: 1.0 + 0 * x,
        boundary="periodic",
    )
    assert falls(relative_entropy(solve(ring, TIMES, space=SPACE)))
    plane = FokkerPlanck(
        potential=lambda x, y: x**2 / 2 + y**2,
        diffusion=1.0,
        domain=((-5.0, 5.0), (-5.0, 5.0)),
        initial=Gaussian(mean=(1.0, -0.5), std=0.5),
    )
    solution = solve(plane, [0.0, 0.1, 0.5, 2.0], space=FiniteVolume(cells=24))
    assert falls(free_energy(solution))
    gap = free_energy(solution) - relative_entropy(solution)
    assert np.ptp(gap) < 1e-10


def test_refuses_open_and_driven_problems():
    with pytest.raises(UnsupportedError, match="keeps its mass"):
        relative_entropy(solve(problem(boundary="absorbing"), [0.1], space=SPACE))
    forced = problem(force=lambda x: 1.0 + 0 * x)
    with pytest.raises(UnsupportedError, match="use relative_entropy"):
        free_energy(solve(forced, [0.1], space=SPACE))


@pytest.mark.parametrize("verb", [free_energy, relative_entropy, probability_current])
@pytest.mark.parametrize("given", [problem(), None])
def test_refuses_what_was_not_solved(verb, given):
    with pytest.raises(InputError, match="solve first"):
        verb(given)

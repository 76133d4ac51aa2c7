"""Two grids extrapolated: order four at the points, in integrals and between the points."""

import numpy as np
import pytest

from fracsde.errors import InputError
from fracsde.operators.richardson import ExtrapolatedCells, Richardson
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.schemes.l1 import L1
from fracsde.schemes.propagator import Propagator
from fracsde.solve import solve
from tests.support.exact import fractional_ornstein_uhlenbeck, half_order_relaxation
from tests.support.orders import observed_order

SIZES = (24, 48, 96, 192, 384)
TIMES = np.array([0.02, 0.3])


def wave(**changes):
    settings = {
        "diffusion": 1.0,
        "domain": (0.0, 1.0),
        "initial": lambda x: 1 + 0.8 * np.cos(np.pi * x) + 0.1 * np.cos(3 * np.pi * x),
    }
    return FractionalFokkerPlanck(base=FokkerPlanck(**(settings | changes)), alpha=0.5)


def exact_wave(x):
    decay = half_order_relaxation(np.sqrt(TIMES)[:, None] * np.array([np.pi**2, 9 * np.pi**2]))
    return 1.0 + 0.8 * decay[:, :1] * np.cos(np.pi * x) + 0.1 * decay[:, 1:] * np.cos(3 * np.pi * x)


def well():
    base = FokkerPlanck(
        potential=lambda x: x**2 / 2,
        diffusion=1.0,
        domain=(-9.0, 9.0),
        initial=Gaussian(mean=1.5, std=0.5),
    )
    return FractionalFokkerPlanck(base=base, alpha=0.5)


def exact_well(x):
    return np.array(
        [fractional_ornstein_uhlenbeck(x, t, mean=1.5, std=0.5, terms=400) for t in TIMES]
    )


CASES = [(wave, exact_wave), (well, exact_well)]


@pytest.mark.parametrize(("problem", "exact"), CASES)
def test_order_four_at_the_points(problem, exact):
    def error_at(n):
        solution = solve(problem(), TIMES, space=Richardson(cells=n))
        return np.abs(solution.density - exact(solution.points[0])).max()

    table = observed_order(error_at, SIZES, 4.0)
    assert table.agrees(), table


@pytest.mark.twin
def test_order_four_rejects_the_weights_of_halved_cells(monkeypatch):
    def halved(self, coarse, fine):
        return (4.0 * fine[..., 1::3] - coarse) / 3.0

    monkeypatch.setattr(ExtrapolatedCells, "combine", halved)

    def error_at(n):
        solution = solve(wave(), TIMES, space=Richardson(cells=n))
        return np.abs(solution.density - exact_wave(solution.points[0])).max()

    assert not observed_order(error_at, SIZES, 4.0).agrees()


def quadrature_error(n, plain=False):
    space = Richardson(cells=n).discretise(wave().base)
    weights = space.coarse.widths if plain else space.widths
    return abs(np.exp(space.points) @ weights - (np.e - 1.0))


def test_order_four_of_integrals_between_walls():
    table = observed_order(quadrature_error, SIZES, 4.0)
    assert table.agrees(), table


@pytest.mark.twin
def test_order_of_integrals_rejects_the_plain_widths():
    assert not observed_order(lambda n: quadrature_error(n, plain=True), SIZES, 4.0).agrees()


def test_order_four_of_the_mass_and_of_moments_between_walls():
    def error_at(n):
        solution = solve(wave(), TIMES, space=Richardson(cells=n))
        decay = half_order_relaxation(np.sqrt(TIMES)[:, None] * np.array([1.0, 9.0]) * np.pi**2)
        mean = 0.5 - 2 * (0.8 * decay[:, 0] + 0.1 * decay[:, 1] / 9) / np.pi**2
        return max(np.abs(solution.mean() - mean).max(), np.abs(solution.mass_defect()).max())

    table = observed_order(error_at, SIZES, 4.0)
    assert table.agrees(), table


@pytest.mark.parametrize("boundary", ["reflecting", "periodic"])
def test_order_four_between_the_points(boundary):
    base = FokkerPlanck(
        diffusion=1.0, domain=(0.0, 1.0), initial=lambda x: 1 + 0 * x, boundary=boundary
    )
    x = np.linspace(0.0, 1.0, 101)

    def shape(y):
        return np.cos(2 * np.pi * y) if boundary == "periodic" else np.exp(y)

    def error_at(n):
        space = Richardson(cells=n).discretise(base)
        return np.abs(space.interpolate(shape(space.points)[None], x)[0] - shape(x)).max()

    table = observed_order(error_at, SIZES, 4.0)
    assert table.agrees(), table


def test_density_between_points_of_a_solution_is_of_the_same_quality():
    solution = solve(wave(), TIMES, space=Richardson(cells=192))
    x = np.linspace(0.0, 1.0, 57)
    assert np.abs(solution.density_at(x) - exact_wave(x)).max() < 1e-7


def test_limit_of_marching_is_the_propagated_pair():
    space = Richardson(cells=24)
    marched = solve(wave(), np.linspace(0.0, 0.3, 400)[1:], scheme=L1(), space=space)
    assert marched.error_estimate is None
    propagated = solve(wave(), [0.3], scheme=Propagator(rtol=1e-10), space=space)
    assert np.abs(marched.density[-1] - propagated.density[-1]).max() < 1e-3
    assert propagated.error_estimate < 1e-9


def test_refuses_too_few_cells():
    with pytest.raises(InputError, match="cells"):
        Richardson(cells=4)

"""Solutions between their points: cells at second order, spectral operators at theirs."""

from dataclasses import replace

import numpy as np
import pytest

from fracsde.errors import OutOfRangeError
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.operators.hermite import Hermite
from fracsde.operators.sinc import Sinc
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.provenance import provenance
from fracsde.solution import Solution
from fracsde.status import Status
from tests.support.exact import fractional_ornstein_uhlenbeck, half_order_relaxation
from tests.support.propagation import half_order_densities

TIMES = np.array([0.05, 0.5, 5.0])


def problem(domain=(-np.inf, np.inf)):
    base = FokkerPlanck(
        potential=lambda x: x**2 / 2,
        diffusion=1.0,
        domain=domain,
        initial=Gaussian(mean=1.5, std=0.5),
    )
    return FractionalFokkerPlanck(base=base, alpha=0.5)


def spectral(space, domain=(-np.inf, np.inf)):
    fractional = problem(domain)
    generator = space.discretise(fractional.base)
    masses = generator.project(fractional.base.initial)
    return Solution(
        problem=fractional,
        scheme=None,
        space=space,
        times=TIMES,
        density=half_order_densities(generator, masses, TIMES),
        points=(generator.points,),
        widths=generator.widths,
        status=Status.SUCCESS,
        stats={},
        provenance=provenance(fractional, space, backend="numpy"),
        error_estimate=None,
        discrete_residual=0.0,
        generator=generator,
    )


def cells(generator):
    base = problem((-9.0, 9.0)).base
    centres = generator.points
    return Solution(
        problem=base,
        scheme=None,
        space=FiniteVolume(),
        times=TIMES[:1],
        density=base.initial(centres)[None],
        points=(centres,),
        widths=generator.widths,
        status=Status.SUCCESS,
        stats={},
        provenance=provenance(base, backend="numpy"),
        error_estimate=None,
        discrete_residual=0.0,
        generator=generator,
    )


@pytest.mark.parametrize("space", [Sinc(points=64), Hermite(modes=64)])
def test_exact_density_and_moments_of_a_spectral_solution(space):
    solution = spectral(space)
    x = np.linspace(-6.0, 6.0, 101)
    exact = np.array(
        [fractional_ornstein_uhlenbeck(x, t, mean=1.5, std=0.5, terms=400) for t in TIMES]
    )
    assert np.abs(solution.density_at(x) - exact).max() < 5e-12
    assert solution.density_at(0.3).shape == (3,)
    assert np.abs(solution.mass_defect()).max() < 1e-12
    mean = 1.5 * half_order_relaxation(np.sqrt(TIMES))
    second = 1.0 + 1.5 * half_order_relaxation(2.0 * np.sqrt(TIMES))
    assert np.abs(solution.mean() - mean).max() < 1e-11
    assert np.abs(solution.moment(2) - second).max() < 1e-10
    assert np.abs(solution.variance() - (second - mean**2)).max() < 1e-10


@pytest.mark.twin
def test_exact_density_rejects_a_solution_read_as_cells():
    solution = spectral(Sinc(points=64))
    solution = replace(solution, generator=FiniteVolume(cells=64).discretise(solution.problem.base))
    x = np.linspace(-6.0, 6.0, 101)
    exact = fractional_ornstein_uhlenbeck(x, TIMES[0], mean=1.5, std=0.5, terms=400)
    assert not np.abs(solution.density_at(x)[0] - exact).max() < 1e-4


def test_limit_outside_the_interval_of_a_wide_domain_the_density_is_zero():
    solution = spectral(Sinc(points=64), domain=(-50.0, 50.0))
    assert np.all(solution.density_at([-40.0, 40.0]) == 0.0)
    with pytest.raises(OutOfRangeError, match="there is nothing beyond"):
        solution.density_at(51.0)


def test_density_between_cells_is_of_their_order():
    base = problem((-9.0, 9.0)).base
    solution = cells(FiniteVolume(cells=200).discretise(base))
    x = np.linspace(-9.0, 9.0, 333)
    assert np.abs(solution.density_at(x)[0] - base.initial(x)).max() < 1e-2

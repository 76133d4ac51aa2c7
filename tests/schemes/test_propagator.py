"""Propagation: against Hermite times Mittag-Leffler, closed sums, and its own error bound."""

from dataclasses import replace

import numpy as np
import pytest

from fracsde.errors import ComputationError, UnsupportedError
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.densities import cell_masses
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian, PointMass
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.schemes.l1 import L1
from fracsde.schemes.propagator import Propagator
from fracsde.solve import solve
from fracsde.status import Status
from tests.support.exact import fractional_ornstein_uhlenbeck, half_order_relaxation
from tests.support.orders import observed_order

TIMES = (0.01, 0.1, 1.0, 10.0)
LINE = (-np.inf, np.inf)


def ornstein_uhlenbeck(sign=1.0, alpha=0.5, **changes):
    given = {
        "potential": lambda x: sign * x**2 / 2,
        "diffusion": 1.0,
        "domain": (-8.0, 8.0),
        "initial": Gaussian(mean=1.5, std=0.5),
    }
    base = FokkerPlanck(**(given | changes))
    return FractionalFokkerPlanck(base=base, alpha=alpha)


def hermite_error(n, sign=1.0):
    problem, space = ornstein_uhlenbeck(sign), FiniteVolume(cells=n)
    # The wrong sign is refused for its rounding too; here the order must see it.
    solution = solve(problem, TIMES, scheme=Propagator(), space=space, throw=False)
    x = solution.points[0]
    exact = [fractional_ornstein_uhlenbeck(x, t, mean=1.5, std=0.5) for t in TIMES]
    return float(np.abs(solution.density - exact).max())


def test_order_two_in_space_against_hermite_times_mittag_leffler():
    table = observed_order(hermite_error, (40, 80, 160, 320, 640), 2.0)
    assert abs(table.observed - 2.0) < 0.02, table
    assert table.errors[-1] < 4e-5, table


@pytest.mark.twin
def test_order_two_in_space_rejects_the_wrong_sign_of_the_potential():
    table = observed_order(lambda n: hermite_error(n, -1.0), (40, 80, 160, 320, 640), 2.0)
    assert not table.agrees(), table


@pytest.mark.parametrize("timescale", [1.0, 0.3])
def test_exact_modes_of_a_free_interval(timescale):
    """Cosines of cell centres are eigenvectors of equal free cells, so all is in closed form."""
    n, diffusion = 48, 0.7
    base = FokkerPlanck(
        diffusion=diffusion, domain=(0.0, 1.0), initial=lambda x: 1 + 0.5 * np.cos(3 * np.pi * x)
    )
    problem = FractionalFokkerPlanck(base=base, alpha=0.5, timescale=timescale)
    solution = solve(problem, [0.0, 0.001, 0.1], space=FiniteVolume(cells=n))
    rate = 4 * n**2 * diffusion * np.sin(1.5 * np.pi / n) ** 2
    clock = np.sqrt(timescale * solution.times)
    amplitude = 0.5 * half_order_relaxation(rate * clock)
    exact = 1 + np.multiply.outer(amplitude, np.cos(3 * np.pi * solution.points[0]))
    assert np.abs(solution.density - exact).max() <= solution.error_estimate < 1e-10


@pytest.mark.twin
def test_exact_modes_reject_a_clock_without_its_timescale():
    base = FokkerPlanck(
        diffusion=0.7, domain=(0.0, 1.0), initial=lambda x: 1 + 0.5 * np.cos(3 * np.pi * x)
    )
    given = FractionalFokkerPlanck(base=base, alpha=0.5, timescale=0.3)
    right, wrong = (solve(p, [0.1]) for p in (given, replace(given, timescale=1.0)))
    assert np.abs(right.density - wrong.density).max() > right.error_estimate


@pytest.mark.parametrize("boundary", ["absorbing", ("reflecting", "absorbing"), "periodic"])
def test_routes_agree_with_a_dense_exponential_at_every_wall(boundary):
    base = FokkerPlanck(
        potential=lambda x: np.cos(2 * np.pi * x),
        diffusion=1.0,
        domain=(0.0, 1.0),
        initial=lambda x: x * (1 - x),
        boundary=boundary,
    )
    from scipy.linalg import expm

    space = FiniteVolume(cells=40)
    solution = solve(base, [0.02, 0.2], scheme=Propagator(), space=space)
    chain = space.discretise(base)
    masses = cell_masses(base.initial, chain.edges)
    exact = np.array([expm(t * chain.matrix()) @ masses for t in (0.02, 0.2)]) / chain.widths
    assert np.abs(solution.density - exact).max() <= solution.error_estimate < 1e-10


def test_keeps_mass_to_rounding_for_all_times():
    solution = solve(ornstein_uhlenbeck(), np.geomspace(1e-6, 1e6, 13))
    assert np.abs(solution.mass_defect()).max() < 1e-14


def test_keeps_positivity_up_to_its_error_estimate():
    solution = solve(ornstein_uhlenbeck(initial=PointMass(at=1.0)), np.geomspace(1e-6, 1e3, 10))
    assert solution.density.min() >= -solution.error_estimate


def test_limit_early_and_late_times_are_the_start_and_the_equilibrium():
    problem = ornstein_uhlenbeck()
    chain = FiniteVolume(cells=512).discretise(problem.base)
    solution = solve(problem, [0.0, 1e-40, 1e40], scheme=Propagator())
    start = cell_masses(problem.base.initial, chain.edges) / chain.widths
    assert np.array_equal(solution.density[0], start)
    assert np.abs(solution.density[1] - start).max() <= solution.error_estimate
    assert np.abs(solution.density[2] - chain.stationary()).max() <= solution.error_estimate


def test_error_estimate_bounds_the_error_where_scaling_magnifies_rounding():
    """A start at x = 7 has weight exp(-24): eleven digits of sixteen remain, and it says so."""
    problem = ornstein_uhlenbeck(initial=Gaussian(mean=7.0, std=0.3), domain=(-9.0, 9.0), alpha=1.0)
    solution = solve(problem, [0.5], scheme=Propagator(), space=FiniteVolume(cells=200))
    from scipy.linalg import expm

    chain = FiniteVolume(cells=200).discretise(problem.base)
    masses = cell_masses(problem.base.initial, chain.edges)
    exact = expm(0.5 * chain.matrix()) @ masses / chain.widths
    error = np.abs(solution.density[0] - exact).max()
    assert error <= solution.error_estimate
    assert 1e-9 < solution.error_estimate < 1e-5


def test_far_start_is_refused_when_named_and_marched_when_not():
    problem = ornstein_uhlenbeck(domain=LINE, initial=Gaussian(mean=30.0, std=0.5))
    with pytest.raises(ComputationError, match=r"equilibrium is very small; march with L1"):
        solve(problem, [1.0], scheme=Propagator())
    kept = solve(problem, [1.0], scheme=Propagator(), throw=False)
    assert kept.status is Status.INACCURATE
    marched = solve(problem, [1.0])
    assert marched.scheme == L1()
    assert abs(marched.mean()[0] / (30 * half_order_relaxation(np.array(1.0))) - 1) < 2e-3


def test_refuses_what_has_no_symmetric_form():
    ring = ornstein_uhlenbeck(
        potential=None, force=lambda x: 1 + 0 * x, boundary="periodic", domain=(0.0, 1.0)
    )
    with pytest.raises(UnsupportedError, match=r"carries a current.*march with L1"):
        solve(ring, [1.0], scheme=Propagator())
    fed = ornstein_uhlenbeck(source=lambda t, x: 0 * x)
    with pytest.raises(UnsupportedError, match=r"it has a source; march with L1"):
        solve(fed, [1.0], scheme=Propagator())

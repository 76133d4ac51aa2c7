"""``space="auto"``: the tolerance is kept in space too, and what cannot be kept is said."""

import numpy as np
import pytest

from fracsde._solving import spaces
from fracsde.errors import ComputationError, InputError
from fracsde.operators.richardson import Richardson
from fracsde.operators.sinc import Sinc
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian, PointMass
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.schemes.l1 import L1
from fracsde.schemes.propagator import Propagator
from fracsde.solve import solve
from fracsde.status import Status
from tests.support.exact import fractional_ornstein_uhlenbeck, half_order_relaxation

TIMES = np.array([0.01, 0.3, 5.0])


def well(std=0.5, **changes):
    settings = {
        "potential": lambda x: x**2 / 2,
        "diffusion": 1.0,
        "domain": (-np.inf, np.inf),
        "initial": Gaussian(mean=1.5, std=std),
    }
    return FractionalFokkerPlanck(base=FokkerPlanck(**(settings | changes)), alpha=0.5)


def exact_well(x):
    return np.array(
        [fractional_ornstein_uhlenbeck(x, t, mean=1.5, std=0.5, terms=400) for t in TIMES]
    )


def wave():
    base = FokkerPlanck(
        diffusion=1.0, domain=(0.0, 1.0), initial=lambda x: 1 + 0.8 * np.cos(np.pi * x)
    )
    return FractionalFokkerPlanck(base=base, alpha=0.5)


def exact_wave(x):
    return 1 + 0.8 * half_order_relaxation(np.sqrt(TIMES)[:, None] * np.pi**2) * np.cos(np.pi * x)


def off(solution, exact):
    """The true error at the points, and the tolerance's unit: the largest density."""
    truth = exact(solution.points[0])
    errors = np.abs(solution.density - truth).max(axis=1)
    return float(errors.max()), float((errors / truth.max(axis=1)).max())


@pytest.mark.parametrize("rtol", [1e-3, 1e-5, 1e-8, 1e-10, 1e-12])
def test_tolerance_is_kept_in_space_by_sines_where_they_serve(rtol):
    solution = solve(well(), TIMES, scheme=Propagator(rtol=rtol), space="auto")
    error, relative = off(solution, exact_well)
    assert isinstance(solution.space, Sinc)
    assert solution.scheme == Propagator(rtol=rtol)
    assert relative <= rtol
    assert error <= solution.error_estimate + 1e-14


@pytest.mark.parametrize("rtol", [1e-3, 1e-5, 1e-7, 1e-9])
def test_tolerance_is_kept_in_space_by_cells_where_walls_are_felt(rtol):
    solution = solve(wave(), TIMES, scheme=Propagator(rtol=rtol), space="auto")
    error, relative = off(solution, exact_wave)
    assert isinstance(solution.space, Richardson)
    assert "felt" in solution.stats["not_spectral"]
    assert relative <= rtol
    assert error <= solution.error_estimate


@pytest.mark.twin
def test_tolerance_in_space_rejects_the_coarsest_choice():
    solution = solve(wave(), TIMES, scheme=Propagator(rtol=1e-9), space=Richardson(cells=27))
    error, relative = off(solution, exact_wave)
    assert not relative <= 1e-9
    assert not error <= solution.error_estimate  # which knows nothing of space


def test_default_tolerance_is_that_of_an_unnamed_scheme():
    assert off(solve(well(), TIMES, space="auto"), exact_well)[1] <= 1e-8


def test_looser_tolerances_need_no_more_points():
    sizes = [
        len(solve(well(), TIMES, scheme=Propagator(rtol=rtol), space="auto").points[0])
        for rtol in (1e-2, 1e-5, 1e-8, 1e-11)
    ]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(
    "problem",
    [
        well(std=2.0),  # broader than the equilibrium: no sines
        well(initial=PointMass(at=0.5)),
        well(potential=lambda x: np.abs(x)),  # not smooth
    ],
)
def test_cells_serve_where_sines_are_refused(problem):
    solution = solve(problem, [1.0], scheme=Propagator(rtol=3e-3), space="auto")
    assert isinstance(solution.space, Richardson)
    assert solution.stats["not_spectral"]
    fine = solve(problem, [1.0], space=Richardson(cells=3 * 729))
    apart = np.abs(fine.density_at(solution.points[0]) - solution.density)
    assert apart.max() <= 3e-3 * fine.density.max()


def test_unreachable_tolerances_say_the_best_that_was_reached():
    problem = well(initial=PointMass(at=0.5))  # its cusp spoils every order
    with pytest.raises(ComputationError, match="best that was reached"):
        solve(problem, [1.0], scheme=Propagator(rtol=1e-10), space="auto")
    kept = solve(problem, [1.0], scheme=Propagator(rtol=1e-10), space="auto", throw=False)
    assert kept.status is Status.INACCURATE
    assert kept.error_estimate > 1e-10


@pytest.mark.parametrize("rtol", [1e-13, 1e-14])
def test_what_is_called_the_best_is_as_good_as_what_a_looser_tolerance_gets(rtol):
    # Rounding misses these tolerances on every grid, and is no reason to stop on a coarse one.
    reached = solve(well(), [1.0], scheme=Propagator(rtol=1e-12), space="auto").error_estimate
    kept = solve(well(), [1.0], scheme=Propagator(rtol=rtol), space="auto", throw=False)
    assert kept.error_estimate < 10 * max(reached, 1e-13)


@pytest.mark.parametrize(
    ("potential", "start", "time", "rtol"),
    [
        (lambda x: x**4 / 4, Gaussian(mean=0.0, std=1.0), 0.1, 1e-4),
        (lambda x: x**4 / 4, Gaussian(mean=0.0, std=0.7), 0.1, 1e-6),
        (lambda x: 8 * (x**2 - 1) ** 2, Gaussian(mean=-1.0, std=0.95 / 8), 100.0, 1e-6),
        (lambda x: x**2 / 2, Gaussian(mean=0.0, std=1.8), 1.0, 1e-6),
    ],
)
def test_tolerance_is_kept_for_starts_that_an_interval_would_cut(potential, start, time, rtol):
    # Solutions by sines in intervals chosen alike err alike, and agree with each other.
    base = FokkerPlanck(potential=potential, diffusion=1.0, domain=(-np.inf, np.inf), initial=start)
    solution = solve(base, [time], scheme=Propagator(rtol=rtol), space="auto")
    fine = solve(base, [time], scheme=Propagator(rtol=1e-12), space=Richardson(cells=2187))
    x = solution.points[0]
    apart = np.abs(fine.density_at(x) - solution.density).max()
    assert apart <= rtol * fine.density.max() + 1e-9


def test_limit_of_absorbing_walls_far_away_is_nothing():
    base = FokkerPlanck(
        potential=lambda x: x**2 / 2,
        diffusion=1.0,
        domain=(-5.0, 5.0),
        initial=Gaussian(mean=0.0, std=0.8),
        boundary="absorbing",
    )
    solution = solve(base, [1.0, 1e9], scheme=Propagator(rtol=1e-6), space="auto")
    assert abs(solution.mass_defect()[0]) < 1e-4
    assert abs(solution.mass_defect()[1] + 1.0) < 1e-6


def test_limit_of_a_vanished_density_is_served():
    base = FokkerPlanck(
        diffusion=1.0, domain=(0.0, 1.0), initial=lambda x: np.sin(np.pi * x), boundary="absorbing"
    )
    solution = solve(base, [1e8], scheme=Propagator(rtol=1e-6), space="auto")
    assert np.all(solution.density == 0.0)


def test_narrow_starts_are_kept_to_the_tolerance_or_refused():
    base = FokkerPlanck(diffusion=1.0, domain=(0.0, 1.0), initial=Gaussian(mean=0.5012, std=1e-4))
    waves = np.pi * np.arange(1, 200)[:, None]
    for rtol in (1e-3, 1e-4):
        solution = solve(base, [0.01], scheme=Propagator(rtol=rtol), space="auto")
        x = solution.points[0]
        amplitudes = np.cos(waves * 0.5012) * np.exp(-0.5 * (waves * 1e-4) ** 2)
        exact = 1 + 2 * (amplitudes * np.exp(-(waves**2) * 0.01) * np.cos(waves * x)).sum(axis=0)
        assert np.abs(solution.density[0] - exact).max() <= rtol * exact.max()


def test_search_ends_where_rounding_is_reached(monkeypatch):
    tried = []
    solve_in = spaces.solve_in

    def counted(space, request):
        tried.append(space)
        return solve_in(space, request)

    monkeypatch.setattr(spaces, "solve_in", counted)
    solve(well(), TIMES, scheme=Propagator(rtol=1e-14), space="auto", throw=False)
    assert 0 < sum(isinstance(space, Sinc) for space in tried) < len(spaces._POINTS)


def test_refuses_what_has_no_tolerance_to_keep():
    with pytest.raises(InputError, match="tolerance"):
        solve(well(), TIMES, scheme=L1(), space="auto")
    with pytest.raises(InputError, match="source"):
        solve(well(source=lambda t, x: np.exp(-(x**2))), TIMES, space="auto")
    cells = FokkerPlanck(diffusion=1.0, domain=(0.0, 1.0), initial=np.ones(8))
    with pytest.raises(InputError, match="cell values"):
        solve(cells, TIMES, space="auto")
    with pytest.raises(InputError, match="spaces are values"):
        solve(well(), TIMES, space="fine")

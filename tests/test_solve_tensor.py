"""Solving in the plane and in space: exact moments, orders, refusals, and what a Solution knows."""

import numpy as np
import pytest

from fracsde import solve
from fracsde.errors import (
    ComputationError,
    OutOfRangeError,
    ShapeError,
    UnsupportedError,
)
from fracsde.grids import TimeGrid
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.problems.subordinated import SubordinatedOU
from fracsde.schemes.l1 import L1
from fracsde.schemes.propagator import Propagator
from fracsde.status import Status
from fracsde.subordination import density_at
from fracsde.transients import covariance_at, mean_at
from tests.support.orders import observed_order

BOX = ((-7.0, 7.0), (-7.0, 7.0))
A = np.array([[1.0, 0.5], [0.5, 1.2]])
ISOTROPIC = 0.8 * np.eye(2)
START, SPREAD = (1.0, -0.5), (0.6, 0.8)
TIMES = np.array([0.05, 0.5, 5.0])


def coupled(alpha=0.6, timescale=1.0, **changes):
    given = {
        "potential": lambda x, y: 0.5 * x**2 + 0.5 * x * y + 0.6 * y**2,
        "diffusion": 0.8,
        "domain": BOX,
        "initial": Gaussian(mean=START, std=SPREAD),
    }
    base = FokkerPlanck(**(given | changes))
    return FractionalFokkerPlanck(base=base, alpha=alpha, timescale=timescale)


def exact_moments(alpha, times, *, drift=A, diffusion=ISOTROPIC, timescale=1.0):
    """From the fractional Lyapunov equation."""
    base = OUProcess(drift=drift, noise=2 * diffusion)
    process = SubordinatedOU(base=base, alpha=alpha, timescale=timescale)
    mean = mean_at(process, times, START)
    covariance = covariance_at(process, times, np.diag(np.square(SPREAD)), initial=START)
    return mean, covariance


# --- exact moments and densities --------------------------------------------------------------


CASES = {
    "coupled": ({}, A, 0.8 * np.eye(2)),
    "unequal": ({"diffusion": (0.8, 0.4)}, A, np.diag([0.8, 0.4])),
    "matrix": ({"diffusion": [[0.8, 0.4], [0.4, 0.7]]}, A, np.array([[0.8, 0.4], [0.4, 0.7]])),
    "swirl": (
        {"force": lambda x, y: (-y, x)},
        A + np.array([[0.0, 1.0], [-1.0, 0.0]]),
        0.8 * np.eye(2),
    ),
}


@pytest.mark.parametrize(
    ("name", "alpha"),
    [("coupled", 0.6), ("coupled", 1.0), ("unequal", 0.6), ("matrix", 0.6), ("swirl", 0.6)],
)
def test_order_two_of_mean_and_covariance(name, alpha):
    changes, drift, diffusion = CASES[name]
    exact = exact_moments(alpha, TIMES[1:], drift=drift, diffusion=diffusion)

    def error(n):
        solution = solve(
            coupled(alpha, **changes),
            TIMES[1:],
            space=FiniteVolume(cells=n),
            scheme=Propagator(rtol=1e-7),
        )
        found = solution.mean(), solution.covariance()
        return max(float(np.abs(f - e).max()) for f, e in zip(found, exact, strict=True))

    # From 36 cells on the start is sampled, below it is shared by nearest centres.
    table = observed_order(error, (36, 43, 51, 61, 72), 2.0)
    assert table.agrees(), str(table)


@pytest.mark.twin
def test_moments_reject_the_wrong_clock():
    solution = solve(coupled(0.6), TIMES, space=FiniteVolume(cells=56))
    for wrong in (exact_moments(0.65, TIMES), exact_moments(0.6, TIMES, timescale=1.2)):
        assert np.abs(solution.mean() - wrong[0]).max() > 0.01
    right = exact_moments(0.6, TIMES)
    assert np.abs(solution.mean() - right[0]).max() < 0.005


@pytest.mark.parametrize("name", ["coupled", "swirl"])
def test_timescale_keeps_the_units_of_the_rates(name):
    changes, drift, diffusion = CASES[name]
    exact = exact_moments(0.6, [0.5], drift=drift, diffusion=diffusion, timescale=3.0)
    problem = coupled(0.6, timescale=3.0, **changes)
    solution = solve(problem, [0.5], space=FiniteVolume(cells=56), scheme=Propagator(rtol=1e-7))
    assert np.abs(solution.mean() - exact[0]).max() < 0.01
    assert np.abs(solution.covariance() - exact[1]).max() < 0.01


def test_routes_agree_with_the_exact_density_of_the_subordinated_process():
    process = SubordinatedOU(base=OUProcess(drift=A, noise=1.6 * np.eye(2)), alpha=0.6)
    points = np.array([[0.0, 0.0], [1.0, -0.5], [-1.0, 1.5], [0.3, 0.2]])
    exact = density_at(
        process, points, 0.5, initial=START, initial_covariance=np.diag(np.square(SPREAD))
    )

    def error(n):
        solution = solve(coupled(0.6), [0.5], space=FiniteVolume(cells=n))
        return float(np.abs(solution.density_at(*points.T)[0] - exact).max())

    coarse, fine = error(40), error(120)
    assert fine < 0.2 * coarse
    assert fine < 5e-3 * exact.max()  # a line across a cell of 0.12 alone errs by 3e-3


@pytest.mark.parametrize("alpha", [0.6, 1.0])
def test_routes_agree_marched_and_propagated(alpha):
    problem, space = coupled(alpha), FiniteVolume(cells=24)
    exact = solve(problem, [1.0], space=space)
    gaps = []
    for n in (16, 64):
        grading = (2 - alpha) / alpha
        marched = solve(
            problem, TimeGrid.graded(1.0, n, grading), space=space, scheme=L1(), save_at=[1.0]
        )
        assert marched.density.min() >= 0.0
        assert abs(marched.mass_defect()[0]) < 1e-12
        gaps.append(np.abs(marched.density - exact.density).max() / exact.density.max())
    assert gaps[1] < gaps[0] / 3
    assert gaps[1] < 0.01


def test_source_and_reaction_balance_at_rest():
    """r p = s at late times where both are constant: the density forgets everything else."""
    problem = FokkerPlanck(
        diffusion=1.0,
        domain=((0, 1), (0, 2)),
        initial=lambda x, y: 1 + 0 * x * y,
        source=lambda t, x, y: 3.0 + 0 * x * y,
        reaction=lambda x, y: 2.0 + 0 * x * y,
    )
    solution = solve(problem, TimeGrid.geometric(1e-3, 200.0, 30), space=FiniteVolume(cells=(6, 8)))
    assert np.allclose(solution.density[-1], 1.5, rtol=1e-3)


def test_three_dimensions_against_exact_means():
    base = FokkerPlanck(
        potential=lambda x, y, z: 0.5 * (x**2 + y**2 + z**2) + 0.4 * (x * y + y * z),
        diffusion=1.0,
        domain=((-5.5, 5.5),) * 3,
        initial=Gaussian(mean=(1.0, 0.0, -1.0), std=0.8),
    )
    drift = np.eye(3) + 0.4 * (np.eye(3, k=1) + np.eye(3, k=-1))
    process = SubordinatedOU(base=OUProcess(drift=drift, noise=2 * np.eye(3)), alpha=0.7)
    problem = FractionalFokkerPlanck(base=base, alpha=0.7)
    exact = mean_at(process, [0.5], (1.0, 0.0, -1.0))
    gaps = []
    for n in (16, 32):
        solution = solve(problem, [0.5], space=FiniteVolume(cells=n))
        assert solution.status is Status.SUCCESS
        assert solution.density.shape == (1, n, n, n)
        gaps.append(float(np.abs(solution.mean() - exact).max()))
    assert 3.4 < gaps[0] / gaps[1] < 4.6
    marginal = solution.marginal(2)
    assert np.allclose(marginal @ np.diff(solution.generator.edges[2]), 1.0)
    assert np.isclose(marginal[0] @ (solution.points[2] * 11 / 32), solution.mean()[0, 2])


# --- what a solution knows --------------------------------------------------------------------


@pytest.fixture(scope="module")
def solution():
    return solve(coupled(), TIMES, space=FiniteVolume(cells=(30, 26)))


def test_exact_moments_of_a_solution_are_sums_over_cells(solution):
    masses = solution.density * solution.widths
    x, y = np.meshgrid(*solution.points, indexing="ij")
    assert solution.density.shape == (3, 30, 26)
    assert solution.widths.shape == (30, 26)
    assert [len(c) for c in solution.points] == [30, 26]
    assert np.allclose(solution.moment((1, 2)), (masses * x * y**2).sum(axis=(1, 2)))
    assert np.allclose(solution.moment((0, 0)), 1.0, rtol=1e-13)
    assert np.allclose(solution.moment(2)[:, 1], (masses * y**2).sum(axis=(1, 2)))
    mean = solution.mean()
    assert mean.shape == (3, 2)
    mixed = (masses * x * y).sum(axis=(1, 2)) - mean[:, 0] * mean[:, 1]
    assert np.allclose(solution.covariance()[:, 0, 1], mixed)
    assert np.allclose(solution.variance()[:, 0], solution.moment(2)[:, 0] - mean[:, 0] ** 2)
    assert np.abs(solution.mass_defect()).max() < 1e-13
    assert solution.at(0.5).shape == (30, 26)
    assert np.allclose(solution.marginal(0) @ np.full(30, 14 / 30), 1.0)


def test_exact_density_at_the_centres(solution):
    found = solution.density_at(solution.points[0][:, None], solution.points[1][None])
    assert np.allclose(found, solution.density, rtol=1e-13)
    assert solution.density_at(0.1, 0.2).shape == (3,)


def test_a_solution_draws_itself(solution):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = solution.plot()
    assert len(panels) == 3
    assert panels[0].get_title() == "t = 0.05"
    pyplot.close("all")


def test_a_solution_becomes_xarray(solution):
    pytest.importorskip("xarray")
    array = solution.to_xarray()
    assert array.dims == ("time", "x", "y")
    assert np.array_equal(array.values, solution.density)


def test_cell_values_choose_their_own_cells():
    values = np.random.default_rng(0).uniform(1.0, 2.0, (7, 9))
    problem = FokkerPlanck(diffusion=1.0, domain=((0, 1), (0, 1)), initial=values)
    solution = solve(problem, [1e-9])
    assert solution.density.shape == (1, 7, 9)
    assert np.allclose(solution.density[0], values / values.mean(), rtol=1e-5)


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda s: s.density_at(0.0), ShapeError, "takes 2 arrays"),
        (lambda s: s.density_at(0.0, 9.0), OutOfRangeError, r"`y` must lie in the domain"),
        (lambda s: s.moment((1, 2, 3)), ShapeError, "2 powers"),
        (lambda s: s.moment((1, -1)), OutOfRangeError, r"`k\[1\]`"),
        (lambda s: s.marginal(2), OutOfRangeError, "`axis` must be between 0 and 1"),
    ],
)
def test_refuses_bad_questions(solution, call, error, words):
    with pytest.raises(error, match=words):
        call(solution)


def test_refuses_what_is_not_served_in_the_plane():
    with pytest.raises(UnsupportedError, match="serves one dimension"):
        solve(coupled(), [1.0], space="auto")
    moving = coupled(time_dependent=True, force=lambda t, x, y: (t + 0 * x * y, 0 * x * y))
    with pytest.raises(UnsupportedError, match="do not depend on time; use HpCollocation"):
        solve(moving, [1.0], space=FiniteVolume(cells=8), scheme=Propagator())
    values = FokkerPlanck(diffusion=1.0, domain=((0, 1), (0, 1)), initial=np.ones((7, 9)))
    with pytest.raises(ShapeError, match=r"shape \(7, 9\) for \(8, 8\) cells"):
        solve(values, [1.0], space=FiniteVolume(cells=8))


def test_refuses_cells_too_wide_for_the_drift_and_says_how_many():
    """A narrow well on few cells: the equilibrium is exact, the way there is not."""
    steep = coupled(potential=lambda x, y: 40 * (x**2 + y**2), initial=Gaussian(mean=(1.0, 0.0)))
    with pytest.raises(ComputationError, match=r"too wide for the drift.*times as many cells"):
        solve(steep, [1.0], space=FiniteVolume(cells=12))
    failed = solve(steep, [1.0], space=FiniteVolume(cells=12), throw=False)
    assert failed.status is Status.INACCURATE
    fine = solve(steep, [1.0], space=FiniteVolume(cells=120))
    assert max(fine.stats["smearing"]) < 0.2


def test_density_at_refuses_arrays_that_do_not_broadcast():
    problem = FokkerPlanck(
        diffusion=1.0, domain=((0, 1), (0, 1)), initial=Gaussian(mean=(0.5, 0.5), std=0.1)
    )
    solution = solve(problem, [0.1], space=FiniteVolume(cells=(6, 5)))
    with pytest.raises(ShapeError, match=r"got shapes \(3,\), \(2,\); a grid of points"):
        solution.density_at(np.full(3, 0.5), np.full(2, 0.5))
    assert solution.density_at(np.full((3, 1), 0.5), np.full(2, 0.5)).shape == (1, 3, 2)

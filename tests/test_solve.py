"""solve: three roads to one density, moments, walls, sources, limits, and what it refuses."""

from dataclasses import replace
from math import gamma

import numpy as np
import pytest

from fracsde._solving import outcome
from fracsde.errors import (
    BackendUnavailable,
    ComputationError,
    GridError,
    InputError,
    OutOfRangeError,
    ShapeError,
)
from fracsde.grids import TimeGrid
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.operators.richardson import Richardson
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian, PointMass
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.schemes.block_fft import BlockFFT
from fracsde.schemes.collocation import HpCollocation
from fracsde.schemes.exponentials import Exponentials
from fracsde.schemes.grunwald_letnikov import GrunwaldLetnikov
from fracsde.schemes.history import Direct
from fracsde.schemes.l1 import L1
from fracsde.schemes.l2_sigma import L2Sigma
from fracsde.schemes.l12 import L12
from fracsde.schemes.propagator import Propagator
from fracsde.solve import solve
from fracsde.special import mittag_leffler
from fracsde.status import Status
from tests.support.exact import half_order_relaxation
from tests.support.marching import HeavyNewestL1, LateL1
from tests.support.orders import observed_order

LINE = (-np.inf, np.inf)
SMALL = FiniteVolume(cells=48)


def ornstein_uhlenbeck(alpha=0.5, sign=1.0, **changes):
    given = {
        "potential": lambda x: sign * x**2 / 2,
        "diffusion": 1.0,
        "domain": LINE,
        "initial": Gaussian(mean=1.5, std=0.5),
    }
    return FractionalFokkerPlanck(base=FokkerPlanck(**(given | changes)), alpha=alpha)


# --- orders of whole solves in time, against the exact solution of the same cells -------------


def time_error(scheme, n, *, alpha, grading, final=False):
    problem = ornstein_uhlenbeck(alpha, domain=(-4.0, 4.0), initial=Gaussian(mean=0.8, std=0.8))
    space = FiniteVolume(cells=24)
    grid = TimeGrid.graded(0.05, n, grading)
    marched = solve(problem, grid, scheme=scheme, space=space, throw=False)
    exact = solve(problem, grid, scheme=Propagator(), space=space)
    gap = np.abs(marched.density - exact.density)
    return float(gap[-1].max() if final else gap.max())


ORDERS = [
    (L1(), 0.8, 1.0, True),
    (L1(), 0.6, 7 / 3, False),
    (L1(), 0.5, 2.0, False),
    (L1(), 1.0, 1.0, False),
    (L12(), 0.6, 4.0, False),
    (L2Sigma(history=Exponentials()), 0.6, 10 / 3, False),
    (L2Sigma(history=BlockFFT()), 0.8, 1.0, True),
    (L2Sigma(), 1.0, 1.0, False),
    (GrunwaldLetnikov(), 0.6, 1.0, True),
    (GrunwaldLetnikov(), 1.0, 1.0, False),
]


@pytest.mark.parametrize(("scheme", "alpha", "grading", "final"), ORDERS)
def test_order_in_time_of_whole_solves(scheme, alpha, grading, final):
    table = observed_order(
        lambda n: time_error(scheme, n, alpha=alpha, grading=grading, final=final),
        (64, 128, 256, 512, 1024),
        scheme.order(alpha=alpha, grading=grading, final=final),
    )
    assert table.agrees(), table


@pytest.mark.twin
@pytest.mark.parametrize("damaged", [HeavyNewestL1(), LateL1()])
def test_order_in_time_rejects_damaged_memory(damaged):
    table = observed_order(
        lambda n: time_error(damaged, n, alpha=0.6, grading=7 / 3),
        (64, 128, 256, 512, 1024),
        1.4,
    )
    assert not table.agrees(), table


# --- three roads ------------------------------------------------------------------------------


def roads(sign=1.0):
    """Final densities by propagation, L1 and Grünwald-Letnikov."""
    at = TimeGrid.uniform(2.0, 2000)
    right, other = ornstein_uhlenbeck(0.7), ornstein_uhlenbeck(0.7, sign, domain=(-9.0, 9.0))
    return (
        solve(replace(right, base=replace(right.base, domain=(-9.0, 9.0))), [2.0], space=SMALL),
        solve(other, at, scheme=L1(), space=SMALL, save_at=2.0),
        solve(other, at, scheme=GrunwaldLetnikov(), space=SMALL, save_at=2.0),
    )


def spread(solutions):
    final = [s.density[-1] for s in solutions]
    return max(np.abs(a - b).max() for a in final for b in final)


def test_routes_agree_propagated_marched_and_convolved():
    assert spread(roads()) < 1e-4  # first order at the final time, 2000 steps


@pytest.mark.twin
def test_routes_agree_rejects_the_wrong_sign_of_the_potential():
    assert not spread(roads(-1.0)) < 1e-4


@pytest.mark.parametrize("scheme", [L1(), GrunwaldLetnikov(history=Direct(block=7))])
def test_engines_agree_on_whole_solves(scheme):
    problem = ornstein_uhlenbeck(source=lambda t, x: t * np.exp(-x * x), alpha=0.6)
    grid = TimeGrid.uniform(1.0, 50)
    compiled = solve(problem, grid, scheme=scheme, space=SMALL, backend="numba")
    read = solve(problem, grid, scheme=scheme, space=SMALL, backend="numpy")
    assert np.abs(compiled.density - read.density).max() < 1e-13
    assert (compiled.provenance.backend, read.provenance.backend) == ("numba", "numpy")


# --- moments and mass -------------------------------------------------------------------------


def moment_error(n, alpha, sign=1.0):
    problem = ornstein_uhlenbeck(alpha, sign, domain=(-9.0, 9.0))
    # The damaged potential has walls that are too steep for few cells.
    solution = solve(problem, [0.1, 1.0, 5.0], space=FiniteVolume(cells=n), throw=sign > 0)
    t = solution.times
    mean = 1.5 * mittag_leffler(-(t**alpha), alpha)
    square = 1 + 1.5 * mittag_leffler(-2 * t**alpha, alpha)
    return max(
        np.abs(solution.mean() - mean).max(),
        np.abs(solution.moment(2) - square).max(),
        np.abs(solution.variance() - (square - mean**2)).max(),
    )


@pytest.mark.parametrize("alpha", [0.4, 0.8, 1.0])
def test_order_two_of_moments_in_space(alpha):
    table = observed_order(lambda n: moment_error(n, alpha), (32, 64, 128, 256, 512), 2.0)
    assert table.agrees(), table


@pytest.mark.twin
def test_order_two_of_moments_rejects_the_wrong_sign_of_the_potential():
    table = observed_order(lambda n: moment_error(n, 0.8, -1.0), (32, 64, 128, 256, 512), 2.0)
    assert not table.agrees(), table


@pytest.mark.parametrize("alpha", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("grid", [TimeGrid.uniform(3.0, 300), TimeGrid.graded(3.0, 300, 3.0)])
def test_keeps_positivity_and_mass_while_marching(alpha, grid):
    problem = ornstein_uhlenbeck(alpha, initial=PointMass(at=2.0))
    solution = solve(problem, grid, scheme=L1())
    assert solution.density.min() >= 0.0
    assert np.abs(solution.mass_defect()).max() < 5e-14
    assert solution.residual() < 1e-11
    assert solution.status is Status.SUCCESS


def test_keeps_the_equilibrium():
    base = ornstein_uhlenbeck(domain=(-5.0, 5.0)).base
    rest = SMALL.discretise(base).stationary()
    problem = FractionalFokkerPlanck(base=replace(base, initial=rest), alpha=0.5)
    for scheme in (L1(), GrunwaldLetnikov(), Propagator()):
        solution = solve(problem, TimeGrid.uniform(50.0, 100), scheme=scheme)
        assert np.abs(solution.density - rest).max() < 1e-13


def test_mass_lost_at_a_wall_follows_the_closed_sum():
    """Free diffusion from sin(pi x): one mode, mass E(-pi^2 t^alpha)."""
    base = FokkerPlanck(
        diffusion=1.0, domain=(0.0, 1.0), initial=lambda x: np.sin(np.pi * x), boundary="absorbing"
    )
    problem = FractionalFokkerPlanck(base=base, alpha=0.5)
    solution = solve(problem, [0.001, 0.1, 2.0], space=FiniteVolume(cells=200))
    expected = half_order_relaxation(np.pi**2 * np.sqrt(solution.times))
    assert np.abs(1 + solution.mass_defect() - expected).max() < 5e-5


def test_reaction_takes_mass_at_its_rate():
    base = FokkerPlanck(
        diffusion=1.0, domain=(0.0, 1.0), initial=lambda x: 1 + x, reaction=lambda x: 0 * x + 0.7
    )
    problem = FractionalFokkerPlanck(base=base, alpha=0.5)
    mass = solve(problem, [0.5, 3.0]).moment(0)
    assert np.abs(mass - half_order_relaxation(0.7 * np.sqrt([0.5, 3.0]))).max() < 1e-10


def source_error(n, factor=1.0):
    """Manufactured: p = (1 + t^2)(1 + cos(pi x)/2), an eigenvector of 32 free cells."""
    alpha = 0.6
    base = FokkerPlanck(
        diffusion=1.0,
        domain=(0.0, 1.0),
        initial=lambda x: 1 + np.cos(np.pi * x) / 2,
        source=lambda t, x: (
            2 * t ** (2 - alpha) / gamma(3 - alpha) * (1 + np.cos(np.pi * x) / 2)
            + factor * (1 + t * t) * 4 * 32**2 * np.sin(np.pi / 64) ** 2 * np.cos(np.pi * x) / 2
        ),
    )
    problem = FractionalFokkerPlanck(base=base, alpha=alpha)
    grid = TimeGrid.uniform(1.0, n)
    solution = solve(problem, grid, scheme=L1(), space=FiniteVolume(cells=32))
    exact = np.multiply.outer(1 + grid.times**2, base.initial(solution.points[0]))
    return float(np.abs(solution.density - exact).max())


def test_order_with_a_source_is_two_minus_alpha():
    table = observed_order(source_error, (32, 64, 128, 256, 512), 1.4)
    assert table.agrees(), table


@pytest.mark.twin
def test_order_with_a_source_rejects_one_per_cent_too_much():
    table = observed_order(lambda n: source_error(n, 1.01), (32, 64, 128, 256, 512), 1.4)
    assert not table.agrees(), table


# --- limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [Propagator(), L1(), GrunwaldLetnikov()])
def test_limit_order_one_is_the_base_itself(scheme):
    problem = ornstein_uhlenbeck(1.0)
    grid = TimeGrid.uniform(1.0, 40)
    fractional = solve(problem, grid, scheme=scheme, space=SMALL)
    ordinary = solve(problem.base, grid, scheme=scheme, space=SMALL)
    assert np.array_equal(fractional.density, ordinary.density)
    near = solve(replace(problem, alpha=1 - 1e-7), grid, scheme=scheme, space=SMALL)
    assert np.abs(near.density - ordinary.density).max() < 1e-6


def test_ring_with_a_current_carries_the_mean_phase():
    """Free ring with drift v: the first Fourier amplitude is E(-(k^2 D + i k v) t), alpha = 1."""
    base = FokkerPlanck(
        force=lambda x: 3.0 + 0 * x,
        diffusion=0.1,
        domain=(0.0, 1.0),
        initial=lambda x: 1 + 0.9 * np.cos(2 * np.pi * x),
        boundary="periodic",
    )
    solution = solve(base, TimeGrid.uniform(0.2, 4000), space=FiniteVolume(cells=256), save_at=0.2)
    x, k = solution.points[0], 2 * np.pi
    amplitude = (solution.density[0] * solution.widths) @ np.exp(1j * k * x)
    expected = 0.45 * np.exp((-(k**2) * 0.1 + 3j * k) * 0.2)
    assert abs(amplitude - expected) < 1e-3
    assert isinstance(solution.scheme, Propagator)
    marched = solve(
        base, TimeGrid.uniform(0.2, 4000), scheme=L1(), space=FiniteVolume(cells=256), save_at=0.2
    )
    assert np.abs(marched.density - solution.density).max() < 2e-3  # first order, 4000 steps


# --- the result -------------------------------------------------------------------------------


def test_times_and_save_at_select_what_is_returned():
    problem = ornstein_uhlenbeck(0.6)
    grid = TimeGrid.uniform(1.0, 10)
    assert np.array_equal(solve(problem, grid, scheme=L1(), space=SMALL).times, grid.times)
    assert np.array_equal(solve(problem, grid, space=SMALL).times, grid.times)
    picked = solve(problem, grid, scheme=L1(), space=SMALL, save_at=[0.3, 1.0])
    assert np.allclose(picked.times, [0.3, 1.0], rtol=1e-15)
    whole = solve(problem, grid, scheme=L1(), space=SMALL)
    assert np.array_equal(picked.density, whole.density[[3, 10]])
    given = solve(problem, [0.3, 1.0], scheme=L1(), space=SMALL)
    assert np.array_equal(given.times, [0.3, 1.0])
    assert given.stats["steps"] == 2


def test_a_source_without_a_scheme_is_collocated_on_intervals_of_its_own():
    problem = ornstein_uhlenbeck(0.6, source=lambda t, x: np.exp(-x * x) / np.sqrt(np.pi))
    solution = solve(problem, [0.5, 1.0], space=SMALL)
    assert isinstance(solution.scheme, HpCollocation)
    assert solution.stats["steps"] < 100
    gained = solution.times**0.6 / gamma(1.6)
    assert np.abs(solution.mass_defect() - gained).max() < 1e-9 * gained.max()


def test_density_at_is_of_second_order_up_to_the_walls():
    def error(n):
        base = FokkerPlanck(
            potential=lambda x: 2 * x, diffusion=1.0, domain=(0.0, 1.0), initial=lambda x: 1 + 0 * x
        )
        solution = solve(base, [50.0], space=FiniteVolume(cells=n))
        x = np.linspace(0, 1, 777)
        exact = 2 * np.exp(-2 * x) / (1 - np.exp(-2))
        return float(np.abs(solution.density_at(x)[0] - exact).max())

    table = observed_order(error, (16, 32, 64, 128, 256), 2.0)
    assert table.agrees(), table


def test_density_at_knows_the_walls():
    def ends(boundary):
        base = FokkerPlanck(
            diffusion=1.0,
            domain=(0.0, 1.0),
            initial=lambda x: 1 + 0.5 * np.sin(2 * np.pi * x),
            boundary=boundary,
        )
        return solve(base, [0.01], space=SMALL).density_at([0.0, 1.0])[0]

    assert np.array_equal(ends("absorbing"), [0.0, 0.0])
    assert abs(np.diff(ends("periodic"))[0]) < 1e-14
    line = solve(ornstein_uhlenbeck(), [1.0], space=SMALL)
    assert line.density_at([[-50.0, 50.0]]).shape == (1, 1, 2)
    assert np.all(line.density_at([-50.0, 50.0]) == 0)
    half = solve(ornstein_uhlenbeck(domain=(0.0, np.inf)), [1.0], space=SMALL)
    with pytest.raises(OutOfRangeError, match=r"`x` must lie in the domain \[0, inf\], got -1"):
        half.density_at(-1.0)


def test_at_returns_a_saved_density_and_refuses_others():
    solution = solve(ornstein_uhlenbeck(), [0.1, 1.0], space=SMALL)
    assert np.array_equal(solution.at(1.0), solution.density[1])
    with pytest.raises(GridError, match=r"nearest is 0.1; ask for it in `times`"):
        solution.at(0.2)


def test_plot_draws_and_names_its_axes():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    axes = solve(ornstein_uhlenbeck(), [0.1, 1.0], space=SMALL).plot()
    assert len(axes.lines) == 2
    assert axes.get_ylabel() == "density"
    plt.close(axes.figure)


def test_missing_packages_are_named_with_their_remedy(monkeypatch):
    import sys

    solution = solve(ornstein_uhlenbeck(), [0.1], space=SMALL)
    for name in ("xarray", "matplotlib", "matplotlib.pyplot", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendUnavailable, match="pip install xarray"):
        solution.to_xarray()
    with pytest.raises(BackendUnavailable, match=r'pip install "fracsde\[plot\]"'):
        solution.plot()
    with pytest.raises(BackendUnavailable, match=r'pip install "fracsde\[cli\]"'):
        solve(ornstein_uhlenbeck(), [0.1], scheme=L1(), space=SMALL, progress=True)


def test_progress_bar_changes_nothing(capsys):
    pytest.importorskip("rich")
    grid = TimeGrid.uniform(1.0, 70)
    shown = solve(ornstein_uhlenbeck(), grid, scheme=L1(), space=SMALL, progress=True)
    hidden = solve(ornstein_uhlenbeck(), grid, scheme=L1(), space=SMALL)
    assert "marching" in capsys.readouterr().err
    assert np.array_equal(shown.density, hidden.density)


def test_initial_array_sets_the_number_of_cells_and_is_kept():
    values = np.linspace(1.0, 2.0, 30)
    before = values.copy()
    base = FokkerPlanck(diffusion=1.0, domain=(0.0, 1.0), initial=values)
    times = np.array([0.1, 0.2])
    solution = solve(base, times)
    assert solution.density.shape == (2, 30)
    assert np.array_equal(values, before)
    assert np.array_equal(times, [0.1, 0.2])
    with pytest.raises(ShapeError, match=r"30 values for 48 cells; use FiniteVolume\(cells=30\)"):
        solve(base, times, space=SMALL)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"times": [1.0, 0.5]}, GridError, "must increase: entries"),
        ({"times": [0.5, 0.5]}, GridError, "drop repeated ones"),
        ({"times": [-1.0, 0.5]}, GridError, "count from the start"),
        ({"times": []}, GridError, "the first is none"),
        ({"problem": "ou"}, InputError, "`problem` must be a FokkerPlanck, a"),
        ({"scheme": "L1"}, InputError, "schemes are values, not names"),
        ({"space": 64}, InputError, "spaces are values, not numbers"),
        ({"backend": "abacus"}, BackendUnavailable, "`backend` must be one of"),
        ({"save_at": [0.7]}, GridError, "the nearest node is 0.5"),
        ({"save_at": [1.0, 0.5]}, GridError, "`save_at` must be increasing"),
        ({"times": TimeGrid.graded(1, 9, 2), "scheme": GrunwaldLetnikov()}, GridError, "equal"),
    ],
)
def test_refuses_bad_requests(changes, error, words):
    given = {"problem": ornstein_uhlenbeck(), "times": [0.5, 1.0]} | changes
    problem, times = given.pop("problem"), given.pop("times")
    with pytest.raises(error, match=words):
        solve(problem, times, **given)


def test_density_at_one_point_is_one_number_per_time():
    solution = solve(ornstein_uhlenbeck(), [0.5, 1.0], space=SMALL)
    np.testing.assert_array_equal(solution.density_at(0.3), solution.density_at([0.3])[:, 0])
    assert solution.density_at(0.3).shape == (2,)


def test_early_nodes_of_a_steep_mesh_are_told_apart():
    grid, problem = TimeGrid.graded(1.0, 64, 10.0), ornstein_uhlenbeck()
    solution = solve(problem, grid, scheme=L1(), space=SMALL)
    np.testing.assert_array_equal(solution.at(grid.times[1]), solution.density[1])
    with pytest.raises(GridError, match="must be a saved time"):
        solution.at(5e-15)
    with pytest.raises(GridError, match="must hold nodes"):
        solve(problem, grid, scheme=L1(), space=SMALL, save_at=[5e-15])


def test_a_start_far_in_the_tail_is_propagated_to_the_tolerance():
    """Where eigenvectors fail: the weight of the start is exp(-1250)."""
    far = ornstein_uhlenbeck(initial=PointMass(at=50.0))
    solution = solve(far, [1.0], scheme=Propagator(rtol=1e-8), space=FiniteVolume(cells=600))
    assert solution.error_estimate <= 1e-8 * solution.density.max()
    np.testing.assert_allclose(solution.mass_defect(), 0.0, atol=1e-14)
    assert solution.density.min() >= -solution.error_estimate


def test_refuses_cells_too_wide_for_the_drift_and_says_how_many():
    """A narrow well on a line: the equilibrium of wide cells is exact, the way there is not."""
    start = Gaussian(mean=2.0, std=0.3)
    steep = FokkerPlanck(
        potential=lambda x: 40 * x**2, diffusion=1.0, domain=(-4.0, 4.0), initial=start
    )
    with pytest.raises(
        ComputationError,
        match=r"too wide for the drift.* times as many cells, 9\d in place of 12, for",
    ):
        solve(steep, [1.0], space=FiniteVolume(cells=12))
    failed = solve(steep, [1.0], space=FiniteVolume(cells=12), throw=False)
    assert failed.status is Status.INACCURATE
    fine = solve(steep, [1.0], space=FiniteVolume(cells=240))
    assert max(fine.stats["smearing"]) < 0.2


def slope_to_a_plain(start):
    """Steep on the left, flat on the right, 40 cells."""
    return FokkerPlanck(
        potential=lambda x: np.where(x < 0.0, 40.0 * x**2, 0.0), diffusion=1.0,
        domain=(-2.0, 2.0), initial=Gaussian(mean=start, std=0.1),
    )  # fmt: skip


def test_cells_that_can_nowhere_do_are_refused_before_the_first_step(monkeypatch):
    steep = FokkerPlanck(
        potential=lambda x: 40 * x**2, diffusion=1.0, domain=(-4.0, 4.0), initial=Gaussian(mean=2.0)
    )
    worked = []
    monkeypatch.setattr(outcome, "_marched", lambda *args: worked.append(args))
    monkeypatch.setattr(outcome, "_FAMILIES", ((L1, outcome._marched),))
    with pytest.raises(ComputationError, match="before the first step"):
        solve(steep, [1.0], space=FiniteVolume(cells=12), scheme=L1())
    assert not worked


@pytest.mark.parametrize("start", [-1.5, 1.0])
def test_twin_a_steep_place_that_is_left_or_never_reached_refuses_nothing(start):
    """The same cells, too wide for the slope, serve the plain; a start alone condemns nothing."""
    found = solve(slope_to_a_plain(start), [5.0], space=FiniteVolume(cells=40))
    assert found.status is Status.SUCCESS
    chain = FiniteVolume(cells=40).discretise(slope_to_a_plain(start))
    begin = chain.smearing(chain.project(slope_to_a_plain(start).initial))[0]
    assert (begin > 0.5) == (start < 0.0)


def test_a_pair_of_grids_states_the_smearing_of_its_finer_one():
    steep = ornstein_uhlenbeck()
    pair = solve(steep, [1.0], space=Richardson(cells=27))
    fine = solve(steep, [1.0], space=FiniteVolume(cells=81))
    assert pair.stats["smearing"] == pytest.approx(fine.stats["smearing"], rel=1e-3)


def test_exact_smearing_of_a_chain_is_the_artificial_diffusion_of_its_jumps():
    ring = FokkerPlanck(
        force=lambda x: 6.0 + 0 * x, diffusion=0.5, domain=(0.0, 1.0), initial=lambda x: 1 + 0 * x,
        boundary="periodic",
    )  # fmt: skip
    chain = FiniteVolume(cells=16).discretise(ring)
    spread = 0.5 * (chain.right[3] + chain.left[4]) * chain.widths[3] ** 2
    assert chain.smearing(np.ones(16))[0] == pytest.approx(spread / 0.5 - 1.0, rel=1e-12)
    assert chain.smearing(np.ones(16))[0] > 0.04

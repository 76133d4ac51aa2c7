"""Passage times: closed forms, quadrature, high precision, and other routes to the same number."""

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad

from fracsde.errors import GridError, InputError, OutOfRangeError, UnsupportedError
from fracsde.grids import SpaceGrid
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.physics.modes import eigenmodes
from fracsde.physics.passage import mean_first_passage_time
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian, PointMass
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.problems.potentials import double_well
from tests.support.orders import observed_order

D = 0.7


def free(boundary="absorbing", **changes):
    given = {
        "diffusion": D,
        "domain": (0.0, 2.0),
        "boundary": boundary,
        "initial": Gaussian(mean=0.7, std=0.1),
    }
    return FokkerPlanck(**(given | changes))


def test_exact_mean_of_free_diffusion_between_walls():
    """Cells carry parabolas exactly, but for the half cell at an absorbing wall."""
    found = mean_first_passage_time(free(("reflecting", "absorbing")), space=FiniteVolume(cells=50))
    x, h = found.points, 0.04
    assert np.abs(found.mean - (4 - x**2 + h**2 / 4) / (2 * D)).max() < 1e-12


# V and F in x, D varying: T by two integrals.
def tilted(**changes):
    given = {
        "potential": lambda x: 1.5 * np.sin(2 * x),
        "force": lambda x: 0.5 - x,
        "diffusion": lambda x: 0.5 + 0.2 * np.cos(x),
        "domain": (-1.0, 2.0),
        "initial": Gaussian(mean=0.0, std=0.2),
    }
    return FokkerPlanck(**(given | changes))


def by_quadrature(x, end):
    """Reflecting at -1, target at ``end``: T = int_x^end e^phi/D int_-1^y e^-phi."""
    grid = np.linspace(-1.0, end, 20_001)
    spread = 0.5 + 0.2 * np.cos(grid)
    drift = (3 * np.cos(2 * grid) - 0.5 + grid) / spread
    h = grid[1] - grid[0]

    def integrated(f):
        # Cumulative Simpson by the cubic through four points.
        inner = h / 24 * (-f[:-3] + 13 * f[1:-2] + 13 * f[2:-1] - f[3:])
        first = h / 24 * (9 * f[0] + 19 * f[1] - 5 * f[2] + f[3])
        last = h / 24 * (9 * f[-1] + 19 * f[-2] - 5 * f[-3] + f[-4])
        return np.concatenate([[0.0], np.cumsum(np.concatenate([[first], inner, [last]]))])

    phi = integrated(drift)
    total = integrated(np.exp(phi) / spread * integrated(np.exp(-phi)))
    return np.interp(end, grid, total) - np.interp(x, grid, total)


def order_of_means(factor=1.0):
    starts, end = np.array([-0.9, -0.2, 0.4]), 1.3
    exact = factor * by_quadrature(starts, end)

    def error(cells):
        found = mean_first_passage_time(tilted(), (end, 1.5), space=FiniteVolume(cells=cells))
        return float(np.abs(found.at(starts) - exact).max())

    return observed_order(error, (46, 92, 184, 368, 736), 2.0)


def test_order_of_the_mean_to_an_interval():
    table = order_of_means()
    assert table.agrees(), table


@pytest.mark.twin
def test_order_of_the_mean_rejects_one_per_thousand():
    assert not order_of_means(1.001).agrees()


def test_routes_agree_of_an_interval_and_a_wall_at_its_end():
    inside = mean_first_passage_time(tilted(), (1.3, 1.5), space=FiniteVolume(cells=64))
    wall = tilted(domain=(-1.0, 1.3), boundary=("reflecting", "absorbing"))
    alone = mean_first_passage_time(wall, space=FiniteVolume(cells=64))
    assert np.array_equal(inside.moments[:, :64], alone.moments)
    ended = mean_first_passage_time(
        tilted(domain=(-1.0, 1.3)), "right", space=FiniteVolume(cells=64)
    )
    assert np.array_equal(ended.moments, alone.moments)
    assert inside.at(1.4) == 0.0
    assert inside.at(1.9) > 0.0


def sums_over_modes(problem, moment, space):
    """Average of T**k from all modes: k! sum c_k / rate**k."""
    n = space.cells
    modes = eigenmodes(problem, n, space=space)
    mass = modes.densities @ modes.widths
    shares = modes.amplitudes(problem.initial) * mass
    return float(np.sum(shares / modes.rates**moment) * [1, 1, 2, 6][moment])


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_routes_agree_of_moments_and_modes(moment):
    problem, space = free(("absorbing", "reflecting"), potential=np.cos), FiniteVolume(cells=80)
    found = mean_first_passage_time(problem, moments=3, space=space)
    expected = sums_over_modes(problem, moment, space)
    assert found.average(moment=moment) == pytest.approx(expected, rel=1e-9)


@pytest.mark.twin
def test_routes_of_moments_reject_a_missing_factorial():
    problem, space = free(), FiniteVolume(cells=80)
    found = mean_first_passage_time(problem, moments=2, space=space)
    wrong = sums_over_modes(problem, 2, space) / 2
    assert found.average(moment=2) != pytest.approx(wrong, rel=1e-9)


def deep():
    return FokkerPlanck(
        potential=double_well(barrier=60.0),
        diffusion=1.0,
        domain=(-1.6, 1.6),
        initial=PointMass(at=-1.0),
    )


def high_precision_mean(chain):
    with mpmath.workdps(80):
        n = len(chain.right)
        A, b = mpmath.zeros(n), mpmath.matrix([1] * n)
        for i in range(n):
            A[i, i] = sum(mpmath.mpf(r[i]) for r in (chain.right, chain.left, chain.loss))
            if i:
                A[i, i - 1] = -mpmath.mpf(chain.left[i])
            if i < n - 1:
                A[i, i + 1] = -mpmath.mpf(chain.right[i])
        return np.array([float(v) for v in mpmath.lu_solve(A, b)])


def test_exact_huge_means_to_relative_accuracy():
    found = mean_first_passage_time(deep(), (0.9, 1.1), space=FiniteVolume(cells=24))
    exact = high_precision_mean(found.pieces[0].generator)
    assert exact[0] > 1e20
    assert np.abs(found.mean[:24] / exact - 1).max() < 1e-13


@pytest.mark.twin
def test_exact_huge_means_reject_a_plain_solve():
    chain = mean_first_passage_time(deep(), (0.9, 1.1), space=FiniteVolume(cells=24)).pieces[0]
    plain = np.linalg.solve(-chain.generator.matrix().T, np.ones(24))
    assert not np.abs(plain / high_precision_mean(chain.generator) - 1).max() < 1e-6


def test_limit_of_deep_wells_is_exponential():
    found = mean_first_passage_time(deep(), (0.9, 1.1), moments=2)
    assert found.std[100] / found.mean[100] == pytest.approx(1.0, abs=1e-12)
    rate = eigenmodes(deep(), 2).rates[1]
    assert found.average() * rate / 2 == pytest.approx(1.0, abs=2e-3)


def test_exact_killing_is_a_passage():
    """A constant rate alone: the time is exponential."""
    found = mean_first_passage_time(free("reflecting", reaction=lambda x: 4.0 + 0 * x), moments=2)
    assert np.abs(found.mean - 0.25).max() < 1e-12
    assert np.abs(found.std - 0.25).max() < 1e-12


def test_exact_passage_round_a_ring():
    """Drift v and a point target: an interval that is left at either end."""
    v, turn = 1.3, 2.0
    circle = free("periodic", force=lambda x: v + 0 * x)
    found = mean_first_passage_time(circle, (0.5, 0.5), space=FiniteVolume(cells=400))
    x = np.array([0.7, 1.0, 1.9, 0.1])
    z = (x - 0.5) % turn  # back to the target, against the drift
    exact = (turn * -np.expm1(-v * z / D) / -np.expm1(-v * turn / D) - z) / v
    assert np.abs(found.at(x) - exact).max() < 1e-4
    assert found.average() == pytest.approx(float(found.at(0.7)), abs=0.02)


def test_exact_strip_in_the_plane_is_a_line():
    problem = FokkerPlanck(
        diffusion=D, domain=((0.0, 2.0), (0.0, 1.0)), initial=Gaussian(mean=(0.5, 0.5), std=0.1)
    )
    found = mean_first_passage_time(
        problem, lambda x, y: x + 0 * y > 1.5, moments=2, space=FiniteVolume(cells=(40, 12))
    )
    first = 1.525  # centre of the first cell beyond
    x = found.points[:, 0]
    assert np.abs(found.mean - (first**2 - x**2) / (2 * D)).max() < 1e-11
    assert found.average() == pytest.approx((first**2 - 0.5**2 - 0.01) / (2 * D), rel=1e-3)


def test_exact_average_of_a_point_and_of_a_density():
    space = FiniteVolume(cells=200)
    point = mean_first_passage_time(free(initial=PointMass(at=0.7)), space=space)
    assert point.average() == pytest.approx(0.7 * 1.3 / (2 * D), rel=1e-4)
    spread = mean_first_passage_time(free(), space=space)
    expected = quad(
        lambda x: x * (2 - x) / (2 * D) * np.exp(-((x - 0.7) ** 2) / 0.02) / np.sqrt(0.02 * np.pi),
        0.0,
        2.0,
        points=[0.7],
    )[0]
    assert spread.average() == pytest.approx(expected, rel=1e-4)
    beside = mean_first_passage_time(free(), (0.75, 0.75), space=space)
    assert 0.0 < beside.average() < spread.average()


def test_exact_zero_inside_a_target_given_by_a_function():
    found = mean_first_passage_time(
        free("reflecting"), lambda x: np.abs(x - 1) < 0.2, space=FiniteVolume(cells=100)
    )
    assert np.all(found.at([0.9, 1.0, 1.1]) == 0.0)
    # The nearest cells of the target are at 0.81 and 1.19.
    assert found.at(0.4) == pytest.approx((0.81**2 - 0.4**2) / (2 * D), rel=1e-3)
    assert found.at(1.6) == pytest.approx(float(found.at(0.4)), rel=1e-9)


def test_refuses_barriers_beyond_double_precision():
    wall = free("reflecting", potential=lambda x: 3000.0 * (x > 0.5))
    with pytest.raises(UnsupportedError, match="underflows there"):
        mean_first_passage_time(wall, (1.5, 1.5))


def test_refuses_what_never_ends_and_says_what_to_do():
    clock = FractionalFokkerPlanck(base=free(), alpha=0.8)
    with pytest.raises(UnsupportedError, match=r"infinite .*survival_tail"):
        mean_first_passage_time(clock)
    assert mean_first_passage_time(FractionalFokkerPlanck(base=free(), alpha=1.0)).mean[0] > 0
    with pytest.raises(InputError, match="nothing disappears"):
        mean_first_passage_time(free("reflecting"))
    with pytest.raises(InputError, match="infinitely far"):
        mean_first_passage_time(
            FokkerPlanck(
                potential=lambda x: x**2, diffusion=1.0, domain=(-np.inf, 3.0), initial=Gaussian()
            ),
            "left",
        )
    with pytest.raises(GridError, match="meets the domain"):
        mean_first_passage_time(free(), (5.0, 6.0))
    with pytest.raises(GridError, match="covers the domain"):
        mean_first_passage_time(free(), (-1.0, 6.0))
    with pytest.raises(GridError, match="covers the ring"):
        mean_first_passage_time(free("periodic"), (0.0, 2.0))
    with pytest.raises(InputError, match="interval"):
        mean_first_passage_time(free(), 0.5)
    with pytest.raises(InputError, match="smaller cells"):
        mean_first_passage_time(free(), lambda x: x > 7)
    own = FiniteVolume(grid=SpaceGrid.uniform((0.0, 2.0), 10))
    with pytest.raises(UnsupportedError, match="grid of its own"):
        mean_first_passage_time(free(), (1.0, 1.1), space=own)
    with pytest.raises(OutOfRangeError, match="two moments"):
        _ = mean_first_passage_time(free()).std
    with pytest.raises(OutOfRangeError, match="among the cells"):
        mean_first_passage_time(free()).at(3.0)


@pytest.mark.parametrize("seam", [0.0, 1.0])
def test_exact_time_to_the_seam_of_a_ring_is_that_to_its_ends(seam):
    ring = FokkerPlanck(
        diffusion=1.0, domain=(0.0, 1.0), boundary="periodic", initial=PointMass(at=0.3)
    )
    found = mean_first_passage_time(ring, (seam, seam))
    assert float(found.at(0.5)) == pytest.approx(1 / 8, rel=1e-4)


def test_a_point_at_the_wall_is_the_wall():
    row = FokkerPlanck(diffusion=1.0, domain=(0.0, 1.0), initial=PointMass(at=0.3))
    point = mean_first_passage_time(row, (1.0, 1.0))
    assert np.array_equal(point.mean, mean_first_passage_time(row, "right").mean)


def test_refuses_no_target_in_the_plane_with_what_is_one_there():
    plane = FokkerPlanck(diffusion=1.0, domain=((0, 1), (0, 1)), initial=PointMass(at=(0.3, 0.2)))
    with pytest.raises(InputError, match="pass a function of 2 coordinates"):
        mean_first_passage_time(plane)

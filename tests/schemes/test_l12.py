"""L1-2: weights to high precision, digits of another program, and the orders of its docstring."""

from math import gamma

import numpy as np
import pytest

from fracsde.backends.moments_numba import LONGEST
from fracsde.grids import TimeGrid
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.schemes import piecewise
from fracsde.schemes.exponentials import Exponentials
from fracsde.schemes.l1 import L1
from fracsde.schemes.l2_sigma import L2Sigma
from fracsde.schemes.l12 import L12
from fracsde.schemes.marching import march
from fracsde.solve import solve
from fracsde.special import mittag_leffler
from tests.support.marching import Decay, HeavyNewestL12, StraightL12, relax
from tests.support.orders import observed_order
from tests.support.weights import worst_weight_error

STEEP = TimeGrid.graded(1.0, 60, 20.0)
SIZES = (32, 64, 128, 256, 512)
STEPS = 10_000
WILD = {
    "1:10": np.where(np.arange(60) % 2, 10.0, 1.0),
    "1:100": np.where(np.arange(60) % 2, 100.0, 1.0),
    "1:1000": np.where(np.arange(60) % 2, 1000.0, 1.0),
    "halving": 0.5 ** np.arange(40.0),
    "tenths": 0.1 ** np.arange(12.0),
    "doubling": 2.0 ** np.arange(40.0),
    "tenfold": 10.0 ** np.arange(12.0),
    "random": 10.0 ** np.random.default_rng(8).uniform(-2, 2, 60),
    "graded": np.diff(TimeGrid.graded(1.0, 60, 20.0).times),
}
PICKED = np.unique(np.concatenate([np.arange(1, 30), np.arange(30, STEPS, 997)]))


@pytest.mark.parametrize(("alpha", "grading"), [(0.2, 9.0), (0.6, 4.0), (0.9, 1.0), (0.999, 1.0)])
def test_exact_weights_on_the_graded_mesh_of_ten_thousand_steps(alpha, grading):
    times = TimeGrid.graded(1.0, STEPS, grading).times
    assert worst_weight_error(L12(), times, alpha, PICKED) < 3e-12  # rounding of the nodes
    newest = np.array([STEPS - 3, STEPS - 2, STEPS - 1])
    assert worst_weight_error(L12(), times, alpha, newest) < 1e-9


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.5, 0.8, 0.999])
def test_exact_weights_where_steps_grow_and_shrink(alpha):
    steps = np.array([1.0, 1e-3, 2.0, 1e-6, 1e-6, 5.0, 1e-2, 1e-4, 3.0])
    times = np.append(0.0, np.cumsum(steps))
    for last in range(2, 9):
        assert worst_weight_error(L12(), times[: last + 1], alpha, np.arange(last)) < 1e-9


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.9, 1.0])
def test_exact_lags_are_the_weights_on_equal_steps(alpha):
    times = np.linspace(0.0, 3.0, 41)
    lags, first = L12().lags(times, alpha=alpha)
    for n in (1, 2, 3, 40):
        row = np.append(lags[: n - 1], first[n - 1])[::-1]
        expected = L12().weights(times[: n + 1], alpha=alpha)
        assert np.abs(row - expected).max() < 1e-13 * expected[-1]


# Errors of the derivative of t**4.5, of order one half, at t = 1, with 10 and with 640 steps: the
# problem of [Gao2014]_, its errors from another program.  No printed digits were seen.
ELSEWHERE = {"L1": "9.1701e-02 2.2275e-04", "L12": "1.3507e-02 5.0953e-07"}


def derivative_errors(scheme):
    exact = gamma(5.5) / gamma(5.0)
    errors = []
    for n in (10, 640):
        times = np.linspace(0.0, 1.0, n + 1)
        found = scheme.weights(times, alpha=0.5) @ np.diff(times**4.5)
        errors.append(f"{abs(found - exact):.4e}")
    return " ".join(errors)


@pytest.mark.parametrize("scheme", [L1(), L12()])
def test_routes_agree_with_another_program_digit_for_digit(scheme):
    assert derivative_errors(scheme) == ELSEWHERE[type(scheme).__name__]


@pytest.mark.twin
def test_digits_of_the_other_program_reject_chords():
    assert derivative_errors(StraightL12()) != ELSEWHERE["L12"]


def parabola_error(scheme, alpha):
    times = TimeGrid.graded(2.0, 200, 2.0).times
    weights = scheme.weights(times, alpha=alpha)
    # But for the first cell, a chord; its share of the sum is known.
    chord = L1().weights(times, alpha=alpha)[0]
    left, right = times[-1], times[-1] - times[1]
    area = (left ** (1 - alpha) - right ** (1 - alpha)) / (1 - alpha)
    first = (left ** (2 - alpha) - right ** (2 - alpha)) / (2 - alpha)
    missing = 2 * (left * area - first) / gamma(1 - alpha) - chord * times[1] ** 2
    found = weights @ np.diff(times**2) + missing
    return abs(found * gamma(3 - alpha) / (2 * 2 ** (2 - alpha)) - 1)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_exact_on_parabolas_but_for_the_first_cell(alpha):
    assert parabola_error(L12(), alpha) < 1e-12


@pytest.mark.twin
@pytest.mark.parametrize("damaged", [HeavyNewestL12(), StraightL12()])
def test_exact_on_parabolas_rejects_damage(damaged):
    assert not parabola_error(damaged, 0.5) < 1e-12


def singular(scheme, alpha, grading, *, final=False):
    def error(n):
        t, u = relax(scheme, n, alpha=alpha, rate=0.1, grading=grading)
        gap = np.abs(u - mittag_leffler(-0.1 * t**alpha, alpha))
        return float(gap[-1] if final else gap.max())

    return observed_order(error, SIZES, L12().order(alpha=alpha, grading=grading, final=final))


def smooth(scheme, alpha, grading, power=3):
    def error(n):
        t, u = relax(
            scheme,
            n,
            alpha=alpha,
            rate=1.0,
            grading=grading,
            start=0.0,
            source=lambda t: np.array(
                [gamma(power + 1) * t ** (power - alpha) / gamma(power + 1 - alpha) + t**power]
            ),
        )
        return float(np.abs(u - t**power).max())

    return observed_order(error, SIZES, 3.0 - alpha if power == 3 else 2.0)


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize(
    ("alpha", "grading"),
    [
        (0.3, 1.0),
        (0.5, 1.0),
        (0.8, 1.0),
        (0.3, 2.0),
        (0.3, 9.0),
        (0.5, 2.0),
        (0.5, 5.0),
        (0.8, 2.75),
    ],
)
def test_order_for_singular_data(alpha, grading, final):
    table = singular(L12(), alpha, grading, final=final)
    assert table.agrees(), table


@pytest.mark.parametrize("alpha", [0.3, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("grading", [1.0, 1.5])
def test_order_for_smooth_data(alpha, grading):
    table = smooth(L12(), alpha, grading)
    assert table.agrees(), table


def test_order_two_where_the_first_chord_is_seen():
    table = smooth(L12(), 0.5, 1.0, power=2)
    assert table.agrees(), table


@pytest.mark.twin
@pytest.mark.parametrize("damaged", [HeavyNewestL12(), StraightL12()])
def test_order_tables_reject_damage(damaged):
    assert not singular(damaged, 0.5, 5.0).agrees()
    assert not smooth(damaged, 0.6, 1.0).agrees()


def bdf2(t, rate):
    """Variable-step BDF2 in divided differences, first step backward Euler."""
    u = [1.0]
    u.append(u[0] / (1 + rate * (t[1] - t[0])))
    for n in range(2, len(t)):
        h, g = t[n] - t[n - 1], t[n - 1] - t[n - 2]
        slope = (u[-1] - u[-2]) / g
        if h > (1 + np.sqrt(2)) * g:  # a step of backward Euler
            u.append(u[-1] / (1 + rate * h))
            continue
        # u[t_n, t_{n-1}] + h (u[t_n, t_{n-1}] - slope) / (h + g) = -rate u_n
        factor = 1 + h / (h + g)
        u.append((factor * u[-1] / h + h / (h + g) * slope) / (factor / h + rate))
    return np.array(u)


@pytest.mark.parametrize("grading", [1.0, 2.0])
def test_limit_order_one_is_bdf2(grading):
    t, u = relax(L12(), 40, alpha=1.0, rate=3.0, grading=grading)
    assert np.abs(u - bdf2(t, 3.0)).max() < 1e-14
    near = relax(L12(), 40, alpha=1 - 1e-8, rate=3.0, grading=grading)[1]
    assert np.abs(near - bdf2(t, 3.0)).max() < 1e-6


def tallest(scheme, steps, alpha):
    """Largest value that modes of all rates take, from one on, on a mesh of given steps."""
    times = np.append(0.0, np.cumsum(steps) / np.sum(steps))
    rows, point = scheme.block_rows(times, alpha=alpha, first=0), scheme.point(alpha)
    rates = 10.0 ** np.arange(-2.0, 12.0, 0.5)
    u, increments = np.ones((len(times), len(rates))), np.zeros((len(steps), len(rates)))
    for n, row in enumerate(rows):
        past = row[:n] @ increments[:n] + rates * u[n]
        increments[n] = -past / (row[n] + point * rates)
        u[n + 1] = u[n] + increments[n]
    return float(np.abs(u).max())


@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("mesh", WILD)
@pytest.mark.parametrize("scheme", [L12(), L2Sigma()])
def test_keeps_modes_of_every_rate_below_their_start_on_wild_meshes(scheme, mesh, alpha):
    assert tallest(scheme, WILD[mesh], alpha) <= 1.0 + 1e-9


@pytest.mark.twin
@pytest.mark.parametrize(("mesh", "alpha"), [("graded", 0.1), ("1:1000", 0.3), ("random", 0.3)])
def test_wild_meshes_reject_parabolas_that_lean_on_short_cells(mesh, alpha, monkeypatch):
    class AlwaysLeaning(L12):
        def block_rows(self, times, *, alpha, first, skip=0):
            return self.rows(times, alpha=alpha, first=first, skip=skip)

    monkeypatch.setattr(piecewise, "LONGEST", np.inf)
    assert tallest(AlwaysLeaning(), WILD[mesh], alpha) > 2.0


def error_on(scheme, times):
    states = march(
        Decay(1.0),
        scheme,
        times,
        initial=np.ones(1),
        alpha=0.6,
        scale=1.0,
        source=None,
        engine=None,
    )
    return np.abs(states[:, 0] - mittag_leffler(-(times**0.6), 0.6)).max()


@pytest.mark.parametrize("ratio", [2, 10, 100])
def test_routes_agree_where_steps_alternate(ratio):
    """Halved unevenly, a mesh serves no worse; but parabolas that would lean too far are chords."""
    whole = TimeGrid.graded(1.0, 64, 4.0).times
    halved = np.sort(np.concatenate([whole, whole[:-1] + np.diff(whole) / (1 + ratio)]))
    for scheme in (L1(), L2Sigma()) if ratio > LONGEST else (L1(), L2Sigma(), L12()):
        assert error_on(scheme, halved) < 1.5 * error_on(scheme, whole)
    assert error_on(L12(), halved) < error_on(L1(), halved)


def test_mesh_that_starts_like_a_power_of_twenty_is_marched():
    """Parabolas that lean on far shorter cells would amplify rounding there, and lose mass."""
    base = FokkerPlanck(
        potential=lambda x: x**2 / 2,
        diffusion=1.0,
        domain=(-4.0, 4.0),
        initial=Gaussian(mean=0.5, std=0.3),
    )
    problem = FractionalFokkerPlanck(base=base, alpha=0.999)
    space = FiniteVolume(cells=24)
    exact = solve(problem, [1.0], space=space).density[-1]
    for scheme in (L12(), L12(history=Exponentials())):
        found = solve(problem, STEEP, scheme=scheme, space=space).density[-1]
        assert np.abs(found - exact).max() < 2e-2 * exact.max()

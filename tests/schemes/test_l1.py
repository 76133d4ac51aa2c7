"""L1: weights to high precision, and the table of orders in its docstring, from both sides."""

from math import gamma

import mpmath
import numpy as np
import pytest

from fracsde.grids import TimeGrid
from fracsde.schemes.history import weight_rows
from fracsde.schemes.l1 import L1
from fracsde.schemes.memory import coefficients_of
from fracsde.special import mittag_leffler
from tests.support.exact import EPS
from tests.support.marching import HeavyNewestL1, LateL1, relax
from tests.support.orders import observed_order

SIZES = (64, 128, 256, 512, 1024)
# Slow relaxation: E(-0.1 t**alpha) is t**alpha data with a small remainder.
RATE = 0.1


def worst_weight_error(weights_of, alpha, grading):
    """Largest relative error of the weights of the last step on a graded mesh of 1e4 steps."""
    n = 10_000
    t = TimeGrid.graded(1.0, n, grading).times
    weights = weights_of(t, alpha)
    picked = np.unique(np.concatenate([np.arange(1, 60), np.arange(60, n, 487), [n - 1]]))
    with mpmath.workdps(80):
        a = mpmath.mpf(alpha)
        exact = [
            (
                (mpmath.mpf(t[n]) - mpmath.mpf(t[k])) ** (1 - a)
                - (mpmath.mpf(t[n]) - mpmath.mpf(t[k + 1])) ** (1 - a)
            )
            / (mpmath.gamma(2 - a) * (mpmath.mpf(t[k + 1]) - mpmath.mpf(t[k])))
            for k in map(int, picked)
        ]
        return max(
            float(abs(mpmath.mpf(float(weights[k])) / e - 1))
            for k, e in zip(picked, exact, strict=True)
        )


CASES = [(0.2, 9.0), (0.6, 7 / 3), (0.9, 1.0), (0.999, 1.0)]


@pytest.mark.parametrize(("alpha", "grading"), CASES)
def test_exact_weights_on_the_graded_mesh_of_ten_thousand_steps(alpha, grading):
    error = worst_weight_error(lambda t, a: L1().weights(t, alpha=a), alpha, grading)
    assert error < 2e-12  # the newest cells: rounding of the nodes themselves


@pytest.mark.twin
@pytest.mark.parametrize(("alpha", "grading"), [(0.2, 9.0)])
def test_exact_weights_reject_the_plain_difference_of_powers(alpha, grading):
    def plain(t, a):
        powers = (t[-1] - t) ** (1 - a)
        return -np.diff(powers) / (gamma(2 - a) * np.diff(t))

    assert not worst_weight_error(plain, alpha, grading) < 2e-12


def line_error(scheme, alpha):
    t = TimeGrid.graded(2.0, 300, 2.5).times
    return abs(
        scheme.weights(t, alpha=alpha) @ np.diff(t) * gamma(2 - alpha) / 2 ** (1 - alpha) - 1
    )


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9, 1.0])
def test_exact_on_lines(alpha):
    assert line_error(L1(), alpha) < 1e-13


@pytest.mark.twin
@pytest.mark.parametrize("damaged", [HeavyNewestL1(), LateL1()])
def test_exact_on_lines_rejects_damaged_memory(damaged):
    assert not line_error(damaged, 0.5) < 1e-13


@pytest.mark.parametrize("alpha", [0.05, 0.5, 0.99])
@pytest.mark.parametrize("grid", [TimeGrid.uniform(1, 400), TimeGrid.graded(1, 400, 12.0)])
def test_keeps_weights_positive_and_growing(alpha, grid):
    weights = L1().weights(grid.times, alpha=alpha)
    assert np.all(weights > 0)
    assert np.all(np.diff(weights) >= -4 * EPS * weights[1:])


def stored_rows(grid, alpha):
    rows = weight_rows(L1(), grid.times, alpha=alpha, start=390, stop=400, equal=None)
    return coefficients_of(rows, L1(), alpha=alpha, even=False)


def test_keeps_coefficients_of_past_states_positive_on_a_very_steep_mesh():
    """Early cells of 1e-32 have equal weights but for rounding; the loop clips the difference."""
    grid = TimeGrid.graded(1, 400, 12.0)
    rows, shifts = stored_rows(grid, 0.5)
    assert rows.min() == 0.0
    assert np.abs(rows.sum(axis=1) / shifts - 1).max() < 8 * EPS


@pytest.mark.twin
def test_keeps_coefficients_positive_would_fail_without_the_clip():
    grid = TimeGrid.graded(1, 400, 12.0)
    assert np.diff(L1().weights(grid.times, alpha=0.5)).min() < 0


def singular(scheme, alpha, grading, *, final=False):
    def error(n):
        t, u = relax(scheme, n, alpha=alpha, rate=RATE, grading=grading)
        gap = np.abs(u - mittag_leffler(-RATE * t**alpha, alpha))
        return float(gap[-1] if final else gap.max())

    return observed_order(error, SIZES, L1().order(alpha=alpha, grading=grading, final=final))


def smooth(scheme, alpha, grading=1.0):
    def error(n):
        t, u = relax(
            scheme,
            n,
            alpha=alpha,
            rate=1.0,
            grading=grading,
            start=0.0,
            source=lambda t: np.array([2 * t ** (2 - alpha) / gamma(3 - alpha) + t * t]),
        )
        return float(np.abs(u - t * t).max())

    return observed_order(error, SIZES, min(2 - alpha, 2))


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.8])
def test_order_on_uniform_meshes_for_singular_data(alpha, final):
    table = singular(L1(), alpha, 1.0, final=final)
    assert table.agrees(), table


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize(
    ("alpha", "grading"), [(0.3, 2.0), (0.3, 17 / 3), (0.6, 2.0), (0.6, 7 / 3), (0.8, 1.5)]
)
def test_order_on_graded_meshes_for_singular_data(alpha, grading, final):
    table = singular(L1(), alpha, grading, final=final)
    assert table.agrees(), table


@pytest.mark.parametrize("alpha", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("grading", [1.0, 2.0])
def test_order_for_smooth_data(alpha, grading):
    table = smooth(L1(), alpha, grading)
    assert table.agrees(), table


def test_order_one_at_order_one():
    for table in (singular(L1(), 1.0, 1.0), smooth(L1(), 1.0)):
        assert abs(table.observed - 1.0) < 0.05, table


@pytest.mark.twin
@pytest.mark.parametrize("damaged", [HeavyNewestL1(), LateL1()])
def test_order_tables_reject_damaged_memory(damaged):
    assert not singular(damaged, 0.6, 7 / 3).agrees()
    assert not singular(damaged, 0.6, 1.0, final=True).agrees()
    assert not smooth(damaged, 0.6).agrees()

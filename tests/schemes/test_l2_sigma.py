"""L2-1 sigma: weights to high precision, and the table of orders in its docstring."""

from math import gamma

import numpy as np
import pytest

from fracsde.grids import TimeGrid
from fracsde.schemes.l2_sigma import L2Sigma
from fracsde.schemes.piecewise import power_moments
from fracsde.special import mittag_leffler
from tests.support.marching import EndOfStepL2Sigma, HeavyNewestL2Sigma, relax
from tests.support.orders import observed_order
from tests.support.weights import worst_weight_error

SIZES = (32, 64, 128, 256, 512)
STEPS = 10_000
PICKED = np.unique(np.concatenate([np.arange(1, 30), np.arange(30, STEPS, 997), [STEPS - 1]]))
CASES = [(0.2, 9.0), (0.6, 10 / 3), (0.9, 1.0), (0.999, 1.0)]


@pytest.mark.parametrize(("alpha", "grading"), CASES)
def test_exact_weights_on_the_graded_mesh_of_ten_thousand_steps(alpha, grading):
    times = TimeGrid.graded(1.0, STEPS, grading).times
    assert worst_weight_error(L2Sigma(), times, alpha, PICKED) < 3e-12  # rounding of the nodes


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.5, 0.8, 0.999])
def test_exact_weights_where_steps_grow_and_shrink(alpha):
    steps = np.array([1.0, 1e-3, 2.0, 1e-6, 1e-6, 5.0, 1e-2, 1e-4, 3.0])
    times = np.append(0.0, np.cumsum(steps))
    for last in range(2, 9):
        assert worst_weight_error(L2Sigma(), times[: last + 1], alpha, np.arange(last)) < 1e-9


@pytest.mark.twin
def test_exact_weights_reject_the_plain_second_moment():
    alpha, times = 0.6, TimeGrid.graded(1.0, STEPS, 10 / 3).times
    at = times[-2] + (1 - alpha / 2) * (times[-1] - times[-2])
    left, right, cell = at - times[:-2], at - times[1:-1], np.diff(times)[:-1]
    mean, tilt = power_moments(left, right, cell, alpha)
    area = (left ** (1 - alpha) - right ** (1 - alpha)) / gamma(2 - alpha)
    first = (left ** (2 - alpha) - right ** (2 - alpha)) / (gamma(1 - alpha) * (2 - alpha))
    plain = 0.5 * (left + right) * area - first
    assert np.abs(area / cell / mean - 1)[5:50].max() > 1e-6
    assert np.abs(plain / tilt - 1)[5:50].max() > 1e-1


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.9, 1.0])
def test_exact_lags_are_the_weights_on_equal_steps(alpha):
    times = np.linspace(0.0, 3.0, 41)
    lags, first = L2Sigma().lags(times, alpha=alpha)
    for n in (1, 2, 3, 40):
        row = np.append(lags[: n - 1], first[n - 1])[::-1]
        expected = L2Sigma().weights(times[: n + 1], alpha=alpha)
        assert np.abs(row - expected).max() < 1e-13 * expected[-1]


def parabola_error(scheme, alpha):
    """At its own point the scheme differentiates parabolas on equal steps but for one cell."""
    times = TimeGrid.graded(2.0, 200, 2.0).times
    at = times[-2] + (1 - alpha / 2) * (times[-1] - times[-2])
    found = scheme.weights(times, alpha=alpha) @ np.diff(times**2)
    return abs(found * gamma(3 - alpha) / (2 * at ** (2 - alpha)) - 1)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_exact_on_parabolas(alpha):
    assert parabola_error(L2Sigma(), alpha) < 1e-13


@pytest.mark.twin
def test_exact_on_parabolas_rejects_a_heavy_weight():
    assert not parabola_error(HeavyNewestL2Sigma(), 0.5) < 1e-13


def singular(scheme, alpha, grading, *, final=False, rate=0.1):
    def error(n):
        t, u = relax(scheme, n, alpha=alpha, rate=rate, grading=grading)
        gap = np.abs(u - mittag_leffler(-rate * t**alpha, alpha))
        return float(gap[-1] if final else gap.max())

    return observed_order(error, SIZES, L2Sigma().order(alpha=alpha, grading=grading, final=final))


def smooth(scheme, alpha, grading):
    def error(n):
        t, u = relax(
            scheme,
            n,
            alpha=alpha,
            rate=1.0,
            grading=grading,
            start=0.0,
            source=lambda t: np.array([6 * t ** (3 - alpha) / gamma(4 - alpha) + t**3]),
        )
        return float(np.abs(u - t**3).max())

    return observed_order(error, SIZES, 2.0)


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.8])
def test_order_on_uniform_meshes_for_singular_data(alpha, final):
    table = singular(L2Sigma(), alpha, 1.0, final=final)
    assert table.agrees(), table


@pytest.mark.parametrize(("alpha", "grading"), [(0.3, 2.0), (0.3, 20 / 3), (0.5, 4.0), (0.8, 2.5)])
def test_order_on_graded_meshes_for_singular_data(alpha, grading):
    table = singular(L2Sigma(), alpha, grading)
    assert table.agrees(), table


@pytest.mark.parametrize(("alpha", "grading"), [(0.3, 1.5), (0.5, 2.0), (0.8, 1.5), (0.8, 3.0)])
def test_order_at_the_final_time_on_graded_meshes(alpha, grading):
    table = singular(L2Sigma(), alpha, grading, final=True, rate=1.0 if grading > 2 else 0.1)
    assert table.agrees(), table


@pytest.mark.parametrize("alpha", [0.3, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("grading", [1.0, 2.0])
def test_order_for_smooth_data(alpha, grading):
    table = smooth(L2Sigma(), alpha, grading)
    assert table.agrees(), table


@pytest.mark.twin
@pytest.mark.parametrize("damaged", [HeavyNewestL2Sigma(), EndOfStepL2Sigma()])
def test_order_tables_reject_damage(damaged):
    assert not singular(damaged, 0.5, 4.0).agrees()
    assert not smooth(damaged, 0.6, 2.0).agrees()


@pytest.mark.parametrize("grading", [1.0, 2.0])
def test_limit_order_one_is_crank_nicolson(grading):
    t, u = relax(L2Sigma(), 40, alpha=1.0, rate=3.0, grading=grading)
    steps = np.diff(t)
    expected = np.cumprod(np.append(1.0, (1 - 1.5 * steps) / (1 + 1.5 * steps)))
    assert np.abs(u - expected).max() < 1e-14
    near = relax(L2Sigma(), 40, alpha=1 - 1e-8, rate=3.0, grading=grading)[1]
    assert np.abs(near - expected).max() < 1e-6

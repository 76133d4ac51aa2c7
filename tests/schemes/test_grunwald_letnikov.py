"""Grünwald-Letnikov: weights from their generating function, orders from both sides."""

from math import gamma

import mpmath
import numpy as np
import pytest

from fracsde.errors import GridError
from fracsde.grids import TimeGrid
from fracsde.schemes.grunwald_letnikov import GrunwaldLetnikov
from fracsde.special import mittag_leffler
from tests.support.marching import HeavyNewestGL, LateGL, relax
from tests.support.orders import observed_order

SIZES = (64, 128, 256, 512, 1024)
RATE = 0.1


def generating_error(scheme, alpha, n=10_000):
    """Relative error against the coefficients of (1 - z)**(alpha - 1), by gamma functions."""
    weights = scheme.weights(np.arange(n + 1.0), alpha=alpha)[::-1]
    picked = [0, 1, 2, 3, 10, 100, 5000, n - 1]
    with mpmath.workdps(40):
        a = mpmath.mpf(alpha)
        exact = [mpmath.rf(1 - a, j) / mpmath.factorial(j) for j in picked]
    return max(abs(float(weights[j] / e) - 1) for j, e in zip(picked, exact, strict=True))


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.99])
def test_exact_weights_are_those_of_the_generating_function(alpha):
    assert generating_error(GrunwaldLetnikov(), alpha) < 1e-13


@pytest.mark.twin
@pytest.mark.parametrize("damaged", [HeavyNewestGL(), LateGL()])
def test_exact_weights_reject_damaged_memory(damaged):
    assert not generating_error(damaged, 0.5) < 1e-13


def test_limit_order_one_is_backward_euler():
    assert np.array_equal(
        GrunwaldLetnikov().weights(np.arange(5) * 0.5, alpha=1.0), [0.0, 0.0, 0.0, 2.0]
    )


def singular(scheme, alpha, *, final=False):
    def error(n):
        t, u = relax(scheme, n, alpha=alpha, rate=RATE)
        gap = np.abs(u - mittag_leffler(-RATE * t**alpha, alpha))
        return float(gap[-1] if final else gap.max())

    return observed_order(error, SIZES, GrunwaldLetnikov().order(alpha=alpha, final=final))


def smooth(scheme, alpha):
    def error(n):
        t, u = relax(
            scheme,
            n,
            alpha=alpha,
            rate=1.0,
            start=0.0,
            source=lambda t: np.array([2 * t ** (2 - alpha) / gamma(3 - alpha) + t * t]),
        )
        return float(np.abs(u - t * t).max())

    return observed_order(error, SIZES, 1.0)


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.8, 1.0])
def test_order_for_singular_data(alpha, final):
    table = singular(GrunwaldLetnikov(), alpha, final=final)
    assert table.agrees(), table


@pytest.mark.parametrize("alpha", [0.3, 0.6, 0.9, 1.0])
def test_order_for_smooth_data(alpha):
    table = smooth(GrunwaldLetnikov(), alpha)
    assert table.agrees(), table


@pytest.mark.twin
@pytest.mark.parametrize("damaged", [HeavyNewestGL(), LateGL()])
def test_order_tables_reject_damaged_memory(damaged):
    assert not singular(damaged, 0.5, final=True).agrees()
    assert not smooth(damaged, 0.5).agrees()


def test_refuses_unequal_steps_with_the_reason():
    with pytest.raises(GridError, match=r"power series of one step.*or L1, which takes any mesh"):
        GrunwaldLetnikov().check(TimeGrid.graded(1.0, 10, 2.0))
    with pytest.raises(GridError, match="`grading` must be 1, got 2"):
        GrunwaldLetnikov().order(alpha=0.5, grading=2.0)
    GrunwaldLetnikov().check(TimeGrid.from_times(np.linspace(0, 0.7, 1001)))

"""The loop: points inside the step, corrections of the start, wanted nodes, residuals."""

import tracemalloc
from dataclasses import dataclass
from math import gamma
from typing import ClassVar

import numpy as np
import pytest

from fracsde.backends import marching_numba
from fracsde.errors import GridError
from fracsde.grids import TimeGrid
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.schemes.base import ConvolutionScheme
from fracsde.schemes.block_fft import BlockFFT
from fracsde.schemes.convolution_quadrature import ConvolutionQuadrature
from fracsde.schemes.exponentials import Exponentials
from fracsde.schemes.grunwald_letnikov import GrunwaldLetnikov
from fracsde.schemes.history import Direct
from fracsde.schemes.l1 import L1
from fracsde.schemes.l2_sigma import L2Sigma
from fracsde.schemes.l12 import L12
from fracsde.schemes.marching import march, marched
from fracsde.special import mittag_leffler
from tests.support.marching import Decay
from tests.support.orders import observed_order

PROBLEM = FokkerPlanck(
    potential=lambda x: x**2 / 2,
    diffusion=1.0,
    domain=(-5.0, 5.0),
    initial=Gaussian(mean=1.5, std=0.5),
)
CHAIN = FiniteVolume(cells=24).discretise(PROBLEM)
START = CHAIN.project(PROBLEM.initial)
UNIFORM, GRADED = TimeGrid.uniform(1.0, 90), TimeGrid.graded(1.0, 90, 3.0)


@dataclass(frozen=True, kw_only=True)
class SecondQuadrature(ConvolutionScheme):
    """Convolution quadrature of BDF2, whose first step needs half of the start."""

    equal_steps_because: ClassVar[str] = "its weights are a power series"
    positive: ClassVar[bool] = False
    factor: float = 0.5

    def weights(self, times, *, alpha):
        n = len(times) - 1
        step = (times[-1] - times[0]) / n
        series = np.zeros(n)  # (3/2 - 2 z + z**2 / 2)**alpha by Miller's recurrence
        series[0] = 1.5**alpha
        for j in range(1, n):
            first = (alpha - j + 1) * -2.0 * series[j - 1]
            second = (2 * alpha - j + 2) * 0.5 * series[j - 2] if j > 1 else 0.0
            series[j] = (first + second) / (1.5 * j)
        return np.cumsum(series)[::-1] * step**-alpha

    def order(self, *, alpha, grading=1.0, final=False):
        return 2.0 if final else alpha

    def corrections(self):
        return np.array([self.factor])


def quadrature_error(scheme, source):
    def error(n):
        times = TimeGrid.uniform(1.0, n).times
        u = march(
            Decay(1.3),
            scheme,
            times,
            initial=np.array([2.0]),
            alpha=0.6,
            scale=1.0,
            source=(lambda t: np.array([0.5])) if source else None,
            engine=None,
        )
        rest = 0.5 / 1.3 if source else 0.0
        exact = rest + (2.0 - rest) * mittag_leffler(-1.3, 0.6)
        return float(abs(u[-1, 0] - exact))

    return observed_order(error, (32, 64, 128, 256, 512), 2.0)


@pytest.mark.parametrize("source", [False, True])
@pytest.mark.parametrize("history", [Direct(block=7), BlockFFT(block=16)])
def test_order_two_of_a_quadrature_with_a_corrected_start(history, source):
    table = quadrature_error(SecondQuadrature(history=history), source)
    assert table.agrees(), table


@pytest.mark.twin
@pytest.mark.parametrize("factor", [0.0, -0.5])
def test_order_two_rejects_a_start_without_its_correction(factor):
    assert not quadrature_error(SecondQuadrature(factor=factor), False).agrees()


SCHEMES = [
    (L1(), GRADED),
    (L12(), UNIFORM),
    (L2Sigma(), GRADED),
    (GrunwaldLetnikov(), UNIFORM),
    (L1(history=Exponentials()), GRADED),
    (L12(history=BlockFFT(block=16)), UNIFORM),
    (L2Sigma(history=Exponentials()), UNIFORM),
]


def go(scheme, grid, **changes):
    given = {
        "initial": START,
        "alpha": 0.6,
        "scale": 1.4,
        "source": lambda t: t * START,
        "engine": marching_numba,
    }
    return marched(CHAIN, scheme, grid.times, **(given | changes))


@pytest.mark.parametrize(("scheme", "grid"), SCHEMES)
def test_wanted_nodes_are_those_of_the_whole_march(scheme, grid):
    whole = go(scheme, grid).states
    for keep in ([0, 1, 5, 31, 32, 33, 64, 90], [90], [0], [17, 18]):
        some = go(scheme, grid, keep=np.array(keep)).states
        assert np.array_equal(some, whole[keep])


@pytest.mark.parametrize(("scheme", "grid"), SCHEMES)
def test_residual_of_the_last_step_is_rounding(scheme, grid):
    assert go(scheme, grid).residual < 1e-13
    assert go(scheme, grid, source=None).residual < 1e-13


@pytest.mark.twin
@pytest.mark.parametrize(("scheme", "grid"), SCHEMES)
def test_residual_rejects_a_solve_with_a_wrong_shift(scheme, grid):
    class Off(Decay):
        def solve_shifted(self, shift, rhs):
            return rhs / (1.0001 * shift + self.rate)

    found = marched(
        Off(2.0),
        scheme,
        grid.times,
        initial=np.ones(1),
        alpha=0.6,
        scale=1.0,
        source=None,
        engine=None,
    )
    assert not found.residual < 1e-13


@pytest.mark.parametrize("scheme", [L1(), L12(), L2Sigma(), GrunwaldLetnikov()])
def test_residual_of_a_density_at_rest_is_rounding(scheme):
    # Memory and drift have both died out: what is left is the rounding of the drift alone.
    grid = TimeGrid.uniform(1e12, 40)
    found = go(scheme, grid, source=None, alpha=0.999)
    assert np.abs(found.states.sum(axis=1) - 1.0).max() < 1e-13
    if scheme.positive:  # the others ring
        assert np.allclose(found.states[-1], CHAIN.stationary() * CHAIN.widths, rtol=1e-9)
    assert found.residual < 1e-13


@pytest.mark.twin
def test_residual_sees_mass_that_rounding_has_taken():
    # The start correction holds a drift whose rounding is large against the shift.
    found = go(ConvolutionQuadrature(bdf=2), TimeGrid.uniform(1e12, 1), source=None, alpha=1.0)
    assert abs(found.states[-1].sum() - 1.0) > 1e-8
    assert not found.residual < 1e-8


def test_nearly_equal_steps_are_told_apart_from_equal_ones():
    almost = TimeGrid.from_times(np.cumsum(np.full(10_000, 1e-4)))
    with pytest.raises(GridError, match=r"steps near 0\.0001 that differ by .*TimeGrid\.uniform"):
        GrunwaldLetnikov().check(almost)


def test_direct_history_takes_no_more_than_it_says():
    times = TimeGrid.uniform(1.0, 1000).times
    memory = Direct().begin(L1(), times, np.zeros(300), alpha=0.6)
    memory.states[:] = np.sin(np.arange(1001.0))[:, None]
    memory.start = 992
    exact = np.diff(memory.states, axis=0).T @ L1().weights(times, alpha=0.6)
    tracemalloc.start()
    found = memory.derivative()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.allclose(found, exact, rtol=1e-12)
    assert peak < 0.5 * memory.nbytes


def test_source_is_asked_where_the_equation_holds():
    asked = []

    def source(t):
        asked.append(t)
        return 0.0 * START

    go(L2Sigma(), GRADED, source=source)
    t = GRADED.times
    assert np.allclose(asked, t[:-1] + 0.7 * np.diff(t), rtol=1e-15)
    asked.clear()
    go(L12(), GRADED, source=source)
    assert np.array_equal(asked, t[1:])


def test_watch_is_told_of_every_block():
    done = []
    go(L1(history=Direct(block=32)), UNIFORM, watch=done.append)
    assert done == [32, 64, 90]


def test_keeps_what_it_is_given():
    times, start = GRADED.times.copy(), START.copy()
    for scheme, grid in SCHEMES:
        go(scheme, grid)
    assert np.array_equal(times, GRADED.times)
    assert np.array_equal(start, START)


@pytest.mark.parametrize("scheme", [L1(), L12(), L2Sigma()])
def test_limit_order_one_needs_no_early_state(scheme):
    """At order one memory is one or two states long, and the early ones are not read."""
    grid = TimeGrid.uniform(1.0, 200)
    memory = Direct(block=10).begin(scheme, grid.times, START, alpha=1.0)
    for _ in range(10):
        block = memory.block(1.0)
        block.window[block.known :] = START
        memory.absorb()
    assert memory.block(1.0).known <= 2


def test_a_source_alone_is_integrated_exactly_by_chords():
    """D u = t**(1 - alpha) / gamma(2 - alpha) from zero has u = t, a chord on every mesh."""
    alpha = 0.3
    u = march(
        Decay(0.0),
        L1(),
        GRADED.times,
        initial=np.zeros(1),
        alpha=alpha,
        scale=1.0,
        source=lambda t: np.array([t ** (1 - alpha) / gamma(2 - alpha)]),
        engine=None,
    )
    assert np.abs(u[:, 0] - GRADED.times).max() < 1e-14

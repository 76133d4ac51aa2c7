"""Histories: every scheme gives the same numbers with every history that admits it."""

from dataclasses import fields, replace

import numpy as np
import pytest

from fracsde.backends import marching_numba, marching_reference
from fracsde.errors import GridError, InputError, OutOfRangeError, UnsupportedError
from fracsde.grids import TimeGrid
from fracsde.operators.base import Generator
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.schemes import exponentials
from fracsde.schemes.block_fft import BlockFFT
from fracsde.schemes.exponentials import Exponentials, exponential_moments
from fracsde.schemes.grunwald_letnikov import GrunwaldLetnikov
from fracsde.schemes.history import Direct
from fracsde.schemes.l1 import L1
from fracsde.schemes.l2_sigma import L2Sigma
from fracsde.schemes.l12 import L12
from fracsde.schemes.marching import march
from fracsde.special.exponentials import ExponentialSum
from tests.support.marching import Decay

PROBLEM = FokkerPlanck(
    potential=lambda x: x**2 / 2,
    diffusion=1.0,
    domain=(-5.0, 5.0),
    initial=Gaussian(mean=1.5, std=0.5),
)
CHAIN = FiniteVolume(cells=21).discretise(PROBLEM)
START = CHAIN.project(PROBLEM.initial)

UNIFORM = TimeGrid.uniform(2.0, 203)
MESHES = {
    "uniform": UNIFORM,
    "graded": TimeGrid.graded(2.0, 203, 4.0),
    "geometric": TimeGrid.geometric(1e-8, 2.0, 203),
    "uneven": TimeGrid.from_times(
        np.cumsum(10.0 ** np.random.default_rng(7).uniform(-2.3, -2.0, 203))
    ),
}
ALPHAS = (0.25, 0.7, 1.0)
INTERPOLATING = (L1(), L12(), L2Sigma())


def states(scheme, grid, alpha, *, engine=marching_numba, generator=CHAIN, initial=START):
    return march(
        generator,
        scheme,
        grid.times,
        initial=initial,
        alpha=alpha,
        scale=0.7,
        source=lambda t: t * np.cos(t) * initial,
        engine=engine,
    )


def apart(scheme, history, grid, alpha, **changes):
    """Largest difference from the direct sum, relative to the largest state."""
    expected = states(replace(scheme, history=Direct()), grid, alpha)
    found = states(replace(scheme, history=history), grid, alpha, **changes)
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("scheme", [*INTERPOLATING, GrunwaldLetnikov()])
def test_routes_agree_direct_sums_and_convolutions(scheme, alpha):
    for block in (1, 7, 64, 500):
        assert apart(scheme, BlockFFT(block=block), UNIFORM, alpha) < 2e-14


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("scheme", INTERPOLATING)
def test_routes_agree_direct_sums_and_exponentials_to_the_tolerance(scheme, mesh):
    for alpha in ALPHAS:
        for rtol, block in ((1e-10, 32), (1e-6, 7), (1e-3, 1)):
            assert apart(scheme, Exponentials(rtol=rtol, block=block), MESHES[mesh], alpha) < rtol


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("scheme", INTERPOLATING)
def test_routes_agree_blocks_of_any_size(scheme, mesh):
    for block in (1, 7, 300):
        assert apart(scheme, Direct(block=block), MESHES[mesh], 0.6) < 1e-13


@pytest.mark.twin
def test_routes_agree_rejects_a_sum_short_of_one_exponential(monkeypatch):
    right = exponentials.power_exponentials

    def short(*args, **words):
        found = right(*args, **words)
        keep = np.arange(len(found.rates)) != 3
        return ExponentialSum(
            weights=found.weights[keep],
            rates=found.rates[keep],
            error=found.error,
            relative=True,
            valid=found.valid,
        )

    monkeypatch.setattr(exponentials, "power_exponentials", short)
    assert not apart(L1(), Exponentials(rtol=1e-10), UNIFORM, 0.6) < 1e-10


class LateFFT(BlockFFT):
    """The lead of a step that is one step late."""

    def begin(self, scheme, times, initial, *, alpha):
        memory = super().begin(scheme, times, initial, alpha=alpha)
        memory._lags = np.append(memory._lags[0], memory._lags[:-1])
        return memory


@pytest.mark.twin
def test_routes_agree_rejects_a_convolution_off_by_one():
    assert not apart(L1(), LateFFT(), UNIFORM, 0.6) < 2e-14


@pytest.mark.parametrize(
    "history", [Direct(block=5), BlockFFT(block=8), Exponentials(rtol=1e-10, block=8)]
)
@pytest.mark.parametrize("scheme", INTERPOLATING)
def test_routes_agree_compiled_read_and_one_solve_at_a_time(scheme, history):
    class Plain(type(CHAIN)):
        march_block = Generator.march_block

    plain = Plain(**{field.name: getattr(CHAIN, field.name) for field in fields(CHAIN)})
    assert apart(scheme, history, UNIFORM, 0.6, engine=marching_reference) < 1e-10
    assert apart(scheme, history, UNIFORM, 0.6, generator=plain) < 1e-10


@pytest.mark.parametrize("grid", [UNIFORM, MESHES["uneven"]])
@pytest.mark.parametrize("scheme", [*INTERPOLATING, GrunwaldLetnikov()])
def test_routes_agree_step_by_step_and_block_by_block(scheme, grid):
    """The memory that a solver of nonlinear systems uses, on D u = -u**0 u + t cos t."""
    alpha, rate, times = 0.6, 2.0, grid.times
    theta = scheme.point(alpha)
    for history in (Direct(block=9), BlockFFT(block=9), Exponentials(rtol=1e-10, block=9)):
        if isinstance(history, BlockFFT) and grid is not UNIFORM:
            continue
        if isinstance(scheme, GrunwaldLetnikov) and (
            isinstance(history, Exponentials) or grid is not UNIFORM
        ):
            continue
        chosen = replace(scheme, history=history)
        memory = history.begin(chosen, times, np.ones(1), alpha=alpha)
        u = [np.ones(1)]
        for n in range(1, len(times)):
            at = times[n - 1] + theta * (times[n] - times[n - 1])
            newest, past = memory.newest(), memory.past()
            right = newest * u[-1] - past - rate * (1 - theta) * u[-1] + at * np.cos(at)
            u.append(right / (newest + rate * theta))
            memory.push(u[-1])
        expected = march(
            Decay(rate),
            replace(scheme, history=Direct()),
            times,
            initial=np.ones(1),
            alpha=alpha,
            scale=1.0,
            source=lambda t: np.array([t * np.cos(t)]),
            engine=None,
        )
        assert np.abs(np.array(u) - expected).max() < 1e-10


# --- what a march needs to remember -----------------------------------------------------------


def test_exponentials_keep_nothing_per_step():
    def bytes_of(n):
        grid = TimeGrid.graded(1.0, n, 2.0)
        memory = Exponentials().begin(L1(), grid.times, START, alpha=0.6)
        return memory.nbytes

    assert bytes_of(10_000) < 1.6 * bytes_of(500)
    assert bytes_of(10_000) < 200 * START.nbytes


def test_exponentials_that_died_out_are_dropped():
    grid = TimeGrid.graded(1.0, 4000, 4.0)
    memory = Exponentials().begin(L1(), grid.times, START, alpha=0.6)
    alive = memory._alive
    assert np.all(np.diff(alive) <= 0)
    assert alive[-1] < 0.6 * alive[0]


@pytest.mark.parametrize("y", [1e-9, 1e-3, 0.3, 0.9, 1.1, 3.0, 50.0, 2000.0])
def test_exact_moments_of_exponentials(y):
    mpmath = pytest.importorskip("mpmath")
    mean, tilt = exponential_moments(np.array([[y / 2.5]]), np.array([2.5]))
    with mpmath.workdps(60):
        x = mpmath.mpf(y)
        exact_mean = -mpmath.expm1(-x) / x
        exact_tilt = ((x - 2) + (x + 2) * mpmath.exp(-x)) / (2 * x * x) * mpmath.mpf(2.5) ** 2
        assert abs(mean[0, 0] / exact_mean - 1) < 1e-15
        assert abs(tilt[0, 0] / exact_tilt - 1) < 1e-13


def test_keeps_positivity_and_mass_with_exponentials():
    times = MESHES["graded"].times
    found = march(
        CHAIN,
        L1(history=Exponentials()),
        times,
        initial=START,
        alpha=0.4,
        scale=1.0,
        source=None,
        engine=marching_numba,
    )
    assert found.min() >= 0.0
    assert np.abs(found.sum(axis=1) - 1).max() < 1e-13


def test_negative_parts_with_exponentials_are_below_the_tolerance():
    """A pulse at the end of a block, gone at once: the next weights see it past the sum's error."""
    times, rtol = TimeGrid.uniform(1.0, 96).times, 0.1
    found = march(
        Decay(1e7),
        L1(history=Exponentials(rtol=rtol, block=32)),
        times,
        initial=np.zeros(1),
        alpha=0.1,
        scale=1.0,
        source=lambda t: np.array([1e9 if abs(t - times[32]) < 1e-9 else 0.0]),
        engine=marching_numba,
    )
    assert -rtol * found.max() < found.min() < 0.0


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("history", ["Direct", None, Direct])
def test_refuses_what_is_no_history(history):
    with pytest.raises(InputError, match=r"`history` must be Direct\(\).*values, not names"):
        L1(history=history).check(UNIFORM)


def test_refuses_what_a_history_cannot_serve_with_the_reason():
    with pytest.raises(UnsupportedError, match=r"integrates no interpolant; use BlockFFT"):
        GrunwaldLetnikov(history=Exponentials()).check(UNIFORM)
    with pytest.raises(GridError, match=r"sums are convolutions.*L1\(history=Exponentials"):
        L1(history=BlockFFT()).check(MESHES["graded"])
    with pytest.raises(OutOfRangeError, match="cannot replace the kernel on this mesh"):
        states(L1(history=Exponentials(block=1)), TimeGrid.graded(1.0, 2000, 12.0), 0.6)
    with pytest.raises(InputError, match="`rtol` must lie in"):
        Exponentials(rtol=0.0)
    for history in (Direct, BlockFFT, Exponentials):
        with pytest.raises(InputError, match="`block` must be at least 1"):
            history(block=0)

"""All steps at once: equal to the march to the stated rounding, for every scheme and operator."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

import fracsde as fs
from fracsde.backends import (
    marching_numba,
    marching_reference,
    shifted_each_numba,
    shifted_reference,
)
from fracsde.errors import GridError, OutOfRangeError, UnsupportedError
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.operators.sinc import Sinc
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.schemes import all_at_once
from fracsde.schemes.all_at_once import AllAtOnce
from fracsde.schemes.checkpoint import Checkpoint
from fracsde.schemes.convolution_quadrature import ConvolutionQuadrature
from fracsde.schemes.grunwald_letnikov import GrunwaldLetnikov
from fracsde.schemes.history import Direct
from fracsde.schemes.l1 import L1
from fracsde.schemes.l2_sigma import L2Sigma
from fracsde.schemes.l12 import L12
from fracsde.schemes.marching import march, marched
from tests.support.exact import EPS
from tests.support.marching import Decay

OU = FokkerPlanck(
    potential=lambda x: x**2 / 2, diffusion=1.0, domain=(-6.0, 6.0), initial=Gaussian(mean=1, std=1)
)
RING = FokkerPlanck(
    potential=lambda x: np.cos(x),
    force=lambda x: 2.0 + 0.0 * x,
    diffusion=1.0,
    domain=(0.0, 2 * np.pi),
    boundary="periodic",
    initial=lambda x: 1.0 + np.cos(x) / 2,
)
LEAKY = replace(OU, boundary=("absorbing", "reflecting"), domain=(-2.0, 6.0))
SCHEMES = [
    GrunwaldLetnikov(),
    ConvolutionQuadrature(bdf=2),
    ConvolutionQuadrature(bdf=3, corrected=False),
    ConvolutionQuadrature(bdf=6),
    L1(),
    L12(),
    L2Sigma(),
]


def name(value):
    return repr(value)[:34] if not isinstance(value, float) else str(value)


@cache
def chain_of(problem, cells=48):
    return FiniteVolume(cells=cells).discretise(problem)


def entering(generator):
    """A source that is not a product of time and space."""
    return lambda t: generator.widths * np.cos(3 * t + generator.points)


def states(scheme, generator, *, alpha, steps, source=None, problem=OU, engine=marching_numba):
    return march(
        generator,
        scheme,
        np.linspace(0.0, 2.0, steps + 1),
        initial=generator.project(problem.initial),
        alpha=alpha,
        scale=1.3,
        source=source,
        engine=engine,
    )


def gap(scheme, generator, *, history, **given):
    """Largest difference from the march, over the largest state."""
    together = states(replace(scheme, history=history), generator, **given)
    in_turn = states(replace(scheme, history=Direct()), generator, **given)
    return np.abs(together - in_turn).max() / np.abs(in_turn).max()


# What remains of rounding: eps**(1 - 1 / (1 + oversampling)), times a factor for the systems.
def stated(oversampling):
    return 10 * EPS ** (1 - 1 / (1 + oversampling))


@pytest.mark.parametrize("alpha", [0.4, 1.0])
@pytest.mark.parametrize("scheme", SCHEMES, ids=name)
def test_routes_agree_all_at_once_equals_the_march(scheme, alpha):
    for steps in (7, 150):
        history = AllAtOnce()
        assert gap(scheme, chain_of(OU), history=history, alpha=alpha, steps=steps) < stated(4)


@pytest.mark.parametrize("scheme", SCHEMES, ids=name)
def test_routes_agree_with_a_source(scheme):
    chain = chain_of(OU)
    given = {"alpha": 0.6, "steps": 100, "source": entering(chain)}
    assert gap(scheme, chain, history=AllAtOnce(), **given) < stated(4)


@pytest.mark.parametrize("problem", [RING, LEAKY], ids=["ring with a current", "absorbing wall"])
def test_routes_agree_on_rings_and_with_losses(problem):
    for scheme in (ConvolutionQuadrature(bdf=4), L2Sigma()):
        given = {"alpha": 0.7, "steps": 120, "problem": problem}
        assert gap(scheme, chain_of(problem), history=AllAtOnce(), **given) < stated(4)


def test_routes_agree_for_one_number_and_for_a_spectral_operator():
    decay, sinc = Decay(2.0), Sinc(points=24).discretise(replace(OU, domain=(-np.inf, np.inf)))
    t = np.linspace(0.0, 1.0, 101)
    one, other = (
        march(
            decay,
            ConvolutionQuadrature(bdf=5, history=history),
            t,
            initial=np.ones(1),
            alpha=0.5,
            scale=1.0,
            source=lambda t: np.array([np.sin(t)]),
            engine=None,
        )
        for history in (AllAtOnce(), Direct())
    )
    assert np.abs(one - other).max() < stated(4)
    assert gap(L1(), sinc, history=AllAtOnce(), alpha=0.5, steps=60) < stated(4)


@pytest.mark.parametrize("oversampling", [3, 4, 6, 8])
def test_routes_agree_to_the_stated_rounding_and_no_better_by_much(oversampling):
    history = AllAtOnce(oversampling=oversampling)
    given = {"alpha": 0.6, "steps": 1000}
    found = gap(GrunwaldLetnikov(), chain_of(OU), history=history, **given)
    assert stated(oversampling) / 1000 < found < stated(oversampling)


def test_routes_agree_between_engines():
    scheme = ConvolutionQuadrature(bdf=3, history=AllAtOnce())
    for problem in (OU, RING):
        one, other = (
            states(scheme, chain_of(problem), problem=problem, alpha=0.6, steps=40, engine=engine)
            for engine in (marching_numba, marching_reference)
        )
        assert np.abs(one - other).max() < stated(4)


class WrongRadius(all_at_once.Circle):
    """The radius by which results are scaled is not the one that was used."""

    def states(self, *given):
        self.log_radius *= 1.001
        return super().states(*given)


class WrongHalf(all_at_once.Circle):
    """The lower half of the circle taken for the upper one."""

    def states(self, spectrum, *given):
        return super().states(spectrum.conj(), *given)


class NoFirst(all_at_once.Circle):
    """The weights of the very first increment taken for ordinary ones."""

    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        self.odd = 0.0 * self.odd


@pytest.mark.twin
@pytest.mark.parametrize("damaged", [WrongRadius, WrongHalf, NoFirst])
def test_routes_agree_rejects_a_wrong_circle(damaged, monkeypatch):
    monkeypatch.setattr(all_at_once, "Circle", damaged)
    assert not gap(L12(), chain_of(OU), history=AllAtOnce(), alpha=0.4, steps=50) < stated(4)


def test_keeps_mass_and_gives_the_nodes_that_were_asked_for():
    chain, t = chain_of(OU), np.linspace(0.0, 5.0, 301)
    given = {"initial": chain.project(OU.initial), "alpha": 0.6, "scale": 1.0, "source": None}
    seen = []
    scheme = ConvolutionQuadrature(bdf=4, history=AllAtOnce())
    wanted = np.array([0, 3, 299, 300])
    some = marched(chain, scheme, t, engine=marching_numba, keep=wanted, watch=seen.append, **given)
    full = march(chain, scheme, t, engine=marching_numba, **given)
    assert np.array_equal(some.states, full[wanted])
    assert np.abs(full.sum(axis=1) - 1).max() < stated(4)
    assert some.residual < 1e-10
    assert some.history_bytes >= 8 * 4 * 300 * 48
    assert seen[-1] == 300
    assert seen == sorted(seen)


@pytest.mark.parametrize(("bdf", "stable"), [(2, True), (3, True), (6, False)])
def test_keeps_the_start_unless_the_march_is_unstable(bdf, stable):
    """A ring with a strong current has eigenvalues outside the sector of the sixth formula."""
    chain = chain_of(RING, 200)
    found = marched(
        chain,
        ConvolutionQuadrature(bdf=bdf, history=AllAtOnce()),
        np.linspace(0, 110.0, 47),
        initial=chain.project(RING.initial),
        alpha=1.0,
        scale=1.0,
        source=None,
        engine=marching_numba,
    )
    assert (found.residual < 1e-8) == stable


def test_a_density_that_has_decayed_is_sent_to_another_history():
    leaky = fs.FokkerPlanck(
        force=lambda x: 0 * x,
        diffusion=1.0,
        domain=(0.0, 1.0),
        boundary="absorbing",
        initial=fs.Gaussian(mean=0.5, std=0.2),
    )
    grid, space = fs.TimeGrid.uniform(4.0, 64), fs.FiniteVolume(cells=16)
    with pytest.raises(fs.errors.ComputationError, match="use BlockFFT"):
        fs.solve(leaky, grid, scheme=fs.L1(history=AllAtOnce()), space=space)
    assert fs.solve(leaky, grid, scheme=fs.L1(history=fs.BlockFFT()), space=space).status.ok


def test_routes_agree_through_solve():
    problem = fs.FractionalFokkerPlanck(base=OU, alpha=0.6, timescale=2.0)
    grid = fs.TimeGrid.uniform(3.0, 400)
    one, other = (
        fs.solve(
            problem,
            grid,
            scheme=ConvolutionQuadrature(bdf=4, history=history),
            space=FiniteVolume(cells=64),
            save_at=[1.5, 3.0],
        )
        for history in (AllAtOnce(), Direct())
    )
    assert one.status.ok
    assert np.abs(one.density - other.density).max() < stated(4)


# --- the solver ---------------------------------------------------------------------------------


def systems(n, count, *, ring, seed=3):
    rng = np.random.default_rng(seed)
    right, left = 10.0 ** rng.uniform(-2, 2, (2, n))
    loss = rng.uniform(0, 1, n) * (rng.random(n) < 0.3)
    if not ring:
        right[-1] = left[0] = 0.0
    shifts = 10.0 ** rng.uniform(-3, 3, count) * np.exp(1j * rng.uniform(-2.7, 2.7, count))
    sides = rng.normal(size=(n, count)) + 1j * rng.normal(size=(n, count))
    return shifts, right, left, loss, sides


@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize(("n", "count"), [(3, 0), (3, 1), (4, 7), (31, 24), (97, 29), (200, 48)])
def test_engine_solves_with_own_right_hand_sides_like_the_reference(n, count, ring):
    shifts, *rates, sides = systems(n, count, ring=ring)
    found = np.empty_like(sides)
    shifted_each_numba.solve_each(shifts, *rates, sides, found)
    parts = shifted_reference.solve_shifts(shifts, *rates, sides, np.ones(n))[0]
    read = parts[:, 0] + 1j * parts[:, 1]
    scale = np.abs(read).max(axis=0, initial=0.0)
    assert np.all(np.abs(found - read).max(axis=0, initial=0.0) <= 8 * EPS * n * scale)


@pytest.mark.parametrize("ring", [False, True])
def test_exact_systems_are_solved(ring):
    shifts, right, left, loss, sides = systems(60, 25, ring=ring)
    x = np.empty_like(sides)
    shifted_each_numba.solve_each(shifts, right, left, loss, sides, x)
    out = (shifts + (right + left + loss)[:, None]) * x
    into = np.roll(right[:, None] * x, 1, axis=0) + np.roll(left[:, None] * x, -1, axis=0)
    assert np.abs(out - into - sides).max() < 1e-12 * np.abs(out).max()
    assert not np.abs(out.conj() - into - sides).max() < 1e-12 * np.abs(out).max()


# --- refusals -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RealDecay(Decay):
    """Solves with real shifts alone."""

    def solve_shifted(self, shift, rhs):
        if np.iscomplexobj(shift):
            raise OutOfRangeError("`shift` must be real")
        return super().solve_shifted(shift, rhs)


def test_refuses_what_needs_its_past():
    with pytest.raises(UnsupportedError, match=r"linear operator that does not depend.*BlockFFT"):
        AllAtOnce().begin(L1(), np.arange(3.0), np.ones(1), alpha=0.5)
    with pytest.raises(GridError, match=r"AllAtOnce\(\) needs equal steps.*Direct\(\)"):
        L1(history=AllAtOnce()).check(fs.TimeGrid.graded(1.0, 10, 2.0))
    with pytest.raises(OutOfRangeError, match="`oversampling` must be between 3 and 16"):
        AllAtOnce(oversampling=2)
    with pytest.raises(UnsupportedError, match=r"complex shifts, which RealDecay does not solve"):
        march(
            RealDecay(1.0),
            L1(history=AllAtOnce()),
            np.linspace(0, 1, 5),
            initial=np.ones(1),
            alpha=0.5,
            scale=1.0,
            source=None,
            engine=None,
        )


def test_refuses_checkpoints(tmp_path):
    with pytest.raises(UnsupportedError, match=r"AllAtOnce\(\) has no blocks; use BlockFFT"):
        marched(
            Decay(1.0),
            L1(history=AllAtOnce()),
            np.linspace(0, 1, 5),
            initial=np.ones(1),
            alpha=0.5,
            scale=1.0,
            source=None,
            engine=None,
            checkpoint=Checkpoint(path=tmp_path / "march.npz"),
        )

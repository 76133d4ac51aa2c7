"""Paths on a fractional clock: exact steps over random gaps, and the weak order of the others."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from scipy import stats

from fracsde.backends import numba_cpu, reference
from fracsde.backends.philox import seed_key
from fracsde.errors import (
    ComputationError,
    GridError,
    InputError,
    OutOfRangeError,
    ShapeError,
    UnsupportedError,
)
from fracsde.lyapunov.propagators import gap_law
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian, PointMass
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.problems.structured import DiagonalOU, LowRankOU
from fracsde.problems.subordinated import SubordinatedOU
from fracsde.schemes._operational import OperationalSteps, draw_initial, operational_steps
from fracsde.schemes._random_gap import random_gap
from fracsde.schemes.paths import ExactOU
from fracsde.schemes.subordinated import Subordinated, clock_paths
from fracsde.simulate import simulate
from fracsde.subordination import sample_at
from tests.support.laws import BUDGET, LOOKS
from tests.support.orders import observed_order

NOISE = np.array([[1.0, 0.3], [0.3, 0.5]])
TURNING = OUProcess(drift=[[1.0, 2.0], [-1.5, 0.4]], noise=NOISE, mean=[1.0, 2.0])
COUPLED = OUProcess(drift=[[1.0, 0.4], [0.4, 2.0]], noise=NOISE)
FREE = OUProcess(drift=np.zeros((2, 2)), noise=[[1.0, 1.0], [1.0, 1.0]])
UNSTABLE = OUProcess(drift=[[-0.5, 2.0], [0.0, 1.0]], noise=NOISE)
DIAGONAL = DiagonalOU(drift=[0.0, 1.0, -0.5], noise=[1.0, 2.0, 0.0], mean=3.0)
LOW_RANK = LowRankOU(
    basis=np.linalg.qr(np.random.default_rng(2).normal(size=(5, 2)))[0],
    drift=TURNING.drift,
    noise=NOISE,
    rest_drift=0.4,
    rest_noise=0.9,
)
BASES = {
    "turning": TURNING,
    "coupled": COUPLED,
    "free": FREE,
    "unstable": UNSTABLE,
    "diagonal": DIAGONAL,
    "low-rank": LOW_RANK,
}
GAPS = np.array([0.0, 1e-20, 3e-9, 0.1, 1.0, 7.77, 100.0 / 3.0])


def law_of_step(base, gaps, lanes: int = 40):
    """Transition and covariance of one step, from its response to unit states and unit normals."""
    steps, d = random_gap(base), base.dimension
    E, G = np.empty((len(gaps), d, d)), np.zeros((len(gaps), d, d))
    for j in range(d):
        state = np.tile(np.eye(d)[j], (len(gaps), 1))
        none = lambda columns, lane=0: np.zeros((len(gaps), columns))  # noqa: E731
        E[:, :, j] = steps.outward(steps.advance(steps.inward(state), gaps, none))
    for lane in range(lanes):
        for j in range(d):

            def one(columns: int, which: int = 0, lane: int = lane, j: int = j) -> np.ndarray:
                z = np.zeros((len(gaps), columns))
                z[:, j : j + 1] = which == lane
                return z

            moved = steps.advance(steps.inward(np.zeros((len(gaps), d))), gaps, one)
            response = steps.outward(moved)
            G += response[:, :, None] * response[:, None, :]
    return E, G


@pytest.mark.parametrize("name", BASES)
def test_exact_step_over_a_random_gap_has_the_law_of_the_gap(name: str) -> None:
    base = BASES[name]
    law = gap_law(base if isinstance(base, OUProcess) else base.dense())
    E, G = law_of_step(base, GAPS)
    for i, gap in enumerate(GAPS):
        expected_E, _, expected_G = law(float(gap))
        np.testing.assert_allclose(E[i], expected_E, rtol=0, atol=1e-13 * np.abs(expected_E).max())
        np.testing.assert_allclose(G[i], expected_G, rtol=0, atol=1e-13 * np.abs(expected_G).max())


@pytest.mark.twin
def test_exact_step_rejects_a_gap_that_lost_its_last_digit() -> None:
    E, G = law_of_step(TURNING, np.array([1.0 - 2.0**-20]))
    expected_E, _, expected_G = gap_law(TURNING)(1.0)
    assert np.abs(E[0] - expected_E).max() > 1e-8
    assert np.abs(G[0] - expected_G).max() > 1e-8


@pytest.mark.parametrize("name", BASES)
def test_a_run_with_more_chains_begins_with_the_smaller_one(name: str) -> None:
    process = SubordinatedOU(base=BASES[name], alpha=0.7)
    times = [0.0, 0.5, 2.0]
    start = np.ones(process.dimension)
    small = simulate(process, times, chains=3, rng=5, start=start).values
    large = simulate(process, times, chains=9, rng=5, start=start).values
    np.testing.assert_allclose(large[:3], small, rtol=1e-12, atol=1e-12)
    again = simulate(process, times, chains=3, rng=5, start=start).values
    np.testing.assert_array_equal(again, small)
    assert np.abs(simulate(process, times, chains=3, rng=6, start=start).values - small).max() > 0
    one = sample_at(process, 2.0, 3, 5, start=start)
    np.testing.assert_allclose(sample_at(process, 2.0, 9, 5, start=start)[:3], one, rtol=1e-12)


@pytest.mark.parametrize("name", BASES)
def test_engines_agree_on_every_path(name: str) -> None:
    process = SubordinatedOU(base=BASES[name], alpha=0.7)
    runs = [
        simulate(
            process,
            [0.0, 0.5, 2.0],
            chains=4,
            rng=5,
            start=0.0 * np.ones(process.dimension),
            backend=backend,
        ).values
        for backend in ("numpy", "numba")
    ]
    np.testing.assert_allclose(runs[0], runs[1], rtol=1e-11, atol=1e-11)


def test_paths_stand_still_where_the_clock_does() -> None:
    times = np.linspace(0.0, 1.0, 201)
    clock = clock_paths(0.5, 1.0, times, 50, seed_key(3))
    still = np.diff(clock) == 0.0
    assert 0.5 < still.mean() < 0.99
    run = simulate(
        SubordinatedOU(base=TURNING, alpha=0.5), times, chains=50, rng=3, start=[0.0, 0.0]
    )
    np.testing.assert_array_equal(np.all(np.diff(run.values, axis=1) == 0.0, axis=2), still)


def test_start_belongs_to_time_zero_on_a_fractional_clock() -> None:
    process = SubordinatedOU(base=DiagonalOU(drift=1.0, noise=0.0), alpha=0.6)
    run = simulate(process, [1.0, 2.0], chains=200, rng=1, start=[1.0])
    assert np.all(run.values[:, 0] < 1.0)
    assert np.all(np.diff(run.values, axis=1) <= 0.0)
    plain = simulate(DiagonalOU(drift=1.0, noise=0.0), [1.0, 2.0], chains=2, rng=1, start=[1.0])
    np.testing.assert_allclose(plain.values[:, :, 0], [[1.0, np.exp(-1.0)]] * 2, rtol=1e-15)


@pytest.mark.parametrize("base", [TURNING, DIAGONAL, LOW_RANK])
def test_keeps_arguments_unmodified(base) -> None:
    start = np.ones((4, base.dimension))
    times = np.array([0.0, 1.0])
    simulate(SubordinatedOU(base=base, alpha=0.5), times, chains=4, rng=1, start=start)
    np.testing.assert_array_equal(start, 1.0)
    np.testing.assert_array_equal(times, [0.0, 1.0])


# --- steps in operational time ----------------------------------------------------------------


def ring(diffusion) -> FokkerPlanck:
    return FokkerPlanck(
        potential=lambda x: np.sin(x) + 0.5 * np.cos(2 * x),
        force=lambda x: 0.7 + 0.0 * x,
        diffusion=diffusion,
        domain=(0.0, 2 * np.pi),
        boundary="periodic",
        initial=lambda x: 1.0 + 0.0 * x,
    )


def varying(x: np.ndarray) -> np.ndarray:
    return 0.6 + 0.3 * np.cos(x)


RINGS = {"constant": ring(0.6), "varying": ring(varying)}
_NODES = 48
_GRID = 2 * np.pi * np.arange(_NODES) / _NODES
_Z, _W = np.polynomial.hermite_e.hermegauss(40)
_W = _W / _W.sum()


def fourier(x: np.ndarray) -> np.ndarray:
    """Values at ``x`` of the trigonometric interpolant, as a matrix on the grid."""
    k = np.fft.fftfreq(_NODES, 1.0 / _NODES)
    shift = x[:, None] - _GRID[None, :]
    return np.cos(shift[:, :, None] * k).mean(axis=2)


def step_matrix(steps: OperationalSteps, h: float) -> np.ndarray:
    """Average of a function over one step, from each grid point."""
    total = np.zeros((_NODES, _NODES))
    for z, w in zip(_Z, _W, strict=True):
        moved = steps.advance(_GRID, np.full(_NODES, h), np.full(_NODES, z))
        total += w * fourier(moved)
    return total


def generator(problem: FokkerPlanck) -> np.ndarray:
    """Backward operator ``b u' + D u''`` by Fourier collocation, with derivatives by hand."""
    k = 1j * np.fft.fftfreq(_NODES, 1.0 / _NODES)
    eye = np.eye(_NODES)
    first = np.fft.ifft(k[:, None] * np.fft.fft(eye, axis=0), axis=0).real
    second = np.fft.ifft(k[:, None] ** 2 * np.fft.fft(eye, axis=0), axis=0).real
    x = _GRID
    b = -np.cos(x) + np.sin(2 * x) + 0.7
    if callable(problem.diffusion):
        b = b - 0.3 * np.sin(x)
    return b[:, None] * first + problem.diffusion_at(x)[:, None] * second


@pytest.mark.parametrize("name", RINGS)
def test_drift_is_the_one_of_the_equation(name: str) -> None:
    x = np.linspace(0.0, 2 * np.pi, 50)
    expected = -np.cos(x) + np.sin(2 * x) + 0.7
    if name == "varying":
        expected = expected - 0.3 * np.sin(x)
    found = operational_steps(RINGS[name]).drift(x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


def test_drift_next_to_walls_uses_points_inside_only() -> None:
    problem = FokkerPlanck(
        potential=lambda x: x**3 - np.sqrt(x + 1e-3),
        diffusion=1.0,
        domain=(0.0, 1.0),
        initial=lambda x: 1.0 + 0.0 * x,
    )
    x = np.array([0.5, 0.997, 1.0])
    found = operational_steps(problem).drift(x)
    np.testing.assert_allclose(found, -3 * x**2 + 0.5 / np.sqrt(x + 1e-3), atol=1e-9)
    assert np.isfinite(operational_steps(problem).drift(np.zeros(1))).all()


def weak_error(problem: FokkerPlanck, steps: OperationalSteps):
    exact = scipy.linalg.expm(generator(problem)) @ np.exp(np.sin(_GRID))

    def error_at(n: int) -> float:
        once = step_matrix(steps, 1.0 / n)
        found = np.linalg.matrix_power(once, n) @ np.exp(np.sin(_GRID))
        return float(np.abs(found - exact).max())

    return error_at


@pytest.mark.parametrize(("name", "order"), [("constant", 2.0), ("varying", 1.0)])
def test_order_of_operational_steps_in_the_law(name: str, order: float) -> None:
    error_at = weak_error(RINGS[name], operational_steps(RINGS[name]))
    table = observed_order(error_at, (8, 16, 32, 64, 128), order)
    assert table.agrees(), str(table)


@pytest.mark.twin
@pytest.mark.parametrize("wrong", ["one per cent of drift", "noise of the new point"])
def test_order_rejects_damage(wrong: str) -> None:
    steps = operational_steps(RINGS["constant"])
    if wrong == "one per cent of drift":
        damaged = OperationalSteps(
            drift=lambda x: 1.01 * steps.drift(x),
            spread=steps.spread,
            additive=True,
            ends=steps.ends,
            periodic=True,
        )
        error_at = weak_error(RINGS["constant"], damaged)
    else:
        # Heun's average taken where the noise does depend on the state: not an order-2 scheme.
        moving = operational_steps(RINGS["varying"])
        damaged = OperationalSteps(
            drift=moving.drift, spread=moving.spread, additive=True, ends=moving.ends, periodic=True
        )
        error_at = weak_error(RINGS["varying"], damaged)
    assert not observed_order(error_at, (8, 16, 32, 64, 128), 2.0).agrees()


def test_order_of_reflection_in_the_stationary_law() -> None:
    # V = 2 x on (0, 1): the drift pushes into a wall.
    problem = FokkerPlanck(
        potential=lambda x: 2 * x, diffusion=1.0, domain=(0.0, 1.0), initial=lambda x: 1 + 0 * x
    )
    steps = operational_steps(problem)
    z, w = np.polynomial.legendre.leggauss(1200)
    z, w = 9.0 * z, 9.0 * w * np.exp(-0.5 * (9.0 * z) ** 2) / np.sqrt(2 * np.pi)
    n = 40
    x = 0.5 + 0.5 * np.cos(np.pi * np.arange(n) / (n - 1))
    to_cosines = np.linalg.inv(np.polynomial.chebyshev.chebvander(2 * x - 1, n - 1))
    exact = float(1.0 / 2.0 - 1.0 / (np.exp(2.0) - 1.0))  # mean of exp(-2 x) on (0, 1)

    def error_at(count: int) -> float:
        once = np.empty((n, n))
        for i in range(n):
            moved = steps.advance(np.full(len(z), x[i]), np.full(len(z), 0.1 / count), z)
            once[i] = w @ (np.polynomial.chebyshev.chebvander(2 * moved - 1, n - 1) @ to_cosines)
        for _ in range(14):
            once = once @ once
        return abs(float((once @ x)[0]) - exact)

    table = observed_order(error_at, (4, 8, 16, 32, 64), 1.0)
    assert table.agrees(), str(table)


INITIALS = {
    "normal": (Gaussian(mean=0.3, std=0.5), lambda x: stats.norm.cdf(x, 0.3, 0.5)),
    "function": (lambda x: 2.0 + np.cos(3 * x), lambda x: 2 * x + np.sin(3 * x) / 3),
    "cells": (
        np.array([1.0, 3.0, 0.0, 2.0]),
        lambda x: np.interp(x, np.linspace(-1, 1, 5), [0, 1, 4, 4, 6]),
    ),
}


@pytest.mark.parametrize("name", INITIALS)
def test_law_of_starting_points_is_the_initial_density(name: str, seed: int) -> None:
    initial, primitive = INITIALS[name]
    problem = FokkerPlanck(diffusion=1.0, domain=(-1.0, 1.0), initial=initial)
    low, high = primitive(-1.0), primitive(1.0)
    draws = draw_initial(problem, 40_000, seed_key(seed))
    test = stats.kstest(draws, lambda x: (primitive(x) - low) / (high - low))
    assert test.pvalue > BUDGET / LOOKS
    shifted = stats.kstest(draws + 0.05, lambda x: (primitive(x) - low) / (high - low))
    assert shifted.pvalue < BUDGET / LOOKS
    np.testing.assert_array_equal(draw_initial(problem, 10, seed_key(seed)), draws[:10])


def wells(**changes) -> FractionalFokkerPlanck:
    given = {
        "potential": lambda x: 0.25 * x**4 - 0.5 * x**2,
        "diffusion": 0.3,
        "domain": (-np.inf, np.inf),
        "initial": PointMass(at=0.5),
        **changes,
    }
    return FractionalFokkerPlanck(base=FokkerPlanck(**given), alpha=0.7)


def test_nonlinear_paths_begin_alike_and_start_where_told() -> None:
    scheme = Subordinated(step=0.05)
    small = simulate(wells(), [0.0, 1.0, 3.0], chains=3, rng=1, scheme=scheme).values
    large = simulate(wells(), [0.0, 1.0, 3.0], chains=8, rng=1, scheme=scheme).values
    np.testing.assert_array_equal(large[:3], small)
    np.testing.assert_array_equal(small[:, 0], 0.5)
    given = simulate(wells(), [0.0, 1.0], chains=2, rng=1, scheme=scheme, start=[-1.0, 1.0])
    assert given.values[:, 0, 0].tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("boundary", ["reflecting", "periodic"])
def test_paths_stay_inside_walls(boundary: str) -> None:
    problem = wells(potential=lambda x: np.cos(np.pi * x), domain=(-1.0, 1.0), boundary=boundary)
    run = simulate(
        problem, np.linspace(0.0, 5.0, 20), chains=100, rng=2, scheme=Subordinated(step=0.2)
    )
    assert np.abs(run.values).max() <= 1.0


def test_a_path_that_runs_away_is_reported() -> None:
    with pytest.raises(ComputationError, match="shorter than"):
        simulate(wells(), [0.0, 9.0], chains=50, rng=1, scheme=Subordinated(step=3.0), start=4.0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Subordinated(step=0.0), OutOfRangeError, "`step`"),
        (
            lambda: simulate(TURNING, [0, 1], chains=1, rng=1, scheme=Subordinated()),
            UnsupportedError,
            "wrap this one",
        ),
        (
            lambda: simulate(
                LinearRecursion(transition=0.5, noise=1.0),
                [0, 1],
                chains=1,
                rng=1,
                scheme=Subordinated(),
            ),
            UnsupportedError,
            "wrap this one",
        ),
        (
            lambda: simulate(
                SubordinatedOU(base=TURNING, alpha=0.5), [0, 1], chains=1, rng=1, scheme=ExactOU()
            ),
            UnsupportedError,
            r"Subordinated\(\) or no scheme",
        ),
        (
            lambda: simulate(
                SubordinatedOU(base=TURNING, alpha=0.5),
                [0, 1],
                chains=1,
                rng=1,
                scheme=Subordinated(step=0.1),
            ),
            UnsupportedError,
            "takes no step",
        ),
        (
            lambda: simulate(wells(), [0, 1], chains=1, rng=1),
            UnsupportedError,
            r"Subordinated\(step",
        ),
        (
            lambda: simulate(
                wells(domain=(-1, 1), boundary="absorbing"),
                [0, 1],
                chains=1,
                rng=1,
                scheme=Subordinated(step=0.1),
            ),
            UnsupportedError,
            "use `solve`",
        ),
        (
            lambda: simulate(SubordinatedOU(base=TURNING, alpha=0.5), [1, 0], chains=1, rng=1),
            GridError,
            "strictly increasing",
        ),
        (
            lambda: simulate(SubordinatedOU(base=TURNING, alpha=0.5), [-1, 1], chains=1, rng=1),
            OutOfRangeError,
            "starts at time 0",
        ),
        (
            lambda: simulate(
                SubordinatedOU(base=DIAGONAL, alpha=0.5), [0, 1], chains=2, rng=1, start=[1.0]
            ),
            ShapeError,
            r"shape \(2, 3\)",
        ),
        (
            lambda: simulate(
                SubordinatedOU(base=DIAGONAL, alpha=0.5), [0, 1], chains=2, rng=1, start="here"
            ),
            InputError,
            "stationary",
        ),
        (
            lambda: simulate(
                wells(), [0, 1], chains=2, rng=1, scheme=Subordinated(step=0.1), start="stationary"
            ),
            InputError,
            "initial density",
        ),
        (
            lambda: simulate(
                wells(domain=(-1, 1)),
                [0, 1],
                chains=2,
                rng=1,
                scheme=Subordinated(step=0.1),
                start=2.0,
            ),
            OutOfRangeError,
            "domain",
        ),
        (
            lambda: simulate(
                wells(), [0, 1], chains=2, rng=1, scheme=Subordinated(step=0.1), start=[1, 2, 3]
            ),
            ShapeError,
            "2 chains",
        ),
    ],
)
def test_refuses_what_cannot_be_meant(call, error, words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def test_both_engines_offer_the_normals_that_steps_use() -> None:
    key = seed_key(4)
    one, other = (
        engine.standard_normals(3, 5, step=2, purpose=17, key=key)
        for engine in (reference, numba_cpu)
    )
    np.testing.assert_allclose(one, other, rtol=1e-13)

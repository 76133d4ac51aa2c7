"""Simulated paths: the stated law at a fixed sample size, and one path on every engine."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from fracsde.backends import numba_cpu, reference
from fracsde.backends.philox import seed_key
from fracsde.errors import (
    BackendUnavailable,
    GridError,
    InputError,
    OutOfRangeError,
    ShapeError,
    UnstableError,
    UnsupportedError,
)
from fracsde.grids import TimeGrid
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.problems.structured import DiagonalOU
from fracsde.records.trajectory import Trajectory
from fracsde.schemes.paths import EulerMaruyama, ExactOU
from fracsde.simulate import simulate, simulate_into
from fracsde.stationary import stationary_covariance
from fracsde.transients import autocovariance, covariance_at, mean_at, mean_square_displacement
from tests.support import damage
from tests.support.laws import follows, sigmas

DRIFT = np.array([[1.0, 0.9], [-0.7, 0.4]])
NOISE = np.array([[1.0, 0.3], [0.3, 0.5]])
MEAN = np.array([2.0, -1.0])
TURNING = OUProcess(drift=DRIFT, noise=NOISE, mean=MEAN)
BALANCED = OUProcess(drift=np.diag([2.0, 1.0]) @ NOISE, noise=np.diag([2.0, 1.0]), mean=MEAN)
SGD = SGDNearMinimum(
    hessian=[[1.0, 0.2], [0.2, 0.3]],
    gradient_noise=NOISE,
    learning_rate=0.6,
    batch_size=2,
    momentum=0.5,
    minimum=MEAN,
)
PROCESSES = {"turning": TURNING, "balanced": BALANCED, "momentum": SGD.map()}
TIMES = np.array([0.0, 1.0, 2.0, 5.0])
CHAINS = 40_000


def second_moments(sample: np.ndarray, later: np.ndarray) -> np.ndarray:
    return np.einsum("ci,cj->ij", later, sample) / len(sample)


def stderr(first: np.ndarray, second: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """Standard error of the mean of products of normal variables (Isserlis)."""
    return np.sqrt((np.outer(np.diag(first), np.diag(second)) + cross**2) / CHAINS)


def law_holds(process, run) -> bool:
    """Variance at each draw and autocovariance from the first draw.

    At 40 000 chains an error of five per cent in any variance is seen.
    """
    S = stationary_covariance(process).matrix
    R = autocovariance(process, run.times - run.times[0])
    first = run.values[:, 0] - MEAN
    good = True
    for draw in range(run.draws):
        later = run.values[:, draw] - MEAN
        good &= follows(later.mean(axis=0), 0.0, np.sqrt(np.diag(S) / CHAINS))
        good &= follows(second_moments(later, later), S, stderr(S, S, S))
        good &= follows(second_moments(first, later), R[draw], stderr(S, S, R[draw]))
    return bool(good)


@pytest.mark.parametrize("name", PROCESSES)
def test_law_of_stationary_paths_is_the_stated_one(name: str, seed: int) -> None:
    run = simulate(PROCESSES[name], TIMES, chains=CHAINS, rng=seed)
    assert law_holds(PROCESSES[name], run)


@pytest.mark.twin
@pytest.mark.parametrize(
    "wrong",
    [
        OUProcess(drift=damage.transposed(DRIFT), noise=NOISE, mean=MEAN),
        OUProcess(drift=DRIFT, noise=damage.square_root_for_square(NOISE), mean=MEAN),
        OUProcess(drift=DRIFT, noise=1.05 * NOISE, mean=MEAN),
        OUProcess(drift=DRIFT, noise=NOISE, mean=MEAN + 0.05),
    ],
)
def test_law_rejects_damage(wrong, seed: int) -> None:
    assert sigmas() < 6.2
    assert not law_holds(TURNING, simulate(wrong, TIMES, chains=CHAINS, rng=seed))


@pytest.mark.twin
def test_law_rejects_euler_maruyama_at_a_coarse_step(seed: int) -> None:
    run = simulate(TURNING, TIMES, chains=CHAINS, rng=seed, scheme=EulerMaruyama(substeps=4))
    assert not law_holds(TURNING, run)


@pytest.mark.parametrize("process", [TURNING, SGD.map()])
def test_routes_agree_simulation_and_transients_from_a_point(process, seed: int) -> None:
    start = np.array([4.0, 1.0])
    run = simulate(process, TIMES, chains=CHAINS, rng=seed, start=start)
    np.testing.assert_array_equal(run.values[:, 0], np.tile(start, (CHAINS, 1)))
    mean, spread = mean_at(process, TIMES, start), covariance_at(process, TIMES)
    msd = mean_square_displacement(process, TIMES, start=start)
    for draw in range(1, len(TIMES)):
        at = run.values[:, draw]
        errors = np.sqrt(np.diag(spread[draw]) / CHAINS)
        assert follows(at.mean(axis=0), mean[draw], errors)
        found = second_moments(at - mean[draw], at - mean[draw])
        assert follows(found, spread[draw], stderr(*[spread[draw]] * 3))
        squares = np.sum((at - start) ** 2, axis=1)
        # Variance of a quadratic form of a normal vector.
        shift = mean[draw] - start
        variance = 2 * np.sum(spread[draw] ** 2) + 4 * shift @ spread[draw] @ shift
        assert follows(squares.mean(), msd[draw], np.sqrt(variance / CHAINS))


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("chains", [1, 3, 9, 70])
def test_engine_numba_equals_reference(name: str, chains: int) -> None:
    times = np.array([0.0, 1.0, 2.0, 4.0, 5.0, 9.0])
    one = simulate(PROCESSES[name], times, chains=chains, rng=5, backend="numpy")
    two = simulate(PROCESSES[name], times, chains=chains, rng=5, backend="numba")
    np.testing.assert_allclose(one.values, two.values, rtol=0, atol=1e-12)
    assert (one.provenance.backend, two.provenance.backend) == ("numpy", "numba")


# Single precision: a sum of 130 terms of the size of 1, ten steps deep.
ROUNDING = {np.float64: 1e-12, np.float32: 1e-5}


@pytest.mark.parametrize("precision", [np.float64, np.float32])
@pytest.mark.parametrize("chains", [2, 73])
@pytest.mark.parametrize("d", [1, 5, 26, 130])
def test_engine_kernels_equal_reference_at_every_size(d, chains, precision, seed: int) -> None:
    rng = np.random.default_rng(seed)
    start, key, mean = rng.normal(size=(chains, d)), seed_key(seed), rng.normal(size=d)
    E = rng.normal(size=(2, d, d)) / (2 * np.sqrt(d))
    L = rng.normal(size=(2, d, max(1, d - 1))) / np.sqrt(d)
    which, slot = np.array([0, 1, 1, 0, 0, 0, 0]), np.array([1, -1, 2, 3, -1, -1, 4])
    observed = np.arange(0, d, 2)
    rho, sigma, turn = E[:, 0].copy(), L[:, :, 0].copy(), E[0, observed]
    runs: list[tuple[Any, ...]] = [
        ("dense_paths", start, E, L, which, slot, observed, mean[observed]),
        ("decoupled_paths", start, rho, sigma, which, slot, None, mean),
        ("decoupled_paths", start, rho, sigma, which, slot, turn, mean[observed]),
    ]
    for name, *arguments in runs:
        out = np.zeros((2, chains, 5, len(arguments[-1])), dtype=precision)
        for engine, mine in zip((reference, numba_cpu), out, strict=True):
            getattr(engine, name)(*arguments, mine, key)
        np.testing.assert_allclose(out[0], out[1], rtol=0, atol=ROUNDING[precision])


def by_momentum(engine, d, chains, precision, seed, *, r=0.7) -> tuple[np.ndarray, np.ndarray]:
    """Return paths with momentum, and those of the dense steps that they are."""
    rng = np.random.default_rng(seed)
    start, key, mean = rng.normal(size=(chains, 2 * d)), seed_key(seed), rng.normal(size=2 * d)
    M, L = rng.normal(size=(d, d)) / (4 * np.sqrt(d)), rng.normal(size=(d, max(1, d - 1)))
    L, observed, slot = L / np.sqrt(d), np.arange(0, 2 * d, 3), np.array([1, -1, 2, 3, -1, 4])
    both, one = np.zeros((2, chains, 5, len(observed)), dtype=precision), np.eye(d)
    rule, m = np.array([0.6, r, 0.8]), mean[observed]
    engine.momentum_paths(start, M, L, rule, slot, observed, m, both[0], key)
    E = np.block([[one + 0.7 * M, 0.6 * one], [M, 0.8 * one]])
    which, L = np.zeros(6, dtype=np.int64), np.vstack([0.7 * L, L])
    reference.dense_paths(start, E[None], L[None], which, slot, observed, m, both[1], key)
    return both[0], both[1]


@pytest.mark.parametrize("engine", [reference, numba_cpu])
@pytest.mark.parametrize("precision", [np.float64, np.float32])
@pytest.mark.parametrize(("d", "chains"), [(1, 2), (1, 73), (5, 9), (26, 73), (130, 40), (300, 9)])
def test_engine_momentum_is_the_dense_step_it_stands_for(
    engine, d, chains, precision, seed: int
) -> None:
    found, expected = by_momentum(engine, d, chains, precision, seed)
    size = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING[precision] * size)


@pytest.mark.twin
def test_engine_momentum_comparison_rejects_a_wrong_rule(seed: int) -> None:
    found, expected = by_momentum(numba_cpu, 5, 9, np.float64, seed, r=0.7001)
    assert np.abs(found - expected).max() > 1e-6


@pytest.mark.parametrize("precision", [np.float64, np.float32])
@pytest.mark.parametrize(("d", "chains", "steps"), [(1, 3, 2500), (10, 1, 333), (70, 300, 50)])
def test_engine_long_runs_cross_tiles_and_chunks(d, chains, steps, precision, seed: int) -> None:
    rng = np.random.default_rng(seed)
    start, key, mean = np.zeros((chains, d)), seed_key(seed), np.zeros(d)
    rho, sigma = rng.uniform(0.1, 0.9, size=(2, 1, d))
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    which, slot = np.zeros(steps, dtype=np.int64), np.arange(steps)
    for basis in (None, turn):
        out = np.zeros((2, chains, steps, d), dtype=precision)
        for engine, mine in zip((reference, numba_cpu), out, strict=True):
            engine.decoupled_paths(start, rho, sigma, which, slot, basis, mean, mine, key)
        np.testing.assert_allclose(out[0], out[1], rtol=0, atol=ROUNDING[precision])


@pytest.mark.twin
def test_engine_comparison_rejects_a_swapped_pair_of_normals(seed: int) -> None:
    key = seed_key(seed)
    z = reference.standard_normals(4, 6, step=0, purpose=1, key=key)
    other = numba_cpu.standard_normals(4, 6, step=0, purpose=1, key=key)
    np.testing.assert_allclose(z, other, rtol=0, atol=1e-13)
    assert np.abs(z[:, [1, 0, 3, 2, 5, 4]] - other).max() > 1.0


@pytest.mark.parametrize("process", [TURNING, BALANCED])
def test_paths_do_not_depend_on_threads(process) -> None:
    before = numba.get_num_threads()
    runs = []
    try:
        for threads in (1, before):
            numba.set_num_threads(threads)
            runs.append(simulate(process, TIMES, chains=100, rng=3, backend="numba").values)
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(*runs)


@pytest.mark.parametrize("process", [TURNING, BALANCED, SGD])
def test_more_chains_begin_with_the_chains_of_a_smaller_run(process) -> None:
    few = simulate(process, TIMES, chains=3, rng=3).values
    many = simulate(process, TIMES, chains=100, rng=3).values
    np.testing.assert_allclose(few, many[:3], rtol=0, atol=1e-13)


def test_recording_fewer_steps_of_a_map_draws_the_same_path() -> None:
    every = simulate(SGD, np.arange(31), chains=5, rng=1)
    some = simulate(SGD, [0, 3, 4, 30], chains=5, rng=1)
    np.testing.assert_allclose(some.values, every.values[:, [0, 3, 4, 30]], atol=1e-13)


def test_law_of_composed_steps_of_a_map(seed: int) -> None:
    # Equal gaps of 8 steps or more are drawn as one step.
    run = simulate(SGD, [0, 8, 16], chains=CHAINS, rng=seed)
    assert law_holds(SGD, run)


def test_unequal_gaps_and_time_grids_are_served() -> None:
    grid = TimeGrid.geometric(0.1, 10.0, 6)
    run = simulate(TURNING, grid, chains=2, rng=0)
    np.testing.assert_array_equal(run.times, grid.times)
    alone = simulate(TURNING, [4.0], chains=2, rng=0)
    np.testing.assert_array_equal(alone.values[:, 0], run.values[:, 0])


def test_unstable_processes_run_from_a_given_start_only() -> None:
    growing = LinearRecursion(transition=[[1.5]], noise=[[1.0]])
    assert simulate(growing, [0, 3], chains=2, rng=0, start=0.0).values.shape == (2, 2, 1)
    with pytest.raises(UnstableError, match="perturbations grow"):
        simulate(growing, [0, 3], chains=2, rng=0)


def test_starts_may_give_weights_or_whole_states() -> None:
    weights = np.arange(6.0).reshape(3, 2)
    state = np.hstack([weights, np.zeros((3, 2))])
    one = simulate(SGD, [0, 5], chains=3, rng=1, start=weights)
    two = simulate(SGD, [0, 5], chains=3, rng=1, start=state)
    np.testing.assert_array_equal(one.values, two.values)


def test_seeds_repeat_and_generators_advance() -> None:
    rng = np.random.default_rng(8)
    one, two = (simulate(TURNING, TIMES, chains=2, rng=rng).values for _ in range(2))
    assert np.abs(one - two).max() > 0.1
    again = simulate(TURNING, TIMES, chains=2, rng=np.random.default_rng(8)).values
    np.testing.assert_array_equal(one, again)


def test_keeps_arguments_unmodified() -> None:
    times, start = TIMES.copy(), np.ones((3, 2))
    simulate(TURNING, times, chains=3, rng=1, start=start)
    np.testing.assert_array_equal(times, TIMES)
    np.testing.assert_array_equal(start, 1.0)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"times": [0.0, 0.0]}, GridError, "strictly increasing"),
        ({"times": []}, GridError, "at least one time"),
        ({"process": SGD, "times": [0, 0.5]}, OutOfRangeError, "whole numbers of steps"),
        ({"process": SGD, "times": [0, 1], "scheme": ExactOU()}, UnsupportedError, "no scheme"),
        ({"chains": 0}, OutOfRangeError, "`chains` must be at least 1"),
        ({"start": "zero"}, InputError, "'stationary' or an array"),
        ({"start": np.ones(3)}, ShapeError, r"\(2, 2\), the first axis optional"),
        ({"start": np.ones((5, 2))}, ShapeError, r"got \(5, 2\)"),
        ({"backend": "cuda"}, BackendUnavailable, "'auto', 'numba', 'numpy'"),
        ({"rng": None}, InputError, "whole number"),
    ],
)
def test_refuses_what_cannot_be_drawn(changes, error, words) -> None:
    arguments = {"process": TURNING, "times": [0.0, 1.0], "chains": 2, "rng": 0, **changes}
    with pytest.raises(error, match=words):
        simulate(arguments.pop("process"), arguments.pop("times"), **arguments)


@pytest.mark.parametrize("scheme", ["ExactOU", ExactOU, 1])
def test_refuses_what_is_not_a_scheme(scheme) -> None:
    with pytest.raises(InputError, match=r"`scheme` must be ExactOU\(\)"):
        simulate(TURNING, [0.0, 1.0], chains=2, rng=0, scheme=scheme)


@pytest.mark.parametrize("rng", [None, 1.5, -1])
def test_message_names_rng(rng) -> None:
    with pytest.raises(InputError, match="`rng` must be"):
        simulate(TURNING, [0.0, 1.0], chains=2, rng=rng)


def test_paths_written_into_memory_equal_those_of_simulate() -> None:
    for process in (TURNING, BALANCED, SGD):
        run = simulate(process, TIMES, chains=20, rng=3)
        out = np.full(run.values.shape, np.nan)
        source = simulate_into(out, process, TIMES, rng=3)
        np.testing.assert_array_equal(out, run.values)
        assert source == run.provenance


def single(process, seed: int) -> Trajectory:
    """Return a run in single precision."""
    out = np.empty((CHAINS, len(TIMES), 2), dtype=np.float32)
    simulate_into(out, process, TIMES, rng=seed)
    return Trajectory(values=out, times=TIMES)


@pytest.mark.parametrize("name", PROCESSES)
def test_law_of_single_precision_paths_is_the_stated_one(name: str, seed: int) -> None:
    assert law_holds(PROCESSES[name], single(PROCESSES[name], seed))


@pytest.mark.twin
def test_law_rejects_single_precision_paths_with_five_per_cent_more_noise(seed: int) -> None:
    louder = OUProcess(drift=DRIFT, noise=1.05 * NOISE, mean=MEAN)
    assert not law_holds(TURNING, single(louder, seed))


@pytest.mark.parametrize("chains", [3, 70])
def test_single_precision_paths_do_not_depend_on_threads(chains: int) -> None:
    before = numba.get_num_threads()
    runs = np.empty((2, chains, len(TIMES), 2), dtype=np.float32)
    try:
        for threads, out in zip((1, before), runs, strict=True):
            numba.set_num_threads(threads)
            simulate_into(out, BALANCED, TIMES, rng=3)
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(*runs)


@pytest.mark.parametrize(
    "out",
    [
        None,
        [[[0.0]]],
        np.empty((2, 5)),
        np.empty((2, 5, 2), dtype=np.int64),
        np.empty((2, 5, 2), dtype=np.float16),
        np.empty((2, 5, 4))[:, :, ::2],
        np.broadcast_to(0.0, (2, 5, 2)),
    ],
)
def test_refuses_to_write_into_what_is_not_a_plain_array(out) -> None:
    with pytest.raises(InputError, match=r"np\.empty"):
        simulate_into(out, TURNING, TIMES, rng=1)


def test_refuses_memory_of_another_shape() -> None:
    with pytest.raises(ShapeError, match="`out` must have shape"):
        simulate_into(np.empty((2, 1, 2)), TURNING, TIMES, rng=1)
    with pytest.raises(OutOfRangeError, match="`chains`"):
        simulate_into(np.empty((0, 1, 2)), TURNING, TIMES, rng=1)
    with pytest.raises(UnsupportedError, match="use simulate"):
        simulate_into(np.empty((1, 1, 2)), DiagonalOU(drift=[1.0], noise=1.0), [0.0], rng=1)

"""Means, covariances and displacements in time against quadrature, closed forms and each other."""

from __future__ import annotations

import tracemalloc

import mpmath
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad_vec

from fracsde.errors import ComputationError, OutOfRangeError, ShapeError, UnstableError
from fracsde.grids import TimeGrid
from fracsde.lyapunov.propagators import gap_law
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.stationary import stationary_covariance
from fracsde.transients import (
    autocovariance,
    covariance_at,
    mean_at,
    mean_square_displacement,
    relaxation_rates,
)
from tests.support import damage
from tests.support.exact import close

TURNING = np.array([[0.6, 1.3, 0.0], [-1.1, 0.9, 0.2], [0.1, 0.0, 0.4]])
SYMMETRIC = np.array([[1.0, 0.3, 0.0], [0.3, 0.7, 0.1], [0.0, 0.1, 0.2]])
NOISE = np.array([[1.0, 0.2, 0.1], [0.2, 0.5, 0.0], [0.1, 0.0, 0.3]])
JORDAN = np.array([[0.5, 1.0, 0.0], [0.0, 0.5, 1.0], [0.0, 0.0, 0.5]])
UNSTABLE = np.diag([1.0, 0.0, -0.5])
FLOWS = {
    "turning": OUProcess(drift=TURNING, noise=NOISE, mean=[1.0, -2.0, 0.5]),
    "symmetric": OUProcess(drift=SYMMETRIC, noise=NOISE, mean=[1.0, -2.0, 0.5]),
    "jordan": OUProcess(drift=JORDAN, noise=NOISE),
}
MAPS = {
    "turning": LinearRecursion(transition=np.eye(3) - 0.3 * TURNING, noise=0.1 * NOISE, mean=1.0),
    "symmetric": LinearRecursion(transition=np.eye(3) - 1.6 * SYMMETRIC, noise=NOISE),
    "momentum": SGDNearMinimum(
        hessian=SYMMETRIC, gradient_noise=NOISE, learning_rate=0.4, batch_size=2, momentum=0.6
    ).map(),
}
PROCESSES = {
    **{f"flow {k}": v for k, v in FLOWS.items()},
    **{f"map {k}": v for k, v in MAPS.items()},
}
FREE = {
    "flow": OUProcess(drift=UNSTABLE, noise=NOISE),
    "turned flow": OUProcess(drift=UNSTABLE + np.eye(3, k=1), noise=NOISE),
    "map": LinearRecursion(transition=np.eye(3) - 0.1 * UNSTABLE, noise=NOISE),
    "turned map": LinearRecursion(transition=np.eye(3) - 0.1 * np.eye(3, k=1), noise=NOISE),
}


def whole(process, array):
    return array[np.ix_(process.observed, process.observed)]


def iterated_covariance(process: LinearRecursion, steps: int) -> np.ndarray:
    S = np.zeros_like(process.noise)
    for _ in range(steps):
        S = process.transition @ S @ process.transition.T + process.noise
    return whole(process, S)


def integrated_covariance(process: OUProcess, time: float) -> np.ndarray:
    def integrand(s):
        E = scipy.linalg.expm(-process.drift * s)
        return E @ process.noise @ E.T

    return quad_vec(integrand, 0.0, time, epsabs=1e-13, epsrel=1e-13)[0]


@pytest.mark.parametrize("name", [*FLOWS, "free", "turned free"])
@pytest.mark.parametrize("time", [1e-3, 0.7, 6.0])
def test_exact_covariance_of_a_flow_is_the_integral(name: str, time: float) -> None:
    process = FLOWS.get(name) or FREE[name.replace("free", "flow")]
    found = covariance_at(process, [time])[0]
    np.testing.assert_allclose(
        found,
        integrated_covariance(process, time),
        rtol=0,
        atol=1e-12 * max(1e-3, np.abs(found).max()),
    )


@pytest.mark.twin
def test_integral_rejects_the_transposed_drift() -> None:
    process = FLOWS["turning"]
    wrong = OUProcess(drift=damage.transposed(process.drift), noise=process.noise)
    found = covariance_at(wrong, [0.7])[0]
    assert np.abs(found - integrated_covariance(process, 0.7)).max() > 1e-2


@pytest.mark.parametrize("name", [*MAPS, "free", "turned free"])
@pytest.mark.parametrize("steps", [0, 1, 2, 13, 100])
def test_exact_covariance_of_a_map_is_the_sum(name: str, steps: int) -> None:
    process = MAPS.get(name) or FREE[name.replace("free", "map")]
    found, expected = covariance_at(process, [steps])[0], iterated_covariance(process, steps)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


@pytest.mark.twin
def test_sum_rejects_one_step_too_few() -> None:
    process = MAPS["turning"]
    found = damage.off_by_one(lambda n: covariance_at(process, [n])[0])(13)
    assert not close(found, iterated_covariance(process, 13), units=1e6)


@pytest.mark.parametrize("name", PROCESSES)
def test_routes_agree_late_covariance_and_stationary(name: str) -> None:
    process = PROCESSES[name]
    stationary = stationary_covariance(process)
    late = covariance_at(process, [2000])[0]
    gap = np.linalg.norm(late - stationary.matrix, 2)
    assert gap <= 10 * stationary.error_estimate
    kept = covariance_at(process, [0, 1, 50], stationary.state_matrix)
    np.testing.assert_allclose(kept, [stationary.matrix] * 3, atol=1e-13)


@pytest.mark.parametrize("name", PROCESSES)
def test_routes_agree_displacement_and_stationary_minus_autocovariance(name: str) -> None:
    process = PROCESSES[name]
    lags, directions = [0, 1, 3, 40], np.array([[1.0, 0.0], [1.0, 2.0], [0.0, -1.0]])
    S, R = stationary_covariance(process).matrix, autocovariance(process, lags)
    np.testing.assert_allclose(R[0], S, atol=1e-14)
    total = mean_square_displacement(process, lags)
    np.testing.assert_allclose(total, 2 * np.trace(S - R, axis1=1, axis2=2), atol=1e-12)
    along = mean_square_displacement(process, lags, directions=directions)
    expected = 2 * np.einsum("dp,tde,ep->tp", directions, S - R, directions)
    np.testing.assert_allclose(along, expected, atol=1e-12)


@pytest.mark.parametrize("name", PROCESSES)
def test_routes_agree_displacement_and_its_two_parts(name: str) -> None:
    # E|X_s - X_0|^2 = Tr[(E - I) S (E - I)^T + G]: what the start loses and the noise adds.
    process = PROCESSES[name]
    S = stationary_covariance(process).state_matrix
    for lag in (1, 4):
        E, away, G = gap_law(process)(lag)
        np.testing.assert_allclose(away, E - np.eye(len(E)), atol=1e-14)
        expected = np.trace(whole(process, away @ S @ away.T + G))
        assert mean_square_displacement(process, [lag])[0] == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("process", [FLOWS["symmetric"], FLOWS["turning"]])
def test_displacement_keeps_its_digits_at_short_lags(process) -> None:
    lags = np.array([1e-9, 1e-6])
    ballistic = mean_square_displacement(process, lags) / (lags * np.trace(process.noise))
    np.testing.assert_allclose(ballistic, 1.0, rtol=2e-6)


@pytest.mark.twin
def test_short_lags_reject_the_plain_difference() -> None:
    process, lag = FLOWS["symmetric"], 1e-13
    S, R = stationary_covariance(process).matrix, autocovariance(process, [lag])[0]
    plain = 2 * np.trace(S - R) / (lag * np.trace(process.noise))
    careful = mean_square_displacement(process, [lag])[0] / (lag * np.trace(process.noise))
    assert abs(careful - 1) < 1e-12 < 1e-4 < abs(plain - 1)


@pytest.mark.parametrize("name", FLOWS)
def test_exact_autocovariance_is_the_exponential_on_the_left(name: str) -> None:
    process = FLOWS[name]
    S = stationary_covariance(process).matrix
    lags = np.array([2.0, 0.0, 0.5, 0.5])
    expected = [scipy.linalg.expm(-process.drift * lag) @ S for lag in lags]
    np.testing.assert_allclose(autocovariance(process, lags), expected, atol=1e-13)


@pytest.mark.twin
def test_autocovariance_rejects_the_other_order() -> None:
    process = FLOWS["turning"]
    R = autocovariance(process, [0.5])[0]
    assert np.abs(R - R.T).max() > 1e-2


@pytest.mark.parametrize("name", [*PROCESSES])
def test_exact_mean_decays_from_the_start(name: str) -> None:
    process = PROCESSES[name]
    start = np.array([3.0, 1.0, -1.0])
    state = np.zeros(process.dimension)
    state[process.observed] = start
    found = mean_at(process, [4, 0, 9], start)
    for row, time in zip(found, [4, 0, 9], strict=True):
        E = (
            scipy.linalg.expm(-process.drift * time)
            if isinstance(process, OUProcess)
            else np.linalg.matrix_power(process.transition, time)
        )
        expected = (process.mean + E @ (state - process.mean))[process.observed]
        np.testing.assert_allclose(row, expected, atol=1e-13)
    np.testing.assert_array_equal(mean_at(process, [4, 0, 9], state), found)


def test_displacement_from_a_start_is_drift_squared_plus_spread() -> None:
    for process in [*PROCESSES.values(), *FREE.values()]:
        start = np.array([3.0, 1.0, -1.0])
        lags = [0, 1, 7]
        moved = mean_at(process, lags, start) - start
        spread = covariance_at(process, lags)
        expected = np.sum(moved**2, axis=1) + np.trace(spread, axis1=1, axis2=2)
        found = mean_square_displacement(process, lags, start=start)
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("process", FREE.values())
def test_stationary_quantities_refuse_a_process_that_does_not_settle(process) -> None:
    for verb in (autocovariance, mean_square_displacement):
        with pytest.raises((UnstableError, ComputationError)):
            verb(process, [1])


def test_free_direction_diffuses_and_unstable_one_grows() -> None:
    spread = covariance_at(FREE["flow"], [1e-8, 5.0])
    assert spread[1, 1, 1] == pytest.approx(5.0 * NOISE[1, 1], rel=1e-15)
    assert spread[1, 2, 2] == pytest.approx(NOISE[2, 2] * np.expm1(5.0), rel=1e-14)
    np.testing.assert_allclose(spread[0], 1e-8 * NOISE, rtol=2e-8)


def test_overflow_is_a_status_and_names_the_remedy() -> None:
    with pytest.raises(ComputationError, match=r"grows beyond the largest float"):
        covariance_at(FREE["flow"], [1e4])
    with pytest.raises(ComputationError, match="ask for"):
        mean_at(FREE["turned flow"], [1e4], [1.0, 1.0, 1.0])


def test_relaxation_rates_of_flow_and_map() -> None:
    flow = relaxation_rates(FLOWS["turning"])
    np.testing.assert_allclose(flow, np.sort_complex(np.linalg.eigvals(TURNING)), atol=1e-14)
    expected = np.sort_complex(-np.log(np.linalg.eigvals(MAPS["turning"].transition)))
    np.testing.assert_allclose(relaxation_rates(MAPS["turning"]), expected, atol=1e-14)
    alternating = relaxation_rates(
        LinearRecursion(transition=np.diag([-0.5, 0.0]), noise=np.eye(2))
    )
    assert alternating[0] == pytest.approx(np.log(2) - 1j * np.pi)
    assert alternating[1].real == np.inf


def test_relaxation_rates_of_slow_maps_keep_their_digits() -> None:
    process = LinearRecursion(transition=[[1.0 - 2.0**-40, 0.0], [0.0, 0.5]], noise=np.eye(2))
    assert relaxation_rates(process)[0].real == pytest.approx(2.0**-40, rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    times=st.lists(st.integers(0, 30), min_size=1, max_size=5),
    flow=st.booleans(),
)
def test_keeps_semidefiniteness_symmetry_and_arguments(seed, times, flow) -> None:
    rng = np.random.default_rng(seed)
    A, B = rng.normal(size=(4, 4)), rng.normal(size=(4, 2))
    matrix, noise, when = 0.3 * A, B @ B.T, np.array(times, dtype=float)
    kept = [matrix.copy(), noise.copy(), when.copy()]
    process = (
        OUProcess(drift=matrix, noise=noise)
        if flow
        else LinearRecursion(transition=matrix, noise=noise)
    )
    spread = covariance_at(process, when)
    np.testing.assert_array_equal(spread, np.swapaxes(spread, 1, 2))
    low = np.linalg.eigvalsh(spread)
    assert np.all(low[:, 0] >= -1e-13 * np.maximum(low[:, -1], 1e-300))
    for mine, original in zip([matrix, noise, when], kept, strict=True):
        np.testing.assert_array_equal(mine, original)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: mean_at(FLOWS["turning"], [-1.0], [1, 1, 1]), OutOfRangeError, "time starts at 0"),
        (lambda: autocovariance(MAPS["turning"], [0.5]), OutOfRangeError, "whole numbers of steps"),
        (lambda: mean_at(FLOWS["turning"], [1.0], [1, 1]), ShapeError, "3 entries, got 2"),
        (lambda: mean_at(MAPS["momentum"], [1], [1, 1]), ShapeError, "or 6 for the whole state"),
        (lambda: covariance_at(MAPS["momentum"], [1], np.eye(2)), ShapeError, "3 x 3, or 6 x 6"),
        (
            lambda: mean_square_displacement(FLOWS["jordan"], [1], directions=np.eye(2)),
            ShapeError,
            "`directions` must have shape",
        ),
    ],
)
def test_refuses_what_has_no_meaning(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()


def test_lags_of_many_decades_are_each_what_they_are_alone() -> None:
    process = OUProcess(drift=[[1.0, 0.5], [0.0, 2.0]], noise=np.eye(2))
    lags = np.geomspace(1e-9, 1e9, 19)
    alone = [mean_square_displacement(process, lag)[0] for lag in lags]
    np.testing.assert_allclose(mean_square_displacement(process, lags), alone, rtol=1e-6)
    alone = [covariance_at(process, lag)[0] for lag in lags]
    np.testing.assert_allclose(covariance_at(process, lags), alone, rtol=1e-6)


def test_a_time_grid_is_as_good_as_its_times() -> None:
    process, grid = FLOWS["turning"], TimeGrid.uniform(1.0, 3)
    np.testing.assert_array_equal(
        mean_at(process, grid, np.ones(3)), mean_at(process, grid.times, np.ones(3))
    )
    np.testing.assert_array_equal(covariance_at(process, grid), covariance_at(process, grid.times))


def test_messages_name_the_starting_state_as_the_caller_does() -> None:
    process = FLOWS["turning"]
    with pytest.raises(ShapeError, match="`start` must have 3 entries"):
        mean_square_displacement(process, [1.0], start=[1.0])
    with pytest.raises(ShapeError, match="`initial` must have 3 entries"):
        mean_at(process, [1.0], [1.0])


@pytest.mark.parametrize("name", PROCESSES)
def test_routes_agree_autocovariance_along_directions_and_matrices(name: str) -> None:
    process, lags = PROCESSES[name], [0, 1, 2, 600, 3]
    U = np.array([[1.0, 0.5], [-2.0, 0.0], [0.3, 1.0]])
    R = autocovariance(process, lags)
    expected = np.einsum("dp,tde,ep->tp", U, R, U)
    found = autocovariance(process, lags, directions=U)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_momentum_in_modes_is_momentum_in_matrices() -> None:
    # A transition that misses the form of momentum by rounding goes the general way.
    process = MAPS["momentum"]
    odd = np.array(process.transition)
    odd[0, 1] *= 1 + 2.0**-50
    general = LinearRecursion(transition=odd, noise=process.noise, observe=process.observe)
    lags = [0, 1, 5, 40, 513, 2000]
    np.testing.assert_allclose(
        autocovariance(process, lags), autocovariance(general, lags), rtol=0, atol=1e-12
    )
    U = np.eye(3)
    np.testing.assert_allclose(
        mean_square_displacement(process, lags, directions=U),
        mean_square_displacement(general, lags, directions=U),
        rtol=1e-11,
    )


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_slow_modes_of_maps_keep_their_digits_over_a_thousand_million_steps(momentum) -> None:
    pull = 2.0**-34
    sgd = SGDNearMinimum(
        hessian=np.diag([pull, 1.0]),
        gradient_noise=np.eye(2),
        learning_rate=1.0,
        batch_size=1,
        momentum=momentum,
    )
    lags = [1, 10**3, 10**6, 10**9, 10**12]
    with mpmath.workdps(50):
        k, mu = mpmath.mpf(pull), mpmath.mpf(momentum)
        root = mpmath.sqrt((1 + mu - k) ** 2 - 4 * mu)
        slow, fast = (1 + mu - k + root) / 2, (1 + mu - k - root) / 2
        variance = 1 / (k * (1 - mu) * (2 - k / (1 + mu)))
        kicked = k * variance / (1 + mu)  # E[v w]
        exact = []
        for lag in lags:
            powers = [(slow**n - fast**n) / root for n in (lag, lag + 1)]
            # E^n of the weight: from a deviation of the weight and from a velocity.
            weight, velocity = powers[1] - mu * powers[0], mu * powers[0]
            exact.append(float(2 * (variance - weight * variance - velocity * kicked)))
    found = mean_square_displacement(sgd, lags, directions=[[1.0], [0.0]])[:, 0]
    np.testing.assert_allclose(found, exact, rtol=1e-12)


def test_directions_need_no_matrix_for_each_lag() -> None:
    # As matrices, 300 lags of 400 weights would be 400 megabytes.
    rng = np.random.default_rng(0)
    root = rng.normal(size=(400, 400))
    sgd = SGDNearMinimum(
        hessian=np.diag(np.geomspace(1e-4, 1.0, 400)),
        gradient_noise=root @ root.T,
        learning_rate=0.5,
        batch_size=10,
        momentum=0.9,
    )
    lags = np.unique(np.geomspace(1, 1e9, 300).round())
    tracemalloc.start()
    found = autocovariance(sgd, lags, directions=np.eye(400)[:, :2])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.shape == (len(lags), 2)
    # The matrices of the state, and blocks of 2^22 numbers.
    assert peak < 250e6 < len(lags) * 400 * 400 * 8


@pytest.mark.parametrize("rule", [{}, {"momentum": 0.6, "nesterov": True}])
def test_mean_and_rates_know_nothing_of_how_batches_are_shuffled(rule: dict) -> None:
    given = {
        "hessian": np.array([[1.0, 0.3], [0.3, 0.5]]),
        "gradient_noise": np.eye(2),
        "learning_rate": 0.2,
        "batch_size": 3,
        "dataset_size": 10,
        "minimum": [1.0, -2.0],
        **rule,
    }
    drawn = SGDNearMinimum(sampling="without_replacement", **given)
    for epochs in (shuffled := SGDNearMinimum(sampling="shuffled", **given), shuffled.epochs()):
        at = mean_at(epochs, [0, 1, 7, 50], [3.0, 1.0])
        np.testing.assert_array_equal(at, mean_at(drawn, [0, 1, 7, 50], [3.0, 1.0]))
        np.testing.assert_array_equal(relaxation_rates(epochs), relaxation_rates(drawn))

"""Shuffled epochs: modes, brute force, closed form and high precision give one law."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from fracsde.errors import InputError, OutOfRangeError, UnstableError, UnsupportedError
from fracsde.lyapunov.epochs import stationary_phases
from fracsde.problems.epochs import EpochRecursion
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.stationary import phase_covariance, stationary_covariance
from fracsde.status import Status
from fracsde.transients import (
    autocovariance,
    covariance_at,
    mean_square_displacement,
)

TURN = np.linalg.qr(np.array([[1.0, 0.2, 0.3], [0.5, 2.0, 0.1], [0.3, 0.7, 1.0]]))[0]
HESSIAN = (TURN * np.array([4.0, 1.0, 0.1])) @ TURN.T
NOISE = np.array([[1.0, 0.5, 0.2], [0.5, 2.0, 0.1], [0.2, 0.1, 0.5]])
RULES = [
    {},
    {"momentum": 0.7},
    {"momentum": 0.7, "nesterov": True},
    {"momentum": 0.5, "dampening": 0.3},
]
PRECONDITIONERS = [None, [1.0, 2.0, 0.3], NOISE]
# Whole epochs, a short last batch, one left out, one batch of all, batches of one.
EPOCHS = [(12, 3, False), (13, 3, False), (13, 3, True), (5, 5, False), (6, 1, False), (7, 5, True)]


def sgd(**changes) -> SGDNearMinimum:
    given = {
        "hessian": HESSIAN,
        "gradient_noise": NOISE,
        "learning_rate": 0.1,
        "batch_size": 3,
        "dataset_size": 12,
        "sampling": "shuffled",
    }
    return SGDNearMinimum(**{**given, **changes})


class Brute:
    """All noises of an epoch stacked, with their covariance: nothing is assumed of it."""

    def __init__(self, epochs: EpochRecursion, *, pair: float = 1.0) -> None:
        N, b = epochs.dataset_size, epochs.batch_sizes
        self.steps = len(b)
        # `pair` damages the covariance between batches of an epoch.
        between = np.full((self.steps, self.steps), -pair / N)
        np.fill_diagonal(between, 1.0 / b - 1.0 / N)
        self.noise = N / (N - 1) * between
        self.T, self.kick = epochs.transition, epochs.kick

    def power(self, steps: int) -> np.ndarray:
        return np.linalg.matrix_power(self.T, steps)

    def added(self, phase: int) -> np.ndarray:
        out = np.zeros_like(self.T)
        for j in range(phase):
            for k in range(phase):
                left, right = self.power(phase - 1 - j), self.power(phase - 1 - k)
                out += self.noise[j, k] * left @ self.kick @ right.T
        return out

    def phases(self) -> np.ndarray:
        n, whole = len(self.T), self.power(self.steps)
        system = np.eye(n * n) - np.kron(whole, whole)
        start = np.linalg.solve(system, self.added(self.steps).ravel()).reshape(n, n)
        return np.array(
            [self.power(p) @ start @ self.power(p).T + self.added(p) for p in range(self.steps)]
        )

    def lag(self, lag: int) -> np.ndarray:
        covariances, out = self.phases(), np.zeros_like(self.T)
        for p in range(self.steps):
            out += self.power(lag) @ covariances[p]
            for j in range(p, min(p + lag, self.steps)):
                for i in range(p):
                    later, earlier = self.power(p + lag - 1 - j), self.power(p - 1 - i)
                    out += self.noise[j, i] * later @ self.kick @ earlier.T
        return out / self.steps


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
@pytest.mark.parametrize(("N", "B", "drop_last"), EPOCHS)
def test_routes_agree_modes_and_stacked_epochs(rule, preconditioner, N, B, drop_last) -> None:
    problem = sgd(
        **rule, preconditioner=preconditioner, dataset_size=N, batch_size=B, drop_last=drop_last
    )
    expected = Brute(problem.epochs()).phases()
    state, phases = stationary_phases(problem.epochs())
    scale = np.abs(expected).max()
    np.testing.assert_allclose(state.matrix, expected.mean(axis=0), rtol=0, atol=1e-12 * scale)
    for p, one in enumerate(expected):
        np.testing.assert_allclose(phases.at(p), one, rtol=0, atol=1e-12 * scale)
    assert state.residual < 1e-15
    gap = np.linalg.norm(state.matrix - expected.mean(axis=0), 2)
    assert gap <= state.error_estimate + 1e-12 * scale
    if N == B:
        assert scale == 0.0  # all the data in every batch


@pytest.mark.twin
@pytest.mark.parametrize("rule", RULES)
def test_stacked_epochs_reject_pairs_correlated_one_per_cent_less(rule) -> None:
    problem = sgd(**rule)
    wrong = Brute(problem.epochs(), pair=0.99).phases().mean(axis=0)
    found = stationary_covariance(problem).state_matrix
    assert np.abs(found - wrong).max() > 1e-3 * np.abs(wrong).max()


@pytest.mark.parametrize("rule", RULES[:3])
@pytest.mark.parametrize("preconditioner", [None, NOISE])
@pytest.mark.parametrize(("N", "B", "drop_last"), EPOCHS[:4])
def test_routes_agree_on_lags(rule, preconditioner, N, B, drop_last) -> None:
    problem = sgd(
        **rule, preconditioner=preconditioner, dataset_size=N, batch_size=B, drop_last=drop_last
    )
    lags = [0, 3, 1, 2, 4, 5, 9, 30]
    brute = Brute(problem.epochs())
    expected = np.array([brute.lag(lag)[:3, :3] for lag in lags])
    scale = np.abs(expected).max()
    found = autocovariance(problem, lags)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * scale)
    moved = 2.0 * (expected[0] - 0.5 * (expected + expected.transpose(0, 2, 1)))
    U = np.array([[1.0, 0.0], [0.5, 1.0], [0.0, -1.0]])
    np.testing.assert_allclose(
        mean_square_displacement(problem, lags, directions=U),
        np.einsum("ip,tij,jp->tp", U, moved, U),
        rtol=0,
        atol=1e-11 * scale,
    )
    np.testing.assert_allclose(
        mean_square_displacement(problem, lags),
        np.trace(moved, axis1=1, axis2=2),
        rtol=0,
        atol=1e-11 * scale,
    )


def closed_form(problem: SGDNearMinimum, *, size: float = 1.0) -> np.ndarray:
    """Phase average without momentum, from the autocovariance of the noise."""
    h, V = np.linalg.eigh(problem.curvature)
    M, phi = problem.epochs().steps, 1.0 - problem.learning_rate * h
    noise = problem.learning_rate**2 * V.T @ problem.batch_noise @ V
    memory = phi * (M * (1.0 - phi) - 1.0 + phi**M) / (1.0 - phi) ** 2
    less = size * np.add.outer(memory, memory) / (M * (M - 1))
    # One step back multiplies the memory of either side by the other's phi.
    return V @ (noise * (1.0 - less) / (1.0 - np.multiply.outer(phi, phi))) @ V.T


@pytest.mark.parametrize(("N", "B"), [(12, 3), (60, 3), (1000, 10)])
def test_routes_agree_modes_and_the_closed_form_without_momentum(N: int, B: int) -> None:
    problem = sgd(dataset_size=N, batch_size=B)
    found, expected = stationary_covariance(problem).matrix, closed_form(problem)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.twin
def test_closed_form_rejects_a_memory_one_per_cent_too_short() -> None:
    problem = sgd()
    wrong = closed_form(problem, size=0.99)
    found = stationary_covariance(problem).matrix
    assert np.abs(found - wrong).max() > 1e-3 * np.abs(wrong).max()


def high_precision(epochs: EpochRecursion, i: int, j: int) -> list[float]:
    """Weights' covariance of two diagonal modes at each phase, with 80 digits."""
    with mpmath.workdps(80):
        rule, M, N = epochs.rule, epochs.steps, epochs.dataset_size
        mu = mpmath.mpf(rule.momentum)
        a, b, c = (1 + mu, mu**2, 1) if rule.nesterov else (1, mu, 1)

        def transition(k: float) -> mpmath.matrix:
            return mpmath.matrix([[1 - a * mpmath.mpf(k), b], [-c * mpmath.mpf(k), mu]])

        powers = []
        for place in (i, j):
            F, row = transition(epochs.curvature[place, place]), [mpmath.eye(2)]
            for _ in range(M):
                row.append(F * row[-1])
            powers.append(row)
        G = mpmath.matrix([a, c])
        kick, sizes = mpmath.mpf(epochs.noise[i, j]) * mpmath.mpf(N) / (N - 1), epochs.batch_sizes

        def added(phase: int) -> mpmath.matrix:
            out = mpmath.zeros(2)
            for x in range(phase):
                for y in range(phase):
                    own = mpmath.mpf(1) / int(sizes[x]) if x == y else 0
                    left, right = powers[0][phase - 1 - x] * G, powers[1][phase - 1 - y] * G
                    out += kick * (own - mpmath.mpf(1) / N) * left * right.T
            return out

        system, E, F = mpmath.eye(4), powers[0][M], powers[1][M]
        for row in range(4):
            for column in range(4):
                system[row, column] -= E[row // 2, column // 2] * F[row % 2, column % 2]
        s = mpmath.lu_solve(system, mpmath.matrix(list(added(M))))
        start = mpmath.matrix([[s[0], s[1]], [s[2], s[3]]])
        moved = [powers[0][p] * start * powers[1][p].T + added(p) for p in range(M)]
        return [float(one[0, 0]) for one in moved]


@pytest.mark.parametrize("rule", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}])
@pytest.mark.parametrize(("N", "B"), [(12, 3), (13, 3), (24, 2)])
def test_relative_accuracy_is_kept_in_flat_directions(rule, N: int, B: int) -> None:
    # Pulls of one step from 1e-12 to 0.05; ten digits are claimed, at every phase.
    correlated = np.full((4, 4), 0.3) + 0.7 * np.eye(4)
    problem = sgd(
        **rule,
        hessian=np.diag([1e-11, 1e-6, 3e-3, 0.5]),
        gradient_noise=correlated,
        dataset_size=N,
        batch_size=B,
    )
    found = phase_covariance(problem, range(problem.epochs().steps))
    mean = stationary_covariance(problem).matrix
    for i, j in [(0, 0), (0, 1), (1, 3), (2, 2), (3, 3)]:
        expected = high_precision(problem.epochs(), i, j)
        np.testing.assert_allclose(found[:, i, j], expected, rtol=1e-10)
        assert mean[i, j] == pytest.approx(np.mean(expected), rel=1e-10)


def test_limit_of_flat_directions_saturates_at_the_epoch_and_vanishes_at_its_end() -> None:
    # eta^2 C_b (M + 1) / 6 on average, eta^2 C_b p (M - p) / (M - 1) at phase p, and
    # eta^3 h C_b M (M + 1) / 24 at the ends.
    problem = sgd(hessian=1e-9, gradient_noise=1.0, dataset_size=60)
    M, eta = 20, problem.learning_rate
    noise = eta**2 * float(problem.batch_noise[0, 0])
    assert stationary_covariance(problem).matrix[0, 0] == pytest.approx(noise * (M + 1) / 6)
    p = np.arange(1, M)
    np.testing.assert_allclose(
        phase_covariance(problem, p).ravel(), noise * p * (M - p) / (M - 1), rtol=1e-7
    )
    ends = eta * 1e-9 * noise * M * (M + 1) / 24
    assert phase_covariance(problem, 0)[0, 0, 0] == pytest.approx(ends)


def test_limit_of_displacements_in_flat_directions_over_a_long_epoch() -> None:
    # R(0) - R(s) is a sum of L_q = q (q - 1) / 2 over q = M - s + 1 ... M.
    M = 10**6
    problem = sgd(hessian=1e-12, gradient_noise=1.0, dataset_size=3 * M)
    lags = np.array([1, 10, 500])
    q = M - np.arange(500.0)
    expected = np.cumsum(q * (q - 1.0))[lags - 1] * 0.1**2 / (M * (3 * M - 1))
    np.testing.assert_allclose(mean_square_displacement(problem, lags), expected, rtol=1e-6)


def test_short_last_batch_or_a_dropped_one_brings_diffusion_back() -> None:
    # The sum of an epoch's steps no longer vanishes: flat directions spread as 1 / h again.
    def variance(curvature: float, **changes) -> float:
        problem = sgd(hessian=curvature, gradient_noise=1.0, dataset_size=61, **changes)
        return float(stationary_covariance(problem).matrix[0, 0])

    C, eta, N, B, M = 1.0, 0.1, 61, 3, 21
    total = N / (N - 1) * ((M - 1) / B + 1.0 - M**2 / N)  # variance of the sum of the steps
    expected = eta**2 * C * total / (2 * M * eta * 1e-8)
    assert variance(1e-8) == pytest.approx(expected, rel=1e-4)
    assert variance(1e-8) / variance(1e-4) == pytest.approx(1e4, rel=0.02)
    total = N / (N - 1) * (20 / B - 400 / N)
    expected = eta**2 * C * total / (2 * 20 * eta * 1e-8)
    assert variance(1e-8, drop_last=True) == pytest.approx(expected, rel=1e-4)


def test_limit_of_stiff_directions_is_that_of_independent_batches() -> None:
    shuffled = sgd(hessian=HESSIAN, learning_rate=0.3, dataset_size=30000)
    independent = sgd(
        hessian=HESSIAN, learning_rate=0.3, dataset_size=30000, sampling="without_replacement"
    )
    one, two = (stationary_covariance(one).matrix for one in (shuffled, independent))
    np.testing.assert_allclose(one, two, rtol=0.01, atol=0.01 * np.abs(two).max())


def test_recursion_and_its_sgd_are_one_and_nothing_is_written_to() -> None:
    problem = sgd(momentum=0.9)
    kept = problem.hessian.copy(), problem.gradient_noise.copy()
    one, two = stationary_covariance(problem), stationary_covariance(problem.epochs())
    np.testing.assert_array_equal(one.state_matrix, two.state_matrix)
    assert one.provenance.input_hash == two.provenance.input_hash
    assert one.status is Status.SUCCESS
    np.testing.assert_array_equal(one.matrix, one.matrix.T)
    assert np.linalg.eigvalsh(one.state_matrix)[0] >= -one.error_estimate
    np.testing.assert_array_equal(problem.hessian, kept[0])
    np.testing.assert_array_equal(problem.gradient_noise, kept[1])
    same = phase_covariance(problem, [0, 4])
    np.testing.assert_array_equal(same[0], same[1])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_no_stationary_law_is_a_status_with_its_reason(momentum: float) -> None:
    fast = sgd(momentum=momentum, learning_rate=5.0)
    found = stationary_covariance(fast, throw=False)
    assert found.status is Status.UNSTABLE
    assert np.isnan(found.matrix).all()
    flat = sgd(momentum=momentum, hessian=np.diag([1.0, 0.5, 0.0]))
    frozen = sgd(momentum=momentum, preconditioner=[1.0, 0.0, 1.0])
    for problem, words in [
        (fast, "not below the critical learning rate"),
        (flat, "nothing pulls them back"),
        (frozen, "never move"),
    ]:
        for verb in (stationary_covariance, lambda s: phase_covariance(s, [1])):
            with pytest.raises(UnstableError, match=words):
                verb(problem)
        with pytest.raises(UnstableError, match=words):
            autocovariance(problem, [1])


def test_refuses_what_has_no_phases_or_no_meaning() -> None:
    problem = sgd()
    with pytest.raises(InputError, match="stationary_covariance\\(process\\) has the one"):
        phase_covariance(sgd(sampling="without_replacement"), [0])
    with pytest.raises(InputError, match="whole numbers"):
        phase_covariance(problem, [0.5])
    for bad in ([-1], [0, 5]):
        with pytest.raises(OutOfRangeError, match="between 0 and the 4 steps"):
            phase_covariance(problem, bad)

    with pytest.raises(UnsupportedError, match="not in a Schur form"):
        stationary_covariance(problem, method="bartels_stewart")
    with pytest.raises(OutOfRangeError, match="whole numbers of steps"):
        autocovariance(problem, [0.5])
    long = sgd(dataset_size=3 * 10**9)
    assert autocovariance(long, [5]).shape == (1, 3, 3)
    with pytest.raises(OutOfRangeError, match="more memory than there is for 3 weights"):
        autocovariance(long, [10**9])
    with pytest.raises(InputError, match="no meaning without a random clock"):
        covariance_at(problem, [1], initial="stationary")
    with pytest.raises(InputError, match="`rule` must be a StepRule"):
        EpochRecursion(curvature=1.0, noise=1.0, dataset_size=4, batch_size=2, rule=0.9)

"""Growth near critical points: exact after a billion steps, coupled by noise in the Hessian."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from fracsde.directions import classify_directions, stationary_curvatures
from fracsde.errors import (
    ComputationError,
    IndefiniteError,
    InputError,
    OutOfRangeError,
    SamplingError,
    ShapeError,
    UnstableError,
    UnsupportedError,
)
from fracsde.growth import variance_growth
from fracsde.problems.critical_point import SGDNearCriticalPoint
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.status import Status
from fracsde.transients import covariance_at, mean_at
from tests.support.laws import follows

ETA = 0.1
TURN = np.linalg.qr(np.array([[1.0, 0.2, 0.3], [0.5, 2.0, 0.1], [0.3, 0.7, 1.0]]))[0]
CURVATURES = np.array([-0.4, 0.0, 1.5])
NOISE = np.array([[1.0, 0.5, 0.2], [0.5, 2.0, 0.1], [0.2, 0.1, 0.5]])
SCATTER = np.array([[0.5, 0.3, 0.1], [0.3, 0.2, 0.4], [0.1, 0.4, 0.6]])


def line(h: float, **changes) -> SGDNearCriticalPoint:
    given = {"hessian": [[h]], "gradient_noise": [[1.0]], "learning_rate": ETA, "batch_size": 1}
    return SGDNearCriticalPoint(**{**given, **changes})


def saddle(**changes) -> SGDNearCriticalPoint:
    given = {
        "hessian": (TURN * CURVATURES) @ TURN.T,
        "gradient_noise": NOISE,
        "learning_rate": ETA,
        "batch_size": 4,
        "critical_point": [1.0, -2.0, 0.5],
    }
    return SGDNearCriticalPoint(**{**given, **changes})


def variance(h: float, mu: float, k: int):
    """The variance of one direction from rest, to sixty digits, by powers of two."""
    with mpmath.workdps(60):
        x, m = mpmath.mpf(ETA) * mpmath.mpf(h), mpmath.mpf(mu)
        once = mpmath.matrix([[1 - x, m], [-x, m]])
        kick = mpmath.matrix([[1, 1], [1, 1]]) * mpmath.mpf(ETA) ** 2
        whole, spread = mpmath.eye(2), mpmath.zeros(2)
        while k:
            if k % 2:
                whole, spread = once * whole, kick + once * spread * once.T
            kick = kick + once * kick * once.T
            once = once * once
            k //= 2
        return spread[0, 0]


GROWING = [0.0, 1e-12, -1e-11, 1e-8, -1e-8, 1e-3, 0.5]


@pytest.mark.parametrize("mu", [0.0, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("h", GROWING)
def test_exact_variance_after_one_to_a_billion_steps(h: float, mu: float) -> None:
    steps = np.array([1, 10, 1000, 10**6, 10**9])
    found = variance_growth(line(h, momentum=mu), steps, throw=False).variance[:, 0]
    for value, k in zip(found, steps, strict=True):
        exact = variance(h, mu, int(k))
        assert exact > 1e300 or abs(value / exact - 1) < 2e-13


@pytest.mark.twin
def test_exact_variance_rejects_powers_of_the_transition_itself() -> None:
    """A pull of 1e-13 per step is rounded away by a thousandth of itself beside 1."""
    h, k = 1e-12, 10**9
    naive = covariance_at(line(h, momentum=0.9).map(), [k])[0, 0, 0]
    assert abs(naive / variance(h, 0.9, k) - 1) > 1e-11


def flat(k: np.ndarray, mu: float, *, warm: bool) -> np.ndarray:
    scale = ETA**2 / (1 - mu) ** 2
    if warm:
        return scale * (k - 2 * mu * (1 - mu**k) / (1 - mu**2))
    late = mu**2 * (1 - mu ** (2 * k)) / (1 - mu**2)
    return scale * (k - 2 * mu * (1 - mu**k) / (1 - mu) + late)


@pytest.mark.parametrize("mu", [0.3, 0.9, 0.99])
def test_exact_flat_direction_with_momentum_from_rest_and_warm(mu: float) -> None:
    k = np.array([1, 2, 5, 20, 100, 1000, 10**6])
    rest = variance_growth(line(0.0, momentum=mu), k).variance[:, 0]
    warm = variance_growth(line(0.0, momentum=mu), k, velocity="warm").variance[:, 0]
    np.testing.assert_allclose(rest, flat(k, mu, warm=False), rtol=3e-10)  # the formula cancels
    np.testing.assert_allclose(warm, flat(k, mu, warm=True), rtol=3e-10)
    assert np.abs(rest / flat(k, mu, warm=True) - 1).max() > 0.05


def test_exponents_of_a_flat_direction_are_three_then_one_from_rest_and_two_then_one_warm() -> None:
    sgd = line(0.0, momentum=1 - 1e-6)
    k = np.array([1_000, 2_000, 10**9, 2 * 10**9])
    for velocity, early in (("rest", 3.0), ("warm", 2.0)):
        V = variance_growth(sgd, k, velocity=velocity).variance[:, 0]
        slopes = np.log2(V[1::2] / V[::2])
        np.testing.assert_allclose(slopes, [early, 1.0], atol=4e-3)


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_routes_agree_with_the_recursion_where_noise_does_not_depend_on_the_state(momentum) -> None:
    sgd = saddle(momentum=momentum, weight_decay=0.05)
    k, start = np.array([0, 1, 7, 60]), np.array([2.0, 0.0, 1.0])
    found = variance_growth(sgd, k, initial=start, initial_covariance=0.3 * NOISE, full=True)
    expected = covariance_at(sgd.map(), k, 0.3 * NOISE)
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(found.mean, mean_at(sgd.map(), k, start), rtol=1e-11, atol=1e-13)
    V = found.directions.directions
    along = np.einsum("ia,kij,ja->ka", V, expected, V)
    np.testing.assert_allclose(found.variance, along, rtol=1e-11, atol=1e-13)
    plain = variance_growth(sgd, k, initial=start, initial_covariance=0.3 * NOISE)
    np.testing.assert_allclose(plain.variance, along, rtol=1e-11, atol=1e-13)


def stepped(sgd, start, steps: int, *, coupled: bool = True) -> np.ndarray:
    """Covariance of the weights by E[Ht S Ht] over all four indices, step by step."""
    h, V = sgd.modes()
    d, mu, eta = len(h), sgd.momentum, sgd.learning_rate
    fourth = np.zeros((d, d, d, d))
    for i in range(d):
        for j in range(d):
            fourth[i, j, i, j] = SCATTER[i, j]
            if coupled:
                fourth[i, j, j, i] = SCATTER[i, j]
    T = np.block([[np.eye(d) - eta * np.diag(h), mu * np.eye(d)],
                  [-eta * np.diag(h), mu * np.eye(d)]])  # fmt: skip
    S = np.zeros((2 * d, 2 * d))
    z = np.append(V.T @ (start - sgd.critical_point), np.zeros(d))
    for _ in range(steps):
        moments = S[:d, :d] + np.outer(z[:d], z[:d])
        random = np.einsum("ikjl,kl->ij", fourth, moments)
        Q = eta**2 / sgd.batch_size * (V.T @ NOISE @ V + random)
        S = T @ S @ T.T + np.block([[Q, Q], [Q, Q]])
        z = T @ z
    return V @ S[:d, :d] @ V.T


@pytest.mark.parametrize("momentum", [0.0, 0.6])
@pytest.mark.parametrize("start", [[1.0, -2.0, 0.5], [3.0, 0.0, 1.0]])
def test_routes_agree_with_all_moments_of_uncorrelated_hessian_noise(momentum, start) -> None:
    sgd = saddle(momentum=momentum, hessian_noise=SCATTER)
    found = variance_growth(sgd, [1, 40], initial=start, full=True)
    for value, k in zip(found.covariance, (1, 40), strict=True):
        np.testing.assert_allclose(value, stepped(sgd, start, k), rtol=1e-11, atol=1e-13)


@pytest.mark.twin
def test_all_moments_reject_entries_that_forget_their_symmetry() -> None:
    sgd, start = saddle(hessian_noise=SCATTER), [3.0, 0.0, 1.0]
    found = variance_growth(sgd, [40], initial=start, full=True).covariance[0]
    damaged = stepped(sgd, start, 40, coupled=False)
    assert np.abs(found / damaged - 1).max() > 1e-2


def test_exact_numbers_of_a_flat_direction_with_noisy_curvature() -> None:
    """eta = 0.1, s^2 = 1, q = 0.5: half as much again as free diffusion, then exponential."""
    sgd = line(0.0, gradient_noise=[[0.5]], hessian_noise=1.0)
    k = np.array([50, 100, 200])
    np.testing.assert_allclose(
        variance_growth(sgd, k).variance[:, 0], 0.5 * np.expm1(k * np.log1p(0.01)), rtol=1e-12
    )
    assert classify_directions(sgd, 200).kinds == ("unstable",)
    assert classify_directions(sgd, 50).kinds == ("diffusive",)


def test_law_of_simulated_random_hessians(seed: int) -> None:
    """4000 runs of 60 steps: a standard error of 2.2 % where the spread is normal."""
    d, runs, steps = 2, 4000, 60
    h = np.array([-0.3, 1.0])
    scatter = np.array([[1.0, 0.5], [0.5, 2.0]])
    rng = np.random.default_rng(seed)
    w = np.zeros((runs, d))
    for _ in range(steps):
        H = np.sqrt(scatter) * rng.standard_normal((runs, d, d))
        H[:, 1, 0] = H[:, 0, 1]
        G = rng.standard_normal((runs, d))
        w = w - ETA * (w * h + np.einsum("rij,rj->ri", H, w) + G)
    sgd = SGDNearCriticalPoint(
        hessian=np.diag(h),
        gradient_noise=np.eye(d),
        hessian_noise=scatter,
        learning_rate=ETA,
        batch_size=1,
    )
    V = variance_growth(sgd, [steps]).variance[0]
    stderr = (w**2).std(axis=0) / np.sqrt(runs)
    assert follows((w**2).mean(axis=0), V, stderr)
    without = variance_growth(line(-0.3), [steps]).variance[0, 0]
    assert not follows((w[:, 0] ** 2).mean(), without, stderr[0])


@pytest.mark.parametrize("mu", [0.0, 0.5, 0.95])
def test_exact_window_of_stationary_curvatures(mu: float) -> None:
    scatter = 2.0
    low, high = stationary_curvatures(
        learning_rate=ETA, hessian_noise=2 * scatter, batch_size=2, momentum=mu
    )
    for edge, inside in ((low, 1.01), (high, 1 / 1.001)):
        rates = [
            classify_directions(line(h, momentum=mu, hessian_noise=scatter), 10**12).rates[0]
            for h in (edge * inside, edge, edge / inside)
        ]
        assert rates[0] < 0 < rates[2]
        assert abs(rates[1]) < 1e-12
    settled = classify_directions(line(1.5 * low, momentum=mu, hessian_noise=scatter), 10**9)
    late = variance_growth(line(1.5 * low, momentum=mu, hessian_noise=scatter), [10**6]).variance
    np.testing.assert_allclose(settled.limits, late[0], rtol=1e-11)
    if mu == 0.0:
        assert low == pytest.approx((1 - np.sqrt(1 - ETA**2 * scatter)) / ETA, rel=1e-12)
        V = ETA / (2 * 1.5 * low - ETA * ((1.5 * low) ** 2 + scatter))
        assert settled.limits[0] == pytest.approx(V, rel=1e-11)


def test_limit_of_coupled_directions_is_where_they_settle() -> None:
    sgd = saddle(hessian=(TURN * [0.5, 1.0, 2.0]) @ TURN.T, hessian_noise=SCATTER, momentum=0.3)
    found = classify_directions(sgd, 10**6)
    late = variance_growth(sgd, [10**6]).variance[0]
    np.testing.assert_allclose(found.limits, late, rtol=1e-11)
    alone = classify_directions(
        saddle(hessian=(TURN * [0.5, 1.0, 2.0]) @ TURN.T, momentum=0.3), 10**6
    )
    assert np.all(found.limits > 1.01 * alone.limits)


def equal_and_coupled(momentum: float, **changes) -> SGDNearCriticalPoint:
    # Eight directions, each inside its window, whose noisy curvature scatters into all.
    bend = 1.5 * stationary_curvatures(learning_rate=ETA, hessian_noise=1.0, momentum=momentum)[0]
    given = {"hessian": bend * np.eye(8), "gradient_noise": np.eye(8), "hessian_noise": 1.0}
    return line(0.0, **{**given, "momentum": momentum, **changes})


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_routes_agree_on_the_rate_at_which_coupled_directions_grow_together(momentum) -> None:
    sgd = equal_and_coupled(momentum)
    found = classify_directions(sgd, 10_000)
    early, late = variance_growth(sgd, [1000, 1100]).variance
    np.testing.assert_allclose(found.rates, np.log(late / early) / 100, rtol=1e-9)
    assert set(found.kinds) == {"unstable"}
    assert np.all(np.isinf(found.limits))
    # Alone each of them settles, and five steps do not show that together they do not.
    alone = classify_directions(equal_and_coupled(momentum, hessian_noise=np.eye(8)), 10_000)
    assert set(alone.kinds) == {"confined"}
    assert set(classify_directions(sgd, 5).kinds) == {"diffusive"}


def test_a_direction_that_scatters_into_none_keeps_its_own_rate() -> None:
    scatter = np.ones((8, 8))
    scatter[0, 1:] = scatter[1:, 0] = 0.0
    curvatures = np.linspace(0.075, 0.08, 8)
    given = {"hessian": np.diag(curvatures), "hessian_noise": scatter}
    found = classify_directions(equal_and_coupled(0.0, **given), 10_000)
    assert found.kinds == ("confined",) + 7 * ("unstable",)
    assert found.rates[0] == pytest.approx(np.log((1 - ETA * 0.075) ** 2 + ETA**2), rel=1e-10)
    free = 1.0 / (2.0 * ETA * 0.075 - (ETA * 0.075) ** 2 - ETA**2)
    assert found.limits[0] == pytest.approx(ETA**2 * free, rel=1e-10)


def test_flat_directions_that_scatter_into_each_other_spread_faster_together() -> None:
    # Alone at the rate log(1 + eta^2 s^2), together at log(1 + 8 eta^2 s^2).
    weak = {"hessian": np.zeros((8, 8)), "hessian_noise": 1e-4}
    alone = {**weak, "hessian_noise": 1e-4 * np.eye(8)}
    assert set(classify_directions(equal_and_coupled(0.0, **alone), 200_000).kinds) == {"diffusive"}
    found = classify_directions(equal_and_coupled(0.0, **weak), 200_000)
    np.testing.assert_allclose(found.rates, np.log1p(8e-6), rtol=1e-10)
    assert set(found.kinds) == {"unstable"}


def test_what_a_direction_is_depends_on_the_horizon_and_the_table_says_so() -> None:
    sgd = saddle()
    assert classify_directions(sgd, 2).kinds == ("diffusive",) * 3
    found = classify_directions(sgd, 1000)
    assert found.kinds == ("unstable", "diffusive", "confined")
    np.testing.assert_allclose(
        found.rates, 2 * np.log(np.abs(1 - ETA * found.curvatures)), atol=1e-15
    )
    lines = str(found).splitlines()
    assert len(lines) == 5
    assert [row.split()[1] for row in lines[2:]] == list(found.kinds)


def test_too_fast_a_rate_is_unstable_whatever_the_sign_of_the_curvature() -> None:
    assert classify_directions(line(21.0), 1000).kinds == ("unstable",)
    assert classify_directions(line(10.0), 1000).rates[0] == -np.inf  # forgotten in one step


def test_limit_a_minimum_may_be_passed_and_dampening_counts() -> None:
    given = {"hessian": [[1.0]], "gradient_noise": [[2.0]], "learning_rate": ETA, "batch_size": 2}
    for mu in (0.0, 0.5):
        sgd = SGDNearMinimum(**given, momentum=mu, dampening=0.4)
        found = variance_growth(sgd, [1, 5, 300]).variance[:, 0]
        np.testing.assert_allclose(found, covariance_at(sgd, [1, 5, 300])[:, 0, 0], rtol=1e-11)
    for changes, word in (({"preconditioner": 2.0}, "preconditioner"), ({"nesterov": True}, "Nes")):
        with pytest.raises(InputError, match=word):
            variance_growth(SGDNearMinimum(**given, momentum=0.5, **changes), [1])


def test_batches_without_replacement_scatter_less_in_both_noises() -> None:
    whole = saddle(hessian_noise=SCATTER, sampling="without_replacement", dataset_size=10)
    assert whole.batch_factor == pytest.approx(6 / 9 / 4)
    V = variance_growth(whole, [20]).variance
    same = saddle(
        gradient_noise=NOISE * 6 / 9, hessian_noise=SCATTER * 6 / 9, critical_point=[1.0, -2.0, 0.5]
    )
    np.testing.assert_allclose(V, variance_growth(same, [20]).variance, rtol=1e-13)


def test_growth_beyond_the_largest_float_is_a_status() -> None:
    with pytest.raises(ComputationError, match="fewer steps"):
        variance_growth(line(-1.0), [10**6])
    found = variance_growth(line(-1.0), [3, 10**6], throw=False)
    assert found.status is Status.NOT_FINITE
    assert np.isfinite(found.variance[0, 0])


def test_keeps_arguments_and_refuses_what_makes_no_sense() -> None:
    scatter = np.array(SCATTER)
    sgd = saddle(hessian_noise=scatter)
    scatter[0, 0] = 7.0
    assert sgd.hessian_noise[0, 0] == 0.5
    with pytest.raises(UnsupportedError, match="variance_growth"):
        sgd.map()
    with pytest.raises(OutOfRangeError, match="whole numbers"):
        variance_growth(sgd, [1.5])
    with pytest.raises(OutOfRangeError, match="at most"):
        variance_growth(sgd, [1e16])
    with pytest.raises(InputError, match="'rest', 'warm'"):
        variance_growth(sgd, [1], velocity="hot")
    with pytest.raises(ShapeError, match="initial"):
        variance_growth(sgd, [1], initial=[1.0, 2.0])
    with pytest.raises(InputError, match="SGDNearCriticalPoint"):
        variance_growth(sgd.curvatures, [1])
    with pytest.raises(OutOfRangeError, match="horizon"):
        classify_directions(sgd, 0)
    with pytest.raises(UnstableError, match="larger batches"):
        stationary_curvatures(learning_rate=1.0, hessian_noise=2.0)
    with pytest.raises(OutOfRangeError, match="variances"):
        saddle(hessian_noise=-SCATTER)
    with pytest.raises(InputError, match="one for each entry"):
        saddle(hessian_noise=[1.0, 2.0, 3.0])
    with pytest.raises(IndefiniteError, match="gradient_noise"):
        saddle(gradient_noise=-NOISE)
    with pytest.raises(UnsupportedError, match="shuffled"):
        saddle(sampling="shuffled", dataset_size=10)
    with pytest.raises(SamplingError, match="dataset_size"):
        saddle(sampling="without_replacement")
    with pytest.raises(SamplingError, match="smaller batch"):
        saddle(sampling="without_replacement", dataset_size=3)


def test_refuses_sizes_whose_products_are_no_doubles() -> None:
    for changes in (
        {"learning_rate": 1e200},
        {"weight_decay": 1e308},
        {"hessian": [[1e308]]},
        {"hessian_noise": 1e308, "learning_rate": 1.0},
        {"gradient_noise": [[1e300]], "learning_rate": 1e100},
    ):
        with pytest.raises(OutOfRangeError, match="choose other units"):
            line(1.0, **changes)
    with pytest.raises(UnstableError, match="larger batches"):
        stationary_curvatures(learning_rate=1e200, hessian_noise=1e200)
    with pytest.raises(OutOfRangeError, match="batch_size"):
        line(1.0, batch_size=10**400)

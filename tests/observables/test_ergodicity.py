"""Scatter of time averages: against the whole covariance of a record, limits and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.errors import OutOfRangeError, ShapeError
from fracsde.estimators import mean_square_displacement as measured_displacement
from fracsde.observables import averaging_error, ergodicity_breaking
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.simulate import simulate
from fracsde.stationary import stationary_covariance
from fracsde.transients import autocovariance, mean_square_displacement
from tests.support.laws import follows, seed_of
from tests.support.linear_laws import FLOWS, LAWS, MAPS, sgd

SLOW = OUProcess(drift=[[2.0**-40]], noise=[[1.0]])


def record(law, draws: int, spacing: float) -> np.ndarray:
    # Covariance of a whole record, (draws, k, draws, k), from nothing but autocovariances.
    R = autocovariance(law, spacing * np.arange(draws))
    whole = np.empty((draws, R.shape[1], draws, R.shape[1]))
    for t in range(draws):
        for s in range(draws):
            whole[t, :, s] = R[t - s] if t >= s else R[s - t].T
    return whole


def differences(draws: int, lag: int) -> np.ndarray:
    return np.eye(draws - lag, draws, k=lag) - np.eye(draws - lag, draws)


def scatter(whole: np.ndarray, D: np.ndarray) -> tuple[float, float]:
    # Mean and variance of the mean of the squares of D x.
    C = np.einsum("st,tauc,vu->savc", D, whole, D).reshape(len(D) * whole.shape[1], -1)
    return np.trace(C) / len(D), 2.0 * np.sum(C * C) / len(D) ** 2


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize(("lag", "draws"), [(1, 12), (3, 20), (7, 9), (8, 9)])
def test_exact_parameter_is_that_of_the_whole_record(name: str, lag: int, draws: int) -> None:
    law, spacing = LAWS[name], 0.7 if name in FLOWS else 2
    whole, D = record(law, draws, spacing), differences(draws, lag)
    mean, variance = scatter(whole, D)
    found = ergodicity_breaking(law, [lag], draws, spacing=spacing)
    np.testing.assert_allclose(found, variance / mean**2, rtol=1e-12)
    error = averaging_error(law, draws, lags=[lag], spacing=spacing)
    np.testing.assert_allclose(error, np.sqrt(variance), rtol=1e-12)
    U = np.array([[1.0, 0.5], [-2.0, 0.0], [0.3, 1.0]])[: whole.shape[1]]
    each = [scatter(np.einsum("a,taub,b->tu", u, whole, u)[:, None, :, None], D) for u in U.T]
    found = ergodicity_breaking(law, [lag], draws, spacing=spacing, directions=U)
    np.testing.assert_allclose(found[0], [v / m**2 for m, v in each], rtol=1e-12)


@pytest.mark.parametrize("name", LAWS)
def test_exact_error_of_a_variance_is_that_of_the_whole_record(name: str) -> None:
    law, spacing, draws = LAWS[name], 0.7 if name in FLOWS else 2, 15
    whole = record(law, draws, spacing)
    _, variance = scatter(whole, np.eye(draws))
    found = averaging_error(law, draws, spacing=spacing)
    assert found == pytest.approx(np.sqrt(variance), rel=1e-12)
    u = np.array([1.0, -2.0, 0.3])[: whole.shape[1]]
    _, variance = scatter(np.einsum("a,taub,b->tu", u, whole, u)[:, None, :, None], np.eye(draws))
    along = averaging_error(law, draws, spacing=spacing, directions=u[:, None])
    np.testing.assert_allclose(along, [np.sqrt(variance)], rtol=1e-12)


@pytest.mark.twin
def test_whole_record_rejects_increments_taken_for_independent() -> None:
    law, lag, draws = MAPS["sgd plain"], 3, 20
    independent = 2.0 / (draws - lag)
    found = ergodicity_breaking(law, [lag], draws, directions=np.eye(3)[:, :1])
    assert found[0, 0] > 1.5 * independent


def brownian(lag: int, draws: int) -> float:
    s, count = np.arange(1, lag), draws - lag
    return 2.0 / count**2 * (count + 2.0 * np.sum((count - s) * (1.0 - s / lag) ** 2))


@pytest.mark.parametrize(("lag", "draws"), [(1, 1000), (5, 1000), (20, 1000), (100, 300)])
def test_limit_of_slow_modes_is_brownian_motion(lag: int, draws: int) -> None:
    exact = brownian(lag, draws)
    np.testing.assert_allclose(ergodicity_breaking(SLOW, [lag], draws), exact, rtol=1e-9)
    along = ergodicity_breaking(SLOW, [lag], draws, directions=[[3.0]])
    np.testing.assert_allclose(along, exact, rtol=1e-9)


def test_limit_of_brownian_motion_is_four_thirds_of_lag_over_record() -> None:
    # The discrete value approaches it with 1 / lag^2 and lag / draws.
    gaps = [
        ergodicity_breaking(SLOW, [lag], lag * 2000)[0] / (4.0 / 3.0 / 2000) - 1.0
        for lag in (1, 4, 16)
    ]
    assert gaps[0] == pytest.approx(0.5, abs=1e-2)
    assert gaps[1] == pytest.approx(0.5 / 16, abs=1e-3)
    assert abs(gaps[2]) < 3e-3


def test_limit_of_settled_processes_is_zero_with_the_length_of_the_record() -> None:
    for law in (FLOWS["turning flow"], MAPS["sgd momentum"], MAPS["alternating map"]):
        parameter = [ergodicity_breaking(law, [40], n)[0] for n in (2000, 4000, 8000)]
        ratios = np.array(parameter[:-1]) / parameter[1:]
        np.testing.assert_allclose(ratios, 2.0, rtol=0.03)


def test_total_and_directions_agree_in_one_dimension() -> None:
    law = sgd(hessian=[[1.0]], gradient_noise=[[1.0]], momentum=0.9)
    lags = [1, 7, 30]
    total = ergodicity_breaking(law, lags, 500)
    along = ergodicity_breaking(law, lags, 500, directions=[[2.0]])
    np.testing.assert_allclose(along[:, 0], total, rtol=1e-9)
    error = averaging_error(law, 500, lags=lags)
    displacement = mean_square_displacement(law, lags)
    np.testing.assert_allclose(error, np.sqrt(total) * displacement, rtol=1e-12)


def test_law_of_simulated_time_averages() -> None:
    # Variances over 4000 records; the noise of a variance is below 3.2 % for these squares, so
    # that errors of 20 % are seen.
    law, draws, lags = sgd(momentum=0.6), 60, [1, 5, 20]
    run = simulate(
        law, np.arange(draws), chains=4000, rng=seed_of("time averages"), backend="numpy"
    )
    each = measured_displacement(run, lags, kind="time_averaged").per_chain
    mean = mean_square_displacement(law, lags)
    expected = averaging_error(law, draws, lags=lags)
    assert follows(each.mean(axis=0), mean, expected / np.sqrt(4000))
    # Of sums of squares the fourth moment is at most (3 + 12) variances squared.
    noise = np.sqrt(14.0 / 4000) * expected**2
    assert follows(each.var(axis=0), expected**2, noise)
    assert not follows(each.var(axis=0), 2.0 * mean**2 / (draws - np.array(lags)), noise)
    squares = np.square(run.values).sum(axis=2).mean(axis=1)
    expected = averaging_error(law, draws)
    total = np.trace(stationary_covariance(law).matrix)
    assert follows(squares.mean(), total, expected / np.sqrt(4000))
    assert follows(squares.var(), expected**2, np.sqrt(14.0 / 4000) * expected**2)


def test_cost_of_total_grows_with_the_record_and_not_its_square() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(40, 40))
    law = SGDNearMinimum(
        hessian=np.diag(np.geomspace(1e-3, 1.0, 40)),
        gradient_noise=root @ root.T,
        learning_rate=0.1,
        batch_size=8,
        momentum=0.9,
    )
    found = ergodicity_breaking(law, [3], 50_000)
    along = ergodicity_breaking(law, [3], 50_000, directions=np.eye(40)[:, :1])
    assert 0.0 < found[0] < along[0, 0] < 1e-2


def test_still_directions_have_no_parameter() -> None:
    law = LinearRecursion(transition=[[0.5, 0.0], [0.0, 0.5]], noise=np.diag([1.0, 0.0]))
    found = ergodicity_breaking(law, [1], 10, directions=np.eye(2))
    assert np.isfinite(found[0, 0])
    assert np.isnan(found[0, 1])
    assert averaging_error(law, 10, lags=[1], directions=np.eye(2))[0, 1] == 0.0


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ergodicity_breaking(sgd(), [10], 10), OutOfRangeError, "draws - 1 = 9, got 10"),
        (lambda: ergodicity_breaking(sgd(), [0], 10), OutOfRangeError, "between 1 and"),
        (lambda: ergodicity_breaking(sgd(), [1.5], 10), OutOfRangeError, "choose `spacing`"),
        (lambda: ergodicity_breaking(sgd(), [1], 1), OutOfRangeError, "`draws`"),
        (lambda: ergodicity_breaking(sgd(), [1], 10, spacing=0.5), OutOfRangeError, "of a map"),
        (
            lambda: averaging_error(FLOWS["turning flow"], 5, spacing=0.0),
            OutOfRangeError,
            "spacing",
        ),
        (lambda: averaging_error(sgd(), 5, directions=[1.0]), ShapeError, "`directions`"),
    ],
)
def test_refuses_what_has_no_meaning(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()

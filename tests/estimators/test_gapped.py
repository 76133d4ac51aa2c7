"""Records with gaps: pairs counted one by one, the variance of a mean from the law of the series,
and intervals that hold the truth where draws taken for neighbours do not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg, signal

from fracsde import Trajectory
from fracsde.errors import RecordError
from fracsde.estimators import (
    autocorrelation_at,
    autocovariance,
    diagnose,
    integrated_time,
    mean,
    variances,
)
from fracsde.estimators.correlation_times import correlation_times
from fracsde.estimators.gapped import longest_window, pairs, places, spacing
from tests.support.laws import covers, honest, sigmas

RHO = 0.8
LENGTH, WINDOWS, APART = 50, 100, 100


def windows(length: int = LENGTH, number: int = WINDOWS, apart: int = APART) -> np.ndarray:
    return (np.arange(number)[:, None] * apart + np.arange(length)).ravel()


def series(rng: np.random.Generator, chains: int, at: np.ndarray) -> np.ndarray:
    """An autoregression of variance 1, at some places of it."""
    noise = rng.standard_normal((chains, at[-1] + 201)) * np.sqrt(1 - RHO**2)
    return signal.lfilter([1.0], [1.0, -RHO], noise, axis=1)[:, 200 + at]


def record(values: np.ndarray, at: np.ndarray, apart: float = 1.0) -> Trajectory:
    return Trajectory(values=values[..., None], times=apart * at)


@pytest.mark.parametrize("seed_", range(3))
def test_exact_pairs_and_covariances_are_those_counted_one_by_one(seed_: int) -> None:
    rng = np.random.default_rng(seed_)
    at = np.flatnonzero(rng.random(400) < 0.9) + 7
    x = rng.normal(size=(2, len(at)))
    run = record(x, at, 2.5)
    found = places(run)
    assert found is not None
    assert found.tolist() == (at - at[0]).tolist()
    assert spacing(run) == 2.5
    last = longest_window(found) - 1
    assert last == max(map(len, np.split(at, np.flatnonzero(np.diff(at) > 1) + 1))) - 1
    lag = np.subtract.outer(at, at).T
    number = [np.count_nonzero(lag == k) for k in range(last + 1)]
    assert pairs(found, len(at), last).tolist() == number
    covariance = autocovariance(run, mean=0.3)[:, 0]
    for k in range(last + 1):
        i, j = np.nonzero(lag == k)
        direct = np.mean((x[:, i] - 0.3) * (x[:, j] - 0.3))
        assert abs(covariance[k] - direct) < 1e-12
    short = autocovariance(run, 2, mean=0.3)[:, 0]
    np.testing.assert_allclose(short, covariance[:3], atol=1e-12)


def test_exact_variance_of_the_mean_is_that_of_all_pairs() -> None:
    at = windows(30, 40, 33)
    exact = linalg.toeplitz(RHO ** np.arange(at[-1] + 1.0))[np.ix_(at, at)].mean() * len(at)
    shares = pairs(at, len(at), 29) / len(at)
    near = 1.0 + 2.0 * shares[1:] @ RHO ** np.arange(1.0, 30.0)
    # Pairs more than a window apart are left out: of three steps between windows and on.
    assert abs(near - exact) < 2.0 * RHO**30 / (1.0 - RHO)
    whole = (1.0 + RHO) / (1.0 - RHO)
    assert abs(whole - exact) > 0.02 * exact  # the twin: what draws of one window would say


def measured(values: np.ndarray, at: np.ndarray) -> dict[str, np.ndarray]:
    """Ratios of errors to what is stated, values and errors of many runs of one chain."""
    rows: dict[str, list[tuple[float, float, float]]] = {}
    truths = {"mean": 0.0, "variance": 1.0, "time": (1 + RHO) / (1 - RHO), "lag": RHO**3}
    for row in values:
        run = record(row[None], at)
        found = (mean(run), variances(run), integrated_time(run), autocorrelation_at(run, [3]))
        for (name, truth), m in zip(truths.items(), found, strict=True):
            rows.setdefault(name, []).append(
                (m.value[0] - truth, m.stderr[0], m.n_effective[0] - 1.0)
            )
    return {name: np.array(row) for name, row in rows.items()}


def hits(rows: np.ndarray) -> int:
    from scipy import stats

    away, stderr, degrees = rows.T
    return int(np.count_nonzero(np.abs(away) <= stats.t.isf(0.025, degrees) * stderr))


TRIALS = 100


def test_law_intervals_of_windows_hold_the_truth(seed: int) -> None:
    at = windows()
    found = measured(series(np.random.default_rng(seed), TRIALS, at), at)
    for name, rows in found.items():
        assert covers(hits(rows), TRIALS, 0.95), (name, hits(rows))
    assert honest(found["mean"][:, 0], found["mean"][:, 1])


@pytest.mark.twin
def test_twin_draws_beside_a_gap_are_no_neighbours(seed: int) -> None:
    at = windows()
    found = measured(series(np.random.default_rng(seed), TRIALS, at), np.arange(len(at)))
    assert not covers(hits(found["lag"]), TRIALS, 0.95)


def test_law_one_lost_part_changes_no_error_but_of_its_draws(seed: int) -> None:
    at = np.r_[0:20_000, 23_000:50_000]
    x = series(np.random.default_rng(seed), 2, at)
    gapped, joined = (correlation_times(record(x, places)) for places in (at, np.arange(len(at))))
    np.testing.assert_allclose(gapped.tau, joined.tau, rtol=2e-3)
    times = integrated_time(record(x, at))
    assert abs(times.value[0] - 9.0) < sigmas() * times.stderr[0]


@pytest.mark.parametrize("chains", [1, 4, 16])
def test_a_run_with_gaps_is_examined(chains: int, seed: int) -> None:
    at = windows()
    x = series(np.random.default_rng(seed), chains, at)
    found = diagnose(record(x, at))
    assert found.ok, str(found)
    assert "100 windows" in str(found)
    assert not diagnose(record(x + 3.0 * np.exp(-at / 500.0), at)).ok


def test_refuses_windows_too_short_for_their_correlations(seed: int) -> None:
    at = windows(10, 500, 40)
    x = series(np.random.default_rng(seed), 1, at)
    with pytest.raises(RecordError, match=r"at most 10 draws without a gap .* longer windows"):
        mean(record(x, at))
    with pytest.raises(RecordError, match="lags up to 9"):
        autocovariance(record(x, at), 10)
    with pytest.raises(RecordError, match="between 1 and 9"):
        autocorrelation_at(record(x, at), [10])


@pytest.mark.parametrize("at", [2 ** np.arange(12.0), np.cumsum(np.r_[np.ones(30), 1.5, 1.0])])
def test_refuses_times_that_are_on_no_grid(at: np.ndarray) -> None:
    run = Trajectory(values=np.random.default_rng(0).normal(size=(1, len(at), 1)), times=at)
    with pytest.raises(RecordError, match="equally spaced times, or windows"):
        mean(run)

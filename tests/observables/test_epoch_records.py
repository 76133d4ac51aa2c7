"""Time averages over records of shuffled epochs: every batch written down, and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from fracsde.errors import OutOfRangeError, ShapeError, UnsupportedError
from fracsde.observables import averaging_error, ergodicity_breaking, phase_autocovariance
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion
from fracsde.stationary import stationary_covariance
from fracsde.transients import autocovariance, mean_square_displacement
from tests.observables.test_epoch_windows import EPOCHS, run_of, written_down_rows
from tests.observables.test_ergodicity import differences
from tests.support.laws import follows, seed_of
from tests.support.linear_laws import SETTINGS, sgd

U = np.array([[1.0, 0.5], [-2.0, 0.0], [0.3, 1.0]])


def scatter(run, D: np.ndarray, gap: int, u: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the mean square of ``D x`` over a record that begins at any phase."""
    rows, whole, M = written_down_rows(run, gap * D.shape[1] + run.epochs().steps)
    means, variances = [], []
    for start in range(M):
        X = rows[start : start + gap * D.shape[1] : gap]
        Y = np.einsum("st,tai->sai", D, X)
        Y = Y if u is None else np.einsum("sai,a->si", Y, u)[:, None]
        Y = Y.reshape(-1, len(whole))
        C = Y @ whole @ Y.T
        means.append(np.trace(C) / len(D))
        variances.append(2.0 * np.sum(C * C) / len(D) ** 2)
    return np.mean(means), np.mean(variances) + np.var(means)


@pytest.mark.parametrize("rule", SETTINGS)
@pytest.mark.parametrize("epochs", EPOCHS)
@pytest.mark.parametrize(("gap", "draws", "lag"), [(1, 7, 2), (3, 6, 4)])
def test_exact_scatter_is_that_of_epochs_written_down(rule, epochs, gap, draws, lag) -> None:
    run = run_of(rule, epochs)
    for directions in (None, U):
        each = [None] if directions is None else list(directions.T)
        mean, variance = np.array([scatter(run, differences(draws, lag), gap, u) for u in each]).T
        found = ergodicity_breaking(run, [lag], draws, spacing=gap, directions=directions)
        np.testing.assert_allclose(found.ravel(), variance / mean**2, rtol=1e-12)
        error = averaging_error(run, draws, lags=[lag], spacing=gap, directions=directions)
        np.testing.assert_allclose(error.ravel(), np.sqrt(variance), rtol=1e-12)
        _, variance = np.array([scatter(run, np.eye(draws), gap, u) for u in each]).T
        error = averaging_error(run, draws, spacing=gap, directions=directions)
        np.testing.assert_allclose(np.ravel(error), np.sqrt(variance), rtol=1e-12)


@pytest.mark.parametrize("rule", SETTINGS)
@pytest.mark.parametrize("epochs", EPOCHS)
def test_exact_autocovariance_from_each_phase_is_that_of_epochs_written_down(rule, epochs) -> None:
    run, lags = run_of(rule, epochs), [0, 6, 1, 3, 2]
    rows, whole, M = written_down_rows(run, 20)
    found = phase_autocovariance(run, np.arange(M + 1), lags)
    expected = np.array([[rows[p + s] @ whole @ rows[p].T for s in lags] for p in range(M)])
    np.testing.assert_allclose(found[:M], expected, rtol=0, atol=1e-14 * np.abs(expected).max())
    np.testing.assert_array_equal(found[M], found[0])
    mean = autocovariance(run, lags)
    np.testing.assert_allclose(found[:M].mean(axis=0), mean, atol=1e-14 * np.abs(mean).max())


@pytest.mark.twin
def test_autocovariance_from_a_phase_rejects_noise_that_does_not_know_the_past() -> None:
    run = run_of("plain", "equal batches")
    found = phase_autocovariance(run, [2], [0, 1])[0]
    kept = run.epochs().transition @ found[0]
    assert np.abs(found[1] - kept).max() > 0.1 * np.abs(kept).max()


@pytest.mark.twin
def test_scatter_rejects_independent_batches_and_one_phase_for_all() -> None:
    run, alone = (
        run_of("plain", "equal batches", sampling=s) for s in ("shuffled", "without_replacement")
    )
    mean, variance = scatter(run, differences(20, 1), 1, None)
    assert ergodicity_breaking(alone, [1], 20)[0] < 0.97 * variance / mean**2
    # Autocovariances averaged over phases know nothing of how phases differ.
    flat = sgd(hessian=1e-6 * np.eye(3), sampling="shuffled", **EPOCHS["equal batches"])
    _, variance = scatter(flat, np.eye(20), 1, None)
    whole = averaging_error(alone_at_a_level(flat), 20) ** 2
    assert abs(whole / variance - 1.0) > 0.05


def alone_at_a_level(run):
    """Return a map with the autocovariance of ``run`` averaged over phases, at lags 0 and 1."""
    R = autocovariance(run, [0, 1])
    T = np.linalg.solve(R[0], R[1].T).T
    return LinearRecursion(transition=T, noise=R[0] - T @ R[0] @ T.T)


def shuffled_records(
    examples: int, batch: int, curvature: float, draws: int, chains: int, name: str
) -> np.ndarray:
    """Return weights of runs on a fixed set of examples, shuffled anew in every epoch."""
    rng = np.random.default_rng(seed_of(name))
    x = ndtri((np.arange(examples) + 0.5) / examples)
    x /= x.std()
    M = examples // batch
    w, rows = np.zeros(chains), []
    settle = max(2, int(12 / (curvature * M)))
    for epoch in range(settle + -(-draws // M) + 1):
        noise = rng.permuted(np.tile(x, (chains, 1)), axis=1).reshape(chains, M, batch).mean(axis=2)
        for k in range(M):
            if epoch >= settle:
                rows.append(w.copy())
            w = w - 0.5 * (curvature * w + noise[:, k])
    begin = rng.integers(0, M, chains)[:, None] + np.arange(draws)
    return np.array(rows).T[np.arange(chains)[:, None], begin]


def one_weight(examples: int, batch: int, curvature: float):
    return sgd(
        hessian=[[curvature]],
        gradient_noise=[[1.0]],
        learning_rate=0.5,
        batch_size=batch,
        dataset_size=examples,
        sampling="shuffled",
    )


def test_law_of_time_averages_over_shuffled_data() -> None:
    # Batches of 64 are normal to 2 %, of which 3000 records see 16 %.
    run, chains, draws = one_weight(512, 64, 0.3), 3000, 30
    X = shuffled_records(512, 64, 0.3, draws, chains, "shuffled records")
    for lag in (1, 5):
        each = np.square(X[:, lag:] - X[:, :-lag]).mean(axis=1)
        error = averaging_error(run, draws, lags=[lag])[0]
        assert follows(each.mean(), mean_square_displacement(run, [lag])[0], error / chains**0.5)
        assert follows(each.var(), error**2, np.sqrt(2.5 / chains) * error**2)
    squares, error = np.square(X).mean(axis=1), averaging_error(run, draws)
    assert follows(squares.mean(), stationary_covariance(run).matrix[0, 0], error / chains**0.5)
    assert follows(squares.var(), error**2, np.sqrt(6.0 / chains) * error**2)
    # Independent batches scatter twice as far.
    assert not follows(squares.var(), 2.0 * error**2, np.sqrt(6.0 / chains) * error**2)


def test_limit_of_few_examples_in_a_batch_is_a_share_of_one_over_its_size() -> None:
    """An epoch uses every example once, so that squares of single ones do not scatter at all."""
    for batch in (1, 2, 4):
        run = one_weight(20 * batch, batch, 0.01)
        X = shuffled_records(20 * batch, batch, 0.01, 61, 4000, f"batches of {batch}")
        each = np.square(np.diff(X)).mean(axis=1)
        ratio = each.var() / each.mean() ** 2 / ergodicity_breaking(run, [1], 61)[0]
        assert ratio == pytest.approx(1.0 - 1.0 / batch, abs=0.12)


def test_limit_of_long_records_of_flat_directions_falls_with_their_length() -> None:
    run = one_weight(80, 4, 1e-9)
    found = [ergodicity_breaking(run, [5], n)[0] for n in (405, 805, 1605)]
    np.testing.assert_allclose(found[:-1] / np.array(found[1:]), 2.0, rtol=0.05)
    still = one_weight(4, 4, 1.0)  # all the data in every batch
    assert np.isnan(ergodicity_breaking(still, [1], 10)[0])
    assert averaging_error(still, 10) == 0.0


def test_refuses_what_has_no_meaning_or_no_digits() -> None:
    run = one_weight(20, 4, 0.1)
    with pytest.raises(OutOfRangeError, match="more memory than there is"):
        phase_autocovariance(run, [0], [10**9])
    with pytest.raises(OutOfRangeError, match="between 0 and the 5 steps"):
        phase_autocovariance(run, [6], [1])
    with pytest.raises(OutOfRangeError, match="of a map"):
        averaging_error(run, 10, spacing=0.5)
    with pytest.raises(ShapeError, match="`directions`"):
        averaging_error(run, 10, directions=[[1.0], [1.0]])
    with pytest.raises(OutOfRangeError, match="more memory than there is"):
        averaging_error(run, 10**8 - 1, directions=[[1.0]])
    # One example too many: flat directions spread as 1/h, and a step is lost in that.
    lost = one_weight(21, 4, 1e-13)
    with pytest.raises(UnsupportedError, match=r"fewer than six digits.*longer lags"):
        ergodicity_breaking(lost, [1], 10)

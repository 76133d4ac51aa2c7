"""Quadratic forms and ends of spectra: the bounds really bound."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.lyapunov.lanczos import inverse_bounds, largest_eigenvalue, recurrence
from fracsde.problems.products import LowRankPlusDiagonal, probed
from tests.support.large import turned
from tests.support.laws import seed_of


def bounds(A: np.ndarray, g: np.ndarray, floor: float, steps: int) -> np.ndarray:
    run = recurrence(probed("A", A), g[:, None])
    found = []
    for _ in range(steps):
        diagonal, off = next(run)
        found.append(inverse_bounds(diagonal[:, 0], off[:, 0], floor))
    return np.array(found) * (g @ g)


@pytest.mark.parametrize("seed", range(12))
def test_inverse_lies_between_its_bounds_at_every_step(seed: int) -> None:
    condition = 10.0 ** (1 + seed % 4)
    A, _ = turned(60, condition=condition, seed=seed)
    g = np.random.default_rng(100 + seed).normal(size=60)
    value = float(g @ np.linalg.solve(A, g))
    low, high = bounds(A, g, 1.0 / condition, 160).T
    assert np.all(low <= value * (1 + 1e-15))
    assert np.all(high >= value * (1 - 1e-15))
    assert high[-1] - low[-1] <= 1e-9 * value


@pytest.mark.parametrize("share", [0.9, 0.1, 1e-3])
def test_floor_may_lie_anywhere_below_the_spectrum(share: float) -> None:
    A, _ = turned(60, condition=100.0, seed=1)
    g = np.ones(60)
    value = float(g @ np.linalg.solve(A, g))
    low, high = bounds(A, g, share / 100.0, 60).T
    assert np.all((low <= value * (1 + 1e-15)) & (value * (1 - 1e-15) <= high))


@pytest.mark.twin
def test_bound_fails_with_a_floor_inside_the_spectrum() -> None:
    A, _ = turned(60, condition=100.0, seed=1)
    g = np.ones(60)
    value = float(g @ np.linalg.solve(A, g))
    assert np.any(bounds(A, g, 0.05, 60)[:, 1] < value)


def test_exact_in_an_invariant_space_and_zero_columns_stay_zero() -> None:
    A = np.diag([1.0, 2.0, 3.0, 4.0, 5.0])
    start = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    run = recurrence(probed("A", A), start)
    for _ in range(6):
        diagonal, off = next(run)
    assert off[1, 0] == 0.0
    low, high = inverse_bounds(diagonal[:, 0], off[:, 0], 0.5)
    assert low == pytest.approx(0.75, rel=1e-14)
    assert high == pytest.approx(0.75, rel=1e-14)
    assert not off[:, 1].any()


def test_columns_run_on_their_own() -> None:
    A, _ = turned(30, condition=10.0, seed=2)
    g = np.random.default_rng(3).normal(size=(30, 3))
    for j, run in enumerate([recurrence(probed("A", A), g[:, [j]]) for j in range(3)]):
        together = recurrence(probed("A", A), g)
        for _ in range(8):
            one, all_ = next(run), next(together)
        np.testing.assert_allclose(all_[0][:, j], one[0][:, 0], rtol=1e-10)


@pytest.mark.parametrize("d", [1, 2, 40, 3000])
def test_largest_eigenvalue_lies_between_ritz_value_and_bound(d: int) -> None:
    a = np.random.default_rng(seed_of(f"spectrum {d}")).uniform(size=d)
    found = largest_eigenvalue(LowRankPlusDiagonal(factor=np.zeros((d, 1)), diagonal=a), steps=40)
    assert found.largest <= a.max() * (1 + 1e-13)
    assert a.max() <= found.bound <= 1.25 * a.max()
    assert found.smallest >= a.min() * (1 - 1e-13)
    assert found.products <= min(d, 40)


@pytest.mark.twin
def test_largest_ritz_value_alone_is_no_bound() -> None:
    a = np.linspace(0.0, 1.0, 3000)
    found = largest_eigenvalue(
        LowRankPlusDiagonal(factor=np.zeros((3000, 1)), diagonal=a), steps=20
    )
    assert found.largest < 1.0 < found.bound

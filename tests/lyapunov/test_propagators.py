"""Laws over gaps compose, and equal gaps are recognised; values are tested through transients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fracsde.lyapunov.propagators import composed, distinct_gaps, gap_law, modes
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess


def random_process(seed: int, *, flow: bool, even: bool) -> OUProcess | LinearRecursion:
    rng = np.random.default_rng(seed)
    A, B = 0.4 * rng.normal(size=(2, 3, 3))
    A = 0.5 * (A + A.T) if even else A
    if flow:
        return OUProcess(drift=A, noise=B @ B.T)
    return LinearRecursion(transition=A, noise=B @ B.T)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    gaps=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    flow=st.booleans(),
    even=st.booleans(),
)
def test_routes_agree_one_gap_and_two(seed, gaps, flow, even) -> None:
    process = random_process(seed, flow=flow, even=even)
    law = gap_law(process)
    (E1, away1, G1), (E2, _, G2), (E, away, G) = law(gaps[0]), law(gaps[1]), law(sum(gaps))
    size = max(1.0, np.linalg.norm(E1) * np.linalg.norm(E2)) ** 2
    np.testing.assert_allclose(E2 @ E1, E, atol=1e-12 * size)
    np.testing.assert_allclose(E1 - np.eye(3), away1, atol=1e-12 * size)
    np.testing.assert_allclose(G2 + E2 @ G1 @ E2.T, G, atol=1e-12 * size * max(1, np.abs(G).max()))
    assert away.shape == E.shape


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 64, 100])
def test_doubling_is_repetition(steps: int, seed: int) -> None:
    process = random_process(seed, flow=False, even=False)
    T = process.transition
    E, away, G = composed((T, T - np.eye(3), process.noise), steps)
    S = np.zeros((3, 3))
    for _ in range(steps):
        S = T @ S @ T.T + process.noise
    np.testing.assert_allclose(E, np.linalg.matrix_power(T, steps), atol=1e-13)
    np.testing.assert_allclose(away, E - np.eye(3), atol=1e-14)
    np.testing.assert_allclose(G, S, atol=1e-13)


@pytest.mark.twin
def test_repetition_rejects_composition_in_the_wrong_order(seed: int) -> None:
    process = random_process(seed, flow=False, even=False)
    (E1, _, G1), (E2, _, G2) = gap_law(process)(1), gap_law(process)(3)
    assert np.abs(G1 + E2 @ G2 @ E2.T - gap_law(process)(4)[2]).max() > 1e-3
    assert np.abs(E1).max() > 0


def test_slow_and_free_modes_need_no_special_case() -> None:
    process = LinearRecursion(transition=np.diag([1.0, 1.0 - 2.0**-45, -1.0]), noise=np.eye(3))
    _, away, G = gap_law(process)(1000)
    np.testing.assert_allclose(np.diag(G), 1000.0, rtol=1e-9)
    np.testing.assert_allclose(np.diag(away), [0.0, -1000 * 2.0**-45, 0.0], rtol=1e-9)
    assert modes(process) is not None


def test_equal_spacing_is_one_gap_whatever_its_rounding() -> None:
    gaps, index = distinct_gaps(np.linspace(0.0, 1.0, 1001))
    assert len(gaps) == 1
    gaps, index = distinct_gaps(np.array([0.0, 0.1, 0.2, 0.5, 0.6]))
    np.testing.assert_allclose(gaps, [0.1, 0.3])
    assert index.tolist() == [0, 0, 1, 0]
    assert len(distinct_gaps(np.array([1.0]))[1]) == 0


def test_short_gaps_stay_apart_beside_very_long_times() -> None:
    times = np.append(0.0, np.geomspace(1e-9, 1e9, 19))
    gaps, index = distinct_gaps(times)
    np.testing.assert_array_equal(gaps[index], np.diff(times))
    # A gap that is zero only to the rounding of a late time must not swallow an early one.
    gaps, index = distinct_gaps(np.array([0.0, 1e-9, 1e9, 1e9]))
    np.testing.assert_array_equal(gaps[index], [1e-9, 1e9 - 1e-9, 0.0])

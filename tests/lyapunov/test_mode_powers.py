"""Powers of small blocks and their sums against repetition and high precision."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from fracsde.lyapunov.mode_powers import power_rows, step_count, triangle_sum

BLOCKS = np.array([[[-0.3, 0.6], [-0.3, -0.4]], [[-1.9, 0.5], [-1.9, -0.5]]])


def both(away, lags) -> tuple[np.ndarray, np.ndarray]:
    lags = np.asarray(lags, dtype=float)
    return power_rows(away, lags), power_rows(away, lags, distance=True)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 13, 64, 100, 511, 512, 5000])
def test_exact_rows_are_those_of_repeated_products(steps: int) -> None:
    kept, gone = both(BLOCKS, [0, steps])
    power = np.array([np.linalg.matrix_power(np.eye(2) + A, steps) for A in BLOCKS])
    np.testing.assert_allclose(kept[:, 1].T, power[:, 0], atol=1e-14)
    np.testing.assert_allclose(gone[:, 1].T, power[:, 0] - np.eye(2)[0], atol=1e-14)
    np.testing.assert_array_equal(gone[:, 0], 0.0)


@pytest.mark.twin
def test_rows_reject_one_step_too_few() -> None:
    kept, _ = both(BLOCKS, [12, 13])
    assert np.abs(kept[:, 0] - kept[:, 1]).max() > 1e-4


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 8, 100])
def test_exact_triangle_is_the_weighted_sum(steps: int) -> None:
    expected = sum(
        (steps - s) * np.array([np.linalg.matrix_power(np.eye(2) + A, s) for A in BLOCKS])
        for s in range(steps)
    )
    np.testing.assert_allclose(triangle_sum(BLOCKS, steps), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [10**6, 10**9, 10**12])
@pytest.mark.parametrize("pull", [1e-15, 1e-9, 1e-6])
def test_slow_modes_keep_their_digits_over_many_steps(pull: float, steps: int) -> None:
    with mpmath.workdps(60):
        p = mpmath.mpf(pull)
        power = mpmath.exp(steps * mpmath.log1p(-p))
        lost = float(power - 1)
        mean = float((steps - (1 - power) / p * (1 - p)) / p / steps**2)
        power = float(power)
    away = np.array([[[-pull]]])
    kept, gone = both(away, [steps])
    assert gone[0, 0, 0] == pytest.approx(lost, rel=1e-14)
    if power > 1e-300:
        # A power that is nearly gone is an exponential of a large number.
        assert kept[0, 0, 0] == pytest.approx(power, rel=1e-13 + 1e-15 * pull * steps)
    assert triangle_sum(away, steps)[0, 0, 0] / steps**2 == pytest.approx(mean, rel=1e-13)


@pytest.mark.twin
def test_digits_reject_the_power_of_the_rounded_step() -> None:
    with mpmath.workdps(60):
        exact = float(mpmath.exp(10**12 * mpmath.log1p(-mpmath.mpf(1e-12))))
    assert abs((1.0 - 1e-12) ** 10**12 / exact - 1.0) > 1e-6
    kept, _ = both(np.array([[[-1e-12]]]), [10**12])
    assert kept[0, 0, 0] == pytest.approx(exact, rel=1e-13)


def test_steps_beyond_counting_are_as_good_as_for_ever() -> None:
    assert step_count(1e300) == 2**62
    kept, gone = both(BLOCKS, [1e300])
    assert np.all(kept == 0.0)
    np.testing.assert_allclose(gone[0, 0], -1.0, rtol=1e-15)

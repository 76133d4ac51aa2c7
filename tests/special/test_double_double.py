"""Constants as sums of two floats, to the last bit of the second."""

import mpmath
import numpy as np
import pytest

from fracsde.special._double_double import (
    EXPONENTIALS,
    INVERSE_FACTORIALS,
    LOG2_STEP,
    TURN_STEP,
    TURNS,
)

DIGITS = 60


def off(pairs, expected):
    """Largest distance of ``high + low``, relative to the largest value."""
    pairs = np.atleast_2d(pairs)
    with mpmath.workdps(DIGITS):
        values = [mpmath.mpf(high) + mpmath.mpf(low) for high, low in pairs]
        apart = max(abs(v - e) for v, e in zip(values, expected, strict=True))
        return float(apart / max(abs(e) for e in expected))


def circle(part):
    with mpmath.workdps(DIGITS):
        return [part(2 * mpmath.pi * j / 512) for j in range(len(TURNS))]


def constants():
    with mpmath.workdps(DIGITS):
        return [
            (EXPONENTIALS, [mpmath.mpf(2) ** (mpmath.mpf(j) / 64) for j in range(64)]),
            (INVERSE_FACTORIALS, [1 / mpmath.factorial(k) for k in range(16)]),
            (LOG2_STEP, [mpmath.log(2) / 64]),
            (TURN_STEP, [2 * mpmath.pi / 512]),
            (np.asarray(TURNS)[:, :2], circle(mpmath.cos)),
            (np.asarray(TURNS)[:, 2:], circle(mpmath.sin)),
        ]


@pytest.mark.parametrize("which", range(6))
def test_exact_constants_to_thirty_two_digits(which):
    pairs, expected = constants()[which]
    assert off(pairs, expected) < 2.0**-105


@pytest.mark.twin
def test_exact_constants_reject_single_floats():
    pairs, expected = constants()[0]
    assert not off(np.asarray(pairs) * [1.0, 0.0], expected) < 2.0**-105

r"""Constants to thirty-two digits, as sums of two floats.

.. math::
    2^{j/64}, \qquad \cos\frac{2\pi j}{512}, \qquad \sin\frac{2\pi j}{512}, \qquad
    \ln 2 / 64, \qquad 2\pi / 512, \qquad 1 / k!

each as ``high + low``, where ``high`` is the nearest float and ``low`` the nearest float to what
is left.  They serve the exponential and the logarithm of :mod:`fracsde.special._ml_poles`.
Everything is computed in whole numbers with 200 binary places, so the last bit of ``low`` is
right; ``tests/special/test_double_double.py`` compares with high precision.

Not here: arithmetic.
"""

from __future__ import annotations

from math import factorial, isqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["EXPONENTIALS", "INVERSE_FACTORIALS", "LOG2_STEP", "TURNS", "TURN_STEP"]

_PLACES = 200
_ONE = 1 << _PLACES
_EXPONENTIALS, _TURNS = 64, 512


def _pair(value: int) -> tuple[float, float]:
    # Split a whole number of units 2**-200 into the nearest float and the rest.
    high = value / _ONE  # correctly rounded: division of Python ints is
    top, bottom = high.as_integer_ratio()
    return high, (value - top * _ONE // bottom) / _ONE


def _series(x: int, first: int, step: int, sign: int) -> int:
    # Sum `sign^k x^{first + step k} / (first + step k)!` in fixed point.
    term = _ONE if first == 0 else x
    total, k = term, first
    while term:
        for _ in range(step):
            k += 1
            term = term * x // (k * _ONE)
        term *= sign
        total += term
        if abs(term) < 2:
            break
    return total


def _arctan_inverse(n: int) -> int:
    # Evaluate ``arctan(1 / n)``.
    term, total, k = _ONE // n, 0, 1
    while abs(term) > 1:  # rounding is to the left, of -1 to -1
        total += term // k
        term, k = -term // (n * n), k + 2
    return total


def _log2() -> int:
    # Evaluate ``log 2 = 2 artanh(1 / 3)``.
    term, total, k = 2 * _ONE // 3, 0, 1
    while term:
        total += term // k
        term, k = term // 9, k + 2
    return total


def _powers_of_two() -> FloatArray:
    # Tabulate `2^{j/64}` by six square roots and products.
    step = 2 * _ONE
    for _ in range(6):
        step = isqrt(step * _ONE)
    values, value = [], _ONE
    for _ in range(_EXPONENTIALS):
        values.append(_pair(value))
        value = value * step // _ONE
    return np.array(values)


def _circle(pi: int) -> FloatArray:
    # Tabulate cosine and sine of 512 equal steps of one turn, from those of the first octant.
    rows = []
    for j in range(_TURNS):
        octant, k = divmod(j, _TURNS // 8)
        x = 2 * pi * (k if octant % 2 == 0 else _TURNS // 8 - k) // _TURNS
        c, s = _series(x, 0, 2, -1), _series(x, 1, 2, -1)
        if octant % 2:  # mirrored at the diagonal
            c, s = s, c
        for _ in range(octant // 2):  # quarter turns
            c, s = -s, c
        rows.append((*_pair(c), *_pair(s)))
    return np.array(rows)


_PI = 16 * _arctan_inverse(5) - 4 * _arctan_inverse(239)

EXPONENTIALS = _powers_of_two()
TURNS = _circle(_PI)
LOG2_STEP = _pair(_log2() // _EXPONENTIALS)
TURN_STEP = _pair(2 * _PI // _TURNS)
INVERSE_FACTORIALS = np.array([_pair(_ONE // factorial(k)) for k in range(16)])

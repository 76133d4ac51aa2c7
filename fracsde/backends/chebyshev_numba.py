"""Compiled Chebyshev polynomials of a matrix with few diagonals.

The twin of :mod:`fracsde.backends.chebyshev_reference`, which defines what is right.  A chunk of
entries is finished before the next is begun, so that memory is read once per step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde._compiled import njit

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray

__all__ = ["chebyshev_rows"]

_CHUNK = 1024


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def chebyshev_rows(
    twice: FloatArray,
    offsets: IntArray,
    before: FloatArray,
    now: FloatArray,
    inverse: FloatArray,
    rows: FloatArray,
    peaks: FloatArray,
) -> None:
    """Fill in the next polynomials, see the reference."""
    n = len(inverse)
    pad = (len(now) - n) // 2
    held = np.empty(_CHUNK)
    for r in range(len(rows)):
        # The two vectors change places at every step.
        old, new = (before, now) if r % 2 == 0 else (now, before)
        peak = 0.0
        for begin in range(0, n, _CHUNK):
            size = min(_CHUNK, n - begin)
            for i in range(size):
                value = new[pad + begin + i]
                rows[r, begin + i] = value
                peak = max(peak, abs(value * inverse[begin + i]))
                held[i] = -old[pad + begin + i]
            for k in range(len(offsets)):
                at = pad + begin + offsets[k]
                for i in range(size):
                    held[i] += twice[k, begin + i] * new[at + i]
            for i in range(size):
                old[pad + begin + i] = held[i]
        peaks[r] = peak
    if len(rows) % 2 == 1:
        for i in range(len(now)):
            before[i], now[i] = now[i], before[i]

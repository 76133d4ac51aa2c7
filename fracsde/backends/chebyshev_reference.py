r"""Chebyshev polynomials of a matrix with few diagonals: the definition of correct.

For :math:`M` with coefficients :math:`a_{k,i}` on diagonals with offsets :math:`o_k`,

.. math::
    T_{j+1} v = 2 M\, T_j v - T_{j-1} v, \qquad (M v)_i = \sum_k a_{k,i}\, v_{i + o_k} .

The compiled twin is :mod:`fracsde.backends.chebyshev_numba`;
``tests/backends/test_chebyshev.py`` holds the two together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray

__all__ = ["chebyshev_rows"]


def chebyshev_rows(
    twice: FloatArray,
    offsets: IntArray,
    before: FloatArray,
    now: FloatArray,
    inverse: FloatArray,
    rows: FloatArray,
    peaks: FloatArray,
) -> None:
    """Fill in the next polynomials, ``rows[0]`` being the present one.

    Parameters
    ----------
    twice : (m, n) float64 [1]
        Coefficients of ``2 M``.
    offsets : (m,) int64
        Of the diagonals.
    before, now : (n + 2 pad,) float64 [1]
        The last two vectors between ``pad`` zeros, ``pad`` no less than the largest offset;
        moved on by as many steps as there are rows.
    inverse : (n,) float64 [1/x^d]
        Factors of the entries in ``peaks``.
    rows : (r, n) float64 [1]
        Written.
    peaks : (r,) float64 [1/x^d]
        Written: the largest entry of each row times its factor, in size.
    """
    n = len(inverse)
    pad = (len(now) - n) // 2
    inside = slice(pad, pad + n)
    for r in range(len(rows)):
        rows[r] = now[inside]
        peaks[r] = np.abs(rows[r] * inverse).max()
        following = -before[inside]
        for coefficient, offset in zip(twice, offsets, strict=True):
            following += coefficient * now[pad + offset : pad + offset + n]
        before[:] = now
        now[inside] = following

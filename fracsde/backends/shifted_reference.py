r"""Shifted chains with complex shifts: the definition of correct, written to be read.

For many shifts :math:`\sigma_k` and one right-hand side,

.. math::
    (\sigma_k I - L)\, x_k = b, \qquad k = 1, \dots, K,

with ``L`` a chain of cells in a row or a ring (:mod:`fracsde.operators.chain`).  The elimination
is that of :mod:`fracsde.backends.marching_reference`: in place of a pivot it carries ``for_good``,
the pivot less the rate of going on,

.. math::
    g_0 = \sigma + \mathrm{loss}_0, \qquad
    g_{i+1} = \sigma + \mathrm{loss}_{i+1}
            + \mathrm{left}_{i+1}\,\frac{g_i}{\mathrm{right}_i + g_i} .

**Why no pivoting is needed.**  Let :math:`|\arg\sigma| = \varphi < \pi`.  If :math:`g_i` lies in
the sector between the positive axis and the direction of :math:`\sigma`, then so do
:math:`r + g_i` and :math:`g_i / (r + g_i) = 1 / (1 + r / g_i)` for every :math:`r \ge 0`, and so
does :math:`g_{i+1}`.  A sum of numbers of that sector is at least :math:`\cos(\varphi / 2)` times
the sum of their sizes.  So no pivot vanishes, and each sum loses at most that factor, for any
ratio of rates: a barrier that makes some rates :math:`10^{17}` times smaller than others costs no
digits.  With the pivots themselves, as in Gaussian elimination, small shifts drown in large rates.

The compiled twins are :mod:`fracsde.backends.shifted_numba` and, for right-hand sides of their own,
:mod:`fracsde.backends.shifted_each_numba`; ``tests/backends/test_shifted.py``
holds the two together, and holds both against high precision.

Not here: which shifts (:mod:`fracsde.schemes.forms`).

Reference: [GrassmannTaksarHeyman1985]_ for real shifts.
"""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from fracsde._typing import FloatArray, IntArray

__all__ = ["solve_shifts", "sum_shifts"]


def solve_shifts(
    shifts: npt.NDArray[np.complex128],
    right: FloatArray,
    left: FloatArray,
    loss: FloatArray,
    rhs: FloatArray | npt.NDArray[np.complex128],
    scale: FloatArray,
    *,
    threads: bool = False,
) -> tuple[FloatArray, FloatArray]:
    """Solve with every shift, scale the solutions, and measure them.

    Parameters
    ----------
    shifts : (K,) complex128 [1/t]
        Not zero, not negative.
    right, left, loss : (n,) float64 [1/t]
        Rates of the chain, ``n >= 3``; ``right[-1]`` and ``left[0]`` close a ring.
    rhs : (n,) float64 or (n, K) complex128
        Right-hand side, the same for all or one for each; the compiled twin of the second kind is
        :mod:`fracsde.backends.shifted_each_numba`.
    scale : (n,) float64
        Multiplies the entries of every solution on return.
    threads : bool
        Not used here: one core.

    Returns
    -------
    solutions : (n, 2, K) ndarray of float64
        Real and imaginary parts, scaled: cells first, so that a combination of all solutions is
        one matrix product with the array seen as ``(n, 2 K)``.
    measures : (3, K) ndarray of float64
        Sums over the cells of the real and the imaginary part *before* scaling, and the largest
        size *after* it, in the norm that adds the parts.
    """
    n, last = len(rhs), len(rhs) - 1
    inverse = np.zeros((n, len(shifts)), dtype=np.complex128)
    border, solution = np.zeros_like(inverse), np.zeros_like(inverse)
    to_last = np.full(len(shifts), left[0], dtype=np.complex128)  # round the ring; zero in a row
    from_last = np.full(len(shifts), right[last], dtype=np.complex128)
    for_good = shifts + loss[0]
    lost_by_last = shifts + loss[last]
    flowing = np.full(len(shifts), rhs[0], dtype=np.complex128)
    gathered = np.full(len(shifts), rhs[last], dtype=np.complex128)
    for i in range(last):
        onward = right[i]
        if i == last - 1:  # the next cell is the last one: both ways lead there
            from_last = from_last + left[last]
            to_last, onward = to_last + right[i], 0.0
        inverse[i] = 1.0 / (onward + to_last + for_good)
        border[i] = from_last * inverse[i]
        solution[i] = flowing * inverse[i]
        dying = for_good * inverse[i]
        gathered = gathered + to_last * solution[i]
        lost_by_last = lost_by_last + from_last * dying
        flowing = rhs[i + 1] + onward * solution[i]
        from_last = from_last * (onward * inverse[i])
        for_good = shifts + loss[i + 1] + left[i + 1] * dying
        to_last = left[i + 1] * (to_last * inverse[i])
    solution[last] = gathered / lost_by_last
    for i in range(last - 1, -1, -1):
        solution[i] += border[i] * solution[last]
        if i < last - 1:
            solution[i] += left[i + 1] * inverse[i] * solution[i + 1]
    parts = np.stack([solution.real, solution.imag], axis=1)
    sums = np.array([[fsum(each) for each in part.T] for part in parts.transpose(1, 0, 2)])
    parts *= scale[:, None, None]
    peaks = np.abs(parts).sum(axis=1).max(axis=0)
    return parts, np.concatenate([sums.reshape(2, -1), peaks[None]])


def sum_shifts(
    shifts: npt.NDArray[np.complex128],
    weights: npt.NDArray[np.complex128],
    rows: IntArray,
    count: int,
    right: FloatArray,
    left: FloatArray,
    loss: FloatArray,
    rhs: FloatArray,
    scale: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    r"""Return sums :math:`\operatorname{Re} \sum_k w_k x_k` of the scaled solutions, for a row.

    Parameters
    ----------
    shifts : (K,) complex128 [1/t]
        Not zero, not negative.
    weights : (K,) complex128
        The numbers :math:`w_k`.
    rows : (K,) intp
        To which sum each solution belongs, from 0.
    count : int
        How many sums.
    right, left, loss, rhs, scale
        As for :func:`solve_shifts`; not closed to a ring: ``right[-1] = left[0] = 0``.

    Returns
    -------
    sums : (n, count) ndarray of float64
        Zero for sums that nothing belongs to.
    peaks : (K,) ndarray of float64
        The largest size of each scaled solution, without its weight, in the norm that adds the
        parts.
    """
    solutions, measures = solve_shifts(shifts, right, left, loss, rhs, scale)
    terms = solutions[:, 0] * weights.real - solutions[:, 1] * weights.imag
    sums = [terms[:, rows == row].sum(axis=1) for row in range(count)]
    return np.stack(sums, axis=1), measures[2]

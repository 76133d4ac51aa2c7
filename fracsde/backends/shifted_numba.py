r"""Shifted chains with complex shifts, compiled: many shifts side by side.

The equation, the elimination and the reason why it needs no pivots are in
:mod:`fracsde.backends.shifted_reference`, which also says what the names mean.

The recurrence over the cells is sequential, so shifts are the lanes: a block of 24 is carried
through the cells together, real and imaginary parts apart, and division is one real reciprocal
of :math:`|d|^2`.  The scratch of a block is one flat array with all quantities of a cell side by
side, at distances that are constants: so the compiler can see that nothing overlaps, and
vectorises without asking at run time.  Short blocks are filled up with copies of their last shift.
``benchmarks/bench_propagator.py`` times it: 2 to 3 ns per cell and shift, twice that in a ring.

Where only weighted sums of the solutions are wanted, as for a few times, 36 lanes, nine shifts for
each of four times, are eliminated together and added up on the way back, so that no solution is
ever written.  Rings, and all cores, have no such short cut.

Blocks run on all cores where ``threads`` is set.  The elimination may contract into fused
multiply-adds: that only removes roundings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import prange

from fracsde._compiled import njit

if TYPE_CHECKING:
    import numpy.typing as npt

    from fracsde._typing import FloatArray, IntArray

__all__ = ["solve_shifts", "sum_shifts"]

_B = 24  # lanes: all scratch of 512 cells stays in the second cache
# Places of a cell's quantities in the scratch of a row: right-hand side, later solution; the rate
# of going for good, later the inverse pivot; the shift.
_RE, _IM, _GOOD_RE, _GOOD_IM, _SHIFT_RE, _SHIFT_IM = (k * _B for k in range(6))
_ROW = 6 * _B
_NEXT_RE, _NEXT_IM, _NEXT_GOOD_RE, _NEXT_GOOD_IM, _NEXT_SHIFT_RE, _NEXT_SHIFT_IM = (
    _ROW + k * _B for k in range(6)
)
# And of a ring: besides, the rates to and from the last cell, and what has gathered there.
_TO_RE, _TO_IM, _FRO_RE, _FRO_IM, _LOST_RE, _LOST_IM, _GOT_RE, _GOT_IM = (
    k * _B for k in range(6, 14)
)
_RING = 14 * _B
_RING_RE, _RING_IM, _RING_GOOD_RE, _RING_GOOD_IM, _RING_SHIFT_RE, _RING_SHIFT_IM = (
    _RING + k * _B for k in range(6)
)
_RING_TO_RE, _RING_TO_IM, _RING_FRO_RE, _RING_FRO_IM = (_RING + k * _B for k in range(6, 10))
_RING_LOST_RE, _RING_LOST_IM, _RING_GOT_RE, _RING_GOT_IM = (_RING + k * _B for k in range(10, 14))

# Sums of solutions: lanes, and places of a cell's quantities in their scratch; the inverse pivots
# make room for the terms of the sums.  And of what is carried along.
_S = 36
_U, _V, _P, _Q = (k * _S for k in range(4))
_SUMMED = 4 * _S
_NEXT_U, _NEXT_V, _NEXT_P, _NEXT_Q = (_SUMMED + k * _S for k in range(4))
_AT_RE, _AT_IM, _PART_RE, _PART_IM, _PEAK = (k * _S for k in range(5))


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _row(re, im, right, left, loss, rhs, work):  # type: ignore[no-untyped-def]  # compiled
    # Tridiagonal: a chain in a row.  Solutions are left in the first two places of each cell.
    n = len(rhs)
    w = work[:_ROW]
    for k in range(_B):
        w[_RE + k] = rhs[0]
        w[_IM + k] = 0.0
        w[_GOOD_RE + k] = re[k] + loss[0]
        w[_GOOD_IM + k] = im[k]
        w[_SHIFT_RE + k] = re[k]
        w[_SHIFT_IM + k] = im[k]
    for i in range(n - 1):
        onward, back, gone, b = right[i], left[i + 1], loss[i + 1], rhs[i + 1]
        w = work[i * _ROW : (i + 2) * _ROW]
        for k in range(_B):
            good_re = w[_GOOD_RE + k]
            good_im = w[_GOOD_IM + k]
            p = good_re + onward
            size = 1.0 / (p * p + good_im * good_im)
            p = p * size
            q = -good_im * size
            w[_GOOD_RE + k] = p
            w[_GOOD_IM + k] = q
            u = w[_RE + k]
            v = w[_IM + k]
            x = u * p - v * q
            y = u * q + v * p
            w[_RE + k] = x
            w[_IM + k] = y
            shift_re = w[_SHIFT_RE + k]
            shift_im = w[_SHIFT_IM + k]
            w[_NEXT_RE + k] = b + onward * x
            w[_NEXT_IM + k] = onward * y
            w[_NEXT_GOOD_RE + k] = shift_re + gone + back * (good_re * p - good_im * q)
            w[_NEXT_GOOD_IM + k] = shift_im + back * (good_re * q + good_im * p)
            w[_NEXT_SHIFT_RE + k] = shift_re
            w[_NEXT_SHIFT_IM + k] = shift_im
    w = work[(n - 1) * _ROW : n * _ROW]
    for k in range(_B):
        p = w[_GOOD_RE + k]
        q = w[_GOOD_IM + k]
        size = 1.0 / (p * p + q * q)
        u = w[_RE + k]
        v = w[_IM + k]
        w[_RE + k] = (u * p + v * q) * size
        w[_IM + k] = (v * p - u * q) * size
    for i in range(n - 2, -1, -1):
        back = left[i + 1]
        w = work[i * _ROW : (i + 2) * _ROW]
        for k in range(_B):
            x = back * w[_NEXT_RE + k]
            y = back * w[_NEXT_IM + k]
            p = w[_GOOD_RE + k]
            q = w[_GOOD_IM + k]
            w[_RE + k] += p * x - q * y
            w[_IM + k] += p * y + q * x


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _ring(re, im, right, left, loss, rhs, work):  # type: ignore[no-untyped-def]  # compiled
    # A closed chain: the last cell is eliminated last, and borders all others.
    last = len(rhs) - 1
    w = work[:_RING]
    for k in range(_B):
        w[_RE + k] = rhs[0]
        w[_IM + k] = 0.0
        w[_GOOD_RE + k] = re[k] + loss[0]
        w[_GOOD_IM + k] = im[k]
        w[_SHIFT_RE + k] = re[k]
        w[_SHIFT_IM + k] = im[k]
        w[_TO_RE + k] = left[0]
        w[_TO_IM + k] = 0.0
        w[_FRO_RE + k] = right[last]
        w[_FRO_IM + k] = 0.0
        w[_LOST_RE + k] = re[k] + loss[last]
        w[_LOST_IM + k] = im[k]
        w[_GOT_RE + k] = rhs[last]
        w[_GOT_IM + k] = 0.0
    for i in range(last):
        onward, back, gone, b = right[i], left[i + 1], loss[i + 1], rhs[i + 1]
        w = work[i * _RING : (i + 2) * _RING]
        if i == last - 1:  # the next cell is the last one: both ways lead there
            for k in range(_B):
                w[_FRO_RE + k] += back
                w[_TO_RE + k] += onward
            onward = 0.0
        for k in range(_B):
            good_re = w[_GOOD_RE + k]
            good_im = w[_GOOD_IM + k]
            to_re = w[_TO_RE + k]
            to_im = w[_TO_IM + k]
            p = onward + to_re + good_re
            q = to_im + good_im
            size = 1.0 / (p * p + q * q)
            p = p * size
            q = -q * size
            w[_GOOD_RE + k] = p
            w[_GOOD_IM + k] = q
            fro_re = w[_FRO_RE + k] * p - w[_FRO_IM + k] * q
            fro_im = w[_FRO_RE + k] * q + w[_FRO_IM + k] * p
            w[_FRO_RE + k] = fro_re
            w[_FRO_IM + k] = fro_im
            u = w[_RE + k]
            v = w[_IM + k]
            x = u * p - v * q
            y = u * q + v * p
            w[_RE + k] = x
            w[_IM + k] = y
            shift_re = w[_SHIFT_RE + k]
            shift_im = w[_SHIFT_IM + k]
            w[_RING_RE + k] = b + onward * x
            w[_RING_IM + k] = onward * y
            w[_RING_GOOD_RE + k] = shift_re + gone + back * (good_re * p - good_im * q)
            w[_RING_GOOD_IM + k] = shift_im + back * (good_re * q + good_im * p)
            w[_RING_SHIFT_RE + k] = shift_re
            w[_RING_SHIFT_IM + k] = shift_im
            w[_RING_TO_RE + k] = back * (to_re * p - to_im * q)
            w[_RING_TO_IM + k] = back * (to_re * q + to_im * p)
            w[_RING_FRO_RE + k] = onward * fro_re
            w[_RING_FRO_IM + k] = onward * fro_im
            w[_RING_LOST_RE + k] = w[_LOST_RE + k] + (fro_re * good_re - fro_im * good_im)
            w[_RING_LOST_IM + k] = w[_LOST_IM + k] + (fro_re * good_im + fro_im * good_re)
            w[_RING_GOT_RE + k] = w[_GOT_RE + k] + (to_re * x - to_im * y)
            w[_RING_GOT_IM + k] = w[_GOT_IM + k] + (to_re * y + to_im * x)
    w = work[last * _RING : (last + 1) * _RING]
    for k in range(_B):
        p = w[_LOST_RE + k]
        q = w[_LOST_IM + k]
        size = 1.0 / (p * p + q * q)
        u = w[_GOT_RE + k]
        v = w[_GOT_IM + k]
        w[_RE + k] = (u * p + v * q) * size
        w[_IM + k] = (v * p - u * q) * size
        w[_GOT_RE + k] = w[_RE + k]
        w[_GOT_IM + k] = w[_IM + k]
    for i in range(last - 1, -1, -1):
        back = left[i + 1] if i < last - 1 else 0.0
        w = work[i * _RING : (i + 2) * _RING]
        for k in range(_B):
            x = back * w[_RING_RE + k]
            y = back * w[_RING_IM + k]
            p = w[_GOOD_RE + k]
            q = w[_GOOD_IM + k]
            u = w[_FRO_RE + k]
            v = w[_FRO_IM + k]
            end_re = w[_RING_GOT_RE + k]
            end_im = w[_RING_GOT_IM + k]
            w[_RE + k] += p * x - q * y + (u * end_re - v * end_im)
            w[_IM + k] += p * y + q * x + (u * end_im + v * end_re)
            w[_GOT_RE + k] = end_re
            w[_GOT_IM + k] = end_im


@njit(cache=True, error_model="numpy")
def _hand_over(work, stride, scale, first, width, out, sums):  # type: ignore[no-untyped-def]  # compiled
    # Copy a block's solutions, scaled, and measure them; sums are compensated.
    kept = np.zeros(5 * _B)  # sums, their compensations, peaks
    for i in range(len(scale)):
        factor = scale[i]
        w = work[i * stride : i * stride + 2 * _B]
        for k in range(_B):
            u = w[_RE + k]
            v = w[_IM + k]
            x = u - kept[2 * _B + k]
            y = v - kept[3 * _B + k]
            r = kept[k] + x
            s = kept[_B + k] + y
            kept[2 * _B + k] = (r - kept[k]) - x
            kept[3 * _B + k] = (s - kept[_B + k]) - y
            kept[k] = r
            kept[_B + k] = s
            u = u * factor
            v = v * factor
            peak = abs(u) + abs(v)
            kept[4 * _B + k] = peak if peak > kept[4 * _B + k] else kept[4 * _B + k]
            w[_RE + k] = u
            w[_IM + k] = v
        re = out[i, 0, first : first + width]
        im = out[i, 1, first : first + width]
        for k in range(width):
            re[k] = w[_RE + k]
        for k in range(width):
            im[k] = w[_IM + k]
    for k in range(width):
        sums[0, first + k] = kept[k]
        sums[1, first + k] = kept[_B + k]
        sums[2, first + k] = kept[4 * _B + k]


@njit(cache=True, error_model="numpy")
def _block(first, shifts, right, left, loss, rhs, scale, out, sums):  # type: ignore[no-untyped-def]  # compiled
    width = min(_B, len(shifts) - first)
    re, im = np.empty(_B), np.empty(_B)
    for k in range(_B):
        shift = shifts[first + min(k, width - 1)]
        re[k], im[k] = shift.real, shift.imag
    if right[-1] == 0.0 and left[0] == 0.0:
        work = np.empty(len(rhs) * _ROW)
        _row(re, im, right, left, loss, rhs, work)
        _hand_over(work, _ROW, scale, first, width, out, sums)
    else:
        work = np.empty(len(rhs) * _RING)
        _ring(re, im, right, left, loss, rhs, work)
        _hand_over(work, _RING, scale, first, width, out, sums)


@njit(cache=True, error_model="numpy")
def _one_core(shifts, right, left, loss, rhs, scale, out, sums):  # type: ignore[no-untyped-def]  # compiled
    for first in range(0, len(shifts), _B):
        _block(first, shifts, right, left, loss, rhs, scale, out, sums)


@njit(cache=True, error_model="numpy", parallel=True)
def _all_cores(shifts, right, left, loss, rhs, scale, out, sums):  # type: ignore[no-untyped-def]  # compiled
    for block in prange((len(shifts) + _B - 1) // _B):
        _block(block * _B, shifts, right, left, loss, rhs, scale, out, sums)


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _eliminate(c, right, left, loss, rhs, work):  # type: ignore[no-untyped-def]  # compiled
    # As `_row`, with shifts kept apart and less scratch.
    last = len(rhs) - 1
    w = work[:_SUMMED]
    for k in range(_S):
        w[_U + k], w[_V + k] = rhs[0], 0.0
        w[_P + k], w[_Q + k] = c[_AT_RE + k] + loss[0], c[_AT_IM + k]
    for i in range(last):
        onward, back, gone, b = right[i], left[i + 1], loss[i + 1], rhs[i + 1]
        w = work[i * _SUMMED : (i + 2) * _SUMMED]
        for k in range(_S):
            good_re, good_im = w[_P + k], w[_Q + k]
            p = good_re + onward
            size = 1.0 / (p * p + good_im * good_im)
            p, q = p * size, -good_im * size
            u, v = w[_U + k], w[_V + k]
            x, y = u * p - v * q, u * q + v * p
            w[_P + k], w[_Q + k], w[_U + k], w[_V + k] = p, q, x, y
            w[_NEXT_U + k] = b + onward * x
            w[_NEXT_V + k] = onward * y
            w[_NEXT_P + k] = c[_AT_RE + k] + gone + back * (good_re * p - good_im * q)
            w[_NEXT_Q + k] = c[_AT_IM + k] + back * (good_re * q + good_im * p)
    # From the last cell nothing goes on.  What stands for a cell after it is finite, but unused.
    w = work[last * _SUMMED : (last + 2) * _SUMMED]
    for k in range(_S):
        p, q = w[_P + k], w[_Q + k]
        size = 1.0 / (p * p + q * q)
        u, v = w[_U + k], w[_V + k]
        w[_U + k] = (u * p + v * q) * size
        w[_V + k] = (v * p - u * q) * size
        w[_NEXT_U + k], w[_NEXT_V + k] = 0.0, 0.0


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _add_up(c, left, scale, rows, work, out):  # type: ignore[no-untyped-def]  # compiled
    # Substitute backwards; measure solutions, and add their weighted parts to the rows.
    last = len(scale) - 1
    for i in range(last, -1, -1):
        back = left[i + 1] if i < last else 0.0
        factor = scale[i]
        w = work[i * _SUMMED : (i + 2) * _SUMMED]
        for k in range(_S):
            x = back * w[_NEXT_U + k]
            y = back * w[_NEXT_V + k]
            p, q = w[_P + k], w[_Q + k]
            u = w[_U + k] + (p * x - q * y)
            v = w[_V + k] + (p * y + q * x)
            w[_U + k], w[_V + k] = u, v
            peak = (abs(u) + abs(v)) * factor
            w[_P + k] = (u * c[_PART_RE + k] - v * c[_PART_IM + k]) * factor
            c[_PEAK + k] = peak if peak > c[_PEAK + k] else c[_PEAK + k]
        sums = out[i]
        for k in range(len(rows)):
            sums[rows[k]] += w[_P + k]


@njit(cache=True, error_model="numpy")
def _sum(shifts, weights, rows, right, left, loss, rhs, scale, out, peaks):  # type: ignore[no-untyped-def]  # compiled
    c, work = np.empty(5 * _S), np.empty((len(rhs) + 1) * _SUMMED)
    for first in range(0, len(shifts), _S):
        width = min(_S, len(shifts) - first)
        for k in range(_S):  # short blocks are filled up with their last shift, of no weight
            shift = shifts[first + min(k, width - 1)]
            weight = weights[first + k] if k < width else 0.0j
            c[_AT_RE + k], c[_AT_IM + k] = shift.real, shift.imag
            c[_PART_RE + k], c[_PART_IM + k] = weight.real, weight.imag
            c[_PEAK + k] = 0.0
        _eliminate(c, right, left, loss, rhs, work)
        _add_up(c, left, scale, rows[first : first + width], work, out)
        for k in range(width):
            peaks[first + k] = c[_PEAK + k]


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
    """Solve with every shift of a row and add up; see ``shifted_reference.sum_shifts``.

    Returns
    -------
    (n, count) ndarray of float64, (K,) ndarray of float64
    """
    out, peaks = np.zeros((len(rhs), count)), np.empty(len(shifts))
    # Indices without a sign need no look whether they count from the end.
    _sum(shifts, weights, rows.view(np.uintp), right, left, loss, rhs, scale, out, peaks)
    return out, peaks


def solve_shifts(
    shifts: npt.NDArray[np.complex128],
    right: FloatArray,
    left: FloatArray,
    loss: FloatArray,
    rhs: FloatArray,
    scale: FloatArray,
    *,
    threads: bool = False,
) -> tuple[FloatArray, FloatArray]:
    """Solve with every shift; see ``shifted_reference.solve_shifts``.

    Returns
    -------
    (n, 2, K) ndarray of float64, (3, K) ndarray of float64
    """
    out, sums = np.empty((len(rhs), 2, len(shifts))), np.empty((3, len(shifts)))
    kernel = _all_cores if threads and len(shifts) > _B else _one_core
    kernel(shifts, right, left, loss, rhs, scale, out, sums)
    return out, sums

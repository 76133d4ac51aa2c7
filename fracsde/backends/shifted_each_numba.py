r"""Shifted chains with complex shifts and a right-hand side for each, compiled.

For many shifts :math:`\sigma_k` and as many right-hand sides,

.. math::
    (\sigma_k I - L)\, x_k = b_k, \qquad k = 1, \dots, K .

The elimination, the reason why it needs no pivots and the names are those of
:mod:`fracsde.backends.shifted_reference`.  As in :mod:`fracsde.backends.shifted_numba` shifts are
the lanes: a block of them is carried through the cells together, with all quantities of a cell
side by side at constant distances.  A row is treated as a ring whose ends are not joined.  Right-
hand sides are copied into the scratch of a block and solutions out of it, so that the cells of one
shift, far apart in the caller's array, are touched twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde._compiled import njit

if TYPE_CHECKING:
    import numpy.typing as npt

    from fracsde._typing import FloatArray

__all__ = ["solve_each"]

_B = 24  # lanes
# Places of a cell's quantities: right-hand side, later solution; inverse pivot; border.
_RE, _IM, _INV_RE, _INV_IM, _RIM_RE, _RIM_IM = (k * _B for k in range(6))
_CELL = 6 * _B
_NEXT_RE, _NEXT_IM = _CELL + _RE, _CELL + _IM
# And of what is carried along: the shift, the rate of going for good, the rates to and from the
# last cell, what is lost there, and what has gathered there.
_SHIFT_RE, _SHIFT_IM, _GOOD_RE, _GOOD_IM, _TO_RE, _TO_IM = (k * _B for k in range(6))
_FRO_RE, _FRO_IM, _LOST_RE, _LOST_IM, _GOT_RE, _GOT_IM = (k * _B for k in range(6, 12))
_CARRIED = 12 * _B


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _eliminate(right, left, loss, work, c):  # type: ignore[no-untyped-def]  # compiled
    last = len(right) - 1
    for i in range(last):
        onward, back, gone = right[i], left[i + 1], loss[i + 1]
        if i == last - 1:  # the next cell is the last one: both ways lead there
            for k in range(_B):
                c[_FRO_RE + k] += back
                c[_TO_RE + k] += onward
            onward = 0.0
        w = work[i * _CELL : (i + 2) * _CELL]
        for k in range(_B):
            good_re, good_im = c[_GOOD_RE + k], c[_GOOD_IM + k]
            to_re, to_im = c[_TO_RE + k], c[_TO_IM + k]
            fro_re, fro_im = c[_FRO_RE + k], c[_FRO_IM + k]
            p = onward + to_re + good_re
            q = to_im + good_im
            size = 1.0 / (p * p + q * q)
            p, q = p * size, -q * size
            x = w[_RE + k] * p - w[_IM + k] * q
            y = w[_RE + k] * q + w[_IM + k] * p
            rim_re = fro_re * p - fro_im * q
            rim_im = fro_re * q + fro_im * p
            dying_re = good_re * p - good_im * q
            dying_im = good_re * q + good_im * p
            c[_GOT_RE + k] += to_re * x - to_im * y
            c[_GOT_IM + k] += to_re * y + to_im * x
            c[_LOST_RE + k] += fro_re * dying_re - fro_im * dying_im
            c[_LOST_IM + k] += fro_re * dying_im + fro_im * dying_re
            c[_FRO_RE + k], c[_FRO_IM + k] = onward * rim_re, onward * rim_im
            c[_GOOD_RE + k] = c[_SHIFT_RE + k] + gone + back * dying_re
            c[_GOOD_IM + k] = c[_SHIFT_IM + k] + back * dying_im
            c[_TO_RE + k] = back * (to_re * p - to_im * q)
            c[_TO_IM + k] = back * (to_re * q + to_im * p)
            w[_RE + k], w[_IM + k] = x, y
            w[_INV_RE + k], w[_INV_IM + k] = p, q
            w[_RIM_RE + k], w[_RIM_IM + k] = rim_re, rim_im
            w[_NEXT_RE + k] += onward * x
            w[_NEXT_IM + k] += onward * y


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _substitute(left, work, c):  # type: ignore[no-untyped-def]  # compiled
    # The solution in the last cell takes the place of what gathered there.
    last = len(left) - 1
    for k in range(_B):
        p, q = c[_LOST_RE + k], c[_LOST_IM + k]
        size = 1.0 / (p * p + q * q)
        x, y = c[_GOT_RE + k], c[_GOT_IM + k]
        c[_GOT_RE + k] = (x * p + y * q) * size
        c[_GOT_IM + k] = (y * p - x * q) * size
        work[last * _CELL + _RE + k] = c[_GOT_RE + k]
        work[last * _CELL + _IM + k] = c[_GOT_IM + k]
    for i in range(last - 1, -1, -1):
        back = left[i + 1] if i < last - 1 else 0.0
        w = work[i * _CELL : (i + 2) * _CELL]
        for k in range(_B):
            x, y = c[_GOT_RE + k], c[_GOT_IM + k]
            p, q = w[_RIM_RE + k], w[_RIM_IM + k]
            w[_RE + k] += p * x - q * y
            w[_IM + k] += p * y + q * x
            x, y = back * w[_NEXT_RE + k], back * w[_NEXT_IM + k]
            p, q = w[_INV_RE + k], w[_INV_IM + k]
            w[_RE + k] += p * x - q * y
            w[_IM + k] += p * y + q * x


@njit(cache=True, error_model="numpy")
def _solve(shifts, right, left, loss, rhs, out):  # type: ignore[no-untyped-def]  # compiled
    n, last = len(right), len(right) - 1
    work, c = np.empty(n * _CELL), np.empty(_CARRIED)
    for first in range(0, len(shifts), _B):
        width = min(_B, len(shifts) - first)
        for i in range(n):
            for k in range(_B):  # short blocks are filled up with their last shift
                b = rhs[i, first + min(k, width - 1)]
                work[i * _CELL + _RE + k], work[i * _CELL + _IM + k] = b.real, b.imag
        for k in range(_B):
            shift = shifts[first + min(k, width - 1)]
            c[_SHIFT_RE + k], c[_SHIFT_IM + k] = shift.real, shift.imag
            c[_GOOD_RE + k], c[_GOOD_IM + k] = shift.real + loss[0], shift.imag
            c[_LOST_RE + k], c[_LOST_IM + k] = shift.real + loss[last], shift.imag
            c[_TO_RE + k], c[_TO_IM + k] = left[0], 0.0
            c[_FRO_RE + k], c[_FRO_IM + k] = right[last], 0.0
            c[_GOT_RE + k] = work[last * _CELL + _RE + k]
            c[_GOT_IM + k] = work[last * _CELL + _IM + k]
        _eliminate(right, left, loss, work, c)
        _substitute(left, work, c)
        for i in range(n):
            for k in range(width):
                out[i, first + k] = complex(work[i * _CELL + _RE + k], work[i * _CELL + _IM + k])


def solve_each(
    shifts: npt.NDArray[np.complex128],
    right: FloatArray,
    left: FloatArray,
    loss: FloatArray,
    rhs: npt.NDArray[np.complex128],
    out: npt.NDArray[np.complex128],
) -> None:
    """Solve with every shift for its own right-hand side.

    Parameters
    ----------
    shifts : (K,) complex128 [1/t]
        Not zero, not negative.
    right, left, loss : (n,) float64 [1/t]
        Rates of the chain, ``n >= 3``; ``right[-1]`` and ``left[0]`` close a ring.
    rhs : (n, K) complex128
        Right-hand sides.
    out : (n, K) complex128
        Solutions are written here; it may be ``rhs``.
    """
    _solve(shifts, right, left, loss, rhs, out)

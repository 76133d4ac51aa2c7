"""Compiled passes over many tensors in one call, each number read once.

A step of a small network takes a millisecond, and between two steps the processor has forgotten
the interpreter's path through a recorder: a call that takes a microsecond in a loop of its own
takes three there.  Hence one call for all tensors, which are handed over as addresses.  The caller
vouches that they are contiguous, of one type, and alive.
"""

from __future__ import annotations

from typing import Any

from numba import carray, njit, types  # type: ignore[attr-defined]
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["fold", "products", "squares"]

_BLOCK = 4096  # numbers summed in their own precision before the sum is carried in double
_REORDER = {"reassoc", "contract", "nsz"}  # sums may be reordered; NaN and infinity are kept


def _to_pointer(typing_context: Any, address: Any) -> Any:
    """Return an address as a pointer, in the form that numba asks for.

    Returns
    -------
    tuple
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


_pointer: Any = intrinsic(_to_pointer)


@njit(cache=True, error_model="numpy", fastmath=_REORDER)
def products(table: Any, like: Any, out: Any) -> None:
    """Write w·g, g·g and w·w, summed over all tensors.

    Parameters
    ----------
    table : (4, tensor) int64
        Lengths, and addresses of weights, gradients and momentum buffers; 0 stands for zeros.
    like : (1,) float32 or float64
        A zero of their type.
    out : (3,) float64
        Written.
    """
    # np.dot(w, g), np.dot(g, g), np.dot(w, w).
    out[:] = 0.0
    for t in range(table.shape[1]):
        size, there = table[0, t], table[2, t] != 0
        w = carray(_pointer(table[1, t]), (size,), like.dtype)
        g = carray(_pointer(table[2, t] if there else table[1, t]), (size,), like.dtype)
        for start in range(0, size, _BLOCK):
            x, y = w[start : start + _BLOCK], g[start : start + _BLOCK]  # slices are vectorised
            xy, yy, xx = like[0], like[0], like[0]
            for i in range(x.size):
                xy += x[i] * y[i]
                yy += y[i] * y[i]
                xx += x[i] * x[i]
            if there:
                out[0] += xy
                out[1] += yy
            out[2] += xx


@njit(cache=True, error_model="numpy", fastmath=_REORDER)
def squares(table: Any, like: Any) -> Any:
    """Return the sum of the squares of all momentum buffers.

    Parameters
    ----------
    table : (4, tensor) int64
        As above.
    like : (1,) float32 or float64
        A zero of their type.

    Returns
    -------
    float
    """
    total = 0.0
    for t in range(table.shape[1]):
        if table[3, t]:
            v = carray(_pointer(table[3, t]), (table[0, t],), like.dtype)
            for start in range(0, v.size, _BLOCK):
                x = v[start : start + _BLOCK]
                xx = like[0]
                for i in range(x.size):
                    xx += x[i] * x[i]
                total += xx
    return total


@njit(cache=True, error_model="numpy", fastmath=_REORDER)
def fold(table: Any, which: Any, signs: Any, run: Any, sums: Any, lengths: Any, out: Any) -> None:
    """Write ``lengths[j]`` times the sums of ``signs[i] * w[i]`` over ``i // run % k == j``.

    Parameters
    ----------
    table : (4, tensor) int64
        As above.
    which : int
        Its row of addresses, 1 for the weights, 2 for the gradients.
    signs : (P,) int8
        Factors.
    run : int
        Neighbours that belong to one direction.
    sums : (m,) float32 or float64
        Of the type of the tensors; overwritten; ``m`` is a multiple of ``k * run``.
    lengths : (k,) ndarray
        Magnitudes of the entries of each direction.
    out : (k,) ndarray
        Written.
    """
    # lengths * np.bincount(np.arange(P) // run % k, weights=signs * w).
    sums[:] = 0.0
    start = 0
    for t in range(table.shape[1]):
        size, done, place = table[0, t], 0, start % len(sums)
        if table[which, t]:
            w = carray(_pointer(table[which, t]), (size,), sums.dtype)
            while done < size:
                count = min(len(sums) - place, size - done)
                into, x = sums[place : place + count], w[done : done + count]
                e = signs[start + done : start + done + count]
                for i in range(count):
                    into[i] += e[i] * x[i]
                done, place = done + count, 0
        start += size
    k = len(out)
    out[:] = 0.0
    for first in range(0, len(sums), run):
        j = first // run % k
        for i in range(first, first + run):
            out[j] += sums[i]
    for j in range(k):
        out[j] *= lengths[j]

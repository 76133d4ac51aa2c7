"""Compiled passes over many tensors in one call, each number read once.

Between two steps of training the processor has forgotten the interpreter's path through a
recorder, and a call costs several times what it does in a loop of its own.  Hence one call for all
tensors, which are handed over as addresses, and functions that take whole numbers alone, entered
by what :func:`entry` returns: numba's choice among types costs four microseconds there, and with
an array in place of a number seven.  The caller vouches that the memory is contiguous, of one type,
and alive.

Signs are packed one to a bit, so that a pass over 10^5 weights leaves 12 kilobytes of its own in
the caches and not 100.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types  # type: ignore[attr-defined]
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["CHUNK", "entry", "fold", "packed", "products", "squares", "take"]

CHUNK = 512  # numbers whose signs are packed together: number 16 b + l is bit b of word l
_LANES, _BITS = 16, 32
_BLOCK = 4096  # numbers summed in their own precision before the sum is carried in double
_REORDER = {"reassoc", "contract", "nsz"}  # sums may be reordered; NaN and infinity are kept


def entry(kernel: Any, dtype: str) -> Callable[..., Any]:
    """Return a kernel compiled for numbers of one type, to be called with as many whole numbers.

    Parameters
    ----------
    kernel : callable
        One of this module.
    dtype : {"float32", "float64"}
        Type of the numbers; the last argument of each call is ``0.0`` and stands for it.

    Returns
    -------
    callable
        Without numba's dispatch.
    """
    numbers = kernel.py_func.__code__.co_argcount - 1
    found: Callable[..., Any] = kernel.compile((types.int64,) * numbers + (getattr(types, dtype),))
    return found


def packed(negative: NDArray[np.bool_], sizes: Sequence[int]) -> NDArray[np.uint32]:
    """Return the signs of all tensors, those of each beginning with a chunk of their own.

    Parameters
    ----------
    negative : (P,) ndarray of bool
        Which signs are negative.
    sizes : sequence of int
        Lengths of the tensors.

    Returns
    -------
    ndarray of uint32
        Sixteen words for each :data:`CHUNK` numbers that a tensor begins.
    """
    parts, start = [np.zeros((0, _LANES), np.uint32)], 0
    places = np.arange(_BITS, dtype=np.uint32)[:, None]
    for size in sizes:
        bits = np.zeros(-(-size // CHUNK) * CHUNK, dtype=np.uint32)
        bits[:size] = negative[start : start + size]
        parts.append(np.bitwise_or.reduce(bits.reshape(-1, _BITS, _LANES) << places, axis=1))
        start += size
    return np.concatenate(parts).reshape(-1)


def _to_pointer(typing_context: Any, address: Any, like: Any) -> Any:
    """Return an address as a pointer to numbers of a type, in the form that numba asks for.

    Returns
    -------
    tuple
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    pointer: Any = types.CPointer
    return pointer(like)(address, like), generate


def _to_chunk(typing_context: Any, x: Any, words: Any, into: Any, like: Any) -> Any:
    """Add a chunk of numbers with their signs to as many sums; all are addresses.

    The loop of :func:`fold` over its last numbers does the same; written in vectors, since
    compilers do not find them here.

    Returns
    -------
    tuple
    """
    width = like.bitwidth

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole = ir.VectorType(ir.IntType(width), _LANES)
        real = ir.VectorType(ir.FloatType() if width == 32 else ir.DoubleType(), _LANES)
        narrow = ir.VectorType(ir.IntType(32), _LANES)
        highest = ir.Constant(whole, [2 ** (width - 1)] * _LANES)

        def at(address: Any, row: int, kind: Any) -> Any:
            moved = builder.add(address, ir.Constant(address.type, row * _LANES * width // 8))
            return builder.inttoptr(moved, kind.as_pointer())

        signs = builder.load(at(args[1], 0, narrow), align=4)
        signs = builder.zext(signs, whole) if width > 32 else signs
        for row in range(_BITS):
            raw = builder.load(at(args[0], row, whole), align=width // 8)
            place = ir.Constant(whole, [width - 1 - row] * _LANES)
            flip = builder.and_(builder.shl(signs, place), highest)
            signed = builder.bitcast(builder.xor(raw, flip), real)
            sums = at(args[2], row, real)
            total = builder.fadd(builder.load(sums, align=width // 8), signed)
            builder.store(total, sums, align=width // 8)
        return context.get_dummy_value()

    return types.none(x, words, into, like), generate


_pointer: Any = intrinsic(_to_pointer)
_chunk: Any = intrinsic(_to_chunk)


@njit(cache=True, error_model="numpy", fastmath=_REORDER)
def products(table: Any, tensors: Any, out: Any, like: Any) -> None:
    """Write w·g, g·g and w·w, summed over all tensors.

    Parameters
    ----------
    table : address of (4, tensor) int64
        Lengths, and addresses of weights, gradients and momentum buffers; 0 stands for zeros.
    tensors : int
        How many.
    out : address of (3,) float64
        Written.
    like : float32 or float64
        A zero of their type.
    """
    # np.dot(w, g), np.dot(g, g), np.dot(w, w).
    rows = carray(_pointer(table, 0), (4, tensors))
    wg, gg, ww = 0.0, 0.0, 0.0
    for t in range(tensors):
        size, there = rows[0, t], rows[2, t] != 0
        w = carray(_pointer(rows[1, t], like), (size,))
        g = carray(_pointer(rows[2, t] if there else rows[1, t], like), (size,))
        for start in range(0, size, _BLOCK):
            x, y = w[start : start + _BLOCK], g[start : start + _BLOCK]  # slices are vectorised
            xy, yy, xx = like, like, like
            for i in range(x.size):
                xy += x[i] * y[i]
                yy += y[i] * y[i]
                xx += x[i] * x[i]
            if there:
                wg += xy
                gg += yy
            ww += xx
    sums = carray(_pointer(out, 0.0), (3,))
    sums[0], sums[1], sums[2] = wg, gg, ww


@njit(cache=True, error_model="numpy", fastmath=_REORDER)
def squares(table: Any, tensors: Any, like: Any) -> Any:
    """Return the sum of the squares of all momentum buffers.

    Parameters
    ----------
    table, tensors, like : see :func:`products`

    Returns
    -------
    float
    """
    rows, total = carray(_pointer(table, 0), (4, tensors)), 0.0
    for t in range(tensors):
        if rows[3, t]:
            v = carray(_pointer(rows[3, t], like), (rows[0, t],))
            for start in range(0, v.size, _BLOCK):
                x = v[start : start + _BLOCK]
                xx = like
                for i in range(x.size):
                    xx += x[i] * x[i]
                total += xx
    return total


@njit(cache=True, error_model="numpy", fastmath=_REORDER)
def fold(plan: Any, which: Any, out: Any, like: Any) -> None:
    """Write ``lengths[j]`` times the sums of ``signs[i] * w[i]`` over ``i // run % k == j``.

    Parameters
    ----------
    plan : address of (8,) int64
        Addresses of the table and of the words of :func:`packed`, address and number ``m`` of
        sums, ``run``, address of the ``k`` lengths, ``k``, number of tensors.  ``m`` is a multiple
        of ``k * run``, at least :data:`CHUNK`; their memory is longer by :data:`CHUNK`.
    which : int
        Row of addresses in the table, 1 for the weights, 2 for the gradients.
    out : address of (k,) numbers
        Written.
    like : float32 or float64
        A zero of the type of the tensors, lengths and sums.
    """
    # lengths * np.bincount(np.arange(P) // run % k, weights=signs * w).
    p = carray(_pointer(plan, 0), (8,))
    word, m, run, k, tensors = p[1], p[3], p[4], p[6], p[7]
    rows = carray(_pointer(p[0], 0), (4, tensors))
    sums = carray(_pointer(p[2], like), (m + CHUNK,))
    sums[:] = 0.0
    place = 0
    for t in range(tensors):
        size, x, into = rows[0, t], rows[which, t], place
        if x:
            full = size // CHUNK
            for c in range(full):
                offset = c * CHUNK * sums.itemsize
                _chunk(x + offset, word + 4 * _LANES * c, p[2] + into * sums.itemsize, like)
                into += CHUNK
                if into >= m:
                    into -= m
            w = carray(_pointer(x, like), (size,))[full * CHUNK :]
            words = carray(_pointer(word + 4 * _LANES * full, np.uint32(0)), (_LANES,))
            for i in range(w.size):
                negative = (words[i % _LANES] >> np.uint32(i // _LANES)) & np.uint32(1)
                sums[into + i] += -w[i] if negative else w[i]
        word += 4 * _LANES * ((size + CHUNK - 1) // CHUNK)
        place = (place + size) % m
    for i in range(CHUNK):
        sums[i] += sums[m + i]
    kept, lengths = carray(_pointer(out, like), (k,)), carray(_pointer(p[5], like), (k,))
    kept[:] = 0.0
    for group in range(0, m, k * run):
        for j in range(k):
            first = group + j * run
            part, total = sums[first : first + run], like
            for i in range(part.size):
                total += part[i]
            kept[j] += total
    for j in range(k):
        kept[j] *= lengths[j]


@njit(cache=True, error_model="numpy")
def take(
    table: Any, tensors: Any, which: Any, places: Any, count: Any, out: Any, like: Any
) -> None:
    """Write single numbers of the tensors, 0 of one that is not there.

    Parameters
    ----------
    table, tensors, like : see :func:`products`
    which : int
        As above.
    places : address of (2, count) int64
        Tensor of each, and place in it.
    count : int
        How many.
    out : address of (count,) numbers
        Written.
    """
    rows = carray(_pointer(table, 0), (4, tensors))
    chosen = carray(_pointer(places, 0), (2, count))
    kept = carray(_pointer(out, like), (count,))
    for i in range(count):
        t = chosen[0, i]
        kept[i] = like
        if rows[which, t]:
            kept[i] = carray(_pointer(rows[which, t], like), (rows[0, t],))[chosen[1, i]]

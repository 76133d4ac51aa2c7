"""Compiled passes over many tensors in one call, each number read once.

Between two steps of training the processor has forgotten the interpreter's path through a
recorder, and a call costs several times what it does in a loop of its own.  Hence one call for all
tensors, which are handed over as addresses, and functions that take whole numbers alone, entered
by what :func:`entry` returns: numba's choice among types costs four microseconds there, and with
an array in place of a number seven.  Where the memory lies, and that it is contiguous, of one type
and long enough, :func:`locate` learns from torch's C interface; that tensors are alive the caller
vouches.

Signs are packed one to a bit, so that a pass over 10^5 weights leaves 12 kilobytes of its own in
the caches and not 100.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import carray, types  # type: ignore[attr-defined]
from numba.extending import intrinsic

from fracsde._compiled import njit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["ASKED", "CHUNK", "entry", "fold", "locate", "packed", "products", "squares", "take"]

CHUNK = 512  # numbers whose signs are packed together: number 16 b + l is bit b of word l
ASKED = (  # of torch's C interface, in the order in which `locate` wants their addresses
    "layout", "device_type", "dtype", "numel", "dim", "sizes", "strides", "storage_offset",
    "storage_size", "data_ptr",
)  # fmt: skip
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


def _to_ask(typing_context: Any, function: Any, tensor: Any, into: Any) -> Any:
    """Call a function of torch's C interface that writes one fact about a tensor; 0 is success.

    Returns
    -------
    tuple
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        anything = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.IntType(32), (anything, anything)).as_pointer()
        given = [builder.inttoptr(arg, anything) for arg in args[1:]]
        return builder.call(builder.inttoptr(args[0], kind), given)

    return types.int32(function, tensor, into), generate


_pointer: Any = intrinsic(_to_pointer)
_chunk: Any = intrinsic(_to_chunk)
_ask: Any = intrinsic(_to_ask)


@njit(cache=True, error_model="numpy")
def locate(where: Any, which: Any, like: Any) -> Any:
    """Write the addresses of tensors into a row of the table, if all may be read where they lie.

    Parameters
    ----------
    where : address of (7 + 10,) int64
        Number ``n`` of tensors; address of the table (4, n) int64 of lengths, and addresses of
        weights, gradients and momentum buffers, 0 for zeros; address of another with torch's
        objects in place of addresses; address of eight bytes to write on; numbers by which torch
        knows the layout, device and type that are wanted; addresses of the functions :data:`ASKED`,
        or zeros where the table is filled otherwise.
    which : int
        Row of both tables: 1 for weights, 2 for gradients, 3 for momentum buffers.
    like : float32 or float64
        A zero of the type.

    Returns
    -------
    bool
        False where a tensor has another layout, device, type, length or order, or less memory.
    """
    p = carray(_pointer(where, 0), (17,))
    tensors, out = p[0], p[3]
    if p[7] == 0:
        return True
    fact, short = carray(_pointer(out, 0), (1,)), carray(_pointer(out, np.int32(0)), (1,))
    rows = carray(_pointer(p[1], 0), (4, tensors))
    for t in range(tensors):
        tensor = p[2] + 8 * (which * tensors + t)  # a pointer to a pointer, as torch's are
        if carray(_pointer(tensor, 0), (1,))[0] == 0:
            rows[which, t] = 0
            continue
        for asked in range(3):
            if _ask(p[7 + asked], tensor, out) != 0 or short[0] != p[4 + asked]:
                return False
        if _ask(p[10], tensor, out) != 0 or fact[0] != rows[0, t] or _ask(p[11], tensor, out) != 0:
            return False
        axes = fact[0]
        if _ask(p[12], tensor, out) != 0:
            return False
        sizes = carray(_pointer(fact[0], 0), (axes,))
        if _ask(p[13], tensor, out) != 0:
            return False
        strides, step = carray(_pointer(fact[0], 0), (axes,)), 1
        for axis in range(axes - 1, -1, -1):
            if sizes[axis] != 1 and strides[axis] != step and rows[0, t] != 0:
                return False
            step *= sizes[axis]
        if _ask(p[14], tensor, out) != 0:
            return False
        end = (fact[0] + rows[0, t]) * np.asarray(like).itemsize
        if _ask(p[15], tensor, out) != 0 or fact[0] < end or _ask(p[16], tensor, out) != 0:
            return False
        rows[which, t] = fact[0]
    return True


@njit(cache=True, error_model="numpy", fastmath=_REORDER)
def products(where: Any, out: Any, like: Any) -> Any:
    """Write w·g, g·g and w·w, summed over all tensors.

    Parameters
    ----------
    where, like : see :func:`locate`
    out : address of (3,) float64
        Written.

    Returns
    -------
    bool
        Whether tensors may be read where they lie.
    """
    # np.dot(w, g), np.dot(g, g), np.dot(w, w).
    if not locate(where, 1, like) or not locate(where, 2, like):
        return False
    head = carray(_pointer(where, 0), (2,))
    tensors, table = head[0], head[1]
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
    return True


@njit(cache=True, error_model="numpy", fastmath=_REORDER)
def squares(where: Any, like: Any) -> Any:
    """Return the sum of the squares of all momentum buffers.

    Parameters
    ----------
    where, like : see :func:`locate`

    Returns
    -------
    float
        Negative where a tensor may not be read where it lies.
    """
    if not locate(where, 3, like):
        return -1.0
    head = carray(_pointer(where, 0), (2,))
    tensors, table = head[0], head[1]
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
def fold(plan: Any, which: Any, out: Any, like: Any) -> Any:
    """Write ``lengths[j]`` times the sums of ``signs[i] * w[i]`` over ``i // run % k == j``.

    Parameters
    ----------
    plan : address of (7,) int64
        ``where`` of :func:`locate`, address of the words of :func:`packed`, address and number
        ``m`` of sums, ``run``, address of the ``k`` lengths, ``k``.  ``m`` is a multiple of
        ``k * run``, at least :data:`CHUNK`; their memory is longer by :data:`CHUNK`.
    which, like : see :func:`locate`
    out : address of (k,) numbers
        Written.

    Returns
    -------
    bool
        Whether tensors may be read where they lie.
    """
    # lengths * np.bincount(np.arange(P) // run % k, weights=signs * w).
    p = carray(_pointer(plan, 0), (7,))
    if not locate(p[0], which, like):
        return False
    word, m, run, k = p[1], p[3], p[4], p[6]
    head = carray(_pointer(p[0], 0), (2,))
    tensors, table = head[0], head[1]
    rows = carray(_pointer(table, 0), (4, tensors))
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
    return True


@njit(cache=True, error_model="numpy")
def take(plan: Any, which: Any, out: Any, like: Any) -> Any:
    """Write single numbers of the tensors, 0 of one that is not there.

    Parameters
    ----------
    plan : address of (3,) int64
        ``where`` of :func:`locate`, address of (2, count) int64, tensor of each number and place
        in it, and ``count``.
    which, like : see :func:`locate`
    out : address of (count,) numbers
        Written.

    Returns
    -------
    bool
        Whether tensors may be read where they lie.
    """
    p = carray(_pointer(plan, 0), (3,))
    if not locate(p[0], which, like):
        return False
    head, count = carray(_pointer(p[0], 0), (2,)), p[2]
    rows = carray(_pointer(head[1], 0), (4, head[0]))
    chosen = carray(_pointer(p[1], 0), (2, count))
    kept = carray(_pointer(out, like), (count,))
    for i in range(count):
        t = chosen[0, i]
        kept[i] = like
        if rows[which, t]:
            kept[i] = carray(_pointer(rows[which, t], like), (rows[0, t],))[chosen[1, i]]
    return True

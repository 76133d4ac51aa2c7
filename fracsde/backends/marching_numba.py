r"""Marching a chain of cells with a memory sum, compiled.

The same step as in :mod:`fracsde.backends.marching_reference`, which says what the names mean:

.. math::
    (\sigma_n I - L)\, v = \sum_{k < n} c_{n,k}\, u_k + s_n , \qquad
    u_n = u_{n-1} + (v - u_{n-1}) / \theta .

The memory sum is cut: what a block of steps owes to rows before the block is one matrix product
(the history is read once per block), what it owes to rows of its own is summed here.  The solves
eliminate four parts of the chain abreast.  Cores share long sums and parts, with the same numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import get_num_threads, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from fracsde._compiled import njit

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["eliminate", "march", "substitute"]


@njit(cache=True, error_model="numpy")
def eliminate(shift, right, left, loss):  # type: ignore[no-untyped-def]  # compiled
    """Factorise ``shift I - L``; see ``marching_reference.eliminate``.

    Returns
    -------
    (5, n) ndarray of float64
    """
    n = len(right)
    factors = np.zeros((5, n))
    _eliminate(shift, right, left, loss, factors)
    return factors


@njit(cache=True, error_model="numpy")
def _eliminate(shift, right, left, loss, factors):  # type: ignore[no-untyped-def]  # compiled
    last = len(right) - 1
    to_last = left[0]
    for_good = shift + loss[0]
    from_last = right[last]
    lost_by_last = shift + loss[last]
    for i in range(last):
        onward = right[i]
        if i == last - 1:
            from_last += left[last]
            to_last += onward
            onward = 0.0
        inverse = 1.0 / (onward + to_last + for_good)
        factors[0, i] = onward * inverse
        factors[1, i] = to_last * inverse
        factors[2, i] = inverse
        factors[3, i] = left[i + 1] * inverse if i < last - 1 else 0.0
        factors[4, i] = from_last * inverse
        dying = for_good * inverse
        lost_by_last += from_last * dying
        from_last *= onward * inverse
        for_good = shift + loss[i + 1] + left[i + 1] * dying
        to_last = left[i + 1] * (to_last * inverse)
    factors[2, last] = 1.0 / lost_by_last


@njit(cache=True, error_model="numpy")
def substitute(factors, masses):  # type: ignore[no-untyped-def]  # compiled
    """Solve with the factors, in place; see ``marching_reference.substitute``."""
    last = len(masses) - 1
    flowing, gathered = masses[0], masses[last]
    for i in range(last):
        gathered += factors[1, i] * flowing
        flowing = masses[i + 1] + factors[0, i] * flowing
        if i + 1 < last:
            masses[i + 1] = flowing
    end = gathered * factors[2, last]
    masses[last] = end
    beyond = end
    for i in range(last - 1, -1, -1):
        own = masses[i] * factors[2, i] + factors[4, i] * end
        beyond = own + factors[3, i] * beyond
        masses[i] = beyond


# --- a chain in four parts
#
# One elimination is a chain of dependent operations, and the processor waits for each.  Four run
# abreast: the chain is cut into four runs of cells, of which the last cells are eliminated last.
# A run ends in a cell of its own and begins behind that of the run before (in a ring, the first
# behind the last), which is to it what the last cell of a ring is to all others; the four last
# cells form a ring of their own.  Indices are unsigned, or each would be tested for its sign.

_FEWEST = 16  # cells that are worth it
_FEW = 8  # known rows that are worth a matrix product
_MANY = 32_768  # cells that are worth more than one core
_SHARES = 16  # of the cells, among cores
_TILE = 16  # columns of a tile


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _leave(shift, right, left, loss, factors, i, to_first, for_good, from_first, lost):  # type: ignore[no-untyped-def]  # compiled
    onward, back = right[i], left[i + np.uint64(1)]
    inverse = 1.0 / (onward + to_first + for_good)
    share, dying = onward * inverse, for_good * inverse
    factors[0, i] = share
    factors[1, i] = to_first * inverse
    factors[2, i] = inverse
    factors[3, i] = back * inverse
    factors[4, i] = from_first * inverse
    kept = shift + loss[i + np.uint64(1)] + back * dying
    return back * (to_first * inverse), kept, from_first * share, lost + from_first * dying


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _eliminate_four(shift, right, left, loss, factors, ends):  # type: ignore[no-untyped-def]  # compiled
    n = len(right)
    q = n // 4
    b, c, d = np.uint64(q), np.uint64(2 * q), np.uint64(3 * q)
    ta, ga, fa, la = left[0], shift + loss[0], right[n - 1], 0.0
    tb, gb, fb, lb = left[q], shift + loss[q], right[q - 1], 0.0
    tc, gc, fc, lc = left[2 * q], shift + loss[2 * q], right[2 * q - 1], 0.0
    td, gd, fd, ld = left[3 * q], shift + loss[3 * q], right[3 * q - 1], 0.0
    for i in range(np.uint64(q - 1)):
        ta, ga, fa, la = _leave(shift, right, left, loss, factors, i, ta, ga, fa, la)
        tb, gb, fb, lb = _leave(shift, right, left, loss, factors, b + i, tb, gb, fb, lb)
        tc, gc, fc, lc = _leave(shift, right, left, loss, factors, c + i, tc, gc, fc, lc)
        td, gd, fd, ld = _leave(shift, right, left, loss, factors, d + i, td, gd, fd, ld)
    for k in range(4 * q - 1, n - 1):
        at = np.uint64(k)
        td, gd, fd, ld = _leave(shift, right, left, loss, factors, at, td, gd, fd, ld)
    ends[0, 3], ends[0, 0], ends[0, 1], ends[0, 2] = fa, fb, fc, fd
    ends[1, 0], ends[1, 1], ends[1, 2], ends[1, 3] = ta, tb, tc, td
    ends[2, 0], ends[2, 1], ends[2, 2], ends[2, 3] = ga + lb, gb + lc, gc + ld, gd + la
    _eliminate(0.0, ends[0], ends[1], ends[2], ends[3:])


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _onward(factors, masses, i, flowing, gathered):  # type: ignore[no-untyped-def]  # compiled
    following = masses[i + np.uint64(1)] + factors[0, i] * flowing
    gathered += factors[1, i] * flowing
    masses[i + np.uint64(1)] = following
    return following, gathered


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _backward(factors, masses, i, beyond, first):  # type: ignore[no-untyped-def]  # compiled
    found = masses[i] * factors[2, i] + factors[4, i] * first + factors[3, i] * beyond
    masses[i] = found
    return found


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _substitute_four(factors, ends, masses):  # type: ignore[no-untyped-def]  # compiled
    n = len(masses)
    q = n // 4
    b, c, d = np.uint64(q), np.uint64(2 * q), np.uint64(3 * q)
    fa, fb, fc, fd = masses[0], masses[q], masses[2 * q], masses[3 * q]
    ga = gb = gc = gd = 0.0
    for i in range(np.uint64(q - 1)):
        fa, ga = _onward(factors, masses, i, fa, ga)
        fb, gb = _onward(factors, masses, b + i, fb, gb)
        fc, gc = _onward(factors, masses, c + i, fc, gc)
        fd, gd = _onward(factors, masses, d + i, fd, gd)
    for k in range(4 * q - 1, n - 1):
        fd, gd = _onward(factors, masses, np.uint64(k), fd, gd)
    last = np.array([fa + gb, fb + gc, fc + gd, fd + ga])
    substitute(ends[3:], last)
    fa, fb, fc, fd = last[0], last[1], last[2], last[3]
    masses[q - 1], masses[2 * q - 1], masses[3 * q - 1], masses[n - 1] = fa, fb, fc, fd
    ea, eb, ec, ed = fa, fb, fc, fd
    for k in range(n - 2, 4 * q - 2, -1):
        fd = _backward(factors, masses, np.uint64(k), fd, ec)
    for i in range(np.uint64(q - 1)):
        at = np.uint64(q - 2) - i
        fa = _backward(factors, masses, at, fa, ed)
        fb = _backward(factors, masses, b + at, fb, ea)
        fc = _backward(factors, masses, c + at, fc, eb)
        fd = _backward(factors, masses, d + at, fd, ec)


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _add_rows(target, states, coefficients, first, stop):  # type: ignore[no-untyped-def]  # compiled
    # Four rows at a time: the target is read and written a quarter as often.
    n = len(target)
    whole = first + (stop - first) // 4 * 4
    for k in range(first, whole, 4):
        p, q, r, s = states[k], states[k + 1], states[k + 2], states[k + 3]
        a, b = coefficients[k], coefficients[k + 1]
        c, d = coefficients[k + 2], coefficients[k + 3]
        for i in range(n):
            target[i] += (a * p[i] + b * q[i]) + (c * r[i] + d * s[i])
    for k in range(whole, stop):
        p, a = states[k], coefficients[k]
        for i in range(n):
            target[i] += a * p[i]


@intrinsic
def _add_to_tile(_, states, row, column, coefficients, first):  # type: ignore[no-untyped-def]  # compiled
    # What four rows owe to all before them, in one tile of columns, whose sums stay in registers.
    def tile(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        double, whole = ir.DoubleType(), ir.IntType(64)
        lanes, none = ir.VectorType(double, 8), ir.Constant(ir.IntType(32), 0)
        rows = context.make_array(signature.args[0])(context, builder, values[0])
        given = context.make_array(signature.args[3])(context, builder, values[3])
        fused = ir.FunctionType(lanes, [lanes] * 3)
        add = cgutils.get_or_insert_function(builder.module, fused, "llvm.fmuladd.v8f64")  # type: ignore[no-untyped-call]

        def at(array: Any, i: Any, j: Any, kind: Any) -> Any:
            down, along = builder.extract_value(array.strides, 0), ir.Constant(whole, 8)
            offset = builder.add(builder.mul(i, down), builder.mul(j, along))
            start = builder.ptrtoint(array.data, whole)
            return builder.inttoptr(builder.add(start, offset), kind.as_pointer())

        def shifted(value: Any, by: int) -> Any:
            return builder.add(value, ir.Constant(whole, by))

        corners = [(j, i) for j in range(4) for i in (0, 8)]
        spots = [at(rows, shifted(values[1], j), shifted(values[2], i), lanes) for j, i in corners]
        loaded = [builder.load(p, align=8) for p in spots]
        sums = [cgutils.alloca_once_value(builder, x) for x in loaded]  # type: ignore[no-untyped-call]
        by = ir.Constant(whole, 1)
        with cgutils.for_range_slice(builder, values[4], values[1], by, whole) as (k, _):
            columns = {i: shifted(values[2], i) for i in (0, 8)}
            known = {i: builder.load(at(rows, k, columns[i], lanes), align=8) for i in columns}
            for (j, i), total in zip(corners, sums, strict=True):
                one = builder.load(at(given, ir.Constant(whole, j), k, double))
                one = builder.insert_element(ir.Constant(lanes, ir.Undefined), one, none)
                each = builder.shuffle_vector(
                    one, one, ir.Constant(ir.VectorType(none.type, 8), None)
                )
                builder.store(builder.call(add, [each, known[i], builder.load(total)]), total)
        for p, total in zip(spots, sums, strict=True):
            builder.store(builder.load(total), p, align=8)
        return context.get_dummy_value()

    return types.void(states, types.intp, types.intp, coefficients, types.intp), tile


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _add_to_four(states, row, coefficients, first):  # type: ignore[no-untyped-def]  # compiled
    n = states.shape[1]
    whole = n - n % _TILE
    for column in range(0, whole, _TILE):
        _add_to_tile(states, row, column, coefficients, first)  # type: ignore[call-arg]
    if whole < n:
        rest = states[:, whole:]
        for j in range(4):
            _add_rows(rest[row + j], rest, coefficients[j], first, row)


@njit(cache=True, error_model="numpy")
def _block(states, sources, start, first, coefficients, shifts, right, left, loss, point):  # type: ignore[no-untyped-def]  # compiled
    n = states.shape[1]
    factors, ends = np.zeros((5, n)), np.zeros((8, 4))
    factorised = np.nan
    added = start + 1  # rows that the sums of the steps to come hold already
    for b in range(len(shifts)):
        row = start + 1 + b
        masses = states[row]
        four = b % 4 == 0 and b + 4 <= len(shifts)
        if four:
            if first == 0:
                states[row : row + 4] = sources[b : b + 4]
            _add_to_four(states, row, coefficients[b : b + 4], first)
            added = row
        elif b % 4 == 0:
            if first == 0:
                states[row : start + 1 + len(shifts)] = sources[b:]
            added = first
        _add_rows(masses, states, coefficients[b], added, row)
        if shifts[b] != factorised:
            factorised = shifts[b]
            if n >= _FEWEST:
                _eliminate_four(factorised, right, left, loss, factors, ends)
            else:
                _eliminate(factorised, right, left, loss, factors)
        if n >= _FEWEST:
            _substitute_four(factors, ends, masses)
        else:
            substitute(factors, masses)
        if point != 1.0:
            stretch = 1.0 / point
            for i in range(n):
                last = states[row - 1, i]
                masses[i] = last + (masses[i] - last) * stretch


# --- the same on many cores: cells are shared out for the sums, the four parts for the solves


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _eliminate_part(shift, right, left, loss, factors, begin, end, found):  # type: ignore[no-untyped-def]  # compiled
    last = len(right) - 1
    before = begin - 1 if begin > 0 else last
    t, g, f, lost = left[begin], shift + loss[begin], right[before], 0.0
    for i in range(np.uint64(begin), np.uint64(end - 1)):
        t, g, f, lost = _leave(shift, right, left, loss, factors, i, t, g, f, lost)
    found[0], found[1], found[2], found[3] = f, t, g, lost


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _onward_part(factors, masses, begin, end, found):  # type: ignore[no-untyped-def]  # compiled
    flowing, gathered = masses[begin], 0.0
    for i in range(np.uint64(begin), np.uint64(end - 1)):
        flowing, gathered = _onward(factors, masses, i, flowing, gathered)
    found[0], found[1] = flowing, gathered


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _backward_part(factors, masses, begin, end, own, before):  # type: ignore[no-untyped-def]  # compiled
    masses[end - 1] = beyond = own
    for k in range(end - 2, begin - 1, -1):
        beyond = _backward(factors, masses, np.uint64(k), beyond, before)


@njit(cache=True, error_model="numpy")
def _edge(n, share):  # type: ignore[no-untyped-def]  # compiled
    # Of a share of the cells, between two tiles: sums are then the same as on one core.
    return n if share == _SHARES else n // _TILE * share // _SHARES * _TILE


@njit(cache=True, error_model="numpy", parallel=True)
def _block_many(states, sources, start, first, coefficients, shifts, right, left, loss, point):  # type: ignore[no-untyped-def]  # compiled
    n, steps = states.shape[1], len(shifts)
    q = n // 4
    edges = np.array([0, q, 2 * q, 3 * q, n])
    factors, ends = np.zeros((5, n)), np.zeros((8, 4))
    found, last = np.zeros((4, 4)), np.zeros(4)
    factorised = np.nan
    for b in range(steps):
        row = start + 1 + b
        whole = b - b % 4 + 4 <= steps  # one of four rows that are summed together
        for c in prange(_SHARES):
            lo, hi = _edge(n, c), _edge(n, c + 1)
            own = states[:, lo:hi]
            if whole and b % 4 == 0:
                if first == 0:
                    own[row : row + 4] = sources[b : b + 4, lo:hi]
                _add_to_four(own, row, coefficients[b : b + 4], first)
            elif not whole:
                if first == 0:
                    own[row] = sources[b, lo:hi]
                _add_rows(own[row], own, coefficients[b], first, row)
            if whole:
                _add_rows(own[row], own, coefficients[b], row - b % 4, row)
        masses = states[row]
        if shifts[b] != factorised:
            factorised = shifts[b]
            for p in prange(4):
                _eliminate_part(
                    factorised, right, left, loss, factors, edges[p], edges[p + 1], found[p]
                )
            for p in range(4):
                ends[0, p], ends[1, p] = found[(p + 1) % 4, 0], found[p, 1]
                ends[2, p] = found[p, 2] + found[(p + 1) % 4, 3]
            _eliminate(0.0, ends[0], ends[1], ends[2], ends[3:])
        for p in prange(4):
            _onward_part(factors, masses, edges[p], edges[p + 1], found[p])
        for p in range(4):
            last[p] = found[p, 0] + found[(p + 1) % 4, 1]
        substitute(ends[3:], last)
        for p in prange(4):
            _backward_part(factors, masses, edges[p], edges[p + 1], last[p], last[(p + 3) % 4])
        if point != 1.0:
            stretch = 1.0 / point
            before = states[row - 1]
            for i in prange(n):
                masses[i] = before[i] + (masses[i] - before[i]) * stretch


def march(
    states: FloatArray,
    start: int,
    coefficients: FloatArray,
    shifts: FloatArray,
    sources: FloatArray,
    right: FloatArray,
    left: FloatArray,
    loss: FloatArray,
    point: float = 1.0,
) -> None:
    """Fill in the next rows of ``states``; see ``marching_reference.march``."""
    known = start + 1
    first = 0  # the kernel's own sums serve a few known rows as well
    if known >= _FEW:
        first, rows = known, states[known : known + len(shifts)]
        np.matmul(coefficients[:, :known], states[:known], out=rows)
        rows += sources
    coefficients = np.ascontiguousarray(coefficients)  # one layout, so that one kernel is compiled
    many = states.shape[1] >= _MANY and get_num_threads() > 1
    block = _block_many if many else _block
    block(states, sources, start, first, coefficients, shifts, right, left, loss, point)

r"""Vector operations on tables whose rows hold one number of each of several chains.

A table :math:`T_{r, c}` has a row for each coordinate and a column for each chain, so that one
vector instruction serves several chains.  Here are the three operations that a path needs,
written as vectors of 64 bytes in place of loops that a compiler may or may not turn into such:

.. math::
    O \leftarrow O + M X, \qquad
    y_{r, c} \leftarrow \rho_r\,y_{r, c} + \sigma_r\,z_{r, c}, \qquad
    \mathrm{record}_{c, r} = T_{r, c} + m_r .

The product keeps four rows by four vectors of sums in registers; every multiplication and addition
is fused, in the order of the columns of ``M``: the numbers depend neither on the machine nor on
which other chains share a table.  The record transposes blocks of 8 by 8 numbers (16 by 16 in
single precision) in registers and writes each chain's part of the record in one run.

Not here: normals (:mod:`fracsde.backends.normals`) and the loops over steps
(:mod:`fracsde.backends.path_kernels`).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic

from fracsde.backends.vector_code import BYTES, Table, fused, shuffled
from fracsde.backends.vectors import wide_vectors

__all__ = ["ROWS", "VECTORS", "add_product", "advance", "record"]

ROWS, VECTORS = 4, 4
"""Rows and vectors of the sums that a product keeps in registers."""

cgutils: Any = _cgutils  # has no types


def _tile(vectors: int) -> Any:
    # out[at + r size + v] += sum_k M[row + r columns + k] X[k size + v], a sum for each r and v.
    def build(
        typingctx: Any, out: Any, at: Any, M: Any, row: Any, columns: Any, X: Any, n: Any, size: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kinds = signature.args
            sums_at, matrix, source = (
                Table(context, builder, kinds[k], args[k]) for k in (0, 2, 5)
            )
            _, at, _, row, columns, _, depth, size = args
            lines = _spaced(builder, row, columns, ROWS)
            step = ir.Constant(at.type, sums_at.width)
            targets = [
                place
                for base in _spaced(builder, at, size, ROWS)
                for place in _spaced(builder, base, step, vectors)
            ]
            sums = [
                cgutils.alloca_once_value(builder, sums_at.load_vector(place)) for place in targets
            ]
            with cgutils.for_range(builder, depth) as loop:
                places = _spaced(builder, builder.mul(loop.index, size), step, vectors)
                columns_of_x = [source.load_vector(place) for place in places]
                for r, line in enumerate(lines):
                    factor = matrix.spread(builder.add(line, loop.index))
                    for v, x in enumerate(columns_of_x):
                        total = sums[r * vectors + v]
                        builder.store(fused(builder, factor, x, builder.load(total)), total)
            for place, total in zip(targets, sums, strict=True):
                sums_at.store_vector(place, builder.load(total))
            return context.get_dummy_value()

        return types.none(out, at, M, row, columns, X, n, size), generate

    return intrinsic(build)


def _spaced(builder: Any, first: Any, step: Any, count: int) -> list[Any]:
    found = [first]
    for _ in range(count - 1):
        found.append(builder.add(found[-1], step))
    return found


def _vector_steps(
    typingctx: Any,
    y: Any,
    at: Any,
    rho: Any,
    sigma: Any,
    first: Any,
    gap: Any,
    z: Any,
    place: Any,
    lane: Any,
    shift: Any,
    out: Any,
    to: Any,
    jump: Any,
    count: Any,
) -> Any:
    # One vector of states through `count` steps: normals of step t lie at
    # place + (t % lanes) lane + (t // lanes) shift, states go to out[to + t jump].
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        states, decays, scales, normals, path = (
            Table(context, builder, kinds[k], args[k]) for k in (0, 2, 3, 6, 10)
        )
        _, at, _, _, first, gap, _, place, lane, shift, _, to, jump, count = args
        lanes = ir.Constant(count.type, 16 // path.item)
        now = cgutils.alloca_once_value(builder, states.load_vector(at))
        with cgutils.for_range(builder, count) as loop:
            t = loop.index
            line = builder.add(first, builder.mul(t, gap))
            source = builder.add(
                builder.mul(builder.urem(t, lanes), lane),
                builder.mul(builder.udiv(t, lanes), shift),
            )
            noise = builder.fmul(
                scales.spread(line), normals.load_vector(builder.add(place, source))
            )
            new = fused(builder, decays.spread(line), builder.load(now), noise)
            builder.store(new, now)
            path.store_vector(builder.add(to, builder.mul(t, jump)), new)
        states.store_vector(at, builder.load(now))
        return context.get_dummy_value()

    signature = types.none(
        y, at, rho, sigma, first, gap, z, place, lane, shift, out, to, jump, count
    )
    return signature, generate


def _turned_block(
    typingctx: Any,
    source: Any,
    at: Any,
    size: Any,
    mean: Any,
    first: Any,
    out: Any,
    to: Any,
    gap: Any,
) -> Any:
    # out[to + c gap + r] = source[at + r size + c] + mean[first + r], a square of one vector.
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        table, means, target = (Table(context, builder, kinds[n], args[n]) for n in (0, 3, 5))
        _, at, size, _, first, _, to, gap = args
        word, width = at.type, table.width
        rows = []
        for r in range(width):
            value = table.load_vector(builder.add(at, builder.mul(size, ir.Constant(word, r))))
            rows.append(builder.fadd(value, means.spread(builder.add(first, ir.Constant(word, r)))))
        for c, column in enumerate(_transposed(builder, rows, width)):
            target.store_vector(builder.add(to, builder.mul(gap, ir.Constant(word, c))), column)
        return context.get_dummy_value()

    return types.none(source, at, size, mean, first, out, to, gap), generate


def _transposed(builder: Any, rows: list[Any], width: int) -> list[Any]:
    # Exchange off-diagonal halves of blocks of 2, 4, ...: bits of row and column change places.
    half = 1
    while half < width:
        low = [c if not c & half else width + c - half for c in range(width)]
        high = [c + half if not c & half else width + c for c in range(width)]
        new: list[Any] = [None] * width
        for r in range(width):
            if not r & half:
                a, b = rows[r], rows[r + half]
                new[r], new[r + half] = (shuffled(builder, a, b, lanes) for lanes in (low, high))
        rows, half = new, 2 * half
    return rows


_add_tile, _add_column = _tile(VECTORS), _tile(1)
_take_steps: Any = intrinsic(_vector_steps)
_put_block: Any = intrinsic(_turned_block)


@njit(cache=True, error_model="numpy")
def add_product(out: Any, M: Any, X: Any, extent: Any) -> None:
    """Add ``M @ X`` to ``out``.

    Parameters
    ----------
    out : (rows, size) ndarray
        Added to; ``rows`` a multiple of :data:`ROWS`, ``size`` of one vector.
    M : (rows, depth) ndarray
        C-contiguous like the others.
    X : (depth or more, size) ndarray
        The other factor.
    extent : (rows / ROWS,) int64
        Columns of ``M`` that are not zero in these rows.
    """
    wide_vectors()
    size, columns, flat = out.shape[1], M.shape[1], X.reshape(-1)
    width = BYTES // out.itemsize
    whole = size - size % (VECTORS * width)
    for start in range(0, whole, VECTORS * width):
        part = flat[start:]
        for tile in range(out.shape[0] // ROWS):
            row, depth = tile * ROWS, extent[tile]
            _add_tile(out, row * size + start, M, row * columns, columns, part, depth, size)
    for start in range(whole, size, width):
        part = flat[start:]
        for tile in range(out.shape[0] // ROWS):
            row, depth = tile * ROWS, extent[tile]
            _add_column(out, row * size + start, M, row * columns, columns, part, depth, size)


@njit(cache=True, error_model="numpy")
def advance(y: Any, rho: Any, sigma: Any, z: Any, out: Any) -> None:
    """Take several steps ``y = rho[t] y + sigma[t] z[t]``.

    Parameters
    ----------
    y : (d, size) ndarray
        States, left at the last step; ``size`` a multiple of one vector.
    rho, sigma : (step, d) ndarray
        Of each step.
    z : (lane, k) ndarray
        Normals as :func:`fracsde.backends.normals.fill_lanes` makes them, of blocks ordered by
        step, coordinate and chain.
    out : (step, d, size) ndarray
        The states after each step.
    """
    wide_vectors()
    d, size = y.shape
    width, table = BYTES // y.itemsize, d * size
    for i in range(d):
        for c in range(0, size, width):
            at = i * size + c
            _take_steps(
                y, at, rho, sigma, i, d, z, at, z.shape[1], table, out, at, table, rho.shape[0]
            )


@njit(cache=True, error_model="numpy")
def record(source: Any, mean: Any, out: Any, first: Any, gap: Any, rows: Any, chains: Any) -> None:
    """Write ``source[r, c] + mean[r]`` to ``out[first + c gap + r]``.

    Parameters
    ----------
    source : (rows or more, size) ndarray
        A row for each number of the record, a column for each chain.
    mean : (rows or more,) ndarray
        Added.
    out : (n,) ndarray
        The record.
    first, gap : int
        Where the first chain's part begins, and from chain to chain.
    rows, chains : int
        How many of each are written.
    """
    wide_vectors()
    size = source.shape[1]
    width = BYTES // out.itemsize
    whole, full = rows - rows % width, chains - chains % width
    for c in range(0, full, width):
        for r in range(0, whole, width):
            _put_block(source, r * size + c, size, mean, r, out, first + c * gap + r, gap)
    for c in range(chains):
        place = first + c * gap
        for r in range(whole if c < full else 0, rows):
            out[place + r] = source[r, c] + mean[r]

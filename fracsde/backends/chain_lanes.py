r"""Vector operations on tables whose rows hold one number of each of several chains.

A table :math:`T_{r, c}` has a row for each coordinate and a column for each chain, so that one
vector instruction serves several chains.  Here are the three operations that a path needs,
written as vectors of 64 bytes in place of loops that a compiler may or may not turn into such:

.. math::
    O = L Z + E X, \qquad
    y_{r, c} \leftarrow \rho_r\,y_{r, c} + \sigma_r\,z_{r, c}, \qquad
    \mathrm{record}_{c, r} = T_{r, c} + m_r .

The product keeps the sums of some rows and vectors in registers, as many as the machine has room
for (:mod:`fracsde.backends.product_code`); every multiplication and addition is fused, in the order
of the columns: the numbers depend neither on the machine nor on which other chains share a table.
The record transposes blocks of 8 by 8 numbers (16 by 16 in single precision, in quarters where
registers are short) in registers and writes each chain's part of the record in one run, into memory
that has been asked for while the numbers were made.

Inner loops are compiled without counts of references to arrays
(:func:`fracsde.backends.vectors.uncounted`): a count is a locked instruction, which waits until
every store before it is in the cache, those of the record too.

Not here: normals (:mod:`fracsde.backends.lane_normals`) and the loops over steps
(:mod:`fracsde.backends.lane_kernels`).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic

from fracsde.backends.product_code import VECTORS, height_of, spaced, tile
from fracsde.backends.vector_code import BYTES, Table, fused, shuffled, wide_registers
from fracsde.backends.vectors import fma, uncounted, wide_vectors

__all__ = ["advance", "push", "record", "step", "turn"]

_TOGETHER = 4  # vectors of states that step side by side

cgutils: Any = _cgutils  # has no types


def _vector_steps(vectors: int) -> Any:
    # Vectors of states through `count` steps side by side, each waiting for its own last step:
    # normals of step t lie at at + (t % lanes) lane + (t // lanes) table, states go to
    # out[at + t table], rho and sigma of step t and coordinate i at t d + i.
    def build(
        typingctx: Any,
        y: Any,
        at: Any,
        rho: Any,
        sigma: Any,
        d: Any,
        z: Any,
        lane: Any,
        out: Any,
        count: Any,
        size: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            states, decays, scales, normals, path = (
                Table(context, builder, signature.args[k], args[k]) for k in (0, 2, 3, 5, 7)
            )
            _, at, _, _, d, _, lane, _, count, size = args
            lanes, table = ir.Constant(at.type, 16 // path.item), builder.mul(d, size)
            places = spaced(builder, at, ir.Constant(at.type, path.width), vectors)
            coordinates = [builder.udiv(place, size) for place in places]
            now = [
                cgutils.alloca_once_value(builder, states.load_vector(place)) for place in places
            ]
            with cgutils.for_range(builder, count) as loop:
                t = loop.index
                line, target = builder.mul(t, d), builder.mul(t, table)
                source = builder.add(
                    builder.mul(builder.urem(t, lanes), lane),
                    builder.mul(builder.udiv(t, lanes), table),
                )
                for place, coordinate, state in zip(places, coordinates, now, strict=True):
                    row = builder.add(line, coordinate)
                    noise = builder.fmul(
                        scales.spread(row), normals.load_vector(builder.add(place, source))
                    )
                    new = fused(builder, decays.spread(row), builder.load(state), noise)
                    builder.store(new, state)
                    path.store_vector(builder.add(place, target), new)
            for place, state in zip(places, now, strict=True):
                states.store_vector(place, builder.load(state))
            return context.get_dummy_value()

        signature = types.none(y, at, rho, sigma, d, z, lane, out, count, size)
        return signature, generate

    return intrinsic(build)


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
        # Sixteen rows of sixteen do not stay in short registers, eight rows of eight do.
        side = 8 if width == 16 and not wide_registers(context) else width

        def moved(place: Any, step: Any, count: int) -> Any:
            return builder.add(place, builder.mul(step, ir.Constant(word, count)))

        kind = ir.VectorType(table.vector.element, side)
        for c in range(0, width, side):
            for r in range(0, width, side):
                rows = []
                for n in range(r, r + side):
                    place = builder.add(moved(at, size, n), ir.Constant(word, c))
                    mean = means.spread(builder.add(first, ir.Constant(word, n)), side)
                    rows.append(builder.fadd(table.load_vector(place, kind), mean))
                for n, column in enumerate(_transposed(builder, rows, side), start=c):
                    place = builder.add(moved(to, gap, n), ir.Constant(word, r))
                    target.store_vector(place, column)
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


_one_tile, _one_column = (tile(n, products=1) for n in (VECTORS, 1))
_two_tile, _two_column = (tile(n, products=2) for n in (VECTORS, 1))


_take_steps, _take_step = _vector_steps(_TOGETHER), _vector_steps(1)
_put_block: Any = intrinsic(_turned_block)


@uncounted
def turn(out: Any, to: Any, M: Any, tiles: Any, X: Any, place: Any) -> None:
    """Write ``M @ X[place]`` to the rows of a table from ``to`` on.

    Parameters
    ----------
    out : (rows, size) ndarray
        Written in as many rows as ``M`` has; ``size`` a multiple of one vector.
    to : int
        First row.
    M : (r, d) ndarray
        C-contiguous like the others.
    tiles : int
        Into how many tiles of equally many rows its rows are split, see
        :func:`fracsde.backends.product_code.tile_rows`.
    X : (n, d, size) ndarray
        Several other factors.
    place : int
        Which of them.
    """
    wide_vectors()
    size, d, flat = out.shape[1], M.shape[1], X.reshape(-1)
    width, first = BYTES // out.itemsize, place * M.shape[1] * out.shape[1]
    whole = size - size % (VECTORS * width)
    height = height_of(M.shape[0], tiles)
    for row in range(0, M.shape[0], height):
        target = (to + row) * size
        for at in range(0, whole, VECTORS * width):
            _one_tile(out, target + at, size, height, (M, row * d, d, flat, first + at, d))
        for at in range(whole, size, width):
            _one_column(out, target + at, size, height, (M, row * d, d, flat, first + at, d))


@uncounted
def step(out: Any, L: Any, z: Any, place: Any, extent: Any, E: Any, X: Any) -> None:
    """Write ``L @ Z + E @ X`` for one step of several chains.

    Parameters
    ----------
    out : (rows, size) ndarray
        Written; ``size`` a multiple of one vector.
    L : (rows, r) ndarray
        C-contiguous like the others.
    z : (n,) ndarray
        Holds ``Z``, ``(r, size)``, from ``place`` on.
    place : int
        Where.
    extent : (tiles,) int64
        Columns of ``L`` that are not zero in the rows of each tile, which has
        :func:`fracsde.backends.product_code.tile_rows` of them.
    E : (rows, d) ndarray
        The other matrix.
    X : (d or more, size) ndarray
        States.
    """
    wide_vectors()
    size, r, d, flat = out.shape[1], L.shape[1], E.shape[1], X.reshape(-1)
    width = BYTES // out.itemsize
    whole = size - size % (VECTORS * width)
    height = height_of(out.shape[0], extent.shape[0])
    for part in range(extent.shape[0]):
        row, depth = part * height, extent[part]
        target = row * size
        for at in range(0, whole, VECTORS * width):
            noise = (L, row * r, r, z, place + at, depth)
            _two_tile(out, target + at, size, height, (*noise, E, row * d, d, flat, at, d))
        for at in range(whole, size, width):
            noise = (L, row * r, r, z, place + at, depth)
            _two_column(out, target + at, size, height, (*noise, E, row * d, d, flat, at, d))


@uncounted
def push(states: Any, force: Any, d: Any, rule: Any) -> None:
    """Take one step ``x = x + b v + r u``, ``v = mu v + u``.

    Parameters
    ----------
    states : (2 d or more, size) ndarray
        Positions ``x`` above velocities ``v``; overwritten.
    force : (d or more, size) ndarray
        ``u``.
    d : int
        Number of positions.
    rule : (3,) ndarray
        ``b``, ``r`` and ``mu``.
    """
    wide_vectors()
    x, v, u = states.reshape(-1), states[d:].reshape(-1), force.reshape(-1)
    b, r, mu = rule[0], rule[1], rule[2]
    for i in range(d * states.shape[1]):
        x[i] = fma(r, u[i], fma(b, v[i], x[i]))
        v[i] = fma(mu, v[i], u[i])


@uncounted
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
    width, n, lane, count = BYTES // y.itemsize, d * size, z.shape[1], rho.shape[0]
    many = n - n % (_TOGETHER * width)
    for at in range(0, many, _TOGETHER * width):
        _take_steps(y, at, rho, sigma, d, z, lane, out, count, size)
    for at in range(many, n, width):
        _take_step(y, at, rho, sigma, d, z, lane, out, count, size)


@uncounted
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

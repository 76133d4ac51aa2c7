r"""Products of a matrix and a table of chains, in the code that an intrinsic emits.

.. math::
    O_{r, c} = \sum_k M_{r, k} X_{k, c},

a tile of rows and vectors of chains at a time, whose sums stay in registers.  How large a tile may
be depends on the registers, each number it needs on nothing: every multiplication and addition is
fused, in the order of the columns, whatever the tile.

==================  ==============  ========================  ====================
registers           rows of a tile  vectors of 64 bytes       registers of sums
==================  ==============  ========================  ====================
32 of 64 bytes      4               4                         16
16 of 32, 32 of 16  4, 5 or 6       1, one after the other    8 to 12, or 16 to 24
==================  ==============  ========================  ====================

A multiplication and addition waits four steps for the last one of its sum and two begin at each:
eight sums keep a processor busy.  Twelve leave room in 16 registers for the two of a vector and a
number of the matrix; the 32 of four rows by four vectors are stored and loaded at every step.
Of four, five and six rows those serve that leave fewest rows of zeros at the end.

Not here: which products are taken (:mod:`fracsde.backends.chain_lanes`).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from fracsde.backends.vector_code import Table, cgutils, constant, fused, wide_registers

__all__ = ["HEIGHTS", "ROWS", "VECTORS", "height_of", "spaced", "tile", "tile_rows"]

ROWS, VECTORS = 4, 4
"""Rows and vectors of a tile in registers of 64 bytes; vectors that are asked for at once."""

HEIGHTS = (4, 5, 6)
"""Rows that a tile may have in other registers."""


def tile_rows(rows: int) -> int:
    """Return how many rows the tiles of a matrix have on this machine.

    Parameters
    ----------
    rows : int
        Of the matrix.

    Returns
    -------
    int
        The matrix needs rows of zeros up to a multiple.
    """
    if wide_registers(cpu_target.target_context):
        return ROWS
    return min(reversed(HEIGHTS), key=lambda height: -rows % height)


def tile(vectors: int, *, products: int, wide: bool | None = None) -> Any:
    """Return the intrinsic that writes a tile of one product, or of the sum of several.

    ``out[at + r size + v] = sum_k M[row + r columns + k] X[begin + k size + v]``, for each row
    ``r`` of the tile and each number ``v`` of its vectors, is summed over the products, one after
    the other.

    Parameters
    ----------
    vectors : int
        Of 64 bytes.
    products : int
        How many.
    wide : bool, optional
        Whether all vectors are worked on side by side, as registers of 64 bytes allow, or one
        after the other: as the target has them, unless given.  The bits are the same.

    Returns
    -------
    intrinsic
        Of ``(out, at, size, height, (M, row, columns, X, begin, count, ...))``; a tile of several
        vectors side by side has :data:`ROWS` rows, others ``height``, one of :data:`HEIGHTS`.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out, kinds = Table(context, builder, signature.args[0], args[0]), signature.args[4]
        _, at, size, height, factors = args
        given = [builder.extract_value(factors, k) for k in range(6 * products)]
        for k in range(0, 6 * products, 3):
            given[k] = Table(context, builder, kinds[k], given[k])
        sources = [tuple(given[6 * p : 6 * p + 6]) for p in range(products)]
        side_by_side = wide_registers(context) if wide is None else wide
        if side_by_side:
            _emit(builder, (out, at, size), sources, ROWS, vectors)
        else:
            _emit_in_turn(builder, (out, at, size), sources, height, vectors)
        return context.get_dummy_value()

    def build(typingctx: Any, out: Any, at: Any, size: Any, height: Any, factors: Any) -> Any:
        return types.none(out, at, size, height, factors), emit

    return intrinsic(build)


def _emit_in_turn(
    builder: Any, target: tuple[Table, Any, Any], sources: list[Any], height: Any, vectors: int
) -> None:
    out, at, size = target
    with cgutils.for_range(builder, ir.Constant(at.type, vectors)) as loop:
        moved = builder.mul(loop.index, ir.Constant(at.type, out.width))
        own = (out, builder.add(at, moved), size)
        parts = [(*part[:4], builder.add(part[4], moved), part[5]) for part in sources]
        for rows in HEIGHTS:
            same = builder.icmp_signed("==", height, ir.Constant(height.type, rows))
            with builder.if_then(same):
                _emit(builder, own, parts, rows, 1)


def _emit(
    builder: Any, target: tuple[Table, Any, Any], sources: list[Any], rows: int, vectors: int
) -> None:
    out, at, size = target
    step = ir.Constant(at.type, out.width)
    targets = [
        place
        for base in spaced(builder, at, size, rows)
        for place in spaced(builder, base, step, vectors)
    ]
    zero = constant(out.vector, 0.0)
    sums = [cgutils.alloca_once(builder, zero.type) for _ in targets]
    for total in sums:
        builder.store(zero, total)
    for matrix, row, columns, source, begin, count in sources:
        lines = spaced(builder, row, columns, rows)
        with cgutils.for_range(builder, count) as loop:
            first = builder.add(begin, builder.mul(loop.index, size))
            columns_of_x = [
                source.load_vector(place) for place in spaced(builder, first, step, vectors)
            ]
            for r, line in enumerate(lines):
                factor = matrix.spread(builder.add(line, loop.index))
                for v, x in enumerate(columns_of_x):
                    total = sums[r * vectors + v]
                    builder.store(fused(builder, factor, x, builder.load(total)), total)
    for place, total in zip(targets, sums, strict=True):
        out.store_vector(place, builder.load(total))


def spaced(builder: Any, first: Any, step: Any, count: int) -> list[Any]:
    """Return numbers that are a step apart.

    Parameters
    ----------
    builder
        Of an intrinsic.
    first, step
        Whole numbers of one kind.
    count : int
        How many.

    Returns
    -------
    list
    """
    found = [first]
    for _ in range(count - 1):
        found.append(builder.add(found[-1], step))
    return found


def _height_of(typingctx: Any, rows: Any, tiles: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if wide_registers(context):
            return ir.Constant(args[0].type, ROWS)
        return builder.sdiv(*args)

    return types.intp(types.intp, types.intp), generate


height_of: Any = intrinsic(_height_of)
"""Rows of each of the tiles of so many rows; compiled code only."""

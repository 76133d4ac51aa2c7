"""Code of vectors of normals: addresses, encrypted to words, mapped to normals, side by side.

Words become normals in registers, four vectors side by side: a polynomial is a chain in which each
operation waits for the last, and one chain would keep an eighth of the machine busy.  Rounds of
the cipher use one unit of two; in single precision and runs of chains those of the next four
vectors are woven into the polynomials of these.  Sixteen registers of 32 bytes do not hold four
vectors side by side: there one after the other is worked on, two registers each, while the next is
encrypted, two rounds between one operation and the next.

Not here: the loops over vectors (:mod:`fracsde.backends.lane_normals`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fracsde.backends.ars import ROUNDS, cipher_bits, encrypted, encrypting
from fracsde.backends.box_muller_code import radius, turn
from fracsde.backends.narrow_code import narrow_words, putting_words
from fracsde.backends.vector_code import Lanes, Table, cgutils, shuffled, wide_registers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["TOGETHER", "vectors", "woven"]

TOGETHER = 4
"""Vectors worked on side by side."""


def vectors(together: int, source_kind: str, *, wide: bool | None = None) -> Any:
    """Return the intrinsic that writes normals of vectors of blocks.

    Those of vector ``n`` go to ``z[lane stride + at + n width]`` and what follows.

    Parameters
    ----------
    together : int
        Vectors in one call.
    source_kind : {"addresses", "chains", "words"}
        Whether it takes addresses of blocks, those of the first of each vector, or words.
    wide : bool, optional
        Whether vectors are worked on side by side, as registers of 64 bytes allow, or one after
        the other: as the target has them, unless given.  The bits are the same.

    Returns
    -------
    intrinsic
        Of ``(z, stride, at, source, shift, keys)``.
    """

    def build(
        typingctx: Any, z: Any, stride: Any, at: Any, source: Any, shift: Any, keys: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            side_by_side = wide_registers(context) if wide is None else wide
            emit = _emit if side_by_side else _emit_in_turn
            return emit(context, builder, (signature, args), together, source_kind)

        return types.none(z, stride, at, source, shift, keys), generate

    return intrinsic(build)


def _emit(
    context: Any, builder: Any, call: tuple[Any, Any], together: int, source_kind: str
) -> Any:
    signature, args = call
    out, table, schedule = (Table(context, builder, signature.args[k], args[k]) for k in (0, 3, 5))
    _, stride, at, _, shift, _ = args
    word, lanes = at.type, 16 // out.item
    if source_kind == "chains":
        blocks = _counted(builder, table, at, shift, together, out.width)
    else:
        blocks = _listed(builder, table, at, shift, together * out.width // 4)
    blocks = [builder.bitcast(block, ir.VectorType(ir.IntType(64), 8)) for block in blocks]
    if source_kind != "words":
        blocks = encrypted(context, builder, blocks, _schedule(builder, schedule, word))
    words = _transposed(builder, blocks, lanes)
    for lane in range(0, lanes, 2):
        length = radius(Lanes(builder, words[lane]))
        for k, side in enumerate(turn(Lanes(builder, words[lane + 1]))):
            row = builder.add(at, builder.mul(stride, ir.Constant(word, lane + k)))
            _store(out, row, (length * side).vectors)
    return context.get_dummy_value()


def _emit_in_turn(
    context: Any, builder: Any, call: tuple[Any, Any], together: int, source_kind: str
) -> Any:
    signature, args = call
    out, table, schedule = (Table(context, builder, signature.args[k], args[k]) for k in (0, 3, 5))
    _, stride, at, _, shift, _ = args
    word = at.type
    with cgutils.for_range(builder, ir.Constant(word, together)) as loop:
        first = builder.add(at, builder.mul(loop.index, ir.Constant(word, out.width)))
        words = narrow_words(context, (out, table, schedule), first, shift, source_kind)
        for lane in range(0, len(words), 2):
            length = radius(Lanes(builder, [words[lane]], wide=False))
            for k, side in enumerate(turn(Lanes(builder, [words[lane + 1]], wide=False))):
                row = builder.add(first, builder.mul(stride, ir.Constant(word, lane + k)))
                _store(out, row, (length * side).vectors)
    return context.get_dummy_value()


def _store(out: Table, first: Any, vectors: list[Any]) -> None:
    for n, value in enumerate(vectors):
        out.store_vector(out.builder.add(first, ir.Constant(first.type, n * out.width)), value)


def woven(stage: str) -> Any:
    """Return the intrinsic that does one stage of many vectors of chains, four at a time.

    In single precision, on processors that encrypt four blocks at once, the words of four vectors
    are encrypted while those of the last four become normals; on those that encrypt two, the words
    of each vector while those of the last become normals.  They wait in ``z`` where their normals
    will be.

    Parameters
    ----------
    stage : {"first", "middle", "last"}
        Put words there; make normals of these and put the next words; or make normals.

    Returns
    -------
    intrinsic
        Of ``(z, stride, at, starts, shift, keys)``.
    """

    def build(
        typingctx: Any, z: Any, stride: Any, at: Any, starts: Any, shift: Any, keys: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            out, table, schedule = (
                Table(context, builder, signature.args[k], args[k]) for k in (0, 3, 5)
            )
            if cipher_bits(context) == 256:
                _weave_in_turn(context, (out, table, schedule), args, stage)
                return context.get_dummy_value()
            # Double precision waits for square roots, side by side; encrypting one block at a time
            # leaves no time.
            if out.item == 8 or cipher_bits(context) < 512:
                emit = _emit if wide_registers(context) else _emit_in_turn
                if stage != "first":
                    emit(context, builder, (signature, args), TOGETHER, "chains")
                return context.get_dummy_value()
            _, stride, at, _, shift, _ = args
            word, lanes = at.type, 16 // out.item
            rows = [builder.mul(stride, ir.Constant(word, lane)) for lane in range(lanes)]

            def places(first: Any) -> list[Any]:
                return [builder.add(first, row) for row in rows]

            if stage == "first":
                for _ in _words_of_chains(context, (out, table, schedule), places(at), at, shift):
                    pass
                return context.get_dummy_value()
            words = [_bits(out, place) for place in places(at)]
            after: Callable[[], object] | None = None
            rest: Iterator[None] = iter(())
            if stage == "middle":
                ahead = builder.add(at, ir.Constant(word, TOGETHER * out.width))
                tables = (out, table, schedule)
                rest = _words_of_chains(context, tables, places(ahead), ahead, shift)
                after = partial(next, rest, None)
            for lane in range(0, lanes, 2):
                length = radius(Lanes(builder, words[lane], after))
                for k, side in enumerate(turn(Lanes(builder, words[lane + 1], after))):
                    _store(out, builder.add(at, rows[lane + k]), (length * side).vectors)
            for _ in rest:
                pass
            return context.get_dummy_value()

        return types.none(z, stride, at, starts, shift, keys), generate

    return intrinsic(build)


def _weave_in_turn(context: Any, tables: tuple[Table, Table, Table], args: Any, stage: str) -> None:
    out = tables[0]
    builder, (_, stride, at, _, shift, _) = out.builder, args
    word = at.type
    rows = [builder.mul(stride, ir.Constant(word, lane)) for lane in range(16 // out.item)]

    def vector(first: Any, rest: Iterator[None]) -> None:
        def two_more() -> None:
            next(rest, None)
            next(rest, None)

        kind = ir.VectorType(ir.IntType(8 * out.item), out.width)
        places = [builder.add(first, row) for row in rows]
        words = [out.load_vector(place, kind) for place in places]
        for lane in range(0, len(rows), 2):
            length = radius(Lanes(builder, [words[lane]], two_more, wide=False))
            sides = turn(Lanes(builder, [words[lane + 1]], two_more, wide=False))
            for place, side in zip(places[lane : lane + 2], sides, strict=True):
                _store(out, place, (length * side).vectors)
        for _ in rest:
            pass

    if stage == "first":
        for _ in putting_words(context, tables, at, shift, rows):
            pass
        return
    count = TOGETHER if stage == "middle" else TOGETHER - 1
    with cgutils.for_range(builder, ir.Constant(word, count)) as loop:
        first = builder.add(at, builder.mul(loop.index, ir.Constant(word, out.width)))
        ahead = builder.add(first, ir.Constant(word, out.width))
        vector(first, putting_words(context, tables, ahead, shift, rows))
    if stage == "last":
        vector(builder.add(at, ir.Constant(word, count * out.width)), iter(()))


def _words_of_chains(
    context: Any, tables: tuple[Table, Table, Table], rows: list[Any], at: Any, shift: Any
) -> Iterator[None]:
    # Put the words of four vectors from `at` on where each row begins; pause now and then.
    out, table, schedule = tables
    builder, many = out.builder, out.width // 4
    keys = _schedule(builder, schedule, at.type)
    blocks = _counted(builder, table, at, shift, TOGETHER, out.width)
    blocks = [builder.bitcast(block, ir.VectorType(ir.IntType(64), 8)) for block in blocks]
    for n in range(0, len(blocks), 4):  # four side by side hide what a round waits
        part = blocks[n : n + 4]
        yield from encrypting(context, builder, part, keys)
        for row, found in zip(rows, _transposed(builder, part, len(rows)), strict=True):
            first = builder.add(row, ir.Constant(at.type, n // many * out.width))
            _store(out, first, [builder.bitcast(value, out.vector) for value in found])
            yield


def _bits(out: Table, first: Any) -> list[Any]:
    # Words that wait in four vectors of z.
    whole = ir.VectorType(ir.IntType(8 * out.item), out.width)
    places = (
        out.builder.add(first, ir.Constant(first.type, n * out.width)) for n in range(TOGETHER)
    )
    return [out.builder.bitcast(out.load_vector(place), whole) for place in places]


def _listed(builder: Any, table: Table, at: Any, shift: Any, count: int) -> list[Any]:
    # Four addresses or words at a time.
    first, added = builder.mul(at, ir.Constant(at.type, 4)), _offsets(builder, table, shift, 0, 0)
    places = [builder.add(first, ir.Constant(at.type, 16 * k)) for k in range(count)]
    return [builder.add(table.load_vector(place), added) for place in places]


def _counted(
    builder: Any, table: Table, at: Any, shift: Any, together: int, width: int
) -> list[Any]:
    # The address of the first block of each vector, in the others with the next chains.
    four = ir.VectorType(table.vector.element, 4)
    added = [_offsets(builder, table, shift, first, 1) for first in range(0, width, 4)]
    entry = builder.udiv(at, ir.Constant(at.type, width // 4))
    blocks = []
    for n in range(together):
        start = table.load_vector(builder.add(entry, ir.Constant(at.type, 4 * n)), four)
        spread = shuffled(builder, start, start, list(range(4)) * 4)
        blocks += [builder.add(spread, offset) for offset in added]
    return blocks


def _offsets(builder: Any, table: Table, shift: Any, first: int, gap: int) -> Any:
    # What is added to four addresses: a shift of steps, and chains that count up.
    kind = table.vector
    found = ir.Constant(kind, [first + gap * (k // 4) if k % 4 == 2 else 0 for k in range(16)])
    number = builder.trunc(shift, kind.element)
    for lane in range(1, kind.count, 4):
        found = builder.insert_element(found, number, ir.Constant(ir.IntType(32), lane))
    return found


def _schedule(builder: Any, keys: Table, word: Any) -> list[Any]:
    # The key of each round, for four blocks.
    pair = ir.VectorType(ir.IntType(64), 2)
    found = [keys.load_vector(ir.Constant(word, 2 * r), pair) for r in range(ROUNDS + 1)]
    return [shuffled(builder, key, key, [0, 1] * 4) for key in found]


def _transposed(builder: Any, blocks: list[Any], lanes: int) -> list[list[Any]]:
    # Vectors of the first, the second, ... word of 64 or of 32 bits of blocks, in their order.
    if lanes == 2:
        pairs = list(zip(blocks[0::2], blocks[1::2], strict=True))
        return [
            [shuffled(builder, a, b, range(half, 16, 2)) for a, b in pairs] for half in range(2)
        ]
    words = ir.VectorType(ir.IntType(32), 16)
    blocks = [builder.bitcast(block, words) for block in blocks]
    found: list[list[Any]] = [[], [], [], []]
    for k in range(0, len(blocks), 4):
        for half in range(2):
            # Two of the words of eight blocks, and of the next eight.
            order = [4 * i + 2 * half + j for j in range(2) for i in range(8)]
            low, high = (shuffled(builder, blocks[n], blocks[n + 1], order) for n in (k, k + 2))
            for j in range(2):
                order_2 = [16 * n + 8 * j + i for n in range(2) for i in range(8)]
                found[2 * half + j].append(shuffled(builder, low, high, order_2))
    return found

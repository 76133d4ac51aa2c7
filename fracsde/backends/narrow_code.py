"""Words of blocks in vectors of 32 bytes, for processors whose registers are no wider.

A register of 32 bytes holds two blocks.  Blocks that lie half a register's numbers apart share one,
so that words change places within its halves alone, which takes one instruction of one step where
an exchange between halves takes three::

    blocks (0, 2) and (1, 3), two words of 64 bits each:      words of 0, 1, 2, 3
    blocks (0, 4), (1, 5), (2, 6) and (3, 7), four of 32:     words of 0, 1, ..., 7

Not here: vectors of 64 bytes of blocks, and what becomes of the words
(:mod:`fracsde.backends.lane_code`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir

from fracsde.backends.ars import ROUNDS, encrypted, encrypting
from fracsde.backends.vector_code import shuffled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fracsde.backends.vector_code import Table

__all__ = ["narrow_words", "putting_words"]

_TWO_BLOCKS = ir.VectorType(ir.IntType(64), 4)


def narrow_words(
    context: Any, tables: tuple[Table, Table, Table], at: Any, shift: Any, source_kind: str
) -> list[Any]:
    """Return the words of the blocks of one vector of 64 bytes of numbers.

    Parameters
    ----------
    context
        Of an intrinsic.
    tables : tuple of three Tables
        Where normals will be, addresses or words of blocks, and keys of the rounds.
    at : i64
        The first block.
    shift : i64
        Added to the second word of every address.
    source_kind : {"addresses", "chains", "words"}
        As for :func:`fracsde.backends.lane_code.vectors`.

    Returns
    -------
    list of vectors
        Of the first word of each block, of the second, and so on, as wide as the numbers.
    """
    out, table, keys = tables
    builder, half, lanes = out.builder, out.width // 2, 16 // out.item
    halves = []
    for first in (0, half):
        pairs = [(first + i, first + i + half // 2) for i in range(half // 2)]
        if source_kind == "chains":
            blocks = _counted(builder, table, at, shift, (out.width, pairs))
        else:
            blocks = _listed(builder, table, at, shift, pairs)
        if source_kind != "words":
            blocks = encrypted(context, builder, blocks, _schedule(builder, keys, at.type))
        halves.append(_unpacked(builder, blocks, lanes))
    return [shuffled(builder, a, b, range(out.width)) for a, b in zip(*halves, strict=True)]


def putting_words(
    context: Any, tables: tuple[Table, Table, Table], at: Any, shift: Any, rows: list[Any]
) -> Iterator[None]:
    """Put the words of one vector of chains where their normals will be, and pause now and then.

    Parameters
    ----------
    context, tables, at, shift
        As for :func:`narrow_words`.
    rows : list of i64
        Where the normals of each lane begin.

    Yields
    ------
    None
    """
    out, table, keys = tables
    builder, half = out.builder, out.width // 2
    schedule = _schedule(builder, keys, at.type)
    for first in (0, half):
        pairs = [(first + i, first + i + half // 2) for i in range(half // 2)]
        blocks = _counted(builder, table, at, shift, (out.width, pairs))
        yield from encrypting(context, builder, blocks, schedule)
        for row, found in zip(rows, _unpacked(builder, blocks, len(rows)), strict=True):
            place = builder.add(builder.add(at, row), ir.Constant(at.type, first))
            number = ir.VectorType(out.vector.element, half)
            out.store_vector(place, builder.bitcast(found, number))
            yield


def _counted(
    builder: Any, table: Table, at: Any, shift: Any, chains: tuple[int, list[tuple[int, int]]]
) -> list[Any]:
    # The address of the first block of the vector, and the next chains.
    width, pairs = chains
    entry = builder.udiv(at, ir.Constant(at.type, width // 4))
    start = table.load_vector(entry, ir.VectorType(table.vector.element, 4))
    both = shuffled(builder, start, start, [0, 1, 2, 3] * 2)
    return [_shifted(builder, both, shift, pair) for pair in pairs]


def _listed(
    builder: Any, table: Table, at: Any, shift: Any, pairs: list[tuple[int, int]]
) -> list[Any]:
    # Addresses or words that lie one after the other.
    four, found = ir.VectorType(table.vector.element, 4), []
    for pair in pairs:
        places = [builder.add(at, ir.Constant(at.type, n)) for n in pair]
        a, b = (
            table.load_vector(builder.mul(place, ir.Constant(at.type, 4)), four) for place in places
        )
        found.append(_shifted(builder, shuffled(builder, a, b, range(8)), shift, (0, 0)))
    return found


def _shifted(builder: Any, both: Any, shift: Any, chains: tuple[int, int]) -> Any:
    # A shift added to second words, chains to third ones.
    added = ir.Constant(both.type, [c if k == 2 else 0 for c in chains for k in range(4)])
    number = builder.trunc(shift, both.type.element)
    for lane in (1, 5):
        added = builder.insert_element(added, number, ir.Constant(ir.IntType(32), lane))
    return builder.bitcast(builder.add(both, added), _TWO_BLOCKS)


def _schedule(builder: Any, keys: Table, word: Any) -> list[Any]:
    # The key of each round, for two blocks.
    pair = ir.VectorType(ir.IntType(64), 2)
    found = [keys.load_vector(ir.Constant(word, 2 * r), pair) for r in range(ROUNDS + 1)]
    return [shuffled(builder, key, key, [0, 1] * 2) for key in found]


def _unpacked(builder: Any, blocks: list[Any], lanes: int) -> list[Any]:
    # Vectors of the first, the second, ... word of 64 or of 32 bits.
    halves = [[k, 4 + k, 2 + k, 6 + k] for k in range(2)]
    if lanes == 2:
        return [shuffled(builder, blocks[0], blocks[1], order) for order in halves]
    words = ir.VectorType(ir.IntType(32), 8)
    parts, found = [builder.bitcast(block, words) for block in blocks], []
    for first in (0, 2):
        order = [first + lane + k for lane in (0, 4) for k in (0, 8, 1, 9)]
        low, high = (shuffled(builder, parts[k], parts[k + 1], order) for k in (0, 2))
        low, high = (builder.bitcast(value, _TWO_BLOCKS) for value in (low, high))
        found += [builder.bitcast(shuffled(builder, low, high, k), words) for k in halves]
    return found

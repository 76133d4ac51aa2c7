r"""Standard normals of many addresses at once: Box and Muller's map of ARS words.

.. math::
    z_0 = \sqrt{-2 \log u}\,\cos 2\pi v, \qquad z_1 = \sqrt{-2 \log u}\,\sin 2\pi v .

============  ======================  =====================  ==================  ==============
numbers       normals of a block      :math:`u`              :math:`v`           largest
============  ======================  =====================  ==================  ==============
float64       2, words 0-1 and 2-3    52 bits, in (0, 1]     54 bits             8.49
float32       4, words 0-1, 2-3       32 bits, in (0, 1]     25 bits             6.76
============  ======================  =====================  ==================  ==============

so that :math:`2 \cdot 10^{-17}` and :math:`1.4 \cdot 10^{-11}` of the law are cut off; the
distribution function of a float32 normal is within :math:`10^{-7}` of the exact one.  Two words
make one of 64 bits, the first below.

Logarithm, sine and cosine are polynomials, best in the largest error, with every multiplication and
addition fused as written: the normals have the same bits on every machine.  The quarter of the
circle is taken from the two top bits of the second word and the angle within it from the others,
which makes :math:`2\pi v = \tfrac{\pi}{2}(n + x)`, :math:`|x| \le \tfrac12`.

Words become normals in registers, four vectors side by side: a polynomial is a chain in which each
operation waits for the last, and one chain would keep an eighth of the machine busy.

Not here: the words (:mod:`fracsde.backends.ars`), choosing addresses, a few normals at a time
(:mod:`fracsde.backends.normals`), and what all of this is checked against
(:mod:`fracsde.backends.lane_normals_reference`).

Reference: [BoxMuller1958]_.
"""

from __future__ import annotations

from math import log, pi
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic, overload

from fracsde._compiled import njit
from fracsde.backends.ars import (
    ROUNDS,
    ars_words,
    cipher_bits,
    encrypted,
    round_keys,
)
from fracsde.backends.normals import COS, LN2_HIGH, LN2_LOW, LOG, SIN
from fracsde.backends.vector_code import BYTES, Lanes, Table, shuffled
from fracsde.backends.vectors import wide_vectors

__all__ = ["fill_chains", "fill_lanes", "normals_of_words"]

_TOGETHER = 4  # vectors worked on side by side

_ONE_BITS, _ROOT_HALF_BITS = 0x3FF0000000000000, 0x3FE6A09E00000000
_EXPONENT, _SIGN, _SWAP = 0xFFF << 52, 1 << 63, 1 << 62

# As LOG, COS and SIN of the other module, best in single precision.
_LOG_SINGLE = (
    -0.666678214786,
    0.500026740931,
    -0.399261274992,
    0.331551682528,
    -0.298295349248,
    0.285349853761,
    -0.174008936452,
)
_COS_SINGLE = (1.0, -1.23370054938, 0.253669410485, -0.0208615297081, 0.000906743540434)
_SIN_SINGLE = (0.5 * pi, -0.645964020039, 0.0796870381847, -0.0046219945716)
_ONE_BITS32, _ROOT_HALF_BITS32 = 0x3F800000, 0x3F3504F3
_EXPONENT32, _SIGN32, _SWAP32 = 0x1FF << 23, 1 << 31, 1 << 30


def _radius(word: Lanes) -> Lanes:
    # sqrt(-2 log u), u = 1 - k / 2**52: a float64 in [1, 2) with random bits needs no conversion.
    bits = (word.same(2.0) - ((word >> 12) | _ONE_BITS).as_reals()).as_bits()
    exponent = bits.minus(_ROOT_HALF_BITS) & _EXPONENT
    m = bits.minus(exponent).as_reals()  # between sqrt(1/2) and sqrt(2)
    power = exponent.signed_shift(52).from_signed()
    # A division would save ten multiplications and take longer than twenty.
    f = m - 1.0
    square = f * f
    low = f.split_polynomial(square, LOG).fma(f, 1.0).fma(square, power * LN2_LOW)
    return power.fma(LN2_HIGH, f.fma(-2.0, low)).sqrt()


def _turn(word: Lanes) -> tuple[Lanes, Lanes]:
    # cos and sin of (pi / 2) (n + x): n the two top bits, x the others less one half.
    x = (((word << 2) >> 12) | _ONE_BITS).as_reals() - 1.5
    cosine, sine = (x * x).polynomials((1.0, *COS), (0.5 * pi, *SIN))
    return _quartered(word, cosine, sine * x, _SWAP, _SIGN)


def _quartered(word: Lanes, c: Lanes, s: Lanes, swap: int, sign: int) -> tuple[Lanes, Lanes]:
    # n = 0..3: (c, s), (-s, c), (-c, -s), (s, -c)
    a, b = (word & swap).choose(s, c)
    flip = (word ^ (word << 1)) & sign
    return (a.as_bits() ^ flip).as_reals(), (b.as_bits() ^ (word & sign)).as_reals()


def _radius32(word: Lanes) -> Lanes:
    bits = word.from_unsigned().fma(2.0**-32, 2.0**-33).as_bits()
    above = bits.minus(_ROOT_HALF_BITS32)
    m = bits.minus(above & _EXPONENT32).as_reals()
    power = above.signed_shift(23).from_signed()
    f = m - 1.0
    square = f * f
    low = f.split_polynomial(square, _LOG_SINGLE).fma(f, 1.0).fma(square, f * -2.0)
    return power.fma(-2.0 * log(2.0), low).sqrt()


def _turn32(word: Lanes) -> tuple[Lanes, Lanes]:
    x = (((word << 2) >> 9) | _ONE_BITS32).as_reals() - 1.5
    cosine, sine = (x * x).polynomials(_COS_SINGLE, _SIN_SINGLE)
    return _quartered(word, cosine, sine * x, _SWAP32, _SIGN32)


def _vectors(together: int, source_kind: str) -> Any:
    # z[lane stride + at + i] of `together` vectors of blocks, from the "addresses" of blocks, from
    # those of the first "chain" of each vector, or from "words".
    def build(
        typingctx: Any, z: Any, stride: Any, at: Any, source: Any, shift: Any, keys: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            out, table, schedule = (
                Table(context, builder, signature.args[k], args[k]) for k in (0, 3, 5)
            )
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
                radius, angle = (Lanes(builder, words[lane + k]) for k in range(2))
                length = _radius(radius) if out.item == 8 else _radius32(radius)
                for k, side in enumerate(_turn(angle) if out.item == 8 else _turn32(angle)):
                    row = builder.add(at, builder.mul(stride, ir.Constant(word, lane + k)))
                    for n, value in enumerate((length * side).vectors):
                        place = builder.add(row, ir.Constant(word, n * out.width))
                        out.store_vector(place, value)
            return context.get_dummy_value()

        return types.none(z, stride, at, source, shift, keys), generate

    return intrinsic(build)


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


_of_addresses, _of_address = (_vectors(n, "addresses") for n in (_TOGETHER, 1))
_of_chains, _of_chain = (_vectors(n, "chains") for n in (_TOGETHER, 1))
_of_words, _of_word = (_vectors(n, "words") for n in (_TOGETHER, 1))


@njit(cache=True, error_model="numpy")
def _encrypted_lanes(z: Any, counters: Any, shift: Any, k0: Any, k1: Any) -> None:
    wide_vectors()
    keys, flat, stride, n = round_keys(k0, k1), z.reshape(-1), z.shape[1], counters.shape[0]
    width = BYTES // z.itemsize
    many, whole = n - n % (_TOGETHER * width), n - n % width
    for i in range(0, many, _TOGETHER * width):
        _of_addresses(flat, stride, i, counters, shift, keys)
    for i in range(many, whole, width):
        _of_address(flat, stride, i, counters, shift, keys)
    if whole < n:
        part, rest = np.zeros((width, 4), np.uint32), np.empty((z.shape[0], width), z.dtype)
        part[: n - whole] = counters[whole:]
        _of_address(rest.reshape(-1), width, 0, part, shift, keys)
        z[:, whole:n] = rest[:, : n - whole]


@njit(cache=True, error_model="numpy")
def normals_of_words(z: Any, words: Any) -> None:
    """Write the normals of words that exist; callable from Python and from compiled code.

    Parameters
    ----------
    z : (2, m) float64 or (4, m) float32
        Overwritten in the first ``n`` columns; ``m >= n``, C-contiguous.
    words : (n, 4) uint32
        Of each block.
    """
    wide_vectors()
    keys, flat, stride, n = round_keys(0, 0), z.reshape(-1), z.shape[1], words.shape[0]
    width = BYTES // z.itemsize
    many, whole = n - n % (_TOGETHER * width), n - n % width
    for i in range(0, many, _TOGETHER * width):
        _of_words(flat, stride, i, words, 0, keys)
    for i in range(many, whole, width):
        _of_word(flat, stride, i, words, 0, keys)
    if whole < n:
        part, rest = np.zeros((width, 4), np.uint32), np.empty((z.shape[0], width), z.dtype)
        part[: n - whole] = words[whole:]
        _of_word(rest.reshape(-1), width, 0, part, 0, keys)
        z[:, whole:n] = rest[:, : n - whole]


@njit(cache=True, error_model="numpy")
def _tabled_lanes(z: Any, counters: Any, shift: Any, k0: Any, k1: Any) -> None:
    words = np.empty_like(counters)
    ars_words(counters, shift, round_keys(k0, k1), words)
    normals_of_words(z, words)


@njit(cache=True, error_model="numpy")
def _encrypted_chains(z: Any, starts: Any, shift: Any, k0: Any, k1: Any) -> None:
    wide_vectors()
    keys, flat, stride, width = round_keys(k0, k1), z.reshape(-1), z.shape[1], BYTES // z.itemsize
    n = starts.shape[0] * width
    many = n - n % (_TOGETHER * width)
    for i in range(0, many, _TOGETHER * width):
        _of_chains(flat, stride, i, starts, shift, keys)
    for i in range(many, n, width):
        _of_chain(flat, stride, i, starts, shift, keys)


@njit(cache=True, error_model="numpy")
def _tabled_chains(z: Any, starts: Any, shift: Any, k0: Any, k1: Any) -> None:
    width = BYTES // z.itemsize
    counters = np.empty((starts.shape[0] * width, 4), np.uint32)
    for i in range(counters.shape[0]):
        counters[i] = starts[i // width]
        counters[i, 2] += np.uint32(i % width)
    _tabled_lanes(z, counters, shift, k0, k1)


def _lanes(z: Any, counters: Any, shift: Any, k0: Any, k1: Any) -> None:
    raise NotImplementedError  # compiled code only, see `fill_lanes`


def _chains(z: Any, starts: Any, shift: Any, k0: Any, k1: Any) -> None:
    raise NotImplementedError  # compiled code only, see `fill_chains`


def _chosen(quick: Any, tabled: Any) -> Any:
    # By what the target of the compiler can do.
    def choose(z: Any, counters: Any, shift: Any, k0: Any, k1: Any) -> Any:
        kernel = quick if cipher_bits(cpu_target.target_context) > 0 else tabled

        def run(z: Any, counters: Any, shift: Any, k0: Any, k1: Any) -> None:
            kernel(z, counters, shift, k0, k1)

        return run

    return choose


overload(_lanes)(_chosen(_encrypted_lanes, _tabled_lanes))
overload(_chains)(_chosen(_encrypted_chains, _tabled_chains))


@njit(cache=True, error_model="numpy")
def fill_chains(z: Any, starts: Any, shift: Any, k0: Any, k1: Any) -> None:
    """Write all normals of runs of chains; callable from Python and from compiled code.

    Every vector of 64 bytes of ``z`` holds consecutive chains: block ``starts[j]``, with ``shift``
    added to its second word and ``c`` to its third, gives column ``j w + c`` of ``z`` for each
    ``c`` below the width ``w``, 8 in double and 16 in single precision.

    Parameters
    ----------
    z : (2, n w) float64 or (4, n w) float32
        Overwritten; C-contiguous.
    starts : (n, 4) uint32
        Addresses, C-contiguous.
    shift : int
        Added to the second word, modulo ``2**32``.
    k0, k1 : uint32
        Key words, see :func:`fracsde.backends.philox.seed_key`.
    """
    _chains(z, starts, shift, k0, k1)


@njit(cache=True, error_model="numpy")
def fill_lanes(z: Any, counters: Any, shift: Any, k0: Any, k1: Any) -> None:
    """Write all normals of many blocks; callable from Python and from compiled code.

    Block ``counters[i]``, with ``shift`` added to its second word, gives column ``i`` of ``z``.

    Parameters
    ----------
    z : (2, m) float64 or (4, m) float32
        Overwritten in the first ``n`` columns; ``m >= n``, C-contiguous.
    counters : (n, 4) uint32
        Addresses, C-contiguous.
    shift : int
        Added to the second word, modulo ``2**32``.
    k0, k1 : uint32
        Key words, see :func:`fracsde.backends.philox.seed_key`.
    """
    _lanes(z, counters, shift, k0, k1)

r"""Random words addressed by a counter, many at a time: ARS4x32-7.

One block maps 16 bytes of counter :math:`c`, under 16 bytes of key, to four random words by rounds
of the AES cipher,

.. math::
    x_0 = c \oplus \kappa_0, \qquad
    x_r = \mathrm{Mix}(\mathrm{Shift}(S[x_{r-1}])) \oplus \kappa_r, \qquad
    \kappa_r = \kappa_0 + r\,\omega \ \ (\mathrm{mod}\ 2^{64}\ \text{in each half}),

seven of them, the last without Mix, and :math:`\omega` the two Weyl constants of the golden ratio
and of :math:`\sqrt 3 - 1`.  The words are a function of their address alone, as those of
:mod:`fracsde.backends.philox` are.  Processors have one instruction for a round of one block, or
of four: a word takes a third of the time of a word of Philox.

What is known of it: its authors found no statistical flaw with 5 rounds or more, all of BigCrush
included, and made 7 the number of their library for a margin [Salmon2011]_.  The words are no
secret, and need not be: the cipher itself takes 10 rounds and a stronger schedule of keys.

Processors without the instruction compute the same words from tables, some ten times slower.

Not here: normals made from the words (:mod:`fracsde.backends.lane_normals`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir

from fracsde._compiled import njit
from fracsde.backends.vector_code import call, shuffled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = [
    "ROUNDS",
    "ars4x32_reference",
    "ars_words",
    "cipher_bits",
    "encrypted",
    "encrypting",
    "round_keys",
]

ROUNDS = 7
_WEYL = np.array([0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B], dtype=np.uint64)
_SHIFT = np.array([0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11])


def _substitution() -> NDArray[np.uint8]:
    # The inverse in the field of 256 elements, then an affine map of its bits.
    table = np.zeros(256, dtype=np.uint8)
    p = q = 1
    for _ in range(255):  # p runs through the powers of 3, q through their inverses
        p = (p ^ (p << 1) ^ (0x11B if p & 0x80 else 0)) & 0xFF
        for shift in (1, 2, 4):
            q = (q ^ (q << shift)) & 0xFF
        q ^= 0x09 if q & 0x80 else 0
        turned = [(q << k | q >> (8 - k)) & 0xFF for k in range(5)]
        table[p] = np.bitwise_xor.reduce(turned) ^ 0x63
    table[0] = 0x63
    return table


def _mixed(columns: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # Each byte of a column: 2 a + 3 b + c + d, in the field.
    double = (columns << 1) ^ np.where(columns & 0x80, np.uint8(0x1B), np.uint8(0))
    first, second, third = (np.roll(columns, -k, axis=-1) for k in (1, 2, 3))
    return np.asarray(double ^ np.roll(double, -1, axis=-1) ^ first ^ second ^ third)


_S = _substitution()
# Substitution and mixing of one byte, a word for each row of a column.
_T = np.stack([_mixed(np.roll(np.eye(1, 4, dtype=np.uint8) * b, k)) for b in _S for k in range(4)])
_T = np.ascontiguousarray(_T.reshape(256, 4, 4).transpose(1, 0, 2)).view("<u4")[..., 0]
_T = _T.astype(np.uint32)


def ars4x32_reference(
    counter: NDArray[np.uint32], key: tuple[np.uint32, ...], rounds: int = ROUNDS
) -> NDArray[np.uint32]:
    """Random words of many blocks in plain NumPy: the definition of correct.

    Parameters
    ----------
    counter : (..., 4) uint32
        Addresses.
    key : two or four uint32
        Key words; those that are not given are zero.
    rounds : int
        Rounds of the cipher.

    Returns
    -------
    (..., 4) uint32
    """
    words = np.zeros(4, dtype="<u4")
    words[: len(key)] = key
    kappa = words.view("<u8")
    x = np.ascontiguousarray(counter, dtype="<u4").view(np.uint8) ^ kappa.view(np.uint8)
    for r in range(rounds):
        kappa = kappa + _WEYL
        x = _S[x][..., _SHIFT]
        if r < rounds - 1:
            x = _mixed(x.reshape(*x.shape[:-1], 4, 4)).reshape(x.shape)
        x = x ^ kappa.view(np.uint8)
    return np.ascontiguousarray(x).view("<u4").astype(np.uint32)


@njit(cache=True, error_model="numpy")
def round_keys(k0: Any, k1: Any) -> Any:
    """Return the key of each round, the first being that of the counter.

    Parameters
    ----------
    k0, k1 : uint32
        Key words; the other two are zero.

    Returns
    -------
    (ROUNDS + 1, 2) uint64
    """
    keys = np.empty((ROUNDS + 1, 2), dtype=np.uint64)
    keys[0, 0] = np.uint64(k0) | (np.uint64(k1) << np.uint64(32))
    keys[0, 1] = np.uint64(0)
    for r in range(ROUNDS):
        for half in range(2):
            keys[r + 1, half] = keys[r, half] + _WEYL[half]
    return keys


@njit(cache=True, error_model="numpy")
def ars_words(counters: Any, shift: Any, keys: Any, out: Any) -> None:
    """Write the words of many blocks from tables; for processors without the instruction.

    Parameters
    ----------
    counters : (n, 4) uint32
        Addresses.
    shift : int
        Added to the second word of each.
    keys : (ROUNDS + 1, 2) uint64
        From :func:`round_keys`.
    out : (n, 4) uint32
        Overwritten.
    """
    byte, x, y = np.uint32(0xFF), np.empty(4, dtype=np.uint32), np.empty(4, dtype=np.uint32)
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for i in range(counters.shape[0]):
        for w in range(4):
            word = counters[i, w] + np.uint32(shift) if w == 1 else counters[i, w]
            x[w] = word ^ np.uint32((keys[0, w // 2] >> (half * np.uint64(w % 2))) & low)
        for r in range(1, ROUNDS + 1):
            for w in range(4):
                total = np.uint32((keys[r, w // 2] >> (half * np.uint64(w % 2))) & low)
                for row in range(4):
                    b = (x[(w + row) % 4] >> np.uint32(8 * row)) & byte
                    if r < ROUNDS:
                        total ^= _T[row, b]
                    else:
                        total ^= np.uint32(_S[b]) << np.uint32(8 * row)
                y[w] = total
            for w in range(4):
                x[w] = y[w]
        for w in range(4):
            out[i, w] = x[w]


def cipher_bits(context: Any) -> int:
    """Return how many bits one instruction of the compiler's target encrypts, 0 for none.

    Parameters
    ----------
    context : numba target context
        As an intrinsic receives it.

    Returns
    -------
    int
        0, 128, 256 or 512.
    """
    triple, name, features = context.codegen().magic_tuple()
    found = set(str(features).split(","))
    if triple.startswith(("aarch64", "arm64")):
        apple = str(name).startswith("apple-m") and "-aes" not in found
        return 128 if "+aes" in found or apple else 0
    if {"+vaes", "+avx512f"} <= found:
        return 512
    if {"+vaes", "+avx2"} <= found:
        return 256
    return 128 if {"+aes", "+sse2"} <= found else 0


def encrypted(context: Any, builder: Any, blocks: list[Any], keys: list[Any]) -> list[Any]:
    """Return vectors of four blocks, encrypted by instructions of the target.

    Parameters
    ----------
    context, builder
        Of an intrinsic.
    blocks : list of <8 x i64>
        Counters.
    keys : list of <8 x i64>
        Key of each round, four times.

    Returns
    -------
    list of <8 x i64>
    """
    blocks = list(blocks)
    for _ in encrypting(context, builder, blocks, keys):
        pass
    return blocks


def encrypting(context: Any, builder: Any, blocks: list[Any], keys: list[Any]) -> Iterator[None]:
    """Encrypt as :func:`encrypted` does, and pause after each instruction.

    Parameters
    ----------
    context, builder, keys
        As for :func:`encrypted`.
    blocks : list of <8 x i64>
        Overwritten.

    Yields
    ------
    None
    """
    for n, block in enumerate(blocks):
        blocks[n] = builder.xor(block, keys[0])
    for r, key in enumerate(keys[1:], start=1):
        for n, block in enumerate(blocks):
            blocks[n] = _round(context, builder, block, key, last=r == ROUNDS)
            yield


def _round(context: Any, builder: Any, block: Any, key: Any, *, last: bool) -> Any:
    bits = cipher_bits(context)
    if bits == 64 * block.type.count:
        name = "aesenclast" if last else "aesenc"
        return call(builder, f"llvm.x86.aesni.{name}.{bits}", block.type, block, key)
    parts = [
        shuffled(builder, block, block, [2 * k, 2 * k + 1]) for k in range(block.type.count // 2)
    ]
    key = shuffled(builder, key, key, [0, 1])
    if context.codegen().magic_tuple()[0].startswith(("aarch64", "arm64")):
        parts = [_arm_round(builder, part, key, last=last) for part in parts]
    else:
        name = "llvm.x86.aesni.aesenclast" if last else "llvm.x86.aesni.aesenc"
        parts = [call(builder, name, key.type, part, key) for part in parts]
    while len(parts) > 1:
        whole = range(2 * parts[0].type.count)
        parts = [
            shuffled(builder, a, b, whole) for a, b in zip(parts[0::2], parts[1::2], strict=True)
        ]
    return parts[0]


def _arm_round(builder: Any, block: Any, key: Any, *, last: bool) -> Any:
    # This instruction adds its key before the substitution, and mixes in a second one.
    kind = ir.VectorType(ir.IntType(8), 16)
    inner = call(
        builder,
        "llvm.aarch64.crypto.aese",
        kind,
        builder.bitcast(block, kind),
        ir.Constant(kind, [0] * 16),
    )
    if not last:
        inner = call(builder, "llvm.aarch64.crypto.aesmc", kind, inner)
    return builder.xor(builder.bitcast(inner, block.type), key)

r"""Random numbers addressed by a counter: Philox4x32-10 and standard normals made from it.

One block maps four counter words :math:`c` and two key words :math:`k` to four random words by
ten rounds of

.. math::
    (c_0, c_1, c_2, c_3) \mapsto
    (\mathrm{hi}(M_1 c_2) \oplus c_1 \oplus k_0,\; \mathrm{lo}(M_1 c_2),\;
     \mathrm{hi}(M_0 c_0) \oplus c_3 \oplus k_1,\; \mathrm{lo}(M_0 c_0)),

with hi and lo the halves of the 64-bit product and the key advanced by a constant after each
round.  A block is a function of its address alone: a stream needs no state, so results depend
neither on the number of threads nor on how a run is cut into calls.

Two normals come from one block by Box and Muller,

.. math::
    z_0 = \sqrt{-2 \log u}\,\cos 2\pi v, \qquad z_1 = \sqrt{-2 \log u}\,\sin 2\pi v,

with :math:`u \in (0, 1]` from words 0 and 1 and :math:`v \in [0, 1)` from words 2 and 3, 52
bits each: the largest normal is :math:`\sqrt{104 \log 2} = 8.49`, so :math:`2 \cdot 10^{-17}`
of the law is cut off.  Logarithm, sine and cosine are short power series in additions,
multiplications and one division, never contracted into fused operations: the normals have the
same bits on every machine, and a loop over blocks compiles to vector instructions, about
twice as many normals a second as NumPy's ``standard_normal``.

Not here: choosing addresses.  The convention is the caller's; a common one is
``(index, step, stream, purpose)`` under the key of :func:`seed_key`.

References: [Salmon2011]_ for the generator and its test vectors, [BoxMuller1958]_.
"""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from fracsde._check import integer
from fracsde.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray, RandomState

__all__ = [
    "fill_normals",
    "philox4x32",
    "philox4x32_reference",
    "philox_normal_pair",
    "philox_normals_reference",
    "seed_key",
]

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)

# log m = 2 artanh(s), s = (m - 1) / (m + 1), |s| <= 3 - sqrt(8): eleven terms reach 1e-17.
_LOG = tuple(2.0 / (2 * k + 1) for k in range(11))
_ONE_BITS = np.uint64(0x3FF0000000000000)
_MANTISSA = np.uint64(0x000FFFFFFFFFFFFF)
_TOP20 = np.uint64(0xFFFFF)
_SHIFT_WORD, _SHIFT_EXPONENT = np.uint64(20), np.uint64(52)
_BIAS = np.int64(1023)
_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
_SQRT2 = 2.0**0.5
_TILE = 256


def _taylor(first: int, terms: int) -> tuple[float, ...]:
    # In x**2: of cos x (first = 0) or of sin(x) / x (first = 1).
    values, term = [], 1.0
    for k in range(terms):
        values.append(term)
        term /= -((2 * k + first + 1) * (2 * k + first + 2))
    return tuple(values)


# Angles are reduced to |x| <= pi / 4, where nine terms leave less than 1e-17.
_COS, _SIN = _taylor(0, 9), _taylor(1, 9)


def _float_of_bits(typingctx: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.float64))

    return types.float64(types.uint64), generate


def _bits_of_float(typingctx: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.uint64))

    return types.uint64(types.float64), generate


_as_float: Any = intrinsic(_float_of_bits)
_as_bits: Any = intrinsic(_bits_of_float)


@njit(cache=True, error_model="numpy", inline="always")
def philox4x32(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Return the four random words of one block; call it from compiled code.

    Parameters
    ----------
    c0, c1, c2, c3 : uint32
        Counter words: the address of the block.
    k0, k1 : uint32
        Key words, see :func:`seed_key`.

    Returns
    -------
    tuple of four uint32
        Independent for all practical purposes between addresses and between keys.

    Examples
    --------
    >>> [hex(word) for word in philox4x32(0, 0, 0, 0, 0, 0)]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    # Words live in 64-bit lanes with a clear upper half: the products need no repacking.
    w0, w1 = np.uint64(c0) & _LOW, np.uint64(c1) & _LOW
    w2, w3 = np.uint64(c2) & _LOW, np.uint64(c3) & _LOW
    key0, key1 = np.uint64(k0) & _LOW, np.uint64(k1) & _LOW
    for _ in range(10):
        first = _M0 * w0
        second = _M1 * w2
        w0 = (second >> _HALF) ^ w1 ^ key0
        w1 = second & _LOW
        w2 = (first >> _HALF) ^ w3 ^ key1
        w3 = first & _LOW
        key0 = (key0 + _W0) & _LOW
        key1 = (key1 + _W1) & _LOW
    return np.uint32(w0), np.uint32(w1), np.uint32(w2), np.uint32(w3)


@njit(cache=True, error_model="numpy", inline="always")
def _log(x: Any) -> Any:
    # Positive normal arguments only; right to about one unit in the last place.
    bits = _as_bits(x)
    exponent = np.int64(bits >> _SHIFT_EXPONENT) - _BIAS
    mantissa = _as_float((bits & _MANTISSA) | _ONE_BITS)
    high = mantissa > _SQRT2
    mantissa = 0.5 * mantissa if high else mantissa
    power = np.float64(exponent + 1 if high else exponent)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    q = s * s
    tail = _LOG[10]
    for k in range(9, -1, -1):
        tail = tail * q + _LOG[k]
    return power * _LN2_HIGH + (s * tail + power * _LN2_LOW)


@njit(cache=True, error_model="numpy", inline="always")
def philox_normal_pair(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Return the two standard normals of one block; call it from compiled code.

    Parameters
    ----------
    c0, c1, c2, c3 : uint32
        Counter words: the address of the block.
    k0, k1 : uint32
        Key words, see :func:`seed_key`.

    Returns
    -------
    tuple of two float64
        Independent standard normals, at most 8.49 in magnitude.
    """
    w0, w1, w2, w3 = philox4x32(c0, c1, c2, c3, k0, k1)
    # A float64 in [1, 2) whose 52 fraction bits are random needs no conversion of integers.
    u = 2.0 - _as_float(_ONE_BITS | (np.uint64(w0) << _SHIFT_WORD) | (np.uint64(w1) & _TOP20))
    v = _as_float(_ONE_BITS | (np.uint64(w2) << _SHIFT_WORD) | (np.uint64(w3) & _TOP20)) - 1.0
    radius = np.sqrt(-2.0 * _log(u))
    turns = 4.0 * v
    quadrant = np.floor(turns + 0.5)
    x = (turns - quadrant) * (0.5 * pi)
    q = x * x
    cosine, sine = _COS[8], _SIN[8]
    for k in range(7, -1, -1):
        cosine = cosine * q + _COS[k]
        sine = sine * q + _SIN[k]
    sine = sine * x
    # quadrant 0..4: (c, s), (-s, c), (-c, -s), (s, -c), (c, s)
    odd = (quadrant == 1.0) | (quadrant == 3.0)
    a = sine if odd else cosine
    b = cosine if odd else sine
    a = -a if (quadrant == 1.0) | (quadrant == 2.0) else a
    b = -b if (quadrant == 2.0) | (quadrant == 3.0) else b
    return radius * a, radius * b


@njit(cache=True, error_model="numpy")
def fill_normals(out: Any, first: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> None:
    """Write standard normals into ``out``; callable from Python and from compiled code.

    Block ``first + i``, that is counter ``(first + i, c1, c2, c3)``, gives ``out[2 i]`` and
    ``out[2 i + 1]``; an odd last entry takes the first normal of its block.

    Parameters
    ----------
    out : (n,) float64
        Overwritten; ``n`` at most ``2**33 - 2 * first``.
    first : int
        Counter word 0 of the first block.
    c1, c2, c3 : int
        The other counter words.
    k0, k1 : int
        Key words.
    """
    pairs = out.shape[0] // 2
    even, odd = np.empty(_TILE), np.empty(_TILE)
    for start in range(0, pairs, _TILE):
        size = min(_TILE, pairs - start)
        for i in range(size):
            even[i], odd[i] = philox_normal_pair(first + start + i, c1, c2, c3, k0, k1)
        for i in range(size):
            out[2 * (start + i)] = even[i]
            out[2 * (start + i) + 1] = odd[i]
    if out.shape[0] % 2:
        out[2 * pairs] = philox_normal_pair(first + pairs, c1, c2, c3, k0, k1)[0]


def seed_key(seed: RandomState, name: str = "seed") -> tuple[np.uint32, np.uint32]:
    """Return the two key words of a seed.

    Parameters
    ----------
    seed : int, SeedSequence or Generator
        A whole number or a seed sequence gives the same key each time; a generator is drawn
        from, so each call gives another key.
    name : str
        The argument's name, for messages.

    Returns
    -------
    tuple of two uint32

    Raises
    ------
    InputError
        If it is none of these.

    Examples
    --------
    >>> seed_key(7) == seed_key(np.random.SeedSequence(7))
    True
    """
    words: NDArray[Any]
    if isinstance(seed, np.random.Generator):
        words = seed.integers(0, 2**32, size=2, dtype=np.uint32)
    elif isinstance(seed, np.random.SeedSequence):
        words = seed.generate_state(2)
    elif isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        words = np.random.SeedSequence(integer(name, seed, low=0)).generate_state(2)
    else:
        msg = (
            f"`{name}` must be a whole number, a numpy SeedSequence or a numpy Generator, "
            f"got {seed!r}; results can only be made again from a seed"
        )
        raise InputError(msg)
    return np.uint32(words[0]), np.uint32(words[1])


def philox4x32_reference(
    counter: NDArray[np.uint32], key: tuple[np.uint32, np.uint32]
) -> NDArray[np.uint32]:
    """Random words of many blocks in plain NumPy: the definition of correct.

    Parameters
    ----------
    counter : (..., 4) uint32
        Addresses.
    key : two uint32
        Key words.

    Returns
    -------
    (..., 4) uint32
    """
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter, dtype=np.uint64), -1, 0)
    key0, key1 = (np.uint64(word) for word in key)
    for _ in range(10):
        first, second = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (
            (second >> _HALF) ^ c1 ^ key0,
            second & _LOW,
            (first >> _HALF) ^ c3 ^ key1,
            first & _LOW,
        )
        key0, key1 = (key0 + _W0) & _LOW, (key1 + _W1) & _LOW
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def philox_normals_reference(
    counter: NDArray[np.uint32], key: tuple[np.uint32, np.uint32]
) -> FloatArray:
    """Return the two standard normals of many blocks, from NumPy's own log, sin and cos.

    Parameters
    ----------
    counter : (..., 4) uint32
        Addresses.
    key : two uint32
        Key words.

    Returns
    -------
    (..., 2) float64
        What :func:`philox_normal_pair` gives, to rounding.
    """
    words = philox4x32_reference(counter, key).astype(np.uint64)
    top = (words[..., 0::2] << _SHIFT_WORD) | (words[..., 1::2] & _TOP20)
    uniform = top.astype(np.float64) * 2.0**-52
    radius = np.sqrt(-2.0 * np.log(1.0 - uniform[..., 0]))
    angle = 2.0 * pi * uniform[..., 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)

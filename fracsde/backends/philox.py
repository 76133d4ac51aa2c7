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
same bits on every machine, and a loop over blocks compiles to vector instructions.

Not here: choosing addresses.  The convention is the caller's; a common one is
``(index, step, stream, purpose)`` under the key of :func:`seed_key`.

References: [Salmon2011]_ for the generator and its test vectors, [BoxMuller1958]_.
"""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from fracsde._check import integer
from fracsde._typing import FloatArray, RandomState
from fracsde.errors import InputError

__all__ = [
    "fill_normals",
    "philox4x32",
    "philox4x32_reference",
    "philox_normal_pair",
    "philox_normals_reference",
    "seed_key",
]

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)

# log m = 2 artanh(s), s = (m - 1) / (m + 1), |s| <= 3 - sqrt(8): eleven terms reach 1e-17.
_LOG = tuple(2.0 / (2 * k + 1) for k in range(11))
_ONE_BITS = np.uint64(0x3FF0000000000000)
_MANTISSA = np.uint64(0x000FFFFFFFFFFFFF)
_SHIFT_WORD, _SHIFT_EXPONENT = np.uint64(20), np.uint64(52)
_BIAS = np.int64(1023)
_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
_SQRT2 = 2.0**0.5


def _taylor(first: int, terms: int) -> tuple[float, ...]:
    """Coefficients in x**2 of cos (first = 0) or of sin / x (first = 1)."""
    values, term = [], 1.0
    for k in range(terms):
        values.append(term)
        term /= -((2 * k + first + 1) * (2 * k + first + 2))
    return tuple(values)


# Angles are reduced to |x| <= pi / 4, where nine terms leave less than 1e-17.
_COS, _SIN = _taylor(0, 9), _taylor(1, 9)


@intrinsic
def _as_float(typingctx: Any, bits: Any) -> Any:
    """Read the bits of an unsigned integer as a float64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.float64))

    return types.float64(types.uint64), generate


@intrinsic
def _as_bits(typingctx: Any, value: Any) -> Any:
    """Read the bits of a float64 as an unsigned integer."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.uint64))

    return types.uint64(types.float64), generate


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
    w0, w1, w2, w3 = np.uint32(c0), np.uint32(c1), np.uint32(c2), np.uint32(c3)
    key0, key1 = np.uint32(k0), np.uint32(k1)
    for _ in range(10):
        first = _M0 * np.uint64(w0)
        second = _M1 * np.uint64(w2)
        w0 = np.uint32(np.uint32(second >> _HALF) ^ w1 ^ key0)
        w1 = np.uint32(second & _LOW)
        w2 = np.uint32(np.uint32(first >> _HALF) ^ w3 ^ key1)
        w3 = np.uint32(first & _LOW)
        key0 = np.uint32(key0 + _W0)
        key1 = np.uint32(key1 + _W1)
    return w0, w1, w2, w3


@njit(cache=True, error_model="numpy", inline="always")
def _log(x: Any) -> Any:
    """Natural logarithm of a positive normal float64, to 1 unit in the last place or so."""
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


_TOP20 = np.uint64(0xFFFFF)


@njit(cache=True, error_model="numpy")
def fill_normals(out: Any, first: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> None:
    """Write standard normals into ``out``; callable from Python and from compiled code.

    Block ``first + i``, that is counter ``(first + i, c1, c2, c3)``, gives ``out[2 i]`` and
    ``out[2 i + 1]``; an odd last entry takes the first normal of its block.

    Parameters
    ----------
    out : (n,) float64
        Overwritten; contiguous, ``n`` at most ``2**33 - 2 * first``.
    first : int
        Counter word 0 of the first block.
    c1, c2, c3 : int
        The other counter words.
    k0, k1 : int
        Key words.
    """
    pairs = out.shape[0] // 2
    start = np.uint32(first)
    for i in range(pairs):
        a, b = philox_normal_pair(start + np.uint32(i), c1, c2, c3, k0, k1)
        out[2 * i] = a
        out[2 * i + 1] = b
    if out.shape[0] % 2:
        a, b = philox_normal_pair(start + np.uint32(pairs), c1, c2, c3, k0, k1)
        out[2 * pairs] = a

r"""Standard normals addressed by a counter: Box and Muller's map of Philox words.

.. math::
    z_0 = \sqrt{-2 \log u}\,\cos 2\pi v, \qquad z_1 = \sqrt{-2 \log u}\,\sin 2\pi v .

============  ======================  =====================  ==================  ==============
numbers       normals of a block      :math:`u`              :math:`v`           largest
============  ======================  =====================  ==================  ==============
float64       2, words 0-1 and 2-3    52 bits, in (0, 1]     54 bits             8.49
float32       4, words 0-1, 2-3       32 bits, in (0, 1]     25 bits             6.76
============  ======================  =====================  ==================  ==============

so that :math:`2 \cdot 10^{-17}` and :math:`1.4 \cdot 10^{-11}` of the law are cut off; the
distribution function of a float32 normal is within :math:`10^{-7}` of the exact one.

Logarithm, sine and cosine are polynomials, best in the largest error, with every multiplication and
addition fused as written: the normals have the same bits on every machine.  A loop over
blocks compiles to vector instructions, and the two halves of the work, words and map, run one after
the other over a few hundred blocks that stay in the first-level cache.

The quarter of the circle is taken from the two top bits of the second word and the angle within it
from the others, which makes :math:`2\pi v = \tfrac{\pi}{2}(n + x)`, :math:`|x| \le \tfrac12`.

Not here: the words (:mod:`fracsde.backends.philox`) and choosing addresses.

Reference: [BoxMuller1958]_.
"""

from __future__ import annotations

from math import log, pi
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit, types
from numba.extending import overload

from fracsde.backends.philox import philox4x32_reference, philox_words
from fracsde.backends.vectors import bit_cast, fma, polynomial, wide_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray

__all__ = [
    "fill_lanes",
    "fill_normals",
    "philox_normal_pair",
    "philox_normals_reference",
    "philox_singles_reference",
]

_TILE = 256

# -2 log(1 + f) + 2 f - f**2 over f**3, for sqrt(1/2) <= 1 + f <= sqrt(2).
_LOG = (
    -0.66666666666657044073,
    0.50000000000012595668,
    -0.40000000003305883406,
    0.33333333333469226654,
    -0.28571428188207178091,
    0.24999999629114791773,
    -0.22222243488996927429,
    0.20000036686971787329,
    -0.1818117863791800619,
    0.16665109749538342981,
    -0.15395271219111681801,
    0.14320337477188212128,
    -0.13244203127841195135,
    0.12084083727230540256,
    -0.11944421668809065742,
    0.13567018739173596782,
    -0.12649983662832561309,
    0.056650644784840363243,
)
# cos(pi x / 2) - 1 over x**2, and sin(pi x / 2) - pi x / 2 over x**3, for |x| <= 1/2.
_COS = (
    -1.2337005501361698269,
    0.25366950790104782335,
    -0.020863480763340779109,
    0.00091926027454695699748,
    -2.5202039028895782552e-5,
    4.7106784363094805433e-7,
    -6.3294004512864340503e-9,
)
_SIN = (
    -0.64596409750624617456,
    0.079692626246144256501,
    -0.004681754134254782188,
    0.00016044116662052791334,
    -3.598702980382943466e-6,
    5.6422300744669333921e-8,
)
_LN2_HIGH, _LN2_LOW = -2.0 * 0.6931471803691238, -2.0 * 1.9082149292705877e-10

_LOG_SINGLE = tuple(
    np.float32(c)
    for c in (
        -0.666678214786,
        0.500026740931,
        -0.399261274992,
        0.331551682528,
        -0.298295349248,
        0.285349853761,
        -0.174008936452,
    )
)
_COS_SINGLE = tuple(
    np.float32(c) for c in (-1.23370054938, 0.253669410485, -0.0208615297081, 0.000906743540434)
)
_SIN_SINGLE = tuple(np.float32(c) for c in (-0.645964020039, 0.0796870381847, -0.0046219945716))
_LN2_SINGLE, _QUARTER_SINGLE = np.float32(-2.0 * log(2.0)), np.float32(0.5 * pi)
_ONE_SINGLE, _SHIFTED_SINGLE = np.float32(1.0), np.float32(1.5)
_MINUS_TWO_SINGLE = np.float32(-2.0)
_SCALE_SINGLE, _MIDDLE_SINGLE = np.float32(2.0**-32), np.float32(2.0**-33)

_LOW, _HALF, _TWELVE = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(12)
_ONE_BITS, _ROOT_HALF_BITS = np.uint64(0x3FF0000000000000), np.uint64(0x3FE6A09E00000000)
_EXPONENT, _SIGN, _SWAP = (np.uint64(0xFFF << 52), np.uint64(1 << 63), np.uint64(1 << 62))
_U1, _U2, _NONE, _I52 = np.uint64(1), np.uint64(2), np.uint64(0), np.int64(52)

_ONE_BITS32, _ROOT_HALF_BITS32 = np.uint32(0x3F800000), np.uint32(0x3F3504F3)
_EXPONENT32, _SIGN32, _SWAP32 = (np.uint32(0x1FF << 23), np.uint32(1 << 31), np.uint32(1 << 30))
_V1, _V2, _V9, _NONE32, _I23 = (
    np.uint32(1),
    np.uint32(2),
    np.uint32(9),
    np.uint32(0),
    np.int32(23),
)


_as_float, _as_bits = bit_cast(types.uint64, types.float64), bit_cast(types.float64, types.uint64)
_as_float32 = bit_cast(types.uint32, types.float32)
_as_bits32 = bit_cast(types.float32, types.uint32)
_log_tail, _log_tail32 = polynomial(_LOG), polynomial(_LOG_SINGLE)


@njit(cache=True, error_model="numpy", inline="always")
def _radius(word: Any) -> Any:
    # sqrt(-2 log u), u = 1 - k / 2**52: a float64 in [1, 2) with random bits needs no conversion.
    bits = _as_bits(2.0 - _as_float((word >> _TWELVE) | _ONE_BITS))
    exponent = (bits - _ROOT_HALF_BITS) & _EXPONENT
    m = _as_float(bits - exponent)  # between sqrt(1/2) and sqrt(2)
    power = np.float64(np.int64(exponent) >> _I52)
    # A division would save ten multiplications and take longer than twenty.
    f = m - 1.0
    low = fma(fma(_log_tail(f), f, 1.0), f * f, power * _LN2_LOW)
    return np.sqrt(fma(power, _LN2_HIGH, fma(f, -2.0, low)))


@njit(cache=True, error_model="numpy", inline="always")
def _turn(word: Any) -> Any:
    # cos and sin of (pi / 2) (n + x): n the two top bits, x the others less one half.
    x = _as_float(((word << _U2) >> _TWELVE) | _ONE_BITS) - 1.5
    q = x * x
    c, s = _COS[6], _SIN[5]
    for k in range(5, -1, -1):
        c = fma(c, q, _COS[k])
    for k in range(4, -1, -1):
        s = fma(s, q, _SIN[k])
    c, s = fma(c, q, 1.0), fma(s, q, 0.5 * pi) * x
    # n = 0..3: (c, s), (-s, c), (-c, -s), (s, -c)
    swap = (word & _SWAP) != _NONE
    a, b = (s if swap else c), (c if swap else s)
    flip = (word ^ (word << _U1)) & _SIGN
    return _as_float(_as_bits(a) ^ flip), _as_float(_as_bits(b) ^ (word & _SIGN))


@njit(cache=True, error_model="numpy", inline="always")
def _radius32(word: Any) -> Any:
    bits = _as_bits32(fma(np.float32(word), _SCALE_SINGLE, _MIDDLE_SINGLE))
    exponent = np.uint32(np.uint32(bits - _ROOT_HALF_BITS32) & _EXPONENT32)
    m = _as_float32(np.uint32(bits - exponent))
    power = np.float32(np.int32(exponent) >> _I23)
    f = m - _ONE_SINGLE
    low = fma(fma(_log_tail32(f), f, _ONE_SINGLE), f * f, f * _MINUS_TWO_SINGLE)
    return np.sqrt(fma(power, _LN2_SINGLE, low))


@njit(cache=True, error_model="numpy", inline="always")
def _turn32(word: Any) -> Any:
    shifted = np.uint32(np.uint32(word << _V2) >> _V9)
    x = _as_float32(np.uint32(shifted | _ONE_BITS32)) - _SHIFTED_SINGLE
    q = x * x
    c = fma(fma(_COS_SINGLE[3], q, _COS_SINGLE[2]), q, _COS_SINGLE[1])
    c = fma(fma(c, q, _COS_SINGLE[0]), q, _ONE_SINGLE)
    s = fma(fma(_SIN_SINGLE[2], q, _SIN_SINGLE[1]), q, _SIN_SINGLE[0])
    s = fma(s, q, _QUARTER_SINGLE) * x
    swap = np.uint32(word & _SWAP32) != _NONE32
    a, b = (s if swap else c), (c if swap else s)
    flip = np.uint32(np.uint32(word ^ np.uint32(word << _V1)) & _SIGN32)
    turned = np.uint32(_as_bits32(b) ^ np.uint32(word & _SIGN32))
    return _as_float32(np.uint32(_as_bits32(a) ^ flip)), _as_float32(turned)


@njit(cache=True, error_model="numpy", inline="always")
def philox_normal_pair(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Return the two standard normals of one block; call it from compiled code.

    Parameters
    ----------
    c0, c1, c2, c3 : uint32
        Counter words: the address of the block.
    k0, k1 : uint32
        Key words, see :func:`fracsde.backends.philox.seed_key`.

    Returns
    -------
    tuple of two float64
        Independent standard normals, at most 8.49 in magnitude.
    """
    w0, w1, w2, w3 = philox_words(c0, c1, c2, c3, k0, k1)
    radius = _radius((w0 << _HALF) | (w1 & _LOW))
    a, b = _turn((w2 << _HALF) | (w3 & _LOW))
    return radius * a, radius * b


@njit(cache=True, error_model="numpy")
def _doubles(z: Any, c0: Any, c1: Any, c2: Any, shift: Any, c3: Any, k0: Any, k1: Any) -> None:
    wide_vectors()
    even, odd = z[0], z[1]
    first, second = even.view(np.uint64), odd.view(np.uint64)
    for i in range(c0.shape[0]):
        w0, w1, w2, w3 = philox_words(c0[i], c1[i] + np.uint64(shift), c2[i], c3, k0, k1)
        first[i] = (w0 << _HALF) | (w1 & _LOW)
        second[i] = (w2 << _HALF) | (w3 & _LOW)
    for i in range(c0.shape[0]):
        radius = _radius(first[i])
        a, b = _turn(second[i])
        even[i], odd[i] = radius * a, radius * b


@njit(cache=True, error_model="numpy")
def _singles(z: Any, c0: Any, c1: Any, c2: Any, shift: Any, c3: Any, k0: Any, k1: Any) -> None:
    wide_vectors()
    words = z.view(np.uint32)
    first, second, third, fourth = words[0], words[1], words[2], words[3]
    for i in range(c0.shape[0]):
        w0, w1, w2, w3 = philox_words(c0[i], c1[i] + np.uint64(shift), c2[i], c3, k0, k1)
        first[i], second[i] = np.uint32(w0), np.uint32(w1)
        third[i], fourth[i] = np.uint32(w2), np.uint32(w3)
    for lane in range(0, 4, 2):
        even, odd = z[lane], z[lane + 1]
        radii, angles = words[lane], words[lane + 1]
        for i in range(c0.shape[0]):
            radius = _radius32(radii[i])
            a, b = _turn32(angles[i])
            even[i], odd[i] = radius * a, radius * b


def _lanes(z: Any, c0: Any, c1: Any, c2: Any, shift: Any, c3: Any, k0: Any, k1: Any) -> None:
    raise NotImplementedError  # compiled code only, see `fill_lanes`


@overload(_lanes)
def _choose(z: Any, c0: Any, c1: Any, c2: Any, shift: Any, c3: Any, k0: Any, k1: Any) -> Any:
    kernel: Any = _singles if z.dtype == types.float32 else _doubles
    return kernel.py_func


@njit(cache=True, error_model="numpy")
def fill_lanes(z: Any, c0: Any, c1: Any, c2: Any, shift: Any, c3: Any, k0: Any, k1: Any) -> None:
    """Write all normals of many blocks; callable from Python and from compiled code.

    Block ``(c0[i], c1[i] + shift, c2[i], c3)`` gives column ``i`` of ``z``.

    Parameters
    ----------
    z : (2, m) float64 or (4, m) float32
        Overwritten in the first ``n`` columns; ``m >= n``, rows contiguous.
    c0, c1, c2 : (n,) uint64
        Counter words, below ``2**32``.
    shift : int
        Added to ``c1``.
    c3 : int
        The last counter word.
    k0, k1 : uint32
        Key words.
    """
    _lanes(z, c0, c1, c2, shift, c3, k0, k1)


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
    pairs = (out.shape[0] + 1) // 2
    size = min(_TILE, pairs)
    z, counters = np.empty((2, size)), np.empty((3, size), dtype=np.uint64)
    counters[1], counters[2] = np.uint64(c1), np.uint64(c2)
    for start in range(0, pairs, _TILE):
        n = min(size, pairs - start)
        for i in range(n):
            counters[0, i] = np.uint64(first + start + i)
        _doubles(z, counters[0, :n], counters[1], counters[2], 0, c3, k0, k1)
        whole = min(n, (out.shape[0] - 2 * start) // 2)
        even, odd, part = z[0], z[1], out[2 * start :]
        for i in range(whole):
            part[2 * i] = even[i]
            part[2 * i + 1] = odd[i]
        if whole < n:
            part[2 * whole] = even[whole]


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
    u = 1.0 - (((words[..., 0] << _HALF) | words[..., 1]) >> _TWELVE) * 2.0**-52
    n = (words[..., 2] >> np.uint64(30)).astype(np.float64)
    x = ((((words[..., 2] << _HALF) | words[..., 3]) << _U2) >> _TWELVE) * 2.0**-52 - 0.5
    return _box_muller(u, n, x)


def philox_singles_reference(
    counter: NDArray[np.uint32], key: tuple[np.uint32, np.uint32]
) -> FloatArray:
    """Return the four single-precision normals of many blocks, before they are rounded.

    Parameters
    ----------
    counter : (..., 4) uint32
        Addresses.
    key : two uint32
        Key words.

    Returns
    -------
    (..., 4) float64
        What :func:`fill_lanes` writes as float32, to rounding.
    """
    words = philox4x32_reference(counter, key)
    u = words[..., 0::2].astype(np.float32) * _SCALE_SINGLE + _MIDDLE_SINGLE
    n = (words[..., 1::2] >> np.uint32(30)).astype(np.float64)
    x = ((words[..., 1::2] << _V2) >> _V9) * 2.0**-23 - 0.5
    return _box_muller(u.astype(np.float64), n, x).reshape(*words.shape)


def _box_muller(u: NDArray[Any], n: NDArray[Any], x: NDArray[Any]) -> FloatArray:
    radius, angle = np.sqrt(-2.0 * np.log(u)), 0.5 * pi * (n + x)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)

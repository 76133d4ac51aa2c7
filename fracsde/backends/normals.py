r"""Standard normals addressed by a counter: Box and Muller's map of Philox words.

.. math::
    z_0 = \sqrt{-2 \log u}\,\cos 2\pi v, \qquad z_1 = \sqrt{-2 \log u}\,\sin 2\pi v .

A block gives two: :math:`u \in (0, 1]` has 52 bits of words 0 and 1, :math:`v` 54 bits of words 2
and 3; the largest normal is 8.49, so that :math:`2 \cdot 10^{-17}` of the law is cut off.

Logarithm, sine and cosine are polynomials, best in the largest error, with every multiplication and
addition fused as written: the normals have the same bits on every machine.  A loop over
blocks compiles to vector instructions, and the two halves of the work, words and map, run one after
the other over a few hundred blocks that stay in the first-level cache.

The quarter of the circle is taken from the two top bits of the second word and the angle within it
from the others, which makes :math:`2\pi v = \tfrac{\pi}{2}(n + x)`, :math:`|x| \le \tfrac12`.

Not here: the words (:mod:`fracsde.backends.philox`), choosing addresses, and the normals of whole
runs (:mod:`fracsde.backends.lane_normals`).

Reference: [BoxMuller1958]_.
"""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types

from fracsde._compiled import njit
from fracsde.backends.philox import philox4x32_reference, philox_words
from fracsde.backends.vectors import bit_cast, fma, polynomial, wide_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray

__all__ = [
    "COS",
    "LN2_HIGH",
    "LN2_LOW",
    "LOG",
    "SIN",
    "box_muller",
    "fill_normal_rows",
    "fill_normals",
    "philox_normal_pair",
    "philox_normals_reference",
]

_TILE = 256

# -2 log(1 + f) + 2 f - f**2 over f**3, for sqrt(1/2) <= 1 + f <= sqrt(2).
LOG = (
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
COS = (
    -1.2337005501361698269,
    0.25366950790104782335,
    -0.020863480763340779109,
    0.00091926027454695699748,
    -2.5202039028895782552e-5,
    4.7106784363094805433e-7,
    -6.3294004512864340503e-9,
)
SIN = (
    -0.64596409750624617456,
    0.079692626246144256501,
    -0.004681754134254782188,
    0.00016044116662052791334,
    -3.598702980382943466e-6,
    5.6422300744669333921e-8,
)
LN2_HIGH, LN2_LOW = -2.0 * 0.6931471803691238, -2.0 * 1.9082149292705877e-10

_LOW, _HALF, _TWELVE = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(12)
_ONE_BITS, _ROOT_HALF_BITS = np.uint64(0x3FF0000000000000), np.uint64(0x3FE6A09E00000000)
_EXPONENT, _SIGN, _SWAP = (np.uint64(0xFFF << 52), np.uint64(1 << 63), np.uint64(1 << 62))
_U1, _U2, _NONE, _I52 = np.uint64(1), np.uint64(2), np.uint64(0), np.int64(52)

_as_float, _as_bits = bit_cast(types.uint64, types.float64), bit_cast(types.float64, types.uint64)
_log_tail = polynomial(LOG)


@njit(cache=True, error_model="numpy", inline="always")
def _radius(word: Any) -> Any:
    # sqrt(-2 log u), u = 1 - k / 2**52: a float64 in [1, 2) with random bits needs no conversion.
    bits = _as_bits(2.0 - _as_float((word >> _TWELVE) | _ONE_BITS))
    exponent = (bits - _ROOT_HALF_BITS) & _EXPONENT
    m = _as_float(bits - exponent)  # between sqrt(1/2) and sqrt(2)
    power = np.float64(np.int64(exponent) >> _I52)
    # A division would save ten multiplications and take longer than twenty.
    f = m - 1.0
    low = fma(fma(_log_tail(f), f, 1.0), f * f, power * LN2_LOW)
    return np.sqrt(fma(power, LN2_HIGH, fma(f, -2.0, low)))


@njit(cache=True, error_model="numpy", inline="always")
def _turn(word: Any) -> Any:
    # cos and sin of (pi / 2) (n + x): n the two top bits, x the others less one half.
    x = _as_float(((word << _U2) >> _TWELVE) | _ONE_BITS) - 1.5
    q = x * x
    c, s = COS[6], SIN[5]
    for k in range(5, -1, -1):
        c = fma(c, q, COS[k])
    for k in range(4, -1, -1):
        s = fma(s, q, SIN[k])
    c, s = fma(c, q, 1.0), fma(s, q, 0.5 * pi) * x
    # n = 0..3: (c, s), (-s, c), (-c, -s), (s, -c)
    swap = (word & _SWAP) != _NONE
    a, b = (s if swap else c), (c if swap else s)
    flip = (word ^ (word << _U1)) & _SIGN
    return _as_float(_as_bits(a) ^ flip), _as_float(_as_bits(b) ^ (word & _SIGN))


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


@njit(cache=True, error_model="numpy")
def fill_normal_rows(out: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> None:
    """Write standard normals into rows, each as :func:`fill_normals` does from block 0 on.

    Parameters
    ----------
    out : (row, column) float64
        Overwritten.
    c1, c3 : int
        Counter words.
    c2 : int
        The third counter word of the first row; the next rows count up.
    k0, k1 : int
        Key words.
    """
    rows, columns = out.shape
    pairs = (columns + 1) // 2
    total = rows * pairs
    size = min(_TILE, total)
    z, counters = np.empty((2, size)), np.empty((3, size), dtype=np.uint64)
    counters[1] = np.uint64(c1)
    for start in range(0, total, _TILE):
        n = min(size, total - start)
        for i in range(n):
            counters[0, i] = np.uint64((start + i) % pairs)
            counters[2, i] = np.uint64(c2 + (start + i) // pairs)
        _doubles(z, counters[0, :n], counters[1], counters[2], 0, c3, k0, k1)
        for i in range(n):
            row, column = (start + i) // pairs, 2 * ((start + i) % pairs)
            out[row, column] = z[0, i]
            if column + 1 < columns:
                out[row, column + 1] = z[1, i]


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
    return box_muller(u, n, x)


def box_muller(u: NDArray[Any], n: NDArray[Any], x: NDArray[Any]) -> FloatArray:
    """Return Box and Muller's pairs by NumPy's own log, sin and cos.

    Parameters
    ----------
    u : (...) float64
        In (0, 1].
    n : (...) float64
        Quarter of the circle, 0 to 3.
    x : (...) float64
        Place in it, from -1/2 to 1/2.

    Returns
    -------
    (..., 2) float64
    """
    radius, angle = np.sqrt(-2.0 * np.log(u)), 0.5 * pi * (n + x)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)

r"""Box and Muller's map of random words, in the code that an intrinsic emits.

.. math::
    z_0 = \sqrt{-2 \log u}\,\cos 2\pi v, \qquad z_1 = \sqrt{-2 \log u}\,\sin 2\pi v .

Logarithm, sine and cosine are polynomials, best in the largest error, with every multiplication and
addition fused as written: the normals have the same bits on every machine.  The quarter of the
circle is taken from the two top bits of the second word and the angle within it from the others,
which makes :math:`2\pi v = \tfrac{\pi}{2}(n + x)`, :math:`|x| \le \tfrac12`.

Not here: the words, and where the normals are written (:mod:`fracsde.backends.lane_normals`).
"""

from __future__ import annotations

from math import log, pi
from typing import TYPE_CHECKING

from fracsde.backends.normals import COS, LN2_HIGH, LN2_LOW, LOG, SIN

if TYPE_CHECKING:
    from fracsde.backends.vector_code import Lanes

__all__ = ["radius", "turn"]

_ONE_BITS, _ROOT_HALF_BITS = 0x3FF0000000000000, 0x3FE6A09E00000000
_EXPONENT, _SIGN, _SWAP_BIT = 0xFFF << 52, 1 << 63, 62

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
_EXPONENT32, _SIGN32, _SWAP_BIT32 = 0x1FF << 23, 1 << 31, 30


def _radius64(word: Lanes) -> Lanes:
    # sqrt(-2 log u), u = 1 - k / 2**52: a float64 in [1, 2) with random bits needs no conversion.
    bits = (word.same(2.0) - ((word >> 12) | _ONE_BITS).as_reals()).as_bits()
    exponent = bits.minus(_ROOT_HALF_BITS) & _EXPONENT
    m = bits.minus(exponent).as_reals()  # between sqrt(1/2) and sqrt(2)
    power = exponent.from_exponent()
    # A division would save ten multiplications and take longer than twenty.
    f = m - 1.0
    square = f * f
    low = f.split_polynomial(square, LOG).fma(f, 1.0).fma(square, power * LN2_LOW)
    return power.fma(LN2_HIGH, f.fma(-2.0, low)).sqrt()


def _turn64(word: Lanes) -> tuple[Lanes, Lanes]:
    # cos and sin of (pi / 2) (n + x): n the two top bits, x the others less one half.
    x = (((word << 2) >> 12) | _ONE_BITS).as_reals() - 1.5
    cosine, sine = (x * x).polynomials((1.0, *COS), (0.5 * pi, *SIN))
    return _quartered(word, cosine, sine * x, _SWAP_BIT, _SIGN)


def _quartered(word: Lanes, c: Lanes, s: Lanes, swap: int, sign: int) -> tuple[Lanes, Lanes]:
    # n = 0..3: (c, s), (-s, c), (-c, -s), (s, -c)
    a, b = word.choose(swap, s, c)
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
    return _quartered(word, cosine, sine * x, _SWAP_BIT32, _SIGN32)


def radius(word: Lanes) -> Lanes:
    """Return ``sqrt(-2 log u)`` of words as wide as the normals.

    Parameters
    ----------
    word : Lanes
        Of 64 or of 32 bits.

    Returns
    -------
    Lanes
        Of float64 or of float32.
    """
    return _radius64(word) if word.bits == 64 else _radius32(word)


def turn(word: Lanes) -> tuple[Lanes, Lanes]:
    """Return ``cos 2 pi v`` and ``sin 2 pi v`` of words as wide as the normals.

    Parameters
    ----------
    word : Lanes
        Of 64 or of 32 bits.

    Returns
    -------
    tuple of two Lanes
        Of float64 or of float32.
    """
    return _turn64(word) if word.bits == 64 else _turn32(word)

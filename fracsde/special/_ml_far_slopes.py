r"""Derivatives of the Mittag-Leffler function for second parameters far from zero.

A derivative in ``z`` raises the order of the poles and moves the second parameter,

.. math::
    E^{(k)}_{\alpha,\beta}(z) = \frac{k!}{2\pi i} \int
        \frac{e^s s^{-\beta'}}{(1 - z s^{-\alpha})^{k+1}}\, ds, \qquad \beta' = \beta + \alpha k,

so the contours of :mod:`fracsde.special._ml_far_beta` serve, with :math:`N = |\beta' - 1|` and
:math:`s = N e^w`.  There a pole may stand on the contour and the rule's error on it is added.
Powers of :math:`1 / (w - w_*)` would amplify both; here the contour moves away from the pole, by
at most two widths of the bell :math:`1 / \sqrt N`, at which the integrand has grown by
:math:`e^2` and the rule, of narrower steps, does not feel a pole.  For ``beta > 30`` the circle
becomes wider or narrower; for ``beta < -4`` each lip of the cut turns about the origin.  What a
residue becomes is

.. math::
    z^{-k} \prod_{i < k} \Bigl(\frac{1}{\alpha} \frac{d}{dw} - i\Bigr)
        \frac{s_*^{1-\beta} e^{s_*}}{\alpha},

with logarithmic derivatives :math:`s + 1 - \beta, s, s, \dots` of the last factor.  Where
``alpha`` is nearly whole the poles on both lips are nearly at one place of ``v``, so that both lips
turn one way, to :math:`w = v + ic \pm i\pi`.  These, and lips that need not turn, are added before
they are summed: with :math:`n = k + 1`,
:math:`a = 1 / (1 - x e^{-i\pi\alpha})` and :math:`b = 1 / (1 - x e^{i\pi\alpha})`

.. math::
    \frac{e^{i\pi\beta'} b^n - e^{-i\pi\beta'} a^n}{2i}
    = a b\, b^k \bigl(\sin\pi\beta' - x \sin\pi(\beta' - \alpha)\bigr)
      + e^{-i\pi\beta'} a\, x \sin(\pi\alpha)\, a b \sum_{i < k} a^i b^{k-1-i},

in which nothing cancels for ``x`` that is small, and the expansion in sines of
:math:`\pi(\beta' - j\alpha)` where it is large.  If ``alpha`` is far from whole numbers one of the
two sines is of size one, and nothing is lost by turning each lip as it needs.

Where ``1 - beta'`` is below 4 the bell stays as it is at 4, and the integrand has a power of
``s`` more; close to the origin a power series serves.

The derivative in :math:`\alpha` is that of ``k = 1`` times ``z``, with :math:`-\ln s` in the
integrand.

Not here: values.
"""

from __future__ import annotations

from fractions import Fraction
from math import comb, factorial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.polynomial.polynomial import polyval
from scipy.special import digamma, gamma

from fracsde.special._ml_far_beta import (
    Pole,
    Scaled,
    added,
    excess,
    rounded,
    scaled,
    scaled_gamma,
    sheets,
    sin_pi,
    uncut,
)
from fracsde.special._ml_residues import BY_ALPHA
from fracsde.special._ml_tables import reciprocal_gamma

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray

    Complex = NDArray[np.complex128]

__all__ = ["far_derivative"]

_STEP = 0.22  # of the rule, in widths of the bell
_ASIDE = 2.0  # from the contour to the nearest pole, in widths
_WIDEST, _STEPS = 0.55, 9.0  # the most of that distance from lips, and the fewest steps to a pole
_DEPTH, _DEEPER = 45.0, 8.0  # logarithm of how far the bell is followed, and more for each order
_LARGEST = 400.0  # beta beyond which averages underflow
_NARROWEST = 4.0  # N of lips, however small 1 - beta'
_NEAR_NOUGHT, _UNCUT = 1.0, 3.0  # sizes of s up to which a power series serves, lips or none
_LENGTH = 70.0  # of the series, times alpha, which is above 1/8 where it serves
_LARGE = np.log(8.0)  # of x, from where lips are added in powers of 1 / x
_NEARLY_WHOLE = 0.03  # distance of alpha from whole numbers, at which both lips meet the same poles
_CUT = np.pi * (1.0 + 1e-15)
_CHUNK = 1024  # points at once


class _Case(NamedTuple):
    # What is asked: k, parameters, and exact `beta + j alpha` as pairs of floats.
    k: int
    alpha: float
    beta: float
    by_alpha: bool

    def shifted(self, j: int) -> tuple[float, float]:
        exact = Fraction(self.beta) + j * Fraction(self.alpha)
        high = float(exact)
        return high, float(exact - Fraction(high))


def far_derivative(z: Complex, alpha: float, beta: float, order: int) -> Complex:
    """Evaluate a derivative where ``beta > 30`` or ``beta < -4``.

    Parameters
    ----------
    z : (n,) complex128 [1]
        Points, finite.
    alpha, beta : float [1]
        Parameters.
    order : int
        Of the derivative in ``z``, or ``BY_ALPHA``.

    Returns
    -------
    (n,) complex128
        Infinite where the value overflows.
    """
    by_alpha = order == BY_ALPHA
    case = _Case(1 if by_alpha else order, alpha, beta, by_alpha)
    values = np.empty(len(z), np.complex128)
    road = _right if beta > 0.0 else _left
    with np.errstate(all="ignore"):
        values[z == 0.0] = 0.0 if by_alpha else rounded(_at_nought(case))
        where = np.flatnonzero(z)
        for start in range(0, len(where), _CHUNK):
            some = where[start : start + _CHUNK]
            values[some] = rounded(road(z[some], case))
    return values


def _at_nought(case: _Case) -> Scaled:
    high, low = case.shifted(case.k)
    if high > 0.0:
        number = _over_gamma(high, low)
        return Scaled(factorial(case.k) * number.mantissa, number.power)
    number = _gamma_over_pi(case)
    return Scaled(number.mantissa * factorial(case.k) * sin_pi(high, low), number.power)


def _over_gamma(high: float, low: float) -> Scaled:
    mantissa, power = scaled_gamma(high)
    return Scaled((1.0 - low * digamma(high)) / mantissa, -power)


def _gamma_over_pi(case: _Case) -> Scaled:
    # Evaluate gamma(1 - beta') / pi.
    exact = 1 - Fraction(case.beta) - case.k * Fraction(case.alpha)
    high = float(exact)
    mantissa, power = scaled_gamma(high)
    return Scaled(mantissa * (1.0 + float(exact - Fraction(high)) * digamma(high)) / np.pi, power)


def _right(z: Complex, case: _Case) -> Scaled:
    k, alpha, beta, _ = case
    poles = sheets(z, alpha, beta, _CUT)
    high, low = case.shifted(k)
    N = high - 1.0
    places = poles[0].place + np.log((beta - 1.0) / N)
    width = 1.0 / np.sqrt(N)
    p = places.real
    radius = np.where(np.abs(p) < _ASIDE * width, p - np.copysign(_ASIDE * width, p), 0.0)
    terms = [(_slope(z, q, case), np.where(q.counts & (p > radius), 1.0, 0.0)) for q in poles]
    if beta > _LARGEST:
        return added(terms)
    h = _STEP * width
    half = min(0.5 * (_DEPTH + _DEEPER * k) / N, 1.0)
    most = np.ceil(2.0 * np.arcsin(np.sqrt(half)) / h)
    w = radius[:, None] + 1j * h * (np.arange(-most, most) + 0.5)
    f = factorial(k) * (-1.0 / np.expm1(alpha * (places[:, None] - w))) ** (k + 1)
    if case.by_alpha:
        f *= -(np.log(N) + w) * z[:, None]
    return added([(_over_gamma(high, low), _average(N * excess(w), f)), *terms])


def _left(z: Complex, case: _Case) -> Scaled:
    k, alpha, beta, by_alpha = case
    high, _ = case.shifted(k)
    N = max(1.0 - high, _NARROWEST)
    gap = min(_ASIDE / np.sqrt(N), _WIDEST, (2.5 if _whole(alpha) else np.pi) / alpha)
    poles = sheets(z, alpha, beta, np.pi + 3.0 * gap)
    log_z = np.log(np.abs(z))
    if not by_alpha and sin_pi(*case.shifted(0)) == 0.0 == sin_pi(*case.shifted(-1)):
        terms = [(_slope(z, p, case), np.asarray(uncut(p.place), np.float64)) for p in poles]
        near = (alpha > 1.0) & (log_z < alpha * np.log(max(_UNCUT, high)))
        start = max(0, int(np.ceil((1.0 - high) / alpha)))
    else:
        terms = _lips(z, poles, N, gap, case)
        near = (log_z < alpha * np.log(max(_NEAR_NOUGHT, high))) & (1.0 - high < _NARROWEST)
        start = 0
    result = added(terms)
    if near.any():
        series = _series(z[near], start, case)
        result.mantissa[near], result.power[near] = series
    return result


def _lips(
    z: Complex, poles: list[Pole], N: float, gap: float, case: _Case
) -> list[tuple[Scaled, NDArray[Any]]]:
    # The two lips, turned to where no pole is, and the poles between them.
    k, alpha, beta, by_alpha = case
    shift = np.log((1.0 - beta) / N)
    depth = _DEPTH + _DEEPER * k
    places = [p.place + shift for p in poles]
    upper, lower = _turns(places, N, gap, depth, together=_whole(alpha))
    terms = [
        (
            _slope(z, p, case),
            np.where((p.place.imag < np.pi + upper) & (p.place.imag > -np.pi - lower), 1.0, 0.0),
        )
        for p in poles
    ]
    h = min(_STEP / np.sqrt(N), gap / _STEPS)
    near = np.sqrt(2.0 * depth / N)
    v = h * (np.arange(np.floor(-(near + depth / N) / h), np.ceil(near / h)) + 0.5)
    log_x = alpha * places[0]
    both, still = upper == -lower, (upper == 0.0) & (lower == 0.0)
    rest = _rest(case)
    factor, far = np.zeros_like(z), np.zeros_like(z)
    factor[~both] = _apart(log_x[~both], (upper[~both], lower[~both]), v, N, case)
    for moved in (still, both & ~still):
        for some, out, added_lips, power in (
            (moved & (log_x.real <= _LARGE), factor, _added_small, 0.0),
            (moved & (log_x.real > _LARGE), far, _added_large, alpha * (k + 1)),
        ):
            w = v if moved is still else v + 1j * upper[some, None]
            log_s = np.log(N) + w if by_alpha else None
            f = added_lips(log_x[some, None] - alpha * w, log_s, case)
            out[some] = _average(-N * excess(w), f, (rest + power) * w)
    if by_alpha:
        factor *= z
    scale = _scale(N, case)
    inverse = _power(z, -k if by_alpha else -k - 1)
    back = N ** (alpha * (k + 1))
    far_scale = Scaled(scale.mantissa * inverse.mantissa * back, scale.power + inverse.power)
    return [(scale, factor), (far_scale, far), *terms]


def _rest(case: _Case) -> float:
    # By how much 1 - beta' falls short of the narrowest bell.
    return min(0.0, (1.0 - case.shifted(case.k)[0]) - _NARROWEST)


def _scale(N: float, case: _Case) -> Scaled:
    # Of averages over lips.
    rest = _rest(case)
    scale = Scaled(gamma(N) * N**rest / np.pi, 0.0) if rest < 0.0 else _gamma_over_pi(case)
    return Scaled(scale.mantissa * factorial(case.k), scale.power)


def _apart(
    log_x: Complex, turns: tuple[FloatArray, FloatArray], v: FloatArray, N: float, case: _Case
) -> Complex:
    # Lips that are turned, one after the other, and their difference over 2i.
    total = np.zeros_like(log_x)
    for turn, side in zip(turns, (1.0, -1.0), strict=True):
        w = v + 1j * side * turn[:, None]
        log_s = w + 1j * side * np.pi
        f = (-1.0 / np.expm1(log_x[:, None] - case.alpha * log_s)) ** (case.k + 1)
        if case.by_alpha:
            f *= -(np.log(N) + log_s)
        phase = 0.5j * side * _phase(case, -side)
        total += phase * _average(-N * excess(w), f, _rest(case) * w)
    return total


def _phase(case: _Case, side: float) -> complex:
    # Evaluate exp(i pi beta' side).
    high, low = case.shifted(case.k)
    return complex(_cos_pi(high, low), side * sin_pi(high, low))


def _cos_pi(high: float, low: float) -> float:
    whole = np.round(high)
    sign = 1.0 if whole % 2.0 == 0.0 else -1.0
    return float(sign * np.cos(np.pi * ((high - whole) + low)))


def _added_small(log_x: Complex, log_s: FloatArray | None, case: _Case) -> Complex:
    # The difference of the lips over 2i, for x that is not large.
    k, alpha = case.k, case.alpha
    turn = 1j * np.pi * (alpha - 2.0 * np.round(0.5 * alpha))
    x = np.exp(log_x)
    a, b = -1.0 / np.expm1(log_x - turn), -1.0 / np.expm1(log_x + turn)
    first = sin_pi(*case.shifted(k)) - x * sin_pi(*case.shifted(k - 1))
    powers = sum((a**i * b ** (k - 1 - i) for i in range(k)), np.zeros_like(a))
    total = a * b * (first * b**k + _phase(case, -1.0) * a * x * sin_pi(alpha, 0.0) * powers)
    if log_s is not None:
        arcs = _phase(case, 1.0) * b ** (k + 1) + _phase(case, -1.0) * a ** (k + 1)
        total = -log_s * total + 0.5 * np.pi * arcs
    return np.asarray(total)


def _added_large(log_x: Complex, log_s: FloatArray | None, case: _Case) -> Complex:
    # The same times x**(k + 1), for x that is large.
    k, alpha = case.k, case.alpha
    turn = 1j * np.pi * (alpha - 2.0 * np.round(0.5 * alpha))
    y = np.exp(-log_x)
    both = 1.0 / (np.expm1(-log_x + turn) * np.expm1(-log_x - turn))
    total = np.zeros_like(y)
    for j in range(k + 2):  # from the highest power of y
        at = case.shifted(k - j)
        c: Any = sin_pi(*at)
        if log_s is not None:
            c = -log_s * c + np.pi * _cos_pi(*at)
        total = total * y + comb(k + 1, j) * (-1) ** j * c
    return np.asarray(both ** (k + 1) * total)


def _turns(
    places: list[Complex], N: float, gap: float, depth: float, *, together: bool
) -> tuple[FloatArray, FloatArray]:
    # By how much the upper and the lower lip turn outwards, away from the nearest pole.
    seen = N * excess(places[0].real) < depth + 10.0
    upper, lower = (np.stack([side * w.imag - np.pi for w in places]) for side in (1.0, -1.0))
    if together:  # one outwards and the other inwards
        turn = _clear(np.concatenate([upper, -lower]), gap)
        upper_turn, lower_turn = turn, -turn
    else:
        upper_turn, lower_turn = _clear(upper, gap), _clear(lower, gap)
    return np.where(seen, upper_turn, 0.0), np.where(seen, lower_turn, 0.0)


def _clear(off: FloatArray, gap: float) -> FloatArray:
    # The least turn that leaves all poles ``gap`` aside, or the one that comes closest to it.
    turns = np.concatenate([np.zeros_like(off[:1]), off - gap, off + gap])
    aside = np.abs(turns[:, None] - off).min(axis=1)
    clear = aside >= gap * (1.0 - 1e-9)
    best = np.argmin(np.where(clear, np.abs(turns), 1e3 - aside), axis=0)
    return np.asarray(np.take_along_axis(turns, best[None], axis=0)[0])


def _whole(alpha: float) -> bool:
    return abs(alpha - round(alpha)) < _NEARLY_WHOLE


def _series(z: Complex, start: int, case: _Case) -> Scaled:
    # The power series from the term ``z**start``.
    k = case.k
    j = np.arange(float(start), start + np.ceil(_LENGTH / case.alpha))
    c = reciprocal_gamma(case.alpha, case.beta, j + k, slope=case.by_alpha)
    if not case.by_alpha:
        c *= np.prod(j + np.arange(1.0, k + 1.0)[:, None], axis=0)
    total, power = polyval(z, c), _power(z, start + 1 if case.by_alpha else start)
    return Scaled(total * power.mantissa, power.power)


def _slope(z: Complex, pole: Pole, case: _Case) -> Scaled:
    # What the derivative makes of a residue.  Derivatives in w are kept over powers of ``size``.
    k, alpha, beta, by_alpha = case
    N, side = abs(beta - 1.0), 1.0 if beta > 0.0 else -1.0
    w = pole.place
    u = w if beta > 0.0 else w - 1j * np.copysign(np.pi, w.imag)
    log_size = np.maximum(np.log(N), w.real + np.log(N))
    s = side * np.exp(u + (np.log(N) - log_size))
    small = side * np.exp(np.log(N) - log_size) * np.expm1(u)
    d = np.where(w.real > 0.0, -s * np.expm1(-u), small)  # s + 1 - beta
    inverse = np.exp(-log_size)
    if by_alpha:
        factor = -(d * (w + np.log(N)) + inverse) / alpha
        more = scaled(log_size, 1.0)
    else:
        rows = [np.ones_like(w)]
        for n in range(k):
            later = sum(
                (comb(n, j) * inverse**j * rows[n - j] for j in range(1, n + 1)), np.zeros_like(w)
            )
            rows.append(d * rows[n] + s * later)
        for i in range(k):  # rows[m] becomes (d/dw / alpha - i) of itself, step by step
            rows = [rows[m + 1] / alpha - i * inverse * rows[m] for m in range(len(rows) - 1)]
        factor = rows[0]
        more = scaled(k * log_size, 1.0)
        inverse_power = _power(z, -k)
        more = Scaled(more.mantissa * inverse_power.mantissa, more.power + inverse_power.power)
    return Scaled(pole.residue.mantissa * factor * more.mantissa, pole.residue.power + more.power)


def _power(z: Complex, n: int) -> Scaled:
    # Whole powers, which neither overflow nor lose digits.
    _, e = np.frexp(np.maximum(np.abs(z.real), np.abs(z.imag)))
    mantissa = np.ldexp(z.real, -e) + 1j * np.ldexp(z.imag, -e)
    return Scaled(mantissa ** float(n), np.asarray(n * e, np.float64))


def _average(exponent: NDArray[Any], terms: NDArray[Any], more: Any = 0.0) -> Complex:
    total = (terms * np.exp(exponent + more)).sum(axis=-1)
    return np.asarray(total / np.exp(exponent).sum(axis=-1))

r"""The Mittag-Leffler function for second parameters far from zero, on contours of their own.

With :math:`N = |\beta - 1|` and :math:`s = N e^w` the factor :math:`e^s s^{1-\beta}` of the
integrand becomes a bell of width :math:`1/\sqrt N`, so that the trapezoidal rule needs some forty
nodes however large :math:`N` is.  For ``beta > 20`` the bell stands on the circle :math:`w = iy`,

.. math::
    \Gamma(\beta)\, E_{\alpha,\beta}(z) = \Bigl\langle \frac{1}{1 - z s^{-\alpha}} \Bigr\rangle_W
        + \Gamma(\beta) \sum_{|s_*| > N} \frac{s_*^{1-\beta} e^{s_*}}{\alpha},
    \qquad W = e^{N (e^{iy} - 1 - iy)},

and for ``beta < -4`` on the two lips of the cut, :math:`w = v \pm i\pi`, which together give

.. math::
    \frac{\pi\, E_{\alpha,\beta}(z)}{\Gamma(1 - \beta)} =
    \Bigl\langle \frac{\sin \pi\beta - x \sin \pi(\beta - \alpha)}
        {(1 - x e^{i\pi\alpha})(1 - x e^{-i\pi\alpha})} \Bigr\rangle_W
    + \frac{\pi}{\Gamma(1 - \beta)}
        \sum_{|\arg s_*| < \pi} \frac{s_*^{1-\beta} e^{s_*}}{\alpha},
    \qquad W = e^{-N (e^v - 1 - v)}, \quad x = z\, (N e^v)^{-\alpha} .

:math:`\langle\cdot\rangle_W` are averages, so their terms do not cancel: what is lost relatively is
lost only where average and residues cancel, near the zeros.  A pole enters with the exact
error that the rule makes on it, as in :mod:`fracsde.special._ml_residues`:

.. math::
    m(p) = \frac{1}{1 - e^{-2\pi i (p / h - c)}}

for a pole at ``p`` in the plane of ``y`` or ``v``, which is sharp beyond the strip where the rule's
error is least.  Sums are formed as mantissas and powers of two, so that values underflow and
overflow where they must, with the right sign.

Not here: derivatives (:mod:`fracsde.special._ml_far_slopes`); ``-4 <= beta <= 20``
(:mod:`fracsde.special.mittag_leffler`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.polynomial.polynomial import polyval
from scipy.special import digamma, gamma, gammaln, rgamma

from fracsde.special._ml_poles import find_residues

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray

    Complex = NDArray[np.complex128]

__all__ = [
    "Pole",
    "Scaled",
    "added",
    "excess",
    "far_beta",
    "rounded",
    "scaled",
    "scaled_gamma",
    "sheets",
    "sin_pi",
    "uncut",
]

_STEP = 0.55  # of the rule, in widths of the bell
_FINER, _FEW = 0.4, 20.0  # the step where the bell, of N below the second, is not yet a Gaussian
_DEPTH = 45.0  # logarithm of how far the bell falls before it is cut off
_SHIFTS = np.array([0.5, 0.0, 0.25, 0.75])  # of the nodes, in steps
_FAR = 100.0  # steps inside the circle from where the rule feels no pole
_NEAR = 1.0  # steps from the contour within which a pole should keep its distance from the nodes
_LARGEST = 200.0  # beta beyond which averages underflow
_DIRECT, _STEPPED = 120.0, 1000.0  # arguments of gamma functions; beyond the latter all overflow
_LN2_H, _LN2_L = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # 33 bits, and the rest
_COUNTED, _ALL = 5e5, 1e307  # logarithms to which digits count, and largest ones
_NEAR_NOUGHT, _TERMS = 3.0, 32  # size of s up to which the power series serves, and its length
_CUT = np.pi * (1.0 + 1e-15)
_CHUNK = 2048  # points at once


class Scaled(NamedTuple):
    """Numbers ``mantissa * 2**power``; powers are whole."""

    mantissa: Any
    power: Any


class Pole(NamedTuple):
    """One sheet: logarithms of ``s / N``, residues, and for which points the sheet counts."""

    place: Complex
    residue: Scaled
    counts: NDArray[np.bool_]


def far_beta(z: Complex, alpha: float, beta: float) -> Complex:
    r"""Evaluate :math:`E_{\alpha,\beta}(z)` where ``beta >= 20`` or ``beta <= -4``.

    Parameters
    ----------
    z : (n,) complex128 [1]
        Points, finite.
    alpha, beta : float [1]
        Parameters.

    Returns
    -------
    (n,) complex128
        Infinite where the value overflows.
    """
    values = np.empty(len(z), np.complex128)
    road = _right if beta > 0.0 else _left
    with np.errstate(all="ignore"):
        values[z == 0.0] = rounded(_reciprocal_gamma(beta))
        where = np.flatnonzero(z)
        for start in range(0, len(where), _CHUNK):
            some = where[start : start + _CHUNK]
            values[some] = rounded(road(z[some], alpha, beta))
    return values


def _right(z: Complex, alpha: float, beta: float) -> Scaled:
    # The circle: a pole at w is at -iw in the plane of y, below the contour if it is outside.
    N = beta - 1.0
    h, poles = _STEP / np.sqrt(N), sheets(z, alpha, beta, _CUT)
    if beta > _LARGEST:  # the average underflows
        terms = [(p.residue, np.where(p.counts & (p.place.real > 0.0), 1.0, 0.0)) for p in poles]
        return added(terms)
    q = 2.0 * np.pi / (h * N)
    strip = np.log1p(q), min(_FAR * h, -np.log1p(-q) if q < 1.0 else np.inf)
    most = np.ceil(2.0 * np.arcsin(np.sqrt(0.5 * min(_DEPTH / N, 2.0))) / h)
    shifts = _shifts([(-1j * p.place / h, p.counts) for p in poles], (-most, most))
    terms = [(p.residue, p.counts * _below(-1j * p.place, shifts, h, strip)) for p in poles]
    log_x = alpha * _principal(poles)
    average = np.empty_like(z)
    for c in _SHIFTS:
        y = 1j * h * (np.arange(-most, most + 1.0) + c)
        some = shifts == c
        average[some] = _average(excess(y), N, -1.0 / np.expm1(log_x[some, None] - alpha * y))
    return added([(_reciprocal_gamma(beta), average), *terms])


def _left(z: Complex, alpha: float, beta: float) -> Scaled:
    # The lips: a pole at w is at w - i pi in the plane of v for the upper one, and at w + i pi for
    # the lower one, which is passed backwards.
    N = 1.0 - beta
    h = (_STEP if N > _FEW else _FINER) / np.sqrt(N)
    strip = (float(np.arctan(2.0 * np.pi / (h * N))),) * 2
    poles = sheets(z, alpha, beta, np.pi + strip[0])
    if sin_pi(beta, 0.0) == 0.0 == sin_pi(*_difference(beta, alpha)):  # nothing is cut
        near = N * np.exp(_principal(poles).real) < _NEAR_NOUGHT
        first = np.where(near, _first(_principal(poles), alpha, beta), uncut(poles[0].place))
        rest = [(p.residue, np.where(near, 0.0, uncut(p.place))) for p in poles[1:]]
        return added([(poles[0].residue, first), *rest])
    near = np.sqrt(2.0 * _DEPTH / N)
    reach = np.floor(-(near + _DEPTH / N) / h), np.ceil(near / h)
    lips = [(p.place + side * np.pi, p.counts) for p in poles for side in (-1j, 1j)]
    shifts = _shifts([(place / h, counts) for place, counts in lips], reach)
    terms = [(p.residue, p.counts * _between(p.place, shifts, h, strip)) for p in poles]
    log_x = alpha * _principal(poles)
    average = np.empty_like(z)
    for c in _SHIFTS:
        v = h * (np.arange(reach[0], reach[1] + 1.0) + c)
        some = shifts == c
        integrand = _lips(log_x[some, None] - alpha * v, alpha, beta)
        average[some] = _average(-excess(v), N, integrand)
    return added([(_gamma_over_pi(beta), average), *terms])


def _lips(log_x: Complex, alpha: float, beta: float) -> Complex:
    # Both lips' integrand; for large x all is divided by x**2.
    first, second = sin_pi(beta, 0.0), sin_pi(*_difference(beta, alpha))
    turn = 1j * np.pi * (alpha - 2.0 * np.round(0.5 * alpha))
    large = log_x.real > 0.0
    small_x = np.exp(np.where(large, -log_x, log_x))
    up, down = np.where(large, -log_x, log_x) + turn, np.where(large, -log_x, log_x) - turn
    top = np.where(large, (first * small_x - second) * small_x, first - second * small_x)
    return np.asarray(top / (np.expm1(up) * np.expm1(down)))


def sheets(z: Complex, alpha: float, beta: float, widest: float) -> list[Pole]:
    """Return all sheets of which poles have ``abs(arg s) <= widest``, and the principal one."""
    found = []
    turn = np.angle(z)
    most = int(alpha) + 1
    for j in sorted(range(-most, most + 1), key=abs):
        counts = np.abs(turn + 2.0 * np.pi * j) <= alpha * widest
        if j != 0 and not counts.any():
            continue
        place, size, direction = np.empty_like(z), np.empty(len(z)), np.empty_like(z)
        find_residues(z, j, alpha, beta, place, size, direction)
        direction[np.isnan(direction)] = 1.0  # a phase of more digits than a float has room for
        found.append(Pole(place, scaled(size, direction), counts))
    return found


def _principal(poles: list[Pole]) -> Complex:
    return poles[0].place


def _shifts(
    places: list[tuple[Complex, NDArray[np.bool_]]], reach: tuple[float, float]
) -> FloatArray:
    # The shift whose nodes are farthest from the poles close to the contour, all in steps.
    gaps = np.full((len(_SHIFTS), len(places[0][0])), np.inf)
    for u, counts in places:
        near = counts & (np.abs(u.imag) < _NEAR) & (u.real > reach[0]) & (u.real < reach[1])
        for gap, c in zip(gaps, _SHIFTS, strict=True):
            off = np.abs(u - c - np.round(u.real - c))
            gap[near] = np.minimum(gap, off)[near]
    return np.asarray(_SHIFTS[np.argmax(gaps, axis=0)])


def _below(p: Complex, shift: FloatArray, h: float, strip: tuple[float, float]) -> Complex:
    # How much of a residue the rule leaves out: all of it below the contour, nothing above.
    smooth = 1.0 / (1.0 - np.exp(-2j * np.pi * (p / h - shift)))
    sharp = np.where(p.imag < 0.0, 1.0, 0.0)
    return np.asarray(np.where((p.imag > -strip[0]) & (p.imag < strip[1]), smooth, sharp))


def _between(w: Complex, shift: FloatArray, h: float, strip: tuple[float, float]) -> Complex:
    # The same for two contours: below the upper lip and above the lower one.  What is nearly one
    # is never taken from one; above a contour is below its mirror image.
    upper, lower = w - 1j * np.pi, w + 1j * np.pi
    of_upper = _below(upper, shift, h, strip) - _below(lower, shift, h, strip)
    of_lower = _below(-lower, -shift, h, strip) - _below(-upper, -shift, h, strip)
    return np.asarray(np.where(w.imag >= 0.0, of_upper, of_lower))


def uncut(w: Complex) -> FloatArray:
    """Return shares of residues without a cut: on the negative axis two sheets have the pole."""
    gap = np.pi - np.abs(w.imag)
    return np.asarray(np.where(np.abs(gap) < 1e-13, 0.5, np.where(gap > 0.0, 1.0, 0.0)))


def _first(w: Complex, alpha: float, beta: float) -> Complex:
    # The power series over the principal residue, where whole alpha and beta make all terms vanish
    # before one that is larger than residues would cancel to.
    c = np.ceil((1.0 - beta) / alpha) * alpha + beta - 1.0
    log_s = w + np.log(1.0 - beta)
    total = polyval(np.exp(alpha * log_s), rgamma(alpha * np.arange(_TERMS) + c + 1.0))
    return np.asarray(alpha * total * np.exp(c * log_s - np.exp(log_s)))


def _average(exponent: NDArray[Any], N: float, terms: Complex) -> Complex:
    weights = np.exp(N * exponent)
    return np.asarray(terms @ weights / weights.sum())


def excess(w: NDArray[Any]) -> NDArray[Any]:
    """Evaluate ``exp(w) - 1 - w``, also for small ``w``."""
    series = 0.0 * w
    for k in range(18, 1, -1):
        series = (series * w + 1.0) / k  # 1/k! by nesting
    return np.asarray(np.where(np.abs(w) < 0.5, series * w * w, np.expm1(w) - w))


def added(terms: list[tuple[Scaled, NDArray[Any]]]) -> Scaled:
    """Add products of scaled numbers and factors."""
    n = len(terms[0][1])
    parts = [np.where(factor == 0.0, 0.0, number.mantissa * factor) for number, factor in terms]
    powers = [
        np.where(part == 0.0, -_ALL, np.broadcast_to(number.power, n))
        for part, (number, _) in zip(parts, terms, strict=True)
    ]
    top = np.max(powers, axis=0)
    total = np.zeros(n, np.complex128)
    for part, power in zip(parts, powers, strict=True):
        total += part * np.exp2(power - top)
    return Scaled(total, top)


def scaled(size: Any, direction: Any) -> Scaled:
    """Return ``exp(size)`` times directions; of giants and dwarfs only the power counts."""
    power = np.round(np.clip(size, -_ALL, _ALL) / _LN2_H)
    rest = np.where(np.abs(size) < _COUNTED, (size - power * _LN2_H) - power * _LN2_L, 0.0)
    return Scaled(direction * np.exp(rest), power)


def rounded(number: Scaled) -> Complex:
    """Return numbers as floats, infinite where they overflow."""
    power = np.clip(number.power, -5000.0, 5000.0).astype(np.int32)
    mantissa = np.asarray(number.mantissa, np.complex128)
    values = np.empty(mantissa.shape, np.complex128)
    values.real, values.imag = np.ldexp(mantissa.real, power), np.ldexp(mantissa.imag, power)
    return values


def scaled_gamma(x: float) -> Scaled:
    """Return the gamma function of a positive number, beyond 170 too."""
    if x > _STEPPED:
        return scaled(gammaln(x), 1.0)
    steps = max(0, int(np.ceil(x - _DIRECT)))
    mantissa, power = np.frexp(gamma(x - steps))
    for k in range(steps, 0, -1):
        mantissa, more = np.frexp(mantissa * (x - k))
        power += more
    return Scaled(mantissa, float(power))


def _reciprocal_gamma(beta: float) -> Scaled:
    if beta > 0.0:
        mantissa, power = scaled_gamma(beta)
        return Scaled(1.0 / mantissa, -power)
    mantissa, power = _gamma_over_pi(beta)
    return Scaled(mantissa * sin_pi(beta, 0.0), power)


def _gamma_over_pi(beta: float) -> Scaled:
    # Evaluate gamma(1 - beta) / pi.
    high, low = _difference(1.0, beta)
    mantissa, power = scaled_gamma(high)
    return Scaled(mantissa * (1.0 + low * digamma(high)) / np.pi, power)


def _difference(a: float, b: float) -> tuple[float, float]:
    high = a - b
    back = high - a
    return high, (a - (high - back)) - (b + back)


def sin_pi(high: float, low: float) -> float:
    """Evaluate the sine of pi times the sum, exactly 0 at whole numbers."""
    whole = np.round(high)
    sign = 1.0 if whole % 2.0 == 0.0 else -1.0
    return float(sign * np.sin(np.pi * ((high - whole) + low)))

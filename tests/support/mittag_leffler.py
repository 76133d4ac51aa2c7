r"""The Mittag-Leffler function to sixty digits, by three roads that check one another.

.. math::
    E_{\alpha,\beta}(z) = \sum_{k \ge 0} \frac{z^k}{\Gamma(\alpha k + \beta)}
    = \frac{1}{2\pi i} \int \frac{e^s s^{\alpha - \beta}}{s^\alpha - z}\, ds
    \sim \sum_{s_*^\alpha = z} \frac{s_*^{1 - \beta} e^{s_*}}{\alpha}
    - \sum_{k \ge 1} \frac{z^{-k}}{\Gamma(\beta - \alpha k)} .

The series cancels like ``exp(|z|**(1 / alpha))`` and gets that many more digits.  The integral is a
mid-point sum on the hyperbola of [WeidemanTrefethen2007]_ with 64 pairs of nodes; every pole on the
principal sheet enters with the exact error that the rule makes on it, so poles may lie anywhere.
The asymptotic sum serves where its least term is below sixty digits.  Orders and arguments are
taken as the exact values of the doubles given.

Nothing here is shared with fracsde.  ``tests/special/test_mittag_leffler_plane.py`` lets the roads
check one another.
"""

from __future__ import annotations

from functools import lru_cache

import mpmath
import numpy as np
from mpmath import mp, mpc, mpf

DIGITS = 80  # of the working precision; about fifty are good
_PAIRS = 64
_LEAST = mpf(10) ** -64
LARGEST = float(np.finfo(np.float64).max)
RADII = (0.1, 0.3, 1.0, 2.44, 3.5, 6.0, 10.4, 15.0, 20.8, 31.0, 100.0, 600.0)


def reference(z, alpha, beta=1, derivative=0, *, road=None):
    """Return a derivative in ``z`` of the function, as mpf for real ``z`` and mpc for complex.

    Beyond ``exp(1e7)`` it returns infinity, of no stated direction.
    """
    with mp.workdps(DIGITS):
        z = mpmath.mpmathify(z)
        alpha, beta = mpf(alpha), mpf(beta)
        # A double that is complex by type and real by value takes the road of the reals.
        if isinstance(z, mpc) and z.imag == 0:
            return mpc(_reference(z.real, alpha, beta, derivative, road))
        return _reference(z, alpha, beta, derivative, road)


def alpha_derivative_reference(z, alpha, beta=1):
    """Return the derivative in ``alpha`` at fixed ``z``: a central difference of order six.

    The step is ``1e-14``; truncation is far below the forty digits that are left.
    """
    with mp.workdps(DIGITS):
        alpha = mpf(alpha)
        h = alpha * mpf(10) ** -12 / max(1, abs(_log_pole(z, alpha)))
        f = {k: reference(z, alpha + k * h, beta) for k in (-3, -2, -1, 1, 2, 3)}
        return (45 * (f[1] - f[-1]) - 9 * (f[2] - f[-2]) + (f[3] - f[-3])) / (60 * h)


def series(z, alpha, beta, derivative=0):
    """Sum the differentiated power series, with as many more digits as cancel."""
    reach = float(min(abs(z) ** (1 / alpha), mpf(10) ** 6))
    digits = 40 * (1 + (DIGITS + int(reach / 2.302)) // 40)
    with mp.workdps(digits):
        least, table = mpf(10) ** -(digits - 10), _rgammas(alpha, beta, digits)
        total, power, k, floor = mpf(0), mpf(1), derivative, 3 + abs(float(beta))
        while True:
            term = power * _at(table, k, alpha, beta) * mpmath.ff(k, derivative)
            total, power, k = total + term, power * z, k + 1
            beyond = float(alpha) * k > max(reach, floor)
            # A term may vanish by itself, at a pole of the gamma function.
            if beyond and term != 0 and abs(term) < least * abs(total):
                return total
            if power == 0:
                return total


def alpha_series(z, alpha, beta=1):
    """Sum the power series differentiated in ``alpha``."""
    with mp.workdps(2 * DIGITS):
        z, alpha, beta = mpmath.mpmathify(z), mpf(alpha), mpf(beta)
        reach, total, k = abs(z) ** (1 / alpha), mpf(0), 1
        while True:
            y = alpha * k + beta
            whole = y <= 0 and y == mpmath.floor(y)
            # psi / Gamma is finite at the poles: `(-1)^{n+1} n!`.
            ratio = (
                (-1) ** int(1 - y) * mpmath.factorial(-y)
                if whole
                else mpmath.psi(0, y) * mpmath.rgamma(y)
            )
            term = -k * z**k * ratio
            total, k = total + term, k + 1
            if y > max(reach, 3) and abs(term) < mpf(10) ** -100:
                return total


def contour(z, alpha, beta):
    """Sum the integral over the hyperbola, and correct it for every pole."""
    poles = _poles(z, alpha)
    step, mu, phi = _hyperbola()
    shift = mpf(1) / 2
    places = []
    for s in poles:
        # Far to the right the residue counts in full, whatever the rule does.
        if s.real > 4 * mu:
            places.append(None)
            continue
        places.append(-1j * (mpmath.asin(s / mu - 1) + phi) / step)
        if abs(mpmath.cospi(places[-1])) < 1e-4:  # a pole on a node: move the nodes
            shift = mpf(0)
    total = mpf(0)
    for a, b in _terms(alpha, beta, shift):
        if isinstance(z, mpf):
            total += 2 * (a / (b - z)).real
        else:
            total += a / (b - z) + mpmath.conj(a) / (mpmath.conj(b) - z)
    for s, place in zip(poles, places, strict=True):
        share = 1 if place is None else 1 / (1 - mpmath.expjpi(-2 * (place - shift)))
        total += share * _residue(s, alpha, beta)
    return total.real if isinstance(z, mpf) else total


def asymptotic(z, alpha, beta):
    """Return the residues minus the inverse powers, or None where the least term is too large."""

    def size(k):  # logarithm of a term without the sine of 1 / Gamma, which may vanish at any k
        return mpmath.loggamma(max(1 - beta + alpha * k, mpf(2))) - k * log_z

    log_z = mpmath.log(abs(z))
    # Beyond the first two terms, either of which may vanish, every term counts.
    enough = min(size(1), size(2)) + mpmath.log(_LEAST)
    total, k = mpf(0), 1
    while size(k) > enough:
        if k > 600 or (k > 2 and size(k) > size(k - 1) + 1):
            return None
        total, k = total - mpmath.rgamma(beta - alpha * k) / z**k, k + 1
    total += sum(_residue(s, alpha, beta) for s in _poles(z, alpha))
    return total.real if isinstance(z, mpf) else total


def _reference(z, alpha, beta, derivative, road):
    # Send the argument down the cheapest road that is good to forty digits, relatively.
    # The contour's pole corrections fail where a pole is as near to the branch point as these are.
    if road == "series" or (road is None and abs(z) <= 0.8):
        return series(z, alpha, beta, derivative)
    if derivative:
        return _by_recurrence(z, alpha, beta, derivative, road)
    if road == "asymptotic":
        return asymptotic(z, alpha, beta)
    if alpha == 1 and beta <= 1 and beta == mpmath.floor(beta) and road is None:
        return z ** int(1 - beta) * mpmath.exp(
            z
        )  # exponentially small: nothing algebraic covers it
    if road is None and abs(z) >= 5 and _log_pole(z, alpha) > mpmath.log(170):
        value = asymptotic(z, alpha, beta)
        if value is not None:
            return value
    return contour(z, alpha, beta)


def _by_recurrence(z, alpha, beta, derivative, road):
    # Differentiate by `z E_b' = (E_{b-1} - (b - 1) E_b) / alpha`; `coefficients[j]` goes with
    # `E_{b-j}`, and `z^n D^n = t (t - 1) ... (t - n + 1)` with `t = z d/dz`.
    coefficients = [mpf(1)]
    for n in range(derivative):
        after = [mpf(0)] * (len(coefficients) + 1)
        for j, c in enumerate(coefficients):
            after[j] -= c * ((beta - j - 1) / alpha + n)
            after[j + 1] += c / alpha
        coefficients = after
    values = (_reference(z, alpha, beta - j, 0, road) for j in range(derivative + 1))
    total = sum(c * f for c, f in zip(coefficients, values, strict=True))
    return total / z**derivative


def _log_pole(z, alpha):
    # Return ``log(|z|**(1 / alpha))``.
    return mpmath.log(abs(z)) / alpha if z != 0 else mpf(0)


def _poles(z, alpha):
    # Return the roots of `s^alpha = z` with `|arg s| <= pi`, to digits that bear an exponential.
    logarithm = _log_pole(z, alpha)
    # A residue matters only near the imaginary axis when it is that far out, and no argument of
    # doubles comes nearer to that axis than this many digits resolve.
    more = min(700, max(0, int(logarithm / 2.302)))
    with mp.workdps(DIGITS + more):
        logarithm = mpmath.log(abs(z)) / alpha
        angle, found = mpmath.arg(z), []
        turns = int(alpha / 2) + 1
        for j in range(-turns, turns + 1):
            theta = (angle + 2 * mp.pi * j) / alpha
            if abs(theta) <= mp.pi * (1 + mpf(10) ** -DIGITS):
                found.append(mpmath.exp(mpc(logarithm, theta)))
    return found


def _residue(s, alpha, beta):
    # Return `s^{1 - beta} e^s / alpha`; infinite or nought beyond ``exp(1e7)``.
    if s.real > 1e7:
        return mpf("inf")
    if s.real < -1e7:
        return mpf(0)
    more = max(0, int(mpmath.log10(abs(s)))) if s != 0 else 0
    with mp.workdps(DIGITS + more):
        return mpmath.exp(s + (1 - beta) * mpmath.log(s)) / alpha


def _hyperbola():
    # Return step, scale and angle of the hyperbola that is best in exact arithmetic.
    return mpf("1.081792140") / _PAIRS, mpf("4.492075287") * _PAIRS, mpf("1.172104229")


@lru_cache(maxsize=4096)
def _nodes(shift):
    # Return pairs of node and weight times ``e^s`` on the upper half; a middle node counts half.
    with mp.workdps(DIGITS):
        step, mu, phi = _hyperbola()
        found = []
        for k in range(_PAIRS + (shift == 0)):
            w = mpc(-phi, (k + shift) * step)
            s = mu * (1 + mpmath.sin(w))
            weight = step * mu * mpmath.cos(w) * mpmath.exp(s) / (2 * mp.pi)
            found.append((mpmath.log(s), weight / 2 if k + shift == 0 else weight))
        return found


@lru_cache(maxsize=4096)
def _terms(alpha, beta, shift):
    # Return the pairs ``a, b`` of the sum of ``a / (b - z)``.
    with mp.workdps(DIGITS):
        return [
            (weight * mpmath.exp((alpha - beta) * log_s), mpmath.exp(alpha * log_s))
            for log_s, weight in _nodes(shift)
        ]


@lru_cache(maxsize=4096)
def _rgammas(alpha, beta, digits):
    # A list that `_at` lengthens: reciprocals of the gamma function at ``digits`` digits.
    return []


def _at(table, k, alpha, beta):
    # Return ``1 / Gamma(alpha k + beta)``, remembered.
    while len(table) <= k:
        table.append(mpmath.rgamma(alpha * len(table) + beta))
    return table[k]


def references(z, alpha, beta=1.0, derivative=0):
    """Return the references of many arguments, rounded to complex doubles; infinity overflows."""
    z = np.asarray(z)
    values = [reference(v, alpha, beta, derivative) for v in z.ravel().tolist()]
    return np.array([_rounded(v) for v in values]).reshape(z.shape)


def _rounded(value):
    # Round to a double; what is larger becomes infinite without a sign that matters.
    return complex(np.inf) if abs(value) > LARGEST else complex(value)


def scaled_errors(values, expected):
    """Return ``|error| / (1 + |expected|)``; an overflow is right where the reference overflows."""
    values, expected = np.asarray(values, dtype=complex), np.asarray(expected, dtype=complex)
    over = np.isinf(expected)
    size = np.abs(expected)
    with np.errstate(all="ignore"):
        # Halves keep differences and moduli of the largest numbers finite.
        gap = np.abs(0.5 * values - 0.5 * expected) / (0.5 + 0.5 * size)
    gap[np.isnan(gap)] = np.inf
    return np.where(over, np.where(np.isinf(np.abs(values)), 0.0, np.inf), gap)


def relative_errors(values, expected, amplitude=None):
    """Return ``|error| / amplitude``, by default over ``|expected|``."""
    values, expected = np.asarray(values), np.asarray(expected)
    size = np.abs(expected) if amplitude is None else np.asarray(amplitude)
    return np.abs(values - expected.real) / size


def adversarial_points(alpha, radii=RADII):
    """Return complex arguments on and beside the rays where the parts change places.

    In ``s = z**(1 / alpha)`` the rays are the multiples of a quarter turn; in ``z`` they are also
    the real axis.  The radii are those of ``s``: below, at and beyond a contour of double
    precision, and where ``exp(s)`` nears the largest double.
    """
    rays = {0.0, np.pi} | {k * alpha * np.pi / 2 for k in (1, 2) if k * alpha <= 2}
    angles = {
        float(sign * min(abs(ray + offset), np.pi))
        for ray in rays
        for offset in (0.0, 1e-3, -1e-3, 1e-12, -1e-12)
        for sign in (1, -1)
    }
    size = np.array(radii) ** alpha
    return np.multiply.outer(size, np.exp(1j * np.array(sorted(angles)))).ravel()


def amplitudes(z, alpha, beta=1.0):
    """Return the references at real arguments, and how large the function is around each.

    Around its zeros a function has no relative accuracy; there the second number is the height of
    its swing, ``|dE / ds|`` with ``s = |z|**(1 / alpha)``, or ``|z E'|`` where that is smaller.
    Below the smallest normal double only that double is left to compare with.
    """
    values = references(z, alpha, beta)
    with mp.workdps(DIGITS):
        lower = references(z, alpha, mpf(beta) - 1)
        slopes = np.abs(lower - (beta - 1) * values) / alpha  # |z E'|
    with np.errstate(over="ignore", divide="ignore"):
        slopes *= np.minimum(1.0, alpha / np.maximum(np.abs(z), 1e-300) ** (1 / alpha))
    smallest = np.finfo(np.float64).smallest_normal
    return values, np.maximum(np.hypot(np.abs(values), slopes), smallest)

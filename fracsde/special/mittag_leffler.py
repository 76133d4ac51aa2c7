r"""The Mittag-Leffler relaxation function and its derivative in the order.

.. math::
    E_\alpha(-x) = \sum_{k \ge 0} \frac{(-x)^k}{\Gamma(1 + \alpha k)}
    = \frac{1}{2\pi i} \int \frac{e^s s^{\alpha - 1}}{s^\alpha + x}\, ds ,
    \qquad x \ge 0,\; 0 < \alpha \le 1 ,

solves :math:`D_t^\alpha u = -\lambda u`, ``u(0) = 1`` with :math:`x = \lambda t^\alpha`.  It falls
from 1 to 0, is ``exp(-x)`` at ``alpha = 1`` and decays like
:math:`1 / (x\,\Gamma(1 - \alpha))` below.

Three roads cover the half-line: the power series for ``x <= 1/20``, the integral on a hyperbola
that winds round the negative axis up to ``x = 100``, and the asymptotic series beyond.  All
singularities of the integrand lie on the negative axis or behind it for every ``alpha <= 1``, so
one set of twenty nodes serves every order.  More nodes would not help: rounding grows with the
height at which the contour crosses the real axis.

Accuracy, measured in ``tests/special/test_mittag_leffler.py`` against high precision: the error
is below 2e-15 absolutely everywhere.  Relatively it is below 1e-12 for ``alpha <= 0.99`` and below
1e-15 on the asymptotic road; close to ``alpha = 1`` and before it the function itself is as small
as ``1 - alpha``, and only the absolute bound holds.

Not here: positive and complex arguments, ``beta != 1``, derivatives in ``z``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import digamma, rgamma

from fracsde._check import finite_array, real
from fracsde.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["mittag_leffler", "relaxation_alpha_derivative"]

# Hyperbola s = mu (1 + sin(i u - phi)), mid-point rule, upper half plane only.  Chosen so that
# truncation, discretisation and rounding errors are all below 1e-15 for every x and alpha.
_NODES, _PHI, _MU, _STEP = 20, 0.87, 10.362346706, 0.1237243688
_SMALL, _LARGE = 0.05, 100.0
_SERIES_TERMS, _TAIL_TERMS = 14, 16
_BLOCK = 4096  # values per pass of the contour: all scratch stays in cache


def mittag_leffler(
    z: ArrayLike, alpha: float, beta: float = 1.0, derivative: int = 0
) -> FloatArray:
    r"""Evaluate :math:`E_\alpha(z)` for real ``z <= 0``.

    Parameters
    ----------
    z : array_like [1]
        Real and not positive, any shape.
    alpha : float [1]
        Order, ``0 < alpha <= 1``.
    beta : float [1]
        Second parameter; only 1 is served.
    derivative : int
        Order of the derivative in ``z``; only 0 is served.

    Returns
    -------
    ndarray of float64
        Values in ``[0, 1]``, of the shape of ``z``.

    Raises
    ------
    OutOfRangeError
        If ``alpha`` is not in ``(0, 1]``.
    UnsupportedError
        If ``z`` is complex or positive, ``beta`` is not 1 or ``derivative`` is not 0.

    References
    ----------
    [WeidemanTrefethen2007]_ for integrals on hyperbolas.

    Examples
    --------
    >>> from scipy.special import erfcx
    >>> bool(abs(mittag_leffler(-3.0, 0.5) - erfcx(3.0)) < 1e-15)
    True
    """
    if beta != 1.0 or derivative != 0:
        msg = (
            f"`mittag_leffler` serves beta = 1 and derivative = 0, got beta = {beta!r} and "
            f"derivative = {derivative!r}; relaxation functions need no other"
        )
        raise UnsupportedError(msg)
    alpha = _order(alpha)
    x = _decay(z)
    if alpha == 1.0:
        return np.exp(-x)
    values = _by_size(x, alpha, _series, _contour, _tail)
    # Rounding may pass the bounds by an ulp where the function touches them.
    return np.clip(values, 0.0, 1.0, out=values)[()]


def relaxation_alpha_derivative(x: ArrayLike, alpha: float) -> FloatArray:
    r"""Evaluate :math:`\partial_\alpha E_\alpha(-x)` at fixed ``x``.

    Differentiating the integrand leaves
    :math:`e^s s^{\alpha - 1} x \ln s / (s^\alpha + x)^2` on the same contour.  For
    :math:`x = \lambda t^\alpha` a fit of the order adds the chain rule's
    :math:`x \ln t\, E_\alpha'(-x)` term, or fits at fixed ``x``.

    Parameters
    ----------
    x : array_like [1]
        Not negative, any shape.
    alpha : float [1]
        Order, ``0 < alpha <= 1``; at 1 the derivative is one-sided.

    Returns
    -------
    ndarray of float64
        Of the shape of ``x``; absolute error below 2e-14.

    Raises
    ------
    OutOfRangeError
        If ``alpha`` is not in ``(0, 1]``.
    UnsupportedError
        If ``x`` is complex or negative.

    Examples
    --------
    >>> near = (mittag_leffler(-2.0, 0.6001) - mittag_leffler(-2.0, 0.5999)) / 2e-4
    >>> bool(abs(relaxation_alpha_derivative(2.0, 0.6) - near) < 1e-8)
    True
    """
    alpha = _order(alpha)
    x = _decay(x, name="x", sign=-1.0)
    return _by_size(x, alpha, _series_slope, _contour_slope, _tail_slope)[()]


def _order(alpha: float) -> float:
    # Return ``alpha`` if it lies in (0, 1].
    remedy = "orders above 1 oscillate and are another problem, with a second initial value"
    return real("alpha", alpha, low=0.0, high=1.0, closed="high", remedy=remedy)


def _decay(z: Any, *, name: str = "z", sign: float = 1.0) -> FloatArray:
    # Return ``-sign * z`` as a fresh array of numbers that are not negative.
    if np.iscomplexobj(z):
        msg = f"`{name}` must be real, got {np.asarray(z).dtype}; complex arguments are not served"
        raise UnsupportedError(msg)
    x = -sign * finite_array(name, z)
    if np.any(x < 0):
        worst = -sign * float(x.min())
        side = "not positive" if sign > 0 else "not negative"
        msg = f"`{name}` must be {side}, got {worst:g}; only the decaying branch is served"
        raise UnsupportedError(msg)
    return np.asarray(x, dtype=np.float64)


def _by_size(
    x: FloatArray, alpha: float, *roads: Callable[[FloatArray, float], FloatArray]
) -> FloatArray:
    # Send small, middling and large ``x`` down their roads.
    values = np.empty_like(x)
    small, large = x <= _SMALL, x >= _LARGE
    for chosen, road in zip((small, ~(small | large), large), roads, strict=True):
        if np.any(chosen):
            values[chosen] = road(x[chosen], alpha)
    return values


def _horner(coefficients: FloatArray, y: FloatArray) -> FloatArray:
    # Evaluate ``sum_k c[k] y**k``.
    total = np.full_like(y, coefficients[-1])
    for c in coefficients[-2::-1]:
        total *= y
        total += c
    return total


def _series(x: FloatArray, alpha: float) -> FloatArray:
    # Evaluate the power series; fourteen terms of ratio 1/20 at worst.
    return _horner(rgamma(1.0 + alpha * np.arange(_SERIES_TERMS)), -x)


def _series_slope(x: FloatArray, alpha: float) -> FloatArray:
    # Evaluate the power series differentiated in ``alpha``.
    k = np.arange(_SERIES_TERMS)
    return _horner(-k * digamma(1.0 + alpha * k) * rgamma(1.0 + alpha * k), -x)


def _tail(x: FloatArray, alpha: float) -> FloatArray:
    # Evaluate the asymptotic series `-\sum_k (-x)^{-k} / \Gamma(1 - \alpha k)`.
    k = np.arange(1.0, _TAIL_TERMS + 1.0)
    y = -1.0 / x
    return -y * _horner(rgamma(1.0 - alpha * k), y)


def _tail_slope(x: FloatArray, alpha: float) -> FloatArray:
    # Evaluate the asymptotic series differentiated in ``alpha``.
    k = np.arange(1.0, _TAIL_TERMS + 1.0)
    y = -1.0 / x
    return -y * _horner(k * _digamma_over_gamma(alpha * k), y)


def _digamma_over_gamma(y: FloatArray) -> FloatArray:
    # Evaluate `\psi(1 - y) / \Gamma(1 - y)`, finite also where y is a whole number.
    # By reflection it is `\Gamma(y) [\psi(y) \sin \pi y + \pi \cos \pi y] / \pi`.
    turn = np.pi * (y - np.round(y))
    sign = np.where(np.round(y) % 2 == 0, 1.0, -1.0)
    slope = digamma(y) * np.sin(turn) + np.pi * np.cos(turn)
    return np.asarray(sign * slope / (np.pi * rgamma(y)), dtype=np.float64)


def _nodes(alpha: float) -> tuple[Any, Any, Any]:
    # Return weights times `s^{\alpha - 1}`, `s^\alpha` and `\ln s`.
    angle = 1j * _STEP * (np.arange(_NODES) + 0.5) - _PHI
    s = _MU * (1.0 + np.sin(angle))
    weights = _STEP / np.pi * _MU * np.cos(angle) * np.exp(s)
    log_s = np.log(s)
    power = np.exp(alpha * log_s)
    return weights * power / s, power, log_s


def _contour(x: FloatArray, alpha: float) -> FloatArray:
    # Sum ``Re(a / (b + x))`` over the nodes, in real arithmetic, block by block.
    a, b, _ = _nodes(alpha)
    values = np.zeros_like(x)
    for start in range(0, len(x), _BLOCK):
        part = slice(start, start + _BLOCK)
        for ak, bk in zip(a, b, strict=True):
            shifted = x[part] + bk.real
            values[part] += (ak.real * shifted + ak.imag * bk.imag) / (
                shifted * shifted + bk.imag**2
            )
    return values


def _contour_slope(x: FloatArray, alpha: float) -> FloatArray:
    # Sum ``Re(a ln(s) x / (b + x)**2)`` over the nodes.
    a, b, log_s = _nodes(alpha)
    values = np.zeros_like(x)
    for ak, bk, lk in zip(a, b, log_s, strict=True):
        values += (ak * lk * x / (bk + x) ** 2).real
    return values

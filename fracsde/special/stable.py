r"""One-sided stable laws, their inverses, and the M-Wright function.

.. math::
    \mathbb{E}\, e^{-p S} = e^{-p^\alpha}, \qquad
    E_t = \inf\{\tau : U(\tau) > t\} \overset{d}{=} (t / S)^\alpha, \qquad
    \mathbb{E}\, e^{-p E_t} = E_\alpha(-p\, t^\alpha), \qquad 0 < \alpha < 1 .

``U`` is the stable subordinator, :math:`U(\tau) \overset{d}{=} \tau^{1/\alpha} S`; its inverse
``E_t`` is the clock of subdiffusion.  The density of ``E_t`` is
:math:`t^{-\alpha} M_\alpha(s\, t^{-\alpha})` with

.. math::
    M_\alpha(x) = \sum_{n \ge 0} \frac{(-x)^n}{n!\, \Gamma(1 - \alpha - \alpha n)} .

The two families are one: ``stable_cdf(x)`` is ``inverse_stable_sf(1, x)``, ``stable_sf(x)`` is
``inverse_stable_cdf(1, x)`` and ``stable_pdf(x)`` is ``alpha / x * inverse_stable_pdf(1, x)``.

Values come from tables that are made once per ``alpha`` from integrals with positive integrands
(in 5 to 20 milliseconds, 0.2 seconds at ``alpha = 0.9999``; the last 64 are kept).  Accuracy,
measured in ``tests/special/test_stable.py`` against integrals and series in high precision:

================  ====================  =========================================
``alpha``         ``pdf, cdf, sf``      ``logpdf``
================  ====================  =========================================
[0.01, 0.99]      relative 4e-15        absolute 4e-15 + 4e-16 of its size
[1e-6, 0.9999]    relative 1e-14        not measured
================  ====================  =========================================

as functions of the numbers passed in, in both tails, up to the largest and down to the smallest
normal result.  One exception: where :math:`x^{-\alpha - 1}` overflows on the way, at the smallest
``x`` or ``t``, a density is the exponential of its logarithm and loses about 1e-16 times that
logarithm, up to 1e-13.  Orders below 1e-6 and above 0.9999 are refused.  At orders close to 1 the
laws themselves are sensitive: a relative change :math:`\varepsilon` of ``x`` is one of up to
:math:`700\, \varepsilon / (1 - \alpha)` in a value.

Not here: samplers (:mod:`fracsde.special.sampling`), two-sided stable laws, negative arguments
of the M-Wright function, ``alpha = 1``, where ``S = 1`` and ``E_t = t`` have no density.

References: [Zolotarev1986]_, [Mainardi2010]_, [MeerschaertStraka2013]_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import finite_array, real
from fracsde.errors import OutOfRangeError, ShapeError, UnsupportedError
from fracsde.special._stable_kernels import CDF, LOGPDF, PDF, SF, evaluate
from fracsde.special._stable_tables import stable_table

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray

__all__ = [
    "inverse_stable_cdf",
    "inverse_stable_logpdf",
    "inverse_stable_pdf",
    "inverse_stable_sf",
    "stable_cdf",
    "stable_logpdf",
    "stable_pdf",
    "stable_sf",
    "wright_m",
]

LOWEST_ORDER, HIGHEST_ORDER = 1e-6, 0.9999  # of the tables

# What a law is worth where its variable is impossible.
_OUTSIDE = {PDF: 0.0, CDF: 0.0, SF: 1.0, LOGPDF: -np.inf}


def wright_m(x: ArrayLike, alpha: float) -> FloatArray:
    r"""Evaluate the M-Wright (Mainardi) function :math:`M_\alpha(x)` for ``x >= 0``.

    Parameters
    ----------
    x : array_like [1]
        Not negative, any shape.
    alpha : float [1]
        Order, from 1e-6 to 0.9999.

    Returns
    -------
    ndarray of float64
        Positive, of the shape of ``x``; :math:`1/\Gamma(1-\alpha)` at 0.

    Raises
    ------
    UnsupportedError
        If an ``x`` is negative, or ``alpha`` in (0, 1) is beyond what the tables serve.

    References
    ----------
    [Mainardi2010]_, Appendix F.

    Examples
    --------
    >>> bool(abs(wright_m(2.0, 0.5) - np.exp(-1.0) / np.sqrt(np.pi)) < 1e-15)
    True
    """
    alpha = _order(alpha)
    x = finite_array("x", x)
    if np.any(x < 0):
        msg = (
            f"`x` must not be negative, got {x.min():g}; only the half-line on which the function "
            "is a density is served"
        )
        raise UnsupportedError(msg)
    return _law(PDF, x, np.ones(()), alpha)


def inverse_stable_pdf(s: ArrayLike, t: ArrayLike, alpha: float) -> FloatArray:
    r"""Evaluate the density of ``E_t``, :math:`t^{-\alpha} M_\alpha(s\, t^{-\alpha})`.

    Parameters
    ----------
    s : array_like [t**alpha]
        Where; the density is zero at negative values.
    t : array_like [t]
        Positive; broadcasts with ``s``.
    alpha : float [1]
        Order, from 1e-6 to 0.9999.

    Returns
    -------
    ndarray of float64 [t**-alpha]

    References
    ----------
    [MeerschaertStraka2013]_

    Examples
    --------
    At ``alpha = 1/2`` it is half of a normal density:

    >>> value = inverse_stable_pdf(1.0, 4.0, 0.5)
    >>> bool(abs(value - np.exp(-1.0 / 16.0) / np.sqrt(4.0 * np.pi)) < 1e-15)
    True
    """
    return _inverse(PDF, s, t, alpha)


def inverse_stable_logpdf(s: ArrayLike, t: ArrayLike, alpha: float) -> FloatArray:
    """Evaluate the logarithm of the density of ``E_t``, also where the density underflows.

    Parameters
    ----------
    s : array_like [t**alpha]
        Where; ``-inf`` at negative values.
    t : array_like [t]
        Positive; broadcasts with ``s``.
    alpha : float [1]
        Order, from 1e-6 to 0.9999.

    Returns
    -------
    ndarray of float64 [1]

    Examples
    --------
    >>> bool(inverse_stable_pdf(1e3, 1.0, 0.5) == 0.0)
    True
    >>> float(inverse_stable_logpdf(1e3, 1.0, 0.5).round(6))
    -250000.572365
    """
    return _inverse(LOGPDF, s, t, alpha)


def inverse_stable_cdf(s: ArrayLike, t: ArrayLike, alpha: float) -> FloatArray:
    """Evaluate ``P(E_t <= s)``, relatively accurate where it is small.

    Parameters
    ----------
    s : array_like [t**alpha]
        Where.
    t : array_like [t]
        Positive; broadcasts with ``s``.
    alpha : float [1]
        Order, from 1e-6 to 0.9999.

    Returns
    -------
    ndarray of float64 [1]

    Examples
    --------
    >>> from scipy.special import erf
    >>> bool(abs(inverse_stable_cdf(1.0, 1.0, 0.5) - erf(0.5)) < 1e-15)
    True
    """
    return _inverse(CDF, s, t, alpha)


def inverse_stable_sf(s: ArrayLike, t: ArrayLike, alpha: float) -> FloatArray:
    """Evaluate ``P(E_t > s)``, relatively accurate where it is small.

    Parameters
    ----------
    s : array_like [t**alpha]
        Where.
    t : array_like [t]
        Positive; broadcasts with ``s``.
    alpha : float [1]
        Order, from 1e-6 to 0.9999.

    Returns
    -------
    ndarray of float64 [1]

    Examples
    --------
    >>> from scipy.special import erfc
    >>> bool(abs(inverse_stable_sf(40.0, 1.0, 0.5) / erfc(20.0) - 1.0) < 1e-13)
    True
    """
    return _inverse(SF, s, t, alpha)


def stable_pdf(x: ArrayLike, alpha: float) -> FloatArray:
    r"""Evaluate the density of the one-sided stable variable ``S``.

    Parameters
    ----------
    x : array_like [1]
        Where; the density is zero at ``x <= 0``.
    alpha : float [1]
        Order, from 1e-6 to 0.9999.

    Returns
    -------
    ndarray of float64
        Of the shape of ``x``; relative error 4e-15, but up to 1e-13 near the smallest ``x``, where
        factors overflow and it is the exponential of :func:`stable_logpdf`.

    References
    ----------
    [Zolotarev1986]_, section 2.2.

    Examples
    --------
    At ``alpha = 1/2`` it is Lévy's density:

    >>> value = stable_pdf(0.3, 0.5)
    >>> levy = np.exp(-1.0 / 1.2) / (2.0 * np.sqrt(np.pi) * 0.3**1.5)
    >>> bool(abs(value / levy - 1.0) < 2e-15)
    True
    """
    return _stable(PDF, x, alpha)


def stable_logpdf(x: ArrayLike, alpha: float) -> FloatArray:
    """Evaluate the logarithm of the density of ``S``, also where the density underflows.

    Parameters
    ----------
    x : array_like [1]
        Where; ``-inf`` at ``x <= 0``.
    alpha : float [1]
        Order, from 1e-6 to 0.9999.

    Returns
    -------
    ndarray of float64
        Of the shape of ``x``.

    Examples
    --------
    >>> float(stable_logpdf(1e-5, 0.5).round(6))
    -24983.996124
    """
    return _stable(LOGPDF, x, alpha)


def stable_cdf(x: ArrayLike, alpha: float) -> FloatArray:
    """Evaluate ``P(S <= x)``, relatively accurate where it is small.

    Parameters
    ----------
    x : array_like [1]
        Where.
    alpha : float [1]
        Order, from 1e-6 to 0.9999.

    Returns
    -------
    ndarray of float64
        Of the shape of ``x``.

    Examples
    --------
    >>> from scipy.special import erfc
    >>> bool(abs(stable_cdf(0.01, 0.5) / erfc(5.0) - 1.0) < 1e-14)
    True
    """
    return _stable(CDF, x, alpha)


def stable_sf(x: ArrayLike, alpha: float) -> FloatArray:
    r"""Evaluate ``P(S > x)``, relatively accurate where it is small.

    Parameters
    ----------
    x : array_like [1]
        Where; far out it is :math:`x^{-\alpha} / \Gamma(1 - \alpha)`.
    alpha : float [1]
        Order, from 1e-6 to 0.9999.

    Returns
    -------
    ndarray of float64
        Of the shape of ``x``.

    Examples
    --------
    >>> from math import gamma
    >>> bool(abs(stable_sf(1e100, 0.3) * 1e30 * gamma(0.7) - 1.0) < 1e-13)
    True
    """
    return _stable(SF, x, alpha)


def _order(alpha: float) -> float:
    # Return ``alpha`` if it lies in (0, 1) and the tables serve it.
    alpha = real("alpha", alpha)
    remedy = "at alpha = 1 the laws are point masses, S = 1 and E_t = t, without a density"
    alpha = real("alpha", alpha, low=0.0, high=1.0, remedy=remedy if alpha >= 1.0 else "")
    if alpha < LOWEST_ORDER:
        msg = (
            f"`alpha` must be at least {LOWEST_ORDER:g}, got {alpha:g}; below, E_t is an "
            "exponential variable to six digits and log S overflows"
        )
        raise UnsupportedError(msg)
    if alpha > HIGHEST_ORDER:
        msg = (
            f"`alpha` must be at most {HIGHEST_ORDER:g}, got {alpha:.10g}; beyond, tables take "
            "seconds and lose digits, as the laws narrow to point masses"
        )
        raise UnsupportedError(msg)
    return alpha


def _inverse(kind: int, s: ArrayLike, t: ArrayLike, alpha: float) -> FloatArray:
    # Evaluate a law of E_t.
    alpha = _order(alpha)
    remedy = "times are positive; the clock starts at E_0 = 0, which has no density"
    t = finite_array("t", t, remedy=remedy)
    s = finite_array("s", s)
    if np.any(t <= 0):
        msg = f"`t` must be positive, got {t.min():g}; {remedy}"
        raise OutOfRangeError(msg)
    try:
        np.broadcast_shapes(s.shape, t.shape)
    except ValueError as error:
        msg = (
            f"`s` and `t` must broadcast, got shapes {s.shape} and {t.shape}; add an axis of "
            "length 1 to one of them"
        )
        raise ShapeError(msg) from error
    return _law(kind, s, t, alpha)


def _stable(kind: int, x: ArrayLike, alpha: float) -> FloatArray:
    # Evaluate a law of S at x, which is one of E_x at 1 with the tails exchanged.
    alpha = _order(alpha)
    x = finite_array("x", x)
    swapped = {CDF: SF, SF: CDF}.get(kind, kind)
    values = _law(swapped, np.ones(()), np.where(x > 0, x, 1.0), alpha, stable=True)
    return np.where(x > 0, values, _OUTSIDE[kind])[()]


def _law(
    kind: int, s: FloatArray, t: FloatArray, alpha: float, *, stable: bool = False
) -> FloatArray:
    # Evaluate with arguments that broadcast, t > 0.
    s, t = np.broadcast_arrays(s, t)
    flat_s, flat_t = np.ascontiguousarray(s).ravel(), np.ascontiguousarray(t).ravel()
    inside = np.maximum(flat_s, 0.0)
    values = evaluate(inside, flat_t, stable, kind, *stable_table(alpha))
    if np.any(flat_s < 0):
        values[flat_s < 0] = _OUTSIDE[kind]
    return np.asarray(values.reshape(s.shape), dtype=np.float64)[()]

r"""Sums of powers of the response of one weight to a kick, to rounding.

Steps of momentum answer a unit kick by :math:`\psi_j = \alpha z_1^j + \beta z_2^j`, with the
eigenvalues of :mod:`fracsde.problems.sgd_steps`,

.. math::
    z^2 - t z + D = 0, \qquad t = 1 + \mu - a k, \quad D = \mu (1 - a k) + b c k ,

so that

.. math::
    \sum_j \psi_j^n = \sum_m \binom nm \frac{\alpha^{n-m} \beta^m}{1 - z_1^{n-m} z_2^m} .

A slow mode is near 1 and the border of stability at -1: distances from both,

.. math::
    y^2 - (2 - t)\,y + k\,[a (1 - \mu) + b c] = 0, \qquad
    s^2 - (2 + t)\,s + 2 (1 + \mu) - k\,[a (1 + \mu) - b c] = 0 ,

come without a difference of numbers that agree, and denominators from their logarithms.  Where the
eigenvalues meet, monomials of the state are solved for instead; the smaller of the two bounds on
the error decides.
"""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray
    from fracsde.problems.sgd_steps import StepRule

__all__ = ["polynomial_product", "response_sum"]

_EPS = float(np.finfo(np.float64).eps)


def response_sum(rule: StepRule, pull: float, n: int) -> tuple[float, float]:
    """Return the sum over steps of a power of the response, and a bound on its relative error.

    Parameters
    ----------
    rule : StepRule
        Momentum, Nesterov and dampening.
    pull : float [1]
        Rate times curvature, stable.
    n : int
        The power, at least 2.

    Returns
    -------
    float
    float [1]
    """
    if rule.has_velocity:
        return min((_by_modes(rule, pull, n), _by_monomials(rule, pull, n)), key=lambda one: one[1])
    # 2 - pull is exact where it is small, but the pull is a rounded product.
    log = np.log1p(-pull if pull < 1.0 else pull - 2.0) if pull != 1.0 else -np.inf
    lost = _one_less(n * log, negative=bool(pull > 1.0 and n % 2))
    return 1.0 / lost, 8.0 * _EPS * (1.0 + pull / (2.0 - pull))


def polynomial_product(p: FloatArray, i: int, q: FloatArray, j: int) -> FloatArray:
    """Return the coefficients of ``p**i * q**j``.

    Parameters
    ----------
    p, q : (any,) float64
        Coefficients.
    i, j : int
        Powers.

    Returns
    -------
    (any,) float64
    """
    result = np.ones(1)
    for factor, times in ((p, i), (q, j)):
        for _ in range(times):
            result = np.convolve(result, factor)
    return result


def _one_less(log: float, *, negative: bool) -> float:
    # 1 - z from the logarithm of its size.
    return float(1.0 + np.exp(log)) if negative else float(-np.expm1(log))


def _by_modes(rule: StepRule, pull: float, n: int) -> tuple[float, float]:
    (a, b, c), mu = rule.gains, rule.momentum
    slow, border = (
        pull * (a * (1.0 - mu) + b * c),
        2.0 * (1.0 + mu) - pull * (a * (1.0 + mu) - b * c),
    )
    below, above = 1.0 - mu + a * pull, 3.0 + mu - a * pull  # 2 - t and 2 + t
    gap = below**2 - 4.0 * slow
    if gap == 0.0 or border <= 0.0:
        return np.nan, np.inf
    # How rounding of the coefficients shows in the eigenvalues and in what they carry.
    lost = 1.0 + (below**2 + 4.0 * slow) / abs(gap) + 4.0 / border
    first = (1.0 - a * pull) * a + b * c
    if gap > 0.0:
        terms = _real_terms(slow, border, below, above, gap**0.5, a, first, n)
    else:
        z = np.array([0.5 * (above - 2.0) + 0.5j * (-gap) ** 0.5])
        alpha = (first - z.conj() * a) / (z - z.conj())
        m = np.arange(n + 1)
        carried = alpha ** (n - m) * alpha.conj() ** m
        terms = _ways(n) * carried / (1.0 - z ** (n - m) * z.conj() ** m)
        # The power of D = |z|^2 is the largest; others are farther from 1.
        lost += 1.0 / float(np.abs(1.0 - np.abs(z[0]) ** n))
    total, sizes = float(terms.sum().real), float(np.abs(terms).sum())
    return total, 8.0 * n * _EPS * lost * sizes / abs(total) if total != 0.0 else np.inf


def _real_terms(
    slow: float,
    border: float,
    below: float,
    above: float,
    root: float,
    start: float,
    first: float,
    n: int,
) -> NDArray[np.float64]:
    far, near = 0.5 * (below + root), 0.5 * (above + root)  # 1 - z_2 and 1 + z_1
    y, s = slow / far, border / near  # 1 - z_1 and 1 + z_2
    large, small = 1.0 - y if y < 1.0 else near - 1.0, s - 1.0 if s < 1.0 else 1.0 - far
    logs = []
    for z, from_one, from_minus_one in ((large, y, near), (small, far, s)):
        if z == 0.0:
            logs.append(-np.inf)
        else:
            logs.append(float(np.log1p(-from_one if z > 0.0 else -from_minus_one)))
    alpha, beta = (first - small * start) / root, (large * start - first) / root
    terms = np.zeros(n + 1)
    for m in range(n + 1):
        log = sum(k * one for k, one in ((n - m, logs[0]), (m, logs[1])) if k)
        negative = ((n - m) * (large < 0.0) + m * (small < 0.0)) % 2 == 1
        terms[m] = alpha ** (n - m) * beta**m / _one_less(log, negative=negative)
    return _ways(n) * terms


def _ways(n: int) -> FloatArray:
    return np.array([comb(n, m) for m in range(n + 1)], dtype=np.float64)


def _by_monomials(rule: StepRule, pull: float, n: int) -> tuple[float, float]:
    # Monomials w^(n-i) v^i of the state move among themselves; x marks the velocity.
    a, b, c = rule.gains
    weight, velocity = np.array([1.0 - a * pull, b]), np.array([-c * pull, rule.momentum])
    block = np.array([polynomial_product(weight, n - i, velocity, i) for i in range(n + 1)])
    kicked = np.array([a ** (n - i) * c**i for i in range(n + 1)])
    lost = np.eye(n + 1) - block
    total = float(np.linalg.solve(lost, kicked)[0])
    return total, 8.0 * _EPS * float(np.linalg.cond(lost, 1))

r"""The learning rate above which the second moments of SGD diverge.

A stationary covariance exists while :math:`\mathcal D(\eta) - \frac fB\mathcal V` of
:mod:`fracsde.problems.second_moments` is positive definite.  :math:`\mathcal D` falls with
:math:`\eta`, so the critical rate is the smallest over all symmetric :math:`S` of the root of

.. math::
    \langle S, \mathcal D(\eta)\,S\rangle = \langle S, \tfrac fB\mathcal V(S)\rangle .

Each root is an upper bound.  The iteration takes the root of the leading eigenmatrix at the last
bound: it falls to the limit, at least quadratically.  Eigenmatrices come from Lanczos vectors of
:math:`\mathcal D^{-1/2}\,\frac fB\mathcal V\,\mathcal D^{-1/2}`, whose largest eigenvalue belongs
to a positive matrix since the operator keeps matrices positive: a positive start cannot miss it.

For Gaussian inputs of covariance :math:`s_2 I` and no momentum the limit is
:math:`2B/[s_2(B + d + 1)]` [Gurbuzbalaban2021]_; ``tests/problems/test_least_squares.py`` asks for
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.sparse.linalg import LinearOperator, eigsh

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray
    from fracsde.problems.second_moments import SecondMoments

__all__ = ["critical_rate", "leading_eigenmatrix"]

# Modes up to which all eigenvalues are computed, from the matrix of the operator.
_FEW = 8
# An answer is sought this far below the limit of the mean, where D is singular.
_INSIDE = 1.0 - 1e-12
_EPS, _TINY = float(np.finfo(np.float64).eps), float(np.finfo(np.float64).tiny)


def critical_rate(moments: SecondMoments) -> float:
    """Return the learning rate above which second moments diverge.

    Parameters
    ----------
    moments : SecondMoments
        Of the run.

    Returns
    -------
    float
        Infinite where nothing moves, zero where a direction without curvature is kicked.
    """
    if moments.drifting:
        return 0.0
    limit = moments.largest_rate
    if not np.isfinite(limit) or moments.share == 0.0:
        return limit
    steepest = np.zeros((len(moments.curvatures),) * 2)
    steepest[-1, -1] = 1.0
    rate = _root(moments, steepest)
    for _ in range(50):
        value, S = leading_eigenmatrix(moments.spread, moments.stiffness(rate))
        if value < 1.0 and rate == _INSIDE * limit:
            return limit
        lower = _root(moments, S)
        # Equal to rounding: the eigenvalue is 1 here.
        if not lower < rate * (1.0 - 4.0 * _EPS):
            break
        rate = lower
    return rate


def leading_eigenmatrix(
    spread: Callable[[FloatArray], FloatArray], D: FloatArray
) -> tuple[float, FloatArray]:
    """Return the largest eigenvalue of ``spread(S) = value D S`` and its matrix.

    Parameters
    ----------
    spread : callable
        Its own adjoint, and positive.
    D : (r, r) float64
        Positive entries.

    Returns
    -------
    value : float
    S : (r, r) float64
    """
    r, scale = len(D), 1.0 / np.sqrt(D)

    def apply(x: FloatArray) -> FloatArray:
        S = scale * x.reshape(r, r)
        return np.asarray(scale * spread(0.5 * (S + S.T))).ravel()

    if r <= _FEW:
        operator = np.array([apply(unit) for unit in np.eye(r * r)])
        values, vectors = np.linalg.eigh(0.5 * (operator + operator.T))
        value, x = float(values[-1]), vectors[:, -1]
    else:
        form = LinearOperator((r * r, r * r), matvec=apply, dtype=np.float64)
        # D^(1/2) times a positive matrix: a start that the leading matrix cannot be orthogonal to.
        values, vectors = eigsh(form, k=1, which="LA", v0=(np.eye(r) / scale).ravel(), ncv=16)
        value, x = float(values[0]), vectors[:, 0]
    S = scale * x.reshape(r, r)
    return value, np.asarray(0.5 * (S + S.T))


def _root(moments: SecondMoments, S: FloatArray) -> float:
    # Rate at which ``S`` meets the limit, no more than just below that of the mean.
    pushed = float(np.sum(S * moments.spread(S)))
    weights = S * S

    def excess(rate: float) -> float:
        return float(np.sum(weights * moments.stiffness(rate))) - pushed

    high = _INSIDE * moments.largest_rate
    if excess(high) >= 0.0:
        return high
    low = high
    while excess(low) < 0.0:
        low *= 0.5
    return float(brentq(excess, low, 2.0 * low, xtol=_TINY, rtol=4.0 * _EPS))

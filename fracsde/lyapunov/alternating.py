r"""Low-rank solutions of tridiagonal Lyapunov equations by alternating directions.

.. math::
    T Z + Z T = F K G^T + G K F^T, \qquad
    Z \approx \sum_j 2 p_j \,(f_j K g_j^T + g_j K f_j^T), \qquad
    f_j = (T + p_j)^{-1} F_{j-1}, \quad F_j = F_{j-1} - 2 p_j f_j,

with diagonal ``K``, and the same for ``G``.  What is left is :math:`r(T) Z r(T)` with
:math:`r(t) = \prod_j (p_j - t)/(p_j + t)`.  Columns that decay are cut off far below rounding,
since subnormal numbers slow every product down.  Beside it, tridiagonal systems with one shift and
one right-hand side each.

Not here: which shifts make ``r`` small (:func:`fracsde.lyapunov.lowrank.poles`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from fracsde._compiled import njit

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["alternating", "alternating_reference", "shifted_solves"]

_TINY = 1e-150  # beside columns of size near 1


@njit(cache=True, error_model="numpy")
def alternating(
    diagonal: FloatArray,
    beside: FloatArray,
    shifts: FloatArray,
    columns: FloatArray,
    weights: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return the solutions of every step.

    Parameters
    ----------
    diagonal, beside : (n,), (n - 1,) float64
        Of the positive definite ``T``.
    shifts : (J,) float64
        Positive.
    columns : (n, 2 k) float64
        ``F`` and ``G`` side by side.
    weights : (k,) float64
        The diagonal of ``K``.

    Returns
    -------
    left, right : (J, k, n) float64
        All ``2 p f K`` and all ``g``.
    """
    n, k = len(columns), len(weights)
    left, right = np.empty((len(shifts), k, n)), np.empty((len(shifts), k, n))
    rest = columns.copy()
    pivots, ratios = np.empty(n), np.zeros(n)
    w = np.empty((n, 2 * k))
    for j in range(len(shifts)):
        p = shifts[j]
        pivots[0] = diagonal[0] + p
        w[0] = rest[0]
        for i in range(1, n):
            ratio = beside[i - 1] / pivots[i - 1]
            pivots[i] = diagonal[i] + p - ratio * beside[i - 1]
            ratios[i - 1] = ratio
            for c in range(2 * k):
                y = rest[i, c] - ratio * w[i - 1, c]
                w[i, c] = 0.0 if abs(y) < _TINY else y
        below = w[n - 1]  # times a ratio of zero
        for i in range(n - 1, -1, -1):
            share, ratio = 1.0 / pivots[i], ratios[i]
            for c in range(2 * k):
                y = share * w[i, c] - ratio * below[c]
                y = 0.0 if abs(y) < _TINY else y
                w[i, c] = y
                rest[i, c] -= 2.0 * p * y
            for c in range(k):
                left[j, c, i] = 2.0 * p * weights[c] * w[i, c]
                right[j, c, i] = w[i, k + c]
            below = w[i]
    return left, right


def alternating_reference(
    diagonal: FloatArray,
    beside: FloatArray,
    shifts: FloatArray,
    columns: FloatArray,
    weights: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return :func:`alternating` by LAPACK.

    Returns
    -------
    left, right : (J, k, n) float64
    """
    k, rest = len(weights), columns.copy()
    out = np.empty((len(shifts), 2 * k, len(columns)))
    for j, p in enumerate(shifts):
        band = np.array([diagonal + p, np.append(beside, 0.0)])
        w = scipy.linalg.solveh_banded(band, rest, lower=True)
        w[np.abs(w) < _TINY] = 0.0
        out[j] = w.T
        rest -= 2.0 * p * w
    return out[:, :k] * (2.0 * np.outer(shifts, weights))[..., None], out[:, k:]


@njit(cache=True, error_model="numpy")
def shifted_solves(
    diagonal: FloatArray, beside: FloatArray, shifts: FloatArray, columns: FloatArray
) -> None:
    """Overwrite the columns by the solutions of ``(T + p_j) y = f_j``, each with its own shift.

    Parameters
    ----------
    diagonal, beside : (n,), (n - 1,) float64
        Of ``T``; all ``T + p_j`` are positive definite.
    shifts : (m,) float64
        All ``p_j``.
    columns : (n, m) float64
        All ``f_j``, in the order of C; written to.
    """
    n, m = columns.shape
    shares = np.empty((n, m))
    for j in range(m):
        shares[0, j] = 1.0 / (diagonal[0] + shifts[j])
    for i in range(1, n):
        e = beside[i - 1]
        for j in range(m):
            ratio = e * shares[i - 1, j]
            shares[i, j] = 1.0 / (diagonal[i] + shifts[j] - e * ratio)
            columns[i, j] -= ratio * columns[i - 1, j]
    for j in range(m):
        columns[n - 1, j] *= shares[n - 1, j]
    for i in range(n - 2, -1, -1):
        e = beside[i]
        for j in range(m):
            columns[i, j] = shares[i, j] * (columns[i, j] - e * columns[i + 1, j])

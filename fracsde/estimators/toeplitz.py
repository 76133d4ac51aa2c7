r"""Innovations of stationary series: the determinant and the inverse of a Toeplitz matrix.

With :math:`T = L L^T`, :math:`T_{ij} = \gamma(|i - j|)`, and innovations :math:`e = L^{-1} y`,

.. math::
    \log\det T = 2 \sum_t \log L_{tt}, \qquad y^T T^{-1} z = e_y \cdot e_z .

Schur's algorithm makes the columns of :math:`L` one after another from two generators ``u, v`` in
:math:`O(n^2)` operations and :math:`O(n)` memory; a column is used and forgotten.  It is stable for
positive definite Toeplitz matrices, and its inner loop has no sum that would wait for itself,
unlike that of Durbin and Levinson.

References: [Bojanczyk1995]_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import linalg

from fracsde._compiled import njit

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["innovations", "innovations_reference"]


def innovations_reference(gamma: FloatArray, series: FloatArray) -> tuple[float, FloatArray]:
    """Return the logarithm of the determinant and the innovations, by a dense factorisation.

    Parameters
    ----------
    gamma : (n,) ndarray of float64 [y^2]
        Autocovariances.
    series : (m, n) ndarray of float64 [y]
        One series per row.

    Returns
    -------
    float, (m, n) ndarray of float64
    """
    factor = np.linalg.cholesky(linalg.toeplitz(gamma))
    white = linalg.solve_triangular(factor, series.T, lower=True).T
    return 2.0 * float(np.log(factor.diagonal()).sum()), np.asarray(white, dtype=np.float64)


def innovations(gamma: FloatArray, series: FloatArray) -> tuple[float, FloatArray]:
    """Return what :func:`innovations_reference` returns, in quadratic time.

    Returns
    -------
    float, (m, n) ndarray of float64
        The logarithm is NaN if the matrix is not positive definite.
    """
    white = np.array(series, order="C")
    u = gamma / np.sqrt(gamma[0])
    return float(_schur(u, u.copy(), white)), white


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _schur(u: Any, v: Any, series: Any) -> float:
    # Turn `series` into innovations.  In step t, column t of L is u[0], u[1], ... from the diagonal
    # down, and v[t + 1 + j] is the other generator beside u[j].
    m, n = series.shape
    log_det = 0.0
    for t in range(n):
        pivot = u[0]
        if not pivot > 0.0:
            return np.nan
        log_det += np.log(pivot)
        left = n - t
        column = u[:left]
        for r in range(m):
            rest = series[r, t:]
            e = rest[0] / pivot
            rest[0] = e
            for j in range(1, left):
                rest[j] -= e * column[j]
        if left == 1:
            break
        other = v[t + 1 :]
        rho = other[0] / pivot
        squeeze = (1.0 - rho) * (1.0 + rho)
        if not squeeze > 0.0:
            return np.nan
        scale = 1.0 / np.sqrt(squeeze)
        for j in range(left - 1):
            a, b = column[j], other[j]
            column[j] = (a - rho * b) * scale
            other[j] = (b - rho * a) * scale
    return 2.0 * log_det

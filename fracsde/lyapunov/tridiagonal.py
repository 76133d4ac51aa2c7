r"""Lyapunov equations of positive definite matrices without their eigenvectors.

.. math::
    A = U T U^T, \qquad T Y + Y T = U^T Q U, \qquad \Sigma = U Y U^T,

with ``T`` tridiagonal and ``U`` a product of reflectors, which is never formed: panels
:math:`I - V K^T` of them are applied to both sides of half a symmetric matrix at once, at
:math:`2n^3` operations each way.

The tridiagonal equation is solved in some :math:`0.3 n^3` operations
(:mod:`fracsde.lyapunov.tridiagonal_equation`) beside the :math:`5.3 n^3` of the form and the two
changes of coordinates.  All of it is as stable as with the eigenvectors of ``A``: ``U`` is
orthogonal.  ``tests/lyapunov/test_tridiagonal.py`` measures residuals on every kind of spectrum.

Not here: matrices that are not clearly positive, which need their eigenvectors
(:mod:`fracsde.lyapunov.decomposition`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from fracsde._symmetry import asymmetry, averaged
from fracsde.lyapunov.blas import (
    AVAILABLE,
    add_pairs,
    mirror_lower,
    subtract_product,
    symmetric_times,
)
from fracsde.lyapunov.rounding import EPS
from fracsde.lyapunov.tridiagonal_equation import solve_tridiagonal

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["LEAST", "Tridiagonal", "reduced", "solution"]

LEAST = 256
"""Rows from which the eigenvectors cost more."""

Panel = tuple[int, "FloatArray", "FloatArray"]  # start, V and K of I - V K^T
_PANEL, _WIDE = 64, 96  # reflectors applied at once, below and from `_LARGE` rows
_LARGE = 1500
_COLUMNS = 16  # reduced at once: half of LAPACK's own choice is faster


@dataclass(frozen=True, kw_only=True, eq=False)
class Tridiagonal:
    """A positive definite matrix as ``U T U^T``.

    Parameters
    ----------
    diagonal, beside : (n,), (n - 1,) float64
        Of ``T``.
    low, high : float
        Its extreme eigenvalues.
    panels : tuple of (int, (m, b) float64, (m, b) float64)
        ``U`` as the product of all ``I - V K^T``: the row at which ``V`` begins, ``V`` and ``K``.
    """

    diagonal: FloatArray
    beside: FloatArray
    low: float
    high: float
    panels: tuple[Panel, ...]

    @property
    def positive(self) -> bool:
        """Whether the matrix is positive beyond what rounding may have done to it."""
        return self.low > 16.0 * len(self.diagonal) * EPS * self.high


def reduced(array: FloatArray, gap: float | None = None) -> Tridiagonal | None:
    """Bring a matrix that is symmetric to rounding into tridiagonal form.

    Parameters
    ----------
    array : (n, n) float64
        The matrix.
    gap : float, optional
        Its :func:`~fracsde._symmetry.asymmetry`, where it is known.

    Returns
    -------
    Tridiagonal or None
        None where the matrix is too small, or not clearly positive, for :func:`solution`.
    """
    n = len(array)
    if n < LEAST or not AVAILABLE or array.diagonal().min() <= 0.0:
        return None
    rows, diagonal, beside, factors, _ = scipy.linalg.lapack.dsytrd(
        averaged(array, asymmetry(array) if gap is None else gap).T,
        lower=1,
        lwork=_COLUMNS * n,
        overwrite_a=1,
    )
    low, high = _extremes(diagonal, beside)
    form = Tridiagonal(diagonal=diagonal, beside=beside, low=low, high=high, panels=())
    if not form.positive:
        return None
    width = _PANEL if n < _LARGE else _WIDE
    panels = tuple(_panel(rows, factors, k, width) for k in range(0, n - 1, width))
    return Tridiagonal(diagonal=diagonal, beside=beside, low=low, high=high, panels=panels)


def _extremes(diagonal: FloatArray, beside: FloatArray) -> tuple[float, float]:
    # By bisection, which gives up where many eigenvalues are equal to rounding.
    try:
        low, high = (
            scipy.linalg.eigvalsh_tridiagonal(
                diagonal, beside, select="i", select_range=(k, k), check_finite=False
            )[0]
            for k in (0, len(diagonal) - 1)
        )
    except np.linalg.LinAlgError:
        low, high = scipy.linalg.eigvalsh_tridiagonal(
            diagonal, beside, check_finite=False, lapack_driver="sterf"
        )[[0, -1]]
    return float(low), float(high)


def _panel(rows: FloatArray, factors: FloatArray, first: int, width: int) -> Panel:
    # Reflectors I - f v v^T one after another are I - V F V^T, where the inverse of F has 1/f on
    # its diagonal and V^T V above it; a reflector that does nothing has f = 0.
    f = factors[first : first + width]
    idle = f == 0.0
    V = rows[first + 1 :, first : first + len(f)].copy(order="F")
    V[: len(f)] = np.tril(V[: len(f)], -1)
    np.einsum("ii->i", V[: len(f)])[:] = 1.0
    V[:, idle] = 0.0
    inverse = _product(V.T, V)
    np.einsum("ii->i", inverse)[:] = 1.0 / np.where(idle, 1.0, f)
    F, _ = scipy.linalg.lapack.dtrtri(inverse, overwrite_c=True)
    return first + 1, V, _product(V, np.triu(F).T)


def solution(form: Tridiagonal, Q: FloatArray) -> FloatArray:
    """Solve ``A S + S A = Q``.

    Parameters
    ----------
    form : Tridiagonal
        Of ``A``, from :func:`reduced`.
    Q : (n, n) float64
        Symmetric.

    Returns
    -------
    (n, n) float64
        Exactly symmetric.
    """
    X = Q.T.copy(order="F")  # of which only the lower triangle counts from here on
    for start, V, K in form.panels:
        _reflect(X, start, V, K)
    solve_tridiagonal(form.diagonal, form.beside, form.low, form.high, X)
    for start, V, K in reversed(form.panels):
        _reflect(X, start, K, V)
    mirror_lower(X)
    return X.T


def _reflect(X: FloatArray, start: int, V: FloatArray, K: FloatArray) -> None:
    # X <- H^T X H with H = I - V K^T, from row `start` on: the corner, from both sides, is
    # X - W K^T - K W^T with W = X V - K (V^T X V) / 2, and what is left of it X - K V^T X.
    corner, left = X[start:, start:], X[start:, :start]
    W = symmetric_times(corner, V)
    half = _product(V.T, W)
    half *= 0.5
    subtract_product(W, K, half)
    add_pairs(corner, W, K, -1.0)
    subtract_product(left, K, _product(left.T, V).T)


def _product(A: FloatArray, B: FloatArray) -> FloatArray:
    # A B in the order of Fortran.
    return np.asarray(np.matmul(B.T, A.T).T, dtype=np.float64)

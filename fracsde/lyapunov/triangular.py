r"""Lyapunov and Stein equations of matrices in Schur form.

A real Lyapunov equation :math:`R Y + Y R^T = F` goes to LAPACK ([BartelsStewart1972]_).  For the
Stein equation :math:`Y = S Y S^* + F`, ``S`` complex and upper triangular, column ``j`` from the
last to the first solves the triangular system

.. math::
    (I - \bar s_{jj} S)\, y_j = f_j + S \sum_{k > j} \bar s_{jk}\, y_k ,

the recursion of [Kitagawa1977]_ with the sums of distant columns taken in blocks.  Unlike the
bilinear (Cayley) transform it loses nothing when an eigenvalue comes near -1, as one does near the
critical learning rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray

__all__ = ["quasi_triangular_eigenvalues", "stein_columns", "triangular_lyapunov"]

_BLOCK = 32


def quasi_triangular_eigenvalues(R: FloatArray) -> NDArray[Any]:
    """Return the eigenvalues of a real Schur form, whose 2 x 2 blocks have equal diagonals.

    Parameters
    ----------
    R : (n, n) float64
        Quasi-triangular, as LAPACK standardises it.

    Returns
    -------
    (n,) complex128
    """
    values = R.diagonal().astype(np.complex128)
    for j in np.flatnonzero(R.diagonal(-1)):
        turn = np.sqrt(np.abs(R[j, j + 1])) * np.sqrt(np.abs(R[j + 1, j]))
        values[j] += 1j * turn
        values[j + 1] -= 1j * turn
    return values


def triangular_lyapunov(R: FloatArray, F: FloatArray) -> FloatArray:
    """Solve ``R Y + Y R^T = F`` for quasi-triangular ``R``.

    Parameters
    ----------
    R, F : (n, n) float64
        Schur form and right-hand side.

    Returns
    -------
    (n, n) float64
    """
    (trsyl,) = scipy.linalg.get_lapack_funcs(("trsyl",), (R, F))
    Y, scale, _ = trsyl(R, R, F, tranb="T")
    return np.asarray(Y / scale, dtype=np.float64)


def stein_columns(S: NDArray[Any], F: NDArray[Any]) -> NDArray[Any]:
    """Solve ``Y = S Y S^* + F`` for upper triangular complex ``S``, columns last to first.

    Parameters
    ----------
    S, F : (n, n) complex128
        Schur form and right-hand side.

    Returns
    -------
    (n, n) complex128
    """
    trsv, trmv = scipy.linalg.get_blas_funcs(("trsv", "trmv"), (S, F))
    n = len(S)
    S = np.asfortranarray(S)
    shifted = S.copy(order="F")
    diagonal = S.diagonal().copy()
    Y = np.zeros((n, n), dtype=np.complex128, order="F")
    SY = np.zeros_like(Y)
    for stop in range(n, 0, -_BLOCK):
        start = max(0, stop - _BLOCK)
        known = F[:, start:stop] + SY[:, stop:] @ S[start:stop, stop:].conj().T
        for j in range(stop - 1, start - 1, -1):
            right = known[:, j - start] + SY[:, j + 1 : stop] @ S[j, j + 1 : stop].conj()
            s = diagonal[j].conj()
            if abs(s) > 1e-150:
                # (I - s S) y = r as (S - I / s) y = -r / s: only the diagonal changes.
                np.fill_diagonal(shifted, diagonal - 1.0 / s)
                right = trsv(shifted, -right / s)
            Y[:, j] = right
            SY[:, j] = trmv(S, right)
    return Y

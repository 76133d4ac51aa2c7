r"""Lyapunov equations of positive definite matrices without their eigenvectors.

.. math::
    A = U T U^T, \qquad T Y + Y T = U^T Q U, \qquad \Sigma = U Y U^T,

with ``T`` tridiagonal and ``U`` a product of reflectors, which is never formed: panels
:math:`I - V K^T` of them are applied to both sides of half a symmetric matrix at once, at
:math:`2n^3` operations each way.

Cut into blocks, with the entry :math:`t_c` across each cut taken out of the off-diagonal and its
size added to the two entries of the diagonal beside it,

.. math::
    T = D - \sum_c |t_c|\, v_c v_c^T, \qquad v_c = e_c - \operatorname{sign}(t_c)\, e_{c+1},

``D`` is at least ``T``, so that the equation of ``D``, which falls into small ones that are solved
from the eigenvectors of its blocks, is no worse conditioned.  What its solution :math:`Y_0` leaves
has two ranks for each cut,

.. math::
    T (Y - Y_0) + (Y - Y_0) T = \sum_c |t_c| \,(v_c y_c^T + y_c v_c^T), \qquad y_c = Y_0 v_c,

and is solved by alternating directions with the shifts of [Wachspress2013]_.  With
:math:`r(t) = \prod_j (p_j - t)/(p_j + t)` these leave :math:`r(T)(Y - Y_0)r(T)`, and
([BeckermannTownsend2017]_, corollary 3.2)

.. math::
    \max |r|^2 \le 4 \exp\bigl(-\pi^2 J / \log(4\kappa)\bigr),

so that ``J``, some 40 at :math:`\kappa = 10^4`, follows from the condition number.

The form and two changes of coordinates take :math:`5.3 n^3` operations, ``k`` blocks
:math:`4 (k + 1) n^3 / k^2` and what they leave :math:`2 (k - 1) J n^2`; ``k`` is chosen to make
them few.  Three quarters of the last are left out, since the columns of one factor decay on both
sides of their cut, the faster the larger the shift.  All of it is as stable as with the
eigenvectors of ``A``: ``U`` and the eigenvectors of the blocks are orthogonal, and ``D`` and all
:math:`T + p_j` are positive.  ``tests/lyapunov/test_tridiagonal.py`` measures residuals on every
kind of spectrum.

Not here: matrices that are not clearly positive, which need their eigenvectors
(:mod:`fracsde.lyapunov.decomposition`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from fracsde._symmetry import asymmetry, averaged
from fracsde.lyapunov.alternating import alternating
from fracsde.lyapunov.blas import (
    AVAILABLE,
    add_pairs,
    mirror_lower,
    subtract_product,
    symmetric_times,
)
from fracsde.lyapunov.lowrank import poles
from fracsde.lyapunov.rounding import EPS

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray

__all__ = ["LEAST", "Tridiagonal", "reduced", "solution"]

LEAST = 256
"""Rows from which the eigenvectors cost more."""

Panel = tuple[int, "FloatArray", "FloatArray"]  # start, V and K of I - V K^T
_PANEL = 96  # reflectors applied at once
_ROWS = 96  # of one factor of the correction taken together
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
    panels = tuple(_panel(rows, factors, first) for first in range(0, n - 1, _PANEL))
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


def _panel(rows: FloatArray, factors: FloatArray, first: int) -> Panel:
    # Reflectors I - f v v^T one after another are I - V F V^T, where the inverse of F has 1/f on
    # its diagonal and V^T V above it; a reflector that does nothing has f = 0.
    f = factors[first : first + _PANEL]
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
    _solve_tridiagonal(form, X, float(np.linalg.norm(Q)))
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


def _solve_tridiagonal(form: Tridiagonal, X: FloatArray, size: float) -> None:
    # In the lower triangle of X, of Frobenius norm `size`; that of the solution is at least
    # size / (2 high), and what does not count beside it is left out.
    n, least = len(X), EPS * size / (2.0 * form.high)
    count = math.ceil(math.log(4.0 * form.high / form.low) * math.log(4.0 / EPS) / math.pi**2)
    cuts = _cuts(n, count)
    weights = np.abs(form.beside[cuts - 1])
    diagonal = form.diagonal.copy()
    diagonal[cuts - 1] += weights
    diagonal[cuts] += weights
    _solve_blocks(diagonal, form.beside, np.concatenate([[0], cuts, [n]]), X)
    signs, k = -np.sign(form.beside[cuts - 1]), len(cuts)
    columns = np.zeros((n, 2 * k))
    columns[cuts - 1, range(k)], columns[cuts, range(k)] = 1.0, signs
    for c, (cut, sign) in enumerate(zip(cuts, signs, strict=True)):
        columns[:, k + c] = _column(X, cut - 1) + sign * _column(X, cut)
    shifts = poles(form.low, form.high, np.inf, count)
    left, right = alternating(form.diagonal, form.beside, shifts, columns, weights)
    _add_correction(X, left.reshape(-1, n), right.reshape(-1, n), least)


def _add_correction(X: FloatArray, left: FloatArray, right: FloatArray, least: float) -> None:
    # X += L R^T + R L^T in the lower triangle, rows of L taken together, and of them only columns
    # that count: what is left out has a Frobenius norm of `least` at most.
    count, n = left.shape
    starts = np.arange(0, n, _ROWS)
    lengths = np.sqrt(np.einsum("ki,ki->k", right, right))
    parts = np.sqrt(np.add.reduceat(left * left, starts, axis=1)) * lengths[:, None]
    counts = parts > 0.5 * least / (count * math.sqrt(len(starts)))
    for start, chosen in zip(starts, counts.T, strict=True):
        if not chosen.any():
            continue
        stop = min(start + _ROWS, n)
        L, R = -left[chosen, start:stop].T, right[chosen]
        subtract_product(X[start:stop, :start], L, R[:, :start])
        add_pairs(X[start:stop, start:stop], R[:, start:stop].T, L, -1.0)
        subtract_product(X[stop:, start:stop], R[:, stop:].T, L.T)


def _cuts(n: int, count: int) -> IntArray:
    # As many blocks as make small equations, their eigenvectors and what is left cheapest.
    cost = {k: (4.0 * (k + 1) + 14.0) / k**2 * n + 2.0 * (k - 1) * count for k in range(2, n // 32)}
    blocks = min(cost, key=cost.__getitem__)
    return np.asarray([n * b // blocks for b in range(1, blocks)])


def _solve_blocks(diagonal: FloatArray, beside: FloatArray, ends: IntArray, X: FloatArray) -> None:
    # Row by row of blocks in the upper triangle of the transpose.
    upper = X.T
    spans = [slice(a, b) for a, b in pairwise(ends)]
    pairs = [
        scipy.linalg.eigh_tridiagonal(diagonal[s], beside[s.start : s.stop - 1], check_finite=False)
        for s in spans
    ]
    values = np.concatenate([pair[0] for pair in pairs])
    for b, here in enumerate(spans):
        own, basis = pairs[b]
        corner = upper[here, here]
        corner[:] = np.triu(corner) + np.triu(corner, 1).T
        rows = basis.T @ upper[here, here.start :]
        for there, (_, other) in zip(spans[b:], pairs[b:], strict=True):
            part = slice(there.start - here.start, there.stop - here.start)
            Z = rows[:, part] @ other
            Z /= np.add.outer(own, values[there])
            np.matmul(Z, other.T, out=rows[:, part])
        np.matmul(basis, rows, out=upper[here, here.start :])


def _column(X: FloatArray, k: int) -> FloatArray:
    return np.concatenate([X[k, :k], X[k:, k]])

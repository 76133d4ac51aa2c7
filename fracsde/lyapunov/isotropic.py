r"""The closed form of a stationary law that is isotropic outside a small subspace.

Where both matrices of an equation (:mod:`fracsde.lyapunov.symmetric_law`) are a multiple of the
identity plus low rank, with ``W`` an orthonormal basis of both factors,

.. math::
    \Sigma = W S W^T + g(a)\,n\,(I - W W^T), \qquad
    \mathcal{L}_{W^T A W}\,S = W^T N W ,

where ``a`` and ``n`` are the multiples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde.lyapunov.krylov_space import FLAT
from fracsde.lyapunov.rounding import EPS
from fracsde.lyapunov.symmetric_law import refuse_flat
from fracsde.problems.products import LowRankPlusDiagonal

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.lyapunov.symmetric_law import SymmetricLaw

__all__ = ["Split", "closed_form", "orthonormal", "projected"]

# Directions of a union of factors below this share of the largest depend on the others.
_DEPENDENT = 1e-13
# Squared share above which columns are far enough from dependent for their squares to be used.
_APART = 1e-10


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """A law that is isotropic outside a small subspace.

    Parameters
    ----------
    basis : (d, k) float64
        ``W``, orthonormal.
    inside, noise : (k, k) float64
        ``W^T A W`` and ``W^T N W``.
    covariance : (k, k) float64
        ``S``.
    rest : float
        Variance outside.
    rounding : float [1]
        What moves ``A`` by rounding, relative to its largest eigenvalue.
    lowest : float
        The smallest eigenvalue of ``A`` that noise reaches.
    error_bound : float
        On the spectral norm of the error of the covariance: rounding.
    """

    basis: FloatArray
    inside: FloatArray
    noise: FloatArray
    covariance: FloatArray
    rest: float
    rounding: float
    lowest: float
    error_bound: float

    @property
    def held_bytes(self) -> int:
        """Memory that the solution took: the columns, their basis, a copy."""
        return 3 * self.basis.nbytes


def closed_form(law: SymmetricLaw) -> Split | None:
    """Solve the equation outright where both matrices are isotropic plus low rank.

    Parameters
    ----------
    law : SymmetricLaw
        The equation.

    Returns
    -------
    Split or None
        Nothing for other matrices.

    Raises
    ------
    UnstableError
        If noise reaches a flat direction.
    """
    A, N = law.A, law.N
    if not (isinstance(A, LowRankPlusDiagonal) and isinstance(N, LowRankPlusDiagonal)):
        return None
    if not (A.isotropic and N.isotropic and 2 * (len(A.weights) + len(N.weights)) <= A.dimension):
        return None
    W = orthonormal(np.hstack([A.factor, N.factor]))
    k = W.shape[1]
    inside, noise = projected(A, W), projected(N, W)
    a, V = np.linalg.eigh(inside)
    drift, rest_noise = float(A.diagonal), float(N.diagonal)
    flat = FLAT * law.high
    turned = V.T @ noise @ V
    size = max(law.noise_norm, np.finfo(np.float64).tiny)
    level = a <= flat
    reached = np.abs(turned.diagonal())[level].max(initial=0.0) > FLAT * size
    if reached or (drift <= flat and rest_noise > 0.0):
        refuse_flat(min(drift, float(a.min(initial=np.inf))), law)
    alive = ~level
    covariance = np.zeros((k, k))
    pairs = law.response.pairs(a[alive])
    covariance[np.ix_(alive, alive)] = turned[np.ix_(alive, alive)] / pairs
    rest = float(law.response.gain(drift)) * rest_noise if rest_noise > 0.0 else 0.0
    lowest = min([float(a[alive].min(initial=np.inf))] + [drift] * (rest_noise > 0.0))
    lowest = lowest if np.isfinite(lowest) else law.high
    rounding = float(8.0 * EPS * (k + np.sqrt(A.dimension)))
    S = V @ covariance @ V.T
    return Split(
        basis=W,
        inside=inside,
        noise=noise,
        covariance=0.5 * (S + S.T),
        rest=rest,
        rounding=rounding,
        lowest=lowest,
        # A gain moves by itself times the relative move of its curvature.
        error_bound=rounding
        * (law.high / lowest)
        * law.noise_norm
        * law.response.largest_gain(lowest, law.high),
    )


def orthonormal(columns: FloatArray) -> FloatArray:
    """Return an orthonormal basis of columns, each counted at its own size.

    Parameters
    ----------
    columns : (d, p) float64
        Columns that may depend on one another.

    Returns
    -------
    (d, k) float64
    """
    sizes = np.linalg.norm(columns, axis=0)
    basis = columns[:, sizes > 0.0]
    basis /= sizes[sizes > 0.0]
    squares, V = np.linalg.eigh(basis.T @ basis)
    if squares.min(initial=np.inf) > _APART * squares.max(initial=0.0):
        # Twice is enough, and matrix products alone are several times faster than reflections.
        for _ in range(2):
            basis = basis @ (V / np.sqrt(squares))
            squares, V = np.linalg.eigh(basis.T @ basis)
        return basis
    Q, R = np.linalg.qr(basis)
    left, values, _ = np.linalg.svd(R)
    return np.asarray(Q @ left[:, values > _DEPENDENT * values.max(initial=0.0)])


def projected(M: LowRankPlusDiagonal, W: FloatArray) -> FloatArray:
    """Return ``W^T M W`` for an isotropic diagonal.

    Parameters
    ----------
    M : LowRankPlusDiagonal
        The matrix.
    W : (d, k) float64
        Orthonormal.

    Returns
    -------
    (k, k) float64
    """
    turned = W.T @ M.factor
    square = (turned * M.weights) @ turned.T
    return np.asarray(0.5 * (square + square.T) + float(M.diagonal) * np.eye(len(square)))

r"""The block of the stationary covariance in the leading eigenvectors of the curvature.

With :math:`A U = U\Theta` exactly, the block is entry by entry

.. math::
    (U^T \Sigma\,U)_{ij} = \frac{(U^T N U)_{ij}}{\alpha(\theta_i + \theta_j) - c\,\theta_i\theta_j
    + m(\theta_i^2 + \theta_j^2)} ,

whatever the noise is in other directions (:mod:`fracsde.lyapunov.response`).  Computed vectors
leave :math:`R = A U - U\Theta`.  Projecting the equation shows that the block then obeys it up to

.. math::
    \|M\|_2 \le 2\,\|R\|_2\,\|\Sigma U\|_2\,[\alpha + c\,\theta_1 + m(\theta_1 + a_{\max})]
    + c\,\|R\|_2^2\,\|\Sigma\|_2 ,

so the error is at most that times :math:`\max_i g(\theta_i)`.  As the covariance is positive,
:math:`\|\Sigma U\|_2^2 \le \|\Sigma\|_2\,\|U^T\Sigma U\|_2`, and :math:`\|\Sigma\|_2` is bounded
where a positive lower bound on the curvature is known.  Where none is, the covariance may be
infinite in directions that the block does not see; to first order in ``R``

.. math:: \|\Sigma U\|_F \approx \frac{\|N U\|_F}{\alpha\,\min_i(\theta_i,\, a_c - \theta_i)}

at most, and the bound is an estimate.

References: [Liu2021]_ for the block, [Lehoucq1998]_ for the eigenvectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import scipy.sparse.linalg

from fracsde._check import integer, real
from fracsde.errors import ComputationError, OutOfRangeError, UnstableError
from fracsde.lyapunov.isotropic import orthonormal, projected
from fracsde.lyapunov.krylov_space import FLAT
from fracsde.lyapunov.rounding import EPS
from fracsde.lyapunov.symmetric_law import SymmetricLaw, symmetric_law
from fracsde.problems.products import LowRankPlusDiagonal
from fracsde.provenance import Provenance, provenance
from fracsde.stationary_large._common import as_matrix_free, finished, silent
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.matrix_free import MatrixFreeOU, MatrixFreeSGD
    from fracsde.problems.products import Symmetric
    from fracsde.stationary_large._common import Watch

__all__ = ["LeadingBlock", "stationary_leading_block"]

_CHUNK = 8  # columns that are multiplied at once
_SMALL = 32  # dimension up to which the matrix is written down
_RESTARTS = 200  # of the eigensolver


@dataclass(frozen=True, kw_only=True, eq=False)
class LeadingBlock:
    """Stationary covariance among leading eigenvectors of the curvature.

    Parameters
    ----------
    curvatures : (k,) float64 [loss/weight^2]
        Eigenvalues of the curvature, weight decay included, or of the drift [1/t]; descending.
    vectors : (d, k) float64 [1]
        ``U``, their orthonormal eigenvectors.
    matrix : (k, k) float64 [x^2]
        ``U^T Sigma U``.
    error_bound : float [x^2]
        Bound on the spectral norm of the error of ``matrix``.
    certain : bool
        Whether the bound is proven, or holds to first order in the residual only.
    residual : float
        ``||A U - U Theta||``, in the unit of ``curvatures``.
    status : Status
        ``NOT_CONVERGED`` where the bound is larger than was asked for.
    detail : str
        What was missed; empty on success.
    products : int
        Products with the curvature.
    held_bytes : int
        Memory that the solve held, beside inputs and products.
    provenance : Provenance
        Where the result came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("Liu2021", "Lehoucq1998")

    curvatures: FloatArray
    vectors: FloatArray
    matrix: FloatArray
    error_bound: float
    certain: bool
    residual: float
    status: Status
    detail: str
    products: int
    held_bytes: int
    provenance: Provenance


def stationary_leading_block(
    process: MatrixFreeSGD | MatrixFreeOU,
    count: int,
    *,
    rtol: float = 1e-6,
    memory: float = 2e9,
    progress: Watch | None = None,
    throw: bool = True,
) -> LeadingBlock:
    """Compute the stationary covariance among the leading eigenvectors of the curvature.

    Parameters
    ----------
    process : MatrixFreeSGD or MatrixFreeOU
        SGD stands for its map.  The noise may be of any kind.
    count : int
        ``k``, eigenvectors to take; fewer than half the dimension.
    rtol : float [1]
        Accuracy in the spectral norm, relative to the block.
    memory : float [byte]
        What the solve may hold, beside inputs and products; default 2 GB.
    progress : callable, optional
        Called with the products made so far, and NaN: how far it is, is not known.
    throw : bool
        Whether to raise where the bound stays above the accuracy.

    Returns
    -------
    LeadingBlock

    Raises
    ------
    UnstableError
        If the learning rate is beyond its limit, or fewer curvatures than asked for are positive.
    IndefiniteError
        If the Hessian has a negative eigenvalue.
    InputError, OutOfRangeError
        If an argument does not fit.
    ComputationError
        If the eigenvectors are not accurate enough, or not found.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> from fracsde.problems.matrix_free import MatrixFreeSGD
    >>> sgd = MatrixFreeSGD(
    ...     hessian=sp.diags_array(1.0 / np.arange(1.0, 10_001.0)),
    ...     gradient_noise=sp.diags_array(np.ones(10_000)),
    ...     learning_rate=0.5, batch_size=1)
    >>> stationary_leading_block(sgd, 3).matrix.round(6) + 0.0
    array([[0.333333, 0.      , 0.      ],
           [0.      , 0.571429, 0.      ],
           [0.      , 0.      , 0.818182]])
    """
    process = as_matrix_free(process)
    d = process.dimension
    k = integer("count", count, low=1, high=max(1, (d - 1) // 2))
    rtol = real("rtol", rtol, low=0.0, high=1.0)
    kept = _kept_vectors(memory, d, k)
    law = symmetric_law(process)
    watch = progress or silent
    products = law.products
    # A second run, to the last digit, where the first is not good enough.
    for accuracy in (1e-3 * rtol, 0.0):
        theta, U, made, residual, beside = _leading(law, k, kept, accuracy, watch)
        products += made
        S, NU = _block(law, theta, U)
        bound = _bound(law, theta, S, NU, residual)
        size = float(np.linalg.norm(S, 2))
        good = bound <= rtol * size
        if good:
            break
    return finished(
        LeadingBlock(
            curvatures=theta,
            vectors=U,
            matrix=S,
            error_bound=bound,
            certain=law.certain,
            residual=residual,
            status=Status.SUCCESS if good else Status.NOT_CONVERGED,
            detail="" if good else f"The bound is {bound:.3g}, beside a block of {size:.3g}.",
            products=products,
            held_bytes=8 * d * beside,
            provenance=provenance(process, k, rtol),
        ),
        throw=throw,
    )


def _kept_vectors(memory: float, d: int, k: int) -> int:
    # Vectors of the eigensolver: twice those wanted, or what fits beside the result, counted twice,
    # as SciPy copies them at the end.
    memory = real("memory", memory, low=0.0)
    fits = (int(memory // (8 * d)) - k - 2 * _CHUNK) // 2
    if d > 64 and fits < k + 8:
        needed = 8 * d * (3 * k + 16 + 2 * _CHUNK)
        msg = (
            f"`memory` must be at least {needed:.3g} bytes for {k} vectors of {d} entries, got "
            f"{memory:.3g}"
        )
        raise OutOfRangeError(msg)
    return min(max(2 * k + 1, 20), max(fits, k + 2), d)


def _leading(
    law: SymmetricLaw, k: int, kept: int, accuracy: float, watch: Watch
) -> tuple[FloatArray, FloatArray, int, float, int]:
    # Eigenvalues in descending order, vectors, products, the norm of the residual, vectors held.
    found, held = _of_factor(law.A, k), 2 * kept + k + 2 * _CHUNK
    if found is not None:
        # A basis of the factor's range, and another while it is made or the vectors are.
        rank = min(law.A.factor.shape) if isinstance(law.A, LowRankPlusDiagonal) else 0
        held = rank + max(rank, k + 2 * _CHUNK)
    theta, U, made = found or _iterated(law, k, kept, accuracy, watch)
    flat = FLAT * law.high
    if theta[-1] <= flat:
        msg = (
            f"only {int(np.sum(theta > flat))} of the {k} leading curvatures are positive: ask for "
            "fewer, or set a weight decay"
        )
        raise UnstableError(msg)
    square = 0.0
    for i in range(0, k, _CHUNK):
        part = U[:, i : i + _CHUNK]
        gap = law.A @ np.ascontiguousarray(part)
        gap -= part * theta[i : i + _CHUNK]
        square += float(np.einsum("ij,ij->", gap, gap))
    # What rounding leaves of products and of orthogonality acts like a residual.
    rounding = 4.0 * law.A.precision * float(np.sqrt(k)) * float(theta[0])
    residual = float(np.sqrt(square)) + rounding
    return theta, U, made + k, residual, held


def _of_factor(A: Symmetric, k: int) -> tuple[FloatArray, FloatArray, int] | None:
    # Beside a multiple of the identity the eigenvectors lie in the range of the factor.
    if not (isinstance(A, LowRankPlusDiagonal) and A.isotropic and 2 * k <= A.dimension):
        return None
    W = orthonormal(A.factor)
    if k > W.shape[1]:
        return None
    theta, V = np.linalg.eigh(projected(A, W))
    if theta[-k] <= float(A.diagonal):
        return None
    return theta[: -k - 1 : -1].copy(), W @ V[:, : -k - 1 : -1], 0


def _iterated(
    law: SymmetricLaw, k: int, kept: int, accuracy: float, watch: Watch
) -> tuple[FloatArray, FloatArray, int]:
    A, d, made = law.A, law.A.dimension, 0
    if d <= _SMALL:
        M = A @ np.eye(d)
        theta, U = np.linalg.eigh(0.5 * (M + M.T))
        return theta[: -k - 1 : -1].copy(), U[:, : -k - 1 : -1], d

    def product(x: FloatArray) -> FloatArray:
        nonlocal made
        made += 1
        if made % 16 == 0:
            watch(made, float("nan"))
        return A @ np.ravel(x)

    operator = scipy.sparse.linalg.LinearOperator((d, d), matvec=product, dtype=np.float64)
    start = np.random.default_rng(1998).normal(size=d)
    try:
        theta, U = scipy.sparse.linalg.eigsh(
            operator, k=k, which="LA", ncv=kept, tol=accuracy, v0=start, maxiter=_RESTARTS
        )
    except scipy.sparse.linalg.ArpackError as error:
        detail = (
            f"ARPACK found no {k} leading eigenvectors in {made} products: {error}. Directions "
            "that do not stand out from the next take long: ask for another number, or allow more "
            "`memory`."
        )
        raise ComputationError(Status.NOT_CONVERGED, detail) from error
    return theta[::-1].copy(), U[:, ::-1], made


def _block(law: SymmetricLaw, theta: FloatArray, U: FloatArray) -> tuple[FloatArray, float]:
    # The block, and the Frobenius norm of N U.
    noise, square = np.empty((len(theta), len(theta))), 0.0
    for i in range(0, len(theta), _CHUNK):
        NU = law.N @ np.ascontiguousarray(U[:, i : i + _CHUNK])
        noise[:, i : i + _CHUNK] = U.T @ NU
        square += float(np.einsum("ij,ij->", NU, NU))
    S = 0.5 * (noise + noise.T) / law.response.pairs(theta)
    return S, float(np.sqrt(square))


def _bound(
    law: SymmetricLaw, theta: FloatArray, S: FloatArray, NU: float, residual: float
) -> float:
    act, size = law.response, float(np.linalg.norm(S, 2))
    gain = act.largest_gain(float(theta[-1]), float(theta[0]))
    product = act.bend + 2.0 * act.square
    slope = act.linear + product * theta[0] + act.square * (theta[0] + law.high)
    factor = 2.0 * gain * residual * float(slope)
    rounding = 8.0 * EPS * np.sqrt(law.A.dimension) * size
    rounding += 2.0 * law.N.precision * NU * gain
    if not law.certain:
        edge = min(float(theta[-1]), act.border - float(theta[0]))
        return float(factor * NU / (act.linear * edge) + rounding)
    whole = law.noise_norm * act.largest_gain(law.low, law.high)
    # error <= factor * sqrt(whole * (size + error)) + second.
    second = gain * product * residual**2 * whole
    q = factor**2 * whole
    error = 0.5 * q + np.sqrt(0.25 * q * q + q * (size + second)) + second
    return float(error + rounding)

r"""Stationary covariances of low rank, from products.

.. math:: \Sigma \approx W \operatorname{diag}(s - \sigma)\,W^T + \sigma I ,

with the error in the spectral norm bounded by that of the residual, see
:mod:`fracsde.lyapunov.lowrank`.  Where curvature and noise are isotropic beside low rank the form
is exact.

References: [Liu2021]_ for the equation, [RussoDye1966]_ for the norm of its inverse,
[Wachspress2013]_ for poles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import choice, real
from fracsde.errors import UnstableError, UnsupportedError
from fracsde.lyapunov.isotropic import Split, closed_form
from fracsde.lyapunov.lowrank import solve_by_krylov, solve_by_poles
from fracsde.lyapunov.processes import require_stationary
from fracsde.lyapunov.rounding import EPS
from fracsde.lyapunov.symmetric_law import SymmetricLaw, symmetric_law
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.problems.products import LowRankPlusDiagonal
from fracsde.problems.structured import DiagonalOU, LowRankOU
from fracsde.provenance import Provenance, provenance
from fracsde.stationary_large._common import (
    BESIDE,
    TRUNCATION,
    as_columns,
    as_matrix_free,
    capacity_of,
    finished,
    floor_gain,
    held_by,
    inspect,
    missed,
    refuse_closed_form,
    silent,
)
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.lyapunov.krylov_space import Seen, Space
    from fracsde.problems.matrix_free import MatrixFreeOU, MatrixFreeSGD
    from fracsde.stationary_large._common import Watch

__all__ = ["LowRankCovariance", "diagonal_variances", "of_low_rank_ou", "stationary_low_rank"]

# Where nothing is known of the smallest curvature, poles reach down to this share of the largest.
_FLOOR = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class LowRankCovariance:
    """Covariance ``W diag(s - rest) W^T + rest I`` of low rank beside a multiple of the identity.

    Parameters
    ----------
    basis : (d, k) float64 [1]
        ``W``, orthonormal: eigenvectors of the covariance, the largest variance first.
    variances : (k,) float64 [x^2]
        ``s``, its eigenvalues there.
    rest : float [x^2]
        Variance along all other directions.
    error_bound : float [x^2]
        Bound on the spectral norm of the error; by Weyl's inequality also on that of each
        eigenvalue.
    certain : bool
        Whether the bound is proven, see :class:`StationaryVariance`.
    status : Status
        ``NOT_CONVERGED`` where the bound is larger than was asked for; it still holds.
    detail : str
        What was missed; empty on success.
    method : {"closed_form", "krylov", "rational"}
        What was used.
    products : int
        Products with the curvature.
    held_bytes : int
        Memory that the solve held, beside inputs and products.
    provenance : Provenance
        Where the result came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("Liu2021", "RussoDye1966", "Wachspress2013")

    basis: FloatArray
    variances: FloatArray
    rest: float
    error_bound: float
    certain: bool
    status: Status
    detail: str
    method: str
    products: int
    held_bytes: int
    provenance: Provenance

    def __matmul__(self, x: FloatArray) -> FloatArray:
        """Multiply ``(d,)`` or ``(d, p)`` from the left.

        Returns
        -------
        (d,) or (d, p) float64
        """
        stretch = self.variances - self.rest
        inner = self.basis.T @ x
        product = self.basis @ (stretch[:, None] * inner if x.ndim == 2 else stretch * inner)
        return np.asarray(product + self.rest * x)

    def along(self, directions: ArrayLike) -> FloatArray:
        """Return variances along directions.

        Parameters
        ----------
        directions : (d,) or (d, p) array_like [1]
            One direction per column, used as they are.

        Returns
        -------
        (p,) float64 [x^2]
        """
        U = as_columns(directions, len(self.basis))
        inner = np.square(self.basis.T @ U)
        whole = np.einsum("ij,ij->j", U, U)
        outside = np.maximum(whole - inner.sum(axis=0), 0.0)
        return np.asarray(self.variances @ inner + self.rest * outside)

    def trace(self) -> float:
        """Return the trace of the covariance.

        Returns
        -------
        float [x^2]
        """
        return float(self.variances.sum() + self.rest * (len(self.basis) - len(self.variances)))


def stationary_low_rank(
    process: MatrixFreeSGD | MatrixFreeOU | LowRankOU,
    *,
    rtol: float = 1e-6,
    method: str = "auto",
    memory: float = 2e9,
    progress: Watch | None = None,
    throw: bool = True,
) -> LowRankCovariance:
    """Compute a stationary covariance of low rank, with its leading eigenvectors.

    Parameters
    ----------
    process : MatrixFreeSGD, MatrixFreeOU or LowRankOU
        SGD stands for its map.  The noise must be a factor, or isotropic beside one where the
        curvature is so too; a process with noise of full rank has no covariance of low rank.
    rtol : float [1]
        Accuracy in the spectral norm, relative to the covariance.
    method : {"auto", "closed_form", "krylov", "rational"}
        ``"auto"`` takes the closed form where there is one, else Krylov spaces: fewest products.
        ``"rational"`` makes more products and keeps fewer vectors; with much momentum it gains
        little.
    memory : float [byte]
        What the solve may hold, beside inputs, products and 0.1 MB of NumPy's own; default 2 GB.
    progress : callable, optional
        Called with the products made and the error bound over the accuracy that is wanted.
    throw : bool
        Whether to raise where the bound stays above the accuracy.

    Returns
    -------
    LowRankCovariance

    Raises
    ------
    UnstableError
        If the learning rate is beyond its limit, or noise reaches a flat direction.
    UnsupportedError
        If the noise is not a factor.
    IndefiniteError
        If the Hessian has a negative eigenvalue.
    InputError, OutOfRangeError
        If an argument does not fit.
    ComputationError
        If the memory does not suffice for the accuracy.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> d = 10_000
    >>> curvature = sp.diags_array(np.geomspace(0.1, 1.0, d))
    >>> noise = LowRankPlusDiagonal(factor=np.ones((d, 1)) / 100.0)
    >>> from fracsde.problems.matrix_free import MatrixFreeOU
    >>> process = MatrixFreeOU(drift=curvature, noise=noise, drift_bounds=(0.1, 1.0))
    >>> found = stationary_low_rank(process)
    >>> round(found.trace(), 6), found.basis.shape[1] < 20
    (1.954405, True)
    """
    choice("method", method, ("auto", "closed_form", "krylov", "rational"))
    rtol = real("rtol", rtol, low=0.0, high=1.0)
    if isinstance(process, LowRankOU):
        return of_low_rank_ou(process)
    process = as_matrix_free(process, " or a LowRankOU")
    law = symmetric_law(process)
    split = closed_form(law) if method in {"auto", "closed_form"} else None
    if split is not None:
        return _from_split(process, law, split)
    if method == "closed_form":
        refuse_closed_form()
    N = law.N
    if not isinstance(N, LowRankPlusDiagonal) or N.diagonal.any():
        msg = (
            "a covariance of low rank needs `gradient_noise` (or `noise`) given as "
            "LowRankPlusDiagonal(factor=...) without a diagonal; for noise of full rank there are "
            "stationary_variance_along, stationary_leading_block and stationary_trace"
        )
        raise UnsupportedError(msg)
    b = N.factor * np.sqrt(N.weights)
    b = b[:, np.linalg.norm(b, axis=0) > 0.0]
    if b.shape[1] == 0:
        return _no_noise(process, law)
    capacity = capacity_of(memory, process.dimension, b.shape[1], BESIDE + b.shape[1])
    return _low_rank(process, law, b, rtol, method, capacity, progress or silent, throw)


def _low_rank(
    process: MatrixFreeSGD | MatrixFreeOU,
    law: SymmetricLaw,
    b: FloatArray,
    rtol: float,
    method: str,
    capacity: int,
    watch: Watch,
    throw: bool,
) -> LowRankCovariance:
    def enough(space: Space, seen: Seen) -> float:
        inspect(law, seen)
        size = float(np.linalg.eigvalsh(seen.core)[-1])
        wanted = (1.0 - TRUNCATION) * rtol * size
        return float(np.divide(floor_gain(law, seen) * seen.norm, wanted))

    if method == "rational":
        solved = solve_by_poles(
            law,
            b,
            floor=law.low if law.certain else _FLOOR * law.high,
            accuracy=rtol,
            enough=enough,
            capacity=capacity,
            watch=watch,
        )
    else:
        solved = solve_by_krylov(law, b, enough=enough, capacity=capacity, watch=watch)
        method = "krylov"
    values, vectors = np.linalg.eigh(solved.seen.core)
    keep = values > TRUNCATION * rtol * values[-1]
    dropped = float(values[~keep].max(initial=0.0))
    bound = floor_gain(law, solved.seen) * solved.seen.norm + dropped
    beside = BESIDE + b.shape[1] + solved.beside
    held = held_by(solved.space.count, process.dimension, beside)
    basis = solved.space.turned(vectors[:, keep][:, ::-1])
    return finished(
        LowRankCovariance(
            basis=basis,
            variances=values[keep][::-1].copy(),
            rest=0.0,
            error_bound=bound,
            certain=law.certain,
            status=Status.SUCCESS if solved.enough else Status.NOT_CONVERGED,
            detail="" if solved.enough else missed("The bound exceeds", rtol, law),
            method=method,
            products=law.products + solved.products,
            held_bytes=held,
            provenance=provenance(process, rtol, method),
        ),
        throw=throw,
    )


def of_low_rank_ou(process: LowRankOU) -> LowRankCovariance:
    """Return the stationary covariance of a process that is isotropic outside a subspace.

    Parameters
    ----------
    process : LowRankOU
        Its drift need not be symmetric.

    Returns
    -------
    LowRankCovariance

    Raises
    ------
    UnstableError
        If perturbations grow, or neither decay nor grow.
    """
    inside = require_stationary(OUProcess(drift=process.drift, noise=process.noise))
    rest = 0.0
    if process.basis.shape[1] < process.dimension:
        rest = _scalar_variance(process.rest_drift, process.rest_noise)
    values, vectors = np.linalg.eigh(inside.matrix)
    basis = process.basis @ vectors[:, ::-1]
    return LowRankCovariance(
        basis=basis,
        variances=values[::-1].copy(),
        rest=rest,
        error_bound=max(inside.error_estimate, 4.0 * EPS * rest) + 1e-12 * max(rest, values[-1]),
        certain=True,
        status=Status.SUCCESS,
        detail="",
        method="closed_form",
        products=0,
        held_bytes=basis.nbytes,
        provenance=provenance(process),
    )


def diagonal_variances(process: DiagonalOU) -> FloatArray:
    """Return the stationary variances of independent coordinates.

    Parameters
    ----------
    process : DiagonalOU
        The process.

    Returns
    -------
    (d,) float64 [x^2]

    Raises
    ------
    UnstableError
        If a drift is not positive.
    """
    worst = int(np.argmin(process.drift))
    _scalar_variance(float(process.drift[worst]), 0.0)
    return np.asarray(process.noise / (2.0 * process.drift))


def _scalar_variance(drift: float, noise: float) -> float:
    if drift <= 0.0:
        msg = (
            f"There is no stationary law: a coordinate has the drift {drift:g}, and all must be "
            "positive; leave such directions out"
        )
        raise UnstableError(msg)
    return noise / (2.0 * drift)


def _from_split(
    process: MatrixFreeSGD | MatrixFreeOU, law: SymmetricLaw, split: Split
) -> LowRankCovariance:
    values, vectors = np.linalg.eigh(split.covariance)
    basis = split.basis @ vectors[:, ::-1]
    return LowRankCovariance(
        basis=basis,
        variances=values[::-1].copy(),
        rest=split.rest,
        error_bound=split.error_bound,
        certain=True,
        status=Status.SUCCESS,
        detail="",
        method="closed_form",
        products=law.products,
        held_bytes=split.held_bytes + basis.nbytes,
        provenance=provenance(process),
    )


def _no_noise(process: MatrixFreeSGD | MatrixFreeOU, law: SymmetricLaw) -> LowRankCovariance:
    return LowRankCovariance(
        basis=np.empty((process.dimension, 0)),
        variances=np.empty(0),
        rest=0.0,
        error_bound=0.0,
        certain=True,
        status=Status.SUCCESS,
        detail="",
        method="closed_form",
        products=law.products,
        held_bytes=0,
        provenance=provenance(process),
    )

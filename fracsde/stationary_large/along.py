r"""Stationary variances along directions, from products.

.. math::
    u^T \Sigma\,u = \langle \mathcal{L}^{-1} N,\, u u^T\rangle = \langle N, X\rangle,
    \qquad \mathcal{L} X = u u^T ,

since :math:`\mathcal{L}` of :mod:`fracsde.lyapunov.response` is self-adjoint.  The right-hand side
for ``X`` has rank one whatever the noise is: one Krylov space from ``u``, and a few products with
the noise at its end.  With ``R`` the residual in that space,

.. math::
    |u^T \Sigma\,u - \langle N, \hat X\rangle| = |\langle \Sigma, R\rangle|
    \le \|N\|_2 \max_i g(a_i)\,\max(\operatorname{Tr} R_+, \operatorname{Tr} R_-) .

References: [Liu2021]_ for the equation, [RussoDye1966]_ for the norm of its inverse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import choice, real
from fracsde.lyapunov.isotropic import Split, closed_form
from fracsde.lyapunov.lowrank import solve_by_krylov
from fracsde.lyapunov.processes import as_linear, require_stationary
from fracsde.lyapunov.rounding import EPS
from fracsde.lyapunov.symmetric_law import SymmetricLaw, symmetric_law
from fracsde.problems.matrix_free import MatrixFreeOU, MatrixFreeSGD
from fracsde.problems.structured import DiagonalOU, LowRankOU
from fracsde.provenance import Provenance, provenance
from fracsde.stationary_large._common import (
    TRUNCATION,
    as_columns,
    capacity_of,
    finished,
    floor_gain,
    held_by,
    inspect,
    missed,
    refuse_closed_form,
    silent,
)
from fracsde.stationary_large.low_rank import diagonal_variances, of_low_rank_ou
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.lyapunov.krylov_space import Seen, Space
    from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
    from fracsde.problems.sgd import SGDNearMinimum
    from fracsde.stationary_large._common import Watch

    Process = (
        MatrixFreeSGD
        | MatrixFreeOU
        | SGDNearMinimum
        | OUProcess
        | LinearRecursion
        | DiagonalOU
        | LowRankOU
    )

__all__ = ["StationaryVariance", "stationary_variance_along"]


@dataclass(frozen=True, kw_only=True, eq=False)
class StationaryVariance:
    """Stationary variances along directions.

    Parameters
    ----------
    values : (p,) float64 [x^2]
        ``u^T Sigma u``.
    error_bounds : (p,) float64 [x^2]
        Bounds on the numerical error of each.
    certain : bool
        Whether the bounds are proven: a positive lower bound on the curvature is known.  Without
        it half the smallest curvature met stands for it, and the bounds are estimates.
    status : Status
        ``NOT_CONVERGED`` where a bound is larger than was asked for; it still holds.
    detail : str
        What was missed; empty on success.
    method : {"closed_form", "krylov", "dense"}
        What was used.
    products : int
        Products with the curvature.
    held_bytes : int
        Memory that the solve held, beside inputs and products.
    provenance : Provenance
        Where the result came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("Liu2021", "RussoDye1966")

    values: FloatArray
    error_bounds: FloatArray
    certain: bool
    status: Status
    detail: str
    method: str
    products: int
    held_bytes: int
    provenance: Provenance


def stationary_variance_along(
    process: Process,
    directions: ArrayLike,
    *,
    rtol: float = 1e-6,
    method: str = "auto",
    memory: float = 2e9,
    progress: Watch | None = None,
    throw: bool = True,
) -> StationaryVariance:
    """Compute stationary variances along directions, without a matrix.

    Parameters
    ----------
    process : MatrixFreeSGD, MatrixFreeOU, DiagonalOU, LowRankOU, or any with dense matrices
        SGD stands for its map; dense matrices are solved as they are.
    directions : (d,) or (d, p) array_like [1]
        One direction per column, used as they are.
    rtol : float [1]
        Accuracy, relative to each variance.
    method : {"auto", "closed_form", "krylov"}
        The closed form is for matrices that are isotropic beside low rank, and taken for those.
    memory : float [byte]
        What the solve may hold, beside inputs, products and 0.1 MB of NumPy's own; default 2 GB.
    progress : callable, optional
        Called with the products made and the error bound over the accuracy that is wanted.
    throw : bool
        Whether to raise where the bound stays above the accuracy; with ``False`` look at
        ``status``.

    Returns
    -------
    StationaryVariance

    Raises
    ------
    UnstableError
        If the learning rate is beyond its limit, or noise reaches a flat direction.
    IndefiniteError
        If the Hessian has a negative eigenvalue.
    InputError, ShapeError, NotFiniteError, OutOfRangeError
        If an argument does not fit.
    ComputationError
        If the memory does not suffice for the accuracy.

    Examples
    --------
    A chain of a hundred thousand weights and two noisy directions:

    >>> import scipy.sparse as sp
    >>> d = 100_000
    >>> chain = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(d, d), format="csr")
    >>> noisy = np.zeros((d, 2))
    >>> noisy[500, 0] = noisy[700, 1] = 1.0
    >>> from fracsde.problems.matrix_free import MatrixFreeSGD
    >>> from fracsde.problems.products import LowRankPlusDiagonal
    >>> sgd = MatrixFreeSGD(hessian=chain, gradient_noise=LowRankPlusDiagonal(factor=noisy),
    ...     learning_rate=0.2, batch_size=4, weight_decay=0.1)
    >>> found = stationary_variance_along(sgd, noisy)
    >>> found.values.round(6), found.certain
    (array([0.022027, 0.022027]), True)
    """
    choice("method", method, ("auto", "closed_form", "krylov"))
    rtol = real("rtol", rtol, low=0.0, high=1.0)
    if not isinstance(process, (MatrixFreeSGD, MatrixFreeOU)):
        return _direct(process, directions)
    U = as_columns(directions, process.dimension)
    capacity = capacity_of(memory, process.dimension, 1)
    law = symmetric_law(process)
    split = closed_form(law) if method != "krylov" else None
    if split is not None:
        return _along_split(process, law, split, U)
    if method == "closed_form":
        refuse_closed_form()
    parts = [
        _one_direction(law, U[:, i : i + 1], rtol, capacity, progress or silent)
        for i in range(U.shape[1])
    ]
    values, bounds, products, held = np.array(parts).reshape(-1, 4).T
    short = int(np.sum(bounds > rtol * values))
    return finished(
        StationaryVariance(
            values=values,
            error_bounds=bounds,
            certain=law.certain,
            status=Status.NOT_CONVERGED if short else Status.SUCCESS,
            detail=missed(f"{short} of {len(values)} bounds exceed", rtol, law) if short else "",
            method="krylov",
            products=law.products + int(products.sum()),
            held_bytes=held_by(int(held.max()), process.dimension) if held.any() else 0,
            provenance=provenance(process, U, rtol),
        ),
        throw=throw,
    )


def _one_direction(
    law: SymmetricLaw, u: FloatArray, rtol: float, capacity: int, watch: Watch
) -> tuple[float, float, int, int]:
    # Value, bound, products and vectors held.
    found = [0.0, 0.0]

    def enough(space: Space, seen: Seen) -> float:
        inspect(law, seen)
        factor = law.noise_norm * floor_gain(law, seen)
        found[:] = [np.nan, factor * seen.trace]
        # The variance is at most the norm of the covariance: no noise product before it may do.
        most = factor * float(np.linalg.norm(u)) ** 2
        ended = space.closed or space.full or seen.settled
        if found[1] > rtol * most and not ended:
            return float(found[1] / (rtol * most))
        value, left = _against_noise(law, space, seen, rtol)
        found[:] = [value, found[1] + left]
        return float(np.divide(found[1], rtol * value)) if found[1] > 0.0 else 0.0

    if not u.any() or law.noise_norm == 0.0:
        return 0.0, 0.0, 0, 0
    solved = solve_by_krylov(law, u, enough=enough, capacity=capacity, watch=watch)
    return found[0], found[1], solved.products, solved.space.count


def _against_noise(law: SymmetricLaw, space: Space, seen: Seen, rtol: float) -> tuple[float, float]:
    # <N, X> over the leading directions of X, and a bound on what the others add.
    values, vectors = np.linalg.eigh(seen.core)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    total, used = 0.0, 0
    while used < len(values):
        rest = law.noise_norm * float(values[used:].sum())
        if rest <= TRUNCATION * rtol * total:
            break
        Z = space.combined(vectors[:, used : used + 4])
        squares = np.einsum("ij,ij->j", Z, law.N @ Z)
        total += float(values[used : used + 4] @ squares)
        used += 4
    rest = law.noise_norm * float(values[used:].sum())
    return total, rest + 8.0 * law.N.precision * total


def _along_split(
    process: MatrixFreeSGD | MatrixFreeOU, law: SymmetricLaw, split: Split, U: FloatArray
) -> StationaryVariance:
    inner = split.basis.T @ U
    whole = np.einsum("ij,ij->j", U, U)
    outside = np.maximum(whole - np.square(inner).sum(axis=0), 0.0)
    inside = np.einsum("ij,ij->j", inner, split.covariance @ inner)
    values = inside + split.rest * outside
    lengths = np.linalg.norm(inner, axis=0)
    # Rounding of the covariance, and of the projections.
    reach = split.error_bound * lengths**2
    reach += split.rounding * np.linalg.norm(split.covariance @ inner, axis=0) * np.sqrt(whole)
    return StationaryVariance(
        values=values,
        error_bounds=reach + split.rounding * values,
        certain=True,
        status=Status.SUCCESS,
        detail="",
        method="closed_form",
        products=law.products,
        held_bytes=split.held_bytes,
        provenance=provenance(process, U),
    )


def _direct(process: Process, directions: ArrayLike) -> StationaryVariance:
    # Processes whose covariance is known, or solved, as a whole.
    if isinstance(process, DiagonalOU):
        U, method = as_columns(directions, process.dimension), "closed_form"
        variances = diagonal_variances(process)
        values, error = variances @ np.square(U), 0.0
    elif isinstance(process, LowRankOU):
        U, method = as_columns(directions, process.dimension), "closed_form"
        covariance = of_low_rank_ou(process)
        values, error = covariance.along(U), covariance.error_bound
    else:
        linear = as_linear(process)
        U, method = as_columns(directions, len(linear.observed)), "dense"
        state = require_stationary(linear)
        S = state.matrix[np.ix_(linear.observed, linear.observed)]
        values, error = np.einsum("ij,ij->j", U, S @ U), state.error_estimate
    whole = np.einsum("ij,ij->j", U, U)
    return StationaryVariance(
        values=values,
        error_bounds=error * whole + 4.0 * EPS * np.sqrt(len(U)) * values,
        certain=True,
        status=Status.SUCCESS,
        detail="",
        method=method,
        products=0,
        held_bytes=8 * len(U) * (len(U) if method == "dense" else 2),
        provenance=provenance(process, U),
    )

r"""Curvature of a loss at a point: eigenpairs of its Hessian, all of them or those at the ends.

.. math::
    H u_i = h_i u_i, \quad h_1 \ge h_2 \ge \dots, \qquad
    |h_i - \tilde h_i| \le r_i = |H \tilde u_i - \tilde h_i \tilde u_i| .

The residual ``r`` of a computed pair bounds the distance to an eigenvalue of the exact matrix,
since that is symmetric; it is measured with a product of its own.  Small matrices are decomposed
whole.  For large ones the implicitly restarted Lanczos method of ARPACK needs products alone.

Not here: the density of all eigenvalues (:mod:`fracsde.estimators.spectral_density`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh

from fracsde._check import choice, finite_array, integer, real, truth
from fracsde.errors import ComputationError, NotSymmetricError, UnsupportedError
from fracsde.estimators.loss import at
from fracsde.provenance import Provenance, provenance
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray, RandomState
    from fracsde.estimators.loss import DifferentiableLoss

    Progress = Callable[[int], None]

__all__ = ["Curvature", "curvature", "products_of"]

_DENSE = 3000  # parameters up to which every eigenpair is computed
_TOP = 20  # eigenpairs of a larger matrix, unless told
_SYMMETRIC = 1e-3  # relative asymmetry of products that is a mistake, not single precision


@dataclass(frozen=True, kw_only=True, eq=False)
class Curvature:
    """Eigenpairs of a Hessian or a Gauss-Newton matrix; made by :func:`curvature`.

    Parameters
    ----------
    eigenvalues : (r,) float64 [loss/weight^2]
        Decreasing.
    vectors : (P, r) float64 [1]
        Their eigenvectors, one per column.
    residuals : (r,) float64 [loss/weight^2]
        Bounds on the error of each eigenvalue.
    matrix : (P, P) float64 [loss/weight^2] or None
        The matrix, where it was small enough.
    negative : int
        How many of ``eigenvalues`` lie below zero by more than rounding and their residual.
    all_negative : bool
        Whether these are all negative eigenvalues there are.
    products : callable
        ``(P, k) -> (P, k)``, the matrix times columns.
    method : str
        How it was computed.
    status : Status
        ``NOT_CONVERGED`` where some pairs asked for are missing.
    provenance : Provenance
        Where it came from.
    """

    eigenvalues: FloatArray
    vectors: FloatArray
    residuals: FloatArray
    matrix: FloatArray | None
    negative: int
    all_negative: bool
    products: Callable[[FloatArray], FloatArray] = field(repr=False)
    method: str
    status: Status
    provenance: Provenance

    @property
    def complete(self) -> bool:
        """Whether every eigenpair is here."""
        return len(self.eigenvalues) == len(self.vectors)

    def block(self, directions: ArrayLike) -> FloatArray:
        r"""Return the curvature along directions, :math:`V^T H V`.

        Parameters
        ----------
        directions : (P, k) array_like [1]
            One direction per column.

        Returns
        -------
        (k, k) float64
            Symmetric.
        """
        V = finite_array("directions", directions, shape=(len(self.vectors), None))
        found = V.T @ (self.products(V) if self.matrix is None else self.matrix @ V)
        return 0.5 * (found + found.T)

    def rotate(self, matrix: ArrayLike) -> FloatArray:
        r"""Return a matrix of weight space in these eigenvectors, :math:`U^T C U`.

        Parameters
        ----------
        matrix : (P, P) array_like
            For example the noise of one example's gradient.

        Returns
        -------
        (r, r) float64
        """
        size = len(self.vectors)
        full = finite_array("matrix", matrix, shape=(size, size))
        return np.asarray(self.vectors.T @ full @ self.vectors)


def products_of(
    loss: Any, w: ArrayLike, gauss_newton: bool
) -> tuple[FloatArray, Callable[[FloatArray], FloatArray]]:
    """Return the checked point, and the products of a loss there with columns.

    Returns
    -------
    point : (P,) float64
    products : callable

    Raises
    ------
    UnsupportedError
        If the loss has no Gauss-Newton products.
    """
    point = at(loss, w)
    name = (
        "gauss_newton_product" if truth("gauss_newton", gauss_newton) else "hessian_vector_product"
    )
    function = getattr(loss, name, None)
    if function is None:
        msg = (
            f"{type(loss).__name__} has no Gauss-Newton products; ask for the Hessian with "
            "gauss_newton=False, or wrap the model in TorchLoss"
        )
        raise UnsupportedError(msg)

    def products(V: FloatArray) -> FloatArray:
        return finite_array(name, function(point, V), shape=V.shape, remedy="the model overflows")

    return point, products


def curvature(
    loss: DifferentiableLoss,
    w: ArrayLike,
    *,
    top: int | None = None,
    which: str = "largest",
    tolerance: float = 1e-8,
    max_products: int = 20_000,
    rng: RandomState = 0,
    gauss_newton: bool = False,
    progress: Progress | None = None,
    throw: bool = True,
) -> Curvature:
    r"""Compute eigenpairs of the Hessian of a loss at a point.

    Parameters
    ----------
    loss : DifferentiableLoss
        A network of :mod:`fracsde.networks`, a ``TorchLoss``, or an object with their methods.
    w : (P,) array_like [weight]
        The point; it need not be a minimum.
    top : int, optional
        How many eigenpairs, at each end where both are asked for.  By default all of them for
        up to 3000 parameters, and 20 beyond.
    which : {"largest", "smallest", "both"}
        Which end of the spectrum, by value and not by magnitude.
    tolerance : float [1]
        Relative accuracy of eigenvalues found by products.
    max_products : int
        Limit on products with one vector.
    rng : int, SeedSequence or Generator
        Randomness of the first vector.
    gauss_newton : bool
        Whether to take the Gauss-Newton matrix in place of the Hessian.
    progress : callable, optional
        Called as ``progress(products)`` after each product.
    throw : bool
        Whether pairs that did not converge raise; otherwise ``status`` tells.

    Returns
    -------
    Curvature

    Raises
    ------
    NotSymmetricError
        If products are not those of a symmetric matrix.
    ComputationError
        If ``throw`` and pairs did not converge.

    Examples
    --------
    >>> from fracsde.networks import SoftmaxRegression
    >>> net = SoftmaxRegression(inputs=np.eye(3), targets=[0, 1, 2], weight_decay=0.1)
    >>> found = curvature(net, np.zeros(12))
    >>> bool(found.eigenvalues[-1].round(12) == 0.1), found.negative, found.complete
    (True, 0, True)
    >>> three = curvature(net, np.zeros(12), top=3)
    >>> np.allclose(three.eigenvalues, found.eigenvalues[:3])
    True
    """
    point, products = products_of(loss, w, gauss_newton)
    size = len(point)
    choice("which", which, ("largest", "smallest", "both"))
    tolerance = real("tolerance", tolerance, low=0.0, high=1.0, closed="low")
    count = min(_TOP, size) if top is None else integer("top", top, low=1, high=size)
    ends = 2 * count if which == "both" else count
    if (top is None and size <= _DENSE) or 2 * (2 * ends + 1) >= size:
        H = None if gauss_newton else getattr(loss, "hessian", None)
        H = (
            products(np.eye(size))
            if H is None
            else finite_array("hessian", H(point), shape=(size, size))
        )
        keep = _kept(size, size if top is None else count, which)
        found = _dense(_symmetric(H), keep)
        status, method = Status.SUCCESS, "all eigenpairs of the dense matrix"
    else:
        matrix = _Counted(products, size, progress, max_products)
        found, status = _lanczos(matrix, ends, which, tolerance, np.random.default_rng(rng))
        method = f"implicitly restarted Lanczos, {matrix.count} products"
    if throw and not status.ok:
        detail = f"{len(found.values)} of {ends} eigenpairs; raise max_products or the tolerance."
        raise ComputationError(status, detail)
    negative = int(np.sum(found.values < -found.residuals - found.rounding))
    return Curvature(
        eigenvalues=found.values,
        vectors=found.vectors,
        residuals=found.residuals,
        matrix=found.matrix,
        negative=negative,
        all_negative=len(found.values) == size or (which != "largest" and negative < count),
        products=products,
        method=method,
        status=status,
        provenance=provenance(point, top, which, tolerance, gauss_newton, seed=rng),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pairs:
    values: FloatArray
    vectors: FloatArray
    residuals: FloatArray
    rounding: float
    matrix: FloatArray | None = None


def _kept(size: int, count: int, which: str) -> Any:
    # Places, in increasing order of eigenvalues, that are returned, largest first.
    if which == "largest":
        return np.arange(size)[::-1][:count]
    if which == "smallest":
        return np.arange(size)[:count][::-1]
    low = np.arange(size)
    return low[(low < count) | (low >= size - count)][::-1]


def _symmetric(H: FloatArray) -> FloatArray:
    gap, scale = float(np.abs(H - H.T).max()), float(np.abs(H).max())
    if gap > _SYMMETRIC * scale:
        msg = f"the matrix must be symmetric, got entries that differ by {gap:.3g} of {scale:.3g}"
        raise NotSymmetricError(msg)
    return 0.5 * (H + H.T)


def _dense(H: FloatArray, keep: Any) -> _Pairs:
    values, vectors = np.linalg.eigh(H)
    rounding = len(H) * np.finfo(np.float64).eps * float(np.abs(values).max())
    values, vectors = values[keep], np.ascontiguousarray(vectors[:, keep])
    residuals = np.linalg.norm(H @ vectors - vectors * values, axis=0)
    return _Pairs(values=values, vectors=vectors, residuals=residuals, rounding=rounding, matrix=H)


class _OutOfProducts(Exception):  # noqa: N818 - control flow, never seen by callers
    pass


class _Counted:
    """Products with one vector at a time, counted and limited."""

    def __init__(
        self,
        products: Callable[[FloatArray], FloatArray],
        size: int,
        progress: Progress | None,
        limit: int,
    ) -> None:
        self.products, self.size, self.progress = products, size, progress
        self.limit, self.count = integer("max_products", limit, low=1), 0

    def __call__(self, v: FloatArray) -> FloatArray:
        if self.count >= self.limit:
            raise _OutOfProducts
        self.count += 1
        found = self.products(np.reshape(v, (self.size, 1)))
        if self.progress is not None:
            self.progress(self.count)
        return found.ravel()


def _lanczos(
    matrix: _Counted, count: int, which: str, tolerance: float, rng: np.random.Generator
) -> tuple[_Pairs, Status]:
    size = matrix.size
    u, v = np.linalg.qr(rng.standard_normal((size, 2)))[0].T
    Hu, Hv = matrix(u), matrix(v)
    gap, scale = abs(float(u @ Hv - v @ Hu)), float(np.linalg.norm(Hu) + np.linalg.norm(Hv))
    if gap > _SYMMETRIC * scale:
        msg = f"products must be symmetric, got u.Hv and v.Hu that differ by {gap / scale:.3g}"
        raise NotSymmetricError(msg)
    operator = LinearOperator((size, size), matvec=matrix, dtype=np.float64)
    ends = {"largest": "LA", "smallest": "SA", "both": "BE"}
    status = Status.SUCCESS
    try:
        values, vectors = eigsh(operator, k=count, which=ends[which], v0=Hu + u, tol=tolerance)
    except ArpackNoConvergence as error:
        values, vectors, status = error.eigenvalues, error.eigenvectors, Status.NOT_CONVERGED
    except (_OutOfProducts, ArpackError):
        values, vectors, status = np.empty(0), np.empty((size, 0)), Status.NOT_CONVERGED
    order = np.argsort(values)[::-1]
    values, vectors = values[order], np.ascontiguousarray(vectors[:, order])
    residuals = np.empty(len(values))
    for k in range(len(values)):
        product = matrix.products(vectors[:, k : k + 1])[:, 0]
        residuals[k] = np.linalg.norm(product - values[k] * vectors[:, k])
    largest = float(np.abs(values).max(initial=0.0))
    rounding = np.finfo(np.float64).eps * size**0.5 * largest
    return _Pairs(values=values, vectors=vectors, residuals=residuals, rounding=rounding), status

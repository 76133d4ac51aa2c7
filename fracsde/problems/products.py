r"""Symmetric matrices that are too large to write down.

.. math::
    x \mapsto A x \quad\text{(known by its products)}, \qquad
    A = \operatorname{diag}(\delta) + F \operatorname{diag}(s)\,F^T
    \quad\text{(low rank plus diagonal)} .

:class:`LowRankPlusDiagonal` holds the second kind: curvature that is damping plus a Gauss-Newton
matrix of few examples, or gradient noise given by the gradients of single examples.  Of the
first kind only products exist; before any is believed, :func:`probed` tries the product on a few
vectors and refuses one that is not a symmetric linear map.

**What the probe can see.**  For vectors :math:`u, v` with independent normal entries it compares
:math:`u^T A v` with :math:`v^T A u`, :math:`A(u + 2v)` with :math:`Au + 2Av`, and ``A u`` with
itself, to a millionth of the sizes involved: enough for products in single precision.  An
asymmetry :math:`\|A - A^T\|_F` shows when it exceeds about :math:`10^{-6}\sqrt d\,\|A\|_F`; a
smaller one passes.  How far it is from linear tells its precision, single or double, and error
bounds reckon with that.

Not here: what the matrices mean, see :mod:`fracsde.problems.matrix_free`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array, integer, vector
from fracsde._symmetry import ROUNDING
from fracsde.errors import (
    InputError,
    NotFiniteError,
    NotSymmetricError,
    OutOfRangeError,
    ShapeError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

__all__ = ["LowRankPlusDiagonal", "Products", "Symmetric", "probed"]

_EPS = float(np.finfo(np.float64).eps)
_LARGEST = 1e50  # of entries that are squared more than once


@dataclass(frozen=True, kw_only=True, eq=False)
class LowRankPlusDiagonal:
    r"""Symmetric matrix ``diag(diagonal) + factor @ diag(weights) @ factor.T``.

    Parameters
    ----------
    factor : (d, r) array_like
        ``F``; its columns need not be orthogonal.  An array that is read-only, float64,
        C-contiguous and owns its memory is kept as it is, any other is copied.
    weights : (r,) array_like or float
        ``s``, of either sign.
    diagonal : (d,) array_like or float
        ``delta``.  A number stands for a multiple of the identity, for which stationary
        covariances have a closed form.

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    OutOfRangeError
        If an entry is too large to be squared.

    Examples
    --------
    The covariance of gradients from the gradients ``g`` of single examples:

    >>> g = np.random.default_rng(0).normal(size=(100_000, 8))
    >>> C = LowRankPlusDiagonal(factor=(g - g.mean(axis=1, keepdims=True)) / np.sqrt(8))
    >>> C.dimension, (C @ np.ones(100_000)).shape
    (100000, (100000,))
    """

    factor: FloatArray
    weights: FloatArray = 1.0  # type: ignore[assignment]  # a number is broadcast below
    diagonal: FloatArray = 0.0  # type: ignore[assignment]  # a number stays one

    def __post_init__(self) -> None:
        factor = _kept("factor", self.factor)
        if factor.shape[0] == 0:
            msg = f"`factor` must have one row or more, got shape {factor.shape}"
            raise ShapeError(msg)
        diagonal = finite_array("diagonal", self.diagonal, ndim=(0, 1))
        if diagonal.ndim == 1:
            diagonal = finite_array("diagonal", diagonal, shape=(factor.shape[0],))
        put = object.__setattr__
        put(self, "factor", factor)
        put(self, "weights", vector("weights", self.weights, length=factor.shape[1]))
        put(self, "diagonal", diagonal)
        # Without a copy: a factor may take a gigabyte.
        size = max(factor.max(initial=0.0), -factor.min(initial=0.0))
        sizes = {"factor": size, "weights": np.abs(self.weights).max(initial=0.0)}
        sizes["diagonal"] = np.abs(diagonal).max()
        for name, value in sizes.items():
            if value >= _LARGEST:
                msg = f"`{name}` must be below {_LARGEST:g}, got {value:g}; choose other units"
                raise OutOfRangeError(msg)

    @property
    def dimension(self) -> int:
        """Number of rows."""
        return len(self.factor)

    @property
    def precision(self) -> float:
        """Relative rounding of a product."""
        return _EPS

    @property
    def isotropic(self) -> bool:
        """Whether the diagonal is a multiple of the identity."""
        return self.diagonal.ndim == 0

    def __matmul__(self, x: FloatArray) -> FloatArray:
        """Multiply ``(d,)`` or ``(d, p)`` from the left.

        Returns
        -------
        (d,) or (d, p) float64
        """
        inner = self.factor.T @ x
        stretch, diagonal = self.weights, self.diagonal
        if x.ndim == 2:
            stretch = stretch[:, None]
            diagonal = diagonal[:, None] if diagonal.ndim else diagonal
        product = self.factor @ (stretch * inner)
        product += diagonal * x
        return np.asarray(product)

    def scaled(self, size: float, shift: float = 0.0) -> LowRankPlusDiagonal:
        """Return ``size`` times the sum of the matrix and ``shift`` times the identity.

        Returns
        -------
        LowRankPlusDiagonal
        """
        return replace(self, weights=size * self.weights, diagonal=size * (self.diagonal + shift))

    def trace(self) -> float:
        """Return the trace.

        Returns
        -------
        float
        """
        squares = np.einsum("ij,ij->j", self.factor, self.factor)
        diagonal = np.broadcast_to(self.diagonal, self.dimension)
        return float(diagonal.sum() + self.weights @ squares)

    def ends(self) -> tuple[float, float]:
        """Return bounds on the smallest and largest eigenvalue, by Weyl's inequality.

        Returns
        -------
        low, high : float
        """
        # F diag(s) F^T has, beside zeros, the eigenvalues of the small matrix below.
        squares, V = np.linalg.eigh(self.factor.T @ self.factor)
        root = V * np.sqrt(np.maximum(squares, 0.0))
        values = np.linalg.eigvalsh((root.T * self.weights) @ root)
        outside = 0.0 if self.dimension > len(values) else float(np.inf)
        low = min(float(values.min(initial=np.inf)), outside)
        high = max(float(values.max(initial=-np.inf)), -outside)
        return float(self.diagonal.min()) + low, float(self.diagonal.max()) + high


@dataclass(frozen=True, kw_only=True, eq=False)
class Products:
    """Symmetric matrix ``size * (A + shift I)``, with ``A`` known by products.

    Parameters
    ----------
    apply : callable
        ``(d,)`` or, with ``blocks``, ``(d, p)`` to an array of the same shape.
    dimension : int
        ``d``.
    name : str
        What to call it in messages.
    blocks : bool
        Whether several vectors can be passed at once.
    size, shift : float
        See above.
    precision : float [1]
        Relative rounding of a product.
    """

    apply: Callable[[FloatArray], Any]
    dimension: int
    name: str
    blocks: bool = False
    size: float = 1.0
    shift: float = 0.0
    precision: float = _EPS

    def __matmul__(self, x: FloatArray) -> FloatArray:
        """Multiply ``(d,)`` or ``(d, p)`` from the left.

        Returns
        -------
        (d,) or (d, p) float64
        """
        if x.ndim == 1 or self.blocks:
            product = self._checked(x)
        else:
            product = np.empty_like(x)
            for column in range(x.shape[1]):
                product[:, column] = self._checked(np.ascontiguousarray(x[:, column]))
        if self.shift:
            product += self.shift * x
        if self.size != 1.0:
            product *= self.size
        return product

    def scaled(self, size: float, shift: float = 0.0) -> Products:
        """Return ``size`` times the sum of the matrix and ``shift`` times the identity.

        Returns
        -------
        Products
        """
        return replace(self, size=size * self.size, shift=self.shift + shift / self.size)

    def _checked(self, x: FloatArray) -> FloatArray:
        # A fresh float64 array: the callable may hand out the same memory twice.
        found = np.asarray(self.apply(x))
        if found.dtype.kind not in "fiub":
            msg = (
                f"a product with `{self.name}` must be an array of real numbers, got dtype "
                f"{found.dtype}; return float64 or float32 values"
            )
            raise InputError(msg)
        if found.shape != x.shape:
            msg = (
                f"a product of `{self.name}` with an array of shape {x.shape} must have that "
                f"shape, got {found.shape}; flatten what the parameters are made of"
            )
            raise ShapeError(msg)
        product = np.array(found, dtype=np.float64, order="C")
        if not np.isfinite(product).all():
            bad = int(np.sum(~np.isfinite(product)))
            msg = (
                f"a product with `{self.name}` must be finite: {bad} of {product.size} entries "
                "are NaN or infinite; look for overflow in the model, or use float64"
            )
            raise NotFiniteError(msg)
        return product


Symmetric = LowRankPlusDiagonal | Products


def probed(name: str, value: Any, *, dimension: int | None = None) -> Symmetric:
    """Return a large symmetric matrix after trying its product.

    Parameters
    ----------
    name : str
        The argument's name, for messages.
    value : LowRankPlusDiagonal, linear operator, sparse matrix, array or callable
        What the caller passed.  An array or a sparse matrix is the symmetric matrix itself.
    dimension : int, optional
        ``d``; needed for a callable.

    Returns
    -------
    LowRankPlusDiagonal or Products

    Raises
    ------
    InputError
        If the product is not linear, repeats itself badly or writes into its argument.
    ShapeError
        If the matrix is not square or does not fit, or the dimension is not known.
    NotFiniteError
        If a product has a NaN or an infinity.
    NotSymmetricError
        If the matrix is not symmetric.
    OutOfRangeError
        If its products are too large to be squared.
    """
    known = None if dimension is None else integer("dimension", dimension, low=1)
    if isinstance(value, (LowRankPlusDiagonal, Products)):
        _fits(name, value.dimension, known)
        return value
    shape = getattr(value, "shape", None)
    if shape is None and callable(value):
        if known is None:
            msg = f"`dimension` is needed where `{name}` is a callable, got None"
            raise ShapeError(msg)
        products = Products(apply=value, dimension=known, name=name)
    else:
        products = _operator(name, value)
        _fits(name, products.dimension, known)
    precision = _probe(products)
    blocks = products.blocks and (isinstance(value, np.ndarray) or _serves_blocks(products))
    return replace(products, precision=precision, blocks=blocks)


def _operator(name: str, value: Any) -> Products:
    if not hasattr(value, "shape") or not hasattr(value, "__matmul__"):
        value = finite_array(name, value, ndim=2)
    if isinstance(value, np.ndarray):
        value = finite_array(name, value, ndim=2)
    shape = tuple(value.shape)
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        msg = (
            f"`{name}` must be a square matrix or linear operator, got shape {shape}; a factor "
            "F of F @ F.T is passed as LowRankPlusDiagonal(factor=F)"
        )
        raise ShapeError(msg)
    return Products(apply=lambda x: value @ x, dimension=shape[0], name=name, blocks=True)


def _fits(name: str, found: int, dimension: int | None) -> None:
    if dimension is not None and found != dimension:
        msg = f"`{name}` must be {dimension} x {dimension}, got {found} x {found}"
        raise ShapeError(msg)


def _probe(products: Products) -> float:
    # The precision.  Fixed vectors: a product that passes once passes always.
    name = products.name
    rng = np.random.default_rng(20121)
    u, v = rng.normal(size=(2, products.dimension))
    lent = u.copy()
    try:
        Au = products @ lent
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        msg = f"`{name}` must take a vector of shape ({len(u)},), but raised: {error}"
        raise InputError(msg) from error
    if not np.array_equal(lent, u):
        msg = f"a product with `{name}` must leave its argument alone; copy it before writing"
        raise InputError(msg)
    if np.abs(Au).max() >= _LARGEST:
        msg = f"`{name}` must have products below {_LARGEST:g}; choose other units"
        raise OutOfRangeError(msg)
    Av, again, mixed = products @ v, products @ u, products @ (u + 2.0 * v)
    size = float(np.linalg.norm(Au) + np.linalg.norm(Av))
    gap = float(np.linalg.norm(again - Au))
    if gap > ROUNDING * size:
        msg = (
            f"a product with `{name}` must be repeatable: the same vector gave results that "
            f"differ by {gap / size:.3g} of their size; fix the batch, and switch dropout, batch "
            "statistics and data augmentation off"
        )
        raise InputError(msg)
    gap = max(gap, float(np.linalg.norm(mixed - Au - 2.0 * Av)))
    if gap > 4.0 * ROUNDING * size:
        msg = (
            f"a product with `{name}` must be linear: A(u + 2v) differs from Au + 2Av by "
            f"{gap / size:.3g} of their size; return the derivative of the gradient at the "
            "minimum along the vector, not a difference of gradients at a distance"
        )
        raise InputError(msg)
    one, other = float(u @ Av), float(v @ Au)
    if abs(one - other) > ROUNDING * float(np.linalg.norm(u)) * size:
        msg = (
            f"`{name}` must be symmetric: u.(Av) = {one:.9g} and v.(Au) = {other:.9g} for random "
            "vectors; Hessians of one loss and covariances are, so look for a detached part of "
            "the graph, or weights that change between calls"
        )
        raise NotSymmetricError(msg)
    return max(_EPS, 2.0 * gap / size) if size > 0.0 else _EPS


def _serves_blocks(products: Products) -> bool:
    # SciPy hands columns on as matrices of one column, which not every product expects.
    x = np.random.default_rng(20122).normal(size=(products.dimension, 2))
    single = products @ np.ascontiguousarray(x[:, 0])
    try:
        both = products @ x
    except (TypeError, ValueError):
        return False
    return bool(np.linalg.norm(both[:, 0] - single) <= ROUNDING * np.linalg.norm(single))


def _kept(name: str, value: Any) -> FloatArray:
    # A gigabyte is not copied twice.
    if (
        isinstance(value, np.ndarray)
        and value.dtype == np.float64
        and value.ndim == 2
        and value.base is None
        and not value.flags.writeable
        and value.flags.c_contiguous
        and np.isfinite(value).all()
    ):
        return value
    return finite_array(name, value, ndim=2)

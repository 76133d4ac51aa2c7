r"""One face for the ways in which a linear operator is handed over.

Dense arrays, SciPy sparse matrices of any format (those with a narrow band are told from the
rest) and :class:`scipy.sparse.linalg.LinearOperator` become an :class:`Operator`: how to multiply,
how to solve :math:`(b - L) X = Y`, whether ``L`` is real and symmetric.

Solutions are refined once.  The size of the correction is an estimate of the forward error of
the first solution, and a generous one of the second.

Not here: what is done with the solutions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg
import scipy.sparse
from scipy.linalg import lapack
from scipy.sparse.linalg import LinearOperator, splu

from fracsde.errors import (
    InputError,
    NotFiniteError,
    NotSymmetricError,
    OutOfRangeError,
    ShapeError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Operator", "euclidean", "read_operator"]

_EPS = float(np.finfo(np.float64).eps)
_BAND = 16  # diagonals beside the main one up to which banded elimination is used
_ASYMMETRY = 1e-6  # what `symmetric=True` may average away
_LARGEST = 1e150  # entries whose products with each other are still floats


def euclidean(X: NDArray[Any]) -> float:
    """Return the Euclidean (Frobenius) norm, also of numbers whose squares overflow.

    Parameters
    ----------
    X : ndarray
        Any shape.

    Returns
    -------
    float
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return float(scipy.linalg.norm(np.ravel(X), check_finite=False)) if X.size else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Operator:
    """A square linear operator.

    Parameters
    ----------
    size : int
        ``n``.
    kind : {"dense", "banded", "sparse", "free"}
        How it was given.
    matrix : ndarray, csc_array or LinearOperator
        Itself; a fresh copy unless it is matrix-free.
    real, symmetric : bool
        Whether it is real, and whether it equals its conjugate transpose.
    norm : float [t**-alpha]
        Bound of the two-norm; infinite where it is not known.
    band : (int, int, ndarray) or None
        Diagonals below and above the main one, and ``-L`` as LAPACK stores bands.
    """

    size: int
    kind: str
    matrix: Any
    real: bool
    symmetric: bool
    norm: float
    band: tuple[int, int, NDArray[Any]] | None = None

    def apply(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return ``L X``.

        Parameters
        ----------
        X : (n,) or (n, k)
            Vectors.

        Returns
        -------
        ndarray

        Raises
        ------
        ShapeError, InputError, NotFiniteError
            If a matrix-free operator returned a wrong shape or type, NaN or infinity.
        """
        if self.kind == "free":
            return _checked(self.matrix, X, real=self.real)
        return np.asarray(self.matrix @ X)

    def solver(self, b: complex) -> Callable[[NDArray[Any]], tuple[NDArray[Any], float]]:
        """Factorise ``b - L``; the function returned solves and says how far it was corrected.

        Parameters
        ----------
        b : complex [t**-alpha]
            Shift, not an eigenvalue.

        Returns
        -------
        callable
            ``Y -> (X, norm of the correction)``.
        """
        first = _sparse(self.matrix, b) if self.band is None else _banded(*self.band, b)

        def solve(Y: NDArray[Any]) -> tuple[NDArray[Any], float]:
            X = first(np.asarray(Y, dtype=np.complex128))
            change = first(Y - (b * X - self.matrix @ X))
            return X + change, euclidean(change)

        return solve


def read_operator(operator: Any, symmetric: Any, name: str = "operator") -> Operator:
    """Return what a caller passed as an :class:`Operator`.

    Parameters
    ----------
    operator : array_like, sparse matrix or LinearOperator
        What the caller passed.
    symmetric : bool or None
        What the caller says; ``None`` finds out, and takes matrix-free ones to be general.
    name : str
        The argument's name, for messages.

    Returns
    -------
    Operator

    Raises
    ------
    InputError
        If it is not an operator of numbers.
    ShapeError
        If it is not square.
    """
    if symmetric is not None and not isinstance(symmetric, (bool, np.bool_)):
        msg = f"`symmetric` must be True, False or None, got {symmetric!r}"
        raise InputError(msg)
    said = None if symmetric is None else bool(symmetric)
    if isinstance(operator, LinearOperator):
        _square(operator.shape, name)
        dtype = np.dtype(operator.dtype) if operator.dtype is not None else np.dtype(float)
        free = Operator(
            size=operator.shape[0],
            kind="free",
            matrix=operator,
            real=dtype.kind != "c",
            symmetric=bool(symmetric),
            norm=np.inf,
        )
        if free.symmetric:
            _probe_symmetry(free, name)
        return free
    if scipy.sparse.issparse(operator):
        return _read_sparse(operator, said, name)
    A = _numbers(operator, name)
    _square(A.shape, name)
    size = _largest(A, name)
    symmetric = _symmetry(said, float(np.abs(A - A.conj().T).max()), size, len(A), name)
    if symmetric:
        A = 0.5 * (A + A.conj().T)
    return Operator(
        size=len(A),
        kind="dense",
        matrix=A,
        real=not np.iscomplexobj(A),
        symmetric=symmetric,
        norm=euclidean(A),
    )


def _checked(operator: LinearOperator, X: NDArray[Any], *, real: bool) -> NDArray[Any]:
    # Apply a matrix-free operator and distrust what it returns.
    try:
        Y = np.asarray(operator.matvec(X) if X.ndim == 1 else operator.matmat(X))
    except ValueError as error:  # SciPy's, where the length is wrong
        msg = (
            f"`operator` could not be applied to a vector of length {len(X)}: {error}; "
            "its `matvec` must return a vector of the same length"
        )
        raise ShapeError(msg) from error
    if Y.shape != X.shape:
        msg = f"`operator` returned shape {Y.shape} for a vector of shape {X.shape}"
        raise ShapeError(msg)
    if Y.dtype.kind not in "biufc":
        msg = f"`operator` must return numbers, got entries of type {Y.dtype}"
        raise InputError(msg)
    if Y.dtype.kind == "c" and real and not np.iscomplexobj(X):
        msg = (
            f"`operator` was declared with dtype {operator.dtype} and returned complex numbers "
            "for a real vector; declare it with dtype=complex"
        )
        raise InputError(msg)
    if not np.all(np.isfinite(Y)):
        msg = (
            "`operator` returned NaN or infinity for a finite vector; "
            "check its `matvec` before asking for functions of it"
        )
        raise NotFiniteError(msg)
    return Y.astype(np.complex128 if Y.dtype.kind == "c" else np.float64)


def _probe_symmetry(operator: Operator, name: str) -> None:
    # Compare <x, L y> with <L x, y> for two fixed vectors: what a matrix has as its entries.
    rng = np.random.default_rng(operator.size)
    pair = rng.normal(size=(2, operator.size))
    x, y = pair if operator.real else pair + 1j * rng.normal(size=(2, operator.size))
    Lx, Ly = operator.apply(x), operator.apply(y)
    sizes = euclidean(x) * euclidean(Ly), euclidean(Lx) * euclidean(y)
    gap = float(abs(np.vdot(x, Ly) - np.vdot(Lx, y)))
    if not gap <= _ASYMMETRY / np.sqrt(operator.size) * sum(sizes):
        msg = (
            f"`{name}` was said to be symmetric, but <x, L y> and <L x, y> differ by {gap:.3g} "
            f"for vectors with |x| |L y| = {sizes[0]:.3g}; leave `symmetric` out"
        )
        raise NotSymmetricError(msg)


def _read_sparse(operator: Any, symmetric: bool | None, name: str) -> Operator:
    _square(operator.shape, name)
    if operator.dtype.kind not in "biufc":
        msg = f"`{name}` must hold numbers, got entries of type {operator.dtype}"
        raise InputError(msg)
    kind = np.complex128 if operator.dtype.kind == "c" else np.float64
    A = scipy.sparse.csc_array(operator, dtype=kind, copy=True)
    A.sum_duplicates()
    size = _largest(A.data, name)
    turned = A.conj().T.tocsc()
    gap = float(np.abs((A - turned).data).max(initial=0.0))
    symmetric = _symmetry(symmetric, gap, size, 1, name)
    if symmetric:
        A = (0.5 * (A + turned)).tocsc()
    rows, columns = A.nonzero()
    width = int(np.abs(rows - columns).max(initial=0))
    weight = abs(A)
    # |L|_2^2 <= |L|_1 |L|_inf.
    norm = float(np.sqrt(weight.sum(axis=0).max()) * np.sqrt(weight.sum(axis=1).max()))
    narrow = 2 * width <= _BAND
    return Operator(
        size=A.shape[0],
        kind="banded" if narrow else "sparse",
        band=_band(A, rows, columns) if narrow else None,
        matrix=A,
        real=kind is np.float64,
        symmetric=symmetric,
        norm=norm,
    )


def _numbers(operator: Any, name: str) -> NDArray[Any]:
    try:
        A = np.array(None if np.ma.is_masked(operator) else operator)
    except (TypeError, ValueError):
        A = np.array(None)
    if A.dtype.kind not in "biufc":
        msg = (
            f"`{name}` must be a matrix of numbers without a mask, a sparse matrix or a "
            f"LinearOperator, got {type(operator).__name__}; wrap a function in "
            "scipy.sparse.linalg.LinearOperator"
        )
        raise InputError(msg)
    return A.astype(np.complex128 if A.dtype.kind == "c" else np.float64)


def _square(shape: tuple[int, ...], name: str) -> None:
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        msg = f"`{name}` must be square and not empty, got shape {shape}"
        raise ShapeError(msg)


def _largest(entries: NDArray[Any], name: str) -> float:
    # Return the size of the largest entry, if that is one to calculate with.
    bad = int(np.sum(~np.isfinite(entries)))
    if bad:
        msg = f"`{name}` must be finite: {bad} of {entries.size} entries are NaN or infinite"
        raise NotFiniteError(msg)
    with np.errstate(over="ignore"):
        size = float(np.abs(entries).max(initial=0.0))
    if size > _LARGEST:
        msg = (
            f"`{name}` has an entry of size {size:.3g} and products of such entries overflow; "
            f"measure time in a smaller unit, so that entries are at most {_LARGEST:g}"
        )
        raise OutOfRangeError(msg)
    return size


def _symmetry(said: bool | None, gap: float, size: float, n: int, name: str) -> bool:
    # What the caller says, if it can be true; else whether the gap is rounding.
    if said is None:
        return bool(gap <= 2.0 * np.sqrt(n) * _EPS * size)
    if said and gap > _ASYMMETRY * size:
        msg = (
            f"`{name}` was said to be symmetric, but differs from its (conjugate) transpose by "
            f"{gap:.3g} where its largest entry is {size:.3g}; leave `symmetric` out"
        )
        raise NotSymmetricError(msg)
    return bool(said)


def _sparse(A: Any, b: complex) -> Callable[[NDArray[Any]], NDArray[Any]]:
    # SuperLU in its symmetric mode: sparsity first, as shifted operators need little pivoting.
    shifted = (b * scipy.sparse.eye_array(A.shape[0], format="csc") - A).tocsc()
    factors = splu(
        shifted,
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.01,
        options={"SymmetricMode": True},
    )
    return lambda Y: np.asarray(factors.solve(Y))


def _band(A: Any, rows: NDArray[Any], columns: NDArray[Any]) -> tuple[int, int, NDArray[Any]]:
    # The diagonals of -A, with room for what pivoting fills.
    lower = max(int((rows - columns).max(initial=0)), 0)
    upper = max(int((columns - rows).max(initial=0)), 0)
    band = np.zeros((2 * lower + upper + 1, A.shape[0]), dtype=np.complex128, order="F")
    for offset in range(-lower, upper + 1):
        diagonal = -A.diagonal(offset)
        start = max(offset, 0)
        band[lower + upper - offset, start : start + len(diagonal)] = diagonal
    return lower, upper, band


def _banded(
    lower: int, upper: int, stored: NDArray[Any], b: complex
) -> Callable[[NDArray[Any]], NDArray[Any]]:
    # LAPACK's band elimination with pivoting.
    band, n = stored.copy(order="F"), stored.shape[1]
    band[lower + upper] += b
    if lower == upper == 1 and n > 2:
        factors = lapack.zgttrf(band[3, :-1], band[2], band[1, 1:])[:5]
        return lambda Y: np.asarray(lapack.zgttrs(*factors, Y)[0])
    factors = lapack.zgbtrf(band, lower, upper)
    return lambda Y: np.asarray(lapack.zgbtrs(factors[0], lower, upper, Y, factors[1])[0])

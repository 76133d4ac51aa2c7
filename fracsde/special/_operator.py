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

from fracsde.errors import InputError, NotFiniteError, NotSymmetricError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Operator", "euclidean", "read_operator"]

_EPS = float(np.finfo(np.float64).eps)
_BAND = 16  # diagonals beside the main one up to which banded elimination is used
_ASYMMETRY = 1e-6  # what `symmetric=True` may average away


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
        NotFiniteError
            If a matrix-free operator returned NaN or infinity.
        """
        if self.kind == "free":
            Y = np.asarray(self.matrix.matvec(X) if X.ndim == 1 else self.matrix.matmat(X))
            if not np.all(np.isfinite(Y)):
                msg = (
                    "`operator` returned NaN or infinity for a finite vector; "
                    "check its `matvec` before asking for functions of it"
                )
                raise NotFiniteError(msg)
            return Y
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
            return X + change, float(np.linalg.norm(change))

        return solve


def read_operator(operator: Any, symmetric: Any) -> Operator:
    """Return what a caller passed as an :class:`Operator`.

    Parameters
    ----------
    operator : array_like, sparse matrix or LinearOperator
        What the caller passed.
    symmetric : bool or None
        What the caller says; ``None`` finds out, and takes matrix-free ones to be general.

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
        _square(operator.shape)
        dtype = np.dtype(operator.dtype) if operator.dtype is not None else np.dtype(float)
        return Operator(
            size=operator.shape[0],
            kind="free",
            matrix=operator,
            real=dtype.kind != "c",
            symmetric=bool(symmetric),
            norm=np.inf,
        )
    if scipy.sparse.issparse(operator):
        return _read_sparse(operator, said)
    A = _numbers(operator)
    _square(A.shape)
    _finite(A)
    gap, size = float(np.abs(A - A.conj().T).max()), float(np.abs(A).max())
    symmetric = _symmetry(said, gap, size, len(A))
    if symmetric:
        A = 0.5 * (A + A.conj().T)
    return Operator(
        size=len(A),
        kind="dense",
        matrix=A,
        real=not np.iscomplexobj(A),
        symmetric=symmetric,
        norm=float(np.linalg.norm(A)),
    )


def _read_sparse(operator: Any, symmetric: bool | None) -> Operator:
    _square(operator.shape)
    if operator.dtype.kind not in "biufc":
        msg = f"`operator` must hold numbers, got entries of type {operator.dtype}"
        raise InputError(msg)
    kind = np.complex128 if operator.dtype.kind == "c" else np.float64
    A = scipy.sparse.csc_array(operator, dtype=kind, copy=True)
    A.sum_duplicates()
    _finite(A.data)
    turned = A.conj().T.tocsc()
    size = float(np.abs(A.data).max(initial=0.0))
    gap = float(np.abs((A - turned).data).max(initial=0.0))
    symmetric = _symmetry(symmetric, gap, size, 1)
    if symmetric:
        A = (0.5 * (A + turned)).tocsc()
    rows, columns = A.nonzero()
    width = int(np.abs(rows - columns).max(initial=0))
    weight = abs(A)
    # |L|_2^2 <= |L|_1 |L|_inf.
    norm = float(np.sqrt(weight.sum(axis=0).max() * weight.sum(axis=1).max()))
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


def _numbers(operator: Any) -> NDArray[Any]:
    try:
        A = np.array(operator)
    except (TypeError, ValueError):
        A = np.array(None)
    if A.dtype.kind not in "biufc":
        msg = (
            f"`operator` must be a matrix of numbers, a sparse matrix or a LinearOperator, got "
            f"{type(operator).__name__}; wrap a function in scipy.sparse.linalg.LinearOperator"
        )
        raise InputError(msg)
    return A.astype(np.complex128 if A.dtype.kind == "c" else np.float64)


def _square(shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        msg = f"`operator` must be square and not empty, got shape {shape}"
        raise ShapeError(msg)


def _finite(entries: NDArray[Any]) -> None:
    bad = int(np.sum(~np.isfinite(entries)))
    if bad:
        msg = f"`operator` must be finite: {bad} of {entries.size} entries are NaN or infinite"
        raise NotFiniteError(msg)


def _symmetry(said: bool | None, gap: float, size: float, n: int) -> bool:
    # What the caller says, if it can be true; else whether the gap is rounding.
    if said is None:
        return bool(gap <= 2.0 * np.sqrt(n) * _EPS * size)
    if said and gap > _ASYMMETRY * size:
        msg = (
            f"`operator` was said to be symmetric, but differs from its (conjugate) transpose by "
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

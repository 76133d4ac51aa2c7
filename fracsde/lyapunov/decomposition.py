r"""Forms in which Lyapunov and Stein equations are solved: eigenvectors or a Schur form.

.. math::
    A = V \operatorname{diag}(l) V^T, \qquad I - T = V \operatorname{diag}(a) V^T

where the matrix is symmetric, and a Schur form elsewhere; where it is large and positive definite
too, a tridiagonal form is enough for Lyapunov's equation.  From each the map from ``Q`` to the
solution follows, and its norm.

Not here: what is done with them (:mod:`fracsde.lyapunov.dense`, whose docstring has the formulas).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg

from fracsde._check import choice
from fracsde._symmetry import asymmetry, averaged
from fracsde.errors import ComputationError, NotSymmetricError
from fracsde.lyapunov.products import congruent
from fracsde.lyapunov.rounding import is_symmetric
from fracsde.lyapunov.triangular import (
    quasi_triangular_eigenvalues,
    stein_columns,
    triangular_lyapunov,
)
from fracsde.lyapunov.tridiagonal import reduced, solution
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fracsde._typing import FloatArray

__all__ = [
    "METHODS",
    "Decomposition",
    "decompose",
    "eigenvectors",
    "inverse",
    "inverse_norm",
    "spectral_size",
]

METHODS = ("auto", "eigen", "bartels_stewart")


@dataclass(frozen=True, kw_only=True, eq=False)
class Decomposition:
    """A matrix in the form in which its equation is solved.

    Parameters
    ----------
    matrix : (n, n) float64
        ``A`` of a Lyapunov or ``T`` of a Stein equation.
    discrete : bool
        Whether the equation is Stein's.
    method : {"eigen", "tridiagonal", "bartels_stewart"}
        Which form it is.
    eigenvalues : (n,) float64 or complex128
        Of ``matrix``; the extreme ones alone where it is tridiagonal.
    form : (n,) or (n, n) array, or Tridiagonal
        ``l`` or ``a``, or the tridiagonal or Schur form.
    basis : (n, n) array, optional
        Eigenvectors, or Schur vectors; a tridiagonal form brings its own.
    """

    matrix: FloatArray
    discrete: bool
    method: str
    eigenvalues: NDArray[Any]
    form: Any
    basis: NDArray[Any] | None


def decompose(
    array: FloatArray, *, discrete: bool, method: str = "auto", name: str = "matrix"
) -> Decomposition:
    """Bring the matrix of an equation into the form in which it is solved.

    Parameters
    ----------
    array : (n, n) float64
        ``A`` or ``T``.
    discrete : bool
        Whether the equation is Stein's.
    method : {"auto", "eigen", "bartels_stewart"}
        As for :func:`solve_lyapunov`.
    name : str
        The matrix's name, for messages.

    Returns
    -------
    Decomposition

    Raises
    ------
    NotSymmetricError
        If ``method="eigen"`` and the matrix is not symmetric.
    """
    choice("method", method, METHODS)
    gap = float("inf") if method == "bartels_stewart" else asymmetry(array)
    even = is_symmetric(array, gap)
    if method == "eigen" and not even:
        msg = (
            f"method='eigen' needs a symmetric `{name}`, got one that differs from its transpose "
            f"by up to {gap:.3g}; use method='auto' or 'bartels_stewart'"
        )
        raise NotSymmetricError(msg)
    short = reduced(array, gap) if even and not discrete and method == "auto" else None
    if short is not None:
        return Decomposition(
            matrix=array,
            discrete=False,
            method="tridiagonal",
            eigenvalues=np.array([short.low, short.high]),
            form=short,
            basis=None,
        )
    form: NDArray[Any]
    if even:
        target = np.eye(len(array)) - array if discrete else array
        form, basis = eigenvectors(target)
        eigenvalues = 1.0 - form if discrete else form
    elif discrete:
        form, basis = scipy.linalg.schur(array, output="complex")
        eigenvalues = form.diagonal().copy()
    else:
        form, basis = scipy.linalg.schur(array, output="real")
        eigenvalues = quasi_triangular_eigenvalues(form)
    return Decomposition(
        matrix=array,
        discrete=discrete,
        method="eigen" if even else "bartels_stewart",
        eigenvalues=eigenvalues,
        form=form,
        basis=basis,
    )


def eigenvectors(array: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the eigenvalues of a matrix that is symmetric to rounding, and its eigenvectors.

    Parameters
    ----------
    array : (n, n) float64
        The matrix.

    Returns
    -------
    values : (n,) float64
        Increasing.
    vectors : (n, n) float64
        One per column.
    """
    even = averaged(array, asymmetry(array)).T  # the same matrix, in the order of LAPACK
    values, vectors = scipy.linalg.eigh(even, driver="evd", overwrite_a=True, check_finite=False)
    return values, vectors


def spectral_size(decomposition: Decomposition) -> float | None:
    """Return the spectral norm of the matrix where its eigenvalues tell it.

    Parameters
    ----------
    decomposition : Decomposition
        From :func:`decompose`.

    Returns
    -------
    float or None
    """
    if decomposition.method == "bartels_stewart":
        return None
    return float(np.abs(decomposition.eigenvalues).max())


def inverse(decomposition: Decomposition) -> Callable[[FloatArray], FloatArray]:
    """Return the map from ``Q`` to the symmetric solution.

    Parameters
    ----------
    decomposition : Decomposition
        From :func:`decompose`.

    Returns
    -------
    callable

    Raises
    ------
    ComputationError
        If the equation has no unique solution.
    """
    form, U, discrete = decomposition.form, decomposition.basis, decomposition.discrete
    if U is None:
        return lambda Q: solution(form, Q)
    if decomposition.method == "eigen":
        sums = np.add.outer(form, form)
        denominators = sums - np.multiply.outer(form, form) if discrete else sums
        _require_unique(denominators)
        return lambda Q: congruent(U, _divided(congruent(U.T, Q), denominators))
    if discrete:
        s = decomposition.eigenvalues
        _require_unique(1.0 - np.multiply.outer(s, s.conj()))
        return lambda Q: _even((U @ stein_columns(form, U.conj().T @ Q @ U) @ U.conj().T).real)
    _require_unique(np.add.outer(decomposition.eigenvalues, decomposition.eigenvalues))
    return lambda Q: _even(U @ triangular_lyapunov(form, U.T @ Q @ U) @ U.T)


def inverse_norm(decomposition: Decomposition, solve: Callable[[FloatArray], FloatArray]) -> float:
    """Return the norm of the map from ``Q`` to the solution, attained at the identity.

    Parameters
    ----------
    decomposition : Decomposition
        From :func:`decompose`.
    solve : callable
        From :func:`inverse`.

    Returns
    -------
    float
        Infinite where the matrix is not stable.
    """
    values = decomposition.eigenvalues
    stable = np.abs(values).max() < 1.0 if decomposition.discrete else values.real.min() > 0.0
    if not stable:
        return float("inf")
    if decomposition.method == "tridiagonal":
        return float(0.5 / values[0])
    if decomposition.method == "eigen":
        form = decomposition.form
        pairs = form * (2.0 - form) if decomposition.discrete else 2.0 * form
        return float(1.0 / pairs.min())
    n = len(values)
    top = scipy.linalg.eigvalsh(solve(np.eye(n)), subset_by_index=[n - 1, n - 1])
    return float(top[0])


def _require_unique(denominators: NDArray[Any]) -> None:
    # Refuse an equation that is singular outright; nearly singular ones report their error.
    smallest = float(np.abs(denominators).min())
    if smallest < np.finfo(np.float64).tiny:
        detail = (
            "Two eigenvalues of the matrix add to zero (Lyapunov) or multiply to 1 (Stein), so "
            "the equation has no unique solution; remove that direction first."
        )
        raise ComputationError(Status.MARGINAL, detail)


def _divided(array: FloatArray, denominators: FloatArray) -> FloatArray:
    # In place: new memory costs as much as the division.
    np.divide(array, denominators, out=array)
    return array


def _even(array: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (array + array.T), dtype=np.float64)

r"""Dense Lyapunov and Stein equations.

.. math::
    A\Sigma + \Sigma A^T = Q, \qquad \Sigma = T \Sigma T^T + Q, \qquad Q = Q^T.

With :math:`A = V \operatorname{diag}(l) V^T` symmetric, or
:math:`I - T = V \operatorname{diag}(a) V^T`, and :math:`\tilde Q = V^T Q V`,

.. math::
    \tilde\Sigma_{ij} = \frac{\tilde Q_{ij}}{l_i + l_j}, \qquad
    \tilde\Sigma_{ij} = \frac{\tilde Q_{ij}}{a_i + a_j - a_i a_j} .

The second denominator is :math:`1 - (1 - a_i)(1 - a_j)` without its cancellation: a map of SGD is
the identity minus something small, and the subtraction :math:`I - T` is exact there.

Other matrices go through a Schur form (:mod:`fracsde.lyapunov.triangular`), after
[BartelsStewart1972]_ and [Kitagawa1977]_.  Eigenvectors are never used unless they are orthogonal,
so defective matrices are as good as any.

**Residual and error.**  ``residual`` is the size of the equation's defect ``D`` against its terms,

.. math::
    \frac{\|D\|_F}{2\|A\|_2\|\Sigma\|_F + \|Q\|_F}, \qquad
    \frac{\|D\|_F}{(1 + \|T\|_2^2)\|\Sigma\|_F + \|Q\|_F} ,

with the spectral norms from a few power iterations, hence never too large.

The inverse of a stable equation maps positive matrices to positive ones, so its norm is attained
at the identity ([RussoDye1966]_): one more solve, with ``I`` for ``Q``, gives the condition
number exactly and turns the residual into ``error_estimate``.

Not here: which process the matrices come from and whether it is stable, see
:mod:`fracsde.lyapunov.processes`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg

from fracsde._check import choice, matrix, symmetric
from fracsde.errors import ComputationError, NotSymmetricError
from fracsde.lyapunov.rounding import EPS, binary_unit, is_symmetric, spectral_norm, times_units
from fracsde.lyapunov.triangular import (
    quasi_triangular_eigenvalues,
    stein_columns,
    triangular_lyapunov,
)
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fracsde._typing import ArrayLike, FloatArray

__all__ = [
    "METHODS",
    "Decomposition",
    "MatrixSolution",
    "decompose",
    "in_units",
    "measured",
    "solve_decomposed",
    "solve_lyapunov",
    "solve_stein",
]

METHODS = ("auto", "eigen", "bartels_stewart")


@dataclass(frozen=True, kw_only=True, eq=False)
class MatrixSolution:
    """Solution of a matrix equation, with what is known of its error.

    Parameters
    ----------
    matrix : (n, n) float64
        The solution, symmetric.
    residual : float [1]
        Relative residual as the module defines it.
    error_estimate : float
        Bound on the spectral norm of the error, in the unit of ``matrix``; infinite where the
        matrix of the equation is not stable, for then no bound is known.
    method : {"eigen", "bartels_stewart"}
        What was used.
    """

    matrix: FloatArray
    residual: float
    error_estimate: float
    method: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Decomposition:
    """A matrix in the form in which its equation is solved.

    Parameters
    ----------
    matrix : (n, n) float64
        ``A`` of a Lyapunov or ``T`` of a Stein equation.
    discrete : bool
        Whether the equation is Stein's.
    method : {"eigen", "bartels_stewart"}
        Which form it is.
    eigenvalues : (n,) float64 or complex128
        Of ``matrix``.
    form : (n,) or (n, n) array
        ``l`` or ``a``, or the Schur form.
    basis : (n, n) array
        Eigenvectors, or Schur vectors.
    """

    matrix: FloatArray
    discrete: bool
    method: str
    eigenvalues: NDArray[Any]
    form: NDArray[Any]
    basis: NDArray[Any]


def solve_lyapunov(A: ArrayLike, Q: ArrayLike, *, method: str = "auto") -> MatrixSolution:
    """Solve ``A S + S A^T = Q``.

    Parameters
    ----------
    A : (n, n) array_like
        No two of its eigenvalues may add to zero; stable, for a covariance.
    Q : (n, n) array_like
        Symmetric.
    method : {"auto", "eigen", "bartels_stewart"}
        ``"auto"`` takes ``"eigen"`` for symmetric ``A``.

    Returns
    -------
    MatrixSolution

    Raises
    ------
    NotSymmetricError
        If ``method="eigen"`` and ``A`` is not symmetric, or if ``Q`` is not.
    ComputationError
        If the equation has no unique solution.

    References
    ----------
    [BartelsStewart1972]_

    Examples
    --------
    >>> solve_lyapunov([[1.0, 0.0], [0.0, 3.0]], [[2.0, 4.0], [4.0, 6.0]]).matrix
    array([[1., 1.],
           [1., 1.]])
    """
    A = matrix("A", A)
    Q = symmetric("Q", Q, size=len(A))
    rate, size = binary_unit(A), binary_unit(Q)
    form = decompose(A / rate, discrete=False, method=method, name="A")
    return in_units(solve_decomposed(form, Q / size), size, rate)


def solve_stein(T: ArrayLike, Q: ArrayLike, *, method: str = "auto") -> MatrixSolution:
    """Solve ``S = T S T^T + Q``.

    Parameters
    ----------
    T : (n, n) array_like
        No two of its eigenvalues may multiply to 1; of spectral radius below 1, for a covariance.
    Q : (n, n) array_like
        Symmetric.
    method : {"auto", "eigen", "bartels_stewart"}
        ``"auto"`` takes ``"eigen"`` for symmetric ``T``.

    Returns
    -------
    MatrixSolution

    Raises
    ------
    NotSymmetricError
        If ``method="eigen"`` and ``T`` is not symmetric, or if ``Q`` is not.
    ComputationError
        If the equation has no unique solution.

    References
    ----------
    [Kitagawa1977]_

    Examples
    --------
    >>> solve_stein([[0.5]], [[3.0]]).matrix
    array([[4.]])
    """
    T = matrix("T", T)
    Q = symmetric("Q", Q, size=len(T))
    form, size = decompose(T, discrete=True, method=method, name="T"), binary_unit(Q)
    return in_units(solve_decomposed(form, Q / size), size)


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
    even = method != "bartels_stewart" and is_symmetric(array)
    if method == "eigen" and not even:
        gap = float(np.abs(array - array.T).max())
        msg = (
            f"method='eigen' needs a symmetric `{name}`, got one that differs from its transpose "
            f"by up to {gap:.3g}; use method='auto' or 'bartels_stewart'"
        )
        raise NotSymmetricError(msg)
    form: NDArray[Any]
    if even:
        target = np.eye(len(array)) - array if discrete else array
        form, basis = np.linalg.eigh(0.5 * (target + target.T))
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


def solve_decomposed(decomposition: Decomposition, Q: FloatArray) -> MatrixSolution:
    """Solve the equation of a decomposed matrix.

    Parameters
    ----------
    decomposition : Decomposition
        From :func:`decompose`.
    Q : (n, n) float64
        Symmetric right-hand side.

    Returns
    -------
    MatrixSolution

    Raises
    ------
    ComputationError
        If the equation has no unique solution.
    """
    solve = _inverse(decomposition)
    array, discrete = decomposition.matrix, decomposition.discrete
    norm, method = _inverse_norm(decomposition, solve), decomposition.method

    def checked(S: FloatArray) -> MatrixSolution:
        return measured(array, Q, S, discrete=discrete, method=method, norm=norm)

    solution = checked(solve(Q))
    # A badly scaled matrix may need a second look, which costs one triangular solve.
    if solution.residual > len(Q) * EPS:
        gap, _ = _defect(array, Q, solution.matrix, discrete=discrete)
        better = checked(solution.matrix + solve(_even(gap)))
        solution = better if better.residual < solution.residual else solution
    return solution


def in_units(solution: MatrixSolution, size: float, rate: float = 1.0) -> MatrixSolution:
    """Return the solution for ``size`` times the right-hand side, ``rate`` times the matrix.

    Returns
    -------
    MatrixSolution

    Raises
    ------
    ComputationError
        If the solution overflows.
    """
    S, error = (times_units(x, size, rate) for x in (solution.matrix, solution.error_estimate))
    if not np.all(np.isfinite(S)):
        raise ComputationError(Status.NOT_FINITE, "Rescale the equation.")
    return replace(solution, matrix=S, error_estimate=float(error))


def measured(
    array: FloatArray, Q: FloatArray, S: FloatArray, *, discrete: bool, method: str, norm: float
) -> MatrixSolution:
    """Put the residual and the error estimate beside a solution.

    Parameters
    ----------
    array, Q, S : (n, n) float64
        Matrix, right-hand side and solution of the equation.
    discrete : bool
        Whether the equation is Stein's.
    method : str
        How it was solved.
    norm : float
        Norm of the map from ``Q`` to the solution.

    Returns
    -------
    MatrixSolution

    Raises
    ------
    ComputationError
        If the solution is not finite.
    """
    if not np.all(np.isfinite(S)):
        raise ComputationError(Status.NOT_FINITE, "Rescale the equation.")
    gap, scale = _defect(array, Q, S, discrete=discrete)
    missed = float(np.linalg.norm(gap))
    residual, estimate = missed / scale if scale > 0.0 else 0.0, (missed + EPS * scale) * norm
    return MatrixSolution(matrix=S, residual=residual, error_estimate=estimate, method=method)


def _defect(
    array: FloatArray, Q: FloatArray, S: FloatArray, *, discrete: bool
) -> tuple[FloatArray, float]:
    # What the equation leaves, and the size of its terms.
    product = array @ S
    gap = product @ array.T + Q - S if discrete else Q - product - product.T
    size = spectral_norm(array)
    factor = 1.0 + size**2 if discrete else 2.0 * size
    return gap, factor * float(np.linalg.norm(S)) + float(np.linalg.norm(Q))


def _inverse(decomposition: Decomposition) -> Callable[[FloatArray], FloatArray]:
    # Return the map from ``Q`` to the symmetric solution.
    form, U, discrete = decomposition.form, decomposition.basis, decomposition.discrete
    if decomposition.method == "eigen":
        sums = np.add.outer(form, form)
        denominators = sums - np.multiply.outer(form, form) if discrete else sums
        _require_unique(denominators)
        return lambda Q: _even(U @ ((U.T @ Q @ U) / denominators) @ U.T)
    if discrete:
        s = decomposition.eigenvalues
        _require_unique(1.0 - np.multiply.outer(s, s.conj()))
        return lambda Q: _even((U @ stein_columns(form, U.conj().T @ Q @ U) @ U.conj().T).real)
    _require_unique(np.add.outer(decomposition.eigenvalues, decomposition.eigenvalues))
    return lambda Q: _even(U @ triangular_lyapunov(form, U.T @ Q @ U) @ U.T)


def _inverse_norm(decomposition: Decomposition, solve: Callable[[FloatArray], FloatArray]) -> float:
    # Return the norm of the map from ``Q`` to the solution, attained at the identity.
    values = decomposition.eigenvalues
    stable = np.abs(values).max() < 1.0 if decomposition.discrete else values.real.min() > 0.0
    if not stable:
        return float("inf")
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


def _even(array: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (array + array.T), dtype=np.float64)

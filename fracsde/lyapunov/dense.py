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

Matrices that are not symmetric go through a Schur form (:mod:`fracsde.lyapunov.triangular`), after
[BartelsStewart1972]_ and [Kitagawa1977]_.  Eigenvectors are never used unless they are orthogonal,
so defective matrices are as good as any.

**Residual and error.**  ``residual`` is the size of the equation's defect ``D`` against its terms,

.. math::
    \frac{\|D\|_F}{2\|A\|_2\|\Sigma\|_F + \|Q\|_F}, \qquad
    \frac{\|D\|_F}{(1 + \|T\|_2^2)\|\Sigma\|_F + \|Q\|_F} ,

with the spectral norms from eigenvalues or a few power iterations, hence never too large.  From
256 rows on the size of ``D`` comes from products with random directions
(:mod:`fracsde.lyapunov.products`): the residual is then known to some ten per cent, and
``error_estimate`` takes three times as much.

A symmetric equation costs, on top of its eigenvectors, two changes of coordinates of :math:`3n^3`
operations each.  Large Lyapunov equations of positive definite matrices do without eigenvectors
(:mod:`fracsde.lyapunov.tridiagonal`), and cost 1.3 to 1.4 times as much as those at 1000 rows.

The inverse of a stable equation maps positive matrices to positive ones, so its norm is attained
at the identity ([RussoDye1966]_): one more solve, with ``I`` for ``Q``, gives the condition
number exactly and turns the residual into ``error_estimate``.

Not here: which process the matrices come from and whether it is stable, see
:mod:`fracsde.lyapunov.processes`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import matrix, symmetric
from fracsde.errors import ComputationError
from fracsde.lyapunov.decomposition import (
    METHODS,
    Decomposition,
    decompose,
    inverse,
    inverse_norm,
    spectral_size,
)
from fracsde.lyapunov.products import defect_norm
from fracsde.lyapunov.rounding import EPS, in_own_unit, spectral_norm, times_units
from fracsde.status import Status

if TYPE_CHECKING:
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
    method : {"eigen", "tridiagonal", "bartels_stewart"}
        What was used.
    """

    matrix: FloatArray
    residual: float
    error_estimate: float
    method: str


def solve_lyapunov(A: ArrayLike, Q: ArrayLike, *, method: str = "auto") -> MatrixSolution:
    """Solve ``A S + S A^T = Q``.

    Parameters
    ----------
    A : (n, n) array_like
        No two of its eigenvalues may add to zero; stable, for a covariance.
    Q : (n, n) array_like
        Symmetric.
    method : {"auto", "eigen", "bartels_stewart"}
        ``"auto"`` takes ``"eigen"`` for symmetric ``A``, and from 256 rows on a tridiagonal form if
        it is positive definite.

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
    A = matrix("A", A, copy=False)
    Q = symmetric("Q", Q, size=len(A), copy=False)
    (A, rate), (Q, size) = in_own_unit(A), in_own_unit(Q)
    form = decompose(A, discrete=False, method=method, name="A")
    return in_units(solve_decomposed(form, Q), size, rate)


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
    T = matrix("T", T, copy=False)
    Q = symmetric("Q", Q, size=len(T), copy=False)
    form, (Q, size) = decompose(T, discrete=True, method=method, name="T"), in_own_unit(Q)
    return in_units(solve_decomposed(form, Q), size)


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
    solve = inverse(decomposition)
    array, discrete = decomposition.matrix, decomposition.discrete
    norm, method = inverse_norm(decomposition, solve), decomposition.method

    def checked(S: FloatArray) -> MatrixSolution:
        return measured(
            array,
            Q,
            S,
            discrete=discrete,
            method=method,
            norm=norm,
            size=spectral_size(decomposition),
        )

    solution = checked(solve(Q))
    # A badly scaled matrix may need a second look, which costs one triangular solve.
    if solution.residual > len(Q) * EPS:
        gap = _defect(array, Q, solution.matrix, discrete=discrete)
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
    if size == rate == 1.0:
        return solution
    S, error = (times_units(x, size, rate) for x in (solution.matrix, solution.error_estimate))
    if not np.all(np.isfinite(S)):
        raise ComputationError(Status.NOT_FINITE, "Rescale the equation.")
    return replace(solution, matrix=S, error_estimate=float(error))


def measured(
    array: FloatArray,
    Q: FloatArray,
    S: FloatArray,
    *,
    discrete: bool,
    method: str,
    norm: float,
    size: float | None = None,
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
    size : float, optional
        Spectral norm of the matrix, where it is known; not too large.

    Returns
    -------
    MatrixSolution

    Raises
    ------
    ComputationError
        If the solution is not finite.
    """
    length = float(np.linalg.norm(S))
    if not np.isfinite(length) and not np.all(np.isfinite(S)):
        raise ComputationError(Status.NOT_FINITE, "Rescale the equation.")
    missed, bound = defect_norm(array, Q, S, discrete=discrete)
    size = spectral_norm(array) if size is None else size
    factor = 1.0 + size**2 if discrete else 2.0 * size
    scale = factor * length + float(np.linalg.norm(Q))
    residual, estimate = missed / scale if scale > 0.0 else 0.0, (bound + EPS * scale) * norm
    return MatrixSolution(matrix=S, residual=residual, error_estimate=estimate, method=method)


def _defect(array: FloatArray, Q: FloatArray, S: FloatArray, *, discrete: bool) -> FloatArray:
    # What the equation leaves.
    product = array @ S
    return product @ array.T + Q - S if discrete else Q - product - product.T


def _even(array: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (array + array.T), dtype=np.float64)

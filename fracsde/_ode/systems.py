r"""The linear systems of Newton's method, in whatever form the Jacobian comes.

A step of a marching scheme needs :math:`(\operatorname{diag}(w) - \theta J)\, x = r`, an interval
of a collocation the system of all its stages,

.. math::
    X_i - \sum_j S^{(c)}_{ij} (J X_j)_c = R_i , \qquad S^{(c)} = h^{\alpha_c} B^{(\alpha_c)} ,

with one table per order.  Dense Jacobians are factorised by LAPACK and sparse ones by SuperLU;
a linear operator is solved with by GMRES.  Where all orders are equal and the stage system is not
small, the table is diagonalised and one complex system of the size of ``J`` is factorised per pair
of eigenvalues; otherwise the stages are assembled.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import LinAlgWarning, lu_factor, lu_solve
from scipy.sparse import csc_array, diags_array, eye_array, issparse, kron
from scipy.sparse.linalg import LinearOperator, gmres, splu

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

__all__ = ["SingularSystemError", "mixed", "stage_solver", "step_solver"]

_ASSEMBLE = 72  # unknowns up to which one real system is cheaper than several complex ones
_GMRES_RTOL, _GMRES_SPACE = 1e-8, 80


class SingularSystemError(ArithmeticError):
    """A matrix that cannot be factorised, or an iteration that does not converge."""


def step_solver(
    jacobian: Any, weights: FloatArray, share: FloatArray
) -> Callable[[Any], FloatArray]:
    """Return the solver of ``diag(weights) - diag(share) @ jacobian``.

    Parameters
    ----------
    jacobian : (n, n) ndarray, sparse array or LinearOperator
        Of the right-hand side.
    weights : (n,) float64 [t**-alpha]
        Newest weights of the components.
    share : (n,) float64 [1]
        ``theta`` of the scheme, by component.

    Returns
    -------
    callable
        From ``(n,)`` to ``(n,)``; raises :class:`SingularSystemError`.
    """
    if isinstance(jacobian, LinearOperator):
        return _krylov(lambda v: weights * v - share * (jacobian @ v), len(weights))
    if issparse(jacobian):
        return _factorised(diags_array(weights) - diags_array(share) @ jacobian)
    return _factorised(np.diag(weights) - share[:, None] * jacobian)


def stage_solver(
    jacobian: Any, tables: FloatArray, which: np.ndarray
) -> Callable[[FloatArray], FloatArray]:
    """Return the solver of the stages of one interval.

    Parameters
    ----------
    jacobian : (n, n) ndarray, sparse array or LinearOperator
        Of the right-hand side.
    tables : (g, m, m) float64 [t**alpha]
        ``S`` of each distinct order.
    which : (n,) int
        The order of each component.

    Returns
    -------
    callable
        From ``(m, n)`` to ``(m, n)``; raises :class:`SingularSystemError`.
    """
    stages, count = tables.shape[1], len(which)
    shape = (stages, count)
    if isinstance(jacobian, LinearOperator):

        def product(x: FloatArray) -> FloatArray:
            X = x.reshape(shape)
            slopes = np.stack([jacobian @ row for row in X])
            return np.asarray(X - mixed(tables, which, slopes)).reshape(-1)

        inner = _krylov(product, stages * count)
        return lambda R: inner(R.reshape(-1)).reshape(shape)
    if stages * count > _ASSEMBLE and len(tables) == 1:
        return _diagonalised(jacobian, tables[0])
    if issparse(jacobian):
        whole = eye_array(stages * count, format="csc")
        for g, table in enumerate(tables):
            own = diags_array((which == g).astype(np.float64)) @ jacobian
            whole = whole - kron(table, own, format="csc")
        inner = _factorised(csc_array(whole))
    else:
        blocks = -np.einsum("cij,cd->icjd", tables[which], jacobian)
        flat = blocks.reshape(stages * count, stages * count)
        flat[np.diag_indices_from(flat)] += 1.0
        inner = _factorised(flat)
    return lambda R: inner(R.reshape(-1)).reshape(shape)


def mixed(tables: FloatArray, which: np.ndarray, slopes: FloatArray) -> FloatArray:
    """Return the stage sums, each component with the table of its order.

    Parameters
    ----------
    tables : (g, p, m) float64
        One per order.
    which : (n,) int
        The order of each component.
    slopes : (m, n) float64
        What is summed.

    Returns
    -------
    (p, n) ndarray of float64
    """
    if len(tables) == 1:
        return np.asarray(tables[0] @ slopes)
    out = np.empty((tables.shape[1], slopes.shape[1]))
    for g, table in enumerate(tables):
        own = which == g
        out[:, own] = table @ slopes[:, own]
    return out


def _factorised(whole: Any) -> Callable[[Any], FloatArray]:
    if issparse(whole):
        try:
            factors = splu(csc_array(whole))
        except (RuntimeError, ValueError) as error:
            raise SingularSystemError(str(error)) from error
        return lambda r: np.asarray(factors.solve(r))
    with warnings.catch_warnings():
        warnings.simplefilter("error", LinAlgWarning)
        try:
            pair = lu_factor(whole, check_finite=False)
        except (LinAlgWarning, np.linalg.LinAlgError) as error:
            raise SingularSystemError(str(error)) from error
    return lambda r: np.asarray(lu_solve(pair, r, check_finite=False))


def _diagonalised(jacobian: Any, table: FloatArray) -> Callable[[FloatArray], FloatArray]:
    values, vectors = np.linalg.eig(table)
    back = np.linalg.inv(vectors)
    upper = np.flatnonzero(values.imag >= 0.0)
    twice = np.where(values[upper].imag > 0.0, 2.0, 1.0)
    count = jacobian.shape[0]
    one = eye_array(count, format="csc") if issparse(jacobian) else np.eye(count)
    solvers = [_factorised(one - values[i] * jacobian) for i in upper]

    def solve(R: FloatArray) -> FloatArray:
        turned = back[upper] @ R
        parts = np.stack([inner(row) for inner, row in zip(solvers, turned, strict=True)])
        # Conjugate pairs add up to twice the real part.
        return np.asarray(((vectors[:, upper] * twice) @ parts).real)

    return solve


def _krylov(product: Callable[[FloatArray], FloatArray], size: int) -> Callable[[Any], FloatArray]:
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)

    def solve(r: FloatArray) -> FloatArray:
        found, info = gmres(
            operator, r, rtol=_GMRES_RTOL, atol=0.0, restart=min(size, _GMRES_SPACE), maxiter=5
        )
        if info != 0:
            msg = "GMRES did not converge; give the matrix instead of its products"
            raise SingularSystemError(msg)
        return np.asarray(found)

    return solve

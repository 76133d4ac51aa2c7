r"""Collocation systems of chains: the definition.

At the ``m`` nodes of an interval the states of a chain of ``n`` cells satisfy

.. math::
    \sum_{l} C_{kl}\, x_{l,i} - (L_k x_k)_i = f_{k,i}, \qquad
    (L_k x)_i = \mathrm{right}_{k,i-1} x_{i-1} + \mathrm{left}_{k,i+1} x_{i+1}
              - (\mathrm{right}_{k,i} + \mathrm{left}_{k,i} + \mathrm{loss}_{k,i})\, x_i ,

with the inverse ``C`` of the matrix of product integration, and rates of the ``k``-th node that
include the power of the interval's length.  Where the rates are those of one chain at all nodes,
the eigenvectors of ``C`` uncouple the nodes, and ``m`` systems with complex shifts remain.

Here everything is one dense matrix.  :mod:`fracsde.backends.collocation_numba` eliminates cell by
cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from fracsde._typing import FloatArray

__all__ = ["flows", "solve_coupled", "solve_uncoupled"]


def chain_matrix(right: FloatArray, left: FloatArray, loss: FloatArray) -> FloatArray:
    """Return the matrix of a chain, in a row or a ring.

    Returns
    -------
    (n, n) ndarray [1/t]
    """
    n = len(right)
    i = np.arange(n)
    L = np.diag(-(right + left + loss))
    np.add.at(L, ((i + 1) % n, i), right)
    np.add.at(L, ((i - 1) % n, i), left)
    return L


def flows(right: FloatArray, left: FloatArray, loss: FloatArray, x: FloatArray) -> FloatArray:
    """Return ``L_k x_k``, each as a difference of currents, whose sum is kept to rounding.

    Parameters
    ----------
    right, left, loss : (m, n) float64
        Rates at the nodes.
    x : (m, n) float64
        States at the nodes.

    Returns
    -------
    (m, n) ndarray
    """
    current = right * x - np.roll(left * x, -1, axis=1)  # from each cell to the next
    return np.asarray(np.roll(current, 1, axis=1) - current - loss * x)


def solve_coupled(
    inverse: FloatArray, right: FloatArray, left: FloatArray, loss: FloatArray, rhs: FloatArray
) -> FloatArray:
    """Solve with rates that differ from node to node.

    Parameters
    ----------
    inverse : (m, m) float64
        ``C``.
    right, left, loss : (m, n) float64
        Rates at the nodes.
    rhs : (m, n) float64
        Right-hand sides.

    Returns
    -------
    (m, n) ndarray
    """
    m, n = rhs.shape
    matrix = np.kron(inverse, np.eye(n))
    for k in range(m):
        block = slice(k * n, (k + 1) * n)
        matrix[block, block] -= chain_matrix(right[k], left[k], loss[k])
    return np.linalg.solve(matrix, rhs.reshape(-1)).reshape(m, n)


def solve_uncoupled(
    shifts: npt.NDArray[np.complex128],
    right: FloatArray,
    left: FloatArray,
    loss: FloatArray,
    rhs: npt.NDArray[np.complex128],
) -> npt.NDArray[np.complex128]:
    """Solve one shifted system per node.

    Parameters
    ----------
    shifts : (k,) complex128
        Eigenvalues of ``C``.
    right, left, loss : (n,) float64
        Rates at all nodes.
    rhs : (k, n) complex128
        Right-hand sides.

    Returns
    -------
    (k, n) ndarray of complex128
    """
    L = chain_matrix(right, left, loss)
    eye = np.eye(len(right))
    return np.array([np.linalg.solve(z * eye - L, f) for z, f in zip(shifts, rhs, strict=True)])

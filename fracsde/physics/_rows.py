r"""Modes of cells in a row, to relative accuracy of every rate.

With masses :math:`\pi` in detailed balance the symmetrised operator is a product of two-banded
matrices,

.. math::
    H = B^T B, \qquad
    (B \psi)_i = \sqrt{\mathrm{right}_i}\, \psi_i - \sqrt{\mathrm{left}_{i+1}}\, \psi_{i+1} ,

with one more row for each absorbing wall.  Its eigenvalues are the squares of those of

.. math::
    \begin{pmatrix} 0 & B \\ B^T & 0 \end{pmatrix} ,

which on a path is tridiagonal with a zero diagonal and determines them to relative accuracy, by
bisection [DemmelKahan1990]_.  A rate of 1e-30 between deep wells is as accurate as any, where
eigenvalues of ``H`` itself would be lost below 1e-16 of the largest.

The functions follow from the rates by fluxes :math:`g_i = \mathrm{right}_i (u_{i+1} - u_i)`,

.. math::
    g_i = (\mathrm{loss}_i - \lambda)\, u_i
        + \frac{\mathrm{left}_i}{\mathrm{right}_{i-1}}\, g_{i-1}, \qquad
    u_{i+1} = u_i + \frac{g_i}{\mathrm{right}_i} ,

from either end to the cell where both agree best.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh_tridiagonal

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.operators.chain import CellChain

__all__ = ["row_functions", "row_rates"]

_NO_ABSOLUTE = 2.0 * float(np.finfo(np.float64).tiny)


def row_rates(chain: CellChain, count: int) -> FloatArray:
    """Return the lowest rates of a row whose losses are at its ends.

    Parameters
    ----------
    chain : CellChain
        Not a ring.
    count : int
        How many, at most the number of cells.

    Returns
    -------
    (count,) ndarray [1/t]
        Ascending; zero exactly where no mass is lost.
    """
    steps = np.sqrt(np.column_stack([chain.right[:-1], chain.left[1:]]).ravel())
    if chain.loss[0] > 0.0:
        steps = np.append(np.sqrt(chain.loss[0]), steps)
    if chain.loss[-1] > 0.0:
        steps = np.append(steps, np.sqrt(chain.loss[-1]))
    size = len(steps) + 1
    still = int(chain.conserves_mass)
    first = size // 2 + size % 2
    rates = np.zeros(count)
    if count > still:
        roots = eigh_tridiagonal(
            np.zeros(size),
            steps,
            eigvals_only=True,
            select="i",
            select_range=(first, first + count - still - 1),
            tol=_NO_ABSOLUTE,
            lapack_driver="stebz",
        )
        rates[still:] = roots**2
    return rates


def row_functions(chain: CellChain, rates: FloatArray) -> FloatArray:
    """Return the left eigenfunctions of rates of a row, not normalised.

    Parameters
    ----------
    chain : CellChain
        Not a ring.
    rates : (k,) float64 [1/t]
        Its rates.

    Returns
    -------
    (k, n) ndarray [1]
    """
    right, left, loss = chain.right, chain.left, chain.loss
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        forth, flux = _shot(right, left, loss, rates)
        back, rush = _shot(left[::-1], right[::-1], loss[::-1], rates)
        back, rush = back[::-1], rush[::-1]
        # What the equation lacks in a cell where both sides meet, relative to the value there.
        onward = np.zeros_like(forth)
        onward[:-1] = -right[:-1, None] * rush[1:] / left[1:, None] / back[:-1]
        arrived = np.zeros_like(forth)
        arrived[1:] = -left[1:, None] * flux[:-1] / right[:-1, None] / forth[1:]
        lack = np.abs(-onward + arrived - loss[:, None] + rates)
        lack[~np.isfinite(lack)] = np.inf
        meeting = np.argmin(lack, axis=0)
        k = np.arange(len(rates))
        scale = forth[meeting, k] / back[meeting, k]
        inside = np.arange(len(right))[:, None] <= meeting
        return np.where(inside, forth, back * scale).T


def _shot(
    right: FloatArray, left: FloatArray, loss: FloatArray, rates: FloatArray
) -> tuple[FloatArray, FloatArray]:
    # Values and fluxes from the first cell on, for all rates at once.
    n = len(right)
    u, g = np.empty((n, len(rates))), np.zeros((n, len(rates)))
    u[0] = 1.0
    for i in range(n):
        g[i] = (loss[i] - rates) * u[i]
        if i:
            g[i] += left[i] / right[i - 1] * g[i - 1]
        if i < n - 1:
            u[i + 1] = u[i] + g[i] / right[i]
    return u, g

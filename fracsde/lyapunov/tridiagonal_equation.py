r"""Lyapunov equations of tridiagonal positive definite matrices.

.. math::
    T Y + Y T = X, \qquad X = X^T.

**Cuts.**  With the entry :math:`t_c` across each cut taken out of the off-diagonal and its size
added to the two entries of the diagonal beside it,

.. math::
    T = D - \sum_c |t_c|\, v_c v_c^T, \qquad v_c = e_c - \operatorname{sign}(t_c)\, e_{c+1},

``D`` falls into blocks and is at least ``T``, so that its equation is no worse conditioned.  With
the images :math:`z_c = Y v_c` of the cuts the equation of ``T`` is one of ``D``,

.. math::
    D Y + Y D = X + \sum_c |t_c| \,(v_c z_c^T + z_c v_c^T) .

**Images of the cuts.**  Let :math:`Y_0` solve the equation of ``D`` without the sum, and
:math:`y_c = Y_0 v_c`.  What it leaves has two ranks for each cut,

.. math::
    T (Y - Y_0) + (Y - Y_0) T = \sum_c |t_c| \,(v_c y_c^T + y_c v_c^T),

and is solved by alternating directions with the shifts of [Wachspress2013]_: of the solution, which
has low rank, only the products with all :math:`v_c` are formed.  With
:math:`r(t) = \prod_j (p_j - t)/(p_j + t)` these steps leave :math:`r(T)(Y - Y_0)r(T)`, and
([BeckermannTownsend2017]_, corollary 3.2)

.. math::
    \max |r|^2 \le 4 \exp\bigl(-\pi^2 J / \log(4\kappa)\bigr),

so that ``J``, some 40 at :math:`\kappa = 10^4`, follows from the condition number.

**The equation of D**, twice, column by column of blocks: with the eigenvectors of one block on the
right, each of its eigenvalues leaves a tridiagonal system on the left, whose solution takes some
ten operations for each entry.  With ``k`` blocks the products with eigenvectors take
:math:`2 (k + 1) n^3 / k^2` operations, and all the rest grows like :math:`n^2`.

**Rounding.**  A solution has an error that the condition number enlarges, but a small defect.  The
images of the computed ``Y`` therefore differ from the computed :math:`z_c` by such errors
:math:`g_c`, which leave the defect :math:`\sum_c |t_c|(v_c g_c^T + g_c v_c^T)`: where that is more
than rounding, the same steps solve for it, and their solution is added.
``tests/lyapunov/test_tridiagonal.py`` measures defects on every kind of spectrum.

Not here: how a matrix becomes tridiagonal (:mod:`fracsde.lyapunov.tridiagonal`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from fracsde.lyapunov.alternating import alternating, shifted_solves
from fracsde.lyapunov.blas import subtract_product
from fracsde.lyapunov.lowrank import poles
from fracsde.lyapunov.rounding import EPS

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray

__all__ = ["solve_tridiagonal"]

# Operations of a product that cost as much as the eigenvectors of a block, over the square of its
# rows, and as much as one cut, over the number of all rows.
_EIGENVECTORS = 2e3
_CUT = 3e4


@dataclass(frozen=True, kw_only=True, eq=False)
class _Block:
    # Columns `start` to `stop` of the equation of D, from the diagonal on.
    start: int
    stop: int
    values: FloatArray  # of this block of D
    basis: FloatArray
    diagonal: FloatArray  # of D from `start` on
    beside: FloatArray
    right: FloatArray  # side of the equation in this basis, (n - start, stop - start)
    ends: FloatArray  # all v_c in this basis

    def solved(self, columns: FloatArray) -> FloatArray:
        # In place.
        shifted_solves(self.diagonal, self.beside, self.values, columns)
        return columns


def solve_tridiagonal(
    diagonal: FloatArray, beside: FloatArray, low: float, high: float, X: FloatArray
) -> None:
    """Overwrite ``X`` by the solution of ``T Y + Y T = X``.

    Parameters
    ----------
    diagonal, beside : (n,), (n - 1,) float64
        Of the positive definite ``T``.
    low, high : float
        Its extreme eigenvalues.
    X : (n, n) float64
        Symmetric, in the order of Fortran; only its lower triangle is read, and holds the solution
        afterwards, while the upper one holds nothing of use.
    """
    cuts = _cuts(len(X))
    signs, weights = -np.sign(beside[cuts - 1]), np.abs(beside[cuts - 1])
    across = np.zeros((len(X), len(cuts)))  # all v_c
    across[cuts - 1, range(len(cuts))], across[cuts, range(len(cuts))] = 1.0, signs
    blocks = _blocks(diagonal, beside, cuts, across, X)
    count = math.ceil(math.log(4.0 * high / low) * math.log(4.0 / EPS) / math.pi**2)
    shifts = poles(low, high, np.inf, count)

    def summed(images: FloatArray) -> FloatArray:
        # From all y_c to z_c.
        columns = np.hstack([across, images])
        steps = alternating(diagonal, beside, shifts, columns, weights)
        left, right = (step.reshape(-1, len(X)) for step in steps)
        images = images + left.T @ (right[:, cuts - 1] + signs * right[:, cuts])
        images += right.T @ (left[:, cuts - 1] + signs * left[:, cuts])
        return images

    images, square = summed(_images(blocks, across)), 0.0
    pairs = np.hstack([weights * images, across])
    for block in blocks:
        columns = block.solved(_add_pairs(block, pairs, block.right))
        square += float(np.linalg.norm(columns)) ** 2
        np.matmul(block.basis, columns.T, out=X[block.start :, block.start : block.stop].T)
    gap = _columns(X, cuts - 1) + signs * _columns(X, cuts) - images
    if np.linalg.norm(weights * gap) > EPS * high * math.sqrt(square):
        pairs = np.hstack([weights * summed(gap), across])
        for block in blocks:
            columns = block.solved(_add_pairs(block, pairs, np.zeros(block.right.shape)))
            X[block.start :, block.start : block.stop] += columns @ block.basis.T


def _cuts(n: int) -> IntArray:
    # As many blocks as make their eigenvectors, products with them and steps for cuts cheapest.
    cost = {
        k: 2.0 * (k + 1) * n / k**2 + _EIGENVECTORS / k + _CUT * k / n for k in range(2, n // 32)
    }
    blocks = min(cost, key=cost.__getitem__)
    return np.asarray([n * b // blocks for b in range(1, blocks)])


def _blocks(
    diagonal: FloatArray, beside: FloatArray, cuts: IntArray, across: FloatArray, X: FloatArray
) -> list[_Block]:
    weights = np.abs(beside[cuts - 1])
    diagonal, beside = diagonal.copy(), beside.copy()
    diagonal[cuts - 1] += weights
    diagonal[cuts] += weights
    beside[cuts - 1] = 0.0
    out = []
    for start, stop in pairwise([0, *cuts.tolist(), len(X)]):
        values, basis = scipy.linalg.eigh_tridiagonal(
            diagonal[start:stop], beside[start : stop - 1], check_finite=False
        )
        corner = X[start:stop, start:stop]
        corner[:] = np.tril(corner) + np.tril(corner, -1).T
        block = _Block(
            start=start,
            stop=stop,
            values=values,
            basis=basis,
            diagonal=diagonal[start:],
            beside=beside[start:],
            right=X[start:, start:stop] @ basis,
            ends=basis.T @ across[start:stop],
        )
        out.append(block)
    return out


def _images(blocks: list[_Block], across: FloatArray) -> FloatArray:
    # All Y_0 v_c, from the columns of Y_0 in the bases of their blocks and their mirror image.
    images = np.zeros(across.shape)
    for block in blocks:
        start, stop = block.start, block.stop
        columns = block.solved(block.right.copy())
        images[start:] += columns @ block.ends
        images[start:stop] += block.basis @ (columns[stop - start :].T @ across[stop:])
    return images


def _add_pairs(block: _Block, pairs: FloatArray, right: FloatArray) -> FloatArray:
    # In place the sum over all cuts, from |t_c| z_c and v_c side by side.
    count = pairs.shape[1] // 2
    images = block.basis.T @ pairs[block.start : block.stop, :count]
    factors = -np.hstack([block.ends, images])
    subtract_product(right.T, np.asfortranarray(factors), pairs[block.start :].T)
    return right


def _columns(X: FloatArray, chosen: IntArray) -> FloatArray:
    # Of a matrix whose lower triangle counts.
    return np.column_stack([np.concatenate([X[k, :k], X[k:, k]]) for k in chosen])

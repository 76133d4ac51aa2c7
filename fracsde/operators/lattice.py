r"""A full diffusion matrix in the plane as jumps along three lattice directions.

On equal cells of widths :math:`h = (h_x, h_y)` a positive definite matrix is, in units of cells, a
sum of three squares with integer vectors and weights that are never negative [Selling1874]_,

.. math::
    H^{-1} D H^{-1} = \sum_{k=1}^{3} w_k\, e_k e_k^T, \qquad H = \mathrm{diag}(h), \quad w_k \ge 0 .

Mass jumps from a cell to the one at :math:`e_k` at rate :math:`w_k B(\delta_k)` and back at
:math:`w_k B(-\delta_k)`.  Jumps by :math:`\pm e_k` drift by :math:`-w_k \delta_k H e_k` together,
since :math:`B(-z) - B(z) = z`, and spread by :math:`2 w_k H e_k e_k^T H` to second order; so with

.. math::
    \delta_k = -\int (D^{-1} b) \cdot dl \quad\text{along the jump}, \qquad b = F - \nabla V ,

the drift is :math:`\sum_k w_k\, H e_k\, (e_k^T H D^{-1} b) = D D^{-1} b = b`, as it should be.
Rates are never negative, whatever the matrix and the drift: mass and positivity are kept.  Where
:math:`D^{-1} b = -\nabla U` the tilts are differences of ``U``, the chain has detailed balance and
:math:`e^{-U}` at the centres is its exact equilibrium.  In general, and already for
:math:`b = -\nabla V` with unequal eigenvalues of ``D``, the equilibrium carries a current and is
not known in closed form.

The integrand is a directional derivative of ``V`` along :math:`D^{-1} H e_k`, taken by five-point
differences over one cell, and integrated by Simpson's rule: both are exact for quadratic
potentials, the Ornstein-Uhlenbeck case.

At a reflecting wall jumps that would leave are left out, at an absorbing one mass leaves at
:math:`w_k B(s \delta_k) / s` where the wall cuts the jump at the share ``s``.  The first is only of
order one in the width where the density is not small at a wall to which the matrix is oblique;
everywhere else the order is two.  ``tests/operators/test_tensor.py`` measures both.

Not here: diffusion along the axes (:mod:`fracsde.operators.tensor_rates`).

References: [Selling1874]_, [FehrenbachMirebeau2014]_ for the use in schemes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import GridError, UnsupportedError
from fracsde.operators.bernoulli import bernoulli
from fracsde.operators.tensor_rates import Bond

if TYPE_CHECKING:
    from fracsde._typing import BoolArray, FloatArray, IntArray
    from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["lattice_bonds", "selling"]

_LONGEST = 0.25  # a lattice vector as a share of the grid: longer ones do not see the density
_STEPS = 200  # of the reduction; each lowers the trace, and the last is found in a few


def selling(matrix: FloatArray) -> list[tuple[float, tuple[int, int]]]:
    """Return weights and integer vectors whose squares add up to a matrix.

    Parameters
    ----------
    matrix : (2, 2) float64
        Symmetric and positive definite.

    Returns
    -------
    list of (float, (int, int))
        At most three, with positive weights.

    Examples
    --------
    >>> selling(np.array([[2.0, 1.0], [1.0, 2.0]]))
    [(1.0, (1, 0)), (1.0, (0, 1)), (1.0, (1, 1))]
    """
    M = np.asarray(matrix, dtype=np.float64)
    base = [np.array([1, 0]), np.array([0, 1]), np.array([-1, -1])]
    for _ in range(_STEPS):
        products = [float(base[(k + 1) % 3] @ M @ base[(k + 2) % 3]) for k in range(3)]
        k = int(np.argmax(products))
        if products[k] <= 1e-15 * float(np.trace(M)):
            break
        # The two vectors at an acute angle: turn one of them round.
        a, b = base[(k + 1) % 3], base[(k + 2) % 3]
        base = [-a, b, a - b]
    found = []
    for k in range(3):
        weight = -float(base[(k + 1) % 3] @ M @ base[(k + 2) % 3])
        across = (-int(base[k][1]), int(base[k][0]))
        if across < (0, 0):
            across = (-across[0], -across[1])
        if weight > 1e-15 * float(np.trace(M)):
            found.append((weight, across))
    return sorted(found, key=lambda term: (sum(abs(i) for i in term[1]), term[1][::-1]))


def lattice_bonds(problem: FokkerPlanck, edges: tuple[FloatArray, ...]) -> tuple[Bond, ...]:
    """Return the jumps of a problem with a full diffusion matrix.

    Parameters
    ----------
    problem : FokkerPlanck
        In the plane.
    edges : tuple of two (n + 1,) float64 [x]
        Edges of equal cells.

    Returns
    -------
    tuple of Bond

    Raises
    ------
    UnsupportedError
        If cells are not equal along an axis.
    GridError
        If the cells are so oblong that jumps span a quarter of the grid.
    """
    h = np.array([float(np.mean(np.diff(e))) for e in edges])
    for axis, e in enumerate(edges):
        if np.abs(np.diff(e) - h[axis]).max() > 1e-10 * h[axis]:
            msg = (
                f"`grid` has unequal cells along axis {axis}: a full diffusion matrix needs equal "
                "ones, on which its lattice directions exist; use FiniteVolume(cells=...)"
            )
            raise UnsupportedError(msg)
    D = problem.tensor
    assert D is not None
    shape = tuple(len(e) - 1 for e in edges)
    terms = selling(D / np.multiply.outer(h, h))
    longest = max(abs(i) / n for _, offset in terms for i, n in zip(offset, shape, strict=True))
    if longest > _LONGEST:
        # Cells as oblong as the ellipse of the matrix make the vectors short.
        ratio = float(np.sqrt(D[0, 0] / D[1, 1]))
        msg = (
            f"`diffusion` is so oblong on cells of {h[0]:.3g} x {h[1]:.3g} that its lattice "
            f"directions span {longest:.0%} of the grid; make cells with width over height near "
            f"{ratio:.3g}, or use more of them"
        )
        raise GridError(msg)
    path = _Path(problem, edges, h, np.asarray(np.linalg.inv(D)))
    return tuple(path.bond(weight, offset) for weight, offset in terms)


class _Path:
    # Tilts along straight jumps between centres.

    def __init__(
        self,
        problem: FokkerPlanck,
        edges: tuple[FloatArray, ...],
        h: FloatArray,
        inverse: FloatArray,
    ) -> None:
        self.problem, self.h, self.inverse = problem, h, inverse
        self.lengths = tuple(len(e) - 1 for e in edges)
        self.low = np.array([e[0] for e in edges])
        self.centres = tuple(0.5 * (e[1:] + e[:-1]) for e in edges)

    def bond(self, weight: float, offset: tuple[int, int]) -> Bond:
        """Jumps by an offset and back."""
        shape, zero = self.lengths, np.zeros(self.lengths)
        onward, back, lost, tilt = zero, zero.copy(), zero.copy(), zero.copy()
        i, j = (index.ravel() for index in np.indices(shape))
        to = np.array([i + offset[0], j + offset[1]])
        share, wall = self._cut(np.array([i, j]), offset)
        inside = share >= 1.0
        if np.any(inside):
            a = (i[inside], j[inside])
            b = tuple(to[k][inside] % shape[k] for k in range(2))
            drop = self._tilt(a, offset, 1.0)
            onward[a], tilt[a] = weight * bernoulli(drop), drop
            back[b] = weight * bernoulli(-drop)
        for sign in (1, -1):
            turned = (sign * offset[0], sign * offset[1])
            share, wall = (share, wall) if sign == 1 else self._cut(np.array([i, j]), turned)
            out = (share < 1.0) & wall
            if np.any(out):
                a = (i[out], j[out])
                s = share[out]
                lost[a] += weight * bernoulli(self._tilt(a, turned, s)) / s
        return Bond(offset=offset, onward=onward, back=back, lost=lost, tilt=tilt)

    def _cut(self, index: IntArray, offset: tuple[int, int]) -> tuple[FloatArray, BoolArray]:
        # The share of a jump at which it meets the first wall, and whether that one absorbs.
        share, absorbs = np.full(index.shape[1], np.inf), np.zeros(index.shape[1], dtype=bool)
        for k, step in enumerate(offset):
            if step == 0 or self.problem.walls[k][0] == "periodic":
                continue
            room = (self.lengths[k] - index[k] if step > 0 else index[k] + 1) - 0.5
            mine = room / abs(step)
            first = mine < share
            share = np.where(first, mine, share)
            absorbs = np.where(first, self.problem.walls[k][step > 0] == "absorbing", absorbs)
        return share, absorbs

    def _tilt(
        self, start: tuple[IntArray, ...], offset: tuple[int, int], share: FloatArray | float
    ) -> FloatArray:
        # Minus the integral of (D^-1 b) . dl over a share of the jump, by Simpson's rule.
        jump = self.h * np.array(offset)
        way = self.inverse @ jump
        x = [self.centres[k][start[k]] for k in range(2)]
        total = np.zeros(len(x[0]))
        for s, part in ((0.0, 1.0), (0.5, 4.0), (1.0, 1.0)):
            here = [x[k] + s * share * jump[k] for k in range(2)]
            total += part / 6.0 * self._slope(here, way)
        return np.asarray(share * total)

    def _slope(self, x: list[FloatArray], way: FloatArray) -> FloatArray:
        # (grad V - F) . way at points; differences reach half a cell.
        found = np.zeros(len(x[0]))
        if self.problem.potential is not None:
            step = 0.25 / float(np.max(np.abs(way) / self.h))
            for k, part in ((1, 8.0), (2, -1.0)):
                ahead = self._potential(x, k * step * way)
                behind = self._potential(x, -k * step * way)
                found += part * (ahead - behind) / (12.0 * step)
        if self.problem.force is not None:
            force = self.problem.force_at(*self._inside(x))
            found -= way[0] * force[0] + way[1] * force[1]
        return found

    def _potential(self, x: list[FloatArray], shift: FloatArray) -> FloatArray:
        return self.problem.potential_at(
            *self._inside([c + s for c, s in zip(x, shift, strict=True)])
        )

    def _inside(self, x: list[FloatArray]) -> list[FloatArray]:
        # Round the ring along periodic axes; at walls rounding may lead outside.
        found = []
        for k, c in enumerate(x):
            length = self.lengths[k] * self.h[k]
            if self.problem.walls[k][0] == "periodic":
                found.append(self.low[k] + (c - self.low[k]) % length)
            else:
                found.append(np.clip(c, self.low[k], self.low[k] + length))
        return found

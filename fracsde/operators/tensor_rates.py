r"""Jump rates between the cells of a tensor grid, axis by axis.

Across a face with normal along axis ``k``, between centres a distance :math:`d` apart, the flux
density is the one of a line,

.. math::
    J = \frac{D_k}{d}\bigl[ B(\delta)\, p_i - B(-\delta)\, p_j \bigr], \qquad
    \delta = \frac{V_j - V_i - \int F_k\,dx_k}{D_k}, \qquad B(z) = \frac{z}{e^z - 1} ,

with :math:`D_k` and the force of the face's own place.  Faces are as large as both cells are
across, so that masses jump at rates :math:`D_k B(\delta) / (d\, h_i)` and
:math:`D_k B(-\delta) / (d\, h_j)` with the widths along the axis alone.

Not here: what is done with the rates (:mod:`fracsde.operators.tensor`), diffusion that mixes
axes (:mod:`fracsde.operators.lattice`), the line (:mod:`fracsde.operators.finite_volume`).

Reference: [ScharfetterGummel1969]_.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde.operators.bernoulli import bernoulli
from fracsde.problems.geometry import open_mesh

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["Bond", "axis_bond"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Bond:
    """Jumps by one lattice vector, from every cell of a grid.

    Parameters
    ----------
    offset : tuple of int
        To the cell that is jumped to, in cells along each axis.
    onward, back : ndarray of float64 [1/t]
        Of the grid's shape: rates from each cell by ``offset``, and by its opposite; zero where
        there is no such cell.
    lost : ndarray of float64 [1/t]
        Rates at which cells lose mass to absorbing walls this way.
    tilt : ndarray of float64 [1]
        ``delta`` from each cell to the next; zero where there is none.
    """

    offset: tuple[int, ...]
    onward: FloatArray
    back: FloatArray
    lost: FloatArray
    tilt: FloatArray


def axis_bond(
    problem: FokkerPlanck,
    edges: tuple[FloatArray, ...],
    axis: int,
    V: FloatArray,
    force: FloatArray | None,
) -> Bond:
    """Return the jumps along one axis.

    Parameters
    ----------
    problem : FokkerPlanck
        Without a full diffusion matrix.
    edges : tuple of (n + 1,) float64 [x]
        Cell edges along each axis.
    axis : int
        Which axis.
    V : ndarray of float64 [x^2/t]
        The potential at the centres, of the grid's shape.
    force : ndarray of float64 [x/t] or None
        The force's component along the axis at the centres, ``None`` where there is no force.

    Returns
    -------
    Bond
    """
    line = _Line(problem, edges, axis, force)
    x, e = line.centres, edges[axis]
    h = np.diff(e).reshape((-1,) + (1,) * (V.ndim - 1))
    V = np.moveaxis(V, axis, 0)
    onward, back, lost, tilt = (np.zeros(V.shape) for _ in range(4))
    gap = np.diff(x).reshape((-1,) + (1,) * (V.ndim - 1))

    D = line.diffusion(e[1:-1])
    tilt[:-1] = (np.diff(V, axis=0) - line.work(x[:-1], x[1:])) / D
    onward[:-1] = D * bernoulli(tilt[:-1]) / (gap * h[:-1])
    back[1:] = D * bernoulli(-tilt[:-1]) / (gap * h[1:])
    walls = problem.walls[axis]
    if walls[0] == "periodic":
        D = line.diffusion(e[:1])
        seam = 0.5 * (h[-1:] + h[:1])
        work = line.work(x[-1:], e[-1:]) + line.work(e[:1], x[:1])
        tilt[-1:] = (V[:1] - V[-1:] - work) / D
        onward[-1:] = D * bernoulli(tilt[-1:]) / (seam * h[-1:])
        back[:1] = D * bernoulli(-tilt[-1:]) / (seam * h[:1])
    for side, outward in ((0, -1.0), (-1, 1.0)):
        if walls[side] == "absorbing":
            here = slice(side, side + 1 or None)
            wall, cell = e[here], x[here]
            D = line.diffusion(wall)
            rise = line.potential(wall) - V[here]
            drop = (rise - line.work(cell, wall)) / D
            lost[here] += D * bernoulli(drop) / (outward * (wall - cell) * h[here])
    offset = tuple(int(k == axis) for k in range(V.ndim))
    back_in_place = (
        np.ascontiguousarray(np.moveaxis(a, 0, axis)) for a in (onward, back, lost, tilt)
    )
    return Bond(
        **dict(zip(("onward", "back", "lost", "tilt"), back_in_place, strict=True)), offset=offset
    )


class _Line:
    # Coefficients along one axis, which comes first in everything returned.

    def __init__(
        self,
        problem: FokkerPlanck,
        edges: tuple[FloatArray, ...],
        axis: int,
        force: FloatArray | None,
    ) -> None:
        self.problem, self.axis = problem, axis
        self.all = [0.5 * (e[1:] + e[:-1]) for e in edges]
        self.centres = self.all[axis]
        self.force = None if force is None else np.moveaxis(force, axis, 0)

    def _mesh(self, points: FloatArray) -> tuple[FloatArray, ...]:
        axes = list(self.all)
        axes[self.axis] = points
        return open_mesh(tuple(axes))

    def diffusion(self, points: FloatArray) -> FloatArray:
        return np.moveaxis(self.problem.diffusion_at(*self._mesh(points))[self.axis], self.axis, 0)

    def potential(self, points: FloatArray) -> FloatArray:
        return np.moveaxis(self.problem.potential_at(*self._mesh(points)), self.axis, 0)

    def _force(self, points: FloatArray) -> FloatArray:
        return np.moveaxis(self.problem.force_at(*self._mesh(points))[self.axis], self.axis, 0)

    def work(self, a: FloatArray, b: FloatArray) -> FloatArray | float:
        """Integrate the force from ``a`` to ``b`` by Simpson's rule."""
        if self.force is None:
            return 0.0
        gap = (b - a).reshape((-1,) + (1,) * (len(self.all) - 1))
        ends = self._at(a) + self._at(b)
        return np.asarray(gap * (ends + 4.0 * self._force(0.5 * (a + b))) / 6.0)

    def _at(self, points: FloatArray) -> FloatArray:
        # What is known at the centres is not asked for again.
        assert self.force is not None
        n = len(self.centres)
        for part in (slice(0, n - 1), slice(1, n), slice(0, 1), slice(n - 1, n)):
            if np.array_equal(self.centres[part], points):
                return self.force[part]
        return self._force(points)

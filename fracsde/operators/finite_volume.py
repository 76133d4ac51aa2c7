r"""Scharfetter-Gummel finite volumes.

Between neighbouring centres a distance :math:`d` apart the flux is

.. math::
    J_{i+1/2} = \frac{D}{d}\bigl[ B(\delta)\, p_i - B(-\delta)\, p_{i+1} \bigr], \qquad
    \delta = \frac{V_{i+1} - V_i - \int F\,dx}{D}, \qquad
    B(z) = \frac{z}{e^z - 1},

exact for constant flux.  Cell masses :math:`m_i = h_i p_i` then follow a Markov chain with jump
rates ``right[i] = D B(delta) / (d h_i)`` and ``left[i + 1] = D B(-delta) / (d h_{i+1})``, both
positive, and lose mass at rates ``loss[i]`` to absorbing walls and to reaction.

======================  ==================================================================
order                   2 in the cell width, for smooth densities
mass                    columns sum to ``-loss``: kept to rounding where nothing is lost
equilibrium             exactly ``exp(-V/D)`` at the centres for constant ``D``, no force
positivity              rates are never negative, on every mesh and for every drift
cost                    O(n)
======================  ==================================================================

``tests/operators/test_finite_volume.py`` measures the table.  An absorbing wall stands at the
outer cell edge, half a cell from the last centre.  Potentials enter by exact differences, the
force by Simpson's rule over the gap, the diffusion by its value on the face.

On tensor grids in the plane and in space the same flux stands on every face
(:mod:`fracsde.operators.tensor_rates`).

Not here: what is done with the chain (:mod:`fracsde.operators.chain`,
:mod:`fracsde.operators.tensor`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import node_count
from fracsde.errors import GridError, InputError, NotFiniteError, ShapeError, UnsupportedError
from fracsde.grids import SpaceGrid
from fracsde.operators.bernoulli import bernoulli
from fracsde.operators.chain import CellChain
from fracsde.operators.lattice import lattice_bonds
from fracsde.operators.tensor import TensorCells
from fracsde.operators.tensor_rates import axis_bond
from fracsde.problems.fokker_planck import require_line
from fracsde.problems.geometry import open_mesh

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.operators.tensor_rates import Bond
    from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["FiniteVolume", "bernoulli"]

_MOST = 2**24  # cells


@dataclass(frozen=True, kw_only=True)
class FiniteVolume:
    """Scharfetter-Gummel cells.

    Parameters
    ----------
    cells : int or tuple of int
        Number of equal cells along every axis, or along each; at least 3.
    grid : SpaceGrid, optional
        Cells of given edges instead; a finite domain they must fill.

    References
    ----------
    [ScharfetterGummel1969]_

    Examples
    --------
    >>> from fracsde.problems.fokker_planck import FokkerPlanck
    >>> problem = FokkerPlanck(potential=lambda x: 3 * x, diffusion=1.0, domain=(0.0, 1.0),
    ...     initial=lambda x: 1 + 0 * x)
    >>> chain = FiniteVolume(cells=4).discretise(problem)
    >>> np.round(chain.stationary() / chain.stationary()[0], 12) == np.round(
    ...     np.exp(-3 * (chain.points - chain.points[0])), 12)
    array([ True,  True,  True,  True])
    """

    citation: ClassVar[tuple[str, ...]] = ("ScharfetterGummel1969",)

    cells: int | tuple[int, ...] = 512
    grid: SpaceGrid | None = None

    def __post_init__(self) -> None:
        cells: Any = self.cells
        if isinstance(cells, (tuple, list)) and len(cells):
            checked: Any = tuple(node_count(f"cells[{k}]", n, low=3) for k, n in enumerate(cells))
        else:
            checked = node_count("cells", cells, low=3)
        object.__setattr__(self, "cells", checked)
        grid: Any = self.grid
        if grid is not None and not isinstance(grid, SpaceGrid):
            msg = f"`grid` must be a SpaceGrid, got {type(grid).__name__}; SpaceGrid(edges=(x,))"
            raise InputError(msg)

    def edges(self, problem: FokkerPlanck) -> FloatArray:
        """Return the cell edges for a problem on a line.

        Parameters
        ----------
        problem : FokkerPlanck
            In one dimension.

        Returns
        -------
        (n + 1,) ndarray [x]
        """
        require_line(problem, "`edges`")
        return self.cells_of(problem).edges[0]

    def cells_of(self, problem: FokkerPlanck) -> SpaceGrid:
        """Return the cells for a problem.

        Parameters
        ----------
        problem : FokkerPlanck
            The problem.

        Returns
        -------
        SpaceGrid

        Raises
        ------
        GridError
            If a given grid does not fit the domain, or there are too many cells.
        ShapeError
            If there are not as many numbers of cells, or arrays of edges, as coordinates.
        """
        d = problem.dimension
        if self.grid is None:
            per_axis = (self.cells,) * d if isinstance(self.cells, int) else self.cells
            if len(per_axis) != d:
                msg = f"`cells` holds {len(per_axis)} numbers and the problem has {d} dimensions"
                raise ShapeError(msg)
            if d > 1 and np.prod(np.array(per_axis, dtype=np.float64)) > _MOST:
                msg = (
                    f"`cells` makes {'x'.join(map(str, per_axis))} cells, {_MOST} are served; name "
                    f"fewer, e.g. FiniteVolume(cells={(128, 48)[d - 2]})"
                )
                raise GridError(msg)
            return SpaceGrid.uniform(problem.boxes, per_axis)
        if self.grid.dimension != d:
            msg = (
                f"`grid` has {self.grid.dimension} dimensions and the problem {d}; pass one edge "
                "array per coordinate"
            )
            raise ShapeError(msg)
        for axis, (edges, domain) in enumerate(
            zip(self.grid.edges, problem.intervals, strict=True)
        ):
            for end, edge, inward in zip(domain, edges[[0, -1]], (1.0, -1.0), strict=True):
                gap = inward * (edge - end)
                slack = 1e-12 * (edges[-1] - edges[0])
                if (np.isfinite(end) and abs(gap) > slack) or gap < -slack:
                    where = "" if d == 1 else f" along axis {axis}"
                    msg = (
                        f"`grid` ends at {edge:g}{where} and the domain at {end:g}; cells must "
                        "fill a finite domain"
                    )
                    raise GridError(msg)
        return self.grid

    def discretise(self, problem: FokkerPlanck) -> Any:
        """Return the chain of cells for a problem.

        Parameters
        ----------
        problem : FokkerPlanck
            The problem.

        Returns
        -------
        CellChain or TensorCells
            The first on a line.

        Raises
        ------
        UnsupportedError
            If coefficients depend on time.
        """
        if problem.time_dependent:
            msg = (
                "`problem` has coefficients that depend on time: discretise those of one time, "
                "problem.frozen_at(t)"
            )
            raise UnsupportedError(msg)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore", under="ignore"):
            if problem.dimension == 1:
                chain = self._chain(problem)
                _refuse_overflow([chain.right, chain.left, chain.loss], float(chain.widths.min()))
                return chain
            grid = self.cells_of(problem)
            bonds, loss = _tensor_rates(problem, grid)
        rates = [loss, *(r for bond in bonds for r in (bond.onward, bond.back))]
        _refuse_overflow(rates, min(float(w.min()) for w in grid.widths))
        return TensorCells(edges=grid.edges, bonds=bonds, loss=loss, walls=problem.walls)

    def _chain(self, problem: FokkerPlanck) -> CellChain:
        edges = self.edges(problem)
        x, h = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
        V, F = problem.potential_at(x), problem.force_at(x)
        right, left, tilt = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
        loss = problem.reaction_at(x)

        gap = np.diff(x)
        work = _simpson(problem, x[:-1], x[1:], F[:-1], F[1:])
        D = problem.diffusion_at(edges[1:-1])
        tilt[:-1] = (np.diff(V) - work) / D
        right[:-1] = D * bernoulli(tilt[:-1]) / (gap * h[:-1])
        left[1:] = D * bernoulli(-tilt[:-1]) / (gap * h[1:])
        ends = edges[[0, -1]]
        if problem.periodic:
            D = problem.diffusion_at(ends)[:1]
            gap = 0.5 * (h[-1:] + h[:1])
            rims = problem.force_at(ends)
            work = _simpson(problem, x[-1:], ends[1:], F[-1:], rims[1:])
            work += _simpson(problem, ends[:1], x[:1], rims[:1], F[:1])
            tilt[-1:] = (V[:1] - V[-1:] - work) / D
            right[-1:] = D * bernoulli(tilt[-1:]) / (gap * h[-1:])
            left[:1] = D * bernoulli(-tilt[-1:]) / (gap * h[:1])
        for side, outward in ((0, -1.0), (-1, 1.0)):
            if problem.boundary[side] == "absorbing":
                wall, cell = ends[side : side + 1 or None], x[side : side + 1 or None]
                work = _simpson(
                    problem, cell, wall, F[side : side + 1 or None], problem.force_at(wall)
                )
                D = problem.diffusion_at(wall)
                rise = problem.potential_at(wall) - V[side]
                rate = D * bernoulli((rise - work) / D) / (outward * (wall - cell) * h[side])
                loss[side] += rate[0]
        return CellChain(
            edges=edges, right=right, left=left, loss=loss, tilt=tilt, periodic=problem.periodic
        )


def _refuse_overflow(rates: list[FloatArray], width: float) -> None:
    if not all(np.all(np.isfinite(r)) for r in rates):
        msg = (
            f"jump rates between cells of width {width:g} overflow; change the units of x, or use "
            "fewer cells"
        )
        raise NotFiniteError(msg)


def _tensor_rates(problem: FokkerPlanck, grid: SpaceGrid) -> tuple[tuple[Bond, ...], FloatArray]:
    # Jumps along each lattice vector, and losses to walls and reaction.
    mesh = open_mesh(grid.centres)
    loss = problem.reaction_at(*mesh)
    if np.ndim(problem.diffusion) == 2:
        bonds = lattice_bonds(problem, grid.edges)
    else:
        V = problem.potential_at(*mesh)
        force = (None,) * len(mesh) if problem.force is None else problem.force_at(*mesh)
        bonds = tuple(
            axis_bond(problem, grid.edges, axis, V, component)
            for axis, component in enumerate(force)
        )
    for bond in bonds:
        loss = loss + bond.lost
    return bonds, loss


def _simpson(
    problem: FokkerPlanck, a: FloatArray, b: FloatArray, at_a: FloatArray, at_b: FloatArray
) -> FloatArray:
    # The integral of the force from a to b.
    middle = problem.force_at(0.5 * (a + b))
    return np.asarray((b - a) * (at_a + 4.0 * middle + at_b) / 6.0)

r"""Scharfetter-Gummel finite volumes in one dimension.

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

Not here: what is done with the chain (:mod:`fracsde.operators.chain`), more dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import integer
from fracsde.errors import GridError, InputError, NotFiniteError, UnsupportedError
from fracsde.grids import SpaceGrid
from fracsde.operators.chain import CellChain
from fracsde.problems.fokker_planck import require_line

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["FiniteVolume", "bernoulli"]


def bernoulli(z: FloatArray) -> FloatArray:
    """Return ``z / (exp(z) - 1)``: 1 at zero, 0 far to the right, ``-z`` far to the left.

    Returns
    -------
    ndarray of float64
        Positive, to a few rounding errors relatively; zero beyond ``z = 709``.

    Examples
    --------
    >>> bernoulli(np.array([-800.0, 0.0, 800.0]))
    array([800.,   1.,   0.])
    """
    z = np.asarray(z, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        return np.where(z == 0.0, 1.0, z / np.expm1(z))


@dataclass(frozen=True, kw_only=True)
class FiniteVolume:
    """Scharfetter-Gummel cells.

    Parameters
    ----------
    cells : int
        Number of equal cells, at least 3.
    grid : SpaceGrid, optional
        Cells of given edges instead; on a finite domain they must fill it.

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

    cells: int = 512
    grid: SpaceGrid | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", integer("cells", self.cells, low=3))
        grid: Any = self.grid
        if grid is not None and not isinstance(grid, SpaceGrid):
            msg = f"`grid` must be a SpaceGrid, got {type(grid).__name__}; SpaceGrid(edges=(x,))"
            raise InputError(msg)

    def edges(self, problem: FokkerPlanck) -> FloatArray:
        """Return the cell edges for a problem.

        Returns
        -------
        (n + 1,) ndarray [x]

        Raises
        ------
        GridError
            If a given grid does not fit the domain.
        UnsupportedError
            If a given grid has more than one dimension.
        """
        require_line(problem, "`FiniteVolume`")
        if self.grid is None:
            return SpaceGrid.uniform(problem.box, self.cells).edges[0]
        if self.grid.dimension != 1:
            msg = f"`grid` has {self.grid.dimension} dimensions, one is served; pass one edge array"
            raise UnsupportedError(msg)
        edges = self.grid.edges[0]
        for end, edge, inward in zip(problem.domain, edges[[0, -1]], (1.0, -1.0), strict=True):
            gap = inward * (edge - end)
            slack = 1e-12 * (edges[-1] - edges[0])
            if (np.isfinite(end) and abs(gap) > slack) or gap < -slack:
                msg = (
                    f"`grid` ends at {edge:g} and the domain at {end:g}; cells must fill a finite "
                    "domain"
                )
                raise GridError(msg)
        return edges

    def discretise(self, problem: FokkerPlanck) -> CellChain:
        """Return the chain of cells for a problem.

        Parameters
        ----------
        problem : FokkerPlanck
            The problem.

        Returns
        -------
        CellChain

        Raises
        ------
        NotFiniteError
            If a rate between cells overflows.
        """
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            chain = self._chain(problem)
        if not all(np.all(np.isfinite(r)) for r in (chain.right, chain.left, chain.loss)):
            msg = (
                f"jump rates between cells of width {chain.widths.min():g} overflow; change the "
                "units of x, or use fewer cells"
            )
            raise NotFiniteError(msg)
        return chain

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


def _simpson(
    problem: FokkerPlanck, a: FloatArray, b: FloatArray, at_a: FloatArray, at_b: FloatArray
) -> FloatArray:
    # The integral of the force from a to b.
    middle = problem.force_at(0.5 * (a + b))
    return np.asarray((b - a) * (at_a + 4.0 * middle + at_b) / 6.0)

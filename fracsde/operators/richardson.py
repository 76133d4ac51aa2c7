r"""Two Scharfetter-Gummel grids, extrapolated to fourth order.

Cells cut in three keep their centres, so that two solutions stand side by side at the centres of
the coarse one.  Both err by :math:`c h^2 + O(h^4)` with the same :math:`c`, and

.. math::
    p = \frac{9\, p_{h/3} - p_h}{8}

errs by :math:`O(h^4)`.  The price is positivity, which a difference cannot promise, and the exact
discrete equilibrium.

======================  ==================================================================
order                   4 in the cell width, for smooth densities and starts
mass                    kept to the order of the quadrature, 4 (exact on the line)
positivity              not promised
cost                    that of both grids, four times the coarse one
======================  ==================================================================

``tests/operators/test_richardson.py`` measures the table.  Where the density is not smooth, as at
a point mass, whose cusp stays for all times when ``alpha < 1``, the order is lost.

Not here: the solutions themselves (:mod:`fracsde.solve`).

References: [RichardsonGaunt1927]_, [ScharfetterGummel1969]_.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.interpolate import make_interp_spline

from fracsde._check import node_count
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import require_line

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.operators.chain import CellChain
    from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["ExtrapolatedCells", "Richardson"]

# Midpoint sums with these end weights integrate to fourth order: the first Euler-Maclaurin term,
# h^2/24 [f'(b) - f'(a)], with derivatives at the walls from the three nearest centres.
_END_WEIGHTS = np.array([26.0, 21.0, 25.0]) / 24.0
_FEWEST = 6  # cells, so that the end weights of both sides do not meet


@dataclass(frozen=True, kw_only=True)
class Richardson:
    """A pair of equal-cell grids, extrapolated.

    Parameters
    ----------
    cells : int
        Of the coarse grid, at least 6; the fine one has three times as many.

    References
    ----------
    [RichardsonGaunt1927]_

    Examples
    --------
    >>> Richardson(cells=81).pair()
    (FiniteVolume(cells=81, grid=None), FiniteVolume(cells=243, grid=None))
    """

    citation: ClassVar[tuple[str, ...]] = ("RichardsonGaunt1927", "ScharfetterGummel1969")

    cells: int = 171

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", node_count("cells", self.cells, low=_FEWEST))

    def pair(self) -> tuple[FiniteVolume, FiniteVolume]:
        """Return the coarse and the fine grid.

        Returns
        -------
        tuple of FiniteVolume
        """
        return FiniteVolume(cells=self.cells), FiniteVolume(cells=3 * self.cells)

    def discretise(self, problem: FokkerPlanck) -> ExtrapolatedCells:
        """Return both chains of a problem.

        Parameters
        ----------
        problem : FokkerPlanck
            The problem.

        Returns
        -------
        ExtrapolatedCells
        """
        require_line(problem, "`Richardson`")
        coarse, fine = (space.discretise(problem) for space in self.pair())
        return ExtrapolatedCells(coarse=coarse, fine=fine, problem=problem)


@dataclass(frozen=True, kw_only=True, eq=False)
class ExtrapolatedCells:
    """Two chains of cells, the second with every cell of the first cut in three.

    Parameters
    ----------
    coarse, fine : CellChain
        The chains.
    problem : FokkerPlanck
        What both discretise.
    """

    coarse: CellChain
    fine: CellChain
    problem: FokkerPlanck

    @property
    def points(self) -> FloatArray:
        """Centres of the coarse cells, ``(n,)`` [x]."""
        return self.coarse.points

    @property
    def axes(self) -> tuple[FloatArray, ...]:
        """The points, as one array per coordinate."""
        return (self.points,)

    @property
    def shape(self) -> tuple[int, ...]:
        """Their number, per coordinate."""
        return (len(self.points),)

    @property
    def widths(self) -> FloatArray:
        """Quadrature weights of fourth order, ``(n,)`` [x]."""
        weights = self.coarse.widths.copy()
        if not self.problem.periodic:
            weights[:3] *= _END_WEIGHTS
            weights[-3:] *= _END_WEIGHTS[::-1]
        return weights

    def combine(self, coarse: FloatArray, fine: FloatArray) -> FloatArray:
        """Extrapolate densities.

        Parameters
        ----------
        coarse : (t, n) float64 [1/x]
            On the coarse cells.
        fine : (t, 3 n) float64 [1/x]
            On the fine ones.

        Returns
        -------
        (t, n) ndarray [1/x]
            At the coarse centres.
        """
        middle = fine[..., 1::3]
        return np.asarray(middle + (middle - coarse) / 8.0)

    def interpolate(self, density: FloatArray, x: FloatArray) -> FloatArray:
        """Return densities between the centres, to fourth order.

        Parameters
        ----------
        density : (t, n) float64 [1/x]
            At the centres.
        x : array_like [x]
            Points of the domain; outside the box of an unbounded one the density is zero.

        Returns
        -------
        (t, *shape of x) ndarray [1/x]
        """
        nodes, values = self.points, density
        a, b = self.problem.box
        if self.problem.periodic:
            turn = b - a
            nodes = np.concatenate([nodes[-3:] - turn, nodes, nodes[:3] + turn])
            values = np.concatenate([values[:, -3:], values, values[:, :3]], axis=1)
        where = np.asarray(x, dtype=np.float64)
        spline = make_interp_spline(nodes, values, k=3, axis=1)
        inside = (where >= a) & (where <= b)
        return np.where(inside, spline(np.clip(where, a, b)), 0.0)

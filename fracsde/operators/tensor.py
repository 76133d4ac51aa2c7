r"""Cells of a tensor grid as a Markov chain, in two and three dimensions.

Cell masses :math:`m_i = |C_i|\, p_i` jump along a few lattice vectors :math:`e` and disappear:

.. math::
    \dot m_i = \sum_e \bigl( \mathrm{onward}^e_{i-e} m_{i-e} + \mathrm{back}^e_{i+e} m_{i+e}
               - (\mathrm{onward}^e_i + \mathrm{back}^e_i)\, m_i \bigr) - \mathrm{loss}_i\, m_i .

======================  ==================================================================
order                   2 in the cell widths, for smooth densities
mass                    columns sum to ``-loss``: kept to rounding where nothing is lost
equilibrium             exactly ``exp(-V/D)`` at the centres for constant scalar ``D``, no force
positivity              rates are never negative, on every grid and for every drift
memory                  20 numbers per cell in the plane, 26 in space
======================  ==================================================================

``tests/operators/test_tensor.py`` measures the table.  States are flat vectors in the order of
the grid, the last coordinate fastest.

Not here: where rates come from (:mod:`fracsde.operators.tensor_rates`,
:mod:`fracsde.operators.lattice`), how shifted systems are solved
(:mod:`fracsde.operators.shifted`), grids that fall apart into lines
(:mod:`fracsde.operators.separable`).
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import sparse

from fracsde._check import finite_array
from fracsde.errors import UnsupportedError
from fracsde.operators.base import Generator
from fracsde.operators.bernoulli import artificial_diffusion, finer_diffusion
from fracsde.operators.interpolation import between_tensor_cells
from fracsde.operators.separable import Lines, lines_of
from fracsde.operators.shifted import ShiftedSolver
from fracsde.problems.densities import tensor_masses

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.operators.tensor_rates import Bond
    from fracsde.problems.geometry import Walls

__all__ = ["TensorCells"]

_ROUNDING = 64.0 * float(np.finfo(np.float64).eps)
_SETTLED = 1e-13  # relative change at which the stationary state is found
_TURNS = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorCells(Generator):
    """A Markov chain of the cells of a tensor grid.

    Parameters
    ----------
    edges : tuple of (n + 1,) float64 [x]
        Cell edges along each axis.
    bonds : tuple of Bond
        Jumps along each lattice vector.
    loss : ndarray of float64 [1/t]
        Of the grid's shape: rates at which mass disappears.
    walls : tuple of (str, str)
        Of each axis.
    """

    citation: ClassVar[tuple[str, ...]] = ("ScharfetterGummel1969",)

    edges: tuple[FloatArray, ...]
    bonds: tuple[Bond, ...]
    loss: FloatArray
    walls: tuple[Walls, ...]
    _volumes: FloatArray = field(init=False)
    log_weight: FloatArray | None = field(init=False)
    """Logarithm of the equilibrium density, flat, where it carries no current; else ``None``."""
    lines: Lines | None = field(init=False)
    """The lines the grid falls apart into, if it does."""
    _solver: ShiftedSolver = field(init=False)
    _matrix: Any = field(init=False)

    def __post_init__(self) -> None:
        put: Any = object.__setattr__
        volumes = np.ones(())
        for e in self.edges:
            volumes = np.multiply.outer(volumes, np.diff(e))
        put(self, "_volumes", volumes.ravel())
        put(self, "log_weight", _log_weight(self.shape, self.bonds))
        put(self, "lines", lines_of(self.edges, self.bonds, self.loss, self.walls))
        put(self, "_matrix", _matrix(self.shape, self.bonds, self.loss))
        put(self, "_solver", ShiftedSolver(self._matrix, self.shape, self.lines, kept=1))

    def bare(self, *, rtol: float = 1e-12) -> TensorCells:
        """Return the same cells, which share all but the factorisations that solves keep.

        Parameters
        ----------
        rtol : float [1]
            Residual at which iterations end.

        Returns
        -------
        TensorCells
        """
        other, solver = copy(self), self.solver(rtol=rtol, kept=1)
        object.__setattr__(other, "_solver", solver)
        return other

    # --- the grid -----------------------------------------------------------------------------

    @property
    def axes(self) -> tuple[FloatArray, ...]:
        """Cell centres along each axis, ``(n_k,)`` [x]."""
        return tuple(0.5 * (e[1:] + e[:-1]) for e in self.edges)

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each axis."""
        return self.loss.shape

    @property
    def widths(self) -> FloatArray:
        """Volumes of the cells, ``(n,)`` [x^d]."""
        return self._volumes

    @property
    def points(self) -> FloatArray:
        """Cell centres, ``(n, d)`` [x]; ``axes`` holds them once per coordinate."""
        return np.stack([c.ravel() for c in np.meshgrid(*self.axes, indexing="ij")], axis=1)

    @property
    def conserves_mass(self) -> bool:
        """Whether no cell loses mass."""
        return not np.any(self.loss > 0)

    @property
    def detailed_balance(self) -> bool:
        """Whether the equilibrium carries no current: no closed path of jumps has a tilt."""
        return self.log_weight is not None

    def project(self, initial: Any) -> FloatArray:
        """Return the mass of an initial density in each cell, one in all.

        Parameters
        ----------
        initial : Gaussian, PointMass, callable or ndarray of the grid's shape
            The density [1/x^d].

        Returns
        -------
        (n,) ndarray [1]
            Not negative.
        """
        return tensor_masses(initial, self.edges).ravel()

    # --- the operator -------------------------------------------------------------------------

    def matrix(self) -> Any:
        """Return ``L``, acting on cell masses, as a sparse matrix that must not be written to.

        Returns
        -------
        (n, n) csr_array [1/t]
            Columns sum to ``-loss``; off the diagonal nothing is negative.
        """
        return self._matrix

    def apply_to_masses(self, m: FloatArray) -> FloatArray:
        """Return the rate of change of cell masses.

        Parameters
        ----------
        m : (..., n) float64 [1]
            Cell masses.

        Returns
        -------
        (..., n) ndarray [1/t]
        """
        flat = m.reshape(-1, m.shape[-1])
        return np.asarray((self._matrix @ flat.T).T.reshape(m.shape))

    def apply(self, p: FloatArray) -> FloatArray:
        """Return ``L p``.

        Returns
        -------
        (..., n) ndarray [1/(x^d t)]
        """
        return self.apply_to_masses(p * self.widths) / self.widths

    def solver(self, method: str = "auto", **options: Any) -> ShiftedSolver:
        """Return an object that solves shifted systems and keeps what it has factorised.

        Parameters
        ----------
        method, **options
            As of :class:`fracsde.operators.shifted.ShiftedSolver`.

        Returns
        -------
        ShiftedSolver
        """
        return ShiftedSolver(self._matrix, self.shape, self.lines, method=method, **options)

    def solve_shifted(self, shift: complex, rhs: FloatArray) -> FloatArray:
        """Return the solution ``p`` of ``(shift I - L) p = rhs``.

        The factorisation of the last shift is kept.

        Parameters
        ----------
        shift : float or complex [1/t]
            Off the spectrum of ``L``: a positive number, or a complex one.
        rhs : (n,) float64 or complex128 [1/(x^d t)]
            Right-hand side.

        Returns
        -------
        (n,) ndarray [1/x^d]
            Real where shift and right-hand side are.
        """
        rhs = np.asarray(rhs)
        if rhs.shape != self.widths.shape:
            finite_array("rhs", rhs.real, shape=self.widths.shape)  # raises, with the reason
        return np.asarray(self._solver.solve(shift, rhs * self.widths) / self.widths)

    def stationary(self) -> FloatArray:
        """Return the density that does not change, of mass one.

        Known where it carries no current; else by inverse iteration.

        Returns
        -------
        (n,) ndarray [1/x^d]

        Raises
        ------
        UnsupportedError
            If mass is lost, so that the only stationary density is zero.
        """
        if not self.conserves_mass:
            msg = (
                "`stationary` needs a chain that keeps its mass, this one loses some to absorbing "
                "walls or reaction; all of it is gone in the end"
            )
            raise UnsupportedError(msg)
        if self.log_weight is not None:
            p = np.exp(self.log_weight)
            return np.asarray(p / (p @ self.widths))
        shift = 1e-9 * float(np.abs(self._matrix.diagonal()).max())
        m = self.widths / self.widths.sum()
        solver = self.solver()
        for _ in range(_TURNS):
            before, m = m, np.maximum(solver.solve(shift, m), 0.0)
            m = m / m.sum()
            if np.abs(m - before).max() <= _SETTLED * m.max():
                break
        return np.asarray(m / self.widths)

    def smearing(self, masses: FloatArray, finer: float = 1.0) -> tuple[float, ...]:
        """Return the artificial diffusion of the fluxes, relative to the true one.

        Parameters
        ----------
        masses : (n,) float64 [1]
            Where to look.
        finer : float [1]
            Estimated for a grid of so many times as many cells along each axis.

        Returns
        -------
        tuple of float [1]
            For each axis, the mean over the masses; the largest of the jumps along it.
        """
        share = np.abs(masses) / max(float(np.abs(masses).sum()), 1e-300)
        found = np.zeros(len(self.shape))
        for bond in self.bonds:
            along = np.array(bond.offset) != 0
            extra = artificial_diffusion(bond.tilt)
            if finer > 1.0:
                before = np.roll(bond.tilt, bond.offset, axis=tuple(range(len(bond.offset))))
                extra = finer_diffusion(before, bond.tilt, finer)
            found[along] = np.maximum(found[along], share @ extra.ravel())
        return tuple(found.tolist())

    def interpolate(self, density: FloatArray, x: Any) -> FloatArray:
        """Return densities between the centres, multilinear and never negative.

        Parameters
        ----------
        density : (t, n) or (t, *shape) float64 [1/x^d]
            At the centres.
        x : tuple of ndarray of float64 [x]
            One array per coordinate, which broadcast against each other.

        Returns
        -------
        (t, *common shape) ndarray [1/x^d]
        """
        values = density.reshape(len(density), *self.shape)
        return between_tensor_cells(self.walls, self.edges, values, tuple(x))


def _log_weight(shape: tuple[int, ...], bonds: tuple[Bond, ...]) -> FloatArray | None:
    # Minus the sum of tilts along paths from one cell, if it is the same along all of them.
    phi = np.zeros(shape)
    scale = 0.0
    for axis in range(len(shape)):
        unit = tuple(int(k == axis) for k in range(len(shape)))
        along = [bond.tilt for bond in bonds if bond.offset == unit]
        if not along:
            return _by_search(shape, bonds)
        # Along this axis from the cells whose index is zero on it and on all later ones.
        tilt = along[0]
        for later in range(axis + 1, len(shape)):
            tilt = np.take(tilt, [0], axis=later)
        steps = np.take(tilt, np.arange(shape[axis] - 1), axis=axis)
        total = np.cumsum(steps, axis=axis)
        phi = phi + np.concatenate([np.zeros_like(np.take(tilt, [0], axis=axis)), total], axis=axis)
        scale = max(scale, float(np.abs(phi).max()))
    return _consistent(phi, scale, bonds)


def _by_search(shape: tuple[int, ...], bonds: tuple[Bond, ...]) -> FloatArray | None:
    # Lattice vectors that are no unit vectors: along a spanning tree of the jumps.
    from scipy.sparse.csgraph import breadth_first_order

    cells = np.arange(int(np.prod(shape))).reshape(shape)
    rows, columns, tilts = [], [], []
    for bond in bonds:
        a, b = _ends(cells, bond)
        rows.append(a)
        columns.append(b)
        tilts.append(bond.tilt.ravel()[a])
    i, j, tilt = (np.concatenate(parts) for parts in (rows, columns, tilts))
    # Zero tilts must not vanish from the sparse matrix: numbers of jumps are stored instead.
    number = np.arange(1, len(i) + 1)
    graph = sparse.csr_array((number, (i, j)), shape=(cells.size, cells.size))
    order, parent = breadth_first_order(graph, 0, directed=False)
    if len(order) < cells.size:
        return None
    phi = np.zeros(cells.size)
    onward = dict(zip(zip(i.tolist(), j.tolist(), strict=True), tilt.tolist(), strict=True))
    for cell in order[1:].tolist():
        before = int(parent[cell])
        step = onward.get((before, cell))
        phi[cell] = phi[before] + (step if step is not None else -onward[(cell, before)])
    return _consistent(phi.reshape(shape), float(np.abs(phi).max()), bonds)


def _consistent(phi: FloatArray, scale: float, bonds: tuple[Bond, ...]) -> FloatArray | None:
    flat, cells = phi.ravel(), np.arange(phi.size).reshape(phi.shape)
    for bond in bonds:
        a, b = _ends(cells, bond)
        tilt = bond.tilt.ravel()[a]
        if len(a) and np.abs(flat[b] - flat[a] - tilt).max() > _ROUNDING * (1.0 + scale):
            return None
    return np.asarray(flat.min() - flat)


def _ends(cells: Any, bond: Bond) -> tuple[Any, Any]:
    # Flat indices of the cells a jump leads from and to, where there is such a jump.
    targets = np.roll(cells, tuple(-o for o in bond.offset), axis=tuple(range(cells.ndim)))
    here = (
        bond.onward.ravel()
        + np.roll(bond.back, tuple(-o for o in bond.offset), axis=tuple(range(cells.ndim))).ravel()
    )
    a = np.flatnonzero(here > 0.0)
    return a, targets.ravel()[a]


def _matrix(shape: tuple[int, ...], bonds: tuple[Bond, ...], loss: FloatArray) -> Any:
    cells = np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
    leaving = loss.copy()
    rows, columns, values = [], [], []
    for bond in bonds:
        leaving += bond.onward + bond.back
        for rate, sign in ((bond.onward, -1), (bond.back, 1)):
            shift = tuple(sign * o for o in bond.offset)
            targets = np.roll(cells, shift, axis=tuple(range(len(shape)))).ravel()
            flat = rate.ravel()
            there = np.flatnonzero(flat > 0.0)
            rows.append(targets[there])
            columns.append(there.astype(np.int32))
            values.append(flat[there])
    rows.append(cells.ravel())
    columns.append(cells.ravel())
    values.append(-leaving.ravel())
    size = cells.size
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    found = sparse.coo_array(entries, shape=(size, size)).tocsr()
    found.sort_indices()
    found.data.flags.writeable = False
    return found

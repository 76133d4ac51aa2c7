r"""Propagation of tensor cells in a Krylov space of one real shifted system.

One sparse factorisation of :math:`\sigma - L` and some twenty solves with it give an orthonormal
basis ``V`` of

.. math:: \mathrm{span}\{m, (\sigma - L)^{-1} m, \dots, (\sigma - L)^{1-k} m\} ,

and with the small matrix :math:`H = V^T S^{-1} L S V`, where :math:`S^2` are the volumes of the
cells so that lengths are those of densities in :math:`L^2`,

.. math:: E_\alpha(\theta L)\, m \approx S V\, E_\alpha(\theta H)\, V^T S^{-1} m

at every time of a window.  ``H`` is formed from products with ``L`` itself and not from the
recurrence: whatever the solves have done, it is the projection of ``L`` on what they have made.
An inexact solve, or a wrong shift, costs dimensions and no digits.

**Windows.**  The shift is :math:`7^\alpha / \sqrt{\theta_1 \theta_2}` for clocks between
:math:`\theta_1` and :math:`\theta_2`, rounded to a power of two so that factors are found again.
With :math:`\theta_2 / \theta_1` up to 64 a dimension of 25 reaches 1e-8; times that reach further
have more windows.

**Error.**  Dimensions grow by four until the densities of the last two are as near to each other
as the tolerance, in the largest entry.  The *coarser* is returned, so that the difference is its
error, but for that of the finer, which is told from how differences fall.  Rounding is that of the
sum, and what becomes of the result when ``H`` is disturbed by four roundings of its norm.  At a
dimension of 80 the result is returned as it is, with its estimate.

**Mass.**  Where nothing is lost, results are scaled to the mass of the start.

Nothing here needs detailed balance: currents make ``H`` lose its symmetry, and no more.

``tests/schemes/test_shift_invert.py`` measures tolerance, estimate and mass.

Not here: when this road is taken (:mod:`fracsde.schemes.tensor_propagation`), the systems
(:mod:`fracsde.operators.shifted`), the small function (:mod:`fracsde.special.matrix`).

References: [EshofHochbruck2006]_ for the space, [Guettel2013]_ for others like it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fracsde.schemes.runs import Propagated
from fracsde.special.matrix import mittag_leffler_action

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray
    from fracsde.operators.shifted import ShiftedSolver
    from fracsde.operators.tensor import TensorCells

__all__ = ["Basis", "ShiftInvertPropagation"]

_EPS = float(np.finfo(np.float64).eps)
_FIRST, _STEP, _MOST = 8, 4, 80  # dimensions: first, from check to check, and last
_SPREAD = 64.0  # of clocks in a window
_POLE = 7.0  # to the power alpha, over the clock
_NEAREST = 1e-10  # pole over the largest rate at least: the matrix alone is singular
_SCREENED = 5  # times of a window that are looked at before all are
_LOOSE = 3.0  # difference of lengths over the tolerance up to which entries are compared
_BROKEN = 1e-13  # what is left of a new direction at which the space is closed
_MARGIN, _SLOWEST = 1.2, 0.9  # of estimates; ratio of two differences up to which it is believed
_SMALL = 0.5  # difference over rounding from which rounding is to blame
_BACKWARD, _MOVED = 4.0, 3.0  # rounding in H, in roundings of its norm; and what it does
_ROUNDING, _TIGHT = 10.0, 1e-13
_GONE = 1e-290


class Basis:
    """A Krylov space that grows, and the projection of the generator on it.

    Parameters
    ----------
    cells : TensorCells
        The generator.
    solver : ShiftedSolver
        Of its shifted systems.
    masses : (n,) float64 [1]
        At time 0; not all zero.
    pole : float [1/t]
        ``sigma``, positive.
    most : int
        Dimensions at most.
    """

    def __init__(
        self,
        cells: TensorCells,
        solver: ShiftedSolver,
        masses: FloatArray,
        pole: float,
        most: int = _MOST,
    ) -> None:
        self.pole, self.solver = pole, solver
        self.matrix, self.transposed = cells.matrix(), cells.matrix().T.tocsr()
        self.scale = np.sqrt(cells.widths)
        start = masses / self.scale
        self.length = float(np.linalg.norm(start))
        self.vectors = np.empty((most, len(masses)))
        self.projected = np.zeros((most, most))
        self.sums, self.peaks = np.zeros(most), np.zeros(most)
        self.size, self.closed = 0, False
        self._add(start / self.length)

    def grow(self, size: int) -> None:
        """Add dimensions, until there are so many or the space is closed under the generator.

        Parameters
        ----------
        size : int
            Dimensions wanted.
        """
        while self.size < min(size, len(self.vectors)) and not self.closed:
            newest = self.vectors[self.size - 1] * self.scale
            v = self.solver.solve(self.pole, newest) / self.scale
            before, known = float(np.linalg.norm(v)), self.vectors[: self.size]
            for _ in range(2):  # twice is enough
                v = v - (known @ v) @ known
            left = float(np.linalg.norm(v))
            self.closed = not left > _BROKEN * before
            if not self.closed:
                self._add(v / left)

    def _add(self, v: FloatArray) -> None:
        # A column of the projection from L v, and a row of it from the transpose.
        k = self.size
        self.vectors[k] = v
        known = self.vectors[: k + 1]
        self.projected[: k + 1, k] = known @ ((self.matrix @ (v * self.scale)) / self.scale)
        self.projected[k, : k + 1] = known @ ((self.transposed @ (v / self.scale)) * self.scale)
        self.sums[k], self.peaks[k] = v @ self.scale, np.abs(v / self.scale).max()
        self.size = k + 1


@dataclass(frozen=True, kw_only=True, eq=False)
class ShiftInvertPropagation:
    """Tensor cells made ready.

    Parameters
    ----------
    cells : TensorCells
        The generator.
    alpha : float [1]
        Order.
    timescale : float [t]
        ``tau``.
    rtol : float [1]
        Tolerance.
    solver : ShiftedSolver
        Of shifted systems.
    """

    cells: TensorCells
    alpha: float
    timescale: float
    rtol: float
    solver: ShiftedSolver
    fastest: float = field(init=False)
    """Largest rate at which a cell is left [1/t]."""

    def __post_init__(self) -> None:
        fastest = float(np.abs(self.cells.matrix().diagonal()).max())
        object.__setattr__(self, "fastest", fastest)

    def windows(self, times: FloatArray) -> list[IntArray]:
        """Return the places of the times that share a basis; no place of time 0.

        Parameters
        ----------
        times : (t,) float64 [t]
            Not negative.

        Returns
        -------
        list of (m,) ndarray
        """
        moving = np.flatnonzero(times > 0.0)
        if not len(moving):
            return []
        reach = self.alpha * np.log(times[moving] / times[moving].min())
        count = int(np.ceil(reach.max() / np.log(_SPREAD) * (1.0 - 1e-12))) or 1
        which = np.minimum((count * reach / max(reach.max(), _EPS)).astype(int), count - 1)
        return [moving[which == k] for k in range(count) if np.any(which == k)]

    def pole(self, times: FloatArray) -> float:
        """Return the shift that serves times.

        Parameters
        ----------
        times : (t,) float64 [t]
            Positive.

        Returns
        -------
        float [1/t]
            A power of two.
        """
        middle = 0.5 * (np.log(times.min()) + np.log(times.max()))
        wanted = self.alpha * (np.log(_POLE) - middle) - (1.0 - self.alpha) * np.log(self.timescale)
        nearest = np.log(self.fastest)
        wanted = float(np.clip(wanted, nearest + np.log(_NEAREST), nearest))
        return float(2.0 ** np.round(wanted / np.log(2.0)))

    def run(self, masses: FloatArray, times: FloatArray) -> Propagated:
        """Return densities at times.

        Parameters
        ----------
        masses : (n,) float64 [1]
            At time 0.
        times : (t,) float64 [t]
            Not negative.

        Returns
        -------
        Propagated
        """
        density = np.empty((len(times), len(masses)))
        density[:] = masses / self.cells.widths
        errors = np.where(times == 0.0, 0.0, np.inf)
        stats = {"shift-invert": 0, "solves": 0, "dimension": 0}
        if np.any(masses):
            for rows in self.windows(times):
                basis = Basis(self.cells, self.solver, masses, self.pole(times[rows]))
                self._serve(basis, float(masses.sum()), times, rows, density, errors)
                stats["shift-invert"] += len(rows)
                stats["solves"] += basis.size - 1
                stats["dimension"] = max(stats["dimension"], basis.size)
        else:
            errors[:] = 0.0
        largest = np.abs(density).max(axis=1, initial=0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(np.isfinite(errors), errors / np.maximum(largest, _GONE), np.inf)
        return Propagated(density=density, errors=errors, relative=relative, stats=stats)

    def _serve(
        self,
        basis: Basis,
        total: float,
        times: FloatArray,
        rows: IntArray,
        density: FloatArray,
        errors: FloatArray,
    ) -> None:
        # Grow the basis until the last two dimensions agree at all times of a window.
        some = np.unique(np.linspace(0, len(rows) - 1, _SCREENED).astype(int))
        basis.grow(_FIRST)
        while True:
            before = basis.size
            basis.grow(before + _STEP)
            coarse = max(basis.size - _STEP, 1) if basis.closed else before
            last = basis.closed or basis.size == len(basis.vectors)
            if not last and not self._near(basis, coarse, times[rows[some]]):
                continue
            density[rows], gap, noise = self._densities(basis, coarse, total, times[rows])
            error = gap + noise
            errors[rows] = np.where(np.isfinite(error), error, np.inf)
            wanted = self.rtol * np.abs(density[rows]).max(axis=1)
            # A larger space does not mend rounding.
            if last or np.all((errors[rows] <= wanted) | (gap <= _SMALL * noise)):
                return

    def _near(self, basis: Basis, coarse: int, times: FloatArray) -> bool:
        # Whether lengths agree: it costs nothing, and only then are entries compared.
        fine = self._coordinates(basis, basis.size, times)
        gap = np.linalg.norm(fine - self._coordinates(basis, coarse, times), axis=1)
        return bool(np.all(gap <= _LOOSE * self.rtol * np.linalg.norm(fine, axis=1)))

    def _coordinates(
        self, basis: Basis, size: int, times: FloatArray, *, disturbed: bool = False
    ) -> FloatArray:
        # (t, basis.size) coordinates in the leading space of a size.
        H = self.timescale ** (1.0 - self.alpha) * basis.projected[:size, :size]
        if disturbed:
            noise = np.random.default_rng(size).normal(size=H.shape) / np.sqrt(size)
            H = H + _BACKWARD * _EPS * float(np.linalg.norm(H, 2)) * noise
        start = np.zeros(size)
        start[0] = basis.length
        found = np.zeros((len(times), basis.size))
        found[:, :size] = mittag_leffler_action(
            H, start, times, self.alpha, rtol=_TIGHT, throw=False
        )
        return found

    def _densities(
        self, basis: Basis, coarse: int, total: float, times: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        # Densities of the coarser space, what the finer one adds, and rounding.
        sums, peaks = basis.sums[: basis.size], basis.peaks[: basis.size]
        y, fine, older, moved = (
            self._coordinates(basis, coarse, times),
            self._coordinates(basis, basis.size, times),
            self._coordinates(basis, max(coarse - _STEP, 1), times),
            self._coordinates(basis, coarse, times, disturbed=True),
        )
        if self._scaled(basis, total):
            for one in (y, fine, older, moved):
                one *= (total / (one @ sums))[:, None]
        # The finer result has an error too: differences fall like a geometric series.
        now, once = np.linalg.norm(fine - y, axis=1), np.linalg.norm(y - older, axis=1)
        ratio = np.minimum(now / np.maximum(once, _GONE), _SLOWEST)
        noise = _ROUNDING * _EPS * (np.abs(y) @ peaks) + _MOVED * self._largest(basis, moved - y)
        return (
            (y @ basis.vectors[: basis.size]) / basis.scale,
            _MARGIN / (1.0 - ratio) * self._largest(basis, fine - y),
            noise,
        )

    def _largest(self, basis: Basis, y: FloatArray) -> FloatArray:
        return np.asarray(np.abs((y @ basis.vectors[: basis.size]) / basis.scale).max(axis=1))

    def _scaled(self, basis: Basis, total: float) -> bool:
        # Mass is restored by scaling, where there is a mass.
        size = float(np.abs(basis.vectors[0]) @ basis.scale) * basis.length
        return self.cells.conserves_mass and abs(total) > 0.5 * size

    def residual(self, masses: FloatArray, time: float) -> float:
        """Return the residual of the shifted system, over its largest term.

        Parameters
        ----------
        masses : (n,) float64 [1]
            At time 0.
        time : float [t]
            Not negative.

        Returns
        -------
        float [1]
        """
        if time <= 0.0 or not np.any(masses):
            return 0.0
        pole = self.pole(np.array([time]))
        x = self.solver.solve(pole, masses)
        moved = self.cells.apply_to_masses(x)
        largest = max(pole * np.abs(x).max(), np.abs(moved).max(), np.abs(masses).max())
        return float(np.abs(pole * x - moved - masses).max() / largest)

r"""Propagation of tensor cells, by the first road that keeps the tolerance.

==============  ==========================================  ==================================
road            for                                         cost
==============  ==========================================  ==================================
``modes``       grids that fall apart into lines            a few small matrix products
``chebyshev``   detailed balance                            some hundred products with ``L``
shift-invert    currents, late times, starts far out        one real factorisation per window
``poles`` etc.  the rest                                    a complex factorisation per pole
==============  ==========================================  ==================================

The first is exact but for rounding, which is magnified where a start lies far out in a tail,

.. math::
    \epsilon\, \bigl(10 + \sqrt{n} + \lambda_{\max} \min(\theta / \Gamma(1 + \alpha),
    1 / \lambda_1)\bigr)\; \|S^{-1} m\|_2\; \max_i S_i / h_i ,

as in :mod:`fracsde.schemes.modes`.  The second is in
:mod:`fracsde.schemes.chebyshev_propagation`, the third in
:mod:`fracsde.schemes.shift_invert_propagation`.  With detailed balance the third comes before the
second where that is predicted to be faster, in seconds for ``T`` times on ``n`` cells,

.. math::
    n K (7 + 0.2\, T)\, 10^{-9} > 1.2\, \bigl[ w\, (n (f + 4)\, 10^{-6} + 0.02)
    + 10^{-3}\, T \bigr] ,

with ``K`` terms of a polynomial, ``w`` windows, and factors that take
:math:`f = 0.35\, n^{1/4}` in the plane and :math:`0.0028\, n` in space.  The
last solves the shifted systems of
:mod:`fracsde.schemes.forms` on the grid, twice for the estimate; where the chain has currents its
contours leave room for a sector of 0.8 on both sides of the negative axis, and an estimate that
exceeds the tolerance sends a time on to contours in the right half-plane, or to short steps, as
on a line (:mod:`fracsde.schemes.rational_propagation`).

A time whose estimate exceeds the tolerance is done again by the next road, and the better result
is kept; but where polynomials did not grow, what is left of the error is rounding, by which every
road is limited alike, and no system is solved.  ``tests/schemes/test_propagator_tensor.py``
measures tolerance, estimate and mass; ``benchmarks/bench_space.py`` the cost.

Not here: the systems (:mod:`fracsde.operators.shifted`), lines
(:mod:`fracsde.operators.separable`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import gamma
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde.errors import BackendUnavailable
from fracsde.schemes.chebyshev_propagation import ChebyshevPropagation, likely_terms
from fracsde.schemes.rational_propagation import RationalPropagation
from fracsde.schemes.runs import Propagated
from fracsde.schemes.shift_invert_propagation import ShiftInvertPropagation
from fracsde.special.mittag_leffler import mittag_leffler

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray, IntArray
    from fracsde.operators.shifted import ShiftedSolver
    from fracsde.operators.tensor import TensorCells

__all__ = ["TensorPropagation", "TensorSystems"]

_EPS = float(np.finfo(np.float64).eps)
_SECTOR = 0.8  # rad: room for currents
_GROWN = 10.0  # polynomials over the start, from which they are said to grow
_TINY = 1e-290
# Seconds, measured on one core.  Per cell: a term of a polynomial, and one time more; factors in
# the plane and in space, with the power of the number of cells; solves of a window.  And for a
# window and a time whatever the number of cells.
_TERM, _TIME = 7e-9, 0.2e-9
_FACTORS, _SOLVES = {2: (0.35e-6, 0.25), 3: (2.8e-9, 1.0)}, 4e-6
_WINDOW, _SMALL = 0.02, 1e-3
_FASTER = 1.2  # ratio of predictions from which the order of roads is changed


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorSystems(RationalPropagation):
    """Tensor cells made ready for shifted systems.

    Parameters
    ----------
    alpha, timescale, rtol
        As for :class:`~fracsde.schemes.rational_propagation.RationalPropagation`.
    cells : TensorCells
        The generator.
    """

    cells: TensorCells
    solver: ShiftedSolver = field(init=False)
    matrix: Any = field(init=False)
    few: ClassVar[int] = 4
    together: ClassVar[int] = 1
    seconds: ClassVar[float] = 5e-6

    def __post_init__(self) -> None:
        put: Any = object.__setattr__
        matrix = self.cells.matrix()
        largest = float(np.abs(matrix.diagonal()).max())
        put(self, "matrix", matrix)
        # What solves is asked for a hundredth of the tolerance.
        put(self, "solver", self.cells.solver(rtol=max(0.01 * self.rtol, 1e-14)))
        sector = 0.0 if self.cells.detailed_balance else _SECTOR
        self._make_ready(self.cells, float(2.0 ** np.floor(np.log2(largest))), sector)

    def solve(self, shifts: Any, masses: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Solve with shifts in the chain's own unit of rate; densities, not masses.

        Returns
        -------
        (n, 2, K) ndarray [1/x^d], (3, K) ndarray
        """
        found = np.empty((len(masses), 2, len(shifts)))
        sums = np.empty((3, len(shifts)))
        for k, shift in enumerate(shifts):
            x = self.solver.solve(complex(shift) * self.unit, masses) * self.unit
            sums[0, k], sums[1, k] = x.real.sum(), x.imag.sum() if np.iscomplexobj(x) else 0.0
            x = x * self.inverse_widths
            found[:, 0, k], found[:, 1, k] = x.real, x.imag
            sums[2, k] = (np.abs(x.real) + np.abs(x.imag)).max()
        return found, sums

    def outflow(self, x: Any) -> tuple[Any, Any]:
        """Return what leaves cells, and what enters them, for given masses.

        Returns
        -------
        (K, n) ndarray, (K, n) ndarray
        """
        diagonal = -self.matrix.diagonal() / self.unit
        moved = (self.matrix @ x.real.T + 1j * (self.matrix @ x.imag.T)).T / self.unit
        return diagonal * x, moved + diagonal * x


class _Held:
    # The best results so far, road after road.

    def __init__(
        self, masses: FloatArray, times: FloatArray, rtol: float, out: FloatArray | None
    ) -> None:
        self.masses, self.times, self.rtol = masses, times, rtol
        self.density = np.empty((len(times), len(masses))) if out is None else out
        self.errors, self.relative = np.full(len(times), np.inf), np.full(len(times), np.inf)
        self.stats: dict[str, Any] = {"solves": 0, "windows": 0}

    def left(self) -> IntArray:
        """Return the times that are not yet served to the tolerance."""
        return np.flatnonzero(~(self.relative <= self.rtol))

    def take(self, left: IntArray, road: Callable[[FloatArray, FloatArray], Propagated]) -> None:
        """Serve times by a road, and keep its results where they are better, or the first."""
        if not len(left):
            return
        first = ~np.isfinite(self.relative[left])
        try:
            found = road(self.masses, self.times[left])
        except BackendUnavailable:
            if np.any(first):
                raise
            return
        # Put the other way round, what is not a number is never better.
        better = first | (~(found.relative >= self.relative[left]) & np.isfinite(found.relative))
        rows = left[better]
        self.density[rows] = found.density[better]
        self.errors[rows], self.relative[rows] = found.errors[better], found.relative[better]
        for key, value in found.stats.items():
            self.stats[key] = self.stats.get(key, 0) + value


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorPropagation:
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
    backend : {"numba", "numpy"}
        Engine of the polynomials.
    """

    cells: TensorCells
    alpha: float
    timescale: float
    rtol: float
    backend: str
    polynomials: ChebyshevPropagation | None = field(init=False)
    shift_invert: ShiftInvertPropagation = field(init=False)
    systems: TensorSystems = field(init=False)

    def __post_init__(self) -> None:
        common: dict[str, Any] = {
            "cells": self.cells,
            "alpha": self.alpha,
            "timescale": self.timescale,
            "rtol": self.rtol,
        }
        reversible = self.cells.detailed_balance
        made = ChebyshevPropagation(**common, backend=self.backend) if reversible else None
        object.__setattr__(self, "polynomials", made)
        systems = TensorSystems(**common)
        object.__setattr__(self, "systems", systems)
        made_ready = ShiftInvertPropagation(**common, solver=systems.solver)
        object.__setattr__(self, "shift_invert", made_ready)

    def run(
        self, masses: FloatArray, times: FloatArray, out: FloatArray | None = None
    ) -> Propagated:
        """Return densities at increasing times.

        Parameters
        ----------
        masses : (n,) float64 [1]
            At time 0.
        times : (t,) float64 [t]
            Not negative, in order.
        out : (t, n) float64 [1/x^d], optional
            Where to write them.

        Returns
        -------
        Propagated
        """
        held = _Held(masses, times, self.rtol, out)
        if self.cells.lines is not None:
            held.take(held.left(), self._by_modes)
        early = self.polynomials is not None and self._many_terms(times[held.left()])
        if early:
            held.take(held.left(), self.shift_invert.run)
        if self.polynomials is not None:
            held.take(held.left(), self.polynomials.run)
        left = held.left()
        if self.polynomials is not None and held.stats.get("growth", 0.0) <= _GROWN:
            # What is left to polynomials that did not grow is rounding, by every road alike.
            left = left[~np.isfinite(held.relative[left])]
        if not early and len(left):
            held.take(left, self.shift_invert.run)
            left = np.intersect1d(left, held.left())
        held.take(left, self.systems.run)
        return Propagated(
            density=held.density, errors=held.errors, relative=held.relative, stats=held.stats
        )

    def _many_terms(self, times: FloatArray) -> bool:
        # Whether polynomials are predicted to take much longer than windows of solves.
        assert self.polynomials is not None
        if not len(times) or self.systems.solver.method != "direct":
            return False
        n, d = len(self.cells.widths), len(self.cells.shape)
        clock = self.timescale ** (1.0 - self.alpha) * float(times.max()) ** self.alpha
        terms = likely_terms(self.polynomials.reach * clock, self.alpha)
        factor, power = _FACTORS[d]
        each = n * (factor * n**power + _SOLVES) + _WINDOW
        others = len(self.shift_invert.windows(times)) * each + len(times) * _SMALL
        return bool(n * terms * (_TERM + _TIME * len(times)) > _FASTER * others)

    def _by_modes(self, masses: FloatArray, times: FloatArray) -> Propagated:
        lines = self.cells.lines
        assert lines is not None
        clock = self.timescale ** (1.0 - self.alpha) * times**self.alpha
        density = np.empty((len(times), len(masses)))
        with np.errstate(over="ignore", invalid="ignore"):
            modes = lines.to_modes(masses)
            for k, theta in enumerate(clock):
                decay = mittag_leffler(-theta * lines.rates, self.alpha)
                density[k] = lines.to_masses(decay * modes)
            scaled = float(np.linalg.norm(modes))
        if self.cells.conserves_mass and abs(masses.sum()) > 0.5 * np.abs(masses).sum():
            with np.errstate(invalid="ignore", divide="ignore"):
                density *= (masses.sum() / density.sum(axis=1))[:, None]
        inverse = 1.0 / self.cells.widths
        density *= inverse
        density[times == 0.0] = masses * inverse
        moving = lines.rates[lines.rates > 0.0]
        slowest, fastest = float(moving.min()), float(moving.max())
        reach = np.minimum(clock / gamma(1.0 + self.alpha), 1.0 / slowest)
        back = float((np.exp(lines.log_scale).ravel() * inverse).max())
        size = 10.0 + np.sqrt(len(masses)) + fastest * reach
        errors = np.where(times == 0.0, 0.0, _EPS * size * scaled * back)
        largest = np.abs(density).max(axis=1, initial=0.0)
        with np.errstate(invalid="ignore"):
            relative = np.where(np.isfinite(errors), errors / np.maximum(largest, _TINY), np.inf)
        stats = {"modes": len(times)}
        return Propagated(density=density, errors=errors, relative=relative, stats=stats)

    def residual(self, masses: FloatArray, time: float) -> float:
        """Return the residual of what was solved, relative to its largest term.

        Parameters
        ----------
        masses : (n,) float64 [1]
            At time 0.
        time : float [t]
            The last time.

        Returns
        -------
        float [1]
        """
        if self.polynomials is not None:
            return self.polynomials.residual(masses)
        return self.shift_invert.residual(masses, time)

r"""Propagation of a chain of cells by shifted systems, with an error estimate for every time.

Masses of cells follow :math:`\tau^{\alpha-1} D_t^\alpha m = L m`.  A rational form of
:mod:`fracsde.schemes.forms` turns that into a few systems :math:`(\sigma - L) x = m(0)` per time,
or per window of times and one matrix product.  The chain is used as it is: nothing is divided by
the equilibrium, so that no rounding is magnified for starts in its tail.

**Error estimate.**  Every result is compared with a second rule: the next finer poles, or a
contour for one time.  The *coarser* result is returned, so that the difference is its error, to a
few per cent, and the estimate neither flatters nor frightens; it holds where no certificate does,
for chains and starts that are far from normal.  Times whose estimate exceeds the tolerance are
done again by the next form in the list poles, contour, narrow contour (:math:`\alpha < 1`), short
steps (:math:`\alpha = 1`, where steps compose), and the best is kept
(:mod:`fracsde.schemes.runs`).  ``tests/schemes/test_propagator.py`` holds the estimate against
extended precision.

**Mass.**  Columns of ``L`` sum to minus the losses.  Where there are none, the sum of a result is
the rational form at zero, which is one up to its error; results are divided by it.

Not here: which generators come this way (:mod:`fracsde.schemes.propagator`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde.schemes.forms import contour_form, narrow_form, oracle_form, pole_form
from fracsde.schemes.runs import LEVELS, MARGIN, Propagated, Run

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.operators.chain import CellChain
    from fracsde.schemes.forms import Form, Stack

__all__ = ["ChainPropagation", "RationalPropagation"]

_FINER, _AGAIN = 0.04, 0.05  # and the rule they are compared with for so much of their error
_TIGHT = 1e-13  # asked for where the tolerance itself was not enough
_WIDEST = 0.8  # rad: contours for wider sectors take more nodes and seconds to build
_THREADED = 2_000_000  # cells times shifts from which all cores are used


@dataclass(frozen=True, kw_only=True, eq=False)
class RationalPropagation:
    """A chain of cells made ready for shifted systems, however they are solved.

    Parameters
    ----------
    alpha : float [1]
        Order.
    timescale : float [t]
        ``tau``.
    rtol : float [1]
        Tolerance.
    """

    alpha: float
    timescale: float
    rtol: float
    unit: float = field(init=False)
    """A power of two near the largest rate [1/t]."""
    half_angle: float = field(init=False)
    conserving: bool = field(init=False)
    real: bool = field(init=False)
    """Whether the spectrum is real."""
    widths: FloatArray = field(init=False)
    inverse_widths: FloatArray = field(init=False)

    few: ClassVar[int] = 12
    """Times below which no window is planned."""
    together: ClassVar[int] = 8
    """Times per batch of pole solves."""
    chunk: ClassVar[int] = 512
    """Shifts per batch of a long form."""
    seconds: ClassVar[float] = 2.5e-9
    """A shifted solve, per cell, measured on one core."""

    def _make_ready(self, generator: Any, unit: float, sector: float) -> None:
        put: Any = object.__setattr__
        put(self, "unit", unit)
        # Eigenvalues within `sector` of the negative axis are singularities of the transform
        # within this angle of it; in steps of a tenth, since contours are built once for each.
        off = (sector - np.pi * (1.0 - self.alpha)) / self.alpha
        put(self, "half_angle", max(float(np.ceil(10.0 * off)) / 10.0, 0.0))
        put(self, "conserving", generator.conserves_mass)
        put(self, "real", generator.detailed_balance)
        put(self, "widths", generator.widths)
        put(self, "inverse_widths", 1.0 / generator.widths)

    @property
    def contours(self) -> bool:
        """Whether an ordinary contour passes to the right of all singularities."""
        return self.half_angle <= _WIDEST

    def solve(self, shifts: Any, masses: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Solve with shifts in the chain's own unit of rate; densities, not masses.

        Parameters
        ----------
        shifts : (K,) complex128 [1]
            Over ``unit``.
        masses : (n,) float64 [1]
            Right-hand side.

        Returns
        -------
        (n, 2, K) ndarray [1/x], (3, K) ndarray
            As from :func:`fracsde.backends.shifted_reference.solve_shifts`.
        """
        raise NotImplementedError

    def sums(
        self, stack: Stack, clock: FloatArray, masses: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Add up the solutions of some forms at some times.

        Parameters
        ----------
        stack : Stack
            The forms.
        clock : (t,) float64 [1]
            In units of ``unit``.
        masses : (n,) float64 [1]
            Right-hand side.

        Returns
        -------
        (f, t, n) ndarray [1/x], (t, m) ndarray
            Densities without the forms' constants, and the largest size of each solution.
        """
        share, count, each = stack.share, len(clock), np.arange(len(clock))
        kinds, m = share.shape
        solutions, measures = self.solve(np.divide.outer(stack.shifts, clock).T.ravel(), masses)
        # Each time combines its own solutions only.
        rows = np.zeros((kinds, count, 2, count, m))
        rows[:, each, 0, each] = share.real[:, None]
        rows[:, each, 1, each] = -share.imag[:, None]
        rows /= clock[:, None, None, None]
        flat = rows.reshape(kinds * count, -1) @ solutions.reshape(len(masses), -1).T
        return flat.reshape(kinds, count, -1), measures[2].reshape(count, m)

    def outflow(self, x: Any) -> tuple[Any, Any]:
        """Return what leaves cells, and what enters them, for given masses.

        Parameters
        ----------
        x : (K, n) complex128 [1]
            Masses.

        Returns
        -------
        (K, n) ndarray, (K, n) ndarray
            In units of ``unit``.
        """
        raise NotImplementedError

    # --- the list of forms --------------------------------------------------------------------

    def forms(self, level: int) -> tuple[Form, Form] | None:
        """Return the form of a level and the finer one that it is compared with.

        Parameters
        ----------
        level : int
            0 for poles, 1 and 2 for contours, 3 and 4 for narrow ones.

        Returns
        -------
        (Form, Form) or None
            ``None`` where the level does not serve this chain.
        """
        coarse, alpha = MARGIN * self.rtol, self.alpha
        if level == 0 and self.real:
            form = pole_form(alpha, coarse)
            finer = pole_form(alpha, _FINER * form.error)
            return form, finer if finer.error < _AGAIN * form.error else oracle_form(alpha)
        if level in {1, 2} and self.contours:
            # A density that has decayed, or is lower than its start, needs more than was asked.
            wanted = 0.1 * coarse if level == 1 else _TIGHT
            form = contour_form(alpha, wanted, self.half_angle)
            finer = contour_form(alpha, _FINER * form.error, self.half_angle)
            if self.half_angle > 0.0 and len(finer.shifts) == len(form.shifts):
                # There is none finer, and a form compared with itself shows no error.
                form = contour_form(alpha, _TIGHT, self.half_angle)
            if self.half_angle == 0.0 and finer.error > _AGAIN * form.error:
                finer = oracle_form(alpha)
            return form, finer
        if level in {3, 4} and alpha < 1.0:
            wanted = 0.1 * coarse if level == 3 else 0.1 * _TIGHT
            return narrow_form(alpha, wanted), narrow_form(alpha, _FINER * wanted)
        return None

    # --- run ----------------------------------------------------------------------------------

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
        out : (t, n) float64 [1/x], optional
            Where to write them.

        Returns
        -------
        Propagated
        """
        run = Run(self, masses, times, out)
        run.by_windows()
        for level in range(LEVELS + 1):
            left = run.left(level)
            if not len(left):
                break
            if level < LEVELS:
                run.by_form(level, left)
            elif self.alpha == 1.0:
                run.by_steps(left)
        return Propagated(
            density=run.density, errors=run.errors, relative=run.relative(), stats=run.stats
        )

    def residual(self, masses: FloatArray, time: float) -> float:
        """Return the residual of the shifted systems of one time, over their largest term.

        Parameters
        ----------
        masses : (n,) float64 [1]
            At time 0.
        time : float [t]
            Positive.

        Returns
        -------
        float [1]
        """
        forms = self.forms(0) or self.forms(1) or (oracle_form(self.alpha),) * 2
        run = Run(self, masses, np.array([time]))
        if run.clock[0] <= 0.0 or not np.any(run.open):
            return 0.0
        shifts = forms[0].shifts / run.clock[0]
        found = self.solve(shifts, masses)[0]
        x = (found[:, 0] + 1j * found[:, 1]).T * self.widths
        out, into = self.outflow(x)
        gap = shifts[:, None] * x + out - into - masses
        largest = max(np.abs(shifts[:, None] * x).max(), np.abs(out).max(), masses.max())
        return float(np.abs(gap).max() / largest)


@dataclass(frozen=True, kw_only=True, eq=False)
class ChainPropagation(RationalPropagation):
    """Cells in a row or a ring made ready.

    Parameters
    ----------
    alpha, timescale, rtol
        As for :class:`RationalPropagation`.
    chain : CellChain
        The generator.
    engine : module
        With ``solve_shifts``.
    """

    chain: CellChain
    engine: Any
    rates: tuple[FloatArray, FloatArray, FloatArray] = field(init=False)

    def __post_init__(self) -> None:
        chain = self.chain
        rates = (chain.right, chain.left, chain.loss)
        # A power of two, so that rates near one are the same numbers.
        unit = float(2.0 ** np.floor(np.log2(max(float(r.max()) for r in rates))))
        object.__setattr__(self, "rates", tuple(np.ascontiguousarray(r / unit) for r in rates))
        self._make_ready(chain, unit, chain.sector())

    def outflow(self, x: Any) -> tuple[Any, Any]:
        """Return what leaves cells, and what enters them, for given masses.

        Returns
        -------
        (K, n) ndarray, (K, n) ndarray
        """
        right, left, loss = self.rates
        into = np.roll(right * x, 1, axis=-1) + np.roll(left * x, -1, axis=-1)
        return (right + left + loss) * x, into

    def solve(self, shifts: Any, masses: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Solve with shifts in the chain's own unit of rate; densities, not masses.

        Parameters
        ----------
        shifts : (K,) complex128 [1]
            Over ``unit``.
        masses : (n,) float64 [1]
            Right-hand side.

        Returns
        -------
        (n, 2, K) ndarray [1/x], (3, K) ndarray
            As from :func:`fracsde.backends.shifted_reference.solve_shifts`.
        """
        threads = len(shifts) * len(masses) >= _THREADED
        masses = np.require(masses, requirements="W")  # else another kernel would be compiled
        found: tuple[FloatArray, FloatArray] = self.engine.solve_shifts(
            np.ascontiguousarray(shifts),
            *self.rates,
            masses,
            self.inverse_widths,
            threads=threads,
        )
        return found

    def sums(
        self, stack: Stack, clock: FloatArray, masses: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Add up the solutions of some forms at some times; in a row, without writing them.

        Returns
        -------
        (f, t, n) ndarray [1/x], (t, m) ndarray
        """
        count, kinds, m = len(clock), len(stack.constants), len(stack.shifts)
        right, left, _ = self.rates
        if right[-1] or left[0] or count * m * len(masses) >= _THREADED:
            return super().sums(stack, clock, masses)
        over = 1.0 / clock[:, None]
        masses = np.require(masses, requirements="W")  # else another kernel would be compiled
        # One after the other in memory are the sums of a cell: by form, then by time.
        rows = (count * stack.owners) + np.arange(count)[:, None]
        sums, peaks = self.engine.sum_shifts(
            (stack.shifts / clock[:, None]).ravel(),
            (stack.residues * over).ravel(),
            rows.ravel(),
            kinds * count,
            *self.rates,
            masses,
            self.inverse_widths,
        )
        density = np.ascontiguousarray(sums.T).reshape(kinds, count, -1)
        return density, peaks.reshape(count, m)

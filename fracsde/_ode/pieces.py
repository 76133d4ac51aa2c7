r"""A solution in pieces: the integral of one combination of basis functions per interval.

On its interval the right-hand side is a combination of basis functions, and the solution its
fractional integral, of this interval and of all before it: defined at any time, not at nodes
only, and no polynomial where solutions are not.  Where a component is so stiff that between nodes
the integral of its right-hand side errs more than its states do at them, it is the polynomial
through these instead.  To evaluate a solution the intervals are gone through once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fracsde._ode.memory import Left, Past
from fracsde._ode.systems import mixed
from fracsde.schemes.collocation_tables import lagrange

if TYPE_CHECKING:
    from fracsde._ode.tables import Basis
    from fracsde._typing import FloatArray

__all__ = ["Piece", "Pieces"]

_LINE = 1e-8  # distance from the start of an interval, relative to the time


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """One interval.

    Parameters
    ----------
    start, length : float [t]
        Where it lies.
    basis : Basis
        Its basis functions.
    before : (n,) float64 [y]
        State at its start.
    states : (m, n) float64 [y]
        At the nodes.
    slopes : (m, n) float64 [y/t**alpha]
        Right-hand side at the nodes.
    errors : (m, n) float64 [y]
        Estimated errors of the states.
    smooth : (n,) bool
        Where the integral is as good between nodes as at them.
    """

    start: float
    length: float
    basis: Basis
    before: FloatArray
    states: FloatArray
    slopes: FloatArray
    errors: FloatArray
    smooth: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Pieces:
    """All intervals, in order.

    Parameters
    ----------
    initial : (n,) float64 [y]
        State at time 0.
    orders : (g,) float64 [1]
        Distinct orders.
    which : (n,) int
        The order of each component.
    pieces : tuple of Piece
        They touch each other.
    kernel_rtol : float [1]
        Relative error of the sum of exponentials that stands for the kernel.
    """

    initial: FloatArray
    orders: FloatArray
    which: np.ndarray
    pieces: tuple[Piece, ...]
    kernel_rtol: float

    @property
    def end(self) -> float:
        """Last time reached [t]."""
        if not self.pieces:
            return 0.0
        return self.pieces[-1].start + self.pieces[-1].length

    def at(self, times: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return states and estimated errors.

        Parameters
        ----------
        times : (t,) float64 [t]
            Increasing, from 0; beyond the end there is NaN.

        Returns
        -------
        values : (t, n) ndarray of float64 [y]
        errors : (t, n) ndarray of float64 [y]
            The largest of the interval.
        """
        values = np.full((len(times), len(self.initial)), np.nan)
        errors = np.full_like(values, np.nan)
        values[times == 0.0], errors[times == 0.0] = self.initial, 0.0
        starts = np.array([piece.start for piece in self.pieces] + [self.end * (1.0 + 1e-12)])
        lying = np.searchsorted(starts, times, side="left") - 1
        past = Past(self.orders, self.which, end=self.end, rtol=self.kernel_rtol)
        for k, piece in enumerate(self.pieces[: int(lying.max(initial=0)) + 1]):
            own = lying == k
            if own.any():
                values[own] = self._inside(piece, past, times[own] - piece.start)
                errors[own] = np.abs(piece.errors).max(axis=0)
            nothing = np.zeros((1, len(self.initial)))
            past.add(
                Left(
                    basis=piece.basis,
                    length=piece.length,
                    slopes=np.vstack([piece.slopes, nothing]),
                )
            )
        return values, errors

    def _inside(self, piece: Piece, past: Past, after: FloatArray) -> FloatArray:
        # Nearer to the start than any kernel should be built for, the solution is a line.
        nearest = _LINE * piece.start
        where = np.clip(after, nearest, piece.length)
        share = where / piece.length
        tables = np.stack(
            [
                piece.length**alpha * piece.basis.integrals(float(alpha), share)[:, :-1]
                for alpha in self.orders
            ]
        )
        values = self.initial + past.seen(where) + mixed(tables, self.which, piece.slopes)
        if not piece.smooth.all():
            nodes = np.append(0.0, piece.basis.nodes)
            states = np.vstack([piece.before, piece.states])
            values[:, ~piece.smooth] = (lagrange(nodes, share) @ states)[:, ~piece.smooth]
        near = after < nearest
        part = after[near, None] / max(nearest, 1e-300)
        values[near] = (1.0 - part) * piece.before + part * values[near]
        return np.asarray(values)

    def residual(self) -> float:
        """Return how far the last state is from the integral of the right-hand side.

        Evaluated with a kernel that is exact to rounding, over the largest of the initial state,
        the last one and their difference.

        Returns
        -------
        float [1]
        """
        if not self.pieces:
            return float("nan")
        last = replace(self.pieces[-1], smooth=np.ones(len(self.initial), dtype=bool))
        exact = replace(self, pieces=(*self.pieces[:-1], last), kernel_rtol=1e-14)
        values, _ = exact.at(np.array([self.end]))
        state = last.states[-1]
        size = np.abs([self.initial, state, state - self.initial]).max()
        return float(np.abs(values[0] - state).max() / max(size, 1e-300))

r"""Collocation on intervals that are as long as the error allows.

One interval of length ``h`` at ``t``, with the tables of :mod:`fracsde._ode.tables` and what is
seen of the past, is the system of stages

.. math::
    Y_i = y_0 + H_i + h^\alpha \sum_j B_{ij}\, f(t + c_j h, Y_j) ,

solved by Newton's method with one Jacobian.  With the gap ``d`` at its start, the states err by
:math:`e = (I - h^\alpha B \otimes J)^{-1} h^\alpha \kappa\, d`, which must keep the tolerance; an
interval that does not is tried again, shorter, at the cost of its solve alone.  The error that is
handed on obeys the same equation with the past of errors on the right.

Where ``t > 0`` intervals grow geometrically, for solutions are smooth on the scale of ``t``.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from fracsde._ode.keeping import intervals_of, pack
from fracsde._ode.memory import Left, Past
from fracsde._ode.newton import newton
from fracsde._ode.pieces import Piece, Pieces
from fracsde._ode.systems import SingularSystemError, mixed, stage_solver
from fracsde._ode.tables import (
    Basis,
    StartingPowers,
    interval_table,
    polynomials,
    starting_powers,
    unresolved,
)
from fracsde.schemes.keeping import taken

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from fracsde._typing import FloatArray
    from fracsde.problems.fractional_ode import FractionalODE

__all__ = ["Collocated", "Wish", "collocate"]

_SAFETY, _LEAST, _MOST = 0.9, 0.2, 6.0  # of the next length
_NEWTON = 0.02  # share of the tolerance that Newton's method may leave
_ITERATIONS = 12
_KERNEL = 0.02  # share of the tolerance that the kernel's sum may cost
_SHORTEST = 1e-13  # of an interval, relative to the time where it starts
_FIRST = 1e-80  # of the first one, relative to the end
_TRIALS = 60  # of one interval
_MANY = 20_000  # intervals, beyond which something is wrong
_CHANCE = 0.1  # share of an interval's own error that chance may cancel
_SMOOTH = 3.0  # tolerances that a solution may err between nodes; stiff ones err by thousands
_NOISY = 10.0  # by which it may amplify errors at nodes


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a run is asked for.

    Parameters
    ----------
    rtol : float [1]
        Local tolerance, relative.
    atol : float [y]
        And absolute.
    degree : int
        Nodes per interval.
    longest : float [t]
        Longest interval.
    """

    rtol: float
    atol: float
    degree: int
    longest: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Collocated:
    """What a run found.

    Parameters
    ----------
    pieces : Pieces
        The solution as far as it was reached.
    trouble : str
        Why the run stopped before the end; empty if it did not.
    stats : dict
        Intervals, rejected trials, iterations, evaluations, exponentials.
    """

    pieces: Pieces
    trouble: str
    stats: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Trial:
    """One interval that was solved, and how wrong it is in units of the tolerance."""

    states: FloatArray
    slopes: FloatArray
    errors: FloatArray
    carried: FloatArray
    gap: FloatArray
    known: FloatArray
    stages: FloatArray
    solve: Callable[[FloatArray], FloatArray]
    smooth: np.ndarray
    wrong: float


class _Run:
    def __init__(self, problem: FractionalODE, end: float, wish: Wish) -> None:
        self.problem, self.end, self.wish = problem, end, wish
        self.orders, self.which = np.unique(problem.alpha, return_inverse=True)
        self.kernel_rtol = max(_KERNEL * wish.rtol, 1e-14)
        twice = np.concatenate([self.which, self.which])
        self.past = Past(self.orders, twice, end=end, rtol=self.kernel_rtol)
        self.pieces: list[Piece] = []
        self.t, self.y = 0.0, np.array(problem.initial)
        self.slope = problem.value(0.0, self.y)
        self.jacobian = problem.jacobian_at(0.0, self.y)
        self.exact = problem.rhs is None and not isinstance(problem.linear, LinearOperator)
        self.signs = np.where(np.arange(len(self.y)) % 2 == 0, 1.0, -1.0)
        self.stats = dict.fromkeys(("intervals", "rejected", "iterations", "evaluations"), 0)

    def value(self, t: float, y: FloatArray) -> FloatArray:
        self.stats["evaluations"] += 1
        return self.problem.value(t, y)

    def trial(self, basis: Basis, h: float) -> _Trial | None:
        # Solve one interval; nothing if Newton's method does not converge.
        nodes, m, n = basis.nodes, len(basis.nodes), len(self.y)
        tables = np.stack([h**alpha * interval_table(basis, float(alpha)) for alpha in self.orders])
        stages = tables[:, :m, :-1]
        seen = self.past.seen(h * np.concatenate([nodes, basis.between]))
        base = self.problem.initial + seen[:m, :n]
        times = self.t + h * nodes
        try:
            solve = stage_solver(self.jacobian, stages, self.which)
        except SingularSystemError:
            return None

        def slopes(Y: FloatArray) -> FloatArray:
            return np.stack([self.value(t, y) for t, y in zip(times, Y, strict=True)])

        size = self.wish.atol + self.wish.rtol * np.abs(self.y)
        found = newton(
            lambda Y: Y - base - mixed(stages, self.which, slopes(Y)),
            solve,
            np.tile(self.y, (len(nodes), 1)),
            allowed=_NEWTON * size,
            most=_ITERATIONS,
            exact=self.exact,
        )
        self.stats["iterations"] += found.iterations
        if not found.converged:
            return None
        Y = found.value
        F = slopes(Y)
        gap = self.slope - basis.at_start() @ F
        reach = tables[self.which, :, -1].T * gap
        try:
            local, errors = solve(reach[:m]), solve(seen[:m, n:] + reach[:m])
        except SingularSystemError:
            return None
        size = self.wish.atol + self.wish.rtol * np.maximum(np.abs(self.y), np.abs(Y).max(axis=0))
        wrong = float(np.abs(local / size).max())
        # What is handed on tells more than the error of one interval, of which stiff systems
        # forget most; but it may be small by chance.
        wrong = max(_CHANCE * wrong, min(wrong, float(np.abs(errors / size).max())))
        carried = np.stack([self.jacobian @ e for e in errors])
        between = seen[m:, n:] + reach[m:] + mixed(tables[:, m:, :-1], self.which, carried)
        between = np.abs(between / size).max(axis=0)
        first = isinstance(basis, StartingPowers)
        if first:
            wrong = max(wrong, float(between.max()))
        noise = np.abs(tables[:, m:, :-1]).sum(axis=2).max(axis=1)[self.which]
        noise *= np.abs(self.jacobian @ (size * self.signs)) / size
        smooth = (between <= _SMOOTH) & (noise <= _NOISY) | first
        if wrong <= 1.0 and np.all(smooth) and not (first or self.problem.rhs is None):
            inside = self.problem.initial + seen[m:, :n] + mixed(tables[:, m:, :-1], self.which, F)
            points = zip(self.t + h * basis.between, inside, strict=True)
            off = unresolved(basis, np.vstack([self.slope, F]), [self.value(*p) for p in points])
            kinked = solve(mixed(stages, self.which, np.tile(off, (m, 1))))
            wrong = max(wrong, float(np.abs(kinked / size).max()))
        if not np.isfinite(wrong):
            return None
        return _Trial(
            states=Y,
            slopes=F,
            errors=errors,
            carried=carried,
            gap=gap,
            known=seen[:m, n:] + reach[:m],
            stages=stages,
            solve=solve,
            smooth=smooth,
            wrong=wrong,
        )

    def accept(self, basis: Basis, h: float, trial: _Trial) -> None:
        old, end = self.jacobian, self.t + h
        if self.problem.rhs is not None:
            self.jacobian = self.problem.jacobian_at(end, trial.states[-1])
        errors, carried = self.handed_on(basis, trial, old)
        remembered = np.vstack([trial.slopes, np.zeros(len(self.y))])
        slopes = np.hstack([remembered, np.vstack([carried, trial.gap])])
        self.past.add(Left(basis=basis, length=h, slopes=slopes))
        self.pieces.append(
            Piece(
                start=self.t,
                length=h,
                basis=basis,
                before=self.y,
                states=trial.states,
                slopes=trial.slopes,
                errors=errors,
                smooth=trial.smooth,
            )
        )
        self.t, self.y, self.slope = end, trial.states[-1], trial.slopes[-1]
        self.stats["intervals"] += 1

    def handed_on(self, basis: Basis, trial: _Trial, old: Any) -> tuple[FloatArray, FloatArray]:
        # The errors again, with a Jacobian that goes from its first value to its last one.
        if self.problem.rhs is None:
            return trial.errors, trial.carried

        def carry(E: FloatArray) -> FloatArray:
            return np.stack(
                [
                    (1.0 - c) * (old @ e) + c * (self.jacobian @ e)
                    for c, e in zip(basis.nodes, E, strict=True)
                ]
            )

        E = trial.errors
        E = E - trial.solve(E - trial.known - mixed(trial.stages, self.which, carry(E)))
        return E, carry(E)

    def first(self, basis: Basis) -> float:
        # The first interval, as long as the tolerance allows; the length to go on with, or zero.
        power = min(basis.rate(float(alpha)) for alpha in self.orders)
        longest = min(self.end, self.wish.longest)
        h = min(self.end * self.wish.rtol ** (1.0 / power), longest)
        kept: tuple[float, _Trial] | None = None
        for _ in range(_TRIALS):
            trial = self.trial(basis, h)
            if trial is None:
                if kept is not None:
                    break
                h *= 0.1
            else:
                change = _SAFETY * max(trial.wrong, 1e-12) ** (-1.0 / power)
                if trial.wrong <= 1.0:
                    kept = (h, trial)
                    if change < 2.0 or h >= longest:
                        break
                elif kept is not None:
                    break
                h = min(h * float(np.clip(change, 1e-4, 1e3)), longest)
            self.stats["rejected"] += 1
            if h < _FIRST * self.end:
                return 0.0
        if kept is None:
            return 0.0
        h, trial = kept
        self.accept(basis, h, trial)
        return h

    def next_length(self, h: float) -> float:
        # Not beyond the end, and no sliver left before it.
        h = min(h, self.wish.longest)
        left = self.end - self.t
        return left if left <= h else (0.5 * left if left < 2.0 * h else h)

    def bases(self) -> tuple[Basis, Basis]:
        # Of the first interval and of the others.
        basis: Basis = polynomials(self.wish.degree)
        if self.orders[0] == 1.0:
            return basis, basis
        return starting_powers(self.wish.degree, tuple(map(float, self.orders))), basis

    def published(self, h: float) -> Callable[[], dict[str, FloatArray]]:
        # The arrays from which the run can go on, now, made when they are wanted.
        pieces, lefts, past = tuple(self.pieces), self.past.lefts, self.past.snapshot()
        more = {"next": np.array(h), "counts": np.array(list(self.stats.values()), dtype=float)}
        return lambda: pack(pieces, lefts) | past | more

    def restore(self, arrays: dict[str, FloatArray]) -> float:
        # Go back there; the length to go on with.
        self.pieces, lefts = intervals_of(arrays, *self.bases(), len(self.y))
        self.past.restore(lefts, arrays)
        last = self.pieces[-1]
        self.t, self.y, self.slope = last.start + last.length, last.states[-1], last.slopes[-1]
        if self.problem.rhs is not None:
            self.jacobian = self.problem.jacobian_at(self.t, self.y)
        counts = taken(arrays, "counts", (len(self.stats),))
        self.stats = dict(zip(self.stats, map(int, counts), strict=True))
        return float(arrays["next"])

    def march(
        self,
        watch: Callable[[float], None] | None,
        publish: Callable[[Callable[[], dict[str, FloatArray]]], None] | None,
        h: float = 0.0,
    ) -> str:
        first, basis = self.bases()
        h = h or self.first(first)
        if h == 0.0:
            return "No first interval is short enough; check the right-hand side near time 0."
        power, trials = min(basis.rate(float(alpha)) for alpha in self.orders), 0
        while self.t < self.end * (1.0 - 1e-14):
            h = self.next_length(h)
            if self.stats["intervals"] >= _MANY:
                return (
                    f"{_MANY} intervals have only come to t = {self.t:.6g}: the right-hand side "
                    "may be noisy, or without derivatives everywhere."
                )
            if h < _SHORTEST * self.t or trials > _TRIALS:
                return (
                    f"At t = {self.t:.9g} no interval is short enough: the solution may end or "
                    "jump there."
                )
            trial = self.trial(basis, h)
            trials += 1
            if trial is None or trial.wrong > 1.0:
                self.stats["rejected"] += 1
                h *= 0.25 if trial is None else self._change(trial.wrong, power)
                continue
            self.accept(basis, h, trial)
            trials = 0
            h *= self._change(trial.wrong, power)
            if publish is not None:
                publish(self.published(h))
            if watch is not None:
                watch(self.t)
        return ""

    @staticmethod
    def _change(wrong: float, power: float) -> float:
        return float(np.clip(_SAFETY * max(wrong, 1e-12) ** (-1.0 / power), _LEAST, _MOST))


def collocate(
    problem: FractionalODE,
    end: float,
    wish: Wish,
    *,
    watch: Callable[[float], None] | None = None,
    publish: Callable[[Callable[[], dict[str, FloatArray]]], None] | None = None,
    reached: dict[str, FloatArray] | None = None,
    reading: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Collocated:
    """Integrate a system from 0 to ``end``.

    Parameters
    ----------
    problem : FractionalODE
        The system.
    end : float [t]
        Last time.
    wish : Wish
        Local tolerance and degree.
    watch : callable, optional
        Called after each interval with the time reached.
    publish : callable, optional
        Called after each interval with what returns the arrays from which the run can go on.
    reached : dict of str to ndarray, optional
        Such arrays, to go on from.
    reading : callable, optional
        Context in which they are read.

    Returns
    -------
    Collocated
    """
    run, h = _Run(problem, end, wish), 0.0
    if reached is not None:
        with reading():
            h = run.restore(reached)
    trouble = run.march(watch, publish, h)
    pieces = Pieces(
        initial=problem.initial,
        orders=run.orders,
        which=run.which,
        pieces=tuple(run.pieces),
        kernel_rtol=run.kernel_rtol,
    )
    stats = run.stats | {"exponentials": run.past.terms, "degree": wish.degree}
    return Collocated(pieces=pieces, trouble=trouble, stats=stats)

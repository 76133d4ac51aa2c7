"""The loop over the intervals of a collocated equation, and what solved intervals leave behind.

Each interval is solved with what came before in view (:mod:`fracsde.schemes._collocating`), judged,
and taken or tried again; the memory is a sum of decaying exponentials.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fracsde.schemes._collocating import solved_interval
from fracsde.schemes.keeping import refill, taken
from fracsde.special._power_rule import power_rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray
    from fracsde.schemes._collocating import Equation, Interval, Rule
    from fracsde.special.exponentials import ExponentialSum

__all__ = ["Collocated", "Memory", "Reached", "Steps", "collocated", "ends_in", "memory_of"]


class Memory:
    """What solved intervals leave behind, in decaying exponentials."""

    def __init__(self, kernel: ExponentialSum, alpha: float, cells: int) -> None:
        self.rates, self.weights = kernel.rates, kernel.weights / gamma(alpha)
        self.states = np.zeros((len(self.rates), cells))

    def seen_from(self, delays: FloatArray) -> FloatArray:
        """Return the memory integral at times after the end of the last interval.

        Returns
        -------
        (m, n) ndarray
        """
        return np.asarray((np.exp(-delays[:, None] * self.rates) * self.weights) @ self.states)

    def add(self, interval: Interval) -> None:
        """Advance over a solved interval; the states before are not written to."""
        kept = np.exp(-self.rates * interval.length)[:, None] * self.states
        kept += interval.moments(self.rates)
        self.states = kept


class Steps(Protocol):
    """Where intervals end."""

    @property
    def last(self) -> float:
        """The final time [t]."""

    @property
    def shortest(self) -> float:
        """Length of the shortest interval after the first, which has been accepted [t]."""

    def end(self, start: float) -> float:
        """Return where to end the interval that starts here."""

    def accept(self, interval: Interval) -> bool:
        """Say whether a solved interval will do; if not, ``end`` will propose a shorter one."""

    def snapshot(self) -> FloatArray:
        """Return the numbers from which the choice goes on."""

    def restore(self, numbers: FloatArray) -> None:
        """Go back to such numbers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Collocated:
    """Masses at the wanted times, and how they came about."""

    masses: FloatArray
    ends: FloatArray
    residual: float
    tries: int
    exponentials: int


@dataclass(kw_only=True, eq=False)
class Reached:
    """Where the loop is."""

    found: FloatArray
    """Masses at the wanted times so far."""
    before: FloatArray
    """Masses at the last end."""
    ends: list[float]
    residual: float = 0.0
    tries: int = 0
    memory: Memory | None = None

    @classmethod
    def start(cls, equation: Equation, wanted: FloatArray) -> Reached:
        """Return the state at time 0.

        Returns
        -------
        Reached
        """
        found = np.zeros((len(wanted), len(equation.initial)))
        found[wanted == 0.0] = equation.initial
        return cls(found=found, before=equation.initial, ends=[0.0])

    def snapshot(self, steps: Steps) -> dict[str, FloatArray]:
        """Return the arrays from which the loop can go on.

        Returns
        -------
        dict of str to ndarray
        """
        whole = {
            "ends": np.array(self.ends),
            "found": self.found,
            "before": self.before,
            "counts": np.array([self.residual, self.tries, self.memory is not None]),
            "steps": steps.snapshot(),
        }
        return whole if self.memory is None else whole | {"memory": self.memory.states}

    def restore(
        self,
        arrays: dict[str, FloatArray],
        equation: Equation,
        rule: Rule,
        steps: Steps,
        kernel_rtol: float,
    ) -> None:
        """Go on to a snapshot of the same loop, steps included."""
        steps.restore(arrays["steps"])
        self.ends = ends_in(arrays["ends"]).tolist()
        refill(self.found, arrays["found"])
        self.before = taken(arrays, "before", self.before.shape)
        self.residual, tries, remembers = taken(arrays, "counts", (3,)).tolist()
        self.tries = int(tries)
        if remembers:
            self.memory = memory_of(equation, rule, steps, kernel_rtol)
            refill(self.memory.states, arrays["memory"])


def ends_in(saved: FloatArray) -> FloatArray:
    """Return saved ends of intervals.

    Returns
    -------
    (n + 1,) ndarray of float64 [t]

    Raises
    ------
    ValueError
        If they are none.
    """
    if saved.ndim != 1 or len(saved) < 2 or not np.all(np.diff(saved) > 0.0):
        msg = f"ends of intervals do not increase: {saved}"
        raise ValueError(msg)
    return saved


def memory_of(equation: Equation, rule: Rule, steps: Steps, kernel_rtol: float) -> Memory:
    """Return an empty memory that is good from the nearest node on that the steps may propose.

    Returns
    -------
    Memory
    """
    near = 0.5 * steps.shortest * float(rule.nodes[0])
    kernel = power_rule(1.0 - equation.alpha, rtol=kernel_rtol, first=near, last=steps.last)
    return Memory(kernel, equation.alpha, len(equation.initial))


def collocated(
    equation: Equation,
    rule: Rule,
    steps: Steps,
    wanted: FloatArray,
    *,
    kernel_rtol: float,
    watch: Callable[[int], None] | None = None,
    publish: Callable[[dict[str, FloatArray]], None] | None = None,
    reached: Reached | None = None,
) -> Collocated:
    """Solve interval by interval.

    Parameters
    ----------
    equation : Equation
        What is collocated.
    rule : Rule
        With which nodes.
    steps : Steps
        Where intervals end.
    wanted : (t,) float64 [t]
        Increasing, when masses are wanted.
    kernel_rtol : float [1]
        Relative error of the kernel.
    watch : callable, optional
        Called after each interval with their number.
    publish : callable, optional
        Called after each interval with the arrays from which the loop can go on.
    reached : Reached, optional
        Where to go on from, and changed; time 0 by default.

    Returns
    -------
    Collocated
    """
    at = Reached.start(equation, wanted) if reached is None else reached
    while at.ends[-1] < steps.last:
        a, b = at.ends[-1], steps.end(at.ends[-1])
        interval = solved_interval(equation, rule, a, b - a, at.before, at.memory)
        at.tries += 1
        if not steps.accept(interval):
            continue
        here = (wanted > a) & (wanted <= b)
        if np.any(here):
            at.found[here] = interval.at(wanted[here])
        at.before, at.residual = interval.masses[-1], max(at.residual, interval.residual)
        if at.memory is None and b < steps.last:
            at.memory = memory_of(equation, rule, steps, kernel_rtol)
        if at.memory is not None:
            at.memory.add(interval)
        at.ends.append(b)
        if publish is not None:
            publish(at.snapshot(steps))
        if watch is not None:
            watch(len(at.ends) - 1)
    return Collocated(
        masses=at.found,
        ends=np.array(at.ends),
        residual=at.residual,
        tries=at.tries,
        exponentials=0 if at.memory is None else len(at.memory.rates),
    )

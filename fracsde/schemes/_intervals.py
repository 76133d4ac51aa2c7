r"""Where the intervals of a collocation end.

Solutions are analytic for :math:`t > 0` with a singularity at the start, so that on an interval
from ``t`` to ``q t`` polynomials of degree ``m`` converge like :math:`\rho^{-m}` with

.. math::
    \rho = \frac{\sqrt q + 1}{\sqrt q - 1} :

intervals of constant ratio have constant error.  The first one, of length :math:`t_1`, sees the
singularity itself.  With :math:`\lambda^2 = |L^2 p_0| / |p_0|` it leaves a relative error in
proportion to :math:`(\lambda t_1^\alpha)^2` at its end.  Caputo's equation forgets it like
:math:`\lambda^2 t_1^{1 + \alpha} t^{\alpha - 1}`; to the driven equation it is a displacement of
mass, which relaxes like any other.

Operators and sources that vary faster than that ask for shorter intervals; they are found by
trying, with the last coefficients of the polynomial as the judge.  Where even the shortest do not
serve, as on noise, the search ends, and the error estimate tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.schemes.keeping import refill

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.schemes._collocating import Equation, Interval

__all__ = ["ChosenSteps", "GivenSteps", "first_length", "ratio_for", "rho"]

# Measured: the error is near 0.01 rho**-m, and that of the first interval below the square of
# lambda t_1**alpha divided by these (Caputo, driven).
_SHARE = 0.01
_ROOM = (300.0, 10.0)
_SMALL = 0.1  # largest lambda t_1**alpha for which that holds
_BRIEFEST = 1e-100  # first interval, relative to the last time
_UNRESOLVED = 100  # intervals too short to be halved after which halving is given up
_FINEST = 1e-5  # shortest interval, relative to its time


def rho(ratio: float) -> float:
    """Return by how much one degree more divides the error, for intervals of a ratio.

    Returns
    -------
    float [1]
    """
    root = np.sqrt(ratio)
    return float((root + 1.0) / (root - 1.0))


def ratio_for(degree: int, tolerance: float) -> float:
    """Return the ratio of intervals whose error is the tolerance.

    Returns
    -------
    float [1]
    """
    wanted = max((_SHARE / tolerance) ** (1.0 / degree), 1.5)
    return float(((wanted + 1.0) / (wanted - 1.0)) ** 2)


def first_length(equation: Equation, degree: int, tolerance: float, wanted: FloatArray) -> float:
    """Return the length of the first interval.

    Parameters
    ----------
    equation : Equation
        What is collocated.
    degree : int
        Nodes per interval.
    tolerance : float [1]
        Relative error.
    wanted : (t,) float64 [t]
        When the solution is wanted.

    Returns
    -------
    float [t]
    """
    alpha, last = equation.alpha, float(wanted[-1])
    L = equation.operators(np.zeros(1))
    p = equation.initial[None]
    size = np.abs(p / equation.widths).max()
    bend = float(np.abs(L.apply(L.apply(p)) / equation.widths).max() / size)
    speed = max(equation.clock * np.sqrt(bend), last**-alpha)
    if alpha == 1.0:  # smooth: no singularity to be hidden
        return float(min(tolerance ** (1.0 / (degree + 1)) / speed, last))
    room = _ROOM[equation.driven] * tolerance / speed**2
    early = room ** (0.5 / alpha)
    if not equation.driven:
        late = room * float(wanted[wanted > 0.0][0]) ** (1.0 - alpha)
        early = max(early, late ** (1.0 / (1.0 + alpha)))
    return float(min(early, (_SMALL / speed) ** (1.0 / alpha), last))


class GivenSteps:
    """Intervals between given nodes."""

    def __init__(self, nodes: FloatArray) -> None:
        self._nodes = nodes
        self.last = float(nodes[-1])
        self.shortest = float(np.diff(nodes[1:]).min()) if len(nodes) > 2 else self.last

    def end(self, start: float) -> float:
        """Return the next node."""
        return float(self._nodes[np.searchsorted(self._nodes, start, side="right")])

    def accept(self, interval: Interval) -> bool:
        """Take what comes."""
        del interval
        return True

    def snapshot(self) -> FloatArray:
        """Return nothing: the nodes are given."""
        return np.empty(0)

    def restore(self, numbers: FloatArray) -> None:
        """Have nothing to go back to."""
        refill(np.empty(0), numbers)


class ChosenSteps:
    """Intervals of constant ratio, shorter where they must be."""

    def __init__(
        self,
        *,
        first: float,
        ratio: float,
        wanted: FloatArray,
        tolerance: float,
        widths: FloatArray,
        keep_first: bool = False,
    ) -> None:
        self.last, self._keep_first = float(wanted[-1]), keep_first
        self._first, self._ratio, self._early = first, ratio, float(wanted[wanted > 0.0][0])
        self._tolerance, self._widths = tolerance, widths
        self._unresolved = 0
        self._length: float | None = None  # of the next interval, where that of the ratio fails

    @property
    def shortest(self) -> float:
        """Length below which no interval after the first is proposed [t]."""
        least = 0.5 * (self._ratio - 1.0) * self._first
        return min(least, self.last - self._first) if self._first < self.last else least

    def end(self, start: float) -> float:
        """Return the end of the next interval; what is left for two is halved."""
        if start == 0.0:
            return min(self._first, self.last)
        longest = (self._ratio - 1.0) * start
        length = longest if self._length is None else min(self._length, longest)
        if length == longest:
            self._length = None
        count = np.ceil((self.last - start) / length * (1.0 - 1e-9))
        if count <= 1.0:
            return self.last
        return start + (0.5 * (self.last - start) if count == 2.0 else length)

    def accept(self, interval: Interval) -> bool:
        """Judge an interval, and remember what it says about the next."""
        doubt = interval.doubt(self._widths)
        if not np.isfinite(doubt):
            return True  # and let the result say so
        if interval.start == 0.0:
            alpha = interval.rule.alpha
            if not interval.driven:  # the error decays until the first wanted time
                doubt *= min(interval.length / self._early, 1.0) ** (1.0 - alpha)
            brief = self._first < _BRIEFEST * self.last
            if doubt <= self._tolerance or brief or self._keep_first:
                return True
            power = 2.0 * alpha if alpha < 1.0 else float(interval.rule.degree)
            shorter = (0.5 * self._tolerance / doubt) ** (1.0 / power)
            self._first = min(self._first, self.last) * min(max(shorter, _BRIEFEST), 0.5)
            return False
        factor = 0.9 * (self._tolerance / max(doubt, 1e-300)) ** (1.0 / interval.rule.degree)
        floor = max(self.shortest, _FINEST * interval.start)
        stuck = interval.length <= floor * 1.01
        if doubt <= self._tolerance or stuck:
            self._unresolved += stuck and not doubt <= self._tolerance
            if self._unresolved >= _UNRESOLVED:
                self._tolerance, self._length = np.inf, None
            if self._length is not None:
                self._length = interval.length * min(max(factor, 0.5), 2.0)
            return True
        self._length = max(interval.length * min(max(factor, 0.2), 0.7), floor)
        return False

    def snapshot(self) -> FloatArray:
        """Return the numbers from which the choice goes on."""
        length = np.nan if self._length is None else self._length
        return np.array([self._first, self._tolerance, float(self._unresolved), length])

    def restore(self, numbers: FloatArray) -> None:
        """Go back to such numbers."""
        first, self._tolerance, unresolved, length = map(float, numbers)
        self._first, self._unresolved = first, int(unresolved)
        self._length = None if np.isnan(length) else length

r"""One interval of a collocated equation with a memory.

Both equations that are served are one Volterra equation for an unknown ``v``,

.. math::
    v(t) = v_0(t) + \frac{1}{\Gamma(\alpha)} \int_0^t (t - s)^{\alpha - 1} g(s)\, ds ,

with :math:`c = \tau^{1 - \alpha}` and

===========  ===================================  =====================  ==========================
form         ``v_0``                              ``g``                  density
===========  ===================================  =====================  ==========================
Caputo       :math:`p_0`                          :math:`c (L v + s)`    :math:`p = v`
driven       :math:`p_0 t^{\alpha-1}/             :math:`c L v + s`      :math:`p = p_0 +
             \Gamma(\alpha)`                                             \int_0^t g\, ds`
===========  ===================================  =====================  ==========================

On each interval ``g`` is the polynomial through its values at right Radau nodes, whose integrals
are exact; what came before is a sum of decaying exponentials, advanced exactly with the same
polynomials.  On the first interval of the driven form ``v`` and ``c L v`` start like
:math:`t^{\alpha - 1}`, and the polynomial is the factor beside that power.

Between the nodes of the first interval densities are the integrals above; later, where densities
are smooth, the polynomial through the start of the interval and its nodes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import gamma
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.schemes._first_interval import power_integrals, power_moments
from fracsde.schemes._interval_systems import NodeOperators, modes_of, operators_at_nodes
from fracsde.schemes.collocation_tables import (
    exponential_moments,
    fractional_integrals,
    lagrange,
    radau_nodes,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray
    from fracsde.schemes._interval_loop import Memory

__all__ = ["Equation", "Interval", "Rule", "solved_interval"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Equation:
    """What is collocated."""

    generator_at: Callable[[float], Any]
    source_at: Callable[[float], FloatArray] | None
    initial: FloatArray
    widths: FloatArray
    alpha: float
    timescale: float
    driven: bool
    engine: Any

    @property
    def clock(self) -> float:
        """``tau**(1 - alpha)``, the factor before the operator."""
        return float(self.timescale ** (1.0 - self.alpha))

    def start(self, times: FloatArray) -> FloatArray:
        """Return ``v_0`` at times, one row each.

        Returns
        -------
        (m, n) ndarray
        """
        if not self.driven:
            return np.broadcast_to(self.initial, (len(times), len(self.initial)))
        return np.asarray((times ** (self.alpha - 1.0) / gamma(self.alpha))[:, None] * self.initial)

    def operators(self, times: FloatArray) -> NodeOperators:
        """Return the operators at times.

        Returns
        -------
        NodeOperators
        """
        return operators_at_nodes([self.generator_at(float(t)) for t in times], self.engine)

    def sources(self, times: FloatArray) -> FloatArray | None:
        """Return the source's part of ``g`` at times.

        Returns
        -------
        (m, n) ndarray or None
        """
        if self.source_at is None:
            return None
        rows = np.array([self.source_at(float(t)) for t in times])
        return rows if self.driven else self.clock * rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Rule:
    """The numbers of a degree: nodes and matrices."""

    degree: int
    alpha: float
    nodes: FloatArray = field(init=False)
    B: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        nodes = radau_nodes(self.degree)
        object.__setattr__(self, "nodes", nodes)
        object.__setattr__(self, "B", fractional_integrals(nodes, nodes, alpha=self.alpha))

    @cached_property
    def A(self) -> FloatArray:  # noqa: N802 - a matrix
        """Plain integrals to the nodes."""
        return fractional_integrals(self.nodes, self.nodes, alpha=1.0)

    @cached_property
    def first_B(self) -> FloatArray:  # noqa: N802 - a matrix
        """``B`` for unknowns that start like ``t**(alpha - 1)``, as factors beside the power."""
        alpha = self.alpha
        table = power_integrals(self.nodes, self.nodes, alpha=alpha, start=alpha)
        return np.asarray(self.nodes[:, None] ** (1.0 - alpha) * table)

    @cached_property
    def tails(self) -> FloatArray:
        """From values at the nodes to the last Legendre coefficient, and to that two before."""
        m = self.degree
        orders = [m - 1, max(m - 3, 0)]
        legendre = np.polynomial.legendre.legvander(2.0 * self.nodes - 1.0, m)[:, orders].T
        return np.asarray((2 * np.array(orders) + 1)[:, None] * self.A[-1] * legendre)


@dataclass(frozen=True, kw_only=True, eq=False)
class Interval:
    """A solved interval: what the memory takes from it, and densities on it."""

    rule: Rule
    start: float
    length: float
    before: FloatArray
    """Masses at its start."""
    masses: FloatArray
    """``(m, n)``, masses at the nodes."""
    smooth: FloatArray
    """``(m, n)``, the part of ``g`` that is a polynomial."""
    steep: FloatArray | None
    """``(m, n)``, on the first interval of the driven form the factor of the other part."""
    driven: bool
    residual: float

    @property
    def g(self) -> FloatArray:
        """``g`` at the nodes, without the power where there is one."""
        return self.smooth if self.steep is None else self.smooth + self.steep

    def moments(self, rates: FloatArray) -> FloatArray:
        """Return what each exponential of the memory keeps of the interval.

        Returns
        -------
        (k, n) ndarray
        """
        h, nodes = self.length, self.rule.nodes
        kept = h * (exponential_moments(nodes, rates * h) @ self.smooth)
        if self.steep is not None:
            alpha = self.rule.alpha
            kept += h**alpha * (power_moments(nodes, rates * h, start=alpha) @ self.steep)
        return np.asarray(kept)

    def at(self, times: FloatArray) -> FloatArray:
        """Return masses at times in the interval.

        Returns
        -------
        (t, n) ndarray
        """
        x, h, alpha = (times - self.start) / self.length, self.length, self.rule.alpha
        nodes = self.rule.nodes
        if self.start > 0.0:
            table = lagrange(np.append(0.0, nodes), x)
            return np.asarray(table @ np.vstack([self.before, self.masses]))
        order = 1.0 if self.driven else alpha
        found = h**order * (fractional_integrals(nodes, x, alpha=order) @ self.smooth)
        if self.steep is not None:
            found += h**alpha * (power_integrals(nodes, x, alpha=1.0, start=alpha) @ self.steep)
        return np.asarray(self.before + found)

    def doubt(self, widths: FloatArray) -> float:
        """Return what the polynomial for ``g`` may leave out of densities, relative to them.

        The last coefficient kept, and as much less as it is less than the one two before: Radau
        nodes are of higher order than the polynomial.  On the first interval of the driven form
        the weight beside the polynomial stands at the start, where all coefficients left out add
        up; they fall like powers, ``n**(-1 - 2 alpha)``.

        Returns
        -------
        float [1]
        """
        alpha, h = self.rule.alpha, self.length
        last, other = np.abs(self.rule.tails @ self.g / widths).max(axis=1)
        size = max(float(np.abs(self.masses[-1] / widths).max()), 1e-300)
        if self.steep is not None:
            return float(h**alpha / alpha * last * self.rule.degree / (2.0 * alpha) / size)
        scale = h if self.driven else h**alpha / gamma(1.0 + alpha)
        return float(scale * last / size * min(1.0, last / max(other, 1e-300)))


def solved_interval(
    equation: Equation,
    rule: Rule,
    start: float,
    length: float,
    before: FloatArray,
    memory: Memory | None,
) -> Interval:
    """Solve one interval.

    Parameters
    ----------
    equation : Equation
        What is collocated.
    rule : Rule
        With which nodes.
    start, length : float [t]
        Where.
    before : (n,) float64 [1]
        Masses at its start.
    memory : Memory or None
        What came before; nothing for the first interval.

    Returns
    -------
    Interval
    """
    alpha, c, h = equation.alpha, equation.clock, length
    times = start + h * rule.nodes
    operators, s = equation.operators(times), equation.sources(times)
    steep = equation.driven and memory is None
    B = rule.first_B if steep else rule.B
    known = np.array(equation.start(times))
    if memory is not None:
        known += memory.seen_from(h * rule.nodes)
    if s is not None:
        known += h**alpha * (rule.B @ s)
    if steep:  # the unknown is the factor beside t**(alpha - 1)
        known *= times[:, None] ** (1.0 - alpha)
    modes, eta = modes_of(B), c * h**alpha
    v = operators.solve(modes, eta, known)
    drift = c * operators.apply(v)
    gap = v - known - h**alpha * (B @ drift)
    size = np.abs(v).max() + eta * np.abs(operators.apply(np.abs(v))).max() + 1e-300
    residual = float(np.abs(gap).max() / size)
    if eta * operators.speed > 1.0:  # rounding of a stiff operator would outweigh this division's
        drift = modes.inverse @ (v - known) / h**alpha
    source = np.zeros_like(v) if s is None else s
    smooth = source if steep else drift + source
    if not equation.driven:
        masses = v
    elif steep:
        table = power_integrals(rule.nodes, rule.nodes, alpha=1.0, start=alpha)
        masses = before + h**alpha * (table @ drift) + h * (rule.A @ source)
    else:
        masses = before + h * (rule.A @ smooth)
    return Interval(
        rule=rule,
        start=start,
        length=h,
        before=before,
        masses=masses,
        smooth=smooth,
        steep=drift if steep else None,
        driven=equation.driven,
        residual=residual,
    )

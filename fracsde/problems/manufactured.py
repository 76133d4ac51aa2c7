r"""Problems whose solution is chosen first.

.. math::
    u(t, x) = \sum_k t^{\gamma_k} f_k(x), \qquad
    s = \tau^{\alpha - 1} \sum_k \frac{\Gamma(\gamma_k + 1)}{\Gamma(\gamma_k + 1 - \alpha)}\,
        t^{\gamma_k - \alpha} f_k - L u, \qquad
    L u = \nabla\cdot(u\, \nabla V) - \nabla\cdot(F u) + \nabla\cdot(D\, \nabla u) - r\, u ,

with the Caputo derivative of a power, which is zero for :math:`\gamma = 0`.  SymPy works out the
source, so that no difference quotient stands between a scheme and the truth.

Problems start from densities of mass one.  So there must be a part with :math:`\gamma = 0`, not
negative; the whole of ``u`` is divided by its mass.  Powers between 0 and ``alpha`` would need a
source that is infinite at the start, and are refused.  What is chosen must keep to the walls: the
flux :math:`J = F u - u \nabla V - D \nabla u` vanishes at reflecting ones, ``u`` at absorbing ones,
and both are periodic in a ring; this is tried for each part.

Smooth solutions flatter a scheme: only parts with :math:`\gamma = \alpha` start as the solutions of
real problems do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from fracsde._check import real
from fracsde.errors import DensityError, InputError, OutOfRangeError, UnsupportedError
from fracsde.problems._expression_parsing import as_fraction
from fracsde.problems.expressions import Expression
from fracsde.problems.fokker_planck import FokkerPlanck
from fracsde.problems.fractional import FractionalFokkerPlanck

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Manufactured", "manufactured"]

_KEPT = 1e-10  # what may be left at a wall, relative to the largest value inside
_NODES = 24  # of a Gauss rule on each of the panels below
_PANELS = 16
_T = sp.Symbol("t", real=True)
_AXES = ("x", "y", "z")


@dataclass(frozen=True, kw_only=True)
class Manufactured:
    """A problem and its exact solution.

    Parameters
    ----------
    problem : FractionalFokkerPlanck
        With the source that makes ``solution`` true.
    solution : Expression
        ``u`` in ``t`` and the coordinates.
    source : Expression
        ``s`` in ``t`` and the coordinates.
    """

    problem: FractionalFokkerPlanck
    solution: Expression
    source: Expression

    def exact(self, t: float, *coordinates: Any) -> Any:
        """Return the exact density.

        Parameters
        ----------
        t : float [t]
            Not negative.
        *coordinates : array_like [x]
            One per dimension.

        Returns
        -------
        float64 or ndarray [1/x]
        """
        return self.solution(real("t", t, low=0.0, closed="low"), *coordinates)


def manufactured(
    parts: Sequence[tuple[float, Any]],
    *,
    alpha: float,
    domain: Any,
    diffusion: Any = 1.0,
    potential: Any = None,
    force: Any = None,
    reaction: Any = None,
    boundary: Any = "reflecting",
    timescale: float = 1.0,
    parameters: Mapping[str, float] | None = None,
) -> Manufactured:
    r"""Return the problem that a chosen density solves.

    Parameters
    ----------
    parts : sequence of (float, str or Expr)
        Pairs of a power :math:`\gamma`, 0 or at least ``alpha``, and a formula in ``x`` (``x, y``,
        ``x, y, z``).  Those of power 0 make the start.
    alpha : float [1]
        Order of the derivative.
    domain : (float, float) or sequence of them [x]
        Finite.
    diffusion, potential, reaction : float, str, Expr or Expression
        Coefficients, as in :class:`~fracsde.problems.fokker_planck.FokkerPlanck`.
    force : the same, or one per coordinate
        Extra drift.
    boundary : str or pairs
        As in ``FokkerPlanck``.
    timescale : float [t]
        ``tau``.
    parameters : mapping of str to float, optional
        Values of names in the formulas.

    Returns
    -------
    Manufactured

    Raises
    ------
    InputError
        If a part does not keep to the walls; the message says which, where and by how much.
    OutOfRangeError
        If a power lies between 0 and ``alpha``.
    DensityError
        If no part starts, or the start has no mass.
    UnsupportedError
        If the domain is not finite.

    Examples
    --------
    >>> known = manufactured([(0, "1"), (0.6, "cos(pi*x)/2")], alpha=0.6, domain=(0.0, 1.0))
    >>> known.solution
    Expression('t**(3/5)*cos(pi*x)/2 + 1', variables=('t', 'x'))
    >>> bool(abs(known.exact(1.0, 0.0) - 1.5) < 1e-15)
    True
    """
    box = _finite(domain)
    names = _AXES[: len(box)]
    order, tau = (
        real("alpha", alpha, low=0.0, high=1.0, closed="high"),
        real("timescale", timescale, low=0.0),
    )

    def read(formula: Any) -> sp.Expr:
        if isinstance(formula, Expression):
            formula = formula.sympy
        return Expression(formula, variables=names, parameters=parameters).sympy

    chosen = [(_power(gamma, order), read(formula)) for gamma, formula in _pairs(parts)]
    V = read(0 if potential is None else potential)
    D, r = read(diffusion), read(0 if reaction is None else reaction)
    F = _forces(force, read, len(names))
    operator = _Operator(names=names, potential=V, force=F, diffusion=D, reaction=r)
    for gamma, f in chosen:
        _keep_to_walls(operator, gamma, f, box, boundary)

    start = sum((f for gamma, f in chosen if gamma == 0), sp.Integer(0))
    mass = as_fraction(_mass(Expression(start, variables=names), box))
    chosen = [(gamma, f / mass) for gamma, f in chosen]
    u = sum((_T**gamma * f for gamma, f in chosen), sp.Integer(0))
    s = as_fraction(tau ** (order - 1.0)) * sum(
        (_caputo_of_power(gamma, order) * f for gamma, f in chosen), sp.Integer(0)
    ) - operator.applied(u)
    times = ("t", *names)
    source = Expression(s, variables=times)
    # At alpha = 1 a base is the problem itself; the class serves both.
    base = FokkerPlanck(
        potential=None if potential is None else Expression(V, variables=names),
        force=None if force is None else _callable_force(F, names),
        diffusion=float(D) if D.is_Rational else Expression(D, variables=names),
        reaction=None if reaction is None else Expression(r, variables=names),
        domain=box[0] if len(box) == 1 else box,
        boundary=boundary,
        source=source,
        initial=Expression(start / mass, variables=names),
    )
    problem = FractionalFokkerPlanck(base=base, alpha=order, timescale=tau)
    return Manufactured(problem=problem, solution=Expression(u, variables=times), source=source)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Operator:
    names: tuple[str, ...]
    potential: sp.Expr
    force: tuple[sp.Expr, ...]
    diffusion: sp.Expr
    reaction: sp.Expr

    @property
    def symbols(self) -> list[sp.Symbol]:
        return [sp.Symbol(name, real=True) for name in self.names]

    def flux(self, u: sp.Expr) -> list[sp.Expr]:
        return [
            F * u - u * sp.diff(self.potential, x) - self.diffusion * sp.diff(u, x)
            for F, x in zip(self.force, self.symbols, strict=True)
        ]

    def applied(self, u: sp.Expr) -> sp.Expr:
        outflow = sum(
            (sp.diff(J, x) for J, x in zip(self.flux(u), self.symbols, strict=True)), sp.Integer(0)
        )
        return -outflow - self.reaction * u


def _caputo_of_power(gamma: sp.Rational, alpha: float) -> sp.Expr:
    # The derivative of t**gamma; the quotient of gamma functions as an exact decimal.
    if gamma == 0:
        return sp.Integer(0)
    order = as_fraction(alpha)
    factor = float(sp.N(sp.gamma(gamma + 1) / sp.gamma(gamma + 1 - order), 25))
    return as_fraction(factor) * _T ** (gamma - order)


def _pairs(parts: Any) -> list[tuple[Any, Any]]:
    try:
        pairs = [(gamma, formula) for gamma, formula in parts]
    except (TypeError, ValueError):
        pairs = []
    if not pairs:
        msg = f'`parts` must be pairs (power, formula) such as (0, "1"), got {parts!r}'
        raise InputError(msg)
    return pairs


def _power(gamma: Any, alpha: float) -> sp.Rational:
    power = real("power", gamma, low=0.0, closed="low")
    if 0.0 < power < alpha:
        msg = (
            f"`parts` has the power {power:g}, which must be 0 or at least alpha = {alpha:g}: "
            "below it the source is infinite at the start"
        )
        raise OutOfRangeError(msg)
    exact = as_fraction(power)
    return sp.Integer(exact) if exact.q == 1 else exact


def _finite(domain: Any) -> list[tuple[float, float]]:
    ends = np.array(domain, dtype=np.float64)
    ends = ends.reshape(1, -1) if ends.ndim == 1 else ends
    if ends.ndim != 2 or ends.shape[1] != 2 or not 1 <= len(ends) <= 3:
        msg = f"`domain` must be (a, b), or one to three such pairs, got {domain!r}"
        raise InputError(msg)
    if not np.all(np.isfinite(ends)):
        msg = f"`domain` must be finite, got {domain!r}; a density chosen on the line has no walls"
        raise UnsupportedError(msg)
    return [(float(a), float(b)) for a, b in ends]


def _forces(force: Any, read: Any, dimension: int) -> tuple[sp.Expr, ...]:
    given = [0] * dimension if force is None else force
    if isinstance(given, (str, float, int, sp.Expr, Expression)):
        given = [given]
    if len(given) != dimension:
        msg = f"`force` must have one formula per coordinate, {dimension}, got {len(given)}"
        raise InputError(msg)
    return tuple(read(component) for component in given)


def _callable_force(F: tuple[sp.Expr, ...], names: tuple[str, ...]) -> Any:
    components = tuple(Expression(f, variables=names) for f in F)
    if len(components) == 1:
        return components[0]
    return lambda *x: tuple(component(*x) for component in components)


def _mass(start: Expression, box: list[tuple[float, float]]) -> float:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    axes, factors = [], []
    for k, (a, b) in enumerate(box):
        half = 0.5 * (b - a) / _PANELS
        middles = a + half * (2.0 * np.arange(_PANELS) + 1.0)
        shape = [1] * len(box)
        shape[k] = -1
        axes.append((middles[:, None] + half * nodes).reshape(shape))
        factors.append(np.tile(half * weights, _PANELS).reshape(shape))
    values = start(*axes)
    for factor in factors:
        values = values * factor
    mass = float(math.fsum(values.ravel()))
    if abs(mass - 1.0) < 1e-14:  # rounding of the rule
        mass = 1.0
    if not (np.isfinite(mass) and mass > 0.0):
        msg = (
            f"`parts` of power 0 make the start, whose mass is {mass:g} and must be positive; add "
            'a density such as (0, "1")'
        )
        raise DensityError(msg)
    return mass


def _keep_to_walls(
    operator: _Operator,
    gamma: sp.Rational,
    f: sp.Expr,
    box: list[tuple[float, float]],
    boundary: Any,
) -> None:
    # Values and fluxes of one part on every wall, against their largest values inside.
    names = operator.names
    probes = [np.linspace(a, b, 33) for a, b in box]
    for axis, J in enumerate(operator.flux(f)):
        walls = _walls_of(boundary, axis, len(box))
        value, flux = Expression(f, variables=names), Expression(J, variables=names)
        slope = Expression(sp.diff(f, operator.symbols[axis]) * operator.diffusion, variables=names)
        inside = np.meshgrid(*probes, indexing="ij", sparse=True)
        largest = float(np.abs(value(*inside)).max())
        steepest = max(float(np.abs(part(*inside)).max()) for part in (flux, slope))
        faces = []
        for end in box[axis]:
            on_wall = [np.array([end]) if k == axis else p for k, p in enumerate(probes)]
            faces.append(np.meshgrid(*on_wall, indexing="ij", sparse=True))
        if walls[0] == "periodic":
            jumps = [
                (part(*faces[1]) - part(*faces[0]), scale, what)
                for part, scale, what in ((value, largest, "value"), (flux, steepest, "flux"))
            ]
        else:
            jumps = [
                (value(*face), largest, "value")
                if wall == "absorbing"
                else (flux(*face), steepest, "flux")
                for wall, face in zip(walls, faces, strict=True)
            ]
        for left, scale, what in jumps:
            off = float(np.abs(left).max())
            if off > _KEPT * max(scale, np.finfo(np.float64).tiny):
                where = (
                    f"across the periodic seam of {names[axis]}"
                    if walls[0] == "periodic"
                    else f"at the {'/'.join(sorted(set(walls)))} walls of {names[axis]}"
                )
                msg = (
                    f"`parts`: the one of power {float(gamma):g}, {f}, has a {what} of {off:.3g} "
                    f"{where}, which must be 0; choose one that keeps to the walls, e.g. "
                    "cos(pi*x) on (0, 1) or a multiple of exp(-V/D) for no flux, sin(pi*x) for "
                    "absorption"
                )
                raise InputError(msg)


def _walls_of(boundary: Any, axis: int, dimension: int) -> tuple[str, str]:
    # The two walls of one coordinate, in any of the forms that a problem takes.
    if isinstance(boundary, str):
        return boundary, boundary
    sides = boundary[axis] if dimension > 1 else boundary
    return (sides, sides) if isinstance(sides, str) else (sides[0], sides[1])

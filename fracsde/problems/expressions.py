r"""Functions of coordinates from formulas, for forces, diffusions, sources and reactions.

.. math::
    f(x_1, \dots, x_d), \qquad \text{e.g. } f = D_0\, (1 + a \cos x) .

A formula is text, parsed by a list of what is allowed (:mod:`fracsde.problems._expression_parsing`)
and never run, or a SymPy expression of the same pieces.  Decimals are the exact fractions they are
written as, so that derivatives are exact and equality is that of formulas.  Values come from a
program of NumPy functions (:mod:`fracsde.problems._expression_programs`).

An ``Expression`` is a callable, and goes wherever a problem takes one.  With ``("t", "x")`` for
variables it is a source.

Not here: potentials, which know their forces (:mod:`fracsde.problems.potentials`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from fracsde._check import real
from fracsde.errors import InputError, NotFiniteError, ShapeError
from fracsde.problems._expression_parsing import (
    CONSTANTS,
    FUNCTIONS,
    allowed_tree,
    as_fraction,
    parsed,
)
from fracsde.problems._expression_programs import Program, compiled

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike

__all__ = ["Expression"]


@dataclass(frozen=True, eq=False, repr=False)
class Expression:
    """A function of coordinates given by a formula.

    Parameters
    ----------
    expression : str, sympy.Expr or float
        The formula, of numbers, variables, parameters, ``pi``, ``E``, ``+ - * / **`` and ``exp log
        sqrt sin cos tan asin acos atan sinh cosh tanh abs sign erf``.  Kept as its canonical text,
        with the parameters put in.
    variables : tuple of str
        Names of the coordinates, in the order in which they are passed.
    parameters : mapping of str to float, optional
        Values of the other names.

    Raises
    ------
    InputError
        If the formula has a piece that is not allowed, or the names are not usable.

    Examples
    --------
    >>> D = Expression("D0 * (1 + x**2 / 2)", parameters={"D0": 0.3})
    >>> D
    Expression('3*x**2/20 + 3/10', variables=('x',))
    >>> D(np.array([0.0, 2.0]))
    array([0.3, 0.9])
    >>> D.derivative("x")
    Expression('3*x/10', variables=('x',))
    """

    expression: str | sp.Expr | float
    variables: tuple[str, ...] = field(default=("x",), kw_only=True)
    parameters: InitVar[Mapping[str, float] | None] = field(default=None, kw_only=True)

    def __post_init__(self, parameters: Mapping[str, float] | None) -> None:
        names = _variables(self.variables)
        symbols = {name: sp.Symbol(name, real=True) for name in names}
        formula: Any = self.expression
        known = symbols | _parameters(parameters, names)
        if isinstance(formula, str):
            tree = parsed(formula, known)
        elif isinstance(formula, sp.Expr):
            tree = allowed_tree(formula, known)
        else:
            tree = as_fraction(_number(formula))
        if tree.has(sp.zoo, sp.nan, sp.oo, -sp.oo, sp.I):
            msg = f"`expression` must be real and finite, got {tree}"
            raise InputError(msg)
        object.__setattr__(self, "variables", names)
        object.__setattr__(self, "expression", sp.sstr(tree))
        self.__dict__["sympy"] = tree

    @cached_property
    def sympy(self) -> sp.Expr:
        """The formula as a SymPy expression in real symbols."""
        raise AssertionError  # filled on construction

    @cached_property
    def symbols(self) -> tuple[sp.Symbol, ...]:
        """The variables as SymPy symbols."""
        return tuple(sp.Symbol(name, real=True) for name in self.variables)

    @cached_property
    def gradient(self) -> tuple[sp.Expr, ...]:
        """First derivatives, one SymPy expression per variable."""
        return tuple(sp.diff(self.sympy, symbol) for symbol in self.symbols)

    @cached_property
    def hessian(self) -> sp.ImmutableMatrix:
        """Second derivatives as a SymPy matrix."""
        rows = [[sp.diff(slope, symbol) for symbol in self.symbols] for slope in self.gradient]
        return sp.ImmutableMatrix(rows)

    @cached_property
    def _program(self) -> Program:
        return compiled([self.sympy], self.symbols)

    @cached_property
    def _gradient_program(self) -> Program:
        return compiled(self.gradient, self.symbols)

    @cached_property
    def _hessian_program(self) -> Program:
        return compiled(list(self.hessian), self.symbols)

    def __call__(self, *coordinates: ArrayLike) -> Any:
        """Return values at points.

        Parameters
        ----------
        *coordinates : array_like
            One per variable; they broadcast.

        Returns
        -------
        float64 or ndarray of float64
        """
        return self._run(self._program, coordinates)[0]

    def gradient_at(self, *coordinates: ArrayLike) -> tuple[Any, ...]:
        """Return first derivatives at points.

        Parameters
        ----------
        *coordinates : array_like
            One per variable; they broadcast.

        Returns
        -------
        tuple of float64 or ndarray
            One per variable.
        """
        return self._run(self._gradient_program, coordinates)

    def hessian_at(self, *coordinates: ArrayLike) -> Any:
        """Return second derivatives at points.

        Parameters
        ----------
        *coordinates : array_like
            One per variable; they broadcast.

        Returns
        -------
        (d, d, ...) ndarray
        """
        d = len(self.variables)
        rows = np.array(self._run(self._hessian_program, coordinates))
        return rows.reshape(d, d, *rows.shape[1:])

    def _run(self, program: Program, coordinates: tuple[ArrayLike, ...]) -> tuple[Any, ...]:
        if len(coordinates) != len(self.variables):
            msg = (
                f"{self!r} takes {len(self.variables)} coordinates, got {len(coordinates)}; pass "
                "one array for each variable"
            )
            raise ShapeError(msg)
        arrays = [np.asarray(x, dtype=np.float64) for x in coordinates]
        return tuple(value[()] for value in program.run(*arrays))

    def derivative(self, variable: str) -> Expression:
        """Return the derivative with respect to one variable.

        Parameters
        ----------
        variable : str
            Its name.

        Returns
        -------
        Expression

        Raises
        ------
        InputError
            If there is no such variable.
        """
        if variable not in self.variables:
            msg = f"`variable` must be one of {', '.join(self.variables)}, got {variable!r}"
            raise InputError(msg)
        slope = self.gradient[self.variables.index(variable)]
        return Expression(slope, variables=self.variables)

    def _key(self) -> tuple[type, sp.Expr, tuple[str, ...]]:
        return type(self), self.sympy, self.variables

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.expression!r}, variables={self.variables!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from the formula.

        Returns
        -------
        tuple
        """
        return _rebuilt, (type(self), self.sympy, self.variables)


def _rebuilt(cls: type[Expression], tree: sp.Expr, variables: tuple[str, ...]) -> Expression:
    return cls(tree, variables=variables)


def _number(given: Any) -> float:
    # Return a formula that is a number alone.
    try:
        return real("expression", given)
    except NotFiniteError:
        raise
    except InputError as error:
        remedy = (
            "decode it first" if isinstance(given, (bytes, bytearray)) else 'such as "x**2 / 2"'
        )
        msg = (
            "`expression` must be a formula: text, a SymPy expression or a real number, got "
            f"{type(given).__name__} {given!r:.80}; {remedy}"
        )
        raise InputError(msg) from error


def _variables(given: Any) -> tuple[str, ...]:
    names: list[Any] = [given] if isinstance(given, str) else list(given)
    checked = tuple(_name("variables", name) for name in names)
    if not 1 <= len(checked) <= 8 or len(set(checked)) != len(checked):
        msg = f"`variables` must be one to eight different names, got {given!r}"
        raise InputError(msg)
    return checked


def _parameters(given: Any, variables: tuple[str, ...]) -> dict[str, sp.Expr]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        msg = f"`parameters` must map names to numbers, got {type(given).__name__}"
        raise InputError(msg)
    found = {}
    for name, value in given.items():
        if _name("parameters", name) in variables:
            msg = f"`parameters` gives a value to {name!r}, which is a variable; rename one"
            raise InputError(msg)
        number = real(f"parameters[{name!r}]", value)
        whole = number.is_integer() and abs(number) < 2**53
        found[name] = as_fraction(int(number) if whole else number)
    return found


def _name(argument: str, name: Any) -> str:
    if isinstance(name, str) and iskeyword(name):
        msg = f"`{argument}` must not hold {name!r}, a word of Python's own; write {name}_"
        raise InputError(msg)
    if not isinstance(name, str) or not name.isidentifier() or len(name) > 60:
        msg = f"`{argument}` must be names such as x or D0, got {name!r}"
        raise InputError(msg)
    if name in FUNCTIONS or name in CONSTANTS:
        msg = f"`{argument}` must not hold {name!r}, which has a meaning of its own; rename it"
        raise InputError(msg)
    return name

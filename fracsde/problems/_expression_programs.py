r"""SymPy expressions as straight-line programs of NumPy functions.

A tree is walked once; each distinct piece becomes one step

.. math::
    r_k = f(r_i, r_j), \qquad i, j < k ,

that is run once however often the piece occurs, in any of the outputs.  Whole powers are products
of squares, which they share.  No text is made and none is run.

Coordinates broadcast as they are, so that on a tensor grid what depends on one coordinate is worked
out on one axis.  Long arrays go through in slabs of the first axis, which stay in cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp
from scipy.special import erf

from fracsde.errors import UnsupportedError
from fracsde.problems._expression_parsing import constant_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fracsde._typing import FloatArray

__all__ = ["Program", "compiled"]

_UFUNCS: dict[Any, Callable[..., Any]] = {
    sp.exp: np.exp,
    sp.log: np.log,
    sp.sin: np.sin,
    sp.cos: np.cos,
    sp.tan: np.tan,
    sp.asin: np.arcsin,
    sp.acos: np.arccos,
    sp.atan: np.arctan,
    sp.sinh: np.sinh,
    sp.cosh: np.cosh,
    sp.tanh: np.tanh,
    sp.Abs: np.abs,
    sp.sign: np.sign,
    sp.erf: erf,
}
_SLAB = 16384  # numbers of a register that are worked on at a time
_BY_SQUARES = 64  # whole exponents up to this are products


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """Steps from coordinates to outputs.

    Parameters
    ----------
    inputs : int
        Number of coordinates, which fill the first registers.
    constants : tuple of float
        The registers after them.
    steps : tuple of (callable, tuple of int)
        Each fills the next register.
    last : tuple of tuple of int
        Registers that nobody reads after each step.
    outputs : tuple of int
        Registers that are returned.
    """

    inputs: int
    constants: tuple[float, ...]
    steps: tuple[tuple[Callable[..., Any], tuple[int, ...]], ...]
    last: tuple[tuple[int, ...], ...]
    outputs: tuple[int, ...]

    def run(self, *coordinates: FloatArray) -> tuple[FloatArray, ...]:
        """Return the outputs at points.

        Parameters
        ----------
        *coordinates : ndarray of float64
            Broadcastable, one per input.

        Returns
        -------
        tuple of ndarray
            Of the shape of all coordinates together.
        """
        shape = np.broadcast_shapes(*(x.shape for x in coordinates))
        size = int(np.prod(shape))
        if size <= _SLAB or not shape or shape[0] == 1:
            found = self._run(coordinates)
            return tuple(np.array(np.broadcast_to(value, shape)) for value in found)
        results = tuple(np.empty(shape) for _ in self.outputs)
        rows = max(1, _SLAB // (size // shape[0]))
        for start in range(0, shape[0], rows):
            part = slice(start, start + rows)
            slab = [x[part] if x.ndim == len(shape) and x.shape[0] > 1 else x for x in coordinates]
            for result, value in zip(results, self._run(slab), strict=True):
                result[part] = value
        return results

    def _run(self, coordinates: Sequence[FloatArray]) -> list[Any]:
        registers: list[Any] = [*coordinates, *self.constants]
        for (function, read), unread in zip(self.steps, self.last, strict=True):
            registers.append(function(*[registers[k] for k in read]))
            for k in unread:
                registers[k] = None
        return [registers[k] for k in self.outputs]


def compiled(expressions: Sequence[sp.Expr], symbols: Sequence[sp.Symbol]) -> Program:
    """Return the program of some expressions.

    Parameters
    ----------
    expressions : sequence of Expr
        Outputs.
    symbols : sequence of Symbol
        Inputs.

    Returns
    -------
    Program

    Raises
    ------
    UnsupportedError
        If an expression has a piece without a NumPy function, as where a kink was differentiated
        twice.
    """
    writer = _Writer(symbols)
    outputs = [writer.lower(expr) for expr in expressions]
    return writer.program(outputs)


class _Writer:
    # Registers are named by what they hold: ("x", 0), ("c", 2.5) or ("s", k) for step k.

    def __init__(self, symbols: Sequence[sp.Symbol]) -> None:
        self.inputs = {symbol: ("x", k) for k, symbol in enumerate(symbols)}
        self.steps: list[tuple[Any, tuple[Any, ...]]] = []
        self.known: dict[Any, tuple[str, Any]] = {}

    def step(self, function: Any, *read: Any) -> tuple[str, Any]:
        key = (function, read)
        if key not in self.known:
            self.steps.append((function, read))
            self.known[key] = ("s", len(self.steps) - 1)
        return self.known[key]

    def lower(self, expr: sp.Expr) -> tuple[str, Any]:
        if expr not in self.known:
            self.known[expr] = self._lower(expr)
        return self.known[expr]

    def _lower(self, expr: sp.Expr) -> tuple[str, Any]:
        if expr in self.inputs:
            return self.inputs[expr]
        if not expr.free_symbols and not expr.has(sp.DiracDelta):
            return "c", constant_value(expr)
        if isinstance(expr, sp.Add):
            return self._sum(expr)
        if isinstance(expr, sp.Mul):
            return self._product(expr)
        if isinstance(expr, sp.Pow):
            return self._power(expr.base, expr.exp)
        if expr.func in _UFUNCS:
            return self.step(_UFUNCS[expr.func], self.lower(expr.args[0]))
        msg = (
            f"{expr} has no values: a function with a kink, such as abs, has no second "
            "derivative there; smooth it, e.g. sqrt(x**2 + 0.01)"
        )
        raise UnsupportedError(msg)

    def _sum(self, expr: sp.Add) -> tuple[str, Any]:
        signs = [bool(term.as_coeff_Mul()[0] < 0) for term in expr.args]
        plus = [self.lower(t) for t, less in zip(expr.args, signs, strict=True) if not less]
        minus = [self.lower(-t) for t, less in zip(expr.args, signs, strict=True) if less]
        total = plus[0] if plus else self.step(np.negative, minus.pop(0))
        for term in plus[1:]:
            total = self.step(np.add, total, term)
        for term in minus:
            total = self.step(np.subtract, total, term)
        return total

    def _product(self, expr: sp.Mul) -> tuple[str, Any]:
        above, below, factor = [], [], sp.Integer(1)
        for part in expr.args:
            base, exponent = part.as_base_exp()
            if not part.free_symbols:
                factor *= part
            elif exponent.is_Rational and exponent < 0:
                below.append(self._power(base, -exponent))
            else:
                above.append(self.lower(part))
        if factor == -1 and (above or below):
            inner = self.lower(-expr)
            return self.step(np.negative, inner)
        if factor != 1 or not above:
            above.append(("c", constant_value(factor)))
        total = above[0]
        for part in above[1:]:
            total = self.step(np.multiply, total, part)
        for part in below:
            total = self.step(np.divide, total, part)
        return total

    def _power(self, base: sp.Expr, exponent: sp.Expr) -> tuple[str, Any]:
        if exponent.is_Rational and exponent < 0:
            return self.step(np.divide, ("c", 1.0), self._power(base, -exponent))
        below = self.lower(base)
        if exponent.is_Rational and exponent.q == 2 and exponent.p <= _BY_SQUARES:
            root = self.step(np.sqrt, below)
            whole = int(exponent.p) // 2
            return root if not whole else self.step(np.multiply, self._whole(below, whole), root)
        if exponent.is_Integer and exponent <= _BY_SQUARES:
            return self._whole(below, int(exponent))
        return self.step(np.power, below, self.lower(exponent))

    def _whole(self, base: tuple[str, Any], n: int) -> tuple[str, Any]:
        if n == 1:
            return base
        half = self._whole(base, n // 2)
        square = self.step(np.multiply, half, half)
        return self.step(np.multiply, square, base) if n % 2 else square

    def program(self, outputs: Sequence[tuple[str, Any]]) -> Program:
        inputs = len(self.inputs)
        read_by_any = [name for _, read in self.steps for name in read]
        numbers = dict.fromkeys(v for kind, v in [*read_by_any, *outputs] if kind == "c")
        place = {("x", k): k for k in range(inputs)}
        place |= {("c", value): inputs + k for k, value in enumerate(numbers)}
        first = inputs + len(numbers)
        place |= {("s", k): first + k for k in range(len(self.steps))}
        kept = {place[name] for name in outputs}
        seen: set[int] = set()
        last: list[tuple[int, ...]] = []
        for _, read in reversed(self.steps):
            now = {place[name] for name in read if name[0] == "s"} - kept - seen
            seen |= now
            last.append(tuple(sorted(now)))
        return Program(
            inputs=inputs,
            constants=tuple(numbers),
            steps=tuple((f, tuple(place[name] for name in read)) for f, read in self.steps),
            last=tuple(reversed(last)),
            outputs=tuple(place[name] for name in outputs),
        )

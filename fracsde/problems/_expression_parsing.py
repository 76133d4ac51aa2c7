r"""Text into SymPy expressions, by a list of what is allowed.

The text is parsed by Python's own ``ast`` and never run.  Its tree is walked here, and each piece
is built by hand: numbers (decimals as the exact fractions they are written as), declared names,
``pi`` and ``E``, the operators ``+ - * / **`` and the functions of :data:`FUNCTIONS`.  Anything
else is refused by name.

Work is bounded before it is done.  Text, nesting and number of pieces are limited, so are
exponents and the digits of exact fractions, and a constant that leaves double precision is
refused before SymPy sees it: ``9**9**9**9`` costs nothing.
"""

from __future__ import annotations

import ast
import math
from typing import TYPE_CHECKING, Any

import sympy as sp

from fracsde.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CONSTANTS", "FUNCTIONS", "allowed_tree", "as_fraction", "constant_value", "parsed"]

FUNCTIONS: dict[str, Any] = {
    "exp": sp.exp,
    "log": sp.log,
    "sqrt": sp.sqrt,
    "sin": sp.sin,
    "cos": sp.cos,
    "tan": sp.tan,
    "asin": sp.asin,
    "acos": sp.acos,
    "atan": sp.atan,
    "sinh": sp.sinh,
    "cosh": sp.cosh,
    "tanh": sp.tanh,
    "abs": sp.Abs,
    "Abs": sp.Abs,
    "sign": sp.sign,
    "erf": sp.erf,
}
CONSTANTS: dict[str, Any] = {"pi": sp.pi, "E": sp.E}
_IN_DOUBLES: dict[Any, Callable[[float], float]] = {
    sp.exp: math.exp,
    sp.log: math.log,
    sp.sin: math.sin,
    sp.cos: math.cos,
    sp.tan: math.tan,
    sp.asin: math.asin,
    sp.acos: math.acos,
    sp.atan: math.atan,
    sp.sinh: math.sinh,
    sp.cosh: math.cosh,
    sp.tanh: math.tanh,
    sp.Abs: abs,
    sp.sign: lambda x: math.copysign(1.0, x) if x else 0.0,
    sp.erf: math.erf,
}
_LONGEST = 4000  # characters of text
_MOST = 1000  # pieces
_DEEPEST = 60  # levels of nesting
_STEEPEST = 1000  # exponents
_STACKED = 5  # powers of powers
_DIGITS = 1000  # of a numerator and a denominator together
_OPERATORS: dict[type, str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
}
_ALLOWED = "numbers, declared names, pi, E, + - * / **, and " + ", ".join(
    name for name in FUNCTIONS if name != "Abs"
)


def parsed(text: str, names: Mapping[str, sp.Expr]) -> sp.Expr:
    """Return the SymPy expression that a text means.

    Parameters
    ----------
    text : str
        The expression.
    names : mapping of str to Expr
        What the declared names stand for.

    Returns
    -------
    Expr

    Raises
    ------
    InputError
        If the text is too long, or is not an expression of allowed pieces.
    """
    if len(text) > _LONGEST:
        msg = f"`expression` has {len(text)} characters, {_LONGEST} at most are read; split it"
        raise InputError(msg)
    try:
        root = ast.parse(text.strip(), mode="eval").body
        pieces = sum(1 for _ in ast.walk(root))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or "it is nested too deeply"
        msg = f"`expression` cannot be read: {reason}, in {_short(text)}; write it as in Python"
        raise InputError(msg) from None
    if pieces > _MOST:
        msg = f"`expression` has {pieces} pieces, {_MOST} at most are read; split it"
        raise InputError(msg)
    return _Reader(text.strip(), names).read(root, 0)


class _Reader:
    # Builds the expression from the leaves up; the text serves the messages only.

    def __init__(self, text: str, names: Mapping[str, sp.Expr]) -> None:
        self.text, self.names = text, names

    def read(self, node: ast.expr, depth: int) -> sp.Expr:
        if depth > _DEEPEST:
            self.refuse(node, f"is nested more than {_DEEPEST} deep")
        if isinstance(node, ast.Constant):
            return self.number(node)
        if isinstance(node, ast.Name):
            return self.name(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            value = self.read(node.operand, depth + 1)
            return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return self.chain(node, depth)
        if isinstance(node, ast.Call):
            return self.called(node, depth)
        return self.refuse(node, "is not allowed")

    def chain(self, node: ast.BinOp, depth: int) -> sp.Expr:
        # A sum of many terms leans to the left and is not deep.
        links, first = [node], node.left
        while isinstance(first, ast.BinOp) and type(first.op) in _OPERATORS:
            links.append(first)
            first = first.left
        value = self.read(first, depth + 1)
        for link in reversed(links):
            right = self.read(link.right, depth + 1)
            value = self.combined(link, _OPERATORS[type(link.op)], value, right)
        return value

    def number(self, node: ast.Constant) -> sp.Expr:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return self.refuse(node, "is not a real number")
        if not (abs(value) < 10**308):
            return self.refuse(node, "is too large for double precision")
        return as_fraction(value)

    def name(self, node: ast.Name) -> sp.Expr:
        if node.id in self.names:
            return self.names[node.id]
        if node.id in CONSTANTS:
            return CONSTANTS[node.id]
        if node.id in FUNCTIONS:
            return self.refuse(node, f"is a function; write {node.id}(...)")
        declared = ", ".join(self.names) or "none"
        return self.refuse(node, f"is not declared (declared: {declared})")

    def called(self, node: ast.Call, depth: int) -> sp.Expr:
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            return self.refuse(node.func, "is not an allowed function")
        if len(node.args) != 1 or node.keywords:
            return self.refuse(node, "must have one argument")
        argument = self.read(node.args[0], depth + 1)
        if not argument.free_symbols:
            self.checked(node, lambda: _in_doubles(node.func.id, constant_value(argument)))  # type: ignore[attr-defined]  # a Name
        return self.sound(node, FUNCTIONS[node.func.id](argument))

    def combined(self, node: ast.BinOp, operator: str, a: sp.Expr, b: sp.Expr) -> sp.Expr:
        if operator == "**":
            self.check_power(node, a, b)
        if not (a.free_symbols or b.free_symbols):
            self.checked(node, lambda: _folded(operator, constant_value(a), constant_value(b)))
        if operator == "+":
            return self.sound(node, a + b)
        if operator == "-":
            return self.sound(node, a - b)
        if operator == "*":
            return self.sound(node, a * b)
        return self.sound(node, a / b if operator == "/" else a**b)

    def check_power(self, node: ast.BinOp, base: sp.Expr, exponent: sp.Expr) -> None:
        if _stacked(base) >= _STACKED:  # what SymPy finds out about them takes exponential time
            self.refuse(node, f"has more than {_STACKED} powers on top of each other")
        if exponent.free_symbols:
            return
        power = self.checked(node, lambda: constant_value(exponent))
        if abs(power) > _STEEPEST:
            self.refuse(node, f"has an exponent beyond {_STEEPEST}")
        if isinstance(base, sp.Rational) and _digits(base) * abs(power) > _DIGITS:
            self.refuse(node, f"is a number of more than {_DIGITS} digits")
        # Powers of powers are joined, and those of products shared out, by SymPy.
        steep = [abs(constant_value(p.exp)) for p in base.atoms(sp.Pow) if not p.exp.free_symbols]
        if max(steep, default=1.0) * abs(power) > _STEEPEST:
            self.refuse(node, f"has an exponent beyond {_STEEPEST}")
        coefficient = base.as_coeff_Mul()[0]
        if isinstance(coefficient, sp.Rational) and _digits(coefficient) * abs(power) > _DIGITS:
            self.refuse(node, f"is a number of more than {_DIGITS} digits")

    def checked(self, node: ast.expr, value: Callable[[], float]) -> float:
        # A constant must be a finite double before SymPy works it out.
        try:
            found = value()
        except (OverflowError, ZeroDivisionError, ValueError, TypeError):
            found = math.nan
        if isinstance(found, complex) or not math.isfinite(found):
            self.refuse(node, "is not a finite real number in double precision")
        return found

    def sound(self, node: ast.expr, value: sp.Expr) -> sp.Expr:
        if value.has(sp.zoo, sp.nan, sp.oo, -sp.oo, sp.I):
            self.refuse(node, "is not a finite real number")
        for term in sp.Add.make_args(value):
            if _digits(term.as_coeff_Mul()[0]) > _DIGITS:
                self.refuse(node, f"has a coefficient of more than {_DIGITS} digits")
        return value

    def refuse(self, node: ast.AST, why: str) -> Any:
        piece = ast.get_source_segment(self.text, node) or type(node).__name__
        msg = f"`expression`: {_short(piece)} {why}; allowed are {_ALLOWED}"
        raise InputError(msg)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _digits(value: Any) -> int:
    # Decimal digits of numerator and denominator, nearly.
    if not isinstance(value, sp.Rational):
        return 1
    return int((int(value.p).bit_length() + int(value.q).bit_length()) * 0.30103) + 1


def _stacked(expr: Any) -> int:
    # How many powers stand on top of each other, with only factors between them.
    if isinstance(expr, sp.Mul):
        return max(_stacked(part) for part in expr.args)
    return 1 + _stacked(expr.base) if isinstance(expr, sp.Pow) else 0


def _folded(operator: str, a: float, b: float) -> float:
    if operator == "+":
        return a + b
    if operator == "-":
        return a - b
    if operator == "*":
        return a * b
    return a / b if operator == "/" else a**b


def _in_doubles(name: str, x: float) -> float:
    return math.sqrt(x) if name == "sqrt" else _IN_DOUBLES[FUNCTIONS[name]](x)


def as_fraction(value: float) -> sp.Rational:
    """Return a number as the exact fraction of its shortest decimal form.

    Parameters
    ----------
    value : float or int
        A finite number.

    Returns
    -------
    Rational
        Its nearest double is ``value`` again.

    Examples
    --------
    >>> as_fraction(0.1)
    1/10
    """
    if isinstance(value, int):
        return sp.Integer(value)
    return sp.Rational(repr(float(value)))


def constant_value(expr: sp.Expr) -> float:
    """Return a constant in double precision.

    Parameters
    ----------
    expr : Expr
        Without symbols, of allowed pieces.

    Returns
    -------
    float
        May be complex where a root is.

    Raises
    ------
    ValueError
        If the expression has a symbol or another piece.
    """
    if isinstance(expr, sp.Rational):
        return int(expr.p) / int(expr.q)
    if expr in (sp.pi, sp.E):
        return math.pi if expr is sp.pi else math.e
    values = [constant_value(part) for part in expr.args]
    if isinstance(expr, sp.Add):
        return math.fsum(values)
    if isinstance(expr, sp.Mul):
        return math.prod(values)
    if isinstance(expr, sp.Pow):
        return float(values[0] ** values[1])
    if expr.func in _IN_DOUBLES:
        return _IN_DOUBLES[expr.func](values[0])
    msg = f"{expr} is not a constant"
    raise ValueError(msg)


def allowed_tree(expr: Any, names: Mapping[str, sp.Expr]) -> sp.Expr:
    """Return a SymPy expression with its symbols replaced and its floats made exact.

    Parameters
    ----------
    expr : Expr
        The caller's.
    names : mapping of str to Expr
        What the declared names stand for.

    Returns
    -------
    Expr

    Raises
    ------
    InputError
        If a piece is not allowed, or a symbol not declared.
    """
    replaced: dict[Any, Any] = {}
    for part in sp.preorder_traversal(expr):
        if isinstance(part, sp.Symbol):
            if part.name not in names:
                declared = ", ".join(names) or "none"
                msg = f"`expression`: the symbol {part} is not declared (declared: {declared})"
                raise InputError(msg)
            replaced[part] = names[part.name]
        elif isinstance(part, sp.Float):
            replaced[part] = as_fraction(float(part))
        elif not (
            isinstance(part, (sp.Rational, sp.Add, sp.Mul, sp.Pow))
            or part in (sp.pi, sp.E)
            or part.func in _IN_DOUBLES
        ):
            msg = f"`expression`: {type(part).__name__} in {part} is not allowed; {_ALLOWED} are"
            raise InputError(msg)
    return expr.xreplace(replaced)

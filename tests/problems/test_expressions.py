"""Formulas: what is read, what is refused and how fast, and values against high precision."""

import pickle
import time

import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from fracsde.errors import InputError, ShapeError, UnsupportedError
from fracsde.problems._expression_parsing import FUNCTIONS
from fracsde.problems.expressions import Expression
from fracsde.provenance import input_hash
from tests.support.exact import EPS

RUNS_CODE = [
    "__import__('os').system('ls')",
    "x.__class__",
    "().__class__.__bases__[0]",
    "exp.__globals__",
    "(lambda: 0)()",
    "[x for x in (1,)]",
    "getattr(x, 'y')",
    "eval('1')",
    "f'{x}'",
    "(y := x)",
    "x if x else 1",
    "x < 1",
    "x and 1",
    "not x",
    "x[0]",
    "{1: x}",
    "x, x",
    "exp(*x)",
    "exp(x=1)",
    "exp(x, x)",
    "await x",
    "yield x",
    "x; x",
    "import os",
    "'a'",
    "True",
    "None",
    "...",
    "1j",
    "x @ x",
    "x // 2",
    "x % 2",
    "~x",
    "",
    "x\0",
]
NOT_NUMBERS = ["1/0", "0/0", "log(0)", "sqrt(-1)", "(-2)**0.5", "asin(2)", "1/(x - x)", "1e400"]
NEVER_ENDING = [
    "9**9**9**9",
    "9" * 1_000_000,
    "x**10**9",
    "((x**1000)**1000)**1000",
    "exp(exp(exp(exp(9))))",
    "-" * 3000 + "x",
    "(" * 1500 + "x" + ")" * 1500,
    "abs(" * 200 + "x" + ")" * 200,
    "(" * 25 + "x" + "**1.01)" * 25,
    "1.000000000000001**1000",
    "(x*9**300)**1000",
    "x**x**x**x**9999",
]


@pytest.mark.parametrize("text", RUNS_CODE)
def test_refuses_what_is_no_formula_and_names_the_piece(text):
    with pytest.raises(InputError, match=r"allowed|cannot be read|argument|real number"):
        Expression(text)


@pytest.mark.parametrize("text", NOT_NUMBERS)
def test_refuses_constants_without_a_finite_real_value(text):
    with pytest.raises(InputError, match=r"finite real number|too large"):
        Expression(text)


@pytest.mark.parametrize("text", NEVER_ENDING, ids=lambda text: text[:20])
def test_refuses_endless_work_at_once(text):
    start = time.process_time()
    with pytest.raises(InputError):
        Expression(text)
    assert time.process_time() - start < 2.0


@pytest.mark.twin
def test_refusal_of_endless_work_rejects_what_sympy_would_do():
    """The shortest of them is out of reach, its size by logarithms."""
    assert 9**9 * np.log10(9) > 3e8  # digits of 9**9**9, before the last power


@pytest.mark.parametrize(
    ("text", "piece"),
    [("x + foo(x)", "'foo'"), ("x + 3*y", "'y'"), ("x + (x < 2)", "'x < 2'"), ("2*exp", "'exp'")],
)
def test_refuses_by_naming_the_offending_piece(text, piece):
    with pytest.raises(InputError, match=piece):
        Expression(text)


@pytest.mark.parametrize(
    ("given", "remedy"),
    [(b"x", "decode it"), (None, "such as"), ([1, 2], "such as"), (1j, "such as")],
)
def test_refuses_what_is_neither_text_nor_number_and_says_that_text_is_wanted(given, remedy):
    with pytest.raises(InputError, match=f"must be a formula: text, .*{remedy}"):
        Expression(given)


def test_refuses_names_that_cannot_be_used():
    with pytest.raises(InputError, match="meaning of its own"):
        Expression("x", variables=("exp",))
    with pytest.raises(InputError, match="different names"):
        Expression("x", variables=("x", "x"))
    with pytest.raises(InputError, match="names such as"):
        Expression("x", variables=("x y",))
    with pytest.raises(InputError, match="rename one"):
        Expression("x", parameters={"x": 1.0})
    with pytest.raises(InputError, match="must be finite"):
        Expression("a*x", parameters={"a": np.nan})
    with pytest.raises(InputError, match="one of x"):
        Expression("x").derivative("y")


def test_refuses_sympy_pieces_that_are_not_allowed():
    x = sp.Symbol("x")
    with pytest.raises(InputError, match="gamma"):
        Expression(sp.gamma(x))
    with pytest.raises(InputError, match="not declared"):
        Expression(x + sp.Symbol("k"))


def test_refuses_second_derivatives_of_kinks_and_wrong_numbers_of_coordinates():
    kink = Expression("abs(x)")
    assert kink.gradient_at(np.array([-2.0, 3.0]))[0].tolist() == [-1.0, 1.0]
    with pytest.raises(UnsupportedError, match="smooth it"):
        kink.hessian_at(1.0)
    with pytest.raises(ShapeError, match="takes 1 coordinates, got 2"):
        kink(1.0, 2.0)


def test_exact_decimals_are_the_fractions_they_are_written_as():
    tenth = Expression("0.1*x", parameters={})
    assert tenth.sympy.as_coeff_Mul()[0] == sp.Rational(1, 10)
    assert float(tenth(1.0)) == 0.1
    assert Expression("a*x", parameters={"a": 0.1}) == tenth
    assert Expression("x/10") == tenth
    for value in (1e-300, 123456.789e12, np.pi, 2.0**-40):
        assert float(Expression("a + 0*x", parameters={"a": value})(0.0)) == value


def test_equal_formulas_are_equal_hash_alike_and_travel():
    a = Expression("(x + y)*2", variables=("x", "y"))
    b = Expression("2*y + 2*x", variables=("x", "y"))
    assert a == b
    assert hash(a) == hash(b)
    assert input_hash(a) == input_hash(b)
    assert pickle.loads(pickle.dumps(a)) == a
    assert a != Expression("2*y + 2*x", variables=("y", "x"))
    assert input_hash(a) != input_hash(Expression("x + y", variables=("x", "y")))
    assert Expression(a.expression, variables=a.variables) == a


# Random trees: text, and its value and first-order rounding bound in high precision.
NUMBERS = st.sampled_from(["1", "2", "3", "0.5", "0.1", "7.25", "pi", "E", "1e-3"])
LEAVES = st.one_of(NUMBERS, st.sampled_from(["x", "y"]))


def _branches(children):
    pair = st.tuples(children, st.sampled_from(["+", "-", "*", "/"]), children)
    power = st.tuples(children, st.just("**"), st.sampled_from(["2", "3", "5", "-1", "0.5", "1.7"]))
    call = st.tuples(st.sampled_from(sorted(set(FUNCTIONS) - {"Abs", "sign"})), children)
    return st.one_of(pair, power, call, st.tuples(st.just("neg"), children))


TREES = st.recursive(LEAVES, _branches, max_leaves=10)


def text_of(tree):
    if isinstance(tree, str):
        return tree
    if len(tree) == 3:
        return f"({text_of(tree[0])} {tree[1]} {text_of(tree[2])})"
    return f"(-{text_of(tree[1])})" if tree[0] == "neg" else f"{tree[0]}({text_of(tree[1])})"


def value_of(tree, point):
    """Return a real value, and how much it changes when every piece is wrong by one rounding."""
    found, bound = _value_of(tree, point)
    if isinstance(found, mpmath.mpc):
        msg = "not real"
        raise ValueError(msg)
    return found, bound


def _value_of(tree, point):
    if isinstance(tree, str):
        found = mpmath.mpf(point[tree]) if tree in point else _number(tree)
        return found, abs(found)
    if len(tree) == 2 and tree[0] == "neg":
        value, bound = value_of(tree[1], point)
        return -value, bound
    if len(tree) == 2:
        value, bound = value_of(tree[1], point)
        f = {"abs": mpmath.fabs}.get(tree[0]) or getattr(mpmath, tree[0])
        slope = abs(mpmath.diff(f, value)) if tree[0] != "abs" else mpmath.mpf(1)
        return f(value), slope * bound + abs(f(value))
    (a, da), operator, (b, db) = value_of(tree[0], point), tree[1], value_of(tree[2], point)
    if operator in "+-":
        found = a + b if operator == "+" else a - b
        return found, da + db + abs(found)
    if operator == "*":
        return a * b, da * abs(b) + db * abs(a) + abs(a * b)
    if operator == "/":
        return a / b, da / abs(b) + abs(a / b**2) * db + abs(a / b)
    return a**b, abs(b * a ** (b - 1)) * da + (1 + abs(b)) * abs(a**b)


def _number(text):
    return {"pi": mpmath.pi, "E": mpmath.e}.get(text) or mpmath.mpf(text)


def agrees(program, tree, x, y):
    """Whether the compiled value is right to 64 roundings of all pieces; true where none is."""
    with mpmath.workdps(40):
        try:
            expected, bound = value_of(tree, {"x": x, "y": y})
        except (ValueError, ZeroDivisionError, OverflowError):
            return True
        if not (mpmath.isfinite(expected + bound) and 1e-30 < bound < 1e12):
            return True
    with np.errstate(all="ignore"):
        found = float(program(x, y))
    return abs(found - float(expected)) <= 64 * EPS * float(bound)


@settings(derandomize=True, deadline=None, max_examples=150, database=None)
@given(tree=TREES, x=st.floats(0.1, 2.0), y=st.floats(0.1, 2.0))
def test_routes_agree_of_compiled_values_and_high_precision(tree, x, y):
    text = text_of(tree)
    try:
        expression = Expression(text, variables=("x", "y"))
    except InputError:
        return  # no finite real constant
    assert agrees(expression, tree, x, y)


@pytest.mark.twin
def test_routes_reject_an_error_of_a_thousand_roundings():
    tree = ("exp", ("x", "*", "y"))
    right = Expression(text_of(tree), variables=("x", "y"))
    assert agrees(right, tree, 0.7, 1.3)
    assert not agrees(lambda x, y: right(x, y) * (1 + 1000 * EPS), tree, 0.7, 1.3)


@settings(derandomize=True, deadline=None, max_examples=40, database=None)
@given(tree=TREES, x=st.floats(0.2, 1.9), y=st.floats(0.2, 1.9))
def test_routes_agree_of_derivatives_and_differences(tree, x, y):
    try:
        expression = Expression(text_of(tree), variables=("x", "y"))
        slope = expression.derivative("x")
    except InputError:
        return
    h = 1e-4
    with np.errstate(all="ignore"):
        five = np.array([float(expression(x + k * h, y)) for k in (-2, -1, 1, 2)])
        found = float(slope(x, y))
        curved = abs(five @ np.array([1.0, -1, -1, 1])) / h**2
    if not np.all(np.isfinite([*five, found])) or curved > 1e4 or np.abs(five).max() > 1e4:
        return
    rough = five @ np.array([1.0, -8, 8, -1]) / (12 * h)
    assert abs(found - rough) <= 1e-5 * (1 + abs(found) + curved + np.abs(five).max())


def test_exact_values_do_not_depend_on_slabs_and_broadcasting():
    f = Expression("exp(-x**2)*cos(3*y) + x*y/(1 + y**2)", variables=("x", "y"))
    x, y = np.linspace(-2, 2, 301), np.linspace(-1, 1, 211)
    whole = f(x[:, None], y[None, :])
    X, Y = np.meshgrid(x, y, indexing="ij")
    assert whole.shape == (301, 211)
    assert np.array_equal(whole, f(X, Y))
    assert np.array_equal(whole.ravel(), f(X.ravel(), Y.ravel()))
    assert float(f(x[7], y[9])) == whole[7, 9]
    assert np.array_equal(f(x[:, None], 0.3)[:, 0], f(x, np.full(301, 0.3)))
    assert f(np.empty(0), 1.0).shape == (0,)
    constant = Expression("2", variables=("x", "y"))
    assert constant(x[:, None], y).shape == (301, 211)


def test_keeps_arguments_and_gives_arrays_of_its_own():
    f = Expression("x")
    x = np.array([1.0, 2.0])
    found = f(x)
    found[0] = 9.0
    assert x.tolist() == [1.0, 2.0]


def test_exact_common_pieces_are_worked_out_once():
    f = Expression("exp(sin(x)**2) + sin(x)**4*exp(sin(x)**2)")
    functions = [step[0] for step in f._program.steps]
    assert functions.count(np.sin) == 1
    assert functions.count(np.exp) == 1


def test_sources_take_a_time_first():
    s = Expression("exp(-t)*x", variables=("t", "x"))
    assert s(0.0, np.array([1.0, 2.0])).tolist() == [1.0, 2.0]

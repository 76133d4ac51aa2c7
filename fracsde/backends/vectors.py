"""Instructions that compiled loops need and numba has no name for.

Not here: operations on tables of chains (:mod:`fracsde.backends.chain_lanes`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from fracsde._compiled import njit
from fracsde.backends.vector_code import Table, cgutils

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["bit_cast", "counted", "expect", "fma", "polynomial", "uncounted", "wide_vectors"]

Function = TypeVar("Function", bound="Callable[..., Any]")


def uncounted(function: Function) -> Function:
    """Compile a function, and what it calls, without counts of references to its arrays.

    A count is a locked instruction, which waits until every store before it is in the cache.  Such
    a function can take views of arrays that its caller holds, and can obtain no memory.  The option
    is one that Numba uses for itself and does not promise: where there is none of the name, the
    function is compiled as any other, which is slower and the same otherwise.

    Parameters
    ----------
    function : callable
        To compile.

    Returns
    -------
    callable
        Compiled, and kept on disk.
    """
    return _compiled(function, counts=False)


def counted(function: Function) -> Function:
    """Compile a function that obtains memory even where its callers are :func:`uncounted`.

    Parameters
    ----------
    function : callable
        To compile.

    Returns
    -------
    callable
        Compiled, and kept on disk.
    """
    return _compiled(function, counts=True)


def _compiled(function: Function, *, counts: bool) -> Function:
    options = {"_nrt": counts} if hasattr(cpu_target.options, "_nrt") else {}
    compiled: Function = njit(cache=True, error_model="numpy", **options)(function)
    return compiled


def bit_cast(source: Any, target: Any) -> Any:
    """Return the compiled function that reads the bits of one kind of number as another.

    Parameters
    ----------
    source, target : numba types
        Of equal size.

    Returns
    -------
    intrinsic
    """

    def build(typingctx: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], context.get_value_type(target))

        return target(source), generate

    return intrinsic(build)


def polynomial(coefficients: tuple[Any, ...]) -> Any:
    """Return the compiled function that evaluates a polynomial, fused, by Horner's rule.

    It is written out: a loop over more than a few coefficients would not become vectors.

    Parameters
    ----------
    coefficients : tuple of float
        From the constant on.

    Returns
    -------
    intrinsic
    """

    def build(typingctx: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = context.get_value_type(x)
            value = kind(float(coefficients[-1]))
            for coefficient in coefficients[-2::-1]:
                value = builder.fma(value, args[0], kind(float(coefficient)))
            return value

        return x(x), generate

    return intrinsic(build)


def _fused(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return a(a, a, a), generate


def _expected(typingctx: Any, out: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        table, number = Table(context, builder, signature.args[0], args[0]), ir.IntType(32)
        bytes_ = ir.IntType(8).as_pointer()
        pointer = builder.bitcast(builder.gep(table.data, [args[1]]), bytes_)
        kind = ir.FunctionType(ir.VoidType(), [bytes_, number, number, number])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(ask, [pointer, *(ir.Constant(number, k) for k in (1, 3, 1))])
        return context.get_dummy_value()

    return types.none(out, place), generate


def _wide(typingctx: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # Strings are attributes of the target, which llvmlite's own `add` does not list.
        attributes = builder.function.attributes
        attributes.add("noinline")
        set.add(attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), generate


fma: Any = intrinsic(_fused)
"""``a * b + c``, rounded once."""

expect: Any = intrinsic(_expected)
"""``expect(out, place)`` asks for the line of memory that holds ``out[place]``, to be written."""

wide_vectors: Any = intrinsic(_wide)
"""Ask for the widest vectors in the compiled function that calls it, which stays a function.

Compilers prefer 256 bits on machines that have 512, which suits code with few vector loops.
"""

"""Instructions that compiled loops need and numba has no name for.

Not here: operations on tables of chains (:mod:`fracsde.backends.chain_lanes`).
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

__all__ = ["bit_cast", "fma", "polynomial", "wide_vectors"]


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

wide_vectors: Any = intrinsic(_wide)
"""Ask for the widest vectors in the compiled function that calls it, which stays a function.

Compilers prefer 256 bits on machines that have 512, which suits code with few vector loops.
"""

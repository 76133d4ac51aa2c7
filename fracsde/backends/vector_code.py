"""Vectors of 64 bytes in the code that an intrinsic emits.

Compilers turn some loops into vector instructions and leave others; what is written here is vectors
from the start, on every machine: one that has narrower registers takes several, and needs other
shapes of the same sums to hold them (:func:`wide_registers`).  The order of operations is kept as
written and every fused multiplication is asked for by name, so that numbers
have the same bits everywhere.

Not here: what is computed with them (:mod:`fracsde.backends.chain_lanes`,
:mod:`fracsde.backends.lane_normals`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba.core import cgutils as _cgutils

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "BYTES",
    "Lanes",
    "Table",
    "call",
    "constant",
    "fused",
    "shuffled",
    "wide_registers",
]

BYTES = 64
"""Of a vector."""

cgutils: Any = _cgutils  # has no types


class Table:
    """Addresses and vectors of an array inside a compiled function.

    Parameters
    ----------
    context, builder
        Of an intrinsic.
    kind : numba array type
        Of the array.
    value
        The array.
    """

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        array = context.make_array(kind)(context, builder, value)
        self.builder, self.data, self.item = builder, array.data, kind.dtype.bitwidth // 8
        self.width = BYTES // self.item
        self.vector = ir.VectorType(context.get_data_type(kind.dtype), self.width)

    def load(self, place: Any) -> Any:
        """Return one number."""
        pointer = self.builder.gep(self.data, [place])
        return self.builder.load(pointer)

    def spread(self, place: Any, lanes: int | None = None) -> Any:
        """Return one number in every lane, of a vector or of so many."""
        lanes = self.width if lanes is None else lanes
        nothing = ir.Constant(ir.VectorType(self.vector.element, lanes), ir.Undefined)
        first = ir.Constant(ir.IntType(32), 0)
        one = self.builder.insert_element(nothing, self.load(place), first)
        return shuffled(self.builder, one, nothing, [0] * lanes)

    def load_vector(self, place: Any, kind: Any = None) -> Any:
        """Return the vector, or other kind of vector, that begins at a place."""
        kind = self.vector if kind is None else kind
        pointer = self.builder.bitcast(self.builder.gep(self.data, [place]), kind.as_pointer())
        return self.builder.load(pointer, align=self.item)

    def store_vector(self, place: Any, value: Any) -> None:
        """Write a vector, of any length, that begins at a place."""
        pointer = self.builder.bitcast(
            self.builder.gep(self.data, [place]), value.type.as_pointer()
        )
        self.builder.store(value, pointer, align=self.item)


class Lanes:
    """Several vectors, on which every operation is done side by side.

    An operation waits four steps of the processor's clock for the one before it, and two can begin
    at each: one chain of them keeps an eighth of the machine busy.

    Parameters
    ----------
    builder
        Of an intrinsic.
    vectors : iterable
        Values of one vector type.
    after : callable, optional
        Called when the code of an operation has been emitted, to emit some other in between.
    wide : bool
        Whether the target has the instructions of :func:`wide_registers`: masks, and conversions
        of whole numbers of 64 bits.  Others do without, and find the same bits.
    """

    def __init__(
        self,
        builder: Any,
        vectors: Iterable[Any],
        after: Callable[[], object] | None = None,
        *,
        wide: bool = True,
    ) -> None:
        self.builder, self.vectors, self.after, self.wide = builder, list(vectors), after, wide
        kind = self.vectors[0].type
        self.bits = 64 if kind.element in (ir.DoubleType(), ir.IntType(64)) else 32
        self.integers = ir.VectorType(ir.IntType(self.bits), kind.count)
        real = ir.DoubleType() if self.bits == 64 else ir.FloatType()
        self.reals = ir.VectorType(real, kind.count)

    def each(self, operate: Callable[..., Any], *others: Any) -> Lanes:
        """Apply an operation to every vector, its partners being lanes or numbers."""
        columns = [self._matched(other) for other in others]
        found = [operate(*row) for row in zip(self.vectors, *columns, strict=True)]
        if self.after is not None:
            self.after()
        return self._of(found)

    def _of(self, vectors: Iterable[Any]) -> Lanes:
        return Lanes(self.builder, vectors, self.after, wide=self.wide)

    def same(self, value: Any) -> Lanes:
        """Return a real number in every lane."""
        return self._of([constant(self.reals, float(value))] * len(self.vectors))

    def _matched(self, other: Any) -> list[Any]:
        if isinstance(other, Lanes):
            return other.vectors
        kind = self.vectors[0].type
        value = int(other) if kind == self.integers else float(other)
        return [constant(kind, value)] * len(self.vectors)

    def __add__(self, other: Any) -> Lanes:
        """Add reals."""
        return self.each(self.builder.fadd, other)

    def __sub__(self, other: Any) -> Lanes:
        """Subtract reals."""
        return self.each(self.builder.fsub, other)

    def __mul__(self, other: Any) -> Lanes:
        """Multiply reals."""
        return self.each(self.builder.fmul, other)

    def fma(self, factor: Any, term: Any) -> Lanes:
        """Multiply and add, rounded once."""
        return self.each(lambda a, b, c: fused(self.builder, a, b, c), factor, term)

    def minus(self, other: Any) -> Lanes:
        """Subtract whole numbers."""
        return self.each(self.builder.sub, other)

    def __and__(self, other: Any) -> Lanes:
        """Keep the bits of a mask."""
        return self.each(self.builder.and_, other)

    def __or__(self, other: Any) -> Lanes:
        """Set the bits of a mask."""
        return self.each(self.builder.or_, other)

    def __xor__(self, other: Any) -> Lanes:
        """Turn the bits of a mask."""
        return self.each(self.builder.xor, other)

    def __lshift__(self, count: int) -> Lanes:
        """Move bits up."""
        return self.each(self.builder.shl, count)

    def __rshift__(self, count: int) -> Lanes:
        """Move bits down."""
        return self.each(self.builder.lshr, count)

    def signed_shift(self, count: int) -> Lanes:
        """Move bits down, the sign too."""
        return self.each(self.builder.ashr, count)

    def choose(self, bit: int, first: Lanes, second: Lanes) -> tuple[Lanes, Lanes]:
        """Return the first where a bit of a whole number is set and the second elsewhere, and back.

        Parameters
        ----------
        bit : int
            Which, from the lowest, 0, on.
        first, second : Lanes
            To choose from.

        Returns
        -------
        tuple of two Lanes
        """
        # Without masks, lanes are chosen by their highest bit.
        word = self & (1 << bit) if self.wide else self << (self.bits - 1 - bit)
        zero, test = constant(self.integers, 0), "!=" if self.wide else "<"
        where = [self.builder.icmp_signed(test, value, zero) for value in word.vectors]
        pairs = zip(where, first.vectors, second.vectors, strict=True)
        both = [(self.builder.select(w, a, b), self.builder.select(w, b, a)) for w, a, b in pairs]
        chosen, other = zip(*both, strict=True)
        return self._of(chosen), self._of(other)

    def as_bits(self) -> Lanes:
        """Read reals as whole numbers."""
        return self.each(lambda x: self.builder.bitcast(x, self.integers))

    def as_reals(self) -> Lanes:
        """Read whole numbers as reals."""
        return self.each(lambda x: self.builder.bitcast(x, self.reals))

    def from_exponent(self) -> Lanes:
        """Convert the whole numbers with sign in the twelve top bits of 64, all others 0."""
        if self.wide:
            return self.signed_shift(52).from_signed()
        # 2**52 + 2**11 + n has the bits of n, its sign turned, below an exponent.
        return ((self >> 52) ^ (0x433 << 52 | 0x800)).as_reals() - (2.0**52 + 2.0**11)

    def from_signed(self) -> Lanes:
        """Convert whole numbers to reals."""
        return self.each(lambda x: self.builder.sitofp(x, self.reals))

    def from_unsigned(self) -> Lanes:
        """Convert whole numbers without sign to reals."""
        return self.each(lambda x: self.builder.uitofp(x, self.reals))

    def sqrt(self) -> Lanes:
        """Return square roots, rounded once."""
        name = f"llvm.sqrt.v{self.reals.count}f{self.bits}"
        return self.each(lambda x: call(self.builder, name, self.reals, x))

    def polynomials(self, *coefficients: Sequence[float]) -> list[Lanes]:
        """Return several polynomials by Horner's rule, side by side.

        Parameters
        ----------
        *coefficients : sequence of float
            Of each polynomial, from the constant on.

        Returns
        -------
        list of Lanes
        """
        values = [self.same(row[-1]) for row in coefficients]
        for k in range(max(len(row) for row in coefficients) - 2, -1, -1):
            for n, row in enumerate(coefficients):
                if k < len(row) - 1:
                    values[n] = values[n].fma(self, self.same(row[k]))
        return values

    def split_polynomial(self, square: Lanes, coefficients: Sequence[float]) -> Lanes:
        """Return a polynomial from its even and its odd part, two chains of half the length."""
        even, odd = square.polynomials(coefficients[0::2], coefficients[1::2])
        return odd.fma(self, even)


def wide_registers(context: Any) -> bool:
    """Return whether the compiler's target has 32 registers of 64 bytes, and what comes with them.

    Parameters
    ----------
    context : numba target context
        As an intrinsic receives it.

    Returns
    -------
    bool
        False of processors with 16 registers of 32 bytes, or 32 of 16.
    """
    return "+avx512f" in str(context.codegen().magic_tuple()[2]).split(",")


def constant(kind: Any, value: float) -> Any:
    """Return one number in every lane of a vector."""
    return ir.Constant(kind, [value] * kind.count)


def shuffled(builder: Any, a: Any, b: Any, lanes: Sequence[int]) -> Any:
    """Return a vector of the named lanes of two."""
    kind = ir.VectorType(ir.IntType(32), len(lanes))
    return builder.shuffle_vector(a, b, ir.Constant(kind, list(lanes)))


def call(builder: Any, name: str, kind: Any, *values: Any) -> Any:
    """Call a function of the compiler by its name."""
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [value.type for value in values]), name
    )
    return builder.call(function, values)


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c`` of vectors, rounded once; llvmlite's own takes numbers only."""
    bits = 64 if isinstance(a.type.element, ir.DoubleType) else 32
    return call(builder, f"llvm.fma.v{a.type.count}f{bits}", a.type, a, b, c)

"""Steps of a transform of eight numbers at a time, as vectors of the compiler.

Each function here builds one operation that compiled code calls: the first stage and its way back,
for an odd factor ``R``, a stage of radix four in place, and the last one with the powers.  Vectors
are written out in place of loops that a compiler may or may not turn into such; where a machine's
are shorter, the compiler splits them.

Not here: in which order they are called (:mod:`fracsde.estimators.lane_transform`).
"""

from __future__ import annotations

from math import cos, pi, sin, sqrt
from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LANES", "closing", "first", "last", "opening", "stage"]

LANES = 8
"""Numbers in a vector."""
_FUSE = ("contract",)

Pair = tuple[Any, Any]  # real and imaginary parts, a vector each


class _Emitter:
    """Vectors of eight numbers in a function being built."""

    def __init__(self, context: Any, builder: Any, kinds: Any, values: Any) -> None:
        self.builder = builder
        self.kind = ir.VectorType(ir.DoubleType(), LANES)
        self.data = [
            context.make_array(kind)(context, builder, value).data
            if hasattr(kind, "dtype")
            else value
            for kind, value in zip(kinds, values, strict=True)
        ]

    def _pointer(self, array: int, place: Any) -> Any:
        return self.builder.bitcast(
            self.builder.gep(self.data[array], [place]), self.kind.as_pointer()
        )

    def load(self, array: int, place: Any) -> Any:
        return self.builder.load(self._pointer(array, place), align=8)

    def store(self, array: int, place: Any, value: Any) -> None:
        self.builder.store(value, self._pointer(array, place), align=8)

    def load_pair(self, array: int, place: Any) -> Pair:
        return self.load(array, place), self.load(array + 1, place)

    def store_pair(self, array: int, place: Any, pair: Pair) -> None:
        self.store(array, place, pair[0])
        self.store(array + 1, place, pair[1])

    def spread(self, array: int, place: Any) -> Any:
        one = self.builder.load(self.builder.gep(self.data[array], [place]))
        undefined = ir.Constant(self.kind, ir.Undefined)
        first = self.builder.insert_element(undefined, one, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(first, undefined, self._mask([0] * LANES))

    def places(self, first: Any, step: Any, count: int) -> list[Any]:
        found = [first]
        for _ in range(count - 1):
            found.append(self.builder.add(found[-1], step))
        return found

    def parts(self, at: Any, m: Any, count: int) -> list[Any]:
        """Return where row `at` of each part begins."""
        width = self.whole(LANES)
        return self.places(self.builder.mul(at, width), self.builder.mul(m, width), count)

    def whole(self, value: int) -> Any:
        return ir.Constant(ir.IntType(64), value)

    def number(self, value: float) -> Any:
        return ir.Constant(self.kind, [value] * LANES)

    def _mask(self, lanes: list[int]) -> Any:
        return ir.Constant(ir.VectorType(ir.IntType(32), LANES), lanes)

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b, flags=_FUSE)

    def sub(self, a: Any, b: Any) -> Any:
        return self.builder.fsub(a, b, flags=_FUSE)

    def mul(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b, flags=_FUSE)

    def plus(self, a: Pair, b: Pair) -> Pair:
        return self.add(a[0], b[0]), self.add(a[1], b[1])

    def minus(self, a: Pair, b: Pair) -> Pair:
        return self.sub(a[0], b[0]), self.sub(a[1], b[1])

    def sides(self, a: Pair, b: Pair, sign: int) -> tuple[Pair, Pair]:
        """Return a + sign i b and a - sign i b."""
        up = self.sub(a[0], b[1]), self.add(a[1], b[0])
        down = self.add(a[0], b[1]), self.sub(a[1], b[0])
        return (up, down) if sign > 0 else (down, up)

    def times(self, a: Pair, w: Pair, sign: int) -> Pair:
        """Return a times w, or times its conjugate for a negative sign."""
        if sign > 0:
            return (
                self.sub(self.mul(a[0], w[0]), self.mul(a[1], w[1])),
                self.add(self.mul(a[0], w[1]), self.mul(a[1], w[0])),
            )
        return (
            self.add(self.mul(a[0], w[0]), self.mul(a[1], w[1])),
            self.sub(self.mul(a[1], w[0]), self.mul(a[0], w[1])),
        )

    def dft(self, v: list[Pair], sign: int) -> list[Pair]:
        """Return sum_b v_b exp(sign 2 pi i f b / n), n = 1, 2, 4 or 8."""
        n = len(v)
        if n == 1:
            return v
        if n == 2:
            return [self.plus(*v), self.minus(*v)]
        even, odd = self.dft(v[::2], sign), self.dft(v[1::2], sign)
        if n == 4:
            first, second = self.plus(even[0], odd[0]), self.minus(even[0], odd[0])
            third, fourth = self.sides(even[1], odd[1], sign)
            return [first, third, second, fourth]
        half, odd = self.number(sqrt(0.5)), list(odd)
        for f, side in ((1, 0), (3, 1)):  # times exp(sign i pi f / 4), the third but for its sign
            z = self.sides(odd[f], odd[f], sign)[side]
            odd[f] = self.mul(z[0], half), self.mul(z[1], half)
        ends = [(self.plus(even[0], odd[0]), self.minus(even[0], odd[0]))]
        ends.append((self.plus(even[1], odd[1]), self.minus(even[1], odd[1])))
        ends.append(self.sides(even[2], odd[2], sign))
        ends.append((self.minus(even[3], odd[3]), self.plus(even[3], odd[3])))
        return [low for low, _ in ends] + [high for _, high in ends]

    def transposed(self, rows: list[Any]) -> list[Any]:
        rows = list(rows)
        for s in (4, 2, 1):
            left = [k if not k & s else LANES + k - s for k in range(LANES)]
            right = [k + s if not k & s else LANES + k for k in range(LANES)]
            for i in range(LANES):
                if not i & s:
                    a, b = rows[i], rows[i + s]
                    rows[i] = self.builder.shuffle_vector(a, b, self._mask(left))
                    rows[i + s] = self.builder.shuffle_vector(a, b, self._mask(right))
        return rows

    def total(self, terms: list[tuple[Pair, complex]]) -> Pair:
        """Return the sum of pairs times constants; zero where there are none."""
        sums: list[Any] = [None, None]
        for (x, y), w in terms:
            for k, value, factor in (
                (0, x, w.real),
                (1, x, w.imag),
                (0, y, -w.imag),
                (1, y, w.real),
            ):
                if factor:
                    part = value if factor == 1.0 else self.mul(value, self.number(factor))
                    sums[k] = part if sums[k] is None else self.add(sums[k], part)
        return tuple(self.number(0.0) if s is None else s for s in sums)

    def factors(self, table: int, low: Any, high: Any, g: int, R: int) -> list[Pair]:
        """Return products of one coarse row and eight fine ones, for all lanes of part g."""
        size = 2 * LANES * R
        coarse = [
            self.load(table, self.builder.add(high, self.whole((2 * g + k) * LANES)))
            for k in (0, 1)
        ]
        found = []
        for row in range(LANES):
            fine = [
                self.load(
                    table, self.builder.add(low, self.whole(row * size + (2 * g + k) * LANES))
                )
                for k in (0, 1)
            ]
            found.append(self.times((fine[0], fine[1]), (coarse[0], coarse[1]), 1))
        return found


def _root(k: int, n: int, sign: int) -> complex:
    # Of n = 8 R; exact where a part is 0 or 1.
    quarter, rest = divmod(4 * (k % n), n)
    return (
        complex(cos(pi * rest / (2 * n)), sign * sin(pi * rest / (2 * n))) * (sign * 1j) ** quarter
    )


def _between(emit: Callable[[_Emitter, Any, Any, Any, Any], None]) -> Any:
    # An operation between a path x + i y and rows of lanes, with factors w.
    def build(
        typingctx: Any,
        x: Any,
        y: Any,
        at: Any,
        m: Any,
        re: Any,
        im: Any,
        w: Any,
        low: Any,
        high: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, _, at, m, _, _, _, low, high = args
            emit(_Emitter(context, builder, signature.args, args), at, m, low, high)
            return context.get_dummy_value()

        return types.none(x, y, at, m, re, im, w, low, high), generate

    return intrinsic(build)


def opening(R: int) -> Any:
    """Return the first stage, for eight rows `at` to ``at + 7`` of all lanes.

    From 4 R vectors of x + i y it makes a transform of 8 R points of which half are zero, output
    ``h = g + R f`` to lane f of part g, times ``exp(-2 pi i row h / n)``.

    Returns
    -------
    callable
        For compiled code.
    """

    def emit(e: _Emitter, at: Any, m: Any, low: Any, high: Any) -> None:
        given = [(e.load(0, p), e.load(1, p)) for p in e.places(at, m, 4 * R)]
        for g, row in enumerate(e.parts(at, m, R)):
            parts = [
                e.total([(given[q], _root(g * q, 8 * R, -1)) for q in range(b, 4 * R, 8)])
                for b in range(8)
            ]
            columns = e.dft(parts, -1)
            real, imag = (e.transposed([z[k] for z in columns]) for k in (0, 1))
            factors = e.factors(6, low, high, g, R)
            places = e.places(row, e.whole(LANES), 8)
            for p, z, w in zip(places, zip(real, imag, strict=True), factors, strict=True):
                e.store_pair(4, p, e.times(z, w, 1))

    return _between(emit)


def closing(R: int) -> Any:
    """Return the way back of :func:`opening`, to 8 R vectors of x + i y."""

    def emit(e: _Emitter, at: Any, m: Any, low: Any, high: Any) -> None:
        parts = []
        for g, row in enumerate(e.parts(at, m, R)):
            factors = e.factors(6, low, high, g, R)
            places = e.places(row, e.whole(LANES), 8)
            rows = [e.times(e.load_pair(4, p), w, -1) for p, w in zip(places, factors, strict=True)]
            real, imag = (e.transposed([z[k] for z in rows]) for k in (0, 1))
            parts.append(e.dft(list(zip(real, imag, strict=True)), 1))
        for q, p in enumerate(e.places(at, m, 8 * R)):
            terms = [(parts[g][q % 8], _root(g * q, 8 * R, 1)) for g in range(R)]
            e.store_pair(0, p, e.total(terms))

    return _between(emit)


def stage(sign: int) -> Any:
    """Return radix four in place: forward (-1) turns what comes out, back what goes in."""

    def build(typingctx: Any, re: Any, im: Any, at: Any, gap: Any, w: Any, turn: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            e = _Emitter(context, builder, signature.args, args)
            spots = e.places(args[2], args[3], 4)
            v = [e.load_pair(0, p) for p in spots]
            k = e.places(args[5], e.whole(1), 6)
            turns = [(e.spread(4, k[2 * q]), e.spread(4, k[2 * q + 1])) for q in range(3)]
            if sign > 0:
                v[1:] = [e.times(a, t, -1) for a, t in zip(v[1:], turns, strict=True)]
            v = e.dft(v, sign)
            if sign < 0:
                v[1:] = [e.times(a, t, 1) for a, t in zip(v[1:], turns, strict=True)]
            for p, z in zip(spots, v, strict=True):
                e.store_pair(0, p, z)
            return context.get_dummy_value()

        return types.none(re, im, at, gap, w, turn), generate

    return intrinsic(build)


def last(n: int) -> Any:
    """Return the last stage, of radix `n`, which adds its powers."""

    def build(typingctx: Any, re: Any, im: Any, at: Any, power: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            e = _Emitter(context, builder, signature.args, args)
            spots = e.places(args[2], e.whole(LANES), n)
            v = e.dft([e.load_pair(0, p) for p in spots], -1)
            for p, z in zip(spots, v, strict=True):
                s = e.add(e.load(3, p), e.mul(z[0], z[0]))
                e.store(3, p, e.add(s, e.mul(z[1], z[1])))
            return context.get_dummy_value()

        return types.none(re, im, at, power), generate

    return intrinsic(build)


def first(n: int) -> Any:
    """Return the first stage of the way back, of radix `n`, from one array to another."""

    def build(typingctx: Any, p1: Any, p2: Any, at: Any, re: Any, im: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            e = _Emitter(context, builder, signature.args, args)
            spots = e.places(args[2], e.whole(LANES), n)
            v = e.dft([e.load_pair(0, p) for p in spots], 1)
            for p, z in zip(spots, v, strict=True):
                e.store_pair(3, p, z)
            return context.get_dummy_value()

        return types.none(p1, p2, at, re, im), generate

    return intrinsic(build)

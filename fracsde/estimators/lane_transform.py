r"""Power spectra and their way back, in vectors of eight numbers.

.. math::
    Z_h = \sum_{t<n/2} z(t)\, e^{-2\pi i h t/n}, \qquad
    q(k) = \sum_{h<n} P_h\, e^{2\pi i h k/n}, \qquad n = 8 R m,

with ``R`` 1, 3, 5 or 7 and ``m`` a power of two.  A product of paths needs :math:`\sum |Z_h|^2` and
one transform back: the frequencies may stay in whatever order the stages leave them, which is the
order in which the way back takes them.

The first stage transforms over the 8 R parts of the path, half of them zeros:

.. math::
    Z_{h + 8Rf} = \sum_{a<m} e^{-2\pi i f a/m} \Big( e^{-2\pi i h a/n}
        \sum_{b<4R} z(a + m b)\, e^{-2\pi i h b/(8R)} \Big), \qquad 0 \le h < 8R,

and what is left, a transform of ``m`` points for each ``h``, is done for eight ``h`` at once, one
in each lane of a vector: stages of radix four, in place, the last of radix four or eight.  A block
that fits a cache is finished before the next is begun.  The way back runs the stages in reverse.

Vectors are written out in place of loops that a compiler may or may not turn into such; where a
machine's are shorter, the compiler splits them.

Not here: what the products are for (:mod:`fracsde.estimators.displacement_kernels`).
"""

from __future__ import annotations

from math import cos, pi, sin, sqrt
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

__all__ = ["LANES", "add_powers", "back", "shape", "turns"]

LANES = 8
"""Numbers in a vector."""
_NEAR, _FAR = 128, 8192  # rows of lanes that stay in the first and second cache
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


def _opening(R: int) -> Any:
    # Rows `at` to `at + 7` of all lanes, from 4 R vectors of x + i y: a transform of 8 R points of
    # which half are zero, output h = g + R f to lane f of part g, times exp(-2 pi i row h / n).
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
            e = _Emitter(context, builder, signature.args, args)
            _, _, at, m, _, _, _, low, high = args
            given = [(e.load(0, p), e.load(1, p)) for p in e.places(at, m, 4 * R)]
            row, block = builder.mul(at, e.whole(LANES)), builder.mul(m, e.whole(LANES))
            for g in range(R):
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
                row = builder.add(row, block)
            return context.get_dummy_value()

        return types.none(x, y, at, m, re, im, w, low, high), generate

    return intrinsic(build)


def _closing(R: int) -> Any:
    # The other way: from rows of lanes to 8 R vectors of x + i y.
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
            e = _Emitter(context, builder, signature.args, args)
            _, _, at, m, _, _, _, low, high = args
            row, block = builder.mul(at, e.whole(LANES)), builder.mul(m, e.whole(LANES))
            parts = []
            for g in range(R):
                factors = e.factors(6, low, high, g, R)
                places = e.places(row, e.whole(LANES), 8)
                rows = [
                    e.times(e.load_pair(4, p), w, -1) for p, w in zip(places, factors, strict=True)
                ]
                real, imag = (e.transposed([z[k] for z in rows]) for k in (0, 1))
                parts.append(e.dft(list(zip(real, imag, strict=True)), 1))
                row = builder.add(row, block)
            for q, p in enumerate(e.places(at, m, 8 * R)):
                terms = [(parts[g][q % 8], _root(g * q, 8 * R, 1)) for g in range(R)]
                e.store_pair(0, p, e.total(terms))
            return context.get_dummy_value()

        return types.none(x, y, at, m, re, im, w, low, high), generate

    return intrinsic(build)


def _stage(sign: int) -> Any:
    # Radix four in place: forward turns what comes out, back turns what goes in.
    def build(typingctx: Any, re: Any, im: Any, at: Any, gap: Any, w: Any, turn: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            e = _Emitter(context, builder, signature.args, args)
            spots = e.places(args[2], args[3], 4)
            v = [(e.load(0, p), e.load(1, p)) for p in spots]
            k = e.places(args[5], e.whole(1), 6)
            turns = [(e.spread(4, k[2 * q]), e.spread(4, k[2 * q + 1])) for q in range(3)]
            if sign > 0:
                v[1:] = [e.times(a, t, -1) for a, t in zip(v[1:], turns, strict=True)]
            v = e.dft(v, sign)
            if sign < 0:
                v[1:] = [e.times(a, t, 1) for a, t in zip(v[1:], turns, strict=True)]
            for p, z in zip(spots, v, strict=True):
                e.store(0, p, z[0])
                e.store(1, p, z[1])
            return context.get_dummy_value()

        return types.none(re, im, at, gap, w, turn), generate

    return intrinsic(build)


def _last(n: int) -> Any:
    def build(typingctx: Any, re: Any, im: Any, at: Any, power: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            e = _Emitter(context, builder, signature.args, args)
            spots = e.places(args[2], e.whole(LANES), n)
            v = e.dft([(e.load(0, p), e.load(1, p)) for p in spots], -1)
            for p, z in zip(spots, v, strict=True):
                s = e.add(e.load(3, p), e.mul(z[0], z[0]))
                e.store(3, p, e.add(s, e.mul(z[1], z[1])))
            return context.get_dummy_value()

        return types.none(re, im, at, power), generate

    return intrinsic(build)


def _first(n: int) -> Any:
    def build(typingctx: Any, p1: Any, p2: Any, at: Any, re: Any, im: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            e = _Emitter(context, builder, signature.args, args)
            spots = e.places(args[2], e.whole(LANES), n)
            v = e.dft([(e.load(0, p), e.load(1, p)) for p in spots], 1)
            for p, z in zip(spots, v, strict=True):
                e.store(3, p, z[0])
                e.store(4, p, z[1])
            return context.get_dummy_value()

        return types.none(p1, p2, at, re, im), generate

    return intrinsic(build)


_open1, _open3, _open5, _open7 = (_opening(R) for R in (1, 3, 5, 7))
_close1, _close3, _close5, _close7 = (_closing(R) for R in (1, 3, 5, 7))
_split, _merge = _stage(-1), _stage(1)
_last4, _last8, _first4, _first8 = _last(4), _last(8), _first(4), _first(8)


def shape(least: int) -> tuple[int, int]:
    """Return ``R`` and ``m`` of the shortest transform of `least` points or more.

    Returns
    -------
    tuple of int
    """
    found = []
    for R in (1, 3, 5, 7):
        rows = max(LANES, -(-least // (LANES * R)))
        found.append((R, 1 << (rows - 1).bit_length()))
    return min(found, key=lambda pair: pair[0] * pair[1])


@njit(cache=True, error_model="numpy")
def turns(R: int, m: int) -> Any:
    """Return the factors of a transform of ``8 R m`` points.

    Each is the product of two that are exact to rounding, so that its error does not grow.

    Parameters
    ----------
    R : {1, 3, 5, 7}
        The odd factor of the length.
    m : int
        Rows of lanes: a power of two, 8 at least.

    Returns
    -------
    outer : ndarray of float64
        Factors between the first stage and the others: fine rows, then coarse ones.
    inner : (2 m,) ndarray of float64
        Factors of the others, real and imaginary parts in turn.
    """
    short = _fine(m)
    outer = np.empty((short + m // short, R, 2, LANES))
    unit = -2.0 * np.pi / (8 * R * m)
    for place in range(len(outer)):
        row = place if place < short else (place - short) * short
        for g in range(R):
            for f in range(LANES):
                angle = unit * (row * (g + R * f))
                outer[place, g, 0, f], outer[place, g, 1, f] = np.cos(angle), np.sin(angle)
    inner, at, block = np.empty(2 * m), 0, m
    fine = np.exp(-2j * np.pi / m * np.arange(short))
    coarse = np.exp(-2j * np.pi / m * short * np.arange(m // short))
    mask, places = short - 1, int(np.log2(short) + 0.5)
    while block > 8:
        for j in range(block // 4):
            for q in range(1, 4):
                row = q * j * (m // block)
                z = coarse[row >> places] * fine[row & mask]
                inner[at], inner[at + 1] = z.real, z.imag
                at += 2
        block //= 4
    return outer.reshape(outer.size), inner


@njit(cache=True, error_model="numpy")
def _fine(m: int) -> int:
    # Rows of the fine table: a power of two, not below 8 and near the root of m.
    short = 8
    while short * short < m:
        short *= 2
    return short


@njit(cache=True, error_model="numpy")
def add_powers(x: Any, y: Any, R: int, factors: Any, re: Any, im: Any, powers: Any) -> None:
    """Add the powers of ``x + i y``, padded to twice its length, to `powers`.

    Parameters
    ----------
    x, y : (4 R m,) ndarray of float64
        Real and imaginary parts.
    R : {1, 3, 5, 7}
        The odd factor of the length.
    factors : tuple
        From :func:`turns`.
    re, im : (8 R m,) ndarray of float64
        Room to work in.
    powers : (8 R m,) ndarray of float64
        Where the powers are added, in an order that :func:`back` understands.
    """
    outer, inner = factors
    m = len(powers) // (8 * R)
    short, size = _fine(m), 16 * R
    for row in range(0, m, LANES):
        low, high = row % short * size, (short + row // short) * size
        if R == 1:
            _open1(x, y, row, m, re, im, outer, low, high)
        elif R == 3:
            _open3(x, y, row, m, re, im, outer, low, high)
        elif R == 5:
            _open5(x, y, row, m, re, im, outer, low, high)
        else:
            _open7(x, y, row, m, re, im, outer, low, high)
    far, near, least = _cut(m, _FAR), _cut(m, _NEAR), _cut(m, LANES)
    for top in range(0, R * m, m):
        _split_all(re, im, top, m, m, far, inner)
        for middle in range(top, top + m, far):  # each to its end while it is in cache
            _split_all(re, im, middle, far, far, near, inner)
            for start in range(middle, middle + far, near):
                _split_all(re, im, start, near, near, least, inner)
                for base in range(start, start + near, least):
                    if least == 8:
                        _last8(re, im, 8 * base, powers)
                    else:
                        _last4(re, im, 8 * base, powers)


@njit(cache=True, error_model="numpy")
def back(p: Any, q: Any, R: int, factors: Any, re: Any, im: Any) -> None:
    """Replace ``p + i q`` by ``8 R m`` times its inverse transform.

    Parameters
    ----------
    p, q : (8 R m,) ndarray of float64
        In the order of :func:`add_powers`; on return in the natural order.
    R : {1, 3, 5, 7}
        The odd factor of the length.
    factors : tuple
        From :func:`turns`.
    re, im : (8 R m,) ndarray of float64
        Room to work in.
    """
    outer, inner = factors
    m = len(p) // (8 * R)
    far, near, least = _cut(m, _FAR), _cut(m, _NEAR), _cut(m, LANES)
    for top in range(0, R * m, m):
        for middle in range(top, top + m, far):
            for start in range(middle, middle + far, near):
                for base in range(start, start + near, least):
                    if least == 8:
                        _first8(p, q, 8 * base, re, im)
                    else:
                        _first4(p, q, 8 * base, re, im)
                _merge_all(re, im, start, near, least, near, inner)
            _merge_all(re, im, middle, far, near, far, inner)
        _merge_all(re, im, top, m, far, m, inner)
    short, size = _fine(m), 16 * R
    for row in range(0, m, LANES):
        low, high = row % short * size, (short + row // short) * size
        if R == 1:
            _close1(p, q, row, m, re, im, outer, low, high)
        elif R == 3:
            _close3(p, q, row, m, re, im, outer, low, high)
        elif R == 5:
            _close5(p, q, row, m, re, im, outer, low, high)
        else:
            _close7(p, q, row, m, re, im, outer, low, high)


@njit(cache=True, error_model="numpy")
def _cut(rows: int, most: int) -> int:
    # Rows of a block, by quarters.
    while rows > most:
        rows //= 4
    return rows


@njit(cache=True, error_model="numpy")
def _before(block: int, m: int) -> int:
    # Where the factors of a block begin: those of larger blocks come before them.
    place = 0
    while m > block:
        place += 6 * (m // 4)
        m //= 4
    return place


@njit(cache=True, error_model="numpy")
def _split_all(re: Any, im: Any, start: int, count: int, high: int, low: int, inner: Any) -> None:
    # Stages from blocks of `high` rows to blocks of `low`, over `count` rows from `start`.
    block, turn = high, _before(high, len(inner) // 2)
    while block > low:
        quarter = block // 4
        for base in range(start, start + count, block):
            for j in range(quarter):
                _split(re, im, 8 * (base + j), 8 * quarter, inner, turn + 6 * j)
        turn += 6 * quarter
        block = quarter


@njit(cache=True, error_model="numpy")
def _merge_all(re: Any, im: Any, start: int, count: int, low: int, high: int, inner: Any) -> None:
    # Stages from blocks of `low` rows to blocks of `high`, over `count` rows from `start`.
    block = 4 * low
    while block <= high:
        quarter, turn = block // 4, _before(block, len(inner) // 2)
        for base in range(start, start + count, block):
            for j in range(quarter):
                _merge(re, im, 8 * (base + j), 8 * quarter, inner, turn + 6 * j)
        block *= 4

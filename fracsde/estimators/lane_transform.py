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

Not here: what is done to a vector (:mod:`fracsde.estimators.lane_vectors`), and what the products
are for (:mod:`fracsde.estimators.displacement_kernels`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fracsde._compiled import njit
from fracsde.estimators.lane_vectors import LANES, closing, first, last, opening, stage

__all__ = ["LANES", "add_powers", "back", "shape", "turns"]

_NEAR, _FAR = 128, 8192  # rows of lanes that stay in the first and second cache

_open1, _open3, _open5, _open7 = (opening(R) for R in (1, 3, 5, 7))
_close1, _close3, _close5, _close7 = (closing(R) for R in (1, 3, 5, 7))
_split, _merge = stage(-1), stage(1)
_last4, _last8, _first4, _first8 = last(4), last(8), first(4), first(8)


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

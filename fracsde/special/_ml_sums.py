r"""Compiled sums of the Mittag-Leffler function: power series, nodes, asymptotic series.

.. math::
    \sum_{k} c_k z^k, \qquad \sum_k \frac{a_k}{(b_k - z)^m}, \qquad \sum_{k} e_k z^{-k} .

The middle one costs one division per pair of nodes and no function call, and runs over blocks of
points so that it compiles to vector instructions.  ``b_k`` are pairs of floats, so that
differences are good to a rounding error also where all ``b_k`` lie close to one, as they do for
small ``alpha``.

Not here: the choice between the three, and residues (:mod:`fracsde.special._ml_residues`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fracsde._compiled import njit

__all__ = ["add_sums_complex", "add_sums_real"]

# As in `_ml_residues`, whose compiled functions are not called here.
_BY_ALPHA, _SERIES, _TAIL, _LIFTED = -1, -3, -2, 3
_BLOCK = 256  # points per pass over the nodes: all scratch stays in the first cache

_compiled: Any = njit(cache=True, error_model="numpy", nogil=True)


@_compiled
def _horner(c, x):  # type: ignore[no-untyped-def]  # compiled
    total = c[-1] + 0.0 * x
    for k in range(len(c) - 2, -1, -1):
        total = total * x + c[k]
    return total


@_compiled
def _sum_real(nodes, x, total):  # type: ignore[no-untyped-def]  # compiled
    # Sum a / (b - x) and its conjugate over the upper nodes, for real x.
    total[:] = 0.0
    for k in range(nodes.shape[1]):
        bh, bl, square = nodes[0, k], nodes[1, k], nodes[2, k] * nodes[2, k]
        ar, cross = 2.0 * nodes[4, k], 2.0 * nodes[5, k] * nodes[2, k]
        for i in range(len(x)):
            d = (bh - x[i]) + bl
            total[i] += (ar * d + cross) / (d * d + square)


@_compiled
def _sum_complex(nodes, x, y, re, im):  # type: ignore[no-untyped-def]  # compiled
    # The same for z = x + iy.  With D = Re b - z, both denominators are D -+ i Im b.
    re[:] = 0.0
    im[:] = 0.0
    for k in range(nodes.shape[1]):
        brh, brl, bih, bil = nodes[0, k], nodes[1, k], nodes[2, k], nodes[3, k]
        ar, cross = 2.0 * nodes[4, k], 2.0 * nodes[5, k] * bih
        for i in range(len(x)):
            d = (brh - x[i]) + brl
            up, down = (bih - y[i]) + bil, (bih + y[i]) + bil
            pr, pi = d * d + up * down, -2.0 * d * y[i]
            nr, ni = ar * d + cross, -ar * y[i]
            inverse = 1.0 / (pr * pr + pi * pi)
            re[i] += (nr * pr + ni * pi) * inverse
            im[i] += (ni * pr - nr * pi) * inverse


@_compiled
def _sum_powers(nodes, mirrored, z, power):  # type: ignore[no-untyped-def]  # compiled
    # Sum a / (b - z)**power over any nodes, with the conjugates if only the upper ones are given.
    total = 0j
    for k in range(nodes.shape[1]):
        a = complex(nodes[4, k], nodes[5, k])
        dr, di = (nodes[0, k] - z.real) + nodes[1, k], (nodes[2, k] - z.imag) + nodes[3, k]
        inverse = 1.0 / complex(dr, di)
        term = a
        for _ in range(power):
            term *= inverse
        total += term
        if mirrored:
            inverse = 1.0 / complex(dr, -((nodes[2, k] + z.imag) + nodes[3, k]))
            term = a.conjugate()
            for _ in range(power):
                term *= inverse
            total += term
    return total


@_compiled
def add_sums_real(z, out, road, table):  # type: ignore[no-untyped-def]  # compiled
    """Add to the residues what is not residues, at real points.

    Parameters
    ----------
    z, out : (n,) float64
        Points, and values.
    road : (n,) int64
        From :func:`fracsde.special._ml_residues.start_real`; overwritten.
    table : Table
        From :func:`fracsde.special._ml_tables.table`.
    """
    classes = len(table.powers)
    points, sums, where = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK, np.int64)
    for start in range(0, len(z), _BLOCK):
        stop = min(start + _BLOCK, len(z))
        most = -1
        for i in range(start, stop):
            if road[i] == _SERIES:
                out[i] = _horner(table.series, z[i])
            elif road[i] == _TAIL:
                out[i] += _horner(table.tail, 1.0 / z[i]) / z[i]
            elif road[i] >= 0:
                c = 0
                while c + 1 < classes and -z[i] > table.starts[c + 1]:
                    c += 1
                road[i] = c + classes * road[i]
                most = max(most, road[i])
        for c in range(most + 1):
            count = 0
            for i in range(start, stop):
                if road[i] == c:
                    points[count], where[count] = z[i], i
                    count += 1
            if count == 0:
                continue
            m = table.powers[c % classes]
            nodes = table.middle[c] if c < classes else table.whole[c - classes]
            _sum_real(nodes, points[:count], sums[:count])
            for i in range(count):
                value = sums[i]
                if m > 0:
                    w = 1.0 / points[i]
                    value = value * w**m + _horner(table.tail[:m], w) * w
                out[where[i]] += value


@_compiled
def add_sums_complex(z, out, road, order, table):  # type: ignore[no-untyped-def]  # compiled
    """Add to the residues what is not residues, at complex points.

    Parameters
    ----------
    z, out : (n,) complex128
        Points, and values.
    road : (n,) int64
        From :func:`fracsde.special._ml_residues.start_complex`.
    order : int
        Order of the derivative in ``z``, or ``BY_ALPHA``.
    table : Table
        From :func:`fracsde.special._ml_tables.table`, made for the same ``order``.
    """
    x, y, re, im = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    where = np.empty(_BLOCK, np.int64)
    power = 2 if order == _BY_ALPHA else order + 1
    factor = 1.0
    for k in range(2, power):
        factor *= k
    for start in range(0, len(z), _BLOCK):
        stop = min(start + _BLOCK, len(z))
        most = -1
        for i in range(start, stop):
            most = max(most, road[i])
            if road[i] == _SERIES:
                out[i] = _horner(table.series, z[i])
            elif road[i] == _TAIL:
                w = 1.0 / z[i]
                value = _horner(table.tail, w) * w
                for _ in range(order):
                    value *= w
                out[i] = complex(out[i].real + value.real, out[i].imag + value.imag)
        for c in range(most + 1):
            count = 0
            for i in range(start, stop):
                if road[i] == c:
                    x[count], y[count], where[count] = z[i].real, z[i].imag, i
                    count += 1
            if count == 0:
                continue
            lifted, which = divmod(c, _LIFTED)
            nodes = table.middle[lifted] if which == 0 else table.whole[lifted]
            by_parts = lifted == 1 or order == 0
            if by_parts and which < 2:
                _sum_complex(nodes, x[:count], y[:count], re[:count], im[:count])
            for i in range(count):
                point, a = complex(x[i], y[i]), where[i]
                if not by_parts or which == 2:
                    nodes = table.quarter[lifted] if which == 2 else nodes
                    total = _sum_powers(nodes, which < 2, point, 1 if by_parts else power)
                    if not by_parts:
                        total *= -point if order == _BY_ALPHA else factor
                else:
                    total = complex(re[i], im[i])
                if lifted == 1:
                    total *= point if order == _BY_ALPHA else 1.0 / point**order
                out[a] = complex(out[a].real + total.real, out[a].imag + total.imag)
        for i in range(start, stop):
            if z[i].imag == 0.0:  # conjugate poles that overflow leave inf - inf
                out[i] = complex(out[i].real, np.nan if np.isnan(z[i].real) else 0.0)

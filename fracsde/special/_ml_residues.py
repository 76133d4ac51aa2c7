r"""Residues of the Mittag-Leffler function, and what the trapezoidal rule does to them.

On the hyperbola :math:`s(u) = \mu(1 + \sin(iu - \phi))` the rule with nodes
:math:`u_k = (k + c) h` makes an error that is known for each pole of the integrand:

.. math::
    E_{\alpha,\beta}(z) = \sum_k \frac{a_k}{b_k - z}
        + \sum_{s_*^\alpha = z} \sigma(s_*)\, \frac{s_*^{1-\beta} e^{s_*}}{\alpha},
    \qquad
    \sigma(s) = \frac{1}{1 - e^{-2\pi (\arcsin(s/\mu - 1) + \phi)/h + 2\pi i c}} .

So residues are not switched on at a line but smoothly, and a pole may stand left of the
hyperbola, right of it and on it.  Only where it comes close to a node do sum and residue cancel;
then another shift ``c`` serves: 1/2, 0, or 1/4 if two poles exclude both.

Derivatives differentiate both parts.  Close to the hyperbola that would lose digits like
:math:`h^{-n}`; there the integral is taken by parts first, which lifts no pole's order
(:func:`fracsde.special._ml_tables.lift`).

Not here: poles (:mod:`fracsde.special._ml_poles`), sums (:mod:`fracsde.special._ml_sums`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fracsde._compiled import njit

__all__ = [
    "BY_ALPHA",
    "DONE",
    "LIFTED",
    "SERIES",
    "TAIL",
    "at_infinity",
    "switch_on_complex",
    "switch_on_real",
]

BY_ALPHA = -1  # in place of the order of a derivative: differentiate in alpha
SERIES, TAIL, DONE = -3, -2, -1  # roads that are no set of nodes
LIFTED = 3  # added to the number of a set of nodes
_TWO_PI = 2.0 * math.pi
_UNDECIDED = 7.0  # steps from the hyperbola to where a pole's switch is on or off, to exp(-44)
_CLOSE = 2.5  # steps left of it from where derivatives are better not taken by parts

_compiled: Any = njit(cache=True, error_model="numpy", nogil=True)


@_compiled
def _horner(c, x):  # type: ignore[no-untyped-def]  # compiled
    total = c[-1] + 0.0 * x
    for k in range(len(c) - 2, -1, -1):
        total = total * x + c[k]
    return total


@_compiled
def _slopes(s, switch, order, plan):  # type: ignore[no-untyped-def]  # compiled
    # z**n d^n/dz^n of the switched residue, over the residue.  With respect to l = ln s, and with
    # r = s d/ds arcsin(s / mu - 1), the parts obey s' = s, r' = r (1 + r**2) / 2,
    # switch' = 2 pi / h r switch (1 - switch), residue' = (s + 1 - beta) residue.
    alpha, beta, mu, _, h = plan
    wave = _TWO_PI / h
    n = order + 1
    r, square = np.zeros(n, np.complex128), np.zeros(n, np.complex128)
    rate, total = np.zeros(n, np.complex128), np.zeros(n, np.complex128)
    off = np.zeros(n, np.complex128)  # r (1 - switch)
    sigma = np.zeros(n, np.complex128)
    r[0], sigma[0], total[0] = np.sqrt(s / (2.0 * mu - s)), switch, switch
    power = s  # i-th coefficient of s
    for i in range(order):
        for k in range(i + 1):
            square[i] += r[k] * r[i - k]
            off[i] += r[k] * ((1.0 if k == i else 0.0) - sigma[i - k])
        rate[i] = power + wave * off[i] + (1.0 - beta if i == 0 else 0.0)
        power /= i + 1.0
        for k in range(i + 1):
            r[i + 1] += 0.5 * r[k] * ((1.0 if k == i else 0.0) + square[i - k]) / (i + 1.0)
            sigma[i + 1] += wave * off[k] * sigma[i - k] / (i + 1.0)
            total[i + 1] += rate[k] * total[i - k] / (i + 1.0)
    factorial = 1.0
    for i in range(1, n):  # from coefficients to derivatives
        factorial *= i
        total[i] *= factorial
    for i in range(order):  # z**n d^n/dz^n is the product of z d/dz - i, z d/dz = d/dl / alpha
        for j in range(order - i):
            total[j] = total[j + 1] / alpha - i * total[j]
    return total[0]


@_compiled
def _choose(held, count, order, plan):  # type: ignore[no-untyped-def]  # compiled
    # The first set of nodes of which none is within an eighth of a step of a pole; lifted if a
    # derivative is asked for and the switch of a pole is neither on nor off.
    phi, h = plan[3:]
    near_middle = near_whole = lifted = False
    for i in range(count):
        right, q = held[i, 3] + phi, held[i, 4]
        # Left of the hyperbola integration by parts cancels, for derivatives in z.
        lifted |= -h * (_UNDECIDED if order == BY_ALPHA else _CLOSE) < right < h * _UNDECIDED
        if abs(right) < 0.125 * h:
            off = abs(q / h - np.rint(q / h))
            near_whole |= off < 0.125
            near_middle |= off > 0.375
    chosen = 0 if not near_middle else 2 if near_whole else 1
    return chosen + LIFTED if lifted and order != 0 else chosen


@_compiled
def _residues(z, held, count, shift, lifted, order, plan, lift):  # type: ignore[no-untyped-def]  # compiled
    # Sum the switched residues.
    alpha, beta, _, phi, h = plan
    total_r = total_i = 0.0
    for i in range(count):
        g = complex(held[i, 0], held[i, 1])
        p, q = held[i, 3], held[i, 4]
        s, log_s = complex(held[i, 5], held[i, 6]), complex(held[i, 7], held[i, 8])
        switch = complex(1.0)
        damp = -_TWO_PI * (p + phi) / h
        if damp > -40.0:
            phase = _TWO_PI * (shift - q / h)
            m = math.exp(damp)
            # On the real axis the switch is real, for symmetric nodes.
            Q = complex(m * math.cos(phase), 0.0 if s.imag == 0.0 else m * math.sin(phase))
            switch = 1.0 / (1.0 - Q)
        if order == BY_ALPHA:
            g *= -switch * ((s + (1.0 - beta)) * log_s + 1.0) / alpha
        elif order == 0:
            g *= switch
        elif lifted or switch == 1.0:
            g *= switch * _horner(lift, s) / z**order
        else:
            g *= _slopes(s, switch, order, plan) / z**order
        half = math.exp(held[i, 2])  # by halves: the product may fit where exp does not
        if g.real != 0.0:
            total_r += g.real * half * half
        if g.imag != 0.0:
            total_i += g.imag * half * half
    return complex(total_r, total_i)


@_compiled
def at_infinity(z, alpha):  # type: ignore[no-untyped-def]  # compiled
    """Return the limit in the direction of an infinite ``z``, NaN where there is none."""
    turn = abs(math.atan2(z.imag, z.real))
    if turn == 0.0:
        return complex(np.inf, 0.0)
    if turn > 0.5 * math.pi * alpha:
        return 0j
    return complex(np.nan, np.nan)


@_compiled
def switch_on_real(z, counts, held, out, road, table):  # type: ignore[no-untyped-def]  # compiled
    """Choose roads at real points, and write the residues.

    Parameters
    ----------
    z, out : (n,) float64
        Points, and where residues go.
    counts, held : (n,) int64 and (n, poles, 9) float64
        From :func:`fracsde.special._ml_poles.find_poles`.
    road : (n,) int64
        Overwritten: ``SERIES``, ``TAIL``, ``DONE``, or the set of nodes for this point.
    table : Table
        From :func:`fracsde.special._ml_tables.table`.
    """
    alpha, small, large, lift = table.alpha, table.small, table.large, table.lift
    plan = (alpha, table.beta, table.contour[0], table.contour[1], table.contour[2])
    for i in range(len(z)):
        x = z[i]
        size = abs(x)
        out[i] = 0.0
        if size <= small:
            road[i] = SERIES
            continue
        if not size < np.inf:
            road[i] = DONE
            out[i] = x if math.isnan(x) else at_infinity(complex(x), alpha).real
            continue
        road[i] = TAIL if size >= large else 0
        if x > 0.0 or alpha >= 1.0:
            point = complex(x)
            if road[i] == 0:
                road[i] = _choose(held[i], counts[i], 0, plan)
            shift = 0.5 if road[i] == 0 else 0.0
            out[i] = _residues(point, held[i], counts[i], shift, False, 0, plan, lift).real


@_compiled
def switch_on_complex(z, counts, held, out, road, order, table):  # type: ignore[no-untyped-def]  # compiled
    """Choose roads at complex points, and write the residues, for values or derivatives.

    Parameters
    ----------
    z, out : (n,) complex128
        Points, and where residues go.
    counts, held : (n,) int64 and (n, poles, 9) float64
        From :func:`fracsde.special._ml_poles.find_poles`.
    road : (n,) int64
        Overwritten, as by :func:`switch_on_real`; with ``LIFTED`` added where a derivative must be
        taken by parts.
    order : int
        Order of the derivative in ``z``, or ``BY_ALPHA``.
    table : Table
        From :func:`fracsde.special._ml_tables.table`, made for the same ``order``.
    """
    alpha, small, large, lift = table.alpha, table.small, table.large, table.lift
    plan = (alpha, table.beta, table.contour[0], table.contour[1], table.contour[2])
    for i in range(len(z)):
        point = z[i]
        size = math.hypot(point.real, point.imag)
        out[i] = 0j
        if size <= small:
            road[i] = SERIES
            continue
        if math.isnan(point.real) or math.isnan(point.imag):
            road[i], out[i] = DONE, complex(np.nan, np.nan)
            continue
        if not size < np.inf:
            road[i], out[i] = DONE, at_infinity(point, alpha)
            continue
        inside = size < large
        road[i] = _choose(held[i], counts[i], order, plan) if inside else TAIL
        shift = (0.5, 0.0, 0.25)[road[i] % LIFTED] if inside else 0.0
        out[i] = _residues(point, held[i], counts[i], shift, road[i] >= LIFTED, order, plan, lift)

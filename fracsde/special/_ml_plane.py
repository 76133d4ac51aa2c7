r"""Residues of the Mittag-Leffler function over the complex plane, in blocks of points.

.. math::
    \frac{s^{1-\beta} e^{s}}{\alpha\,(1 + Q)}, \qquad s = z^{1/\alpha}, \qquad
    Q = e^{-\frac{2\pi}{h}(2v + \phi - \pi/2)}, \qquad
    e^{iv} = \sqrt{1 - \tfrac{s}{2\mu}} + i \sqrt{\tfrac{s}{2\mu}} .

The same numbers as :mod:`fracsde.special._ml_residues` with ``c = 1/2``, because
:math:`\arcsin(s/\mu - 1) = 2v - \pi/2`; what differs is the cost.  Two complex logarithms and three
complex exponentials are what a pole needs, and both are written as loops without branches or
calls, which compile to vector instructions: a table brings the argument within 0.01 of its
nearest entry, and a short polynomial does the rest.  The table's entries are pairs of floats and
what is added to them is small, so results have an error of some 1e-18 of their size: a pole
``abs(s) = 300`` is good to an absolute 1e-15, as its exponential demands.
A step of Newton's method makes :math:`v` as good, because :math:`Q` sees it divided by ``h``.

Points in the lower half plane are mirrored.  What this file does not do it marks as ``ASIDE``, for
:mod:`fracsde.special._ml_residues`: larger poles, numbers that are not finite, and the one point in
a few hundred of which a pole is close to a node.

Not here: sums over nodes (:mod:`fracsde.special._ml_sums`), derivatives.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fracsde._compiled import njit
from fracsde.special._double_double import EXPONENTIALS, LOG2_STEP, TURN_STEP, TURNS
from fracsde.special._intrinsics import bits_of, fma, number_of

__all__ = ["ASIDE", "reach", "switch_on_plane"]

ASIDE = -4  # road of points that are left to others
_SERIES, _TAIL = -3, -2  # as in `_ml_residues`, whose compiled functions are not called here
_BLOCK = 128  # points at once: all scratch stays in the first cache
_SCRATCH = 27  # arrays of it
_LEAST = 1e-200  # square of a size: what is smaller is left to others
_LONGEST = 300.0  # size of a pole
_FINE = 1000.0  # the same over alpha, by which errors of the logarithm grow
_BRANCH_POINT = -14.0  # logarithm of a pole so close to the branch point that its switch is off
_OFF = -600.0  # exponent of Q where a residue counts in full
_PER_LOG2_STEP, _PER_TURN_STEP = 1.0 / LOG2_STEP[0], 1.0 / TURN_STEP[0]
_LOG2_H, _LOG2_L = LOG2_STEP
_TURN_H, _TURN_L = TURN_STEP
_MAGIC = 1.5 * 2.0**52  # added to a whole number it shows its bits
_MANTISSA, _ONE = (1 << 52) - 1, 1023 << 52
_TWO_PI = 2.0 * math.pi
_compiled: Any = njit(cache=True, error_model="numpy", nogil=True)


@_compiled
def _two_sum(a, b):  # type: ignore[no-untyped-def]  # compiled
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


@_compiled
def _split(k):  # type: ignore[no-untyped-def]  # compiled
    # For a whole number k return k modulo 64 and 2**floor(k / 64).
    whole = np.floor(k * 0.015625)
    return bits_of((k - 64.0 * whole) + _MAGIC) & 63, number_of(
        (bits_of(whole + _MAGIC) + 1023) << 52
    )


@_compiled
def _gather(n, place, turn, mh, ml, ch, cl, sh, sl):  # type: ignore[no-untyped-def]  # compiled
    # Fetch 2**(place / 64) and cosine and sine of turn / 512 of a turn, in pairs.
    for i in range(n):
        k, j = place[i], turn[i]
        mh[i], ml[i] = EXPONENTIALS[k, 0], EXPONENTIALS[k, 1]
        ch[i], cl[i], sh[i], sl[i] = TURNS[j, 0], TURNS[j, 1], TURNS[j, 2], TURNS[j, 3]


@_compiled
def _logarithms(n, x, y, lh, ll, th, tl, whole, work):  # type: ignore[no-untyped-def]  # compiled
    # Logarithms of n numbers x + iy with y >= 0, as pairs.
    place, turn = whole
    scale, mh, ml, ch = work[0], work[1], work[2], work[3]
    cl, sh, sl = work[4], work[5], work[6]
    for i in range(n):
        # Rough logarithm and angle, a tenth of a step of the tables off; kept in lh and th.
        bits = bits_of(x[i] * x[i] + y[i] * y[i])
        f = number_of((bits & _MANTISSA) | _ONE)
        rough = -2.1536 + f * (3.0479 + f * (-1.0518 + f * 0.1582))
        k = np.rint(32.0 * (float((bits >> 52) - 1023) + rough))
        place[i], scale[i] = _split(-k)
        a = abs(x[i])
        t = min(a, y[i]) / max(a, y[i])
        angle = t * (0.9953 - t * t * (0.2887 - 0.0794 * (t * t)))
        angle = 0.5 * math.pi - angle if y[i] > a else angle
        angle = math.pi - angle if x[i] < 0.0 else angle
        j = np.rint(angle * _PER_TURN_STEP)
        turn[i] = bits_of(j + _MAGIC) & 511
        lh[i], th[i] = k, j
    _gather(n, place, turn, mh, ml, ch, cl, sh, sl)
    for i in range(n):
        p, q = x[i] * ch[i], y[i] * sh[i]
        ah, al = _two_sum(p, q)
        al += fma(x[i], ch[i], -p) + fma(y[i], sh[i], -q) + (x[i] * cl[i] + y[i] * sl[i])
        p, q = y[i] * ch[i], -x[i] * sh[i]
        bh, bl = _two_sum(p, q)
        bl += fma(y[i], ch[i], -p) + fma(-x[i], sh[i], -q) + (y[i] * cl[i] - x[i] * sl[i])
        # The number over its entry is 1 + e, with e = (u + ul) + i (v + vl).
        p, q = ah * mh[i], bh * mh[i]
        u, ul = p * scale[i] - 1.0, (fma(ah, mh[i], -p) + (ah * ml[i] + al * mh[i])) * scale[i]
        v, vl = q * scale[i], (fma(bh, mh[i], -q) + (bh * ml[i] + bl * mh[i])) * scale[i]
        cr, ci = 1.0 / 9.0, 0.0
        cr, ci = cr * u - ci * v - 0.125, cr * v + ci * u
        cr, ci = cr * u - ci * v + 1.0 / 7.0, cr * v + ci * u
        cr, ci = cr * u - ci * v - 1.0 / 6.0, cr * v + ci * u
        cr, ci = cr * u - ci * v + 0.2, cr * v + ci * u
        cr, ci = cr * u - ci * v - 0.25, cr * v + ci * u
        cr, ci = cr * u - ci * v + 1.0 / 3.0, cr * v + ci * u
        cr, ci = cr * u - ci * v - 0.5, cr * v + ci * u
        cr, ci = cr * u - ci * v, cr * v + ci * u
        cr, ci = cr * u - ci * v, cr * v + ci * u
        # d log = de / (1 + e) for the low parts.
        k, j = lh[i], th[i]
        p, q = k * _LOG2_H, j * _TURN_H
        s, e = _two_sum(p, u)
        low = e + (fma(k, _LOG2_H, -p) + k * _LOG2_L) + (cr + (ul - (ul * u - vl * v)))
        lh[i], ll[i] = _two_sum(s, low)
        s, e = _two_sum(q, v)
        low = e + (fma(j, _TURN_H, -q) + j * _TURN_L) + (ci + (vl - (vl * u + ul * v)))
        th[i], tl[i] = _two_sum(s, low)


@_compiled
def _exponentials(n, lh, ll, th, tl, rh, rl, ih, il, whole, work):  # type: ignore[no-untyped-def]  # compiled
    # Exponentials of n pairs, as pairs, for real parts between -700 and 700.
    place, turn = whole
    scale, mh, ml, ch = work[0], work[1], work[2], work[3]
    cl, sh, sl, dr, di = work[4], work[5], work[6], work[7], work[8]
    for i in range(n):
        k, j = np.rint(lh[i] * _PER_LOG2_STEP), np.rint(th[i] * _PER_TURN_STEP)
        place[i], scale[i] = _split(k)
        turn[i] = bits_of(j + _MAGIC) & 511
        r = fma(-k, _LOG2_H, lh[i]) + (ll[i] - k * _LOG2_L)
        a = fma(-j, _TURN_H, th[i]) + (tl[i] - j * _TURN_L)
        m = 1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0))
        m = r + r * r * (0.5 + r * (1.0 / 6.0 + r * m))
        y = a * a
        c = -y * (0.5 - y * (1.0 / 24.0 - y * (1.0 / 720.0)))
        s = a - a * y * (1.0 / 6.0 - y * (1.0 / 120.0))
        dr[i], di[i] = m + (c + m * c), s + m * s
    _gather(n, place, turn, mh, ml, ch, cl, sh, sl)
    for i in range(n):
        p, q = mh[i] * ch[i], mh[i] * sh[i]
        pl, ql = (
            fma(mh[i], ch[i], -p) + (mh[i] * cl[i] + ml[i] * ch[i]),
            fma(mh[i], sh[i], -q) + (mh[i] * sl[i] + ml[i] * sh[i]),
        )
        s, e = _two_sum(p, p * dr[i] - q * di[i])
        rh[i], rl[i] = s * scale[i], (e + pl) * scale[i]
        s, e = _two_sum(q, q * dr[i] + p * di[i])
        ih[i], il[i] = s * scale[i], (e + ql) * scale[i]


@_compiled
def _directions(n, x, y, X, Y):  # type: ignore[no-untyped-def]  # compiled
    # X + iY = sqrt(1 - t) + i sqrt(t) for t = x + iy.
    for i in range(n):
        size = math.sqrt(x[i] * x[i] + y[i] * y[i])
        a = math.sqrt(0.5 * (size + abs(x[i])))
        b = 0.5 * y[i] / a
        tr, ti = (a, b) if x[i] >= 0.0 else (abs(b), math.copysign(a, y[i]))
        c = 1.0 - x[i]
        size = math.sqrt(c * c + y[i] * y[i])
        a = math.sqrt(0.5 * (size + abs(c)) + 1e-300)
        b = -0.5 * y[i] / a
        cr, ci = (a, b) if c >= 0.0 else (abs(b), math.copysign(a, -y[i]))
        X[i], Y[i] = abs(cr - ti), abs(ci + tr)


@_compiled
def _refine(n, x, xl, y, yl, X, Y, ll, tl):  # type: ignore[no-untyped-def]  # compiled
    # One step of Newton's method for E = X + iY with E**2 + E**-2 = 2 - 4 t, t in pairs, added to
    # the low part of log E: a place on the contour is divided by the step h, and so is its error.
    for i in range(n):
        p, q = X[i] * X[i], -Y[i] * Y[i]
        fr, e = _two_sum(p, q)
        frl = e + fma(X[i], X[i], -p) + fma(-Y[i], Y[i], -q)
        fi = 2.0 * X[i] * Y[i]
        fil = fma(2.0 * X[i], Y[i], -fi)
        # The inverse G of F = E**2, corrected by G (1 - F G).
        d = 1.0 / (fr * fr + fi * fi)
        gr, gi = fr * d, -fi * d
        p, q = fr * gr, fi * gi
        s, e = _two_sum(1.0, -p)
        ar = (s + q) + (e - fma(fr, gr, -p) + fma(fi, gi, -q) - (frl * gr - fil * gi))
        p, q = fr * gi, fi * gr
        ai = -(p + q) - (fma(fr, gi, -p) + fma(fi, gr, -q) + (frl * gi + fil * gr))
        s, e = _two_sum(fr, gr)
        t, r = _two_sum(4.0 * x[i], -2.0)
        s, t = _two_sum(s, t)
        re = s + (t + e + r + (frl + (gr * ar - gi * ai) + 4.0 * xl[i]))
        s, e = _two_sum(fi, gi)
        s, t = _two_sum(s, 4.0 * y[i])
        im = s + (t + e + (fil + (gr * ai + gi * ar) + 4.0 * yl[i]))
        dr, di = 2.0 * (fr - gr), 2.0 * (fi - gi)
        m = 1.0 / (dr * dr + di * di + 1e-30)
        ll[i] -= (re * dr + im * di) * m
        tl[i] -= (im * dr - re * di) * m


def reach(alpha: float, small: float, large: float) -> tuple[float, float, float, float]:
    """Return what :func:`switch_on_plane` needs to know about the size of ``z``.

    Parameters
    ----------
    alpha : float [1]
        Order.
    small, large : float [1]
        Sizes up to which the power series, and from which the asymptotic series serves.

    Returns
    -------
    tuple of float [1]
        Squares of the sizes where poles begin to count, where the tail begins, where all is left
        to others, and up to which the power series serves.
    """
    first = max(small, math.exp(_BRANCH_POINT * alpha))
    last = min(_LONGEST, _FINE * alpha) ** alpha
    return first**2, large**2, last**2, small**2


@_compiled
def _collect(z, start, stop, out, road, edges, alpha, where, x, y, sheet, level):  # type: ignore[no-untyped-def]  # compiled
    # Choose roads, and write down the poles of the upper half plane: return how many.
    first, large, last, small = edges
    # Beyond this direction a point has no pole (alpha < 1), or has two.
    edge = (2.0 - alpha if alpha > 1.0 else alpha) * math.pi
    edge_x, edge_y = math.cos(edge), math.sin(edge)
    n = 0
    for i in range(start, stop):
        a, b = z[i].real, abs(z[i].imag)
        size = a * a + b * b
        out[i] = 0j
        if not (_LEAST <= size <= last):
            road[i] = ASIDE
            continue
        road[i] = _SERIES if size <= small else _TAIL if size >= large else 0
        if size <= first:
            continue
        side = edge_y * a - edge_x * b
        if alpha > 1.0 or side >= 0.0:
            where[n], x[n], y[n], sheet[n], level[n] = i, a, b, 0.0, road[i]
            n += 1
        if alpha > 1.0 and side <= 0.0:  # also on the negative axis at alpha = 2
            where[n], x[n], y[n], sheet[n], level[n] = i, a, b, -1.0, road[i]
            n += 1
    return n


@_compiled
def _divide(n, alpha, sheet, lh, ll, th, tl):  # type: ignore[no-untyped-def]  # compiled
    # From log z to log s = log z / alpha on its sheet.
    high = 1.0 / alpha
    low = fma(-high, alpha, 1.0) / alpha
    for i in range(n):
        p = lh[i] * high
        ll[i] = fma(lh[i], high, -p) + (lh[i] * low + ll[i] * high)
        lh[i] = p
        s, e = _two_sum(th[i], sheet[i] * (512.0 * _TURN_H))
        e += tl[i] + sheet[i] * (512.0 * _TURN_L)
        p = s * high
        tl[i] = fma(s, high, -p) + (s * low + e * high)
        th[i] = p


@_compiled
def _exponents(n, power, rh, rl, ih, il, lh, ll, th, tl):  # type: ignore[no-untyped-def]  # compiled
    # From log s to the logarithm of a residue, s + power log s.
    for i in range(n):
        p = power * lh[i]
        s, e = _two_sum(rh[i], p)
        ll[i] = e + (rl[i] + (fma(power, lh[i], -p) + power * ll[i]))
        lh[i] = s
        p = power * th[i]
        s, e = _two_sum(ih[i], p)
        tl[i] = e + (il[i] + (fma(power, th[i], -p) + power * tl[i]))
        th[i] = s


@_compiled
def _places(n, plan, level, lh, ll, th, tl, factor, near):  # type: ignore[no-untyped-def]  # compiled
    # From i v to the logarithm of Q; ``factor`` is what a residue is taken times, and ``near`` is
    # 1 where its pole is within an eighth of a step of a node.
    alpha, beta, _, phi, h = plan
    # Next to the branch point its effect and the pole's cancel: both are small together.
    skip = (max(beta - 1.0, 0.0) * h / _TWO_PI) ** 2
    for i in range(n):
        inside = level[i] == 0.0
        right = (2.0 * th[i] - 128.0 * _TURN_H) + phi + (2.0 * tl[i] - 128.0 * _TURN_L)
        up = -2.0 * lh[i] / h
        low = -(fma(up, h, 2.0 * lh[i]) + 2.0 * ll[i]) / h
        up = (up - np.rint(up)) + low
        close = abs(right) < 0.125 * h and abs(up) > 0.375
        near[i] = 1.0 if close and inside else 0.0
        dead = th[i] * th[i] + lh[i] * lh[i] < skip and inside
        factor[i] = 0.0 if dead else 1.0 / alpha
        lh[i] = max(-_TWO_PI / h * right, _OFF) if inside else _OFF
        th[i] = -_TWO_PI * up
        ll[i] = tl[i] = 0.0


@_compiled
def switch_on_plane(z, out, road, edges, plan):  # type: ignore[no-untyped-def]  # compiled
    """Write the residues of most complex points, and choose their roads.

    Parameters
    ----------
    z, out : (n,) complex128
        Points, and where residues go.
    road : (n,) int64
        Overwritten: power series, tail, the nodes with shift 1/2, or ``ASIDE``.
    edges : (4,) tuple of float
        From :func:`reach`.
    plan : (5,) tuple of float
        ``alpha``, at most 2; ``beta``, from -1 to 3; ``mu``, ``phi`` and ``h``.
    """
    alpha, beta, mu = plan[0], plan[1], plan[2]
    where, whole = np.empty(2 * _BLOCK, np.int64), np.empty((2, 2 * _BLOCK), np.int64)
    scratch = np.empty((_SCRATCH, 2 * _BLOCK))
    lh, ll, th, tl = scratch[0], scratch[1], scratch[2], scratch[3]
    rh, rl, ih, il = scratch[4], scratch[5], scratch[6], scratch[7]
    x, y, sheet, level = scratch[8], scratch[9], scratch[10], scratch[11]
    gr, gi, factor, near = scratch[12], scratch[13], scratch[14], scratch[15]
    xl, yl, work = scratch[16], scratch[17], scratch[18:]
    high = 0.5 / mu
    low = fma(-2.0 * high, mu, 1.0) * high
    for start in range(0, len(z), _BLOCK):
        stop = min(start + _BLOCK, len(z))
        n = _collect(z, start, stop, out, road, edges, alpha, where, x, y, sheet, level)
        if n == 0:
            continue
        _logarithms(n, x, y, lh, ll, th, tl, whole, work)
        _divide(n, alpha, sheet, lh, ll, th, tl)
        _exponentials(n, lh, ll, th, tl, rh, rl, ih, il, whole, work)
        for i in range(n):  # t = s / 2 mu
            x[i], y[i] = rh[i] * high, ih[i] * high
            xl[i] = fma(rh[i], high, -x[i]) + (rh[i] * low + rl[i] * high)
            yl[i] = fma(ih[i], high, -y[i]) + (ih[i] * low + il[i] * high)
        _exponents(n, 1.0 - beta, rh, rl, ih, il, lh, ll, th, tl)
        _exponentials(n, lh, ll, th, tl, gr, rl, gi, il, whole, work)
        _directions(n, x, y, rh, ih)
        _logarithms(n, rh, ih, lh, ll, th, tl, whole, work)
        _refine(n, x, xl, y, yl, rh, ih, ll, tl)
        _places(n, plan, level, lh, ll, th, tl, factor, near)
        _exponentials(n, lh, ll, th, tl, rh, rl, ih, il, whole, work)
        for i in range(n):
            a, b = 1.0 + rh[i], ih[i]
            m = factor[i] / (a * a + b * b)
            gr[i], gi[i] = m * (gr[i] * a + gi[i] * b), m * (gi[i] * a - gr[i] * b)
        for i in range(n):
            k = where[i]
            mirrored = -gi[i] if z[k].imag < 0.0 else gi[i]
            out[k] = complex(out[k].real + gr[i], out[k].imag + mirrored)
            if near[i] != 0.0:
                road[k] = ASIDE

r"""Poles and nodes of the Mittag-Leffler function's integrand, in pairs of floats.

.. math::
    s_* = z^{1/\alpha}, \qquad
    b_k = s_k^\alpha, \qquad
    a_k = \frac{h\mu}{2\pi} \cos(iu_k - \phi)\, e^{s_k} s_k^{\alpha-\beta}, \qquad
    s_k = \mu(1 + \sin(iu_k - \phi)), \quad u_k = (k + c) h .

A residue is :math:`e^{s_*}`, so a pole is needed to an *absolute* 1e-16 however large it is; and
all :math:`b_k` lie close to one where ``alpha`` is small, so they are needed to far more digits
than a float has.  Both come from exponentials and logarithms of pairs ``h + l``, good to 1e-31.

Not here: what is done with poles (:mod:`fracsde.special._ml_residues`) and nodes
(:mod:`fracsde.special._ml_sums`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fracsde._compiled import njit
from fracsde.special._double_double import (
    EXPONENTIALS,
    INVERSE_FACTORIALS,
    LOG2_STEP,
    TURN_STEP,
    TURNS,
)
from fracsde.special._intrinsics import fma

__all__ = ["COLUMNS", "fill_nodes", "find_poles", "find_residues"]

COLUMNS = 9  # numbers kept of each pole
_LONG = 300.0  # size of a pole that needs all digits of a pair
_TWO_PI = 2.0 * math.pi
_PER_LOG2_STEP, _PER_TURN_STEP = 1.0 / LOG2_STEP[0], 1.0 / TURN_STEP[0]
_LOG2_H, _LOG2_L = LOG2_STEP
_TURN_H, _TURN_L = TURN_STEP
_PI_H, _PI_L = 256.0 * TURN_STEP[0], 256.0 * TURN_STEP[1]
_compiled = njit(cache=True, error_model="numpy", nogil=True)


@_compiled
def _two_sum(a: Any, b: Any) -> Any:
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


@_compiled
def _quick(a: Any, b: Any) -> Any:
    # Add floats of which the first is larger.
    s = a + b
    return s, b - (s - a)


@_compiled
def _quick_add(ah: Any, al: Any, bh: Any, bl: Any) -> Any:
    # Add pairs of which the first is larger.
    s, e = _quick(ah, bh)
    return _quick(s, e + (al + bl))


@_compiled
def _add(ah: Any, al: Any, bh: Any, bl: Any) -> Any:
    s, e = _two_sum(ah, bh)
    return _quick(s, e + (al + bl))


@_compiled
def _mul(ah: Any, al: Any, bh: Any, bl: Any) -> Any:
    p = ah * bh
    return _quick(p, fma(ah, bh, -p) + (ah * bl + al * bh))


@_compiled
def _div(ah: Any, al: Any, b: Any) -> Any:
    # Divide a pair by a float.
    q = ah / b
    return _quick(q, (fma(-q, b, ah) + al) / b)


@_compiled
def _exp(xh: Any, xl: Any, full: Any) -> Any:
    # exp of a pair with |x| < 700: 2**(j/64) from the table, Taylor on |r| < 0.0055.  To 1e-31, or
    # to 1e-20 with the terms from r**2 on in floats.
    k = np.rint(xh * _PER_LOG2_STEP)
    p = k * _LOG2_H
    rh, rl = _two_sum(xh - p, xl - (fma(k, _LOG2_H, -p) + k * _LOG2_L))
    f = INVERSE_FACTORIALS
    th, tl = f[6, 0] + rh * (f[7, 0] + rh * (f[8, 0] + rh * f[9, 0])), 0.0
    if full:
        for i in range(5, 0, -1):
            th, tl = _mul(th, tl, rh, rl)
            th, tl = _add(f[i, 0], f[i, 1], th, tl)
        th, tl = _mul(th, tl, rh, rl)
    else:
        th = 0.5 + rh * (f[3, 0] + rh * (f[4, 0] + rh * (f[5, 0] + rh * th)))
        th, tl = _quick(rh, rl + rh * rh * th)
    whole = int(k)
    j = whole & 63
    th, tl = _mul(th, tl, EXPONENTIALS[j, 0], EXPONENTIALS[j, 1])
    th, tl = _quick_add(EXPONENTIALS[j, 0], EXPONENTIALS[j, 1], th, tl)
    scale = math.ldexp(1.0, (whole - j) // 64)
    return th * scale, tl * scale


@_compiled
def _cos_sin(xh: Any, xl: Any, full: Any) -> Any:
    # Cosine and sine of a pair with |x| < 100, to an absolute 1e-31, or to 1e-20.
    k = np.rint(xh * _PER_TURN_STEP)
    p = k * _TURN_H
    rh, rl = _two_sum(xh - p, xl - (fma(k, _TURN_H, -p) + k * _TURN_L))
    j = int(k) & 511
    Ch, Cl, Sh, Sl = TURNS[j, 0], TURNS[j, 1], TURNS[j, 2], TURNS[j, 3]
    f = INVERSE_FACTORIALS
    if not full:
        y = rh * rh
        c = -y * (0.5 - y * (f[4, 0] - y * f[6, 0]))  # cos r - 1
        sh, sl = _quick(rh, rl - rh * y * (f[3, 0] - y * (f[5, 0] - y * f[7, 0])))
        ah, al = _mul(Sh, Sl, -sh, -sl)
        ah, al = _add(Ch, Cl + Ch * c, ah, al)
        bh, bl = _mul(Ch, Cl, sh, sl)
        bh, bl = _add(Sh, Sl + Sh * c, bh, bl)
        return ah, al, bh, bl
    yh, yl = _mul(rh, rl, rh, rl)
    ch, cl = -f[6, 0] + yh * (f[8, 0] - yh * f[10, 0]), 0.0
    sh, sl = -f[7, 0] + yh * (f[9, 0] - yh * f[11, 0]), 0.0
    for i in range(4, 0, -2):
        sign = float(i - 3)  # the series alternate: +1 / 4!, -1 / 2!
        ch, cl = _mul(ch, cl, yh, yl)
        ch, cl = _add(sign * f[i, 0], sign * f[i, 1], ch, cl)
        sh, sl = _mul(sh, sl, yh, yl)
        sh, sl = _add(sign * f[i + 1, 0], sign * f[i + 1, 1], sh, sl)
    ch, cl = _mul(ch, cl, yh, yl)  # cos r - 1
    sh, sl = _mul(sh, sl, yh, yl)
    sh, sl = _mul(sh, sl, rh, rl)
    sh, sl = _add(rh, rl, sh, sl)
    ah, al = _rotate(Ch, Cl, Sh, Sl, ch, cl, -sh, -sl)
    ah, al = _add(Ch, Cl, ah, al)
    dh, dl = _rotate(Sh, Sl, Ch, Cl, ch, cl, sh, sl)
    dh, dl = _add(Sh, Sl, dh, dl)
    return ah, al, dh, dl


@_compiled
def _rotate(ah: Any, al: Any, bh: Any, bl: Any, ch: Any, cl: Any, sh: Any, sl: Any) -> Any:
    # Evaluate a c + b s.
    ph, pl = _mul(ah, al, ch, cl)
    qh, ql = _mul(bh, bl, sh, sl)
    return _add(ph, pl, qh, ql)


@_compiled
def _log(x: Any, y: Any, ln: Any, turn: Any, full: Any) -> Any:
    # Logarithm of x + iy as pairs, by one correction of the floats log(1 + e) = e - e**2 / 2.
    extra = 0.0
    if abs(ln) > 300.0:
        extra = math.copysign(600.0, -ln)
        x, y = math.ldexp(x, int(extra)), math.ldexp(y, int(extra))
        ln = math.log(math.hypot(x, y))
    mh, ml = _exp(-ln, 0.0, full)
    ch, cl, sh, sl = _cos_sin(turn, 0.0, full)
    ah, al = _rotate(ch, cl, sh, sl, x, 0.0, y, 0.0)
    ah, al = _mul(ah, al, mh, ml)
    dh, _ = _rotate(ch, cl, sh, sl, y, 0.0, -x, 0.0)
    er, ei = (ah - 1.0) + al, dh * mh
    lh, ll = _two_sum(ln, er - 0.5 * (er - ei) * (er + ei))
    th, tl = _two_sum(turn, ei - er * ei)
    if extra != 0.0:
        eh, el = _mul(64.0 * _LOG2_H, 64.0 * _LOG2_L, -extra, 0.0)
        lh, ll = _add(eh, el, lh, ll)
    return lh, ll, th, tl


@_compiled
def fill_nodes(alpha, beta, contour, shift, first, out):  # type: ignore[no-untyped-def]  # compiled
    """Write nodes and weights of one set.

    Parameters
    ----------
    alpha, beta : float
        Parameters.
    contour : (3,) float64
        ``mu``, ``phi`` and ``h``.
    shift : float
        The shift ``c``.
    first : int
        Number ``k`` of the first node.
    out : (8, n) float64
        Overwritten: real and imaginary part of ``b_k`` (high, low, high, low), those of ``a_k``
        and of the logarithm of ``s_k``.
    """
    mu, phi, h = contour
    cph, cpl, sph, spl = _cos_sin(phi, 0.0, True)
    for i in range(out.shape[1]):
        k = first + i + shift
        uh = k * h
        ul = fma(k, h, -uh)
        ph, pl = _exp(uh, ul, True)
        nh, nl = _exp(-uh, -ul, True)
        coshh, coshl = _add(ph, pl, nh, nl)
        sinhh, sinhl = _add(ph, pl, -nh, -nl)
        ah, al = _mul(-0.5 * sph, -0.5 * spl, coshh, coshl)
        ah, al = _add(1.0, 0.0, ah, al)
        srh, srl = _mul(mu, 0.0, ah, al)
        ah, al = _mul(0.5 * cph, 0.5 * cpl, sinhh, sinhl)
        sih, sil = _mul(mu, 0.0, ah, al)
        lh, ll, th, tl = _log(srh, sih, math.log(math.hypot(srh, sih)), math.atan2(sih, srh), True)
        # The low parts enter by log(s + d) = log s + d / s.
        d = 1.0 / (srh * srh + sih * sih)
        lh, ll = _add(lh, ll, (srl * srh + sil * sih) * d, 0.0)
        th, tl = _add(th, tl, (sil * srh - srl * sih) * d, 0.0)
        ah, al = _mul(lh, ll, alpha, 0.0)
        bh, bl = _mul(th, tl, alpha, 0.0)
        mh, ml = _exp(ah, al, True)
        ch, cl, sh, sl = _cos_sin(bh, bl, True)
        out[0, i], out[1, i] = _mul(mh, ml, ch, cl)
        out[2, i], out[3, i] = _mul(mh, ml, sh, sl)
        eh, el = _two_sum(alpha, -beta)
        ah, al = _mul(lh, ll, eh, el)
        ah, al = _add(ah, al, srh, srl)
        bh, bl = _mul(th, tl, eh, el)
        bh, bl = _add(bh, bl, sih, sil)
        mh, ml = _exp(ah, al, True)
        ch, cl, sh, sl = _cos_sin(bh, bl, True)
        m = mh * h * mu / _TWO_PI
        wr, wi = 0.5 * coshh * cph, 0.5 * sinhh * sph
        out[4, i] = m * (wr * ch - wi * sh)
        out[5, i] = m * (wr * sh + wi * ch)
        out[6, i], out[7, i] = lh, th


@_compiled
def _root(x, y, log_z, j, alpha, full):  # type: ignore[no-untyped-def]  # compiled
    # The pole s = z**(1/alpha) on sheet j and its logarithm, as pairs; exact for easy orders.
    lh, ll, th, tl = log_z
    if j != 0:
        th, tl = _add(2.0 * j * _PI_H, 2.0 * j * _PI_L, th, tl)
    lh, ll = _div(lh, ll, alpha)
    th, tl = _div(th, tl, alpha)
    if j == 0 and alpha == 1.0:
        return x, 0.0, y, 0.0, lh, ll, th, tl
    if j == 0 and alpha == 0.5 and abs(x) + abs(y) < 1e150:
        ah, al = _two_sum(x, -y)
        bh, bl = _two_sum(x, y)
        ah, al = _mul(ah, al, bh, bl)
        bh = 2.0 * x * y
        return ah, al, bh, fma(2.0 * x, y, -bh), lh, ll, th, tl
    mh, ml = _exp(min(max(lh, -300.0), 300.0), ll, full)
    ch, cl, sh, sl = _cos_sin(th, tl, full)
    ah, al = _mul(mh, ml, ch, cl)
    bh, bl = _mul(mh, ml, sh, sl)
    return ah, al, bh, bl, lh, ll, th, tl


@_compiled
def _direction(xh, xl):  # type: ignore[no-untyped-def]  # compiled
    # exp(ix) of a pair as floats; the library reduces angles of any size.
    c, s = math.cos(xh), math.sin(xh)
    if abs(xl) < 1e-9:
        return complex(c - s * xl, s + c * xl)
    cl, sl = math.cos(xl), math.sin(xl)
    return complex(c * cl - s * sl, s * cl + c * sl)


@_compiled
def _switch(sr, si, mu):  # type: ignore[no-untyped-def]  # compiled
    # arcsin(s / mu - 1) = p + iq without cancellation.
    x, y = sr / mu - 1.0, si / mu
    left, right = sr / mu, 2.0 - sr / mu
    r1, r2 = math.sqrt(left * left + y * y), math.sqrt(right * right + y * y)
    p = math.asin(min(max(2.0 * x / (r1 + r2), -1.0), 1.0))
    above = 0.5 * y * y * (1.0 / (r1 + abs(left)) + 1.0 / (r2 + abs(right)))
    if left < 0.0:
        above -= left
    elif right < 0.0:
        above -= right
    q = math.log1p(above + math.sqrt(above * (above + 2.0)))
    return p, math.copysign(q, y)


@_compiled
def _sheets(turn, alpha):  # type: ignore[no-untyped-def]  # compiled
    # First and last number of the poles with |arg s| <= pi, a rounding error included.
    most = alpha * math.pi * (1.0 + 1e-15)
    return math.ceil((-most - turn) / _TWO_PI), math.floor((most - turn) / _TWO_PI)


@_compiled
def _poles(z, ln, halved, switched, order, threshold, plan, held):  # type: ignore[no-untyped-def]  # compiled
    # Write to ``held`` the poles whose residues count, and return their number.  If halved, poles
    # below the real axis are left out and those above counted twice.
    alpha, beta, mu = plan[0], plan[1], plan[2]
    count = 0
    turn = math.atan2(z.imag, z.real)
    first, last = _sheets(turn, alpha)
    rough = ln / alpha
    if first > last or (switched and rough < -14.0):
        return count  # behind the cut, or at the branch point, where the switch is off
    e, el = _two_sum(1.0, -beta)
    size = math.exp(min(rough, 300.0))
    full = size > _LONG
    threshold += math.log(alpha) - (e + max(order, 1)) * rough
    known, log_z = False, (0.0, 0.0, 0.0, 0.0)
    for j in range(first, last + 1):
        angle = (turn + 2.0 * j * math.pi) / alpha
        if size * math.cos(angle) < threshold or (halved and angle < 0.0):
            continue
        if not known:
            log_z, known = _log(z.real, z.imag, ln, turn, full), True
        srh, srl, sih, sil, lh, ll, th, tl = _root(z.real, z.imag, log_z, j, alpha, full)
        ah, al = _mul(lh, ll, e, el)
        ah, al = _add(srh, srl, ah, al)
        bh, bl = _mul(th, tl, e, el)
        bh, bl = _add(sih, sil, bh, bl)
        # Where the size is clamped its low part is no longer small beside one.
        g = _direction(bh, bl) * ((1.0 + (al if ah <= 2e3 else 0.0)) / alpha)
        if halved and angle > 0.0:
            g *= 2.0
        p, q = np.inf, 0.0
        if switched and srh < mu:
            p, q = _switch(srh, sih, mu)
            # Next to the branch point its effect and the pole's cancel: both are small together.
            if beta > 1.0 and math.hypot(p + 0.5 * math.pi, q) < (beta - 1.0) * plan[4] / math.pi:
                continue
        held[count] = (g.real, g.imag, 0.5 * min(ah, 2e3), p, q, srh, sih, lh, th)
        count += 1
    return count


@_compiled
def find_poles(z, small, large, halved, order, threshold, plan, counts, held):  # type: ignore[no-untyped-def]  # compiled
    """Find the poles whose residues count.

    Parameters
    ----------
    z : (n,) float64 or complex128
        Points.
    small, large : float
        Sizes of ``z`` up to which poles are not needed, and from which none is near the contour.
    halved : bool
        Whether to count poles above the real axis twice and leave out those below.
    order : int
        Order of the derivative in ``z``, or -1.
    threshold : float
        Logarithm of the size of a residue that does not count.
    plan : (5,) tuple of float
        ``alpha``, ``beta``, ``mu``, ``phi`` and ``h``.
    counts : (n,) int64
        Overwritten: number of poles.
    held : (n, poles, COLUMNS) float64
        Overwritten: the residue's direction (two numbers) and half the logarithm of its size;
        real and imaginary part of ``arcsin(s / mu - 1)``, of ``s`` and of its logarithm.
    """
    for i in range(len(z)):
        point = complex(z[i])
        counts[i] = 0
        if plan[0] < 1.0 and point.imag == 0.0 and point.real < 0.0:
            continue  # behind the cut
        size = math.hypot(point.real, point.imag)
        if size > small and size < np.inf:
            counts[i] = _poles(
                point, math.log(size), halved, size < large, order, threshold, plan, held[i]
            )


@_compiled
def find_residues(z, sheet, alpha, beta, places, sizes, directions):  # type: ignore[no-untyped-def]  # compiled
    """Find residues ``s**(1 - beta) * exp(s) / alpha`` on one sheet, wherever their poles lie.

    Parameters
    ----------
    z : (n,) complex128
        Points, finite and not zero.
    sheet : int
        The ``j`` of ``s = z**(1 / alpha) * exp(2 pi i j / alpha)``.
    alpha, beta : float
        Parameters, ``beta`` not 1.
    places, sizes, directions : (n,) complex128, (n,) float64 and (n,) complex128
        Overwritten: ``log(s / abs(beta - 1))``, the logarithm of the residue's size without the
        factor ``1 / alpha``, and the rest of the residue.
    """
    e, el = _two_sum(1.0, -beta)
    oh, ol, _, _ = _log(abs(e), 0.0, math.log(abs(e)), 0.0, True)
    ol += el / e
    for i in range(len(z)):
        x, y = z[i].real, z[i].imag
        log_z = _log(x, y, math.log(math.hypot(x, y)), math.atan2(y, x), True)
        srh, srl, sih, sil, lh, ll, th, tl = _root(x, y, log_z, sheet, alpha, True)
        ah, al = _mul(lh, ll, e, el)
        ah, al = _add(srh, srl, ah, al)
        bh, bl = _mul(th, tl, e, el)
        bh, bl = _add(sih, sil, bh, bl)
        places[i], sizes[i] = complex((lh - oh) + (ll - ol), th + tl), ah
        directions[i] = _direction(bh, bl) * ((1.0 + (al if abs(ah) <= 1e4 else 0.0)) / alpha)

r"""Draws from stable laws and their first passages, one at a time, compiled.

Kanter's representation: with ``u`` uniform on :math:`(0, \pi)`, ``w`` exponential and

.. math::
    \log A(u) = \log\sin((1-\alpha) u) + \frac{\alpha}{1-\alpha} \log\sin(\alpha u)
                - \frac{1}{1-\alpha} \log\sin u ,

:math:`S = (A(u)/w)^{(1-\alpha)/\alpha}` and :math:`S^{-\alpha} = (w/A(u))^{1-\alpha}`.  Everything
is carried as a logarithm: ``S`` itself overflows at small ``alpha``, its powers do not.

First passage of the level 1 by the subordinator ``U``: the compensation formula gives time,
position before and jump the joint density

.. math::
    u_\tau(y)\, \frac{\alpha}{\Gamma(1-\alpha)}\, x^{-\alpha-1}, \qquad 0 < y < 1 < y + x ,

with :math:`u_\tau` the density of :math:`U(\tau)` and
:math:`\int_0^\infty u_\tau(y)\, d\tau = y^{\alpha-1} / \Gamma(\alpha)`.  Hence ``y`` is
Beta(:math:`\alpha`, :math:`1-\alpha`); given ``y``, time and jump are independent, the jump is
:math:`(1-y)\, v^{-1/\alpha}` with ``v`` uniform and the time :math:`y^\alpha R` with ``R`` the law
of :math:`S^{-\alpha}` weighted by itself, by scaling.  In Kanter's form that weight makes ``w``
Gamma(:math:`2-\alpha`) and ``u`` of density proportional to

.. math::
    A(u)^{-(1-\alpha)} = \frac{\sin u}{\sin^{1-\alpha}((1-\alpha) u)\, \sin^\alpha(\alpha u)} ,

which decreases from its value at 0: a uniform ``u`` is kept with the ratio as probability, on
average :math:`(1-\alpha)^{1-\alpha} \alpha^\alpha / (\Gamma(1+\alpha) \Gamma(2-\alpha)) \ge 0.63`.

Gamma variables of small shape ``a`` underflow; their logarithm is that of one of shape ``1 + a``
plus :math:`\log(v)/a`.

Not here: checks of arguments (:mod:`fracsde.special.sampling`).

References: [Kanter1975]_, [Bertoin1996]_.
"""

from __future__ import annotations

import math

from fracsde._compiled import njit

__all__ = ["fill_first_passages", "fill_inverse_paths", "fill_log_stable"]

_CELL = 2.0**-54  # half the spacing of uniforms: the middle of each cell, never 0 or 1


@njit(cache=True, error_model="numpy")
def _angles(rng):  # type: ignore[no-untyped-def]  # compiled
    # Return u and pi - u, both to full relative accuracy.
    uniform = rng.random()
    return math.pi * ((1.0 - uniform) - _CELL), math.pi * (uniform + _CELL)


@njit(cache=True, error_model="numpy")
def _log_power(u, rest, alpha):  # type: ignore[no-untyped-def]  # compiled
    # Return (1 - alpha) log A(u).  Next to pi, sin u is taken at pi - u.
    gap = 1.0 - alpha
    sine = math.sin(min(u, rest))
    at_alpha = math.sin(alpha * u) if u < rest else math.sin(gap * math.pi + alpha * rest)
    return gap * math.log(math.sin(gap * u)) + alpha * math.log(at_alpha) - math.log(sine)


@njit(cache=True, error_model="numpy")
def _log_uniform(rng):  # type: ignore[no-untyped-def]  # compiled
    return -rng.standard_exponential()


@njit(cache=True, error_model="numpy")
def _log_inverse(alpha, rng):  # type: ignore[no-untyped-def]  # compiled
    # Return the logarithm of S**-alpha.
    u, rest = _angles(rng)
    return (1.0 - alpha) * math.log(rng.standard_exponential()) - _log_power(u, rest, alpha)


@njit(cache=True, error_model="numpy")
def fill_log_stable(out, alpha, power, rng):  # type: ignore[no-untyped-def]  # compiled
    """Fill ``out`` with logarithms of ``S**power``.

    Parameters
    ----------
    out : (n,) float64
        Written.
    alpha, power : float [1]
        Order of ``S``, and its power.
    rng : Generator
        Drawn from.
    """
    factor = -power / alpha
    for i in range(len(out)):
        out[i] = factor * _log_inverse(alpha, rng)


@njit(cache=True, error_model="numpy")
def _log_biased(alpha, rng):  # type: ignore[no-untyped-def]  # compiled
    # Return the logarithm of R, the law of S**-alpha weighted by itself.
    gap = 1.0 - alpha
    least = gap * math.log(gap) + alpha * math.log(alpha)
    while True:
        u, rest = _angles(rng)
        power = _log_power(u, rest, alpha)
        if rng.random() < math.exp(least - power):
            return gap * math.log(rng.standard_gamma(2.0 - alpha)) - power


@njit(cache=True, error_model="numpy")
def _passage(alpha, rng):  # type: ignore[no-untyped-def]  # compiled
    # Return time, position before and overshoot of the first passage of 1.
    gap = 1.0 - alpha
    # log X = log(G(1 + a)) + log(V) / a is that of a gamma variable of shape a.
    a = math.log(rng.standard_gamma(1.0 + alpha)) + _log_uniform(rng) / alpha
    b = math.log(rng.standard_gamma(1.0 + gap)) + _log_uniform(rng) / gap
    top = max(a, b)
    total = top + math.log1p(math.exp(-abs(a - b)))
    log_time = alpha * (a - total) + _log_biased(alpha, rng)
    over = math.exp(b - total) * math.expm1(-_log_uniform(rng) / alpha)
    return math.exp(log_time), math.exp(a - total), over


@njit(cache=True, error_model="numpy")
def fill_first_passages(level, time, before, after, alpha, rng):  # type: ignore[no-untyped-def]  # compiled
    """Fill in first passages of each level.

    Parameters
    ----------
    level : (n,) float64 [t]
        Positive.
    time, before, after : (n,) float64
        Written: operational time, position before and after the jump.
    alpha : float [1]
        Order.
    rng : Generator
        Drawn from.
    """
    for i in range(len(level)):
        s, y, over = _passage(alpha, rng)
        time[i] = s * level[i] ** alpha
        before[i] = y * level[i]
        after[i] = level[i] + over * level[i]


@njit(cache=True, error_model="numpy")
def fill_inverse_paths(times, out, alpha, rng):  # type: ignore[no-untyped-def]  # compiled
    """Fill rows of ``out`` with paths of the inverse subordinator.

    Parameters
    ----------
    times : (m,) float64 [t]
        Increasing, not negative.
    out : (n, m) float64 [t**alpha]
        Written.
    alpha : float [1]
        Order.
    rng : Generator
        Drawn from.
    """
    for i in range(len(out)):
        reached, clock = 0.0, 0.0  # position of the subordinator and its time
        for j in range(len(times)):
            # Up to the position reached by the last jump the inverse stands still.
            level = times[j] - reached
            if level > 0.0:
                s, _, over = _passage(alpha, rng)
                clock += s * level**alpha
                reached = times[j] + over * level
            out[i, j] = clock

r"""Averages over the fractional clock: one positive rule for every function of it.

.. math::
    \mathbb{E}\, f(E_t) = \int_0^\infty M_\alpha(u)\, f(\theta u)\, du
    \approx \sum_k w_k\, f(\theta u_k), \qquad w_k > 0, \quad \sum_k w_k = 1 .

Whatever is known of the base at a fixed operational time is an entire function ``f`` of it: sums of
:math:`e^{-\lambda s}` and polynomials.  Gauss-Legendre rules of sixteen points on dyadic panels
:math:`[j 2^{-p}, (j+1) 2^{-p}]` integrate such functions against the entire :math:`M_\alpha`.  A
panel is halved until

- :math:`M_\alpha` is a polynomial of low degree on it, which matters near ``alpha = 1``, where it
  is a peak of width :math:`1-\alpha`, and
- no rate has, on the panel, an error that is not lost beside its own average,
  ``(|lam| w / 4)**32 / 32! * exp(-Re(lam) (a + w / 2))`` for the panel :math:`[a, a + w]`, which
  grades panels towards 0 for fast rates and refines them for oscillating ones.

Because nothing cancels in a sum of positive terms, averages keep *relative* accuracy where the
relaxation has decayed to :math:`E_\alpha(-x) \approx 1/(x \Gamma(1-\alpha))` for any ``x``, and
variances over the clock are sums of squares.  ``tests/test_subordination.py`` measures a relative
error below 2e-13 of :math:`E_\alpha(-x)` up to ``x = 1e12``.

Not here: the density :math:`M_\alpha` (:mod:`fracsde.special.stable`), and what is averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import lgamma, log
from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import ComputationError, UnsupportedError
from fracsde.special.stable import inverse_stable_logpdf
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fracsde._typing import FloatArray

__all__ = ["ClockRule", "clock_rule", "reach"]

_NODES = 16
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(_NODES)
# Legendre coefficients of a function from its values at the nodes, the last four alone.
_LAST = (
    np.polynomial.legendre.legvander(_POINTS, _NODES - 1)[:, -4:]
    * _WEIGHTS[:, None]
    * (np.arange(_NODES - 4, _NODES) + 0.5)
)
_TAIL = 1e-11  # of the last coefficients: their products with the tail of f are then rounding
_MISS = 1e-18  # of the error of one panel
_NEGLIGIBLE = log(1e-19)
_DEEPEST = 60  # halvings of the unit panel, without the ones that rates ask for
_MOST_PANELS = 5_000


@dataclass(frozen=True, kw_only=True, eq=False)
class ClockRule:
    """Nodes and weights of an average over the clock at ``theta = 1``.

    Parameters
    ----------
    nodes : (k,) float64 [1]
        ``u``, increasing.
    weights : (k,) float64 [1]
        Positive; their sum is 1.
    edges : (p + 1,) float64 [1]
        Ends of the panels.
    """

    nodes: FloatArray
    weights: FloatArray
    edges: FloatArray


def clock_rule(alpha: float, rates: NDArray[np.complex128]) -> ClockRule:
    """Return the rule for functions made of given rates.

    Parameters
    ----------
    alpha : float [1]
        Order, ``0 < alpha <= 1``.
    rates : (n,) complex128 [1]
        Rates ``lam * theta`` of the exponentials ``exp(-lam theta u)``, at their largest scale;
        the rule serves them and everything slower of the same phase.

    Returns
    -------
    ClockRule
    """
    if alpha == 1.0:
        return ClockRule(nodes=np.ones(1), weights=np.ones(1), edges=np.array([0.0, 1.0]))
    return _rule(alpha, _representatives(rates))


def _representatives(rates: NDArray[np.complex128]) -> tuple[complex, ...]:
    # Real rates that decay are served by dyadic panels below the fastest; others as they are.
    decaying = (rates.imag == 0.0) & (rates.real >= 0.0)
    kept: list[complex] = []
    fastest = float(rates[decaying].real.max(initial=0.0))
    if fastest > 1.0:
        kept.append(complex(2.0 ** np.ceil(np.log2(fastest))))
    for rate in np.unique(np.round(_scaled(rates[~decaying]), 12)):
        size = abs(rate)
        while size > 0.5:
            kept.append(complex(rate if size == abs(rate) else rate * (size / abs(rate))))
            size *= 0.5
    return tuple(kept)


def _scaled(rates: NDArray[np.complex128]) -> NDArray[np.complex128]:
    # One of each conjugate pair.
    return np.asarray(rates.real + 1j * np.abs(rates.imag))


@lru_cache(maxsize=64)
def _rule(alpha: float, rates: tuple[complex, ...]) -> ClockRule:
    spectrum = np.array(rates, dtype=np.complex128)
    growth = float(max(0.0, -spectrum.real.min(initial=0.0)))
    end = reach(alpha, growth)
    importance = _importance(alpha, growth, end)
    finest = 2.0**-_DEEPEST / max(1.0, float(np.abs(spectrum).max(initial=0.0)))
    waiting = [(0.0, end)]
    panels: list[tuple[float, float]] = []
    while waiting:
        left, width = waiting.pop()
        u = left + 0.5 * width * (1.0 + _POINTS)
        logs = inverse_stable_logpdf(u, 1.0, alpha)
        size = importance(u, logs)
        seen = _near(left, width, alpha)
        if seen and size + log(width) < _NEGLIGIBLE and left >= end / 4.0:
            continue
        if width > finest and not (
            seen and _smooth(logs, size) and _resolved(left, width, spectrum)
        ):
            waiting += [(left + 0.5 * width, 0.5 * width), (left, 0.5 * width)]
        else:
            panels.append((left, width))
        if len(panels) + len(waiting) > _MOST_PANELS:
            turns = float(np.abs(spectrum.imag).max(initial=0.0)) / (2.0 * np.pi)
            msg = (
                f"the drift turns too often within the times asked for: {turns:.3g} times while "
                "it hardly decays; ask for shorter times"
            )
            raise UnsupportedError(msg)
    left, width = np.array(sorted(panels)).T
    u = (left[:, None] + 0.5 * width[:, None] * (1.0 + _POINTS)).ravel()
    weights = (0.5 * width[:, None] * _WEIGHTS).ravel()
    weights *= np.exp(inverse_stable_logpdf(u, 1.0, alpha))
    kept = weights > 0.0
    u, weights = u[kept], weights[kept] / weights[kept].sum()
    edges = np.append(left, left[-1] + width[-1])
    for array in (u, weights, edges):
        array.flags.writeable = False
    return ClockRule(nodes=u, weights=weights, edges=edges)


def reach(alpha: float, growth: float) -> float:
    """Return how far a clock goes.

    Parameters
    ----------
    alpha : float [1]
        Order, ``0 < alpha < 1``.
    growth : float [1]
        Rate of the fastest growing mode, 0 if none grows.

    Returns
    -------
    float [1]
        A power of two beyond which ``M(u) exp(growth u)`` is negligible, at least twice as far as
        its maximum.

    Raises
    ------
    ComputationError
        If the average of the mode, or the density where it comes from, leaves the range of floats.
    """
    end = 2.0
    while True:
        u = _sweep(alpha, end)
        density = inverse_stable_logpdf(u, 1.0, alpha)
        logs = density + growth * u
        place = int(np.argmax(logs))
        if logs[place] > 690.0 or density[place] < -690.0:
            detail = "The process grows beyond the largest float; ask for shorter times."
            raise ComputationError(Status.NOT_FINITE, detail)
        if logs[-1] - logs[place] + log(end) < _NEGLIGIBLE and u[place] <= 0.5 * end:
            return end
        end *= 2.0


def _sweep(alpha: float, end: float) -> FloatArray:
    # Points at which no feature of the density is missed; close to alpha = 1 it is a peak at 1.
    peak = 1.0 + (1.0 - alpha) * np.linspace(-20.0, 20.0, 161)
    u = np.concatenate([np.linspace(0.0, end, 513)[1:], peak[(peak > 0.0) & (peak < end)]])
    return np.sort(u)


def _importance(
    alpha: float, growth: float, end: float
) -> Callable[[FloatArray, FloatArray], float]:
    # How large log(M) + g u comes on a panel beside its own maximum, for 0 <= g <= growth.
    rates = np.linspace(0.0, growth, 33) if growth > 0.0 else np.zeros(1)
    u = _sweep(alpha, end)
    peaks = (inverse_stable_logpdf(u, 1.0, alpha) + np.multiply.outer(rates, u)).max(axis=1)

    def importance(u: FloatArray, logs: FloatArray) -> float:
        return float((logs + np.multiply.outer(rates, u) - peaks[:, None]).max())

    return importance


def _near(left: float, width: float, alpha: float) -> bool:
    # Whether a panel cannot hide the peak that the density has next to 1 if alpha is close to 1.
    gap = 1.0 - alpha
    around = gap * (5.0 - log(gap))
    distance = max(0.0, left - 1.0 - around, 1.0 - around - left - width)
    return width <= max(4.0 * gap, distance)


def _smooth(logs: FloatArray, size: float) -> bool:
    # Whether the density, as its values at the nodes say, is a polynomial of low degree.
    values = np.exp(logs - logs.max())
    coefficients = float(np.abs(values @ _LAST).max())
    # What is small beside the largest panel need be known only to the same absolute error.
    return coefficients * min(1.0, float(np.exp(size))) < _TAIL


def _resolved(left: float, width: float, rates: NDArray[np.complex128]) -> bool:
    # Whether sixteen points integrate each exponential over the panel.
    if len(rates) == 0:
        return True
    half = 0.5 * width * np.abs(rates)
    middle = np.maximum(rates.real, 0.0) * (left + 0.5 * width)
    logs = 2 * _NODES * np.log(0.5 * half) - lgamma(2 * _NODES + 1) - middle
    # Beyond that many radians the rule does not see the function at all.
    logs = np.where(half > _NODES, -np.maximum(rates.real, 0.0) * left, logs)
    return bool(np.all(logs < log(_MISS)))

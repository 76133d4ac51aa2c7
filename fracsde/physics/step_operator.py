r"""The steps of SGD on a line as a Markov chain, with no limit taken.

With normal noise one step has the density

.. math::
    K(w' \mid w) = \mathcal N\bigl(w';\, w - \eta L'(w),\, \eta^2 C(w) / B\bigr) ,

and the mean number of steps until :math:`w` has left ``(a, b)`` through ``b`` solves

.. math::
    T(w) = 1 + \int_a^b K(w' \mid w)\, T(w')\, dw' .

The integral is replaced by Gauss' rule on panels of two standard deviations (Nyström's method),
which for such kernels is as good as exact.  The system is eliminated from the far end, with the
rate of going for good in place of the pivot [GrassmannTaksarHeyman1985]_: nothing is subtracted,
and a time of 1e12 steps is as accurate as one of ten.

What leaves through ``a`` is sent back as if it had not: choose ``a`` where nothing gets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from fracsde.errors import UnsupportedError

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.barrier import SGDOverBarrier

__all__ = ["mean_exit_steps", "nodes", "transitions"]

_POINTS = 10  # of Gauss' rule on a panel of two standard deviations
_MOST_NODES = 3000


def nodes(low: float, high: float, deviation: float) -> tuple[FloatArray, FloatArray]:
    """Return places and weights of Gauss' rule on panels.

    Parameters
    ----------
    low, high : float [weight]
        Ends.
    deviation : float [weight]
        Least standard deviation of a step between them.

    Returns
    -------
    (n,) float64 [weight]
    (n,) float64 [weight]

    Raises
    ------
    UnsupportedError
        If steps are so short that the chain would be too large.
    """
    panels = int(np.ceil((high - low) / (2.0 * deviation)))
    if panels * _POINTS > _MOST_NODES:
        msg = (
            f"the map would need {panels * _POINTS} nodes, {_MOST_NODES} are served: its steps of "
            f"{deviation:.3g} are short against the way of {high - low:.3g}, where the flow is as "
            "good; use method='quadrature'"
        )
        raise UnsupportedError(msg)
    edges = np.linspace(low, high, panels + 1)
    x, weights = np.polynomial.legendre.leggauss(_POINTS)
    half = 0.5 * np.diff(edges)[:, None]
    places = 0.5 * (edges[1:] + edges[:-1])[:, None] + half * x
    return places.ravel(), (half * weights).ravel()


def transitions(sgd: SGDOverBarrier, start: FloatArray, end: FloatArray) -> FloatArray:
    """Return the density of one step.

    Parameters
    ----------
    sgd : SGDOverBarrier
        Without momentum.
    start, end : (n,) and (m,) float64 [weight]
        From where and to where.

    Returns
    -------
    (n, m) ndarray [1/weight]
    """
    mean = start - sgd.learning_rate * sgd.gradient_at(start)
    deviation = sgd.learning_rate * np.sqrt(sgd.noise_at(start))
    z = (end - mean[:, None]) / deviation[:, None]
    return np.asarray(np.exp(-0.5 * z * z) / (np.sqrt(2.0 * np.pi) * deviation[:, None]))


def mean_exit_steps(sgd: SGDOverBarrier, low: float, high: float, *, right: bool) -> float:
    """Return the mean number of steps from the minimum until an interval is left.

    Parameters
    ----------
    sgd : SGDOverBarrier
        Without momentum.
    low, high : float [weight]
        The interval, around the minimum.
    right : bool
        Whether the exit is ``high``; else ``low``.

    Returns
    -------
    float [step]
    """
    fine = np.linspace(low, high, 401)
    deviation = sgd.learning_rate * float(np.sqrt(sgd.noise_at(fine).min()))
    places, weights = nodes(low, high, deviation)
    at = np.append(places, sgd.minimum)
    spread = sgd.learning_rate * np.sqrt(sgd.noise_at(at))
    mean = at - sgd.learning_rate * sgd.gradient_at(at)
    out = ndtr((mean - high) / spread) if right else ndtr((low - mean) / spread)
    P = transitions(sgd, at, places) * weights
    # The start takes its place as one more state, which no step returns to.
    P = np.column_stack([np.zeros(len(at)), P])[np.r_[len(at) - 1, : len(at) - 1]]
    return _absorbed(P, np.r_[out[-1], out[:-1]])


def _absorbed(P: FloatArray, out: FloatArray) -> float:
    # Mean steps from the first state; rows of P and `out` sum to one but for the diagonal.
    P, out, steps = P.copy(), out.copy(), np.ones(len(P))
    for k in range(len(P) - 1, 0, -1):
        share = P[:k, k] / (out[k] + P[k, :k].sum())
        P[:k, :k] += share[:, None] * P[k, :k]
        out[:k] += share * out[k]
        steps[:k] += share * steps[k]
    return float(steps[0] / out[0])

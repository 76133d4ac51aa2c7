r"""Means and covariances on the clock.

.. math::
    \mathrm{E} X_t = m + \mathbb{E}[E(E_t)]\,v, \qquad
    \operatorname{Cov} X_t = \mathbb{E}\bigl[G(E_t) + E(E_t)\, C_0\, E(E_t)^T\bigr]
    + \operatorname{Cov}\bigl[(E(E_t) - I)\, v\bigr], \qquad v = x_0 - m,

by the rule of :mod:`fracsde._subordination.clock` for the outer expectations.  This is the law of
total covariance: what the noise and the start contribute at a fixed operational time, and what the
randomness of the clock makes of the mean's path.  All three terms are positive semi-definite sums,
so that covariances are so too and keep their digits at short times, where the raw second moment
:math:`\operatorname{Cov} + (\mathrm{E} - m)(\mathrm{E} - m)^T`, which alone obeys a closed
equation,

.. math::
    D_t^\alpha M = \texttt{timescale}^{1-\alpha}\,\bigl(N - A M - M A^T\bigr),

would lose them to a difference.

Not here: two times (:mod:`fracsde._subordination.two_time`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde._subordination.clock import clock_rule
from fracsde._subordination.flows import ModalFlow, chunks, growth
from fracsde.lyapunov.evolution import finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._subordination.clock import ClockRule
    from fracsde._subordination.flows import DenseFlow, Flow
    from fracsde._subordination.starts import Start
    from fracsde._typing import FloatArray

__all__ = ["along", "covariances", "laws_from", "means", "rule_of"]


def rule_of(flow: Flow, alpha: float, largest: float, *, moment: int = 2) -> ClockRule:
    """Return the clock rule for moments of a flow.

    Parameters
    ----------
    flow : ModalFlow or DenseFlow
        The base.
    alpha : float [1]
        Order.
    largest : float [t]
        The largest scale ``theta`` of the clock.
    moment : int
        1 for means alone, 2 for second moments too.

    Returns
    -------
    ClockRule
    """
    rates = flow.rates
    if isinstance(flow, ModalFlow) and rates.real.min() >= 0.0:
        rates = rates.real.max(keepdims=True).astype(np.complex128)
    # Second moments hold sums of two eigenvalues, beside the eigenvalues themselves.
    every: NDArray[np.complex128] = np.concatenate([n * rates for n in range(1, moment + 1)])
    return clock_rule(alpha, every * largest)


def means(flow: Flow, alpha: float, theta: FloatArray, away: FloatArray) -> FloatArray:
    """Return ``E[X_t] - m`` for a start at ``m + away``.

    Parameters
    ----------
    flow : ModalFlow or DenseFlow
        The base.
    alpha : float [1]
        Order.
    theta : (t,) float64 [t]
        Scale of the clock.
    away : (d,) float64 [x]
        Start relative to the mean.

    Returns
    -------
    (t, d) float64 [x]
    """
    rule = rule_of(flow, alpha, float(theta.max(initial=0.0)), moment=1)
    out = np.empty((len(theta), len(away)))
    for i, scale in enumerate(theta):
        s = scale * rule.nodes
        if isinstance(flow, ModalFlow):
            out[i] = flow.outward((rule.weights @ flow.carried(s)) * flow.inward(away))
        else:
            out[i] = sum(
                rule.weights[part] @ (flow.laws(s[part])[0] @ away)
                for part in chunks(len(s), len(away) ** 2)
            )
    return finite(out)


def covariances(flow: Flow, alpha: float, theta: FloatArray, start: Start) -> FloatArray:
    """Return ``Cov X_t``.

    Parameters
    ----------
    flow : ModalFlow or DenseFlow
        The base.
    alpha : float [1]
        Order.
    theta : (t,) float64 [t]
        Scale of the clock.
    start : Start
        Normal law at time 0.

    Returns
    -------
    (t, d, d) float64 [x^2]
    """
    rule = rule_of(flow, alpha, float(theta.max(initial=0.0)))
    d = len(start.away)
    out = np.empty((len(theta), d, d))
    for i, scale in enumerate(theta):
        s = scale * rule.nodes
        if isinstance(flow, ModalFlow):
            out[i] = _modal(flow, s, rule.weights, start)
        else:
            out[i] = _dense(flow, s, rule.weights, start)
    return finite(0.5 * (out + out.transpose(0, 2, 1)))


def along(
    flow: Flow, s: FloatArray, start: Start, directions: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return mean and variance along directions at fixed operational times.

    Parameters
    ----------
    flow : ModalFlow or DenseFlow
        The base.
    s : (k,) float64 [t]
        Operational times.
    start : Start
        Normal law at time 0.
    directions : (d, p) float64 [1]
        One direction per column.

    Returns
    -------
    moved : (k, p) float64 [x]
        Mean relative to that of the start.
    variance : (k, p) float64 [x^2]
    """
    moved = np.empty((len(s), directions.shape[1]))
    variance = np.empty_like(moved)
    diagonal = isinstance(flow, ModalFlow) and flow.noise.ndim == 1
    d = len(directions)
    for part in chunks(len(s), d if diagonal else d * d):
        at = s[part]
        if isinstance(flow, ModalFlow):
            moved[part], variance[part] = _modal_along(flow, at, start, directions)
            continue
        E, away, spread = flow.laws(at)
        moved[part] = (away @ start.away) @ directions
        if start.covariance is not None:
            spread = spread + E @ start.covariance @ E.transpose(0, 2, 1)
        variance[part] = np.einsum("dp,kde,ep->kp", directions, spread, directions, optimize=True)
    return finite(moved), finite(np.maximum(variance, 0.0))


def laws_from(flow: Flow, s: FloatArray, start: Start) -> tuple[FloatArray, FloatArray]:
    """Return mean and covariance of the state at fixed operational times.

    Parameters
    ----------
    flow : ModalFlow or DenseFlow
        The base.
    s : (k,) float64 [t]
        Operational times, few.
    start : Start
        Normal law at time 0.

    Returns
    -------
    moved : (k, d) float64 [x]
        Mean relative to that of the start.
    covariance : (k, d, d) float64 [x^2]
    """
    if not isinstance(flow, ModalFlow):
        E, away, spread = flow.laws(s)
        if start.covariance is not None:
            spread = spread + E @ start.covariance @ E.transpose(0, 2, 1)
        return away @ start.away, spread
    moved = flow.outward(flow.away(s) * flow.inward(start.away))
    spread = _modal_spread(flow, s, start)
    if flow.basis is not None:
        spread = flow.basis @ spread @ flow.basis.T
    return moved, spread


def _modal(flow: ModalFlow, s: FloatArray, weights: FloatArray, start: Start) -> FloatArray:
    # One covariance, first in the flow's own coordinates.
    fallen = -flow.away(s)
    first, second = weights @ fallen, fallen.T @ (weights[:, None] * fallen)
    both = np.add.outer(first, first) - second
    sums = np.add.outer(flow.pull, flow.pull)
    # There the form cancels, or is 0 / 0; elsewhere its terms have one sign.
    apart = np.multiply.outer(np.sign(flow.pull), np.sign(flow.pull)) < 0.0
    apart |= np.equal.outer(flow.pull, 0.0 * flow.pull) & np.equal.outer(0.0 * flow.pull, flow.pull)
    grown = both / np.where(apart, 1.0, sums)
    if np.any(apart):
        rates = sums[apart]
        for part in chunks(len(rates), len(s)):
            grown[np.nonzero(apart)[0][part], np.nonzero(apart)[1][part]] = weights @ growth(
                rates[part], s
            )
    noise = flow.noise if flow.noise.ndim == 2 else np.diag(flow.noise)
    total = noise * grown
    if start.covariance is not None:
        spread = start.covariance
        inner = np.diag(spread) if spread.ndim == 1 else flow.inward(flow.inward(spread).T)
        E = flow.carried(s)
        total += inner * (E.T @ (weights[:, None] * E))
    moved = -fallen * flow.inward(start.away)
    moved -= weights @ moved
    total += moved.T @ (weights[:, None] * moved)
    return total if flow.basis is None else np.asarray(flow.basis @ total @ flow.basis.T)


def _dense(flow: DenseFlow, s: FloatArray, weights: FloatArray, start: Start) -> FloatArray:
    d = len(flow.drift)
    total, moved = np.zeros((d, d)), np.empty((len(s), d))
    for part in chunks(len(s), d * d):
        E, away, spread = flow.laws(s[part])
        if start.covariance is not None:
            spread = spread + E @ start.covariance @ E.transpose(0, 2, 1)
        total += np.tensordot(weights[part], spread, axes=1)
        moved[part] = away @ start.away
    moved -= weights @ moved
    return total + moved.T @ (weights[:, None] * moved)


def _modal_along(
    flow: ModalFlow, s: FloatArray, start: Start, directions: FloatArray
) -> tuple[FloatArray, FloatArray]:
    U = flow.inward(directions)
    away = flow.away(s)
    moved = away @ (flow.inward(start.away)[:, None] * U)
    spread = start.covariance
    if flow.noise.ndim == 1:
        variance = flow.variances(s) @ (flow.noise[:, None] * U * U)
        if spread is not None:
            variance += flow.carried(s) ** 2 @ (spread[:, None] * U * U)
        return moved, variance
    grown = _modal_spread(flow, s, start)
    return moved, np.einsum("dp,kde,ep->kp", U, grown, U, optimize=True)


def _modal_spread(flow: ModalFlow, s: FloatArray, start: Start) -> FloatArray:
    # Covariances at fixed operational times, in the coordinates of the flow.
    noise = flow.noise if flow.noise.ndim == 2 else np.diag(flow.noise)
    grown = growth(np.add.outer(flow.pull, flow.pull), s) * noise
    if start.covariance is not None:
        E, given = flow.carried(s), start.covariance
        inner = np.diag(given) if given.ndim == 1 else flow.inward(flow.inward(given).T)
        grown += E[:, :, None] * E[:, None, :] * inner
    return grown

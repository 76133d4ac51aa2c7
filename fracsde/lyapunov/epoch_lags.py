r"""Lags of SGD with shuffled epochs: autocovariances averaged over the phases of an epoch.

Noise a step ahead of the state is correlated with it while both belong to one epoch.  With
:math:`L_q = \sum_{p<q} \Gamma_p` and :math:`\kappa = 1 / [M (N - 1)]`, the phase average of
:math:`\mathrm{E}[z_{t+s} z_t^T]` is

.. math::
    R(s) = F^s R(0) - \kappa \sum_{r=1}^{\min(s, M-1)} F^{s-r} G \otimes L_{M-r+1} ,

times the noise of one example for every pair of modes.  The mean-square displacement
:math:`2 R(0) - R(s) - R(s)^T` takes :math:`I - F^s` from :math:`F^s - I`, so that flat directions,
where :math:`R(s)` hardly differs from :math:`R(0)`, lose no digits.

One lag costs :math:`O(d^2 \min(s, M))`, by matrix products; memory is :math:`O(d M)` numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.lyapunov.epoch_sums import composed
from fracsde.lyapunov.epochs import Phases, stationary_phases
from fracsde.lyapunov.processes import usable

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.epochs import EpochRecursion

__all__ = ["epoch_autocovariance", "epoch_displacement"]


def epoch_autocovariance(process: EpochRecursion, lags: FloatArray) -> FloatArray:
    """Return the autocovariance of the weights, averaged over phases.

    Parameters
    ----------
    process : EpochRecursion
        Stable.
    lags : (lag,) float64 [steps]
        Whole numbers, not negative.

    Returns
    -------
    (lag, d, d) float64 [weight^2]
    """
    phases = _phases(process)
    V, memory = phases.modes.steps.basis, _Memory(phases, lags)
    out = np.empty((len(lags), len(V), len(V)))
    for place, lag in enumerate(lags):
        R = memory.level[0] + memory.apart(int(lag))
        out[place] = V @ R @ V.T
    return out


def epoch_displacement(process: EpochRecursion, lags: FloatArray, U: FloatArray) -> FloatArray:
    """Return the mean-square displacement along directions, averaged over phases.

    Parameters
    ----------
    process : EpochRecursion
        Stable.
    lags : (lag,) float64 [steps]
        Whole numbers, not negative.
    U : (d, p) float64 [1]
        One direction per column.

    Returns
    -------
    (lag, p) float64 [weight^2]
    """
    phases = _phases(process)
    turned, memory = phases.modes.steps.basis.T @ U, _Memory(phases, lags)
    out = np.empty((len(lags), U.shape[1]))
    for place, lag in enumerate(lags):
        out[place] = -2.0 * np.einsum("ip,ip->p", turned, memory.apart(int(lag)) @ turned)
    return out


def _phases(process: EpochRecursion) -> Phases:
    state, phases = stationary_phases(process)
    usable(state)
    assert phases is not None  # it is usable
    return phases


class _Memory:
    """``R(s) - R(0)`` of the weights, mode by mode."""

    def __init__(self, phases: Phases, lags: FloatArray) -> None:
        modes, process = phases.modes, phases.modes.process
        N, M = process.dataset_size, process.steps
        self.away, self.epoch = modes.plain.away, M
        self.level = phases.mean()[:, 0]
        self.unit = modes.example / (M * N)
        self.reach = min(int(lags.max(initial=0.0)), M - 1)
        self.kicks, self.past = self._answers(modes.plain.kicks)

    def _answers(self, G: FloatArray) -> tuple[FloatArray, FloatArray]:
        # F^e G for e < reach, and the weights of L_M, L_(M-1), ... as far back.
        s, d = G.shape
        kicks, past = np.empty((self.reach, s, d)), np.zeros((self.reach, d))
        answer, total, sums = G, np.zeros(d), np.zeros(d)
        for e in range(self.epoch - 1):
            if e < self.reach:
                kicks[e] = answer
            total = total + answer[0]
            sums = sums + total  # L_(e + 2)
            back = self.epoch - e - 2
            if back < self.reach:
                past[back] = sums
            answer = answer + np.einsum("xai,ai->xi", self.away, answer)
        return kicks, past

    def apart(self, lag: int) -> FloatArray:
        within = min(lag, self.epoch - 1)
        # Past r = 1 ... within stands beside the answers F^(within - r) G.
        correlated = np.einsum("rxi,rj->xij", self.kicks[:within][::-1], self.past[:within])
        correlated *= self.unit
        later = _power(self.away, lag - within)
        correlated = correlated + np.einsum("xai,aij->xij", later, correlated)
        moved = np.einsum("ai,aij->ij", _power(self.away, lag)[0], self.level)
        return np.asarray(moved - correlated[0])


def _power(away: FloatArray, steps: int) -> FloatArray:
    # F^m - I by doubling.
    result = np.zeros_like(away)
    while steps:
        if steps % 2:
            result = composed(away, result)
        steps //= 2
        if steps:
            away = composed(away, away)
    return result

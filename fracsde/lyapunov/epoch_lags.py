r"""Lags of SGD with shuffled epochs: autocovariances averaged over the phases of an epoch.

Noise a step ahead of the state is correlated with it while both belong to one epoch.  With
:math:`L_q = \sum_{p<q} \Gamma_p` and :math:`\kappa = 1 / [M (N - 1)]`, the phase average of
:math:`\mathrm{E}[z_{t+s} z_t^T]` is

.. math::
    R(s) = F^s R(0) - \kappa \sum_{r=1}^{\min(s, M-1)} F^{s-r} G \otimes L_{M-r+1} ,

times the noise of one example for every pair of modes.  The mean-square displacement
:math:`2 R(0) - R(s) - R(s)^T` takes :math:`I - F^s` from :math:`F^s - I`, so that flat directions,
where :math:`R(s)` hardly differs from :math:`R(0)`, lose no digits.

One lag costs :math:`O(d^2 \min(s, M))`, by matrix products; memory is
:math:`O(d \min(s, M))` numbers for the longest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fracsde.errors import OutOfRangeError
from fracsde.lyapunov.epoch_sums import applied, composed, power
from fracsde.lyapunov.epochs import Phases, stationary_phases
from fracsde.lyapunov.processes import usable

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.epochs import EpochRecursion

__all__ = ["epoch_autocovariance", "epoch_displacement"]

# F^m - I, Gamma_m and L_m.
_Sums: TypeAlias = "tuple[FloatArray, FloatArray, FloatArray]"
# Numbers kept for each step of memory: some gigabytes.
_MOST = 2 * 10**8


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
        if self.reach * len(modes.steps.pull) > _MOST:
            msg = (
                f"`lags` up to {self.reach} steps within an epoch of {M} need more memory than "
                f"there is for {len(modes.steps.pull)} weights; ask for shorter ones"
            )
            raise OutOfRangeError(msg)
        self.kicks, self.past = self._answers(modes.plain.kicks)

    def _answers(self, G: FloatArray) -> tuple[FloatArray, FloatArray]:
        # F^e G for e < reach, and the weights of L_M, L_(M-1), ... as far back.
        kicks, past = np.empty((self.reach, *G.shape)), np.empty((self.reach, G.shape[1]))
        answer = G
        for e in range(self.reach):
            kicks[e] = answer
            answer = applied(self.away, answer)
        answer, total, sums = _first(self.away, G, self.epoch - self.reach)
        for r in range(self.reach - 1, -1, -1):
            sums = sums + total
            total = total + answer
            past[r] = sums[0]
            answer = applied(self.away, answer)
        return kicks, past

    def apart(self, lag: int) -> FloatArray:
        within = min(lag, self.epoch - 1)
        # Past r = 1 ... within stands beside the answers F^(within - r) G.
        correlated = np.einsum("rxi,rj->xij", self.kicks[:within][::-1], self.past[:within])
        correlated *= self.unit
        later = power(self.away, lag - within)
        correlated = correlated + np.einsum("xai,aij->xij", later, correlated)
        moved = np.einsum("ai,aij->ij", power(self.away, lag)[0], self.level)
        return np.asarray(moved - correlated[0])


def _first(
    away: FloatArray, G: FloatArray, count: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    # F^q G, Gamma_q and L_q at q = count, by doubling.
    steps, block = 1, (away, G, np.zeros_like(G))
    done = (np.zeros_like(away), np.zeros_like(G), np.zeros_like(G))
    length = 0
    while count:
        if count % 2:
            done, length = _after(block, done, length), length + steps
        count //= 2
        if count:
            block, steps = _after(block, block, steps), 2 * steps
    return applied(done[0], G), done[1], done[2]


def _after(one: _Sums, two: _Sums, count: int) -> _Sums:
    # ``count`` steps of ``two`` after those of ``one``.
    return (
        composed(one[0], two[0]),
        one[1] + applied(one[0], two[1]),
        one[2] + count * one[1] + applied(one[0], two[2]),
    )

r"""Stationary covariances of SGD with shuffled epochs, mode by mode and phase by phase.

With :math:`z_0` the state at the start of an epoch and :math:`g_m = F^m G` the answer to one kick,
the state after ``p`` full batches of ``B`` is
:math:`z_p = F^p z_0 + \sum_{m<p} g_m n_{p-1-m}`.  The noise of :mod:`fracsde.problems.epochs`,
with :math:`c = N/(N-1)`, adds

.. math::
    A_p = \frac{c}{B} \sum_{m<p} g_m \otimes g_m - \frac{c}{N}\, \Gamma_p \otimes \Gamma_p
        = \frac{c}{B} \Big[ \sum_{m<p} (g_m - \bar g) \otimes (g_m - \bar g)
        + \Big(\frac1p - \frac BN\Big) \Gamma_p \otimes \Gamma_p \Big], \qquad
    \Gamma_p = \sum_{m<p} g_m ,

and the covariance at phase ``p`` is :math:`\Sigma_p = F^p \Sigma_0 F^{pT} + A_p`, where
:math:`\Sigma_0 = \Sigma_M` closes the epoch.  The phases are :math:`p = 0, \dots, M - 1`, the steps
already taken; the phase average is over these.

**Without cancellation.**  The second form of :math:`A_p` adds semi-definite terms.  Blocks of steps
are joined as by [Chan1983]_, whose difference of means is that of *deviations*
:math:`\bar g - G`, small where a mode is slow, and :math:`F^m - I` is carried in place of
:math:`F^m`.  With momentum an overdamped mode has the slow coordinate
:math:`u = w + b v / (1 - \mu)`, which only the curvature moves: the epoch is closed in it, and
phases are followed in the weights.  Relative accuracy is kept down to the flattest mode.

**Cost.**  In the modes of :mod:`fracsde.lyapunov.sgd_modes` every pair of modes is a
1 x 1 or 2 x 2 problem: :math:`O(d^3)` for the eigenvectors and
:math:`O(d^2 \log (M / \eta h_{\min}))` for the rest, in blocks of rows that stay in the cache;
memory is some six arrays of the size of the state's covariance.

Not here: lags, :mod:`fracsde.lyapunov.epoch_lags`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde.lyapunov.epoch_modes import (
    EpochModes,
    added_pairs,
    by_rows,
    epoch_modes,
    from_slow,
    whole_epoch,
)
from fracsde.lyapunov.epoch_sums import applied, composed, moved, outer, scattered, summed
from fracsde.lyapunov.preconditioned import inverse_norm, steps_outcome
from fracsde.lyapunov.processes import StationaryState, nothing
from fracsde.lyapunov.rounding import EPS, binary_unit, spectral_norm
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.epochs import EpochRecursion

__all__ = ["Phases", "stationary_phases"]

# Steps beyond any time in which a mode that is told from a flat one decays.
_DOUBLINGS = 128


@dataclass(frozen=True, kw_only=True, eq=False)
class Phases:
    """Covariances through an epoch, mode by mode.

    Parameters
    ----------
    modes : EpochModes
        The modes.
    start : (s, s, d, d) float64 [weight^2]
        Covariance of weights and velocities at the start of an epoch.
    """

    modes: EpochModes
    start: FloatArray

    def at(self, phase: int) -> FloatArray:
        """Return the covariance of the whole state after ``phase`` steps of an epoch.

        Parameters
        ----------
        phase : int
            Between 0 and ``M``, where the last is the first.

        Returns
        -------
        (s d, s d) float64 [weight^2]
        """
        return self.modes.to_state(self.pairs_at(phase))

    def pairs_at(self, phase: int) -> FloatArray:
        """Return the same, mode by mode.

        Parameters
        ----------
        phase : int
            Between 0 and ``M``.

        Returns
        -------
        (s, s, d, d) float64 [weight^2]
        """
        modes = self.modes
        if not 0 < phase < modes.process.steps:
            return self.start

        def block(rows: slice) -> tuple[FloatArray, ...]:
            sums = scattered(modes.plain, phase, rows)
            moved_start = moved(sums.away, self.start[:, :, rows], rows)
            return (moved_start + added_pairs(modes, sums, rows),)

        return by_rows(modes, block, 1)[0]

    def mean(self) -> FloatArray:
        """Return the average over phases, mode by mode.

        Returns
        -------
        (s, s, d, d) float64 [weight^2]
        """
        return self._mean_and_fresh()[0]

    def balance(self) -> tuple[FloatArray, FloatArray]:
        """Return the average over phases, and what one step adds to it.

        Returns
        -------
        (s d, s d) float64 [weight^2]
            The covariance of the whole state.
        (s d, s d) float64 [weight^2]
            ``S - F S F^T`` as the correlation of the noise gives it, for the residual.
        """
        mean, fresh = self._mean_and_fresh()
        return self.modes.to_state(mean), self.modes.to_state(fresh)

    def memory(self, phase: int | None = None) -> FloatArray:
        """Return the covariance of the weights with the noise that the next step adds to them.

        Parameters
        ----------
        phase : int, optional
            Steps of the epoch already taken, below ``M``; the average over phases if not given.

        Returns
        -------
        (d, d) float64 [weight^2]
            Positive where the noise is the learning rate times the preconditioned gradient: what
            one batch has pushed away the others of its epoch bring back.
        """
        modes, process, none = self.modes, self.modes.process, slice(0, 0)
        if phase is None:
            sums = summed(modes.plain, self.start[:, :, none], process.steps, none)
            answers = sums.past_totals[0] / process.steps
        elif phase == 0:
            answers = np.zeros(len(modes.steps.pull))
        else:
            answers = scattered(modes.plain, phase, none).total[0]
        V = modes.steps.basis
        return np.asarray(V @ (answers[:, None] * modes.example / process.dataset_size) @ V.T)

    def _mean_and_fresh(self) -> tuple[FloatArray, ...]:
        modes, process, G = self.modes, self.modes.process, self.modes.plain.kicks
        N, B, M = process.dataset_size, process.batch_size, process.steps
        each = ((M - 1) / B + 1.0 / process.last_batch) / M - 1.0 / N

        def block(rows: slice) -> tuple[FloatArray, ...]:
            sums = summed(modes.plain, self.start[:, :, rows], M, rows)
            unit = modes.example[rows]
            within = (sums.past_squares / B - sums.past_products / N) * unit
            # Noise of a step and the state before it: minus the kicks of the same epoch.
            memory = applied(modes.plain.away, sums.past_totals) / (N * M)
            fresh = outer(each * G - memory, G, rows) - outer(G, memory, rows)
            return (sums.past_starts + within) / M, fresh * unit

        return by_rows(modes, block, 2)


def stationary_phases(process: EpochRecursion) -> tuple[StationaryState, Phases | None]:
    """Solve for the covariances of a recursion with shuffled epochs; failure is a status.

    Parameters
    ----------
    process : EpochRecursion
        The recursion.

    Returns
    -------
    StationaryState
        Averaged over the phases of an epoch.
    Phases or None
        Each phase; nothing where there is no stationary law.
    """
    modes = epoch_modes(process)
    status, detail = steps_outcome(modes.steps)
    if not status.ok:
        return nothing(process, status, "eigen", detail), None
    with np.errstate(over="ignore", invalid="ignore"):
        phases = Phases(modes=modes, start=_closed(modes))
        S, fresh = phases.balance()
    if not np.all(np.isfinite(S)):
        return nothing(process, Status.NOT_FINITE, "eigen", "Rescale the noise."), None
    T, unit = process.transition, binary_unit(S)
    gap = float(np.linalg.norm(T @ (S / unit) @ T.T + fresh / unit - S / unit))
    scale = (1.0 + spectral_norm(T) ** 2) * float(np.linalg.norm(S / unit))
    scale += float(np.linalg.norm(fresh / unit))
    spread = modes.steps.spread
    residual, limit = gap / scale if scale > 0.0 else 0.0, 10.0 * EPS * max(10, len(S)) * spread
    if not residual <= limit:
        status = Status.INACCURATE
        detail = f"The relative residual is {residual:.3g}; {limit:.3g} is expected."
    state = StationaryState(
        matrix=S,
        residual=residual,
        error_estimate=(gap + EPS * scale) * inverse_norm(modes.steps) * spread * unit,
        status=status,
        method="eigen",
        detail=detail,
    )
    return state, phases


def _closed(modes: EpochModes) -> FloatArray:
    # The covariance at the start of an epoch: S = F^M S F^MT + A_M by doubling.
    def block(rows: slice) -> tuple[FloatArray, ...]:
        away, S = whole_epoch(modes, rows)
        for _ in range(_DOUBLINGS):
            new = S + moved(away, S, rows)
            if np.array_equal(new, S):
                break
            S, away = new, composed(away, away)
        return (from_slow(modes, S, rows),)

    return by_rows(modes, block, 1)[0]

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
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fracsde.lyapunov.epoch_sums import (
    Coordinates,
    Scattered,
    applied,
    composed,
    moved,
    outer,
    scattered,
    summed,
)
from fracsde.lyapunov.preconditioned import inverse_norm, steps_outcome
from fracsde.lyapunov.processes import StationaryState, nothing
from fracsde.lyapunov.rounding import EPS, binary_unit, spectral_norm
from fracsde.lyapunov.sgd_modes import StepModes, step_modes
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray
    from fracsde.problems.epochs import EpochRecursion
    from fracsde.problems.sgd_steps import StepRule

__all__ = ["EpochModes", "Phases", "epoch_modes", "stationary_phases"]

# Steps beyond any time in which a mode that is told from a flat one decays.
_DOUBLINGS = 128
# Pairs of modes in a block: 128 kB for each array.
_CACHE = 16_384


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochModes:
    """Modes of a recursion with shuffled epochs; ``s`` is 1, or 2 with a velocity.

    Parameters
    ----------
    process : EpochRecursion
        Whose modes they are.
    steps : StepModes
        The modes, with the noise of one example.
    plain : Coordinates
        Weights and velocities.
    slow : Coordinates
        Those in which an epoch is closed.
    """

    process: EpochRecursion
    steps: StepModes
    plain: Coordinates
    slow: Coordinates

    @cached_property
    def example(self) -> FloatArray:
        """Noise of one example times ``N / (N - 1)``, for draws without replacement, ``(d, d)``."""
        N = self.process.dataset_size
        return self.steps.noise * (N / (N - 1) if N > 1 else 0.0)

    def to_state(self, pairs: FloatArray) -> FloatArray:
        """Return a covariance of modes as one of weights and velocities.

        Parameters
        ----------
        pairs : (s, s, d, d) float64 [weight^2]
            Pairs of modes.

        Returns
        -------
        (s d, s d) float64 [weight^2]
        """
        s, V = len(pairs), self.steps.basis
        S = np.block([[V @ pairs[x, y] @ V.T for y in range(s)] for x in range(s)])
        return np.asarray(0.5 * (S + S.T))


def epoch_modes(process: EpochRecursion) -> EpochModes:
    """Return the modes of a recursion with shuffled epochs.

    Parameters
    ----------
    process : EpochRecursion
        The recursion.

    Returns
    -------
    EpochModes
    """
    rule = process.rule
    steps = step_modes(rule, process.curvature, process.noise, process.preconditioner)
    mu, (a, b, _), pull = rule.momentum, rule.gains, steps.pull
    # Where a k is small beside (1 - mu)^2, a mode has a slow and a fast coordinate.
    overdamped = 4.0 * a * pull < (1.0 - mu) ** 2
    return EpochModes(
        process=process,
        steps=steps,
        plain=_coordinates(rule, pull, np.zeros_like(pull)),
        slow=_coordinates(rule, pull, np.where(overdamped, b / (1.0 - mu), 0.0)),
    )


def _coordinates(rule: StepRule, pull: FloatArray, lean: FloatArray) -> Coordinates:
    (a, b, c), loss = rule.gains, 1.0 - rule.momentum
    kicks = np.array([a + c * lean, np.full_like(lean, c)])
    away = np.empty((2, 2, len(pull)))
    away[:, 0], away[:, 1] = -kicks * pull, kicks * (lean * pull)
    # b - lean (1 - mu) vanishes in the slow coordinates, also in rounding.
    away[0, 1] += np.where(lean == 0.0, b, 0.0)
    away[1, 1] -= loss
    s = 2 if rule.has_velocity else 1
    return Coordinates(lean=lean, kicks=kicks[:s], away=away[:s, :s])


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
        modes = self.modes
        if not 0 < phase < modes.process.steps:
            return modes.to_state(self.start)

        def block(rows: slice) -> tuple[FloatArray, ...]:
            sums = scattered(modes.plain, phase, rows)
            moved_start = moved(sums.away, self.start[:, :, rows], rows)
            return (moved_start + _added(modes, sums, rows),)

        (pairs,) = _by_rows(modes, block, 1)
        return modes.to_state(pairs)

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

        return _by_rows(modes, block, 2)


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


def _by_rows(
    modes: EpochModes, block: Callable[[slice], tuple[FloatArray, ...]], count: int
) -> tuple[FloatArray, ...]:
    # Pairs of modes in blocks of rows that stay in the cache.
    s, d = modes.plain.kicks.shape
    whole = tuple(np.empty((s, s, d, d)) for _ in range(count))
    step = max(1, _CACHE // d)
    for top in range(0, d, step):
        rows = slice(top, top + step)
        for array, part in zip(whole, block(rows), strict=True):
            array[:, :, rows] = part
    return whole


def _closed(modes: EpochModes) -> FloatArray:
    # The covariance at the start of an epoch: S = F^M S F^MT + A_M by doubling.
    def block(rows: slice) -> tuple[FloatArray, ...]:
        away, S = _epoch(modes, rows)
        for _ in range(_DOUBLINGS):
            new = S + moved(away, S, rows)
            if np.array_equal(new, S):
                break
            S, away = new, composed(away, away)
        if len(S) == 1:
            return (S,)
        # Back to the weights, w = u - lean v.
        turn = np.zeros((2, 2, len(modes.steps.pull)))
        turn[0, 1] = -modes.slow.lean
        return (moved(turn, S, rows),)

    return _by_rows(modes, block, 1)[0]


def _epoch(modes: EpochModes, rows: slice) -> tuple[FloatArray, FloatArray]:
    # F^M - I and A_M in the slow coordinates, a short last batch included.
    process, slow = modes.process, modes.slow
    N, B, M = process.dataset_size, process.batch_size, process.steps
    last = process.last_batch
    if last == B:
        sums = scattered(slow, M, rows)
        return sums.away, _added(modes, sums, rows)
    sums, seen = scattered(slow, M - 1, rows), N - last
    # Kicks b_j x_j: those of the full batches after one more step, and the last one.
    apart = applied(slow.away, sums.total) / seen - slow.kicks / last
    added = moved(slow.away, sums.scatter, rows) / B
    added += (seen * last / N) * outer(apart, apart, rows)
    return composed(slow.away, sums.away), added * modes.example[rows]


def _added(modes: EpochModes, sums: Scattered, rows: slice) -> FloatArray:
    # A_p of p full batches.
    N, B, p = modes.process.dataset_size, modes.process.batch_size, sums.count
    pairs = sums.scatter + ((N - p * B) / (p * N)) * outer(sums.total, sums.total, rows)
    return np.asarray(pairs * (modes.example[rows] / B))

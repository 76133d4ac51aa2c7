r"""Modes of SGD with shuffled epochs, and what one epoch does to them.

With :math:`g_m = F^m G` the answer to one kick, :math:`\Gamma_p` the sum of the first ``p`` and
:math:`c = N/(N-1)`, ``p`` batches of ``B`` examples add

.. math::
    A_p = \frac{c}{B} \Big[ \sum_{m<p} (g_m - \bar g) \otimes (g_m - \bar g)
        + \Big(\frac1p - \frac BN\Big) \Gamma_p \otimes \Gamma_p \Big]

to the covariance of every pair of modes; a short last batch is joined to those before it.

Not here: stationary covariances, :mod:`fracsde.lyapunov.epochs`.
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
)
from fracsde.lyapunov.sgd_modes import StepModes, step_modes

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray
    from fracsde.problems.epochs import EpochRecursion
    from fracsde.problems.sgd_steps import StepRule

__all__ = ["EpochModes", "added_pairs", "by_rows", "epoch_modes", "from_slow", "whole_epoch"]

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


def by_rows(
    modes: EpochModes, block: Callable[[slice], tuple[FloatArray, ...]], count: int
) -> tuple[FloatArray, ...]:
    """Return arrays of pairs of modes, made in blocks of rows that stay in the cache.

    Parameters
    ----------
    modes : EpochModes
        The modes.
    block : callable
        From rows to parts of shape ``(s, s, r, d)``.
    count : int
        How many parts.

    Returns
    -------
    tuple of (s, s, d, d) float64
    """
    s, d = modes.plain.kicks.shape
    whole = tuple(np.empty((s, s, d, d)) for _ in range(count))
    step = max(1, _CACHE // d)
    for top in range(0, d, step):
        rows = slice(top, top + step)
        for array, part in zip(whole, block(rows), strict=True):
            array[:, :, rows] = part
    return whole


def from_slow(modes: EpochModes, pairs: FloatArray, rows: slice) -> FloatArray:
    """Return a covariance of slow coordinates as one of weights and velocities.

    Parameters
    ----------
    modes : EpochModes
        The modes.
    pairs : (s, s, r, d) float64 [weight^2]
        Pairs of modes.
    rows : slice
        Which modes come first in them.

    Returns
    -------
    (s, s, r, d) float64 [weight^2]
    """
    if len(pairs) == 1:
        return pairs
    # w = u - lean v.
    turn = np.zeros((2, 2, len(modes.steps.pull)))
    turn[0, 1] = -modes.slow.lean
    return moved(turn, pairs, rows)


def whole_epoch(modes: EpochModes, rows: slice) -> tuple[FloatArray, FloatArray]:
    """Return what an epoch does in the slow coordinates, a short last batch included.

    Parameters
    ----------
    modes : EpochModes
        The modes.
    rows : slice
        Which modes come first in pairs.

    Returns
    -------
    (s, s, d) float64 [1]
        ``F^M - I``.
    (s, s, r, d) float64 [weight^2]
        ``A_M``.
    """
    process, slow = modes.process, modes.slow
    N, B, M = process.dataset_size, process.batch_size, process.steps
    last = process.last_batch
    if last == B:
        sums = scattered(slow, M, rows)
        return sums.away, added_pairs(modes, sums, rows)
    sums, seen = scattered(slow, M - 1, rows), N - last
    # Kicks b_j x_j: those of the full batches after one more step, and the last one.
    apart = applied(slow.away, sums.total) / seen - slow.kicks / last
    added = moved(slow.away, sums.scatter, rows) / B
    added += (seen * last / N) * outer(apart, apart, rows)
    return composed(slow.away, sums.away), added * modes.example[rows]


def added_pairs(modes: EpochModes, sums: Scattered, rows: slice) -> FloatArray:
    """Return ``A_p``, what ``p`` full batches of an epoch add.

    Parameters
    ----------
    modes : EpochModes
        The modes.
    sums : Scattered
        The kicks of so many steps.
    rows : slice
        Which modes come first in pairs.

    Returns
    -------
    (s, s, r, d) float64 [weight^2]
    """
    N, B, p = modes.process.dataset_size, modes.process.batch_size, sums.count
    pairs = sums.scatter + ((N - p * B) / (p * N)) * outer(sums.total, sums.total, rows)
    return np.asarray(pairs * (modes.example[rows] / B))

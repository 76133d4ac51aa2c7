r"""Lags of SGD with shuffled epochs, phase by phase.

From a step at phase ``p``, with :math:`q = \min(s, M - p)` of the ``s`` steps in the same epoch and
:math:`\Gamma_q` of :mod:`fracsde.lyapunov.epoch_modes`, the weights have for every pair of modes

.. math::
    R_p(s) = \mathrm{E}[w_{t+s} \otimes w_t]
    = \big[F^s \Sigma_p - F^{s-q} \Gamma_q \otimes \Gamma_p\,C'\big]_w,
    \qquad C' = \frac{C''}{N - 1} ,

:math:`C''` the noise of one example: what the first ``p`` batches of an epoch have pushed away the
others bring back, after which nothing remembers the shuffle.  As a sum over three matrices of the
phase, with factors for their rows,

.. math::
    R_p(s) - \Sigma_p = \sum_a c_a(s) P_a, \qquad
    P = (\Sigma_p,\; \mathrm{E}[v \otimes w]_p,\; \Gamma_p C') ,

the first two from :math:`F^s - I`, so that flat directions lose no digits.

Not here: averages over phases, :mod:`fracsde.lyapunov.epoch_lags`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.lyapunov.epoch_sums import applied, power
from fracsde.lyapunov.epochs import stationary_phases
from fracsde.lyapunov.mode_powers import power_rows
from fracsde.lyapunov.processes import usable

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.epochs import EpochRecursion

__all__ = ["PhaseLags"]


class PhaseLags:
    """Correlations of the weights from each phase of an epoch, at equally spaced lags.

    Parameters
    ----------
    process : EpochRecursion
        Stable.
    gap : int
        Steps between lags.
    count : int
        Number of lags, from 0 on; memory is ``(count + M) s d`` numbers.
    """

    def __init__(self, process: EpochRecursion, gap: int, count: int) -> None:
        state, phases = stationary_phases(process)
        usable(state)
        assert phases is not None  # it is usable
        self.phases, self.gap, self.epoch = phases, gap, process.steps
        modes = phases.modes
        self.basis, self.turned = modes.steps.basis, process.preconditioner is not None
        s, d = modes.plain.kicks.shape
        self._away = modes.plain.away
        self._repelled = modes.example / process.dataset_size
        # Weights of F^s - I, (lag, s, d), and the sums Gamma_m of whole states, (M + 1, s, d).
        rows = power_rows(
            np.moveaxis(self._away, -1, 0), gap * np.arange(count, dtype=np.float64), distance=True
        )
        self._rows = np.moveaxis(rows, 0, 1)
        self._totals = np.zeros((self.epoch + 1, s, d))
        answer = modes.plain.kicks
        for m in range(self.epoch):
            self._totals[m + 1] = self._totals[m] + answer
            answer = applied(self._away, answer)

    def parts(self, phase: int) -> FloatArray:
        """Return the matrices of a phase, mode by mode.

        Parameters
        ----------
        phase : int
            Below ``M``.

        Returns
        -------
        (s + 1, d, d) float64 [weight^2]
            The first is the covariance of the weights.
        """
        pushed = self._repelled * self._totals[phase, 0]
        return np.concatenate([self.phases.pairs_at(phase)[:, 0], pushed[None]])

    def factors(self, phase: int, lags: slice) -> FloatArray:
        """Return what multiplies the rows of the parts in ``R_p(s)`` less the covariance.

        Parameters
        ----------
        phase : int
            Below ``M``.
        lags : slice
            Which of the lags.

        Returns
        -------
        (lag, s + 1, d) float64 [1]
        """
        rows = self._rows[lags]
        left = self.epoch - phase
        number = np.arange(*lags.indices(len(self._rows)))
        past = self._totals[np.minimum(number * self.gap, left), 0]
        # From the first lag beyond the epoch on, by steps of a gap.
        first = left // self.gap + 1
        beyond = number >= first
        if beyond.any():
            rest = applied(power(self._away, first * self.gap - left), self._totals[left])
            later = self._rows[number[beyond] - first]
            past[beyond] = rest[0] + np.einsum("tsd,sd->td", later, rest)
        return np.concatenate([rows, -past[:, None]], axis=1)

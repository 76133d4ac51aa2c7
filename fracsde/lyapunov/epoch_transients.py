r"""How far SGD with shuffled epochs has spread some steps after the start of an epoch.

What was known of the state at the start has nothing to do with the shuffles that follow, so that a
covariance :math:`S` becomes :math:`F^k S F^{kT}` plus what the noise of :math:`k = eM + p` steps
has added,

.. math::
    A_{(e+f)M} = A_{fM} + F^{fM} A_{eM} F^{fMT}, \qquad
    A_{eM+p} = A_p + F^p A_{eM} F^{pT} ,

epochs by doubling, in the slow coordinates of :mod:`fracsde.lyapunov.epoch_modes`.  Nothing needs
to be stable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import ComputationError
from fracsde.lyapunov.epoch_modes import (
    EpochModes,
    added_pairs,
    by_rows,
    epoch_modes,
    from_slow,
    whole_epoch,
)
from fracsde.lyapunov.epoch_sums import composed, moved, scattered
from fracsde.lyapunov.processes import white_noise
from fracsde.lyapunov.propagators import gap_law
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray
    from fracsde.lyapunov.propagators import Law
    from fracsde.problems.epochs import EpochRecursion

__all__ = ["epoch_law"]


def epoch_law(process: EpochRecursion) -> Callable[[float], Law]:
    """Return the function from a number of steps to the law of the state after them.

    Parameters
    ----------
    process : EpochRecursion
        At the start of an epoch; stable or not.

    Returns
    -------
    callable
        From a whole number of steps, not negative, to ``(F^k, F^k - I, A_k)``, each ``(D, D)`` of
        weights and velocities.
    """
    mean, modes = gap_law(white_noise(process)), epoch_modes(process)

    def law(steps: float) -> Law:
        kept, away, _ = mean(steps)
        with np.errstate(over="ignore", invalid="ignore"):
            added = modes.to_state(_added(modes, int(steps)))
        if not np.all(np.isfinite(added)):
            detail = f"Epochs grow beyond the largest float within {steps:g} steps; ask for less."
            raise ComputationError(Status.NOT_FINITE, detail)
        return kept, away, added

    return law


def _added(modes: EpochModes, steps: int) -> FloatArray:
    epochs, phase = divmod(steps, modes.process.steps)

    def block(rows: slice) -> tuple[FloatArray, ...]:
        A = from_slow(modes, _after_epochs(modes, epochs, rows), rows)
        if phase:
            sums = scattered(modes.plain, phase, rows)
            A = moved(sums.away, A, rows) + added_pairs(modes, sums, rows)
        return (A,)

    return by_rows(modes, block, 1)[0]


def _after_epochs(modes: EpochModes, count: int, rows: slice) -> FloatArray:
    away, A = whole_epoch(modes, rows)
    total = np.zeros_like(A)
    while count:
        if count % 2:
            total = A + moved(away, total, rows)
        count //= 2
        if count:
            A, away = A + moved(away, A, rows), composed(away, away)
    return total

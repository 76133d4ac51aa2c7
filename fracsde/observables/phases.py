r"""Autocovariances of shuffled epochs from each phase.

.. math::
    R_p(s) = \mathrm{E}[(w_{t+s} - w^*)(w_t - w^*)^T], \qquad t \equiv p \pmod M,

with the later time on the left, as in :mod:`fracsde.lyapunov.epoch_phases`; the average over phases
is :func:`fracsde.autocovariance`'s.  A displacement from a phase is
:math:`\Sigma_{p+s} + \Sigma_p - R_p(s) - R_p(s)^T`, with :func:`fracsde.phase_covariance`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde._transient_inputs import read_times
from fracsde.errors import OutOfRangeError
from fracsde.lyapunov.epoch_phases import PhaseLags
from fracsde.stationary import checked_phases

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.problems.epochs import EpochRecursion
    from fracsde.problems.sgd import SGDNearMinimum

__all__ = ["phase_autocovariance"]

# Numbers kept: some gigabytes.
_MOST = 2 * 10**8


def phase_autocovariance(
    sgd: SGDNearMinimum | EpochRecursion, phases: ArrayLike, lags: ArrayLike
) -> FloatArray:
    """Return the stationary autocovariance of the weights from given phases of a shuffled epoch.

    Parameters
    ----------
    sgd : SGDNearMinimum or EpochRecursion
        With shuffled epochs; stable.
    phases : (p,) array_like of int
        Steps of the epoch already taken at the earlier time, from 0 to ``M``.
    lags : (lag,) array_like [steps]
        Whole numbers, not negative, in any order.

    Returns
    -------
    (p, lag, d, d) float64 [weight^2]
        Rows belong to the later time.

    Raises
    ------
    InputError
        If there are no epochs, or the phases are not whole numbers.
    OutOfRangeError
        If a phase is not between 0 and ``M``, a lag is no number of steps, or the lags need more
        memory than there is.
    UnstableError
        If there is no stationary law.

    References
    ----------
    [KuhnRosenow2023]_ for the noise

    Examples
    --------
    What the first half of an epoch has pushed away the second brings back, where nothing else does:

    >>> from fracsde import SGDNearMinimum
    >>> sgd = SGDNearMinimum(hessian=1e-9, gradient_noise=1.0, learning_rate=1.0, batch_size=5,
    ...                      dataset_size=20, sampling="shuffled")
    >>> phase_autocovariance(sgd, [2], [0, 1, 2, 3]).ravel().round(6) + 0.0
    array([0.210526, 0.105263, 0.      , 0.      ])
    """
    epochs, wanted = checked_phases(sgd, phases)
    steps = read_times("lags", lags, epochs)
    s, d = 2 if epochs.rule.has_velocity else 1, len(epochs.observed)
    furthest = float(steps.max(initial=0.0))
    if (furthest + epochs.steps) * s * d > _MOST:
        msg = (
            f"`lags` up to {furthest:g} steps need more memory than there is for {d} weights in "
            f"epochs of {epochs.steps} steps; ask for shorter ones"
        )
        raise OutOfRangeError(msg)
    found = PhaseLags(epochs, 1, int(furthest) + 1)
    V = found.basis
    out = np.empty((len(wanted), len(steps), d, d))
    for place, phase in enumerate(wanted % epochs.steps):
        parts = found.parts(int(phase))
        for at, lag in enumerate(steps.astype(np.int64)):
            factors = found.factors(int(phase), slice(lag, lag + 1))[0]
            R = parts[0] + np.einsum("ai,aij->ij", factors, parts)
            out[place, at] = V @ R @ V.T
    return out

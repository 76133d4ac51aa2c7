r"""Averages of the weights over a window of shuffled epochs.

The mean of ``T`` steps that begin at any phase with equal chance has the covariance

.. math::
    D_T = \frac{1}{T^2} \sum_{|s| < T} (T - |s|)\, R(s), \qquad
    R(s) = F R(s-1) - \kappa\, G \otimes L_{M-s+1} \quad (s < M), \qquad
    R(M - 1 + j) = F^j R(M-1) ,

with ``R`` of :mod:`fracsde.lyapunov.epoch_lags`: the lags within an epoch are added one by one,
those beyond it by

.. math::
    \sum_{0 < j < n} (n - j) F^j = W_n - n, \qquad
    W_{n+m} = W_n + m\,\Gamma_n + F^n W_m, \qquad \Gamma_n = \sum_{j<n} F^j .

**Rounding.**  The noise of an epoch sums to zero, and so nearly does this: a long window averages
it away.  What the sums have rounded is followed, and fewer than six digits are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fracsde.errors import UnsupportedError
from fracsde.lyapunov.epoch_sums import applied, composed
from fracsde.lyapunov.epochs import stationary_phases
from fracsde.lyapunov.processes import usable
from fracsde.lyapunov.rounding import EPS

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.lyapunov.epoch_modes import EpochModes
    from fracsde.problems.epochs import EpochRecursion

__all__ = ["epoch_window"]

# F^n - I, Gamma_n and W_n.
_Sums: TypeAlias = "tuple[FloatArray, FloatArray, FloatArray]"
# Relative error beyond which a window is refused.
_DIGITS = 1e-6


def epoch_window(process: EpochRecursion, window: int) -> FloatArray:
    """Return the covariance of the mean of the weights over a window, averaged over phases.

    Parameters
    ----------
    process : EpochRecursion
        Stable.
    window : int
        ``T`` steps, at least one.

    Returns
    -------
    (d, d) float64 [weight^2]

    Raises
    ------
    UnsupportedError
        If rounding leaves fewer than six digits.
    """
    state, phases = stationary_phases(process)
    usable(state)
    assert phases is not None  # it is usable
    modes, M, T = phases.modes, process.steps, float(window)
    away, G, V = modes.plain.away, modes.plain.kicks, modes.steps.basis
    unit = modes.example / (M * process.dataset_size)
    R = level = phases.mean()[:, 0]
    total, sizes = 0.5 * T * R[0], 0.5 * T * np.abs(R[0])
    near = min(window, M) - 1
    past = _past(modes, M)
    for s in range(1, near + 1):
        R = R + np.einsum("xai,aij->xij", away, R) - G[:, :, None] * past[M - s + 1] * unit
        total = total + (T - s) * R[0]
        sizes = sizes + (T - s) * np.abs(R[0])
    if window - 1 > near:
        far = _weighted(away, window - near)[0]
        total = total + np.einsum("ai,aij->ij", far, R)
        sizes = sizes + np.einsum("ai,aij->ij", np.abs(far), np.abs(R) + np.abs(level))
    D = (total + total.T) / T**2
    rounded = 16.0 * EPS * np.diag(sizes + sizes.T) / T**2
    if np.any(rounded > _DIGITS * np.abs(np.diag(D))):
        msg = (
            f"a window of {window} steps averages the noise of shuffled epochs away, of which "
            "rounding leaves fewer than six digits here; ask for a shorter one, or take "
            "power_spectrum(law, [0]) / T for long ones"
        )
        raise UnsupportedError(msg)
    return np.asarray(V @ D @ V.T)


def _past(modes: EpochModes, count: int) -> FloatArray:
    # The weights of L_q = sum of Gamma_p over p < q, for q up to ``count``.
    away, answer = modes.plain.away, modes.plain.kicks
    total, sums = np.zeros_like(answer), np.zeros((count + 1, answer.shape[1]))
    for q in range(count):
        sums[q + 1] = sums[q] + total[0]
        total = total + answer
        answer = applied(away, answer)
    return sums


def _weighted(away: FloatArray, count: int) -> FloatArray:
    # W_n - n by doubling: (F^n - I, Gamma_n, W_n) of one and of twice as many steps.
    s = len(away)
    one = np.repeat(np.eye(s)[:, :, None], away.shape[2], axis=2)
    steps, block = 1, (away, one, one)
    done, length = (np.zeros_like(away), np.zeros_like(away), np.zeros_like(away)), 0
    rest = count
    while rest:
        if rest % 2:
            done, length = _joined(block, done, length), length + steps
        rest //= 2
        if rest:
            block, steps = _joined(block, block, steps), 2 * steps
    return done[2] - count * one


def _joined(one: _Sums, two: _Sums, count: int) -> _Sums:
    # ``count`` steps of ``two`` after those of ``one``.
    def later(X: FloatArray) -> FloatArray:
        return np.asarray(X + np.einsum("xai,ayi->xyi", one[0], X))

    return (
        composed(one[0], two[0]),
        one[1] + later(two[1]),
        one[2] + count * one[1] + later(two[2]),
    )

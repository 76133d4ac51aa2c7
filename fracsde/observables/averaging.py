r"""The covariance of the mean of iterates over a window.

.. math::
    \bar X = \frac1T \sum_{t<T} X_t, \qquad
    D_T = \frac{1}{T^2} \Big( W_T\,\Sigma + \Sigma\,W_T^T - T\,\Sigma \Big), \qquad
    W_T = \sum_{s<T} (T - s)\,E^s \qquad\text{(map)},

.. math::
    \bar X = \frac1T \int_0^T X_t\,dt, \qquad
    D_T = \frac{1}{T^2} \Big( W_T\,\Sigma + \Sigma\,W_T^T \Big), \qquad
    W_T = \int_0^T (T - s)\,e^{-As}\,ds \qquad\text{(flow)} .

For long windows :math:`T D_T` tends to the power spectrum at zero frequency, for SGD
:math:`K^{-1} Q K^{-1}` at any stable rate, momentum and preconditioner: the leading term does not
know them.  For one mode without momentum, :math:`\phi = 1 - \eta h`,

.. math::
    D_T = \frac{\sigma^2}{T^2}
        \Big[ T\,\frac{1 + \phi}{1 - \phi} - \frac{2 \phi (1 - \phi^T)}{(1 - \phi)^2} \Big] .

The sums are doubled (:mod:`fracsde.lyapunov.mode_powers`), so a window of ``1e9`` steps costs 30
products and slow modes lose no digit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from fracsde._check import real
from fracsde.lyapunov.epoch_windows import epoch_window
from fracsde.lyapunov.evolution import momentum_steps, weight_ball
from fracsde.lyapunov.mode_powers import step_count, triangle_sum
from fracsde.lyapunov.processes import as_epochs, require_stationary
from fracsde.lyapunov.propagators import modes
from fracsde.observables._laws import second_order, whole
from fracsde.problems.ornstein_uhlenbeck import OUProcess

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.lyapunov.propagators import LinearProcess
    from fracsde.observables._laws import LinearLaw

__all__ = ["averaged_covariance"]

# Windows of so many relaxation times are white, and their squares still numbers.
_WHITE = 1e307


def averaged_covariance(law: LinearLaw, window: float) -> FloatArray:
    r"""Return the covariance of the mean over a window of the stationary process.

    Parameters
    ----------
    law : OUProcess, LinearRecursion, SGDNearMinimum, QuadraticLossSGD or with ``second_order()``
        Stable; SGD stands for its map, or for its shuffled epochs: windows then begin at any phase
        with equal chance.
    window : float [t], or int [steps]
        ``T``: a length of time for a flow, a number of iterates, at least 1, for a map.

    Returns
    -------
    (k, k) float64 [x^2]

    Raises
    ------
    UnsupportedError
        If the window averages away the noise of shuffled epochs, down to rounding.

    References
    ----------
    [PolyakJuditsky1992]_ for the leading term, [Mandt2017]_ for the window of a flow

    Examples
    --------
    The mean of many iterates does not know the learning rate:

    >>> from fracsde import SGDNearMinimum
    >>> for rate in (0.1, 1.5):
    ...     sgd = SGDNearMinimum(hessian=[[1.0]], gradient_noise=[[4.0]], learning_rate=rate,
    ...                          batch_size=4)
    ...     print(round(float(averaged_covariance(sgd, 10**6)[0, 0] * 10**6), 4))
    1.0
    1.0
    """
    epochs = as_epochs(law)
    if epochs is not None:
        return epoch_window(epochs, whole("window", window, low=1, remedy="it counts iterates"))
    process = second_order(law)
    if isinstance(process, OUProcess):
        T = real("window", window, low=0.0)
    else:
        T = float(whole("window", window, low=1, remedy="a window counts iterates"))
    V, half, inner = _halves(process, T)
    mean = half + half.T
    if not isinstance(process, OUProcess):
        mean = mean - inner / T
    if V is not None:
        mean = V @ mean @ V.T
    return np.asarray(0.5 * (mean + mean.T))


def _halves(process: LinearProcess, T: float) -> tuple[FloatArray | None, FloatArray, FloatArray]:
    # W_T Sigma / T^2 and Sigma, in a basis of the observed coordinates or in their own.
    X = require_stationary(process).matrix
    modal, ball = modes(process), weight_ball(process)
    if modal is not None:
        V = modal.basis
        inner = V.T @ X @ V
        weights = (
            _sums(-modal.pull[:, None, None], T)[:, 0]
            if modal.discrete
            else _integral(modal.pull, T)[:, None]
        )
        return V[process.observed], weights * inner, inner
    if ball is not None:
        V = ball.basis
        inner, cross = (V.T @ block @ V for block in X[:, : len(V)].reshape(2, len(V), len(V)))
        rows = _sums(momentum_steps(ball), T)[:, 0]
        return V, rows[:, :1] * inner + rows[:, 1:] * cross, inner
    if isinstance(process, OUProcess):
        W = _matrix_integral(process.drift, T)
    else:
        W = _sums(process.transition - np.eye(len(X)), T)
    seen = np.ix_(process.observed, process.observed)
    return None, (W @ X)[seen], X[seen]


def _sums(away: FloatArray, T: float) -> FloatArray:
    # Windows longer than any memory are as good as white.
    steps = step_count(T)
    return triangle_sum(away, steps) / steps / T


def _integral(pull: FloatArray, T: float) -> FloatArray:
    # (x + exp(-x) - 1) / x^2 at x = pull T, by its series where that cancels.
    with np.errstate(over="ignore"):
        x = np.minimum(pull * T, _WHITE)
    series = np.zeros_like(x)
    small = np.abs(x) < 0.5
    near = np.where(small, x, 0.0)
    for j in range(17, 1, -1):
        series = (1.0 - near * series) / j
    safe = np.where(small, 1.0, x)
    return np.where(small, series, (safe + np.expm1(-safe)) / safe / safe)


def _matrix_integral(A: FloatArray, T: float) -> FloatArray:
    # A short window by the exponential of a block matrix, then doubled.
    d = len(A)
    reach = np.log2(2.0 * float(np.linalg.norm(A, 1))) + np.log2(T)
    doublings = max(0, int(np.ceil(reach)))
    t = float(np.ldexp(T, -doublings))
    block = np.zeros((3 * d, 3 * d))
    block[:d, :d], block[:d, d : 2 * d], block[d : 2 * d, 2 * d :] = -A * t, np.eye(d), np.eye(d)
    top = scipy.linalg.expm(block)[:d]
    # Means over the window rather than sums, so that nothing overflows.
    G, W = top[:, d : 2 * d], top[:, 2 * d :]
    away = -(A * t) @ G
    for _ in range(doublings):
        W = 0.5 * W + 0.25 * G + 0.25 * away @ W
        G = G + 0.5 * away @ G
        away = 2.0 * away + away @ away
    return np.asarray(W)

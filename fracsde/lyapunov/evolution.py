r"""What a linear process makes of given columns in time: :math:`E(t) X` and :math:`(E(t) - I) X`.

Along a direction ``u`` only the numbers :math:`u^T E(t) X u` are formed.  Where the process falls
apart into modes, a symmetric one or SGD with momentum (:mod:`fracsde.lyapunov.heavy_ball`), they
are sums over its modes, at ``O(d)`` for each time however long; any other process is carried from
one time to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import finite_array
from fracsde.errors import ComputationError
from fracsde.lyapunov.heavy_ball import heavy_ball
from fracsde.lyapunov.mode_powers import power_rows
from fracsde.lyapunov.propagators import distinct_gaps, gap_law, modes
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion
from fracsde.problems.sgd_steps import StepRule
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.lyapunov.heavy_ball import HeavyBall
    from fracsde.lyapunov.propagators import LinearProcess

__all__ = [
    "along",
    "evolve",
    "evolve_observed",
    "finite",
    "lifted",
    "momentum_steps",
    "weight_ball",
]

# Numbers of the modes' powers that are held at once.
_HELD = 2**22


def lifted(process: LinearProcess, directions: ArrayLike | None) -> FloatArray:
    """Return directions of the observed coordinates as directions of the state.

    Parameters
    ----------
    process : OUProcess or LinearRecursion
        The process.
    directions : (k, p) array_like or None
        What the caller passed; each coordinate by itself if nothing.

    Returns
    -------
    (d, p) float64
    """
    observed = process.observed
    U = np.zeros((process.dimension, len(observed)))
    U[observed, np.arange(len(observed))] = 1.0
    if directions is None:
        return U
    return np.asarray(U @ finite_array("directions", directions, shape=(len(observed), None)))


def weight_ball(process: LinearProcess) -> HeavyBall | None:
    """Return the modes of SGD with momentum whose weights are what is observed.

    Parameters
    ----------
    process : OUProcess or LinearRecursion
        The process.

    Returns
    -------
    HeavyBall or None
    """
    ball = heavy_ball(process) if isinstance(process, LinearRecursion) else None
    if ball is None or not np.array_equal(process.observed, np.arange(len(ball.pull))):
        return None
    return ball


def momentum_steps(ball: HeavyBall) -> FloatArray:
    """Return the distance from the identity of one step of each mode's weight and velocity.

    Parameters
    ----------
    ball : HeavyBall
        The modes.

    Returns
    -------
    (n, 2, 2) float64
    """
    gain, keep, _ = StepRule(momentum=ball.momentum, nesterov=ball.nesterov).gains
    step = np.empty((len(ball.pull), 2, 2))
    step[:, :, 0] = -np.multiply.outer(ball.pull, (gain, 1.0))
    step[:, :, 1] = keep, ball.momentum - 1.0
    return step


def evolve(
    process: LinearProcess, times: FloatArray, X: FloatArray, *, away: bool = False
) -> FloatArray:
    """Return ``E(t) X``, or ``(E(t) - I) X``, for every time.

    Parameters
    ----------
    process : OUProcess or LinearRecursion
        Stable or not.
    times : (t,) float64 [t, or steps]
        In any order.
    X : (d, p) float64
        Columns.
    away : bool
        Whether ``X`` itself is taken off, without cancellation.

    Returns
    -------
    (t, d, p) float64
    """
    modal = modes(process)
    if modal is not None:
        factors = modal.away(times) if away else modal.decay(times)
        return finite(modal.basis @ (factors[:, :, None] * (modal.basis.T @ X)))
    law = gap_law(process)
    order = np.argsort(times, kind="stable")
    gaps, index = distinct_gaps(np.append(0.0, times[order]))
    laws = [law(gap)[:2] for gap in gaps]
    out = np.empty((len(times), *X.shape))
    current = np.zeros_like(X) if away else X
    for place, which in zip(order, index, strict=True):
        E, apart = laws[which]
        current = E @ current + apart @ X if away else E @ current
        out[place] = current
    return finite(out)


def evolve_observed(process: LinearProcess, times: FloatArray, X: FloatArray) -> FloatArray:
    """Return the observed rows of ``E(t) X`` for every time.

    Parameters
    ----------
    process : OUProcess or LinearRecursion
        Stable or not.
    times : (t,) float64 [t, or steps]
        In any order.
    X : (d, p) float64
        Columns.

    Returns
    -------
    (t, k, p) float64
    """
    ball = weight_ball(process)
    if ball is None:
        return np.asarray(evolve(process, times, X)[:, process.observed])
    V = ball.basis
    position, velocity = power_rows(momentum_steps(ball), times)[:, :, :, None]
    of_weights, of_velocities = V.T @ X.reshape(2, len(V), -1)
    return finite(V @ (position * of_weights + velocity * of_velocities))


def along(
    process: LinearProcess,
    times: FloatArray,
    U: FloatArray,
    X: FloatArray,
    *,
    away: bool = False,
) -> FloatArray:
    """Return the diagonal of ``U^T E(t) X``, or of ``U^T (E(t) - I) X``, for every time.

    Parameters
    ----------
    process : OUProcess or LinearRecursion
        Stable or not.
    times : (t,) float64 [t, or steps]
        In any order.
    U : (d, p) float64
        Directions of the observed coordinates, from :func:`lifted`.
    X : (d, p) float64
        One column for each direction.
    away : bool
        Whether the identity is taken off, without cancellation.

    Returns
    -------
    (t, p) float64
    """
    modal, ball = modes(process), weight_ball(process)
    if modal is not None:
        pairs = (modal.basis.T @ U) * (modal.basis.T @ X)
    elif ball is not None:
        V, step = ball.basis, momentum_steps(ball)
        pairs = (V.T @ U[: len(V)]) * (V.T @ X.reshape(2, len(V), -1))
    else:
        return np.asarray(np.einsum("dp,tdp->tp", U, evolve(process, times, X, away=away)))
    out = np.empty((len(times), U.shape[1]))
    block = max(1, _HELD // (8 * len(U)))
    for first in range(0, len(times), block):
        part = slice(first, first + block)
        if modal is not None:
            out[part] = (modal.away if away else modal.decay)(times[part]) @ pairs
        else:
            out[part] = (power_rows(step, times[part], distance=away) @ pairs).sum(axis=0)
    return finite(out)


def finite(array: FloatArray) -> FloatArray:
    """Return the array, or raise where it overflowed.

    Parameters
    ----------
    array : ndarray
        Any shape.

    Returns
    -------
    ndarray

    Raises
    ------
    ComputationError
        If an entry is not finite.
    """
    if not np.all(np.isfinite(array)):
        detail = "The process grows beyond the largest float; ask for shorter times."
        raise ComputationError(Status.NOT_FINITE, detail)
    return array

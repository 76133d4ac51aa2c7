r"""The spread of a clock over chains, from whitened displacements.

.. math::
    \operatorname{Var} \ln u = \operatorname{Var} \ln |z|^2 - \psi'(d/2),

with displacements of ``d`` coordinates whitened to ``z``, and ``u`` the part of their variance that
the clock reached.  What it says of memory: :mod:`fracsde.estimators.memory`.

References: [Zolotarev1986]_ for logarithms of stable laws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import polygamma

from fracsde._check import choice, finite_array, real
from fracsde.errors import OutOfRangeError, RecordError
from fracsde.estimators.autocovariance import checked_lags, checked_start
from fracsde.estimators.chains import (
    as_trajectory,
    freedom_of,
    jackknife_error,
    measured,
    named,
)
from fracsde.estimators.clock_mixture import (
    HIGHEST_ORDER,
    LOWEST_ORDER,
    NODES,
    clock_density,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.records.measurement import Measurement, Quantity
    from fracsde.records.trajectory import Trajectory

__all__ = ["Start", "expected_log_clock_variance", "log_clock_variance", "spread_over_lags"]

Start = Literal["released", "stationary"]

_MIN_CHAINS = 32


def expected_log_clock_variance(
    alpha: float, theta: ArrayLike = 0.0, *, start: Start = "released"
) -> FloatArray:
    r"""Return the variance of the logarithm of what a fractional clock reaches.

    Parameters
    ----------
    alpha : float [1]
        Order of the clock, in (0, 1]; in a well between 0.05 and 0.99.
    theta : array_like [1]
        :math:`(t/\tau)^\alpha` in a well of relaxation time :math:`\tau`; 0 on flat ground.
    start : {"released", "stationary"}
        Whether chains start at the centre of the well or in its stationary law.

    Returns
    -------
    ndarray of float64 [1]
        Of the shape of ``theta``.

    Raises
    ------
    OutOfRangeError
        If ``alpha`` is out of its range or ``theta`` is negative.

    Examples
    --------
    >>> float(expected_log_clock_variance(0.5)).__round__(6)  # pi^2 / 8
    1.233701
    >>> float(expected_log_clock_variance(1.0))
    0.0
    """
    alpha = real("alpha", alpha, low=0.0, high=1.0, closed="high")
    choice("start", start, ("released", "stationary"))
    scaled = finite_array("theta", theta)
    if np.any(scaled < 0):
        msg = f"`theta` must not be negative, got {scaled.min():g}; it is (t / timescale)**alpha"
        raise OutOfRangeError(msg)
    flat = np.full(scaled.shape, np.pi**2 / 6.0 * (1.0 - alpha**2))
    inside = scaled > 0
    if alpha == 1.0 or not inside.any():
        return flat
    remedy = "take lags short against the relaxation, and theta = 0"
    real("alpha", alpha, low=LOWEST_ORDER, high=HIGHEST_ORDER, closed="both", remedy=remedy)
    weights = clock_density(alpha)[0]
    rate = 2.0 if start == "released" else 1.0
    logs = np.log(-np.expm1(-rate * scaled[inside, None] * NODES))
    mean = logs @ weights
    flat[inside] = np.square(logs - mean[:, None]) @ weights
    return flat


def log_clock_variance(
    trajectory: Trajectory | ArrayLike,
    lags: Sequence[int],
    *,
    start: int = 0,
    quantity: Quantity | None = None,
) -> Measurement:
    r"""Measure the variance of the logarithm of the clock from displacements over chains.

    .. math::
        \operatorname{Var}_r \ln |z_r|^2 - \psi'(d/2) + \psi'\bigl((R-1)/2\bigr), \qquad
        |z_r|^2 = \delta_r^T S^{-1} \delta_r ,

    with displacements :math:`\delta_r` from their mean and their covariance ``S`` over ``R``
    chains; the last term is that of a Beta law, which :math:`|z|^2` has for Gaussian displacements.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [weight]
        At least 32 chains, and four per coordinate.
    lags : sequence of int
        Lags in draws.
    start : int
        The draw from which chains are displaced.
    quantity : Quantity, optional
        A name of the caller's.

    Returns
    -------
    Measurement
        Of :math:`\operatorname{Var} \ln u`, one entry per lag.

    Raises
    ------
    RecordError
        If there are too few chains or draws, or displacements have no spread in some direction.

    References
    ----------
    [Zolotarev1986]_

    Examples
    --------
    >>> steps = np.random.default_rng(1).standard_normal((2000, 8, 2))
    >>> m = log_clock_variance(np.cumsum(steps, axis=1), [3, 7])
    >>> bool(np.all(np.abs(m.value) < 5 * m.stderr))
    True
    """
    (value, left), chosen = spread_over_lags(trajectory, lags, start)
    labels = tuple(f"lag {k}" for k in chosen)
    name = named(quantity, "variance of the log clock", "1", labels)
    method = f"logarithms of whitened displacements of {len(left)} chains, jackknife"
    return measured(name, value, jackknife_error(left), freedom_of(left), method)


def spread_over_lags(
    trajectory: Trajectory | ArrayLike, lags: Sequence[int], start: int
) -> tuple[tuple[FloatArray, FloatArray], IntArray]:
    """Return the variance of the log clock per lag, with and without each chain; and the lags.

    Returns
    -------
    ((lag,) ndarray, (chain, lag) ndarray) of float64 [1]
    (lag,) ndarray of int64

    Raises
    ------
    RecordError
        If there are too few chains or draws.
    """
    run = as_trajectory(trajectory)
    first = checked_start(start, run.draws)
    chosen = checked_lags(lags, run.draws - first)
    needed = max(_MIN_CHAINS, 4 * run.dimension)
    if run.chains < needed:
        msg = (
            f"the spread over chains needs at least {needed} chains for {run.dimension} "
            f"coordinates, got {run.chains}; run more replicas or project on fewer directions"
        )
        raise RecordError(msg)
    value = np.empty(len(chosen))
    left = np.empty((run.chains, len(chosen)))
    for j, lag in enumerate(chosen):
        moved = run.values[:, first + lag] - run.values[:, first]
        value[j], left[:, j] = _one_lag(moved, int(lag))
    return (value, left), chosen


def _one_lag(moved: FloatArray, lag: int) -> tuple[float, FloatArray]:
    # Variance of the log clock, and the same without each chain, by the rank-one change of the
    # covariance: in whitened coordinates with chain r gone,
    # S' = n / (n - 1) [I - z_r z_r^T / (n - 1)],  mean' = -z_r / (n - 1).
    n, d = moved.shape
    if not np.all(np.any(moved != 0.0, axis=1)):
        idle = int(np.sum(~np.any(moved != 0.0, axis=1)))
        msg = f"{idle} of {n} chains have not moved after lag {lag}; take longer lags"
        raise RecordError(msg)
    gap = moved - moved.mean(axis=0)
    spread = gap.std(axis=0)
    if np.any(spread == 0.0):
        msg = (
            f"coordinate {int(np.argmin(spread))} is displaced by the same amount in every chain "
            f"at lag {lag}; drop frozen coordinates"
        )
        raise RecordError(msg)
    left, sizes, _ = np.linalg.svd(gap / spread, full_matrices=False)
    if sizes[-1] < 1e-10 * sizes[0]:
        msg = (
            f"displacements at lag {lag} do not span all {d} coordinates: some are combinations "
            "of others; project on fewer directions"
        )
        raise RecordError(msg)
    z = left * np.sqrt(n)  # whitened: the covariance over n chains is the identity
    squared = np.square(z).sum(axis=1)
    ordinary = polygamma(1, 0.5 * d)
    value = float(np.log(squared).var(ddof=1) - ordinary + polygamma(1, 0.5 * (n - 1.0)))
    without = np.empty(n)
    gain = 1.0 / ((n - 1.0) - squared)
    for r in range(n):
        along = z @ z[r]
        metric = squared + 2.0 * along / (n - 1.0) + squared[r] / (n - 1.0) ** 2
        cross = along + squared[r] / (n - 1.0)
        logs = np.log(metric + gain[r] * np.square(cross))
        logs[r] = 0.0
        mean = logs.sum() / (n - 1.0)
        without[r] = (np.square(logs - mean).sum() - mean**2) / (n - 2.0)
    return value, without - ordinary + polygamma(1, 0.5 * (n - 2.0))

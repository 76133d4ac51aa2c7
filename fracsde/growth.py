r"""How SGD spreads where nothing holds it: flat and negative directions, and minima on the way.

One direction of curvature ``h`` and noise ``q`` per batch, without momentum, from one point,

.. math::
    V(k) = \eta^2 q\, \frac{(1 - \eta h)^{2k} - 1}{(1 - \eta h)^2 - 1}, \qquad
    V \approx \begin{cases}
        \eta q / [h\, (2 - \eta h)] & \text{confined:}\quad 2 \eta h k \gg 1, \\
        \eta^2 q\, k & \text{diffusive:}\quad 2 \eta |h| k \ll 1, \\
        \dfrac{\eta q}{|h|\,(2 + \eta |h|)}\, e^{2 k \log(1 + \eta |h|)} & \text{unstable,}
    \end{cases}

so that what a direction *is* depends on how long one looks.  With momentum a flat direction that
starts from rest spreads as

.. math::
    V(k) = \frac{\eta^2 q}{(1-\mu)^2} \Bigl[k - \frac{2 \mu (1 - \mu^k)}{1 - \mu}
           + \frac{\mu^2 (1 - \mu^{2k})}{1 - \mu^2}\Bigr] ,

like :math:`\eta^2 q\, k^3 / 3` for :math:`1 \ll k \ll 1/(1-\mu)`, and one whose velocity has
forgotten its start, ``velocity="warm"``, as

.. math::
    V(k) = \frac{\eta^2 q}{(1-\mu)^2} \Bigl[k - \frac{2 \mu (1 - \mu^k)}{1 - \mu^2}\Bigr] ,

ballistically, then linearly.  Nothing is rounded against 1: a pull of 1e-15 per step is there after
1e9 steps (:mod:`fracsde.lyapunov.affine`).

Not here: which direction is which, :mod:`fracsde.directions`.

References: [Ignashin2026]_, without momentum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import choice, finite_array, positive_semidefinite, real, vector
from fracsde.directions import Directions, as_critical, classified
from fracsde.errors import ComputationError, OutOfRangeError
from fracsde.lyapunov.critical_modes import critical_modes
from fracsde.provenance import Provenance, provenance
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.problems.critical_point import SGDNearCriticalPoint
    from fracsde.problems.sgd import SGDNearMinimum

__all__ = ["VarianceGrowth", "variance_growth"]

_MOST_STEPS = 10**15  # beyond it a whole number of steps is not a double


@dataclass(frozen=True, kw_only=True, eq=False)
class VarianceGrowth:
    """Mean and spread of SGD after given numbers of steps.

    Parameters
    ----------
    steps : (k,) int64
        Numbers of steps.
    directions : Directions
        What each direction is, seen over the largest of them.
    mean : (k, d) float64 [weight]
        Means of the weights.
    variance : (k, d) float64 [weight^2]
        Variances along ``directions.directions``.
    covariance : (k, d, d) float64 [weight^2] or None
        Of the weights, where it was asked for.
    status : Status
        ``SUCCESS``, or ``NOT_FINITE`` where a direction grew beyond the largest float.
    provenance : Provenance
        Where the result came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("Ignashin2026",)

    steps: IntArray
    directions: Directions
    mean: FloatArray
    variance: FloatArray
    covariance: FloatArray | None
    status: Status
    provenance: Provenance


def variance_growth(
    sgd: SGDNearCriticalPoint | SGDNearMinimum,
    steps: ArrayLike,
    *,
    initial: ArrayLike | None = None,
    initial_covariance: ArrayLike = 0.0,
    velocity: str = "rest",
    full: bool = False,
    throw: bool = True,
) -> VarianceGrowth:
    """Return the mean and the variances of SGD near a critical point after given steps.

    Parameters
    ----------
    sgd : SGDNearCriticalPoint or SGDNearMinimum
        Curvatures of any sign; a minimum without
        preconditioner and without Nesterov's look-ahead may be passed too.
    steps : int or (k,) array_like of int
        Numbers of steps, in any order, up to 1e15.
    initial : (d,) array_like [weight], optional
        Mean at the start; the critical point by default.
    initial_covariance : float or (d, d) array_like [weight^2]
        Covariance of the weights at the start.
    velocity : {"rest", "warm"}
        With momentum: zero at the start, or with the spread ``eta^2 Q / (1 - mu^2)`` that it has
        after many steps where nothing pulls.
    full : bool
        Whether to return covariances of all pairs of weights, at ``O(d^2)`` numbers per entry of
        ``steps``.
    throw : bool
        Whether to raise where a result is not finite; with ``False`` look at ``status``.

    Returns
    -------
    VarianceGrowth

    Raises
    ------
    InputError
        If an argument cannot mean what was asked.
    ComputationError
        If a direction grows beyond the largest float.

    Notes
    -----
    Exact for a quadratic loss up to rounding, which a direction magnifies as much as it magnifies
    anything.  With ``hessian_noise`` exact if entries of the random Hessian are uncorrelated; the
    cost is then that of ``log2(k)`` products of matrices of size ``d``, of ``4 d`` with momentum,
    and of twice that from a start off the critical point; without, ``O(d log k)`` after one
    eigen-decomposition.

    References
    ----------
    [Ignashin2026]_

    Examples
    --------
    A flat direction diffuses for as long as one likes:

    >>> from fracsde.problems.critical_point import SGDNearCriticalPoint
    >>> sgd = SGDNearCriticalPoint(hessian=[[0.0]], gradient_noise=[[1.0]], learning_rate=0.1,
    ...     batch_size=10)
    >>> variance_growth(sgd, [1, 10, 10**9]).variance[:, 0].round(6)
    array([1.e-03, 1.e-02, 1.e+06])
    """
    problem = as_critical(sgd)
    count = _steps(steps)
    choice("velocity", velocity, ("rest", "warm"))
    modes = critical_modes(problem)
    V, d, m = modes.directions, problem.dimension, modes.parts
    start = problem.critical_point if initial is None else vector("initial", initial, length=d)
    moved = np.zeros((d, m))
    moved[:, 0] = V.T @ (start - problem.critical_point)
    spread = np.zeros((d, d, m, m))
    spread[:, :, 0, 0] = V.T @ _covariance(initial_covariance, d) @ V
    if m == 2 and velocity == "warm":
        mu = problem.momentum
        spread[:, :, 1, 1] = modes.kick / ((1.0 - mu) * (1.0 + mu))
    mean = problem.critical_point + modes.mean(moved, count)[:, :, 0] @ V.T
    covariance = None
    if full:
        inner = modes.covariances(moved, spread, count)
        variance = inner[:, np.arange(d), np.arange(d)]
        with np.errstate(over="ignore", invalid="ignore"):
            covariance = V @ inner @ V.T
    else:
        own = spread[np.arange(d), np.arange(d)]
        variance = modes.variances(moved, own, count)[:, :, 0, 0]
    status = Status.SUCCESS
    found = (mean, variance) if covariance is None else (mean, variance, covariance)
    if not all(np.all(np.isfinite(part)) for part in found):
        status = Status.NOT_FINITE
        if throw:
            detail = "A direction grows beyond the largest float; ask for fewer steps."
            raise ComputationError(status, detail)
    horizon = max(1, int(count.max(initial=1)))
    return VarianceGrowth(
        steps=count,
        directions=classified(problem, modes, horizon),
        mean=mean,
        variance=variance,
        covariance=covariance,
        status=status,
        provenance=provenance(problem, count, start, initial_covariance, velocity),
    )


def _steps(value: Any) -> IntArray:
    given = finite_array("steps", value, ndim=(0, 1)).reshape(-1)
    if np.any(given < 0.0) or np.any(given != np.rint(given)):
        odd = given[(given < 0.0) | (given != np.rint(given))][0]
        msg = f"`steps` must be whole numbers of steps, not negative, got {odd:g}"
        raise OutOfRangeError(msg)
    if np.any(given > _MOST_STEPS):
        msg = f"`steps` must be at most {_MOST_STEPS:g}, got {given.max():g}; ask for fewer"
        raise OutOfRangeError(msg)
    return given.astype(np.int64)


def _covariance(value: ArrayLike, size: int) -> FloatArray:
    if np.ndim(value) == 0:
        spread = real("initial_covariance", value, low=0.0, closed="low")
        return spread * np.eye(size)
    return positive_semidefinite("initial_covariance", value, size=size)

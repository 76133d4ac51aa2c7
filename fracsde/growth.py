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

ballistically, then linearly.  Noise of variance :math:`s^2` in the curvature of a batch keeps a
direction stationary only for

.. math::
    h_- < h < h_+, \qquad
    \eta h_\pm = (1 + \mu) \Bigl[1 \pm \sqrt{1 - \frac{\eta^2 s^2}{1 - \mu^2}}\Bigr] .

Nothing is rounded against 1: a pull of 1e-15 per step is there after 1e9 steps
(:mod:`fracsde.lyapunov.affine`).

References: [Ignashin2026]_ for the split of directions, without momentum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import choice, finite_array, integer, positive_semidefinite, real, vector
from fracsde.errors import (
    ComputationError,
    InputError,
    OutOfRangeError,
    UnstableError,
)
from fracsde.lyapunov.critical_modes import CriticalModes, critical_modes
from fracsde.problems.critical_point import SGDNearCriticalPoint
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.provenance import Provenance, provenance
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray, IntArray

__all__ = [
    "Directions",
    "VarianceGrowth",
    "classify_directions",
    "stationary_curvatures",
    "variance_growth",
]

_MOST_STEPS = 10**15  # beyond it a whole number of steps is not a double


@dataclass(frozen=True, kw_only=True, eq=False)
class Directions:
    """What each direction of curvature is, seen over a number of steps.

    Parameters
    ----------
    horizon : int
        Steps.
    curvatures : (d,) float64 [loss/weight^2]
        Of the regularised loss, ascending.
    directions : (d, d) float64
        Unit eigenvectors, one per column.
    rates : (d,) float64 [1/step]
        Rate at which the variance along a direction grows once it forgot its start; negative where
        it settles.
    slopes : (d,) float64 [weight^2/step]
        Growth of the variance per step where nothing pulls, ``eta^2 q / (1 - mu)^2``: twice the
        diffusion coefficient.
    limits : (d,) float64 [weight^2]
        Where confined directions settle while the others have not spread; else infinite.
    kinds : tuple of {"confined", "diffusive", "unstable"}
        By whether ``rate * horizon`` is below -1, between -1 and 1, or above.

    Examples
    --------
    >>> sgd = SGDNearCriticalPoint(hessian=np.diag([-0.01, 0.0, 1.0]), gradient_noise=np.eye(3),
    ...     learning_rate=0.1, batch_size=10)
    >>> print(classify_directions(sgd, 1000))
    over 1000 steps
      curvature  kind           rate/step   slope/step   settles at
          -0.01  unstable       0.001999        0.001          inf
              0  diffusive             0        0.001          inf
              1  confined        -0.2107        0.001     0.005263
    """

    citation: ClassVar[tuple[str, ...]] = ("Ignashin2026",)

    horizon: int
    curvatures: FloatArray
    directions: FloatArray
    rates: FloatArray
    slopes: FloatArray
    limits: FloatArray
    kinds: tuple[str, ...]

    def __str__(self) -> str:
        """Return a table, one direction per line.

        Returns
        -------
        str
        """
        head = f"{'curvature':>11}  {'kind':<10} {'rate/step':>13} {'slope/step':>12}"
        lines = [f"over {self.horizon} steps", f"{head} {'settles at':>12}"]
        columns = (self.curvatures, self.kinds, self.rates, self.slopes, self.limits)
        lines.extend(
            f"{h:>11.4g}  {kind:<10} {rate:>13.4g} {slope:>12.4g} {limit:>12.4g}"
            for h, kind, rate, slope, limit in zip(*columns, strict=True)
        )
        return "\n".join(lines)


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

    >>> sgd = SGDNearCriticalPoint(hessian=[[0.0]], gradient_noise=[[1.0]], learning_rate=0.1,
    ...     batch_size=10)
    >>> variance_growth(sgd, [1, 10, 10**9]).variance[:, 0].round(6)
    array([1.e-03, 1.e-02, 1.e+06])
    """
    problem = _as_critical(sgd)
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
        directions=_classified(problem, modes, horizon),
        mean=mean,
        variance=variance,
        covariance=covariance,
        status=status,
        provenance=provenance(problem, count, start, initial_covariance, velocity),
    )


def classify_directions(sgd: SGDNearCriticalPoint | SGDNearMinimum, horizon: int) -> Directions:
    """Say which directions are confined, diffusive or unstable over a number of steps.

    Parameters
    ----------
    sgd : SGDNearCriticalPoint or SGDNearMinimum
        Curvatures of any sign.
    horizon : int
        Steps, positive.

    Returns
    -------
    Directions

    References
    ----------
    [Ignashin2026]_

    Examples
    --------
    >>> sgd = SGDNearCriticalPoint(hessian=np.diag([1e-4, 1.0]), gradient_noise=np.eye(2),
    ...     learning_rate=0.1, batch_size=10)
    >>> classify_directions(sgd, 1_000).kinds, classify_directions(sgd, 1_000_000).kinds
    (('diffusive', 'confined'), ('confined', 'confined'))
    """
    problem = _as_critical(sgd)
    steps = integer("horizon", horizon, low=1, high=_MOST_STEPS)
    return _classified(problem, critical_modes(problem), steps)


def stationary_curvatures(
    *, learning_rate: float, hessian_noise: float, batch_size: int = 1, momentum: float = 0.0
) -> tuple[float, float]:
    r"""Return the curvatures between which noise in the curvature leaves a stationary variance.

    .. math::
        \eta h_\pm = (1 + \mu) \Bigl[1 \pm \sqrt{1 - \frac{\eta^2 s^2 / B}{1 - \mu^2}}\Bigr]

    Parameters
    ----------
    learning_rate : float [weight^2/loss]
        ``eta``, positive.
    hessian_noise : float [loss^2/weight^4]
        Variance of one example's curvature along the direction.
    batch_size : int
        ``B``.
    momentum : float [1]
        ``mu`` in ``[0, 1)``.

    Returns
    -------
    low, high : float [loss/weight^2]

    Raises
    ------
    UnstableError
        If the noise is so large that no curvature is stationary.

    Examples
    --------
    >>> low, high = stationary_curvatures(learning_rate=0.1, hessian_noise=36.0)
    >>> round(low, 12), round(high, 12)
    (2.0, 18.0)
    """
    eta = real("learning_rate", learning_rate, low=0.0)
    variance = real("hessian_noise", hessian_noise, low=0.0, closed="low")
    variance /= integer("batch_size", batch_size, low=1)
    mu = real("momentum", momentum, low=0.0, high=1.0, closed="low")
    share = eta**2 * variance / ((1.0 - mu) * (1.0 + mu))
    if share >= 1.0:
        msg = (
            "no curvature has a stationary variance against noise of variance "
            f"{variance:g} in a batch's curvature at learning_rate={eta:g}; stay below "
            f"{np.sqrt((1.0 - mu) * (1.0 + mu) / variance):g}, or take larger batches"
        )
        raise UnstableError(msg)
    root = np.sqrt(1.0 - share)
    # 1 - root would cancel.
    return (
        float((1.0 + mu) * share / (1.0 + root) / eta),
        float((1.0 + mu) * (1.0 + root) / eta),
    )


def _classified(problem: SGDNearCriticalPoint, modes: CriticalModes, horizon: int) -> Directions:
    values = np.linalg.eigvals(modes.own())
    # log|1 + z|^2 / 2 of the largest, through log1p.
    with np.errstate(divide="ignore"):  # what is forgotten in one step has the rate -inf
        growth = 0.5 * np.log1p(np.maximum(2.0 * values.real + np.abs(values) ** 2, -1.0))
    rates = growth.max(axis=1)
    kinds = np.where(rates * horizon > 1.0, "unstable", "diffusive")
    kinds[rates * horizon < -1.0] = "confined"
    limits = np.full(len(rates), np.inf)
    held = np.flatnonzero(kinds == "confined")
    limits[held] = _limits(problem, modes, held)
    return Directions(
        horizon=horizon,
        curvatures=modes.curvatures,
        directions=modes.directions,
        rates=rates,
        slopes=np.diag(modes.kick) / (1.0 - problem.momentum) ** 2,
        limits=limits,
        kinds=tuple(str(kind) for kind in kinds),
    )


def _limits(problem: SGDNearCriticalPoint, modes: CriticalModes, held: IntArray) -> FloatArray:
    # Stationary variances of confined modes among themselves: V = G (n + S V).
    mu = problem.momentum
    x = problem.learning_rate * modes.curvatures[held]
    gain = (1.0 + mu) / (x * (1.0 - mu) * (2.0 * (1.0 + mu) - x))
    free = gain * np.diag(modes.kick)[held]
    if modes.scatter is None or len(held) == 0:
        return free
    coupling = gain[:, None] * modes.scatter[np.ix_(held, held)]
    if np.abs(np.linalg.eigvals(coupling)).max() >= 1.0:
        return np.full(len(held), np.inf)
    return np.asarray(np.linalg.solve(np.eye(len(held)) - coupling, free))


def _as_critical(sgd: Any) -> SGDNearCriticalPoint:
    if isinstance(sgd, SGDNearCriticalPoint):
        return sgd
    if not isinstance(sgd, SGDNearMinimum):
        msg = (
            f"`sgd` must be an SGDNearCriticalPoint or an SGDNearMinimum, got {type(sgd).__name__}"
        )
        raise InputError(msg)
    if sgd.preconditioner is not None:
        msg = (
            "`sgd` has a preconditioner, which this law does not serve; ask for "
            "covariance_at(sgd, steps)"
        )
        raise InputError(msg)
    if sgd.nesterov:
        msg = (
            "`sgd` takes Nesterov's steps, which this law does not serve; ask for "
            "covariance_at(sgd, steps)"
        )
        raise InputError(msg)
    # Dampening multiplies every gradient, as a smaller rate does.
    return SGDNearCriticalPoint(
        hessian=sgd.hessian,
        gradient_noise=sgd.gradient_noise,
        learning_rate=(1.0 - sgd.dampening) * sgd.learning_rate,
        batch_size=sgd.batch_size,
        momentum=sgd.momentum,
        weight_decay=sgd.weight_decay,
        dataset_size=sgd.dataset_size,
        sampling=sgd.sampling,
        critical_point=sgd.minimum,
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

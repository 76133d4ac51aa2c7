r"""Which directions of SGD near a critical point are confined, diffusive or unstable, and when.

A variance that grows at the rate :math:`\rho` per step once it forgot its start, negative where it
settles, is over ``k`` steps

.. math::
    \text{confined:}\ \rho k < -1, \qquad \text{diffusive:}\ |\rho| k < 1, \qquad
    \text{unstable:}\ \rho k > 1, \qquad
    \rho = 2 \log |1 - \eta h| \ (\mu = 0) .

Noise of variance :math:`s^2` in the curvature of a batch keeps a direction stationary only for

.. math::
    h_- < h < h_+, \qquad
    \eta h_\pm = (1 + \mu) \Bigl[1 \pm \sqrt{1 - \frac{\eta^2 s^2}{1 - \mu^2}}\Bigr] .

Directions that scatter into each other hold each other up.  With :math:`g_i(\rho)` what kicks that
grow at the rate :math:`\rho` add up to along direction ``i``, their variances grow together at the
rate where

.. math::
    \text{the largest eigenvalue of}\quad \sqrt{g_i(\rho)}\; \eta^2 s^2_{ij} \sqrt{g_j(\rho)}
    \quad\text{is}\quad 1 ,

which counts where it makes confined directions something else, or diffusive ones unstable, and
for unstable ones.

References: [Ignashin2026]_ for the split of directions, without momentum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.optimize import brentq
from scipy.sparse.csgraph import connected_components

from fracsde._check import integer, real
from fracsde.errors import InputError, UnstableError
from fracsde.lyapunov.critical_modes import CriticalModes, critical_modes
from fracsde.problems.critical_point import SGDNearCriticalPoint
from fracsde.problems.sgd import SGDNearMinimum

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray

__all__ = [
    "Directions",
    "as_critical",
    "classified",
    "classify_directions",
    "stationary_curvatures",
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
        Rate at which the variance along a direction grows once it forgot its start, while
        directions of another kind have not spread; negative where it settles.  Directions that
        scatter into each other have that of all together where it changes what they are, and
        where they are unstable.
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
    problem = as_critical(sgd)
    steps = integer("horizon", horizon, low=1, high=_MOST_STEPS)
    return classified(problem, critical_modes(problem), steps)


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
    amplitude = eta * np.sqrt(variance / ((1.0 - mu) * (1.0 + mu)))
    if amplitude >= 1.0:
        msg = (
            "no curvature has a stationary variance against noise of variance "
            f"{variance:g} in a batch's curvature at learning_rate={eta:g}; stay below "
            f"{np.sqrt((1.0 - mu) * (1.0 + mu) / variance):g}, or take larger batches"
        )
        raise UnstableError(msg)
    share = float(amplitude**2)
    root = np.sqrt(1.0 - share)
    # 1 - root would cancel.
    return (
        float((1.0 + mu) * share / (1.0 + root) / eta),
        float((1.0 + mu) * (1.0 + root) / eta),
    )


def classified(problem: SGDNearCriticalPoint, modes: CriticalModes, horizon: int) -> Directions:
    """Return what the directions of a problem are.

    Parameters
    ----------
    problem : SGDNearCriticalPoint
        The problem.
    modes : CriticalModes
        Its modes.
    horizon : int
        Steps, positive.

    Returns
    -------
    Directions
    """
    values = np.linalg.eigvals(modes.own())
    # log|1 + z|^2 / 2 of the largest, through log1p.
    with np.errstate(divide="ignore"):  # what is forgotten in one step has the rate -inf
        growth = 0.5 * np.log1p(np.maximum(2.0 * values.real + np.abs(values) ** 2, -1.0))
    rates = growth.max(axis=1)
    if modes.scatter is not None:
        rates = _together(modes, rates, horizon)
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


def _together(modes: CriticalModes, alone: FloatArray, horizon: int) -> FloatArray:
    # Rates of directions that are no longer confined, or diffusive, beside those they scatter into,
    # and of unstable ones.
    rates = alone.copy()
    for edge in (-1.0 / horizon, 1.0 / horizon):
        for members in _groups(modes, np.flatnonzero(rates < edge)):
            rates[members] = _joint_rate(edge, modes, members, rates[members])
    for members in _groups(modes, np.flatnonzero(rates > 1.0 / horizon)):
        edge = rates[members].max() * (1.0 + 1e-9)
        rates[members] = _joint_rate(edge, modes, members, rates[members])
    return rates


def _groups(modes: CriticalModes, held: IntArray) -> list[IntArray]:
    # Directions, two or more, that scatter into each other, one way or another.
    assert modes.scatter is not None  # the caller looked
    scatter = modes.scatter[np.ix_(held, held)]
    count, group = connected_components(scatter > 0.0, directed=False)
    groups = [held[group == i] for i in range(count)]
    return [members for members in groups if len(members) > 1]


def _joint_rate(
    low: float, modes: CriticalModes, members: IntArray, alone: FloatArray
) -> FloatArray | float:
    # That of the variances of all members where it is above `low`, else those of each alone.
    if _excess(low, modes, members) <= 0.0:
        return alone
    step = abs(low)
    while _excess(low + step, modes, members) > 0.0:
        step *= 2.0
    return float(brentq(_excess, low, low + step, (modes, members), xtol=1e-300, rtol=1e-14))


def _excess(rate: float, modes: CriticalModes, members: IntArray) -> float:
    # Positive where variances grow faster together.
    assert modes.scatter is not None  # the caller looked
    root = np.sqrt(modes.gains(rate, members))
    coupled = root[:, None] * modes.scatter[np.ix_(members, members)] * root
    return float(np.linalg.eigvalsh(coupled)[-1]) - 1.0


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


def as_critical(sgd: Any) -> SGDNearCriticalPoint:
    """Return SGD near a critical point; a minimum is one.

    Parameters
    ----------
    sgd : SGDNearCriticalPoint or SGDNearMinimum
        What the caller passed.

    Returns
    -------
    SGDNearCriticalPoint

    Raises
    ------
    InputError
        If it is neither, or a minimum with a preconditioner or Nesterov's steps.
    """
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
    # Dampening with momentum multiplies every gradient, as a smaller rate does.
    return SGDNearCriticalPoint(
        hessian=sgd.hessian,
        gradient_noise=sgd.gradient_noise,
        learning_rate=(1.0 - sgd.dampening if sgd.momentum else 1.0) * sgd.learning_rate,
        batch_size=sgd.batch_size,
        momentum=sgd.momentum,
        weight_decay=sgd.weight_decay,
        dataset_size=sgd.dataset_size,
        sampling=sgd.sampling,
        critical_point=sgd.minimum,
    )

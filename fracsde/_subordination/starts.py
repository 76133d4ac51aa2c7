r"""Where paths start: a normal law, in the form that suits the base.

.. math:: X_0 \sim N(x_0, C_0)

with a point (:math:`C_0 = 0`) and the stationary law as special cases.

Not here: starts of simulated paths (:mod:`fracsde.schemes.subordinated`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import choice, finite_array, positive_semidefinite, real
from fracsde.errors import InputError, OutOfRangeError, ShapeError, UnstableError
from fracsde.lyapunov.processes import require_stationary
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.problems.structured import DiagonalOU, LowRankOU

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.subordinated import BaseProcess

__all__ = ["Start", "read_start", "stationary_start"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """A normal law of the state at time 0.

    Parameters
    ----------
    away : (d,) float64 [x]
        Its mean, relative to the mean of the process.
    covariance : (d, d), (d,) or (r, r) float64 [x^2], or None
        Of an OUProcess, of each coordinate of a DiagonalOU, or within the basis of a LowRankOU;
        none where the start is a point.
    rest : float [x^2]
        Variance outside the basis of a LowRankOU.
    """

    away: FloatArray
    covariance: FloatArray | None = None
    rest: float = 0.0


def read_start(base: BaseProcess, initial: Any, covariance: Any) -> Start:
    """Return the start that a caller described.

    Parameters
    ----------
    base : OUProcess, DiagonalOU or LowRankOU
        The process in operational time.
    initial : (d,) array_like or "stationary"
        Mean of the start, or the stationary law.
    covariance : array_like
        Covariance of the start: 0, a matrix for an OUProcess, a variance or one for each
        coordinate for a DiagonalOU, a variance common to all coordinates for a LowRankOU.

    Returns
    -------
    Start

    Raises
    ------
    InputError
        If the start is missing, or both stationary and given a covariance.
    OutOfRangeError
        If a variance is negative.
    ShapeError
        If the start does not fit the process.
    """
    given = not (np.ndim(covariance) == 0 and covariance == 0.0)
    if isinstance(initial, str):
        choice("initial", initial, ("stationary",))
        if given:
            msg = (
                "`initial_covariance` is that of the stationary law where `initial` is "
                "'stationary'; leave it out"
            )
            raise InputError(msg)
        return stationary_start(base)
    if initial is None:
        msg = (
            "`initial` must say where paths start: on a random clock the spread depends on it; "
            "pass a state, or 'stationary'"
        )
        raise InputError(msg)
    d = base.dimension
    position = finite_array("initial", initial, ndim=(0, 1)).reshape(-1)
    if len(position) != d:
        msg = f"`initial` must have {d} entries, got {len(position)}"
        raise ShapeError(msg)
    away = position - base.mean
    if not given:
        return Start(away=away)
    if isinstance(base, OUProcess):
        matrix = positive_semidefinite("initial_covariance", covariance, size=d)
        return Start(away=away, covariance=matrix)
    if isinstance(base, DiagonalOU):
        spread = finite_array("initial_covariance", covariance, ndim=(0, 1))
        variances = np.array(np.broadcast_to(spread, (d,)) if spread.ndim == 0 else spread)
        if len(variances) != d:
            msg = f"`initial_covariance` must hold one variance for each of {d} coordinates"
            raise ShapeError(msg)
        if np.any(variances < 0.0):
            msg = f"`initial_covariance` must not be negative, got {variances.min():g}"
            raise OutOfRangeError(msg)
        return Start(away=away, covariance=variances)
    remedy = "a LowRankOU starts with one variance common to all coordinates"
    level = real("initial_covariance", covariance, low=0.0, closed="low", remedy=remedy)
    return Start(away=away, covariance=level * np.eye(base.basis.shape[1]), rest=level)


def stationary_start(base: BaseProcess) -> Start:
    """Return the stationary law of a base process.

    Parameters
    ----------
    base : OUProcess, DiagonalOU or LowRankOU
        Stable.

    Returns
    -------
    Start

    Raises
    ------
    UnstableError
        If there is no stationary law.
    """
    away = np.zeros(base.dimension)
    if isinstance(base, OUProcess):
        return Start(away=away, covariance=require_stationary(base).matrix)
    if isinstance(base, DiagonalOU):
        _require_decay(float(base.drift.min()), base.dimension)
        return Start(away=away, covariance=base.noise / (2.0 * base.drift))
    small = OUProcess(drift=base.drift, noise=base.noise)
    rest = 0.0
    if isinstance(base, LowRankOU) and base.basis.shape[1] < base.dimension:
        _require_decay(base.rest_drift, base.dimension)
        rest = base.rest_noise / (2.0 * base.rest_drift)
    return Start(away=away, covariance=require_stationary(small).matrix, rest=rest)


def _require_decay(slowest: float, dimension: int) -> None:
    if not slowest > 0.0:
        msg = (
            f"the process has no stationary law: of its {dimension} rates the lowest is "
            f"{slowest:g}, and all must be positive; pass the state where paths start"
        )
        raise UnstableError(msg)

r"""A ratio of two means measured together, with an interval that may be open.

.. math::
    \hat\rho = \bar a / \bar b, \qquad
    \mathrm{se}^2 = \frac{V_{aa} - 2\hat\rho V_{ab} + \hat\rho^2 V_{bb}}{\bar b^2}, \qquad
    \{\rho : (\bar a - \rho \bar b)^2 \le
    t^2 (V_{aa} - 2 \rho V_{ab} + \rho^2 V_{bb})\} .

The set on the right is Fieller's: where :math:`\bar b` cannot be told from zero it has no upper
end, as is right.  Numerator and denominator of one run are correlated, and ``V`` is their joint
covariance: of independent chains where there are at least 16, else of blocks of each chain that
are ten autocorrelation times long.

References: [Fieller1954]_; [Efron1982]_ for the jackknife, to which the error of a ratio of means
is equal in leading order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from fracsde.errors import RecordError
from fracsde.estimators.chains import MIN_CHAINS
from fracsde.estimators.correlation_times import correlation_times

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.records.trajectory import Trajectory

__all__ = ["Ratio", "ratio_of", "ratio_of_means", "replicates"]

_BLOCKS = 32  # blocks of a record, or fewer where it is short
_LEAST = 8
_LENGTH = 10.0  # autocorrelation times in a block


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A ratio with standard error and interval; both parts with their errors."""

    value: float
    stderr: float
    interval: tuple[float, float]
    top: float
    top_stderr: float
    bottom: float
    bottom_stderr: float
    resolved: bool  # whether the denominator is told from zero
    n_effective: float
    method: str


def ratio_of(
    top: float, bottom: float, V: FloatArray, *, count: float, level: float, method: str
) -> Ratio:
    """Return a ratio of two quantities from estimates and their joint covariance.

    Returns
    -------
    Ratio
        Where the denominator is not told from zero, that of a ratio known to be positive.
    """
    value = top / bottom if bottom else np.inf
    errors = np.sqrt(np.maximum(np.diagonal(V), 0.0))
    variance = float(V[0, 0] - 2.0 * value * V[0, 1] + value**2 * V[1, 1]) if bottom else np.inf
    quantile = float(stats.t.isf(0.5 * level, count - 1.0))
    low, high = _fieller(top, bottom, quantile**2 * V) if V.any() else (value, value)
    return Ratio(
        value=value,
        stderr=float(np.sqrt(max(variance, 0.0))) / abs(bottom) if bottom else np.inf,
        interval=(low, high),
        top=top,
        top_stderr=float(errors[0]),
        bottom=bottom,
        bottom_stderr=float(errors[1]),
        resolved=bool(abs(bottom) > quantile * errors[1]) and np.isfinite(high),
        n_effective=count,
        method=method,
    )


def _fieller(a: float, b: float, V: FloatArray) -> tuple[float, float]:
    # Ratios that solve A r^2 - 2 B r + C <= 0; of two positive parts, those not below zero.
    A, B, C = b * b - V[1, 1], a * b - V[0, 1], a * a - V[0, 0]
    spread = B * B - A * C
    if A > 0.0:
        root = np.sqrt(max(spread, 0.0))
        low, high = float((B - root) / A), float((B + root) / A)
        return (max(0.0, low), max(0.0, high)) if a > 0.0 < b else (low, high)
    if A == 0.0 or spread <= 0.0:
        return 0.0, np.inf
    # Outside of both roots: the branch that goes to infinity, or everything.
    upper = float((B - np.sqrt(spread)) / A)
    lower = float((B + np.sqrt(spread)) / A)
    first, second = sorted((lower, upper))
    return (second, np.inf) if first < 0.0 < second else (0.0, np.inf)


def replicates(series: Trajectory) -> tuple[FloatArray, str]:
    """Return independent values of both parts, one row per chain or block, and what they are.

    Returns
    -------
    rows : (count, 2) float64
    method : str

    Raises
    ------
    RecordError
        If a record of few chains is too short for blocks.
    """
    values = series.values
    chains, draws = values.shape[:2]
    if chains >= MIN_CHAINS:
        return values.mean(axis=1), f"{chains} chains"
    tau = float(correlation_times(series).tau.max())
    each = min(-(-_BLOCKS // chains), int(draws // (_LENGTH * max(tau, 1.0))))
    if chains * each < _LEAST:
        msg = (
            f"{chains} chains of {draws} draws hold fewer than {_LEAST} blocks of {_LENGTH:g} "
            f"autocorrelation times ({tau:.3g} draws); record longer, or run at least "
            f"{MIN_CHAINS} chains"
        )
        raise RecordError(msg)
    length = draws // each
    blocks = values[:, draws - each * length :].reshape(chains * each, length, values.shape[2])
    return blocks.mean(axis=1), f"{chains * each} blocks of {length} draws"


def ratio_of_means(series: Trajectory, *, level: float) -> Ratio:
    """Measure the mean of the first coordinate over that of the second.

    Returns
    -------
    Ratio
    """
    rows, method = replicates(series)
    count = len(rows)
    V = np.cov(rows.T) / count
    means = rows.mean(axis=0)
    top, bottom = float(means[0]), float(means[1])
    return ratio_of(top, bottom, V, count=float(count), level=level, method=method)

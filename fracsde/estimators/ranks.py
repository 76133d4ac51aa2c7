r"""Convergence across chains by ranks, which asks nothing of moments.

Values are replaced by the normal scores of their ranks among all ``S`` draws,

.. math::
    z = \Phi^{-1}\!\Bigl(\frac{r - 3/8}{S + 1/4}\Bigr),

every chain is cut into halves, and with ``m`` halves of ``n`` draws, their mean variance ``W`` and
biased autocovariances :math:`C_j(k)`,

.. math::
    \hat R^2 = \frac{n - 1}{n} + \frac{\operatorname{Var}(\text{means})}{W},
    \qquad
    \hat\rho(k) = 1 - \frac{W - \frac1m \sum_j C_j(k)}{\hat R^2\,W},
    \qquad
    \mathrm{ESS} = \frac{m\,n}{-1 + 2 \sum_k \hat\rho(k)} .

The sum runs over pairs :math:`\hat\rho(2k) + \hat\rho(2k + 1)` while they are positive, each no
larger than the one before.  :math:`\hat R` is the larger of that of ``z`` and that of the scores
of distances to the median, which sees chains that differ in width alone.  The bulk's effective
size is that of ``z``, the tail's the smaller of those of the indicators of the 5 % and 95 %
quantiles.

Not here: error bars, which this package takes across chains or from the integrated time.

References: [Vehtari2021]_, [Geyer1992]_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special, stats

from fracsde.errors import RecordError
from fracsde.estimators.autocovariance import lagged_products
from fracsde.estimators.chains import as_trajectory, coordinate_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.records.trajectory import Trajectory

__all__ = ["bulk_effective_size", "normal_scores", "rank_r_hat", "tail_effective_size"]

_MIN_DRAWS = 20


def rank_r_hat(trajectory: Trajectory | ArrayLike) -> FloatArray:
    """Compare half-chains by ranks, in place and in width.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        At least 20 draws; a single chain is compared with itself.

    Returns
    -------
    (coordinate,) ndarray of float64 [1]
        1 for chains that each explore the whole law; above 1.01 to 1.05 is commonly refused.

    Raises
    ------
    RecordError
        If there are too few draws or a coordinate is constant.

    References
    ----------
    [Vehtari2021]_

    Examples
    --------
    Of a law without moments, and of chains that differ in width:

    >>> noise = np.random.default_rng(5).standard_cauchy((4, 1000, 1))
    >>> bool(rank_r_hat(noise)[0] < 1.01)
    True
    >>> noise[3] *= 5.0
    >>> bool(rank_r_hat(noise)[0] > 1.1)
    True
    """

    def of(values: FloatArray) -> float:
        halves = _halves(values)
        return max(_r_hat(normal_scores(halves)), _r_hat(normal_scores(_folded(halves))))

    return _each(trajectory, of)


def bulk_effective_size(trajectory: Trajectory | ArrayLike) -> FloatArray:
    """Count independent draws behind the centre of the law.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        At least 20 draws.

    Returns
    -------
    (coordinate,) ndarray of float64 [1]

    Raises
    ------
    RecordError
        If there are too few draws or a coordinate is constant.

    References
    ----------
    [Vehtari2021]_, [Geyer1992]_

    Examples
    --------
    >>> noise = np.random.default_rng(5).standard_normal((4, 1000, 1))
    >>> bool(3200 < bulk_effective_size(noise)[0] < 4800)
    True
    """
    return _each(trajectory, lambda values: _effective_size(normal_scores(_halves(values))))


def tail_effective_size(trajectory: Trajectory | ArrayLike) -> FloatArray:
    """Count independent draws behind the 5 % and the 95 % quantile, the fewer of the two.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        At least 20 draws.

    Returns
    -------
    (coordinate,) ndarray of float64 [1]

    Raises
    ------
    RecordError
        If there are too few draws or a coordinate is constant.

    References
    ----------
    [Vehtari2021]_

    Examples
    --------
    >>> noise = np.random.default_rng(5).standard_normal((4, 1000, 1))
    >>> bool(3000 < tail_effective_size(noise)[0] < 5000)
    True
    """

    def of(values: FloatArray) -> float:
        sides = np.quantile(values, (0.05, 0.95))
        halves = _halves(values)
        return min(_effective_size((halves <= side).astype(np.float64)) for side in sides)

    return _each(trajectory, of)


def normal_scores(values: FloatArray) -> FloatArray:
    """Return the normal scores of the ranks of all values, ties averaged.

    Returns
    -------
    ndarray of float64 of the same shape
    """
    ranks = stats.rankdata(values, axis=None).reshape(values.shape)
    return np.asarray(special.ndtri((ranks - 0.375) / (values.size + 0.25)), dtype=np.float64)


def _each(trajectory: Trajectory | ArrayLike, of: Callable[[FloatArray], float]) -> FloatArray:
    # Apply to the chains, coordinate by coordinate.
    run = as_trajectory(trajectory)
    if run.draws < _MIN_DRAWS:
        msg = (
            f"ranks need at least {_MIN_DRAWS} draws, got {run.draws}; record more often or longer"
        )
        raise RecordError(msg)
    found = np.empty(run.dimension)
    for i, name in enumerate(coordinate_names(run)):
        values = run.values[..., i]
        if not np.ptp(values) > 0.0:
            msg = f"coordinate {name!r} does not vary; drop constant coordinates"
            raise RecordError(msg)
        found[i] = of(values)
    return found


def _halves(values: FloatArray) -> FloatArray:
    # Both halves of every chain, without the middle draw of an odd number.
    half = values.shape[1] // 2
    return np.concatenate([values[:, :half], values[:, -half:]])


def _folded(halves: FloatArray) -> FloatArray:
    # Distances to the median, which the two draws beside it share: rounding would rank them.
    middle = halves.size // 2
    low, high = np.partition(halves, [middle - 1, middle], axis=None)[middle - 1 : middle + 1]
    away = np.abs(halves - 0.5 * (low + high))
    return np.asarray(np.where((low <= halves) & (halves <= high), 0.5 * (high - low), away))


def _r_hat(x: FloatArray) -> float:
    n = x.shape[1]
    inside = x.var(axis=1, ddof=1).mean()
    between = x.mean(axis=1).var(ddof=1)
    if not inside > 0.0:  # every half-chain stands still
        return float("inf") if between > 0.0 else 1.0
    return float(np.sqrt((n - 1.0) / n + between / inside))


def _effective_size(x: FloatArray) -> float:
    m, n = x.shape
    away = x - x.mean(axis=1, keepdims=True)
    mean_covariance = lagged_products(away, n - 1).mean(axis=0) / n
    inside = mean_covariance[0] * n / (n - 1.0)
    whole = mean_covariance[0] + (x.mean(axis=1).var(ddof=1) if m > 1 else 0.0)
    if not whole > 0.0:
        return float(x.size)
    rho = 1.0 - (inside - mean_covariance) / whole
    rho[0] = 1.0
    last = (n - 3) // 2  # the last pair that is looked at
    pairs = rho[0 : 2 * last + 1 : 2] + rho[1 : 2 * last + 2 : 2]
    ends = np.flatnonzero(pairs <= 0.0)
    K = int(ends[0]) if len(ends) else last
    total = 2.0 * np.minimum.accumulate(pairs[:K]).sum() if K else 0.0
    tau = -1.0 + total + max(float(rho[2 * K]), 0.0)
    return float(x.size / max(tau, 1.0 / np.log10(x.size)))

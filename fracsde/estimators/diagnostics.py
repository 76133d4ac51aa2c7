r"""Tests of stationarity, and of whether each chain explores the whole law.

.. math::
    z = \frac{\bar x_{\text{second half}} - \bar x_{\text{first half}}}{\mathrm{se}},
    \qquad
    \hat R^2 = \frac{N - 1}{N} + \frac{\operatorname{Var}(\text{half-chain means})}
    {\text{mean variance inside half-chains}} .

The drift ``z`` asks whether the law of the ensemble still moves; the same is asked of the second
moment, since a run may spread long after
its mean has settled.  Split :math:`\hat R` asks another
question: whether one chain alone has seen the whole law.  Many short chains can be stationary with
:math:`\hat R` far above 1; averages over chains are then right, averages along one chain are not.

No test proves stationarity.  A drift slower than the record looks like none: compare the record
with the slowest relaxation time.

References: [GelmanRubin1992]_, [Vehtari2021]_ for the split form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy import stats

from fracsde._check import real
from fracsde.errors import RecordError
from fracsde.estimators.autocovariance import centre_of, chain_means
from fracsde.estimators.chains import (
    MIN_CHAINS,
    as_trajectory,
    coordinate_names,
    from_chains,
    measured,
    named,
)
from fracsde.estimators.correlation_times import correlation_times
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.records.measurement import Measurement, Quantity

__all__ = ["StationarityCheck", "check_stationary", "split_r_hat", "stationarity"]

_MIN_DRAWS = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class StationarityCheck:
    """A verdict on stationarity.

    Parameters
    ----------
    stationary : bool
        Whether no drift was seen at the stated level.
    sentence : str
        The verdict in words.
    drift : Measurement
        Second-half minus first-half mean of every coordinate [x].
    spread_drift : Measurement
        The same of the squared distance to the mean [x^2].
    z : (2, coordinate) ndarray of float64 [1]
        Both in standard errors.
    limit : (2, coordinate) ndarray of float64 [1]
        The largest allowed size of each.
    r_hat : (coordinate,) ndarray of float64 [1]
        Split R-hat.
    """

    citation: ClassVar[tuple[str, ...]] = ("GelmanRubin1992", "Vehtari2021")

    stationary: bool
    sentence: str
    drift: Measurement
    spread_drift: Measurement
    z: FloatArray
    limit: FloatArray
    r_hat: FloatArray


def stationarity(
    trajectory: Trajectory | ArrayLike, *, quantity: Quantity | None = None
) -> Measurement:
    """Measure how far the mean of the second half lies from that of the first.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        At least 20 draws.  With 16 chains or more the error is the spread across chains; with
        fewer, the draws must be equally spaced, or windows of such, and each half hold 50
        autocorrelation times.
    quantity : Quantity, optional
        Name and labels of the result, ``"drift between halves"`` if not given.

    Returns
    -------
    Measurement
        Zero within its error for a stationary run.

    Raises
    ------
    RecordError
        If there are too few draws or a coordinate is constant.

    Examples
    --------
    >>> noise = np.random.default_rng(5).standard_normal((32, 100, 1))
    >>> still = stationarity(noise)
    >>> moving = stationarity(noise + np.linspace(0, 3, 100)[:, None])
    >>> bool(abs(still.value[0]) < 4 * still.stderr[0] < moving.value[0])
    True
    """
    run = as_trajectory(trajectory)
    label = named(quantity, "drift between halves", "weight", coordinate_names(run))
    first, second = _halves(run)
    if run.chains >= MIN_CHAINS:
        moved = chain_means(second) - chain_means(first)
        return from_chains(moved, quantity=label, method=f"spread across {run.chains} chains")
    early, late = correlation_times(first), correlation_times(second)
    value = centre_of(second, None) - centre_of(first, None)
    stderr = np.hypot(early.stderr_of_mean, late.stderr_of_mean)
    replicas = np.minimum(early.replicas, late.replicas)
    return measured(label, value, stderr, replicas, "autocorrelation time of each half")


def split_r_hat(trajectory: Trajectory | ArrayLike) -> FloatArray:
    """Compare means of half-chains with the variance inside them.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        At least 20 draws; a single chain is compared with itself.

    Returns
    -------
    (coordinate,) ndarray of float64 [1]
        1 for chains that each explore the whole law.

    Raises
    ------
    RecordError
        If there are too few draws, or a coordinate never varies inside a chain.

    Examples
    --------
    >>> noise = np.random.default_rng(5).standard_normal((4, 1000, 1))
    >>> bool(split_r_hat(noise)[0] < 1.01)
    True
    """
    run = as_trajectory(trajectory)
    halves = _halves(run)
    means = np.concatenate([chain_means(half) for half in halves])
    inside = np.mean([_variance_inside(half) for half in halves], axis=0)
    if not np.all(inside > 0):
        name = coordinate_names(run)[int(np.argmin(inside > 0))]
        msg = f"coordinate {name!r} never varies inside a chain; drop constant coordinates"
        raise RecordError(msg)
    draws = halves[0].draws
    ratio = means.var(axis=0, ddof=1) / inside
    return np.asarray(np.sqrt((draws - 1.0) / draws + ratio), dtype=np.float64)


def check_stationary(
    trajectory: Trajectory | ArrayLike, *, level: float = 1e-3, r_hat_limit: float = 1.05
) -> StationarityCheck:
    """Judge whether a run has settled.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        At least 20 draws.
    level : float [1]
        Chance of calling a stationary run drifting, over all coordinates and both moments.
    r_hat_limit : float [1]
        Split R-hat above which the sentence warns that single chains have not seen the whole law;
        the verdict does not depend on it.

    Returns
    -------
    StationarityCheck

    Raises
    ------
    RecordError
        If there are too few draws or a coordinate is constant.

    Examples
    --------
    >>> noise = np.random.default_rng(5).standard_normal((32, 100, 2))
    >>> check_stationary(noise).stationary
    True
    """
    run = as_trajectory(trajectory)
    level = real("level", level, low=0.0, high=1.0)
    drift = stationarity(run)
    squares = Trajectory(
        values=np.square(run.values - centre_of(run, None)), times=run.times, names=run.names
    )
    label = named(None, "drift of the squared distance", "weight^2", coordinate_names(run))
    spread = stationarity(squares, quantity=label)
    z = np.stack([drift.value / drift.stderr, spread.value / spread.stderr])
    degrees = np.stack([drift.n_effective, spread.n_effective]) - 1.0
    limit = np.asarray(stats.t.isf(0.5 * level / z.size, degrees), dtype=np.float64)
    r_hat = split_r_hat(run)
    over = np.abs(z) / limit
    settled = bool(np.all(over <= 1.0))
    moment, k = np.unravel_index(int(np.argmax(over)), over.shape)
    sentence = _sentence(
        settled,
        ("mean", "spread")[int(moment)],
        coordinate_names(run)[int(k)],
        float(z[moment, k]),
        float(limit[moment, k]),
    )
    if np.any(r_hat > r_hat_limit):
        sentence += (
            f"  Split R-hat reaches {r_hat.max():.3g}: one chain alone has not seen the whole law, "
            "so trust averages over chains and not along one."
        )
    return StationarityCheck(
        stationary=settled,
        sentence=sentence,
        drift=drift,
        spread_drift=spread,
        z=z,
        limit=limit,
        r_hat=r_hat,
    )


def _sentence(settled: bool, moment: str, name: str, z: float, limit: float) -> str:
    if settled:
        return (
            f"No drift seen between the halves: the largest, of the {moment} of coordinate {name!r}"
            f", is {abs(z):.2f} standard errors where {limit:.2f} are allowed."
        )
    return (
        f"The {moment} of coordinate {name!r} moves by {abs(z):.2f} standard errors between the "
        f"halves, more than the {limit:.2f} allowed: drop a longer start or run longer."
    )


def _halves(run: Trajectory) -> tuple[Trajectory, Trajectory]:
    # Return both halves, without the middle draw of an odd number.
    if run.draws < _MIN_DRAWS:
        msg = (
            f"a check of stationarity needs at least {_MIN_DRAWS} draws, got {run.draws}; record "
            "more often or longer"
        )
        raise RecordError(msg)
    half = run.draws // 2
    first, second = run.values[:, :half], run.values[:, -half:]
    return (
        Trajectory(values=first, times=run.times[:half], names=run.names),
        Trajectory(values=second, times=run.times[-half:], names=run.names),
    )


def _variance_inside(half: Trajectory) -> FloatArray:
    return np.asarray(half.values.var(axis=1, ddof=1).mean(axis=0), dtype=np.float64)

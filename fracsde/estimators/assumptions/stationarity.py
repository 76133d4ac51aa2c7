r"""Whether the run has settled: drifts of mean and variance between the halves of a record.

.. math::
    e_m = \frac{\bar x_2 - \bar x_1}{s}, \qquad e_v = \frac{s_2^2 - s_1^2}{s^2},
    \qquad s^2 = \tfrac12 (s_1^2 + s_2^2),

with means :math:`\bar x_i` and variances :math:`s_i^2` of the two halves of the record.  A drift of
the mean by :math:`e_m` inflates the variance of the whole record by :math:`e_m^2/4`, 1 % at the
tolerance of 0.2; a drift of the variance by :math:`e_v` puts that of the whole record off by
:math:`e_v / 2` from that of the later half, 5 % at the tolerance of 0.1.

:func:`fracsde.estimators.check_stationary` asks whether a drift is *seen*, this whether it
*matters*.  Neither sees a drift slower than the record: compare the record with the slowest
relaxation time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.estimators.assumptions._deciding import LEVEL, decide, joined, positive_tolerance
from fracsde.estimators.autocovariance import centre_of
from fracsde.estimators.chains import as_trajectory, coordinate_names
from fracsde.estimators.diagnostics import stationarity
from fracsde.records.measurement import Measurement, Quantity
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.records.assumption import AssumptionTest

__all__ = ["stationarity_of"]

NAME = "stationarity"
QUESTION = "Do mean and variance stay the same from the first half of the record to the second?"
MEAN, VARIANCE = 0.2, 0.1


def stationarity_of(
    trajectory: Trajectory | ArrayLike,
    *,
    mean: float = MEAN,
    variance: float = VARIANCE,
    level: float = LEVEL,
) -> AssumptionTest:
    """Ask whether mean and variance drift by more than what matters.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        At least 20 draws.
    mean : float [1]
        Largest drift of the mean between halves, in standard deviations, that does not matter.
    variance : float [1]
        Largest relative drift of the variance that does not matter.
    level : float [1]
        Two-sided level of all intervals together.

    Returns
    -------
    AssumptionTest

    Raises
    ------
    RecordError
        If there are too few draws, a coordinate is constant, or there are fewer than 16 chains and
        a half holds fewer than 50 autocorrelation times.

    Examples
    --------
    >>> noise = np.random.default_rng(5).standard_normal((32, 2000, 1))
    >>> stationarity_of(noise).verdict.name
    'HOLDS'
    >>> stationarity_of(noise + np.linspace(0, 2, 2000)[:, None]).verdict.name
    'FAILS'
    """
    run = as_trajectory(trajectory)
    moved = positive_tolerance("mean", mean)
    spread = positive_tolerance("variance", variance)
    drift = stationarity(run)
    inner, variances = _about_halves(run)
    growth = stationarity(inner)
    scale = 0.5 * (variances[0] + variances[1])
    names = coordinate_names(run)
    effects = joined(
        [
            _scaled(drift, np.sqrt(scale), "drift of the mean of {!r} in deviations", names),
            _scaled(growth, scale, "relative drift of the variance of {!r}", names),
        ]
    )
    return decide(
        effects,
        name=NAME,
        question=QUESTION,
        tolerances=[moved] * len(names) + [spread] * len(names),
        level=level,
        consequence="drop a longer start, or run longer than the slowest relaxation time",
        method="second half minus first half",
    )


def _about_halves(run: Trajectory) -> tuple[Trajectory, tuple[FloatArray, FloatArray]]:
    # Squares of the distance to the mean of each half; the middle of an odd record is dropped.
    half = run.draws // 2
    squares, variances = [], []
    for part in (slice(None, half), slice(run.draws - half, None)):
        piece = Trajectory(values=run.values[:, part], times=run.times[part], names=run.names)
        squares.append(np.square(piece.values - centre_of(piece, None)))
        variances.append(np.asarray(squares[-1].mean(axis=(0, 1)), dtype=np.float64))
    times = np.concatenate([run.times[:half], run.times[run.draws - half :]])
    values = np.concatenate(squares, axis=1)
    if run.draws % 2:  # equal spacing matters to few chains, the exact middle to none
        times = run.times[: 2 * half]
    return Trajectory(values=values, times=times, names=run.names), (variances[0], variances[1])


def _scaled(
    found: Measurement, scale: FloatArray, words: str, names: tuple[str, ...]
) -> Measurement:
    return Measurement(
        quantity=Quantity(name="effect", labels=tuple(words.format(name) for name in names)),
        value=found.value / scale,
        stderr=found.stderr / scale,
        n_effective=found.n_effective,
        method=found.method,
    )

r"""How heavy the tails of a run are: Hill's estimator.

With the ``k`` largest of ``n`` distances :math:`|x - c|` and the next one, the
threshold ``u``,

.. math::
    \frac1{\hat\alpha} = \frac1k \sum_{t} \bigl(\log|x_t - c| - \log u\bigr)_+ , \qquad
    \mathrm{se}^2(\hat\alpha) = \hat\alpha^4\,
    \frac{\operatorname{Var} \sum_t \psi_t}{k^2}, \qquad
    \psi_t = \Bigl(\log\frac{|x_t - c|}{u}\Bigr)_+ - \frac{1}{\hat\alpha}\,[\,|x_t - c| > u\,],

which is :math:`\hat\alpha/\sqrt k` for independent draws.  Those of a run are not: large values
come in clusters.  The variance of :math:`\sum \psi` is therefore taken from the spread across
chains, or along a few long ones from the autocorrelation time of :math:`\psi` [Hsing1991]_.

**How many.**  The logarithms' gaps :math:`Z_i = i\,(\log x_{(i)} - \log x_{(i+1)})` are independent
exponentials where the tail is a power law, and drift where it ceases to be one.  The drift is
seen in

.. math::
    T_k = \sqrt{\frac{12}{k}}\, \sum_{i\le k} \frac{Z_i}{\bar Z}
    \Bigl(\frac ik - \frac{k+1}{2k}\Bigr),

normal for a power law and independent draws; :math:`T_k` is divided by the root of the clustering
below.  With :math:`k^*` the least number from which :math:`|T_k| > 2` until :math:`2 k^*` (or all),
the rule takes :math:`k = k^*/8`, at least 20.  Where the drift can just be seen the bias is about
two standard errors; with an eighth of the values the error is thrice as large and the bias, which
falls like a power of ``k``, a fraction of it.  Light tails hide behind their beginning: at 20,000
draws of Student's law with 3 degrees of freedom the intervals hold, with 6 the estimate is a fifth
too low.

Not here: the index from sums of vectors, :mod:`fracsde.estimators.stable_sums`; the index a theory
predicts, :mod:`fracsde.tails`.

References: [Hill1975]_, [Hsing1991]_.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import choice, integer, vector
from fracsde.errors import RecordError
from fracsde.estimators.autocorrelation import correlation_times
from fracsde.estimators.chains import (
    MIN_CHAINS,
    as_trajectory,
    coordinate_names,
    jackknife_error,
    leave_one_out_means,
    measured,
    named,
)
from fracsde.records.measurement import Measurement
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.records.measurement import Quantity

__all__ = ["HillCurve", "TailMeasurement", "hill", "hill_curve"]

_FEWEST = 20  # exceedances below which an index has no usable error
_DRIFT = 2.0
_LASTING = 2.0  # factor of k over which a drift must be seen to be believed
_SHARE = 8  # part that the rule takes of what looks like a power law
_TAILS = ("both", "upper", "lower")


@dataclass(frozen=True, kw_only=True, eq=False)
class TailMeasurement(Measurement):
    """Measured tail indices with the thresholds they belong to.

    Parameters
    ----------
    exceedances : (size,) int64
        ``k``, values above the threshold, for each coordinate.
    threshold : (size,) float64 [x]
        ``u``, distance from the centre.
    clustering : (size,) float64 [1]
        Square of the standard error over that of independent draws: above 1 where large values
        come in clusters.
    """

    citation: ClassVar[tuple[str, ...]] = ("Hill1975", "Hsing1991")

    exceedances: IntArray
    threshold: FloatArray
    clustering: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class HillCurve:
    """Hill's estimate against the number of values it uses: flat where the tail is a power law.

    Parameters
    ----------
    exceedances : (m,) int64
        ``k``, growing.
    value : (m,) float64 [1]
        The estimates.
    stderr : (m,) float64 [1]
        ``value / sqrt(k)``, for independent draws.
    threshold : (m,) float64 [x]
        Distances from the centre.
    chosen : int
        What the rule takes.
    """

    exceedances: IntArray
    value: FloatArray
    stderr: FloatArray
    threshold: FloatArray
    chosen: int


def hill(
    source: Trajectory | ArrayLike,
    *,
    k: int | None = None,
    tail: str = "both",
    about: ArrayLike | None = None,
    quantity: Quantity | None = None,
) -> TailMeasurement:
    """Measure the tail index of every coordinate.

    Parameters
    ----------
    source : Trajectory or (chain, draw, coordinate) array_like [x]
        A stationary run.
    k : int, optional
        How many of the largest values take part, from 20; by default a rule chooses for each
        coordinate, see :mod:`fracsde.estimators.tail_index`.
    tail : {"both", "upper", "lower"}
        Large distances from the centre on both sides, above it, or below.
    about : (coordinate,) array_like or float, optional [x]
        The centre ``c``; the median if not given.
    quantity : Quantity, optional
        Name and labels of the result, ``"tail index"`` if not given.

    Returns
    -------
    TailMeasurement

    Raises
    ------
    RecordError
        If there are too few values, a coordinate is constant, or many values are equal.

    References
    ----------
    [Hill1975]_, [Hsing1991]_

    Examples
    --------
    >>> draws = np.random.default_rng(1).pareto(3.0, (32, 1000, 1)) + 1.0
    >>> m = hill(draws, tail="upper", about=0.0)
    >>> bool(abs(m.value[0] - 3.0) < 4 * m.stderr[0])
    True
    """
    run = as_trajectory(source)
    names = coordinate_names(run)
    choice("tail", tail, _TAILS)
    distances = _distances(run, tail, about)
    found = [_one(run, distances[..., i], k, name) for i, name in enumerate(names)]
    value, stderr, windows, used, threshold = (
        np.array(column) for column in zip(*found, strict=True)
    )
    label = named(quantity, "tail index", "1", names)
    chains = run.chains >= MIN_CHAINS
    across = f"spread across {run.chains} chains" if chains else "autocorrelation of exceedances"
    plain = measured(label, value, stderr, windows, f"Hill, {across}")
    return TailMeasurement(
        quantity=label,
        value=plain.value,
        stderr=plain.stderr,
        n_effective=plain.n_effective,
        method=plain.method,
        exceedances=used.astype(np.int64),
        threshold=threshold,
        clustering=np.square(stderr / value) * used,
    )


def hill_curve(
    source: Trajectory | ArrayLike,
    coordinate: int = 0,
    *,
    tail: str = "both",
    about: ArrayLike | None = None,
    points: int = 200,
) -> HillCurve:
    """Follow Hill's estimate as the threshold falls, to see where the tail begins.

    Parameters
    ----------
    source : Trajectory or (chain, draw, coordinate) array_like [x]
        A stationary run.
    coordinate : int
        Which one.
    tail : {"both", "upper", "lower"}
        As in :func:`hill`.
    about : (coordinate,) array_like or float, optional [x]
        The centre; the median if not given.
    points : int
        About how many numbers of values, logarithmically spaced.

    Returns
    -------
    HillCurve

    Raises
    ------
    RecordError
        If there are too few values, or the coordinate is constant.

    Examples
    --------
    >>> draws = np.random.default_rng(1).pareto(3.0, (1, 5000, 1)) + 1.0
    >>> curve = hill_curve(draws, tail="upper", about=0.0)
    >>> bool(abs(curve.value[-1] - 3.0) < 4 * curve.stderr[-1])
    True
    """
    run = as_trajectory(source)
    place = integer("coordinate", coordinate, low=0, high=run.dimension - 1)
    choice("tail", tail, _TAILS)
    distances = _distances(run, tail, about)[..., place]
    logs, gaps = _sorted(distances, coordinate_names(run)[place])
    count = integer("points", points, low=2)
    used = np.unique(np.geomspace(_FEWEST, len(gaps), count).astype(np.int64))
    gamma = np.cumsum(gaps)[used - 1] / used
    value = np.divide(1.0, gamma, out=np.full(len(used), np.inf), where=gamma > 0.0)
    return HillCurve(
        exceedances=used,
        value=value,
        stderr=value / np.sqrt(used),
        threshold=np.exp(logs[used]),
        chosen=_rule(gaps),
    )


def _distances(run: Trajectory, tail: str, about: ArrayLike | None) -> FloatArray:
    # Distances from the centre on the side asked for, zero on the other.
    if about is None:
        centre = np.median(run.values.reshape(-1, run.dimension), axis=0)
    else:
        centre = vector("about", about, length=run.dimension)
    signed = run.values - centre
    if tail == "both":
        return np.abs(signed)
    return np.maximum(signed if tail == "upper" else -signed, 0.0)


def _one(
    run: Trajectory, distances: FloatArray, k: int | None, name: str
) -> tuple[float, float, float, int, float]:
    # Index, standard error, independent values behind it, exceedances, threshold.
    logs, gaps = _sorted(distances, name)
    with np.errstate(divide="ignore"):
        log_distances = np.log(distances)

    def at(used: int) -> tuple[float, float, float, int, float]:
        gamma = float(gaps[:used].mean())
        _refuse_ties(gamma, name)
        excess = np.maximum(log_distances - logs[used], 0.0)
        error, windows = _error(run, excess, gamma, name)
        return 1.0 / gamma, error / gamma**2, windows, used, float(np.exp(logs[used]))

    if k is not None:
        return at(_checked(k, len(gaps)))
    first = at(_rule(gaps))
    clustering = first[3] * (first[1] / first[0]) ** 2
    return at(_rule(gaps, clustering)) if clustering > 1.0 else first


def _sorted(distances: FloatArray, name: str) -> tuple[FloatArray, FloatArray]:
    # Logarithms in falling order, and their normalised gaps Z_1, Z_2, ...
    positive = distances[distances > 0.0]
    if positive.size <= _FEWEST:
        msg = (
            f"coordinate {name!r} has {positive.size} values away from its centre, a tail index "
            f"needs more than {_FEWEST}; record more draws, or drop constant coordinates"
        )
        raise RecordError(msg)
    logs = np.log(-np.sort(-positive))
    return logs, -np.diff(logs) * np.arange(1, len(logs))


def _rule(gaps: FloatArray, clustering: float = 1.0) -> int:
    # A part of the first k from which the gaps drift for long.
    most = len(gaps)
    ladder = np.unique(np.geomspace(min(_FEWEST * _SHARE, most), most, 100).astype(np.int64))
    total = np.cumsum(gaps)[ladder - 1]
    moment = np.cumsum(np.arange(1, most + 1) * gaps)[ladder - 1]
    lean = moment / ladder - 0.5 * total * (ladder + 1) / ladder
    mean = np.maximum(total / ladder, np.finfo(np.float64).tiny)
    seen = np.abs(lean) / mean * np.sqrt(12.0 / (ladder * clustering)) > _DRIFT
    ends = np.searchsorted(ladder, ladder * _LASTING, side="right")
    believed = (i for i in np.flatnonzero(seen) if seen[i : ends[i]].all())
    last = int(ladder[next(believed, -1)])
    return max(_FEWEST, last // _SHARE)


def _checked(k: int, most: int) -> int:
    remedy = f"the record holds {most + 1} values away from the centre"
    return integer("k", k, low=_FEWEST, high=most, remedy=remedy)


def _refuse_ties(gamma: float, name: str) -> None:
    if not gamma > 0.0:
        msg = (
            f"the largest values of coordinate {name!r} are all equal, so it has no tail; the "
            "record may be clipped or rounded"
        )
        raise RecordError(msg)


def _error(run: Trajectory, excess: FloatArray, gamma: float, name: str) -> tuple[float, float]:
    # Standard error of gamma and the independent values behind it.
    above = excess > 0.0
    if run.chains >= MIN_CHAINS:
        sums, counts = excess.sum(axis=1), above.sum(axis=1).astype(np.float64)
        left = leave_one_out_means(counts)
        if not left.min() > 0.0:
            msg = (
                f"all large values of coordinate {name!r} lie in one chain, which gives no error; "
                "raise `k` or run more chains"
            )
            raise RecordError(msg)
        return float(jackknife_error(leave_one_out_means(sums) / left)), float(run.chains)
    influence = np.where(above, excess - gamma, 0.0)[..., None]
    series = Trajectory(values=influence, times=run.times)
    times = correlation_times(series, 0.0, names=(name,))
    _ = run.spacing
    share = float(above.mean())
    # Exceedances, not draws, are what an error can be read from.
    windows = min(float(times.replicas[0]), float(above.sum()))
    return float(times.stderr_of_mean[0]) / share, windows

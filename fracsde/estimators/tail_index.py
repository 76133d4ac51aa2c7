r"""How heavy the tails of a run are: Hill's estimator, its bias removed.

With the logarithms :math:`\ell_1 \ge \ell_2 \ge \dots` of the distances :math:`|x - c|` in falling
order and the threshold :math:`\log u = \ell_{k+1}`,

.. math::
    \frac{1}{\hat\alpha} = \frac1k \sum_{i \le k} w\!\left(\tfrac ik\right) Z_i,
    \qquad Z_i = i\,(\ell_i - \ell_{i+1}),
    \qquad w(x) = 1 \ \text{(Hill)} \quad\text{or}\quad
    w(x) = A - (A - 1)(1 + s)\,x^s, \quad A = \Bigl(\frac{1 + s}{s}\Bigr)^2 .

The gaps :math:`Z_i` are independent exponentials of mean :math:`\gamma = 1/\alpha` where the tail
is a power law.  Where it is one in the limit only, their mean is :math:`\gamma + b\,(i/k)^{s}`,
with :math:`s = 2/\nu` for Student's law of index :math:`\nu`, and Hill's average is biased.  The
second weight is the intercept of a regression of :math:`Z_i` on :math:`(i/k)^s`
[Beirlant1999]_, with :math:`A` times the variance of Hill's average.  A record does not show
:math:`s`; what it shows is that lighter tails begin later.  The rule takes :math:`s` as
:math:`8/5` of Hill's own average, which is too large by a quarter or so where the tail begins as
Student's does, and keeps it in :math:`2/5 \le s \le 2/3`.  The price is 2.5 times Hill's error at
the same ``k`` for tails as heavy as :math:`\nu = 3`, and 3.5 times for :math:`\nu = 5`.

**Errors.**  A value that is the ``i``-th largest moves the estimate by :math:`\psi_i / k`, with
:math:`v = (x w)'` and the fitted mean :math:`h` of the gaps at the threshold,

.. math::
    \psi_i = \sum_{j = i}^{k} v\!\left(\tfrac jk\right) \frac{Z_j}{j} - w(1)\,h ,

for Hill's weight simply :math:`\psi = \log(|x - c| / u) - \gamma`.  Draws of a run are not
independent: large values come in clusters.  The variance of :math:`\sum \psi` is therefore taken
from the spread across chains, or along a few long ones from the autocorrelation time of
:math:`\psi` [Hsing1991]_.

**How many.**  A drift of the gaps is seen in

.. math::
    T_k = \sqrt{\frac{12}{k}}\, \sum_{i\le k} \frac{Z_i}{\bar Z}
    \Bigl(\frac ik - \frac{k+1}{2k}\Bigr),

normal for a power law and independent draws; :math:`T_k` is divided by the root of the
clustering.  With :math:`k^*` the least number from which :math:`|T_k| > 2` until :math:`2 k^*` (or
all), the rule takes :math:`k = k^*/2`, at least 100, and the second weight: where the drift can
just be seen, what is left of the bias is less than the error of the intercept, and at half of
:math:`k^*` about half of it.  A given ``k`` is used as it is, with Hill's own weight:
then the interval is that of the tail *at that threshold*, bias included.  Tails that show no power
law within the error, bounded ones for instance, are refused; a Gaussian one is either refused or
shows a large index.

Not here: the index from sums of vectors, :mod:`fracsde.estimators.stable_sums`; the index a theory
predicts, :mod:`fracsde.tails`.

References: [Hill1975]_, [Hsing1991]_, [Beirlant1999]_.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import choice, integer, vector
from fracsde.errors import RecordError
from fracsde.estimators.chains import (
    MIN_CHAINS,
    as_trajectory,
    coordinate_names,
    freedom_of,
    measured,
    named,
)
from fracsde.estimators.correlation_times import correlation_times
from fracsde.estimators.tail_gaps import (
    FEWEST,
    FEWEST_FITTED,
    average,
    intercept,
    rule,
    sorted_gaps,
)
from fracsde.records.measurement import Measurement
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, BoolArray, FloatArray, IntArray
    from fracsde.records.measurement import Quantity

    # Of the gaps: 1 / index, influences of the values, and the variance over that of an average.
    _Estimate = Callable[[FloatArray], tuple[float, FloatArray, float]]

__all__ = ["HillCurve", "TailMeasurement", "hill", "hill_curve"]

_SURE = 2.0  # standard errors by which 1 / index must exceed zero
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

    citation: ClassVar[tuple[str, ...]] = ("Hill1975", "Hsing1991", "Beirlant1999")

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
        How many of the largest values take part in Hill's average, from 20.  By default a rule
        chooses for each coordinate and the bias is removed, see
        :mod:`fracsde.estimators.tail_index`.
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
        If there are too few values, a coordinate is constant, many values are equal, or no power
        law is seen.

    References
    ----------
    [Hill1975]_, [Hsing1991]_, [Beirlant1999]_

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
    label = named(quantity, "tail index", "1", names)
    distances = _distances(run, tail, about)
    found = [_one(run, distances[..., i], k, name) for i, name in enumerate(names)]
    value, stderr, windows, used, threshold, price = (
        np.array(column) for column in zip(*found, strict=True)
    )
    chains = run.chains >= MIN_CHAINS
    across = f"spread across {run.chains} chains" if chains else "autocorrelation of exceedances"
    how = "Hill" if k is not None else "Hill, bias removed"
    plain = measured(label, value, stderr, windows, f"{how}, {across}")
    return TailMeasurement(
        quantity=label,
        value=plain.value,
        stderr=plain.stderr,
        n_effective=plain.n_effective,
        method=plain.method,
        exceedances=used.astype(np.int64),
        threshold=threshold,
        clustering=np.square(stderr / value) * used / price,
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
    logs, gaps = sorted_gaps(distances, coordinate_names(run)[place])
    count = integer("points", points, low=2)
    used = np.unique(np.geomspace(FEWEST, len(gaps), count).astype(np.int64))
    gamma = np.cumsum(gaps)[used - 1] / used
    value = np.divide(1.0, gamma, out=np.full(len(used), np.inf), where=gamma > 0.0)
    return HillCurve(
        exceedances=used,
        value=value,
        stderr=value / np.sqrt(used),
        threshold=np.exp(logs[used]),
        chosen=rule(gaps),
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
) -> tuple[float, float, float, int, float, float]:
    # Index, standard error, independent values behind it, exceedances, threshold, and `_Estimate`'s
    # variance.
    logs, gaps = sorted_gaps(distances, name)
    with np.errstate(divide="ignore"):
        log_distances = np.log(distances)

    def at(used: int, estimate: _Estimate) -> tuple[float, float, float, int, float, float]:
        _refuse_ties(float(gaps[:used].mean()), name)
        gamma, influence, price = estimate(gaps[:used])
        # Ranks from 0; what lies at the threshold or below has none.
        rank = np.searchsorted(-logs[: used + 1], -log_distances)
        moved = np.append(influence, 0.0)[np.minimum(rank, used)]
        error, windows = _error(run, moved, rank < used, name)
        _refuse_thin(gamma, error, name)
        return 1.0 / gamma, error / gamma**2, windows, used, float(np.exp(logs[used])), price

    if k is not None:
        return at(_checked(k, len(gaps)), average)
    if len(gaps) < FEWEST_FITTED:
        msg = (
            f"coordinate {name!r} has {len(gaps) + 1} values away from its centre, a tail index "
            f"without bias needs more than {FEWEST_FITTED}; record more draws, or pass `k`"
        )
        raise RecordError(msg)
    first = at(rule(gaps), intercept)
    clustering = first[3] * (first[1] / first[0]) ** 2 / first[5]
    return at(rule(gaps, clustering), intercept) if clustering > 1.0 else first


def _checked(k: int, most: int) -> int:
    remedy = f"the record holds {most + 1} values away from the centre"
    return integer("k", k, low=FEWEST, high=most, remedy=remedy)


def _refuse_ties(gamma: float, name: str) -> None:
    if not gamma > 0.0:
        msg = (
            f"the largest values of coordinate {name!r} are all equal, so it has no tail; the "
            "record may be clipped or rounded"
        )
        raise RecordError(msg)


def _refuse_thin(gamma: float, error: float, name: str) -> None:
    if not gamma > _SURE * error:
        msg = (
            f"the tail of coordinate {name!r} shows no power law: 1/index is {gamma:.3g} with an "
            f"error of {error:.2g}; it may be as thin as a Gaussian one, or the record too short"
        )
        raise RecordError(msg)


def _error(
    run: Trajectory, influence: FloatArray, above: BoolArray, name: str
) -> tuple[float, float]:
    # Standard error of gamma and the independent values behind it.
    count = float(above.sum())
    if run.chains >= MIN_CHAINS:
        if not above.sum(axis=1).max() < count:
            msg = (
                f"all large values of coordinate {name!r} lie in one chain, which gives no error; "
                "raise `k` or run more chains"
            )
            raise RecordError(msg)
        sums = influence.sum(axis=1)
        return float(sums.std(ddof=1)) * run.chains**0.5 / count, float(freedom_of(sums))
    series = Trajectory(values=influence[..., None], times=run.times)
    times = correlation_times(series, 0.0, names=(name,))
    _ = run.spacing
    # Exceedances, not draws, are what an error can be read from.
    windows = min(float(times.replicas[0]), count)
    return float(times.stderr_of_mean[0]) * influence.size / count, windows

r"""Gaps between the logarithms of the largest values, from which tail indices are estimated.

.. math::
    Z_i = i\,(\ln X_{(i)} - \ln X_{(i+1)}),

exponential of mean ``1 / index`` where the tail is a power law.  What is made of them, and why, is
said in :mod:`fracsde.estimators.tail_index`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import RecordError

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["FEWEST", "FEWEST_FITTED", "average", "intercept", "rule", "sorted_gaps"]

FEWEST = 20
"""Exceedances below which an index has no usable error."""
FEWEST_FITTED = 100
"""Exceedances from which an intercept is fitted."""
_DRIFT = 2.0
_LASTING = 2.0  # factor of k over which a drift must be seen to be believed
_SHARE = 2  # part that the rule takes of what looks like a power law
_LATER = 1.6  # power of the drift over Hill's average
_POWERS = (0.4, 2.0 / 3.0)  # and its range: that of Student's laws of index 5 and 3


def intercept(gaps: FloatArray) -> tuple[float, FloatArray, float]:
    """Return the mean gap at rank 0 by regression on ``x^s``.

    Returns
    -------
    float
        One over the index.
    (k,) ndarray of float64
        What the i-th largest value adds to it.
    float
        Its variance over that of Hill's average.
    """
    used, hill_average = len(gaps), float(gaps.mean())
    s = min(max(_LATER * hill_average, _POWERS[0]), _POWERS[1])
    price = ((1.0 + s) / s) ** 2
    lean = (price - 1.0) * (1.0 + s)
    ranks = np.arange(1.0, used + 1.0)
    power = (ranks / used) ** s
    gamma = float(((price - lean * power) * gaps).mean())
    at_threshold = gamma + (1.0 + s) * (hill_average - gamma)
    steps = (price - lean * (1.0 + s) * power) * gaps / ranks
    return gamma, np.cumsum(steps[::-1])[::-1] + (lean - price) * at_threshold, price


def average(gaps: FloatArray) -> tuple[float, FloatArray, float]:
    """Return the mean gap, Hill's estimate, and as :func:`intercept` what adds to it.

    Returns
    -------
    tuple of float, (k,) ndarray of float64, and float
    """
    gamma = float(gaps.mean())
    sums = np.cumsum((gaps / np.arange(1.0, len(gaps) + 1.0))[::-1])[::-1]
    return gamma, sums - gamma, 1.0


def sorted_gaps(distances: FloatArray, name: str) -> tuple[FloatArray, FloatArray]:
    """Return logarithms in falling order, and their normalised gaps.

    Returns
    -------
    tuple of (n,) and (n - 1,) ndarray of float64

    Raises
    ------
    RecordError
        If there are too few.
    """
    positive = distances[distances > 0.0]
    if positive.size <= FEWEST:
        msg = (
            f"coordinate {name!r} has {positive.size} values away from its centre, a tail index "
            f"needs more than {FEWEST}; record more draws, or drop constant coordinates"
        )
        raise RecordError(msg)
    logs = np.log(-np.sort(-positive))
    return logs, -np.diff(logs) * np.arange(1, len(logs))


def rule(gaps: FloatArray, clustering: float = 1.0) -> int:
    """Return how many gaps to use: a part of the first ``k`` from which they drift for long.

    Returns
    -------
    int
    """
    most = len(gaps)
    ladder = np.unique(np.geomspace(min(FEWEST_FITTED, most), most, 100).astype(np.int64))
    total = np.cumsum(gaps)[ladder - 1]
    moment = np.cumsum(np.arange(1, most + 1) * gaps)[ladder - 1]
    lean = moment / ladder - 0.5 * total * (ladder + 1) / ladder
    mean = np.maximum(total / ladder, np.finfo(np.float64).tiny)
    seen = np.abs(lean) / mean * np.sqrt(12.0 / (ladder * clustering)) > _DRIFT
    ends = np.searchsorted(ladder, ladder * _LASTING, side="right")
    believed = (i for i in np.flatnonzero(seen) if seen[i : ends[i]].all())
    last = int(ladder[next(believed, -1)])
    return min(max(FEWEST_FITTED, last // _SHARE), most)

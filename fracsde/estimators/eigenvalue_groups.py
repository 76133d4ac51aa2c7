r"""Means of eigenvalues of a covariance that are not told apart.

A sample does not say how eigenvalues within their noise are ordered, but it does say what their
mean is: with :math:`P` the projection on the span of a group :math:`G` of sample directions,

.. math::
    \bar\lambda_G = \frac1{|G|} \operatorname{tr} P\,\hat\Sigma
    - \frac1{|G|} \sum_{i \in G}\sum_{j \notin G} \frac{s_{ij}^2}{\hat\lambda_i - \hat\lambda_j} ,

a plain average of squares :math:`|P x|^2 / |G|` with the error of one, since a trace does not know
how the axes within the span are turned, and the repulsion of its members cancels.  It is known to
:math:`|G|^{-1/2}` of the error of one eigenvalue, and its interval is as wide as it says whatever
the distances within the group are.

A group ends where everything before is more than :math:`7\,s_{ij}` from everything after.  At
:math:`5\,s_{ij}`, from where one is called resolved, chance splits 4 % of triples of equal ones,
and the parts, chosen for being far from one another, are held in a third to 84 % of cases.

Not here: single eigenvalues (:mod:`fracsde.estimators.eigenvalues`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.estimators.autocovariance import centre_of
from fracsde.estimators.chains import MIN_CHAINS
from fracsde.estimators.correlation_times import correlation_times
from fracsde.estimators.heavy_squares import (
    burden_of_run,
    burden_of_squares,
    lightened,
    sharper,
)
from fracsde.estimators.second_moments import across, along_freedom
from fracsde.records.measurement import Measurement, Quantity
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from fracsde._typing import BoolArray, FloatArray, IntArray

__all__ = ["group_means", "groups_of"]


def groups_of(away: BoolArray) -> tuple[IntArray, int]:
    """Return the group of each eigenvalue: those that are not told apart share one.

    Parameters
    ----------
    away : (k, d) ndarray of bool
        Whether the leading ``k`` of ``d`` ordered eigenvalues are told apart from each.

    Returns
    -------
    (k,) ndarray of int64
        The group of each, from 0.
    int
        How many groups are whole: one less than all if the last goes on beyond the ``k``.

    Examples
    --------
    >>> apart = ~np.array([[0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]], dtype=bool)
    >>> groups_of(apart)
    (array([0, 1, 1, 1]), 2)
    >>> groups_of(apart[:2])
    (array([0, 1]), 1)
    """
    k, d = away.shape
    ends = np.array([bool(away[:i, i:].all()) for i in range(1, k + 1)])
    number = np.concatenate([[0], np.cumsum(ends[:-1])]).astype(np.int64)
    return number, int(ends.sum()) if k < d else int(number[-1]) + 1


def group_means(
    run: Trajectory,
    about: FloatArray | None,
    axes: FloatArray,
    group: IntArray,
    values: FloatArray,
    single: Measurement,
    quantity: Quantity,
) -> Measurement:
    """Measure the mean of each group.

    Parameters
    ----------
    run : Trajectory
        A stationary run.
    about : (coordinate,) ndarray, optional [x]
        The mean, if it is known.
    axes : (coordinate, k) ndarray [1]
        Directions, one per entry of ``group``.
    group : (k,) ndarray of int64
        Of each direction, from 0, in order.
    values : (k,) ndarray of float64 [x^2]
        Eigenvalues of the sample less what those of other groups did to them.
    single : Measurement
        What is stated of groups of one.
    quantity : Quantity
        Of the single eigenvalues, with a label for each.

    Returns
    -------
    Measurement
    """
    count = int(group[-1]) + 1
    members = [np.flatnonzero(group == g) for g in range(count)]
    first = np.array([each[0] for each in members])
    value, stderr = single.value[first], single.stderr[first]
    effective = single.n_effective[first]
    many = [g for g in range(count) if len(members[g]) > 1]
    if many:
        inside = np.concatenate([members[g] for g in many])
        sizes = [len(members[g]) for g in many]
        measure = _across if run.chains >= MIN_CHAINS else _along
        value[many] = [values[members[g]].mean() for g in many]
        stderr[many], effective[many] = measure(run, about, axes[:, inside], np.array(sizes))
    named = [quantity.labels[i] if quantity.labels else str(i + 1) for i in range(len(group))]
    labels = tuple(
        named[each[0]] if len(each) == 1 else f"{named[each[0]]} to {named[each[-1]]}"
        for each in members
    )
    return Measurement(
        quantity=Quantity(name=f"mean {quantity.name}", unit=quantity.unit, labels=labels),
        value=value,
        stderr=stderr,
        n_effective=effective,
        method=f"{single.method}, means of those not told apart",
    )


def _across(
    run: Trajectory, about: FloatArray | None, axes: FloatArray, sizes: IntArray
) -> tuple[FloatArray, FloatArray]:
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def squares(x: FloatArray) -> FloatArray:
        sums = np.add.reduceat(np.square(x).sum(axis=1), starts, axis=-1)
        return np.asarray(sums / sizes, dtype=np.float64)

    _, stderr, effective = across(run, about, squares, axes)
    return stderr, effective


def _along(
    run: Trajectory, about: FloatArray | None, axes: FloatArray, sizes: IntArray
) -> tuple[FloatArray, FloatArray]:
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    turned = Trajectory(values=(run.values - centre_of(run, about)) @ axes, times=run.times)
    squares = np.add.reduceat(np.square(turned.values), starts, axis=2) / sizes
    names = [f"mean square of group {g + 1}" for g in range(len(sizes))]
    times = correlation_times(Trajectory(values=squares, times=run.times), names=names)
    away = squares - squares.mean(axis=(0, 1))
    held = times.count / np.maximum(times.tau, 1.0)
    own = burden_of_squares(np.abs(away).reshape(-1, len(sizes)), held)
    # A mean of squares has a tail no heavier than the heaviest of them.
    each = burden_of_run(turned, np.zeros(turned.dimension), np.repeat(held, sizes))
    bound = np.maximum.reduceat(each, starts)
    return times.stderr_of_mean, lightened(along_freedom(away, times), sharper(own, bound))

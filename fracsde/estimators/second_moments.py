r"""Sums behind covariances: across independent chains, and along correlated draws.

With distances to the pooled mean, :math:`P = \sum_r \bar x_r \bar x_r^T` and the pooled mean of
products :math:`\bar q`,

.. math::
    \hat\Sigma = \bar q + \frac{P}{R(R-1)}, \qquad
    y_r = q_r + \frac{2}{R-2}\,\bar x_r \bar x_r^T,

where the spread of the pseudo-values :math:`y_r` over :math:`\sqrt R` is exactly the
delete-one-chain jackknife error of :math:`\hat\Sigma`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.estimators.autocorrelation import correlation_times
from fracsde.estimators.autocovariance import centre_of
from fracsde.estimators.chains import blocks, coordinate_names
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray, IntArray

__all__ = ["across", "along", "mirrored", "outer_products"]


def outer_products(x: FloatArray) -> FloatArray:
    """Sum the outer products of each chain's draws.

    Returns
    -------
    (chain, d, d) ndarray of float64
    """
    return np.asarray(np.swapaxes(x, 1, 2) @ x, dtype=np.float64)


def across(
    run: Trajectory, about: ArrayLike | None, products: Callable[[FloatArray], FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Average products over chains, with the spread of the jackknife's pseudo-values.

    Returns
    -------
    ndarray, ndarray of float64
        Values and standard errors, of the shape that ``products`` returns for one chain.
    """
    R = run.chains
    centre = centre_of(run, about)
    # Neither the mean of the chains' values nor their spread needs them all in memory: partial
    # means and sums of squared distances are merged as blocks of chains arrive.
    count, average, spread, correction = 0, None, None, None
    for part in blocks(run):
        x = run.values[part] - centre
        values = products(x) / run.draws
        if about is None:
            drift = products(x.mean(axis=1, keepdims=True))
            correction = drift.sum(axis=0) + (0.0 if correction is None else correction)
            values += 2.0 / (R - 2.0) * drift
        size, block_mean = len(values), values.mean(axis=0)
        block_spread = np.square(values - block_mean).sum(axis=0)
        if average is None or spread is None:
            average, spread = block_mean, block_spread
        else:
            step = block_mean - average
            average = average + step * size / (count + size)
            spread = spread + block_spread + np.square(step) * (count * size / (count + size))
        count += size
    assert average is not None and spread is not None  # noqa: PT018 - a record has a chain
    if correction is not None:
        # `average` holds 2 P / (R (R - 2)) too much, and P / (R (R - 1)) is what it should hold.
        average = average + correction * (1.0 / (R * (R - 1.0)) - 2.0 / (R * (R - 2.0)))
    return average, np.sqrt(spread / (R * (R - 1.0)))


def along(
    run: Trajectory, about: ArrayLike | None, i: IntArray, j: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Average products over all draws, with the error of their autocorrelation time.

    Returns
    -------
    (pair,), (pair,), (pair,) ndarrays of float64
        Values, standard errors and independent windows of the entries ``i, j``.
    """
    centre = centre_of(run, about)
    names = coordinate_names(run)
    value, stderr, replicas = np.empty(len(i)), np.empty(len(i)), np.empty(len(i))
    step = max(1, (1 << 22) // (run.chains * run.draws))
    x = run.values - centre
    for start in range(0, len(i), step):
        part = slice(start, start + step)
        products = x[..., i[part]] * x[..., j[part]]
        series = Trajectory(values=products, times=run.times)
        labels = [f"{names[a]}, {names[b]}" for a, b in zip(i[part], j[part], strict=True)]
        times = correlation_times(series, names=labels)
        value[part] = products.mean(axis=(0, 1))
        stderr[part], replicas[part] = times.stderr_of_mean, times.replicas
    if about is None:
        tau = correlation_times(run).tau
        value *= 1.0 + np.sqrt(tau[i] * tau[j]) / (run.chains * run.draws)
    return value, stderr, replicas


def mirrored(entries: FloatArray, i: IntArray, j: IntArray, d: int) -> FloatArray:
    """Return the symmetric matrix with the given upper triangle.

    Returns
    -------
    (d, d) ndarray of float64
    """
    matrix = np.empty((d, d))
    matrix[i, j] = entries
    matrix[j, i] = entries
    return matrix

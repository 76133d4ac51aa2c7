r"""Sums behind covariances: across independent chains, and along correlated draws.

With distances to the pooled mean, :math:`P = \sum_r \bar x_r \bar x_r^T` and the pooled mean of
products :math:`\bar q`,

.. math::
    \hat\Sigma = \bar q + \frac{P}{R(R-1)}, \qquad
    y_r = q_r + \frac{2}{R-2}\,\bar x_r \bar x_r^T,

where the spread of the pseudo-values :math:`y_r` over :math:`\sqrt R` is exactly the
delete-one-chain jackknife error of :math:`\hat\Sigma`.  Heavy-tailed squares leave it fewer degrees
of freedom, see :mod:`fracsde.estimators.heavy_squares`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.estimators.autocovariance import centre_of
from fracsde.estimators.chains import blocks, coordinate_names, freedom
from fracsde.estimators.correlation_times import correlation_times
from fracsde.estimators.heavy_squares import (
    burden_of_run,
    burden_of_squares,
    lightened,
    sharper,
)
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.estimators.correlation_times import CorrelationTimes

_ROUNDING = 1e-15  # of an average of products

__all__ = ["across", "along", "along_freedom", "mirrored", "outer_products"]


def outer_products(x: FloatArray) -> FloatArray:
    """Sum the outer products of each chain's draws.

    Returns
    -------
    (chain, d, d) ndarray of float64
    """
    return np.asarray(np.swapaxes(x, 1, 2) @ x, dtype=np.float64)


def across(
    run: Trajectory,
    about: ArrayLike | None,
    products: Callable[[FloatArray], FloatArray],
    axes: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Average products over chains, with the spread of the jackknife's pseudo-values.

    Parameters
    ----------
    run : Trajectory
        Chains.
    about : (coordinate,) array_like, optional [x]
        The mean, if it is known.
    products : callable
        Sums the products of each chain's draws.
    axes : (coordinate, k) ndarray, optional [1]
        New coordinates, in which products are taken.

    Returns
    -------
    ndarray, ndarray, ndarray of float64
        Values, standard errors and effective numbers, of the shape that ``products`` returns for
        one chain.
    """
    R = run.chains
    centre = centre_of(run, about)
    moments, correction, square = _Moments(), None, 0.0
    width = run.dimension if axes is None else axes.shape[1]
    for part in blocks(run, products(np.zeros((1, 1, width))).size):
        x = run.values[part] - centre
        x = x if axes is None else x @ axes
        square = square + np.square(x).sum(axis=(0, 1))
        values = products(x) / run.draws
        if about is None:
            drift = products(x.mean(axis=1, keepdims=True))
            correction = drift.sum(axis=0) + (0.0 if correction is None else correction)
            values += 2.0 / (R - 2.0) * drift
        with np.errstate(over="ignore", invalid="ignore"):  # of fourth powers, see `freedom`
            moments.add(values)
    average = moments.mean
    if correction is not None:
        # `average` holds 2 P / (R (R - 2)) too much, and P / (R (R - 1)) is what it should hold.
        average = average + correction * (1.0 / (R * (R - 1.0)) - 2.0 / (R * (R - 2.0)))
    stderr = np.sqrt(moments.second / (R * (R - 1.0)))
    scale = products(np.sqrt(square / (R * run.draws))[None, None])[0]
    stderr[stderr < _ROUNDING * scale] = 0.0  # chains that agree but for rounding
    plain = freedom(moments.second / R, moments.fourth / R, float(R), scale)
    # A product's burden is the mean of its factors': sums of logarithms are logarithms of products.
    roots = np.exp(0.5 * burden_of_run(run, centre, axes=axes))
    burden = np.log(products(roots[None, None])[0])
    return average, stderr, lightened(plain, burden)


class _Moments:
    """Mean and sums of central powers, merged as blocks of chains arrive.

    Neither the mean of the chains' values nor their spread needs them all in memory.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.second = self.third = self.fourth = np.zeros(())

    def add(self, values: FloatArray) -> None:
        """Merge the values of some chains."""
        n, m = self.count, len(values)
        total = n + m
        mean = values.mean(axis=0)
        away = values - mean
        square = np.square(away)
        second, third, fourth = square.sum(0), (square * away).sum(0), np.square(square).sum(0)
        step = mean - self.mean if n else np.zeros_like(mean)
        share = step / total
        # Each line needs the sums below it as they were.
        fourth = (
            self.fourth
            + fourth
            + step * share**3 * (n * m) * (n * n - n * m + m * m)
            + 6.0 * share**2 * (n * n * second + m * m * self.second)
            + 4.0 * share * (n * third - m * self.third)
        )
        third = (
            self.third
            + third
            + step * share**2 * (n * m) * (n - m)
            + 3.0 * share * (n * second - m * self.second)
        )
        second = self.second + second + step * share * (n * m)
        self.mean = self.mean + share * m if n else mean
        self.count, self.second, self.third, self.fourth = total, second, third, fourth


def along(
    run: Trajectory, about: ArrayLike | None, i: IntArray, j: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Average products over all draws, with the error of their autocorrelation time.

    Returns
    -------
    (pair,), (pair,), (pair,) ndarrays of float64
        Values, standard errors and effective numbers of the entries ``i, j``.
    """
    centre = centre_of(run, about)
    names = coordinate_names(run)
    value, stderr, replicas, own, through = (np.empty(len(i)) for _ in range(5))
    independent = np.full(run.dimension, float(run.chains * run.draws))
    step = max(1, (1 << 22) // (run.chains * run.draws))
    x = run.values - centre
    for start in range(0, len(i), step):
        part = slice(start, start + step)
        products = x[..., i[part]] * x[..., j[part]]
        series = Trajectory(values=products, times=run.times)
        labels = [f"{names[a]}, {names[b]}" for a, b in zip(i[part], j[part], strict=True)]
        times = correlation_times(series, names=labels)
        value[part] = products.mean(axis=(0, 1))
        stderr[part], through[part] = times.stderr_of_mean, times.let_through
        away = products - value[part]
        replicas[part] = along_freedom(away, times)
        held = times.count / np.maximum(times.tau, 1.0)
        own[part] = burden_of_squares(np.abs(away).reshape(-1, away.shape[2]), held)
        for side in (i[part], j[part]):
            np.minimum.at(independent, side, held)
    burden = burden_of_run(run, centre, independent)
    replicas = lightened(replicas, sharper(own, 0.5 * (burden[i] + burden[j])))
    if about is None:
        times = correlation_times(run)
        noise = times.tau / times.count  # variance of the mean over that of a draw
        # The record was let through by the coordinates' times too.
        stderr *= np.maximum(times.let_through[i], times.let_through[j]).clip(through) / through
        # The mean's own noise is all that there is where squares do not vary, as of signs.
        square = np.square(value) + times.variance[i] * times.variance[j]
        stderr = np.sqrt(np.square(stderr) + noise[i] * noise[j] * square)
        value *= 1.0 + np.sqrt(noise[i] * noise[j])
    return value, stderr, replicas


def along_freedom(away: FloatArray, times: CorrelationTimes) -> FloatArray:
    """Return the effective number behind the error of a mean of products along draws.

    Degrees of freedom add like resistances in parallel: those of the window, and those of the
    variance of as many values as are independent.

    Returns
    -------
    (pair,) ndarray of float64 [1]
    """
    independent = times.count / np.maximum(times.tau, 1.0)
    square = np.square(away)
    with np.errstate(over="ignore"):
        fourth = np.square(square).mean(axis=(0, 1))
    spread = freedom(square.mean(axis=(0, 1)), fourth, independent)
    degrees = 1.0 / (1.0 / (times.replicas - 1.0) + 1.0 / (spread - 1.0))
    return 1.0 + np.maximum(degrees, 1.0)


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

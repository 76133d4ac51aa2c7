"""Errors of the covariance of one example's gradient, and the numbers of values behind them.

What an entry is off by has the variance of a product of two coordinates; its degrees of freedom
are those of heavy-tailed squares (:mod:`fracsde.estimators.heavy_squares`).  Products of two
coordinates that are not large at once have a lighter tail than the squares of either.  Where the
bound by squares counts, they are formed and their own tail is read, as long as that is no more than
a second of work; of larger matrices the bound stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.estimators.chains import freedom, freedom_of
from fracsde.estimators.heavy_squares import (
    burden_of_largest,
    burden_of_squares,
    largest_kept,
    lightened,
    sharper,
)

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray
    from fracsde.estimators.example_gradients import Gradients

__all__ = ["entries", "of_trace"]

_MOST = 1 << 25  # products that are formed in all
_HELD = 1 << 21  # and at a time
_COUNTS = 0.05  # of the degrees of freedom, from which on a bound is sharpened


def of_trace(squares: FloatArray) -> float:
    """Return the number of values behind the error of a mean of squares.

    Returns
    -------
    float
    """
    burden = burden_of_squares(squares[:, None], float(len(squares)))
    return float(lightened(freedom_of(squares), burden)[0])


def entries(
    gradients: Gradients, mean: FloatArray, V: FloatArray | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return a covariance, its errors and the values behind them, from powers of products.

    Parameters
    ----------
    gradients : Gradients
        One for each example.
    mean : (P,) float64
        Their mean.
    V : (P, k) float64 or None
        Directions; the coordinates if ``None``.

    Returns
    -------
    tuple of (k, k) ndarray of float64
    """
    sample, size = gradients.sample, len(mean) if V is None else V.shape[1]
    count, powers = sample.count, 4 if sample.left > 0.0 else 1
    sums = [np.zeros((size, size)) for _ in range(powers)]
    for block in gradients:
        d = block - mean
        d = d if V is None else d @ V
        power = d
        for k, total in enumerate(sums):
            power = d if k == 0 else power * d
            total += power.T @ power
    total = 0.5 * (sums[0] + sums[0].T)
    if powers == 1:
        zero = np.zeros((size, size))
        return sample.scale * total, zero, np.full((size, size), float(count))
    one, two, three, four = (part / count for part in (total, *sums[1:]))
    square = np.maximum(two - one * one, 0.0)
    fourth = np.maximum(four - 4.0 * one * three + 6.0 * one**2 * two - 3.0 * one**4, 0.0)
    burden = _burden(gradients, mean, V)
    plain = freedom(square, fourth, float(count))
    bound = lightened(plain, 0.5 * (burden[:, None] + burden))
    i, j = np.nonzero(np.triu(bound < 1.0 + (1.0 - _COUNTS) * (plain - 1.0), 1))
    effective = bound
    if count * max(len(i), size) <= _MOST:
        own = _of_products(gradients, mean, V, i, j, one[i, j])
        effective = bound.copy()
        effective[i, j] = lightened(plain[i, j], sharper(own, 0.5 * (burden[i] + burden[j])))
        effective[j, i] = effective[i, j]
    return sample.scale * total, np.asarray(sample.error_of_sum(count * square)), effective


def _of_products(
    gradients: Gradients,
    mean: FloatArray,
    V: FloatArray | None,
    i: IntArray,
    j: IntArray,
    value: FloatArray,
) -> FloatArray:
    # The burden of how far products are from their mean.
    count = gradients.sample.count
    found, kept = np.zeros(len(i)), largest_kept(count, float(count))
    if len(i) == 0:
        return found
    d = np.concatenate([block - mean if V is None else (block - mean) @ V for block in gradients])
    step = max(1, _HELD // count)
    for first in range(0, len(i), step):
        part = slice(first, first + step)
        away = np.abs(d[:, i[part]] * d[:, j[part]] - value[part])
        largest = np.partition(away, count - kept, axis=0)[count - kept :]
        found[part] = burden_of_largest(largest, float(count))
    return found


def _burden(gradients: Gradients, mean: FloatArray, V: FloatArray | None) -> FloatArray:
    # Of each row: its largest squares are all that is kept of it.
    count = gradients.sample.count
    kept = largest_kept(count, float(count))
    top = np.empty((0, len(mean) if V is None else V.shape[1]))
    for block in gradients:
        d = block - mean
        top = np.concatenate([top, np.square(d if V is None else d @ V)])
        if len(top) > kept:
            top = np.partition(top, len(top) - kept, axis=0)[len(top) - kept :]
    return burden_of_largest(top, float(count))

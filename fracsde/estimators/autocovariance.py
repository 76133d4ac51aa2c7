r"""Autocovariance of stationary runs by FFT.

.. math::
    C(k) = \operatorname{Cov}(x_t, x_{t+k}), \qquad
    \hat C(k) = \frac{1}{R(N - k)} \sum_{r} \sum_{t < N - k} (x_{r,t} - m)(x_{r,t+k} - m)

for ``R`` chains of ``N`` draws; lags are whole numbers of draws.  Of a record with gaps those pairs
are taken that are ``k`` apart, see :mod:`~fracsde.estimators.gapped`.

Not here: correlation times and errors, see :mod:`fracsde.estimators.correlation_times`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft

from fracsde._check import integer, vector
from fracsde.errors import RecordError
from fracsde.estimators.chains import as_trajectory, blocks, leave_one_out_means
from fracsde.estimators.gapped import longest_window, on_grid, pairs, places, spread_out

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.records.trajectory import Trajectory

__all__ = ["autocovariance"]

_LEAST_BLOCK = 1 << 10  # draws of a block for few lags
_NUMBERS = 1 << 16  # transformed at a time


def autocovariance(
    trajectory: Trajectory | ArrayLike,
    max_lag: int | None = None,
    *,
    mean: ArrayLike | None = None,
    per_chain: bool = False,
) -> FloatArray:
    r"""Estimate the autocovariance of every coordinate by FFT.

    .. math::
        \hat C(k) = \frac{1}{N - k} \sum_{t < N - k} (x_t - m)(x_{t+k} - m)

    The divisor is the number of terms, so that the estimate is unbiased when ``mean`` is given.
    Without it the mean over all chains and draws is removed, which lowers every value by about
    ``Var(mean)``.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        Equally spaced draws, or windows of them.
    max_lag : int, optional
        Largest lag in draws; if not given the longest in a window, ``draws - 1`` of a whole record.
    mean : (coordinate,) array_like, optional [x]
        The mean, if it is known.
    per_chain : bool
        Keep the chains apart instead of averaging over them.

    Returns
    -------
    (max_lag + 1, coordinate) or (chain, max_lag + 1, coordinate) ndarray of float64 [x^2]

    Raises
    ------
    RecordError
        If ``max_lag`` lies beyond the longest window, or draws are not equally spaced in windows.

    Examples
    --------
    >>> x = np.array([[[1.0], [-1.0], [1.0], [-1.0]]])
    >>> autocovariance(x, 2, mean=0.0).ravel().round(12)
    array([ 1., -1.,  1.])
    """
    run = on_grid(trajectory)
    at = places(run)
    last = _max_lag(max_lag, run.draws if at is None else longest_window(at))
    centre = centre_of(run, mean)
    chains = run.chains if per_chain else 1
    total = np.zeros((chains, last + 1, run.dimension))
    for part in blocks(run):
        series = np.swapaxes(run.values[part] - centre, 1, 2)
        if at is not None:
            series = spread_out(series, at, last)
        products = lagged_products(series, last)
        if per_chain:
            total[part] = np.swapaxes(products, 1, 2)
        else:
            total[0] += products.sum(axis=0).T
    total /= pairs(at, run.draws, last)[:, None]
    return total if per_chain else total[0] / run.chains


def lagged_products(series: FloatArray, last: int) -> FloatArray:
    """Return ``sum_t x[t] x[t + k]`` for lags up to ``last`` along the last axis.

    Few lags of a long series come from blocks of at least as many draws, each against itself and
    the next, whose transforms stay in a cache.

    Returns
    -------
    (..., last + 1) ndarray of float64
    """
    draws = series.shape[-1]
    block = max(_LEAST_BLOCK, 1 << last.bit_length())
    if draws > 8 * block:
        rows = [_products_by_blocks(x, last, block) for x in series.reshape(-1, draws)]
        return np.array(rows).reshape(*series.shape[:-1], last + 1)
    size = fft.next_fast_len(draws + last, real=True)
    spectrum = fft.rfft(series, size, axis=-1)
    power = spectrum.real**2 + spectrum.imag**2
    return np.asarray(fft.irfft(power, size, axis=-1)[..., : last + 1], dtype=np.float64)


def _products_by_blocks(x: FloatArray, last: int, block: int) -> FloatArray:
    # A block and the next, side by side, have the transform of the first plus that of the second
    # times (-1)^f at the double length.
    many = max(1, _NUMBERS // block)
    sign = np.where(np.arange(block + 1) % 2, -1.0, 1.0)
    total = np.zeros(block + 1, dtype=np.complex128)
    before = np.zeros((1, block + 1), dtype=np.complex128)
    for start in range(0, len(x), many * block):
        part = x[start : start + many * block]
        rows = -(-len(part) // block)
        if rows * block > len(part):
            part = np.append(part, np.zeros(rows * block - len(part)))
        found = fft.rfft(part.reshape(rows, block), 2 * block, axis=-1)
        total += (found.real**2 + found.imag**2).sum(axis=0)
        chain = np.concatenate([before, found])
        total += sign * np.einsum("bf,bf->f", chain[:-1].conj(), chain[1:])
        before = found[-1:]
    return np.asarray(fft.irfft(total, 2 * block)[: last + 1], dtype=np.float64)


def equally_spaced(trajectory: Trajectory | ArrayLike) -> Trajectory:
    """Return the record, refusing draws that are not equally spaced or fewer than two.

    Returns
    -------
    Trajectory
    """
    run = as_trajectory(trajectory)
    _ = run.spacing
    return run


def centre_of(run: Trajectory, mean: ArrayLike | None) -> FloatArray:
    """Return the given mean, or the mean over all chains and draws.

    Returns
    -------
    (coordinate,) ndarray of float64 [x]
    """
    if mean is not None:
        return vector("mean", mean, length=run.dimension)
    # Of the distances to the first draw: an offset of 1e6 must not cost digits.
    first = run.values[0, 0]
    total = np.zeros(run.dimension)
    for part in blocks(run):
        total += (run.values[part] - first).sum(axis=(0, 1))
    return np.asarray(first + total / (run.chains * run.draws), dtype=np.float64)


def chain_means(run: Trajectory) -> FloatArray:
    """Return the mean of every chain.

    Returns
    -------
    (chain, coordinate) ndarray of float64 [x]
    """
    first = run.values[0, 0]
    means = np.empty((run.chains, run.dimension))
    for part in blocks(run):
        means[part] = (run.values[part] - first).mean(axis=1)
    return np.asarray(first + means, dtype=np.float64)


def without_mean(per_chain: FloatArray, means: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """Average products over chains, and over all chains but one.

    ``per_chain`` ``(chain, lag, coordinate)`` holds mean products of distances to the pooled mean
    and ``means`` the chains' own mean distances.  Subtracting the products of means of *distinct*
    chains then takes out the noise of the pooled mean.

    Returns
    -------
    (lag, coordinate), (chain, lag, coordinate) ndarrays of float64
    """
    value, without = per_chain.mean(axis=0), leave_one_out_means(per_chain)
    if means is None:
        return value, without
    R = len(means)
    squares = np.square(means)
    total = squares.sum(axis=0)
    value = value + total / (R * (R - 1.0))
    without = without - ((2.0 * squares - total) / ((R - 1.0) * (R - 2.0)))[:, None, :]
    return value, without


def _max_lag(max_lag: int | None, draws: int) -> int:
    if max_lag is None:
        return draws - 1
    lag = integer("max_lag", max_lag, low=0)
    if lag >= draws:
        msg = (
            f"`max_lag` {lag} lies beyond the record: {draws} draws have lags up to {draws - 1}; "
            "ask for a smaller lag or record longer"
        )
        raise RecordError(msg)
    return lag


def checked_start(start: Any, draws: int) -> int:
    """Return the draw from which displacements begin, or say that none comes after it.

    Returns
    -------
    int

    Raises
    ------
    RecordError
        If there is no later draw.
    """
    first = integer("start", start, low=0)
    if first > draws - 2:
        msg = (
            f"a displacement from draw {first} needs a later draw, the record has {draws}; "
            "start earlier or record longer"
        )
        raise RecordError(msg)
    return first


def checked_lags(lags: Any, draws: int) -> IntArray:
    """Return lags in draws between 1 and ``draws - 1``, or say which are outside.

    Returns
    -------
    (lag,) ndarray of int64

    Raises
    ------
    RecordError
        If a lag is not a whole number or lies outside.
    """
    given = np.atleast_1d(np.asarray(lags))
    if given.ndim != 1 or given.size == 0 or given.dtype.kind not in "iu":
        msg = f"`lags` must be whole numbers of draws, got {lags!r}; divide times by the spacing"
        raise RecordError(msg)
    if given.min() < 1 or given.max() >= draws:
        worst = given.min() if given.min() < 1 else given.max()
        msg = (
            f"`lags` must lie between 1 and {draws - 1}, the longest in {draws} draws, got {worst}"
            "; ask for other lags or record longer"
        )
        raise RecordError(msg)
    return given.astype(np.int64)

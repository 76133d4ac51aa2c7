r"""Compiled sums behind time-averaged displacements, and their definition in NumPy.

.. math::
    S_r(k) = \sum_{t < N-k} |w_r(t + k) - w_r(t)|^2

:func:`direct_sums` adds the squares lag by lag.  Coordinates are taken a few at a time, so that the
piece of path in use stays in cache whatever the number of weights, and a sum is gathered from short
partial sums, so that its rounding does not grow with the length.

:func:`transformed_sums` takes the transform.  With the chord :math:`b = (w(N-1) - w(0))/(N-1)`
and :math:`y(t) = w(t) - bt - \text{mean}`,

.. math::
    S(k) = (N-k)\,|b|^2 k^2 + 2k \sum_{t<N-k} b\cdot(y(t+k) - y(t))
         + \sum_{t<N-k}|y(t)|^2 + \sum_{t\ge k}|y(t)|^2 - 2\sum_{t<N-k} y(t)\cdot y(t+k),

where only the last sum :math:`r(k)` needs the transform.  The last three terms cancel, and what is
left of the path after offset and drift are gone is all that they lose digits to: the rounding is
about :math:`\epsilon \sum_t |y(t)|^2`.

Two coordinates make one complex path, the real part of whose product is the sum of theirs, and the
powers of all coordinates are added before one transform goes back.  The powers of two chains go
back as one complex number: the products are then what :math:`k` and :math:`-k` have in common.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft

from fracsde._compiled import njit
from fracsde.estimators.chains import freedom
from fracsde.estimators.lane_transform import add_powers, back, shape, turns

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray

__all__ = [
    "across_chains",
    "across_chains_reference",
    "direct_sums",
    "direct_sums_reference",
    "transformed_sums",
    "transformed_sums_reference",
]

_CACHED = 1 << 15  # numbers of a path that stay in the nearer caches
_PIECE = 1024  # terms of a partial sum
_SHORT = 128  # of a running one
_COLUMNS = 8  # coordinates taken from the record at a time
_ORDER_FREE = {"reassoc", "contract"}  # lets a sum use vector instructions


def direct_sums_reference(x: FloatArray, lags: IntArray) -> FloatArray:
    """Return the sums as they are defined.

    Parameters
    ----------
    x : (series, draw, coordinate) ndarray of float64
        Paths.
    lags : (lag,) ndarray of int64
        From 1 to the number of draws less one.

    Returns
    -------
    (series, lag) ndarray of float64
    """
    moved = [np.square(x[:, k:] - x[:, : x.shape[1] - k]).sum(axis=(1, 2)) for k in lags]
    return np.stack(moved, axis=1)


def direct_sums(x: FloatArray, lags: IntArray) -> FloatArray:
    """Return the sums of :func:`direct_sums_reference`, compiled.

    Returns
    -------
    (series, lag) ndarray of float64
    """
    count, draws, d = x.shape
    result = np.zeros((count, len(lags)))
    width = min(d, max(1, _CACHED // draws))
    if width > 4:
        width -= width % 4
    _direct(x, lags, width, np.empty(draws * width), result)
    return result


@njit(cache=True, error_model="numpy", fastmath=_ORDER_FREE)
def _direct(x: Any, lags: Any, width: int, path: Any, result: Any) -> None:
    # `direct_sums_reference`, over `width` coordinates at a time.
    count, draws, d = x.shape
    for r in range(count):
        for first in range(0, d, width):
            w = min(width, d - first)
            for t in range(draws):
                for j in range(w):
                    path[t * w + j] = x[r, t, first + j]
            for column in range(len(lags)):
                shift = lags[column] * w
                length = draws * w - shift
                total = 0.0
                for start in range(0, length, _PIECE):
                    stop = min(start + _PIECE, length)
                    behind, ahead = path[start:stop], path[start + shift : stop + shift]
                    part = 0.0
                    for i in range(stop - start):
                        moved = ahead[i] - behind[i]
                        part += moved * moved
                    total += part
                result[r, column] += total


def transformed_sums_reference(x: FloatArray, lags: IntArray) -> FloatArray:
    """Return the sums of :func:`direct_sums_reference` by SciPy's transform of padded paths.

    Returns
    -------
    (series, lag) ndarray of float64
    """
    draws = x.shape[1]
    slope = (x[:, -1] - x[:, 0]) / (draws - 1.0)
    y = x - x[:, :1] - slope[:, None] * np.arange(float(draws))[:, None]
    y -= y.mean(axis=1, keepdims=True)
    length = int(fft.next_fast_len(2 * draws, real=True))
    powers = np.square(np.abs(fft.rfft(y, length, axis=1))).sum(axis=2)
    product = fft.irfft(powers, length, axis=1)[:, lags]
    start = np.zeros((len(x), 1))
    squares = np.cumsum(np.hstack([start, np.square(y).sum(axis=2)]), axis=1)
    leaning = np.cumsum(np.hstack([start, (y @ slope[:, :, None])[:, :, 0]]), axis=1)
    tilt = leaning[:, -1:] - leaning[:, lags] - leaning[:, draws - lags]
    both = squares[:, draws - lags] + squares[:, -1:] - squares[:, lags]
    drift = (
        (draws - lags) * np.square(lags.astype(np.float64)) * np.square(slope).sum(axis=1)[:, None]
    )
    found: FloatArray = drift + 2.0 * lags * tilt + both - 2.0 * product
    return found


def transformed_sums(x: FloatArray, lags: IntArray) -> FloatArray:
    """Return the sums of :func:`transformed_sums_reference` by a transform of our own.

    Returns
    -------
    (series, lag) ndarray of float64
    """
    count, draws, d = x.shape
    R, m = shape(2 * draws)
    length = 8 * R * m
    factors = turns(R, m)
    width = min(_COLUMNS, d + d % 2)
    # In one piece: large ones come in large pages.
    work = np.empty((4 + width // 2, length))
    paths = work[4:].reshape(width, length // 2)
    paths[:, draws:] = 0.0
    result = np.empty((count, len(lags)))
    # One layout for the compiler: two chains at a time are copied where a record is cut or turned.
    step = count if x.flags.c_contiguous else 2
    for first in range(0, count, step):
        part = np.ascontiguousarray(x[first : first + step]).view()
        part.flags.writeable = False
        _transformed(part, lags, R, factors, paths, work[:4], result[first : first + step])
    return result


@njit(cache=True, error_model="numpy")
def _transformed(
    x: Any, lags: Any, R: int, factors: Any, paths: Any, work: Any, result: Any
) -> None:
    # Two chains share one way back: the powers of the second take the place of an imaginary part.
    count, draws, d = x.shape
    sums, steepness = np.empty((min(count, 2), 2, draws)), np.empty(2)
    for first in range(0, count, 2):
        chains = min(2, count - first)
        work[:2], sums[:], steepness[:] = 0.0, 0.0, 0.0
        for c in range(chains):
            for column in range(0, d, len(paths)):
                w = min(len(paths), d - column)
                steepness[c] += _fill(x[first + c], column, w, paths, sums[c])
                if w % 2:
                    paths[w, :draws] = 0.0
                for j in range(0, w, 2):
                    add_powers(paths[j], paths[j + 1], R, factors, work[2], work[3], work[c])
        back(work[0], work[1], R, factors, work[2], work[3])
        for c in range(chains):
            _assemble(lags, sums[c], steepness[c], work[c], work[2], result[first + c])


@njit(cache=True, error_model="numpy", fastmath=_ORDER_FREE)
def _fill(x: Any, first: int, count: int, paths: Any, sums: Any) -> float:
    # Write y of `count` coordinates and add |y|^2 and b.y to `sums`; return |b|^2.
    draws = len(x)
    starts, slopes, means = np.empty(count), np.empty(count), np.zeros(count)
    steepness = 0.0
    for j in range(count):
        starts[j] = x[0, first + j]
        slopes[j] = (x[draws - 1, first + j] - starts[j]) / (draws - 1.0)
        steepness += slopes[j] * slopes[j]
    for begin in range(0, draws, _PIECE):
        stop = min(begin + _PIECE, draws)
        for t in range(begin, stop):
            for j in range(count):
                paths[j, t] = x[t, first + j]
        for j in range(count):
            piece, start, total = paths[j, begin:stop], starts[j], 0.0
            for t in range(len(piece)):
                piece[t] -= start
                total += piece[t]
            means[j] += total
    for begin in range(0, draws, _PIECE):
        stop = min(begin + _PIECE, draws)
        squares, along = sums[0, begin:stop], sums[1, begin:stop]
        for j in range(count):
            piece, slope = paths[j, begin:stop], slopes[j]
            # Of what is left without drift.
            mean = means[j] / draws - 0.5 * (slope * (draws - 1.0))
            for t in range(len(piece)):
                value = piece[t] - slope * (begin + t) - mean
                piece[t] = value
                squares[t] += value * value
                along[t] += slope * value
    return steepness


@njit(cache=True, error_model="numpy", fastmath=_ORDER_FREE)
def _assemble(lags: Any, sums: Any, steepness: float, turned: Any, moved: Any, result: Any) -> None:
    # Add up the terms of S(k).  Windows are all draws but those within a lag of an end: whichever
    # of the two is shorter is summed, since a running sum gathers rounding as it runs.
    draws, length = sums.shape[1], len(turned)
    half = draws // 2
    middle = sums[0, half] if draws % 2 else 0.0
    ends, tilt = sums[0, :half], sums[1, :half]
    others, far = sums[0, draws - half :], sums[1, draws - half :]
    for t in range(half):
        ends[t] += others[half - 1 - t]
        tilt[t] = far[half - 1 - t] - tilt[t]
    _accumulate(ends)
    _accumulate(tilt)
    total = 2.0 * (ends[half - 1] + middle)
    share = 1.0 / length
    ahead, behind = turned[1:draws], turned[length - draws + 1 :]
    for i in range(half):
        k = i + 1.0
        # Twice the product: what k and -k have in common, and the other chain's powers do not.
        product = share * (ahead[i] + behind[draws - 2 - i])
        value = total - ends[i] - product + 2.0 * k * tilt[i] + steepness * (draws - k) * k * k
        # Rounding may leave a displacement of nothing below zero.
        moved[i + 1] = max(value, 0.0)
    for i in range(draws - half - 1):
        k = draws - 1.0 - i
        product = share * (ahead[draws - 2 - i] + behind[i])
        value = ends[i] - product + 2.0 * k * tilt[i] + steepness * (i + 1.0) * k * k
        moved[draws - 1 - i] = max(value, 0.0)
    for column in range(len(lags)):
        result[column] = moved[lags[column]]


@njit(cache=True, error_model="numpy")
def _accumulate(terms: Any) -> None:
    # Running sums, each piece from its own start.
    base = 0.0
    for start in range(0, len(terms), _SHORT):
        running = 0.0
        for t in range(start, min(start + _SHORT, len(terms))):
            running += terms[t]
            terms[t] = base + running
        base += running


def across_chains_reference(values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return averages over chains, their standard errors, and how many values these are worth.

    Parameters
    ----------
    values : (chain, entry) ndarray of float64
        Averages of squares, one per chain; two chains or more.

    Returns
    -------
    mean, stderr, n_effective : (entry,) ndarray of float64
    """
    chains = len(values)
    mean = values.mean(axis=0)
    square = np.square(values - mean)
    second, fourth = square.mean(axis=0), np.square(square).mean(axis=0)
    stderr = np.sqrt(second / (chains - 1.0))
    return mean, stderr, freedom(second, fourth, float(chains), mean)


def across_chains(values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return what :func:`across_chains_reference` does, compiled.

    Returns
    -------
    mean, stderr, n_effective : (entry,) ndarray of float64
    """
    mean, stderr, n_effective = np.zeros((3, values.shape[1]))
    _across(values, mean, stderr, n_effective)
    return mean, stderr, n_effective


@njit(cache=True, error_model="numpy", fastmath=_ORDER_FREE)
def _across(values: Any, mean: Any, stderr: Any, n_effective: Any) -> None:
    # A block of entries at a time, so that each is read from memory once; results gather sums.
    chains, entries = values.shape
    n = max(float(chains), 4.0)
    share, shrink = 1.0 / chains, (n - 1.0) / ((n - 2.0) * (n - 3.0))
    for first in range(0, entries, _SHORT):
        stop = min(first + _SHORT, entries)
        for r in range(chains):
            for i in range(first, stop):
                mean[i] += values[r, i]
        for i in range(first, stop):
            mean[i] *= share
        for r in range(chains):
            for i in range(first, stop):
                square = (values[r, i] - mean[i]) ** 2
                stderr[i] += square
                n_effective[i] += square * square
        for i in range(first, stop):
            second = stderr[i] * share
            excess, least = n_effective[i] * share / second**2, 6.0 * second / mean[i] ** 2
            excess = (excess if np.isfinite(excess) else 0.0) - 3.0
            least = least if np.isfinite(least) else 0.0
            unbiased = shrink * ((n + 1.0) * excess + 6.0)
            degrees = 2.0 * (n - 1.0) / (2.0 + max(unbiased, least))
            stderr[i] = np.sqrt(second / (chains - 1.0))
            n_effective[i] = 1.0 + max(degrees, 1.0)

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

Padding each path to twice its length would spend half of every transform on zeros.  With
:math:`M \ge N` even, the frequencies :math:`2f` of the padded transform are those of :math:`y`
itself, and the frequencies :math:`4f + 1`, which with their mirror images are all others, those of

.. math::
    z(t) = \big(y(t) - i\,y(t + M/2)\big)\, e^{-i\pi t/M}, \qquad 0 \le t < M/2 ,

so that two transforms of lengths ``M`` and ``M/2`` stay in cache where one of ``2M`` does not.
Back the same way: powers at :math:`2f` give :math:`r(k) + r(M - k)`, powers at :math:`4f + 1` give
:math:`r(k) - r(M - k)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from scipy import fft

from fracsde.estimators.chains import freedom

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray

__all__ = [
    "across_chains",
    "across_chains_reference",
    "direct_sums",
    "direct_sums_reference",
    "transformed_sums",
]

_CACHED = 1 << 15  # numbers of a path that stay in the nearer caches
_PIECE = 1024  # terms of a partial sum
_SHORT = 128  # of a running one
_NEAR = 1.06  # how much longer a power of two may be than what a transform needs
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


def transformed_sums(x: FloatArray, lags: IntArray) -> FloatArray:
    """Return the sums of :func:`direct_sums_reference` by the transform.

    Returns
    -------
    (series, lag) ndarray of float64
    """
    count, draws, d = x.shape
    half = _half(draws)
    pieces = -(-d // max(1, _CACHED // half))
    width = -(-d // pieces)
    step = min(count, max(1, _CACHED // (half * width)))
    twist = _twist(half)
    whole = np.zeros((step, width, 2 * half))
    odd = np.empty((step, width, half), dtype=np.complex128)
    result = np.empty((count, len(lags)))
    for start in range(0, count, step):
        part = x[start : start + step]
        rows = len(part)
        powers, odd_powers = np.zeros((rows, half + 1)), np.zeros((rows, half))
        sums, steepness = np.zeros((2, rows, draws)), np.zeros(rows)
        for first in range(0, d, width):
            w = min(width, d - first)
            y, z = whole[:rows, :w], odd[:rows, :w]
            _fill(part, first, twist, y, z, sums, steepness)
            _add_powers(fft.rfft(y, axis=2), fft.fft(z, axis=2), powers, odd_powers)
        even = fft.irfft(powers, 2 * half, axis=1)
        uneven = fft.ifft(odd_powers, axis=1)
        _assemble(lags, sums, steepness, even, uneven, twist, result[start : start + step])
    return result


def _half(draws: int) -> int:
    # Powers of two cost a tenth less per number than other lengths without large factors.
    least = (draws + 1) // 2
    power = 1 << (least - 1).bit_length()
    return power if power <= _NEAR * least else int(fft.next_fast_len(least))


@njit(cache=True, error_model="numpy")
def _twist(half: int) -> Any:
    # Return exp(-i pi t / (2 half)) for t < half, from two short tables.
    short = int(np.sqrt(half)) + 1
    fine = np.exp(-0.5j * np.pi / half * np.arange(short))
    result = np.empty(half, dtype=np.complex128)
    for start in range(0, half, short):
        coarse = np.exp(-0.5j * np.pi * start / half)
        for t in range(start, min(start + short, half)):
            result[t] = coarse * fine[t - start]
    return result


@njit(cache=True, error_model="numpy", fastmath=_ORDER_FREE)
def _fill(x: Any, first: int, twist: Any, y: Any, z: Any, sums: Any, steepness: Any) -> None:
    # Write y and z of each path; add |y|^2 and b.y to `sums` and |b|^2 to `steepness`.
    draws, half = x.shape[1], len(twist)
    for r in range(y.shape[0]):
        for j in range(y.shape[1]):
            row, column = y[r, j], first + j
            start = x[r, 0, column]
            slope = (x[r, draws - 1, column] - start) / (draws - 1.0)
            steepness[r] += slope * slope
            total = 0.0
            for t in range(draws):
                row[t] = x[r, t, column] - start - slope * t
                total += row[t]
            mean = total / draws
            for t in range(draws):
                value = row[t] - mean
                row[t] = value
                sums[0, r, t] += value * value
                sums[1, r, t] += slope * value
            for t in range(half):
                z[r, j, t] = complex(row[t], -row[half + t]) * twist[t]


@njit(cache=True, error_model="numpy", fastmath=_ORDER_FREE)
def _add_powers(even: Any, odd: Any, powers: Any, odd_powers: Any) -> None:
    for r in range(even.shape[0]):
        for j in range(even.shape[1]):
            for f in range(even.shape[2]):
                z = even[r, j, f]
                powers[r, f] += z.real * z.real + z.imag * z.imag
            for f in range(odd.shape[2]):
                z = odd[r, j, f]
                odd_powers[r, f] += z.real * z.real + z.imag * z.imag


@njit(cache=True, error_model="numpy")
def _assemble(
    lags: Any, sums: Any, steepness: Any, even: Any, odd: Any, twist: Any, result: Any
) -> None:
    # Add up the terms of S(k).  Windows are all draws but those within a lag of an end: whichever
    # of the two is shorter is summed, since a running sum gathers rounding as it runs.
    draws, half = sums.shape[2], len(twist)
    needed = draws // 2
    ends, tilt = np.empty(needed), np.empty(needed)
    for r in range(sums.shape[1]):
        squares, along = sums[0, r], sums[1, r]
        base, leant = 0.0, 0.0
        for start in range(0, needed, _SHORT):
            running, leaning = 0.0, 0.0
            for t in range(start, min(start + _SHORT, needed)):
                running += squares[t] + squares[draws - 1 - t]
                leaning += along[draws - 1 - t] - along[t]
                ends[t], tilt[t] = base + running, leant + leaning
            base, leant = base + running, leant + leaning
        total = ends[needed - 1] + (squares[needed] if draws % 2 else 0.0)
        for column in range(len(lags)):
            k = lags[column]
            # e^{i pi k / M} ifft(odd powers), the phase of whose second half is i times the first's
            if k < half:
                phase, q = twist[k], odd[r, k]
                turned = phase.real * q.real + phase.imag * q.imag
            else:
                phase, q = twist[k - half], odd[r, k - half]
                turned = phase.imag * q.real - phase.real * q.imag
            product = 0.5 * (even[r, k] + turned)
            near = 2 * k <= draws
            last = k - 1 if near else draws - k - 1
            both = 2.0 * total - ends[last] if near else ends[last]
            moved = both - 2.0 * product + 2.0 * k * tilt[last]
            moved += steepness[r] * (draws - k) * float(k) * k
            # Rounding may leave a displacement of nothing below zero.
            result[r, column] = max(moved, 0.0)


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

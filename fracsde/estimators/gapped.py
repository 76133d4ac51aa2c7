r"""Draws of a grid of which some are missing: windows of a schedule, or a part that was lost.

A record of ``n`` draws per chain at places :math:`t_1 < \dots < t_n` of a grid has

.. math::
    P_k = \#\{(i, j) : t_j - t_i = k\}, \qquad
    \hat C(k) = \frac{1}{R P_k} \sum_r \sum_{t_j - t_i = k} (x_{r,i} - m)(x_{r,j} - m),

pairs at lag ``k`` and the covariance that they show, and its mean over all draws the variance

.. math::
    \operatorname{Var}(\bar x) = \frac{C(0)\,\tilde\tau}{R n}, \qquad
    \tilde\tau = 1 + 2 \sum_{k \ge 1} f_k\,\rho(k), \qquad f_k = P_k / n ,

with :math:`f_k = 1` where nothing is missing and the record is long, and
:math:`f_k = 1 - k/L` up to ``L`` in windows of ``L`` draws far apart: such a record says more per
draw.  Taken for consecutive, draws on both sides of a gap would pass for neighbours: correlations
come out too small, and so do errors.

A record counts as one on a grid where three quarters of its distances are the smallest and all are
whole multiples of it.  Gaps longer than any lag that is asked for are cut short, which changes no
pair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from fracsde.errors import RecordError
from fracsde.estimators.chains import as_trajectory

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.records.trajectory import Trajectory

__all__ = ["longest_window", "on_grid", "pairs", "places", "spacing", "spread_out"]

_MOST = 0.25  # of all distances, those that are not the smallest
_CLOSE = 1e-9


def spacing(run: Trajectory) -> float:
    """Return the smallest distance between draws, of which all others are multiples.

    Parameters
    ----------
    run : Trajectory
        The record.

    Returns
    -------
    float [step or time]

    Raises
    ------
    RecordError
        If draws do not lie on a grid of which windows are full, or there is only one.

    Examples
    --------
    >>> from fracsde import Trajectory
    >>> spacing(Trajectory(values=np.zeros((1, 5, 1)), times=[0.0, 5.0, 10.0, 15.0, 50.0]))
    5.0
    """
    gaps = np.diff(run.times)
    if len(gaps) == 0:
        return run.spacing  # which says what is missing
    least = float(gaps.min())
    wide = gaps > least * (1.0 + _CLOSE)
    if not wide.any():
        return run.spacing
    ratios = gaps / least
    if np.abs(ratios - np.rint(ratios)).max() > _CLOSE * len(gaps) or wide.mean() > _MOST:
        msg = (
            "this needs equally spaced times, or windows of them; record at every k-th step, or "
            "select an equally spaced part with `between`"
        )
        raise RecordError(msg)
    return least


def on_grid(trajectory: Trajectory | ArrayLike) -> Trajectory:
    """Return a record, refusing one whose draws do not lie on a grid.

    Returns
    -------
    Trajectory

    Raises
    ------
    RecordError
        As of :func:`spacing`.
    """
    run = as_trajectory(trajectory)
    _ = spacing(run)
    return run


def places(run: Trajectory) -> IntArray | None:
    """Return the place of every draw, from 0; None where all follow one another.

    Returns
    -------
    (draw,) ndarray of int64, or None
    """
    found = np.rint((run.times - run.times[0]) / spacing(run)).astype(np.int64)
    return None if found[-1] == run.draws - 1 else found


def longest_window(at: IntArray) -> int:
    """Return the largest number of draws that follow one another.

    Returns
    -------
    int

    Examples
    --------
    >>> longest_window(np.array([0, 1, 7, 8, 9, 20]))
    3
    """
    ends = np.flatnonzero(np.append(np.diff(at) != 1, True)) + 1
    return int(np.diff(ends, prepend=0).max())


def spread_out(series: FloatArray, at: IntArray, last: int) -> FloatArray:
    """Return a series with zeros where draws are missing, long gaps cut short.

    Parameters
    ----------
    series : (..., draw) ndarray
        Distances to a mean.
    at : (draw,) ndarray of int64
        Places.
    last : int
        The longest lag that will be asked for.

    Returns
    -------
    (..., place) ndarray of float64

    Examples
    --------
    >>> spread_out(np.array([1.0, 2.0, 3.0]), np.array([0, 1, 9]), 2)
    array([1., 2., 0., 0., 3.])
    """
    short = np.append(0, np.cumsum(np.minimum(np.diff(at), last + 1)))
    out = np.zeros((*series.shape[:-1], int(short[-1]) + 1))
    out[..., short] = series
    return out


def pairs(at: IntArray | None, draws: int, last: int) -> FloatArray:
    """Return the number of pairs of draws at every lag of one chain.

    Parameters
    ----------
    at : (draw,) ndarray of int64, or None
        Places.
    draws : int
        Number of draws.
    last : int
        The longest lag.

    Returns
    -------
    (last + 1,) ndarray of float64 [1]

    Examples
    --------
    >>> pairs(np.array([0, 1, 2, 7, 8, 9]), 6, 2)
    array([6., 4., 2.])
    """
    if at is None:
        return draws - np.arange(last + 1.0)
    there = spread_out(np.ones(draws), at, last)
    size = fft.next_fast_len(len(there) + last, real=True)
    found = fft.irfft(np.square(np.abs(fft.rfft(there, size))), size)[: last + 1]
    return np.asarray(np.rint(found), dtype=np.float64)

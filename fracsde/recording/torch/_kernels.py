"""Compiled passes over one tensor: what a step needs of it, each number read once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = ["fold", "inner_products"]

_BLOCK = 4096  # numbers summed in their own precision before the sum is carried in double
_REORDER = {"reassoc", "contract", "nsz"}  # sums may be reordered; NaN and infinity are kept


@njit(cache=True, error_model="numpy", fastmath=_REORDER)
def inner_products(w: Any, g: Any) -> Any:
    """Return w·g, g·g and w·w.

    Parameters
    ----------
    w, g : (n,) float32 or float64
        Weights and gradient, of one type.

    Returns
    -------
    tuple of float64
    """
    # np.dot(w, g), np.dot(g, g), np.dot(w, w).
    wg, gg, ww = 0.0, 0.0, 0.0
    zero = np.zeros(1, w.dtype)[0]
    for start in range(0, w.size, _BLOCK):
        x, y = w[start : start + _BLOCK], g[start : start + _BLOCK]
        xy, yy, xx = zero, zero, zero
        for i in range(x.size):
            xy += x[i] * y[i]
            yy += y[i] * y[i]
            xx += x[i] * x[i]
        wg, gg, ww = wg + xy, gg + yy, ww + xx
    return wg, gg, ww


@njit(cache=True, error_model="numpy", fastmath=_REORDER)
def fold(values: Any, entries: Any, start: int, sums: Any) -> None:
    """Add entries times values, wrapped around the sums: ``sums[(start + i) % m] += ...``.

    Parameters
    ----------
    values, entries : (n,) float32 or float64
        Of one type.
    start : int
        Where the first value goes, below ``m``.
    sums : (m,) ndarray
        Added to.
    """
    # np.add.at(sums, (start + np.arange(n)) % m, entries * values).
    done, place = 0, start
    while done < values.size:
        count = min(sums.size - place, values.size - done)
        into = sums[place : place + count]
        x, e = values[done : done + count], entries[done : done + count]
        for i in range(count):
            into[i] += e[i] * x[i]
        done, place = done + count, 0

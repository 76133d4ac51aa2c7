r"""Marching a chain of cells with a memory sum, compiled.

The same step as in :mod:`fracsde.backends.marching_reference`, which says what the names mean:

.. math::
    (\sigma_n I - L)\, v = \sum_{k < n} c_{n,k}\, u_k + s_n , \qquad
    u_n = u_{n-1} + (v - u_{n-1}) / \theta .

The memory sum is cut: what a block of steps owes to rows before the block is one matrix product
(the history is read once per block instead of once per step), what it owes to rows of its own is
summed here, beside the solves.  All functions that call each other live in this file, so that a
cached kernel is never stale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["eliminate", "march", "substitute"]


@njit(cache=True, error_model="numpy")
def eliminate(shift, right, left, loss):  # type: ignore[no-untyped-def]  # compiled
    """Factorise ``shift I - L``; see ``marching_reference.eliminate``.

    Returns
    -------
    (5, n) ndarray of float64
    """
    n = len(right)
    factors = np.zeros((5, n))
    _eliminate(shift, right, left, loss, factors)
    return factors


@njit(cache=True, error_model="numpy")
def _eliminate(shift, right, left, loss, factors):  # type: ignore[no-untyped-def]  # compiled
    last = len(right) - 1
    to_last = left[0]
    for_good = shift + loss[0]
    from_last = right[last]
    lost_by_last = shift + loss[last]
    for i in range(last):
        onward = right[i]
        if i == last - 1:
            from_last += left[last]
            to_last += onward
            onward = 0.0
        inverse = 1.0 / (onward + to_last + for_good)
        factors[0, i] = onward * inverse
        factors[1, i] = to_last * inverse
        factors[2, i] = inverse
        factors[3, i] = left[i + 1] * inverse if i < last - 1 else 0.0
        factors[4, i] = from_last * inverse
        dying = for_good * inverse
        lost_by_last += from_last * dying
        from_last *= onward * inverse
        for_good = shift + loss[i + 1] + left[i + 1] * dying
        to_last = left[i + 1] * (to_last * inverse)
    factors[2, last] = 1.0 / lost_by_last


@njit(cache=True, error_model="numpy")
def substitute(factors, masses):  # type: ignore[no-untyped-def]  # compiled
    """Solve with the factors, in place; see ``marching_reference.substitute``."""
    last = len(masses) - 1
    flowing, gathered = masses[0], masses[last]
    for i in range(last):
        gathered += factors[1, i] * flowing
        flowing = masses[i + 1] + factors[0, i] * flowing
        if i + 1 < last:
            masses[i + 1] = flowing
    end = gathered * factors[2, last]
    masses[last] = end
    beyond = end
    for i in range(last - 1, -1, -1):
        own = masses[i] * factors[2, i] + factors[4, i] * end
        beyond = own + factors[3, i] * beyond
        masses[i] = beyond


@njit(cache=True, error_model="numpy")
def _block(states, start, coefficients, shifts, right, left, loss, point):  # type: ignore[no-untyped-def]  # compiled
    n = states.shape[1]
    factors = np.zeros((5, n))
    factorised = np.nan
    for b in range(len(shifts)):
        row = start + 1 + b
        for k in range(start + 1, row):
            c = coefficients[b, k]
            for i in range(n):
                states[row, i] += c * states[k, i]
        if shifts[b] != factorised:
            factorised = shifts[b]
            _eliminate(factorised, right, left, loss, factors)
        substitute(factors, states[row])
        if point != 1.0:
            for i in range(n):
                last = states[row - 1, i]
                states[row, i] = last + (states[row, i] - last) / point


def march(
    states: FloatArray,
    start: int,
    coefficients: FloatArray,
    shifts: FloatArray,
    sources: FloatArray,
    right: FloatArray,
    left: FloatArray,
    loss: FloatArray,
    point: float = 1.0,
) -> None:
    """Fill in the next rows of ``states``; see ``marching_reference.march``."""
    known = start + 1
    block = states[known : known + len(shifts)]
    np.matmul(coefficients[:, :known], states[:known], out=block)
    block += sources
    _block(states, start, coefficients, shifts, right, left, loss, point)

r"""Marching a chain of cells with a memory sum: the definition of correct, written to be read.

Step ``n`` solves, for the cell masses :math:`u_n`,

.. math::
    (\sigma_n I - L)\, v = \sum_{k < n} c_{n,k}\, u_k + s_n , \qquad
    u_n = u_{n-1} + (v - u_{n-1}) / \theta .

The shifted chain is eliminated from left to right as a random walk would be watched on fewer and
fewer cells: a walker in cell ``i`` leaves to the right, round the ring to the last cell, or for
good, at rates ``r``, ``w`` and ``c``; jumps to the left come back and need not be counted.  Only
positive numbers are added and divided, nothing is subtracted, so no digit is lost and nothing
turns negative [GrassmannTaksarHeyman1985]_.

The compiled twin is :mod:`fracsde.backends.marching_numba`;
``tests/backends/test_marching.py`` holds the two together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["eliminate", "march", "substitute"]


def eliminate(shift: float, right: FloatArray, left: FloatArray, loss: FloatArray) -> FloatArray:
    """Factorise ``shift I - L``.

    Parameters
    ----------
    shift : float [1/t]
        Positive.
    right, left, loss : (n,) float64 [1/t]
        Rates of the chain, ``n >= 3``.

    Returns
    -------
    (5, n) ndarray of float64
        Rows ``forward``, ``wrap`` [1], ``inverse`` [t], ``backward``, ``border`` [1]: the share of
        a cell that goes on to the next cell and to the last, one over the rate of leaving, and
        what the next and the last cell send back.
    """
    n = len(right)
    last = n - 1
    factors = np.zeros((5, n))
    forward, wrap, inverse, backward, border = factors
    to_last = left[0]  # round the ring; zero in a row
    for_good = shift + loss[0]
    from_last = right[last]
    lost_by_last = shift + loss[last]
    for i in range(last):
        if i == last - 1:
            from_last += left[last]
            to_last, onward = to_last + right[i], 0.0
        else:
            onward = right[i]
        leaving = onward + to_last + for_good
        forward[i] = onward / leaving
        wrap[i] = to_last / leaving
        inverse[i] = 1.0 / leaving
        backward[i] = left[i + 1] / leaving if i < last - 1 else 0.0
        border[i] = from_last / leaving
        lost_by_last += from_last * (for_good / leaving)
        from_last *= forward[i]
        for_good = shift + loss[i + 1] + left[i + 1] * (for_good / leaving)
        to_last = left[i + 1] * wrap[i]
    inverse[last] = 1.0 / lost_by_last
    return factors


def substitute(factors: FloatArray, masses: FloatArray) -> None:
    """Solve with the factors, in place.

    Parameters
    ----------
    factors : (5, n) float64
        From :func:`eliminate`.
    masses : (n,) float64
        Right-hand side on entry [1/t], solution on return [1].
    """
    forward, wrap, inverse, backward, border = factors
    last = len(masses) - 1
    for i in range(last):
        masses[last] += wrap[i] * masses[i]
        masses[i + 1] += forward[i] * masses[i]
    masses[last] *= inverse[last]
    for i in range(last - 1, -1, -1):
        masses[i] *= inverse[i]
        masses[i] += backward[i] * masses[i + 1] + border[i] * masses[last]


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
    """Fill in the next rows of ``states``.

    Parameters
    ----------
    states : (m, n) float64 [1]
        Cell masses; the first ``start + 1`` rows are known, the next ``B`` are written.
    start : int
        Last known row.
    coefficients : (B, start + B) float64 [1/t]
        ``coefficients[b, k]`` multiplies row ``k`` in the step to row ``start + 1 + b``; entries
        with ``k > start + b`` are not read.
    shifts : (B,) float64 [1/t]
        ``sigma`` of each step.
    sources : (B, n) float64 [1/t]
        ``s`` of each step.
    right, left, loss : (n,) float64 [1/t]
        Rates of the chain.
    point : float [1]
        ``theta``: the equation holds for ``theta u_n + (1 - theta) u_{n-1}``.
    """
    factors, factorised = np.empty((5, 0)), np.nan
    for b, shift in enumerate(shifts):
        row = start + 1 + b
        states[row] = coefficients[b, :row] @ states[:row] + sources[b]
        if shift != factorised:
            factors, factorised = eliminate(shift, right, left, loss), shift
        substitute(factors, states[row])
        if point != 1.0:
            states[row] = states[row - 1] + (states[row] - states[row - 1]) / point

r"""Compiled sums of squared distances and of their squares, and the largest of them.

.. math::
    y_{rt} = (x_{rt} - c)^2, \qquad
    A_r = \sum_t y_{rt}, \qquad B_r = \sum_t y_{rt}^2

for every chain and coordinate, and for every coordinate the ``k`` largest :math:`y`.  Those are
gathered in one pass, in a heap with the least of them at its root: a number that does not belong
to them costs one comparison, one that does, :math:`\log_2 k`.

What they are for: :mod:`fracsde.estimators.heavy_squares`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde._compiled import njit

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = [
    "largest_squares",
    "largest_squares_reference",
    "square_sums",
    "square_sums_reference",
]

_ORDER_FREE = {"reassoc", "contract"}  # lets a sum use vector instructions


@njit(cache=True, error_model="numpy", fastmath=_ORDER_FREE)
def square_sums(x: FloatArray, centre: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the sums of squared distances of each chain, and of their squares.

    Parameters
    ----------
    x : (chain, draw, coordinate) ndarray of float64 [x]
        Contiguous.
    centre : (coordinate,) ndarray of float64 [x]
        What distances are taken from.

    Returns
    -------
    (chain, coordinate), (chain, coordinate) ndarrays of float64 [x^2], [x^4]
    """
    chains, draws, width = x.shape
    squares = np.zeros((chains, width))
    fourths = np.zeros((chains, width))
    for r in range(chains):
        if width == 1:
            a, b = 0.0, 0.0  # in registers
            for t in range(draws):
                y = (x[r, t, 0] - centre[0]) ** 2
                a += y
                b += y * y
            squares[r, 0], fourths[r, 0] = a, b
            continue
        for t in range(draws):
            for i in range(width):
                y = (x[r, t, i] - centre[i]) ** 2
                squares[r, i] += y
                fourths[r, i] += y * y
    return squares, fourths


def square_sums_reference(x: FloatArray, centre: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return :func:`square_sums` by NumPy.

    Returns
    -------
    (chain, coordinate), (chain, coordinate) ndarrays of float64
    """
    y = np.square(x - centre)
    return y.sum(axis=1), np.square(y).sum(axis=1)


@njit(cache=True, error_model="numpy")
def _replace_least(heap: FloatArray, value: float) -> None:
    # Every entry is at most those at twice its place plus one and two; the root falls to its place.
    place, size = 0, len(heap)
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = value


@njit(cache=True, error_model="numpy")
def largest_squares(x: FloatArray, centre: FloatArray, first: int, last: int, k: int) -> FloatArray:
    """Return the largest squared distances of some coordinates.

    Parameters
    ----------
    x : (chain, draw, coordinate) ndarray of float64 [x]
        Contiguous.
    centre : (coordinate,) ndarray of float64 [x]
        What distances are taken from.
    first, last : int
        Which coordinates, the last not among them.
    k : int
        How many, at most all draws.

    Returns
    -------
    (last - first, k) ndarray of float64 [x^2]
        In any order.
    """
    chains, draws, _ = x.shape
    width = last - first
    heap = np.full((width, k), -1.0)
    for r in range(chains):
        for t in range(draws):
            for j in range(width):
                y = (x[r, t, first + j] - centre[first + j]) ** 2
                if y > heap[j, 0]:
                    _replace_least(heap[j], y)
    return heap


def largest_squares_reference(
    x: FloatArray, centre: FloatArray, first: int, last: int, k: int
) -> FloatArray:
    """Return :func:`largest_squares` by sorting, in growing order.

    Returns
    -------
    (last - first, k) ndarray of float64
    """
    y = np.square(x - centre)[..., first:last].reshape(-1, last - first)
    return np.asarray(np.sort(y, axis=0)[-k:].T)

"""Stationary averages of one-dimensional maps with discrete noise, to rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.polynomial import chebyshev

if TYPE_CHECKING:
    from collections.abc import Callable


def stationary_moments(
    maps: list[Callable[[np.ndarray], np.ndarray]],
    chances: np.ndarray,
    interval: tuple[float, float],
    powers: int = 4,
    degree: int = 40,
) -> np.ndarray:
    """Return ``E w^n`` for ``n = 0 .. powers`` under ``w' = maps[i](w)`` with given chances.

    Averages of the next state, as functions of this one, are polynomials on the interval that the
    maps keep: the operator acts on Chebyshev coefficients, and the stationary average is its left
    eigenvector.  Smooth contractions converge geometrically in the degree.
    """
    low, high = interval
    nodes = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    w = low + 0.5 * (high - low) * (nodes + 1.0)
    operator = np.zeros((degree + 1, degree + 1))
    for step, chance in zip(maps, chances, strict=True):
        there = 2.0 * (step(w) - low) / (high - low) - 1.0
        assert np.abs(there).max() <= 1.0 + 1e-12  # the interval is kept
        operator += chance * chebyshev.chebvander(there, degree)
    # Row vectors of averages of T_0, T_1, ...: a = a (V^-1 M).
    matrix = np.linalg.solve(chebyshev.chebvander(nodes, degree), operator)
    system = np.eye(degree + 1) - matrix.T
    system[0] = 0.0
    system[0, 0] = 1.0  # the average of 1
    goal = np.zeros(degree + 1)
    goal[0] = 1.0
    averages = np.linalg.solve(system, goal)
    vander = chebyshev.chebvander(nodes, degree)
    return np.array([averages @ np.linalg.solve(vander, w**n) for n in range(powers + 1)])

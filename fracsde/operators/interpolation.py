r"""Densities between cell centres, to the second order of the cells.

Linear between centres, and never negative where the cells are not.  Beyond the last centre the
line goes to the value at the wall: zero at an absorbing one, the continued line at a reflecting
one, the mean of both sides, weighted by the cells, at the seam of a ring.

``tests/operators/test_interpolation.py`` measures the order up to the walls.

Not here: smooth spaces, which interpolate themselves (:mod:`fracsde.operators.spectral`).
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.fokker_planck import FokkerPlanck
    from fracsde.problems.geometry import Walls

__all__ = ["between_cells", "between_tensor_cells"]


def between_cells(
    problem: FokkerPlanck,
    centres: FloatArray,
    widths: FloatArray,
    density: FloatArray,
    x: FloatArray,
) -> FloatArray:
    """Return densities at points of the domain.

    Parameters
    ----------
    problem : FokkerPlanck
        Its walls are looked at.
    centres, widths : (n,) float64 [x]
        Of the cells.
    density : (t, n) float64 [1/x]
        At the centres.
    x : ndarray of float64 [x]
        Points of any shape; outside the box of an unbounded domain the density is zero.

    Returns
    -------
    (t, *shape of x) ndarray [1/x]

    Examples
    --------
    >>> from fracsde.problems.fokker_planck import FokkerPlanck
    >>> problem = FokkerPlanck(diffusion=1.0, domain=(0.0, 2.0), initial=lambda x: 1 + 0 * x)
    >>> centres, widths, density = np.array([0.5, 1.5]), np.ones(2), np.array([[0.25, 0.75]])
    >>> between_cells(problem, centres, widths, density, np.array([0.0, 1.0, 2.0]))
    array([[0. , 0.5, 1. ]])
    """
    nodes, values = _with_ends(problem, centres, widths, density)
    return np.array([np.interp(x, nodes, p, left=0.0, right=0.0) for p in values])


def between_tensor_cells(
    walls: tuple[Walls, ...],
    edges: tuple[FloatArray, ...],
    density: FloatArray,
    x: tuple[FloatArray, ...],
) -> FloatArray:
    """Return densities at points of a tensor grid: multilinear, with the line's rule at walls.

    Parameters
    ----------
    walls : tuple of (str, str)
        Of each axis.
    edges : tuple of (n + 1,) float64 [x]
        Cell edges along each axis.
    density : (t, *shape) float64 [1/x^d]
        At the centres.
    x : tuple of ndarray of float64 [x]
        One array per coordinate, which broadcast against each other; zero outside the grid.

    Returns
    -------
    (t, *common shape) ndarray [1/x^d]

    Examples
    --------
    >>> edges = (np.linspace(0.0, 2.0, 3),) * 2
    >>> density = np.array([[[0.0, 1.0], [2.0, 3.0]]])
    >>> between_tensor_cells((("reflecting",) * 2,) * 2, edges, density, (np.array([0.5, 1.0]),
    ...     np.array([1.5, 1.0])))
    array([[1. , 1.5]])
    """
    values, nodes = density, []
    for axis, (pair, e) in enumerate(zip(walls, edges, strict=True)):
        lines = np.moveaxis(values, axis + 1, -1)
        rows = lines.reshape(-1, lines.shape[-1])
        centres = 0.5 * (e[1:] + e[:-1])
        wide = np.column_stack(_rims(pair, e[[0, -1]], centres, np.diff(e), rows))
        nodes.append(np.concatenate([e[:1], centres, e[-1:]]))
        values = np.moveaxis(wide.reshape(*lines.shape[:-1], -1), -1, axis + 1)
    return _multilinear(nodes, values, x)


def _multilinear(
    nodes: list[FloatArray], values: FloatArray, x: tuple[FloatArray, ...]
) -> FloatArray:
    shape = np.broadcast_shapes(*(np.shape(c) for c in x))
    found, inside = np.zeros((len(values), *shape)), np.ones(shape, dtype=bool)
    places, shares = [], []
    for c, grid in zip(x, nodes, strict=True):
        right = np.clip(np.searchsorted(grid, c, side="right"), 1, len(grid) - 1)
        share = (c - grid[right - 1]) / (grid[right] - grid[right - 1])
        inside = inside & (c >= grid[0]) & (c <= grid[-1])
        places.append(right - 1)
        shares.append(share)
    flat, lengths = values.reshape(len(values), -1), values.shape[1:]
    for corner in product((0, 1), repeat=len(nodes)):
        weight, index = np.ones(()), np.zeros((), dtype=np.int64)
        for far, share, place, length in zip(corner, shares, places, lengths, strict=True):
            weight = np.asarray(weight * (share if far else 1.0 - share))
            index = np.asarray(index * length + place + far)
        found += weight * flat[:, index]
    return np.where(inside, found, 0.0)


def _with_ends(
    problem: FokkerPlanck, x: FloatArray, h: FloatArray, p: FloatArray
) -> tuple[FloatArray, FloatArray]:
    # Cell centres and the two outer edges, with densities at both.
    ends = np.array([x[0] - 0.5 * h[0], x[-1] + 0.5 * h[-1]])
    # The box's ends may differ from these by rounding, and points at a wall are inside.
    ends = np.array([min(ends[0], problem.box[0]), max(ends[1], problem.box[1])])
    nodes = np.concatenate([ends[:1], x, ends[1:]])
    return nodes, np.column_stack(_rims(problem.walls[0], ends, x, h, p))


def _rims(
    walls: Walls, ends: FloatArray, x: FloatArray, h: FloatArray, p: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    # Densities at the first wall, at the centres, and at the last wall.
    if walls[0] == "periodic":
        share = h[-1] / (h[0] + h[-1])
        seam = share * p[:, 0] + (1.0 - share) * p[:, -1]
        return seam, p, seam
    slopes = (
        (p[:, 0] - p[:, 1]) / (x[1] - x[0]) * (x[0] - ends[0]),
        (p[:, -1] - p[:, -2]) / (x[-1] - x[-2]) * (ends[1] - x[-1]),
    )
    rims = []
    for wall, value, slope in zip(walls, (p[:, 0], p[:, -1]), slopes, strict=True):
        continued = np.maximum(value + slope, np.minimum(value, 0.0))
        rims.append(0.0 * value if wall == "absorbing" else continued)
    return rims[0], p, rims[1]

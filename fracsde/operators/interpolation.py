r"""Densities between cell centres, to the second order of the cells.

Linear between centres, and never negative where the cells are not.  Beyond the last centre the
line goes to the value at the wall: zero at an absorbing one, the continued line at a reflecting
one, the mean of both sides, weighted by the cells, at the seam of a ring.

``tests/operators/test_interpolation.py`` measures the order up to the walls.

Not here: smooth spaces, which interpolate themselves (:mod:`fracsde.operators.spectral`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["between_cells"]


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


def _with_ends(
    problem: FokkerPlanck, x: FloatArray, h: FloatArray, p: FloatArray
) -> tuple[FloatArray, FloatArray]:
    # Cell centres and the two outer edges, with densities at both.
    ends = np.array([x[0] - 0.5 * h[0], x[-1] + 0.5 * h[-1]])
    # The box's ends may differ from these by rounding, and points at a wall are inside.
    ends = np.array([min(ends[0], problem.box[0]), max(ends[1], problem.box[1])])
    if problem.periodic:
        share = h[-1] / (h[0] + h[-1])
        seam = share * p[:, 0] + (1.0 - share) * p[:, -1]
        rims = [seam, seam]
    else:
        slopes = (
            (p[:, 0] - p[:, 1]) / (x[1] - x[0]) * (x[0] - ends[0]),
            (p[:, -1] - p[:, -2]) / (x[-1] - x[-2]) * (ends[1] - x[-1]),
        )
        rims = []
        for wall, value, slope in zip(problem.boundary, (p[:, 0], p[:, -1]), slopes, strict=True):
            continued = np.maximum(value + slope, np.minimum(value, 0.0))
            rims.append(0.0 * value if wall == "absorbing" else continued)
    nodes = np.concatenate([ends[:1], x, ends[1:]])
    return nodes, np.column_stack([rims[0], p, rims[1]])

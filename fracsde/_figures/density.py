"""A density against the histogram of draws, with the errors of counting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtrit

from fracsde._check import finite_array, integer, real
from fracsde._figures._data import INK, axis_words, curves_of, draw_curves, new_figure
from fracsde._figures.house import style
from fracsde.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["density_plot"]


def density_plot(
    draws: ArrayLike,
    densities: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    n_effective: float | None = None,
    bins: int = 40,
    level: float = 1e-3,
    name: str = "weight",
    unit: str = "",
) -> Any:
    r"""Draw a histogram and densities, once on a linear and once on a logarithmic scale.

    The bar of a cell of weight ``p`` is :math:`t\,\sqrt{p (1 - p) / n}`, with the effective number
    of draws ``n``; a cell without draws shows the weight that ``n`` draws would miss with
    probability ``level``.

    Parameters
    ----------
    draws : array_like
        Draws of one coordinate, of any shape.
    densities : mapping from name to (places, values)
        Densities to compare with, on grids of their own.
    n_effective : float, optional [1]
        Effective number of independent draws; their number if not given, which is right for
        independent draws alone.
    bins : int
        Number of cells.
    level : float [1]
        Two-sided level of the bars.
    name, unit : str
        What the draws are, for the axis.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    RecordError
        If the draws do not vary.

    Examples
    --------
    >>> x = np.linspace(-4, 4, 201)
    >>> normal = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
    >>> draws = np.random.default_rng(1).standard_normal(1000)
    >>> figure = density_plot(draws, {"Gaussian": (x, normal)})
    >>> [axes.get_yscale() for axes in figure.axes]
    ['linear', 'log']
    """
    sample = finite_array("draws", draws).ravel()
    drawn = curves_of(densities)
    cells = integer("bins", bins, low=2)
    if sample.size < 2 or np.ptp(sample) == 0:
        msg = "`draws` must vary to have a histogram; pass a coordinate that moves"
        raise RecordError(msg)
    count = real("n_effective", sample.size if n_effective is None else n_effective, low=1.0)
    number, edges = np.histogram(sample, bins=cells)
    middle, width = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
    weight = number / sample.size
    low, high = _bars(weight, count, real("level", level, low=0.0, high=1.0))
    with style():
        figure, grid = new_figure(1, 2, (8.2, 3.7))
        for axes, scale in zip(grid[0], ("linear", "log"), strict=True):
            axes.set(yscale=scale, xlabel=axis_words(name, unit))
            axes.stairs(weight / width, edges, color="#8c8c8c", fill=scale == "linear", alpha=0.35)
            axes.stairs(weight / width, edges, color="#555555", lw=0.8, label="measured")
            floor = 0.3 * weight[weight > 0].min()
            ends = np.maximum(low, floor) if scale == "log" else low
            axes.vlines(middle, ends / width, high / width, color=INK, lw=0.9, zorder=3)
            draw_curves(axes, drawn)
        grid[0, 1].set_ylim(bottom=0.3 * (weight / width)[weight > 0].min())
        grid[0, 0].set_ylim(bottom=0.0)
        grid[0, 0].set_ylabel(axis_words("density", f"1/{unit}" if unit not in {"", "1"} else ""))
        for axes in grid[0]:
            axes.set_xlim(edges[0], edges[-1])
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)))
    return figure


def _bars(weight: FloatArray, count: float, level: float) -> tuple[FloatArray, FloatArray]:
    # Ends of the bar of every cell.
    half = -stdtrit(max(count - 1.0, 1.0), 0.5 * level) * np.sqrt(weight * (1.0 - weight) / count)
    most = 1.0 - level ** (1.0 / count)  # what an empty cell may hold
    high = np.where(weight > 0, weight + half, most)
    return np.maximum(weight - half, 0.0), high

"""Pictures of densities: curves on a line, maps in the plane, marginals in space."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import BackendUnavailable

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["curves", "maps", "marginals", "optional"]

_LETTERS = "xyz"
_LEVELS = np.array([0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9])  # of the largest density, contours


def optional(module: str, install: str) -> Any:
    """Return a module that may not be there.

    Returns
    -------
    module

    Raises
    ------
    BackendUnavailable
        If it is not; names what to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        msg = f"this needs {module.split('.')[0]}, which is not installed; {install}"
        raise BackendUnavailable(msg) from error


def _new(rows: int, columns: int, **options: Any) -> Any:
    pyplot = optional("matplotlib.pyplot", 'pip install "fracsde[plot]"')
    return pyplot.subplots(rows, columns, **options)


def curves(ax: Any, x: FloatArray, density: FloatArray, times: FloatArray) -> Any:
    """Draw densities on a line.

    Parameters
    ----------
    ax : matplotlib Axes or None
        Where.
    x : (n,) float64 [x]
        Points.
    density : (t, n) float64 [1/x]
        One curve each.
    times : (t,) float64 [t]
        For the legend.

    Returns
    -------
    matplotlib Axes
    """
    ax = _new(1, 1)[1] if ax is None else ax
    for p, t in zip(density, times, strict=True):
        ax.plot(x, p, label=f"t = {t:.3g}")
    ax.set_xlabel("x")
    ax.set_ylabel("density")
    ax.legend()
    return ax


def maps(ax: Any, axes: tuple[FloatArray, ...], density: FloatArray, times: FloatArray) -> Any:
    """Draw densities in the plane, each as an image with contours and a scale of its own.

    Parameters
    ----------
    ax : sequence of matplotlib Axes, Axes or None
        One for each density.
    axes : tuple of two (n,) float64 [x]
        Points along each axis.
    density : (t, n, m) float64 [1/x^2]
        One map each.
    times : (t,) float64 [t]
        For the titles.

    Returns
    -------
    ndarray of matplotlib Axes
    """
    if ax is None:
        width = 3.1 * len(times)
        ax = _new(1, len(times), figsize=(width, 3.2), sharey=True, layout="constrained")[1]
    panels = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
    ends = [e for a in axes for e in (1.5 * a[0] - 0.5 * a[1], 1.5 * a[-1] - 0.5 * a[-2])]
    for panel, p, t in zip(panels, density, times, strict=False):
        largest = float(p.max()) or 1.0
        panel.pcolormesh(*axes, p.T, cmap="Blues", vmin=0.0, vmax=largest, shading="nearest")
        panel.contour(*axes, p.T, levels=largest * _LEVELS, colors="0.25", linewidths=0.5)
        panel.set(xlim=ends[:2], ylim=ends[2:], aspect="equal", xlabel="x", title=f"t = {t:.3g}")
    panels[0].set_ylabel("y")
    return panels


def marginals(
    ax: Any, axes: tuple[FloatArray, ...], lines: list[FloatArray], times: FloatArray
) -> Any:
    """Draw the densities of each coordinate.

    Parameters
    ----------
    ax : sequence of matplotlib Axes or None
        One for each coordinate.
    axes : tuple of (n,) float64 [x]
        Points along each axis.
    lines : list of (t, n) float64 [1/x]
        Densities of each coordinate.
    times : (t,) float64 [t]
        For the legend.

    Returns
    -------
    ndarray of matplotlib Axes
    """
    if ax is None:
        ax = _new(1, len(axes), figsize=(3.4 * len(axes), 3.0), layout="constrained")[1]
    panels = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
    for panel, letter, x, line in zip(panels, _LETTERS, axes, lines, strict=False):
        curves(panel, x, line, times)
        panel.set_xlabel(letter)
        panel.set_ylabel(f"density of {letter}")
    return panels

"""Relaxation of a mean under two clocks: an exponential and a power law, on the same data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fracsde._figures._data import (
    axis_words,
    curves_of,
    draw_curves,
    measured_at,
    new_figure,
    places,
)
from fracsde._figures.house import style

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fracsde._typing import ArrayLike
    from fracsde.records.measurement import Measurement

__all__ = ["autocorrelation_plot", "relaxation_plot"]


def relaxation_plot(
    times: ArrayLike,
    measured: Measurement,
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    level: float = 1e-3,
    unit: str = "step",
) -> Any:
    """Draw a relaxation twice: against time, and against the logarithm of time.

    An exponential is a straight line on the left, a power law is one on the right.

    Parameters
    ----------
    times : (size,) array_like [step or time]
        Times since the start, positive.
    measured : Measurement
        The relaxing mean, its plateau taken off; the bars are its intervals at ``level``.
    curves : mapping from name to (times, values)
        The clocks to be told apart, e.g. ``{"exponential": ..., "Mittag-Leffler": ...}``, fitted
        to the same data.
    level : float [1]
        Two-sided level of the intervals.
    unit : str
        Unit of the times, for the axis.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import numpy as np
    >>> from fracsde import Measurement, Quantity
    >>> t = np.array([1.0, 2.0, 4.0])
    >>> mean = Quantity(name="mean", unit="weight", labels=("1", "2", "4"))
    >>> run = Measurement(quantity=mean, value=np.exp(-t), stderr=0.01, n_effective=64)
    >>> figure = relaxation_plot(t, run, {"exponential": (t, np.exp(-t))})
    >>> [axes.get_xscale() for axes in figure.axes]
    ['linear', 'log']
    """
    at = places("times", times, measured, positive=True)
    drawn = curves_of(curves)
    with style():
        figure, grid = new_figure(1, 2, (8.2, 3.7), sharey=True)
        for axes, scale, words in zip(
            grid[0],
            ("linear", "log"),
            ("exponentials straight", "power laws straight"),
            strict=True,
        ):
            axes.set(xscale=scale, yscale="log", xlabel=axis_words("time", unit))
            axes.set_title(words, loc="left", fontsize=9)
            draw_curves(axes, drawn)
            measured_at(axes, at, measured, level)
        grid[0, 0].set_ylabel(axis_words(measured.quantity.name, measured.quantity.unit))
        seen = measured.value[measured.value > 0]
        if len(seen):  # of the data: a curve that falls for ever would squeeze them
            grid[0, 0].set_ylim(0.4 * seen.min(), 1.6 * seen.max())
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)))
    return figure


def autocorrelation_plot(
    lags: ArrayLike,
    measured: Measurement,
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    *,
    level: float = 1e-3,
    unit: str = "step",
) -> Any:
    """Draw autocorrelations against the lag, with what theories say.

    Parameters
    ----------
    lags : (size,) array_like [step or time]
        Lags of the entries.
    measured : Measurement
        Autocorrelations; the bars are its intervals at ``level``.
    curves : mapping from name to (lags, values), optional
        Theories.
    level : float [1]
        Two-sided level of the intervals.
    unit : str
        Unit of the lags, for the axis.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> from fracsde import Measurement, Quantity
    >>> rho = Quantity(name="autocorrelation", labels=("1", "2"))
    >>> run = Measurement(quantity=rho, value=[0.5, 0.25], stderr=0.01, n_effective=64)
    >>> figure = autocorrelation_plot([1, 2], run, {"map": ([1, 2], [0.5, 0.25])})
    >>> figure.axes[0].get_xlabel()
    'lag [step]'
    """
    at = places("lags", lags, measured, positive=False)
    drawn = curves_of(curves or {})
    with style():
        figure, grid = new_figure(1, 1, (6.4, 3.6))
        axes = grid[0, 0]
        axes.axhline(0.0, color="#777777", lw=0.8, zorder=1)
        draw_curves(axes, drawn)
        measured_at(axes, at, measured, level)
        what = axis_words(measured.quantity.name, measured.quantity.unit)
        axes.set(xlabel=axis_words("lag", unit), ylabel=what)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)))
    return figure

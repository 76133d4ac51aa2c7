"""Mean-square displacement on logarithmic axes, its local slope, and the windows of fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import real
from fracsde._figures._data import (
    INK,
    SHADE,
    axis_words,
    curves_of,
    draw_curves,
    draw_measured,
    half_widths,
    measured_at,
    new_figure,
    places,
)
from fracsde._figures.house import style
from fracsde.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.records.measurement import Measurement

__all__ = ["displacement_plot"]

_HATCHES = ("", "///", "...", "xxx")


def displacement_plot(
    lags: ArrayLike,
    measured: Measurement,
    *,
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    windows: Sequence[tuple[float, float, str]] = (),
    slopes: tuple[ArrayLike, Measurement] | None = None,
    level: float = 1e-3,
    unit: str = "step",
) -> Any:
    """Draw a displacement against the time elapsed, with the local slope under it.

    Parameters
    ----------
    lags : (size,) array_like [step or time]
        Times elapsed, positive.
    measured : Measurement
        Mean-square displacement at each of them; the bars are its intervals at ``level``.
    curves : mapping from name to (times, values), optional
        Theories or fits.
    windows : sequence of (first, last, words)
        Windows of fits, shaded and hatched, each with what was found there, e.g.
        ``(10, 100, "slope 0.98 ± 0.01")``.
    slopes : (times, Measurement), optional
        Local slopes that were measured with errors; differences of neighbouring points, without
        errors, if not given.
    level : float [1]
        Two-sided level of the intervals.
    unit : str
        Unit of the times, for the axis.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If a window does not end after it starts, or a curve is no pair.

    Examples
    --------
    >>> from fracsde import Measurement, Quantity
    >>> t = np.array([1.0, 2.0, 4.0, 8.0])
    >>> msd = Quantity(name="displacement", unit="weight^2", labels=("1", "2", "4", "8"))
    >>> run = Measurement(quantity=msd, value=0.1 * t, stderr=0.001 * t, n_effective=64)
    >>> figure = displacement_plot(t, run, windows=[(1, 8, "slope 1")])
    >>> [axes.get_yscale() for axes in figure.axes]
    ['log', 'linear']
    """
    at = places("lags", lags, measured, positive=True)
    drawn = curves_of(curves or {})
    spans = [_window(window) for window in windows]
    steep = None
    if slopes is not None:
        if not isinstance(slopes, tuple) or len(slopes) != 2:
            msg = "`slopes` must be a pair (times, Measurement)"  # type: ignore[unreachable]
            raise InputError(msg)
        steep = places("slopes", slopes[0], slopes[1], positive=True)
    with style():
        figure, grid = new_figure(2, 1, (6.4, 5.8), sharex=True, height_ratios=[2.2, 1.0])
        top, bottom = grid[:, 0]
        top.set(xscale="log", yscale="log")
        top.set_ylabel(axis_words(measured.quantity.name, measured.quantity.unit))
        for i, (first, last, found) in enumerate(spans):
            _shade(top, bottom, first, last, found, _HATCHES[i % len(_HATCHES)])
        draw_curves(top, drawn)
        measured_at(top, at, measured, level)
        draw_curves(bottom, {name: _slope(*pair) for name, pair in drawn.items()})
        if slopes is not None and steep is not None:
            draw_measured(bottom, steep, slopes[1].value, half_widths(slopes[1], level))
        else:
            middle, slope = _slope(at, measured.value)
            bottom.plot(middle, slope, ls="", marker="o", ms=3.2, color=INK, zorder=3)
        bottom.axhline(1.0, color="#777777", lw=0.8, zorder=1)
        bottom.set(xlabel=axis_words("time elapsed", unit), ylabel="local slope")
        handles, labels = top.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)))
    return figure


def _window(window: object) -> tuple[float, float, str]:
    if not isinstance(window, (tuple, list)) or len(window) != 3:
        msg = f"`windows` must hold triples (first, last, words), got {window!r}"
        raise InputError(msg)
    first = real("windows", window[0], low=0.0)
    return first, real("windows", window[1], low=first), str(window[2])


def _shade(top: Any, bottom: Any, first: float, last: float, found: str, hatch: str) -> None:
    for axes in (top, bottom):
        axes.axvspan(first, last, fc="#ececec", ec="#bdbdbd", hatch=hatch, lw=0, zorder=0)
        axes.axvline(first, color=SHADE, lw=0.8, zorder=1)
        axes.axvline(last, color=SHADE, lw=0.8, zorder=1)
    middle = float(np.sqrt(first * last))
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.9}
    top.text(
        middle,
        0.04,
        found.replace("$", r"\$"),
        transform=top.get_xaxis_transform(),
        ha="center",
        va="bottom",
        fontsize=8,
        bbox=box,
        zorder=5,
    )


def _slope(at: FloatArray, value: FloatArray) -> tuple[FloatArray, FloatArray]:
    # Logarithmic slope between points about a factor of 1.5 apart, at their geometric middle.
    kept = (value > 0) & (at > 0)
    at, value = at[kept], value[kept]
    order = np.argsort(at, kind="stable")
    at, value = at[order], value[order]
    later = np.searchsorted(at, 1.5 * at)
    first = np.flatnonzero(later < len(at))
    later = later[first]
    middle = np.sqrt(at[first] * at[later])
    return middle, np.log(value[later] / value[first]) / np.log(at[later] / at[first])

"""What figures draw, checked: places, measurements with their intervals, predictions, curves."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtrit

from fracsde._check import finite_array, real, vector
from fracsde._figures.house import COLOURS, LINES, MARKERS, modules, words
from fracsde.errors import InputError, OutOfRangeError
from fracsde.records.measurement import Measurement, Prediction

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray

__all__ = [
    "INK",
    "SHADE",
    "axis_words",
    "curves_of",
    "draw_curves",
    "draw_measured",
    "half_widths",
    "measured_at",
    "new_figure",
    "places",
    "predictions_of",
]

INK = "#1a1a1a"
SHADE = "#dddddd"


def axis_words(name: str, unit: str = "") -> str:
    """Return the name of an axis with its unit, on two lines where it is long.

    Returns
    -------
    str

    Examples
    --------
    >>> axis_words("stationary variance", "weight^2")
    'stationary variance [weight²]'
    """
    shown = unit.replace("^2", "²").replace("^3", "³").replace("^4", "⁴")
    line = words(name) + (f" [{shown}]" if unit not in {"", "1"} else "")
    return "\n".join(textwrap.wrap(line, 36, break_long_words=False))


def new_figure(rows: int, columns: int, size: tuple[float, float], **grid: Any) -> tuple[Any, Any]:
    """Return a figure and its axes (row, column).

    Returns
    -------
    (Figure, ndarray of Axes)
    """
    figure = modules("matplotlib.figure").Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **grid)


def places(name: str, value: ArrayLike, measured: object, *, positive: bool) -> FloatArray:
    """Return the places of the entries of a measurement.

    Returns
    -------
    (size,) ndarray of float64

    Raises
    ------
    InputError
        If ``measured`` is no Measurement.
    OutOfRangeError
        If a place is not positive where the axis is logarithmic.
    """
    if not isinstance(measured, Measurement):
        msg = f"`measured` must be a Measurement, got {measured!r}"
        raise InputError(msg)
    remedy = f"one for each entry of {measured.quantity.name!r}"
    at = vector(name, value, length=measured.quantity.size, remedy=remedy)
    if positive and np.any(at <= 0):
        msg = (
            f"`{name}` stands on a logarithmic axis and must be positive, got {at.min():g}; leave "
            "those entries out"
        )
        raise OutOfRangeError(msg)
    return at


def half_widths(measured: Measurement, level: float) -> FloatArray:
    """Return Student's half-widths at a two-sided level.

    Returns
    -------
    (size,) ndarray of float64
    """
    level = real("level", level, low=0.0, high=1.0)
    quantile = -stdtrit(measured.n_effective - 1.0, 0.5 * level)
    return np.asarray(quantile * measured.stderr, dtype=np.float64)


def measured_at(axes: Any, at: FloatArray, measured: Measurement, level: float) -> None:
    """Draw a measurement: filled circles with the bars of their intervals."""
    draw_measured(axes, at, measured.value, half_widths(measured, level))


def draw_measured(axes: Any, at: FloatArray, value: FloatArray, half: FloatArray) -> None:
    """Draw filled circles with bars, which reach the frame where a logarithm has no lower end."""
    low = value - half
    if axes.get_yscale() == "log":
        # A bar that reaches zero goes down to the frame; a value below it is not on the axis.
        seen = value > 0
        at, value, half, low = at[seen], value[seen], half[seen], low[seen]
        if len(value):
            low = np.maximum(low, 1e-3 * value.min())
    axes.vlines(at, low, value + half, color=INK, lw=1.0, zorder=3)
    axes.plot(at, value, ls="", marker="o", ms=3.8, color=INK, zorder=4, label="measured")


def predictions_of(value: object, measured: Measurement) -> dict[str, Prediction]:
    """Return predictions by name; a single one is named by its theory.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If one is no Prediction, or has another number of entries.
    """
    if isinstance(value, Prediction):
        value = {value.theory or "predicted": value}
    if not isinstance(value, Mapping):
        msg = f"`predicted` must be a Prediction or map names to Predictions, got {value!r}"
        raise InputError(msg)
    for name, prediction in value.items():
        if not isinstance(prediction, Prediction):
            msg = f"`predicted[{name!r}]` must be a Prediction, got {prediction!r}"
            raise InputError(msg)
        if prediction.quantity.size != measured.quantity.size:
            msg = (
                f"`predicted[{name!r}]` has {prediction.quantity.size} entries and the measurement "
                f"{measured.quantity.size}; predict where it was measured"
            )
            raise InputError(msg)
    return {str(name): prediction for name, prediction in value.items()}


def curves_of(value: Mapping[str, object]) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Return curves by name, each as places and values.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If they are no mapping to pairs of equally long arrays.
    """
    if not isinstance(value, Mapping):
        msg = f"`curves` must map names to pairs, got {value!r}"  # type: ignore[unreachable]
        raise InputError(msg)
    found = {}
    for name, pair in value.items():
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            msg = f"`curves[{name!r}]` must be a pair (places, values), got {pair!r}"
            raise InputError(msg)
        at = finite_array(f"curves[{name!r}]", pair[0], ndim=1)
        found[str(name)] = at, finite_array(f"curves[{name!r}]", pair[1], shape=(len(at),))
    return found


def draw_curves(axes: Any, curves: Mapping[str, tuple[FloatArray, FloatArray]]) -> None:
    """Draw curves, each with a colour and a line of its own, and a marker where it is coarse."""
    for i, (name, (at, value)) in enumerate(curves.items()):
        k = i % len(COLOURS)
        order = np.argsort(at, kind="stable")
        coarse = len(at) <= 40
        axes.plot(
            at[order],
            value[order],
            ls=LINES[k],
            color=COLOURS[k],
            marker=MARKERS[(k + 1) % len(MARKERS)] if coarse else "",
            ms=4.5,
            mfc="white",
            lw=1.5,
            zorder=2,
            label=words(name),
        )

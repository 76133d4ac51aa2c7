"""Predicted and measured variances along the spectrum of the Hessian."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import real
from fracsde._figures._data import (
    SHADE,
    axis_words,
    draw_curves,
    draw_measured,
    half_widths,
    new_figure,
    places,
    predictions_of,
)
from fracsde._figures.house import style
from fracsde.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fracsde._typing import ArrayLike
    from fracsde.records.measurement import Measurement, Prediction

__all__ = ["spectrum_plot"]

_WIDE = 5.0


def spectrum_plot(
    eigenvalues: ArrayLike,
    measured: Measurement,
    predicted: Prediction | Mapping[str, Prediction],
    *,
    tolerance: float | None = None,
    level: float = 1e-3,
    unit: str = "",
) -> Any:
    """Draw variances against the eigenvalue of their direction, and their ratio to a theory.

    Parameters
    ----------
    eigenvalues : (size,) array_like [loss / weight^2]
        Curvature of the direction of each entry, positive.
    measured : Measurement
        Variances; the bars are its intervals at ``level``.
    predicted : Prediction or mapping from name to Prediction
        What theories say of the same entries; the lower panel is relative to the first.
    tolerance : float, optional [1]
        Half-width of the grey band about a ratio of one.
    level : float [1]
        Two-sided level of the intervals.
    unit : str
        Unit of the eigenvalues, for the axis.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If a prediction has another number of entries, or is not positive.
    OutOfRangeError
        If an eigenvalue is not positive.

    Examples
    --------
    >>> from fracsde import Measurement, Prediction, Quantity
    >>> variance = Quantity(name="stationary variance", unit="weight^2", labels=("e1", "e2"))
    >>> run = Measurement(quantity=variance, value=[0.1, 0.2], stderr=0.01, n_effective=99)
    >>> theory = Prediction(quantity=variance, value=[0.11, 0.2], numerical_error=0.0, theory="map")
    >>> figure = spectrum_plot([1.0, 0.5], run, theory)
    >>> [axes.get_yscale() for axes in figure.axes]
    ['log', 'linear']
    """
    at = places("eigenvalues", eigenvalues, measured, positive=True)
    theories = predictions_of(predicted, measured)
    if not theories or any(np.any(theory.value <= 0) for theory in theories.values()):
        msg = "`predicted` must hold at least one theory, and positive variances alone"
        raise InputError(msg)
    half = half_widths(measured, level)
    base = next(iter(theories.values())).value
    with style():
        figure, grid = new_figure(2, 1, (6.4, 5.6), sharex=True, height_ratios=[2.2, 1.0])
        top, bottom = grid[:, 0]
        # A log axis has no readable marks within half a decade.
        top.set(xscale="log" if at.max() > _WIDE * at.min() else "linear", yscale="log")
        top.set_ylabel(axis_words(measured.quantity.name, measured.quantity.unit))
        draw_curves(top, {name: (at, theory.value) for name, theory in theories.items()})
        draw_measured(top, at, measured.value, half)
        if tolerance is not None:
            band = real("tolerance", tolerance, low=0.0, high=1.0)
            bottom.axhspan(1 - band, 1 + band, color=SHADE, lw=0, zorder=0)
        ratios = {name: (at, theory.value / base) for name, theory in theories.items()}
        draw_curves(bottom, ratios)
        draw_measured(bottom, at, measured.value / base, half / base)
        bottom.set(
            xlabel=axis_words("eigenvalue of the Hessian", unit),
            ylabel=axis_words(f"ratio to {next(iter(theories))}"),
        )
        handles, labels = top.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)))
    return figure

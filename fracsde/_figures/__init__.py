"""Figures that can be read in print and by colour-blind people, each from plain records."""

from __future__ import annotations

from fracsde._figures.density import density_plot
from fracsde._figures.displacement import displacement_plot
from fracsde._figures.house import COLOURS, MARKERS, png_bytes, style
from fracsde._figures.ratios import ratio_plot
from fracsde._figures.relaxation import autocorrelation_plot, relaxation_plot
from fracsde._figures.spectrum import spectrum_plot

__all__ = [
    "COLOURS",
    "MARKERS",
    "autocorrelation_plot",
    "density_plot",
    "displacement_plot",
    "png_bytes",
    "ratio_plot",
    "relaxation_plot",
    "spectrum_plot",
    "style",
]

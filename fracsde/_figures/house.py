"""The house style of figures: readable in print and by colour-blind people.

Colours are those of Okabe and Ito, and no series is told from another by colour alone: each has a
marker and a line of its own, and verdicts are words.  Nothing here touches pyplot or the global
backend, and matplotlib is imported when something is drawn.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fracsde.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["COLOURS", "LINES", "MARKERS", "modules", "png_bytes", "style", "words"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1)), (0, (9, 3)))

_STYLE: dict[str, Any] = {
    "figure.dpi": 160,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": "#444444",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.4,
    "savefig.facecolor": "white",
}


def modules(module: str) -> Any:
    """Return a module of matplotlib, or say how to install it.

    Returns
    -------
    module

    Raises
    ------
    BackendUnavailable
        If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        msg = 'figures need matplotlib, which is not installed; run: pip install "fracsde[plot]"'
        raise BackendUnavailable(msg) from error


@contextmanager
def style() -> Iterator[None]:
    """Use the house style for what is drawn inside the ``with`` block; restores what was before.

    Yields
    ------
    None
    """
    matplotlib = modules("matplotlib")
    cycler = modules("cycler").cycler
    series = cycler(color=COLOURS) + cycler(marker=MARKERS)
    with matplotlib.rc_context({**_STYLE, "axes.prop_cycle": series}):
        yield


def png_bytes(figure: Any) -> bytes:
    """Return a figure as PNG: equal figures, equal bytes, for neither date nor program is inside.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What to render; its own resolution is kept.

    Returns
    -------
    bytes
    """
    canvas = modules("matplotlib.backends.backend_agg").FigureCanvasAgg
    buffer = io.BytesIO()
    before = figure.canvas
    try:
        canvas(figure).print_png(buffer, metadata={"Software": None})
    finally:
        figure.set_canvas(before)
    return buffer.getvalue()


def words(name: str) -> str:
    """Return a name on one line, shortened, with no character read as mathematics.

    Returns
    -------
    str
    """
    line = " ".join(name.split())
    line = line if len(line) <= 44 else line[:43] + "…"
    return line.replace("$", r"\$")

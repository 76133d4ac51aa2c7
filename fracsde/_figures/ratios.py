"""Ratios of measurement and prediction with their intervals, against the band of the tolerance."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from fracsde._figures.house import COLOURS, MARKERS, modules, style, words
from fracsde.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fracsde._report.nouns import Report
    from fracsde._report.rows import Row

__all__ = ["ratio_plot"]

LABELLED_ROWS = 48  # more do not fit one page with a readable label each
REACH = 12.0  # half-width of the picture in tolerances, at most
RIVAL_REACH = 5.0  # and at most this for the sake of rivals, which would squeeze the theory


def ratio_plot(report: Report, *, rivals: Iterable[str] | None = None) -> Any:
    """Draw every row's ratio with its interval, and the band of the tolerance.

    A point beyond the frame is drawn as an arrowhead at its edge.  Up to 48 rows have a label and
    their verdict each; more are drawn from left to right in the order of the report, with the names
    of the quantities alone.

    Parameters
    ----------
    report : Report
        What to draw.
    rivals : iterable of str, optional
        Which rivals to draw; all of them if not given.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If a rival is not in the report.
    """
    names = list(report.rivals if rivals is None else rivals)
    unknown = [name for name in names if name not in report.rivals]
    if unknown:
        msg = f"`rivals` must be in the report, got {unknown}; it has {list(report.rivals)}"
        raise InputError(msg)
    theory = " and ".join(dict.fromkeys(row.theory for row in report.rows if row.theory))
    series = [(f"theory: {theory}" if theory else "theory", report.rows)]
    series += [(f"rival: {name}", report.rivals[name]) for name in names]
    labelled = len(report.rows) <= LABELLED_ROWS
    Figure = modules("matplotlib.figure").Figure
    with style():
        height = 1.3 + 0.24 * len(report.rows) if labelled else 4.2
        figure = Figure(figsize=(8.0, height), layout="constrained")
        axes = figure.add_subplot()
        reach = _reach(report, [rows for _, rows in series])
        band = (1 - report.tolerance, 1 + report.tolerance)
        (axes.axvspan if labelled else axes.axhspan)(*band, color="#dddddd", lw=0, zorder=0)
        (axes.axvline if labelled else axes.axhline)(1.0, color="#444444", lw=0.8, zorder=1)
        first: dict[str, int] = {}
        for i, row in enumerate(report.rows):
            first.setdefault(row.quantity, i)
        for i, (name, rows) in enumerate(series):
            _draw(axes, name, rows, first, i, len(series), reach, upright=not labelled)
        _decorate(axes, report, reach, upright=not labelled)
        if len(series) > 1 or theory:
            figure.legend(loc="outside upper center", ncols=min(3, len(series)), numpoints=1)
    return figure


def _reach(report: Report, series: Sequence[Sequence[Row]]) -> float:
    # Half-width of the picture: wide enough for the points, not for a few that are far out.
    own = 1.08 * max(max(abs(row.low - 1), abs(row.high - 1)) for row in report.rows)
    others = 1.08 * max((abs(row.ratio - 1) for rows in series[1:] for row in rows), default=0.0)
    wanted = (2.0, min(own / report.tolerance, REACH), min(others / report.tolerance, RIVAL_REACH))
    return max(wanted) * report.tolerance


def _draw(
    axes: Any,
    name: str,
    rows: Sequence[Row],
    first: Mapping[str, int],
    index: int,
    of: int,
    reach: float,
    *,
    upright: bool,
) -> None:
    """Draw one theory: a marker and a bar per row, an arrowhead where that is out of the frame."""
    colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
    shift = 0.6 * ((index + 0.5) / of - 0.5) if of > 1 else 0.0
    size = 3.5 if upright else 5.0
    face = colour if index == 0 else "white"
    axes.plot([], [], ls="", marker=marker, ms=5, color=colour, mfc=face, label=words(name))
    seen: Counter[str] = Counter()
    for row in rows:
        place = first[row.quantity] + seen[row.quantity] + shift
        seen[row.quantity] += 1
        inside = abs(row.ratio - 1) <= reach
        at = row.ratio if inside else 1 + reach * (1 if row.ratio > 1 else -1)
        low, high = max(row.low, 1 - reach), min(row.high, 1 + reach)
        arrow = {(True, True): "^", (True, False): "v", (False, True): ">", (False, False): "<"}
        shape = marker if inside else arrow[upright, row.ratio > 1]
        point = ([place], [at]) if upright else ([at], [place])
        if low < high:
            bar = ([place, place], [low, high]) if upright else ([low, high], [place, place])
            axes.plot(*bar, color=colour, lw=1.2, marker="", zorder=2)
        axes.plot(
            *point, ls="", marker=shape, ms=size, color=colour, mfc=face, clip_on=False, zorder=3
        )


def _decorate(axes: Any, report: Report, reach: float, *, upright: bool) -> None:
    """Label the axes and, where there is room, every row and its verdict."""
    title = f"1 + (measured − predicted) / scale; band: 1 ± {report.tolerance:g}"
    frame = (1 - reach, 1 + reach)
    if upright:
        axes.set(ylim=frame, xlim=(-1, len(report.rows)), ylabel=title)
        names = [row.quantity for row in report.rows]
        starts = [i for i, name in enumerate(names) if not i or names[i - 1] != name]
        centres = [
            0.5 * (i + j - 1) for i, j in zip(starts, [*starts[1:], len(names)], strict=True)
        ]
        quantities = [words(names[i]) for i in starts]
        turned = (
            {"rotation": 20, "ha": "right", "rotation_mode": "anchor"} if len(starts) > 1 else {}
        )
        axes.set_xticks(centres, quantities, **turned)
        axes.tick_params(axis="x", length=0, pad=9)
        for i in starts[1:]:
            axes.axvline(i - 0.5, color="#999999", lw=0.6, ls=":", zorder=1)
        return
    labels = [words(f"{r.quantity}, {r.label}" if r.label else r.quantity) for r in report.rows]
    axes.set(xlim=frame, ylim=(len(labels) - 0.4, -0.6), xlabel=title)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0, pad=9)
    right = axes.get_yaxis_transform()
    for i, row in enumerate(report.rows):
        verdict = f"{row.verdict.symbol} {row.verdict.name.lower()}"
        axes.text(1.02, i, verdict, transform=right, va="center", ha="left", fontsize=8)
        if i % 2:
            axes.axhspan(i - 0.5, i + 0.5, color="#f3f3f3", lw=0, zorder=-1)

"""A report in plain text, and as Markdown."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._report.nouns import Report
    from fracsde._report.rows import Row

__all__ = ["count", "markdown", "number", "percent", "ratio", "text", "uncertainty"]

WIDTH = 110
_HEADINGS = ("predicted", "measured", "± stderr", "ratio", "interval", "verdict")


def number(value: float) -> str:
    """Return a value to four digits.

    Returns
    -------
    str
    """
    return f"{value:.4g}"


def uncertainty(value: float) -> str:
    """Return an error to two digits.

    Returns
    -------
    str
    """
    return f"{value:.2g}"


def ratio(value: float) -> str:
    """Return a ratio to four decimals, or four digits where it is large.

    Returns
    -------
    str
    """
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.4g}"


def count(value: float) -> str:
    """Return an effective number of observations, whole, with thousands apart.

    Returns
    -------
    str
    """
    return f"{value:,.0f}".replace(",", "\u2009") if value < 1e9 else f"{value:.3g}"


def percent(value: float) -> str:
    """Return a fraction in per cent.

    Returns
    -------
    str
    """
    return f"{100 * value:g} %"


def _one_line(words: str, width: int) -> str:
    words = " ".join(words.split())
    return words if len(words) <= width else words[: width - 1] + "…"


def _numbers(row: Row) -> tuple[str, ...]:
    return (
        number(row.predicted),
        number(row.measured),
        uncertainty(row.stderr),
        ratio(row.ratio),
        f"[{ratio(row.low)}, {ratio(row.high)}]",
    )


def _table(rows: Sequence[Row]) -> list[str]:
    # One line per row: names take what the numbers leave, at most ``WIDTH`` columns.
    cells = [_numbers(row) for row in rows]
    widths = [
        max(len(h), *map(len, c)) for h, c in zip(_HEADINGS, zip(*cells, strict=True), strict=False)
    ]
    room = WIDTH - sum(widths) - 2 * (len(widths) + 2) - len("INCONCLUSIVE")
    label = min(max(len("label"), *(len(" ".join(row.label.split())) for row in rows)), room // 3)
    name = min(max(len("quantity"), *(len(row.quantity) for row in rows)), room - label)

    def line(first: str, second: str, middle: Sequence[str], last: str) -> str:
        columns = [_one_line(first, name).ljust(name), _one_line(second, label).ljust(label)]
        columns += [cell.rjust(width) for cell, width in zip(middle, widths, strict=True)]
        return "  ".join([*columns, last]).rstrip()

    lines = [line("quantity", "label", _HEADINGS[:-1], _HEADINGS[-1])]
    body = [line(r.quantity, r.label, c, r.verdict.name) for r, c in zip(rows, cells, strict=True)]
    return [*lines, "-" * max(map(len, lines + body)), *body]


def text(report: Report) -> str:
    """Return a report as an aligned table, at most 110 columns wide.

    Parameters
    ----------
    report : Report
        What to show.

    Returns
    -------
    str
    """
    lines = textwrap.wrap(f"{report.verdict}: {report.sentence}", WIDTH)
    lines += [f"Tolerance {percent(report.tolerance)}, level {report.level:g} per row.", ""]
    lines += _table(report.rows)
    if report.rivals:
        lines.append("")
        for name in report.rivals:
            lines += textwrap.wrap(report.excluded(name).sentence, WIDTH)
    if report.assumptions:
        lines += ["", "Assumptions of the theory:"]
        for test in report.assumptions:
            words = f"{test.verdict.symbol} {test.sentence}"
            lines += textwrap.wrap(words, WIDTH, subsequent_indent="  ")
    return "\n".join(lines)


def _cell(words: str) -> str:
    # Escape what Markdown would read as structure.
    words = " ".join(words.split())
    for character in "\\`*_[]<>|#":
        words = words.replace(character, "\\" + character)
    return words


def markdown(report: Report) -> str:
    """Return a report as Markdown: the sentence, a table of rows, a line for each rival and test.

    Parameters
    ----------
    report : Report
        What to show.

    Returns
    -------
    str
    """
    lines = [
        f"**{report.verdict}**: {_cell(report.sentence)}",
        "",
        f"Next: {_cell(report.next_step)}",
        "",
        f"Tolerance {percent(report.tolerance)}, level {report.level:g} per row.",
        "",
        "| quantity | label | unit | " + " | ".join(_HEADINGS) + " |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in report.rows:
        names = [_cell(row.quantity), _cell(row.label), _cell(row.unit)]
        cells = [*names, *_numbers(row), row.verdict.name]
        lines.append("| " + " | ".join(cells) + " |")
    if report.rivals:
        lines.append("")
        lines += [f"- {_cell(report.excluded(name).sentence)}" for name in report.rivals]
    if report.assumptions:
        lines += ["", "Assumptions of the theory:", ""]
        lines += [f"- {t.verdict.symbol} {_cell(t.sentence)}" for t in report.assumptions]
    return "\n".join(lines) + "\n"

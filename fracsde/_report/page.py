"""One self-contained HTML page: nothing is loaded, no script runs, every text is escaped."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from fracsde._report.assumptions import assumptions_section
from fracsde._report.rows import Verdict, overall, summarise
from fracsde._report.style import CSS
from fracsde._report.text import count, number, percent, ratio, uncertainty
from fracsde._report.words import about_section

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fracsde._report.nouns import Report
    from fracsde._report.rows import QuantitySummary, Row

__all__ = [
    "HtmlPage",
    "figure_section",
    "findings_section",
    "mapping_section",
    "overview_section",
    "reading_section",
    "report_section",
    "table_section",
]

OPEN_ROWS = 12  # a longer table starts closed

# The browser itself is told to load nothing: pictures come inside the page.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True, kw_only=True)
class HtmlPage:
    """A page of sections.

    Parameters
    ----------
    title : str
        Heading and window title, as plain text.
    lead : str
        Paragraph under the heading, as plain text.
    sections : sequence of str
        HTML, as the section functions of this module return it.

    Examples
    --------
    >>> HtmlPage(title="a < b").render().count("a &lt; b")
    2
    """

    title: str
    lead: str = ""
    sections: Sequence[str] = ()

    def render(self) -> str:
        """Return the page.

        Returns
        -------
        str
        """
        lead = f'<p class="lead">{_words(self.lead)}</p>\n' if self.lead else ""
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            f'<title>{escape(self.title)}</title>\n<link rel="icon" href="data:,">\n'
            f"<style>{CSS}</style>\n</head>\n<body>\n<header>\n<h1>{escape(self.title)}</h1>\n"
            f"{lead}</header>\n<main>\n"
            + "\n".join(self.sections)
            + "\n</main>\n</body>\n</html>\n"
        )


def _words(text: str) -> str:
    # Escaped, with numbers and their per cent signs kept on one line.
    return escape(text).replace(" %", "\u00a0%")


def _badge(verdict: Verdict) -> str:
    name = verdict.name
    return f'<span class="verdict {name.lower()}">{verdict.symbol} {name}</span>'


def _table(head: Sequence[str], body: Iterable[Sequence[str]], caption: str = "") -> str:
    # Return a table; ">" marks headings over numbers, the first cell is the name.
    numeric = [heading.startswith(">") for heading in head]
    style = [' class="num"' if right else "" for right in numeric]
    top = "".join(
        f'<th scope="col"{s}>{escape(h.removeprefix(">"))}</th>'
        for h, s in zip(head, style, strict=True)
    )
    lines = []
    for cells in body:
        rest = zip(cells[1:], style[1:], strict=True)
        lines.append(
            f'<tr><th scope="row"{style[0]}>{cells[0]}</th>'
            + "".join(f"<td{s}>{c}</td>" for c, s in rest)
            + "</tr>"
        )
    words = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll" tabindex="0"><table>{words}\n<thead><tr>{top}</tr></thead>\n<tbody>\n'
        + "\n".join(lines)
        + "\n</tbody></table></div>"
    )


def _anchor(index: int) -> str:
    return f"report-{index + 1}"


def overview_section(reports: Mapping[str, Report]) -> str:
    """Return a table with one line per report, linked to its section.

    Returns
    -------
    str
    """
    body = []
    for i, (heading, report) in enumerate(reports.items()):
        tally = [sum(row.verdict is verdict for row in report.rows) for verdict in Verdict]
        out = sum(bool(report.excluded(name)) for name in report.rivals)
        body.append(
            [
                f'<a href="#{_anchor(i)}">{escape(heading)}</a>',
                _badge(report.verdict),
                *(str(n) for n in tally),
                percent(report.tolerance),
                f"{out} of {len(report.rivals)}" if report.rivals else "–",
            ]
        )
    head = [
        "comparison",
        "verdict",
        ">✓ agree",
        ">✗ disagree",
        ">? undecided",
        ">tolerance",
        ">rivals excluded",
    ]
    return f"<section>\n{_table(head, body)}\n</section>"


def findings_section(findings: Mapping[str, str]) -> str:
    """Return what was found: a description list, heading by heading.

    Returns
    -------
    str
    """
    items = "".join(
        f"<dt>{escape(heading)}</dt><dd>{_words(text)}</dd>" for heading, text in findings.items()
    )
    return f'<section>\n<h2>Findings</h2>\n<dl class="findings">{items}</dl>\n</section>'


def table_section(heading: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of plain text under a heading.

    Returns
    -------
    str
    """
    body = [[escape(cell) for cell in row] for row in rows]
    return f"<section>\n<h2>{escape(heading)}</h2>\n{_table(columns, body)}\n</section>"


def reading_section() -> str:
    """Return the explanation of verdicts and columns.

    Returns
    -------
    str
    """
    verdicts = "".join(f"<dt>{_badge(v)}</dt><dd>{escape(v.sentence)}</dd>" for v in Verdict)
    return (
        "<details>\n<summary>How to read this page</summary>\n<dl>"
        f"{verdicts}</dl>\n<p>The ratio is 1 + (measured − predicted) / scale, which is measured ÷ "
        "predicted where the scale is the prediction itself. Its interval has the stated level, is "
        "two-sided, belongs to one row, and is widened by the numerical error of the prediction. A "
        "comparison agrees only if every row agrees, and disagrees if one row does. Too few data "
        "never agree. A rival is a theory that the data should exclude: one row that disagrees is "
        "enough.</p>\n</details>"
    )


def report_section(index: int, heading: str, report: Report, figures: Sequence[str] = ()) -> str:
    """Return the section of one report: sentence, figures, summary, and all rows.

    Parameters
    ----------
    index : int
        Its place on the page, for links.
    heading : str
        Its heading, as plain text.
    report : Report
        What to show.
    figures : sequence of str
        Figures that belong to it, as :func:`figure_section` returns them.

    Returns
    -------
    str
    """
    sentence = _words(report.sentence)
    bound = f"{report.expected_false_alarms:.2g}"
    parts = [
        f'<section id="{_anchor(index)}">\n<h2>{escape(heading)}</h2>',
        f'<div class="result"><p>{_badge(report.verdict)} {sentence}</p>',
        f'<p class="soft">Tolerance {percent(report.tolerance)}, level {report.level:g} per row, '
        f"two-sided; were the theory within tolerance, at most {bound} of {len(report.rows)} rows "
        "would be expected to disagree by chance.</p>",
        *(f"<p>{escape(report.excluded(name).sentence)}</p>" for name in report.rivals),
        "</div>",
        about_section(report),
        *figures,
        *assumptions_section(report.assumptions),
    ]
    summaries = summarise(report.rows)
    if len(summaries) > 1:
        parts += ["<h3>By quantity</h3>", _summaries(summaries.values())]
    parts.append("<h3>Rows</h3>")
    parts += _groups(report.rows, "")
    for name, rows in report.rivals.items():
        inner = "\n".join(_groups(rows, f"rival {name}, "))
        verdict = _badge(overall(row.verdict for row in rows))
        words = f"Rival <strong>{escape(name)}</strong>: {len(rows)} rows {verdict}"
        parts.append(f"<details>\n<summary>{words}</summary>\n{inner}\n</details>")
    origin = {**report.settings, **report.provenance.to_dict()}
    inner = mapping_section("", origin)
    parts.append(f"<details>\n<summary>Settings and provenance</summary>\n{inner}\n</details>")
    return "\n".join([*parts, "</section>"])


def _summaries(summaries: Iterable[QuantitySummary]) -> str:
    head = [
        "quantity",
        "unit",
        ">rows",
        ">✓ agree",
        ">✗ disagree",
        ">? undecided",
        ">ratios",
        "verdict",
    ]
    body = [
        [
            escape(s.quantity),
            escape(s.unit),
            *(str(n) for n in (s.rows, s.agrees, s.disagrees, s.inconclusive)),
            _range(s),
            _badge(s.verdict),
        ]
        for s in summaries
    ]
    return _table(head, body)


def _range(summary: QuantitySummary) -> str:
    if summary.rows == 1:
        return ratio(summary.lowest)
    return f"{ratio(summary.lowest)} to {ratio(summary.highest)}"


def _groups(rows: Sequence[Row], prefix: str) -> list[str]:
    # Return one table per quantity, closed where it is long.
    parts = []
    for name, summary in summarise(rows).items():
        own = [row for row in rows if row.quantity == name]
        size = "1 row" if summary.rows == 1 else f"{summary.rows} rows"
        words = (
            f"{escape(prefix + name)}: {size}, ratio {_range(summary)} {_badge(summary.verdict)}"
        )
        start = " open" if len(own) <= OPEN_ROWS else ""
        parts.append(f"<details{start}>\n<summary>{words}</summary>\n{_rows(own)}\n</details>")
    return parts


def _rows(rows: Sequence[Row]) -> str:
    # Return the table of one quantity.
    first = rows[0]
    about = [f"unit {first.unit}"] if first.unit != "1" else []
    about += [f"theory: {first.theory}"] if first.theory else []
    about += [f"measured by {first.method}"] if first.method else []
    head = [
        "label",
        ">predicted",
        ">num. error",
        ">measured",
        ">± stderr",
        ">n effective",
        ">ratio",
        ">interval",
        "verdict",
    ]
    body = [
        [
            escape(row.label) or "–",
            number(row.predicted),
            uncertainty(row.numerical_error),
            number(row.measured),
            uncertainty(row.stderr),
            count(row.n_effective),
            ratio(row.ratio),
            f"{ratio(row.low)} … {ratio(row.high)}",
            _badge(row.verdict),
        ]
        for row in rows
    ]
    return _table(head, body, "; ".join(about))


def figure_section(name: str, png: bytes, caption: str) -> str:
    """Return a figure with its picture inside.

    Parameters
    ----------
    name : str
        What it shows, for readers who do not see it.
    png : bytes
        The picture.
    caption : str
        The caption, as plain text.

    Returns
    -------
    str
    """
    data = base64.b64encode(png).decode("ascii")
    words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    alt = escape(caption or name)
    return f'<figure><img alt="{alt}" src="data:image/png;base64,{data}">{words}</figure>'


def mapping_section(heading: str, content: Mapping[str, Any]) -> str:
    """Return a table of names and values.

    Parameters
    ----------
    heading : str
        As plain text; none if empty.
    content : mapping
        Plain JSON types; nested values are shown as JSON.

    Returns
    -------
    str
    """
    lines = []
    for key, value in content.items():
        if isinstance(value, dict) and not any(isinstance(v, (dict, list)) for v in value.values()):
            shown = "\n".join(f"{k}: {v}" for k, v in value.items())
        else:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines.append(f'<tr><th scope="row">{escape(str(key))}</th><td>{escape(shown)}</td></tr>')
    table = f'<table class="settings"><tbody>\n{chr(10).join(lines)}\n</tbody></table>'
    title = f"<h2>{escape(heading)}</h2>\n" if heading else ""
    return f'{title}<div class="scroll" tabindex="0">{table}</div>'

"""Write a report folder: ``index.html``, ``report.json`` and the figures, all or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fracsde._figures import png_bytes
from fracsde._report.folder import check_place, check_target, file_names, replace_folder
from fracsde._report.page import (
    HtmlPage,
    figure_section,
    findings_section,
    mapping_section,
    overview_section,
    reading_section,
    report_section,
    table_section,
)
from fracsde._report.plain import plain, to_json
from fracsde._report.rows import overall
from fracsde.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike
    from pathlib import Path

    from fracsde._report.nouns import Report
    from fracsde.provenance import Provenance

__all__ = ["COLLECTION_SCHEMA", "SCHEMA", "publish", "refuse_target", "write_report"]

SCHEMA = "fracsde-report/1"
COLLECTION_SCHEMA = "fracsde-report-collection/1"
_PNG = b"\x89PNG\r\n\x1a\n"


def write_report(
    folder: str | PathLike[str],
    *,
    title: str,
    reports: Mapping[str, Report],
    lead: str = "",
    findings: Mapping[str, str] | None = None,
    tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[str]]]] | None = None,
    figures: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    provenance: Provenance | None = None,
) -> Path:
    """Write several reports as one self-contained page.

    The folder then holds ``index.html``, which needs no other file and no network, ``report.json``
    with every row under ``"reports"``, and the figures as PNG under ``figures``.  It is replaced as
    a whole: after an exception, an interrupt or a full disk the earlier report is unchanged.

    Parameters
    ----------
    folder : path-like
        New, empty, or holding nothing but an earlier report, which is replaced.
    title : str
        Heading of the page.
    reports : mapping from heading to Report
        One section each, in this order.
    lead : str
        Paragraph under the heading.
    findings : mapping from heading to str, optional
        What was found, in words; after the overview.
    tables : mapping from heading to (columns, rows), optional
        Summaries in plain text, after the figures that belong to no report.
    figures : mapping from name to figure, optional
        A figure is a matplotlib Figure or the bytes of a PNG, or a pair of one of these and a
        caption.  A figure named like a report's heading stands in its section, the others before
        all of them, or in the section of the only report.
    settings : mapping, optional
        What a reader needs to repeat the work; plain types after conversion.
    provenance : Provenance, optional
        Where the whole came from; each report shows its own.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If there is no report, a figure is neither, a table is not one of distinct columns and rows
        of as many texts, or the folder holds something else.
    """
    if not isinstance(reports, Mapping) or not reports:
        msg = "`reports` must map headings to Reports, at least one, got " + repr(reports)
        raise InputError(msg)
    for heading, table in (tables or {}).items():
        _check_table(heading, *table)
    content = {
        "schema": COLLECTION_SCHEMA,
        "title": title,
        "lead": lead,
        "findings": dict(findings or {}),
        "tables": {
            heading: [dict(zip(columns, row, strict=True)) for row in rows]
            for heading, (columns, rows) in (tables or {}).items()
        },
        "verdict": overall(report.verdict for report in reports.values()).name,
        "reports": {heading: report.to_dict() for heading, report in reports.items()},
        "settings": plain("settings", settings or {}),
        "provenance": None if provenance is None else provenance.to_dict(),
    }
    words = [findings_section(findings)] if findings else []
    numbers = [table_section(heading, *table) for heading, table in (tables or {}).items()]
    return publish(
        folder,
        content,
        title=title,
        lead=lead,
        reports=reports,
        figures=figures or {},
        words=words,
        numbers=numbers,
    )


def refuse_target(folder: str | PathLike[str]) -> None:
    """Raise if a report could not be written to ``folder``: to ask before long work, not after.

    Parameters
    ----------
    folder : path-like
        Where the report is to stand.

    Raises
    ------
    InputError
        If the folder holds anything but an earlier report.
    ReportWriteError
        If nothing can be written there.
    """
    check_place(check_target(folder, (SCHEMA, COLLECTION_SCHEMA)))


def publish(
    folder: str | PathLike[str],
    content: Mapping[str, Any],
    *,
    title: str,
    lead: str,
    reports: Mapping[str, Report],
    figures: Mapping[str, Any],
    words: Sequence[str] = (),
    numbers: Sequence[str] = (),
) -> Path:
    """Write the page of ``reports`` with ``content`` as its ``report.json``.

    Returns
    -------
    Path
        The page.
    """
    schemas = (SCHEMA, COLLECTION_SCHEMA)
    target = check_target(folder, schemas)
    pictures = {name: _picture(name, figure) for name, figure in figures.items()}
    files = {name: f"figures/{file}" for name, file in file_names(pictures, ".png").items()}
    drawn = {name: figure_section(name, *picture) for name, picture in pictures.items()}
    sections = [overview_section(reports)] if len(reports) > 1 else []
    sections += words
    others = [section for name, section in drawn.items() if name not in reports]
    alone = len(reports) == 1
    if others and not alone:
        sections.append("<section>\n<h2>Figures</h2>\n" + "\n".join(others) + "\n</section>")
    sections += [*numbers, reading_section()]
    for i, (heading, report) in enumerate(reports.items()):
        own = [drawn[heading]] if heading in drawn else []
        own += others if alone else []
        sections.append(report_section(i, heading, report, own, alone=alone))
    if content["schema"] == COLLECTION_SCHEMA:
        origin = {**content["settings"], **(content["provenance"] or {})}
        sections += [mapping_section("Settings and provenance", origin)] if origin else []
    page = HtmlPage(title=title, lead=lead, sections=sections).render()
    shown = {name: {"file": files[name], "caption": pictures[name][1]} for name in pictures}
    written = {
        # Names of files that are no Unicode; JSON escapes them in the same way.
        "index.html": page.encode(errors="backslashreplace"),
        "report.json": to_json({**content, "figures": shown}).encode(errors="backslashreplace"),
    }
    written |= {files[name]: picture[0] for name, picture in pictures.items()}
    replace_folder(target, written, schemas)
    return target / "index.html"


def _check_table(heading: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    # Refuse what the page and report.json would not both show whole.
    texts = all(isinstance(cell, str) for row in (columns, *rows) for cell in row)
    if not texts or len({*columns}) < len(columns) or {len(row) for row in rows} - {len(columns)}:
        msg = (
            f"`tables[{heading!r}]` must have distinct columns and rows of as many texts, got the "
            f"columns {columns!r} and {len(rows)} rows"
        )
        raise InputError(msg)


def _picture(name: str, figure: Any) -> tuple[bytes, str]:
    # Return the PNG and the caption of what a caller passed for a figure.
    caption = ""
    if isinstance(figure, tuple):
        figure, caption = figure if len(figure) == 2 else (None, "")
    if isinstance(figure, (bytes, bytearray)) and bytes(figure[:8]) == _PNG:
        return bytes(figure), str(caption)
    if hasattr(figure, "set_canvas"):
        return png_bytes(figure), str(caption)
    msg = (
        f"`figures[{name!r}]` must be a matplotlib Figure or the bytes of a PNG, or a pair of one "
        f"of these and a caption, got {type(figure).__name__}"
    )
    raise InputError(msg)

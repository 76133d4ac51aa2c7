"""Reports: what :func:`fracsde.compare` returns, and pages that show several of them.

A report folder holds one self-contained page, ``index.html``, which loads nothing and runs no
script; ``report.json`` with every row in plain types; and the figures as PNG.  It is written beside
its place and renamed into it, so that what stands there is always one whole report.

Not here: the comparison itself (:mod:`fracsde.compare`).
"""

from __future__ import annotations

from fracsde._figures import (
    autocorrelation_plot,
    density_plot,
    displacement_plot,
    ratio_plot,
    relaxation_plot,
    spectrum_plot,
)
from fracsde._report.nouns import Exclusion, Report
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
from fracsde._report.power import samples_to_decide
from fracsde._report.rows import QuantitySummary, Row, Verdict
from fracsde._report.write import refuse_target, write_report
from fracsde.errors import ReportWriteError

__all__ = [
    "Exclusion",
    "HtmlPage",
    "QuantitySummary",
    "Report",
    "ReportWriteError",
    "Row",
    "Verdict",
    "autocorrelation_plot",
    "density_plot",
    "displacement_plot",
    "figure_section",
    "findings_section",
    "mapping_section",
    "overview_section",
    "ratio_plot",
    "reading_section",
    "refuse_target",
    "relaxation_plot",
    "report_section",
    "samples_to_decide",
    "spectrum_plot",
    "table_section",
    "write_report",
]

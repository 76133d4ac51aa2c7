"""What a comparison returns: rows, a verdict on all of them, and which rivals are excluded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fracsde._figures import ratio_plot
from fracsde._report.assumptions import blame, checked
from fracsde._report.folder import write_file
from fracsde._report.plain import plain, to_json
from fracsde._report.rows import QuantitySummary, Row, Verdict, overall, summarise
from fracsde._report.text import markdown, percent, text
from fracsde._report.words import next_step
from fracsde._report.write import SCHEMA, publish
from fracsde.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from os import PathLike
    from pathlib import Path

    from fracsde.provenance import Provenance
    from fracsde.records.assumption import AssumptionTest

__all__ = ["Exclusion", "Report"]


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """Whether the data exclude a rival; true in a condition exactly if they do.

    Parameters
    ----------
    name : str
        The rival.
    disagreeing : int
        Number of rows that disagree with it; one is enough.
    rows : int
        Number of rows it predicts.
    """

    name: str
    disagreeing: int
    rows: int

    def __bool__(self) -> bool:
        return self.disagreeing > 0

    @property
    def sentence(self) -> str:
        """What it means, for a person."""
        found = (
            f"{self.disagreeing} of {_rows(self.rows)}" if self else f"none of {_rows(self.rows)}"
        )
        verb = "disagree" if self.disagreeing > 1 else "disagrees"
        return f"Rival {self.name!r} is {'' if self else 'not '}excluded: {found} {verb}."


@dataclass(frozen=True, kw_only=True)
class Report:
    """The answer of :func:`fracsde.compare`.

    The verdict on the whole is DISAGREES if one row is, AGREES if every row is, INCONCLUSIVE
    otherwise.

    Parameters
    ----------
    rows : sequence of Row
        One per entry of each quantity.
    rivals : mapping from str to sequences of Row
        The same measurements against each rival's predictions.
    tolerance : float [1]
        Largest relative deviation that counts as agreement.
    level : float [1]
        Two-sided level of each row's interval.
    provenance : Provenance
        Versions and a hash of what was compared.
    settings : mapping
        What else a reader needs to repeat the run; kept as plain JSON types.  Add with
        ``dataclasses.replace(report, settings={...})``.
    assumptions : sequence of AssumptionTest
        What was asked of the theory's assumptions; the sentence names those that fail.

    Raises
    ------
    InputError
        If there is no row, an assumption is no AssumptionTest, or the settings do not reduce to
        plain types.
    """

    rows: Sequence[Row]
    tolerance: float
    level: float
    provenance: Provenance
    rivals: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    assumptions: Sequence[AssumptionTest] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows))
        rivals = {name: tuple(rows) for name, rows in self.rivals.items()}
        object.__setattr__(self, "rivals", rivals)
        object.__setattr__(self, "settings", plain("settings", self.settings))
        object.__setattr__(self, "assumptions", checked(self.assumptions))
        if not self.rows or not all(rivals.values()):
            msg = "a report needs at least one row, and one for each rival"
            raise InputError(msg)

    @property
    def verdict(self) -> Verdict:
        """The verdict on all rows."""
        return overall(row.verdict for row in self.rows)

    @property
    def expected_false_alarms(self) -> float:
        """Upper bound on the rows expected to disagree although the theory is in tolerance [1]."""
        return self.level * len(self.rows)

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        return _sentence(self)

    @property
    def next_step(self) -> str:
        """What to do after such a result, for a person."""
        return next_step(self)

    def excluded(self, name: str) -> Exclusion:
        """Return whether the data exclude a rival: at least one row disagrees with it.

        Parameters
        ----------
        name : str
            The rival.

        Returns
        -------
        Exclusion
            True in a condition if excluded; counts the rows that disagree.

        Raises
        ------
        InputError
            If there is no such rival.
        """
        if name not in self.rivals:
            known = ", ".join(repr(rival) for rival in self.rivals) or "none"
            msg = f"there is no rival {name!r}; the rivals of this report: {known}"
            raise InputError(msg)
        rows = self.rivals[name]
        disagreeing = sum(row.verdict is Verdict.DISAGREES for row in rows)
        return Exclusion(name=name, disagreeing=disagreeing, rows=len(rows))

    def summary_by_quantity(self) -> dict[str, QuantitySummary]:
        """Return the range of ratios and the number of each verdict per quantity.

        Returns
        -------
        dict
            From the name of the quantity to its :class:`QuantitySummary`.
        """
        return summarise(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON types.

        Returns
        -------
        dict
        """
        return {
            "schema": SCHEMA,
            "verdict": self.verdict.name,
            "sentence": self.sentence,
            "next_step": self.next_step,
            "tolerance": self.tolerance,
            "level": self.level,
            "rows": [row.to_dict() for row in self.rows],
            "rivals": {
                name: {
                    "excluded": bool(self.excluded(name)),
                    "disagreeing": self.excluded(name).disagreeing,
                    "rows": [row.to_dict() for row in rows],
                }
                for name, rows in self.rivals.items()
            },
            "assumptions": [test.to_dict() for test in self.assumptions],
            "settings": plain("settings", self.settings),
            "provenance": self.provenance.to_dict(),
        }

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """Return the report as JSON text and, with a path, also write it there.

        Parameters
        ----------
        path : path-like, optional
            The file; it is replaced in one step.

        Returns
        -------
        str
        """
        content = to_json(self.to_dict())
        if path is not None:
            write_file(path, content)
        return content

    def to_markdown(self) -> str:
        """Return the report as Markdown.

        Returns
        -------
        str
        """
        return markdown(self)

    def plot(self, *, rivals: Iterable[str] | None = None) -> Any:
        """Draw ratios with their intervals against the band of the tolerance.

        Parameters
        ----------
        rivals : iterable of str, optional
            Which rivals to draw; all of them if not given.

        Returns
        -------
        matplotlib.figure.Figure
        """
        return ratio_plot(self, rivals=rivals)

    def save(
        self,
        folder: str | PathLike[str],
        *,
        title: str = "Theory and measurement",
        lead: str = "",
        figure: bool = True,
        figures: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write ``index.html``, ``report.json`` and the figure to a folder, all or nothing.

        Parameters
        ----------
        folder : path-like
            New, empty, or holding an earlier report, which is replaced.
        title, lead : str
            Heading of the page and the paragraph under it.
        figure : bool
            Whether to draw the ratios; needs matplotlib.
        figures : mapping from name to figure, optional
            More figures, each a matplotlib Figure or the bytes of a PNG, or a pair of one of these
            and a caption, e.g. those that :func:`fracsde.report.spectrum_plot` draws.

        Returns
        -------
        Path
            The page.

        Raises
        ------
        InputError
            If the folder holds something else, or a figure is none or is named ``"Result"``.
        """
        more = dict(figures or {})
        if "Result" in more:
            msg = "`figures` must not be named 'Result', which is the figure of the ratios"
            raise InputError(msg)
        caption = (
            f"Ratio of measurement and prediction with its interval at level {self.level:g}; the "
            f"band is 1 ± {self.tolerance:g}."
        )
        return publish(
            folder,
            self.to_dict(),
            title=title,
            lead=lead,
            reports={"Result": self},
            figures={**({"Result": (self.plot(), caption)} if figure else {}), **more},
        )

    def __str__(self) -> str:
        return text(self)


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number} rows"


def _sentence(report: Report) -> str:
    count = Counter(row.verdict for row in report.rows)
    total = len(report.rows)
    names = dict.fromkeys(row.theory for row in report.rows if row.theory)
    theory = " and ".join(repr(name) for name in names) or "the theory"
    band = percent(report.tolerance)
    if report.verdict is Verdict.AGREES:
        whole = "The only row agrees" if total == 1 else f"All {total} rows agree"
        result = f"{whole} with {theory} to within {band}"
    elif report.verdict is Verdict.DISAGREES:
        verb = "disagrees" if count[Verdict.DISAGREES] == 1 else "disagree"
        result = (
            f"{count[Verdict.DISAGREES]} of {_rows(total)} {verb} with {theory} by more than "
            f"{band} ({count[Verdict.AGREES]} within, {count[Verdict.INCONCLUSIVE]} undecided)"
        )
    else:
        result = (
            f"No row disagrees with {theory}, but {count[Verdict.INCONCLUSIVE]} of {_rows(total)} "
            f"cannot be decided to within {band} with these data"
        )
    excluded = [name for name in report.rivals if report.excluded(name)]
    remaining = [name for name in report.rivals if not report.excluded(name)]
    for rivals, fate in ((excluded, "exclude"), (remaining, "do not exclude")):
        if rivals:
            result += f"; the data {fate} " + ", ".join(repr(name) for name in rivals)
    return result + blame(report) + "."

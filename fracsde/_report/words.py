"""A report in words, for someone who was not there: what was compared, what it means, what next."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from fracsde._report.rows import Verdict
from fracsde._report.text import number, percent
from fracsde.records.assumption import AssumptionVerdict

if TYPE_CHECKING:
    from fracsde._report.nouns import Report

__all__ = ["about", "about_section", "next_step"]

_MOST_NAMES = 6


def about(report: Report) -> dict[str, str]:
    """Return what a reader needs to know, heading by heading.

    Parameters
    ----------
    report : Report
        What to describe.

    Returns
    -------
    dict
        From heading to text.
    """
    return {
        "What was compared": _compared(report),
        "With what tolerance": (
            f"A deviation of up to {percent(report.tolerance)} counts as agreement. Each interval "
            f"misses the truth with probability {report.level:g}. Few data make wide intervals, "
            "and a wide interval neither agrees nor disagrees."
        ),
        "What to do next": next_step(report),
        "What it cannot tell": (
            "Agreement is a statement about these quantities, this run and this tolerance, not a "
            "proof of the theory. The intervals are as good as the stated errors of the "
            "measurements. A drift slower than the record is not seen."
        ),
    }


def _compared(report: Report) -> str:
    quantities = list(dict.fromkeys(row.quantity for row in report.rows))
    shown = ", ".join(quantities[:_MOST_NAMES])
    if len(quantities) > _MOST_NAMES:
        shown += f" and {len(quantities) - _MOST_NAMES} more"
    theories = list(dict.fromkeys(row.theory for row in report.rows if row.theory))
    theory = " and ".join(repr(name) for name in theories) or "the theory"
    count = len(report.rows)
    words = (
        f"{shown}: {count} number{'' if count == 1 else 's'} measured on the run, each against the "
        f"prediction of {theory}"
    )
    if report.rivals:
        words += ", and of the rival" + ("s " if len(report.rivals) > 1 else " ")
        words += ", ".join(repr(name) for name in report.rivals)
    return words + "."


def next_step(report: Report) -> str:
    """Return what to do after such a result.

    Parameters
    ----------
    report : Report
        The result.

    Returns
    -------
    str
    """
    if report.verdict is Verdict.AGREES:
        return _after_agreement(report)
    if report.verdict is Verdict.DISAGREES:
        return _after_disagreement(report)
    undecided = [row for row in report.rows if row.verdict is Verdict.INCONCLUSIVE]
    widest = max(0.5 * (row.high - row.low) for row in undecided)
    times = (2.0 * widest / report.tolerance) ** 2
    words = f"The widest undecided interval is ± {number(100 * widest)} %. "
    if times > 1.0:
        return words + (
            f"About {number(times)} times as many data would bring it to half the tolerance: "
            "record longer or more chains, or state a larger tolerance before looking."
        )
    return words + (
        "The deviation lies near the edge of the tolerance, where more data decide slowly: ask "
        "whether the tolerance is the one that matters."
    )


def _after_agreement(report: Report) -> str:
    remaining = [name for name in report.rivals if not report.excluded(name)]
    if remaining:
        names = ", ".join(repr(name) for name in remaining)
        return (
            f"The data do not tell the theory from {names}: record longer, or compare where they "
            "differ by more than the tolerance."
        )
    return (
        "Nothing, if the tolerance is what the theory is used for. A tolerance half as large needs "
        "about four times as many data."
    )


def _after_disagreement(report: Report) -> str:
    fails = [t for t in report.assumptions if t.verdict is AssumptionVerdict.FAILS]
    if fails:
        advice = "; ".join(f"{test.name}: {test.consequence}" for test in fails)
        return f"An assumption of the theory fails. {advice[:1].upper()}{advice[1:]}."
    check = (
        "check that curvature and noise were taken at the minimum of the run and of the loss that "
        "was trained on, that the noise is that of one example, and that learning rate, momentum "
        "and batch size are those of the run"
    )
    if not report.assumptions:
        return f"No assumption was tested: do that first, with `assumptions=`. Then {check}."
    if any(t.verdict is AssumptionVerdict.UNDECIDED for t in report.assumptions):
        return (
            "No assumption fails, but not all could be decided: give those tests what they ask "
            f"for. Then {check}."
        )
    return f"Every assumption that was tested holds: {check}."


def about_section(report: Report) -> str:
    """Return the description as a list on the page.

    Parameters
    ----------
    report : Report
        What to describe.

    Returns
    -------
    str
    """
    items = "".join(
        f"<dt>{escape(heading)}</dt><dd>{escape(text)}</dd>"
        for heading, text in about(report).items()
    )
    return f'<h3>In words</h3>\n<dl class="about">{items}</dl>'

"""Assumption tests in a report: which of them fails, in words and as a table."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from fracsde._report.rows import Verdict
from fracsde.errors import InputError
from fracsde.records.assumption import AssumptionTest, AssumptionVerdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fracsde._report.nouns import Report

__all__ = ["assumptions_section", "blame", "checked"]

_CLASS = {
    AssumptionVerdict.HOLDS: "agrees",
    AssumptionVerdict.FAILS: "disagrees",
    AssumptionVerdict.UNDECIDED: "inconclusive",
}


def checked(assumptions: Iterable[AssumptionTest]) -> tuple[AssumptionTest, ...]:
    """Return the tests as a tuple.

    Returns
    -------
    tuple of AssumptionTest

    Raises
    ------
    InputError
        If one is something else, or two have the same name.
    """
    tests = (assumptions,) if isinstance(assumptions, AssumptionTest) else assumptions
    try:
        found = tuple(tests)
    except TypeError as error:
        msg = f"`assumptions` must hold AssumptionTests, got {type(assumptions).__name__}"
        raise InputError(msg) from error
    for test in found:
        if not isinstance(test, AssumptionTest):
            msg = f"`assumptions` must hold AssumptionTests, got {test!r}"  # type: ignore[unreachable]
            raise InputError(msg)
    names = [test.name for test in found]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        msg = f"`assumptions` holds {twice[0]!r} twice; give each test a name of its own"
        raise InputError(msg)
    return found


def blame(report: Report) -> str:
    """Return what the assumptions add to the sentence of a report, empty if none was tested.

    Returns
    -------
    str
    """
    by = {v: [t for t in report.assumptions if t.verdict is v] for v in AssumptionVerdict}
    fails, holds = by[AssumptionVerdict.FAILS], by[AssumptionVerdict.HOLDS]
    undecided = by[AssumptionVerdict.UNDECIDED]
    if not report.assumptions:
        return ""
    if report.verdict is Verdict.AGREES:
        return f"; it does so although {_listed(fails)}" if fails else ""
    if not fails and not undecided:
        where = (
            ", so look to the matrices and hyperparameters that the theory was given"
            if report.verdict is Verdict.DISAGREES
            else ""
        )
        return f"; every assumption that was tested holds{where}"
    rest = f", {_number(len(holds))} other{'s hold' if len(holds) > 1 else ' holds'}"
    return f"; of the assumptions, {_listed([*fails, *undecided])}" + (rest if holds else "")


def _number(count: int) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return words[count] if count < len(words) else str(count)


def _listed(tests: Sequence[AssumptionTest]) -> str:
    return ", ".join(test.finding for test in tests)


def _badge(verdict: AssumptionVerdict) -> str:
    kind = _CLASS[verdict]
    return f'<span class="verdict {kind}">{verdict.symbol} {verdict.name}</span>'


def _shown(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "–"


def _line(test: AssumptionTest) -> str:
    cells = [
        f'<th scope="row">{escape(test.name)}</th>',
        f"<td>{_badge(test.verdict)}</td>",
        f"<td>{escape(test.meaning) if test.asked else '–'}</td>",
        f'<td class="num">{_shown(test.effect)}</td>',
        f'<td class="num">{_shown(test.low)} … {_shown(test.high)}</td>'
        if test.asked
        else '<td class="num">–</td>',
        f'<td class="num">± {_shown(test.tolerance)}</td>',
        f"<td>{escape(test.sentence)}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>"


def assumptions_section(tests: Sequence[AssumptionTest]) -> list[str]:
    """Return a heading and a table of the tests, nothing if there are none.

    Returns
    -------
    list of str
    """
    if not tests:
        return []
    heads = ("assumption", "verdict", "effect is")
    numbers = ("effect", "interval", "does not matter")
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    top += "".join(f'<th scope="col" class="num">{head}</th>' for head in numbers)
    top += '<th scope="col">what it means</th>'
    body = "\n".join(_line(test) for test in tests)
    return [
        "<h3>Assumptions of the theory</h3>",
        f'<div class="scroll" tabindex="0"><table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n'
        f"{body}\n</tbody></table></div>",
    ]

r"""How often stated intervals hold the truth: ``python -m validation.coverage [word ...]``.

For a measurement :math:`(\hat\theta, \sigma, n)` the interval that :func:`fracsde.compare` draws is

.. math::
    \hat\theta \pm t_{1 - \ell/2,\,n - 1}\,\sigma ,

and exactly that interval is counted here, over repetitions of a run whose true value is known.
Repetitions are fixed in advance, seeds come from the names.  At 2000 repetitions the observed
coverage of an interval of 95 % has a standard deviation of half a per cent, so that a correct
interval lies outside 95 % :math:`\pm` 3 % by chance less than once in ten million tries.

**Adding a case.**  Each file in ``validation/covered/`` holds a tuple ``CASES``; a case is a line
made with :mod:`validation.case`,

``columns("mean of my law", estimators.mean, AR1(0.8), chains=4, draws=1000, truth=0.0)``

for an estimator that treats coordinates alone (each column of one wide run is then a repetition
of its own), or

``runs("eigenvalue", measure, sample, law="Gaussian", chains=4, draws=1000, truth={"": 2.0})``

where ``sample(rng)`` makes one run, of any type, and ``measure(run)`` returns a Measurement with
one entry for each entry of ``truth``; or ``Intervals``, for estimators that state ends of
their own, which :func:`intervals` makes of a function of run and level.  A refusal
(:class:`~fracsde.errors.RecordError`) counts neither way and is reported; more than
``REFUSALS`` of the repetitions and the case fails.
``naive`` names an estimator with a wrong error, which the test must reject.  ``wide`` says why
coverage may be more than stated, ``refusing`` why many runs are refused, ``tested`` how many
repetitions of a dear case the test suite affords; with ``--whole`` the test repeats them all.  Then
``python -m validation.coverage --missing`` adds the new rows to the table of the documentation,
``--write`` renews all of it or the rows of the words given; a test compares its rows with the
cases.  Each row is counted twice, the second time with seeds on which nothing was ever tuned;
``--seed 2`` counts a third time, and writes nothing.  ``validation/stated.py`` says which public
names the cases are of.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from validation.case import FRESH, Case, Row
from validation.stated import without_a_word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["cases", "known_lines", "main", "table"]

PENDING = "to be counted"  # in a line of the table: by `--missing`
TABLE = Path(__file__).parents[1] / "docs" / "mathematics" / "coverage_table.txt"


def cases() -> dict[str, Case]:
    """Return all cases by name, file by file.

    Raises
    ------
    ValueError
        If two cases have one name.
    """
    folder = Path(__file__).parent / "covered"
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    every = [case for name in names for case in import_module(f"validation.covered.{name}").CASES]
    known = {case.name: case for case in every}
    if len(known) < len(every):
        msg = "two cases of coverage have the same name; name what they differ in"
        raise ValueError(msg)
    return known


_HEAD = (
    "| estimator | data | chains x draws | 95 % | 99.9 % | fresh 95 % | half-width "
    "| refused, remark |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)


def table(lines: Mapping[tuple[str, ...], str]) -> str:
    """Return Markdown: the given lines in the order of the cases, those of no case left out."""
    wanted = [key for case in cases().values() for key in _keys(case)]
    return "\n".join([_HEAD, *(lines[key] for key in wanted if key in lines)]) + "\n"


def _keys(case: Case) -> list[tuple[str, ...]]:
    # The first three cells of a case's lines.
    name = case.name.split(":")[0]
    shape = f"{case.chains} x {case.draws}"
    return [(f"{name}, {label}" if label else name, case.law, shape) for label in case.truth]


def _line(row: Row, fresh: Row | None = None) -> str:
    refused = f"{100 * row.refused:.2g} % refused" if row.refused else ""
    cells = (
        *_keys(row.case)[list(row.case.truth).index(row.label)],
        f"{100 * row.coverage:.1f}",
        f"{100 * row.outer:.2f}",
        "" if fresh is None else f"{100 * fresh.coverage:.1f}",
        f"{row.half_width:.2g}",
        "; ".join(filter(None, (refused, *row.case.remarks))),
    )
    return f"| {' | '.join(cells)} |"


def known_lines() -> dict[tuple[str, ...], str]:
    """Return the lines of the documentation's table by their first three cells."""
    text = TABLE.read_text() if TABLE.exists() else ""
    return {
        tuple(cell.strip() for cell in line.split("|")[1:4]): line for line in text.splitlines()[2:]
    }


def main(arguments: Sequence[str]) -> int:
    """Run the cases whose names hold one of the words; return how many do not hold."""
    words = list(arguments)
    seed = 0
    if "--seed" in words:
        at = words.index("--seed")
        seed = int(words[at + 1])
        del words[at : at + 2]
    words = [word for word in words if not word.startswith("--")]
    lines = known_lines()
    chosen = [c for c in cases().values() if not words or any(word in c.name for word in words)]
    if "--missing" in arguments:
        counted = {key for key, line in lines.items() if PENDING not in line}
        chosen = [case for case in chosen if not counted.issuperset(_keys(case))]
        for name in sorted(without_a_word()):
            print(f"{name}: neither counted nor excused in validation/stated.py")
    writes = seed == 0 and ("--missing" in arguments or "--write" in arguments)
    rows: list[Row] = []
    print(_HEAD)
    for case in chosen:
        found = case.rows(seed)
        again = case.rows(FRESH) if writes else [None] * len(found)
        for key, row, fresh in zip(_keys(case), found, again, strict=True):
            lines[key] = _line(row, fresh)
            held = row.holds and (fresh is None or fresh.holds)
            rows += [row] if fresh is None else [row, fresh]
            print(lines[key] + ("" if held else "   <- outside"), flush=True)
    plain = [100 * row.coverage for row in rows if not row.case.wide]
    if plain:
        print(f"{len(plain)} rows of 95 %: {min(plain):.1f} to {max(plain):.1f}")
    if writes:
        TABLE.write_text(table(lines))
    return sum(not row.holds for row in rows)


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))

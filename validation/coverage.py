r"""How often stated intervals hold the truth: ``python -m validation.coverage [word ...]``.

For a measurement :math:`(\hat\theta, \sigma, n)` the interval that :func:`fracsde.compare` draws is

.. math::
    \hat\theta \pm t_{1 - \ell/2,\,n - 1}\,\sigma ,

and exactly that interval is counted here, over repetitions of a run whose true value is known.
Repetitions are fixed in advance, seeds come from the names.  At 2000 repetitions the observed
coverage of an interval of 95 % has a standard deviation of half a per cent, so that a correct
interval lies outside 95 % :math:`\pm` 3 % by chance less than once in ten million tries.

**Adding a case.**  Each file in ``validation/covered/`` holds a tuple ``CASES``; a case is a line,

``columns("mean of my law", estimators.mean, AR1(0.8), chains=4, draws=1000, truth=0.0)``

for an estimator that treats coordinates alone (each column of one wide run is then a repetition
of its own), or

``runs("eigenvalue", measure, sample, law="Gaussian", chains=4, draws=1000, truth={"": 2.0})``

where ``sample(rng)`` makes one run, of any type, and ``measure(run)`` returns a Measurement with
one entry for each entry of ``truth``; or :class:`Intervals`, for estimators that state ends of
their own, which :func:`intervals` makes of a function of run and level.  A refusal
(:class:`~fracsde.errors.RecordError`) counts neither way and is reported; more than
:data:`REFUSALS` of the repetitions and the case fails.
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

import hashlib
import sys
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from fracsde.errors import OutOfRangeError, RecordError
from validation.series import AR1
from validation.stated import without_a_word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from fracsde.records.measurement import Measurement

__all__ = [
    "AR1",
    "Case",
    "Intervals",
    "Row",
    "cases",
    "columns",
    "intervals",
    "known_lines",
    "main",
    "runs",
    "table",
]

REPETITIONS = 2000
PENDING = "to be counted"  # in a line of the table: by `--missing`
FRESH = 1  # the seed on which nothing was tuned
LEVEL, OUTER = 0.05, 1e-3  # two-sided: the stated one, and the default of `compare`
WINDOW = 0.03
REFUSALS, MOST_REFUSALS = 0.10, 0.75  # unless a case says why, and if it does
TABLE = Path(__file__).parents[1] / "docs" / "mathematics" / "coverage_table.txt"


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Intervals that an estimator states itself.

    Parameters
    ----------
    low, high : (2, entry) float64
        Their ends at the levels 95 % and 99.9 %.
    """

    low: np.ndarray
    high: np.ndarray


def intervals(stated: Callable[[Any, float], tuple[float, float]]) -> Callable[[Any], Intervals]:
    """Return a measure of one entry from a function of run and level."""

    def measure(run: Any) -> Intervals:
        ends = np.array([stated(run, level) for level in (LEVEL, OUTER)])
        return Intervals(low=ends[:, :1], high=ends[:, 1:])

    return measure


@dataclass(frozen=True, kw_only=True)
class Case:
    """An estimator, a law, and the truth.

    Parameters
    ----------
    name : str
        Unique; the seed is made of it.
    law : str
        Of the data, in words.
    chains, draws : int
        Size of a run.
    truth : mapping from str to float
        What the entries of a measurement estimate, by label.
    sample : callable
        ``rng`` to a run.
    measure : callable
        A run to a Measurement or to Intervals.
    naive : callable, optional
        The same with a wrong error.
    width : int
        Repetitions in one run, its columns; 0 where a run is one repetition.
    repetitions : int
        How many in all.
    tested : int
        How many of them the test suite repeats; the table shows all.
    wide : str
        Why the coverage may be more than stated; empty where it may not.
    refusing : str
        Why more repetitions than :data:`REFUSALS` may be refused; empty where they may not.
    """

    name: str
    law: str
    chains: int
    draws: int
    truth: Mapping[str, float]
    sample: Callable[[np.random.Generator], Any]
    measure: Callable[[Any], Measurement | Intervals]
    naive: Callable[[Any], Measurement | Intervals] | None = None
    width: int = 0
    repetitions: int = REPETITIONS
    tested: int = REPETITIONS // 4
    wide: str = ""
    refusing: str = ""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of its row must know."""
        few = f"{self.repetitions} repetitions" if self.repetitions < REPETITIONS else ""
        return tuple(filter(None, (self.wide, self.refusing, few)))

    def twin(self) -> Case:
        """Return the case with the naive error instead.

        Raises
        ------
        ValueError
            If there is none.
        """
        if self.naive is None:
            msg = f"{self.name!r} has no naive interval"
            raise ValueError(msg)
        return replace(self, measure=self.naive)

    def short(self) -> Case:
        """Return the case with the repetitions of the test suite."""
        return replace(self, repetitions=min(self.tested, self.repetitions))

    @property
    def window(self) -> float:
        """How far the observed coverage may lie from 95 %.

        Fewer than 2000 repetitions widen it by two standard deviations of their count.
        """
        few, noise = self.repetitions < REPETITIONS, LEVEL * (1.0 - LEVEL)
        return WINDOW + (2.0 * (noise / self.repetitions) ** 0.5 if few else 0.0)

    def rows(self, seed: int = 0) -> list[Row]:
        """Repeat, and count; another seed gives other data than those of the table."""
        return self._rows(list(self._repeat(seed)))

    def fails(self) -> bool:
        """Whether a row does not hold; repeats no further than it takes to know."""
        truth, found = np.array(list(self.truth.values())), []
        misses = np.zeros(len(truth))
        for ends in self._repeat(0):
            found.append(ends)
            misses += np.sum((truth < ends[:, 0]) | (ends[:, 1] < truth), axis=0)
            highest = 1.0 - misses.max() / self.repetitions  # if all that remain hold
            if highest < 1.0 - LEVEL - self.window:
                return True
        return not all(row.holds for row in self._rows(found))

    def _rows(self, found: list[np.ndarray]) -> list[Row]:
        every = np.concatenate(found)
        return [
            _row(self, label, truth, every[:, :, i])
            for i, (label, truth) in enumerate(self.truth.items())
        ]

    def _repeat(self, seed: int) -> Iterator[np.ndarray]:
        # Yield (repetition, 4, entry): ends of the interval of 95 %, then of 99.9 %.
        text = f"{self.name} {seed}" if seed else self.name
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]))
        for first in range(0, self.repetitions, max(self.width, 1)):
            run = self.sample(rng)
            found = self._numbers(run)
            if self.width == 0:
                yield found[None]
                continue
            wanted = min(self.width, self.repetitions - first)
            if np.isnan(found).any():  # a refusal of one column refuses the run
                yield np.stack([self._numbers(run[..., i : i + 1]) for i in range(wanted)])
            else:
                yield found.T[:wanted, :, None]

    def _numbers(self, run: Any) -> np.ndarray:
        # Low and high ends of 95 %, of 99.9 %, by entry; NaN where it was refused.
        try:
            found = self.measure(run)
        except (RecordError, OutOfRangeError):
            return np.full((4, len(self.truth)), np.nan)
        if isinstance(found, Intervals):
            return np.stack([found.low[0], found.high[0], found.low[1], found.high[1]])
        reach = [
            -special.stdtrit(found.n_effective - 1.0, 0.5 * level) * found.stderr
            for level in (LEVEL, OUTER)
        ]
        return np.stack([found.value + sign * r for r in reach for sign in (-1.0, 1.0)])


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was counted.

    Parameters
    ----------
    case : Case
        Of which case.
    label : str
        Of which entry.
    coverage, outer : float
        Shares of intervals of 95 % and 99.9 % that hold the truth.
    refused : float
        Share of refusals among all repetitions.
    half_width : float
        Median half-width of the 95 % interval over the size of the truth (over 1 for zero).
    """

    case: Case
    label: str
    coverage: float
    outer: float
    refused: float
    half_width: float

    @property
    def name(self) -> str:
        """Case and entry."""
        return f"{self.case.name}, {self.label}" if self.label else self.case.name

    @property
    def holds(self) -> bool:
        """Whether the coverage lies in the window and few runs were refused.

        Inside or above it for a wide case.
        """
        low = self.coverage < 1.0 - LEVEL - self.case.window
        high = self.coverage > 1.0 - LEVEL + self.case.window
        inside = not low and (bool(self.case.wide) or not high)
        few_refused = self.refused <= (MOST_REFUSALS if self.case.refusing else REFUSALS)
        return inside and few_refused


def _row(case: Case, label: str, truth: float, found: np.ndarray) -> Row:
    kept = found[~np.isnan(found[:, 0])]
    if len(kept) == 0:
        return Row(case=case, label=label, coverage=0.0, outer=0.0, refused=1.0, half_width=np.inf)
    low, high, first, last = kept.T
    return Row(
        case=case,
        label=label,
        coverage=float(np.mean((low <= truth) & (truth <= high))),
        outer=float(np.mean((first <= truth) & (truth <= last))),
        refused=1.0 - len(kept) / len(found),
        half_width=float(np.median(0.5 * (high - low)) / (abs(truth) or 1.0)),
    )


def columns(
    name: str,
    measure: Callable[[np.ndarray], Measurement],
    law: AR1,
    *,
    chains: int,
    draws: int,
    truth: float,
    naive: Callable[[np.ndarray], Measurement] | None = None,
    wide: str = "",
    refusing: str = "",
) -> Case:
    """Return a case whose repetitions are the columns of wide runs."""
    width = max(1, min(100, 2_000_000 // (chains * draws)))

    def sample(rng: np.random.Generator) -> np.ndarray:
        return law(rng, chains, draws, width)

    return Case(
        name=f"{name}: {law}, {chains} x {draws}",
        law=str(law),
        chains=chains,
        draws=draws,
        truth={"": truth},
        sample=sample,
        measure=measure,
        naive=naive,
        width=width,
        wide=wide,
        refusing=refusing,
    )


def runs(
    name: str,
    measure: Callable[[Any], Measurement | Intervals],
    sample: Callable[[np.random.Generator], Any],
    *,
    law: str,
    chains: int,
    draws: int,
    truth: Mapping[str, float],
    naive: Callable[[Any], Measurement | Intervals] | None = None,
    wide: str = "",
    refusing: str = "",
    tested: int = REPETITIONS // 4,
    repetitions: int = REPETITIONS,
) -> Case:
    """Return a case whose repetitions are runs of their own."""
    return Case(
        name=f"{name}: {law}, {chains} x {draws}",
        law=law,
        chains=chains,
        draws=draws,
        truth=truth,
        sample=sample,
        measure=measure,
        naive=naive,
        wide=wide,
        refusing=refusing,
        tested=tested,
        repetitions=repetitions,
    )


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

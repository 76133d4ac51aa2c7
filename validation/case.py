"""A case of coverage: an estimator, a law, the truth, and how often intervals hold it.

``columns`` and ``runs`` make a case, :meth:`Case.rows` repeats it, and :attr:`Row.holds` judges
what was counted.  What cases there are and what becomes of the counts: :mod:`validation.coverage`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from fracsde.errors import OutOfRangeError, RecordError
from validation.series import AR1

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from fracsde.records.measurement import Measurement

__all__ = [
    "AR1",
    "FRESH",
    "LEVEL",
    "OUTER",
    "REPETITIONS",
    "WINDOW",
    "Case",
    "Intervals",
    "Row",
    "columns",
    "intervals",
    "runs",
]

REPETITIONS = 2000
FRESH = 1  # the seed on which nothing was tuned
LEVEL, OUTER = 0.05, 1e-3  # two-sided: the stated one, and the default of `compare`
WINDOW = 0.03
REFUSALS, MOST_REFUSALS = 0.10, 0.75  # unless a case says why, and if it does


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

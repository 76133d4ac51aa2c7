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
one entry for each entry of ``truth``.  A refusal (:class:`~fracsde.errors.RecordError`) counts
neither way and is reported; more than :data:`REFUSALS` of the repetitions and the case fails.
``naive`` names an estimator with a wrong error, which the test must reject.  ``limit`` says why
coverage is known to be less than stated (the case then fails if it is not), ``wide`` why it may be
more.  Then
``python -m validation.coverage --write`` renews the table of the documentation; a test compares
its rows with the cases.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import signal, special

from fracsde.errors import OutOfRangeError, RecordError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from fracsde.records.measurement import Measurement

__all__ = ["AR1", "Case", "Row", "cases", "columns", "main", "runs", "table"]

REPETITIONS = 2000
LEVEL, OUTER = 0.05, 1e-3  # two-sided: the stated one, and the default of `compare`
WINDOW = 0.03
REFUSALS = 0.10
TABLE = Path(__file__).parents[1] / "docs" / "mathematics" / "coverage_table.md"


@dataclass(frozen=True, kw_only=True)
class AR1:
    """A stationary autoregression with innovations of any law, scaled to variance 1.

    Parameters
    ----------
    phi : float
        Correlation of neighbours; the integrated time is ``(1 + phi) / (1 - phi)`` draws.
    innovations : str
        Their law: Gaussian, t(5), t(3), Laplace, log-normal (of a logarithm with standard
        deviation 1), log-normal(1/2); Pareto(3) and Cauchy are not scaled.
    """

    phi: float = 0.0
    innovations: str = "Gaussian"

    def __str__(self) -> str:
        if self.phi == 0.0:
            return f"independent {self.innovations}"
        tau = (1.0 + self.phi) / (1.0 - self.phi)
        return f"AR(1) {self.innovations}, tau = {tau:.3g}"

    def __call__(self, rng: np.random.Generator, chains: int, draws: int, width: int) -> np.ndarray:
        """Return runs of the given shape, of mean 0 and variance 1."""
        decay = np.log(1e-8) / np.log(max(abs(self.phi), 1e-8))
        warm = 0 if self.phi == 0.0 or self.innovations == "Gaussian" else int(decay)
        noise = _unit(rng, self.innovations, (chains, warm + draws, width))
        if self.phi == 0.0:
            return noise
        noise[:, 1:] *= np.sqrt(1.0 - self.phi**2)
        return signal.lfilter([1.0], [1.0, -self.phi], noise, axis=1)[:, warm:]


def _unit(rng: np.random.Generator, law: str, shape: tuple[int, ...]) -> np.ndarray:
    # Draws of mean 0 and variance 1.
    if law == "Gaussian":
        return rng.standard_normal(shape)
    if law == "Pareto(3)":  # as it is: above 1, of index 3
        return rng.pareto(3.0, shape) + 1.0
    if law == "Cauchy":
        return rng.standard_cauchy(shape)
    if law == "Laplace":
        return rng.laplace(scale=0.5**0.5, size=shape)
    if law.startswith("log-normal"):
        square = 1.0 if law == "log-normal" else 0.25
        draws = np.expm1(np.sqrt(square) * rng.standard_normal(shape)) - np.expm1(0.5 * square)
        return draws / np.sqrt(np.exp(square) * np.expm1(square))
    freedom = {"t(3)": 3.0, "t(5)": 5.0}[law]
    return rng.standard_t(freedom, shape) * np.sqrt((freedom - 2.0) / freedom)


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
        A run to a Measurement.
    naive : callable, optional
        The same with a wrong error.
    width : int
        Repetitions in one run, its columns; 0 where a run is one repetition.
    repetitions : int
        How many in all.
    limit, wide : str
        Why the coverage is less than stated, or may be more; empty where it is as stated.
    """

    name: str
    law: str
    chains: int
    draws: int
    truth: Mapping[str, float]
    sample: Callable[[np.random.Generator], Any]
    measure: Callable[[Any], Measurement]
    naive: Callable[[Any], Measurement] | None = None
    width: int = 0
    repetitions: int = REPETITIONS
    limit: str = ""
    wide: str = ""

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

    def rows(self) -> list[Row]:
        """Repeat, and count."""
        rng = np.random.default_rng(
            int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:8], "big")
        )
        found = np.concatenate(list(self._repeat(rng)))[: self.repetitions]
        return [
            _row(self, label, truth, found[:, :, i])
            for i, (label, truth) in enumerate(self.truth.items())
        ]

    def _repeat(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        # Yield (repetition, 3, entry): value, standard error, effective number.
        for _ in range(0, self.repetitions, max(self.width, 1)):
            run = self.sample(rng)
            found = self._numbers(run)
            if self.width == 0:
                yield found[None]
            elif np.isnan(found).any():  # a refusal of one column refuses the run
                yield np.stack([self._numbers(run[..., i : i + 1]) for i in range(self.width)])
            else:
                yield found.T[..., None]

    def _numbers(self, run: Any) -> np.ndarray:
        # Value, standard error and effective number by entry; NaN where it was refused.
        try:
            found = self.measure(run)
        except (RecordError, OutOfRangeError):
            return np.full((3, len(self.truth)), np.nan)
        return np.stack([found.value, found.stderr, found.n_effective])


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

        Below the window for a case with a limit, and inside or above it for a wide one.
        """
        low = self.coverage < 1.0 - LEVEL - WINDOW
        high = self.coverage > 1.0 - LEVEL + WINDOW
        inside = low if self.case.limit else not low and (bool(self.case.wide) or not high)
        return inside and self.refused <= REFUSALS


def _row(case: Case, label: str, truth: float, found: np.ndarray) -> Row:
    kept = found[~np.isnan(found[:, 0])]
    if len(kept) == 0:
        return Row(case=case, label=label, coverage=0.0, outer=0.0, refused=1.0, half_width=np.inf)
    value, stderr, effective = kept.T

    def reach(level: float) -> np.ndarray:
        return -special.stdtrit(effective - 1.0, 0.5 * level) * stderr

    gap = np.abs(value - truth)
    return Row(
        case=case,
        label=label,
        coverage=float(np.mean(gap <= reach(LEVEL))),
        outer=float(np.mean(gap <= reach(OUTER))),
        refused=1.0 - len(kept) / len(found),
        half_width=float(np.median(reach(LEVEL)) / (abs(truth) or 1.0)),
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
    limit: str = "",
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
        limit=limit,
    )


def runs(
    name: str,
    measure: Callable[[Any], Measurement],
    sample: Callable[[np.random.Generator], Any],
    *,
    law: str,
    chains: int,
    draws: int,
    truth: Mapping[str, float],
    naive: Callable[[Any], Measurement] | None = None,
    wide: str = "",
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
    "| estimator | data | chains x draws | 95 % | 99.9 % | half-width | refused, remark |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)


def table(rows: Sequence[Row]) -> str:
    """Return Markdown."""
    return "\n".join([_HEAD, *(_line(row) for row in rows)]) + "\n"


def _line(row: Row) -> str:
    what = row.name.split(":")[0] + (f", {row.label}" if row.label else "")
    refused = f"{100 * row.refused:.2g} % refused" if row.refused else ""
    cells = (
        what,
        row.case.law,
        f"{row.case.chains} x {row.case.draws}",
        f"{100 * row.coverage:.1f}",
        f"{100 * row.outer:.2f}",
        f"{row.half_width:.2g}",
        "; ".join(filter(None, (refused, row.case.limit, row.case.wide))),
    )
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str]) -> int:
    """Run the cases whose names hold one of the words; return how many do not hold."""
    write = "--write" in arguments
    words = [word for word in arguments if word != "--write"]
    chosen = [c for c in cases().values() if not words or any(word in c.name for word in words)]
    rows, failures = [], 0
    print(_HEAD)
    for case in chosen:
        for row in case.rows():
            rows.append(row)
            failures += not row.holds
            print(_line(row) + ("" if row.holds else "   <- outside"), flush=True)
    if write and not words:
        TABLE.write_text(table(rows))
    return failures


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))

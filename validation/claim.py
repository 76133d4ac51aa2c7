"""What a claim states before anything runs, and how it is judged.

A claim names a quantity, a problem, the digits that someone published and where.  Its tolerance
is not chosen: it is half a unit in the last digit that was published, and nothing for fractions.
A claim that is known to disagree, because the publication is wrong, says so and says why; it fails
if it agrees after all.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Claim", "Row", "claims"]

_ORIGINS = {
    "seen": "the publication itself was read",
    "quoted": "taken from someone who quotes the publication",
    "recomputed": "computed earlier by another program; printed digits were not seen",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number.

    Parameters
    ----------
    label : str
        Which.
    published : str
        Its digits, or a fraction.
    computed : float or Fraction
        What fracsde makes of it.
    """

    label: str
    published: str
    computed: float | Fraction

    @property
    def tolerance(self) -> Fraction:
        """Half a unit in the last published digit; zero for fractions."""
        if "/" in self.published:
            return Fraction(0)
        exponent = Decimal(self.published).as_tuple().exponent
        return Fraction(10) ** int(exponent) / 2

    @property
    def agrees(self) -> bool:
        """Whether the computed number rounds to the published one."""
        return abs(Fraction(self.computed) - Fraction(self.published)) <= self.tolerance


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Published numbers and how to compute them.

    Parameters
    ----------
    title : str
        What is claimed, in one line.
    quantity : str
        What the numbers are.
    problem : str
        Of which problem.
    source : str
        Where they were published.
    origin : {"seen", "quoted", "recomputed"}
        How they came here.
    published : tuple of (str, str)
        Labels and digits.
    compute : callable
        Returns as many numbers.
    disagrees_because : str
        Why the publication is wrong, for claims that are expected to disagree.
    """

    title: str
    quantity: str
    problem: str
    source: str
    origin: str
    published: tuple[tuple[str, str], ...]
    compute: Callable[[], Sequence[float | Fraction]]
    disagrees_because: str = ""

    def __post_init__(self) -> None:
        if self.origin not in _ORIGINS:
            msg = f"`origin` must be one of {', '.join(_ORIGINS)}, got {self.origin!r}"
            raise ValueError(msg)

    def rows(self) -> list[Row]:
        """Compute, and set beside what was published."""
        return [
            Row(label=label, published=digits, computed=value)
            for (label, digits), value in zip(self.published, self.compute(), strict=True)
        ]

    def verdict(self, rows: Sequence[Row]) -> str:
        """Return AGREES or DISAGREES."""
        return "AGREES" if all(row.agrees for row in rows) else "DISAGREES"

    def holds(self, rows: Sequence[Row]) -> bool:
        """Whether the verdict is the expected one."""
        return (self.verdict(rows) == "DISAGREES") == bool(self.disagrees_because)

    def report(self, rows: Sequence[Row]) -> str:
        """Return the claim and its rows as text."""
        lines = [
            f"{self.title}: {self.verdict(rows)}",
            f"  quantity  {self.quantity}",
            f"  problem   {self.problem}",
            f"  source    {self.source}",
            f"  origin    {self.origin}: {_ORIGINS[self.origin]}",
        ]
        if self.disagrees_because:
            lines.append(f"  expected to disagree: {self.disagrees_because}")
        width = max(len(row.label) for row in rows)
        for row in rows:
            mark = "" if row.agrees else "   DISAGREES"
            value = row.computed
            shown = str(value) if isinstance(value, Fraction) else f"{value:.8g}"
            lines.append(f"    {row.label:{width}}  {row.published:>12}  {shown:>14}{mark}")
        return "\n".join(lines)


def claims() -> dict[str, Claim]:
    """Return all claims by the names of their files."""
    folder = Path(__file__).parent / "claims"
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    return {name: import_module(f"validation.claims.{name}").CLAIM for name in names}

"""One comparison: the verdict and the row that carries it.

Rows hold plain Python numbers and text, so that every way of showing them starts from the same.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["QuantitySummary", "Row", "Verdict", "overall", "summarise"]


class Verdict(Enum):
    """Where the interval of measured ÷ predicted lies against ``1 ± tolerance``.

    Examples
    --------
    >>> print(Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE.symbol)
    INCONCLUSIVE ?
    """

    AGREES = "The interval lies inside 1 ± tolerance: the theory holds to within the tolerance."
    DISAGREES = "The interval lies outside 1 ± tolerance: the theory fails by more than that."
    INCONCLUSIVE = "The interval crosses the edge of 1 ± tolerance: these data do not decide."

    @property
    def sentence(self) -> str:
        """What it means, for a person."""
        return self.value

    @property
    def symbol(self) -> str:
        """One character, so that a verdict never rests on colour alone."""
        return {"AGREES": "✓", "DISAGREES": "✗", "INCONCLUSIVE": "?"}[self.name]

    def __str__(self) -> str:
        return self.name


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict on several rows: one DISAGREES spoils it, a pass needs every row.

    Returns
    -------
    Verdict
        INCONCLUSIVE if there are none.
    """
    found = set(verdicts)
    if Verdict.DISAGREES in found:
        return Verdict.DISAGREES
    return Verdict.AGREES if found == {Verdict.AGREES} else Verdict.INCONCLUSIVE


@dataclass(frozen=True, kw_only=True)
class Row:
    """One entry of one quantity, predicted and measured.

    Parameters
    ----------
    quantity, label, unit : str
        What is compared; the label is empty for a single number.
    theory : str
        Which theory predicts.
    predicted, numerical_error : float [unit]
        The prediction and the bound on the error of computing it.
    measured, stderr : float [unit]
        The estimate and its standard error.
    n_effective : float [1]
        Effective number of independent observations.
    ratio, low, high : float [1]
        ``1 + (measured - predicted) / scale`` and its interval.
    verdict : Verdict
        Where the interval lies against ``1 ± tolerance``.
    method : str
        How it was measured.
    """

    quantity: str
    label: str
    unit: str
    theory: str
    predicted: float
    numerical_error: float
    measured: float
    stderr: float
    n_effective: float
    ratio: float
    low: float
    high: float
    verdict: Verdict
    method: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain JSON types.

        Returns
        -------
        dict
        """
        return {
            "quantity": self.quantity,
            "label": self.label,
            "unit": self.unit,
            "theory": self.theory,
            "predicted": self.predicted,
            "numerical_error": self.numerical_error,
            "measured": self.measured,
            "stderr": self.stderr,
            "n_effective": self.n_effective,
            "ratio": self.ratio,
            "ratio_interval": [self.low, self.high],
            "verdict": self.verdict.name,
        }


@dataclass(frozen=True, kw_only=True)
class QuantitySummary:
    """The rows of one quantity in one line.

    Parameters
    ----------
    quantity, unit : str
        What is compared.
    rows, agrees, disagrees, inconclusive : int
        Number of rows, in all and per verdict.
    lowest, highest : float [1]
        Range of the ratios.
    verdict : Verdict
        The verdict on all of them.
    """

    quantity: str
    unit: str
    rows: int
    agrees: int
    disagrees: int
    inconclusive: int
    lowest: float
    highest: float
    verdict: Verdict


def summarise(rows: Sequence[Row]) -> dict[str, QuantitySummary]:
    """Return one summary per quantity, in the order of the rows.

    Parameters
    ----------
    rows : sequence of Row
        Rows of one theory.

    Returns
    -------
    dict
        From the name of the quantity to its summary.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.quantity, []).append(row)
    return {name: _summary(group) for name, group in groups.items()}


def _summary(rows: Sequence[Row]) -> QuantitySummary:
    count = Counter(row.verdict for row in rows)
    return QuantitySummary(
        quantity=rows[0].quantity,
        unit=rows[0].unit,
        rows=len(rows),
        agrees=count[Verdict.AGREES],
        disagrees=count[Verdict.DISAGREES],
        inconclusive=count[Verdict.INCONCLUSIVE],
        lowest=min(row.ratio for row in rows),
        highest=max(row.ratio for row in rows),
        verdict=overall(count),
    )

"""Small pieces of which tables and sentences of the demo are made: rows, counts, numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.compare import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import FloatArray
    from fracsde.compare import Row
    from fracsde.demo.results import Stationary

__all__ = [
    "change",
    "count",
    "counts",
    "heading",
    "percent",
    "ratios_of",
    "rows_of",
    "span",
    "theory_rows",
]


def rows_of(rows: Sequence[Row], quantity: str) -> list[Row]:
    """Return the rows of one quantity.

    Returns
    -------
    list of Row
    """
    return [row for row in rows if row.quantity == quantity]


def count(rows: Sequence[Row], verdict: Verdict) -> int:
    """Return how many rows have a verdict.

    Returns
    -------
    int
    """
    return sum(row.verdict is verdict for row in rows)


def counts(rows: Sequence[Row]) -> str:
    """Return how many rows agree, are open and disagree, as in ``"3/1/0"``.

    Returns
    -------
    str
    """
    order = (Verdict.AGREES, Verdict.INCONCLUSIVE, Verdict.DISAGREES)
    return "/".join(str(count(rows, verdict)) for verdict in order)


def span(values: FloatArray) -> str:
    """Return the range of some numbers in words.

    Returns
    -------
    str
    """
    return f"{np.min(values):.2f} to {np.max(values):.2f}"


def ratios_of(rows: Sequence[Row]) -> FloatArray:
    """Return measured over predicted of each row.

    Returns
    -------
    (n,) float64
    """
    return np.array([row.ratio for row in rows])


def theory_rows(item: Stationary, theory: str) -> Sequence[Row]:
    """Return the rows of one theory.

    Returns
    -------
    sequence of Row
    """
    return item.report.rows if theory == "map" else item.report.rivals[theory]


def change(ratio: float) -> str:
    """Return a ratio as a change in per cent.

    Returns
    -------
    str
    """
    return f"{percent(100.0 * (ratio - 1.0))} {'larger' if ratio >= 1.0 else 'smaller'}"


def percent(value: float) -> str:
    """Return a number of per cent without its sign, to about two digits.

    Returns
    -------
    str
    """
    return f"{abs(value):.0f} %" if abs(value) >= 20.0 else f"{abs(value):.1f} %"


def heading(name: str, item: Stationary) -> str:
    """Return network and regime in words.

    Returns
    -------
    str
    """
    return f"{name}, {item.plan.regime.name}"

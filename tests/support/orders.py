"""Observed orders of convergence, two-sided, with a table in the failure message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WINDOW = 0.15


@dataclass(frozen=True, kw_only=True)
class OrderTable:
    """Errors at refinements, and the order of the last pair and of a fit to all."""

    sizes: tuple[int, ...]
    errors: tuple[float, ...]
    expected: float

    @property
    def orders(self) -> np.ndarray:
        """Observed order between neighbouring refinements."""
        return -np.diff(np.log(self.errors)) / np.diff(np.log(self.sizes))

    @property
    def observed(self) -> float:
        """Order between the two finest refinements."""
        return float(self.orders[-1])

    def agrees(self, window: float = WINDOW) -> bool:
        """Whether the observed order lies within ``window`` of the expected one, on both sides."""
        return abs(self.observed - self.expected) <= window

    def __str__(self) -> str:
        rows = [f"{'n':>8} {'error':>12} {'order':>8}"]
        orders = ["", *(f"{order:8.3f}" for order in self.orders)]
        for size, error, order in zip(self.sizes, self.errors, orders, strict=True):
            rows.append(f"{size:8d} {error:12.4e} {order:>8}")
        rows.append(f"{'expected':>21} {self.expected:8.3f}")
        return "\n" + "\n".join(rows)


def observed_order(
    error_at: Callable[[int], float], sizes: Sequence[int], expected: float
) -> OrderTable:
    """Measure the error at each size (at least five: four halvings)."""
    assert len(sizes) >= 5, "an observed order needs at least four halvings"
    return OrderTable(
        sizes=tuple(sizes), errors=tuple(error_at(n) for n in sizes), expected=expected
    )

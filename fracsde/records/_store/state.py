"""In what state a run is: being recorded, complete, diverged."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fracsde._typing import IntArray

__all__ = ["Divergence", "RunStatus", "first_divergence"]


class RunStatus(Enum):
    """State of a stored run.

    Examples
    --------
    >>> RunStatus.CLOSED.sentence
    'The run is complete.'
    """

    RECORDING = "The run is being recorded, or was interrupted: its last row may not be its end."
    CLOSED = "The run is complete."
    DIVERGED = "The run diverged: a recorded number is NaN or infinite."

    @property
    def ok(self) -> bool:
        """Whether the run is complete and finite."""
        return self is RunStatus.CLOSED

    @property
    def sentence(self) -> str:
        """What happened, for a person."""
        return self.value


@dataclass(frozen=True)
class Divergence:
    """Where a run first left the finite numbers.

    Parameters
    ----------
    chain, step : int
        The chain and its step.
    stream : str
        The first stream that is not finite there.
    """

    chain: int
    step: int
    stream: str


def first_divergence(
    chain: int, steps: IntArray, marks: NDArray[np.uint32], names: Sequence[str]
) -> Divergence | None:
    """Return where a chain first left the finite numbers.

    Parameters
    ----------
    chain : int
        Its number.
    steps : (n,) ndarray of int64
        Its steps.
    marks : (n, 2) ndarray of uint32
        What is missing and what is not finite in each row, one bit per stream.
    names : sequence of str
        Names of the streams.

    Returns
    -------
    Divergence or None
    """
    bad = marks[:, 1]
    if not bad.any():
        return None
    row = int(np.argmax(bad != 0))
    lowest = (int(bad[row]) & -int(bad[row])).bit_length() - 1
    return Divergence(chain, int(steps[row]), names[min(lowest, len(names) - 1)])

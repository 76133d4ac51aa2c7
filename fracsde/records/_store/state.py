"""In what state a run is: being recorded, complete, diverged."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Divergence", "RunStatus"]


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

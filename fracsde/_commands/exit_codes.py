"""What the ``fracsde`` command tells a script when it ends."""

from __future__ import annotations

__all__ = [
    "BAD_INPUT",
    "DISAGREES",
    "FINISHED",
    "INCONCLUSIVE",
    "INTERRUPTED",
    "REFUSED",
    "of",
    "of_assumption",
]

FINISHED = 0  # and, of a comparison, that it agrees
BAD_INPUT = 2
DISAGREES = 3
INCONCLUSIVE = 4
REFUSED = 5  # the run drifts, diverged or is too short, and must not be judged as it is
INTERRUPTED = 130


def of(verdict: str) -> int:
    """Return the code of a verdict, given by its name.

    Returns
    -------
    int

    Examples
    --------
    >>> [of(name) for name in ("AGREES", "DISAGREES", "INCONCLUSIVE")]
    [0, 3, 4]
    """
    return {"AGREES": FINISHED, "DISAGREES": DISAGREES, "INCONCLUSIVE": INCONCLUSIVE}[verdict]


def of_assumption(verdict: str) -> int:
    """Return the code of the verdict on an assumption, given by its name.

    Returns
    -------
    int

    Examples
    --------
    >>> [of_assumption(name) for name in ("HOLDS", "FAILS", "UNDECIDED")]
    [0, 3, 4]
    """
    return {"HOLDS": FINISHED, "FAILS": DISAGREES, "UNDECIDED": INCONCLUSIVE}[verdict]

r"""When to record: a function of the step alone, so that a resumed run keeps to it.

Every ``k`` steps; on a logarithmic scale, at the steps nearest to

.. math:: s_j = 10^{\,j/n}, \qquad j = 0, 1, 2, \dots

with :math:`n` per decade; in windows; and what any of several says, joined by ``|``.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import integer
from fracsde.errors import InputError, OutOfRangeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fracsde._typing import IntArray

__all__ = ["AnyOf", "Every", "LogSpaced", "Schedule", "Windows", "schedule_from_dict"]

_FAR = 2**62


class Schedule:
    """Which steps are recorded."""

    def due(self, step: int) -> bool:
        """Return whether a step is recorded.

        Parameters
        ----------
        step : int [step]
            Its number, from 0.

        Returns
        -------
        bool

        Raises
        ------
        NotImplementedError
            In this base class.
        """
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return the schedule as plain JSON types, see :func:`schedule_from_dict`.

        Returns
        -------
        dict

        Raises
        ------
        NotImplementedError
            In this base class.
        """
        raise NotImplementedError

    def steps(self, stop: int, *, start: int = 0) -> IntArray:
        """Return the recorded steps from ``start`` until before ``stop``.

        Parameters
        ----------
        stop, start : int [step]
            The range.

        Returns
        -------
        ndarray of int64
        """
        return np.array([s for s in range(start, stop) if self.due(s)], dtype=np.int64)

    def __or__(self, other: Schedule) -> AnyOf:
        if not isinstance(other, Schedule):
            return NotImplemented
        mine = self.schedules if isinstance(self, AnyOf) else (self,)
        return AnyOf((*mine, *(other.schedules if isinstance(other, AnyOf) else (other,))))


@dataclass(frozen=True)
class Every(Schedule):
    """Every ``k``-th step, from ``first`` on.

    Parameters
    ----------
    k : int [step]
        Distance, at least 1.
    first : int [step]
        First step.

    Examples
    --------
    >>> Every(10).steps(35).tolist()
    [0, 10, 20, 30]
    """

    k: int = 1
    first: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", integer("k", self.k, low=1, high=_FAR))
        object.__setattr__(self, "first", integer("first", self.first, low=0, high=_FAR))

    def due(self, step: int) -> bool:
        """Return whether a step is recorded."""
        return step >= self.first and (step - self.first) % self.k == 0

    def to_dict(self) -> dict[str, Any]:
        """Return the schedule as plain JSON types."""
        return {"kind": "every", "k": self.k, "first": self.first}


@dataclass(frozen=True)
class LogSpaced(Schedule):
    """Steps that are equally spaced on a logarithmic scale, and step 0.

    Early steps, closer than one to another, are all kept.

    Parameters
    ----------
    per_decade : int
        Steps from ``s`` to ``10 s``.

    Examples
    --------
    >>> LogSpaced(4).steps(200).tolist()
    [0, 1, 2, 3, 6, 10, 18, 32, 56, 100, 178]
    """

    per_decade: int = 20

    def __post_init__(self) -> None:
        n = integer("per_decade", self.per_decade, low=1, high=10**6)
        object.__setattr__(self, "per_decade", n)

    def due(self, step: int) -> bool:
        """Return whether a step is recorded."""
        if step <= 1:
            return step >= 0
        # A member that rounds to the step is next to it on one side or the other; one more on
        # each side is for the rounding of the logarithm.
        below = math.floor(self.per_decade * math.log10(step))
        return any(round(self._member(j)) == step for j in range(below - 1, below + 3))

    def _member(self, j: int) -> float:
        decades, part = divmod(j, self.per_decade)
        return float(10**decades * 10 ** (part / self.per_decade))

    def to_dict(self) -> dict[str, Any]:
        """Return the schedule as plain JSON types."""
        return {"kind": "log_spaced", "per_decade": self.per_decade}


@dataclass(frozen=True)
class Windows(Schedule):
    """Stretches of steps, each recorded every so many.

    Parameters
    ----------
    starts : sequence of int [step]
        First step of each window.
    length : int [step]
        Steps of a window.
    every : int [step]
        Distance within a window.

    Raises
    ------
    OutOfRangeError
        If windows overlap, or there is none.

    Examples
    --------
    >>> Windows(starts=(0, 100), length=6, every=2).steps(200).tolist()
    [0, 2, 4, 100, 102, 104]
    """

    starts: Sequence[int]
    length: int
    every: int = 1

    def __post_init__(self) -> None:
        try:
            given = list(self.starts)
        except TypeError as error:
            msg = f"`starts` must be a sequence of steps, got {self.starts!r}"
            raise OutOfRangeError(msg) from error
        starts = sorted(integer("starts", s, low=0, high=_FAR) for s in given)
        length = integer("length", self.length, low=1, high=_FAR)
        every = integer("every", self.every, low=1, high=_FAR)
        if not starts or any(b - a < length for a, b in pairwise(starts)):
            msg = (
                f"`starts` must name windows of {length} steps that do not overlap, got "
                f"{starts[:8]}; make them shorter, or join two schedules with `|`"
            )
            raise OutOfRangeError(msg)
        object.__setattr__(self, "starts", tuple(starts))
        object.__setattr__(self, "length", length)
        object.__setattr__(self, "every", every)

    def due(self, step: int) -> bool:
        """Return whether a step is recorded."""
        window = bisect_right(self.starts, step) - 1
        if window < 0:
            return False
        inside = step - self.starts[window]
        return inside < self.length and inside % self.every == 0

    def to_dict(self) -> dict[str, Any]:
        """Return the schedule as plain JSON types."""
        return {
            "kind": "windows",
            "starts": list(self.starts),
            "length": self.length,
            "every": self.every,
        }


@dataclass(frozen=True)
class AnyOf(Schedule):
    """What any of several schedules records; made by ``|``.

    Parameters
    ----------
    schedules : tuple of Schedule
        The schedules.

    Raises
    ------
    InputError
        If there is none, or one is no schedule.

    Examples
    --------
    >>> (Every(50) | Windows(starts=(60,), length=3)).steps(120).tolist()
    [0, 50, 60, 61, 62, 100]
    """

    schedules: tuple[Schedule, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedules", tuple(self.schedules))
        if not self.schedules or not all(isinstance(s, Schedule) for s in self.schedules):
            msg = f"`schedules` must be one or more schedules, got {self.schedules!r}"
            raise InputError(msg)

    def due(self, step: int) -> bool:
        """Return whether a step is recorded."""
        return any(schedule.due(step) for schedule in self.schedules)

    def to_dict(self) -> dict[str, Any]:
        """Return the schedule as plain JSON types."""
        return {"kind": "any_of", "schedules": [s.to_dict() for s in self.schedules]}


def schedule_from_dict(content: Mapping[str, Any]) -> Schedule:
    """Return the schedule that :meth:`Schedule.to_dict` described.

    Parameters
    ----------
    content : mapping
        Plain JSON types.

    Returns
    -------
    Schedule

    Raises
    ------
    InputError
        If it describes none.

    Examples
    --------
    >>> schedule_from_dict(LogSpaced(5).to_dict())
    LogSpaced(per_decade=5)
    """
    kinds: dict[str, type[Schedule]] = {"every": Every, "log_spaced": LogSpaced, "windows": Windows}
    try:
        fields = {key: value for key, value in content.items() if key != "kind"}
        kind = content["kind"]
        if kind == "any_of":
            return AnyOf(tuple(schedule_from_dict(part) for part in fields["schedules"]))
        return kinds[kind](**fields)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = f"{content!r:.200} describes no schedule: {error}"
        raise InputError(msg) from error

"""Coefficients and sources at the times of a run, evaluated before its first step.

What is no number, or of another shape than the points, is refused before the work it would spoil:

- of a run whose times are known, a march through a mesh, at **all** of them, while operators and
  sources of all times take less than 64 MiB; they are kept and handed out when the march asks, so
  that nothing is evaluated twice;
- of a longer march, and of one with a checkpoint, which loses and repeats little, at one of each
  twenty of its times, at five at least, and at the first and last;
- of collocation, which chooses its times itself, at a twentieth of as many as it will ask for,
  spread over the run;
- and at those few of the times, the same whatever is kept, at which widths of cells are judged.

Costly coefficients take their time here: it is a stage of the progress that a solve shows, and
Ctrl-C ends it between two times.

Positions in equal parts of the run follow the golden ratio, so that a force that comes and goes is
not always met in the same phase.  What fails between times that were tried is named when it is
reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._solving.resolution import fluxes_of
from fracsde.operators.chain import CellChain
from fracsde.operators.richardson import ExtrapolatedCells
from fracsde.operators.tensor import TensorCells
from fracsde.schemes.base import ConvolutionScheme
from fracsde.schemes.collocation import HpCollocation
from fracsde.schemes.driven import LeMcLeanMustapha
from fracsde.schemes.marching import source_times

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._solving.nouns import Request
    from fracsde._solving.resolution import Fluxes
    from fracsde._typing import FloatArray
    from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["Points", "tried"]

_KEPT = 2**26  # bytes
_NUMBERS = {1: 6, 2: 40, 3: 60}  # float64 per cell of an operator on cells
_SHARE = 20  # one time in so many is tried where not all are
_FEWEST = 5
_SEEN = {1: 32, 2: 8, 3: 8}  # times at which widths of cells are judged
_GOLDEN = 0.5 * (np.sqrt(5.0) - 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """An operator and what enters, on one set of points."""

    generator: Any
    """At time 0, where it depends on time."""
    masses: FloatArray
    """At the start, ``(n,)`` [1]."""
    generator_at: Callable[[float], Any]
    """From a time to the operator."""
    source_at: Callable[[float], FloatArray] | None
    """From a time to the masses that enter per time, ``(n,)`` [1/t]."""
    entered: tuple[tuple[float, FloatArray], ...]
    """Some of those times in their order and what enters then; nothing without a source."""
    fluxes: Fluxes | None
    """The cells at some of the times, if it is cells."""


def tried(space: Any, request: Request) -> tuple[Any, dict[str, Points]]:
    """Return the points of a space after trying what is evaluated there.

    Parameters
    ----------
    space : Space
        How to make a generator.
    request : Request
        What is wanted.

    Returns
    -------
    Generator
        At time 0.
    dict of str to Points
        Under ``"coarse"`` and ``"fine"`` of a pair of grids, else under the empty string.
    """
    base = request.base
    first = space.discretise(base.frozen_at(0.0))
    found = {tag: _Values(tag, space, base, _part(first, tag)) for tag in _tags(first)}
    times, known = _asked(request)
    if not base.time_dependent and base.source is None:
        times, known = times[:0], False
    last = float(request.wanted[-1])
    each = sum(values.numbers() for values in found.values())
    keep = known and request.checkpoint is None and 8 * len(times) * each <= _KEPT
    # Cells are judged at times that do not depend on what is kept.
    seen = _judged(times, known, request) if len(times) else times
    if not keep:
        times = np.union1d(times[_spread(times, last)] if known else times, seen)
    moments = set(seen.tolist())
    if len(times):
        with request.bar(len(times), word="coefficients") as watch:
            for done, t in enumerate(times[::-1].tolist(), 1):  # the last first: it fails oftenest
                operator = space.discretise(base.frozen_at(t)) if base.time_dependent else first
                for values in found.values():
                    values.take(t, operator, keep=keep, seen=t in moments)
                if watch is not None:
                    watch(done)
    cells = _part(first, "coarse").shape if "coarse" in found else None
    return first, {tag: values.points(request, cells) for tag, values in found.items()}


class _Values:
    # Operators and sources on one set of points; what is kept is handed out once.

    def __init__(self, tag: str, space: Any, base: FokkerPlanck, first: Any) -> None:
        self.tag, self.space, self.base, self.first = tag, space, base, first
        self.mesh, self.widths = first.mesh, first.widths  # worked out anew at each call
        self.operators: dict[float, Any] = {}
        self.sources: dict[float, FloatArray] = {}
        self.seen: list[tuple[float, Any]] = []
        self.entered: list[tuple[float, FloatArray]] = []

    def numbers(self) -> int:
        """Return how many numbers the values at one time are, roughly."""
        n = len(self.widths)
        cells = isinstance(self.first, CellChain | TensorCells)
        operator = n * (_NUMBERS[self.base.dimension] if cells else n)  # others are dense
        return operator * self.base.time_dependent + n * (self.base.source is not None)

    def generator_at(self, t: float) -> Any:
        if not self.base.time_dependent or t == 0.0:
            return self.first
        found = self.operators.pop(t, None)
        return found or _part(self.space.discretise(self.base.frozen_at(t)), self.tag)

    def source_at(self, t: float) -> FloatArray:
        found = self.sources.pop(t, None)
        return self._source(t) if found is None else found

    def _source(self, t: float) -> FloatArray:
        return np.asarray(self.base.source_at(t, *self.mesh).ravel() * self.widths)

    def take(self, t: float, whole: Any, *, keep: bool, seen: bool) -> None:
        operator = _part(whole, self.tag)
        if keep and self.base.time_dependent:
            self.operators[t] = operator
        if seen and self.base.time_dependent:
            self.seen.insert(0, (t, operator))
        if self.base.source is not None:
            rates = self._source(t)
            if keep:
                self.sources[t] = rates
            if seen:
                self.entered.insert(0, (t, rates))

    def points(self, request: Request, cells: tuple[int, ...] | None) -> Points:
        seen = self.seen if self.base.time_dependent else [(1.0, self.first)]
        times, generators = np.array([t for t, _ in seen]), [g for _, g in seen]
        self.seen = []  # operators are let go when the march has had them
        return Points(
            generator=self.first,
            masses=self.first.project(self.base.initial),
            generator_at=self.generator_at,
            source_at=None if self.base.source is None else self.source_at,
            entered=tuple(self.entered),
            fluxes=fluxes_of(generators, times, request.alpha, cells),
        )


def _tags(generator: Any) -> tuple[str, ...]:
    return ("coarse", "fine") if isinstance(generator, ExtrapolatedCells) else ("",)


def _part(generator: Any, tag: str) -> Any:
    return getattr(generator, tag) if tag else generator


def _asked(request: Request) -> tuple[FloatArray, bool]:
    # The times a run will ask for, or some of them, and whether they are those.
    scheme, nodes = request.scheme, request.grid.times
    if isinstance(scheme, ConvolutionScheme) and not request.base.time_dependent:
        scheme.check(request.grid)  # on a mesh that does not serve nothing is tried
        return source_times(scheme, nodes, request.alpha), True
    if isinstance(scheme, LeMcLeanMustapha):
        return nodes[1:], True
    last = float(request.wanted[-1])
    if last == 0.0 or not (scheme is None or isinstance(scheme, HpCollocation)):
        return nodes[:0], False  # served in no other way, and refused elsewhere
    scheme = scheme or HpCollocation()
    asked = scheme.planned(request.alpha) * (2 * scheme.degree + 1)
    return last * _even(max(asked // _SHARE, _FEWEST)), False


def _even(count: int) -> FloatArray:
    # One number in each of equal parts of (0, 1), and 1.
    k = np.arange(count)
    return np.append((k + (k + 1) * _GOLDEN % 1.0) / count, 1.0)


def _spread(times: FloatArray, last: float) -> Any:
    # Indices of one in twenty, and of the first, the last and the last wanted one.
    count = len(times)
    picked = (count * _even(max(count // _SHARE, _FEWEST))).astype(np.int64)
    picked = np.append(picked, [0, np.searchsorted(times, last)])
    return np.unique(np.minimum(picked, count - 1))


def _judged(times: FloatArray, known: bool, request: Request) -> FloatArray:
    # Times between which walkers jump, or sources enter, equally often, and the last.
    base, last = request.base, float(request.wanted[-1])
    order = request.alpha if base.time_dependent else 1.0  # up to t there are t**alpha jumps
    even = _even(_SEEN[base.dimension] - 1) ** (1.0 / order)
    if not known:
        even = last * even
        return np.unique(even[even > 0.0])
    times = times[times <= last]
    if len(times) <= _SEEN[base.dimension]:
        return times
    return np.unique(times[np.searchsorted(times, times[-1] * even)])

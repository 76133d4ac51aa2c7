r"""Which points: two grids extrapolated, or the operator that a tolerance needs.

A space is chosen by trying: solutions of growing resolution are compared, at the points of the
finer one and at the times that are asked for, until two agree to the tolerance,

.. math::
    \max_x |p - p_{\mathrm{coarse}}| \le \mathrm{rtol} \cdot \max_x |p| .

The difference is about the error of the coarser one, and is reported as that of the finer one,
which is smaller: by an order of magnitude for a spectral operator, 81 times for extrapolated
cells of a smooth density.  Where every further step gains nothing, rounding has been reached.

Solutions by sines have in common what their intervals cut off; that share is added.

Sines come first.  Where they are refused, because a wall is felt, the potential is not smooth or
the start is too broad, or where they do not converge, it is cells.

Not here: what happens on given points (:mod:`fracsde._solving.outcome`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._solving.foreseeing import refuse_wide_cells
from fracsde._solving.nouns import Outcome
from fracsde._solving.outcome import outcome_on, refuse_no_scheme
from fracsde._solving.trying import tried
from fracsde.errors import InputError, UnsupportedError
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.operators.richardson import ExtrapolatedCells, Richardson
from fracsde.operators.sinc import Sinc
from fracsde.operators.spectral import SpectralGenerator
from fracsde.problems.fokker_planck import require_line
from fracsde.schemes.collocation import HpCollocation
from fracsde.schemes.propagator import Propagator

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fracsde._solving.nouns import Request
    from fracsde.operators.base import Space
    from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["checked_space", "chosen", "solve_in"]

_POINTS = (32, 48, 72, 108, 162, 243)  # of the sines
_CELLS = (27, 81, 243, 729, 2187)  # of the coarse grids; odd multiples of each other
_PER_AXIS = {2: 128, 3: 48}  # cells where nobody says how many
_GAIN = 0.5  # a finer solution that differs by more than this from the last is no better
_TINY = float(np.finfo(np.float64).tiny)
_WASTED = 2  # such solutions in a row end the search


def solve_in(space: Any, request: Request) -> tuple[Any, Outcome]:
    """Solve on the points of a given space.

    Parameters
    ----------
    space : Space
        How to make a generator.
    request : Request
        What is wanted.

    Returns
    -------
    Generator
        The operator on its points.
    Outcome

    Raises
    ------
    ComputationError
        If cells are too wide for the drift where the last density will be, and the request says
        that such are refused.
    """
    refuse_no_scheme(request.scheme)
    generator, points = tried(space, request)
    if request.refuse:
        refuse_wide_cells(points[max(points)], request)  # of a pair the fine ones
    if "" in points:
        return generator, outcome_on(points[""], request)
    inner = request
    if isinstance(request.scheme, (Propagator, HpCollocation)):
        # Errors add up to 5/4 of those on each grid.
        lowest = 1e-14 if isinstance(request.scheme, Propagator) else 1e-13
        tighter = replace(request.scheme, rtol=max(0.8 * request.scheme.rtol, lowest))
        inner = replace(inner, scheme=tighter)
    # Two marches, two files.
    mark = request.checkpoint

    def on(tag: str) -> Outcome:
        own = replace(inner, checkpoint=mark and mark.beside(tag))
        return outcome_on(points[tag], own)

    coarse, fine = on("coarse"), on("fine")
    density = generator.combine(coarse.density, fine.density)
    errors = (coarse.error, fine.error)
    error = None
    if errors[0] is not None and errors[1] is not None:
        error = (errors[0] + 9.0 * errors[1]) / 8.0
    stats = {
        key: coarse.stats[key] + fine.stats[key]
        for key in fine.stats
        if key in coarse.stats and not isinstance(fine.stats[key], (str, tuple))
    }
    if "smearing" in fine.stats:
        stats["smearing"] = fine.stats["smearing"]
    return generator, Outcome(
        density=density,
        scheme=fine.scheme if request.scheme is None else request.scheme,
        engine=fine.engine,
        residual=max(coarse.residual, fine.residual),
        mesh=fine.mesh,
        error=error,
        relative=(coarse.relative + 9.0 * fine.relative) / 8.0,
        allowed=1.25 * fine.allowed,
        stats=stats,
        complaint=fine.complaint,
    )


def chosen(request: Request) -> tuple[Space, Any, Outcome]:
    """Find the coarsest space that keeps the tolerance of the propagator.

    Parameters
    ----------
    request : Request
        What is wanted.

    Returns
    -------
    Space
        What was chosen.
    Generator
        The operator on its points.
    Outcome
        With the error in space in ``error``, ``relative`` and ``stats["space_error"]``.

    Raises
    ------
    InputError
        If there is no tolerance to keep: only the propagator has one.
    """
    if isinstance(request.base.initial, np.ndarray):
        msg = (
            '`space="auto"` needs a start that is known everywhere, got cell values; leave `space` '
            "out for one cell per value"
        )
        raise InputError(msg)
    if request.base.time_dependent:
        msg = (
            '`space="auto"` compares propagated solutions, and coefficients that depend on time '
            "are not propagated; name a space, e.g. FiniteVolume(cells=512)"
        )
        raise InputError(msg)
    marching = request.scheme is not None and not isinstance(request.scheme, Propagator)
    if marching or request.base.source is not None:
        given = "a source" if request.base.source is not None else repr(request.scheme)
        msg = (
            f'`space="auto"` needs the tolerance of Propagator(rtol=...), got {given}, whose error '
            "in time is not known; name a space, e.g. FiniteVolume(cells=512)"
        )
        raise InputError(msg)
    # Three quarters of the tolerance are for space: time is cheap.
    asked = request.scheme or Propagator(rtol=request.tolerance)
    inner = replace(request, scheme=Propagator(rtol=max(0.25 * asked.rtol, 1e-14)), refuse=False)
    found: tuple[Space, Any, Outcome] | None
    try:
        found = _refined([Sinc(points=n) for n in _POINTS], inner, asked)
        why = "sines do not converge"
    except UnsupportedError as error:
        found, why = None, str(error)
    if found is None or not found[2].relative <= found[2].allowed:
        cells = _refined([Richardson(cells=n) for n in _CELLS], inner, asked)
        if cells is not None and (found is None or cells[2].relative < found[2].relative):
            found = cells
            found[2].stats["not_spectral"] = why
    assert found is not None  # cells serve everything
    return found


def _refined(
    spaces: Iterable[Any], request: Request, asked: Propagator
) -> tuple[Space, Any, Outcome] | None:
    # The first space whose solution agrees with the last one to the tolerance, or the best.
    coarse: tuple[Any, Outcome] | None = None
    best: tuple[Space, Any, Outcome] | None = None
    wasted = 0
    refusal: UnsupportedError | None = None
    for space in spaces:
        try:
            generator, outcome = solve_in(space, request)
        except UnsupportedError as error:  # too few points may be refused where more serve
            refusal = error
            continue
        if coarse is not None:
            finer = _with_space_error(generator, outcome, *coarse)
            finer = replace(finer, scheme=asked, allowed=asked.rtol)
            if best is None or finer.relative < _GAIN * best[2].relative:
                wasted = 0
            else:
                wasted += 1
            if best is None or finer.relative < best[2].relative:
                best = space, generator, finer
            # More points do not mend an error in time, which is rounding and grows with them; until
            # it is the larger one they still bring the best that can be had nearer.
            rounded = outcome.relative > asked.rtol and finer.relative < 2.0 * outcome.relative
            hopeless = wasted == _WASTED or rounded
            if finer.relative <= finer.allowed or hopeless:
                break
        coarse = generator, outcome
    if best is None and refusal is not None:
        raise refusal
    return best


def _with_space_error(generator: Any, outcome: Outcome, coarse: Any, before: Outcome) -> Outcome:
    # The finer outcome, with its distance from the coarser one added to its error.
    if isinstance(generator, ExtrapolatedCells):
        apart = outcome.density[:, 1::3] - before.density
    else:
        inside = (generator.points >= coarse.points[0]) & (generator.points <= coarse.points[-1])
        apart = np.where(inside, coarse.interpolate(before.density, generator.points), 0.0)
        apart = outcome.density - apart
    largest = np.abs(outcome.density).max(axis=1)
    # What both have cut off their difference does not show.
    cut = generator.cut_off() if isinstance(generator, SpectralGenerator) else 0.0
    distance = np.abs(apart).max(axis=1) + cut * largest
    # A density that has vanished is right if nothing differs from nothing.
    scale = np.where(largest > 0.0, largest, np.where(distance > 0.0, _TINY, 1.0))
    return replace(
        outcome,
        error=float(distance.max()) + (outcome.error or 0.0),
        relative=float((distance / scale).max()) + outcome.relative,
        stats=outcome.stats | {"space_error": float(distance.max())},
    )


def checked_space(space: Any, base: FokkerPlanck) -> Any:
    """Return the space that was asked for, the default one, or ``"auto"``.

    Parameters
    ----------
    space : Space, "auto" or None
        What was asked for.
    base : FokkerPlanck
        The problem.

    Returns
    -------
    Space or "auto"

    Raises
    ------
    InputError
        If it is not a space.
    """
    d = base.dimension
    if space is None:
        if isinstance(base.initial, np.ndarray):
            shape = base.initial.shape
            return FiniteVolume(cells=shape[0] if d == 1 else shape)
        return FiniteVolume() if d == 1 else FiniteVolume(cells=(_PER_AXIS[d],) * d)
    if isinstance(space, str) and space == "auto":
        require_line(base, '`space="auto"`')
        return space
    if isinstance(space, type) or not callable(getattr(space, "discretise", None)):
        msg = (
            "`space` must be a space such as FiniteVolume(), Richardson(), Sinc() or Hermite(), or "
            f'"auto", got {space!r}; spaces are values, not numbers'
        )
        raise InputError(msg)
    return space

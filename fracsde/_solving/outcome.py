r"""One problem on one set of points: propagated, collocated or marched.

An operator that does not depend on time is propagated exactly in time, to a tolerance; one that
does, and a source, are collocated, to a tolerance as well.  Nothing here knows the error in space
(:mod:`fracsde._solving.spaces`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._solving.nouns import Outcome
from fracsde._solving.resolution import judged
from fracsde.backends import marching_numba, marching_reference
from fracsde.errors import InputError, UnsupportedError
from fracsde.grids import TimeGrid
from fracsde.problems.fractional import WRONG_FORM
from fracsde.schemes.all_at_once import AllAtOnce
from fracsde.schemes.base import ConvolutionScheme
from fracsde.schemes.collocation import HpCollocation
from fracsde.schemes.driven import LeMcLeanMustapha
from fracsde.schemes.l1 import L1
from fracsde.schemes.marching import marched
from fracsde.schemes.memory import is_uniform
from fracsde.schemes.propagator import Propagator
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._solving.nouns import Request
    from fracsde._solving.trying import Points
    from fracsde._typing import FloatArray, IntArray

__all__ = ["judge", "nearest", "outcome_on", "refuse_no_scheme"]

_ENGINES = {"numba": marching_numba, "numpy": marching_reference}
# The estimated error, relative to the largest density, above which marching serves better than
# propagation that nobody asked for.
_HOPELESS = 1e-4
_RESIDUAL = 1e-8  # relative; rounding leaves 1e-15 to 1e-12
_STEPS = 1024  # of the mesh chosen for the user, whose error is then near 3e-4
_STEEPEST = 20.0  # grading of that mesh: beyond it first steps underflow


def outcome_on(points: Points, request: Request) -> Outcome:
    """Solve on a set of points.

    Parameters
    ----------
    points : Points
        The operator and the source there.
    request : Request
        What is wanted.

    Returns
    -------
    Outcome
    """
    scheme = request.scheme
    outcome: Outcome
    if scheme is not None:
        solver = next(solver for family, solver in _FAMILIES if isinstance(scheme, family))
        outcome = solver(scheme, points, request)
    elif request.base.time_dependent or request.base.source is not None:
        outcome = _collocated(HpCollocation(), points, request)
    else:
        found = _propagated(None, points, request)
        outcome = _marched(L1(), points, request) if found is None else found
    last = outcome.density[-1] * points.generator.widths
    # In no time nothing is smeared.
    smearing, complaint = judged(points.fluxes if request.wanted[-1] > 0.0 else None, last)
    if smearing:
        outcome.stats["smearing"] = smearing
    return replace(outcome, complaint=complaint)


def refuse_no_scheme(scheme: Any) -> None:
    """Refuse what is no scheme.

    Parameters
    ----------
    scheme : object
        What was asked for.

    Raises
    ------
    InputError
        If it is neither a scheme nor None.
    """
    if scheme is not None and not isinstance(scheme, tuple(family for family, _ in _FAMILIES)):
        msg = (
            "`scheme` must be Propagator(), HpCollocation(), L1() or another marching scheme, or "
            f"None, got {scheme!r}; schemes are values, not names"
        )
        raise InputError(msg)


def _collocated(scheme: HpCollocation, points: Points, request: Request) -> Outcome:
    # Both forms of the equation, to the tolerance.
    with request.bar(scheme.planned(request.alpha)) as watch:
        run = scheme.run(
            points.generator_at,
            points.masses,
            request.wanted,
            alpha=request.alpha,
            timescale=request.timescale,
            source_at=points.source_at,
            driven=request.driven,
            backend=request.engine,
            watch=watch,
            checkpoint=request.checkpoint,
        )
    return Outcome(
        density=run.density,
        scheme=scheme,
        engine=request.engine,
        residual=run.residual,
        mesh=run.ends,
        error=float(run.errors.max()),
        relative=float(run.relative.max()),
        allowed=request.tolerance,
        stats={"steps": len(run.ends) - 1} | run.stats,
    )


def _driven_steps(scheme: LeMcLeanMustapha, points: Points, request: Request) -> Outcome:
    # The driven equation on the mesh.
    base, grid = request.base, request.grid
    if request.alpha < 1.0 and not request.driven and base.source is not None:
        msg = (
            "`LeMcLeanMustapha` solves the driven equation, where a source is mass per time; the "
            'problem is Caputo\'s; write form="riemann_liouville", or use HpCollocation()'
        )
        raise UnsupportedError(msg)
    with request.bar(len(grid) - 1) as watch:
        states, residual = scheme.march(
            points.generator_at,
            grid.times,
            initial=points.masses,
            alpha=request.alpha,
            timescale=request.timescale,
            source_at=points.source_at,
            watch=watch,
            checkpoint=request.checkpoint,
        )
    return Outcome(
        density=states[np.searchsorted(grid.times, request.wanted)] / points.generator.widths,
        scheme=scheme,
        engine="numpy",
        residual=residual,
        mesh=grid.times,
        stats={"steps": len(grid) - 1, "history_bytes": states.nbytes},
    )


def _propagated(asked: Propagator | None, points: Points, request: Request) -> Outcome | None:
    # Propagation to the tolerance; nothing where it was not asked for and does not serve.
    scheme, generator = asked or Propagator(), points.generator
    if request.base.time_dependent:
        msg = "`Propagator` serves coefficients that do not depend on time; use HpCollocation()"
        raise UnsupportedError(msg)
    why = scheme.refusal(generator, source=request.base.source is not None)
    if why and asked is None:
        return None
    _refuse_checkpoint(scheme, request)
    if why:
        msg = f"`Propagator` cannot serve this problem, because {why}; use HpCollocation() or L1()"
        raise UnsupportedError(msg)
    ready = scheme.prepare(
        generator, alpha=request.alpha, timescale=request.timescale, backend=request.engine
    )
    found = ready.run(points.masses, request.wanted)
    relative = float(found.relative.max())
    if asked is None and not relative <= _HOPELESS:
        return None
    return Outcome(
        density=found.density,
        scheme=scheme,
        engine="numpy" if "modes" in found.stats else request.engine,
        residual=ready.residual(points.masses, float(request.wanted[-1])),
        mesh=request.wanted,
        error=float(found.errors.max()),
        relative=relative,
        allowed=request.tolerance,
        stats={"steps": 0} | found.stats,
    )


def _marched(scheme: ConvolutionScheme, points: Points, request: Request) -> Outcome:
    # The memory sum step by step.
    _refuse_wrong_form(scheme, request)
    generator = points.generator
    grid, alpha = request.grid, request.alpha
    if request.scheme is None and not request.mesh_given:
        grid = _own_mesh(grid, alpha)
    scheme.check(grid)
    scale = request.timescale ** (alpha - 1.0)
    with request.bar(len(grid) - 1) as watch:
        found = marched(
            generator,
            scheme,
            grid.times,
            initial=points.masses,
            alpha=alpha,
            scale=scale,
            source=points.source_at,
            engine=_ENGINES[request.engine],
            watch=watch,
            keep=np.searchsorted(grid.times, request.wanted),
            checkpoint=request.checkpoint,
        )
    return Outcome(
        density=found.states / generator.widths,
        scheme=scheme,
        engine=request.engine,
        residual=found.residual,
        mesh=grid.times,
        stats={"steps": len(grid) - 1, "history_bytes": found.history_bytes},
    )


def _refuse_checkpoint(scheme: Any, request: Request) -> None:
    if request.checkpoint is not None:
        msg = (
            f"`checkpoint` saves what goes step by step, {type(scheme).__name__} does not; leave "
            "`checkpoint` out, or name a scheme that does, such as L1()"
        )
        raise UnsupportedError(msg)


def _refuse_wrong_form(scheme: ConvolutionScheme, request: Request) -> None:
    # Convolution schemes march Caputo's form with one operator.
    name, base = type(scheme).__name__, request.base
    if base.time_dependent and request.alpha < 1.0:
        msg = f"`{name}` would solve Caputo's form, with operators of all times: {WRONG_FORM}"
        raise UnsupportedError(msg)
    if base.time_dependent:
        msg = (
            f"`{name}` serves coefficients that do not depend on time; use HpCollocation(), or "
            "LeMcLeanMustapha(), which at alpha = 1 is the implicit Euler method"
        )
        raise UnsupportedError(msg)
    if request.driven and base.source is not None:
        msg = (
            f'`{name}` marches Caputo\'s form, in which the source of form="riemann_liouville" is '
            "a fractional integral; use HpCollocation() or LeMcLeanMustapha()"
        )
        raise UnsupportedError(msg)


# Who solves with which family of schemes.
_FAMILIES: tuple[tuple[type, Callable[..., Any]], ...] = (
    (Propagator, _propagated),
    (HpCollocation, _collocated),
    (LeMcLeanMustapha, _driven_steps),
    (ConvolutionScheme, _marched),
)


def _own_mesh(grid: TimeGrid, alpha: float) -> TimeGrid:
    # A graded mesh that contains the given times.
    grading = min((2.0 - alpha) / alpha, _STEEPEST)
    nodes = TimeGrid.graded(float(grid.times[-1]), _STEPS, grading).times
    # Where a given time falls on a node but for rounding, the given one stays.
    near = grid.times[nearest(grid.times, nodes)]
    nodes = nodes[np.abs(nodes - near) > 1e-9 * nodes]
    return TimeGrid.from_times(np.unique(np.concatenate([nodes, grid.times])))


def nearest(nodes: FloatArray, values: FloatArray) -> IntArray:
    """Return the index of the node nearest to each value.

    Returns
    -------
    ndarray of int
    """
    right = np.clip(np.searchsorted(nodes, values), 1, len(nodes) - 1)
    return np.where(values - nodes[right - 1] < nodes[right] - values, right - 1, right)


def judge(outcome: Outcome) -> tuple[Status, str]:
    """Say how a computation ended, and what to do about it.

    Parameters
    ----------
    outcome : Outcome
        What was computed.

    Returns
    -------
    Status
    str
        A sentence, empty for a success.
    """
    if not np.all(np.isfinite(outcome.density)):
        return Status.NOT_FINITE, "Check the coefficients and the first step."
    if not outcome.relative <= outcome.allowed:
        name = type(outcome.scheme).__name__
        detail = (
            f"The estimated error is {outcome.relative:.1e} of the largest density, "
            f"{outcome.allowed:.1e} was asked for, and this is the best that was reached; ask for "
            f"less with {name}(rtol=...), or name another scheme."
        )
        return Status.INACCURATE, detail
    if not outcome.residual <= _RESIDUAL:
        return Status.INACCURATE, f"The residual is {outcome.residual:.1e}; {_mended(outcome)}"
    if outcome.complaint:
        return Status.INACCURATE, outcome.complaint
    return Status.SUCCESS, ""


def _mended(outcome: Outcome) -> str:
    # What to do about a residual.
    scheme = outcome.scheme
    if isinstance(scheme, ConvolutionScheme) and isinstance(scheme.history, AllAtOnce):
        return (
            "AllAtOnce() leaves errors relative to the largest state of all, and the last one has "
            "decayed towards them; use BlockFFT() or Direct()."
        )
    mixed = isinstance(scheme, ConvolutionScheme) and not scheme.positive
    if mixed and not is_uniform(outcome.mesh):
        return "use steps that grow more slowly, or L1(), which is stable on every mesh."
    return "use fewer cells."

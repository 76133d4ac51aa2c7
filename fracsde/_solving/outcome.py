r"""One problem on one set of points: propagated or marched.

An operator that does not depend on time is propagated exactly in time, to a tolerance; a source
is marched.  Nothing here knows the error in space (:mod:`fracsde._solving.spaces`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.backends import marching_numba, marching_reference
from fracsde.errors import InputError, UnsupportedError
from fracsde.grids import TimeGrid
from fracsde.schemes.base import ConvolutionScheme
from fracsde.schemes.l1 import L1
from fracsde.schemes.marching import marched
from fracsde.schemes.propagator import Propagator
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from fracsde._typing import FloatArray, IntArray
    from fracsde.operators.base import Generator
    from fracsde.problems.fokker_planck import FokkerPlanck
    from fracsde.schemes.checkpoint import Checkpoint

__all__ = ["Outcome", "Request", "judge", "nearest", "outcome_on"]

_ENGINES = {"numba": marching_numba, "numpy": marching_reference}
# Where the caller names no tolerance: the estimated error, relative to the largest density, above
# which a propagated result is called inaccurate, and above which marching is better still.
_TRUSTED, _HOPELESS = 1e-8, 1e-4
_RESIDUAL = 1e-8  # relative; rounding leaves 1e-15 to 1e-12
_STEPS = 1024  # of the mesh chosen for the user, whose error is then near 3e-4
_STEEPEST = 20.0  # grading of that mesh: beyond it first steps underflow


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What is to be solved, whatever the points.

    Parameters
    ----------
    base : FokkerPlanck
        Operator, start and source.
    alpha : float [1]
        Order of the derivative.
    timescale : float [t]
        ``tau``.
    grid : TimeGrid
        The mesh of a marching scheme.
    mesh_given : bool
        Whether the caller chose that mesh, or only the wanted times.
    wanted : (t,) float64 [t]
        When densities are wanted.
    scheme : ConvolutionScheme, Propagator or None
        What was asked for.
    engine : str
        Which engine to use.
    checkpoint : Checkpoint or None
        Where a march is saved and resumed.
    bar : callable
        From a number of steps to a context that gives the function to call after each.
    """

    base: FokkerPlanck
    alpha: float
    timescale: float
    grid: TimeGrid
    mesh_given: bool
    wanted: FloatArray
    scheme: Any
    engine: str
    bar: Callable[[int], AbstractContextManager[Callable[[int], None] | None]]
    checkpoint: Checkpoint | None = None

    @property
    def tolerance(self) -> float:
        """The relative error a propagated result may have."""
        return self.scheme.rtol if isinstance(self.scheme, Propagator) else _TRUSTED


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """Densities at the wanted times, what made them, and what is known of their errors.

    Parameters
    ----------
    density : (t, n) float64 [1/x]
        One row per wanted time.
    scheme : ConvolutionScheme or Propagator
        What made them.
    engine : str
        Which engine ran.
    residual : float [1]
        Of the equations that were solved, relative to their largest term.
    mesh : (m,) float64 [t]
        Times that were stepped through; the wanted ones where nothing was.
    error : float or None [1/x]
        Estimated error of the densities; ``None`` if nothing is known.
    relative : float [1]
        The same, relative to the largest density at the same time.
    allowed : float [1]
        Largest ``relative`` that is a success.
    stats : dict
        Steps, solves and the like.
    """

    density: FloatArray
    scheme: ConvolutionScheme | Propagator
    engine: str
    residual: float
    mesh: FloatArray
    error: float | None = None
    relative: float = 0.0
    allowed: float = np.inf
    stats: dict[str, Any] = field(default_factory=dict)


def outcome_on(generator: Generator, request: Request) -> Outcome:
    """Solve on the points of a generator.

    Parameters
    ----------
    generator : Generator
        The operator on its points.
    request : Request
        What is wanted.

    Returns
    -------
    Outcome

    Raises
    ------
    InputError
        If the scheme is not one.
    """
    scheme = request.scheme
    solvers = [solver for family, solver in _FAMILIES if isinstance(scheme, family)]
    if scheme is not None and not solvers:
        msg = (
            f"`scheme` must be Propagator(), L1(), L12(), L2Sigma(), GrunwaldLetnikov() or None, "
            f"got {scheme!r}; schemes are values, not names"
        )
        raise InputError(msg)
    masses = generator.project(request.base.initial)
    if scheme is not None:
        found: Outcome = solvers[0](scheme, generator, masses, request)
        return found
    outcome = _propagated(None, generator, masses, request)
    return _marched(L1(), generator, masses, request) if outcome is None else outcome


def _propagated(
    asked: Propagator | None, generator: Generator, masses: FloatArray, request: Request
) -> Outcome | None:
    # Propagation to the tolerance; nothing where it was not asked for and does not serve.
    scheme = asked or Propagator()
    why = scheme.refusal(generator, source=request.base.source is not None)
    if why and asked is None:
        return None
    if request.checkpoint is not None:
        msg = (
            "`checkpoint` saves a march, and this problem is propagated without steps; name a "
            "marching scheme such as L1(), or leave `checkpoint` out"
        )
        raise UnsupportedError(msg)
    if why:
        msg = f"`Propagator` cannot serve this problem, because {why}; march with L1 instead"
        raise UnsupportedError(msg)
    ready = scheme.prepare(
        generator, alpha=request.alpha, timescale=request.timescale, backend=request.engine
    )
    found = ready.run(masses, request.wanted)
    relative = float(found.relative.max())
    if asked is None and not relative <= _HOPELESS:
        return None
    return Outcome(
        density=found.density,
        scheme=scheme,
        engine="numpy" if "modes" in found.stats else request.engine,
        residual=ready.residual(masses, float(request.wanted[-1])),
        mesh=request.wanted,
        error=float(found.errors.max()),
        relative=relative,
        allowed=request.tolerance,
        stats={"steps": 0} | found.stats,
    )


def _marched(
    scheme: ConvolutionScheme, generator: Generator, masses: FloatArray, request: Request
) -> Outcome:
    # The memory sum step by step.
    grid, alpha = request.grid, request.alpha
    if request.scheme is None and not request.mesh_given:
        grid = _own_mesh(grid, alpha)
    scheme.check(grid)
    scale, source = request.timescale ** (alpha - 1.0), _source_of(request.base, generator)
    with request.bar(len(grid) - 1) as watch:
        found = marched(
            generator,
            scheme,
            grid.times,
            initial=masses,
            alpha=alpha,
            scale=scale,
            source=source,
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


# Who solves with which family of schemes.
_FAMILIES: tuple[tuple[type, Callable[..., Any]], ...] = (
    (Propagator, _propagated),
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


def _source_of(base: FokkerPlanck, generator: Generator) -> Callable[[float], FloatArray] | None:
    if base.source is None:
        return None
    return lambda t: base.source_at(t, generator.points) * generator.widths


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
        detail = (
            f"The estimated error is {outcome.relative:.1e} of the largest density, "
            f"{outcome.allowed:.1e} was asked for, and this is the best that was reached; ask for "
            "less with Propagator(rtol=...), or march with L1()."
        )
        return Status.INACCURATE, detail
    if not outcome.residual <= _RESIDUAL:
        return Status.INACCURATE, f"The residual is {outcome.residual:.1e}; use fewer cells."
    return Status.SUCCESS, ""

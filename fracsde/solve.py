r"""Solve a Fokker-Planck problem on an ordinary or a fractional clock.

.. math::
    \tau^{\alpha - 1} D_t^\alpha p = L p + s, \qquad p(0) = p_0, \qquad 0 < \alpha \le 1 ,

or, where coefficients depend on time,
:math:`\partial_t p = \tau^{1 - \alpha} L(t)\, D_t^{1 - \alpha} p + s`.  An operator that does not
depend on time is propagated exactly in time, to a tolerance; one that does, and a source, are
collocated, to a tolerance as well.

Not here: how, on which points (:mod:`fracsde._solving`), the operators
(:mod:`fracsde.operators`), the schemes (:mod:`fracsde.schemes`), what a result can do
(:mod:`fracsde.solution`).
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from fracsde._check import finite_array
from fracsde._solving.nouns import Request
from fracsde._solving.outcome import judge, nearest
from fracsde._solving.separable import separable_outcome
from fracsde._solving.spaces import checked_space, chosen, solve_in
from fracsde.backends.registry import require
from fracsde.errors import (
    BackendUnavailable,
    ComputationError,
    GridError,
    InputError,
    UnsupportedError,
)
from fracsde.grids import TimeGrid
from fracsde.ode_solution import FractionalODESolution, solve_system
from fracsde.problems.fokker_planck import FokkerPlanck
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.problems.fractional_ode import FractionalODE
from fracsde.problems.separable import SeparableFokkerPlanck
from fracsde.provenance import provenance
from fracsde.schemes.checkpoint import Checkpoint
from fracsde.separable_solution import SeparableSolution
from fracsde.solution import Solution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from os import PathLike

    from fracsde._solving.separable import SeparableOutcome
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.operators.base import Space
    from fracsde.schemes.adaptive import Adaptive
    from fracsde.schemes.base import ConvolutionScheme
    from fracsde.schemes.collocation import HpCollocation
    from fracsde.schemes.driven import LeMcLeanMustapha
    from fracsde.schemes.propagator import Propagator
    from fracsde.status import Status

__all__ = ["solve"]


@overload
def solve(
    problem: FractionalODE,
    times: TimeGrid | ArrayLike,
    *,
    scheme: ConvolutionScheme | Adaptive | None = ...,
    save_at: ArrayLike | None = ...,
    progress: bool = ...,
    throw: bool = ...,
) -> FractionalODESolution: ...


@overload
def solve(
    problem: SeparableFokkerPlanck,
    times: TimeGrid | ArrayLike,
    *,
    scheme: Propagator | None = ...,
    space: Space | Sequence[Space] | None = ...,
    backend: str = ...,
    save_at: ArrayLike | None = ...,
    progress: bool = ...,
    throw: bool = ...,
) -> SeparableSolution: ...


@overload
def solve(
    problem: FokkerPlanck | FractionalFokkerPlanck,
    times: TimeGrid | ArrayLike,
    *,
    scheme: ConvolutionScheme | Propagator | HpCollocation | LeMcLeanMustapha | None = ...,
    space: Space | str | None = ...,
    backend: str = ...,
    save_at: ArrayLike | None = ...,
    progress: bool = ...,
    checkpoint: str | PathLike[str] | None = ...,
    checkpoint_interval: float = ...,
    throw: bool = ...,
) -> Solution: ...


def solve(
    problem: FokkerPlanck | FractionalFokkerPlanck | SeparableFokkerPlanck | FractionalODE,
    times: TimeGrid | ArrayLike,
    *,
    scheme: ConvolutionScheme
    | Propagator
    | HpCollocation
    | LeMcLeanMustapha
    | Adaptive
    | None = None,
    space: Space | Sequence[Space] | str | None = None,
    backend: str = "auto",
    save_at: ArrayLike | None = None,
    progress: bool = False,
    checkpoint: str | PathLike[str] | None = None,
    checkpoint_interval: float = 60.0,
    throw: bool = True,
) -> Solution | SeparableSolution | FractionalODESolution:
    r"""Solve a problem.

    Parameters
    ----------
    problem : FokkerPlanck, FractionalFokkerPlanck, SeparableFokkerPlanck or FractionalODE
        The problem.
    times : TimeGrid or (t,) array_like [t]
        A grid is the mesh of a marching scheme, and all its nodes are returned.  An array holds
        the times at which densities are wanted: the propagator is exact there, a marching scheme
        *named by the caller* takes them as its mesh (with 0 added), and one chosen here steps
        through a graded mesh of its own that contains them.  Collocation and ``Adaptive``, the
        default for a FractionalODE, choose intervals of their own, and the times may lie anywhere
        in them.
    scheme : Propagator, HpCollocation, LeMcLeanMustapha, L1 or another marching scheme, or Adaptive
        ``Propagator(rtol=...)`` and ``HpCollocation(rtol=...)`` keep their tolerance or say that
        they cannot.  By default an operator that does not depend on time is propagated, to the
        default tolerance or as near to it as rounding allows; where there is a source, or
        coefficients depend on time, ``HpCollocation()`` serves, and ``Adaptive()`` a FractionalODE.
    space : FiniteVolume, Richardson, Sinc, Hermite, "auto" or another space, optional
        Anything with ``discretise(problem)``.  Default ``FiniteVolume(cells=512)``, with 128 cells
        per axis in the plane and 48 in space, or one cell per value of an initial array.
        ``"auto"``, on a line, looks for the coarsest space whose error, too, keeps the tolerance
        of the propagator (1e-8 where none is named); then ``error_estimate`` holds both.  Of a
        SeparableFokkerPlanck the cells of all coordinates, or a sequence with those of each.
    backend : {"auto", "numba", "numpy"}
        Engine of the solves.  Dense operators are propagated by LAPACK whatever is asked.
    save_at : (s,) array_like [t], optional
        Which nodes to return; all by default.
    progress : bool
        Show on standard error how far the stages have come, ``coefficients``, where some are
        tried before the first step, and ``marching``; needs rich.
    checkpoint : path-like, optional
        A file in which what goes step by step or interval by interval saves its state, every
        ``checkpoint_interval``, when it is interrupted and at its end.  A run that finds the
        checkpoint of the same problem goes on from there and returns the same result to the last
        digit; one of another problem is refused.
    checkpoint_interval : float [s]
        Wall time between two savings; the most that a crash can cost.
    throw : bool
        Raise if the computation fails, instead of returning the failure in ``status``; before the
        first step where it is foreseen to, because cells are too wide for the drift.

    Returns
    -------
    Solution
        Of a SeparableFokkerPlanck a SeparableSolution, of a FractionalODE a FractionalODESolution.

    Raises
    ------
    InputError
        If ``problem``, ``times``, ``scheme``, ``space`` or ``save_at`` cannot mean what was asked,
        or ``checkpoint`` is of another problem.
    UnsupportedError
        If a meaningful combination is not served; the message says what serves instead.
    ComputationError
        If ``throw`` and the result is not finite or not accurate.

    References
    ----------
    [Metzler1999]_

    Examples
    --------
    The mean of a fractional Ornstein-Uhlenbeck process relaxes like a Mittag-Leffler function:

    >>> from fracsde.problems.fokker_planck import Gaussian
    >>> from fracsde.special import mittag_leffler
    >>> base = FokkerPlanck(potential=lambda x: x**2 / 2, diffusion=1.0,
    ...     domain=(-np.inf, np.inf), initial=Gaussian(mean=1.5, std=0.5))
    >>> problem = FractionalFokkerPlanck(base=base, alpha=0.6)
    >>> solution = solve(problem, [0.1, 1.0, 10.0])
    >>> expected = 1.5 * mittag_leffler(-solution.times**0.6, 0.6)
    >>> bool(np.abs(solution.mean() - expected).max() < 1e-3)
    True
    """
    grid = times if isinstance(times, TimeGrid) else TimeGrid.from_times(times)
    saved = None if checkpoint is None else Checkpoint.at(checkpoint, checkpoint_interval)
    wanted, bar = _wanted(grid, times, save_at), partial(_bar, shown=progress)
    if isinstance(problem, FractionalODE):
        _refuse_for_systems(space=space, backend=backend)
        return solve_system(
            problem, grid, wanted, scheme=scheme, bar=bar, throw=throw, checkpoint=saved
        )
    engine = require(backend)[0]
    if isinstance(problem, SeparableFokkerPlanck):
        if checkpoint is not None:
            msg = "`checkpoint` saves marches, which a SeparableFokkerPlanck has not; leave it out"
            raise UnsupportedError(msg)
        bar = partial(bar, word="coordinates")
        found = separable_outcome(
            problem, wanted, scheme=scheme, space=space, engine=engine, bar=bar, refuse=throw
        )
        _raise_failure(found.status, found.detail, throw=throw)
        return _separable(problem, found)
    base, alpha, timescale, driven = _parts(problem)
    points = checked_space(space, base)
    request = Request(
        base=base,
        alpha=alpha,
        timescale=timescale,
        driven=driven,
        grid=grid,
        mesh_given=isinstance(times, TimeGrid),
        wanted=wanted,
        scheme=scheme,
        engine=engine,
        checkpoint=saved,
        bar=bar,
        refuse=throw,
    )
    if isinstance(points, str):
        points, generator, outcome = chosen(request)
    else:
        generator, outcome = solve_in(points, request)
    status, detail = judge(outcome)
    _raise_failure(status, detail, throw=throw)
    return Solution(
        problem=problem,
        scheme=outcome.scheme,
        space=points,
        times=wanted,
        density=outcome.density.reshape(-1, *generator.shape),
        points=generator.axes,
        widths=generator.widths.reshape(generator.shape),
        status=status,
        stats={"cells": len(generator.widths)} | outcome.stats,
        provenance=provenance(
            problem, outcome.scheme, points, outcome.mesh, wanted, backend=outcome.engine
        ),
        error_estimate=outcome.error,
        discrete_residual=outcome.residual,
        generator=generator,
    )


def _raise_failure(status: Status, detail: str, *, throw: bool) -> None:
    if throw and not status.ok:
        raise ComputationError(status, detail)


def _refuse_for_systems(*, space: Any, backend: Any) -> None:
    if space is not None:
        msg = "`space` is for densities; the components of a FractionalODE are its space"
        raise InputError(msg)
    if backend != "auto":
        msg = f"`backend` must be 'auto' for a FractionalODE, got {backend!r}; it has one engine"
        raise InputError(msg)


def _separable(problem: SeparableFokkerPlanck, found: SeparableOutcome) -> SeparableSolution:
    mixture = found.mixture
    return SeparableSolution(
        problem=problem,
        scheme=found.scheme,
        spaces=found.spaces,
        times=found.times,
        weights=mixture.weights,
        components=mixture.densities,
        points=tuple(chain.points for chain in found.chains),
        widths=tuple(chain.widths for chain in found.chains),
        status=found.status,
        stats=mixture.stats
        | {"certified": mixture.certified, "measured": mixture.measured}
        | {"smearing": found.smearing},
        provenance=provenance(
            problem, found.scheme, found.spaces, found.times, backend=found.engine
        ),
        error_estimate=mixture.error,
    )


def _parts(problem: Any) -> tuple[FokkerPlanck, float, float, bool]:
    if isinstance(problem, FractionalFokkerPlanck):
        return problem.base, problem.alpha, problem.timescale, problem.driven
    if isinstance(problem, FokkerPlanck):
        return problem, 1.0, 1.0, False
    msg = (
        "`problem` must be a FokkerPlanck, a FractionalFokkerPlanck, a SeparableFokkerPlanck or a "
        f"FractionalODE, got {type(problem).__name__}; stationary laws of processes are in "
        "stationary_covariance"
    )
    raise InputError(msg)


def _wanted(grid: TimeGrid, times: Any, save_at: Any) -> FloatArray:
    # The nodes to return: those given, or those picked.
    nodes = grid.times
    if not isinstance(times, TimeGrid) and np.asarray(times).reshape(-1)[0] != 0.0:
        nodes = nodes[1:]
    if save_at is None:
        return nodes
    picked = finite_array("save_at", save_at, ndim=(0, 1)).reshape(-1)
    if len(picked) == 0 or np.any(np.diff(picked) <= 0):
        msg = f"`save_at` must be increasing times, got {picked}; sort them, drop repeated ones"
        raise GridError(msg)
    near = nearest(grid.times, picked)
    off = np.abs(grid.times[near] - picked) > 1e-12 * grid.times[near]
    if np.any(off):
        k = int(np.argmax(off))
        msg = (
            f"`save_at` must hold nodes of the time grid, got {picked[k]:g}, the nearest node is "
            f"{grid.times[near[k]]:g}; put it into the grid with TimeGrid.from_times"
        )
        raise GridError(msg)
    return grid.times[near]


@contextmanager
def _bar(
    steps: int, *, shown: bool, word: str = "marching"
) -> Iterator[Callable[[int], None] | None]:
    if not shown:
        yield None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError as error:
        msg = '`progress` needs rich, which is not installed; pip install "fracsde[cli]"'
        raise BackendUnavailable(msg) from error
    with Progress(console=Console(stderr=True)) as bar:  # results alone go to standard output
        task = bar.add_task(word, total=steps)
        yield lambda done: bar.update(task, completed=done)

r"""Solve a Fokker-Planck problem on an ordinary or a fractional clock.

.. math::
    \tau^{\alpha - 1} D_t^\alpha p = L p + s, \qquad p(0) = p_0, \qquad 0 < \alpha \le 1 .

An operator that does not depend on time is propagated exactly in time; a source, or an
equilibrium that carries a current, is marched.

Not here: the operator (:mod:`fracsde.operators.finite_volume`), the schemes
(:mod:`fracsde.schemes`), what a result can do (:mod:`fracsde.solution`).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array
from fracsde.backends import marching_numba, marching_reference
from fracsde.backends.registry import require
from fracsde.errors import BackendUnavailable, ComputationError, GridError, InputError
from fracsde.grids import TimeGrid
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.densities import cell_masses
from fracsde.problems.fokker_planck import FokkerPlanck
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.provenance import provenance
from fracsde.schemes.base import ConvolutionScheme
from fracsde.schemes.l1 import L1
from fracsde.schemes.marching import last_residual, march
from fracsde.schemes.propagator import Propagator
from fracsde.solution import Solution
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.operators.chain import CellChain
    from fracsde.schemes.propagator import Modes

__all__ = ["solve"]

_ENGINES = {"numba": marching_numba, "numpy": marching_reference}
# Rounding, relative to the largest initial density, above which modes are not to be trusted.
_TRUSTED = 1e-6
_RESIDUAL = 1e-8  # relative; rounding leaves 1e-15 to 1e-12
_STEPS = 1024  # of the mesh chosen for the user, whose error is then near 3e-4
_STEEPEST = 20.0  # grading of that mesh: beyond it first steps underflow


def solve(
    problem: FokkerPlanck | FractionalFokkerPlanck,
    times: TimeGrid | ArrayLike,
    *,
    scheme: ConvolutionScheme | Propagator | None = None,
    space: FiniteVolume | None = None,
    backend: str = "auto",
    save_at: ArrayLike | None = None,
    progress: bool = False,
    throw: bool = True,
) -> Solution:
    r"""Solve a problem.

    Parameters
    ----------
    problem : FokkerPlanck or FractionalFokkerPlanck
        The problem.
    times : TimeGrid or (t,) array_like [t]
        A grid is the mesh of a marching scheme, and all its nodes are returned.  An array holds
        the times at which densities are wanted: the propagator is exact there, a marching scheme
        *named by the caller* takes them as its mesh (with 0 added), and one chosen here steps
        through a graded mesh of its own that contains them.
    scheme : Propagator, L1, GrunwaldLetnikov or None
        ``None`` propagates where that is possible and accurate, and marches with L1 elsewhere.
    space : FiniteVolume, optional
        Default ``FiniteVolume(cells=512)``, or one cell per value of an initial array.
    backend : {"auto", "numba", "numpy"}
        Engine of a march.  The propagator is NumPy and LAPACK whatever is asked.
    save_at : (s,) array_like [t], optional
        Which nodes to return; all by default.
    progress : bool
        Show a bar; needs rich.
    throw : bool
        Raise if the computation fails, instead of returning the failure in ``status``.

    Returns
    -------
    Solution

    Raises
    ------
    InputError
        If ``problem``, ``times``, ``scheme``, ``space`` or ``save_at`` cannot mean what was asked.
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
    base, alpha, timescale = _parts(problem)
    engine = require(backend)[0]
    space = _space(space, base)
    chain = space.discretise(base)
    masses = cell_masses(base.initial, chain.edges)
    grid = times if isinstance(times, TimeGrid) else TimeGrid.from_times(times)
    wanted = _wanted(grid, times, save_at)
    chosen, modes = scheme, None
    if scheme is None or isinstance(scheme, Propagator):
        clock = timescale ** (1.0 - alpha) * float(wanted[-1]) ** alpha
        chosen, modes, rounding = _propagator(scheme, base, chain, masses, clock, alpha)
        if modes is None and not isinstance(times, TimeGrid):
            grid = _own_mesh(grid, alpha)
    if not isinstance(chosen, (Propagator, ConvolutionScheme)):
        msg = (
            f"`scheme` must be Propagator(), L1(), GrunwaldLetnikov() or None, got {scheme!r}; "
            "schemes are values, not names"
        )
        raise InputError(msg)

    stats: dict[str, Any] = {"cells": len(masses), "steps": 0}
    if modes is not None:
        engine, estimate = "numpy", rounding
        states = modes.propagate(masses, wanted, alpha=alpha, timescale=timescale)
        residual = modes.residual()
    else:
        assert isinstance(chosen, ConvolutionScheme)
        chosen.check(grid)
        estimate, scale = None, timescale ** (alpha - 1.0)
        source = _source_of(base, chain)
        with _bar(len(grid) - 1, shown=progress) as watch:
            everything = march(
                chain,
                chosen,
                grid.times,
                initial=masses,
                alpha=alpha,
                scale=scale,
                source=source,
                engine=_ENGINES[engine],
                watch=watch,
            )
        residual = last_residual(
            chain, chosen, grid.times, everything, alpha=alpha, scale=scale, source=source
        )
        stats |= {"steps": len(grid) - 1, "history_bytes": everything.nbytes}
        states = everything[np.searchsorted(grid.times, wanted)]

    density = states / chain.widths
    status, detail = _judge(density, residual, estimate, float((masses / chain.widths).max()))
    if throw and not status.ok:
        raise ComputationError(status, detail)
    return Solution(
        problem=problem,
        scheme=chosen,
        space=space,
        times=wanted,
        density=density,
        points=(chain.points,),
        widths=chain.widths,
        status=status,
        stats=stats,
        provenance=provenance(problem, chosen, space, grid.times, wanted, backend=engine),
        error_estimate=estimate,
        discrete_residual=residual,
    )


def _propagator(
    asked: Propagator | None,
    base: FokkerPlanck,
    chain: CellChain,
    masses: FloatArray,
    clock: float,
    alpha: float,
) -> tuple[ConvolutionScheme | Propagator, Modes | None, float]:
    # The propagator with its modes and rounding; L1 where it was not asked for and does not serve.
    scheme, source = asked or Propagator(), base.source is not None
    if asked is None and scheme.refusal(chain, source=source):
        return L1(), None, 0.0
    modes = scheme.modes(chain, source=source)
    rounding = modes.rounding(masses, chain.widths, clock, alpha)
    if asked is None and not rounding <= _TRUSTED * (masses / chain.widths).max():
        return L1(), None, 0.0
    return scheme, modes, rounding


def _own_mesh(grid: TimeGrid, alpha: float) -> TimeGrid:
    # A graded mesh that contains the given times.
    grading = min((2.0 - alpha) / alpha, _STEEPEST)
    nodes = TimeGrid.graded(float(grid.times[-1]), _STEPS, grading).times
    # Where a given time falls on a node but for rounding, the given one stays.
    nearest = grid.times[_nearest(grid.times, nodes)]
    nodes = nodes[np.abs(nodes - nearest) > 1e-9 * nodes]
    return TimeGrid.from_times(np.unique(np.concatenate([nodes, grid.times])))


def _nearest(nodes: FloatArray, values: FloatArray) -> IntArray:
    # The index of the node nearest to each value.
    right = np.clip(np.searchsorted(nodes, values), 1, len(nodes) - 1)
    return np.where(values - nodes[right - 1] < nodes[right] - values, right - 1, right)


def _source_of(base: FokkerPlanck, chain: CellChain) -> Callable[[float], FloatArray] | None:
    if base.source is None:
        return None
    return lambda t: base.source_at(t, chain.points) * chain.widths


def _judge(
    density: FloatArray, residual: float, estimate: float | None, scale: float
) -> tuple[Status, str]:
    if estimate is not None and not estimate <= _TRUSTED * scale:
        detail = (
            f"Rounding may reach {estimate / scale:.1e} of the largest density, because mass "
            "starts where the equilibrium is very small; march with L1()."
        )
        return Status.INACCURATE, detail
    if not np.all(np.isfinite(density)):
        return Status.NOT_FINITE, "Check the coefficients and the first step."
    if not residual <= _RESIDUAL:
        return Status.INACCURATE, f"The residual is {residual:.1e}; use fewer cells."
    return Status.SUCCESS, ""


def _parts(problem: Any) -> tuple[FokkerPlanck, float, float]:
    if isinstance(problem, FractionalFokkerPlanck):
        return problem.base, problem.alpha, problem.timescale
    if isinstance(problem, FokkerPlanck):
        return problem, 1.0, 1.0
    msg = (
        "`problem` must be a FokkerPlanck or a FractionalFokkerPlanck, got "
        f"{type(problem).__name__}; stationary laws of processes are in stationary_covariance"
    )
    raise InputError(msg)


def _space(space: Any, base: FokkerPlanck) -> FiniteVolume:
    if space is None:
        given = base.initial
        return FiniteVolume(cells=len(given)) if isinstance(given, np.ndarray) else FiniteVolume()
    if not isinstance(space, FiniteVolume):
        msg = f"`space` must be a FiniteVolume, got {space!r}; spaces are values, not numbers"
        raise InputError(msg)
    return space


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
    near = _nearest(grid.times, picked)
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
def _bar(steps: int, *, shown: bool) -> Iterator[Callable[[int], None] | None]:
    if not shown:
        yield None
        return
    try:
        from rich.progress import Progress
    except ImportError as error:
        msg = '`progress` needs rich, which is not installed; pip install "fracsde[cli]"'
        raise BackendUnavailable(msg) from error
    with Progress() as bar:
        task = bar.add_task("marching", total=steps)
        yield lambda done: bar.update(task, completed=done)

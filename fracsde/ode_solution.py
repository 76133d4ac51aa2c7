r"""What :func:`fracsde.solve` returns for a system of fractional ordinary differential equations.

A marched solution is known at the nodes of its mesh.  A collocated one is known at every time: on
each interval its right-hand side is a combination of basis functions and the solution is

.. math::
    y(t) = y_0 + \frac{1}{\Gamma(\alpha)} \int_0^t (t - v)^{\alpha - 1} f(v)\, dv

of that, with the memory of earlier intervals in it; components that are stiff against the interval
are the polynomial through the nodes of the interval instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import issparse

from fracsde._check import real
from fracsde._ode.keeping import system_marks
from fracsde._ode.meeting import meet
from fracsde._ode.stepping import step_through
from fracsde.errors import (
    BackendUnavailable,
    ComputationError,
    GridError,
    InputError,
    OutOfRangeError,
)
from fracsde.provenance import provenance
from fracsde.schemes.adaptive import Adaptive
from fracsde.schemes.base import ConvolutionScheme
from fracsde.schemes.keeping import keeper_of
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from fracsde._ode.pieces import Pieces
    from fracsde._typing import FloatArray
    from fracsde.grids import TimeGrid
    from fracsde.problems.fractional_ode import FractionalODE
    from fracsde.provenance import Provenance
    from fracsde.schemes.checkpoint import Checkpoint

__all__ = ["FractionalODESolution", "solve_system"]

_TICKS = 1000  # of the bar of an adaptive run


@dataclass(frozen=True, kw_only=True, eq=False)
class FractionalODESolution:
    """States at times.

    Parameters
    ----------
    problem : FractionalODE
        What was solved.
    scheme : Adaptive or a convolution scheme
        With what.
    times : (t,) float64 [t]
        When.
    values : (t, components) float64 [y]
        One row per time; NaN beyond the time that was reached.
    status : Status
        How it ended.
    detail : str
        What was measured where it failed.
    stats : dict
        Steps or intervals, iterations, evaluations.
    provenance : Provenance
        What is needed to do it again.
    errors : (t, components) float64 [y] or None
        Estimated errors, each the largest of its interval, of an adaptive solution; ``None`` for
        a marched one: its error follows the scheme's order, and is seen by halving the steps.
    discrete_residual : float [1]
        See :meth:`residual`.
    pieces : Pieces or None
        The intervals of an adaptive solution.

    Examples
    --------
    >>> from fracsde import FractionalODE, solve
    >>> solution = solve(FractionalODE(rhs=lambda t, y: -y, initial=1.0, alpha=0.5), [1.0, 4.0])
    >>> from scipy.special import erfcx
    >>> bool(abs(solution.at(2.25)[0] - erfcx(1.5)) < 1e-6), solution.values.shape
    (True, (2, 1))
    """

    problem: FractionalODE
    scheme: Any
    times: FloatArray
    values: FloatArray
    status: Status
    detail: str
    stats: dict[str, Any]
    provenance: Provenance
    errors: FloatArray | None
    discrete_residual: float
    pieces: Pieces | None

    @property
    def error_estimate(self) -> float | None:
        """Largest estimated error at the saved times [y]; ``None`` if nothing is known."""
        return None if self.errors is None else float(np.nanmax(self.errors, initial=0.0))

    def at(self, t: float) -> FloatArray:
        """Return the state at a time.

        Parameters
        ----------
        t : float [t]
            Of an adaptive solution any time up to the last; of a marched one a saved time, up to
            rounding.

        Returns
        -------
        (components,) ndarray of float64 [y]

        Raises
        ------
        OutOfRangeError
            If the time is outside the solution.
        GridError
            If a marched solution was not saved then.
        """
        t = real("t", t)
        if self.pieces is not None:
            if not 0.0 <= t <= self.pieces.end * (1.0 + 1e-12):
                msg = f"`t` must lie in [0, {self.pieces.end:g}], got {t:g}; solve to a later time"
                raise OutOfRangeError(msg)
            return np.asarray(self.pieces.at(np.array([t]))[0][0])
        nearest = int(np.argmin(np.abs(self.times - t)))
        if abs(self.times[nearest] - t) > 1e-12 * self.times[nearest]:
            msg = (
                f"`t` must be a saved time, got {t:g}, the nearest is {self.times[nearest]:g}; put "
                "it into the mesh, or use Adaptive(), whose solutions are known at every time"
            )
            raise GridError(msg)
        return np.array(self.values[nearest])

    def residual(self) -> float:
        r"""Return the residual of the equations that were solved, over their largest term.

        Marched: :math:`\sum_k w_k (y_{k+1} - y_k) - f` in the last step, from the scheme's own
        weights.  Collocated: the last state less the fractional integral of the right-hand side
        on all intervals, with a kernel exact to rounding; it holds what Newton's method and the
        sum of exponentials left.  Neither is the error of the solution.

        Returns
        -------
        float [1]
        """
        return self.discrete_residual

    def plot(self, *, ax: Any = None, components: Any = None) -> Any:
        """Draw components against time.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where; a new figure by default.
        components : sequence of int, optional
            Which; the first eight by default.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        BackendUnavailable
            If matplotlib is not installed.
        """
        if ax is None:
            ax = _optional("matplotlib.pyplot", 'pip install "fracsde[plot]"').figure().subplots()
        chosen = range(min(8, self.problem.dimension)) if components is None else components
        for c in chosen:
            ax.plot(self.times, self.values[:, c], label=f"component {c}")
        ax.set_xlabel("t")
        ax.set_ylabel("y")
        ax.legend()
        return ax

    def to_xarray(self) -> Any:
        """Return the states as an ``xarray.DataArray`` with axes ``time`` and ``component``.

        Returns
        -------
        xarray.DataArray
        """
        xarray = _optional("xarray", "pip install xarray")
        return xarray.DataArray(
            self.values.copy(),
            coords={"time": self.times.copy(), "component": np.arange(self.problem.dimension)},
            dims=("time", "component"),
            name="state",
            attrs={"provenance": str(self.provenance.to_dict()), "status": self.status.name},
        )


def solve_system(
    problem: FractionalODE,
    grid: TimeGrid,
    wanted: FloatArray,
    *,
    scheme: Any,
    bar: Callable[[int], AbstractContextManager[Callable[[int], None] | None]],
    throw: bool,
    checkpoint: Checkpoint | None = None,
) -> FractionalODESolution:
    """Solve a system; what :func:`fracsde.solve` calls.

    Parameters
    ----------
    problem : FractionalODE
        The system.
    grid : TimeGrid
        The mesh of a marching scheme; its end is that of an adaptive one.
    wanted : (t,) float64 [t]
        When states are wanted; nodes of the mesh.
    scheme : Adaptive, ConvolutionScheme or None
        How.
    bar : callable
        From a number of steps to a context that gives the function to call after each.
    throw : bool
        Raise if the computation fails.
    checkpoint : Checkpoint, optional
        Where the computation is saved and resumed, to the last digit.

    Returns
    -------
    FractionalODESolution

    Raises
    ------
    InputError
        If the scheme is not one for systems.
    ComputationError
        If ``throw`` and the computation failed.
    """
    scheme = Adaptive() if scheme is None else scheme
    if isinstance(scheme, Adaptive):
        solution = _adaptive(problem, grid, wanted, scheme, bar, checkpoint)
    elif isinstance(scheme, ConvolutionScheme):
        solution = _marched(problem, grid, wanted, scheme, bar, checkpoint)
    else:
        msg = (
            "`scheme` for a FractionalODE must be Adaptive(), a marching scheme such as L1(), or "
            f"None, got {scheme!r}"
        )
        raise InputError(msg)
    if throw and not solution.status.ok:
        raise ComputationError(solution.status, solution.detail)
    return solution


def _adaptive(
    problem: FractionalODE,
    grid: TimeGrid,
    wanted: FloatArray,
    scheme: Adaptive,
    bar: Any,
    checkpoint: Checkpoint | None,
) -> FractionalODESolution:
    end = float(grid.times[-1])
    marks = None
    if checkpoint is not None:
        marks = system_marks(problem, scheme, np.array([0.0, end]), kind="intervals")
    with bar(_TICKS) as tick, keeper_of(checkpoint, marks) as keeper:
        watch = None if tick is None else (lambda t: tick(int(_TICKS * t / end)))
        found, status, detail = meet(problem, end, scheme, watch=watch, keeper=keeper)
        keeper.finish()
    values, errors = found.pieces.at(wanted)
    if status.ok and not np.all(np.isfinite(values)):
        status, detail = Status.NOT_FINITE, "Check the right-hand side."
    return FractionalODESolution(
        problem=problem,
        scheme=scheme,
        times=wanted,
        values=values,
        status=status,
        detail=detail,
        stats=found.stats,
        provenance=provenance(problem, _entries(problem.linear), scheme, wanted),
        errors=errors,
        discrete_residual=found.pieces.residual(),
        pieces=found.pieces,
    )


def _marched(
    problem: FractionalODE,
    grid: TimeGrid,
    wanted: FloatArray,
    scheme: ConvolutionScheme,
    bar: Any,
    checkpoint: Checkpoint | None,
) -> FractionalODESolution:
    scheme.check(grid)
    with bar(len(grid) - 1) as watch:
        found = step_through(problem, scheme, grid.times, watch=watch, checkpoint=checkpoint)
    return FractionalODESolution(
        problem=problem,
        scheme=scheme,
        times=wanted,
        values=found.values[np.searchsorted(grid.times, wanted)],
        status=found.status,
        detail=found.trouble,
        stats=found.stats,
        provenance=provenance(problem, _entries(problem.linear), scheme, grid.times, wanted),
        errors=None,
        discrete_residual=found.residual,
        pieces=None,
    )


def _entries(linear: Any) -> tuple[FloatArray, ...]:
    # What the printed form of a sparse matrix does not tell.
    return (linear.data, linear.indices, linear.indptr) if issparse(linear) else ()


def _optional(module: str, install: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        msg = f"this needs {module.split('.')[0]}, which is not installed; {install}"
        raise BackendUnavailable(msg) from error

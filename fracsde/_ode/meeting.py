r"""Run until the estimated error keeps the tolerance that was asked for.

A local tolerance is not a global one: an unstable system multiplies every error it is handed.  The
estimate of the global error, which each run carries along, says by how much, and the next run is
given a local tolerance that much smaller.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fracsde._ode.collocation import Collocated, Wish, collocate
from fracsde.schemes.keeping import keeper_of, taken
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray
    from fracsde.problems.fractional_ode import FractionalODE
    from fracsde.schemes.adaptive import Adaptive
    from fracsde.schemes.keeping import Keeper

__all__ = ["meet", "worst"]

_RUNS = 5
_AIM, _LEAST = 0.4, 1e-4  # of the next local tolerance
_FINEST = 2e-14  # local tolerance that double precision allows


def meet(
    problem: FractionalODE,
    end: float,
    scheme: Adaptive,
    *,
    watch: Callable[[float], None] | None = None,
    keeper: Keeper | None = None,
) -> tuple[Collocated, Status, str]:
    """Integrate a system to a tolerance.

    Parameters
    ----------
    problem : FractionalODE
        The system.
    end : float [t]
        Last time.
    scheme : Adaptive
        The tolerance.
    watch : callable, optional
        Called after each interval with the time reached.
    keeper : Keeper, optional
        What saves runs and brings them back.

    Returns
    -------
    Collocated
        The last run.
    Status
    str
        A sentence, empty for a success.
    """
    keeper = keeper_of(None) if keeper is None else keeper
    begun, share, reached = 1, 1.0, keeper.found()
    if reached is not None:
        with keeper.reading():
            number, share = taken(reached, "run", (2,)).tolist()
            begun = int(number)
    for run in range(begun, _RUNS + 1):
        wish = Wish(
            rtol=share * scheme.rtol,
            atol=share * scheme.atol,
            degree=scheme.degree(),
            longest=scheme.longest,
        )
        publish = partial(_publish, keeper, run, share)
        found = collocate(
            problem,
            end,
            wish,
            watch=watch,
            publish=publish if keeper.active else None,
            reached=reached,
            reading=keeper.reading,
        )
        reached = None
        found.stats["runs"] = run
        if found.trouble:
            return found, _kind(problem, found), found.trouble
        missed = worst(found, rtol=scheme.rtol, atol=scheme.atol)
        if missed <= 1.0:
            return found, Status.SUCCESS, ""
        share *= max(_AIM / missed, _LEAST)
        if share * scheme.rtol < _FINEST:
            break
    detail = (
        f"The estimated error is {missed:.2g} times the tolerance rtol = {scheme.rtol:g}, atol = "
        f"{scheme.atol:g}: the system multiplies errors; ask for less, or for an earlier end."
    )
    return found, Status.INACCURATE, detail


def _publish(
    keeper: Keeper, run: int, share: float, arrays: Callable[[], dict[str, FloatArray]]
) -> None:
    keeper.publish(lambda: arrays() | {"run": np.array([run, share])})


def _kind(problem: FractionalODE, found: Collocated) -> Status:
    pieces = found.pieces.pieces
    state = pieces[-1].states[-1] if pieces else problem.initial
    rate = problem.value(found.pieces.end * (1.0 + 1e-12), state)
    return Status.NOT_CONVERGED if np.all(np.isfinite(rate)) else Status.NOT_FINITE


def worst(found: Collocated, *, rtol: float, atol: float) -> float:
    """Return the largest estimated error in units of a tolerance.

    Parameters
    ----------
    found : Collocated
        A run.
    rtol : float [1]
        Tolerance relative to the size of a component in its interval.
    atol : float [y]
        And absolute.

    Returns
    -------
    float [1]
    """
    shares = [
        np.abs(p.errors).max(axis=0)
        / (atol + rtol * np.maximum(np.abs(p.before), np.abs(p.states).max(axis=0)))
        for p in found.pieces.pieces
    ]
    return float(np.max(shares)) if shares else 0.0

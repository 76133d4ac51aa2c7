r"""Covariances between many pairs of times, for every kind of base.

Not here: one pair (:mod:`fracsde._subordination.two_time`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde._subordination.averages import carried_on_average, reduced, small_enough
from fracsde._subordination.moments import means
from fracsde._subordination.starts import Start
from fracsde._subordination.two_time import (
    covariance_along,
    covariance_between,
    ordinary,
    two_times,
)
from fracsde.problems.structured import LowRankOU

if TYPE_CHECKING:
    from fracsde._subordination.averages import Reduced
    from fracsde._typing import FloatArray
    from fracsde.problems.subordinated import BaseProcess, SubordinatedOU

__all__ = ["clock_covariances_between", "written_down"]


def clock_covariances_between(
    process: SubordinatedOU,
    s: FloatArray,
    t: FloatArray,
    start: Start,
    directions: FloatArray | None,
    *,
    centred: bool,
) -> FloatArray:
    """Return ``Cov(X_t, X_s)`` for pairs of times, or its values along directions.

    Parameters
    ----------
    process : SubordinatedOU
        The process.
    s, t : ndarray of float64 [t]
        Not negative, of one shape.
    start : Start
        Normal law at time 0.
    directions : (d, p) float64 or None
        One direction per column; none for matrices.
    centred : bool
        Whether means are subtracted.

    Returns
    -------
    (..., d, d) or (..., p) float64 [x^2]
    """
    if directions is None:
        part = reduced(small_enough(process.base), written_down(process.base, start))
        shape: tuple[int, ...] = (process.dimension, process.dimension)
    else:
        part = reduced(process.base, start, directions)
        shape = (directions.shape[1],)
    out = np.empty((s.size, *shape))
    known: dict[tuple[float, float], FloatArray] = {}
    for i, (a, b) in enumerate(zip(s.ravel().tolist(), t.ravel().tolist(), strict=True)):
        pair = min(a, b), max(a, b)
        if pair not in known:
            known[pair] = _between(process, part, *pair, matrix=directions is None)
            if not centred:
                known[pair] = known[pair] + _product(process, part, *pair, directions is None)
        out[i] = known[pair].T if a > b else known[pair]
    return out.reshape(*s.shape, *shape)


def _between(
    process: SubordinatedOU, part: Reduced, s: float, t: float, *, matrix: bool
) -> FloatArray:
    # Cov(X_t, X_s) for s <= t: a matrix, or its values along directions.
    flow, start, U, alpha = part.flow, part.start, part.directions, process.alpha
    if s == 0.0:
        X = np.eye(len(start.away)) if matrix else U
        if start.covariance is None:
            moved = np.zeros_like(X)
        else:
            given = start.covariance
            X = given[:, None] * X if given.ndim == 1 else given @ X
            moved = carried_on_average(flow, alpha, process.operational([t]), X)[0]
        return moved if matrix else np.asarray((U * moved).sum(axis=0))
    if alpha == 1.0:
        found = ordinary(flow, start, s, t)
        if matrix:
            return found
        inner = found[:, None] * U if found.ndim == 1 else found @ U
        return np.asarray((U * inner).sum(axis=0))
    clock = two_times(alpha, process.timescale, flow.rates, s, t)
    if matrix:
        return covariance_between(flow, clock, start)
    return covariance_along(flow, clock, start, U)


def _product(
    process: SubordinatedOU, part: Reduced, s: float, t: float, matrix: bool
) -> FloatArray:
    # What the means, relative to that of the process, add to a raw moment.
    theta = process.operational([t, s])
    later, earlier = means(part.flow, process.alpha, theta, part.start.away)
    if matrix:
        return np.asarray(np.multiply.outer(later, earlier))
    return np.asarray((later @ part.directions) * (earlier @ part.directions))


def written_down(base: BaseProcess, start: Start) -> Start:
    """Return the start of a structured base as that of its dense form.

    Parameters
    ----------
    base : OUProcess, DiagonalOU or LowRankOU
        The base.
    start : Start
        Normal law at time 0.

    Returns
    -------
    Start
    """
    spread = start.covariance
    if spread is not None and isinstance(base, LowRankOU):
        U, inner = base.basis, spread - start.rest * np.eye(len(spread))
        spread = start.rest * np.eye(len(U)) + U @ inner @ U.T
    elif spread is not None and spread.ndim == 1:
        spread = np.diag(spread)
    return Start(away=start.away, covariance=spread)

r"""What transients ask of a process on the clock, for every kind of base.

A :class:`~fracsde.problems.structured.LowRankOU` is first replaced by the small dense process in
the space of its basis, the start and the directions asked for, which has the same law along them;
all that remains outside is isotropic and scalar.

Not here: the averages themselves (:mod:`fracsde._subordination.moments`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde._subordination.flows import ModalFlow, chunks, flow_of
from fracsde._subordination.moments import along, covariances, means, rule_of
from fracsde._subordination.starts import Start, read_start, stationary_start
from fracsde.errors import UnsupportedError
from fracsde.lyapunov.evolution import finite
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.problems.structured import DiagonalOU, LowRankOU

if TYPE_CHECKING:
    from typing import Any

    from fracsde._subordination.flows import Flow
    from fracsde._typing import FloatArray
    from fracsde.problems.subordinated import BaseProcess, SubordinatedOU

__all__ = [
    "Reduced",
    "carried_on_average",
    "clock_autocovariance",
    "clock_covariance",
    "clock_displacement",
    "clock_mean",
    "clock_variance",
    "reduced",
    "small_enough",
]

LARGEST_MATRIX = 2048  # coordinates of a structured process whose matrices are still written down


@dataclass(frozen=True, kw_only=True, eq=False)
class Reduced:
    """A base in the coordinates in which it is treated.

    Parameters
    ----------
    flow : ModalFlow or DenseFlow
        Its laws.
    start : Start
        In the same coordinates.
    directions : (q, p) float64
        In the same coordinates.
    basis : (d, q) float64 or None
        The coordinates; none where they are those of the process.
    """

    flow: Flow
    start: Start
    directions: FloatArray
    basis: FloatArray | None = None


def reduced(base: BaseProcess, start: Start, directions: FloatArray | None = None) -> Reduced:
    """Return a base in the coordinates in which it is treated.

    Parameters
    ----------
    base : OUProcess, DiagonalOU or LowRankOU
        The base.
    start : Start
        Normal law at time 0.
    directions : (d, p) float64, optional
        Directions that the coordinates must hold.

    Returns
    -------
    Reduced
    """
    U = np.zeros((base.dimension, 0)) if directions is None else directions
    if not isinstance(base, LowRankOU):
        return Reduced(flow=flow_of(base), start=start, directions=U)
    small, Q = base.projected(np.column_stack([start.away, U]))
    spread = None
    if start.covariance is not None:
        rank = base.basis.shape[1]
        spread = start.rest * np.eye(Q.shape[1])
        spread[:rank, :rank] = start.covariance
    inner = Start(away=Q.T @ start.away, covariance=spread)
    return Reduced(flow=flow_of(small), start=inner, directions=Q.T @ U, basis=Q)


def small_enough(base: BaseProcess) -> OUProcess:
    """Return a base with its matrices written down.

    Parameters
    ----------
    base : OUProcess, DiagonalOU or LowRankOU
        The base.

    Returns
    -------
    OUProcess

    Raises
    ------
    UnsupportedError
        If the matrices are too large.
    """
    if isinstance(base, OUProcess):
        return base
    if base.dimension > LARGEST_MATRIX:
        msg = (
            f"covariance matrices of {base.dimension} coordinates are too large to write down "
            f"(more than {LARGEST_MATRIX}); ask for `directions`, or use "
            "fracsde.subordination.variance_along"
        )
        raise UnsupportedError(msg)
    return base.dense()


def clock_mean(process: SubordinatedOU, times: FloatArray, initial: Any) -> FloatArray:
    """Return the mean at given times.

    Parameters
    ----------
    process : SubordinatedOU
        The process.
    times : (t,) float64 [t]
        Not negative.
    initial : (d,) array_like [x]
        Mean at time 0.

    Returns
    -------
    (t, d) float64 [x]
    """
    start = read_start(process.base, initial, 0.0)
    part = reduced(process.base, start)
    moved = means(part.flow, process.alpha, process.operational(times), part.start.away)
    return process.base.mean + (moved if part.basis is None else moved @ part.basis.T)


def clock_covariance(process: SubordinatedOU, times: FloatArray, start: Start) -> FloatArray:
    """Return the covariance at given times.

    Parameters
    ----------
    process : SubordinatedOU
        Its base an OUProcess.
    times : (t,) float64 [t]
        Not negative.
    start : Start
        Normal law at time 0.

    Returns
    -------
    (t, d, d) float64 [x^2]
    """
    flow = flow_of(small_enough(process.base))
    return covariances(flow, process.alpha, process.operational(times), start)


def clock_variance(
    process: SubordinatedOU, times: FloatArray, start: Start, directions: FloatArray | None
) -> FloatArray:
    """Return variances along directions, or of each coordinate.

    Parameters
    ----------
    process : SubordinatedOU
        The process.
    times : (t,) float64 [t]
        Not negative.
    start : Start
        Normal law at time 0.
    directions : (d, p) float64 or None
        One direction per column.

    Returns
    -------
    (t, p) or (t, d) float64 [x^2]
    """
    base, theta = process.base, process.operational(times)
    if isinstance(base, DiagonalOU):
        return _diagonal_variance(process, theta, start, directions)
    part = reduced(base, start, directions)
    inner = covariances(part.flow, process.alpha, theta, part.start)
    if directions is not None:
        U = part.directions
        each = np.einsum("dp,tde,ep->tp", U, inner, U, optimize=True)
        return np.asarray(np.maximum(each, 0.0))
    if part.basis is None:
        return np.diagonal(inner, axis1=1, axis2=2).copy()
    Q = part.basis
    out = np.einsum("iq,tqr,ir->ti", Q, inner, Q, optimize=True)
    share = np.maximum(1.0 - (Q * Q).sum(axis=1), 0.0)
    return np.asarray(out + _outside(process, theta, start)[:, None] * share)


def clock_autocovariance(process: SubordinatedOU, times: FloatArray) -> FloatArray:
    """Return the covariance of the state at given times with that at time 0, stationary there.

    Parameters
    ----------
    process : SubordinatedOU
        Its base stable.
    times : (t,) float64 [t]
        Not negative.

    Returns
    -------
    (t, d, d) float64 [x^2]
    """
    base = small_enough(process.base)
    spread = stationary_start(base).covariance
    return carried_on_average(
        flow_of(base), process.alpha, process.operational(times), np.asarray(spread)
    )


def clock_displacement(
    process: SubordinatedOU,
    times: FloatArray,
    start: Start | None,
    directions: FloatArray | None,
) -> FloatArray:
    """Return the mean-square displacement since time 0.

    Parameters
    ----------
    process : SubordinatedOU
        The process.
    times : (t,) float64 [t]
        Not negative.
    start : Start or None
        A point, or the stationary law.
    directions : (d, p) float64 or None
        One direction per column; none for the sum over all coordinates.

    Returns
    -------
    (t,) or (t, p) float64 [x^2]
    """
    base, alpha, theta = process.base, process.alpha, process.operational(times)
    if start is not None:
        part = reduced(base, start, directions)
        moved = carried_on_average(part.flow, alpha, theta, part.start.away[:, None], away=True)[
            :, :, 0
        ]
        spread = clock_variance(process, times, start, directions)
        if directions is None:
            return np.asarray(spread.sum(axis=1) + (moved**2).sum(axis=1))
        return np.asarray(spread + (moved @ part.directions) ** 2)
    law = stationary_start(base)
    if directions is None and not isinstance(base, OUProcess):
        return _structured_total(process, theta, law)
    every = np.eye(base.dimension) if directions is None else directions
    part = reduced(base, law, every)
    spread = np.asarray(part.start.covariance)
    cross = spread[:, None] * part.directions if spread.ndim == 1 else spread @ part.directions
    moved = carried_on_average(part.flow, alpha, theta, cross, away=True)
    each = np.maximum(-2.0 * np.einsum("dp,tdp->tp", part.directions, moved), 0.0)
    return each if directions is not None else np.asarray(each.sum(axis=1))


def carried_on_average(
    flow: Flow, alpha: float, theta: FloatArray, X: FloatArray, *, away: bool = False
) -> FloatArray:
    """Return ``E[E(E_t)] X``, or ``E[E(E_t) - I] X``.

    Parameters
    ----------
    flow : ModalFlow or DenseFlow
        The base.
    alpha : float [1]
        Order.
    theta : (t,) float64 [t]
        Scale of the clock.
    X : (d, p) float64
        Columns.
    away : bool
        Whether to subtract the identity.

    Returns
    -------
    (t, d, p) float64
    """
    rule = rule_of(flow, alpha, float(theta.max(initial=0.0)), moment=1)
    inner = flow.inward(X) if isinstance(flow, ModalFlow) else X
    out = np.empty((len(theta), *X.shape))
    for i, scale in enumerate(theta):
        s = scale * rule.nodes
        total = np.zeros(X.shape[:1] if isinstance(flow, ModalFlow) else (len(X), len(X)))
        for part in chunks(len(s), total.size):
            if isinstance(flow, ModalFlow):
                law = flow.away(s[part]) if away else flow.carried(s[part])
            else:
                law = flow.laws(s[part])[1 if away else 0]
            total += np.tensordot(rule.weights[part], law, axes=1)
        if isinstance(flow, ModalFlow):
            out[i] = flow.outward((total[:, None] * inner).T).T
        else:
            out[i] = total @ inner
    return finite(out)


def _diagonal_variance(
    process: SubordinatedOU, theta: FloatArray, start: Start, directions: FloatArray | None
) -> FloatArray:
    # The law of total variance along directions, or of each coordinate alone.
    flow = flow_of(process.base)  # type: ignore[arg-type]  # a DiagonalOU
    assert isinstance(flow, ModalFlow)
    rule = rule_of(flow, process.alpha, float(theta.max(initial=0.0)))
    w = rule.weights
    columns = process.dimension if directions is None else directions.shape[1]
    out = np.empty((len(theta), columns))
    for i, scale in enumerate(theta):
        s = scale * rule.nodes
        if directions is not None:
            moved, variance = along(flow, s, start, directions)
            moved -= w @ moved
            out[i] = w @ (variance + moved * moved)
            continue
        for part in chunks(columns, len(s)):
            one = ModalFlow(pull=flow.pull[part], noise=flow.noise[part], basis=None)
            fallen = -one.away(s)
            inside = w @ one.variances(s) * one.noise
            if start.covariance is not None:
                inside += w @ one.carried(s) ** 2 * start.covariance[part]
            fallen -= w @ fallen
            out[i, part] = inside + w @ (fallen * fallen) * start.away[part] ** 2
    return finite(out)


def _outside(process: SubordinatedOU, theta: FloatArray, start: Start) -> FloatArray:
    # Variance at each time along a direction outside basis and start of a LowRankOU.
    base = process.base
    assert isinstance(base, LowRankOU)
    flow = ModalFlow(
        pull=np.array([base.rest_drift]), noise=np.array([base.rest_noise]), basis=None
    )
    point = Start(away=np.zeros(1), covariance=np.array([start.rest]))
    return covariances(flow, process.alpha, theta, point)[:, 0, 0]


def _structured_total(process: SubordinatedOU, theta: FloatArray, law: Start) -> FloatArray:
    # Stationary displacement over all coordinates, as the trace of small matrices.
    base, spread = process.base, np.asarray(law.covariance)
    if isinstance(base, DiagonalOU):
        moved = carried_on_average(flow_of(base), process.alpha, theta, spread[:, None], away=True)
        return np.asarray(-2.0 * moved[:, :, 0].sum(axis=1))
    assert isinstance(base, LowRankOU)
    inside = flow_of(OUProcess(drift=base.drift, noise=base.noise))
    moved = carried_on_average(inside, process.alpha, theta, spread, away=True)
    rest = ModalFlow(pull=np.array([base.rest_drift]), noise=np.zeros(1), basis=None)
    outside = carried_on_average(rest, process.alpha, theta, np.ones((1, 1)), away=True)[:, 0, 0]
    count = base.dimension - base.basis.shape[1]
    return np.asarray(-2.0 * (np.trace(moved, axis1=1, axis2=2) + count * law.rest * outside))

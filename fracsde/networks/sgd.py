r"""Constant-rate SGD with momentum, for many replicas in one compiled call.

.. math::
    v \leftarrow \mu v - \eta\, g_B(w), \qquad w \leftarrow w + v,

with :math:`g_B` the mean gradient of the batch plus the whole gradient of the weight decay.
Time is counted in steps: position ``t`` is the position after ``t`` steps, position 0 the start.

Every replica is a function of (seed, its number, its start): results depend neither on the
number of threads nor on how many replicas run beside it, and a run continued from where another
ended equals one run of both lengths, bit for bit.

:mod:`fracsde.networks.sampling` says which examples a step reads,
:mod:`fracsde.networks.stepping` holds the loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array, integer, real
from fracsde.backends.philox import seed_key
from fracsde.errors import ComputationError, GridError, InputError, ShapeError
from fracsde.networks.sampling import sampling_mode
from fracsde.networks.stepping import Records, Settings, advance
from fracsde.provenance import Provenance, provenance
from fracsde.records.trajectory import Trajectory
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fracsde._typing import ArrayLike, BoolArray, FloatArray, IntArray, RandomState
    from fracsde.networks.network import Network

__all__ = ["SGDRun", "run_sgd"]

# Wall time of one compiled call that the number of steps per call is steered to.
_CALL_SECONDS = 0.3
_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class SGDRun:
    """What a run of many replicas left.

    Parameters
    ----------
    projections : Trajectory or None
        Projections on ``directions`` (chain, draw, direction); times in steps.
    positions : Trajectory or None
        Full positions at the steps asked for.
    final_positions, final_velocities : (replica, P) float64 [weight]
        State after the last step: what a continued run starts from.
    first_step, steps : int [step]
        Steps taken before this run, and in it.
    diverged_at : (replica,) int64 [step]
        First step whose position is not finite, or -1; the replica stopped there.
    chains : (chain,) int64
        Which replica each chain of the trajectories is: those that did not diverge.
    provenance : Provenance
        Seed, versions and a hash of the input.
    """

    projections: Trajectory | None
    positions: Trajectory | None
    final_positions: FloatArray
    final_velocities: FloatArray
    first_step: int
    steps: int
    diverged_at: IntArray
    chains: IntArray
    provenance: Provenance

    @property
    def diverged(self) -> BoolArray:
        """Whether each replica (replica,) left the finite numbers."""
        return self.diverged_at >= 0

    @property
    def status(self) -> Status:
        """``NOT_FINITE`` if any replica diverged."""
        return Status.NOT_FINITE if bool(self.diverged.any()) else Status.SUCCESS


def run_sgd(
    network: Network,
    start: ArrayLike,
    *,
    learning_rate: float,
    batch_size: int,
    steps: int,
    seed: RandomState,
    momentum: float = 0.0,
    sampling: str = "with_replacement",
    replicas: int | None = None,
    record_positions: Sequence[int] = (),
    directions: ArrayLike | None = None,
    origin: ArrayLike | None = None,
    project_every: int = 1,
    first_projection: int = 0,
    start_velocity: ArrayLike | None = None,
    first_step: int = 0,
    first_replica: int = 0,
    progress: Callable[[int, int], None] | None = None,
    throw: bool = True,
) -> SGDRun:
    """Run SGD at a constant rate in many replicas.

    Parameters
    ----------
    network : Network
        Network and data.
    start : (P,) or (replicas, P) array_like [weight]
        Common start, or one per replica.
    learning_rate : float [weight**2]
        Rate, above 0.
    batch_size : int
        Examples per step.
    steps : int
        Steps to take.
    seed : int, SeedSequence or Generator
        Seed of all streams.
    momentum : float [1]
        Heavy-ball momentum in [0, 1).
    sampling : {"with_replacement", "without_replacement", "shuffled"}
        How batches are drawn, see :mod:`fracsde.networks.sampling`.
    replicas : int, optional
        Number of replicas; by default that of ``start``.
    record_positions : sequence of int [step]
        Steps at which full positions are kept, increasing; 0 is the start.
    directions : (P, k) array_like, optional
        Columns to project positions on.
    origin : (P,) array_like, optional
        Subtracted from positions before they are projected; zero by default.
    project_every, first_projection : int [step]
        Projections are kept at ``first_projection`` and every ``project_every`` steps after.
    start_velocity : (P,) or (replicas, P) array_like, optional
        Velocity at the start; zero by default.
    first_step : int [step]
        Steps taken before, when a run is continued; a continued run does not record its start,
        which the run before it recorded.
    first_replica : int
        Number of the first replica's stream, to split replicas over several runs.
    progress : callable, optional
        Called between compiled calls as ``progress(steps_done, steps)``.
    throw : bool
        Whether divergence raises; otherwise ``diverged_at`` tells, and the trajectories hold
        the other replicas.

    Returns
    -------
    SGDRun

    Raises
    ------
    SamplingError
        If a batch without repetition is larger than the data.
    GridError
        If steps to record do not increase or lie outside the run.
    ShapeError
        If an array does not fit the network or the number of replicas.
    ComputationError
        If ``throw`` and a replica diverged.

    Examples
    --------
    >>> from fracsde.networks import SoftmaxRegression
    >>> net = SoftmaxRegression(inputs=np.eye(4), targets=[0, 1, 0, 1], weight_decay=0.1)
    >>> args = dict(learning_rate=0.5, batch_size=2, seed=3, sampling="shuffled")
    >>> whole = run_sgd(net, np.zeros(net.parameters), steps=9, replicas=2, **args)
    >>> first = run_sgd(net, np.zeros(net.parameters), steps=4, replicas=2, **args)
    >>> rest = run_sgd(net, first.final_positions, start_velocity=first.final_velocities,
    ...                first_step=4, steps=5, **args)
    >>> bool(np.all(rest.final_positions == whole.final_positions))
    True
    """
    count = integer("steps", steps, low=1)
    before = integer("first_step", first_step, low=0)
    size = integer("batch_size", batch_size, low=1)
    key = seed_key(seed)
    settings = Settings(
        rate=real("learning_rate", learning_rate, low=0.0),
        momentum=real("momentum", momentum, low=0.0, high=1.0, closed="low"),
        decay=float(network.weight_decay),
        batch=size,
        mode=sampling_mode(sampling, size, network.examples),
        first_replica=integer("first_replica", first_replica, low=0, high=2**31),
        key0=key[0],
        key1=key[1],
    )
    w = _per_replica("start", start, network.parameters, replicas)
    rest = np.zeros(network.parameters) if start_velocity is None else start_velocity
    v = _per_replica("start_velocity", rest, network.parameters, len(w))
    marks = _marks(record_positions, before, before + count)
    columns = _columns(directions, network.parameters)
    first = integer("first_projection", first_projection, low=0)
    spacing = integer("project_every", project_every, low=1)
    times = _projection_steps(first, spacing, before, before + count) if columns.size else _NONE
    if columns.size and times.size == 0:
        msg = (
            f"no projection falls on steps {before} to {before + count}: the first is asked for at "
            f"{first}, then every {spacing}; lower `first_projection` or `project_every`"
        )
        raise GridError(msg)
    records = Records(
        positions=np.full((len(w), len(marks), w.shape[1]), np.nan),
        position_steps=marks,
        projections=np.full((len(w), len(times), columns.shape[1]), np.nan),
        directions=columns,
        origin=_origin(origin, network.parameters),
        first=first,
        spacing=spacing,
        skip=int((times[0] - first) // spacing) if times.size else 0,
    )
    _record_start(w, before, times, records)
    # A generator has no name that would bring its numbers back; the key drawn from it has.
    named = seed if isinstance(seed, int) else f"key {int(key[0])}, {int(key[1])}"
    origin_of_run = provenance(
        network, w, v, *settings[:6], before, count, sampling, backend="numba", seed=named
    )
    diverged = np.full(len(w), -1, dtype=np.int64)
    _advance_in_calls(network, w, v, settings, before, count, records, diverged, progress)
    if throw and (diverged >= 0).any():
        raise ComputationError(Status.NOT_FINITE, _divergence(diverged))
    chains = np.flatnonzero(diverged < 0)
    return SGDRun(
        projections=_trajectory(records.projections, times, chains, origin_of_run),
        positions=_trajectory(records.positions, marks, chains, origin_of_run),
        final_positions=w,
        final_velocities=v,
        first_step=before,
        steps=count,
        diverged_at=diverged,
        chains=chains,
        provenance=origin_of_run,
    )


def _per_replica(name: str, value: Any, parameters: int, replicas: int | None) -> FloatArray:
    # A fresh, writable (replicas, P) array.
    array = finite_array(name, value, ndim=(1, 2))
    wanted = None if replicas is None else integer("replicas", replicas, low=1)
    rows = len(array) if array.ndim == 2 else (wanted or 1)
    if array.shape[-1] != parameters or rows != (wanted or rows) or rows == 0:
        some = "replicas" if wanted is None else str(wanted)
        msg = (
            f"`{name}` must have shape ({parameters},) for all replicas or ({some}, {parameters}), "
            f"got {array.shape}"
        )
        raise ShapeError(msg)
    return np.array(np.broadcast_to(array, (rows, parameters)), order="C")


def _marks(steps: Any, before: int, end: int) -> IntArray:
    if not isinstance(steps, Iterable):
        msg = f"`record_positions` must be a sequence of steps, got {steps!r}; pass ({steps!r},)"
        raise InputError(msg)
    marks = np.array([integer("record_positions", s, low=0) for s in steps], dtype=np.int64)
    low = before + 1 if before else 0
    if marks.size and (np.any(np.diff(marks) <= 0) or marks[0] < low or marks[-1] > end):
        msg = (
            f"`record_positions` must increase and lie between {low} and {end}, the steps of this "
            f"run, got {marks[:5].tolist()}{'...' if marks.size > 5 else ''}"
        )
        raise GridError(msg)
    return marks


def _columns(directions: Any, parameters: int) -> FloatArray:
    # (P, k); k is 0 where there are none.
    if directions is None:
        return finite_array("directions", np.empty((parameters, 0)))
    columns = finite_array("directions", directions, ndim=2)
    if columns.shape[0] != parameters or columns.shape[1] == 0:
        msg = (
            f"`directions` must have shape ({parameters}, k), one column per direction, got "
            f"{columns.shape}"
        )
        raise ShapeError(msg)
    return columns


def _origin(origin: Any, parameters: int) -> FloatArray:
    point = np.zeros(parameters) if origin is None else origin
    return finite_array("origin", point, shape=(parameters,))


def _projection_steps(first: int, spacing: int, before: int, end: int) -> IntArray:
    # Those of this run.
    low = before + 1 if before else 0
    skipped = max(0, -((first - low) // spacing)) if first < low else 0
    return np.arange(first + skipped * spacing, end + 1, spacing, dtype=np.int64)


def _record_start(w: FloatArray, before: int, times: IntArray, records: Records) -> None:
    """Record step 0 of a run that is not continued."""
    if before:
        return
    if records.position_steps.size and records.position_steps[0] == 0:
        records.positions[:, 0] = w
    if times.size and times[0] == 0:
        records.projections[:, 0] = (w - records.origin) @ records.directions


def _advance_in_calls(
    network: Network,
    w: FloatArray,
    v: FloatArray,
    settings: Settings,
    before: int,
    count: int,
    records: Records,
    diverged: IntArray,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Cut the run into compiled calls, short enough to be interrupted between two."""
    data = network._inputs, network._goals, network._plan
    done, length = 0, 1
    while done < count:
        span = before + done, before + min(done + length, count)
        clock = perf_counter()
        advance(w, v, *data, settings, span, records, diverged)
        elapsed = max(perf_counter() - clock, 1e-6)
        done = span[1] - before
        length = max(1, min(8 * length, int(length * _CALL_SECONDS / elapsed)))
        if progress is not None:
            progress(done, count)


def _divergence(diverged: IntArray) -> str:
    bad = np.flatnonzero(diverged >= 0)
    first = bad[np.argmin(diverged[bad])]
    return (
        f"{len(bad)} of {len(diverged)} replicas diverged, replica {first} first, at step "
        f"{diverged[first]}; lower `learning_rate`, or pass throw=False to keep the others."
    )


def _trajectory(
    values: FloatArray, steps: IntArray, chains: IntArray, origin: Provenance
) -> Trajectory | None:
    # Only of the replicas that stayed finite.
    if steps.size == 0 or chains.size == 0:
        return None
    kept = values if len(chains) == len(values) else values[chains]
    return Trajectory(values=kept, times=steps.astype(np.float64), provenance=origin)

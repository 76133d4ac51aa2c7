"""What a run says of itself, and the theory that follows from it.

Settings come from ``metadata["training"]``, the recorded rates and the caller; curvature, noise and
minimum from the attachment ``"curvature"`` and the caller; coordinates from both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import fspath
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import choice, real
from fracsde._runs.frame import Seen, bare_frame, frame
from fracsde._runs.training import constant_rate, read_training
from fracsde._runs.window import chosen_chains, refuse_divergence
from fracsde.errors import InputError, RecordError
from fracsde.estimators.chains import coordinate_names
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.records.quantities import numbered
from fracsde.records.store import StoredRun

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fracsde._runs.frame import Frame
    from fracsde._runs.training import Training
    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.records.trajectory import Trajectory

__all__ = ["Record", "Settled", "compared_labels", "settle", "settle_beside"]

_ATTACHED = ("hessian", "gradient_noise", "minimum", "directions")


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """What a run says of itself."""

    training: object
    seen: Seen
    first: float  # step
    last: float  # step
    rates: FloatArray | None  # (chain, draw), where they were recorded
    steps: IntArray  # (draw,) of the rates
    about: dict[str, Any]

    @property
    def rate_at_end(self) -> float | None:
        return None if self.rates is None else float(self.rates[0, -1])

    def refuse_changing_rate(self, start: float) -> None:
        """Refuse a window in which the recorded rate changes."""
        if self.rates is not None:
            # The update that led into the window had a rate of its own.
            inside = self.steps > start
            if inside.any():
                constant_rate(self.rates[:, inside], self.steps[inside])


@dataclass(frozen=True, kw_only=True, eq=False)
class Settled:
    """A run, the coordinates in which it meets its theory, and that theory."""

    record: Record
    place: Frame
    training: Training
    sgd: SGDNearMinimum | None  # None where the run's own settings make no law
    lacking: str = ""  # why not


def settle(
    source: StoredRun | Trajectory,
    given: Mapping[str, Any],
    matrices: Mapping[str, ArrayLike | None],
    *,
    directions: ArrayLike | None = None,
    need_minimum: bool = False,
    chains: Sequence[int] | None = None,
    stop: float | None = None,
    unequal: str = "refuse",
) -> Settled:
    """Find the theory of a run.

    Parameters
    ----------
    source : StoredRun or Trajectory
        The run.
    given : mapping
        Settings that the caller names; None where the run is to say.
    matrices : mapping
        ``hessian``, ``gradient_noise`` and ``minimum`` that the caller names, likewise.
    directions : (k, p) array_like, optional [1]
        Of what the run kept.
    need_minimum : bool
        Whether the mean is asked for.
    chains, stop, unequal
        As for :func:`fracsde.compare_run`.

    Returns
    -------
    Settled
    """
    choice("unequal", unequal, ("refuse", "truncate"))
    record = _record(source, chosen_chains(chains), stop, unequal)
    found = _matrices(source, matrices, need_minimum=need_minimum)
    place = frame(found, record.seen, directions)
    training = read_training(record.training, given, record.rate_at_end)
    return Settled(record=record, place=place, training=training, sgd=_sgd(place, training))


def settle_beside(
    source: StoredRun | Trajectory,
    given: Mapping[str, Any],
    matrices: Mapping[str, ArrayLike | None],
    *,
    own: Mapping[str, Any],
    tags: Sequence[str] | None = None,
    ready: bool = False,
    directions: ArrayLike | None = None,
    chains: Sequence[int] | None = None,
    stop: float | None = None,
    unequal: str = "refuse",
) -> Settled:
    """Find the coordinates of a run whose theory is given, and its own law as far as it says.

    Parameters
    ----------
    source, given, matrices, directions, chains, stop, unequal
        As for :func:`settle`; matrices that are given must fit, others are used where they do.
    own : mapping
        Matrices that the theory states, used where the run has none.
    tags : sequence of str, optional
        Labels of ready predictions: those of what was recorded, or of the default coordinates.
    ready : bool
        Whether the theory is predictions, made before.

    Returns
    -------
    Settled
    """
    choice("unequal", unequal, ("refuse", "truncate"))
    record = _record(source, chosen_chains(chains), stop, unequal)
    recorded = ready and directions is None
    if recorded and tags is not None:
        labels = _recorded_labels(source)
        recorded = tuple(tags) == labels
    place, lacking, mine = _place(source, record, matrices, own, directions, recorded)
    try:
        training = read_training(record.training, given, record.rate_at_end)
    except InputError as error:
        lacking = lacking or str(error)
        training = read_training(record.training, given, record.rate_at_end, needed=False)
    sgd = None
    if not lacking:
        try:
            # The curvature of a closure holds the decay of its loss.
            sgd = _sgd(place, training, **({"weight_decay": 0.0} if mine else {}))
        except InputError as error:
            lacking = str(error)
    return Settled(record=record, place=place, training=training, sgd=sgd, lacking=lacking)


def compared_labels(source: StoredRun | Trajectory, place: Frame) -> tuple[str, ...]:
    """Return the names of the coordinates that are compared.

    Returns
    -------
    tuple of str
    """
    if place.labels is not None:
        return place.labels
    return _recorded_labels(source) if place.measure is None else numbered(place.measure.shape[1])


def _recorded_labels(source: StoredRun | Trajectory) -> tuple[str, ...]:
    if isinstance(source, StoredRun):
        return tuple(source.streams["weights"].labels) or numbered(source.observation.width)
    return coordinate_names(source)


def _place(
    source: StoredRun | Trajectory,
    record: Record,
    matrices: Mapping[str, ArrayLike | None],
    own: Mapping[str, Any],
    directions: ArrayLike | None,
    recorded: bool,
) -> tuple[Frame, str, bool]:
    """Return coordinates, why there is no law in them, and whether curvature is the theory's."""
    seen = record.seen
    every = np.eye(seen.width) if recorded else directions  # one by one, whatever the curvature

    def fitted(found: Mapping[str, Any]) -> Frame:
        place = frame(found, seen, every)
        return replace(place, measure=None) if recorded else place

    try:
        return fitted(_matrices(source, matrices, need_minimum=False)), "", False
    except InputError as error:
        if any(value is not None for value in matrices.values()):
            raise
        lacking = str(error)
    if own:
        along = "directions" in own
        try:
            return fitted(own), "", along
        except InputError:
            if not along:
                raise
    return bare_frame(seen, directions, as_recorded=recorded), lacking, False


def _record(
    source: StoredRun | Trajectory,
    chains: Sequence[int] | None,
    stop: float | None,
    unequal: str,
) -> Record:
    if isinstance(source, StoredRun):
        return _of_store(source, chains, stop, unequal)
    last = float(source.times[-1]) if stop is None else real("stop", stop)
    return Record(
        training={},
        seen=Seen(width=source.dimension, parameters=None, directions=None, indices=None),
        first=float(source.times[0]),
        last=last,
        rates=None,
        steps=np.empty(0, dtype=np.int64),
        about={"run": "a trajectory in memory", "provenance": _origin(source)},
    )


def _origin(source: Trajectory) -> Any:
    return None if source.provenance is None else source.provenance.to_dict()


def _of_store(
    source: StoredRun, chains: Sequence[int] | None, stop: float | None, unequal: str
) -> Record:
    picked = source.chains if chains is None else tuple(chains)
    last = float("inf") if stop is None else real("stop", stop)
    refuse_divergence(source, last, picked)
    ends = [source.steps(chain) for chain in picked]
    if not ends or any(len(steps) == 0 for steps in ends):
        msg = f"{source.path} holds no recorded step in some chain; record one, or choose `chains`"
        raise RecordError(msg)
    shared = max if unequal == "refuse" else min
    last = min(last, shared(float(steps[-1]) for steps in ends))
    source.observation.verify()  # along other directions everything else is wrong
    kept, rates, when = source.observation, None, np.empty(0, dtype=np.int64)
    if "learning_rate" in source.streams:
        streamed = source.trajectory(
            "learning_rate", chains=picked, stop=int(last), unequal=unequal
        )
        rates, when = streamed.values[:, :, 0], streamed.times.astype(np.int64)
    return Record(
        training=source.metadata.get("training", {}),
        seen=Seen(
            width=kept.width,
            parameters=kept.parameters,
            directions=kept.directions,
            indices=kept.indices,
        ),
        first=max(float(steps[0]) for steps in ends),
        last=last,
        rates=rates,
        steps=when,
        about={
            "run": fspath(source.path),
            "content_hash": source.content_hash(),
            "status": source.status.name,
            "of_chains": "all" if chains is None else list(picked),
        },
    )


def _matrices(
    source: StoredRun | Trajectory, given: Mapping[str, Any], *, need_minimum: bool
) -> dict[str, Any]:
    """Return curvature, noise and minimum: those given, or else those attached to the run."""
    attached: Mapping[str, Any] = {}
    if isinstance(source, StoredRun) and "curvature" in source.attachments:
        attached = source.attachment("curvature")
    if given.get("hessian") is not None:
        attached = {k: v for k, v in attached.items() if k == "gradient_noise"}
    found = {name: value for name, value in given.items() if value is not None}
    found = {k: v for k, v in attached.items() if k in _ATTACHED} | found
    needed = ["hessian", "gradient_noise"]
    if need_minimum:
        needed.append("minimum")
    missing = [name for name in needed if name not in found]
    if missing:
        msg = (
            f"{' and '.join(f'`{name}`' for name in missing)} must be known, and the run has no "
            'such array in its attachment "curvature"; pass '
            + ", ".join(f"{name}=..." for name in missing)
            + ", or attach them with Recorder.attach('curvature', hessian=H, gradient_noise=C)"
        )
        raise InputError(msg)
    return found


def _sgd(place: Frame, training: Training, **other: Any) -> SGDNearMinimum:
    settings: dict[str, Any] = dict(training.values) | other
    if place.minimum is not None:
        settings["minimum"] = place.minimum
    settings |= {"hessian": place.hessian, "gradient_noise": place.gradient_noise}
    return SGDNearMinimum(**settings)

r"""Recording SGD on a small network near its minimum: what ``fracsde record`` does.

The network is trained to a minimum; many replicas of SGD start there, and their projections
:math:`U^T w` on the leading eigenvectors of the Hessian are recorded.  The run carries what its
theory needs: Hessian, gradient noise and minimum.

Replicas go in blocks of steps.  After each block their rows are on disk and the state of all
replicas, weights and velocities, is kept beside them; a run that was stopped, however it was, goes
on from the last such state, and ends as if it had not been: random numbers belong to steps.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import eigh

from fracsde._report.power import samples_to_decide
from fracsde.errors import ComputationError, DiagnosticsError, InputError, RecordError
from fracsde.networks import Network, run_sgd, train_to_minimum
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.provenance import input_hash
from fracsde.recording import Every, Projection, Recorder
from fracsde.records.store import open_run
from fracsde.transients import relaxation_rates

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fracsde._typing import FloatArray

__all__ = ["Plan", "record_network"]

BLOCKS = 50  # parts of a run after which its state is kept
RATE = 0.1  # of the inverse of the largest curvature, where no learning rate is named
RELAXATIONS = 1000.0  # of the slowest recorded direction, where no length is named
USUAL = 0.05  # tolerance of a comparison where none is named
LARGEST = 4000  # parameters whose matrices are kept


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the caller asked for; None is chosen from the curvature."""

    learning_rate: float | None
    batch_size: int
    momentum: float
    sampling: str
    chains: int
    steps: int | None
    every: int | None
    directions: int
    seed: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _Course:
    """A plan without gaps, and where it takes place."""

    network: Network
    minimum: FloatArray
    hessian: FloatArray
    directions: FloatArray  # (P, k)
    plan: Plan
    learning_rate: float
    steps: int
    every: int
    slowest: float  # relaxation rate [1/step]

    @property
    def effective(self) -> float:
        """Independent squares that the slowest variance averages: those of one chain times chains.

        Squares forget at twice the rate of what is squared, and their integrated time is its
        inverse.
        """
        return self.plan.chains * self.steps * min(1.0, self.slowest)


def record_network(
    path: Path,
    network: Network,
    plan: Plan,
    *,
    resume: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> str:
    """Record replicas of SGD near a minimum, or go on with what was recorded.

    Parameters
    ----------
    path : Path
        Folder of the run.
    network : Network
        Network and data.
    plan : Plan
        How to train.
    resume : bool
        Whether to go on with a run that exists.
    progress : callable, optional
        Called as ``progress(what, done)``, ``done`` in [0, 1].

    Returns
    -------
    str
        What was done, in one sentence.

    Raises
    ------
    RecordError
        If the run exists and is not to be resumed, or was recorded otherwise.
    DiagnosticsError
        If replicas diverge.
    """
    say = progress or (lambda what, done: None)
    _refuse(path, network, plan, resume=resume)
    metadata = _metadata(network, plan)
    before = _before(path, metadata, resume=resume)
    say("training to the minimum", 0.0)
    course = _course(network, plan, say)
    state = before if before is not None else _start(course)
    done, w, v = int(state["step"]), state["positions"], state["velocities"]
    if done >= course.steps:
        return f"Nothing to do: {path} holds {done} steps of {plan.chains} chains."
    with ExitStack() as stack:
        recorders = [
            stack.enter_context(_recorder(path, course, metadata, chain, resume, before))
            for chain in range(plan.chains)
        ]
        if before is None:
            _begin(recorders, course, state)
        block = course.every * max(1, ceil(course.steps / course.every / BLOCKS))
        while done < course.steps:
            count = min(block, course.steps - done)
            w, v = _advance(recorders, course, (w, v), done, count, say)
            done += count
            recorders[0].attach("state", positions=w, velocities=v, step=np.array(done))
    return (
        f"Recorded {plan.chains} chains of {course.steps} steps, every {course.every}, learning "
        f"rate {course.learning_rate:g}: {path}\n{_enough(course.effective)}"
    )


def _enough(draws: float) -> str:
    needed = samples_to_decide(0.0, tolerance=USUAL)
    says = "can decide" if draws >= needed else "will hardly decide"
    return (
        f"The slowest direction holds about {draws:.0f} effective draws, which {says} a variance "
        f"within {100 * USUAL:g} %: {needed} are needed where the theory is exact."
    )


def _metadata(network: Network, plan: Plan) -> dict[str, Any]:
    settings = asdict(plan)
    del settings["steps"]  # a run may be made longer
    settings["network"] = {
        "hidden": list(network.hidden),
        "activation": network.activation,
        "objective": network.objective,
        "weight_decay": network.weight_decay,
        "data": input_hash(network.inputs, network.targets),
    }
    return {"recorded_by": "fracsde record", "settings": settings}


def _before(path: Path, metadata: dict[str, Any], *, resume: bool) -> dict[str, Any] | None:
    """Return the state of a run that is to go on; None where it begins."""
    if not resume or not path.exists():
        return None
    run = open_run(path)
    found = run.metadata.get("settings")
    if run.metadata.get("recorded_by") != "fracsde record" or not isinstance(found, dict):
        msg = f"{path} was not recorded by `fracsde record` and cannot be resumed by it"
        raise RecordError(msg)
    wanted = metadata["settings"]
    other = [name for name in wanted if found.get(name) != wanted[name]]
    if other:
        changes = "; ".join(f"{n}: {found.get(n)!r} then, {wanted[n]!r} now" for n in other)
        msg = f"{path} was recorded with other settings ({changes}); give the same to resume it"
        raise RecordError(msg)
    if "state" not in run.attachments:
        return None
    return dict(run.attachment("state"))


def _refuse(path: Path, network: Network, plan: Plan, *, resume: bool) -> None:
    """Refuse what cannot be recorded, before the work that would show it."""
    if not resume and (path / "run.json").exists():
        msg = (
            f"{path} holds a run and nothing is overwritten; go on with it by --resume, or name "
            "another folder"
        )
        raise RecordError(msg)
    if path.exists() and not path.is_dir():
        msg = f"{path} is no folder; name one that does not exist yet"
        raise RecordError(msg)
    if network.parameters > LARGEST:
        msg = (
            f"`fracsde record` keeps dense matrices, for up to {LARGEST} parameters; this network "
            f"has {network.parameters}: fewer hidden units, or record your own loop with Recorder"
        )
        raise InputError(msg)
    count, size = plan.directions, network.parameters
    if not 1 <= count <= size:
        msg = f"`directions` must lie between 1 and the {size} parameters, got {count}"
        raise InputError(msg)
    if plan.steps is not None and plan.steps < (plan.every or 1):
        msg = f"`steps` must be at least {plan.every}, the distance between rows, got {plan.steps}"
        raise InputError(msg)
    SGDNearMinimum(
        hessian=np.eye(1),
        gradient_noise=np.eye(1),
        learning_rate=1.0 if plan.learning_rate is None else plan.learning_rate,
        batch_size=plan.batch_size,
        momentum=plan.momentum,
        sampling=plan.sampling,
        dataset_size=network.examples,
    )  # refuses settings that are none


def _course(network: Network, plan: Plan, say: Callable[[str, float], None]) -> _Course:
    start = network.initial_parameters(np.random.default_rng([plan.seed, 0]))
    minimum = train_to_minimum(
        network, start, progress=lambda *_: say("training to the minimum", 0.0)
    ).parameters
    hessian = network.hessian(minimum)
    count, size = plan.directions, network.parameters
    curvatures, vectors = eigh(hessian, subset_by_index=[size - count, size - 1])
    stiffest = float(curvatures[-1])
    if not curvatures[0] > 1e-9 * stiffest:
        msg = (
            f"the minimum is flat along some of the {count} stiffest directions (curvature "
            f"{curvatures[0]:.3g} beside {stiffest:.3g}); record fewer directions, or add weight "
            "decay"
        )
        raise InputError(msg)
    rate = RATE / stiffest if plan.learning_rate is None else plan.learning_rate
    modes = SGDNearMinimum(
        hessian=np.diag(curvatures),
        gradient_noise=np.eye(count),
        learning_rate=rate,
        batch_size=1,
        momentum=plan.momentum,
    )
    rates = relaxation_rates(modes.map()).real
    if not rates.min() > 0.0:
        msg = (
            f"`learning_rate` must lie below {modes.critical_learning_rate():.4g}, where the "
            f"iteration stops converging, got {rate:g}"
        )
        raise InputError(msg)
    every = plan.every or 1
    steps = plan.steps or every * ceil(RELAXATIONS / float(rates.min()) / every)
    return _Course(
        network=network,
        minimum=minimum,
        hessian=hessian,
        directions=np.ascontiguousarray(vectors[:, ::-1]),
        plan=plan,
        learning_rate=rate,
        steps=steps - steps % every,
        every=every,
        slowest=float(rates.min()),
    )


def _start(course: _Course) -> dict[str, Any]:
    w = np.tile(course.minimum, (course.plan.chains, 1))
    return {"positions": w, "velocities": np.zeros_like(w), "step": 0}


def _recorder(
    path: Path,
    course: _Course,
    metadata: dict[str, Any],
    chain: int,
    resume: bool,
    before: dict[str, Any] | None,
) -> Recorder:
    plan, network = course.plan, course.network
    training = {
        "optimizer": "SGD",
        "learning_rate": course.learning_rate,
        "momentum": plan.momentum,
        "batch_size": plan.batch_size,
        "dataset_size": network.examples,
        "sampling": plan.sampling,
        "weight_decay": 0.0,  # that of the network is part of its loss
    }
    return Recorder(
        path,
        parameters=network.parameters,
        observe=Projection(course.directions),
        schedule=Every(course.every),
        chain=chain,
        metadata=metadata | {"training": training},
        dtype="float64",
        resume=resume,
        rewind_to=(-1 if before is None else int(before["step"])) if resume else None,
        labels=[f"e{i + 1}" for i in range(plan.directions)],
    )


def _begin(recorders: list[Recorder], course: _Course, state: dict[str, Any]) -> None:
    point = course.minimum
    recorders[0].attach(
        "curvature",
        hessian=course.hessian,
        gradient_noise=course.network.gradient_noise(point),
        minimum=point,
    )
    recorders[0].attach("state", **{name: np.asarray(value) for name, value in state.items()})
    for recorder in recorders:
        recorder.record(0, point)


def _advance(
    recorders: list[Recorder],
    course: _Course,
    state: tuple[FloatArray, FloatArray],
    done: int,
    count: int,
    say: Callable[[str, float], None],
) -> tuple[FloatArray, FloatArray]:
    """Take some steps and record them; return weights and velocities after them."""
    plan = course.plan
    try:
        run = run_sgd(
            course.network,
            state[0],
            start_velocity=state[1],
            learning_rate=course.learning_rate,
            batch_size=plan.batch_size,
            momentum=plan.momentum,
            sampling=plan.sampling,
            seed=plan.seed,
            steps=count,
            first_step=done,
            directions=course.directions,
            project_every=course.every,
            progress=lambda now, _: say("recording", (done + now) / course.steps),
        )
    except ComputationError as error:
        msg = f"{error.detail}  What was recorded before step {done} stays on disk"
        raise DiagnosticsError(msg) from error
    assert run.projections is not None  # blocks hold whole multiples of `every`
    fresh = run.projections.times > 0  # step 0 was recorded
    times = run.projections.times[fresh].astype(np.int64)
    for recorder, rows in zip(recorders, run.projections.values[:, fresh], strict=True):
        recorder.record_block(times, rows)
    return run.final_positions, run.final_velocities

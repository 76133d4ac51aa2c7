r"""Recording a PyTorch run from inside its optimiser; the training loop stays as it is.

Hooks before and after :meth:`torch.optim.Optimizer.step` see the weights on both sides of it,

.. math::
    w_{t-1},\; g_{t-1} \;\longrightarrow\; w_t, \qquad
    \text{row } t:\quad U^{\mathsf T} w_t,\;\; |g_{t-1}|^2,\;\; w_{t-1} \cdot g_{t-1},\;\; \dots

A step is a step of the optimiser, however many batches were accumulated for it; one that a
gradient scaler skips is none.  ``g`` is ``.grad`` as the optimiser finds it: clipped, unscaled, and
without the weight decay that the optimiser adds itself, which ``weight_norm_squared`` allows to be
put in.  Where the optimiser evaluates a closure, ``g`` and the loss are those of its first
evaluation.

======================== =============================================================
stream                   of row ``t``
======================== =============================================================
weights                  kept of the weights after ``t`` steps
gradients                the same of the gradient of step ``t`` (``gradients=True``)
gradient_norm_squared    :math:`|g_{t-1}|^2`, all parameters
weight_dot_gradient      :math:`w_{t-1} \cdot g_{t-1}`, all parameters
weight_norm_squared      :math:`|w_{t-1}|^2`, all parameters
velocity_norm_squared    :math:`|v_t|^2`, where there is momentum
learning_rate            of step ``t``, one per parameter group
loss                     what :meth:`TorchRecorder.note_loss` or the closure told
batch_size               examples of step ``t``, where no batch size was given
======================== =============================================================

Row 0 is the start and has the weights alone.
"""

from __future__ import annotations

import math
import os
import warnings
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fracsde._check import choice, integer, truth
from fracsde.errors import FileWriteError, InputError, RecordError
from fracsde.recording._folder import bind_stored, place_of_run
from fracsde.recording.observe import Full, Projection, RandomProjection
from fracsde.recording.recorder import Recorder
from fracsde.recording.schedule import Every
from fracsde.recording.torch.parameters import trained_parameters
from fracsde.recording.torch.reading import Moved, reader_for
from fracsde.recording.torch.settings import SAMPLING, drawing_of, settings_of
from fracsde.recording.torch.watching import BatchWatch
from fracsde.records.store import RunStatus, Stream, open_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from fracsde._typing import ArrayLike
    from fracsde.recording.observe import Observe
    from fracsde.recording.schedule import Schedule
    from fracsde.recording.torch.parameters import TrainedParameters
    from fracsde.records.store import StoredRun

__all__ = ["TorchRecorder", "record"]

_FEW = 1000  # parameters that are all kept unless something else is asked for
_PRODUCTS = ("weight_dot_gradient", "gradient_norm_squared", "weight_norm_squared")


class TorchRecorder:
    """A recording that is attached to an optimiser; made by :func:`record`.

    Used as a context it is closed at the end, as complete if no exception passed.  What is not
    closed by the end of the program is on disk all the same, as a run that may go on.
    """

    def __init__(
        self,
        recorder: Recorder,
        model: Any,
        optimizer: Any,
        parameters: TrainedParameters,
        *,
        kept: tuple[str, ...],
        dtype: str,
        step: int,
        training: dict[str, Any],
        counting: bool,
        on_divergence: str,
        on_write_error: str,
    ) -> None:
        self._recorder, self._parameters, self._kept = recorder, parameters, kept
        self._dtype, self._step, self._training = dtype, step, training
        self._on_divergence, self._on_write_error = on_divergence, on_write_error
        self._reader = reader_for(parameters, recorder.bound, dtype)
        self._due = self._skipped = self._diverged = self._closed = False
        self._groups = len(optimizer.param_groups)
        self._before: dict[str, Any] = {}
        self._seen = False
        self._loss: Any = None
        self._first = step == 0 and recorder.next_step == 0
        self._watch = BatchWatch() if counting else None
        self._handles = [
            optimizer.register_step_pre_hook(self._enter),
            optimizer.register_step_post_hook(self._leave),
        ]
        if self._watch is not None:
            handle = model.register_forward_pre_hook(self._watch, with_kwargs=True)
            self._handles.append(handle)
        self._end = weakref.finalize(self, _abandon, recorder, os.getpid(), self._handles)

    @property
    def path(self) -> Path:
        """Folder of the run."""
        return self._recorder.path

    @property
    def step(self) -> int:
        """Number of steps that the optimiser has made; keep it in checkpoints."""
        return self._step

    @property
    def recorder(self) -> Recorder:
        """The recorder of the run, for instance to attach arrays to it."""
        return self._recorder

    def note_loss(self, loss: Any) -> None:
        """Tell the loss of the batch, before the optimiser's step.

        Parameters
        ----------
        loss : torch.Tensor or float
            One number; a tensor is not read before the row is written.

        Raises
        ------
        InputError
            If it is more than one number.
        """
        if isinstance(loss, torch.Tensor) and loss.numel() != 1:
            msg = f"`loss` must be one number, got shape {tuple(loss.shape)}; average it first"
            raise InputError(msg)
        self._loss = loss.detach().reshape(()) if isinstance(loss, torch.Tensor) else float(loss)

    def attach(self, name: str, **arrays: ArrayLike) -> None:
        """Keep arrays beside the run, such as its curvature.

        Parameters
        ----------
        name : str
            What they are.
        **arrays : array_like
            The arrays.
        """
        self._recorder.attach(name, **arrays)

    def close(self, status: RunStatus = RunStatus.CLOSED) -> None:
        """Detach from the optimiser and end the recording; a second call does nothing.

        Parameters
        ----------
        status : RunStatus
            ``CLOSED`` where the chain is complete; ``RECORDING`` where it will be resumed.
        """
        if self._closed:
            return
        self._detach()
        self._recorder.close(status)
        self._end.detach()

    def __enter__(self) -> TorchRecorder:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self._closed:
            return
        self._detach()
        self._recorder.__exit__(kind, error, trace)
        self._end.detach()

    def _detach(self) -> None:
        self._closed = True
        for handle in self._handles:
            handle.remove()

    def _enter(self, optimizer: Any, args: Any, kwargs: Any) -> Any:
        """Look at weights and gradient before a step.

        Returns
        -------
        tuple or None
            Arguments of the step with a closure that is watched, where there is one.
        """
        if self._closed:
            return None
        if self._first:
            self._first = False
            self._write(0, {})
        found = getattr(optimizer, "found_inf", None)
        self._skipped = found is not None and bool(found)
        self._due = not self._skipped and self._recorder.due(self._step + 1)
        self._before = {}
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            if self._due:
                self._look(optimizer)
            return None
        watched = self._watched(optimizer, closure)
        if len(args) > 1:
            return (args[0], watched, *args[2:]), kwargs
        return args, {**kwargs, "closure": watched}

    def _watched(self, optimizer: Any, closure: Callable[[], Any]) -> Callable[[], Any]:
        first = True

        def watched() -> Any:
            nonlocal first
            loss = closure()
            if first and self._due:
                if loss is not None:
                    self.note_loss(loss)
                self._look(optimizer)
            first = False
            return loss

        return watched

    def _look(self, optimizer: Any) -> None:
        try:
            weights = self._reader.weights()
        except Moved:
            self._reader = reader_for(self._parameters, self._recorder.bound, self._dtype)
            weights = self._reader.weights()
        scale = getattr(optimizer, "grad_scale", None)
        inverse = 1.0 if scale is None else 1.0 / float(scale)
        before: dict[str, Any] = {}
        if {"gradients", *_PRODUCTS} & set(self._kept):
            gradients = self._reader.gradients()
        if "gradients" in self._kept:
            observed = self._reader.observe(gradients)
            before["gradients"] = observed * inverse  # a copy: the reader goes on using its own
        if "gradient_norm_squared" in self._kept:
            products = self._reader.products(weights, gradients)
            powers = (inverse, inverse**2, 1.0)
            for name, value, power in zip(_PRODUCTS, products, powers, strict=True):
                before[name] = value if scale is None else value * power
        if "learning_rate" in self._kept:
            rates = [float(g["lr"]) for g in optimizer.param_groups[: self._groups]]
            before["learning_rate"] = rates if self._groups > 1 else rates[0]
        self._before = before

    def _leave(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """Write the row of a step that was made."""
        if self._closed:
            return
        loss, self._loss = self._loss, None
        rows = 0 if self._watch is None else self._watch.taken()
        if self._skipped:
            return
        self._step += 1
        if rows:
            self._learn(rows)
        if not self._due:
            return
        values = self._before
        if loss is not None and "loss" in self._kept:
            values["loss"] = loss
        if rows and "batch_size" in self._kept:
            values["batch_size"] = rows
        if "velocity_norm_squared" in self._kept:
            buffers = [
                optimizer.state[p].get("momentum_buffer")
                for p in self._parameters.tensors
                if p in optimizer.state
            ]
            found = [buffer for buffer in buffers if buffer is not None]
            values["velocity_norm_squared"] = self._reader.squares(found)
        self._write(self._step, values)

    def _write(self, step: int, values: dict[str, Any]) -> None:
        """Fetch what is elsewhere and write a row; training goes on whatever happens to it.

        Raises
        ------
        FileWriteError
            If the row cannot be written and ``on_write_error`` is ``"raise"``; the recorder is
            detached before.
        """
        try:
            weights = self._reader.weights()
        except Moved:
            self._reader = reader_for(self._parameters, self._recorder.bound, self._dtype)
            weights = self._reader.weights()
        away = [name for name, value in values.items() if isinstance(value, torch.Tensor)]
        observed, *fetched = self._reader.fetch(
            self._reader.observe(weights), *(values[name] for name in away)
        )
        values.update(zip(away, fetched, strict=True))
        try:
            self._recorder.record_observed(step, observed, **values)
        except FileWriteError as error:
            self._detach()
            if self._on_write_error == "raise":
                raise
            warnings.warn(f"recording stopped at step {step}: {error}", stacklevel=4)
            return
        norm = values.get("gradient_norm_squared", 0.0)
        if not self._diverged and not (math.isfinite(norm) and np.isfinite(observed).all()):
            self._diverged = True
            self._tell(step)

    def _tell(self, step: int) -> None:
        stops = self._on_divergence == "stop"
        message = (
            f"the run diverged: weights or gradient of step {step} are not finite; "
            f"{'recording has stopped' if stops else 'recording goes on'}, in {self.path}"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=5)
        if stops:
            self.close()

    def _learn(self, rows: int) -> None:
        """Note the size of the first batch, and that sizes vary where they do."""
        known = self._training.get("batch_size")
        if rows == known or self._training.get("batch_size_varies"):
            self._seen = True
            return
        self._training |= {"batch_size_varies": True} if self._seen else {"batch_size": rows}
        self._seen = True
        self._recorder.update_metadata({"training": self._training})


def record(
    model: Any,
    optimizer: Any,
    path: str | os.PathLike[str],
    *,
    observe: Observe | None = None,
    schedule: Schedule | None = None,
    gradients: bool = False,
    scalars: bool = True,
    chain: int = 0,
    metadata: Mapping[str, Any] | None = None,
    chain_metadata: Mapping[str, Any] | None = None,
    loader: Any = None,
    batch_size: int | None = None,
    dataset_size: int | None = None,
    sampling: str = "unknown",
    resume: bool | int = False,
    on_divergence: str = "record",
    on_write_error: str = "raise",
) -> TorchRecorder:
    """Record a training run; call it once, after model and optimiser are made or loaded.

    Parameters
    ----------
    model : torch.nn.Module
        The model; wrapped by ``torch.compile``, ``DataParallel`` or ``DistributedDataParallel`` if
        you like (of several processes let one record, and give ``batch_size`` of all together).
    optimizer : torch.optim.Optimizer
        Its optimiser.  What is recorded are the parameters that it moves, see
        ``metadata["model"]`` of the run; frozen ones are left out.
    path : path-like
        Folder of the run.
    observe : Observe, optional
        What to keep of the weights.  By default all of up to 1000 parameters, of more 32 disjoint
        random projections; :class:`~fracsde.recording.Projection` on eigenvectors of the Hessian
        is what theory speaks about most directly.
    schedule : Schedule, optional
        Which steps are recorded, by default every one.
    gradients : bool
        Whether to keep the gradient of the batch, observed as the weights are.
    scalars : bool
        Whether to keep the inner products, the learning rate and the loss of the table above.
    chain : int
        Number of the run among replicas of one training, which share the folder.
    metadata, chain_metadata : mapping, optional
        Facts about the run, and about this chain alone, such as its seed.  Entries of
        ``metadata["training"]`` take the place of what is read from the optimiser.
    loader : torch.utils.data.DataLoader, optional
        Tells ``sampling`` and ``dataset_size``.
    batch_size : int, optional
        Examples per step.  By default the rows that went through the model are counted, and kept
        as a stream.
    dataset_size : int, optional
        Number of examples.
    sampling : {"with_replacement", "without_replacement", "shuffled", "unknown"}
        How batches are drawn.
    resume : bool or int
        ``True`` goes on after the last recorded step, where the model must be; a number is the
        step of the checkpoint that was loaded, and gives up what was recorded later.
    on_divergence : {"record", "stop"}
        Whether to go on recording after a number that is not finite.  Training goes on anyway.
    on_write_error : {"raise", "warn"}
        What happens when a row cannot be written, on a full disk, say: the error is raised out of
        the optimiser's step, which has been made, or becomes a warning.  Either way recording
        ends, rows written before are safe, and training can go on.

    Returns
    -------
    TorchRecorder

    Raises
    ------
    InputError
        If arguments do not fit one another.
    RecordError
        If the chain exists and is not resumed, the run was recorded otherwise, or a resumed model
        is not where the record says.

    Notes
    -----
    Numbers are kept in double precision where a parameter is, else in single; shorter ones are
    computed with in single.  On the host a row costs some forty microseconds and two passes over the
    weights, see :doc:`/benchmarks`; dense projections cost ``k`` passes.  On another device a row
    is one transfer, and steps that are not due cost nothing, except under a gradient scaler with a
    fused optimiser, where every step waits to learn whether it was skipped.

    Examples
    --------
    >>> import tempfile, torch, fracsde as fs
    >>> model = torch.nn.Linear(3, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> with record(model, optimizer, tempfile.mkdtemp() + "/run") as recorder:
    ...     for step in range(5):
    ...         optimizer.zero_grad()
    ...         model(torch.ones(8, 3)).square().mean().backward()
    ...         optimizer.step()
    >>> run = fs.open_run(recorder.path)
    >>> run.trajectory().values.shape, run.metadata["training"]["batch_size"]
    ((1, 6, 4), 8)
    """
    for name, value in (("gradients", gradients), ("scalars", scalars)):
        truth(name, value)
    choice("on_divergence", on_divergence, ("record", "stop"))
    choice("on_write_error", on_write_error, ("raise", "warn"))
    parameters = trained_parameters(model, optimizer)
    dtype = "float64" if parameters.wide else "float32"
    if observe is None:
        few = parameters.count <= _FEW
        observe = Full() if few else RandomProjection(32, form="disjoint")
    stored = _stored(path)
    step, rewind_to = _resumed(stored, chain, resume, parameters, observe, dtype)
    if batch_size is not None:
        batch_size = integer("batch_size", batch_size, low=1)
    training = settings_of(optimizer) | ({} if loader is None else drawing_of(loader))
    training |= _given(batch_size, dataset_size, sampling, training)
    facts = dict(metadata or {})
    training |= dict(facts.get("training", {}))
    known = {} if stored is None else dict(stored.metadata.get("training", {}))
    if resume is not False:
        training |= known  # a schedule has changed the learning rate since
    elif batch_size is None and "batch_size" in known:
        training |= {k: v for k, v in known.items() if k.startswith("batch_size")}
    facts["training"] = training
    facts["model"] = {"class": type(model).__name__, **parameters.described()}
    streams = _streams(optimizer, gradients, scalars, width=_width(observe, parameters.count))
    if scalars and batch_size is None:
        streams["batch_size"] = Stream("batch_size", 1, "float64", "example")
    recorder = Recorder(
        path,
        parameters=parameters.count,
        observe=observe,
        dtype=dtype,
        schedule=Every(1) if schedule is None else schedule,
        streams=streams,
        chain=chain,
        metadata=facts,
        chain_metadata=chain_metadata,
        resume=resume is not False,
        rewind_to=rewind_to,
    )
    return TorchRecorder(
        recorder,
        model,
        optimizer,
        parameters,
        kept=tuple(streams),
        dtype=dtype,
        step=step,
        training=training,
        counting=batch_size is None,
        on_divergence=on_divergence,
        on_write_error=on_write_error,
    )


def _stored(path: str | os.PathLike[str]) -> StoredRun | None:
    place = place_of_run(path)
    return open_run(place) if (place / "run.json").exists() else None


def _given(
    batch_size: int | None, dataset_size: int | None, sampling: str, found: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the caller says of the batches, which counts more than what was found.

    Returns
    -------
    dict
    """
    given: dict[str, Any] = {}
    if batch_size is not None:
        given["batch_size"] = batch_size
    if dataset_size is not None:
        given["dataset_size"] = integer("dataset_size", dataset_size, low=1)
    if choice("sampling", sampling, SAMPLING) != "unknown" or "sampling" not in found:
        given["sampling"] = sampling
    return given


def _width(observe: Observe, parameters: int) -> int:
    """Return how many numbers are kept, without making directions.

    Returns
    -------
    int
    """
    if isinstance(observe, RandomProjection):
        return observe.k
    if isinstance(observe, Projection):
        return int(np.shape(observe.directions)[1])
    return observe.bind(parameters, "float32").width


def _streams(optimizer: Any, gradients: bool, scalars: bool, *, width: int) -> dict[str, Any]:
    streams: dict[str, Any] = {"gradients": width} if gradients else {}
    if not scalars:
        return streams
    streams |= {"gradient_norm_squared": 1, "weight_dot_gradient": 1}
    streams["weight_norm_squared"] = Stream("weight_norm_squared", 1, "float64", "weight**2")
    if any(group.get("momentum") for group in optimizer.param_groups):
        streams["velocity_norm_squared"] = 1
    groups = len(optimizer.param_groups)
    names = tuple(f"group {g}" for g in range(groups)) if groups > 1 else ()
    rates = Stream("learning_rate", groups, "float64", "weight**2/loss", names)
    return streams | {"learning_rate": rates, "loss": 1}


def _resumed(
    stored: StoredRun | None,
    chain: int,
    resume: bool | int,
    parameters: TrainedParameters,
    observe: Observe,
    dtype: str,
) -> tuple[int, int | None]:
    """Return the step of the model and the step to rewind to; the model must be where it was.

    Returns
    -------
    (int, int or None)

    Raises
    ------
    RecordError
        If a recorded step has other weights than the model.
    """
    if resume is False:
        return 0, None
    asked = None if resume is True else integer("resume", resume, low=0)
    recorded = stored is not None and chain in stored.chains and len(stored.steps(chain)) > 0
    if stored is None or not recorded:
        return asked or 0, None
    steps = stored.steps(chain)
    step = int(steps[-1]) if asked is None else asked
    row = int(np.searchsorted(steps, step))
    if row < len(steps) and steps[row] == step:
        bound = bind_stored(stored.path, observe, parameters.count, dtype)
        reader = reader_for(parameters, bound, dtype)
        here = np.asarray(reader.fetch(reader.observe(reader.weights()))[0], dtype=np.float64)
        there = np.asarray(stored.array("weights", chain)[row], dtype=np.float64)
        width = 64 * np.finfo(dtype).eps * float(np.abs(there).max())
        if here.shape == there.shape and float(np.abs(here - there).max()) > width:
            msg = (
                f"the model is not where chain {chain} of {stored.path} was after step {step}: "
                f"observed weights differ by up to {np.abs(here - there).max():.3g}; load the "
                "checkpoint before `record`, and pass its step as `resume`"
            )
            raise RecordError(msg)
    return step, asked


def _abandon(recorder: Recorder, process: int, handles: list[Any]) -> None:
    """Leave a run that nobody closed as one that may go on."""
    for handle in handles:
        handle.remove()
    if os.getpid() == process:
        with suppress(FileWriteError):
            recorder.close(RunStatus.RECORDING)

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

import os
import warnings
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fracsde._check import choice, integer, truth
from fracsde.errors import FileWriteError, InputError, RecordError
from fracsde.recording._folder import bind_stored, place_of_run
from fracsde.recording.observe import Full, Observe, Projection, RandomProjection
from fracsde.recording.recorder import Recorder
from fracsde.recording.schedule import Every
from fracsde.recording.torch.parameters import trained_parameters
from fracsde.recording.torch.reading import TensorReader, Unsuited, reader_for
from fracsde.recording.torch.rows import Rows
from fracsde.recording.torch.settings import SAMPLING, drawing_of, settings_of
from fracsde.recording.torch.watching import BatchWatch
from fracsde.records.store import RunStatus, Stream, open_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fracsde._typing import ArrayLike
    from fracsde.recording.schedule import Schedule
    from fracsde.recording.torch.parameters import TrainedParameters
    from fracsde.records.store import StoredRun

__all__ = ["TorchRecorder", "record"]

_FEW = 1000  # parameters that are all kept unless something else is asked for


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
        self._recorder, self._parameters, self._dtype = recorder, parameters, dtype
        self._step, self._training, self._seen = step, training, False
        self._stops, self._raises = on_divergence == "stop", on_write_error == "raise"
        self._gradients, self._scalars = "gradients" in kept, "gradient_norm_squared" in kept
        self._velocity, self._counted = "velocity_norm_squared" in kept, "batch_size" in kept
        self._due = self._skipped = self._diverged = self._closed = self._grown = False
        self._groups = len(optimizer.param_groups)
        self._before: dict[str, Any] = {}
        self._loss: Any = None
        self._first = step == 0 and recorder.next_step == 0
        reader = reader_for(parameters, recorder.bound, dtype)
        self._rows = Rows(recorder, reader, recorder.bound.width, kept)
        self._watch = BatchWatch() if counting else None
        self._handles = [
            optimizer.register_step_pre_hook(self._enter),
            optimizer.register_step_post_hook(self._leave),
        ]
        if self._watch is not None:
            handle = model.register_forward_pre_hook(self._watch, with_kwargs=True)
            self._handles.append(handle)
        self._end = weakref.finalize(self, _abandon, self._rows, os.getpid(), self._handles)

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

    def flush(self) -> None:
        """Write the rows that wait, at most those of the last second."""
        if not self._closed:
            self._write()

    def close(self, status: RunStatus = RunStatus.CLOSED) -> None:
        """Detach from the optimiser and end the recording; a second call does nothing.

        Parameters
        ----------
        status : RunStatus
            ``CLOSED`` where the chain is complete; ``RECORDING`` where it will be resumed.

        Raises
        ------
        FileWriteError
            If the last rows cannot be written.
        """
        if self._closed:
            return
        self._detach()
        try:
            bad = self._rows.write()
        except FileWriteError as error:
            self._recorder.__exit__(type(error), error, None)
            raise
        self._recorder.close(status)
        if bad is not None and not self._diverged:
            self._tell(bad)

    def __enter__(self) -> TorchRecorder:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.close(RunStatus.CLOSED if error is None else RunStatus.RECORDING)

    def _detach(self) -> None:
        self._closed = True
        self._end.detach()
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
            if self._recorder.due(0):
                self._rows.add(0, {"weights": self._read("observe")})
        found = optimizer.__dict__.get("found_inf")
        self._skipped = found is not None and bool(found)
        self._due = not self._skipped and self._recorder.due(self._step + 1)
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            if self._due:
                self._before = self._look(optimizer)
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
                self._before = self._look(optimizer)
            first = False
            return loss

        return watched

    def _read(self, what: str, *args: Any) -> Any:
        """Ask the reader; where tensors have changed take one that reads them all.

        Returns
        -------
        object
        """
        reader = self._rows.reader
        try:
            return reader.keep(getattr(reader, what)(*args))
        except Unsuited:
            self._write()
            reader = TensorReader(self._parameters, self._recorder.bound, self._dtype)
            self._rows.reader = reader
            return getattr(reader, what)(*args)

    def _look(self, optimizer: Any) -> dict[str, Any]:
        before: dict[str, Any] = {}
        if len(optimizer.param_groups) > self._groups and not self._grown:
            self._grown = True
            message = (
                "parameters were added to the optimiser after recording began: they are not "
                f"recorded, in {self.path}"
            )
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        if self._scalars:
            rates = [group["lr"] for group in optimizer.param_groups[: self._groups]]
            before["learning_rate"] = [float(rate) for rate in rates]
        if not self._scalars and not self._gradients:
            return before
        gradients = [p.grad for p in self._parameters.tensors]
        if self._scalars:
            before["products"] = self._read("products", gradients)
        if self._gradients:
            before["gradients"] = self._read("observe", gradients)
        scale = optimizer.__dict__.get("grad_scale")
        if scale is not None:  # a fused optimiser unscales inside its step
            inverse = 1.0 / float(scale)
            for name in {"products", "gradients"} & set(before):
                before[name] = before[name] * inverse
            if self._scalars:
                before["products"][1] *= inverse
                before["products"][2] /= inverse
        return before

    def _leave(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """Put down the row of a step that was made."""
        if self._closed:
            return
        loss, self._loss = self._loss, None
        counted = 0 if self._watch is None else self._watch.taken()
        if self._skipped:
            return
        self._step += 1
        if counted:
            self._learn(counted)
        if not self._due:
            return
        row, self._before = self._before, {}
        row["weights"] = self._read("observe")
        if self._velocity:
            state = optimizer.state
            buffers = [
                state[p].get("momentum_buffer") if p in state else None
                for p in self._parameters.tensors
            ]
            row["velocity_norm_squared"] = self._read("squares", buffers)
        if loss is not None and self._scalars:
            row["loss"] = loss
        if counted and self._counted:
            row["batch_size"] = counted
        if not self._closed and self._rows.add(self._step, row):
            self._write()

    def _write(self) -> None:
        """Write what waits; training goes on whatever happens to it.

        Raises
        ------
        FileWriteError
            If rows cannot be written and ``on_write_error`` is ``"raise"``; the recorder is
            detached before.
        """
        try:
            bad = self._rows.write()
        except FileWriteError as error:
            self._detach()
            self._recorder.__exit__(type(error), error, None)  # as a run that may go on
            if self._raises:
                raise
            warnings.warn(f"recording stopped: {error}", RuntimeWarning, stacklevel=2)
            return
        if bad is not None and not self._diverged:
            self._tell(bad)
            if self._stops:
                self.close()

    def _tell(self, step: int) -> None:
        self._diverged = True
        message = (
            f"the run diverged: weights or gradient of step {step} are not finite; "
            f"recording {'has stopped' if self._stops else 'goes on'}, in {self.path}"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=2)

    def _learn(self, counted: int) -> None:
        """Note the size of the first batch, and that sizes vary where they do."""
        if counted != self._training.get("batch_size"):
            if self._training.get("batch_size_varies"):
                return
            fact = {"batch_size_varies": True} if self._seen else {"batch_size": counted}
            self._training |= fact
            self._recorder.update_metadata({"training": self._training})
        self._seen = True


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
    computed with in single.  On the host a row costs some microseconds and two passes over the
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
    observe = _observe(observe, parameters.count)
    stored = _stored(path)
    step, rewind_to = _resumed(stored, chain, resume, parameters, observe, dtype)
    if batch_size is not None:
        batch_size = integer("batch_size", batch_size, low=1)
    training = settings_of(optimizer) | ({} if loader is None else drawing_of(loader))
    training |= _given(batch_size, dataset_size, sampling, training)
    facts = _mapping("metadata", metadata)
    training |= _mapping("metadata['training']", facts.get("training"))
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


def _observe(asked: Any, parameters: int) -> Observe:
    if asked is None:
        return Full() if parameters <= _FEW else RandomProjection(32, form="disjoint")
    if not isinstance(asked, Observe):
        msg = f"`observe` must be a value such as Full(), got {type(asked).__name__}"
        raise InputError(msg)
    return asked


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        msg = f"`{name}` must be a mapping, got {type(value).__name__}"
        raise InputError(msg)
    return dict(value or {})


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
        name = "velocity_norm_squared"  # of the buffers, which are sums of gradients
        streams[name] = Stream(name, 1, "float64", "(loss/weight)**2")
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
        here = np.asarray(reader.fetch([reader.observe()])[0], dtype=np.float64)
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


def _abandon(rows: Rows, process: int, handles: list[Any]) -> None:
    """Leave a run that nobody closed as one that may go on."""
    for handle in handles:
        handle.remove()
    if os.getpid() == process:
        with suppress(FileWriteError):
            rows.write()
            rows.recorder.close(RunStatus.RECORDING)

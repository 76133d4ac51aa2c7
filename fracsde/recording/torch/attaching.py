"""Making the recorder of a PyTorch run: what is kept, and what is noted of the training."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import choice, integer, truth
from fracsde.errors import InputError
from fracsde.recording.observe import Full, Observe, Projection, RandomProjection
from fracsde.recording.recorder import Recorder
from fracsde.recording.schedule import Every, Schedule
from fracsde.recording.torch.parameters import trained_parameters
from fracsde.recording.torch.recorder import TorchRecorder
from fracsde.recording.torch.resuming import resumed_at, stored_at
from fracsde.recording.torch.settings import SAMPLING, drawing_of, settings_of
from fracsde.records.store import Stream

if TYPE_CHECKING:
    import os

__all__ = ["record"]

_FEW = 1000  # parameters that are all kept unless something else is asked for


def record(
    model: Any,
    optimizer: Any,
    path: str | os.PathLike[str],
    *,
    observe: Observe | None = None,
    schedule: Schedule | None = None,
    gradients: bool = False,
    scalars: bool | Schedule = True,
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
        ``metadata["model"]`` of the run; frozen ones are left out.  One that takes its place in
        the loop is not watched, and a warning says so after a few batches: where it is made,
        close the recorder and record on with ``resume=True``.
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
    scalars : bool or Schedule
        Whether to keep the inner products, the learning rate and the loss of the table above.  A
        schedule says at which of the recorded steps the inner products are, for which weights,
        gradient and momentum are read once more: averages lose little by ``Every(10)``.
    chain : int
        Number of the run among replicas of one training, which share the folder.
    metadata, chain_metadata : mapping, optional
        Facts about the run, and about this chain alone, such as its seed.  Entries of
        ``metadata["training"]`` take the place of what is read from the optimiser.
    loader : torch.utils.data.DataLoader, optional
        Tells ``sampling`` and ``dataset_size``.
    batch_size : int, optional
        Examples per step.  By default the rows that went through the model since the last step are
        counted, and kept as a stream; of a closure those of its first evaluation.  Batches whose
        gradient was dropped, as a gradient scaler drops it, are not counted.  Pass it where you
        leave out batches before their backward pass, which count for the next step.
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
    computed with in single.  On the host a row costs some tens of microseconds, with a pass over
    the weights and, for scalars, two or three more, see :doc:`/benchmarks`; dense projections cost
    ``k`` passes.  On another device a row is one transfer, and steps that are not due cost nothing,
    except under a gradient scaler with a fused optimiser, where every step waits to learn whether
    it was skipped.

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
    truth("gradients", gradients)
    if not isinstance(scalars, Schedule):
        truth("scalars", scalars)
    choice("on_divergence", on_divergence, ("record", "stop"))
    choice("on_write_error", on_write_error, ("raise", "warn"))
    parameters = trained_parameters(model, optimizer)
    dtype = "float64" if parameters.wide else "float32"
    observe = _observe(observe, parameters.count)
    stored = stored_at(path)
    step, rewind_to = resumed_at(stored, chain, resume, parameters, observe, dtype)
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
    streams = _streams(optimizer, gradients, bool(scalars), width=_width(observe, parameters.count))
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
    if recorder.rows and step > 0:
        _warn_of_gap(recorder, step)
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
        scalars=scalars if isinstance(scalars, Schedule) else None,
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


def _warn_of_gap(recorder: Recorder, step: int) -> None:
    start = recorder.next_step
    lost = next((s for s in range(start, step + 1) if recorder.due(s)), None)
    if lost is not None:
        message = (
            f"the record of chain {recorder.chain} ends before the model: steps from {lost} to "
            f"{step} are missing, in {recorder.path}; load an older checkpoint to have them"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        msg = f"`{name}` must be a mapping, got {type(value).__name__}"
        raise InputError(msg)
    return dict(value or {})


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

r"""Recording a PyTorch run from inside its optimiser; the training loop stays as it is.

Hooks before and after :meth:`torch.optim.Optimizer.step` see the weights on both sides of it,

.. math::
    w_{t-1},\; g_{t-1} \;\longrightarrow\; w_t, \qquad
    \text{row } t:\quad U^{\mathsf T} w_t,\;\; |g_{t-1}|^2,\;\; w_{t-1} \cdot g_{t-1},\;\; \dots

A step is a step of the optimiser, however many batches were accumulated for it; one that a
gradient scaler skips is none.  ``g`` is ``.grad`` as the optimiser finds it: clipped, unscaled, and
without the weight decay that the optimiser adds itself, which ``weight_norm_squared`` allows to be
put in.  Where the optimiser evaluates a closure, ``g``, the loss and the batch size are those of
its first evaluation.

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
from typing import TYPE_CHECKING, Any

import torch

from fracsde.errors import FileWriteError, InputError, UnsupportedError
from fracsde.recording.schedule import Every
from fracsde.recording.torch._compiling import apart, compiling, watched
from fracsde.recording.torch.arrivals import EXAMPLES, PASSES, UNTRAINED, Arrivals, tally
from fracsde.recording.torch.reading import TensorReader, Unsuited, rates_of, reader_for, unscale
from fracsde.recording.torch.rows import Rows, abandon
from fracsde.recording.torch.telling import ANEW, reloaded, tell_divergence, tell_lost, unrecorded
from fracsde.recording.torch.watching import BatchSizes, BatchWatch
from fracsde.records.store import RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fracsde._typing import ArrayLike
    from fracsde.recording.recorder import Recorder
    from fracsde.recording.schedule import Schedule
    from fracsde.recording.torch.parameters import TrainedParameters

__all__ = ["TorchRecorder"]

_NOTHING = tally()


class TorchRecorder:
    """A recording that is attached to an optimiser; made by :func:`record`.

    Used as a context it is closed at the end, as complete if no exception passed.  What is not
    closed by the end of the program is on disk all the same, as a run that may go on.
    """

    __slots__ = (  # an attribute lies beside the others, and not in a dictionary
        "__weakref__", "_arrivals", "_ask", "_before", "_closed", "_count", "_counted",
        "_diverged", "_dtype", "_due", "_end", "_entering", "_first", "_gradients", "_groups",
        "_grown", "_handles", "_loss", "_lost", "_multiplied", "_optimizer", "_parameters",
        "_plain", "_process", "_raises", "_recorder", "_rows", "_scalars", "_sizes", "_skipped",
        "_step", "_stops", "_velocity", "_wanted",
    )  # fmt: skip

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
        scalars: Schedule | None,
        on_divergence: str,
        on_write_error: str,
    ) -> None:
        self._recorder, self._parameters, self._dtype = recorder, parameters, dtype
        self._step, self._sizes = step, BatchSizes(recorder, training)
        self._stops, self._raises = on_divergence == "stop", on_write_error == "raise"
        self._gradients, self._scalars = "gradients" in kept, "gradient_norm_squared" in kept
        self._velocity, self._counted = "velocity_norm_squared" in kept, "batch_size" in kept
        self._multiplied = None if scalars is None or scalars == Every(1) else scalars.due
        self._plain = not self._scalars and not self._gradients  # nothing to see before a step
        self._due = self._skipped = self._diverged = self._closed = self._grown = False
        self._groups, self._lost = len(optimizer.param_groups), False
        self._optimizer = weakref.ref(optimizer)  # which holds this recorder by its hooks
        self._before: dict[str, Any] = {}
        self._loss: Any = None
        self._first = step == 0 and recorder.next_step == 0
        self._wanted = None if recorder.schedule == Every(1) else recorder.schedule.due
        self._rows = Rows(recorder, recorder.bound.width, kept)
        self._rows.reader = reader_for(parameters, recorder.bound, dtype, self._rows.slots)
        self._count = tally()
        self._arrivals = Arrivals(parameters, self._count, unrecorded(self))
        watches = [BatchWatch(model, self._count, self._arrivals.look)] if counting else []
        self._entering: Any = optimizer.register_step_pre_hook(self._enter)
        leaving = optimizer.register_step_post_hook(self._leave)
        loading = optimizer.register_load_state_dict_post_hook(reloaded(self))
        self._handles = [self._entering, leaving, loading, *watches]
        self._process, self._ask = os.getpid(), True  # whether a plain step is asked about
        self._end = weakref.finalize(self, abandon, self._rows, self._process, self._handles)

    @property
    def path(self) -> Path:
        """Folder of the run."""
        return self._recorder.path

    @property
    def step(self) -> int:
        """Number of steps that the optimiser has made; keep it in checkpoints.

        Their rows are written when it is told, so that no checkpoint is ahead of the record.
        """
        self.flush()
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
            One number; a tensor on a device is not read before the row is written.  Without
            ``scalars`` it is not kept, and not looked at.

        Raises
        ------
        InputError
            If it is more than one number.
        """
        if not self._scalars:
            return  # it is not kept
        if not isinstance(loss, torch.Tensor):
            self._loss = float(loss)
            return
        try:  # on a device a copy: what is added to it in place later is no loss of this step
            self._loss = loss.item() if loss.is_cpu else loss.detach().reshape(()).clone()
        except RuntimeError as error:
            msg = f"`loss` must be one number, got shape {tuple(loss.shape)}; average it first"
            raise InputError(msg) from error

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
        """Write the rows that wait: when this returns, no death of the program loses them.

        In a process that was forked off it does nothing: the rows are the other one's.
        """
        if not self._closed and self._rows.count:
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
        if os.getpid() != self._process:
            return
        self._arrivals.end()
        try:
            bad = self._rows.write()
        except FileWriteError as error:
            self._recorder.__exit__(type(error), error, None)
            raise
        self._recorder.close(status)
        self._tell_lost()
        if bad is not None and not self._diverged:
            self._tell(bad)

    def __enter__(self) -> TorchRecorder:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.close(RunStatus.CLOSED if error is None else RunStatus.RECORDING)

    def _detach(self) -> None:
        self._closed = True
        self._end.detach()
        for handle in (*self._handles, self._arrivals):
            handle.remove()

    def _enter(self, optimizer: Any, args: Any, kwargs: Any) -> Any:
        """Look at weights and gradient before a step.

        Returns
        -------
        tuple or None
            Arguments of the step with a closure that is watched, where there is one.
        """
        if compiling() or watched() is not None:
            return apart(self._enter, optimizer, args, kwargs)
        if self._closed:
            return None
        if self._first:
            self._first = False
            if self._wanted is None or self._wanted(0):
                self._rows.add(0, {"weights": self._read("weights")})
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        self._plain &= closure is None  # which may be evaluated many times a step
        if self._plain:
            return None
        self._begin(optimizer)
        if closure is None:
            if self._due:
                self._before = self._look(optimizer)
            return None
        noted = self._noted(optimizer, closure)
        if len(args) > 1:
            return (args[0], noted, *args[2:]), kwargs
        return args, {**kwargs, "closure": noted}

    def _begin(self, optimizer: Any) -> None:
        """Find out whether a step is made, and recorded."""
        found = optimizer.__dict__.get("found_inf")
        self._skipped = found is not None and bool(found)
        wanted = self._wanted
        self._due = not self._skipped and (wanted is None or wanted(self._step + 1))
        if self._plain and not self._first and self._entering is not None:
            self._entering.remove()  # from here on nothing is to be seen before a step
            self._entering = None
        self._ask = self._skipped or wanted is not None or self._entering is not None
        if len(optimizer.param_groups) > self._groups and self._due and not self._grown:
            self._grown = True
            message = "parameters were added to the optimiser after recording began: they are not"
            warnings.warn(f"{message} recorded, in {self.path}", RuntimeWarning, stacklevel=2)

    def _noted(self, optimizer: Any, closure: Callable[[], Any]) -> Callable[[], Any]:
        count, first = self._count, list[int]()

        def noted() -> Any:
            loss = closure()
            count[PASSES] = 0  # weights may move between the evaluations of one step
            if first:
                count[:] = first
                return loss
            first.extend(count)
            if self._due:
                if loss is not None:
                    self.note_loss(loss)
                self._before = self._look(optimizer)
            return loss

        return noted

    def _read(self, what: str, *args: Any) -> Any:
        """Ask the reader; where tensors have changed take one that reads them all.

        Returns
        -------
        object

        Raises
        ------
        UnsupportedError
            If a parameter has another length than at first.
        """
        rows = self._rows
        try:
            return getattr(rows.reader, what)(rows.slot, *args)
        except Unsuited:
            self._write()
            resized = self._parameters.resized()
            if resized:
                self.close(RunStatus.RECORDING)
                msg = f"{resized}; {ANEW}"
                raise UnsupportedError(msg) from None
            rows.reader = TensorReader(self._parameters, self._recorder.bound, self._dtype)
            return getattr(rows.reader, what)(rows.slot, *args)

    def _look(self, optimizer: Any) -> dict[str, Any]:
        before: dict[str, Any] = {}
        if self._scalars:
            rates = [group["lr"] for group in optimizer.param_groups[: self._groups]]
            plain = len(rates) == 1 and type(rates[0]) is float
            before["learning_rate"] = rates if plain else rates_of(rates)
        multiplied = self._multiplied
        products = self._scalars and (multiplied is None or multiplied(self._step + 1))
        if not products and not self._gradients:
            return before
        gradients = [p.grad for p in self._parameters.tensors]
        if products:
            before["products"] = self._read("products", gradients)
        if self._gradients:
            before["gradients"] = self._read("gradients", gradients)
        scale = optimizer.__dict__.get("grad_scale")
        if scale is not None:  # a fused optimiser unscales inside its step
            unscale(before, scale)
        return before

    def _leave(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """Put down the row of a step that was made."""
        if compiling() or watched() is not None:
            apart(self._leave, optimizer, args, kwargs)
            return
        if self._closed:
            return
        count = self._count
        counted = count[EXAMPLES] or count[UNTRAINED]
        count[:] = _NOTHING
        if self._plain and (
            self._ask
            or "found_inf" in optimizer.__dict__
            or len(optimizer.param_groups) != self._groups
        ):
            self._begin(optimizer)
        loss, self._loss = self._loss, None
        if self._skipped:
            return
        self._step += 1
        if counted and counted != self._sizes.last:
            self._sizes.learn(counted)
        if not self._due:
            return
        row, self._before = self._before, {}
        rows = self._rows
        try:
            row["weights"] = rows.reader.weights(rows.slot)
        except Unsuited:
            row["weights"] = self._read("weights")
        if self._velocity and "products" in row:
            momentum = self._parameters.momentum(optimizer.state)
            row["velocity_norm_squared"] = self._read("squares", momentum)
        if loss is not None:
            row["loss"] = loss
        if counted and self._counted:
            row["batch_size"] = counted
        if not self._closed and rows.add(self._step, row):
            self._write()

    def _write(self) -> None:
        """Write what waits, or detach; training goes on unless ``on_write_error`` is "raise"."""
        if os.getpid() != self._process:
            self._rows.forget()
            return
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
        self._tell_lost()

    def _tell_lost(self) -> None:
        self._lost = self._lost or tell_lost(self._parameters, self._optimizer(), self.path)

    def _tell(self, step: int) -> None:
        self._diverged = True
        tell_divergence(step, self.path, stops=self._stops)

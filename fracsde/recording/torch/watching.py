"""How many examples stood behind each step: the rows of what the model was given.

Those it was given in training mode, or, where there are none, in evaluation mode: a pass over other
data that is made with gradients on is no part of a step.  Batches whose gradient was dropped are
forgotten, see :mod:`~fracsde.recording.torch.arrivals`.

A hook counts them.  But torch calls a model that has hooks by a detour of eight microseconds, so
where ours is the only one the way past it is taken, by the attribute that serves
``Module.compile``: it costs three, and no copy and no pickle of the model has it.  What is compiled
knows nothing of that attribute, and of the hook it does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules import module as _module

from fracsde.recording.torch._compiling import compiling
from fracsde.recording.torch.arrivals import ARRIVED, EXAMPLES, UNTRAINED, tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde.recording.recorder import Recorder

__all__ = ["BatchHook", "BatchSizes", "BatchWatch"]

_PLACE = "_compiled_call_impl"  # what torch calls, if it is there, in place of `_call_impl`
_OWN = ("_backward_hooks", "_backward_pre_hooks", "_forward_hooks")
_GLOBAL = tuple(
    getattr(_module, f"_global_{name}_hooks")
    for name in ("forward", "forward_pre", "backward", "backward_pre")
)
_Tensor, _differentiated = torch.Tensor, torch.is_grad_enabled
_traced = torch._C._get_tracing_state


class BatchWatch:
    """Counts the rows of the first tensor of each call that can be differentiated.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    count : list of int
        The tally that is added to.
    look : callable
        Called before rows are added, where a gradient has arrived since the last step.
    """

    __slots__ = ("_hook", "_model", "_ours", "_theirs")

    def __init__(self, model: Any, count: list[int], look: Callable[[], None]) -> None:
        self._model, self._theirs = model, vars(model).get(_PLACE)
        self._ours: Any = None
        self._hook: Any = None
        if self._theirs is not None:  # compiled, and perhaps called before: it sees no new hook
            self._ours = _around(model, self._theirs, count, look)
        elif isinstance(model, torch.jit.ScriptModule):  # it takes no hooks
            self._ours = _around(model, model._call_impl, count, look)
        else:
            hook = BatchHook(count, look)
            self._hook = model.register_forward_pre_hook(hook, with_kwargs=True)
            if _replaceable(model):
                self._ours = _past(model, count, look)
        if self._ours is not None:
            vars(model)[_PLACE] = self._ours

    def remove(self) -> None:
        """Count no more."""
        if self._hook is not None:
            self._hook.remove()
        ours, self._ours = self._ours, None
        if ours is not None and vars(self._model).get(_PLACE) is ours:
            del vars(self._model)[_PLACE]
            if self._theirs is not None:
                vars(self._model)[_PLACE] = self._theirs


class BatchHook:
    """Counts where it is called before a model is.

    A copy or a pickle of the model holds one that counts for nobody.

    Parameters
    ----------
    count : list of int
        The tally that is added to.
    look : callable
        As of :class:`BatchWatch`.
    """

    __slots__ = ("_count", "_look")

    def __init__(
        self, count: list[int] | None = None, look: Callable[[], None] | None = None
    ) -> None:
        self._count = tally() if count is None else count
        self._look = look

    def __call__(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Add the rows of one call.

        Parameters
        ----------
        module : torch.nn.Module
            The model.
        args, kwargs : tuple and dict
            Its arguments.
        """
        if _differentiated():
            if not compiling() and self._look is not None and self._count[ARRIVED]:
                self._look()
            self._count[EXAMPLES if module.training else UNTRAINED] += _rows(args, kwargs)

    @property
    def __name__(self) -> str:
        # What torch.jit.script asks a hook for, to compile its code.
        msg = (
            "a model whose batches are counted cannot be scripted: record the scripted model, or "
            "pass `batch_size` to record()"
        )
        raise AttributeError(msg)

    def __reduce__(self) -> tuple[type[BatchHook], tuple[()]]:
        return BatchHook, ()


class BatchSizes:
    """What a run says of its batches: the size of the first, and that sizes vary where they do.

    Parameters
    ----------
    recorder : Recorder
        Keeps it.
    training : dict
        What is known of the training.
    """

    __slots__ = ("_process", "_recorder", "_seen", "_training", "last")

    def __init__(self, recorder: Recorder, training: dict[str, Any]) -> None:
        self._recorder, self._training = recorder, training
        self._seen, self._process = False, os.getpid()
        self.last = 0

    def learn(self, counted: int) -> None:
        """Note the size of a batch that differs from the last one.

        Parameters
        ----------
        counted : int
            The size.
        """
        self.last = counted
        if os.getpid() != self._process:
            return
        if counted != self._training.get("batch_size"):
            if self._training.get("batch_size_varies"):
                return
            fact = {"batch_size_varies": True} if self._seen else {"batch_size": counted}
            self._training |= fact
            self._recorder.update_metadata({"training": self._training})
        self._seen = True


def _replaceable(model: Any) -> bool:
    """Return whether the call of a model may be replaced.

    A shallow copy would compute with the weights of the original: ``DataParallel`` makes them where
    there are several devices.

    Returns
    -------
    bool
    """
    if type(model).__call__ is not torch.nn.Module.__call__ or not hasattr(type(model), _PLACE):
        return False
    devices = getattr(torch, "accelerator", torch.cuda).device_count()
    return bool(devices < 2)


def _past(model: Any, count: list[int], look: Callable[[], None]) -> Callable[..., Any]:
    """Return what does as ``Module._call_impl`` does with a model whose only hook is ours.

    Returns
    -------
    callable
    """
    held = vars(model)
    forward, forward_pre, backward, backward_pre = _GLOBAL
    first, second, third = _OWN

    def called(*args: Any, **kwargs: Any) -> Any:
        if (
            len(held["_forward_pre_hooks"]) != 1
            or held[first]
            or held[second]
            or held[third]
            or forward
            or forward_pre
            or backward
            or backward_pre
            or _traced()
        ):
            return model._call_impl(*args, **kwargs)
        if _differentiated():
            if count[ARRIVED]:
                look()
            place = EXAMPLES if held["training"] else UNTRAINED
            if args and type(args[0]) is _Tensor and args[0].ndim:
                count[place] += args[0].size(0)  # in half the time of a shape
            else:
                count[place] += _rows(args, kwargs)
        return model.forward(*args, **kwargs)

    return called


def _around(
    model: Any, call: Callable[..., Any], count: list[int], look: Callable[[], None]
) -> Callable[..., Any]:
    """Return what counts and calls a model that was compiled.

    Returns
    -------
    callable
    """

    def called(*args: Any, **kwargs: Any) -> Any:
        if _differentiated():
            if count[ARRIVED]:
                look()
            count[EXAMPLES if model.training else UNTRAINED] += _rows(args, kwargs)
        return call(*args, **kwargs)

    return called


def _rows(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    for values in (args, kwargs.values()):
        for value in values:
            # `len` of a tensor is Python code; its shape is not.
            if isinstance(value, _Tensor) and value.ndim:
                return int(value.shape[0])
    return 0

"""How many examples stood behind each step: the rows of what the model was given.

They are counted where a model is called.  A hook would do, but torch calls a model that has one by a
detour of eight microseconds.  So the call itself is replaced where that is safe, by the attribute
that serves ``Module.compile``: it costs three, and no copy and no pickle of the model has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BatchHook", "BatchWatch"]

_PLACE = "_compiled_call_impl"  # what torch calls, if it is there, in place of `_call_impl`
_Tensor, _Module, _differentiated = torch.Tensor, torch.nn.Module, torch.is_grad_enabled


class BatchWatch:
    """Counts the rows of the first tensor of each call that can be differentiated.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    """

    __slots__ = ("_hook", "_model", "_ours", "count")

    def __init__(self, model: Any) -> None:
        self.count = [0]  # since it was last set to zero
        self._model, self._ours, self._hook = model, None, None
        if _replaceable(model):
            self._replace()
        else:
            hook = BatchHook(self.count)
            self._hook = model.register_forward_pre_hook(hook, with_kwargs=True)

    def renew(self) -> None:
        """Count again where ``Module.compile`` has taken the place of what counted."""
        if self._ours is not None and vars(self._model).get(_PLACE) is not self._ours:
            self._replace()

    def _replace(self) -> None:
        there = vars(self._model).get(_PLACE)
        self._ours = _counting(there or self._model._call_impl, self.count, there)
        vars(self._model)[_PLACE] = self._ours

    def remove(self) -> None:
        """Count no more."""
        if self._hook is not None:
            self._hook.remove()
        ours, self._ours = self._ours, None
        if ours is not None and vars(self._model).get(_PLACE) is ours:
            there = ours.there
            if there is None:
                del vars(self._model)[_PLACE]
            else:
                vars(self._model)[_PLACE] = there


class BatchHook:
    """Counts where it is called before a model is.

    A copy or a pickle of the model holds one that counts for nobody.

    Parameters
    ----------
    count : list of int
        Its one entry is added to.
    """

    __slots__ = ("_count",)

    def __init__(self, count: list[int] | None = None) -> None:
        self._count = [0] if count is None else count

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
            self._count[0] += _rows(args, kwargs)

    def __reduce__(self) -> tuple[type[BatchHook], tuple[()]]:
        return BatchHook, ()


def _replaceable(model: Any) -> bool:
    """Return whether the call of a model may be replaced.

    A shallow copy would compute with the weights of the original: ``DataParallel`` makes them where
    there are several devices.

    Returns
    -------
    bool
    """
    if type(model).__call__ is not _Module.__call__ or not hasattr(_Module, _PLACE):
        return False
    devices = getattr(torch, "accelerator", torch.cuda).device_count()
    return bool(devices < 2)


def _counting(call: Callable[..., Any], count: list[int], there: Any) -> Any:
    """Return what counts and calls the model.

    Returns
    -------
    callable
        Its attribute ``there`` is what was there before.
    """

    def counted(*args: Any, **kwargs: Any) -> Any:
        if _differentiated():
            if args and type(args[0]) is _Tensor and args[0].ndim:
                rows = args[0].shape[0]
                if type(rows) is int:  # and not a tensor, of `torch.jit.trace`
                    count[0] += rows
            else:
                count[0] += _rows(args, kwargs)
        return call(*args, **kwargs)

    found: Any = counted
    found.there = there
    return found


def _rows(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    for values in (args, kwargs.values()):
        for value in values:
            # `len` of a tensor is Python code; its shape is not.
            if isinstance(value, _Tensor) and value.ndim:
                rows = value.shape[0]
                return rows if type(rows) is int else 0
    return 0

"""Passes through a model that leave it as it was, and what each module saw and gave in them."""

from __future__ import annotations

import hashlib
import random
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Pass", "digest", "run_pass", "tensors_in", "untouched", "watching"]


class State:
    """Buffers of a model and the states of the random generators, to return to."""

    def __init__(self, model: Any) -> None:
        self._buffers = [
            (module, name, buffer, None if buffer is None else buffer.detach().clone())
            for module in model.modules()
            for name, buffer in module._buffers.items()
        ]
        self._torch = torch.get_rng_state()
        self._devices = [(put, get()) for get, put in _generators(model)]
        self._numpy = np.random.get_state()  # noqa: NPY002 - data sets draw from it
        self._python = random.getstate()

    def changed(self, model: Any) -> tuple[str, ...]:
        """Return the names of modules with a buffer that is not what it was.

        Returns
        -------
        tuple of str
        """
        places = {id(module): name for name, module in model.named_modules()}
        return tuple(
            dict.fromkeys(
                places[id(module)]
                for module, name, _, value in self._buffers
                if value is not None and digest(module._buffers[name]) != digest(value)
            )
        )

    def restore(self) -> None:
        """Put everything back."""
        with torch.no_grad():
            for module, name, buffer, value in self._buffers:
                if buffer is not None:
                    buffer.copy_(value)
                module._buffers[name] = buffer
        torch.set_rng_state(self._torch)
        for put, state in self._devices:
            put(state)
        np.random.set_state(self._numpy)  # noqa: NPY002
        random.setstate(self._python)


def _generators(model: Any) -> Iterator[tuple[Callable[[], Any], Callable[[Any], None]]]:
    """Yield how to read and how to set the random generators of each kind of device in use.

    Yields
    ------
    tuple of two callables
    """
    kinds = {part.device.type for part in chain(model.parameters(), model.buffers())}
    if torch.cuda.is_initialized():  # data sets may draw there
        kinds.add("cuda")
    for kind in sorted(kinds - {"cpu", "meta"}):
        module = torch.get_device_module(kind)
        for end in ("_all", ""):  # of all devices of the kind, where it has several
            get = getattr(module, f"get_rng_state{end}", None)
            put = getattr(module, f"set_rng_state{end}", None)
            if get is not None and put is not None:
                yield get, put
                break


@contextmanager
def untouched(model: Any) -> Iterator[State]:
    """Restore buffers and random generators at the end, whatever happens.

    Yields
    ------
    State
    """
    state = State(model)
    try:
        yield state
    finally:
        state.restore()


def tensors_in(value: Any) -> list[Any]:
    """Return the tensors inside nested tuples, lists and mappings, in order.

    Returns
    -------
    list of torch.Tensor
    """
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [tensor for part in value for tensor in tensors_in(part)]
    return []


def digest(value: Any) -> bytes:
    """Return a hash of the bits of all tensors inside a value.

    Returns
    -------
    bytes
    """
    found = hashlib.blake2b(digest_size=16)
    for tensor in tensors_in(value):
        plain = tensor.detach()
        if plain.layout != torch.strided:
            plain = plain.to_dense()
        found.update(repr((tuple(plain.shape), plain.dtype)).encode())
        flat = plain.cpu().contiguous().reshape(-1)
        found.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return found.digest()


@dataclass(kw_only=True)
class Pass:
    """One evaluation: what came out, and the calls of each module by its place in the model."""

    outputs: Any = None
    loss: Any = None
    gradients: tuple[Any, ...] = ()
    calls: dict[str, list[tuple[Any, Any]]] = field(default_factory=dict)


@contextmanager
def watching(
    model: Any, note: Callable[[Any], Any], calls: dict[str, list[tuple[Any, Any]]]
) -> Iterator[None]:
    """Note inputs and outputs of every module inside the block.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    note : callable
        What is kept of inputs and of outputs.
    calls : dict
        Filled with pairs per module, one per call.

    Yields
    ------
    None
    """
    handles = []
    before: dict[str, list[Any]] = {}

    def enter(place: str) -> Callable[..., None]:
        def hook(module: Any, args: Any, kwargs: Any) -> None:
            before.setdefault(place, []).append(note((args, kwargs)))

        return hook

    def leave(place: str) -> Callable[..., None]:
        def hook(module: Any, args: Any, outputs: Any) -> None:
            calls.setdefault(place, []).append((before[place].pop(), note(outputs)))

        return hook

    try:
        for place, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(enter(place), with_kwargs=True))
            handles.append(module.register_forward_hook(leave(place)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_pass(
    model: Any,
    loss_function: Callable[[Any, Any], Any],
    inputs: tuple[Any, ...],
    targets: Any,
    *,
    gradients: bool = True,
) -> Pass:
    """Evaluate loss and gradients once, without touching ``.grad``.

    Parameters
    ----------
    model : torch.nn.Module
        The model, in the mode it is in.
    loss_function : callable
        Of outputs and targets.
    inputs : tuple of torch.Tensor
        Arguments of the model.
    targets : object
        What the loss compares with.
    gradients : bool
        Whether to differentiate.

    Returns
    -------
    Pass
    """
    made = Pass()
    trained = [p for p in model.parameters() if p.requires_grad]
    with torch.enable_grad(), watching(model, digest, made.calls):
        made.outputs = model(*inputs)
        made.loss = loss_function(made.outputs, targets)
        if gradients and made.loss.numel() == 1:
            made.gradients = torch.autograd.grad(made.loss.sum(), trained, allow_unused=True)
    return made

"""Which numbers of a model are its weights: the vector ``w`` that is recorded.

``w`` holds what the optimiser moves, and nothing else: the parameters of the model in the order of
``model.named_parameters()``, each flattened row after row and a tied one once, without those that
are frozen (``requires_grad`` is False) or unknown to the optimiser, then the optimiser's other
parameters, a learned temperature of the loss, say.  Buffers, such as the running statistics of
batch normalisation, are no weights.

What is left out is listed with its reason in the metadata of the run.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from itertools import accumulate
from operator import is_
from typing import TYPE_CHECKING, Any

import torch

from fracsde.errors import InputError, UnsupportedError
from fracsde.recording.torch.findings import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["TrainedParameters", "trained_parameters"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedParameters:
    """The tensors that make up the recorded vector.

    Parameters
    ----------
    names : tuple of str
        Their names in the model.
    tensors : tuple of torch.nn.Parameter
        The parameters themselves, not copies.
    excluded : mapping
        Reason by name, of the model's other parameters.
    lengths : tuple of int
        Of the tensors when recording begins.
    model : weakref of torch.nn.Module
        The model, and
    own : int
        how many of the tensors, the first ones, are its.
    """

    names: tuple[str, ...]
    tensors: tuple[Any, ...]
    excluded: Mapping[str, str]
    lengths: tuple[int, ...]
    model: Callable[[], Any]
    own: int

    @property
    def count(self) -> int:
        """Length ``P`` of the vector."""
        return sum(self.lengths)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each tensor begins in the vector, and the vector's end."""
        return tuple(accumulate(self.lengths, initial=0))

    @property
    def wide(self) -> bool:
        """Whether a tensor needs double precision to be recorded as it is."""
        return any(p.dtype == torch.float64 for p in self.tensors)

    def resized(self) -> str | None:
        """Say which tensor has another length than at first, None if none has.

        Returns
        -------
        str or None
        """
        for name, tensor, length in zip(self.names, self.tensors, self.lengths, strict=True):
            if tensor.numel() != length:
                was = f"{tensor.numel()} numbers, and had {length} when recording began"
                return f"{name!r} has {was}: recording has stopped"
        return None

    def lost(self, optimizer: Any) -> str | None:
        """Say which tensors an optimiser or the model has put down or taken up since.

        Returns
        -------
        str or None
        """
        moved = {id(p) for group in optimizer.param_groups for p in group["params"]}
        pairs = zip(self.names, self.tensors, strict=True)
        lost = [name for name, tensor in pairs if id(tensor) not in moved]
        if lost:
            return (
                f"the optimiser moves {listed(lost)} no longer, and what it moves in their place "
                "is not recorded"
            )
        model = self.model()
        if model is None:
            return None
        thawed = [
            name
            for name, tensor in _named(model)
            if name in self.excluded and tensor.requires_grad and id(tensor) in moved
        ]
        if thawed:
            return f"the optimiser moves {listed(thawed)} by now, which is not recorded"
        ours = zip(self.names, self.tensors, strict=True)
        frozen = [name for name, tensor in ours if not tensor.requires_grad]
        if frozen:
            return f"{listed(frozen)} have been frozen since, and stand still in what is recorded"
        held = {id(p) for p in model.parameters()}
        ours = zip(self.names[: self.own], self.tensors, strict=False)
        lost = [name for name, tensor in ours if id(tensor) not in held]
        if not lost:
            return None
        return (
            f"the model has put other tensors in place of {listed(lost)} (load_state_dict with "
            "assign=True does), which the optimiser does not move: what it moves is recorded"
        )

    def momentum(self, state: Mapping[Any, Any]) -> list[Any]:
        """Return the momentum buffers in the state of an optimiser, None where there is none.

        Returns
        -------
        list
        """
        if len(state) == len(self.tensors) and all(map(is_, state, self.tensors)):
            return [own.get("momentum_buffer") for own in state.values()]  # hashes no tensor
        return [state[p].get("momentum_buffer") if p in state else None for p in self.tensors]

    def described(self) -> dict[str, Any]:
        """Return names, shapes and number formats, for the metadata of a run.

        Returns
        -------
        dict
        """
        return {
            "names": list(self.names),
            "shapes": [list(p.shape) for p in self.tensors],
            "dtypes": [str(p.dtype).removeprefix("torch.") for p in self.tensors],
            "excluded": dict(self.excluded),
        }


def trained_parameters(model: Any, optimizer: Any) -> TrainedParameters:
    """Return the parameters that the optimiser moves.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    optimizer : torch.optim.Optimizer
        Its optimiser.

    Returns
    -------
    TrainedParameters

    Raises
    ------
    InputError
        If model or optimiser are something else, or the optimiser moves none of the model's
        parameters.
    UnsupportedError
        If parameters are complex, not yet materialised, or spread over processes.
    """
    if not isinstance(model, torch.nn.Module):
        msg = f"`model` must be a torch.nn.Module, got {type(model).__name__}"
        raise InputError(msg)
    if not isinstance(optimizer, torch.optim.Optimizer):
        msg = f"`optimizer` must be a torch.optim.Optimizer, got {type(optimizer).__name__}"
        raise InputError(msg)
    moved = {id(p) for group in optimizer.param_groups for p in group["params"]}
    kept: dict[str, Any] = {}
    excluded: dict[str, str] = {}
    for name, parameter in _named(model):
        if not parameter.requires_grad:
            excluded[name] = "frozen: requires_grad is False"
        elif id(parameter) not in moved:
            excluded[name] = "not among the optimiser's parameters"
        else:
            kept[name] = parameter
    if not kept:
        msg = (
            "the optimiser moves none of the model's trainable parameters; make it from "
            "model.parameters() of this very model, after any change that replaces them"
        )
        raise InputError(msg)
    of_model = len(kept)
    own = {id(p) for p in model.parameters()}
    for g, group in enumerate(optimizer.param_groups):
        for i, parameter in enumerate(group["params"]):
            if id(parameter) not in own and parameter.requires_grad:
                kept[f"optimizer.param_groups.{g}.{i}"] = parameter
    for name, parameter in kept.items():
        _refuse(name, parameter)
    return TrainedParameters(
        names=tuple(kept),
        tensors=tuple(kept.values()),
        excluded=excluded,
        lengths=tuple(int(parameter.numel()) for parameter in kept.values()),
        model=weakref.ref(model),
        own=of_model,
    )


def _named(model: Any) -> list[tuple[str, Any]]:
    """Return the parameters by name, of a compiled model as of the model itself.

    Returns
    -------
    list of tuple
    """
    return [(name.replace("_orig_mod.", ""), p) for name, p in model.named_parameters()]


def _refuse(name: str, parameter: Any) -> None:
    if isinstance(parameter, torch.nn.parameter.UninitializedTensorMixin):
        msg = f"{name!r} has no shape yet; run the model once on a batch before it is recorded"
        raise UnsupportedError(msg)
    if parameter.is_complex():
        msg = f"{name!r} is complex; record a model of its real and imaginary parts instead"
        raise UnsupportedError(msg)
    if hasattr(parameter, "placements"):
        msg = (
            f"{name!r} is spread over processes, which cannot be recorded; record a run whose "
            "parameters are whole on one process, as DataParallel and DistributedDataParallel keep "
            "them"
        )
        raise UnsupportedError(msg)

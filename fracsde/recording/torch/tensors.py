"""Copies of models, and data as tensors, for a loss that owns all it is made of."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fracsde.errors import InputError, ShapeError, UnsupportedError

if TYPE_CHECKING:
    from fracsde.recording.torch.functional import FlatModel

__all__ = ["copy_of", "data_of", "precision_of", "unwrapped"]

_SMALL = 1 << 28  # bytes of data that are moved to the model's device as a whole


def unwrapped(model: Any) -> Any:
    """Return the model inside those that compile it or spread it over devices and processes.

    Returns
    -------
    torch.nn.Module
    """
    parallel = torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel
    while True:
        inner = model.module if isinstance(model, parallel) else getattr(model, "_orig_mod", model)
        if inner is model:
            return model
        model = inner


def precision_of(model: torch.nn.Module, asked: Any) -> torch.dtype | None:
    """Return the precision in which all of a model is computed, None for each parameter's own.

    Returns
    -------
    torch.dtype or None

    Raises
    ------
    InputError
        If the precision that is asked for is none, or shorter than single.
    """
    if asked is None:
        found = torch.float32
        kinds = {p.dtype for p in model.parameters() if p.is_floating_point()}
        for kind in kinds:
            found = found if _short(kind) else torch.promote_types(found, kind)
        return found if any(map(_short, kinds)) else None
    if not (isinstance(asked, torch.dtype) and asked.is_floating_point):
        msg = f"`dtype` must be a floating torch.dtype such as torch.float64, got {asked!r}"
        raise InputError(msg)
    if _short(asked):
        msg = (
            f"`dtype` must be torch.float32 or torch.float64, got {asked}, whose rounding hides "
            "derivatives; parameters in half precision are computed with in float32 by default"
        )
        raise InputError(msg)
    return asked


def _short(dtype: torch.dtype) -> bool:
    return bool(torch.finfo(dtype).bits < 32)


def copy_of(model: torch.nn.Module, dtype: torch.dtype | None) -> torch.nn.Module:
    """Return a copy of a model, in another precision if asked.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    UnsupportedError
        If the model cannot be copied, or not in that precision on its device.
    """
    try:
        own = deepcopy(model)
    except (RuntimeError, TypeError) as error:
        msg = (
            f"the model cannot be copied: {error}; keep no tensors with a history on it, and use "
            "torch.nn.utils.parametrizations in place of hooks that rewrite weights"
        )
        raise UnsupportedError(msg) from error
    for module in own.modules():
        if isinstance(module, (torch.nn.Embedding, torch.nn.EmbeddingBag)):
            module.sparse = False  # sparse gradients have no second derivative
    try:
        return own if dtype is None else own.to(dtype)
    except (RuntimeError, TypeError) as error:
        where = ", ".join(sorted({str(p.device) for p in model.parameters()}))
        msg = (
            f"the model cannot be computed in {dtype} on {where}: {error}; pass model.cpu(), or "
            "dtype=torch.float32"
        )
        raise UnsupportedError(msg) from error


def data_of(
    inputs: Any, targets: Any, flat: FlatModel, dtype: torch.dtype | None
) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """Return inputs and targets as tensors, where the model is if they are small.

    Returns
    -------
    inputs : tuple of tensors
    targets : tensor

    Raises
    ------
    ShapeError
        If they do not have as many rows.
    """
    parts = inputs if isinstance(inputs, tuple) else (inputs,)
    tensors = [_tensor("inputs", part, flat, dtype) for part in parts]
    goal = _tensor("targets", targets, flat, dtype)
    rows = [len(part) for part in (*tensors, goal)]
    if min(rows) == 0 or len(set(rows)) > 1:
        msg = f"inputs and targets must have as many rows, at least one; got {rows}"
        raise ShapeError(msg)
    *tensors, goal = _moved(flat, *tensors, goal)
    return tuple(tensors), goal


def _moved(flat: FlatModel, *parts: torch.Tensor) -> tuple[torch.Tensor, ...]:
    if sum(part.numel() * part.element_size() for part in parts) > _SMALL:
        return parts
    try:
        return flat.moved(*parts)
    except (RuntimeError, TypeError) as error:
        msg = (
            f"the data cannot be moved to {flat.home}: {str(error).splitlines()[0]}; give them "
            "in the model's precision"
        )
        raise InputError(msg) from error


def _tensor(name: str, value: Any, flat: FlatModel, dtype: torch.dtype | None) -> torch.Tensor:
    try:
        given = isinstance(value, torch.Tensor)
        found = value if given else torch.tensor(np.array(value), device="cpu")
    except (TypeError, ValueError) as error:
        msg = f"`{name}` must be a tensor or an array of numbers, got {type(value).__name__}"
        raise InputError(msg) from error
    if found.ndim == 0:
        msg = f"`{name}` must have one row per example, got a single number"
        raise ShapeError(msg)
    found = found.detach()
    if found.is_floating_point() and (dtype is not None or not given):
        found = found.to(flat.dtype)
    if found.is_floating_point() and not bool(torch.isfinite(found).all()):
        msg = f"`{name}` must be finite, got NaN or infinity; drop or mend those examples"
        raise InputError(msg)
    return found

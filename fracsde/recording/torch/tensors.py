"""Copies of models, and data as tensors, for a loss that owns all it is made of."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fracsde.errors import InputError, ShapeError, UnsupportedError

if TYPE_CHECKING:
    from fracsde.recording.torch.functional import FlatModel

__all__ = ["copy_of", "data_of"]


def copy_of(model: torch.nn.Module, dtype: torch.dtype | None) -> torch.nn.Module:
    """Return a copy of a model, in another precision if asked.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    InputError
        If the precision is none.
    UnsupportedError
        If the model cannot be copied.
    """
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        msg = f"`dtype` must be a floating torch.dtype such as torch.float64, got {dtype!r}"
        raise InputError(msg)
    try:
        own = deepcopy(model)
    except (RuntimeError, TypeError) as error:
        msg = (
            f"the model cannot be copied: {error}; keep no tensors with a history on it, and use "
            "torch.nn.utils.parametrizations in place of hooks that rewrite weights"
        )
        raise UnsupportedError(msg) from error
    return own if dtype is None else own.to(dtype)


def data_of(
    inputs: Any, targets: Any, flat: FlatModel, dtype: torch.dtype | None
) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """Return inputs and targets as tensors where the model is.

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
    return tuple(tensors), goal


def _tensor(name: str, value: Any, flat: FlatModel, dtype: torch.dtype | None) -> torch.Tensor:
    try:
        found = value if isinstance(value, torch.Tensor) else torch.as_tensor(np.array(value))
    except (TypeError, ValueError) as error:
        msg = f"`{name}` must be a tensor or an array of numbers, got {type(value).__name__}"
        raise InputError(msg) from error
    if found.ndim == 0:
        msg = f"`{name}` must have one row per example, got a single number"
        raise ShapeError(msg)
    found = found.detach().to(flat.device)
    if found.is_floating_point() and (dtype is not None or not isinstance(value, torch.Tensor)):
        found = found.to(flat.dtype)
    if found.is_floating_point() and not bool(torch.isfinite(found).all()):
        msg = f"`{name}` must be finite, got NaN or infinity; drop or mend those examples"
        raise InputError(msg)
    return found

"""How a run was trained, read from the optimiser and the loader: ``metadata["training"]``.

A theory of the run needs the learning rate, momentum, the batch size and how batches are drawn.
The names below are those of :class:`~fracsde.SGDNearMinimum`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
)

from fracsde.errors import InputError

__all__ = ["SAMPLING", "drawing_of", "settings_of"]

SAMPLING = ("with_replacement", "without_replacement", "shuffled", "unknown")
_NAMES = {"lr": "learning_rate"}
# Names and state of schedulers, and ways to compute that change nothing.
_LEFT_OUT = {
    "params",
    "param_names",
    "initial_lr",
    "foreach",
    "fused",
    "capturable",
    "differentiable",
}


def settings_of(optimizer: Any) -> dict[str, Any]:
    """Return the optimiser's class and hyper-parameters, and those in which its groups differ.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        The optimiser.

    Returns
    -------
    dict
        Plain JSON values.  ``learning_rate`` and the others are those of the first group; where
        groups differ, ``groups`` lists the values of each.
    """
    groups = [
        {
            _NAMES.get(key, key): _plain(value)
            for key, value in group.items()
            if key not in _LEFT_OUT and _plain(value) is not None
        }
        for group in optimizer.param_groups
    ]
    settings = {"optimizer": type(optimizer).__name__, **groups[0]}
    differing = sorted(
        {key for group in groups for key in group if group.get(key) != groups[0].get(key)}
    )
    if differing:
        settings["groups"] = [{key: group.get(key) for key in differing} for group in groups]
    return settings


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return float(value) if value.numel() == 1 else None
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        parts = [_plain(part) for part in value]
        return None if any(part is None for part in parts) else parts
    return None


def drawing_of(loader: Any) -> dict[str, Any]:
    """Return how a loader draws its batches.

    Parameters
    ----------
    loader : torch.utils.data.DataLoader
        The loader that feeds the training loop.

    Returns
    -------
    dict
        ``sampling``, and ``sampler``, ``batch_size``, ``dataset_size`` and ``drop_last`` where the
        loader knows them.

    Raises
    ------
    InputError
        If it is no loader.
    """
    if not isinstance(loader, DataLoader):
        msg = f"`loader` must be a torch.utils.data.DataLoader, got {type(loader).__name__}"
        raise InputError(msg)
    if isinstance(loader.dataset, IterableDataset):
        known = {"sampling": "unknown", "sampler": "stream"}
        return known if loader.batch_size is None else known | {"batch_size": loader.batch_size}
    batches, sampler = loader.batch_sampler, loader.sampler
    chosen = type(sampler) is SubsetRandomSampler
    found: dict[str, Any] = {"dataset_size": len(sampler if chosen else loader.dataset)}
    if batches is not None and type(batches) is not BatchSampler:
        return found | {"sampling": "unknown", "sampler": type(batches).__name__}
    if loader.batch_size is not None:
        found["batch_size"] = loader.batch_size
    return found | {
        "sampling": _sampling(sampler, len(loader.dataset)),
        "sampler": type(sampler).__name__,
        "drop_last": bool(loader.drop_last),
    }


def _sampling(sampler: Any, size: int) -> str:
    if type(sampler) is RandomSampler:
        if sampler.replacement:
            return "with_replacement"
        return "shuffled" if sampler.num_samples == size else "unknown"
    if type(sampler) is SubsetRandomSampler:
        return "shuffled"
    return "unknown"  # in order, weighted, or somebody's own

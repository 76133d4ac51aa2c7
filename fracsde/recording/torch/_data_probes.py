"""Probes of the loss function and of the loader: means, how batches are drawn, augmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from fracsde.recording.torch._passes import Pass, digest
from fracsde.recording.torch.findings import Finding
from fracsde.recording.torch.settings import drawing_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["augmentation", "drawing", "reduction"]

_MOST_EXAMPLES = 64  # tried one by one
_ACCESSES = 8  # examples of a loader's data that are fetched twice


def reduction(
    loss_function: Callable[[Any, Any], Any], first: Pass, targets: Any, skipped: list[str]
) -> tuple[Finding, ...]:
    outputs = first.outputs
    if not isinstance(outputs, torch.Tensor) or not outputs.ndim or len(outputs) != len(targets):
        skipped.append("one-example losses: the model's output is no tensor with a row per example")
        return ()
    x, y = outputs.detach()[:_MOST_EXAMPLES], targets[:_MOST_EXAMPLES]
    try:
        with torch.no_grad():
            whole = float(loss_function(x, y))
            singles = [float(loss_function(x[i : i + 1], y[i : i + 1])) for i in range(len(x))]
            twice = float(loss_function(torch.cat([x, x]), torch.cat([y, y])))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        skipped.append(f"one-example losses: {error}")
        return ()
    total = sum(singles)
    precision = torch.finfo(x.dtype).eps if x.is_floating_point() else 1e-7
    known = [abs(single) for single in singles if single == single]  # without those of 0 / 0
    width = precision**0.5 * (sum(known) / len(x) + abs(whole))
    if abs(whole - total / len(x)) <= width:
        return ()
    if abs(whole - total) <= width * len(x) or abs(twice - 2.0 * whole) <= width:
        found = f"the loss of {len(x)} examples is the sum of their losses, not the mean"
        remedy = (
            "use reduction='mean', or divide the loss by the batch size: as it is, the learning "
            f"rate is {len(x)} times what theory is told, and changes with the batch"
        )
        return (Finding(name="sum reduction", found=found, remedy=remedy),)
    if abs(twice - whole) <= width:
        found = "the loss is an average in which examples do not count alike"
        remedy = "average plainly: no class weights, ignore_index or masks that vary with the batch"
        return (Finding(name="weighted mean", found=found, remedy=remedy),)
    found = "the loss of a batch is neither the mean nor the sum of the losses of its examples"
    remedy = "theory needs a loss of single examples: contrastive and ranking losses have none"
    return (Finding(name="coupled loss", found=found, remedy=remedy),)


def drawing(loader: Any) -> tuple[Finding, ...]:
    drawn, findings = drawing_of(loader), []
    if drawn["sampling"] == "unknown":
        findings.append(
            Finding(
                name="sampling",
                found=f"batches are drawn by {drawn['sampler']}, which no theory here describes",
                remedy="draw with RandomSampler(data, replacement=True), or shuffle",
            )
        )
    size, batch = drawn.get("dataset_size"), drawn.get("batch_size")
    if size and batch and size % batch and not drawn.get("drop_last", True):
        findings.append(
            Finding(
                name="uneven batches",
                found=f"the last batch of an epoch has {size % batch} examples, the others {batch}",
                remedy="pass drop_last=True to the loader",
            )
        )
    return tuple(findings)


def augmentation(loader: Any, skipped: list[str]) -> tuple[Finding, ...]:
    data, collate = loader.dataset, loader.collate_fn
    if isinstance(data, torch.utils.data.IterableDataset):
        skipped.append("augmentation: the data are a stream, which gives an example once")
        return ()
    chosen = range(0, len(data), max(1, len(data) // _ACCESSES))
    alone = loader.batch_size is None and loader.batch_sampler is None
    try:
        changed = [
            i
            for i in chosen
            if len({digest(collate(data[i] if alone else [data[i]])) for _ in range(2)}) > 1
        ]
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        skipped.append(f"augmentation: {error}")
        return ()
    if not changed:
        return ()
    found = f"example {changed[0]} of the data is another one at each access"
    remedy = "take random transforms out of the data set, or apply them once and store the result"
    return (Finding(name="augmentation", found=found, remedy=remedy),)

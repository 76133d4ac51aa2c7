"""Where a model is, and numbers on their way between a device and the host.

Each transfer from a device waits for all that was asked of it before.  So results stay there until
many can be fetched in one; sums over them are carried on the host, in double precision, which not
every device has.
"""

from __future__ import annotations

from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fracsde._typing import FloatArray

__all__ = ["fetched", "home_of", "unrounded"]

_HELD = 1 << 22  # numbers that wait on a device


def home_of(model: Any) -> torch.device | None:
    """Return the one device that holds all parameters and buffers of a model, None if several do.

    Parameters
    ----------
    model : torch.nn.Module
        The model.

    Returns
    -------
    torch.device or None
        The host for a model that holds nothing.
    """
    found = {tensor.device for tensor in chain(model.parameters(), model.buffers())}
    if len(found) > 1:
        return None
    return next(iter(found), torch.device("cpu"))


def unrounded(kinds: Iterable[str]) -> ExitStack:
    """Return a context without autocast, which would compute in half precision.

    Parameters
    ----------
    kinds : iterable of str
        Of devices: ``"cpu"``, ``"cuda"``.

    Returns
    -------
    contextlib.ExitStack
    """
    context = ExitStack()
    for kind in kinds:
        if torch.is_autocast_enabled(kind):
            context.enter_context(torch.autocast(kind, enabled=False))
    return context


def fetched(pieces: Iterable[torch.Tensor]) -> Iterator[FloatArray]:
    """Bring tensors to the host in double precision, those of a device many at a time.

    Parameters
    ----------
    pieces : iterable of torch.Tensor
        Each is asked for when those before it are on the host or wait on their device.

    Yields
    ------
    ndarray of float64
        As many, in the same order and shapes.
    """
    waiting: list[torch.Tensor] = []
    held = 0
    for piece in pieces:
        tensor = piece.detach()
        if waiting and (waiting[0].device, waiting[0].dtype) != (tensor.device, tensor.dtype):
            yield from _together(waiting)
            waiting, held = [], 0
        waiting.append(tensor)
        held += tensor.numel()
        if tensor.is_cpu or held >= _HELD:
            yield from _together(waiting)
            waiting, held = [], 0
    yield from _together(waiting)


def _together(waiting: list[torch.Tensor]) -> Iterator[FloatArray]:
    if len(waiting) < 2:
        yield from (part.cpu().double().numpy() for part in waiting)
        return
    whole = torch.cat([part.reshape(-1) for part in waiting]).cpu().double()
    parts = whole.split([part.numel() for part in waiting])
    for own, part in zip(waiting, parts, strict=True):
        yield part.reshape(own.shape).numpy()

"""A device whose memory the host cannot read, written in Python, for want of an accelerator.

After :func:`register` ``tensor.to("far")`` works.  Tensors of the device have an address of
nothing; every operation of torch on them goes to :func:`_call`, which does it on the tensor behind.
Numbers reach the host by a copy or as a Python scalar only, and ``transfers`` counts both.  What
PyTorch does on an accelerator it does here by the same roads: device guards, hooks, autograd.

It is registered once per process and for good, so only child processes do.
"""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
tree = pytest.importorskip("torch.utils._pytree")

NAME = "far"
transfers = [0]
_META = torch._C.DispatchKeySet(torch._C.DispatchKey.Meta)
_kept: list[Any] = []
_behind: dict[int, torch.Tensor] = {}  # by storage, which views and detached copies share


def _wrapped(raw: torch.Tensor) -> torch.Tensor:
    # An empty tensor of the device with the layout of the one behind it.
    if raw.is_contiguous():
        out = torch._C._acc.create_empty_tensor(list(raw.shape), raw.dtype)
    else:
        steps = zip(raw.shape, raw.stride(), strict=True)
        span = 1 + sum((n - 1) * s for n, s in steps) if raw.numel() else 0
        flat = torch._C._acc.create_empty_tensor([span], raw.dtype)
        layout = list(raw.shape), list(raw.stride())
        out = torch.ops.aten.as_strided.default.redispatch(_META, flat, *layout, 0)
    _behind[out.untyped_storage()._cdata] = raw
    return out


def _is_far(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.device.type == NAME


def _bare(value: Any) -> Any:
    if _is_far(value):
        return _behind[value.untyped_storage()._cdata]
    if isinstance(value, torch.device) and value.type == NAME:
        return torch.device("cpu")
    return value


def _call(op: Any, *args: Any, **kwargs: Any) -> Any:
    bare, options = tree.tree_map(_bare, (args, kwargs))
    # Numbers that C++ has wrapped in a tensor arrive as numbers.
    bare = tuple(
        torch.tensor(value)
        if isinstance(value, int | float) and str(wanted.type) == "Tensor"
        else value
        for value, wanted in zip(bare, op._schema.arguments, strict=False)
    )
    if op.name() == "aten::_copy_from":
        transfers[0] += not _is_far(args[1])
        bare[1].copy_(bare[0])
        return args[1]
    transfers[0] += op.name() == "aten::_local_scalar_dense"
    given = [a for a in tree.tree_leaves((args, kwargs)) if isinstance(a, torch.Tensor)]
    same = {id(_bare(a)): a for a in given}
    device = kwargs.get("device")
    home = device is not None and torch.device(device).type == "cpu"

    def back(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or home:
            return value
        return same.get(id(value)) if id(value) in same else _wrapped(value)

    found = op(*bare, **options)
    for a in given:  # results that were given empty, and have grown
        if _is_far(a) and a.shape != _bare(a).shape:
            grown = _wrapped(_bare(a).contiguous())
            layout = list(grown.shape), list(grown.stride())
            torch.ops.aten.set_.source_Storage_storage_offset.redispatch(
                _META, a, grown.untyped_storage(), 0, *layout
            )
    return tree.tree_map(back, found)


def register() -> None:
    """Make the device known to this process."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(NAME)
    library = torch.library.Library("_", "IMPL")
    library.fallback(_call, "PrivateUse1")
    _kept.append(library)  # it unregisters what it holds when it goes

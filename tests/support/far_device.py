"""A device whose memory the host cannot read, written in Python, for want of an accelerator.

After :func:`register` ``tensor.to("far")`` works.  Tensors of the device have an address of
nothing; every operation of torch on them goes to :func:`_call`, which does it on the memory behind.
Numbers reach the host by a copy or as a Python scalar only, and ``transfers`` counts both, and
whatever else waits for the device, as a comparison of whole tensors does.  What PyTorch does on an
accelerator it does here by the same roads: device guards, hooks, autograd.

It refuses what accelerators refuse, and the host by itself does not notice: tensors of the host
among those of the device, a random generator of the host, and double precision where it is
registered without (some accelerators have none).  It draws random numbers from a generator of its
own, whose state ``torch.far.get_rng_state`` gives.

It is registered once per process and for good, so only child processes do.
"""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
tree = pytest.importorskip("torch.utils._pytree")
registration = pytest.importorskip("torch.utils.backend_registration")

NAME = "far"
transfers = [0]
_META = torch._C.DispatchKeySet(torch._C.DispatchKey.Meta)
_WAITING = {"aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::masked_select"}
_INDEXED = {"aten::index.Tensor", "aten::index_put_", "aten::_index_put_impl_"}
_WIDE = {torch.float64, torch.complex128}
_kept: list[Any] = []
_behind: dict[int, Any] = {}  # storage of the host by that of the device
_narrow = [False]
_random: list[Any] = []  # the state of the device's generator


class _Module(registration._DummyBackendModule):
    def get_rng_state(self, device: Any = NAME) -> torch.Tensor:
        return _random[0].clone()

    def set_rng_state(self, state: torch.Tensor, device: Any = NAME) -> None:
        _random[0] = state.clone()

    def get_amp_supported_dtype(self) -> list[Any]:
        return [torch.bfloat16, torch.float16]


def _wrapped(raw: torch.Tensor, bases: dict[int, torch.Tensor]) -> torch.Tensor:
    # A tensor of the device with the layout of the one behind it, a view where that is one.
    if _narrow[0] and raw.dtype in _WIDE:
        msg = f"Cannot convert a {NAME} Tensor to float64: the device does not support float64"
        raise TypeError(msg)
    if raw._is_zerotensor():  # of forward differentiation: zeros that nothing lies behind
        raw = torch.zeros(raw.shape, dtype=raw.dtype, device="cpu")
    storage = raw.untyped_storage()
    base = bases.get(storage._cdata)
    if base is None:
        count = -(-storage.nbytes() // raw.element_size())
        base = torch._C._acc.create_empty_tensor([count], raw.dtype)
        _behind[base.untyped_storage()._cdata] = storage
    layout = list(raw.shape), list(raw.stride()), raw.storage_offset()
    out = torch._C._acc.create_empty_tensor([0], raw.dtype)
    set_ = torch.ops.aten.set_.source_Storage_storage_offset
    set_.redispatch(_META, out, base.untyped_storage(), layout[2], *layout[:2])
    return out


def _is_far(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.device.type == NAME


def _bare(value: torch.Tensor) -> torch.Tensor:
    storage = _behind[value.untyped_storage()._cdata]
    raw = torch.empty(0, dtype=value.dtype, device="cpu")
    return raw.set_(storage, value.storage_offset(), value.shape, value.stride())


def _refuse_strangers(op: Any, given: list[torch.Tensor]) -> None:
    if any(map(_is_far, given)) and op.name() not in _INDEXED:
        strange = [a for a in given if not _is_far(a) and a.ndim]
        if strange:
            msg = (
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{NAME}:0 and {strange[0].device}! ({op.name()})"
            )
            raise RuntimeError(msg)


def _done(op: Any, args: Any, options: Any) -> Any:
    # Random numbers are the device's own.
    if torch.Tag.nondeterministic_seeded not in op.tags:
        return op(*args, **options)
    if any(isinstance(value, torch.Generator) for value in tree.tree_leaves((args, options))):
        msg = f"Expected a '{NAME}' device type for generator but found 'cpu'"
        raise RuntimeError(msg)
    host = torch.get_rng_state()
    torch.set_rng_state(_random[0])
    try:
        return op(*args, **options)
    finally:
        _random[0] = torch.get_rng_state()
        torch.set_rng_state(host)


def _call(op: Any, *args: Any, **kwargs: Any) -> Any:
    given = [a for a in tree.tree_leaves((args, kwargs)) if isinstance(a, torch.Tensor)]
    raws = {id(a): _bare(a) for a in given if _is_far(a)}

    def bare(value: Any) -> Any:
        if isinstance(value, torch.device) and value.type == NAME:
            return torch.device("cpu")
        return raws.get(id(value), value) if isinstance(value, torch.Tensor) else value

    inner, options = tree.tree_map(bare, (args, kwargs))
    if op.name() == "aten::_copy_from":
        transfers[0] += not _is_far(args[1])
        inner[1].copy_(inner[0])
        return args[1]
    _refuse_strangers(op, given)
    transfers[0] += op.name() in _WAITING
    # Numbers that C++ has wrapped in a tensor arrive as numbers.
    inner = tuple(
        torch.tensor(value, device="cpu")
        if isinstance(value, int | float) and str(wanted.type) == "Tensor"
        else value
        for value, wanted in zip(inner, op._schema.arguments, strict=False)
    )
    same = {id(raws[id(a)]): a for a in given if id(a) in raws}
    bases = {raws[id(a)].untyped_storage()._cdata: a for a in given if id(a) in raws}
    device = kwargs.get("device")
    home = device is not None and torch.device(device).type == "cpu"

    def back(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or home:
            return value
        return same[id(value)] if id(value) in same else _wrapped(value, bases)

    found = _done(op, inner, options)
    for a in given:  # results that were given empty, and have grown
        if id(a) in raws and a.shape != raws[id(a)].shape:
            grown = _wrapped(raws[id(a)], {})
            layout = grown.storage_offset(), list(grown.shape), list(grown.stride())
            torch.ops.aten.set_.source_Storage_storage_offset.redispatch(
                _META, a, grown.untyped_storage(), *layout
            )
    return tree.tree_map(back, found)


def register(*, doubles: bool = True) -> None:
    """Make the device known to this process.

    Parameters
    ----------
    doubles : bool
        Whether it has double precision.
    """
    _narrow[0] = not doubles
    _random.append(torch.Generator(device="cpu").manual_seed(1).get_state())
    registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    library = torch.library.Library("_", "IMPL")
    library.fallback(_call, "PrivateUse1")
    _kept.append(library)  # it unregisters what it holds when it goes


def register_doubles() -> None:
    """Give the device double precision from now on."""
    _narrow[0] = False

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

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

torch = pytest.importorskip("torch")
registration = pytest.importorskip("torch.utils.backend_registration")

NAME = "far"
transfers = [0]
_SET = torch.ops.aten.set_.source_Storage_storage_offset
_clone = torch.UntypedStorage.clone
_META = torch._C.DispatchKeySet(torch._C.DispatchKey.Meta)
_AUTOCAST = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)
_ROUNDED = ("linear", "matmul", "mm", "addmm", "mv", "dot", "conv2d")
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
        base = _based(storage, raw.dtype)
    return _placed(torch._C._acc.create_empty_tensor([0], raw.dtype), base, raw)


def _based(storage: Any, dtype: torch.dtype) -> torch.Tensor:
    # A tensor of the device that a storage of the host lies behind.
    count = -(-storage.nbytes() // dtype.itemsize)
    base = torch._C._acc.create_empty_tensor([count], dtype)
    _behind[base.untyped_storage()._cdata] = storage
    return base


def _placed(tensor: torch.Tensor, base: torch.Tensor, raw: torch.Tensor) -> torch.Tensor:
    # The tensor itself, from now on a view of another with the layout of the one behind it.
    where = raw.storage_offset(), raw.shape, raw.stride()
    return _SET.redispatch(_META, tensor, base.untyped_storage(), *where)


def _bare(value: torch.Tensor) -> torch.Tensor:
    storage = _behind[value.untyped_storage()._cdata]
    raw = torch.empty(0, dtype=value.dtype, device="cpu")
    return raw.set_(storage, value.storage_offset(), value.shape, value.stride())


class _Facts:
    """What is to be known of an operation, found once."""

    def __init__(self, op: Any) -> None:
        self.name = op.name()
        self.waits, self.indexed = self.name in _WAITING, self.name in _INDEXED
        self.random = torch.Tag.nondeterministic_seeded in op.tags
        wanted = [str(argument.type) == "Tensor" for argument in op._schema.arguments]
        self.tensors = [place for place, tensor in enumerate(wanted) if tensor]


_facts = lru_cache(maxsize=None)(_Facts)


def _changed(value: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    # What operations take and give: tensors, lists of them, and things that hold none.
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)([_changed(part, change) for part in value])
    return value


def _refuse_strangers(name: str, given: list[torch.Tensor]) -> None:
    strange = [a for a in given if a.device.type != NAME and a.ndim]
    if strange:
        msg = (
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{NAME}:0 and {strange[0].device}! ({name})"
        )
        raise RuntimeError(msg)


def _drawn(op: Any, args: Any, options: Any) -> Any:
    # Random numbers are the device's own.
    if any(isinstance(value, torch.Generator) for value in (*args, *options.values())):
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
    facts, given, raws = _facts(op), [], {}

    def bare(value: torch.Tensor) -> torch.Tensor:
        given.append(value)
        if value.device.type != NAME:
            return value
        if id(value) not in raws:
            raws[id(value)] = value, _bare(value)
        return raws[id(value)][1]

    inner = [_changed(value, bare) for value in args]
    options = {key: _changed(value, bare) for key, value in kwargs.items()}
    if facts.name == "aten::_copy_from":
        transfers[0] += args[1].device.type != NAME
        inner[1].copy_(inner[0])
        return args[1]
    if op is _SET:  # of two storages of the device
        return op.redispatch(_META, *args)
    if raws and not facts.indexed:
        _refuse_strangers(facts.name, given)
    transfers[0] += facts.waits
    # Numbers that C++ has wrapped in a tensor arrive as numbers.
    for place in facts.tensors:
        if place < len(inner) and isinstance(inner[place], int | float):
            inner[place] = torch.tensor(inner[place], device="cpu")
    device = kwargs.get("device")
    home = device is not None and torch.device(device).type == "cpu"
    if device is not None:
        options["device"] = torch.device("cpu")
    same = {id(raw): value for value, raw in raws.values()}
    bases = {raw.untyped_storage()._cdata: value for value, raw in raws.values()}
    found = _drawn(op, inner, options) if facts.random else op(*inner, **options)
    for value, raw in raws.values():  # results that were given empty, and have grown
        if value.shape != raw.shape:
            _placed(value, _wrapped(raw, {}), raw)

    def back(value: torch.Tensor) -> torch.Tensor:
        return same[id(value)] if id(value) in same else _wrapped(value, bases)

    return found if home else _changed(found, back)


def _rounded(op: Any, *args: Any) -> Any:
    # Under autocast: in the shorter precision, which accelerators have special units for.
    kind = torch.get_autocast_dtype(NAME)

    def short(value: torch.Tensor) -> torch.Tensor:
        return value.to(kind) if value.dtype == torch.float32 else value

    with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST):
        return op(*(_changed(value, short) for value in args))


def _copied(storage: Any) -> Any:
    # Torch would ask the allocator of the device, of which there is none, and copy from an address
    # of nothing: `copy.deepcopy` of a buffer does.
    if storage.device.type != NAME:
        return _clone(storage)
    return _based(_behind[storage._cdata].clone(), torch.uint8).untyped_storage()


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
    torch.UntypedStorage.clone = _copied
    library, own = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    library.fallback(_call, "PrivateUse1")
    for name in ("convolution", "convolution_backward"):  # torch would go by a kernel for others
        own.impl(name, partial(_call, getattr(torch.ops.aten, name).default), "PrivateUse1")
    library.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for name in _ROUNDED:
        op = getattr(torch.ops.aten, name).default
        own.impl(name, partial(_rounded, op), "AutocastPrivateUse1")
    _kept.extend([library, own])  # they unregister what they hold when they go


def register_doubles() -> None:
    """Give the device double precision from now on."""
    _narrow[0] = False

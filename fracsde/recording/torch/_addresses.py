"""Where tensors lie in main memory, and whether they may be read there.

An address alone says little: memory may have been given back, shortened, or given to another type,
and views of it have other lengths and orders.  Between two steps of training each question costs a
microsecond when it is asked from Python, and there are five of each tensor; torch's C interface,
which it keeps stable for compiled models, answers them all in one compiled call.  Where a torch
does not have it, they are asked from Python.
"""

from __future__ import annotations

import ctypes
from operator import attrgetter
from struct import Struct
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fracsde.recording.torch._kernels import ASKED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["TYPES", "Addresses", "Unsuited", "address_of", "plain"]

TYPES = {"float32": torch.float32, "float64": torch.float64}
_PREFIX = "aoti_torch_"
_inside = attrgetter("_cdata")  # the address of torch's own object


class Unsuited(Exception):  # noqa: N818 - caught where a reader is chosen
    """A tensor is not what the reader was made for: sparse, of another type, length or order."""


def plain(tensor: Any, dtype: Any) -> bool:
    """Return whether a tensor is contiguous, of a type, in main memory, and its numbers there."""
    return bool(
        tensor.dtype is dtype
        and tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and tensor.is_contiguous()
        and not tensor.is_neg()  # of a view whose memory holds the opposite numbers
    )


def address_of(array: NDArray[Any]) -> int:
    """Return where the numbers of an array lie."""
    return int(array.__array_interface__["data"][0])


class Addresses:
    """A table of lengths and addresses of weights, gradients and momentum buffers.

    ``where`` is the address by which compiled passes find it, see
    :func:`~fracsde.recording.torch._kernels.locate`.

    Parameters
    ----------
    lengths : sequence of int
        Of the tensors.
    dtype : {"float32", "float64"}
        Their type.
    """

    __slots__ = (
        "_alive", "_asked", "_dtype", "_found", "_lengths", "_objects", "_pack", "_single", "_size",
        "_table", "where",
    )  # fmt: skip

    def __init__(self, lengths: Sequence[int], dtype: str) -> None:
        count = len(lengths)
        self._lengths, self._dtype = list(lengths), TYPES[dtype]
        self._single = [t for t, length in enumerate(lengths) if length == 1]
        self._table, objects = np.zeros((2, 4, count), dtype=np.int64)
        self._table[0] = lengths
        row = Struct(f"={count}q")
        self._objects, self._pack, self._size = objects.data, row.pack_into, row.size
        self._found: list[list[int]] = [[0] * count for _ in range(4)]
        scratch = np.zeros(1, dtype=np.int64)
        places = [address_of(array) for array in (self._table, objects, scratch)]
        asked = _interface(dtype)
        self._asked = asked is not None
        facts = [count, *places, *(asked or [0] * (3 + len(ASKED)))]
        where = np.array(facts, dtype=np.int64)
        self.where, self._alive = address_of(where), (where, scratch)

    def note(self, which: int, tensors: Sequence[Any]) -> None:
        """Say which tensors the next pass reads; it learns where they are, and refuses some.

        Parameters
        ----------
        which : int
            The row: 1 for weights, 2 for gradients, 3 for momentum buffers.
        tensors : sequence of torch.Tensor or None
            As many as there are lengths.  They must stay alive during the pass.

        Raises
        ------
        Unsuited
            If one is seen at once not to be plain.
        """
        if not self._asked:
            self._find(which, tensors)
            return
        try:  # no bytecode per tensor, since this is on the way of every step
            found = list(map(_inside, tensors))
        except AttributeError:  # of None
            found = [0 if tensor is None else tensor._cdata for tensor in tensors]
        if found != self._found[which]:  # a look costs less than packing
            self._pack(self._objects, which * self._size, *found)
            self._found[which] = found
        # Autograd makes negative views of the imaginary parts of numbers; others than single
        # ones are not contiguous.
        if self._single and any(_negative(tensors[t]) for t in self._single):
            raise Unsuited

    def _find(self, which: int, tensors: Sequence[Any]) -> None:
        row = self._table[which]
        for t, (tensor, length) in enumerate(zip(tensors, self._lengths, strict=True)):
            if tensor is None:
                row[t] = 0
                continue
            if not plain(tensor, self._dtype) or tensor.numel() != length:
                raise Unsuited
            memory = tensor.untyped_storage().nbytes()
            if memory < (tensor.storage_offset() + length) * tensor.element_size():
                raise Unsuited
            row[t] = tensor.data_ptr()


def _negative(tensor: Any) -> bool:
    return tensor is not None and bool(tensor.is_neg())


def _interface(dtype: str) -> list[int] | None:
    """Return what :func:`~fracsde.recording.torch._kernels.locate` needs of torch's C interface.

    Returns
    -------
    list of int, or None where this torch has no such interface
    """
    wanted = ("layout_strided", "device_type_cpu", f"dtype_{dtype}")
    try:
        library = ctypes.CDLL(torch._C.__file__)
        numbers = [getattr(library, _PREFIX + name)() for name in wanted]
        functions = [getattr(library, f"{_PREFIX}get_{name}") for name in ASKED]
    except (AttributeError, OSError):
        return None
    places = [ctypes.cast(function, ctypes.c_void_p).value for function in functions]
    return [*numbers, *(place or 0 for place in places)]

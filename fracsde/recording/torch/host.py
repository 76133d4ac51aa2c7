r"""Reading contiguous tensors of one type where they lie in main memory, by compiled loops.

With :math:`w` the weights before a step, :math:`g` the gradient as the optimiser finds it and
:math:`v` the momentum buffers after the step,

.. math::
    U^{\mathsf T} w, \qquad U^{\mathsf T} g, \qquad |g|^2, \qquad w \cdot g, \qquad |w|^2, \qquad
    |v|^2 .

Results are kept in memory that is made beforehand, and what is compiled is called with addresses:
see :mod:`~fracsde.recording.torch._kernels` for what each of the two saves.
"""

from __future__ import annotations

from itertools import pairwise
from operator import attrgetter
from struct import Struct
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fracsde.recording.torch._kernels import CHUNK, entry, fold, packed, products, squares, take

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from fracsde.recording.observe import Bound
    from fracsde.recording.torch.parameters import TrainedParameters

__all__ = ["TYPES", "HostReader", "Unsuited", "plain"]

TYPES = {"float32": torch.float32, "float64": torch.float64}
_FOLDED = 1024  # sums that are kept apart while a tensor is read: few enough for the first cache
_WEIGHTS, _GRADIENTS, _BUFFERS = 1, 2, 3  # rows of the table of addresses; 0 holds lengths
_LINE = 64  # bytes of a line of the caches
_address, _length = torch.Tensor.data_ptr, torch.Tensor.numel
_contiguous, _type_of = torch.Tensor.is_contiguous, attrgetter("dtype")


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


class HostReader:
    """Reads contiguous tensors of one type in main memory.

    What it returns lies in a slot of its memory and stays until that slot is asked for again: in a
    step no array is made and nothing of NumPy called, whose code has left the caches.

    Parameters
    ----------
    parameters : TrainedParameters
        The tensors.
    bound : Bound
        What is kept of them.
    dtype : {"float32", "float64"}
        Their type.
    slots : int
        Rows that its memory holds.
    """

    __slots__ = (  # an attribute lies beside the others, and not in a dictionary
        "_at_observed", "_at_products", "_at_table", "_bound", "_cuts", "_dtype",
        "_gather", "_lengths", "_multiply", "_observed", "_places", "_products", "_row",
        "_single", "_square", "_table", "_tensors", "_types",
    )  # fmt: skip

    def __init__(
        self, parameters: TrainedParameters, bound: Bound, dtype: str, slots: int = 1
    ) -> None:
        self._tensors, self._bound, self._dtype = parameters.tensors, bound, TYPES[dtype]
        self._cuts = list(pairwise(parameters.offsets))
        count = len(self._tensors)
        self._lengths, self._types = list(map(_length, self._tensors)), [self._dtype] * count
        self._single = [t for t, length in enumerate(self._lengths) if length == 1]
        self._table = np.zeros((4, count), dtype=np.int64)
        self._table[0] = self._lengths
        self._row = Struct(f"={count}q")
        self._places: list[list[int]] = [[0] * count for _ in range(4)]
        self._at_table = (_address_of(self._table), count)
        self._products, self._at_products = _slots(slots, 3, "float64")
        kept = [_slots(slots, bound.width, dtype) for _ in range(2)]
        self._observed = [memory for memory, _ in kept]
        self._at_observed = [places for _, places in kept]
        self._multiply, self._square = entry(products, dtype), entry(squares, dtype)
        self._gather: Callable[[int, int], None] | None = None
        if bound.structure == "disjoint":
            self._gather = self._folding(dtype)
        elif bound.kind == "coordinates":
            self._gather = self._taking(parameters, dtype)

    def _folding(self, dtype: str) -> Callable[[int, int], None]:
        """Return what projects on disjoint directions, given a row of the table and an address.

        Returns
        -------
        callable
        """
        bound = self._bound
        assert bound.array is not None
        # All entries of a direction have one magnitude: a sign is a bit.
        lengths = np.zeros(bound.width, dtype)
        first = np.abs(bound.array[:: bound.run][: bound.width])
        lengths[: len(first)] = first
        group = bound.run * bound.width
        length = -(-max(_FOLDED, CHUNK) // group) * group
        words = _aligned(packed(np.signbit(bound.array), self._lengths))
        sums = _aligned(np.zeros(length + CHUNK, dtype))
        places = [_address_of(array) for array in (self._table, words, sums, lengths)]
        facts = [*places[:3], length, bound.run, places[3], bound.width, len(self._tensors)]
        plan = np.array(facts, dtype=np.int64)
        run, at = entry(fold, dtype), _address_of(plan)

        def gather(which: int, out: int, _alive: Any = (plan, words, sums, lengths)) -> None:
            run(at, which, out, 0.0)

        return gather

    def _taking(self, parameters: TrainedParameters, dtype: str) -> Callable[[int, int], None]:
        """Return what picks coordinates, given a row of the table and an address.

        Returns
        -------
        callable
        """
        assert self._bound.array is not None
        offsets = np.array(parameters.offsets)
        tensor = np.searchsorted(offsets, self._bound.array, side="right") - 1
        places = np.array([tensor, self._bound.array - offsets[tensor]], dtype=np.int64)
        run, at, width = entry(take, dtype), _address_of(places), self._bound.width
        table, count = self._at_table

        def gather(which: int, out: int, _alive: Any = places) -> None:
            run(table, count, which, at, width, out, 0.0)

        return gather

    def _find(self, which: int, tensors: Sequence[Any]) -> None:
        """Put the addresses of weights, gradients or momentum buffers into the table, 0 for None.

        An address alone says little: memory may have been given to another type, and views of it
        have other lengths and orders.

        Raises
        ------
        Unsuited
            If one is not plain, or has another length than the weights at first.
        """
        try:  # no bytecode per tensor, since this is on the way of every step
            places = list(map(_address, tensors))
            if (
                list(map(_length, tensors)) != self._lengths
                or list(map(_type_of, tensors)) != self._types
                or not all(map(_contiguous, tensors))
                # Autograd makes negative views of the imaginary parts of numbers; others than
                # single ones are not contiguous.
                or (self._single and any(tensors[t].is_neg() for t in self._single))
            ):
                raise Unsuited
        except (AttributeError, RuntimeError, TypeError):  # of what is not dense, and of None
            pairs = zip(tensors, self._lengths, strict=True)
            places = [self._place(tensor, length) for tensor, length in pairs]
        if places != self._places[which]:
            self._note(which, places, tensors)

    def _place(self, tensor: Any, length: int) -> int:
        if tensor is None:
            return 0
        if not plain(tensor, self._dtype) or tensor.numel() != length:
            raise Unsuited
        return int(tensor.data_ptr())

    def _note(self, which: int, places: list[int], tensors: Sequence[Any]) -> None:
        """Put addresses that have changed into the table.

        Raises
        ------
        Unsuited
            If a tensor lies on a device, or its memory has been given back.
        """
        for tensor, place, length in zip(tensors, places, self._lengths, strict=True):
            if tensor is not None and not (tensor.is_cpu and (place or not length)):
                raise Unsuited
        self._row.pack_into(self._table.data, which * self._row.size, *places)
        self._places[which] = places

    def products(self, slot: int, gradients: list[Any]) -> NDArray[np.float64]:
        """Return w·g, g·g and w·w.

        Returns
        -------
        (3,) ndarray
        """
        self._find(_WEIGHTS, self._tensors)
        self._find(_GRADIENTS, gradients)
        self._multiply(*self._at_table, self._at_products[slot], 0.0)
        return self._products[slot]

    def squares(self, slot: int, tensors: list[Any]) -> float:
        """Return the sum of the squares of all entries of momentum buffers.

        Returns
        -------
        float
        """
        self._find(_BUFFERS, tensors)
        found: float = self._square(*self._at_table, 0.0)
        return found

    def weights(self, slot: int) -> NDArray[Any]:
        """Return what is kept of the weights: what every step calls.

        Returns
        -------
        (width,) ndarray

        Raises
        ------
        Unsuited
            If one is not plain.
        """
        if self._gather is None:
            return self._apply(self._observed[0][slot], self._tensors)
        self._find(_WEIGHTS, self._tensors)
        self._gather(_WEIGHTS, self._at_observed[0][slot])
        return self._observed[0][slot]

    def gradients(self, slot: int, tensors: list[Any]) -> NDArray[Any]:
        """Return what is kept of a gradient in as many tensors.

        Returns
        -------
        (width,) ndarray

        Raises
        ------
        Unsuited
            If one is not plain.
        """
        if self._gather is None:
            return self._apply(self._observed[1][slot], tensors)
        self._find(_GRADIENTS, tensors)
        self._gather(_GRADIENTS, self._at_observed[1][slot])
        return self._observed[1][slot]

    def _apply(self, out: NDArray[Any], tensors: Sequence[Any]) -> NDArray[Any]:
        """Write all of the tensors, or their projections on dense directions.

        Returns
        -------
        (width,) ndarray

        Raises
        ------
        Unsuited
            If one is not plain.
        """
        bound = self._bound
        out.fill(0.0)
        for (start, end), tensor in zip(self._cuts, tensors, strict=True):
            if tensor is None:
                continue
            if not plain(tensor, self._dtype) or tensor.numel() != end - start:
                raise Unsuited
            part = tensor.detach().numpy().reshape(-1)
            if bound.array is None:
                out[start:end] = part
            else:
                out += np.dot(bound.array[start:end].T, part)
        return out

    @staticmethod
    def fetch(values: list[Any]) -> NDArray[Any]:
        """Return what :meth:`weights` or :meth:`gradients` made of many rows, as one array.

        Returns
        -------
        (row, width) ndarray
        """
        return np.array(values)


def _address_of(array: NDArray[Any]) -> int:
    """Return where the numbers of an array lie."""
    return int(array.__array_interface__["data"][0])


def _aligned(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy that begins where a line of the caches does.

    Returns
    -------
    ndarray
    """
    memory = np.zeros(array.nbytes + _LINE, dtype=np.uint8)
    start = -_address_of(memory) % _LINE
    copy = memory[start : start + array.nbytes].view(array.dtype)
    copy[:] = array
    return copy


def _slots(count: int, width: int, dtype: str) -> tuple[list[NDArray[Any]], list[int]]:
    """Return memory of so many rows, and its addresses.

    Returns
    -------
    tuple of list of (width,) ndarray, and list of int
    """
    memory = np.zeros((count, width), dtype)
    start, stride = _address_of(memory), memory.strides[0]
    return list(memory), [start + stride * slot for slot in range(count)]

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
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.recording.torch._addresses import TYPES, Addresses, Unsuited, address_of, plain
from fracsde.recording.torch._kernels import CHUNK, entry, fold, packed, products, squares, take

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from fracsde.recording.observe import Bound
    from fracsde.recording.torch.parameters import TrainedParameters

__all__ = ["HostReader"]

_FOLDED = 1024  # sums that are kept apart while a tensor is read: few enough for the first cache
_WEIGHTS, _GRADIENTS, _BUFFERS = 1, 2, 3  # rows of the table of addresses; 0 holds lengths
_LINE = 64  # bytes of a line of the caches


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
        "_alive", "_at_kept", "_at_others", "_at_products", "_bound", "_cuts", "_dtype",
        "_gather", "_kept", "_multiply", "_note", "_others", "_plan", "_products", "_square",
        "_tensors", "_where",
    )  # fmt: skip

    def __init__(
        self, parameters: TrainedParameters, bound: Bound, dtype: str, slots: int = 1
    ) -> None:
        self._tensors, self._bound, self._dtype = parameters.tensors, bound, TYPES[dtype]
        self._cuts = list(pairwise(parameters.offsets))
        lengths = [int(tensor.numel()) for tensor in self._tensors]
        addresses = Addresses(lengths, dtype)
        self._note, self._where = addresses.note, addresses.where
        self._products, self._at_products = _slots(slots, 3, "float64")
        self._kept, self._at_kept = _slots(slots, bound.width, dtype)
        self._others, self._at_others = _slots(slots, bound.width, dtype)
        self._multiply, self._square = entry(products, dtype), entry(squares, dtype)
        self._gather: Callable[[int, int, int, float], bool] | None = None
        self._plan, self._alive = 0, ()
        if bound.structure == "disjoint":
            self._gather = entry(fold, dtype)
            self._plan, self._alive = _folding(bound, self._where, lengths, dtype)
        elif bound.kind == "coordinates":
            self._gather = entry(take, dtype)
            self._plan, self._alive = _taking(bound, self._where, parameters.offsets)

    def products(self, slot: int, gradients: list[Any]) -> NDArray[np.float64]:
        """Return w·g, g·g and w·w.

        Returns
        -------
        (3,) ndarray

        Raises
        ------
        Unsuited
            If a tensor is not plain.
        """
        self._note(_WEIGHTS, self._tensors)
        self._note(_GRADIENTS, gradients)
        if not self._multiply(self._where, self._at_products[slot], 0.0):
            raise Unsuited
        return self._products[slot]

    def squares(self, slot: int, tensors: list[Any]) -> float:
        """Return the sum of the squares of all entries of momentum buffers.

        Returns
        -------
        float

        Raises
        ------
        Unsuited
            If one is not plain.
        """
        self._note(_BUFFERS, tensors)
        found: float = self._square(self._where, 0.0)
        if found < 0.0:
            raise Unsuited
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
        gather, tensors, out = self._gather, self._tensors, self._kept[slot]
        if gather is None:
            return self._apply(out, tensors)
        self._note(_WEIGHTS, tensors)
        if not gather(self._plan, _WEIGHTS, self._at_kept[slot], 0.0):
            raise Unsuited
        return out

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
        gather, out = self._gather, self._others[slot]
        if gather is None:
            return self._apply(out, tensors)
        self._note(_GRADIENTS, tensors)
        if not gather(self._plan, _GRADIENTS, self._at_others[slot], 0.0):
            raise Unsuited
        return out

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


def _folding(
    bound: Bound, where: int, lengths: Sequence[int], dtype: str
) -> tuple[int, tuple[Any, ...]]:
    """Return the address of a plan of :func:`fold`, and what must stay alive for it.

    Returns
    -------
    int
    tuple of ndarray
    """
    assert bound.array is not None
    # All entries of a direction have one magnitude: a sign is a bit.
    magnitudes = np.zeros(bound.width, dtype)
    first = np.abs(bound.array[:: bound.run][: bound.width])
    magnitudes[: len(first)] = first
    group = bound.run * bound.width
    length = -(-max(_FOLDED, CHUNK) // group) * group
    words = _aligned(packed(np.signbit(bound.array), lengths))
    sums = _aligned(np.zeros(length + CHUNK, dtype))
    places = [address_of(array) for array in (words, sums, magnitudes)]
    facts = [where, *places[:2], length, bound.run, places[2], bound.width]
    plan = np.array(facts, dtype=np.int64)
    return address_of(plan), (plan, words, sums, magnitudes)


def _taking(bound: Bound, where: int, offsets: Sequence[int]) -> tuple[int, tuple[Any, ...]]:
    """Return the address of a plan of :func:`take`, and what must stay alive for it.

    Returns
    -------
    int
    tuple of ndarray
    """
    assert bound.array is not None
    starts = np.array(offsets)
    tensor = np.searchsorted(starts, bound.array, side="right") - 1
    places = np.array([tensor, bound.array - starts[tensor]], dtype=np.int64)
    plan = np.array([where, address_of(places), bound.width], dtype=np.int64)
    return address_of(plan), (plan, places)


def _aligned(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy that begins where a line of the caches does.

    Returns
    -------
    ndarray
    """
    memory = np.zeros(array.nbytes + _LINE, dtype=np.uint8)
    start = -address_of(memory) % _LINE
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
    start, stride = address_of(memory), memory.strides[0]
    return list(memory), [start + stride * slot for slot in range(count)]

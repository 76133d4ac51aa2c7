r"""What a row needs of the tensors: observed weights and gradient, and inner products.

With :math:`w` the weights before a step, :math:`g` the gradient as the optimiser finds it and
:math:`v` the momentum buffers after the step,

.. math::
    |g|^2, \qquad w \cdot g, \qquad |w|^2, \qquad |v|^2 .

Two readers do the same.  Contiguous tensors of one type in main memory are read where they lie, by
compiled loops.  All others, on a device, in half precision, sparse, are read by operations of torch
and stay on their device until many rows are fetched in one transfer.  A gradient that is ``None``
counts as zero.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fracsde.recording.torch._kernels import fold, products, squares
from fracsde.records._store.observation import disjoint_run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde.recording.observe import Bound
    from fracsde.recording.torch.parameters import TrainedParameters

__all__ = ["HostReader", "TensorReader", "Unsuited", "reader_for"]

_FOLDED = 1024  # sums that are kept apart while a tensor is read: few enough for the first cache
_WEIGHTS, _GRADIENTS, _BUFFERS = 1, 2, 3  # rows of the table of addresses; 0 holds lengths
_TYPES = {"float32": torch.float32, "float64": torch.float64}


class Unsuited(Exception):  # noqa: N818 - caught where a reader is chosen
    """A tensor is not what the reader was made for: moved, sparse, of another type or order."""


def reader_for(
    parameters: TrainedParameters, bound: Bound, dtype: str, slots: int = 1
) -> HostReader | TensorReader:
    """Return the reader that suits the tensors as they are now.

    Parameters
    ----------
    parameters : TrainedParameters
        The tensors.
    bound : Bound
        What is kept of them.
    dtype : {"float32", "float64"}
        Precision of sums and results.
    slots : int
        Rows that its memory holds.

    Returns
    -------
    HostReader or TensorReader
    """
    if all(_plain(p, _TYPES[dtype]) for p in parameters.tensors):
        return HostReader(parameters, bound, dtype, slots)
    return TensorReader(parameters, bound, dtype)


def _plain(tensor: Any, dtype: Any) -> bool:
    return bool(
        tensor.dtype is dtype
        and tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and tensor.is_contiguous()
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

    def __init__(
        self, parameters: TrainedParameters, bound: Bound, dtype: str, slots: int = 1
    ) -> None:
        self._tensors, self._bound, self._dtype = parameters.tensors, bound, _TYPES[dtype]
        self._cuts = list(pairwise(parameters.offsets))
        self._like = np.zeros(1, dtype)
        count = len(self._tensors)
        self._table = np.zeros((4, count), dtype=np.int64)
        self._table[0] = [p.numel() for p in self._tensors]
        self._entries = [row.data for row in self._table]
        self._places: list[list[int]] = [[0] * count for _ in range(4)]
        self._run = disjoint_run(parameters.count, bound.width)
        group = self._run * bound.width
        self._sums = np.zeros(-(-_FOLDED // group) * group, dtype)
        if bound.structure == "disjoint":
            assert bound.array is not None
            # All entries of a direction have one magnitude: a sign is a byte.
            self._signs = np.sign(bound.array).astype(np.int8)
            belongs = np.arange(parameters.count) // self._run % bound.width
            self._lengths = np.zeros(bound.width, dtype)
            self._lengths[belongs] = np.abs(bound.array)
        self._products = list(np.zeros((slots, 3)))
        self._observed = [list(np.zeros((slots, bound.width), dtype)) for _ in range(2)]

    def _find_weights(self) -> None:
        """Put the addresses of the weights into the table.

        Raises
        ------
        Unsuited
            If one is not plain any more.
        """
        places = [p.data_ptr() for p in self._tensors]
        if places != self._places[_WEIGHTS]:
            if not all(_plain(p, self._dtype) for p in self._tensors):
                raise Unsuited
            self._note(_WEIGHTS, places)

    def _find(self, which: int, tensors: list[Any]) -> None:
        """Put the addresses of gradients or momentum buffers into the table, 0 for None.

        Raises
        ------
        Unsuited
            If one is not plain.
        """
        dtype, strided, places = self._dtype, torch.strided, []
        for tensor in tensors:
            if tensor is None:
                places.append(0)
            elif (
                tensor.dtype is dtype
                and tensor.layout is strided
                and tensor.is_contiguous()
                and tensor.is_cpu
            ):
                places.append(tensor.data_ptr())
            else:
                raise Unsuited
        if places != self._places[which]:
            self._note(which, places)

    def _note(self, which: int, places: list[int]) -> None:
        entries = self._entries[which]
        for t, place in enumerate(places):
            entries[t] = place
        self._places[which] = places

    def products(self, slot: int, gradients: list[Any]) -> NDArray[np.float64]:
        """Return w·g, g·g and w·w.

        Returns
        -------
        (3,) ndarray
        """
        self._find_weights()
        self._find(_GRADIENTS, gradients)
        out = self._products[slot]
        products(self._table, self._like, out)
        return out

    def squares(self, slot: int, tensors: list[Any]) -> float:
        """Return the sum of the squares of all entries of momentum buffers.

        Returns
        -------
        float
        """
        self._find(_BUFFERS, tensors)
        found: float = squares(self._table, self._like)
        return found

    def observe(self, slot: int, tensors: list[Any] | None = None) -> NDArray[Any]:
        """Return what is kept of the weights, or of a gradient in as many tensors.

        Returns
        -------
        (width,) ndarray

        Raises
        ------
        Unsuited
            If one is not plain.
        """
        bound = self._bound
        out = self._observed[tensors is not None][slot]
        if bound.structure == "disjoint":
            if tensors is None:
                self._find_weights()
            else:
                self._find(_GRADIENTS, tensors)
            which = _WEIGHTS if tensors is None else _GRADIENTS
            fold(self._table, which, self._signs, self._run, self._sums, self._lengths, out)
            return out
        parts = self._tensors if tensors is None else tensors
        out.fill(0.0)
        for (start, end), tensor in zip(self._cuts, parts, strict=True):
            if tensor is None:
                continue
            if not _plain(tensor, self._dtype):
                raise Unsuited
            part = tensor.detach().numpy().reshape(-1)
            if bound.array is None:
                out[start:end] = part
            elif bound.kind == "coordinates":
                rows = (bound.array >= start) & (bound.array < end)
                out[rows] = part[bound.array[rows] - start]
            else:
                out += np.dot(bound.array[start:end].T, part)
        return out

    @staticmethod
    def fetch(values: list[Any]) -> NDArray[Any]:
        """Return what :meth:`observe` made of many rows, as one array.

        Returns
        -------
        (row, width) ndarray
        """
        return np.array(values)


class TensorReader:
    """Reads tensors on any device, of any real type and layout.

    Parameters
    ----------
    parameters : TrainedParameters
        The tensors.
    bound : Bound
        What is kept of them.
    dtype : {"float32", "float64"}
        Precision of sums and results.
    """

    def __init__(self, parameters: TrainedParameters, bound: Bound, dtype: str) -> None:
        self._tensors, self._bound, self._dtype = parameters.tensors, bound, _TYPES[dtype]
        self._home = self._tensors[0].device
        self._sizes = [int(p.numel()) for p in self._tensors]
        self._array: Any = None
        if bound.array is not None:
            self._array = torch.from_numpy(np.array(bound.array.T, order="C")).to(self._home)
        if bound.structure == "disjoint":
            run = disjoint_run(parameters.count, bound.width)
            places = torch.arange(parameters.count, device=self._home)
            self._belongs = places // run % bound.width

    def _flat(self, tensors: list[Any] | None) -> list[Any]:
        if self._tensors[0].device != self._home:
            raise Unsuited
        flat = []
        for size, tensor in zip(self._sizes, tensors or self._tensors, strict=True):
            if tensor is None:
                flat.append(torch.zeros(size, device=self._home, dtype=self._dtype))
                continue
            plain = tensor.detach()
            plain = plain if plain.layout is torch.strided else plain.to_dense()
            flat.append(plain.reshape(-1).to(device=self._home, dtype=self._dtype))
        return flat

    def products(self, slot: int, gradients: list[Any]) -> Any:
        """Return w·g, g·g and w·w.

        Returns
        -------
        (3,) torch.Tensor
        """
        pairs = zip(self._flat(None), self._flat(gradients), strict=True)
        rows = [torch.stack((w @ g, g @ g, w @ w)) for w, g in pairs]
        return torch.stack(rows).sum(0)

    def squares(self, slot: int, tensors: list[Any]) -> Any:
        """Return the sum of the squares of all entries.

        Returns
        -------
        () torch.Tensor
        """
        return torch.stack([flat @ flat for flat in self._flat(tensors)]).sum()

    def observe(self, slot: int, tensors: list[Any] | None = None) -> Any:
        """Return what is kept of the weights, or of a vector in as many tensors.

        Returns
        -------
        (width,) torch.Tensor
        """
        whole = torch.cat(self._flat(tensors))
        if self._array is None:
            return whole
        if self._bound.kind == "coordinates":
            return whole[self._array]
        if self._bound.structure == "dense":
            return self._array @ whole
        empty = torch.zeros(self._bound.width, device=self._home, dtype=self._dtype)
        return empty.index_add(0, self._belongs, whole * self._array)

    def fetch(self, values: list[Any]) -> NDArray[Any]:
        """Bring rows to the host in one transfer.

        Returns
        -------
        ndarray
        """
        moved = [torch.as_tensor(v).to(self._home, self._dtype) for v in values]
        found: NDArray[Any] = torch.stack(moved).cpu().numpy()
        return found

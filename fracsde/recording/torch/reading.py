r"""What a row needs of the tensors: observed weights and gradient, and inner products of whole vectors.

With :math:`w` the weights before a step, :math:`g` the gradient as the optimiser finds it and
:math:`v` the momentum buffers after the step,

.. math::
    |g|^2, \qquad w \cdot g, \qquad |w|^2, \qquad |v|^2 .

Nothing is concatenated and nothing is moved that need not be: on the host tensors are read where
they lie, by compiled loops; elsewhere a row is made on the device and fetched in one transfer.
Sums run in the precision of the record.  A gradient that is ``None`` counts as zero, a sparse one
as the dense one it stands for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fracsde.recording.torch._kernels import fold, inner_products

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray
    from fracsde.recording.observe import Bound
    from fracsde.recording.torch.parameters import TrainedParameters

__all__ = ["DeviceReader", "HostReader", "Moved", "on_host", "reader_for"]

_FOLDED = 1024  # sums that are kept apart while a tensor is read: few enough for the first cache


class Moved(Exception):  # noqa: N818 - caught where a reader is chosen
    """A tensor is on another device or of another type than when the reader was made."""


def on_host(parameters: TrainedParameters) -> bool:
    """Return whether NumPy can look at every tensor where it lies.

    Returns
    -------
    bool
    """
    return all(
        p.device.type == "cpu"
        and p.layout == torch.strided
        and p.dtype in {torch.float32, torch.float64}
        for p in parameters.tensors
    )


def reader_for(parameters: TrainedParameters, bound: Bound, dtype: str) -> Any:
    """Return the reader that suits the tensors as they are now.

    Parameters
    ----------
    parameters : TrainedParameters
        The tensors.
    bound : Bound
        What is kept of them.
    dtype : {"float32", "float64"}
        Precision of sums and results.

    Returns
    -------
    HostReader or DeviceReader
    """
    return (HostReader if on_host(parameters) else DeviceReader)(parameters, bound, dtype)


class HostReader:
    """Reads tensors in main memory.

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
        self._tensors, self._bound = parameters.tensors, bound
        self._dtype = np.dtype(dtype)
        self._places = [-1] * len(self._tensors)
        self._views: list[NDArray[Any]] = [np.empty(0, self._dtype)] * len(self._tensors)
        offsets = parameters.offsets
        self._cuts = list(zip(offsets, offsets[1:], strict=False))
        self._out = np.empty(bound.width, self._dtype)
        if bound.kind == "coordinates":
            assert bound.array is not None
            self._chosen = [
                (np.flatnonzero((bound.array >= a) & (bound.array < b)), a) for a, b in self._cuts
            ]
        elif bound.structure == "disjoint":
            length = -(-_FOLDED // bound.width) * bound.width
            self._sums = np.empty(length, self._dtype)

    def weights(self) -> list[NDArray[Any]]:
        """Return a flat view of every tensor, or a copy of one that is not contiguous.

        Returns
        -------
        list of ndarray

        Raises
        ------
        Moved
            If one left the host or changed its type.
        """
        for i, tensor in enumerate(self._tensors):
            place = tensor.data_ptr()
            if place != self._places[i]:
                if tensor.device.type != "cpu" or tensor.dtype not in {
                    torch.float32,
                    torch.float64,
                }:
                    raise Moved
                self._views[i] = self._flat(tensor)
                self._places[i] = place if tensor.is_contiguous() else -1
        return self._views

    def gradients(self) -> list[NDArray[Any] | None]:
        """Return a flat view of every gradient, None where there is none.

        Returns
        -------
        list of ndarray or None
        """
        return [None if p.grad is None else self._flat(p.grad) for p in self._tensors]

    def _flat(self, tensor: Any) -> NDArray[Any]:
        plain = tensor.detach() if tensor.requires_grad else tensor
        if plain.layout != torch.strided:
            plain = plain.to_dense()
        if plain.dtype not in {torch.float32, torch.float64}:
            plain = plain.float()
        flat: NDArray[Any] = plain.numpy().reshape(-1)
        return flat if flat.dtype == self._dtype else flat.astype(self._dtype)

    def products(self, weights: list[Any], gradients: list[Any]) -> tuple[float, float, float]:
        """Return w·g, g·g and w·w.

        Returns
        -------
        tuple of float
        """
        wg, gg, ww = 0.0, 0.0, 0.0
        for w, g in zip(weights, gradients, strict=True):
            if g is None:
                ww += float(np.dot(w, w))
                continue
            part = inner_products(w, g)
            wg, gg, ww = wg + part[0], gg + part[1], ww + part[2]
        return wg, gg, ww

    def squares(self, tensors: list[Any]) -> float:
        """Return the sum of the squares of all entries.

        Returns
        -------
        float
        """
        total = 0.0
        for tensor in tensors:
            flat = self._flat(tensor)
            total += float(np.dot(flat, flat))
        return total

    def observe(self, parts: list[Any]) -> FloatArray:
        """Return what is kept of a vector.

        Parameters
        ----------
        parts : list of ndarray or None
            It, one part per tensor, None for zeros.

        Returns
        -------
        (width,) ndarray
            Overwritten by the next call.
        """
        out, bound = self._out, self._bound
        if bound.array is None:
            for (a, b), part in zip(self._cuts, parts, strict=True):
                out[a:b] = 0.0 if part is None else part
            return out
        out.fill(0.0)
        if bound.kind == "coordinates":
            for (rows, start), part in zip(self._chosen, parts, strict=True):
                if part is not None and len(rows):
                    out[rows] = part[bound.array[rows] - start]
        elif bound.structure == "dense":
            for (a, b), part in zip(self._cuts, parts, strict=True):
                if part is not None:
                    out += np.dot(bound.array[a:b].T, part)
        else:
            self._sums.fill(0.0)
            for (a, b), part in zip(self._cuts, parts, strict=True):
                if part is not None:
                    fold(part, bound.array[a:b], a % len(self._sums), self._sums)
            np.add.reduce(self._sums.reshape(-1, bound.width), axis=0, out=out)
        return out

    @staticmethod
    def fetch(*values: Any) -> list[Any]:
        """Return values as they are: they are on the host.

        Returns
        -------
        list
        """
        return list(values)


class DeviceReader:
    """Reads tensors on any device and of any real type.

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
        self._tensors, self._bound = parameters.tensors, bound
        self._dtype = torch.float64 if dtype == "float64" else torch.float32
        self._home = self._tensors[0].device
        self._sizes = [int(p.numel()) for p in self._tensors]
        self._array = None
        if bound.array is not None:
            array = torch.from_numpy(np.array(bound.array.T, order="C"))
            self._array = array.to(self._home)

    def weights(self) -> list[Any]:
        """Return every tensor, flat, on one device.

        Returns
        -------
        list of torch.Tensor

        Raises
        ------
        Moved
            If the first is on another device than it was.
        """
        if self._tensors[0].device != self._home:
            raise Moved
        return [self._flat(tensor) for tensor in self._tensors]

    def gradients(self) -> list[Any]:
        """Return every gradient, flat, on one device; None where there is none.

        Returns
        -------
        list of torch.Tensor or None
        """
        return [None if p.grad is None else self._flat(p.grad) for p in self._tensors]

    def _flat(self, tensor: Any) -> Any:
        plain = tensor.detach()
        if plain.layout != torch.strided:
            plain = plain.to_dense()
        return plain.reshape(-1).to(device=self._home, dtype=self._dtype)

    def products(self, weights: list[Any], gradients: list[Any]) -> Any:
        """Return w·g, g·g and w·w.

        Returns
        -------
        (3,) torch.Tensor
        """
        zero = torch.zeros((), device=self._home, dtype=self._dtype)
        rows = [
            torch.stack((zero, zero, torch.dot(w, w)))
            if g is None
            else torch.stack((torch.dot(w, g), torch.dot(g, g), torch.dot(w, w)))
            for w, g in zip(weights, gradients, strict=True)
        ]
        return torch.stack(rows).sum(0)

    def squares(self, tensors: list[Any]) -> Any:
        """Return the sum of the squares of all entries.

        Returns
        -------
        () torch.Tensor
        """
        total = torch.zeros((), device=self._home, dtype=self._dtype)
        for tensor in tensors:
            flat = self._flat(tensor)
            total = total + torch.dot(flat, flat)
        return total

    def observe(self, parts: list[Any]) -> Any:
        """Return what is kept of a vector.

        Parameters
        ----------
        parts : list of torch.Tensor or None
            It, one part per tensor, None for zeros.

        Returns
        -------
        (width,) torch.Tensor
        """
        whole = torch.cat(
            [
                torch.zeros(size, device=self._home, dtype=self._dtype) if part is None else part
                for size, part in zip(self._sizes, parts, strict=True)
            ]
        )
        if self._array is None:
            return whole
        if self._bound.kind == "coordinates":
            return whole[self._array]
        if self._bound.structure == "dense":
            return self._array @ whole
        short = -len(whole) % self._bound.width
        products = torch.nn.functional.pad(whole * self._array, (0, short))
        return products.reshape(-1, self._bound.width).sum(0)

    def fetch(self, *values: Any) -> list[Any]:
        """Bring tensors to the host in one transfer.

        Parameters
        ----------
        *values : torch.Tensor
            Vectors and numbers.

        Returns
        -------
        list of ndarray or float
        """
        moved = [value.detach().reshape(-1).to(self._home, self._dtype) for value in values]
        flat = torch.cat(moved).cpu().numpy()
        ends = np.cumsum([len(part) for part in moved])
        parts = np.split(flat, ends[:-1])
        return [
            part if value.ndim else float(part[0])
            for value, part in zip(values, parts, strict=True)
        ]

r"""What a row needs of the tensors: observed weights and gradient, and inner products.

With :math:`w` the weights before a step, :math:`g` the gradient as the optimiser finds it and
:math:`v` the momentum buffers after the step,

.. math::
    |g|^2, \qquad w \cdot g, \qquad |w|^2, \qquad |v|^2 .

Two readers do the same.  Contiguous tensors of one type in main memory are read where they lie, by
compiled loops.  All others, on a device, in half precision, sparse, are read by operations of torch
and stay on their device until many rows are fetched in one transfer, in single precision at least
whatever autocast says.  A gradient that is ``None`` counts as zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fracsde.recording.torch._addresses import TYPES, Unsuited, plain
from fracsde.recording.torch.devices import unrounded
from fracsde.recording.torch.host import HostReader
from fracsde.records._store.observation import disjoint_run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde.recording.observe import Bound
    from fracsde.recording.torch.parameters import TrainedParameters

__all__ = ["HostReader", "TensorReader", "Unsuited", "rates_of", "reader_for", "unscale"]


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
    if all(plain(p, TYPES[dtype]) for p in parameters.tensors):
        return HostReader(parameters, bound, dtype, slots)
    return TensorReader(parameters, bound, dtype)


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
        self._tensors, self._bound, self._dtype = parameters.tensors, bound, TYPES[dtype]
        self._home = self._tensors[0].device
        self._kinds = (self._home.type,)
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
            if tensor.numel() != size:
                raise Unsuited
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
        with unrounded(self._kinds):
            rows = [torch.stack((w @ g, g @ g, w @ w)) for w, g in pairs]
            return torch.stack(rows).sum(0)

    def squares(self, slot: int, tensors: list[Any]) -> Any:
        """Return the sum of the squares of all entries.

        Returns
        -------
        () torch.Tensor
        """
        with unrounded(self._kinds):
            return torch.stack([flat @ flat for flat in self._flat(tensors)]).sum()

    def weights(self, slot: int) -> Any:
        """Return what is kept of the weights.

        Returns
        -------
        (width,) torch.Tensor
        """
        return self._observed(None)

    def gradients(self, slot: int, tensors: list[Any]) -> Any:
        """Return what is kept of a gradient in as many tensors.

        Returns
        -------
        (width,) torch.Tensor
        """
        return self._observed(tensors)

    def _observed(self, tensors: list[Any] | None) -> Any:
        whole = torch.cat(self._flat(tensors))
        if self._array is None:
            return whole
        if self._bound.kind == "coordinates":
            return whole[self._array]
        if self._bound.structure == "dense":
            with unrounded(self._kinds):
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


def rates_of(rates: list[Any]) -> Any:
    """Return learning rates as they are now, without waiting for a device that holds one.

    Parameters
    ----------
    rates : list of float or torch.Tensor
        One per parameter group.

    Returns
    -------
    list of float, or (groups,) torch.Tensor
    """
    held = next((r for r in rates if isinstance(r, torch.Tensor) and not r.is_cpu), None)
    if held is None:
        return [float(rate) for rate in rates]
    # Stacked, and so copied: a scheduler changes them in place.
    kind = {"device": held.device, "dtype": held.dtype}
    return torch.stack(
        [
            rate.detach().reshape(()).to(**kind)
            if isinstance(rate, torch.Tensor)
            else torch.full((), float(rate), **kind)
            for rate in rates
        ]
    )


def unscale(row: dict[str, Any], scale: Any) -> None:
    """Divide what was read of a gradient by the scale of its loss, in place.

    Parameters
    ----------
    row : dict
        What was read: ``gradients``, which are linear in it, and ``products`` (w·g, g·g, w·w), of
        degrees one, two and none.
    scale : torch.Tensor or float
        The scale; one on the device of what was read is not waited for.
    """
    read = next(iter(value for name, value in row.items() if name in ("gradients", "products")))
    if isinstance(read, torch.Tensor):
        inverse = torch.as_tensor(scale, device=read.device).to(read.dtype).reciprocal()
    else:
        inverse = 1.0 / float(scale)
    if "gradients" in row:
        row["gradients"] = row["gradients"] * inverse
    if "products" in row:
        row["products"] = row["products"] * inverse
        row["products"][1] *= inverse
        row["products"][2] /= inverse

r"""The loss of a torch model at many positions at once: what chains ask for at every step.

.. math::
    (L(w_r), \nabla L(w_r)), \qquad \Bigl( \frac1B \sum_{i \in b_r} \ell_i(w_r),
    \frac1B \sum_{i \in b_r} \nabla \ell_i(w_r) \Bigr), \qquad r = 1 \dots R .

One batched pass over positions where ``torch.func`` knows the model, one pass per position else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.func import grad_and_value, vmap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fracsde._typing import FloatArray, IntArray
    from fracsde.recording.torch.functional import FlatModel, Route

__all__ = ["ManyPositions"]


class ManyPositions:
    """Methods of :class:`~fracsde.recording.torch.TorchLoss` for many positions."""

    weight_decay: float
    _flat: FlatModel
    _route: Route
    _inputs: tuple[torch.Tensor, ...]
    _targets: torch.Tensor

    def losses_and_gradients(self, w: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Losses and gradients of many positions.

        Parameters
        ----------
        w : (chain, P) float64 [weight]
            One position per row.

        Returns
        -------
        tuple of (chain,) and (chain, P) float64
        """
        points, count = self._points(w), len(self._targets)
        values, slopes = np.zeros(len(w)), np.zeros(w.shape)
        for x, y in self._passes():
            value, slope = self._at(points, x, y, (0, None, None))
            values += len(y) / count * value
            slopes += len(y) / count * slope
        return self._with_decay(w, values, slopes)

    def batch_losses_and_gradients(
        self, w: FloatArray, rows: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """Losses and gradients, each position with a batch of its own.

        Parameters
        ----------
        w : (chain, P) float64 [weight]
            One position per row.
        rows : (chain, batch) int64
            Example numbers.

        Returns
        -------
        tuple of (chain,) and (chain, P) float64
        """
        chosen = torch.as_tensor(rows, device=self._targets.device)
        x, y = tuple(part[chosen] for part in self._inputs), self._targets[chosen]
        return self._with_decay(w, *self._at(self._points(w), x, y, (0, 0, 0)))

    def _passes(
        self, chosen: torch.Tensor | None = None, size: int | None = None
    ) -> Iterator[tuple[tuple[torch.Tensor, ...], torch.Tensor]]:
        raise NotImplementedError  # TorchLoss has it

    def _points(self, w: FloatArray) -> torch.Tensor:
        return torch.tensor(w, device=self._flat.device, dtype=self._flat.dtype)

    def _at(
        self, points: torch.Tensor, x: Any, y: torch.Tensor, axes: tuple[Any, ...]
    ) -> tuple[FloatArray, FloatArray]:
        # ``axes`` says whether examples have a position's axis of their own.
        if self._route.name == "torch.func":
            slopes, values = vmap(grad_and_value(self._flat.loss), in_dims=axes)(points, x, y)
        else:
            own = axes[1] is not None
            found = [
                self._flat.loss_and_gradient(
                    point, tuple(part[r] for part in x) if own else x, y[r] if own else y
                )
                for r, point in enumerate(points)
            ]
            values = torch.stack([value for value, _ in found])
            slopes = torch.stack([slope for _, slope in found])
        return tuple(part.detach().double().cpu().numpy() for part in (values, slopes))

    def _with_decay(
        self, w: FloatArray, values: FloatArray, slopes: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        decay = float(self.weight_decay)
        return values + 0.5 * decay * np.square(w).sum(axis=1), slopes + decay * w

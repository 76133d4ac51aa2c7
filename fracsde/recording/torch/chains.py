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

from fracsde.recording.torch.devices import fetched

if TYPE_CHECKING:
    from collections.abc import Callable

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

    if TYPE_CHECKING:  # TorchLoss has them

        def _mean(
            self, evaluate: Callable[[Any, torch.Tensor], torch.Tensor], start: FloatArray
        ) -> FloatArray: ...

        def _examples_of(
            self, rows: torch.Tensor | slice
        ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]: ...

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
        points = self._flat.point(w)
        both = self._mean(
            lambda x, y: self._at(points, x, y, (0, None, None)), np.zeros((len(w), 1 + w.shape[1]))
        )
        return self._with_decay(w, both)

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
        x, y = self._examples_of(torch.tensor(rows, device="cpu"))
        both = next(fetched([self._at(self._flat.point(w), x, y, (0, 0, 0))]))
        return self._with_decay(w, both)

    def _at(
        self, points: torch.Tensor, x: Any, y: torch.Tensor, axes: tuple[Any, ...]
    ) -> torch.Tensor:
        # Values and slopes of each position in a row, so that one transfer fetches them; ``axes``
        # says whether examples have a position's axis of their own.
        if self._route.name == "torch.func":
            with self._flat.unrounded():
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
        return torch.cat([values.to(slopes.device)[:, None], slopes], dim=1)

    def _with_decay(self, w: FloatArray, both: FloatArray) -> tuple[FloatArray, FloatArray]:
        decay, (values, slopes) = float(self.weight_decay), (both[:, 0], both[:, 1:])
        return values + 0.5 * decay * np.square(w).sum(axis=1), slopes + decay * w

"""How many examples stood behind each step: the rows of what the model was given."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["BatchWatch"]

_Tensor, _differentiated = torch.Tensor, torch.is_grad_enabled


class BatchWatch:
    """Counts the rows of the first tensor of each call that can be differentiated.

    It is called before the model is.  A copy or a pickle of the model holds one that counts for
    nobody.
    """

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows = 0

    def __call__(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Add the rows of one call.

        Parameters
        ----------
        module : torch.nn.Module
            The model.
        args, kwargs : tuple and dict
            Its arguments.
        """
        if not _differentiated():
            return
        # `len` of a tensor is Python code; its shape is not.
        for value in args:
            if isinstance(value, _Tensor) and value.ndim:
                self.rows += value.shape[0]
                return
        for value in kwargs.values():
            if isinstance(value, _Tensor) and value.ndim:
                self.rows += value.shape[0]
                return

    def __reduce__(self) -> tuple[type[BatchWatch], tuple[()]]:
        return BatchWatch, ()

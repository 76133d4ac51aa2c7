"""How many examples stood behind each step: the rows of what the model was given."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["BatchWatch"]


class BatchWatch:
    """Counts the rows of the first tensor of each call that can be differentiated.

    It is called before the model is.  A copy or a pickle of the model holds one that counts for
    nobody.
    """

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
        if not torch.is_grad_enabled():
            return
        for value in (*args, *kwargs.values()):
            if isinstance(value, torch.Tensor) and value.ndim:
                self.rows += len(value)
                return

    def taken(self) -> int:
        """Return the rows since the last call, 0 where none were seen.

        Returns
        -------
        int
        """
        rows, self.rows = self.rows, 0
        return rows

    def __reduce__(self) -> tuple[type[BatchWatch], tuple[()]]:
        return BatchWatch, ()

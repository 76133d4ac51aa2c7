"""One contiguous vector from parameters that arrive as one array or as many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import RecordError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Flattener"]


class Flattener:
    """Flattens parameters into memory of its own, or returns them as they are where they fit.

    Parameters
    ----------
    parameters : int
        Number P of them.
    dtype : str
        Precision.
    """

    def __init__(self, parameters: int, dtype: str) -> None:
        self._length, self._dtype = parameters, np.dtype(dtype)
        self._memory: NDArray[Any] | None = None

    def __call__(self, weights: Any) -> NDArray[Any]:
        """Return all parameters as one contiguous vector.

        Parameters
        ----------
        weights : array_like or sequence of array_like
            P numbers together.

        Returns
        -------
        (P,) ndarray
            Valid until the next call.

        Raises
        ------
        RecordError
            If there are more or fewer numbers, or they are no real ones.
        """
        if isinstance(weights, np.ndarray):
            if weights.size != self._length:
                self._refuse(weights.size)
            if weights.dtype == self._dtype and weights.flags.c_contiguous:
                return weights.reshape(-1)
            parts: Any = (weights,)
        elif isinstance(weights, (list, tuple)):
            parts = weights
        else:
            return self(np.asarray(weights))
        if self._memory is None:
            self._memory = np.empty(self._length, dtype=self._dtype)
        end = 0
        for part in parts:
            array = np.asarray(part)
            if array.dtype.kind not in "biuf":
                msg = f"`weights` must be real numbers, got {array.dtype}"
                raise RecordError(msg)
            start, end = end, end + array.size
            if end <= self._length:
                into = self._memory[start:end].reshape(array.shape)
                np.copyto(into, array, casting="unsafe")
        if end != self._length:
            self._refuse(end)
        return self._memory

    def _refuse(self, size: int) -> None:
        msg = (
            f"`weights` must hold {self._length} numbers, all parameters of the model, got {size}; "
            "pass what `parameters` counted, in one array or as a sequence of arrays"
        )
        raise RecordError(msg)

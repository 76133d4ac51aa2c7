"""Where past states are kept, and how many steps share one reading of them.

``Direct`` keeps every state and sums over all of them: ``N**2 n / 2`` multiply-adds for ``N``
steps of ``n`` cells, and ``8 N n`` bytes.  The sum over rows before a block of steps is one
matrix product per block, so the history is read ``N / block`` times instead of ``N`` times.

Not here: block FFT and sums of exponentials, which make the sum cheaper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import integer

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["Direct"]


@dataclass(frozen=True, kw_only=True)
class Direct:
    """The whole history, summed as it stands.

    Parameters
    ----------
    block : int
        Steps that share one reading of the history.

    Examples
    --------
    >>> Direct().allocate(np.array([0.25, 0.75]), steps=3).shape
    (4, 2)
    """

    block: int = 32

    def __post_init__(self) -> None:
        object.__setattr__(self, "block", integer("block", self.block, low=1))

    def allocate(self, initial: FloatArray, *, steps: int) -> FloatArray:
        """Return memory for all states, the first filled in.

        Parameters
        ----------
        initial : (n,) float64 [1]
            First state.
        steps : int
            Number of steps.

        Returns
        -------
        (steps + 1, n) ndarray of float64
        """
        states = np.empty((steps + 1, len(initial)))
        states[0] = initial
        return states

"""Where past states are kept, and how many steps share one reading of them.

``Direct`` keeps every state and sums over all of them: ``N**2 n / 2`` multiply-adds for ``N``
steps of ``n`` cells, and ``8 N n`` bytes.  The sum over rows before a block of steps is one
matrix product per block, so the history is read ``N / block`` times instead of ``N`` times.

What every history offers a scheme is a :class:`Memory`, the past of one march, which answers two
questions about the step to come: the weight of its increment, and what all earlier increments add
up to.  A solver of nonlinear systems needs no more; the march of linear operators
(:mod:`fracsde.schemes.marching`) may take a faster road to the same numbers.

Not here: block FFT and sums of exponentials, which make the sum cheaper.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import integer

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.schemes.base import ConvolutionScheme

__all__ = ["Direct", "History", "Memory"]


class Memory(ABC):
    r"""The past of one march.

    With ``m`` states known, the next step looks for :math:`u_m` and the discrete derivative there
    is ``newest() * (u_m - u_{m-1}) + past()``.
    """

    @abstractmethod
    def newest(self) -> float:
        """Return the weight of the increment of the step to come.

        Returns
        -------
        float [t**-alpha]
        """

    @abstractmethod
    def past(self) -> FloatArray:
        """Return the weighted sum of all known increments.

        Returns
        -------
        (n,) ndarray [t**-alpha]
        """

    @abstractmethod
    def push(self, state: FloatArray) -> None:
        """Add the state that the step to come has found.

        Parameters
        ----------
        state : (n,) float64
            The newest state; it is copied.
        """


class History(ABC):
    """A way of keeping the past: a frozen value."""

    @abstractmethod
    def begin(
        self, scheme: ConvolutionScheme, times: FloatArray, initial: FloatArray, *, alpha: float
    ) -> Memory:
        """Return the memory of a march that knows its first state.

        Parameters
        ----------
        scheme : ConvolutionScheme
            Supplies the weights.
        times : (N + 1,) float64 [t]
            The mesh.
        initial : (n,) float64
            State at the first time.
        alpha : float [1]
            Order of the derivative.

        Returns
        -------
        Memory
        """


class _DirectMemory(Memory):
    def __init__(
        self, scheme: ConvolutionScheme, times: FloatArray, initial: FloatArray, alpha: float
    ) -> None:
        self._scheme, self._times, self._alpha = scheme, times, alpha
        self._increments = np.empty((len(times) - 1, len(initial)))
        self._last, self._known = np.array(initial, dtype=np.float64), 0
        self._row = scheme.weights(times[:2], alpha=alpha)

    def newest(self) -> float:
        return float(self._row[-1])

    def past(self) -> FloatArray:
        return np.asarray(self._row[:-1] @ self._increments[: self._known])

    def push(self, state: FloatArray) -> None:
        self._increments[self._known] = state - self._last
        self._last[:] = state
        self._known += 1
        if self._known < len(self._increments):
            until = self._times[: self._known + 2]
            self._row = self._scheme.weights(until, alpha=self._alpha)


@dataclass(frozen=True, kw_only=True)
class Direct(History):
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

    def begin(
        self, scheme: ConvolutionScheme, times: FloatArray, initial: FloatArray, *, alpha: float
    ) -> Memory:
        """Return the memory of a march that knows its first state.

        Parameters
        ----------
        scheme, times, initial, alpha
            As for :meth:`History.begin`.

        Returns
        -------
        Memory

        Examples
        --------
        >>> from fracsde.schemes.l1 import L1
        >>> memory = Direct().begin(L1(), np.array([0.0, 1.0, 2.0]), np.zeros(1), alpha=1.0)
        >>> memory.push(np.array([3.0]))
        >>> memory.newest(), memory.past()
        (1.0, array([0.]))
        """
        return _DirectMemory(scheme, times, initial, alpha)

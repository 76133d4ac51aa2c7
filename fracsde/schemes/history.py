r"""Where past states are kept, and how many steps share one reading of them.

Histories are frozen values.  They differ in how they find the lead of a block of steps, what all
increments before the block add to them (:mod:`fracsde.schemes.memory`).  ``Direct`` reads every
state, one matrix product per block, so that the history is read ``N / block`` times;
:class:`~fracsde.schemes.block_fft.BlockFFT` convolves equal steps;
:class:`~fracsde.schemes.exponentials.Exponentials` replaces the kernel by exponentials, which need
no states.  In multiply-adds and in numbers, for ``N`` steps of ``n`` cells and ``K`` exponentials,
20 to 100:

================  ============================  ================  ===========================
history           work                          memory            serves
================  ============================  ================  ===========================
``Direct``        :math:`N^2 n / 2`             :math:`N n`       every scheme, every mesh
``BlockFFT``      :math:`O(N \log^2 N)\, n`     :math:`2 N n`     every scheme, equal steps
``Exponentials``  :math:`2 N K n`               :math:`K n`       schemes that integrate an
                                                                  interpolant, every mesh
================  ============================  ================  ===========================

``tests/schemes/test_history.py`` holds them together.

Not here: the steps themselves (:mod:`fracsde.schemes.marching`), and the history that has none,
because all steps are solved at once (:mod:`fracsde.schemes.all_at_once`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import integer
from fracsde.schemes.keeping import refill
from fracsde.schemes.memory import Block, Memory, coefficients_of

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.schemes.base import ConvolutionScheme

__all__ = ["Direct", "History", "Memory", "weight_rows"]

_ROWS = 128  # increments that are made at a time


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

    def check(self, scheme: ConvolutionScheme, times: FloatArray) -> None:
        """Refuse a scheme or a mesh that this history cannot serve; none here.

        Parameters
        ----------
        scheme : ConvolutionScheme
            Supplies the weights.
        times : (N + 1,) float64 [t]
            The mesh.
        """
        del scheme, times


class _DirectMemory(Memory):
    # All states; the window is a part of them.

    def __init__(
        self,
        scheme: ConvolutionScheme,
        times: FloatArray,
        initial: FloatArray,
        *,
        alpha: float,
        size: int,
    ) -> None:
        super().__init__(scheme, times, initial[:0], alpha=alpha, size=size)
        self.states = np.empty((self.steps + 1, len(initial)))
        self.states[0] = initial
        self.window = self.states[: self.size + 1]
        self._equal = scheme.lags(times, alpha=alpha) if self.even else None
        self._rows: FloatArray | None = None

    def _weights(self) -> FloatArray:
        if self._rows is None:
            self._rows = weight_rows(
                self.scheme,
                self.times,
                alpha=self.alpha,
                start=self.start,
                stop=self.stop,
                equal=self._equal,
            )
        return self._rows

    def near(self) -> FloatArray:
        return self._weights()[:, self.start :]

    def lead(self, factor: float = 1.0) -> FloatArray | None:
        if self.start == 0:
            return None
        return self._summed(factor * self._weights()[:, : self.start])

    def block(self, scale: float) -> Block:
        coefficients, shifts = coefficients_of(
            scale * self._weights(), self.scheme, alpha=self.alpha, even=self.even
        )
        # Where memory is short, as at alpha = 1, the early states are not read.
        read = np.flatnonzero(coefficients.any(axis=0))
        first = min(int(read[0]), self.start)
        return Block(
            window=self.states[first : self.stop + 1],
            known=self.start + 1 - first,
            coefficients=coefficients[:, first:],
            shifts=shifts,
            owed=None,
        )

    def derivative(self) -> FloatArray:
        return np.asarray(self._summed(self._weights()[-1:])[0])

    def _summed(self, weights: FloatArray) -> FloatArray:
        # Of increments, few of which are in memory at a time.
        total = np.zeros((len(weights), self.states.shape[1]))
        for first in range(0, weights.shape[1], _ROWS):
            part = weights[:, first : first + _ROWS]
            total += part @ np.diff(self.states[first : first + part.shape[1] + 1], axis=0)
        return total

    def take(self) -> None:
        self._rows = None

    def absorb(self) -> None:
        stop = self.stop
        self.take()
        self.start, self._known, self._open = stop, 0, None
        self.window = self.states[stop : stop + self.size + 1]

    @property
    def nbytes(self) -> int:
        return self.states.nbytes

    def _kept(self) -> dict[str, FloatArray]:
        return {"states": self.states[: self.start + 1]}

    def restore(self, arrays: dict[str, FloatArray]) -> None:
        self._reopen(arrays)
        self._rows = None
        refill(self.states[: self.start + 1], arrays["states"])
        self.window = self.states[self.start : self.start + self.size + 1]


def weight_rows(
    scheme: ConvolutionScheme,
    times: FloatArray,
    *,
    alpha: float,
    start: int,
    stop: int,
    equal: tuple[FloatArray, FloatArray] | None,
) -> FloatArray:
    """Return the weights of all increments for the steps to ``times[start + 1 : stop + 1]``.

    Parameters
    ----------
    scheme : ConvolutionScheme
        Supplies the weights.
    times : (N + 1,) float64 [t]
        The mesh.
    alpha : float [1]
        Order of the derivative.
    start, stop : int
        Last known and last wanted state.
    equal : pair of (N,) float64 [t**-alpha] or None
        On equal steps, what :meth:`ConvolutionScheme.lags` returned.

    Returns
    -------
    (stop - start, stop) ndarray [t**-alpha]
        Zero where a step does not look.
    """
    rows = np.zeros((stop - start, stop))
    for b, n in enumerate(range(start + 1, stop + 1)):
        if equal is None:
            rows[b, :n] = scheme.weights(times[: n + 1], alpha=alpha)
        else:
            rows[b, :n] = equal[0][n - 1 :: -1]
            rows[b, 0] = equal[1][n - 1]
    return rows


@dataclass(frozen=True, kw_only=True)
class Direct(History):
    """The whole history, summed as it stands.

    Parameters
    ----------
    block : int
        Steps that share one reading of the history.

    Examples
    --------
    >>> from fracsde.schemes.l1 import L1
    >>> memory = Direct().begin(L1(), np.array([0.0, 1.0, 2.0]), np.zeros(1), alpha=1.0)
    >>> memory.push(np.array([3.0]))
    >>> memory.newest(), memory.past()
    (1.0, array([0.]))
    """

    block: int = 32

    def __post_init__(self) -> None:
        object.__setattr__(self, "block", integer("block", self.block, low=1))

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
        """
        return _DirectMemory(scheme, times, initial, alpha=alpha, size=self.block)

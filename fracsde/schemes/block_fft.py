r"""The memory sum on equal steps as convolutions of growing blocks.

Equal steps make the weight of an increment a function of its lag, :math:`w_{n,k} = w_{n-1-k}`, and
the memory sum a convolution whose input is only known up to the present step.  When a block of
steps ends at :math:`m = 2^p i \cdot` ``block`` with odd ``i``, the last :math:`2^p` blocks of
increments are convolved with what the next :math:`2^p` blocks of steps owe to them,

.. math::
    \text{lead}_n \mathrel{+}= \sum_{k=m-M}^{m-1} w_{n-1-k}\, \delta_k , \qquad
    m < n \le m + M , \quad M = 2^p \cdot \text{block} ,

by transforms of length ``2 M``.  Every pair of a step and an earlier increment, but those inside a
block, belongs to one of these squares, and all squares together cost :math:`O(N \log^2 N)` per
cell.  The transforms' rounding errors are those of the largest increment: states keep an absolute
accuracy of about 1e-15 of the largest state, not a relative one.

The weight of the very first increment may differ (:meth:`ConvolutionScheme.lags`); the difference
is added by itself.

Not here: the other histories (:mod:`fracsde.schemes.history`).  Reference: [HairerLubich1985]_.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.fft import irfft, rfft

from fracsde._check import integer
from fracsde.errors import GridError
from fracsde.schemes.history import History
from fracsde.schemes.memory import Memory, is_uniform, unequal_steps

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.schemes.base import ConvolutionScheme

__all__ = ["BlockFFT"]

_CELLS = 64  # transformed together: what one level needs stays in cache


@dataclass(frozen=True, kw_only=True)
class BlockFFT(History):
    """The whole history, convolved block by block; equal steps only.

    Parameters
    ----------
    block : int
        Steps of the smallest block, inside which sums are direct.

    References
    ----------
    [HairerLubich1985]_

    Examples
    --------
    >>> from fracsde.schemes.l1 import L1
    >>> L1(history=BlockFFT(block=16)).history
    BlockFFT(block=16)
    """

    citation: ClassVar[tuple[str, ...]] = ("HairerLubich1985",)

    block: int = 64

    def __post_init__(self) -> None:
        object.__setattr__(self, "block", integer("block", self.block, low=1))

    def check(self, scheme: ConvolutionScheme, times: FloatArray) -> None:
        """Refuse unequal steps.

        Parameters
        ----------
        scheme, times
            As for :meth:`History.check`.

        Raises
        ------
        GridError
            If steps differ by more than rounding.
        """
        if not is_uniform(times):
            msg = (
                "`BlockFFT` needs equal steps, because its sums are convolutions; got "
                f"{unequal_steps(times)}; use TimeGrid.uniform, or "
                f"{type(scheme).__name__}(history=Exponentials()) or Direct()"
            )
            raise GridError(msg)

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
        self.check(scheme, times)
        return _ConvolvedMemory(scheme, times, initial, alpha=alpha, size=self.block)


class _ConvolvedMemory(Memory):
    # All increments, and what is known of the sums of steps to come.

    def __init__(
        self,
        scheme: ConvolutionScheme,
        times: FloatArray,
        initial: FloatArray,
        *,
        alpha: float,
        size: int,
    ) -> None:
        super().__init__(scheme, times, initial, alpha=alpha, size=size)
        self._lags, self._first = scheme.lags(times, alpha=alpha)
        self._increments = np.zeros((self.steps, len(initial)))
        self._sums = np.zeros((self.steps, len(initial)))
        self._spectra: dict[int, FloatArray] = {}

    def near(self) -> FloatArray:
        size = self.stop - self.start
        lag = np.arange(size)[:, None] - np.arange(size)
        near = np.where(lag >= 0, self._lags[np.maximum(lag, 0)], 0.0)
        if self.start == 0:
            near[:, 0] = self._first[:size]
        return near

    def lead(self, factor: float = 1.0) -> FloatArray | None:
        if self.start == 0:
            return None
        steps = slice(self.start, self.stop)
        lead = factor * self._sums[steps]
        apart = self._first[steps] - self._lags[steps]
        if apart.any():
            lead += np.multiply.outer(factor * apart, self._increments[0])
        return np.asarray(lead)

    def take(self) -> None:
        start, stop = self.start, self.stop
        self._increments[start:stop] = np.diff(self.window[: stop - start + 1], axis=0)
        if stop == self.steps:
            return
        blocks = stop // self.size
        reach = (blocks & -blocks) * self.size  # the largest power of two that divides
        end = min(stop + reach, self.steps)
        spectrum = self._spectrum(reach)
        for cells in (slice(c, c + _CELLS) for c in range(0, self._increments.shape[1], _CELLS)):
            # One cell per row: transforms run along contiguous memory.
            given = np.ascontiguousarray(self._increments[stop - reach : stop, cells].T)
            product = rfft(given, 2 * reach, axis=1)
            product *= spectrum
            found = irfft(product, 2 * reach, axis=1, overwrite_x=True)
            # Entry ``j`` is owed by the step that ends ``j`` steps after the square's first.
            self._sums[stop:end, cells] += found[:, reach : reach + end - stop].T

    def _spectrum(self, reach: int) -> FloatArray:
        # Of the weights by lag; the newest, lag 0, never leaves the block.
        if reach not in self._spectra:
            lags = np.zeros(2 * reach)
            known = self._lags[: 2 * reach]
            lags[: len(known)] = known
            self._spectra[reach] = rfft(lags)
        return self._spectra[reach]

    def _kept(self) -> dict[str, FloatArray]:
        return {"increments": self._increments, "sums": self._sums}

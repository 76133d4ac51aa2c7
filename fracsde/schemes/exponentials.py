r"""The memory sum by exponentials in place of the power: no state needs to be kept.

Beyond the block of steps at hand the kernel is replaced by a positive sum of exponentials,

.. math::
    \frac{x^{-\alpha}}{\Gamma(1-\alpha)} \approx \sum_{l=1}^{K} \omega_l\, e^{-s_l x}
    \qquad (\delta \le x \le T) ,

to the relative tolerance ``rtol``, and each exponential's share of the memory follows a recursion
from block to block, with :math:`U` the scheme's interpolant,

.. math::
    F_l(t_m) = \int_0^{t_m} e^{-s_l (t_m - s)}\, U'(s)\, ds
      = e^{-s_l (t_m - t_{m'})} F_l(t_{m'}) + \int_{t_{m'}}^{t_m} e^{-s_l (t_m - s)}\, U'(s)\, ds ,

so that the steps of the next block see the past through
:math:`\sum_l \omega_l e^{-s_l (t^* - t_m)} F_l(t_m)`.  Both are matrix products: the ``K``
shares of all cells are read and written once per block, not once per step.  What belongs to the
block itself is summed exactly as the scheme says.

The shares are integrals of the interpolant, so schemes that have one are served
(:mod:`fracsde.schemes.piecewise`): their derivative then errs by at most ``rtol`` times
:math:`\int |U'|\, x^{-\alpha} / \Gamma(1-\alpha)`, and states by about ``rtol`` of the largest.
Densities of positive schemes may have negative parts of that size.
:math:`\delta` is the length of the first step *after a whole block*, which makes few exponentials
serve very steep meshes.  Exponentials that have died out at all steps to come are dropped.

Not here: the sums (:mod:`fracsde.special.exponentials`), the other histories
(:mod:`fracsde.schemes.history`).  Reference: [Jiang2017]_, with recursions from step to step.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.special import rgamma

from fracsde._check import integer, real
from fracsde.backends.moments_numba import exponential_intake, fade_and_add
from fracsde.errors import OutOfRangeError, UnsupportedError
from fracsde.schemes.history import History
from fracsde.schemes.memory import Memory
from fracsde.schemes.piecewise import PiecewiseScheme
from fracsde.special.exponentials import power_exponentials

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray
    from fracsde.schemes.base import ConvolutionScheme

__all__ = ["Exponentials"]

_DEAD = 1e-3  # share of the tolerance that may be dropped
# Of the second moment, at arguments below one.
_SERIES = np.array([j / factorial(2 * j + 1) for j in range(1, 9)])


@dataclass(frozen=True, kw_only=True)
class Exponentials(History):
    """A history in a few numbers per cell, whatever the number of steps.

    Parameters
    ----------
    rtol : float [1]
        Relative error of the kernel.
    block : int
        Steps that share one reading of the memory.

    References
    ----------
    [Jiang2017]_

    Examples
    --------
    >>> from fracsde.schemes.l1 import L1
    >>> L1(history=Exponentials(rtol=1e-8)).history
    Exponentials(rtol=1e-08, block=48)
    """

    citation: ClassVar[tuple[str, ...]] = ("Jiang2017",)

    rtol: float = 1e-10
    block: int = 48

    def __post_init__(self) -> None:
        object.__setattr__(self, "rtol", real("rtol", self.rtol, low=0.0, high=1.0))
        object.__setattr__(self, "block", integer("block", self.block, low=1))

    def check(self, scheme: ConvolutionScheme, times: FloatArray) -> None:
        """Refuse schemes that do not integrate an interpolant.

        Parameters
        ----------
        scheme, times
            As for :meth:`History.check`.

        Raises
        ------
        UnsupportedError
            If the scheme is one.
        """
        del times
        if not isinstance(scheme, PiecewiseScheme):
            msg = (
                f"`Exponentials` cannot be the history of {type(scheme).__name__}, because that "
                "integrates no interpolant; use BlockFFT() or Direct(), or the schemes L1, L12 and "
                "L2Sigma"
            )
            raise UnsupportedError(msg)

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
        return _ExponentialMemory(
            scheme, times, initial, alpha=alpha, size=self.block, rtol=self.rtol
        )


class _ExponentialMemory(Memory):
    # Shares of the exponentials in all cells that are over, and the last increment.

    def __init__(
        self,
        scheme: ConvolutionScheme,
        times: FloatArray,
        initial: FloatArray,
        *,
        alpha: float,
        size: int,
        rtol: float,
    ) -> None:
        super().__init__(scheme, times, initial, alpha=alpha, size=size)
        assert isinstance(scheme, PiecewiseScheme)
        self._piecewise = scheme
        # A cell whose parabola leans on the next node is over one step later.
        self._late = 1 if scheme.lean > 0 else 0
        self._weights, self._rates, self._alive = self._terms(rtol)
        # The last increment before the block, and the shares; one product reads both.
        self._kept_rows = np.zeros((1 + len(self._rates), len(initial)))
        self._shares = self._kept_rows[1:]
        # Increments of the block, behind the last one before it; and what they add to the shares.
        self._recent = np.zeros((self.size + 1, len(initial)))
        self._added = np.empty_like(self._shares)
        self._plan: _Inside | None = None
        self._planned = -1  # start of the block that the plan is for

    def _terms(self, rtol: float) -> tuple[FloatArray, FloatArray, IntArray]:
        # Weights, rates, and how many of them each block needs.
        starts = np.arange(self.size, self.steps, self.size)
        if self.alpha == 1.0 or len(starts) == 0:
            return np.empty(0), np.empty(0), np.zeros(len(starts) + 1, dtype=np.int64)
        ahead = self._ahead(starts, starts)
        nearest = np.minimum.accumulate(ahead[::-1])[::-1]
        # Windows of whole decades: meshes of similar steps share one sum, which is built once.
        last = float(self.times[-1])
        # A ratio that is one but for rounding stays below the next.
        first = last * 10.0 ** -np.ceil(np.log10(last / nearest[0]) - 1e-9)
        try:
            kernel = power_exponentials(self.alpha, rtol=rtol, window=(first, last))
        except OutOfRangeError as error:
            msg = f"`Exponentials` cannot replace the kernel on this mesh: {error}"
            raise OutOfRangeError(msg) from error
        weights = kernel.weights * rgamma(1.0 - self.alpha)
        terms = weights * np.exp(-nearest[:, None] * kernel.rates)
        beyond = np.cumsum(terms[:, ::-1], axis=1)[:, ::-1]
        alive = (beyond > _DEAD * rtol * terms.sum(axis=1, keepdims=True)).sum(axis=1)
        if self.even:  # equal but for rounding
            alive[:] = alive.max()
        return weights, kernel.rates, np.append(len(weights), alive)

    def _ahead(self, start: IntArray, step: IntArray) -> FloatArray:
        # Distance of the points of steps from the end of the cells that are over at a start.
        point = self.scheme.point(self.alpha)
        t = self.times
        return (t[step] - t[start - self._late]) + point * (t[step + 1] - t[step])

    def _inside(self) -> _Inside:
        # The weights of the block's steps and what its increments add to the shares.
        start, stop, planned = self.start, self.stop, self._planned
        again = start == planned or (self.even and planned > 0 and stop - start == self.size)
        self._planned = start
        if self._plan is not None and again:
            return self._plan
        before = min(start, 1)  # increments before the block that its cells look at
        nodes = self.times[start - before : stop + 1]
        if self.even:  # all blocks from the same nodes: resumed marches are equal to the last digit
            nodes = (self.times[-1] / self.steps) * np.arange(float(len(nodes)))
        rates = self._rates[: self._alive[start // self.size] if before else 0]
        end = nodes[before - self._late] if before else 0.0  # of the cells that are over
        ahead = nodes[before:-1] + self.scheme.point(self.alpha) * np.diff(nodes)[before:] - end
        rows = self._rows(nodes, before)
        readout = np.empty((stop - start, before + len(rates)))
        readout[:, :before] = rows[:, :before]
        far = np.multiply.outer(ahead, -rates, out=readout[:, before:])
        np.multiply(np.exp(far, out=far), self._weights[: len(rates)], out=far)
        self._plan = _Inside(
            near=rows[:, before:],
            readout=readout,
            intake=self._intake(nodes, before),
            faded=np.exp(-(nodes[-1 - self._late] - end) * rates),
        )
        return self._plan

    def _rows(self, nodes: FloatArray, before: int) -> FloatArray:
        # Weights of the block's cells; on equal steps counted in steps, so that equal weights are
        # equal to the last digit.
        skip = 0 if self._piecewise.lean > 0 else before
        if not self.even:
            return self._piecewise.block_rows(nodes, alpha=self.alpha, first=before, skip=skip)
        steps = np.arange(float(len(nodes)))
        unit = (self.times[-1] / self.steps) ** -self.alpha
        rows = self._piecewise.block_rows(steps, alpha=self.alpha, first=before, skip=skip)
        return np.asarray(unit * rows)

    def _intake(self, nodes: FloatArray, before: int) -> FloatArray:
        # What each increment adds to the shares, when the cells of the block are over.
        if self.stop == self.steps:
            return np.empty((0, len(nodes) - 1))
        lean = self._piecewise.lean
        rates = self._rates[: self._alive[self.stop // self.size]]
        start, stop = 0 if lean > 0 else before, len(nodes) - 1 - self._late
        return np.asarray(exponential_intake(rates, nodes, start, stop, lean, _SERIES))

    def near(self) -> FloatArray:
        return self._inside().near

    def lead(self, factor: float = 1.0) -> FloatArray | None:
        if self.start == 0:
            return None
        readout = factor * self._inside().readout
        return np.asarray(readout @ self._kept_rows[: readout.shape[1]])

    def take(self) -> None:
        start, stop = self.start, self.stop
        count = stop - start
        np.subtract(
            self.window[1 : count + 1], self.window[:count], out=self._recent[1 : count + 1]
        )
        if stop < self.steps:
            intake = self._inside().intake
            shares = self._shares[: len(intake)]
            if start == 0:
                np.matmul(intake, self._recent[1:], out=shares)
            else:
                added = np.matmul(intake, self._recent, out=self._added[: len(shares)])
                fade_and_add(shares, self._inside().faded, added)
        self._recent[0] = self._kept_rows[0] = self._recent[count]

    def _kept(self) -> dict[str, FloatArray]:
        return {"shares": self._kept_rows, "last": self._recent[:1]}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Inside:
    near: FloatArray
    readout: FloatArray
    intake: FloatArray
    faded: FloatArray


def exponential_moments(
    rates: FloatArray, cell: FloatArray, *, tilts: bool = True
) -> tuple[FloatArray, FloatArray]:
    r"""Return the moments of :math:`e^{-s x}` over cells that end at distance 0.

    Parameters
    ----------
    rates : (K, 1) float64 [1/t]
        Positive.
    cell : (n,) float64 [t]
        Lengths.
    tilts : bool
        Whether the second moments are wanted.

    Returns
    -------
    mean : (K, n) ndarray [1]
        Integral over length.
    tilt : (K, n) ndarray [t**2]
        Moment about the midpoint, larger where nearer; empty if not wanted.

    Examples
    --------
    >>> mean, tilt = exponential_moments(np.array([[1e-9]]), np.array([2.0]))
    >>> bool(abs(mean[0, 0] - 1) < 2e-9), bool(abs(tilt[0, 0] / (1e-9 * 2.0**3 / 12) - 1) < 2e-9)
    (True, True)
    """
    y = rates * cell
    lost = -np.expm1(-y)
    mean = lost / y
    if not tilts:
        return mean, np.empty(0)
    h = np.minimum(0.5 * y, 0.5)
    square = h * h
    series = np.full_like(h, _SERIES[-1])
    for coefficient in _SERIES[-2::-1]:
        series *= square
        series += coefficient
    series *= h * np.exp(-h)
    closed = (2.0 * y - (y + 2.0) * lost) / (2.0 * y * y)
    return mean, np.where(y < 1.0, series, closed) * cell**2

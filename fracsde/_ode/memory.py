r"""What earlier intervals left behind, as a sum of exponentials per order.

.. math::
    \frac{1}{\Gamma(\alpha)} \int_0^{t} (t + \delta - v)^{\alpha - 1} g(v)\, dv
    \approx \sum_l w_l\, e^{-s_l \delta}\, \psi_l , \qquad
    \psi_l = \int_0^t e^{-s_l (t - v)} g(v)\, dv .

The sum is good from a shortest distance on.  Where an interval comes nearer, a sum for shorter
distances is built and the intervals so far, which are kept, are read again.

Any number of functions are carried at once: those of the right-hand side and, while a system is
integrated, those of the equation of errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde._ode.kernel import integral_kernel
from fracsde.schemes.keeping import refill

if TYPE_CHECKING:
    from fracsde._ode.tables import Basis
    from fracsde._typing import FloatArray

__all__ = ["Left", "Past"]

_SPARE = 1e-2  # the first sum serves distances so much shorter than asked for


@dataclass(frozen=True, kw_only=True, eq=False)
class Left:
    """What one interval leaves.

    Parameters
    ----------
    basis : Basis
        Its basis functions.
    length : float [t]
        Its length.
    slopes : (m + 1, c) float64 [y/t**alpha]
        Coefficients of the functions that are remembered; the last row is that of the part
        which the basis functions of the nodes do not have.
    """

    basis: Basis
    length: float
    slopes: FloatArray


class Past:
    """The memory of all orders.

    Parameters
    ----------
    orders : (g,) float64 [1]
        Distinct orders.
    which : (c,) int
        The order of each column.
    end : float [t]
        The last time.
    rtol : float [1]
        Relative error of the kernel.
    """

    def __init__(self, orders: FloatArray, which: np.ndarray, *, end: float, rtol: float) -> None:
        self._orders, self._end, self._rtol = orders, end, rtol
        self._columns = [np.flatnonzero(which == g) for g in range(len(orders))]
        self._width = len(which)
        self._nearest = np.inf
        self._left: list[Left] = []
        self._kernels: list[tuple[FloatArray, FloatArray]] = []
        self._states: list[FloatArray] = []

    @property
    def terms(self) -> int:
        """Number of exponentials, of all orders together."""
        return sum(len(weights) for weights, _ in self._kernels)

    @property
    def lefts(self) -> tuple[Left, ...]:
        """What all intervals left."""
        return tuple(self._left)

    def snapshot(self) -> dict[str, FloatArray]:
        """Return the arrays beside :attr:`lefts` from which the memory can go on.

        Returns
        -------
        dict of str to ndarray
        """
        states = {f"past_{g}": state for g, state in enumerate(self._states)}
        return {"nearest": np.array(self._nearest)} | states

    def restore(self, lefts: list[Left], arrays: dict[str, FloatArray]) -> None:
        """Go back to a snapshot.

        Parameters
        ----------
        lefts : list of Left
            What all intervals left.
        arrays : dict of str to ndarray
            What :meth:`snapshot` returned.
        """
        self._left, self._nearest = list(lefts), float(arrays["nearest"])
        if np.isfinite(self._nearest):
            self._open()
            for g, state in enumerate(self._states):
                refill(state, arrays[f"past_{g}"])

    def seen(self, distances: FloatArray) -> FloatArray:
        """Return what is seen some way after the last interval.

        Parameters
        ----------
        distances : (p,) float64 [t]
            Positive, increasing.

        Returns
        -------
        (p, c) ndarray of float64 [y]
        """
        out = np.zeros((len(distances), self._width))
        if not self._left:
            return out
        if distances[0] < self._nearest:
            self._come_nearer(float(distances[0]))
        for (weights, rates), state, own in zip(
            self._kernels, self._states, self._columns, strict=True
        ):
            out[:, own] = (np.exp(-distances[:, None] * rates) * weights) @ state
        return out

    def add(self, left: Left) -> None:
        """Take in an interval.

        Parameters
        ----------
        left : Left
            What it leaves.
        """
        self._left.append(left)
        for g in range(len(self._states)):
            self._states[g] = self._after(g, self._states[g], left)

    def _after(self, g: int, state: FloatArray, left: Left) -> FloatArray:
        decay = self._kernels[g][1] * left.length
        moments = left.length * left.basis.moments(decay)
        return np.asarray(
            np.exp(-decay)[:, None] * state + moments @ left.slopes[:, self._columns[g]]
        )

    def _come_nearer(self, distance: float) -> None:
        # Powers of ten, so that the same sums serve many runs.
        self._nearest = float(10.0 ** np.floor(np.log10(_SPARE * distance)))
        self._open()
        for g in range(len(self._states)):
            for left in self._left:
                self._states[g] = self._after(g, self._states[g], left)

    def _open(self) -> None:
        # Kernels that are good from the nearest distance on, with nothing remembered.
        last = 10.0 ** np.ceil(np.log10(self._end))
        self._kernels = [
            integral_kernel(float(alpha), rtol=self._rtol, first=self._nearest, last=last)
            for alpha in self._orders
        ]
        self._states = [
            np.zeros((len(rates), len(own)))
            for (_, rates), own in zip(self._kernels, self._columns, strict=True)
        ]

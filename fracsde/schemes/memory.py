r"""The past of one march, block by block and step by step.

The memory sum of a step to :math:`t_n` is cut at the block of steps that it belongs to, which
begins at the state :math:`u_m`:

.. math::
    \sum_{k=0}^{n-1} w_{n,k}\, \delta_k
      = \underbrace{\sum_{k<m} w_{n,k}\, \delta_k}_{\text{lead}}
      + \underbrace{\sum_{k=m}^{n-1} w_{n,k}\, \delta_k}_{\text{near}} , \qquad
    \delta_k = u_{k+1} - u_k .

The lead of a whole block is found at once, and histories differ in how
(:mod:`fracsde.schemes.history`).  The near part is summed as it stands.

Step by step a :class:`Memory` answers two questions about the step to come: the weight of its
increment, and what all earlier increments add up to.  A solver of nonlinear systems needs no more.
The march of linear operators (:mod:`fracsde.schemes.marching`) takes whole blocks of equations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde.backends.moments_numba import of_states
from fracsde.schemes.keeping import refill

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.schemes.base import ConvolutionScheme

__all__ = ["Block", "Memory", "coefficients_of", "is_uniform", "unequal_steps"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """The equations of a block of steps, in states instead of increments, times a factor.

    Parameters
    ----------
    window : (known + B, n) float64
        States; those before ``known`` are known, the others are to be written.
    known : int
        Number of known rows.
    coefficients : (B, known + B - 1) float64 [t**-alpha]
        Of the states in the window, for each step; zero where a step does not look.
    shifts : (B,) float64 [t**-alpha]
        Of each step.
    owed : (B, n) float64 [t**-alpha] or None
        What increments before the window add to each step, on the right-hand side.
    """

    window: FloatArray
    known: int
    coefficients: FloatArray
    shifts: FloatArray
    owed: FloatArray | None


class Memory(ABC):
    r"""The past of one march.

    With ``m`` states known, the next step looks for :math:`u_m` and the discrete derivative there
    is ``newest() * (u_m - u_{m-1}) + past()``.

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
    size : int
        Steps in a block.
    """

    def __init__(
        self,
        scheme: ConvolutionScheme,
        times: FloatArray,
        initial: FloatArray,
        *,
        alpha: float,
        size: int,
    ) -> None:
        self.scheme, self.times, self.alpha = scheme, times, alpha
        self.steps, self.even = len(times) - 1, is_uniform(times)
        self.size = min(size, self.steps)
        self.start = 0  # index of the state with which the block begins
        self.window = np.empty((self.size + 1, len(initial)))  # the states of the block
        self.window[0] = initial
        self._known = 0  # states of the block that were pushed
        self._open: tuple[FloatArray, FloatArray | None] | None = None
        self._alike: tuple[FloatArray, FloatArray] | None = None

    @property
    def stop(self) -> int:
        """Index of the state with which the block ends."""
        return min(self.start + self.size, self.steps)

    # --- step by step

    def newest(self) -> float:
        """Return the weight of the increment of the step to come.

        Returns
        -------
        float [t**-alpha]
        """
        near, _ = self._opened()
        return float(near[self._known, self._known])

    def past(self) -> FloatArray:
        """Return the weighted sum of all known increments.

        Returns
        -------
        (n,) ndarray [t**-alpha]
        """
        near, lead = self._opened()
        b = self._known
        inside = near[b, :b] @ np.diff(self.window[: b + 1], axis=0)
        return np.asarray(inside if lead is None else lead[b] + inside)

    def push(self, state: FloatArray) -> None:
        """Add the state that the step to come has found.

        Parameters
        ----------
        state : (n,) float64
            The newest state; it is copied.
        """
        self._opened()
        self._known += 1
        self.window[self._known] = state
        if self.start + self._known == self.stop:
            self.absorb()

    def _opened(self) -> tuple[FloatArray, FloatArray | None]:
        if self._open is None:
            self._open = self.near(), self.lead()
        return self._open

    # --- block by block

    @abstractmethod
    def near(self) -> FloatArray:
        """Return the weights of the block's own increments, one row per step.

        Returns
        -------
        (B, B) ndarray [t**-alpha]
            Zero above the diagonal.
        """

    @abstractmethod
    def lead(self, factor: float = 1.0) -> FloatArray | None:
        """Return what the increments before the block add to each of its steps.

        Parameters
        ----------
        factor : float
            Of the result, a fresh array.

        Returns
        -------
        (B, n) ndarray [t**-alpha] or None
        """

    @abstractmethod
    def take(self) -> None:
        """Take in the states of the block, which are all known; ``absorb`` calls it."""

    def block(self, scale: float) -> Block:
        """Return the equations of the block to come.

        Parameters
        ----------
        scale : float [t**(alpha - 1)]
            Factor before the derivative.

        Returns
        -------
        Block
        """
        steps = self.stop - self.start
        # On equal steps all blocks are alike, but the first and perhaps the last.
        if not (self.even and self._alike and len(self._alike[1]) == steps):
            near = scale * self.near()
            self._alike = coefficients_of(near, self.scheme, alpha=self.alpha, even=self.even)
        coefficients, shifts = self._alike
        if self.start == 0:
            self._alike = None
        return Block(
            window=self.window[: steps + 1],
            known=1,
            coefficients=coefficients,
            shifts=shifts,
            owed=self.lead(-scale),
        )

    def absorb(self) -> None:
        """End the block, whose states stand in the window."""
        stop = self.stop
        self.take()
        self.window[0] = self.window[stop - self.start]
        self.start, self._known, self._open = stop, 0, None

    def derivative(self) -> FloatArray:
        """Return the discrete derivative in the block's last step, from increments.

        Returns
        -------
        (n,) ndarray [t**-alpha]
            Call it when the window is full, before ``absorb``.
        """
        near, lead = self.near()[-1], self.lead()
        inside = near @ np.diff(self.window[: len(near) + 1], axis=0)
        return np.asarray(inside if lead is None else lead[-1] + inside)

    @property
    def last_weight(self) -> float:
        """Weight of the newest increment in the block's last step [t**-alpha]."""
        return float(self.near()[-1, -1])

    @property
    def nbytes(self) -> int:
        """Bytes that the past takes."""
        return self.window.nbytes + sum(array.nbytes for array in self._kept().values())

    @abstractmethod
    def _kept(self) -> dict[str, FloatArray]:
        # The arrays, beside the window, from which the march can go on.
        ...

    def snapshot(self) -> dict[str, FloatArray]:
        """Return the arrays from which the march can go on; call it between two blocks.

        Returns
        -------
        dict of str to ndarray
            Not copies.
        """
        return {"start": np.array(float(self.start)), "state": self.window[0], **self._kept()}

    def restore(self, arrays: dict[str, FloatArray]) -> None:
        """Go back to a snapshot of the same march.

        Parameters
        ----------
        arrays : dict of str to ndarray
            What :meth:`snapshot` returned.

        Raises
        ------
        ValueError
            If an array is of another march.
        """
        self._reopen(arrays)
        refill(self.window[0], arrays["state"])
        for name, array in self._kept().items():
            refill(array, arrays[name])

    def _reopen(self, arrays: dict[str, FloatArray]) -> None:
        start = float(arrays["start"])
        if not (0 <= start <= self.steps and (start % self.size == 0 or start == self.steps)):
            msg = f"no block begins at {start:g}"
            raise ValueError(msg)
        self.start, self._known, self._open = int(start), 0, None


def coefficients_of(
    rows: FloatArray, scheme: ConvolutionScheme, *, alpha: float, even: bool
) -> tuple[FloatArray, FloatArray]:
    r"""Return coefficients of states, and shifts, from weights of increments.

    With :math:`v = \theta u_n + (1 - \theta) u_{n-1}`, the state at the point where the equation
    holds, the newest increment is :math:`(v - u_{n-1}) / \theta`, so that
    :math:`(w_{n,n-1} / \theta - L)\, v` is the sum over states with the coefficients here.

    Parameters
    ----------
    rows : (B, m) float64 [t**-alpha]
        The last ``B`` of ``m`` steps.
    scheme : ConvolutionScheme
        Whose they are.
    alpha : float [1]
        Order of the derivative.
    even : bool
        Whether steps are equal; then so are the shifts, to the last digit.

    Returns
    -------
    coefficients : (B, m) ndarray [t**-alpha]
        Zero where a step does not look.
    shifts : (B,) ndarray [t**-alpha]
        Their sums over rows.
    """
    coefficients, shifts = np.zeros(rows.shape), np.empty(len(rows))
    of_states(rows, scheme.point(alpha), scheme.positive, even, coefficients, shifts)
    return coefficients, shifts


def unequal_steps(times: FloatArray) -> str:
    """Say how far steps are from being equal.

    Parameters
    ----------
    times : (N + 1,) float64 [t]
        The mesh.

    Returns
    -------
    str

    Examples
    --------
    >>> unequal_steps(np.array([0.0, 1.0, 3.0]))
    'steps from 1 to 2'
    >>> unequal_steps(np.array([0.0, 1.0, 2.0 + 1e-9]))
    'steps near 1 that differ by 1.0e-09 of it, which is more than rounding'
    """
    steps = np.diff(times)
    low, high = float(steps.min()), float(steps.max())
    if f"{low:.3g}" != f"{high:.3g}":
        return f"steps from {low:.3g} to {high:.3g}"
    apart = f"{high / low - 1.0:.1e}"
    return f"steps near {low:.3g} that differ by {apart} of it, which is more than rounding"


def is_uniform(times: FloatArray) -> bool:
    """Whether all steps are equal to rounding.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_uniform(np.linspace(0.0, 0.3, 100)), is_uniform(np.array([0.0, 1.0, 3.0]))
    (True, False)
    """
    even = times[-1] * (np.arange(len(times)) / (len(times) - 1))
    return bool(np.abs(times - even).max() <= 8 * np.finfo(np.float64).eps * times[-1])

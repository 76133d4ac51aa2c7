r"""What a convolution scheme supplies: weights, a point, and corrections.

For :math:`D^\alpha u = L u + s` the step to :math:`t_n` reads

.. math::
    \sum_{k=0}^{n-1} w_{n,k}\,(u_{k+1} - u_k)
    = \theta L u_n + (1 - \theta) L u_{n-1} + s(t_{n-1} + \theta \tau_n)
      + a_n \bigl(L u_0 + s(0)\bigr) + \sum_i c_{n,i}\, s(t_i) .

The weights ``w`` approximate the derivative at the point :math:`t_{n-1} + \theta \tau_n`, the end
of the step for most schemes.  The corrections :math:`a_n` and :math:`c_{n,i}` are zero but for the
first few steps of convolution quadratures of higher order, which need them to see the start.

Where ``positive`` is set, weights are positive and grow with ``k``, so that the step solved for
:math:`u_n` has positive coefficients :math:`w_{n,0}` and :math:`w_{n,k} - w_{n,k-1}` before all
earlier states.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde.errors import GridError, InputError
from fracsde.schemes.history import Direct, History
from fracsde.schemes.memory import is_uniform, unequal_steps

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.grids import TimeGrid

__all__ = ["ConvolutionScheme"]


@dataclass(frozen=True, kw_only=True)
class ConvolutionScheme(ABC):
    """A discrete Caputo derivative.

    Parameters
    ----------
    history : History
        How the memory sum is evaluated.
    """

    citation: ClassVar[tuple[str, ...]] = ()
    positive: ClassVar[bool] = True
    """Whether densities stay positive on every mesh that the scheme accepts, with the whole history
    as it stands; a history that has an error may leave negative parts as small as that."""
    equal_steps_because: ClassVar[str] = ""
    """Why the scheme needs equal steps; empty if it takes any mesh."""

    history: History = field(default_factory=Direct)

    @abstractmethod
    def weights(self, times: FloatArray, *, alpha: float) -> FloatArray:
        """Return the weights of the increments that end at the last time.

        Parameters
        ----------
        times : (n + 1,) float64 [t]
            Strictly increasing, starting where memory starts.
        alpha : float [1]
            Order of the derivative.

        Returns
        -------
        (n,) ndarray [t**-alpha]
        """

    @abstractmethod
    def order(self, *, alpha: float, grading: float = 1.0, final: bool = False) -> float:
        """Return the order in ``1/N`` for data that start like ``t**alpha``.

        Parameters
        ----------
        alpha : float [1]
            Order of the derivative.
        grading : float [1]
            Exponent of the mesh.
        final : bool
            The error at the final time instead of the largest nodal error.

        Returns
        -------
        float
        """

    def point(self, alpha: float) -> float:
        """Return where in its step the equation holds, as a share of the step.

        Parameters
        ----------
        alpha : float [1]
            Order of the derivative.

        Returns
        -------
        float [1]
            ``theta``, in (1/2, 1].
        """
        del alpha
        return 1.0

    def corrections(self) -> FloatArray:
        """Return the factors ``a_1, a_2, ...`` of the first steps; none by default.

        Returns
        -------
        (m,) ndarray [1]
        """
        return np.empty(0)

    def source_corrections(self) -> FloatArray:
        """Return the factors ``c`` of the first values of a source; none by default.

        Returns
        -------
        (m, m) ndarray [1]
            Row ``n - 1`` times ``s(0), s(t_1), ...`` is added to the step to ``t_n``.
        """
        return np.empty((0, 0))

    def lags(self, times: FloatArray, *, alpha: float) -> tuple[FloatArray, FloatArray]:
        """Return the weights on equal steps by their lag.

        Parameters
        ----------
        times : (N + 1,) float64 [t]
            Equally spaced.
        alpha : float [1]
            Order of the derivative.

        Returns
        -------
        lags : (N,) ndarray [t**-alpha]
            ``lags[j]`` multiplies the increment ``j`` steps before the newest.
        first : (N,) ndarray [t**-alpha]
            ``first[n - 1]`` multiplies the very first increment in step ``n``; here ``lags``
            themselves, because one row of weights holds all earlier rows.
        """
        found = self.weights(times, alpha=alpha)[::-1]
        return found, found

    def check(self, grid: TimeGrid) -> None:
        """Refuse a mesh or a history that the scheme cannot use.

        Parameters
        ----------
        grid : TimeGrid
            The mesh.

        Raises
        ------
        InputError
            If the history is none.
        GridError
            If the scheme or its history needs equal steps and these differ by more than rounding.
        UnsupportedError
            If the history cannot serve the scheme.
        """
        history: object = self.history
        if not isinstance(history, History):
            msg = (
                "`history` must be Direct(), BlockFFT(), Exponentials() or AllAtOnce(), got "
                f"{history!r}; histories are values, not names"
            )
            raise InputError(msg)
        if self.equal_steps_because and not is_uniform(grid.times):
            msg = (
                f"{type(self).__name__} needs equal steps, because {self.equal_steps_because}; got "
                f"{unequal_steps(grid.times)}; use TimeGrid.uniform, or L1, which takes any mesh"
            )
            raise GridError(msg)
        self.history.check(self, grid.times)

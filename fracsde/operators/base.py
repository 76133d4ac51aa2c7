r"""What a scheme in time may ask of an operator in space.

A generator is the matrix :math:`L` of :math:`\dot p = L p`.  Marching schemes touch it only
through ``apply`` (:math:`L p`) and ``solve_shifted`` (:math:`(\sigma I - L)^{-1} r`); a solution
needs ``project`` to begin and ``interpolate`` to be read between the points.  The propagator asks
more of the two families there are: rates of a chain (:mod:`fracsde.operators.chain`), or
``symmetric_matrix`` of a dense operator (:mod:`fracsde.operators.spectral`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fracsde.errors import UnsupportedError
from fracsde.problems.densities import refuse_negative
from fracsde.problems.geometry import open_mesh
from fracsde.problems.sampling import sample

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["Generator", "Space"]


class Generator(ABC):
    """A Fokker-Planck operator on finitely many points."""

    @property
    @abstractmethod
    def points(self) -> FloatArray:
        """Where the values of a density stand, ``(n,)`` [x], or ``(n, d)`` beyond the line."""

    @property
    @abstractmethod
    def widths(self) -> FloatArray:
        """Quadrature weights of the points, ``(n,)`` [x], or volumes, ``(n,)`` [x^d]."""

    @property
    def axes(self) -> tuple[FloatArray, ...]:
        """Points along each coordinate, whose grid holds the points in order [x]."""
        return (self.points,)

    @property
    def shape(self) -> tuple[int, ...]:
        """Points along each coordinate, as many as ``axes`` hold."""
        return tuple(len(axis) for axis in self.axes)

    @abstractmethod
    def apply(self, p: FloatArray) -> FloatArray:
        """Return ``L p``.

        Parameters
        ----------
        p : (..., n) float64 [1/x]
            A density, or several.

        Returns
        -------
        (..., n) ndarray [1/(x t)]
        """

    @abstractmethod
    def solve_shifted(self, shift: Any, rhs: FloatArray) -> FloatArray:
        """Return the solution ``p`` of ``(shift I - L) p = rhs``.

        Parameters
        ----------
        shift : float [1/t]
            Positive; tensor grids take complex ones too.
        rhs : (n,) float64 [1/(x t)]
            Right-hand side.

        Returns
        -------
        (n,) ndarray [1/x]
        """

    @abstractmethod
    def stationary(self) -> FloatArray:
        """Return the density that does not change, of mass one.

        Returns
        -------
        (n,) ndarray [1/x]
        """

    @property
    def mesh(self) -> tuple[FloatArray, ...]:
        """Coordinates that broadcast to the grid of ``axes``; the points themselves on a line."""
        return open_mesh(self.axes)

    @property
    def conserves_mass(self) -> bool:
        """Whether nothing disappears; ``False`` here, where it is not known."""
        return False

    @property
    def detailed_balance(self) -> bool:
        """Whether the equilibrium carries no current; ``False`` here, where it is not known."""
        return False

    def project(self, initial: Any) -> FloatArray:
        """Return the masses of the points for an initial density, one in all.

        Here its values at the points times their widths; cells override this.

        Parameters
        ----------
        initial : Gaussian or callable [1/x]
            Takes points, returns a density.

        Returns
        -------
        (n,) ndarray of float64 [1]

        Raises
        ------
        UnsupportedError
            If the density is not a function.
        """
        if not callable(initial):
            msg = (
                f"`initial` is {type(initial).__name__}, this operator starts from smooth "
                "densities, Gaussian(mean=, std=) or a function; use FiniteVolume()"
            )
            raise UnsupportedError(msg)
        values = sample("initial", initial, self.points)
        refuse_negative(values, self.points)
        masses = values * self.widths
        return np.asarray(masses / masses.sum())

    def interpolate(self, density: FloatArray, x: FloatArray) -> FloatArray:
        """Return densities between the points, at the operator's own order.

        Here linear, and zero beyond the outermost points.

        Parameters
        ----------
        density : (t, n) float64 [1/x]
            At the points.
        x : ndarray of float64 [x]
            Of any shape.

        Returns
        -------
        (t, *shape of x) ndarray [1/x]
        """
        return np.array([np.interp(x, self.points, p, left=0.0, right=0.0) for p in density])

    def march_block(
        self,
        engine: Any,
        states: FloatArray,
        start: int,
        coefficients: FloatArray,
        shifts: FloatArray,
        sources: FloatArray,
        point: float = 1.0,
    ) -> None:
        """Fill in the next rows of ``states``, one solve per row.

        A generator with a compiled march overrides this; the arguments are those of
        :func:`fracsde.backends.marching_reference.march`, with masses of points as states.

        Parameters
        ----------
        engine : module
            Not used here.
        states : (m, n) float64 [1]
            Written in place.
        start : int
            Last known row.
        coefficients : (B, start + B) float64 [1/t]
            Memory weights.
        shifts : (B,) float64 [1/t]
            Of each step.
        sources : (B, n) float64 [1/t]
            Of each step.
        point : float [1]
            Where in its step the equation holds, as a share of the step.
        """
        for b, shift in enumerate(shifts):
            row = start + 1 + b
            rhs = coefficients[b, :row] @ states[:row] + sources[b]
            states[row] = self.solve_shifted(float(shift), rhs / self.widths) * self.widths
            if point != 1.0:
                states[row] = states[row - 1] + (states[row] - states[row - 1]) / point


class Space(Protocol):
    """A way of turning a problem into a generator: a frozen value."""

    def discretise(self, problem: FokkerPlanck) -> Any:
        """Return the generator of a problem."""
        ...

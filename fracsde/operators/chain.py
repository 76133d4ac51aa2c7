r"""Cells in a row or a ring as a Markov chain.

Cell masses :math:`m_i = h_i p_i` jump to the neighbours and disappear:

.. math::
    \dot m_i = \mathrm{right}_{i-1} m_{i-1} + \mathrm{left}_{i+1} m_{i+1}
              - (\mathrm{right}_i + \mathrm{left}_i + \mathrm{loss}_i)\, m_i .

Shifted systems are eliminated without a subtraction, see
:mod:`fracsde.backends.marching_reference`: O(n) operations and 5 n numbers per factorisation, in
a ring as in a row, and relative accuracy of every entry.  With detailed balance the chain is
similar to a symmetric one, which gives it eigenvectors.
``tests/operators/test_finite_volume.py`` measures both.

Not here: where the rates come from (:mod:`fracsde.operators.finite_volume`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import finite_array, real
from fracsde.backends.marching_numba import eliminate, substitute
from fracsde.errors import UnsupportedError
from fracsde.operators.base import Generator
from fracsde.operators.bernoulli import artificial_diffusion, finer_diffusion
from fracsde.problems.densities import cell_masses

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["CellChain"]


@dataclass(frozen=True, kw_only=True, eq=False)
class CellChain(Generator):
    """A Markov chain of cells in a row or a ring.

    Parameters
    ----------
    edges : (n + 1,) float64 [x]
        Cell edges.
    right, left : (n,) float64 [1/t]
        Jump rates to the next and the previous cell; ``right[-1]`` and ``left[0]`` close the ring
        and are zero in a row.
    loss : (n,) float64 [1/t]
        Rates at which mass disappears.
    tilt : (n,) float64 [1]
        ``delta`` from each cell to the next.
    periodic : bool
        Whether the row is a ring.
    """

    citation: ClassVar[tuple[str, ...]] = ("ScharfetterGummel1969", "GrassmannTaksarHeyman1985")

    edges: FloatArray
    right: FloatArray
    left: FloatArray
    loss: FloatArray
    tilt: FloatArray
    periodic: bool

    @property
    def points(self) -> FloatArray:
        """Cell centres, ``(n,)`` [x]."""
        return np.asarray(0.5 * (self.edges[1:] + self.edges[:-1]))

    @property
    def widths(self) -> FloatArray:
        """Cell widths, ``(n,)`` [x]."""
        return np.diff(self.edges)

    @property
    def conserves_mass(self) -> bool:
        """Whether no cell loses mass."""
        return not np.any(self.loss > 0)

    @property
    def detailed_balance(self) -> bool:
        """Whether the equilibrium carries no current: always in a row, in a ring without tilt."""
        round_trip = abs(self.tilt.sum())
        return not self.periodic or bool(round_trip <= 1e-10 * (1.0 + np.abs(self.tilt).sum()))

    def project(self, initial: Any) -> FloatArray:
        """Return the mass of an initial density in each cell, one in all.

        Parameters
        ----------
        initial : Gaussian, PointMass, callable or (n,) ndarray
            The density [1/x].

        Returns
        -------
        (n,) ndarray [1]
            Not negative.
        """
        return cell_masses(initial, self.edges)

    def sector(self) -> float:
        r"""Return how far the chain is from having a real spectrum, as an angle.

        In the norm weighted by the stationary masses :math:`\pi` the numerical range of ``-L`` lies
        in :math:`|\arg| \le \delta` with

        .. math::
            \tan\delta = \frac{|J|}{2 \sin(\pi / n)\, \min_i c_i}, \qquad
            c_i = \tfrac12 (\pi_i\, \mathrm{right}_i + \pi_{i+1}\, \mathrm{left}_{i+1}) ,

        where ``J`` is the current round the ring: the antisymmetric part is at most
        :math:`|J| \, \|f - \bar f\| \, \|\Delta f\|`, the symmetric one at least
        :math:`\min c\, \|\Delta f\|^2`, and :math:`2 \sin(\pi / n)` is the Poincare constant of
        the ring.  Losses only narrow the sector.  It is sharp for free drift, and wide where
        barriers make some :math:`c_i` small.

        Returns
        -------
        float [rad]
            Zero with detailed balance.
        """
        if self.detailed_balance:
            return 0.0
        kept = replace(self, loss=np.zeros_like(self.loss))
        rest = kept.stationary() * self.widths
        onward, back = rest * self.right, np.roll(rest * self.left, -1)
        current = float(np.median(onward - back))
        weakest = float((0.5 * (onward + back)).min())
        gap = 2.0 * float(np.sin(np.pi / len(rest)))
        return float(np.arctan2(abs(current), gap * weakest))

    def smearing(self, masses: FloatArray, finer: float = 1.0) -> tuple[float]:
        """Return the artificial diffusion of the fluxes, relative to the true one.

        Parameters
        ----------
        masses : (n,) float64 [1]
            Where to look.
        finer : float [1]
            Estimated for a grid of so many times as many cells.

        Returns
        -------
        tuple of float [1]
            The mean over the masses, the larger side of each cell.
        """
        share = np.abs(masses) / max(float(np.abs(masses).sum()), 1e-300)
        if finer > 1.0:
            return (float(share @ finer_diffusion(np.roll(self.tilt, 1), self.tilt, finer)),)
        onward = artificial_diffusion(self.tilt)
        return (float(share @ np.maximum(onward, np.roll(onward, 1))),)

    def apply_to_masses(self, m: FloatArray) -> FloatArray:
        """Return the rate of change of cell masses.

        Parameters
        ----------
        m : (..., n) float64 [1]
            Cell masses.

        Returns
        -------
        (..., n) ndarray [1/t]
        """
        from_left = np.roll(self.right * m, 1, axis=-1)
        from_right = np.roll(self.left * m, -1, axis=-1)
        return from_left + from_right - (self.right + self.left + self.loss) * m

    def apply(self, p: FloatArray) -> FloatArray:
        """Return ``L p``.

        Returns
        -------
        (..., n) ndarray [1/(x t)]
        """
        return self.apply_to_masses(p * self.widths) / self.widths

    def solve_shifted(self, shift: float, rhs: FloatArray) -> FloatArray:
        """Return the solution ``p`` of ``(shift I - L) p = rhs``.

        The elimination adds positive numbers only, so a right-hand side without negative entries
        gives every entry of the solution to relative rounding accuracy, however small the shift.

        Parameters
        ----------
        shift : float [1/t]
            Positive.
        rhs : (n,) float64 [1/(x t)]
            Right-hand side.

        Returns
        -------
        (n,) ndarray [1/x]
        """
        shift = real("shift", shift, low=0.0, remedy="a generator itself is singular")
        masses = finite_array("rhs", rhs, shape=(len(self.right),)) * self.widths
        factors = eliminate(shift, self.right, self.left, self.loss)
        substitute(factors, masses)
        return np.asarray(masses / self.widths)

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
        """Fill in the next rows of ``states`` with the engine's march for chains.

        Parameters
        ----------
        engine : module
            One with ``march``: :mod:`fracsde.backends.marching_numba` or ``marching_reference``.
        states, start, coefficients, shifts, sources, point
            As in :func:`fracsde.backends.marching_reference.march`.
        """
        rates = self.right, self.left, self.loss
        engine.march(states, start, coefficients, shifts, sources, *rates, point)

    def stationary(self) -> FloatArray:
        r"""Return the density that does not change, of mass one.

        It is the limit of :math:`\sigma (\sigma I - L)^{-1} u` for small :math:`\sigma`, taken at
        a shift so small that the difference is below rounding.

        Returns
        -------
        (n,) ndarray [1/x]

        Raises
        ------
        UnsupportedError
            If mass is lost, so that the only stationary density is zero.
        """
        if not self.conserves_mass:
            msg = (
                "`stationary` needs a chain that keeps its mass, this one loses some to absorbing "
                "walls or reaction; all of it is gone in the end"
            )
            raise UnsupportedError(msg)
        tiny = 1e-200 * float((self.right + self.left).max())
        p = self.solve_shifted(tiny, np.full(len(self.right), tiny))
        return np.asarray(p / (p @ self.widths))

    def matrix(self) -> FloatArray:
        """Return ``L`` as a dense matrix acting on cell masses.

        Returns
        -------
        (n, n) ndarray [1/t]
            Columns sum to ``-loss``; off the diagonal nothing is negative.
        """
        n = len(self.right)
        i = np.arange(n)
        L = np.diag(-(self.right + self.left + self.loss))
        np.add.at(L, ((i + 1) % n, i), self.right)
        np.add.at(L, ((i - 1) % n, i), self.left)
        return L

    def symmetrised(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        r"""Return :math:`H` of :math:`L = S (-H) S^{-1}`, acting on cell masses.

        Returns
        -------
        diagonal : (n,) ndarray [1/t]
            Of ``H``.
        bond : (n,) ndarray [1/t]
            ``H[i, i + 1] = H[i + 1, i]``, not positive; the last closes the ring.
        log_scale : (n,) ndarray [1]
            Logarithm of the diagonal of ``S``, with largest entry 0.

        Raises
        ------
        UnsupportedError
            If the equilibrium carries a current: then no such form exists.
        """
        if not self.detailed_balance:
            msg = (
                "the symmetrised form needs detailed balance, this ring has a tilt of "
                f"{self.tilt.sum():g} per turn; march in time with L1 instead"
            )
            raise UnsupportedError(msg)
        bond = -np.sqrt(self.right * np.roll(self.left, -1))
        log_weight = np.append(0.0, -np.cumsum(self.tilt[:-1]))
        log_scale = 0.5 * (log_weight + np.log(self.widths))
        return self.right + self.left + self.loss, bond, log_scale - log_scale.max()

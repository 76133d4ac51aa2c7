r"""A spectral operator: point values that stand for a smooth function.

A space of smooth functions :math:`\psi = p / \sqrt\pi` with cardinal functions at nodes
:math:`x_j` and quadrature weights :math:`w_j` turns :math:`H \psi = -(D \psi')' + (U + r) \psi`
(:mod:`fracsde.operators.landscape`) into a symmetric matrix.  Point masses
:math:`m_j = w_j p(x_j)` then follow

.. math::
    \dot m = -S H S^{-1} m, \qquad S_j = \sqrt{w_j\, \pi(x_j)} .

The continuous :math:`H` annihilates :math:`\sqrt\pi`.  The matrix misses that by
:math:`\epsilon = s^T H s` with the unit vector :math:`s \propto S`, a number that falls spectrally
and is kept as ``defect``.  The vector is then projected out, :math:`(I - s s^T) H (I - s s^T)`:
the equilibrium is the Boltzmann weight and mass is kept, both to rounding, whatever the number of
points.  Reaction is added afterwards.

======================  ==================================================================
error                   falls faster than any power of the number of points
mass, equilibrium       rounding, of the quadrature: mass is the sum of point masses
positivity              up to the error; :class:`~fracsde.operators.finite_volume.FiniteVolume`
                        keeps it exactly
rounding                of the largest ``psi``: a start far out in the tail loses digits
cost                    O(n^3) once, O(n^2) for each time
======================  ==================================================================

``tests/operators/test_spectral.py`` measures the table.

Not here: the spaces (:mod:`fracsde.operators.sinc`, :mod:`fracsde.operators.hermite`).

Reference: [Risken1989]_, section 5.4, for the symmetric form.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.linalg import eigh

from fracsde._check import finite_array, real
from fracsde.errors import InputError, UnsupportedError
from fracsde.operators.base import Generator
from fracsde.operators.landscape import initial_density
from fracsde.problems.densities import Gaussian

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.operators.basis import Basis
    from fracsde.operators.landscape import Landscape

__all__ = ["SpectralGenerator"]

_LOST = 1e-3  # relative error of a start that is refused
_GROWN = 1e6  # growth of psi from which on it is named as the reason
_INSTANTS = 16  # at which the roughness of a density is looked at


@dataclass(frozen=True, kw_only=True, eq=False)
class SpectralGenerator(Generator):
    """A Fokker-Planck operator on a space of smooth functions.

    Parameters
    ----------
    basis : Basis
        The space.
    landscape : Landscape
        The coefficients.
    matrix : (n, n) float64 [1/t]
        ``H`` at the nodes, symmetric, without reaction and before projection.
    """

    citation: ClassVar[tuple[str, ...]] = ("Risken1989",)

    basis: Basis
    landscape: Landscape
    matrix: FloatArray

    @property
    def points(self) -> FloatArray:
        """Nodes, ``(n,)`` [x]."""
        return self.basis.nodes

    @property
    def widths(self) -> FloatArray:
        """Quadrature weights of the nodes, ``(n,)`` [x]."""
        return self.basis.weights

    @property
    def conserves_mass(self) -> bool:
        """Whether nothing disappears."""
        return self.landscape.problem.reaction is None

    @property
    def detailed_balance(self) -> bool:
        """Whether the equilibrium carries no current: always, on a line."""
        return True

    @cached_property
    def log_weight(self) -> FloatArray:
        """Logarithm of the equilibrium at the nodes, ``(n,)`` [1], largest value near 0."""
        return _frozen(-self.landscape.phi(self.points))

    @cached_property
    def _log_scale(self) -> FloatArray:
        log_scale = 0.5 * (self.log_weight + np.log(self.widths))
        return np.asarray(log_scale - log_scale.max())

    @cached_property
    def _rest(self) -> FloatArray:
        # The unit vector of the equilibrium.
        S = np.exp(self._log_scale)
        return np.asarray(S / np.sqrt(S @ S))

    @cached_property
    def defect(self) -> float:
        """Eigenvalue of the equilibrium before it was made zero [1/t], of either sign."""
        return float(self._rest @ self.matrix @ self._rest)

    @cached_property
    def _projected(self) -> FloatArray:
        s, H = self._rest, self.matrix
        Hs = H @ s
        # One vector on both sides makes the result symmetric to the last digit.
        v = Hs - 0.5 * (s @ Hs) * s
        H = H - (np.outer(s, v) + np.outer(v, s))
        if not self.conserves_mass:
            H[np.diag_indices_from(H)] += self.landscape.problem.reaction_at(self.points)
        H.flags.writeable = False
        return H

    def symmetric_matrix(self) -> tuple[FloatArray, FloatArray]:
        """Return ``H`` and ``log S`` of ``dm/dt = -S H S^-1 m`` for point masses ``m``.

        Returns
        -------
        H : (n, n) ndarray [1/t]
            Symmetric, read-only; positive semi-definite up to the error in space.
        log_scale : (n,) ndarray [1]
            With largest entry 0.
        """
        return self._projected, self._log_scale

    @cached_property
    def _eigen(self) -> tuple[FloatArray, FloatArray]:
        H = self._projected
        if not self.conserves_mass:
            rates, Q = eigh(H, driver="evd", check_finite=False)
            return _frozen(rates), _frozen(Q)
        # A reflection takes the equilibrium to the first axis, and the rest is solved by itself:
        # its eigenvalue is zero and its eigenvector exact, however slow the next mode is.
        v = self._rest.copy()
        v[0] += 1.0
        v /= np.sqrt(v @ v)
        Hv = H @ v
        u = Hv - (v @ Hv) * v
        reflected = H - 2.0 * (np.outer(u, v) + np.outer(v, u))
        rates, inner = eigh(reflected[1:, 1:], driver="evd", check_finite=False)
        vectors = np.zeros_like(H)
        vectors[0, 0], vectors[1:, 1:] = -1.0, inner
        return _frozen(np.append(0.0, rates)), _frozen(vectors - 2.0 * np.outer(v, v @ vectors))

    def eigen(self) -> tuple[FloatArray, FloatArray]:
        """Return eigenvalues and eigenvectors of ``H``, computed once.

        Returns
        -------
        rates : (n,) ndarray [1/t]
            In rising order; where mass is kept the first is exactly zero.
        vectors : (n, n) ndarray [1]
            In columns.
        """
        return self._eigen

    def apply(self, p: FloatArray) -> FloatArray:
        """Return ``L p``.

        Returns
        -------
        (..., n) ndarray [1/(x t)]
        """
        S = np.exp(self._log_scale)
        w = self.widths
        return np.asarray(-((p * (w / S)) @ self._projected) * (S / w))

    def solve_shifted(self, shift: complex, rhs: FloatArray) -> FloatArray:
        """Return the solution ``p`` of ``(shift I - L) p = rhs``, by eigenvectors.

        Parameters
        ----------
        shift : float or complex [1/t]
            Positive, or off the real axis.
        rhs : (n,) float64 or complex128 [1/(x t)]
            Right-hand side; complex only with a complex shift.

        Returns
        -------
        (n,) ndarray [1/x]
        """
        if not np.iscomplexobj(shift):
            shift = real("shift", shift, low=0.0, remedy="a generator itself is singular")
            rhs = finite_array("rhs", rhs, shape=(len(self.points),))
        S, w = np.exp(self._log_scale), self.widths
        rates, Q = self._eigen
        return np.asarray((S / w) * (Q @ ((Q.T @ (rhs * (w / S))) / (shift + rates))))

    def stationary(self) -> FloatArray:
        """Return the density that does not change, of mass one.

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
                "`stationary` needs a problem that keeps its mass, this one loses some to "
                "reaction; all of it is gone in the end"
            )
            raise UnsupportedError(msg)
        p = np.exp(self.log_weight - self.log_weight.max())
        return np.asarray(p / (p @ self.widths))

    def project(self, initial: object) -> FloatArray:
        """Return the point masses of an initial density, one in all.

        Parameters
        ----------
        initial : Gaussian or callable [1/x]
            That of the problem.

        Returns
        -------
        (n,) ndarray of float64 [1]

        Raises
        ------
        InputError
            If it is not the initial density of the problem that was discretised.
        """
        own = self.landscape.problem.initial
        if initial is not own and not (isinstance(own, Gaussian) and initial == own):
            msg = (
                "`initial` must be that of the problem: the interval was chosen for it; "
                "discretise dataclasses.replace(problem, initial=...)"
            )
            raise InputError(msg)
        masses = self.landscape.start(self.points) * self.widths
        return np.asarray(masses / masses.sum())

    def interpolate(self, density: FloatArray, x: FloatArray) -> FloatArray:
        r"""Return densities between the nodes: :math:`\psi` in the space, times :math:`\sqrt\pi`.

        Parameters
        ----------
        density : (t, n) float64 [1/x]
            At the nodes.
        x : ndarray of float64 [x]
            Points of any shape; beyond the ends the density is zero.

        Returns
        -------
        (t, *shape of x) ndarray [1/x]
        """
        a, b = self.basis.ends
        inside = (x >= a) & (x <= b)
        result = np.zeros((len(density), *x.shape))
        if np.any(inside):
            shape = np.exp(0.5 * self.log_weight)
            there = np.exp(-0.5 * self.landscape.phi(x[inside]))
            psi = self.basis.evaluate(density / shape, shape, x[inside], there)
            result[:, inside] = psi * there
        return result

    def resolution_error(self, masses: FloatArray) -> float:
        r"""Estimate the error in space, of a density over its largest value, at any time.

        The sum of three shares: what the space does not hold of the density, the largest at the
        start, between the nodes, and at times of the semigroup from the fastest to the slowest
        rate, of which solutions at every order ``alpha`` are mixtures; what may have reached the
        ends; and ``defect`` over the slowest rate, by which a wrong rate is felt.

        Parameters
        ----------
        masses : (n,) float64 [1]
            At time 0.

        Returns
        -------
        float [1]

        Notes
        -----
        ``tests/operators/test_spectral.py`` compares it with errors.
        """
        S, (rates, Q) = np.exp(self._log_scale), self._eigen
        slowest = max(float(rates[1 if self.conserves_mass else 0]), abs(self.defect))
        if slowest == 0.0:
            return np.inf
        times = np.append(0.0, np.geomspace(1.0 / rates[-1], 10.0 / slowest, _INSTANTS))
        decay = np.exp(-times[:, None] * np.maximum(rates, 0.0))
        density = S * ((decay * (Q.T @ (masses / S))) @ Q.T) / self.widths
        shape = np.exp(0.5 * self.log_weight)
        rough = shape * self.basis.rough(density / shape, shape)
        lost = (np.abs(rough).max(axis=1) / np.abs(density).max(axis=1)).max()
        lost = max(float(lost), self._unresolved())
        return float(lost + self._share_at_ends() + abs(self.defect) / slowest)

    def _unresolved(self) -> float:
        # What the start loses by tapering and between the nodes, relative to its largest value.
        x = self.points
        between = 0.5 * (x[1:] + x[:-1])
        start, problem = self.landscape.start(x), self.landscape.problem
        given, expected = initial_density(problem, x), initial_density(problem, between)
        found = self.interpolate(start[None], between)[0]
        largest = max(given.max(), expected.max())
        if largest == 0.0:
            return np.inf  # no point has seen it
        return float(max(np.abs(start - given).max(), np.abs(found - expected).max()) / largest)

    def cut_off(self) -> float:
        """Return what no number of points in this interval would bring back.

        The share of the start that tapering takes, and the largest density that may come to
        stand at an end.  Solutions in intervals chosen alike have it in common, so that comparing
        them does not show it.

        Returns
        -------
        float [1]
            Relative to the largest density.
        """
        return self._unresolved() + self._share_at_ends()

    def _share_at_ends(self) -> float:
        # Largest density that may come to stand at an end, over its largest value.
        phi = self.landscape.phi(np.array(self.basis.ends))
        return float(np.exp(np.minimum(np.array(self.landscape.climb) - phi, 0.0)).sum())

    def refuse_unresolved(self) -> None:
        """Refuse a start that the space does not hold.

        Raises
        ------
        UnsupportedError
            If what is lost is so much that results would mean little.
        """
        lost = self._unresolved()
        if lost <= _LOST:
            return
        x = self.points
        start = self.landscape.start(x)
        growth = 0.0
        if start.max() > 0.0:
            growth = float((start * np.exp(-0.5 * self.log_weight)).max() / start.max())
        if growth > _GROWN:
            msg = (
                "`initial` falls off so much more slowly than the equilibrium that p / sqrt(pi) "
                f"grows to {growth:.0e} where p is small, and {lost:.0e} of the largest value is "
                "lost (a Gaussian in a parabola may be wider by a factor below sqrt(2)); use "
                "FiniteVolume(), or a narrower start"
            )
            raise UnsupportedError(msg)
        msg = (
            f"`initial` is not resolved by {len(x)} points between {self.basis.ends[0]:g} and "
            f"{self.basis.ends[1]:g}: about {lost:.0e} of its largest value is left out; use more "
            "points, or FiniteVolume() if it has jumps or kinks"
        )
        raise UnsupportedError(msg)


def _frozen(array: FloatArray) -> FloatArray:
    # What is computed once is the same for all who ask.
    array.flags.writeable = False
    return array

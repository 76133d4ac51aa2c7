r"""What :func:`fracsde.solve` returns for independent coordinates on one clock.

The density is a mixture of products,

.. math::
    p(t; x) = \sum_k w_k \prod_i p_{i,k}(t; x_i), \qquad
    M_{i,k} = \int p_{i,k}\,dx_i, \qquad W_k = w_k \prod_i M_{i,k} ,

and everything here is a sum over the components: with means :math:`\mu_{i,k}` and variances
:math:`v_{i,k}` of the factors, shares :math:`s_k = W_k / \sum_l W_l` and means
:math:`\mu_i = \sum_k s_k \mu_{i,k}`,

.. math::
    \operatorname{Cov}(x_i, x_j) = \sum_k s_k (\mu_{i,k} - \mu_i)(\mu_{j,k} - \mu_j)
    + \delta_{ij} \sum_k s_k v_{i,k} .

The first sum is what a common clock does: coordinates that never act on each other are
correlated.  Memory is that of the components; nothing of size :math:`n^d` is ever made.

Not here: how the components are found (:mod:`fracsde.schemes.separable`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array, integer
from fracsde.errors import InputError, OutOfRangeError, ShapeError
from fracsde.operators.interpolation import between_cells

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.problems.separable import SeparableFokkerPlanck
    from fracsde.provenance import Provenance
    from fracsde.schemes.propagator import Propagator
    from fracsde.status import Status

__all__ = ["SeparableSolution"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SeparableSolution:
    """A positive mixture of products of one-dimensional densities, at times.

    Made by :func:`fracsde.solve`.

    Parameters
    ----------
    problem : SeparableFokkerPlanck
        What was solved.
    scheme : Propagator
        With what.
    spaces : tuple of FiniteVolume
        Of each coordinate.
    times : (t,) float64 [t]
        When.
    weights : (k,) float64 [1]
        Of the components: positive, one in all.
    components : tuple of (t, k, n) float64 [1/x]
        Densities of each coordinate in each component, not negative.
    points, widths : tuple of (n,) float64 [x]
        Cell centres and widths along each coordinate.
    status : Status
        How it ended.
    stats : dict
        Components, solves, bytes; ``certified`` and ``measured``, of which ``error_estimate`` is
        the larger.
    provenance : Provenance
        What is needed to do it again.
    error_estimate : float [1]
        Of the equations for the cells.  The larger of two numbers: the certified error of the
        clock's exponentials, which bounds the error of the joint density relative to the start, in
        the norm weighted by the equilibrium; and the measured error of the density of a
        coordinate by itself, relative to the largest one at the same time.

    Examples
    --------
    A common clock correlates coordinates that never act on each other:

    >>> import fracsde as fs
    >>> well = fs.FokkerPlanck(potential=lambda x: x**2 / 2, diffusion=1.0, domain=(-8.0, 8.0),
    ...     initial=fs.Gaussian(mean=1.0, std=0.5))
    >>> problem = fs.SeparableFokkerPlanck(factors=(well,) * 10, alpha=0.6)
    >>> solution = fs.solve(problem, [1.0], space=fs.FiniteVolume(cells=64))
    >>> solution.covariance()[0, :2, :2].round(3)
    array([[0.886, 0.065],
           [0.065, 0.886]])
    """

    problem: SeparableFokkerPlanck
    scheme: Propagator
    spaces: tuple[Any, ...]
    times: FloatArray
    weights: FloatArray
    components: tuple[FloatArray, ...]
    points: tuple[FloatArray, ...]
    widths: tuple[FloatArray, ...]
    status: Status
    stats: dict[str, Any]
    provenance: Provenance
    error_estimate: float
    log_masses: FloatArray = field(init=False, repr=False)
    """Logarithms of the masses ``W`` of the components, ``(t, k)``; of 1000 coordinates that each
    lose half of theirs a mass would be zero."""

    def __post_init__(self) -> None:
        with np.errstate(divide="ignore"):
            logs = np.log(self.weights) + sum(
                np.log(density @ h) for density, h in zip(self.components, self.widths, strict=True)
            )
        object.__setattr__(self, "log_masses", logs)

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.points)

    # --- the mixture --------------------------------------------------------------------------

    def mass(self) -> FloatArray:
        """Return the mass that is left.

        Returns
        -------
        (t,) ndarray [1]
        """
        return np.asarray(np.exp(self.log_masses).sum(axis=1))

    def mass_defect(self) -> FloatArray:
        """Return the mass minus one: rounding, or minus what walls and reactions took.

        Returns
        -------
        (t,) ndarray [1]
        """
        return self.mass() - 1.0

    def shares(self) -> FloatArray:
        """Return the shares of the components in the mass that is left.

        Returns
        -------
        (t, k) ndarray [1]
            Not a number where nothing is left.
        """
        logs = self.log_masses
        with np.errstate(invalid="ignore"):
            shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def _shapes(self, axis: int) -> FloatArray:
        # Densities of a coordinate in each component, of mass one; zero where nothing is left.
        density = self.components[axis]
        mass = (density @ self.widths[axis])[..., None]
        return np.asarray(density / np.where(mass > 0.0, mass, 1.0))

    def _powers(self, axis: int, power: int) -> FloatArray:
        # Integrals of a power over the shapes, (t, k).
        return np.asarray(self._shapes(axis) @ (self.widths[axis] * self.points[axis] ** power))

    # --- densities ----------------------------------------------------------------------------

    def marginal(self, axis: int) -> FloatArray:
        """Return the densities of one coordinate, the others integrated out.

        Parameters
        ----------
        axis : int
            Which coordinate, from 0.

        Returns
        -------
        (t, n) ndarray [1/x]
        """
        axis = integer("axis", axis, low=0, high=self.dimension - 1)
        return np.asarray(np.einsum("tk,tkn->tn", np.exp(self.log_masses), self._shapes(axis)))

    def pair_marginal(self, first: int, second: int) -> FloatArray:
        """Return the joint densities of two coordinates, the others integrated out.

        Parameters
        ----------
        first, second : int
            Two different coordinates, from 0.

        Returns
        -------
        (t, n, m) ndarray [1/x^2]
            First coordinate first.

        Raises
        ------
        InputError
            If the coordinates are the same.
        """
        first = integer("first", first, low=0, high=self.dimension - 1)
        second = integer("second", second, low=0, high=self.dimension - 1)
        if first == second:
            msg = f"`first` and `second` are both {first}; the density of one is marginal({first})"
            raise InputError(msg)
        weighted = np.exp(self.log_masses)[..., None] * self._shapes(first)
        return np.asarray(weighted.transpose(0, 2, 1) @ self._shapes(second))

    def density_at(self, *x: ArrayLike) -> FloatArray:
        """Return joint densities at points.

        Between cell centres factors are interpolated as by :meth:`fracsde.Solution.density_at`.
        Beyond a few hundred coordinates densities are beyond the range of numbers; ask for
        :meth:`log_density_at`.

        Parameters
        ----------
        *x : array_like [x]
            One array per coordinate, which broadcast against each other.

        Returns
        -------
        (t, *common shape of x) ndarray [1/x^d]
            Not negative.
        """
        return np.exp(self.log_density_at(*x))

    def log_density_at(self, *x: ArrayLike) -> FloatArray:
        """Return the logarithms of joint densities at points.

        Parameters
        ----------
        *x : array_like [x]
            One array per coordinate, which broadcast against each other.

        Returns
        -------
        (t, *common shape of x) ndarray [1]
            Of the density in units of one over the units of the coordinates; ``-inf`` where it is
            zero.

        Raises
        ------
        OutOfRangeError
            If a point lies outside the domain.
        ShapeError
            If there are not as many arrays as coordinates.
        """
        if len(x) != self.dimension:
            msg = f"points have {self.dimension} coordinates, one array for each, got {len(x)}"
            raise ShapeError(msg)
        where = [finite_array(f"x[{i}]", c) for i, c in enumerate(x)]
        for i, (c, factor) in enumerate(zip(where, self.problem.factors, strict=True)):
            a, b = factor.domain
            if np.any((c < a) | (c > b)):
                worst = float(c.flat[int(np.argmax(np.maximum(a - c, c - b)))])
                msg = (
                    f"`x[{i}]` must lie in the domain [{a:g}, {b:g}], got {worst:g}; there is "
                    "nothing beyond"
                )
                raise OutOfRangeError(msg)
        shape = np.broadcast_shapes(*(c.shape for c in where))
        found = np.empty((len(self.times), *shape))
        with np.errstate(divide="ignore"):
            for t in range(len(self.times)):  # one at a time, for memory
                logs = np.log(self.weights).reshape(-1, *(1,) * len(shape))
                for axis, c in enumerate(where):
                    wide = c.reshape((1,) * (len(shape) - c.ndim) + c.shape)
                    cells = self.points[axis], self.widths[axis], self.components[axis][t]
                    logs = logs + np.log(between_cells(self.problem.factors[axis], *cells, wide))
                found[t] = np.logaddexp.reduce(logs, axis=0)
        return found

    # --- moments ------------------------------------------------------------------------------

    def moment(self, k: int | tuple[int, ...]) -> FloatArray:
        """Return integrals of powers over the density, not divided by the mass.

        Parameters
        ----------
        k : int or tuple of int
            Not negative.  A number is the power of each coordinate by itself; a tuple holds the
            powers of a product, one per coordinate.

        Returns
        -------
        (t, d) ndarray [x**k]
            ``(t,)`` for a tuple.

        Raises
        ------
        ShapeError
            If a tuple does not hold one power per coordinate.
        """
        masses = np.exp(self.log_masses)
        if isinstance(k, (tuple, list)):
            if len(k) != self.dimension:
                msg = f"`k` must hold {self.dimension} powers, one per coordinate, got {len(k)}"
                raise ShapeError(msg)
            powers = [integer(f"k[{axis}]", power, low=0) for axis, power in enumerate(k)]
            for axis, power in enumerate(powers):
                if power:
                    masses = masses * self._powers(axis, power)
            return np.asarray(masses.sum(axis=1))
        k = integer("k", k, low=0)
        each = [(masses * self._powers(axis, k)).sum(axis=1) for axis in range(self.dimension)]
        return np.stack(each, axis=1)

    def _means(self) -> FloatArray:
        # Of each component, (t, k, d).
        return np.stack([self._powers(axis, 1) for axis in range(self.dimension)], axis=2)

    def mean(self) -> FloatArray:
        """Return the mean position of the mass that is there.

        Returns
        -------
        (t, d) ndarray [x]
        """
        return np.asarray(np.einsum("tk,tkd->td", self.shares(), self._means()))

    def variance(self) -> FloatArray:
        """Return the variance of each coordinate of the mass that is there.

        Returns
        -------
        (t, d) ndarray [x^2]
        """
        between = np.einsum("tk,tkd->td", self.shares(), self._apart() ** 2)
        return np.asarray(self._within() + between)

    def covariance(self) -> FloatArray:
        """Return the covariance of the position of the mass that is there.

        Returns
        -------
        (t, d, d) ndarray [x^2]
        """
        apart = self._apart()
        weighted = self.shares()[..., None] * apart
        found = weighted.transpose(0, 2, 1) @ apart
        diagonal = np.arange(self.dimension)
        found[:, diagonal, diagonal] += self._within()
        return np.asarray(0.5 * (found + found.transpose(0, 2, 1)))

    def _apart(self) -> FloatArray:
        # Means of the components, from the mean of all.
        return np.asarray(self._means() - self.mean()[:, None, :])

    def _within(self) -> FloatArray:
        # Variances of the components, averaged, (t, d).
        shares, columns = self.shares(), []
        for axis, (c, h) in enumerate(zip(self.points, self.widths, strict=True)):
            shapes = self._shapes(axis)
            distance = c - (shapes @ (h * c))[..., None]
            columns.append((shares * ((shapes * distance**2) @ h)).sum(axis=1))
        return np.stack(columns, axis=1)

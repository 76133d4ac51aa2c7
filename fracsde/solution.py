r"""What :func:`fracsde.solve` returns: densities at times, and what is known about their errors.

Moments are sums over points, :math:`\int x^k p\,dx \approx \sum_i x_i^k\, p_i\, h_i`, and are as
accurate as the operator: of order :math:`h^2` with the cells of
:mod:`fracsde.operators.finite_volume`, where the :math:`h_i` are widths, and spectrally with
:mod:`fracsde.operators.spectral`, where they are quadrature weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array, integer, real
from fracsde._solving.pictures import curves, maps, marginals, optional
from fracsde.errors import GridError, OutOfRangeError, ShapeError
from fracsde.operators.chain import CellChain
from fracsde.operators.interpolation import between_cells
from fracsde.problems.fokker_planck import FokkerPlanck
from fracsde.problems.geometry import open_mesh

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.problems.fractional import FractionalFokkerPlanck
    from fracsde.provenance import Provenance
    from fracsde.status import Status

__all__ = ["Solution"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """Densities at times.

    Parameters
    ----------
    problem : FokkerPlanck or FractionalFokkerPlanck
        What was solved.
    scheme, space : object
        With what.
    times : (t,) float64 [t]
        When.
    density : (t, n), (t, n, m) or (t, n, m, l) float64 [1/x^d]
        One row per time, one axis per coordinate.
    points : tuple of (n,) float64 [x]
        Cell centres, or nodes of a spectral operator, one array per coordinate.
    widths : (n,), (n, m) or (n, m, l) float64 [x^d]
        Cell widths or volumes, or the quadrature weights of the nodes.
    status : Status
        How it ended.
    stats : dict
        Steps, cells, bytes of history.
    provenance : Provenance
        What is needed to do it again.
    error_estimate : float or None [1/x]
        For a propagated solution, the estimated error of the density, truncation and rounding,
        against the exact solution of the equations for the points; with ``space="auto"`` against
        the exact solution of the problem.  ``None`` for a marched one: its error follows the
        scheme's order, and is seen by halving the steps.
    discrete_residual : float [1]
        See :meth:`residual`.
    generator : Generator
        The operator in space, which interpolates between its points.
    """

    problem: FokkerPlanck | FractionalFokkerPlanck
    scheme: Any
    space: Any
    times: FloatArray
    density: FloatArray
    points: tuple[FloatArray, ...]
    widths: FloatArray
    status: Status
    stats: dict[str, Any]
    provenance: Provenance
    error_estimate: float | None
    discrete_residual: float
    generator: Any

    def at(self, t: float) -> FloatArray:
        """Return the density at one of the saved times.

        Parameters
        ----------
        t : float [t]
            One of ``times``, up to rounding.

        Returns
        -------
        (n,), (n, m) or (n, m, l) ndarray [1/x^d]

        Raises
        ------
        GridError
            If nothing was saved then.
        """
        t = real("t", t)
        nearest = int(np.argmin(np.abs(self.times - t)))
        if abs(self.times[nearest] - t) > 1e-12 * self.times[nearest]:
            msg = (
                f"`t` must be a saved time, got {t:g}, the nearest is {self.times[nearest]:g}; ask "
                "for it in `times` or `save_at`: densities that start like t**alpha are not "
                "interpolated in time"
            )
            raise GridError(msg)
        return np.array(self.density[nearest])

    def density_at(self, *x: ArrayLike) -> FloatArray:
        """Return densities between the points, at the operator's own order.

        Cells are of second order: linear between centres along each axis and never negative where
        the cells are not; beyond the last centre towards the value at the wall: zero at an
        absorbing one, the continued line at a reflecting one, the other side's in a ring.  A
        spectral operator is as accurate between its points as at them, and may be negative by its
        error.

        Parameters
        ----------
        *x : array_like [x]
            Points of the domain, one array per coordinate, which broadcast against each other;
            outside the box of an unbounded domain the density is zero.

        Returns
        -------
        (t, *common shape of x) ndarray [1/x^d]

        Raises
        ------
        OutOfRangeError
            If a point lies outside the domain.
        ShapeError
            If there are not as many arrays as coordinates, or they do not broadcast.
        """
        base = self._base
        if len(x) != base.dimension:
            msg = f"`density_at` takes {base.dimension} arrays, one per coordinate, got {len(x)}"
            raise ShapeError(msg)
        letters = "xyz"
        where = tuple(finite_array(letters[k], c) for k, c in enumerate(x))
        try:
            np.broadcast_shapes(*(c.shape for c in where))
        except ValueError:
            shapes = ", ".join(str(c.shape) for c in where)
            msg = (
                "`density_at` takes arrays that broadcast against each other, got shapes "
                f"{shapes}; a grid of points is density_at(x[:, None], y)"
            )
            raise ShapeError(msg) from None
        for letter, c, (a, b) in zip(letters, where, base.intervals, strict=False):
            if np.any((c < a) | (c > b)):
                worst = float(c.flat[int(np.argmax(np.maximum(a - c, c - b)))])
                msg = (
                    f"`{letter}` must lie in the domain [{a:g}, {b:g}], got {worst:g}; there is "
                    "nothing beyond"
                )
                raise OutOfRangeError(msg)
        if isinstance(self.generator, CellChain):
            return between_cells(base, self.points[0], self.widths, self.density, where[0])
        if len(where) > 1:
            return np.asarray(self.generator.interpolate(self.density, where))
        return np.asarray(self.generator.interpolate(self.density, where[0]))

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.points)

    @property
    def _base(self) -> FokkerPlanck:
        return self.problem if isinstance(self.problem, FokkerPlanck) else self.problem.base

    # --- moments ------------------------------------------------------------------------------

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
        if self.dimension == 1:
            return np.array(self.density)
        others = tuple(k + 1 for k in range(self.dimension) if k != axis)
        masses = (self.density * self.widths).sum(axis=others)
        return np.asarray(masses / np.diff(self.generator.edges[axis]))

    def moment(self, k: int | tuple[int, ...]) -> FloatArray:
        """Return integrals of powers over the density, not divided by the mass.

        Parameters
        ----------
        k : int or tuple of int
            Not negative.  A number is the power of each coordinate by itself; a tuple holds the
            powers of a product, ``(1, 1)`` for ``x y``, and ``(0, 0)`` gives the mass.

        Returns
        -------
        (t,) ndarray [x**k]
            ``(t, d)`` for a number and more than one coordinate.

        Raises
        ------
        ShapeError
            If a tuple does not hold one power per coordinate.
        """
        if isinstance(k, (tuple, list)):
            if len(k) != self.dimension:
                msg = f"`k` must hold {self.dimension} powers, one per coordinate, got {k}"
                raise ShapeError(msg)
            powers = [integer(f"k[{axis}]", power, low=0) for axis, power in enumerate(k)]
            values = self.widths
            for c, power in zip(open_mesh(self.points), powers, strict=True):
                values = values * c**power
            return self._integral(values)
        k = integer("k", k, low=0)
        each = [self._integral(self.widths * c**k) for c in open_mesh(self.points)]
        return each[0] if self.dimension == 1 else np.stack(each, axis=1)

    def _integral(self, weights: FloatArray) -> FloatArray:
        rows = self.density.reshape(len(self.times), -1)
        return np.asarray(rows @ weights.ravel())

    def mean(self) -> FloatArray:
        """Return the mean position of the mass that is there.

        Returns
        -------
        (t,) ndarray [x]
            ``(t, d)`` for more than one coordinate.
        """
        mass = self._integral(self.widths)
        return np.asarray(self.moment(1) / (mass if self.dimension == 1 else mass[:, None]))

    def variance(self) -> FloatArray:
        """Return the variance of the position of the mass that is there.

        Returns
        -------
        (t,) ndarray [x^2]
            ``(t, d)``, of each coordinate, for more than one.
        """
        if self.dimension > 1:
            return np.array(np.diagonal(self.covariance(), axis1=1, axis2=2))
        distance = self.points[0] - self.mean()[:, None]
        masses = self.density * self.widths
        return np.asarray((masses * distance**2).sum(axis=1) / masses.sum(axis=1))

    def covariance(self) -> FloatArray:
        """Return the covariance of the position of the mass that is there.

        Returns
        -------
        (t, d, d) ndarray [x^2]
        """
        d, means = self.dimension, self.mean().reshape(len(self.times), -1)
        found = np.empty((len(self.times), d, d))
        for t, p in enumerate(self.density):
            masses = p * self.widths
            apart = [c - m for c, m in zip(open_mesh(self.points), means[t], strict=True)]
            for i in range(d):
                for j in range(i, d):
                    found[t, i, j] = found[t, j, i] = (masses * apart[i] * apart[j]).sum()
            found[t] /= masses.sum()
        return found

    def mass_defect(self) -> FloatArray:
        """Return the mass minus one.

        Rounding where nothing enters or leaves; elsewhere what sources brought, minus what walls
        and reaction took.

        Returns
        -------
        (t,) ndarray [1]
        """
        return self._integral(self.widths) - 1.0

    def residual(self) -> float:
        r"""Return the residual of the equations that were solved.

        Marched: the largest entry of :math:`\sum_k w_k (p_{k+1} - p_k) - L p - s` at the last
        step, evaluated from increments and from ``apply``, over the largest term.  Propagated:
        that of the shifted systems of the last time, over their largest term; for a spectral
        operator of :math:`H Q - Q \Lambda`, over the largest eigenvalue.  All are rounding
        in a good solution, and none is the error in time or space.

        Returns
        -------
        float [1]
        """
        return self.discrete_residual

    def plot(self, *, ax: Any = None, count: int | None = None) -> Any:
        """Draw densities at some of the times.

        Curves on a line, maps with contours in the plane, densities of each coordinate in space.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.  In the plane one for each time, in space one
            for each coordinate.
        count : int
            How many times at most; 6, or 3 in the plane.

        Returns
        -------
        matplotlib Axes
            An array of them beyond the line.
        """
        if count is None:
            count = 3 if self.dimension == 2 else 6
        count = integer("count", count, low=1)
        chosen = np.unique(np.linspace(0, len(self.times) - 1, count).round().astype(int))
        times, density = self.times[chosen], self.density[chosen]
        if self.dimension == 1:
            return curves(ax, self.points[0], density, times)
        if self.dimension == 2:
            return maps(ax, self.points, density, times)
        lines = [self.marginal(axis)[chosen] for axis in range(self.dimension)]
        return marginals(ax, self.points, lines, times)

    def to_xarray(self) -> Any:
        """Return the densities as an ``xarray.DataArray`` with axes ``time`` and ``x``.

        Returns
        -------
        xarray.DataArray
            With axes ``y`` and ``z`` where there are more coordinates.
        """
        xarray = optional("xarray", "pip install xarray")
        letters = "xyz"[: self.dimension]
        places = {letter: c.copy() for letter, c in zip(letters, self.points, strict=True)}
        return xarray.DataArray(
            self.density.copy(),
            coords={"time": self.times.copy(), **places},
            dims=("time", *letters),
            name="density",
            attrs={"provenance": str(self.provenance.to_dict()), "status": self.status.name},
        )

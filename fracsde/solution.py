r"""What :func:`fracsde.solve` returns: densities at times, and what is known about their errors.

Moments are sums over points, :math:`\int x^k p\,dx \approx \sum_i x_i^k\, p_i\, h_i`, and are as
accurate as the operator: of order :math:`h^2` with the cells of
:mod:`fracsde.operators.finite_volume`, where the :math:`h_i` are widths, and spectrally with
:mod:`fracsde.operators.spectral`, where they are quadrature weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array, integer, real
from fracsde.errors import BackendUnavailable, GridError, OutOfRangeError
from fracsde.operators.chain import CellChain
from fracsde.operators.interpolation import between_cells
from fracsde.problems.fokker_planck import FokkerPlanck

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
    density : (t, n) float64 [1/x]
        One row per time.
    points : tuple of one (n,) float64 [x]
        Cell centres, or nodes of a spectral operator.
    widths : (n,) float64 [x]
        Cell widths, or the quadrature weights of the nodes.
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
    points: tuple[FloatArray]
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
        (n,) ndarray [1/x]

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

    def density_at(self, x: ArrayLike) -> FloatArray:
        """Return densities between the points, at the operator's own order.

        Cells are of second order: linear between centres and never negative where the cells are
        not; beyond the last centre towards the value at the wall: zero at an absorbing one, the
        continued line at a reflecting one, the other side's in a ring.  A spectral operator is
        as accurate between its points as at them, and may be negative by its error.

        Parameters
        ----------
        x : array_like [x]
            Points of the domain; outside the box of an unbounded domain the density is zero.

        Returns
        -------
        (t, *shape of x) ndarray [1/x]

        Raises
        ------
        OutOfRangeError
            If a point lies outside the domain.
        """
        where = finite_array("x", x)
        base = self._base
        a, b = base.domain
        if np.any((where < a) | (where > b)):
            worst = float(where.flat[int(np.argmax(np.maximum(a - where, where - b)))])
            msg = (
                f"`x` must lie in the domain [{a:g}, {b:g}], got {worst:g}; there is nothing beyond"
            )
            raise OutOfRangeError(msg)
        if isinstance(self.generator, CellChain):
            return between_cells(base, self.points[0], self.widths, self.density, where)
        return np.asarray(self.generator.interpolate(self.density, where))

    @property
    def _base(self) -> FokkerPlanck:
        return self.problem if isinstance(self.problem, FokkerPlanck) else self.problem.base

    def moment(self, k: int) -> FloatArray:
        """Return the integrals of ``x**k`` over the density, not divided by the mass.

        Parameters
        ----------
        k : int
            Not negative; 0 gives the mass.

        Returns
        -------
        (t,) ndarray [x**k]
        """
        k = integer("k", k, low=0)
        return np.asarray(self.density @ (self.widths * self.points[0] ** k))

    def mean(self) -> FloatArray:
        """Return the mean position of the mass that is there.

        Returns
        -------
        (t,) ndarray [x]
        """
        return np.asarray(self.moment(1) / self.moment(0))

    def variance(self) -> FloatArray:
        """Return the variance of the position of the mass that is there.

        Returns
        -------
        (t,) ndarray [x^2]
        """
        distance = self.points[0] - self.mean()[:, None]
        masses = self.density * self.widths
        return np.asarray((masses * distance**2).sum(axis=1) / masses.sum(axis=1))

    def mass_defect(self) -> FloatArray:
        """Return the mass minus one.

        Rounding where nothing enters or leaves; elsewhere what sources brought, minus what walls
        and reaction took.

        Returns
        -------
        (t,) ndarray [1]
        """
        return self.moment(0) - 1.0

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

    def plot(self, *, ax: Any = None, count: int = 6) -> Any:
        """Draw densities at some of the times.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        count : int
            How many curves at most.

        Returns
        -------
        matplotlib Axes
        """
        count = integer("count", count, low=1)
        if ax is None:
            ax = _optional("matplotlib.pyplot", 'pip install "fracsde[plot]"').subplots()[1]
        chosen = np.unique(np.linspace(0, len(self.times) - 1, count).round().astype(int))
        for k in chosen:
            ax.plot(self.points[0], self.density[k], label=f"t = {self.times[k]:.3g}")
        ax.set_xlabel("x")
        ax.set_ylabel("density")
        ax.legend()
        return ax

    def to_xarray(self) -> Any:
        """Return the densities as an ``xarray.DataArray`` with axes ``time`` and ``x``.

        Returns
        -------
        xarray.DataArray
        """
        xarray = _optional("xarray", "pip install xarray")
        return xarray.DataArray(
            self.density.copy(),
            coords={"time": self.times.copy(), "x": self.points[0].copy()},
            dims=("time", "x"),
            name="density",
            attrs={"provenance": str(self.provenance.to_dict()), "status": self.status.name},
        )


def _optional(module: str, install: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        msg = f"this needs {module.split('.')[0]}, which is not installed; {install}"
        raise BackendUnavailable(msg) from error

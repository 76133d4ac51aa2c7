r"""What a spectral operator needs to know about a problem, to rounding.

With the drift :math:`g = V' - F` and :math:`\Phi' = g / D`, the equation
:math:`L p = (g p + D p')' - r p` has the equilibrium :math:`\pi = e^{-\Phi}` (at :math:`r = 0`),
and :math:`\psi = p / \sqrt\pi` obeys :math:`\dot\psi = -H \psi` with the symmetric

.. math::
    H \psi = -(D \psi')' + (U + r)\, \psi, \qquad U = \frac{g^2}{4 D} - \frac{g'}{2} .

Only functions are given.  Their derivatives are those of Chebyshev interpolants
(:mod:`fracsde.operators.smooth`) on an interval that ends where the density is negligible; for
constant :math:`D` without extra drift :math:`\Phi = V / D` is the caller's own function.

With :math:`\min \Phi = 0` a density that starts below :math:`C \pi` stays below it, so that,
side by side and relative to their largest values, all densities at all times are smaller than
:math:`e^{-d}` beyond

.. math::
    \Phi(x) > d + \max_{p_0 > e^{-d} \max p_0} \Bigl(\ln\frac{p_0}{\max p_0} + \Phi\Bigr)^+ .

An operator without walls may take the ends of an interval for infinity if they lie out there.

The quotient :math:`p_0 / \sqrt\pi` may grow without bound far out, as for any Gaussian in a
quartic well, and rounding of its largest value comes back in all of :math:`p`.  The start is
therefore tapered to :math:`p_0 / (1 + e^{\Phi - 72})`, with :math:`72 = -2 \ln \epsilon`: what is
taken away is then as large as the rounding that would come with it.  Where :math:`p_0` becomes
negligible before :math:`\Phi` comes to 72 it is nothing; where not, it shows in
``resolution_error``, and a start of which too much is lost is refused.

Not here: the operators that use it (:mod:`fracsde.operators.sinc`,
:mod:`fracsde.operators.hermite`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import UnsupportedError
from fracsde.operators.smooth import ChebyshevSeries, fit
from fracsde.problems.densities import Gaussian, PointMass, refuse_negative
from fracsde.problems.fokker_planck import require_line
from fracsde.problems.sampling import sample

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["DEEPEST", "VOID", "Landscape", "initial_density", "rough_phi"]

DEEPEST = 16 * np.log(10.0)  # a density smaller by this factor is rounding
_HIGHEST = 72.0  # height of the equilibrium's logarithm at which a start is rounding
VOID = 600.0  # height at which the equilibrium is as good as zero
_SCAN = 513  # points at which the interval is looked over
_FELT = 1e-10  # share of its largest value that a density may have at a wall
_EVER = 1e-300  # and at an absorbing one, which takes a little all the time


@dataclass(frozen=True, kw_only=True, eq=False)
class Landscape:
    """The coefficients of a problem on an interval.

    Parameters
    ----------
    problem : FokkerPlanck
        The problem.
    box : (float, float) [x]
        The interval.
    """

    problem: FokkerPlanck
    box: tuple[float, float]

    @staticmethod
    def of(problem: FokkerPlanck, *, box: tuple[float, float] | None = None) -> Landscape:
        """Return the landscape of a problem where its density lives.

        Parameters
        ----------
        problem : FokkerPlanck
            The problem.
        box : (float, float), optional [x]
            The interval; by default where a density is not rounding.

        Returns
        -------
        Landscape

        Raises
        ------
        UnsupportedError
            If the initial density is a point mass or cell values.
        """
        require_line(problem, "a spectral operator")
        start = problem.initial
        if isinstance(start, (PointMass, np.ndarray)):
            kind = "a point mass" if isinstance(start, PointMass) else "cell values"
            msg = (
                f"`initial` is {kind}, which a spectral operator cannot represent: it needs a "
                "smooth density, Gaussian(mean=, std=) or a function; use FiniteVolume()"
            )
            raise UnsupportedError(msg)
        return Landscape(problem=problem, box=_interval(problem) if box is None else box)

    @cached_property
    def _potential(self) -> ChebyshevSeries:
        return fit("potential", self.problem.potential_at, self.box)

    @cached_property
    def _slope(self) -> ChebyshevSeries:
        return self._potential.derivative()

    @cached_property
    def _bend(self) -> ChebyshevSeries:
        return self._slope.derivative()

    @cached_property
    def _force(self) -> ChebyshevSeries:
        return fit("force", self.problem.force_at, self.box)

    @cached_property
    def _push(self) -> ChebyshevSeries:
        return self._force.derivative()

    @cached_property
    def _work(self) -> ChebyshevSeries:
        # The integral of F, or with variable diffusion of g / D.
        if not callable(self.problem.diffusion):
            return self._force.antiderivative()

        def descent(x: FloatArray) -> FloatArray:
            return np.asarray(self.drift(x) / self.problem.diffusion_at(x))

        return fit("diffusion", descent, self.box).antiderivative()

    @cached_property
    def lowest(self) -> float:
        """Lowest value of ``Phi`` on the interval before it is moved to zero."""
        return float(self._phi(np.linspace(*self.box, _SCAN)).min())

    def _phi(self, x: FloatArray) -> FloatArray:
        if callable(self.problem.diffusion):
            return self._work(x)
        V = self.problem.potential_at(x)
        if self.problem.force is not None:
            V = V - self._work(x)
        return np.asarray(V / self.problem.diffusion)

    def phi(self, x: FloatArray) -> FloatArray:
        r"""Return :math:`\Phi`, with lowest value near zero, at most 600.

        Returns
        -------
        ndarray [1]
        """
        return np.asarray(np.minimum(self._phi(x) - self.lowest, VOID))

    def drift(self, x: FloatArray) -> FloatArray:
        """Return ``V' - F``.

        Returns
        -------
        ndarray [x/t]
        """
        g = self._slope(x)
        return g if self.problem.force is None else g - self.problem.force_at(x)

    def curvature(self, x: FloatArray) -> FloatArray:
        """Return ``U``, which is negative at the bottom of a well.

        Returns
        -------
        ndarray [1/t]
        """
        g, bend = self.drift(x), self._bend(x)
        if self.problem.force is not None:
            bend = bend - self._push(x)
        return np.asarray(0.25 * g * g / self.problem.diffusion_at(x) - 0.5 * bend)

    def check_smooth(self) -> None:
        """Refuse diffusion and reaction that are not smooth; the rest is fitted where used."""
        for name in ("diffusion", "reaction"):
            if callable(getattr(self.problem, name)):
                fit(name, getattr(self.problem, f"{name}_at"), self.box)

    @cached_property
    def _scan(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        x = np.linspace(*self.box, _SCAN)
        phi = self.phi(x)
        return x, phi, _log_start(self.problem, x, phi)

    def start(self, x: FloatArray) -> FloatArray:
        """Return the tapered initial density at points, not normalised.

        Returns
        -------
        (m,) ndarray [1/x]
        """
        return np.asarray(initial_density(self.problem, x) / (1.0 + np.exp(self.phi(x) - _HIGHEST)))

    def ends(self, depths: FloatArray) -> FloatArray:
        """Return the intervals outside which densities are below ``exp(-depth)``.

        Parameters
        ----------
        depths : (d,) float64 [1]
            Positive.

        Returns
        -------
        (d, 2) ndarray [x]
            Inside ``box``.
        """
        x, phi, log_start = self._scan
        return _ends(x, phi, log_start, depths)

    @cached_property
    def climb(self) -> tuple[float, float]:
        """Height that the start adds to the equilibrium on the left and on the right [1].

        Densities over their largest values stay below ``exp(climb - phi)``.
        """
        _, phi, log_start = self._scan
        well, starts = int(np.argmin(phi)), log_start > -DEEPEST
        sides = slice(None, well + 1), slice(well, None)
        left, right = (
            float(np.max((log_start + phi)[side][starts[side]], initial=0.0)) for side in sides
        )
        return left, right

    def refuse_felt_walls(self) -> None:
        """Refuse walls that the density feels.

        Raises
        ------
        UnsupportedError
            Naming the wall and how much of the density is there.
        """
        _, phi, log_start = self._scan
        for side in (0, 1):
            wall = self.problem.domain[side]
            if not np.isfinite(wall) or wall != self.box[side]:
                continue
            share = float(np.exp(max(self.climb[side] - phi[-side], log_start[-side])))
            if share > _EVER and self.problem.boundary[side] == "absorbing":
                msg = (
                    f"the absorbing wall at x = {wall:g} takes mass for ever, and densities there "
                    f"may reach {share:.1e} of the largest; a spectral operator takes the ends for "
                    "infinity and would keep it; use FiniteVolume()"
                )
                raise UnsupportedError(msg)
            if share > _FELT:
                msg = (
                    f"the {self.problem.boundary[side]} wall at x = {wall:g} is felt: densities "
                    f"there may reach {share:.1e} of the largest, and a spectral operator takes "
                    "the ends for infinity; use FiniteVolume(), or a wider domain"
                )
                raise UnsupportedError(msg)


def rough_phi(problem: FokkerPlanck, x: FloatArray) -> FloatArray:
    r"""Return :math:`\Phi` at rising points by a sum over them, with lowest value zero.

    Returns
    -------
    (m,) ndarray [1]
    """
    V, F = problem.potential_at(x), problem.force_at(x)
    D = problem.diffusion_at(0.5 * (x[1:] + x[:-1]))
    rise = (np.diff(V) - 0.5 * (F[1:] + F[:-1]) * np.diff(x)) / D
    phi = np.concatenate([[0.0], np.cumsum(rise)])
    return np.asarray(phi - phi.min())


def initial_density(problem: FokkerPlanck, x: FloatArray) -> FloatArray:
    """Return the initial density at points, as given: a function is not normalised.

    Returns
    -------
    ndarray [1/x]
    """
    start = problem.initial
    assert not isinstance(start, (PointMass, np.ndarray))  # refused by Landscape.of
    values = start(x) if isinstance(start, Gaussian) else sample("initial", start, x)  # type: ignore[arg-type]  # callable
    refuse_negative(values, x)
    return values


def _log_start(problem: FokkerPlanck, x: FloatArray, phi: FloatArray) -> FloatArray:
    # Logarithm of what starts, tapered, or enters at time 0, over its largest value.
    start = problem.initial
    if isinstance(start, Gaussian):
        log_start = -0.5 * ((x - start.mean) / start.std) ** 2
    else:
        log_start = _log(initial_density(problem, x))
    if problem.source is not None:
        log_start = np.maximum(log_start, _log(np.abs(problem.source_at(0.0, x))))
    return np.asarray(log_start - np.logaddexp(0.0, phi - _HIGHEST))


def _log(values: FloatArray) -> FloatArray:
    # Logarithm of values over the largest of them.
    with np.errstate(divide="ignore"):
        logs = np.log(values)
    return np.asarray(logs - logs.max()) if np.isfinite(logs.max()) else logs


def _ends(x: FloatArray, phi: FloatArray, log_start: FloatArray, depths: FloatArray) -> FloatArray:
    # Where the larger of start and weight falls below exp(-depth), on each side of the well.
    well, ends = int(np.argmin(phi)), []
    for step in (-1, 1):
        side = slice(well, None, step)
        y, weight, start, deep = x[side], phi[side], log_start[side], depths[:, None]
        climb = np.where(start > -deep, start + weight, 0.0).max(axis=1, initial=0.0)
        excess = np.minimum(weight - climb[:, None], -np.maximum(start, -1e300)) - deep
        # The last point inside, and the share of the way to the next at which it ends.
        last = len(y) - 1 - np.argmax(excess[:, ::-1] <= 0, axis=1)
        after = np.minimum(last + 1, len(y) - 1)
        inner = np.take_along_axis(excess, last[:, None], axis=1)[:, 0]
        outer = np.take_along_axis(excess, after[:, None], axis=1)[:, 0]
        share = inner / np.where(outer > inner, inner - outer, 1.0)
        ends.append(y[last] + np.where(after > last, share, 0.0) * (y[after] - y[last]))
    return np.stack(ends, axis=-1)


def _interval(problem: FokkerPlanck) -> tuple[float, float]:
    # The part of the domain in which a density is not rounding.
    a, b = problem.box
    shrunk = True
    while shrunk:
        edges = np.linspace(a, b, _SCAN + 1)
        x = 0.5 * (edges[1:] + edges[:-1])
        phi = rough_phi(problem, x)
        lower, upper = _ends(x, phi, _log_start(problem, x, phi), np.array([DEEPEST]))[0]
        # One cell more, so that where the density ends is inside.
        cell = edges[1] - edges[0]
        lower, upper = max(a, float(lower) - cell), min(b, float(upper) + cell)
        shrunk = upper - lower < 0.6 * (b - a)
        a, b = lower, upper
    return a, b

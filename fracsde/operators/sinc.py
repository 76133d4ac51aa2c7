r"""The sinc operator: equally spaced nodes, sines that vanish where the density does.

In the space of :mod:`fracsde.operators.sines`, with ``G`` the matrix of derivatives at half
points,

.. math::
    H = G^T D\, G + U ,

:math:`D` at the half points and :math:`U` at the nodes.  The first term is symmetric and positive
definite for every :math:`D > 0`, and exact in the space at constant :math:`D`.

For ``V = x**2 / 2``, ``D = 1``, a start at 1.5 of width 0.5 and ``alpha = 0.6`` the largest error
of the density at the nodes at times 0.01 to 10 is 4e-8, 2e-10, 4e-13 and 1e-14 for 32, 48, 64 and
80 points on the interval chosen here; between the nodes it is about ten times larger.
``benchmarks/bench_spectral.py`` prints it, and ``tests/operators/test_sinc.py`` bounds it at
``alpha = 0.5``.

The odd images are why the ends are felt only as far as the density reaches them: cut-off sinc
functions, whose derivatives decay like the inverse square of the distance, feel them through
:math:`\sqrt\pi` instead, and need more points.

Not here: functions of the operator (:mod:`fracsde.operators.spectral`).

References: [ColbertMiller1992]_ for the matrix at constant ``D``, [Stenger1993]_ for sinc methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import finite_array, node_count
from fracsde.errors import GridError
from fracsde.operators.basis import tails
from fracsde.operators.landscape import DEEPEST, Landscape
from fracsde.operators.sines import SineBasis
from fracsde.operators.spectral import SpectralGenerator

if TYPE_CHECKING:
    from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["Sinc"]

_DEPTHS = np.linspace(4.0, float(DEEPEST), 25)  # at which densities may be cut off
_AT_NODES = 1e-3  # error at nodes over what is not resolved between them


@dataclass(frozen=True, kw_only=True)
class Sinc:
    """Sinc functions on an interval whose ends stand for infinity.

    Serves smooth problems whose density is negligible at the ends of the domain: there the kind
    of wall does not matter, and walls that are felt are refused.

    Parameters
    ----------
    points : int
        Number of nodes, at least 8.
    box : (float, float), optional [x]
        Interval, inside the domain; by default where the error of cutting off balances that of
        the spacing.

    References
    ----------
    [ColbertMiller1992]_, [Stenger1993]_

    Examples
    --------
    >>> from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
    >>> problem = FokkerPlanck(potential=lambda x: x**2 / 2, diffusion=1.0,
    ...     domain=(-np.inf, np.inf), initial=Gaussian(mean=1.0, std=0.7))
    >>> rates, _ = Sinc(points=64, box=(-11.0, 11.0)).discretise(problem).eigen()
    >>> bool(np.abs(rates[:5] - np.arange(5)).max() < 1e-9)
    True
    """

    citation: ClassVar[tuple[str, ...]] = ("ColbertMiller1992", "Stenger1993")

    points: int = 64
    box: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", node_count("points", self.points, low=8))
        if self.box is not None:
            ends = finite_array("box", self.box, shape=(2,))
            if not ends[0] < ends[1]:
                msg = f"`box` must be an interval (a, b) with a < b, got {self.box}"
                raise GridError(msg)
            object.__setattr__(self, "box", (float(ends[0]), float(ends[1])))

    def discretise(self, problem: FokkerPlanck) -> SpectralGenerator:
        """Return the operator of a problem.

        Parameters
        ----------
        problem : FokkerPlanck
            On the line, or with walls that the density does not feel.

        Returns
        -------
        SpectralGenerator

        Raises
        ------
        GridError
            If ``box`` leaves the domain.
        """
        a, b = problem.domain
        if self.box is not None and not a <= self.box[0] < self.box[1] <= b:
            msg = f"`box` {self.box} must lie in the domain ({a:g}, {b:g})"
            raise GridError(msg)
        landscape = Landscape.of(problem, box=self.box)
        landscape.refuse_felt_walls()
        landscape.check_smooth()
        basis = self._basis(landscape)
        D: Any = problem.diffusion
        if callable(D):
            G = basis.derivative()
            H = G.T @ (problem.diffusion_at(basis.half_points)[:, None] * G)
        else:
            H = D * basis.second_derivative()
        H[np.diag_indices_from(H)] += landscape.curvature(basis.nodes)
        H = 0.5 * (H + H.T)
        generator = SpectralGenerator(basis=basis, landscape=landscape, matrix=H)
        generator.refuse_unresolved()
        return generator

    def _basis(self, landscape: Landscape) -> SineBasis:
        # The interval on which what is cut off balances what is not resolved.
        if self.box is not None:
            return SineBasis(ends=self.box, size=self.points)
        ends = landscape.ends(_DEPTHS)
        steps = np.arange(1.0, self.points + 1.0) / (self.points + 1)
        nodes = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * steps
        like = SineBasis(ends=landscape.box, size=self.points)
        start, equilibrium = tails(like, landscape, nodes)
        errors = np.maximum(_AT_NODES * np.maximum(start, equilibrium), np.exp(-_DEPTHS))
        a, b = ends[int(np.argmin(errors))]
        return SineBasis(ends=(float(a), float(b)), size=self.points)

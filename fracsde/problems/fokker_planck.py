r"""The Fokker-Planck equation in one dimension.

.. math::
    \partial_t p = \partial_x (p\, V') - \partial_x (F p) + \partial_x (D\, \partial_x p)
                   + s - r\, p , \qquad x \in (a, b),

with potential :math:`V` [x^2/t], extra drift :math:`F` [x/t], diffusion :math:`D > 0` [x^2/t],
source :math:`s(t, x)` [1/(x t)] and reaction :math:`r(x) \ge 0` [1/t].  Without source, reaction
and absorbing walls mass is kept, and for constant :math:`D` and :math:`F = 0` the stationary
density is proportional to :math:`\exp(-V/D)`.

The line and half-line are served where the potential confines: all that happens there happens
in a finite box, found by :func:`fracsde.problems.confinement.confining_box`.

Not here: the fractional clock (:mod:`fracsde.problems.fractional`), the cells
(:mod:`fracsde.operators.finite_volume`), coefficients that depend on time, more dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import finite_array, real
from fracsde.errors import (
    GridError,
    InputError,
    NotFiniteError,
    OutOfRangeError,
    UnsupportedError,
)
from fracsde.problems.confinement import confining_box
from fracsde.problems.densities import Gaussian, PointMass, cell_masses
from fracsde.problems.sampling import sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["FokkerPlanck", "Gaussian", "PointMass"]

_PROBES = 257  # interior points at which callables are tried on construction


@dataclass(frozen=True, kw_only=True, eq=False)
class FokkerPlanck:
    """A density that drifts and spreads on an interval, a half-line or the line.

    Parameters
    ----------
    potential : callable, optional
        ``V(x)`` [x^2/t] for an array ``x``; returns an array of its shape.
    force : callable, optional
        ``F(x)`` [x/t], drift beyond ``-V'``.
    diffusion : float or callable [x^2/t]
        ``D > 0``, a number or ``D(x)``.
    domain : (float, float) [x]
        Ends ``a < b``; ``-inf`` and ``inf`` are allowed where the drift confines.
    initial : Gaussian, PointMass, callable or (n,) array_like [1/x]
        Initial density; callables and cell values are normalised to mass one.  An array holds
        one value per equal cell of a finite domain.
    boundary : {"reflecting", "absorbing", "periodic"} or (str, str)
        Walls, one for both sides or ``(left, right)``.  An infinite end is ``"reflecting"``.
    source : callable, optional
        ``s(t, x)`` [1/(x t)].
    reaction : callable, optional
        ``r(x) >= 0`` [1/t], the rate at which mass disappears.
    time_dependent : bool
        Only ``False`` is served.

    Raises
    ------
    InputError
        If an argument cannot mean what was asked: a domain that is empty, a boundary that does
        not exist, a potential that jumps across a periodic seam.
    OutOfRangeError
        If the diffusion is not positive or the reaction is negative.
    DensityError
        If the initial density is negative or cannot be normalised.
    NotConfiningError
        If the domain is unbounded and the drift does not confine.
    NotFiniteError, ShapeError
        If a callable returns something other than one finite number per point.
    UnsupportedError
        For more than one dimension and for coefficients that depend on time.

    References
    ----------
    [Gardiner2009]_

    Examples
    --------
    >>> problem = FokkerPlanck(potential=lambda x: x**2 / 2, diffusion=1.0,
    ...     domain=(-np.inf, np.inf), initial=Gaussian(mean=1.5, std=0.5))
    >>> [round(end, 1) for end in problem.box]
    [-8.9, 9.0]
    """

    citation: ClassVar[tuple[str, ...]] = ("Gardiner2009",)

    potential: Callable[[FloatArray], FloatArray] | None = None
    force: Callable[[FloatArray], FloatArray] | None = None
    diffusion: float | Callable[[FloatArray], FloatArray]
    domain: tuple[float, float]
    initial: Gaussian | PointMass | Callable[[FloatArray], FloatArray] | ArrayLike
    boundary: str | tuple[str, str] = "reflecting"
    source: Callable[[float, FloatArray], FloatArray] | None = None
    reaction: Callable[[FloatArray], FloatArray] | None = None
    time_dependent: bool = False
    box: tuple[float, float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.time_dependent:
            msg = (
                "`time_dependent` coefficients are not served, got True; potential, force and "
                "diffusion must depend on x alone, a source may depend on t"
            )
            raise UnsupportedError(msg)
        for name in ("potential", "force", "source", "reaction"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                msg = f"`{name}` must be a function or None, got {getattr(self, name)!r}"
                raise InputError(msg)
        object.__setattr__(self, "domain", _interval(self.domain))
        object.__setattr__(self, "boundary", _walls(self.boundary, self.domain))
        if not callable(self.diffusion):
            remedy = "diffusion spreads; without it the equation is another"
            number = real("diffusion", self.diffusion, low=0.0, remedy=remedy)
            object.__setattr__(self, "diffusion", number)
        if not isinstance(self.initial, (Gaussian, PointMass)) and not callable(self.initial):
            object.__setattr__(self, "initial", finite_array("initial", self.initial, ndim=1))
        object.__setattr__(self, "box", confining_box(self))
        self._try_callables()

    def _try_callables(self) -> None:
        # Probes lie inside: a potential may be singular at a reflecting wall.
        edges = np.linspace(*self.box, _PROBES + 1)
        x = 0.5 * (edges[1:] + edges[:-1])
        self.potential_at(x)
        self.force_at(x)
        self.diffusion_at(x)
        self.reaction_at(x)
        self.source_at(0.0, x)
        if callable(self.initial) or not isinstance(self.initial, np.ndarray):
            cell_masses(self.initial, edges)
        else:
            cell_masses(self.initial, np.linspace(*self.box, len(self.initial) + 1))
        if self.potential is not None and self.periodic:
            ends = sample("potential", self.potential, np.array(self.box))
            swing = np.ptp(self.potential_at(x))
            if abs(ends[1] - ends[0]) > 1e-8 * (swing + np.abs(ends).max()):
                msg = (
                    f"`potential` must be periodic on {self.domain}: it is {ends[0]:g} and "
                    f"{ends[1]:g} at the ends; put a constant tilt into `force`"
                )
                raise InputError(msg)

    @property
    def periodic(self) -> bool:
        """Whether the ends are glued together."""
        return self.boundary[0] == "periodic"

    @property
    def conserves_mass(self) -> bool:
        """Whether nothing enters or leaves."""
        return "absorbing" not in self.boundary and self.source is None and self.reaction is None

    def potential_at(self, x: FloatArray) -> FloatArray:
        """Return ``V`` at points, zero where there is none.

        Returns
        -------
        ndarray [x^2/t]
        """
        return (
            np.zeros_like(x) if self.potential is None else sample("potential", self.potential, x)
        )

    def force_at(self, x: FloatArray) -> FloatArray:
        """Return ``F`` at points, zero where there is none.

        Returns
        -------
        ndarray [x/t]
        """
        return np.zeros_like(x) if self.force is None else sample("force", self.force, x)

    def diffusion_at(self, x: FloatArray) -> FloatArray:
        """Return ``D`` at points.

        Returns
        -------
        ndarray [x^2/t]
            Positive.

        Raises
        ------
        OutOfRangeError
            If it is not positive somewhere.
        """
        if not callable(self.diffusion):
            return np.full_like(x, self.diffusion)
        values = sample("diffusion", self.diffusion, x)
        if np.any(values <= 0):
            k = int(np.argmin(values))
            msg = f"`diffusion` must be positive, got {values[k]:g} at x = {x[k]:g}; add a floor"
            raise OutOfRangeError(msg)
        return values

    def reaction_at(self, x: FloatArray) -> FloatArray:
        """Return ``r`` at points, zero where there is none.

        Returns
        -------
        ndarray [1/t]
            Not negative.

        Raises
        ------
        OutOfRangeError
            If it is negative somewhere.
        """
        values = np.zeros_like(x) if self.reaction is None else sample("reaction", self.reaction, x)
        if np.any(values < 0):
            k = int(np.argmin(values))
            msg = (
                f"`reaction` removes mass and must not be negative, got {values[k]:g} at "
                f"x = {x[k]:g}; mass enters through `source`"
            )
            raise OutOfRangeError(msg)
        return values

    def source_at(self, t: float, x: FloatArray) -> FloatArray:
        """Return ``s(t, .)`` at points, zero where there is none.

        Returns
        -------
        ndarray [1/(x t)]
        """
        if self.source is None:
            return np.zeros_like(x)
        source = self.source
        return sample("source", lambda y: source(t, y), x)


def _interval(domain: Any) -> tuple[float, float]:
    try:
        ends = np.array(domain, dtype=np.float64)
    except (TypeError, ValueError):
        ends = np.array([])
    if ends.ndim == 2 and ends.shape[1] == 2 and len(ends) > 1:
        msg = (
            f"`domain` has {len(ends)} dimensions; one is served: pass (a, b).  Independent "
            "coordinates separate into one problem each"
        )
        raise UnsupportedError(msg)
    ends = ends.reshape(-1)
    if len(ends) != 2:
        msg = f"`domain` must be an interval (a, b), got {domain!r}"
        raise InputError(msg)
    if np.any(np.isnan(ends)):
        msg = f"`domain` must not hold NaN, got {domain!r}; use -inf and inf for the line"
        raise NotFiniteError(msg)
    if not ends[0] < ends[1] or ends[0] == np.inf or ends[1] == -np.inf:
        msg = f"`domain` must be an interval (a, b) with a < b, got ({ends[0]:g}, {ends[1]:g})"
        raise GridError(msg)
    return float(ends[0]), float(ends[1])


def _walls(boundary: Any, domain: tuple[float, float]) -> tuple[str, str]:
    walls = tuple(boundary) if isinstance(boundary, (tuple, list)) else (boundary, boundary)
    known = ("reflecting", "absorbing", "periodic")
    if (
        len(walls) != 2
        or any(wall not in known for wall in walls)
        or (walls[0] != walls[1] and "periodic" in walls)
    ):
        msg = (
            '`boundary` must be "reflecting", "absorbing" or "periodic", or a pair of the first '
            f"two, got {boundary!r}"
        )
        raise InputError(msg)
    for wall, end in zip(walls, domain, strict=True):
        if np.isinf(end) and wall != "reflecting":
            msg = (
                f"`boundary` is {wall!r} at x = {end:g}, where there is no wall; use "
                '"reflecting", which means no flux there, or a finite domain'
            )
            raise InputError(msg)
    return str(walls[0]), str(walls[1])

r"""The Fokker-Planck equation in one, two and three dimensions.

.. math::
    \partial_t p = \nabla\cdot(p\, \nabla V) - \nabla\cdot(F p)
                   + \nabla\cdot(D\, \nabla p) + s - r\, p ,

with potential :math:`V` [x^2/t], extra drift :math:`F` [x/t], which need not be a gradient,
diffusion :math:`D > 0` [x^2/t], source :math:`s(t, x)` [1/(x^d t)] and reaction
:math:`r(x) \ge 0` [1/t].  The diffusion is a number, one per coordinate, or in the plane a
constant symmetric matrix.  Without source, reaction and absorbing walls mass is kept, and for
constant scalar :math:`D` and :math:`F = 0` the stationary density is proportional to
:math:`\exp(-V/D)`.

Domains without ends are served where the potential confines: all that happens there happens in a
finite box (:mod:`fracsde.problems.confinement`, :mod:`fracsde.problems.confinement_boxes`).

With ``time_dependent=True`` force and diffusion are functions of ``(t, x)``.  At a fixed time
such a problem is an ordinary one, :meth:`FokkerPlanck.frozen_at`.

Not here: the fractional clock (:mod:`fracsde.problems.fractional`), the cells
(:mod:`fracsde.operators.finite_volume`).
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import real
from fracsde.errors import InputError, OutOfRangeError, UnsupportedError
from fracsde.problems.coefficients import (
    at_time,
    constant_diffusion,
    diffusion_fields,
    require_line,
    start_in,
    zeros,
)
from fracsde.problems.confinement import confining_box
from fracsde.problems.confinement_boxes import confining_boxes
from fracsde.problems.densities import Gaussian, PointMass, cell_masses, tensor_masses
from fracsde.problems.geometry import intervals, open_mesh, walls
from fracsde.problems.sampling import place, sample, sample_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.problems.geometry import Interval, Walls

__all__ = ["FokkerPlanck", "Gaussian", "PointMass", "require_line"]

_PROBES = {1: 257, 2: 33, 3: 15}  # interior points per axis at which callables are tried


@dataclass(frozen=True, kw_only=True, eq=False)
class FokkerPlanck:
    """A density that drifts and spreads on a line, in the plane or in space.

    Functions take one array per coordinate, ``V(x)``, ``V(x, y)`` or ``V(x, y, z)``; arrays
    broadcast against each other.

    Parameters
    ----------
    potential : callable, optional
        ``V(*x)`` [x^2/t].
    force : callable, optional
        ``F(*x)`` [x/t], drift beyond the potential's; on a line an array, else ``d`` arrays.
    diffusion : float, (d,) or (2, 2) array_like, or callable [x^2/t]
        ``D > 0``: a number, one per coordinate, or in the plane a positive definite matrix; or
        ``D(*x)``, an array for a scalar field, a tuple of ``d`` arrays for a diagonal one.
    domain : (float, float) or d such pairs [x]
        Ends ``a < b``; ``-inf`` and ``inf`` are allowed where the potential confines, on a line
        also where the force does.
    initial : Gaussian, PointMass, callable or array_like [1/x^d]
        Initial density; callables and cell values are normalised to mass one.  An array holds
        one value per equal cell of a finite domain and has ``d`` axes.
    boundary : {"reflecting", "absorbing", "periodic"} or pairs of str
        Walls: one for all sides; ``(left, right)`` on a line; else ``((left, right), ...)`` with a
        pair per axis.  An infinite end is ``"reflecting"``.
    source : callable, optional
        ``s(t, *x)`` [1/(x^d t)].
    reaction : callable, optional
        ``r(*x) >= 0`` [1/t], the rate at which mass disappears.
    time_dependent : bool
        Whether ``force`` and ``diffusion`` are called with the time first, ``F(t, *x)`` and
        ``D(t, *x)``.  The domain must then be finite: a box that holds the density of one time
        need not hold that of another.

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
        For more than three dimensions, and for unbounded domains on which no box is safe.

    References
    ----------
    [Gardiner2009]_

    Examples
    --------
    >>> problem = FokkerPlanck(potential=lambda x: x**2 / 2, diffusion=1.0,
    ...     domain=(-np.inf, np.inf), initial=Gaussian(mean=1.5, std=0.5))
    >>> [round(end, 1) for end in problem.box]
    [-8.9, 9.0]

    In the plane, stirred:

    >>> problem = FokkerPlanck(potential=lambda x, y: (x**2 + x * y + y**2) / 2,
    ...     force=lambda x, y: (-y, x), diffusion=1.0, domain=((-6, 6), (-6, 6)),
    ...     initial=Gaussian(mean=(1.0, 0.0), std=0.5))
    >>> problem.dimension
    2
    """

    citation: ClassVar[tuple[str, ...]] = ("Gardiner2009",)

    potential: Callable[..., Any] | None = None
    force: Callable[..., Any] | None = None
    diffusion: Any
    domain: Any
    initial: Gaussian | PointMass | Callable[..., Any] | ArrayLike
    boundary: Any = "reflecting"
    source: Callable[..., Any] | None = None
    reaction: Callable[..., Any] | None = None
    time_dependent: bool = False
    box: Any = field(init=False, repr=False)
    time: float | None = field(init=False, repr=False, default=None)
    """The time at which coefficients were frozen, if they were."""
    intervals: tuple[Interval, ...] = field(init=False, repr=False)
    """``domain`` as one interval per axis, in every dimension."""
    boxes: tuple[Interval, ...] = field(init=False, repr=False)
    """``box`` as one interval per axis, in every dimension."""
    walls: tuple[Walls, ...] = field(init=False, repr=False)
    """``boundary`` as one pair per axis, in every dimension."""

    def __post_init__(self) -> None:
        put: Any = object.__setattr__
        for name in ("potential", "force", "source", "reaction"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                msg = f"`{name}` must be a function or None, got {getattr(self, name)!r}"
                raise InputError(msg)
        flag: Any = self.time_dependent
        if not isinstance(flag, (bool, np.bool_)):
            msg = f"`time_dependent` must be True or False, got {self.time_dependent!r}"
            raise InputError(msg)
        put(self, "intervals", intervals(self.domain))
        put(self, "walls", walls(self.boundary, self.intervals))
        line = self.dimension == 1
        put(self, "domain", self.intervals[0] if line else self.intervals)
        put(self, "boundary", self.walls[0] if line else self.walls)
        if not callable(self.diffusion):
            put(self, "diffusion", constant_diffusion(self.diffusion, self.dimension))
        put(self, "initial", start_in(self.initial, self.dimension))
        if self.time_dependent and not np.all(np.isfinite(self.intervals)):
            msg = (
                f"`domain` must be finite for time-dependent coefficients, got {self.domain}: a "
                "box that holds the density of one time need not hold that of another; choose "
                "ends where the density stays negligible"
            )
            raise UnsupportedError(msg)
        put(self, "boxes", (confining_box(self),) if line else confining_boxes(self))
        put(self, "box", self.boxes[0] if line else self.boxes)
        self._try_callables()

    def _try_callables(self) -> None:
        # Probes lie inside: a potential may be singular at a reflecting wall.
        edges = tuple(np.linspace(a, b, _PROBES[self.dimension] + 1) for a, b in self.boxes)
        x = open_mesh(tuple(0.5 * (e[1:] + e[:-1]) for e in edges))
        self.potential_at(*x)
        now = self.frozen_at(0.0) if self.time_dependent else self
        now.force_at(*x)
        if now.tensor is None or np.ndim(now.diffusion) < 2:
            now.diffusion_at(*x)
        self.reaction_at(*x)
        self.source_at(0.0, *x)
        start = self.initial
        if isinstance(start, np.ndarray):
            edges = tuple(
                np.linspace(a, b, n + 1) for (a, b), n in zip(self.boxes, start.shape, strict=True)
            )
        if self.dimension == 1:
            cell_masses(start, edges[0])
        else:
            tensor_masses(start, edges)
        self._try_seams(x)

    def _try_seams(self, x: tuple[FloatArray, ...]) -> None:
        # A potential must be the same on both sides of a periodic seam.
        if self.potential is None:
            return
        for axis, pair in enumerate(self.walls):
            if pair[0] != "periodic":
                continue
            ends = open_mesh((np.array(self.boxes[axis]),) * self.dimension)[axis]
            both = self.potential_at(*x[:axis], ends, *x[axis + 1 :])
            left, right = np.moveaxis(both, axis, 0)
            swing = np.ptp(self.potential_at(*x))
            jump = np.abs(right - left)
            if jump.max() > 1e-8 * (swing + np.abs(both).max()):
                k = int(np.argmax(jump))
                msg = (
                    f"`potential` must be periodic on {self.intervals[axis]}: it is "
                    f"{left.flat[k]:g} and {right.flat[k]:g} at the ends"
                    f"{'' if self.dimension == 1 else f' of axis {axis}'}; put a constant tilt "
                    "into `force`"
                )
                raise InputError(msg)

    # --- what it is ---------------------------------------------------------------------------

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.intervals)

    @property
    def periodic(self) -> bool:
        """Whether some ends are glued together."""
        return any(pair[0] == "periodic" for pair in self.walls)

    @property
    def conserves_mass(self) -> bool:
        """Whether nothing enters or leaves."""
        open_sides = any("absorbing" in pair for pair in self.walls)
        return not open_sides and self.source is None and self.reaction is None

    @property
    def tensor(self) -> FloatArray | None:
        """A constant diffusion as a ``(d, d)`` matrix, ``None`` where it is a function [x^2/t]."""
        if callable(self.diffusion):
            return None
        if np.ndim(self.diffusion) == 2:
            return np.array(self.diffusion)
        return np.diag(np.broadcast_to(self.diffusion, (self.dimension,)))

    def frozen_at(self, t: float) -> FokkerPlanck:
        """Return the problem whose coefficients are those of one time, for ever.

        Nothing is tried again: what the functions return then is checked where it is used, and
        messages name the time.

        Parameters
        ----------
        t : float [t]
            The time.

        Returns
        -------
        FokkerPlanck
            Of the same box; the problem itself where its coefficients do not depend on time.

        Examples
        --------
        >>> shaken = FokkerPlanck(force=lambda t, x: np.cos(t) - x, diffusion=1.0,
        ...     domain=(-8, 8), initial=Gaussian(), time_dependent=True)
        >>> shaken.frozen_at(0.0).force_at(np.array([0.0, 1.0]))
        array([1., 0.])
        """
        if not self.time_dependent:
            return self
        t = real("t", t)
        frozen = copy(self)
        put: Any = object.__setattr__
        for name in ("force", "diffusion"):
            function = getattr(self, name)
            if callable(function):
                put(frozen, name, at_time(function, t))
        put(frozen, "time_dependent", False)
        put(frozen, "time", t)
        return frozen

    # --- values -------------------------------------------------------------------------------

    def potential_at(self, *x: FloatArray) -> FloatArray:
        """Return ``V`` at points, zero where there is none.

        Parameters
        ----------
        *x : ndarray of float64 [x]
            One array per coordinate, which broadcast against each other.

        Returns
        -------
        ndarray [x^2/t]
        """
        return zeros(x) if self.potential is None else sample("potential", self.potential, *x)

    def force_at(self, *x: FloatArray) -> Any:
        """Return ``F`` at points, zero where there is none.

        Parameters
        ----------
        *x : ndarray of float64 [x]
            One array per coordinate.

        Returns
        -------
        ndarray [x/t], or a tuple of one per coordinate
            An array on a line.
        """
        self._refuse_moving("force")
        if self.dimension == 1:
            if self.force is None:
                return zeros(x)
            return sample("force", self.force, *x, when=self.time)
        if self.force is None:
            return tuple(zeros(x) for _ in x)
        return sample_fields("force", self.force, *x, when=self.time)

    def diffusion_at(self, *x: FloatArray) -> Any:
        """Return ``D`` at points.

        Parameters
        ----------
        *x : ndarray of float64 [x]
            One array per coordinate.

        Returns
        -------
        ndarray [x^2/t], or a tuple of one per coordinate
            Positive, else refused; an array on a line.
        """
        self._refuse_moving("diffusion")
        return diffusion_fields(self.diffusion, x, when=self.time)

    def _refuse_moving(self, name: str) -> None:
        if self.time_dependent:
            msg = (
                f"`{name}` depends on time: ask for it at one time, "
                f"problem.frozen_at(t).{name}_at(...)"
            )
            raise UnsupportedError(msg)

    def reaction_at(self, *x: FloatArray) -> FloatArray:
        """Return ``r`` at points, zero where there is none.

        Parameters
        ----------
        *x : ndarray of float64 [x]
            One array per coordinate.

        Returns
        -------
        ndarray [1/t]
            Not negative.

        Raises
        ------
        OutOfRangeError
            If it is negative somewhere.
        """
        values = zeros(x) if self.reaction is None else sample("reaction", self.reaction, *x)
        if np.any(values < 0):
            k = int(np.argmin(values))
            msg = (
                f"`reaction` removes mass and must not be negative, got {values.flat[k]:g} at "
                f"{place(k, *x)}; mass enters through `source`"
            )
            raise OutOfRangeError(msg)
        return values

    def source_at(self, t: float, *x: FloatArray) -> FloatArray:
        """Return ``s(t, .)`` at points, zero where there is none.

        Parameters
        ----------
        t : float [t]
            The time.
        *x : ndarray of float64 [x]
            One array per coordinate.

        Returns
        -------
        ndarray [1/(x^d t)]
        """
        if self.source is None:
            return zeros(x)
        source = self.source
        return sample("source", lambda *y: source(t, *y), *x, when=t)

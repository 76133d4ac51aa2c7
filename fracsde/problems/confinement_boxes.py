r"""The finite box of an unbounded problem in two and three dimensions.

For a potential :math:`V` and constant diffusion with largest entry (eigenvalue) :math:`D`, the
weight is :math:`w = e^{-\Phi}` with :math:`\Phi = (V - \min V)/D`.  As on a line
(:mod:`fracsde.problems.confinement`) a density stays below :math:`10^{-16}` of its largest value
outside

.. math::
    S = \Bigl\{\Phi \le \ln 10^{16} + \max_{p_0 \ge 10^{-16} \max p_0}
               \Bigl(\ln \frac{p_0}{\max p_0} + \Phi\Bigr)\Bigr\}
        \cup \{p_0 \ge 10^{-16} \max p_0\} .

For a scalar :math:`D` that is a theorem, since :math:`w` is stationary; with unequal entries it
holds for quadratic potentials, whose covariance is at most that of :math:`D I`, and is a good
guide for others.  A box is grown round the lowest point and the start until nothing of ``S`` is
seen on its faces, then shrunk to what is seen inside; and rays far beyond must stay outside.

Not here: extra forces and diffusion that depends on the place, for which :math:`w` is not
stationary and no box is known to be safe: they need a finite domain.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fracsde.errors import (
    DensityError,
    GridError,
    InputError,
    NotConfiningError,
    UnsupportedError,
)
from fracsde.problems.densities import Gaussian, PointMass, refuse_negative
from fracsde.problems.geometry import open_mesh
from fracsde.problems.sampling import sample

if TYPE_CHECKING:
    from fracsde._typing import BoolArray, FloatArray
    from fracsde.problems.fokker_planck import FokkerPlanck
    from fracsde.problems.geometry import Interval

__all__ = ["confining_boxes"]

_DEPTH = 16 * np.log(10.0)
_OFFSETS = np.concatenate([[0.0], np.geomspace(1e-7, 1e7, 407)])  # along rays, in ratio 1.084
_FAR = 1e6  # how far out a potential may begin to confine
_LATTICE = {2: 97, 3: 37}  # points per axis of a look at a box
_GROWTH, _ROOM = 1.3, 1.02  # of a side on whose face something is seen; once it is near
_ZOOMS = 3  # into the lowest point of a face
_LOOKS = 120


def confining_boxes(problem: FokkerPlanck) -> tuple[Interval, ...]:
    """Return finite intervals that hold all of the density at all times.

    Parameters
    ----------
    problem : FokkerPlanck
        In two or three dimensions; its domain may have infinite ends.

    Returns
    -------
    tuple of (float, float) [x]
        The domain itself where it is finite.

    Raises
    ------
    InputError
        If cell values are given on an unbounded domain.
    UnsupportedError
        If there is an extra force, or a diffusion that is a function.
    NotConfiningError
        If the weight does not fall off in some direction.
    DensityError
        If the initial density does not fall off.
    GridError
        If the density lives on a scale too short to be seen.
    """
    domain = problem.intervals
    if np.all(np.isfinite(domain)):
        return domain
    if isinstance(problem.initial, np.ndarray):
        msg = (
            f"`initial` holds cell values, but the domain {domain} has no cells yet; pass a "
            "function or a finite domain"
        )
        raise InputError(msg)
    if problem.force is not None or callable(problem.diffusion):
        name = "force" if problem.force is not None else "diffusion"
        msg = (
            f"`domain` is unbounded and `{name}` is a function: in {problem.dimension} dimensions "
            "its stationary density is not known, and with it no box that is safe; use a finite "
            "domain"
        )
        raise UnsupportedError(msg)
    return _Search(problem).box()


class _Search:
    # A box that grows and shrinks round the set S of the module's docstring.

    def __init__(self, problem: FokkerPlanck) -> None:
        self.problem, self.d = problem, problem.dimension
        self.low, self.high = np.array(problem.intervals).T
        tensor = problem.tensor
        assert tensor is not None  # functions were refused
        self.spread = float(np.max(np.linalg.eigvalsh(tensor)))
        known = isinstance(problem.initial, (Gaussian, PointMass))
        self.lowest, self.climb = np.inf, 0.0
        # Logarithm of the largest density seen: of products it is known.
        self.peak = 0.0 if known else float(np.finfo(np.float64).min)
        finite = np.where(np.isfinite(self.low), self.low, self.high)
        origin = np.where(np.isfinite(finite), finite, 0.0)
        self.start = _location(problem.initial, origin)
        self.well = self.start
        for _ in range(4):
            self._descend()
        # A point falls between those that are looked at.
        if isinstance(problem.initial, PointMass):
            height = float(self.phi(*self.start[:, None])[0])
            self.climb = height - self.lowest if np.isfinite(height) else 0.0

    # --- values -------------------------------------------------------------------------------

    def phi(self, *x: FloatArray) -> FloatArray:
        """``V / D`` at points; infinite where it is not finite, far out."""
        shape = np.broadcast_shapes(*(c.shape for c in x))
        with np.errstate(all="ignore"):
            if self.problem.potential is None:
                return np.zeros(shape)
            raw = np.asarray(self.problem.potential(*(c.copy() for c in x)))
        if raw.dtype.kind not in "biuf" or raw.ndim != len(shape):
            sample("potential", self.problem.potential, *x)  # raises, with the reason
        raw = np.broadcast_to(np.asarray(raw, dtype=np.float64), shape)
        return np.where(np.isfinite(raw), raw / self.spread, np.inf)

    def log_start(self, *x: FloatArray) -> FloatArray:
        start = self.problem.initial
        if isinstance(start, PointMass):
            here = [c == a for c, a in zip(x, self.start, strict=True)]
            inside = np.logical_and.reduce(np.broadcast_arrays(*here))
            return np.where(inside, 0.0, -np.inf)
        if isinstance(start, Gaussian):
            return np.asarray(
                sum(
                    -0.5 * ((c - f.mean) / f.std) ** 2
                    for c, f in zip(x, start.factors(self.d), strict=True)
                )
            )
        values = sample("initial", start, *x)  # type: ignore[arg-type]  # arrays were refused
        refuse_negative(values, *x)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(values))

    def seen(self, *x: FloatArray) -> BoolArray:
        """Whether points belong to S; what is found lower or higher is remembered."""
        phi, start = self.phi(*x), self.log_start(*x)
        self.lowest = min(self.lowest, float(phi.min()))
        self.peak = max(self.peak, float(start.max()))
        starts = start - self.peak >= -_DEPTH
        above = np.where(starts & np.isfinite(phi), start - self.peak + phi - self.lowest, 0.0)
        self.climb = max(self.climb, float(above.max()))
        return np.asarray(starts | (phi - self.lowest < _DEPTH + self.climb))

    # --- search -------------------------------------------------------------------------------

    def _rays(self, centre: FloatArray) -> FloatArray:
        # Points along axes and diagonals, (d, rays, offsets), those outside pulled to the walls.
        ways = np.array([w for w in product((-1.0, 0.0, 1.0), repeat=self.d) if any(w)]).T
        points = centre[:, None, None] + ways[:, :, None] * _OFFSETS
        inside = 1e-9 * (1.0 + np.abs(centre))
        low = np.where(np.isfinite(self.low), self.low + inside, -np.inf)
        high = np.where(np.isfinite(self.high), self.high - inside, np.inf)
        return np.asarray(np.clip(points, low[:, None, None], high[:, None, None]))

    def _descend(self) -> None:
        points = self._rays(self.well)
        phi = self.phi(*points)
        if not np.any(np.isfinite(phi)):
            msg = (
                "`potential` must be finite where the density lives, got none that is along the "
                f"axes through {tuple(self.well.tolist())}; use a finite domain"
            )
            raise NotConfiningError(msg)
        best = int(np.argmin(phi))
        self.well = points.reshape(self.d, -1)[:, best]
        self.lowest = float(phi.flat[best])

    def box(self) -> tuple[Interval, ...]:
        centres = np.stack([self.start, self.well])
        width = (
            np.array([f.std for f in self.problem.initial.factors(self.d)])
            if isinstance(self.problem.initial, Gaussian)
            else np.full(self.d, 1e-6)
        )
        lower = np.maximum(self.low, centres.min(axis=0) - 9.0 * width)
        upper = np.minimum(self.high, centres.max(axis=0) + 9.0 * width)
        lower, upper = self._grown(lower, upper, _GROWTH)
        for _ in range(_LOOKS):
            a, b = self._shrunk(lower, upper)
            shrank = np.any(b - a < 0.8 * (upper - lower))
            lower, upper = a, b
            if not shrank:
                break
        lower, upper = self._grown(lower, upper, _ROOM)
        self._look_beyond(lower, upper)
        lower = np.where(np.isfinite(self.low), self.low, lower)
        upper = np.where(np.isfinite(self.high), self.high, upper)
        return tuple((float(a), float(b)) for a, b in zip(lower, upper, strict=True))

    def _axes(self, lower: FloatArray, upper: FloatArray) -> list[FloatArray]:
        # Midpoints and, where there is no wall, faces; a wall may be singular.
        m = _LATTICE[self.d]
        found = []
        for a, b, left, right in zip(lower, upper, self.low, self.high, strict=True):
            inset = 0.5 / m * (b - a)
            found.append(np.linspace(a + inset * (a == left), b - inset * (b == right), m))
        return found

    def _grown(
        self, lower: FloatArray, upper: FloatArray, growth: float
    ) -> tuple[FloatArray, FloatArray]:
        for _ in range(_LOOKS):
            axes = self._axes(lower, upper)
            self.seen(*open_mesh(tuple(axes)))
            before, grew = np.stack([lower, upper]), False
            for axis in range(self.d):
                reach = max(float(upper[axis] - lower[axis]), 1e-9)
                for ends, wall, index, sign in (
                    (lower, self.low, 0, -1.0),
                    (upper, self.high, -1, 1.0),
                ):
                    if before[index, axis] != wall[axis] and self._on_face(axes, axis, index):
                        ends[axis] += sign * (growth - 1.0) * reach
                        grew = True
                lower[axis] = max(lower[axis], self.low[axis])
                upper[axis] = min(upper[axis], self.high[axis])
            if not grew:
                break
            if np.max(np.abs(upper - lower)) > _FAR * (1.0 + np.abs(self.well).max()):
                self._refuse(lower, upper)
        else:
            self._refuse(lower, upper)
        return lower, upper

    def _on_face(self, axes: list[FloatArray], axis: int, index: int) -> bool:
        # Whether a face sees something of S, also between its lattice points: a long well that
        # lies askew to the axes ends in a narrow tip.
        face = list(axes)
        face[axis] = axes[axis][[index]]
        for _ in range(_ZOOMS):
            mesh = open_mesh(tuple(face))
            if np.any(self.seen(*mesh)):
                return True
            phi = self.phi(*mesh)
            lowest = np.unravel_index(int(np.argmin(phi)), phi.shape)
            for k, at in enumerate(lowest):
                if k != axis:
                    around = face[k][[max(int(at) - 1, 0), min(int(at) + 1, len(face[k]) - 1)]]
                    face[k] = np.linspace(around[0], around[1], _LATTICE[self.d])
        return False

    def _shrunk(self, lower: FloatArray, upper: FloatArray) -> tuple[FloatArray, FloatArray]:
        axes = self._axes(lower, upper)
        seen = self.seen(*open_mesh(tuple(axes)))
        ends = []
        for axis, points in enumerate(axes):
            others = tuple(k for k in range(self.d) if k != axis)
            inside = np.flatnonzero(seen.any(axis=others))
            if not len(inside):
                msg = (
                    "`domain` is unbounded and the density lives on a scale far below "
                    f"{points[1] - points[0]:.1g}, the shortest distance looked at; measure x in "
                    "a smaller unit, or use a finite domain"
                )
                raise GridError(msg)
            step = points[1] - points[0]
            ends.append((points[inside[0]] - step, points[inside[-1]] + step))
        a, b = np.array(ends).T
        return np.maximum(a, lower), np.minimum(b, upper)

    def _look_beyond(self, lower: FloatArray, upper: FloatArray) -> None:
        # Rays outside the box, far out: a potential may come down again.
        points = self._rays(0.5 * (lower + upper))
        far = np.abs(points) <= _FAR * (1.0 + np.abs(self.well)[:, None, None])
        outside = (points < lower[:, None, None]) | (points > upper[:, None, None])
        where = np.any(outside, axis=0) & np.all(far, axis=0)
        lies = points[:, where]
        with np.errstate(divide="ignore"):
            spread = self.d * np.log(
                np.maximum(np.abs(lies - self.well[:, None]).max(axis=0) / np.max(upper - lower), 1)
            )
        low = self.phi(*lies) - self.lowest - spread < _DEPTH
        if np.any(low | (self.log_start(*lies) - self.peak >= -_DEPTH)):
            self._refuse(lower, upper)

    def _refuse(self, lower: FloatArray, upper: FloatArray) -> NoReturn:
        axes = tuple(self._axes(lower, upper))
        if np.any(np.take(self.log_start(*open_mesh(axes)), 0, axis=0) - self.peak >= -_DEPTH):
            msg = (
                "`initial` does not fall off: it cannot be normalised; pass a density with a "
                "finite integral"
            )
            raise DensityError(msg)
        size = float(np.max(np.abs(np.stack([lower, upper]))))
        msg = (
            f"`potential` does not confine: out to {size:.3g} the stationary weight exp(-V/D) does "
            "not fall to a negligible share of its mass in some direction; use a finite domain "
            "with walls, or a potential that grows faster than a logarithm"
        )
        raise NotConfiningError(msg)


def _location(initial: Any, fallback: FloatArray) -> FloatArray:
    if isinstance(initial, Gaussian):
        return np.array([f.mean for f in initial.factors(len(fallback))])
    if isinstance(initial, PointMass):
        return np.array([f.at for f in initial.factors(len(fallback))])
    return np.array(fallback, dtype=np.float64)

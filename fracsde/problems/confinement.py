r"""The finite box in which everything on an unbounded domain happens.

With :math:`\Phi(x) = \int (V' - F)/D\,dx` and lowest value 0, the stationary weight is
:math:`w = e^{-\Phi}`.  A density that starts below :math:`C w` stays below it, so beyond

.. math::
    \Phi(x) > \ln 10^{16} + \max_{p_0 \ge 10^{-16} \max p_0}
              \Bigl(\ln \frac{p_0}{\max p_0} + \Phi\Bigr)

it stays below :math:`10^{-16}` of its largest value at all times, on an ordinary and on a
fractional clock alike.  The maximum is taken on each side of the well by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import DensityError, GridError, InputError, NotConfiningError
from fracsde.problems.densities import Gaussian, PointMass, refuse_negative
from fracsde.problems.sampling import sample

if TYPE_CHECKING:
    from fracsde._typing import BoolArray, FloatArray
    from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["confining_box"]

_DEPTH = 16 * np.log(10.0)
# Offsets from a centre, in ratio 1.02: fine enough for an edge, wide enough for any unit.
_OFFSETS = np.geomspace(1e-7, 1e7, 1630)
_FAR = 1e6  # how far out a potential may begin to confine


def confining_box(problem: FokkerPlanck) -> tuple[float, float]:
    """Return finite ends that hold all of the density at all times.

    Parameters
    ----------
    problem : FokkerPlanck
        Its domain may have infinite ends.

    Returns
    -------
    (float, float) [x]
        The domain itself where it is finite.

    Raises
    ------
    InputError
        If cell values are given on an unbounded domain.
    NotConfiningError
        If the stationary weight does not fall off at an infinite end.
    DensityError
        If the initial density does not fall off there.
    GridError
        If the density lives on a scale too short to be seen.
    """
    a, b = problem.domain
    if np.isfinite(a) and np.isfinite(b):
        return a, b
    if isinstance(problem.initial, np.ndarray):
        msg = (
            f"`initial` holds cell values, but the domain ({a:g}, {b:g}) has no cells yet; pass a "
            "function or a finite domain"
        )
        raise InputError(msg)
    x, phi = _scan(problem)
    well = int(np.argmin(phi))
    phi = phi - phi[well]
    log_start = _log_initial(problem, x)
    starts = log_start >= -_DEPTH
    span = float(np.ptp(x[starts | (phi < _DEPTH)]))
    # The weight times the distance bounds the mass beyond, so heavy tails are caught too.
    spread = np.log1p(np.abs(x - x[well]) / _width(x, phi))
    ends = [a, b]
    for side, sign in ((0, -1.0), (1, 1.0)):
        if np.isfinite(ends[side]):
            continue
        here = sign * (x - x[well]) >= 0
        climb = float(np.max((log_start + phi)[here & starts], initial=0.0))
        inside = here & (starts | (phi - spread < _DEPTH + climb))
        outermost = int(np.flatnonzero(inside)[-1 if side else 0])
        edge = outermost + (1 if side else -1)
        if not 0 <= edge < len(x) or abs(x[edge]) > _FAR * (1 + abs(x[well])):
            _refuse(problem, x, starts, side)
        if abs(x[edge] - x[outermost]) > abs(x[outermost] - x[well]) + span:
            _refuse_unresolved(abs(float(x[edge] - x[well])))
        ends[side] = float(x[edge])
    return ends[0], ends[1]


def _scan(problem: FokkerPlanck) -> tuple[FloatArray, FloatArray]:
    # Points are added round the lowest point found, until a narrow well far out is resolved.
    a, b = problem.domain
    start = problem.initial
    centres = [end for end in (a, b) if np.isfinite(end)] or [0.0]
    centres.append(_location(start, centres[0]))
    for _ in range(4):
        x = _points(problem, centres)
        phi = _log_weight(problem, x)
        centres.append(float(x[np.argmin(phi)]))
    return x, phi


def _location(initial: object, fallback: float) -> float:
    if isinstance(initial, Gaussian):
        return float(initial.mean)
    return float(initial.at) if isinstance(initial, PointMass) else fallback


def _points(problem: FokkerPlanck, centres: list[float]) -> FloatArray:
    a, b = problem.domain
    around = [c + sign * _OFFSETS for c in set(centres) for sign in (-1.0, 1.0)]
    if isinstance(problem.initial, Gaussian):
        start = problem.initial
        around.append(start.mean + start.std * np.linspace(-9.0, 9.0, 361))
    x = np.unique(np.concatenate([*around, np.array(centres)]))
    # A finite end may be singular: stay inside.
    return np.asarray(x[(x > a) & (x < b)])


def _log_weight(problem: FokkerPlanck, x: FloatArray) -> FloatArray:
    # Far out a potential may overflow: it counts as a wall if it had risen high before.
    with np.errstate(all="ignore"):
        raw = np.zeros_like(x)
        if problem.potential is not None:
            raw = np.asarray(problem.potential(x.copy()))
    if raw.shape != x.shape or raw.dtype.kind not in "biuf":
        sample("potential", problem.potential, x)  # type: ignore[arg-type]  # raises, with the reason
    raw = np.asarray(raw, dtype=np.float64)
    middle = 0.5 * (x[1:] + x[:-1])
    diffusion, force = problem.diffusion_at(middle), problem.force_at(middle)
    with np.errstate(all="ignore"):
        rise = (np.diff(raw) - force * np.diff(x)) / diffusion
        origin = int(np.argmin(np.where(np.isfinite(raw), np.abs(x), np.inf)))
        phi = np.zeros_like(x)
        phi[origin + 1 :] = np.cumsum(rise[origin:])
        phi[:origin] = -np.cumsum(rise[:origin][::-1])[::-1]
        if problem.force is None and not callable(problem.diffusion):
            phi = (raw - raw[origin]) / problem.diffusion
    return _walled(x, phi, origin)


def _walled(x: FloatArray, phi: FloatArray, origin: int) -> FloatArray:
    # Beyond the first non-finite value on a side the weight is zero, if it was negligible before.
    phi = phi.copy()
    for step in (-1, 1):
        side = phi[origin::step]
        bad = np.flatnonzero(~np.isfinite(side))
        if bad.size:
            first = int(bad[0])
            if first == 0 or side[first - 1] < side[:first].min() + 10 * _DEPTH:
                k = origin + step * first
                msg = (
                    f"`potential` must be finite where the density lives, got {phi[k]} at "
                    f"x = {x[k]:g}; bound it or use a finite domain"
                )
                raise NotConfiningError(msg)
            side[first:] = np.inf  # a view: writes into phi
    return phi


def _width(x: FloatArray, phi: FloatArray) -> float:
    # Mass of the weight over its height: the width of the well.
    weight = np.exp(-phi)
    return float(np.sum(0.5 * (weight[1:] + weight[:-1]) * np.diff(x)))


def _log_initial(problem: FokkerPlanck, x: FloatArray) -> FloatArray:
    # Logarithm of the initial density over its largest value.
    start = problem.initial
    if isinstance(start, PointMass):
        return np.where(x == start.at, 0.0, -np.inf)
    if isinstance(start, Gaussian):
        return np.asarray(-0.5 * ((x - start.mean) / start.std) ** 2)
    values = sample("initial", start, x)  # type: ignore[arg-type]  # arrays were refused
    refuse_negative(values, x)
    with np.errstate(divide="ignore"):
        logs = np.log(values)
    if not np.isfinite(logs.max()):
        msg = "`initial` cannot be normalised: it is zero everywhere it was tried; move it nearer 0"
        raise DensityError(msg)
    return np.asarray(logs - logs.max())


def _refuse_unresolved(reach: float) -> None:
    # The next point tried beyond the density is further off than the density is wide.
    msg = (
        f"`domain` is unbounded and the density lives on a scale far below {reach:.1g}, the "
        "shortest distance looked at; measure x in a smaller unit, or use a finite domain"
    )
    raise GridError(msg)


def _refuse(problem: FokkerPlanck, x: FloatArray, starts: BoolArray, side: int) -> None:
    end, far = ("inf", x[-1]) if side else ("-inf", x[0])
    if np.any(starts[np.abs(x) > 0.1 * abs(far)]):
        msg = (
            f"`initial` does not fall off towards {end}: it cannot be normalised; pass a density "
            "with a finite integral"
        )
        raise DensityError(msg)
    name = "force" if problem.potential is None and problem.force is not None else "potential"
    msg = (
        f"`{name}` does not confine towards {end}: out to x = {far:.3g} the stationary weight "
        "exp(-V/D) does not fall to a negligible share of its mass; use a finite domain with "
        "walls, or a potential that grows faster than a logarithm"
    )
    raise NotConfiningError(msg)

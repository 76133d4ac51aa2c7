"""Problems with a target: what is left of the domain, with absorbing walls where it ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import GridError, InputError, UnsupportedError
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.physics._chains import discretised, sparse_matrix
from fracsde.problems.densities import PointMass
from fracsde.problems.sampling import sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import BoolArray, FloatArray
    from fracsde.operators.base import Space
    from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["Piece", "pieces_of"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """Cells from which a target is reached.

    Parameters
    ----------
    problem : FokkerPlanck
        What goes on there.
    generator : Generator
        Its cells; those of the target are among them only where ``free`` is not all true.
    free : (n,) bool
        Cells that are not of the target.
    loss : (n,) float64 [1/t]
        Rates at which free cells lose mass to the target and to sinks.
    turn : float [x]
        Length of a ring that was cut open, else 0.
    """

    problem: FokkerPlanck
    generator: Any
    free: BoolArray
    loss: FloatArray
    turn: float = 0.0

    def masses(self, base: FokkerPlanck) -> FloatArray:
        """Return the mass that the start of the whole problem puts into free cells.

        Parameters
        ----------
        base : FokkerPlanck
            The whole problem.

        Returns
        -------
        (n,) ndarray [1]

        Raises
        ------
        UnsupportedError
            If the start is an array of other cells.
        """
        initial: Any = base.initial
        if self.problem is base:
            return np.where(self.free, self.generator.project(initial), 0.0)
        if isinstance(initial, np.ndarray):
            msg = (
                "`initial` is given by cell values, which do not fit the cells beside a target; "
                "pass a function"
            )
            raise UnsupportedError(msg)
        (a, b) = self.problem.box
        if isinstance(initial, PointMass):
            at = initial.at
            at = a + (at - a) % self.turn if self.turn else at
            if not a <= at <= b:
                return np.zeros(len(self.generator.widths))
            return np.asarray(self.generator.project(PointMass(at=at)))
        x, h = _fine(base.box)
        whole = sample("initial", initial, x) @ h
        low = base.box[0]
        points = self.generator.points
        points = low + (points - low) % self.turn if self.turn else points
        return np.asarray(sample("initial", initial, points) * self.generator.widths / whole)


def _fine(box: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    edges = np.linspace(*box, 8193)
    return 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)


def pieces_of(base: FokkerPlanck, target: Any, space: Space | None) -> list[Piece]:
    """Return the pieces of a domain that a target leaves.

    Parameters
    ----------
    base : FokkerPlanck
        The problem; its source does not count.
    target : None, "left", "right", (float, float) or callable
        What is reached: the sinks there are, an end, an interval, or where a function is true.
    space : FiniteVolume or None
        Cells of each piece.

    Returns
    -------
    list of Piece

    Raises
    ------
    InputError
        If there is nothing to reach, or the target is not one.
    UnsupportedError
        If the target is an interval and the problem not one-dimensional.
    """
    base = replace(base, source=None) if base.source is not None else base
    if target is None:
        if base.conserves_mass:
            what = (
                'an interval (a, b), "left" or "right"'
                if base.dimension == 1
                else f"a function of {base.dimension} coordinates, true inside"
            )
            msg = (
                f"`target` is needed: nothing disappears from this problem; pass {what}, or make a "
                "wall absorbing"
            )
            raise InputError(msg)
        return [_whole(base, space)]
    if callable(target):
        return [_marked(base, target, space)]
    if base.dimension > 1:
        msg = (
            f"`target` must be a function of {base.dimension} coordinates, true inside, got "
            f"{target!r}"
        )
        raise UnsupportedError(msg)
    if isinstance(space, FiniteVolume) and space.grid is not None:
        msg = "`space` has a grid of its own, which does not end at the target; pass cells=..."
        raise UnsupportedError(msg)
    if isinstance(target, str):
        return [_whole(_ended(base, target), space)]
    a, b = _interval(target, base)
    return _beside(base, a, b, space)


def _whole(problem: FokkerPlanck, space: Space | None) -> Piece:
    generator = discretised(problem, space)
    loss = -np.asarray(sparse_matrix(generator).sum(axis=0)).ravel()
    known = getattr(generator, "loss", None)
    if known is not None:
        loss = np.asarray(known, dtype=np.float64).ravel()
    return Piece(problem=problem, generator=generator, free=np.full(len(loss), True), loss=loss)


def _marked(base: FokkerPlanck, target: Callable[..., Any], space: Space | None) -> Piece:
    generator = discretised(base, space)
    points = generator.points
    coordinates = [points] if points.ndim == 1 else list(points.T)
    free = ~np.asarray(target(*coordinates), dtype=bool)
    if free.shape != (len(points),) or np.all(free) or not np.any(free):
        msg = (
            f"`target` must be true in some cells and false in others, it is true in "
            f"{int(np.sum(~free))} of {len(points)}; use smaller cells or a larger target"
        )
        raise InputError(msg)
    L = sparse_matrix(generator)
    into = np.asarray(L[~free].sum(axis=0)).ravel()
    own = np.asarray(getattr(generator, "loss", np.zeros(len(points)))).ravel()
    return Piece(problem=base, generator=generator, free=free, loss=np.where(free, into + own, 0.0))


def _ended(base: FokkerPlanck, target: str) -> FokkerPlanck:
    if target not in {"left", "right"} or base.periodic:
        msg = (
            '`target` must be "left" or "right" of a row, an interval or a function, got '
            f"{target!r}"
        )
        raise InputError(msg)
    side = int(target == "right")
    if not np.isfinite(base.domain[side]):
        msg = f"`target` is the {target} end, which is infinitely far away; pass an interval"
        raise InputError(msg)
    walls = list(base.boundary)
    walls[side] = "absorbing"
    return replace(base, domain=base.box, boundary=tuple(walls))


def _interval(target: Any, base: FokkerPlanck) -> tuple[float, float]:
    try:
        a, b = (float(end) for end in target)
    except (TypeError, ValueError):
        msg = (
            '`target` must be an interval (a, b), "left", "right" or a function that is true '
            f"inside, got {target!r}"
        )
        raise InputError(msg) from None
    low, high = base.box
    if not (a <= b and b >= low and a <= high):
        msg = (
            f"`target` ({a:g}, {b:g}) must be an interval that meets the domain ({low:g}, {high:g})"
        )
        raise GridError(msg)
    return a, b


def _beside(base: FokkerPlanck, a: float, b: float, space: Space | None) -> list[Piece]:
    low, high = base.box
    even: Any = {"initial": np.ones_like}
    if base.periodic:
        turn = high - low
        if b - a >= turn:
            msg = f"`target` ({a:g}, {b:g}) covers the ring of length {turn:g}"
            raise GridError(msg)
        names = ("potential", "force", "diffusion", "reaction")
        wound: Any = {name: _wound(getattr(base, name), low, turn) for name in names}
        problem = replace(base, domain=(b, a + turn), boundary="absorbing", **wound, **even)
        return [replace(_whole(problem, space), turn=turn)]
    found = []
    if a > low:
        walls = (base.boundary[0], "absorbing")
        problem = replace(base, domain=(low, a), boundary=walls, **even)
        found.append(_whole(problem, space))
    if b < high:
        walls = ("absorbing", base.boundary[1])
        problem = replace(base, domain=(b, high), boundary=walls, **even)
        found.append(_whole(problem, space))
    if not found:
        msg = f"`target` ({a:g}, {b:g}) covers the domain ({low:g}, {high:g})"
        raise GridError(msg)
    return found


def _wound(function: Any, low: float, turn: float) -> Any:
    if not callable(function):
        return function
    return lambda x: function(low + (x - low) % turn)

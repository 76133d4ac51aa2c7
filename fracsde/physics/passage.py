r"""How long it takes to reach a target, on average and in higher moments.

.. math::
    L^\dagger T_1 = -1, \qquad L^\dagger T_k = -k\, T_{k-1}, \qquad T_k = 0 \text{ on the target},

with the backward operator :math:`L^\dagger u = -V' u' + F u' + (D u')' - r u` (for constant ``D``
the generator of the paths).  Sinks, absorbing walls and reaction, count as reached.

On a line the target's ends are walls between cells, the error is of second order, and elimination
adds positive numbers only: a mean of 1e30 is as accurate as one of 1.  In the plane and in space a
target is a set of cells, and the error of first order.

On a fractional clock with ``alpha < 1`` every mean is infinite: survival falls like
:math:`t^{-\alpha}`, see :func:`fracsde.physics.survival.survival_tail`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.sparse.linalg import splu

from fracsde._check import finite_array, integer
from fracsde.errors import OutOfRangeError, UnsupportedError
from fracsde.operators.chain import CellChain
from fracsde.physics._chains import parts, sparse_matrix
from fracsde.physics._targets import Piece, pieces_of

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.operators.base import Space
    from fracsde.problems.fokker_planck import FokkerPlanck
    from fracsde.problems.fractional import FractionalFokkerPlanck

__all__ = ["PassageTimes", "mean_first_passage_time", "passage_times"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PassageTimes:
    """Moments of the time to a target, by starting point.

    Parameters
    ----------
    points : (n,) or (n, d) float64 [x]
        Starting points outside the target, by piece.
    moments : (k, n) float64 [t^k]
        Mean, mean square, ...
    problem : FokkerPlanck
        The problem.
    pieces : tuple of Piece
        Cells that the target leaves.
    """

    citation: ClassVar[tuple[str, ...]] = ("Gardiner2009",)

    points: FloatArray
    moments: FloatArray
    problem: FokkerPlanck
    pieces: tuple[Piece, ...]

    @property
    def mean(self) -> FloatArray:
        """Mean times from ``points``, ``(n,)`` [t]."""
        return np.asarray(self.moments[0])

    @property
    def std(self) -> FloatArray:
        """Standard deviations, ``(n,)`` [t]; needs two moments."""
        if len(self.moments) < 2:
            msg = "`std` needs two moments; mean_first_passage_time(..., moments=2)"
            raise OutOfRangeError(msg)
        return np.asarray(np.sqrt(np.maximum(self.moments[1] - self.moments[0] ** 2, 0.0)))

    def at(self, x: ArrayLike, *, moment: int = 1) -> FloatArray:
        """Return a moment from other points of a line, zero in the target.

        Parameters
        ----------
        x : array_like [x]
            Starting points, in the box that holds the density.
        moment : int
            Which.

        Returns
        -------
        ndarray [t^moment]

        Raises
        ------
        UnsupportedError
            In more than one dimension.
        OutOfRangeError
            If a point lies outside the box, or the moment was not asked for.
        """
        moment = integer("moment", moment, low=1, high=len(self.moments))
        if self.problem.dimension > 1:
            msg = "`at` is for a line; read `points` and `moments`"
            raise UnsupportedError(msg)
        where = finite_array("x", x)
        a, b = self.problem.box
        outside = np.maximum(a - where, where - b)
        if np.any(outside > 0.0):
            worst = where.flat[int(np.argmax(outside))]
            msg = (
                f"`x` must lie among the cells, in [{a:g}, {b:g}], got {worst:g}; a finite domain "
                "may be as wide as you like"
            )
            raise OutOfRangeError(msg)
        values, first = np.zeros(where.shape), 0
        for piece in self.pieces:
            count = int(piece.free.sum())
            piece_values = self.moments[moment - 1, first : first + count]
            first += count
            low, high = piece.problem.box
            local = low + (where - low) % piece.turn if piece.turn else where
            inside = (local >= low) & (local <= high)
            nodes, known = piece.generator.points, np.zeros(len(piece.free))
            known[piece.free] = piece_values
            left, right = (wall == "absorbing" for wall in piece.problem.boundary)
            nodes = np.concatenate([[low] * left, nodes, [high] * right])
            known = np.concatenate([[0.0] * left, known, [0.0] * right])
            values = np.where(inside, np.interp(local, nodes, known), values)
        return values

    def average(self, *, moment: int = 1) -> float:
        """Return a moment for the start of the problem.

        Parameters
        ----------
        moment : int
            Which.

        Returns
        -------
        float [t^moment]
        """
        moment = integer("moment", moment, low=1, high=len(self.moments))
        masses = np.concatenate([piece.masses(self.problem)[piece.free] for piece in self.pieces])
        return float(masses @ self.moments[moment - 1])


def mean_first_passage_time(
    problem: FokkerPlanck | FractionalFokkerPlanck,
    target: Any = None,
    *,
    moments: int = 1,
    space: Space | None = None,
) -> PassageTimes:
    """Return how long it takes to reach a target, from every point outside it.

    Parameters
    ----------
    problem : FokkerPlanck or FractionalFokkerPlanck
        A source does not count.
    target : (float, float), "left", "right" or callable, optional
        An interval, of length zero for a point; an end of the domain; or a function of all
        coordinates that is true inside.  By default the absorbing walls and the reaction there are.
    moments : int
        How many.
    space : FiniteVolume, optional
        By default 512 cells on a line (beside each end of the target), 64 per axis in the plane, 20
        in space.

    Returns
    -------
    PassageTimes

    Raises
    ------
    UnsupportedError
        On a fractional clock with ``alpha < 1``, where every mean is infinite; for a target out of
        reach in double precision.
    InputError
        If there is nothing to reach.

    References
    ----------
    [Gardiner2009]_

    Examples
    --------
    Free diffusion from the middle of (0, 1) leaves it after 1/8 on average:

    >>> from fracsde import FokkerPlanck, PointMass
    >>> free = FokkerPlanck(diffusion=1.0, domain=(0.0, 1.0), boundary="absorbing",
    ...     initial=PointMass(at=0.5))
    >>> round(float(mean_first_passage_time(free).at(0.5)), 5)
    0.125
    """
    base, alpha, _ = parts(problem)
    if alpha < 1.0:
        msg = (
            f"the mean first-passage time is infinite on a fractional clock of order {alpha:g}: "
            "survival falls only like t**-alpha; survival_tail(problem, target) gives the power "
            "law with its prefactor, mean_first_passage_time(problem.base, target) the mean on the "
            "ordinary clock"
        )
        raise UnsupportedError(msg)
    return passage_times(base, target, moments=moments, space=space)


def passage_times(
    base: FokkerPlanck, target: Any, *, moments: int, space: Space | None
) -> PassageTimes:
    """Return the moments on the ordinary clock.

    Parameters
    ----------
    base : FokkerPlanck
        The problem.
    target, moments, space
        As in :func:`mean_first_passage_time`.

    Returns
    -------
    PassageTimes
    """
    count = integer("moments", moments, low=1)
    pieces = pieces_of(base, target, space)
    found = []
    for piece in pieces:
        solve = _row_solver(piece) or _sparse_solver(piece)
        values = [solve(np.ones(int(piece.free.sum())))]
        for k in range(2, count + 1):
            values.append(k * solve(values[-1]))
        found.append(np.array(values))
    return PassageTimes(
        points=np.concatenate([piece.generator.points[piece.free] for piece in pieces]),
        moments=np.concatenate(found, axis=1),
        problem=base,
        pieces=tuple(pieces),
    )


def _row_solver(piece: Piece) -> Any:
    # Elimination with the rate of going for good in place of the pivot, as in the chain.
    chain = piece.generator
    if not isinstance(chain, CellChain) or chain.periodic or not np.all(piece.free):
        return None
    right, left, loss = chain.right.tolist(), chain.left.tolist(), chain.loss.tolist()
    n = len(right)
    pivots, lost = [0.0] * n, [0.0] * n
    for i in range(n):
        lost[i] = loss[i] + (left[i] * lost[i - 1] / pivots[i - 1] if i else 0.0)
        pivots[i] = right[i] + lost[i]
        if not pivots[i] > 0.0:
            msg = (
                f"the target cannot be reached from x = {chain.points[i]:g}: the jump rate "
                "underflows there; use more cells, or a lower barrier"
            )
            raise UnsupportedError(msg)

    def solve(rhs: FloatArray) -> FloatArray:
        g = rhs.tolist()
        for i in range(1, n):
            g[i] += left[i] * g[i - 1] / pivots[i - 1]
        T = [0.0] * n
        T[-1] = g[-1] / pivots[-1]
        for i in range(n - 2, -1, -1):
            T[i] = (g[i] + right[i] * T[i + 1]) / pivots[i]
        return np.array(T)

    return solve


def _sparse_solver(piece: Piece) -> Any:
    L = sparse_matrix(piece.generator)
    free = np.flatnonzero(piece.free)
    factors = splu((-L[free][:, free].T).tocsc())
    return factors.solve

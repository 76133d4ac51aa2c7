r"""Orthonormal spaces closed under products with a symmetric matrix, and equations seen in them.

A :class:`Space` starts from any columns and takes its vectors one by one: the product
:math:`A v_j` is made orthogonal to all vectors there are and, if anything is left, appended.  So
after ``j`` products

.. math:: A V_j = V_n T_{n j}, \qquad n \ge j .

From one column this is Lanczos' process, from several its band form; from solutions of shifted
systems it is a rational Krylov space.  Each product is made orthogonal to its neighbours first,
which in exact arithmetic is all there is to do, and then to all vectors, so that the columns are
orthonormal to rounding.

The equation :math:`\mathcal{L}\,\Sigma = b b^T` of :mod:`fracsde.lyapunov.response` is solved for
the leading ``s`` vectors, :math:`Y = \mathcal{L}_{T_{ss}}^{-1}\,b_s b_s^T`, and
:math:`\hat\Sigma = V_s Y V_s^T`.  Its residual lies in the span of :math:`V_n` as long as the
products that it needs have been made, so an ``n`` by ``n`` matrix has the residual's norms.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde.lyapunov.rounding import EPS

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.lyapunov.response import Response
    from fracsde.problems.products import Symmetric

__all__ = ["FLAT", "Seen", "Space"]

# A curvature below this share of the largest cannot be told from 0.
FLAT = 1e-12
# Rows that are turned at once.
_ROWS = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """The solution of an equation in a space.

    Parameters
    ----------
    core : (s, s) float64
        ``Y``.
    ritz : (s,) float64
        Eigenvalues of ``T_ss``, ascending.
    residual : (n,) float64
        Eigenvalues of the residual.
    rounding : float
        What rounding of the products adds to the residual's spectral norm.
    rounding_trace : float
        What it adds to its trace norm.
    flat : float
        Share of ``b`` in directions whose curvature cannot be told from 0.
    """

    core: FloatArray
    ritz: FloatArray
    residual: FloatArray
    rounding: float
    rounding_trace: float
    flat: float

    @property
    def norm(self) -> float:
        """Spectral norm of the residual."""
        return float(np.abs(self.residual).max(initial=0.0)) + self.rounding

    @property
    def trace(self) -> float:
        """Larger one of the traces of the residual's positive and negative parts."""
        positive = float(self.residual[self.residual > 0.0].sum())
        negative = -float(self.residual[self.residual < 0.0].sum())
        return max(positive, negative) + self.rounding_trace

    @property
    def settled(self) -> bool:
        """Whether the residual is rounding, so that a larger space would gain nothing."""
        return float(np.abs(self.residual).max(initial=0.0)) <= self.rounding


class Space:
    """A growing space; scratch memory of one solve, not a value.

    Parameters
    ----------
    A : LowRankPlusDiagonal or Products
        Symmetric.
    start : (d, p) float64
        Columns to begin with.
    capacity : int
        Vectors to hold, at most.
    rhs : int
        How many of the columns, from the first, make up ``b``.
    """

    def __init__(self, A: Symmetric, start: FloatArray, *, capacity: int, rhs: int) -> None:
        self.A = A
        # Memory is taken page by page as vectors arrive.
        self.vectors = np.empty((capacity, A.dimension))
        self.products = self.count = 0
        self._coefficients = np.zeros((capacity, capacity))
        self._reach: list[int] = []  # vectors there were after each product
        self._scale = 0.0
        self.rhs = np.zeros((capacity, rhs))
        for column in range(start.shape[1]):
            coefficients = self._append(np.array(start[:, column]), 0)
            if column < rhs:
                self.rhs[:, column] = coefficients

    def add(self, vector: FloatArray) -> None:
        """Take one more vector before any product is made.

        Parameters
        ----------
        vector : (d,) float64
            Overwritten.
        """
        assert self.products == 0
        self._append(vector, 0)

    @property
    def closed(self) -> bool:
        """Whether products lead out of the space no more."""
        return self.products == self.count

    @property
    def full(self) -> bool:
        """Whether there may be no room for another vector."""
        return self.count == len(self.vectors)

    def grow(self) -> None:
        """Make the product with the next vector."""
        assert not self.full  # what is cut off would be missing from the residual
        product = self.A @ self.vectors[self.products]
        self._scale = max(self._scale, float(np.linalg.norm(product)))
        # By symmetry the product meets those vectors only whose own products reached this one.
        near = min(bisect_right(self._reach, self.products), self.products)
        self._coefficients[:, self.products] = self._append(product, near)
        self.products += 1
        self._reach.append(self.count)

    def leading(self, response: Response) -> int:
        """Return the vectors whose equation has a residual inside the space.

        Parameters
        ----------
        response : Response
            Coefficients of the equation.

        Returns
        -------
        int
        """
        if not response.square or self.closed:
            return self.products
        # A^2 V_s needs the products with all that A V_s reaches.
        return sum(reach <= self.products for reach in self._reach)

    def see(self, response: Response) -> Seen:
        """Solve the equation for the leading vectors.

        Parameters
        ----------
        response : Response
            Coefficients of the equation.

        Returns
        -------
        Seen
        """
        n, j, s = self.count, self.products, self.leading(response)
        T = np.zeros((n, n))
        T[:, :j] = self._coefficients[:n, :j]
        T[:j, :j] = 0.5 * (T[:j, :j] + T[:j, :j].T)
        T[:j, j:] = T[j:, :j].T
        b = self.rhs[:n]
        ritz, modes = np.linalg.eigh(T[:s, :s])
        turned = modes.T @ b[:s]
        pairs = response.pairs(ritz)
        # Directions without any curvature are counted in `flat`; they must not divide by 0.
        pairs[pairs == 0.0] = response.linear * FLAT * EPS * (self._scale or 1.0)
        core = modes @ ((turned @ turned.T) / pairs) @ modes.T
        core = 0.5 * (core + core.T)
        Y = np.zeros((n, n))
        Y[:s, :s] = core
        gap = response.apply(T, Y) - b @ b.T
        bend = response.bend + 4.0 * response.square
        whole = float(np.linalg.norm(b)) ** 2
        # Products are those of a matrix that is off by their rounding.
        off = 2.0 * self.A.precision * self._scale * (2.0 * response.linear + bend * self._scale)
        values = np.linalg.eigvalsh(core)
        return Seen(
            core=core,
            ritz=ritz,
            residual=np.asarray(np.linalg.eigvalsh(0.5 * (gap + gap.T))),
            rounding=off * float(np.abs(values).max(initial=0.0)) + 4.0 * EPS * whole,
            rounding_trace=off * float(np.abs(values).sum()) + 4.0 * EPS * whole,
            flat=float(np.square(turned[ritz <= FLAT * self._scale]).sum()) / whole,
        )

    def combined(self, weights: FloatArray) -> FloatArray:
        """Return combinations of the leading vectors.

        Parameters
        ----------
        weights : (s, k) float64
            One combination per column.

        Returns
        -------
        (d, k) float64
        """
        return np.asarray(self.vectors[: len(weights)].T @ weights)

    def turned(self, weights: FloatArray) -> FloatArray:
        """Return the same in the memory of the vectors, which are lost.

        Parameters
        ----------
        weights : (s, k) float64
            One combination per column, ``k <= s``.

        Returns
        -------
        (d, k) float64
        """
        s, k = weights.shape
        d = self.vectors.shape[1]
        for first in range(0, d, _ROWS):
            part = slice(first, first + _ROWS)
            self.vectors[:k, part] = weights.T @ self.vectors[:s, part]
        vectors, self.vectors = self.vectors, np.empty((0, d))
        self.count = 0
        vectors.resize((k, d), refcheck=False)
        return vectors.T

    def _append(self, vector: FloatArray, near: int) -> FloatArray:
        # Twice is enough; what is then left of a dependent vector is rounding.
        coefficients = np.zeros(len(self.vectors))
        size = float(np.linalg.norm(vector))
        for first in (near, 0):
            have = self.vectors[first : self.count]
            part = have @ vector
            vector -= part @ have
            coefficients[first : self.count] += part
        left = float(np.linalg.norm(vector))
        if left > 32.0 * EPS * max(size, self._scale) and not self.full:
            coefficients[self.count] = left
            np.divide(vector, left, out=self.vectors[self.count])
            self.count += 1
        return coefficients

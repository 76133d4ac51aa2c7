r"""Tables of one interval: where it is collocated, and what its errors do.

On an interval of length ``h`` the right-hand side :math:`g` is known at nodes :math:`c_i h` and
replaced by a combination of basis functions,

.. math::
    y(t + c_i h) = y_0 + H_i + h^\alpha \sum_j B_{ij}\, g_j , \qquad
    \psi \leftarrow e^{-s h} \psi + h \sum_j \beta_j(s h)\, g_j .

The value of :math:`g` at the start of the interval is known but not used.  If it differs by ``d``
from that of the combination, :math:`g` has a part :math:`d\, \omega(v)/\omega(0)` that the
combination has not, where :math:`\omega` is the next basis function less its interpolant; states
err by :math:`h^\alpha \kappa_i d` and the memory by its moment.  These belong to the same tables:
:math:`\omega / \omega(0)` is the basis function of one more node, at 0.

Two kinds: polynomials at Radau nodes; and on the first interval the ``m`` lowest powers
:math:`t^{j_1 \alpha_1 + j_2 \alpha_2 + \dots + k}`, of which the solution of a smooth system
consists there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gamma, hyp1f1

from fracsde.schemes.collocation_tables import (
    exponential_moments,
    fractional_integrals,
    lagrange,
    radau_nodes,
)

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = [
    "Basis",
    "Polynomials",
    "StartingPowers",
    "interval_table",
    "polynomials",
    "starting_powers",
    "unresolved",
]

_APART = 0.08  # exponents nearer to each other are one: the other is interpolated well
_MOST_POWERS = 6  # beyond them the powers are too alike for double precision


@dataclass(frozen=True, kw_only=True, eq=False)
class Basis(ABC):
    """Basis functions of the unit interval.

    Parameters
    ----------
    nodes : (m,) float64 [1]
        Where the right-hand side is collocated; the last is 1.
    between : (m,) float64 [1]
        A point before each node and after the one before it.
    """

    nodes: FloatArray
    between: FloatArray

    @abstractmethod
    def integrals(self, alpha: float, where: FloatArray) -> FloatArray:
        """Return fractional integrals to some points.

        Returns
        -------
        (p, m + 1) ndarray of float64
            Of the basis functions of the nodes, and last of the error's.
        """

    @abstractmethod
    def moments(self, decay: FloatArray) -> FloatArray:
        """Return moments with exponentials that decay from the end of the interval.

        Returns
        -------
        (k, m + 1) ndarray of float64
            Of the basis functions of the nodes, and last of the error's.
        """

    @abstractmethod
    def at_start(self) -> FloatArray:
        """Return the basis functions at the start of the interval, ``(m,)``.

        Returns
        -------
        (m,) ndarray of float64
        """

    @abstractmethod
    def rate(self, alpha: float) -> float:
        """Return the power of the length that the error of a state falls with.

        Returns
        -------
        float
        """


def _with_error(table: FloatArray, at_start: FloatArray) -> FloatArray:
    # From functions of the nodes (0, c_1, ..., c_m), the interpolants of the nodes c alone.
    error = table[:, :1]
    return np.hstack([table[:, 1:] + error * at_start, error])


class Polynomials(Basis):
    """Polynomials at the Radau nodes."""

    def integrals(self, alpha: float, where: FloatArray) -> FloatArray:
        through = radau_nodes(len(self.nodes) + 1)
        powers = np.asarray(where**alpha)[:, None]
        return np.asarray(powers * (lagrange(through, where) @ _quotients(self, alpha)))

    def moments(self, decay: FloatArray) -> FloatArray:
        extended = np.append(0.0, self.nodes)
        return _with_error(exponential_moments(extended, decay), self.at_start())

    def at_start(self) -> FloatArray:
        c = self.nodes
        apart = c[:, None] - c[None, :]
        np.fill_diagonal(apart, 1.0)
        others = np.where(np.eye(len(c), dtype=bool), 1.0, -c[None, :])
        return np.asarray((others / apart).prod(axis=1))

    def rate(self, alpha: float) -> float:
        return len(self.nodes) + alpha


@lru_cache(maxsize=128)
def _quotients(basis: Polynomials, alpha: float) -> FloatArray:
    # Integrals to t over t**alpha are polynomials: known at enough points, they are known.
    through = radau_nodes(len(basis.nodes) + 1)
    extended = np.append(0.0, basis.nodes)
    table = fractional_integrals(extended, through, alpha=alpha)
    return _with_error(table, basis.at_start()) / through[:, None] ** alpha


@dataclass(frozen=True, kw_only=True, eq=False)
class StartingPowers(Basis):
    r"""The powers of which a solution consists near its start.

    Parameters
    ----------
    nodes, between : (m,) float64 [1]
        As for :class:`Basis`.
    exponents : (m + 1,) float64 [1]
        Increasing from 0; the last is the first that is left out.
    """

    exponents: FloatArray

    def _of_powers(self, table: FloatArray) -> FloatArray:
        # From powers to functions that are one at one node and zero at the others.
        extended = np.append(0.0, self.nodes)
        values = extended[:, None] ** self.exponents
        return _with_error(np.asarray(np.linalg.solve(values.T, table.T).T), self.at_start())

    def integrals(self, alpha: float, where: FloatArray) -> FloatArray:
        e = self.exponents
        factors = gamma(e + 1.0) / gamma(e + 1.0 + alpha)
        return self._of_powers(where[:, None] ** (e + alpha) * factors)

    def moments(self, decay: FloatArray) -> FloatArray:
        e = self.exponents
        return self._of_powers(hyp1f1(1.0, e + 2.0, -decay[:, None]) / (e + 1.0))

    def at_start(self) -> FloatArray:
        values = self.nodes[:, None] ** self.exponents[:-1]
        first = np.zeros(len(self.nodes))
        first[0] = 1.0
        return np.asarray(np.linalg.solve(values.T, first))

    def rate(self, alpha: float) -> float:
        return float(self.exponents[-1]) + alpha


@lru_cache(maxsize=32)
def polynomials(count: int) -> Polynomials:
    """Return the polynomials at some number of Radau nodes.

    Returns
    -------
    Polynomials
    """
    nodes = radau_nodes(count)
    return Polynomials(nodes=nodes, between=_halfway(nodes))


def _halfway(nodes: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (nodes + np.append(0.0, nodes[:-1])))


@lru_cache(maxsize=64)
def starting_powers(count: int, orders: tuple[float, ...]) -> StartingPowers:
    """Return the lowest powers for a system of given orders.

    Parameters
    ----------
    count : int
        How many nodes there are on later intervals.
    orders : tuple of float [1]
        The distinct orders of the derivatives.

    Returns
    -------
    StartingPowers
        On nodes that treat all powers alike: Radau nodes of the variable in which their mean
        distance is one.

    Examples
    --------
    >>> starting_powers(8, (0.6,)).exponents.round(3)
    array([0. , 0.6, 1. , 1.2, 1.6, 1.8, 2. ])
    """
    count = min(count, _MOST_POWERS)
    generators = sorted({*orders, 1.0})
    gap = _APART * min(1.0, 4.0 * generators[0])
    picked, waiting = [0.0], list(generators)
    while len(picked) < count + 1:
        exponent = heappop(waiting)
        if exponent > picked[-1] + gap:
            picked.append(exponent)
            for generator in generators:
                heappush(waiting, exponent + generator)
    exponents = np.array(picked)
    apart = exponents[-2] / (count - 1)
    nodes = radau_nodes(count)
    return StartingPowers(
        nodes=nodes ** (1.0 / apart),
        between=_halfway(nodes) ** (1.0 / apart),
        exponents=exponents,
    )


@lru_cache(maxsize=128)
def interval_table(basis: Basis, alpha: float) -> FloatArray:
    """Return the fractional integrals to the nodes, and below them to the points between.

    Returns
    -------
    (2 m, m + 1) ndarray of float64
    """
    return basis.integrals(alpha, np.concatenate([basis.nodes, basis.between]))


def unresolved(basis: Basis, slopes: FloatArray, found: list[FloatArray]) -> FloatArray:
    """Return how far a right-hand side is from its polynomial between nodes, as a kink makes it.

    Parameters
    ----------
    basis : Basis
        Of an interval but the first.
    slopes : (m + 1, n) float64 [y/t**alpha]
        The right-hand side at the start and at the nodes, through which the polynomial goes.
    found : list of (n,) float64
        The same at the points between.

    Returns
    -------
    (n,) ndarray of float64
        The mean distance, on which the states depend.
    """
    expected = lagrange(np.append(0.0, basis.nodes), basis.between) @ slopes
    return np.asarray(np.abs(np.stack(found) - expected).mean(axis=0))

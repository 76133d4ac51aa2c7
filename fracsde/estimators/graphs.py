r"""Graphs of known dimensions, and the exact law of random walks on them.

A walker at site ``i`` goes to a neighbour ``j`` with probability :math:`A_{ij}/k_i`, where
:math:`k_i = \sum_j A_{ij}`.  Its law :math:`p_t` follows without sampling error,

.. math::
    p_{t+1}(j) = \sum_i \frac{A_{ij}}{k_i}\,p_t(i), \qquad
    P(t) = p_t(i_0), \qquad \mathrm{MSD}(t) = \sum_j |x_j - x_{i_0}|^2\,p_t(j),

by one sparse product per step.

Exact dimensions: the lattice in ``d`` dimensions has :math:`d_f = d_s = d` and :math:`d_w = 2`, the
Sierpinski gasket :math:`d_f = \ln3/\ln2`, :math:`d_w = \ln5/\ln2`, :math:`d_s = 2\ln3/\ln5`.

Not here: recorded walks (:mod:`fracsde.estimators.walks`) and dimensions
(:mod:`fracsde.estimators.dimensions`).

References: [RammalToulouse1983]_.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from fracsde._check import finite_array, integer, truth
from fracsde.errors import InputError, OutOfRangeError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import FloatArray, IntArray

__all__ = [
    "ExactWalk",
    "SiteGraph",
    "exact_walk",
    "lattice_graph",
    "sierpinski_gasket",
]

_MOST_SITES = 20_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class SiteGraph:
    """Sites and the rates between them.

    Parameters
    ----------
    adjacency : (site, site) sparse matrix or array_like [1]
        Symmetric weights, not negative; every site has a neighbour.
    positions : (site, k) array_like, optional [length]
        Where the sites are, if anywhere.
    period : (k,) array_like, optional [length]
        Lengths after which positions repeat; 0 for an axis that does not.

    Raises
    ------
    ShapeError
        If shapes do not match.
    InputError
        If the adjacency is not symmetric, has a negative weight, or leaves a site alone.

    Examples
    --------
    >>> SiteGraph(adjacency=[[0, 1], [1, 0]]).sites
    2
    """

    adjacency: Any
    positions: FloatArray | None = None
    period: FloatArray | None = None

    def __post_init__(self) -> None:
        try:
            given = sparse.csr_array(self.adjacency)
        except (TypeError, ValueError):
            given = None
        if given is None or given.dtype.kind not in "fiub":
            msg = f"`adjacency` must be a matrix of real numbers, got {type(self.adjacency)}"
            raise InputError(msg)
        matrix = sparse.csr_array(given, dtype=np.float64, copy=True)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
            msg = f"`adjacency` must be a square matrix, got shape {matrix.shape}"
            raise ShapeError(msg)
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        if not np.all(np.isfinite(matrix.data)) or np.any(matrix.data < 0):
            msg = "`adjacency` must hold finite weights that are not negative"
            raise InputError(msg)
        if abs(matrix - matrix.T).max() > 0:
            msg = "`adjacency` must be symmetric; for undirected edges pass `A + A.T`"
            raise InputError(msg)
        alone = np.flatnonzero(np.diff(matrix.indptr) == 0)
        if alone.size:
            msg = f"site {alone[0]} of `adjacency` has no neighbour to walk to; leave it out"
            raise InputError(msg)
        object.__setattr__(self, "adjacency", matrix)
        if self.positions is not None:
            places = finite_array("positions", self.positions, shape=(matrix.shape[0], None))
            object.__setattr__(self, "positions", places)
        if self.period is not None:
            if self.positions is None:
                msg = "`period` is that of `positions`; give both"
                raise InputError(msg)
            size = self.positions.shape[1]
            period = finite_array("period", self.period, shape=(size,))
            if np.any(period < 0):
                msg = f"`period` must not be negative, got {period}; 0 says that nothing repeats"
                raise OutOfRangeError(msg)
            object.__setattr__(self, "period", period)

    @property
    def sites(self) -> int:
        """Number of sites."""
        return int(self.adjacency.shape[0])

    @property
    def degrees(self) -> FloatArray:
        """Sums of weights, ``(site,)`` [1]."""
        return np.asarray(self.adjacency.sum(axis=1), dtype=np.float64).reshape(-1)

    def displacements(self, moves: FloatArray) -> FloatArray:
        """Return differences of positions, the shortest where positions repeat.

        Parameters
        ----------
        moves : (..., k) ndarray of float64 [length]
            Plain differences.

        Returns
        -------
        (..., k) ndarray of float64 [length]
        """
        if self.period is None:
            return moves
        turns = np.where(self.period > 0, self.period, np.inf)
        return moves - np.where(self.period > 0, self.period, 0.0) * np.round(moves / turns)


def lattice_graph(shape: Sequence[int], *, periodic: bool = True) -> SiteGraph:
    """Return a hypercubic lattice with nearest neighbours.

    Parameters
    ----------
    shape : sequence of int
        Sites along each axis: at least 3, or 2 without periods.
    periodic : bool
        Whether opposite faces are joined.

    Returns
    -------
    SiteGraph

    Raises
    ------
    InputError
        If there are no axes or too many sites.

    Examples
    --------
    >>> lattice_graph((5, 4)).degrees.max()
    np.float64(4.0)
    """
    joined = truth("periodic", periodic)
    sizes = [integer("shape", n, low=3 if joined else 2) for n in np.atleast_1d(shape).tolist()]
    if not sizes or float(np.prod(sizes, dtype=np.float64)) > _MOST_SITES:
        msg = f"`shape` must name between 1 and {_MOST_SITES} sites, got {tuple(sizes)}"
        raise InputError(msg)
    total: Any = None
    for n in sizes:
        step = sparse.diags_array([np.ones(n - 1), np.ones(n - 1)], offsets=[-1, 1], format="lil")
        if joined:
            step[0, n - 1] = step[n - 1, 0] = 1.0
        step = step.tocsr()
        if total is None:
            total = step
        else:
            here, others = sparse.eye_array(n), sparse.eye_array(total.shape[0])
            total = sparse.kron(total, here, format="csr") + sparse.kron(others, step, format="csr")
    axes = np.meshgrid(*[np.arange(float(n)) for n in sizes], indexing="ij")
    positions = np.stack([axis.ravel() for axis in axes], axis=1)
    period = np.array(sizes, dtype=np.float64) if joined else None
    return SiteGraph(adjacency=total, positions=positions, period=period)


def sierpinski_gasket(level: int) -> SiteGraph:
    r"""Return the Sierpinski gasket: :math:`3^n` triangles of side 1 in one of side :math:`2^n`.

    Parameters
    ----------
    level : int
        ``n``, from 0 to 14.

    Returns
    -------
    SiteGraph
        With :math:`3(3^n + 1)/2` sites; site 0 is a corner.

    Examples
    --------
    >>> sierpinski_gasket(3).sites
    42
    """
    n = integer("level", level, low=0, high=14)
    # Triangles stand where Pascal's triangle is odd: at (i, j) whose binary digits exclude
    # each other.
    i, j = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    for digit in range(n):
        bit = 1 << digit
        i, j = np.concatenate([i, i + bit, i]), np.concatenate([j, j, j + bit])
    side = (1 << n) + 1
    corners = np.stack([i * side + j, (i + 1) * side + j, i * side + j + 1])
    labels, numbers = np.unique(corners, return_inverse=True)
    a, b, c = numbers.reshape(corners.shape)
    rows, columns = np.concatenate([a, b, c]), np.concatenate([b, c, a])
    size = len(labels)
    half = sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=(size, size))
    x, y = labels // side, labels % side
    positions = np.stack([x + 0.5 * y, np.sqrt(0.75) * y], axis=1)
    return SiteGraph(adjacency=half + half.T, positions=positions)


@dataclass(frozen=True, kw_only=True, eq=False)
class ExactWalk:
    """The law of a random walk from one site.

    Parameters
    ----------
    times : (time,) ndarray of int64 [step]
        From 0.
    return_probability : (time,) ndarray of float64 [1]
        Of being at the start.
    mean_square : (time,) ndarray of float64 [length^2]
        Of the displacement: by positions, or by steps of the shortest path if there are none.
    """

    times: IntArray
    return_probability: FloatArray
    mean_square: FloatArray


def exact_walk(graph: SiteGraph, steps: int, *, site: int = 0) -> ExactWalk:
    """Follow the law of a random walk, one sparse product per step.

    Parameters
    ----------
    graph : SiteGraph
        Where to walk.
    steps : int
        How long.
    site : int
        Where it starts.

    Returns
    -------
    ExactWalk
        Displacements on a periodic graph are the shortest, so they are right only for as long as
        the walk has not gone around.

    Examples
    --------
    >>> exact_walk(lattice_graph((41,)), 4).return_probability
    array([1.   , 0.   , 0.5  , 0.   , 0.375])
    """
    count = integer("steps", steps, low=1)
    first = integer("site", site, low=0, high=graph.sites - 1)
    if graph.positions is None:
        hops = csgraph.dijkstra(graph.adjacency, indices=first, unweighted=True)
        squares = np.where(np.isfinite(hops), np.square(np.where(np.isfinite(hops), hops, 0.0)), 0)
    else:
        moves = graph.displacements(graph.positions - graph.positions[first])
        squares = np.square(moves).sum(axis=1)
    forward = (graph.adjacency / graph.degrees[:, None]).T.tocsr()
    p = np.zeros(graph.sites)
    p[first] = 1.0
    back, spread = np.empty(count + 1), np.empty(count + 1)
    for t in range(count + 1):
        back[t], spread[t] = p[first], squares @ p
        p = forward @ p
    return ExactWalk(times=np.arange(count + 1), return_probability=back, mean_square=spread)

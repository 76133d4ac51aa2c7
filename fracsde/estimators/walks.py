"""Recorded random walks on graphs: sites, positions and how many sites are new.

A walker at site ``i`` goes to a neighbour ``j`` with probability :math:`A_{ij} / k_i`, where
:math:`k_i` is the sum of the weights at ``i``.

Not here: the law of the walk without sampling error, :func:`fracsde.estimators.exact_walk`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import integer
from fracsde._compiled import njit
from fracsde.errors import InputError
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from fracsde._typing import IntArray, RandomState
    from fracsde.estimators.graphs import SiteGraph

__all__ = ["random_walks", "visited_sites", "walk_positions"]


def random_walks(
    graph: SiteGraph, walkers: int, steps: int, *, rng: RandomState, site: int = 0
) -> IntArray:
    """Record random walks.

    Parameters
    ----------
    graph : SiteGraph
        Where to walk.
    walkers, steps : int
        How many, and how long.
    rng : int or Generator
        Source of randomness.
    site : int
        Where they start.

    Returns
    -------
    (walker, steps + 1) ndarray of int64
        Sites.

    Examples
    --------
    >>> from fracsde.estimators import lattice_graph
    >>> random_walks(lattice_graph((9,)), 2, 3, rng=1).shape
    (2, 4)
    """
    count = integer("walkers", walkers, low=1)
    length = integer("steps", steps, low=1)
    first = integer("site", site, low=0, high=graph.sites - 1)
    matrix = graph.adjacency
    equal = bool(np.ptp(matrix.data) == 0.0)
    totals = np.cumsum(matrix.data)
    paths = np.empty((count, length + 1), dtype=np.int64)
    paths[:, 0] = first
    generator = np.random.default_rng(rng)
    offsets, neighbours = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)
    for walker in range(count):
        _walk(paths[walker], generator.random(length), offsets, neighbours, totals, equal)
    return paths


@njit(cache=True, error_model="numpy")
def _walk(path: Any, uniform: Any, offsets: Any, neighbours: Any, totals: Any, equal: bool) -> None:
    # Follow one path: the neighbour by equal shares, or by running totals of the weights.
    here = path[0]
    for t in range(len(uniform)):
        low, high = offsets[here], offsets[here + 1]
        if equal:
            chosen = low + np.int64(uniform[t] * (high - low))
        else:
            before = totals[low - 1] if low > 0 else 0.0
            wanted = before + uniform[t] * (totals[high - 1] - before)
            chosen = low
            while chosen < high - 1 and totals[chosen] <= wanted:
                chosen += 1
        here = neighbours[chosen]
        path[t + 1] = here


def walk_positions(graph: SiteGraph, walks: IntArray) -> Trajectory:
    """Return where recorded walks were, followed around periodic axes.

    Parameters
    ----------
    graph : SiteGraph
        With positions.
    walks : (walker, draw) ndarray of int64
        Sites, from :func:`random_walks`.

    Returns
    -------
    Trajectory
        Relative to the start, one chain for each walker.

    Raises
    ------
    InputError
        If the graph has no positions.
    """
    paths = checked_walks(walks, graph.sites)
    if graph.positions is None:
        msg = "the graph has no positions; give `positions`, or use `exact_walk`, which counts hops"
        raise InputError(msg)
    places = np.zeros((*paths.shape, graph.positions.shape[1]))
    moves = graph.displacements(np.diff(graph.positions[paths], axis=1))
    np.cumsum(moves, axis=1, out=places[:, 1:])
    return Trajectory(values=places, times=np.arange(paths.shape[1], dtype=np.float64))


def checked_walks(walks: Any, sites: int | None = None) -> IntArray:
    """Return walks as a contiguous array of sites.

    Returns
    -------
    (walker, draw) ndarray of int64

    Raises
    ------
    InputError
        If they are no such array, or a site is not one of the graph's.
    """
    paths = np.asarray(walks)
    if paths.ndim != 2 or paths.dtype.kind not in "iu" or paths.shape[0] < 1 or paths.shape[1] < 2:
        msg = (
            "`walks` must be whole numbers with axes (walker, draw), got "
            f"{paths.dtype} with shape {paths.shape}"
        )
        raise InputError(msg)
    if paths.min() < 0 or (sites is not None and paths.max() >= sites):
        msg = f"`walks` must hold sites from 0, below {sites}, got {paths.min()} to {paths.max()}"
        raise InputError(msg)
    return np.ascontiguousarray(paths, dtype=np.int64)


def visited_sites(walks: IntArray) -> IntArray:
    """Count the distinct sites each walk has visited.

    Parameters
    ----------
    walks : (walker, draw) ndarray of int64
        Recorded walks.

    Returns
    -------
    (walker, draw) ndarray of int64
        Start included.

    Examples
    --------
    >>> visited_sites(np.array([[0, 1, 0, 2]]))
    array([[1, 2, 2, 3]])
    """
    paths = checked_walks(walks)
    counts = np.empty_like(paths)
    _visited(paths, np.full(int(paths.max()) + 1, -1, dtype=np.int64), counts)
    return counts


@njit(cache=True, error_model="numpy")
def _visited(paths: Any, last: Any, counts: Any) -> None:
    # `last` holds the last walker that visited a site.
    for walker in range(paths.shape[0]):
        seen = 0
        for t in range(paths.shape[1]):
            site = paths[walker, t]
            if last[site] != walker:
                last[site] = walker
                seen += 1
            counts[walker, t] = seen

r"""Walk, spectral and mass dimensions, each from its own definition and under its own name.

================  ====================================================  ========================
``d_w``           :math:`\mathrm{MSD}(t) \sim t^{2/d_w}`                :func:`walk_dimension`
``d_s_ret``       :math:`P(t) \sim t^{-d_s/2}`, return to the start     :func:`return_dimension`
``d_s_count``     :math:`N(E) \sim E^{d_s/2}`, Laplacian eigenvalues    :func:`counting_dimension`
``d_s_range``     :math:`S(t) \sim t^{d_s/2}`, distinct sites visited   :func:`range_dimension`
``d_f``           :math:`V(r) \sim r^{d_f}`, sites within a distance    :func:`mass_dimension`
``d_s_AO``        :math:`2 d_f/d_w` [AlexanderOrbach1982]_              :func:`alexander_orbach`
================  ====================================================  ========================

The four spectral dimensions agree where the medium is homogeneous and the walk diffuses; they are
kept apart because that is what a comparison tests.  A walker visits at most one new site per step,
so ``d_s_range`` cannot exceed 2.

Slopes are means, over the window, of the slope between ``t`` and ``period * t``.  Fractals
oscillate in the logarithm: with their period (5 in time on the Sierpinski gasket, 2 in distance)
oscillations cancel.  ``systematic`` is the largest difference of one such slope from their mean,
beyond twice its sampling error: what another window inside this one could have said.  ``sampling``
is the delete-one-walker jackknife, zero for exact laws; the standard error is both together.

**A test that is none.**  If a spectral dimension is *defined* from a displacement and a learning
coefficient by :math:`d_s := 2\lambda \cdot \text{slope}`, the bound :math:`d_s \le \lambda` holds
exactly when the slope is at most 1/2, whatever :math:`\lambda` is: it compares the displacement
with diffusion and says nothing about :math:`\lambda`.  Only a spectral dimension measured without
:math:`\lambda`, as here, can test such a bound.

References: [AlexanderOrbach1982]_, [RammalToulouse1983]_, [Efron1982]_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from fracsde._check import finite_array, integer
from fracsde.errors import InputError, RecordError, ShapeError
from fracsde.estimators.dimension_slopes import DimensionMeasurement, measured_dimension, packed
from fracsde.estimators.displacement import Displacement
from fracsde.estimators.graphs import ExactWalk, SiteGraph
from fracsde.estimators.walks import checked_walks, visited_sites
from fracsde.estimators.windows import checked_window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike, IntArray

__all__ = [
    "alexander_orbach",
    "counting_dimension",
    "mass_dimension",
    "range_dimension",
    "return_dimension",
    "walk_dimension",
]

_DENSE = 6000  # sites whose Laplacian is diagonalised


def walk_dimension(
    source: ExactWalk | Displacement,
    window: tuple[float, float],
    *,
    period: float = 2.0,
) -> DimensionMeasurement:
    r"""Measure the walk dimension, :math:`\mathrm{MSD}(t) \sim t^{2/d_w}`.

    Parameters
    ----------
    source : ExactWalk or Displacement
        An exact law, or displacements of recorded walks or runs summed over coordinates.
    window : (float, float) [step or time]
        First and last time that take part.
    period : float [1]
        Ratio of times over which each slope is taken.

    Returns
    -------
    DimensionMeasurement

    Raises
    ------
    ShapeError
        If displacements of coordinates were kept apart.

    References
    ----------
    [AlexanderOrbach1982]_

    Examples
    --------
    >>> from fracsde.estimators import exact_walk, lattice_graph
    >>> round(float(walk_dimension(exact_walk(lattice_graph((99,)), 60), (4, 60)).value[0]), 9)
    2.0
    """
    if isinstance(source, Displacement):
        if source.value.ndim != 1:
            msg = "a dimension is of the summed displacement; leave out `per_coordinate`"
            raise ShapeError(msg)
        times, curves = source.times, source.per_chain
    else:
        times, curves = _exact(source).times.astype(np.float64), source.mean_square[None]
    return measured_dimension("d_w", times, curves, window, period, lambda slope: 2.0 / slope)


def return_dimension(
    source: ExactWalk | IntArray, window: tuple[float, float], *, period: float = 2.0
) -> DimensionMeasurement:
    r"""Measure the spectral dimension from returns to the start, :math:`P(t) \sim t^{-d_s/2}`.

    Parameters
    ----------
    source : ExactWalk or (walker, draw) ndarray of int64
        An exact law, or recorded walks.
    window : (float, float) [step]
        First and last time that take part.
    period : float [1]
        Ratio of times over which each slope is taken.

    Returns
    -------
    DimensionMeasurement
        From :math:`\tfrac14 P(t-1) + \tfrac12 P(t) + \tfrac14 P(t+1)`, since on lattices every
        other one is zero.

    Raises
    ------
    RecordError
        If the record is too short.

    References
    ----------
    [AlexanderOrbach1982]_

    Examples
    --------
    >>> from fracsde.estimators import exact_walk, lattice_graph
    >>> found = return_dimension(exact_walk(lattice_graph((999,)), 2000), (100, 1900))
    >>> round(float(found.value[0]), 2)
    1.0
    """
    if isinstance(source, ExactWalk):
        curves = source.return_probability[None]
    else:
        walks = checked_walks(source)
        curves = (walks == walks[:, :1]).astype(np.float64)
    if curves.shape[1] < 4:
        msg = f"returns need at least 3 steps, got {curves.shape[1] - 1}; walk longer"
        raise RecordError(msg)
    smooth = 0.25 * (curves[:, :-2] + 2.0 * curves[:, 1:-1] + curves[:, 2:])
    times = np.arange(1.0, smooth.shape[1] + 1.0)
    return measured_dimension("d_s_ret", times, smooth, window, period, lambda slope: -2.0 * slope)


def range_dimension(
    walks: IntArray, window: tuple[float, float], *, period: float = 2.0
) -> DimensionMeasurement:
    r"""Measure the spectral dimension from distinct sites visited, :math:`S(t) \sim t^{d_s/2}`.

    Parameters
    ----------
    walks : (walker, draw) ndarray of int64
        Recorded walks.
    window : (float, float) [step]
        First and last time that take part.
    period : float [1]
        Ratio of times over which each slope is taken.

    Returns
    -------
    DimensionMeasurement
        Below 2 for every medium: where walks are transient or nearly so (:math:`d_s \ge 2`) it says
        2, with logarithms at 2 itself.

    References
    ----------
    [RammalToulouse1983]_

    Examples
    --------
    >>> from fracsde.estimators import lattice_graph, random_walks
    >>> walks = random_walks(lattice_graph((999,)), 400, 1000, rng=1)
    >>> found = range_dimension(walks, (50, 1000))
    >>> bool(abs(found.value[0] - 1.0) < 0.1)
    True
    """
    counts = visited_sites(walks).astype(np.float64)
    times = np.arange(counts.shape[1], dtype=np.float64)
    return measured_dimension("d_s_range", times, counts, window, period, _twice)


def counting_dimension(
    source: SiteGraph | ArrayLike, window: tuple[float, float], *, period: float = 2.0
) -> DimensionMeasurement:
    r"""Measure the spectral dimension from eigenvalues, :math:`N(E) \sim E^{d_s/2}`.

    Parameters
    ----------
    source : SiteGraph or (n,) array_like [1]
        A graph of at most 6000 sites, whose normalised Laplacian is diagonalised, or eigenvalues;
        :math:`N(E)` counts those up to ``E``, zero included.
    window : (float, float) [1]
        First and last eigenvalue that take part.
    period : float [1]
        Ratio of eigenvalues over which each slope is taken.

    Returns
    -------
    DimensionMeasurement
        The steps of :math:`N` are part of the systematic error.

    Raises
    ------
    InputError
        If the graph is too large.

    References
    ----------
    [RammalToulouse1983]_

    Examples
    --------
    >>> angles = 2 * np.pi * np.arange(2000) / 2000
    >>> ring = 1 - np.cos(angles)
    >>> found = counting_dimension(ring, (1e-4, 1e-2))
    >>> bool(abs(found.value[0] - 1.0) < 0.05)
    True
    """
    if isinstance(source, SiteGraph):
        if source.sites > _DENSE:
            msg = (
                f"a graph of {source.sites} sites is too large to diagonalise, at most {_DENSE}; "
                "pass eigenvalues, or measure `return_dimension`"
            )
            raise InputError(msg)
        root = 1.0 / np.sqrt(source.degrees)
        step = sparse.csr_array(source.adjacency * root[:, None] * root[None, :]).toarray()
        eigenvalues = 1.0 - np.linalg.eigvalsh(step)[::-1]
    else:
        eigenvalues = np.sort(finite_array("eigenvalues", source, ndim=(1,)))
    low, high = checked_window(window)
    energies = np.geomspace(low, high, 400)
    counts = np.searchsorted(eigenvalues, energies, side="right").astype(np.float64)
    return measured_dimension("d_s_count", energies, counts[None], window, period, _twice)


def mass_dimension(
    graph: SiteGraph,
    window: tuple[float, float],
    *,
    sites: Sequence[int] = (0,),
    period: float = 2.0,
) -> DimensionMeasurement:
    r"""Measure the mass dimension, :math:`V(r) \sim r^{d_f}`, by steps along the graph.

    Parameters
    ----------
    graph : SiteGraph
        The medium.  On the gasket and on lattices the shortest path scales like the distance, so
        this is also the dimension by distance.
    window : (float, float) [step]
        First and last distance that take part.
    sites : sequence of int
        Centres over which volumes are averaged.
    period : float [1]
        Ratio of distances over which each slope is taken.

    Returns
    -------
    DimensionMeasurement

    Raises
    ------
    InputError
        If no site is named.

    References
    ----------
    [RammalToulouse1983]_

    Examples
    --------
    >>> from fracsde.estimators import sierpinski_gasket
    >>> found = mass_dimension(sierpinski_gasket(7), (4, 64))
    >>> bool(abs(found.value[0] - np.log(3) / np.log(2)) < 0.05)
    True
    """
    centres = [integer("sites", site, low=0, high=graph.sites - 1) for site in sites]
    if not centres:
        msg = "`sites` must name at least one centre"
        raise InputError(msg)
    hops = csgraph.dijkstra(graph.adjacency, indices=centres, unweighted=True)
    hops = hops[np.isfinite(hops)].astype(np.int64)
    volumes = np.cumsum(np.bincount(hops)) / len(centres)
    radii = np.arange(len(volumes), dtype=np.float64)
    # A ball of radius r reaches half a step further than its last site.
    return measured_dimension(
        "d_f", radii + 0.5, volumes[None], window, period, lambda slope: slope
    )


def alexander_orbach(
    mass: DimensionMeasurement, walk: DimensionMeasurement
) -> DimensionMeasurement:
    r"""Return the spectral dimension that mass and walk imply, :math:`2 d_f/d_w`.

    Parameters
    ----------
    mass, walk : DimensionMeasurement
        ``d_f`` and ``d_w``, taken as independent.

    Returns
    -------
    DimensionMeasurement
        Named ``d_s_AO``: to be held against a spectral dimension measured directly.

    Raises
    ------
    InputError
        If the dimensions are not those.

    References
    ----------
    [AlexanderOrbach1982]_

    Examples
    --------
    >>> from fracsde.estimators import exact_walk, sierpinski_gasket
    >>> gasket = sierpinski_gasket(7)
    >>> walk = walk_dimension(exact_walk(gasket, 625), (5, 625), period=5)
    >>> implied = alexander_orbach(mass_dimension(gasket, (4, 64)), walk)
    >>> bool(abs(implied.value[0] - 2 * np.log(3) / np.log(5)) < 0.05)
    True
    """
    for name, given, symbol in (("mass", mass, "d_f"), ("walk", walk, "d_w")):
        if not isinstance(given, DimensionMeasurement) or given.symbol != symbol:
            msg = f"`{name}` must be a measured {symbol}, got {getattr(given, 'symbol', given)!r}"
            raise InputError(msg)
    value = 2.0 * float(mass.value[0]) / float(walk.value[0])

    def share(part: str) -> float:
        return value * float(
            np.hypot(
                getattr(mass, part) / mass.value[0],
                getattr(walk, part) / walk.value[0],
            )
        )

    return packed(
        "d_s_AO",
        value,
        share("sampling"),
        share("systematic"),
        min(float(mass.n_effective[0]), float(walk.n_effective[0])),
        (float("nan"), float("nan")),
        float("nan"),
        np.array([value]),
        "2 d_f / d_w",
    )


def _twice(slope: Any) -> Any:
    return 2.0 * slope


def _itself(slope: Any) -> Any:
    return slope


def _exact(source: Any) -> ExactWalk:
    if not isinstance(source, ExactWalk):
        msg = f"`source` must be an ExactWalk or a Displacement, got {type(source).__name__}"
        raise InputError(msg)
    return source

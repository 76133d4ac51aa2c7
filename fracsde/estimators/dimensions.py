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

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numba import njit
from scipy import sparse
from scipy.sparse import csgraph

from fracsde._check import finite_array, integer, real
from fracsde.errors import InputError, RecordError, ShapeError
from fracsde.estimators.chains import jackknife_error, leave_one_out_means
from fracsde.estimators.displacement import Displacement
from fracsde.estimators.exponents import checked_window
from fracsde.estimators.graphs import ExactWalk, SiteGraph, checked_walks
from fracsde.records.measurement import Measurement, Quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fracsde._typing import ArrayLike, FloatArray, IntArray

__all__ = [
    "DimensionMeasurement",
    "alexander_orbach",
    "counting_dimension",
    "mass_dimension",
    "range_dimension",
    "return_dimension",
    "visited_sites",
    "walk_dimension",
]

_POINTS = 24  # slopes in the mean
_MIN_WALKERS = 8
_DENSE = 6000  # sites whose Laplacian is diagonalised
_FLOOR = 1e-12  # relative; an exact slope has the error of its rounding

_NAMES = {
    "d_w": "walk dimension d_w",
    "d_s_ret": "spectral dimension d_s_ret",
    "d_s_count": "spectral dimension d_s_count",
    "d_s_range": "spectral dimension d_s_range",
    "d_f": "mass dimension d_f",
    "d_s_AO": "spectral dimension d_s_AO",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class DimensionMeasurement(Measurement):
    """A measured dimension with the window it belongs to.

    Parameters
    ----------
    symbol : str
        Which dimension: ``d_w``, ``d_s_ret``, ``d_s_count``, ``d_s_range``, ``d_f``, ``d_s_AO``.
    window : (float, float)
        Of time, eigenvalue or distance; NaN for a combination of dimensions.
    period : float [1]
        Ratio over which each slope was taken.
    sampling : float [1]
        The part of the error that more walkers reduce; zero for exact laws.
    systematic : float [1]
        How far slopes within the window are from their mean.
    local : (k,) ndarray of float64 [1]
        The dimension from each slope.
    """

    citation: ClassVar[tuple[str, ...]] = ("AlexanderOrbach1982", "RammalToulouse1983")

    symbol: str
    window: tuple[float, float]
    period: float
    sampling: float
    systematic: float
    local: FloatArray


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
    return _measured("d_w", times, curves, window, period, lambda slope: 2.0 / slope)


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
    return _measured("d_s_ret", times, smooth, window, period, lambda slope: -2.0 * slope)


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
    return _measured("d_s_range", times, counts, window, period, lambda slope: 2.0 * slope)


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
    return _measured("d_s_count", energies, counts[None], window, period, lambda slope: 2.0 * slope)


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
    return _measured("d_f", radii + 0.5, volumes[None], window, period, lambda slope: slope)


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

    return _packed(
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


def _exact(source: Any) -> ExactWalk:
    if not isinstance(source, ExactWalk):
        msg = f"`source` must be an ExactWalk or a Displacement, got {type(source).__name__}"
        raise InputError(msg)
    return source


def _measured(
    symbol: str,
    times: FloatArray,
    curves: FloatArray,
    window: tuple[float, float],
    period: float,
    dimension: Callable[[Any], Any],
) -> DimensionMeasurement:
    # Turn the mean slope of the logarithm of a mean curve into a dimension with both errors.
    low, high = checked_window(window)
    ratio = real("period", period, low=1.0)
    if low < times[0] or high > times[-1] or high < low * ratio:
        msg = (
            f"the window ({low:g}, {high:g}) must lie within the record, {times[0]:g} to "
            f"{times[-1]:g}, and span a period of {ratio:g}; change it, or record longer"
        )
        raise RecordError(msg)
    if 1 < len(curves) < _MIN_WALKERS:
        msg = f"an error across walkers needs at least {_MIN_WALKERS} of them, got {len(curves)}"
        raise RecordError(msg)
    early = np.geomspace(low, high / ratio, _POINTS if high > low * ratio * (1 + 1e-9) else 1)
    ends = np.concatenate([early, early * ratio])
    # Linear in the logarithms between recorded times: a matrix that serves every curve.
    logs, wanted = np.log(np.maximum(times, 1e-300)), np.log(np.clip(ends, low, high))
    after = np.clip(np.searchsorted(times, np.clip(ends, low, high)), 1, len(times) - 1)
    share = (wanted - logs[after - 1]) / (logs[after] - logs[after - 1])

    def slopes(values: FloatArray) -> FloatArray:
        left, right = values[..., after - 1], values[..., after]
        # An end at a recorded time asks nothing of the neighbour, which may be zero.
        needed = np.where(share < 1.0, left, right), np.where(share > 0.0, right, left)
        if np.any(np.minimum(*needed) <= 0):
            msg = (
                "a curve is zero in the window and has no logarithm; move the window, or take more "
                "walkers"
            )
            raise RecordError(msg)
        curve = (1.0 - share) * np.log(needed[0]) + share * np.log(needed[1])
        gaps = curve[..., len(early) :] - curve[..., : len(early)]
        return np.asarray(gaps / np.log(ratio), dtype=np.float64)

    local = slopes(curves.mean(axis=0))
    mean = float(local.mean())
    if symbol == "d_w" and mean < 1e-6:
        msg = f"the displacement does not grow on [{low:g}, {high:g}]; choose an earlier window"
        raise RecordError(msg)
    value = float(dimension(mean))
    gain = abs(float(dimension(mean + 1e-7)) - value) / 1e-7
    with np.errstate(divide="ignore"):
        each = np.asarray(dimension(local), dtype=np.float64)
    sampling, count, noise = 0.0, float("inf"), np.zeros(1)
    if len(curves) > 1:
        without = slopes(leave_one_out_means(curves))
        sampling = gain * float(jackknife_error(without.mean(axis=1)))
        noise, count = jackknife_error(without), float(len(curves))
    # What a slope differs by beyond twice what walkers explain.
    excess = np.square(local - mean) - np.square(2.0 * noise)
    systematic = gain * float(np.sqrt(max(0.0, excess.max())))
    how = "exact law" if len(curves) == 1 else f"{len(curves)} walkers, jackknife"
    method = f"mean slope over ratios of {ratio:g} on [{low:g}, {high:g}], {how}"
    return _packed(symbol, value, sampling, systematic, count, (low, high), ratio, each, method)


def _packed(
    symbol: str,
    value: float,
    sampling: float,
    systematic: float,
    count: float,
    window: tuple[float, float],
    period: float,
    local: FloatArray,
    method: str,
) -> DimensionMeasurement:
    error = max(float(np.hypot(sampling, systematic)), _FLOOR * abs(value))
    # An exact law has no sample; its window holds as many slopes as were taken.
    effective = max(2.0, float(len(local))) if np.isinf(count) else count
    return DimensionMeasurement(
        quantity=Quantity(name=_NAMES[symbol], unit="1", labels=("",)),
        value=np.array([value]),
        stderr=np.array([error]),
        n_effective=np.array([effective]),
        method=method,
        symbol=symbol,
        window=window,
        period=period,
        sampling=sampling,
        systematic=systematic,
        local=local,
    )

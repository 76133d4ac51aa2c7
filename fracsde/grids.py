r"""Grids in time and space.

Time grids start at zero.  With ``n`` steps to the final time ``T``,

.. math::
    t_k = T (k/n)^r \quad\text{(graded; uniform for } r = 1),
    \qquad
    t_k = t_0\, q^{\,k-1},\; q = (T/t_0)^{1/(n-1)} \quad\text{(geometric)}.

Solutions of the time-fractional Fokker-Planck equation start like :math:`u(0) + c\,t^\alpha`; a
graded grid spends its steps where they are steep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array, node_count, real
from fracsde.errors import GridError, InputError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["SpaceGrid", "TimeGrid"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TimeGrid:
    """Strictly increasing times that start at zero.

    Parameters
    ----------
    times : (n + 1,) array_like [t]
        The nodes.
    kind : str
        How the grid was made, for reports: ``"given"``, ``"uniform"``, ``"graded"`` or
        ``"geometric"``.
    grading : float [1]
        Exponent of a graded grid, 1 otherwise.

    Raises
    ------
    GridError
        If the nodes do not start at zero or do not increase.

    Examples
    --------
    >>> TimeGrid.graded(1.0, 4, 2.0).times
    array([0.    , 0.0625, 0.25  , 0.5625, 1.    ])
    """

    times: FloatArray
    kind: str = "given"
    grading: float = 1.0

    def __post_init__(self) -> None:
        times = finite_array("times", self.times, ndim=1)
        if len(times) < 2 or times[0] != 0.0:
            first = f"{times[0]:g}" if len(times) else "nothing"
            msg = (
                f"a time grid must hold at least two times and start at 0, got {len(times)} "
                f"starting at {first}; use TimeGrid.from_times, which adds the start"
            )
            raise GridError(msg)
        _require_increasing(times)
        object.__setattr__(self, "times", times)

    @classmethod
    def uniform(cls, T: float, n: int) -> TimeGrid:
        """Return ``n`` equal steps to ``T``.

        Parameters
        ----------
        T : float [t]
            Final time, positive.
        n : int
            Number of steps.

        Returns
        -------
        TimeGrid
        """
        T, n = real("T", T, low=0.0), node_count("n", n, low=1)
        return cls(times=T * (np.arange(n + 1) / n), kind="uniform")

    @classmethod
    def graded(cls, T: float, n: int, r: float) -> TimeGrid:
        """Return ``n`` steps to ``T`` with nodes ``T (k / n)**r``.

        Parameters
        ----------
        T : float [t]
            Final time, positive.
        n : int
            Number of steps.
        r : float [1]
            Grading, at least 1; ``(2 - alpha) / alpha`` suits the L1 scheme.

        Returns
        -------
        TimeGrid

        Raises
        ------
        GridError
            If the first step underflows: fewer steps or a smaller grading are needed.
        """
        T, n = real("T", T, low=0.0), node_count("n", n, low=1)
        r = real("r", r, low=1.0, high=np.inf, closed="low", remedy="1 gives equal steps")
        times = T * (np.arange(n + 1) / n) ** r
        if times[1] < np.finfo(np.float64).tiny:
            msg = (
                f"grading {r:g} with {n} steps makes a first step of {times[1]:g}; use a smaller r"
            )
            raise GridError(msg)
        return cls(times=times, kind="graded", grading=r)

    @classmethod
    def geometric(cls, t0: float, T: float, n: int) -> TimeGrid:
        """Return ``n`` steps to ``T``: one to ``t0``, then nodes in constant ratio.

        Parameters
        ----------
        t0 : float [t]
            First node after zero, ``0 < t0 < T``.
        T : float [t]
            Final time.
        n : int
            Number of steps, at least 2.

        Returns
        -------
        TimeGrid
        """
        T, n = real("T", T, low=0.0), node_count("n", n, low=2)
        t0 = real("t0", t0, low=0.0, high=T, remedy="the first node lies before the final time")
        nodes = t0 * (T / t0) ** (np.arange(n) / (n - 1))
        nodes[-1] = T
        return cls(times=np.append(0.0, nodes), kind="geometric")

    @classmethod
    def from_times(cls, times: ArrayLike) -> TimeGrid:
        """Return a grid with the given nodes, adding the start at 0 where it is missing.

        Parameters
        ----------
        times : (n,) array_like [t]
            Strictly increasing, not negative.

        Returns
        -------
        TimeGrid

        Raises
        ------
        GridError
            If a time is negative, or the times do not increase.
        """
        nodes = finite_array("times", times, ndim=(0, 1)).reshape(-1)
        if len(nodes) == 0 or nodes[0] < 0:
            first = f"{nodes[0]:g}" if len(nodes) else "none"
            msg = f"`times` must be times from 0 on, the first is {first}; count from the start"
            raise GridError(msg)
        if nodes[-1] == 0:
            msg = "a time grid must hold at least two times, got 0 alone; add a later one"
            raise GridError(msg)
        _require_increasing(nodes)
        return cls(times=nodes if nodes[0] == 0 else np.append(0.0, nodes))

    @property
    def steps(self) -> FloatArray:
        """Lengths of the steps, ``(n,)`` [t]."""
        return np.diff(self.times)

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, kw_only=True, eq=False)
class SpaceGrid:
    """Cells of a tensor grid, given by their edges.

    Parameters
    ----------
    edges : sequence of (n + 1,) array_like [length]
        Strictly increasing cell edges, one array per coordinate.

    Raises
    ------
    InputError
        If there are no edges.
    GridError
        If edges do not increase or a coordinate has fewer than 3 cells.

    Examples
    --------
    >>> SpaceGrid.uniform((-1.0, 1.0), 4).centres[0]
    array([-0.75, -0.25,  0.25,  0.75])
    """

    edges: tuple[FloatArray, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.edges, (tuple, list, np.ndarray)) or len(self.edges) == 0:
            msg = (
                "`edges` must hold one array of edges per coordinate, got "
                f"{self.edges!r}; for one coordinate write edges=(x,)"
            )
            raise InputError(msg)
        checked = []
        for axis, given in enumerate(self.edges):
            edges = finite_array(f"edges[{axis}]", given, ndim=1)
            if len(edges) < 4 or np.any(np.diff(edges) <= 0):
                msg = (
                    f"`edges[{axis}]` must be at least 4 strictly increasing numbers (3 cells), "
                    f"got {len(edges)} with smallest gap "
                    f"{np.diff(edges).min() if len(edges) > 1 else float('nan'):g}"
                )
                raise GridError(msg)
            checked.append(edges)
        object.__setattr__(self, "edges", tuple(checked))

    @classmethod
    def uniform(cls, domain: Any, cells: int | Sequence[int]) -> SpaceGrid:
        """Return equal cells on an interval, or on a product of intervals.

        Parameters
        ----------
        domain : (float, float) or sequence of such pairs [length]
            The interval, or one per coordinate.
        cells : int or sequence of int
            Number of cells along every coordinate, or along each; at least 3.

        Returns
        -------
        SpaceGrid

        Raises
        ------
        GridError
            If an interval is empty.
        ShapeError
            If there are not as many numbers of cells as intervals.

        Examples
        --------
        >>> SpaceGrid.uniform([(0, 1), (-1, 1)], (3, 4)).shape
        (3, 4)
        """
        ends = finite_array("domain", domain, ndim=(1, 2), remedy="a finite interval (a, b)")
        if ends.ndim == 1:
            ends = ends[None]
        ends = finite_array("domain", ends, shape=(None, 2), remedy="a finite interval (a, b)")
        counts = list(cells) if isinstance(cells, (tuple, list)) else [cells] * len(ends)
        if len(counts) != len(ends):
            msg = f"`cells` must hold {len(ends)} numbers, one per interval, got {len(counts)}"
            raise ShapeError(msg)
        edges = []
        for (a, b), count in zip(ends, counts, strict=True):
            n = node_count("cells", count, low=3)
            if not a < b:
                msg = f"`domain` must be an interval (a, b) with a < b, got ({a:g}, {b:g})"
                raise GridError(msg)
            edges.append(np.linspace(a, b, n + 1))
        return cls(edges=tuple(edges))

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.edges)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of cells along each coordinate."""
        return tuple(len(edges) - 1 for edges in self.edges)

    @property
    def centres(self) -> tuple[FloatArray, ...]:
        """Cell centres, one array per coordinate [length]."""
        return tuple(0.5 * (edges[1:] + edges[:-1]) for edges in self.edges)

    @property
    def widths(self) -> tuple[FloatArray, ...]:
        """Cell widths, one array per coordinate [length]."""
        return tuple(np.diff(edges) for edges in self.edges)


def _require_increasing(times: FloatArray) -> None:
    gaps = np.diff(times)
    if np.any(gaps <= 0):
        k = int(np.argmax(gaps <= 0))
        msg = (
            f"a time grid must increase: entries {k} and {k + 1} are {times[k]:g} and "
            f"{times[k + 1]:g}; sort the times and drop repeated ones"
        )
        raise GridError(msg)

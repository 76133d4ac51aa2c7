r"""Sums over the steps of an epoch, by joining blocks of steps.

With :math:`g_m = F^m G` and blocks of ``m`` and ``n`` steps, the second of which comes later,

.. math::
    \Gamma_{m+n} = \Gamma_m + F^m \Gamma_n, \qquad
    \sum_{p < m+n} \Gamma_p = \sum_{p<m} \Gamma_p + n \Gamma_m + F^m \sum_{p<n} \Gamma_p ,

.. math::
    \text{scatter}_{m+n} = \text{scatter}_m + F^m\,\text{scatter}_n\,F^{mT}
        + \frac{mn}{m+n}\,\delta \otimes \delta, \qquad
    \delta = \bar g_m - F^m \bar g_n ,

the last by [Chan1983]_, with :math:`\delta` from the deviations :math:`\bar g - G`.  Whatever
belongs to pairs of modes has shape ``(s, s, r, d)``: coordinates of the two, then the first mode,
among the ``r`` of some ``rows``, and the second; what belongs to modes ``(s, s, d)`` or ``(s, d)``.

Not here: what the sums mean, see :mod:`fracsde.lyapunov.epochs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

_B = TypeVar("_B")

__all__ = [
    "Coordinates",
    "Scattered",
    "Summed",
    "applied",
    "composed",
    "moved",
    "outer",
    "power",
    "scattered",
    "summed",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Coordinates:
    """The state ``(w + lean v, v)`` of every mode; ``s`` is 1, or 2 with a velocity.

    Parameters
    ----------
    lean : (d,) float64 [1]
        How much of the velocity is added to the weight.
    kicks : (s, d) float64 [1]
        ``G``, what a kick adds.
    away : (s, s, d) float64 [1]
        ``F - I``.
    """

    lean: FloatArray
    kicks: FloatArray
    away: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Scattered:
    """The kicks of ``count`` steps about their mean.

    Parameters
    ----------
    count : int
        Steps ``m``.
    away : (s, s, d) float64 [1]
        ``F^m - I``.
    total : (s, d) float64 [1]
        ``Gamma_m``.
    drift : (s, d) float64 [1]
        Mean of the ``g_j``, less ``G``.
    scatter : (s, s, r, d) float64 [1]
        Sum of the products of deviations from the mean.
    """

    count: int
    away: FloatArray
    total: FloatArray
    drift: FloatArray
    scatter: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Summed:
    """Sums over the phases ``p < count`` of an epoch.

    Parameters
    ----------
    count : int
        Steps ``m``.
    away : (s, s, d) float64 [1]
        ``F^m - I``.
    total : (s, d) float64 [1]
        ``Gamma_m``.
    squares : (s, s, r, d) float64 [1]
        ``W_m``, the sum of ``g_j g_j`` over ``j < m``.
    past_squares, past_products : (s, s, r, d) float64 [1]
        Sums of ``W_p`` and of ``Gamma_p Gamma_p``.
    past_totals : (s, d) float64 [1]
        Sum of ``Gamma_p``.
    past_starts : (s, s, r, d) float64
        Sum of ``F^p S F^pT``, ``S`` the covariance at the start.
    """

    count: int
    away: FloatArray
    total: FloatArray
    squares: FloatArray
    past_squares: FloatArray
    past_products: FloatArray
    past_totals: FloatArray
    past_starts: FloatArray


def scattered(coordinates: Coordinates, count: int, rows: slice) -> Scattered:
    """Return the kicks of several steps about their mean.

    Parameters
    ----------
    coordinates : Coordinates
        Of the modes.
    count : int
        Steps, at least one.
    rows : slice
        Which modes come first in pairs.

    Returns
    -------
    Scattered
    """
    G = coordinates.kicks

    def joined(one: Scattered, two: Scattered) -> Scattered:
        m, n = one.count, two.count
        # E (G + drift) - G, which is as small as the drift.
        later = two.drift + _pulled(one.away, G + two.drift)
        apart = one.drift - later
        return Scattered(
            count=m + n,
            away=composed(one.away, two.away),
            total=one.total + applied(one.away, two.total),
            drift=(m * one.drift + n * later) / (m + n),
            scatter=one.scatter
            + moved(one.away, two.scatter, rows)
            + (m * n / (m + n)) * outer(apart, apart, rows),
        )

    once = Scattered(
        count=1,
        away=coordinates.away,
        total=G,
        drift=np.zeros_like(G),
        scatter=np.zeros_like(outer(G, G, rows)),
    )
    return _repeated(once, count, joined)


def summed(coordinates: Coordinates, start: FloatArray, count: int, rows: slice) -> Summed:
    """Return sums over the phases of an epoch.

    Parameters
    ----------
    coordinates : Coordinates
        Of the modes.
    start : (s, s, r, d) float64
        Covariance at the start.
    count : int
        Steps, at least one.
    rows : slice
        Which modes come first in pairs.

    Returns
    -------
    Summed
    """

    def joined(one: Summed, two: Summed) -> Summed:
        n = two.count
        later = applied(one.away, two.past_totals)
        return Summed(
            count=one.count + n,
            away=composed(one.away, two.away),
            total=one.total + applied(one.away, two.total),
            squares=one.squares + moved(one.away, two.squares, rows),
            past_squares=one.past_squares
            + n * one.squares
            + moved(one.away, two.past_squares, rows),
            past_products=one.past_products
            + outer(n * one.total + later, one.total, rows)
            + outer(one.total, later, rows)
            + moved(one.away, two.past_products, rows),
            past_totals=one.past_totals + n * one.total + later,
            past_starts=one.past_starts + moved(one.away, two.past_starts, rows),
        )

    G = coordinates.kicks
    square = outer(G, G, rows)
    once = Summed(
        count=1,
        away=coordinates.away,
        total=G,
        squares=square,
        past_squares=np.zeros_like(square),
        past_products=np.zeros_like(square),
        past_totals=np.zeros_like(G),
        past_starts=start,
    )
    return _repeated(once, count, joined)


def composed(one: FloatArray, two: FloatArray) -> FloatArray:
    """Return ``E F - I`` from ``E - I`` and ``F - I``, ``(s, s, d)``.

    Returns
    -------
    (s, s, d) float64
    """
    return np.asarray(np.einsum("xai,ayi->xyi", one, two) + one + two)


def applied(away: FloatArray, vector: FloatArray) -> FloatArray:
    """Return ``E x`` from ``E - I``, ``(s, d)``.

    Returns
    -------
    (s, d) float64
    """
    return _pulled(away, vector) + vector


def outer(one: FloatArray, two: FloatArray, rows: slice) -> FloatArray:
    """Return the products of pairs of modes, ``(s, s, r, d)``.

    Returns
    -------
    (s, s, r, d) float64
    """
    return one[:, None, rows, None] * two[None, :, None, :]


def moved(away: FloatArray, pairs: FloatArray, rows: slice) -> FloatArray:
    """Return ``E S E^T`` for pairs of modes, from ``E - I``.

    Returns
    -------
    (s, s, r, d) float64
    """
    s = len(away)
    E, whole = away + np.eye(s)[:, :, None], np.zeros_like(pairs)
    for x in range(s):
        half = np.zeros_like(pairs[0])
        for a in range(s):
            half += E[x, a, rows, None] * pairs[a]
        for y in range(s):
            for c in range(s):
                whole[x, y] += half[c] * E[y, c]
    return whole


def power(away: FloatArray, steps: int) -> FloatArray:
    """Return ``F^m - I`` from ``F - I`` by doubling, ``(s, s, d)``.

    Returns
    -------
    (s, s, d) float64
    """
    result = np.zeros_like(away)
    while steps:
        if steps % 2:
            result = composed(away, result)
        steps //= 2
        if steps:
            away = composed(away, away)
    return result


def _pulled(away: FloatArray, vector: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("xai,ai->xi", away, vector))


def _repeated(once: _B, count: int, joined: Callable[[_B, _B], _B]) -> _B:
    # ``count`` equal blocks, by repeated doubling.
    result: _B | None = None
    while True:
        if count % 2:
            result = once if result is None else joined(once, result)
        count //= 2
        if count == 0:
            break
        once = joined(once, once)
    assert result is not None  # there is a step at least
    return result

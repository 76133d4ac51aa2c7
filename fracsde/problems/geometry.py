"""Where a problem lives: intervals, their walls, and the many ways to write them.

Inside the package a domain of ``d`` dimensions is ``d`` intervals and ``d`` pairs of walls; on a
line callers see one pair of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fracsde.errors import GridError, InputError, NotFiniteError, UnsupportedError

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["Interval", "Walls", "intervals", "open_mesh", "walls"]

Interval = tuple[float, float]
Walls = tuple[str, str]

_KNOWN = ("reflecting", "absorbing", "periodic")
_MOST = 3  # dimensions served


def intervals(domain: Any) -> tuple[Interval, ...]:
    """Return the intervals of a domain.

    Parameters
    ----------
    domain : (float, float) or sequence of such pairs [x]
        As the caller wrote it.

    Returns
    -------
    tuple of (float, float)

    Raises
    ------
    InputError
        If it is not made of intervals.
    NotFiniteError
        If it holds NaN.
    GridError
        If an interval is empty.
    UnsupportedError
        If there are more than three.

    Examples
    --------
    >>> intervals((0, 1)), intervals([(0, 1), (-1, 1)])
    (((0.0, 1.0),), ((0.0, 1.0), (-1.0, 1.0)))
    """
    try:
        ends = np.array(domain, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        ends = np.array([])
    if ends.shape == (2,):
        ends = ends[None]
    if ends.ndim != 2 or ends.shape[1] != 2 or len(ends) == 0:
        msg = (
            f"`domain` must be an interval (a, b), got {domain!r}; beyond the line write one per "
            "axis, ((a, b), (c, d))"
        )
        raise InputError(msg)
    if len(ends) > _MOST:
        msg = (
            f"`domain` has {len(ends)} dimensions; up to {_MOST} are served.  Independent "
            "coordinates separate into one problem each, linear drifts are SubordinatedOU"
        )
        raise UnsupportedError(msg)
    if np.any(np.isnan(ends)):
        msg = f"`domain` must not hold NaN, got {domain!r}; use -inf and inf for the line"
        raise NotFiniteError(msg)
    for a, b in ends:
        if not a < b or a == np.inf or b == -np.inf:
            msg = f"`domain` must be an interval (a, b) with a < b, got ({a:g}, {b:g})"
            raise GridError(msg)
    return tuple((float(a), float(b)) for a, b in ends)


def walls(boundary: Any, domain: tuple[Interval, ...]) -> tuple[Walls, ...]:
    """Return the pair of walls of each axis.

    Parameters
    ----------
    boundary : str, (str, str) or sequence of pairs
        As the caller wrote it.
    domain : tuple of (float, float) [x]
        The intervals.

    Returns
    -------
    tuple of (str, str)

    Raises
    ------
    InputError
        If a wall does not exist, or stands where there is no end.
    """
    if isinstance(boundary, str):
        pairs = [(boundary, boundary)] * len(domain)
    elif len(domain) == 1:
        pairs = [_pair(boundary, boundary)]
    elif isinstance(boundary, (tuple, list)) and len(boundary) == len(domain):
        pairs = [_pair(pair, boundary) for pair in boundary]
    else:
        _refuse(boundary, len(domain))
    for pair, ends in zip(pairs, domain, strict=True):
        if any(w not in _KNOWN for w in pair) or (pair[0] != pair[1] and "periodic" in pair):
            _refuse(boundary, len(domain))
        for wall, end in zip(pair, ends, strict=True):
            if np.isinf(end) and wall != "reflecting":
                msg = (
                    f"`boundary` is {wall!r} at x = {end:g}, where there is no wall; use "
                    '"reflecting", which means no flux there, or a finite domain'
                )
                raise InputError(msg)
    return tuple(pairs)


def _pair(pair: Any, boundary: Any) -> Walls:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        _refuse(boundary, 1 if pair is boundary else len(boundary))
    return str(pair[0]), str(pair[1])


def _refuse(boundary: Any, dimension: int) -> NoReturn:
    several = "" if dimension == 1 else ", and one pair per axis: ((left, right), (below, above))"
    msg = (
        '`boundary` must be "reflecting", "absorbing" or "periodic", or a pair of the first '
        f"two{several}, got {boundary!r}"
    )
    raise InputError(msg)


def open_mesh(axes: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
    """Return coordinates that broadcast to a grid, without storing it.

    Parameters
    ----------
    axes : tuple of (n,) float64 [x]
        Coordinates along each axis.

    Returns
    -------
    tuple of ndarray
        The array itself on a line; shapes ``(n, 1)`` and ``(1, m)`` in the plane.

    Examples
    --------
    >>> [c.shape for c in open_mesh((np.zeros(3), np.zeros(5)))]
    [(3, 1), (1, 5)]
    """
    d = len(axes)
    return tuple(a.reshape((1,) * k + (-1,) + (1,) * (d - 1 - k)) for k, a in enumerate(axes))

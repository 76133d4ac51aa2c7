"""User's functions, called on points and checked: finite numbers, as many as points.

Points of ``d`` coordinates come as ``d`` arrays that broadcast against each other.  On a line a
function returns an array of the shape it was given; in the plane and in space whatever broadcasts
to the common shape, so that ``V(x, y) = x**2`` is what it seems.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import InputError, NotFiniteError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

__all__ = ["place", "sample", "sample_fields"]

_LETTERS = "xyz"


def place(index: int, *x: FloatArray) -> str:
    """Return the words for a point, as messages name it.

    Parameters
    ----------
    index : int
        Flat index into the common shape.
    *x : ndarray of float64 [x]
        Coordinates.

    Returns
    -------
    str

    Examples
    --------
    >>> place(1, np.array([0.0, 2.0]))
    'x = 2'
    >>> place(3, np.array([[0.0], [2.0]]), np.array([[1.0, 5.0]]))
    '(x, y) = (2, 5)'
    """
    values = [float(c.flat[index]) for c in np.broadcast_arrays(*x)]
    if len(values) == 1:
        return f"x = {values[0]:g}"
    names = ", ".join(_LETTERS[: len(values)])
    return f"({names}) = ({', '.join(f'{value:g}' for value in values)})"


def sample(
    name: str, function: Callable[..., Any], *x: FloatArray, when: float | None = None
) -> FloatArray:
    """Evaluate a user's function on copies of coordinates.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    function : callable
        Takes one array per coordinate.
    *x : ndarray of float64 [x]
        The points.
    when : float, optional [t]
        The time, for the message.

    Returns
    -------
    ndarray of float64
        Of the common shape of the coordinates.

    Raises
    ------
    InputError
        If the values are not real numbers.
    ShapeError
        If the function does not return one value per point.
    NotFiniteError
        If a value is NaN or infinite; the message names the point.

    Examples
    --------
    >>> sample("potential", lambda x: x**2, np.array([1.0, 2.0]))
    array([1., 4.])
    """
    with np.errstate(all="ignore"):
        values = function(*(c.copy() for c in x))
    return _checked(name, values, x, when)


def sample_fields(
    name: str, function: Callable[..., Any], *x: FloatArray, when: float | None = None
) -> tuple[FloatArray, ...]:
    """Evaluate a user's function that returns one array per coordinate.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    function : callable
        Takes ``d`` arrays, returns ``d``.
    *x : ndarray of float64 [x]
        The points.
    when : float, optional [t]
        The time, for the message.

    Returns
    -------
    tuple of ndarray of float64
        Each of the common shape of the coordinates.

    Raises
    ------
    InputError
        If the values are not real numbers.
    ShapeError
        If it does not return ``d`` arrays, each with one value per point.
    NotFiniteError
        If a value is NaN or infinite; the message names the point and the component.
    """
    with np.errstate(all="ignore"):
        fields = function(*(c.copy() for c in x))
    if not isinstance(fields, (tuple, list, np.ndarray)) or len(fields) != len(x):
        count = len(fields) if isinstance(fields, (tuple, list, np.ndarray)) else 1
        msg = (
            f"`{name}` must return {len(x)} arrays, one per coordinate, got {count}; write "
            f"return {', '.join(f'F{letter}' for letter in _LETTERS[: len(x)])}"
        )
        raise ShapeError(msg)
    return tuple(_checked(f"{name}[{axis}]", f, x, when) for axis, f in enumerate(fields))


def _checked(name: str, given: Any, x: tuple[FloatArray, ...], when: float | None) -> FloatArray:
    values = np.asarray(given)
    shape = np.broadcast_shapes(*(c.shape for c in x))
    moment = "" if when is None else f" at t = {when:g}"
    if values.dtype.kind not in "biuf":
        msg = f"`{name}`{moment} must return real numbers, got {values.dtype}"
        raise InputError(msg)
    if not _fits(values.shape, shape, several=len(x) > 1):
        msg = (
            f"`{name}`{moment} must return one value per point: {shape} points went in, shape "
            f"{values.shape} came out; write it with NumPy functions, a constant as c + 0 * x"
        )
        raise ShapeError(msg)
    bad = ~np.isfinite(values)
    if np.any(bad):
        k = int(np.argmax(np.broadcast_to(bad, shape)))
        value = np.broadcast_to(values, shape).flat[k]
        msg = (
            f"`{name}`{moment} must be finite, got {value} at {place(k, *x)}; move the domain's "
            "end off the singularity or bound the function"
        )
        raise NotFiniteError(msg)
    return np.array(np.broadcast_to(values, shape), dtype=np.float64)


def _fits(found: tuple[int, ...], wanted: tuple[int, ...], *, several: bool) -> bool:
    if not several:
        return found == wanted
    # Singletons may stand for an axis that the function does not depend on; axes do not vanish.
    return len(found) == len(wanted) and all(
        have in {1, want} for have, want in zip(found, wanted, strict=True)
    )

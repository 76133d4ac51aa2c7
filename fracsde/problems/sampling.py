"""User's functions, called on points and checked: one finite number per point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import InputError, NotFiniteError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

__all__ = ["sample"]


def sample(name: str, function: Callable[[FloatArray], Any], x: FloatArray) -> FloatArray:
    """Evaluate a user's function on a copy of ``x``.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    function : callable
        Takes an array of points.
    x : (n,) float64 [x]
        The points.

    Returns
    -------
    (n,) ndarray of float64

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
        values = np.asarray(function(x.copy()))
    if values.dtype.kind not in "biuf":
        msg = f"`{name}` must return real numbers, got {values.dtype}"
        raise InputError(msg)
    if values.shape != x.shape:
        msg = (
            f"`{name}` must return one value per point: {x.shape} points went in, shape "
            f"{values.shape} came out; write it with NumPy functions, a constant as c + 0 * x"
        )
        raise ShapeError(msg)
    bad = ~np.isfinite(values)
    if np.any(bad):
        k = int(np.argmax(bad))
        msg = (
            f"`{name}` must be finite, got {values[k]} at x = {x[k]:g}; move the domain's end off "
            "the singularity or bound the function"
        )
        raise NotFiniteError(msg)
    return np.array(values, dtype=np.float64)

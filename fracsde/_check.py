"""Checks of what callers pass in; each returns a read-only value, fresh unless asked, or raises.

Every message says what was asked, what arrived and, through ``remedy``, what to do.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._symmetry import ROUNDING, asymmetry, averaged, surely_positive
from fracsde.errors import (
    IndefiniteError,
    InputError,
    NotFiniteError,
    NotSymmetricError,
    OutOfRangeError,
    ShapeError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import FloatArray, IntArray

__all__ = [
    "choice",
    "finite_array",
    "integer",
    "matrix",
    "node_count",
    "positive_semidefinite",
    "real",
    "row_numbers",
    "symmetric",
    "truth",
    "vector",
]

_MOST_NODES = 10**9  # steps of a mesh or cells of an axis: their places take eight gigabytes


def _join(message: str, remedy: str) -> str:
    return f"{message}; {remedy}" if remedy else message


def finite_array(
    name: str,
    value: Any,
    *,
    shape: Sequence[int | None] | None = None,
    ndim: int | Sequence[int] | None = None,
    remedy: str = "",
    copy: bool = True,
) -> FloatArray:
    """Return a read-only float64 copy of ``value``.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value : array_like
        What the caller passed.
    shape : sequence of int or None, optional
        Required lengths; ``None`` accepts any length.
    ndim : int or sequence of int, optional
        Allowed numbers of axes.
    remedy : str
        What to do, appended to the message.
    copy : bool
        False for what is not kept: then it may be a view of the caller's memory.

    Returns
    -------
    ndarray of float64
        Read-only, C-contiguous.

    Raises
    ------
    InputError
        If the value is not numeric or is complex.
    ShapeError
        If the shape does not fit.
    NotFiniteError
        If an entry is NaN or infinite.
    """
    array = _float64(name, value, remedy, copy=copy)
    allowed = (ndim,) if isinstance(ndim, int) else ndim
    if allowed is not None and array.ndim not in allowed:
        wanted = " or ".join(str(n) for n in allowed)
        msg = _join(f"`{name}` must have {wanted} axes, got shape {array.shape}", remedy)
        raise ShapeError(msg)
    if shape is not None and (
        array.ndim != len(shape)
        or any(want not in {None, have} for want, have in zip(shape, array.shape, strict=True))
    ):
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        msg = _join(f"`{name}` must have shape {wanted}, got {array.shape}", remedy)
        raise ShapeError(msg)
    finite = np.isfinite(array)
    if not finite.all():
        bad = np.argwhere(~finite)  # of a number, one row without columns
        where = tuple(int(i) for i in bad[0])
        place = f"{len(bad)} of {array.size} entries are NaN or infinite, "
        place += f"the first is {array[where]}"
        place += f" at index {where if len(where) > 1 else where[0]}" if where else ""
        msg = _join(f"`{name}` must be finite: {place}", remedy)
        raise NotFiniteError(msg)
    array.flags.writeable = False
    return array


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python prints
        return "a number of too many digits"
    return text if len(text) <= 200 else f"{text[:200]}..."


def _float64(name: str, value: Any, remedy: str, *, copy: bool) -> FloatArray:
    try:
        raw = np.asarray(value)
        real = raw.dtype.kind in "biufO" and not np.ma.is_masked(value)
        array = np.array(raw, dtype=float, order="C", copy=copy or None) if real else None
    except (TypeError, ValueError, OverflowError):
        array = None
    if array is None:
        if hasattr(value, "matvec") or hasattr(value, "tocsr"):  # an operator, a sparse matrix
            remedy = "MatrixFreeSGD and MatrixFreeOU take operators; elsewhere pass A @ np.eye(n)"
        msg = f"`{name}` must be an array of real numbers, got {type(value).__name__}"
        raise InputError(_join(f"{msg}: {_shown(value)}", remedy))
    return array if copy else array.view()  # the caller's own array stays writeable


def vector(name: str, value: Any, *, length: int | None = None, remedy: str = "") -> FloatArray:
    """Return ``value`` as a vector; a number becomes a constant vector where ``length`` is known.

    Returns
    -------
    (length,) ndarray of float64
    """
    array = finite_array(name, value, ndim=(0, 1), remedy=remedy)
    if array.ndim == 0:
        array = np.full(1 if length is None else length, float(array))
    return finite_array(name, array, shape=(length,), remedy=remedy)


def matrix(
    name: str, value: Any, *, size: int | None = None, remedy: str = "", copy: bool = True
) -> FloatArray:
    """Return ``value`` as a square matrix; a number becomes 1 x 1.

    Returns
    -------
    (n, n) ndarray of float64

    Raises
    ------
    ShapeError
        If it is not square, is empty, or is not ``size`` x ``size``.
    """
    array = finite_array(name, value, ndim=(0, 2), remedy=remedy, copy=copy)
    if array.ndim == 0:
        array = finite_array(name, array.reshape(1, 1))
    rows, columns = array.shape
    square = rows == columns > 0
    if not square or size not in {None, rows}:
        wanted = f"{size} x {size}" if square else "a square matrix"
        msg = _join(f"`{name}` must be {wanted}, got shape {array.shape}", remedy)
        raise ShapeError(msg)
    return array


def symmetric(name: str, value: Any, *, size: int | None = None, copy: bool = True) -> FloatArray:
    """Return ``value`` as a symmetric matrix, rounding-level asymmetry averaged away.

    Returns
    -------
    (n, n) ndarray of float64

    Raises
    ------
    NotSymmetricError
        If it differs from its transpose by more than rounding.
    """
    array = matrix(name, value, size=size, copy=copy)
    gap = asymmetry(array)
    if gap == 0.0:
        return array
    scale = float(np.abs(array).max())
    if gap > ROUNDING * scale:
        i, j = np.unravel_index(int(np.argmax(np.abs(array - array.T))), array.shape)
        msg = (
            f"`{name}` must be symmetric: entries [{i}, {j}] and [{j}, {i}] are "
            f"{array[i, j]:.6g} and {array[j, i]:.6g}; if the difference is sampling noise, "
            f"pass 0.5 * ({name} + {name}.T)"
        )
        raise NotSymmetricError(msg)
    # Halves of the largest numbers are exact, and so are sums of the smallest.
    array = 2.0 * averaged(0.5 * array, gap) if scale > 1e300 else averaged(array, gap)
    array.flags.writeable = False
    return array


def positive_semidefinite(
    name: str, value: Any, *, size: int | None = None, remedy: str = ""
) -> FloatArray:
    """Return ``value`` as a symmetric matrix without negative eigenvalues beyond rounding.

    Returns
    -------
    (n, n) ndarray of float64

    Raises
    ------
    IndefiniteError
        If an eigenvalue is negative by more than rounding.
    """
    array = symmetric(name, value, size=size)
    if surely_positive(array):
        return array
    eigenvalues = np.linalg.eigvalsh(array)
    low, high = float(eigenvalues[0]), float(np.abs(eigenvalues).max())
    if low < -ROUNDING * high:
        count = int(np.sum(eigenvalues < -ROUNDING * high))
        msg = _join(
            f"`{name}` must be positive semi-definite: {count} of {len(eigenvalues)} eigenvalues "
            f"are negative, the lowest is {low:.6g} (the largest magnitude is {high:.6g})",
            remedy,
        )
        raise IndefiniteError(msg)
    return array


def real(
    name: str,
    value: Any,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    closed: str = "",
    remedy: str = "",
) -> float:
    """Return ``value`` as a finite float inside an interval.

    Parameters
    ----------
    name : str
        The argument's name.
    value : float
        What the caller passed.
    low, high : float
        Ends of the interval.
    closed : {"", "low", "high", "both"}
        Which ends belong to it.
    remedy : str
        What to do, appended to the message.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If it is not a real number.
    NotFiniteError
        If it is NaN or infinite.
    OutOfRangeError
        If it lies outside the interval.
    """
    if isinstance(value, (bool, np.bool_, str, bytes, complex, np.complexfloating)):
        msg = _join(f"`{name}` must be a real number, got {_shown(value)}", remedy)
        raise InputError(msg)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        msg = _join(f"`{name}` must be a real number, got {_shown(value)}", remedy)
        raise InputError(msg) from error
    if not np.isfinite(number):
        msg = _join(f"`{name}` must be finite, got {number}", remedy)
        raise NotFiniteError(msg)
    above = number >= low if closed in {"low", "both"} else number > low
    below = number <= high if closed in {"high", "both"} else number < high
    if not (above and below):
        left = "[" if closed in {"low", "both"} else "("
        right = "]" if closed in {"high", "both"} else ")"
        msg = _join(f"`{name}` must lie in {left}{low:g}, {high:g}{right}, got {number:g}", remedy)
        raise OutOfRangeError(msg)
    return number


def integer(name: str, value: Any, *, low: int, high: int | None = None, remedy: str = "") -> int:
    """Return ``value`` as an int in ``[low, high]``.

    Returns
    -------
    int

    Raises
    ------
    InputError
        If it is not a whole number.
    OutOfRangeError
        If it lies outside the interval.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        msg = _join(f"`{name}` must be a whole number, got {_shown(value)}", remedy)
        raise InputError(msg)
    number = int(value)
    most = sys.float_info.max if high is None else high
    if not low <= number <= most:
        wanted = f"at least {low}" if number < low and high is None else f"between {low} and {most}"
        msg = _join(f"`{name}` must be {wanted}, got {_shown(number)}", remedy)
        raise OutOfRangeError(msg)
    return number


def row_numbers(name: str, value: Any, rows: int) -> IntArray:
    """Return ``value`` as numbers of rows that exist.

    Returns
    -------
    (n,) ndarray of int64

    Raises
    ------
    InputError
        If it is not a vector of whole numbers.
    OutOfRangeError
        If a row does not exist.
    """
    raw = np.asarray(value)
    if raw.ndim != 1 or raw.dtype.kind not in "iu":
        msg = f"`{name}` must be a vector of whole numbers, got {_shown(value)}"
        raise InputError(msg)
    if raw.size and not 0 <= int(raw.min()) <= int(raw.max()) < rows:
        found = f"{raw.min()} to {raw.max()}"
        msg = f"`{name}` must lie between 0 and {rows - 1}, of {rows} rows, got {found}"
        raise OutOfRangeError(msg)
    return raw.astype(np.int64)


def node_count(name: str, value: Any, *, low: int) -> int:
    """Return ``value`` as a number of steps or cells.

    Returns
    -------
    int

    Raises
    ------
    OutOfRangeError
        If it is below ``low``, or more than memory holds.
    """
    number = integer(name, value, low=low)
    if number > _MOST_NODES:
        msg = f"`{name}` must be at most {_MOST_NODES}, got {_shown(number)}; memory holds no more"
        raise OutOfRangeError(msg)
    return number


def truth(name: str, value: Any) -> bool:
    """Return ``value`` if it is True or False.

    Returns
    -------
    bool

    Raises
    ------
    InputError
        If it is anything else, 0 and 1 included.
    """
    if not isinstance(value, (bool, np.bool_)):
        msg = f"`{name}` must be True or False, got {_shown(value)}"
        raise InputError(msg)
    return bool(value)


def choice(name: str, value: Any, options: Sequence[str]) -> str:
    """Return ``value`` if it is one of ``options``.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If it is not.
    """
    if not isinstance(value, str) or value not in options:
        wanted = ", ".join(repr(option) for option in options)
        msg = f"`{name}` must be one of {wanted}, got {value!r}"
        raise InputError(msg)
    return value

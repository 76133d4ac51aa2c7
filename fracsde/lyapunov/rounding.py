r"""What rounding does to matrices: symmetry, sizes and the border of stability.

A matrix is symmetric to rounding when :math:`|A_{ij} - A_{ji}| \le 4\sqrt n\,\varepsilon \max|A|`,
which a product of ``n`` terms may miss by; :math:`\varepsilon = 2^{-52}`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fracsde._symmetry import asymmetry

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = [
    "EPS",
    "binary_unit",
    "in_own_unit",
    "is_symmetric",
    "spectral_norm",
    "spectral_tolerance",
    "times_units",
]

EPS = float(np.finfo(np.float64).eps)
_ORDINARY = 2.0**-50, 2.0**50  # fourth powers and condition numbers stay far inside the range


def binary_unit(array: FloatArray) -> float:
    """Return the power of two in which the largest entry lies between 1 and 2.

    Dividing by it changes no digit, and norms of the quotient neither overflow nor underflow.

    Parameters
    ----------
    array : ndarray
        Any shape.

    Returns
    -------
    float
        1 for an array of zeros.
    """
    largest = max(float(array.max()), -float(array.min()))
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest > 0.0 else 1.0


def in_own_unit(array: FloatArray) -> tuple[FloatArray, float]:
    """Return a matrix over its unit, and the unit: 1 where no product can leave the range.

    Parameters
    ----------
    array : ndarray of float64
        Any shape.

    Returns
    -------
    ndarray of float64
        The array itself where its unit is 1.
    float
        From :func:`binary_unit` where that is extreme.
    """
    with np.errstate(over="ignore", under="ignore"):
        size = float(np.linalg.norm(array))  # not below the largest entry, and faster
    if _ORDINARY[0] * array.size < size < _ORDINARY[1]:
        return array, 1.0
    unit = binary_unit(array)
    return (array, 1.0) if _ORDINARY[0] < unit < _ORDINARY[1] else (array / unit, unit)


def times_units(array: FloatArray | float, size: float, rate: float) -> FloatArray:
    """Return ``array * size / rate``, which overflows only where the result does.

    Parameters
    ----------
    array : ndarray or float
        Any shape.
    size, rate : float
        From :func:`binary_unit`.

    Returns
    -------
    ndarray of float64
    """
    shift = math.frexp(size)[1] - math.frexp(rate)[1]
    with np.errstate(over="ignore", under="ignore"):
        if abs(shift) < 1000:  # the power itself is a float
            return np.asarray(array * math.ldexp(1.0, shift), dtype=np.float64)
        return np.asarray(np.ldexp(array, shift))


def is_symmetric(array: FloatArray, gap: float | None = None) -> bool:
    """Whether a square matrix equals its transpose, exactly or to the rounding of a product.

    Parameters
    ----------
    array : (n, n) float64
        The matrix.
    gap : float, optional
        Its :func:`~fracsde._symmetry.asymmetry`, where it is known.

    Returns
    -------
    bool
    """
    gap = asymmetry(array) if gap is None else gap
    if gap == 0.0:
        return True
    return gap <= 4.0 * EPS * float(np.sqrt(len(array))) * float(np.abs(array).max())


def spectral_norm(array: FloatArray) -> float:
    """Return the largest singular value, to a few per cent and never too large.

    Parameters
    ----------
    array : (n, n) float64
        The matrix.

    Returns
    -------
    float
    """
    # Power iteration from a fixed start approaches the norm from below.
    x = np.cos(np.arange(1.0, len(array) + 1.0))
    size = 0.0
    for _ in range(12):
        x = array.T @ (array @ (x / np.linalg.norm(x)))
        size = float(np.linalg.norm(x))
        if size == 0.0:
            return 0.0
    return float(np.sqrt(size))


def spectral_tolerance(array: FloatArray) -> float:
    """Return the distance within which rounding can move an eigenvalue across the border.

    Parameters
    ----------
    array : (n, n) float64
        A drift or transition.

    Returns
    -------
    float
    """
    return 4.0 * len(array) * EPS * float(np.linalg.norm(array))

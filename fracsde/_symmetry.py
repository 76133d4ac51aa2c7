"""How far a matrix is from symmetric, and a cheap proof that a symmetric one is positive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["ROUNDING", "asymmetry", "averaged", "surely_positive"]

# Relative size below which an asymmetry or a negative eigenvalue is taken for rounding: a
# matrix assembled from float32 data is symmetric to 1e-7 at best, and is meant to be usable.
ROUNDING = 1e-6

# Rows and columns of a part of a matrix that stays in a cache beside its mirror image.
_TILE = 128


def asymmetry(array: FloatArray) -> float:
    """Return the largest difference between a square matrix and its transpose.

    Parameters
    ----------
    array : (n, n) float64
        The matrix, read in blocks that stay in a cache with their mirror images.

    Returns
    -------
    float
    """
    largest = 0.0
    for start in range(0, len(array), _TILE):
        stop = start + _TILE
        for other in range(0, stop, _TILE):
            part = array[start:stop, other : other + _TILE]
            mirror = array[other : other + _TILE, start:stop]
            if not np.array_equal(part, mirror.T):  # half the time of the difference
                largest = max(largest, float(np.abs(part - mirror.T).max()))
    return largest


def averaged(array: FloatArray, gap: float) -> FloatArray:
    """Return the mean of a square matrix and its transpose, in memory that nothing else uses.

    Parameters
    ----------
    array : (n, n) float64
        The matrix, read in blocks that stay in a cache with their mirror images.
    gap : float
        From :func:`asymmetry`.

    Returns
    -------
    (n, n) float64
        Exactly symmetric.
    """
    if gap == 0.0:
        return array.copy()
    out = np.empty(array.shape)
    for start in range(0, len(array), _TILE):
        stop = start + _TILE
        for other in range(0, stop, _TILE):
            part = array[start:stop, other : other + _TILE]
            mirror = array[other : other + _TILE, start:stop]
            mean = 0.5 * (part + mirror.T)
            out[start:stop, other : other + _TILE] = mean
            out[other : other + _TILE, start:stop] = mean.T
    return out


def surely_positive(array: FloatArray) -> bool:
    """Return whether a symmetric matrix is positive semi-definite to rounding, when that is cheap.

    A Cholesky factor of the matrix, lifted by half the tolerance, proves it at a tenth of the
    cost of the eigenvalues; the largest diagonal entry is not above the largest eigenvalue.

    Parameters
    ----------
    array : (n, n) float64
        Symmetric.

    Returns
    -------
    bool
        Where it is ``False``, look at the eigenvalues.
    """
    largest = float(np.abs(array).max())
    if not 1e-150 < largest < 1e150:
        return False
    lifted = array / largest
    diagonal = np.einsum("ii->i", lifted)
    diagonal += 0.5 * ROUNDING * max(float(diagonal.max()), 0.0)
    try:
        np.linalg.cholesky(lifted)
    except np.linalg.LinAlgError:
        return False
    return True

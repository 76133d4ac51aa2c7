"""Lane normals (:mod:`fracsde.backends.lane_normals`) by NumPy's own logarithm, sine and cosine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.backends.ars import ars4x32_reference
from fracsde.backends.normals import box_muller

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray

__all__ = ["ars_normals_reference", "ars_singles_reference", "double_normals", "single_normals"]


def ars_normals_reference(
    counter: NDArray[np.uint32], key: tuple[np.uint32, np.uint32]
) -> FloatArray:
    """Return the two standard normals of many blocks, from NumPy's own log, sin and cos.

    Parameters
    ----------
    counter : (..., 4) uint32
        Addresses.
    key : two uint32
        Key words.

    Returns
    -------
    (..., 2) float64
        What :func:`~fracsde.backends.lane_normals.fill_lanes` writes as float64, to rounding.
    """
    return double_normals(ars4x32_reference(counter, key))


def ars_singles_reference(
    counter: NDArray[np.uint32], key: tuple[np.uint32, np.uint32]
) -> FloatArray:
    """Return the four single-precision normals of many blocks, before they are rounded.

    Parameters
    ----------
    counter : (..., 4) uint32
        Addresses.
    key : two uint32
        Key words.

    Returns
    -------
    (..., 4) float64
        What :func:`~fracsde.backends.lane_normals.fill_lanes` writes as float32, to rounding.
    """
    return single_normals(ars4x32_reference(counter, key))


def double_normals(words: NDArray[np.uint32]) -> FloatArray:
    """Return the two normals of the four words of many blocks.

    Parameters
    ----------
    words : (..., 4) uint32
        Of each block.

    Returns
    -------
    (..., 2) float64
    """
    pairs = np.ascontiguousarray(words, dtype="<u4").view("<u8")
    u = 1.0 - (pairs[..., 0] >> np.uint64(12)) * 2.0**-52
    n = (pairs[..., 1] >> np.uint64(62)).astype(np.float64)
    x = ((pairs[..., 1] << np.uint64(2)) >> np.uint64(12)) * 2.0**-52 - 0.5
    return box_muller(u, n, x)


def single_normals(words: NDArray[np.uint32]) -> FloatArray:
    """Return the four normals of the four words of many blocks, before they are rounded.

    Parameters
    ----------
    words : (..., 4) uint32
        Of each block.

    Returns
    -------
    (..., 4) float64
    """
    u = words[..., 0::2].astype(np.float32) * np.float32(2.0**-32) + np.float32(2.0**-33)
    n = (words[..., 1::2] >> np.uint32(30)).astype(np.float64)
    x = ((words[..., 1::2] << np.uint32(2)) >> np.uint32(9)) * 2.0**-23 - 0.5
    return box_muller(u.astype(np.float64), n, x).reshape(*words.shape)

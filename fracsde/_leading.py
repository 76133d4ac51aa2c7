"""The directions along which a run of all weights is looked at, unless told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh

if TYPE_CHECKING:
    from fracsde._typing import BoolArray, FloatArray

__all__ = ["LEADING", "leading", "moving", "upright"]

LEADING = 20
"""Leading eigenvectors of the Hessian."""

_STILL = 1e-13  # noise along a direction over the largest, below which it is rounding


def leading(H: FloatArray, C: FloatArray) -> tuple[FloatArray, tuple[str, ...], str]:
    """Return leading eigenvectors along which something moves.

    Redundant weights, such as those of a softmax, are held by a weight decay alone and have no
    noise: nothing moves along them, and nothing can be compared.

    Parameters
    ----------
    H, C : (P, P) ndarray of float64
        Hessian, and covariance of the gradient of one example.

    Returns
    -------
    vectors : (P, p) ndarray of float64
        One per column, the stiffest first; all of them where there is no noise at all.
    labels : tuple of str
        Numbered from ``"e1"``, those that are left out counted.
    about : str
        What they are.
    """
    k = min(len(H), LEADING)
    _, vectors = eigh(H, subset_by_index=[len(H) - k, len(H) - 1])
    V = upright(vectors[:, ::-1])
    labels = np.array([f"e{i + 1}" for i in range(k)])
    about = f"the {k} leading eigenvectors of the curvature, e1 the stiffest"
    moves = moving(np.einsum("ij,ij->j", V, C @ V))
    if not moves.all():
        about += f"; without {', '.join(labels[~moves])}, along which there is no noise"
        V, labels = V[:, moves], labels[moves]
    return V, tuple(labels.tolist()), about


def moving(noise: FloatArray) -> BoolArray:
    """Return along which directions there is more noise than rounding, or all where along none.

    Returns
    -------
    (p,) ndarray of bool
    """
    moves = noise > _STILL * noise.max(initial=0.0)
    return moves if moves.any() else np.ones_like(moves)


def upright(vectors: FloatArray) -> FloatArray:
    """Return columns with their largest entry positive: the same ones another time.

    Returns
    -------
    ndarray
    """
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    return np.ascontiguousarray(vectors * np.where(largest < 0.0, -1.0, 1.0))

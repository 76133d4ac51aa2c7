"""Standard damages for negative twins: small wrongs a sharp test must reject."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


def newest_weight(weights: np.ndarray, factor: float = 1.01) -> np.ndarray:
    """One per cent too much on the newest weight."""
    damaged = np.array(weights)
    damaged[..., -1] *= factor
    return damaged


def one_sign(array: np.ndarray) -> np.ndarray:
    """The sign of the largest entry flipped."""
    damaged = np.array(array)
    flat = damaged.reshape(-1)
    flat[np.argmax(np.abs(flat))] *= -1
    return damaged


def transposed(matrix: np.ndarray) -> np.ndarray:
    """The transpose, as from a convention mixed up."""
    return np.array(matrix.T)


def square_root_for_square(noise: np.ndarray) -> np.ndarray:
    """The square root of a noise covariance in its place."""
    values, vectors = np.linalg.eigh(noise)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def off_by_one(function: Callable[[int], Any]) -> Callable[[int], Any]:
    """A sequence shifted by one place."""
    return lambda n: function(n - 1)

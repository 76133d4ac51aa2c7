"""Solutions by eigenvectors, made from what an operator hands out and nothing else of fracsde."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import eigh

from tests.support.exact import half_order_relaxation


def half_order_densities(generator: Any, masses: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Densities at the points for ``alpha = 1/2``, from the symmetric matrix of an operator."""
    H, log_scale = generator.symmetric_matrix()
    scale = np.exp(log_scale)
    rates, vectors = eigh(H, driver="evd")
    decay = half_order_relaxation(np.sqrt(times)[:, None] * np.maximum(rates, 0.0))
    return scale * ((decay * (vectors.T @ (masses / scale))) @ vectors.T) / generator.widths

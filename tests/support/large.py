"""Problems small enough to be solved densely, given as large ones are."""

from __future__ import annotations

from typing import Any

import numpy as np

from fracsde.problems.matrix_free import MatrixFreeOU, MatrixFreeSGD
from fracsde.problems.products import LowRankPlusDiagonal
from fracsde.stationary import stationary_covariance

# Laws by name: momentum and learning rate, the last two near their limits of 2 and 3.8.
LAWS: dict[str, dict[str, float]] = {
    "flow": {"learning_rate": 0.3},
    "map": {"learning_rate": 0.3},
    "heavy ball": {"learning_rate": 0.3, "momentum": 0.8},
    "map near its limit": {"learning_rate": 1.9},
    "heavy ball near its limit": {"learning_rate": 3.6, "momentum": 0.9},
}
NOISES = ("factor", "factor and diagonal", "products", "commuting")


def turned(d: int, *, condition: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a matrix with eigenvalues from 1 down to 1 / condition, and its eigenvectors."""
    V = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    H = (V * np.geomspace(1.0, 1.0 / condition, d)) @ V.T
    return 0.5 * (H + H.T), V


def problem(
    law: str,
    noise: str = "factor",
    *,
    d: int = 80,
    condition: float = 100.0,
    seed: int = 0,
    bounded: bool = True,
    **changes: Any,
) -> MatrixFreeSGD | MatrixFreeOU:
    """Return a problem with the curvature of :func:`turned`."""
    rng = np.random.default_rng(seed + 1)
    H, V = turned(d, condition=condition, seed=seed)
    factor, diagonal = rng.normal(size=(d, 3)), rng.uniform(size=d)
    full = factor @ factor.T + np.diag(diagonal)
    given = {
        "factor": LowRankPlusDiagonal(factor=factor),
        "factor and diagonal": LowRankPlusDiagonal(factor=factor, diagonal=diagonal),
        "products": lambda x: full @ x,
        "commuting": (V * diagonal) @ V.T,
    }
    fields: dict[str, Any] = {
        "hessian": H,
        "gradient_noise": given[noise],
        "batch_size": 4,
        "hessian_bounds": (1.0 / condition, 1.0) if bounded else None,
        **LAWS[law],
        **changes,
    }
    sgd = MatrixFreeSGD(**fields)
    return sgd.flow() if law == "flow" else sgd


def exact(process: MatrixFreeSGD | MatrixFreeOU) -> np.ndarray:
    """Return the stationary covariance of the weights by dense solvers."""
    return stationary_covariance(process.dense()).matrix


def curvature(process: MatrixFreeSGD | MatrixFreeOU) -> np.ndarray:
    """Return curvature or drift, written down, weight decay included."""
    dense = process.dense()
    if isinstance(process, MatrixFreeOU):
        return dense.drift
    return dense.hessian + process.weight_decay * np.eye(process.dimension)

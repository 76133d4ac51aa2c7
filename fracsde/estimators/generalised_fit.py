r"""Least squares of a curve against the mean over chains, its errors, and a test of its shape.

.. math::
    \chi^2 = R\, (\bar x - m(\theta))^T S^{-1} (\bar x - m(\theta))

with the covariance :math:`S` of the chains' curves, whitened by its Cholesky factor.

Not here: the curves (:mod:`fracsde.estimators.relaxation`,
:mod:`fracsde.estimators.moment_curves`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["CurveModel", "jackknife", "minimise", "misfit_p_value"]

_CONTRASTS = 5  # smooth residuals that are tested
_MAX_STEPS = 60


class CurveModel(Protocol):
    """A curve with parameters and derivatives."""

    def values(self, theta: FloatArray) -> FloatArray:
        """Return the curve."""

    def jacobian(self, theta: FloatArray) -> FloatArray:
        """Return its derivatives, one column per parameter."""

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return the lowest and highest parameters."""

    def scan(self, mean: FloatArray, whiten: FloatArray) -> FloatArray:
        """Return parameters to start from."""


def minimise(model: CurveModel, mean: FloatArray, whiten: FloatArray) -> FloatArray:
    """Return the parameters of least squares.

    Levenberg-Marquardt with a parameter held at a bound while the descent points outwards, so
    that a boundary solution lies on the boundary and not near it.

    Returns
    -------
    (parameter,) ndarray of float64
    """
    theta, damping = model.scan(mean, whiten), 1e-3
    low, high = model.bounds()
    rest = whiten @ (mean - model.values(theta))
    for _ in range(_MAX_STEPS):
        slope = whiten @ model.jacobian(theta)
        descent = slope.T @ rest
        free = ~(((theta >= high) & (descent > 0)) | ((theta <= low) & (descent < 0)))
        normal = slope[:, free].T @ slope[:, free]
        scale = np.diag(normal.diagonal() + 1e-14 * normal.trace())
        for _ in range(_MAX_STEPS):
            damped = normal + damping * scale
            step = np.zeros_like(theta)
            step[free] = np.linalg.solve(damped, descent[free])
            trial = np.clip(theta + step, low, high)
            left = whiten @ (mean - model.values(trial))
            settled = bool(np.all(np.abs(trial - theta) <= 1e-9 * (1.0 + np.abs(theta))))
            if settled or left @ left <= rest @ rest:
                break
            damping *= 4.0
        theta, rest, damping = trial, left, damping / 8.0
        if settled:
            break
    return theta


def jackknife(jacobian: FloatArray, gap: FloatArray, miss: FloatArray, kept: float) -> FloatArray:
    """Return the parameters' changes when each chain leaves mean and weights.

    In whitened coordinates the covariance loses a rank-one part, its inverse gains one.

    Returns
    -------
    (chain, parameter) ndarray of float64
    """
    chains = gap.shape[1]
    lost = kept * chains / (chains - 1.0) ** 2 / chains
    lengths = np.minimum(lost * np.einsum("tr,tr->r", gap, gap), 0.9)
    gain = lost / (1.0 - lengths)
    along = jacobian.T @ gap
    normal = jacobian.T @ jacobian + gain[:, None, None] * np.einsum("pr,qr->rpq", along, along)
    residual = miss[:, None] - gap / (chains - 1.0)
    descent = jacobian.T @ residual + gain * np.einsum("tr,tr->r", gap, residual) * along
    size = np.sqrt(np.einsum("rpp->rp", normal))
    scaled = normal / size[:, :, None] / size[:, None, :]
    ridge = 1e-12 * np.eye(scaled.shape[1])
    steps = np.linalg.solve(scaled + ridge, (descent.T / size)[:, :, None])[:, :, 0] / size
    return np.asarray(steps, dtype=np.float64)


def misfit_p_value(
    model: CurveModel, theta: FloatArray, x: FloatArray, jacobian: FloatArray
) -> float:
    """Return the p-value of Hotelling's test that smooth contrasts of residuals average to zero.

    Returns
    -------
    float [1]
    """
    chains, count = x.shape
    spread = x.std(axis=0, ddof=1)
    tangents = jacobian.shape[1]
    contrasts = min(_CONTRASTS, count - tangents, chains // 4)
    place = np.linspace(-1.0, 1.0, count)
    smooth = np.polynomial.legendre.legvander(place, contrasts + tangents - 1)
    tangent = np.linalg.qr(jacobian / spread[:, None])[0]
    away = np.linalg.qr(smooth - tangent @ (tangent.T @ smooth))
    order = np.argsort(-np.abs(away[1].diagonal()))[:contrasts]
    seen = (x - model.values(theta)) / spread @ away[0][:, np.sort(order)]
    mean, covariance = seen.mean(axis=0), np.atleast_2d(np.cov(seen, rowvar=False))
    squared = chains * mean @ np.linalg.solve(covariance, mean)
    ratio = squared * (chains - contrasts) / (contrasts * (chains - 1.0))
    return float(stats.f.sf(ratio, contrasts, chains - contrasts))

r"""One step of the homogeneous recursion, applied to many vectors with independent matrices.

.. math::
    v' = \mu v - \eta\,(H_B + \lambda I)\,w, \qquad w' = w + v', \qquad
    H_B = \frac1B \sum_{i=1}^B a_i a_i^T ,

on states :math:`(w, v)`, or ``w`` alone without momentum.  For Gaussian inputs of covariance
:math:`A = \operatorname{diag}(\sigma^2)` the product needs no batch: with
:math:`u = A^{1/2} w` and its direction :math:`\hat u`,

.. math::
    B H_B w = A^{1/2}\,|u|\,\bigl(R\,\hat u + \sqrt R\,n\bigr), \qquad R \sim \chi^2_B,

where ``n`` is a standard Gaussian vector across :math:`\hat u`.  High moments of the product live
on rare large ``R``; half of them are therefore drawn from :math:`\chi^2_{B+2s}`, the law tilted by
:math:`R^s`, and weighed by the ratio of the densities, which is at most 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import gammaln

from fracsde._tails.batches import drawn_batches
from fracsde.errors import NotFiniteError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

__all__ = ["BatchStep", "GaussianStep", "MatrixStep", "drawn_matrices"]


def _moved(
    vectors: FloatArray, pull: FloatArray, rate: float, ridge: float, momentum: float
) -> FloatArray:
    # ``pull`` is H_B w; the first half of a state is the weights.
    d = pull.shape[1]
    w = vectors[:, :d]
    change = -rate * (pull + ridge * w)
    if vectors.shape[1] == d:
        return w + change
    change += momentum * vectors[:, d:]
    return np.concatenate([w + change, change], axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianStep:
    """Least squares with Gaussian inputs of the given spectrum."""

    spectrum: FloatArray
    rate: float
    batch: int
    ridge: float
    momentum: float

    def __call__(
        self, rng: np.random.Generator, vectors: FloatArray, s: float
    ) -> tuple[FloatArray, FloatArray]:
        """Move the vectors.

        Returns
        -------
        (n, states) float64, (n,) float64
        """
        d, scale = len(self.spectrum), np.sqrt(self.spectrum)
        u = vectors[:, :d] * scale
        length = np.linalg.norm(u, axis=1, keepdims=True)
        unit = u / np.maximum(length, np.finfo(np.float64).tiny)
        tilted = rng.random(len(u)) < 0.5 if s > 0.0 else np.zeros(len(u), dtype=np.bool_)
        R = rng.chisquare(self.batch + 2.0 * s * tilted)[:, None]
        across = rng.standard_normal(u.shape)
        across -= np.sum(across * unit, axis=1, keepdims=True) * unit
        pull = scale * length * (R * unit + np.sqrt(R) * across) / self.batch
        moved = _moved(vectors, pull, self.rate, self.ridge, self.momentum)
        if s == 0.0:
            return moved, np.zeros(len(u))
        # The tilted density over the plain one.
        log_ratio = s * np.log(0.5 * R[:, 0]) + gammaln(0.5 * self.batch)
        log_ratio -= gammaln(0.5 * self.batch + s)
        return moved, -np.logaddexp(np.log(0.5), np.log(0.5) + log_ratio)


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchStep:
    """Least squares on a finite data set."""

    inputs: FloatArray
    rate: float
    batch: int
    ridge: float
    momentum: float
    replace: bool

    def __call__(
        self, rng: np.random.Generator, vectors: FloatArray, _: float
    ) -> tuple[FloatArray, float]:
        """Move the vectors.

        Returns
        -------
        (n, states) float64, float
        """
        N, d = self.inputs.shape
        pull = np.empty((len(vectors), d))
        part = max(1, (1 << 20) // (self.batch * d))
        for start in range(0, len(vectors), part):
            w = vectors[start : start + part, :d]
            rows = self.inputs[drawn_batches(rng, len(w), N, self.batch, replace=self.replace)]
            along = np.einsum("nbd,nd->nb", rows, w)
            pull[start : start + part] = np.einsum("nbd,nb->nd", rows, along) / self.batch
        return _moved(vectors, pull, self.rate, self.ridge, self.momentum), 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class MatrixStep:
    """Matrices of any law."""

    sampler: Callable[[np.random.Generator, int], Any]
    dimension: int

    def __call__(
        self, rng: np.random.Generator, vectors: FloatArray, _: float
    ) -> tuple[FloatArray, float]:
        """Move the vectors.

        Returns
        -------
        (n, states) float64, float
        """
        matrices = drawn_matrices(self.sampler, rng, len(vectors), self.dimension)
        return np.asarray(np.einsum("nij,nj->ni", matrices, vectors), dtype=np.float64), 0.0


def drawn_matrices(
    sampler: Callable[[np.random.Generator, int], Any],
    rng: np.random.Generator,
    size: int,
    dimension: int,
) -> FloatArray:
    """Draw from a caller's sampler and check what it returns.

    Returns
    -------
    (size, dimension, dimension) float64

    Raises
    ------
    ShapeError
        If the shape is not ``(size,)`` for numbers or ``(size, d, d)`` for matrices.
    NotFiniteError
        If an entry is NaN or infinite.
    """
    drawn = np.asarray(sampler(rng, size))
    wanted = [(size, dimension, dimension)] + ([(size,)] if dimension == 1 else [])
    if drawn.shape not in wanted or drawn.dtype.kind not in "iuf":
        msg = (
            f"`sampler(rng, {size})` must return real numbers of shape "
            f"{' or '.join(map(str, wanted))}, got {drawn.dtype} of shape {drawn.shape}"
        )
        raise ShapeError(msg)
    if not np.isfinite(drawn).all():
        msg = f"`sampler(rng, {size})` must return finite numbers, got NaN or infinity"
        raise NotFiniteError(msg)
    return np.asarray(drawn, dtype=np.float64).reshape(size, dimension, dimension)

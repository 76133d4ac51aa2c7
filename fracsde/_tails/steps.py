r"""One step of the homogeneous recursion, applied to many vectors with independent matrices.

SGD on quadratic losses, in the modes ``z`` of :mod:`fracsde.problems.second_moments` and about its
minimum, moves by the rule of :mod:`fracsde.problems.sgd_steps` with the pull of a batch,
:math:`\eta\,(H_B + \lambda W^T W)\,z`.  For Gaussian inputs of covariance :math:`A` the product
needs no batch: with :math:`u = A^{1/2} z` and its direction :math:`\hat u`,

.. math::
    B H_B z = A^{1/2}\,|u|\,\bigl(R\,\hat u + \sqrt R\,n\bigr), \qquad R \sim \chi^2_B,

where ``n`` is a standard Gaussian vector across :math:`\hat u`.  High moments of the product live
on rare large ``R``; half of them are therefore drawn from :math:`\chi^2_{B+2s}`, the law tilted by
:math:`R^s`, and weighed by the ratio of the densities, which is at most 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy.special import gammaln

from fracsde._tails.batches import drawn_batches
from fracsde.errors import NotFiniteError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray, IntArray
    from fracsde.problems.sgd_steps import StepRule

__all__ = ["BatchPull", "GaussianPull", "MatrixStep", "Pull", "QuadraticStep", "drawn_matrices"]

_PART = 1 << 20  # numbers gathered at a time


class Pull(Protocol):
    """Products of batches' Hessians with vectors."""

    def __call__(
        self, rng: np.random.Generator, z: FloatArray, s: float
    ) -> tuple[FloatArray, FloatArray | float]:
        """Return ``(n, r)`` products, and log ratios of likelihoods for :func:`growth`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class QuadraticStep:
    """SGD on quadratic losses: a rule, and how a batch pulls.

    Parameters
    ----------
    pull : Pull
        ``H_B z``.
    decay : (r, r) float64 [loss/weight^2]
        ``lambda W^T W``.
    rate : float [weight^2/loss]
        ``eta``.
    rule : StepRule
        How a gradient becomes a step.
    """

    pull: Pull
    decay: FloatArray
    rate: float
    rule: StepRule

    def __call__(
        self, rng: np.random.Generator, vectors: FloatArray, s: float
    ) -> tuple[FloatArray, FloatArray | float]:
        """Move states (weights, velocities).

        Returns
        -------
        (n, states) float64, (n,) float64 or float
        """
        r = len(self.decay)
        z, velocity = vectors[:, :r], vectors[:, r:]
        product, log_ratio = self.pull(rng, z, s)
        change = self.rate * (product + z @ self.decay)
        if not self.rule.has_velocity:
            return z - change, log_ratio
        a, b, c = self.rule.gains
        moved = z - a * change + b * velocity
        return np.concatenate(
            [moved, self.rule.momentum * velocity - c * change], axis=1
        ), log_ratio


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianPull:
    """Least squares with Gaussian inputs; ``root`` is ``A^(1/2)``, symmetric."""

    root: FloatArray
    batch: int

    def __call__(
        self, rng: np.random.Generator, z: FloatArray, s: float
    ) -> tuple[FloatArray, FloatArray | float]:
        """Multiply batches' Hessians.

        Returns
        -------
        (n, r) float64, (n,) float64 or float
        """
        u = z @ self.root
        length = np.linalg.norm(u, axis=1, keepdims=True)
        unit = u / np.maximum(length, np.finfo(np.float64).tiny)
        tilted = rng.random(len(u)) < 0.5 if s > 0.0 else np.zeros(len(u), dtype=np.bool_)
        R = rng.chisquare(self.batch + 2.0 * s * tilted)[:, None]
        across = rng.standard_normal(u.shape)
        across -= np.sum(across * unit, axis=1, keepdims=True) * unit
        product = (length * (R * unit + np.sqrt(R) * across)) @ self.root / self.batch
        if s == 0.0:
            return product, 0.0
        # The tilted density over the plain one.
        log_ratio = s * np.log(0.5 * R[:, 0]) + gammaln(0.5 * self.batch)
        log_ratio -= gammaln(0.5 * self.batch + s)
        return product, -np.logaddexp(np.log(0.5), np.log(0.5) + log_ratio)


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchPull:
    """Finitely many examples with Hessians ``F_n^T diag(signs_n) F_n``, or whole ones.

    Parameters
    ----------
    factors : (N, k, r) float64 or None
        Rows of the factors.
    signs : (N, k) float64 or None
        Their weights, one by default.
    hessians : (N, r, r) float64 or None
        In place of factors.
    batch : int
        ``B``.
    replace : bool
        How batches are drawn.
    """

    factors: FloatArray | None
    signs: FloatArray | None
    hessians: FloatArray | None
    batch: int
    replace: bool

    def __call__(
        self, rng: np.random.Generator, z: FloatArray, s: float
    ) -> tuple[FloatArray, float]:
        """Multiply batches' Hessians.

        Returns
        -------
        (n, r) float64, float
        """
        held = self.factors if self.hessians is None else self.hessians
        assert held is not None  # one of the two is given
        product = np.empty_like(z)
        part = max(1, _PART // (self.batch * held[0].size))
        for start in range(0, len(z), part):
            some = slice(start, start + part)
            batch = drawn_batches(rng, len(z[some]), len(held), self.batch, replace=self.replace)
            product[some] = self._mean(held, batch, z[some])
        return product, 0.0

    def _mean(self, held: FloatArray, batch: IntArray, z: FloatArray) -> FloatArray:
        rows = held[batch]
        along = np.einsum("nbkr,nr->nbk", rows, z)
        if self.hessians is not None:
            return np.asarray(along.mean(axis=1))
        if self.signs is not None:
            along *= self.signs[batch]
        return np.asarray(np.einsum("nbkr,nbk->nr", rows, along) / self.batch)


@dataclass(frozen=True, kw_only=True, eq=False)
class MatrixStep:
    """Matrices of any law."""

    sampler: Callable[[np.random.Generator, int], Any]
    dimension: int

    def __call__(
        self, rng: np.random.Generator, vectors: FloatArray, s: float
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

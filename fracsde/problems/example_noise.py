r"""How the gradients of single examples scatter where every loss is quadratic.

The gradient of example ``n`` at :math:`w = w^* + u` is affine, :math:`g_n + H_n u`.  Its
covariance over the examples, averaged over states with :math:`\mathrm{E}u = m` and
:math:`\mathrm{E}uu^T = S`, is

.. math::
    C + \mathcal V(S) + \mathcal W(m), \qquad
    \mathcal V(S) = \frac1N\sum_n H_n S H_n - H S H,

.. math::
    C = \frac1N\sum_n g_n g_n^T - \bar g \bar g^T, \qquad
    \mathcal W(m) = \frac1N\sum_n (H_n m\,g_n^T + g_n m^T H_n)
    - H m\,\bar g^T - \bar g\,m^T H .

:math:`\mathcal V` maps positive matrices to positive ones and is its own adjoint; ``W`` matters
only while the mean is on its way.  Three ways to hold the examples: factors
:math:`H_n = F_n\operatorname{diag}(\sigma_n)F_n^T` (least squares has one column), full matrices,
and the law of Gaussian inputs :math:`x \sim N(0, A)` with residuals
:math:`\epsilon + x\cdot(\delta - u)`,

.. math::
    C = s^2 A + A\delta\delta^T A + (\delta^T A\delta) A, \qquad
    \mathcal V(S) = A S A + \operatorname{Tr}(A S)\,A .

Sums over examples run in blocks, so that no intermediate is much larger than a matrix of the
weights.

Not here: batches and steps (:mod:`fracsde.problems.second_moments`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fracsde._typing import FloatArray

__all__ = ["ExampleNoise", "FactorNoise", "GaussianInputNoise", "HessianNoise"]

# Numbers in one block of an intermediate, unless a matrix of the weights holds more.
_BLOCK = 2**16


class ExampleNoise(Protocol):
    """Covariance of one example's gradient, as a function of the state's first two moments."""

    def at_minimum(self) -> FloatArray:
        """Return ``C``."""

    def spread(self, S: FloatArray) -> FloatArray:
        """Return ``V(S)`` for symmetric ``S``."""

    def lean(self, m: FloatArray) -> FloatArray:
        """Return ``W(m)``."""

    def in_basis(self, W: FloatArray) -> ExampleNoise:
        """Return the same in coordinates ``z`` of ``w = w* + W z``, gradients as ``W^T g``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FactorNoise:
    """Examples whose Hessians have few directions.

    Parameters
    ----------
    factors : (N, k, d) float64
        Rows ``F_n^T``.
    signs : (N, k) float64 or None
        Weights of the rows, one by default.
    gradients : (N, d) float64
        At the minimum.
    """

    factors: FloatArray
    signs: FloatArray | None
    gradients: FloatArray

    def at_minimum(self) -> FloatArray:
        """Return ``C``.

        Returns
        -------
        (d, d) float64
        """
        return _covariance(self.gradients)

    def hessian(self) -> FloatArray:
        """Return the mean Hessian.

        Returns
        -------
        (d, d) float64
        """
        N, _, d = self.factors.shape
        total = np.zeros((d, d))
        for block in self._blocks():
            rows = self.factors[block]
            total += rows.reshape(-1, d).T @ self._signed(rows, block).reshape(-1, d)
        return np.asarray(total / N)

    def spread(self, S: FloatArray) -> FloatArray:
        """Return ``V(S)`` for symmetric ``S``.

        Returns
        -------
        (d, d) float64
        """
        N, _, d = self.factors.shape
        total, mean = np.zeros((d, d)), np.zeros((d, d))
        for block in self._blocks():
            rows = self.factors[block]
            signed = self._signed(rows, block)
            inner = np.einsum("nad,nbd->nab", (rows.reshape(-1, d) @ S).reshape(rows.shape), rows)
            flat = signed.reshape(-1, d)
            total += flat.T @ np.einsum("nab,nbd->nad", inner, signed).reshape(-1, d)
            mean += rows.reshape(-1, d).T @ flat
        mean /= N
        return _even(total / N - mean @ S @ mean)

    def lean(self, m: FloatArray) -> FloatArray:
        """Return ``W(m)``.

        Returns
        -------
        (d, d) float64
        """
        pulls = np.empty_like(self.gradients)
        for block in self._blocks():
            rows = self.factors[block]
            pulls[block] = np.einsum("na,nad->nd", rows @ m, self._signed(rows, block))
        return _lean(pulls, self.gradients)

    def in_basis(self, W: FloatArray) -> FactorNoise:
        """Return the same in coordinates ``z`` of ``w = w* + W z``.

        Returns
        -------
        FactorNoise
        """
        return FactorNoise(factors=self.factors @ W, signs=self.signs, gradients=self.gradients @ W)

    def _signed(self, rows: FloatArray, block: slice) -> FloatArray:
        return rows if self.signs is None else self.signs[block][:, :, None] * rows

    def _blocks(self) -> Iterator[slice]:
        N, k, d = self.factors.shape
        return _blocks(N, k * d, d)


@dataclass(frozen=True, kw_only=True, eq=False)
class HessianNoise:
    """Examples given by their whole Hessians.

    Parameters
    ----------
    hessians : (N, d, d) float64
        Symmetric.
    gradients : (N, d) float64
        At the minimum.
    """

    hessians: FloatArray
    gradients: FloatArray

    def at_minimum(self) -> FloatArray:
        """Return ``C``.

        Returns
        -------
        (d, d) float64
        """
        return _covariance(self.gradients)

    def hessian(self) -> FloatArray:
        """Return the mean Hessian.

        Returns
        -------
        (d, d) float64
        """
        return np.asarray(self.hessians.mean(axis=0))

    def spread(self, S: FloatArray) -> FloatArray:
        """Return ``V(S)`` for symmetric ``S``.

        Returns
        -------
        (d, d) float64
        """
        N, d, _ = self.hessians.shape
        total = np.zeros((d, d))
        for block in _blocks(N, d * d, d):
            some = self.hessians[block]
            pushed = (some.reshape(-1, d) @ S).reshape(some.shape)
            total += np.einsum("nij,njk->ik", pushed, some, optimize=True)
        mean = self.hessian()
        return _even(total / N - mean @ S @ mean)

    def lean(self, m: FloatArray) -> FloatArray:
        """Return ``W(m)``.

        Returns
        -------
        (d, d) float64
        """
        return _lean(self.hessians @ m, self.gradients)

    def in_basis(self, W: FloatArray) -> HessianNoise:
        """Return the same in coordinates ``z`` of ``w = w* + W z``.

        Returns
        -------
        HessianNoise
        """
        return HessianNoise(
            hessians=np.asarray(W.T @ self.hessians @ W), gradients=self.gradients @ W
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianInputNoise:
    """Endless fresh examples of a linear model with Gaussian inputs.

    Parameters
    ----------
    covariance : (d, d) float64
        ``A``, of the inputs.
    label_noise : float
        ``s``, the standard deviation of a label.
    gap : (d,) float64
        ``delta``, true weights less minimum: what a ridge leaves.
    """

    covariance: FloatArray
    label_noise: float
    gap: FloatArray

    def at_minimum(self) -> FloatArray:
        """Return ``C``.

        Returns
        -------
        (d, d) float64
        """
        A = self.covariance
        return (self.label_noise * self.label_noise) * A + self.spread(np.outer(self.gap, self.gap))

    def spread(self, S: FloatArray) -> FloatArray:
        """Return ``V(S)`` for symmetric ``S``.

        Returns
        -------
        (d, d) float64
        """
        A = self.covariance
        return _even(A @ S @ A + np.sum(A * S) * A)

    def lean(self, m: FloatArray) -> FloatArray:
        """Return ``W(m)``.

        Returns
        -------
        (d, d) float64
        """
        both = np.outer(self.gap, m)
        return -self.spread(both + both.T)

    def in_basis(self, W: FloatArray) -> GaussianInputNoise:
        """Return the same in coordinates ``z`` of ``w = w* + W z``.

        Returns
        -------
        GaussianInputNoise
        """
        return GaussianInputNoise(
            covariance=_even(W.T @ self.covariance @ W),
            label_noise=self.label_noise,
            # What lies outside the columns of W meets no input.
            gap=np.asarray(np.linalg.lstsq(W, self.gap, rcond=None)[0], dtype=np.float64),
        )


def _blocks(count: int, each: int, d: int) -> Iterator[slice]:
    step = max(1, max(_BLOCK, d * d) // max(each, 1))
    return (slice(start, start + step) for start in range(0, count, step))


def _covariance(gradients: FloatArray) -> FloatArray:
    centred = gradients - gradients.mean(axis=0)
    return _even(centred.T @ centred / len(gradients))


def _lean(pulls: FloatArray, gradients: FloatArray) -> FloatArray:
    product = (pulls - pulls.mean(axis=0)).T @ gradients / len(gradients)
    return np.asarray(product + product.T)


def _even(array: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (array + array.T))

"""A quadratic loss whose Hessian and whose noise are chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class QuadraticLoss:
    """Examples have the losses ``(w - m) H (w - m) / 2 + b_i . (w - m)``.

    The mean of ``b`` is the gradient at ``m``, their covariance (divisor N) the noise everywhere.
    """

    H: np.ndarray
    shifts: np.ndarray  # (N, P)
    centre: float | np.ndarray = 0.0

    @property
    def parameters(self) -> int:
        return len(self.H)

    @property
    def examples(self) -> int:
        return len(self.shifts)

    @property
    def noise(self) -> np.ndarray:
        return np.cov(self.shifts.T, bias=True).reshape(self.H.shape)

    def loss(self, w):
        return self.loss_and_gradient(w)[0]

    def gradient(self, w):
        return self.loss_and_gradient(w)[1]

    def loss_and_gradient(self, w):
        x, b = np.asarray(w) - self.centre, self.shifts.mean(axis=0)
        return float(0.5 * x @ self.H @ x + b @ x), self.H @ x + b

    def per_example_gradients(self, w, examples=None):
        rows = self.shifts if examples is None else self.shifts[examples]
        return self.H @ (np.asarray(w) - self.centre) + rows

    def hessian_vector_product(self, w, v):
        return self.H @ v

    def hessian(self, w):
        return self.H.copy()

    def gauss_newton_product(self, w, v):
        return self.H @ v


def with_eigenvalues(eigenvalues, seed, *, examples=8, noise=1.0) -> QuadraticLoss:
    """A loss whose Hessian has the given eigenvalues in random directions."""
    rng = np.random.default_rng(seed)
    size = len(eigenvalues)
    U, _ = np.linalg.qr(rng.standard_normal((size, size)))
    H = (U * np.asarray(eigenvalues)) @ U.T
    return QuadraticLoss(H=0.5 * (H + H.T), shifts=noise * rng.standard_normal((examples, size)))

r"""How a symmetric curvature turns noise into variance: flow, map and heavy ball in one equation.

With :math:`A = A^T` the stationary covariance of the flow, of SGD's map and of heavy ball all solve

.. math::
    \mathcal{L}\,\Sigma := \alpha\,(A\Sigma + \Sigma A) - c\,A\Sigma A
        + m\,(A^2\Sigma + \Sigma A^2) = N,

==========  ===================  ===================================  =========================
law         :math:`\alpha`       :math:`c`                            :math:`m`
==========  ===================  ===================================  =========================
flow        1                    0                                    0
map         :math:`\eta`         :math:`\eta^2`                       0
heavy ball  :math:`\eta(1-\mu)`  :math:`\eta^2(1+\mu^2)/(1-\mu^2)`   :math:`\eta^2\mu/(1-\mu^2)`
==========  ===================  ===================================  =========================

with :math:`N = \eta^2 Q` for SGD; the last line is in [Liu2021]_.  In the eigenvectors of ``A``

.. math::
    \Sigma_{ij} = \frac{N_{ij}}{\alpha(a_i + a_j) - c\,a_i a_j + m(a_i^2 + a_j^2)},
    \qquad
    \Sigma_{ii} = g(a_i)\,N_{ii}, \quad
    g(a) = \frac{1}{2\alpha\,a\,(1 - a/a_c)}
         = \frac{1}{2\alpha}\Big[\frac1a + \frac1{a_c - a}\Big],
    \quad a_c = \frac{2\alpha}{c - 2m} = \frac{2(1+\mu)}{\eta}.

So the law at a finite rate is the flow and its mirror image from the border of stability, and the
trace of ``Sigma`` times any function of ``A`` needs the diagonal of the noise alone: whether ``A``
and ``N`` commute does not matter to it.

The solution is a sum :math:`\sum_k R_k N R_k^T`, so :math:`\mathcal{L}^{-1}` keeps positive
matrices positive and its norm, in the spectral as in the trace norm, is attained at the identity
([RussoDye1966]_):

.. math:: \|\mathcal{L}^{-1}\| = \max_i g(a_i),

and ``g`` is convex, so the ends of the spectrum decide.  A residual times that is an error bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde.problems.matrix_free import MatrixFreeOU, MatrixFreeSGD

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["Response", "response"]


@dataclass(frozen=True, kw_only=True)
class Response:
    """Coefficients of the equation of this module.

    Parameters
    ----------
    linear, square : float
        ``alpha`` and ``m``.
    border : float
        ``a_c``, the curvature at which the law ceases to exist; infinite for the flow.
    """

    linear: float
    square: float = 0.0
    border: float = float("inf")

    @property
    def bend(self) -> float:
        """Return ``c - 2 m``, free of its cancellation."""
        return 0.0 if np.isinf(self.border) else 2.0 * self.linear / self.border

    def gain(self, a: FloatArray | float) -> FloatArray:
        """Return ``g``, the variance of a mode for each unit of noise.

        Parameters
        ----------
        a : ndarray
            Eigenvalues of ``A``, above 0 and below the border.

        Returns
        -------
        ndarray of float64
        """
        a = np.asarray(a, dtype=np.float64)
        away = 1.0 / (self.border - a)  # 0 for the flow
        return np.asarray((1.0 / a + away) / (2.0 * self.linear))

    def largest_gain(self, low: float, high: float) -> float:
        """Return the largest ``g`` on an interval: the norm of the inverse.

        Parameters
        ----------
        low, high : float
            Bounds on the eigenvalues of ``A``.

        Returns
        -------
        float
            Infinite where the interval reaches a border.
        """
        if low <= 0.0 or high >= self.border:
            return float("inf")
        return float(self.gain(np.array([low, high])).max())

    def pairs(self, a: FloatArray) -> FloatArray:
        """Return the denominators of pairs of modes.

        Parameters
        ----------
        a : (n,) float64
            Eigenvalues of ``A``.

        Returns
        -------
        (n, n) float64
        """
        total, apart = np.add.outer(a, a), np.subtract.outer(a, a)
        bent = self.bend * np.multiply.outer(a, a)
        return np.asarray(self.linear * total - bent + self.square * apart**2)

    def apply(self, A: FloatArray, Y: FloatArray) -> FloatArray:
        """Return the left-hand side of the equation.

        Parameters
        ----------
        A, Y : (n, n) float64
            A symmetric matrix each.

        Returns
        -------
        (n, n) float64
        """
        once = A @ Y
        half = self.linear * once - (0.5 * self.bend + self.square) * (once @ A)
        if self.square:
            half = half + self.square * (A @ once)
        return np.asarray(half + half.T)


def response(problem: MatrixFreeOU | MatrixFreeSGD) -> Response:
    """Return the coefficients of a problem's equation.

    Parameters
    ----------
    problem : MatrixFreeOU or MatrixFreeSGD
        SGD stands for its map.

    Returns
    -------
    Response
    """
    if isinstance(problem, MatrixFreeOU):
        return Response(linear=1.0)
    eta, mu = problem.learning_rate, problem.momentum
    return Response(
        linear=eta * (1.0 - mu),
        square=eta**2 * mu / ((1.0 - mu) * (1.0 + mu)),
        border=2.0 * (1.0 + mu) / eta,
    )

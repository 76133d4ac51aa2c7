r"""The linear law that a closure stands for, in modes of the Hessian.

.. math::
    \bar H = \begin{pmatrix} \bar H_{11} & \bar H_{12} \\ \bar H_{21} & H_{22}\end{pmatrix},
    \qquad
    \Sigma_{ij} = \frac{\eta^2 Q_{ij}}{(1-\mu)(k_i + k_j)
        + [\mu (k_i - k_j)^2 - (1-\mu)^2 k_i k_j]/(1-\mu^2)}

with :math:`k_i` the eigenvalues of :math:`\eta\bar H` and ``Q`` the covariance of the noise of one
step, in their eigenvectors; these are the equations of :mod:`fracsde.lyapunov.heavy_ball`, of
which only the blocks that concern the leading modes are formed.

The leading modes alone are not a Markov chain.  The recursion that has their stationary law and
their best linear prediction over one step is, with :math:`x` their state and :math:`X` its
covariance,

.. math::
    T = \mathrm{E}[x'x^T]\,X^{-1}, \qquad \texttt{noise} = X - T X T^T .
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["leading_recursion", "modal_denominators", "stationary_weights"]


def stationary_weights(
    curvature: FloatArray, rest: FloatArray, noise: FloatArray, *, rate: float, momentum: float
) -> tuple[FloatArray, float, float]:
    """Solve for the stationary covariance of the weights.

    Parameters
    ----------
    curvature : (r, k) float64
        Leading columns of the curvature.
    rest : (r - k,) float64
        Diagonal of the other block.
    noise : (r, r) float64
        Covariance of the gradient's noise in one step.
    rate, momentum : float
        Learning rate and momentum.

    Returns
    -------
    sigma : (r, r) float64
    low, high : float
        The extreme eigenvalues of the curvature times the rate; the law is stationary when they lie
        between 0 and ``2 (1 + momentum)``.
    """
    values, E = np.linalg.eigh(rate * _whole(curvature, rest))
    sigma = E @ _modal(values, rate**2 * (E.T @ noise @ E), momentum) @ E.T
    return 0.5 * (sigma + sigma.T), float(values[0]), float(values[-1])


def leading_recursion(
    curvature: FloatArray,
    rest: FloatArray,
    noise: FloatArray,
    *,
    rate: float,
    momentum: float,
    beyond: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return transition and noise of the recursion that the leading modes follow.

    ``beyond`` is the covariance, ``(k, k)``, of the weights with the part of the gradient that is
    not linear.  Without momentum it turns the recursion; with it, ``noise`` alone stands for it.

    Returns
    -------
    transition, noise : (k, k) float64, or (2 k, 2 k) with momentum
    """
    k, mu = curvature.shape[1], momentum
    values, E = np.linalg.eigh(rate * _whole(curvature, rest))
    weights = _modal(values, rate**2 * (E.T @ noise @ E), mu)
    pull, mine = rate * curvature[:k], E[:k]
    other = rate * curvature[k:].T @ E[k:]  # how the rest pulls, from each eigenvector
    sigma = mine @ weights @ mine.T
    beside = other @ weights @ mine.T  # rate * H_12 times the covariance with the leading modes
    if beyond is not None:
        beside += rate * beyond
    if mu == 0.0:
        T = np.eye(k) - pull - beside @ np.linalg.pinv(sigma, hermitian=True)
        return T, _symmetric(sigma - T @ sigma @ T.T)
    lost = (1.0 - mu) * (1.0 + mu)
    cross = weights * (np.subtract.outer(values, values) + (1.0 - mu) * values) / lost
    both = mine @ cross @ mine.T
    velocities = mine @ (weights * np.add.outer(values, values) / (1.0 + mu)) @ mine.T
    X = np.block([[sigma, both], [both.T, velocities]])
    drag = np.hstack([beside, other @ cross @ mine.T])
    keep = mu * np.eye(k)
    T = np.block([[np.eye(k) - pull, keep], [-pull, keep]])
    T -= np.vstack([drag, drag]) @ np.linalg.pinv(X, hermitian=True)
    return T, _symmetric(X - T @ X @ T.T)


def _whole(curvature: FloatArray, rest: FloatArray) -> FloatArray:
    k = curvature.shape[1]
    H = np.zeros((len(curvature),) * 2)
    H[:, :k] = curvature
    H[:k, k:] = curvature[k:].T
    H[np.arange(k, len(H)), np.arange(k, len(H))] = rest
    return H


def modal_denominators(values: FloatArray, mu: float) -> FloatArray:
    """Return what the covariance of the kicks is divided by for that of the weights.

    ``values`` are eigenvalues of the rate times the curvature, and the kicks in their eigenvectors.

    Returns
    -------
    (r, r) float64
    """
    apart = np.subtract.outer(values, values)
    shape = mu * apart**2 - (1.0 - mu) ** 2 * np.multiply.outer(values, values)
    both = (1.0 - mu) * np.add.outer(values, values)
    return np.asarray(both + shape / ((1.0 - mu) * (1.0 + mu)))


def _modal(values: FloatArray, noise: FloatArray, mu: float) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):  # callers look at the eigenvalues
        return np.asarray(noise / modal_denominators(values, mu))


def _symmetric(A: FloatArray) -> FloatArray:
    return 0.5 * (A + A.T)

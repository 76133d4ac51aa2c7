r"""The stationary law of SGD with momentum from the eigenvectors of its curvature alone.

The map of momentum is, with ``a`` and ``b`` of :mod:`fracsde.problems.sgd_steps`,

.. math::
    T = \begin{pmatrix} I - a K & b I \\ -K & \mu I \end{pmatrix}, \qquad
    \texttt{noise} = \begin{pmatrix} a^2 N & a N \\ a N & N \end{pmatrix},

with :math:`K = K^T` (learning rate times curvature).  ``T`` is not symmetric, but in the
eigenvectors of ``K`` its Stein equation falls apart into one small system for each pair of modes.
With :math:`k_i` the eigenvalues of ``K``, :math:`s = k_i + k_j`, :math:`p = k_i k_j` and
:math:`\delta = k_i - k_j`, the heavy ball (:math:`a = 1`, :math:`b = \mu`) has

.. math::
    S_{ij} &= N_{ij} \Big/ \Big[(1-\mu) s
        + \frac{\mu \delta^2 - (1-\mu)^2 p}{1-\mu^2}\Big], \\
    \mathrm{E}[w_i v_j] &= S_{ij}\,\frac{k_i - \mu k_j}{1 - \mu^2}, \qquad
    \mathrm{E}[v_i v_j] = S_{ij}\,\frac{s}{1 + \mu} ,

and Nesterov (:math:`a = 1 + \mu`, :math:`b = \mu^2`), with :math:`\nu = 1 + \mu - \mu^2`,

.. math::
    D_{ij} &= (1-\mu)(1-\mu^2) s + \mu\nu\delta^2 + (1-\mu)(6\mu^2 + 3\mu - 1) p
        + \mu (3\mu^2 - 1) s p - \mu^2 (1 + 2\mu) p^2, \\
    S_{ij} &= N_{ij}\,[1 - \mu^2 + \mu\nu s + \mu^2 (1 + 2\mu) p] / D_{ij}, \\
    \mathrm{E}[w_i v_j] &= N_{ij}\,[\mu^2\delta + (1-\mu)(1 + 2\mu) k_i + \mu (1 + 2\mu) p]
        / D_{ij}, \\
    \mathrm{E}[v_i v_j] &= N_{ij}\,[(1-\mu) s + 2\mu p] / D_{ij} .

The first line is in [Liu2021]_; the others follow by elimination.  The cost is that of a matrix
of half the size, and symmetric.  Dampening only rescales ``K`` and ``N``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde.lyapunov.rounding import EPS, is_symmetric
from fracsde.problems.sgd_steps import StepRule

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.ornstein_uhlenbeck import LinearRecursion

__all__ = ["HeavyBall", "heavy_ball"]


@dataclass(frozen=True, kw_only=True, eq=False)
class HeavyBall:
    """Modes of a map with momentum.

    Parameters
    ----------
    pull : (n,) float64 [1]
        Eigenvalues ``k`` of ``K``.
    basis : (n, n) float64
        Its eigenvectors.
    momentum : float [1]
        ``mu``, inside the unit interval.
    noise : (n, n) float64
        ``N`` in that basis.
    nesterov : bool
        Whether the step looks ahead.
    """

    pull: FloatArray
    basis: FloatArray
    momentum: float
    noise: FloatArray
    nesterov: bool = False

    def eigenvalues(self) -> FloatArray:
        """Return the eigenvalues of the transition, two for each mode.

        Returns
        -------
        (2 n,) complex128
        """
        return np.asarray(1.0 - self._apart())

    def margins(self) -> FloatArray:
        """Return the distance of each eigenvalue inside the unit circle, without cancellation.

        Returns
        -------
        (2 n,) float64
        """
        apart = self._apart()
        # |1 - z|^2 = 1 - 2 Re z + |z|^2, so the distance is free of the subtraction from 1.
        inside = 2.0 * apart.real - np.abs(apart) ** 2
        return np.asarray(inside / (1.0 + np.abs(1.0 - apart)))

    def tolerance(self) -> float:
        """Return what rounding can move a margin by.

        Returns
        -------
        float
        """
        size = len(self.pull) * float(np.abs(self.pull).max())
        return 4.0 * EPS * (1.0 + size / (1.0 - self.momentum))

    def covariance(self) -> FloatArray:
        """Return the stationary covariance of weights and velocities.

        Returns
        -------
        (2 n, 2 n) float64
        """
        V = self.basis
        weights, cross, velocities = self._nesterov() if self.nesterov else self._plain()
        cross = V @ cross @ V.T
        state = np.block([[V @ weights @ V.T, cross], [cross.T, V @ velocities @ V.T]])
        return np.asarray(0.5 * (state + state.T))

    def _plain(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        k, mu = self.pull, self.momentum
        lost = (1.0 - mu) * (1.0 + mu)  # 1 - mu^2 would cancel near mu = 1
        total = np.add.outer(k, k)
        apart = np.subtract.outer(k, k)
        shape = mu * apart**2 - (1.0 - mu) ** 2 * np.multiply.outer(k, k)
        weights = self.noise / ((1.0 - mu) * total + shape / lost)
        # k_i - mu k_j, without its cancellation where k_i = k_j and mu is near 1.
        cross = weights * (apart + (1.0 - mu) * k) / lost
        return weights, cross, weights * total / (1.0 + mu)

    def _nesterov(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        k, mu = self.pull, self.momentum
        lost, ahead = (1.0 - mu) * (1.0 + mu), 1.0 + 2.0 * mu
        s, p = np.add.outer(k, k), np.multiply.outer(k, k)
        apart = np.subtract.outer(k, k)
        bend = mu * (1.0 + mu - mu**2)
        below = (1.0 - mu) * (lost * s + (6.0 * mu**2 + 3.0 * mu - 1.0) * p) + bend * apart**2
        below += mu * p * ((3.0 * mu**2 - 1.0) * s - mu * ahead * p)
        each = self.noise / below
        weights = each * (lost + bend * s + mu**2 * ahead * p)
        cross = each * (mu**2 * apart + ahead * ((1.0 - mu) * k[:, None] + mu * p))
        return weights, cross, each * ((1.0 - mu) * s + 2.0 * mu * p)

    def inverse_norm(self) -> float:
        """Return the norm of the map from noise to covariance, attained at the identity.

        Returns
        -------
        float
        """
        k, mu = self.pull, self.momentum
        gain, b, _ = self._rule.gains
        a, one = 1.0 - gain * k, np.ones_like(k)
        # Second moments (ww, wv, vv) of one mode: x = M x + (1, 0, 1).
        M = np.array(
            [
                [a * a, 2.0 * a * b, b**2 * one],
                [-a * k, mu * a - b * k, b * mu * one],
                [k * k, -2.0 * k * mu, mu**2 * one],
            ]
        ).transpose(2, 0, 1)
        right = np.broadcast_to(np.array([1.0, 0.0, 1.0])[:, None], (len(k), 3, 1))
        ww, wv, vv = np.linalg.solve(np.eye(3) - M, right)[..., 0].T
        return float((0.5 * (ww + vv) + np.hypot(0.5 * (ww - vv), wv)).max())

    @property
    def _rule(self) -> StepRule:
        return StepRule(momentum=self.momentum, nesterov=self.nesterov)

    def _apart(self) -> FloatArray:
        # 1 minus the eigenvalues: roots of z^2 - (1 - mu + a k) z + k, the small one by Vieta.
        k = self.pull.astype(np.complex128)
        b = 1.0 - self.momentum + self._rule.gains[0] * k
        large = 0.5 * (b + np.where(b.real >= 0.0, 1.0, -1.0) * np.sqrt(b * b - 4.0 * k))
        return np.concatenate([large, k / large])


def heavy_ball(process: LinearRecursion) -> HeavyBall | None:
    """Return the modes of a map with momentum, nothing for any other map.

    Parameters
    ----------
    process : LinearRecursion
        The map; weights come before velocities.

    Returns
    -------
    HeavyBall or None
    """
    T, noise = process.transition, process.noise
    n = len(T) // 2
    if len(T) != 2 * n or n == 0:
        return None
    mu, K, N = float(T[-1, -1]), -T[n:, :n], noise[n:, n:]
    if not (0.0 < mu < 1.0 and is_symmetric(K)):
        return None
    for rule in (StepRule(momentum=mu), StepRule(momentum=mu, nesterov=True)):
        if np.array_equal(T, rule.transition(K)) and np.array_equal(noise, rule.kick(N)):
            pull, V = np.linalg.eigh(0.5 * (K + K.T))
            return HeavyBall(
                pull=pull, basis=V, momentum=mu, noise=V.T @ N @ V, nesterov=rule.nesterov
            )
    return None

r"""The second moments of mini-batch SGD on quadratic losses, in the modes of the curvature.

With :math:`P^{1/2} K P^{1/2} = U\operatorname{diag}(h)U^T` and :math:`w = w^* + P^{1/2}U z` the
noise-free step leaves the modes alone, and the covariance of one batch's gradient in state ``z`` is
:math:`\frac fB` times that of :mod:`fracsde.problems.example_noise`.  In a stationary state the
covariance :math:`\Sigma` of ``z`` solves

.. math::
    \mathcal D_{ij}\,\Sigma_{ij} = \frac fB\,[C + \mathcal V(\Sigma)]_{ij},

where :math:`1/\mathcal D_{ij}` sums the products of the responses of modes ``i`` and ``j`` to one
kick of the gradient.  With pulls :math:`k = \eta h`, heavy ball (:math:`\tau` dampening, which
scales the rate) and Nesterov have

.. math::
    \eta^2 \mathcal D_{ij} &= (1-\mu)(k_i + k_j)
    + \frac{\mu (k_i - k_j)^2 - (1-\mu)^2 k_i k_j}{1-\mu^2}, \\
    \eta^2 \mathcal D_{ij} &= \frac{(1-\mu)^2(1+\mu)(k_i+k_j) + \alpha (k_i-k_j)^2
    + p\,[(1-\mu)(6\mu^2+3\mu-1) + \mu(3\mu^2-1)(k_i+k_j) - \mu^2(1+2\mu)p]}
    {1-\mu^2 + \alpha (k_i+k_j) + \mu^2(1+2\mu)p},

with :math:`p = k_i k_j` and :math:`\alpha = \mu(1+\mu-\mu^2)`.  Both operators of the equation are
their own adjoints and :math:`1/\mathcal D` is a positive matrix, so that the equation has a
positive solution exactly while its operator :math:`\mathcal D - \frac fB\mathcal V` is positive
definite, which is while the second moments of the run are stable.

Directions that no example moves keep their starting values; they are no modes.

Not here: the solution (:mod:`fracsde.lyapunov.moments`), the rate at which it ends
(:mod:`fracsde.problems.critical_rate`).

References: [Liu2021]_ for the first denominator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.example_noise import ExampleNoise
    from fracsde.problems.sgd_steps import StepRule

__all__ = ["SecondMoments", "modes_of", "stiffness"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SecondMoments:
    """What the second moments of a run depend on.

    Parameters
    ----------
    curvatures : (r,) float64 [loss/weight^2]
        ``h``, ascending; those of directions that some example moves.
    basis : (d, r) float64 [1]
        ``P^(1/2) U``: weights are the minimum plus ``basis @ z``.
    noise : ExampleNoise
        Of one example, in the coordinates ``z``.
    share : float [1]
        ``f / B``, what a batch leaves of it.
    rule : StepRule
        How a gradient becomes a step.
    drifting : int
        Number of modes without curvature that examples move nevertheless.
    """

    curvatures: FloatArray
    basis: FloatArray
    noise: ExampleNoise
    share: float
    rule: StepRule
    drifting: int = 0

    @property
    def largest_rate(self) -> float:
        """Learning rate at which the mean stops converging; infinite without modes."""
        return (
            self.rule.largest_pull / float(self.curvatures[-1]) if len(self.curvatures) else np.inf
        )

    def stiffness(self, learning_rate: float) -> FloatArray:
        """Return ``D`` at a learning rate.

        Returns
        -------
        (r, r) float64
        """
        return stiffness(self.rule, learning_rate, self.curvatures)

    def spread(self, S: FloatArray) -> FloatArray:
        """Return ``(f/B) V(S)``, the part of a batch's noise that grows with the state.

        Returns
        -------
        (r, r) float64
        """
        return np.asarray(self.share * self.noise.spread(S))

    def frozen(self) -> FloatArray:
        """Return ``(f/B) C``, the noise of a batch at the minimum.

        Returns
        -------
        (r, r) float64
        """
        return np.asarray(self.share * self.noise.at_minimum())


def stiffness(rule: StepRule, learning_rate: float, curvatures: FloatArray) -> FloatArray:
    """Return the denominators ``D`` of the stationary equation.

    Parameters
    ----------
    rule : StepRule
        How a gradient becomes a step.
    learning_rate : float
        ``eta``.
    curvatures : (r,) float64
        ``h``.

    Returns
    -------
    (r, r) float64
        Positive definite below the limit of the mean.
    """
    mu = rule.momentum
    rate = learning_rate if rule.nesterov else learning_rate * rule.gains[0]
    k = rate * curvatures
    total, apart = np.add.outer(k, k), np.subtract.outer(k, k) ** 2
    product = np.multiply.outer(k, k)
    lost = (1.0 - mu) * (1.0 + mu)
    if not rule.nesterov:
        return np.asarray(
            ((1.0 - mu) * total + (mu * apart - (1.0 - mu) ** 2 * product) / lost) / rate**2
        )
    alpha, top = mu * (1.0 + mu - mu**2), mu**2 * (1.0 + 2.0 * mu)
    bent = (1.0 - mu) * (6.0 * mu**2 + 3.0 * mu - 1.0) + mu * (3.0 * mu**2 - 1.0) * total
    above = (1.0 - mu) * lost * total + alpha * apart + product * (bent - top * product)
    return np.asarray(above / (lost + alpha * total + top * product) / rate**2)


def modes_of(
    curvature: FloatArray, root: FloatArray | None, noise: ExampleNoise
) -> tuple[FloatArray, FloatArray, int]:
    """Return the modes that examples move.

    Parameters
    ----------
    curvature : (d, d) float64
        ``K``.
    root : (d, d) float64 or None
        ``P^(1/2)``.
    noise : ExampleNoise
        Of one example, in the coordinates of the weights.

    Returns
    -------
    curvatures : (r,) float64
        ``h``; zero for the first ``drifting``.
    basis : (d, r) float64
        ``P^(1/2) U``.
    drifting : int
        How many of them have no curvature.
    """
    values, U = np.linalg.eigh(curvature if root is None else root @ curvature @ root)
    W = U if root is None else root @ U
    # A curvature of zero is computed as a few roundings of the largest.
    flat = int(np.sum(values <= 4.0 * len(values) * np.finfo(np.float64).eps * values[-1]))
    if flat == 0:
        return values, W, 0
    values[:flat] = 0.0
    moved = _moved(noise.in_basis(W), flat)
    return (
        np.append(values[:flat][moved], values[flat:]),
        np.delete(W, np.flatnonzero(~moved), axis=1),
        int(moved.sum()),
    )


def _moved(noise: ExampleNoise, flat: int) -> np.ndarray:
    # Whether examples move each of the first modes, at the minimum or away from it.
    C = noise.at_minimum()
    spread = noise.spread(np.eye(len(C)))
    small = 1e-12
    return np.asarray(
        (np.diag(C)[:flat] > small * np.abs(C).max())
        | (np.diag(spread)[:flat] > small * np.abs(spread).max())
    )

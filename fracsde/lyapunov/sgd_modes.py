r"""Modes of preconditioned curvature, and the laws of SGD that have a closed form in them.

With :math:`P = R R^T` the matrix :math:`R^T (\eta K) R = U \operatorname{diag}(k)\, U^T` is
symmetric, and :math:`w - w^* = V x`, :math:`V = R U`, takes every law apart into pairs of modes:
the pull of mode ``i`` is :math:`k_i`, and noise of covariance ``Z`` of :math:`\eta \xi` becomes
:math:`N = V^T Z V`.  With :math:`f = 1 - \tau` and
:math:`m` as in :mod:`fracsde.problems.sgd` the flows have

.. math::
    S_{ij} = f^2 N_{ij} \Big/ \Big[(1 - \mu) f (k_i + k_j)
        + \frac{m f^2 (k_i - k_j)^2}{2 (1 - \mu)}\Big] ,

where the last term is the commutator that [Mandt2017]_, equation 25, leaves out.  The maps are in
:mod:`fracsde.lyapunov.heavy_ball`; without momentum
:math:`S_{ij} = N_{ij} / (k_i + k_j - k_i k_j)`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fracsde.lyapunov.heavy_ball import HeavyBall
from fracsde.problems.epochs import root_of

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.sgd_steps import StepRule

__all__ = ["StepModes", "step_modes"]


@dataclass(frozen=True, kw_only=True, eq=False)
class StepModes:
    """Modes of the steps of SGD.

    Parameters
    ----------
    rule : StepRule
        Momentum, Nesterov and dampening.
    basis : (d, d) float64
        ``V``, with ``w = V x`` and ``x`` the modes.
    spread : float [1]
        Condition number of ``V``, squared.
    pull : (d,) float64 [1]
        What one step takes of each mode.
    noise : (d, d) float64 [weight^2]
        ``N``, mode by mode.
    """

    rule: StepRule
    basis: FloatArray
    spread: float
    pull: FloatArray
    noise: FloatArray

    def ball(self) -> HeavyBall:
        """Return the modes as those of a map with momentum, dampening worked in.

        Returns
        -------
        HeavyBall
        """
        kept = 1.0 - self.rule.dampening
        return HeavyBall(
            pull=kept * self.pull,
            basis=self.basis,
            momentum=self.rule.momentum,
            noise=kept**2 * self.noise,
            nesterov=self.rule.nesterov,
        )

    def alone(self) -> StepModes:
        """Return the modes with noise that is not correlated between them.

        Returns
        -------
        StepModes
        """
        return replace(self, noise=np.diag(np.diag(self.noise)))

    def map_covariance(self) -> FloatArray:
        """Return the stationary covariance of the weights under the map.

        Returns
        -------
        (d, d) float64 [weight^2]
        """
        if self.rule.has_velocity:
            d = len(self.pull)
            return self.ball().covariance()[:d, :d]
        k = self.pull
        return self._weights(self.noise / (np.add.outer(k, k) - np.multiply.outer(k, k)))

    def flow_covariance(self, mass: float) -> FloatArray:
        """Return the stationary covariance of the weights under a flow.

        Parameters
        ----------
        mass : float [1]
            ``m``; 0 without inertia.

        Returns
        -------
        (d, d) float64 [weight^2]
        """
        k, loss = self.pull, 1.0 - self.rule.momentum
        f = self.rule.rate_factor * loss
        apart = np.subtract.outer(k, k)
        below = loss * f * np.add.outer(k, k) + mass * (f * apart) ** 2 / (2.0 * loss)
        return self._weights(f**2 * self.noise / below)

    def _weights(self, pairs: FloatArray) -> FloatArray:
        S = self.basis @ pairs @ self.basis.T
        return np.asarray(0.5 * (S + S.T))


def step_modes(
    rule: StepRule, curvature: FloatArray, noise: FloatArray, preconditioner: FloatArray | None
) -> StepModes:
    """Return the modes of the steps of SGD.

    Parameters
    ----------
    rule : StepRule
        Momentum, Nesterov and dampening.
    curvature : (d, d) float64 [1]
        ``eta K``.
    noise : (d, d) float64 [weight^2]
        Covariance of the learning rate times a gradient.
    preconditioner : (d,) or (d, d) float64, optional
        ``P``.

    Returns
    -------
    StepModes
    """
    root, spread = root_of(preconditioner, len(curvature))
    pull, turn = np.linalg.eigh(root.T @ curvature @ root)
    basis = root @ turn
    return StepModes(
        rule=rule, basis=basis, spread=spread, pull=pull, noise=basis.T @ noise @ basis
    )

r"""Second moments of SGD near a critical point, mode by mode.

In the eigenbasis of the curvature one mode has the state :math:`(w, v)`, or ``w`` alone without
momentum, and the transition :math:`I + A_i`,

.. math::
    A_i = \begin{pmatrix} -x_i & \mu \\ -x_i & \mu - 1 \end{pmatrix}, \qquad
    x_i = \eta\, (h_i + \lambda) .

Second moments of a pair of modes are a vector of four, or one, which steps by

.. math::
    P_{ij}' = P_{ij} + (A_i \otimes I + I \otimes A_j + A_i \otimes A_j)\, P_{ij}
              + \eta^2 q_{ij} \mathbf 1 ,

where nothing is subtracted from 1.  Noise in the Hessian with uncorrelated entries adds
:math:`\eta^2 s^2_{ij}\,\mathrm{E}[w_i w_j] \mathbf 1` to each pair :math:`i \ne j`, which stays on
its own, and :math:`\eta^2 \sum_j s^2_{ij}\,\mathrm{E}[w_j^2] \mathbf 1` to the moments of mode
``i``: variances along the modes are coupled to each other and to nothing else.

With a mean :math:`m \ne 0` the expectations are those of :math:`m m^T` too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde.lyapunov.affine import affine_states

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray
    from fracsde.problems.critical_point import SGDNearCriticalPoint

__all__ = ["CriticalModes", "critical_modes"]


@dataclass(frozen=True, kw_only=True, eq=False)
class CriticalModes:
    """SGD near a critical point in its eigenbasis.

    Parameters
    ----------
    curvatures : (d,) float64 [loss/weight^2]
        Ascending.
    directions : (d, d) float64
        Unit eigenvectors, one per column.
    away : (d, m, m) float64 [1]
        Transitions of the modes, less the identity; ``m`` is 2 with momentum.
    kick : (d, d) float64 [weight^2]
        Covariance of one step's noise at the critical point.
    scatter : (d, d) float64 [1] or None
        Variances of the noise in ``eta H``.
    """

    curvatures: FloatArray
    directions: FloatArray
    away: FloatArray
    kick: FloatArray
    scatter: FloatArray | None

    @property
    def parts(self) -> int:
        """Numbers in the state of one mode: 2 with momentum, else 1."""
        return int(self.away.shape[-1])

    def mean(self, start: FloatArray, steps: IntArray) -> FloatArray:
        """Return the means of the states.

        Parameters
        ----------
        start : (d, m) float64 [weight]
            Means at the start.
        steps : (k,) int64
            Numbers of steps.

        Returns
        -------
        (k, d, m) float64 [weight]
        """
        return affine_states(self.away, np.zeros(self.away.shape[:-1]), start, steps)

    def own(self) -> FloatArray:
        """Return how the second moments of each mode step when no other mode spreads.

        Returns
        -------
        (d, m^2, m^2) float64 [1]
            Less the identity.
        """
        away = _pair(self.away, self.away)
        if self.scatter is not None:
            away[:, :, 0] += np.diag(self.scatter)[:, None]
        return away

    def gains(self, rate: float, members: IntArray) -> FloatArray:
        r"""Return what kicks that grow with time add up to in the variances of some modes.

        With a kick of variance :math:`e^{\rho k}` at step ``k``, and without noise in the Hessian,
        the variance of mode ``i`` grows as :math:`g_i e^{\rho k}` where :math:`\rho` is above its
        own rate.

        Parameters
        ----------
        rate : float [1/step]
            ``rho``, above the rates at which their variances move without such kicks.
        members : (k,) int64
            Which modes.

        Returns
        -------
        (k,) float64 [1]
        """
        away = _pair(self.away[members], self.away[members])
        size = away.shape[-1]
        kicked = np.ones((len(away), size, 1))
        return np.asarray(np.linalg.solve(np.expm1(rate) * np.eye(size) - away, kicked)[:, 0, 0])

    def variances(self, mean: FloatArray, start: FloatArray, steps: IntArray) -> FloatArray:
        """Return the second moments of each mode about its mean.

        Parameters
        ----------
        mean : (d, m) float64 [weight]
            Means at the start.
        start : (d, m, m) float64 [weight^2]
            Covariances at the start.
        steps : (k,) int64
            Numbers of steps.

        Returns
        -------
        (k, d, m, m) float64 [weight^2]
        """
        d, m = mean.shape
        push = np.repeat(np.diag(self.kick)[:, None], m * m, axis=1)
        first = start.reshape(d, m * m)
        away = _pair(self.away, self.away)
        if self.scatter is None:
            moved = affine_states(away, push, first, steps)
            return moved.reshape(len(steps), d, m, m)
        n = d * m * m
        block = np.zeros((n, n))
        coupling = np.zeros((d, m * m, d, m * m))
        coupling[:, :, :, 0] = self.scatter[:, None, :]
        coupling = coupling.reshape(n, n)
        for i in range(d):
            part = slice(i * m * m, (i + 1) * m * m)
            block[part, part] = away[i]
        whole, pushed, state = block + coupling, push.ravel(), first.ravel()
        if np.any(mean != 0.0):
            # The squares of the mean step on their own and drive the spread.
            squares = np.einsum("ia,ib->iab", mean, mean).ravel()
            whole = np.block([[whole, coupling], [np.zeros((n, n)), block]])
            pushed = np.append(pushed, np.zeros(n))
            state = np.append(state, squares)
        moved = affine_states(whole, pushed, state, steps)[:, :n]
        return moved.reshape(len(steps), d, m, m)

    def covariances(self, mean: FloatArray, start: FloatArray, steps: IntArray) -> FloatArray:
        """Return the covariances of all pairs of modes.

        Parameters
        ----------
        mean : (d, m) float64 [weight]
            Means at the start.
        start : (d, d, m, m) float64 [weight^2]
            Covariances at the start.
        steps : (k,) int64
            Numbers of steps.

        Returns
        -------
        (k, d, d) float64 [weight^2]
            Of the weights.
        """
        d, m = mean.shape
        away = _pair(self.away[:, None], self.away[None, :])
        push = np.repeat(self.kick[:, :, None], m * m, axis=2)
        first = start.reshape(d, d, m * m)
        if self.scatter is not None:
            driven = np.zeros_like(away)
            driven[..., 0] = self.scatter[:, :, None]
            if np.any(mean != 0.0):
                squares = np.einsum("ia,jb->ijab", mean, mean).reshape(d, d, m * m)
                away = np.block([[away + driven, driven], [np.zeros_like(away), away]])
                push = np.concatenate([push, np.zeros_like(push)], axis=2)
                first = np.concatenate([first, squares], axis=2)
            else:
                away = away + driven
        moved = affine_states(away, push, first, steps)[..., 0]
        own = self.variances(mean, start[np.arange(d), np.arange(d)], steps)[..., 0, 0]
        moved[:, np.arange(d), np.arange(d)] = own
        return 0.5 * (moved + moved.transpose(0, 2, 1))


def critical_modes(sgd: SGDNearCriticalPoint) -> CriticalModes:
    """Return SGD near a critical point in its eigenbasis.

    Parameters
    ----------
    sgd : SGDNearCriticalPoint
        The problem.

    Returns
    -------
    CriticalModes
    """
    curvatures, directions = sgd.modes()
    eta, mu = sgd.learning_rate, sgd.momentum
    pull = eta * curvatures
    if mu == 0.0:
        away = -pull[:, None, None]
    else:
        away = np.empty((len(pull), 2, 2))
        away[:, :, 0] = -pull[:, None]
        away[:, 0, 1], away[:, 1, 1] = mu, mu - 1.0
    kick = eta**2 * (directions.T @ sgd.batch_noise @ directions)
    scatter = sgd.hessian_noise
    if scatter is not None:
        scatter = eta**2 * sgd.batch_factor * scatter
    return CriticalModes(
        curvatures=curvatures,
        directions=directions,
        away=away,
        kick=0.5 * (kick + kick.T),
        scatter=scatter,
    )


def _pair(left: FloatArray, right: FloatArray) -> FloatArray:
    # (I + A) x (I + B) - I, without the subtraction.
    m = left.shape[-1]
    eye = np.eye(m)
    both = (
        np.einsum("...ab,cd->...acbd", left, eye)
        + np.einsum("ab,...cd->...acbd", eye, right)
        + np.einsum("...ab,...cd->...acbd", left, right)
    )
    return np.asarray(both.reshape(*both.shape[:-4], m * m, m * m))

r"""SGD as particles with friction, one along each direction of its curvature.

With :math:`K u_i = h_i P^{-1} u_i`, :math:`u_i^T P^{-1} u_j = \delta_{ij}` and :math:`\epsilon` the
rate by which a gradient enters the velocity, a mode of any rule is

.. math::
    v' = (1 - \gamma_i)\,v - \epsilon\,(h_i x + \xi_i), \qquad x' = x + v',

==========================  ==============================  ==========================
rule                        friction :math:`\gamma_i`       position :math:`x`
==========================  ==============================  ==========================
no momentum                 1                               :math:`w`
heavy ball                  :math:`1 - \mu`                 :math:`w`
Nesterov                    :math:`1 - \mu + \mu\eta h_i`   :math:`w - \mu v`
==========================  ==============================  ==========================

Nesterov's weights are where gradients are taken, :math:`\mu v` ahead of the position; put in, the
look-ahead is a friction that grows with the curvature.  Positions and velocities of a mode are then
those of a heavy ball of momentum :math:`1 - \gamma_i`, at every stable rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde.problems.epochs import root_of

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.sgd import SGDNearMinimum
    from fracsde.problems.sgd_steps import StepRule

__all__ = ["Particles", "along", "particles", "step_rate"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Particles:
    """Modes of a run.

    Parameters
    ----------
    curvatures : (d,) float64 [loss/weight^2]
        ``h``, eigenvalues of ``P K``, smallest first.
    directions : (d, d) float64
        ``u``, one per column.
    inverse : (d, d) float64
        ``P^(-1) u``: the weights along a direction are ``inverse.T @ w``.
    example : (d, d) float64
        Covariance ``u^T C u`` of the gradient of one example.
    friction : (d,) float64 [1]
        Per step.
    rate : float [weight^2/loss]
        ``epsilon``.
    rule : StepRule
        How a gradient becomes a step.
    """

    curvatures: FloatArray
    directions: FloatArray
    inverse: FloatArray
    example: FloatArray
    friction: FloatArray
    rate: float
    rule: StepRule


def particles(sgd: SGDNearMinimum) -> Particles:
    """Return the modes of a run with a preconditioner that is not singular.

    Parameters
    ----------
    sgd : SGDNearMinimum
        The run; stable, which says that its preconditioner is regular.

    Returns
    -------
    Particles
    """
    R, _ = root_of(sgd.preconditioner, sgd.dimension)
    curvatures, V = np.linalg.eigh(_even(R.T @ sgd.curvature @ R))
    directions = R @ V
    friction = np.full(len(V), 1.0 - sgd.momentum)
    if sgd.nesterov:
        friction += sgd.momentum * sgd.learning_rate * curvatures
    return Particles(
        curvatures=curvatures,
        directions=directions,
        inverse=np.asarray(np.linalg.solve(R, np.eye(len(R))).T @ V),
        example=_even(directions.T @ sgd.gradient_noise @ directions),
        friction=friction,
        rate=step_rate(sgd),
        rule=sgd.rule,
    )


def step_rate(sgd: SGDNearMinimum) -> float:
    """Return the rate by which a gradient enters the velocity, ``eta (1 - tau)``.

    Parameters
    ----------
    sgd : SGDNearMinimum
        The run.

    Returns
    -------
    float [weight^2/loss]
    """
    a, _, c = sgd.rule.gains
    return float(sgd.learning_rate * (c if sgd.rule.has_velocity else a))


def along(covariance: FloatArray, directions: FloatArray) -> FloatArray:
    """Return the variances along directions.

    Parameters
    ----------
    covariance : (d, d) float64
        The matrix.
    directions : (d, p) float64
        One per column.

    Returns
    -------
    (p,) float64
    """
    return np.asarray(np.einsum("di,di->i", directions, covariance @ directions))


def _even(array: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (array + array.T))

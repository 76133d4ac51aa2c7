r"""How the moments of SGD with state-dependent noise get where they settle.

From a start of mean :math:`w^* + m_0` and covariance :math:`Z_0`, velocities included,

.. math::
    m' = T m, \qquad
    Z' = T Z T^T + \tfrac fB\,\eta^2\,G P\,
    \big[C + \mathcal V(Z_{ww} + m_w m_w^T) + \mathcal W(m_w)\big]\,P G^T,

step by step and exactly, stable or not: the noise of a batch grows with the distance of the mean
as with the spread.  The covariance is carried, not the second moment, so that nothing cancels while
the mean is far away.  A step costs one application of :math:`\mathcal V` and the products with
:math:`T`.

``V``, ``W`` and ``C`` are those of :mod:`fracsde.problems.example_noise`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import OutOfRangeError

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD

__all__ = ["covariances_along", "displacements_from"]

# Steps taken one by one: minutes for a few weights.
_MOST_STEPS = 10**7


def covariances_along(
    problem: QuadraticLossSGD, times: FloatArray, mean: FloatArray, covariance: FloatArray
) -> FloatArray:
    """Return the covariance of the weights after given numbers of steps.

    Parameters
    ----------
    problem : QuadraticLossSGD
        The run.
    times : (t,) float64 [step]
        Whole numbers, not negative, in any order.
    mean : (s,) float64
        Of the state at time 0, weights first.
    covariance : (s, s) float64
        Of the state at time 0.

    Returns
    -------
    (t, d, d) float64
        Not finite where it is beyond the largest float.

    Raises
    ------
    OutOfRangeError
        If there are more steps than can be taken one by one.
    """
    if times.max(initial=0.0) > _MOST_STEPS:
        msg = (
            f"times must be at most {_MOST_STEPS:g} steps, got {times.max():g}: where noise "
            "depends on the state each step is taken; stationary_covariance has the limit"
        )
        raise OutOfRangeError(msg)
    d, rule, rate = problem.dimension, problem.rule, problem.learning_rate
    noise, share = problem.about_minimum.noise, problem.second_moments.share
    T = rule.transition(rate * problem.precondition(problem.curvature))
    m, Z = mean.copy(), covariance.copy()
    m[:d] -= problem.minimum
    out = np.empty((len(times), d, d))
    step, frozen = 0, noise.at_minimum()
    with np.errstate(over="ignore", invalid="ignore"):
        for place in np.argsort(times, kind="stable"):
            while step < times[place]:
                Q = frozen + noise.spread(Z[:d, :d] + np.outer(m[:d], m[:d])) + noise.lean(m[:d])
                kick = (share * rate**2) * problem.precondition(problem.precondition(Q).T)
                m, Z = T @ m, T @ Z @ T.T + rule.kick(0.5 * (kick + kick.T))
                step += 1
            out[place] = 0.5 * (Z[:d, :d] + Z[:d, :d].T)
    return out


def displacements_from(
    problem: QuadraticLossSGD, times: FloatArray, start: FloatArray, directions: FloatArray
) -> FloatArray:
    """Return mean squares of how far the weights are from their start along directions.

    Parameters
    ----------
    problem : QuadraticLossSGD
        The run.
    times : (t,) float64 [step]
        Whole numbers, not negative, in any order.
    start : (s,) float64
        State at time 0, weights first.
    directions : (s, p) float64
        Zero on velocities.

    Returns
    -------
    (t, p) float64
    """
    d, s = problem.dimension, len(start)
    U, rate = directions[:d], problem.learning_rate
    spread = covariances_along(problem, times, start, np.zeros((s, s)))
    away = problem.rule.transition(rate * problem.precondition(problem.curvature)) - np.eye(s)
    begin = start.copy()
    begin[:d] -= problem.minimum
    moved, step = np.zeros(s), 0
    out = np.einsum("kp,tkl,lp->tp", U, spread, U)
    for place in np.argsort(times, kind="stable"):
        while step < times[place]:
            moved, step = moved + away @ (moved + begin), step + 1
        out[place] += (moved[:d] @ U) ** 2
    return np.asarray(out)

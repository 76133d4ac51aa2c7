r"""Both sides of the fluctuation-dissipation relations, as matrices.

With :math:`\gamma = \eta g` the learning rate times the preconditioned gradient of one batch,
:math:`c` the share of it that the velocity receives and :math:`x` the position of
:mod:`fracsde.observables._particles`, any two steps in a row have

.. math::
    c\,(w \gamma^T + \gamma w^T) = F - (D' - \mu D), \qquad D' = x'x'^T - xx^T ,

with ``D`` that of the step before: no average is taken, nothing is known of the loss or of the
batches.  What the noise pushes is

====================  ================================================
rule                  :math:`F`
====================  ================================================
no momentum           :math:`\gamma\gamma^T`
heavy ball            :math:`v'v'^T + \mu\,vv^T`
Nesterov              :math:`\gamma\gamma^T + \mu(1+\mu)\,vv^T`
====================  ================================================

by :math:`x' = x + v'` and :math:`v' = \mu v - c\gamma`; for Nesterov also
:math:`2\mu\,v\gamma^T \to \mu^2 vv^T + \gamma\gamma^T - v'v'^T`.  In a stationary law, or over the
phases of an epoch, what ``x x^T`` gains adds up to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde.problems.epochs import batch_share, preconditioned

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.lyapunov.epochs import Phases
    from fracsde.problems.sgd import SGDNearMinimum

__all__ = ["StepMoments", "average_step", "met", "phase_step", "position_moments", "pushed"]


@dataclass(frozen=True, kw_only=True, eq=False)
class StepMoments:
    """Second moments of one step; ``d x d`` matrices [weight^2].

    Parameters
    ----------
    weights : (d, d) float64
        Of the weights before it.
    before, after : (d, d) float64
        Of the velocities before and after it; zero without momentum.
    memory : (d, d) float64
        Weights by the noise ``n = eta P xi`` of the step: zero where batches are independent.
    noise : (d, d) float64
        Of ``n``.
    """

    weights: FloatArray
    before: FloatArray
    after: FloatArray
    memory: FloatArray
    noise: FloatArray


def average_step(
    sgd: SGDNearMinimum, state: FloatArray, phases: Phases | None = None
) -> StepMoments:
    """Return the second moments of a step in the stationary law, over all phases of an epoch.

    Parameters
    ----------
    sgd : SGDNearMinimum
        The run.
    state : (s, s) float64 [weight^2]
        Covariance of its state; of the weights alone, there is no velocity.
    phases : Phases, optional
        Those of shuffled epochs.

    Returns
    -------
    StepMoments
    """
    d = sgd.dimension
    V = state[d:, d:] if len(state) > d else np.zeros((d, d))
    if phases is None:
        noise, memory = _kick(sgd, sgd.batch_noise), np.zeros((d, d))
    else:
        steps = phases.modes.process.steps
        last, others = (_share(sgd, phases, p) for p in (steps - 1, 0))
        share = (last + (steps - 1) * others) / steps
        noise, memory = _kick(sgd, share * sgd.gradient_noise), phases.memory()
    return StepMoments(weights=state[:d, :d], before=V, after=V, memory=memory, noise=noise)


def phase_step(
    sgd: SGDNearMinimum, phases: Phases, phase: int, state: FloatArray, later: FloatArray
) -> StepMoments:
    """Return the second moments of the step after ``phase`` steps of a shuffled epoch.

    Parameters
    ----------
    sgd : SGDNearMinimum
        The run.
    phases : Phases
        Those of its epochs.
    phase : int
        Steps already taken, below ``M``.
    state, later : (s, s) float64 [weight^2]
        Covariances of the state before and after the step.

    Returns
    -------
    StepMoments
    """
    d, still = sgd.dimension, np.zeros((sgd.dimension, sgd.dimension))
    return StepMoments(
        weights=state[:d, :d],
        before=state[d:, d:] if sgd.rule.has_velocity else still,
        after=later[d:, d:] if sgd.rule.has_velocity else still,
        memory=phases.memory(phase),
        noise=_kick(sgd, _share(sgd, phases, phase) * sgd.gradient_noise),
    )


def met(sgd: SGDNearMinimum, step: StepMoments) -> FloatArray:
    r"""Return the weights by the gradient they meet, :math:`\langle w \gamma^T \rangle`.

    Parameters
    ----------
    sgd : SGDNearMinimum
        The run.
    step : StepMoments
        Of the step.

    Returns
    -------
    (d, d) float64 [weight^2]
    """
    pull = sgd.learning_rate * preconditioned(sgd.preconditioner, sgd.curvature)
    return np.asarray(step.weights @ pull.T + step.memory)


def pushed(sgd: SGDNearMinimum, step: StepMoments) -> FloatArray:
    """Return what the noise pushes, ``F`` of the module's display.

    Parameters
    ----------
    sgd : SGDNearMinimum
        The run.
    step : StepMoments
        Of the step.

    Returns
    -------
    (d, d) float64 [weight^2]
    """
    mu, rule = sgd.momentum, sgd.rule
    if rule.has_velocity and not rule.nesterov:
        return np.asarray(step.after + mu * step.before)
    pull = sgd.learning_rate * preconditioned(sgd.preconditioner, sgd.curvature)
    cross = pull @ step.memory
    squares = pull @ step.weights @ pull.T + cross + cross.T + step.noise
    return np.asarray(squares + mu * (1.0 + mu) * step.before)


def position_moments(sgd: SGDNearMinimum, state: FloatArray) -> FloatArray:
    """Return the covariance of the position, ``w`` or Nesterov's ``w - mu v``.

    Parameters
    ----------
    sgd : SGDNearMinimum
        The run.
    state : (s, s) float64 [weight^2]
        Covariance of its state.

    Returns
    -------
    (d, d) float64 [weight^2]
    """
    d, mu = sgd.dimension, sgd.momentum
    S = state[:d, :d]
    if not sgd.nesterov:
        return S
    cross = state[:d, d:]
    return np.asarray(S - mu * (cross + cross.T) + mu**2 * state[d:, d:])


def _share(sgd: SGDNearMinimum, phases: Phases, phase: int) -> float:
    # What a batch of the epoch leaves of the noise of one example.
    process = phases.modes.process
    last = phase == process.steps - 1
    size = process.last_batch if last else process.batch_size
    return batch_share(size, sgd.dataset_size, sgd.sampling)


def _kick(sgd: SGDNearMinimum, C: FloatArray) -> FloatArray:
    # Covariance of the learning rate times a preconditioned gradient.
    once = preconditioned(sgd.preconditioner, sgd.learning_rate**2 * C)
    return preconditioned(sgd.preconditioner, once.T)

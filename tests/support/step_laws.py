"""Second moments of one step of SGD, written down: every batch of an epoch beside the state.

The other route to what ``fracsde.observables`` says of a step.  The state at the start of an epoch
and the noise of all its steps are one Gaussian vector, of which weights, velocities and gradients
are linear functions; independent batches are epochs of one step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from fracsde.problems.epochs import preconditioned

if TYPE_CHECKING:
    from fracsde.problems.sgd import SGDNearMinimum

__all__ = ["Step", "simulated_steps", "steps_of"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """Covariance of all there is in an epoch, and rows that read one step from it.

    ``weights``, ``before``, ``after`` are rows of the weights, of the velocity before and after,
    ``noise`` of ``eta P xi`` and ``gradient`` of ``eta g``, all ``(d, size)``.
    """

    joint: np.ndarray
    weights: np.ndarray
    before: np.ndarray
    after: np.ndarray
    noise: np.ndarray
    gradient: np.ndarray

    def mean(self, one: np.ndarray, two: np.ndarray) -> np.ndarray:
        """Return ``E[one two^T]``."""
        return one @ self.joint @ two.T

    def stderr(self, form: np.ndarray, count: int) -> float:
        """Return that of the mean of ``x^T form x`` over independent copies."""
        even = 0.5 * (form + form.T) @ self.joint
        return float(np.sqrt(2.0 * np.trace(even @ even) / count))


def steps_of(sgd: SGDNearMinimum) -> list[Step]:
    """Return the steps of an epoch in the stationary law; one of independent batches."""
    d, eta, rule = sgd.dimension, sgd.learning_rate, sgd.rule
    pull = eta * preconditioned(sgd.preconditioner, sgd.curvature)
    F, G = rule.transition(pull), rule.injection(d)
    s, within = len(F), _within(sgd)
    M = len(within)
    once = preconditioned(sgd.preconditioner, eta**2 * sgd.gradient_noise)
    example = preconditioned(sgd.preconditioner, once.T)
    noise = np.kron(within, example)
    # Rows of the state at each phase, in terms of the start and all noise of the epoch.
    states = [np.eye(s, s + M * d)]
    for p in range(M):
        after = F @ states[-1]
        after[:, s + p * d : s + (p + 1) * d] += G
        states.append(after)
    kicked = states[-1][:, s:]
    whole = np.linalg.matrix_power(F, M)
    start = scipy.linalg.solve_discrete_lyapunov(whole, kicked @ noise @ kicked.T)
    joint = scipy.linalg.block_diag(start, noise)
    still = np.zeros((d, s + M * d))
    found = []
    for p in range(M):
        own = np.eye(d, s + M * d, s + p * d)
        now, later = states[p], states[p + 1]
        found.append(
            Step(
                joint=joint,
                weights=now[:d],
                before=now[d:] if s > d else still,
                after=later[d:] if s > d else still,
                noise=own,
                gradient=pull @ now[:d] + own,
            )
        )
    return found


def simulated_steps(sgd: SGDNearMinimum, chains: int, steps: int, seed: int) -> list[np.ndarray]:
    """Return weights, velocity before and learning rate times gradient of the last step.

    Steps are taken as PyTorch takes them, from rest at the minimum, with normal noise; in shuffled
    epochs of equal batches the last step is the last of an epoch.
    """
    rng, d = np.random.default_rng(seed), sgd.dimension
    eta, mu = sgd.learning_rate, sgd.momentum
    within = _within(sgd)
    M = len(within)
    mixing = scipy.linalg.sqrtm(within).real
    root = np.linalg.cholesky(sgd.gradient_noise)
    w, buffer = np.zeros((chains, d)), np.zeros((chains, d))
    kept = []
    for t in range(steps * M):
        if t % M == 0:
            noise = np.einsum("pq,cqd->pcd", mixing, rng.normal(size=(chains, M, d)) @ root.T)
        g = preconditioned(sgd.preconditioner, (w @ sgd.curvature + noise[t % M]).T).T
        kept = [w, -eta * buffer, eta * g]
        buffer = mu * buffer + (1.0 - sgd.dampening if mu else 1.0) * g
        w = w - eta * (g + mu * buffer if sgd.nesterov else buffer)
    return kept


def _within(sgd: SGDNearMinimum) -> np.ndarray:
    # Covariance of the noise of the steps of an epoch, in units of that of one example.
    N, B = sgd.dataset_size, sgd.batch_size
    if sgd.sampling == "with_replacement":
        return np.array([[1.0 / B]])
    if sgd.sampling == "without_replacement":
        return np.array([[(N - B) / (B * (N - 1))]])
    sizes = sgd.epochs().batch_sizes
    return N / (N - 1) * (np.diag(1.0 / sizes) - 1.0 / N)

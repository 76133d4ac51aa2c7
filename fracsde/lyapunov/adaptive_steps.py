r"""Steps of adaptive methods with their second moments held, and those they reproduce.

The map from second moments to those of the gradients it leads to,

.. math::
    v_i \mapsto Q_{ii} + (K\, \Sigma(v)\, K)_{ii} + \bar g_i^2 ,

falls where ``v`` rises.  With :math:`P = P(v)` diagonal the covariance has a closed form in the
eigenvectors of :math:`P^{1/2} K P^{1/2}`, as in :mod:`fracsde.lyapunov.heavy_ball`; decay outside
the gradient together with momentum has none, and takes a Stein equation.

Not here: what users call, :mod:`fracsde.adaptive`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import InputError, UnstableError, UnsupportedError
from fracsde.lyapunov.processes import stationary_state
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion
from fracsde.problems.sgd import SGDNearMinimum

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["AdaptiveSteps"]

_MOST_DIFFERENCES = 64  # coordinates up to which Newton's method is used
_TINY = float(np.finfo(np.float64).tiny)
_DIFFERENCE = 1e-6  # relative, of its differences


class AdaptiveSteps:
    """Steps of an adaptive method with its second moments held.

    Parameters
    ----------
    problem : SGDNearMinimum
        Curvature, noise and rates.
    epsilon : float [loss/weight]
        Added to square roots.
    decoupled : bool
        Whether weight decay stays outside the gradient.
    """

    def __init__(self, problem: SGDNearMinimum, epsilon: float, *, decoupled: bool) -> None:
        if problem.sampling == "shuffled":
            msg = (
                "shuffled epochs are not served: second moments would have to follow their noise; "
                "predict sampling='with_replacement' or 'without_replacement' runs"
            )
            raise UnsupportedError(msg)
        self.problem, self.epsilon = problem, epsilon
        self.shrink = problem.learning_rate * problem.weight_decay if decoupled else 0.0
        inside = 0.0 if decoupled else problem.weight_decay
        self.K = problem.hessian + inside * np.eye(problem.dimension)
        self.Q = problem.batch_noise
        self._check()

    def _check(self) -> None:
        low, high = np.linalg.eigvalsh(self.K)[[0, -1]]
        if self.shrink == 0.0 and low <= 4.0 * len(self.K) * np.finfo(np.float64).eps * high:
            msg = (
                f"the lowest curvature is {low:.3g}: along it there is no stationary law, "
                "whatever the preconditioner; raise the weight decay, or project it out"
            )
            raise UnstableError(msg)
        if self.shrink >= 2.0:
            msg = (
                f"learning_rate * weight_decay = {self.shrink:g} must be below 2: decay outside "
                "the gradient alone makes the weights grow; lower either"
            )
            raise UnstableError(msg)
        quiet = np.flatnonzero(np.diag(self.Q) <= 0.0)
        if len(quiet) and self.epsilon == 0.0:
            msg = (
                f"coordinate {quiet[0]} has no gradient noise, and without `epsilon` its rate has "
                "no bound; pass a positive epsilon"
            )
            raise InputError(msg)

    def preconditioner(self, v: FloatArray) -> FloatArray:
        """Return ``P`` of second moments.

        Returns
        -------
        (d,) float64
        """
        return np.asarray(1.0 / (np.sqrt(v) + self.epsilon))

    def settle(self, tolerance: float, most: int) -> tuple[FloatArray, int, float]:
        """Return the second moments that reproduce themselves.

        Newton's method for the logarithms, its steps halved where the distance grew or nothing was
        stable; with more than 64 coordinates damped iteration in its place.

        Returns
        -------
        v : (d,) float64
        iterations : int
        residual : float
        """
        v = np.maximum(np.diag(self.Q), self.epsilon**2)
        best, gap, residual, share = v, np.zeros_like(v), np.inf, 1.0
        for count in range(1, most + 1):
            found = self.moments(v)
            if found is None and residual == np.inf:
                v = 4.0 * v  # too fast to be stable, and nothing slower is known
                continue
            if found is not None:
                apart = np.log(found) - np.log(v)
                far = float(np.linalg.norm(apart))
                if far <= tolerance:
                    return v, count, far
            if found is None or far >= residual:
                share *= 0.5
            else:
                best, residual = v, far
                gap = self._newton(v, apart)
                gap = gap * min(1.0, 3.0 / float(np.abs(gap).max()))
                share = 1.0
            v = best * np.exp(share * gap)
        return best, most, residual

    def _newton(self, v: FloatArray, apart: FloatArray) -> FloatArray:
        # Newton's step for the logarithms; the plain one where differences are too many.
        if len(v) > _MOST_DIFFERENCES:
            return 0.5 * apart
        J = np.empty((len(v), len(v)))
        for j in range(len(v)):
            moved = v.copy()
            moved[j] *= 1.0 + _DIFFERENCE  # slower, and so as stable
            found = self.moments(moved)
            if found is None:
                return apart
            J[:, j] = (np.log(found) - np.log(v) - apart) / _DIFFERENCE
        return np.asarray(np.linalg.solve(np.eye(len(v)) - J, apart))

    def moments(self, v: FloatArray) -> FloatArray | None:
        """Return the second moments of gradients under a preconditioner.

        Returns
        -------
        (d,) float64, or None where the steps are unstable
        """
        spread = self.covariance(v)
        if not np.all(np.isfinite(spread)):
            return None
        steady = self.K @ (self.rest(v) - self.problem.minimum) if self.shrink else 0.0
        made = np.einsum("ij,jk,ki->i", self.K, spread, self.K)
        found = np.diag(self.Q) + made + np.square(steady)
        # Where nothing moves, nine digits below epsilon are nothing.
        return np.asarray(np.maximum(found, max((1e-9 * self.epsilon) ** 2, _TINY)))

    def rest(self, v: FloatArray) -> FloatArray:
        """Return the mean of the weights.

        Returns
        -------
        (d,) float64
        """
        where = self.problem.minimum
        if self.shrink == 0.0:
            return where
        back = np.diag(self.problem.weight_decay / self.preconditioner(v))
        return np.asarray(np.linalg.solve(self.K + back, self.K @ where))

    def covariance(self, v: FloatArray) -> FloatArray:
        """Return the stationary covariance of the weights, NaN where there is none.

        Returns
        -------
        (d, d) float64
        """
        mu = self.problem.momentum
        if self.shrink and mu:
            process, _ = self.process(v)
            d = len(v)
            return stationary_state(process).matrix[:d, :d]
        # In the eigenvectors of P^(1/2) K P^(1/2) pairs of modes have a closed form.
        root = np.sqrt(self.preconditioner(v))
        rate = (1.0 - self.problem.dampening) * self.problem.learning_rate
        pull, U = np.linalg.eigh(
            rate * root[:, None] * self.K * root + self.shrink * np.eye(len(v))
        )
        if pull[0] <= 0.0 or pull[-1] >= 2.0 * (1.0 + mu):
            return np.full_like(self.K, np.nan)
        noise = U.T @ (rate**2 * root[:, None] * self.Q * root) @ U
        total, apart = np.add.outer(pull, pull), np.subtract.outer(pull, pull)
        shape = mu * apart**2 - (1.0 - mu) ** 2 * np.multiply.outer(pull, pull)
        modes = noise / ((1.0 - mu) * total + shape / ((1.0 - mu) * (1.0 + mu)))
        V = root[:, None] * U
        return np.asarray(V @ modes @ V.T)

    def process(self, v: FloatArray) -> tuple[LinearRecursion, SGDNearMinimum | None]:
        """Return the steps under a preconditioner, also as SGD where they are.

        Returns
        -------
        process : LinearRecursion
        sgd : SGDNearMinimum or None
        """
        given, P = self.problem, self.preconditioner(v)
        if self.shrink and given.momentum:
            return self._decoupled(P, self.rest(v)), None
        hessian, decay = given.hessian, given.weight_decay
        if self.shrink:  # w - eta lambda w is curvature lambda / P
            hessian, decay = hessian + np.diag(decay / P), 0.0
        sgd = SGDNearMinimum(
            hessian=hessian,
            gradient_noise=given.gradient_noise,
            learning_rate=given.learning_rate,
            batch_size=given.batch_size,
            momentum=given.momentum,
            dampening=given.dampening,
            weight_decay=decay,
            preconditioner=P,
            dataset_size=given.dataset_size,
            sampling=given.sampling,
            minimum=self.rest(v),
        )
        return sgd.map(), sgd

    def _decoupled(self, P: FloatArray, mean: FloatArray) -> LinearRecursion:
        # State (w, m) with m' = mu m + (1 - tau) g and w' = (1 - eta lambda) w - eta P m'.
        given, d = self.problem, len(P)
        mu, eta, kept = given.momentum, given.learning_rate, 1.0 - given.dampening
        push = -eta * P
        T = np.block(
            [
                [
                    (1.0 - self.shrink) * np.eye(d) + kept * push[:, None] * self.K,
                    mu * np.diag(push),
                ],
                [kept * self.K, mu * np.eye(d)],
            ]
        )
        kick = np.vstack([kept * np.diag(push), kept * np.eye(d)])
        steady = kept / (1.0 - mu) * (self.K @ (mean - given.minimum))
        return LinearRecursion(
            transition=T,
            noise=kick @ self.Q @ kick.T,
            mean=np.append(mean, steady),
            observe=slice(0, d),
        )

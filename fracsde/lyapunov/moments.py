r"""Stationary second moments of SGD whose noise depends on the state.

The state ``(w - w*, v)`` of a run on quadratic losses has the covariance

.. math::
    X = T X T^T + G\,\eta^2 P\,Q(\Sigma)\,P\,G^T, \qquad
    Q(\Sigma) = \frac fB\,[C + \mathcal V(\Sigma)], \quad \Sigma = X_{ww},

a Stein equation whose noise is affine in its solution.  In the modes of the curvature the weights'
block obeys :math:`(\mathcal D - \frac fB\mathcal V)\,\Sigma = \frac fB C`
(:mod:`fracsde.problems.second_moments`), with an operator that is its own adjoint and positive
definite while second moments are stable.  So it is solved by conjugate gradients on symmetric
matrices, preconditioned by the elementwise :math:`\mathcal D`, the Stein equation itself.  An
iteration costs one application of :math:`\mathcal V`, of order ``N d^2``; memory is a handful of
matrices of the weights, never one with ``d^4`` entries.  The preconditioned eigenvalues lie in
:math:`[1 - \varrho, 1 + \varrho]`, :math:`\varrho` the distance to criticality: 1 at the critical
rate.

**Certificate.**  The same solve with noise ``I`` on the whole state gives a matrix ``Y``.  If
:math:`Y \succ 0` and the operator leaves it positive, the second moments are stable, by the theory
of positive maps; and the largest eigenvalue of ``Y`` is the norm of the inverse
([RussoDye1966]_), which turns the residual into ``error_estimate``.

**Second route.**  ``method="vectorised"`` writes the map of the whole state's second moments down
as a matrix, from Kronecker products, and solves that; up to 50 coordinates.

Not here: how the moments get there (:mod:`fracsde.lyapunov.moment_paths`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import choice
from fracsde.errors import OutOfRangeError
from fracsde.lyapunov.conjugate_gradients import ITERATIONS, conjugate_gradients
from fracsde.lyapunov.dense import solve_stein
from fracsde.lyapunov.processes import StationaryState, stationary_state, usable
from fracsde.lyapunov.rounding import EPS, binary_unit, spectral_norm
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion
from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.second_moments import SecondMoments

__all__ = [
    "METHODS",
    "equal_moments",
    "frozen_noise",
    "stationary_moments",
]

METHODS = ("auto", "conjugate_gradients", "vectorised")

# Coordinates of the state up to which the map of its second moments is written down.
_WRITABLE = 50
# Error, relative to the covariance, at which a result stops being one.
_LOST = 1e-2


def stationary_moments(problem: QuadraticLossSGD, *, method: str = "auto") -> StationaryState:
    """Solve for the stationary covariance of weights and velocities; failure is a status.

    Parameters
    ----------
    problem : QuadraticLossSGD
        The run.
    method : {"auto", "conjugate_gradients", "vectorised"}
        ``"auto"`` takes ``"conjugate_gradients"``.

    Returns
    -------
    StationaryState

    Raises
    ------
    OutOfRangeError
        If ``method="vectorised"`` and the state has more than 50 coordinates.
    """
    choice("method", method, METHODS)
    method = "conjugate_gradients" if method == "auto" else method
    moments = problem.second_moments
    size = moments.rule.state_size(problem.dimension)
    if method == "vectorised" and moments.rule.state_size(len(moments.curvatures)) > _WRITABLE:
        msg = (
            f"method='vectorised' serves states of up to {_WRITABLE} coordinates, got {size}; "
            "use method='conjugate_gradients'"
        )
        raise OutOfRangeError(msg)
    if len(moments.curvatures) == 0:  # nothing moves
        return _state(np.zeros((size, size)), 0.0, 0.0, method)
    status = _mean_outcome(moments, problem.learning_rate)
    if not status.ok:
        return _nothing(size, status, method, _why(problem, status))
    solve = _by_gradients if method == "conjugate_gradients" else _vectorised
    with np.errstate(over="ignore", invalid="ignore"):
        found = solve(moments, problem.learning_rate)
        if not found.status.ok:
            return _nothing(size, found.status, method, _why(problem, found.status))
        return _checked(problem, found, method)


def equal_moments(process: Any) -> Any:
    """Return a linear recursion with additive noise that has the same stationary moments.

    The mean of the next state is linear in the state whatever the noise depends on.  Hence a
    recursion whose constant noise is the average of the true one shares its stationary covariance
    and every autocovariance with it, though not the law.

    Parameters
    ----------
    process : object
        A QuadraticLossSGD that has a stationary law; anything else is returned as it is.

    Returns
    -------
    LinearRecursion or object
        Directions that no example moves are at rest, at the minimum.
    """
    if not isinstance(process, QuadraticLossSGD):
        return process
    rule, d = process.rule, process.dimension
    transition, noise = _original(process, usable(stationary_moments(process)).matrix[:d, :d])
    W = process.second_moments.basis
    if W.shape[1] < d:
        onto = W @ np.linalg.pinv(W)
        transition = transition @ np.kron(np.eye(len(transition) // d), onto)
    return LinearRecursion(
        transition=transition,
        noise=rule.kick(noise),
        mean=np.append(process.minimum, np.zeros(len(transition) - d)),
        observe=slice(0, d),
    )


def frozen_noise(process: Any) -> Any:
    """Return a run with the noise of the minimum everywhere, which moves the mean alike.

    Parameters
    ----------
    process : object
        A QuadraticLossSGD; anything else is returned as it is.

    Returns
    -------
    SGDNearMinimum or object
    """
    if not isinstance(process, QuadraticLossSGD):
        return process
    process.require_independent_batches()
    return process.near_minimum()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    # State in modes, and the norm of the inverse of the equation's operator there.
    status: Status
    state: FloatArray | None = None
    norm: float = float("inf")


def _mean_outcome(moments: SecondMoments, rate: float) -> Status:
    limit, rounding = moments.largest_rate, 4.0 * EPS * len(moments.curvatures)
    if moments.drifting or abs(rate - limit) <= rounding * limit:
        return Status.MARGINAL
    return Status.SUCCESS if rate < limit else Status.UNSTABLE


def _why(problem: QuadraticLossSGD, status: Status) -> str:
    if status is Status.NOT_FINITE:
        return "Rescale the inputs."
    limits = problem.stability()
    if status is Status.NOT_CONVERGED:
        return (
            f"Conjugate gradients took {ITERATIONS} iterations at learning_rate="
            f"{problem.learning_rate:g}, whose critical value is {limits.second_moment:.10g}; "
            "choose a rate less near to it."
        )
    why = limits.why()
    return why if limits.broken else f"To rounding the rate is the critical one. {why}"


def _by_gradients(moments: SecondMoments, rate: float) -> _Found:
    unit = rate**2  # of the equation: its terms are then of the size of the pulls

    def spread(S: FloatArray) -> FloatArray:
        return unit * moments.spread(S)

    D, frozen = unit * moments.stiffness(rate), unit * moments.frozen()
    alone = _identity_blocks(moments, rate)
    # Y of the weights' block, with unit noise on the whole state.
    plain = np.diag(alone[:, 0, 0])
    status, Y = conjugate_gradients(spread, D, D * plain)
    if not status.ok:
        return _Found(status=status)
    values = np.linalg.eigvalsh(Y)
    if values[-1] * 64.0 * len(D) * EPS > plain.max():
        return _Found(status=Status.MARGINAL)
    left = D * (Y - plain) - spread(Y)
    if not (values[0] > 0.0 and np.linalg.norm(left) < 0.5 * np.diag(D * plain).min()):
        return _Found(status=Status.UNSTABLE)
    status, S = conjugate_gradients(spread, D, frozen)
    if not status.ok:
        return _Found(status=status)
    if not moments.rule.has_velocity:
        return _Found(status=status, state=S, norm=float(values[-1]))
    state, pushed = (_whole(moments, rate, noise) for noise in (frozen + spread(S), spread(Y)))
    norm = np.linalg.eigvalsh(alone).max() + np.linalg.eigvalsh(pushed)[-1]
    return _Found(status=status, state=state, norm=float(norm))


def _vectorised(moments: SecondMoments, rate: float) -> _Found:
    rule, r = moments.rule, len(moments.curvatures)
    T = rule.transition(np.diag(rate * moments.curvatures))
    n = len(T)
    operator = np.kron(T, T)
    for i in range(r):
        for j in range(r):
            unit = np.zeros((r, r))
            unit[i, j] += 0.5
            unit[j, i] += 0.5
            operator[:, i * n + j] += rule.kick(rate**2 * moments.spread(unit)).ravel()
    radius = float(np.abs(np.linalg.eigvals(operator)).max())
    if radius >= 1.0:
        return _Found(status=Status.UNSTABLE)
    right = np.stack([rule.kick(rate**2 * moments.frozen()).ravel(), np.eye(n).ravel()], axis=1)
    solved = np.linalg.solve(np.eye(n * n) - operator, right)
    state, Y = (0.5 * (S + S.T) for S in solved.T.reshape(2, n, n))
    return _Found(status=Status.SUCCESS, state=state, norm=float(np.linalg.eigvalsh(Y)[-1]))


def _whole(moments: SecondMoments, rate: float, noise: FloatArray) -> FloatArray:
    # Covariance of weights and velocities, in modes, under constant noise of eta times gradients.
    values, U = np.linalg.eigh(noise)
    # What rounding makes of noise that vanishes along some direction is no reason to stop.
    even = (U * np.maximum(values, 0.0)) @ U.T
    linear = LinearRecursion(
        transition=moments.rule.transition(np.diag(rate * moments.curvatures)),
        noise=moments.rule.kick(0.5 * (even + even.T)),
    )
    state = stationary_state(linear)
    return state.matrix if state.status.ok else solve_stein(linear.transition, linear.noise).matrix


def _identity_blocks(moments: SecondMoments, rate: float) -> FloatArray:
    # Covariance (r, s, s) of each mode's state with unit noise on it, and none that spreads.
    rule, k = moments.rule, rate * moments.curvatures
    if not rule.has_velocity:
        return (1.0 / (k * (2.0 - k)))[:, None, None]
    a, b, c = rule.gains
    mu, one = rule.momentum, np.ones_like(k)
    kept, pulled = 1.0 - a * k, -c * k
    # Second moments (ww, wv, vv) of one mode: x = M x + (1, 0, 1).
    M = np.array(
        [
            [kept**2, 2.0 * b * kept, b**2 * one],
            [kept * pulled, mu * kept + b * pulled, b * mu * one],
            [pulled**2, 2.0 * mu * pulled, mu**2 * one],
        ]
    ).transpose(2, 0, 1)
    right = np.broadcast_to(np.array([1.0, 0.0, 1.0])[:, None], (len(k), 3, 1))
    ww, wv, vv = np.linalg.solve(np.eye(3) - M, right)[..., 0].T
    return np.array([[ww, wv], [wv, vv]]).transpose(2, 0, 1)


def _original(problem: QuadraticLossSGD, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    # Transition of the state, and eta^2 P Q P, in the coordinates of the weights.
    about, moments = problem.about_minimum, problem.second_moments
    rate, noise = problem.learning_rate, about.noise
    pull = rate * problem.precondition(problem.curvature)
    Q = moments.share * (noise.at_minimum() + noise.spread(covariance))
    kick = rate**2 * problem.precondition(problem.precondition(Q).T)
    return problem.rule.transition(pull), 0.5 * (kick + kick.T)


def _checked(problem: QuadraticLossSGD, found: _Found, method: str) -> StationaryState:
    # Back from modes, with the residual of the equation in the coordinates of the weights.
    assert found.state is not None
    moments, d = problem.second_moments, problem.dimension
    W, r = moments.basis, len(moments.curvatures)
    if len(found.state) != r:
        W = np.asarray(np.kron(np.eye(2), W), dtype=np.float64)
    X = W @ found.state @ W.T
    X = 0.5 * (X + X.T)
    if not np.all(np.isfinite(X)):
        return _nothing(len(X), Status.NOT_FINITE, method, "Rescale the inputs.")
    T, noise = _original(problem, X[:d, :d])
    kick, unit = problem.rule.kick(noise), binary_unit(X)
    missed = float(np.linalg.norm((T @ X @ T.T + kick - X) / unit))
    scale = (1.0 + spectral_norm(T) ** 2) * float(np.linalg.norm(X / unit))
    scale += float(np.linalg.norm(kick / unit))
    norm = found.norm
    if problem.preconditioner is not None:  # the basis is not orthogonal
        stretch = np.linalg.svd(moments.basis, compute_uv=False)
        norm *= float(stretch[0] / stretch[-1]) ** 2
    residual = missed / scale if scale > 0.0 else 0.0
    state = _state(X, residual, (missed + EPS * scale) * norm * unit, method)
    limit = 10.0 * EPS * max(10, len(X))
    detail = f"The relative residual is {residual:.3g}; {limit:.3g} is expected."
    if residual <= limit:
        if state.error_estimate <= _LOST * unit * float(np.linalg.norm(X / unit)):
            return state
        detail = (
            f"The error may be {state.error_estimate:.3g}: the rate is too near to its critical "
            f"value {problem.critical_learning_rate():.10g}."
        )
    return _state(X, residual, state.error_estimate, method, Status.INACCURATE, detail)


def _state(
    X: FloatArray,
    residual: float,
    error: float,
    method: str,
    status: Status = Status.SUCCESS,
    detail: str = "",
) -> StationaryState:
    return StationaryState(
        matrix=X,
        residual=residual,
        error_estimate=error,
        status=status,
        method=method,
        detail=detail,
    )


def _nothing(size: int, status: Status, method: str, detail: str) -> StationaryState:
    empty = np.full((size, size), np.nan)
    return _state(empty, float("nan"), float("inf"), method, status, detail)

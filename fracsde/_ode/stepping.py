r"""Steps through a given mesh, with any convolution scheme and any history.

The step to :math:`t_n` of component ``c``, with the weights of its order, is

.. math::
    w_n\,(y_n - y_{n-1}) + p_n
      = f\bigl(t_{n-1} + \theta \tau_n,\; y_{n-1} + \theta (y_n - y_{n-1})\bigr) + a_n f(0, y_0) ,

where :math:`p_n` is what earlier increments add up to: one memory per distinct order, on its
components.  Newton's method keeps its Jacobian and factors while they serve; where they do not, a
fresh Jacobian is taken, and where that is not enough, one for each correction, which is halved
until the residual falls.  A step that still fails ends the march.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from fracsde._ode.keeping import system_marks
from fracsde._ode.linear import is_plain, march_linear
from fracsde._ode.newton import newton
from fracsde._ode.systems import SingularSystemError, step_solver
from fracsde.schemes.keeping import keeper_of, refill, taken
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray
    from fracsde.problems.fractional_ode import FractionalODE
    from fracsde.schemes.base import ConvolutionScheme
    from fracsde.schemes.checkpoint import Checkpoint
    from fracsde.schemes.keeping import Keeper

__all__ = ["Stepped", "step_through"]

_ALLOWED = 1e-12  # error that Newton's method may leave, relative to the size of a component
_SMALL = 1e-4  # of the largest component: smaller ones are not resolved relative to themselves
_QUICK, _PATIENT, _DAMPED = 8, 20, 60  # corrections: old factors, fresh ones, one each
_SMALL_SYSTEM, _DRIFT = 32, 0.05  # of the newest weight, which factors of larger systems survive
_SLOW = 0.3  # factor between corrections beyond which a fresh Jacobian pays
_HALVINGS = 30


@dataclass(frozen=True, kw_only=True, eq=False)
class Stepped:
    """What a march found.

    Parameters
    ----------
    values : (N + 1, n) float64 [y]
        States at the nodes; NaN where they were not reached.
    status : Status
        How it ended.
    trouble : str
        Where and why it failed; empty if it did not.
    residual : float [1]
        Of the last step, from the scheme's own weights.
    stats : dict
        Steps, iterations, evaluations, Jacobians, factorisations.
    """

    values: FloatArray
    status: Status
    trouble: str
    residual: float
    stats: dict[str, int]


class _March:
    def __init__(
        self, problem: FractionalODE, scheme: ConvolutionScheme, times: FloatArray
    ) -> None:
        self.problem, self.times = problem, times
        orders, which = np.unique(problem.alpha, return_inverse=True)
        self.columns = [np.flatnonzero(which == g) for g in range(len(orders))]
        self.memories = [
            scheme.history.begin(scheme, times, problem.initial[own], alpha=float(alpha))
            for alpha, own in zip(orders, self.columns, strict=True)
        ]
        self.points = np.array([scheme.point(float(alpha)) for alpha in orders])
        self.share = self.points[which]
        self.factors = scheme.corrections()
        self.slope = problem.value(0.0, problem.initial)
        self.exact = problem.rhs is None and not isinstance(problem.linear, LinearOperator)
        self.jacobian: Any = None
        self.renewed: tuple[int, FloatArray] | None = None  # step and state of the Jacobian
        self.solve: Callable[[Any], FloatArray] | None = None
        self.factored = np.zeros(problem.dimension)
        self.stats = dict.fromkeys(
            ("steps", "iterations", "evaluations", "jacobians", "factorisations"), 0
        )

    def rates(self, k: int, y: FloatArray, step: FloatArray) -> FloatArray:
        # The right-hand side, each component at the point of its order.
        t, tau = self.times[k], self.times[k + 1] - self.times[k]
        out = np.empty_like(y)
        known: dict[float, FloatArray] = {}
        for point, own in zip(self.points, self.columns, strict=True):
            if point not in known:
                self.stats["evaluations"] += 1
                known[point] = self.problem.value(t + point * tau, y + point * step)
            out[own] = known[point][own]
        return out

    def size_after(self, k: int, before: FloatArray) -> FloatArray:
        # How large a step makes components that have been zero so far.
        t = float(self.times[k + 1])
        early = self.slope if k == 0 else self.rates(k, before, np.zeros_like(before))
        rate = np.maximum(np.abs(early), np.abs(self.problem.value(t, before)))
        moved = np.nan_to_num(rate) * (t - float(self.times[k])) ** self.problem.alpha
        return np.asarray(np.maximum(moved, max(_SMALL * moved.max(), 1e-100)))

    def renew(self, k: int, y: FloatArray) -> None:
        self.stats["jacobians"] += 1
        self.jacobian = self.problem.jacobian_at(float(self.times[k + 1]), y)
        self.renewed, self.solve = (k, y), None

    def push(self, state: FloatArray) -> None:
        for memory, own in zip(self.memories, self.columns, strict=True):
            memory.push(state[own])

    def published(self, values: FloatArray) -> Callable[[], dict[str, FloatArray]]:
        # The arrays from which the march can go on, now.
        step, at = (-1, values[0]) if self.renewed is None else self.renewed
        arrays = {
            "values": values,
            "counts": np.array(list(self.stats.values()), dtype=float),
            "renewed": np.array([step, self.solve is not None], dtype=float),
            "jacobian_at": at,
            "factored": self.factored,
        }
        return partial(dict, arrays)

    def restore(self, arrays: dict[str, FloatArray], values: FloatArray) -> int:
        # Go back there and fill in the states; how many steps are done.
        done, n = len(arrays["values"]) - 1, values.shape[1]
        refill(values[: done + 1], arrays["values"])
        counts = taken(arrays, "counts", (len(self.stats),))
        step, solved = taken(arrays, "renewed", (2,)).astype(int)
        at, factored = taken(arrays, "jacobian_at", (n,)), taken(arrays, "factored", (n,))
        for state in values[1 : done + 1]:
            self.push(state)
        if step >= 0:
            self.renew(step, at)
        self.factored = factored
        if solved:
            self.solve = step_solver(self.jacobian, self.factored, self.share)
        self.stats = dict(zip(self.stats, map(int, counts), strict=True))
        return done

    def factorise(self, weights: FloatArray) -> Callable[[Any], FloatArray]:
        drift = np.abs(weights - self.factored).max() / np.abs(weights).max()
        strict = self.exact or len(weights) <= _SMALL_SYSTEM
        if self.solve is None or drift > (1e-15 if strict else _DRIFT):
            self.stats["factorisations"] += 1
            self.solve = step_solver(self.jacobian, weights, self.share)
            self.factored = weights
        return self.solve

    def step(self, k: int, before: FloatArray, guess: FloatArray, size: FloatArray) -> Any:
        # The state at times[k + 1], or nothing.
        weights, past = np.empty_like(before), np.empty_like(before)
        for memory, own in zip(self.memories, self.columns, strict=True):
            weights[own], past[own] = memory.newest(), memory.past()
        if k < len(self.factors):
            past -= self.factors[k] * self.slope

        def residual(y: FloatArray) -> FloatArray:
            step = y - before
            return np.asarray(weights * step + past - self.rates(k, before, step))

        allowed = _ALLOWED * size
        for attempt, most in enumerate((_QUICK, _PATIENT)):
            if attempt > 0 or self.jacobian is None:
                self.renew(k, guess)
            try:
                solve = self.factorise(weights)
            except SingularSystemError:
                continue
            found = newton(residual, solve, guess, allowed=allowed, most=most, exact=self.exact)
            self.stats["iterations"] += found.iterations
            if found.converged:
                if found.factor > _SLOW and not self.exact:
                    self.renew(k, found.value)
                return found.value
        return self.damped(k, residual, weights, guess, allowed)

    def damped(
        self,
        k: int,
        residual: Callable[[FloatArray], FloatArray],
        weights: FloatArray,
        guess: FloatArray,
        allowed: FloatArray,
    ) -> Any:
        y, gap = guess, residual(guess)
        for _ in range(_DAMPED):
            self.renew(k, y)
            self.stats["iterations"] += 1
            try:
                correction = self.factorise(weights)(gap)
            except SingularSystemError:
                return None
            share, height = 1.0, float(np.abs(gap / (weights * allowed)).max())
            for _ in range(_HALVINGS):
                trial = y - share * correction
                left = residual(trial)
                below = float(np.abs(left / (weights * allowed)).max())
                if below <= (1.0 - 1e-4 * share) * height or below <= 1.0:
                    break
                share *= 0.5
            else:
                return None
            y, gap = trial, left
            if share == 1.0 and float(np.abs(correction / allowed).max()) <= 1.0:
                return y
        return None


def step_through(
    problem: FractionalODE,
    scheme: ConvolutionScheme,
    times: FloatArray,
    *,
    watch: Callable[[int], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Stepped:
    """March a system through a mesh.

    Parameters
    ----------
    problem : FractionalODE
        The system.
    scheme : ConvolutionScheme
        Weights and history.
    times : (N + 1,) float64 [t]
        The mesh, which the scheme admits.
    watch : callable, optional
        Called after each step with the number of steps done.
    checkpoint : Checkpoint, optional
        Where the march is saved and resumed, to the last digit.

    Returns
    -------
    Stepped
    """
    if is_plain(problem):
        return _linear(problem, scheme, times, watch, checkpoint)
    march = _March(problem, scheme, times)
    values = np.full((len(times), problem.dimension), np.nan)
    values[0] = problem.initial
    marks = None
    if checkpoint is not None:
        marks = system_marks(problem, scheme, times, kind="steps")
    done, keeper = 0, keeper_of(checkpoint, marks)
    found = keeper.found()
    if found is not None:
        with keeper.reading():
            done = march.restore(found, values)
    with keeper:
        status, trouble = _go_on(march, values, done, keeper, watch)
        keeper.finish()
    residual = np.nan if trouble else _residual(march, scheme, values)
    return Stepped(
        values=values, status=status, trouble=trouble, residual=residual, stats=march.stats
    )


def _go_on(
    march: _March,
    values: FloatArray,
    done: int,
    keeper: Keeper,
    watch: Callable[[int], None] | None,
) -> tuple[Status, str]:
    # The steps that are not done.
    times, largest = march.times, np.abs(values[: done + 1]).max(axis=0)
    for k in range(done, len(times) - 1):
        before = values[k]
        guess = before
        if k > 0:
            ratio = (times[k + 1] - times[k]) / (times[k] - times[k - 1])
            guess = before + min(ratio, 1.0) * (before - values[k - 1])
        size = np.maximum(largest, _SMALL * largest.max())
        if k == 0 or largest.max() == 0.0:
            size = np.maximum(size, march.size_after(k, before))
        found = march.step(k, before, guess, size)
        if found is None:
            return _failure(march, k, before)
        march.push(found)
        values[k + 1] = found
        largest = np.maximum(largest, np.abs(found))
        march.stats["steps"] += 1
        if keeper.active:
            keeper.publish(march.published(values[: k + 2]))
        if watch is not None:
            watch(k + 1)
    return Status.SUCCESS, ""


def _linear(
    problem: FractionalODE,
    scheme: ConvolutionScheme,
    times: FloatArray,
    watch: Callable[[int], None] | None,
    checkpoint: Checkpoint | None,
) -> Stepped:
    status, trouble = Status.SUCCESS, ""
    stats = dict.fromkeys(("steps", "iterations", "evaluations", "jacobians"), 0)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # said below, with the time
            values, residual, factorisations = march_linear(
                problem, scheme, times, watch=watch, checkpoint=checkpoint
            )
    except SingularSystemError as error:
        values, residual, factorisations = np.full((len(times), problem.dimension), np.nan), 0.0, 0
        values[0] = problem.initial
        status, trouble = Status.NOT_CONVERGED, f"A step has no solution: {error}."
    if not trouble and not np.all(np.isfinite(values)):
        first = times[int(np.argmin(np.isfinite(values).all(axis=1)))]
        status, trouble = Status.NOT_FINITE, f"The solution overflows at t = {first:.6g}."
    stats |= {"steps": len(times) - 1, "factorisations": factorisations}
    return Stepped(values=values, status=status, trouble=trouble, residual=residual, stats=stats)


def _failure(march: _March, k: int, before: FloatArray) -> tuple[Status, str]:
    t, tau = march.times[k], march.times[k + 1] - march.times[k]
    rate = march.rates(k, before, np.zeros_like(before))
    if not np.all(np.isfinite(rate)):
        span = f"from t = {t:.6g} to {t + tau:.6g}"
        return Status.NOT_FINITE, f"The right-hand side is not finite in the step {span}."
    return Status.NOT_CONVERGED, (
        f"Newton's method failed in the step from t = {t:.6g} of length {tau:.3g}, where the "
        f"right-hand side is {np.abs(rate).max():.3g}; take shorter steps or check `jacobian`."
    )


def _residual(march: _March, scheme: ConvolutionScheme, values: FloatArray) -> float:
    # Of the last step, by the weights themselves: another road than memory and Newton's method.
    k = len(values) - 2
    increments = np.diff(values, axis=0)
    rate = march.rates(k, values[k], increments[k])
    if k < len(march.factors):
        rate = rate + march.factors[k] * march.slope
    gap, largest = 0.0, float(np.abs(rate).max())
    for memory, own in zip(march.memories, march.columns, strict=True):
        weights = scheme.weights(march.times, alpha=memory.alpha)
        derivative = weights @ increments[:, own]
        gap = max(gap, float(np.abs(derivative - rate[own]).max()))
        largest = max(largest, float((np.abs(weights) @ np.abs(increments[:, own])).max()))
    return gap / max(largest, 1e-300)

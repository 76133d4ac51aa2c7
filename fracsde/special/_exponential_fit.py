r"""Positive sums of exponentials with the fewest terms for a tolerance.

Minimise, over logarithms of rates and weights so that both stay positive,

.. math::
    \sum_i \Bigl( d_i \Bigl[ \sum_k w_k e^{-u_k y_i} - f(y_i) \Bigr] \Bigr)^2

on a logarithmic grid, by Gauss-Newton steps in a trust region.  For a completely monotone ``f``
the best sum of ``n`` terms exists, is positive and has an error that changes sign ``2 n`` times;
the difficulty is only to start near it, since far from it the steps are ill-conditioned.  So the
optimum is followed in ``n``: as a curve over the index, scaled to [0, 1], ``log u`` and ``log w``
change slowly from one optimum to the next, and the next start is extrapolated from the last two.

Not here: which functions, and on which grids (:mod:`fracsde.special.exponentials`).

References: [BraessHackbusch2005]_ for existence and rates of the best sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import nnls
from scipy.special import gammaln

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fracsde._typing import FloatArray

__all__ = ["SAFETY", "FitProblem", "followed", "shortest"]

SAFETY = 1.02  # of an error measured on a grid, for what lies between two of its points

_STEPS = 60  # Gauss-Newton steps for one number of terms
_LONGEST = 0.7  # change of a logarithm in one step
_GAIN, _LEAST_GAIN = 0.01, 1e-4  # of a step, of the square, at which the descent ends
_SLOW = 0.8  # of the error before, above which the descent has ended too soon


@dataclass(frozen=True, kw_only=True, eq=False)
class FitProblem:
    """A function on a grid and how its errors are weighed.

    Parameters
    ----------
    y : (m,) float64 [y]
        Increasing, not negative.
    values : (m,) float64 [1]
        The function.
    scale : (m,) float64 [1]
        Factors of the errors; their reciprocal for relative errors.
    unit_mass : bool
        Whether weights must add up to one.
    """

    y: FloatArray
    values: FloatArray
    scale: FloatArray
    unit_mass: bool

    def terms(self, weights: FloatArray, rates: FloatArray) -> FloatArray:
        """Return the scaled terms, one column each."""
        return np.asarray(
            weights * np.exp(-np.outer(self.y, rates)) * self.scale[:, None], dtype=np.float64
        )

    def worst(self, weights: FloatArray, rates: FloatArray) -> float:
        """Return the largest scaled error on the grid."""
        error = self.terms(weights, rates).sum(axis=1) - self.scale * self.values
        return float(np.abs(error).max())

    def changes(self, weights: FloatArray, rates: FloatArray) -> int:
        """Return how often the error changes sign: ``2 n`` times at the optimum of ``n`` terms."""
        error = self.terms(weights, rates).sum(axis=1) - self.scale * self.values
        sign = np.sign(error[error != 0.0])
        return int(np.count_nonzero(sign[1:] != sign[:-1]))


def followed(
    problem: FitProblem, lowest: float, highest: float, counts: range, *, power: float = 0.0
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield weights and rates of the optimum for a growing number of terms.

    Parameters
    ----------
    problem : FitProblem
        What to fit.
    lowest, highest : float [1/y]
        Range of the rates at the start.
    counts : range
        Numbers of terms, from at least two.
    power : float [1]
        Weights start like this power of the rates; equal to each other at 0.

    Yields
    ------
    tuple of (n,) float64
        Weights and rates, rates increasing.
    """
    past: list[tuple[FloatArray, FloatArray]] = []
    smallest = np.inf
    for n in counts:
        best, changes = None, -1
        for rates, guess in _starts(past, n, lowest, highest, power):
            for weights in (guess, _fitted_weights(problem, rates, guess)):
                found = _descend(problem, weights, rates)
                count = problem.changes(*found)
                if count > changes:
                    best, changes = found, count
                if changes >= 2 * n - 2:
                    break
            if changes >= 2 * n - 2:
                break
        if best is None:  # pragma: no cover - there is always a start
            continue
        if problem.worst(*best) > _SLOW * smallest:  # a flat valley, and no optimum
            further = _descend(problem, *best, gain=_LEAST_GAIN)
            if problem.worst(*further) < problem.worst(*best):
                best, changes = further, problem.changes(*further)
        smallest = min(smallest, problem.worst(*best))
        order = np.argsort(best[1])
        weights, rates = best[0][order], best[1][order]
        if changes >= 2 * n - 2 or not past:  # else not the optimum: of no use as a guide
            past = [*past[-1:], (np.log(rates), np.log(weights))]
        yield weights, rates


def _starts(
    past: list[tuple[FloatArray, FloatArray]],
    n: int,
    lowest: float,
    highest: float,
    power: float,
) -> Iterator[tuple[FloatArray, FloatArray]]:
    # Rates and weights extrapolated from the last two optima, then the last one stretched.
    if not past:
        rates = np.geomspace(lowest, highest, n)
        if power == 0.0:
            yield rates, np.full(n, 1.0 / n)
        else:  # the trapezoidal rule for t**-power
            step = np.log(highest / lowest) / (n - 1)
            yield rates, np.exp(power * np.log(rates) - gammaln(power)) * step
        return
    index = np.linspace(0.0, 1.0, n)
    rates, weights = (_curve(values)(index) for values in past[-1])
    if len(past) == 2:
        earlier = [_curve(values)(index) for values in past[0]]
        ahead = (n - len(past[1][0])) / (len(past[1][0]) - len(past[0][0]))
        yield (
            np.exp(rates + ahead * (rates - earlier[0])),
            np.exp(weights + ahead * (weights - earlier[1])),
        )
    yield np.exp(rates), np.exp(weights)


def _curve(values: FloatArray) -> CubicSpline:
    return CubicSpline(np.linspace(0.0, 1.0, len(values)), values)


def _fitted_weights(problem: FitProblem, rates: FloatArray, guess: FloatArray) -> FloatArray:
    # Best weights for given rates; the guess where the best one is zero.
    columns = problem.terms(np.ones(len(rates)), rates)
    try:
        weights = nnls(columns, problem.scale * problem.values)[0]
    except RuntimeError:  # it cycles where columns are nearly dependent
        weights = np.zeros(len(rates))
    weights = np.where(weights > 1e-3 * guess, weights, guess)
    return weights / weights.sum() if problem.unit_mass else weights


def _descend(
    problem: FitProblem, weights: FloatArray, rates: FloatArray, *, gain: float = _GAIN
) -> tuple[FloatArray, FloatArray]:
    # Gauss-Newton steps in a trust region of the logarithms; of normalised weights where the
    # mass is given, whose direction without effect has no component in the residual.
    n, wanted = len(rates), problem.scale * problem.values
    p = np.concatenate([np.log(weights), np.log(rates)])
    terms = problem.terms(weights, rates)
    residual = terms.sum(axis=1) - wanted
    square, radius = float(residual @ residual), _LONGEST
    for _ in range(_STEPS):
        by_weight = terms
        if problem.unit_mass:
            by_weight = terms - weights * terms.sum(axis=1)[:, None]
        jacobian = np.hstack([by_weight, -terms * np.outer(problem.y, rates)])
        left, s, right = np.linalg.svd(jacobian, full_matrices=False)
        along = left.T @ residual
        for _ in range(6):
            step = _within(s, along, right, radius)
            trial = p - step
            weights, rates = np.exp(trial[:n]), np.exp(trial[n:])
            if problem.unit_mass:
                weights /= weights.sum()
            terms = problem.terms(weights, rates)
            residual = terms.sum(axis=1) - wanted
            lower = float(residual @ residual)
            if lower < square:
                break
            radius = 0.3 * float(np.abs(step).max())
        else:
            break
        gained, p, square = 1.0 - lower / square, trial, lower
        free = np.abs(step).max() < 0.99 * radius
        radius = min(_LONGEST, 3.0 * radius)
        if gained < gain and free:
            break
    weights, rates = np.exp(p[:n]), np.exp(p[n:])
    return (weights / weights.sum() if problem.unit_mass else weights), rates


def _within(s: FloatArray, along: FloatArray, right: FloatArray, radius: float) -> FloatArray:
    # The Gauss-Newton step, damped until no logarithm changes by more than ``radius``.
    damping = 1e-30 + (1e-15 * s[0]) ** 2
    while True:
        step = right.T @ (s / (s * s + damping) * along)
        if np.abs(step).max() <= radius:
            return np.asarray(step, dtype=np.float64)
        damping *= 3.0


def shortest(
    sums: Iterator[tuple[FloatArray, FloatArray]],
    coarse: FitProblem,
    dense: FitProblem,
    rtol: float,
    rounding: float,
    patience: int,
    lost: int,
) -> tuple[FloatArray, FloatArray, float]:
    """Return the first optimum whose certified error keeps the tolerance, or the best there is.

    Parameters
    ----------
    sums : iterator of tuple of (n,) float64
        Weights and rates for a growing number of terms.
    coarse, dense : FitProblem
        The grid of the fit, and that of the certificate.
    rtol : float [1]
        Tolerance of the scaled error.
    rounding : float [1]
        Of the function and the sum, added to what is measured.
    patience : int
        Numbers of terms without an improvement after which rounding has won.
    lost : int
        Optima missed in a row after which to give up.

    Returns
    -------
    tuple of (n,) float64, (n,) float64 and float
        Weights, rates and certified error.

    Raises
    ------
    AssertionError
        If there is no sum at all.
    """
    best: tuple[FloatArray, FloatArray, float] | None = None
    lowest, stale, missed = np.inf, 0, 0
    for weights, rates in sums:
        worst = coarse.worst(weights, rates)
        missed = missed + 1 if coarse.changes(weights, rates) < 2 * len(rates) - 2 else 0
        lowest, stale = (worst, 0) if worst < 0.9 * lowest else (lowest, stale + 1)
        if stale and worst > lowest and stale < patience and missed < lost:
            continue
        error = SAFETY * dense.worst(weights, rates) + rounding
        if best is None or error < best[2]:
            best = (weights, rates, error)
        if best[2] <= rtol or stale >= patience or missed >= lost:
            break
    if best is None:  # pragma: no cover - the loop runs at least once
        msg = "no sum was tried"
        raise AssertionError(msg)
    return best

r"""Sums of decaying exponentials with positive weights: a relaxation as a mixture of plain ones.

.. math::
    E_\alpha(-y) \approx \sum_{k=1}^{n} w_k\, e^{-u_k y}
    \quad (0 \le y \le y_{\max},\; \textstyle\sum_k w_k = 1) , \qquad
    t^{-\beta} \approx \sum_{k=1}^{n} w_k\, e^{-u_k t}
    \quad (\delta \le t \le T) ,

with all :math:`w_k, u_k > 0`.  The first is absolute in its error, and with
:math:`y = \lambda t^\alpha` every term is a Markov semigroup at the time
:math:`u_k t^\alpha`: positivity, mass and the factors of a Kronecker sum all survive.  The second
is relative in its error and turns a memory integral into ``n`` recursions.

Both functions are completely monotone, so sums with the smallest error exist and are positive;
they are found by following the optimum in ``n`` (:mod:`fracsde.special._exponential_fit`).  The
first ``n`` whose error keeps the tolerance **on a grid several times denser than that of the fit**
is returned.  For powers every step is an optimum; for relaxations beyond about fifteen terms some
are missed, and the sum may be a few terms longer than the best.  Terms needed:

==================================  =====  =====  =====  ======  ======
``rtol``                            1e-4   1e-6   1e-8   1e-10   1e-12
==================================  =====  =====  =====  ======  ======
relaxation, 0.6, largest 1e3        7      11     15     20      26
relaxation, 0.6, largest 1e5        7      14     20     25      31
power, 0.6, :math:`T/\delta` 1e3    10     14     18     22      26
power, 0.6, :math:`T/\delta` 1e5    15     21     27     34      40
power, 0.6, :math:`T/\delta` 1e9    26     36     47     57      69
==================================  =====  =====  =====  ======  ======

``tests/special/test_exponentials.py`` measures errors and table;
``benchmarks/bench_rational.py`` sets the counts beside those of quadrature rules.

Not here: rational forms (:mod:`fracsde.special.rational`), contours
(:mod:`fracsde.special.contours`), the recursions in time.

References: [BraessHackbusch2005]_ for best sums of exponentials.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import finite_array, real
from fracsde.errors import InputError, OutOfRangeError
from fracsde.special._exponential_fit import FitProblem, followed
from fracsde.special.contours import relaxation_oracle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["ExponentialSum", "power_exponentials", "relaxation_exponentials"]

_MOST = 128  # terms
_PATIENCE = 10  # numbers of terms without an improvement after which rounding has won
_DENSER = 8  # the grid of the certificate against that of the fit
_SAFETY = 1.02  # between two of its points
_ROUNDING = 2e-15  # of the function itself and of the sum
_SMALLEST = 1e-2  # the relaxation's first ripple lies beyond it
_STRETCHES = (10.0, 100.0)  # of an interval too short for the optimum to be followed
_EASY = 1e-13  # tolerances that rounding does not forbid
_SLACK = 1e-12  # by which an argument may leave the interval, as computed times do


@dataclass(frozen=True, kw_only=True, eq=False)
class ExponentialSum:
    r"""A positive combination of decaying exponentials.

    Parameters
    ----------
    weights : (n,) float64
        Positive; of the unit of the function.
    rates : (n,) float64 [1/y]
        Positive, increasing.
    error : float [1]
        Certified bound of the largest error on ``valid``.
    relative : bool
        Whether ``error`` is relative to the function's value.
    valid : tuple of float [y]
        First and last argument served.
    """

    weights: FloatArray
    rates: FloatArray
    error: float
    relative: bool
    valid: tuple[float, float]

    def __call__(self, y: ArrayLike) -> FloatArray:
        """Evaluate the sum.

        Parameters
        ----------
        y : array_like [y]
            Inside ``valid``, any shape.

        Returns
        -------
        ndarray of float64
            Of the shape of ``y``.

        Raises
        ------
        OutOfRangeError
            If an argument lies outside ``valid``.
        """
        y = finite_array("y", y)
        low, high = self.valid
        outside = (y < low * (1.0 - _SLACK)) | (y > high * (1.0 + _SLACK))
        if np.any(outside):
            worst = float(y[outside].flat[0])
            msg = (
                f"`y` must lie in [{low:g}, {high:g}], got {worst:g}; build the sum for a "
                "wider interval"
            )
            raise OutOfRangeError(msg)
        return np.asarray(np.exp(-y[..., None] * self.rates) @ self.weights)[()]


def relaxation_exponentials(alpha: float, *, rtol: float = 1e-12, largest: float) -> ExponentialSum:
    r"""Return the shortest positive sum that is :math:`E_\alpha(-y)` on an interval from zero.

    Parameters
    ----------
    alpha : float [1]
        Order, ``0 < alpha <= 1``; at 1 the sum is ``exp(-y)`` itself.
    rtol : float [1]
        Largest error, relative to ``E(0) = 1``.
    largest : float [1]
        End of the interval: the largest ``lam * t**alpha``.

    Returns
    -------
    ExponentialSum
        Weights add up to one; absolute error; built once for each set of arguments.

    Raises
    ------
    OutOfRangeError
        If ``rtol`` is below what rounding allows; the message says what can be had.

    References
    ----------
    [BraessHackbusch2005]_ for best sums of exponentials.

    Examples
    --------
    >>> mixture = relaxation_exponentials(0.5, rtol=1e-8, largest=100.0)
    >>> from scipy.special import erfcx
    >>> bool(abs(mixture(30.0) - erfcx(30.0)) < 1e-8)
    True
    >>> bool(abs(mixture.weights.sum() - 1.0) < 1e-15)
    True
    """
    alpha = real("alpha", alpha, low=0.0, high=1.0, closed="high")
    rtol = real("rtol", rtol, low=0.0, high=1.0, remedy="it is relative to E(0) = 1")
    largest = real("largest", largest, low=0.0)
    return _kept(_relaxation(alpha, rtol, largest), rtol)


def power_exponentials(
    beta: float, *, rtol: float = 1e-10, window: Sequence[float]
) -> ExponentialSum:
    r"""Return the shortest positive sum that is :math:`t^{-\beta}` on a window of times.

    Parameters
    ----------
    beta : float [1]
        Exponent, positive.
    rtol : float [1]
        Largest relative error.
    window : pair of float [t]
        First and last time, positive.

    Returns
    -------
    ExponentialSum
        Relative error; built once for each set of arguments.

    Raises
    ------
    InputError
        If the window is not a pair.
    OutOfRangeError
        If the window's powers overflow, or ``rtol`` is below what rounding allows; the message
        says what can be had.

    References
    ----------
    [BraessHackbusch2005]_ for best sums of exponentials.

    Examples
    --------
    >>> kernel = power_exponentials(0.6, rtol=1e-8, window=(1e-3, 10.0))
    >>> bool(abs(kernel(0.5) / 0.5**-0.6 - 1.0) < 1e-8)
    True
    """
    beta = real("beta", beta, low=0.0)
    rtol = real("rtol", rtol, low=0.0, high=1.0)
    try:
        first, last = window
    except (TypeError, ValueError) as error:
        msg = f"`window` must be a pair of times, got {window!r}"
        raise InputError(msg) from error
    first = real("window[0]", first, low=0.0, remedy="times are positive")
    last = real("window[1]", last, low=first, remedy="the window ends after it starts")
    powers = beta * max(abs(np.log(first)), abs(np.log(last)), np.log(last / first))
    if powers > np.log(1e250):
        msg = (
            f"`beta` = {beta:g} in the window {first:g} to {last:g} makes powers beyond 1e250; "
            "scale the time"
        )
        raise OutOfRangeError(msg)
    return _kept(_power(beta, rtol, first, last), rtol)


def _kept(found: ExponentialSum, rtol: float) -> ExponentialSum:
    # The sum, if it keeps the tolerance.
    if found.error > rtol:
        msg = (
            f"`rtol` = {rtol:g} cannot be had from at most {_MOST} terms in double precision; "
            f"ask for {1.1 * found.error:.1e} or more"
        )
        raise OutOfRangeError(msg)
    return found


@lru_cache(maxsize=128)
def _relaxation(alpha: float, rtol: float, largest: float) -> ExponentialSum:
    if alpha == 1.0:
        one = np.ones(1)
        return _frozen(one, one.copy(), _ROUNDING, relative=False, valid=(0.0, largest))

    weights, rates, error = _relaxation_fit(alpha, rtol, largest)
    for stretch in _STRETCHES:
        if error > rtol >= _EASY:
            weights, rates, error = _relaxation_fit(alpha, rtol, stretch * largest)
    return _frozen(weights, rates, error, relative=False, valid=(0.0, largest))


def _relaxation_fit(
    alpha: float, rtol: float, largest: float
) -> tuple[FloatArray, FloatArray, float]:
    def problem(density: int) -> FitProblem:
        start = min(_SMALLEST / density, largest / 100.0)
        count = density * (150 + int(25.0 * np.log(largest / start)))
        y = np.concatenate([[0.0], np.geomspace(start, largest, count)])
        return FitProblem(
            y=y, values=relaxation_oracle(y, alpha), scale=np.ones(len(y)), unit_mass=True
        )

    return _shortest(problem(1), problem(_DENSER), rtol, max(largest, 3.0), 2)


@lru_cache(maxsize=128)
def _power(beta: float, rtol: float, first: float, last: float) -> ExponentialSum:
    weights, rates, error = _unit_power(beta, rtol, last / first)
    return _frozen(weights * first**-beta, rates / first, error, relative=True, valid=(first, last))


@lru_cache(maxsize=128)
def _unit_power(beta: float, rtol: float, ratio: float) -> tuple[FloatArray, FloatArray, float]:
    # On the window (1, ratio); other windows differ by a factor.
    def problem(density: int) -> FitProblem:
        t = np.geomspace(1.0, ratio, density * (150 + int(25.0 * np.log(ratio))))
        return FitProblem(y=t, values=t**-beta, scale=t**beta, unit_mass=False)

    fewest = max(2, int(np.log(ratio) / 3.0))
    return _shortest(problem(1), problem(_DENSER), rtol, ratio, fewest)


def _shortest(
    coarse: FitProblem, dense: FitProblem, rtol: float, longest: float, fewest: int
) -> tuple[FloatArray, FloatArray, float]:
    # The first optimum whose certified error keeps the tolerance, or the best there is.
    best: tuple[FloatArray, FloatArray, float] | None = None
    lowest, stale = np.inf, 0
    for weights, rates in followed(coarse, 0.3 / longest, 2.0, range(fewest, _MOST + 1)):
        worst = coarse.worst(weights, rates)
        lowest, stale = (worst, 0) if worst < 0.9 * lowest else (lowest, stale + 1)
        if stale and worst > lowest and stale < _PATIENCE:
            continue
        error = _SAFETY * dense.worst(weights, rates) + _ROUNDING
        if best is None or error < best[2]:
            best = (weights, rates, error)
        if best[2] <= rtol or stale >= _PATIENCE:
            break
    if best is None:  # pragma: no cover - the loop runs at least once
        msg = "no sum was tried"
        raise AssertionError(msg)
    return best


def _frozen(
    weights: FloatArray,
    rates: FloatArray,
    error: float,
    *,
    relative: bool,
    valid: tuple[float, float],
) -> ExponentialSum:
    weights.flags.writeable = rates.flags.writeable = False
    return ExponentialSum(weights=weights, rates=rates, error=error, relative=relative, valid=valid)

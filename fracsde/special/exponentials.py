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
are missed, and the sum may be a few terms longer than the best.  On an interval where several are
missed in a row the sum of one up to a hundred times longer serves.  Where ``largest`` is beyond
1e8 they are missed soon; a trapezoidal rule for
:math:`E_\alpha(-y) = \int M_\alpha(u) e^{-uy}\, du`, positive and certified in the same way, then
comes first, with up to three times as many terms.
Sum and function decrease, so beyond :math:`y_c = 4/` ``rtol`` they differ by no more than their
values at :math:`y_c`, and nothing is fitted there.  Terms needed:

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
from fracsde.special._exponential_fit import SAFETY, FitProblem, followed, shortest
from fracsde.special.contours import relaxation_oracle
from fracsde.special.stable import HIGHEST_ORDER, LOWEST_ORDER, wright_m

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["ExponentialSum", "power_exponentials", "relaxation_exponentials"]

_MOST = 128  # terms
_PATIENCE = 10  # numbers of terms without an improvement after which rounding has won
_DENSER = 8  # the grid of the certificate against that of the fit
_ROUNDING = 2e-15  # of the function itself and of the sum
_SMALLEST = 1e-2  # the relaxation's first ripple lies beyond it
_STRETCHES = (3.0, 10.0, 100.0)  # of an interval on which the optimum is lost
_LOST = 4  # optima missed in a row after which a longer interval is tried
_EASY = 1e-13  # tolerances that rounding does not forbid
_LONG = 1e8  # intervals on which the optimum is soon lost and quadrature serves
_LONG_TO_STRETCH = 1e5
_LARGEST_BETA = 100.0  # beyond it weights near exp(3 beta) overflow with the window's scale
_WIDEST, _SHORTEST, _LAST = 1e30, 1e-290, 1e290  # of windows: ratio of ends, first and last time
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
    return _kept(_relaxation(alpha, rtol, largest), rtol, "ask for a shorter interval")


def power_exponentials(
    beta: float, *, rtol: float = 1e-10, window: Sequence[float]
) -> ExponentialSum:
    r"""Return the shortest positive sum that is :math:`t^{-\beta}` on a window of times.

    Parameters
    ----------
    beta : float [1]
        Exponent, ``0 < beta <= 100``.
    rtol : float [1]
        Largest relative error.
    window : pair of float [t]
        First and last time, between 1e-290 and 1e290, the last at most 1e30 times the first.

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
    beta = real(
        "beta",
        beta,
        low=0.0,
        high=_LARGEST_BETA,
        closed="high",
        remedy="write larger powers as products",
    )
    rtol = real("rtol", rtol, low=0.0, high=1.0)
    try:
        first, last = window
    except (TypeError, ValueError) as error:
        msg = f"`window` must be a pair of times, got {window!r}"
        raise InputError(msg) from error
    first = real("window[0]", first, low=0.0, remedy="times are positive")
    last = real("window[1]", last, low=first, remedy="the window ends after it starts")
    if first < _SHORTEST or last > _LAST:
        msg = (
            f"`window` must lie between {_SHORTEST:g} and {_LAST:g}, got {first:g} to {last:g}; "
            "scale the time"
        )
        raise OutOfRangeError(msg)
    if last > _WIDEST * first:
        msg = (
            f"`window` must end at most {_WIDEST:g} times later than it starts, got {first:g} to "
            f"{last:g}; use one sum for each part of it"
        )
        raise OutOfRangeError(msg)
    powers = beta * max(abs(np.log(first)), abs(np.log(last)), np.log(last / first))
    if powers > np.log(1e250):
        msg = (
            f"`beta` = {beta:g} in the window {first:g} to {last:g} makes powers beyond 1e250; "
            "scale the time"
        )
        raise OutOfRangeError(msg)
    return _kept(_power(beta, rtol, first, last), rtol, "narrow the window")


def _kept(found: ExponentialSum, rtol: float, else_do: str) -> ExponentialSum:
    # The sum, if it keeps the tolerance.
    if found.error > rtol:
        offered = 1.1 * found.error
        remedy = f"ask for {offered:.1e} or more" if offered < 0.95 else else_do
        msg = (
            f"`rtol` = {rtol:g} cannot be had from at most {_MOST} terms in double precision; "
            f"{remedy}"
        )
        raise OutOfRangeError(msg)
    return found


@lru_cache(maxsize=128)
def _relaxation(alpha: float, rtol: float, largest: float) -> ExponentialSum:
    if alpha == 1.0:
        one = np.ones(1)
        return _frozen(one, one.copy(), _ROUNDING, relative=False, valid=(0.0, largest))

    valid, cut = (0.0, largest), 4.0 / rtol
    if largest <= cut:
        weights, rates, error = _relaxation_sum(alpha, rtol, largest)
    else:  # E(-y) <= 1 / (1 + y), so that at the cut it is a quarter of the tolerance
        weights, rates, error = _relaxation_sum(alpha, 0.7 * rtol, cut)
        error = max(error, float(np.exp(-cut * rates) @ weights), 1.0 / cut)
    return _frozen(weights, rates, error, relative=False, valid=valid)


def _relaxation_sum(
    alpha: float, rtol: float, largest: float
) -> tuple[FloatArray, FloatArray, float]:
    # The optimum followed, on a longer interval where it is lost, else a rule of quadrature.
    if largest > _LONG:
        found = _relaxation_rule(alpha, rtol, largest)
        return found if found[2] <= rtol else _better(found, _relaxation_fit(alpha, rtol, largest))
    if rtol < _EASY:
        return _relaxation_fit(alpha, rtol, largest)
    found = _relaxation_fit(alpha, rtol, largest, lost=_LOST)
    for stretch in _STRETCHES:
        if found[2] > rtol:
            found = _better(found, _relaxation_fit(alpha, rtol, stretch * largest, lost=_LOST))
    if found[2] > rtol and largest > _LONG_TO_STRETCH:
        found = _better(found, _relaxation_rule(alpha, rtol, largest))
    # At last all numbers of terms, however many optima are missed.
    return found if found[2] <= rtol else _better(found, _relaxation_fit(alpha, rtol, largest))


def _better(
    first: tuple[FloatArray, FloatArray, float], second: tuple[FloatArray, FloatArray, float]
) -> tuple[FloatArray, FloatArray, float]:
    return min(first, second, key=lambda found: found[2])


def _relaxation_rule(
    alpha: float, rtol: float, largest: float
) -> tuple[FloatArray, FloatArray, float]:
    # The trapezoidal rule in v, u = exp(v - exp(-v)), with the fewest terms of a few steps.
    problem = _relaxation_problem(alpha, largest, _DENSER)
    alpha = min(max(alpha, LOWEST_ORDER), HIGHEST_ORDER)  # the error measured tells
    best = (np.ones(1), np.ones(1), np.inf)
    for step in 0.8 * 0.93 ** np.arange(40):
        v = step * np.arange(np.ceil(-4.0 / step), np.ceil(12.0 / step))
        rates = np.exp(v - np.exp(-v))
        weights = wright_m(rates, alpha) * rates * (1.0 + np.exp(-v)) * step
        rates, weights = (x[weights > 0.02 * rtol] for x in (rates, weights))
        if len(rates) > _MOST:
            break
        weights /= weights.sum()
        error = SAFETY * problem.worst(weights, rates) + _ROUNDING
        if error < best[2]:
            best = (weights, rates, error)
        if error <= rtol:
            break
    return best


def _relaxation_fit(
    alpha: float, rtol: float, largest: float, lost: int = _MOST
) -> tuple[FloatArray, FloatArray, float]:
    coarse, dense = (_relaxation_problem(alpha, largest, density) for density in (1, _DENSER))
    sums = followed(coarse, 0.3 / max(largest, 3.0), 2.0, range(2, _MOST + 1))
    patience = _PATIENCE if largest <= _LONG else 5
    return shortest(sums, coarse, dense, rtol, _ROUNDING, patience, lost)


def _relaxation_problem(alpha: float, largest: float, density: int) -> FitProblem:
    start = min(_SMALLEST / density, largest / 100.0)
    count = density * (150 + int(25.0 * np.log(largest / start)))
    y = np.concatenate([[0.0], np.geomspace(start, largest, count)])
    return FitProblem(
        y=y, values=relaxation_oracle(y, alpha), scale=np.ones(len(y)), unit_mass=True
    )


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

    # Rates near beta / t matter, each over a factor of about 1 + 1 / sqrt(beta).
    steep = max(1.0, beta)
    fewest = max(2, int(np.log(ratio) * np.sqrt(steep) / 3.0))
    coarse, dense = problem(1), problem(_DENSER)
    counts = range(min(fewest, _MOST), _MOST + 1)
    sums = followed(coarse, 0.3 * steep / ratio, 2.0 * steep, counts, power=beta)
    # Rates and times are rounded, and the power is as sensitive to them as beta.
    return shortest(sums, coarse, dense, rtol, _ROUNDING + 3e-16 * beta, _PATIENCE, _MOST)


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

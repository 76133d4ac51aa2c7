r"""Powers as sums of exponentials by quadrature: at once, and for any window.

.. math::
    t^{-\beta} = \frac{1}{\Gamma(\beta)} \int_{-\infty}^{\infty} e^{-t u(v)}\, u(v)^{\beta - 1}
                 u'(v)\, dv , \qquad u(v) = \exp(v - e^{-v}) ,

by the trapezoidal rule in ``v``.  The substitution makes the integrand vanish doubly
exponentially on the slow side, and it vanishes so on the fast side by itself, so that the error
falls exponentially with the number of terms.  Rates too slow to be told from zero within the
window are gathered in one.  The error is measured on a dense grid, as in
:mod:`fracsde.special.exponentials`, whose best sums need two thirds of the terms and seconds to be
found.

At :math:`\beta = 0` the sum is the constant.

References: [McLean2018]_ for the substitution.
"""

from __future__ import annotations

from functools import lru_cache
from math import lgamma
from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import real
from fracsde.errors import OutOfRangeError
from fracsde.special.exponentials import ExponentialSum

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["power_rule"]

_FINEST = 0.05  # step of the rule, near which only rounding is left
_PER_DECADE = 40  # times at which the error is measured
_SAFETY = 1.1  # between them
_ROUNDING = 1e-15
_STILL = 1e-17  # rate times the last time, below which a term is a constant


@lru_cache(maxsize=64)
def power_rule(beta: float, *, rtol: float, first: float, last: float) -> ExponentialSum:
    """Return a positive sum that is ``t**-beta`` on a window of times.

    Parameters
    ----------
    beta : float [1]
        Exponent, ``0 <= beta < 1``.
    rtol : float [1]
        Largest relative error, at least 1e-14.
    first, last : float [t]
        The window.

    Returns
    -------
    ExponentialSum

    Raises
    ------
    OutOfRangeError
        If rounding forbids the tolerance.

    Examples
    --------
    >>> kernel = power_rule(0.4, rtol=1e-10, first=1e-9, last=1.0)
    >>> bool(abs(kernel(1e-3) / 1e-3**-0.4 - 1.0) < 1e-10)
    True
    """
    beta = real("beta", beta, low=0.0, high=1.0, closed="low")
    rtol = real("rtol", rtol, low=1e-14, high=1.0, closed="low")
    first = real("first", first, low=0.0)
    last = real("last", last, low=first)
    if beta == 0.0:
        return ExponentialSum(
            weights=np.ones(1), rates=np.zeros(1), error=0.0, relative=True, valid=(first, last)
        )
    # On the window (first / last, 1): the slow side of the substitution stands at the last time.
    start = first / last
    times = np.geomspace(start, 1.0, 2 + int(-_PER_DECADE * np.log10(start)))
    target = times**-beta
    # The step that a strip of analyticity of half-width 1 justifies, and longer ones before it.
    step = 1.7 * 2.0 * np.pi / (np.log(3.0) - beta * np.log(np.cos(1.0)) - np.log(rtol))
    while step > _FINEST:
        weights, rates = _trapezoid(beta, step, rtol, start)
        error = 0.0
        for some in np.array_split(np.arange(len(times)), 1 + len(times) // 256):
            got = np.exp(-times[some, None] * rates) @ weights
            error = max(error, float(np.abs(got / target[some] - 1.0).max()))
        error = _SAFETY * error + _ROUNDING
        if error <= rtol:
            return ExponentialSum(
                weights=weights * last**-beta,
                rates=rates / last,
                error=error,
                relative=True,
                valid=(first, last),
            )
        step *= 0.95
    msg = f"`rtol` = {rtol:g} cannot be had in double precision; ask for {10 * rtol:.1e}"
    raise OutOfRangeError(msg)


def _trapezoid(
    beta: float, step: float, rtol: float, start: float
) -> tuple[FloatArray, FloatArray]:
    # Terms matter from where rate**beta reaches the tolerance on the slow side to where
    # exp(-rate * start) does on the fast one.
    digits = 3.0 - np.log(rtol)
    low = -np.log(1.0 + (digits - lgamma(1.0 + beta)) / beta)
    high = np.log(digits) + 2.0 - np.log(start)
    v = step * np.arange(np.floor(low / step), np.ceil(high / step))
    log_rates = v - np.exp(-v)
    rates = np.exp(log_rates)
    log_weights = beta * log_rates + np.log(step + step * np.exp(-v)) - lgamma(beta)
    gone = (rates * start > 1.0) & (
        log_weights + beta * np.log(start) - rates * start < np.log(0.003 * rtol)
    )
    weights, rates = np.exp(log_weights[~gone]), rates[~gone]
    still = rates < _STILL
    if np.any(still):
        weights = np.append(weights[still].sum(), weights[~still])
        rates = np.append(0.0, rates[~still])
    return weights, rates

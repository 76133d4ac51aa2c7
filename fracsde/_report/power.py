r"""How many effective observations a comparison needs, before a run is made.

A measurement with ``n`` effective observations of spread :math:`\sigma` (relative to the value
measured) that lies a relative :math:`e` off its prediction gives, with the tolerance
:math:`\delta`, Student's quantile :math:`t` at the two-sided level and
:math:`s = \sigma |1 + e| / \sqrt n`,

.. math::
    P(\text{DISAGREES}) \ge 1 - F_{n-1}\!\left( t;\, \frac{|e| - \delta}{s} \right), \qquad
    P(\text{AGREES}) \ge 1 - F_{n-1}\!\left( t;\, \frac{\delta - |e|}{s} \right)
    - F_{n-1}\!\left( t;\, \frac{\delta + |e|}{s} \right),

with the distribution :math:`F` of the noncentral Student's t; the second is Bonferroni's bound on
both ends of the band being cleared.  ``tests/test_power.py`` simulates both.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from scipy.special import nctdtr, stdtrit

from fracsde._check import real
from fracsde.errors import OutOfRangeError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["samples_to_decide"]

VARIANCE_SPREAD = sqrt(2.0)
_SURE = 30.0  # noncentrality beyond which the answer is certain


def samples_to_decide(
    error: float,
    *,
    tolerance: float,
    level: float = 1e-3,
    power: float = 0.95,
    spread: float = VARIANCE_SPREAD,
) -> int:
    """Return how many effective observations decide about one row.

    Parameters
    ----------
    error : float [1]
        True relative deviation of the measured value from the prediction, above -1: beyond the
        tolerance the row is to DISAGREE, within it to AGREE.  A theory whose variance is 10 % too
        large is off by ``1 / 1.1 - 1``.
    tolerance, level : float [1]
        As in :func:`fracsde.compare`.
    power : float [1]
        Probability with which the row is to be decided, in (0, 1).
    spread : float [1]
        Standard deviation of one observation relative to the value measured; the root of 2, that of
        a squared Gaussian draw, is right for variances.

    Returns
    -------
    int
        The smallest number for which the power is reached: independent draws, or draws divided by
        the autocorrelation time of what is averaged.  With chains, pass the spread of one chain.

    Raises
    ------
    OutOfRangeError
        If the error equals the tolerance, which no data decide, or an argument is out of range.

    Examples
    --------
    A variance that is 10 % off, at a tolerance of 5 %, and one that is right:

    >>> samples_to_decide(0.10, tolerance=0.05)
    23584
    >>> samples_to_decide(0.0, tolerance=0.05)
    22060
    """
    off = real("error", error, low=-1.0)
    band = real("tolerance", tolerance, low=0.0, high=1.0)
    level = real("level", level, low=0.0, high=1.0)
    power = real("power", power, low=0.0, high=1.0)
    size = real("spread", spread, low=0.0) * (1.0 + off)
    gap = abs(abs(off) - band)
    if gap <= 1e-12 * band:
        msg = (
            f"`error` must differ from the tolerance, got {off:g} and {band:g}; what lies on the "
            "edge is decided by no amount of data"
        )
        raise OutOfRangeError(msg)

    def reached(count: int) -> bool:
        quantile = -float(stdtrit(count - 1.0, 0.5 * level))
        root = sqrt(count) / size
        won = _beyond(quantile, count - 1.0, gap * root)
        if abs(off) < band:
            won += _beyond(quantile, count - 1.0, (band + abs(off)) * root) - 1.0
        return won >= power

    return _smallest(reached)


def _beyond(quantile: float, degrees: float, noncentrality: float) -> float:
    # Probability that a noncentral Student's t lies above a quantile.
    if noncentrality - quantile > _SURE:
        return 1.0
    return 1.0 - float(nctdtr(degrees, noncentrality, quantile))


def _smallest(reached: Callable[[int], bool]) -> int:
    low, high = 1, 2
    while not reached(high):
        low, high = high, 2 * high
        if high > 2**60:
            msg = "more than 10^18 observations would be needed; choose a larger tolerance"
            raise OutOfRangeError(msg)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high

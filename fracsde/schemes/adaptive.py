r"""Intervals chosen by the error: the scheme that is asked for a tolerance, not for steps.

The Volterra form

.. math::
    y(t) = y_0 + \frac{1}{\Gamma(\alpha)} \int_0^t (t - v)^{\alpha - 1} f(v, y(v))\, dv

is collocated at the right Radau nodes of intervals that grow from a tiny first one; :math:`f` is a
polynomial on each and a combination of the powers :math:`t^{j \alpha + k}` on the first, where
solutions start like :math:`y_0 + c\,t^\alpha`.  What earlier intervals left behind is kept as a
sum of exponentials.  The difference between :math:`f` at the start of an interval and the value
there of its polynomial, which uses later nodes only, gives the error of the interval, and the
linearised equation carries these errors on to a global estimate.  Where that misses the tolerance
the whole is done again with a smaller local one.

Where :math:`f` has a kink, a polynomial misses it between nodes: an interval is tried again,
shorter, also where :math:`f` half way between nodes is further from the polynomial through all of
them than the tolerance allows.

At :math:`\alpha = 1` this is the Radau IIA method, without memory.

References: [HairerWanner1996]_, [Brunner2004]_.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fracsde._check import real
from fracsde.errors import InputError, OutOfRangeError

__all__ = ["Adaptive"]

_FINEST, _COARSEST = 1e-12, 1e-1


@dataclass(frozen=True, kw_only=True)
class Adaptive:
    """Collocation on intervals that keep a tolerance.

    Parameters
    ----------
    rtol : float [1]
        Error allowed relative to the size of each component, between 1e-12 and 0.1.
    atol : float [y]
        Error allowed beside it, where components are small; positive.
    longest : float [t]
        Longest interval; shorten it where the right-hand side depends on time by pulses that an
        interval might step over.

    Raises
    ------
    OutOfRangeError
        If a number is outside its interval.

    References
    ----------
    [HairerWanner1996]_, [Brunner2004]_

    Examples
    --------
    >>> Adaptive(rtol=1e-8).degree()
    7
    """

    citation: ClassVar[tuple[str, ...]] = ("HairerWanner1996", "Brunner2004")

    rtol: float = 1e-6
    atol: float = 1e-9
    longest: float = np.inf

    def __post_init__(self) -> None:
        rtol = real("rtol", self.rtol, low=_FINEST, high=_COARSEST, closed="both")
        object.__setattr__(self, "rtol", rtol)
        object.__setattr__(self, "atol", real("atol", self.atol, low=0.0))
        try:
            longest = float(self.longest)
        except (TypeError, ValueError) as error:
            msg = f"`longest` must be a length of time, got {self.longest!r}"
            raise InputError(msg) from error
        if not longest > 0.0:
            msg = f"`longest` must be positive, got {longest:g}"
            raise OutOfRangeError(msg)
        object.__setattr__(self, "longest", longest)

    def degree(self) -> int:
        """Return the number of nodes per interval, by the tolerance.

        Returns
        -------
        int
        """
        return int(np.clip(np.ceil(2.0 - 0.6 * np.log10(self.rtol)), 3, 9))

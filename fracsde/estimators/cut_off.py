r"""What is seen only below a border, because records beyond it are refused.

A normal deviate with mean :math:`\mu` that is seen only where it is below :math:`b` has the density
:math:`\varphi(x - \mu) / \Phi(b - \mu)`, whose likeliest mean lies above what was seen,

.. math::
    \hat\mu - x = \lambda(u), \qquad \lambda = \varphi / \Phi, \qquad u = b - \hat\mu, \qquad
    u + \lambda(u) = b - x .

Autocorrelation times are such deviates, in logarithms and in units of their relative error.

Not here: the fractional orders that are stated only where they are narrow
(:mod:`fracsde.estimators.fractional_law`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["cut_off_shift"]


def cut_off_shift(room: FloatArray) -> FloatArray:
    r"""Return how far the likeliest mean of a normal deviate that was let through lies above it.

    At the border it is infinite; 2 is the most that is returned.

    Parameters
    ----------
    room : (...) ndarray of float64 [1]
        In standard deviations.

    Returns
    -------
    (...) ndarray of float64 [1]

    Examples
    --------
    >>> cut_off_shift(np.array([0.0, 1.0, 2.0, 4.0])).round(3)
    array([2.   , 0.519, 0.063, 0.   ])
    """
    u = np.linspace(-1.6, 6.0, 400)
    shift = np.exp(-0.5 * u**2 - special.log_ndtr(u)) / np.sqrt(2.0 * np.pi)
    return np.asarray(np.minimum(np.interp(room, u + shift, shift, right=0.0), 2.0))

r"""The law of :math:`\log|M|` as nodes and weights, and the root of its moment equation.

.. math::
    h(s) = \mathbb E\,|M|^s = \sum_i p_i e^{s L_i}, \qquad
    g(s) = \frac{\log h(s)}{s}, \qquad g(0) = \mathbb E \log|M| .

:math:`\log h` is convex and vanishes at 0, so ``g``, the logarithm of the norm of ``M`` in
:math:`L^s`, increases: a root of :math:`h(\alpha) = 1` above zero is the only one, and is bracketed
by doubling.  Near :math:`s = 0` the sum is :math:`\sum p_i\,\mathrm{expm1}(s L_i)`, which does not
cancel against the 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

__all__ = ["NormLaw", "root_of"]

_OVERFLOW = 600.0  # exponent from which sums are taken in logarithms
_LARGEST = 2.0**40  # order of a moment beyond which no root is looked for


@dataclass(frozen=True, kw_only=True, eq=False)
class NormLaw:
    """Values of ``log|M|`` with their probabilities.

    Parameters
    ----------
    log_norm : (n,) float64 [1]
        ``L``, with ``-inf`` where ``M`` vanishes.
    log_weight : (n,) float64 [1]
        Logarithms of probabilities or quadrature weights; they sum to one.
    """

    log_norm: FloatArray
    log_weight: FloatArray

    @property
    def lyapunov(self) -> float:
        """``E log|M|`` per step."""
        weight = np.exp(self.log_weight)
        kept = weight > 0.0
        return float(np.sum(weight[kept] * self.log_norm[kept]))

    @property
    def largest(self) -> float:
        """Largest ``log|M|``."""
        return float(self.log_norm.max())

    def excess(self, s: float) -> float:
        """Return ``g(s) = log E|M|^s / s`` for positive ``s``.

        Returns
        -------
        float
        """
        exponent = s * self.log_norm
        if exponent.max() < _OVERFLOW:
            above = float(np.sum(np.exp(self.log_weight) * np.expm1(exponent)))
            if above > -0.5:
                return float(np.log1p(above)) / s
        return float(logsumexp(self.log_weight + exponent)) / s

    def slope(self, s: float) -> float:
        """Return the derivative of ``log E|M|^s``.

        Returns
        -------
        float
        """
        tilted = self.log_weight + s * self.log_norm
        tilted = np.exp(tilted - logsumexp(tilted))
        kept = tilted > 0.0
        return float(np.sum(tilted[kept] * self.log_norm[kept]))

    def effective(self, s: float) -> float:
        """Count the nodes that carry the moment: ``(sum p |M|^s)^2 / sum (p |M|^s)^2``.

        Returns
        -------
        float
        """
        size = self.log_weight + s * self.log_norm
        return float(np.exp(2.0 * logsumexp(size) - logsumexp(2.0 * size)))


def root_of(excess: Callable[[float], float], *, most: float = _LARGEST) -> float:
    """Find the positive root of an increasing ``g``, known to be negative near zero.

    Returns
    -------
    float
        Infinite if ``g`` is still negative at ``most``.
    """
    high = 1.0
    while excess(high) <= 0.0:
        high *= 2.0
        if high > most:
            return float("inf")
    low = 0.5 * high
    while excess(low) >= 0.0:
        low *= 0.5
        if low == 0.0:
            return 0.0
    return float(brentq(excess, low, high, xtol=1e-300, rtol=8.9e-16))

r"""Averages over the clock at many times on common nodes: a geometric lattice.

.. math::
    \mathbb{E}\, f(E_y) = \int_{-\infty}^{\infty} f(e^v)\, e^v g_y(e^v)\, dv
    \approx h \sum_k s_k\, g_y(s_k)\, f(s_k), \qquad s_k = e^{kh},

with :math:`g_y` the density of the clock at time ``y``.  The trapezoidal rule in ``log s`` does not
care where its nodes lie, so that all times share them and the laws of the base are needed at a few
hundred operational times in all.  It converges like :math:`\exp(-2 \pi \beta / h)`, with
:math:`\beta` the half-width of the strip in which the integrand is bounded: :math:`(1-\alpha)\pi/2`
for the density and :math:`\pi/2 - |\arg \lambda|` for a mode.  Hence the number of nodes grows like
:math:`1/(1-\alpha)`, and drifts whose modes hardly decay while they turn are refused.

Below the first node ``s_0``, where the law of the base is linear in ``s``, the rest of the sum is
known in closed form and is given to ``s = 0`` and ``s_0`` in the ratio that keeps its mean.

Not here: one time alone, for which :mod:`fracsde._subordination.clock` needs fewer nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import rgamma

from fracsde._subordination.clock import reach
from fracsde.errors import UnsupportedError
from fracsde.special.stable import wright_m

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray

__all__ = ["ClockLattice", "clock_lattice"]

_DENSITY = 2.6  # nodes per octave over the share of the strip: rounding level, as measured
_BOTTOM = 1e-6  # first node, in units of the fastest time
_TERMS = 12  # of the power series of the density below the first node
_MOST_NODES = 40_000


@dataclass(frozen=True, kw_only=True, eq=False)
class ClockLattice:
    """Common nodes of averages over the clock.

    Parameters
    ----------
    alpha : float [1]
        Order, ``0 < alpha < 1``.
    nodes : (k + 1,) float64 [t]
        0, then a geometric sequence.
    step : float [1]
        Logarithm of its ratio.
    """

    alpha: float
    nodes: FloatArray
    step: float

    def weights(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return weights of averages at several scales of the clock.

        Parameters
        ----------
        theta : (j,) float64 [t]
            Scales, positive.

        Returns
        -------
        plain : (j, k + 1) float64 [1]
            Weights of ``E f(theta xi)``, with ``xi`` the clock at scale 1.
        sized : (j, k + 1) float64 [1]
            Weights of ``E[xi f(theta xi)]``.
        """
        s = self.nodes[1:]
        plain = np.empty((len(theta), len(s) + 1))
        u = s / theta[:, None]
        plain[:, 1:] = self.step * u * wright_m(u, self.alpha)
        plain[:, 0] = 0.0
        sized = plain.copy()
        sized[:, 1:] *= u
        low: FloatArray = u[:, 0]
        near = low < 0.1
        mass, first, second = self._tail(np.where(near, low, 0.1))
        # Tails end below the first node, in units of theta: shares of 0 and of that node.
        for rows, none, one in ((plain, mass, first), (sized, first, second)):
            rows[near, 0] = none[near] - one[near] / low[near]
            rows[near, 1] += one[near] / low[near]
        # A clock that has hardly reached the first node: two points keep mass and mean.
        far = ~near
        if np.any(far):
            for rows, n in ((plain, 0), (sized, 1)):
                mean = _moment(self.alpha, n + 1)
                place = np.searchsorted(s, 10.0 * theta[far])
                rows[far] = 0.0
                rows[far, 1 + place] = mean / u[far, place]
                rows[far, 0] = _moment(self.alpha, n) - mean / u[far, place]
        return plain, sized

    def _tail(self, low: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        # Sums of the rule below its first node: of the weights, and of them times u and u**2.
        n = np.arange(_TERMS)
        factorial = np.concatenate([[1.0], np.cumprod(n[1:])])
        series = (-1.0) ** n * rgamma(1.0 - self.alpha - self.alpha * n) / factorial
        sums = []
        for power in range(1, 4):
            ratio = np.exp(-(n + power) * self.step)
            each = series * self.step * ratio / -np.expm1(-(n + power) * self.step)
            sums.append((low[:, None] ** (n + power)) @ each)
        return sums[0], sums[1], sums[2]


def clock_lattice(
    alpha: float, rates: NDArray[np.complex128], smallest: float, largest: float
) -> ClockLattice:
    """Return the lattice for functions made of given rates.

    Parameters
    ----------
    alpha : float [1]
        Order, ``0 < alpha < 1``.
    rates : (n,) complex128 [1/t]
        Rates of the exponentials.
    smallest, largest : float [t]
        Scales ``theta`` of the clock between which averages matter.

    Returns
    -------
    ClockLattice

    Raises
    ------
    UnsupportedError
        If it would need too many nodes.
    """
    scaled = rates * largest
    felt = scaled[(np.abs(scaled) > 0.5) & (scaled.real >= 0.0)]
    share = 1.0 - 2.0 / np.pi * float(np.abs(np.angle(felt)).max(initial=0.0))
    octave = _DENSITY / max(1e-300, min(1.0 - alpha, share))
    growth = float(max(0.0, -scaled.real.min(initial=0.0)))
    top = largest * reach(alpha, growth)
    bottom = _BOTTOM * min(smallest, 1.0 / max(float(np.abs(rates).max(initial=0.0)), 1e-300))
    count = octave * np.log2(top / bottom)
    if count > _MOST_NODES:
        msg = (
            f"correlations at alpha = {alpha:g} of a drift whose modes keep {share:.2g} of a "
            f"quarter turn from not decaying need {count:.2g} nodes of the clock; at most "
            f"{_MOST_NODES} are served: use alpha = 1, or shorter times"
        )
        raise UnsupportedError(msg)
    step = np.log(2.0) / octave
    nodes = bottom * np.exp(step * np.arange(int(np.ceil(count)) + 1))
    return ClockLattice(alpha=alpha, nodes=np.append(0.0, nodes), step=float(step))


def _moment(alpha: float, n: int) -> float:
    # E[xi**n] = n! / Gamma(1 + n alpha), for n up to 2.
    return float((1.0, 1.0, 2.0)[n] * rgamma(1.0 + n * alpha))

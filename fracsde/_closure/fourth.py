r"""Fourth cumulants of the stationary law along single modes, and how much of a variance they are.

Along one mode let :math:`y = Mx`, :math:`x' = y - \eta F(r + \xi)` with :math:`x = (\delta, v)`,
:math:`F = (1, 1)^T` (:math:`M = 1 - \eta h`, :math:`F = 1` without momentum), and

.. math::
    r = \tfrac12 T (\delta^2 - \Sigma) + \tfrac16 F_4 (\delta^3 - 3\Sigma\delta), \qquad
    \operatorname{Var}\xi = Q + D\delta + \tfrac12 D_2 (\delta^2 - \Sigma) ,

with :math:`K + K_1\delta` and :math:`K_4` for the third and the fourth cumulant of ``xi``,
:math:`C_a = \mathrm{E}[y_a\delta]` and :math:`\kappa` the third cumulants.  By the law of total
cumulance, to leading order in the width of the law and with one term for each choice of places,

.. math::
    \lambda = M^{\otimes 4}\lambda
    &- \eta \sum_{(4)} \Big[F_4 C_a C_b C_c + T \sum_{(3)} C_a\,\kappa(y_b, y_c, \delta)\Big]
    + \eta^2 \sum_{(6)} \Big[(2 T^2 \Sigma + D_2)\,C_a C_b + D\,\kappa(y_a, y_b, \delta)\Big] \\
    &- \eta^3 \sum_{(4)} (3\,T D \Sigma + K_1)\,C_a + \eta^4 (K_4 + 3 D^2 \Sigma) .

They add :math:`X = \frac16 F_4\,\lambda(\delta, \delta, \delta, x)` to what Stein's lemma leaves
out, and :math:`\frac14 T^2\lambda(\delta, \delta, \delta, \delta)` to the variance of ``r``.  In
an even well this is the whole error of a Gaussian law, to leading order.

Cubic and quartic terms mix modes.  Of these the one that is known without fourth derivatives is
counted too: the bend of the gradient that is odd has variance ``odd`` over all draws, where
:math:`\frac16 F_4^2\Sigma^3` is the share of the mode itself; what is more acts like it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, permutations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["STILL", "Along", "fourth_shares"]

STILL = 1e-13  # variance along a mode over the largest, below which it is rounding


@dataclass(frozen=True, kw_only=True, eq=False)
class Along:
    """Derivatives along each of ``k`` leading modes, ``(k,)``; noise is that of one example."""

    third: FloatArray  # T
    fourth: FloatArray  # F_4
    slope: FloatArray  # D
    bend: FloatArray  # D_2
    skewness: FloatArray  # K
    skewness_slope: FloatArray  # K_1
    kurtosis: FloatArray  # K_4


def fourth_shares(
    found: Along,
    hessian: FloatArray,
    variances: FloatArray,
    odd: FloatArray,
    *,
    rate: float,
    momentum: float,
    factors: tuple[float, float, float],
) -> FloatArray:
    """Return how much of each variance fourth cumulants are, to leading order.

    Where a variance is none, or rounding, the share is 0.

    Parameters
    ----------
    found : Along
        Derivatives.
    hessian, variances : (k,) float64
        Curvature and variance along each mode.
    odd : (k,) float64
        Variance of the odd part of the gradient that is not linear.
    rate, momentum : float
        Learning rate and momentum.
    factors : tuple of float
        Second, third and fourth cumulant of a batch over those of one example.

    Returns
    -------
    (k,) float64
    """
    powers = {"slope": 0, "bend": 0, "skewness": 1, "skewness_slope": 1, "kurtosis": 2}
    shares = np.zeros(len(hessian))
    for i in np.flatnonzero(variances > STILL * variances.max(initial=0.0)):
        mode = _Mode(rate, momentum, float(hessian[i]), float(variances[i]))
        values = {name: float(value[i]) for name, value in vars(found).items()}
        for name, power in powers.items():
            values[name] *= factors[power]
        alone = abs(mode.moved(**values)) / mode.variance
        bent = values["fourth"] ** 2 * mode.variance**3 / 6.0
        mixed = max(0.0, float(odd[i]) - bent) / mode.variance**3
        unit = mode.fourth(**{**dict.fromkeys(values, 0.0), "fourth": 1.0})
        shares[i] = alone + abs(mode.pulled(mixed * unit[0, 0, 0], 0.0)) / mode.variance
    return shares


class _Mode:
    # Weight and velocity of one mode.

    def __init__(self, rate: float, mu: float, hessian: float, variance: float) -> None:
        h = rate * hessian
        self.rate, self.variance = rate, variance
        self.M = np.array([[1.0 - h, mu], [-h, mu]])
        self.C = self.M @ np.array([variance, variance * h / (1.0 + mu)])

    def solve(self, source: FloatArray) -> FloatArray:
        """Return the tensor that one step takes to itself, less the source."""
        power = np.ones((1, 1))
        for _ in range(source.ndim):
            power = np.kron(power, self.M)
        found = np.linalg.solve(np.eye(len(power)) - power, source.ravel())
        return np.asarray(found.reshape(source.shape))

    def fourth(
        self,
        *,
        third: float,
        fourth: float,
        slope: float,
        bend: float,
        skewness: float,
        skewness_slope: float,
        kurtosis: float,
    ) -> FloatArray:
        """Return the fourth cumulants, ``(2, 2, 2, 2)``."""
        eta, S = self.rate, self.variance
        kappa = self.solve(
            -eta * third * self._kicked(3, 1)
            + eta**2 * slope * self._kicked(3, 2)
            - eta**3 * skewness * self._kicked(3, 3)
        )
        pair = self.M @ kappa[:, :, 0] @ self.M.T
        chains, pairs = self._chained(pair)
        return self.solve(
            -eta * (fourth * self._kicked(4, 1) + third * chains)
            + eta**2 * ((2.0 * third**2 * S + bend) * self._kicked(4, 2) + slope * pairs)
            - eta**3 * (3.0 * third * slope * S + skewness_slope) * self._kicked(4, 3)
            + eta**4 * (kurtosis + 3.0 * slope**2 * S) * self._kicked(4, 4)
        )

    def moved(self, **values: float) -> float:
        """Return what fourth cumulants add to the variance of the weight."""
        found, T, F = self.fourth(**values), values["third"], values["fourth"]
        return self.pulled(F / 6.0 * found[0, 0, 0], 0.25 * T * T * found[0, 0, 0, 0])

    def pulled(self, X: FloatArray, noise: float) -> float:
        """Return the change of a variance by ``E[r x]`` and by a variance of ``r``."""
        push = -self.rate * np.outer(np.ones(2), self.M @ X)
        return float(self.solve(push + push.T + self.rate**2 * noise)[0, 0])

    def _kicked(self, order: int, kicks: int) -> FloatArray:
        # One at so many of the places and C at the others, over all choices of them.
        total = np.zeros((2,) * order)
        for places in combinations(range(order), order - kicks):
            part = np.ones((2,) * order)
            for place in places:
                part *= self.C.reshape([-1 if n == place else 1 for n in range(order)])
            total += part
        return total

    def _chained(self, pair: FloatArray) -> tuple[FloatArray, FloatArray]:
        # A pair of places, without and with C at one of the two others, over all choices.
        one = np.ones(2)
        chains, pairs = np.zeros((2,) * 4), np.zeros((2,) * 4)
        for a, b, c, d in permutations("abcd"):
            if a < b:
                chains += np.einsum(f"{a}{b},{c},{d}->abcd", pair, self.C, one)
                pairs += 0.5 * np.einsum(f"{a}{b},{c},{d}->abcd", pair, one, one)
        return chains, pairs

r"""First and second moments on the fractional clock, as curves that a fit bends.

In a well, with :math:`A = x_0 - m`, :math:`\theta = (t/\tau)^\alpha`,
:math:`E_1 = E_\alpha(-\theta)` and :math:`E_2 = E_\alpha(-2\theta)`,

.. math::
    \mathbb E\, x = m + A E_1, \qquad
    \mathbb E\, x^2 = \sigma^2 + m^2 + 2 m A E_1 + (A^2 - \sigma^2)\, E_2 ;

on flat ground :math:`\mathbb E\, (x - x_0)^2 = 2 \kappa\, (t/t_*)^\alpha / \Gamma(1 + \alpha)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import digamma, gamma

from fracsde.special import mittag_leffler, relaxation_alpha_derivative

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["ConfinedMoments", "FreeMoments"]

_LOWEST = 0.05  # orders below are constants in all but name
_STEP = 1e-5  # of ln x in a central difference: errors of 1e-10, ample for a Jacobian
_RANGE = 7.0  # timescales reach a thousand times beyond the record on either side


@dataclass(frozen=True, kw_only=True, eq=False)
class ConfinedMoments:
    r"""Mean and mean square in a well; parameters :math:`(\alpha, \ln\tau, m, \ln\sigma^2)`.

    Parameters
    ----------
    times : (t,) ndarray of float64 [t]
        Since the start, positive.
    start : float [x]
        Where every chain starts.
    spread : float [x^2]
        Mean square distance from the start at the last time, a scale for the search.
    """

    times: FloatArray
    start: float
    spread: float

    def values(self, theta: FloatArray) -> FloatArray:
        """Return means, then mean squares.

        Returns
        -------
        (2 t,) ndarray of float64
        """
        alpha, x = float(theta[0]), self._argument(theta)
        return self._curves(theta, mittag_leffler(-x, alpha), mittag_leffler(-2.0 * x, alpha))

    def jacobian(self, theta: FloatArray) -> FloatArray:
        """Return the derivatives, one column per parameter.

        Returns
        -------
        (2 t, 4) ndarray of float64
        """
        alpha, x = float(theta[0]), self._argument(theta)
        centre, variance = float(theta[2]), float(np.exp(theta[3]))
        way = self.start - centre
        first = self._derivatives(x, theta)
        second = self._derivatives(2.0 * x, theta)
        by_clock = [
            np.concatenate([way * one, 2.0 * centre * way * one + (way * way - variance) * two])
            for one, two in zip(first, second, strict=True)
        ]
        e1, e2 = mittag_leffler(-x, alpha), mittag_leffler(-2.0 * x, alpha)
        by_centre = [1.0 - e1, 2.0 * centre + 2.0 * (way - centre) * e1 - 2.0 * way * e2]
        by_variance = [np.zeros_like(e1), variance * (1.0 - e2)]
        return np.column_stack([*by_clock, np.concatenate(by_centre), np.concatenate(by_variance)])

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return the lowest and highest parameters.

        Returns
        -------
        (4,), (4,) ndarrays of float64
        """
        first, last = np.log(self.times[0]) - _RANGE, np.log(self.times[-1]) + _RANGE
        size = np.log(self.spread)
        low = [_LOWEST, first, -np.inf, size - 2.0 * _RANGE]
        return np.array(low), np.array([1.0, last, np.inf, size + _RANGE])

    def scan(self, mean: FloatArray, whiten: FloatArray) -> FloatArray:
        """Return the best parameters of a coarse grid.

        Returns
        -------
        (4,) ndarray of float64
        """
        half = len(self.times)
        best, chosen = np.inf, np.zeros(4)
        for alpha in (0.2, 0.4, 0.6, 0.8, 0.95):
            for log_tau in np.linspace(np.log(self.times[0]), np.log(self.times[-1]), 9):
                argument = self._argument(np.array([alpha, log_tau]))
                e1, e2 = (mittag_leffler(-k * argument, alpha) for k in (1.0, 2.0))
                # The mean is linear in the centre, then the mean square in the variance.
                design, rest = 1.0 - e1, mean[:half] - self.start * e1
                centre = float(design @ rest / (design @ design))
                theta = np.array([alpha, log_tau, centre, -np.inf])
                left = mean[half:] - self._curves(theta, e1, e2)[half:]
                variance = float((1.0 - e2) @ left / np.square(1.0 - e2).sum())
                theta[3] = np.log(max(variance, 1e-4 * self.spread))
                miss = whiten @ (mean - self._curves(theta, e1, e2))
                if miss @ miss < best:
                    best, chosen = float(miss @ miss), theta
        return chosen

    def _curves(self, theta: FloatArray, e1: FloatArray, e2: FloatArray) -> FloatArray:
        centre, variance = float(theta[2]), float(np.exp(theta[3]))
        way = self.start - centre
        first = centre + way * e1
        second = variance + centre * (centre + 2.0 * way * e1) + (way * way - variance) * e2
        return np.concatenate([first, second])

    def _argument(self, theta: FloatArray) -> FloatArray:
        return np.asarray((self.times * np.exp(-theta[1])) ** theta[0], dtype=np.float64)

    def _derivatives(self, x: FloatArray, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        # Of E(-x) in the order and in ln tau, x proportional to (t / tau)^alpha.
        alpha = float(theta[0])
        ahead = mittag_leffler(-x * np.exp(_STEP), alpha)
        behind = mittag_leffler(-x * np.exp(-_STEP), alpha)
        by_tau = -alpha * (ahead - behind) / (2.0 * _STEP)
        elapsed = np.log(self.times) - theta[1]
        return relaxation_alpha_derivative(x, alpha) - elapsed / alpha * by_tau, by_tau


@dataclass(frozen=True, kw_only=True, eq=False)
class FreeMoments:
    r"""Mean square displacement on flat ground; parameters :math:`(\alpha, \ln\kappa)`.

    Parameters
    ----------
    times : (t,) ndarray of float64 [t]
        Since the start, positive.
    reference : float [t]
        :math:`t_*`.
    """

    times: FloatArray
    reference: float

    def values(self, theta: FloatArray) -> FloatArray:
        """Return the mean square displacement.

        Returns
        -------
        (t,) ndarray of float64 [x^2]
        """
        growth = 2.0 * np.exp(theta[1]) * (self.times / self.reference) ** theta[0]
        return np.asarray(growth / gamma(1.0 + theta[0]), dtype=np.float64)

    def jacobian(self, theta: FloatArray) -> FloatArray:
        """Return the derivatives, one column per parameter.

        Returns
        -------
        (t, 2) ndarray of float64
        """
        value = self.values(theta)
        by_alpha = value * (np.log(self.times / self.reference) - digamma(1.0 + theta[0]))
        return np.column_stack([by_alpha, value])

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return the lowest and highest parameters.

        Returns
        -------
        (2,), (2,) ndarrays of float64
        """
        return np.array([_LOWEST, -np.inf]), np.array([1.0, np.inf])

    def scan(self, mean: FloatArray, whiten: FloatArray) -> FloatArray:
        """Return the best parameters of a coarse grid.

        Returns
        -------
        (2,) ndarray of float64
        """
        best, chosen = np.inf, np.zeros(2)
        for alpha in np.linspace(0.1, 1.0, 10):
            unit = whiten @ self.values(np.array([alpha, 0.0]))
            goal = whiten @ mean
            factor = float(unit @ goal / (unit @ unit))
            if factor <= 0.0:
                factor = float(mean[-1] / self.values(np.array([alpha, 0.0]))[-1])
            miss = goal - factor * unit
            if miss @ miss < best:
                best, chosen = float(miss @ miss), np.array([alpha, np.log(factor)])
        return chosen

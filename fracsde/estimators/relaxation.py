r"""The curve that a fit of the fractional order bends, with exact derivatives.

.. math::
    m(t;\theta) = m_\infty + A\,E_\alpha(-x), \qquad x = (t/\tau)^\alpha, \qquad
    \theta = (\alpha, \ln\tau, [A, m_\infty]),

with

.. math::
    \frac{\partial E}{\partial \ln\tau} = -\alpha\,\frac{\partial E}{\partial \ln x}, \qquad
    \frac{\partial E}{\partial\alpha} = \left.\frac{\partial E}{\partial\alpha}\right|_x
    - \frac{\ln(t/\tau)}{\alpha}\,\frac{\partial E}{\partial\ln\tau} .

A known plateau or a known initial value :math:`m_0 = m_\infty + A` takes a parameter out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import RecordError
from fracsde.special import mittag_leffler, relaxation_alpha_derivative

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["RelaxationModel", "shrunk_covariance"]

_LOWEST = 0.05  # orders below are constants in all but name
_STEP = 1e-5  # of ln x in a central difference: errors of 1e-10, ample for a Jacobian


@dataclass(frozen=True, kw_only=True, eq=False)
class RelaxationModel:
    """Mittag-Leffler relaxation at given times.

    Parameters
    ----------
    times : (t,) ndarray of float64 [t]
        Since the start of the relaxation.
    plateau : float or None [x]
        The limit, if known.
    initial : float or None [x]
        The value at time 0, if known.
    order : float or None [1]
        The order, if it is given and not fitted.
    """

    times: FloatArray
    plateau: float | None
    initial: float | None
    order: float | None = None

    def shape(self, theta: FloatArray) -> FloatArray:
        """Return the normalised relaxation, from 1 to 0.

        Returns
        -------
        (t,) ndarray of float64 [1]
        """
        return np.asarray(mittag_leffler(-self._argument(theta), float(theta[0])))

    def values(self, theta: FloatArray) -> FloatArray:
        """Return the curve.

        Returns
        -------
        (t,) ndarray of float64 [x]
        """
        amplitude, level = self.linear_part(theta)
        return level + amplitude * self.shape(theta)

    def jacobian(self, theta: FloatArray) -> FloatArray:
        """Return the derivatives of the curve, one column per parameter.

        Returns
        -------
        (t, parameter) ndarray of float64
        """
        alpha, x = float(theta[0]), self._argument(theta)
        amplitude = self.linear_part(theta)[0]
        ahead = mittag_leffler(-x * np.exp(_STEP), alpha)
        behind = mittag_leffler(-x * np.exp(-_STEP), alpha)
        by_tau = -alpha * (ahead - behind) / (2.0 * _STEP)
        with np.errstate(divide="ignore"):
            elapsed = np.where(self.times > 0, np.log(self.times) - theta[1], 0.0)
        by_alpha = relaxation_alpha_derivative(x, alpha) - elapsed / alpha * by_tau
        shape = self.shape(theta)
        linear = np.stack([shape, np.ones_like(shape)], axis=1) @ self._split()[1]
        return np.column_stack([amplitude * by_alpha, amplitude * by_tau, linear])

    def linear_part(self, theta: FloatArray) -> tuple[float, float]:
        """Return amplitude and plateau.

        Returns
        -------
        (float, float) [x]
        """
        known, free = self._split()
        amplitude, level = known + free @ theta[2:]
        return float(amplitude), float(level)

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return the lowest and highest parameters.

        Returns
        -------
        (parameter,), (parameter,) ndarrays of float64
        """
        linear = self._split()[1].shape[1]
        last, first = self.times[-1], self.times[self.times > 0][0]
        orders = (_LOWEST, 1.0) if self.order is None else (self.order, self.order)
        low = [orders[0], np.log(first) - 7.0, *[-np.inf] * linear]
        high = [orders[1], np.log(last) + 7.0, *[np.inf] * linear]
        return np.array(low), np.array(high)

    def scan(self, mean: FloatArray, whiten: FloatArray) -> FloatArray:
        """Return the best parameters of a coarse grid; amplitudes by linear least squares.

        Returns
        -------
        (parameter,) ndarray of float64

        Raises
        ------
        RecordError
            If the plateau and the initial value are both given and equal.
        """
        positive = self.times[self.times > 0]
        log_taus = np.linspace(np.log(positive[0]), np.log(positive[-1]), 9)
        known, free = self._split()
        best, chosen = np.inf, None
        for alpha in (0.2, 0.4, 0.6, 0.8, 0.95) if self.order is None else (self.order,):
            scaled = self.times * np.exp(-log_taus[:, None])
            shapes = mittag_leffler(-(scaled**alpha), alpha)
            for log_tau, shape in zip(log_taus, shapes, strict=True):
                basis = np.stack([shape, np.ones_like(shape)], axis=1)
                rest = whiten @ (mean - basis @ known)
                design = whiten @ (basis @ free)
                linear = np.linalg.lstsq(design, rest, rcond=None)[0]
                rest = rest - design @ linear
                if rest @ rest < best:
                    best = float(rest @ rest)
                    chosen = np.concatenate([[alpha, log_tau], linear])
        if chosen is None or self.linear_part(chosen)[0] == 0.0:
            msg = "`plateau` and `initial` are equal, so nothing relaxes; leave one of them out"
            raise RecordError(msg)
        return np.asarray(chosen, dtype=np.float64)

    def _argument(self, theta: FloatArray) -> FloatArray:
        scaled = self.times * np.exp(-theta[1])
        return np.asarray(scaled ** theta[0], dtype=np.float64)

    def _split(self) -> tuple[FloatArray, FloatArray]:
        # Amplitude and plateau as a known part plus columns that multiply the free parameters.
        if self.plateau is not None and self.initial is not None:
            return np.array([self.initial - self.plateau, self.plateau]), np.empty((2, 0))
        if self.plateau is not None:
            return np.array([0.0, self.plateau]), np.array([[1.0], [0.0]])
        if self.initial is not None:
            return np.array([0.0, self.initial]), np.array([[1.0], [-1.0]])
        return np.zeros(2), np.eye(2)


def shrunk_covariance(x: FloatArray) -> tuple[FloatArray, float]:
    r"""Return the covariance of curves with correlations shrunk towards zero.

    .. math::
        \lambda = \sum_{i \ne j} \widehat{\operatorname{Var}}(r_{ij}) \Big/ \sum_{i\ne j} r_{ij}^2,
        \qquad S_{ij} = (1 - \lambda)\, s_i s_j r_{ij} \quad (i \ne j)

    Parameters
    ----------
    x : (chain, t) ndarray of float64 [x]
        One curve per chain.

    Returns
    -------
    (t, t) ndarray of float64 [x^2]
        Positive definite even for fewer chains than times.
    float [1]
        ``1 - lambda``, the share of the sample correlations that is kept.

    References
    ----------
    [SchaeferStrimmer2005]_

    Examples
    --------
    >>> curves = np.random.default_rng(2).standard_normal((10, 30))
    >>> bool(np.linalg.eigvalsh(shrunk_covariance(curves)[0])[0] > 0)
    True
    """
    chains = len(x)
    spread = x.std(axis=0, ddof=1)
    z = (x - x.mean(axis=0)) / spread
    products = z.T @ z / chains
    noise = (np.square(z).T @ np.square(z) - chains * np.square(products)) * (
        chains / (chains - 1.0) ** 3
    )
    correlation = products * (chains / (chains - 1.0))
    np.fill_diagonal(noise, 0.0)
    np.fill_diagonal(correlation, 0.0)
    signal = np.square(correlation).sum()
    shrink = min(1.0, max(1e-3, noise.sum() / signal)) if signal > 0 else 1.0
    correlation *= 1.0 - shrink
    np.fill_diagonal(correlation, 1.0)
    return correlation * np.outer(spread, spread), 1.0 - shrink

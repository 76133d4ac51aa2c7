r"""Gaussian laws on the fractional clock, as mixtures over its state, with exact derivatives.

.. math::
    p(x, t) = \int_0^\infty M_\alpha(z)\, N\bigl(x;\, \mu(z), v(z)\bigr)\, dz, \qquad
    E_t \overset{d}{=} t^\alpha z,

with the M-Wright density :math:`M_\alpha` of the clock's state.  In a quadratic well, with
:math:`\theta = (t/\tau)^\alpha`,

.. math::
    \mu(z) = m + (x_0 - m)\, e^{-\theta z}, \qquad v(z) = \sigma^2 (1 - e^{-2 \theta z}),

and on flat ground :math:`\mu = x_0`, :math:`v = 2 K t^\alpha z`.

The integral is a Gauss-Legendre sum over panels of :math:`\ln z`, closer where the density of the
clock ends steeply as the order nears 1.  The nodes do not depend on the order, so that the sum is
smooth in it; densities of the clock are taken from rows at tabulated orders by Lagrange's formula
over four of them, whose derivative is the derivative in the order.

Not here: the fit (:mod:`fracsde.estimators.fractional_likelihood`).

References: [Mainardi2010]_ for the M-Wright function.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fracsde.estimators.clock_kernels import SUMS, mixture_sums
from fracsde.special import wright_m

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.estimators.fractional_law import Motion

    Tables = tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]

__all__ = ["HIGHEST_ORDER", "LOWEST_ORDER", "NODES", "ClockMixture", "clock_density"]

LOWEST_ORDER, HIGHEST_ORDER = 0.05, 0.99
_EDGES = (-22.0, -12.0, -6.0, -3.0, -1.5, -0.6, -0.25, -0.1, -0.03, 0.0, 0.03, 0.06, 0.12, 0.3)
_FAR_EDGES = (0.7, 1.5, 2.6, 4.2)
_POINTS = 16
_ROW_STEP = 0.02  # between tabulated orders, in -ln(1 - alpha)


def _nodes() -> tuple[FloatArray, FloatArray]:
    edges = np.array([*_EDGES, *_FAR_EDGES])
    places, weights = np.polynomial.legendre.leggauss(_POINTS)
    half = 0.5 * np.diff(edges)[:, None]
    logs = edges[:-1, None] + half * (places + 1.0)
    z = np.exp(logs).ravel()
    return z, (half * weights).ravel() * z


NODES, WEIGHTS = _nodes()


@lru_cache(maxsize=1024)
def _row(index: int) -> FloatArray:
    # Density of the clock times weights at one tabulated order.
    density = wright_m(NODES, -float(np.expm1(-_ROW_STEP * index)))
    return np.asarray(density * WEIGHTS, dtype=np.float64)


def clock_density(alpha: float) -> tuple[FloatArray, FloatArray]:
    r"""Return the weights of the clock's states and their derivatives in the order.

    Parameters
    ----------
    alpha : float [1]
        Between ``LOWEST_ORDER`` and ``HIGHEST_ORDER``.

    Returns
    -------
    (node,) ndarray of float64 [1]
        Weights that sum to 1; the states are ``NODES``.
    (node,) ndarray of float64 [1]
        Their derivatives.

    Examples
    --------
    The Laplace transform of the clock is a Mittag-Leffler function, :math:`E_{1/2}(-1) = e\,
    \mathrm{erfc}(1)`:

    >>> from scipy.special import erfcx
    >>> weights, _ = clock_density(0.5)
    >>> bool(abs(weights @ np.exp(-NODES) - erfcx(1.0)) < 1e-8)
    True
    """
    place = -np.log1p(-alpha) / _ROW_STEP
    first = int(place) - 1
    s = place - first  # between 1 and 2, of the stencil 0, 1, 2, 3
    at = np.arange(4.0)
    value, slope = np.empty(4), np.empty(4)
    for j in range(4):
        others = np.delete(at, j)
        scale = np.prod(j - others)
        factors = s - others
        value[j] = np.prod(factors) / scale
        pairs = (factors[0] * factors[1], factors[0] * factors[2], factors[1] * factors[2])
        slope[j] = sum(pairs) / scale
    rows = np.stack([_row(first + j) for j in range(4)])
    return value @ rows, slope @ rows / (_ROW_STEP * (1.0 - alpha))


def _states(theta: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    # States of the clock, their weights and the derivatives of these; an order of 1 has one state.
    if theta[0] == 1.0:
        return np.ones(1), np.ones(1), np.zeros(1)
    return NODES, *clock_density(float(theta[0]))


@dataclass(frozen=True, kw_only=True, eq=False)
class ClockMixture:
    r"""Log-densities of observations and their derivatives.

    Parameters
    ----------
    motion : {"confined", "free"}
        Quadratic well, parameters :math:`(\alpha, \ln\tau, m, \ln\sigma^2)`; or flat ground,
        parameters :math:`(\alpha, \ln \kappa)` with :math:`v = 2 \kappa\, (t/t_*)^\alpha z`.
    elapsed : (t,) ndarray of float64 [t]
        Since the start, positive.
    reference : float [t]
        :math:`t_*`, about the middle of the times in logarithm.
    """

    motion: Motion
    elapsed: FloatArray
    reference: float

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return 4 if self.motion == "confined" else 2

    def scores(
        self, theta: FloatArray, positions: FloatArray, starts: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return log-densities and their derivatives.

        Parameters
        ----------
        theta : (parameter,) ndarray of float64
            The parameters; an order of 1 is the ordinary clock, whose derivative in the order is
            returned as zero.
        positions : (chain, t) ndarray of float64 [x]
            Observations.
        starts : (chain,) ndarray of float64 [x]
            Positions at time 0.

        Returns
        -------
        (chain, t) ndarray of float64
            Log-densities.
        (chain, t, parameter) ndarray of float64
            Derivatives.
        """
        nodes, weights, slopes = _states(theta)
        confined = self.motion == "confined"
        centre = float(theta[2]) if confined else 0.0  # which drops out where nothing pulls
        log_time = np.log(self.elapsed) - (theta[1] if confined else np.log(self.reference))
        operational = np.exp(theta[0] * log_time)
        sums = np.empty((SUMS, *positions.shape))
        mixture_sums(
            np.ascontiguousarray(positions),
            np.ascontiguousarray(starts),
            centre,
            self._tables(theta, operational[:, None] * nodes, nodes),
            weights,
            slopes,
            sums,
        )
        density = np.maximum(sums[0], np.finfo(np.float64).tiny)
        if confined:
            rate = sums[2] * operational
            columns = [sums[1] + rate * log_time, -theta[0] * rate, sums[3], sums[4]]
        else:
            columns = [sums[1] + sums[4] * log_time, sums[4]]
        if theta[0] == 1.0:
            columns[0] = np.zeros_like(density)
        return np.log(density), np.stack(columns, axis=2) / density[:, :, None]

    def _tables(self, theta: FloatArray, time: FloatArray, nodes: FloatArray) -> Tables:
        # What the sums need at every time and node, whatever the observation.
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            if self.motion == "confined":
                decay, gain = np.exp(-time), -np.expm1(-2.0 * time)
                variance, spread = np.exp(theta[3]) * gain, 2.0 * nodes * decay * decay / gain
            else:
                decay, spread = np.ones_like(time), np.zeros_like(time)
                variance = 2.0 * np.exp(theta[1]) * time
            norm = (2.0 * np.pi * variance) ** -0.5
            return 1.0 / variance, norm, decay, nodes * decay, spread

    def reference_scores(
        self, theta: FloatArray, positions: FloatArray, starts: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return what :meth:`scores` does, as it is defined.

        Parameters
        ----------
        theta, positions, starts : ndarray of float64
            As there.

        Returns
        -------
        (chain, t) ndarray of float64
            Log-densities.
        (chain, t, parameter) ndarray of float64
            Derivatives.
        """
        nodes, weights, slopes = _states(theta)
        # Axes (chain, t, node).
        alpha, z = float(theta[0]), nodes
        start = starts[:, None, None]
        if self.motion == "confined":
            log_time = np.log(self.elapsed) - theta[1]
            operational = np.exp(alpha * log_time)[:, None]
            decay = np.exp(-operational * z)
            gain = -np.expm1(-2.0 * operational * z)
            variance = np.exp(theta[3]) * gain
            centre = theta[2] + (start - theta[2]) * decay
        else:
            log_time = np.log(self.elapsed / self.reference)
            variance = 2.0 * np.exp(theta[1] + alpha * log_time)[:, None] * z
            centre = start
        gap = positions[:, :, None] - centre
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            squared = gap * gap / variance
            normal = np.exp(-0.5 * squared) / np.sqrt(2.0 * np.pi * variance)
            by_variance = 0.5 * (squared - 1.0) * normal  # times variance
            by_variance[normal == 0.0] = 0.0
            by_centre = gap / variance * normal
            by_centre[normal == 0.0] = 0.0
        density = np.maximum(normal @ weights, np.finfo(np.float64).tiny)
        if self.motion == "confined":
            rate = -(start - theta[2]) * decay * z * by_centre
            rate += 2.0 * z * decay * decay / gain * by_variance
            by_operational = (rate @ weights) * operational[:, 0]
            columns = [
                normal @ slopes + by_operational * log_time,
                -alpha * by_operational,
                ((1.0 - decay) * by_centre) @ weights,
                by_variance @ weights,
            ]
        else:
            by_scale = by_variance @ weights
            columns = [normal @ slopes + by_scale * log_time, by_scale]
        if theta[0] == 1.0:
            columns[0] = np.zeros_like(density)
        return np.log(density), np.stack(columns, axis=2) / density[:, :, None]

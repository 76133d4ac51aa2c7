r"""The sums over states of the clock that a likelihood is made of, compiled.

For one observation, with nodes :math:`z_k`, weights :math:`w_k` and densities :math:`n_k` of a
Gaussian law at :math:`\mu_k, v_k`,

.. math::
    \sum_k w_k n_k, \quad \sum_k w'_k n_k, \quad
    \sum_k w_k \bigl[(m - x_0)\, z_k d_k\, c_k + r_k s_k\bigr], \quad
    \sum_k w_k (1 - d_k)\, c_k, \quad \sum_k w_k s_k,

.. math::
    d_k = e^{-\theta z_k}, \quad c_k = \frac{x - \mu_k}{v_k}\, n_k, \quad
    s_k = \tfrac12 \Bigl(\frac{(x - \mu_k)^2}{v_k} - 1\Bigr) n_k, \quad
    r_k = \frac{2 z_k d_k^2}{1 - d_k^2} .

The reference is ``ClockMixture.reference_scores``; a test holds the two together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde._compiled import njit

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["SUMS", "mixture_sums"]

SUMS = 5  # density, by weights, by operational time, by centre, by variance


@njit(cache=True, error_model="numpy")
def mixture_sums(
    positions: FloatArray,
    starts: FloatArray,
    centre: float,
    tables: tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray],
    weights: FloatArray,
    slopes: FloatArray,
    out: FloatArray,
) -> None:
    """Fill the five sums of every observation.

    Parameters
    ----------
    positions : (chain, t) float64
        Observations.
    starts : (chain,) float64
        Where chains begin.
    centre : float
        Of the well.
    tables : five of (t, node) float64
        ``1 / v``, ``(2 pi v)**-0.5``, ``d``, ``z d`` and ``r``.
    weights, slopes : (node,) float64
        Weights of the clock's states, and their derivatives in the order.
    out : (5, chain, t) float64
        Filled.
    """
    chains, times = positions.shape
    inverse, norm, decay, drift, spread = tables
    for chain in range(chains):
        away = starts[chain] - centre
        for i in range(times):
            gap_of_centre = positions[chain, i] - centre
            density = by_weights = by_rate = by_centre = by_variance = 0.0
            for k in range(weights.size):
                gap = gap_of_centre - away * decay[i, k]
                scaled = gap * inverse[i, k]
                squared = gap * scaled
                if squared < 1490.0:  # else the exponential is zero
                    normal = np.exp(-0.5 * squared) * norm[i, k]
                    weighted = weights[k] * normal
                    of_centre = scaled * weighted
                    of_variance = 0.5 * (squared - 1.0) * weighted
                    density += weighted
                    by_weights += slopes[k] * normal
                    by_rate += spread[i, k] * of_variance - away * drift[i, k] * of_centre
                    by_centre += (1.0 - decay[i, k]) * of_centre
                    by_variance += of_variance
            out[0, chain, i] = density
            out[1, chain, i] = by_weights
            out[2, chain, i] = by_rate
            out[3, chain, i] = by_centre
            out[4, chain, i] = by_variance

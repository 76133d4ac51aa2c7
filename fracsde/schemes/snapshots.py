r"""Dense output of relaxation: snapshots at Chebyshev points of the logarithm of time.

A relaxing density is analytic in :math:`u = \ln t`: :math:`E_\alpha(-\lambda e^{\alpha u})` stays
below a constant where :math:`|\operatorname{Im} u| < \vartheta`,

.. math::
    \vartheta = \Bigl(\frac{1}{\alpha} - \frac12\Bigr) \pi - \varphi ,

with :math:`\varphi` the half-angle that a spectrum away from the negative axis takes of it.  Over
an octave, :math:`u = \bar u + \tfrac12 x \ln 2`, its Chebyshev series

.. math::
    p(t) \approx \sum_{k < m} a_k T_k(x), \qquad
    |a_k| \lesssim \rho^{-k}, \qquad
    \rho = b + \sqrt{1 + b^2}, \quad b = \frac{2 \vartheta}{\ln 2} ,

ends after :math:`m = 1 + \ln(1/\varepsilon) / \ln \rho` terms, a dozen for twelve digits at order
one, nine at order 0.6.  So ``m`` snapshots serve all times of an octave by one product of as many
columns, where the contour that the snapshots come from would need two for each of its nodes.

What is cut off is seen in the last two coefficients, :math:`\max(|a_{m-1}|, |a_{m-2}| / \rho)`,
which is :math:`\rho` times what should be left.  ``tests/schemes/test_snapshots.py`` measures both.

Not here: where snapshots come from (:mod:`fracsde.schemes.runs`).

Reference: [Trefethen2013]_ for the convergence of Chebyshev series.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, hypot, log, pi
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = [
    "coefficient_decay",
    "left_out",
    "octaves",
    "snapshot_count",
    "snapshot_times",
    "spread",
    "to_series",
]

_OCTAVE = 2.0
_SLOWEST = 2.0  # decay of coefficients for which snapshots are still planned
_ROWS = 64  # times per product: their densities stay in the cache that BLAS goes through twice


def octaves(times: FloatArray, begin: int, end: int) -> list[tuple[int, int]]:
    """Return where stretches of times within a factor of two begin and end.

    Parameters
    ----------
    times : (t,) float64 [t]
        In order, positive from ``begin`` on.
    begin, end : int
        Which of them.

    Returns
    -------
    list of tuple of int
        The last stretch is a whole octave, or all there is: most equal steps are in it.
    """
    found = []
    while end > begin:
        first = begin + int(np.searchsorted(times[begin:end], times[end - 1] / _OCTAVE))
        found.append((first, end))
        end = first
    return found[::-1]


def coefficient_decay(alpha: float, half_angle: float) -> float:
    r"""Return :math:`\rho`, by which coefficients over an octave fall at least.

    Parameters
    ----------
    alpha : float [1]
        Order.
    half_angle : float [rad]
        The angle :math:`\varphi`.

    Returns
    -------
    float [1]
        One, for no decay, where the angle leaves no strip.
    """
    b = 2.0 * max((1.0 / alpha - 0.5) * pi - half_angle, 0.0) / log(_OCTAVE)
    return b + hypot(1.0, b)


def snapshot_count(decay: float, rtol: float) -> int:
    r"""Return the number of snapshots per octave.

    Parameters
    ----------
    decay : float [1]
        The number :math:`\rho`.
    rtol : float [1]
        What may be cut off, relative to the largest density.

    Returns
    -------
    int
        At least two.
    """
    return max(2, 1 + ceil(log(1.0 / rtol) / log(max(decay, _SLOWEST))))


def left_out(series: FloatArray, decay: float) -> float:
    r"""Return the size of what a series leaves out, from its last two coefficients.

    Parameters
    ----------
    series : (m, n) float64 [1/x]
        Coefficients, two at least.
    decay : float [1]
        The number :math:`\rho`.

    Returns
    -------
    float [1/x]
    """
    before, last = np.abs(series[-2:]).max(axis=1)
    return float(max(last, before / decay))


def snapshot_times(first: float, last: float, count: int) -> FloatArray:
    """Return Chebyshev points of the logarithm of time, from the last one back.

    Parameters
    ----------
    first, last : float [t]
        The stretch.
    count : int
        How many.

    Returns
    -------
    (count,) ndarray [t]
    """
    share = 0.5 + 0.5 * np.cos(_angles(count))
    return np.asarray(first * (last / first) ** share)


def to_series(snapshots: FloatArray) -> FloatArray:
    """Return the Chebyshev coefficients of densities at :func:`snapshot_times`.

    Parameters
    ----------
    snapshots : (m, n) float64 [1/x]
        One row per time.

    Returns
    -------
    (m, n) ndarray [1/x]
        One row per coefficient.
    """
    return np.asarray(_transform(len(snapshots)) @ snapshots)


def spread(series: FloatArray, times: FloatArray, out: FloatArray) -> None:
    """Add up Chebyshev series at times.

    Parameters
    ----------
    series : (m, n) float64 [1/x]
        Coefficients for the stretch from the first to the last of the times.
    times : (t,) float64 [t]
        In order.
    out : (t, n) float64 [1/x]
        Where densities go.
    """
    u = np.log(times / times[0])
    twice = 4.0 * u / u[-1] - 2.0
    terms = np.ones((len(series), len(times)))
    np.multiply(0.5, twice, out=terms[1])
    for k in range(2, len(series)):
        np.multiply(twice, terms[k - 1], out=terms[k])
        terms[k] -= terms[k - 2]
    for a in range(0, len(times), _ROWS):
        b = a + _ROWS
        np.matmul(terms[:, a:b].T, series, out=out[a:b])


def _angles(count: int) -> FloatArray:
    return np.pi * (np.arange(count) + 0.5) / count


@lru_cache(maxsize=64)
def _transform(count: int) -> FloatArray:
    matrix = np.cos(np.multiply.outer(np.arange(count), _angles(count))) * (2.0 / count)
    matrix[0] *= 0.5
    matrix.flags.writeable = False
    return np.asarray(matrix)

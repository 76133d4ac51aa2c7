r"""Schemes that integrate a piecewise interpolant: one set of moments, three ways to lean.

On the cell :math:`[t_k, t_{k+1}]`, with midpoint :math:`m_k`, increments :math:`\delta_k =
u_{k+1} - u_k` and steps :math:`\tau_k`, the derivative of the interpolant is

.. math::
    U'(s) = \frac{\delta_k}{\tau_k}
      + (s - m_k) \, \frac{2}{\tau_a + \tau_b}
        \Bigl(\frac{\delta_b}{\tau_b} - \frac{\delta_a}{\tau_a}\Bigr) ,

where ``(a, b)`` are two neighbouring cells: ``(k, k + 1)`` if the parabola of a cell leans on the
next node, ``(k - 1, k)`` if it leans on the one before; a chord has no second term.  A cell that is
more than :math:`1 + \sqrt 2` times as long as the one before does not lean on it: the slope of the
short cell, carried on over the long one, would be magnified by their ratio.  The Caputo derivative
at :math:`t^* = t_{n-1} + \theta \tau_{n-1}` then needs two moments of its kernel per
cell,

.. math::
    \mu_k = \frac{1}{\tau_k} \int_k \frac{(t^* - s)^{-\alpha}}{\Gamma(1-\alpha)}\, ds, \qquad
    \nu_k = \int_k (s - m_k) \frac{(t^* - s)^{-\alpha}}{\Gamma(1-\alpha)}\, ds .

Both lose every digit on graded meshes if computed as differences of powers.  With the distances
:math:`d < D` of a cell's ends from :math:`t^*`, :math:`b = 1 - \alpha`, :math:`z = d/D` and
:math:`\rho = (D-d)/(D+d)`,

.. math::
    \mu = -\frac{D^b}{\Gamma(2-\alpha)\,\tau} \operatorname{expm1}(b \log z) , \qquad
    \nu = \frac{1}{\Gamma(1-\alpha)} \Bigl(\frac{D+d}{2}\Bigr)^{2-\alpha} \rho^3
       \sum_{i \ge 0} \frac{2\,(\alpha)_{2i+1}}{(2i+1)!\,(2i+3)}\, \rho^{2i}

with positive terms, and for cells nearer than :math:`\rho = 1/2` one of two closed forms,
whichever does not cancel.  ``tests/schemes/test_l2_sigma.py`` holds them against high precision.

A sum of exponentials in place of the power has moments in closed form too, which is what
:mod:`fracsde.schemes.exponentials` uses: a scheme is what it makes of moments.

Not here: the schemes (:mod:`fracsde.schemes.l1`, :mod:`fracsde.schemes.l12`,
:mod:`fracsde.schemes.l2_sigma`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gamma
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.special import poch, rgamma

from fracsde.backends.moments_numba import LONGEST, power_rows
from fracsde.schemes.base import ConvolutionScheme

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["PiecewiseScheme", "assembled", "power_moments"]

# Ratios rho below which so many terms of the series leave less than rounding.
_SHORT, _SHORT_TERMS = 0.05, 7
_LONG, _LONG_TERMS = 0.5, 27


@dataclass(frozen=True, kw_only=True)
class PiecewiseScheme(ConvolutionScheme):
    """A scheme that integrates an interpolant against the kernel, on any mesh.

    Parameters
    ----------
    history : History
        How the memory sum is evaluated.
    """

    lean: ClassVar[int] = 0
    """Which neighbour the parabola of a cell leans on: the next (1), the one before (-1), none."""

    def weights(self, times: FloatArray, *, alpha: float) -> FloatArray:
        """Return the weights of the increments that end at the last time.

        Parameters
        ----------
        times : (n + 1,) float64 [t]
            Strictly increasing, starting where memory starts.
        alpha : float [1]
            Order of the derivative, ``0 < alpha <= 1``.

        Returns
        -------
        (n,) ndarray of float64 [t**-alpha]
            ``w[k]`` multiplies ``u[k + 1] - u[k]``.
        """
        return np.asarray(self.block_rows(times, alpha=alpha, first=len(times) - 2)[0])

    def rows(self, times: FloatArray, *, alpha: float, first: int, skip: int = 0) -> FloatArray:
        """Return the weights of several steps, one row each.

        Parameters
        ----------
        times : (n + 1,) float64 [t]
            Strictly increasing.
        alpha : float [1]
            Order of the derivative.
        first : int
            The steps to ``times[first + 1:]`` are wanted.
        skip : int
            So many cells are left out, whose integrals are known otherwise.

        Returns
        -------
        (n - first, n) ndarray [t**-alpha]
            Zero beyond the step.
        """
        cell = np.diff(times)
        ends = np.arange(first, len(cell))
        ahead = self.point(alpha) * cell[ends]
        # Differences of nodes first: a distance is as good as the nodes are.
        left = (times[ends][:, None] - times[None, :-1]) + ahead[:, None]
        right = (times[ends][:, None] - times[None, 1:]) + ahead[:, None]
        k = np.arange(len(cell))
        seen = (k <= ends[:, None]) & (k >= skip)
        right[k == ends[:, None]] = 0.0
        at = np.nonzero(seen)
        mean, tilt = np.zeros_like(left), np.zeros_like(left)
        mean[at], found = power_moments(
            left[at], right[at], cell[at[1]], alpha, tilts=self.lean != 0
        )
        if self.lean:
            tilt[at] = found
        if self.lean > 0:
            tilt[k == ends[:, None]] = 0.0  # the newest cell has no next node
        return assembled(mean, tilt, cell, self.lean)

    def block_rows(
        self, times: FloatArray, *, alpha: float, first: int, skip: int = 0
    ) -> FloatArray:
        """Return the same as :meth:`rows`, compiled.

        Parameters
        ----------
        times, alpha, first, skip
            As for :meth:`rows`.

        Returns
        -------
        (n - first, n) ndarray [t**-alpha]
        """
        if alpha == 1.0:
            return self.rows(times, alpha=alpha, first=first, skip=skip)
        point, (constants, series) = self.point(alpha), _constants(alpha)
        found = power_rows(times, point, alpha, first, skip, self.lean, constants, series)
        return np.asarray(found)

    def lags(self, times: FloatArray, *, alpha: float) -> tuple[FloatArray, FloatArray]:
        """Return the weights on equal steps by their lag.

        Parameters
        ----------
        times : (N + 1,) float64 [t]
            Equally spaced.
        alpha : float [1]
            Order of the derivative.

        Returns
        -------
        lags : (N,) ndarray [t**-alpha]
            ``lags[j]`` multiplies the increment ``j`` steps before the newest.
        first : (N,) ndarray [t**-alpha]
            ``first[n - 1]`` multiplies the very first increment in step ``n``.
        """
        if not self.lean:
            return super().lags(times, alpha=alpha)
        count = len(times) - 1
        step = float(times[-1] - times[0]) / count
        j = np.arange(count + 1.0)  # one cell more than there is, whose parabola leans on the last
        near = np.maximum(j - 1.0 + self.point(alpha), 0.0)
        near[0] = 0.0
        mean, tilt = power_moments(j + self.point(alpha), near, np.ones(count + 1), alpha)
        mean, tilt = mean * step**-alpha, tilt * step**-alpha
        if self.lean > 0:
            tilt[0] = 0.0
            first = (mean - tilt)[:-1]
            return first + tilt[1:], first
        older = np.append(0.0, tilt[:-1])
        return (mean + tilt - older)[:-1], (mean - older)[:-1]


def assembled(mean: FloatArray, tilt: FloatArray, cell: FloatArray, lean: int) -> FloatArray:
    """Return weights of increments from the moments of cells.

    Parameters
    ----------
    mean, tilt : (m, n) float64
        Mean of a kernel over each cell, and its moment about the midpoint, in several rows.
    cell : (n,) float64 [t]
        Lengths of the cells.
    lean : int
        See :class:`PiecewiseScheme`.

    Returns
    -------
    (m, n) ndarray
        Unit of ``mean``.
    """
    weights = np.array(mean)
    if lean and len(cell) > 1:
        # The neighbouring cells (a, b) of the parabolas of all cells that have one.
        part = tilt[:, :-1] if lean > 0 else tilt[:, 1:]
        part = part * (2.0 / (cell[:-1] + cell[1:]))
        if lean < 0:
            part[:, cell[1:] > LONGEST * cell[:-1]] = 0.0
        weights[:, :-1] -= part / cell[:-1]
        weights[:, 1:] += part / cell[1:]
    return weights


def power_moments(
    left: FloatArray, right: FloatArray, cell: FloatArray, alpha: float, *, tilts: bool = True
) -> tuple[FloatArray, FloatArray]:
    r"""Return the moments of :math:`x^{-\alpha} / \Gamma(1 - \alpha)` over cells.

    Parameters
    ----------
    left, right : (m,) float64 [t]
        Distances of the ends, ``0 <= right < left``.
    cell : (m,) float64 [t]
        Lengths: ``left - right``, but more exact; longer for a cell that is not seen to its end.
    alpha : float [1]
        Order, ``0 < alpha <= 1``; at 1 the kernel is a unit mass at distance 0.
    tilts : bool
        Whether the second moments are wanted.

    Returns
    -------
    mean : (m,) ndarray [t**-alpha]
        Integral over ``cell``.
    tilt : (m,) ndarray [t**(1 - alpha)]
        Moment about the midpoint, larger where nearer; empty if not wanted.
    """
    newest = right == 0.0
    if alpha == 1.0:
        return newest / cell, (0.5 * newest * left if tilts else np.empty(0))
    shorter = np.full_like(left, -np.inf)
    # 1 - z is cell / left to full precision, whatever the distance.
    np.log1p(-cell / left, out=shorter, where=~newest)
    power = left ** (1.0 - alpha)
    mean = -power * np.expm1((1.0 - alpha) * shorter) / (gamma(2.0 - alpha) * cell)
    if not tilts:
        return mean, np.empty(0)
    middle = left - 0.5 * cell
    tilt = np.empty_like(left)
    rho = np.where(newest, 1.0, cell / (2.0 * middle))
    far, near = rho <= _SHORT, rho > _LONG
    between = ~(far | near)
    for part, terms in ((far, _SHORT_TERMS), (between, _LONG_TERMS)):
        if np.any(part):
            scale = middle[part] ** (2.0 - alpha) * rgamma(1.0 - alpha)
            tilt[part] = scale * rho[part] ** 3 * _series(rho[part] ** 2, alpha, terms)
    if np.any(near):
        tilt[near] = (left[near] * power[near]) * _closed(shorter[near], alpha)
    return mean, tilt


def _series(square: FloatArray, alpha: float, terms: int) -> FloatArray:
    # The sum over i, by Horner.
    coefficients = _coefficients(alpha, terms)
    total = np.full_like(square, coefficients[-1])
    for c in coefficients[-2::-1]:
        total *= square
        total += c
    return total


@lru_cache(maxsize=16)
def _coefficients(alpha: float, terms: int) -> FloatArray:
    i = np.arange(terms)
    return np.asarray(2.0 * poch(alpha, 2 * i + 1) * rgamma(2.0 * i + 2.0) / (2 * i + 3))


@lru_cache(maxsize=16)
def _constants(alpha: float) -> tuple[FloatArray, FloatArray]:
    # What the compiled weights need: gamma functions, and the series of both moments.
    i = np.arange(_LONG_TERMS)
    means = poch(alpha, 2 * i) * rgamma(2.0 * i + 2.0)
    series = np.stack([means, _coefficients(alpha, _LONG_TERMS)])
    return rgamma(np.array([2.0, 1.0, 3.0]) - alpha), series


def _closed(log_z: FloatArray, alpha: float) -> FloatArray:
    # The second moment over left**(2 - alpha), for z = right / left well below one.
    z, b = np.exp(log_z), 1.0 - alpha
    if alpha < 0.5:  # every term is of the size of alpha
        finite = np.maximum(log_z, -700.0)
        grown = np.where(z > 0.0, z * np.expm1(-alpha * finite), 0.0)
        found = alpha * -np.expm1((2.0 - alpha) * log_z) - (2.0 - alpha) * grown
    else:  # every term is of the size of 1 - alpha, but where z vanishes
        power = np.exp(b * log_z)
        found = (1.0 + z) * -np.expm1(b * log_z) - b * (1.0 - z) * (1.0 + power)
    return np.asarray(0.5 * found / gamma(3.0 - alpha))

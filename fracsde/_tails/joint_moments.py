r"""Joint moments of the curvature and the gradient of one batch, for losses of one weight.

.. math::
    F(s, t) = \mathbb E\,e^{s c_B + t g_B} = \sum_{l + m \le n}
    \frac{\mathbb E[c_B^l g_B^m]}{l!\,m!}\, s^l t^m, \qquad
    c_B = \frac1B \sum_{i=1}^B c_i,

and so for ``g``.  Series are truncated at total degree ``n`` and held as ``(n + 1, n + 1)`` arrays.
Drawn with replacement, :math:`F(s, t) = f(s/B, t/B)^B` with the series ``f`` of one example;
without, it is the coefficient of :math:`y^B` in :math:`\prod_n (1 + y\,e^{(s c_n + t g_n)/B})` over
:math:`\binom NB`, gathered example by example in the stable form

.. math::
    F_b^{(i)} = \frac{i - b}{i} F_b^{(i-1)} + \frac bi\, e^{(s c_i + t g_i)/B}\, F_{b-1}^{(i-1)} .
"""

from __future__ import annotations

from math import comb, factorial
from typing import TYPE_CHECKING

import numpy as np

from fracsde.problems.example_noise import FactorNoise, GaussianInputNoise, HessianNoise

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.example_noise import ExampleNoise

__all__ = ["batch_moments"]


def batch_moments(
    noise: ExampleNoise, *, decay: float, batch: int, order: int, replace: bool
) -> FloatArray:
    """Compute ``E[c_B^l g_B^m]`` of the regularised loss at its minimum.

    Parameters
    ----------
    noise : ExampleNoise
        Of one weight.
    decay : float
        Added to every curvature; gradients are shifted to mean zero.
    batch, order : int
        ``B``, and the largest ``l + m``.
    replace : bool
        How batches are drawn.

    Returns
    -------
    (order + 1, order + 1) float64
        NaN beyond the total degree.
    """
    if isinstance(noise, GaussianInputNoise):
        one = _gaussian_series(noise, order, batch)
        shift = float(noise.covariance[0, 0] * noise.gap[0])
        series = _power(one, batch)
    else:
        c, g = _examples(noise)
        shift = -float(g.mean())
        rows = _exponential(c / batch, g / batch, order)
        series = _power(rows.mean(axis=0), batch) if replace else _without(rows, batch)
    series = _times(series, _exponential(np.array([decay]), np.array([shift]), order)[0])
    degrees = np.arange(order + 1)
    factorials = np.array([factorial(k) for k in degrees], dtype=np.float64)
    moments = series * np.outer(factorials, factorials)
    moments[np.add.outer(degrees, degrees) > order] = np.nan
    return moments


def _examples(noise: ExampleNoise) -> tuple[FloatArray, FloatArray]:
    assert isinstance(noise, (FactorNoise, HessianNoise))  # the kinds that hold examples
    if isinstance(noise, HessianNoise):
        return noise.hessians[:, 0, 0], noise.gradients[:, 0]
    signs = np.ones(noise.factors.shape[:2]) if noise.signs is None else noise.signs
    return np.sum(signs * noise.factors[:, :, 0] ** 2, axis=1), noise.gradients[:, 0]


def _exponential(c: FloatArray, g: FloatArray, order: int) -> FloatArray:
    # Series of exp(s c + t g), one for each entry.
    powers = np.arange(order + 1)
    factorials = np.array([factorial(k) for k in powers], dtype=np.float64)
    left, right = c[:, None] ** powers / factorials, g[:, None] ** powers / factorials
    series = left[:, :, None] * right[:, None, :]
    series[:, np.add.outer(powers, powers) > order] = 0.0
    return np.asarray(series, dtype=np.float64)


def _gaussian_series(noise: GaussianInputNoise, order: int, batch: int) -> FloatArray:
    # c = a z^2 and g = -(sqrt(a) z e + a z^2 gap) with normal z, e of variance 1 and s^2.
    a, gap, s = float(noise.covariance[0, 0]), float(noise.gap[0]), noise.label_noise
    series = np.zeros((order + 1, order + 1))
    for left in range(order + 1):
        for m in range(order + 1 - left):
            moment = 0.0
            for j in range(m % 2, m + 1, 2):  # powers of z^2 gap; m - j of z e
                even = m - j
                normal = _double_factorial(even) * _double_factorial(2 * (left + j) + even)
                moment += comb(m, j) * a ** (left + j + even // 2) * gap**j * s**even * normal
            scale = float(batch) ** (left + m) * factorial(left) * factorial(m)
            series[left, m] = (-1) ** m * moment / scale
    return series


def _double_factorial(power: int) -> float:
    # E z^power of a standard normal z, for an even power.
    return float(np.prod(np.arange(power - 1, 0, -2, dtype=np.float64)))


def _times(a: FloatArray, b: FloatArray) -> FloatArray:
    # Product of two series; ``a`` may be many.
    n = a.shape[-1]
    product = np.zeros_like(a)
    for left in range(n):
        for m in range(n - left):
            if b[left, m] != 0.0:
                product[..., left:, m:] += b[left, m] * a[..., : n - left, : n - m]
    degrees = np.arange(n)
    product[..., np.add.outer(degrees, degrees) >= n] = 0.0
    return product


def _power(series: FloatArray, exponent: int) -> FloatArray:
    result = np.zeros_like(series)
    result[0, 0] = 1.0
    while exponent:
        if exponent & 1:
            result = _times(result, series)
        series, exponent = _times(series, series), exponent >> 1
    return result


def _without(rows: FloatArray, batch: int) -> FloatArray:
    partial = np.zeros((batch + 1, *rows.shape[1:]))
    partial[0, 0, 0] = 1.0
    b = np.arange(batch + 1, dtype=np.float64)[:, None, None]
    for i, row in enumerate(rows, start=1):
        grown = _times(partial[:-1], row)
        # Of i examples no more than i are drawn: beyond, the weight is never used.
        partial = np.maximum((i - b) / i, 0.0) * partial
        partial[1:] += b[1:] / i * grown
    return np.asarray(partial[batch])

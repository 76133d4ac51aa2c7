r"""The Bernoulli function :math:`B(z) = z / (e^z - 1)` of Scharfetter-Gummel fluxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["artificial_diffusion", "bernoulli", "finer_diffusion"]


def bernoulli(z: FloatArray) -> FloatArray:
    """Return ``z / (exp(z) - 1)``: 1 at zero, 0 far to the right, ``-z`` far to the left.

    Returns
    -------
    ndarray of float64
        Positive, to a few rounding errors relatively; zero beyond ``z = 709``.

    Examples
    --------
    >>> bernoulli(np.array([-800.0, 0.0, 800.0]))
    array([800.,   1.,   0.])
    """
    z = np.asarray(z, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        return np.where(z == 0.0, 1.0, z / np.expm1(z))


def artificial_diffusion(tilt: FloatArray) -> FloatArray:
    r"""Return what the fluxes diffuse too much at a tilt :math:`\delta`, relative to the diffusion.

    It is :math:`\tfrac{\delta}{2} \coth \tfrac{\delta}{2} - 1`, about :math:`\delta^2 / 12`; with
    constant diffusion the tilt is twice the Peclet number of a cell.

    Returns
    -------
    ndarray of float64 [1]
        Zero at zero.

    Examples
    --------
    >>> artificial_diffusion(np.array([0.0, 0.3, -40.0])).round(4)
    array([0.0e+00, 7.5e-03, 1.9e+01])
    """
    half = 0.5 * np.abs(np.asarray(tilt, dtype=np.float64))
    extra = half / np.tanh(np.where(half > 0.0, half, 1.0)) - 1.0
    return np.where(half > 0.0, extra, 0.0)


def finer_diffusion(left: FloatArray, right: FloatArray, finer: float) -> FloatArray:
    r"""Estimate :func:`artificial_diffusion` in cells cut in equal parts.

    Tilts fall with the width.  Where they rise on both sides the density of narrow cells gathers
    between: with :math:`F' = -k` there is :math:`\overline{F^2} = k D`, so that the mean of
    :math:`(F h / D)^2 / 12` is :math:`k h^2 / (12 D)`, a twelfth of the difference of the tilts.

    Parameters
    ----------
    left, right : ndarray of float64 [1]
        Tilts of the faces before and after each cell.
    finer : float [1]
        How many parts.

    Returns
    -------
    ndarray of float64 [1]

    Examples
    --------
    >>> tilts = np.array([-6.0, 6.0]), np.array([6.0, 6.0])
    >>> finer_diffusion(*tilts, 4.0).round(3)
    array([0.062, 0.181])
    """
    passed = artificial_diffusion(np.maximum(np.abs(left), np.abs(right)) / finer)
    between = right - left >= 0.99 * np.abs(right + left)
    return np.where(between, np.minimum(passed, (right - left) / (12.0 * finer**2)), passed)

r"""The Bernoulli function :math:`B(z) = z / (e^z - 1)` of Scharfetter-Gummel fluxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["artificial_diffusion", "bernoulli"]


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

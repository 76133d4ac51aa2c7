r"""The Bernoulli function :math:`B(z) = z / (e^z - 1)` of Scharfetter-Gummel fluxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["bernoulli"]


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

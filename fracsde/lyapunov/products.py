r"""Products that cost less because their result is symmetric, or because only its size is wanted.

.. math::
    U X U^T = (U X U^T)^T \quad\text{at } 3n^3 \text{ operations in place of } 4n^3, \qquad
    \|D\|_F^2 \approx \tfrac1k \|D Z\|_F^2, \quad Z_{ij} \sim N(0, 1), \; k = 32,

from products of the factors of ``D`` with ``Z`` alone.  The ratio of the two sides is a weighted
mean of chi-squared variables, so that :math:`3\,\|DZ\|_F/\sqrt k` is less than
:math:`\|D\|_F` with probability at most :math:`10^{-10}`, attained where ``D`` has rank one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["PROBED_FROM", "SAFETY", "congruent", "defect_norm"]

# Size from which defects are probed; smaller ones are formed.
PROBED_FROM = 256
# Factor from the size of the probes to a bound on the size of the defect.
SAFETY = 3.0
_PROBES = 32
_BLOCK = 128


def congruent(U: FloatArray, X: FloatArray) -> FloatArray:
    """Return ``U X U^T`` of a symmetric ``X``, exactly symmetric.

    Parameters
    ----------
    U : (m, n) float64
        Any matrix, or a transposed view of one.
    X : (n, n) float64
        Symmetric; not checked.

    Returns
    -------
    (m, m) float64
    """
    right = X @ U.T
    out = np.empty((len(U), len(U)))
    for start in range(0, len(U), _BLOCK):
        stop = start + _BLOCK
        np.matmul(U[:stop], right[:, start:stop], out=out[:stop, start:stop])
        corner = out[start:stop, start:stop]
        corner[:] = 0.5 * (corner + corner.T)
        out[start:stop, :start] = out[:start, start:stop].T
    return out


def defect_norm(
    array: FloatArray, Q: FloatArray, S: FloatArray, *, discrete: bool
) -> tuple[float, float]:
    """Return the Frobenius norm of what a Lyapunov or Stein equation leaves, and a bound on it.

    Parameters
    ----------
    array, Q, S : (n, n) float64
        Matrix, symmetric right-hand side and symmetric solution.
    discrete : bool
        Whether the equation is Stein's.

    Returns
    -------
    norm : float
        Exact below ``PROBED_FROM`` rows; from there on known to some ten per cent.
    bound : float
        Not exceeded, or with the probability that the module states.
    """
    n = len(array)
    if n < PROBED_FROM:
        product = array @ S
        gap = product @ array.T + Q - S if discrete else Q - product - product.T
        norm = float(np.linalg.norm(gap))
        return norm, norm
    Z = np.random.default_rng(n).standard_normal((_PROBES, n))
    turned, plain = np.split(np.vstack([Z @ array, Z]) @ S, 2)  # which reads S once
    gap = Z @ Q + (turned @ array.T - plain if discrete else -turned - plain @ array.T)
    norm = float(np.linalg.norm(gap)) / _PROBES**0.5
    return norm, SAFETY * norm

r"""Powers of many small matrices, and their sums, without the rounding of one step times the steps.

A process that falls apart into modes has one small block :math:`E` for each, and with
:math:`A_n = E^n - I`

.. math::
    A_{n+m} = A_n + A_m + A_n A_m, \qquad G_{n+m} = G_n + E^n G_m, \qquad
    W_{n+m} = W_n + m\,G_n + E^n W_m,

.. math::
    G_n = \sum_{s<n} E^s, \qquad W_n = \sum_{s<n} (n - s)\,E^s = \sum_{m=1}^{n} G_m ,

so that :math:`n` steps cost :math:`\log_2 n` products.  Doubling the distance :math:`A` from the
identity instead of the power keeps the relative accuracy of what a slow mode has lost: the rounding
of ``1 - 1e-12`` would be a tenth of a per mille of it, and that of ``-1e-12`` is nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["power_rows", "step_count", "triangle_sum"]

# A mode that is still alive after so many steps cannot be told from a marginal one.
_FOREVER = 2**62


def step_count(steps: float) -> int:
    """Return a number of steps that any stable mode treats like ``steps``.

    Parameters
    ----------
    steps : float
        A whole number, however large.

    Returns
    -------
    int
        At most 2**62.
    """
    return int(min(steps, float(_FOREVER)))


def power_rows(away: FloatArray, lags: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the first rows of the powers of each block, and of their distances from 1.

    Parameters
    ----------
    away : (n, m, m) float64
        ``E - I`` of each block.
    lags : (lag,) float64
        Whole numbers of steps, not negative.

    Returns
    -------
    (lag, n, m) float64
        First rows of ``E^k``.
    (lag, n, m) float64
        First rows of ``E^k - I``, without cancellation.
    """
    n, m, _ = away.shape
    left = np.minimum(lags, float(_FOREVER)).astype(np.int64)
    gone = np.zeros((len(left), n, m))
    kept = np.zeros((len(left), n, m))
    kept[:, :, 0] = 1.0
    A, E = away, np.eye(m) + away
    while left.any():
        odd = (left & 1).astype(bool)
        if odd.any():
            before = gone[odd]
            gone[odd] = before + np.einsum("lnm,nmk->lnk", before, A) + A[:, 0]
            kept[odd] = np.einsum("lnm,nmk->lnk", kept[odd], E)
        left >>= 1
        if left.any():
            A = 2.0 * A + A @ A
            # The power is the better known once most of it is gone.
            alive = np.abs(A[:, :1, :1]) < 0.5
            E = np.where(alive, np.eye(m) + A, E @ E)
    return kept, gone


def triangle_sum(away: FloatArray, steps: int) -> FloatArray:
    """Return ``sum over s < steps of (steps - s) E^s``.

    Parameters
    ----------
    away : (..., m, m) float64
        ``E - I``.
    steps : int
        At least 1.

    Returns
    -------
    (..., m, m) float64
    """
    one = np.broadcast_to(np.eye(away.shape[-1]), away.shape)
    A, G, W, count = away, one, one, 1.0
    for bit in bin(steps)[3:]:
        W = 2.0 * W + count * G + A @ W
        G = 2.0 * G + A @ G
        A = 2.0 * A + A @ A
        count *= 2.0
        if bit == "1":
            W = W + G + A + one
            G = G + A + one
            A = A + away + A @ away
            count += 1.0
    return np.asarray(W)

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
    from fracsde._typing import FloatArray, IntArray

__all__ = ["power_rows", "step_count", "triangle_sum"]

# A mode that is still alive after so many steps cannot be told from a marginal one.
_FOREVER = 2**62
# Lags are split at this bit.
_LOW_BITS = 9


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


def power_rows(away: FloatArray, lags: FloatArray, *, distance: bool = False) -> FloatArray:
    """Return the first row of a power of each block, or of its distance from the identity.

    A lag is split in two, so that a thousand neighbouring ones cost one product each.

    Parameters
    ----------
    away : (n, m, m) float64
        ``E - I`` of each block.
    lags : (lag,) float64
        Whole numbers of steps, not negative.
    distance : bool
        Whether to return the rows of ``E^k - I``, without cancellation, in place of ``E^k``.

    Returns
    -------
    (m, lag, n) float64
        Column of the row, lag, block.
    """
    # Blocks come last from here on: (m, m, n).
    A = np.ascontiguousarray(np.moveaxis(away, 0, -1))
    steps = np.minimum(lags, float(_FOREVER)).astype(np.int64)
    high, at_high = np.unique(steps >> _LOW_BITS, return_inverse=True)
    low, at_low = np.unique(steps & (2**_LOW_BITS - 1), return_inverse=True)
    far = _powers(A, high << _LOW_BITS, distance=distance)[:, 0][at_high]
    near = _powers(A, low, distance=distance)[at_low]
    rows = far + near[:, 0] if distance else np.zeros_like(far)
    for j in range(len(A)):
        rows += far[:, j, None] * near[:, j]
    return np.ascontiguousarray(np.moveaxis(rows, 1, 0))


def _powers(away: FloatArray, steps: IntArray, *, distance: bool) -> FloatArray:
    # E^k or E^k - I for each number of steps, (k, m, m, n).
    one = np.eye(len(away))[:, :, None]
    out = np.empty((len(steps), *away.shape))
    out[:] = 0.0 if distance else one
    A, E, left = away, one + away, steps.copy()
    while left.any():
        odd = (left & 1).astype(bool)
        if odd.any() and distance:
            out[odd] = out[odd] + A + _product(out[odd], A)
        elif odd.any():
            out[odd] = _product(out[odd], E)
        left >>= 1
        if left.any():
            A = 2.0 * A + _product(A, A)
            # The power is the better known once most of it is gone.
            E = np.where(np.abs(A[0, 0]) < 0.5, one + A, _product(E, E))
    return out


def _product(left: FloatArray, right: FloatArray) -> FloatArray:
    m = right.shape[0]
    return np.asarray(sum(left[..., j, None, :] * right[j] for j in range(m)))


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

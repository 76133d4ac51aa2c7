r"""Powers of affine maps near the identity, to any number of steps, for many maps at once.

.. math::
    x_{k+1} = x_k + A x_k + b, \qquad
    A_{2n} = 2 A_n + A_n^2, \qquad b_{2n} = 2 b_n + A_n b_n .

The map over ``k`` steps is composed of those over powers of two.  What is kept is its distance
``A`` from the identity and not the map itself, so that a pull of ``1e-15`` per step is there after
``1e9`` of them; subtracted from 1 it would be lost.  Maps over different numbers of steps commute:
each requested number of steps takes its own powers, in any order.

The cost is that of ``log2(k)`` products for all requested numbers of steps together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray

__all__ = ["affine_states"]


def affine_states(
    away: FloatArray, push: FloatArray, start: FloatArray, steps: IntArray
) -> FloatArray:
    """Return the states of affine maps after given numbers of steps.

    Parameters
    ----------
    away : (..., n, n) float64
        ``A``, the linear part less the identity.
    push : (..., n) float64
        ``b``.
    start : (..., n) float64
        ``x_0``.
    steps : (k,) int64
        Numbers of steps, not negative.

    Returns
    -------
    (k, ..., n) ndarray
        Infinite or NaN where a state grows beyond the largest float.
    """
    left = np.array(steps, dtype=np.int64)
    states = np.broadcast_to(start, (len(left), *np.shape(push))).copy()
    with np.errstate(over="ignore", invalid="ignore"):
        while np.any(left > 0):
            odd = left % 2 == 1
            taken = states[odd]
            states[odd] = taken + (_applied(away, taken) + push)
            left //= 2
            if np.any(left > 0):
                push = 2.0 * push + _applied(away, push)
                away = 2.0 * away + away @ away
    return states


def _applied(matrices: FloatArray, vectors: FloatArray) -> FloatArray:
    product: FloatArray = (matrices @ vectors[..., None])[..., 0]
    return product

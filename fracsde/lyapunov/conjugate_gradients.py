r"""Conjugate gradients on symmetric matrices, with an elementwise preconditioner.

.. math::
    \mathcal D \circ S - \mathcal V(S) = R

with a linear :math:`\mathcal V` that is its own adjoint under :math:`\operatorname{Tr} AB`
and positive numbers :math:`\mathcal D`.  Unknowns are whole matrices; memory is six of them.  The
number of iterations grows with the root of the condition of
:math:`I - \mathcal D^{-1/2} \mathcal V \mathcal D^{-1/2}`, less where few eigenvalues stand apart.

References: [HestenesStiefel1952]_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.lyapunov.rounding import EPS, binary_unit
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

__all__ = ["ITERATIONS", "conjugate_gradients"]

ITERATIONS = 2000


def conjugate_gradients(
    spread: Callable[[FloatArray], FloatArray],
    D: FloatArray,
    right: FloatArray,
    *,
    start: FloatArray | None = None,
) -> tuple[Status, FloatArray]:
    """Solve ``D S - spread(S) = right`` with ``D`` elementwise, to rounding.

    Parameters
    ----------
    spread : callable
        Linear, its own adjoint.
    D : (r, r) float64
        Positive.
    right : (r, r) float64
        Symmetric.
    start : (r, r) float64, optional
        First guess; ``right / D`` by default.

    Returns
    -------
    Status
        ``UNSTABLE`` where the operator is found not to be positive, ``NOT_CONVERGED`` after 2000
        iterations, ``NOT_FINITE`` where numbers overflow.
    (r, r) float64
        The solution, or the last iterate.
    """
    if not np.all(np.isfinite(right)):
        return Status.NOT_FINITE, right
    # In units of the right side no square overflows or underflows.
    unit = binary_unit(right)
    guess = None if start is None else start / unit
    status, S = _solved(spread, D, right / unit, guess)
    return status, S * unit


def _solved(
    spread: Callable[[FloatArray], FloatArray],
    D: FloatArray,
    right: FloatArray,
    start: FloatArray | None,
) -> tuple[Status, FloatArray]:
    S = right / D if start is None else start
    scale, best, steps = float(np.sum(right * right / D)), np.inf, 0
    # Restarts measure the residual afresh, which the recursion underestimates at the end.
    while True:
        R = right - D * S + spread(S)
        size = float(np.sum(R * R / D))
        if not np.isfinite(size):
            return Status.NOT_FINITE, S
        if size <= (0.25 * EPS) ** 2 * scale or not size < 0.25 * best:
            return Status.SUCCESS, S
        best, goal = size, max((0.25 * EPS) ** 2 * scale, 1e-20 * size)
        Z = R / D
        move, rho = Z, size
        while rho > goal:
            if steps == ITERATIONS:
                return Status.NOT_CONVERGED, S
            pulled = D * move - spread(move)
            curvature = float(np.sum(move * pulled))
            if curvature <= 0.0:
                return Status.UNSTABLE, S
            S = S + (rho / curvature) * move
            R = R - (rho / curvature) * pulled
            Z = R / D
            before, rho = rho, float(np.sum(R * Z))
            move = Z + (rho / before) * move
            steps += 1

r"""Newton's method with a Jacobian kept for many iterations.

From a guess, :math:`x \leftarrow x - M^{-1} R(x)` with a factorised ``M`` near the derivative of
``R``.  Corrections then shrink by a nearly constant factor :math:`\varrho`, and what is missing
after one of size :math:`\delta` is about :math:`\delta \varrho / (1 - \varrho)`.  The iteration
ends when that is below one in the scaled norm, and gives up as soon as the factor says that it
will not get there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde._ode.systems import SingularSystemError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

__all__ = ["Found", "newton"]

_SLOWEST = 0.9  # factor between corrections beyond which the iteration is given up
_ROUNDING = 100.0  # corrections that no longer shrink are rounding if below this


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """Where the iteration ended.

    Parameters
    ----------
    value : ndarray of float64
        The last iterate.
    converged : bool
        Whether what is missing is below one in the scaled norm.
    iterations : int
        Corrections made.
    factor : float [1]
        Largest ratio of successive corrections; 0 if there was but one.
    """

    value: FloatArray
    converged: bool
    iterations: int
    factor: float


def newton(
    residual: Callable[[FloatArray], FloatArray],
    solve: Callable[[FloatArray], FloatArray],
    guess: FloatArray,
    *,
    allowed: FloatArray,
    most: int,
    exact: bool = False,
) -> Found:
    """Iterate until what is missing is below ``allowed``.

    Parameters
    ----------
    residual : callable
        ``R``.
    solve : callable
        Application of the inverse of ``M``; may raise :class:`SingularSystemError`.
    guess : ndarray of float64
        Where to start.
    allowed : ndarray of float64
        Largest error of the entries.
    most : int
        Corrections to make at most.
    exact : bool
        The equation is linear and ``M`` its matrix: one correction is the solution.

    Returns
    -------
    Found
    """
    x, before, worst = guess, np.inf, 0.0
    for iteration in range(1, most + 1):
        try:
            correction = solve(residual(x))
        except SingularSystemError:
            return Found(value=x, converged=False, iterations=iteration, factor=np.inf)
        x = x - correction
        size = float(np.abs(correction / allowed).max())
        if not np.isfinite(size):
            return Found(value=x, converged=False, iterations=iteration, factor=np.inf)
        if exact or size == 0.0:
            return Found(value=x, converged=True, iterations=iteration, factor=worst)
        if np.isfinite(before):
            factor = size / before
            worst = max(worst, factor)
            if factor > _SLOWEST:
                tired = size < _ROUNDING
                return Found(value=x, converged=tired, iterations=iteration, factor=factor)
            left = size * factor / (1.0 - factor)
            if left <= 1.0:
                return Found(value=x, converged=True, iterations=iteration, factor=worst)
            if left * factor ** (most - iteration) > _ROUNDING:
                break
        before = size
    return Found(value=x, converged=False, iterations=iteration, factor=worst)

r"""Quadratic forms and ends of the spectrum of a matrix known by products, from above and below.

From :math:`A = A^T` and a vector ``g`` the Lanczos recurrence makes a tridiagonal :math:`T_k` in
``k`` products and three vectors of memory.  With :math:`0 < a \le` all eigenvalues,

.. math::
    \|g\|^2\, e_1^T T_k^{-1} e_1 \le g^T A^{-1} g \le \|g\|^2\, e_1^T \hat T_{k+1}^{-1} e_1 ,

Gauss quadrature on the left and Gauss-Radau quadrature with a node at ``a`` on the right
([GolubMeurant2010]_, chapter 6).  Both converge geometrically at a rate set by the square root of
the condition number; the bounds hold at each ``k``.

:func:`largest_eigenvalue` bounds the upper end: after ``k`` steps from a random direction in ``d``
dimensions the largest Ritz value :math:`\theta` of a positive semi-definite matrix satisfies

.. math::
    \lambda_{\max} \le \frac{\theta}{1 - \varepsilon}
    \quad\text{except with probability}\quad 1.648\,\sqrt d\; e^{-\sqrt\varepsilon\,(2k-1)}

([KuczynskiWozniakowski1992]_, theorem 4.2); it is asked to fail once in a million.

Lost orthogonality delays convergence and harms neither bound beyond rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from fracsde.lyapunov.rounding import EPS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fracsde._typing import FloatArray
    from fracsde.problems.products import Symmetric

__all__ = ["FAILURE", "Ends", "inverse_bounds", "largest_eigenvalue", "recurrence"]

FAILURE = 1e-6  # probability with which the bound on the largest eigenvalue may fail


@dataclass(frozen=True, kw_only=True)
class Ends:
    """Extreme Ritz values, and a bound on the largest eigenvalue.

    Parameters
    ----------
    smallest, largest : float
        Ritz values: both lie inside the spectrum.
    bound : float
        Above the largest eigenvalue, except with probability ``FAILURE``, if none is negative.
    products : int
        What it cost.
    """

    smallest: float
    largest: float
    bound: float
    products: int


def recurrence(A: Symmetric, start: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Run the Lanczos recurrence from each column on its own.

    Parameters
    ----------
    A : LowRankPlusDiagonal or Products
        Symmetric.
    start : (d, p) float64
        Columns; not kept, not written to.

    Yields
    ------
    diagonal, off : (k, p) float64
        Of the tridiagonal matrices after ``k = 1, 2, ...`` products; the last row of ``off``
        leads out of the space, and is 0 once a column's space is invariant.
    """
    sizes = np.linalg.norm(start, axis=0)
    v = start / np.where(sizes > 0.0, sizes, 1.0)
    before = np.zeros_like(v)
    diagonal: list[FloatArray] = []
    off: list[FloatArray] = []
    beta = np.zeros(start.shape[1])
    while True:
        w = A @ v
        scale = np.linalg.norm(w, axis=0)
        w -= beta * before
        alpha = np.einsum("ij,ij->j", v, w)
        w -= alpha * v
        beta = np.linalg.norm(w, axis=0)
        # What is left of a vector in an invariant space is rounding.
        beta[beta <= 8.0 * EPS * scale] = 0.0
        diagonal.append(alpha)
        off.append(beta)
        yield np.array(diagonal), np.array(off)
        before, v = v, w
        v /= np.where(beta > 0.0, beta, np.inf)


def largest_eigenvalue(A: Symmetric, *, steps: int) -> Ends:
    """Bound the spectrum from one random start.

    Parameters
    ----------
    A : LowRankPlusDiagonal or Products
        Symmetric positive semi-definite, for the bound.
    steps : int
        Products to spend, at most.

    Returns
    -------
    Ends
    """
    d = A.dimension
    start = np.random.default_rng(19920).normal(size=(d, 1))
    run = recurrence(A, start)
    diagonal, off = next(run)
    while len(diagonal) < min(steps, d) and off[-1, 0] > 0.0:
        diagonal, off = next(run)
    k = len(diagonal)
    ritz = scipy.linalg.eigh_tridiagonal(diagonal[:, 0], off[:-1, 0], eigvals_only=True)
    low, high = float(ritz[0]), float(ritz[-1])
    share = (math.log(1.648 * math.sqrt(d) / FAILURE) / (2.0 * k - 1.0)) ** 2
    if off[-1, 0] == 0.0 or k == d:
        share = 0.0  # the space is all that the start can reach
    bound = high / (1.0 - share) if share < 1.0 else float("inf")
    slack = 4.0 * math.sqrt(d) * EPS * max(abs(low), abs(high))
    return Ends(smallest=low, largest=high, bound=bound + slack, products=k)


def inverse_bounds(
    diagonal: FloatArray, off: FloatArray, floor: float, *, precision: float = EPS
) -> tuple[float, float]:
    """Bound ``g^T A^{-1} g`` for a unit vector ``g``.

    Parameters
    ----------
    diagonal, off : (k,) float64
        One column of :func:`recurrence`.
    floor : float
        Below all eigenvalues of ``A``.
    precision : float [1]
        Relative rounding of a product.

    Returns
    -------
    low, high : float
        The upper one is infinite where the floor is not positive; both are NaN where a Ritz value
        is not.
    """
    stop = np.flatnonzero(off == 0.0)
    if len(stop):  # the space is invariant: the quadrature is exact
        k = int(stop[0]) + 1
        diagonal, off = diagonal[:k], off[:k]
    k = len(diagonal)
    size = float(np.abs(diagonal).max() + 2.0 * off.max(initial=0.0))
    low = _corner(diagonal, off[:-1])
    if np.isnan(low):
        return low, low
    # Rounding of T moves the inverse by its own size times this.
    rounding = 4.0 * precision * math.sqrt(k) * size * low
    low *= 1.0 - min(rounding, 1.0)
    if len(stop):
        return low, low * (1.0 + 4.0 * rounding)
    node = floor - 4.0 * precision * size
    if node <= 0.0:
        return low, float("inf")
    # The last pivot of T - node gives the entry that puts a Ritz value at the node.
    pivot = diagonal[0] - node
    for i in range(1, k):
        if pivot <= 0.0:
            return low, float("inf")
        pivot = diagonal[i] - node - off[i - 1] ** 2 / pivot
    if pivot <= 0.0:
        return low, float("inf")
    last = node + off[-1] ** 2 / pivot
    high = _corner(np.append(diagonal, last), off)
    return low, (float("inf") if np.isnan(high) else high * (1.0 + rounding))


def _corner(diagonal: FloatArray, off: FloatArray) -> float:
    # The first entry of the inverse of a positive definite tridiagonal matrix.
    pivot = float(diagonal[-1])
    for i in range(len(diagonal) - 2, -1, -1):
        if pivot <= 0.0:
            return float("nan")
        pivot = float(diagonal[i]) - float(off[i]) ** 2 / pivot
    return 1.0 / pivot if pivot > 0.0 else float("nan")

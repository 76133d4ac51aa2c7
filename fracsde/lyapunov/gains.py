r"""Noise against functions of the curvature, column by column, from above and below.

The trace of a function of ``A`` times the stationary covariance needs the diagonal of the noise
alone (:mod:`fracsde.lyapunov.response`), so with :math:`N = \sum_j b_j b_j^T`

.. math::
    \operatorname{Tr}\Sigma = \sum_j b_j^T g(A)\,b_j
        = \frac{1}{2\alpha}\sum_j \big[b_j^T A^{-1} b_j + b_j^T (a_c - A)^{-1} b_j\big], \qquad
    \operatorname{Tr} A\Sigma
        = \frac{1}{2\alpha}\sum_j a_c\, b_j^T (a_c - A)^{-1} b_j .

Each form is an inverse against a vector, and :func:`fracsde.lyapunov.lanczos.inverse_bounds` has
it from both sides: ``A`` from the floor of its spectrum, :math:`a_c - A` from the ceiling.  For
the flow the second is :math:`\operatorname{Tr} N / 2` without any product: that is the
fluctuation-dissipation relation, and at a finite rate only the distance to the border enters.

With :math:`A = H + \lambda`, :math:`\operatorname{Tr} H\Sigma` is the difference of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from fracsde.lyapunov.krylov_space import FLAT
from fracsde.lyapunov.lanczos import inverse_bounds, recurrence
from fracsde.lyapunov.rounding import EPS
from fracsde.lyapunov.symmetric_law import SymmetricLaw, check_ritz, refuse_flat

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

__all__ = ["WEIGHTS", "Forms", "forms"]

WEIGHTS = ("identity", "curvature", "hessian")
# Share of a column that may lie in a flat direction: rounding.
_FLAT_SHARE = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Forms:
    """Values of a form for several vectors, each with a bound on its error.

    Parameters
    ----------
    values : (p,) float64
        Half-way between a lower and an upper bound; the lower one where there is no upper one.
    errors : (p,) float64
        Half the distance of the bounds, or infinite.
    products : int
        Products spent: one for each column and step.
    """

    values: FloatArray
    errors: FloatArray
    products: int


def forms(
    law: SymmetricLaw,
    columns: FloatArray,
    weight: str,
    *,
    rtol: float,
    most: int,
    watch: Callable[[int, float], None],
    signs: FloatArray | float = 1.0,
) -> Forms:
    """Bound ``b^T f(A) b`` for each column ``b``.

    Parameters
    ----------
    law : SymmetricLaw
        The equation; its noise is not used.
    columns : (d, p) float64
        The vectors.
    weight : {"identity", "curvature", "hessian"}
        ``f`` is the gain times 1, ``A`` or ``A`` without the weight decay.
    rtol : float [1]
        Accuracy, relative to the sum of the values times ``signs``.
    most : int
        Products with each column, at most.
    watch : callable
        Called with the products made and the gap over the accuracy.
    signs : (p,) float64 or float
        What each value counts for in the accuracy.

    Returns
    -------
    Forms

    Raises
    ------
    UnstableError
        If a flat direction is reached.
    """
    squares = np.einsum("ij,ij->j", columns, columns)
    if weight == "hessian" and law.decay == 0.0:
        weight = "curvature"
    if weight == "curvature" and np.isinf(law.response.border):
        exact = squares / (2.0 * law.response.linear)
        slack = 4.0 * EPS * len(columns) ** 0.5
        return Forms(values=exact, errors=slack * exact, products=0)
    run = recurrence(law.A, columns)
    look, made, ratio, stuck = 4, 0, float("inf"), 0
    for diagonal, off in run:
        made += 1
        done = made >= most or not off[-1].any()
        if made < look and not done:
            continue
        look = made + max(4, made // 10)
        ends = [
            _between(law, diagonal[:, j], off[:, j], weight) if squares[j] > 0.0 else (0.0, 0.0)
            for j in range(len(squares))
        ]
        low, high = squares * np.array(ends).reshape(-1, 2).T
        before, ratio = ratio, _ratio(low, high, signs, rtol)
        # Bounds that rounding keeps apart come no nearer.
        stuck = stuck + 1 if law.certain and ratio > 0.999 * before else 0
        watch(made * len(squares), ratio)
        if done or ratio <= 1.0 or stuck == 2:
            break
    known = np.isfinite(high)
    upper = np.where(known, high, low)
    errors = np.where(known, 0.5 * (upper - low), np.inf)
    return Forms(values=0.5 * (low + upper), errors=errors, products=made * len(squares))


def _ratio(low: FloatArray, high: FloatArray, signs: FloatArray | float, rtol: float) -> float:
    # The error of the sum over the accuracy that is wanted.
    gap = 0.5 * float((high - low).sum())
    if gap == 0.0 or not np.isfinite(gap):
        return gap
    total = abs(0.5 * float((signs * (low + high)).sum()))
    return gap / (rtol * total) if total > 0.0 else float("inf")


def _between(
    law: SymmetricLaw, diagonal: FloatArray, off: FloatArray, weight: str
) -> tuple[float, float]:
    # Bounds on the form of a unit vector.
    act = law.response
    stop = np.flatnonzero(off == 0.0)
    k = int(stop[0]) + 1 if len(stop) else len(diagonal)
    away = (0.0, 0.0)
    if np.isfinite(act.border):
        away = inverse_bounds(
            act.border - diagonal, off, act.border - law.high, precision=law.A.precision
        )
    share = 0.5 / act.linear
    if weight == "curvature":
        return share * act.border * away[0], share * act.border * away[1]
    floor = law.low
    if not law.certain:
        floor = 0.5 * _least(law, diagonal[:k], off[: k - 1])
    near = inverse_bounds(diagonal, off, floor, precision=law.A.precision)
    if np.isnan(near[0]):
        check_ritz(law, *_ends(diagonal[:k], off[: k - 1]))
        refuse_flat(0.0, law)
    gain = [share * (one + other) for one, other in zip(near, away, strict=True)]
    if weight == "identity":
        return gain[0], gain[1]
    # A - decay, with the decay's share taken from the same pieces: 1 - decay/A is positive.
    lost = law.decay
    if np.isinf(act.border):
        return share * (1.0 - lost * near[1]), share * (1.0 - lost * near[0])
    rest = act.border - lost
    return share * (rest * away[0] - lost * near[1]), share * (rest * away[1] - lost * near[0])


def _least(law: SymmetricLaw, diagonal: FloatArray, off: FloatArray) -> float:
    values, vectors = scipy.linalg.eigh_tridiagonal(diagonal, off, select="i", select_range=(0, 0))
    if values[0] <= FLAT * law.high and vectors[0, 0] ** 2 > _FLAT_SHARE:
        check_ritz(law, *_ends(diagonal, off))
        refuse_flat(float(values[0]), law)
    return float(values[0])


def _ends(diagonal: FloatArray, off: FloatArray) -> tuple[float, float]:
    values = scipy.linalg.eigvalsh_tridiagonal(diagonal, off)
    return float(values[0]), float(values[-1])

r"""Low-rank solutions of the equations of stationary covariances, from products alone.

.. math::
    \mathcal{L}\,\Sigma = b b^T, \qquad \Sigma \approx Z \operatorname{diag}(y)\,Z^T, \qquad
    b \in \mathbb{R}^{d \times r} ,

for the flow, the map and heavy ball alike (:mod:`fracsde.lyapunov.response`).  The equation is
projected onto a space and its residual ``R`` is known exactly there
(:mod:`fracsde.lyapunov.krylov_space`); the error obeys

.. math:: \|\Sigma - \hat\Sigma\|_2 \le \|R\|_2 \max_i g(a_i).

==============  ====================================================  =========================
space           products with ``A``                                   vectors kept
==============  ====================================================  =========================
``krylov``      about :math:`\sqrt\kappa\,\log(1/\epsilon)` per       as many
                column
``rational``    the same in one CG run per column for all             :math:`r\,\log\kappa\,
                shifts, and those of the space                        \log(1/\epsilon)` by 2 or 3
==============  ====================================================  =========================

with :math:`\kappa` the condition number and :math:`\epsilon` the accuracy.  Take ``krylov`` when a
product is dear and ``rational`` when memory is.

The poles are those of Wachspress for the alternating-direction iteration ([Wachspress2013]_): the
best for a flow.  For a map :math:`A \mapsto A\,(a_c - A)^{-1}` turns Stein's equation into
Lyapunov's, and poles go with it, some of them to the far side of the border.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.special

from fracsde.lyapunov.krylov_space import Seen, Space

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray
    from fracsde.lyapunov.symmetric_law import SymmetricLaw
    from fracsde.problems.products import Symmetric

__all__ = ["Solved", "poles", "shifted_solves", "solve_by_krylov", "solve_by_poles"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Solved:
    """An equation solved in a space.

    Parameters
    ----------
    space : Space
        The space.
    seen : Seen
        What the equation looks like in it.
    products : int
        Products with ``A`` spent.
    enough : bool
        Whether the accuracy that was asked for is reached.
    beside : int
        Vectors held beside the space while it was made.
    """

    space: Space
    seen: Seen
    products: int
    enough: bool
    beside: int = 0


def solve_by_krylov(
    law: SymmetricLaw,
    b: FloatArray,
    *,
    enough: Callable[[Space, Seen], float],
    capacity: int,
    watch: Callable[[int, float], None],
) -> Solved:
    """Grow a Krylov space from ``b`` until the equation is solved well enough in it.

    Parameters
    ----------
    law : SymmetricLaw
        The equation; its noise is not used.
    b : (d, r) float64
        Factor of the right-hand side.
    enough : callable
        Error over the accuracy that is wanted; the space grows until that is 1 or less.
    capacity : int
        Vectors to hold, at most.
    watch : callable
        Called with the products made and that ratio after each look.

    Returns
    -------
    Solved
    """
    space = Space(law.A, b, capacity=capacity, rhs=b.shape[1])
    look = 4 * space.count
    while True:
        while not (space.closed or space.full) and space.products < look:
            space.grow()
        ended = space.closed or space.full
        if space.leading(law.response) or ended:
            seen = space.see(law.response)
            ratio = enough(space, seen)
            watch(space.products, ratio)
            if ratio <= 1.0 or ended or seen.settled:
                return Solved(space=space, seen=seen, products=space.products, enough=ratio <= 1.0)
        # A look costs the cube of the size of the space; a tenth more is worth one.
        look = space.products + max(4, space.products // 10)


def solve_by_poles(
    law: SymmetricLaw,
    b: FloatArray,
    *,
    floor: float,
    accuracy: float,
    enough: Callable[[Space, Seen], float],
    capacity: int,
    watch: Callable[[int, float], None],
) -> Solved:
    """Solve the equation in a rational Krylov space, with more poles until it is good enough.

    Parameters
    ----------
    law, b, enough, capacity, watch
        As for :func:`solve_by_krylov`.
    floor : float
        The smallest curvature to reckon with.
    accuracy : float [1]
        Relative accuracy that is wanted.

    Returns
    -------
    Solved
    """
    r = b.shape[1]
    folds = 3 if law.response.square else 2
    # The space of each round, and two vectors for each pole while it is filled.
    most = max(1, (capacity - 1 - folds * r) // (folds * r + 2))
    ratio, spent = law.high / floor, 0
    count = 2 + math.ceil(math.log(4.0 * ratio) * math.log(40.0 / accuracy) / math.pi**2)
    while True:
        count = min(count, most)
        shifts = poles(floor, law.high, law.response.border, count)
        space = Space(law.A, b, capacity=folds * r * (1 + count) + 1, rhs=r)
        for column in range(r):
            inner = accuracy * 1e-2
            solutions, made = shifted_solves(law.A, b[:, column], shifts, inner, watch)
            for solution in solutions:
                space.add(solution)
            del solutions, solution
            spent += made
        started = space.count
        while not (space.closed or space.full) and space.leading(law.response) < started:
            space.grow()
        spent += space.products
        seen = space.see(law.response)
        reached = enough(space, seen)
        watch(spent, reached)
        if reached <= 1.0 or count == most or seen.settled:
            return Solved(
                space=space, seen=seen, products=spent, enough=reached <= 1.0, beside=2 * count
            )
        count += count // 2 + 1
        del space


def poles(low: float, high: float, border: float, count: int) -> FloatArray:
    """Return shifts ``s`` such that solutions with ``A + s`` make a good space.

    Parameters
    ----------
    low, high : float
        Below and above the spectrum of ``A``.
    border : float
        Of the response; infinite for a flow.
    count : int
        How many.

    Returns
    -------
    (count,) float64
        Positive, or below ``-border``.
    """
    a, b = low, high
    if np.isfinite(border):
        a, b = low / (1.0 - low / border), high / (1.0 - high / border)
    small = min((a / b) ** 2, 1.0)
    quarter = float(scipy.special.ellipkm1(small))
    u = (2.0 * np.arange(1, count + 1) - 1.0) / (2.0 * count) * quarter
    # dn(u) and a/b / dn(u) = dn(K - u) are one set; take each where it is the larger.
    dn = scipy.special.ellipj(np.minimum(u, quarter - u), 1.0 - small)[2]
    steps = np.where(u <= 0.5 * quarter, b * dn, a / dn)
    if np.isinf(border):
        return np.asarray(steps)
    # A pole of the transformed matrix at -steps is one of A here; at infinity it is b itself.
    apart = 1.0 - steps / border
    apart[np.abs(apart) < 1e-3] = 1e-3
    return np.asarray(steps / apart)


def shifted_solves(
    A: Symmetric,
    b: FloatArray,
    shifts: FloatArray,
    accuracy: float,
    watch: Callable[[int, float], None],
) -> tuple[FloatArray, int]:
    """Solve ``(A + s) x = b`` for several shifts with the products of one of them.

    Residuals of all systems are parallel in conjugate gradients from 0, so one recurrence
    serves all ([FrommerMaass1999]_).

    Parameters
    ----------
    A : LowRankPlusDiagonal or Products
        Symmetric.
    b : (d,) float64
        Right-hand side.
    shifts : (J,) float64
        None of them inside minus the spectrum.
    accuracy : float [1]
        Residual relative to ``b``.
    watch : callable
        Called with the products made and the largest residual.

    Returns
    -------
    (J, d) float64
        Solutions.
    int
        Products made.
    """
    x = np.zeros((len(shifts), len(b)))
    positive = shifts[shifts > 0.0]
    base = float(positive.min() if len(positive) else shifts.max())
    apart = shifts - base
    residual = b.copy()
    direction, directions = b.copy(), np.tile(b, (len(shifts), 1))
    first = square = float(b @ b)
    zeta = before = np.ones(len(shifts))  # residual of each system over that of the base
    alpha_before, beta = 1.0, 0.0
    active = np.arange(len(shifts) if first > 0.0 else 0)
    made = 0
    while len(active) and square > 0.0 and made < 10 * len(b):
        product = A @ direction + base * direction
        made += 1
        alpha = square / float(direction @ product)
        drop = alpha * beta * (before - zeta) + before * alpha_before * (1.0 + alpha * apart)
        after = np.zeros_like(zeta)
        after[active] = (zeta * before * alpha_before)[active] / drop[active]
        residual -= alpha * product
        following = float(residual @ residual)
        beta = following / square
        for i in active:
            share = after[i] / zeta[i]
            x[i] += (alpha * share) * directions[i]
            directions[i] *= beta * share**2
            directions[i] += after[i] * residual
        direction *= beta
        direction += residual
        zeta, before, alpha_before, square = after, zeta, alpha, following
        reached = np.abs(zeta) * math.sqrt(square / first) / accuracy
        if made % 32 == 0:
            watch(made, float(reached[active].max()))
        active = active[reached[active] > 1.0]
    return x, made

"""Systems of fractional equations with exact solutions, and those of published test suites.

Brusselator, Lotka-Volterra and Chua are the examples of FdeSolver.jl and FractionalDiffEq.jl; they
have no closed solution and are solved by two routes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma
from typing import TYPE_CHECKING

import numpy as np

from fracsde.problems.fractional_ode import FractionalODE
from fracsde.special import mittag_leffler, mittag_leffler_matrix

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, kw_only=True)
class Solved:
    """A problem, its exact solution ``(t,) -> (t, n)`` and a last time."""

    problem: FractionalODE
    exact: Callable[[np.ndarray], np.ndarray]
    end: float


def relaxation(alpha: float, rate: float = 1.0, end: float = 10.0) -> Solved:
    """``D y = -rate y``; a negative rate grows."""
    return Solved(
        problem=FractionalODE(rhs=lambda t, y: -rate * y, initial=1.0, alpha=alpha),
        exact=lambda t: mittag_leffler(-rate * t**alpha, alpha)[:, None],
        end=end,
    )


def garrappa(alpha: float) -> Solved:
    """The nonlinear test of Garrappa's survey, whose rate is not smooth in y at 0."""

    def rhs(t, y):
        forcing = (
            40320 / gamma(9 - alpha) * t ** (8 - alpha)
            - 3 * gamma(5 + alpha / 2) / gamma(5 - alpha / 2) * t ** (4 - alpha / 2)
            + 9 / 4 * gamma(alpha + 1)
            + (3 / 2 * t ** (alpha / 2) - t**4) ** 3
        )
        return forcing - np.abs(y) ** 1.5

    return Solved(
        problem=FractionalODE(rhs=rhs, initial=0.0, alpha=alpha),
        exact=lambda t: (t**8 - 3 * t ** (4 + alpha / 2) + 9 / 4 * t**alpha)[:, None],
        end=1.0,
    )


STIFF = np.array([[-1.0, 1.0, 0.0], [0.0, -100.0, 300.0], [0.0, 0.0, -1e4]])


def stiff_linear(alpha: float, *, as_rhs: bool = False) -> Solved:
    """Rates from 1 to 1e4, far from normal."""
    start = np.array([1.0, -1.0, 2.0])
    given = {"rhs": lambda t, y: STIFF @ y} if as_rhs else {"linear": STIFF}
    return Solved(
        problem=FractionalODE(initial=start, alpha=alpha, **given),
        exact=lambda t: np.stack(
            [mittag_leffler_matrix(STIFF * s**alpha, alpha) @ start for s in t]
        ),
        end=2.0,
    )


def three_orders() -> Solved:
    """Powers of three orders, coupled in both directions by terms that vanish on the solution."""
    a, b, c = 0.5, 0.8, 1.0

    def rhs(t, y):
        u, v = y[0] - 1.0, y[1] - 2.0  # t**a and t**(a + b) on the solution
        return np.array(
            [
                gamma(1 + a) + (v - np.abs(u) ** (1 + b / a)),
                gamma(1 + a + b) / gamma(1 + a) * u + 0.5 * (y[2] - t**2),
                2.0 * t - 3.0 * (y[2] - t**2) + (v - np.abs(u) ** (1 + b / a)),
            ]
        )

    return Solved(
        problem=FractionalODE(rhs=rhs, initial=[1.0, 2.0, 0.0], alpha=[a, b, c]),
        exact=lambda t: np.stack([1 + t**a, 2 + t ** (a + b), t**2], axis=1),
        end=2.0,
    )


def brusselator() -> FractionalODE:
    """Two orders; settles on a cycle."""
    return FractionalODE(
        rhs=lambda t, y: np.array(
            [1.0 - 4.0 * y[0] + y[0] ** 2 * y[1], 3.0 * y[0] - y[0] ** 2 * y[1]]
        ),
        jacobian=lambda t, y: np.array(
            [[-4.0 + 2 * y[0] * y[1], y[0] ** 2], [3.0 - 2 * y[0] * y[1], -(y[0] ** 2)]]
        ),
        initial=[1.2, 2.8],
        alpha=[0.8, 0.7],
    )


def lotka_volterra() -> FractionalODE:
    """Hares and lynxes, nearly ordinary."""
    return FractionalODE(
        rhs=lambda t, y: np.array(
            [0.55 * y[0] - 0.028 * y[0] * y[1], -0.80 * y[1] + 0.024 * y[0] * y[1]]
        ),
        initial=[34.0, 6.0],
        alpha=[0.98, 0.99],
    )


def chua() -> FractionalODE:
    """Three orders."""

    def rhs(t, x):
        a, b, c, m0, m1 = 10.725, 10.593, 0.268, -1.1726, -0.7872
        bend = m1 * x[0] + 0.5 * (m0 - m1) * (abs(x[0] + 1) - abs(x[0] - 1))
        return np.array([a * (x[1] - x[0] - bend), x[0] - x[1] + x[2], -b * x[1] - c * x[2]])

    return FractionalODE(rhs=rhs, initial=[0.2, -0.1, 0.1], alpha=[0.93, 0.99, 0.92])

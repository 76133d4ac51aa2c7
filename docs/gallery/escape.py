r"""Escape over a barrier: Kramers' rate, its correction, and what a fractional clock makes of it.

.. math::
    V = b\, (x^2 - 1)^2, \qquad
    \lambda_1 = \frac{\sqrt{V''(1)\, |V''(0)|}}{\pi}\, e^{-b/D}
                \Bigl(1 - \frac{3}{8} \frac{D}{b} + O(D^2)\Bigr)

The rate with which two wells come to equilibrium is twice that of one escape.  It is computed from
the equation, over twenty powers of ten, and compared with the formula of Eyring and Kramers.
:func:`correction` returns the one number: the coefficient of ``D / b``, which Laplace's method says
is 3/8.

Run ``python docs/gallery/escape.py [picture.png]``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from fracsde import FiniteVolume, FokkerPlanck, FractionalFokkerPlanck, PointMass, solve
from fracsde.physics import (
    eigenmodes,
    mean_first_passage_time,
    survival_probability,
    survival_tail,
)
from fracsde.potentials import double_well

if TYPE_CHECKING:
    from pathlib import Path

BARRIERS = np.array([1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0])  # b / D
ORDERS = (1.0, 0.9, 0.7, 0.5)
HEIGHT = 5.0  # of the barrier in the lower panel
COLOURS = ("#222222", "#0072b2", "#d55e00", "#009e73")


def rate(barrier: float, cells: int) -> float:
    """Return the slowest rate of two wells with ``D = 1``."""
    wells = FokkerPlanck(
        potential=double_well(barrier=barrier),
        diffusion=1.0,
        domain=(-3.0, 3.0),
        initial=PointMass(at=-1.0),
    )
    return float(eigenmodes(wells, 2, space=FiniteVolume(cells=cells)).rates[1])


def extrapolated(barrier: float, cells: int) -> float:
    """Return the rate of infinitely many cells, from two grids."""
    coarse, fine = rate(barrier, cells), rate(barrier, 2 * cells)
    return fine + (fine - coarse) / 3.0


def eyring_kramers(barrier: float) -> float:
    """Return the formula: curvatures 8 b in the wells, 4 b on the barrier."""
    return float(np.sqrt(8 * barrier * 4 * barrier) / np.pi * np.exp(-barrier))


def correction(cells: int = 1024) -> float:
    """Return the coefficient of ``D / b``, from the three highest barriers."""
    inverse = 1 / BARRIERS[-3:]
    scaled = [b * (1 - extrapolated(b, cells) / eyring_kramers(b)) for b in BARRIERS[-3:]]
    # What is left is of higher orders in D / b: a parabola, at zero.
    return float(np.polyfit(inverse, scaled, 2)[-1])


def escapes(
    alpha: float, count: int, cells: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return times, survival in the left well, and its power law; times in mean escape times."""
    well = FokkerPlanck(
        potential=double_well(barrier=HEIGHT),
        diffusion=1.0,
        domain=(-2.5, 1.0),
        boundary=("reflecting", "absorbing"),
        initial=PointMass(at=-1.0),
    )
    space = FiniteVolume(cells=cells)
    mean = mean_first_passage_time(well, space=space).average()
    clock = FractionalFokkerPlanck(base=well, alpha=alpha, timescale=mean)
    last = 3.5 if alpha < 1.0 else np.log10(12.0)
    times = np.logspace(-2.5, last, count)
    survival = survival_probability(solve(clock, times * mean, space=space))
    law = None
    if alpha < 1.0:
        law = survival_tail(clock, space=space).at(times * mean)
    return times, survival, law


def draw(path: str | Path, count: int = 60, cells: int = 512) -> float:
    """Draw the panels into a file, and return the coefficient."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 9.6), layout="constrained", dpi=160)
    FigureCanvasAgg(figure)
    rates, ratio, survival = figure.subplots(3, 1, height_ratios=(1.0, 0.8, 1.25))
    _draw_rates(rates, ratio, 2 * cells)
    _draw_survival(survival, count, cells)
    for axes in (rates, ratio, survival):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    return correction(2 * cells)


def _draw_rates(rates, ratio, cells: int) -> None:
    exact = np.array([extrapolated(b, cells) for b in BARRIERS])
    formula = np.array([eyring_kramers(b) for b in BARRIERS])
    smooth = np.linspace(0.7, 50.0, 200)
    rates.semilogy(
        smooth, [eyring_kramers(b) for b in smooth], color="0.6", lw=1.5, label="Eyring and Kramers"
    )
    rates.semilogy(BARRIERS, exact, "o", color=COLOURS[1], ms=5, label="slowest mode")
    rates.set(xlabel=r"barrier $b / D$", ylabel=r"rate $\lambda_1$")
    rates.set_title("Two wells come to equilibrium", loc="left", fontsize=10)
    rates.legend(frameon=False)
    small = np.linspace(0.0, 0.55, 50)
    ratio.plot(
        small, 1 - 0.375 * small, color="0.6", lw=1.5, label=r"$1 - \frac{3}{8} D / b$ (Laplace)"
    )
    ratio.plot(1 / BARRIERS, exact / formula, "o", color=COLOURS[1], ms=5)
    ratio.set(xlabel=r"$D / b$", ylabel="rate / formula", xlim=(0.0, 0.55), ylim=(0.78, 1.01))
    ratio.set_title("What the formula leaves out", loc="left", fontsize=10)
    ratio.legend(frameon=False)


def _draw_survival(axes, count: int, cells: int) -> None:
    for alpha, colour in zip(ORDERS, COLOURS, strict=True):
        times, here, law = escapes(alpha, count, cells)
        axes.loglog(times, here, color=colour, lw=1.8, label=rf"$\alpha = {alpha:g}$")
        if law is not None:
            late = times > 0.7
            axes.loglog(times[late], law[late], color=colour, lw=1.0, ls=(0, (4, 3)))
    axes.plot([], [], color="0.4", lw=1.0, ls=(0, (4, 3)), label=r"$T\,t^{-\alpha}$ law")
    axes.set(
        xlabel="time / mean escape time of the ordinary clock",
        ylabel="still in the left well",
        ylim=(8e-5, 1.3),
    )
    axes.set_title(rf"Escape from a well of depth {HEIGHT:g} $D$", loc="left", fontsize=10)
    axes.legend(frameon=False, loc="lower left")


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "escape.png"
    print(f"coefficient {draw(name):.5f}, drawn in {name}")

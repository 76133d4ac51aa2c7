r"""What an error costs: schemes, meshes and histories on the fractional Ornstein-Uhlenbeck process.

.. math::
    D_t^\alpha p = \partial_x (x\, p) + \partial_x^2 p , \qquad \alpha = 0.6

The picture shows the largest error over all times, relative to the largest density at that time,
against the processor time of the march.  The reference is exact propagation in time of the same
cells, so that errors are those of the schemes alone.  :func:`worst` returns the one number: the
error of ``L2Sigma`` with exponentials on its graded mesh of 800 steps.

Run ``python docs/gallery/work_precision.py [picture.png]``.
"""

from __future__ import annotations

import sys
from time import process_time
from typing import TYPE_CHECKING

import numpy as np

from fracsde import (
    L1,
    L12,
    BlockFFT,
    Direct,
    Exponentials,
    FiniteVolume,
    FokkerPlanck,
    FractionalFokkerPlanck,
    Gaussian,
    L2Sigma,
    Propagator,
    TimeGrid,
    solve,
)

if TYPE_CHECKING:
    from pathlib import Path

ALPHA, T, CELLS = 0.6, 10.0, 256
PROBLEM = FractionalFokkerPlanck(
    base=FokkerPlanck(
        potential=lambda x: x**2 / 2,
        diffusion=1.0,
        domain=(-6.0, 6.0),
        initial=Gaussian(mean=1.5, std=0.5),
    ),
    alpha=ALPHA,
)
SIZES = (50, 100, 200, 400, 800, 1600, 3200)
# Scheme, kind of its mesh, grading that its order wants, colour.
SCHEMES = (
    (L1, "uniform", 1.0, "#9a9a9a"),
    (L1, "graded", (2 - ALPHA) / ALPHA, "#1b6ca8"),
    (L1, "geometric", (2 - ALPHA) / ALPHA, "#7fb8de"),
    (L2Sigma, "graded", 2 / ALPHA, "#c8452d"),
    (L12, "graded", (3 - ALPHA) / ALPHA, "#3d8b4e"),
)
# History, line, mark, and the most steps it is asked for.
HISTORIES = (
    (Direct(), ":", "o", 1600),
    (BlockFFT(), "--", "s", 3200),
    (Exponentials(rtol=1e-10), "-", "^", 3200),
)


def mesh(kind: str, grading: float, steps: int) -> TimeGrid:
    """Return a mesh; a geometric one begins with the first step of the graded one."""
    if kind == "geometric":
        return TimeGrid.geometric(T * float(steps) ** -grading, T, steps)
    return TimeGrid.graded(T, steps, grading)


def march(scheme, kind: str, grading: float, steps: int) -> tuple[float, float]:
    """Return the largest relative error of a march, and its processor time in seconds."""
    grid = mesh(kind, grading, steps)
    kept = grid.times[np.unique(np.geomspace(1, steps, 30).round().astype(int))]
    asked = {"space": FiniteVolume(cells=CELLS), "save_at": kept}
    # Kernels are compiled and the sum of exponentials is built once for all; neither is counted.
    solve(PROBLEM, mesh(kind, grading, 70), scheme=scheme, space=asked["space"])
    scheme.history.begin(scheme, grid.times, np.ones(1), alpha=ALPHA)
    clock = process_time()
    found = solve(PROBLEM, grid, scheme=scheme, **asked)
    spent = process_time() - clock
    exact = solve(PROBLEM, grid, scheme=Propagator(rtol=1e-12), **asked)
    gap = np.abs(found.density - exact.density).max(axis=1)
    return float((gap / exact.density.max(axis=1)).max()), spent


def worst(steps: int = 800) -> float:
    """Return the error of L2-1 sigma with exponentials on its graded mesh."""
    return march(L2Sigma(history=HISTORIES[2][0]), "graded", 2 / ALPHA, steps)[0]


def lines(sizes: tuple[int, ...] = SIZES):
    """Yield colour and style of each curve, and its errors and times."""
    for scheme, kind, grading, colour in SCHEMES:
        for history, dash, mark, most in HISTORIES:
            if isinstance(history, BlockFFT) and kind != "uniform":
                continue
            served = [n for n in sizes if n <= most]
            points = [march(scheme(history=history), kind, grading, n) for n in served]
            yield colour, dash, mark, np.array(points).T


def draw(path: str | Path, sizes: tuple[int, ...] = SIZES) -> float:
    """Draw the curves into a file, and return the smallest error shown."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(7.0, 5.4), layout="constrained", dpi=160)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    smallest = np.inf
    for colour, dash, mark, (errors, times) in lines(sizes):
        axes.loglog(errors, 1e3 * times, dash, marker=mark, color=colour, ms=4.5, lw=1.4)
        smallest = min(smallest, float(errors.min()))
    axes.invert_xaxis()
    axes.set(xlabel="largest relative error over all times", ylabel="processor time [ms]")
    axes.grid(which="major", color="#dddddd", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    keys = [
        Line2D([], [], color=colour, lw=3, label=_name(scheme, kind, grading))
        for scheme, kind, grading, colour in SCHEMES
    ]
    first = axes.legend(handles=keys, loc="lower right", frameon=False, title="scheme and mesh")
    axes.add_artist(first)
    keys = [
        Line2D([], [], color="#444444", ls=dash, marker=mark, ms=4.5, label=type(history).__name__)
        for history, dash, mark, _ in HISTORIES
    ]
    place = {"loc": "upper left", "bbox_to_anchor": (0.18, 1.0)}
    axes.legend(handles=keys, frameon=False, title="history", **place)
    figure.savefig(path)
    return smallest


def _name(scheme, kind: str, grading: float) -> str:
    return f"{scheme.__name__}, {kind}" + (f", r = {grading:.2f}" if kind == "graded" else "")


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "work_precision.png"
    print(f"smallest error {draw(name):.2e}, drawn in {name}")

r"""A density that leaves one valley for another, on an ordinary and on a fractional clock.

.. math::
    \partial_t p = L p, \qquad D_t^\alpha p = L p, \qquad
    L p = \nabla\cdot(p\, \nabla V) + D\, \Delta p ,

in the potential of Mueller and Brown: three valleys, no symmetry, no separation of variables.  The
maps show the density on the fractional clock; the curves how much of it has reached the deepest
valley, on both.

The two clocks are one process at two paces, so that every fractional density is a mean of
ordinary ones, :math:`p_\alpha(t) = \int_0^\infty M_\alpha(u)\, p_1(t^\alpha u)\, du`.
:func:`worst` returns the one number: how far the solution is from that mean, which is taken with
another solver's results and the Wright function, over the largest density.

Run ``python docs/gallery/mueller_brown.py [picture.png]``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from fracsde import FiniteVolume, FokkerPlanck, FractionalFokkerPlanck, Gaussian, Propagator, solve
from fracsde.special import wright_m

if TYPE_CHECKING:
    from pathlib import Path

ALPHA, DIFFUSION = 0.6, 18.0
DOMAIN = ((-1.6, 1.2), (-0.5, 2.1))
START = (0.62, 0.03)
SHOWN = (1e-5, 3e-3, 0.1, 10.0)
AMPLITUDES = (-200.0, -100.0, -170.0, 15.0)
FORMS = ((-1.0, 0.0, -10.0), (-1.0, 0.0, -10.0), (-6.5, 11.0, -6.5), (0.7, 0.6, 0.7))
CENTRES = ((1.0, 0.0), (0.0, 0.5), (-0.5, 1.5), (-1.0, 1.0))


def potential(x, y):
    """Four Gaussian hills and hollows."""
    total = 0.0
    for A, (a, b, c), (u, v) in zip(AMPLITUDES, FORMS, CENTRES, strict=True):
        total = total + A * np.exp(a * (x - u) ** 2 + b * (x - u) * (y - v) + c * (y - v) ** 2)
    return total


def problem(alpha: float) -> FractionalFokkerPlanck:
    """Return the problem on a clock of the given order."""
    base = FokkerPlanck(
        potential=potential,
        diffusion=DIFFUSION,
        domain=DOMAIN,
        initial=Gaussian(mean=START, std=0.08),
    )
    return FractionalFokkerPlanck(base=base, alpha=alpha)


def solution(alpha: float, times, cells: int):
    """Solve to nine digits."""
    return solve(
        problem(alpha), times, space=FiniteVolume(cells=cells), scheme=Propagator(rtol=1e-9)
    )


def worst(cells: int = 64, t: float = 0.003, nodes: int = 60) -> float:
    """Return the distance of a fractional density from the mean of ordinary ones."""
    fractional = solution(ALPHA, [t], cells).density[0]
    # Wright's function has fallen to 1e-16 at 12; nodes are dense where the start still shows.
    s, weights = np.polynomial.legendre.leggauss(nodes)
    s, weights = 0.5 * (s + 1.0), 0.5 * weights
    u, weights = 12.0 * s**4, 48.0 * s**3 * weights
    ordinary = solution(1.0, t**ALPHA * u, cells).density
    mean = np.tensordot(weights * wright_m(u, ALPHA), ordinary, axes=1)
    return float(np.abs(fractional - mean).max() / fractional.max())


def in_deepest_valley(found) -> np.ndarray:
    """Return the mass beyond the ridge that parts the deepest valley from the others."""
    x, y = found.points[0][:, None], found.points[1][None]
    beyond = y > 0.62 + 0.55 * (x + 0.82)
    return (found.density * found.widths * beyond).sum(axis=(1, 2))


def draw(path: str | Path, cells: int = 160) -> float:
    """Draw maps and curves into a file, and return the number."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 9.4), layout="compressed", dpi=150)
    FigureCanvasAgg(figure)
    rows = figure.subplot_mosaic([[0, 1], [2, 3], ["c", "c"]], height_ratios=(1, 1, 0.62))
    found = solution(ALPHA, SHOWN, cells)
    x, y = found.points
    V = potential(x[:, None], y[None])
    for k, t in enumerate(SHOWN):
        axes, p = rows[k], found.density[k]
        axes.pcolormesh(x, y, p.T, cmap="Blues", vmin=0.0, vmax=p.max(), rasterized=True)
        axes.contour(x, y, V.T, levels=np.arange(-140.0, 60.0, 20.0), colors="0.6", linewidths=0.5,
                     linestyles="solid")  # fmt: skip
        axes.contour(x, y, p.T, levels=p.max() * np.array([0.01, 0.1, 0.5]), colors="#08306b",
                     linewidths=(0.6, 0.9, 1.2))  # fmt: skip
        axes.plot(*START, marker="+", color="#d94801", ms=9, mew=1.6)
        axes.set(aspect="equal", xlabel="x" if k > 1 else "", ylabel="y" if k % 2 == 0 else "")
        axes.set_title(f"t = {t:g}", loc="left", fontsize=10)
    times = np.geomspace(1e-5, 30.0, 60)
    for alpha, style in ((ALPHA, "-"), (1.0, "--")):
        line = solution(alpha, times, max(cells // 2, 64))
        label = f"fractional clock, order {alpha:g}" if alpha < 1.0 else "ordinary clock"
        rows["c"].semilogx(times, in_deepest_valley(line), style, color="#08306b", label=label)
    rows["c"].plot(SHOWN, in_deepest_valley(found), "o", color="#d94801", ms=5, label="maps above")
    rest = found.generator.stationary().reshape(1, *V.shape) * found.widths
    level = float((rest * (y[None] > 0.62 + 0.55 * (x[:, None] + 0.82))).sum())
    rows["c"].axhline(level, color="0.5", lw=0.8, ls=":", label="equilibrium")
    rows["c"].set(xlabel="t", ylabel="share in the deepest valley", ylim=(-0.02, 1.02))
    rows["c"].legend(loc="lower right", fontsize=9)
    figure.savefig(path)
    return worst(cells=min(cells, 64))


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "mueller_brown.png"
    print(f"distance from the mean of ordinary densities {draw(name):.1e}, drawn in {name}")

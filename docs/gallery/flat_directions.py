r"""Directions of a saddle: confined, flat and negative, seen over a hundred thousand steps of SGD.

.. math::
    V(k) = \eta^2 q\, \frac{(1 - \eta h)^{2k} - 1}{(1 - \eta h)^2 - 1}

Exact variances of seven curvatures, of both signs, with and without momentum, and those of runs of
SGD.  :func:`worst` returns the one number: the largest difference of the two, in standard errors.

Run ``python docs/gallery/flat_directions.py [picture.png]``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from fracsde import SGDNearCriticalPoint, variance_growth

if TYPE_CHECKING:
    from pathlib import Path

ETA, BATCH = 0.1, 8
CURVATURES = np.array([-1e-2, -1e-3, 0.0, 1e-3, 1e-2, 1e-1, 1.0])
COLOURS = ("#b2182b", "#ef8a62", "#222222", "#a6d2f0", "#56b4e9", "#0072b2", "#003f66")
MOMENTA = (0.0, 0.98)


def saddle(momentum: float) -> SGDNearCriticalPoint:
    """Return SGD with one direction for each curvature and noise of one in each."""
    return SGDNearCriticalPoint(
        hessian=np.diag(CURVATURES),
        gradient_noise=np.eye(len(CURVATURES)),
        learning_rate=ETA,
        batch_size=BATCH,
        momentum=momentum,
    )


def walked(momentum: float, steps: np.ndarray, runs: int, seed: int = 5) -> np.ndarray:
    """Return mean squares of runs of SGD from the saddle after given steps, ``(k, d)``."""
    rng = np.random.default_rng(seed)
    w, v = np.zeros((2, runs, len(CURVATURES)))
    found, wanted = [], set(steps.tolist())
    for k in range(1, int(steps.max()) + 1):
        noise = rng.standard_normal(w.shape) / np.sqrt(BATCH)
        v = momentum * v - ETA * (CURVATURES * w + noise)
        w = w + v
        if k in wanted:
            found.append((w * w).mean(axis=0))
    return np.array(found)


def worst(runs: int = 400, last: int = 2000) -> float:
    """Return the largest difference of runs and law, in standard errors of the law."""
    steps = np.unique(np.geomspace(1, last, 12).astype(int))
    gaps = []
    for momentum in MOMENTA:
        law = variance_growth(saddle(momentum), steps).variance
        gaps.append(np.abs(walked(momentum, steps, runs) / law - 1) / np.sqrt(2 / runs))
    return float(np.max(gaps))


def draw(path: str | Path, runs: int = 400, last: int = 2000) -> float:
    """Draw the panels into a file, and return the number."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 8.2), layout="constrained", dpi=160)
    FigureCanvasAgg(figure)
    for axes, momentum in zip(figure.subplots(2, 1, sharex=True), MOMENTA, strict=True):
        _panel(axes, momentum, runs, last)
    axes.set_xlabel("steps $k$")
    figure.savefig(path)
    return worst(runs, last)


def _panel(axes, momentum: float, runs: int, last: int) -> None:
    steps = np.unique(np.geomspace(1, 1e5, 160).astype(int))
    law = variance_growth(saddle(momentum), steps, throw=False).variance
    seen = np.unique(np.geomspace(1, last, 14).astype(int))
    points = walked(momentum, seen, runs)
    for i, (h, colour) in enumerate(zip(CURVATURES, COLOURS, strict=True)):
        V = law[:, i]
        shown = V < 1e9  # past the frame, and matplotlib's logarithms overflow
        axes.loglog(steps[shown], V[shown], color=colour, lw=1.6, zorder=2)
        axes.loglog(seen, points[:, i], "o", color=colour, ms=3.2, zorder=3)
        _label(axes, steps, V, h, colour)
    slope = ETA**2 / BATCH / (1 - momentum) ** 2
    axes.loglog(steps, slope * steps, color="0.6", lw=1.0, ls=(0, (4, 3)), zorder=1)
    if momentum:
        early = steps[(steps > 2) & (steps < 2 / (1 - momentum))]
        axes.loglog(early, 1.6 * ETA**2 / BATCH * early**3.0 / 3, color="0.6", lw=1.0, ls=":")
        axes.text(8, 0.75, r"$k^3$", color="0.4", fontsize=9, ha="right")
    axes.set(xlim=(1, 1.0e6), ylim=(8e-4, 1e7 if momentum else 1e5), ylabel="variance")
    axes.set_xticks([1, 10, 100, 1e3, 1e4, 1e5])
    title = "Without momentum" if momentum == 0.0 else rf"With momentum $\mu = {momentum:g}$"
    axes.set_title(f"{title}; from one point, at rest", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def _label(axes, steps, V, h: float, colour: str) -> None:
    where = {"color": colour, "fontsize": 8, "va": "center"}
    if h >= 0.0:
        axes.text(1.2e5, V[-1], rf"$h = {h:g}$", **where)
        return
    height = 4e4
    k = steps[np.argmax(height < np.where(np.isfinite(V), V, np.inf))]
    left = h == CURVATURES[0]
    axes.text(
        k / 1.3 if left else 1.25 * k,
        height,
        rf"$h = {h:g}$",
        ha="right" if left else "left",
        **where,
    )


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "flat_directions.png"
    print(f"at most {draw(name):.2f} standard errors apart, drawn in {name}")

r"""Where the Gaussian closure holds: variances of a run over those of closure, map and flow.

.. math::
    \bar H\Sigma + \Sigma\bar H = \eta\,(G + \bar Q), \qquad
    \bar H = \mathrm{E}\,\nabla^2 L,\quad \bar Q = \mathrm{E}\,C / B

One panel each for rate, batch, weight decay and width of a perceptron on handwritten digits, with
median and range over its six leading modes.  The runs are stored, made by
``benchmarks/map_closure.py``; :func:`gain`, closure over map, is computed here, for a loss whose
law of the steps is known on a grid.

Run ``python docs/gallery/closure_validity.py [picture.png]``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from fracsde import StochasticLoss, examine_minimum, gaussian_closure

RATE, BATCH = 0.4, 16
COLOURS = {"closure": "#0072b2", "map": "#d55e00", "flow": "#8a8a8a"}
MARKS = {"closure": "o", "map": "s", "flow": "^"}
SHIFT = {"closure": 1.0, "map": 1.05, "flow": 1.1}
MIDDLE = {"rate": 0.5, "batch_size": 32, "weight_decay": 0.01, "width": 8}
LABELS = {
    "rate": r"rate $\eta h_{\max}$",
    "batch_size": "batch size $B$",
    "weight_decay": r"weight decay $\lambda$",
    "width": "hidden units",
}


def well() -> StochasticLoss:
    """Return a well with a fourth derivative, V = w^2 / 2 + w^4 / 12, and constant noise."""
    return StochasticLoss(
        gradient=lambda w: w + w**3 / 3,
        hessian_products=lambda w, V: (1 + w**2)[:, :, None] * V,
        projected_noise=lambda w, V: np.ones((len(w), 1, 1)),
        batched=True,
    )


def exact() -> float:
    """Return the variance of the stationary law of the steps, from their kernel on a grid."""
    w = np.linspace(-1.6, 1.6, 801)
    mean, sd = w - RATE * (w + w**3 / 3), RATE / BATCH**0.5
    kernel = np.exp(-0.5 * ((w[:, None] - mean) / sd) ** 2)
    kernel /= kernel.sum(axis=0)
    p = np.full(len(w), 1.0 / len(w))
    for _ in range(80):
        p = kernel @ p
    return float(p @ w**2)


def ratios() -> dict[str, float]:
    """Return the exact variance over that of each theory."""
    found = gaussian_closure(
        examine_minimum(well(), [0.0]), learning_rate=RATE, batch_size=BATCH, draws=2**13, rtol=1e-8
    )
    variance = exact()
    return {
        "closure": variance / float(found.variances[0]),
        "map": variance / float(found.map_covariance[0, 0]),
    }


def stored() -> list[dict]:
    """Return the points of the map."""
    path = Path(__file__).with_name("closure_validity.json")
    return json.loads(path.read_text(encoding="utf-8"))


def draw(path: str | Path) -> float:
    """Draw the panels into a file, and return how much of the map's error the closure leaves."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 6.0), layout="constrained", dpi=160)
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, 2, sharey=True)
    for axes, name in zip(grid.flat, LABELS, strict=True):
        _panel(axes, name)
    for axes in grid[:, 0]:
        axes.set_ylabel("measured / predicted variance")
    grid[0, 0].legend(loc="upper left", fontsize=8, frameon=False)
    figure.savefig(path)
    one = ratios()
    return (one["closure"] - 1) / (one["map"] - 1)


def _panel(axes, name: str) -> None:
    others = {key: value for key, value in MIDDLE.items() if key != name}
    points = [
        point
        for point in stored()
        if all(point["settings"][key] == value for key, value in others.items())
    ]
    points.sort(key=lambda point: point["settings"][name])
    values = [point["settings"][name] for point in points]
    axes.axhspan(0.95, 1.05, color="0.92", zorder=0)
    axes.axhline(1.0, color="0.5", lw=0.8, zorder=1)
    for theory in ("flow", "map", "closure"):
        known = [(x, point[theory]) for x, point in zip(values, points, strict=True)]
        x = np.array([x for x, ratio in known if ratio]) * SHIFT[theory]
        y = np.array([ratio for _, ratio in known if ratio])
        middle = np.median(y, axis=1)
        bars = [middle - y.min(axis=1), y.max(axis=1) - middle]
        axes.errorbar(
            x,
            middle,
            bars,
            fmt=MARKS[theory] + "-",
            ms=4,
            lw=1.0,
            color=COLOURS[theory],
            label=f"by the {theory}",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()
    axes.set_yticks([0.95, 1.0, 1.1, 1.25, 1.5, 2.0], ["0.95", "1", "1.1", "1.25", "1.5", "2"])
    axes.set_xlabel(LABELS[name])
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "closure_validity.png"
    print(f"the closure leaves {draw(name):.4f} of the map's error, drawn in {name}")

r"""Where the closure holds: variances of a run over those of both closures, map and flow.

.. math::
    \bar H\Sigma + \Sigma\bar H = \eta\,(G + \bar Q), \qquad
    \bar H = \mathrm{E}\,\nabla^2 L,\quad \bar Q = \mathrm{E}\,C / B

One panel each for effective rate, batch, weight decay, width and momentum of a perceptron on
handwritten digits, and the rate once more with momentum, with median and range over its six leading
modes, hollow where the closure says that it is not to be trusted.  The runs are stored, made by
``benchmarks/map_closure.py``; :func:`ratios` is computed here, for a loss whose law of the steps is
known on a grid.

Run ``python docs/gallery/closure_validity.py [picture.png]``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from fracsde import StochasticLoss, examine_minimum, gaussian_closure

RATE, BATCH = 0.4, 16
COLOURS = {"third": "#009e73", "closure": "#0072b2", "map": "#d55e00", "flow": "#8a8a8a"}
MARKS = {"third": "D", "closure": "o", "map": "s", "flow": "^"}
SHIFT = {"third": 0.96, "closure": 1.0, "map": 1.04, "flow": 1.08}
NAMES = {
    "third": "closure, third cumulants",
    "closure": "closure, Gaussian",
    "map": "map",
    "flow": "flow",
}
MIDDLE = {"rate": 0.5, "batch_size": 32, "weight_decay": 0.01, "width": 8, "momentum": 0.0}
PANELS = (
    ("rate", {}, r"rate $\eta h_{\max}$"),
    ("batch_size", {}, "batch size $B$"),
    ("momentum", {}, r"momentum $\mu$, at $\eta h_{\max} = 0.5\,(1 - \mu)$"),
    ("weight_decay", {}, r"weight decay $\lambda$"),
    ("width", {}, "hidden units"),
    ("rate", {"momentum": 0.9}, r"$\eta h_{\max} / (1 - \mu)$ with momentum $\mu = 0.9$"),
)


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

    figure = Figure(figsize=(7.2, 8.4), layout="constrained", dpi=160)
    FigureCanvasAgg(figure)
    grid = figure.subplots(3, 2, sharey=True)
    for axes, (name, fixed, label) in zip(grid.flat, PANELS, strict=True):
        _panel(axes, name, {**MIDDLE, **fixed})
        axes.set_xlabel(label)
    for axes in grid[:, 0]:
        axes.set_ylabel("measured / predicted variance")
    grid[0, 0].legend(loc="upper left", fontsize=8, frameon=False)
    figure.savefig(path)
    one = ratios()
    return (one["closure"] - 1) / (one["map"] - 1)


def doubted(point: dict, theory: str) -> bool:
    """Return whether a closure says of itself that it is not to be trusted at a point."""
    return point.get("said", {}).get(theory, {}).get("status") == "INACCURATE"


def _panel(axes, name: str, middle: dict) -> None:
    points = [
        point for point in stored() if {**point["settings"], name: None} == {**middle, name: None}
    ]
    points.sort(key=lambda point: point["settings"][name])
    values = [point["settings"][name] for point in points]
    # A momentum is placed by the steps that it remembers.
    places = [1.0 / (1.0 - value) for value in values] if name == "momentum" else values
    axes.axhspan(0.95, 1.05, color="0.92", zorder=0)
    axes.axhline(1.0, color="0.5", lw=0.8, zorder=1)
    for theory in ("flow", "map", "closure", "third"):
        # A closure that was not found leaves a gap.
        ratios = np.array([point[theory] or [np.nan] * 6 for point in points])
        centre = np.median(ratios, axis=1)
        axes.errorbar(
            np.array(places) * SHIFT[theory],
            centre,
            [centre - ratios.min(axis=1), ratios.max(axis=1) - centre],
            fmt=MARKS[theory] + "-",
            ms=4,
            lw=1.0,
            color=COLOURS[theory],
            label=NAMES[theory],
        )
        hollow = np.array([doubted(point, theory) for point in points])
        axes.plot(
            np.array(places)[hollow] * SHIFT[theory],
            centre[hollow],
            MARKS[theory],
            ms=4,
            color=COLOURS[theory],
            mfc="white",
            zorder=3,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(places, [f"{value:g}" for value in values])
    axes.minorticks_off()
    axes.set_yticks([0.95, 1.0, 1.1, 1.25, 1.5, 2.0], ["0.95", "1", "1.1", "1.25", "1.5", "2"])
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "closure_validity.png"
    print(f"the closure leaves {draw(name):.4f} of the map's error, drawn in {name}")

r"""Three motions with one exponent: relaxing modes, trapping, and memory in the increments.

.. math::
    \mathrm{MSD}(t) \sim t^{0.6} \quad\text{from}\quad
    \sum_j 2\Sigma_j (1 - \phi_j^t), \qquad \mathrm E\,n(t), \qquad t^{2H} .

Displacements over chains and along chains, fitted on one window.  :func:`worst` returns the one
number: the largest difference of a displacement from its exact law, in standard errors.

Run ``python docs/gallery/displacement_laws.py [picture.png]``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, signal, special

from fracsde.estimators import (
    displacement_exponent,
    ergodicity_breaking,
    growth_laws,
    mean_square_displacement,
)

if TYPE_CHECKING:
    from pathlib import Path

POWER, CHAINS, DRAWS = 0.6, 300, 1000
WINDOW = (5.0, 60.0)
RATES = np.geomspace(1 / 250, 0.9, 24)
CHAIN, AVERAGE, LAW = "#b9cfe0", "#0072b2", "#d55e00"


def modes(rng: np.random.Generator) -> np.ndarray:
    """Return stationary modes whose variances grow like ``rate**-0.6``, each a coordinate."""
    noise = rng.standard_normal((CHAINS, DRAWS, len(RATES)))
    for j, phi in enumerate(1 - RATES):
        noise[:, 1:, j] *= np.sqrt(1 - phi**2)
        noise[:, :, j] = signal.lfilter([1.0], [1.0, -phi], noise[:, :, j], axis=1)
    return noise * RATES ** (-POWER / 2)


def traps(rng: np.random.Generator) -> np.ndarray:
    """Return a walk that waits: Sibuya's law, whose tail is ``t**-0.6``."""
    longer = np.cumprod(1 - POWER / np.arange(1.0, DRAWS + 1))
    waits = 1 + np.searchsorted(-longer, -rng.random((CHAINS, DRAWS)), side="left")
    jumps = np.cumsum(waits, axis=1)
    steps = np.zeros((CHAINS, DRAWS))
    for chain, times in zip(steps, jumps, strict=True):
        seen = times[times < DRAWS]
        chain[seen] = rng.choice((-1.0, 1.0), len(seen))
    return np.cumsum(steps, axis=1)[..., None]


def memory(rng: np.random.Generator) -> np.ndarray:
    """Return fractional Brownian motion."""
    k = np.arange(float(DRAWS))
    rho = 0.5 * ((k + 1) ** POWER - 2 * k**POWER + np.abs(k - 1) ** POWER)
    row = np.concatenate([rho, rho[-2:0:-1]])
    white = fft.rfft(rng.standard_normal((CHAINS, len(row))), axis=1)
    root = np.sqrt(np.maximum(fft.rfft(row).real, 0.0))
    steps = fft.irfft(white * root, len(row), axis=1)[:, : DRAWS - 1]
    return np.concatenate([np.zeros((CHAINS, 1)), np.cumsum(steps, axis=1)], axis=1)[..., None]


def exact(name: str, t: np.ndarray) -> np.ndarray:
    """Return the exact displacement from the start."""
    if name == "modes":
        return 2 * (RATES**-POWER * -np.expm1(t[:, None] * np.log1p(-RATES))).sum(axis=1)
    if name == "traps":
        return special.poch(t + 1, POWER) / special.gamma(1 + POWER) - 1
    return t**POWER


MOTIONS = {
    "modes": (modes, "Relaxing modes"),
    "traps": (traps, "Waits of infinite mean"),
    "memory": (memory, "Fractional Brownian motion"),
}


def worst(seed: int = 3) -> float:
    """Return the largest difference from the exact laws, in standard errors."""
    rng = np.random.default_rng(seed)
    lags = np.unique(np.geomspace(1, DRAWS - 1, 20).astype(int))
    gaps = []
    for name, (walk, _) in MOTIONS.items():
        moved = mean_square_displacement(walk(rng), lags.tolist())
        gaps.append(np.abs(moved.value - exact(name, moved.times)) / moved.stderr)
    return float(np.max(gaps))


def draw(path: str | Path, seed: int = 3) -> float:
    """Draw the panels into a file, and return the number."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 9.6), layout="constrained", dpi=160)
    FigureCanvasAgg(figure)
    rng = np.random.default_rng(seed)
    for axes, name in zip(figure.subplots(3, 1, sharex=True), MOTIONS, strict=True):
        walk, title = MOTIONS[name]
        _panel(axes, name, walk(rng))
        axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("time elapsed, or lag")
    figure.savefig(path)
    return worst(seed)


def _panel(axes, name: str, run: np.ndarray) -> None:
    lags = np.unique(np.geomspace(1, DRAWS - 1, 60).astype(int)).tolist()
    start = mean_square_displacement(run, lags)
    along = mean_square_displacement(
        run, [k for k in lags if k < 0.9 * DRAWS], kind="time_averaged"
    )
    axes.axvspan(*WINDOW, color="0.93", zorder=0)
    middle = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "top"}
    axes.text(np.sqrt(WINDOW[0] * WINDOW[1]), 0.97, "window", color="0.4", fontsize=8, **middle)
    for i, chain in enumerate(along.per_chain[:14]):
        moves = chain > 0
        label = None if i else "along one chain"
        axes.loglog(along.times[moves], chain[moves], color=CHAIN, lw=0.8, zorder=1, label=label)
    mean = {"color": AVERAGE, "lw": 2.2, "ls": "--", "label": "along chains, mean"}
    axes.loglog(along.times, along.value, zorder=3, **mean)
    axes.loglog(start.times, start.value, "o", color=LAW, ms=3.4, zorder=4, label="from the start")
    law = {"color": LAW, "lw": 1.2, "label": "its exact law"}
    axes.loglog(start.times, exact(name, start.times), zorder=3, **law)
    words = []
    for kind, who in (("ensemble", "from the start"), ("time_averaged", "along chains")):
        slope = displacement_exponent(run, WINDOW, kind=kind)
        words.append(f"{who}: slope {2 * slope.value[0]:.3f} ± {2 * slope.stderr[0]:.3f}")
    scatter = ergodicity_breaking(run, [10])
    words.append(f"EB(10) = {scatter.value[0]:.2g} ± {scatter.stderr[0]:.1g}")
    whole = growth_laws(run, (2.0, DRAWS - 1.0), laws=("power", "log_power", "saturating"))
    chosen = f"{whole.preferred.replace('_', ' ') or 'no law'} preferred"
    fits = whole.laws[0].p_value > 1e-3
    words.append(f"on 2 to {DRAWS - 1}: {chosen if fits else 'no power, logarithm or saturation'}")
    box = {"fontsize": 8, "transform": axes.transAxes, "ha": "right", "va": "bottom"}
    axes.text(0.985, 0.03, "\n".join(words), linespacing=1.5, **box)
    if name == "modes":
        axes.legend(fontsize=8, frameon=False, loc="upper left")
        axes.set_ylim(10, 2000)
    axes.set(xlim=(1, DRAWS), ylabel="mean-square displacement")
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "displacement_laws.png"
    print(f"at most {draw(name):.2f} standard errors apart, drawn in {name}")

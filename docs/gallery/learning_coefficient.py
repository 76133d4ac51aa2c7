r"""The local learning coefficient: measured, exact at its temperature, and in the limit.

.. math::
    \hat\lambda(t) = t\,\mathrm E_t[L - L(w^*)] \simeq \lambda - \frac{m - 1}{\log t + c},
    \qquad t = n\beta ,

for one weight, for two that multiply, for linear networks against Aoyagi's limits, and with and
without the verdict of Metropolis.  :func:`worst` returns the one number: the largest difference of
a measured coefficient from its integral, in standard errors.

Run ``python docs/gallery/learning_coefficient.py [picture.png]``.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from fracsde.estimators import FunctionLoss, learning_coefficient
from fracsde.estimators.known_coefficients import deep_linear
from fracsde.networks import Network

if TYPE_CHECKING:
    from pathlib import Path

PULL = 1.0  # of the square that holds chains about the point
TEMPERATURES = (10.0, 100.0, 1e3, 1e4)
LENGTHS = {  # of the chains, by the number of weights: of one the virial leaves hardly any noise
    1: {"chains": 64, "draws": 400, "burn_in": 200},
    2: {"chains": 64, "draws": 3000, "burn_in": 1000},
}
LOSSES = {  # name: value, gradient, number of weights, label, colour, marker, line
    "square": (
        lambda w: w[:, 0] ** 2,
        lambda w: 2 * w,
        1,
        r"$w^2$:  λ = 1/2",
        ("#0072b2", "o", (0, (6, 2))),
    ),
    "crossing": (
        lambda w: w[:, 0] ** 2 * w[:, 1] ** 2,
        lambda w: 2 * w * w[:, ::-1] ** 2,
        2,
        r"$w_1^2 w_2^2$:  λ = 1/2, m = 2",
        ("#d55e00", "s", "-"),
    ),
    "quartic": (
        lambda w: w[:, 0] ** 4,
        lambda w: 4 * w**3,
        1,
        r"$w^4$:  λ = 1/4",
        ("#009e73", "^", (0, (1.5, 1.5))),
    ),
}
COLD = 1000.0
NETWORKS = (  # widths, rank of the truth
    ((2, 2, 2), 0),
    ((3, 3, 3), 0),
    ((4, 3, 4), 0),
    ((5, 3, 5), 0),
    ((5, 5, 5), 0),
    ((2, 2, 2), 1),
    ((3, 3, 3), 1),
    ((4, 3, 4), 2),
    ((5, 3, 5), 1),
    ((2, 2, 2, 2), 0),
    ((3, 3, 3, 3), 0),
)
HAMILTON = {"sampler": "hmc", "step": 3e-4, "chains": 16, "draws": 1200, "burn_in": 600}
KINDS = (  # label, colour, marker
    ("one hidden layer, truth zero", "#0072b2", "o"),
    ("one hidden layer, truth of rank r", "#d55e00", "s"),
    ("two hidden layers, truth zero", "#009e73", "^"),
)
WARM, STEPS, SHOWN = 300.0, 7.5e-4 * 2.0 ** np.arange(5), 3
VERDICTS = {"chains": 32, "draws": 1500, "burn_in": 500}
SAMPLERS = (  # name, what it is, colour, marker, line
    ("sgld", "every move kept (SGLD)", "#d55e00", "D", (0, (5, 1.5))),
    ("mala", "with verdicts (MALA)", "#0072b2", "o", "-"),
)

TITLE = {"loc": "left", "fontsize": 10}
OPEN = {"mfc": "white", "ms": 5, "mew": 1.4, "capsize": 3, "lw": 1.2, "zorder": 3}
TICK = {"color": "0.1", "marker": "|", "ms": 13, "mew": 1.8, "ls": "", "zorder": 4}
TRUTH = {"color": "0.1", "lw": 1.5, "ls": (0, (1, 1.2))}


def exact(name: str, t: float) -> float:
    """Return the coefficient of a loss of one or two weights at a temperature."""
    if name == "crossing":  # a network 1-1-1 has the loss w1^2 w2^2 / 2
        return exact_network((1, 1, 1), 2 * t)
    power = 2 if name == "square" else 4
    u = np.linspace(-40.0, 4.0, 4001)
    height = t * np.exp(power * u)
    mass = np.exp(u - height - 0.5 * PULL * np.exp(2 * u))
    return float((height * mass).sum() / mass.sum())


def exact_network(widths: tuple[int, int, int], t: float, points: int = 8001) -> float:
    r"""Return the coefficient of a linear network with one hidden layer whose truth is zero.

    The second layer is Gaussian given the first and integrates out.  Of the first are left the
    squares ``x`` of its singular values, with the density

    .. math::
        \prod_{i<j} |x_i - x_j| \prod_i f(x_i), \qquad
        f(x) = x^{(|M - H| - 1)/2} e^{-\gamma x / 2} (t x + \gamma)^{-N/2} .

    By de Bruijn its mass is a Pfaffian of integrals of pairs of powers, whose square is the
    determinant of ``K``; the coefficient is ``-t d/dt`` of half the logarithm of it.

    Returns
    -------
    float
    """
    M, H, N = widths
    u = np.linspace(np.log(PULL / t) - 30.0, np.log(90.0 / PULL), points)
    x = np.exp(u)
    density = x ** (0.5 * (abs(M - H) + 1)) * np.exp(-0.5 * PULL * x) * (x + PULL / t) ** (-0.5 * N)
    share = 0.5 * N * t * x / (t * x + PULL)  # -t d/dt of log f
    one = (u[1] - u[0]) * density * x ** np.arange(min(M, H))[:, None]
    other = one * share

    def pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        below = (np.cumsum(a, axis=1) - 0.5 * a) @ b.T
        return below - below.T if a is b else below

    K = pairs(one, one)
    slope = pairs(one, other) + pairs(other, one)
    slope = slope - slope.T
    if len(K) % 2:  # the border of an odd Pfaffian
        K = np.block([[K, one.sum(axis=1)[:, None]], [-one.sum(axis=1), 0.0]])
        slope = np.block([[slope, other.sum(axis=1)[:, None]], [-other.sum(axis=1), 0.0]])
    return float(0.5 * np.trace(np.linalg.solve(K, slope)))


def measured() -> dict[str, list]:
    """Return estimates of each loss at each temperature, about the origin."""
    found = {}
    for name, (value, gradient, weights, _, _) in LOSSES.items():
        loss = FunctionLoss(
            value=value, gradient=gradient, parameters=weights, examples=1000, vectorized=True
        )
        options = LENGTHS[weights] | {"localization": PULL}
        found[name] = [
            learning_coefficient(loss, np.zeros(weights), n_beta=t, rng=seed, **options)
            for seed, t in enumerate(TEMPERATURES, 1)
        ]
    return found


def worst(found: dict[str, list] | None = None) -> float:
    """Return the largest difference of estimates from their integrals, in standard errors."""
    gaps = [
        abs(one.value[0] - exact(name, one.n_beta)) / one.stderr[0]
        for name, rows in (found or measured()).items()
        for one in rows
    ]
    return float(max(gaps))


def minimum(widths: tuple[int, ...], rank: int) -> tuple[Network, np.ndarray]:
    """Return a linear network and its most singular minimum: ones on the diagonal of each layer."""
    shapes = list(pairwise(widths))
    layers = [np.where(np.arange(a)[:, None] < rank, np.eye(a, b), 0.0) for a, b in shapes]
    inputs = np.eye(widths[0]) * widths[0] ** 0.5
    net = Network(
        inputs=inputs,
        targets=inputs @ np.eye(widths[0], rank) @ np.eye(rank, widths[-1]),
        hidden=widths[1:-1],
        activation="identity",
        objective="squared_error",
        bias=False,
    )
    return net, np.concatenate([layer.ravel() for layer in layers])


def about(widths: tuple[int, ...], rank: int, t: float, **options):
    """Measure a linear network about its most singular minimum."""
    net, w = minimum(widths, rank)
    return learning_coefficient(net, w, n_beta=t, localization=PULL, rng=11, **options)


def draw(path: str | Path) -> float:
    """Draw the panels into a file, and return the number."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 10.2), layout="constrained", dpi=160)
    FigureCanvasAgg(figure)
    panels = figure.subplot_mosaic("AA;BC;DE", height_ratios=(0.9, 1.1, 0.9))
    found = measured()
    _temperatures(panels["A"], found)
    rows = [about(widths, rank, COLD, **HAMILTON) for widths, rank in NETWORKS]
    _diagonal(panels["B"], rows)
    _ratios(panels["C"], rows)
    runs = {
        name: [about((2, 2, 2), 0, WARM, sampler=name, step=h, **VERDICTS) for h in STEPS]
        for name, *_ in SAMPLERS
    }
    _chains(panels["D"], {name: estimates[SHOWN] for name, estimates in runs.items()})
    _steps(panels["E"], runs)
    for axes in panels.values():
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    return worst(found)


def _temperatures(axes, found: dict[str, list]) -> None:
    t = np.geomspace(1.0, 1e10, 81)
    for name, (_, _, _, label, (colour, marker, dash)) in LOSSES.items():
        axes.semilogx(t, [exact(name, one) for one in t], color=colour, ls=dash, lw=1.6)
        value, bar = _value_and_bar(found[name])
        axes.errorbar(TEMPERATURES, value, bar, fmt=marker, color=colour, label=label, **OPEN)
    for limit, name in ((0.5, "λ = 1/2"), (0.25, "λ = 1/4")):
        axes.axhline(limit, color="0.55", lw=0.9, ls=":", zorder=0)
        axes.text(1.2e10, limit, name, va="center", fontsize=8, color="0.3")
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    axes.set(xlim=(1, 1e10), ylim=(0, 0.55), xlabel=r"inverse temperature $n\beta$")
    axes.set_ylabel(r"$n\beta\,(\mathrm{E}[L] - L(w_*))$")
    axes.set_title("One weight, and two that multiply: points measured, lines exact", **TITLE)


def _value_and_bar(rows: list) -> tuple[np.ndarray, np.ndarray]:
    # The bar is of two standard errors.
    return np.array([(one.value[0], 2 * one.stderr[0]) for one in rows]).T


def _kind(widths: tuple[int, ...], rank: int) -> int:
    return 1 if rank else 2 * (len(widths) > 3)


def _diagonal(axes, rows: list) -> None:
    limits = np.array([float(deep_linear(*network).value) for network in NETWORKS])
    kinds = np.array([_kind(*network) for network in NETWORKS])
    value, bar = _value_and_bar(rows)
    axes.plot([0, 10], [0, 10], color="0.55", lw=0.9, ls=":", zorder=0)
    for kind, (label, colour, marker) in enumerate(KINDS):
        at = kinds == kind
        dots = {"fmt": marker, "color": colour, "label": label}
        axes.errorbar(limits[at], value[at], bar[at], **dots, **OPEN)
    axes.legend(fontsize=8, frameon=False, loc="upper left", handletextpad=0.3)
    axes.set(xlim=(0, 10), ylim=(0, 11), xlabel="Aoyagi's λ")
    axes.set_ylabel(rf"measured at $n\beta = {COLD:g}$")
    axes.set_title("Linear networks", **TITLE)


def _ratios(axes, rows: list) -> None:
    names = []
    axes.axvline(1.0, color="0.55", lw=0.9, ls=":", zorder=0)
    for i, ((widths, rank), value, bar) in enumerate(
        zip(NETWORKS, *_value_and_bar(rows), strict=True)
    ):
        known, kind = deep_linear(widths, rank), _kind(widths, rank)
        limit, (_, colour, marker) = float(known.value), KINDS[kind]
        axes.errorbar(value / limit, i, xerr=bar / limit, fmt=marker, color=colour, **OPEN)
        if kind == 0:
            axes.plot(exact_network(widths, COLD) / limit, i, **TICK)
        names.append(
            "–".join(map(str, widths))
            + (f", r = {rank}" if rank else "")
            + (f", m = {known.multiplicity}" if known.multiplicity > 1 else "")
        )
    axes.plot([], [], label=r"exact at this $n\beta$", **TICK)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.legend(fontsize=8, frameon=False, loc="upper left", handletextpad=0.1)
    axes.set_xlabel("measured / λ")
    axes.set_title("The same over the limit", **TITLE)


def _chains(axes, runs: dict) -> None:
    draws = np.arange(1, VERDICTS["draws"] + 1)
    for name, label, colour, _, dash in SAMPLERS:
        so_far = WARM * np.cumsum(runs[name].losses, axis=1) / draws
        axes.semilogx(draws, so_far[:12].T, color=colour, lw=0.6, alpha=0.6)
        axes.semilogx(draws, so_far.mean(axis=0), color=colour, lw=2.4, ls=dash, label=label)
    axes.axhline(exact_network((2, 2, 2), WARM), zorder=4, label="exact", **TRUTH)
    axes.set(xlim=(10, draws[-1]), ylim=(0, 5), xlabel="draw", ylabel="mean so far, each chain")
    axes.legend(fontsize=8, framealpha=0.9, edgecolor="none", loc="upper right")
    axes.set_title(rf"2–2–2, $n\beta = {WARM:g}$, a step of {STEPS[SHOWN]:g}", **TITLE)


def _steps(axes, runs: dict[str, list]) -> None:
    axes.axhline(exact_network((2, 2, 2), WARM), zorder=1, **TRUTH)
    words = {"fontsize": 8, "color": "0.3", "ha": "center"}
    for name, _, colour, marker, dash in SAMPLERS:
        value, bar = _value_and_bar(runs[name])
        axes.errorbar(STEPS, value, bar, fmt=marker, color=colour, ls=dash, **OPEN)
        for one in runs[name]:
            if lost := VERDICTS["chains"] - len(one.per_chain):
                place = one.step / 1.15, one.value[0]
                axes.text(*place, f"{lost} chains lost", **words | {"ha": "right"})
    for one in runs["mala"]:
        axes.text(one.step, 1.0, f"{one.acceptance.mean():.2f}", **words)
    axes.text(STEPS[0] / 1.3, 0.82, "acceptance of MALA", **words | {"ha": "left"})
    axes.set(xscale="log", xlim=(STEPS[0] / 1.4, STEPS[-1] * 1.4), ylim=(0.75, 3.0))
    axes.set(xlabel="step", ylabel="estimate")
    axes.set_title("Other steps", **TITLE)


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "learning_coefficient.png"
    print(f"at most {draw(name):.2f} standard errors apart, drawn in {name}")

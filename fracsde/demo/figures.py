"""Figures of the demo: one file each, readable in print and without colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._figures import COLOURS as PALETTE
from fracsde._figures import style
from fracsde.special import mittag_leffler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fracsde._typing import FloatArray
    from fracsde.compare import Row
    from fracsde.demo.results import FromRandom, Stationary
    from fracsde.estimators import FractionalOrderFit

__all__ = ["draw", "require"]

EIGENVECTOR = "eigenvector of the Hessian"


def require() -> None:
    """Raise if figures could not be drawn: to ask before long work, not after."""
    with style():
        pass


def _new_figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def draw(
    stationary: Mapping[str, list[Stationary]], random: Mapping[str, FromRandom]
) -> dict[str, tuple[Any, str]]:
    """Draw every figure.

    Returns
    -------
    dict
        Figure and caption by file name.
    """
    with style():
        return _draw(stationary, random)


def _draw(
    stationary: Mapping[str, list[Stationary]], random: Mapping[str, FromRandom]
) -> dict[str, tuple[Any, str]]:
    return {
        "variances": (
            _panels(stationary, "variance ratio", EIGENVECTOR, _variances),
            "Variance along the leading Hessian eigenvectors, measured over predicted. Bars are "
            "intervals at the level of the comparison; the grey band is the tolerance.",
        ),
        "relaxation": (
            _panels(stationary, "autocorrelation", EIGENVECTOR, _relaxation),
            "Autocorrelation of each direction at about its own relaxation time, measured against "
            "predicted.",
        ),
        "displacement": (
            _panels(stationary, "displacement ratio", "lag [steps]", _displacement),
            "Stationary mean-square displacement, summed over the directions, over prediction.",
        ),
        "assumptions": (
            _panels(stationary, "run / minimum", EIGENVECTOR, _assumptions),
            "What the theories hold constant, measured over the run: noise and curvature along "
            "each direction, relative to the minimum.",
        ),
        "random-starts": (
            _random_starts(random),
            "Root-mean-square displacement from random starts, with the declared windows.",
        ),
        "late-relaxation": (
            _late_relaxation(random),
            "Mean late motion along the way that was left, with the fitted fractional law and the "
            "best ordinary one.",
        ),
        "densities": (
            _densities(random),
            "Histogram over replicas against the density of the fractional equation of the fitted "
            "order and of the ordinary equation.",
        ),
    }


def _panels(
    stationary: Mapping[str, list[Stationary]],
    ylabel: str,
    xlabel: str,
    fill: Callable[[Any, Stationary], None],
) -> Any:
    """Draw one panel per regime (rows) and network (columns)."""
    count = max(len(regimes) for regimes in stationary.values())
    size = (4.2 * len(stationary), 0.4 + 2.2 * count)
    figure, axes = _new_figure(count, len(stationary), size=size)
    for column, (name, regimes) in enumerate(stationary.items()):
        for row, item in enumerate(regimes):
            axis = axes[row, column]
            fill(axis, item)
            axis.set_title(f"{name}\n{item.plan.regime.name}", fontsize=9)
        axes[len(regimes) - 1, column].set_xlabel(xlabel)
    for axis in axes[:, 0]:
        axis.set_ylabel(ylabel)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside upper center", ncols=len(labels))
    return figure


def _band(axis: Any, item: Stationary) -> None:
    tolerance = item.report.tolerance
    axis.axhspan(1 - tolerance, 1 + tolerance, color="0.88", zorder=0)
    axis.axhline(1.0, color="0.4", lw=0.8)


def _theories(item: Stationary, quantity: str) -> list[tuple[int, str, list[Row]]]:
    """Return number, name and rows of a quantity for map, flow and, if there is one, closure."""
    found = {"map": item.report.rows, **item.report.rivals}
    return [
        (number, name, [row for row in found[name] if row.quantity == quantity])
        for number, name in enumerate(("map", "flow", "closure"))
        if name in found
    ]


def _index(item: Stationary) -> FloatArray:
    return np.arange(1.0, len(item.curvature.curvatures) + 1)


def _variances(axis: Any, item: Stationary) -> None:
    _band(axis, item)
    for number, name, rows in _theories(item, "stationary variance"):
        axis.errorbar(
            _index(item) + 0.18 * number,
            [row.ratio for row in rows],
            np.array([(row.ratio - row.low, row.high - row.ratio) for row in rows]).T,
            fmt="o^s"[number],
            ms=3.5,
            lw=0.9,
            color=PALETTE[number],
            label=f"measured / {name}",
        )


def _relaxation(axis: Any, item: Stationary) -> None:
    theories = _theories(item, "autocorrelation")
    measured = theories[0][2]
    axis.errorbar(
        _index(item),
        [row.measured for row in measured],
        [3.0 * row.stderr for row in measured],
        fmt="o",
        ms=3.5,
        lw=0.9,
        color="0.1",
        label="measured",
    )
    for number, name, rows in theories:
        predicted = [row.predicted for row in rows]
        line = ("-", "--", ":")[number]
        axis.plot(
            _index(item), predicted, line, lw=1.3, color=PALETTE[number], marker="", label=name
        )


def _displacement(axis: Any, item: Stationary) -> None:
    _band(axis, item)
    lags = item.plan.msd_lags
    for number, name, rows in _theories(item, "mean-square displacement"):
        axis.plot(
            lags,
            [row.ratio for row in rows],
            ("o-", "^--", "s:")[number],
            ms=3.5,
            lw=1.0,
            color=PALETTE[number],
            label=f"measured / {name}",
        )
    axis.set_xscale("log")
    axis.set_xticks(lags[::2], [str(lag) for lag in lags[::2]])
    axis.minorticks_off()


def _assumptions(axis: Any, item: Stationary) -> None:
    axis.axhline(1.0, color="0.4", lw=0.8)
    constants = (("noise", item.reasons.noise_ratio), ("curvature", item.reasons.curvature_ratio))
    for number, (name, ratio) in enumerate(constants):
        line = ("o-", "s--")[number]
        axis.plot(_index(item), ratio, line, ms=3.5, lw=0.8, color=PALETTE[number], label=name)


def _random_starts(random: Mapping[str, FromRandom]) -> Any:
    figure, axes = _new_figure(1, len(random), size=(4.6 * len(random), 3.4))
    for axis, (name, item) in zip(axes.flat, random.items(), strict=True):
        record = item.descent.positions
        moved = record.values[:, 1:] - record.values[:, :1]
        distance = np.sqrt(np.mean(np.sum(moved**2, axis=2), axis=0))
        axis.loglog(record.times[1:], distance, "o", ms=2.8, color="0.1", label="measured")
        fits = [
            ("early", item.descent.early, item.descent.early_window, "-"),
            ("late", item.descent.late, item.descent.late_window, "--"),
        ]
        for number, (label, exponent, window, line) in enumerate(fits):
            ends = np.array(window)
            slope = float(exponent.value[0])
            middle = np.sqrt(ends[0] * ends[1])
            level = np.exp(np.interp(np.log(middle), np.log(record.times[1:]), np.log(distance)))
            axis.loglog(
                ends,
                level * (ends / middle) ** slope,
                line,
                lw=2.0,
                color=PALETTE[number],
                label=f"{label}: slope {slope:.4f} ± {float(exponent.stderr[0]):.4f}",
            )
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("step")
        axis.set_ylabel("R(t) [weight]")
        axis.legend(fontsize=7)
    return figure


def _late_relaxation(random: Mapping[str, FromRandom]) -> Any:
    figure, axes = _new_figure(1, len(random), size=(4.6 * len(random), 3.4))
    for axis, (name, item) in zip(axes.flat, random.items(), strict=True):
        relaxation = item.relaxation
        times, mean = relaxation.times[1:], relaxation.values.mean(axis=0)[1:]
        error = relaxation.values.std(axis=0)[1:] / np.sqrt(len(relaxation.values))
        axis.errorbar(
            times, mean, 3 * error, fmt="o", ms=2.8, lw=0.8, color="0.1", label="mean of replicas"
        )
        fine = np.geomspace(times[0], times[-1], 200)
        low, high = relaxation.fit.alpha_interval(0.95)
        curves = [
            (relaxation.fit, f"α = {relaxation.fit.alpha:.2f} ({low:.2f} to {high:.2f})", "-"),
            (relaxation.ordinary, "α = 1", "--"),
        ]
        for number, (fit, label, line) in enumerate(curves):
            axis.plot(fine, _curve(fit, fine), line, color=PALETTE[number], lw=1.5, label=label)
        axis.set_xscale("log")
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("steps into the late window")
        axis.set_ylabel("way gone [weight]")
        axis.legend(fontsize=7)
    return figure


def _curve(fit: FractionalOrderFit, times: FloatArray) -> FloatArray:
    """Return the fitted mean."""
    decay = mittag_leffler(-((times / fit.timescale) ** fit.alpha), fit.alpha)
    return np.asarray(fit.plateau + fit.amplitude * decay)


def _densities(random: Mapping[str, FromRandom]) -> Any:
    count = max(len(item.relaxation.checks) for item in random.values())
    figure, axes = _new_figure(len(random), count, size=(3.4 * count, 2.7 * len(random)))
    for row, (name, item) in enumerate(random.items()):
        for column, check in enumerate(item.relaxation.checks):
            axis = axes[row, column]
            values = item.relaxation.values[:, check]
            axis.hist(values, bins="fd", density=True, color="0.8", edgecolor="0.5", lw=0.5)
            ranges = [values.min(), values.max()]
            for number, (label, solution) in enumerate(item.solutions.items()):
                points, density = solution.points[0], solution.density[column]
                axis.plot(
                    points, density, ("-", "--")[number], lw=1.6, color=PALETTE[number], label=label
                )
                mass = np.cumsum(density * solution.widths)
                ranges += [points[np.searchsorted(mass, q)] for q in (0.02, 0.998)]
            reach = max(ranges) - min(ranges)
            axis.set_xlim(min(ranges) - 0.05 * reach, max(ranges) + 0.05 * reach)
            time = item.relaxation.times[check]
            axis.set_title(f"{name}\n{time:.0f} steps into the window", fontsize=9)
            axis.set_yticks([])
            if row == len(random) - 1:
                axis.set_xlabel("way gone [weight]")
    axes[0, 0].legend(fontsize=7)
    return figure

"""Figures of the demo: one file each, readable in print and without colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._figures import COLOURS as PALETTE
from fracsde._figures import style
from fracsde.special import mittag_leffler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fracsde._typing import FloatArray
    from fracsde.demo.digits import FromRandom, Stationary
    from fracsde.estimators import FractionalOrderFit

__all__ = ["draw", "require"]


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
            _variances(stationary),
            "Variance along the leading Hessian eigenvectors, measured over predicted. Bars are "
            "intervals at the level of the comparison; the grey band is the tolerance.",
        ),
        "relaxation": (
            _relaxation(stationary),
            "Autocorrelation of each direction at about its own relaxation time, measured against "
            "predicted.",
        ),
        "displacement": (
            _displacement(stationary),
            "Stationary mean-square displacement, summed over the directions, over prediction.",
        ),
        "assumptions": (
            _assumptions(stationary),
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


def _grid(stationary: Mapping[str, list[Stationary]], height: float = 2.5) -> tuple[Any, Any]:
    columns = max(len(regimes) for regimes in stationary.values())
    figure, axes = _new_figure(len(stationary), columns, size=(3.1 * columns, height * 2))
    for row, (name, regimes) in enumerate(stationary.items()):
        for column, item in enumerate(regimes):
            axes[row, column].set_title(f"{name}\n{item.plan.regime.name}", fontsize=9)
    return figure, axes


def _variances(stationary: Mapping[str, list[Stationary]]) -> Any:
    figure, axes = _grid(stationary)
    for row, regimes in enumerate(stationary.values()):
        for column, item in enumerate(regimes):
            axis = axes[row, column]
            tolerance = item.report.tolerance
            axis.axhspan(1 - tolerance, 1 + tolerance, color="0.88", zorder=0)
            axis.axhline(1.0, color="0.4", lw=0.8)
            series = [("map", item.report.rows, "o"), ("flow", item.report.rivals["flow"], "^")]
            for number, (label, rows, marker) in enumerate(series):
                chosen = [entry for entry in rows if entry.quantity == "stationary variance"]
                ratio = np.array([entry.ratio for entry in chosen])
                bars = np.array([(e.ratio - e.low, e.high - e.ratio) for e in chosen]).T
                axis.errorbar(
                    np.arange(1, len(ratio) + 1) + 0.18 * number,
                    ratio,
                    bars,
                    fmt=marker,
                    ms=3.5,
                    lw=0.9,
                    color=PALETTE[number],
                    label=f"measured / {label}",
                )
            if column == 0:
                axis.set_ylabel("variance ratio")
            if row == len(stationary) - 1:
                axis.set_xlabel("eigenvector of the Hessian")
    axes[0, 0].legend(fontsize=7)
    return figure


def _relaxation(stationary: Mapping[str, list[Stationary]]) -> Any:
    figure, axes = _grid(stationary)
    for row, regimes in enumerate(stationary.values()):
        for column, item in enumerate(regimes):
            axis = axes[row, column]
            index = np.arange(1, len(item.curvature.curvatures) + 1)
            measured = next(m for m in item.measured if m.quantity.name == "autocorrelation")
            axis.errorbar(
                index,
                measured.value,
                3.0 * measured.stderr,
                fmt="o",
                ms=3.5,
                lw=0.9,
                color="0.1",
                label="measured",
            )
            lines = [("map", item.theory, "-"), ("flow", item.rivals["flow"], "--")]
            for number, (label, predictions, line) in enumerate(lines):
                value = next(p for p in predictions if p.quantity.name == "autocorrelation").value
                axis.plot(index, value, line, lw=1.3, color=PALETTE[number], label=label)
            if column == 0:
                axis.set_ylabel("autocorrelation")
            if row == len(stationary) - 1:
                axis.set_xlabel("eigenvector of the Hessian")
    axes[0, 0].legend(fontsize=7)
    return figure


def _displacement(stationary: Mapping[str, list[Stationary]]) -> Any:
    figure, axes = _grid(stationary)
    for row, regimes in enumerate(stationary.values()):
        for column, item in enumerate(regimes):
            axis = axes[row, column]
            tolerance = item.report.tolerance
            axis.axhspan(1 - tolerance, 1 + tolerance, color="0.88", zorder=0)
            axis.axhline(1.0, color="0.4", lw=0.8)
            series = [("map", item.report.rows, "o-"), ("flow", item.report.rivals["flow"], "^--")]
            for number, (label, rows, line) in enumerate(series):
                chosen = [e for e in rows if e.quantity == "mean-square displacement"]
                ratio = [entry.ratio for entry in chosen]
                axis.plot(
                    item.plan.msd_lags,
                    ratio,
                    line,
                    ms=3.5,
                    lw=1.0,
                    color=PALETTE[number],
                    label=f"measured / {label}",
                )
            axis.set_xscale("log")
            axis.set_xticks(item.plan.msd_lags[::2], [str(lag) for lag in item.plan.msd_lags[::2]])
            axis.minorticks_off()
            if column == 0:
                axis.set_ylabel("displacement ratio")
            if row == len(stationary) - 1:
                axis.set_xlabel("lag [steps]")
    axes[0, 0].legend(fontsize=7)
    return figure


def _assumptions(stationary: Mapping[str, list[Stationary]]) -> Any:
    figure, axes = _grid(stationary)
    for row, regimes in enumerate(stationary.values()):
        for column, item in enumerate(regimes):
            axis = axes[row, column]
            index = np.arange(1, len(item.curvature.curvatures) + 1)
            axis.axhline(1.0, color="0.4", lw=0.8)
            axis.plot(
                index,
                item.reasons.noise_ratio,
                "o-",
                ms=3.5,
                lw=0.8,
                color=PALETTE[0],
                label="noise",
            )
            axis.plot(
                index,
                item.reasons.curvature_ratio,
                "s--",
                ms=3.5,
                lw=0.8,
                color=PALETTE[1],
                label="curvature",
            )
            if column == 0:
                axis.set_ylabel("run / minimum")
            if row == len(stationary) - 1:
                axis.set_xlabel("eigenvector of the Hessian")
    axes[0, 0].legend(fontsize=7)
    return figure


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

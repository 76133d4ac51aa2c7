"""The summary tables of the demo, composed from the numbers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.demo.phrases import counts, heading, ratios_of, rows_of, span, theory_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fracsde.closure import GaussianClosure
    from fracsde.demo.results import FromRandom, Stationary

__all__ = ["table", "tables"]

NO_CLOSURE = "no fixed point"


def tables(
    stationary: Mapping[str, list[Stationary]], random: Mapping[str, FromRandom]
) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Return the summary tables: columns and rows by heading.

    Returns
    -------
    dict
    """
    items = [(name, item) for name, regimes in stationary.items() for item in regimes]
    # A closure that was not found is no rival of its regime, and has a column all the same.
    rivals = ["closure", *dict.fromkeys(rival for _, item in items for rival in item.report.rivals)]
    theories = list(dict.fromkeys(["map", *rivals]))
    heads = [f"measured ÷ {theory}" for theory in theories]
    return {
        "The minima": (
            [
                "network",
                "weights",
                "loss",
                "gradient norm",
                "negative eigenvalues",
                "h_max",
                "h of the last direction",
                "h_min",
            ],
            [_minimum(name, regimes[0]) for name, regimes in stationary.items()],
        ),
        "The regimes": (
            [
                "network and regime",
                "learning rate η",
                "η·h_max",
                "momentum μ",
                "effective rate η·h_max/(1 - μ)",
                "steps dropped",
                "steps",
            ],
            [_regime(name, item) for name, item in items],
        ),
        "Theory against run near the minimum: ratios (rows that agree/are open/disagree)": (
            ["network and regime", "quantity", *heads],
            [row for name, item in items for row in _comparison(name, item, theories)],
        ),
        "Which assumption fails: what theories hold constant, measured over the run": (
            [
                "network and regime",
                "trace of the noise, run / minimum",
                "noise along directions",
                "curvature, mean over directions",
                "largest excess kurtosis",
                "largest shift of the mean [sd]",
                "largest split R-hat",
                "variance / map, mean",
                "with the noise of the run",
                "and with its curvature",
            ],
            [_reasons(name, item) for name, item in items],
        ),
        "The closure: averages over the law that reproduces itself": (
            [
                "network and regime",
                "outcome",
                "rounds",
                "noise that third and fourth cumulants are worth",
                "largest third cumulant [sd³]",
                "variance, closure / map",
                "largest standard error",
                "mean curvature / minimum",
                "noise / minimum",
                "largest shift of the mean [sd]",
            ],
            [_closure(name, item) for name, item in items],
        ),
        "From random starts": (
            [
                "network",
                "displacement exponent, early",
                "late",
                "whole run",
                "fractional order (95 %)",
                "p-value of the fit",
                "timescale [steps]",
                "fractional: agree/open/disagree",
                "ordinary: agree/open/disagree",
            ],
            [_start(name, start) for name, start in random.items()],
        ),
    }


def _minimum(name: str, item: Stationary) -> list[str]:
    curvature = item.curvature
    minimum = curvature.minimum
    return [
        name,
        f"{curvature.network.parameters}",
        f"{minimum.loss:.6f}",
        f"{minimum.gradient_norm:.1e}",
        f"{minimum.negative_eigenvalues} of {len(minimum.eigenvalues)}",
        f"{curvature.curvatures[0]:.4f}",
        f"{curvature.curvatures[-1]:.4f}",
        f"{minimum.eigenvalues[0]:.2e}",
    ]


def _regime(name: str, item: Stationary) -> list[str]:
    chosen, regime = item.plan, item.plan.regime
    return [
        heading(name, item),
        f"{chosen.learning_rate:.4g}",
        f"{regime.rate:g}",
        f"{regime.momentum:g}",
        f"{regime.effective_rate:.3g}",
        f"{chosen.burn_in}",
        f"{chosen.steps}",
    ]


def _comparison(name: str, item: Stationary, theories: Sequence[str]) -> list[list[str]]:
    found = []
    for quantity in dict.fromkeys(row.quantity for row in item.report.rows):
        cells = [heading(name, item), quantity]
        for theory in theories:
            if theory != "map" and theory not in item.report.rivals:
                cells.append(NO_CLOSURE)
                continue
            chosen = rows_of(theory_rows(item, theory), quantity)
            cells.append(f"{span(ratios_of(chosen))} ({counts(chosen)})")
        found.append(cells)
    return found


def _reasons(name: str, item: Stationary) -> list[str]:
    why = item.reasons
    return [
        heading(name, item),
        f"{why.noise_trace_ratio:.3f} ± {why.noise_trace_stderr:.3f}",
        span(why.noise_ratio),
        f"{why.curvature_ratio.mean():.3f} ± {why.curvature_mean_stderr:.3f}",
        f"{np.abs(why.excess_kurtosis).max():.2f}",
        f"{np.abs(why.mean_shift).max():.2f}",
        f"{why.r_hat.max():.3f}",
        f"{why.map_ratio.mean():.3f}",
        f"{why.with_noise.mean():.3f}",
        f"{why.with_both.mean():.3f}",
    ]


def _closure(name: str, item: Stationary) -> list[str]:
    closure, curvature = item.closure, item.curvature
    cells = [heading(name, item), closure.status.name, f"{closure.rounds}"]
    if "closure" not in item.report.rivals:
        return [*cells, *["–"] * 7]
    moved = (closure.mean - closure.minimum.position) @ closure.minimum.leading
    settled = closure.variances
    return [
        *cells,
        f"{100.0 * closure.truncation:.1f} %",
        _skew(closure),
        span(closure.over_map),
        f"{100.0 * (closure.variance_stderr / settled).max():.2f} %",
        span(closure.hessian.diagonal() / curvature.curvatures),
        span(closure.noise.diagonal() / closure.map_noise.diagonal()),
        f"{np.abs(moved / np.sqrt(settled)).max():.2f}",
    ]


def _skew(closure: GaussianClosure) -> str:
    assert closure.third is not None  # asked for
    sd = np.sqrt(closure.variances)
    scale = sd[:, None, None] * sd[:, None] * sd
    return f"{np.abs(closure.third / scale).max():.2f}"


def _start(name: str, start: FromRandom) -> list[str]:
    fit = start.relaxation.fit
    low, high = fit.alpha_interval(0.95)
    exponents = [start.descent.early, start.descent.late, start.descent.whole]
    rival = next(iter(start.report.rivals.values()))
    known = "" if fit.identified else "; not identified"
    return [
        name,
        *(f"{float(m.value[0]):.4f} ± {float(m.stderr[0]):.4f}" for m in exponents),
        f"{fit.alpha:.3f} ({low:.3f} to {high:.3f}){known}",
        f"{fit.misfit_p_value:.1g}",
        f"{fit.timescale:.0f}",
        counts(start.report.rows),
        counts(rival),
    ]


def table(stationary: Mapping[str, list[Stationary]], random: Mapping[str, FromRandom]) -> str:
    """Return the summary tables as text for a terminal.

    Returns
    -------
    str
    """
    blocks = []
    for title, (columns, rows) in tables(stationary, random).items():
        blocks += [title, *(_block(columns, row) for row in rows), ""]
    return "\n".join(blocks).rstrip()


def _block(columns: list[str], row: list[str]) -> str:
    """Return a row with its columns as lines: the tables are wider than a terminal."""
    lines = [f"  {row[0]}"]
    lines += [f"    {column:<46} {cell}" for column, cell in zip(columns[1:], row[1:], strict=True)]
    return "\n".join(lines)

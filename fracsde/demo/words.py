"""What the demo found, in words and small tables, composed from the numbers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.compare import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fracsde._typing import FloatArray
    from fracsde.compare import Row
    from fracsde.demo.results import FromRandom, Stationary

__all__ = ["findings", "sentence", "table", "tables"]

VARIANCE = "stationary variance"
SPREAD = "spread over replicas"
THEORIES = ("map", "closure", "flow")
NO_CLOSURE = "no fixed point"
LEFT = 1.0  # standard deviations: beyond it a run has left its minimum
MIXED = 1.05  # split R-hat: above it the replicas sit in different places
NOTABLE = 0.02  # a mean deviation below this is not worth a reason
SHARE = 0.2  # of the map's error that an assumption must explain to be named
SCATTER = 2.0  # mean standard errors: a mean deviation below it may be chance


def _rows(rows: Sequence[Row], quantity: str) -> list[Row]:
    return [row for row in rows if row.quantity == quantity]


def _count(rows: Sequence[Row], verdict: Verdict) -> int:
    return sum(row.verdict is verdict for row in rows)


def _counts(rows: Sequence[Row]) -> str:
    order = (Verdict.AGREES, Verdict.INCONCLUSIVE, Verdict.DISAGREES)
    return "/".join(str(_count(rows, verdict)) for verdict in order)


def _span(values: FloatArray) -> str:
    return f"{np.min(values):.2f} to {np.max(values):.2f}"


def _ratios(rows: Sequence[Row]) -> FloatArray:
    return np.array([row.ratio for row in rows])


def _of(item: Stationary, theory: str) -> Sequence[Row]:
    return item.report.rows if theory == "map" else item.report.rivals[theory]


def _change(ratio: float) -> str:
    """Return a ratio as a change in per cent."""
    percent = 100.0 * (ratio - 1.0)
    return f"{_percent(percent)} {'larger' if percent >= 0 else 'smaller'}"


def _percent(value: float) -> str:
    return f"{abs(value):.0f} %" if abs(value) >= 20.0 else f"{abs(value):.1f} %"


def _heading(name: str, item: Stationary) -> str:
    return f"{name}, {item.plan.regime.name}"


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
        "The Gaussian closure: averages over the law that reproduces itself": (
            [
                "network and regime",
                "outcome",
                "rounds",
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


def _comparison(name: str, item: Stationary, theories: Sequence[str]) -> list[list[str]]:
    found = []
    for quantity in dict.fromkeys(row.quantity for row in item.report.rows):
        cells = [_heading(name, item), quantity]
        for theory in theories:
            if theory != "map" and theory not in item.report.rivals:
                cells.append(NO_CLOSURE)
                continue
            chosen = _rows(_of(item, theory), quantity)
            cells.append(f"{_span(_ratios(chosen))} ({_counts(chosen)})")
        found.append(cells)
    return found


def _reasons(name: str, item: Stationary) -> list[str]:
    why = item.reasons
    return [
        _heading(name, item),
        f"{why.noise_trace_ratio:.3f} ± {why.noise_trace_stderr:.3f}",
        _span(why.noise_ratio),
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
    cells = [_heading(name, item), closure.status.name, f"{closure.rounds}"]
    if not closure.status.ok:
        return [*cells, *["–"] * 5]
    moved = (closure.mean - closure.minimum.position) @ closure.minimum.leading
    settled = closure.variances
    return [
        *cells,
        _span(closure.over_map),
        f"{100.0 * (closure.variance_stderr / settled).max():.2f} %",
        _span(closure.hessian.diagonal() / curvature.curvatures),
        _span(closure.noise.diagonal() / closure.map_noise.diagonal()),
        f"{np.abs(moved / np.sqrt(settled)).max():.2f}",
    ]


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
        _counts(start.report.rows),
        _counts(rival),
    ]


def findings(
    stationary: Mapping[str, list[Stationary]], random: Mapping[str, FromRandom]
) -> dict[str, str]:
    """Return what holds and what fails, and why: an item per regime and network.

    Returns
    -------
    dict of str to str
    """
    said = {}
    for name, regimes in stationary.items():
        for item in regimes:
            verdicts = "; ".join(f"the {theory} {_judge(item, theory)}" for theory in THEORIES)
            text = f"{verdicts}. {_blame(item)}"
            said[_heading(name, item)] = text[0].upper() + text[1:]
    for name, start in random.items():
        text = _random(start)
        said[f"{name}, from random starts"] = f"{text[0].upper()}{text[1:]}."
    return said


def _judge(item: Stationary, theory: str) -> str:
    if theory != "map" and theory not in item.report.rivals:
        return "has no fixed point in reach"
    variance = _rows(_of(item, theory), VARIANCE)
    ratios = _ratios(variance)
    failed = _count(variance, Verdict.DISAGREES)
    if _count(variance, Verdict.AGREES) == len(variance):
        return f"holds in every direction (variance ratios {_span(ratios)})"
    if not failed:
        agreed = f"{_count(variance, Verdict.AGREES)} of {len(variance)}"
        return f"is confirmed in {agreed} directions and refuted in none ({_span(ratios)})"
    return (
        f"fails in {failed} of {len(variance)} directions, the measured variance being "
        f"{_change(float(ratios.mean()))} than predicted on average ({_span(ratios)})"
    )


def _errors(item: Stationary) -> list[float]:
    """Return the map's mean error: as it is, with the noise of the run, and with its curvature."""
    why = item.reasons
    steps = (why.map_ratio, why.with_noise, why.with_both)
    return [float(np.abs(ratio - 1.0).mean()) for ratio in steps]


def _scatter(item: Stationary) -> float:
    """Return the mean deviation that chance alone may leave."""
    rows = _rows(item.report.rows, VARIANCE)
    return SCATTER * float(np.mean([row.stderr / row.predicted for row in rows]))


def blamed(item: Stationary) -> list[str]:
    """Return which assumptions explain the map's error, if it is worth explaining."""
    errors = _errors(item)
    if errors[0] < max(NOTABLE, _scatter(item)):
        return []
    gains = {"constant noise": errors[0] - errors[1], "a quadratic loss": errors[1] - errors[2]}
    return [name for name, gain in gains.items() if gain > SHARE * errors[0]]


def _blame(item: Stationary) -> str:
    """Say by how much the map's error shrinks as each constant is replaced by its run average."""
    why = item.reasons
    errors = [100.0 * error for error in _errors(item)]
    shift = float(np.abs(why.mean_shift).max())
    text = (
        f"Over the run the trace of the gradient noise is {_change(why.noise_trace_ratio)} and the "
        f"curvature {_change(float(why.curvature_ratio.mean()))} than at the minimum"
    )
    if shift > LEFT:
        text += f", and the mean lies up to {shift:.1f} standard deviations from it"
    if float(why.r_hat.max()) > MIXED:
        text += f"; replicas differ from one another (split R-hat {why.r_hat.max():.2f})"
    text += (
        f"; the map's mean error of {_percent(errors[0])} becomes {_percent(errors[1])} with the "
        f"noise of the run and {_percent(errors[2])} with its curvature too"
    )
    if errors[0] < 100.0 * NOTABLE:
        return f"{text}: too small an error to look for a reason."
    if errors[0] < 100.0 * _scatter(item):
        return f"{text}: these data scatter as much, so no reason can be named."
    names = blamed(item)
    if not names:
        kurtosis = float(np.abs(why.excess_kurtosis).max())
        return (
            f"{text}: neither constant explains the error (largest excess kurtosis {kurtosis:.2f})."
        )
    rest = ", and a good part stays unexplained" if errors[2] > 0.5 * errors[0] else ""
    return f"{text}: what fails is the assumption of {' and that of '.join(names)}{rest}."


def _random(item: FromRandom) -> str:
    fit = item.relaxation.fit
    low, high = fit.alpha_interval(0.95)
    early, late = float(item.descent.early.value[0]), float(item.descent.late.value[0])
    text = (
        f"displacement exponent {early:.2f} early and {late:.2f} late; the mean way gone in the "
        f"late window is fitted by order {fit.alpha:.3f} (95 %: {low:.3f} to {high:.3f})"
    )
    if fit.misfit_p_value < 1e-3:
        text += f", though no order fits within the errors (p = {fit.misfit_p_value:.0e})"
    spread = _rows(item.report.rows, SPREAD)
    if _count(spread, Verdict.DISAGREES) == 0:
        return f"{text}; the spread over replicas does not contradict it"
    factor = _excess(spread)
    rival = _rows(next(iter(item.report.rivals.values())), SPREAD)
    ordinary = "the ordinary equation is not contradicted there"
    if _count(rival, Verdict.DISAGREES):
        less = abs(np.log(_excess(rival))) < abs(np.log(factor))
        ordinary = f"the ordinary equation fails too, by {'less' if less else 'as much or more'}"
    clock = ", so there is no random clock behind the slow relaxation" if factor > 1.0 else ""
    return (
        f"{text}; but the equation of that order lets the replicas spread {factor:.2g} times as "
        f"far as they do{clock} ({ordinary})"
    )


def _excess(spread: Sequence[Row]) -> float:
    """Return predicted over measured spread, the geometric mean over times."""
    return float(np.exp(-np.log(_ratios(spread)).mean()))


def sentence(stationary: Mapping[str, list[Stationary]], random: Mapping[str, FromRandom]) -> str:
    """Return the one sentence with which the demo ends.

    Returns
    -------
    str
    """
    plain = [
        item for regimes in stationary.values() for item in regimes if not item.plan.regime.momentum
    ]
    parts = []
    for rate in sorted({item.plan.regime.rate for item in plain}):
        items = [item for item in plain if item.plan.regime.rate == rate]
        said = [f"the discrete map {_overall(items, 'map')}{_because(items)}"]
        if all("closure" in item.report.rivals for item in items):
            said.append(f"the Gaussian closure {_overall(items, 'closure')}")
        parts.append(
            f"at η·h_max = {rate:g} {', '.join(said)} and the continuous flow "
            f"{_overall(items, 'flow')}"
        )
    spreads = [_rows(item.report.rows, SPREAD) for item in random.values()]
    refuted = [rows for rows in spreads if _count(rows, Verdict.DISAGREES)]
    tail = (
        "late relaxation from random starts is not fractional diffusion, for the replicas stay too "
        "close together"
        if len(refuted) == len(spreads) and all(_excess(rows) > 1.0 for rows in refuted)
        else "fractional diffusion from random starts is refuted for "
        f"{len(refuted)} of {len(spreads)} networks"
    )
    return f"SGD without momentum on handwritten digits: {'; '.join(parts)}; {tail}."


def _because(items: list[Stationary]) -> str:
    """Say why the map fails where it does: what is blamed in every network in which it fails."""
    failing = [
        item for item in items if _count(_rows(item.report.rows, VARIANCE), Verdict.DISAGREES)
    ]
    if not failing:
        return ""
    names = [name for name in blamed(failing[0]) if all(name in blamed(item) for item in failing)]
    return f" (because the assumption of {' and that of '.join(names)} fails)" if names else ""


def _overall(items: list[Stationary], theory: str) -> str:
    rows = [row for item in items for row in _rows(_of(item, theory), VARIANCE)]
    tolerance = 100.0 * items[0].report.tolerance
    agreed = _count(rows, Verdict.AGREES)
    if agreed == len(rows):
        return f"predicts every variance within {tolerance:g} %"
    if not _count(rows, Verdict.DISAGREES):
        return (
            f"is confirmed within {tolerance:g} % for {agreed} of {len(rows)} variances and "
            "refuted for none"
        )
    off = 100.0 * float(np.abs(_ratios(rows) - 1.0).mean())
    return f"is off by {_percent(off)} on average"


def table(stationary: Mapping[str, list[Stationary]], random: Mapping[str, FromRandom]) -> str:
    """Return the summary tables as text for a terminal.

    Returns
    -------
    str
    """
    blocks = []
    for heading, (columns, rows) in tables(stationary, random).items():
        blocks += [heading, *(_block(columns, row) for row in rows), ""]
    return "\n".join(blocks).rstrip()


def _block(columns: list[str], row: list[str]) -> str:
    """Return a row with its columns as lines: the tables are wider than a terminal."""
    lines = [f"  {row[0]}"]
    lines += [f"    {column:<46} {cell}" for column, cell in zip(columns[1:], row[1:], strict=True)]
    return "\n".join(lines)

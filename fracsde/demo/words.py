"""What the demo found, in words, composed from the numbers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.compare import Verdict
from fracsde.demo.phrases import (
    change,
    count,
    heading,
    percent,
    ratios_of,
    rows_of,
    span,
    theory_rows,
)
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fracsde.compare import Row
    from fracsde.demo.results import FromRandom, Stationary

__all__ = ["blamed", "findings", "sentence"]

VARIANCE = "stationary variance"
SPREAD = "spread over replicas"
THEORIES = ("map", "closure", "flow")
LEFT = 1.0  # standard deviations: beyond it a run has left its minimum
MIXED = 1.05  # split R-hat: above it the replicas sit in different places
NOTABLE = 0.02  # a mean deviation below this is not worth a reason
SHARE = 0.2  # of the map's error that an assumption must explain to be named
SCATTER = 2.0  # mean standard errors: a mean deviation below it may be chance


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
            verdicts = "; ".join(f"{_name(item, t)} {_judge(item, t)}" for t in THEORIES)
            text = f"{verdicts}. {_blame(item)}"
            said[heading(name, item)] = text[0].upper() + text[1:]
    for name, start in random.items():
        text = _random(start)
        said[f"{name}, from random starts"] = f"{text[0].upper()}{text[1:]}."
    return said


def _name(item: Stationary, theory: str) -> str:
    found = theory in item.report.rivals
    if found and theory == "closure" and item.closure.status is Status.INACCURATE:
        return "the closure, which says that it is not to be trusted here,"
    return f"the {theory}"


def _judge(item: Stationary, theory: str) -> str:
    if theory != "map" and theory not in item.report.rivals:
        return "finds no fixed point"
    variance = rows_of(theory_rows(item, theory), VARIANCE)
    ratios = ratios_of(variance)
    failed = count(variance, Verdict.DISAGREES)
    if count(variance, Verdict.AGREES) == len(variance):
        return f"holds in every direction (variance ratios {span(ratios)})"
    if not failed:
        agreed = f"{count(variance, Verdict.AGREES)} of {len(variance)}"
        return f"is confirmed in {agreed} directions and refuted in none ({span(ratios)})"
    return (
        f"fails in {failed} of {len(variance)} directions, the measured variance being "
        f"{change(float(ratios.mean()))} than predicted on average ({span(ratios)})"
    )


def _errors(item: Stationary) -> list[float]:
    """Return the map's mean error: as it is, with the noise of the run, and with its curvature."""
    why = item.reasons
    steps = (why.map_ratio, why.with_noise, why.with_both)
    return [float(np.abs(ratio - 1.0).mean()) for ratio in steps]


def _scatter(item: Stationary) -> float:
    """Return the mean deviation that chance alone may leave."""
    rows = rows_of(item.report.rows, VARIANCE)
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
        f"Over the run the trace of the gradient noise is {change(why.noise_trace_ratio)} and the "
        f"curvature {change(float(why.curvature_ratio.mean()))} than at the minimum"
    )
    if shift > LEFT:
        text += f", and the mean lies up to {shift:.1f} standard deviations from it"
    if float(why.r_hat.max()) > MIXED:
        text += f"; replicas differ from one another (split R-hat {why.r_hat.max():.2f})"
    text += (
        f"; the map's mean error of {percent(errors[0])} becomes {percent(errors[1])} with the "
        f"noise of the run and {percent(errors[2])} with its curvature too"
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
    spread = rows_of(item.report.rows, SPREAD)
    if count(spread, Verdict.DISAGREES) == 0:
        return f"{text}; the spread over replicas does not contradict it"
    factor = _excess(spread)
    rival = rows_of(next(iter(item.report.rivals.values())), SPREAD)
    ordinary = "the ordinary equation is not contradicted there"
    if count(rival, Verdict.DISAGREES):
        less = abs(np.log(_excess(rival))) < abs(np.log(factor))
        ordinary = f"the ordinary equation fails too, by {'less' if less else 'as much or more'}"
    clock = ", so there is no random clock behind the slow relaxation" if factor > 1.0 else ""
    return (
        f"{text}; but the equation of that order lets the replicas spread {factor:.2g} times as "
        f"far as they do{clock} ({ordinary})"
    )


def _excess(spread: Sequence[Row]) -> float:
    """Return predicted over measured spread, the geometric mean over times."""
    return float(np.exp(-np.log(ratios_of(spread)).mean()))


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
            said.append(f"the closure {_overall(items, 'closure')}")
        parts.append(
            f"at η·h_max = {rate:g} {', '.join(said)} and the continuous flow "
            f"{_overall(items, 'flow')}"
        )
    spreads = [rows_of(item.report.rows, SPREAD) for item in random.values()]
    refuted = [rows for rows in spreads if count(rows, Verdict.DISAGREES)]
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
        item for item in items if count(rows_of(item.report.rows, VARIANCE), Verdict.DISAGREES)
    ]
    if not failing:
        return ""
    names = [name for name in blamed(failing[0]) if all(name in blamed(item) for item in failing)]
    return f" (because the assumption of {' and that of '.join(names)} fails)" if names else ""


def _overall(items: list[Stationary], theory: str) -> str:
    rows = [row for item in items for row in rows_of(theory_rows(item, theory), VARIANCE)]
    tolerance = 100.0 * items[0].report.tolerance
    agreed = count(rows, Verdict.AGREES)
    if agreed == len(rows):
        return f"predicts every variance within {tolerance:g} %"
    if not count(rows, Verdict.DISAGREES):
        return (
            f"is confirmed within {tolerance:g} % for {agreed} of {len(rows)} variances and "
            "refuted for none"
        )
    off = 100.0 * float(np.abs(ratios_of(rows) - 1.0).mean())
    return f"is off by {percent(off)} on average"

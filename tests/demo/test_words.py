"""The words of the demo follow the numbers."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fracsde.compare import compare
from fracsde.demo.words import SPREAD, VARIANCE, blamed, findings, sentence
from fracsde.records import Measurement, Prediction, Quantity
from fracsde.status import Status


def _report(name: str, rival: str, ratio: float, rival_ratio: float, error: float):
    """Compare a measurement of 1 with a theory and a rival of given ratios."""
    quantity = Quantity(name=name)
    theory, other = (
        Prediction(quantity=quantity, value=1.0 / value, numerical_error=0.0)
        for value in (ratio, rival_ratio)
    )
    run = Measurement(quantity=quantity, value=1.0, stderr=error, n_effective=1000.0)
    return compare(theory, run, tolerance=0.05, rivals={rival: other})


def _item(
    map_ratio: float,
    with_noise: float,
    with_both: float,
    flow: float = 1.5,
    error: float = 1e-4,
) -> SimpleNamespace:
    why = SimpleNamespace(
        map_ratio=np.array([map_ratio]),
        with_noise=np.array([with_noise]),
        with_both=np.array([with_both]),
        noise_trace_ratio=1.1,
        curvature_ratio=np.array([0.9]),
        mean_shift=np.array([0.1]),
        r_hat=np.array([1.0]),
        excess_kurtosis=np.array([0.25]),
    )
    return SimpleNamespace(
        reasons=why,
        report=_report(VARIANCE, "flow", map_ratio, flow, error),
        plan=SimpleNamespace(regime=SimpleNamespace(rate=0.1, momentum=0.0, name="gentle")),
    )


def _start(ratio: float, ordinary: float) -> SimpleNamespace:
    fit = SimpleNamespace(alpha=0.9, alpha_interval=lambda level: (0.8, level), misfit_p_value=0.5)
    one = SimpleNamespace(value=np.array([0.5]))
    return SimpleNamespace(
        relaxation=SimpleNamespace(fit=fit),
        descent=SimpleNamespace(early=one, late=one),
        report=_report(SPREAD, "ordinary", ratio, ordinary, 1e-4),
    )


@pytest.mark.parametrize(
    ("ratios", "names"),
    [
        ((1.01, 1.0, 1.0), []),
        ((1.12, 1.01, 1.0), ["constant noise"]),
        ((1.12, 1.11, 1.0), ["a quadratic loss"]),
        ((1.2, 1.1, 1.0), ["constant noise", "a quadratic loss"]),
        ((1.2, 1.2, 1.2), []),
        ((4.0, 9.0, 2.0), ["a quadratic loss"]),
    ],
)
def test_blame_falls_on_what_shrinks_the_error(ratios, names) -> None:
    assert blamed(_item(*ratios)) == names


def test_nothing_is_blamed_for_what_may_be_chance() -> None:
    item = _item(1.12, 1.01, 1.0, error=0.08)
    assert blamed(item) == []
    said = findings({"net": [item]}, {})["net, gentle"]
    assert "these data scatter as much" in said
    assert "what fails" not in said


def test_unexplained_error_quotes_the_shape_and_concludes_nothing_from_it() -> None:
    said = findings({"net": [_item(1.2, 1.2, 1.2)]}, {})["net, gentle"]
    assert "neither constant explains the error (largest excess kurtosis 0.25)" in said


def test_small_error_says_nothing_of_the_assumptions() -> None:
    """Noise and curvature may both change and cancel."""
    said = findings({"net": [_item(1.01, 1.1, 1.01)]}, {})["net, gentle"]
    assert said.endswith("too small an error to look for a reason.")


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (_item(1.03, 1.0, 1.0), "map predicts every variance within 5 % and the"),
        (
            _item(1.25, 1.0, 1.0),
            "map is off by 25 % on average (because the assumption of constant noise fails) and",
        ),
        (
            _item(1.12, 1.0, 1.0, error=0.08),
            "map is confirmed within 5 % for 0 of 1 variances and refuted for none and the",
        ),
    ],
)
def test_sentence_gives_a_reason_only_where_the_map_is_refuted(item, expected) -> None:
    said = sentence({"net": [item]}, {"net": _start(0.2, 0.9)})
    assert expected in said
    assert said.count("because") == expected.count("because")


def test_sentence_names_no_reason_that_one_failing_network_does_not_share() -> None:
    items = {"one": [_item(1.2, 1.0, 1.0)], "two": [_item(1.2, 1.2, 1.0)]}
    assert "because" not in sentence(items, {"one": _start(0.2, 0.9)})


def _with_closure(
    item: SimpleNamespace, ratio: float, status: Status = Status.SUCCESS
) -> SimpleNamespace:
    """Add a closure that is off by a ratio."""
    item.closure = SimpleNamespace(status=status)
    rows = _report(VARIANCE, "closure", 1.0, ratio, 1e-4).rivals
    item.report = replace(item.report, rivals={**rows, **item.report.rivals})
    return item


def test_closure_is_judged_where_there_is_one() -> None:
    start = {"net": _start(0.2, 0.9)}
    items = {"net": [_with_closure(_item(1.25, 1.0, 1.0), 1.01)]}
    assert (
        "the closure holds in every direction (variance ratios 1.01 to 1.01)"
        in (findings(items, {})["net, gentle"])
    )
    assert "the closure predicts every variance within 5 % and the" in sentence(items, start)
    without = {"net": [_item(1.25, 1.0, 1.0)]}
    assert "the closure finds no fixed point" in findings(without, {})["net, gentle"]
    assert "closure" not in sentence(without, start)


def test_closure_that_is_not_to_be_trusted_says_so() -> None:
    items = {"net": [_with_closure(_item(1.25, 1.0, 1.0), 1.3, Status.INACCURATE)]}
    said = findings(items, {})["net, gentle"]
    assert "the closure, which says that it is not to be trusted here, fails in 1 of 1" in said


@pytest.mark.parametrize(
    ("ratio", "ordinary", "found", "close"),
    [
        (0.2, 0.9, "5 times as far as they do, so there is no random clock", True),
        (2.0, 1.2, "0.5 times as far as they do (", False),
    ],
)
def test_spread_is_judged_by_its_direction(ratio, ordinary, found, close) -> None:
    start = _start(ratio, ordinary)
    said = findings({}, {"net": start})["net, from random starts"]
    assert found in said
    assert "fails too, by less" in said
    tail = sentence({}, {"net": start})
    assert ("stay too close together" in tail) == close


def test_ordinary_equation_that_fails_by_more_is_not_said_to_fail_by_less() -> None:
    said = findings({}, {"net": _start(0.8, 0.2)})["net, from random starts"]
    assert "fails too, by as much or more" in said

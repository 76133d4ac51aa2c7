"""An assumption holds, fails or is undecided as its interval lies."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fracsde.errors import InputError, OutOfRangeError
from fracsde.records.assumption import AssumptionTest, AssumptionVerdict


def make(effect: float = 0.0, half: float = 0.01, **more: Any) -> AssumptionTest:
    given_ = {
        "name": "quadratic loss",
        "question": "does the curvature change?",
        "effect": effect,
        "stderr": half / 3,
        "low": effect - half,
        "high": effect + half,
        "tolerance": 0.05,
        "meaning": "relative change",
        "consequence": "lower the learning rate",
    }
    return AssumptionTest(**{**given_, **more})


@pytest.mark.parametrize(
    ("effect", "half", "verdict"),
    [
        (0.0, 0.01, "HOLDS"),
        (-0.03, 0.01, "HOLDS"),
        (0.0, 0.06, "UNDECIDED"),
        (0.05, 0.01, "UNDECIDED"),
        (-0.10, 0.01, "FAILS"),
        (0.10, 0.01, "FAILS"),
        (0.10, 0.06, "UNDECIDED"),
    ],
)
def test_verdict_is_where_the_interval_lies(effect: float, half: float, verdict: str) -> None:
    assert make(effect, half).verdict.name == verdict


def test_edges_of_the_band_hold_and_do_not_fail() -> None:
    assert make(0.0, 0.05).verdict is AssumptionVerdict.HOLDS
    assert make(0.1, 0.0, low=0.05).verdict is AssumptionVerdict.UNDECIDED


@given(effect=st.floats(-1, 1), half=st.floats(0, 1))
def test_verdict_is_symmetric_in_the_sign_of_the_effect(effect: float, half: float) -> None:
    assert make(effect, half).verdict is make(-effect, half).verdict


@given(effect=st.floats(-1, 1), half=st.floats(0, 1), more=st.floats(0, 1))
def test_a_wider_interval_never_turns_undecided_into_an_answer(
    effect: float, half: float, more: float
) -> None:
    narrow, wide = make(effect, half).verdict, make(effect, half + more).verdict
    assert wide in {narrow, AssumptionVerdict.UNDECIDED}


def test_sentence_gives_advice_only_where_it_is_needed() -> None:
    assert "lower the learning rate" in make(0.2).sentence
    assert "lower the learning rate" not in make(0.0).sentence
    assert "record longer" in make(0.0, 0.2).sentence


def test_what_could_not_be_asked_is_undecided_and_says_why() -> None:
    missing = AssumptionTest.unasked(
        "constant noise", "no gradients were recorded", question="?", tolerance=0.05, level=1e-3
    )
    assert missing.verdict is AssumptionVerdict.UNDECIDED
    assert not missing.asked
    assert "no gradients" in missing.sentence


def test_dictionary_is_plain_json_even_where_numbers_are_not_finite() -> None:
    missing = AssumptionTest.unasked("x", "y", question="?", tolerance=0.05, level=1e-3)
    for one in (missing, make(0.1, entries={"v1": (0.1, 0.0, 0.2, 0.05)})):
        content = json.loads(json.dumps(one.to_dict(), allow_nan=False))
        assert content["verdict"] == one.verdict.name
    assert content["entries"] == {"v1": [0.1, 0.0, 0.2, 0.05]}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"name": ""}, InputError),
        ({"tolerance": 0.0}, OutOfRangeError),
        ({"tolerance": math.nan}, InputError),
        ({"level": 1.0}, OutOfRangeError),
        ({"stderr": -1.0}, OutOfRangeError),
        ({"stderr": math.nan}, OutOfRangeError),
        ({"low": 0.5}, OutOfRangeError),
        ({"effect": math.nan}, OutOfRangeError),
    ],
)
def test_refuses_what_is_no_test(change: dict[str, Any], error: type[InputError]) -> None:
    with pytest.raises(error):
        replace(make(), **change)

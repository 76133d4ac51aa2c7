"""Comparison: an equivalence question, at the band's edges, in power and in what it refuses."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from fracsde.compare import Report, Verdict, compare
from fracsde.errors import InputError, OutOfRangeError
from fracsde.records.measurement import Measurement, Prediction, Quantity
from tests.support import laws

if TYPE_CHECKING:
    from collections.abc import Callable

module = import_module("fracsde.compare")  # the façade holds the verb under this name

TOLERANCE = 0.05
VARIANCE = Quantity(name="stationary variance", unit="weight^2")
ROW_KEYS = [
    "quantity",
    "label",
    "unit",
    "theory",
    "predicted",
    "numerical_error",
    "measured",
    "stderr",
    "n_effective",
    "ratio",
    "ratio_interval",
    "verdict",
]


def predict(
    value: Any = 1.0, error: Any = 0.0, quantity: Quantity = VARIANCE, **more: Any
) -> Prediction:
    return Prediction(quantity=quantity, value=value, numerical_error=error, **more)


def measure(
    value: Any = 1.0, stderr: Any = 0.01, n: Any = 1000, quantity: Quantity = VARIANCE
) -> Measurement:
    return Measurement(quantity=quantity, value=value, stderr=stderr, n_effective=n)


def verdict(ratio: float, half_width: float, tolerance: float = TOLERANCE) -> Verdict:
    """The verdict on an interval of the given middle and half-width, all of it numerical error."""
    stderr = 1e-12 * half_width
    theory = predict(error=half_width * (1 - 1e-9))
    return compare(theory, measure(ratio, stderr, 1e6), tolerance=tolerance).verdict


# ---------------------------------------------------------------- the interval and the verdict


def test_exact_interval_is_students_widened_by_the_numerical_error() -> None:
    theory, run = predict(2.0, 0.03), measure(2.2, 0.05, 9.5)
    row = compare(theory, run, tolerance=TOLERANCE, level=0.02).rows[0]
    half = (stats.t.isf(0.01, 8.5) * 0.05 + 0.03) / 2.0
    np.testing.assert_allclose(
        [row.ratio, row.low, row.high], [1.1, 1.1 - half, 1.1 + half], rtol=1e-13
    )


@pytest.mark.parametrize("level", [0.1, 1e-3, 1e-9, 1e-17])
@pytest.mark.parametrize("n", [2.0, 3.7, 40.0, 1e6])
def test_exact_quantile_at_small_levels_and_few_degrees_of_freedom(level: float, n: float) -> None:
    row = compare(predict(), measure(1.0, 1.0, n), tolerance=0.5, level=level).rows[0]
    np.testing.assert_allclose(row.high - 1.0, stats.t.isf(level / 2, n - 1), rtol=1e-10)


@pytest.mark.parametrize(
    ("ratio", "half_width", "expected"),
    [
        (1.0, 0.0499999, Verdict.AGREES),
        (1.0, 0.0500001, Verdict.INCONCLUSIVE),
        (1.02, 0.0299999, Verdict.AGREES),
        (1.02, 0.0300001, Verdict.INCONCLUSIVE),
        (0.98, 0.0299999, Verdict.AGREES),
        (0.98, 0.0300001, Verdict.INCONCLUSIVE),
        (1.08, 0.0299999, Verdict.DISAGREES),
        (1.08, 0.0300001, Verdict.INCONCLUSIVE),
        (0.92, 0.0299999, Verdict.DISAGREES),
        (0.92, 0.0300001, Verdict.INCONCLUSIVE),
        (1.0500001, 1e-9, Verdict.DISAGREES),
        (1.0499999, 1e-9, Verdict.AGREES),
        (1.0, 100.0, Verdict.INCONCLUSIVE),
        (30.0, 100.0, Verdict.INCONCLUSIVE),
    ],
)
def test_exact_verdict_just_inside_and_just_outside_the_band(
    ratio: float, half_width: float, expected: Verdict
) -> None:
    assert verdict(ratio, half_width) is expected


def test_exact_edge_belongs_to_the_band() -> None:
    # Binary fractions, so that the interval [0.875, 1.125] touches the band without rounding.
    assert module._verdict(0.0625, 0.0625, 0.125) is Verdict.AGREES
    assert module._verdict(0.1875, 0.0625, 0.125) is Verdict.INCONCLUSIVE
    assert module._verdict(-0.1875, 0.0625, 0.125) is Verdict.INCONCLUSIVE
    assert module._verdict(-0.1875, 0.03125, 0.125) is Verdict.DISAGREES


positive = st.floats(1e-6, 10.0)


@given(
    value=st.floats(-3.0, 3.0),
    stderr=positive,
    error=st.floats(0.0, 1.0),
    n=st.floats(2.0, 1e5),
    factor=st.floats(1.0, 1e3),
    tolerance=st.floats(0.001, 0.999),
)
def test_keeps_a_wider_interval_from_deciding(
    value: float, stderr: float, error: float, n: float, factor: float, tolerance: float
) -> None:
    def ask(stderr: float, error: float, n: float) -> Verdict:
        return compare(predict(1.0, error), measure(value, stderr, n), tolerance=tolerance).verdict

    before = ask(stderr, error, n)
    fewer = max(2.0, n / factor)
    for after in (
        ask(stderr * factor, error, n),
        ask(stderr, error * factor, n),
        ask(stderr, error, fewer),
    ):
        assert after in {before, Verdict.INCONCLUSIVE}


@given(
    value=st.floats(-3.0, 3.0),
    stderr=positive,
    small=st.floats(0.001, 0.9),
    more=st.floats(0.0, 0.09),
)
def test_keeps_a_pass_when_the_tolerance_grows(
    value: float, stderr: float, small: float, more: float
) -> None:
    def ask(tolerance: float) -> Verdict:
        return compare(predict(), measure(value, stderr), tolerance=tolerance).verdict

    order = [Verdict.DISAGREES, Verdict.INCONCLUSIVE, Verdict.AGREES]
    assert order.index(ask(small)) <= order.index(ask(small + more))


@given(
    exponent=st.integers(-200, 200),
    sign=st.sampled_from([1.0, -1.0]),
    value=st.floats(0.5, 1.5),
    stderr=positive,
)
def test_keeps_its_verdict_under_a_change_of_unit_and_of_sign(
    exponent: int, sign: float, value: float, stderr: float
) -> None:
    def ask(unit: float) -> Verdict:
        run = measure(unit * value, abs(unit) * stderr, 50)
        return compare(predict(unit, 0.01 * abs(unit)), run, tolerance=TOLERANCE).verdict

    assert ask(sign * 2.0**exponent) is ask(1.0)


def test_scale_judges_a_prediction_near_zero() -> None:
    covariance = Quantity(name="covariance", labels=("12", "13"))
    theory = predict([0.0, 1e-9], [0.0, 0.0], covariance, scale=2.0)
    run = measure([0.01, 0.3], 0.001, 400, covariance)
    report = compare(theory, run, tolerance=TOLERANCE)
    assert [row.verdict for row in report.rows] == [Verdict.AGREES, Verdict.DISAGREES]
    np.testing.assert_allclose([row.ratio for row in report.rows], [1.005, 1.15], rtol=1e-9)


def test_exact_ratio_above_one_means_measured_above_predicted_for_negative_values() -> None:
    rows = [compare(predict(-2.0), measure(m), tolerance=0.5).rows[0] for m in (-2.2, -1.8)]
    np.testing.assert_allclose([row.ratio for row in rows], [0.9, 1.1])


# ---------------------------------------------------------------- too little data is never a pass


def little_data_never_passes(ask: Callable[..., Verdict]) -> bool:
    """Whether no comparison passes or fails whose interval is wider than the band."""
    wide = [
        (predict(), measure(1.0, 0.04, 1000)),  # the numbers agree to the last digit
        (predict(), measure(1.0, 0.01, 2)),  # the error rests on two observations
        (predict(error=0.06), measure(1.0, 0.001, 1000)),  # the theory was not computed well enough
        (predict(), measure(1.12, 0.04, 1000)),  # 12 % off, three standard errors
        (predict(error=0.2), measure(1.12, 0.001, 1000)),
    ]
    return all(ask(theory, run) is Verdict.INCONCLUSIVE for theory, run in wide)


def _ask(theory: Prediction, run: Measurement) -> Verdict:
    return compare(theory, run, tolerance=TOLERANCE).verdict


def test_too_little_data_is_never_a_pass() -> None:
    assert little_data_never_passes(_ask)


@pytest.mark.twin
def test_twin_that_ignores_the_numerical_error_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = module._half_width

    def damaged(prediction: Prediction, *rest: Any) -> Any:
        return sound(replace(prediction, numerical_error=0.0), *rest)

    monkeypatch.setattr(module, "_half_width", damaged)
    assert not little_data_never_passes(_ask)


@pytest.mark.twin
def test_twin_with_the_normal_quantile_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "stdtrit", lambda _, p: stats.norm.ppf(p))
    assert not little_data_never_passes(_ask)


@pytest.mark.twin
def test_twin_that_takes_insignificant_for_equal_is_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def damaged(deviation: float, half_width: float, _: float) -> Verdict:
        return Verdict.AGREES if abs(deviation) <= half_width else Verdict.DISAGREES

    monkeypatch.setattr(module, "_verdict", damaged)
    assert not little_data_never_passes(_ask)


# ---------------------------------------------------------------- power

REPEATS = 4000
STDERR = 0.01


def rates(bias: float, n: int, level: float, seed: int) -> np.ndarray:
    """Share of each verdict among repeated experiments of ``n`` observations each."""
    repeats = Quantity(name="mean", labels=tuple(str(i) for i in range(REPEATS)))
    noise = np.random.default_rng(seed).normal(size=(REPEATS, n))
    sample = 1.0 + bias + STDERR * np.sqrt(n) * noise
    run = Measurement(
        quantity=repeats,
        value=sample.mean(axis=1),
        stderr=sample.std(axis=1, ddof=1) / np.sqrt(n),
        n_effective=n,
    )
    theory = Prediction(quantity=repeats, value=1.0, numerical_error=0.0)
    report = compare(theory, run, tolerance=TOLERANCE, level=level)
    return np.array([sum(row.verdict is v for row in report.rows) for v in Verdict]) / REPEATS


def exact_rates(bias: float, n: int, level: float) -> np.ndarray:
    """The same by normal theory: the mean is normal, the sample variance independent chi-square."""
    chi = stats.chi(n - 1, scale=STDERR / np.sqrt(n - 1))
    quantile = stats.t.isf(level / 2, n - 1)

    def share(decide: Callable[[float], float]) -> float:
        ends = (chi.ppf(1e-13), chi.isf(1e-13))
        kink = [TOLERANCE / quantile] if ends[0] < TOLERANCE / quantile < ends[1] else None
        return float(integrate.quad(lambda s: chi.pdf(s) * decide(s), *ends, points=kink)[0])

    def agrees(stderr: float) -> float:
        room = max(TOLERANCE - quantile * stderr, 0.0)
        return float(np.diff(stats.norm.cdf([-room, room], bias, STDERR))[0])

    def disagrees(stderr: float) -> float:
        far = TOLERANCE + quantile * stderr
        return float(stats.norm.sf(far, bias, STDERR) + stats.norm.cdf(-far, bias, STDERR))

    yes, no = share(agrees), share(disagrees)
    return np.array([yes, no, 1.0 - yes - no])


POWER = [
    # true deviation, observations, level
    (0.0, 20, 1e-3),  # passes in 69 % of experiments
    (0.1, 20, 1e-3),  # fails in 84 %
    (0.1, 200, 1e-3),  # fails in 95 %
    (0.05, 4, 0.2),  # on the edge of the band: a tenth passes, a tenth fails
]


def power_is_as_stated(bias: float, n: int, level: float, seed: int) -> bool:
    """Sees a change of 5 percentage points in any share: 6.1 * sqrt(0.25 / 4000) = 0.048."""
    expected = exact_rates(bias, n, level)
    stderr = np.sqrt(np.maximum(expected * (1 - expected), 1.0 / REPEATS) / REPEATS)
    return laws.follows(rates(bias, n, level, seed), expected, stderr)


@pytest.mark.parametrize(("bias", "n", "level"), POWER)
def test_law_of_verdicts_is_that_of_normal_theory(
    bias: float, n: int, level: float, seed: int
) -> None:
    assert power_is_as_stated(bias, n, level, seed)


def test_exact_false_alarms_on_the_edge_are_half_the_level() -> None:
    yes, no, _ = exact_rates(TOLERANCE, 200, 1e-3)
    np.testing.assert_allclose([yes, no], 0.5e-3, rtol=1e-3)


@pytest.mark.twin
@pytest.mark.parametrize(("bias", "n", "level"), [POWER[0], POWER[3]])
def test_twin_with_the_normal_quantile_has_another_power(
    bias: float, n: int, level: float, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "stdtrit", lambda _, p: stats.norm.ppf(p))
    assert not power_is_as_stated(bias, n, level, seed)


@pytest.mark.twin
def test_twin_with_a_one_sided_level_has_another_power(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = module._half_width
    monkeypatch.setattr(module, "_half_width", lambda p, m, level: sound(p, m, 2 * level))
    assert not power_is_as_stated(*POWER[3], seed)


# ---------------------------------------------------------------- several rows, rivals, results

DIRECTIONS = Quantity(name="variance along", unit="weight^2", labels=("e1", "e2", "e3"))


def full_report(**more: Any) -> Report:
    theory = [predict([1.0, 2.0, 3.0], 0.0, DIRECTIONS, theory="map"), predict(theory="map")]
    run = [measure(), measure([1.0, 2.0, 3.0], 0.002, 900, DIRECTIONS)]
    rivals = {
        "flow": predict([1.2, 2.0, 3.0], 0.0, DIRECTIONS, theory="flow"),
        "twin": {"any key": predict(1.01)},
    }
    return compare(theory, run, tolerance=TOLERANCE, rivals=rivals, **more)


def test_rows_follow_the_measurements_and_carry_everything() -> None:
    report = full_report()
    names = [(row.quantity, row.label) for row in report.rows]
    assert names == [
        ("stationary variance", ""),
        *(("variance along", e) for e in DIRECTIONS.labels),
    ]
    row = report.rows[2]
    assert (row.predicted, row.measured, row.stderr, row.n_effective) == (2.0, 2.0, 0.002, 900.0)
    assert (row.unit, row.theory, row.verdict) == ("weight^2", "map", Verdict.AGREES)


def test_whole_agrees_only_if_every_row_does_and_disagrees_if_one_does() -> None:
    q = DIRECTIONS

    def ask(values: list[float], stderr: list[float]) -> Verdict:
        run = measure(values, stderr, 1000, q)
        return compare(predict([1.0, 1.0, 1.0], 0.0, q), run, tolerance=TOLERANCE).verdict

    fine, vague = 0.001, 0.1
    assert ask([1, 1, 1], [fine, fine, fine]) is Verdict.AGREES
    assert ask([1, 1, 1], [fine, fine, vague]) is Verdict.INCONCLUSIVE
    assert ask([1, 2, 1], [fine, fine, vague]) is Verdict.DISAGREES


def test_rival_is_excluded_by_one_row() -> None:
    report = full_report()
    flow, twin = report.excluded("flow"), report.excluded("twin")
    assert flow
    assert (flow.disagreeing, flow.rows) == (1, 3)
    assert not twin
    assert flow.sentence == "Rival 'flow' is excluded: 1 of 3 rows disagrees."
    assert twin.sentence == "Rival 'twin' is not excluded: none of 1 row disagrees."
    assert "exclude 'flow'; the data do not exclude 'twin'" in report.sentence


@pytest.mark.parametrize(
    ("value", "stderr", "words"),
    [
        (1.0, 0.001, "The only row agrees with 'map' to within 5 %."),
        (1.2, 0.001, "1 of 1 row disagrees with 'map' by more than 5 % (0 within, 0 undecided)."),
        (1.0, 0.1, "No row disagrees with 'map', but 1 of 1 row cannot be decided to within 5 %"),
    ],
)
def test_sentence_says_the_result(value: float, stderr: float, words: str) -> None:
    report = compare(predict(theory="map"), measure(value, stderr), tolerance=TOLERANCE)
    assert report.sentence.startswith(words)
    assert report.verdict.sentence


def test_summary_has_range_and_counts_per_quantity() -> None:
    run = measure([1.0, 2.4, 3.03], [0.001, 0.001, 0.1], 1000, DIRECTIONS)
    report = compare(predict([1.0, 2.0, 3.0], 0.0, DIRECTIONS), run, tolerance=TOLERANCE)
    (summary,) = report.summary_by_quantity().values()
    assert (summary.rows, summary.agrees, summary.disagrees, summary.inconclusive) == (3, 1, 1, 1)
    assert (summary.lowest, summary.highest) == pytest.approx((1.0, 1.2))
    assert summary.verdict is Verdict.DISAGREES


def test_expected_false_alarms_are_stated() -> None:
    assert full_report(level=0.01).expected_false_alarms == pytest.approx(0.04)


def test_routes_agree_json_and_dictionary() -> None:
    report = replace(
        full_report(), settings={"rate": np.float64(0.1), "sizes": np.arange(2), "t": np.nan}
    )
    content = json.loads(report.to_json(), parse_constant=pytest.fail)
    assert content == report.to_dict()
    assert [list(row) for row in content["rows"]] == [ROW_KEYS] * 4
    wanted = {"rivals", "settings", "provenance", "verdict", "sentence", "tolerance", "level"}
    assert wanted <= set(content)
    assert content["settings"] == {"rate": 0.1, "sizes": [0, 1], "t": "nan"}
    assert content["rivals"]["flow"]["excluded"] is True
    first = content["rows"][0]
    assert first["ratio_interval"] == [report.rows[0].low, report.rows[0].high]


def test_provenance_hashes_what_was_compared() -> None:
    hashes = {
        compare(predict(p), measure(m), tolerance=t, level=level).provenance.input_hash
        for p, m, t, level in [
            (1, 1, 0.1, 0.1),
            (2, 1, 0.1, 0.1),
            (1, 2, 0.1, 0.1),
            (1, 1, 0.2, 0.1),
            (1, 1, 0.1, 0.2),
        ]
    }
    assert len(hashes) == 5
    again = compare(predict(1), measure(1), tolerance=0.1, level=0.1).provenance.input_hash
    assert again in hashes


def test_report_can_be_copied_pickled_and_compared() -> None:
    report = full_report()
    assert pickle.loads(pickle.dumps(report)) == copy.deepcopy(report) == report


def test_keeps_its_arguments_and_takes_iterators() -> None:
    theory, run, rivals = [predict()], [measure()], {"r": [predict(2.0)]}
    before = [*theory, *run, *rivals["r"]]
    report = compare(iter(theory), iter(run), tolerance=0.1, rivals=rivals)
    assert [*theory, *run, *rivals["r"]] == before
    assert list(rivals) == ["r"]
    assert report.rivals["r"][0].verdict is Verdict.DISAGREES


# ---------------------------------------------------------------- what it refuses

OTHER = Quantity(name="other")


@pytest.mark.parametrize(
    ("theory", "run", "words"),
    [
        ([predict()], [measure(), measure(quantity=OTHER)], "measured but not predicted: 'other'"),
        ([predict(), predict(quantity=OTHER)], [measure()], "predicted but not measured: 'other'"),
        (predict(quantity=OTHER), measure(), "not predicted: 'stationary.*not measured: 'other'"),
        ([predict(), predict()], measure(), "`theory` holds 'stationary variance' twice"),
        (predict(), [measure(), measure()], "`measured` holds 'stationary variance' twice"),
        ([], measure(), "`theory` is empty; pass at least one Prediction"),
        (measure(), measure(), "`theory` must hold Predictions, got Measurement"),
        (predict(), 1.0, "`measured` must hold Measurements, got float"),
        (
            predict(quantity=replace(VARIANCE, unit="1")),
            measure(),
            r"one unit on both sides, got '1' in `theory` and 'weight\^2' in `measured`",
        ),
        (
            predict(quantity=replace(VARIANCE, labels=("a", "b"))),
            measure(quantity=replace(VARIANCE, labels=("b", "a"))),
            r"same labels .* got \('a', 'b'\) in `theory` and \('b', 'a'\) in `measured`",
        ),
    ],
)
def test_refuses_quantities_that_do_not_match(theory: Any, run: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        compare(theory, run, tolerance=TOLERANCE)


@pytest.mark.parametrize(
    ("rivals", "words"),
    [
        ([predict()], "`rivals` must map the name of each rival"),
        ({"": predict()}, "`rivals` must have non-empty names"),
        ({"flow": []}, r"`rivals\['flow'\]` is empty"),
        (
            {"flow": predict(quantity=OTHER)},
            r"`rivals\['flow'\]` predicts what was not measured: 'other'",
        ),
        ({"flow": predict(quantity=replace(VARIANCE, unit="1"))}, r"got '1' in `rivals\['flow'\]`"),
    ],
)
def test_refuses_rivals_that_do_not_match(rivals: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        compare(predict(), measure(), tolerance=TOLERANCE, rivals=rivals)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 5.0])
@pytest.mark.parametrize("name", ["tolerance", "level"])
def test_refuses_tolerance_and_level_outside_the_unit_interval(name: str, value: float) -> None:
    with pytest.raises(OutOfRangeError, match=rf"`{name}` must lie in \(0, 1\)"):
        compare(predict(), measure(), **{"tolerance": 0.1, name: value})


def test_refuses_to_choose_a_tolerance() -> None:
    with pytest.raises(TypeError, match="tolerance"):
        compare(predict(), measure())  # type: ignore[call-arg]


def test_refuses_a_ratio_beyond_float64() -> None:
    with pytest.raises(OutOfRangeError, match="pass a `scale` that fits"):
        compare(predict(1e-300), measure(1e300), tolerance=0.1)


def test_refuses_an_unknown_rival() -> None:
    with pytest.raises(
        InputError, match="no rival 'none'; the rivals of this report: 'flow', 'twin'"
    ):
        full_report().excluded("none")


def test_refuses_settings_that_are_not_plain() -> None:
    with pytest.raises(InputError, match=r"`settings\['f'\]` must be text, a number"):
        replace(full_report(), settings={"f": object()})

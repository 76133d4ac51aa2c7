"""Batches that are independent, batches of shuffled epochs, and steps that are not as stated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from fracsde.errors import InputError, OutOfRangeError, RecordError, ShapeError
from fracsde.estimators.assumptions import (
    gradients_from_weights,
    independent_batches,
    stated_steps,
)
from tests.support.laws import BUDGET, LOOKS, seed_of
from tests.support.recorded_sgd import recorded_sgd

HESSIAN = np.diag([1.0, 0.3])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("known", [None, HESSIAN])
def test_independent_batches_hold(momentum: float, known: np.ndarray | None) -> None:
    w, g = recorded_sgd(seed_of(f"independent {momentum}"), momentum=momentum, steps=12_000)
    assert independent_batches(w, g, epoch=20, hessian=known).verdict.name == "HOLDS"


@pytest.mark.parametrize(("epoch", "rate"), [(10, 0.3), (40, 0.05), (40, 0.3)])
def test_twin_of_shuffled_epochs_fails_and_with_a_hessian_by_exactly_minus_one(
    epoch: int, rate: float
) -> None:
    w, g = recorded_sgd(seed_of(f"shuffled {epoch}"), epoch=epoch, learning_rate=rate, steps=2000)
    known = independent_batches(w, g, epoch=epoch, hessian=HESSIAN)
    assert known.verdict.name == "FAILS"
    assert known.effect == pytest.approx(-1.0, abs=1e-4)
    blind = independent_batches(w, g, epoch=epoch)
    assert blind.verdict.name == "FAILS"
    assert -1.0 < blind.effect < -0.4
    # The lag-one correlation is -1 / (M - 1) inside an epoch; of the pairs of steps 2 and 3, 4 and
    # 5, ... one in M / 2 lies across its end.
    row = known.entries["excess variance of the noise summed over 2 steps"]
    assert row[1] < -(1.0 - 2.0 / epoch) / (epoch - 1) < row[2]


def test_windows_start_where_epochs_do_whatever_the_first_recorded_step() -> None:
    w, g = recorded_sgd(seed_of("phase"), epoch=20, steps=1000)
    test = independent_batches(w.between(8), g.between(8), epoch=20, hessian=HESSIAN)
    assert test.effect == pytest.approx(-1.0, abs=1e-3)
    # Twin: windows out of step with the epochs do not sum to zero.
    late = [replace(r, times=r.times + 10.0) for r in (w, g)]
    assert independent_batches(*late, epoch=20, hessian=HESSIAN).effect > -0.8


def test_short_record_is_undecided() -> None:
    w, g = recorded_sgd(seed_of("short"), steps=100)
    assert independent_batches(w, g, epoch=20).verdict.name == "UNDECIDED"


def test_declaration_of_shuffling_fails_and_says_that_nothing_was_measured() -> None:
    test = independent_batches(sampling="shuffled")
    assert test.verdict.name == "FAILS"
    assert "declaration" in test.sentence
    assert "not measured" in test.method


@pytest.mark.parametrize("epoch", [16, None])
def test_coverage_is_at_least_nominal(epoch: int | None) -> None:
    hits, trials = 0, 50
    for k in range(trials):
        w, g = recorded_sgd(seed_of(f"coverage {epoch} {k}"), chains=20, steps=400)
        test = independent_batches(w, g, epoch=epoch, level=0.05)
        hits += all(low <= 0.0 <= high for _, low, high, _ in test.entries.values())
    assert stats.binom(trials, 0.95).cdf(hits) > BUDGET / LOOKS


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_routes_agree_gradients_are_rebuilt_from_weights(momentum: float) -> None:
    w, g = recorded_sgd(seed_of("rebuilt"), momentum=momentum, steps=300)
    again = gradients_from_weights(w, learning_rate=0.3, momentum=momentum)
    np.testing.assert_allclose(again.values, g.values[:, 2:], atol=1e-12)
    np.testing.assert_array_equal(again.times, g.times[2:])


def test_gradients_are_rebuilt_with_dampening_and_weight_decay() -> None:
    rng = np.random.default_rng(seed_of("decay"))
    w, v, record, used = np.ones(3), np.zeros(3), [], []
    for _ in range(50):
        g = rng.standard_normal(3)
        v = 0.8 * v + (1 - 0.3) * (g + 0.1 * w)
        w = w - 0.05 * v
        record.append(w)
        used.append(g)
    again = gradients_from_weights(
        np.array(record), learning_rate=0.05, momentum=0.8, dampening=0.3, weight_decay=0.1
    )
    np.testing.assert_allclose(again.values[0], used[2:], atol=1e-11)


# ---------------------------------------------------------------- the step rule


def test_step_rule_holds_to_rounding_where_it_is_as_stated() -> None:
    w, g = recorded_sgd(seed_of("rule"), momentum=0.9, steps=500)
    test = stated_steps(w, g, learning_rate=0.3, momentum=0.9)
    assert test.verdict.name == "HOLDS"
    assert abs(test.effect) < 1e-12


@pytest.mark.parametrize(
    ("stated", "words", "effect"),
    [
        ({"learning_rate": 0.27, "momentum": 0.9}, "learning rate", 0.3 / 0.27 - 1),
        ({"learning_rate": 0.3, "momentum": 0.88}, "momentum", 0.02),
    ],
)
def test_twin_of_another_rule_fails_by_the_error_of_what_is_stated(
    stated: dict[str, float], words: str, effect: float
) -> None:
    w, g = recorded_sgd(seed_of("rule"), momentum=0.9, steps=500)
    test = stated_steps(w, g, **stated)
    assert test.verdict.name == "FAILS"
    assert words in test.meaning
    assert test.effect == pytest.approx(effect, abs=1e-10)


def test_twin_of_clipped_gradients_fails() -> None:
    w, g = recorded_sgd(seed_of("clip"), steps=500)
    clipped = replace(g, values=np.clip(g.values, -1.0, 1.0))
    assert stated_steps(w, clipped, learning_rate=0.3).verdict.name == "FAILS"


# ---------------------------------------------------------------- refusals


def test_refuses_what_cannot_be_asked() -> None:
    w, g = recorded_sgd(seed_of("refuses"), steps=60)
    with pytest.raises(RecordError, match="record both"):
        independent_batches(w)
    with pytest.raises(RecordError, match="four epochs"):
        independent_batches(w, g, epoch=40)
    with pytest.raises(OutOfRangeError, match="epoch"):
        independent_batches(w, g, epoch=1)
    with pytest.raises(InputError, match="sampling"):
        independent_batches(w, g, sampling="random")
    with pytest.raises(ShapeError, match="hessian"):
        independent_batches(w, g, hessian=np.eye(3))
    with pytest.raises(RecordError, match="never moved"):
        stated_steps(replace(w, values=0 * w.values), g, learning_rate=0.3)
    with pytest.raises(RecordError, match="every step"):
        gradients_from_weights(w.values[:, :2], learning_rate=0.3)
    doubled = [replace(r, values=np.repeat(r.values, 2, axis=2)) for r in (w, g)]
    with pytest.raises(RecordError, match="depend linearly"):
        independent_batches(*doubled, epoch=5)

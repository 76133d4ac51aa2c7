"""Whether noise falls as one over the batch: on batches whose noise is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fracsde.errors import InputError, OutOfRangeError, RecordError, ShapeError
from fracsde.estimators.assumptions import batch_gradients, examine, noise_by_batch_size
from tests.support.laws import seed_of
from tests.support.recorded_sgd import recorded_sgd

EXAMPLES = np.random.default_rng(5).standard_normal((200, 2)) @ np.array([[1.0, 0.5], [0.0, 0.8]])
C = np.cov(EXAMPLES.T, bias=True)


def mean(rows):
    return EXAMPLES[rows].mean(axis=0)


@pytest.mark.parametrize("sampling", ["with_replacement", "shuffled"])
def test_the_law_of_the_mean_of_a_batch_holds(sampling):
    draws = {"sampling": sampling, "rng": seed_of(f"law {sampling}")}
    found = batch_gradients(mean, 200, [2, 32], repetitions=8000, **draws)
    law = {"sampling": sampling, "dataset_size": 200, "tolerance": 0.15}
    assert noise_by_batch_size(found, noise=C, **law).verdict.name == "HOLDS"
    assert noise_by_batch_size(found, **law).verdict.name == "HOLDS"


def normalised(rows):
    # As batch normalisation does: each example divided by what the batch has in common.
    x = EXAMPLES[rows]
    return (x / np.sqrt(np.square(x).mean(axis=0))).mean(axis=0)


def clustered(rows):
    # Examples come in pairs of neighbours that are alike.
    return EXAMPLES[rows[: len(rows) // 2]].mean(axis=0)


def summed(rows):
    return EXAMPLES[rows].sum(axis=0)


@pytest.mark.twin
@pytest.mark.parametrize(
    ("gradient", "effect"), [(normalised, None), (clustered, 1.0), (summed, 16.0**2 - 1.0)]
)
def test_coupled_alike_or_summed_examples_fail(gradient, effect):
    found = batch_gradients(gradient, 200, [2, 32], repetitions=4000, rng=seed_of("coupled"))
    against = {"noise": C} if gradient is clustered else {}
    test = noise_by_batch_size(found, **against)
    assert test.verdict.name == "FAILS"
    if effect is not None:
        assert test.effect == pytest.approx(effect, rel=0.15)


@pytest.mark.twin
def test_batches_without_replacement_taken_for_independent_ones_fail_by_the_missing_factor():
    found = batch_gradients(
        mean, 200, [2, 100], repetitions=8000, sampling="without_replacement", rng=1
    )
    test = noise_by_batch_size(found)
    assert test.verdict.name == "FAILS"
    assert test.effect == pytest.approx(100 / 198 - 1.0, abs=0.05)


def test_intervals_miss_as_often_as_stated():
    rng = np.random.default_rng(seed_of("intervals of batch noise"))
    misses, runs = 0, 400
    for _ in range(runs):
        found = {B: rng.standard_normal((60, 1)) / np.sqrt(B) for B in (2, 8)}
        test = noise_by_batch_size(found, level=0.05)
        misses += not test.low <= 0.0 <= test.high
    assert 4 <= misses <= 44  # 20 expected, standard deviation 4.4


def test_a_run_is_compared_with_the_noise_of_one_example():
    # Noise of variance one in the step: of batches of 8 where an example has 8.
    weights, gradients = recorded_sgd(seed_of("run of batches"), chains=32, steps=3000)
    known = {"weights": {8: weights}, "noise": 8.0 * np.eye(2)}
    test = noise_by_batch_size({8: gradients}, **known)
    assert test.verdict.name == "HOLDS"
    off = noise_by_batch_size({8: gradients}, **known | {"noise": 9.0 * np.eye(2)})
    assert off.verdict.name == "FAILS"
    assert off.effect == pytest.approx(8 / 9 - 1.0, abs=0.02)
    # Without regression on position the motion of the weights would be taken for noise.
    still = gradients.values.reshape(-1, 2)[::7]
    assert noise_by_batch_size({8: still}, noise=8.0 * np.eye(2)).verdict.name == "FAILS"


def test_examine_asks_where_gradients_and_their_noise_are_known():
    weights, gradients = recorded_sgd(seed_of("asked of batches"), chains=16, steps=3000)
    said = {"batch_size": 4, "sampling": "with_replacement", "learning_rate": 0.3}
    asked = {"gradients": gradients, "noise": 4.0 * np.eye(2)}

    def verdict(part=slice(None), **more):
        few = {
            "gradients": replace(
                gradients, values=gradients.values[:, part], times=gradients.times[part]
            )
        }
        run = replace(weights, values=weights.values[:, part], times=weights.times[part])
        found = {t.name: t for t in examine(run, **{"training": said} | asked | few | more)}
        return found.get("noise proportional to 1/B")

    short = slice(0, 40)
    assert verdict().verdict.name == "HOLDS"
    assert verdict(slice(0, 400), training=said | {"batch_size": 8}).verdict.name == "FAILS"
    assert "not known" in verdict(short, training={}).reason
    assert "not recorded" in verdict(short, whole=False).reason
    assert verdict(short, noise=None) is None
    assert verdict(short, gradients=None) is None
    assert verdict(short, rebuilt=True) is None


ONE = np.random.default_rng(0).standard_normal((50, 2))


@pytest.mark.parametrize(
    ("gradients", "options", "error", "words"),
    [
        ({}, {}, InputError, "map batch sizes"),
        (None, {}, InputError, "to arrays, got NoneType"),
        (ONE, {}, InputError, "map batch sizes"),
        ({8: ONE}, {}, InputError, "two sizes"),
        ({0: ONE, 2: ONE}, {}, OutOfRangeError, "gradients"),
        ({2.5: ONE, 2: ONE}, {}, InputError, "batch sizes"),
        ({1: ONE, 2: ONE[:, :1]}, {}, ShapeError, "same coordinates"),
        ({1: ONE, 2: ONE[:3]}, {}, RecordError, "at least 4"),
        ({1: ONE, 2: np.nan * ONE}, {}, InputError, "finite"),
        ({1: ONE, 2: ONE[None]}, {}, ShapeError, "`weights` beside them"),
        ({1: ONE, 2: ONE}, {"weights": {1: ONE}}, InputError, "same batch sizes"),
        ({1: ONE, 2: ONE}, {"sampling": "shuffled"}, InputError, "`dataset_size` must be given"),
        (
            {1: ONE, 9: ONE},
            {"sampling": "shuffled", "dataset_size": 9},
            OutOfRangeError,
            "has no noise",
        ),
        ({1: ONE, 2: ONE}, {"sampling": "sorted"}, InputError, "sampling"),
        ({1: ONE, 2: ONE}, {"noise": np.eye(3)}, ShapeError, "noise"),
        ({1: ONE, 2: ONE}, {"noise": np.zeros((2, 2))}, RecordError, "no gradient noise"),
        ({1: ONE, 2: ONE}, {"tolerance": 0.0}, InputError, "tolerance"),
        ({1: ONE, 2: np.ones((50, 2))}, {}, RecordError, "const|vary"),
    ],
)
def test_refuses_what_cannot_be_compared(gradients, options, error, words):
    with pytest.raises(error, match=words):
        noise_by_batch_size(gradients, **options)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"sizes": []}, InputError, "at least one"),
        ({"sizes": [4, 4]}, InputError, "different"),
        ({"sizes": [300], "sampling": "shuffled"}, OutOfRangeError, "from 200 rows"),
        ({"repetitions": 1}, InputError, "repetitions"),
        ({"gradient": lambda rows: np.nan * rows}, InputError, "finite"),
    ],
)
def test_refuses_to_draw_what_is_no_batch(options, error, words):
    asked = {"gradient": mean, "examples": 200, "sizes": [2, 4], "repetitions": 10} | options
    with pytest.raises(error, match=words):
        batch_gradients(**asked)


def test_progress_counts_batches_to_the_end():
    seen = []
    batch_gradients(mean, 200, [2, 4], repetitions=5, progress=lambda *at: seen.append(at))
    assert seen[0] == (1, 10)
    assert seen[-1] == (10, 10)

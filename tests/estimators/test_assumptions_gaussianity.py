"""Gaussianity: exact constants, intervals that cover, laws told apart, heavy tails included."""

from __future__ import annotations

from collections import Counter
from math import pi, sqrt
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtr

from fracsde.errors import RecordError
from fracsde.estimators.assumptions import gaussianity
from fracsde.estimators.assumptions.gaussianity import _GAUSS_L, _PER_KURTOSIS, l_kurtosis
from tests.support.laws import BUDGET, LOOKS, follows, seed_of
from tests.support.recorded_sgd import correlated

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

Law: TypeAlias = "Callable[[np.random.Generator, tuple[int, ...]], FloatArray]"


def test_exact_constants_of_l_kurtosis_are_the_integrals() -> None:
    z = np.linspace(-12, 12, 100_001)
    weight = stats.norm.pdf(z) * (z[1] - z[0])
    u = 2 * ndtr(z) - 1
    second, fourth = u, 0.5 * u * (5 * u * u - 3)
    bent = (z**3 - 3 * z) / 24
    a, b = (weight * z * second).sum(), (weight * z * fourth).sum()
    assert a == pytest.approx(1 / sqrt(pi), rel=1e-13)
    assert b / a == pytest.approx(_GAUSS_L, rel=1e-12)
    change = ((weight * bent * fourth).sum() - _GAUSS_L * (weight * bent * second).sum()) / a
    assert change == pytest.approx(_PER_KURTOSIS, rel=1e-12)


def test_exact_l_kurtosis_of_uniform_laplace_and_logistic_laws() -> None:
    u = (np.arange(400_000) + 0.5) / 400_000
    laplace = np.where(u < 0.5, np.log(2 * u), -np.log(2 - 2 * u))
    for quantiles, known in (
        (u, 0.0),
        (np.log(u / (1 - u)), 1 / 6),
        (laplace, 17 / 72),
    ):
        assert l_kurtosis(quantiles)[0] == pytest.approx(known, abs=2e-5)


def test_influence_of_l_kurtosis_is_its_change_when_a_draw_is_weighted_more() -> None:
    x = np.random.default_rng(seed_of("influence")).standard_normal(4001)
    value, influence = l_kurtosis(x)
    for k in (0, 17, int(np.argmax(x))):
        # Double the weight of one draw: the definition of the influence, times 1 / N.
        heavier, _ = l_kurtosis(np.concatenate([np.repeat(x, 40), np.repeat(x[k], 40)]))
        assert (heavier - value) * len(x) == pytest.approx(influence[k], rel=0.02, abs=0.02)


def _gamma(shape: float) -> Law:
    return lambda rng, size: rng.gamma(shape, size=size)


@pytest.mark.parametrize(
    ("law", "verdict"),
    [
        (lambda rng, size: rng.standard_normal(size), "HOLDS"),
        (lambda rng, size: rng.laplace(size=size), "FAILS"),
        (lambda rng, size: rng.standard_t(3, size=size), "FAILS"),
        (lambda rng, size: rng.standard_cauchy(size=size), "FAILS"),
        (lambda rng, size: rng.random(size), "FAILS"),
        (_gamma(50.0), "FAILS"),
        # Excess kurtosis 6 / 30: on the edge, which no data decide.
        (lambda rng, size: rng.standard_t(34, size=size), "UNDECIDED"),
    ],
    ids=["normal", "laplace", "student 3", "cauchy", "uniform", "skewed", "edge"],
)
def test_law_is_told_from_a_gaussian_one(law: Law, verdict: str) -> None:
    rng = np.random.default_rng(seed_of(f"gaussianity {verdict}"))
    assert gaussianity(law(rng, (32, 3000, 1))).verdict.name == verdict


def test_law_that_is_gaussian_along_the_axes_alone_fails_as_a_whole() -> None:
    # Signs that agree: each coordinate is Gaussian, their joint law is not.
    rng = np.random.default_rng(seed_of("joint"))
    z = rng.standard_normal((32, 4000, 2))
    z[..., 1] = np.abs(z[..., 1]) * np.sign(z[..., 0])
    test = gaussianity(z)
    assert test.verdict.name == "FAILS"
    assert "as a whole" in test.meaning


def test_law_values_follow_the_cumulants() -> None:
    rng = np.random.default_rng(seed_of("cumulants"))
    shape = 12.0
    test = gaussianity(rng.gamma(shape, size=(64, 3000, 1)))
    found = {key.split(" of")[0]: row[0] for key, row in test.entries.items() if "L-" not in key}
    assert follows(found["skewness"], 2 / sqrt(shape), 0.02)
    assert follows(found["excess kurtosis"], 6 / shape, 0.06)


@pytest.mark.parametrize(
    ("chains", "draws", "memory"), [(32, 100, 0.0), (24, 60, 0.7), (2, 2000, 0.7)]
)
def test_coverage_of_the_family_of_intervals_is_at_least_nominal(
    chains: int, draws: int, memory: float
) -> None:
    rng = np.random.default_rng(seed_of(f"coverage {chains}"))
    hits, trials = 0, 100
    for _ in range(trials):
        test = gaussianity(correlated(rng, chains, draws, 1, memory), level=0.05)
        hits += all(low <= 0.0 <= high for _, low, high, _ in test.entries.values())
    assert stats.binom(trials, 0.95).cdf(hits) > BUDGET / LOOKS


@pytest.mark.parametrize(
    ("chains", "draws", "memory"), [(16, 4, 0.0), (16, 20, 0.9), (1, 400, 0.5)]
)
def test_short_gaussian_records_do_not_fail(chains: int, draws: int, memory: float) -> None:
    rng = np.random.default_rng(seed_of(f"short {chains} {draws}"))
    seen = Counter(
        gaussianity(correlated(rng, chains, draws, 1, memory)).verdict.name for _ in range(300)
    )
    # 300 records at level 1e-3; a run of six is a false alarm of the test itself at 1e-6.
    assert seen["FAILS"] <= 5
    assert seen["HOLDS"] == 0


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (np.ones((32, 30, 2)), "does not vary"),
        (np.random.default_rng(1).standard_normal((32, 30, 1)) * np.ones(2), "linear combinations"),
        (np.random.default_rng(1).standard_normal((2, 30, 1)), "record longer"),
    ],
)
def test_refuses_records_that_have_no_law_to_test(values: FloatArray, match: str) -> None:
    with pytest.raises(RecordError, match=match):
        gaussianity(values)


def test_answer_does_not_depend_on_units_or_place() -> None:
    x = np.random.default_rng(seed_of("units")).gamma(3.0, size=(32, 300, 2))
    one, other = gaussianity(x), gaussianity(1e-6 * x + 7.0)
    assert other.effect == pytest.approx(one.effect, rel=1e-6)
    assert other.high == pytest.approx(one.high, rel=1e-6)

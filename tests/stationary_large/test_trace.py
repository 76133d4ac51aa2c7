"""Traces, against dense solvers: two-sided bounds, and intervals that cover as often as stated."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import stats

from fracsde.errors import ComputationError, InputError, OutOfRangeError, UnstableError
from fracsde.problems.matrix_free import MatrixFreeOU, MatrixFreeSGD
from fracsde.problems.products import LowRankPlusDiagonal
from fracsde.problems.structured import DiagonalOU, LowRankOU
from fracsde.stationary_large import StationaryTrace, stationary_trace
from fracsde.stationary_large._skewed import mean_interval
from fracsde.status import Status
from tests.support.large import LAWS, curvature, exact, problem
from tests.support.laws import covers, seed_of

WEIGHTS = ("identity", "curvature", "hessian")


def expected(process, weight: str) -> float:
    S, K = exact(process), curvature(process)
    if weight == "hessian" and isinstance(process, MatrixFreeSGD):
        K = K - process.weight_decay * np.eye(len(K))
    return float(np.trace(S if weight == "identity" else K @ S))


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("law", LAWS)
def test_trace_equals_the_dense_one_within_its_bound(law: str, weight: str) -> None:
    process = problem(law, weight_decay=0.005)
    found = stationary_trace(process, weight, rtol=1e-9)
    assert found.status is Status.SUCCESS
    assert found.certain
    assert (found.probes, found.standard_error) == (0, 0.0)
    error = abs(found.value - expected(process, weight))
    assert error <= found.error_bound + 1e-13 * found.value  # of the dense solver
    assert found.error_bound <= 1e-9 * found.value


@pytest.mark.twin
@pytest.mark.parametrize("weight", WEIGHTS)
def test_trace_of_the_map_is_not_that_of_the_flow(weight: str) -> None:
    process = problem("map")
    found = stationary_trace(process.flow(), weight, rtol=1e-9)
    assert abs(found.value - expected(process, "identity")) > 100 * found.error_bound


@pytest.mark.parametrize("most", [1, 4, 10, 20])
@pytest.mark.parametrize("law", LAWS)
def test_bounds_hold_where_products_ran_out(law: str, most: int) -> None:
    process = problem(law, condition=1000.0, weight_decay=0.005)
    for weight in WEIGHTS:
        found = stationary_trace(process, weight, rtol=1e-13, max_products=most, throw=False)
        value = expected(process, weight)
        low, high = found.interval
        assert low * (1 - 1e-12) <= value <= high * (1 + 1e-12)


def test_loss_of_a_flow_is_half_the_trace_of_the_noise_and_costs_nothing() -> None:
    process = problem("flow")
    found = stationary_trace(process, "curvature")
    assert found.value == pytest.approx(0.5 * process.noise.trace(), rel=1e-14)
    assert found.products == 32  # of the check for negative curvature


@pytest.mark.parametrize("law", LAWS)
def test_without_a_known_floor_the_bound_is_an_estimate(law: str) -> None:
    process = problem(law, bounded=False)
    if isinstance(process, MatrixFreeOU):
        process = replace(process, drift_bounds=None)
    found = stationary_trace(process)
    assert not found.certain
    assert abs(found.value - expected(process, "identity")) <= found.error_bound
    assert stationary_trace(process, "curvature").certain


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("law", LAWS)
def test_closed_form_equals_the_dense_trace(law: str, weight: str) -> None:
    rng = np.random.default_rng(3)
    process = problem(
        law,
        hessian=LowRankPlusDiagonal(factor=rng.normal(size=(80, 3)) / 20.0, diagonal=0.2),
        gradient_noise=LowRankPlusDiagonal(factor=rng.normal(size=(80, 2)), diagonal=0.5),
        hessian_bounds=None,
        weight_decay=0.1,
    )
    found = stationary_trace(process, weight)
    assert found.method == "closed_form"
    assert abs(found.value - expected(process, weight)) <= found.error_bound
    assert found.error_bound < 1e-10 * found.value


@cache
def estimates(noise: str) -> tuple[float, list[StationaryTrace]]:
    """The exact value, and sixty estimates from seeds of their own."""
    process = problem("heavy ball", noise, d=40, condition=5.0)
    seeds = [seed_of(f"coverage {noise} {trial}") for trial in range(60)]
    found = [
        stationary_trace(process, samples=24, confidence=0.9, rng=seed, rtol=1e-2) for seed in seeds
    ]
    return expected(process, "identity"), found


@pytest.mark.parametrize("noise", ["factor and diagonal", "products"])
def test_interval_covers_as_often_as_it_says(noise: str) -> None:
    value, found = estimates(noise)
    # Numerical errors widen the interval; less than a standard error here.
    hits = sum(
        one.interval[0] + one.error_bound <= value <= one.interval[1] - one.error_bound
        for one in found
    )
    assert covers(hits, 60, 0.9)
    assert all(one.interval[0] < one.value < one.interval[1] for one in found)


@pytest.mark.twin
@pytest.mark.parametrize("noise", ["factor and diagonal", "products"])
def test_interval_of_a_sixth_of_the_width_does_not_cover(noise: str) -> None:
    value, found = estimates(noise)
    hits = sum(abs(one.value - value) <= 0.3 * one.standard_error for one in found)
    assert not covers(hits, 60, 0.9)


def skewed_hits(interval) -> int:
    """How many of 4000 intervals of 99 % hold the mean 1 of 64 squares of one normal number."""
    squares = np.random.default_rng(seed_of("skewed")).normal(size=(4000, 64)) ** 2
    ends = (interval(row) for row in squares)
    return sum(low <= 1.0 <= high for low, high in ends)


def test_law_of_the_interval_where_one_direction_rules_the_trace() -> None:
    hits = skewed_hits(lambda row: mean_interval(row, 0.99))
    assert covers(hits, 4000, 0.99)
    flipped = skewed_hits(lambda row: [-end for end in mean_interval(-row, 0.99)[::-1]])
    assert flipped == hits


@pytest.mark.twin
def test_law_of_students_interval_is_not_the_one_stated_there() -> None:
    def student(row: np.ndarray) -> tuple[float, float]:
        reach = stats.t.isf(0.005, 63) * row.std(ddof=1) / 8.0
        return row.mean() - reach, row.mean() + reach

    assert not covers(skewed_hits(student), 4000, 0.99)


def test_exact_ends_are_where_halls_transformation_takes_students_quantiles() -> None:
    values = np.array([0.0, 0.0, 0.3, 0.1, 2.0])
    middle, a = values.mean(), stats.skew(values) / 5**0.5
    T = [(middle - end) * 5**0.5 / values.std(ddof=1) for end in mean_interval(values, 0.9)]
    g = [t + a * t**2 / 3.0 + a**2 * t**3 / 27.0 + a / 6.0 for t in T]
    np.testing.assert_allclose(g, [stats.t.isf(0.05, 4), -stats.t.isf(0.05, 4)], rtol=1e-12)


def test_limit_of_equal_or_two_values_is_students_interval() -> None:
    assert mean_interval(np.full(5, 3.0), 0.9) == (3.0, 3.0)
    low, high = mean_interval(np.array([1.0, 2.0]), 0.9)
    assert high - 1.5 == pytest.approx(1.5 - low, rel=1e-12)
    assert high - 1.5 == pytest.approx(0.5 * stats.t.isf(0.05, 1), rel=1e-12)


def test_exact_trace_without_noise_costs_nothing() -> None:
    process = replace(problem("map", "products"), gradient_noise=lambda x: 0.0 * x)
    found = stationary_trace(process)
    assert found.value == found.error_bound == 0.0
    assert found.products < 100
    assert stationary_trace(problem("map", "products"), rng=0).value > 0.0


def test_chance_is_as_seeded_and_chunks_do_not_matter() -> None:
    process = problem("map", "factor and diagonal")
    one, two, other = (stationary_trace(process, samples=20, rng=seed) for seed in (1, 1, 2))
    assert one.value == two.value != other.value
    narrow = stationary_trace(process, samples=20, rng=1, memory=8.0 * 80 * 6 * 20)
    assert narrow.value == pytest.approx(one.value, rel=1e-6)


def test_diagonal_noise_against_a_diagonal_is_without_chance() -> None:
    d = 60
    process = MatrixFreeOU(
        drift=LowRankPlusDiagonal(factor=np.zeros((d, 1)), diagonal=np.linspace(0.5, 1.0, d)),
        noise=LowRankPlusDiagonal(factor=np.zeros((d, 1)), diagonal=np.linspace(0.0, 1.0, d)),
    )
    found = stationary_trace(process, rng=0, samples=8)
    exact_value = float(np.sum(np.linspace(0.0, 1.0, d) / (2.0 * np.linspace(0.5, 1.0, d))))
    assert abs(found.value - exact_value) <= found.error_bound
    assert found.standard_error < 1e-6 * exact_value


def test_processes_with_structure_and_with_matrices_agree_with_dense_ones() -> None:
    low = LowRankOU(
        basis=np.eye(6)[:, 1:3],
        drift=[[1.0, 0.5], [-0.5, 0.4]],
        noise=[[1.0, 0.2], [0.2, 0.3]],
        rest_drift=0.5,
        rest_noise=0.1,
    )
    diagonal = DiagonalOU(drift=np.linspace(0.1, 1.0, 6), noise=2.0)
    for process in (low, diagonal):
        for weight in ("identity", "curvature"):
            one, two = stationary_trace(process, weight), stationary_trace(process.dense(), weight)
            assert one.value == pytest.approx(two.value, rel=1e-12)
            assert abs(one.value - two.value) <= one.error_bound + two.error_bound
    sgd = problem("heavy ball", weight_decay=0.02)
    for weight in WEIGHTS:
        dense = stationary_trace(sgd.dense(), weight)
        assert dense.value == pytest.approx(stationary_trace(sgd, weight).value, rel=1e-5)


def test_refuses_flat_directions_unless_the_loss_is_asked_for() -> None:
    H = np.diag(np.append(np.linspace(0.1, 1.0, 79), 0.0))
    process = problem("map", hessian=H, hessian_bounds=None)
    with pytest.raises(UnstableError, match="set a weight decay"):
        stationary_trace(process)
    # A random walk where nothing pulls costs no loss.
    noise = np.einsum("ij,ij->i", *2 * [process.gradient_noise.factor])
    loss = float(np.sum(0.3 / 4 * noise / (2.0 - 0.3 * np.diag(H))))
    assert stationary_trace(process, "curvature").value == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"weight": "noise"}, InputError, "one of"),
        ({"samples": 1}, OutOfRangeError, "samples"),
        ({"samples": 7, "rng": 0}, OutOfRangeError, "at least 8 for confidence 0.99"),
        ({"samples": 10, "rng": 0, "confidence": 0.999}, OutOfRangeError, "at least 11"),
        ({"confidence": 1.0}, OutOfRangeError, "confidence"),
        ({"max_products": 0}, OutOfRangeError, "max_products"),
        ({"memory": 1e3}, OutOfRangeError, "must be at least"),
        ({}, InputError, "pass a seed"),
    ],
)
def test_refuses_what_makes_no_sense(changes, error, words) -> None:
    with pytest.raises(error, match=words):
        stationary_trace(problem("map", "products"), **changes)


def test_refuses_what_is_no_process() -> None:
    with pytest.raises(InputError, match="SGDNearMinimum or OUProcess"):
        stationary_trace(np.eye(3))


def test_raises_what_the_status_says() -> None:
    with pytest.raises(ComputationError, match="the condition number is"):
        stationary_trace(problem("map"), max_products=5)


def share_of_two_values_covered(samples: int) -> float:
    # In two dimensions a probe's value is the trace plus or minus one number.
    signs = np.random.default_rng(seed_of("two values")).choice((-1.0, 1.0), size=(4000, samples))
    ends = np.array([mean_interval(2.0 + row, 0.99) for row in signs])
    return float(np.mean((ends[:, 0] <= 2.0) & (ends[:, 1] >= 2.0)))


def test_law_of_the_interval_from_the_fewest_probes_that_are_taken() -> None:
    # Eight of them agree once in 128.
    assert share_of_two_values_covered(8) > 0.988


@pytest.mark.twin
def test_law_of_four_probes_is_not_the_one_stated() -> None:
    assert share_of_two_values_covered(4) < 0.92


def test_bound_without_end_is_stated_beside_the_lower_value() -> None:
    # Products in single precision know nothing of a curvature of 1e-8.
    curvatures = np.geomspace(1e-8, 1.0, 40).astype(np.float32)
    process = MatrixFreeSGD(
        hessian=lambda x: curvatures * x.astype(np.float32),
        gradient_noise=np.eye(40),
        learning_rate=0.5,
        batch_size=1,
        hessian_bounds=(9e-9, 1.1),
    )
    found = stationary_trace(process, rng=0, throw=False, max_products=6)
    assert found.status is Status.NOT_CONVERGED
    assert np.isfinite(found.value)
    assert found.error_bound == np.inf
    assert found.interval == (-np.inf, np.inf)


def test_memory_held_is_that_of_the_columns_there_were() -> None:
    process = problem("map", "products")
    d = process.dimension
    assert stationary_trace(process, rng=0, samples=8).held_bytes == 8 * 6 * d * 16
    assert stationary_trace(problem("map")).held_bytes < 8 * 6 * d * 64

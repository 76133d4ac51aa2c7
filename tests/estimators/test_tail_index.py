"""Tail indices of runs: covering intervals, clusters, and what is refused."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from scipy import stats

from fracsde.errors import InputError, OutOfRangeError, RecordError
from fracsde.estimators import hill, hill_curve, vector_tail_index
from tests.support.laws import covers, honest

TRIALS = 300


def _pareto(rng, chains, draws):
    return rng.pareto(3.0, (chains, draws, 1)) + 1.0


def _kesten(rng, chains, draws):
    """The tail index is 2 exactly: batches of two Gaussian inputs at eta a = 1."""
    M = 1.0 - 0.5 * rng.chisquare(2, (draws + 100, chains))
    q = rng.standard_normal((draws + 100, chains))
    x = np.zeros((draws + 100, chains))
    for t in range(1, draws + 100):
        x[t] = M[t] * x[t - 1] + q[t]
    return x[100:].T[..., None]


def _coverage(found, truth):
    hits = 0
    for m in found:
        reach = stats.t.ppf(0.975, m.n_effective[0] - 1) * m.stderr[0]
        hits += bool(abs(m.value[0] - truth) <= reach)
    return covers(hits, len(found), 0.95)


def _many(seed, draw, measure, trials=TRIALS):
    # Few may be refused, where chance shows no power law.
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(trials):
        with contextlib.suppress(RecordError):
            found.append(measure(draw(rng)))
    assert len(found) >= 0.98 * trials
    return found


@pytest.mark.parametrize(("chains", "draws"), [(1, 4000), (40, 100)])
def test_law_intervals_cover_the_index_of_a_power_law(chains, draws, seed):
    found = _many(
        seed, lambda rng: _pareto(rng, chains, draws), lambda x: hill(x, tail="upper", about=0.0)
    )
    assert _coverage(found, 3.0)


@pytest.mark.parametrize(("chains", "draws"), [(1, 4000), (40, 100)])
def test_law_errors_are_the_spread_at_a_given_number(chains, draws, seed):
    found = _many(
        seed,
        lambda rng: _pareto(rng, chains, draws),
        lambda x: hill(x, k=400, tail="upper", about=0.0),
    )
    assert honest([m.value[0] for m in found], [m.stderr[0] for m in found])
    assert abs(np.mean([m.clustering[0] for m in found]) - 1.0) < 0.1


@pytest.mark.parametrize(("chains", "draws"), [(4, 5000), (40, 500)])
def test_law_errors_know_that_large_values_cluster(chains, draws, seed):
    found = _many(seed, lambda rng: _kesten(rng, chains, draws), lambda x: hill(x, k=300), 120)
    assert honest([m.value[0] for m in found], [m.stderr[0] for m in found])
    assert np.mean([m.clustering[0] for m in found]) > 2.0
    assert _coverage(found, 2.0)


@pytest.mark.twin
def test_law_errors_of_independent_draws_are_rejected_on_clusters(seed):
    found = _many(seed, lambda rng: _kesten(rng, 4, 5000), lambda x: hill(x, k=300), 120)
    naive = [m.value[0] / np.sqrt(m.exceedances[0]) for m in found]
    assert not honest([m.value[0] for m in found], naive)


def test_law_of_the_rule_on_a_law_that_is_no_power_law(seed):
    # Cauchy's tail begins somewhere; the rule finds where, and its intervals hold.
    found = _many(seed, lambda rng: rng.standard_cauchy((1, 6000, 1)), lambda x: hill(x, about=0.0))
    assert _coverage(found, 1.0)
    assert 300 < np.median([m.exceedances[0] for m in found]) < 1500
    # The error is that of the intercept's weight, and no cluster is seen where there is none.
    assert honest([1 / m.value[0] for m in found], [m.stderr[0] / m.value[0] ** 2 for m in found])
    assert abs(np.mean([m.clustering[0] for m in found]) - 1.0) < 0.15


def _student(rng):
    return rng.standard_t(3.0, (1, 5000, 1))


def test_law_the_intercept_removes_the_bias_of_student_s_law(seed):
    found = _many(seed, _student, hill)
    inverse = [1 / m.value[0] for m in found]
    assert abs(np.mean(inverse) * 3.0 - 1.0) < 0.05
    assert _coverage(found, 3.0)


@pytest.mark.twin
def test_law_hill_s_average_at_the_same_number_is_biased(seed):
    found = _many(seed, _student, lambda x: hill(x, k=int(hill(x).exceedances[0])), 100)
    assert abs(np.mean([1 / m.value[0] for m in found]) * 3.0 - 1.0) > 0.1
    assert not _coverage(found, 3.0)


def test_exact_intercept_is_the_regression_s(seed):
    x = _pareto(np.random.default_rng(seed), 2, 5000)
    m = hill(x, tail="upper", about=0.0)
    k = int(m.exceedances[0])
    top = np.log(np.sort(x.ravel())[::-1][: k + 1])
    ranks = np.arange(1, k + 1)
    gaps = ranks * (top[:-1] - top[1:])
    power = np.clip(1.6 * gaps.mean(), 0.4, 2 / 3)  # the lighter the tail, the later it begins
    design = np.stack([np.ones(k), (ranks / k) ** power], axis=1)
    intercept = np.linalg.lstsq(design, gaps, rcond=None)[0][0]
    # Sums stand for the integrals of the weight, whence the difference of order 1 / k.
    assert abs(1 / m.value[0] - intercept) < 20.0 / k * gaps.mean()


@pytest.mark.twin
def test_law_a_tail_that_begins_too_early_is_rejected(seed):
    found = _many(
        seed, lambda rng: rng.standard_cauchy((1, 6000, 1)), lambda x: hill(x, k=3000, about=0.0)
    )
    assert not _coverage(found, 1.0)


def test_exact_value_is_hill_s_sum(seed):
    x = _pareto(np.random.default_rng(seed), 2, 500)
    m = hill(x, k=50, tail="upper", about=0.0)
    top = np.sort(x.ravel())[::-1]
    assert abs(1 / m.value[0] - np.mean(np.log(top[:50] / top[50]))) < 1e-13
    assert abs(m.threshold[0] - top[50]) < 1e-12
    assert m.exceedances[0] == 50
    assert m.quantity.name == "tail index"


def test_exact_sides_and_centre(seed):
    x = np.random.default_rng(seed).standard_t(3.0, (20, 300, 2))
    upper = hill(x, k=60, tail="upper", about=0.0)
    lower = hill(-x, k=60, tail="lower", about=0.0)
    np.testing.assert_allclose(upper.value, lower.value, rtol=1e-13)
    np.testing.assert_allclose(hill(x + 5.0, k=60).value, hill(x, k=60).value, rtol=1e-9)
    np.testing.assert_allclose(hill(1e8 * x, k=60).value, hill(x, k=60).value, rtol=1e-12)


def test_exact_curve_passes_through_the_measurement(seed):
    x = _pareto(np.random.default_rng(seed), 1, 3000)
    curve = hill_curve(x, tail="upper", about=0.0)
    for i in (0, 50, -1):
        k = int(curve.exceedances[i])
        m = hill(x, k=k, tail="upper", about=0.0)
        assert abs(m.value[0] - curve.value[i]) < 1e-11
        assert abs(m.threshold[0] - curve.threshold[i]) < 1e-11
    assert curve.chosen == hill(x, tail="upper", about=0.0).exceedances[0]


def _gaussian_noise(rng):
    return rng.standard_normal((1, 3000, 20)) * np.exp(np.linspace(-3, 3, 20))


def _cauchy_vectors(rng):
    # Isotropic: a Gaussian vector over an independent normal number.
    return rng.standard_normal((8, 500, 5)) / np.abs(rng.standard_normal((8, 500, 1)))


@pytest.mark.parametrize(("draw", "truth"), [(_gaussian_noise, 2.0), (_cauchy_vectors, 1.0)])
@pytest.mark.parametrize("about", [None, 0.0])
def test_law_norms_of_sums_show_the_stable_index(draw, truth, about, seed):
    found = _many(seed, draw, lambda x: vector_tail_index(x, about=about))
    assert _coverage(found, truth)
    assert honest([m.value[0] for m in found], [m.stderr[0] for m in found])


def test_law_a_location_does_not_matter_where_it_is_removed(seed):
    x = _gaussian_noise(np.random.default_rng(seed))
    plain, moved = vector_tail_index(x), vector_tail_index(x + 100.0)
    assert abs(plain.value[0] - moved.value[0]) < 1e-9
    assert vector_tail_index(x + 100.0, about=0.0).value[0] < 1.2  # sums of a location grow like m


def test_refuses_records_without_a_tail(seed):
    rng = np.random.default_rng(seed)
    with pytest.raises(RecordError, match="drop constant"):
        hill(np.ones((20, 100, 1)))
    with pytest.raises(RecordError, match="more draws"):
        hill(rng.standard_normal((1, 15, 1)))
    with pytest.raises(RecordError, match="more draws, or pass `k`"):
        hill(rng.standard_normal((1, 60, 1)))
    with pytest.raises(RecordError, match="no power law"):
        hill(rng.uniform(-1.0, 1.0, (1, 5000, 1)))
    with pytest.raises(RecordError, match="clipped or rounded"):
        hill(np.clip(rng.standard_normal((20, 500, 1)), -0.5, 0.5), about=0.0)
    with pytest.raises(RecordError, match="NaN"):
        hill(np.full((20, 100, 1), np.nan))
    with pytest.raises(OutOfRangeError, match="between 20 and"):
        hill(rng.standard_normal((20, 100, 1)), k=2000)
    with pytest.raises(OutOfRangeError, match="between 20 and"):
        hill(rng.standard_normal((20, 100, 1)), k=19)
    with pytest.raises(ValueError, match="`tail` must be one of"):
        hill(rng.standard_normal((20, 100, 1)), tail="left")
    spiked = rng.standard_normal((20, 100, 1))
    spiked[3] *= 1e6
    with pytest.raises(RecordError, match="lie in one chain"):
        hill(spiked, k=20)


@pytest.mark.parametrize("about", [None, 0.25])
def test_exact_index_of_sums_is_blind_to_the_scale(seed, about):
    x = np.random.default_rng(seed).standard_normal((2, 1000, 3))
    for power in (1000, -1000):  # squares overflow and underflow
        scale = 2.0**power
        centre = None if about is None else scale * about
        one, other = vector_tail_index(x, about=about), vector_tail_index(scale * x, about=centre)
        assert abs(other.value[0] / one.value[0] - 1.0) < 1e-12


def test_refuses_names_that_are_no_quantity(seed):
    x = np.random.default_rng(seed).standard_normal((4, 100, 2))
    with pytest.raises(InputError, match="must be a Quantity"):
        hill(x, quantity="tail")


def test_refuses_sums_that_show_nothing(seed):
    rng = np.random.default_rng(seed)
    with pytest.raises(RecordError, match="too few for an index"):
        vector_tail_index(rng.standard_normal((1, 100, 2)))
    with pytest.raises(RecordError, match="length zero"):
        vector_tail_index(np.ones((1, 1000, 2)))
    walk = np.diff(rng.standard_normal((1, 2001, 2)), axis=1)
    with pytest.raises(RecordError, match="anticorrelated"):
        vector_tail_index(walk, block=40, about=0.0)
    with pytest.raises(OutOfRangeError, match="at least 2"):
        vector_tail_index(rng.standard_normal((1, 1000, 2)), block=1)

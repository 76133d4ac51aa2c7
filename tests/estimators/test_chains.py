"""Errors across chains."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fracsde.errors import RecordError, ShapeError
from fracsde.estimators import from_chains, jackknife_error, leave_one_out_means, mean
from fracsde.records import Quantity
from tests.support.laws import covers

LENGTH = Quantity(name="length", unit="m")


def test_exact_error_of_a_mean_is_the_textbook_one(seed):
    values = np.random.default_rng(seed).normal(3.0, 2.0, (12, 2))
    m = from_chains(values, quantity=Quantity(name="a", labels=("x", "y")), method="by hand")
    np.testing.assert_allclose(m.value, values.mean(axis=0), rtol=1e-15)
    np.testing.assert_allclose(m.stderr, stats.sem(values, axis=0), rtol=1e-14)
    assert np.all(m.n_effective == 12)
    assert m.method == "by hand"


def test_exact_leave_one_out_means_are_those_of_the_shorter_lists(seed):
    values = 1e6 + np.random.default_rng(seed).standard_normal((7, 3))
    expected = [np.delete(values, r, axis=0).mean(axis=0) for r in range(7)]
    np.testing.assert_allclose(leave_one_out_means(values), expected, rtol=1e-15)


def test_exact_jackknife_of_a_mean_is_its_standard_error(seed):
    values = np.random.default_rng(seed).standard_normal((9, 4))
    np.testing.assert_allclose(
        jackknife_error(leave_one_out_means(values)), stats.sem(values, axis=0), rtol=1e-13
    )


def _hits(seed, quantile, trials=400, chains=4):
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(trials):
        m = from_chains(rng.standard_normal(chains), quantity=LENGTH)
        hits += bool(abs(m.value[0]) <= quantile(m) * m.stderr[0])
    return hits, trials


def test_law_student_interval_covers_with_few_chains(seed):
    hits, trials = _hits(seed, lambda m: stats.t.ppf(0.975, m.n_effective[0] - 1))
    assert covers(hits, trials, 0.95)


@pytest.mark.twin
def test_law_normal_interval_with_two_chains_is_rejected(seed):
    hits, trials = _hits(seed, lambda _: 1.96, chains=2)
    assert not covers(hits, trials, 0.95)


def test_keeps_the_caller_s_array(seed):
    values = np.random.default_rng(seed).standard_normal((20, 5, 2))
    before = values.copy()
    mean(values)
    assert values.flags.writeable
    np.testing.assert_array_equal(values, before)


def test_refuses_a_single_chain():
    with pytest.raises(RecordError, match="run independent replicas"):
        from_chains([1.0], quantity=LENGTH)


def test_refuses_chains_that_agree_exactly():
    with pytest.raises(RecordError, match="drop constant coordinates"):
        from_chains([1.0, 1.0, 1.0], quantity=LENGTH)


def test_refuses_chains_of_unequal_length():
    with pytest.raises(RecordError, match=r"got lengths \[4, 5\]; cut them to the shortest"):
        mean([np.zeros((4, 2)), np.zeros((5, 2))])


@pytest.mark.parametrize("bad", [np.zeros(4), np.zeros((2, 2, 2, 2)), np.zeros((3, 4, 1)) * 1j])
def test_refuses_an_array_that_is_no_record(bad):
    with pytest.raises(ShapeError, match="axes"):
        mean(bad)


def test_refuses_a_record_with_nan():
    bad = np.random.default_rng(0).standard_normal((20, 5, 2))
    bad[3, 2, 1] = np.nan
    with pytest.raises(RecordError, match="chain 3 is NaN"):
        mean(bad)


def test_refuses_a_quantity_of_the_wrong_size():
    record = np.random.default_rng(0).standard_normal((20, 5, 2))
    with pytest.raises(ShapeError, match="one label per entry: 0, 1"):
        mean(record, quantity=LENGTH)

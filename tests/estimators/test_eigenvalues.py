"""Eigenvalues of a covariance: unbiased, apart from their neighbours or said not to be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from fracsde.errors import OutOfRangeError, RecordError, ShapeError
from fracsde.estimators import covariance, covariance_eigenvalues
from fracsde.records import Quantity, Trajectory
from tests.support.laws import covers, honest
from tests.support.series import ar1

TRIALS = 200
SPECTRUM = np.geomspace(1.0, 1e-3, 5)
TURN = np.linalg.qr(np.random.default_rng(3).standard_normal((5, 5)))[0]
MIX = np.sqrt(SPECTRUM)[:, None] * TURN


def _run(rng, chains, draws, phi=0.5):
    return ar1(rng, chains, draws, phi, 5) @ MIX


def test_exact_eigenvalues_of_the_measured_covariance_but_for_the_bias(seed):
    x = _run(np.random.default_rng(seed), 40, 200)
    m = covariance_eigenvalues(x)
    found = covariance(x)
    spectrum = np.linalg.eigvalsh(found.matrix)[::-1]
    np.testing.assert_allclose(m.value + m.bias, spectrum, rtol=1e-12)
    np.testing.assert_allclose(
        m.vectors.T @ found.matrix @ m.vectors, np.diag(spectrum), atol=1e-14
    )
    assert m.quantity.labels == ("1", "2", "3", "4", "5")
    assert m.resolved.all()


def test_limit_errors_of_those_far_apart_are_the_rotated_covariance_s(seed):
    x = _run(np.random.default_rng(seed), 20, 200)
    m = covariance_eigenvalues(x)
    rotated = covariance(x @ m.vectors)
    np.testing.assert_allclose(m.stderr, rotated.stderr.diagonal(), rtol=0.02)
    np.testing.assert_allclose(m.n_effective, rotated.n_effective.diagonal(), rtol=1e-8)
    gaps = np.subtract.outer(rotated.matrix.diagonal(), rotated.matrix.diagonal())
    np.fill_diagonal(gaps, np.inf)
    np.testing.assert_allclose(m.bias, (rotated.stderr**2 / gaps).sum(axis=1), rtol=0.02)
    expected = np.sqrt((rotated.stderr**2 / gaps**2).sum(axis=1))
    np.testing.assert_allclose(m.angle, expected, rtol=1e-8)


@pytest.mark.parametrize("chains", [4, 32])
def test_exact_leading_ones_are_those_of_all(chains, seed):
    x = _run(np.random.default_rng(seed), chains, 400)
    every, leading = covariance_eigenvalues(x), covariance_eigenvalues(x, top=2)
    for name in ("value", "stderr", "n_effective", "angle", "bias"):
        np.testing.assert_allclose(getattr(leading, name), getattr(every, name)[:2], rtol=1e-9)
    np.testing.assert_allclose(leading.vectors, every.vectors[:, :2], atol=1e-12)


def test_exact_under_rotations_and_scales(seed):
    x = _run(np.random.default_rng(seed), 24, 100)
    m, turned = covariance_eigenvalues(x), covariance_eigenvalues(1e3 * x @ TURN + 5.0)
    np.testing.assert_allclose(turned.value, 1e6 * m.value, rtol=1e-7)
    np.testing.assert_allclose(turned.stderr, 1e6 * m.stderr, rtol=1e-6)


@pytest.mark.parametrize("chains", [3, 20])
@pytest.mark.parametrize("about", [None, 0.0])
def test_exact_one_coordinate_is_its_variance(chains, about, seed):
    x = ar1(np.random.default_rng(seed), chains, 300, 0.5, 1)
    m, v = covariance_eigenvalues(x, about=about), covariance(x, about).variances()
    np.testing.assert_allclose(m.value, v.value, rtol=1e-12)
    np.testing.assert_allclose(m.stderr, v.stderr, rtol=1e-9)


def _many(seed, chains, draws, trials=TRIALS):
    rng = np.random.default_rng(seed)
    return [covariance_eigenvalues(_run(rng, chains, draws)) for _ in range(trials)]


@pytest.mark.parametrize(("chains", "draws", "trials"), [(16, 8, 600), (2, 300, 200)])
def test_law_the_bias_is_removed_and_the_errors_are_the_spread(chains, draws, trials, seed):
    found = _many(seed, chains, draws, trials)
    value = np.array([m.value for m in found]) / SPECTRUM
    bias = np.array([m.bias for m in found]) / SPECTRUM
    noise = value.std(axis=0) / np.sqrt(trials)
    assert np.all(np.abs(value.mean(axis=0) - 1.0) < 5 * noise)
    assert bias[:, -1].mean() < 0.0 < bias[:, 0].mean()
    for i in range(5):
        assert honest(value[:, i], np.array([m.stderr[i] for m in found]) / SPECTRUM[i])


@pytest.mark.twin
def test_law_the_sample_s_own_eigenvalues_are_biased(seed):
    found = _many(seed, 16, 8, 600)
    plain = np.array([m.value + m.bias for m in found]) / SPECTRUM
    noise = plain.std(axis=0) / np.sqrt(len(found))
    assert abs(plain[:, -1].mean() - 1.0) > 5 * noise[-1]


def test_law_the_angle_is_the_direction_s_error(seed):
    # Over-counted is only the part along the other directions, so compare root mean squares.
    found = _many(seed, 16, 30)
    for i in (0, 2, 4):
        cosines = np.array([abs(m.vectors[:, i] @ TURN[i]) for m in found])
        actual = np.sqrt(np.mean(np.arccos(np.minimum(cosines, 1.0)) ** 2))
        stated = np.sqrt(np.mean([m.angle[i] ** 2 for m in found]))
        assert abs(np.log(actual / stated)) < 0.2


def test_equal_ones_are_not_told_apart_and_still_covered(seed):
    rng = np.random.default_rng(seed)
    spectrum = np.array([4.0, 1.0, 1.0, 1.0])
    hits, groups = np.zeros(4), 0
    for _ in range(TRIALS):
        m = covariance_eigenvalues(ar1(rng, 32, 100, 0.5, 4) * np.sqrt(spectrum))
        groups += m.resolved.tolist() == [True, False, False, False]
        hits += np.abs(m.value - spectrum) < 2.1 * m.stderr
    assert groups > 0.8 * TRIALS
    assert np.isinf(m.angle[1:]).all()
    assert np.isfinite(m.angle[0])
    assert np.all(hits > 0.94 * TRIALS)


@pytest.mark.parametrize("gap", [0.0, 1.5, 4.0])
def test_law_three_in_a_row_are_covered_however_near(gap, seed):
    # In standard errors of an entry, sqrt(tau / n) with the integrated time of products, 5 / 3.
    rng, step = np.random.default_rng(seed), gap * np.sqrt(5.0 / 3.0 / 3200.0)
    spectrum = 1.0 + step * np.array([1.0, 0.0, -1.0])
    hits = np.zeros(3)
    for _ in range(TRIALS):
        m = covariance_eigenvalues(ar1(rng, 32, 100, 0.5, 3) * np.sqrt(spectrum))
        hits += np.abs(m.value - spectrum) < -special.stdtrit(m.n_effective - 1.0, 0.025) * m.stderr
    assert np.all(hits > 0.95 * TRIALS - 4.0 * np.sqrt(TRIALS * 0.05 * 0.95))


@pytest.mark.parametrize("chains", [4, 32])
@pytest.mark.parametrize("about", [None, 0.0])
def test_exact_mean_of_all_equal_ones_is_that_of_the_diagonal(chains, about, seed):
    # A trace does not know the axes: the measured covariance's own diagonal has the same mean.
    x = ar1(np.random.default_rng(seed), chains, 3200 // chains, 0.5, 3)
    m = covariance_eigenvalues(x, about=None if about is None else np.zeros(3))
    assert m.group.tolist() == [0, 0, 0]
    assert m.means.quantity.labels == ("1 to 3",)
    found = covariance(x, None if about is None else np.zeros(3)).matrix
    np.testing.assert_allclose(
        m.means.value, found.trace() / 3.0, rtol=1e-3 if chains < 16 else 1e-12
    )
    assert m.means.stderr[0] < m.stderr.min()


def test_law_mean_of_equal_ones_is_covered_and_its_error_is_the_spread(seed):
    rng = np.random.default_rng(seed)
    spectrum = np.array([4.0, 1.0, 1.0, 1.0])
    values, errors, hits = [], [], 0
    for _ in range(TRIALS):
        m = covariance_eigenvalues(ar1(rng, 32, 100, 0.5, 4) * np.sqrt(spectrum))
        assert m.means.quantity.labels[0] == "1"
        assert m.means.value[0] == m.value[0]
        values.append(m.means.value[-1])
        errors.append(m.means.stderr[-1])
        reach = -special.stdtrit(m.means.n_effective - 1.0, 0.025) * m.means.stderr
        hits += bool(abs(m.means.value[-1] - 1.0) < reach[-1])
    assert covers(hits, TRIALS, 0.95)
    assert honest(np.array(values), np.array(errors))


@pytest.mark.twin
def test_law_mean_of_equal_ones_is_missed_with_the_error_of_independent_draws(seed):
    rng = np.random.default_rng(seed)
    found = [covariance_eigenvalues(ar1(rng, 32, 100, 0.8, 3)).means for _ in range(100)]
    assert all(len(m.value) == 1 for m in found)
    naive = np.sqrt(2.0 / (3.0 * 3200.0))
    assert not honest(np.array([m.value[0] for m in found]), np.full(100, naive))


def test_group_that_top_cuts_in_two_has_no_mean(seed):
    x = ar1(np.random.default_rng(seed), 32, 100, 0.5, 4) * np.sqrt([9.0, 1.0, 1.0, 1.0])
    assert covariance_eigenvalues(x).means.quantity.labels == ("1", "2 to 4")
    cut = covariance_eigenvalues(x, top=3)
    assert cut.group.tolist() == [0, 1, 1]
    assert cut.means.quantity.labels == ("1",)
    assert covariance_eigenvalues(x[..., 1:], top=2).means is None


@pytest.mark.twin
def test_equal_ones_are_missed_by_their_own_sample(seed):
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(TRIALS):
        x = ar1(rng, 32, 100, 0.5, 4)
        found = covariance(x)
        largest, vectors = np.linalg.eigh(found.matrix)
        error = covariance(x @ vectors[:, -1:]).stderr[0, 0]
        hits += bool(abs(largest[-1] - 1.0) < 2.1 * error)
    assert not covers(hits, TRIALS, 0.95)


@pytest.mark.parametrize("chains", [2, 20])
def test_keeps_arguments_and_names(chains, seed):
    x = _run(np.random.default_rng(seed), chains, 400)
    before = x.copy()
    label = Quantity(name="spectrum", labels=("a", "b"))
    m = covariance_eigenvalues(x, top=2, quantity=label)
    np.testing.assert_array_equal(x, before)
    assert m.quantity is label
    signs = np.take_along_axis(m.vectors, np.abs(m.vectors).argmax(axis=0)[None], axis=0)
    assert np.all(signs > 0)


def test_refuses_directions_that_do_not_vary(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((20, 100, 3))
    x[..., 2] = x[..., 0] + x[..., 1]
    with pytest.raises(RecordError, match="in 1 of 3 directions"):
        covariance_eigenvalues(x)
    with pytest.raises(RecordError, match="constant"):
        covariance_eigenvalues(np.ones((20, 100, 2)))
    with pytest.raises(RecordError, match="constant"):
        covariance_eigenvalues(np.ones((3, 100, 2)))


def test_refuses_more_coordinates_than_the_record_can_show(seed):
    x = np.random.default_rng(seed).standard_normal((20, 2, 30)) * np.geomspace(1.0, 1e-4, 30)
    with pytest.raises(RecordError, match="ask for the `top` ones"):
        covariance_eigenvalues(x)
    assert covariance_eigenvalues(x, top=1).value[0] > 0.0


def test_refuses_bad_arguments(seed):
    x = np.random.default_rng(seed).standard_normal((20, 50, 3))
    with pytest.raises(OutOfRangeError, match="between 1 and 3"):
        covariance_eigenvalues(x, top=4)
    with pytest.raises(ShapeError, match="one label per entry"):
        covariance_eigenvalues(x, quantity=Quantity(name="x"))
    with pytest.raises(ShapeError):
        covariance_eigenvalues(x, about=[0.0, 0.0])
    with pytest.raises(RecordError, match="equally spaced"):
        covariance_eigenvalues(Trajectory(values=x[:2, :3], times=[0, 1, 5]))

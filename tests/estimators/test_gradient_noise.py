"""The noise of one example's gradient: exact where all are used, unbiased and honest else."""

from __future__ import annotations

import sys
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from fracsde.errors import InputError, OutOfRangeError, RecordError, ShapeError, UnsupportedError
from fracsde.estimators import curvature, gradient_noise
from fracsde.estimators.chains import freedom_of
from fracsde.estimators.heavy_squares import burden_of_squares, lightened, sharper
from fracsde.networks import Network
from tests.support.laws import covers, honest
from tests.support.quadratic_loss import QuadraticLoss, with_eigenvalues

MODULE = sys.modules["fracsde.estimators.gradient_noise"]  # its name is that of the function


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(3)
    net = Network(inputs=rng.normal(size=(40, 3)), targets=np.arange(40) % 3, hidden=(4,))
    return net, net.initial_parameters(rng)


@pytest.mark.parametrize("held", [1 << 24, 100])
def test_routes_agree_all_forms_are_one_covariance(network, held, monkeypatch, seed) -> None:
    monkeypatch.setattr("fracsde.estimators.loss.HELD", held)
    monkeypatch.setattr("fracsde.estimators.example_gradients.HELD", held)
    net, w = network
    C = net.gradient_noise(w)
    V = np.random.default_rng(seed).normal(size=(net.parameters, 3))
    near = {"rtol": 1e-11, "atol": 1e-14}
    for form in ("dense", "low_rank", "products"):
        found = gradient_noise(net, w, form=form)
        np.testing.assert_allclose(found.products(V), C @ V, **near)
        np.testing.assert_allclose(found.products(V[:, 0]), C @ V[:, 0], **near)
        np.testing.assert_allclose(found.block(V), V.T @ C @ V, **near)
        assert found.trace == pytest.approx(np.trace(C), rel=1e-13)
        assert found.trace_stderr == 0.0
        assert (found.examples, found.population, found.missing) == (40, 40, 0.0)
        assert (found.matrix is None, found.factor is None) == (form != "dense", form != "low_rank")
    assert gradient_noise(net, w).form == "dense"
    block = gradient_noise(net, w, directions=V)
    np.testing.assert_allclose(block.matrix, V.T @ C @ V, **near)
    assert block.form == "block"
    assert not block.stderr.any()


@pytest.mark.parametrize("way", ["gram", "sweeps"])
def test_routes_agree_truncated_factor_and_leading_eigenvectors(network, way, monkeypatch) -> None:
    if way == "sweeps":
        monkeypatch.setattr(MODULE, "_FACTOR", 10)
    net, w = network
    values, vectors = np.linalg.eigh(net.gradient_noise(w))
    found = gradient_noise(net, w, form="low_rank", rank=3)
    best = (vectors[:, -3:] * values[-3:]) @ vectors[:, -3:].T
    assert found.factor.shape == (net.parameters, 3)
    np.testing.assert_allclose(found.factor @ found.factor.T, best, atol=1e-5 * values[-1])
    assert found.missing == pytest.approx(1.0 - values[-3:].sum() / values.sum(), abs=1e-6)
    # What is left out still counts where products are asked for.
    np.testing.assert_allclose(found.products(vectors[:, 0]), values[0] * vectors[:, 0], atol=1e-12)
    with pytest.raises(UnsupportedError, match="without a rank"):
        _ = found.effective_rank


def test_exact_effective_rank_and_alignment(seed) -> None:
    H = np.diag([4.0, 2.0, 1.0])
    rng = np.random.default_rng(seed)
    shifts = rng.normal(size=(500, 3))
    shifts -= shifts.mean(axis=0)
    white = shifts @ np.linalg.inv(np.linalg.cholesky(np.cov(shifts.T, bias=True))).T
    loss = QuadraticLoss(H=H, shifts=white)
    isotropic = gradient_noise(loss, np.ones(3))
    assert isotropic.effective_rank == pytest.approx(3.0)
    curved = QuadraticLoss(H=H, shifts=white @ np.sqrt(H))
    found = gradient_noise(curved, np.ones(3), form="low_rank")
    assert found.effective_rank == pytest.approx(7.0**2 / 21.0)
    same = found.alignment(curvature(curved, np.ones(3)))
    np.testing.assert_allclose(same.along, [4.0, 2.0, 1.0])
    np.testing.assert_allclose(same.share, np.array([4.0, 2.0, 1.0]) / 7.0)
    assert same.cosine == pytest.approx(1.0)
    other = isotropic.alignment(curvature(loss, np.ones(3)))
    assert other.cosine == pytest.approx(7.0 / np.sqrt(21.0 * 3.0))


def test_exact_mean_over_every_sample_is_the_covariance_of_all(seed) -> None:
    # Unbiased for a finite population: averaged over all subsets there is no error at all.
    loss = with_eigenvalues([2.0, 1.0], seed, examples=7)
    subsets = list(combinations(range(7), 4))
    found = [gradient_noise(loss, np.ones(2), examples=np.array(s)) for s in subsets]
    np.testing.assert_allclose(np.mean([f.matrix for f in found], axis=0), loss.noise, rtol=1e-12)
    assert np.mean([f.trace for f in found]) == pytest.approx(np.trace(loss.noise), rel=1e-12)
    beyond = [
        gradient_noise(loss, np.ones(2), examples=np.array(s), population="distribution")
        for s in subsets
    ]
    np.testing.assert_allclose(
        np.mean([f.matrix for f in beyond], axis=0), loss.noise * 7 / 6, rtol=1e-12
    )


@pytest.mark.twin
def test_twin_the_other_divisor_is_biased(seed) -> None:
    loss = with_eigenvalues([2.0, 1.0], seed, examples=7)
    subsets = list(combinations(range(7), 4))
    plain = [np.cov(loss.shifts[list(s)].T, bias=True) for s in subsets]
    assert np.abs(np.mean(plain, axis=0) / loss.noise - 1.0).max() > 0.1


def test_exact_errors_are_those_of_the_jackknife(seed) -> None:
    loss = with_eigenvalues([2.0, 1.0, 0.5], seed, examples=12)
    found = gradient_noise(loss, np.ones(3), population="distribution")
    less = [np.delete(np.arange(12), i) for i in range(12)]
    parts = [np.cov(loss.shifts[rows].T) for rows in less]
    spread = np.sqrt(11.0 / 12.0 * np.square(parts - np.mean(parts, axis=0)).sum(axis=0))
    np.testing.assert_allclose(found.matrix, np.cov(loss.shifts.T), rtol=1e-12)
    np.testing.assert_allclose(found.stderr, spread, rtol=1e-10)
    traces = np.array([np.trace(part) for part in parts])
    assert found.trace_stderr == pytest.approx(np.sqrt(11.0) * traces.std(), rel=1e-10)


@pytest.mark.parametrize("population", ["examples", "distribution"])
def test_law_errors_cover(population, seed) -> None:
    # 2000 samples: of 150 examples out of 300, or of 150 from the law itself.
    rng = np.random.default_rng(seed)
    root = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.3, 0.5]])
    H, w = np.eye(3), np.zeros(3)
    whole = rng.normal(size=(300, 3)) @ root.T
    finite = population == "examples"
    truth = np.cov(whole.T, bias=True) if finite else root @ root.T
    estimates, errors, freedom = [], [], []
    for _ in range(2000):
        shifts = whole if finite else rng.normal(size=(150, 3)) @ root.T
        loss = QuadraticLoss(H=H, shifts=shifts)
        count = 150 if finite else None
        found = gradient_noise(loss, w, examples=count, rng=rng, population=population)
        estimates.append([found.trace, found.matrix[0, 0], found.matrix[0, 1], found.matrix[0, 2]])
        errors.append([found.trace_stderr, *found.stderr[0]])
        freedom.append([found.trace_n_effective - 1.0, *(found.n_effective[0] - 1.0)])
    exact = np.array([np.trace(truth), *truth[0]])
    gaps, errors = np.abs(np.array(estimates) - exact), np.array(errors)
    hits = np.sum(gaps <= stats.t.isf(0.025, np.array(freedom)) * errors, axis=0)
    assert np.all(np.abs(hits / 2000 - 0.95) < 0.03)
    for k in range(4):
        assert honest(np.array(estimates)[:, k], errors[:, k])
        assert not honest(np.array(estimates)[:, k], errors[:, k] / np.sqrt(2.0))
    assert covers(int(hits[2]), 2000, 0.95)


def test_exact_effective_numbers_are_those_of_the_products(seed) -> None:
    rng = np.random.default_rng(seed)
    loss = QuadraticLoss(H=np.eye(2), shifts=rng.standard_t(3.0, (400, 2)))
    found = gradient_noise(loss, np.ones(2), population="distribution")
    d = loss.shifts - loss.shifts.mean(axis=0)
    products = d[:, :, None] * d[:, None, :]
    burden = burden_of_squares(d**2, 400.0)
    bound = 0.5 * (burden[:, None] + burden)
    away = np.abs(products - products.mean(axis=0)).reshape(400, 4)
    own = burden_of_squares(away, 400.0).reshape(2, 2)
    lighter = np.where(np.eye(2) > 0.0, bound, sharper(own, bound))
    expected = lightened(freedom_of(products), lighter)
    np.testing.assert_allclose(found.n_effective, expected, rtol=1e-9)
    assert found.n_effective[0, 1] > lightened(freedom_of(products), bound)[0, 1]
    sizes = np.square(d).sum(axis=1)
    of_trace = lightened(freedom_of(sizes), burden_of_squares(sizes[:, None], 400.0))
    np.testing.assert_allclose(found.trace_n_effective, of_trace, rtol=1e-9)
    assert np.all(found.n_effective < 200.0)  # of 400: the tails are heavy
    along = gradient_noise(loss, np.ones(2), population="distribution", directions=np.eye(2)[:, :1])
    np.testing.assert_allclose(along.n_effective, found.n_effective[:1, :1], rtol=1e-9)
    assert np.all(gradient_noise(loss, np.ones(2)).n_effective == 400.0)  # exact


def test_refuses_directions_of_no_noise() -> None:
    loss = QuadraticLoss(H=np.eye(2), shifts=np.ones((5, 2)))
    found = gradient_noise(loss, np.zeros(2))
    assert (found.trace, found.trace_stderr) == (0.0, 0.0)
    with pytest.raises(UnsupportedError, match="one gradient"):
        _ = found.effective_rank
    with pytest.raises(UnsupportedError, match="one gradient"):
        found.alignment(curvature(loss, np.zeros(2)))


def test_keeps_digits_where_the_mean_outweighs_the_noise(seed) -> None:
    shifts = np.random.default_rng(seed).normal(size=(50, 4))
    loss = QuadraticLoss(H=np.eye(4), shifts=shifts + 1e7)
    for form in ("dense", "low_rank", "products"):
        found = gradient_noise(loss, np.zeros(4), form=form)
        np.testing.assert_allclose(found.block(np.eye(4)), np.cov(shifts.T, bias=True), atol=1e-8)
        assert found.trace == pytest.approx(np.trace(np.cov(shifts.T, bias=True)), rel=1e-8)


def test_refuses_bad_questions(network) -> None:
    net, w = network
    with pytest.raises(InputError, match="form"):
        gradient_noise(net, w, form="sparse")
    with pytest.raises(InputError, match="population"):
        gradient_noise(net, w, population="world")
    with pytest.raises(OutOfRangeError, match="examples"):
        gradient_noise(net, w, examples=41)
    with pytest.raises(OutOfRangeError, match="once"):
        gradient_noise(net, w, examples=[1, 1, 2])
    with pytest.raises(OutOfRangeError, match="between 0 and 39"):
        gradient_noise(net, w, examples=[1, 2, 40])
    with pytest.raises(RecordError, match="at least 3"):
        gradient_noise(net, w, examples=[1, 2])
    with pytest.raises(ShapeError, match="directions"):
        gradient_noise(net, w, directions=np.ones((3, 2)))
    with pytest.raises(OutOfRangeError, match="rank"):
        gradient_noise(net, w, form="low_rank", rank=0)
    with pytest.raises(ShapeError, match="rows"):
        gradient_noise(net, w).products(np.ones(3))

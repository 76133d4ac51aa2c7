"""The gradient-noise scale at a point and along a run, and its open intervals."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from fracsde.errors import NotFiniteError, OutOfRangeError, RecordError, ShapeError
from fracsde.estimators import gradient_noise_scale, noise_scale_of_batches
from fracsde.estimators.ratios import ratio_of
from fracsde.networks import Network
from tests.support.laws import covers, honest
from tests.support.quadratic_loss import QuadraticLoss, with_eigenvalues


def test_exact_from_all_examples(seed) -> None:
    rng = np.random.default_rng(seed)
    net = Network(
        inputs=rng.normal(size=(30, 3)), targets=np.arange(30) % 3, hidden=(4,), weight_decay=0.2
    )
    w = net.initial_parameters(rng)
    C, G, H = net.gradient_noise(w), net.gradient(w), net.hessian(w)
    simple = gradient_noise_scale(net, w)
    assert simple.value == pytest.approx(np.trace(C) / (G @ G), rel=1e-12)
    assert (simple.stderr, simple.interval) == (0.0, (simple.value, simple.value))
    weighted = gradient_noise_scale(net, w, weighted=True)
    assert weighted.value == pytest.approx(np.sum(H * C) / (G @ H @ G), rel=1e-11)
    with pytest.raises(RecordError, match="exact"):
        simple.measurement()


def test_routes_agree_products_and_whole_matrix(seed, monkeypatch) -> None:
    loss = with_eigenvalues(np.linspace(0.5, 3.0, 12), seed, examples=30)
    w = np.linspace(-1, 1, 12)
    whole = gradient_noise_scale(loss, w, weighted=True, examples=20)
    monkeypatch.setattr("fracsde.estimators.noise_scale._DENSE", 3)
    products = gradient_noise_scale(loss, w, weighted=True, examples=20)
    assert products.value == pytest.approx(whole.value, rel=1e-12)
    assert products.stderr == pytest.approx(whole.stderr, rel=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
def test_exact_means_over_every_sample_are_those_of_all(weighted, seed) -> None:
    loss = with_eigenvalues([2.0, 1.0], seed, examples=7)
    w = np.array([1.0, -0.5])
    G, H = loss.gradient(w), loss.H if weighted else np.eye(2)
    found = [
        gradient_noise_scale(loss, w, examples=np.array(s), weighted=weighted)
        for s in combinations(range(7), 4)
    ]
    assert np.mean([f.noise for f in found]) == pytest.approx(np.sum(H * loss.noise), rel=1e-12)
    assert np.mean([f.gradient for f in found]) == pytest.approx(G @ H @ G, rel=1e-11)


@pytest.mark.twin
def test_twin_the_square_of_the_mean_is_too_large(seed) -> None:
    loss = with_eigenvalues([2.0, 1.0], seed, examples=7)
    w = np.array([1.0, -0.5])
    G, rows = loss.gradient(w), loss.per_example_gradients(w)
    squares = [np.sum(rows[list(s)].mean(axis=0) ** 2) for s in combinations(range(7), 4)]
    excess = np.mean(squares) - G @ G
    # (1 - n/N) S^2 / n, exactly.
    assert excess == pytest.approx((1 - 4 / 7) * np.trace(loss.noise) * 7 / 6 / 4, rel=1e-10)


def all_pairs(loss, w, b, B):
    """Squared norms over every batch of two sizes, the smaller inside the larger."""
    rows = loss.per_example_gradients(w)
    small, large = [], []
    for outer in combinations(range(len(rows)), B):
        for inner in combinations(outer, b):
            small.append(np.sum(rows[list(inner)].mean(axis=0) ** 2))
            large.append(np.sum(rows[list(outer)].mean(axis=0) ** 2))
    return np.array(small), np.array(large)


def test_exact_corrections_for_batches_without_replacement(seed) -> None:
    loss = with_eigenvalues([2.0, 1.0], seed, examples=7)
    w = np.array([1.0, -0.5])
    G, C = loss.gradient(w), loss.noise
    pairs = all_pairs(loss, w, 2, 4)
    # One row per chain: means over chains are means over all batches.
    columns = [values[:, None] for values in pairs]
    batches = {"small_batch": 2, "large_batch": 4}
    law = noise_scale_of_batches(*columns, **batches)
    assert law.noise == pytest.approx(np.trace(C) * 7 / 6, rel=1e-11)
    assert law.gradient == pytest.approx(G @ G - np.trace(C) / 6, rel=1e-10)
    data = noise_scale_of_batches(*columns, dataset_size=7, **batches)
    assert data.noise == pytest.approx(np.trace(C), rel=1e-11)
    assert data.gradient == pytest.approx(G @ G, rel=1e-10)


def halves(rng, chains, draws, batch, mean, dimension=5):
    """Gradients of two halves of a batch, noise of unit variance per example."""
    parts = mean + rng.normal(size=(2, chains, draws, dimension)) / np.sqrt(batch)
    small = np.square(parts).sum(axis=3).mean(axis=0)
    return small, np.square(parts.mean(axis=0)).sum(axis=2)


def test_exact_halves_are_a_pair_of_batches(seed) -> None:
    # The form with the product of the halves is the same numbers.
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(2, 20, 6, 3)) + 1.0
    small = np.square(parts).sum(axis=3).mean(axis=0)
    large = np.square(parts.mean(axis=0)).sum(axis=2)
    found = noise_scale_of_batches(small, large, small_batch=8, large_batch=16)
    product = np.sum(parts[0] * parts[1], axis=2).mean()
    assert found.gradient == pytest.approx(product, rel=1e-12)
    assert found.value == pytest.approx((small.mean() / product - 1.0) * 8, rel=1e-12)


@pytest.mark.parametrize(("chains", "draws"), [(20, 20), (2, 400)])
def test_law_errors_are_honest_and_a_mean_of_ratios_is_not_the_scale(chains, draws, seed) -> None:
    # Coverage is counted by `validation/covered/gradients.py`.
    rng = np.random.default_rng(seed)
    trials, hits, values, errors, naive = 500, 0, [], [], []
    for _ in range(trials):
        small, large = halves(rng, chains, draws, 4, 0.4)
        found = noise_scale_of_batches(small, large, small_batch=4, large_batch=8)
        low, high = found.interval
        hits += low <= 5 / (5 * 0.16) <= high
        values.append(found.value)
        errors.append(found.stderr)
        each = (small - large) / (1 / 4 - 1 / 8) / (2 * large - small)
        naive.append(np.mean(each))
    assert covers(hits, trials, 0.95)
    assert np.mean(np.array(errors) ** 2) == pytest.approx(np.var(values), rel=0.25)
    # The mean of ratios is another number, and often no number at all.
    assert abs(np.median(naive) / 6.25 - 1.0) > 0.2


def test_says_when_there_is_no_gradient(seed) -> None:
    rng = np.random.default_rng(seed)
    small, large = halves(rng, 20, 10, 4, 0.0)
    found = noise_scale_of_batches(small, large, small_batch=4, large_batch=8)
    assert not found.resolved
    assert found.interval[1] == np.inf
    assert found.interval[0] > 5.0
    assert "no upper end" in found.sentence
    with pytest.raises(RecordError, match="not told from zero"):
        found.measurement()
    clear = noise_scale_of_batches(
        *halves(rng, 20, 10, 4, 1.0), small_batch=4, large_batch=8
    ).measurement()
    assert clear.quantity.unit == "examples"
    assert clear.n_effective[0] == 20


def test_exact_fieller_set_is_where_the_test_does_not_reject(seed) -> None:
    rng = np.random.default_rng(seed)
    grid = np.concatenate([-np.geomspace(1e3, 1e-3, 400), np.geomspace(1e-3, 1e3, 400)])
    seen = set()
    for _ in range(300):
        root = rng.normal(size=(2, 2))
        V, (a, b) = root @ root.T, rng.normal(size=2) * 3.0
        found = ratio_of(a, b, V, count=20, level=0.05, method="")
        t = stats.t.isf(0.025, 19)
        inside = (a - grid * b) ** 2 <= t**2 * (V[0, 0] - 2 * grid * V[0, 1] + grid**2 * V[1, 1])
        low, high = found.interval
        if abs(b) > t * np.sqrt(V[1, 1]):
            kept = inside & (grid >= 0) if a > 0 < b else inside
            expected = (grid >= low) & (grid <= high)
            assert np.mean(kept != expected) < 0.01
            seen.add("closed")
        else:
            assert high == np.inf
            # Nothing that the test keeps is left out, among positive values.
            assert not np.any(inside & (grid > 0) & (grid < low * 0.999))
            seen.add("open" if low > 0 else "all")
    assert seen == {"closed", "open", "all"}


def test_refuses_bad_questions() -> None:
    ones = np.ones((20, 5))
    with pytest.raises(OutOfRangeError, match="one size"):
        noise_scale_of_batches(ones, ones, small_batch=4, large_batch=4)
    with pytest.raises(OutOfRangeError, match="dataset_size"):
        noise_scale_of_batches(ones, ones, small_batch=4, large_batch=8, dataset_size=6)
    with pytest.raises(ShapeError, match="one shape"):
        noise_scale_of_batches(ones, ones[:, :4], small_batch=4, large_batch=8)
    with pytest.raises(NotFiniteError, match="must be finite"):
        noise_scale_of_batches(ones * np.nan, ones, small_batch=4, large_batch=8)
    short = np.random.default_rng(0).normal(size=(2, 40))
    with pytest.raises(RecordError, match="at least 16 chains"):
        noise_scale_of_batches(short**2, 2 * short[::-1] ** 2, small_batch=4, large_batch=8)


def test_errors_at_a_point_are_honest(seed) -> None:
    rng = np.random.default_rng(seed)
    whole = rng.normal(size=(200, 3))
    loss = QuadraticLoss(H=np.eye(3), shifts=whole)
    w = np.array([1.0, 0.5, 0.0])
    found = [gradient_noise_scale(loss, w, examples=100, rng=rng) for _ in range(500)]
    values = np.array([f.value for f in found])
    errors = np.array([f.stderr for f in found])
    assert honest(values, errors)
    assert not honest(values, np.sqrt(2) * errors)  # without the correction for a finite population

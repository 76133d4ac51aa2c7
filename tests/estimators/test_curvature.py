"""Eigenpairs and spectral densities against matrices whose spectrum is chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from fracsde.errors import (
    ComputationError,
    InputError,
    NotSymmetricError,
    OutOfRangeError,
    UnsupportedError,
)
from fracsde.estimators import curvature, spectral_density
from fracsde.networks import Network
from fracsde.status import Status
from tests.support.laws import covers, follows, honest
from tests.support.quadratic_loss import QuadraticLoss, with_eigenvalues

EIGENVALUES = np.concatenate([[50.0, 20.0, 19.9], np.linspace(1.0, 0.0, 290), [-0.5, -2.0, -7.0]])
SIZE = len(EIGENVALUES)


def loss_of(seed):
    return with_eigenvalues(EIGENVALUES, seed)


def test_exact_all_eigenpairs_of_a_small_matrix(seed) -> None:
    loss = loss_of(seed)
    found = curvature(loss, np.zeros(SIZE))
    np.testing.assert_allclose(found.eigenvalues, EIGENVALUES, atol=1e-12 * 50)
    H = (found.vectors * found.eigenvalues) @ found.vectors.T
    np.testing.assert_allclose(H, loss.H, atol=1e-12 * 50)
    assert found.residuals.max() < 1e-12
    assert (found.negative, found.all_negative, found.complete) == (3, True, True)
    V = np.random.default_rng(seed).normal(size=(SIZE, 2))
    np.testing.assert_allclose(found.block(V), V.T @ loss.H @ V, rtol=1e-12)
    np.testing.assert_allclose(found.rotate(loss.H), np.diag(EIGENVALUES), atol=1e-11)


@pytest.mark.parametrize(
    ("which", "expected", "negative", "all_negative"),
    [
        ("largest", [50.0, 20.0, 19.9, 1.0], 0, False),
        ("smallest", [0.0, -0.5, -2.0, -7.0], 3, True),
        ("both", [50.0, 20.0, 19.9, 1.0, 0.0, -0.5, -2.0, -7.0], 3, True),
    ],
)
def test_routes_agree_products_and_decomposition(
    which, expected, negative, all_negative, seed
) -> None:
    loss = loss_of(seed)
    seen = []
    found = curvature(loss, np.zeros(SIZE), top=4, which=which, progress=seen.append)
    gap = np.abs(found.eigenvalues - expected)
    # The residuals bound the errors, and are as small as was asked.
    assert np.all(gap <= found.residuals + 1e-12)
    assert found.residuals.max() < 1e-5
    assert (found.negative, found.all_negative) == (negative, all_negative)
    assert not found.complete
    assert found.matrix is None
    assert seen == list(range(1, len(seen) + 1))
    V = np.eye(SIZE)[:, :2]
    np.testing.assert_allclose(found.block(V), loss.H[:2, :2], atol=1e-14)
    whole = curvature(loss, np.zeros(SIZE), top=200, which=which)
    assert whole.matrix is not None  # more than half of them: decomposed
    ends = [whole.eigenvalues[:4]] if which == "largest" else [whole.eigenvalues[-4:]]
    if which == "both":
        ends = [whole.eigenvalues[:4], whole.eigenvalues[-4:]]
    np.testing.assert_allclose(np.concatenate(ends), expected, atol=1e-11)


def test_routes_agree_on_a_network(seed) -> None:
    rng = np.random.default_rng(seed)
    net = Network(inputs=rng.normal(size=(30, 4)), targets=np.arange(30) % 3, hidden=(8,))
    w = net.initial_parameters(rng)
    whole, top = curvature(net, w), curvature(net, w, top=3)
    np.testing.assert_allclose(top.eigenvalues, whole.eigenvalues[:3], rtol=1e-8)
    overlap = np.abs(np.sum(top.vectors * whole.vectors[:, :3], axis=0))
    np.testing.assert_allclose(overlap, 1.0, atol=1e-8)
    assert whole.negative == np.sum(whole.eigenvalues < -1e-12)


@pytest.mark.twin
def test_twin_a_wrong_eigenvalue_lies_outside_its_residual(seed) -> None:
    found = curvature(loss_of(seed), np.zeros(SIZE), top=3)
    assert not np.all(np.abs(1.001 * found.eigenvalues - EIGENVALUES[:3]) <= found.residuals)


@dataclass(frozen=True, kw_only=True)
class Lopsided(QuadraticLoss):
    def hessian_vector_product(self, w, v):
        return np.triu(self.H) @ v

    def hessian(self, w):
        return np.triu(self.H)


@pytest.mark.twin
@pytest.mark.parametrize("top", [None, 3])
def test_twin_products_that_are_not_symmetric_are_refused(top, seed) -> None:
    inner = loss_of(seed)
    with pytest.raises(NotSymmetricError):
        curvature(Lopsided(H=inner.H, shifts=inner.shifts), np.zeros(SIZE), top=top)


def test_says_when_it_did_not_converge(seed) -> None:
    options = {"top": 4, "which": "smallest", "max_products": 30}
    with pytest.raises(ComputationError, match="max_products"):
        curvature(loss_of(seed), np.zeros(SIZE), **options)
    found = curvature(loss_of(seed), np.zeros(SIZE), throw=False, **options)
    assert found.status is Status.NOT_CONVERGED
    assert len(found.eigenvalues) < 4


def test_refuses_bad_questions(seed) -> None:
    loss, w = with_eigenvalues([1.0, 2.0, 3.0], seed), np.zeros(3)
    with pytest.raises(InputError, match="largest"):
        curvature(loss, w, which="biggest")
    with pytest.raises(OutOfRangeError, match="top"):
        curvature(loss, w, top=4)
    net = Network(inputs=np.eye(3), targets=[0, 1, 2], hidden=())
    with pytest.raises(UnsupportedError, match="gauss_newton=False"):
        curvature(net, np.zeros(12), gauss_newton=True)
    with pytest.raises(OutOfRangeError, match="probes"):
        spectral_density(loss, w, probes=1)
    with pytest.raises(OutOfRangeError, match="below"):
        spectral_density(loss, w).count_between(1.0, 1.0)


def test_keeps_interrupts(seed) -> None:
    def stop(count):
        if count == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        curvature(loss_of(seed), np.zeros(SIZE), top=4, progress=stop)


# The density


@pytest.mark.parametrize("vectors", ["rademacher", "gaussian"])
def test_exact_moments_of_each_random_vector(vectors, seed) -> None:
    loss = loss_of(seed)
    found = spectral_density(
        loss, np.zeros(SIZE), probes=3, steps=6, vectors=vectors, rng=np.random.default_rng(5)
    )
    rng = np.random.default_rng(5)
    if vectors == "rademacher":
        z = rng.choice([-1.0, 1.0], size=(3, SIZE))
    else:
        z = rng.standard_normal((3, SIZE))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    power, scale = z.copy(), 50.0
    for k in range(2 * 6):  # exact up to degree 2 m - 1
        exact = np.sum(z * power, axis=1)
        rule = np.sum(found.weights * found.nodes**k, axis=1)
        np.testing.assert_allclose(rule, exact, atol=1e-11 * scale**k)
        power = power @ loss.H
    beyond = np.sum(found.weights * found.nodes**12, axis=1)
    assert np.all(np.abs(beyond / np.sum(z * power, axis=1) - 1.0) > 1e-13)
    with pytest.raises(OutOfRangeError, match="order"):
        found.moment(12)


def test_exact_with_as_many_steps_as_parameters(seed) -> None:
    eigenvalues = np.array([9.0, 4.0, 1.0, 0.5, -1.0, -3.0])
    found = spectral_density(with_eigenvalues(eigenvalues, seed), np.zeros(6), steps=50)
    assert found.nodes.shape == (10, 6)
    np.testing.assert_allclose(found.nodes, np.tile(eigenvalues[::-1], (10, 1)), atol=1e-11)
    count = found.count_between(0.0, np.inf)
    assert count.low <= count.value <= count.high


def test_exact_where_the_random_vector_meets_few_eigenvectors(seed) -> None:
    # Two eigenvalues: two steps say everything, and more must do no harm.
    loss = with_eigenvalues(np.repeat([2.0, 5.0], [12, 8]), seed)
    found = spectral_density(loss, np.zeros(20), steps=15, probes=400)
    assert np.all((found.nodes > 2.0 - 1e-9) & (found.nodes < 5.0 + 1e-9))
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0, rtol=1e-12)
    count = found.count_between(4.0, 6.0)
    assert follows(count.value, 8.0, count.stderr)
    np.testing.assert_allclose(found.trace_of(lambda h: (h - 2) * (h - 5))[0], 0.0, atol=1e-9)


def test_exact_trace_of_a_diagonal_matrix_from_signs(seed) -> None:
    values = np.random.default_rng(seed).normal(size=40)
    loss = QuadraticLoss(H=np.diag(values), shifts=np.zeros((3, 40)))
    trace, stderr = spectral_density(loss, np.zeros(40), steps=5).trace
    assert trace == pytest.approx(values.sum(), abs=1e-11)
    assert stderr < 1e-11
    gaussian = spectral_density(loss, np.zeros(40), steps=5, vectors="gaussian").trace
    assert gaussian[1] > 0.1


def semicircle(count):
    """Eigenvalues at the quantiles of Wigner's law on (-1, 1)."""
    grid = np.linspace(-1, 1, 20_001)
    inside = 0.5 + (grid * np.sqrt(1 - grid**2) + np.arcsin(grid)) / np.pi
    return np.interp((np.arange(count) + 0.5) / count, inside, grid)


@pytest.fixture(scope="module")
def wigner():
    loss = with_eigenvalues(semicircle(400), 11)
    return spectral_density(loss, np.zeros(400), probes=40, steps=30)


def test_law_density_of_the_semicircle(wigner) -> None:
    at = np.linspace(-0.9, 0.9, 13)
    density, stderr, width = wigner.density(at)
    assert width == pytest.approx(2 * 2 / 30, rel=0.02)
    # What smoothing makes of the law.
    h = semicircle(20_000)
    kernel = np.exp(-0.5 * ((at[:, None] - h) / width) ** 2)
    exact = kernel.mean(axis=1) / (width * np.sqrt(2 * np.pi))
    assert follows(density, exact, stderr + 2e-3)
    np.testing.assert_allclose(density, 2 / np.pi * np.sqrt(1 - at**2), atol=0.05)


@pytest.mark.twin
def test_twin_a_density_that_is_shifted_or_too_wide(wigner) -> None:
    at = np.linspace(-0.9, 0.9, 13)
    density, stderr, _ = wigner.density(at)
    shifted, _, _ = wigner.density(at + 0.1)
    wide, _, _ = wigner.density(at, width=0.4)
    assert not follows(shifted, density, stderr + 2e-3)
    assert not follows(wide, density, stderr + 2e-3)


def test_keeps_what_more_steps_would_give_between_the_bounds(seed) -> None:
    # The inequalities of Chebyshev, Markov and Stieltjes, put to the measure of each vector.
    eigenvalues = np.concatenate([semicircle(60), [3.0, 2.5]])
    loss = with_eigenvalues(eigenvalues, seed)
    coarse = spectral_density(loss, np.zeros(62), probes=5, steps=9)
    exact = spectral_density(loss, np.zeros(62), probes=5, steps=62)
    rng = np.random.default_rng(seed)
    for low, high in np.sort(rng.uniform(-1.2, 3.2, size=(60, 2)), axis=1):
        bounds, truth = coarse.count_between(low, high), exact.count_between(low, high)
        assert bounds.low - 1e-8 <= truth.value <= bounds.high + 1e-8
    outliers = coarse.count_between(2.0, np.inf)
    assert outliers.high - outliers.low < 62


@pytest.mark.twin
def test_twin_bounds_of_one_node_only_are_broken(seed) -> None:
    # Counting the nodes themselves is no bound: the true count is often another.
    loss = with_eigenvalues(semicircle(60), seed)
    coarse = spectral_density(loss, np.zeros(60), probes=5, steps=9)
    exact = spectral_density(loss, np.zeros(60), probes=5, steps=60)
    edges = np.linspace(-0.9, 0.9, 19)
    gaps = [
        coarse.count_between(-np.inf, e).value - exact.count_between(-np.inf, e).value
        for e in edges
    ]
    assert np.abs(gaps).max() > 1.0


def test_law_errors_of_the_trace_cover(seed) -> None:
    # 2000 measurements of ten probes: the interval of Student holds the truth in 95 of 100.
    from scipy import stats

    loss = with_eigenvalues(np.linspace(-1.0, 3.0, 40), seed)
    found = spectral_density(loss, np.zeros(40), probes=20_000, steps=2, rng=seed)
    values = 40 * np.sum(found.nodes * found.weights, axis=1).reshape(2000, 10)
    means, errors = values.mean(axis=1), values.std(axis=1, ddof=1) / 10**0.5
    one = spectral_density(loss, np.zeros(40), probes=10, steps=2, rng=seed).trace
    assert one[1] == pytest.approx(errors.mean(), rel=1.0)
    hits = int(np.sum(np.abs(means - 40.0) <= stats.t.isf(0.025, 9) * errors))
    assert abs(hits / 2000 - 0.95) < 0.03
    assert covers(hits, 2000, 0.95)
    assert honest(means, errors)
    assert not honest(means, errors / 10**0.5)

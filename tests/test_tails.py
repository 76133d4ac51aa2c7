"""The tail index: every route held to a second one, and to roots that are known exactly."""

from __future__ import annotations

from itertools import combinations, product

import mpmath
import numpy as np
import pytest
from scipy import integrate, optimize, stats

import fracsde as fs
from fracsde._tails.batches import all_batches, drawn_batches
from fracsde._tails.populations import Population
from fracsde._tails.roots import from_populations
from fracsde._tails.steps import GaussianPull, QuadraticStep
from fracsde.errors import (
    ComputationError,
    InputError,
    NotFiniteError,
    OutOfRangeError,
    ShapeError,
    UnstableError,
    UnsupportedError,
)
from fracsde.problems.sgd_steps import StepRule
from fracsde.status import Status
from tests.support.laws import sigmas

LEVEL = 0.99


def _gaussian(rate, batch, d=1, **more):
    A = np.eye(d) if np.ndim(d) == 0 else np.diag(d)
    return fs.GaussianLeastSquaresSGD(
        covariance=A, label_noise=1.0, learning_rate=rate, batch_size=batch, **more
    )


def _moment(s, rate, batch, ridge=0.0):
    """E|1 - ridge - rate chi2_B/B|^s in closed form, by Kummer's functions, to 30 digits."""
    with mpmath.workdps(30):
        s, k = mpmath.mpf(s), mpmath.mpf(batch) / 2
        theta = 2 * mpmath.mpf(rate) / batch
        z = (1 - mpmath.mpf(ridge)) / theta
        below = mpmath.beta(k, s + 1) * mpmath.hyp1f1(k, k + s + 1, -z)
        above = mpmath.exp(-z) * mpmath.gamma(s + 1) * mpmath.hyperu(s + 1, s + k + 1, z)
        return theta**s * z ** (s + k) / mpmath.gamma(k) * (below + above)


@pytest.mark.parametrize("rate", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("batch", [1, 2, 3, 16])
@pytest.mark.parametrize("ridge", [0.0, 0.4])
def test_exact_root_of_one_weight_with_gaussian_inputs(rate, batch, ridge):
    found = fs.tail_index(_gaussian(rate, batch, ridge=ridge / rate))
    assert found.method == "quadrature"
    assert found.error < 1e-9 * found.index
    low, high = (_moment(end, rate, batch, ridge) - 1 for end in found.interval)
    assert low < 0 < high
    assert abs(_moment(found.index, rate, batch, ridge) - 1) < 1e-11 * max(1.0, found.index)


@pytest.mark.parametrize("keep", [0.0, -0.5])
def test_exact_root_where_decay_alone_overshoots(keep):
    found = fs.tail_index(_gaussian(0.2, 3, ridge=(1.0 - keep) / 0.2))

    def moment(s):
        def part(r):
            return (0.2 * r / 3 - keep) ** s * stats.chi2.pdf(r, 3)

        return sum(integrate.quad(part, *ends, epsabs=1e-13)[0] for ends in [(0, 40), (40, 400)])

    assert moment(found.index - 1e-8) < 1 < moment(found.index + 1e-8)


@pytest.mark.twin
def test_exact_root_rejects_a_wrong_batch_size():
    found = fs.tail_index(_gaussian(0.5, 3))
    assert not _moment(found.interval[0], 0.5, 4) < 1 < _moment(found.interval[1], 0.5, 4)


@pytest.mark.parametrize(("d", "batch"), [(1, 1), (2, 1), (3, 7), (20, 2), (100, 10)])
def test_exact_index_is_two_where_the_second_moment_ends(d, batch):
    found = fs.tail_index(_gaussian(2.0 * batch / (batch + d + 1), batch, d))
    assert abs(found.index - 2.0) <= found.error < 1e-9


def _fourth(rate, batch, d, keep):
    """E|M e|^4 - 1 from moments of chi-squared variables."""
    t = rate / batch
    r = [float(np.prod(batch + 2.0 * np.arange(k))) for k in range(5)]
    y = [1.0, d - 1.0, (d - 1.0) * (d + 1.0)]
    inner = {0: keep**2, 1: -2 * keep * t, 2: t**2}  # (c - t R)^2
    square = sum(a * b * r[i + j] for i, a in inner.items() for j, b in inner.items())
    cross = 2 * t**2 * y[1] * sum(a * r[i + 1] for i, a in inner.items())
    return square + cross + t**4 * y[2] * r[2] - 1


@pytest.mark.parametrize(("d", "batch"), [(1, 2), (2, 3), (5, 4), (30, 8)])
@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_exact_index_is_four_where_the_fourth_moment_ends(d, batch, ridge):
    rate = optimize.brentq(
        lambda x: _fourth(x, batch, d, 1 - x * ridge), 0.05, 2.6 * batch / (batch + d + 1)
    )
    found = fs.tail_index(_gaussian(rate, batch, d, ridge=ridge))
    assert abs(found.index - 4.0) < 1e-8


def test_exact_far_from_the_edge_the_index_is_large_and_still_known():
    rate, batch = 1e-3, 10
    found = fs.tail_index(_gaussian(rate, batch))
    assert 15_000 < found.index < 20_000
    assert found.error < 1e-10 * found.index

    def density(r, s):  # of |M|^s, in R = B z
        return np.exp(s * np.log(abs(1 - rate * r / batch)) + stats.chi2.logpdf(r, batch))

    def moment(s):  # one part from multipliers below 1, the other from R twice that of M = 0
        ends = [(0.0, 60.0), (batch / rate + s, batch / rate + 4 * s)]
        middle = [5.0, batch / rate + 2 * s]
        return sum(
            integrate.quad(density, *end, args=(s,), points=[m], epsabs=1e-12, limit=500)[0]
            for end, m in zip(ends, middle, strict=True)
        )

    assert moment(found.index - 1e-6) < 1 < moment(found.index + 1e-6)


def _data(N=5, d=1, seed=4):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, d)), rng.standard_normal(N)


def _finite(x, y, rate, batch, **more):
    return fs.LeastSquaresSGD(inputs=x, targets=y, learning_rate=rate, batch_size=batch, **more)


@pytest.mark.parametrize("sampling", ["with_replacement", "without_replacement"])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_exact_index_of_a_data_set_is_that_of_its_batches(sampling, ridge):
    x, y = _data()
    draw = {"with_replacement": product, "without_replacement": combinations}[sampling]
    options = {"repeat": 2} if draw is product else {"r": 2}
    batches = list(draw(x[:, 0] ** 2, **options))
    rate = 1.5 / np.mean(x**2)
    listed = fs.RandomMultiplier(values=[1 - rate * (np.mean(b) + ridge) for b in batches])
    found = fs.tail_index(_finite(x, y, rate, 2, sampling=sampling, ridge=ridge))
    expected = fs.tail_index(listed)
    assert found.method == expected.method == "enumeration"
    assert abs(found.index - expected.index) < 1e-12 * expected.index
    assert abs(found.lyapunov_exponent - expected.lyapunov_exponent) < 1e-13


@pytest.mark.parametrize("replace", [True, False])
def test_exact_probabilities_of_batches(replace):
    rows, log_weight = all_batches(5, 3, replace=replace)
    assert len({tuple(row) for row in rows}) == len(rows)
    assert abs(np.exp(log_weight).sum() - 1) < 1e-13
    assert np.allclose(np.exp(log_weight) @ (rows == 2).mean(axis=1), 0.2, atol=1e-14)


@pytest.mark.parametrize(("examples", "batch"), [(5, 3), (40, 4)])
@pytest.mark.parametrize("replace", [True, False])
def test_law_drawn_batches_hold_each_example_equally_often(examples, batch, replace, seed):
    rng = np.random.default_rng(seed)
    drawn = drawn_batches(rng, 20_000, examples, batch, replace=replace)
    if not replace:
        assert all(len(set(row)) == batch for row in drawn[:200].tolist())
    pairs = np.bincount(drawn[:, 0] * examples + drawn[:, -1], minlength=examples**2)
    expected = np.full((examples, examples), 1.0) - (0.0 if replace else np.eye(examples))
    expected = expected.ravel() / expected.sum()
    chi2 = float(
        np.sum((pairs - 20_000 * expected)[expected > 0] ** 2 / (20_000 * expected[expected > 0]))
    )
    if replace or batch == examples:
        assert stats.chi2.sf(chi2, np.sum(expected > 0) - 1) > 1e-9
    counts = np.bincount(drawn.ravel(), minlength=examples) / drawn.size
    assert np.abs(counts - 1 / examples).max() < 6.2 / np.sqrt(examples * drawn.size)


def _within(found, exact):
    """Inside the interval, widened from its confidence to the budget of the suite."""
    reach = stats.norm.isf(0.5 * (1 - found.confidence))
    return abs(found.index - exact) <= found.error * sigmas() / reach


def test_routes_agree_between_samples_and_quadrature(seed):
    exact = fs.tail_index(_gaussian(1.0, 4)).index
    law = fs.RandomMultiplier(sampler=lambda rng, n: 1 - rng.chisquare(4, n) / 4)
    found = fs.tail_index(law, rng=seed)
    assert found.method == "sampling"
    assert found.confidence == LEVEL
    assert _within(found, exact)
    assert found.error < 0.02 * exact
    shifted = fs.RandomMultiplier(sampler=lambda rng, n: 1 - rng.chisquare(4, n) / 4.2)
    assert not _within(fs.tail_index(shifted, rng=seed), exact)


def test_routes_agree_between_sampled_and_enumerated_batches(seed, monkeypatch):
    x, y = _data(9)
    sgd = _finite(x, y, 1.3 / np.mean(x**2), 4)
    exact = fs.tail_index(sgd)
    monkeypatch.setattr("fracsde._tails.routes.MOST_BATCHES", 10)
    found = fs.tail_index(sgd, rng=seed)
    assert (exact.method, found.method) == ("enumeration", "sampling")
    assert _within(found, exact.index)


class _Untilted(GaussianPull):
    """Draws from the tilted law and forgets to weigh."""

    def __call__(self, rng, z, s):
        moved, _ = super().__call__(rng, z, s)
        return moved, 0.0


def _by_populations(pull, rate, d, seed):
    step = QuadraticStep(pull=pull, decay=np.zeros((d, d)), rate=rate, rule=StepRule())
    return from_populations(
        step,
        d,
        bounded=False,
        size=Population(16, 128, 160, 40),
        confidence=LEVEL,
        rng=np.random.default_rng(seed),
        watch=None,
    )


@pytest.mark.parametrize(("d", "batch", "rate"), [(2, 2, 0.9), (5, 3, 0.5)])
def test_routes_agree_between_populations_and_quadrature(d, batch, rate, seed):
    exact = fs.tail_index(_gaussian(rate, batch, d))
    found = _by_populations(GaussianPull(root=np.eye(d), batch=batch), rate, d, seed)
    assert found.status.ok
    half = found.interval[1] - found.index
    assert abs(found.index - exact.index) < 2.5 * half < 0.1 * exact.index
    assert abs(found.lyapunov - exact.lyapunov_exponent) < 2.5 * found.lyapunov_error


@pytest.mark.twin
def test_routes_agree_only_with_weighted_draws(seed):
    exact = fs.tail_index(_gaussian(0.9, 2, 2))
    found = _by_populations(_Untilted(root=np.eye(2), batch=2), 0.9, 2, seed)
    assert not abs(found.index - exact.index) < 2.5 * (found.interval[1] - found.index)


CASES = {
    "anisotropic": lambda rate: _gaussian(rate, 2, [1.0, 0.4, 0.1]),
    "ridge": lambda rate: _gaussian(rate, 2, [1.0, 0.4], ridge=0.2),
    "momentum": lambda rate: _gaussian(rate, 2, 2, momentum=0.5),
    "nesterov": lambda rate: _gaussian(rate, 2, 1, momentum=0.5, nesterov=True),
    "preconditioner": lambda rate: _gaussian(rate, 2, 2, preconditioner=[1.0, 0.3]),
    "data": lambda rate: _finite(*_data(8, 2), rate, 3),
    "subsets": lambda rate: _finite(*_data(8, 2), rate, 3, sampling="without_replacement"),
    "few examples": lambda rate: _finite(*_data(3, 5), rate, 1, momentum=0.3),
    "hessians": lambda rate: fs.QuadraticSGD(
        hessians=[np.diag([1.0, 0.2]), [[2.0, 0.5], [0.5, 1.0]]],
        gradients=[[1.0, 0.0], [-1.0, 0.0]],
        learning_rate=rate,
        batch_size=1,
        weight_decay=0.1,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_routes_agree_at_the_critical_rate_of_the_second_moment(name, seed):
    rate = CASES[name](0.01).critical_learning_rate()
    found = fs.tail_index(CASES[name](rate), rng=seed, vectors=192, steps=120)
    assert found.method == "populations"
    assert _within(found, 2.0), found
    assert found.error < 0.2


@pytest.mark.twin
@pytest.mark.parametrize("name", ["anisotropic", "momentum", "data"])
def test_routes_agree_at_no_other_rate(name, seed):
    rate = 0.9 * CASES[name](0.01).critical_learning_rate()
    found = fs.tail_index(CASES[name](rate), rng=seed, vectors=192, steps=120)
    assert not _within(found, 2.0)


def test_routes_agree_with_the_fourth_power_of_two_matrices(seed):
    rng = np.random.default_rng(7)
    pair = rng.standard_normal((2, 2, 2))
    power = np.mean([np.kron(np.kron(M, M), np.kron(M, M)) for M in pair], axis=0)
    scale = np.abs(np.linalg.eigvals(power)).max() ** -0.25
    law = fs.RandomMultiplier(values=scale * pair)
    found = fs.tail_index(law, rng=seed, vectors=192, steps=120)
    assert _within(found, 4.0)
    drawn = fs.RandomMultiplier(sampler=lambda g, n: scale * pair[g.integers(0, 2, n)], dimension=2)
    assert _within(fs.tail_index(drawn, rng=seed), 4.0)


def test_limit_of_bounded_multipliers_has_all_moments():
    x, y = _data(6)
    slow = 1.9 / np.max(x**2)
    for sgd in (_finite(x, y, slow, 2), _finite(*_data(6, 2), 0.1, 2)):
        found = fs.tail_index(sgd, steps=40)
        assert found.index == found.interval[0] == np.inf
        assert found.error == 0.0
        assert found.status.ok
    assert fs.tail_index(fs.RandomMultiplier(values=[1.0, 0.5, 0.0])).index == np.inf
    with pytest.raises(InputError, match="cannot be compared"):
        fs.tail_index(fs.RandomMultiplier(values=[0.5])).prediction()


def test_values_of_no_probability_do_not_matter():
    law = fs.RandomMultiplier(values=[2.0, 0.25, 1e300], weights=[1.0, 1.0, 0.0])
    golden = np.log2((1 + 5**0.5) / 2)
    assert abs(fs.tail_index(law).index - golden) < 1e-14


def test_growth_and_marginal_cases_are_statuses():
    found = fs.tail_index(_gaussian(5.0, 1), throw=False)
    assert found.status is Status.UNSTABLE
    assert np.isnan(found.index)
    assert found.lyapunov_exponent > found.lyapunov_error
    with pytest.raises(UnstableError, match="Lower `learning_rate`"):
        fs.tail_index(_gaussian(5.0, 1))
    marginal = fs.tail_index(fs.RandomMultiplier(values=[2.0, 0.5]), throw=False)
    assert marginal.status is Status.MARGINAL
    matrices = fs.RandomMultiplier(values=[np.eye(2) * 1.5, np.eye(2)])
    assert fs.tail_index(matrices, throw=False, steps=40).status is Status.UNSTABLE


def test_an_index_out_of_reach_is_bounded_from_below():
    found = fs.tail_index(_gaussian(1e-3, 4, 20), throw=False)
    assert found.status is Status.NOT_CONVERGED
    assert np.isnan(found.index)
    assert 50 < found.interval[0] < found.interval[1] == np.inf
    with pytest.raises(ComputationError, match="told from a Gaussian"):
        fs.tail_index(_gaussian(1e-3, 4, 20))


def test_too_few_samples_behind_a_moment_are_a_status():
    law = fs.RandomMultiplier(sampler=lambda rng, n: np.where(rng.random(n) < 1e-6, 30.0, 0.5))
    found = fs.tail_index(law, throw=False)
    assert found.status is Status.INACCURATE
    with pytest.raises(ComputationError, match="Pass `values`"):
        fs.tail_index(law)


def test_keeps_its_seed_and_reports_progress():
    seen = []
    sgd = _gaussian(0.8, 2, [1.0, 0.3])
    first = fs.tail_index(sgd, rng=5, vectors=64, steps=40, progress=seen.append, throw=False)
    again = fs.tail_index(sgd, rng=5, vectors=64, steps=40, throw=False)
    assert first.index == again.index
    assert first.index != fs.tail_index(sgd, rng=6, vectors=64, steps=40, throw=False).index
    assert seen == list(range(1, len(seen) + 1))
    assert first.provenance == again.provenance
    assert first.prediction().quantity.name == "tail index"


@pytest.mark.parametrize(
    ("law", "error", "message"),
    [
        ({}, InputError, "either `values` or `sampler`"),
        ({"values": [0.5], "sampler": print}, InputError, "either `values` or `sampler`"),
        ({"values": []}, ShapeError, "must have shape"),
        ({"values": np.ones((2, 2, 3))}, ShapeError, "must have shape"),
        ({"values": np.ones((2, 2))}, ShapeError, "1 or 3 axes"),
        ({"values": [np.nan]}, NotFiniteError, "finite"),
        ({"values": [1.0], "weights": [-1.0]}, OutOfRangeError, "probabilities"),
        ({"values": [1.0], "weights": [0.0]}, OutOfRangeError, "probabilities"),
        ({"values": [1.0], "weights": [1.0, 1.0]}, ShapeError, "weights"),
        ({"sampler": 3}, InputError, "callable"),
        ({"sampler": print, "weights": [1.0]}, InputError, "belong to `values`"),
        ({"sampler": print, "dimension": 0}, OutOfRangeError, "at least 1"),
    ],
)
def test_refuses_laws_that_are_none(law, error, message):
    with pytest.raises(error, match=message):
        fs.RandomMultiplier(**law)


def test_refuses_what_has_no_index():
    near = fs.SGDNearMinimum(
        hessian=[[1.0]], gradient_noise=[[1.0]], learning_rate=0.1, batch_size=1
    )
    with pytest.raises(InputError, match="makes no tails of its own"):
        fs.tail_index(near)
    x, y = _data(6)
    with pytest.raises(UnsupportedError, match="shuffled"):
        fs.tail_index(_finite(x, y, 0.1, 2, sampling="shuffled"))
    with pytest.raises(UnsupportedError, match="no example moves"):
        fs.tail_index(_finite(np.zeros((3, 1)), np.ones(3), 0.1, 1))
    with pytest.raises(ShapeError, match="real numbers of shape"):
        fs.tail_index(fs.RandomMultiplier(sampler=lambda rng, n: np.ones(3)))
    with pytest.raises(NotFiniteError, match="finite numbers"):
        fs.tail_index(fs.RandomMultiplier(sampler=lambda rng, n: np.full(n, np.nan)))
    with pytest.raises(InputError, match="`rng` must be"):
        fs.tail_index(_gaussian(0.5, 1), rng="seed")
    with pytest.raises(OutOfRangeError, match="confidence"):
        fs.tail_index(_gaussian(0.5, 1), confidence=1.0)

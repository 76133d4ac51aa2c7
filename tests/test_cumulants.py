"""Cumulants of one weight: exact against enumerated laws, against covariances, against runs."""

from __future__ import annotations

from itertools import combinations, product

import mpmath
import numpy as np
import pytest

import fracsde as fs
from fracsde._tails.joint_moments import batch_moments
from fracsde._tails.responses import _by_monomials, response_sum
from fracsde.errors import (
    InputError,
    NotFiniteError,
    OutOfRangeError,
    ShapeError,
    UnstableError,
    UnsupportedError,
)
from fracsde.problems.sgd_steps import StepRule
from fracsde.status import Status
from tests.support.laws import follows
from tests.support.markov import stationary_moments

RULES = [
    {},
    {"momentum": 0.6},
    {"momentum": 0.6, "nesterov": True},
    {"momentum": 0.6, "dampening": 0.3},
]


def _data(N=6, seed=2):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 1.5, (N, 1)), rng.standard_normal(N) ** 2


def _sgd(rate=0.2, batch=2, **more):
    x, y = _data()
    return fs.LeastSquaresSGD(inputs=x, targets=y, learning_rate=rate, batch_size=batch, **more)


def _central(moments):
    m = moments
    return np.array([m[1], m[2] - m[1] ** 2, m[3] - 3 * m[1] * m[2] + 2 * m[1] ** 3])


@pytest.mark.parametrize("sampling", ["with_replacement", "without_replacement"])
@pytest.mark.parametrize("ridge", [0.0, 0.4])
@pytest.mark.parametrize("preconditioner", [None, 0.5])
def test_exact_against_the_stationary_law_of_all_batches(sampling, ridge, preconditioner):
    x, y = _data()
    sgd = _sgd(0.4, sampling=sampling, ridge=ridge, preconditioner=preconditioner)
    rate = 0.4 * (preconditioner or 1.0)
    pairs = (
        list(product(range(6), repeat=2))
        if sampling == "with_replacement"
        else list(combinations(range(6), 2))
    )

    def step(pair):
        c = np.mean(x[list(pair), 0] ** 2) + ridge
        g = np.mean(x[list(pair), 0] * y[list(pair)])
        return lambda w: w - rate * (c * w - g)

    ends = [step(pair)(0.0) / (-(step(pair)(1.0) - step(pair)(0.0) - 1.0)) for pair in pairs]
    interval = (min(ends) - 0.1, max(ends) + 0.1)
    moments = stationary_moments(
        [step(pair) for pair in pairs], np.full(len(pairs), 1 / len(pairs)), interval, degree=8
    )
    found = fs.stationary_cumulants(sgd)
    mean, variance, third = _central(moments)
    centred = moments[4] - 4 * mean * moments[3] + 6 * mean**2 * moments[2] - 3 * mean**4
    expected = [mean, variance, third, centred - 3 * variance**2]
    scale = variance ** (0.5 * np.arange(1, 5)) * 1e-11
    assert np.all(np.abs(found.cumulants - expected) < scale)
    assert found.relative_error < 1e-10
    assert abs(found.skewness - third / variance**1.5) < 1e-10


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("sampling", ["with_replacement", "without_replacement"])
def test_routes_agree_with_the_stationary_covariance(rule, sampling):
    sgd = _sgd(0.1, ridge=0.2, sampling=sampling, **rule)
    expected = fs.stationary_covariance(sgd).matrix[0, 0]
    assert abs(fs.stationary_cumulants(sgd).variance - expected) < 1e-12 * expected


@pytest.mark.parametrize("rule", RULES)
def test_routes_agree_where_the_curvature_is_the_same_for_all(rule):
    # The noise of shifted parabolas does not depend on the state.
    gradients = np.array([-1.0, -1.0, -1.0, 3.0])
    quadratic = fs.QuadraticSGD(
        hessians=np.full((4, 1, 1), 0.7),
        gradients=gradients[:, None],
        learning_rate=0.5,
        batch_size=3,
        **rule,
    )
    near = quadratic.near_minimum()
    third = np.mean(gradients**3)
    fourth = np.mean(gradients**4) - 3 * np.mean(gradients**2) ** 2
    by_cumulants = fs.stationary_cumulants(near, noise_cumulants=[third, fourth])
    np.testing.assert_allclose(
        by_cumulants.cumulants[1:], fs.stationary_cumulants(quadratic).cumulants[1:], rtol=1e-11
    )


@pytest.mark.parametrize("rule", RULES)
def test_exact_sum_over_the_response(rule):
    sgd = fs.SGDNearMinimum(
        hessian=[[0.8]],
        gradient_noise=[[2.0]],
        learning_rate=0.5,
        batch_size=4,
        weight_decay=0.3,
        **rule,
    )
    w, v, responses = 0.0, 0.0, []
    a, b, c = sgd.rule.gains
    w, v = -a * 0.5, -c * 0.5
    for _ in range(400):
        responses.append(w)
        pull = 0.5 * 1.1 * w
        w, v = w - a * pull + b * v, sgd.momentum * v - c * pull
    found = fs.stationary_cumulants(sgd, noise_cumulants=[-5.0, 7.0, 11.0], order=5)
    psi = np.array(responses)
    expected = [k * np.sum(psi**n) / 4.0 ** (n - 1) for n, k in [(2, 2.0), (3, -5.0), (4, 7.0)]]
    np.testing.assert_allclose(found.cumulants[1:4], expected, rtol=1e-11)
    assert abs(found.cumulants[4] / (11.0 * np.sum(psi**5) / 4**4) - 1) < 1e-11


@pytest.mark.twin
def test_exact_sum_rejects_a_positive_sign_of_the_third():
    sgd = fs.SGDNearMinimum(
        hessian=[[1.0]], gradient_noise=[[1.0]], learning_rate=0.5, batch_size=1
    )
    found = fs.stationary_cumulants(sgd, noise_cumulants=[2.0])
    assert not np.isclose(found.cumulants[2], 0.5**3 * 2.0 / (1 - 0.5**3))


def test_exact_gaussian_noise_has_a_gaussian_law():
    sgd = fs.SGDNearMinimum(
        hessian=[[1.0]], gradient_noise=[[1.0]], learning_rate=1e-9, batch_size=1, momentum=0.0
    )
    found = fs.stationary_cumulants(sgd, order=6)
    np.testing.assert_array_equal(found.cumulants[2:], 0.0)
    # The smallest rates lose nothing: 1 - phi^2 is formed without subtraction.
    assert abs(found.variance / (1e-9 / (2 - 1e-9)) - 1) < 1e-15


@pytest.mark.parametrize("replace", [True, False])
def test_exact_joint_moments_of_all_batches(replace):
    sgd = _sgd()
    noise = sgd.second_moments.noise
    c = noise.factors[:, 0, 0] ** 2
    g = noise.gradients[:, 0] - noise.gradients[:, 0].mean()
    pairs = product(range(6), repeat=3) if replace else combinations(range(6), 3)
    batches = np.array(list(pairs))
    found = batch_moments(noise, decay=0.3, batch=3, order=4, replace=replace)
    for left in range(5):
        for m in range(5 - left):
            products = (c[batches].mean(axis=1) + 0.3) ** left * g[batches].mean(axis=1) ** m
            assert abs(found[left, m] - products.mean()) < 1e-13


def test_law_of_gaussian_inputs_with_a_ridge(seed):
    sgd = fs.GaussianLeastSquaresSGD(
        covariance=[[0.5]],
        label_noise=0.7,
        weights=[1.2],
        ridge=0.3,
        learning_rate=0.8,
        batch_size=4,
    )
    rng = np.random.default_rng(seed)
    w = np.full(150_000, float(sgd.minimum[0]))
    for _ in range(30):
        x = rng.normal(0.0, np.sqrt(0.5), (4, len(w)))
        gradient = np.mean((x * (w - 1.2) - rng.normal(0.0, 0.7, x.shape)) * x, axis=0)
        w = w - 0.8 * (gradient + 0.3 * w)
    found = fs.stationary_cumulants(sgd, order=8)
    z = w - float(sgd.minimum[0])
    centred = [np.mean(z**n) for n in (1, 2, 3, 4)]
    stderr = [np.std(z**n) / np.sqrt(len(z)) for n in (1, 2, 3, 4)]
    k = found.cumulants
    expected = np.array([0.0, k[1], k[2], k[3] + 3 * k[1] ** 2])
    assert follows(centred, expected, stderr)
    assert not follows(centred[3], 3 * k[1] ** 2, stderr[3])  # a Gaussian of this variance
    assert abs(found.variance - fs.stationary_covariance(sgd).matrix[0, 0]) < 1e-13


def test_limit_of_the_tail_index_is_where_moments_end():
    # alpha = 3.50 at eta a = 1 and batches of four: a variance and no fourth moment.
    sgd = fs.GaussianLeastSquaresSGD(
        covariance=[[1.0]], label_noise=1.0, learning_rate=1.0, batch_size=4
    )
    assert 3 < fs.tail_index(sgd).index < 4
    found = fs.stationary_cumulants(sgd, order=6)
    assert found.finite_order == 2
    assert np.isfinite(found.variance)
    assert found.cumulants[3] == found.cumulants[5] == found.excess_kurtosis == np.inf
    assert np.isnan(found.skewness)
    assert found.status is Status.SUCCESS


@pytest.mark.parametrize("rule", RULES)
def test_limit_of_the_variance_is_the_critical_rate(rule):
    critical = _sgd(0.1, **rule).critical_learning_rate()
    assert np.isfinite(fs.stationary_cumulants(_sgd(0.999 * critical, **rule)).variance)
    beyond = fs.stationary_cumulants(_sgd(1.001 * critical, **rule), throw=False)
    assert beyond.status is Status.UNSTABLE
    assert beyond.variance == np.inf
    assert np.isnan(beyond.mean)
    with pytest.raises(UnstableError, match="the variance is infinite"):
        fs.stationary_cumulants(_sgd(1.001 * critical, **rule))


def test_interpolated_data_have_no_spread():
    x, _ = _data()
    sgd = fs.LeastSquaresSGD(inputs=x, targets=2.0 * x[:, 0], learning_rate=0.3, batch_size=1)
    found = fs.stationary_cumulants(sgd)
    np.testing.assert_allclose(found.cumulants, [2.0, 0.0, 0.0, 0.0], atol=1e-15)
    assert np.isnan(found.skewness)
    whole = fs.stationary_cumulants(_sgd(0.3, 6, sampling="without_replacement"))
    np.testing.assert_array_equal(whole.cumulants[1:], 0.0)


def _near(**change):
    return fs.SGDNearMinimum(
        **{
            "hessian": [[1.0]],
            "gradient_noise": [[1.0]],
            "learning_rate": 0.1,
            "batch_size": 2,
            "dataset_size": 10,
        }
        | change
    )


@pytest.mark.parametrize(
    ("sgd", "options", "error", "message"),
    [
        (lambda: 3.0, {}, InputError, "must be SGDNearMinimum"),
        (lambda: _near(hessian=np.eye(2), gradient_noise=np.eye(2)), {}, ShapeError, "one weight"),
        (lambda: _near(sampling="shuffled"), {}, UnsupportedError, "correlated"),
        (
            lambda: _near(sampling="without_replacement"),
            {"noise_cumulants": [1.0]},
            UnsupportedError,
            "need the data",
        ),
        (_sgd, {"noise_cumulants": [1.0]}, InputError, "leave them out"),
        (_near, {"noise_cumulants": [np.nan]}, NotFiniteError, "finite"),
        (_near, {"order": 1}, OutOfRangeError, "between 2 and 12"),
        (_near, {"order": 13}, OutOfRangeError, "between 2 and 12"),
        (lambda: _near(learning_rate=3.0), {}, UnstableError, "not below 2"),
        (lambda: _near(hessian=[[0.0]]), {}, UnstableError, "infinite"),
    ],
)
def test_refuses_what_it_cannot_serve(sgd, options, error, message):
    with pytest.raises(error, match=message):
        fs.stationary_cumulants(sgd(), **options)


def test_refuses_moments_beyond_the_largest_double():
    loud = fs.SGDNearMinimum(
        hessian=[[0.1]], gradient_noise=[[1.0]], learning_rate=5.0, batch_size=1
    )
    with pytest.raises(OutOfRangeError, match="lower `order`"):
        fs.stationary_cumulants(loud, order=12, noise_cumulants=[1e308] * 10)
    far = fs.GaussianLeastSquaresSGD(
        covariance=[[1.0]], label_noise=1e200, learning_rate=0.5, batch_size=2
    )
    with pytest.raises(OutOfRangeError, match="choose other units"):
        fs.stationary_cumulants(far)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_exact_high_cumulants_are_not_lost_between_moments(share, momentum):
    """Moments of order six cancel in the sixth cumulant, by four digits near the border."""
    given = {"hessian": 1.0, "gradient_noise": 2.0, "batch_size": 4, "momentum": momentum}
    limit = fs.SGDNearMinimum(**given, learning_rate=1.0).critical_learning_rate()
    rate = share * limit
    sgd = fs.SGDNearMinimum(**given, learning_rate=rate)
    found = fs.stationary_cumulants(sgd, order=6, noise_cumulants=[0.0, 0.0, 0.0, 11.0])
    # A unit kick, followed step by step.
    w, v, response = 1.0, 1.0, 0.0
    for _ in range(20_000):
        response += w**6
        v = momentum * v - rate * w
        w += v
    expected = rate**6 * 11.0 / 4**5 * response
    assert found.cumulants[5] == pytest.approx(expected, rel=1e-9 if momentum else 1e-12)
    assert abs(found.cumulants[5] - expected) <= (found.relative_error + 1e-12) * expected
    # Normal up to there: nothing is left by cancellation.
    assert np.all(found.cumulants[2:5] == 0.0)
    assert found.excess_kurtosis == 0.0


def response_in_high_precision(rule, pull: float, n: int) -> mpmath.mpf:
    # Monomials of weight and velocity, with sixty digits.
    a, b, c = (mpmath.mpf(float(gain)) for gain in rule.gains)
    weight, velocity = [1 - a * pull, b], [-c * pull, mpmath.mpf(rule.momentum)]
    size = n + 1 if rule.has_velocity else 1
    lost = mpmath.eye(size)
    for i in range(size):
        row = [mpmath.mpf(1)]
        for factor in [weight] * (n - i) + [velocity] * i:
            one, two = [*row, 0], [0, *row]
            row = [x * factor[0] + y * factor[1] for x, y in zip(one, two, strict=True)]
        for j in range(size):
            lost[i, j] -= row[j]
    kicked = mpmath.matrix([a ** (n - i) * c**i for i in range(size)])
    return mpmath.lu_solve(lost, kicked)[0]


STEPS = [StepRule(), StepRule(momentum=0.5), StepRule(momentum=0.9, dampening=0.2)]
STEPS += [StepRule(momentum=0.99), StepRule(momentum=0.9, nesterov=True)]
# Shares of the largest stable pull, from flat to the border.
SHARES = [1e-12, 1e-6, 0.01, 0.3, 0.9, 1.0 - 1e-4, 1.0 - 1e-9]


@pytest.mark.parametrize("rule", STEPS)
@pytest.mark.parametrize("share", SHARES)
def test_response_in_high_precision_is_within_a_bound_that_is_not_wide(rule, share):
    a, b, c = rule.gains
    limit = 2.0 * (1.0 + rule.momentum) / (a * (1.0 + rule.momentum) - b * c)
    pull = share * (limit if rule.has_velocity else 2.0)
    with mpmath.workdps(60):
        for n in (2, 3, 4, 7):
            found, bound = response_sum(rule, pull, n)
            exact = response_in_high_precision(rule, pull, n)
            assert abs(found / exact - 1) <= bound
            # Of the border the distance is known as well as the pull.
            assert n > 4 or bound < 2e-11 + 1e-13 / (1.0 - share)


@pytest.mark.twin
def test_monomials_alone_lose_slow_modes_and_the_border():
    with mpmath.workdps(60):
        for share, n in ((1e-12, 2), (1.0 - 1e-9, 4)):
            rule, pull = STEPS[3], share * 3.98
            found, bound = _by_monomials(rule, pull, n)
            exact = response_in_high_precision(rule, pull, n)
            assert abs(found / exact - 1) > 1e-8
            assert bound > 0.01


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("rate", [1e-9, 1e-3])
def test_routes_agree_at_small_rates_within_what_both_state(rule, rate):
    gradients = np.array([-1.0, -1.0, -1.0, 3.0])
    quadratic = fs.QuadraticSGD(
        hessians=np.full((4, 1, 1), 0.7),
        gradients=gradients[:, None],
        learning_rate=rate,
        batch_size=3,
        **rule,
    )
    third, fourth = np.mean(gradients**3), np.mean(gradients**4) - 3 * np.mean(gradients**2) ** 2
    by_filter = fs.stationary_cumulants(
        quadratic.near_minimum(), noise_cumulants=[third, fourth], order=3
    )
    by_moments = fs.stationary_cumulants(quadratic, order=3)
    assert by_filter.relative_error + by_moments.relative_error < 1e-12
    gap = np.abs(by_filter.cumulants - by_moments.cumulants)[1:]
    units = np.abs(by_filter.variance) ** np.array([1.0, 1.5])
    assert np.all(gap <= (by_filter.relative_error + by_moments.relative_error) * units)

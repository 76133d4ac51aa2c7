"""Samplers against the laws they claim, with fixed sizes, and against exact joint laws."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from scipy.special import beta, rgamma

from fracsde.errors import GridError, InputError, OutOfRangeError, ShapeError
from fracsde.special.mittag_leffler import mittag_leffler
from fracsde.special.sampling import (
    sample_first_passage,
    sample_inverse_stable,
    sample_inverse_stable_paths,
    sample_stable,
)
from fracsde.special.stable import inverse_stable_cdf, stable_cdf
from tests.support.laws import BUDGET, LOOKS, follows

N = 200_000  # Kolmogorov's statistic then sees a shift of 0.75 % of the probability
ORDERS = (0.05, 0.4, 0.7, 0.95)


def drawn_from(sample: np.ndarray, cdf: object) -> bool:
    return bool(stats.kstest(sample, cdf).pvalue > BUDGET / LOOKS)


def kanter(alpha: float, seed: int, *, width: float = 1.0, power: float = 1.0) -> np.ndarray:
    """Return stable variables in plain NumPy, with damages to choose."""
    rng = np.random.default_rng(seed)
    u, w = np.pi * width * rng.random(N), rng.standard_exponential(N)
    gap = 1 - alpha
    A = np.sin(gap * u) * np.sin(alpha * u) ** (alpha / gap) / np.sin(u) ** (1 / gap)
    return (A / w) ** (power * gap / alpha)


@pytest.mark.parametrize("alpha", [0.02, *ORDERS, 0.99])
def test_law_of_stable_variables(alpha, seed):
    sample = sample_stable(alpha, N, seed)
    finite = np.minimum(sample, 1e300)  # at alpha = 0.02 one in a million exceeds it
    assert drawn_from(finite, lambda x: stable_cdf(np.minimum(x, 1e300), alpha))


@pytest.mark.parametrize("alpha", ORDERS)
def test_law_of_stable_variables_has_the_stretched_laplace_transform(alpha, seed):
    sample = sample_stable(alpha, N, seed)
    for p in (0.1, 1.0, 4.0):
        mean, square = math.exp(-(p**alpha)), math.exp(-((2 * p) ** alpha))
        assert follows(np.exp(-p * sample).mean(), mean, ((square - mean**2) / N) ** 0.5)


def test_law_of_stable_variables_is_kanters(seed):
    assert drawn_from(kanter(0.6, seed), lambda x: stable_cdf(x, 0.6))


@pytest.mark.twin
@pytest.mark.parametrize("damage", [{"width": 0.5}, {"width": 0.98}, {"power": 1.05}])
def test_law_of_stable_variables_rejects(damage, seed):
    assert not drawn_from(kanter(0.6, seed, **damage), lambda x: stable_cdf(x, 0.6))


@pytest.mark.parametrize("alpha", [0.02, *ORDERS, 0.99])
def test_law_of_inverse_stable_variables(alpha, seed):
    t = 3.7
    sample = sample_inverse_stable(t, alpha, N, seed)
    assert drawn_from(sample, lambda s: inverse_stable_cdf(s, t, alpha))
    moments = [math.gamma(1 + n) / math.gamma(1 + n * alpha) * t ** (n * alpha) for n in range(5)]
    for n in (1, 2):
        stderr = ((moments[2 * n] - moments[n] ** 2) / N) ** 0.5
        assert follows((sample**n).mean(), moments[n], stderr)


@pytest.mark.twin
def test_law_of_inverse_stable_variables_rejects_a_time_off_by_two_percent(seed):
    sample = sample_inverse_stable(3.7 * 1.02, 0.95, N, seed)
    assert not drawn_from(sample, lambda s: inverse_stable_cdf(s, 3.7, 0.95))


@pytest.mark.parametrize("alpha", [0.02, 0.4, 0.7, 0.99])
def test_law_of_first_passage_times_is_that_of_the_inverse(alpha, seed):
    time, _, _ = sample_first_passage(0.3, alpha, N, seed)
    assert drawn_from(time, lambda s: inverse_stable_cdf(s, 0.3, alpha))


@pytest.mark.parametrize("alpha", ORDERS)
def test_law_of_positions_around_the_passage(alpha, seed):
    level = 2.5
    _, before, after = sample_first_passage(level, alpha, N, seed)
    assert np.all((before >= 0) & (before <= level) & (after >= level))
    # Both level / after and before / level have the generalised arcsine law.
    law = stats.beta(alpha, 1 - alpha)
    # Nearer to the level numbers are too coarse: there only the count is compared.
    resolved, near = 1 - 1e-12, float(law.sf(1 - 1e-12))
    for sample in (before / level, level / after):
        seen = sample < resolved
        assert follows(1 - seen.mean(), near, (near * (1 - near) / N) ** 0.5)
        assert drawn_from(sample[seen], lambda x: law.cdf(x) / (1 - near))


def joint_moments(alpha: float) -> list[tuple[int, float, float]]:
    """Return, for E[T before**k], the power, the mean and the mean square, at level 1."""

    def mean(n: int, k: int) -> float:
        # T = before**alpha R, and R has the law of an inverse variable weighted by itself.
        weighted = math.gamma(2 + n) / math.gamma(1 + (n + 1) * alpha) * math.gamma(1 + alpha)
        return float(beta(alpha * (1 + n) + k, 1 - alpha) / beta(alpha, 1 - alpha)) * weighted

    return [(k, mean(1, k), mean(2, 2 * k)) for k in (0, 1, 3)]


@pytest.mark.parametrize("alpha", ORDERS)
def test_law_of_passage_times_together_with_positions_before(alpha, seed):
    time, before, _ = sample_first_passage(1.0, alpha, N, seed)
    for k, mean, square in joint_moments(alpha):
        assert follows((time * before**k).mean(), mean, ((square - mean**2) / N) ** 0.5)


@pytest.mark.twin
@pytest.mark.parametrize("alpha", [0.4, 0.7])
def test_law_of_passages_rejects_times_without_the_weight(alpha, seed):
    _, before, _ = sample_first_passage(1.0, alpha, N, seed)
    time = before**alpha * sample_inverse_stable(1.0, alpha, N, seed + 1)
    assert not drawn_from(time, lambda s: inverse_stable_cdf(s, 1.0, alpha))


@pytest.mark.twin
def test_law_of_passages_rejects_times_independent_of_positions(seed):
    time, _, _ = sample_first_passage(1.0, 0.7, N, seed)
    _, before, _ = sample_first_passage(1.0, 0.7, N, seed + 1)
    passed = [
        follows((time * before**k).mean(), mean, ((square - mean**2) / N) ** 0.5)
        for k, mean, square in joint_moments(0.7)
    ]
    assert passed == [True, False, False]


S, T = 1.0, 1.6  # two times


def two_time_transform(alpha: float, mu: float, lam: float) -> float:
    """Return E exp(-mu E_S - lam (E_T - E_S)); the display in ``fracsde.special.sampling``."""
    # With y = S v**(1 / alpha) the singularity at 0 is gone, and the integrand is smooth in
    # v and, next to 1, in (T - y)**alpha.
    v, w = np.polynomial.legendre.leggauss(200)
    v, w = 0.5 * (v + 1), 0.5 * w
    y = S * v ** (1 / alpha)
    n = np.arange(120)
    two_parameter = (-mu * S**alpha * v[:, None]) ** n @ rgamma(alpha * n + alpha)
    rest = mittag_leffler(-lam * (T - y) ** alpha, alpha)
    integral = w @ (two_parameter * rest) * S**alpha / alpha
    return float(mittag_leffler(-lam * T**alpha, alpha) + (lam - mu) * integral)


TRANSFORMS = ((0.5, 2.0), (1.5, 0.0), (0.0, 1.5), (1.0, -0.0), (0.3, 5.0))


def worst_transform(paths: np.ndarray, alpha: float) -> bool:
    first, step = paths[:, 0], paths[:, 1] - paths[:, 0]
    passed = []
    for mu, lam in TRANSFORMS:
        mean, square = (
            two_time_transform(alpha, mu, lam),
            two_time_transform(alpha, 2 * mu, 2 * lam),
        )
        value = np.exp(-mu * first - lam * step).mean()
        passed.append(follows(value, mean, ((square - mean**2) / N) ** 0.5))
    return all(passed)


@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.8, 0.95])
def test_law_of_paths_at_two_times(alpha, seed):
    assert worst_transform(sample_inverse_stable_paths([S, T], alpha, N, seed), alpha)


@pytest.mark.twin
@pytest.mark.parametrize("alpha", [0.5, 0.8])
def test_law_of_paths_rejects_a_restart_at_the_time_instead_of_the_position(alpha, seed):
    first = sample_inverse_stable(S, alpha, N, seed)
    step = sample_inverse_stable(T - S, alpha, N, seed + 1)
    assert not worst_transform(np.stack([first, first + step], axis=1), alpha)


@pytest.mark.twin
def test_law_of_paths_rejects_one_variable_for_both_times(seed):
    first = sample_inverse_stable(S, 0.8, N, seed)
    assert not worst_transform(np.stack([first, first * T**0.8], axis=1), 0.8)


@pytest.mark.parametrize("alpha", [0.3, 0.8])
def test_law_of_paths_with_times_between(alpha, seed):
    # Times between change how a path is made, not its law.
    times = np.concatenate([[0.0], np.linspace(0.1, S, 7), np.linspace(1.1, T, 5)])
    paths = sample_inverse_stable_paths(times, alpha, N, seed)
    assert np.all(paths[:, 0] == 0.0)
    assert np.all(np.diff(paths, axis=1) >= 0)
    assert worst_transform(paths[:, [7, 12]], alpha)
    for j in (1, 4, 12):
        assert drawn_from(paths[:, j], lambda s, j=j: inverse_stable_cdf(s, times[j], alpha))


@pytest.mark.parametrize("alpha", [0.3, 0.8])
def test_law_of_paths_standing_still(alpha, seed):
    # No passage between S and T: the position after that of S is beyond T.
    paths = sample_inverse_stable_paths([S, T], alpha, N, seed)
    still = stats.beta(alpha, 1 - alpha).cdf(S / T)
    assert follows((paths[:, 0] == paths[:, 1]).mean(), still, (still * (1 - still) / N) ** 0.5)


@pytest.mark.parametrize("alpha", [0.3, 0.8])
def test_routes_agree_on_the_two_time_moment(alpha, seed):
    # E[E_S E_T] from the display of the transform, differentiated, and from its closed form.
    v, w = np.polynomial.legendre.leggauss(200)
    v, w = 0.5 * (v + 1), 0.5 * w
    y = S * v ** (1 / alpha)
    inner = w @ (T - y) ** alpha * S**alpha / alpha + S ** (2 * alpha) * beta(alpha, 1 + alpha)
    mean = inner / (math.gamma(1 + alpha) * math.gamma(alpha))

    def moment(mu: float, nu: float) -> float:  # E exp(-mu E_S - nu E_T)
        return two_time_transform(alpha, mu + nu, nu)

    def mixed(h: float) -> float:
        return (moment(h, h) - moment(h, 0.0) - moment(0.0, h) + 1.0) / h**2

    rows = [mixed(0.04 / 2**k) for k in range(6)]
    for k in range(1, 6):  # to the limit, in powers of h
        rows = [(2**k * b - a) / (2**k - 1) for a, b in pairwise(rows)]
    assert abs(rows[0] / mean - 1) < 2e-9
    paths = sample_inverse_stable_paths([S, T], alpha, N, seed)
    product = paths[:, 0] * paths[:, 1]
    assert follows(product.mean(), mean, product.std() / N**0.5)


@pytest.mark.parametrize("alpha", [0.003, 0.999999])
def test_keeps_numbers_at_extreme_orders(alpha, seed):
    assert not np.isnan(sample_stable(alpha, 10_000, seed)).any()
    time, before, after = sample_first_passage([1e-300, 1.0, 1e300], alpha, (5_000, 3), seed)
    level = np.array([1e-300, 1.0, 1e300])
    assert np.all(np.isfinite(time) & (time >= 0))
    assert np.all((before >= 0) & (before <= level) & (after >= level))
    paths = sample_inverse_stable_paths([0.0, 1e-300, 1.0, 1e300], alpha, 5_000, seed)
    assert np.all(np.isfinite(paths))
    assert np.all(np.diff(paths, axis=1) >= 0)


def test_limit_order_one_is_the_time_itself():
    assert np.all(sample_stable(1.0, (2, 3), 1) == 1.0)
    t = np.array([0.0, 1.0, 2.5])
    assert np.array_equal(sample_inverse_stable(t, 1.0, (4, 3), 1), np.tile(t, (4, 1)))
    assert np.array_equal(sample_inverse_stable_paths(t, 1.0, 4, 1), np.tile(t, (4, 1)))
    assert all(np.all(x == 2.0) for x in sample_first_passage(2.0, 1.0, 5, 1))
    near = sample_inverse_stable_paths(t, 1 - 1e-6, 2000, 1)
    assert np.quantile(np.abs(near - t), 0.99) < 1e-3


def test_keeps_draws_of_a_seed_and_moves_a_generator_on():
    for draw in (
        lambda rng: sample_stable(0.6, 7, rng),
        lambda rng: sample_inverse_stable(2.0, 0.6, 7, rng),
        lambda rng: sample_first_passage(2.0, 0.6, 7, rng)[0],
        lambda rng: sample_inverse_stable_paths([1.0, 2.0], 0.6, 7, rng),
    ):
        assert np.array_equal(draw(5), draw(np.int64(5)))
        assert np.array_equal(draw(5), draw(np.random.SeedSequence(5)))
        assert np.array_equal(draw(5), draw(np.random.default_rng(5)))
        generator = np.random.default_rng(5)
        assert not np.array_equal(draw(generator), draw(generator))


def test_keeps_arguments_and_shapes():
    t = np.array([0.0, 1.0, 4.0])
    t.flags.writeable = False
    draws = sample_inverse_stable(t, 0.5, (1000, 3), 1)
    assert draws.shape == (1000, 3)
    assert np.all(draws[:, 0] == 0.0)
    assert sample_stable(0.5, (), 1).shape == ()
    assert sample_stable(0.5, (0, 4), 1).shape == (0, 4)
    assert sample_inverse_stable_paths(t, 0.5, 0, 1).shape == (0, 3)
    assert sample_first_passage(1.0, 0.5, (2, 3), 1)[2].shape == (2, 3)
    assert sample_inverse_stable(t[::2], 0.5, (5, 2), 1).flags.writeable


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: sample_stable(1.1, 3, 1), OutOfRangeError, "do not exist"),
        (lambda: sample_stable(True, 3, 1), InputError, "real number, got True$"),
        (lambda: sample_stable(0.5, 2.5, 1), InputError, "`size`"),
        (lambda: sample_stable(0.5, -1, 1), OutOfRangeError, "`size`"),
        (lambda: sample_stable(0.5, 3, None), InputError, "`rng`"),
        (lambda: sample_stable(0.5, 3, True), InputError, "`rng`"),
        (lambda: sample_inverse_stable(-1.0, 0.5, 3, 1), OutOfRangeError, "E_0 = 0"),
        (lambda: sample_inverse_stable([1.0, 2.0], 0.5, 3, 1), ShapeError, "broadcast"),
        (lambda: sample_first_passage(0.0, 0.5, 3, 1), OutOfRangeError, "`level`"),
        (lambda: sample_inverse_stable_paths([1.0, 1.0], 0.5, 3, 1), GridError, "increase"),
        (lambda: sample_inverse_stable_paths([-1.0, 1.0], 0.5, 3, 1), GridError, "0 or later"),
        (lambda: sample_inverse_stable_paths(1.0, 0.5, 3, 1), ShapeError, "`times`"),
    ],
)
def test_refuses_what_it_cannot_mean(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_keeps_passages_beyond_the_numbers_at_small_orders(seed):
    _, before, after = sample_first_passage(1.0, 0.003, 20_000, seed)
    # Both logarithms are spread alike: P(before < 5e-324) by the arcsine law.
    share = float(stats.beta(0.003, 0.997).cdf(5e-324))
    assert follows((before == 0.0).mean(), share, (share * (1 - share) / 20_000) ** 0.5)
    assert np.isinf(after).any()

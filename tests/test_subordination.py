"""Exact laws on the fractional clock, against Mittag-Leffler functions and high precision."""

from __future__ import annotations

import tracemalloc
from math import gamma

import mpmath
import numpy as np
import pytest
from scipy.special import erfcx

from fracsde._subordination.clock import clock_rule
from fracsde._subordination.flows import DenseFlow, flow_of
from fracsde._subordination.lattice import clock_lattice
from fracsde.errors import (
    ComputationError,
    InputError,
    OutOfRangeError,
    ShapeError,
    UnstableError,
    UnsupportedError,
)
from fracsde.lyapunov.propagators import gap_law
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.problems.structured import DiagonalOU, LowRankOU
from fracsde.problems.subordinated import SubordinatedOU
from fracsde.special.mittag_leffler import mittag_leffler
from fracsde.special.stable import inverse_stable_sf, wright_m
from fracsde.subordination import (
    density_at,
    distribution_at,
    sample_at,
    two_time_covariance,
    variance_along,
)
from fracsde.transients import (
    autocovariance,
    covariance_at,
    mean_at,
    mean_square_displacement,
    relaxation_rates,
)
from tests.support.exact import fractional_ornstein_uhlenbeck

RNG = np.random.default_rng(3)
_ROOT = RNG.normal(size=(4, 4))
SYMMETRIC = OUProcess(
    drift=_ROOT @ _ROOT.T / 4 + 0.1 * np.eye(4), noise=np.cov(RNG.normal(size=(4, 9))), mean=1.0
)
TURNING = OUProcess(
    drift=[[1.0, 2.0], [-1.5, 0.4]], noise=[[1.0, 0.3], [0.3, 0.5]], mean=[1.0, 2.0]
)
DEFECTIVE = OUProcess(drift=[[1.0, 3.0], [0.0, 1.0]], noise=[[0.5, 0.1], [0.1, 2.0]])
NON_NORMAL = OUProcess(drift=[[1.0, 50.0], [0.0, 1.1]], noise=np.eye(2))
STARTS = {2: np.array([2.0, -1.0]), 4: np.array([2.0, -1.0, 0.5, 3.0])}
SPREADS = {2: np.array([[0.5, 0.2], [0.2, 0.3]]), 4: np.diag([0.1, 0.2, 0.0, 1.0])}
TIMES = np.array([0.0, 1e-9, 0.1, 1.0, 30.0, 1e6])


def worst(found, expected) -> float:
    """Largest error beside the largest entry."""
    found, expected = np.asarray(found), np.asarray(expected)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


# --- the rule ---------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [0.0, 1e-3, 1.0, 30.0, 1e3, 1e6, 1e12])
def test_exact_clock_average_of_an_exponential_is_relatively_right(x: float) -> None:
    rule = clock_rule(0.5, np.array([x + 0j]))
    assert abs(rule.weights @ np.exp(-x * rule.nodes) / erfcx(x) - 1.0) < 1e-14


@pytest.mark.parametrize("alpha", [0.02, 0.1, 0.3, 0.6, 0.9, 0.99, 0.9999])
def test_exact_clock_average_has_the_moments_of_the_clock(alpha: float) -> None:
    rule = clock_rule(alpha, np.array([1e4 + 0j]))
    assert np.all(rule.weights > 0.0)
    for n in range(6):
        expected = gamma(n + 1) / gamma(1 + alpha * n)
        assert abs(rule.weights @ rule.nodes**n / expected - 1.0) < 2e-14
    x = np.geomspace(0.01, 1e4, 13)
    values = np.exp(-np.outer(x, rule.nodes)) @ rule.weights
    # The reference is right to 2e-15 absolutely.
    np.testing.assert_allclose(values, mittag_leffler(-x, alpha), rtol=2e-13, atol=4e-15)


def series(z: complex, alpha: float) -> complex:
    """Mittag-Leffler function: by its series in high precision where that is short."""
    if abs(z) ** (1 / alpha) > 30.0 and z.imag == 0.0:
        return complex(mittag_leffler(z.real, alpha))
    with mpmath.workdps(40 + int(abs(z) ** (1 / alpha))):
        total, k = mpmath.mpc(0), 0
        while True:
            term = mpmath.mpc(z) ** k * mpmath.rgamma(1 + mpmath.mpf(alpha) * k)
            total, k = total + term, k + 1
            if alpha * k > abs(z) ** (1 / alpha) and abs(term) < mpmath.mpf(10) ** -30:
                return complex(total)


RATES = [2.0 + 3.0j, 0.3 + 6.0j, 5.0j, -3.0 + 0.0j, -1.0 + 2.0j]


@pytest.mark.parametrize("alpha", [0.4, 0.6, 0.9])
@pytest.mark.parametrize("rate", RATES)
def test_exact_clock_average_of_turning_and_growing_modes(rate: complex, alpha: float) -> None:
    rule = clock_rule(alpha, np.array([rate]))
    value = rule.weights @ np.exp(-rate * rule.nodes)
    assert abs(value / series(-rate, alpha) - 1.0) < 2e-14


@pytest.mark.twin
@pytest.mark.parametrize("wrong", [0.6 * 1.0001, 0.6 * 0.9999])
def test_clock_average_rejects_a_slightly_wrong_order(wrong: float) -> None:
    rule = clock_rule(wrong, np.array([1.0 + 0j]))
    assert abs(rule.weights @ np.exp(-rule.nodes) - mittag_leffler(-1.0, 0.6)) > 1e-6


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.6, 0.9, 0.97])
def test_routes_agree_lattice_and_panels(alpha: float) -> None:
    rates = np.array([0.0, 0.01, 1.0, 1.0 + 1.0j, 100.0])
    theta = np.array([1e-9, 1e-4, 1e-2, 1.0, 50.0])
    lattice = clock_lattice(alpha, rates, 1e-3, 50.0)
    plain, sized = lattice.weights(theta)
    assert plain.min() >= 0.0
    rule = clock_rule(alpha, 50.0 * rates)
    for i, scale in enumerate(theta):
        there = np.exp(-np.outer(lattice.nodes, rates))
        here = np.exp(-scale * np.outer(rule.nodes, rates))
        np.testing.assert_allclose(plain[i] @ there, rule.weights @ here, rtol=2e-13)
        np.testing.assert_allclose(sized[i] @ there, (rule.weights * rule.nodes) @ here, rtol=1e-12)


@pytest.mark.parametrize("base", [TURNING, DEFECTIVE, NON_NORMAL])
def test_routes_agree_laws_of_many_times_and_of_one(base: OUProcess) -> None:
    flow, law = flow_of(base), gap_law(base)
    assert isinstance(flow, DenseFlow)
    s = np.array([3.0, 0.0, 1e-8, 40.0, 0.2])
    E, away, spread = flow.laws(s)
    for i, gap in enumerate(s):
        one = law(float(gap))
        # On its way up a strongly non-normal drift takes vectors to 18 times their length.
        np.testing.assert_allclose(E[i], one[0], rtol=0, atol=5e-13)
        np.testing.assert_allclose(away[i], one[1], rtol=0, atol=5e-13)
        np.testing.assert_allclose(spread[i], one[2], rtol=0, atol=1e-12 * np.abs(one[2]).max())


# --- moments ----------------------------------------------------------------------------------


def lyapunov_moments(base: OUProcess, theta, alpha: float, start, spread):
    """Mean and covariance from the fractional Lyapunov equation in eigenvectors of the drift."""
    rates, V = np.linalg.eig(base.drift)
    W = np.linalg.inv(V)
    v = W @ (start - base.mean)
    sums = np.add.outer(rates, rates.conj())
    M0 = W @ spread @ W.conj().T + np.outer(v, v.conj())
    limit = W @ base.noise @ W.conj().T / sums
    relax = np.array([[series(-z * theta, alpha) for z in row] for row in sums])
    mean = base.mean + (V @ (np.array([series(-z * theta, alpha) for z in rates]) * v)).real
    M = (V @ (limit + relax * (M0 - limit)) @ V.conj().T).real
    return mean, M - np.outer(mean - base.mean, mean - base.mean)


@pytest.mark.parametrize("alpha", [0.4, 0.7, 1.0])
@pytest.mark.parametrize("base", [SYMMETRIC, TURNING], ids=["symmetric", "turning"])
def test_exact_moments_solve_the_fractional_lyapunov_equation(base: OUProcess, alpha) -> None:
    process = SubordinatedOU(base=base, alpha=alpha, timescale=2.0)
    start, spread = STARTS[base.dimension], SPREADS[base.dimension]
    times = np.array([0.03, 0.5, 1.5])
    mean = mean_at(process, times, start)
    covariance = covariance_at(process, times, spread, initial=start)
    for i, theta in enumerate(process.operational(times)):
        expected = lyapunov_moments(base, theta, alpha, start, spread)
        assert worst(mean[i], expected[0]) < 2e-14
        assert worst(covariance[i], expected[1]) < 1e-13


@pytest.mark.twin
@pytest.mark.parametrize(
    "damage",
    [
        {"timescale": 2.1},
        {"alpha": 0.7 * 1.02},
        {"base": OUProcess(drift=TURNING.drift.T, noise=TURNING.noise, mean=TURNING.mean)},
    ],
)
def test_moments_reject_damage(damage) -> None:
    wrong = SubordinatedOU(**{"base": TURNING, "alpha": 0.7, "timescale": 2.0, **damage})
    right = SubordinatedOU(base=TURNING, alpha=0.7, timescale=2.0)
    expected = lyapunov_moments(TURNING, right.operational(0.5), 0.7, STARTS[2], SPREADS[2])
    assert worst(mean_at(wrong, 0.5, STARTS[2])[0], expected[0]) > 1e-3
    assert worst(covariance_at(wrong, 0.5, SPREADS[2], initial=STARTS[2])[0], expected[1]) > 1e-3


def half_order_average(base: OUProcess, theta: float, start) -> tuple[np.ndarray, np.ndarray]:
    """Mean and raw second moment at ``alpha = 1/2`` by high-precision quadrature over the clock."""
    with mpmath.workdps(30):
        d = base.dimension
        A, N = mpmath.matrix(base.drift.tolist()), mpmath.matrix(base.noise.tolist())
        block = mpmath.zeros(2 * d)
        block[:d, :d], block[:d, d:], block[d:, d:] = -A, N, A.T
        v = mpmath.matrix((start - base.mean).tolist())
        nodes, weights = np.polynomial.legendre.leggauss(24)
        mean, raw = mpmath.zeros(d, 1), mpmath.zeros(d)
        for left in range(0, 12, 2):
            for x, w in zip(nodes, weights, strict=True):
                u = left + 1 + mpmath.mpf(x)
                law = mpmath.expm(block * (theta * u))
                E = law[:d, :d]
                weight = mpmath.mpf(w) * mpmath.exp(-u * u / 4) / mpmath.sqrt(mpmath.pi)
                mean += weight * (E * v)
                raw += weight * (law[:d, d:] * E.T + E * v * v.T * E.T)
        return np.array(mean.tolist(), dtype=float)[:, 0], np.array(raw.tolist(), dtype=float)


@pytest.mark.parametrize("base", [DEFECTIVE, NON_NORMAL], ids=["defective", "non-normal"])
def test_exact_moments_of_drifts_without_usable_eigenvectors(base: OUProcess) -> None:
    process = SubordinatedOU(base=base, alpha=0.5)
    mean, raw = half_order_average(base, 0.8, STARTS[2])
    found = mean_at(process, 0.64, STARTS[2])[0]
    covariance = covariance_at(process, 0.64, initial=STARTS[2])[0]
    assert worst(found - base.mean, mean) < 2e-14
    assert worst(covariance + np.outer(mean, mean), raw) < 2e-14


@pytest.mark.twin
def test_defective_check_rejects_a_split_pair_of_rates() -> None:
    near = OUProcess(drift=[[1.0, 3.0], [0.0, 1.0001]], noise=DEFECTIVE.noise)
    mean, _ = half_order_average(DEFECTIVE, 0.8, STARTS[2])
    found = mean_at(SubordinatedOU(base=near, alpha=0.5), 0.64, STARTS[2])[0]
    assert worst(found, mean) > 1e-6


@pytest.mark.parametrize("base", [SYMMETRIC, TURNING, DEFECTIVE])
@pytest.mark.parametrize("alpha", [0.2, 0.6, 0.95])
def test_keeps_covariances_positive_at_any_time(base: OUProcess, alpha: float) -> None:
    process = SubordinatedOU(base=base, alpha=alpha)
    found = covariance_at(process, TIMES, initial=1e3 * STARTS[base.dimension])
    np.testing.assert_array_equal(found, found.transpose(0, 2, 1))
    for matrix in found:
        values = np.linalg.eigvalsh(matrix)
        assert values[0] >= -1e-13 * values[-1]


def test_keeps_digits_of_a_variance_at_short_times() -> None:
    # Without noise all variance is the clock's: (a v)**2 Var E_t, far below eps * v**2.
    alpha, a, v, t = 0.6, 2.0, 1e3, 1e-14
    process = SubordinatedOU(base=OUProcess(drift=a, noise=0.0), alpha=alpha)
    theta = t**alpha
    expected = (a * v * theta) ** 2 * (2 / gamma(1 + 2 * alpha) - 1 / gamma(1 + alpha) ** 2)
    found = covariance_at(process, t, initial=v)[0, 0, 0]
    assert abs(found / expected - 1.0) < 1e-7  # the next term is theta = 4e-9
    x = mittag_leffler(-2 * a * theta, alpha) - mittag_leffler(-a * theta, alpha) ** 2
    assert abs(v * v * x / expected - 1.0) > 1e-3  # what a difference would give


def test_relaxation_keeps_its_digits_over_many_decades() -> None:
    process = SubordinatedOU(base=OUProcess(drift=1.0, noise=2.0), alpha=0.5)
    found = mean_at(process, [1e6, 1e20], 1.0)[:, 0]
    np.testing.assert_allclose(found, erfcx([1e3, 1e10]), rtol=2e-14)


@pytest.mark.parametrize("base", [SYMMETRIC, TURNING])
def test_limit_order_one_is_the_base(base: OUProcess) -> None:
    process = SubordinatedOU(base=base, alpha=1.0, timescale=3.0)
    times, start = np.array([0.0, 0.3, 2.0]), STARTS[base.dimension]
    spread = SPREADS[base.dimension]
    U = np.ones((base.dimension, 1))
    pairs = [
        (mean_at(process, times, start), mean_at(base, times, start)),
        (covariance_at(process, times, spread, initial=start), covariance_at(base, times, spread)),
        (autocovariance(process, times), autocovariance(base, times)),
        (
            mean_square_displacement(process, times, start=start),
            mean_square_displacement(base, times, start=start),
        ),
        (
            mean_square_displacement(process, times, directions=U),
            mean_square_displacement(base, times, directions=U),
        ),
    ]
    for found, expected in pairs:
        assert worst(found, expected) < 2e-14


def test_limit_near_order_one_is_approached_linearly() -> None:
    errors = []
    for gap in (1e-2, 1e-3, 1e-4):
        process = SubordinatedOU(base=TURNING, alpha=1.0 - gap)
        found = covariance_at(process, 1.3, initial=TURNING.mean)[0]
        errors.append(np.abs(found - covariance_at(TURNING, 1.3)[0]).max())
    assert 9.0 < errors[0] / errors[1] < 11.0
    assert 9.8 < errors[1] / errors[2] < 10.2


def test_exact_displacement_of_free_diffusion() -> None:
    process = SubordinatedOU(base=OUProcess(drift=np.zeros((2, 2)), noise=2 * np.eye(2)), alpha=0.3)
    times = np.array([1e-6, 1.0, 1e4])
    found = mean_square_displacement(process, times, start=[5.0, 5.0])
    np.testing.assert_allclose(found, 4.0 * times**0.3 / gamma(1.3), rtol=1e-14)


def test_exact_displacement_from_the_stationary_law() -> None:
    process = SubordinatedOU(base=OUProcess(drift=2.0, noise=4.0), alpha=0.5)
    times = np.array([1e-8, 0.1, 10.0])
    x = 2.0 * np.sqrt(times)
    short = 2 * x / np.sqrt(np.pi) - x * x + 4 * x**3 / (3 * np.sqrt(np.pi)) - x**4 / 2
    expected = 2.0 * np.where(x < 1e-2, short, 1.0 - erfcx(x))
    np.testing.assert_allclose(mean_square_displacement(process, times), expected, rtol=2e-14)
    np.testing.assert_allclose(autocovariance(process, times)[:, 0, 0], erfcx(x), rtol=1e-14)


def test_exact_moments_of_an_unstable_process_until_they_overflow() -> None:
    process = SubordinatedOU(base=OUProcess(drift=-1.0, noise=2.0), alpha=0.5)
    with mpmath.workdps(30):
        grown = float(mpmath.exp(25) * mpmath.erfc(-5))
    assert abs(mean_at(process, 25.0, 1.0)[0, 0] / grown - 1.0) < 2e-14
    with pytest.raises(ComputationError, match="shorter times"):
        mean_at(process, 1e4, 1.0)


# --- two times --------------------------------------------------------------------------------


def phi(mu: complex, lam: complex, s: float, t: float, alpha: float) -> complex:
    """``E exp(-mu E_s - lam (E_t - E_s))`` by the renewal formula in high precision."""
    a = mpmath.mpf(alpha)

    def relax(z: complex, beta: mpmath.mpf) -> mpmath.mpc:
        total, k = mpmath.mpc(0), 0
        while True:
            term = mpmath.mpc(z) ** k * mpmath.rgamma(beta + a * k)
            total, k = total + term, k + 1
            if k > 10 and abs(term) < mpmath.mpf(10) ** -22:
                return total

    with mpmath.workdps(25):
        # y = s r**(1/a) removes the singularity at 0.
        s, t = mpmath.mpf(s), mpmath.mpf(t)

        def integrand(r: mpmath.mpf) -> mpmath.mpc:
            after = relax(-lam * (t - s * r ** (1 / a)) ** a, mpmath.mpf(1))
            return relax(-mu * s**a * r, a) * after

        whole = mpmath.quad(integrand, [0, 1], maxdegree=6)
        return complex(relax(-lam * t**a, mpmath.mpf(1)) + (lam - mu) * s**a / a * whole)


CASES = [(0.6, 0.5, 2.0), (0.6, 1.0, 1.0001), (0.3, 0.2, 1.0), (0.9, 0.7, 1.5)]


@pytest.mark.parametrize(("alpha", "s", "t"), CASES)
def test_exact_two_time_moment_from_a_point_and_from_a_normal_law(alpha, s, t) -> None:
    a, noise, v, spread = 0.8, 1.3, 1.7, 0.4
    process = SubordinatedOU(base=OUProcess(drift=a, noise=noise, mean=2.0), alpha=alpha)
    limit = noise / (2 * a)
    for c in (0.0, spread):
        expected = (v * v + c - limit) * phi(2 * a, a, s, t, alpha) + limit * phi(
            0.0, a, s, t, alpha
        )
        found = two_time_covariance(
            process, s, t, initial=2.0 + v, initial_covariance=c, centred=False
        )
        assert abs(found[0, 0] / expected.real - 1.0) < 2e-13


@pytest.mark.parametrize(("alpha", "s", "t"), CASES[:2])
def test_exact_two_time_correlation_of_a_turning_process(alpha, s, t) -> None:
    # A = a I + w J commutes with its transpose: complex exponentials carry the correlation.
    a, w = 0.5, 0.9
    base = OUProcess(drift=[[a, w], [-w, a]], noise=2 * a * np.eye(2))
    process = SubordinatedOU(base=base, alpha=alpha)
    value = phi(0.0, complex(a, w), s, t, alpha)
    found = two_time_covariance(process, s, t, initial="stationary")
    expected = [[value.real, value.imag], [-value.imag, value.real]]
    assert worst(found, expected) < 2e-13


@pytest.mark.twin
def test_two_time_check_rejects_the_formula_without_its_memory() -> None:
    process = SubordinatedOU(base=OUProcess(drift=0.8, noise=1.6), alpha=0.6)
    found = two_time_covariance(process, 0.5, 2.0, initial="stationary")[0, 0]
    lag = mittag_leffler(-0.8 * 1.5**0.6, 0.6)  # a function of the lag alone, as on a real clock
    assert abs(found / phi(0.0, 0.8, 0.5, 2.0, 0.6).real - 1.0) < 2e-13
    assert abs(found / lag - 1.0) > 0.05


@pytest.mark.parametrize("base", [SYMMETRIC, TURNING, DEFECTIVE, NON_NORMAL])
@pytest.mark.parametrize(
    ("alpha", "when"), [(0.15, 1e-6), (0.15, 1e3), (0.6, 1.0), (0.6, 1e3), (0.9, 1.0)]
)
def test_routes_agree_one_time_and_two_equal_times(base: OUProcess, alpha, when) -> None:
    process = SubordinatedOU(base=base, alpha=alpha, timescale=0.5)
    start, spread = STARTS[base.dimension], SPREADS[base.dimension]
    for c in (0.0, spread):
        one = covariance_at(process, when, c, initial=start)[0]
        two = two_time_covariance(process, when, when, initial=start, initial_covariance=c)
        assert worst(two, one) < 1e-12


def test_two_times_may_come_in_either_order_and_shape() -> None:
    process = SubordinatedOU(base=TURNING, alpha=0.6)
    one = two_time_covariance(process, 0.5, 2.0, initial=STARTS[2])
    other = two_time_covariance(process, 2.0, 0.5, initial=STARTS[2])
    np.testing.assert_array_equal(one, other.T)
    both = two_time_covariance(process, [[0.0], [0.5]], [0.0, 2.0], initial=STARTS[2])
    assert both.shape == (2, 2, 2, 2)
    np.testing.assert_array_equal(both[1, 1], one)
    np.testing.assert_array_equal(both[0], 0.0)


def test_two_times_at_order_one_are_those_of_the_base() -> None:
    spread = SPREADS[2]
    law = gap_law(TURNING)
    E, _, G = law(0.5)
    expected = law(1.5)[0] @ (G + E @ spread @ E.T)
    found = two_time_covariance(
        SubordinatedOU(base=TURNING, alpha=1.0),
        0.5,
        2.0,
        initial=STARTS[2],
        initial_covariance=spread,
    )
    assert worst(found, expected) < 1e-14
    E, _, G = gap_law(SYMMETRIC)(0.5)
    expected = gap_law(SYMMETRIC)(1.5)[0] @ (G + E @ SPREADS[4] @ E.T)
    found = two_time_covariance(
        SYMMETRIC, 0.5, 2.0, initial=STARTS[4], initial_covariance=SPREADS[4]
    )
    assert worst(found, expected) < 1e-14


@pytest.mark.parametrize("alpha", [0.4, 0.7])
def test_limit_correlations_decay_like_a_power_and_age(alpha: float) -> None:
    a = 1.5
    process = SubordinatedOU(base=OUProcess(drift=a, noise=2 * a), alpha=alpha)
    s, late = 2.0, np.array([1e8, 1e12])
    found = two_time_covariance(process, s, late, initial="stationary")[:, 0, 0]
    # [Leonenko2013]: the power law is that of the waiting times, its factor grows with the age.
    power = (1 / a + s**alpha / gamma(1 + alpha)) * late**-alpha / gamma(1 - alpha)
    assert abs(found[1] / power[1] - 1.0) < 3.0 * abs(found[0] / power[0] - 1.0) * 1e4**-alpha
    assert abs(found[1] / power[1] - 1.0) < 1e-4
    ages = np.array([0.0, 1.0, 10.0, 1e3, 1e6])
    aged = two_time_covariance(process, ages, ages + 1.0, initial="stationary")[:, 0, 0]
    assert np.all(np.diff(aged) > 0.0)
    assert aged[-1] > 0.99
    assert abs(aged[0] - mittag_leffler(-a, alpha)) < 1e-14


# --- densities --------------------------------------------------------------------------------

FREE = OUProcess(drift=0.0, noise=2.0)


@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.5, 0.8, 0.95, 0.999])
def test_exact_density_of_free_diffusion_from_cusp_to_tail(alpha: float) -> None:
    process, t = SubordinatedOU(base=FREE, alpha=alpha), 1.7
    x = np.array([0.0, 1e-12, 1e-6, 1e-3, 0.1, 1.0, 5.0, 20.0, -3.0])
    scale = t ** (alpha / 2)
    expected = 0.5 / scale * wright_m(np.abs(x) / scale, alpha / 2)
    np.testing.assert_allclose(density_at(process, x, t, initial=0.0), expected, rtol=2e-14)
    below = 0.5 * inverse_stable_sf(np.abs(x), t, alpha / 2)
    expected = np.where(x > 0, 1.0 - below, below)
    np.testing.assert_allclose(distribution_at(process, x, t, initial=0.0), expected, rtol=2e-14)


@pytest.mark.twin
@pytest.mark.parametrize("damage", [{"alpha": 0.5 * 1.0001}, {"timescale": 1.0001}])
def test_density_check_rejects_damage(damage) -> None:
    process = SubordinatedOU(**{"base": FREE, "alpha": 0.5, **damage})
    expected = 0.5 / gamma(0.75)
    assert abs(density_at(process, 0.0, 1.0, initial=0.0)[0] / expected - 1.0) > 1e-6


def test_exact_density_of_the_confined_process_from_a_normal_law() -> None:
    x = np.linspace(-4.0, 4.0, 17)
    process = SubordinatedOU(base=OUProcess(drift=1.0, noise=2.0), alpha=0.5)
    found = density_at(process, x, 0.7, initial=1.5, initial_covariance=0.64)
    expected = fractional_ornstein_uhlenbeck(x, 0.7, mean=1.5, std=0.8, terms=160)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-14)


@pytest.mark.parametrize("alpha", [0.3, 0.8, 0.98])
def test_density_has_the_mass_and_moments_of_the_process(alpha: float) -> None:
    process, u = SubordinatedOU(base=TURNING, alpha=alpha), np.array([1.0, 0.5])
    start, t = np.array([1.5, 0.5]), 0.8
    centre = u @ start
    # Graded towards the cusp on both sides.
    half = np.concatenate([[0.0], np.geomspace(1e-9, 12.0, 60)])
    nodes, weights = np.polynomial.legendre.leggauss(12)
    left, width = half[:-1, None], np.diff(half)[:, None]
    r = (left + 0.5 * width * (1 + nodes)).ravel()
    w = np.tile((0.5 * width * weights).ravel(), 2)
    x = np.concatenate([centre - r, centre + r])
    p = density_at(process, x, t, initial=start, direction=u)
    mean = mean_at(process, t, start)[0] @ u
    variance = u @ covariance_at(process, t, initial=start)[0] @ u
    assert abs(w @ p - 1.0) < 1e-11
    assert abs(w @ (p * x) - mean) < 1e-11
    assert abs(w @ (p * (x - mean) ** 2) / variance - 1.0) < 1e-11
    below = distribution_at(process, [centre], t, initial=start, direction=u)[0]
    assert abs((w * p)[: len(r)].sum() - below) < 1e-11


@pytest.mark.parametrize("noise", [1e-6, 1e-10])
def test_limit_density_without_noise_is_that_of_the_clock(noise: float) -> None:
    # X = exp(-E_t): each point is passed within a tiny part of operational time.
    process = SubordinatedOU(base=OUProcess(drift=1.0, noise=noise), alpha=0.7)
    x = np.array([0.05, 0.3, 0.6, 0.9])
    expected = wright_m(-np.log(x), 0.7) / x
    found = density_at(process, x, 1.0, initial=1.0)
    np.testing.assert_allclose(found, expected, rtol=2000 * noise)


def test_density_in_space_has_the_density_of_a_direction_and_a_pole() -> None:
    process = SubordinatedOU(base=TURNING, alpha=0.6)
    start = STARTS[2]
    inside = np.array([[1.0, 0.0], [2.0, -1.0], [2.0, -0.999999]])
    values = density_at(process, inside, 0.5, initial=start)
    assert np.isinf(values[1])
    assert np.isfinite(values[[0, 2]]).all()
    x = 1.3
    nodes, weights = np.polynomial.legendre.leggauss(400)
    y = 8.0 * nodes
    line = density_at(process, np.column_stack([np.full_like(y, x), y]), 0.5, initial=start)
    one = density_at(process, [x], 0.5, initial=start, direction=[1.0, 0.0])[0]
    assert abs(8.0 * weights @ line / one - 1.0) < 1e-9


def test_density_in_the_plane_diverges_like_a_logarithm() -> None:
    process = SubordinatedOU(base=OUProcess(drift=np.zeros((2, 2)), noise=2 * np.eye(2)), alpha=0.5)
    r = np.array([1e-3, 1e-5, 1e-7])
    values = density_at(process, np.column_stack([r, 0 * r]), 1.0, initial=[0.0, 0.0])
    # p ~ 2 log(1/r) M(0) / (4 pi D) with M_{1/2}(0) = 1 / sqrt(pi), D = 1.
    slope = np.diff(values) / np.diff(np.log(1 / r))
    np.testing.assert_allclose(slope, 2 / (4 * np.pi) / np.sqrt(np.pi), rtol=1e-2)


def test_stationary_density_does_not_change() -> None:
    process = SubordinatedOU(base=OUProcess(drift=1.0, noise=2.0), alpha=0.4)
    x = np.linspace(-3, 3, 7)
    expected = np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)
    for t in (0.1, 100.0):
        found = density_at(process, x, t, initial="stationary")
        np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_distribution_without_noise_of_its_own_is_served() -> None:
    # A position driven by a velocity: no noise along it, and a law none the less.
    base = OUProcess(drift=[[0.0, -1.0], [0.0, 1.0]], noise=np.diag([0.0, 2.0]))
    process = SubordinatedOU(base=base, alpha=0.7)
    found = distribution_at(
        process, [-0.5, 0.0, 0.5], 1.0, initial=[0.0, 0.0], direction=[1.0, 0.0]
    )
    assert abs(found[1] - 0.5) < 1e-12
    assert abs(found[0] + found[2] - 1.0) < 1e-12
    with pytest.raises(UnsupportedError, match="distribution_at"):
        density_at(process, [0.1], 1.0, initial=[0.0, 0.0], direction=[1.0, 0.0])


# --- structured -------------------------------------------------------------------------------

DIAGONAL = DiagonalOU(drift=[0.2, 1.0, 3.0], noise=[1.0, 0.0, 2.0], mean=[1.0, 0.0, -1.0])
LOW_RANK = LowRankOU(
    basis=np.linalg.qr(RNG.normal(size=(6, 2)))[0],
    drift=[[1.0, 2.0], [-0.5, 0.7]],
    noise=[[1.0, 0.3], [0.3, 0.5]],
    rest_drift=0.4,
    rest_noise=0.9,
    mean=0.5,
)


@pytest.mark.parametrize("alpha", [0.6, 1.0])
@pytest.mark.parametrize("base", [DIAGONAL, LOW_RANK], ids=["diagonal", "low-rank"])
@pytest.mark.parametrize("random_start", [False, True])
def test_routes_agree_structured_and_dense(base, alpha: float, random_start: bool) -> None:
    d = base.dimension
    process = SubordinatedOU(base=base, alpha=alpha)
    dense = SubordinatedOU(base=base.dense(), alpha=alpha)
    U, start = RNG.normal(size=(d, 2)), np.arange(1.0, d + 1.0)
    times = np.array([0.0, 0.4, 7.0])
    c = 0.3 if random_start else 0.0
    given = {"initial": start, "initial_covariance": c}
    full = {"initial": start, "initial_covariance": c * np.eye(d)}
    assert worst(mean_at(process, times, start), mean_at(dense, times, start)) < 1e-14
    for directions in (U, None):
        found = variance_along(process, times, directions, **given)
        assert worst(found, variance_along(dense, times, directions, **full)) < 1e-14
    found = covariance_at(process, times, c * np.eye(d), initial=start)
    assert worst(found, covariance_at(dense, times, c * np.eye(d), initial=start)) < 1e-14
    for which in ({"directions": U}, {"directions": None}):
        found = two_time_covariance(process, 0.4, [0.4, 7.0], **given, **which)
        expected = two_time_covariance(dense, 0.4, [0.4, 7.0], **full, **which)
        assert worst(found, expected) < 1e-12
    for which in ({"start": start}, {"start": start, "directions": U}):
        found = mean_square_displacement(process, times, **which)
        assert worst(found, mean_square_displacement(dense, times, **which)) < 1e-14
    x = np.linspace(-3.0, 3.0, 5) + U[:, 0] @ start
    found = density_at(process, x, 0.4, initial=start, initial_covariance=c, direction=U[:, 0])
    expected = density_at(
        dense, x, 0.4, initial=start, initial_covariance=c * np.eye(d), direction=U[:, 0]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-11)


@pytest.mark.parametrize("base", [DIAGONAL, LOW_RANK], ids=["diagonal", "low-rank"])
def test_routes_agree_structured_and_dense_from_the_stationary_law(base) -> None:
    process = SubordinatedOU(base=base, alpha=0.6)
    dense = SubordinatedOU(base=base.dense(), alpha=0.6)
    U, times = RNG.normal(size=(base.dimension, 2)), np.array([0.4, 7.0])
    pairs = [
        (mean_square_displacement(p, times), mean_square_displacement(p, times, directions=U))
        for p in (process, dense)
    ]
    for found, expected in zip(*pairs, strict=True):
        assert worst(found, expected) < 1e-13
    for lag in (0.0, 0.3):
        found = two_time_covariance(process, lag, 1.0, initial="stationary", directions=U)
        expected = two_time_covariance(dense, lag, 1.0, initial="stationary", directions=U)
        assert worst(found, expected) < 1e-12
    assert worst(autocovariance(process, times), autocovariance(dense, times)) < 1e-13
    found = variance_along(process, times, initial="stationary")
    np.testing.assert_allclose(found[0], found[1], rtol=1e-13)


@pytest.mark.slow
def test_ten_thousand_coordinates_need_no_large_matrix() -> None:
    d = 10_000
    rng = np.random.default_rng(0)
    low_rank = LowRankOU(
        basis=np.linalg.qr(rng.normal(size=(d, 5)))[0],
        drift=np.diag(np.arange(1.0, 6.0)) + np.triu(np.ones((5, 5)), 1),
        noise=np.eye(5),
        rest_drift=0.5,
        rest_noise=1.0,
    )
    diagonal = DiagonalOU(drift=np.geomspace(1e-4, 1e2, d), noise=np.linspace(0.5, 2.0, d))
    start, U = rng.normal(size=d), rng.normal(size=(d, 2)) / 100.0
    one = {}
    tracemalloc.start()
    for name, base in (("diagonal", diagonal), ("low rank", low_rank)):
        process = SubordinatedOU(base=base, alpha=0.6)
        mean_at(process, [0.1, 10.0], start)
        one[name] = variance_along(process, [2.0], initial=start)[0]
        along = variance_along(process, [2.0], U, initial=start)[0]
        pair = two_time_covariance(process, 2.0, 2.0, initial=start, directions=U)
        assert worst(pair, along) < 1e-12
        mean_square_displacement(process, [1.0])
        density_at(process, [0.0, 1.0], 2.0, initial=start, direction=U[:, 0])
        draws = sample_at(process, 2.0, 20, 1, start=start)
        assert draws.shape == (20, d)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.6 * 8 * d * d
    # Each coordinate of the diagonal process is a process of its own.
    for i in (0, 5_000, d - 1):
        alone = SubordinatedOU(
            base=OUProcess(drift=diagonal.drift[i], noise=diagonal.noise[i]), alpha=0.6
        )
        expected = covariance_at(alone, 2.0, initial=start[i])[0, 0, 0]
        assert abs(one["diagonal"][i] / expected - 1.0) < 1e-13


# --- what is refused --------------------------------------------------------------------------

PROCESS = SubordinatedOU(base=TURNING, alpha=0.6)
LARGE = SubordinatedOU(base=DiagonalOU(drift=np.ones(3000), noise=1.0), alpha=0.6)
UNSTABLE = SubordinatedOU(base=OUProcess(drift=-1.0, noise=1.0), alpha=0.6)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: covariance_at(PROCESS, 1.0), InputError, "`initial` must say where"),
        (lambda: covariance_at(LARGE, 1.0, initial=0.0), UnsupportedError, "variance_along"),
        (lambda: covariance_at(PROCESS, 1.0, initial=[1.0]), ShapeError, "must have 2 entries"),
        (
            lambda: covariance_at(PROCESS, 1.0, np.eye(2), initial="stationary"),
            InputError,
            "leave it out",
        ),
        (lambda: covariance_at(PROCESS, -1.0, initial=[1.0, 1.0]), OutOfRangeError, "negative"),
        (lambda: autocovariance(UNSTABLE, [1.0]), UnstableError, "unstable"),
        (
            lambda: mean_square_displacement(
                SubordinatedOU(base=DiagonalOU(drift=[1.0, 0.0], noise=1.0), alpha=0.5), 1.0
            ),
            UnstableError,
            "all must be positive",
        ),
        (lambda: relaxation_rates(PROCESS), UnsupportedError, "relaxation_rates\\(process.base"),
        (lambda: variance_along(3.0, 1.0, initial=0.0), InputError, "SubordinatedOU or its base"),
        (
            lambda: two_time_covariance(PROCESS, -1.0, 1.0, initial="stationary"),
            OutOfRangeError,
            "`s` must not be negative",
        ),
        (
            lambda: two_time_covariance(PROCESS, 1.0, 1.0, initial="anywhere"),
            InputError,
            "stationary",
        ),
        (lambda: density_at(PROCESS, [1.0], 0.0, initial=[1, 1]), OutOfRangeError, "`t`"),
        (lambda: density_at(PROCESS, [1.0], 1.0, initial=[1, 1]), ShapeError, "`x`"),
        (lambda: distribution_at(PROCESS, [1.0], 1.0, initial=[1, 1]), InputError, "`direction`"),
        (
            lambda: distribution_at(
                SubordinatedOU(base=OUProcess(drift=1.0, noise=0.0), alpha=0.5),
                [1.0],
                1.0,
                initial=2.0,
            ),
            UnsupportedError,
            "law is that of the clock",
        ),
        (
            lambda: density_at(
                SubordinatedOU(base=OUProcess(drift=np.eye(2), noise=np.diag([1.0, 0])), alpha=0.5),
                [[1.0, 1.0]],
                1.0,
                initial=[0.0, 0.0],
            ),
            UnsupportedError,
            "one direction",
        ),
        (
            lambda: mean_at(
                SubordinatedOU(base=OUProcess(drift=[[0, 1], [-1, 0]], noise=np.eye(2)), alpha=0.6),
                1e9,
                [1.0, 0.0],
            ),
            UnsupportedError,
            "turns too often",
        ),
        (
            lambda: two_time_covariance(
                SubordinatedOU(
                    base=OUProcess(drift=[[1e-3, 1], [-1, 1e-3]], noise=np.eye(2)), alpha=0.6
                ),
                1.0,
                50.0,
                initial="stationary",
            ),
            UnsupportedError,
            "shorter times",
        ),
        (lambda: sample_at(PROCESS, 1.0, 0, 1, start=[1, 1]), OutOfRangeError, "`size`"),
    ],
)
def test_refuses_what_cannot_be_had(call, error, words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def test_refuses_strings_and_shapes_that_mean_nothing():
    plain = OUProcess(drift=[[1.0]], noise=[[2.0]])
    clock = SubordinatedOU(base=plain, alpha=0.6)
    with pytest.raises(InputError, match="`start`"):
        mean_square_displacement(clock, [1.0], start="stationary")
    with pytest.raises(InputError, match="`initial`"):
        covariance_at(plain, [1.0], initial="stationary")
    with pytest.raises(ShapeError, match="`initial`"):
        covariance_at(plain, [1.0], initial=[1.0, 2.0, 3.0])
    with pytest.raises(ShapeError, match="broadcast"):
        two_time_covariance(clock, [1.0, 2.0], [1.0, 2.0, 3.0], initial=0.0)


def test_refuses_samples_beyond_the_largest_float():
    growing = SubordinatedOU(base=OUProcess(drift=[[-1.0]], noise=[[1.0]]), alpha=0.6)
    with pytest.raises(ComputationError, match="largest float"):
        sample_at(growing, 1e9, 5, 1, start=[0.0])

"""Covariances of averaged iterates against sums, quadrature, closed forms and the spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad_vec

from fracsde.errors import InputError, OutOfRangeError, UnstableError
from fracsde.observables import averaged_covariance, power_spectrum
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.simulate import simulate
from fracsde.stationary import stationary_covariance
from fracsde.transients import autocovariance
from tests.support import damage
from tests.support.laws import follows, seed_of
from tests.support.linear_laws import FLOWS, LAWS, MAPS, NOISE, SETTINGS, SYMMETRIC, sgd


def summed(law, window: int) -> np.ndarray:
    s = np.arange(window)
    half = np.tensordot(window - s, autocovariance(law, s), axes=1)
    return (half + half.T - window * stationary_covariance(law).matrix) / window**2


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("window", [1, 2, 7, 64, 1001])
def test_exact_average_of_a_map_is_the_sum_of_its_autocovariances(name: str, window: int) -> None:
    law = MAPS[name]
    found, expected = averaged_covariance(law, window), summed(law, window)
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-14 * np.abs(expected).max())


@pytest.mark.twin
def test_sum_rejects_a_window_that_is_off_by_one() -> None:
    law = MAPS["sgd momentum"]
    found = damage.off_by_one(lambda n: averaged_covariance(law, n))(64)
    expected = summed(law, 64)
    assert np.abs(found - expected).max() > 5e-3 * np.abs(expected).max()


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("window", [1e-6, 0.3, 40.0])
def test_exact_average_of_a_flow_is_the_integral(name: str, window: float) -> None:
    law = FLOWS[name]

    def integrand(s: float) -> np.ndarray:
        return (window - s) / window**2 * autocovariance(law, [s])[0]

    half = quad_vec(integrand, 0.0, window, epsabs=1e-13, epsrel=1e-13)[0]
    found = averaged_covariance(law, window)
    np.testing.assert_allclose(found, half + half.T, rtol=0, atol=1e-12 * np.abs(found).max())


@pytest.mark.parametrize("name", LAWS)
def test_limit_of_long_windows_is_the_spectrum_at_zero(name: str) -> None:
    law = LAWS[name]
    zero = power_spectrum(law, [0.0])[0].real
    # What is left falls with 1/T: halving it ten times leaves a thousandth.
    gaps = [np.abs(T * averaged_covariance(law, T) - zero).max() for T in (2**12, 2**22)]
    assert gaps[1] == pytest.approx(gaps[0] / 1024, rel=0.01)
    for T in (1e15, 1e300):
        np.testing.assert_allclose(T * averaged_covariance(law, T), zero, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("drift", [[[1e10]], [[1e10, 0.0], [1e9, 2e10]]])
def test_extreme_windows_are_zero_and_not_an_overflow(drift: list) -> None:
    law = OUProcess(drift=drift, noise=np.eye(len(drift)))
    assert np.abs(averaged_covariance(law, 1e305)).max() < 1e-300


@pytest.mark.parametrize("name", SETTINGS)
def test_leading_term_knows_neither_rate_nor_momentum_nor_preconditioner(name: str) -> None:
    inverse = np.linalg.inv(SYMMETRIC)
    expected = inverse @ NOISE @ inverse / 2
    found = 1e12 * averaged_covariance(sgd(**SETTINGS[name]), 10**12)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def one_mode(eta: float, h: float, window: int) -> float:
    with mpmath.workdps(50):
        p, T = mpmath.mpf(eta) * mpmath.mpf(h), mpmath.mpf(window)
        phi = 1 - p
        variance = mpmath.mpf(eta) ** 2 / (p * (2 - p))
        mean = T * (1 + phi) / (1 - phi) - 2 * phi * (1 - phi**T) / (1 - phi) ** 2
        return float(variance * mean / T**2)


@pytest.mark.parametrize("window", [1, 10, 10**4, 10**9])
@pytest.mark.parametrize("eta", [2.0**-30, 2.0**-10, 1.0, 1.99])
def test_exact_average_of_one_mode_is_the_closed_form_to_its_last_digits(eta, window) -> None:
    law = sgd(hessian=[[1.0]], gradient_noise=[[1.0]], batch_size=1, learning_rate=eta)
    assert averaged_covariance(law, window)[0, 0] == pytest.approx(
        one_mode(eta, 1.0, window), rel=2e-13
    )


@pytest.mark.twin
def test_digits_reject_the_closed_form_in_floating_point() -> None:
    phi, T = 1.0 - 2.0**-30, 10
    plain = T * (1 + phi) / (1 - phi) - 2 * phi * (1 - phi**T) / (1 - phi) ** 2
    plain *= 2.0**-60 / (1 - phi**2) / T**2
    assert abs(plain / one_mode(2.0**-30, 1.0, T) - 1.0) > 1e-8


@dataclass(frozen=True)
class Multiplicative:
    """A scalar recursion whose noise grows with the state: x' = a x + sqrt(1 + b x^2) z."""

    a: float = 0.5
    b: float = 0.1

    def second_order(self) -> LinearRecursion:
        variance = 1.0 / (1.0 - self.a**2 - self.b)
        return LinearRecursion(transition=[[self.a]], noise=[[1.0 + self.b * variance]])


def test_law_with_noise_that_depends_on_the_state_has_these_observables() -> None:
    law, chains, window = Multiplicative(), 20_000, 12
    rng = np.random.default_rng(seed_of("multiplicative"))
    x = np.zeros((40 + window, chains))
    for t in range(1, len(x)):
        noise = np.sqrt(1.0 + law.b * x[t - 1] ** 2) * rng.normal(size=chains)
        x[t] = law.a * x[t - 1] + noise
    squares = x[40:].mean(axis=0) ** 2
    # The fourth moment of this law is 3.5 variances squared; a normal one has 3.
    D = averaged_covariance(law, window)[0, 0]
    assert follows(squares.mean(), D, np.sqrt(3.0 / chains) * D)
    frozen = LinearRecursion(transition=[[law.a]], noise=[[1.0]])
    assert not follows(squares.mean(), averaged_covariance(frozen, window)[0, 0], D / 70)
    assert power_spectrum(law, [0.0])[0, 0, 0].real == pytest.approx(4.0 * (1.0 + 0.1 / 0.65))


def test_law_of_simulated_averages() -> None:
    # 4000 chains: an error of 14 % in a variance would be seen.
    law, chains, window = sgd(momentum=0.6), 4000, 50
    rng = seed_of("test_law_of_simulated_averages")
    run = simulate(law, np.arange(window), chains=chains, rng=rng, backend="numpy")
    means = run.values.mean(axis=1)
    D = averaged_covariance(law, window)
    found = means.T @ means / chains
    spread = np.sqrt((D**2 + np.multiply.outer(np.diag(D), np.diag(D))) / chains)
    assert follows(found, D, spread)
    assert not follows(found, stationary_covariance(law).matrix / window, spread)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: averaged_covariance(sgd(), 0), OutOfRangeError, "window"),
        (lambda: averaged_covariance(sgd(), 2.5), InputError, "whole number.*counts iterates"),
        (lambda: averaged_covariance(FLOWS["turning flow"], 0.0), OutOfRangeError, "window"),
        (lambda: averaged_covariance(FLOWS["turning flow"], np.inf), InputError, "finite"),
        (
            lambda: averaged_covariance(OUProcess(drift=[[0.0]], noise=[[1.0]]), 1.0),
            UnstableError,
            "marginal",
        ),
    ],
)
def test_refuses_what_has_no_meaning(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()

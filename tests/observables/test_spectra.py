"""Power spectra against autocovariances, closed forms, aliasing and high precision."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad_vec

from fracsde.errors import NotFiniteError, ShapeError, UnstableError
from fracsde.lyapunov.propagators import gap_law
from fracsde.observables import power_spectrum
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.stationary import stationary_covariance
from fracsde.transients import autocovariance
from tests.support import damage
from tests.support.exact import close
from tests.support.linear_laws import FLOWS, LAWS, MAPS, NOISE, SETTINGS, SYMMETRIC, TURNING, sgd

FREQUENCIES = np.array([0.0, 0.013, 0.1, 0.37, 0.5, -0.2, 1.1])


def summed(law, frequencies: np.ndarray, terms: int = 3000) -> np.ndarray:
    # Wiener-Khinchin, term by term; every law here forgets within that many steps.
    k = np.arange(terms)
    R = autocovariance(law, k)
    half = np.tensordot(np.exp(-2j * np.pi * np.multiply.outer(frequencies, k)), R, axes=1)
    return half + np.swapaxes(half.conj(), 1, 2) - R[0]


@pytest.mark.parametrize("name", MAPS)
def test_exact_spectrum_of_a_map_is_the_sum_of_its_autocovariances(name: str) -> None:
    law = MAPS[name]
    found, expected = power_spectrum(law, FREQUENCIES), summed(law, FREQUENCIES)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("name", FLOWS)
def test_exact_spectrum_of_a_flow_is_the_integral_of_its_autocovariance(name: str) -> None:
    law, cycles = FLOWS[name], 0.21

    def integrand(s: float) -> np.ndarray:
        return np.exp(-2j * np.pi * cycles * s) * autocovariance(law, [s])[0]

    half = sum(
        quad_vec(integrand, a, a + 20.0, epsabs=1e-12, epsrel=1e-11)[0]
        for a in np.arange(0.0, 200.0, 20.0)
    )
    found = power_spectrum(law, [cycles])[0]
    np.testing.assert_allclose(
        found, half + half.conj().T, rtol=0, atol=1e-10 * np.abs(found).max()
    )


@pytest.mark.twin
@pytest.mark.parametrize("wrong", [damage.transposed, damage.square_root_for_square])
def test_sum_rejects_a_damaged_map(wrong) -> None:
    law = MAPS["turning map"]
    part = "transition" if wrong is damage.transposed else "noise"
    given = {"transition": law.transition, "noise": law.noise}
    other = LinearRecursion(**{**given, part: wrong(given[part])})
    found, expected = power_spectrum(other, FREQUENCIES), summed(law, FREQUENCIES)
    assert np.abs(found - expected).max() > 1e-2 * np.abs(expected).max()


@pytest.mark.parametrize("name", LAWS)
def test_routes_agree_parseval_and_the_stationary_covariance(name: str) -> None:
    law = LAWS[name]
    expected = stationary_covariance(law).matrix
    if name in FLOWS:
        # f = tan(x) / 5 brings the whole line to an interval.
        def integrand(x: float) -> np.ndarray:
            return power_spectrum(law, [np.tan(x) / 5])[0].real / (5 * np.cos(x) ** 2)

        total = quad_vec(integrand, -np.pi / 2, np.pi / 2, epsabs=1e-11, epsrel=1e-11)[0]
    else:
        total = power_spectrum(law, np.arange(4096) / 4096).mean(axis=0).real
    np.testing.assert_allclose(total, expected, rtol=0, atol=2e-10 * np.abs(expected).max())


@pytest.mark.twin
def test_parseval_rejects_a_one_sided_density() -> None:
    law = MAPS["sgd plain"]
    half = 2 * power_spectrum(law, np.arange(1, 512) / 1024).sum(axis=0).real / 1024
    assert np.abs(half - stationary_covariance(law).matrix).max() > 1e-3


@pytest.mark.parametrize("name", SETTINGS)
def test_zero_frequency_knows_neither_rate_nor_momentum_nor_preconditioner(name: str) -> None:
    inverse = np.linalg.inv(SYMMETRIC)
    expected = inverse @ NOISE @ inverse / 2
    for rate in (1e-6, 0.4):
        found = power_spectrum(sgd(learning_rate=rate, **SETTINGS[name]), [0.0])[0]
        np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("name", LAWS)
def test_routes_agree_directions_and_matrices(name: str) -> None:
    law = LAWS[name]
    S = power_spectrum(law, FREQUENCIES)
    U = np.array([[1.0, 0.5], [-2.0, 0.0], [0.3, 1.0]])[: S.shape[1]]
    found = power_spectrum(law, FREQUENCIES, directions=U)
    expected = np.einsum("dp,fde,ep->fp", U, S, U)
    np.testing.assert_allclose(found, expected.real, rtol=1e-11)
    assert np.abs(expected.imag).max() < 1e-13 * np.abs(expected).max()
    assert np.all(found > 0.0)
    np.testing.assert_allclose(S, np.swapaxes(S.conj(), 1, 2), atol=1e-14 * np.abs(S).max())
    np.testing.assert_allclose(power_spectrum(law, -FREQUENCIES), S.conj(), rtol=1e-11, atol=1e-14)


def test_aliasing_draws_of_a_flow_fold_its_spectrum() -> None:
    flow, f, last = FLOWS["turning flow"], 0.3, 4000
    E, _, G = gap_law(flow)(1.0)
    found = power_spectrum(LinearRecursion(transition=E, noise=G), [f])[0]
    folded = power_spectrum(flow, f + np.arange(-last, last + 1)).sum(axis=0)
    # Beyond: noise / (2 pi m)^2 to leading order, on both sides.
    folded += NOISE * 2 / (4 * np.pi**2) / (last + 0.5)
    np.testing.assert_allclose(found, folded, rtol=0, atol=2e-9)
    assert np.abs(found - power_spectrum(flow, [f])[0]).max() > 1e-2


def test_period_of_a_map_is_one_and_its_highest_frequency_one_half() -> None:
    law = MAPS["sgd momentum"]
    f = np.array([0.125, 0.375])
    exact = power_spectrum(law, f)
    np.testing.assert_array_equal(power_spectrum(law, f + 2.0**40), exact)
    np.testing.assert_array_equal(power_spectrum(law, f - 1.0), exact)


@pytest.mark.parametrize(("momentum", "curvature"), [(0.9, 0.3), (0.99, 0.05), (0.999, 1.0)])
def test_peak_of_underdamped_momentum_is_where_the_formula_has_it(momentum, curvature) -> None:
    eta = 0.5
    law = sgd(hessian=[[curvature]], gradient_noise=[[1.0]], learning_rate=eta, momentum=momentum)
    k, plus = eta * curvature, 1.0 + momentum
    peak = np.arccos(plus * (plus - k) / (4.0 * momentum)) / (2.0 * np.pi)
    near = peak * (1.0 + np.array([-1e-4, 0.0, 1e-4]))
    S = power_spectrum(law, near).real.ravel()
    assert S[1] > S[0]
    assert S[1] > S[2]
    # The parabola through the three points has its top at the middle one.
    shift = 0.5e-4 * (S[0] - S[2]) / (S[0] - 2.0 * S[1] + S[2])
    assert abs(shift) < 2e-6


def high_precision(momentum: float, pull: float, cycles: float) -> float:
    with mpmath.workdps(60):
        z = mpmath.expjpi(2 * mpmath.mpf(cycles))
        mu, k = mpmath.mpf(momentum), mpmath.mpf(pull)
        return float(1 / abs((z - 1) * (1 - mu / z) + k) ** 2)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 1.0 - 2.0**-20])
@pytest.mark.parametrize("pull", [2.0**-45, 2.0**-20, 1.0])
def test_slow_modes_and_sharp_resonances_keep_their_digits(momentum: float, pull: float) -> None:
    law = sgd(hessian=[[pull]], gradient_noise=[[2.0]], learning_rate=1.0, momentum=momentum)
    top = np.sqrt(pull) / (2.0 * np.pi)
    for f in (0.0, pull / 7.0, top, 0.5):
        found = power_spectrum(law, [f])[0, 0, 0].real
        # Within a width of a resonance the frequency's own rounding counts.
        blurred = 1e-15 * (1.0 + f / (1.0 - momentum))
        assert found == pytest.approx(high_precision(momentum, pull, f), rel=20 * blurred)


@pytest.mark.twin
def test_digits_reject_the_eigenvalues_of_the_transition() -> None:
    law = sgd(hessian=[[1e-13]], gradient_noise=[[2.0]], learning_rate=1.0, momentum=0.5)
    exact = high_precision(0.5, 1e-13, 0.0)
    plain = 1.0 / np.prod(1.0 - np.linalg.eigvals(law.map().transition)) ** 2
    assert abs(plain / exact - 1.0) > 1e-6
    assert power_spectrum(law, [0.0])[0, 0, 0].real == pytest.approx(exact, rel=1e-14)


EPOCHS = {
    "equal": {"dataset_size": 12},
    "smaller last": {"dataset_size": 11},
    "drop last": {"dataset_size": 11, "drop_last": True},
    "momentum": {"dataset_size": 12, "momentum": 0.7},
    "nesterov": {"dataset_size": 15, "momentum": 0.6, "nesterov": True, "batch_size": 4},
    "full batch": {"dataset_size": 2},
}


@pytest.mark.parametrize("name", EPOCHS)
def test_exact_spectrum_of_shuffled_epochs_is_the_sum_of_their_autocovariances(name) -> None:
    law = sgd(sampling="shuffled", **EPOCHS[name])
    found, expected = power_spectrum(law, FREQUENCIES), summed(law, FREQUENCIES, 500)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    U = np.array([[1.0, 0.5], [-2.0, 0.0], [0.3, 1.0]])
    along = power_spectrum(law, FREQUENCIES, directions=U)
    np.testing.assert_allclose(along, np.einsum("dp,fde,ep->fp", U, expected, U).real, atol=1e-11)
    np.testing.assert_array_equal(power_spectrum(law.epochs(), FREQUENCIES), found)


def test_spectrum_of_shuffled_epochs_vanishes_at_zero_with_all_its_digits() -> None:
    law = sgd(sampling="shuffled", dataset_size=2000)
    assert np.all(power_spectrum(law, [0.0]) == 0.0)
    # Quadratically: the level is C (M^2 - 1) M / (3 (N - 1)) (pi f)^2 for slow frequencies.
    M, f = 1000, np.array([1e-9, 1e-6])
    zero = np.linalg.inv(SYMMETRIC) @ NOISE @ np.linalg.inv(SYMMETRIC)
    level = M * (M**2 - 1) / (3 * 1999) * (np.pi * f) ** 2
    found = power_spectrum(law, f).real / level[:, None, None]
    np.testing.assert_allclose(found, np.broadcast_to(zero, found.shape), rtol=2e-5)
    # What is left out of each epoch diffuses.
    dropped = sgd(sampling="shuffled", dataset_size=2001, drop_last=True)
    assert np.all(np.diagonal(power_spectrum(dropped, [0.0])[0]).real > 1e-4)


@pytest.mark.twin
def test_epochs_reject_independent_batches() -> None:
    drawn = {"dataset_size": 12, "sampling": "without_replacement"}
    found = power_spectrum(sgd(**drawn), [0.1])
    expected = summed(sgd(sampling="shuffled", dataset_size=12), np.array([0.1]), 500)
    assert np.abs(found - expected).max() > 0.1 * np.abs(expected).max()


def test_extreme_frequencies_are_zero_and_not_an_overflow() -> None:
    for law in FLOWS.values():
        assert np.all(power_spectrum(law, [1e200, -1e308]) == 0.0)


def test_keeps_arguments() -> None:
    f, U = FREQUENCIES.copy(), np.eye(3)
    power_spectrum(MAPS["turning map"], f, directions=U)
    assert close(f, FREQUENCIES, units=0.0)
    assert close(U, np.eye(3), units=0.0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: power_spectrum(OUProcess(drift=-TURNING, noise=NOISE), [0.1]),
            UnstableError,
            "modes",
        ),
        (lambda: power_spectrum(sgd(learning_rate=3.0), [0.1]), UnstableError, "learning"),
        (lambda: power_spectrum(sgd(), [np.nan]), NotFiniteError, "`frequencies`"),
        (lambda: power_spectrum(sgd(), np.eye(2)), ShapeError, "`frequencies`"),
        (
            lambda: power_spectrum(sgd(momentum=0.5), [0.1], directions=np.eye(6)),
            ShapeError,
            r"\(3, any\)",
        ),
        (lambda: power_spectrum(3.0, [0.1]), ValueError, "must be an OUProcess"),
    ],
)
def test_refuses_what_has_no_meaning(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()

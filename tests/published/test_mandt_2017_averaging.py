"""Iterate averaging of Mandt, Hoffman and Blei (2017): the leading term, the window, the ratio.

The leading term A^-1 C A^-1 / (T S) is exact at any stable rate.  The covariance of a window and
the ratio of its eigenvalues to the posterior's are those of the flow: exact there, and off by the
rate times the curvature for the steps of SGD.
"""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.observables import averaged_covariance
from fracsde.problems.sgd import SGDNearMinimum
from tests.support.linear_laws import NOISE, SYMMETRIC, sgd


def test_leading_term_is_exact_at_any_stable_rate() -> None:
    inverse = np.linalg.inv(SYMMETRIC)
    leading = inverse @ NOISE @ inverse / 2
    for share in (1e-3, 0.5, 0.999):
        law = sgd(learning_rate=share * sgd(learning_rate=1e-3).critical_learning_rate())
        found = 1e12 * averaged_covariance(law, 1e12)
        np.testing.assert_allclose(found, leading, rtol=1e-6)


@pytest.mark.parametrize("pulls", [10.0, 50.0])
def test_leading_term_misses_the_inverse_of_the_pulls_in_a_window(pulls: float) -> None:
    # Relative 1 / (eta h T), here with eta h = 0.01.
    law = SGDNearMinimum(hessian=1.0, gradient_noise=1.0, learning_rate=0.01, batch_size=1)
    T = round(100 * pulls)
    assert 1.0 - T * averaged_covariance(law, T)[0, 0] == pytest.approx(1.0 / pulls, rel=0.01)


def well_specified(eps: float, S: int) -> SGDNearMinimum:
    # Data from the model: the noise equals the Hessian.
    return SGDNearMinimum(
        hessian=SYMMETRIC, gradient_noise=SYMMETRIC, learning_rate=eps, batch_size=S
    )


def printed_window(eps: float, S: int, T: float) -> np.ndarray:
    lam, U = np.linalg.eigh(SYMMETRIC)
    bend = (np.exp(-eps * T * lam) - 1.0) / lam**2
    return np.linalg.inv(SYMMETRIC) / (S * T) + (U * bend) @ U.T / (eps * S * T**2)


@pytest.mark.parametrize(("eps", "T"), [(0.01, 50.0), (0.5, 8.0), (1.2, 100.0)])
def test_window_is_exact_for_the_flow(eps: float, T: float) -> None:
    found = averaged_covariance(well_specified(eps, 4).flow(), T)
    np.testing.assert_allclose(found, printed_window(eps, 4, T), rtol=1e-12, atol=1e-16)


def exact_share(pull: float, T: int) -> float:
    # What is left of 1 / (T N a) for one mode of the steps: the closed form of D_T.
    phi = 1.0 - pull
    return 1.0 - 2.0 * phi * (1.0 - phi**T) / (T * (1.0 - phi**2))


@pytest.mark.parametrize(("pull", "error"), [(0.02, 0.0030), (0.2, 0.033), (1.0, 0.25)])
def test_window_fails_for_steps_by_the_rate_times_the_curvature(pull: float, error: float) -> None:
    values, vectors = np.linalg.eigh(SYMMETRIC)
    steep, top = vectors[:, -1], values[-1]
    T, eps = round(4.0 / pull), pull / top
    exact = steep @ averaged_covariance(well_specified(eps, 4), T) @ steep
    assert exact == pytest.approx(exact_share(pull, T) / (4 * T * top), rel=1e-12)
    # Always too small.
    printed = steep @ printed_window(eps, 4, T) @ steep
    assert 1.0 - printed / exact == pytest.approx(error, rel=0.05)


@pytest.mark.parametrize(("pull", "error"), [(0.02, 0.0091), (0.5, 0.036), (1.5, 0.094)])
def test_eigenvalue_ratio_fails_by_a_few_per_cent(pull: float, error: float) -> None:
    # One pass of N = 2000 examples in batches of 100: windows of 20 steps.
    N, S, T, lam, eps = 2000, 100, 20, 1.0, pull
    printed = 1.0 + S / (eps * N * lam) * (np.exp(-eps / S * N * lam) - 1.0)
    law = SGDNearMinimum(hessian=[[lam]], gradient_noise=[[lam]], learning_rate=eps, batch_size=S)
    exact = N * lam * averaged_covariance(law, T)[0, 0]
    assert exact == pytest.approx(exact_share(pull, T), rel=1e-12)
    assert 1.0 - printed / exact == pytest.approx(error, rel=0.05)

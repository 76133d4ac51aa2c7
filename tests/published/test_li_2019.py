"""Li, Tai and E 2019, stochastic modified equations: weak order two, and the stationary law."""

from __future__ import annotations

import pytest

import fracsde as fs


@pytest.mark.parametrize("eta", [0.01, 0.1, 0.4])
def test_fails_the_second_order_equation_in_the_stationary_variance(eta: float) -> None:
    """dw = -(L + eta L'^2 / 4)' dt + sqrt(eta C) dW has the opposite correction.

    On a quadratic loss the equation of second order gives 1 / (1 + eta h / 2) times Langevin's
    variance and SGD has 1 / (1 - eta h / 2): it is twice as far off as the equation of first order,
    because the noise of the modified equation lacks a correction of relative order eta.
    """
    h, C = 1.0, 1.0
    exact = fs.stationary_covariance(
        fs.SGDNearMinimum(hessian=h, gradient_noise=C, learning_rate=eta, batch_size=1)
    ).matrix[0, 0]
    # In time t = eta k.
    first = fs.stationary_covariance(fs.OUProcess(drift=h, noise=eta * C)).matrix[0, 0]
    second = fs.stationary_covariance(fs.OUProcess(drift=h + eta * h**2 / 2, noise=eta * C)).matrix[
        0, 0
    ]
    assert 1 - first / exact == pytest.approx(eta / 2, rel=1e-12)
    assert 1 - second / exact == pytest.approx(eta / (1 + eta / 2), rel=1e-12)


def test_holds_the_second_order_equation_for_the_mean() -> None:
    """After one unit of time the error of the mean falls like eta^2, Langevin's like eta."""
    gaps = []
    for eta in (0.02, 0.01):
        sgd = fs.SGDNearMinimum(hessian=1.0, gradient_noise=1.0, learning_rate=eta, batch_size=1)
        exact = fs.mean_at(sgd, [1 / eta], [1.0])[0, 0]
        drifts = (1.0, 1.0 + eta / 2)
        gaps.append(
            [abs(fs.mean_at(fs.OUProcess(drift=a, noise=1.0), [1.0], [1.0])[0, 0] - exact)
             for a in drifts]
        )  # fmt: skip
    assert gaps[0][0] / gaps[1][0] == pytest.approx(2.0, rel=0.05)
    assert gaps[0][1] / gaps[1][1] == pytest.approx(4.0, rel=0.05)

"""The temperature eta / (2 B) of the continuum, of Chaudhari and Soatto (2018), at finite rates.

For noise of unit size in every direction.  It is exact for the mean velocity of two steps, at any
rate, with eta / (1 - mu) for eta where there is momentum; the potential energy is hotter.
"""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.observables import effective_temperature
from tests.support.linear_laws import sgd

CURVATURES = np.array([0.01, 0.3, 1.0])


def temperatures(eta: float, mu: float = 0.0):
    law = sgd(
        hessian=np.diag(CURVATURES),
        gradient_noise=np.eye(3),
        learning_rate=eta,
        batch_size=5,
        momentum=mu,
    )
    return effective_temperature(law), eta / (2 * 5 * (1 - mu))


@pytest.mark.parametrize("mu", [0.0, 0.9])
@pytest.mark.parametrize("eta", [1e-4, 0.5, 1.5])
def test_temperature_of_the_noise_is_exact_at_any_rate(eta: float, mu: float) -> None:
    found, continuum = temperatures(eta, mu)
    np.testing.assert_allclose(found.noise, continuum, rtol=1e-12)


@pytest.mark.parametrize(("eta", "factor"), [(0.1, 1.0526), (0.5, 1.3333), (1.0, 2.0), (1.5, 4.0)])
def test_temperature_of_the_steepest_potential_is_higher(eta: float, factor: float) -> None:
    found, continuum = temperatures(eta)
    assert found.potential[-1] / continuum == pytest.approx(factor, rel=1e-4)
    # The flattest direction does not notice.
    assert found.potential[0] / continuum == pytest.approx(1.0, abs=0.01)


def test_temperature_of_the_velocity_is_higher_by_two_over_one_plus_momentum() -> None:
    for mu in (0.1, 0.5, 0.9):
        found, continuum = temperatures(0.001, mu)
        np.testing.assert_allclose(found.kinetic / continuum, 2 / (1 + mu), rtol=1e-3)

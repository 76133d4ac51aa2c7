"""The relaxation curve's derivatives, and the shrunk covariance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erfcx

from fracsde.errors import RecordError
from fracsde.estimators.relaxation import RelaxationModel, shrunk_covariance

TIMES = np.append(0.0, np.geomspace(0.01, 50.0, 15))
KNOWN = {
    "nothing": ({"plateau": None, "initial": None}, [1.3, -0.2]),
    "plateau": ({"plateau": 0.4, "initial": None}, [1.3]),
    "initial": ({"plateau": None, "initial": 0.9}, [1.3]),
    "both": ({"plateau": 0.4, "initial": 0.9}, []),
}


def test_exact_half_order_is_the_scaled_complementary_error_function():
    model = RelaxationModel(times=TIMES, plateau=0.5, initial=2.0)
    expected = 0.5 + 1.5 * erfcx(np.sqrt(TIMES / 3.0))
    np.testing.assert_allclose(model.values(np.array([0.5, np.log(3.0)])), expected, atol=1e-14)


def _slopes_agree(known, alpha, damage=1.0):
    given, linear = KNOWN[known]
    model = RelaxationModel(times=TIMES, **given)
    theta = np.array([alpha, 0.3, *linear])
    numeric = np.empty((len(TIMES), len(theta)))
    for k, step in enumerate([1e-5, 1e-5, 1e-5, 1e-5][: len(theta)]):
        up, down = theta.copy(), theta.copy()
        up[k] += step
        down[k] -= step
        numeric[:, k] = (model.values(up) - model.values(down)) / (2 * step)
    exact = model.jacobian(theta)
    exact[:, 0] *= damage
    return np.allclose(exact, numeric, rtol=0, atol=2e-8)


@pytest.mark.parametrize("known", list(KNOWN))
@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.9])
def test_exact_derivatives_agree_with_differences(known, alpha):
    assert _slopes_agree(known, alpha)


@pytest.mark.twin
def test_exact_derivatives_wrong_by_a_thousandth_are_rejected():
    assert not _slopes_agree("nothing", 0.5, damage=1.001)


def test_limit_derivative_in_the_order_is_one_sided_at_one():
    model = RelaxationModel(times=TIMES, plateau=0.0, initial=1.0)
    step = 1e-6
    numeric = (
        model.values(np.array([1.0, 0.3])) - model.values(np.array([1.0 - step, 0.3]))
    ) / step
    np.testing.assert_allclose(model.jacobian(np.array([1.0, 0.3]))[:, 0], numeric, atol=1e-5)


def test_limit_shrinkage_vanishes_for_many_chains_and_is_total_for_noise(seed):
    rng = np.random.default_rng(seed)
    mix = np.linalg.cholesky(0.9 ** np.abs(np.subtract.outer(range(6), range(6))))
    curves = rng.standard_normal((20_000, 6)) @ mix.T
    covariance, kept = shrunk_covariance(curves)
    assert kept > 0.99
    np.testing.assert_allclose(covariance, np.cov(curves, rowvar=False), atol=0.01)
    covariance, kept = shrunk_covariance(rng.standard_normal((20, 30)))
    assert kept < 0.1
    assert np.linalg.eigvalsh(covariance)[0] > 0


def test_refuses_an_amplitude_of_zero():
    model = RelaxationModel(times=TIMES, plateau=1.0, initial=1.0)
    with pytest.raises(RecordError, match="leave one of them out"):
        model.scan(np.ones(len(TIMES)), np.eye(len(TIMES)))

"""Powers as sums of exponentials by quadrature, against the powers."""

import numpy as np
import pytest

from fracsde.errors import OutOfRangeError
from fracsde.special._power_rule import power_rule


@pytest.mark.parametrize("beta", [1e-7, 0.1, 0.5, 0.99])
@pytest.mark.parametrize(
    ("rtol", "ratio"), [(1e-5, 1e3), (1e-10, 1e12), (3e-14, 1e6), (1e-8, 1e60)]
)
def test_exact_to_the_tolerance_between_the_points_of_the_certificate(beta, rtol, ratio):
    rule = power_rule(beta, rtol=rtol, first=2e-5, last=2e-5 * ratio)
    assert rule.error <= rtol
    assert np.all(rule.weights > 0)
    assert np.all(rule.rates >= 0)
    t = np.geomspace(2e-5, 2e-5 * ratio, 1777)
    assert np.abs(rule(t) * t**beta - 1).max() <= rule.error


def test_limit_of_a_constant():
    rule = power_rule(0.0, rtol=1e-12, first=1e-3, last=1.0)
    assert np.array_equal(rule(np.array([1e-3, 1.0])), [1.0, 1.0])
    near = power_rule(1e-9, rtol=1e-12, first=1e-3, last=1.0)
    assert np.abs(near(np.geomspace(1e-3, 1, 50)) - 1).max() < 1e-8


@pytest.mark.twin
def test_a_lost_term_is_seen():
    rule = power_rule(0.4, rtol=1e-10, first=1e-6, last=1.0)
    t = np.geomspace(1e-6, 1.0, 200)
    for k in (len(rule.rates) // 4, len(rule.rates) // 2):
        rest = np.delete(np.arange(len(rule.rates)), k)
        values = np.exp(-t[:, None] * rule.rates[rest]) @ rule.weights[rest]
        assert np.abs(values * t**0.4 - 1).max() > 1e-10


def test_fewer_terms_for_less_and_not_far_from_the_best():
    from fracsde.special import power_exponentials

    counts = [len(power_rule(0.4, rtol=r, first=1e-5, last=1.0).rates) for r in (1e-4, 1e-8, 1e-12)]
    assert counts[0] < counts[1] < counts[2]
    best = len(power_exponentials(0.4, rtol=1e-8, window=(1e-5, 1.0)).rates)
    assert counts[1] < 1.8 * best


def test_refuses_more_than_double_precision():
    with pytest.raises(OutOfRangeError, match="`rtol` must lie"):
        power_rule(0.4, rtol=1e-16, first=1e-5, last=1.0)

"""Geometric meshes, whose steps grow by one ratio from a first step far below every scale.

A step is ``t log(T / t_0) / n``, so that the largest error at data like ``t**alpha`` falls with the
order of the scheme on smooth data, in ``1 / n``, until that of the first cell is seen.
"""

import numpy as np
import pytest

from fracsde import L1, L12, Exponentials, L2Sigma, TimeGrid
from fracsde.schemes.marching import march
from fracsde.special import mittag_leffler
from tests.support.marching import Decay, HeavyNewestL1
from tests.support.orders import observed_order

SIZES = (80, 160, 320, 640, 1280)
FIRST = 1e-13


def table_of(scheme, alpha, order):
    def error(n):
        times = TimeGrid.geometric(FIRST, 1.0, n).times
        states = march(
            Decay(1.0),
            scheme,
            times,
            initial=np.ones(1),
            alpha=alpha,
            scale=1.0,
            source=None,
            engine=None,
        )
        return float(np.abs(states[:, 0] - mittag_leffler(-(times**alpha), alpha)).max())

    return observed_order(error, SIZES, order)


@pytest.mark.parametrize(
    ("alpha", "history"), [(0.6, None), (0.8, None), (0.8, Exponentials(rtol=1e-9))]
)
@pytest.mark.parametrize(
    ("scheme", "order"),
    [(L1, lambda a: 2 - a), (L2Sigma, lambda a: 2.0), (L12, lambda a: 3 - a)],
)
def test_order_on_geometric_meshes_for_singular_data(scheme, order, history, alpha):
    table = table_of(scheme(history=history) if history else scheme(), alpha, order(alpha))
    assert table.agrees(), table


@pytest.mark.twin
def test_order_on_geometric_meshes_rejects_damaged_memory():
    assert not table_of(HeavyNewestL1(), 0.6, 1.4).agrees()

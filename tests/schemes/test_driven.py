"""LeMcLeanMustapha: weights, orders, limits, mass, and the collocated driven equation."""

from math import gamma

import numpy as np
import pytest

from fracsde.grids import TimeGrid
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.schemes.collocation import HpCollocation
from fracsde.schemes.driven import LeMcLeanMustapha
from fracsde.schemes.propagator import Propagator
from tests.support.collocation import relaxing
from tests.support.damage import newest_weight
from tests.support.orders import observed_order

SIZES = (64, 128, 256, 512, 1024)


class HeavyNewest(LeMcLeanMustapha):
    """One per cent too much on the newest weight."""

    def weights(self, times, *, alpha):
        return newest_weight(super().weights(times, alpha=alpha))


def test_exact_weights_integrate_steps_on_a_steep_mesh():
    times = TimeGrid.graded(2.0, 60, 9.0).times
    for alpha in (0.05, 0.5, 1.0):
        w = LeMcLeanMustapha().weights(times, alpha=alpha)
        assert w[-1] > 0
        assert np.all(w[:-1] <= 0)
        whole = times[-1] ** alpha - times[-2] ** alpha
        assert abs(w.sum() * gamma(1 + alpha) - whole) < 1e-14
        assert abs(newest_weight(w).sum() * gamma(1 + alpha) - whole) > 1e-4  # twin


def moving(t):
    """An oscillating force in a quadratic potential."""
    base = FokkerPlanck(
        force=lambda x: np.cos(2 * t) - x,
        diffusion=1.0 + 0.5 * np.sin(t),
        domain=(-6.0, 6.0),
        initial=Gaussian(mean=0.8, std=0.8),
    )
    return FiniteVolume(cells=16).discretise(base)


def error(scheme, n, *, alpha, grading, last, final=False):
    chain, masses = relaxing(16)
    times = TimeGrid.graded(last, n, grading).times
    states, residual = scheme.march(lambda t: chain, times, initial=masses, alpha=alpha)
    assert residual < 1e-12
    exact = Propagator().prepare(chain, alpha=alpha).propagate(masses, times)
    gap = np.abs(states - exact)
    return float(gap[-1].max() if final else gap.max())


ORDERS = [
    (0.3, 1.0, 1e-4, False),
    (0.3, 1.5, 1e-4, False),
    (0.5, 2.0, 1.0, False),
    (0.5, 1.0, 1.0, True),
    (0.8, 1.25, 1.0, False),
    (1.0, 1.0, 1.0, False),
]


@pytest.mark.parametrize(("alpha", "grading", "last", "final"), ORDERS)
def test_order_against_exact_propagation(alpha, grading, last, final):
    scheme = LeMcLeanMustapha()
    table = observed_order(
        lambda n: error(scheme, n, alpha=alpha, grading=grading, last=last, final=final),
        SIZES,
        scheme.order(alpha=alpha, grading=grading, final=final),
    )
    assert table.agrees(), table


@pytest.mark.twin
def test_order_rejects_a_damaged_weight():
    table = observed_order(
        lambda n: error(HeavyNewest(), n, alpha=0.5, grading=2.0, last=1.0), SIZES, 1.0
    )
    assert not table.agrees(), table


def driven_error(scheme, n, exact, alpha):
    _, masses = relaxing(16)
    times = TimeGrid.graded(2.0, n, 1.6).times
    states, _ = scheme.march(moving, times, initial=masses, alpha=alpha, timescale=0.6)
    return float(np.abs(states[-1] - exact).max())


def test_routes_agree_of_steps_and_collocation_for_a_moving_force():
    _, masses = relaxing(16)
    run = HpCollocation(degree=6, rtol=1e-7).run(
        moving, masses, [2.0], alpha=0.7, timescale=0.6, driven=True
    )
    exact = run.density[0] * moving(0.0).widths
    right, heavy = (
        observed_order(
            lambda n, scheme=scheme: driven_error(scheme, n, exact, 0.7),
            (16, 32, 64, 128, 256),
            1.0,
        )
        for scheme in (LeMcLeanMustapha(), HeavyNewest())
    )
    assert right.agrees(), right
    assert not heavy.agrees(), heavy  # twin
    # Caputo's form with the same operators is another equation.
    other = HpCollocation(degree=6, rtol=1e-7).run(moving, masses, [2.0], alpha=0.7, timescale=0.6)
    assert np.abs(other.density - run.density).max() > 1e-2


def test_limit_order_one_is_the_implicit_euler_method():
    chain, masses = relaxing(16)
    times = np.array([0.0, 0.1, 0.4, 0.5])
    states, _ = LeMcLeanMustapha().march(lambda t: chain, times, initial=masses, alpha=1.0)
    L, m = chain.matrix(), masses
    for n, step in enumerate(np.diff(times)):
        m = np.linalg.solve(np.eye(16) - step * L, m)
        assert np.abs(states[n + 1] - m).max() < 1e-15


def test_keeps_mass_and_counts_what_enters():
    _, masses = relaxing(16)
    times = TimeGrid.uniform(3.0, 50).times
    states, _ = LeMcLeanMustapha().march(moving, times, initial=masses, alpha=0.6)
    assert np.abs(states.sum(axis=1) - 1).max() < 1e-13
    fed, _ = LeMcLeanMustapha().march(
        moving, times, initial=masses, alpha=0.6, source_at=lambda t: 0.5 * masses
    )
    assert np.abs(fed.sum(axis=1) - 1 - 0.5 * times).max() < 1e-13


def test_watch_counts_steps():
    chain, masses = relaxing(16)
    seen = []
    LeMcLeanMustapha().march(
        lambda t: chain, np.linspace(0, 1, 4), initial=masses, alpha=0.5, watch=seen.append
    )
    assert seen == [1, 2, 3]

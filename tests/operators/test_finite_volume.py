"""Scharfetter-Gummel cells: identities to rounding, equilibrium, space order, walls."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fracsde.errors import (
    GridError,
    InputError,
    NotFiniteError,
    OutOfRangeError,
    ShapeError,
    UnsupportedError,
)
from fracsde.grids import SpaceGrid
from fracsde.operators.finite_volume import FiniteVolume, bernoulli
from fracsde.problems.fokker_planck import FokkerPlanck
from tests.support.damage import one_sign
from tests.support.exact import EPS
from tests.support.orders import observed_order

WALLS = ["reflecting", "absorbing", ("absorbing", "reflecting"), "periodic"]


def wavy(boundary="reflecting", **changes):
    """Variable everything, period one."""
    settings_ = {
        "potential": lambda x: 3 * np.cos(2 * np.pi * x),
        "force": lambda x: 5 + np.sin(2 * np.pi * x),
        "diffusion": lambda x: 1 + 0.3 * np.sin(2 * np.pi * x),
        "domain": (0.0, 1.0),
        "initial": lambda x: 1 + 0 * x,
        "boundary": boundary,
    }
    return FokkerPlanck(**(settings_ | changes))


def uneven(n, seed=0):
    widths = np.random.default_rng(seed).uniform(0.3, 1.0, n)
    return SpaceGrid(edges=(np.concatenate([[0.0], np.cumsum(widths) / widths.sum()]),))


@pytest.mark.parametrize("boundary", WALLS)
@pytest.mark.parametrize("n", [3, 4, 17])
def test_exact_columns_sum_to_minus_the_loss(boundary, n):
    chain = FiniteVolume(grid=uneven(n)).discretise(wavy(boundary))
    L = chain.matrix()
    assert np.abs(L.sum(axis=0) + chain.loss).max() <= 8 * EPS * np.abs(L).max()
    assert np.all(L[~np.eye(n, dtype=bool)] >= 0)
    damaged = one_sign(L - np.diag(np.diag(L)))
    assert damaged.min() < 0


@pytest.mark.parametrize("boundary", WALLS)
@pytest.mark.parametrize("n", [3, 4, 5, 64])
@pytest.mark.parametrize("shift", [1e-3, 1.0, 1e5])
def test_routes_agree_elimination_and_dense_algebra(boundary, n, shift):
    chain = FiniteVolume(grid=uneven(n)).discretise(wavy(boundary))
    L, h = chain.matrix(), chain.widths
    rhs = np.random.default_rng(n).uniform(0.0, 1.0, n)
    expected = np.linalg.solve(shift * np.eye(n) - L, rhs * h) / h
    condition = 1 + np.abs(L).max() / shift
    gap = np.abs(chain.solve_shifted(shift, rhs) / expected - 1).max()
    assert gap <= 64 * EPS * condition
    assert np.allclose(chain.apply(rhs), L @ (rhs * h) / h, rtol=0, atol=64 * EPS * np.abs(L).max())


@pytest.mark.twin
def test_routes_agree_rejects_a_ring_cut_open():
    chain = FiniteVolume(cells=16).discretise(wavy("periodic"))
    L, rhs = chain.matrix(), np.ones(16)
    cut = replace(chain, left=np.append(0.0, chain.left[1:]))
    expected = np.linalg.solve(np.eye(16) - L, rhs * chain.widths) / chain.widths
    assert np.abs(cut.solve_shifted(1.0, rhs) / expected - 1).max() > 1e-3


def equilibrium_gap(sign):
    problem = FokkerPlanck(
        potential=lambda x: 20 * x**2 + 6 * np.cos(9 * x),
        diffusion=0.7,
        domain=(-1.0, 1.0),
        initial=lambda x: 1 + 0 * x,
    )
    chain = FiniteVolume(grid=SpaceGrid(edges=(2 * uneven(300).edges[0] - 1,))).discretise(problem)
    weight = np.exp(-sign * problem.potential(chain.points) / 0.7)
    return np.abs(chain.stationary() / (weight / (weight @ chain.widths)) - 1).max()


def test_exact_equilibrium_is_the_boltzmann_weight_on_uneven_cells():
    assert equilibrium_gap(1.0) < 1e-13


@pytest.mark.twin
def test_exact_equilibrium_rejects_the_wrong_sign_of_the_potential():
    assert not equilibrium_gap(-1.0) < 1e-13


def test_exact_stationary_density_of_a_driven_ring_does_not_change():
    chain = FiniteVolume(cells=128).discretise(wavy("periodic"))
    p = chain.stationary()
    assert not chain.detailed_balance
    assert np.all(p > 0)
    assert np.abs(chain.apply(p)).max() <= 16 * EPS * np.abs(chain.matrix()).max() * p.max()


def test_exact_symmetrised_form_is_similar_to_the_chain():
    chain = FiniteVolume(grid=uneven(40)).discretise(wavy(("absorbing", "reflecting")))
    diagonal, bond, log_scale = chain.symmetrised()
    H = np.diag(diagonal) + np.diag(bond[:-1], 1) + np.diag(bond[:-1], -1)
    S = np.exp(log_scale)
    assert np.abs(S[:, None] * -H / S - chain.matrix()).max() <= 64 * EPS * diagonal.max()


def test_exact_tiny_shift_keeps_every_digit():
    """With shift sigma the mass is exactly 1/sigma times what enters, however small sigma."""
    chain = FiniteVolume(cells=400).discretise(wavy())
    for shift in (1e-3, 1e-12, 1e-100):
        p = chain.solve_shifted(shift, np.ones(400))
        assert abs(p @ chain.widths * shift - 1) < 1e-13


def mode_error(n, boundary, *, damage=0.0):
    """Error of L on the slowest modes of free diffusion with a constant drift."""
    problem = FokkerPlanck(
        potential=lambda x: (2.0 + damage) * x,
        diffusion=1.0,
        domain=(0.0, 1.0),
        initial=lambda x: 1 + 0 * x,
        boundary=boundary,
    )
    values = np.sort(-np.linalg.eigvalsh(_dense(FiniteVolume(cells=n).discretise(problem))))
    k = np.arange(1, 4)
    exact = 1.0 + (k * np.pi) ** 2  # both walls alike: drift 2 lifts k^2 pi^2 by (2/2)^2
    found = np.sort(-values)[1:4] if boundary == "reflecting" else np.sort(-values)[:3]
    return float(np.abs(found - exact).max())


def _dense(chain):
    diagonal, bond, _ = chain.symmetrised()
    return np.diag(diagonal) + np.diag(bond[:-1], 1) + np.diag(bond[:-1], -1)


@pytest.mark.parametrize("boundary", ["reflecting", "absorbing"])
def test_order_two_in_space_at_both_kinds_of_wall(boundary):
    table = observed_order(lambda n: mode_error(n, boundary), (16, 32, 64, 128, 256), 2.0)
    assert table.agrees(), table


@pytest.mark.twin
@pytest.mark.parametrize("boundary", ["reflecting", "absorbing"])
def test_order_two_in_space_rejects_a_drift_off_by_a_thousandth(boundary):
    sizes = (16, 32, 64, 128, 256)
    table = observed_order(lambda n: mode_error(n, boundary, damage=2e-3), sizes, 2.0)
    assert not table.agrees(), table


def test_exact_free_diffusion_ring_has_the_known_spectrum():
    problem = wavy("periodic", potential=None, force=None, diffusion=1.0)
    L = FiniteVolume(cells=32).discretise(problem).matrix()
    k = np.arange(32)
    assert np.allclose(
        np.sort(-np.linalg.eigvalsh(L)), np.sort(4 * 32**2 * np.sin(np.pi * k / 32) ** 2), atol=1e-9
    )


def test_exact_bernoulli_function_everywhere():
    assert bernoulli(np.array([0.0]))[0] == 1.0
    z = np.array([1e-12, 1e-3, 1.0, 30.0, 700.0])
    assert np.allclose(bernoulli(z) / bernoulli(-z), np.exp(-z), rtol=1e-13)
    assert np.array_equal(bernoulli(np.array([-1e6, 1e6])), [1e6, 0.0])


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    boundary=st.sampled_from(WALLS),
    n=st.integers(3, 40),
    log_shift=st.floats(-8, 8),
)
def test_keeps_positivity_and_mass_on_random_cells(seed, boundary, n, log_shift):
    rng = np.random.default_rng(seed)
    tilt = rng.normal(0.0, 30.0)
    problem = wavy(boundary, force=lambda x: tilt + 0 * x)
    chain = FiniteVolume(grid=uneven(n, seed)).discretise(problem)
    rhs = rng.uniform(0.0, 1.0, n) * (rng.random(n) < 0.5)
    shift = 10.0**log_shift
    p = chain.solve_shifted(shift, rhs)
    assert np.all(p >= 0)
    balance = shift * (p @ chain.widths) + chain.loss @ (p * chain.widths)
    assert abs(balance - rhs @ chain.widths) <= 1e-12 * (rhs @ chain.widths)


def test_refuses_grids_that_do_not_fit():
    with pytest.raises(GridError, match="cells must fill a finite domain"):
        FiniteVolume(grid=SpaceGrid.uniform((0.0, 2.0), 8)).discretise(wavy())
    with pytest.raises(ShapeError, match="2 dimensions and the problem 1; pass one edge array"):
        FiniteVolume(grid=SpaceGrid(edges=(np.arange(5.0), np.arange(5.0)))).discretise(wavy())
    with pytest.raises(OutOfRangeError, match="`cells` must be at least 3"):
        FiniteVolume(cells=2)


def test_refuses_what_a_chain_cannot_give():
    leaking = FiniteVolume(cells=8).discretise(wavy("absorbing"))
    with pytest.raises(UnsupportedError, match="all of it is gone in the end"):
        leaking.stationary()
    with pytest.raises(UnsupportedError, match="march in time with L1"):
        FiniteVolume(cells=8).discretise(wavy("periodic")).symmetrised()
    with pytest.raises(OutOfRangeError, match="`shift` must lie in"):
        leaking.solve_shifted(0.0, np.ones(8))


def test_refuses_a_grid_that_is_no_grid_and_rates_that_overflow():
    with pytest.raises(InputError, match="`grid` must be a SpaceGrid"):
        FiniteVolume(grid=np.linspace(0.0, 1.0, 9))
    tiny = FokkerPlanck(diffusion=1.0, domain=(0.0, 1e-300), initial=lambda x: 1 + 0 * x)
    with pytest.raises(NotFiniteError, match="change the units"):
        FiniteVolume(cells=8).discretise(tiny)

"""Survival and passage densities: series, subordination, tails, and their integrals."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import erfcx

from fracsde.errors import OutOfRangeError, UnsupportedError
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.physics.modes import eigenmodes
from fracsde.physics.survival import (
    first_passage_density,
    survival_probability,
    survival_tail,
)
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian, PointMass
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.solve import solve
from fracsde.special import inverse_stable_pdf, mittag_leffler
from tests.support.orders import observed_order

TIMES = np.array([0.02, 0.1, 0.5, 4.0])


def interval(**changes):
    given = {
        "diffusion": 1.0,
        "domain": (0.0, 1.0),
        "boundary": "absorbing",
        "initial": PointMass(at=0.5),
    }
    return FokkerPlanck(**(given | changes))


def clocked(alpha=0.5, timescale=1.0, **changes):
    return FractionalFokkerPlanck(base=interval(**changes), alpha=alpha, timescale=timescale)


def series(alpha, clock):
    """Start in the middle of (0, 1)."""
    k = np.arange(400)
    odd = 2 * k + 1.0
    waves = -np.multiply.outer(clock, (odd * np.pi) ** 2)
    decay = erfcx(-waves) if alpha == 0.5 else np.exp(waves)
    return 4 / np.pi * (decay * (-1.0) ** k / odd).sum(axis=1)


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_exact_survival_between_walls(alpha):
    found = survival_probability(solve(clocked(alpha, 3.0), TIMES))
    exact = series(alpha, 3.0 ** (1 - alpha) * TIMES**alpha)
    assert np.abs(found - exact).max() < 2e-5


@pytest.mark.twin
def test_exact_survival_rejects_another_timescale():
    found = survival_probability(solve(clocked(0.5, 3.003), TIMES))
    exact = series(0.5, 3.0**0.5 * TIMES**0.5)
    assert not np.abs(found - exact).max() < 2e-5


def stretched(alpha, t, ordinary):
    """Average of ordinary survival over the inverse stable clock at one time."""
    reach = t**alpha
    nodes, weights = np.polynomial.legendre.leggauss(400)
    u = 10 * reach * (nodes + 1)
    return float((weights * 10 * reach * inverse_stable_pdf(u, t, alpha)) @ ordinary(u))


def test_routes_agree_of_survival_and_the_stretched_ordinary_one():
    """A fractional clock reads the ordinary survival at random times."""
    space = FiniteVolume(cells=100)
    modes = eigenmodes(interval(), 100, space=space)
    shares = modes.amplitudes(PointMass(at=0.5)) * (modes.densities @ modes.widths)
    found = survival_probability(solve(clocked(0.7), TIMES[1:], space=space))
    ordinary = lambda u: np.exp(-np.outer(u, modes.rates)) @ shares  # noqa: E731
    expected = [stretched(0.7, t, ordinary) for t in TIMES[1:]]
    assert np.abs(found - expected).max() < 1e-7
    by_modes = modes.relaxation(TIMES[1:])  # of the ordinary clock
    assert np.abs(by_modes @ shares - found).max() > 0.01
    order = mittag_leffler(-np.outer(TIMES[1:] ** 0.7, modes.rates), 0.7) @ shares
    assert np.abs(found - order).max() < 1e-7


@pytest.mark.twin
def test_routes_reject_a_neighbouring_order():
    space = FiniteVolume(cells=100)
    modes = eigenmodes(interval(), 100, space=space)
    shares = modes.amplitudes(PointMass(at=0.5)) * (modes.densities @ modes.widths)
    found = survival_probability(solve(clocked(0.7), TIMES[1:], space=space))
    ordinary = lambda u: np.exp(-np.outer(u, modes.rates)) @ shares  # noqa: E731
    expected = [stretched(0.7001, t, ordinary) for t in TIMES[1:]]
    assert not np.abs(found - expected).max() < 1e-7


def tail_order(terms, factor=1.0):
    """What is left of the series falls like the first power that was left out."""
    problem = clocked(0.6, 2.0, potential=lambda x: np.cos(np.pi * x))
    space = FiniteVolume(cells=60)
    times = 10.0 ** np.arange(2, 7)
    modes = eigenmodes(problem, 60, space=space)
    shares = modes.amplitudes(PointMass(at=0.5)) * (modes.densities @ modes.widths)
    exact = modes.relaxation(times) @ shares
    series_ = factor * survival_tail(problem, terms=terms, space=space).at(times)
    gaps = dict(zip(times, np.abs(series_ - exact), strict=True))
    return observed_order(gaps.__getitem__, times, 0.6 * (terms + 1))


@pytest.mark.parametrize("terms", [1, 2])
def test_order_of_the_power_law_tail(terms):
    """At order 0.6 no term is zero among the first three."""
    table = tail_order(terms)
    assert table.agrees(0.02), table


@pytest.mark.twin
def test_order_of_the_tail_rejects_a_prefactor_off_by_one_per_thousand():
    assert not tail_order(1, 1.001).agrees(0.02)


def test_exact_prefactor_at_points():
    tail = survival_tail(clocked(0.5, 4.0))
    x = np.array([0.25, 0.5])
    exact = x * (1 - x) / 2 * 4.0**-0.5 / np.sqrt(np.pi)
    assert np.abs(tail.prefactor(x) / exact - 1).max() < 1e-4


@pytest.mark.parametrize("alpha", [0.6, 1.0])
def test_exact_density_is_minus_the_slope_of_survival(alpha):
    problem, space = clocked(alpha, 1.5), FiniteVolume(cells=80)
    t, h = 0.3, 1e-3
    S = survival_probability(solve(problem, t + h * np.array([-2.0, -1.0, 1.0, 2.0]), space=space))
    slope = (S @ [1.0, -8.0, 8.0, -1.0]) / (12 * h)
    found = first_passage_density(problem, [t], space=space)[0]
    assert abs(found + slope) < 1e-6 * found + 1e-6


@pytest.mark.twin
def test_exact_density_rejects_the_outflux_in_its_place():
    """On a fractional clock mass leaves at another rate than it flows out of the equation."""
    problem, space = clocked(0.6, 1.5), FiniteVolume(cells=80)
    solution = solve(problem, [0.3], space=space)
    outflux = solution.generator.loss @ (solution.density[0] * solution.widths)
    assert abs(first_passage_density(problem, [0.3], space=space)[0] - outflux) > 1e-2


def test_routes_agree_of_passage_to_an_interval_and_to_a_wall():
    space = FiniteVolume(cells=64)
    start = Gaussian(mean=0.4, std=0.05)
    t = [0.05, 0.4]
    inner = first_passage_density(
        FractionalFokkerPlanck(base=interval(boundary="reflecting", initial=start), alpha=0.7),
        t,
        (0.8, 0.9),
        space=space,
    )
    wall = interval(domain=(0.0, 0.8), boundary=("reflecting", "absorbing"), initial=start)
    alone = first_passage_density(FractionalFokkerPlanck(base=wall, alpha=0.7), t, space=space)
    assert np.abs(inner / alone - 1).max() < 1e-9


def test_refuses_survival_where_nothing_dies_and_tails_of_exponentials():
    kept = interval(boundary="reflecting")
    with pytest.raises(UnsupportedError, match="loses nothing"):
        survival_probability(solve(kept, [0.1], space=FiniteVolume(cells=20)))
    with pytest.raises(UnsupportedError, match="what solve returns"):
        survival_probability(kept)
    with pytest.raises(UnsupportedError, match="exponentially"):
        survival_tail(FractionalFokkerPlanck(base=interval(), alpha=1.0))
    with pytest.raises(OutOfRangeError, match="positive"):
        first_passage_density(interval(), [0.0])
    values = replace(interval(), initial=np.ones(10))
    with pytest.raises(UnsupportedError, match="cell values"):
        first_passage_density(values, [0.1], (0.2, 0.3))

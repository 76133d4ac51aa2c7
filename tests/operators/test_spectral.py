"""Spectral operators as generators: mass, equilibrium, marching, what they know of their error."""

import numpy as np
import pytest

from fracsde.backends import marching_reference
from fracsde.errors import InputError, OutOfRangeError, UnsupportedError
from fracsde.grids import TimeGrid
from fracsde.operators.hermite import Hermite
from fracsde.operators.landscape import Landscape
from fracsde.operators.sinc import Sinc
from fracsde.operators.spectral import SpectralGenerator
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.schemes.l1 import L1
from fracsde.schemes.marching import march
from tests.support.exact import EPS, fractional_ornstein_uhlenbeck, half_order_relaxation
from tests.support.orders import observed_order
from tests.support.propagation import half_order_densities

LINE = (-np.inf, np.inf)
TIMES = np.array([0.01, 0.1, 1.0, 10.0])
SPACES = [Sinc(points=64), Hermite(modes=64)]


def ornstein_uhlenbeck(mean=1.5, std=0.5, **changes):
    settings = {
        "potential": lambda x: x**2 / 2,
        "diffusion": 1.0,
        "domain": LINE,
        "initial": Gaussian(mean=mean, std=std),
    }
    return FokkerPlanck(**(settings | changes))


def double_well(**changes):
    settings = {
        "potential": lambda x: 2 * (x * x - 1) ** 2,
        "initial": Gaussian(mean=-0.8, std=0.15),
    }
    return ornstein_uhlenbeck(**(settings | changes))


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("problem", [ornstein_uhlenbeck(), double_well()])
def test_exact_mass_and_equilibrium_whatever_the_resolution(space, problem):
    for points in (32, 64):
        family = {"points": points} if isinstance(space, Sinc) else {"modes": points}
        generator = type(space)(**family).discretise(problem)
        H, log_scale = generator.symmetric_matrix()
        size = np.abs(H).max()
        assert np.array_equal(H, H.T)
        assert np.abs(H @ np.exp(log_scale)).max() <= 64 * EPS * size
        rest = generator.stationary()
        assert abs(rest @ generator.widths - 1) <= 16 * EPS
        weight = np.exp(-problem.potential(generator.points))
        assert np.allclose(rest / weight, rest[20] / weight[20], rtol=1e-12)
        p = half_order_densities(generator, generator.project(problem.initial), TIMES)
        assert np.abs(p @ generator.widths - 1).max() < 1e-11
        assert generator.conserves_mass
        assert generator.detailed_balance
        assert np.all(generator.widths > 0)


@pytest.mark.twin
def test_exact_equilibrium_rejects_the_matrix_before_projection():
    generator = Sinc(points=32).discretise(ornstein_uhlenbeck())
    s = np.exp(generator.symmetric_matrix()[1])
    assert not np.abs(generator.matrix @ s).max() <= 64 * EPS * np.abs(generator.matrix).max()


@pytest.mark.parametrize("space", SPACES)
def test_exact_eigenvectors_are_orthogonal_and_the_first_is_the_equilibrium(space):
    generator = space.discretise(double_well())
    H, log_scale = generator.symmetric_matrix()
    rates, Q = generator.eigen()
    assert rates[0] == 0.0
    assert np.all(rates[1:] > 0)
    assert np.abs(Q.T @ Q - np.eye(64)).max() <= 64 * EPS
    assert np.abs(H @ Q - Q * rates).max() <= 64 * EPS * np.abs(H).max()
    s = np.exp(log_scale)
    assert np.abs(np.abs(Q[:, 0]) - s / np.linalg.norm(s)).max() <= 4 * EPS


@pytest.mark.parametrize("space", SPACES)
def test_exact_shifted_solve_inverts_shift_minus_apply(space):
    generator = space.discretise(ornstein_uhlenbeck(reaction=lambda x: 0.1 + 0 * x))
    x = generator.points
    p = np.exp(-((x - 0.3) ** 2))
    for shift in (1e-6, 1.0, 1e3, 1.0 + 2.0j, -3.0 + 1e2j):
        back = generator.solve_shifted(shift, shift * p - generator.apply(p))
        assert np.abs(back - p).max() < 1e-9
    # L of a Gaussian in closed form: p' = -2 (x - .3) p.
    d = x - 0.3
    expected = (1.0 - 2.0 * x * d + 4.0 * d * d - 2.0 - 0.1) * p
    assert np.abs(generator.apply(p) - expected).max() < 1e-8
    both = generator.apply(np.stack([p, 2 * p]))
    assert np.abs(both - np.stack([expected, 2 * expected])).max() < 1e-8


def reaction_gap(space, strength=0.75):
    """With ``r = c x**2`` the symmetric form is an oscillator of frequency sqrt(1 + 4 c)."""
    problem = ornstein_uhlenbeck(0.5, 0.6, reaction=lambda x: strength * x * x)
    rates, _ = space.discretise(problem).eigen()
    n = np.arange(8)
    return float(np.abs(rates[:8] - ((n + 0.5) * np.sqrt(1 + 4 * 0.75) - 0.5)).max())


@pytest.mark.parametrize("space", [Sinc(points=80), Hermite(modes=80)])
def test_exact_eigenvalues_with_reaction(space):
    assert reaction_gap(space) < 1e-10


@pytest.mark.twin
def test_exact_eigenvalues_reject_a_reaction_a_millionth_too_strong():
    assert not reaction_gap(Sinc(points=80), 0.75 * (1 + 1e-6)) < 1e-10


@pytest.mark.parametrize("space", SPACES)
def test_exact_densities_between_the_nodes_and_moments(space):
    problem = ornstein_uhlenbeck()
    generator = space.discretise(problem)
    found = half_order_densities(generator, generator.project(problem.initial), TIMES)
    x = np.linspace(-7.0, 7.0, 203).reshape(7, 29)
    expected = np.array(
        [fractional_ornstein_uhlenbeck(x.ravel(), t, mean=1.5, std=0.5, terms=400) for t in TIMES]
    ).reshape(4, 7, 29)
    assert np.abs(generator.interpolate(found, x) - expected).max() < 5e-12
    first = half_order_relaxation(np.sqrt(TIMES))
    second = half_order_relaxation(2.0 * np.sqrt(TIMES))
    masses = found * generator.widths
    assert np.abs(masses @ generator.points - 1.5 * first).max() < 1e-11
    assert np.abs(masses @ generator.points**2 - 1.0 - 1.5 * second).max() < 1e-10
    assert np.all(generator.interpolate(found, np.array([-60.0, 60.0])) == 0)


@pytest.mark.twin
def test_exact_densities_between_the_nodes_reject_interpolation_of_the_density_itself():
    """Straight lines between nodes, as for cells, would be of second order."""
    problem = ornstein_uhlenbeck()
    generator = Sinc(points=64).discretise(problem)
    p = generator.project(problem.initial) / generator.widths
    x = np.linspace(-4.0, 4.0, 99)
    assert np.abs(generator.interpolate(p[None], x)[0] - problem.initial(x)).max() < 1e-9
    assert not np.abs(np.interp(x, generator.points, p) - problem.initial(x)).max() < 1e-9


CASES = {
    "parabola": ornstein_uhlenbeck(),
    "tail": ornstein_uhlenbeck(4.0, 0.6),
    "narrow": ornstein_uhlenbeck(0.5, 0.25),
    "double": double_well(),
    "variable": ornstein_uhlenbeck(0.5, 0.5, diffusion=lambda x: 1 + 0.4 * np.tanh(x)),
    "reaction": ornstein_uhlenbeck(0.5, 0.5, reaction=lambda x: 0.3 * x * x),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("family", ["points", "modes"])
def test_exact_resolution_error_bounds_the_error_and_falls_with_it(name, family):
    problem = CASES[name]
    fine = Sinc(points=224).discretise(problem)
    low, high = fine.landscape.ends(np.array([14.0]))[0]
    x = np.linspace(low, high, 161)
    times = np.append(0.0, TIMES)

    def densities(generator):
        return half_order_densities(generator, generator.project(problem.initial), times)

    expected = fine.interpolate(densities(fine), x)
    estimates = []
    for n in (48, 64, 96):
        space = Sinc(points=n) if family == "points" else Hermite(modes=n)
        generator = space.discretise(problem)
        gap = np.abs(generator.interpolate(densities(generator), x) - expected)
        error = (gap.max(axis=1) / expected.max(axis=1)).max()
        estimate = generator.resolution_error(generator.project(problem.initial))
        rates = generator.eigen()[0]
        rounding = 16 * EPS * rates[-1] / rates[1]  # of the eigenvectors, not of space
        assert error <= 2 * estimate + rounding, (n, error, estimate)
        assert estimate <= 1e4 * (error + rounding)
        estimates.append(estimate)
    assert estimates[2] < estimates[0] / 30


@pytest.mark.parametrize("space", SPACES)
def test_limit_a_start_broader_than_the_equilibrium_loses_digits_and_knows_it(space):
    problem = ornstein_uhlenbeck(0.0, 1.2)
    generator = space.discretise(problem)
    masses = generator.project(problem.initial)
    found = half_order_densities(generator, masses, TIMES) * generator.widths
    second = 1.0 + 0.44 * half_order_relaxation(2.0 * np.sqrt(TIMES))
    assert np.abs(found @ generator.points**2 - second).max() < 1e-7
    assert 1e-10 < generator.resolution_error(masses) < 1e-6


@pytest.mark.twin
def test_exact_resolution_error_sees_a_wrong_potential_in_the_matrix(monkeypatch):
    right = Landscape.curvature
    monkeypatch.setattr(Landscape, "curvature", lambda self, x: right(self, x) + 1e-4)
    generator = Sinc(points=96).discretise(ornstein_uhlenbeck())
    assert generator.resolution_error(generator.project(generator.landscape.problem.initial)) > 5e-5


def test_order_of_a_march_on_a_spectral_operator_is_that_of_the_scheme():
    """What is left of the error is the time's: first order at the end of uniform steps."""
    problem = ornstein_uhlenbeck()
    generator = Sinc(points=48).discretise(problem)
    masses = generator.project(problem.initial)
    exact = half_order_densities(generator, masses, np.array([1.0]))[0] * generator.widths

    def error(n):
        states = march(
            generator,
            L1(),
            TimeGrid.uniform(1.0, n).times,
            initial=masses,
            alpha=0.5,
            scale=1.0,
            source=None,
            engine=marching_reference,
            watch=None,
        )
        return float(np.abs(states[-1] - exact).max())

    table = observed_order(error, (32, 64, 128, 256, 512), 1.0)
    assert table.agrees(), table


def sourced_mass(strength):
    """Mass after a march with removal at rate 1 and a source of the given mass per time."""
    problem = ornstein_uhlenbeck(
        reaction=lambda x: 1.0 + 0 * x,
        source=lambda t, x: strength * Gaussian(mean=-1.0, std=0.6)(x),
    )
    generator = Sinc(points=64).discretise(problem)
    states = march(
        generator,
        L1(),
        TimeGrid.graded(2.0, 40, 2.0).times,
        initial=generator.project(problem.initial),
        alpha=0.7,
        scale=1.0,
        source=lambda t: problem.source_at(t, generator.points) * generator.widths,
        engine=marching_reference,
        watch=None,
    )
    return states.sum(axis=1)


def test_exact_mass_where_a_source_replaces_what_a_reaction_removes():
    assert np.abs(sourced_mass(1.0) - 1.0).max() < 1e-9


@pytest.mark.twin
def test_exact_mass_rejects_a_source_too_strong_by_a_millionth():
    assert not np.abs(sourced_mass(1.0 + 1e-6) - 1.0).max() < 1e-9


def test_keeps_arguments_and_its_matrix_unwritten():
    generator = Sinc(points=32).discretise(ornstein_uhlenbeck())
    p = np.ones(32)
    generator.apply(p)
    generator.solve_shifted(1.0, p)
    generator.interpolate(p[None], np.zeros(3))
    assert np.all(p == 1.0)
    with pytest.raises(ValueError, match="read-only"):
        generator.symmetric_matrix()[0][0, 0] = 1.0


def test_refuses_what_it_cannot_give():
    generator = Sinc().discretise(ornstein_uhlenbeck(reaction=lambda x: 1 + 0 * x))
    assert isinstance(generator, SpectralGenerator)
    with pytest.raises(UnsupportedError, match="all of it is gone in the end"):
        generator.stationary()
    with pytest.raises(InputError, match=r"dataclasses.replace\(problem, initial=...\)"):
        generator.project(Gaussian(mean=9.0, std=0.1))
    with pytest.raises(OutOfRangeError, match="`shift` must lie in"):
        generator.solve_shifted(0.0, np.ones(64))

"""SGD as fractional diffusion: its stationary law, its sign, and the algebra of its exponents."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fracsde.errors import InputError
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.physics.currents import stationary_density
from fracsde.physics.sgd import (
    caputo_order,
    effective_diffusion,
    sgd_fractional_fokker_planck,
    walk_dimension,
)
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.problems.potentials import Potential, double_well
from fracsde.provenance import input_hash
from fracsde.solve import solve
from fracsde.special import mittag_leffler

GAMMA, XI, LAMBDA, SPECTRAL = 0.5, 0.7, 1.3, 1.0


def problem(**changes):
    given_ = {
        "loss": "x**2/2",
        "learning_rate": 1.0,
        "effective_diffusion": 0.5,
        "alpha": 0.8,
        "domain": (-6.0, 6.0),
        "initial": Gaussian(mean=1.5, std=0.3),
    }
    return sgd_fractional_fokker_planck(**(given_ | changes))


def printed(made):
    """The same with the drift as it is printed: div(D grad p - gamma p grad L)."""
    base = made.base
    wrong = FokkerPlanck(
        potential=lambda x: -base.potential(x),
        diffusion=base.diffusion,
        domain=base.domain,
        initial=base.initial,
    )
    return FractionalFokkerPlanck(base=wrong, alpha=made.alpha)


def is_gibbs(made, loss, gamma, diffusion):
    x, p = stationary_density(made, space=FiniteVolume(cells=300))
    h = x[1] - x[0]
    gibbs = np.exp(-gamma * loss(x) / diffusion)
    return bool(
        np.abs(p - gibbs / (gibbs.sum() * h)).max() < 1e-12 and abs(p.sum() * h - 1) < 1e-10
    )


@pytest.mark.parametrize("xi", [0.5, 1.0, 2.0])
def test_exact_stationary_density_is_that_of_gibbs(xi):
    loss = double_well(barrier=1.0)
    made = problem(
        loss=loss,
        learning_rate=GAMMA,
        effective_diffusion=None,
        xi=xi,
        learning_coefficient=LAMBDA,
        spectral_dimension=SPECTRAL,
        domain=(-2.0, 2.0),
    )
    assert is_gibbs(made, loss, GAMMA, xi ** (2 - 2 * LAMBDA / SPECTRAL))


@pytest.mark.twin
def test_exact_stationary_density_rejects_the_printed_sign():
    made = problem()
    assert is_gibbs(made, lambda x: x**2 / 2, 1.0, 0.5)
    assert not is_gibbs(printed(made), lambda x: x**2 / 2, 1.0, 0.5)


def near_walls(made, t=20.0):
    solution = solve(made, [t], space=FiniteVolume(cells=300))
    masses = solution.density[0] * solution.widths
    return float(masses[np.abs(solution.points[0]) > 5.0].sum())


def test_printed_sign_sends_the_mass_to_the_walls():
    """V1: with the corrected sign next to nothing is there, with the printed one nearly all."""
    made = problem(alpha=1.0)
    assert near_walls(made) < 1e-9
    assert near_walls(printed(made)) > 0.9


@pytest.mark.parametrize("alpha", [0.5, 0.8])
def test_exact_mean_relaxes_like_mittag_leffler(alpha):
    """V2: x0 E(-gamma k t**alpha)."""
    t = np.array([1.0, 5.0, 20.0])
    made = problem(loss="k*x**2/2".replace("k", "2"), learning_rate=0.5, alpha=alpha)
    found = solve(made, t, space=FiniteVolume(cells=800)).mean()
    assert np.abs(found - 1.5 * mittag_leffler(-(t**alpha), alpha)).max() < 1e-4
    digest = {0.5: [0.6414, 0.3485, 0.1848], 0.8: [0.5804, 0.1317, 0.0336]}[alpha]
    assert np.abs(found - digest).max() < 2e-4


def test_limit_of_late_times_does_not_depend_on_the_order():
    """V3: the same law, reached more slowly the smaller the order."""
    gaps = []
    for alpha in (1.0, 0.8, 0.5):
        made = problem(alpha=alpha)
        x, rest = stationary_density(made, space=FiniteVolume(cells=300))
        p = solve(made, [20.0], space=FiniteVolume(cells=300)).density[0]
        gaps.append(0.5 * np.abs(p - rest).sum() * (x[1] - x[0]))
    assert gaps[0] < 1e-7
    assert gaps[0] < gaps[1] < gaps[2]
    assert gaps[1] == pytest.approx(0.018, abs=0.003)
    assert gaps[2] == pytest.approx(0.10, abs=0.01)


@settings(derandomize=True, deadline=None, database=None)
@given(
    xi=st.floats(0.05, 20.0),
    coefficient=st.floats(0.1, 10.0),
    dimension=st.floats(0.1, 10.0),
)
def test_exact_identities_of_the_effective_diffusion(xi, coefficient, dimension):
    """V11."""
    assert effective_diffusion(1.0, coefficient, dimension, base=3.0) == 3.0
    slope = 1.0 / walk_dimension(coefficient, dimension)
    expected = xi ** (2.0 - 1.0 / slope)
    assert effective_diffusion(xi, coefficient, dimension) == pytest.approx(expected, rel=1e-10)
    assert effective_diffusion(xi, coefficient, coefficient) == pytest.approx(1.0, rel=1e-12)
    more = effective_diffusion(xi, 1.1 * coefficient, dimension)
    assert np.sign(more - effective_diffusion(xi, coefficient, dimension)) == -np.sign(np.log(xi))
    order = caputo_order(coefficient, dimension)
    assert 0.0 < order <= 1.0
    assert order == pytest.approx(min(1.0, 2.0 * slope), rel=1e-12)


def test_exact_tempering_undoes_the_effective_diffusion_identically():
    """V12: p_s ** (m D / gamma) is exp(-m L), whatever xi: agreement would be a tautology."""
    m = 7.0
    loss = double_well(barrier=0.4)
    for xi in (0.5, 2.0):
        diffusion = effective_diffusion(xi, LAMBDA, SPECTRAL)
        made = problem(loss=loss, learning_rate=GAMMA, effective_diffusion=diffusion)
        x, p = stationary_density(made, space=FiniteVolume(cells=200))
        logs = m * diffusion / GAMMA * np.log(p)
        expected = -m * loss(x)
        gap = (logs - logs.max()) - (expected - expected.max())
        assert np.abs(gap).max() < 1e-10 * np.abs(expected).max()


def test_exact_order_follows_from_the_geometry_and_formulas_stay_formulas():
    geometry = {
        "effective_diffusion": None,
        "alpha": None,
        "xi": 2.0,
        "learning_coefficient": 2.0,
        "spectral_dimension": 1.5,
    }
    made = problem(**geometry)
    assert made.alpha == 0.75
    assert made.base.diffusion == pytest.approx(2.0 ** (2 - 4 / 1.5))
    assert made.base.potential == Potential("x**2/2")
    assert input_hash(made) == input_hash(problem(**geometry))
    plain = problem(loss=lambda x: x**2 / 2, learning_rate=2.0)
    assert plain.base.potential(3.0) == 9.0
    flat = problem(
        loss="x**2*y**2",
        domain=((-1.0, 1.0), (-1.0, 1.0)),
        initial=Gaussian(mean=(0.2, 0.2), std=0.2),
    )
    assert flat.base.potential.variables == ("x", "y")


def test_refuses_a_diffusion_given_twice_or_not_at_all():
    with pytest.raises(InputError, match="given twice"):
        problem(xi=0.5)
    with pytest.raises(InputError, match="missing: learning_coefficient"):
        problem(effective_diffusion=None, xi=0.5, spectral_dimension=1.0)
    with pytest.raises(InputError, match="`alpha` is needed"):
        problem(alpha=None)
    with pytest.raises(InputError, match="`loss` must be"):
        problem(loss=3.0)
    with pytest.raises(TypeError, match="sign"):
        problem(sign="printed")

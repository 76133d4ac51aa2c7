"""The Hermite operator: exact for linear drift, orthogonal tables, the scale it chooses."""

import numpy as np
import pytest
from scipy.special import roots_hermite

from fracsde.errors import OutOfRangeError, UnsupportedError
from fracsde.operators import hermite
from fracsde.operators.hermite import Hermite, HermiteBasis
from fracsde.operators.landscape import Landscape
from fracsde.operators.sinc import Sinc
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from tests.support.exact import EPS, fractional_ornstein_uhlenbeck
from tests.support.propagation import half_order_densities

LINE = (-np.inf, np.inf)
TIMES = np.array([0.01, 0.1, 1.0, 10.0])


def ornstein_uhlenbeck(mean=1.5, std=0.5, **changes):
    settings = {
        "potential": lambda x: x**2 / 2,
        "diffusion": 1.0,
        "domain": LINE,
        "initial": Gaussian(mean=mean, std=std),
    }
    return FokkerPlanck(**(settings | changes))


def error(space, mean=1.5, std=0.5):
    problem = ornstein_uhlenbeck(mean, std)
    generator = space.discretise(problem)
    found = half_order_densities(generator, generator.project(problem.initial), TIMES)
    exact = [
        fractional_ornstein_uhlenbeck(generator.points, t, mean=mean, std=std, terms=400)
        for t in TIMES
    ]
    return float(np.abs(found - np.array(exact)).max())


@pytest.mark.parametrize("n", [8, 33, 64])
def test_exact_tables_are_gauss_quadrature(n):
    basis = HermiteBasis(centre=0.0, scale=1.0, size=n)
    nodes, weights = roots_hermite(n)
    assert np.abs(basis.nodes - nodes).max() <= 64 * EPS * nodes[-1]
    assert np.allclose(basis.weights, weights * np.exp(nodes**2), rtol=1e-11)
    T = hermite.hermite_functions(n, basis.nodes) * np.sqrt(basis.weights)
    assert np.abs(T @ T.T - np.eye(n)).max() <= 16 * EPS * n


@pytest.mark.parametrize("n", [512, 1024])
def test_exact_tables_do_not_overflow_and_stay_orthogonal(n):
    basis = HermiteBasis(centre=2.0, scale=3.0, size=n)
    T = hermite.hermite_functions(n, (basis.nodes - 2.0) / 3.0) * np.sqrt(basis.weights / 3.0)
    assert np.all(np.isfinite(basis.weights))
    assert np.all(basis.weights > 0)
    assert np.abs(T @ T.T - np.eye(n)).max() <= 16 * EPS * n


def eigenvalue_gap(n):
    problem = ornstein_uhlenbeck(0.3, 0.6, potential=lambda x: 1.25 * (x - 0.4) ** 2, diffusion=0.8)
    space = Hermite(modes=n, centre=0.4, scale=np.sqrt(2 * 0.8 / 2.5))
    rates, _ = space.discretise(problem).eigen()
    return float(np.abs(rates - 2.5 * np.arange(n)).max())


@pytest.mark.parametrize("n", [16, 48, 96])
def test_exact_every_eigenvalue_of_a_linear_drift(n):
    assert eigenvalue_gap(n) <= 8 * EPS * 2.5 * n**2


@pytest.mark.twin
def test_exact_every_eigenvalue_rejects_quadrature_at_the_nodes(monkeypatch):
    """Only the highest entry is of too high a degree for the nodes themselves."""
    right = HermiteBasis.matrix

    def damaged(self, diffusion, curvature):
        H = right(self, diffusion, 0.0 * curvature)
        x = self.nodes
        return H + np.diag(2.5**2 * (x - 0.4) ** 2 / (4 * 0.8) - 1.25)

    monkeypatch.setattr(HermiteBasis, "matrix", damaged)
    assert not eigenvalue_gap(48) <= 8 * EPS * 2.5 * 48**2


@pytest.mark.parametrize(
    ("modes", "mean", "std", "within"),
    [(48, 1.5, 0.5, 3e-10), (64, 1.5, 0.5, 1e-12), (80, 1.5, 0.5, 3e-14), (32, 0.0, 0.9, 1e-14)],
)
def test_exact_fractional_relaxation(modes, mean, std, within):
    assert error(Hermite(modes=modes), mean, std) <= within


@pytest.mark.twin
def test_exact_fractional_relaxation_rejects_the_drift_with_the_wrong_bend(monkeypatch):
    right = Landscape.curvature
    monkeypatch.setattr(Landscape, "curvature", lambda self, x: right(self, x) + self._bend(x))
    assert not error(Hermite(modes=64)) <= 1e-12


def test_limit_a_narrow_start_gets_a_smaller_scale_and_a_wide_one_that_of_the_equilibrium():
    narrow = Hermite(modes=64).discretise(ornstein_uhlenbeck(std=0.4)).basis.scale
    wide = Hermite(modes=48).discretise(ornstein_uhlenbeck(0.0, 0.98)).basis.scale
    assert narrow < 0.8 * np.sqrt(2.0)
    assert wide == pytest.approx(np.sqrt(2.0), rel=1e-6)
    fixed = Hermite(modes=64, scale=np.sqrt(2.0))
    assert error(Hermite(modes=64)) < 1e-3 * error(fixed)


WELLS = {
    "double": dict(potential=lambda x: 2 * (x * x - 1) ** 2, initial=Gaussian(mean=-0.8, std=0.15)),
    "tilted": dict(
        potential=lambda x: x**4 / 4 - x * x / 2,
        force=lambda x: -0.5 + 0 * x,
        diffusion=0.5,
        initial=Gaussian(mean=1.0, std=0.2),
    ),
    "variable": dict(diffusion=lambda x: 1 + 0.4 * np.tanh(x), initial=Gaussian(mean=0.5, std=0.5)),
}


@pytest.mark.parametrize("name", WELLS)
def test_routes_agree_hermite_and_sinc_and_both_converge_spectrally(name):
    problem = ornstein_uhlenbeck(**WELLS[name])
    finest = Sinc(points=160).discretise(problem)
    expected = half_order_densities(finest, finest.project(problem.initial), TIMES)
    low, high = finest.landscape.ends(np.array([12.0]))[0]
    x = np.linspace(low, high, 101)
    expected = finest.interpolate(expected, x)

    def gap(space):
        generator = space.discretise(problem)
        found = half_order_densities(generator, generator.project(problem.initial), TIMES)
        return np.abs(generator.interpolate(found, x) - expected).max() / expected.max()

    for family in (lambda n: Sinc(points=n), lambda n: Hermite(modes=n)):
        gaps = [gap(family(n)) for n in (40, 64, 104)]
        assert gaps[1] < gaps[0] / 10
        assert gaps[2] < max(gaps[1] / 10, 3e-12)
        assert gaps[2] < 1e-8


def test_refuses_walls_under_its_points_and_sizes_without_meaning():
    with pytest.raises(UnsupportedError, match=r"use Sinc\(points=48\)"):
        Hermite(scale=1.5).discretise(
            ornstein_uhlenbeck(domain=(-9.0, np.inf), initial=Gaussian(mean=0.0, std=0.9))
        )
    with pytest.raises(OutOfRangeError, match="`modes` must be between 8 and 1024"):
        Hermite(modes=4)
    with pytest.raises(OutOfRangeError, match="`scale` must lie in"):
        Hermite(scale=0.0)

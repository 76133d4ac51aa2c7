"""The sinc operator: exact derivatives, the half-point form, the interval it chooses."""

from dataclasses import replace

import numpy as np
import pytest

from fracsde.errors import GridError, OutOfRangeError, UnsupportedError
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.operators.sinc import Sinc
from fracsde.operators.sines import SineBasis
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian, PointMass
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


def exact(x, mean=1.5, std=0.5):
    return np.array(
        [fractional_ornstein_uhlenbeck(x, t, mean=mean, std=std, terms=400) for t in TIMES]
    )


def error(space, problem=None):
    """Largest error at the nodes, of the densities at four times."""
    problem = problem or ornstein_uhlenbeck()
    generator = space.discretise(problem)
    found = half_order_densities(generator, generator.project(problem.initial), TIMES)
    return float(np.abs(found - exact(generator.points)).max())


@pytest.mark.parametrize("size", [8, 9, 31])
def test_exact_derivatives_of_sines_at_half_points(size):
    basis = SineBasis(ends=(-2.0, 3.0), size=size)
    G, k = basis.derivative(), np.arange(1, size + 1) * np.pi / 5.0
    waves = np.sin(k * (basis.nodes[:, None] + 2.0))
    slopes = k * np.cos(k * (basis.half_points[:, None] + 2.0))
    assert np.abs(G @ waves - slopes).max() <= 32 * EPS * size * k[-1]
    bends = k**2 * waves
    assert np.abs(basis.second_derivative() @ waves - bends).max() <= 32 * EPS * size * k[-1] ** 2
    assert np.abs(G.T @ G - basis.second_derivative()).max() <= 32 * EPS * size * k[-1] ** 2


@pytest.mark.twin
def test_exact_derivatives_reject_the_images_with_the_wrong_sign():
    basis = SineBasis(ends=(-2.0, 3.0), size=9)
    wave = np.sin(np.pi * (basis.nodes + 2.0) / 5.0)
    slope = np.pi / 5.0 * np.cos(np.pi * (basis.half_points + 2.0) / 5.0)
    m, j = np.arange(1, 11)[:, None], np.arange(1, 10)
    d = m - 0.5 + j
    image = np.pi / (40.0 * 5.0) * np.sin(np.pi * d) / np.sin(0.05 * np.pi * d) ** 2
    damaged = basis.derivative() - 2.0 * image
    assert np.abs(basis.derivative() @ wave - slope).max() < 1e-13
    assert not np.abs(damaged @ wave - slope).max() < 1e-13


def test_exact_interpolation_of_a_shape_that_does_not_vanish_at_the_ends():
    """The jump to the odd image rings through the interval unless it is taken out."""
    basis = SineBasis(ends=(-5.0, 5.0), size=48)
    x = np.linspace(-4.9, 4.9, 77)
    shape, there = np.exp(-(basis.nodes**2) / 4), np.exp(-(x**2) / 4)
    values, expected = shape * (1 + 0.1 * basis.nodes), there * (1 + 0.1 * x)
    found = basis.evaluate(values[None], shape, x, there)[0]
    assert np.abs(found - expected).max() < 1e-13
    plain = basis.coefficients(values) @ np.sin(
        np.arange(1, 49)[:, None] * np.pi * (x + 5.0) / 10.0
    )
    assert np.abs(plain - expected).max() > 1e-4


@pytest.mark.parametrize(("points", "within"), [(48, 2.5e-10), (64, 2.3e-12), (80, 3e-14)])
def test_exact_fractional_relaxation_at_the_nodes(points, within):
    assert error(Sinc(points=points)) <= within


@pytest.mark.twin
def test_exact_fractional_relaxation_rejects_the_drift_with_the_wrong_bend(monkeypatch):
    from fracsde.operators.landscape import Landscape

    right = Landscape.curvature
    monkeypatch.setattr(Landscape, "curvature", lambda self, x: right(self, x) + self._bend(x))
    assert not error(Sinc(points=64)) <= 2.3e-12


def test_exact_eigenvalues_of_a_linear_drift():
    rates, _ = Sinc(points=96, box=(-14.0, 14.0)).discretise(ornstein_uhlenbeck()).eigen()
    assert np.abs(rates[:16] - np.arange(16)).max() < 1e-11


def mapped(**changes):
    """An Ornstein-Uhlenbeck process seen through ``y = x + 0.3 sin x``: everything varies."""

    def y(x):
        return x + 0.3 * np.sin(x)

    def stretch(x):
        return 1 + 0.3 * np.cos(x)

    settings = {
        "force": lambda x: -y(x) / stretch(x) - 0.3 * np.sin(x) / stretch(x) ** 3,
        "diffusion": lambda x: stretch(x) ** -2.0,
        "domain": LINE,
        "initial": lambda x: Gaussian(mean=1.5, std=0.5)(y(x)) * stretch(x),
    }
    return FokkerPlanck(**(settings | changes)), y, stretch


def mapped_error(points, damage=None):
    problem, y, stretch = mapped()
    generator = Sinc(points=points).discretise(problem)
    if damage is not None:
        generator = replace(generator, matrix=generator.matrix + damage(generator.basis, problem))
    found = half_order_densities(generator, generator.project(problem.initial), TIMES)
    x = generator.points
    return float(np.abs(found - exact(y(x)) * stretch(x)).max())


def moved_half_points(basis, problem):
    G, x = basis.derivative(), basis.half_points
    change = problem.diffusion_at(x - 0.05 * basis.spacing) - problem.diffusion_at(x)
    return G.T @ (change[:, None] * G)


def diffusion_outside(basis, problem):
    G, root = basis.derivative(), np.sqrt(problem.diffusion_at(basis.nodes))
    right = G.T @ (problem.diffusion_at(basis.half_points)[:, None] * G)
    return root[:, None] * basis.second_derivative() * root - right


def test_exact_relaxation_with_variable_diffusion_and_force_only():
    errors = [mapped_error(n) for n in (32, 48, 64, 96)]
    assert errors[-1] < 1e-10
    assert errors[1] < errors[0] / 10
    assert errors[2] < errors[1] / 10


@pytest.mark.twin
@pytest.mark.parametrize("damage", [moved_half_points, diffusion_outside])
def test_exact_relaxation_rejects_diffusion_in_the_wrong_place(damage):
    assert not mapped_error(96, damage) < 1e-10


def test_exact_equilibrium_with_variable_diffusion():
    problem, y, stretch = mapped()
    generator = Sinc(points=96).discretise(problem)
    x = generator.points
    expected = Gaussian()(y(x)) * stretch(x)
    assert np.abs(generator.stationary() - expected).max() < 1e-12
    assert abs(generator.defect) < 1e-6


def test_routes_agree_half_point_form_and_closed_form_at_constant_diffusion():
    number, function = (ornstein_uhlenbeck(diffusion=D) for D in (0.7, lambda x: 0.7 + 0 * x))
    A, B = (
        Sinc(points=40, box=(-7.0, 7.0)).discretise(p).symmetric_matrix()
        for p in (number, function)
    )
    assert np.abs(A[0] - B[0]).max() <= 1e-12 * np.abs(A[0]).max()
    assert np.abs(A[1] - B[1]).max() <= 1e-12


def test_limit_walls_that_are_not_felt_do_not_matter():
    line = Sinc(points=64).discretise(ornstein_uhlenbeck())
    for boundary in ("reflecting", "absorbing", "periodic"):
        walled = ornstein_uhlenbeck(domain=(-40.0, 40.0), boundary=boundary)
        found = Sinc(points=64).discretise(walled)
        assert np.allclose(found.basis.ends, line.basis.ends, atol=1e-2)
        p = half_order_densities(found, found.project(walled.initial), TIMES)
        assert np.abs(p - exact(found.points)).max() < 1e-11


def test_refuses_a_narrow_coefficient_that_few_samples_would_miss():
    def narrow(x):
        return 1 + 20 * np.exp(-(((x - 0.31) / 0.03) ** 2))

    with pytest.raises(UnsupportedError, match="`diffusion` is not smooth enough"):
        Sinc().discretise(ornstein_uhlenbeck(diffusion=narrow))


def test_refuses_what_is_not_smooth_or_not_far_away():
    with pytest.raises(UnsupportedError, match="the reflecting wall at x = 3 is felt"):
        Sinc().discretise(ornstein_uhlenbeck(domain=(-np.inf, 3.0)))
    # An absorbing wall takes all mass in the end, felt or not.
    with pytest.raises(UnsupportedError, match="the absorbing wall at x = 7 takes mass"):
        Sinc().discretise(
            ornstein_uhlenbeck(domain=(-np.inf, 7.0), boundary=("reflecting", "absorbing"))
        )
    with pytest.raises(UnsupportedError, match="`potential` is not smooth enough"):
        Sinc().discretise(ornstein_uhlenbeck(potential=np.abs))
    with pytest.raises(UnsupportedError, match="`reaction` is not smooth enough"):
        Sinc().discretise(ornstein_uhlenbeck(reaction=np.abs))
    with pytest.raises(UnsupportedError, match="`initial` is a point mass"):
        Sinc().discretise(ornstein_uhlenbeck(initial=PointMass(at=0.0)))
    with pytest.raises(UnsupportedError, match="`initial` is cell values"):
        Sinc().discretise(ornstein_uhlenbeck(domain=(-9.0, 9.0), initial=np.ones(16)))
    with pytest.raises(UnsupportedError, match="if it has jumps or kinks"):
        Sinc().discretise(ornstein_uhlenbeck(initial=lambda x: 1.0 * (np.abs(x) < 1)))
    with pytest.raises(UnsupportedError, match="grows to"):
        Sinc().discretise(ornstein_uhlenbeck(std=6.0))
    with pytest.raises(UnsupportedError, match="use more points"):
        Sinc(points=16).discretise(ornstein_uhlenbeck(mean=3.0, std=0.2))
    with pytest.raises(GridError, match="must lie in the domain"):
        Sinc(box=(-9.0, 9.0)).discretise(ornstein_uhlenbeck(domain=(-8.0, 8.0)))
    with pytest.raises(GridError, match="an interval"):
        Sinc(box=(1.0, 1.0))
    with pytest.raises(OutOfRangeError, match="`points` must be at least 8"):
        Sinc(points=7)


def test_limit_double_well_meets_extrapolated_finite_volumes():
    """Cells cut in three share their centres: the second order falls out of the difference."""
    problem = FokkerPlanck(
        potential=lambda x: 2 * (x * x - 1) ** 2,
        diffusion=1.0,
        domain=(-2.6, 2.6),
        initial=Gaussian(mean=-0.8, std=0.15),
    )
    cells = [FiniteVolume(cells=n).discretise(problem) for n in (405, 1215)]
    coarse, fine = (
        half_order_densities(_Dense(chain), problem.initial(chain.points) * chain.widths, TIMES)
        for chain in cells
    )
    extrapolated = (9 * fine[:, 1::3] - coarse) / 8
    generator = Sinc(points=80).discretise(problem)
    found = half_order_densities(generator, generator.project(problem.initial), TIMES)
    gap = np.abs(generator.interpolate(found, cells[0].points) - extrapolated).max()
    assert gap < 2e-7
    assert np.abs(fine[:, 1::3] - extrapolated).max() > 5e-6


class _Dense:
    """A chain's symmetric form as a dense matrix."""

    def __init__(self, chain):
        self.widths, self._chain = chain.widths, chain

    def symmetric_matrix(self):
        diagonal, bond, log_scale = self._chain.symmetrised()
        return np.diag(diagonal) + np.diag(bond[:-1], 1) + np.diag(bond[:-1], -1), log_scale

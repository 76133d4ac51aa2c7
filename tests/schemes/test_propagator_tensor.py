"""Propagation on tensor grids: tolerance, estimate and mass, by every road."""

import numpy as np
import pytest

from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian, PointMass
from fracsde.schemes.chebyshev_propagation import (
    ChebyshevPropagation,
    relaxation_coefficients,
)
from fracsde.schemes.propagator import Propagator
from fracsde.schemes.tensor_propagation import TensorSystems
from fracsde.special import mittag_leffler

BOX = ((-6.0, 6.0), (-5.0, 5.0))
TIMES = np.array([0.01, 0.3, 3.0, 100.0])


def problem(**changes):
    given = {
        "potential": lambda x, y: (x**2 + x * y + y**2) / 2,
        "diffusion": 1.0,
        "domain": BOX,
        "initial": Gaussian(mean=(1.0, -0.5), std=0.6),
    }
    return FokkerPlanck(**(given | changes))


def apart(**changes):
    return problem(**({"potential": lambda x, y: x**2 / 2 + y**2} | changes))


SWIRL = {
    "potential": lambda x, y: (x**2 + y**2) / 2,
    "force": lambda x, y: (-y, x),
    "domain": ((-6.0, 6.0), (-6.0, 6.0)),
}


def dense_modes(grid, masses, times, alpha):
    """Relaxation by eigenvectors of the dense matrix, symmetrised where that is possible."""
    L = grid.matrix().toarray()
    if grid.detailed_balance:
        scale = np.exp(0.5 * grid.log_weight) * np.sqrt(grid.widths)
        H = -(L * scale) / scale[:, None]
        rates, Q = np.linalg.eigh(0.5 * (H + H.T))
        start = Q.T @ (masses / scale)
        decay = mittag_leffler(-np.multiply.outer(times**alpha, rates), alpha)
        return scale * ((decay * start) @ Q.T)
    rates, Q = np.linalg.eig(L)
    start = np.linalg.solve(Q, masses)
    decay = mittag_leffler(np.multiply.outer(times**alpha, rates), alpha)
    return ((decay * start) @ Q.T).real


def true_error(grid, found, exact):
    density = exact / grid.widths
    return np.abs(found.density - density).max(axis=1) / np.abs(density).max(axis=1)


# --- coefficients -----------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.2, 0.6, 0.95, 1.0])
@pytest.mark.parametrize("x", [0.0, 1e-3, 3.0, 1e4])
def test_exact_coefficients_rebuild_the_function(alpha, x):
    c = relaxation_coefficients(x, alpha)
    s = np.linspace(-1.0, 1.0, 401)
    exact = mittag_leffler(-0.5 * x * (1.0 - s), alpha)
    assert np.abs(np.polynomial.chebyshev.chebval(s, c) - exact).max() < 2e-13


@pytest.mark.twin
def test_exact_coefficients_reject_a_lost_half():
    c = relaxation_coefficients(3.0, 0.6).copy()
    c[0] *= 2.0
    assert abs(np.polynomial.chebyshev.chebval(1.0, c) - 1.0) > 0.1


def test_coefficients_say_when_they_are_too_many():
    assert relaxation_coefficients(1e12, 0.6) is None
    assert relaxation_coefficients(1e4, 0.6, most=100) is None


# --- tolerance, estimate, mass ----------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("rtol", [1e-4, 1e-8, 1e-12])
def test_routes_agree_polynomials_and_lines_to_the_tolerance(alpha, rtol):
    base = apart()
    grid = FiniteVolume(cells=(40, 36)).discretise(base)
    masses = grid.project(base.initial)
    road = ChebyshevPropagation(cells=grid, alpha=alpha, timescale=1.0, rtol=rtol, backend="numba")
    found = road.run(masses, TIMES)
    exact = [grid.lines.function(lambda r, t=t: mittag_leffler(-(t**alpha) * r, alpha), masses)
             for t in TIMES]  # fmt: skip
    error = true_error(grid, found, np.array(exact))
    assert np.all(error <= found.relative + 2e-14)
    assert np.all(found.relative <= rtol)
    assert np.abs((found.density * grid.widths).sum(axis=1) - 1.0).max() < 1e-14
    assert road.residual(masses) < 1e-14


@pytest.mark.twin
def test_estimate_rejects_a_wrong_clock():
    base = apart()
    grid = FiniteVolume(cells=(20, 18)).discretise(base)
    masses = grid.project(base.initial)
    found = Propagator(rtol=1e-8).prepare(grid, alpha=0.7, timescale=1.01).run(masses, TIMES)
    exact = dense_modes(grid, masses, TIMES, 0.7)
    assert true_error(grid, found, exact).max() > 1e-4


CASES = {
    "lines": (apart(), "modes"),
    "coupled": (problem(), "chebyshev"),
    "absorbing": (problem(boundary="absorbing", domain=((-2, 2.5), (-2, 2))), "chebyshev"),
    "reaction": (problem(reaction=lambda x, y: 0.2 + x**2 * y**2), "chebyshev"),
    "swirl": (problem(**SWIRL), "shift-invert"),
    "matrix": (problem(diffusion=[[1.0, 0.5], [0.5, 0.7]]), "shift-invert"),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_routes_agree_with_dense_eigenvectors(name, alpha):
    base, road = CASES[name]
    grid = FiniteVolume(cells=(18, 16)).discretise(base)
    masses = grid.project(base.initial)
    times = TIMES[:3]
    ready = Propagator(rtol=1e-9).prepare(grid, alpha=alpha)
    found = ready.run(masses, times)
    assert found.stats.get(road, 0) >= 1, found.stats
    error = true_error(grid, found, dense_modes(grid, masses, times, alpha))
    assert np.all(found.relative <= 1e-9)
    assert np.all(error <= found.relative + 1e-11)
    assert ready.residual(masses, 1.0) < 1e-13
    if grid.conserves_mass:
        assert np.abs((found.density * grid.widths).sum(axis=1) - 1.0).max() < 1e-13


def test_routes_agree_windows_of_many_times_and_single_ones():
    base = problem(**SWIRL)
    grid = FiniteVolume(cells=(14, 14)).discretise(base)
    masses = grid.project(base.initial)
    road = TensorSystems(cells=grid, alpha=0.6, timescale=1.0, rtol=1e-8)
    times = np.linspace(0.5, 1.5, 40)
    found = road.run(masses, times)
    assert found.stats["windows"] >= 1
    assert found.stats["solves"] < 200
    exact = dense_modes(grid, masses, times, 0.6)
    assert np.all(true_error(grid, found, exact) <= 1e-8)


def test_a_start_far_out_in_a_tail_is_sent_on_to_systems():
    """Polynomials grow there; the estimate sees it, and sparse factors keep the tolerance."""
    base = problem(
        potential=lambda x, y: 2 * (x**2 + 0.5 * x * y + y**2),
        initial=PointMass(at=(4.2, -3.2)),
    )
    grid = FiniteVolume(cells=(22, 20)).discretise(base)
    masses = grid.project(base.initial)
    polynomials = ChebyshevPropagation(
        cells=grid, alpha=0.5, timescale=1.0, rtol=1e-8, backend="numba"
    ).run(masses, TIMES[:2])
    assert polynomials.stats["growth"] > 1e5
    assert polynomials.relative.max() > 1e-8
    found = Propagator(rtol=1e-8).prepare(grid, alpha=0.5).run(masses, TIMES[:2])
    assert found.stats["solves"] > 0
    assert found.relative.max() <= 1e-8
    # Held against systems alone at the next tolerance: eigenvectors lose their digits here.
    fine = TensorSystems(cells=grid, alpha=0.5, timescale=1.0, rtol=1e-11).run(masses, TIMES[:2])
    gap = np.abs(found.density - fine.density).max(axis=1) / fine.density.max(axis=1)
    assert gap.max() < 1e-8


def test_three_dimensions_are_the_product_of_modes():
    """Cosines on a box with walls decay each at its own discrete rate."""
    base = FokkerPlanck(
        diffusion=(1.0, 0.5, 2.0),
        domain=((0, 1),) * 3,
        initial=lambda x, y, z: 1 + 0.5 * np.cos(np.pi * x) * np.cos(2 * np.pi * y) + 0 * z,
    )
    n = 12
    grid = FiniteVolume(cells=n).discretise(base)
    masses = grid.project(base.initial)
    wave = (masses * n**3 - 1.0).reshape((n,) * 3)
    rate = sum(
        4 * n**2 * D * np.sin(0.5 * k * np.pi / n) ** 2 for k, D in ((1, 1.0), (2, 0.5), (0, 2.0))
    )
    times = np.array([0.01, 0.2])
    decay = mittag_leffler(-rate * times**0.6, 0.6)
    by_lines = Propagator(rtol=1e-10).prepare(grid, alpha=0.6).run(masses, times).density
    by_polynomials = (
        ChebyshevPropagation(cells=grid, alpha=0.6, timescale=1.0, rtol=1e-10, backend="numpy")
        .run(masses, times)
        .density
    )
    for density in (by_lines, by_polynomials):
        for p, factor in zip(density, decay, strict=True):
            assert np.abs(p.reshape(wave.shape) - (1.0 + factor * wave)).max() < 1e-10


def test_time_zero_and_late_times():
    base = problem()
    grid = FiniteVolume(cells=12).discretise(base)
    masses = grid.project(base.initial)
    found = Propagator(rtol=1e-8).prepare(grid, alpha=1.0).run(masses, [0.0, 1e3])
    assert np.allclose(found.density[0], masses / grid.widths, rtol=4e-16, atol=0.0)
    assert np.abs(found.density[1] - grid.stationary()).max() < 1e-8

"""One real factorisation, a Krylov space, many times: tolerance, estimate, mass."""

import numpy as np
import pytest
from scipy.linalg import expm

from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian, PointMass
from fracsde.schemes.propagator import Propagator
from fracsde.schemes.shift_invert_propagation import Basis, ShiftInvertPropagation
from fracsde.schemes.tensor_propagation import TensorPropagation, TensorSystems
from fracsde.special import mittag_leffler, mittag_leffler_matrix

MIXED = (("absorbing", "reflecting"), ("reflecting", "reflecting"))
TIMES = np.array([0.0, 0.01, 0.3, 3.0, 100.0])


def swirl(omega=3.0, reach=4.0, **changes):
    given = {
        "potential": lambda x, y: (x**2 + y**2) / 2,
        "force": lambda x, y: (-omega * y, omega * x),
        "diffusion": 1.0,
        "domain": ((-reach, reach),) * 2,
        "initial": Gaussian(mean=(1.0, -0.5), std=0.6),
    }
    return FokkerPlanck(**(given | changes))


def stirred_box():
    return FokkerPlanck(
        potential=lambda x, y, z: (x**2 + y**2 + 2 * z**2) / 2,
        force=lambda x, y, z: (-2 * y, 2 * x, 0 * z),
        diffusion=1.0,
        domain=((-3.0, 3.0),) * 3,
        initial=Gaussian(mean=(0.7, 0.0, 0.3), std=0.7),
    )


CASES = {
    "swirl": (swirl(), (18, 16)),
    "fast swirl": (swirl(omega=10.0), 18),
    "absorbing": (swirl(boundary="absorbing", reach=2.0), 16),
    "mixed walls": (
        swirl(boundary=(("absorbing", "reflecting"), ("reflecting",) * 2), reach=2.0),
        16,
    ),
    "matrix": (swirl(diffusion=[[1.0, 0.5], [0.5, 0.7]]), 18),
    "space": (stirred_box(), 7),
    "coupled": (swirl(omega=0.0, potential=lambda x, y: (x**2 + x * y + y**2) / 2), 18),
}


def made(name, alpha=0.7, rtol=1e-8, timescale=1.0):
    base, cells = CASES[name]
    grid = FiniteVolume(cells=cells).discretise(base)
    solver = grid.solver()
    ready = ShiftInvertPropagation(
        cells=grid, alpha=alpha, timescale=timescale, rtol=rtol, solver=solver
    )
    return grid, grid.project(base.initial), ready


def by_eigenvectors(grid, masses, clock, alpha):
    rates, Q = np.linalg.eig(grid.matrix().toarray())
    if grid.conserves_mass:
        rates[np.argmin(np.abs(rates))] = 0.0
    start = np.linalg.solve(Q, masses.astype(complex))
    decay = mittag_leffler(np.multiply.outer(clock, rates), alpha)
    found = ((decay * start) @ Q.T).real
    if grid.conserves_mass:
        found *= (masses.sum() / found.sum(axis=1))[:, None]
    return found / grid.widths


def error_of(found, exact):
    return np.abs(found.density - exact).max(axis=1) / np.abs(exact).max(axis=1)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("alpha", [0.4, 0.97])
@pytest.mark.parametrize("rtol", [1e-4, 1e-9])
def test_routes_agree_with_dense_eigenvectors_and_estimates_cover_the_error(name, alpha, rtol):
    grid, masses, ready = made(name, alpha, rtol, timescale=0.5)
    found = ready.run(masses, TIMES)
    exact = by_eigenvectors(grid, masses, 0.5 ** (1.0 - alpha) * TIMES**alpha, alpha)
    error = error_of(found, exact)
    assert np.all(found.relative <= rtol)
    assert np.all(error <= found.relative + 3e-11)  # of eigenvectors, far from normal
    assert found.stats["shift-invert"] == len(TIMES) - 1
    assert np.array_equal(found.density[0], masses / grid.widths)
    if grid.conserves_mass:
        assert np.abs((found.density * grid.widths).sum(axis=1) - 1.0).max() < 1e-13
    assert ready.residual(masses, 1.0) < 1e-13


@pytest.mark.parametrize("rtol", [1e-6, 1e-9, 1e-12])
def test_routes_agree_with_the_matrix_exponential(rtol):
    grid, masses, ready = made("swirl", 1.0, rtol)
    times = np.array([0.1, 1.0, 4.0])
    found = ready.run(masses, times)
    exact = np.array([expm(t * grid.matrix().toarray()) @ masses for t in times]) / grid.widths
    error = error_of(found, exact)
    assert np.all(found.relative <= rtol)
    assert np.all(error <= found.relative + 2e-14)
    assert error.max() > 1e-3 * found.relative.max()  # and it does not frighten
    assert ready.solver.stats["factorisations"] == 1


@pytest.mark.twin
def test_estimates_reject_half_of_themselves_times_a_quarter():
    """Errors are so near to their estimates that a quarter of these would not cover them."""
    grid, masses, ready = made("swirl", 1.0, 1e-6)
    exact = expm(grid.matrix().toarray()) @ masses / grid.widths
    found = ready.run(masses, np.array([1.0]))
    assert error_of(found, exact[None])[0] > 0.25 * found.relative[0]


class Damaged:
    """A solver whose shift is wrong."""

    def __init__(self, solver, factor):
        self.solver, self.factor = solver, factor

    def solve(self, shift, rhs):
        return self.solver.solve(self.factor * shift, rhs)


@pytest.mark.parametrize("factor", [0.3, 1.01, 4.0])
def test_a_wrong_shift_costs_dimensions_and_no_digits(factor):
    grid, masses, ready = made("swirl", 0.7)
    exact = by_eigenvectors(grid, masses, np.array([1.0]), 0.7)
    damaged = ShiftInvertPropagation(
        cells=grid, alpha=0.7, timescale=1.0, rtol=1e-8, solver=Damaged(grid.solver(), factor)
    )
    found = damaged.run(masses, np.array([1.0]))
    assert error_of(found, exact)[0] <= found.relative[0] <= 1e-8
    assert damaged.residual(masses, 1.0) > 1e-4  # which is how it is caught
    assert ready.residual(masses, 1.0) < 1e-14


@pytest.mark.twin
def test_a_recurrence_would_not_forgive_a_wrong_shift():
    """Projections read off the recurrence, ``sigma - K^{-1}``, are wrong by the damage."""
    grid, masses, ready = made("swirl", 0.7)
    pole = ready.pole(np.array([1.0]))
    exact = by_eigenvectors(grid, masses, np.array([1.0]), 0.7)[0]
    for factor, right in ((1.0, True), (1.01, False)):
        basis = Basis(grid, Damaged(grid.solver(), factor), masses, pole)
        basis.grow(24)
        V, S = basis.vectors[:24], basis.scale
        K = V @ np.array([basis.solver.solve(pole, v * S) / S for v in V]).T
        read = pole * np.eye(24) - np.linalg.inv(K)
        y = basis.length * mittag_leffler_matrix(read, 0.7)[:, 0]
        gap = np.abs((y @ V) / S - exact).max() / exact.max()
        assert (gap < 1e-6) == right
        assert (gap > 1e-4) != right


def test_the_basis_is_orthonormal_and_its_projection_is_that_of_the_matrix():
    grid, masses, ready = made("mixed walls")
    basis = Basis(grid, ready.solver, masses, ready.pole(np.array([1.0])))
    basis.grow(40)
    V, S = basis.vectors[:40], basis.scale
    assert np.abs(V @ V.T - np.eye(40)).max() < 1e-14
    L = grid.matrix().toarray() * S / S[:, None]
    assert np.abs(basis.projected[:40, :40] - V @ L @ V.T).max() < 1e-12 * np.abs(L).max()
    assert np.linalg.eigvals(basis.projected[:40, :40]).real.max() < 0.0


def test_a_space_that_closes_is_left_as_it_is():
    """At rest there is one dimension, and nothing moves."""
    grid, _, ready = made("swirl", 0.7)
    rest = grid.stationary() * grid.widths
    found = Propagator(rtol=1e-9).prepare(grid, alpha=0.7).run(rest, TIMES)
    assert np.abs(found.density / grid.stationary() - 1.0).max() < 1e-7
    assert np.all(found.relative <= 1e-9)
    assert np.all(ready.run(0.0 * rest, TIMES).density == 0.0)


def test_far_starts_keep_the_tolerance_or_say_that_they_do_not():
    base = swirl(omega=0.0, potential=lambda x, y: 2 * (x**2 + 0.5 * x * y + y**2), reach=5.0,
                 initial=PointMass(at=(4.2, -3.2)))  # fmt: skip
    grid = FiniteVolume(cells=20).discretise(base)
    masses = grid.project(base.initial)
    times = np.array([0.01, 0.3])
    common = {"cells": grid, "alpha": 0.5, "timescale": 1.0}
    found = ShiftInvertPropagation(**common, rtol=1e-8, solver=grid.solver()).run(masses, times)
    fine = TensorSystems(**common, rtol=1e-11).run(masses, times)
    assert np.all(error_of(found, fine.density) <= found.relative)


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_windows_hold_each_time_once_and_reach_no_further_than_they_may(alpha):
    _, _, ready = made("coupled", alpha)
    times = np.concatenate([[0.0], np.geomspace(1e-3, 1e5, 97)])
    windows = ready.windows(times)
    assert np.array_equal(np.concatenate(windows), np.arange(1, 98))
    assert all((times[w[-1]] / times[w[0]]) ** alpha < 64.1 for w in windows)
    assert len(windows) == np.ceil(alpha * 8 * np.log(10) / np.log(64))
    assert ready.windows(np.zeros(2)) == []


def test_the_order_of_roads_follows_sizes():
    """Late times on many cells take this road, early ones and small grids do not."""
    base = CASES["coupled"][0]
    for cells, time, first in ((16, 100.0, False), (128, 1.0, False), (128, 1e4, True)):
        grid = FiniteVolume(cells=cells).discretise(base)
        road = TensorPropagation(cells=grid, alpha=1.0, timescale=1.0, rtol=1e-8, backend="numba")
        found = road.run(grid.project(base.initial), np.array([time]))
        assert ("shift-invert" in found.stats) == first
        assert ("chebyshev" in found.stats) != first
        assert found.relative[0] <= 1e-8


def test_systems_do_not_compare_a_contour_with_itself():
    """They did at 1e-13, and called a density right that lacked the fastest turning modes."""
    base = swirl(reach=6.0)
    grid = FiniteVolume(cells=24).discretise(base)
    masses = grid.project(base.initial)
    road = TensorSystems(cells=grid, alpha=1.0, timescale=1.0, rtol=1e-13)
    form, finer = road.forms(1)
    assert len(finer.shifts) > len(form.shifts)
    run = road.run(masses, np.array([0.3]))
    exact = expm(0.3 * grid.matrix().toarray()) @ masses / grid.widths
    assert error_of(run, exact[None])[0] <= run.relative[0] + 1e-13

"""Propagation: to the tolerance, with an honest estimate, against roads of its own and others."""

from dataclasses import replace

import mpmath
import numpy as np
import pytest

from fracsde.backends import shifted_numba
from fracsde.errors import ComputationError, GridError, OutOfRangeError, UnsupportedError
from fracsde.grids import TimeGrid
from fracsde.operators.base import Generator
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian, PointMass
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.schemes import forms, rational_propagation, runs
from fracsde.schemes.l1 import L1
from fracsde.schemes.modes import modes_of
from fracsde.schemes.propagator import Propagator
from fracsde.solve import solve
from fracsde.status import Status
from tests.support.exact import (
    EPS,
    fractional_ornstein_uhlenbeck,
    half_order_relaxation,
    relaxation,
)
from tests.support.high_precision import propagated
from tests.support.marching import Decay
from tests.support.orders import observed_order

TIMES = (0.01, 0.1, 1.0, 10.0)
LONG = np.geomspace(1e-6, 1e6, 13)
TOLERANCES = (1e-4, 1e-6, 1e-8, 1e-10, 1e-12)


def ornstein_uhlenbeck(sign=1.0, alpha=0.5, **changes):
    given = {
        "potential": lambda x: sign * x**2 / 2,
        "diffusion": 1.0,
        "domain": (-8.0, 8.0),
        "initial": Gaussian(mean=1.5, std=0.5),
    }
    base = FokkerPlanck(**(given | changes))
    return FractionalFokkerPlanck(base=base, alpha=alpha)


def chain_of(cells, **changes):
    base = ornstein_uhlenbeck(**changes).base
    chain = FiniteVolume(cells=cells).discretise(base)
    return chain, chain.project(base.initial)


CHAINS = {
    "resolved": lambda: chain_of(200, domain=(-6.0, 6.0)),
    "point": lambda: chain_of(256, initial=PointMass(at=1.0)),
    "absorbing": lambda: chain_of(120, boundary="absorbing"),
    "barrier of 40 kT": lambda: chain_of(
        160,
        potential=lambda x: 40 * (x * x - 1) ** 2,
        domain=(-2.0, 2.0),
        initial=Gaussian(mean=-1.0, std=0.1),
    ),
    "rates of 1e9": lambda: chain_of(100, diffusion=1e7),
    "ring": lambda: chain_of(
        100, potential=np.cos, domain=(0.0, 2 * np.pi), initial=lambda x: x, boundary="periodic"
    ),
    "tail at 5 sigma": lambda: chain_of(
        160, domain=(-9.0, 9.0), initial=Gaussian(mean=5.0, std=0.3)
    ),
}


def errors(density, exact):
    """Largest errors over the cells, and the largest densities, time by time."""
    return np.abs(density - exact).max(axis=1), np.abs(exact).max(axis=1)


# --- tolerance and estimate -------------------------------------------------------------------


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.6, 0.9, 1.0])
def test_keeps_every_tolerance_over_twelve_decades_of_time(name, alpha):
    chain, start = CHAINS[name]()
    exact = propagated(chain, start, LONG, alpha) / chain.widths
    for rtol in TOLERANCES:
        found = Propagator(rtol=rtol).prepare(chain, alpha=alpha).run(start, LONG)
        error, size = errors(found.density, exact)
        assert np.all(error <= rtol * size), (rtol, error / size)
        assert np.all(found.relative <= rtol)
        # The estimate is neither too small nor, above rounding, a hundred times too large.
        assert np.all(found.errors >= error), (rtol, found.errors / error)
        assert np.all(found.errors <= 100 * error + 2e-12 * size), (rtol, found.errors / error)


@pytest.mark.parametrize("alpha", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("rtol", TOLERANCES)
def test_windows_keep_the_tolerance_between_their_marks(alpha, rtol):
    chain, start = chain_of(128, domain=(-6.0, 6.0))
    for times in (np.linspace(0.01, 10.0, 700), np.geomspace(1e-3, 1e3, 800)):
        found = Propagator(rtol=rtol).prepare(chain, alpha=alpha).run(start, times)
        assert found.stats["windows"] > 0
        some = slice(0, None, 7)
        exact = propagated(chain, start, times[some], alpha) / chain.widths
        error, size = errors(found.density[some], exact)
        assert np.all(error <= rtol * size)
        assert np.all(found.errors[some] >= error)
        assert found.relative.max() <= 100 * (error / size).max() + 2e-12


class Damaged:
    """An engine whose solutions are wrong in one place."""

    def __init__(self, harm):
        self.harm = harm

    def solve_shifts(self, shifts, *given, threads):
        out, sums = shifted_numba.solve_shifts(shifts, *given, threads=threads)
        self.harm(out, sums)
        return out, sums

    def sum_shifts(self, shifts, weights, rows, count, *given):
        out, sums = self.solve_shifts(shifts, *given, threads=False)
        terms = out[:, 0] * weights.real - out[:, 1] * weights.imag
        return terms @ np.eye(count)[rows], sums[2]


def damaged_pole(form):
    """One residue changed in the seventh digit."""
    residues = np.array(form.residues)
    residues[-1] *= 1 + 1e-6
    return replace(form, residues=residues)


def damaged_half(form):
    """One of a conjugate pair forgotten: its weight is not doubled."""
    residues = np.array(form.residues)
    residues[-1] *= 0.5
    return replace(form, residues=residues)


@pytest.mark.twin
@pytest.mark.parametrize("damage", [damaged_pole, damaged_half])
def test_tolerance_rejects_a_damaged_form(damage, monkeypatch):
    chain, start = chain_of(128, domain=(-6.0, 6.0), potential=lambda x: 0 * x)
    whole = forms.pole_form
    monkeypatch.setattr(rational_propagation, "pole_form", lambda a, r: damage(whole(a, r)))
    ready = Propagator(rtol=1e-10).prepare(chain, alpha=0.6)
    exact = propagated(chain, start, TIMES, 0.6) / chain.widths
    form = ready.road.forms(0)[0]
    density, _ = runs.Run(ready.road, start, np.array(TIMES))._sums(
        np.array(TIMES) ** 0.6 * ready.road.unit, (form,)
    )
    error, size = errors(density[0], exact)
    assert not np.all(error <= 1e-10 * size)
    # And the run itself sees the damage, and goes another way or says so.
    found = ready.run(start, np.array(TIMES))
    error, size = errors(found.density, exact)
    assert np.all(found.errors >= error)


@pytest.mark.twin
def test_tolerance_rejects_a_window_used_outside_its_range(monkeypatch):
    chain, start = chain_of(128, domain=(-6.0, 6.0))
    times = np.geomspace(1.0, 20.0, 400)
    narrow = forms.window(2.5e-11, 2.0, 0.0)
    stretched = replace(narrow, ratio=1000.0)
    monkeypatch.setattr(runs, "window", lambda *given: stretched)
    ready = Propagator(rtol=1e-10).prepare(chain, alpha=0.6)
    exact = propagated(chain, start, times, 0.6) / chain.widths
    run = runs.Run(ready.road, start, times)
    run.by_windows()
    error, size = errors(run.density, exact)
    assert not np.all(error <= 1e-10 * size)
    assert run.relative().max() > 1e-10  # and the marks see it


def test_damaged_solutions_are_seen_by_the_estimate():
    """A solver that errs in the sixth digit of one shift cannot keep 1e-10, and says so."""
    chain, start = chain_of(128, domain=(-6.0, 6.0))
    ready = Propagator(rtol=1e-10).prepare(chain, alpha=0.6)

    def harm(out, sums):
        out[40:60, :, 0] *= 1 + 1e-5

    wrong = replace(ready, road=replace(ready.road, engine=Damaged(harm)))
    exact = propagated(chain, start, TIMES, 0.6) / chain.widths
    found = wrong.run(start, np.array(TIMES))
    error, size = errors(found.density, exact)
    assert (error / size).max() > 1e-10
    assert found.relative.max() > 1e-10


# --- hard starts, currents, decay -------------------------------------------------------------


def stepped(chain, start, times):
    """``exp(t L)`` at order one in extended precision: Taylor, then squaring."""
    matrix = chain.matrix().astype(np.longdouble)
    largest, out = float(np.abs(matrix).max()) * 2, []
    for t in times:
        halvings = max(0, int(np.ceil(np.log2(largest * t))) + 1)
        A = matrix * (np.longdouble(t) / 2**halvings)
        term = power = np.eye(len(start), dtype=np.longdouble)
        for k in range(1, 19):
            term = term @ A / k
            power = power + term
        for _ in range(halvings):
            power = power @ power
        out.append(np.asarray(power @ start, dtype=np.float64))
    return np.array(out)


@pytest.mark.parametrize("alpha", [0.3, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("rtol", [1e-6, 1e-10])
def test_keeps_the_tolerance_for_starts_far_in_the_tail(alpha, rtol):
    """At nine standard deviations the start is exp(20) long in the weighted norm."""
    chain, start = chain_of(72, domain=(-10.0, 10.0), initial=Gaussian(mean=9.0, std=0.3))
    if alpha < 1.0:
        opening = min(1.35, 0.49 * np.pi * (1 / alpha - 1))
        exact = propagated(chain, start, TIMES, alpha, opening) / chain.widths
    else:
        exact = stepped(chain, start, TIMES) / chain.widths
    found = Propagator(rtol=rtol).prepare(chain, alpha=alpha).run(start, TIMES)
    error, size = errors(found.density, exact)
    assert np.all(error <= rtol * size)
    assert np.all(found.errors >= error)
    assert np.all(found.errors <= 100 * error + 1e-11 * size)
    assert found.relative.max() <= rtol


@pytest.mark.twin
def test_tail_rejects_the_certificate_of_normal_chains():
    """There the poles' certified error says nothing: without the comparison all would be lost."""
    chain, start = chain_of(72, domain=(-10.0, 10.0), initial=Gaussian(mean=9.0, std=0.3))
    road = Propagator(rtol=1e-6).prepare(chain, alpha=1.0).road
    form = road.forms(0)[0]
    run = runs.Run(road, start, np.array([1.0]))
    density, _ = run._sums(run.clock, (form,))
    error, size = errors(density[0], stepped(chain, start, [1.0]) / chain.widths)
    assert (error / size)[0] > 100 * form.error


def drifting(drift, boundary="periodic"):
    return chain_of(
        64,
        potential=lambda x: 0.3 * np.cos(x),
        force=lambda x: drift + 0 * x,
        domain=(0.0, 2 * np.pi),
        initial=lambda x: 1 + 0.5 * np.sin(x),
        boundary=boundary,
    )


@pytest.mark.parametrize("drift", [0.5, 3.0, 30.0])
@pytest.mark.parametrize("alpha", [0.3, 0.6, 0.9, 1.0])
def test_keeps_the_tolerance_in_rings_that_carry_a_current(drift, alpha):
    chain, start = drifting(drift)
    assert not chain.detailed_balance
    if alpha < 1.0:
        opening = min(1.35, 0.49 * np.pi * (1 / alpha - 1))
        exact = propagated(chain, start, TIMES, alpha, opening) / chain.widths
    else:
        exact = stepped(chain, start, TIMES) / chain.widths
    for rtol in (1e-6, 1e-10):
        found = Propagator(rtol=rtol).prepare(chain, alpha=alpha).run(start, TIMES)
        error, size = errors(found.density, exact)
        assert np.all(error <= rtol * size)
        assert np.all(found.errors >= error)
        assert found.relative.max() <= rtol


@pytest.mark.twin
def test_currents_reject_a_contour_without_room_for_the_spectrum():
    chain, start = drifting(30.0)
    exact = stepped(chain, start, TIMES) / chain.widths
    road = Propagator(rtol=1e-6).prepare(chain, alpha=1.0).road
    run = runs.Run(road, start, np.array(TIMES))
    density, _ = run._sums(run.clock, (forms.oracle_form(1.0),))
    error, size = errors(density[0], exact)
    assert not np.all(error <= 1e-6 * size)


@pytest.mark.parametrize("drift", [0.01, 0.5, 3.0, 30.0])
def test_sector_holds_the_spectrum_of_a_ring(drift):
    chain, _ = drifting(drift)
    values = np.linalg.eigvals(chain.matrix())
    moving = values[np.abs(values) > 1e-9 * np.abs(values).max()]
    angle = np.abs(np.angle(-moving)).max()
    assert 0.0 < angle <= chain.sector() < angle + 0.5
    free = replace(chain_of(64, potential=None, **RING)[0])
    values = np.linalg.eigvals(free.matrix())
    moving = values[np.abs(values) > 1e-9 * np.abs(values).max()]
    assert abs(np.abs(np.angle(-moving)).max() - free.sector()) < 1e-3  # sharp without potential


RING = {
    "force": lambda x: 3.0 + 0 * x,
    "domain": (0.0, 2 * np.pi),
    "initial": lambda x: 1 + 0 * x,
    "boundary": "periodic",
}


def test_decay_through_a_wall_is_followed_to_the_smallest_number():
    """At order one a mode falls like exp(-lam t); relative accuracy down to 1e-257, then zero."""
    n = 48
    base = FokkerPlanck(
        diffusion=1.0,
        domain=(0.0, 1.0),
        initial=lambda x: np.sin(np.pi * x),
        boundary="absorbing",
    )
    solution = solve(
        base,
        [0.1, 1.0, 10.0, 60.0, 200.0],
        scheme=Propagator(rtol=1e-9),
        space=FiniteVolume(cells=n),
    )
    # Late, only the slowest mode is left; its rate and shape in forty digits.
    chain = FiniteVolume(cells=n).discretise(base)
    diagonal, bond, _ = chain.symmetrised()
    H = mpmath.matrix(n, n)
    with mpmath.workdps(40):
        for i in range(n):
            H[i, i] = mpmath.mpf(float(diagonal[i]))
            if i:
                H[i, i - 1] = H[i - 1, i] = mpmath.mpf(float(bond[i - 1]))
        rates, vectors = mpmath.eigsy(H)
        start = chain.project(base.initial)
        slow = [vectors[i, 0] for i in range(n)]
        share = mpmath.fsum(v * mpmath.mpf(float(m)) for v, m in zip(slow, start, strict=True))
        exact = [[float(share * v * mpmath.exp(-rates[0] * t)) for v in slow] for t in (10.0, 60.0)]
    error, size = errors(solution.density[2:4], np.array(exact) / chain.widths)
    assert np.all(error <= 1e-9 * size)
    assert 0.0 < size[1] < 1e-250
    assert np.all(solution.density[4] == 0.0)


# --- roads agree ------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.35, 0.8, 1.0])
def test_routes_agree_with_eigenvectors(alpha):
    chain, start = chain_of(200, domain=(-5.0, 5.0))
    modes = modes_of(chain).propagate(start, LONG, alpha=alpha, timescale=0.3)
    ready = Propagator(rtol=1e-12).prepare(chain, alpha=alpha, timescale=0.3)
    assert np.abs(ready.propagate(start, LONG) - modes).max() < 3e-12 * start.max()


@pytest.mark.parametrize("alpha", [0.25, 0.7, 1.0])
@pytest.mark.parametrize("boundary", ["reflecting", "absorbing", "periodic"])
def test_exact_against_high_precision_on_small_chains(alpha, boundary):
    """Eigenvectors in fifty digits, relaxation in thirty."""
    chain, start = chain_of(9, domain=(-2.0, 2.0), boundary=boundary)
    diagonal, _, log_scale = chain.symmetrised()
    n, S = len(start), np.exp(log_scale)
    with mpmath.workdps(50):
        H = mpmath.matrix(n, n)
        for i in range(n):
            H[i, i] = mpmath.mpf(float(diagonal[i]))
        for i in range(n if boundary == "periodic" else n - 1):
            j = (i + 1) % n
            product = mpmath.mpf(float(chain.right[i])) * mpmath.mpf(float(chain.left[j]))
            H[i, j] = H[j, i] = -mpmath.sqrt(product)
        rates, Q = mpmath.eigsy(H)
        rates = np.array([max(float(r), 0.0) for r in rates])
        Q = np.array([[float(Q[i, j]) for j in range(n)] for i in range(n)])
    for t in (0.02, 0.7, 30.0):
        decay = np.array([relaxation(r * t**alpha, alpha) for r in rates])
        exact = S * (Q @ (decay * (Q.T @ (start / S))))
        found = Propagator().prepare(chain, alpha=alpha).propagate(start, [t])[0]
        assert np.abs(found - exact).max() < 2e-12 * exact.max()


def hermite_error(n, sign=1.0):
    problem, space = ornstein_uhlenbeck(sign), FiniteVolume(cells=n)
    solution = solve(problem, TIMES, scheme=Propagator(rtol=1e-9), space=space, throw=False)
    x = solution.points[0]
    exact = [fractional_ornstein_uhlenbeck(x, t, mean=1.5, std=0.5) for t in TIMES]
    return float(np.abs(solution.density - exact).max())


def test_order_two_in_space_against_hermite_times_mittag_leffler():
    table = observed_order(hermite_error, (40, 80, 160, 320, 640), 2.0)
    assert abs(table.observed - 2.0) < 0.02, table
    assert table.errors[-1] < 4e-5, table


@pytest.mark.twin
def test_order_two_in_space_rejects_the_wrong_sign_of_the_potential():
    table = observed_order(lambda n: hermite_error(n, -1.0), (40, 80, 160, 320, 640), 2.0)
    assert not table.agrees(), table


def march_error(n, scale=1.0):
    """Final error of a graded L1 march against propagation, in the middle of the memory."""
    problem = ornstein_uhlenbeck(alpha=0.6, domain=(-4.0, 4.0))
    space, grid = FiniteVolume(cells=32), TimeGrid.graded(1.0, n, 7 / 3)
    marched = solve(problem, grid, scheme=L1(), space=space)
    exact = solve(replace(problem, timescale=scale), grid, scheme=Propagator(), space=space)
    return float(np.abs(marched.density - exact.density).max())


def test_order_of_the_march_that_converges_to_propagation():
    table = observed_order(march_error, (64, 128, 256, 512, 1024), 1.4)
    assert table.agrees(), table


@pytest.mark.twin
def test_order_of_the_march_rejects_another_clock():
    table = observed_order(lambda n: march_error(n, 1.01), (64, 128, 256, 512, 1024), 1.4)
    assert not table.agrees(), table


@pytest.mark.parametrize("timescale", [1.0, 0.3])
def test_exact_modes_of_a_free_interval(timescale):
    """Cosines of cell centres are eigenvectors of equal free cells, so all is in closed form."""
    n, diffusion = 48, 0.7
    base = FokkerPlanck(
        diffusion=diffusion, domain=(0.0, 1.0), initial=lambda x: 1 + 0.5 * np.cos(3 * np.pi * x)
    )
    problem = FractionalFokkerPlanck(base=base, alpha=0.5, timescale=timescale)
    solution = solve(problem, [0.0, 0.001, 0.1], space=FiniteVolume(cells=n))
    rate = 4 * n**2 * diffusion * np.sin(1.5 * np.pi / n) ** 2
    clock = np.sqrt(timescale * solution.times)
    amplitude = 0.5 * half_order_relaxation(rate * clock)
    exact = 1 + np.multiply.outer(amplitude, np.cos(3 * np.pi * solution.points[0]))
    assert np.abs(solution.density - exact).max() <= solution.error_estimate < 1e-11


@pytest.mark.twin
def test_exact_modes_reject_a_clock_without_its_timescale():
    base = FokkerPlanck(
        diffusion=0.7, domain=(0.0, 1.0), initial=lambda x: 1 + 0.5 * np.cos(3 * np.pi * x)
    )
    given = FractionalFokkerPlanck(base=base, alpha=0.5, timescale=0.3)
    right, wrong = (solve(p, [0.1]) for p in (given, replace(given, timescale=1.0)))
    assert np.abs(right.density - wrong.density).max() > right.error_estimate


@pytest.mark.parametrize("boundary", ["absorbing", ("reflecting", "absorbing"), "periodic"])
def test_routes_agree_with_a_dense_exponential_at_every_wall(boundary):
    base = FokkerPlanck(
        potential=lambda x: np.cos(2 * np.pi * x),
        diffusion=1.0,
        domain=(0.0, 1.0),
        initial=lambda x: x * (1 - x),
        boundary=boundary,
    )
    space = FiniteVolume(cells=40)
    solution = solve(base, [0.02, 0.2], scheme=Propagator(), space=space)
    chain = space.discretise(base)
    exact = stepped(chain, chain.project(base.initial), [0.02, 0.2]) / chain.widths
    assert np.abs(solution.density - exact).max() <= solution.error_estimate < 1e-11


def test_engines_agree():
    problem = ornstein_uhlenbeck(alpha=0.7)
    space = FiniteVolume(cells=40)
    compiled, read = (solve(problem, TIMES, space=space, backend=b) for b in ("numba", "numpy"))
    assert np.abs(compiled.density - read.density).max() < 1e-13
    assert (compiled.provenance.backend, read.provenance.backend) == ("numba", "numpy")


class Dense(Generator):
    """The symmetric form of a chain, as a spectral generator would give it."""

    def __init__(self, chain):
        self.chain = chain

    points = property(lambda self: self.chain.points)
    widths = property(lambda self: self.chain.widths)
    conserves_mass = property(lambda self: self.chain.conserves_mass)
    detailed_balance = property(lambda self: True)

    def apply(self, p):
        return self.chain.apply(p)

    def solve_shifted(self, shift, rhs):
        return self.chain.solve_shifted(shift, rhs)

    def stationary(self):
        return self.chain.stationary()

    def symmetric_matrix(self):
        diagonal, bond, log_scale = self.chain.symmetrised()
        return np.diag(diagonal) + np.diag(bond[:-1], 1) + np.diag(bond[:-1], -1), log_scale


@pytest.mark.parametrize("boundary", ["reflecting", "absorbing"])
def test_routes_agree_cells_and_a_dense_symmetric_form(boundary):
    chain, start = chain_of(60, domain=(-3.0, 3.0), boundary=boundary)
    sparse = Propagator().prepare(chain, alpha=0.6).run(start, LONG)
    dense = Propagator().prepare(Dense(chain), alpha=0.6).run(start, LONG)
    gap = np.abs(sparse.density - dense.density).max(axis=1)
    assert np.all(gap <= sparse.errors + dense.errors)
    assert dense.errors.max() < 1e-10
    assert dense.stats["modes"] == len(LONG)


# --- what is kept -----------------------------------------------------------------------------


def test_keeps_mass_to_rounding_for_all_times():
    few = solve(ornstein_uhlenbeck(), np.geomspace(1e-6, 1e6, 13))
    many = solve(ornstein_uhlenbeck(), np.geomspace(1e-3, 1e3, 400))
    for solution in (few, many):
        assert np.abs(solution.mass_defect()).max() < 1e-14


def test_keeps_positivity_up_to_its_error_estimate():
    solution = solve(ornstein_uhlenbeck(initial=PointMass(at=1.0)), np.geomspace(1e-6, 1e3, 10))
    assert solution.density.min() >= -solution.error_estimate


def test_limit_early_and_late_times_are_the_start_and_the_equilibrium():
    problem = ornstein_uhlenbeck()
    chain = FiniteVolume(cells=512).discretise(problem.base)
    times = [0.0, 1e-300, 1e-40, 1e40, 1e300]
    solution = solve(problem, times, scheme=Propagator())
    start = chain.project(problem.base.initial) / chain.widths
    assert np.array_equal(solution.density[0], start)
    for k in (1, 2):
        assert np.abs(solution.density[k] - start).max() <= solution.error_estimate
    for k in (3, 4):
        assert np.abs(solution.density[k] - chain.stationary()).max() <= solution.error_estimate


def test_keeps_what_it_is_given():
    chain, start = chain_of(64)
    times = np.geomspace(0.01, 10, 40)
    before = start.copy(), times.copy()
    ready = Propagator(rtol=1e-8).prepare(chain, alpha=0.6)
    first, second = (ready.propagate(start, times) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.array_equal(start, before[0])
    assert np.array_equal(times, before[1])


@pytest.mark.parametrize("alpha", [0.6, 1.0])
def test_keeps_sums_of_starts(alpha):
    """Linear, also for differences, which have no mass, and for nothing at all."""
    chain, start = chain_of(64)
    other = chain.project(Gaussian(mean=-1.0, std=0.7))
    ready = Propagator(rtol=1e-10).prepare(chain, alpha=alpha)
    for times in (TIMES, np.linspace(0.01, 3.0, 200)):
        one, two, gap = (ready.propagate(m, times) for m in (start, other, start - other))
        assert np.abs(one - two - gap).max() < 1e-10 * one.max()
        assert np.all(ready.propagate(0.0 * start, times) == 0.0)


def test_decay_is_followed_through_windows_too():
    chain, start = chain_of(32, domain=(0.0, 1.0), potential=None, boundary="absorbing")
    times = np.linspace(0.01, 3.0, 300)
    found = Propagator(rtol=1e-9).prepare(chain, alpha=1.0).run(start, times)
    exact = stepped(chain, start, times[::60]) / chain.widths
    error, size = errors(found.density[::60], exact)
    assert size[-1] < 1e-8 * size[0]
    assert np.all(error <= 1e-9 * size)
    assert np.all(found.errors[::60] >= error)
    assert found.relative.max() <= 1e-9


def test_estimate_is_never_zero():
    chain, start = chain_of(16)
    assert np.all(Propagator().prepare(chain, alpha=0.5).run(start, [0.0, 1e-300]).errors > 0.0)


# --- what is refused --------------------------------------------------------------------------


def test_unreachable_tolerance_is_said_with_the_best_that_was_reached():
    problem = ornstein_uhlenbeck(alpha=0.9)
    with pytest.raises(ComputationError, match=r"of the largest density, 1.0e-14 was asked for"):
        solve(problem, TIMES, scheme=Propagator(rtol=1e-14))
    kept = solve(problem, TIMES, scheme=Propagator(rtol=1e-14), throw=False)
    assert kept.status is Status.INACCURATE
    assert kept.error_estimate < 1e-12
    assert solve(problem, TIMES).status is Status.SUCCESS


@pytest.mark.parametrize("rtol", [1e-15, 0.2, 0.0, -1.0, np.nan])
def test_refuses_tolerances_that_mean_nothing(rtol):
    with pytest.raises((OutOfRangeError, ValueError), match="rtol"):
        Propagator(rtol=rtol)


def test_refuses_sources_and_operators_without_a_form():
    fed = ornstein_uhlenbeck(source=lambda t, x: 0 * x)
    with pytest.raises(UnsupportedError, match=r"it has a source; use HpCollocation"):
        solve(fed, [1.0], scheme=Propagator())
    with pytest.raises(UnsupportedError, match=r"neither cells nor a symmetric form"):
        Propagator().prepare(Decay(1.0), alpha=0.5)


def test_refuses_times_out_of_order():
    chain, start = chain_of(16)
    ready = Propagator().prepare(chain, alpha=0.5)
    for times in ([1.0, 0.5], [-1.0, 1.0]):
        with pytest.raises(GridError, match="sort them"):
            ready.propagate(start, times)


def test_rounding_of_the_reference_is_far_below_what_is_tested():
    chain, start = chain_of(40)
    one, other = (propagated(chain, start, TIMES, 0.6, opening) for opening in (1.35, 1.0))
    assert np.abs(one - other).max() < 4 * EPS * one.max()

"""HpCollocation: exact propagation, manufactured solutions, rates, estimates, mass, refusals."""

from math import gamma

import numpy as np
import pytest

from fracsde.backends import collocation_numba
from fracsde.errors import GridError, InputError, OutOfRangeError
from fracsde.grids import TimeGrid
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.operators.sinc import Sinc
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.schemes._collocating import Equation, Rule
from fracsde.schemes._interval_loop import collocated
from fracsde.schemes._intervals import GivenSteps, ratio_for, rho
from fracsde.schemes.collocation import HpCollocation
from fracsde.schemes.propagator import Propagator
from tests.support.collocation import (
    damage_integrals,
    damage_moments,
    forget_decay,
    relaxing,
)

TIMES = np.geomspace(1e-2, 10.0, 23)


def gap(run, exact):
    return float((np.abs(run.density - exact).max(axis=1) / np.abs(exact).max(axis=1)).max())


def propagated(chain, masses, times, alpha, timescale=1.0):
    ready = Propagator(rtol=1e-13).prepare(chain, alpha=alpha, timescale=timescale)
    return ready.propagate(masses, times) / chain.widths


# --- routes agree -----------------------------------------------------------------------------


@pytest.mark.parametrize("driven", [False, True])
@pytest.mark.parametrize(
    ("alpha", "scheme"),
    [
        (0.15, HpCollocation(degree=12, rtol=1e-8)),
        (0.3, HpCollocation()),
        (0.6, HpCollocation()),
        (0.6, HpCollocation(degree=5, rtol=1e-5)),
        (0.6, HpCollocation(degree=16, rtol=1e-12)),
        (0.9, HpCollocation(degree=9, rtol=1e-11)),
        (1.0, HpCollocation()),
    ],
)
def test_routes_agree_with_exact_propagation_and_the_estimate_is_honest(alpha, scheme, driven):
    chain, masses = relaxing()
    run = scheme.run(lambda t: chain, masses, TIMES, alpha=alpha, driven=driven, timescale=0.7)
    error = gap(run, propagated(chain, masses, TIMES, alpha, 0.7))
    assert run.relative.max() <= scheme.rtol
    assert error <= run.relative.max() + 1e-13
    assert run.relative.max() < 1e3 * error + 1e-13  # not a bound that always holds
    assert np.abs(run.density @ chain.widths - 1).max() < 1e-14
    assert run.residual < 1e-11


DAMAGES = [damage_integrals, damage_moments, forget_decay]


@pytest.mark.twin
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("driven", [False, True])
def test_routes_agree_rejects_damaged_tables(monkeypatch, damage, driven):
    chain, masses = relaxing(24)
    damage(monkeypatch)
    scheme = HpCollocation(intervals=TimeGrid.geometric(1e-9, 10.0, 50))
    run = scheme.run(lambda t: chain, masses, TIMES, alpha=0.6, driven=driven)
    assert not gap(run, propagated(chain, masses, TIMES, 0.6)) < 1e-8
    monkeypatch.undo()
    run = scheme.run(lambda t: chain, masses, TIMES, alpha=0.6, driven=driven)
    assert gap(run, propagated(chain, masses, TIMES, 0.6)) < 1e-8


@pytest.mark.parametrize("driven", [False, True])
def test_routes_agree_of_one_operator_and_of_equal_operators_at_all_nodes(driven):
    """Uncoupled complex shifts against the elimination of blocks."""
    chain, masses = relaxing(24)
    other = FiniteVolume(cells=24)
    base = FokkerPlanck(
        potential=lambda x: x**2 / 2, diffusion=1.0, domain=(-6.0, 6.0), initial=Gaussian()
    )
    one = HpCollocation().run(lambda t: chain, masses, TIMES, alpha=0.6, driven=driven)
    many = HpCollocation().run(
        lambda t: other.discretise(base), masses, TIMES, alpha=0.6, driven=driven
    )
    assert np.abs(one.density - many.density).max() < 1e-12


def test_engine_reference_and_compiled_agree():
    chain, masses = relaxing(12)
    at = lambda t: chain if t < 0.5 else FiniteVolume(cells=12).discretise(FREE)  # noqa: E731
    scheme = HpCollocation(intervals=TimeGrid.geometric(1e-3, 1.0, 6), degree=4)
    runs = [
        scheme.run(at, masses, [0.3, 1.0], alpha=0.6, driven=True, backend=name)
        for name in ("numba", "numpy")
    ]
    assert np.abs(runs[0].density - runs[1].density).max() < 1e-13


FREE = FokkerPlanck(diffusion=1.0, domain=(-6.0, 6.0), initial=Gaussian())


@pytest.mark.parametrize("boundary", ["periodic", "absorbing"])
@pytest.mark.parametrize("driven", [False, True])
def test_routes_agree_in_rings_and_between_absorbing_walls(boundary, driven):
    base = FokkerPlanck(
        force=(lambda x: 1.0 + 0 * x) if boundary == "periodic" else None,
        diffusion=1.0,
        domain=(0.0, 2.0),
        initial=lambda x: 1 + 0.5 * np.sin(np.pi * x),
        boundary=boundary,
    )
    chain = FiniteVolume(cells=20).discretise(base)
    masses = chain.project(base.initial)
    times = np.array([0.01, 0.3, 2.0])
    exact = propagated(chain, masses, times, 0.7)
    same = HpCollocation().run(lambda t: chain, masses, times, alpha=0.7, driven=driven)
    assert gap(same, exact) < 1e-10
    fresh = HpCollocation(degree=4, rtol=1e-5).run(
        lambda t: FiniteVolume(cells=20).discretise(base), masses, times, alpha=0.7, driven=driven
    )
    assert gap(fresh, exact) < 1e-5


def test_routes_agree_for_a_dense_spectral_operator():
    base = FokkerPlanck(
        potential=lambda x: x**2 / 2,
        diffusion=1.0,
        domain=(-np.inf, np.inf),
        initial=Gaussian(mean=0.5, std=0.8),
    )
    generator = Sinc(points=48).discretise(base)
    masses = generator.project(base.initial)
    times = np.array([0.1, 1.0])
    ready = Propagator(rtol=1e-12).prepare(generator, alpha=0.6)
    exact = ready.propagate(masses, times) / generator.widths
    run = HpCollocation(rtol=1e-9).run(lambda t: generator, masses, times, alpha=0.6)
    assert gap(run, exact) < 1e-9


# --- manufactured: u = p0 + t**power f, with an operator that depends on time ---------------------


def manufactured(power, alpha, driven, tau):
    chain, masses = relaxing(24)
    f = chain.project(Gaussian(mean=-1.0, std=0.7)) - 0.3 * masses
    # In the driven form a start that L moves would need a source like t**(alpha - 1).
    start = chain.stationary() * chain.widths if driven else masses
    rate = lambda t: 1.0 + 0.8 * np.sin(3.0 * t)  # noqa: E731

    def generator_at(t):
        base = FokkerPlanck(
            potential=lambda x: rate(t) * x**2 / 2,
            diffusion=rate(t),
            domain=(-6.0, 6.0),
            initial=Gaussian(),
        )
        return FiniteVolume(cells=24).discretise(base)

    def source_at(t):
        L = lambda m: rate(t) * chain.apply_to_masses(m)  # noqa: E731
        if driven:  # d_t u = tau**(1 - alpha) L D**(1 - alpha) u + s, Riemann-Liouville
            v = gamma(power + 1) / gamma(power + alpha) * t ** (power + alpha - 1) * f
            v = v + t ** (alpha - 1) / gamma(alpha) * start
            return power * t ** (power - 1) * f - tau ** (1 - alpha) * L(v)
        u = start + t**power * f  # tau**(alpha - 1) D**alpha u = L u + s
        d = gamma(power + 1) / gamma(power + 1 - alpha) * t ** (power - alpha) * f
        return tau ** (alpha - 1) * d - L(u)

    exact = lambda t: (start + t[:, None] ** power * f) / chain.widths  # noqa: E731
    return generator_at, source_at, start, exact


@pytest.mark.parametrize("driven", [False, True])
@pytest.mark.parametrize(("power", "alpha"), [(0.6, 0.6), (2.0, 0.6), (1.0, 0.35), (1.5, 1.0)])
def test_exact_manufactured_solutions_with_time_dependent_operators(power, alpha, driven):
    tau = 0.5
    generator_at, source_at, start, exact = manufactured(power, alpha, driven, tau)
    times = np.array([0.013, 0.4, 1.0, 3.0])
    run = HpCollocation(rtol=1e-9).run(
        generator_at,
        start,
        times,
        alpha=alpha,
        timescale=tau,
        source_at=source_at,
        driven=driven,
    )
    assert gap(run, exact(times)) < 1e-9
    assert run.relative.max() < 1e-9


@pytest.mark.twin
def test_manufactured_solution_of_one_form_is_not_that_of_the_other():
    generator_at, source_at, start, exact = manufactured(2.0, 0.6, True, 1.0)
    run = HpCollocation(rtol=1e-6).run(
        generator_at, start, [1.0], alpha=0.6, source_at=source_at, driven=False
    )
    assert gap(run, exact(np.array([1.0]))) > 1e-2


# --- rates --------------------------------------------------------------------------------------


def gains(alpha, ratio, driven, degrees=range(3, 9)):
    """By how much each degree divides the error, on geometric intervals."""
    chain, masses = relaxing(24)
    first, last = 1e-15 if alpha < 0.5 else 1e-8, 2.0
    count = int(np.ceil(np.log(last / first) / np.log(ratio)))
    ends = np.append(0.0, last * ratio ** -np.arange(count, -1.0, -1.0))
    wanted = ends[ends > 1e-4]
    exact = propagated(chain, masses, wanted, alpha)
    equation = Equation(
        generator_at=lambda t: chain,
        source_at=None,
        initial=masses,
        widths=chain.widths,
        alpha=alpha,
        timescale=1.0,
        driven=driven,
        engine=collocation_numba,
    )
    errors = []
    for degree in degrees:
        rule = Rule(degree=degree, alpha=alpha)
        found = collocated(equation, rule, GivenSteps(ends), wanted, kernel_rtol=1e-13)
        errors.append(np.abs(found.masses / chain.widths - exact).max())
    m = np.array(degrees)
    # Coefficients of t**alpha carry a power of the degree besides rho**-m.
    powers = (m[:-1] / m[1:]) ** (1 + 3 * alpha)
    return np.array(errors[:-1]) / np.array(errors[1:]) * powers


@pytest.mark.parametrize("driven", [False, True])
@pytest.mark.parametrize("ratio", [2.0, 4.0])
@pytest.mark.parametrize("alpha", [0.4, 0.8])
def test_order_is_exponential_in_the_degree_with_the_predicted_base(alpha, ratio, driven):
    base = float(np.exp(np.log(gains(alpha, ratio, driven)).mean()))
    assert abs(np.log(base / rho(ratio))) < np.log(1.35), (base, rho(ratio))


@pytest.mark.twin
@pytest.mark.parametrize("damage", DAMAGES[:2])
def test_order_in_the_degree_rejects_damaged_tables(monkeypatch, damage):
    damage(monkeypatch, 1e-5)
    base = float(np.exp(np.log(gains(0.4, 2.0, False)).mean()))
    assert not abs(np.log(base / rho(2.0))) < np.log(1.35)


def test_ratio_for_a_tolerance_inverts_the_rate():
    assert abs(0.01 * rho(ratio_for(8, 1e-10)) ** -8 - 1e-10) < 1e-22
    assert ratio_for(8, 1e-4) > ratio_for(8, 1e-12) > 1


def test_intervals_needed_are_those_of_the_notes():
    """Few dozen: 16 for 1.4e-6 with six nodes, 53 for 5e-11 with eight."""
    chain, masses = relaxing()
    for degree, rtol, most in ((6, 1.4e-6, 24), (8, 5e-11, 66)):
        scheme = HpCollocation(degree=degree, rtol=rtol)
        run = scheme.run(lambda t: chain, masses, TIMES, alpha=0.6)
        assert run.stats["intervals"] <= most
        assert gap(run, propagated(chain, masses, TIMES, 0.6)) < rtol


# --- intervals ----------------------------------------------------------------------------------


def test_fast_coefficients_get_shorter_intervals_and_the_same_tolerance():
    """d p/dt = a(t) L p has the solution exp(L int a); a turns sixteen times."""
    chain, masses = relaxing(16)

    def at(t):
        base = FokkerPlanck(
            potential=lambda x: (1 + np.sin(20 * t)) * x**2 / 2 + 1e-9 * x,
            diffusion=1 + np.sin(20 * t) + 1e-9,
            domain=(-6.0, 6.0),
            initial=Gaussian(),
        )
        return FiniteVolume(cells=16).discretise(base)

    times = np.array([0.3, 2.0, 5.0])
    run = HpCollocation(rtol=1e-8).run(at, masses, times, alpha=1.0)
    clock = times + (1 - np.cos(20 * times)) / 20
    exact = propagated(chain, masses, clock, 1.0)
    assert gap(run, exact) < 1e-7  # the 1e-9 above is in the operator
    assert run.relative.max() < 1e-8
    quiet = HpCollocation(rtol=1e-8).run(lambda t: chain, masses, times, alpha=1.0)
    assert run.stats["intervals"] > 2 * quiet.stats["intervals"]


def test_a_jump_in_time_is_reported_not_hidden():
    chain, masses = relaxing(12)
    rough = HpCollocation(rtol=1e-9).run(
        lambda t: chain,
        masses,
        [1.0],
        alpha=0.6,
        source_at=lambda t: masses * float(t > 0.3),
    )
    assert rough.relative.max() > 1e-9
    jump = TimeGrid.from_times(
        np.unique(np.append(np.geomspace(1e-9, 0.3, 40), TIMES[TIMES > 0.3]))
    )
    given = HpCollocation(intervals=jump, degree=12)
    # A node on the jump belongs to the interval before it.
    run = given.run(
        lambda t: chain, masses, [1.0], alpha=0.6, source_at=lambda t: masses * float(t > 0.3)
    )
    assert run.relative.max() < 1e-5
    assert len(run.ends) <= len(jump)


def test_times_anywhere_are_as_accurate_as_the_ends_of_intervals():
    chain, masses = relaxing(24)
    times = np.sort(np.random.default_rng(5).uniform(0.0, 3.0, 40))
    times = np.concatenate([[0.0, 1e-12, 1e-9, 1e-6], times])
    for driven in (False, True):
        run = HpCollocation().run(lambda t: chain, masses, times, alpha=0.6, driven=driven)
        exact = propagated(chain, masses, times[1:], 0.6)
        assert np.array_equal(run.density[0], masses / chain.widths)
        assert np.abs(run.density[1:] - exact).max() < 1e-10


def test_start_alone_is_returned_as_it_is():
    chain, masses = relaxing(12)
    run = HpCollocation().run(lambda t: chain, masses, [0.0], alpha=0.6)
    assert np.array_equal(run.density[0], masses / chain.widths)


def test_watch_sees_every_interval_of_the_first_solution():
    chain, masses = relaxing(12)
    seen = []
    run = HpCollocation(rtol=1e-6).run(lambda t: chain, masses, [1.0], alpha=0.6, watch=seen.append)
    assert seen[-1] == run.stats["intervals"]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"degree": 1}, OutOfRangeError, "`degree`"),
        ({"degree": 20}, OutOfRangeError, "`degree`"),
        ({"rtol": 1e-15}, OutOfRangeError, "thirteen digits at best"),
        ({"ratio": 1.0}, OutOfRangeError, "intervals grow"),
        ({"first": 0.0}, OutOfRangeError, "`first`"),
        ({"intervals": [0.0, 1.0]}, InputError, "TimeGrid.geometric"),
        ({"intervals": TimeGrid.uniform(1, 2), "ratio": 2.0}, InputError, "one or the others"),
    ],
)
def test_refuses_bad_schemes(given, error, words):
    with pytest.raises(error, match=words):
        HpCollocation(**given)


def test_refuses_bad_times():
    chain, masses = relaxing(12)
    run = HpCollocation(intervals=TimeGrid.uniform(1.0, 4)).run
    with pytest.raises(GridError, match="sort them"):
        run(lambda t: chain, masses, [1.0, 0.5], alpha=0.6)
    with pytest.raises(GridError, match="make them reach it"):
        run(lambda t: chain, masses, [1.5], alpha=0.6)

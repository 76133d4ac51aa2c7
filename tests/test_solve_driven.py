"""solve with coefficients that depend on time, and with sources in both forms of the equation."""

from dataclasses import replace
from math import gamma

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad

from fracsde.errors import InputError, NotFiniteError, ShapeError, UnsupportedError
from fracsde.grids import TimeGrid
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.operators.richardson import Richardson
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.schemes.collocation import HpCollocation
from fracsde.schemes.driven import LeMcLeanMustapha
from fracsde.schemes.l1 import L1
from fracsde.schemes.propagator import Propagator
from fracsde.solve import solve
from tests.support.exact import half_order_relaxation

F, OMEGA = 1.3, 3.0
TIMES = np.linspace(0.5, 10.0, 20)


# --- the discriminating test: a free particle in an oscillating force -----------------------------


def free_particle(alpha):
    base = FokkerPlanck(
        force=lambda t, x: F * np.cos(OMEGA * t) + 0 * x,
        diffusion=0.5,
        domain=(-40.0, 40.0),
        initial=Gaussian(mean=0.0, std=1.0),
        time_dependent=True,
    )
    return FractionalFokkerPlanck(base=base, alpha=alpha)


def right_mean(t, alpha):
    """F / Gamma(alpha) int_0^t s**(alpha - 1) cos(omega s) ds, with s = u**(1 / alpha)."""
    end = [
        quad(lambda u: np.cos(OMEGA * u ** (1 / alpha)), 0, x**alpha, limit=400, epsabs=1e-12)[0]
        for x in t
    ]
    return F * np.array(end) / gamma(1 + alpha)


def wrong_mean(t, alpha):
    """F I**alpha cos(omega t): the force of the past acts for ever."""
    end = [
        quad(
            lambda u, x=x: np.cos(OMEGA * (x - u ** (1 / alpha))),
            0,
            x**alpha,
            limit=400,
            epsabs=1e-12,
        )[0]
        for x in t
    ]
    return F * np.array(end) / gamma(1 + alpha)


@pytest.mark.parametrize("alpha", [0.5, 0.8])
def test_exact_mean_of_a_free_particle_whose_response_dies_out(alpha):
    solution = solve(free_particle(alpha), TIMES, space=FiniteVolume(cells=200))
    assert isinstance(solution.scheme, HpCollocation)
    assert np.abs(solution.moment(1) - right_mean(TIMES, alpha)).max() < 1e-9
    assert solution.error_estimate < 1e-9
    assert np.abs(solution.mass_defect()).max() < 1e-13
    limit = F * OMEGA**-alpha * np.cos(np.pi * alpha / 2)
    swing = F * TIMES[-1] ** (alpha - 1) / (gamma(alpha) * OMEGA)  # by parts: the first term
    assert abs(solution.moment(1)[-1] - limit) < 1.1 * swing
    # Twin: the ad hoc form keeps oscillating.
    assert np.abs(solution.moment(1) - wrong_mean(TIMES, alpha)).max() > 0.2


def test_limit_of_order_one_where_both_forms_are_one():
    solution = solve(free_particle(1.0), TIMES, space=FiniteVolume(cells=200))
    assert np.abs(solution.moment(1) - F / OMEGA * np.sin(OMEGA * TIMES)).max() < 1e-9
    assert np.abs(right_mean(TIMES, 1.0) - wrong_mean(TIMES, 1.0)).max() < 1e-9


@pytest.mark.twin
def test_the_wrong_form_solved_on_purpose_has_the_wrong_mean():
    """So the difference is the equation's, not the solver's."""
    problem, alpha = free_particle(0.5).base, 0.5
    space = FiniteVolume(cells=100)
    chain = space.discretise(problem.frozen_at(0.0))
    masses = chain.project(problem.initial)
    times = np.array([1.0, 4.0, 8.0])
    run = HpCollocation(degree=6, rtol=1e-7).run(
        lambda t: space.discretise(problem.frozen_at(t)), masses, times, alpha=alpha
    )
    mean = run.density @ (chain.widths * chain.points)
    assert np.abs(mean - wrong_mean(times, alpha)).max() < 1e-6
    assert np.abs(mean - right_mean(times, alpha)).max() > 0.1


def test_exact_mean_of_a_free_particle_in_the_plane():
    base = FokkerPlanck(
        force=lambda t, x, y: (np.cos(OMEGA * t) + 0 * x * y, 0.3 + 0 * x * y),
        diffusion=0.5,
        domain=((-9.0, 9.0), (-9.0, 9.0)),
        initial=Gaussian(mean=0.0, std=1.0),
        time_dependent=True,
    )
    t = np.array([0.5, 2.0])
    scheme = HpCollocation(degree=5, rtol=1e-5)
    problem = FractionalFokkerPlanck(base=base, alpha=0.7)
    solution = solve(problem, t, scheme=scheme, space=FiniteVolume(cells=20))
    expected = np.stack([right_mean(t, 0.7) / F, 0.3 * t**0.7 / gamma(1.7)], axis=1)
    assert np.abs(solution.mean() - expected).max() < 1e-4
    assert np.abs(solution.mass_defect()).max() < 1e-12
    assert np.abs(solution.mean() - expected[:, ::-1]).max() > 0.1  # twin


# --- a driven Ornstein-Uhlenbeck process: strength 1 + t / 2, centre sin-like polynomial ----------


def series_mean(t, alpha, start):
    """The mean by a double power series of v = D**(1 - alpha) m, in high precision.

    m' = -k(t) (v - c(t) t**(alpha - 1) / Gamma(alpha)) with k = 1 + t / 2 and c = t, so that
    v = start t**(alpha - 1) / Gamma(alpha) + I**alpha[m'], and m = start + I m'.
    """
    with mpmath.workdps(40):
        a, terms = mpmath.mpf(alpha), {}
        rows = 70
        # v = sum terms[j, i] t**(j a + i - 1)
        kc = {1: mpmath.mpf(1), 2: mpmath.mpf(1) / 2}  # k(t) c(t)
        rate = {}  # m' = sum rate[j, i] t**(j a + i - 1)
        terms[1, 0] = mpmath.mpf(start) / mpmath.gamma(a)
        for j in range(1, rows):
            for i in range(rows):
                value = kc.get(i, 0) / mpmath.gamma(a) if j == 1 else mpmath.mpf(0)
                value -= terms.get((j, i), 0) + terms.get((j, i - 1), 0) / 2
                rate[j, i] = value
                power = j * a + i
                lifted = value * mpmath.gamma(power) / mpmath.gamma(power + a)
                terms[j + 1, i] = terms.get((j + 1, i), 0) + lifted
        powers = [
            sum(value * x ** (j * a + i) / (j * a + i) for (j, i), value in rate.items())
            for x in map(mpmath.mpf, t)
        ]
        return np.array([float(start + p) for p in powers])


def test_exact_mean_of_a_driven_ornstein_uhlenbeck_process():
    base = FokkerPlanck(
        force=lambda t, x: -(1 + t / 2) * (x - t),
        diffusion=0.4,
        domain=(-7.0, 8.0),
        initial=Gaussian(mean=0.6, std=0.7),
        time_dependent=True,
    )
    problem = FractionalFokkerPlanck(base=base, alpha=0.6)
    t = np.array([0.05, 0.5, 1.0, 2.0])
    expected = series_mean(t, 0.6, 0.6)
    scheme = HpCollocation(rtol=1e-9)
    solution = solve(problem, t, scheme=scheme, space=Richardson(cells=81))
    gap = np.abs(solution.moment(1) - expected).max()
    assert gap < 2e-5
    # Nearly all of it is space: four times the cells, two digits less of it.
    finer = solve(problem, t, scheme=scheme, space=Richardson(cells=243))
    assert np.abs(finer.moment(1) - expected).max() < gap / 40
    # Twin: a fortieth more force is seen.
    bent = replace(base, force=lambda t, x: -(1 + t / 2) * (x - 1.025 * t))
    off = solve(replace(problem, base=bent), t, scheme=scheme, space=Richardson(cells=81))
    assert np.abs(off.moment(1) - expected).max() > 1e-3


def test_limit_of_the_series_at_early_times_is_plain_relaxation():
    """The reference itself: before t / 2 and c = t matter, 0.6 E(-t**alpha)."""
    t = np.array([1e-4, 1e-3])
    m = series_mean(t, 0.5, 0.6)
    assert np.abs(m - 0.6 * half_order_relaxation(np.sqrt(t))).max() < 1e-3 * 0.6


# --- sources: what they mean in each form ---------------------------------------------------------


def fed(form, alpha=0.6, tau=0.5, source=lambda t, x: 2 * t * np.exp(-x * x) / np.sqrt(np.pi)):
    base = FokkerPlanck(
        potential=lambda x: x**2 / 2,
        diffusion=1.0,
        domain=(-7.0, 7.0),
        initial=Gaussian(mean=0.5, std=0.6),
        source=source,
    )
    return FractionalFokkerPlanck(base=base, alpha=alpha, timescale=tau, form=form)


def test_exact_mass_and_mean_with_a_source_in_both_forms():
    """Mass: t**2 or tau**(1-a) I**a[2 t].  Mean: m D**a <x> = -<x>, and the source has none."""
    t = np.array([0.1, 1.0, 3.0])
    space = FiniteVolume(cells=64)
    per_time = solve(fed("riemann_liouville"), t, space=space)
    assert isinstance(per_time.scheme, HpCollocation)
    assert np.abs(per_time.mass_defect() - t**2).max() < 1e-9
    for form in (None, "caputo"):
        remembered = solve(fed(form), t, space=space)
        gained = 0.5**0.4 * 2 * t**1.6 / gamma(2.6)
        assert np.abs(remembered.mass_defect() - gained).max() < 1e-9
        assert np.abs(remembered.mass_defect() - t**2).max() > 0.5  # twin
    gap = per_time.moment(1) - remembered.moment(1)
    assert np.abs(gap).max() < 1e-9  # a source without a mean moves no mean


def test_routes_agree_of_a_source_per_time_and_its_fractional_integral_in_caputos_form():
    """I**(1 - alpha) of 2 t is 2 t**(2 - alpha) / Gamma(3 - alpha)."""
    alpha, tau = 0.6, 0.5
    t, space = np.array([0.1, 1.0, 3.0]), FiniteVolume(cells=64)
    shape = lambda x: np.exp(-x * x) / np.sqrt(np.pi)  # noqa: E731
    lifted = lambda t, x: (  # noqa: E731
        tau ** (alpha - 1) * 2 * t ** (2 - alpha) / gamma(3 - alpha) * shape(x)
    )
    one = solve(fed("riemann_liouville"), t, space=space)
    other = solve(fed("caputo", source=lifted), t, space=space)
    assert np.abs(one.density - other.density).max() < 1e-9


def test_forms_are_one_without_a_source():
    problem = replace(fed(None), base=replace(fed(None).base, source=None))
    t, space = np.array([0.1, 3.0]), FiniteVolume(cells=64)
    one = solve(problem, t, space=space)
    other = solve(replace(problem, form="riemann_liouville"), t, space=space)
    assert isinstance(other.scheme, Propagator)
    assert np.array_equal(one.density, other.density)
    collocated = solve(
        replace(problem, form="riemann_liouville"), t, space=space, scheme=HpCollocation()
    )
    assert np.abs(collocated.density - one.density).max() < 1e-9


def test_routes_agree_of_l1_and_collocation_with_a_source():
    problem = fed("caputo")
    grid = TimeGrid.graded(1.0, 2000, 2.0)
    space = FiniteVolume(cells=32)
    marched = solve(problem, grid, scheme=L1(), space=space, save_at=[1.0])
    collocated = solve(problem, [1.0], space=space)
    assert np.abs(marched.density - collocated.density).max() < 2e-5


# --- steps --------------------------------------------------------------------------------------


def test_routes_agree_of_steps_and_collocation_through_solve():
    problem, space = free_particle(0.7), FiniteVolume(cells=64)
    grid = TimeGrid.graded(2.0, 400, 1.5)
    steps = solve(problem, grid, scheme=LeMcLeanMustapha(), space=space)
    exact = solve(problem, [1.0, 2.0], space=space)
    assert np.abs(steps.at(2.0) - exact.at(2.0)).max() < 2e-3
    assert steps.stats["steps"] == 400
    assert steps.error_estimate is None


def test_progress_shows_and_changes_nothing(capsys):
    pytest.importorskip("rich")
    problem, space = free_particle(0.7), FiniteVolume(cells=16)
    scheme = HpCollocation(degree=4, rtol=1e-4)
    shown = solve(problem, [1.0], scheme=scheme, space=space, progress=True, throw=False)
    hidden = solve(problem, [1.0], scheme=scheme, space=space, throw=False)  # few cells, and wide
    assert "marching" in capsys.readouterr().err
    assert np.array_equal(shown.density, hidden.density)


# --- refusals -----------------------------------------------------------------------------------


def test_refuses_the_wrong_form_and_says_why():
    base = free_particle(0.5).base
    with pytest.raises(UnsupportedError, match=r'`form="caputo"`.*for ever.*Heinsalu et al'):
        FractionalFokkerPlanck(base=base, alpha=0.5, form="caputo")
    with pytest.raises(UnsupportedError, match=r"`L1`.*Caputo's form.*Heinsalu.*HpCollocation"):
        solve(free_particle(0.5), [1.0], scheme=L1())
    FractionalFokkerPlanck(base=base, alpha=1.0, form="caputo")  # the ordinary equation


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"scheme": Propagator()}, UnsupportedError, "do not depend on time; use HpCollocation"),
        ({"problem": free_particle(1.0), "scheme": L1()}, UnsupportedError, "implicit Euler"),
        ({"space": "auto"}, UnsupportedError, "serves coefficients that do not depend on time"),
        (
            {"problem": fed("riemann_liouville"), "scheme": L1()},
            UnsupportedError,
            "is a fractional integral; use HpCollocation",
        ),
        (
            {"problem": fed("caputo"), "scheme": LeMcLeanMustapha()},
            UnsupportedError,
            'write form="riemann_liouville"',
        ),
    ],
)
def test_refuses_what_does_not_fit(changes, error, words):
    given = {"problem": free_particle(0.5), "times": [1.0]} | changes
    with pytest.raises(error, match=words):
        solve(**given)


def test_refuses_an_unknown_form():
    with pytest.raises(InputError, match='`form` must be "caputo", "riemann_liouville" or None'):
        replace(fed(None), form="weyl")


def failing(start, stop, seen):
    """A problem whose force is no number to the right of one between two times."""

    def force(t, x):
        seen.append(t)
        return np.where((x > 1.0) & (start < t < stop), np.nan, np.cos(t) - x)

    base = FokkerPlanck(
        force=force, diffusion=1.0, domain=(-5, 5), initial=Gaussian(), time_dependent=True
    )
    return FractionalFokkerPlanck(base=base, alpha=0.6)


@pytest.mark.parametrize("scheme", [HpCollocation(degree=3, rtol=1e-3), LeMcLeanMustapha()])
@pytest.mark.parametrize("space", [FiniteVolume(cells=16), Richardson(cells=9)])
def test_refuses_a_force_that_fails_at_the_end_before_the_first_step(scheme, space):
    seen = []
    problem = failing(1.7, np.inf, seen)
    with pytest.raises(NotFiniteError, match=r"`force` at t = 2 must be finite, got nan at x = 1"):
        solve(problem, TimeGrid.uniform(2.0, 50), scheme=scheme, space=space)
    assert set(seen) == {0.0, 2.0}
    if isinstance(scheme, HpCollocation):  # which goes no further than the last wanted time
        grid = TimeGrid.uniform(2.0, 50)
        assert solve(problem, grid, scheme=scheme, space=space, save_at=[1.0]).status.ok


def test_a_force_that_fails_in_between_is_named_when_it_is_reached():
    seen = []
    problem, space = failing(0.7, 0.9, seen), FiniteVolume(cells=16)
    scheme = HpCollocation(degree=3, rtol=1e-3)
    words = r"`force` at t = 0\.[78].* must be finite, got nan at x = 1"
    with pytest.raises(NotFiniteError, match=words):
        solve(problem, [2.0], scheme=scheme, space=space)
    assert len(set(seen)) > 3


def test_refuses_values_of_the_wrong_shape_and_sources_that_fail_at_the_end():
    def ragged(t, x):
        return np.cos(t) - (x if t < 0.7 else x[:-1])

    base = FokkerPlanck(
        force=ragged, diffusion=1.0, domain=(-5, 5), initial=Gaussian(), time_dependent=True
    )
    space = FiniteVolume(cells=16)
    with pytest.raises(ShapeError, match=r"`force` at t = 2 must return one value per point"):
        solve(FractionalFokkerPlanck(base=base, alpha=0.6), [2.0], space=space)
    seen = []

    def source(t, x):
        seen.append(t)
        return np.full_like(x, np.nan if t > 1.5 else 1.0)

    fed = FokkerPlanck(diffusion=1.0, domain=(-5, 5), initial=Gaussian(), source=source)
    with pytest.raises(NotFiniteError, match=r"`source` at t = 2 must be finite, got nan at x = "):
        solve(fed, TimeGrid.uniform(2.0, 50), scheme=L1(), space=space)
    assert set(seen) == {0.0, 2.0}

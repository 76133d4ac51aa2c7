"""Cells too wide for the drift: refused before the first step, where the result would be."""

from functools import partial

import numpy as np
import pytest
from scipy.integrate import quad

from fracsde._solving import outcome, spaces
from fracsde._solving.resolution import fluxes_of
from fracsde.errors import ComputationError
from fracsde.grids import TimeGrid
from fracsde.operators.bernoulli import artificial_diffusion
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.operators.richardson import Richardson
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian, PointMass
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.schemes.collocation import HpCollocation
from fracsde.schemes.driven import LeMcLeanMustapha
from fracsde.schemes.l1 import L1
from fracsde.solve import solve
from fracsde.status import Status

COARSE = HpCollocation(degree=4, rtol=1e-4)


def line(**changes):
    settings = {
        "diffusion": 1.0,
        "domain": (-4.0, 4.0),
        "initial": Gaussian(mean=2.0, std=0.3),
    }
    return FokkerPlanck(**(settings | changes))


def plane(**changes):
    settings = {
        "diffusion": 1.0,
        "domain": ((-4.0, 4.0), (-4.0, 4.0)),
        "initial": Gaussian(mean=(1.5, 0.0), std=0.3),
    }
    return FokkerPlanck(**(settings | changes))


def swirling(x, y):
    """Round the origin, and in towards it: no gradient."""
    return -30.0 * y - 4.0 * x, 30.0 * x - 4.0 * y


# --- what is measured ---------------------------------------------------------------------------


def test_exact_variance_that_cells_add_in_a_force_that_comes_and_goes():
    """It is what the diffusion adds times one and the mean artificial diffusion over time."""
    base = FokkerPlanck(
        force=lambda t, x: 20.0 * np.sin(9.0 * t) + 0 * x, diffusion=1.0, domain=(-20.0, 20.0),
        initial=Gaussian(std=1.0), time_dependent=True,
    )  # fmt: skip
    times, T = np.linspace(0.0, 0.8, 65)[1:], 0.8
    cells = [FiniteVolume(cells=200).discretise(base.frozen_at(t)) for t in times]
    masses, x = cells[0].project(base.initial), cells[0].points
    mean = masses @ x
    rates = [chain.apply_to_masses(masses) for chain in cells]
    grown = np.array([rate @ x**2 - 2.0 * mean * (rate @ x) for rate in rates])  # of the variance
    extra = artificial_diffusion(20.0 * np.sin(9.0 * times) * 0.2)
    assert np.allclose(grown, 2.0 * (1.0 + extra), rtol=1e-10)
    assert extra.mean() > 0.3  # twin: the diffusion alone does not explain it
    smeared = fluxes_of(cells, times, 1.0).smearing([masses] * 64)[0]
    first, last = extra[0], extra[-2]  # next to the ends each stands for half a step more
    assert smeared == pytest.approx((extra[:-1].sum() + 0.5 * (first + last)) / 64, rel=1e-12)
    whole = quad(lambda t: artificial_diffusion(4.0 * np.sin(9.0 * t)), 0.0, T, limit=200)[0]
    assert smeared == pytest.approx(whole / T, rel=0.03)


@pytest.mark.parametrize("scheme", [COARSE, LeMcLeanMustapha()])
@pytest.mark.parametrize(("start", "stop"), [(0.0, 0.03), (0.002, 0.05), (0.5, 1.0)])
def test_mean_over_the_jumps_of_a_force_of_a_while(start, stop, scheme, monkeypatch):
    """Up to ``t`` there are ``t**alpha`` jumps: half of those at 0.2 happen in the first 3 %."""
    alpha, width = 0.2, 0.2
    base = line(
        force=lambda t, x: np.where((t > start) & (t < stop), 60.0, 0.0) + 0 * x,
        time_dependent=True,
    )
    seen = []
    monkeypatch.setattr(spaces, "refuse_wide_cells", lambda points, _: seen.append(points))
    stopped = tuple((family, _stop) for family, _ in outcome._FAMILIES)
    monkeypatch.setattr(outcome, "_FAMILIES", stopped)
    problem = FractionalFokkerPlanck(base=base, alpha=alpha)
    mesh = TimeGrid.graded(1.0, 400, 4.0)
    with pytest.raises(KeyboardInterrupt):
        solve(problem, mesh, scheme=scheme, space=FiniteVolume(cells=40), save_at=[1.0])
    (points,) = seen
    fluxes, masses = points.fluxes, points.masses
    share = fluxes.smearing([masses] * len(fluxes.generators))[0]
    share /= artificial_diffusion(np.array([60.0 * width]))[0]
    assert share == pytest.approx(stop**alpha - start**alpha, abs=0.04)
    assert abs(share - (stop - start)) > 0.1  # twin: times that all count the same


def _stop(*_):
    raise KeyboardInterrupt


# --- refusals -------------------------------------------------------------------------------------

SHAKEN = line(force=lambda t, x: 60.0 * np.sin(7.0 * t) - x, time_dependent=True)
HOPELESS = {
    "shaken": (SHAKEN, 16, None),
    "shaken in steps": (SHAKEN, 16, LeMcLeanMustapha()),
    "a ramp": (line(force=lambda t, x: 100.0 * t + 0 * x, time_dependent=True), 20, None),
    "absorbed": (line(potential=lambda x: -30.0 * x, boundary="absorbing"), 16, L1()),
    "removed": (line(force=lambda x: -30.0 * x, reaction=lambda x: 1.0 + x**2), 16, L1()),
    "round a ring": (
        line(force=lambda x: 30.0 + 0 * x, boundary="periodic"), 16, L1()
    ),
    "entering": (
        line(
            force=lambda x: 40.0 + 0 * x, boundary="absorbing",
            source=lambda t, x: 20.0 * np.exp(-20.0 * (x + 3.0) ** 2),
        ), 16, L1(),
    ),
    "from where it is flat": (
        line(potential=lambda x: 30.0 * (x**4 / 4.0 - x**2), initial=PointMass(at=0.0)), 17, None
    ),
    "swirling": (plane(force=swirling), 12, None),
    "rotating": (
        plane(
            force=lambda t, x, y: (
                60.0 * np.cos(5.0 * t) - x + 0 * y, 60.0 * np.sin(5.0 * t) - y + 0 * x
            ),
            time_dependent=True,
        ), 8, COARSE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOPELESS)
def test_refuses_a_grid_that_can_nowhere_do_before_the_first_step(case, monkeypatch):
    base, cells, scheme = HOPELESS[case]
    worked = []
    started = tuple((family, lambda *args: worked.append(args)) for family, _ in outcome._FAMILIES)
    monkeypatch.setattr(outcome, "_FAMILIES", started)
    monkeypatch.setattr(outcome, "_propagated", lambda *args: worked.append(args))
    monkeypatch.setattr(outcome, "_collocated", lambda *args: worked.append(args))
    problem = FractionalFokkerPlanck(base=base, alpha=0.8)
    words = rf"before the first step.*too wide for the drift.* in place of {cells}, for which"
    with pytest.raises(ComputationError, match=words):
        solve(problem, TimeGrid.uniform(1.0, 40), scheme=scheme, space=FiniteVolume(cells=cells))
    assert not worked


def named(call):
    """The number of cells that a refusal names."""
    with pytest.raises(ComputationError, match="before the first step") as refused:
        call()
    words = str(refused.value).split(", ")[-2]
    return int(words.split(" in place of ")[0])


@pytest.mark.parametrize("case", ["shaken", "absorbed", "removed", "round a ring"])
def test_the_number_that_is_named_does(case):
    base, cells, scheme = HOPELESS[case]
    scheme = LeMcLeanMustapha() if base.time_dependent else scheme
    job = partial(solve, base, TimeGrid.uniform(1.0, 20), scheme=scheme)
    enough = named(lambda: job(space=FiniteVolume(cells=cells)))
    found = job(space=FiniteVolume(cells=enough))
    assert found.status is Status.SUCCESS
    assert max(found.stats["smearing"]) < 0.15
    # Twin: a third of it is not good.
    third = FiniteVolume(cells=enough // 3)
    assert max(job(space=third, throw=False).stats["smearing"]) > 0.15


def test_a_pair_of_grids_is_refused_by_its_finer_one_and_counted_by_its_coarse_one():
    base = HOPELESS["round a ring"][0]
    pair = named(lambda: solve(base, [1.0], space=Richardson(cells=9)))
    alone = named(lambda: solve(base, [1.0], space=FiniteVolume(cells=27)))
    assert 3 * pair == pytest.approx(alone, abs=3)


# --- no refusals --------------------------------------------------------------------------------


def test_twin_a_narrow_trap_that_moves_is_followed():
    """Steep wherever the density is not: the operators of all times would be refused anywhere."""
    speed, stiffness = 2.0, 20.0
    base = FokkerPlanck(
        force=lambda t, x: -stiffness * (x - speed * t), diffusion=1.0, domain=(-4.0, 12.0),
        initial=Gaussian(std=stiffness**-0.5), time_dependent=True,
    )  # fmt: skip
    space, mesh = FiniteVolume(cells=160), TimeGrid.uniform(4.0, 200)
    found = solve(base, mesh, space=space, scheme=LeMcLeanMustapha(), save_at=[4.0])
    lag = speed / stiffness
    assert found.moment(1)[-1] == pytest.approx(4.0 * speed - lag, abs=0.05 * lag)
    assert max(found.stats["smearing"]) < 0.05
    # What stays where it was is smeared in the mean over time.
    tried = np.linspace(0.25, 4.0, 16)
    cells = [space.discretise(base.frozen_at(t)) for t in tried]
    masses = [cells[0].project(base.initial)] * 16
    assert fluxes_of(cells, tried, 1.0).smearing(masses)[0] > 0.5


NO_HARM = {
    "a short pulse": line(
        force=lambda t, x: np.where(t > 0.999, 200.0, 0.0) - x, time_dependent=True
    ),
    "left at once": line(force=lambda x: np.where(x > 1.0, -60.0, 0.0)),
    "never reached": line(
        force=lambda x: np.where(x > 1.0, 60.0, 0.0), initial=Gaussian(mean=-2.0, std=0.3)
    ),
    "left at once, by a force that ends": line(
        force=lambda t, x: np.where((x > 1.0) & (t < 0.5), -60.0, 0.0), time_dependent=True
    ),
    "taken away where it is steep": line(
        force=lambda x: np.where(x > 1.0, 60.0, 0.0),
        initial=Gaussian(mean=-2.0, std=0.3),
        source=lambda t, x: -1e-6 * np.exp(-20.0 * (x - 2.0) ** 2),
    ),
}


@pytest.mark.parametrize("case", NO_HARM)
def test_twin_cells_that_do_no_harm_are_not_refused(case):
    base, mesh = NO_HARM[case], TimeGrid.uniform(1.0, 100)
    scheme = LeMcLeanMustapha() if base.time_dependent else L1()
    found = solve(base, mesh, space=FiniteVolume(cells=40), scheme=scheme)
    assert found.status is Status.SUCCESS


def test_no_factorisation_outlives_its_step(monkeypatch):
    """Operators at the times that are judged are kept; what solves with them left is not."""
    base, seen = HOPELESS["rotating"][0], []

    def noted(fluxes, masses):
        seen.extend(fluxes.generators)
        return (), ""

    monkeypatch.setattr(outcome, "judged", noted)
    mesh, space = TimeGrid.uniform(1.0, 12), FiniteVolume(cells=(8, 8))
    solve(base, mesh, scheme=LeMcLeanMustapha(), space=space, throw=False)
    assert len(seen) == 8
    assert not any(cells._solver.stats["factorisations"] for cells in seen)
    # Twin: a solve does leave one.
    seen[0].solve_shifted(1.0, seen[0].widths)
    assert seen[0]._solver.stats["factorisations"] == 1

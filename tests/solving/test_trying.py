"""Coefficients and sources are tried at the times of a run before its first step."""

import importlib
from contextlib import contextmanager

import numpy as np
import pytest

from fracsde._solving import outcome, trying
from fracsde.errors import GridError, NotFiniteError, ShapeError
from fracsde.grids import TimeGrid
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.operators.richardson import Richardson
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.schemes.collocation import HpCollocation
from fracsde.schemes.convolution_quadrature import ConvolutionQuadrature
from fracsde.schemes.driven import LeMcLeanMustapha
from fracsde.schemes.l1 import L1
from fracsde.schemes.l2_sigma import L2Sigma
from fracsde.solve import solve

GRID = TimeGrid.uniform(2.0, 200)
SPACE = FiniteVolume(cells=16)


class Driven:
    """A problem whose force is no number in one stretch of time, and when it was asked for."""

    def __init__(self, start=np.inf, stop=np.inf, value=np.nan):
        self.start, self.stop, self.value, self.seen = start, stop, value, []

    def force(self, t, x):
        self.seen.append(t)
        return (self.value if self.start < t < self.stop else np.cos(t)) - x

    def problem(self, **changes):
        settings = {"diffusion": 1.0, "domain": (-4, 4), "initial": Gaussian()}
        if "source" not in changes:
            settings |= {"force": self.force, "time_dependent": True}
        return FokkerPlanck(**(settings | changes))

    def source(self, t, x):
        return 0.01 * (self.force(t, x) + x) + 0.1


@pytest.fixture
def steps(monkeypatch):
    """The solves that were begun."""
    begun = []

    def noted(solver):
        def noting(*args):
            begun.append(args)
            return solver(*args)

        return noting

    families = tuple((family, noted(solver)) for family, solver in outcome._FAMILIES)
    monkeypatch.setattr(outcome, "_FAMILIES", families)
    return begun


@pytest.mark.parametrize("space", [SPACE, Richardson(cells=9)])
def test_a_force_that_fails_in_one_step_is_named_before_the_first(space, steps):
    job = Driven(1.195, 1.205)
    with pytest.raises(NotFiniteError, match=r"`force` at t = 1.2 must be finite, got nan at x = "):
        solve(job.problem(), GRID, scheme=LeMcLeanMustapha(), space=space)
    assert not steps


@pytest.mark.parametrize("scheme", [L1(), L2Sigma(), ConvolutionQuadrature(bdf=2)])
def test_a_source_that_fails_in_one_step_is_named_before_the_first(scheme, steps):
    job = Driven(1.1901, 1.2001)  # a step and its inner points
    with pytest.raises(NotFiniteError, match=r"`source` at t = 1\.(2|19\d*) must be finite, got"):
        solve(job.problem(source=job.source), GRID, scheme=scheme, space=SPACE)
    assert not steps


def test_a_wrong_shape_in_one_step_is_named_before_the_first(steps):
    job = Driven(1.195, 1.205, value=np.zeros((3, 1)))
    with pytest.raises(ShapeError, match=r"`force` at t = 1.2 must return one value per point"):
        solve(job.problem(), GRID, scheme=LeMcLeanMustapha(), space=SPACE)
    assert not steps


def test_a_force_in_the_plane_that_fails_in_one_step_is_named_before_the_first(steps):
    def force(t, x, y):
        return np.where((x > 1) & (y > 1) & (abs(t - 0.5) < 1e-6), np.inf, -x), -y + 0 * x

    base = FokkerPlanck(
        force=force, diffusion=1.0, domain=((-4, 4), (-4, 4)), initial=Gaussian(),
        time_dependent=True,
    )  # fmt: skip
    with pytest.raises(NotFiniteError, match=r"`force\[0\]` at t = 0.5 .* at \(x, y\) = \(1\.2, 1"):
        solve(base, TimeGrid.uniform(1.0, 20), scheme=LeMcLeanMustapha(),
              space=FiniteVolume(cells=10))  # fmt: skip
    assert not steps


@pytest.mark.parametrize("what", ["force", "source"])
def test_exact_nothing_is_evaluated_twice(what):
    """A run asks as often as its steps do: the number of calls with each time is the same."""
    job = Driven()
    problem = job.problem() if what == "force" else job.problem(source=job.source)
    job.seen.clear()
    solve(problem, GRID, scheme=LeMcLeanMustapha() if what == "force" else L1(), space=SPACE)
    later = [t for t in job.seen if t > 0.0]
    assert sorted(set(later)) == GRID.times[1:].tolist()
    each = 2 if what == "force" else 1  # at the centres and between them
    assert len(later) == each * 200


def test_exact_results_do_not_depend_on_what_is_kept(monkeypatch):
    kept = solve(Driven().problem(), GRID, scheme=LeMcLeanMustapha(), space=SPACE)
    monkeypatch.setattr(trying, "_KEPT", 0)
    job = Driven()
    problem = job.problem()
    job.seen.clear()
    again = solve(problem, GRID, scheme=LeMcLeanMustapha(), space=SPACE)
    assert np.array_equal(kept.density, again.density)
    tried = 2 * (1 + 10 + 1 + 32)  # one in twenty, the first, the last, and those for the cells
    assert len([t for t in job.seen if t > 0.0]) <= 400 + tried


def test_one_in_each_twenty_steps_of_a_long_march_is_tried(monkeypatch, steps):
    monkeypatch.setattr(trying, "_KEPT", 0)
    for start in np.arange(0.0, 1.6, 0.07):
        job = Driven(start, start + 0.4)  # forty steps: whole twenties lie in them
        with pytest.raises(NotFiniteError, match="must be finite"):
            solve(job.problem(), GRID, scheme=LeMcLeanMustapha(), space=SPACE)
    assert not steps
    # Twin: a single step is named when it is reached.
    with pytest.raises(NotFiniteError, match=r"at t = 1.2 must be finite"):
        solve(Driven(1.195, 1.205).problem(), GRID, scheme=LeMcLeanMustapha(), space=SPACE)
    assert steps


def test_half_of_the_run_is_seen_by_collocation_before_it_begins(steps):
    scheme = HpCollocation(degree=3, rtol=1e-3)
    for start in (0.0, 0.3, 0.7, 1.0):
        job = Driven(start, start + 1.0)
        with pytest.raises(NotFiniteError, match="must be finite"):
            solve(job.problem(), [2.0], scheme=scheme, space=SPACE)
    assert not steps


def test_a_run_with_a_checkpoint_begins_soon_and_goes_on_soon(tmp_path):
    path, counts = tmp_path / "run.npz", []
    for _ in range(2):
        job = Driven()
        problem = job.problem()
        job.seen.clear()
        solve(problem, GRID, scheme=LeMcLeanMustapha(), space=SPACE, checkpoint=path)
        counts.append(len(job.seen))
    assert counts[0] < 500
    assert counts[1] < 100


def test_on_a_mesh_that_does_not_serve_nothing_is_tried():
    job = Driven()
    problem = job.problem(source=job.source)
    job.seen.clear()
    with pytest.raises(GridError, match="needs equal steps"):
        solve(problem, TimeGrid.graded(1.0, 50, 2.0), scheme=ConvolutionQuadrature(), space=SPACE)
    assert not job.seen


@pytest.fixture
def stages(monkeypatch):
    """Words of the stages that were shown, their lengths and what was told of each."""
    shown = []

    @contextmanager
    def bar(count, *, shown_, word="marching"):
        shown.append((word, count, []))
        yield shown[-1][2].append

    solving = importlib.import_module("fracsde.solve")
    monkeypatch.setattr(solving, "_bar", lambda n, *, shown, **word: bar(n, shown_=shown, **word))
    return shown


@pytest.mark.parametrize("what", ["force", "source"])
def test_trying_is_a_stage_of_the_progress_with_a_name_of_its_own(stages, what):
    job = Driven()
    problem = job.problem() if what == "force" else job.problem(source=job.source)
    solve(problem, GRID, scheme=LeMcLeanMustapha() if what == "force" else L1(), space=SPACE)
    assert [(word, count) for word, count, _ in stages] == [
        ("coefficients", 200),
        ("marching", 200),
    ]
    assert stages[0][2] == list(range(1, 201))


def test_where_nothing_is_tried_no_stage_is_shown(stages):
    problem = FokkerPlanck(potential=lambda x: x**2 / 2, diffusion=1.0, domain=(-4, 4),
                           initial=Gaussian())  # fmt: skip
    solve(problem, GRID, scheme=L1(), space=SPACE)
    assert [word for word, _, _ in stages] == ["marching"]


def test_an_interrupt_ends_the_trying_before_the_first_step(stages, steps):
    class Pressing(Driven):
        def force(self, t, x):
            if len(self.seen) == 50:
                raise KeyboardInterrupt
            return super().force(t, x)

    job = Pressing()
    with pytest.raises(KeyboardInterrupt):
        solve(job.problem(), GRID, scheme=LeMcLeanMustapha(), space=SPACE)
    assert len(job.seen) == 50
    assert not steps
    assert 0 < len(stages[0][2]) < 50

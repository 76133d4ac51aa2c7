"""Checkpoints of what is no march of densities: collocation, driven steps, systems of equations."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.errors import CheckpointError
from fracsde.grids import TimeGrid
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.problems.fractional_ode import FractionalODE
from fracsde.schemes.adaptive import Adaptive
from fracsde.schemes.collocation import HpCollocation
from fracsde.schemes.driven import LeMcLeanMustapha
from fracsde.schemes.exponentials import Exponentials
from fracsde.schemes.history import Direct
from fracsde.schemes.l1 import L1
from fracsde.schemes.l2_sigma import L2Sigma
from fracsde.solve import solve

SPACE = FiniteVolume(cells=18)
GRID = TimeGrid.graded(1.0, 60, 2.0)


class Stopping:
    """Counts calls, and is interrupted once after so many."""

    def __init__(self, after=None):
        self.after, self.calls = after, 0

    def count(self):
        self.calls += 1
        if self.after is not None and self.calls > self.after:
            self.after = None
            raise KeyboardInterrupt


def driven(stop, strength=1.0):
    def force(t, x):
        stop.count()
        return strength * np.sin(2.0 * t) - x

    base = FokkerPlanck(
        force=force,
        diffusion=lambda t, x: 1.0 + 0.0 * x,
        time_dependent=True,
        domain=(-4.0, 4.0),
        initial=Gaussian(mean=0.5, std=0.6),
    )
    return FractionalFokkerPlanck(base=base, alpha=0.6, form="riemann_liouville")


def lotka(stop, predation=0.8, orders=(0.7, 0.9)):
    def rhs(t, y):
        stop.count()
        return np.array([y[0] - predation * y[0] * y[1], predation * y[0] * y[1] - y[1] + 0.1 * t])

    return FractionalODE(rhs=rhs, initial=[1.2, 0.4], alpha=list(orders))


def stiff(stop):
    def rhs(t, y):
        stop.count()
        return np.array([np.cos(t) - y[0] ** 3])

    return FractionalODE(rhs=rhs, linear=np.array([[-50.0]]), initial=[1.0], alpha=0.6)


CASES = {
    "collocation": (driven, HpCollocation(rtol=1e-8), TimeGrid.from_times([0.0, 0.3, 1.0])),
    "driven steps": (driven, LeMcLeanMustapha(), GRID),
    "steps": (lotka, L1(history=Direct(block=16)), GRID),
    "steps with few numbers": (lotka, L2Sigma(history=Exponentials(block=16)), GRID),
    "stiff steps": (stiff, L1(history=Exponentials(block=16)), GRID),
    "intervals": (lotka, Adaptive(rtol=1e-8, atol=1e-10), TimeGrid.from_times([0.0, 1.0, 20.0])),
    "stiff intervals": (stiff, Adaptive(rtol=1e-9), TimeGrid.from_times([0.0, 0.5, 5.0])),
}


def run(case, path, stop=None, interval=0.0, **changes):
    make, scheme, grid = CASES[case]
    stop = Stopping() if stop is None else stop
    space = {"space": SPACE} if make is driven else {}
    return solve(
        make(stop, **changes),
        grid,
        scheme=scheme,
        checkpoint=path,
        checkpoint_interval=interval,
        **space,
    )


def numbers(solution):
    return solution.density if hasattr(solution, "density") else solution.values


def calls_of(case, path):
    """Calls of a run with a checkpoint: before its first step, and all."""
    counts = []
    for _ in range(2):  # the second time it is read
        stop = Stopping()
        run(case, path, stop)
        counts.append(stop.calls)
    path.unlink()
    return counts[1], counts[0]


def share_of_steps(share, before, calls):
    return before + int(share * (calls - before))


@pytest.mark.parametrize("interval", [0.0, 1e9])
@pytest.mark.parametrize("share", [0.3, 0.8])
@pytest.mark.parametrize("case", CASES)
def test_interrupted_runs_go_on_to_the_last_digit(tmp_path, case, share, interval):
    """With an interval that never ends, the interrupt itself writes the file."""
    path = tmp_path / "run.npz"
    whole, counts = run(case, None), calls_of(case, path)
    with pytest.raises(KeyboardInterrupt):
        run(case, path, Stopping(share_of_steps(share, *counts)), interval)
    assert path.exists()
    stop = Stopping()
    again = run(case, path, stop)
    assert np.array_equal(numbers(again), numbers(whole))
    assert np.array_equal(again.residual(), whole.residual())
    assert again.stats == whole.stats
    # It did go on and not start again.
    assert stop.calls < share_of_steps(1.05 - share, *counts)


@pytest.mark.parametrize("case", ["intervals", "stiff intervals"])
def test_resumed_intervals_are_as_good_between_nodes(tmp_path, case):
    path = tmp_path / "run.npz"
    whole, counts = run(case, None), calls_of(case, path)
    with pytest.raises(KeyboardInterrupt):
        run(case, path, Stopping(share_of_steps(0.5, *counts)))
    again = run(case, path)
    for t in (0.01, 0.7, 4.3):
        assert np.array_equal(again.at(t), whole.at(t))
    assert np.array_equal(again.error_estimate, whole.error_estimate)


@pytest.mark.parametrize("case", CASES)
def test_a_finished_run_is_read_from_its_checkpoint(tmp_path, case):
    path, first = tmp_path / "run.npz", Stopping()
    whole = run(case, path, first, interval=1e9)
    stop = Stopping()
    assert np.array_equal(numbers(run(case, path, stop)), numbers(whole))
    assert stop.calls < first.calls / 2  # what is tried before the first step is few calls


@pytest.mark.parametrize(
    ("case", "changes", "word"),
    [
        ("collocation", {"strength": 1.01}, "the operator"),
        ("driven steps", {"strength": 1.01}, "the operator"),
        ("steps", {"predation": 0.81}, "the right-hand side"),
        ("intervals", {"predation": 0.81}, "the right-hand side"),
        ("steps", {"orders": (0.7, 0.91)}, "alpha"),
        ("intervals", {"orders": (0.71, 0.9)}, "alpha"),
    ],
)
def test_refuses_a_checkpoint_of_another_problem_with_the_reason(tmp_path, case, changes, word):
    path = tmp_path / "run.npz"
    run(case, path)
    with pytest.raises(CheckpointError, match=f"another problem.*{word}"):
        run(case, path, **changes)


def test_refuses_a_checkpoint_of_another_solver(tmp_path):
    path = tmp_path / "run.npz"
    run("steps", path)
    with pytest.raises(CheckpointError, match="what computes it"):
        run("intervals", path)


@pytest.mark.parametrize("case", CASES)
def test_refuses_arrays_that_do_not_fit(tmp_path, case):
    path = tmp_path / "run.npz"
    stop = Stopping(share_of_steps(0.7, *calls_of(case, path)))
    with pytest.raises(KeyboardInterrupt):
        run(case, path, stop)
    with np.load(path) as saved:
        arrays = dict(saved)
    names = [name for name in arrays if not name.startswith("of_")]
    for name in names:
        for bad in (None, np.zeros((2, 3, 5, 7))):
            np.savez(path, **{k: v for k, v in arrays.items() if k != name})
            if bad is not None:
                np.savez(path, **(arrays | {name: bad}))
            before = path.read_bytes()
            with pytest.raises(CheckpointError, match="damaged"):
                run(case, path)
            assert path.read_bytes() == before


@pytest.mark.twin
@pytest.mark.parametrize(
    ("case", "name"), [("steps", "values"), ("intervals", "past_0"), ("collocation", "live_memory")]
)
def test_going_on_to_the_last_digit_rejects_a_state_off_by_rounding(tmp_path, case, name):
    path = tmp_path / "run.npz"
    whole, counts = run(case, None), calls_of(case, path)
    with pytest.raises(KeyboardInterrupt):
        run(case, path, Stopping(share_of_steps(0.8, *counts)))
    with np.load(path) as saved:
        arrays = dict(saved)
    arrays[name] = arrays[name] * (1.0 + 1e-13)
    np.savez(path, **arrays)
    assert not np.array_equal(numbers(run(case, path)), numbers(whole))

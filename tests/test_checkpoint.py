"""Checkpoints: interrupted marches go on to the last digit, and files are whole or refused."""

import errno
import io
import os
from dataclasses import replace

import numpy as np
import pytest

from fracsde.errors import CheckpointError, CheckpointWriteError, InputError, UnsupportedError
from fracsde.grids import TimeGrid
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.operators.richardson import Richardson
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.schemes import checkpoint as module
from fracsde.schemes.block_fft import BlockFFT
from fracsde.schemes.exponentials import Exponentials
from fracsde.schemes.grunwald_letnikov import GrunwaldLetnikov
from fracsde.schemes.history import Direct
from fracsde.schemes.l1 import L1
from fracsde.schemes.l2_sigma import L2Sigma
from fracsde.schemes.l12 import L12
from fracsde.solve import solve

SPACE = FiniteVolume(cells=18)
TRIED = 48  # calls at most before the first step
UNIFORM, GRADED = TimeGrid.uniform(1.0, 200), TimeGrid.graded(1.0, 200, 3.0)
MARCHES = [
    (L1(history=Direct(block=16)), GRADED),
    (L12(history=Direct(block=16)), UNIFORM),
    (L2Sigma(history=Direct(block=16)), GRADED),
    (L1(history=BlockFFT(block=16)), UNIFORM),
    (L2Sigma(history=BlockFFT(block=16)), UNIFORM),
    (GrunwaldLetnikov(history=BlockFFT(block=16)), UNIFORM),
    (L1(history=Exponentials(block=16)), UNIFORM),
    (L12(history=Exponentials(block=16)), GRADED),
    (L2Sigma(history=Exponentials(block=16)), GRADED),
]


class Stopping:
    """A source that is interrupted once, after so many calls of the march."""

    def __init__(self, after=None, error=KeyboardInterrupt, strength=1.0):
        self.after, self.error, self.strength, self.calls = after, error, strength, 0

    def __call__(self, t, x):
        self.calls += 1
        if self.after is not None and self.calls > self.after:
            self.after = None
            raise self.error
        return self.strength * np.cos(t) * np.exp(-x * x)


def problem(source=None, **changes):
    given = {
        "potential": lambda x: x**2 / 2,
        "diffusion": 1.0,
        "domain": (-4.0, 4.0),
        "initial": Gaussian(mean=1.0, std=0.5),
        "source": source or Stopping(),
    }
    alpha = changes.pop("alpha", 0.6)
    return FractionalFokkerPlanck(base=FokkerPlanck(**(given | changes)), alpha=alpha)


def run(scheme, grid, path, source=None, interval=0.0, **changes):
    return solve(
        problem(source, **changes),
        grid,
        scheme=scheme,
        space=SPACE,
        checkpoint=path,
        checkpoint_interval=interval,
    )


def interrupted(scheme, grid, path, interval=0.0, steps=112):
    with pytest.raises(KeyboardInterrupt):
        run(scheme, grid, path, Stopping(TRIED + steps), interval)


@pytest.mark.parametrize(("scheme", "grid"), MARCHES)
def test_interrupted_runs_go_on_to_the_last_digit(tmp_path, scheme, grid):
    whole = solve(problem(), grid, scheme=scheme, space=SPACE)
    path = tmp_path / "march.npz"
    interrupted(scheme, grid, path)
    source = Stopping()
    again = run(scheme, grid, path, source)
    assert np.array_equal(again.density, whole.density)
    assert again.residual() == whole.residual()
    assert source.calls < TRIED + 120  # it did go on and not start again


@pytest.mark.parametrize(("scheme", "grid"), MARCHES)
def test_an_interrupt_alone_saves(tmp_path, scheme, grid):
    """With an interval that never ends, the interrupt itself writes the file."""
    path = tmp_path / "march.npz"
    interrupted(scheme, grid, path, interval=1e9)
    with np.load(path) as saved:
        assert float(saved["start"]) >= 96
    whole = solve(problem(), grid, scheme=scheme, space=SPACE)
    assert np.array_equal(run(scheme, grid, path).density, whole.density)


@pytest.mark.twin
def test_going_on_to_the_last_digit_rejects_a_state_off_by_rounding(tmp_path):
    scheme, grid = MARCHES[8]
    path = tmp_path / "march.npz"
    interrupted(scheme, grid, path)
    with np.load(path) as saved:
        arrays = dict(saved)
    arrays["shares"] = arrays["shares"] * (1 + 1e-13)
    np.savez(path, **arrays)
    whole = solve(problem(), grid, scheme=scheme, space=SPACE)
    assert not np.array_equal(run(scheme, grid, path).density, whole.density)


def test_interrupts_again_and_again(tmp_path):
    scheme, grid = MARCHES[0]
    path = tmp_path / "march.npz"
    for _ in range(3):
        interrupted(scheme, grid, path, interval=1e9, steps=48)
    whole = solve(problem(), grid, scheme=scheme, space=SPACE)
    assert np.array_equal(run(scheme, grid, path).density, whole.density)


def test_a_finished_run_is_read_from_its_checkpoint(tmp_path):
    scheme, grid = MARCHES[6]
    path = tmp_path / "march.npz"
    first = run(scheme, grid, path)
    source = Stopping()
    second = run(scheme, grid, path, source)
    assert np.array_equal(first.density, second.density)
    assert first.residual() == second.residual()
    assert source.calls <= TRIED
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["march.npz"]


def test_two_grids_have_two_files(tmp_path):
    path = tmp_path / "march.npz"
    asked = {"scheme": L1(), "space": Richardson(cells=27), "checkpoint": path}
    found = solve(problem(), UNIFORM, **asked)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "march.npz.coarse",
        "march.npz.fine",
    ]
    assert np.array_equal(solve(problem(), UNIFORM, **asked).density, found.density)


OTHERS = [
    ({"potential": lambda x: 1.001 * x**2 / 2}, {}, "the operator"),
    ({"reaction": lambda x: 1e-3 + 0 * x}, {}, "the operator"),
    ({"initial": Gaussian(mean=1.0, std=0.51)}, {}, "the initial state"),
    ({"alpha": 0.61}, {}, "alpha"),
    ({}, {"source": Stopping(strength=1.001)}, "the source"),
    ({}, {"grid": TimeGrid.graded(1.0, 200, 3.001)}, "the time grid"),
    ({}, {"scheme": L1(history=Direct(block=17))}, "the scheme"),
    ({}, {"scheme": L12()}, "the scheme"),
]


@pytest.mark.parametrize(("changes", "others", "word"), OTHERS)
def test_refuses_a_checkpoint_of_another_problem_with_the_reason(tmp_path, changes, others, word):
    scheme, grid = MARCHES[0]
    path = tmp_path / "march.npz"
    interrupted(scheme, grid, path)
    before = path.read_bytes()
    given = {"scheme": scheme, "grid": grid, "source": None} | others
    with pytest.raises(CheckpointError, match=f"of another problem: .*differs in {word}"):
        run(given["scheme"], given["grid"], path, given["source"], **changes)
    assert path.read_bytes() == before


def test_refuses_a_damaged_file_and_leaves_it(tmp_path):
    scheme, grid = MARCHES[0]
    path = tmp_path / "march.npz"
    interrupted(scheme, grid, path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    alone = io.BytesIO()
    np.save(alone, np.zeros(3))
    damaged = [b"", b"not an archive", whole[:middle], alone.getvalue()]
    flipped = bytearray(whole)
    flipped[middle] ^= 0xFF
    for content in (*damaged, bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"(cannot be read|another problem).*delete it"):
            run(scheme, grid, path)
        assert path.read_bytes() == content


def test_refuses_pickled_objects(tmp_path):
    path = tmp_path / "march.npz"
    np.savez(path, of_format=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CheckpointError, match="cannot be read"):
        run(*MARCHES[0], path)


def test_refuses_places_where_nothing_can_be_written(tmp_path):
    scheme, grid = MARCHES[0]
    with pytest.raises(CheckpointError, match="needs an existing folder"):
        run(scheme, grid, tmp_path / "none" / "march.npz")
    with pytest.raises(CheckpointError, match="is a folder; name a file in it"):
        run(scheme, grid, tmp_path)
    with pytest.raises(InputError, match="must be a path, got 3"):
        run(scheme, grid, 3)
    with pytest.raises(InputError, match="`checkpoint_interval` must lie in"):
        run(scheme, grid, tmp_path / "march.npz", interval=-1.0)


def test_refuses_a_folder_without_permission(tmp_path, monkeypatch):
    def denied(*args, **words):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(module.tempfile, "mkstemp", denied)
    source = Stopping(0)
    with pytest.raises(CheckpointError, match="Permission denied; choose a folder"):
        solve(
            replace(problem(), alpha=0.5),
            GRADED,
            scheme=L1(),
            space=SPACE,
            checkpoint=tmp_path / "march.npz",
        )
    assert source.calls == 0


@pytest.mark.parametrize(("scheme", "grid"), [MARCHES[0], MARCHES[3]])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("start", np.inf),
        ("start", np.nan),
        ("start", -16.0),
        ("start", 17.0),
        ("start", 1e9),
        ("states_kept", np.zeros(18)),
        ("states_kept", np.zeros((201, 18), dtype=np.complex128)),
        ("state", np.zeros(1)),
    ],
)
def test_refuses_arrays_of_no_march(tmp_path, scheme, grid, name, value):
    path = tmp_path / "march.npz"
    interrupted(scheme, grid, path)
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive.files}
    if name == "state" and "states" in arrays:
        name, value = "states", value[:, None]
    np.savez(path, **(arrays | {name: np.asarray(value)}))
    with pytest.raises(CheckpointError, match="damaged"):
        run(scheme, grid, path)


def test_refusal_of_junk_advises_nobody_to_unpickle(tmp_path):
    scheme, grid = MARCHES[0]
    path, objects = tmp_path / "march.npz", io.BytesIO()
    np.savez(objects, of_format=np.array([{}], dtype=object))
    for content, reason in (
        (b"junk", "no NumPy archive"),
        (b"\x80\x04N.", "no NumPy archive"),
        (objects.getvalue(), "Python objects"),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{reason}.*delete it to start again") as refused:
            run(scheme, grid, path)
        assert "pickle" not in str(refused.value)
        assert refused.value.__cause__ is None or "pickle" not in str(refused.value.__cause__)


@pytest.mark.parametrize("where", ["savez", "fsync", "replace"])
def test_a_full_disk_loses_no_checkpoint(tmp_path, monkeypatch, where):
    scheme, grid = MARCHES[0]
    path = tmp_path / "march.npz"
    interrupted(scheme, grid, path)
    before = path.read_bytes()

    def full(*args, **words):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if where == "savez":
            patch.setattr(module.np, "savez", full)
        elif where == "fsync":
            patch.setattr(os, "fsync", full)
        else:
            patch.setattr(module.Path, "replace", full)
        with pytest.raises(CheckpointWriteError, match=r"No space left.*the last one is unchanged"):
            run(scheme, grid, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["march.npz"]
    whole = solve(problem(), grid, scheme=scheme, space=SPACE)
    assert np.array_equal(run(scheme, grid, path).density, whole.density)


def test_an_interrupt_is_raised_even_where_it_cannot_be_saved(tmp_path, monkeypatch):
    def full(*args, **words):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.np, "savez", full)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(*MARCHES[0], tmp_path / "march.npz", Stopping(TRIED + 112), interval=1e9)
    assert "No space left" in caught.value.__notes__[0]


def test_refuses_a_checkpoint_where_nothing_goes_step_by_step(tmp_path):
    quiet = replace(problem(), base=replace(problem().base, source=None))
    with pytest.raises(UnsupportedError, match="such as L1"):
        solve(quiet, [1.0], space=SPACE, checkpoint=tmp_path / "march.npz")

"""Trajectories stored as runs: what is read back is what was stored, in every field."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

import fracsde as fs
from fracsde.errors import FileWriteError, InputError
from fracsde.networks import Network, run_sgd
from fracsde.recording import Projection, RunStatus, save_run
from fracsde.records import Trajectory

if TYPE_CHECKING:
    from pathlib import Path


def same(one: Trajectory, other: Trajectory) -> None:
    assert one.values.tobytes() == other.values.tobytes()
    assert one.times.tobytes() == other.times.tobytes()
    assert one.names == other.names
    assert one.provenance == other.provenance


@pytest.mark.parametrize(
    "times",
    [[0, 1, 2, 3, 4], [3, 10, 11, 500, 2**40], [0.0, 0.1, 0.2, 0.35, 9.0], [-2, -1, 0, 1, 2]],
)
@pytest.mark.parametrize("names", [(), ("x", "y")])
def test_the_trajectory_that_is_read_is_the_one_that_was_stored(tmp_path, times, names, seed):
    values = np.random.default_rng(seed).normal(size=(3, 5, 2))
    given = Trajectory(values=values, times=times, names=names)
    run = save_run(tmp_path / "run", given, chains=[4, 0, 7], metadata={"note": "n"})
    assert run.status is RunStatus.CLOSED
    assert run.verify() == 15
    assert run.metadata == {"note": "n"}
    back = run.trajectory(chains=[4, 0, 7])
    assert back.values.tobytes() == given.values.tobytes()
    assert back.times.tobytes() == given.times.tobytes()
    assert back.names == names
    np.testing.assert_array_equal(run.trajectory(chains=[7], every=2).times, given.times[::2])


def test_a_compiled_run_is_stored_with_its_directions_and_read_with_its_provenance(tmp_path):
    rng = np.random.default_rng(0)
    net = Network(
        inputs=rng.normal(size=(20, 3)), targets=rng.normal(size=(20, 1)), hidden=(2,),
        objective="squared_error",
    )  # fmt: skip
    directions = np.linalg.qr(rng.normal(size=(net.parameters, 2)))[0]
    done = run_sgd(
        net, net.initial_parameters(rng), learning_rate=0.05, batch_size=4, steps=40, seed=1,
        replicas=3, directions=directions, project_every=5,
    )  # fmt: skip
    assert done.projections is not None
    run = save_run(
        tmp_path / "run",
        done.projections,
        observe=Projection(directions),
        parameters=net.parameters,
        chains=done.chains,
        streams={"loss": np.ones((3, 9)), "pair": np.zeros((3, 9, 2))},
    )
    same(run.trajectory(), done.projections)
    assert run.steps(0).tolist() == list(range(0, 45, 5))
    np.testing.assert_array_equal(run.observation.directions, directions)
    assert (run.parameters, run.observation.kind) == (net.parameters, "projection")
    assert run.trajectory("pair").values.shape == (3, 9, 2)


def test_rows_longer_than_a_block_and_blocks_of_many_rows_are_whole(tmp_path, monkeypatch, seed):
    from fracsde.recording import saving

    monkeypatch.setattr(saving, "_BLOCK_BYTES", 1000)
    for width, draws in ((1, 200), (700, 3)):
        values = np.random.default_rng(seed).normal(size=(2, draws, width))
        given = Trajectory(values=values, times=np.arange(draws))
        run = save_run(tmp_path / str(width), given)
        assert run.verify() == 2 * draws
        assert run.trajectory().values.tobytes() == given.values.tobytes()


def test_single_precision_halves_the_run_and_rounds(tmp_path) -> None:
    given = Trajectory(values=np.random.default_rng(0).normal(size=(1, 4, 6)), times=range(4))
    run = save_run(tmp_path / "run", given, dtype="float32")
    np.testing.assert_array_equal(run.trajectory().values, given.values.astype("float32"))


GIVEN = Trajectory(values=np.zeros((2, 3, 2)), times=[0, 1, 2])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"chains": [0]}, "2 different numbers"),
        ({"chains": [1, 1]}, "2 different numbers"),
        ({"chains": [-1, 0]}, "chains"),
        ({"dtype": "float16"}, "dtype"),
        ({"parameters": 5}, "has 2 coordinates, and `observe` keeps 5"),
        ({"observe": Projection(np.eye(5)[:, :3]), "parameters": 5}, "`observe` keeps 3"),
        ({"observe": Projection(np.eye(5)[:, :2])}, r"shape \(2, k\)"),
        ({"streams": {"loss": np.zeros((2, 4))}}, r"must have shape \(2, 3\)"),
        ({"streams": {"loss": np.full((2, 3), "a")}}, "real numbers"),
        ({"streams": {"weights": np.zeros((2, 3))}}, "always there"),
        ({"metadata": {"f": open}}, "is of type"),
    ],
)
def test_refuses_what_does_not_fit_and_leaves_nothing(tmp_path, options, words: str) -> None:
    with pytest.raises(InputError, match=words):
        save_run(tmp_path / "run", GIVEN, **options)
    assert os.listdir(tmp_path) == []


def test_a_stream_of_times_cannot_be_given_twice(tmp_path) -> None:
    given = Trajectory(values=np.zeros((1, 2, 1)), times=[0.0, 0.5])
    with pytest.raises(InputError, match="another name than 'time'"):
        save_run(tmp_path / "run", given, streams={"time": np.zeros((1, 2))})


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    before = save_run(tmp_path / "run", GIVEN).content_hash()
    with pytest.raises(FileWriteError, match="nothing is overwritten"):
        save_run(tmp_path / "run", GIVEN)
    assert fs.open_run(tmp_path / "run").content_hash() == before


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    def full(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(FileWriteError, match="No space left"):
        save_run(tmp_path / "run", GIVEN)
    assert os.listdir(tmp_path) == []

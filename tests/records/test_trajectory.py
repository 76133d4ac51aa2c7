"""Trajectories: shapes, finiteness and selection."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

from fracsde.errors import BackendUnavailable, GridError, RecordError, ShapeError
from fracsde.records import Trajectory


@pytest.fixture
def values(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(3, 5, 2))


def test_keeps_the_values_without_a_copy_and_leaves_the_callers_handle_writable(values) -> None:
    run = Trajectory(values=values, times=np.arange(5))
    assert np.shares_memory(run.values, values)
    assert values.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        run.values[0, 0, 0] = 1.0


def test_two_axes_are_one_chain(values) -> None:
    assert Trajectory(values=values[0], times=np.arange(5)).chains == 1


def test_projection_is_the_matrix_product(values) -> None:
    run = Trajectory(values=values, times=np.arange(5)).project([[1.0], [2.0]], names=["u"])
    np.testing.assert_array_equal(run.values[..., 0], values @ [1.0, 2.0])
    assert run.names == ("u",)


def test_between_selects_by_time(values) -> None:
    run = Trajectory(values=values, times=[0, 1, 2, 4, 8])
    assert run.between(1, 4).times.tolist() == [1, 2, 4]
    with pytest.raises(RecordError, match="runs from 0 to 8"):
        run.between(9)


def test_spacing_needs_equal_steps(values) -> None:
    assert Trajectory(values=values, times=[0, 2, 4, 6, 8]).spacing == 2.0
    with pytest.raises(RecordError, match="equally spaced"):
        _ = Trajectory(values=values, times=[0, 1, 2, 4, 8]).spacing


def test_refuses_a_diverged_run_and_says_where(values) -> None:
    values[1, 3:] = np.nan
    with pytest.raises(RecordError, match="chain 1 is NaN or infinite at time 30, and 1 of 3"):
        Trajectory(values=values, times=[0, 10, 20, 30, 40])


def test_accepts_huge_finite_values() -> None:
    run = Trajectory(values=np.full((1, 4, 1), 1e308), times=np.arange(4))
    assert run.draws == 4


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"values": np.zeros(3), "times": [0, 1, 2]}, ShapeError, "chain, draw, coordinate"),
        ({"values": np.zeros((1, 3, 1)), "times": [0, 1]}, ShapeError, r"shape \(3\), got \(2,\)"),
        ({"values": np.zeros((1, 3, 1)), "times": [0, 2, 2]}, GridError, "entries 1 and 2"),
        (
            {"values": np.zeros((1, 3, 2)), "times": [0, 1, 2], "names": ["a"]},
            ShapeError,
            "2 names, one per coordinate, got 1",
        ),
    ],
)
def test_refuses_axes_that_do_not_fit(arguments, error, words) -> None:
    with pytest.raises(error, match=words):
        Trajectory(**arguments)


def test_to_arviz_names_what_to_install(values, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_arviz(name, *args, **kwargs):
        if name == "arviz":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_arviz)
    with pytest.raises(BackendUnavailable, match="pip install arviz"):
        Trajectory(values=values, times=np.arange(5)).to_arviz()


@pytest.mark.parametrize("wrong", [1j * np.ones((2, 3, 1)), [[["a"]]]])
def test_refuses_values_that_are_not_real_numbers(wrong) -> None:
    with pytest.raises(RecordError, match="must be real numbers"):
        Trajectory(values=wrong, times=np.arange(np.shape(wrong)[1]))


@pytest.mark.parametrize("shape", [(0, 3, 1), (2, 0, 1), (2, 3, 0)])
def test_refuses_an_empty_run(shape) -> None:
    with pytest.raises(ShapeError, match="at least one chain, draw and coordinate"):
        Trajectory(values=np.zeros(shape), times=np.arange(shape[1]))

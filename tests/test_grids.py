"""Grids in time and space."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fracsde.errors import GridError, InputError, OutOfRangeError
from fracsde.grids import SpaceGrid, TimeGrid


@given(st.floats(1e-3, 1e3), st.integers(1, 200), st.floats(1, 6))
def test_graded_grid_starts_at_zero_ends_at_its_time_and_increases(
    T: float, n: int, r: float
) -> None:
    grid = TimeGrid.graded(T, n, r)
    assert len(grid) == n + 1
    assert grid.times[0] == 0.0
    assert grid.times[-1] == T
    assert np.all(grid.steps > 0)


def test_uniform_is_graded_with_exponent_one() -> None:
    assert np.array_equal(TimeGrid.uniform(2.0, 7).times, TimeGrid.graded(2.0, 7, 1.0).times)


def test_geometric_nodes_have_a_constant_ratio() -> None:
    times = TimeGrid.geometric(1e-3, 1.0, 7).times
    assert times[1] == 1e-3
    assert times[-1] == 1.0
    np.testing.assert_allclose(times[2:] / times[1:-1], 10**0.5, rtol=1e-14)


def test_from_times_adds_the_start_once() -> None:
    assert np.array_equal(TimeGrid.from_times([1, 2]).times, TimeGrid.from_times([0, 1, 2]).times)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: TimeGrid.from_times([0.0, 1.0, 1.0]), GridError, "entries 1 and 2 are 1 and 1"),
        (lambda: TimeGrid.from_times([2.0, 1.0]), GridError, "must increase"),
        (lambda: TimeGrid.from_times([-1.0, 1.0]), GridError, "the first is -1"),
        (lambda: TimeGrid.from_times([]), GridError, "the first is none"),
        (lambda: TimeGrid.from_times([0.0]), GridError, "at least two"),
        (lambda: TimeGrid(times=[1.0, 2.0]), GridError, "start at 0"),
        (lambda: TimeGrid.uniform(-1.0, 3), OutOfRangeError, "got -1"),
        (lambda: TimeGrid.uniform(1.0, 0), OutOfRangeError, "at least 1"),
        (lambda: TimeGrid.graded(1.0, 4, 0.5), OutOfRangeError, r"\[1, inf\)"),
        (lambda: TimeGrid.graded(1.0, 100, 200.0), GridError, "use a smaller r"),
        (lambda: TimeGrid.geometric(2.0, 1.0, 4), OutOfRangeError, "before the final time"),
        (lambda: SpaceGrid.uniform((1.0, 0.0), 8), GridError, "a < b"),
        (lambda: SpaceGrid.uniform((0.0, 1.0), 2), OutOfRangeError, "at least 3"),
        (lambda: SpaceGrid.uniform((0.0, np.inf), 8), InputError, "finite interval"),
        (lambda: SpaceGrid(edges=([0, 1, 1, 2],)), GridError, "strictly increasing"),
    ],
)
def test_refuses_grids_that_do_not_increase(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()


def test_widths_of_cells_add_up_to_the_interval() -> None:
    grid = SpaceGrid.uniform((-2.0, 3.0), 10)
    assert grid.dimension == 1
    assert grid.shape == (10,)
    np.testing.assert_allclose(grid.widths[0].sum(), 5.0, rtol=1e-15)


@pytest.mark.parametrize("edges", [None, 5, ()])
def test_refuses_a_space_grid_without_edges(edges) -> None:
    with pytest.raises(InputError, match=r"for one coordinate write edges=\(x,\)"):
        SpaceGrid(edges=edges)


def test_message_counts_the_times_that_were_passed() -> None:
    with pytest.raises(GridError, match="entries 0 and 1 are 2 and 1"):
        TimeGrid.from_times([2.0, 1.0])

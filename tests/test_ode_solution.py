"""FractionalODESolution: what it draws and exports, and what its provenance distinguishes."""

import numpy as np
import pytest
from scipy.sparse import csc_array

from fracsde import L1, FractionalODE, TimeGrid, cite, solve
from tests.support.fractional_odes import brusselator


@pytest.fixture(scope="module")
def solution():
    return solve(brusselator(), [0.5, 1.0])


def test_draws_the_components_asked_for(solution):
    pytest.importorskip("matplotlib").use("Agg")
    assert len(solution.plot().lines) == 2
    drawn = solution.plot(components=[1]).lines
    assert np.array_equal(drawn[0].get_ydata(), solution.values[:, 1])


def test_exports_times_and_components(solution):
    pytest.importorskip("xarray")
    array = solution.to_xarray()
    assert array.dims == ("time", "component")
    assert np.array_equal(array.values, solution.values)


def test_estimate_is_the_largest_error(solution):
    assert solution.errors.shape == (2, 2)
    assert solution.error_estimate == solution.errors.max()


def test_provenance_tells_sparse_matrices_apart():
    def hashed(entry):
        matrix = csc_array(np.diag([-1.0, entry]))
        problem = FractionalODE(linear=matrix, initial=[1.0, 1.0], alpha=0.5)
        return solve(problem, TimeGrid.uniform(1.0, 2), scheme=L1()).provenance.input_hash

    assert hashed(-2.0) == hashed(-2.0) != hashed(-3.0)


def test_cites_problem_and_scheme(solution):
    text = cite(solution)
    assert "Diethelm" in text
    assert "Hairer" in text

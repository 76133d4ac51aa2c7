"""Collocated chains: elimination against one dense matrix, and what it keeps."""

import numpy as np
import pytest

from fracsde.backends import collocation_numba, collocation_reference
from fracsde.schemes.collocation_tables import fractional_integrals, radau_nodes


def case(nodes, cells, stiff=1.0, alpha=0.6, seed=0):
    rng = np.random.default_rng(seed)
    right, left = (stiff * rng.uniform(0.1, 3.0, (nodes, cells)) for _ in range(2))
    loss = stiff * rng.uniform(0.0, 0.1, (nodes, cells))
    right[:, -1] = left[:, 0] = 0.0
    c = radau_nodes(nodes)
    inverse = np.linalg.inv(fractional_integrals(c, c, alpha=alpha))
    return inverse, right, left, loss, rng.standard_normal((nodes, cells))


@pytest.mark.parametrize("nodes", [1, 2, 5, 8])
@pytest.mark.parametrize("cells", [1, 2, 3, 17])
def test_engine_elimination_of_blocks_is_the_dense_solution(nodes, cells):
    given = case(nodes, cells)
    kept = [a.copy() for a in given]
    exact = collocation_reference.solve_coupled(*given)
    found = collocation_numba.solve_coupled(*given)
    assert np.abs(found - exact).max() <= 1e-13 * np.abs(exact).max()
    assert all(np.array_equal(a, b) for a, b in zip(given, kept, strict=True))
    if cells > 2:
        wrong = collocation_numba.solve_coupled(given[0], given[2], *given[2:])  # twin
        assert np.abs(wrong - exact).max() > 1e-3 * np.abs(exact).max()


@pytest.mark.parametrize("cells", [1, 2, 3, 17])
def test_engine_complex_shifts_are_the_dense_solutions(cells):
    inverse, right, left, loss, _ = case(5, cells)
    rng = np.random.default_rng(1)
    shifts = np.linalg.eigvals(inverse)
    rhs = rng.standard_normal((5, cells)) + 1j * rng.standard_normal((5, cells))
    given = shifts, right[0], left[0], loss[0], rhs
    exact = collocation_reference.solve_uncoupled(*given)
    found = collocation_numba.solve_uncoupled(*given)
    assert np.abs(found - exact).max() <= 1e-13 * np.abs(exact).max()


@pytest.mark.parametrize("stiff", [1.0, 1e6, 1e12])
def test_keeps_mass_however_stiff(stiff):
    inverse, right, left, _, rhs = case(8, 40, stiff)
    x = collocation_numba.solve_coupled(inverse, right, left, np.zeros_like(right), rhs)
    gap = inverse @ x.sum(axis=1) - rhs.sum(axis=1)
    size = np.abs(inverse) @ np.abs(x).sum(axis=1) + np.abs(rhs).sum(axis=1)
    assert np.abs(gap / size).max() < 1e-14
    if stiff == 1e12:  # twin: a solution of the dense matrix loses it
        x = collocation_reference.solve_coupled(inverse, right, left, np.zeros_like(right), rhs)
        assert np.abs((inverse @ x.sum(axis=1) - rhs.sum(axis=1)) / size).max() > 1e-12


def test_exact_flows_are_the_matrix_and_add_up_to_what_is_lost():
    _, right, left, loss, x = case(3, 9)
    found = collocation_reference.flows(right, left, loss, x)
    for k in range(3):
        L = collocation_reference.chain_matrix(right[k], left[k], loss[k])
        assert np.abs(L @ x[k] - found[k]).max() < 1e-14 * np.abs(L).max() * 9
    assert np.abs(found.sum(axis=1) + (loss * x).sum(axis=1)).max() < 1e-14

"""Graphs and walks on them: closed forms of lattices and the gasket, exact laws against paths."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse, special

from fracsde.errors import InputError, OutOfRangeError, ShapeError
from fracsde.estimators import (
    SiteGraph,
    exact_walk,
    lattice_graph,
    mean_square_displacement,
    random_walks,
    sierpinski_gasket,
    walk_positions,
)
from tests.support.laws import follows


@pytest.mark.parametrize("shape", [(7,), (4, 5), (3, 4, 5)])
@pytest.mark.parametrize("periodic", [True, False])
def test_exact_lattices_join_neighbours(shape, periodic):
    graph = lattice_graph(shape, periodic=periodic)
    d = len(shape)
    gaps = graph.displacements(graph.positions[:, None] - graph.positions[None])
    near = np.abs(gaps).sum(axis=2) == 1.0
    np.testing.assert_array_equal(graph.adjacency.toarray(), near)
    assert graph.sites == np.prod(shape)
    if periodic:
        assert np.all(graph.degrees == 2 * d)
    else:
        edges = sum((n - 1) * np.prod(shape) // n for n in shape)
        assert graph.degrees.sum() == 2 * edges


@pytest.mark.parametrize("level", [0, 1, 2, 5])
def test_exact_gasket_has_its_counts(level):
    graph = sierpinski_gasket(level)
    assert graph.sites == 3 * (3**level + 1) // 2
    assert graph.adjacency.nnz == 2 * 3 * 3**level
    corners = graph.degrees == 2
    assert corners.sum() == 3
    assert corners[0]
    assert np.all(graph.degrees[~corners] == 4)
    row, column = graph.adjacency.nonzero()
    sides = np.linalg.norm(graph.positions[row] - graph.positions[column], axis=1)
    np.testing.assert_allclose(sides, 1.0, rtol=1e-12)
    far = np.linalg.norm(graph.positions[corners] - graph.positions[0], axis=1)
    np.testing.assert_allclose(np.sort(far), [0.0, 2.0**level, 2.0**level], rtol=1e-12)


def test_exact_returns_on_the_line_are_binomial():
    walk = exact_walk(lattice_graph((101,)), 80)
    n = np.arange(41)
    expected = special.binom(2 * n, n) / 4.0**n
    np.testing.assert_allclose(walk.return_probability[::2], expected, rtol=1e-13)
    assert np.all(walk.return_probability[1::2] == 0.0)
    np.testing.assert_allclose(walk.mean_square[:40], np.arange(40.0), rtol=1e-13, atol=1e-13)


def test_exact_returns_in_the_plane_are_squares_of_those_on_the_line():
    plane = exact_walk(lattice_graph((31, 31)), 26).return_probability
    line = exact_walk(lattice_graph((101,)), 26).return_probability
    np.testing.assert_allclose(plane, line**2, atol=1e-15)


def test_exact_law_without_positions_counts_steps_of_the_shortest_path():
    ring = lattice_graph((30,))
    bare = exact_walk(SiteGraph(adjacency=ring.adjacency), 10)
    np.testing.assert_allclose(bare.mean_square, exact_walk(ring, 10).mean_square, rtol=1e-13)


def _weighted(rng):
    half = sparse.random_array((12, 12), density=0.4, rng=rng)
    ring = lattice_graph((12,)).adjacency
    return SiteGraph(adjacency=half + half.T + 0.1 * ring)


@pytest.mark.parametrize("graph", ["gasket", "weighted"])
def test_law_recorded_walks_follow_the_exact_law(graph, seed):
    rng = np.random.default_rng(seed)
    medium = sierpinski_gasket(4) if graph == "gasket" else _weighted(rng)
    walks = random_walks(medium, 6000, 12, rng=rng, site=3)
    exact = exact_walk(medium, 12, site=3).return_probability
    found = (walks == 3).mean(axis=0)
    assert follows(found, exact, np.sqrt(exact * (1 - exact) / 6000) + 1e-300)
    steps = medium.adjacency[walks[:, :-1].ravel(), walks[:, 1:].ravel()]
    assert np.all(np.asarray(steps) > 0)


@pytest.mark.twin
def test_law_walks_that_ignore_weights_are_rejected(seed):
    rng = np.random.default_rng(seed)
    medium = _weighted(rng)
    plain = SiteGraph(adjacency=medium.adjacency > 0)
    walks = random_walks(plain, 6000, 12, rng=rng, site=3)
    exact = exact_walk(medium, 12, site=3).return_probability
    error = np.sqrt(exact * (1 - exact) / 6000) + 1e-300
    assert not follows((walks == 3).mean(axis=0), exact, error)


def test_law_positions_follow_a_walk_around_a_periodic_axis(seed):
    graph = lattice_graph((5, 6))
    walks = random_walks(graph, 2000, 300, rng=np.random.default_rng(seed))
    run = walk_positions(graph, walks)
    assert np.all(np.abs(np.diff(run.values, axis=1)).sum(axis=2) == 1.0)
    moved = mean_square_displacement(run, [1, 50, 300])
    assert follows(moved.value[1:], [50.0, 300.0], moved.stderr[1:])
    assert moved.value[0] == 1.0


def test_keeps_the_adjacency_and_repeats_from_a_seed():
    matrix = sparse.csr_array(np.array([[0.0, 1.0], [1.0, 0.0]]))
    before = matrix.toarray()
    graph = SiteGraph(adjacency=matrix)
    exact_walk(graph, 5)
    np.testing.assert_array_equal(matrix.toarray(), before)
    a, b = (random_walks(graph, 3, 9, rng=7) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_refuses_what_is_no_graph():
    with pytest.raises(ShapeError, match="square matrix"):
        SiteGraph(adjacency=np.ones((2, 3)))
    with pytest.raises(InputError, match=r"pass `A \+ A\.T`"):
        SiteGraph(adjacency=[[0.0, 1.0], [0.0, 0.0]])
    with pytest.raises(InputError, match="site 1 of `adjacency` has no neighbour"):
        SiteGraph(adjacency=np.diag([1.0, 0.0]))
    with pytest.raises(InputError, match="not negative"):
        SiteGraph(adjacency=[[0.0, -1.0], [-1.0, 0.0]])
    with pytest.raises(InputError, match="not negative"):
        SiteGraph(adjacency=[[0.0, np.nan], [np.nan, 0.0]])
    with pytest.raises(InputError, match="give both"):
        SiteGraph(adjacency=[[0.0, 1.0], [1.0, 0.0]], period=[2.0])
    with pytest.raises(InputError, match="`shape` must name between 1 and"):
        lattice_graph((10**4, 10**4))
    with pytest.raises(InputError, match="`shape` must name between 1 and"):
        lattice_graph(())
    with pytest.raises(OutOfRangeError, match="`shape`"):
        lattice_graph((2,))
    with pytest.raises(OutOfRangeError, match="`level`"):
        sierpinski_gasket(15)


def test_refuses_walks_off_the_graph():
    ring = lattice_graph((5,))
    for bad in (np.zeros(4, dtype=int), np.zeros((2, 4)), np.full((2, 4), 5), np.full((2, 4), -1)):
        with pytest.raises(InputError, match="`walks` must"):
            walk_positions(ring, bad)
    with pytest.raises(InputError, match="has no positions"):
        walk_positions(SiteGraph(adjacency=ring.adjacency), np.zeros((2, 4), dtype=int))
    with pytest.raises(OutOfRangeError, match="`site`"):
        exact_walk(ring, 3, site=5)

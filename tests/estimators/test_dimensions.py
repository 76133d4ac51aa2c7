"""Dimensions of lattices and of the Sierpinski gasket, each by its own definition."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.errors import InputError, RecordError, ShapeError
from fracsde.estimators import (
    alexander_orbach,
    counting_dimension,
    exact_walk,
    lattice_graph,
    mass_dimension,
    mean_square_displacement,
    random_walks,
    range_dimension,
    return_dimension,
    sierpinski_gasket,
    visited_sites,
    walk_dimension,
    walk_positions,
)
from tests.support.laws import follows

D_F, D_W = np.log(3) / np.log(2), np.log(5) / np.log(2)
D_S = 2 * D_F / D_W
LATTICES = {1: ((801,), 3000, 100), 2: ((121, 121), 700, 40), 3: ((45, 45, 45), 120, 20)}
GASKET = (25.0, 3125.0)  # three factors of 5, long before the far side is reached


@pytest.fixture(scope="module")
def lattices():
    return {
        d: (lattice_graph(shape), exact_walk(lattice_graph(shape), steps + 1), (first, steps))
        for d, (shape, steps, first) in LATTICES.items()
    }


@pytest.fixture(scope="module")
def gasket():
    graph = sierpinski_gasket(8)
    return graph, exact_walk(graph, 3200)


@pytest.mark.parametrize("d", LATTICES)
def test_exact_walks_on_lattices_have_dimension_two(d, lattices):
    _, walk, window = lattices[d]
    found = walk_dimension(walk, window)
    assert abs(found.value[0] - 2.0) < 4e-3
    assert found.sampling == 0.0


@pytest.mark.parametrize("d", LATTICES)
def test_returns_on_lattices_have_the_lattices_dimension(d, lattices):
    _, walk, window = lattices[d]
    found = return_dimension(walk, window)
    # P(t) t^(d/2) is constant up to d / 4t, whose slope over the window is below d / 4 first.
    assert abs(found.value[0] - d) < d / (2 * window[0])
    assert abs(found.value[0] - d) < 3 * found.stderr[0]


@pytest.mark.parametrize("d", LATTICES)
def test_mass_of_lattices_has_their_dimension(d, lattices):
    graph, *_ = lattices[d]
    # In space V = 2 s (2 s^2 + 5/2) / 3 with s = r + 1/2: 0.4 % above the power at these radii.
    found = mass_dimension(graph, (10.5, 21.0))
    assert abs(found.value[0] - d) < 0.01 * d


@pytest.mark.parametrize("d", [1, 2, 3])
def test_eigenvalues_of_lattices_count_their_dimension(d):
    n = {1: 4000, 2: 300, 3: 60}[d]
    wave = 1 - np.cos(2 * np.pi * np.arange(n) / n)
    total = wave
    for _ in range(d - 1):
        total = np.add.outer(total, wave).ravel()
    found = counting_dimension(total / d, {1: (1e-3, 0.1), 2: (0.01, 0.2), 3: (0.06, 0.3)}[d])
    assert abs(found.value[0] - d) < 0.06 * d
    assert abs(found.value[0] - d) < 3 * found.stderr[0]


def test_routes_agree_between_graph_and_its_eigenvalues():
    n = 200
    wave = 1 - np.cos(2 * np.pi * np.arange(n) / n)
    by_graph = counting_dimension(lattice_graph((n,)), (0.011, 0.4))
    np.testing.assert_allclose(by_graph.value, counting_dimension(wave, (0.011, 0.4)).value)


def test_gasket_walk_dimension(gasket):
    found = walk_dimension(gasket[1], GASKET, period=5)
    assert abs(found.value[0] - D_W) < 0.004
    assert abs(found.value[0] - D_W) < 3 * found.stderr[0]


def test_gasket_return_dimension(gasket):
    found = return_dimension(gasket[1], GASKET, period=5)
    assert abs(found.value[0] - D_S) < 0.004
    assert abs(found.value[0] - D_S) < 3 * found.stderr[0]


def test_gasket_mass_dimension(gasket):
    # Balls around all sites must stay small against the whole, whose edge they would meet.
    found = mass_dimension(gasket[0], (4, 64), sites=range(0, gasket[0].sites, 200))
    corner = mass_dimension(gasket[0], (4, 128))
    for each in (found, corner):
        assert abs(each.value[0] - D_F) < 0.03
        assert abs(each.value[0] - D_F) < 3 * each.stderr[0]


def test_gasket_counting_dimension():
    found = counting_dimension(sierpinski_gasket(6), (2e-4, 1.0), period=5)
    assert abs(found.value[0] - D_S) < 0.04


def test_gasket_obeys_alexander_and_orbach(gasket):
    graph, walk = gasket
    mass, walked = mass_dimension(graph, (4, 128)), walk_dimension(walk, GASKET, period=5)
    implied = alexander_orbach(mass, walked)
    returned = return_dimension(walk, GASKET, period=5)
    assert implied.quantity.name != returned.quantity.name
    gap = abs(implied.value[0] - returned.value[0])
    assert gap < 3 * np.hypot(implied.stderr[0], returned.stderr[0])
    assert abs(implied.value[0] - D_S) < 0.02


@pytest.mark.twin
def test_gasket_rejects_the_dimensions_of_the_plane(gasket):
    graph, walk = gasket
    assert not abs(walk_dimension(walk, GASKET, period=5).value[0] - 2.0) < 0.1
    assert not abs(return_dimension(walk, GASKET, period=5).value[0] - 2.0) < 0.1
    assert not abs(mass_dimension(graph, (4, 128)).value[0] - 2.0) < 0.1


@pytest.mark.twin
def test_gasket_oscillates_unless_slopes_span_its_period(gasket):
    in_step = walk_dimension(gasket[1], GASKET, period=5)
    out_of_step = walk_dimension(gasket[1], GASKET, period=2)
    assert out_of_step.systematic > 4 * in_step.systematic


@pytest.fixture(scope="module")
def paths():
    graph = sierpinski_gasket(8)
    return graph, random_walks(graph, 800, 3200, rng=11)


def test_law_recorded_walks_on_the_gasket_have_its_dimensions(paths):
    graph, walks = paths
    moved = mean_square_displacement(walk_positions(graph, walks))
    found = walk_dimension(moved, GASKET, period=5)
    assert found.sampling > 0.0
    assert follows(found.value[0], D_W, found.sampling)
    returned = return_dimension(walks, (5.0, 500.0), period=5)
    assert follows(returned.value[0], D_S, returned.sampling)


def test_law_recorded_and_exact_walks_agree(paths):
    graph, walks = paths
    exact = exact_walk(graph, 1000)
    moved = mean_square_displacement(walk_positions(graph, walks[:, :1001]))
    assert follows(moved.value[99], exact.mean_square[100], moved.stderr[99])


def test_range_dimension_of_the_gasket_lies_below_its_limit(paths):
    # Distinct sites reach their power slowly: 1.33 at these times, the notes measured 1.34.
    found = range_dimension(paths[1], GASKET, period=5)
    assert D_S - 0.08 < found.value[0] < D_S + 3 * found.stderr[0]


def test_range_dimension_of_the_line_and_beyond_two(seed):
    rng = np.random.default_rng(seed)
    line = range_dimension(random_walks(lattice_graph((999,)), 400, 2000, rng=rng), (100, 2000))
    assert abs(line.value[0] - 1.0) < 0.03 + 3 * line.stderr[0]
    # In space S(t) = 0.66 t + O(sqrt t): the dimension cannot pass 2, and comes near it slowly.
    space = random_walks(lattice_graph((61, 61, 61)), 100, 1000, rng=rng)
    assert 1.9 < range_dimension(space, (100, 1000)).value[0] < 2.0


def test_exact_visited_sites_are_the_sizes_of_sets(seed):
    walks = random_walks(lattice_graph((4, 4)), 5, 40, rng=np.random.default_rng(seed))
    expected = [[len(set(path[: t + 1])) for t in range(41)] for path in walks.tolist()]
    np.testing.assert_array_equal(visited_sites(walks), expected)


def test_refuses_windows_without_a_period_and_few_walkers(gasket):
    walk = gasket[1]
    with pytest.raises(RecordError, match="span a period of 5"):
        walk_dimension(walk, (100, 400), period=5)
    with pytest.raises(RecordError, match="must lie within the record"):
        walk_dimension(walk, (100, 4000))
    with pytest.raises(RecordError, match="`window` must be times"):
        walk_dimension(walk, (0, 400))
    with pytest.raises(RecordError, match="at least 8 of them, got 3"):
        range_dimension(random_walks(gasket[0], 3, 50, rng=1), (2, 50))
    with pytest.raises(RecordError, match="zero in the window"):
        return_dimension(np.tile(np.arange(40), (9, 1)), (2, 30))
    with pytest.raises(RecordError, match="at least 3 steps"):
        return_dimension(np.zeros((9, 3), dtype=int), (2, 30))


def test_refuses_what_has_no_such_dimension(gasket):
    graph, walk = gasket
    with pytest.raises(InputError, match="must be an ExactWalk"):
        walk_dimension([1.0, 2.0], (1, 2))
    with pytest.raises(InputError, match="too large to diagonalise"):
        counting_dimension(graph, (0.1, 0.3))
    with pytest.raises(InputError, match="at least one centre"):
        mass_dimension(graph, (2, 8), sites=())
    with pytest.raises(InputError, match="`mass` must be a measured d_f, got 'd_w'"):
        alexander_orbach(walk_dimension(walk, GASKET), walk_dimension(walk, GASKET))
    apart = mean_square_displacement(np.zeros((9, 5, 2)), per_coordinate=True)
    with pytest.raises(ShapeError, match="per_coordinate"):
        walk_dimension(apart, (1, 4))

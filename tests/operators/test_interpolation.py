"""Between cell centres: second order up to the walls, walls and seams respected."""

import numpy as np
import pytest

from fracsde.operators.interpolation import between_cells
from fracsde.problems.fokker_planck import FokkerPlanck
from tests.support.orders import observed_order


def problem(boundary):
    return FokkerPlanck(
        diffusion=1.0, domain=(0.0, 1.0), initial=lambda x: 1 + 0 * x, boundary=boundary
    )


SHAPES = {
    "reflecting": lambda x: 1 + np.cos(np.pi * x) ** 2 * 0.5,
    "absorbing": lambda x: np.sin(np.pi * x),
    "periodic": lambda x: 1 + 0.5 * np.sin(2 * np.pi * x + 0.3),
}
X = np.linspace(0.0, 1.0, 999)


def gap(boundary, n, walls=None):
    edges = np.linspace(0.0, 1.0, n + 1)
    centres, widths = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
    density = SHAPES[boundary](centres)[None]
    found = between_cells(problem(walls or boundary), centres, widths, density, X)[0]
    return float(np.abs(found - SHAPES[boundary](X)).max())


@pytest.mark.parametrize("boundary", SHAPES)
def test_order_two_between_cells_up_to_the_walls(boundary):
    table = observed_order(lambda n: gap(boundary, n), (16, 32, 64, 128, 256), 2.0)
    assert table.agrees(), table


@pytest.mark.twin
@pytest.mark.parametrize("boundary", ["reflecting", "periodic"])
def test_order_two_rejects_the_wrong_kind_of_wall(boundary):
    sizes = (16, 32, 64, 128, 256)
    table = observed_order(lambda n: gap(boundary, n, walls="absorbing"), sizes, 2.0)
    assert not table.agrees(), table


def test_keeps_densities_from_becoming_negative():
    centres, widths = np.array([0.125, 0.375, 0.625, 0.875]), np.full(4, 0.25)
    steep = np.array([[0.0, 4.0, 4.0, 0.1]])
    assert between_cells(problem("reflecting"), centres, widths, steep, X).min() >= 0.0

"""Equations in Krylov and rational spaces: residuals, shifted systems, poles."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.lyapunov.krylov_space import Space
from fracsde.lyapunov.lowrank import poles, shifted_solves
from fracsde.lyapunov.response import response
from fracsde.problems.products import probed
from tests.support.large import LAWS, problem, turned


def silent(products: int, ratio: float) -> None:
    pass


def grown(law: str, steps: int, *, rank: int = 2) -> tuple[Space, np.ndarray, np.ndarray]:
    A, _ = turned(60, condition=100.0, seed=4)
    b = np.random.default_rng(5).normal(size=(60, rank))
    space = Space(probed("A", A), b, capacity=61, rhs=rank)
    for _ in range(steps):
        space.grow()
    return space, A, b


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("steps", [8, 25])
def test_residual_seen_in_the_space_is_the_residual(law: str, steps: int) -> None:
    act = response(problem(law))
    space, A, b = grown(law, steps)
    seen = space.see(act)
    V = space.vectors[: len(seen.core)].T
    R = act.apply(A, V @ seen.core @ V.T) - b @ b.T
    values = np.linalg.eigvalsh(R)
    scale = np.abs(values).max()
    assert seen.norm == pytest.approx(scale, rel=1e-9)
    assert seen.trace == pytest.approx(max(values[values > 0].sum(), -values[values < 0].sum()))


@pytest.mark.twin
def test_residual_misses_what_a_vector_less_would_hide() -> None:
    # Heavy ball needs the squares of the matrix: leading vectors alone see too small a residual.
    act = response(problem("heavy ball"))
    space, A, b = grown("heavy ball", 25)
    all_of_them = space.products
    assert space.leading(act) < all_of_them
    assert space.leading(response(problem("map"))) == all_of_them
    seen = space.see(act)
    V = space.vectors[: len(seen.core)].T
    R = act.apply(A, V @ seen.core @ V.T) - b @ b.T
    hidden = V.T @ R @ V
    assert np.linalg.norm(hidden, 2) < 0.9 * seen.norm


def test_vectors_are_orthonormal_to_rounding_and_close_the_space() -> None:
    space, _, b = grown("map", 0)
    while not space.closed:
        space.grow()
    V = space.vectors[: space.count]
    assert space.count == 60
    assert np.abs(V @ V.T - np.eye(60)).max() < 1e-13
    np.testing.assert_allclose(V.T @ space.rhs[:60], b, atol=1e-13)


def test_dependent_columns_are_left_out() -> None:
    A = np.diag(np.arange(1.0, 11.0))
    b = np.zeros((10, 3))
    b[2, 0], b[2, 1], b[5, 2] = 1.0, -3.0, 2.0
    space = Space(probed("A", A), b, capacity=11, rhs=3)
    while not space.closed:
        space.grow()
    assert space.count == 2
    np.testing.assert_allclose(space.vectors[:2].T @ space.rhs[:2], b, atol=1e-15)


@pytest.mark.parametrize("border", [np.inf, 1.02, 4.0])
@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_poles_lie_outside_the_spectrum(border: float, count: int) -> None:
    shifts = poles(1e-3, 1.0, border, count)
    assert len(shifts) == count
    assert np.all((shifts > 0.0) | (shifts < -border))


def test_poles_of_a_flow_are_those_of_wachspress() -> None:
    # One pole: the geometric mean.  Many: symmetric about it on a logarithmic scale.
    assert poles(0.01, 1.0, np.inf, 1)[0] == pytest.approx(0.1, rel=1e-12)
    shifts = np.sort(poles(1e-4, 1.0, np.inf, 8))
    np.testing.assert_allclose(shifts * shifts[::-1], 1e-4, rtol=1e-9)
    assert 1e-4 < shifts[0] < shifts[-1] < 1.0


def iteration_factor(shifts: np.ndarray) -> float:
    x = np.geomspace(1e-3, 1.0, 4001)[:, None]
    return float(np.abs(np.prod((x - shifts) / (x + shifts), axis=1)).max() ** 2)


def test_poles_reach_the_best_factor_of_the_iteration() -> None:
    # 4 exp(-pi^2 J / log(4 / k')) with k' = a / b, Wachspress.
    for count in (4, 8):
        best = 4.0 * np.exp(-(np.pi**2) * count / np.log(4.0 / 1e-3))
        assert iteration_factor(poles(1e-3, 1.0, np.inf, count)) == pytest.approx(best, rel=0.05)


@pytest.mark.twin
def test_poles_on_a_logarithmic_scale_miss_the_best_factor() -> None:
    even = 1e-3 ** ((np.arange(8) + 0.5) / 8)
    assert iteration_factor(even) > 1.5 * iteration_factor(poles(1e-3, 1.0, np.inf, 8))


def test_shifted_systems_are_solved_with_the_products_of_one() -> None:
    A, _ = turned(120, condition=1000.0, seed=6)
    b = np.random.default_rng(7).normal(size=120)
    shifts = np.array([-1.5, -1.02, 1e-3, 0.1, 3.0, 1000.0])
    made = []

    def product(x):
        made.append(1)
        return A @ x

    operator = probed("A", product, dimension=120)
    made.clear()
    X, count = shifted_solves(operator, b, shifts, 1e-10, silent)
    assert len(made) == count < 200
    for s, x in zip(shifts, X, strict=True):
        assert np.linalg.norm(A @ x + s * x - b) < 1e-9 * np.linalg.norm(b)


def test_shifted_systems_of_nothing_are_nothing() -> None:
    X, count = shifted_solves(probed("A", np.eye(4)), np.zeros(4), np.array([1.0]), 1e-8, silent)
    assert not X.any()
    assert count == 0

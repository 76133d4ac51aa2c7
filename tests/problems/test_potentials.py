"""Potentials: stationary points, forces, and use in a problem."""

import pickle

import numpy as np
import pytest

from fracsde.errors import ShapeError, UnsupportedError
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.problems.potentials import (
    Potential,
    degenerate,
    double_well,
    mueller_brown,
    quadratic,
    quartic,
    ring,
)
from fracsde.provenance import input_hash

# Published to three decimals; found here by Newton's method from there.
MINIMA = [(-0.558, 1.442, -146.700), (0.623, 0.028, -108.167), (-0.050, 0.467, -80.768)]
SADDLES = [(-0.822, 0.624, -40.665), (0.212, 0.293, -72.249)]


def polished(V, point):
    """The stationary point nearest to a point, by Newton's method."""
    point = np.array(point, dtype=float)
    for _ in range(20):
        H = V.hessian_at(*point)
        point = point - np.linalg.solve(H, np.array(V.gradient_at(*point)))
    return point


def is_published(V, row, minimum):
    point = polished(V, row[:2])
    eigenvalues = np.linalg.eigvalsh(V.hessian_at(*point))
    return (
        np.abs(point - row[:2]).max() < 6e-4
        and abs(float(V(*point)) - row[2]) < 6e-4
        and np.abs(V.force(*point)).max() < 1e-9
        and (eigenvalues[0] > 0) == minimum
        and eigenvalues[1] > 0
    )


@pytest.mark.parametrize("row", MINIMA)
def test_exact_minima_of_mueller_and_brown(row):
    assert is_published(mueller_brown(), row, True)


@pytest.mark.parametrize("row", SADDLES)
def test_exact_saddles_of_mueller_and_brown(row):
    assert is_published(mueller_brown(), row, False)


@pytest.mark.twin
def test_exact_points_of_mueller_and_brown_reject_one_changed_coefficient():
    damaged = mueller_brown().sympy.subs(11, 10.9)
    V = Potential(damaged, variables=("x", "y"))
    assert not all(is_published(V, row, True) for row in MINIMA)


def test_exact_scale_multiplies_the_surface():
    x, y = np.array([-0.5, 0.3]), np.array([1.4, 0.1])
    assert np.allclose(mueller_brown(scale=0.05)(x, y), 0.05 * mueller_brown()(x, y), rtol=1e-14)


def stationary(V, points, values):
    return all(
        np.abs(V.force(*p)).max() < 1e-12 and abs(float(V(*p)) - v) < 1e-12
        for p, v in zip(points, values, strict=True)
    )


def test_exact_stationary_points_of_the_others():
    assert stationary(
        double_well(barrier=2.5, half_distance=1.5), [(-1.5,), (1.5,), (0.0,)], [0, 0, 2.5]
    )
    assert stationary(quartic(strength=2.0, stiffness=-3.0), [(1.5**0.5,), (0.0,)], [-9 / 8, 0])
    circle = [(2 * np.cos(a), 2 * np.sin(a)) for a in (0.0, 0.7, 2.1)]
    assert stationary(ring(barrier=3.0, radius=2.0), [*circle, (0.0, 0.0)], [0, 0, 0, 3])
    assert stationary(degenerate(strength=4.0), [(0.0, 3.0), (-2.0, 0.0)], [0, 0])
    assert stationary(quadratic([[2.0, 0.5], [0.5, 1.0]], minimum=[1.0, -2.0]), [(1.0, -2.0)], [0])


@pytest.mark.twin
def test_exact_stationary_points_reject_a_shifted_one():
    assert not stationary(double_well(), [(1.001,)], [0])


def test_exact_curvatures_of_the_double_well():
    V = double_well(barrier=2.0, half_distance=0.5)
    assert float(V.hessian_at(0.5)[0, 0]) == 8 * 2.0 / 0.25
    assert float(V.hessian_at(0.0)[0, 0]) == -4 * 2.0 / 0.25


def test_exact_tilt_and_confinement():
    assert float(double_well(tilt=0.3)(1.0) - double_well(tilt=0.3)(-1.0)) == pytest.approx(0.6)
    assert float(degenerate(confinement=2.0)(1.0, 2.0)) == 4.0 + 5.0


def test_exact_hessian_of_a_quadratic():
    H = np.array([[2.0, 0.25, 0.0], [0.25, 1.5, 0.125], [0.0, 0.125, 3.0]])
    V = quadratic(H, minimum=0.5)
    assert np.array_equal(V.hessian_at(0.1, 0.2, 0.3), H)


def test_potentials_go_into_problems_unchanged():
    V = double_well(barrier=1.0)
    given = {"diffusion": 0.5, "domain": (-np.inf, np.inf), "initial": Gaussian(mean=-1.0, std=0.2)}
    a = FokkerPlanck(potential=V, **given)
    b = FokkerPlanck(potential=lambda x: (x * x - 1) ** 2, **given)
    assert a.box == pytest.approx(b.box)
    again = FokkerPlanck(potential=pickle.loads(pickle.dumps(V)), **given)
    assert input_hash(a) == input_hash(again)
    assert input_hash(a) != input_hash(FokkerPlanck(potential=double_well(barrier=1.1), **given))


def test_routes_agree_of_a_potential_and_its_force():
    """Given as a force the same drift is integrated by Simpson's rule."""
    V = double_well(barrier=1.0)
    given = {"diffusion": 0.5, "domain": (-2.0, 2.0), "initial": Gaussian(mean=-1.0, std=0.2)}
    x = np.linspace(-1.9, 1.9, 40)
    a, b = FokkerPlanck(potential=V, **given), FokkerPlanck(force=V.force, **given)
    left = FiniteVolume(cells=400).discretise(a).stationary()
    right = FiniteVolume(cells=400).discretise(b).stationary()
    assert np.abs(left - right).max() < 1e-9
    assert np.array_equal(b.force_at(x), -V.gradient_at(x)[0])
    hat = ring()
    plane = FokkerPlanck(
        force=hat.force,
        diffusion=1.0,
        domain=((-2.0, 2.0), (-2.0, 2.0)),
        initial=Gaussian(mean=(1.0, 0.0), std=0.3),
    )
    assert len(plane.force_at(x[:, None], x)) == 2


def test_refuses_dimensions_that_do_not_fit():
    with pytest.raises(UnsupportedError, match="use OUProcess"):
        quadratic(np.eye(4))
    with pytest.raises(ShapeError, match="one entry per dimension"):
        quadratic(np.eye(2), minimum=[1.0, 2.0, 3.0])

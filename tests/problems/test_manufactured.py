"""Manufactured solutions: the equation holds, schemes converge to them, walls are kept."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from fracsde.errors import DensityError, InputError, OutOfRangeError, UnsupportedError
from fracsde.grids import TimeGrid
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.expressions import Expression
from fracsde.problems.manufactured import manufactured
from fracsde.schemes.l1 import L1
from fracsde.solve import solve
from tests.support.orders import observed_order

ALPHA = 0.6
# No flux at the walls of (0, 1): equilibria times cosines have none.
V, D = "cos(2*pi*x)/3", "1/2"
WEIGHT = f"exp(-({V})/({D}))"


def known(parts, **changes):
    given = {"alpha": ALPHA, "domain": (0.0, 1.0), "potential": V, "diffusion": D}
    return manufactured(parts, **(given | changes))


def start_like_a_real_one():
    """``t**alpha`` data, slow enough for few steps to see the order."""
    return known(
        [(0, WEIGHT), (ALPHA, f"{WEIGHT}*cos(pi*x)")], potential=f"({V})/20", diffusion=f"({D})/20"
    )


def line_in_time():
    """Linear in time, on which L1 is exact."""
    return known([(0, WEIGHT), (1, f"{WEIGHT}*cos(pi*x)/2")], reaction="1 + x", timescale=2.0)


def residual_at(problem, solution, t, x):
    """The equation, by high-precision quadrature in time and differences in space."""
    import mpmath

    base, alpha = problem.base, problem.alpha
    u = solution.sympy
    names = {str(s): s for s in u.free_symbols}
    clock, place = names["t"], names["x"]
    rate = sp.lambdify((clock, place), sp.diff(u, clock), "mpmath")
    field = sp.lambdify((clock, place), u, "mpmath")
    with mpmath.workdps(30):
        # s = t (1 - w**(1/(1-alpha))) takes the kernel's singularity away.
        q = mpmath.mpf(1) / (1 - mpmath.mpf(str(alpha)))
        a = mpmath.mpf(str(alpha))
        integrand = lambda w: rate(t * (1 - w**q), x) * t ** (1 - a) * q  # noqa: E731
        caputo = mpmath.quad(integrand, [0, 0.5, 0.9, 1]) / mpmath.gamma(1 - a)
        h = mpmath.mpf("3e-5")

        def at(f, y):
            return mpmath.mpf(float(f(np.array([float(y)]))[0]))

        def flux(y):
            slope = (field(t, y + h) - field(t, y - h)) / (2 * h)
            V_slope = (at(base.potential_at, y + h) - at(base.potential_at, y - h)) / (2 * h)
            return (
                at(base.force_at, y) * field(t, y)
                - field(t, y) * V_slope
                - at(base.diffusion_at, y) * slope
            )

        inner = -(flux(x + h) - flux(x - h)) / (2 * h) - at(base.reaction_at, x) * field(t, x)
        source = mpmath.mpf(float(base.source_at(float(t), np.array([float(x)]))[0]))
        tau = mpmath.mpf(problem.timescale)
        return float(tau ** (a - 1) * caputo - inner - source)


def full():
    return known(
        [(0, f"{WEIGHT}*sin(pi*x)**2"), (0.9, "sin(pi*x)**2/5")],
        diffusion="1/2 + x/4",
        force="sin(3*x)",
        reaction="x**2",
        timescale=3.0,
    )


@pytest.mark.parametrize("point", [(0.7, 0.31), (2.0, 0.85)])
def test_exact_source_makes_the_equation_true(point):
    made = full()
    assert abs(residual_at(made.problem, made.solution, *point)) < 1e-5


@pytest.mark.twin
@pytest.mark.parametrize("term", ["force", "reaction", "timescale"])
def test_exact_source_rejects_a_changed_equation(term):
    made = full()
    if term == "timescale":
        problem = replace(made.problem, timescale=3.03)
    else:
        problem = replace(made.problem, base=replace(made.problem.base, **{term: None}))
    assert not abs(residual_at(problem, made.solution, 0.7, 0.31)) < 1e-5


def time_order(made, problem=None):
    grading = (2 - ALPHA) / ALPHA

    def error(n):
        grid = TimeGrid.graded(1.0, n, grading)
        found = solve(problem or made.problem, grid, scheme=L1(), space=FiniteVolume(cells=500))
        x = found.points[0]
        exact = np.array([made.exact(t, x) for t in found.times])
        return float(np.abs(found.density - exact).max())

    return observed_order(error, (16, 32, 64, 128, 256), 2 - ALPHA)


def space_order(made, problem=None):
    def error(cells):
        found = solve(
            problem or made.problem,
            TimeGrid.uniform(1.0, 4),
            scheme=L1(),
            space=FiniteVolume(cells=cells),
        )
        x = found.points[0]
        return float(np.abs(found.density[-1] - made.exact(1.0, x)).max())

    return observed_order(error, (10, 20, 40, 80, 160), 2.0)


def with_damaged_source(made):
    source = made.source
    base = replace(made.problem.base, source=lambda t, x: 1.01 * source(t, x))
    return replace(made.problem, base=base)


def test_order_in_time_of_l1_on_the_graded_mesh():
    table = time_order(start_like_a_real_one())
    assert table.agrees(), table


def test_order_in_space_of_finite_volumes():
    table = space_order(line_in_time())
    assert table.agrees(), table


@pytest.mark.twin
def test_orders_reject_a_damaged_source():
    made = start_like_a_real_one()
    assert not time_order(made, with_damaged_source(made)).agrees()
    made = line_in_time()
    assert not space_order(made, with_damaged_source(made)).agrees()


@pytest.mark.parametrize(
    ("boundary", "part"),
    [
        ("absorbing", "sin(pi*x)"),
        ("periodic", "1 + sin(2*pi*x)/2"),
        (("absorbing", "reflecting"), "sin(pi*x/2)"),
    ],
)
def test_order_in_space_between_other_walls(boundary, part):
    made = known(
        [(0, part), (1, f"({part})/3")],
        boundary=boundary,
        potential=None,
        diffusion="1/2 + cos(2*pi*x)/5",
    )
    table = space_order(made)
    assert table.agrees(), table


def test_exact_start_has_mass_one():
    made = known([(0, "7 + 3*cos(pi*x)"), (1, "cos(pi*x)")], potential=None)
    x = (np.arange(2000) + 0.5) / 2000
    assert abs(made.exact(0.0, x).mean() - 1) < 1e-12
    assert made.solution == Expression("1 + 3*cos(pi*x)/7 + t*cos(pi*x)/7", variables=("t", "x"))


def test_refuses_what_does_not_keep_to_the_walls():
    with pytest.raises(InputError, match=r"power 1, x.* flux .*reflecting walls of x"):
        known([(0, WEIGHT), (1, "x")])
    with pytest.raises(InputError, match=r"value of .*absorbing walls"):
        known([(0, "1")], boundary="absorbing", potential=None)
    with pytest.raises(InputError, match="periodic seam"):
        known([(0, "1"), (1, "cos(pi*x)")], boundary="periodic", potential=None)


def test_refuses_other_families():
    with pytest.raises(OutOfRangeError, match="infinite at the start"):
        known([(0, WEIGHT), (0.3, WEIGHT)])
    with pytest.raises(DensityError, match="make the start"):
        known([(1, WEIGHT)])
    with pytest.raises(DensityError, match="negative"):
        known([(0, f"{WEIGHT}*(1 + 3*cos(pi*x))")])
    with pytest.raises(UnsupportedError, match="must be finite"):
        known([(0, "exp(-x**2)")], domain=(-np.inf, np.inf))
    with pytest.raises(InputError, match="pairs"):
        known(["x"])
    with pytest.raises(InputError, match="one formula per coordinate"):
        known([(0, WEIGHT)], force=["1", "2"])


def test_limit_of_order_one_is_the_ordinary_equation():
    made = known([(0, WEIGHT), (1, f"{WEIGHT}*cos(pi*x)/2")], alpha=1.0)
    found = solve(
        made.problem, TimeGrid.uniform(1.0, 3), scheme=L1(), space=FiniteVolume(cells=400)
    )
    assert np.abs(found.density[-1] - made.exact(1.0, found.points[0])).max() < 1e-4


def test_order_in_space_in_the_plane():
    made = manufactured(
        [(0, "1"), (1, "cos(pi*x)*cos(pi*y)/2")],
        alpha=0.5,
        domain=((0.0, 1.0), (0.0, 1.0)),
        diffusion="1/2 + x*(1 - x)*y",
        force=("sin(pi*x)", "y*(1 - y)"),
        reaction="x + y",
    )

    def error(cells):
        grid = TimeGrid.uniform(1.0, 2)
        found = solve(made.problem, grid, scheme=L1(), space=FiniteVolume(cells=cells))
        x, y = np.meshgrid(*found.points, indexing="ij", sparse=True)
        return float(np.abs(found.density[-1] - made.exact(1.0, x, y)).max())

    table = observed_order(error, (6, 12, 24, 48, 96), 2.0)
    assert table.agrees(), table


def test_exact_in_the_plane():
    """The source is right in two dimensions: apply the operator by hand."""
    made = manufactured(
        [(0, "1"), (1, "cos(pi*x)*cos(pi*y)/2")],
        alpha=0.5,
        domain=((0.0, 1.0), (0.0, 1.0)),
        diffusion=0.3,
    )
    x, y = np.array([[0.2], [0.6]]), np.array([[0.1, 0.7, 0.9]])
    f = np.cos(np.pi * x) * np.cos(np.pi * y) / 2
    from math import gamma

    expected = (4.0**0.5 / gamma(1.5) + 2 * np.pi**2 * 0.3 * 4.0) * f
    assert np.allclose(made.problem.base.source_at(4.0, x, y), expected, rtol=1e-13)
